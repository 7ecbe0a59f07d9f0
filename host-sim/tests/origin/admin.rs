//! What a server tells of itself, and what stops it from starting.

use std::fs;
use std::process::Command;

use super::server::{AGAIN, PROGRAM, Server, ask, peerdist, until, varied};

fn admin(server: &Server, request: &str) -> super::server::Reply {
    ask(server.admin, &format!("{request} HTTP/1.0\r\n\r\n"))
}

#[test]
fn status_metrics_and_hashes() {
    let server = Server::new(&[("a b", &varied(100_000)), ("short", b"x")], &[]);
    let state = |path: &str| admin(&server, &format!("GET /hashes?path={path}")).json()["State"].clone();
    assert_eq!((state("/a%20b"), state("/short")), ("NotAskedFor".into(), "TooSmall".into()));
    assert_eq!(admin(&server, "GET /hashes?path=/absent").status, 404);
    assert_eq!(admin(&server, "GET /hashes?path=/../cache/lock").status, 404);
    server.wait_for("/a%20b");
    assert_eq!(state("/a%20b"), "Ready");

    let status = admin(&server, "GET /status").json();
    assert_eq!(status["ContentServerConfiguration"]["ContentServerIsEnabled"], true);
    assert_eq!(status["ContentServerConfiguration"]["ListenAddress"], server.address.to_string());
    assert_eq!(status["HashCache"]["NumberOfFiles"], 1);
    // Both versions are made of it, and it is one file.
    assert_eq!(
        (&status["Hashing"]["FilesHashed"], &status["Hashing"]["BytesHashed"]),
        (&1.into(), &100_000.into())
    );
    let text = String::from_utf8(admin(&server, "GET /metrics").body).expect("text");
    assert!(text.contains("\npeerdist_origin_hashed_files_total 1\n"), "{text}");
    let page = String::from_utf8(admin(&server, "GET /").body).expect("text");
    assert!(page.contains("<h2>HashCache</h2>") && page.contains("<td>Running</td>"), "{page}");
    for segments in ["GET /segments?id=00", "GET /segments"] {
        let reply = admin(&server, segments);
        let error = "this server has no segments: it is no peer";
        assert_eq!((reply.status, &reply.json()["Error"]), (404, &error.into()));
    }
    assert_eq!(admin(&server, "POST /cache/clear").status, 404);

    // Who has content information is not told to fetch the content for want of it.
    assert_eq!(server.number("/Replies/ContentBytes"), server.number("/Replies/PlainWithHint") * 100_000);
    assert_eq!(admin(&server, "POST /hashes/clear").json()["Cleared"], 1);
    assert_eq!(state("/a%20b"), "NotAskedFor");
    until(|| server.get("/a%20b", AGAIN).header("Content-Encoding").is_some());
    assert_eq!(server.number("/Hashing/FilesHashed"), 2);

    let address = server.admin.to_string();
    for args in [&["status", &address][..], &["status", &format!("http://{address}/")]] {
        let text = String::from_utf8(peerdist(&server.folder, args)).expect("text");
        assert!(text.contains("\nHashCache:\n  CacheFileDirectoryPath           : cache\n"), "{text}");
    }
    let json = peerdist(&server.folder, &["status", "--json", &address]);
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["Role"], "ContentServer");
    // The content server itself tells nothing.
    let line = refuses(&server, &["status", &server.address.to_string()]);
    assert!(line.ends_with("answers 404"), "{line}");
}

/// A page of somebody else's, in the browser of whoever can reach this.
#[test]
fn who_reaches_it_calls_it_by_a_name_of_its_own() {
    // It need not be reached from elsewhere: a proxy on this machine may call it by a name.
    let server = Server::new(&[("file", b"x")], &["--admin-name", "server.example"]);
    let port = server.admin.port();
    for (request, status) in [
        (format!("GET /status HTTP/1.1\r\nHost: 192.168.1.5:{port}"), 200),
        (format!("GET /status HTTP/1.1\r\nHost: server.example:{port}"), 200),
        (format!("GET /status HTTP/1.1\r\nHost: evil.example:{port}"), 403),
        (format!("POST /hashes/clear HTTP/1.1\r\nHost: 192.168.1.5:{port}\r\nUser-Agent: curl/8.0"), 200),
        (
            format!(
                "POST /hashes/clear HTTP/1.1\r\nHost: evil.example:{port}\r\nOrigin: http://evil.example:{port}"
            ),
            403,
        ),
        (
            format!("POST /hashes/clear HTTP/1.1\r\nHost: 192.168.1.5:{port}\r\nOrigin: http://evil.example"),
            403,
        ),
        (
            format!("POST /hashes/clear HTTP/1.1\r\nHost: 192.168.1.5:{port}\r\nSec-Fetch-Site: cross-site"),
            403,
        ),
    ] {
        let reply = ask(server.admin, &format!("{request}\r\nConnection: close\r\n\r\n"));
        assert_eq!(reply.status, status, "{request}");
    }
    // By whatever name it is found: no browser is in between.
    peerdist(&server.folder, &["status", &format!("localhost:{port}")]);
    let line =
        refuses(&server, &["origin", "--root", "root", "--listen", "127.0.0.1:0", "--admin-name", "x"]);
    assert!(line.contains("--admin "), "{line}");
}

