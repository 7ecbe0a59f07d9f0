//! The endpoint that tells how a server does: for people, for scripts and for Prometheus.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | a page for people, without scripts |
//! | `GET /status` | all of it, as JSON |
//! | `GET /metrics` | the counters, as Prometheus reads them |
//! | `GET /segments?id=HEX` | what is kept of a segment |
//! | `GET /hashes?path=P` | whether there is content information of a file |
//! | `POST /cache/clear` | forgets all blocks; how many |
//! | `POST /hashes/clear` | forgets all content information; of how many files |
//!
//! Whoever has something to tell is [`Administered`]; what it does not have is answered 404.
//!
//! Web pages of others cannot make a browser read or forget anything here: see [`Admin::with_names`].

pub mod render;

use std::fmt::Write as _;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode, Uri};
use peerdist_core::bytes::decode_hex;
use peerdist_core::limits::MAX_DIGEST_BYTES;
use serde_json::{Value, json};

use super::http1::{self, Body, Limits, Names};
use super::listen::listen;
use super::percent;

/// Where the endpoint is unless somebody says otherwise, and where `peerdist status` looks.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:3780";

/// Connections at once: a person, a script and Prometheus.
const MAX_CONNECTIONS: usize = 16;

/// What browsers tell of who has them ask: a page of ours, or the person.
const SITE: &str = "sec-fetch-site";
const OWN_SITE: [&str; 2] = ["same-origin", "none"];

/// A server that can be asked how it does. Calls come from a thread that does nothing else, one at a time.
pub trait Administered: Send + Sync + 'static {
    /// All that is known, as an object; sections are objects in it. The names are those of the CIM classes
    /// that Windows has for the BranchCache, where there is one (`Get-BCStatus` shows them).
    fn status(&self) -> Value;

    /// The same in numbers.
    fn metrics(&self) -> Vec<Metric>;

    /// Whether it has segments at all.
    fn has_segments(&self) -> bool {
        false
    }

    /// What is kept of the segment with this id.
    fn segment(&self, _id: &[u8]) -> Option<Value> {
        None
    }

    /// Whether it has content information of files at all.
    fn has_hashes(&self) -> bool {
        false
    }

    /// Whether there is content information of the file at this path.
    fn hashes(&self, _path: &str) -> Option<Value> {
        None
    }

    /// Forgets all blocks, and says how many, or why not.
    fn clear_cache(&self) -> Option<Result<u64, String>> {
        None
    }

    /// Forgets all content information, and says of how many files, or why not.
    fn clear_hashes(&self) -> Option<Result<u64, String>> {
        None
    }
}

/// A number with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name behind `peerdist_`: in lower case, with `_`, the unit last, and `_total` if it only rises.
    pub name: &'static str,
    /// What it counts, in a few words.
    pub help: &'static str,
    /// The number, for each value of a label, if it has one: `("", "")` is none.
    pub samples: Vec<((&'static str, &'static str), u64)>,
}

impl Metric {
    /// A number without labels.
    pub fn new(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, samples: vec![(("", ""), value)] }
    }

    /// A number for each value of `label`.
    pub fn labeled(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        samples: &[(&'static str, u64)],
    ) -> Self {
        let samples = samples.iter().map(|&(value, number)| ((label, value), number)).collect();
        Self { name, help, samples }
    }
}

/// The endpoint, with a port of its own.
pub struct Admin {
    listener: TcpListener,
    names: Vec<String>,
}

impl Admin {
    /// Takes the port. Unless `remote` is wanted, the address must be one of this machine alone: whoever
    /// reaches the endpoint can read all of it, and have what is cached forgotten.
    pub fn bind(address: SocketAddr, remote: bool) -> io::Result<Self> {
        if !address.ip().is_loopback() && !remote {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "can be reached from elsewhere: --admin-remote allows it",
            ));
        }
        Ok(Self { listener: listen(address)?, names: Vec::new() })
    }

    /// Answers as well who calls it by one of these names. Without one it has to be called by an address, or
    /// `localhost`: any other name may be one that the page of somebody else was loaded by, and leads here
    /// since, so that the browser takes that page for one of ours.
    pub fn with_names(self, names: Vec<String>) -> Self {
        Self { names, ..self }
    }

    /// Where it is.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for `server`, from a thread of its own, as long as the process lives.
    pub fn start(self, server: Arc<dyn Administered>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Self { listener, names } = self;
        let names: Arc<[String]> = names.into();
        thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                static NAMES: Names = Names::new();
                let answer = move |request: Request<Incoming>| {
                    let reply = answer(&*server, &request, &names);
                    async { reply }
                };
                // They are of one machine, as a rule.
                let limits = Limits::new(MAX_CONNECTIONS, MAX_CONNECTIONS);
                http1::serve(listener, &limits, &NAMES, answer, pending()).await;
            });
        })?;
        Ok(())
    }
}

