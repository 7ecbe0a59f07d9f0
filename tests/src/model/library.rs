//! Content and content information that sequences of calls draw from.

use std::collections::HashMap;
use std::ops::Range;

use peerdist_core::content::publish::{v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::v1::info_len;
use peerdist_core::content::{EndForm, server_secret};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};

use crate::check::content;
use crate::info::excerpt;

/// The server secret of all that is published.
pub const KEY: &[u8] = b"no more secrets";

/// Bytes of a segment of version 2.0: more than the pages have in which data waits.
const SEGMENT: u32 = 600;

/// Content information, and what a consumer has to know of it.
pub struct Material {
    /// As it is fed.
    pub bytes: Vec<u8>,
    /// What it comes to, if that is no success.
    pub fails: Option<u32>,
    /// Whether that is found by checking block hashes, after it was parsed; and what takes so many turns.
    pub turns: u32,
    /// Of which body.
    pub body: usize,
    /// What may be read.
    pub range: Range<u64>,
    /// Blocks that can be verified, with the name of the segment under which they are kept.
    pub blocks: Vec<(Range<u64>, &'static str)>,
    /// Where the content ends, if content information tells.
    pub end: Option<u64>,
}

/// All of it.
pub struct Library {
    /// Content.
    pub bodies: Vec<Vec<u8>>,
    /// Content information.
    pub materials: Vec<Material>,
    published: HashMap<(Vec<u8>, u32, Range<u64>), Vec<u8>>,
}

fn version_1(bytes: &[u8]) -> Vec<u8> {
    let crypto = &mut SoftCrypto;
    let algorithm = HashAlgorithm::Sha256;
    let ks = server_secret(crypto, algorithm, KEY);
    let len = bytes.len() as u64;
    let mut info = vec![0; info_len(algorithm, len).unwrap() as usize];
    let sink = &mut info.as_mut_slice();
    let mut publisher = v1::Publisher::new(algorithm, ks, len).unwrap();
    publisher.update(crypto, bytes, sink).unwrap();
    publisher.finish(sink).unwrap();
    info
}

fn version_2(bytes: &[u8], segmentation: Segmentation) -> Vec<u8> {
    let crypto = &mut SoftCrypto;
    let ks = server_secret(crypto, HashAlgorithm::TruncatedSha512, KEY);
    let mut info = vec![0; 1_024];
    let sink = &mut info.as_mut_slice();
    let mut publisher = v2::Publisher::new(ks, segmentation);
    publisher.update(crypto, bytes, sink).unwrap();
    let len = publisher.finish(crypto, sink).unwrap().encoded_len();
    info.truncate(len as usize);
    info
}

impl Default for Library {
    fn default() -> Self {
        let bodies = vec![content(2_000), content(1_000), content(800), content(66_000)];
        let fixed = version_2(&bodies[0], Segmentation::Fixed(SegmentLen::new(SEGMENT).unwrap()));
        let blocks = |len: u64, of: u64, name| {
            (0..len.div_ceil(of)).map(|n| (n * of..len.min((n + 1) * of), name)).collect::<Vec<_>>()
        };
        let cut = |info: &[u8], range: &Range<u64>| excerpt(&info, range, EndForm::Zero);
        let segments = ["a0", "a1", "a2", "a3"];
        let mut of_fixed = blocks(2_000, SEGMENT.into(), "");
        of_fixed.iter_mut().zip(segments).for_each(|(block, name)| block.1 = name);
        let (whole_1, whole_3) = (version_1(&bodies[1]), version_1(&bodies[3]));
        let material = |bytes, turns, body: usize, range: Range<u64>, blocks, end| Material {
            bytes,
            fails: None,
            turns,
            body,
            range,
            blocks,
            end,
        };
        let mut unknown = fixed.clone();
        unknown[1] = 3;
        let mut forged = whole_1.clone();
        *forged.last_mut().unwrap() ^= 1;
        let materials = vec![
            material(fixed.clone(), 0, 0, 0..2_000, of_fixed.clone(), Some(2_000)),
            material(cut(&fixed, &(700..1_500)), 0, 0, 700..1_500, of_fixed[1..3].to_vec(), None),
            material(whole_1.clone(), 2, 1, 0..1_000, blocks(1_000, 65_536, "b"), Some(1_000)),
            material(cut(&whole_1, &(100..600)), 2, 1, 100..600, blocks(1_000, 65_536, "b"), Some(1_000)),
            material(
                version_2(&bodies[2], Segmentation::ContentDefined),
                0,
                2,
                0..800,
                blocks(800, 65_536, "c"),
                Some(800),
            ),
            Material { fails: Some(4050), ..material(unknown, 0, 0, 0..0, vec![], None) },
            Material { fails: Some(4051), ..material(forged, 2, 1, 0..0, vec![], None) },
            material(whole_3.clone(), 2, 3, 0..66_000, blocks(66_000, 65_536, "d"), Some(66_000)),
            // A list that is cut is of blocks that are kept apart.
            material(
                cut(&whole_3, &(100..1_000)),
                1,
                3,
                100..1_000,
                vec![(0..65_536, "d apart")],
                Some(66_000),
            ),
        ];
        Self { bodies, materials, published: HashMap::new() }
    }
}

impl Library {
    /// The content information of a part of what is published.
    pub fn published(&mut self, bytes: &[u8], version: u32, range: Range<u64>) -> &[u8] {
        self.published.entry((bytes.to_vec(), version, range.clone())).or_insert_with(|| {
            let whole = match version {
                1 => version_1(bytes),
                _ => version_2(bytes, Segmentation::ContentDefined),
            };
            if range == (0..bytes.len() as u64) {
                whole
            } else {
                excerpt(&whole.as_slice(), &range, EndForm::Zero)
            }
        })
    }
}
