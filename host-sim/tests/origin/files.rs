//! Which files are served, and in which state.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use peerdist_core::content::publish::v1;
use peerdist_core::content::server_secret;
use peerdist_core::content::v1::info_len;
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};

use super::server::{AGAIN, ASK, Server, ask, try_read, varied};

const LEN: usize = 200_000;

#[test]
fn nothing_outside_is_served() {
    let server = Server::new(&[("a b", b"inside")], &[]);
    fs::write(server.folder.path().join("outside"), "secret").expect("a writable folder");
    fs::create_dir(server.path("folder")).expect("a writable folder");
    fs::write(server.path("folder/deep"), "deep").expect("a writable folder");
    for (target, status) in [
        ("/a%20b", 200),
        ("/%61%20b?x=/../y", 200),
        ("/folder/deep", 200),
        ("/folder", 403),
        ("/", 404),
        ("/folder/", 404),
        ("//a%20b", 404),
        ("/absent", 404),
        ("/a%20b/x", 404),
        ("/../outside", 400),
        ("/folder/../../outside", 400),
        ("/%2e%2e/outside", 400),
        ("/..%2Foutside", 400),
        ("/%2e%2e%2foutside", 400),
        ("/..%5coutside", 404),
        ("/%252e%252e/outside", 404),
        ("/a%20b%00", 400),
        ("/%", 400),
        ("/\u{fffd}", 404),
        ("*", 400),
    ] {
        let reply = server.get(target, "");
        assert_eq!(reply.status, status, "{target}: {}", reply.head);
        assert!(!reply.body.windows(6).any(|six| six == b"secret"), "{target}");
    }
}

#[cfg(unix)]
#[test]
fn neither_links_nor_devices_lead_outside() {
    use std::os::unix::fs::symlink;

    let server = Server::new(&[("file", b"inside")], &["--hash", "eager"]);
    fs::write(server.folder.path().join("outside"), "secret").expect("a writable folder");
    for (end, name) in [
        ("../outside", "up"),
        ("/etc/passwd", "absolute"),
        ("..", "folder"),
        ("/dev/zero", "device"),
        ("file", "within"),
        ("round", "round"),
    ] {
        symlink(end, server.path(name)).expect("a writable folder");
    }
    let made = std::process::Command::new("mkfifo").arg(server.path("pipe")).status();
    assert!(made.expect("it is there").success());
    for (target, status) in [
        ("/up", 403),
        ("/absolute", 403),
        ("/folder/outside", 403),
        ("/device", 403),
        ("/round", 403),
        ("/pipe", 403),
        ("/within", 200),
    ] {
        assert_eq!(server.get(target, ASK).status, status, "{target}");
    }
}

/// The content information 1.0 of `content`.
fn info_of(content: &[u8]) -> Vec<u8> {
    const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;
    let secret: Vec<u8> = "no more secrets".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let len = content.len() as u64;
    let ks = server_secret(&mut SoftCrypto, ALGORITHM, &secret);
    let mut publisher = v1::Publisher::new(ALGORITHM, ks, len).expect("not empty");
    let mut info = vec![0; info_len(ALGORITHM, len).expect("not empty") as usize];
    let sink = &mut info.as_mut_slice();
    publisher.update(&mut SoftCrypto, content, sink).expect("there is room");
    publisher.finish(sink).expect("all was given");
    info
}

