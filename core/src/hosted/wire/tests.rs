use super::*;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/vectors/pchc-", $name, ".bin"))
    };
}

fn opening(message: &[u8]) -> Opening {
    Opening::parse(message.first_chunk().unwrap())
}

fn behind(message: &[u8]) -> &[u8] {
    message.get(OPENING_BYTES..).unwrap()
}

#[test]
fn offers_of_other_implementations() {
    for (message, port, bytes) in
        [(&vector!("initial-offer")[..], 8282, 32), (&vector!("initial-offer-48")[..], 80, 48)]
    {
        let expected = Opening::new(Version::V1, MessageType::InitialOffer, port);
        assert_eq!(opening(message), expected);
        assert!(expected.is_of(Version::V1) && !expected.is_of(Version::V2));
        let mut room = [0; MAX_INITIAL_BYTES];
        let mut writer = Writer::new(&mut room);
        expected.emit(&mut writer).unwrap();
        writer.put(behind(message));
        assert_eq!((behind(message).len(), &*writer.finish()), (bytes, message));
    }
}

/// Fact 43: content information 1.0 stands behind the tag, unchanged, with a length of its range or without.
#[test]
fn segment_information_of_other_implementations() {
    let smb =
        [0x35, 0xdb, 0x04, 0x5d, 0x14, 0x23, 0x45, 0x53, 0xa0, 0x51, 0x0d, 0xc2, 0xe1, 0x5e, 0x6c, 0x4c];
    for (message, tag, read) in [
        (&vector!("segment-info-128000-fixed")[..], [0; TAG_BYTES], 128_000),
        (&vector!("segment-info-128000")[..], [0; TAG_BYTES], 0),
        (&vector!("segment-info-smbtag")[..], smb, 0),
    ] {
        assert_eq!(opening(message), Opening::new(Version::V1, MessageType::SegmentInfo, 8282));
        let (found, info) = behind(message).split_first_chunk::<TAG_BYTES>().unwrap();
        assert_eq!((*found, &info[..6]), (tag, &[0, 1, 0x0c, 0x80, 0, 0][..]));
        assert_eq!(info[10..14], u32::to_le_bytes(read));
    }
}

#[test]
fn batched_offers_of_other_implementations() {
    for (message, count) in
        [(&vector!("batched-offer-3")[..], 3), (&vector!("batched-offer-128")[..], MAX_DESCRIPTORS)]
    {
        let mut room = [0; MAX_BATCHED_BYTES];
        let mut writer = Writer::new(&mut room);
        assert_eq!(opening(message), Opening::new(Version::V2, MessageType::BatchedOffer, 8282));
        opening(message).emit(&mut writer).unwrap();
        let (descriptors, rest) = behind(message).as_chunks();
        assert_eq!((descriptors.len(), rest.len()), (count, 0));
        for bytes in descriptors {
            let descriptor = Descriptor::parse(bytes).unwrap();
            assert_eq!(descriptor.algorithm, HashAlgorithm::TruncatedSha512);
            assert_eq!((descriptor.block_bytes, descriptor.blocks()), (descriptor.segment_bytes, Some(1)));
            descriptor.emit(&mut writer).unwrap();
        }
        assert_eq!(writer.finish(), message);
    }
    let first = Descriptor::parse(behind(vector!("batched-offer-3")).first_chunk().unwrap()).unwrap();
    assert_eq!((first.segment_bytes, &first.segment[..4]), (61_440, &[0x02, 0x8d, 0x89, 0x86][..]));
}

/// Fact 44.
#[test]
fn bad_descriptors() {
    let strange = behind(vector!("batched-offer-neg-hashalgo")).first_chunk().unwrap();
    assert_eq!(Descriptor::parse(strange), Err(Malformed::Algorithm(0xfe)));
    // It is shorter than a descriptor; what stands where a tag's size should, says so, too.
    let short = behind(vector!("batched-offer-neg-notag"));
    assert!(short.len() < DESCRIPTOR_BYTES);
    let mut untagged = [0; DESCRIPTOR_BYTES];
    untagged[..short.len()].copy_from_slice(short);
    assert_eq!(Descriptor::parse(&untagged), Err(Malformed::Tag(0)));
    assert_eq!(behind(vector!("batched-offer-neg-129")).len(), 129 * DESCRIPTOR_BYTES);
    assert!(behind(vector!("batched-offer-neg-empty")).is_empty());
}

