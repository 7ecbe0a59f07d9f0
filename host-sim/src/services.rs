//! What a real machine expects of a network: an address of its own, by DHCP (RFC 2131), and the address of the
//! origin by its name, from DNS (RFC 1035).

use peerdist_core::time::{Duration, Instant};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp;
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, Ipv4Address, Ipv4Cidr};

use crate::run::{PREFIX_LEN, Seat};
use crate::stack::{Stack, stack_time, world_time};
use crate::world::{Frame, Host};

/// The first address that is given away; the others follow. No client of a scenario has them.
pub const FIRST_ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 9, 1);

/// Machines that get an address.
pub const MAX_LEASES: usize = 250;

const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DNS: u16 = 53;

/// Of a DNS message: where the flags are, the counts, and the first question.
const DNS_FLAGS: usize = 2;
const DNS_ANSWERS: usize = 6;
const DNS_HEAD: usize = 12;

/// A query of one question, as the first bits and the number of questions say.
const QUERY_MASK: u8 = 0xf8;
const ONE: [u8; 2] = [0, 1];

/// A response, recursion desired and available: with an answer, and that there is no such name.
const ANSWERED: [u8; 2] = [0x81, 0x80];
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];

/// The record of an address, and what stands in front of it: the question's name, type A, class IN, a minute to
/// live, four bytes.
const TYPE_A: [u8; 4] = [0, 1, 0, 1];
const A_RECORD: [u8; 12] = [0xc0, DNS_HEAD as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];

/// The host that serves both.
pub struct Services {
    us: Ipv4Address,
    stack: Stack,
    dhcp: SocketHandle,
    dns: SocketHandle,
    /// Who has an address: the first of them the first.
    leases: Vec<EthernetAddress>,
    /// How long an address may be used, in seconds.
    lease_seconds: u32,
    /// The one name, and its address.
    name: String,
    address: Ipv4Address,
}

impl Services {
    /// At `seat`, for a network in which `origin` has a name, and an address may be used for `lease`.
    pub fn new(seat: &Seat, origin: &Seat, lease: Duration) -> Self {
        let mut stack = Stack::new(seat);
        let [dhcp, dns] = [DHCP_SERVER, DNS].map(|port| {
            let handle = stack.add_udp();
            // A fresh socket, and the port is not zero.
            let _ = stack.sockets.get_mut::<udp::Socket<'_>>(handle).bind(port);
            handle
        });
        let (us, address) = (seat.ip.into(), origin.ip.into());
        let lease_seconds = u32::try_from(lease.micros() / 1_000_000).unwrap_or(u32::MAX);
        let (leases, name) = (Vec::new(), origin.name.clone());
        Self { us, stack, dhcp, dns, leases, lease_seconds, name, address }
    }

    fn serve_dhcp(&mut self) {
        let Self { us, stack, leases, lease_seconds, .. } = self;
        let socket = stack.sockets.get_mut::<udp::Socket<'_>>(self.dhcp);
        while let Ok((bytes, _)) = socket.recv() {
            let reply = DhcpPacket::new_checked(bytes).and_then(|packet| {
                DhcpRepr::parse(&packet).map(|request| offer(*us, leases, *lease_seconds, &request))
            });
            let Ok(Some(reply)) = reply else { continue };
            let mut bytes = vec![0; reply.buffer_len()];
            if reply.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).is_ok() {
                // Who has no address yet hears what is for all. Without room it asks again.
                let _ = socket.send_slice(&bytes, (Ipv4Address::BROADCAST, DHCP_CLIENT));
            }
        }
    }

    fn serve_dns(&mut self) {
        let socket = self.stack.sockets.get_mut::<udp::Socket<'_>>(self.dns);
        while let Ok((query, meta)) = socket.recv() {
            if let Some(reply) = resolve(query, &self.name, self.address) {
                // Without room, it is asked again.
                let _ = socket.send_slice(&reply, meta.endpoint);
            }
        }
    }
}

impl Host for Services {
    fn receive(&mut self, _now: Instant, frame: Frame) {
        self.stack.card.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        let time = stack_time(now);
        let Stack { interface, card, sockets } = &mut self.stack;
        interface.poll(time, card, sockets);
        self.serve_dhcp();
        self.serve_dns();
        let Stack { interface, card, sockets } = &mut self.stack;
        interface.poll(time, card, sockets);
        card.outgoing.drain(..).for_each(send);
        interface.poll_at(time, sockets).map(world_time)
    }
}

/// The answer to a client: the same address each time.
fn offer(
    us: Ipv4Address,
    leases: &mut Vec<EthernetAddress>,
    lease_seconds: u32,
    request: &DhcpRepr<'_>,
) -> Option<DhcpRepr<'static>> {
    if !matches!(request.message_type, DhcpMessageType::Discover | DhcpMessageType::Request) {
        return None;
    }
    let client = request.client_hardware_address;
    let index = leases.iter().position(|known| *known == client).unwrap_or(leases.len());
    if index == leases.len() {
        if index == MAX_LEASES {
            return None;
        }
        leases.push(client);
    }
    let address = Ipv4Address::from(u32::from(FIRST_ADDRESS) + index as u32);
    let wanted = request.requested_ip.unwrap_or(request.client_ip);
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        // It asks another server.
        DhcpMessageType::Request if request.server_identifier.is_some_and(|server| server != us) => {
            return None;
        }
        DhcpMessageType::Request if wanted == address => DhcpMessageType::Ack,
        DhcpMessageType::Request => DhcpMessageType::Nak,
        _ => return None,
    };
    let given = message_type != DhcpMessageType::Nak;
    Some(DhcpRepr {
        message_type,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: client,
        client_ip: Ipv4Address::UNSPECIFIED,
        your_ip: if given { address } else { Ipv4Address::UNSPECIFIED },
        server_ip: us,
        router: None,
        subnet_mask: given.then(|| Ipv4Cidr::new(us, PREFIX_LEN).netmask()),
        relay_agent_ip: Ipv4Address::UNSPECIFIED,
        broadcast: true,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(us),
        parameter_request_list: None,
        dns_servers: given.then(|| [us].into_iter().collect()),
        max_size: None,
        lease_duration: given.then_some(lease_seconds),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    })
}

