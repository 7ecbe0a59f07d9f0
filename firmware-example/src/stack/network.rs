//! DHCP and DNS of smoltcp.

use core::net::IpAddr;

use cortex_m::singleton;
use peerdist_core::discovery::GROUP_V4;
use peerdist_core::time::Instant;
use rand_core::CryptoRng;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::{dhcpv4, dns};
use smoltcp::wire::{DnsQueryType, IpAddress, IpCidr, Ipv4Cidr};

use crate::app::{App, Peer};
use crate::config::Place;
use crate::preload::Failure;
use crate::store::Shelf;

/// Sockets that it takes.
pub const SOCKETS: usize = 2;

/// Names that are asked for at once.
const QUERIES: usize = 1;

/// Where discovery is heard.
const GROUP: IpAddress = match GROUP_V4.ip() {
    IpAddr::V4(group) => IpAddress::Ipv4(group),
    IpAddr::V6(_) => panic!("it is a group of IPv4"),
};

/// The sockets, and what is under way.
pub struct Network {
    dhcp: SocketHandle,
    dns: SocketHandle,
    has_dns: bool,
    query: Option<dns::QueryHandle>,
    /// The group of discovery has been left, to be joined again.
    rejoin: bool,
}

impl Network {
    /// Adds its sockets; `None` the second time.
    pub fn new(sockets: &mut SocketSet<'static>) -> Option<Self> {
        let queries = singleton!(: [Option<dns::DnsQuery>; QUERIES] = [const { None }; QUERIES])?;
        let dhcp = sockets.add(dhcpv4::Socket::new());
        let dns = sockets.add(dns::Socket::new(&[], &mut queries[..]));
        Some(Self { dhcp, dns, has_dns: false, query: None, rejoin: false })
    }

    /// Looks for a server again.
    pub fn restart(&mut self, sockets: &mut SocketSet<'_>) {
        let socket = sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp);
        socket.reset();
        // That what it had is over is our doing, and no loss.
        let _ = socket.poll();
    }

    /// Passes on what DHCP and DNS have to say; whether the stack has something to do for it.
    #[inline(never)]
    pub fn poll<S: Shelf, R: CryptoRng>(
        &mut self,
        now: Instant,
        interface: &mut Interface,
        sockets: &mut SocketSet<'_>,
        node: &mut Peer<S, R>,
        app: &mut App,
    ) -> bool {
        if core::mem::take(&mut self.rejoin) {
            // There is the room that it had before.
            let _ = interface.join_multicast_group(GROUP);
            return true;
        }
        let lease = sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll().map(|event| match event {
            dhcpv4::Event::Configured(lease) => Some(Place {
                address: lease.address.address(),
                prefix: lease.address.prefix_len(),
                router: lease.router,
                dns: lease.dns_servers.first().copied(),
            }),
            dhcpv4::Event::Deconfigured => None,
        });
        if let Some(lease) = lease {
            app.handle_lease(now, lease);
        }
        let Some(query) = self.query else { return lease.is_some() };
        let address = match sockets.get_mut::<dns::Socket<'_>>(self.dns).get_query_result(query) {
            Err(dns::GetQueryResultError::Pending) => return lease.is_some(),
            Err(dns::GetQueryResultError::Failed) => Err(Failure::NotFound),
            // Asked for with type A, so it is one of version 4, the only one of this stack.
            Ok(addresses) => addresses.first().map_or(Err(Failure::NotFound), |IpAddress::Ipv4(it)| Ok(*it)),
        };
        self.query = None;
        app.handle_resolved(now, node, address);
        true
    }

    /// Gives the stack another address.
    #[inline(never)]
    pub fn take(&mut self, place: &Place, interface: &mut Interface, sockets: &mut SocketSet<'_>) {
        let address = IpCidr::Ipv4(Ipv4Cidr::new(place.address, place.prefix.min(32)));
        // With one address and one route, there is room.
        interface.update_ip_addrs(|addresses| {
            addresses.clear();
            let _ = addresses.push(address);
        });
        interface.routes_mut().remove_default_ipv4_route();
        if let Some(router) = place.router {
            let _ = interface.routes_mut().add_default_ipv4_route(router);
        }
        // It takes a turn of the stack to leave.
        let _ = interface.leave_multicast_group(GROUP);
        self.rejoin = true;
        self.has_dns = place.dns.is_some();
        let servers = place.dns.map(IpAddress::Ipv4);
        sockets.get_mut::<dns::Socket<'_>>(self.dns).update_servers(servers.as_slice());
    }

    /// Asks for the address of `name`.
    #[inline(never)]
    pub fn resolve(
        &mut self,
        name: &str,
        interface: &mut Interface,
        sockets: &mut SocketSet<'_>,
    ) -> Result<(), Failure> {
        if !self.has_dns {
            return Err(Failure::NoServer);
        }
        let socket = sockets.get_mut::<dns::Socket<'_>>(self.dns);
        // There is a place, since nobody asks before the last answer has come.
        let query = socket.start_query(interface.context(), name, DnsQueryType::A);
        self.query = Some(query.map_err(|_| Failure::Name)?);
        Ok(())
    }
}
