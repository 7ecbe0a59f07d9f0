//! What is said on the TCP port of the page: one request on a connection, and one reply, as HTTP has it.

use heapless::Vec;

use crate::json::Writer;

/// Where it is served.
pub const PORT: u16 = 3780;

/// Bytes of a reply at most.
pub const REPLY_BYTES: usize = if cfg!(feature = "hosted-cache") { 1_792 } else { 1_536 };

/// Bytes of the part of a request that says what it wants.
const LINE_BYTES: usize = 64;

/// Bytes of a request at most: browsers send some hundred.
const MAX_REQUEST: usize = 2_048;

/// What a client has said so far.
#[derive(Default)]
pub struct Request {
    line: Vec<u8, LINE_BYTES>,
    line_ended: bool,
    /// Line feeds in a row, with nothing but carriage returns between.
    empty: u8,
    len: usize,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    More,
    /// It is whole: it gets a reply, and then the connection is closed.
    Whole,
    /// It does not end: the connection is reset.
    Endless,
}

impl Request {
    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Progress {
        self.len = self.len.saturating_add(bytes.len());
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' => {
                    self.line_ended = true;
                    self.empty = self.empty.saturating_add(1);
                }
                other => {
                    self.empty = 0;
                    if !self.line_ended {
                        // Of a line that is longer, nothing would be found.
                        let _ = self.line.push(*other);
                    }
                }
            }
            if self.empty >= 2 {
                return Progress::Whole;
            }
        }
        if self.len > MAX_REQUEST { Progress::Endless } else { Progress::More }
    }

    /// Writes the reply, with `status` as the body of the one page that there is; returns its length.
    pub fn answer(&self, reply: &mut [u8], status: impl FnOnce(&mut Writer<'_>)) -> usize {
        let mut words = self.line.split(|byte| *byte == b' ');
        let (get, path) = (words.next() == Some(b"GET"), words.next());
        let mut writer = Writer::new(reply);
        match path {
            _ if !get => refuse(&mut writer, "405 Method Not Allowed", "only GET is understood"),
            Some(b"/status") => {
                head(&mut writer, "200 OK");
                status(&mut writer);
            }
            _ => refuse(&mut writer, "404 Not Found", "only /status is here"),
        }
        writer.text("\n");
        if writer.is_cut() {
            writer = Writer::new(reply);
            refuse(&mut writer, "500 Internal Server Error", "the page is longer than its buffer");
        }
        writer.len()
    }
}

/// The body ends with the connection, so nobody has to know its length beforehand.
fn head(writer: &mut Writer<'_>, status: &str) {
    writer.text("HTTP/1.1 ");
    writer.text(status);
    writer.text("\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
}

fn refuse(writer: &mut Writer<'_>, status: &str, why: &str) {
    head(writer, status);
    writer.open();
    writer.word("error", Some(why));
    writer.close();
}
