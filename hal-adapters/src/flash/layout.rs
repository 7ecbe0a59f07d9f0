//! What is written where: structures of 32 bytes, each with a CRC-32, and a mark.
//!
//! A sector begins with a [`Sector`]; the log goes on behind it. A record of the log is a mark of one
//! word, which is written when the block goes; its [`Record`]; its [`Commit`], which is written last;
//! and the pages of the block, each followed by its checksum. All numbers are little-endian.

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::store::BlockId;

/// Bytes of each structure: one word of the flash that has the longest.
pub const STRUCT_BYTES: usize = 32;

/// Bytes of a block with a checksum: what one wants of a block costs at most so much more reading.
pub const PAGE_BYTES: u32 = 4_096;

/// Bytes of a block at most: what the record has room for.
pub const MAX_LEN: u32 = (1 << 24) - 1;

/// The last byte is the version of this layout.
const SECTOR_MAGIC: u32 = u32::from_le_bytes(*b"PDF\x01");

/// An erased word has another first byte, and so has a structure of another kind.
const RECORD_MAGIC: u8 = b'R';
const COMMIT_MAGIC: u8 = b'C';

/// That of a structure that stands by itself.
const START_MAGIC: u32 = u32::from_le_bytes(*b"PDS\x01");

/// A structure as it is read and written.
pub type Words = [[u8; 4]; STRUCT_BYTES / 4];

/// What the layout depends on: bytes of an erase, bytes of a word, sectors. A sector of other geometry
/// is none of this store.
pub type Geometry = [u32; 3];

/// What an erased sector gets before anything else.
#[derive(Clone, Copy)]
pub struct Sector {
    /// Counts sectors in the order in which the log came to them, from 1.
    pub seq: u32,
    /// Where the first record begins that begins in this sector, from the end of this structure on.
    pub first: u32,
    /// The store's seconds.
    pub seconds: u32,
}

/// A start of the machine.
#[derive(Clone, Copy)]
pub struct Start {
    /// Which one, from 1.
    pub number: u32,
}

/// A block's name: its segment's first 16 bytes, which nobody finds a second segment for, and its index.
/// The whole segment would double the index in RAM.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Of the segment.
    pub tag: [u32; 4],
    /// Within the segment.
    pub index: u32,
}

/// The bit of an index that marks a block which cannot be verified.
const UNVERIFIABLE: u32 = 1 << 31;

/// A reservation.
#[derive(Clone, Copy)]
pub struct Record {
    /// The block.
    pub name: Name,
    /// That of the sector in which it begins.
    pub seq: u32,
    /// Bytes of the block.
    pub len: u32,
}

/// That a block is whole and verified, and what its reader needs.
#[derive(Clone, Copy)]
pub struct Commit {
    /// How it is sealed.
    pub seal: Seal,
    /// Bytes of the plaintext.
    pub plain_len: u32,
    /// The store's seconds.
    pub seconds: u32,
}

impl Sector {
    /// The structure, for a flash of that geometry.
    pub fn emit(&self, [erase, word, sectors]: Geometry) -> Words {
        sign(0, [SECTOR_MAGIC, erase, word, sectors, self.seq, self.first, self.seconds])
    }

    /// Reads the structure; `None` if it is damaged, or of another geometry.
    pub fn parse(words: &Words, geometry: Geometry) -> Option<Self> {
        let [magic, erase, word, sectors, seq, first, seconds] = verify(0, words)?;
        let same = magic == SECTOR_MAGIC && [erase, word, sectors] == geometry;
        same.then_some(Self { seq, first, seconds })
    }
}

impl Start {
    /// The structure.
    pub fn emit(&self) -> Words {
        sign(0, [START_MAGIC, self.number, 0, 0, 0, 0, 0])
    }

    /// Reads the structure; `None` if it is damaged.
    pub fn parse(words: &Words) -> Option<Self> {
        let [magic, number, ..] = verify(0, words)?;
        (magic == START_MAGIC).then_some(Self { number })
    }
}

impl Name {
    /// The name of `block`. Whoever offers a block that cannot be verified chooses the id of its segment, so
    /// that a part of the id does not tell it from another: a bit of the index does.
    pub fn of(block: &BlockId) -> Self {
        let tag = block.segment.as_bytes().first_chunk().map_or([0; 4], words_of);
        let mark = if block.segment.is_unverifiable() { UNVERIFIABLE } else { 0 };
        // No segment has so many blocks.
        Self { tag, index: block.index.min(UNVERIFIABLE - 1) | mark }
    }

