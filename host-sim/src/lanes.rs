//! SHA-384 and SHA-512 of several messages at once: each in a lane of the vector unit of an x86-64
//! core, AVX-512 or AVX2. There is no instruction for these hashes as there is for SHA-256, and a
//! core hashes 2 to 4 times as many bytes this way as one message after the other.

use std::ops::Range;

use pulp::x86::{V3, V4};
use pulp::{cast, u64x4, u64x8};
use sha2::block_api::compress512;

const BLOCK: usize = 128;

/// The eight words between two blocks; after the last, the first of them are the digest.
pub type State = [u64; 8];

/// FIPS 180-4, 5.3.5: where SHA-512 begins.
pub const SHA512: State = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// FIPS 180-4, 5.3.4: where SHA-384 begins.
pub const SHA384: State = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];

/// Hashes `messages`, each from `initial` on into the state at its place; `false` if this machine
/// has no vector unit for it, and nothing is done.
pub fn hash_many(initial: &State, messages: &[&[u8]], states: &mut [State]) -> bool {
    if let Some(simd) = V4::try_new() {
        Lanes::<8>::new(initial, messages, states).run(simd);
    } else if let Some(simd) = V3::try_new() {
        Lanes::<4>::new(initial, messages, states).run(simd);
    } else {
        return false;
    }
    true
}

/// Messages on their way through `N` lanes.
struct Lanes<'a, const N: usize> {
    initial: &'a State,
    messages: &'a [&'a [u8]],
    states: &'a mut [State],
    /// Which messages have no lane yet, the longest last.
    waiting: Vec<usize>,
    lanes: [Option<Lane<'a>>; N],
    /// A word of all lanes in a row.
    words: [[u64; N]; 8],
}

/// What is left of the message in a lane: whole blocks, and then a padded end.
struct Lane<'a> {
    message: usize,
    whole: &'a [u8],
    end: [u8; 2 * BLOCK],
    end_left: Range<usize>,
}

impl<'a> Lane<'a> {
    fn new(message: usize, bytes: &'a [u8]) -> Self {
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % BLOCK);
        // FIPS 180-4, 5.1.2: a one bit, zeros, and the number of bits in 16 bytes.
        let mut end = [0; 2 * BLOCK];
        end[..rest.len()].copy_from_slice(rest);
        end[rest.len()] = 0x80;
        let end_len = if rest.len() + 17 > BLOCK { 2 * BLOCK } else { BLOCK };
        end[end_len - 16..end_len].copy_from_slice(&(bytes.len() as u128 * 8).to_be_bytes());
        Self { message, whole, end, end_left: 0..end_len }
    }

    fn left(&self) -> &[u8] {
        if self.whole.is_empty() { &self.end[self.end_left.clone()] } else { self.whole }
    }

    fn skip(&mut self, len: usize) {
        match self.whole.is_empty() {
            true => self.end_left.start += len,
            false => self.whole = &self.whole[len..],
        }
    }
}

impl<'a, const N: usize> Lanes<'a, N> {
    fn new(initial: &'a State, messages: &'a [&'a [u8]], states: &'a mut [State]) -> Self {
        // The long ones begin first, so that the lanes come to their ends together.
        let mut waiting: Vec<usize> = (0..messages.len().min(states.len())).collect();
        waiting.sort_by_key(|&message| messages[message].len());
        let lanes = std::array::from_fn(|_| None);
        Self { initial, messages, states, waiting, lanes, words: [[0; N]; 8] }
    }

    fn run(mut self, simd: impl Simd<N>) {
        loop {
            (0..N).for_each(|lane| self.refill(lane));
            let busy = |lane: &usize| self.lanes[*lane].is_some();
            let Some(one) = (0..N).find(busy) else { break };
            let left = self.lanes.each_ref().map(|lane| lane.as_ref().map(Lane::left));
            // A lane without a message goes through what another one has.
            let some = left[one].unwrap_or_default();
            let len = left.iter().flatten().map(|left| left.len()).min().unwrap_or_default();
            if left.iter().flatten().count() == 1 {
                // The last one is faster alone.
                let mut state = self.words.map(|word| word[one]);
                compress512(&mut state, some.as_chunks().0);
                self.words.iter_mut().zip(state).for_each(|(word, new)| word[one] = new);
            } else {
                simd.run(&mut self.words, left.map(|left| &left.unwrap_or(some)[..len]));
            }
            self.lanes.iter_mut().flatten().for_each(|lane| lane.skip(len));
        }
    }

    /// Takes a message that is done out of its lane, and puts the next one in.
    fn refill(&mut self, lane: usize) {
        if let Some(Lane { message, .. }) = self.lanes[lane].take_if(|lane| lane.left().is_empty()) {
            self.states[message] = self.words.map(|word| word[lane]);
        }
        if self.lanes[lane].is_none()
            && let Some(message) = self.waiting.pop()
        {
            self.lanes[lane] = Some(Lane::new(message, self.messages[message]));
            self.words.iter_mut().zip(self.initial).for_each(|(word, initial)| word[lane] = *initial);
        }
    }
}

/// A vector unit with `N` lanes.
trait Simd<const N: usize>: Copy {
    /// A word of each lane.
    type Word: Copy;

