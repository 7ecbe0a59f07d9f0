use super::*;
use crate::bytes::Writer;
use crate::crypto::Seal;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/vectors/", $name))
    };
}

fn id() -> [u8; 32] {
    core::array::from_fn(|i| i as u8)
}

fn get_blocks(bytes: &[u8]) -> GetBlocks<'_> {
    match Request::parse(bytes) {
        Ok(Request::GetBlocks(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_of_other_implementations() {
    let request = get_blocks(vector!("pccrr-getblks-511.bin"));
    assert_eq!((request.segment, request.block()), (&id()[..], Some(511)));
    assert_eq!(request.cipher.algorithm(), Some(CipherAlgorithm::Aes256));
    assert_eq!(get_blocks(vector!("client-wire/v1-getblks.bin")).block(), Some(15));
    // Fact 39: an empty range is answered, a count that lies is dropped.
    assert_eq!(get_blocks(vector!("pccrr-getblks-count0.bin")).block(), None);
    assert_eq!(Request::parse(vector!("pccrr-getblks-neg-count10.bin")), Err(Malformed::Truncated));
    let range = Request::Negotiation(OUR_VERSIONS);
    assert_eq!(Request::parse(vector!("pccrr-nego-req-1.0-2.0.bin")), Ok(range));
}

/// 2.2.3: the minor version stands first.
#[test]
fn versions() {
    let Ok(Request::Negotiation(range)) = Request::parse(vector!("pccrr-nego-req-1.0-1.65535.bin")) else {
        panic!()
    };
    assert_eq!(range, VersionRange { min: VERSION_1_0, max: Version { major: 1, minor: 65_535 } });
    assert!(range.speaks(MessageType::BlockList.version()));
    assert!(!range.speaks(MessageType::SegmentList.version()));
}

#[test]
fn block_lists() {
    let Ok(Request::GetBlockList(request)) = Request::parse(vector!("pccrr-getblklist-3ranges.bin")) else {
        panic!()
    };
    assert_eq!(request.segment, id());
    let ranges: heapless::Vec<_, 4> = request.ranges.iter().map(|range| (range.index, range.count)).collect();
    assert_eq!(ranges[..], [(0, 1), (42, 7), (511, 1)]);
    // Fact 39: no range at all is well-formed, a count that lies is not.
    let none = Request::parse(vector!("pccrr-getblklist-0ranges.bin"));
    assert!(matches!(none, Ok(Request::GetBlockList(request)) if request.ranges.is_empty()));
    assert_eq!(Request::parse(vector!("pccrr-getblklist-neg-count10.bin")), Err(Malformed::Truncated));

    let Ok(Reply::BlockList(list)) = Reply::parse(vector!("pccrr-blklist-id33.bin")) else { panic!() };
    assert_eq!((list.segment.len(), list.next), (33, 7));
    assert_eq!(list.ranges.iter().next(), Some(Range { index: 0, count: 2 }));
    assert_eq!(list.ranges.len(), 1);
}

#[test]
fn segment_lists() {
    let bytes = vector!("pccrr-getseglist-mixed-33-48.bin");
    let Ok(Request::GetSegmentList(request)) = Request::parse(bytes) else { panic!() };
    let lens: heapless::Vec<_, 4> = request.ids.iter().map(|id| (id.len(), id[0])).collect();
    assert_eq!((request.ids.len(), &lens[..]), (2, &[(33, 0x80), (48, 0x40)][..]));
    assert_eq!(Request::parse(vector!("pccrr-getseglist-0.bin")), Err(Malformed::NoSegment));
    assert_eq!(Request::parse(vector!("pccrr-getseglist-neg-count2.bin")), Err(Malformed::SegmentId));

    // Fact 32: with version 2.0, and only with that.
    assert_eq!(bytes[..4], [0, 0, 0, 2]);
    let mut reply = *vector!("pccrr-seglist-fixed.bin");
    assert!(matches!(Reply::parse(&reply), Ok(Reply::SegmentList(_))));
    reply[7] = 1;
    assert_eq!(Reply::parse(&reply), Err(Malformed::Version));
}

/// 3.1.5.4: MUST be the answer to this request, and about nothing else.
#[test]
fn a_segment_list_answers_its_request() {
    let Ok(Reply::SegmentList(list)) = Reply::parse(vector!("pccrr-seglist-fixed-extblob.bin")) else {
        panic!()
    };
    let id = *list.request_id;
    assert!(list.answers(&id, 6) && list.answers(&id, u32::MAX));
    assert!(!list.answers(&id, 5), "a range beyond the request");
    assert!(!list.answers(&[0; 16], 6), "another RequestID");
    for range in [Range { index: 0, count: 0 }, Range { index: u32::MAX, count: 1 }] {
        let ranges = [range.to_wire()];
        let mut wrong = list;
        wrong.ranges = Ranges::new(&ranges);
        assert!(!wrong.answers(&id, u32::MAX), "{range:?}");
    }

    let ages: heapless::Vec<_, 4> = list.ages().map(|(number, age)| (number, age.millis())).collect();
    assert_eq!(ages[..], [(0, 10), (1, 2_629_140)]);
    // Fact 42: they count from the first range, and a bad blob costs only itself.
    let ranges = [Range { index: 3, count: 2 }.to_wire()];
    let mut moved = list;
    moved.ranges = Ranges::new(&ranges);
    assert!(moved.ages().map(|(number, _)| number).eq([3, 4]));
    moved.blob = &list.blob[1..];
    assert_eq!(moved.ages().count(), 0);
}

/// 3.1.4.3: one block per request.
#[test]
fn our_request_is_theirs() {
    let mut buf = [0; GET_BLOCKS_BYTES];
    let mut writer = Writer::new(&mut buf);
    GetBlocks::emit_one(&id(), 0, &mut writer).unwrap();
    assert_eq!(writer.finish(), vector!("pccrr-getblks-0.bin"));
}

/// 3.2.5.3: of several blocks, SHOULD select the one with the smallest index.
#[test]
fn several_ranges_mean_the_first_block() {
    let mut bytes = [0u8; 92];
    bytes[..68].copy_from_slice(vector!("pccrr-getblks-0.bin"));
    bytes[11] = 92;
    bytes[55] = 4;
    for (at, (index, count)) in (56..).step_by(8).zip([(9u8, 1u8), (3, 0), (7, 2), (8, 1)]) {
        bytes[at..at + 8].copy_from_slice(&[0, 0, 0, index, 0, 0, 0, count]);
    }
    assert_eq!(get_blocks(&bytes).block(), Some(7));
}

fn emit(reply: &BlockReply<'_>, block: &[u8]) -> ([u8; 256], usize) {
    let mut buf = [0; 256];
    let mut writer = Writer::new(&mut buf);
    reply.emit_head(&mut writer).unwrap();
    writer.put(block);
    reply.emit_tail(&mut writer).unwrap();
    let len = writer.len();
    assert_eq!(len, reply.len());
    (buf, len)
}

#[test]
fn our_replies_are_theirs() {
    let iv = core::array::from_fn(|i| i as u8);
    let segment = &id()[..];
    for (algorithm, vector) in [
        (CipherAlgorithm::Aes128, &vector!("pccrr-blk-aes128-15.bin")[..]),
        (CipherAlgorithm::None, vector!("pccrr-blk-plain-15.bin")),
    ] {
        let len = algorithm.sealed_len(15);
        let seal = Seal { algorithm, iv };
        let reply = BlockReply::new(segment, 5, 6, Some((len, &seal)));
        let (buf, total) = emit(&reply, &vector[68..68 + len as usize]);
        assert_eq!(&buf[..total], vector);
    }
    let (buf, len) = emit(&BlockReply::new(segment, 0, 0, None), &[]);
    let mut empty = *vector!("pccrr-blk-empty-noiv.bin");
    // The vector says AES-128 for its empty block; fact 36 says algorithm 0.
    empty[19] = 0;
    assert_eq!(buf[..len], empty);

    let mut writer_buf = [0; 28];
    let mut writer = Writer::new(&mut writer_buf);
    OUR_VERSIONS.emit_reply(&mut writer).unwrap();
    assert_eq!(writer.finish(), vector!("pccrr-nego-resp-1.0-2.0.bin"));
}

/// 3.2.5.2 to 3.2.5.4, by the rules of 3.1.5.1.
#[test]
fn other_versions_are_answered_with_ours() {
    let mut bytes = *vector!("pccrr-getblks-0.bin");
    bytes[3] = 3;
    let other = Request::OtherVersion(Version { major: 3, minor: 0 });
    assert_eq!(Request::parse(&bytes), Ok(other));
    bytes[3] = 2;
    bytes[1] = 9;
    assert!(matches!(Request::parse(&bytes), Ok(Request::GetBlocks(_))), "minor versions do not matter");
    bytes[7] = 99;
    assert_eq!(Request::parse(&bytes), Ok(Request::Other(MessageType::Unknown(99))));
}

#[test]
fn every_cut_is_malformed() {
    for bytes in [
        &vector!("pccrr-getblks-511.bin")[..],
        vector!("pccrr-getblklist-3ranges.bin"),
        vector!("pccrr-getseglist-extblob.bin"),
        vector!("pccrr-nego-req-1.0-2.0.bin"),
    ] {
        for len in 0..bytes.len() {
            let mut cut = heapless::Vec::<u8, 256>::from_slice(&bytes[..len]).unwrap();
            assert!(Request::parse(&cut).is_err());
            if len >= HEADER_BYTES {
                cut[11] = len as u8;
                assert!(Request::parse(&cut).is_err(), "{len}");
            }
        }
    }
    for bytes in [
        &vector!("pccrr-blk-aes128-17.bin")[..],
        vector!("pccrr-blklist-2.bin"),
        vector!("pccrr-seglist-fixed-extblob.bin"),
        vector!("pccrr-nego-resp-1.0-2.0.bin"),
    ] {
        for len in 0..bytes.len() {
            let mut cut = heapless::Vec::<u8, 256>::from_slice(&bytes[..len]).unwrap();
            assert!(Reply::parse(&cut).is_err());
            if len >= TRANSPORT_BYTES + HEADER_BYTES {
                (cut[3], cut[15]) = (len as u8 - 4, len as u8 - 4);
                assert!(Reply::parse(&cut).is_err(), "{len}");
            }
        }
    }
}

#[test]
fn the_path_in_the_forms_seen() {
    assert!(is_retrieval_path(PATH.as_bytes()));
    for good in [
        "/116b50eb-ece2-41AC-8429-9f9e963361b7",
        "/116B50EB-ECE2-41ac-8429-9F9E963361B7//116B50EB-ECE2-41ac-8429-9F9E963361B7/",
        "http://10.0.0.1:80/116B50EB-ECE2-41ac-8429-9F9E963361B7/",
        "HTTP://[fe80::1]/116B50EB-ECE2-41ac-8429-9F9E963361B7",
    ] {
        assert!(is_retrieval_path(good.as_bytes()), "{good}");
    }
    for bad in ["http://x", "http:///", "https://x/116B50EB-ECE2-41ac-8429-9F9E963361B7/"] {
        assert!(!is_retrieval_path(bad.as_bytes()), "{bad}");
    }
    for bad in ["/", "", "116B50EB-ECE2-41ac-8429-9F9E963361B7", "/116B50EB-ECE2-41ac-8429-9F9E963361B7/x"] {
        assert!(!is_retrieval_path(bad.as_bytes()), "{bad}");
    }
}