#[test]
fn openings_of_no_message() {
    let version = opening(vector!("initial-offer-neg-version"));
    assert_eq!((version.version, version.message), ([0xfe, 0xfe], MessageType::InitialOffer));
    let kind = opening(vector!("initial-offer-neg-type"));
    assert_eq!(kind.message, MessageType::Unknown(0xfefe));
    for url in [Version::V1, Version::V2] {
        assert!(!version.is_of(url) && !kind.is_of(url));
    }
    // Neither URL takes the other's version, in header or type.
    let mut mixed = Opening::new(Version::V2, MessageType::InitialOffer, 80);
    assert!(!mixed.is_of(Version::V1) && !mixed.is_of(Version::V2));
    mixed.version = Version::V1.to_wire();
    assert!(mixed.is_of(Version::V1) && !mixed.is_of(Version::V2));
}

#[test]
fn blocks_of_a_descriptor() {
    let tag = *b"WinINet\0\0\0\0\0\0\0\0\0";
    let of = |block_bytes, segment_bytes| Descriptor {
        block_bytes,
        segment_bytes,
        tag,
        algorithm: HashAlgorithm::Sha256,
        segment: [7; ID_BYTES],
    };
    // Fact 44: a segment may have more bytes than a block.
    assert_eq!(of(65_536, 65_537).blocks(), Some(2));
    assert_eq!(of(65_536, 1 << 25).blocks(), Some(512));
    assert_eq!(of(1, u32::MAX).blocks(), Some(u32::MAX));
    for nothing in [of(0, 1), of(1, 0), of(0, 0)] {
        assert_eq!(nothing.blocks(), None);
    }
    let mut room = [0; DESCRIPTOR_BYTES];
    let mut writer = Writer::new(&mut room);
    of(65_536, 65_537).emit(&mut writer).unwrap();
    assert_eq!(writer.finish()[..27], *b"\0\x01\0\0\0\x01\0\x01\0\x10WinINet\0\0\0\0\0\0\0\0\0\x01");
    assert_eq!(Descriptor::parse(&room), Ok(of(65_536, 65_537)));
    let unnumbered = Descriptor { algorithm: HashAlgorithm::Sha384, ..of(1, 1) };
    assert_eq!(unnumbered.emit(&mut Writer::new(&mut [0; DESCRIPTOR_BYTES])), Err(NoRoom));
}

#[test]
fn responses() {
    for (bytes, code) in [
        (vector!("response-ok"), ResponseCode::Ok),
        (vector!("response-interested"), ResponseCode::Interested),
    ] {
        assert_eq!((ResponseCode::parse(bytes), code.to_wire()), (Ok(code), *bytes));
    }
    assert_eq!(ResponseCode::parse(&[0, 0, 0, 1, 2]), Err(BadResponse::Code(2)));
    assert_eq!(ResponseCode::parse(&[0, 0, 0, 5, 0]), Err(BadResponse::Size(5)));
    assert_eq!(ResponseCode::parse(&[1, 0, 0, 0, 0]), Err(BadResponse::Size(1 << 24)));
}

/// Fact 45.
#[test]
fn paths() {
    for version in [Version::V1, Version::V2] {
        let path = version.path().as_bytes();
        assert_eq!(Version::of_path(path), Some(version));
        assert_eq!(Version::of_path(path.split_last().unwrap().1), None);
        assert_eq!(Version::of_path(&path[1..]), None);
    }
    assert_eq!(Version::of_path(b"/0131501B-D67F-491B-9A40-C4BF27BCB4D4/"), Some(Version::V2));
    assert_eq!(Version::of_path(b"/0131501b-d67f-491b-9a40-c4bf27bcb4d4//"), None);
    assert_eq!(Version::of_path(b"/116B50EB-ECE2-41ac-8429-9F9E963361B7/"), None);
}
