//! The exchange of MSG_GETBLKLIST: which of some blocks a peer has.

use super::{Fields, Refusal, range, versions};
use crate::bytes::{NoRoom, Reader, Writer};
use crate::content::SegmentId;
use crate::crypto::CipherAlgorithm;
use crate::retrieval::set::IndexSet;
use crate::retrieval::wire::{GetBlockList, MessageType, RANGE_BYTES, Range, VersionRange, pad};

/// What the next bytes of a reply turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListStep {
    /// Nothing to act on yet.
    More,
    /// The reply is complete: of what was asked for, the peer has these blocks.
    Blocks(IndexSet),
    /// The reply is complete: the peer would rather speak these versions (3.1.5.1).
    Negotiation(VersionRange),
}

/// One exchange: what was asked for, and how far its reply has come. However many ranges the reply
/// has, what is kept of them is one set.
pub struct ListExchange {
    segment: SegmentId,
    asked: IndexSet,
    listed: IndexSet,
    phase: Phase,
    fields: Fields,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    IdSize,
    Id,
    /// So many ranges are still to come.
    Range(u32),
    Next,
    Negotiation,
    Done,
}

impl ListExchange {
    /// An exchange that asks which of the blocks `asked` of `segment` the peer has.
    pub fn new(segment: SegmentId, asked: IndexSet) -> Self {
        Self { segment, asked, listed: IndexSet::EMPTY, phase: Phase::Header, fields: Fields::NEW }
    }

