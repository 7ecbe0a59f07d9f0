//! Symbols' names, as far as a person and a comparison need them: paths, without the hashes of crates and
//! instances.

/// The path in a mangled name of either kind that rustc makes; any other name as it is.
pub fn readable(symbol: &str) -> String {
    let parts = match symbol.strip_prefix("_R") {
        Some(mangled) => current(mangled.as_bytes()),
        None => symbol.strip_prefix("_ZN").and_then(|mangled| legacy(mangled.as_bytes())),
    };
    match parts {
        Some(parts) if !parts.is_empty() => parts.join("::"),
        // What LLVM appends tells copies of one function apart, by number.
        _ => symbol.split(".llvm.").next().unwrap_or_default().to_owned(),
    }
}

/// The names in a symbol of the form that RFC 2603 describes, in their order: of what it is, and of the types
/// that it is made for.
fn current(mangled: &[u8]) -> Option<Vec<String>> {
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(&tag) = mangled.get(at) {
        match tag {
            // What the compiler appends.
            b'.' => break,
            b'0'..=b'9' => {
                let (name, behind) = identifier(mangled, at)?;
                at = behind;
                // Closures have no name.
                if !name.is_empty() {
                    parts.push(name);
                }
            }
            // A disambiguator, before a name; a lifetime, a binder, or a place further ahead. All of these end
            // with an underscore, and their digits are no lengths.
            b's' | b'B' | b'L' | b'G' => at = number_end(mangled, at + 1).unwrap_or(at + 1),
            // A constant: its type, and its value in hexadecimal digits.
            b'K' => {
                at += 1;
                if mangled.get(at).is_some_and(|&tag| tag != b'B') {
                    at = number_end(mangled, at + 1)?;
                }
            }
            _ => at += 1,
        }
    }
    Some(parts)
}

/// The names of a symbol of the form of C++, without the hash at their end.
fn legacy(mangled: &[u8]) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while mangled.get(at).is_some_and(u8::is_ascii_digit) {
        let (name, behind) = identifier(mangled, at)?;
        at = behind;
        parts.push(name.replace("..", "::"));
    }
    (mangled.get(at) == Some(&b'E')).then_some(())?;
    let is_hash = |name: &String| name.len() == 17 && name.starts_with('h');
    _ = parts.pop_if(|name| is_hash(name));
    Some(parts)
}

/// A name behind its length, and where it ends.
fn identifier(mangled: &[u8], at: usize) -> Option<(String, usize)> {
    let rest = mangled.get(at..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let len: usize = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    // An underscore keeps a name apart that begins with a digit or an underscore.
    let start = at + digits + usize::from(rest.get(digits) == Some(&b'_'));
    let name = mangled.get(start..start.checked_add(len)?)?;
    Some((String::from_utf8_lossy(name).into_owned(), start + len))
}

/// Behind the underscore that ends a number in base 62; `None` if there is none.
fn number_end(mangled: &[u8], at: usize) -> Option<usize> {
    let rest = mangled.get(at..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    (rest.get(digits) == Some(&b'_')).then_some(at + digits + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_kinds() {
        for (symbol, name) in [
            ("_start", "_start"),
            ("memcpy.llvm.123", "memcpy"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            (
                "_RNvMNtNtCs17khgHNQnnO_13peerdist_core9discovery3xmlNtB2_9Tokenizer10next_event",
                "peerdist_core::discovery::xml::Tokenizer::next_event",
            ),
            (
                "_RNvMNtNtCs17khgHNQnnO_13peerdist_core4node5driveINtB4_4NodeNtCs76eegj9bccl_4size8AnyStoreKj4_Kj2_E10ask_originCs7YPnbhHOrVX_5whole",
                "peerdist_core::node::drive::Node::size::AnyStore::ask_origin::whole",
            ),
            ("_RNCNvNtCs1_1a1b4main0B3_.llvm.77", "a::b::main"),
            ("_RNvCs3_1a5___x_y", "a::__x_y"),
        ] {
            assert_eq!(readable(symbol), name);
        }
    }
}
