//! Two nodes on a cable that know each other by link-local addresses alone.

mod cable;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use peerdist_core::api::client::{Added, ContentHandle, ReadResult};
use peerdist_core::content::publish::v1::Publisher;
use peerdist_core::content::server_secret;
use peerdist_core::content::v1::info_len;
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
use peerdist_core::discovery::Subnet;
use peerdist_core::fetch::Source;
use peerdist_core::node::{Config, Node};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::smoltcp::{Driver, MIN_BUFFER};
use rand_core::{TryCryptoRng, TryRng};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, IpCidr};

use cable::{Card, Queue};

const SOCKETS: usize = 4;

/// A block of this many bytes, and its content information.
const LEN: usize = 20_000;

type Peer = Node<RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>, SoftCrypto, Counter, 6, 2>;

/// A node on its side of the cable.
struct Host {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    driver: Driver<SOCKETS>,
    node: Box<Peer>,
}

#[test]
fn a_block_is_found_and_fetched_over_link_local_addresses() {
    let content: Vec<u8> = (0..LEN).map(|at| (at / 7) as u8).collect();
    let info = describe(&content);
    let (there, back) = (Queue::default(), Queue::default());
    let mut hosts = [Host::new(1, &back, &there), Host::new(2, &there, &back)];
    let mut now = Instant::from_millis(1);
    let contents = hosts.each_mut().map(|host| host.open(&info));
    run(&mut hosts, &mut now, Duration::from_millis(50));
    let [server, client] = &mut hosts;
    let (used, added) = server.node.add_data(contents[0], 0, &content).unwrap();
    assert_eq!((used, added), (LEN, Added::Committed));

    let timeout = Duration::from_secs(5);
    let read = client.node.block_read(now, contents[1], 0, LEN as u64, timeout).unwrap();
    run(&mut hosts, &mut now, Duration::from_secs(2));
    let [server, client] = &mut hosts;
    let completion = client.node.poll_completion().expect("the read has ended");
    let peer = SocketAddr::new(link_local(1).into(), Config::default().port);
    assert_eq!(completion.read, read);
    let ReadResult::Data { range, source } = completion.result else { panic!("{completion:?}") };
    assert_eq!((range, source), (0..LEN as u64, Source::Peer(peer)));
    let mut copied = vec![0; LEN];
    assert_eq!(client.node.copy_read(read, 0, &mut copied), Ok(LEN));
    assert_eq!(copied, content);
    let (asked, answered) = (client.node.counters(), server.node.counters());
    assert!(asked.probe.answers >= 1 && asked.probe.not_local == 0);
    assert!(answered.answer.probes >= 1 && answered.answer.sent >= 1);
    assert_eq!(answered.serve.blocks, 1);
}

/// Both sides act, a millisecond apart, for so long.
fn run(hosts: &mut [Host; 2], now: &mut Instant, duration: Duration) {
    let end = *now + duration;
    while *now < end {
        hosts.iter_mut().for_each(|host| host.poll(*now));
        *now += Duration::from_millis(1);
    }
}

impl Host {
    fn new(last: u16, incoming: &Queue, outgoing: &Queue) -> Self {
        let mut card = Card::new(incoming, outgoing);
        let hardware = EthernetAddress([2, 0, 0, 0, 0, last as u8]);
        let config = smoltcp::iface::Config::new(hardware.into());
        let mut interface = Interface::new(config, &mut card, smoltcp::time::Instant::ZERO);
        let ours = IpAddr::from(link_local(last));
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(ours.into(), 64)).unwrap());
        let mut sockets = SocketSet::new(Vec::new());
        let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4_096]);
        let udp = sockets.add(udp::Socket::new(packets(), packets()));
        let buffer = || tcp::SocketBuffer::new(vec![0; 4_096]);
        let tcp: [SocketHandle; SOCKETS] =
            std::array::from_fn(|_| sockets.add(tcp::Socket::new(buffer(), buffer())));

        let config = Config { reserved_streams: 1, ..Config::default() };
        let driver = Driver::new(&mut interface, udp, tcp, config.port, 50_000).unwrap();
        let pages = std::iter::repeat_with(|| Page::EMPTY).take(BLOCK_PAGES).collect();
        let store = RamStore::new(pages, vec![Entry::EMPTY], vec![0; 4_096]);
        let mut node = Box::new(Node::new(config, store, SoftCrypto, Counter(u64::from(last) << 32)));
        node.set_addresses(&[Subnet { address: ours, prefix: 64 }]);
        Self { card, interface, sockets, driver, node }
    }

    fn open(&mut self, info: &[u8]) -> ContentHandle {
        let content = self.node.open_content([0; 16]).unwrap();
        self.node.add_content_information(content, info).unwrap();
        self.node.complete_content_information(content).unwrap();
        content
    }

    fn poll(&mut self, now: Instant) {
        let Self { card, interface, sockets, driver, node } = self;
        driver.poll(now, interface, card, sockets, node, &mut [0; MIN_BUFFER], &mut |_| {});
    }
}

fn link_local(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

fn describe(content: &[u8]) -> Vec<u8> {
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, b"secret");
    let mut publisher = Publisher::new(HashAlgorithm::Sha256, ks, content.len() as u64).unwrap();
    let mut info = vec![0; info_len(HashAlgorithm::Sha256, content.len() as u64).unwrap() as usize];
    publisher.update(&mut SoftCrypto, content, &mut &mut info[..]).unwrap();
    publisher.finish(&mut &mut info[..]).unwrap();
    info
}

/// Counts: enough for ids that have to differ.
struct Counter(u64);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 += 0x9e37;
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}
