//! The sockets of one address: opened, and read from.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use peerdist_core::discovery::{GROUP_V4, GROUP_V6, PORT as DISCOVERY_PORT};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Local, OpenError};

/// Connections that wait to be taken: those of a whole office that comes to work.
const BACKLOG: i32 = 1_024;

/// Datagrams to the group that are remembered: all that can be on their way back to us.
const ECHOES: usize = 64;

/// What we sent to the group, and may hear.
#[derive(Default)]
pub(super) struct Echoes {
    hasher: RandomState,
    sent: VecDeque<u64>,
}

/// The sockets of one address.
pub(super) struct Way {
    pub(super) local: Local,
    /// Sends everything, and hears what is meant for the address.
    own: Udp,
    /// Hears what is meant for the group.
    group: Option<Udp>,
    listener: Option<Listener>,
    /// Where connections are secured first.
    #[cfg(feature = "tls")]
    secured: Option<Listener>,
}

struct Udp {
    socket: UdpSocket,
    readable: bool,
}

struct Listener {
    socket: TcpListener,
    readable: bool,
}

impl Way {
    /// Opens the sockets of an address, whose tokens begin at `first`: with a group and a listener
    /// where there is a port.
    pub(super) fn open(
        local: &Local,
        port: Option<u16>,
        registry: &Registry,
        first: usize,
    ) -> Result<Self, OpenError> {
        let at = |port| scoped(SocketAddr::new(local.subnet.address, port), local.interface);
        let address = at(DISCOVERY_PORT);
        let discovery = |error| OpenError::Discovery(address, error);
        let own = udp(address).map_err(discovery)?;
        let join = |error| OpenError::Join(local.subnet.address, error);
        route_multicast(&own, local).map_err(join)?;
        let mut group = None;
        if port.is_some() {
            // Only where a socket can be bound to the group does it hear nothing else.
            if cfg!(unix) {
                let heard = if address.is_ipv4() { GROUP_V4 } else { GROUP_V6 };
                let socket = udp(scoped(heard, local.interface)).map_err(join)?;
                join_group(&socket, local).map_err(join)?;
                group = Some(Udp::register(socket, registry, first.saturating_add(1)).map_err(join)?);
            } else {
                join_group(&own, local).map_err(join)?;
            }
        }
        let listener = port.map(|port| {
            let listener = Listener::open(at(port), registry, first.saturating_add(2));
            listener.map_err(|error| OpenError::Listen(at(port), error))
        });
        let own = Udp::register(own, registry, first).map_err(discovery)?;
        Ok(Self {
            local: *local,
            own,
            group,
            listener: listener.transpose()?,
            #[cfg(feature = "tls")]
            secured: None,
        })
    }

    /// Listens for connections that are secured, too; the port.
    #[cfg(feature = "tls")]
    pub(super) fn listen_secured(
        &mut self,
        port: u16,
        registry: &Registry,
        first: usize,
    ) -> Result<u16, OpenError> {
        let address = scoped(SocketAddr::new(self.local.subnet.address, port), self.local.interface);
        let listen = |error| OpenError::Listen(address, error);
        // What was opened before gives its port free.
        self.secured = None;
        let listener = Listener::open(address, registry, first.saturating_add(3)).map_err(listen)?;
        let port = listener.socket.local_addr().map_err(listen)?.port();
        self.secured = Some(listener);
        Ok(port)
    }

    /// The port of the listener.
    pub(super) fn port(&self) -> Option<u16> {
        let address = self.listener.as_ref()?.socket.local_addr().ok()?;
        Some(address.port())
    }

    /// One of its sockets has something, by the order of their tokens.
    pub(super) fn ready(&mut self, socket: usize) {
        match (socket, &mut self.group, &mut self.listener) {
            (0, ..) => self.own.readable = true,
            #[cfg(feature = "tls")]
            (3, ..) => self.secured.iter_mut().for_each(|listener| listener.readable = true),
            (1, Some(group), _) => group.readable = true,
            (2, _, Some(listener)) => listener.readable = true,
            _ => {}
        }
    }

