//! The options by which a node uses hosted caches, and what is said of those that fail.

mod holdings;
mod telling;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use peerdist_core::hosted::client::{HOSTED_CACHES, Place};
use peerdist_core::hosted::wire::Version;
use peerdist_core::time::{Duration as CoreDuration, Instant};
use peerdist_hal::std::rustls::ClientConfig;
use peerdist_hal::std::rustls::pki_types::ServerName;
use peerdist_sim::net::station::{Hosting, Station};

use super::Failure;
pub use holdings::Holdings;
pub use telling::Telling;

/// How long who is about to end gives a hosted cache what it was offered.
const GIVING: CoreDuration = CoreDuration::from_secs(20);

/// After how long without a block asked for it has all that it wants.
const QUIET: CoreDuration = CoreDuration::from_secs(2);

/// Hosted caches to use.
#[derive(clap::Args)]
pub struct HostedArgs {
    /// Use this hosted cache and no peers: it is asked for blocks, and offered what comes from the origin, or what the cache of a `peer` has
    ///
    /// Several can be named: where one fails, the next one stands in, and so does the next address of a name that has
    /// several. `HOST` and `http://HOST` are of version 2, on
    /// port 80 where none is named; `https://HOST` takes offers of version 1 by TLS, on port 443, and has to prove
    /// that it is HOST.
    #[cfg_attr(
        feature = "negotiate",
        doc = "If that asks who we are (Negotiate), it is told by the user's Kerberos"
    )]
    #[cfg_attr(feature = "negotiate", doc = "tickets, as `kinit` gets them, for the service HTTP/HOST.")]
    #[cfg_attr(
        not(feature = "negotiate"),
        doc = "It cannot be told who we are if it asks for that (Negotiate): this"
    )]
    #[cfg_attr(not(feature = "negotiate"), doc = "program was built without the feature `negotiate`.")]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = parse)]
    hosted: Vec<Named>,

    /// The port on which hosted caches of version 1 serve blocks
    #[arg(long, value_name = "N", default_value_t = 80, requires = "hosted")]
    hosted_port: u16,

    /// Use peers as well
    #[arg(long, requires = "hosted")]
    with_peers: bool,
}

/// A hosted cache, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    version: Version,
    /// One at least, in the order of the system.
    addresses: Vec<SocketAddr>,
    /// Whom it has to prove that it is.
    name: ServerName<'static>,
}

