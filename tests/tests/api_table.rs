//! The table of the 28 functions in `docs/API.md`: what it names is there.

use std::fs;
use std::path::Path;

use peerdist_tests::tables::{cells, quoted, sources};

/// What a row says that is not so.
fn complaints(row: &str, sources: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let [number, function, here, tested] = cells(row)[..] else {
        return vec![format!("{row}: not four cells")];
    };
    for name in quoted(here).filter_map(|name| name.strip_prefix("Api::")) {
        if !sources.contains(&format!("pub fn {name}(")) {
            complaints.push(format!("{number} {function}: there is no `{name}`"));
        }
    }
    for test in quoted(tested).filter(|name| !name.contains('.')) {
        if !sources.contains(&format!("fn {test}(")) {
            complaints.push(format!("{number} {function}: there is no test `{test}`"));
        }
    }
    for digits in
        tested.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.len() == 2)
    {
        let is_test = |line: &str| {
            line.trim_start().starts_with("fn conformance_") && line.contains(&format!("_{digits}_"))
        };
        if digits.parse::<u8>().is_ok() && !sources.lines().any(is_test) {
            complaints.push(format!("{number} {function}: there is no conformance test {digits}"));
        }
    }
    if tested.is_empty() != here.starts_with("not built yet") {
        complaints
            .push(format!("{number} {function}: tested where it is not built, or built and not tested"));
    }
    complaints
}

#[test]
fn the_table_is_true() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(repository.join("docs/API.md")).unwrap();
    let simulated = fs::read_to_string(repository.join("tests/tests/crowd.rs")).unwrap();
    let sources = sources(&repository.join("core/src/api")) + &simulated;
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && line.contains("| PeerDist")).collect();
    let numbers = rows.iter().map(|row| row.split('|').nth(1).unwrap().trim().parse::<usize>());
    assert!(numbers.eq((1..=28).map(Ok)), "{rows:?}");
    let complaints: Vec<String> = rows.iter().flat_map(|row| complaints(row, &sources)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    // What is wrong shows.
    for wrong in [
        "| 1 | PeerDistStartup | `Api::no_such_call` | `status.rs`: 01 |",
        "| 1 | PeerDistStartup | `Api::startup` | `status.rs`: 99 |",
        "| 1 | PeerDistStartup | `Api::startup` | `status.rs`: `no_such_test` |",
        "| 1 | PeerDistStartup | `Api::startup` | |",
        "| 1 | PeerDistStartup | not built yet | `status.rs`: 01 |",
    ] {
        assert!(!self::complaints(wrong, &sources).is_empty(), "{wrong}");
    }
}
