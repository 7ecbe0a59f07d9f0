//! Nodes on the kernel's own sockets, on the loopback interface: each at an address of its own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::Duration;

use peerdist_core::content::segmenter::Segmentation;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::download::{DownloadError, DownloadEvent, Url, origin::OriginFailure};
use peerdist_core::encoding::InfoVersion;
use peerdist_core::fetch::Source;
use peerdist_core::node::{Config, DownloadId, Node, Output};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_hal::std::{Clock, Driver, Local, OpenError, Options};
use peerdist_tests::origin::{Manner, Origin, publish, publish_v2};
use peerdist_tests::site::Site;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

const BLOCKS: usize = 64;

/// A test that takes longer hangs.
const LONG: Duration = Duration::from_secs(120);

type TestNode = Node<RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>, SoftCrypto, ChaCha20Rng, 16, 8>;

/// A node, its sockets, and what it has been given.
struct Host {
    clock: Clock,
    driver: Driver,
    node: Box<TestNode>,
    content: Vec<u8>,
    sources: Vec<Source>,
    ended: Option<Result<u64, DownloadError>>,
    moved: Option<Vec<u8>>,
}

fn local(address: impl Into<IpAddr>) -> Local {
    let address = address.into();
    let (prefix, interface) = if address.is_ipv4() { (8, 1) } else { (64, 77) };
    Local { subnet: Subnet { address, prefix }, interface }
}

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, last)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

impl Host {
    fn new(address: impl Into<IpAddr>, seed: u8) -> Self {
        Self::with_info(address, seed, InfoVersion::V1)
    }

    fn with_info(address: impl Into<IpAddr>, seed: u8, content_information: InfoVersion) -> Self {
        let addresses = vec![local(address)];
        let options = Options { addresses, serve: true, port: 0, connections: 24, per_client: 24 };
        Self::with_options(&options, seed, content_information)
    }

    fn with_options(options: &Options, seed: u8, content_information: InfoVersion) -> Self {
        let driver = Driver::new(options).unwrap();
        let store = RamStore::new(
            vec![Page::EMPTY; BLOCKS * BLOCK_PAGES],
            vec![Entry::EMPTY; BLOCKS],
            vec![0; 64 * 1024],
        );
        let config = Config { port: driver.port(), content_information, ..Config::default() };
        let mut node = Box::new(TestNode::new(config, store, SoftCrypto, ChaCha20Rng::from_seed([seed; 32])));
        node.set_addresses(&[options.addresses[0].subnet]);
        let (content, sources) = (Vec::new(), Vec::new());
        Self { clock: Clock::new(), driver, node, content, sources, ended: None, moved: None }
    }

    fn download(&mut self, origin: SocketAddr) -> DownloadId {
        self.download_range(origin, 0..u64::MAX)
    }

    fn download_range(&mut self, origin: SocketAddr, range: Range<u64>) -> DownloadId {
        let host = origin.to_string().as_str().try_into().unwrap();
        let url = Url { origin, host, path: "/content".try_into().unwrap() };
        (self.content, self.sources, self.ended) = (Vec::new(), Vec::new(), None);
        self.node.download_range(self.clock.now(), url, range).unwrap()
    }

    /// Does what can be done, and waits for a millisecond.
    fn step(&mut self) {
        let Self { clock, driver, node, content, sources, ended, moved } = self;
        driver.poll(clock.now(), node, &mut |output| match output {
            Output::Data { offset, data, .. } => {
                let end = offset as usize + data.len();
                content.resize(content.len().max(end), 0);
                content[offset as usize..end].copy_from_slice(data);
            }
            Output::Moved { location, .. } => *moved = Some(location.to_vec()),
            Output::Download { event: DownloadEvent::Block { source, .. }, .. } => sources.push(source),
            Output::Download { event: DownloadEvent::Done { len }, .. } => *ended = Some(Ok(len)),
            Output::Download { event: DownloadEvent::Failed(error), .. } => *ended = Some(Err(error)),
            _ => {}
        });
        driver.wait(Some(Duration::from_millis(1))).unwrap();
    }
}