/// While a file is written again and again, in place, whatever content information comes is of one of its
/// states; when that is over, of the last.
#[test]
fn a_file_that_changes_is_never_described_wrongly() {
    const STATES: u8 = 200;
    let content = |state: u8| vec![state; LEN];
    let server = Server::new(&[("file", &content(0))], &["--hash", "eager"]);
    let infos: Vec<Vec<u8>> = (0..=STATES).map(|state| info_of(&content(state))).collect();
    let ask_v1 = "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n";
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().write(true).open(server.path("file")).expect("it is there");
            for state in 1..=STATES {
                std::io::Seek::rewind(&mut file).expect("a regular file");
                file.write_all(&content(state)).expect("a disk with room");
                thread::sleep(std::time::Duration::from_millis(5));
            }
            over.store(true, Ordering::SeqCst);
        });
        while !over.load(Ordering::SeqCst) {
            let mut stream = TcpStream::connect(server.address).expect("it listens");
            let request = format!("GET /file HTTP/1.0\r\n{ask_v1}\r\n");
            stream.write_all(request.as_bytes()).expect("it is open");
            // It breaks off where the file changes while it is sent.
            let Some(reply) = try_read(&mut stream) else { continue };
            if reply.header("Content-Encoding").is_some() {
                assert!(infos.contains(&reply.body), "{}", reply.head);
            }
        }
    });
    server.wait_for("/file");
    assert!(server.get("/file", ask_v1).body == infos[usize::from(STATES)]);
    assert!(server.get("/file", "").body == content(STATES));

    // Another file takes its place, of the same length and from the same second.
    let modified = fs::metadata(server.path("file")).and_then(|metadata| metadata.modified()).expect("kept");
    fs::write(server.path("new"), content(77)).expect("a writable folder");
    let new = File::options().write(true).open(server.path("new")).expect("it is there");
    new.set_modified(modified).expect("it is ours");
    fs::rename(server.path("new"), server.path("file")).expect("a writable folder");
    let reply = server.get("/file", ask_v1);
    assert!(reply.header("Content-Encoding").is_none() && reply.body == content(77), "{}", reply.head);
    server.wait_for("/file");
    assert!(server.get("/file", ask_v1).body == infos[77]);
}

/// The client sees that it has not got all of the state that the head of the reply has named.
#[test]
fn a_file_that_changes_while_it_is_sent_breaks_off() {
    const LONG: u64 = 256 * 1_024 * 1_024;
    let server = Server::new(&[("file", b"")], &[]);
    let file = File::options().write(true).open(server.path("file")).expect("it is there");
    file.set_len(LONG).expect("no room is taken");
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    stream.write_all(b"GET /file HTTP/1.0\r\n\r\n").expect("it is open");
    let mut begin = [0; 1_000];
    stream.read_exact(&mut begin).expect("more comes");
    assert!(begin.windows(25).any(|text| text == b"Content-Length: 268435456"));
    (&file).write_all(b"changed").expect("a disk with room");
    let mut sink = Vec::new();
    // The connection may be reset.
    _ = stream.read_to_end(&mut sink);
    assert!((sink.len() as u64) < LONG - 1_000, "all of it came");
    assert_eq!(server.get("/file", "Range: bytes=0-6\r\n").body, b"changed");
}

/// Whoever has begun with the file that was there before gets all of it, and whoever comes later the new one.
#[test]
fn a_file_that_is_replaced_while_it_is_sent_is_sent_whole() {
    const LONG: u64 = 64 * 1_024 * 1_024;
    let server = Server::new(&[("file", b""), ("new", b"new")], &[]);
    let file = File::options().write(true).open(server.path("file")).expect("it is there");
    file.set_len(LONG).expect("no room is taken");
    let begun = || {
        let mut stream = TcpStream::connect(server.address).expect("it listens");
        stream.write_all(b"GET /file HTTP/1.0\r\n\r\n").expect("it is open");
        stream.read_exact(&mut [0; 12]).expect("more comes");
        stream
    };
    let streams = [begun(), begun(), begun()];
    fs::hard_link(server.path("file"), server.path("link")).expect("a file system with links");
    fs::rename(server.path("new"), server.path("file")).expect("a writable folder");
    fs::remove_file(server.path("link")).expect("a writable folder");
    for mut stream in streams {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it is not reset");
        let head = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        assert_eq!((rest.len() - head) as u64, LONG);
        assert!(rest[head..].iter().all(|&byte| byte == 0));
    }
    assert_eq!(server.get("/file", "").body, b"new");
}

/// As rsync makes them: the same bytes, the same date, but another file.
#[test]
fn copies_on_two_servers_have_the_same_tag() {
    let servers = [0, 1].map(|_| Server::new(&[("file", &varied(LEN))], &[]));
    let date = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 123_456_789);
    for server in &servers {
        let file = File::options().write(true).open(server.path("file")).expect("it is there");
        file.set_modified(date).expect("it is ours");
    }
    let tags = servers.each_ref().map(|server| {
        let tag = || server.get("/file", "").header("ETag").map(String::from);
        super::server::until(|| tag().is_some_and(|tag| tag.starts_with('"')));
        tag().expect("a tag")
    });
    assert_eq!(tags[0], tags[1]);
    // Who began with the one goes on with the other.
    let headers = format!("If-Range: {}\r\nRange: bytes=100-199\r\n", tags[0]);
    let reply = servers[1].get("/file", &headers);
    assert!(reply.status == 206 && reply.body == varied(LEN)[100..200], "{}", reply.head);
    // Written again, though it has as many bytes.
    fs::write(servers[1].path("file"), vec![7; LEN]).expect("it is ours");
    assert_eq!(servers[1].get("/file", &headers).status, 200);
    assert_eq!(servers[1].get("/file", &format!("If-Match: {}\r\n", tags[0])).status, 412);
}

