//! Drives a node over a TAP device of Linux: Ethernet frames through smoltcp. So the very stack of
//! the firmware runs on a host, where one can watch it.
//!
//! [`Driver`] is used as [`crate::std::Driver`] is, and its node is served by a
//! [`crate::smoltcp::Driver`]. [`Tap`] is the device without a stack.

mod card;
mod device;

use core::net::IpAddr;
use core::time::Duration;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd as _;
use std::string::String;
use std::vec::Vec;

use ::smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use ::smoltcp::socket::{tcp, udp};
use ::smoltcp::wire::{EthernetAddress, IpCidr};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use peerdist_core::api::Application;
use peerdist_core::crypto::Crypto;
use peerdist_core::discovery::{GROUP_V4, GROUP_V6, Subnet};
use peerdist_core::node::{Node, Output, Service};
use peerdist_core::store::Storage;
use peerdist_core::time::Instant;
use rand_core::CryptoRng;

use self::card::Card;
pub use self::device::{Reader, Tap};
use crate::smoltcp::Driver as Inner;
use crate::std::origins::Layer;
use crate::std::{Counters, Origins, Waker};

/// Sockets for streams: connections, and those that listen for them.
const SOCKETS: usize = 128;

/// Bytes of a socket's buffer, each way: a block and its headers.
const SOCKET_BYTES: usize = 68 * 1024;

/// Datagrams that the socket for discovery holds, and their bytes.
const DATAGRAMS: usize = 64;
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Bytes that are taken from the node at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Addresses that the stack holds.
const MAX_ADDRESSES: usize = 2;

/// Bits of the part of a local port that is drawn, and where such ports begin (RFC 6335).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL_MASK: u64 = 0x3fff;

const WAKER: Token = Token(0);
const CARD: Token = Token(1);

/// What a driver is on the network.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the TAP device.
    pub name: String,
    /// The Ethernet address of the stack: not the device's own, which is the kernel's end.
    pub mac: [u8; 6],
    /// The addresses of the stack, two at most.
    pub addresses: Vec<Subnet>,
    /// Where packets go for other networks.
    pub gateway: Option<IpAddr>,
    /// Whether probes are heard and connections taken, and the TCP port for that; 0 has one chosen,
    /// for [`Driver::port`] to tell.
    pub serve: Option<u16>,
    /// Drawn at random: sequence numbers and local ports begin with it.
    pub seed: u64,
}

/// Why there is no driver.
#[derive(Debug)]
pub enum OpenError {
    /// There is no device of this name.
    Missing(String),
    /// A device of this name is there, but it is no TAP device.
    NotTap(String),
    /// Nobody has set it up.
    Down(String),
    /// Another process has it.
    Busy(String),
    /// It is another user's.
    NotOurs(String),
    /// It cannot be opened or used.
    Device(String, io::Error),
    /// More addresses than the stack holds, or more groups.
    Addresses,
}

/// A node's stack, on a TAP device.
pub struct Driver {
    poll: Poll,
    events: Events,
    waker: Waker,
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    inner: Inner<SOCKETS>,
    origins: Origins,
    /// The networks that the stack is on, and where it finds the others.
    subnets: Vec<Subnet>,
    gateway: Option<IpAddr>,
    port: u16,
    buffer: Vec<u8>,
}