    fn run(self, words: &mut [[u64; N]; 8], data: [&[u8]; N]);
    fn load(self, words: [u64; N]) -> Self::Word;
    fn store(self, word: Self::Word) -> [u64; N];
    fn add(self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// `LEFT` is 64 less `RIGHT`.
    fn rotate<const RIGHT: i32, const LEFT: i32>(self, a: Self::Word) -> Self::Word;
    /// To the right; `SAME` is as much as `BITS`, for instructions that want it signed.
    fn shift<const BITS: u32, const SAME: i32>(self, a: Self::Word) -> Self::Word;
    fn xor(self, a: Self::Word, b: Self::Word, c: Self::Word) -> Self::Word;
    fn choose(self, a: Self::Word, b: Self::Word, c: Self::Word) -> Self::Word;
    fn majority(self, a: Self::Word, b: Self::Word, c: Self::Word) -> Self::Word;
}

impl Simd<8> for V4 {
    type Word = u64x8;

    fn run(self, words: &mut [[u64; 8]; 8], data: [&[u8]; 8]) {
        self.vectorize(
            #[inline(always)]
            || compress(self, words, data),
        );
    }

    #[inline(always)]
    fn load(self, words: [u64; 8]) -> u64x8 {
        cast(words)
    }

    #[inline(always)]
    fn store(self, word: u64x8) -> [u64; 8] {
        cast(word)
    }

    #[inline(always)]
    fn add(self, a: u64x8, b: u64x8) -> u64x8 {
        self.wrapping_add_u64x8(a, b)
    }

    #[inline(always)]
    fn rotate<const RIGHT: i32, const LEFT: i32>(self, a: u64x8) -> u64x8 {
        cast(self.avx512f._mm512_ror_epi64::<RIGHT>(cast(a)))
    }

    #[inline(always)]
    fn shift<const BITS: u32, const SAME: i32>(self, a: u64x8) -> u64x8 {
        cast(self.avx512f._mm512_srli_epi64::<BITS>(cast(a)))
    }

    // The numbers are the columns of the truth tables.

    #[inline(always)]
    fn xor(self, a: u64x8, b: u64x8, c: u64x8) -> u64x8 {
        cast(self.avx512f._mm512_ternarylogic_epi64::<0b1001_0110>(cast(a), cast(b), cast(c)))
    }

    #[inline(always)]
    fn choose(self, a: u64x8, b: u64x8, c: u64x8) -> u64x8 {
        cast(self.avx512f._mm512_ternarylogic_epi64::<0b1100_1010>(cast(a), cast(b), cast(c)))
    }

    #[inline(always)]
    fn majority(self, a: u64x8, b: u64x8, c: u64x8) -> u64x8 {
        cast(self.avx512f._mm512_ternarylogic_epi64::<0b1110_1000>(cast(a), cast(b), cast(c)))
    }
}

impl Simd<4> for V3 {
    type Word = u64x4;

