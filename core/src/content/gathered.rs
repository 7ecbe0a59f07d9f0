//! Content information that was written in the order in which it became known.
//!
//! The front of either structure depends on what is behind it: how many segments there are, and in
//! version 1.0 what they are called. So content whose length nobody knows cannot be published to a
//! place that only appends. What is gathered there has everything but what can be computed, in the
//! order in which it came:
//!
//! ```text
//! 1.0    block hashes of segment 0, its description, block hashes of segment 1, …
//! 2.0    descriptions of segment 0, 1, …, of a single chunk
//! ```

use super::v1::wire as wire_v1;
use super::v2::wire as wire_v2;
use super::{InfoSource, InfoUnreadable, Version, v1, v2};
use crate::bytes::copy;
use crate::limits::{BLOCK_BYTES, SEGMENT_BLOCKS};

/// The structure that gathered pieces make, as a source: none of it is kept twice, and nothing moves.
#[derive(Clone, Copy)]
pub struct Gathered<'a> {
    source: &'a dyn InfoSource,
    info: Described<'a>,
}

#[derive(Clone, Copy)]
enum Described<'a> {
    V1(&'a v1::Info),
    V2(&'a v2::Info),
}

impl<'a> Gathered<'a> {
    /// The pieces of version 1.0 that `source` holds, of which the publisher said `info`.
    pub const fn v1(source: &'a dyn InfoSource, info: &'a v1::Info) -> Self {
        Self { source, info: Described::V1(info) }
    }

    /// The same of version 2.0.
    pub const fn v2(source: &'a dyn InfoSource, info: &'a v2::Info) -> Self {
        Self { source, info: Described::V2(info) }
    }
}

/// Bytes in front of the structure that are not gathered: what a publisher writes there is not kept,
/// and what it writes behind them is, that much nearer to the front. In version 1.0 it writes none, by
/// [`gather`](super::publish::v1::Publisher::gather).
pub const fn gathered_front(version: Version) -> u64 {
    match version {
        Version::V1 => 0,
        Version::V2 => (wire_v2::HEADER_BYTES + wire_v2::CHUNK_HEAD_BYTES) as u64,
    }
}

impl InfoSource for Gathered<'_> {
    fn len(&self) -> u64 {
        match self.info {
            Described::V1(info) => info.encoded_len(),
            Described::V2(info) => info.encoded_len(),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len()) {
            return Err(unreadable);
        }
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let piece = match self.info {
                Described::V1(info) => piece_v1(info, at),
                Described::V2(info) => piece_v2(info, at),
            };
            let taken = match piece {
                Piece::Made { bytes, len, at } => {
                    let at = usize::try_from(at).unwrap_or(len);
                    copy(rest, bytes.get(at..len).unwrap_or_default())
                }
                Piece::Kept { at, len } => {
                    let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
                    let now = rest.get_mut(..len).ok_or(unreadable)?;
                    self.source.read_at(at, now).map_err(|_| unreadable)?;
                    len
                }
            };
            // Every piece has bytes from `at` on, so that this ends.
            rest = rest.get_mut(taken.max(1)..).ok_or(unreadable)?;
            at = at.saturating_add(taken as u64);
        }
        Ok(())
    }
}

/// What stands at a place of the structure.
enum Piece {
    /// The first `len` of these bytes, from `at` on.
    Made { bytes: [u8; MAX_MADE], len: usize, at: u64 },
    /// As many bytes as `len`, gathered from `at` on.
    Kept { at: u64, len: u64 },
}

/// Bytes of the longest piece that is not gathered: the header and the head of the chunk of 2.0.
const MAX_MADE: usize = wire_v2::HEADER_BYTES + wire_v2::CHUNK_HEAD_BYTES;

