//! [MS-PCCRR] 2.2.6: the extensible blob, version 1: how long segments have been in a cache.

use crate::bytes::{NoRoom, Writer};
use crate::time::Duration;

/// ExtensibleBlobVersion: the only one there is.
const VERSION: u16 = 1;

/// Bytes of ENCODED_SEGMENT_AGE (2.2.1.5).
const AGE_BYTES: usize = 4;

/// The greatest age, in any unit: 24 bits.
const MAX_AGE: u32 = 0xff_ffff;

/// SegmentAgeUnits (2.2.6.1)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AgeUnit {
    /// 1: seconds.
    Seconds,
    /// 2: tenths of a second.
    Tenths,
    /// 3: hundredths of a second.
    Hundredths,
    /// 4: milliseconds.
    Milliseconds,
}

/// The age of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SegmentAge {
    /// SegmentIndex: counts from the first segment that the message is about.
    pub index: u8,
    /// How long ago the segment was first stored.
    pub age: Duration,
}

/// An extensible blob of version 1 (2.2.6.1) as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentAges<'a> {
    unit: AgeUnit,
    ages: &'a [[u8; AGE_BYTES]],
}

/// Why a blob MUST be discarded (2.2.6); the message around it is kept (fact 42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BlobFault {
    /// It ends before its fields do.
    Truncated,
    /// ExtensibleBlobVersion is not 1.
    Version(u16),
    /// SegmentAgeUnits is not 1 to 4.
    Unit(u8),
    /// SegmentAgeCount announces more than there is.
    Count(u8),
}

impl AgeUnit {
    /// From the wire's byte.
    pub const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Seconds),
            2 => Some(Self::Tenths),
            3 => Some(Self::Hundredths),
            4 => Some(Self::Milliseconds),
            _ => None,
        }
    }

    /// To the wire's byte.
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Seconds => 1,
            Self::Tenths => 2,
            Self::Hundredths => 3,
            Self::Milliseconds => 4,
        }
    }

    const fn micros(self) -> u64 {
        match self {
            Self::Seconds => 1_000_000,
            Self::Tenths => 100_000,
            Self::Hundredths => 10_000,
            Self::Milliseconds => 1_000,
        }
    }

    /// `age` in this unit, rounded down; `None` if 24 bits do not hold it.
    fn count(self, age: Duration) -> Option<u32> {
        u32::try_from(age.micros() / self.micros()).ok().filter(|count| *count <= MAX_AGE)
    }
}

impl<'a> SegmentAges<'a> {
    /// Reads a blob. What follows the announced ages is ignored.
    pub fn parse(blob: &'a [u8]) -> Result<Self, BlobFault> {
        // 2.2.6: less than 2 bytes are invalid, and an unknown version MUST be discarded.
        let (version, rest) = blob.split_first_chunk().ok_or(BlobFault::Truncated)?;
        let version = u16::from_be_bytes(*version);
        if version != VERSION {
            return Err(BlobFault::Version(version));
        }
        // 2.2.6.1.1, in its order: four bytes at least, a unit of 1 to 4, and room for all ages.
        let ([unit, count], rest) = rest.split_first_chunk().ok_or(BlobFault::Truncated)?;
        let unit = AgeUnit::from_wire(*unit).ok_or(BlobFault::Unit(*unit))?;
        let ages = rest.as_chunks().0.get(..usize::from(*count)).ok_or(BlobFault::Count(*count))?;
        Ok(Self { unit, ages })
    }

    /// The unit that it is written in.
    pub const fn unit(&self) -> AgeUnit {
        self.unit
    }

    /// How many ages there are.
    pub const fn len(&self) -> usize {
        self.ages.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    /// One after the other, as written: an index may come twice, or be nobody's.
    pub fn iter(&self) -> impl Iterator<Item = SegmentAge> + Clone + use<'a> {
        let micros = self.unit.micros();
        self.ages.iter().map(move |&[index, low, mid, high]| {
            // 24 bits, little-endian, unlike everything around them (fact 42).
            let count = u32::from_le_bytes([low, mid, high, 0]);
            SegmentAge { index, age: Duration::from_micros(u64::from(count).saturating_mul(micros)) }
        })
    }