/// Lets all act until it is so.
fn until(hosts: &mut [&mut Host], done: impl Fn(&[&mut Host]) -> bool) {
    let begun = std::time::Instant::now();
    while !done(hosts) {
        hosts.iter_mut().for_each(|host| host.step());
        assert!(begun.elapsed() < LONG, "it hangs");
    }
}

fn share(addresses: [IpAddr; 3]) {
    let content = content(1_000_000);
    let site = Site::open(addresses[0], Origin::new(content.clone()), Duration::ZERO);
    let (mut first, mut second) = (Host::new(addresses[1], 1), Host::new(addresses[2], 2));
    first.download(site.address);
    until(&mut [&mut first, &mut second], |hosts| hosts[0].ended.is_some());
    assert_eq!(first.ended, Some(Ok(1_000_000)));
    assert!(first.content == content && first.sources.iter().all(|source| *source == Source::Origin));
    let before = site.origin().body_bytes;

    second.download(site.address);
    until(&mut [&mut first, &mut second], |hosts| hosts[1].ended.is_some());
    assert_eq!(second.ended, Some(Ok(1_000_000)));
    assert!(second.content == content);
    let peer = SocketAddr::new(addresses[1], first.driver.port());
    assert_eq!(second.sources, [Source::Peer(peer); 16]);
    assert_eq!(site.origin().body_bytes, before, "the origin gave no more than content information");
    assert!(first.driver.counters().sent > 1_000_000 && first.driver.counters().accepted > 0);
}

#[test]
fn what_one_has_the_other_gets_from_it() {
    share([1, 2, 3].map(|last| loopback(last).into()));
}

/// Loopback has no route for the groups of IPv6: this test runs itself in a network of its own.
#[cfg(target_os = "linux")]
#[test]
fn over_ipv6_too() {
    const INSIDE: &str = "PEERDIST_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return share([1, 2, 3].map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])));
    }
    let network = "ip link set dev lo up && \
        ip link add name one index 77 type veth peer name two && \
        ip link set dev one up && ip link set dev two up && \
        for last in 1 2 3; do ip addr add fd00::$last/64 dev one nodad || exit; done";
    let unshared = |command: &str| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "sh", "-c", command, "sh"]);
        unshare
    };
    if !unshared(network).output().is_ok_and(|output| output.status.success()) {
        eprintln!("no network namespace can be made here (unshare, ip): not tested over IPv6");
        return;
    }
    let inside = format!("{network} && exec \"$1\" --exact over_ipv6_too");
    let program = std::env::current_exe().unwrap();
    assert!(unshared(&inside).arg(program).env(INSIDE, "1").status().unwrap().success());
}

#[test]
fn an_origin_without_the_coding_and_one_that_is_not_there() {
    let mut origin = Origin::new(content(300_000));
    origin.info.clear();
    origin.manner = Manner { closes: true, ..Manner::default() };
    let site = Site::open(loopback(10).into(), origin, Duration::ZERO);
    let mut host = Host::new(loopback(11), 3);
    host.download(site.address);
    until(&mut [&mut host], |hosts| hosts[0].ended.is_some());
    assert_eq!((host.ended, host.content == content(300_000)), (Some(Ok(300_000)), true));

    // Nobody listens on a port that was just given up.
    let gone = TcpListener::bind((loopback(10), 0)).unwrap().local_addr().unwrap();
    let download = host.download(gone);
    let mut trouble = None;
    let begun = std::time::Instant::now();
    while trouble.is_none() && begun.elapsed() < LONG {
        host.step();
        trouble = host.driver.origins().take_trouble(download);
    }
    let trouble = trouble.expect("a refusal is told at once");
    assert_eq!((trouble.connected, trouble.error.kind()), (false, std::io::ErrorKind::ConnectionRefused));
}

