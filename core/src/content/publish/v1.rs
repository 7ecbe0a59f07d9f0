//! Content information 1.0 (MS-PCCRC 2.1 to 2.3).
//!
//! Where the length of the content is known before its bytes, so is the place of every field: a
//! [`Publisher`] writes each block hash, each description and at the very end the header to its
//! place in an [`InfoSink`]. Where it is not, they are [gathered](Publisher::gather) in the order
//! in which they become known.
//!
//! ```
//! use peerdist_core::content::publish::v1::Publisher;
//! use peerdist_core::content::{server_secret, v1};
//! use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
//!
//! let algorithm = HashAlgorithm::Sha256;
//! let ks = server_secret(&mut SoftCrypto, algorithm, b"no more secrets");
//! let mut room = [0; 1024];
//! let sink = &mut room.as_mut_slice();
//!
//! let mut publisher = Publisher::new(algorithm, ks, 5)?;
//! publisher.update(&mut SoftCrypto, b"hel", sink)?;
//! publisher.update(&mut SoftCrypto, b"lo", sink)?;
//! let info = publisher.finish(sink)?;
//!
//! assert_eq!(v1::info_len(algorithm, 5), Some(info.encoded_len()));
//! let blob = room.get(..134).unwrap();
//! assert_eq!(v1::Info::parse(&blob), Ok(info));
//! # Ok::<(), peerdist_core::content::publish::PublishError>(())
//! ```

use heapless::Vec;
use zeroize::Zeroizing;

use super::PublishError;
use crate::content::v1::Info;
use crate::content::v1::wire::{HEADER_BYTES, MAX_DESCRIPTION_BYTES, SegmentRepr};
use crate::content::{EndForm, InfoSink, segment_secret};
use crate::crypto::{Crypto, Digest, HashAlgorithm, HashState, Secret};
use crate::limits::{BLOCK_BYTES, HASH_BATCH, SEGMENT_BYTES};

/// Bytes of the longest content whose segments can be counted.
const MAX_CONTENT_BYTES: u64 = u32::MAX as u64 * SEGMENT_BYTES as u64;

/// Makes the content information 1.0 of a whole content whose length is known.
///
/// Give it the bytes with [`update`](Self::update) or the hashes of blocks with
/// [`push_block`](Self::push_block), in order, then call [`finish`](Self::finish). Every call
/// takes the same sink, which has room for [`info_len`](crate::content::v1::info_len) bytes.
pub struct Publisher {
    info: Info,
    ks: Secret,
    form: Form,
    /// Bytes of the blocks that are done.
    position: u64,
    /// Bytes of the block under way, fewer than it will have.
    in_block: u32,
    /// Under way from a block's first byte to its last.
    block: Option<HashState>,
    /// Under way from a segment's first block to its last.
    segment: Option<HashState>,
    failed: bool,
}

/// Where fields are written to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// To their places in the structure.
    Placed,
    /// One behind the other, as [`Gathered`](crate::content::Gathered) reads them.
    Gathered,
}

impl Publisher {
    /// Begins with a content of `content_len` bytes, published under the server secret `ks`,
    /// which is a digest of the same algorithm (see [`server_secret`](crate::content::server_secret)).
    ///
    /// Errors: [`Empty`](PublishError::Empty), [`TooLarge`](PublishError::TooLarge) and
    /// [`Algorithm`](PublishError::Algorithm).
    pub fn new(algorithm: HashAlgorithm, ks: Secret, content_len: u64) -> Result<Self, PublishError> {
        Self::with_end_form(algorithm, ks, content_len, EndForm::Zero)
    }

    /// Like [`new`](Self::new), with a choice of how the end of the range is written.
    pub fn with_end_form(
        algorithm: HashAlgorithm,
        ks: Secret,
        content_len: u64,
        form: EndForm,
    ) -> Result<Self, PublishError> {
        // 2.3: a content range has at least one byte.
        if content_len == 0 {
            return Err(PublishError::Empty);
        }
        // 2.3: dwHashAlgo MUST be one of three values.
        if algorithm == HashAlgorithm::TruncatedSha512 {
            return Err(PublishError::Algorithm);
        }
        let info = Info::of_content(algorithm, content_len, form).ok_or(PublishError::TooLarge)?;
        Ok(Self::with_info(info, ks, Form::Placed))
    }

