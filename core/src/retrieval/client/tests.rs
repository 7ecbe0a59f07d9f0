mod list;

use super::*;
use crate::content::SegmentId;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/vectors/", $name))
    };
}

fn exchange(index: u32, plain_len: u32) -> Exchange {
    let id: [u8; 32] = core::array::from_fn(|i| i as u8);
    Exchange::new(BlockId { segment: SegmentId::from_slice(&id).unwrap(), index }, plain_len)
}

/// Feeds `bytes` in chunks and returns the block's bytes and the last step.
fn feed(
    exchange: &mut Exchange,
    bytes: &[u8],
    chunk: usize,
) -> Result<(heapless::Vec<u8, 128>, Step<'static>), Refusal> {
    let (mut block, mut last) = (heapless::Vec::new(), Step::More);
    for mut bytes in bytes.chunks(chunk) {
        while !bytes.is_empty() {
            let (used, step) = exchange.handle(bytes);
            bytes = &bytes[used..];
            match step? {
                Step::Piece(piece) => block.extend_from_slice(&piece[..piece.len().min(64)]).unwrap(),
                Step::Begin { cipher, len } => last = Step::Begin { cipher, len },
                Step::More => {}
                Step::Block(seal) => last = Step::Block(seal),
                Step::Missing => last = Step::Missing,
                Step::Blocks => last = Step::Blocks,
                Step::Negotiation(range) => last = Step::Negotiation(range),
            }
        }
    }
    Ok((block, last))
}

/// 3.1.5.3
#[test]
fn a_block_in_any_pieces() {
    let bytes = vector!("pccrr-blk-aes128-17.bin");
    let iv = core::array::from_fn(|i| i as u8);
    for chunk in 1..bytes.len() {
        let mut exchange = exchange(5, 17);
        let (block, last) = feed(&mut exchange, bytes, chunk).unwrap();
        assert_eq!(block, bytes[68..100]);
        assert_eq!(last, Step::Block(Seal { algorithm: CipherAlgorithm::Aes128, iv }));
        assert!(exchange.is_done());
        assert_eq!(exchange.handle(&[0]).1, Err(Refusal::Malformed));
    }
}

/// 3.1.5.3 and fact 36.
#[test]
fn a_missing_block_with_and_without_an_iv() {
    for bytes in [&vector!("pccrr-blk-empty.bin")[..], vector!("pccrr-blk-empty-noiv.bin")] {
        assert_eq!(feed(&mut exchange(0, 17), bytes, 7).unwrap().1, Step::Missing);
    }
}

/// 3.1.5.1: what the server speaks is told, and whether a resent request would be understood.
#[test]
fn negotiation() {
    let step = feed(&mut exchange(0, 17), vector!("pccrr-nego-resp-1.0-2.0.bin"), 28).unwrap().1;
    assert_eq!(step, Step::Negotiation(crate::retrieval::wire::OUR_VERSIONS));
    let mut other = *vector!("pccrr-nego-resp-1.0-2.0.bin");
    (other[23], other[27]) = (2, 3);
    let Step::Negotiation(range) = feed(&mut exchange(0, 17), &other, 28).unwrap().1 else { panic!() };
    assert!(!range.speaks(MessageType::GetBlocks.version()), "no major version in common");
    // 2.2.5.1: both versions, and nothing else.
    other[3] += 4;
    other[15] += 4;
    assert_eq!(feed(&mut exchange(0, 17), &other, 28).unwrap_err(), Refusal::Malformed);
}