impl Driver {
    /// Opens the device, and puts a stack on it.
    pub fn new(options: &Options) -> Result<Self, OpenError> {
        let mut card = Card::open(&options.name)?;
        let failed = |error| OpenError::Device(options.name.clone(), error);
        let poll = Poll::new().map_err(failed)?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(failed)?;
        let mut source = SourceFd(&card.as_raw_fd());
        poll.registry().register(&mut source, CARD, Interest::READABLE).map_err(failed)?;
        let mut config = Config::new(EthernetAddress(options.mac).into());
        config.random_seed = options.seed;
        let mut interface = Interface::new(config, &mut card, ::smoltcp::time::Instant::ZERO);
        if options.addresses.len() > MAX_ADDRESSES {
            return Err(OpenError::Addresses);
        }
        interface.update_ip_addrs(|addresses| {
            for subnet in &options.addresses {
                // As many as there is room for, as was checked above.
                let _ = addresses.push(IpCidr::new(subnet.address.into(), subnet.prefix));
            }
        });
        // A fresh table of routes has room.
        let _ = match options.gateway {
            Some(IpAddr::V4(gateway)) => interface.routes_mut().add_default_ipv4_route(gateway).map(drop),
            Some(IpAddr::V6(gateway)) => interface.routes_mut().add_default_ipv6_route(gateway).map(drop),
            None => Ok(()),
        };

        let mut sockets = SocketSet::new(Vec::new());
        let packets = || {
            udp::PacketBuffer::new(
                std::vec![udp::PacketMetadata::EMPTY; DATAGRAMS],
                std::vec![0; DATAGRAM_BYTES],
            )
        };
        let udp = sockets.add(udp::Socket::new(packets(), packets()));
        let buffer = || tcp::SocketBuffer::new(std::vec![0; SOCKET_BYTES]);
        let tcp: [SocketHandle; SOCKETS] =
            core::array::from_fn(|_| sockets.add(tcp::Socket::new(buffer(), buffer())));
        // The second half of the draw: nobody can tell the one from the other.
        let local_port = FIRST_EPHEMERAL | (options.seed >> 32 & EPHEMERAL_MASK) as u16;
        let port = match options.serve {
            // Below all that connections of our own will use for a long time, or behind them.
            Some(0) => local_port.checked_sub(1).filter(|port| *port >= FIRST_EPHEMERAL).unwrap_or(u16::MAX),
            // On port 0 nobody listens.
            serve => serve.unwrap_or(0),
        };
        let inner = Inner::new(&mut interface, udp, tcp, port, local_port);
        let inner = inner.map_err(|_| OpenError::Addresses)?;
        if options.serve.is_none() {
            // Who is not a member hears no probes. Of the family without an address it never was one.
            for group in [GROUP_V4, GROUP_V6] {
                let _ = interface.leave_multicast_group(group.ip());
            }
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(2),
            waker: Waker::new(waker),
            card,
            interface,
            sockets,
            inner,
            origins: Origins::default(),
            subnets: options.addresses.clone(),
            gateway: options.gateway,
            port,
            buffer: std::vec![0; BUFFER_BYTES],
        })
    }

    /// The port that it listens on, if it does.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What other threads wake it by.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What happened so far. Bytes are those of all frames here, and how many connections were taken
    /// or refused is not known.
    pub fn counters(&self) -> Counters {
        let (received, sent) = self.card.bytes();
        let dropped = u64::from(self.inner.dropped_datagrams);
        Counters { dropped_datagrams: dropped, received, sent, ..Counters::default() }
    }

    /// How many connections there are, those that are being closed among them.
    pub fn connections(&self) -> usize {
        let idle = |state| matches!(state, tcp::State::Closed | tcp::State::Listen);
        let sockets = self.sockets.iter().filter_map(|(_, socket)| match socket {
            ::smoltcp::socket::Socket::Tcp(socket) => Some(socket.state()),
            ::smoltcp::socket::Socket::Udp(_) => None,
        });
        sockets.filter(|state| !idle(*state)).count()
    }

    /// Whether the stack has a way to that address: one on its own networks, or through its router.
    pub fn has_way_to(&self, address: IpAddr) -> bool {
        let near = self.subnets.iter().any(|subnet| subnet.contains(address));
        near || self.gateway.is_some_and(|gateway| gateway.is_ipv4() == address.is_ipv4())
    }

    /// The origins of downloads: where they are, what secures the way, and what went wrong with it.
    pub fn origins(&mut self) -> &mut Origins {
        &mut self.origins
    }

    /// Moves everything that can be moved at `now` between the network and the node, as
    /// [`crate::std::Driver::poll`] does.
    pub fn poll<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>(
        &mut self,
        now: Instant,
        node: &mut Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>,
        application: &mut dyn FnMut(Output<'_>),
    ) -> Option<Instant>
    where
        S: Storage,
        C: Crypto,
        R: CryptoRng,
        P: Service,
        A: Application,
    {
        let Self { interface, card, sockets, buffer, inner, origins, .. } = self;
        inner.drive(now, interface, card, sockets, &mut Layer { node, origins }, buffer, application)
    }

    /// Sleeps until a frame comes, the waker wakes, or `timeout` is over; without one, for as long
    /// as it takes. Fails if the device is gone.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.card.check()?;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(
                f,
                "{name}: there is no such device; `ip tuntap add dev {name} mode tap user $USER` makes it, \
                 and `ip link set {name} up`"
            ),
            Self::NotTap(name) => write!(f, "{name} is no TAP device"),
            Self::Down(name) => write!(f, "{name} is down: `ip link set {name} up`"),
            Self::Busy(name) => write!(f, "{name}: another process has it"),
            Self::NotOurs(name) => write!(
                f,
                "{name} is not this user's; `ip tuntap add dev {name} mode tap user $USER` makes one that is"
            ),
            Self::Device(name, error) => write!(f, "{name}: {error}"),
            Self::Addresses => write!(f, "more than {MAX_ADDRESSES} addresses"),
        }
    }
}

impl core::error::Error for OpenError {}