/// Where a name has several addresses, one that refuses is no obstacle, of whatever family.
#[test]
fn an_origin_at_its_third_address() {
    let content = content(100_000);
    let site = Site::open(loopback(12).into(), Origin::new(content.clone()), Duration::ZERO);
    let gone = TcpListener::bind((loopback(13), 0)).unwrap().local_addr().unwrap();
    let mut host = Host::new(loopback(14), 8);
    let download = host.download(gone);
    let nowhere = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 80));
    host.driver.origins().reach(download, vec![gone, nowhere, site.address]);
    until(&mut [&mut host], |hosts| hosts[0].ended.is_some());
    assert_eq!((host.ended, host.content == content), (Some(Ok(100_000)), true));

    let download = host.download(gone);
    host.driver.origins().reach(download, vec![gone, nowhere]);
    let begun = std::time::Instant::now();
    let trouble = loop {
        host.step();
        if let Some(trouble) = host.driver.origins().take_trouble(download) {
            break trouble;
        }
        assert!(begun.elapsed() < LONG, "it hangs");
    };
    let text = trouble.error.to_string();
    assert!(!trouble.connected && text.contains(&gone.to_string()), "{text}");
    assert!(text.contains("[2001:db8::1]:80: "), "{text}");
}

/// A client that takes all it can get leaves room for the others.
#[test]
fn one_client_has_its_share() {
    let options = Options {
        addresses: vec![local(loopback(15))],
        serve: true,
        port: 0,
        connections: 16,
        per_client: 4,
    };
    let mut host = Host::with_options(&options, 9, InfoVersion::V1);
    let server = SocketAddr::from((loopback(15), host.driver.port()));
    let greedy: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(server).unwrap()).collect();
    until(&mut [&mut host], |hosts| {
        let counters = hosts[0].driver.counters();
        counters.accepted + counters.refused >= 10
    });
    assert_eq!((host.driver.counters().accepted, host.driver.counters().refused), (4, 6));

    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.bind(&SocketAddr::from((loopback(16), 0)).into()).unwrap();
    other.connect(&server.into()).unwrap();
    until(&mut [&mut host], |hosts| hosts[0].driver.counters().accepted > 4);
    drop(greedy);
    until(&mut [&mut host], |hosts| hosts[0].driver.connections() == 1);
}

/// What is only being closed gives way to who is let in, and not to who is refused.
#[test]
fn who_is_refused_takes_nobodys_place() {
    let options =
        Options { addresses: vec![local(loopback(17))], serve: true, port: 0, connections: 2, per_client: 2 };
    let mut host = Host::with_options(&options, 10, InfoVersion::V1);
    let server = SocketAddr::from((loopback(17), host.driver.port()));
    let mut client = TcpStream::connect(server).unwrap();
    // No such request, so it is answered and closed; the client does not close.
    client.write_all(b"GET / HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n").unwrap();
    client.set_nonblocking(true).unwrap();
    let mut reply = Vec::new();
    let begun = std::time::Instant::now();
    while client.read_to_end(&mut reply).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        host.step();
        assert!(begun.elapsed() < LONG, "it hangs");
    }
    assert_eq!(host.driver.connections(), 1, "it waits for the client's end");
    let second = TcpStream::connect(server).unwrap();
    until(&mut [&mut host], |hosts| hosts[0].driver.counters().accepted == 2);
    let third = TcpStream::connect(server).unwrap();
    until(&mut [&mut host], |hosts| hosts[0].driver.counters().refused == 1);
    assert_eq!(host.driver.connections(), 2, "the one that is being closed stays");
    drop((client, second, third));
}