fn parse(text: &str) -> Result<Named, String> {
    let (version, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (Version::V1, rest),
        (_, rest) => (Version::V2, rest.unwrap_or(text)),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // The ports of fact 49.
    let usual = if version == Version::V1 { 443 } else { 80 };
    let (host, port) = match rest.rsplit_once(':') {
        // An address of IPv6 has colons of its own, unless it is in brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("`{port}` is not the number of a port"))?)
        }
        _ => (rest, usual),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is not the name of a host"))?;
    let mut addresses = Vec::new();
    match host.parse::<IpAddr>() {
        Ok(ip) => addresses.push(SocketAddr::new(ip, port)),
        Err(_) => {
            for address in (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))? {
                // A table of hosts may name one twice.
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
    }
    if addresses.is_empty() {
        return Err(format!("{host}: the name has no address"));
    }
    Ok(Named { version, addresses, name })
}

impl HostedArgs {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.hosted.is_empty()
    }

    /// Whether peers are used.
    pub fn uses_peers(&self) -> bool {
        self.with_peers || !self.any()
    }

    /// Whether all of them are of version 1, which can be offered nothing but content information 1.0.
    pub fn is_old(&self) -> bool {
        self.any() && self.hosted.iter().all(|named| named.version == Version::V1)
    }

    /// Our address, as the first of them sees it that there is a way to: where it finds what it was offered.
    pub fn ours(&self) -> Option<IpAddr> {
        let ours = |to: &SocketAddr| {
            let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            // Nothing is sent: the system chooses the address from which it would be.
            socket.connect(to).ok()?;
            socket.local_addr().ok().map(|address| address.ip())
        };
        self.hosted.iter().flat_map(|named| &named.addresses).find_map(ours)
    }

    /// How a station uses them.
    pub fn hosting(&self) -> Result<Hosting, Failure> {
        if self.hosted.len() > HOSTED_CACHES {
            return Err(Failure(format!("--hosted: {HOSTED_CACHES} hosted caches at most")));
        }
        let places: Vec<Place> = self.places().into_iter().map(|(_, place)| place).collect();
        let with_peers = self.with_peers;
        Ok(if places.is_empty() { Hosting::Distributed } else { Hosting::At { places, with_peers } })
    }

    /// Where they are, and which one is there: each at its first address, and at more of them as long as there is room.
    fn places(&self) -> Vec<(usize, Place)> {
        let mut spare = HOSTED_CACHES.saturating_sub(self.hosted.len());
        let mut places = Vec::new();
        for (number, named) in self.hosted.iter().enumerate() {
            let taken = named.addresses.len().min(1 + spare);
            spare -= taken.saturating_sub(1);
            let addresses = named.addresses.iter().take(taken);
            places.extend(addresses.map(|address| (number, named.place(*address, self.hosted_port))));
        }
        places
    }

    /// Has the connections of a station that have to be secured be so.
    pub fn secure(&self, station: &mut Station, tls: impl FnOnce() -> Arc<ClientConfig>) {
        let tls = std::cell::LazyCell::new(tls);
        for ((named, place), number) in self.places().into_iter().zip(0u8..) {
            if place.version == Version::V1 {
                let (name, origins) = (self.hosted[named].name.clone(), station.driver.origins());
                #[cfg(feature = "negotiate")]
                origins.authenticate_offers(number, &name.to_str());
                origins.secure_offers(number, (*tls).clone(), name);
            }
        }
    }
}

impl Named {
    fn place(&self, address: SocketAddr, blocks: u16) -> Place {
        match self.version {
            Version::V1 => {
                Place { blocks: SocketAddr::new(address.ip(), blocks), offers: address, version: Version::V1 }
            }
            Version::V2 => Place::v2(address),
        }
    }
}

/// Whether who is about to end still gives a hosted cache what it was offered.
pub struct Giving {
    until: Instant,
    /// Bytes that went out and messages that were answered, and when that changed.
    seen: (u64, u32),
    moved: Instant,
}

impl Giving {
    /// From now on.
    pub fn new(now: Instant) -> Self {
        Self { until: now + GIVING, seen: (0, 0), moved: now }
    }

    /// How long to wait at most before this is asked again; `None` once there is nothing to wait for.
    pub fn wait(&mut self, station: &mut Station) -> Option<Duration> {
        let now = station.now();
        let sent = station.driver.counters().sent;
        let places = station.node.config().hosted_caches.clone();
        let offers = station.node.offers()?;
        let (news, under_way) = (offers.has_news(), offers.state.is_under_way());
        let (rested, messages) = (offers.state.rested_at(&places), offers.state.counters.messages);
        if (sent, messages) != self.seen {
            (self.seen, self.moved) = ((sent, messages), now);
        }
        let waits = if news { rested } else { None };
        (!self.is_over(now, waits, under_way)).then_some(Duration::from_millis(100))
    }

    /// Whether there is nothing to wait for, where something `waits` for a hosted cache until that has rested.
    fn is_over(&self, now: Instant, waits: Option<Instant>, under_way: bool) -> bool {
        let (_, messages) = self.seen;
        // Who has taken something may be back in time; who never has is not waited for.
        let may = waits.is_some_and(|at| under_way || at <= now || at <= self.until && messages > 0);
        // Where nothing was offered, nobody comes for it.
        let quiet = now >= self.moved + QUIET || messages == 0;
        now >= self.until || !may && quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Version, String) {
        let named = parse(text).expect(text);
        (named.version, named.addresses[0].to_string())
    }

    #[test]
    fn hosted_caches_by_name() {
        for (text, version, address) in [
            ("10.0.0.7", Version::V2, "10.0.0.7:80"),
            ("10.0.0.7:8080", Version::V2, "10.0.0.7:8080"),
            ("http://10.0.0.7/", Version::V2, "10.0.0.7:80"),
            ("https://10.0.0.7", Version::V1, "10.0.0.7:443"),
            ("https://10.0.0.7:8443", Version::V1, "10.0.0.7:8443"),
            ("fd00::7", Version::V2, "[fd00::7]:80"),
            ("[fd00::7]:81", Version::V2, "[fd00::7]:81"),
            ("https://[fd00::7]", Version::V1, "[fd00::7]:443"),
            ("localhost:82", Version::V2, "127.0.0.1:82"),
        ] {
            let (of, found) = parsed(text);
            // A host may prefer either family for itself.
            let found = found.replace("[::1]", "127.0.0.1");
            assert_eq!((of, found.as_str()), (version, address), "{text}");
        }
        for text in ["", "10.0.0.7:", "10.0.0.7:70000", "a b", "ftp://10.0.0.7"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_each_version_serves_blocks() {
        let of = |text| {
            let named = parse(text).unwrap();
            named.place(named.addresses[0], 81)
        };
        assert_eq!(of("10.0.0.7:99"), Place::v2(([10, 0, 0, 7], 99).into()));
        let v1 = of("https://10.0.0.7:99");
        assert_eq!((v1.blocks.port(), v1.offers.port(), v1.version), (81, 99, Version::V1));
    }
    /// Whoever is named is there at one address at least, and the first with more of them as long as there is room.
    #[test]
    fn all_addresses_of_a_name() {
        let at = |last| SocketAddr::from(([10, 0, 0, last], 80));
        let v6 = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 7], 80));
        let named =
            |addresses: &[SocketAddr]| Named { addresses: addresses.into(), ..parse("10.0.0.1").unwrap() };
        let of = |hosted: &[Named]| {
            let hosted = HostedArgs { hosted: hosted.into(), hosted_port: 80, with_peers: false };
            hosted.places().into_iter().map(|(number, place)| (number, place.offers)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[named(&[v6, at(1)])]), [(0, v6), (0, at(1))]);
        let many: Vec<_> = (1..9).map(at).collect();
        let first = [(0, at(1)), (0, at(2)), (0, at(3))];
        assert_eq!(of(&[named(&many)]), [&first[..], &[(0, at(4))]].concat());
        assert_eq!(of(&[named(&many), named(&[v6, at(1)])]), [&first[..], &[(1, v6)]].concat());
        let four: Vec<_> = (1..5).map(|last| named(&[at(last), v6])).collect();
        assert_eq!(of(&four), [(0, at(1)), (1, at(2)), (2, at(3)), (3, at(4))]);
    }

    /// When there is still something to wait for, and when not.
    #[test]
    fn who_gives_what_it_has() {
        let now = Instant::from_millis(5_000);
        let after = |seconds| now + CoreDuration::from_secs(seconds);
        let over = |messages, at, waits, under_way| {
            Giving { seen: (0, messages), ..Giving::new(now) }.is_over(after(at), waits, under_way)
        };
        assert!(over(0, 0, None, false), "nothing to offer");
        assert!(!over(0, 0, Some(now), false) && !over(0, 9, Some(after(30)), true), "it is being offered");
        assert!(over(0, 0, Some(after(3)), false), "nobody ever took anything");
        assert!(
            !over(1, 9, Some(after(19)), false) && over(1, 9, Some(after(21)), false),
            "it is back in time"
        );
        assert!(!over(1, 1, None, false) && over(1, 2, None, false), "it may come for more");
        assert!(over(1, 20, Some(now), true), "it has had its time");
    }
}
