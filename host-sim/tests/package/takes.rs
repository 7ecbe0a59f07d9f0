//! What is taken out of a package.

use std::collections::HashSet;

use super::*;

/// What becomes of each block, and what is in the store then.
fn take_all(
    store: &mut dyn Store,
    known: &Known<'_>,
    package: &[u8],
    as_received: bool,
) -> Vec<(Outcome, BlockId)> {
    let mut reader = Reader::new(package).expect("a package");
    let mut outcomes = Vec::new();
    while let Some(record) = reader.next_record().expect("whole") {
        let outcome = take(store, &mut SoftCrypto, known, &record, as_received).expect("room");
        outcomes.push((outcome, record.head.id));
    }
    outcomes
}

fn known(infos: &[&'static [u8]]) -> Known<'static> {
    let mut known = Known::default();
    for source in infos.to_vec().leak() {
        known.add(&mut SoftCrypto, Info::parse(source).expect("our own"), source).expect("it is right");
    }
    known
}

#[test]
fn blocks_are_verified_before_they_are_kept() {
    let content = content(300_000);
    for info in [v1_of(&content), v2_of(&content, 30_000)] {
        let mut blocks = blocks(info, &content, CipherAlgorithm::Aes128);
        let (package, mut store, known) = (pack(&blocks), store(), known(&[info]));
        assert_eq!(known.missing(&mut SoftCrypto, &store).ok(), Some(blocks.len() as u64));
        for expected in [Outcome::Verified, Outcome::Present] {
            for (outcome, id) in take_all(&mut store, &known, &package, false) {
                assert_eq!((outcome, store.find(&id).is_some()), (expected, true));
            }
        }
        assert_eq!(known.missing(&mut SoftCrypto, &store).ok(), Some(0));

        // A block that is packed as it should be, and is not what it should be.
        let mut store = self::store();
        blocks[1].1[20_000] ^= 1;
        let outcomes = take_all(&mut store, &known, &pack(&blocks), true);
        assert_eq!(outcomes[1].0, Outcome::Refused(VerifyError::Hash));
        assert!(store.find(&outcomes[1].1).is_none());
        assert!(outcomes[1].1.segment.unverifiable().is_some_and(|name| store.blocks(&name) == 0));
        assert_eq!(known.missing(&mut SoftCrypto, &store).ok(), Some(1));
        blocks[1].0.plain_len -= 16;
        let len = blocks[1].0.len() as usize;
        blocks[1].1.truncate(len);
        let outcomes = take_all(&mut store, &known, &pack(&blocks), false);
        assert_eq!(outcomes[1].0, Outcome::Refused(VerifyError::Length));
    }
}

#[test]
fn without_content_information_nothing_is_verified() {
    let (info, blocks) = small();
    let (package, mut store) = (pack(&blocks), store());
    let (none, known) = (Known::default(), known(&[info]));
    for (outcome, id) in take_all(&mut store, &none, &package, false) {
        assert_eq!((outcome, store.blocks(&id.segment)), (Outcome::Unknown, 0));
    }
    for (outcome, id) in take_all(&mut store, &none, &package, true) {
        let name = id.segment.unverifiable().expect("32 bytes");
        assert_eq!((outcome, store.blocks(&id.segment), store.blocks(&name)), (Outcome::AsReceived, 0, 1));
    }
    assert!(take_all(&mut store, &none, &package, true).iter().all(|it| it.0 == Outcome::Present));

    // From such a cache, they are packed under those names, and verified where there is content information.
    let renamed = |(head, bytes): &Block| {
        let segment = head.id.segment.unverifiable().expect("32 bytes");
        (Head { id: BlockId { segment, ..head.id }, ..*head }, bytes.clone())
    };
    let package = pack(&blocks.iter().map(renamed).collect::<Vec<_>>());
    assert!(take_all(&mut store, &known, &package, false).iter().all(|it| it.0 == Outcome::Verified));
    assert!(blocks.iter().all(|(head, _)| store.find(&head.id).is_some()));
    // What is verified needs no other copy.
    let mut verified = self::store();
    take_all(&mut verified, &known, &package, false);
    assert!(take_all(&mut verified, &none, &package, true).iter().all(|it| it.0 == Outcome::Present));
    // An id of 48 bytes has no such name.
    let (mut head, bytes) = blocks[0].clone();
    head.id.segment = SegmentId::from_slice(&[7; 48]).expect("48 bytes");
    let outcomes = take_all(&mut store, &none, &pack(&[(head, bytes)]), true);
    assert_eq!(outcomes, [(Outcome::Unknown, head.id)]);
}

/// Content information of a range leaves out hashes, so that nothing proves those it has: its blocks are kept apart.
#[test]
fn what_nothing_proves_is_kept_apart() {
    let content = content(300_000);
    let whole = v1_of(&content);
    let parsed = Info::parse(&whole).expect("our own");
    let cut = parsed.excerpt(&whole, 70_000..140_000, EndForm::Zero).expect("readable").expect("a part");
    let mut range = vec![0; cut.info().encoded_len() as usize];
    cut.emit(&mut range.as_mut_slice()).expect("room");
    let range: &[u8] = range.leak();

    let blocks = blocks(whole, &content, CipherAlgorithm::Aes128);
    let (package, mut store, part) = (pack(&blocks), store(), known(&[range]));
    let outcomes: Vec<Outcome> = take_all(&mut store, &part, &package, false).iter().map(|it| it.0).collect();
    use Outcome::{Unknown, Verified};
    // It begins where its segment does.
    assert_eq!(outcomes, [Verified, Verified, Verified, Unknown, Unknown]);
    assert!(blocks.iter().all(|(head, _)| store.find(&head.id).is_none()), "none is the segment's");
    assert_eq!(part.missing(&mut SoftCrypto, &store).ok(), Some(0));
    // Both together: what is proven counts.
    let mut store = self::store();
    let both = known(&[range, whole]);
    assert!(take_all(&mut store, &both, &package, false).iter().all(|it| it.0 == Verified));
    assert!(blocks.iter().all(|(head, _)| store.find(&head.id).is_some()));
}

#[test]
fn hashes_that_are_not_the_segments_are_refused() {
    let mut info = v1_of(&content(200_000)).to_vec();
    *info.last_mut().expect("a hash") ^= 1;
    let info = &info.as_slice();
    let mut known = Known::default();
    let parsed = Info::parse(info).expect("nothing else is wrong");
    let error = known.add(&mut SoftCrypto, parsed, info).expect_err("it is refused");
    assert_eq!(error.expect("of the content information").reason, InfoFault::HashMismatch);
}

/// Nothing in a package is a secret: the keys are not there.
#[test]
fn no_key_is_packed() {
    let (info, blocks) = small();
    let (package, parsed) = (pack(&blocks), Info::parse(&info).expect("our own"));
    let windows: HashSet<&[u8]> = package.windows(32).collect();
    for index in 0..parsed.segment_count() {
        let segment = parsed.segment(&info, index).expect("there is one");
        assert!(!windows.contains(segment.secret().expose()) && !windows.contains(segment.hod().as_bytes()));
        assert!(windows.contains(segment.id(&mut SoftCrypto).as_bytes()));
    }
}

#[test]
fn a_store_without_room_ends_it() {
    let content = content(300_000);
    let info = v1_of(&content);
    let (package, known) = (pack(&blocks(info, &content, CipherAlgorithm::Aes128)), known(&[info]));
    let mut store = RamStore::new(vec![Page::EMPTY; 3], vec![Entry::EMPTY; 2], []);
    let mut reader = Reader::new(package.as_slice()).expect("a package");
    let record = reader.next_record().expect("whole").expect("a block");
    let outcome = take(&mut store, &mut SoftCrypto, &known, &record, false);
    assert!(matches!(outcome, Err(TakeError::Full)), "{outcome:?}");
}