    /// Begins with a content whose length only its [end](Self::finish_here) tells. Each segment's block
    /// hashes are written one behind the other, and then its description, so that a sink has nothing to
    /// do but append. [`Gathered`](crate::content::Gathered) is the structure that they make.
    pub fn gather(algorithm: HashAlgorithm, ks: Secret) -> Result<Self, PublishError> {
        // 2.3: dwHashAlgo MUST be one of three values.
        let info = Info::of_content(algorithm, MAX_CONTENT_BYTES, EndForm::Zero);
        Ok(Self::with_info(info.ok_or(PublishError::Algorithm)?, ks, Form::Gathered))
    }

    fn with_info(info: Info, ks: Secret, form: Form) -> Self {
        Self { info, ks, form, position: 0, in_block: 0, block: None, segment: None, failed: false }
    }

    /// Adds the next bytes of the content, as many as there are.
    ///
    /// Nothing is taken if they are more than was announced. Once the sink has failed, the
    /// publisher is of no more use.
    pub fn update(
        &mut self,
        crypto: &mut dyn Crypto,
        data: &[u8],
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        self.check_usable()?;
        if data.len() as u64 > self.missing() {
            return Err(PublishError::TooLong);
        }
        let mut rest = data;
        while !rest.is_empty() {
            if self.in_block == 0 {
                rest = self.add_whole_blocks(crypto, rest, sink)?;
            }
            let block_len = self.next_block_len();
            let room = block_len.saturating_sub(self.in_block);
            let Some((now, later)) = rest.split_at_checked(rest.len().min(room as usize)) else { break };
            if now.is_empty() {
                break;
            }
            let mut state = match self.block.take() {
                Some(state) => state,
                None => crypto.hash_start(self.info.algorithm()),
            };
            crypto.hash_update(&mut state, now);
            self.in_block = self.in_block.saturating_add(now.len() as u32);
            rest = later;
            if self.in_block < block_len {
                self.block = Some(state);
            } else {
                // 2.2: BlockHash_i = Hash(dataBlock_i).
                let hash = crypto.hash_finish(state);
                self.in_block = 0;
                self.add_block(crypto, &hash, block_len, sink)?;
            }
        }
        Ok(())
    }

    /// Adds the next block as its hash, for callers who hash elsewhere: with many cores, or with
    /// hashes they have kept. `len` is the number of bytes that were hashed: 65,536, or the rest
    /// of the content in its last block.
    ///
    /// Misuse changes nothing. Once the sink has failed, the publisher is of no more use.
    pub fn push_block(
        &mut self,
        crypto: &mut dyn Crypto,
        hash: &Digest,
        len: u32,
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        self.check_usable()?;
        if self.in_block > 0 {
            return Err(PublishError::MidBlock);
        }
        let expected = match self.next_block_len() {
            0 => return Err(PublishError::TooLong),
            expected => expected,
        };
        if len != expected {
            return Err(PublishError::BlockLength { expected });
        }
        if hash.as_bytes().len() as u64 != self.info.digest_len() {
            return Err(PublishError::DigestLength);
        }
        self.add_block(crypto, hash, len, sink)
    }

    /// Bytes of the block that comes next, or that is under way; 0 after the last.
    pub fn next_block_len(&self) -> u32 {
        let left = self.info.content_end().saturating_sub(self.position);
        left.min(BLOCK_BYTES.into()) as u32
    }

    /// Bytes of the content that have not been given yet.
    pub fn missing(&self) -> u64 {
        let given = self.position.saturating_add(self.in_block.into());
        self.info.content_end().saturating_sub(given)
    }

    /// Writes the header, which makes the content information valid.
    pub fn finish(self, sink: &mut dyn InfoSink) -> Result<Info, PublishError> {
        self.check_usable()?;
        match self.missing() {
            0 => {}
            missing => return Err(PublishError::TooShort { missing }),
        }
        let mut header = [0; HEADER_BYTES];
        // The buffer is as long as a header, so this cannot fail.
        self.info.header().emit(&mut header).map_err(|_| PublishError::Failed)?;
        sink.write_at(0, &header)?;
        Ok(self.info)
    }

