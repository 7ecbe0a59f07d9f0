use std::boxed::Box;
use std::string::ToString as _;
use std::vec;

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::download::{DownloadEvent, Url};
use peerdist_core::node::{Config, Node};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;

const NOW: Instant = Instant::from_millis(1_000);

type TestNode = Node<RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>, SoftCrypto, ChaCha20Rng, 8, 1>;

/// A node with a download from an origin at 192.0.2.1 and other addresses.
struct Host {
    node: Box<TestNode>,
    origins: Origins,
    download: DownloadId,
    data: Vec<u8>,
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 80))
}

impl Host {
    fn new(addresses: &[SocketAddr]) -> Self {
        let store = RamStore::new(vec![], vec![], vec![0; 4096]);
        let rng = ChaCha20Rng::from_seed([1; 32]);
        let mut node = Box::new(TestNode::new(Config::default(), store, SoftCrypto, rng));
        let (host, path) = ("origin".try_into().unwrap(), "/content".try_into().unwrap());
        let download = node.download(NOW, Url { origin: address(1), host, path }).unwrap();
        let mut origins = Origins::default();
        if !addresses.is_empty() {
            origins.reach(download, addresses.to_vec());
        }
        Self { node, origins, download, data: Vec::new() }
    }

    fn layer(&mut self) -> Layer<'_> {
        Layer { node: &mut *self.node, origins: &mut self.origins }
    }

    /// What the driver has to do: connections by their address, and the latest stream.
    fn outputs(&mut self, now: Instant) -> (Vec<String>, Option<StreamId>) {
        let (mut said, mut latest) = (Vec::new(), None);
        let mut buffer = vec![0; 4096];
        while let Some(output) = self.layer().poll_output(now, &mut buffer) {
            match output {
                Output::Connect { stream, remote, .. } => {
                    latest = Some(stream);
                    said.push(std::format!("connect {remote}"));
                }
                Output::Abort { stream } => {
                    latest = Some(stream);
                    said.push("abort".into());
                }
                Output::Close { .. } => said.push("close".into()),
                Output::Data { data, .. } => self.data.extend_from_slice(data),
                Output::Moved { .. } => said.push("moved".into()),
                Output::Download { event: DownloadEvent::Done { .. }, .. } => said.push("done".into()),
                _ => {}
            }
        }
        (said, latest)
    }

    /// What goes out on a stream.
    fn sends(&mut self, now: Instant, stream: StreamId) -> Vec<u8> {
        let (mut all, mut room) = (Vec::new(), [0; 100]);
        loop {
            match self.layer().poll_stream(now, stream, &mut room) {
                Ok(len @ 1..) => all.extend_from_slice(&room[..len]),
                _ => return all,
            }
        }
    }
}

#[test]
fn one_address_after_the_other_until_one_is_there() {
    let mut host = Host::new(&[address(1), address(2), address(3)]);
    let (said, stream) = host.outputs(NOW);
    assert_eq!(said, ["connect 192.0.2.1:80"]);
    let stream = stream.unwrap();
    let later = NOW + PATIENCE;
    assert_eq!(host.layer().poll_timeout(NOW), Some(later));
    // The first is silent, the second refuses.
    assert_eq!(host.outputs(NOW + Duration::from_millis(4_999)).0, [""; 0]);
    assert_eq!(host.outputs(later), (vec!["abort".into(), "connect 192.0.2.2:80".into()], Some(stream)));
    host.layer().lost(later, stream, io::ErrorKind::ConnectionRefused.into());
    assert_eq!(host.layer().poll_timeout(later), Some(later));
    assert_eq!(host.outputs(later), (vec!["connect 192.0.2.3:80".into()], Some(stream)));
    host.layer().handle_input(later, Input::Connected { stream });
    assert!(host.sends(later, stream).starts_with(b"GET /content HTTP/1.1\r\n"));
    // Once it is open, time is the node's business.
    assert_eq!(host.outputs(later + Duration::from_secs(30)).0, [""; 0]);
    assert!(host.origins.take_trouble(host.download).is_none());

    // The next connection goes where the last one was.
    host.layer().lost(later, stream, io::ErrorKind::ConnectionReset.into());
    let trouble = host.origins.take_trouble(host.download).unwrap();
    assert_eq!((trouble.connected, trouble.error.kind()), (true, io::ErrorKind::ConnectionReset));
    let after = later + Duration::from_secs(30);
    let (said, next) = host.outputs(after);
    assert_eq!(said, ["connect 192.0.2.3:80"]);
    host.layer().lost(after, next.unwrap(), io::ErrorKind::ConnectionRefused.into());
    assert_eq!(host.outputs(after).0, ["connect 192.0.2.1:80"]);
}