    /// The index of the block, if it is one of the segment that gives this `tag` and mark.
    pub fn index_in(&self, segment: &SegmentId) -> Option<u32> {
        let first = Self::of(&BlockId { segment: *segment, index: 0 });
        let same = first.tag == self.tag && first.index == self.index & UNVERIFIABLE;
        same.then_some(self.index & !UNVERIFIABLE)
    }
}

impl Record {
    /// The structure.
    pub fn emit(&self) -> Words {
        let [a, b, c, d] = self.name.tag;
        sign(0, [self.len << 8 | u32::from(RECORD_MAGIC), self.seq, self.name.index, a, b, c, d])
    }

    /// Reads the structure; `None` if it is damaged.
    pub fn parse(words: &Words) -> Option<Self> {
        let [kind, seq, index, a, b, c, d] = verify(0, words)?;
        let name = Name { tag: [a, b, c, d], index };
        (kind as u8 == RECORD_MAGIC).then_some(Self { name, seq, len: kind >> 8 })
    }

    /// What checksums of the rest of this record start with: what belongs to another fails.
    pub fn seed(&self) -> u32 {
        let [.., crc] = self.emit();
        u32::from_le_bytes(crc)
    }
}

impl Commit {
    /// The structure, of the record with that seed.
    pub fn emit(&self, seed: u32) -> Words {
        let algorithm = match self.seal.algorithm {
            CipherAlgorithm::None => 0,
            CipherAlgorithm::Aes128 => 1,
            CipherAlgorithm::Aes192 => 2,
            CipherAlgorithm::Aes256 => 3,
        };
        let [a, b, c, d] = words_of(&self.seal.iv);
        sign(seed, [algorithm << 8 | u32::from(COMMIT_MAGIC), self.plain_len, self.seconds, a, b, c, d])
    }

    /// Reads the structure; `None` if it was not written, not to its end, or is damaged.
    pub fn parse(words: &Words, seed: u32) -> Option<Self> {
        let [kind, plain_len, seconds, a, b, c, d] = verify(seed, words)?;
        let algorithm = match kind >> 8 {
            0 => CipherAlgorithm::None,
            1 => CipherAlgorithm::Aes128,
            2 => CipherAlgorithm::Aes192,
            3 => CipherAlgorithm::Aes256,
            _ => return None,
        };
        let mut iv = [0; 16];
        let words = [a, b, c, d].map(u32::to_le_bytes);
        iv.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
        let seal = Seal { algorithm, iv };
        (kind as u8 == COMMIT_MAGIC).then_some(Self { seal, plain_len, seconds })
    }
}

/// CRC-32 (that of IEEE 802.3) as it goes. Its table has 64 bytes, since flash is scarce where this runs.
#[derive(Clone, Copy)]
pub struct Crc(u32);

impl Crc {
    /// That of no bytes, after those that gave `seed`.
    pub fn new(seed: u32) -> Self {
        Self(!seed)
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..2 {
                let row = CRC_ROWS.get(self.0 as usize & 15).copied().unwrap_or_default();
                self.0 = self.0 >> 4 ^ row;
            }
        }
    }

    /// The checksum so far.
    pub fn value(self) -> u32 {
        !self.0
    }
}

/// The remainders of the 16 nibbles.
const CRC_ROWS: [u32; 16] = [
    0x0000_0000,
    0x1db7_1064,
    0x3b6e_20c8,
    0x26d9_30ac,
    0x76dc_4190,
    0x6b6b_51f4,
    0x4db2_6158,
    0x5005_713c,
    0xedb8_8320,
    0xf00f_9344,
    0xd6d6_a3e8,
    0xcb61_b38c,
    0x9b64_c2b0,
    0x86d3_d2d4,
    0xa00a_e278,
    0xbdbd_f21c,
];

fn sign(seed: u32, [a, b, c, d, e, f, g]: [u32; 7]) -> Words {
    let crc = checksum(seed, &[a, b, c, d, e, f, g].map(u32::to_le_bytes));
    [a, b, c, d, e, f, g, crc].map(u32::to_le_bytes)
}

fn verify(seed: u32, words: &Words) -> Option<[u32; 7]> {
    let (crc, fields) = words.split_last_chunk::<1>().map(|(fields, [crc])| (*crc, fields))?;
    let fields: &[[u8; 4]; 7] = fields.try_into().ok()?;
    (u32::from_le_bytes(crc) == checksum(seed, fields)).then(|| fields.map(u32::from_le_bytes))
}

fn checksum(seed: u32, fields: &[[u8; 4]; 7]) -> u32 {
    let mut crc = Crc::new(seed);
    crc.update(fields.as_flattened());
    crc.value()
}

