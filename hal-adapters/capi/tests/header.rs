//! `include/peerdist.h` is made of the sources. With UPDATE set in the environment, it is written anew.

use std::path::Path;

use cbindgen::{Builder, Config, DocumentationStyle, Language};

/// In the order in which they come in the header.
const SOURCES: [&str; 7] = [
    "types.rs",
    "exports/common.rs",
    "exports/server.rs",
    "exports/client.rs",
    "exports/signals.rs",
    "machine/hosted.rs",
    "machine/bare.rs",
];

const TOP: &str = "\
/* The Peer Distribution API (BranchCache) off Windows: libpeerdist.
 *
 * The 28 functions PeerDist... have the names, signatures and codes of PEERDIST.H; what is peerdist_... stands
 * in for Windows: events, completion ports, the last error, and how the library is set up.
 *
 * A call that takes an OVERLAPPED is accepted if it returns ERROR_IO_PENDING. Then exactly one completion
 * follows, and until it has come the OVERLAPPED, the buffer and what the call fills are the library's. Whatever
 * else it returns, nothing follows, and nothing was changed; PeerDistServerPublishAddToStream has an exception.
 *
 * Tables are bounded, and a call for which one is full returns ERROR_NOT_ENOUGH_MEMORY. On a host there may be
 * 64 instances, 96 publications, 64 streams, 128 handles of content information, 16 contents and 1,024
 * operations, of which 24 reads are looked for at once, and the others wait for those. On bare metal: 2, 2, 2, 2, 2
 * and 16, with 4 reads; with large tables 16 contents and 24 reads.
 *
 * On bare metal nothing waits, whatever it is told: who asks for an operation that has not ended has
 * ERROR_IO_INCOMPLETE (996) also with bWait, which means that it is still under way, and that peerdist_poll has to
 * be called.
 *
 * Made by cbindgen; see tests/header.rs. */";

const END: &str = "\
typedef OVERLAPPED *LPOVERLAPPED;
typedef PEERDIST_INSTANCE_HANDLE *PPEERDIST_INSTANCE_HANDLE;
typedef PEERDIST_STREAM_HANDLE *PPEERDIST_STREAM_HANDLE;
typedef PEERDIST_CONTENTINFO_HANDLE *PPEERDIST_CONTENTINFO_HANDLE;
typedef PEERDIST_CONTENT_HANDLE *PPEERDIST_CONTENT_HANDLE;
typedef PEERDIST_STATUS *PPEERDIST_STATUS;
typedef PEERDIST_STATUS_INFO *PPEERDIST_STATUS_INFO;
typedef const PEERDIST_CONTENT_TAG *PCPEERDIST_CONTENT_TAG;
typedef const PEERDIST_PUBLICATION_OPTIONS *PCPEERDIST_PUBLICATION_OPTIONS;
typedef const PEERDIST_RETRIEVAL_OPTIONS *PCPEERDIST_RETRIEVAL_OPTIONS;";

#[test]
fn the_header_is_fresh() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = Config {
        language: Language::C,
        // The guard is ours, since that of cbindgen ends in front of the trailer.
        header: Some(format!("{TOP}\n\n#ifndef PEERDIST_H\n#define PEERDIST_H")),
        trailer: Some(format!("{END}\n\n#endif  /* PEERDIST_H */")),
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        cpp_compat: true,
        documentation_style: DocumentationStyle::C99,
        line_length: 110,
        ..Config::default()
    };
    // A function fills it that takes any pointer.
    config.export.include = vec!["PEERDIST_CLIENT_BASIC_INFO".into()];
    let mut builder = Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(package.join("src").join(source));
    }
    let mut made = Vec::new();
    builder.generate().expect("the sources can be read").write(&mut made);
    // What is promised of pointers has a heading in Rust, and needs none in C.
    let made = String::from_utf8(made).expect("sources are text").replace(" # Safety\n", "\n");
    let made: String = made.lines().map(|line| format!("{}\n", line.trim_end())).collect();

    let path = package.join("include/peerdist.h");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "include/peerdist.h is not what the sources say: run this test with UPDATE=1");
}
