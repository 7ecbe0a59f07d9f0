//! The status for people: as a page, and as text for a terminal.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Seconds after which the page is loaded again.
const REFRESH: u32 = 5;

/// Colours follow the browser's; numbers stand below each other.
const STYLE: &str = "\
:root { color-scheme: light dark; --line: #d9dde3; --card: #fff; --back: #f3f5f8; --dim: #5a6472 }
@media (prefers-color-scheme: dark) { :root { --line: #343b45; --card: #1d2229; --back: #14181d; --dim: #9aa5b3 } }
body { background: var(--back); font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 72em; padding: 1.5em 1em }
h1 { font-size: 1.5em; margin: 0 0 .7em }
h2 { font-size: 1em; margin: 0; padding: .6em .8em .3em }
main { align-items: start; display: grid; gap: 1em; grid-template-columns: repeat(auto-fit, minmax(min(26em, 100%), 1fr)) }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5em; padding: .2em 0 }
table { border-collapse: collapse; width: 100% }
th, td { border-top: 1px solid var(--line); overflow-wrap: anywhere; padding: .25em .8em; text-align: left }
tr:first-child > * { border-top: 0 }
th { color: var(--dim); font-weight: normal; width: 65% }
td { font-variant-numeric: tabular-nums; text-align: right }
p { color: var(--dim); font-size: .87em }
";

/// A page with a table for each section; it needs no script.
pub fn page(status: &Value) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n<title>peerdist</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>peerdist</h1>\n<main>\n"
    );
    each_section(status, &mut |name, fields| {
        html += "<section>\n";
        if let Some(name) = name {
            // Writing to a string cannot fail.
            _ = writeln!(html, "<h2>{}</h2>", escaped(name));
        }
        html += "<table>\n";
        for (field, value) in fields {
            _ = writeln!(
                html,
                "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
                escaped(field),
                escaped(&plain(value))
            );
        }
        html += "</table>\n</section>\n";
    });
    _ = writeln!(
        html,
        "</main>\n<p>Loaded again every {REFRESH} s. The same as JSON: /status; for Prometheus: /metrics.</p>"
    );
    html + "</body>\n</html>\n"
}

/// Lines of `Name: value` for each section, the values one below the other.
pub fn text(status: &Value) -> String {
    let mut text = String::new();
    each_section(status, &mut |name, fields| {
        let indent = match name {
            Some(name) => {
                _ = writeln!(text, "\n{name}:");
                "  "
            }
            None => "",
        };
        let width = fields.iter().map(|(field, _)| field.chars().count()).max().unwrap_or(0);
        for (field, value) in fields {
            _ = writeln!(text, "{indent}{field:width$} : {}", plain(value));
        }
    });
    text
}

/// Takes a section: its name, unless it is the top, and its fields.
type Each<'a> = dyn FnMut(Option<&str>, &[(&str, &Value)]) + 'a;

/// Gives `each` what stands at the top, and then section by section, whose names are joined by a dot where
/// one is in another.
fn each_section(status: &Value, each: &mut Each<'_>) {
    let Value::Object(fields) = status else { return each(None, &[("Status", status)]) };
    section(None, fields, each);
}

fn section(name: Option<&str>, fields: &Map<String, Value>, each: &mut Each<'_>) {
    let is_section = |value: &&Value| value.is_object();
    let own: Vec<(&str, &Value)> = fields
        .iter()
        .filter(|(_, value)| !is_section(value))
        .map(|(field, value)| (&**field, value))
        .collect();
    if !own.is_empty() {
        each(name, &own);
    }
    for (field, value) in fields {
        if let Value::Object(fields) = value {
            let name = name.map_or_else(|| field.clone(), |name| format!("{name}.{field}"));
            section(Some(&name), fields, each);
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(values) => match values.is_empty() {
            true => "-".into(),
            false => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        },
        Value::Object(fields) => {
            let fields = fields.iter().map(|(field, value)| format!("{field} {}", plain(value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "Role": "a <b> & \"c\"",
            "Files": ["x", 1, { "Path": "y", "Bytes": 2 }],
            "HashCache": { "CacheFileDirectoryPath": null, "Limits": { "Longest": [] } },
        })
    }

    #[test]
    fn pages_escape_what_they_show() {
        let html = page(&status());
        assert!(html.contains("<td>a &lt;b&gt; &amp; &quot;c&quot;</td>"), "{html}");
        assert!(
            html.contains("<h2>HashCache.Limits</h2>\n<table>\n<tr><th scope=\"row\">Longest</th>"),
            "{html}"
        );
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches("<table>").count(), html.matches("</table>").count());
    }

    #[test]
    fn text_has_a_line_a_field() {
        let expected = "Files : x, 1, Bytes 2 Path y\nRole  : a <b> & \"c\"\n\nHashCache:\n  \
                        CacheFileDirectoryPath : -\n\nHashCache.Limits:\n  Longest : -\n";
        assert_eq!(text(&status()), expected);
        assert_eq!(text(&json!([1])), "Status : 1\n");
    }
}