/// 3.1.5.3: segment and block MUST be those of the request; 3.1.5.5: other types are discarded.
#[test]
fn what_was_not_asked_for_is_refused() {
    let bytes = vector!("pccrr-blk-aes128-17.bin");
    assert_eq!(feed(&mut exchange(4, 17), bytes, 999).unwrap_err(), Refusal::NotAsked);
    assert_eq!(feed(&mut exchange(5, 15), bytes, 999).unwrap_err(), Refusal::Length);
    assert_eq!(
        feed(&mut exchange(5, 15), vector!("pccrr-blk-plain-15.bin"), 999).unwrap_err(),
        Refusal::Cipher
    );
    let mut other = *bytes;
    other[24] ^= 1;
    assert_eq!(feed(&mut exchange(5, 17), &other, 999).unwrap_err(), Refusal::NotAsked);
    other = *bytes;
    other[11] = 7;
    assert_eq!(feed(&mut exchange(5, 17), &other, 999).unwrap_err(), Refusal::Unexpected);
    other[11] = 99;
    assert_eq!(feed(&mut exchange(5, 17), &other, 999).unwrap_err(), Refusal::Unexpected);
    other = *bytes;
    other[23] = 48;
    assert_eq!(feed(&mut exchange(5, 17), &other, 999).unwrap_err(), Refusal::NotAsked);
    other = *bytes;
    other[7] = 2;
    assert_eq!(feed(&mut exchange(5, 17), &other, 999).unwrap_err(), Refusal::Unexpected);
}

/// 3.1.5.3, fact 36: MUST be well-formed: sizes that lie about a block or its IV.
#[test]
fn lies_about_sizes_are_refused() {
    for bytes in [vector!("pccrr-blk-neg-sizeofblock0.bin"), vector!("pccrr-blk-neg-sizeofiv0.bin")] {
        for len in [1, 63, 64] {
            let index = u32::from_be_bytes(bytes[56..60].try_into().unwrap());
            assert!(feed(&mut exchange(index, len), bytes, 999).is_err());
        }
    }
}

#[test]
fn a_vrf_block_is_skipped() {
    let good = vector!("pccrr-blk-aes128-17.bin");
    let mut bytes = heapless::Vec::<u8, 256>::new();
    bytes.extend_from_slice(&good[..100]).unwrap();
    bytes.extend_from_slice(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]).unwrap();
    bytes.extend_from_slice(&good[104..]).unwrap();
    let size = bytes.len() as u8 - 4;
    (bytes[3], bytes[15]) = (size, size);
    assert!(matches!(feed(&mut exchange(5, 17), &bytes, 3).unwrap().1, Step::Block(_)));
}

#[test]
fn flipped_bits_never_go_wrong_quietly() {
    let good = vector!("pccrr-blk-aes128-17.bin");
    for at in 0..good.len() * 8 {
        let mut bytes = *good;
        bytes[at / 8] ^= 1 << (at % 8);
        let mut exchange = exchange(5, 17);
        let ended = feed(&mut exchange, &bytes, 999).is_ok_and(|(_, step)| matches!(step, Step::Block(_)));
        // The block, its IV, NextBlockIndex and pads are not the codec's to judge; a change
        // between ciphers of one family shows when the block is verified.
        let byte = at / 8;
        let passes = matches!(byte, 8..=11 | 19 | 60..=63 | 68..=99 | 108..=123) || matches!(byte, 4..=5);
        assert!(!ended || passes, "bit {at} passed");
    }
}

/// A plain block is refused unless the caller has said otherwise; then its pad and its missing IV
/// are in order.
#[test]
fn plain_blocks_by_policy() {
    let bytes = vector!("pccrr-blk-plain-15.bin");
    let id: [u8; 32] = core::array::from_fn(|i| i as u8);
    let block = BlockId { segment: SegmentId::from_slice(&id).unwrap(), index: 5 };
    for chunk in 1..bytes.len() {
        let mut exchange = Exchange::with_policy(block, 15, AcceptPlain::Yes);
        let (plain, last) = feed(&mut exchange, bytes, chunk).unwrap();
        assert!(plain.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i * 7 + 3));
        assert_eq!(last, Step::Block(Seal { algorithm: CipherAlgorithm::None, iv: [0; 16] }));
        let mut exchange = Exchange::with_policy(block, 15, AcceptPlain::default());
        assert_eq!(feed(&mut exchange, bytes, chunk).unwrap_err(), Refusal::Cipher);
    }
    let mut exchange = Exchange::with_policy(block, 14, AcceptPlain::Yes);
    assert_eq!(feed(&mut exchange, bytes, 999).unwrap_err(), Refusal::Length);
}