/// The answer to a query for an address; `None` to what is none.
fn resolve(query: &[u8], name: &str, address: Ipv4Address) -> Option<Vec<u8>> {
    let (head, question) = query.split_at_checked(DNS_HEAD)?;
    if head.get(DNS_FLAGS)? & QUERY_MASK != 0 || head.get(4..6)? != ONE {
        return None;
    }
    let mut asked = Vec::new();
    let mut rest = question;
    let rest = loop {
        let (&length, after) = rest.split_first()?;
        if length == 0 {
            break after;
        }
        // A length of more than 63 is a pointer, which no question has.
        let (label, after) = after.split_at_checked(usize::from(length).min(64))?;
        asked.push(label);
        rest = after;
    };
    let kind = rest.get(..TYPE_A.len())?;
    let question = question.get(..question.len() - rest.len() + TYPE_A.len())?;
    let ours = asked.join(&b'.').eq_ignore_ascii_case(name.as_bytes());
    let known = ours && kind == TYPE_A;
    let mut reply = [head, question].concat();
    // That there is no record of a type does not say that there is no such name (RFC 2308, 2.2).
    let flags = if ours { ANSWERED } else { NO_SUCH_NAME };
    reply[DNS_FLAGS..DNS_FLAGS + 2].copy_from_slice(&flags);
    // No other records come with it.
    reply[DNS_ANSWERS..DNS_HEAD].fill(0);
    if known {
        reply[DNS_ANSWERS..DNS_ANSWERS + 2].copy_from_slice(&ONE);
        reply.extend_from_slice(&A_RECORD);
        reply.extend_from_slice(&address.octets());
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);
    const ORIGIN: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);

    fn request(message_type: DhcpMessageType, mac: u8, wanted: Option<Ipv4Address>) -> DhcpRepr<'static> {
        let discover = DhcpRepr {
            message_type: DhcpMessageType::Discover,
            transaction_id: 7,
            secs: 0,
            client_hardware_address: EthernetAddress([2, 0, 0, 0, 9, mac]),
            client_ip: Ipv4Address::UNSPECIFIED,
            your_ip: Ipv4Address::UNSPECIFIED,
            server_ip: Ipv4Address::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Address::UNSPECIFIED,
            broadcast: false,
            requested_ip: None,
            client_identifier: None,
            server_identifier: None,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        DhcpRepr { message_type, requested_ip: wanted, ..discover }
    }

    #[test]
    fn each_machine_keeps_its_address() {
        let mut leases = Vec::new();
        let mut ask = |kind, mac, wanted| {
            offer(US, &mut leases, 20, &request(kind, mac, wanted)).map(|it| (it.message_type, it.your_ip))
        };
        let second = Ipv4Address::new(10, 0, 9, 2);
        use DhcpMessageType::{Ack, Discover, Nak, Offer, Release, Request};
        assert_eq!(ask(Discover, 1, None), Some((Offer, FIRST_ADDRESS)));
        assert_eq!(ask(Discover, 2, None), Some((Offer, second)));
        assert_eq!(ask(Request, 1, Some(FIRST_ADDRESS)), Some((Ack, FIRST_ADDRESS)));
        assert_eq!(ask(Request, 2, Some(FIRST_ADDRESS)), Some((Nak, Ipv4Address::UNSPECIFIED)));
        assert_eq!(ask(Release, 2, None), None);
        let lease = |kind| offer(US, &mut Vec::new(), 20, &request(kind, 1, None))?.lease_duration;
        assert_eq!((lease(Discover), lease(Request)), (Some(20), None));
    }

    #[test]
    fn a_request_to_another_server_is_not_ours() {
        let other = DhcpRepr {
            server_identifier: Some(ORIGIN),
            ..request(DhcpMessageType::Request, 1, Some(FIRST_ADDRESS))
        };
        assert_eq!(offer(US, &mut Vec::new(), 20, &other), None);
    }

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06Origin\0\0\x01\0\x01";

    #[test]
    fn the_origin_has_an_address() {
        let reply = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x06Origin\0\0\x01\0\x01\
            \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
        assert_eq!(resolve(QUERY, "origin", ORIGIN).as_deref(), Some(&reply[..]));
    }

    #[test]
    fn nobody_else_has_one() {
        let reply = b"\x12\x34\x81\x83\0\x01\0\0\0\0\0\0\x06Origin\0\0\x01\0\x01";
        assert_eq!(resolve(QUERY, "origin.example", ORIGIN).as_deref(), Some(&reply[..]));
        // Of type AAAA there is none, which is not to say that there is no such name.
        let mut query = QUERY.to_vec();
        let kind = query.len() - 3;
        query[kind] = 28;
        let reply = resolve(&query, "origin", ORIGIN).expect("a reply");
        assert_eq!((reply[3], &reply[6..8]), (0x80, &[0, 0][..]));
    }

    #[test]
    fn what_is_no_query_gets_no_reply() {
        for length in 0..QUERY.len() {
            assert_eq!(resolve(&QUERY[..length], "origin", ORIGIN), None, "{length}");
        }
        let mut response = QUERY.to_vec();
        response[2] |= 0x80;
        assert_eq!(resolve(&response, "origin", ORIGIN), None);
    }
}