fn piece_v1(info: &v1::Info, at: u64) -> Piece {
    let mut made = [0; MAX_MADE];
    let digest_len = info.digest_len();
    let blocks = |index| u64::from(info.segment_len(index).div_ceil(BLOCK_BYTES));
    if at < wire_v1::HEADER_BYTES as u64 {
        // There is room, so this cannot fail.
        _ = info.header().emit(&mut made);
        return Piece::Made { bytes: made, len: wire_v1::HEADER_BYTES, at };
    }
    let description = wire_v1::description_bytes(info.algorithm()) as u64;
    let (index, within, list) = match at.checked_sub(info.list_at(0)) {
        None => {
            let at = at.saturating_sub(wire_v1::HEADER_BYTES as u64);
            (at.checked_div(description), at.checked_rem(description), false)
        }
        Some(at) => {
            let full = u64::from(SEGMENT_BLOCKS) * digest_len + wire_v1::COUNT_BYTES as u64;
            (at.checked_div(full), at.checked_rem(full), true)
        }
    };
    // Neither divisor is zero, and there are not more segments than 32 bits count.
    let (index, within) = (index.unwrap_or(0) as u32, within.unwrap_or(0));
    let hashes = blocks(index) * digest_len;
    let start = info.gathered_at(index);
    if !list {
        let at = start.saturating_add(hashes).saturating_add(within);
        return Piece::Kept { at, len: description.saturating_sub(within) };
    }
    match within.checked_sub(wire_v1::COUNT_BYTES as u64) {
        None => {
            copy(&mut made, &(blocks(index) as u32).to_le_bytes());
            Piece::Made { bytes: made, len: wire_v1::COUNT_BYTES, at: within }
        }
        Some(within) => Piece::Kept { at: start.saturating_add(within), len: hashes.saturating_sub(within) },
    }
}

