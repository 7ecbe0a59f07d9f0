//! The XML tokenizer.

use peerdist_core::discovery::xml::{
    Event, MAX_ATTRIBUTES, MAX_DEPTH, MAX_DOCUMENT_BYTES, Text, Tokenizer, XmlErrorKind,
};

use super::quick::agree;

/// The tokenizer comes to the verdict of quick-xml and reads the same. It ends, never goes back, and keeps its bounds; skipping an element comes to the same
/// verdict as reading it, and text that was decoded can be written and read again.
pub fn xml(data: &[u8]) {
    let _ = agree(data);
    let read = read(data);
    assert!(read.is_err() || data.len() <= MAX_DOCUMENT_BYTES);
    assert_eq!(skipped(data), read.as_ref().map(|_| ()).map_err(|kind| *kind));
    // XML, 2.11: a line may end in any of three ways, and means the same.
    if let Ok(text) = str::from_utf8(data).map(|text| text.replace("\r\n", "\n").replace('\r', "\n")) {
        assert!(data.len() > MAX_DOCUMENT_BYTES || self::read(text.as_bytes()) == read);
    }
    let Ok(read) = read else { return };

    let leaf = read.roots == 1 && read.starts == 1;
    let text = root_text(data);
    assert_eq!(text, if leaf { Ok(read.text.clone()) } else { Err(XmlErrorKind::NotText) });
    let again = format!("<a>{}</a>", escaped(&read.text));
    if again.len() <= MAX_DOCUMENT_BYTES {
        assert_eq!(root_text(again.as_bytes()), Ok(read.text));
    }
}

/// What a document says.
#[derive(Debug, Default, PartialEq)]
struct Read {
    roots: u32,
    starts: u32,
    values: Vec<String>,
    text: String,
}

fn read(data: &[u8]) -> Result<Read, XmlErrorKind> {
    let kind = |error: peerdist_core::discovery::xml::XmlError| {
        assert!(error.offset <= data.len(), "{error:?}");
        error.kind
    };
    let mut xml = Tokenizer::new(data).map_err(kind)?;
    let mut read = Read::default();
    let (mut depth, mut events, mut at) = (0, 0, 0);
    while let Some(event) = xml.next_event().map_err(kind)? {
        events += 1;
        assert!(events <= 2 * data.len(), "more events than there can be tags");
        match event {
            Event::Start(element) => {
                read.roots += u32::from(depth == 0);
                read.starts += 1;
                depth += 1;
                assert!(depth <= MAX_DEPTH);
                // A name is a part of the document, behind that of the element before.
                let name = element.name.local.as_ptr() as usize - data.as_ptr() as usize;
                assert!(name > at && name + element.name.local.len() <= data.len());
                at = name;
                element.name.namespace.map(|namespace| decoded(namespace, data));
                assert!(element.attributes().count() <= MAX_ATTRIBUTES);
                for (name, value) in element.attributes() {
                    let value = decoded(value, data);
                    assert_eq!(decoded(element.attribute(name).unwrap(), data), value);
                    read.values.push(value);
                }
            }
            Event::End => depth = depth.checked_sub(1).expect("an end without a start"),
            Event::Text(text) => {
                assert!(depth > 0, "text beside the root");
                read.text += &decoded(text, data);
            }
        }
    }
    assert_eq!((depth, read.roots), (0, 1));
    Ok(read)
}

/// The characters of `text`, once checked that its other accessors see the same.
fn decoded(text: Text<'_>, data: &[u8]) -> String {
    let bytes: Vec<u8> = text.bytes().collect();
    // No reference is shorter than the character it stands for. Declarations of `xml` need not
    // stand in the document.
    assert!(bytes.len() <= data.len() || text.is(b"http://www.w3.org/XML/1998/namespace"));
    assert!(text.is(&bytes));
    let string = String::from_utf8(bytes).expect("UTF-8");
    let mut buf = vec![0; string.len()];
    let mut tokens = text.tokens();
    for expected in string.split([' ', '\t', '\r', '\n']).filter(|token| !token.is_empty()) {
        assert_eq!(tokens.next_token(&mut buf), Some(Ok(expected.as_bytes())));
    }
    assert_eq!(tokens.next_token(&mut buf), None);
    string
}

/// Whether the document is in order, without a look into its root.
fn skipped(data: &[u8]) -> Result<(), XmlErrorKind> {
    let mut xml = Tokenizer::new(data).map_err(|error| error.kind)?;
    while let Some(event) = xml.next_event().map_err(|error| error.kind)? {
        if let Event::Start(_) = event {
            xml.skip().map_err(|error| error.kind)?;
        }
    }
    Ok(())
}

/// The text of a root element without children.
fn root_text(data: &[u8]) -> Result<String, XmlErrorKind> {
    let mut xml = Tokenizer::new(data).map_err(|error| error.kind)?;
    let root = xml.next_event().map_err(|error| error.kind)?;
    assert!(matches!(root, Some(Event::Start(_))), "{root:?}");
    let text = xml.text().map_err(|error| error.kind)?;
    Ok(decoded(text, data))
}

fn escaped(text: &str) -> String {
    // A line end that is written as it is would be read as another one.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#13;")
}
