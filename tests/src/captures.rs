//! HTTP requests that others sent.

/// The name, the head without the empty line that ends it, and the body of each request of
/// `http-captures.json`.
pub fn captures() -> Vec<(String, String, Vec<u8>)> {
    let entries: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/http-captures.json")).unwrap();
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap().to_owned();
    entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let digits = text(entry, "body_hex");
            let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            (text(entry, "name"), text(entry, "head"), (0..digits.len()).step_by(2).map(byte).collect())
        })
        .collect()
}
