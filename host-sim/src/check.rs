//! The checkers: they stand outside the hosts and believe nobody.
//!
//! A host hands every byte it delivers to its [`Delivery`], which compares it with the origin's content
//! and hashes it. What a client claims about itself decides nothing.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// What all clients should end up with.
#[derive(Clone, Debug)]
pub struct Content {
    bytes: Arc<[u8]>,
    sha256: [u8; 32],
}

impl Content {
    /// Takes the content and hashes it.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let sha256 = Sha256::digest(&bytes).into();
        Self { bytes, sha256 }
    }

    /// The content itself.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// How long it is.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Its SHA-256.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// What arrived at one client, in order.
#[derive(Debug)]
pub struct Delivery {
    content: Content,
    hash: Sha256,
    received: u64,
    wrong_at: Option<u64>,
}

/// What a [`Delivery`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte, and every one right.
    Complete,
    /// What came was right, but it is not all.
    Missing,
    /// The byte at this offset is not the content's, or lies behind its end.
    Wrong(u64),
}

impl Delivery {
    /// Nothing has arrived yet.
    pub fn new(content: Content) -> Self {
        Self { content, hash: Sha256::new(), received: 0, wrong_at: None }
    }

    /// The next bytes arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        if self.wrong_at.is_none() {
            // What is behind the content's end compares with nothing, and so is wrong.
            let start = usize::try_from(self.received).unwrap_or(usize::MAX);
            let expected = self.content.bytes.get(start..).unwrap_or_default();
            if !expected.starts_with(bytes) {
                let right =
                    expected.iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
                self.wrong_at = Some(self.received + right as u64);
            }
        }
        self.received += bytes.len() as u64;
    }

    /// Bytes so far, right or wrong.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The SHA-256 of the bytes so far.
    pub fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// What it comes to so far.
    pub fn verdict(&self) -> Verdict {
        match self.wrong_at {
            Some(offset) => Verdict::Wrong(offset),
            None if self.received < self.content.size() => Verdict::Missing,
            None => Verdict::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(content: &[u8], pushed: &[&[u8]]) -> Verdict {
        let mut delivery = Delivery::new(Content::new(content));
        pushed.iter().for_each(|bytes| delivery.push(bytes));
        delivery.verdict()
    }

    #[test]
    fn judges_every_byte() {
        assert_eq!(verdict(b"abcdef", &[b"abc", b"def"]), Verdict::Complete);
        assert_eq!(verdict(b"abcdef", &[b"abc", b"", b"de"]), Verdict::Missing);
        assert_eq!(verdict(b"abcdef", &[b"abc", b"dXf"]), Verdict::Wrong(4));
        assert_eq!(verdict(b"abcdef", &[b"Xbc", b"dXf"]), Verdict::Wrong(0));
        assert_eq!(verdict(b"abcdef", &[b"abc", b"defg"]), Verdict::Wrong(6));
        assert_eq!(verdict(b"abcdef", &[b"abcdef", b"g", b"h"]), Verdict::Wrong(6));
        assert_eq!(verdict(b"", &[]), Verdict::Complete);
        assert_eq!(verdict(b"", &[b"a"]), Verdict::Wrong(0));
    }

    #[test]
    fn hashes_what_came_and_not_what_should_have_come() {
        let mut delivery = Delivery::new(Content::new(*b"abc"));
        delivery.push(b"abX");
        assert_eq!(delivery.sha256(), Content::new(*b"abX").sha256());
        assert_eq!(delivery.received(), 3);
    }
}