#[test]
fn nobody_at_any_address() {
    let v6 = "[2001:db8::1]:80".parse().unwrap();
    let mut host = Host::new(&[v6, address(2)]);
    let stream = host.outputs(NOW).1.unwrap();
    host.layer().lost(NOW, stream, io::ErrorKind::NetworkUnreachable.into());
    assert!(host.origins.take_trouble(host.download).is_none(), "there is another");
    assert_eq!(host.outputs(NOW).0, ["connect 192.0.2.2:80"]);
    host.layer().lost(NOW, stream, io::ErrorKind::ConnectionRefused.into());
    let trouble = host.origins.take_trouble(host.download).unwrap();
    assert_eq!((trouble.connected, trouble.refused), (false, true));
    assert_eq!(trouble.error.kind(), io::ErrorKind::ConnectionRefused);
    let text = trouble.error.to_string();
    assert!(text.starts_with("[2001:db8::1]:80: network unreachable; 192.0.2.2:80: "), "{text}");
    assert!(host.origins.streams.is_empty());
}

/// The last address has as long as the node waits, and as many attempts.
#[test]
fn silence_at_the_last_address() {
    for addresses in [vec![], vec![address(1)]] {
        let mut host = Host::new(&addresses);
        assert_eq!(host.outputs(NOW).0, ["connect 192.0.2.1:80"]);
        assert_eq!(host.outputs(NOW + Duration::from_secs(59)).0, [""; 0]);
        let later = NOW + Duration::from_secs(60);
        assert_eq!(host.outputs(later).0, ["abort"]);
        let trouble = host.origins.take_trouble(host.download).unwrap();
        assert_eq!((trouble.connected, trouble.refused), (false, false));
        assert_eq!(trouble.error.to_string(), "192.0.2.1:80: timed out");
        assert_eq!(host.outputs(later + Duration::from_secs(1)).0, ["connect 192.0.2.1:80"]);
    }
    // One that refuses tells nothing about one that is silent.
    for refuses in [1, 2] {
        let mut host = Host::new(&[address(1), address(2)]);
        let stream = host.outputs(NOW).1.unwrap();
        let mut now = NOW;
        for number in [1, 2] {
            if number == refuses {
                host.layer().lost(now, stream, io::ErrorKind::ConnectionRefused.into());
            } else {
                now += Duration::from_secs(60);
            }
            host.outputs(now);
        }
        let trouble = host.origins.take_trouble(host.download).unwrap();
        assert_eq!((trouble.connected, trouble.refused), (false, false), "{refuses}");
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::io::{Read as _, Write as _};

    use rustls::crypto::ring;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// A host whose download is secured, and the other side of its connection.
    struct Secure {
        host: Host,
        stream: StreamId,
        server: ServerConnection,
        said: Vec<String>,
    }

    impl Secure {
        /// The origin proves that it is `name`.
        fn new(name: &str) -> Self {
            Self::with_addresses(name, &[address(1)])
        }

        fn with_addresses(name: &str, addresses: &[SocketAddr]) -> Self {
            let made = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            let certificate = made.cert.der().clone();
            let provider = Arc::new(ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider.clone());
            let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
            let config = config.with_single_cert(vec![certificate.clone()], key.into()).unwrap();
            let server = ServerConnection::new(Arc::new(config)).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(certificate).unwrap();
            let config = ClientConfig::builder_with_provider(provider);
            let config = config.with_safe_default_protocol_versions().unwrap();
            let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());

            let mut host = Host::new(addresses);
            host.origins.secure(host.download, config, "origin".try_into().unwrap());
            let stream = host.outputs(NOW).1.unwrap();
            host.layer().handle_input(NOW, Input::Connected { stream });
            Self { host, stream, server, said: Vec::new() }
        }

        /// Takes what the node sends, and gives what the origin does.
        fn exchange(&mut self) -> (Vec<u8>, Vec<u8>) {
            let sent = self.host.sends(NOW, self.stream);
            for mut piece in sent.chunks(7) {
                while !piece.is_empty() && self.server.read_tls(&mut piece).unwrap() > 0 {}
                // What is wrong with it is asked for below.
                _ = self.server.process_new_packets();
            }
            let mut back = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut back).unwrap();
            }
            (sent, back)
        }

        /// Brings bytes of the origin to the node until the layer has taken them all; the rest of what is in
        /// them waits there.
        fn bring(&mut self, mut data: &[u8]) {
            let stream = self.stream;
            while !data.is_empty() {
                let used = self.host.layer().handle_input(NOW, Input::Data { stream, data });
                data = &data[used..];
                if !data.is_empty() {
                    self.said.extend(self.host.outputs(NOW).0);
                }
            }
        }

        /// Carries bytes until none are left, a few at a time.
        fn carry(&mut self) {
            loop {
                self.said.extend(self.host.outputs(NOW).0);
                let (sent, back) = self.exchange();
                let last = sent.is_empty() && back.is_empty();
                if last && self.host.layer().poll_timeout(NOW).is_none_or(|next| next > NOW) {
                    return;
                }
                for data in back.chunks(7) {
                    let input = Input::Data { stream: self.stream, data };
                    assert_eq!(self.host.layer().handle_input(NOW, input), data.len());
                }
            }
        }

        fn heard(&mut self) -> Vec<u8> {
            let mut heard = Vec::new();
            // An end without an announcement, or nothing more for now.
            _ = self.server.reader().read_to_end(&mut heard);
            heard
        }
    }

    #[test]
    fn a_download_through_it() {
        let mut it = Secure::new("origin");
        it.carry();
        assert!(it.heard().starts_with(b"GET /content HTTP/1.1\r\n"));
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        it.server.writer().write_all(reply).unwrap();
        it.carry();
        assert_eq!(it.host.data, b"hello");
        // Its end is announced before the connection is closed.
        assert!(it.server.process_new_packets().unwrap().peer_has_closed());
        assert_eq!(it.said, ["done", "close"]);
        assert!(it.host.origins.streams.is_empty());
    }

    #[test]
    fn an_origin_that_is_another() {
        let mut it = Secure::new("elsewhere");
        it.carry();
        let trouble = it.host.origins.take_trouble(it.host.download).unwrap();
        assert_eq!((trouble.connected, trouble.error.kind()), (false, io::ErrorKind::InvalidData));
        assert!(it.server.process_new_packets().is_err(), "it has been told why");
        assert_eq!(it.said, ["close"]);
    }

    /// Whoever has the wrong certificate says nothing more to the node, nor does the end of his connection
    /// count for the next address.
    #[test]
    fn what_follows_a_wrong_certificate() {
        let mut it = Secure::with_addresses("elsewhere", &[address(1), address(2)]);
        let (_, back) = it.exchange();
        it.bring(&back);
        let stream = it.stream;
        it.bring(b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n");
        for input in [Input::Connected { stream }, Input::Eof { stream }, Input::Lost { stream }] {
            it.host.layer().handle_input(NOW, input);
        }
        it.host.layer().lost(NOW, stream, io::ErrorKind::ConnectionReset.into());
        assert_eq!(it.host.sends(NOW, stream), b"");
        assert!(it.said.is_empty());
        assert_eq!(it.host.outputs(NOW), (vec!["abort".into(), "connect 192.0.2.2:80".into()], Some(stream)));
        assert!(it.host.origins.take_trouble(it.host.download).is_none());

        // Before the handshake has begun, and before it is over, plain bytes are as little believed.
        it.bring(b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n");
        it.host.layer().handle_input(NOW, Input::Connected { stream });
        it.bring(b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n");
        let trouble = it.host.origins.take_trouble(it.host.download).unwrap();
        assert!(!trouble.connected && trouble.refused, "{}", trouble.error);
        let text = trouble.error.to_string();
        assert!(text.contains("192.0.2.1:80: ") && text.contains("192.0.2.2:80: "), "{text}");
        assert!(!it.host.outputs(NOW).0.contains(&"moved".to_string()));
    }

    /// A connection stays one that has to be secured, also if it comes about when the download is over.
    #[test]
    fn nothing_plain_for_a_download_that_is_over() {
        let mut it = Secure::with_addresses("elsewhere", &[address(1), address(2)]);
        let stream = it.stream;
        it.host.layer().lost(NOW, stream, io::ErrorKind::ConnectionReset.into());
        it.host.outputs(NOW);
        it.host.origins.forget(it.host.download);
        it.host.layer().handle_input(NOW, Input::Connected { stream });
        let sent = it.host.sends(NOW, stream);
        assert!(sent.starts_with(&[0x16, 3]), "a handshake of TLS, and not {sent:?}");
    }

    /// The node takes 2 KiB at a time; the connection ends while the layer holds the rest.
    #[test]
    fn an_end_before_the_node_has_taken_all() {
        let body: Vec<u8> = (0..12_000).map(|i| (i * 31 + i / 251) as u8).collect();
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        for (len, announced, lost) in [
            (Some(12_000), false, false),
            (Some(12_000), false, true),
            (Some(12_000), true, true),
            (None, true, false),
            (None, true, true),
            (Some(12_001), false, false),
            (Some(12_001), false, true),
        ] {
            let mut it = Secure::new("origin");
            it.carry();
            let head = len.map(|len| std::format!("Content-Length: {len}\r\n")).unwrap_or_default();
            let head = std::format!("HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n");
            it.server.writer().write_all(&[head.as_bytes(), &body].concat()).unwrap();
            if announced {
                it.server.send_close_notify();
            }
            let (_, back) = it.exchange();
            it.bring(&back);
            assert!(it.host.data.len() < body.len(), "some is left");
            let stream = it.stream;
            if lost {
                it.host.layer().lost(NOW, stream, reset());
            } else {
                it.host.layer().handle_input(NOW, Input::Eof { stream });
            }
            it.said.extend(it.host.outputs(NOW).0);
            let whole = len != Some(12_001);
            // What the node has not handed out when a reply breaks, it does not.
            let got = &it.host.data;
            assert!(if whole { *got == body } else { body.starts_with(got) }, "{len:?} {announced} {lost}");
            assert_eq!(it.said.contains(&"done".to_string()), whole, "{len:?} {announced} {lost}");
            let trouble = it.host.origins.take_trouble(it.host.download).map(|trouble| trouble.error.kind());
            let kind = if lost { io::ErrorKind::ConnectionReset } else { io::ErrorKind::UnexpectedEof };
            assert_eq!(trouble, (!announced).then_some(kind), "{len:?} {announced} {lost}");
            it.host.outputs(NOW + LINGER);
            assert!(it.host.origins.streams.is_empty());
        }
    }

    #[test]
    fn an_end_that_nobody_announced() {
        let mut it = Secure::new("origin");
        it.carry();
        it.server.writer().write_all(b"HTTP/1.1 200 OK\r\n\r\nhel").unwrap();
        it.carry();
        it.host.layer().handle_input(NOW, Input::Eof { stream: it.stream });
        let trouble = it.host.origins.take_trouble(it.host.download).unwrap();
        assert_eq!((trouble.connected, trouble.error.kind()), (true, io::ErrorKind::UnexpectedEof));
    }

    /// The next address is tried then; the last one has as long as the node waits.
    #[test]
    fn a_handshake_that_takes_too_long() {
        let mut it = Secure::with_addresses("origin", &[address(1), address(2)]);
        assert_eq!(it.host.outputs(NOW + PATIENCE).0, [""; 0]);
        assert_eq!(it.host.outputs(NOW + HANDSHAKE).0, ["abort", "connect 192.0.2.2:80"]);
        let stream = it.stream;
        it.host.layer().handle_input(NOW + HANDSHAKE, Input::Connected { stream });
        assert_eq!(it.host.outputs(NOW + HANDSHAKE + HANDSHAKE).0, [""; 0]);
        assert_eq!(it.host.outputs(NOW + Duration::from_secs(60)).0, ["abort"]);
        let trouble = it.host.origins.take_trouble(it.host.download).unwrap();
        assert_eq!((trouble.connected, trouble.refused), (false, false));
        assert_eq!(trouble.error.to_string(), "192.0.2.1:80: timed out; 192.0.2.2:80: timed out");
    }
}
