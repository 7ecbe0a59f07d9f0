//! Content information of either version behind one face.

use core::ops::Range;

use super::v1::wire as wire_v1;
use super::v2::wire as wire_v2;
use super::{EndForm, Excerpt, InfoError, InfoSink, InfoSource, InfoUnwritable, Segment, read, v1, v2};
use crate::crypto::{HashAlgorithm, Secret};

/// Content information that has been checked, whichever version it has.
///
/// It holds no hashes. The methods that need some read them from the source that was parsed.
/// Nothing is scanned: [`next_segment`](Self::next_segment) takes a few reads, and finding a segment
/// by index or offset takes one read in version 1.0 and a walk over at most 1 in 16 segments in
/// version 2.0.
///
/// ```
/// use peerdist_core::content::{Info, InfoSource};
///
/// fn print(source: &dyn InfoSource) -> Result<(), peerdist_core::content::InfoError> {
///     let info = Info::parse(source)?;
///     println!("{:?}, bytes {:?}", info.version(), info.range());
///     let mut next = Some(info.segment(source, 0)?);
///     while let Some(segment) = next {
///         println!("at {}: {} blocks", segment.offset(), segment.block_count());
///         next = info.next_segment(source, &segment)?;
///     }
///     Ok(())
/// }
/// # use peerdist_core::content::publish::v2::Publisher;
/// # use peerdist_core::content::segmenter::Segmentation;
/// # use peerdist_core::content::server_secret;
/// # use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
/// # let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, b"no more secrets");
/// # let mut room = [0; 104];
/// # let sink = &mut room.as_mut_slice();
/// # let mut publisher = Publisher::new(ks, Segmentation::ContentDefined);
/// # publisher.update(&mut SoftCrypto, b"hello", sink).unwrap();
/// # publisher.finish(&mut SoftCrypto, sink).unwrap();
/// # print(&room.as_slice()).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Info {
    /// Version 1.0.
    V1(v1::Info),
    /// Version 2.0.
    V2(v2::Info),
}

/// The versions of content information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Version {
    /// 1.0: segments of 32 MiB with blocks of 64 KiB.
    V1,
    /// 2.0: segments of any length up to 128 KiB.
    V2,
}

impl Version {
    /// Tells from the first bytes of content information. What is neither is taken for 1.0, whose
    /// parser then refuses it.
    fn of(source: &dyn InfoSource) -> Self {
        let mut bytes = [0; 2];
        // Fact 6: byte 1 is the major version in both.
        match source.read_at(0, &mut bytes) {
            Ok(()) if bytes.ends_with(&[2]) => Self::V2,
            _ => Self::V1,
        }
    }
}

impl Info {
    /// Checks the structure that `source` holds, all of it except what its hashes are hashes of.
    ///
    /// Takes about two small reads for each segment and one for each chunk. Counts are held
    /// against the length of the source before anything is done that many times.
    pub fn parse(source: &dyn InfoSource) -> Result<Self, InfoError> {
        match Version::of(source) {
            Version::V1 => v1::Info::parse(source).map(Self::V1),
            Version::V2 => v2::Info::parse(source).map(Self::V2),
        }
    }

    /// The version of the structure.
    pub const fn version(&self) -> Version {
        match self {
            Self::V1(_) => Version::V1,
            Self::V2(_) => Version::V2,
        }
    }

    /// The hash behind all digests of the structure.
    pub const fn algorithm(&self) -> HashAlgorithm {
        match self {
            Self::V1(info) => info.algorithm(),
            Self::V2(info) => info.algorithm(),
        }
    }

    /// How many segments are described: at least one.
    pub const fn segment_count(&self) -> u32 {
        match self {
            Self::V1(info) => info.segment_count(),
            Self::V2(info) => info.segment_count(),
        }
    }

    /// Bytes of the structure.
    pub fn encoded_len(&self) -> u64 {
        match self {
            Self::V1(info) => info.encoded_len(),
            Self::V2(info) => info.encoded_len(),
        }
    }

    /// The part of the content that is described, in bytes: never empty.
    pub fn range(&self) -> Range<u64> {
        match self {
            Self::V1(info) => info.range(),
            Self::V2(info) => info.range(),
        }
    }

    /// Where the last segment ends, in bytes of the content.
    pub fn content_end(&self) -> u64 {
        match self {
            Self::V1(info) => info.content_end(),
            Self::V2(info) => info.content_end(),
        }
    }

    /// Reads the segment with `index` from the source that was parsed.
    pub fn segment(&self, source: &dyn InfoSource, index: u32) -> Result<Segment, InfoError> {
        match self {
            Self::V1(info) => info.segment(source, index),
            Self::V2(info) => info.segment(source, index),
        }
    }

    /// Reads the segment that holds the byte at `offset` of the content from the source that was
    /// parsed; `None` if no segment does.
    pub fn segment_at(&self, source: &dyn InfoSource, offset: u64) -> Result<Option<Segment>, InfoError> {
        match self {
            Self::V1(info) => info.segment_at(offset).map(|index| info.segment(source, index)).transpose(),
            Self::V2(info) => info.segment_at(source, offset),
        }
    }

    /// Like [`segment`](Self::segment), where the segment at `near` may be known, and
    /// stand before the one that is looked for: the nearer it is, the shorter the search.
    pub fn segment_near(
        &self,
        source: &dyn InfoSource,
        near: Option<v2::Place>,
        index: u32,
    ) -> Result<Segment, InfoError> {
        match self {
            Self::V1(info) => info.segment(source, index),
            Self::V2(info) => info.segment_near(source, near, index),
        }
    }

