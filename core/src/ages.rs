//! [MS-PCCRR] 2.2.6: the extensible blob, version 1: how long segments have been where they are.
//!
//! A list of segments that travels beside it gives each index its meaning. Discovery carries the
//! blob in base64 (MS-PCCRD 2.2.3.9), retrieval as it is. What cannot be read is no blob at all:
//! the message around it stays good (fact 42).

use crate::bytes::{NoRoom, Writer};
use crate::time::{Duration, divide};

/// Segments that can have an age: their number is one byte (fact 42).
pub const MAX_AGES: usize = 255;

/// Bytes of the longest blob that is emitted; a longer one has surplus that nobody reads.
pub const MAX_BLOB_BYTES: usize = blob_bytes(MAX_AGES);

/// Version, unit and count.
pub(crate) const BLOB_HEAD_BYTES: usize = 4;

/// Index and age.
pub(crate) const AGE_BYTES: usize = 4;

/// The greatest age in its unit: 24 bits.
const MAX_AGE: u64 = 0x00ff_ffff;

/// Microseconds of the units 1 to 4 (2.2.6.1).
const UNITS: [u32; 4] = [1_000_000, 100_000, 10_000, 1_000];

/// Bytes of a blob with `count` ages, of which no more than [`MAX_AGES`] count.
pub const fn blob_bytes(count: usize) -> usize {
    BLOB_HEAD_BYTES + AGE_BYTES * if count < MAX_AGES { count } else { MAX_AGES }
}

/// Ages, checked: a view of the blob.
#[derive(Clone, Copy, Debug)]
pub struct Ages<'a> {
    /// Microseconds of one unit.
    unit: u64,
    entries: &'a [[u8; AGE_BYTES]],
}

/// Ages to be sent: the index of each segment, and how long it has been there.
#[derive(Clone, Copy, Debug)]
pub struct AgesRepr<'a>(pub &'a [(u8, Duration)]);

impl<'a> Ages<'a> {
    /// Reads a blob; `None` for one that MUST be discarded (2.2.6, 2.2.6.1.1).
    pub fn parse(blob: &'a [u8]) -> Option<Self> {
        // 2.2.6.1.1: it MUST have four bytes at least,
        let (head, rest) = blob.split_first_chunk()?;
        let (unit, count) = parse_head(*head)?;
        // ... and room for as many ages as it says; surplus is ignored.
        let (entries, _) = rest.as_chunks::<AGE_BYTES>();
        Some(Self { unit, entries: entries.get(..usize::from(count))? })
    }

    /// The index of each segment that has an age, and the age, in the order of the blob.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Duration)> + Clone + use<'a> {
        let unit = self.unit;
        self.entries.iter().map(move |entry| parse_age(unit, *entry))
    }

    /// The age of the segment with this index; the first one, should it have several.
    pub fn get(&self, index: u8) -> Option<Duration> {
        self.iter().find(|(at, _)| *at == index).map(|(_, age)| age)
    }
}

/// The unit, in microseconds, and the count of a blob that begins so; `None` if it MUST be discarded.
pub(crate) fn parse_head([a, b, unit, count]: [u8; BLOB_HEAD_BYTES]) -> Option<(u64, u8)> {
    // 2.2.6: another version MUST be discarded.
    if [a, b] != [0, 1] {
        return None;
    }
    // 2.2.6.1.1: MUST have a unit of 1 to 4; all of these MUST be understood (2.2.6.1).
    let unit = *UNITS.get(usize::from(unit).checked_sub(1)?)?;
    Some((unit.into(), count))
}

/// The index of a segment, and its age.
pub(crate) fn parse_age(unit: u64, [index, a, b, c]: [u8; AGE_BYTES]) -> (u8, Duration) {
    // Little-endian, in a structure that is big-endian elsewhere (fact 42).
    let age = u64::from(u32::from_le_bytes([a, b, c, 0]));
    (index, Duration::from_micros(age.saturating_mul(unit)))
}

impl AgesRepr<'_> {
    /// Bytes of the blob.
    pub const fn buffer_len(&self) -> usize {
        blob_bytes(self.0.len())
    }

    /// Writes the blob, with the first [`MAX_AGES`] ages; an age above 194 days is made that.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        emit_ages(&|tell| self.0.iter().for_each(|&(index, age)| tell(index, age)), writer)
    }
}

/// Takes the index of a segment, and its age.
pub(crate) type Tell<'a> = dyn FnMut(u8, Duration) + 'a;