#[test]
fn connections_beyond_the_bound_end() {
    let mut host = Host::new(loopback(20), 4);
    let server = SocketAddr::from((loopback(20), host.driver.port()));
    let mut clients: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(server).unwrap()).collect();
    until(&mut [&mut host], |hosts| {
        let counters = hosts[0].driver.counters();
        counters.accepted + counters.refused >= 40
    });
    let counters = host.driver.counters();
    assert!(counters.refused > 0 && host.driver.connections() <= 24, "{counters:?}");
    clients.clear();
    until(&mut [&mut host], |hosts| hosts[0].driver.connections() == 0);
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind((loopback(30), 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let options =
        Options { addresses: vec![local(loopback(30))], serve: true, port, connections: 1, per_client: 1 };
    let error = Driver::new(&options).err().unwrap();
    assert!(matches!(error, OpenError::Listen(address, _) if address.port() == port), "{error}");
}

#[test]
fn a_waker_wakes() {
    let options = Options { addresses: Vec::new(), serve: false, port: 0, connections: 1, per_client: 1 };
    let mut driver = Driver::new(&options).unwrap();
    let waker = driver.waker();
    let thread = std::thread::spawn(move || waker.wake());
    driver.wait(Some(LONG)).unwrap();
    thread.join().unwrap();
}

/// Content information 1.0, 2.0 and none: what was asked for is delivered, and not a byte more.
#[test]
fn ranges() {
    let content = content(700_000);
    let infos = [publish(&content), publish_v2(&content, Segmentation::ContentDefined), Vec::new()];
    for (info, asked, given) in [
        (0, 0..1, 0..1),
        (0, 65_535..65_537, 65_535..65_537),
        (0, 600_000..9_000_000, 600_000..700_000),
        (1, 123_456..345_678, 123_456..345_678),
        (1, 699_999..u64::MAX, 699_999..700_000),
        (2, 123_456..345_678, 123_456..345_678),
        (2, 600_000..u64::MAX, 600_000..700_000),
        (2, 0..700_001, 0..700_000),
    ] {
        let mut origin = Origin::new(content.clone());
        origin.info = infos[info].clone();
        let site = Site::open(loopback(40).into(), origin, Duration::ZERO);
        let mut host = Host::with_info(loopback(41), 5, InfoVersion::V2);
        host.download_range(site.address, asked.clone());
        until(&mut [&mut host], |hosts| hosts[0].ended.is_some());
        assert_eq!(host.ended, Some(Ok(given.end - given.start)), "{info} {asked:?}");
        let (start, end) = (given.start as usize, given.end as usize);
        assert!(host.content[start..] == content[start..end], "{info} {asked:?}");
        assert!(host.content[..start].iter().all(|byte| *byte == 0), "{info} {asked:?}");
        // No more comes than the blocks of the range. Without any, the reply with all of it is cut off.
        let most = given.end - given.start + 2 * 131_072;
        assert!(info == 2 || site.origin().body_bytes <= most, "{info} {asked:?}");
    }
}

#[test]
fn ranges_behind_the_end() {
    for plain in [false, true] {
        let mut origin = Origin::new(content(1_000));
        if plain {
            origin.info.clear();
        }
        let site = Site::open(loopback(42).into(), origin, Duration::ZERO);
        let mut host = Host::new(loopback(43), 6);
        host.download_range(site.address, 1_000..2_000);
        until(&mut [&mut host], |hosts| hosts[0].ended.is_some());
        assert_eq!(host.ended, Some(Err(DownloadError::Origin(OriginFailure::Status(416)))));
    }
}

#[test]
fn an_origin_that_has_moved_says_where() {
    for (status, moved) in [(301, true), (302, true), (303, true), (307, true), (308, true), (300, false)] {
        let mut origin = Origin::new(content(1_000));
        origin.moved = Some((status, "//elsewhere/?a=b".into()));
        let site = Site::open(loopback(44).into(), origin, Duration::ZERO);
        let mut host = Host::new(loopback(45), 7);
        host.download(site.address);
        until(&mut [&mut host], |hosts| hosts[0].ended.is_some() || hosts[0].moved.is_some());
        let failed = Some(Err(DownloadError::Origin(OriginFailure::Status(status))));
        let there = Some(b"//elsewhere/?a=b".to_vec());
        assert_eq!((host.moved, host.ended), if moved { (there, None) } else { (None, failed) });
    }
}

/// Connections that are to be secured: their number and their time are bounded, and the node knows nothing of them
/// before they are.
#[cfg(feature = "tls")]
mod secured {
    use std::sync::Arc;

    use peerdist_core::time::{Duration, Instant};
    use peerdist_hal::std::rustls::crypto::ring::default_provider;
    use peerdist_hal::std::rustls::pki_types::PrivatePkcs8KeyDer;
    use peerdist_hal::std::rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    };

    use super::*;

    /// What both sides need to know of a certificate for that address.
    fn certified(address: Ipv4Addr) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let made = rcgen::generate_simple_self_signed([address.to_string()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server.unwrap()), Arc::new(client))
    }

    /// A connection from that address.
    fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.into()
    }

    impl Host {
        /// Lets it act at that time, until it is so.
        fn until_at(&mut self, now: Instant, done: impl Fn(&Driver) -> bool) {
            let begun = std::time::Instant::now();
            while !done(&self.driver) {
                self.driver.poll(now, &mut self.node, &mut |_| {});
                self.driver.wait(Some(std::time::Duration::from_millis(1))).unwrap();
                assert!(begun.elapsed() < LONG, "it hangs: {:?}", self.driver.counters());
            }
        }
    }

    #[test]
    fn who_only_connects() {
        let now = Instant::from_millis(1_000);
        let options = Options {
            addresses: vec![local(loopback(80))],
            serve: true,
            port: 0,
            connections: 16,
            per_client: 12,
        };
        let mut host = Host::with_options(&options, 11, InfoVersion::V1);
        let (server, client) = certified(loopback(80));
        let port = host.driver.listen_secured(0, server).unwrap();
        assert_ne!(port, host.driver.port());
        let to = SocketAddr::from((loopback(80), port));

        // Of 16 connections 8 may be secured at once: of more, the oldest go, of who has most.
        let modest = connect(loopback(82), to);
        host.until_at(now, |driver| driver.connections() == 1);
        let greedy: Vec<TcpStream> = (0..12).map(|_| connect(loopback(81), to)).collect();
        host.until_at(now, |driver| driver.counters().not_secured == 5);
        assert_eq!(host.driver.connections(), 8);
        let mut modest_is_there = modest.try_clone().unwrap();
        modest_is_there.set_nonblocking(true).unwrap();
        let kind = modest_is_there.read(&mut [0]).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::WouldBlock, "it was not first to go");
        assert_eq!((host.driver.counters().accepted, host.node.counters().refused), (0, 0));

        // Another one gets through, at once.
        let socket = connect(loopback(83), to);
        let session = ClientConnection::new(client, IpAddr::from(loopback(80)).into()).unwrap();
        let exchange = std::thread::spawn(move || {
            let mut stream = StreamOwned::new(session, socket);
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut reply = Vec::new();
            // An end that was not announced would be an error.
            stream.read_to_end(&mut reply).map(|_| reply)
        });
        host.until_at(now, |_| exchange.is_finished());
        let reply = exchange.join().unwrap().unwrap();
        assert!(reply.starts_with(b"HTTP/1.1 404 "), "{}", String::from_utf8_lossy(&reply));
        assert_eq!(host.driver.counters().accepted, 1);

        // The others have had their time.
        let before = host.driver.counters().not_secured;
        host.until_at(now + Duration::from_secs(9), |driver| driver.connections() <= 7);
        assert_eq!(host.driver.counters().not_secured, before);
        host.until_at(now + Duration::from_secs(10), |driver| driver.connections() == 0);
        assert_eq!(host.driver.counters().not_secured, before + 7);
        drop((modest, greedy));
    }
}
