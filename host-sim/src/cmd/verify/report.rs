//! What came of the comparison.

use std::ops::Range;

use serde::Serialize;

use crate::cmd::info::{count, span};

/// Differences that are listed; the others are counted. More than a few say that it is another file.
pub const MAX_LISTED: usize = 100;

/// What is the same and what differs.
#[derive(Default, Serialize)]
pub struct Report {
    /// The first and the last byte that have been compared; in between there is no gap.
    verified: Option<Range<u64>>,
    segments: u64,
    blocks: u64,
    secret_checked: bool,
    unchecked_hods: u64,
    differences: u64,
    listed: Vec<Difference>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Difference {
    /// The hash of a block is not the listed one. In version 2.0 the block is the segment.
    Block {
        segment: u32,
        /// `None` in version 2.0.
        #[serde(skip_serializing_if = "Option::is_none")]
        block: Option<u32>,
        range: Range<u64>,
    },
    /// The listed hashes are right, yet the HoD is not.
    UnlistedBlock {
        segment: u32,
        /// The bytes of the blocks that are not listed: before the list, after it, or both.
        ranges: Vec<Range<u64>>,
    },
    /// All hashes are listed and right, yet the HoD is not.
    BlockHashes { segment: u32, range: Range<u64> },
    /// Kp is not the HMAC that the server secret key gives.
    Secret { segment: u32 },
    /// The file ends before the last block of the range does.
    FileEnds {
        offset: u64,
        /// The first of the range that is not whole.
        segment: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        block: Option<u32>,
        /// The bytes that are missing.
        range: Range<u64>,
    },
    /// The file has bytes behind the described ones.
    FileGoesOn {
        /// Where they begin.
        offset: u64,
    },
}

impl Report {
    pub fn same(&self) -> bool {
        self.differences == 0
    }

    pub fn add(&mut self, difference: Difference) {
        self.differences += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(difference);
        }
    }

    /// Notes a segment of which these bytes, in as many blocks, have been compared.
    pub fn add_segment(&mut self, range: &Range<u64>, blocks: u32) {
        self.segments += 1;
        self.blocks += u64::from(blocks);
        let start = self.verified.as_ref().map_or(range.start, |verified| verified.start);
        self.verified = Some(start..range.end);
    }

    /// Notes a segment whose HoD could not be checked.
    pub fn add_unchecked_hod(&mut self) {
        self.unchecked_hods += 1;
    }

    pub fn set_secret_checked(&mut self) {
        self.secret_checked = true;
    }

    pub fn to_text(&self, file: &str) -> String {
        let mut lines: Vec<String> = self.listed.iter().map(|difference| difference.to_text(file)).collect();
        let hidden = self.differences - self.listed.len() as u64;
        if hidden > 0 {
            lines.push(format!("… and {hidden} more differences"));
        }
        if self.unchecked_hods > 0 {
            lines.push(format!(
                "HoD not checked of {}, which {file} does not have whole",
                count(self.unchecked_hods, "segment")
            ));
        }
        let what = match &self.verified {
            Some(range) => span(range),
            None => "no bytes".into(),
        };
        let counts = format!("{what}, {}, {}", count(self.segments, "segment"), count(self.blocks, "block"));
        lines.push(match (self.differences, self.secret_checked) {
            (0, true) => format!("verified: {counts}, and every Kp follows from the secret"),
            (0, false) => format!("verified: {counts}"),
            (differences, _) => format!("compared: {counts}: {}", count(differences, "difference")),
        });
        lines.push(String::new());
        lines.join("\n")
    }

    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            same: bool,
            #[serde(flatten)]
            report: &'a Report,
        }
        let document = Document { same: self.same(), report: self };
        serde_json::to_string_pretty(&document).expect("strings and numbers are valid JSON")
    }
}

impl Difference {
    fn to_text(&self, file: &str) -> String {
        match self {
            Self::Block { segment, block: Some(block), range } => {
                format!("segment {segment}, block {block} differs: {}", span(range))
            }
            Self::Block { segment, block: None, range } => {
                format!("segment {segment} differs: {}", span(range))
            }
            Self::UnlistedBlock { segment, ranges } => {
                let ranges: Vec<String> = ranges.iter().map(span).collect();
                format!(
                    "segment {segment} differs in a block whose hash is not listed: {}",
                    ranges.join(" or ")
                )
            }
            Self::BlockHashes { segment, .. } => {
                format!("segment {segment}: the block hashes are those of {file}, but not those of the HoD")
            }
            Self::Secret { segment } => format!("Kp of segment {segment} does not follow from this secret"),
            Self::FileEnds { offset, segment, block, range } => {
                let block = block.map_or(String::new(), |block| format!("block {block} of "));
                let missing = span(range);
                format!(
                    "{file} ends at byte {offset}: {missing} are missing, from {block}segment {segment} on"
                )
            }
            Self::FileGoesOn { offset } => {
                format!("{file} goes on at byte {offset}, where the content information ends")
            }
        }
    }
}
