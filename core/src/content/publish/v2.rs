//! Content information 2.0 (MS-PCCRC 2.4).
//!
//! The length of the content need not be known: segments are described one after the other as they
//! end, and the head of a chunk is written when the chunk is full or the content is over.
//!
//! ```
//! use peerdist_core::content::publish::v2::Publisher;
//! use peerdist_core::content::segmenter::Segmentation;
//! use peerdist_core::content::{server_secret, v2};
//! use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
//!
//! let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, b"no more secrets");
//! let mut room = [0; 1024];
//! let sink = &mut room.as_mut_slice();
//!
//! let mut publisher = Publisher::new(ks, Segmentation::ContentDefined);
//! publisher.update(&mut SoftCrypto, b"hel", sink)?;
//! publisher.update(&mut SoftCrypto, b"lo", sink)?;
//! let info = publisher.finish(&mut SoftCrypto, sink)?;
//!
//! let blob = room.get(..104).unwrap();
//! assert_eq!(v2::Info::parse(&blob), Ok(info));
//! # Ok::<(), peerdist_core::content::publish::PublishError>(())
//! ```

use heapless::Vec;
use zeroize::Zeroizing;

use super::PublishError;
use crate::content::segmenter::{Segmentation, Segmenter};
use crate::content::v2::wire::{
    CHUNK_HEAD_BYTES, ChunkRepr, DESCRIPTION_BYTES, HEADER_BYTES, MAX_CHUNK_SEGMENTS, SegmentRepr,
};
use crate::content::v2::{Info, Mark};
use crate::content::{EndForm, InfoSink, segment_secret};
use crate::crypto::{Crypto, Digest, HashState, Secret};
use crate::limits::{HASH_BATCH, MAX_SEGMENT_V2_BYTES};

/// Makes the content information 2.0 of a whole content.
///
/// Give it the bytes with [`update`](Self::update) or the hashes of segments with
/// [`push_segment`](Self::push_segment), in order, then call [`finish`](Self::finish). Every call
/// takes the same sink, which has room for 31 bytes, 68 for each segment and 5 for each chunk.
pub struct Publisher {
    /// Of what is described so far.
    info: Info,
    ks: Secret,
    segmenter: Segmenter,
    form: EndForm,
    chunk_segments: u32,
    /// Under way from a segment's first byte to its last, and how many bytes of it there were.
    segment: Option<HashState>,
    in_segment: u32,
    /// Where the head of the chunk under way stands, and how many segments it has.
    chunk_at: u64,
    in_chunk: u32,
    failed: bool,
}

impl Publisher {
    /// Begins with a content that is cut as `segmentation` says and published under the server
    /// secret `ks` (see [`server_secret`](crate::content::server_secret)), in one chunk: every
    /// reader knows what to do with that.
    pub fn new(ks: Secret, segmentation: Segmentation) -> Self {
        Self::with_layout(ks, segmentation, EndForm::Zero, MAX_CHUNK_SEGMENTS)
    }

    /// Like [`new`](Self::new), with a choice of how the end of the range is written and how many
    /// segments a chunk has: 1 to [`MAX_CHUNK_SEGMENTS`], what is outside is taken for the nearest.
    pub fn with_layout(ks: Secret, segmentation: Segmentation, form: EndForm, chunk_segments: u32) -> Self {
        Self {
            info: Info::of_content(),
            ks,
            segmenter: Segmenter::new(segmentation),
            form,
            chunk_segments: chunk_segments.clamp(1, MAX_CHUNK_SEGMENTS),
            segment: None,
            in_segment: 0,
            chunk_at: HEADER_BYTES as u64,
            in_chunk: 0,
            failed: false,
        }
    }

    /// Adds the next bytes of the content, as many as there are.
    ///
    /// Once this has failed, the publisher is of no more use.
    pub fn update(
        &mut self,
        crypto: &mut dyn Crypto,
        data: &[u8],
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        self.check_usable()?;
        let mut rest = data;
        // Segments that lie in `data` from end to end: they are hashed together.
        let mut whole: Vec<&[u8], HASH_BATCH> = Vec::new();
        while let Some(len) = self.segmenter.push(rest) {
            let Some((now, later)) = rest.split_at_checked(len) else { break };
            rest = later;
            if let Some(mut state) = self.segment.take() {
                crypto.hash_update(&mut state, now);
                let hod = crypto.hash_finish(state);
                let len = core::mem::take(&mut self.in_segment).saturating_add(now.len() as u32);
                self.add_segment(crypto, hod, len, sink)?;
                continue;
            }
            // There is room: a full batch is taken out below.
            _ = whole.push(now);
            if whole.is_full() {
                self.add_whole(crypto, &whole, sink)?;
                whole.clear();
            }
        }
        self.add_whole(crypto, &whole, sink)?;
        if !rest.is_empty() {
            let algorithm = self.info.algorithm();
            let state = self.segment.get_or_insert_with(|| crypto.hash_start(algorithm));
            crypto.hash_update(state, rest);
            self.in_segment = self.in_segment.saturating_add(rest.len() as u32);
        }
        Ok(())
    }

