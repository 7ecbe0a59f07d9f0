//! RFC 3986 2.1: percent-encoding.

/// The bytes that `text` stands for; `None` if a `%` is not followed by two hexadecimal digits.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        (rest, _) = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => (behind, bytes.push(digit(*high)? << 4 | digit(*low)?)),
            (b'%', _) => return None,
            _ => (behind, bytes.push(*first)),
        };
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (text, bytes) in
            [("", Some("")), ("a%2Fb%20c+%e2%82%ac", Some("a/b c+€")), ("%25zz", Some("%zz"))]
        {
            assert_eq!(decode(text.as_bytes()), bytes.map(|bytes| bytes.as_bytes().to_vec()), "{text}");
        }
        for text in ["%", "a%2", "%g0", "%+1"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decode(b"%ff%00"), Some(vec![0xff, 0]));
    }
}