    /// Ends a content that was [gathered](Self::gather): it is as long as what was given.
    pub fn finish_here(
        mut self,
        crypto: &mut dyn Crypto,
        sink: &mut dyn InfoSink,
    ) -> Result<Info, PublishError> {
        self.check_usable()?;
        if self.form != Form::Gathered {
            return Err(PublishError::TooShort { missing: self.missing() });
        }
        let content_len = self.position.saturating_add(self.in_block.into());
        let info = Info::of_content(self.info.algorithm(), content_len, EndForm::Zero);
        // 2.3: a content range has at least one byte.
        self.info = info.ok_or(PublishError::Empty)?;
        if let Some(state) = self.block.take() {
            let hash = crypto.hash_finish(state);
            let len = core::mem::take(&mut self.in_block);
            self.add_block(crypto, &hash, len, sink)?;
        } else if let Some(state) = self.segment.take() {
            let hod = crypto.hash_finish(state);
            self.add_segment(crypto, self.info.segment_count().saturating_sub(1), hod, sink)?;
        }
        Ok(self.info)
    }

    fn check_usable(&self) -> Result<(), PublishError> {
        if self.failed { Err(PublishError::Failed) } else { Ok(()) }
    }

    /// Adds the blocks that are whole at the front of `data`, if the next one is, up to a batch;
    /// returns what is left of it.
    fn add_whole_blocks<'a>(
        &mut self,
        crypto: &mut dyn Crypto,
        data: &'a [u8],
        sink: &mut dyn InfoSink,
    ) -> Result<&'a [u8], PublishError> {
        let mut blocks: Vec<&[u8], HASH_BATCH> = Vec::new();
        let mut rest = data;
        let mut left = self.missing();
        while let Some((block, later)) = rest.split_at_checked(left.min(BLOCK_BYTES.into()) as usize) {
            if block.is_empty() || blocks.push(block).is_err() {
                break;
            }
            left = left.saturating_sub(block.len() as u64);
            rest = later;
        }
        // 2.2: BlockHash_i = Hash(dataBlock_i).
        let mut hashes = [Digest::EMPTY; HASH_BATCH];
        let hashes = hashes.get_mut(..blocks.len()).unwrap_or_default();
        crypto.hash_many(self.info.algorithm(), &blocks, hashes);
        for (block, hash) in blocks.iter().zip(hashes) {
            self.add_block(crypto, hash, block.len() as u32, sink)?;
        }
        Ok(rest)
    }

    fn add_block(
        &mut self,
        crypto: &mut dyn Crypto,
        hash: &Digest,
        len: u32,
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        // Taken back at the end: an error on the way leaves a hole in the sink.
        self.failed = true;
        let segment_index = u32::try_from(self.position / u64::from(SEGMENT_BYTES)).unwrap_or(u32::MAX);
        let segment_offset = self.position % u64::from(SEGMENT_BYTES);
        let block_index = segment_offset / u64::from(BLOCK_BYTES);

        // 2.3.1.2: block hashes stand in the order of their blocks.
        let at = match self.form {
            Form::Placed => self.info.list_at(segment_index).saturating_add(4),
            Form::Gathered => self.info.gathered_at(segment_index),
        };
        sink.write_at(at.saturating_add(block_index * self.info.digest_len()), hash.as_bytes())?;
        let mut state = match self.segment.take() {
            Some(state) => state,
            None => crypto.hash_start(self.info.algorithm()),
        };
        crypto.hash_update(&mut state, hash.as_bytes());
        self.position = self.position.saturating_add(len.into());

        if segment_offset + u64::from(len) < u64::from(self.info.segment_len(segment_index)) {
            self.segment = Some(state);
        } else {
            // 2.2: HoD = Hash(BlockHashList).
            let hod = crypto.hash_finish(state);
            self.add_segment(crypto, segment_index, hod, sink)?;
        }
        self.failed = false;
        Ok(())
    }

    fn add_segment(
        &self,
        crypto: &mut dyn Crypto,
        index: u32,
        hod: Digest,
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        let len = self.info.segment_len(index);
        let description = SegmentRepr {
            offset: u64::from(index) * u64::from(SEGMENT_BYTES),
            len,
            hod,
            // 2.2: Kp = HMAC(Ks, HoD). Ks itself is never disclosed.
            secret: segment_secret(crypto, self.info.algorithm(), &self.ks, &hod),
        };
        // Kp passes through this buffer.
        let mut buf = Zeroizing::new([0; MAX_DESCRIPTION_BYTES]);
        let bytes = buf.get_mut(..description.buffer_len()).unwrap_or_default();
        // The buffer is as long as the description, so this cannot fail.
        description.emit(bytes).map_err(|_| PublishError::Failed)?;
        let blocks = len.div_ceil(BLOCK_BYTES);
        if self.form == Form::Gathered {
            let hashes = u64::from(blocks) * self.info.digest_len();
            return Ok(sink.write_at(self.info.gathered_at(index).saturating_add(hashes), bytes)?);
        }
        sink.write_at(self.info.description_at(index), bytes)?;
        sink.write_at(self.info.list_at(index), &blocks.to_le_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{InfoUnwritable, server_secret};
    use crate::crypto::{SoftCrypto, hash};

    const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;

    fn publisher(content_len: u64) -> Publisher {
        let ks = server_secret(&mut SoftCrypto, ALGORITHM, b"no more secrets");
        Publisher::new(ALGORITHM, ks, content_len).unwrap()
    }

    #[test]
    fn the_smallest_content() {
        let mut room = [0xff; 134];
        let sink = &mut room.as_mut_slice();
        let mut publisher = publisher(1);
        publisher.update(&mut SoftCrypto, &[3], sink).unwrap();
        publisher.finish(sink).unwrap();
        assert_eq!(
            room[..34],
            [
                0x00, 0x01, 0x0c, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, // header
                0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0 // offset, length, block size
            ]
        );
        let block = hash(&mut SoftCrypto, ALGORITHM, &[3]);
        assert_eq!(room[34..66], *hash(&mut SoftCrypto, ALGORITHM, block.as_bytes()).as_bytes());
        assert_eq!(room[98..102], [1, 0, 0, 0]);
        assert_eq!(room[102..], *block.as_bytes());
    }

    #[test]
    fn lengths_are_held_to() {
        let mut room = [0; 134];
        let sink = &mut room.as_mut_slice();
        let ks = server_secret(&mut SoftCrypto, ALGORITHM, b"");
        assert_eq!(Publisher::new(ALGORITHM, ks.clone(), 0).err(), Some(PublishError::Empty));
        assert_eq!(Publisher::new(ALGORITHM, ks.clone(), u64::MAX).err(), Some(PublishError::TooLarge));
        let other = HashAlgorithm::TruncatedSha512;
        assert_eq!(Publisher::new(other, ks, 1).err(), Some(PublishError::Algorithm));

        let mut publisher = publisher(3);
        assert_eq!(publisher.update(&mut SoftCrypto, &[0; 4], sink), Err(PublishError::TooLong));
        assert_eq!(publisher.update(&mut SoftCrypto, &[0; 2], sink), Ok(()));
        assert_eq!(publisher.update(&mut SoftCrypto, &[0; 2], sink), Err(PublishError::TooLong));
        assert_eq!(publisher.finish(sink), Err(PublishError::TooShort { missing: 1 }));
    }

    #[test]
    fn block_hashes_are_held_to_the_layout() {
        let mut room = [0; 166];
        let sink = &mut room.as_mut_slice();
        let crypto = &mut SoftCrypto;
        let digest = hash(crypto, ALGORITHM, b"");
        let mut publisher = publisher(65_537);
        let wrong = publisher.push_block(crypto, &digest, 65_535, sink);
        assert_eq!(wrong, Err(PublishError::BlockLength { expected: 65_536 }));
        let long = hash(crypto, HashAlgorithm::Sha512, b"");
        assert_eq!(publisher.push_block(crypto, &long, 65_536, sink), Err(PublishError::DigestLength));
        publisher.update(crypto, &[0], sink).unwrap();
        assert_eq!(publisher.push_block(crypto, &digest, 65_536, sink), Err(PublishError::MidBlock));
        publisher.update(crypto, &[0; 65_535], sink).unwrap();
        assert_eq!(publisher.push_block(crypto, &digest, 1, sink), Ok(()));
        assert_eq!(publisher.push_block(crypto, &digest, 1, sink), Err(PublishError::TooLong));
        assert!(publisher.finish(sink).is_ok());
    }

    #[test]
    fn a_failing_sink_ends_it() {
        let mut publisher = publisher(1);
        let (mut small, mut large) = ([0; 133], [0; 134]);
        let small = &mut small.as_mut_slice();
        let error = publisher.update(&mut SoftCrypto, &[0], small);
        assert_eq!(error, Err(PublishError::Sink(InfoUnwritable { offset: 102 })));
        let large = &mut large.as_mut_slice();
        assert_eq!(publisher.update(&mut SoftCrypto, &[], large), Err(PublishError::Failed));
        assert_eq!(publisher.finish(large), Err(PublishError::Failed));
    }
}
