//! [MS-PCCRR] 3.2, the server: a request in, a reply out of the store. A stored block is copied,
//! no cipher runs.

use heapless::Vec;

use super::wire::{BLOCK_HEAD_BYTES, BLOCK_TAIL_BYTES, BlockReply, GetBlocks, OUR_VERSIONS, Request};
use crate::bytes::{Writer, copy};
use crate::content::SegmentId;
use crate::store::{BlockId, Store, StoreError, Stored};

/// What becomes of a request.
pub enum Answer {
    /// 3.2.5.5: malformed messages and those of unknown types MUST be silently discarded.
    Drop,
    /// A reply to stream out.
    Reply(Reply),
}

/// A reply, read out piece by piece.
pub struct Reply {
    head: Vec<u8, BLOCK_HEAD_BYTES>,
    block: Option<Stored>,
    tail: Vec<u8, BLOCK_TAIL_BYTES>,
    offset: u32,
}

/// Answers `request`, the body of an HTTP request. With `busy`, everything asked for is declared
/// missing.
pub fn answer(request: &[u8], store: &dyn Store, busy: bool) -> Answer {
    match Request::parse(request) {
        // 3.2.5.1, and the first step of 3.2.5.2 to 3.2.5.4: MUST answer with our own range.
        Ok(Request::Negotiation) => Answer::Reply(Reply::to_negotiation()),
        Ok(Request::GetBlocks(request)) => Answer::Reply(Reply::to_get_blocks(&request, store, busy)),
        Ok(Request::Other(_)) | Err(_) => Answer::Drop,
    }
}

impl Reply {
    /// Bytes in all.
    pub fn len(&self) -> u32 {
        let block = self.block.map_or(0, |stored| stored.len);
        block.saturating_add((self.head.len() + self.tail.len()) as u32)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.offset >= self.len()
    }

    /// The stored block that this reply carries.
    pub fn block(&self) -> Option<Stored> {
        self.block
    }

    /// Fills the front of `buf` with what comes next and returns how much.
    pub fn read(&mut self, store: &mut dyn Store, buf: &mut [u8]) -> Result<usize, StoreError> {
        let mut filled = 0;
        while filled < buf.len() && !self.is_empty() {
            let room = buf.get_mut(filled..).unwrap_or_default();
            let len = self.read_part(store, room)?;
            filled = filled.saturating_add(len);
            self.offset = self.offset.saturating_add(len as u32);
        }
        Ok(filled)
    }

    fn read_part(&self, store: &mut dyn Store, room: &mut [u8]) -> Result<usize, StoreError> {
        let offset = self.offset as usize;
        if let Some(head) = self.head.get(offset..).filter(|head| !head.is_empty()) {
            return Ok(copy(room, head));
        }
        let within = self.offset.saturating_sub(self.head.len() as u32);
        let (slot, left) =
            self.block.map_or((None, 0), |stored| (Some(stored.slot), stored.len.saturating_sub(within)));
        match slot {
            Some(slot) if left > 0 => {
                let len = room.len().min(left as usize);
                store.read(slot, within, room.get_mut(..len).unwrap_or_default())?;
                Ok(len)
            }
            _ => {
                let block = self.block.map_or(0, |stored| stored.len);
                let within = within.saturating_sub(block) as usize;
                Ok(copy(room, self.tail.get(within..).unwrap_or_default()))
            }
        }
    }

    fn to_negotiation() -> Self {
        let mut head = [0; BLOCK_HEAD_BYTES];
        let mut writer = Writer::new(&mut head);
        // The buffer fits a block's head, which is longer.
        let _ = OUR_VERSIONS.emit_reply(&mut writer);
        let head = Vec::from_slice(writer.finish()).unwrap_or_default();
        Self { head, block: None, tail: Vec::new(), offset: 0 }
    }

