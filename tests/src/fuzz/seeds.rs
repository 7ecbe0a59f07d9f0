//! What the targets begin with: vectors of their kind, and a few of what no vector shows.

use std::path::Path;

use peerdist_core::bytes::Writer;
use peerdist_core::content::hash_file::wire::{
    HASH_HEADER_BYTES, HashHeaderRepr, ReadHashRequest, SRV_HASH_TYPE_PEER_DIST,
};
use peerdist_core::content::secret_key::{export, export_len};
use peerdist_core::content::v1::wire::{HEADER_BYTES, HeaderRepr, SegmentRepr};
use peerdist_core::content::v2::wire as v2;
use peerdist_core::crypto::{Digest, HashAlgorithm, Secret, SoftCrypto};
use peerdist_core::limits::{SEGMENT_BLOCKS, SEGMENT_BYTES};

use crate::captures::captures;

/// The vectors whose path in `tests/vectors` begins with one of `prefixes`; each has some.
pub(super) fn vectors(prefixes: &[&str]) -> Vec<Vec<u8>> {
    let all = all_vectors();
    let mut chosen = Vec::new();
    for prefix in prefixes {
        let before = chosen.len();
        chosen
            .extend(all.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, bytes)| bytes.clone()));
        assert!(chosen.len() > before, "no vector begins with {prefix}");
    }
    chosen
}

/// Every vector that is a message or a structure itself, by its path in `tests/vectors`.
pub fn all_vectors() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let (mut folders, mut vectors) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "bin" || it == "xml") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                vectors.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    vectors.sort();
    vectors
}

pub(super) fn content_v1() -> Vec<Vec<u8>> {
    let mut seeds = vectors(&["content-v1/", "windows/iis_85_png_v1", "pchc-segment-info-"]);
    seeds.push(three_segments());
    seeds
}

pub(super) fn content_v2() -> Vec<Vec<u8>> {
    let chunks: [&[u32]; 4] = [&[61_440, 87_040, 45_056], &[1], &[131_072; 40], &[5, 6]];
    let header = v2::HeaderRepr { content_start: 0, index_of_first: 0, offset_in_first: 0, range_len: 0 };
    let part = v2::HeaderRepr {
        content_start: (1 << 40) + 1,
        index_of_first: 1 << 30,
        offset_in_first: 60_000,
        range_len: 190_000,
    };
    let mut seeds = vectors(&["content-v2/", "windows/iis_85_png_v2"]);
    seeds.extend([
        info_v2(header, &chunks),
        info_v2(part, &chunks),
        info_v2(v2::HeaderRepr { range_len: 7, ..header }, &[&[7]]),
    ]);
    seeds
}

/// Content information 2.0 with segments of these lengths, chunk by chunk.
fn info_v2(header: v2::HeaderRepr, chunks: &[&[u32]]) -> Vec<u8> {
    let mut bytes = vec![0; v2::HEADER_BYTES];
    header.emit(&mut bytes).unwrap();
    for (number, lens) in (0u8..).zip(chunks) {
        let mut head = [0; v2::CHUNK_HEAD_BYTES];
        v2::ChunkRepr { segments: lens.len() as u32 }.emit(&mut head).unwrap();
        bytes.extend(head);
        for &len in *lens {
            let repr = v2::SegmentRepr {
                len,
                hod: Digest::from_slice(&[number; 32]).unwrap(),
                secret: Secret::from_slice(&[number; 32]).unwrap(),
            };
            let mut description = [0; v2::DESCRIPTION_BYTES];
            repr.emit(&mut description).unwrap();
            bytes.extend(description);
        }
    }
    bytes
}

/// Requests by hash and by file, each with a file behind it that has what it asks for.
pub(super) fn hash_file() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (version, retrieval, info) in [(1, 1, three_segments()), (2, 2, content_v2().swap_remove(0))] {
        for offset in [0, 100] {
            let mut seed = vec![];
            let mut request = [0; 24];
            let asked = ReadHashRequest {
                hash_type: SRV_HASH_TYPE_PEER_DIST,
                hash_version: version,
                hash_retrieval_type: retrieval,
                length: 4_000,
                offset,
            };
            asked.emit(&mut Writer::new(&mut request)).unwrap();
            seed.extend(request);
            let file = smb_file(version, &info);
            seed.extend(&file);
            seeds.extend([seed, file]);
        }
    }
    seeds
}

fn smb_file(version: u32, info: &[u8]) -> Vec<u8> {
    let name = b"\\\0a\0";
    let header = HashHeaderRepr {
        hash_type: SRV_HASH_TYPE_PEER_DIST,
        hash_version: version,
        source_file_change_time: 116_444_736_000_000_000,
        source_file_size: 1 << 33,
        hash_blob_length: info.len() as u32,
        hash_blob_offset: HASH_HEADER_BYTES as u32 + name.len() as u32,
        dirty: false,
        source_file_name: name,
    };
    let mut file = vec![0; header.buffer_len()];
    header.emit(&mut file).unwrap();
    file.extend(info);
    file
}

pub(super) fn secret_key() -> Vec<Vec<u8>> {
    let sealed = |key: &[u8]| {
        let mut file = vec![0; export_len(key.len()).unwrap()];
        export(&mut SoftCrypto, "passphrase", key, &mut file).unwrap();
        file
    };
    vec![sealed(b""), sealed(b"no more secrets"), sealed(&[7; 64])]
}

pub(super) fn segmenter() -> Vec<Vec<u8>> {
    vec![vec![], vec![0; 40], (0..=255).collect()]
}