/// Writes a blob of the ages that `each` tells, the same ones whenever it is called.
pub(crate) fn emit_ages(each: &dyn Fn(&mut Tell<'_>), writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    let [seconds, _, hundredths, _] = UNITS;
    let (mut count, mut fits) = (0u8, true);
    each(&mut |_, age| {
        fits &= count == u8::MAX || divide(age.micros(), hundredths).0 <= MAX_AGE;
        count = count.saturating_add(1);
    });
    // 2.2.6.1: the unit SHOULD be 3; where an age is too much for it, 1 for all (fact 42).
    let (number, unit) = if fits { (3, hundredths) } else { (1, seconds) };
    writer.put(&[0, 1, number, count]);
    each(&mut |index, age| {
        let [a, b, c, ..] = divide(age.micros(), unit).0.min(MAX_AGE).to_le_bytes();
        if let Some(left) = count.checked_sub(1) {
            count = left;
            writer.put(&[index, a, b, c]);
        }
    });
    writer.check()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    /// The example of MS-PCCRD 4.4: two ages of 60,000 hundredths (fact 28).
    const EXAMPLE: [u8; 12] = [0, 1, 3, 2, 0, 0x60, 0xea, 0, 2, 0x60, 0xea, 0];

    fn read(blob: &[u8]) -> Option<Vec<(u8, Duration)>> {
        Ages::parse(blob).map(|ages| ages.iter().collect())
    }

    fn written(ages: &[(u8, Duration)]) -> Vec<u8> {
        let mut buf = [0; MAX_BLOB_BYTES];
        let mut writer = Writer::new(&mut buf);
        AgesRepr(ages).emit(&mut writer).unwrap();
        assert_eq!(writer.len(), AgesRepr(ages).buffer_len());
        writer.finish().to_vec()
    }

    #[test]
    fn the_example_both_ways() {
        let ages = [(0, Duration::from_secs(600)), (2, Duration::from_secs(600))];
        assert_eq!(read(&EXAMPLE), Some(ages.to_vec()));
        assert_eq!(written(&ages), EXAMPLE);
        for short in 0..EXAMPLE.len() {
            assert_eq!(read(&EXAMPLE[..short]), None);
            let mut buf = [0; EXAMPLE.len()];
            assert_eq!(AgesRepr(&ages).emit(&mut Writer::new(&mut buf[..short])), Err(NoRoom));
        }
        let ages = Ages::parse(&EXAMPLE).unwrap();
        assert_eq!((ages.get(1), ages.get(2)), (None, Some(Duration::from_secs(600))));
    }

    #[test]
    fn all_four_units() {
        for (unit, micros) in [(1, 1_000_000), (2, 100_000), (3, 10_000), (4, 1_000)] {
            let blob = [0, 1, unit, 1, 9, 3, 2, 1];
            assert_eq!(read(&blob), Some([(9, Duration::from_micros(0x01_0203 * micros))].to_vec()));
        }
        assert_eq!(read(&[0, 1, 1, 0]), Some(Vec::new()));
        // Surplus, whole ages or not, is ignored.
        assert_eq!(read(&[0, 1, 1, 0, 1, 2, 3, 4, 5]), Some(Vec::new()));
    }

    #[test]
    fn blobs_to_discard() {
        for bad in [[0, 0, 3, 0], [1, 0, 3, 0], [0, 2, 3, 0], [0, 1, 0, 0], [0, 1, 5, 0], [0, 1, 3, 1]] {
            assert_eq!(read(&bad), None, "{bad:?}");
        }
        let mut blob = [0; MAX_BLOB_BYTES - 1];
        blob[..4].copy_from_slice(&[0, 1, 4, 255]);
        assert_eq!(read(&blob), None, "one byte less than 255 ages take");
    }

    #[test]
    fn one_old_segment_makes_it_seconds_for_all() {
        let at_most = Duration::from_micros(0x00ff_ffff * 10_000 + 9_999);
        assert_eq!(written(&[(7, at_most)]), [0, 1, 3, 1, 7, 0xff, 0xff, 0xff]);
        let more = at_most + Duration::from_micros(1);
        let young = Duration::from_millis(5_990);
        // 167,772.16 s and 5.99 s.
        assert_eq!(written(&[(7, more), (8, young)]), [0, 1, 1, 2, 7, 0x5c, 0x8f, 2, 8, 5, 0, 0]);
        let ever = Duration::from_micros(u64::MAX);
        assert_eq!(written(&[(0, ever)]), [0, 1, 1, 1, 0, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn no_more_than_255_ages() {
        let ages = [(1, Duration::ZERO); 300];
        let blob = written(&ages);
        assert_eq!((blob.len(), blob[3]), (MAX_BLOB_BYTES, 255));
        assert_eq!(read(&blob).unwrap().len(), 255);
    }
}