#[test]
fn content_information_outlives_the_server() {
    let server = Server::new(&[("file", &varied(LEN)), ("short", b"x")], &["--hash", "eager"]);
    super::server::until(|| server.number("/HashCache/NumberOfFiles") == 1);
    let info = server.get("/file", ASK).body;
    let folder = server.kill();
    // As if it had been killed while it wrote.
    fs::write(folder.path().join("cache/.peerdist-x"), "half").expect("a writable folder");

    let server = Server::on(folder, &[]);
    let reply = server.get("/file", ASK);
    assert!(reply.header("Content-Encoding").is_some() && reply.body == info, "{}", reply.head);
    assert_eq!(server.number("/Hashing/FilesHashed"), 0);
    assert!(!server.folder.path().join("cache/.peerdist-x").exists());
    let folder = server.kill();

    // One flipped bit, and it is made anew.
    let cache =
        fs::read_dir(folder.path().join("cache")).expect("readable").map(|entry| entry.expect("readable"));
    let entry = cache.map(|entry| entry.path()).find(|path| path.extension().is_some()).expect("an entry");
    let mut bytes = fs::read(&entry).expect("it is ours");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&entry, bytes).expect("it is ours");
    let server = Server::on(folder, &[]);
    assert!(server.get("/file", ASK).header("Content-Encoding").is_none());
    server.wait_for("/file");
    assert!(server.get("/file", ASK).body == info);
    assert_eq!(server.number("/Hashing/FilesHashed"), 1);
}

#[test]
fn many_clients_at_once() {
    const CLIENTS: usize = 64;
    const ROUNDS: usize = 10;
    let server = Server::new(&[("file", &varied(LEN))], &[]);
    server.wait_for("/file");
    let (content, info) = (varied(LEN), server.get("/file", ASK).body);
    let before = server.number("/Replies/ContentBytes");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, content, info) = (&server, &content, &info);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let at = (client * 1_009 + round * 7_919) % (LEN - 10_000);
                    match (client + round) % 4 {
                        0 => assert!(server.get("/file", "").body == *content),
                        1 => assert!(server.get("/file", AGAIN).body == *info),
                        2 => {
                            let range = format!("Range: bytes={at}-{}\r\n", at + 9_999);
                            assert!(server.get("/file", &range).body == content[at..at + 10_000]);
                        }
                        // Left halfway.
                        _ => {
                            let mut stream = TcpStream::connect(server.address).expect("it listens");
                            stream.write_all(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is open");
                            _ = stream.read(&mut [0; 100]);
                        }
                    }
                }
            });
        }
    });
    assert!(server.number("/Replies/ContentBytes") > before);
    assert!(server.get("/file", "").body == content);
}

#[cfg(unix)]
#[test]
fn it_ends_when_it_is_asked_to() {
    // The socket's buffers do not take all of it.
    let content = varied(64 * 1_024 * 1_024);
    let mut server = Server::new(&[("file", &content)], &[]);
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    stream.write_all(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is open");
    let mut begin = [0; 100];
    stream.read_exact(&mut begin).expect("more comes");
    let id = server.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().expect("it is there").success());
    let reply = super::server::read(&mut begin.chain(&mut stream));
    assert!(reply.body == content);
    assert_eq!(server.child.wait().expect("it is ours").code(), Some(0));
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn a_single_file() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("root"), varied(LEN)).expect("a writable folder");
    fs::write(folder.path().join("other"), "secret").expect("a writable folder");
    let server = Server::on(folder, &["--min-size", "0"]);
    assert!(server.get("/root", "").body == varied(LEN));
    assert_eq!(server.get("/other", "").status, 404);
    assert_eq!(ask(server.address, "GET / HTTP/1.0\r\n\r\n").status, 404);
}