/// From the last block of one segment to the first block of the next but one, which no vector is
/// long enough for. The first list leaves out what it may.
fn three_segments() -> Vec<u8> {
    let algorithm = HashAlgorithm::Sha256;
    let mut bytes = vec![0; HEADER_BYTES];
    let header = HeaderRepr { algorithm, offset_in_first: SEGMENT_BYTES - 1, read_in_last: 1, segments: 3 };
    header.emit(&mut bytes).unwrap();
    for index in 0..3u8 {
        let repr = SegmentRepr {
            offset: u64::from(index) * u64::from(SEGMENT_BYTES),
            len: if index < 2 { SEGMENT_BYTES } else { 100_000 },
            hod: Digest::from_slice(&[index; 32]).unwrap(),
            secret: Secret::from_slice(&[index; 32]).unwrap(),
        };
        let mut description = vec![0; repr.buffer_len()];
        repr.emit(&mut description).unwrap();
        bytes.extend(description);
    }
    for count in [1, SEGMENT_BLOCKS, 1] {
        bytes.extend(count.to_le_bytes());
        bytes.extend((0..count).flat_map(|block| [block as u8; 32]));
    }
    bytes
}

pub(super) fn discovery() -> Vec<Vec<u8>> {
    let mut seeds = vectors(&["v1-", "v2-", "pccrd-", "own-"]);
    seeds.push(b"urn:uuid:B1B6A2D0-0000-4000-8000-0123456789ab".to_vec());
    // Version 2 as the document has it: MS-PCCRD 2.2.2.1, and all bits set for 40 segments (4.4).
    let changed = |name: &str, old: &str, new: &str| {
        let text = String::from_utf8(vectors(&[name]).remove(0)).unwrap();
        assert!(text.contains(old), "{name}");
        text.replace(old, new).into_bytes()
    };
    let scope =
        "ACACEqlC5OUYacrEIgvlKd/U48IbtzZ1Qp8tojsDeG1mmaoWmcH1TluOWxEbLDW1ZFfJ0qer4ETISbbJDKIEbBAydw==";
    let one = " ACABKQEaAQAAAAAwHRoBAAAA\nAEEAQQBEAHkAZwBNAE0AMQA= ";
    seeds.push(changed("own-probe-v2", scope, one));
    seeds.push(changed("own-probematches-v2", "4A==", "/////////////w=="));
    seeds
}

pub(super) fn xml() -> Vec<Vec<u8>> {
    const DOCUMENTS: [&str; 5] = [
        "<?xml version='1.0' encoding='utf-8' standalone='no'?><!-- c --><a b='1' c=\"2\">t</a><?p i?>",
        "<a xmlns='u' xmlns:p='v'><p:b p:c='1' c='2'/><d xmlns=''><e/></d><f xmlns:p='w'><p:g/></f></a>",
        "<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;<![CDATA[<x>&y;]]]]><!-- - -->\r\n z\r</a >",
        "<a b='&lt;&#10;\t\r\n' c='>/>' xml:lang='x'> <b/> <c></c> </a>\n",
        "<\u{e9}t\u{e9} na\u{ef}f='\u{4e2d}'>\u{6587}</\u{e9}t\u{e9}>",
    ];
    let mut seeds = discovery();
    seeds.extend(DOCUMENTS.map(Into::into));
    seeds
}

/// Requests on a connection, and replies: each is read in both roles.
pub(super) fn http_conn() -> Vec<Vec<u8>> {
    const MESSAGES: [&str; 7] = [
        "GET / HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /b HTTP/1.1\nHost: a\nConnection: close\n\n",
        "POST /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: peerdist\r\n\r\nhelloHTTP/1.1 304 \r\n\r\n",
        "HTTP/1.1 206\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nnothing",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\nA:\r\n\r\n",
    ];
    let captured =
        captures().into_iter().map(|(_, head, body)| [head.as_bytes(), b"\r\n\r\n", &body].concat());
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "c=1; ".repeat(200)).into_bytes();
    captured.chain(MESSAGES.map(Into::into)).chain([long]).collect()
}

pub(super) fn http_lines() -> Vec<Vec<u8>> {
    const LINES: [&str; 11] = [
        "HTTP/1.1 200 OK",
        "HTTP/1.0 404",
        "1aF;name=value",
        "ffffffffffffffff",
        "bytes=0-499",
        "bytes=500-",
        "bytes=-18446744073709551615",
        "bytes 0-499/1234",
        "bytes */1234",
        "gzip;q=0.5, , peerdist ;a=b;c",
        "18446744073709551615",
    ];
    let captured = captures();
    let lines = captured.iter().flat_map(|(_, head, _)| head.lines().map(|line| line.as_bytes().to_vec()));
    lines.chain(LINES.map(Into::into)).collect()
}

pub(super) fn encoding() -> Vec<Vec<u8>> {
    const HEADS: [&str; 6] = [
        "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1, ContentLength=99710",
        "X-P2P-PeerDist: Version=1.1\r\nX-P2P-PeerDistEx: MakeHashRequest=true\nContent-Encoding: identity",
        "X-P2P-PeerDist:Version=1.1\nX-P2P-PeerDistEx:MinContentInformation=1.0,MaxContentInformation=2.0,HashRequest=true",
        "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0\nX-P2P-PeerDist: Version=1.1",
        "Content-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0, ContentLength=1, ContentLength=2",
        "Accept-Encoding: gzip, peerdist;q=0.7\nX-P2P-PeerDist: Version=1.23,MissingDataRequest=FALSE",
    ];
    captures().into_iter().map(|(_, head, _)| head.into_bytes()).chain(HEADS.map(Into::into)).collect()
}
