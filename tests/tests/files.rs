//! Nodes that keep content information, or blocks, in files.

use std::fs;
use std::path::{Path, PathBuf};

use peerdist_core::api::client::ReadResult;
use peerdist_core::fetch::Source;
use peerdist_core::node::Config;
use peerdist_core::store::split::Split;
use peerdist_core::time::Duration;
use peerdist_hal::file::{FileBlocks, FileInfos, Options, committed};
use peerdist_tests::check::{LONG, assert_whole, blocks, content, verify_store};
use peerdist_tests::pair::{Net, Storage, host_address, memory};
use tempfile::{TempDir, tempdir};

const LEN: usize = 400_000;
const BLOCKS: usize = 8;

/// A node that has nothing yet, and one whose content information is kept in `directory`.
fn net(directory: &Path) -> Net {
    let mut net = Net::new(41, 1, BLOCKS, content(LEN));
    let infos = FileInfos::open(directory).unwrap();
    let storage = Storage::new(Split { blocks: memory(BLOCKS, 0), infos });
    assert_eq!(net.add_host_with(42, storage, Config::default()), 1);
    net
}

/// The files in `directory` beside the lock.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_none_or(|extension| extension != "lock")).collect()
}

#[test]
fn a_download_leaves_no_secrets() {
    let directory = tempdir().unwrap();
    let mut net = net(directory.path());
    let first = net.download(0);
    net.drive_download(0, first, LONG);

    let second = net.download(1);
    let info = net.origin.info.clone();
    let is_kept = || files_in(directory.path()).first().is_some_and(|path| fs::read(path).unwrap() == info);
    net.drive_until(LONG, |_| is_kept());
    net.drive_download(1, second, LONG);
    let seen = net.seen(1, second);
    assert_whole(seen, &net.origin.content, true);
    let sources: Vec<_> = blocks(seen).into_iter().map(|(source, _)| source).collect();
    assert_eq!(sources, [Source::Peer(host_address(0)); LEN.div_ceil(65_536)]);
    assert_eq!(verify_store(&mut net, 1, &info), LEN.div_ceil(65_536) as u32);
    assert_eq!(files_in(directory.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_read_by_way_of_a_file() {
    let directory = tempdir().unwrap();
    let mut net = net(directory.path());
    let first = net.download(0);
    net.drive_download(0, first, LONG);

    let info = net.origin.info.clone();
    let handle = net.node(1).open_content([7; 16]).unwrap();
    for piece in info.chunks(61) {
        net.node(1).add_content_information(handle, piece).unwrap();
    }
    net.node(1).complete_content_information(handle).unwrap();
    net.drive_until(LONG, |net| net.hosts[1].is_ready(handle));
    let files = files_in(directory.path());
    assert_eq!((files.len(), fs::read(&files[0]).unwrap() == info), (1, true));

    let now = net.now;
    let read = net.node(1).block_read(now, handle, 70_000, 100, Duration::from_secs(5)).unwrap();
    let completion = loop {
        net.settle();
        if let Some(completion) = net.node(1).poll_completion() {
            break completion;
        }
        assert!(net.step(), "no completion");
    };
    let ReadResult::Data { range, source } = completion.result else { panic!("{completion:?}") };
    assert_eq!((range, source), (70_000..70_100, Source::Peer(host_address(0))));
    let mut buf = [0; 100];
    assert_eq!(net.node(1).copy_read(read, 0, &mut buf), Ok(100));
    assert_eq!(buf, net.origin.content[70_000..70_100]);

    // Whoever stops in the middle leaves nothing either.
    drop(net);
    assert_eq!(files_in(directory.path()), Vec::<PathBuf>::new());
}

/// What a node keeps in files of `directory`.
fn blocks_in(directory: &Path) -> Storage {
    let blocks = FileBlocks::open(directory, Options::new(1 << 20), 0).unwrap();
    Storage::new(Split { blocks, infos: memory(0, 64 * 1_024) })
}

/// A directory with what a node has downloaded from the origin.
fn downloaded() -> TempDir {
    let directory = tempdir().unwrap();
    let mut net = Net::new(43, 0, 0, content(LEN));
    net.add_host_with(44, blocks_in(directory.path()), Config::default());
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &net.origin.content, true);
    directory
}

#[test]
fn blocks_are_served_after_a_restart() {
    let directory = downloaded();
    assert_eq!(committed(directory.path()).unwrap().len(), LEN.div_ceil(65_536));
    let mut net = Net::new(45, 0, 0, content(LEN));
    net.add_host_with(46, blocks_in(directory.path()), Config::default());
    net.add_host(47, BLOCKS, Config::default());
    let id = net.download(1);
    net.drive_download(1, id, LONG);
    let seen = net.seen(1, id);
    assert_whole(seen, &net.origin.content, true);
    let sources: Vec<_> = blocks(seen).into_iter().map(|(source, _)| source).collect();
    assert_eq!(sources, [Source::Peer(host_address(0)); LEN.div_ceil(65_536)]);
    // They are sent as they lie there.
    let crypto = net.node(0).crypto();
    assert_eq!((crypto.hashes, crypto.hmacs, crypto.ciphers), (0, 0, 0));

    // The reader of its own cache needs nobody else.
    let info = net.origin.info.clone();
    assert_eq!(verify_store(&mut net, 0, &info), LEN.div_ceil(65_536) as u32);
}

#[test]
fn a_block_that_rots_in_its_file_is_not_passed_on() {
    let directory = downloaded();
    let path = files_in(directory.path()).into_iter().max().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // In the bytes of the last.
    let at = bytes.len() - 5_000;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut net = Net::new(45, 0, 0, content(LEN));
    net.add_host_with(46, blocks_in(directory.path()), Config::default());
    net.add_host(47, BLOCKS, Config::default());
    let id = net.download(1);
    net.drive_download(1, id, LONG);
    assert_whole(net.seen(1, id), &net.origin.content, true);
    let sources: Vec<_> = blocks(net.seen(1, id)).into_iter().map(|(source, _)| source).collect();
    assert_eq!(sources.first(), Some(&Source::Peer(host_address(0))));
    assert_eq!(sources.last(), Some(&Source::Origin));
    assert_eq!(committed(directory.path()).unwrap().len(), LEN.div_ceil(65_536) - 1);
    assert_eq!(net.node(0).counters().serve.damaged, 1);
}