/// Answers a request at an endpoint that has these names.
fn answer<B>(server: &dyn Administered, request: &Request<B>, names: &[String]) -> Response<Body> {
    let (uri, method) = (request.uri(), request.method());
    if let Err(reason) = is_ours(request, names) {
        return failed(StatusCode::FORBIDDEN, reason);
    }
    let post = matches!(uri.path(), "/cache/clear" | "/hashes/clear");
    let allowed = if post { method == Method::POST } else { method == Method::GET || method == Method::HEAD };
    if !allowed {
        let mut reply = failed(StatusCode::METHOD_NOT_ALLOWED, "another method is needed");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static(if post { "POST" } else { "GET, HEAD" }));
        return reply;
    }
    let cleared = |outcome: Option<Result<u64, String>>| match outcome {
        Some(Ok(cleared)) => json(StatusCode::OK, &json!({ "Cleared": cleared })),
        Some(Err(reason)) => failed(StatusCode::INTERNAL_SERVER_ERROR, &reason),
        None => failed(StatusCode::NOT_FOUND, "this server has nothing of that kind to forget"),
    };
    let told = |value: Option<Value>, none: &str| match value {
        Some(value) => json(StatusCode::OK, &value),
        None => failed(StatusCode::NOT_FOUND, none),
    };
    match uri.path() {
        "/" => typed("text/html; charset=utf-8", render::page(&server.status())),
        "/status" => json(StatusCode::OK, &server.status()),
        "/metrics" => typed("text/plain; version=0.0.4; charset=utf-8", prometheus(&server.metrics())),
        "/segments" if !server.has_segments() => {
            failed(StatusCode::NOT_FOUND, "this server has no segments: it is no peer")
        }
        "/hashes" if !server.has_hashes() => {
            failed(StatusCode::NOT_FOUND, "this server has no hashes: it is no content server")
        }
        "/segments" => {
            let mut id = [0; MAX_DIGEST_BYTES];
            match query(uri, "id").as_deref().and_then(|text| decode_hex(text, &mut id)) {
                Some(id) if !id.is_empty() => told(server.segment(id), "nothing is kept of this segment"),
                _ => failed(StatusCode::BAD_REQUEST, "id: not that of a segment, in hexadecimal"),
            }
        }
        "/hashes" => match query(uri, "path").map(String::from_utf8) {
            Some(Ok(path)) => told(server.hashes(&path), "no such file is served"),
            _ => failed(StatusCode::BAD_REQUEST, "path: missing, or not UTF-8"),
        },
        "/cache/clear" => cleared(server.clear_cache()),
        "/hashes/clear" => cleared(server.clear_hashes()),
        _ => failed(StatusCode::NOT_FOUND, "no such page"),
    }
}

/// Whether no web page of somebody else's is behind the request, or the reason why that cannot be told: such
/// pages can make the browser of whoever can reach this ask for anything here, and read the reply if their own
/// name leads here.
fn is_ours<B>(request: &Request<B>, names: &[String]) -> Result<(), &'static str> {
    let header = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let host = header(HOST.as_str());
    // Nobody else's name is an address, or this one.
    let is_own = |host: &str| {
        let name =
            host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let is = |own: &str| name.eq_ignore_ascii_case(own);
        // Some name the interface behind a link-local address.
        let is_scoped = name.split_once('%').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok());
        is("localhost") || is_scoped || name.parse::<IpAddr>().is_ok() || names.iter().any(|own| is(own))
    };
    // Programs of the time before Host leave it out, browsers never do.
    if !host.is_none_or(is_own) {
        return Err("asked for by a name that is not known here: --admin-name allows it");
    }
    // Browsers name the site behind whatever changes something; links from elsewhere are followed without.
    let by_other = match header(ORIGIN.as_str()) {
        Some(origin) => host.is_none_or(|host| origin.strip_prefix("http://") != Some(host)),
        None => {
            request.method() == Method::POST && header(SITE).is_some_and(|site| !OWN_SITE.contains(&site))
        }
    };
    if by_other { Err("asked for by another site") } else { Ok(()) }
}