    /// Writes the request, the same each time: 2,140 bytes at most. 3.1.4.2: its segment id and
    /// ranges MUST be those asked for.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        // 2.2.3: SHOULD indicate AES-128 in a request.
        let cipher = CipherAlgorithm::Aes128.into();
        GetBlockList::emit_for(self.segment.as_bytes(), cipher, self.asked.ranges(), writer)
    }

    /// Whether the reply is complete.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Reads on. Returns how many bytes were used; call again while bytes are left.
    pub fn handle(&mut self, bytes: &[u8]) -> (usize, Result<ListStep, Refusal>) {
        if self.phase == Phase::Done {
            // Nothing may follow a complete reply.
            let step = if bytes.is_empty() { Ok(ListStep::More) } else { Err(Refusal::Malformed) };
            return (bytes.len(), step);
        }
        let (used, whole) = self.fields.fill(bytes);
        if !whole {
            return (used, Ok(ListStep::More));
        }
        let fields = self.fields;
        let step = self.field_complete(&mut fields.reader());
        if step.is_err() {
            self.phase = Phase::Done;
        }
        (used, step)
    }

    fn collect(&mut self, phase: Phase, need: usize) -> Result<ListStep, Refusal> {
        self.fields.spend(need as u32)?;
        self.fields.collect(need);
        self.phase = phase;
        Ok(ListStep::More)
    }

    fn field_complete(&mut self, reader: &mut Reader<'_>) -> Result<ListStep, Refusal> {
        let malformed = |_| Refusal::Malformed;
        match self.phase {
            Phase::Header => match self.fields.open(reader)?.message {
                MessageType::NegotiationResponse => self.collect(Phase::Negotiation, 8),
                MessageType::BlockList => self.collect(Phase::IdSize, 4),
                _ => Err(Refusal::Unexpected),
            },
            Phase::IdSize => {
                let len = self.segment.as_bytes().len();
                if reader.u32_be().map_err(malformed)? as usize != len {
                    return Err(Refusal::NotAsked);
                }
                self.collect(Phase::Id, len.saturating_add(pad(len)).saturating_add(4))
            }
            Phase::Id => {
                // 3.1.5.2: SHOULD verify that the segment id matches, and MUST then discard another.
                let len = self.segment.as_bytes().len();
                if reader.take(len).map_err(malformed)? != self.segment.as_bytes() {
                    return Err(Refusal::NotAsked);
                }
                reader.take(pad(len)).map_err(malformed)?;
                self.ranges(reader.u32_be().map_err(malformed)?)
            }
            Phase::Range(left) => {
                self.range(range(reader)?)?;
                self.ranges(left)
            }
            // NextBlockIndex is not to be trusted (fact 40), and says nothing that was asked.
            Phase::Next => self.end(ListStep::Blocks(self.listed)),
            Phase::Negotiation => self.end(ListStep::Negotiation(versions(reader)?)),
            // This does not collect a field.
            Phase::Done => Err(Refusal::Malformed),
        }
    }

    fn ranges(&mut self, left: u32) -> Result<ListStep, Refusal> {
        match left.checked_sub(1) {
            Some(left) => self.collect(Phase::Range(left), RANGE_BYTES),
            None => self.collect(Phase::Next, 4),
        }
    }

    /// 3.1.5.2: MUST check that the ranges overlap with those of the request, or else discard the
    /// reply. Of a range that reaches beyond them, what was asked for counts.
    fn range(&mut self, range: Range) -> Result<(), Refusal> {
        let mut blocks = IndexSet::EMPTY;
        blocks.insert_range(range);
        let blocks = blocks.intersection(&self.asked);
        if blocks.is_empty() {
            return Err(Refusal::NotAsked);
        }
        self.listed = self.listed.union(&blocks);
        Ok(())
    }

    fn end(&mut self, step: ListStep) -> Result<ListStep, Refusal> {
        self.phase = Phase::Done;
        self.fields.end(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::wire::OUR_VERSIONS;

    macro_rules! vector {
        ($name:literal) => {
            include_bytes!(concat!("../../../../tests/vectors/", $name))
        };
    }

    fn set(ranges: &[(u32, u32)]) -> IndexSet {
        let mut set = IndexSet::EMPTY;
        ranges.iter().for_each(|&(index, count)| set.insert_range(Range { index, count }));
        set
    }

    fn exchange(asked: &[(u32, u32)]) -> ListExchange {
        let id: [u8; 32] = core::array::from_fn(|i| i as u8);
        ListExchange::new(SegmentId::from_slice(&id).unwrap(), set(asked))
    }

    /// Feeds `bytes` in chunks and returns the last step.
    fn feed(exchange: &mut ListExchange, bytes: &[u8], chunk: usize) -> Result<ListStep, Refusal> {
        let mut last = ListStep::More;
        for mut bytes in bytes.chunks(chunk) {
            while !bytes.is_empty() {
                let (used, step) = exchange.handle(bytes);
                bytes = &bytes[used..];
                last = step?;
            }
        }
        Ok(last)
    }

    /// 3.1.4.2
    #[test]
    fn our_request_is_theirs() {
        for (asked, vector) in [
            (&[(0, 512)][..], &vector!("pccrr-getblklist-crypto1.bin")[..]),
            (&[(0, 1), (42, 7), (511, 1)], vector!("pccrr-getblklist-3ranges.bin")),
        ] {
            let mut buf = [0; 100];
            let mut writer = Writer::new(&mut buf);
            exchange(asked).emit(&mut writer).unwrap();
            assert_eq!(writer.finish(), vector);
        }
    }

    /// 3.1.5.2
    #[test]
    fn a_list_in_any_pieces() {
        let bytes = vector!("pccrr-blklist-2.bin");
        for chunk in 1..=bytes.len() {
            let mut exchange = exchange(&[(0, 512)]);
            let listed = set(&[(0, 2), (4, 508)]);
            assert_eq!(feed(&mut exchange, bytes, chunk), Ok(ListStep::Blocks(listed)));
            assert!(exchange.is_done());
            assert_eq!(exchange.handle(&[0]).1, Err(Refusal::Malformed));
        }
        let none = vector!("pccrr-blklist-empty.bin");
        assert_eq!(feed(&mut exchange(&[(0, 4)]), none, 9), Ok(ListStep::Blocks(IndexSet::EMPTY)));
    }

    /// 3.1.5.2: what was not asked for does not count, and a range of nothing else is a lie.
    #[test]
    fn ranges_are_those_that_were_asked_for() {
        let bytes = vector!("pccrr-blklist-2.bin");
        let some = feed(&mut exchange(&[(1, 2), (100, 1)]), bytes, 99);
        assert_eq!(some, Ok(ListStep::Blocks(set(&[(1, 1), (100, 1)]))));
        assert_eq!(feed(&mut exchange(&[(0, 3)]), bytes, 99), Err(Refusal::NotAsked));
        let mut other = *bytes;
        other[63] = 0;
        other[67] = 0;
        assert_eq!(feed(&mut exchange(&[(0, 512)]), &other, 99), Err(Refusal::Malformed), "Count 0");
    }

    /// 3.1.5.2: well-formed, and the segment's that was asked for; 3.1.5.5: or else discarded.
    #[test]
    fn another_segment_type_or_version_is_refused() {
        let bytes = vector!("pccrr-blklist-2.bin");
        for (at, refusal) in [
            (3, Refusal::Malformed),
            (7, Refusal::Unexpected),
            (11, Refusal::Unexpected),
            (15, Refusal::Malformed),
            (23, Refusal::NotAsked),
            (24, Refusal::NotAsked),
            (59, Refusal::Malformed),
        ] {
            let mut other = *bytes;
            other[at] ^= 1;
            assert_eq!(feed(&mut exchange(&[(0, 512)]), &other, 99), Err(refusal), "byte {at}");
        }
        for other in [&vector!("pccrr-blk-empty.bin")[..], vector!("pccrr-seglist-fixed.bin")] {
            assert_eq!(feed(&mut exchange(&[(0, 512)]), other, 99), Err(Refusal::Unexpected));
        }
    }

    /// 3.1.5.1 and fact 40: the same request once more, if the type's major version is spoken.
    #[test]
    fn negotiation() {
        let mut exchange = exchange(&[(0, 512)]);
        let step = feed(&mut exchange, vector!("pccrr-nego-resp-1.0-2.0.bin"), 5);
        assert_eq!(step, Ok(ListStep::Negotiation(OUR_VERSIONS)));
        assert!(OUR_VERSIONS.speaks(MessageType::GetBlockList.version()));
    }

    #[test]
    fn every_cut_is_incomplete() {
        let bytes = vector!("pccrr-blklist-2.bin");
        for len in 0..bytes.len() {
            let mut exchange = exchange(&[(0, 512)]);
            assert_eq!(feed(&mut exchange, &bytes[..len], 99), Ok(ListStep::More));
            assert!(!exchange.is_done());
        }
    }
}