    /// Like [`segment_at`](Self::segment_at), with a segment to search from as in
    /// [`segment_near`](Self::segment_near).
    pub fn segment_at_near(
        &self,
        source: &dyn InfoSource,
        near: Option<v2::Place>,
        offset: u64,
    ) -> Result<Option<Segment>, InfoError> {
        match self {
            Self::V1(_) => self.segment_at(source, offset),
            Self::V2(info) => info.segment_at_near(source, near, offset),
        }
    }

    /// Reads the segment secret Kp that stands at [`Segment::secret_at`].
    pub fn secret_at(&self, source: &dyn InfoSource, at: u64) -> Result<Secret, InfoError> {
        let mut secret = Secret::EMPTY;
        read(source, "SegmentSecret", at, secret.room(self.algorithm().digest_len()))?;
        Ok(secret)
    }

    /// Reads the segment that follows `segment`; `None` after the last.
    pub fn next_segment(
        &self,
        source: &dyn InfoSource,
        segment: &Segment,
    ) -> Result<Option<Segment>, InfoError> {
        match self {
            Self::V1(info) => match segment.index().checked_add(1) {
                Some(next) if next < info.segment_count() => info.segment(source, next).map(Some),
                _ => Ok(None),
            },
            Self::V2(info) => info.next_segment(source, segment),
        }
    }

    /// The structure as one that can be written elsewhere, byte for byte as it was parsed.
    pub fn whole<'a>(&self, source: &'a dyn InfoSource) -> Excerpt<'a> {
        match self {
            Self::V1(info) => info.whole(source),
            Self::V2(info) => info.whole(source),
        }
    }

    /// The content information of a part of the range, read from the source that was parsed; `None`
    /// if `range`, in bytes of the content, is empty or reaches beyond [`range`](Self::range).
    pub fn excerpt<'a>(
        &self,
        source: &'a dyn InfoSource,
        range: Range<u64>,
        form: EndForm,
    ) -> Result<Option<Excerpt<'a>>, InfoError> {
        match self {
            Self::V1(info) => Ok(info.excerpt(source, range, form)),
            Self::V2(info) => info.excerpt(source, range, form),
        }
    }
}

/// Writes what stands for the content information of empty content: a header without segments, which
/// no protocol carries (fact 13) and [`Info::parse`] refuses. Returns how many bytes that is.
pub fn emit_empty(algorithm: HashAlgorithm, sink: &mut dyn InfoSink) -> Result<u64, InfoUnwritable> {
    let mut buf = [0; wire_v2::HEADER_BYTES];
    let (len, _) = if algorithm == HashAlgorithm::TruncatedSha512 {
        (wire_v2::HEADER_BYTES, EMPTY_V2.emit(&mut buf))
    } else {
        let header = wire_v1::HeaderRepr { algorithm, offset_in_first: 0, read_in_last: 0, segments: 0 };
        (wire_v1::HEADER_BYTES, header.emit(&mut buf))
    };
    sink.write_at(0, buf.get(..len).unwrap_or_default())?;
    Ok(len as u64)
}

/// The algorithm of what [`emit_empty`] wrote; `None` if `source` holds anything else.
pub fn parse_empty(source: &dyn InfoSource) -> Option<HashAlgorithm> {
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::TruncatedSha512]
        .into_iter()
        .find(|&algorithm| {
            let (mut expected, mut found) = ([0; wire_v2::HEADER_BYTES], [0; wire_v2::HEADER_BYTES]);
            let len = emit_empty(algorithm, &mut expected.as_mut_slice()).unwrap_or(u64::MAX);
            source.len() == len
                && found.get_mut(..len as usize).is_some_and(|found| source.read_at(0, found).is_ok())
                && found == expected
        })
}

/// The header of 2.0 for no content.
const EMPTY_V2: wire_v2::HeaderRepr =
    wire_v2::HeaderRepr { content_start: 0, index_of_first: 0, offset_in_first: 0, range_len: 0 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::InfoFault;

    #[test]
    fn empty_content_has_a_header_and_no_more() {
        for (algorithm, bytes) in [
            (HashAlgorithm::Sha384, &[0, 1, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]),
            (
                HashAlgorithm::TruncatedSha512,
                &[
                    0, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                    0,
                ],
            ),
        ] {
            let mut room = [0xff; 31];
            let len = emit_empty(algorithm, &mut room.as_mut_slice()).unwrap();
            assert_eq!(&room[..len as usize], bytes);
            assert_eq!(parse_empty(&bytes), Some(algorithm));
            assert_eq!(parse_empty(&&bytes[1..]), None);
            assert!(Info::parse(&bytes).is_err());
        }
        assert_eq!(parse_empty(&[].as_slice()), None);
        assert_eq!(emit_empty(HashAlgorithm::Sha256, &mut [0; 17].as_mut_slice()).unwrap_err().offset, 0);
    }

    #[test]
    fn what_is_neither_version_is_refused() {
        for (bytes, fault) in [
            (&[][..], InfoFault::Truncated),
            (&[0], InfoFault::Truncated),
            (&[0, 3, 0, 0], InfoFault::Unsupported(0x300)),
            (&[1, 1, 0, 0], InfoFault::Unsupported(0x101)),
            (&[1, 2, 0, 0], InfoFault::Unsupported(0x201)),
        ] {
            let error = Info::parse(&bytes).unwrap_err();
            assert_eq!((error.offset, error.reason), (0, fault), "{bytes:?}");
        }
    }
}
