//! Real TCP stacks over the simulated LAN: what one sends arrives, and a seed repeats a run.

use peerdist_core::time::{Duration, Instant};
use peerdist_sim::link::{LinkConfig, Probability};
use peerdist_sim::rng::Seed;
use peerdist_sim::stack::Card;
use peerdist_sim::switch::PortId;
use peerdist_sim::world::{Frame, Host, Observer, Outcome, Point, World};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address};

const WINDOW: usize = 64 * 1024;
const GROUP: Ipv4Address = Ipv4Address::new(239, 255, 255, 250);
const GIGABIT: LinkConfig = LinkConfig::new(1_000_000_000, Duration::from_micros(50));

#[test]
fn tcp_data_arrives_over_lossy_links_and_a_seed_repeats_it() {
    let run = |seed, percent| transfer(seed, 1, 300_000, percent);
    let first = run(7, 2.0);
    assert_eq!(first, run(7, 2.0));
    assert_ne!(first.0, run(8, 2.0).0);
    assert_ne!(first.0, run(7, 0.0).0);
    assert!(run(7, 0.0).1 < first.1, "losses cost time");
}

#[test]
fn pairs_share_a_switch() {
    transfer(1, 20, 100_000, 0.0);
}

#[test]
fn a_multicast_reaches_its_members_and_not_the_slow_line() {
    let mut world = World::with_observer(Seed::new(1), Probes::default());
    let lossy = LinkConfig { loss: Probability::from_percent(30.0).unwrap(), ..GIGABIT };
    let members: Vec<PortId> = (1..=2)
        .map(|n| {
            let mut host = Stack::new(n);
            host.join();
            world.attach(host, lossy, lossy)
        })
        .collect();
    let origin = world.attach(Stack::new(3), GIGABIT, GIGABIT);
    // Reports may be lost, but the switch asks again.
    world.run_until(Instant::from_millis(200_000), |_| false);
    for _ in 0..20 {
        world.host_mut(members[0]).probe();
        let until = world.now() + Duration::from_millis(10);
        world.run_until(until, |_| false);
        // The world is stuck between probes.
        world.skip_to(until);
    }
    assert!(world.host(members[1]).heard > 0);
    assert_eq!(world.host(origin).heard, 0);
    assert!(world.into_observer().seen.iter().all(|&port| port == members[1]));
}

/// `pairs` senders send `bytes` each: the trace, the virtual time, and how many frames arrived.
fn transfer(seed: u64, pairs: usize, bytes: usize, percent: f64) -> ([u8; 32], Instant, u64) {
    let cable = LinkConfig { loss: Probability::from_percent(percent).unwrap(), ..GIGABIT };
    let mut world = World::with_observer(Seed::new(seed), Received::default());
    let receivers: Vec<PortId> = (0..pairs as u8)
        .map(|n| {
            let (mut sender, mut receiver) = (Stack::new(2 * n + 1), Stack::new(2 * n + 2));
            receiver.listen();
            sender.connect(2 * n + 2, bytes);
            world.attach(sender, cable, cable);
            world.attach(receiver, cable, cable)
        })
        .collect();
    let done =
        |world: &World<Stack, Received>| receivers.iter().all(|&port| world.host(port).received == bytes);
    assert_eq!(world.run_until(Instant::from_millis(3_600_000), done), Outcome::Done);
    (world.trace_sha256(), world.now(), world.into_observer().0)
}

#[derive(Default)]
struct Received(u64);

impl Observer for Received {
    fn observe(&mut self, _now: Instant, _port: PortId, point: Point, _frame: &[u8]) {
        self.0 += u64::from(point == Point::Received);
    }
}

/// Ports to which the switch sent a probe.
#[derive(Default)]
struct Probes {
    seen: Vec<PortId>,
}

impl Observer for Probes {
    fn observe(&mut self, _now: Instant, port: PortId, point: Point, frame: &[u8]) {
        if point == Point::Forwarded && frame.ends_with(b"a probe") {
            self.seen.push(port);
        }
    }
}

/// A smoltcp stack that sends zeroes counted up over TCP, and counts what it receives.
struct Stack {
    interface: Interface,
    device: Card,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
    udp: SocketHandle,
    to_send: usize,
    received: usize,
    heard: usize,
    probes: usize,
}

impl Stack {
    fn new(number: u8) -> Self {
        let mut device = Card::default();
        let mut config = Config::new(EthernetAddress([2, 0, 0, 0, 0, number]).into());
        config.random_seed = u64::from(number);
        let mut interface = Interface::new(config, &mut device, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::v4(10, 0, 0, number), 16);
            addresses.push(address).expect("a fresh interface has room");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
        let tcp = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 32], vec![0; 4096]);
        let mut socket = udp::Socket::new(packets(), packets());
        socket.bind(3702).expect("a port that is not zero");
        let udp = sockets.add(socket);
        Self { interface, device, sockets, tcp, udp, to_send: 0, received: 0, heard: 0, probes: 0 }
    }

    fn listen(&mut self) {
        self.sockets.get_mut::<tcp::Socket<'_>>(self.tcp).listen(80).expect("a closed socket");
    }

    fn connect(&mut self, to: u8, bytes: usize) {
        self.to_send = bytes;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.tcp);
        let remote = (IpAddress::v4(10, 0, 0, to), 80);
        socket.connect(self.interface.context(), remote, 50_000).expect("a closed socket");
    }

    fn join(&mut self) {
        self.interface.join_multicast_group(GROUP).expect("room for a group");
    }

    fn probe(&mut self) {
        self.probes += 1;
    }

    fn work(&mut self) {
        let udp = self.sockets.get_mut::<udp::Socket<'_>>(self.udp);
        while udp.recv().is_ok() {
            self.heard += 1;
        }
        for _ in 0..std::mem::take(&mut self.probes) {
            udp.send_slice(b"a probe", (IpAddress::Ipv4(GROUP), 3702)).expect("room for a probe");
        }
        let tcp = self.sockets.get_mut::<tcp::Socket<'_>>(self.tcp);
        while tcp.can_recv() {
            self.received += tcp.recv(|bytes| (bytes.len(), bytes.len())).expect("it can receive");
        }
        while self.to_send > 0 && tcp.can_send() {
            let wanted = self.to_send;
            self.to_send -= tcp
                .send(|room| {
                    let length = room.len().min(wanted);
                    (length, length)
                })
                .expect("it can send");
        }
    }
}

impl Host for Stack {
    fn receive(&mut self, _now: Instant, frame: Frame) {
        self.device.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        let now = smoltcp::time::Instant::from_micros(now.micros() as i64);
        self.work();
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        self.work();
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        self.device.outgoing.drain(..).for_each(send);
        let next = self.interface.poll_at(now, &self.sockets)?;
        Some(Instant::from_micros(next.total_micros().max(0) as u64))
    }
}