    /// Writes a blob of `ages`: each the number of a segment, counted from the first one that the
    /// message is about, and its age. Segments past number 255 go without one, and so does what is
    /// behind the 255th age.
    pub fn emit(
        ages: impl Iterator<Item = (usize, Duration)> + Clone,
        writer: &mut Writer<'_>,
    ) -> Result<(), NoRoom> {
        let ages = ages.filter_map(|(number, age)| Some((u8::try_from(number).ok()?, age)));
        let ages = ages.take(usize::from(u8::MAX));
        // 2.2.6.1: SHOULD be hundredths. These end at 46.6 hours, and a segment lives for weeks: then
        // seconds, for all of them (fact 42).
        let fit = ages.clone().all(|(_, age)| AgeUnit::Hundredths.count(age).is_some());
        let unit = if fit { AgeUnit::Hundredths } else { AgeUnit::Seconds };
        writer.put(&VERSION.to_be_bytes())?;
        let count = ages.clone().fold(0, |count: u8, _| count.saturating_add(1));
        writer.put(&[unit.to_wire(), count])?;
        for (index, age) in ages {
            let [low, mid, high, _] = unit.count(age).unwrap_or(MAX_AGE).to_le_bytes();
            writer.put(&[index, low, mid, high])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ages(blob: &[u8]) -> heapless::Vec<(u8, u64), 8> {
        let ages = SegmentAges::parse(blob).unwrap();
        ages.iter().map(|age| (age.index, age.age.micros())).collect()
    }

    fn emit(ages: &[(usize, Duration)]) -> heapless::Vec<u8, 1_100> {
        let mut buf = [0; 1_100];
        let mut writer = Writer::new(&mut buf);
        SegmentAges::emit(ages.iter().copied(), &mut writer).unwrap();
        heapless::Vec::from_slice(writer.finish()).unwrap()
    }

    #[test]
    fn every_unit() {
        for (unit, micros) in [(1, 1_000_000), (2, 100_000), (3, 10_000), (4, 1_000)] {
            let blob = [0, 1, unit, 2, 0, 1, 0, 0, 7, 2, 3, 4];
            assert_eq!(ages(&blob)[..], [(0, micros), (7, 0x04_0302 * micros)]);
            assert_eq!(SegmentAges::parse(&blob).unwrap().unit().to_wire(), unit);
        }
    }

    /// Fact 28: as another implementation writes it.
    #[test]
    fn two_of_ten_minutes() {
        let blob = [0, 1, 3, 2, 0, 0x60, 0xea, 0, 2, 0x60, 0xea, 0];
        assert_eq!(ages(&blob)[..], [(0, 600_000_000), (2, 600_000_000)]);
        let ten = Duration::from_secs(600);
        assert_eq!(emit(&[(0, ten), (2, ten)]), blob);
    }

    #[test]
    fn what_is_invalid_is_named() {
        for (blob, fault) in [
            (&[][..], BlobFault::Truncated),
            (&[0], BlobFault::Truncated),
            (&[0, 2], BlobFault::Version(2)),
            (&[0, 1, 3], BlobFault::Truncated),
            (&[0, 1, 0, 0], BlobFault::Unit(0)),
            (&[0, 1, 5, 200], BlobFault::Unit(5)),
            (&[0, 1, 3, 1, 0, 0, 0], BlobFault::Count(1)),
            (&[0, 1, 3, 255, 0, 0, 0, 0], BlobFault::Count(255)),
        ] {
            assert_eq!(SegmentAges::parse(blob), Err(fault), "{blob:?}");
        }
        assert_eq!(ages(&[0, 1, 4, 1, 9, 1, 0, 0, 77, 77])[..], [(9, 1_000)], "what follows is ignored");
        assert!(SegmentAges::parse(&[0, 1, 1, 0]).unwrap().is_empty());
    }

    /// Fact 42: one age too old for hundredths makes all of them seconds.
    #[test]
    fn the_unit_gives_way() {
        let longest = Duration::from_micros(u64::from(MAX_AGE) * 10_000 + 9_999);
        assert_eq!(emit(&[(0, longest)]), [0, 1, 3, 1, 0, 0xff, 0xff, 0xff]);
        let longer = longest + Duration::from_micros(1);
        let [_, _, unit, _, _, low, mid, high, _, second @ ..] =
            emit(&[(0, longer), (1, Duration::from_secs(2))]).into_array::<12>().unwrap();
        assert_eq!((unit, u32::from_le_bytes([low, mid, high, 0])), (1, 167_772));
        assert_eq!(second, [2, 0, 0]);
        let ever = Duration::from_secs(u64::from(MAX_AGE) + 1);
        assert_eq!(emit(&[(3, ever)]), [0, 1, 1, 1, 3, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn numbers_that_do_not_fit_go_without() {
        assert_eq!(emit(&[(256, Duration::ZERO), (255, Duration::ZERO)]), [0, 1, 3, 1, 255, 0, 0, 0]);
        let many: heapless::Vec<_, 300> = (0..300).map(|number| (number, Duration::ZERO)).collect();
        let blob = emit(&many);
        assert_eq!((blob[3], blob.len()), (255, 4 + 4 * 255));
    }

    #[test]
    fn no_room_is_said() {
        for len in 0..8 {
            let mut buf = [0; 8];
            let ages = [(0, Duration::ZERO)];
            let mut writer = Writer::new(&mut buf[..len]);
            assert_eq!(SegmentAges::emit(ages.into_iter(), &mut writer), Err(NoRoom));
        }
    }
}