    fn to_get_blocks(request: &GetBlocks<'_>, store: &dyn Store, busy: bool) -> Self {
        let segment = SegmentId::from_slice(request.segment);
        // 3.2.5.3: at the limit of active clients the server MUST reply with an empty block.
        let found = match (segment, request.block) {
            (Some(segment), Some(index)) if !busy => store.find(&BlockId { segment, index }),
            _ => None,
        };
        let index = request.block.unwrap_or(0);
        // 3.2.5.3: MUST calculate NextBlockIndex: the next block to be had here, or zero.
        let next = found.and(segment).and_then(|segment| store.next_block(&segment, index)).unwrap_or(0);
        let block = found.map(|stored| (stored.len, stored.seal));
        let reply = BlockReply { segment: request.segment, index, next, block };

        let (mut head, mut tail) = ([0; BLOCK_HEAD_BYTES], [0; BLOCK_TAIL_BYTES]);
        let (mut head, mut tail) = (Writer::new(&mut head), Writer::new(&mut tail));
        // Both buffers are as long as the longest head and tail.
        let _ = reply.emit_head(&mut head).and_then(|()| reply.emit_tail(&mut tail));
        Self {
            head: Vec::from_slice(head.finish()).unwrap_or_default(),
            block: found,
            tail: Vec::from_slice(tail.finish()).unwrap_or_default(),
            offset: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
    use crate::retrieval::client::{Exchange, Step};
    use crate::store::ram::{Entry, Page, RamStore};
    use crate::store::verify::{Expected, Intake};

    macro_rules! vector {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/vectors/", $name))
        };
    }

    fn segment() -> SegmentId {
        SegmentId::from_slice(&core::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap()
    }

    fn store_with(indices: &[u32]) -> RamStore<[Page; 4], [Entry; 4], [u8; 0]> {
        let mut store = RamStore::new([const { Page::EMPTY }; 4], [const { Entry::EMPTY }; 4], []);
        let kp = Secret::from_slice(&core::array::from_fn::<u8, 32, _>(|i| 0xa0 + i as u8)).unwrap();
        let iv = core::array::from_fn(|i| i as u8);
        let plain: [u8; 15] = core::array::from_fn(|i| (i * 7 + 3) as u8);
        let algorithm = HashAlgorithm::Sha256;
        let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, &plain), len: 15 };
        for &index in indices {
            let slot = store.reserve(&BlockId { segment: segment(), index }, 16).unwrap();
            let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv };
            let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
            intake.update(&mut store, &mut SoftCrypto, &kp, &plain).unwrap();
        }
        store
    }

    fn ask(index: u32) -> [u8; 68] {
        let mut bytes = *vector!("pccrr-getblks-0.bin");
        bytes[56..60].copy_from_slice(&index.to_be_bytes());
        bytes
    }

    fn read_all(answer: Answer, store: &mut dyn Store, chunk: usize) -> heapless::Vec<u8, 256> {
        let Answer::Reply(mut reply) = answer else { panic!("dropped") };
        let (mut all, total) = (heapless::Vec::new(), reply.len());
        while !reply.is_empty() {
            let mut buf = [0; 256];
            let len = reply.read(store, &mut buf[..chunk]).unwrap();
            all.extend_from_slice(&buf[..len]).unwrap();
        }
        assert_eq!(all.len(), total as usize);
        all
    }

    /// 3.2.5.3, against the bytes of another implementation.
    #[test]
    fn a_stored_block_is_served_as_it_is() {
        let mut store = store_with(&[5, 6]);
        for chunk in 1..=108 {
            let reply = read_all(answer(&ask(5), &store, false), &mut store, chunk);
            assert_eq!(reply[..], vector!("pccrr-blk-aes128-15.bin")[..]);
        }
    }

    #[test]
    fn next_block_index_is_the_next_one_held() {
        let mut store = store_with(&[2, 9, 7]);
        for (index, next) in [(2u32, 7u32), (7, 9), (9, 0)] {
            let reply = read_all(answer(&ask(index), &store, false), &mut store, 256);
            assert_eq!(reply[60..64], next.to_be_bytes());
        }
    }

    #[test]
    fn missing_blocks_and_full_house_are_empty_replies() {
        let mut store = store_with(&[5]);
        let zero = *vector!("pccrr-getblks-count0.bin");
        for (request, busy) in [(ask(4), false), (ask(5), true), (zero, false)] {
            let reply = read_all(answer(&request, &store, busy), &mut store, 256);
            let index = u32::from_be_bytes(request[56..60].try_into().unwrap());
            let mut exchange = Exchange::new(BlockId { segment: segment(), index }, 15);
            let mut rest = &reply[..];
            let mut last = Step::More;
            while !rest.is_empty() {
                let (used, step) = exchange.handle(rest);
                (rest, last) = (&rest[used..], step.unwrap());
            }
            assert_eq!(last, Step::Missing);
        }
    }

    #[test]
    fn negotiation_and_nonsense() {
        let mut store = store_with(&[]);
        let reply = read_all(answer(vector!("pccrr-nego-req-1.0-2.0.bin"), &store, false), &mut store, 5);
        assert_eq!(reply[..], vector!("pccrr-nego-resp-1.0-2.0.bin")[..]);
        for nonsense in [&[][..], &[0; 16], vector!("pccrr-getblks-neg-count10.bin")] {
            assert!(matches!(answer(nonsense, &store, false), Answer::Drop));
        }
    }

    #[test]
    fn rot_ends_the_reply() {
        let mut store = store_with(&[5]);
        let Answer::Reply(mut reply) = answer(&ask(5), &store, false) else { panic!("dropped") };
        store.rot(reply.block().unwrap().slot, 3);
        assert_eq!(reply.read(&mut store, &mut [0; 256]), Err(StoreError::Damaged));
    }
}