    fn run(self, words: &mut [[u64; 4]; 8], data: [&[u8]; 4]) {
        self.vectorize(
            #[inline(always)]
            || compress(self, words, data),
        );
    }

    #[inline(always)]
    fn load(self, words: [u64; 4]) -> u64x4 {
        cast(words)
    }

    #[inline(always)]
    fn store(self, word: u64x4) -> [u64; 4] {
        cast(word)
    }

    #[inline(always)]
    fn add(self, a: u64x4, b: u64x4) -> u64x4 {
        self.wrapping_add_u64x4(a, b)
    }

    #[inline(always)]
    fn rotate<const RIGHT: i32, const LEFT: i32>(self, a: u64x4) -> u64x4 {
        let right = cast(self.avx2._mm256_srli_epi64::<RIGHT>(cast(a)));
        self.or_u64x4(right, cast(self.avx2._mm256_slli_epi64::<LEFT>(cast(a))))
    }

    #[inline(always)]
    fn shift<const BITS: u32, const SAME: i32>(self, a: u64x4) -> u64x4 {
        cast(self.avx2._mm256_srli_epi64::<SAME>(cast(a)))
    }

    #[inline(always)]
    fn xor(self, a: u64x4, b: u64x4, c: u64x4) -> u64x4 {
        self.xor_u64x4(a, self.xor_u64x4(b, c))
    }

    #[inline(always)]
    fn choose(self, a: u64x4, b: u64x4, c: u64x4) -> u64x4 {
        self.xor_u64x4(c, self.and_u64x4(a, self.xor_u64x4(b, c)))
    }

