//! The table of [MS-PCHC] section 3 in `core/src/hosted/mod.rs`: the sections with a rule are in it, and the tests that it
//! names are there.

use std::fs;
use std::path::Path;

use peerdist_tests::tables::{cells, is_test, quoted, sources};

/// The sections that say what one does, of both roles. 3.1.2, 3.1.4, 3.1.6, 3.1.7 and 3.2.7 say "None".
const SECTIONS: [&str; 16] = [
    "3.1.1", "3.1.3", "3.1.5.1", "3.1.5.2", "3.1.5.3", "3.1.5.4", "3.2.1", "3.2.2", "3.2.6", "3.2.3",
    "3.2.4", "3.2.5.1", "3.2.5.2", "3.2.5.3", "3.2.5.4", "3.2.5.5",
];

/// What is wrong with the rows of a table.
fn complaints(rows: &[&str], sources: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut sections = Vec::new();
    for row in rows {
        let [section, _, _, tested] = cells(row)[..] else {
            complaints.push(format!("{row}: not four cells"));
            continue;
        };
        sections.extend(section.split(", "));
        if quoted(tested).next().is_none() {
            complaints.push(format!("{section}: no test"));
        }
        let missing = quoted(tested).filter(|name| !is_test(sources, name));
        complaints.extend(missing.map(|name| format!("{section}: there is no test `{name}`")));
    }
    if sections != SECTIONS {
        complaints.push(format!("the sections are {sections:?}"));
    }
    complaints
}

#[test]
fn each_rule_of_section_3_is_tested() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("core/src");
    let page = fs::read_to_string(core.join("hosted/mod.rs")).unwrap();
    let sources = sources(&core);
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .filter(|line| line.starts_with("| 3."))
        .collect();
    assert_eq!(complaints(&rows, &sources), <[String; 0]>::default());
    // What is wrong shows.
    for (wrong, times) in [
        ("| 3.1.1 | a | b | `no_such_test` |", 1),
        ("| 3.1.1 | a | b | |", 1),
        ("| 3.9 | a | b | `version_1` |", 1),
        ("| 3.1.1 | a | b |", 2),
    ] {
        let rows: Vec<&str> = [wrong].into_iter().chain(rows[1..].iter().copied()).collect();
        assert_eq!(complaints(&rows, &sources).len(), times, "{wrong}");
    }
}