fn piece_v2(info: &v2::Info, at: u64) -> Piece {
    let front = gathered_front(Version::V2);
    match at.checked_sub(front) {
        Some(at) => Piece::Kept { at, len: u64::MAX },
        None => {
            let mut made = [0; MAX_MADE];
            let (header, chunk) = made.split_at_mut(wire_v2::HEADER_BYTES);
            // There is room, so neither can fail.
            _ = info.header().emit(header);
            _ = wire_v2::ChunkRepr { segments: info.segment_count() }.emit(chunk);
            Piece::Made { bytes: made, len: MAX_MADE, at }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::content::publish::{PublishError, v1 as publish_v1, v2 as publish_v2};
    use crate::content::segmenter::Segmentation;
    use crate::content::{EndForm, Info, InfoSink, InfoUnwritable, server_secret};
    use crate::crypto::{Crypto, Digest, HashAlgorithm, Secret, SoftCrypto, hash};

    /// Appends, and nothing else.
    struct Appending {
        bytes: Vec<u8>,
        front: u64,
    }

    impl InfoSink for Appending {
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
            match offset.checked_sub(self.front) {
                None => Ok(()),
                Some(at) if at == self.bytes.len() as u64 => {
                    self.bytes.extend_from_slice(bytes);
                    Ok(())
                }
                Some(_) => Err(InfoUnwritable { offset }),
            }
        }
    }

    fn ks(algorithm: HashAlgorithm) -> Secret {
        server_secret(&mut SoftCrypto, algorithm, b"key")
    }

    /// By hashes of blocks alone, so that long contents cost little.
    fn block(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, n: u32) -> Digest {
        hash(crypto, algorithm, &n.to_le_bytes())
    }

    fn read_by(source: &dyn InfoSource, piece: usize) -> Vec<u8> {
        let mut bytes = std::vec![0; source.len() as usize];
        for (n, part) in bytes.chunks_mut(piece).enumerate() {
            source.read_at((n * piece) as u64, part).unwrap();
        }
        bytes
    }

    fn same(info: &Info, gathered: &[u8], expected: &[u8]) {
        let source = match info {
            Info::V1(info) => Gathered::v1(&gathered, info),
            Info::V2(info) => Gathered::v2(&gathered, info),
        };
        assert_eq!(Info::parse(&expected).as_ref(), Ok(info));
        assert_eq!(Info::parse(&source).as_ref(), Ok(info));
        for piece in [1, 7, 33, 80, 4_096, 1 << 20] {
            assert_eq!(read_by(&source, piece), expected, "{piece}");
        }
        assert!(source.read_at(source.len(), &mut [0]).is_err());
        assert!(source.read_at(u64::MAX, &mut [0; 2]).is_err());
        assert_eq!(source.read_at(source.len(), &mut []), Ok(()));
        // A part of it, read through it.
        let part = info.excerpt(&source, info.range().end - 1..info.range().end, EndForm::Zero);
        let same_part = info.excerpt(&expected, info.range().end - 1..info.range().end, EndForm::Zero);
        let [part, same_part] = [part, same_part].map(|part| read_by(&part.unwrap().unwrap(), 9));
        assert_eq!(part, same_part);
    }

    #[test]
    fn version_1_is_the_same_structure() {
        let (full, whole) = (65_536u64, 32u64 << 20);
        for (algorithm, len) in
            [HashAlgorithm::Sha256, HashAlgorithm::Sha512].into_iter().flat_map(|algorithm| {
                [
                    1,
                    full - 1,
                    full,
                    full + 1,
                    whole - 1,
                    whole,
                    whole + 1,
                    2 * whole,
                    3 * whole + 5 * full + 3,
                ]
                .map(|len| (algorithm, len))
            })
        {
            let mut placed = publish_v1::Publisher::new(algorithm, ks(algorithm), len).unwrap();
            let mut expected = std::vec![0; v1::info_len(algorithm, len).unwrap() as usize];
            let mut gathering = publish_v1::Publisher::gather(algorithm, ks(algorithm)).unwrap();
            let mut gathered = Appending { bytes: Vec::new(), front: gathered_front(Version::V1) };
            let sink = &mut expected.as_mut_slice();
            let crypto = &mut SoftCrypto;
            let mut blocks = (0u32..).map(|n| block(&mut SoftCrypto, algorithm, n));
            while placed.missing() >= full {
                let hash = blocks.next().unwrap();
                placed.push_block(crypto, &hash, full as u32, sink).unwrap();
                gathering.push_block(crypto, &hash, full as u32, &mut gathered).unwrap();
            }
            let rest = std::vec![7; placed.missing() as usize];
            placed.update(crypto, &rest, sink).unwrap();
            gathering.update(crypto, &rest, &mut gathered).unwrap();
            placed.finish(sink).unwrap();
            let info = gathering.finish_here(crypto, &mut gathered).unwrap();
            same(&Info::V1(info), &gathered.bytes, &expected);
        }
    }

    #[test]
    fn version_2_is_the_same_structure() {
        for len in [1, 131_072, 300_000] {
            let content: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
            let publish = |sink: &mut dyn InfoSink| {
                let ks = ks(HashAlgorithm::TruncatedSha512);
                let mut publisher = publish_v2::Publisher::new(ks, Segmentation::ContentDefined);
                publisher.update(&mut SoftCrypto, &content, sink).unwrap();
                publisher.finish(&mut SoftCrypto, sink).unwrap()
            };
            let mut expected = std::vec![0; 1 << 10];
            let info = publish(&mut expected.as_mut_slice());
            expected.truncate(info.encoded_len() as usize);
            let mut gathered = Appending { bytes: Vec::new(), front: gathered_front(Version::V2) };
            publish(&mut gathered);
            same(&Info::V2(info), &gathered.bytes, &expected);
        }
    }

    #[test]
    fn what_has_no_structure_is_not_gathered() {
        let mut sink = Appending { bytes: Vec::new(), front: 0 };
        let algorithm = HashAlgorithm::Sha256;
        let nothing = publish_v1::Publisher::gather(algorithm, ks(algorithm)).unwrap();
        assert_eq!(nothing.finish_here(&mut SoftCrypto, &mut sink), Err(PublishError::Empty));
        let other = publish_v1::Publisher::gather(HashAlgorithm::TruncatedSha512, ks(algorithm));
        assert!(matches!(other, Err(PublishError::Algorithm)));
        let placed = publish_v1::Publisher::new(algorithm, ks(algorithm), 5).unwrap();
        let error = placed.finish_here(&mut SoftCrypto, &mut sink);
        assert_eq!(error, Err(PublishError::TooShort { missing: 5 }));
        let mut unplaced = publish_v1::Publisher::gather(algorithm, ks(algorithm)).unwrap();
        unplaced.update(&mut SoftCrypto, b"hello", &mut sink).unwrap();
        assert!(matches!(unplaced.finish(&mut sink), Err(PublishError::TooShort { .. })));
    }
}