fn words_of(bytes: &[u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (to, from) in words.iter_mut().zip(bytes.as_chunks().0) {
        *to = u32::from_le_bytes(*from);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever offers what cannot be verified chooses its id: one that begins as another's is not that one.
    #[test]
    fn what_cannot_be_verified_is_never_found_as_verified() {
        let id = |last| {
            let mut id = [7; 32];
            id[31] = last;
            SegmentId::from_slice(&id).unwrap()
        };
        let (verified, chosen) = (id(0), id(1).unverifiable().unwrap());
        let name = |segment, index| Name::of(&BlockId { segment, index });
        for index in [0, 5, 511] {
            assert!(name(verified, index) != name(chosen, index));
            assert_eq!(name(verified, index).index_in(&verified), Some(index));
            assert_eq!(name(chosen, index).index_in(&chosen), Some(index));
            assert_eq!(name(chosen, index).index_in(&verified), None);
            assert_eq!(name(verified, index).index_in(&chosen), None);
            // Nor by an index that no block has.
            assert!(name(verified, index | 1 << 31) != name(chosen, index));
        }
    }

    #[test]
    fn checksum_of_the_standard() {
        let mut crc = Crc::new(0);
        crc.update(b"12345");
        crc.update(b"6789");
        assert_eq!(crc.value(), 0xcbf4_3926);
        let mut rest = Crc::new(0);
        rest.update(b"12345");
        let mut rest = Crc::new(rest.value());
        rest.update(b"6789");
        assert_eq!(rest.value(), 0xcbf4_3926);
    }

    #[test]
    fn structures_on_their_bytes() {
        let sector = Sector { seq: 2, first: 3, seconds: 4 };
        let words = sector.emit([4_096, 32, 16]);
        let fields = [*b"PDF\x01", [0, 16, 0, 0], [32, 0, 0, 0], [16, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0]];
        assert_eq!((&words[..6], words[6]), (&fields[..], [4, 0, 0, 0]));
        let back = Sector::parse(&words, [4_096, 32, 16]).unwrap();
        assert_eq!((back.seq, back.first, back.seconds), (2, 3, 4));
        assert!(Sector::parse(&words, [4_096, 4, 16]).is_none());

        let name = Name { tag: [1, 2, 3, 4], index: 5 };
        let record = Record { name, seq: 6, len: 0x0001_0010 };
        let words = record.emit();
        assert_eq!(words[..3], [[b'R', 0x10, 0, 1], [6, 0, 0, 0], [5, 0, 0, 0]]);
        let back = Record::parse(&words).unwrap();
        assert!(back.name == name && (back.seq, back.len) == (6, 0x0001_0010));

        let seal = Seal { algorithm: CipherAlgorithm::Aes192, iv: *b"0123456789abcdef" };
        let words = Commit { seal, plain_len: 7, seconds: 8 }.emit(record.seed());
        assert_eq!(words[..4], [[b'C', 2, 0, 0], [7, 0, 0, 0], [8, 0, 0, 0], *b"0123"]);
        let back = Commit::parse(&words, record.seed()).unwrap();
        assert_eq!((back.seal, back.plain_len, back.seconds), (seal, 7, 8));
        assert!(Commit::parse(&words, Record { seq: 7, ..record }.seed()).is_none());
    }

    /// A structure is there only with all its bits, and none stands for another.
    #[test]
    fn every_bit_counts() {
        let geometry = [256, 1, 9];
        let record = Record { name: Name { tag: [1; 4], index: 2 }, seq: 3, len: 4 };
        let seal = Seal { algorithm: CipherAlgorithm::None, iv: [9; 16] };
        let all = [
            Sector { seq: 1, first: 0, seconds: 0 }.emit(geometry),
            record.emit(),
            Commit { seal, plain_len: 4, seconds: 0 }.emit(record.seed()),
            [[0xff; 4]; 8],
            [[0; 4]; 8],
        ];
        let kinds = |words: &Words| {
            let sector = Sector::parse(words, geometry).is_some();
            [sector, Record::parse(words).is_some(), Commit::parse(words, record.seed()).is_some()]
        };
        for (number, words) in all.iter().enumerate() {
            assert_eq!(kinds(words), [0, 1, 2].map(|kind| kind == number));
            for bit in 0..256 {
                let mut words = *words;
                words[bit / 32][bit / 8 % 4] ^= 1 << (bit % 8);
                assert_eq!(kinds(&words), [false; 3]);
            }
        }
    }
}
