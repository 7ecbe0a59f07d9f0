//! One scenario in several ways of caching, beside each other.

use std::fmt::Write as _;

use anstyle::Style;
use comfy_table::{Cell, CellAlignment, ColumnConstraint};
use serde_json::{Map, Value};

use super::{Report, bare_table, size, style, time};
use crate::scenario::Scenario;

/// The reports by their ways, as one JSON object.
pub fn comparison_json(reports: &[(&str, Report)]) -> String {
    let all = reports.iter().map(|(way, report)| {
        let report = serde_json::to_value(report).expect("a report has only string keys");
        ((*way).to_string(), report)
    });
    Value::Object(all.collect::<Map<_, _>>()).to_string()
}

/// A line for each way: what crossed the WAN, and when the first and the last client had the content.
pub fn comparison_text(reports: &[(&str, Report)], scenario: &Scenario, colour: bool) -> String {
    let header = ["caching", "WAN", "factor", "first", "last", "content"];
    let mut table = bare_table(&header, colour);
    for (way, report) in reports {
        let times = || report.clients.iter().map(|client| client.virtual_ms);
        let factor = report.wan.bytes as f64 / report.content.bytes.max(1) as f64;
        let right = report.clients.iter().filter(|client| client.ok).count();
        let content = match report.clients.len() {
            all if all == right => "right".to_string(),
            all => format!("right at {right} of {all}"),
        };
        table.add_row([
            Cell::new(way),
            Cell::new(size(report.wan.bytes)),
            Cell::new(format!("{factor:.2} ×")),
            Cell::new(time(times().min().unwrap_or(0))),
            Cell::new(time(times().max().unwrap_or(0))),
            Cell::new(content),
        ]);
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        if !matches!(name, "caching" | "content") {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_padding((0, 1));
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let title = style(Style::new().bold(), "peerdist branch", colour);
    let mut text = format!("\n{title}\n{scenario}\n\n{}\n\n", table.trim_fmt());
    // Each client's time counts from its own start.
    _ = writeln!(
        text,
        "  first and last: how long the quickest and the slowest client took, each from its start"
    );
    text
}