/// The one line it prints, if it fails.
fn refuses(server: &Server, args: &[&str]) -> String {
    let output =
        Command::new(PROGRAM).current_dir(server.folder.path()).args(args).output().expect("it is built");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let [line] = text.lines().collect::<Vec<_>>()[..] else { panic!("{args:?}: {text}") };
    assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{args:?}: {line}");
    line.strip_prefix("peerdist: ").unwrap_or_else(|| panic!("{line}")).into()
}

#[test]
fn what_is_wrong_is_told_in_a_line() {
    let server = Server::new(&[("file", b"x")], &[]);
    fs::write(server.path("key"), "key").expect("a writable folder");
    let (taken, admin) = (server.address.to_string(), server.admin.to_string());
    let free = "127.0.0.1:0";
    let origin = |args: &[&str]| refuses(&server, &[&["origin"], args].concat());
    for (args, begin) in [
        (&["--root", "absent", "--listen", free, "--hash-cache", "c"][..], "--root absent: No such file"),
        (
            &["--root", "/dev/null", "--listen", free, "--hash-cache", "c"],
            "--root /dev/null: neither a folder",
        ),
        (&["--root", "root", "--listen", &taken, "--hash-cache", "c"], "--listen 127.0.0.1:"),
        (&["--root", "root", "--listen", free, "--hash-cache", "c", "--admin", &admin], "--admin 127.0.0.1:"),
        (
            &["--root", "root", "--listen", free, "--hash-cache", "c", "--admin", "0.0.0.0:0"],
            "--admin 0.0.0.0:0: can be reached",
        ),
        (
            &["--root", "root", "--listen", free, "--hash-cache", "cache"],
            "--hash-cache cache: another server uses it",
        ),
        (
            &["--root", "root", "--listen", free, "--hash-cache", "root/c"],
            "--root root: root/c would be served",
        ),
        (
            &["--root", "root", "--listen", free, "--hash-cache", "c", "--key", "root/key"],
            "--root root: root/key would be served",
        ),
        (&["--root", "root", "--listen", free, "--hash-cache", "root/file"], "--hash-cache root/file: "),
        (&["--root", "root", "--listen", free, "--secret", ""], "--secret: an empty key"),
        (&["--root", "root", "--listen", "127.0.0.1"], "invalid value '127.0.0.1' for '--listen"),
        (&["--root", "root", "--listen", free, "--min-size", "-1"], "invalid value '-1' for '--min-size"),
        (
            &["--root", "root", "--listen", free, "--hash-threads", "0"],
            "invalid value '0' for '--hash-threads",
        ),
        (&["--listen", free], "missing: --root"),
    ] {
        let line = origin(args);
        assert!(line.starts_with(begin), "{args:?}: {line}");
    }
    #[cfg(unix)]
    for mode in [0o770, 0o707] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::create_dir_all(server.folder.path().join("shared")).expect("a writable folder");
        fs::set_permissions(server.folder.path().join("shared"), permissions).expect("it is ours");
        let line = origin(&["--root", "root", "--listen", free, "--hash-cache", "shared"]);
        assert!(line.starts_with("--hash-cache shared: others may write to it"), "{mode:o}: {line}");
    }
    if cfg!(target_os = "linux") {
        let line = origin(&["--root", "root", "--listen", &taken, "--hash-cache", "c"]);
        let holder = format!("the port is taken by peerdist (process {})", server.child.id());
        assert!(line.ends_with(&holder), "{line}");
    }
    let line = refuses(&server, &["status", "127.0.0.1:1"]);
    assert!(line.starts_with("127.0.0.1:1: "), "{line}");
}

/// Without a key, the server has one of its own, which stays.
#[test]
fn a_server_without_a_key_keeps_its_own() {
    let server = Server::new(&[("file", &varied(100_000))], &[]);
    let mut lines = Vec::new();
    for _ in 0..2 {
        let output = Command::new(PROGRAM)
            .current_dir(server.folder.path())
            .args([
                "origin",
                "--root",
                "root",
                "--hash-cache",
                "own",
                "--listen",
                &server.address.to_string(),
            ])
            .output()
            .expect("it is built");
        // The port is taken, but the key comes first.
        assert_eq!(output.status.code(), Some(2));
        lines.push(fs::read(server.folder.path().join("own/server-secret-key")).expect("a key"));
    }
    assert!(lines[0] == lines[1] && lines[0].len() == 32);
}
