//! JSON and HTTP heads into a buffer, without `core::fmt`, which would be a third of what the rest takes.

use core::net::Ipv4Addr;

/// Writes into what it was lent. What finds no room is cut, and told by [`is_cut`](Self::is_cut).
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    len: usize,
    cut: bool,
}

impl<'b> Writer<'b> {
    /// Nothing is written yet.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0, cut: false }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether something found no room.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Text as it is.
    pub fn text(&mut self, text: &str) {
        let end = self.len.saturating_add(text.len());
        match self.buffer.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                self.len = end;
            }
            None => self.cut = true,
        }
    }

    /// A number in decimal.
    pub fn number(&mut self, mut number: u64) {
        let mut digits = [b'0'; 20];
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            used += 1;
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        let digits = digits.get(digits.len() - used..).unwrap_or_default();
        self.text(core::str::from_utf8(digits).unwrap_or_default());
    }

    /// The beginning of an object.
    pub fn open(&mut self) {
        self.text("{");
    }

    /// Its end.
    pub fn close(&mut self) {
        self.text("}");
    }

    /// The name of a member; a comma in front, unless it is the first.
    pub fn key(&mut self, name: &str) {
        let before = self.len.checked_sub(1).and_then(|last| self.buffer.get(last));
        if before != Some(&b'{') {
            self.text(",");
        }
        self.text("\"");
        self.text(name);
        self.text("\":");
    }

    /// A member that is an object, which is then to be closed.
    pub fn object(&mut self, name: &str) {
        self.key(name);
        self.open();
    }

    /// Members that are numbers: their names, with a space between them, and as many values.
    pub fn numbers(&mut self, names: &str, numbers: &[u64]) {
        for (name, number) in names.split(' ').zip(numbers) {
            self.key(name);
            self.number(*number);
        }
    }

    /// A member that is text, without anything in it that JSON would have escaped; or null.
    pub fn word(&mut self, name: &str, word: Option<&str>) {
        self.key(name);
        match word {
            Some(word) => ["\"", word, "\""].iter().for_each(|part| self.text(part)),
            None => self.text("null"),
        }
    }

    /// A member that is an address; or null.
    pub fn address(&mut self, name: &str, address: Option<Ipv4Addr>) {
        let Some(address) = address else { return self.word(name, None) };
        self.key(name);
        let mut before = "\"";
        for octet in address.octets() {
            self.text(before);
            self.number(octet.into());
            before = ".";
        }
        self.text("\"");
    }
}