/// The value of `name` behind the question mark.
fn query(uri: &Uri, name: &str) -> Option<Vec<u8>> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    percent::decode(pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()?.as_bytes())
}

fn typed(kind: &'static str, body: String) -> Response<Body> {
    let mut reply = Response::new(Body::from(body));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    reply
}

fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut reply = typed("application/json", format!("{value:#}\n"));
    *reply.status_mut() = status;
    reply
}

fn failed(status: StatusCode, reason: &str) -> Response<Body> {
    json(status, &json!({ "Error": reason }))
}

/// Text format 0.0.4.
fn prometheus(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for Metric { name, help, samples } in metrics {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Writing to a string cannot fail.
        _ = writeln!(text, "# HELP peerdist_{name} {help}\n# TYPE peerdist_{name} {kind}");
        for ((label, of), value) in samples {
            _ = match *label {
                "" => writeln!(text, "peerdist_{name} {value}"),
                label => writeln!(text, "peerdist_{name}{{{label}=\"{of}\"}} {value}"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use hyper::body::Body as _;

    use super::*;

    /// A server that has segments, of which it knows one, and blocks to forget.
    struct Peer;

    impl Administered for Peer {
        fn status(&self) -> Value {
            json!({ "BranchCacheIsEnabled": true, "DataCache": { "CurrentActiveCacheSize": 7 } })
        }

        fn metrics(&self) -> Vec<Metric> {
            vec![
                Metric::new("blocks", "Blocks that are kept.", 7),
                Metric::labeled("replies_total", "Replies.", "kind", &[("block", 5), ("none", 6)]),
            ]
        }

        fn has_segments(&self) -> bool {
            true
        }

        fn segment(&self, id: &[u8]) -> Option<Value> {
            (id == [0xab, 0x01]).then(|| json!({ "Blocks": 3 }))
        }

        fn has_hashes(&self) -> bool {
            true
        }

        fn hashes(&self, path: &str) -> Option<Value> {
            (path == "/a b").then(|| json!({ "Ready": true }))
        }

        fn clear_cache(&self) -> Option<Result<u64, String>> {
            Some(Ok(7))
        }

        fn clear_hashes(&self) -> Option<Result<u64, String>> {
            Some(Err("a full disk".into()))
        }
    }

    fn ask(method: &str, uri: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&Peer, &request.body(()).expect("a request"), &["Server.example".into()])
    }

    #[test]
    fn each_page_has_its_method() {
        for (method, uri, status) in [
            ("GET", "/", 200),
            ("HEAD", "/", 200),
            ("GET", "/status", 200),
            ("GET", "/metrics", 200),
            ("GET", "/segments?id=AB01", 200),
            ("GET", "/segments?id=ab02", 404),
            ("GET", "/segments?id=ab0", 400),
            ("GET", "/segments?id=", 400),
            ("GET", "/segments", 400),
            ("GET", "/hashes?x=1&path=/a%20b", 200),
            ("GET", "/hashes?path=/c", 404),
            ("GET", "/hashes?path=%ff", 400),
            ("GET", "/hashes?path=%f", 400),
            ("POST", "/cache/clear", 200),
            ("POST", "/hashes/clear", 500),
            ("GET", "/cache/clear", 405),
            ("POST", "/status", 405),
            ("GET", "/other", 404),
        ] {
            let reply = ask(method, uri, &[]);
            assert_eq!(reply.status(), status, "{method} {uri}");
            assert!(reply.body().size_hint().exact() > Some(2), "{method} {uri}");
        }
    }

    #[test]
    fn what_a_server_does_not_have_is_told() {
        struct Nothing;

        impl Administered for Nothing {
            fn status(&self) -> Value {
                json!({})
            }

            fn metrics(&self) -> Vec<Metric> {
                Vec::new()
            }
        }

        for (method, uri, error) in [
            ("GET", "/segments?id=AB01", "this server has no segments: it is no peer"),
            ("GET", "/segments", "this server has no segments: it is no peer"),
            ("GET", "/hashes?path=/a", "this server has no hashes: it is no content server"),
            ("GET", "/hashes", "this server has no hashes: it is no content server"),
            ("POST", "/cache/clear", "this server has nothing of that kind to forget"),
        ] {
            let (head, body) = on_port(Arc::new(Nothing), &format!("{method} {uri}"));
            assert!(head.starts_with("HTTP/1.0 404 Not Found\r\n"), "{method} {uri}: {head}");
            assert_eq!(body, json!({ "Error": error }), "{method} {uri}");
        }
    }

    #[test]
    fn pages_of_others_ask_in_vain() {
        for (header, value, status) in [
            ("Host", "127.0.0.1:3780", 200),
            ("Host", "LocalHost:3780", 200),
            ("Host", "[::1]:3780", 200),
            ("Host", "[::1]", 200),
            ("Host", "[fe80::1%2]:3780", 200),
            ("Host", "[fe80::1%25eth0]", 200),
            ("Host", "192.168.1.5:3780", 200),
            ("Host", "server.Example:3780", 200),
            ("Host", "server.example", 200),
            ("Host", "evil.example:3780", 403),
            ("Host", "server.example.evil.example", 403),
            ("Host", "127.0.0.1.evil.example:3780", 403),
            ("Host", "127.0.0.1%evil.example:3780", 403),
            ("Host", "server.example%evil.example", 403),
            ("Host", "", 403),
            ("Origin", "http://evil.example", 403),
            ("Origin", "null", 403),
            ("Sec-Fetch-Site", "none", 200),
            ("Sec-Fetch-Site", "same-origin", 200),
            ("Sec-Fetch-Site", "same-site", 403),
            ("Sec-Fetch-Site", "cross-site", 403),
        ] {
            assert_eq!(ask("POST", "/cache/clear", &[(header, value)]).status(), status, "{header}: {value}");
        }
        let own = [("Host", "localhost:1"), ("Origin", "http://localhost:1")];
        assert_eq!(ask("POST", "/cache/clear", &own).status(), 200);
        // A name that leads here: the browser takes the page of somebody else for one of ours.
        let rebound = [("Host", "evil.example:3780"), ("Origin", "http://evil.example:3780")];
        for (method, uri) in [("GET", "/status"), ("POST", "/cache/clear")] {
            assert_eq!(ask(method, uri, &rebound).status(), 403, "{method} {uri}");
        }
        // A link on the page of somebody else.
        let followed = [("Host", "server.example:3780"), ("Sec-Fetch-Site", "cross-site")];
        assert_eq!(ask("GET", "/", &followed).status(), 200);
        assert_eq!(
            ask("POST", "/cache/clear", &[("Host", "127.0.0.1:1"), ("User-Agent", "curl")]).status(),
            200
        );
    }

    #[test]
    fn numbers_for_prometheus() {
        let expected = "# HELP peerdist_blocks Blocks that are kept.\n# TYPE peerdist_blocks gauge\n\
            peerdist_blocks 7\n# HELP peerdist_replies_total Replies.\n\
            # TYPE peerdist_replies_total counter\npeerdist_replies_total{kind=\"block\"} 5\n\
            peerdist_replies_total{kind=\"none\"} 6\n";
        assert_eq!(prometheus(&Peer.metrics()), expected);
    }

    #[test]
    fn on_a_port() {
        let elsewhere = "0.0.0.0:0".parse().expect("an address");
        assert!(Admin::bind(elsewhere, false).is_err() && Admin::bind(elsewhere, true).is_ok());
        let (head, body) = on_port(Arc::new(Peer), "GET /status");
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert_eq!(body, Peer.status());
    }

    /// The head and the body that a request gets over TCP.
    fn on_port(server: Arc<dyn Administered>, request: &str) -> (String, Value) {
        let admin = Admin::bind("127.0.0.1:0".parse().expect("an address"), false).expect("a port");
        let address = admin.local_addr().expect("it is bound");
        admin.start(server).expect("a thread");
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.write_all(format!("{request} HTTP/1.0\r\n\r\n").as_bytes()).expect("it is open");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("text");
        let (head, body) = reply.split_once("\r\n\r\n").expect("a body");
        (head.into(), serde_json::from_str(body).expect("JSON"))
    }
}