    /// Adds the next segment as its hash of data, for callers who cut and hash elsewhere. `len` is
    /// the number of bytes that were hashed: 1 to 131,072.
    ///
    /// Misuse changes nothing. Once the sink has failed, the publisher is of no more use.
    pub fn push_segment(
        &mut self,
        crypto: &mut dyn Crypto,
        hod: &Digest,
        len: u32,
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        self.check_usable()?;
        if self.in_segment > 0 {
            return Err(PublishError::MidBlock);
        }
        // 2.4.1.2: cbSegment is neither zero nor more than 128 KiB.
        if len == 0 || len > MAX_SEGMENT_V2_BYTES {
            return Err(PublishError::BlockLength { expected: MAX_SEGMENT_V2_BYTES });
        }
        if hod.as_bytes().len() != self.info.algorithm().digest_len() {
            return Err(PublishError::DigestLength);
        }
        self.add_segment(crypto, *hod, len, sink)
    }

    /// Bytes of the content that are described: those of whole segments.
    pub const fn described(&self) -> u64 {
        self.info.content_end()
    }

    /// Describes the last segment and writes the header, which makes the content information valid.
    pub fn finish(mut self, crypto: &mut dyn Crypto, sink: &mut dyn InfoSink) -> Result<Info, PublishError> {
        self.check_usable()?;
        if let Some(state) = self.segment.take() {
            let hod = crypto.hash_finish(state);
            let len = self.in_segment;
            self.add_segment(crypto, hod, len, sink)?;
        }
        // 2.4.1.2: a chunk MUST contain at least one segment, so empty content has no chunk.
        if self.info.segment_count() == 0 {
            return Err(PublishError::Empty);
        }
        self.write_chunk_head(sink)?;
        if self.form == EndForm::Explicit {
            self.info.set_range_len(self.info.content_end());
        }
        let mut header = [0; HEADER_BYTES];
        // The buffer is as long as a header, so this cannot fail.
        self.info.header().emit(&mut header).map_err(|_| PublishError::Failed)?;
        sink.write_at(0, &header)?;
        Ok(self.info)
    }

    fn check_usable(&self) -> Result<(), PublishError> {
        if self.failed { Err(PublishError::Failed) } else { Ok(()) }
    }

    fn add_whole(
        &mut self,
        crypto: &mut dyn Crypto,
        segments: &[&[u8]],
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        let mut hods = [Digest::EMPTY; HASH_BATCH];
        let hods = hods.get_mut(..segments.len()).unwrap_or_default();
        // 2.2: in version 2.0, HoD = Hash(segment).
        crypto.hash_many(self.info.algorithm(), segments, hods);
        for (segment, hod) in segments.iter().zip(hods) {
            self.add_segment(crypto, *hod, segment.len() as u32, sink)?;
        }
        Ok(())
    }

    fn add_segment(
        &mut self,
        crypto: &mut dyn Crypto,
        hod: Digest,
        len: u32,
        sink: &mut dyn InfoSink,
    ) -> Result<(), PublishError> {
        // Taken back at the end: an error on the way leaves a hole in the sink.
        self.failed = true;
        if self.in_chunk == self.chunk_segments {
            self.write_chunk_head(sink)?;
            (self.chunk_at, self.in_chunk) = (self.info.encoded_len(), 0);
        }
        let chunk_at = self.chunk_at.saturating_add(CHUNK_HEAD_BYTES as u64);
        let mark = Mark {
            index: self.info.segment_count(),
            within: self.in_chunk,
            chunk_at,
            offset: self.info.content_end(),
        };
        // 2.2: Kp = HMAC(Ks, HoD). Ks itself is never disclosed.
        let secret = segment_secret(crypto, self.info.algorithm(), &self.ks, &hod);
        // Kp passes through this buffer.
        let mut buf = Zeroizing::new([0; DESCRIPTION_BYTES]);
        // The buffer is as long as the description, so this cannot fail.
        SegmentRepr { len, hod, secret }.emit(&mut buf[..]).map_err(|_| PublishError::Failed)?;
        sink.write_at(mark.at(), &buf[..])?;
        self.info.add_segment(mark, len).ok_or(PublishError::TooLarge)?;
        self.in_chunk = self.in_chunk.saturating_add(1);
        self.failed = false;
        Ok(())
    }

    fn write_chunk_head(&self, sink: &mut dyn InfoSink) -> Result<(), PublishError> {
        let mut head = [0; CHUNK_HEAD_BYTES];
        // The buffer is as long as a head, so this cannot fail.
        ChunkRepr { segments: self.in_chunk }.emit(&mut head).map_err(|_| PublishError::Failed)?;
        Ok(sink.write_at(self.chunk_at, &head)?)
    }
}