    /// The next datagram: how long it is and from whom.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let own = self.own.receive(buffer);
        own.or_else(|| self.group.as_mut()?.receive(buffer))
    }

    /// Sends a datagram; whether it went out.
    pub(super) fn send(&self, data: &[u8], to: SocketAddr) -> bool {
        self.own.socket.send_to(data, to).is_ok()
    }

    /// The next connection. An error means that there is no room in the system's tables.
    pub(super) fn accept(&mut self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        self.listener.as_mut()?.accept()
    }

    /// The next of those that are to be secured.
    #[cfg(feature = "tls")]
    pub(super) fn accept_secured(&mut self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        self.secured.as_mut()?.accept()
    }

    /// The address with the number of our interface, where it takes one.
    pub(super) fn scoped(&self, address: SocketAddr) -> SocketAddr {
        scoped(address, self.local.interface)
    }
}

impl Udp {
    fn register(socket: Socket, registry: &Registry, token: usize) -> io::Result<Self> {
        let mut socket = UdpSocket::from_std(socket.into());
        registry.register(&mut socket, Token(token), Interest::READABLE)?;
        Ok(Self { socket, readable: true })
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        while self.readable {
            match self.socket.recv_from(buffer) {
                Ok(received) => return Some(received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                // What a host said to a datagram of ours: that nobody is there.
                Err(_) => {}
            }
        }
        None
    }
}

impl Listener {
    fn open(address: SocketAddr, registry: &Registry, token: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Or else, connections of the run before would keep the port for a minute. Elsewhere it would
        // let two programs listen on the same port.
        if cfg!(unix) {
            socket.set_reuse_address(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut socket = TcpListener::from_std(socket.into());
        registry.register(&mut socket, Token(token), Interest::READABLE)?;
        Ok(Self { socket, readable: true })
    }

    fn accept(&mut self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        while self.readable {
            match self.socket.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if is_shortage(&error) => return Some(Err(error)),
                // That one is gone again; there may be another behind it.
                Err(_) => {}
                Ok(accepted) => return Some(Ok(accepted)),
            }
        }
        None
    }
}

impl Echoes {
    /// This goes to the group.
    pub(super) fn sent(&mut self, data: &[u8]) {
        if self.sent.len() >= ECHOES {
            self.sent.pop_front();
        }
        self.sent.push_back(self.hasher.hash_one(data));
    }

    /// Whether this is what we sent. Every message has an id of its own, so nobody else sends it.
    pub(super) fn heard(&self, data: &[u8]) -> bool {
        !self.sent.is_empty() && self.sent.contains(&self.hasher.hash_one(data))
    }
}

/// Whether it failed for want of memory or files, which may pass.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    // EMFILE, ENFILE and ENOBUFS on Linux; of all others, the kind has to tell.
    let files = cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24 | 105));
    files || matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::AddrNotAvailable)
}

/// A socket for datagrams, at an address that other sockets may have too.
fn udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What goes to the group leaves by the interface of `local`, with a TTL of 1 (fact 29), and reaches other
/// programs on this machine.
fn route_multicast(socket: &Socket, local: &Local) -> io::Result<()> {
    match local.subnet.address {
        IpAddr::V4(address) => {
            socket.set_multicast_if_v4(&address)?;
            socket.set_multicast_ttl_v4(1)?;
            socket.set_multicast_loop_v4(true)
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(local.interface)?;
            socket.set_multicast_hops_v6(1)?;
            socket.set_multicast_loop_v6(true)
        }
    }
}

fn join_group(socket: &Socket, local: &Local) -> io::Result<()> {
    match (local.subnet.address, GROUP_V4.ip(), GROUP_V6.ip()) {
        (IpAddr::V4(address), IpAddr::V4(group), _) => socket.join_multicast_v4(&group, &address),
        (IpAddr::V6(_), _, IpAddr::V6(group)) => socket.join_multicast_v6(&group, local.interface),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Link-local addresses of IPv6, and groups of that scope, mean nothing without an interface.
fn scoped(address: SocketAddr, interface: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() || v6.ip().is_multicast() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, interface).into()
        }
        other => other,
    }
}
