//! The figures, as they are committed and as they are now.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Result;

/// What takes less is not listed by name.
const LISTED_BYTES: u64 = 128;

/// What all of that is listed as.
const SMALLER: &str = "(smaller ones)";

/// How many hundredths a figure may grow.
const GROWTH_PERCENT: u64 = 2;

/// How many symbols are named when one does.
const NAMED: usize = 12;

/// What is measured: bytes of one kind of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// Two words: what, and which memory.
    pub name: String,
    /// How many.
    pub bytes: u64,
    /// What takes them, as far as it is listed.
    pub symbols: BTreeMap<String, u64>,
}

/// All figures, and the compiler they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// As it names itself.
    pub compiler: String,
    /// In the order in which they are shown.
    pub figures: Vec<Figure>,
}

impl Figure {
    /// So many bytes, taken by `symbols`; those of the same name count together.
    pub fn new(name: &str, bytes: u64, symbols: impl Iterator<Item = (String, u64)>) -> Self {
        let mut sums = BTreeMap::new();
        symbols.for_each(|(name, bytes)| *sums.entry(name).or_default() += bytes);
        let smaller = sums.values().filter(|bytes| **bytes < LISTED_BYTES).sum();
        sums.retain(|_, bytes| *bytes >= LISTED_BYTES);
        if smaller > 0 {
            sums.insert(SMALLER.to_owned(), smaller);
        }
        Self { name: name.to_owned(), bytes, symbols: sums }
    }
}

impl Table {
    /// The figure of that name.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Reads what [`write`](Self::write) wrote.
    pub fn parse(text: &str) -> Result<Self> {
        let mut table = Self::default();
        for (number, line) in text.lines().enumerate() {
            let bad = || format!("line {} is none of a table of sizes: {line:?}", number + 1);
            if line.is_empty() || line.starts_with('#') {
            } else if let Some(compiler) = line.strip_prefix("compiler ") {
                table.compiler = compiler.to_owned();
            } else if let Some(symbol) = line.strip_prefix("  ") {
                let (bytes, name) = symbol.trim_start().split_once(' ').ok_or_else(bad)?;
                let figure = table.figures.last_mut().ok_or_else(bad)?;
                figure.symbols.insert(name.to_owned(), bytes.parse().map_err(|_| bad())?);
            } else {
                let (name, bytes) = line.rsplit_once(' ').ok_or_else(bad)?;
                let bytes = bytes.parse().map_err(|_| bad())?;
                table.figures.push(Figure { name: name.to_owned(), bytes, symbols: BTreeMap::new() });
            }
        }
        Ok(table)
    }

    /// The table as text, the largest symbols first.
    pub fn write(&self) -> String {
        let mut text = String::from(
            "# Bytes, and the symbols that take them. Written by `cargo xtask size --update`, which compares\n\
             # with what is committed otherwise.\n",
        );
        _ = writeln!(text, "compiler {}", self.compiler);
        for figure in &self.figures {
            _ = writeln!(text, "\n{} {}", figure.name, figure.bytes);
            let mut symbols: Vec<_> = figure.symbols.iter().collect();
            symbols.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
            symbols.iter().for_each(|(name, bytes)| _ = writeln!(text, "  {bytes:>7} {name}"));
        }
        text
    }

    /// What has grown since `before` by more than it may, with the symbols that grew.
    pub fn growth(&self, before: &Self) -> Result<()> {
        let mut complaints = String::new();
        for now in &self.figures {
            let Some(before) = before.figure(&now.name) else {
                _ = write!(complaints, "\n  {} is not in the table", now.name);
                continue;
            };
            if now.bytes * 100 <= before.bytes * (100 + GROWTH_PERCENT) {
                continue;
            }
            _ = write!(complaints, "\n  {} grew from {} to {}:", now.name, before.bytes, now.bytes);
            for (symbol, from, to) in grown(&before.symbols, &now.symbols).into_iter().take(NAMED) {
                _ = write!(
                    complaints,
                    "\n    {:>+7} {symbol} (from {from} to {to})",
                    to as i64 - from as i64
                );
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        if self.compiler != before.compiler {
            _ = write!(complaints, "\n  the table is of {}, this is {}", before.compiler, self.compiler);
        }
        Err(format!(
            "more than {GROWTH_PERCENT} % larger than committed; `cargo xtask size --update` accepts it:{complaints}"
        ))
    }
}

/// The symbols that take more than before, those that grew most first.
fn grown(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<(String, u64, u64)> {
    let with_before =
        now.iter().map(|(name, to)| (name.clone(), before.get(name).copied().unwrap_or(0), *to));
    let mut grown: Vec<_> = with_before.filter(|(_, from, to)| to > from).collect();
    grown.sort_by_key(|(_, from, to)| std::cmp::Reverse(to - from));
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(code: u64, poll: u64) -> Table {
        let symbols = [("node::poll", poll), ("node::accept", 700), ("time::now", 60), ("time::now", 60)];
        let symbols = symbols.into_iter().map(|(name, bytes)| (name.to_owned(), bytes));
        let figures =
            vec![Figure::new("image flash", code, symbols), Figure::new("image ram", 9, [].into_iter())];
        Table { compiler: "rustc 1.2.3 (Debian)".to_owned(), figures }
    }

    #[test]
    fn written_and_read() {
        let table = table(10_000, 5_000);
        assert_eq!(table.figures[0].symbols.get(SMALLER), Some(&120));
        assert_eq!(Table::parse(&table.write()), Ok(table));
        assert!(Table::parse("  12 a symbol of nothing").is_err());
        assert!(Table::parse("image flash much").is_err());
    }

    #[test]
    fn growth_names_what_grew() {
        let before = table(10_000, 5_000);
        assert_eq!(table(10_200, 5_200).growth(&before), Ok(()));
        assert_eq!(table(9_000, 4_000).growth(&before), Ok(()));
        let complaint = table(10_201, 5_201).growth(&before).unwrap_err();
        assert!(complaint.contains("image flash grew from 10000 to 10201"), "{complaint}");
        assert!(complaint.contains("+201 node::poll (from 5000 to 5201)"), "{complaint}");
        assert!(!complaint.contains("node::accept"), "{complaint}");
        assert!(table(1, 1).growth(&Table::default()).is_err());
    }
}
