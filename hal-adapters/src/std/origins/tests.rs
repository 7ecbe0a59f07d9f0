use std::boxed::Box;
use std::string::ToString as _;
use std::vec;

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::download::Url;
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
    assert_eq!(host.outputs(NOW + PATIENCE).0, ["abort"]);
    let trouble = host.origins.take_trouble(host.download).unwrap();
    assert_eq!((trouble.connected, trouble.error.kind()), (false, io::ErrorKind::TimedOut));
    let text = trouble.error.to_string();
    assert!(text.starts_with("[2001:db8::1]:80: network unreachable; 192.0.2.2:80: "), "{text}");
    assert!(host.origins.streams.is_empty());
}

/// Only the node knows the address, and it does not answer.
#[test]
fn an_address_that_nobody_named() {
    let mut host = Host::new(&[]);
    assert_eq!(host.outputs(NOW).0, ["connect 192.0.2.1:80"]);
    assert_eq!(host.outputs(NOW + PATIENCE).0, ["abort"]);
    let trouble = host.origins.take_trouble(host.download).unwrap();
    assert_eq!((trouble.connected, trouble.error.kind()), (false, io::ErrorKind::TimedOut));
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

            let mut host = Host::new(&[address(1)]);
            host.origins.secure(host.download, config, "origin".try_into().unwrap());
            let stream = host.outputs(NOW).1.unwrap();
            host.layer().handle_input(NOW, Input::Connected { stream });
            Self { host, stream, server, said: Vec::new() }
        }

        /// Carries bytes until none are left, a few at a time.
        fn carry(&mut self) {
            loop {
                self.said.extend(self.host.outputs(NOW).0);
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
        assert_eq!(it.said, ["close"]);
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

    #[test]
    fn a_handshake_that_takes_too_long() {
        let mut it = Secure::new("origin");
        assert_eq!(it.host.outputs(NOW + PATIENCE).0, [""; 0]);
        it.host.outputs(NOW + HANDSHAKE);
        let trouble = it.host.origins.take_trouble(it.host.download).unwrap();
        assert_eq!((trouble.connected, trouble.error.kind()), (false, io::ErrorKind::TimedOut));
    }
}
