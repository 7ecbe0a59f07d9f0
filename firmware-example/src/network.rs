//! Our address, by DHCP or else the one that is set, and the addresses of others by their names.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use cortex_m::singleton;
use peerdist_core::discovery::{GROUP_V4, Subnet};
use peerdist_core::time::{Duration, Instant};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::{dhcpv4, dns};
use smoltcp::wire::{DnsQueryType, IpAddress, IpCidr};

use crate::config::{Config, Static};
use crate::log::log;

/// Sockets that it takes.
pub const SOCKETS: usize = 2;

/// Names that are asked for at once.
const QUERIES: usize = 1;

/// How long a server is waited for before the address that is set is taken. It goes on being looked
/// for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where discovery is heard.
const GROUP: IpAddress = match GROUP_V4.ip() {
    IpAddr::V4(group) => IpAddress::Ipv4(group),
    IpAddr::V6(_) => panic!("it is a group of IPv4"),
};

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// Nobody is there to be asked.
    NoServer,
    /// It is none that can be asked for.
    Name,
    /// There is none, or nobody answered.
    NotFound,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoServer => "there is no name server",
            Self::Name => "no name server can be asked for this name",
            Self::NotFound => "the name has no address",
        })
    }
}

/// What the appliance knows of its network.
pub struct Network {
    dhcp: SocketHandle,
    dns: SocketHandle,
    fallback: &'static Static,
    /// When the address that is set is taken; `None` if it has been, or another.
    fallback_at: Option<Instant>,
    subnet: Option<Subnet>,
    has_dns: bool,
    query: Option<dns::QueryHandle>,
    /// The group of discovery has been left, to be joined again.
    rejoin: bool,
}

impl Network {
    /// Adds its sockets; `None` the second time.
    pub fn new(config: &'static Config, now: Instant, sockets: &mut SocketSet<'static>) -> Option<Self> {
        let queries = singleton!(: [Option<dns::DnsQuery>; QUERIES] = [const { None }; QUERIES])?;
        let dhcp = sockets.add(dhcpv4::Socket::new());
        let dns = sockets.add(dns::Socket::new(&[], &mut queries[..]));
        let fallback_at = Some(now + PATIENCE);
        let fallback = &config.fallback;
        let (subnet, query) = (None, None);
        Some(Self { dhcp, dns, fallback, fallback_at, subnet, has_dns: false, query, rejoin: false })
    }

    /// Our address and its network, once there is one.
    pub fn subnet(&self) -> Option<Subnet> {
        self.subnet
    }

    /// Takes what DHCP has to say, or the fallback; whether the stack has something to do for it.
    pub fn poll(&mut self, now: Instant, interface: &mut Interface, sockets: &mut SocketSet<'_>) -> bool {
        if core::mem::take(&mut self.rejoin) {
            // There is the room that it had before.
            let _ = interface.join_multicast_group(GROUP);
            return true;
        }
        let event = sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll();
        let taken = match event {
            Some(dhcpv4::Event::Configured(lease)) => {
                let server = lease.dns_servers.first().copied();
                log!("{} by DHCP from {}", lease.address, lease.server.address);
                Static { address: lease.address, router: lease.router, dns: server }
            }
            // The lease is over, or nobody gave one.
            Some(dhcpv4::Event::Deconfigured) if self.subnet.is_some() => {
                log!("DHCP has ended: {} as set", self.fallback.address);
                *self.fallback
            }
            _ if self.fallback_at.is_some_and(|at| at <= now) => {
                log!("no DHCP: {} as set", self.fallback.address);
                *self.fallback
            }
            _ => return false,
        };
        self.fallback_at = None;
        self.take(&taken, interface, sockets);
        true
    }

    /// When the fallback is taken, if nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fallback_at
    }

    fn take(&mut self, taken: &Static, interface: &mut Interface, sockets: &mut SocketSet<'_>) {
        let Static { address, router, dns: server } = *taken;
        self.subnet = Some(Subnet { address: IpAddr::V4(address.address()), prefix: address.prefix_len() });
        // With one address and one route, there is room.
        interface.update_ip_addrs(|addresses| {
            addresses.clear();
            let _ = addresses.push(IpCidr::Ipv4(address));
        });
        interface.routes_mut().remove_default_ipv4_route();
        if let Some(router) = router {
            let _ = interface.routes_mut().add_default_ipv4_route(router);
        }
        // Whoever joined without an address, or with another, has told nobody of this one. It takes a
        // turn of the stack to leave.
        let _ = interface.leave_multicast_group(GROUP);
        self.rejoin = true;
        self.has_dns = server.is_some();
        let servers = server.map(IpAddress::Ipv4);
        sockets.get_mut::<dns::Socket<'_>>(self.dns).update_servers(servers.as_slice());
    }

    /// The address of `name`; `None` until it is known. To be called with one name until then.
    pub fn resolve(
        &mut self,
        name: &str,
        interface: &mut Interface,
        sockets: &mut SocketSet<'_>,
    ) -> Option<Result<Ipv4Addr, ResolveError>> {
        let socket = sockets.get_mut::<dns::Socket<'_>>(self.dns);
        let Some(query) = self.query else {
            if !self.has_dns {
                return Some(Err(ResolveError::NoServer));
            }
            // There is a place, since there is no other query.
            self.query = socket.start_query(interface.context(), name, DnsQueryType::A).ok();
            return if self.query.is_some() { None } else { Some(Err(ResolveError::Name)) };
        };
        let result = match socket.get_query_result(query) {
            Err(dns::GetQueryResultError::Pending) => return None,
            Err(dns::GetQueryResultError::Failed) => Err(ResolveError::NotFound),
            // Asked for with type A, so it is one of version 4, the only one of this stack.
            Ok(addresses) => {
                addresses.first().map_or(Err(ResolveError::NotFound), |IpAddress::Ipv4(it)| Ok(*it))
            }
        };
        self.query = None;
        Some(result)
    }
}
