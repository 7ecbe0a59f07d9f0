//! What content information at hand says of blocks, by their names.

use std::collections::HashMap;

use peerdist_core::content::{HodCheck, Info, InfoError, InfoSource, Progress, Segment, SegmentId, v2};
use peerdist_core::crypto::{Crypto, Secret};
use peerdist_core::limits::SEGMENT_BLOCKS;
use peerdist_core::store::verify::Expected;
use peerdist_core::store::{BlockId, Store};

/// Segments that are known at once: about 64 GiB in content information 2.0, and 32 TiB in 1.0. Each takes 128 bytes
/// in a table, which may be half empty.
pub const MAX_SEGMENTS: usize = 1 << 20;

/// Content information, and where in it what is said of a segment stands. Secrets stay where they are, and are
/// read when they are needed.
#[derive(Default)]
pub struct Known<'a> {
    infos: Vec<(Info, &'a dyn InfoSource)>,
    /// Segments of which all block hashes are listed, and are those of their HoD.
    proven: HashMap<SegmentId, Place>,
    /// Segments of which some are not, so that nothing proves the others: by their names, and by those under which
    /// their blocks are kept apart.
    partial: HashMap<SegmentId, Vec<Place>>,
    /// How many were added.
    segments: usize,
}

/// Where a segment stands.
#[derive(Clone, Copy)]
struct Place {
    info: usize,
    segment: u32,
    near: Option<v2::Place>,
}

/// What a block has to be.
pub struct Match {
    /// The name under which it is kept.
    pub kept: BlockId,
    pub expected: Expected,
    pub key: Secret,
}

impl<'a> Known<'a> {
    /// Adds content information that was parsed from `source`. It fails where block hashes are not those of their
    /// segment, and beyond [`MAX_SEGMENTS`], where there is no error of the content information.
    pub fn add(
        &mut self,
        crypto: &mut dyn Crypto,
        info: Info,
        source: &'a dyn InfoSource,
    ) -> Result<(), Option<InfoError>> {
        let added = self.add_segments(crypto, &info, source);
        // What was added before an error has its number, too.
        self.infos.push((info, source));
        added
    }

    fn add_segments(
        &mut self,
        crypto: &mut dyn Crypto,
        info: &Info,
        source: &dyn InfoSource,
    ) -> Result<(), Option<InfoError>> {
        let number = self.infos.len();
        let mut next = Some(info.segment(source, 0)?);
        while let Some(segment) = next {
            self.segments += 1;
            if self.segments > MAX_SEGMENTS {
                return Err(None);
            }
            let place = Place { info: number, segment: segment.index(), near: segment.place() };
            let id = segment.id(crypto);
            if segment.is_whole() {
                // MS-PCCRC 2.2: the block hashes MUST match HoD.
                let mut check = HodCheck::new(crypto, &segment)?;
                while check.step(source, crypto, SEGMENT_BLOCKS)? == Progress::More {}
                self.proven.insert(id, place);
            } else {
                self.partial.entry(id).or_default().push(place);
                for index in segment.listed_blocks() {
                    let Some(expected) = expected(&segment, source, index)? else { continue };
                    let apart = expected.kept_as(crypto, &BlockId { segment: id, index }, false);
                    self.partial.entry(apart.segment).or_default().push(place);
                }
            }
            next = info.next_segment(source, &segment)?;
        }
        Ok(())
    }

    /// What is known of a block; `None` without content information of it. An error is that of the content
    /// information with this number, in the order in which they were added.
    pub(super) fn find(
        &self,
        crypto: &mut dyn Crypto,
        block: &BlockId,
    ) -> Result<Option<Match>, (usize, InfoError)> {
        let proven = self.proven.get(&block.segment);
        let partial = self.partial.get(&block.segment).into_iter().flatten();
        let places = proven.into_iter().map(|place| (place, true)).chain(partial.map(|place| (place, false)));
        for (place, is_proven) in places {
            let Some((info, source)) = self.infos.get(place.info) else { continue };
            let wrong = |error| (place.info, error);
            let segment = info.segment_near(*source, place.near, place.segment).map_err(wrong)?;
            let Some(expected) = expected(&segment, *source, block.index).map_err(wrong)? else { continue };
            let own = BlockId { segment: segment.id(crypto), index: block.index };
            let kept = expected.kept_as(crypto, &own, is_proven);
            if *block == own || *block == kept {
                return Ok(Some(Match { kept, expected, key: segment.secret().clone() }));
            }
        }
        Ok(None)
    }

    /// How many blocks that content information tells of are not in a store, whatever they are called there.
    pub fn missing(&self, crypto: &mut dyn Crypto, store: &dyn Store) -> Result<u64, (usize, InfoError)> {
        let mut missing = 0;
        for (number, (info, source)) in self.infos.iter().enumerate() {
            let wrong = |error| (number, error);
            let mut next = Some(info.segment(*source, 0).map_err(wrong)?);
            while let Some(segment) = next {
                let id = segment.id(crypto);
                for index in segment.blocks_in_range() {
                    let Some(expected) = expected(&segment, *source, index).map_err(wrong)? else { continue };
                    let own = BlockId { segment: id, index };
                    let unverified = id.unverifiable().map(|segment| BlockId { segment, index });
                    let names = [Some(own), unverified, Some(expected.kept_as(crypto, &own, false))];
                    missing += u64::from(names.iter().flatten().all(|name| !store.has(name)));
                }
                next = info.next_segment(*source, &segment).map_err(wrong)?;
            }
        }
        Ok(missing)
    }

    /// Whether a block is one that content information at hand tells of, verified or not.
    pub fn has(&self, crypto: &mut dyn Crypto, block: &BlockId) -> Result<bool, (usize, InfoError)> {
        self.find(crypto, &named(block)).map(|found| found.is_some())
    }
}

/// The name that a block has, where it is kept without being verified.
pub(super) fn named(block: &BlockId) -> BlockId {
    let bytes = block.segment.as_bytes();
    let own = bytes.split_last().filter(|_| block.segment.is_unverifiable());
    let segment = own.and_then(|(_, bytes)| SegmentId::from_slice(bytes)).unwrap_or(block.segment);
    BlockId { segment, ..*block }
}

/// What is said of a block; `None` where its hash is not listed.
fn expected(segment: &Segment, source: &dyn InfoSource, index: u32) -> Result<Option<Expected>, InfoError> {
    let Some(len) = segment.block_len(index) else { return Ok(None) };
    let hash = segment.block_hash(source, index)?;
    Ok(hash.map(|hash| Expected { algorithm: segment.algorithm(), hash, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_small() {
        assert!(size_of::<(SegmentId, Place)>() <= 128);
    }
}
