//! What a firmware image takes, and `core` in it: beside what is wanted, and against what is committed.

mod elf;
mod names;
mod table;

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::bare_metal::{CORTEX_M3, FIRMWARE, Toolchain};
use crate::firmware::{self, IMAGE};
use crate::run::{repository, run, target_dir};
use elf::{Elf, Memory, Symbol};
use table::{Figure, Table};

pub use elf::read;

/// Images with more and more of core in them, a workspace of its own.
pub const HARNESSES: &str = "tests/size";

/// The harness that the others are compared with: without core, but for its crypto provider.
const BASELINE: &str = "crypto";

/// The harness whose statics are as large as what they are named for; it has no code to speak of.
const STATICS: &str = "ram";

/// Of these two, the second has room for one more block in flight.
const NODES: [&str; 2] = ["NODE", "NODE_FOR_ONE_BLOCK_MORE"];

/// What is committed.
const TABLE: &str = "tests/size/table.txt";

/// The image for which memory counts: with as many connections as a small board has room for, and core's small
/// tables.
const SMALL: &str = "four-connections";
const SMALL_FEATURES: &str = "mps2-an385,insecure-entropy,four-connections";

const KIB: u64 = 1_024;

/// What each figure is meant to be at most, in bytes.
const WANTED: [(&str, u64); 5] = [
    ("image flash", 128 * KIB),
    ("image ram", 64 * KIB),
    ("core_peer flash", 48 * KIB),
    ("core_client flash", 28 * KIB),
    ("block ram", KIB),
];

/// Measures, prints, and compares with what is committed, or commits to it.
pub fn check(options: &[&str]) -> Result<()> {
    let table = match options {
        [] | ["--update"] => measure()?,
        ["--json"] => return json(),
        _ => return Err("usage: cargo xtask size [--json | --update]".into()),
    };
    println!("    {:20} {:>9} {:>9}", "bytes", "wanted", "reached");
    for figure in &table.figures {
        let wanted = WANTED.iter().find(|(name, _)| *name == figure.name).map(|(_, bytes)| *bytes);
        let shown = wanted.map(|bytes| bytes.to_string()).unwrap_or_default();
        let mark = if wanted.is_some_and(|bytes| bytes < figure.bytes) { " !" } else { "" };
        println!("    {:20} {shown:>9} {:>9}{mark}", figure.name, figure.bytes);
    }
    println!("    ! is above what is wanted");
    write(&json_file(), &as_json(&table))?;
    let path = repository().join(TABLE);
    if options == ["--update"] {
        return write(&path, &table.write());
    }
    let committed = fs::read_to_string(&path).map_err(|error| format!("{TABLE}: {error}"))?;
    table.growth(&Table::parse(&committed).map_err(|error| format!("{TABLE}: {error}"))?)
}

/// Prints nothing but JSON on stdout; what there is to say besides goes to stderr.
fn json() -> Result<()> {
    let failure = |error: std::io::Error| format!("cargo xtask size: {error}");
    _ = fs::remove_file(json_file());
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(failure)?;
    let measured = run(Command::new(std::env::current_exe().map_err(failure)?).arg("size").stdout(stderr));
    // What has grown has been measured.
    if let Ok(json) = fs::read_to_string(json_file()) {
        println!("{json}");
    }
    measured
}

fn json_file() -> std::path::PathBuf {
    target_dir().join("size.json")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn measure() -> Result<Table> {
    let toolchain = Toolchain::find(CORTEX_M3)?;
    let mut figures = Vec::new();

    // The image for which memory counts goes first, so that the usual one is left there.
    let options = ["--no-default-features", "--features", SMALL_FEATURES];
    let small = firmware::image_aside(&toolchain, &options, SMALL)?;
    run(&mut toolchain.build(FIRMWARE))?;
    let image = read(&toolchain.artifact(FIRMWARE, IMAGE))?;
    figures.push(Figure::new("image flash", image.flash, symbols(&image, Memory::Flash)));

    let image = read(&small)?;
    let stack = firmware::deepest_stack(&small)?;
    let statics = symbols(&image, Memory::Ram).map(|(name, bytes)| (format!("static {name}"), bytes));
    let symbols_and_stack = statics.chain([("(the stack)".to_owned(), stack)]);
    figures.push(Figure::new("image ram", image.ram + stack, symbols_and_stack));
    figures.push(Figure::new("image stack", stack, [].into_iter()));

    run(&mut toolchain.build(HARNESSES))?;
    let harness = |name: &str| read(&toolchain.artifact(HARNESSES, name));
    let baseline = harness(BASELINE)?;
    for name in harnesses()? {
        let with_core = harness(&name)?;
        let flash = with_core.flash.saturating_sub(baseline.flash);
        figures.push(Figure::new(&format!("core_{name} flash"), flash, symbols(&with_core, Memory::Flash)));
    }
    let nodes = harness(STATICS)?;
    let [node, with_another] = NODES.map(|name| nodes.symbols.iter().find(|symbol| symbol.name == name));
    let (Some(node), Some(with_another)) = (node, with_another) else {
        return Err(format!("{HARNESSES}: `{STATICS}` has not the statics {}", NODES.join(" and ")));
    };
    figures.push(Figure::new("node ram", node.bytes, [].into_iter()));
    let block = with_another.bytes.saturating_sub(node.bytes);
    figures.push(Figure::new("block ram", block, [].into_iter()));
    Ok(Table { compiler: toolchain.version()?, figures })
}

/// The names of the harnesses with more or less of core.
fn harnesses() -> Result<Vec<String>> {
    let folder = repository().join(HARNESSES).join("src/bin");
    let failure = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name != BASELINE && name != STATICS {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn symbols(image: &Elf, memory: Memory) -> impl Iterator<Item = (String, u64)> {
    let found = image.symbols.iter().filter(move |symbol| symbol.memory == memory);
    found.map(|Symbol { name, bytes, .. }| (name.clone(), *bytes))
}

/// An object for each first word of a figure's name, with its second words.
fn as_json(table: &Table) -> String {
    let mut json = String::from("{");
    let mut open = "";
    for figure in &table.figures {
        let (what, memory) = figure.name.split_once(' ').unwrap_or((&figure.name, "bytes"));
        if what != open {
            let end = if open.is_empty() { "" } else { "}," };
            json.push_str(&format!("{end}\"{what}\":{{"));
        } else {
            json.push(',');
        }
        open = what;
        json.push_str(&format!("\"{memory}\":{}", figure.bytes));
    }
    json + if open.is_empty() { "}" } else { "}}" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_json() {
        let figure = |name| Figure::new(name, 7, [].into_iter());
        let figures = ["image flash", "image ram", "core_peer flash"].map(figure).into();
        let json = as_json(&Table { compiler: String::new(), figures });
        assert_eq!(json, r#"{"image":{"flash":7,"ram":7},"core_peer":{"flash":7}}"#);
        assert_eq!(as_json(&Table::default()), "{}");
    }
}
