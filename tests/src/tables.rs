//! Tables in documents that name what is in the code.

use std::fs;
use std::path::{Path, PathBuf};

/// All that stands in the files of a folder, tests or not.
pub fn sources(folder: &Path) -> String {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
        .iter()
        .map(|path| if path.is_dir() { sources(path) } else { fs::read_to_string(path).unwrap() })
        .collect()
}

/// What stands between backticks.
pub fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The cells of a row.
pub fn cells(row: &str) -> Vec<&str> {
    let row = row.trim();
    let row = row.strip_prefix('|').unwrap_or(row);
    row.strip_suffix('|').unwrap_or(row).split('|').map(str::trim).collect()
}

/// Whether there is such a test.
pub fn is_test(sources: &str, name: &str) -> bool {
    sources.contains(&format!("#[test]\nfn {name}() {{"))
}
