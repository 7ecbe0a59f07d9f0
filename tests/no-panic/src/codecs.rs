//! One function per codec: calls every entry point on bytes of which nothing is known.
//!
//! To add a codec, write a function below and name it in [`ALL`]. Feed it `input`, let it emit
//! into `output`, walk everything it returns, accessors too, and hand results to [`keep`].

use peerdist_core::bytes::{Reader, Writer, decode_hex, hex_value, parse_decimal};
use peerdist_core::content::{InfoSource, SegmentId, segment_id, segment_secret, server_secret};
use peerdist_core::crypto::{CipherAlgorithm, Crypto, Digest, HashAlgorithm, Secret, SoftCrypto, hash};

use crate::keep;

/// What reads bytes from the outside (the first slice) and writes into lent memory (the second).
/// Both have any content and any length.
pub type Codec = fn(&[u8], &mut [u8]);

/// Every codec of the core.
pub static ALL: &[Codec] = &[
    bytes_reader,
    bytes_writer,
    bytes_text,
    crypto_hash,
    crypto_hmac,
    crypto_cbc,
    content_ids,
    content_source,
    #[cfg(feature = "control")]
    control,
];

/// The control: must keep the program from linking.
#[cfg(feature = "control")]
fn control(input: &[u8], _: &mut [u8]) {
    keep(input[0]);
}

#[inline(never)]
fn bytes_reader(input: &[u8], _: &mut [u8]) {
    let mut reader = Reader::new(input);
    keep(reader.u8());
    keep(reader.u16_le());
    keep(reader.u32_le());
    keep(reader.u64_le());
    keep(reader.u32_be());
    keep(reader.array::<7>().copied());
    let len = reader.u8().map_or(0, usize::from);
    keep(reader.take(len).map(checksum));
    keep(reader.take(usize::MAX).map(checksum));
    keep((reader.offset(), checksum(reader.rest())));
}

#[inline(never)]
fn bytes_writer(input: &[u8], output: &mut [u8]) {
    let mut reader = Reader::new(input);
    let mut writer = Writer::new(output);
    let number = reader.u64_le().unwrap_or_default();
    keep(writer.u16_le(number as u16));
    keep(writer.u32_le(number as u32));
    keep(writer.u64_le(number));
    keep(writer.u32_be(number as u32));
    keep(writer.decimal(number));
    keep(writer.zeros(number as usize));
    keep(writer.hex_upper(reader.rest()));
    keep(writer.put(reader.rest()));
    keep(core::str::from_utf8(reader.rest()).map(|text| writer.text(text)));
    keep((writer.len(), writer.is_empty()));
    keep(checksum(writer.finish()));
}

#[inline(never)]
fn bytes_text(input: &[u8], output: &mut [u8]) {
    keep(parse_decimal(input));
    keep(input.first().copied().map(hex_value));
    keep(decode_hex(input, output).map(checksum));
}

#[inline(never)]
fn crypto_hash(input: &[u8], _: &mut [u8]) {
    for algorithm in algorithms() {
        let mut state = SoftCrypto.hash_start(algorithm);
        for piece in input.split(|&byte| byte == 0) {
            SoftCrypto.hash_update(&mut state, piece);
        }
        keep(SoftCrypto.hash_finish(state.clone()));
        keep(checksum(hash(&mut SoftCrypto, algorithm, input).as_bytes()));
    }
    keep(Digest::from_slice(input));
    keep(Secret::from_slice(input).map(|secret| secret == secret.clone()));
}

#[inline(never)]
fn crypto_hmac(input: &[u8], output: &mut [u8]) {
    for algorithm in algorithms() {
        keep(SoftCrypto.hmac(algorithm, input, &[output, input]));
    }
}

#[inline(never)]
fn crypto_cbc(input: &[u8], output: &mut [u8]) {
    let Some(kp) = Secret::from_slice(input) else { return };
    let Some(mut chain) = input.first_chunk().copied() else { return };
    let (blocks, _) = output.as_chunks_mut::<16>();
    for algorithm in
        [CipherAlgorithm::None, CipherAlgorithm::Aes128, CipherAlgorithm::Aes192, CipherAlgorithm::Aes256]
    {
        keep(algorithm.sealed_len(u32::from_le_bytes(input.first_chunk().copied().unwrap_or_default())));
        let Some(key) = algorithm.key(&kp) else { continue };
        SoftCrypto.cbc_encrypt(key, &mut chain, blocks);
        SoftCrypto.cbc_decrypt(key, &mut chain, blocks);
        keep(checksum(blocks.as_flattened()));
    }
    keep(chain);
}

#[inline(never)]
fn content_ids(input: &[u8], _: &mut [u8]) {
    let Some(hod) = Digest::from_slice(input) else { return };
    for algorithm in algorithms() {
        let ks = server_secret(&mut SoftCrypto, algorithm, input);
        let kp = segment_secret(&mut SoftCrypto, algorithm, &ks, &hod);
        keep(checksum(segment_id(&mut SoftCrypto, algorithm, &kp, &hod).as_bytes()));
    }
    keep(SegmentId::from_slice(input));
}

#[inline(never)]
fn content_source(input: &[u8], output: &mut [u8]) {
    let offset = Reader::new(input).u64_le().unwrap_or_default();
    keep(input.read_at(offset, output));
    keep(checksum(output));
}

fn algorithms() -> [HashAlgorithm; 3] {
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512]
}

/// Reads all of `bytes`, so that [`keep`] keeps what they point to as well.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