    #[inline(always)]
    fn majority(self, a: u64x4, b: u64x4, c: u64x4) -> u64x4 {
        self.or_u64x4(self.and_u64x4(a, b), self.and_u64x4(c, self.or_u64x4(a, b)))
    }
}

/// FIPS 180-4, 6.4.2, in all lanes: as many blocks as each of `data` has.
#[inline(always)]
fn compress<const N: usize, S: Simd<N>>(s: S, words: &mut [[u64; N]; 8], data: [&[u8]; N]) {
    let mut state = words.map(|word| s.load(word));
    for block in 0..data[0].len() / BLOCK {
        let word = |data: &[u8], index: usize| {
            data[block * BLOCK + index * 8..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        let mut w: [S::Word; 16] = std::array::from_fn(|index| s.load(data.map(|data| word(data, index))));
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for round in (0..80).step_by(16) {
            for i in 0..16 {
                if round > 0 {
                    let (x, y) = (w[(i + 1) % 16], w[(i + 14) % 16]);
                    let x = s.xor(s.rotate::<1, 63>(x), s.rotate::<8, 56>(x), s.shift::<7, 7>(x));
                    let y = s.xor(s.rotate::<19, 45>(y), s.rotate::<61, 3>(y), s.shift::<6, 6>(y));
                    w[i] = s.add(s.add(w[i], x), s.add(w[(i + 9) % 16], y));
                }
                let sum = s.xor(s.rotate::<14, 50>(e), s.rotate::<18, 46>(e), s.rotate::<41, 23>(e));
                let constant = s.add(s.load([K[round + i]; N]), w[i]);
                let t1 = s.add(s.add(h, constant), s.add(s.choose(e, f, g), sum));
                let sum = s.xor(s.rotate::<28, 36>(a), s.rotate::<34, 30>(a), s.rotate::<39, 25>(a));
                let t2 = s.add(sum, s.majority(a, b, c));
                (h, g, f, e, d, c, b, a) = (g, f, e, s.add(d, t1), c, b, a, s.add(t1, t2));
            }
        }
        let next = [a, b, c, d, e, f, g, h];
        state = std::array::from_fn(|index| s.add(state[index], next[index]));
    }
    *words = state.map(|word| s.store(word));
}

/// FIPS 180-4, 4.2.3.
const K: [u64; 80] = [
    0x428a_2f98_d728_ae22,
    0x7137_4491_23ef_65cd,
    0xb5c0_fbcf_ec4d_3b2f,
    0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538,
    0x59f1_11f1_b605_d019,
    0x923f_82a4_af19_4f9b,
    0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242,
    0x1283_5b01_4570_6fbe,
    0x2431_85be_4ee4_b28c,
    0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f,
    0x80de_b1fe_3b16_96b1,
    0x9bdc_06a7_25c7_1235,
    0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2,
    0xefbe_4786_384f_25e3,
    0x0fc1_9dc6_8b8c_d5b5,
    0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275,
    0x4a74_84aa_6ea6_e483,
    0x5cb0_a9dc_bd41_fbd4,
    0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab,
    0xa831_c66d_2db4_3210,
    0xb003_27c8_98fb_213f,
    0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2,
    0xd5a7_9147_930a_a725,
    0x06ca_6351_e003_826f,
    0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc,
    0x2e1b_2138_5c26_c926,
    0x4d2c_6dfc_5ac4_2aed,
    0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de,
    0x766a_0abb_3c77_b2a8,
    0x81c2_c92e_47ed_aee6,
    0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364,
    0xa81a_664b_bc42_3001,
    0xc24b_8b70_d0f8_9791,
    0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218,
    0xd699_0624_5565_a910,
    0xf40e_3585_5771_202a,
    0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8,
    0x1e37_6c08_5141_ab53,
    0x2748_774c_df8e_eb99,
    0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63,
    0x4ed8_aa4a_e341_8acb,
    0x5b9c_ca4f_7763_e373,
    0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc,
    0x78a5_636f_4317_2f60,
    0x84c8_7814_a1f0_ab72,
    0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28,
    0xa450_6ceb_de82_bde9,
    0xbef9_a3f7_b2c6_7915,
    0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c,
    0xd186_b8c7_21c0_c207,
    0xeada_7dd6_cde0_eb1e,
    0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba,
    0x0a63_7dc5_a2c8_98a6,
    0x113f_9804_bef9_0dae,
    0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84,
    0x32ca_ab7b_40c7_2493,
    0x3c9e_be0a_15c9_bebc,
    0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6,
    0x597f_299c_fc65_7e2a,
    0x5fcb_6fab_3ad6_faec,
    0x6c44_198c_4a47_5817,
];

#[cfg(test)]
mod tests {
    use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};

    use super::*;

    fn bytes(state: State) -> Vec<u8> {
        state.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn check(messages: &[&[u8]], run: impl Fn(&State, &mut [State])) {
        for (initial, algorithm) in [(SHA512, HashAlgorithm::Sha512), (SHA384, HashAlgorithm::Sha384)] {
            let mut states = vec![[0; 8]; messages.len()];
            run(&initial, &mut states);
            for (message, state) in messages.iter().zip(states) {
                let expected = hash(&mut SoftCrypto, algorithm, message);
                assert_eq!(bytes(state)[..algorithm.digest_len()], *expected.as_bytes(), "{}", message.len());
            }
        }
    }

    /// With each vector unit that this machine has.
    fn check_all(messages: &[&[u8]]) {
        if let Some(simd) = V4::try_new() {
            check(messages, |initial, states| Lanes::<8>::new(initial, messages, states).run(simd));
        }
        if let Some(simd) = V3::try_new() {
            check(messages, |initial, states| Lanes::<4>::new(initial, messages, states).run(simd));
        }
        let mut states = vec![[0; 8]; messages.len()];
        assert_eq!(hash_many(&SHA512, messages, &mut states), V3::try_new().is_some());
    }

    #[test]
    fn messages_of_any_length_in_any_number() {
        let content: Vec<u8> = (0..70_000u64).map(|i| (i * i / 7 % 251) as u8).collect();
        for count in 0..20 {
            let messages: Vec<&[u8]> = (0..count).map(|i| &content[i..i + 500]).collect();
            check_all(&messages);
        }
        let messages: Vec<&[u8]> = (0..=300).map(|len| &content[len..2 * len]).collect();
        check_all(&messages);
        let lens = [65_536, 3, 70_000, 0, 127, 128, 129, 40_000, 111, 112, 239, 240, 65_535, 9_999];
        let messages: Vec<&[u8]> = lens.iter().map(|&len| &content[..len]).collect();
        check_all(&messages);
    }
}
