//! The options by which a node uses hosted caches, and what is said of those that fail.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::HashAlgorithm;
use peerdist_core::hosted::client::{DOWNLOAD_TAG, Failure as Offers, HOSTED_CACHES, Place};
use peerdist_core::hosted::wire::{Descriptor, ID_BYTES, Version};
use peerdist_core::limits::BLOCK_BYTES;
use peerdist_core::store::{BlockId, Store as _};
use peerdist_core::time::{Duration as CoreDuration, Instant};
use peerdist_hal::file;
use peerdist_hal::std::rustls::ClientConfig;
use peerdist_hal::std::rustls::pki_types::ServerName;
use peerdist_sim::net::station::{Hosting, Station};

use super::{Failure, tell};

/// How long who is about to end gives a hosted cache what it was offered.
const GIVING: CoreDuration = CoreDuration::from_secs(20);

/// After how long without a block asked for it has all that it wants.
const QUIET: CoreDuration = CoreDuration::from_secs(2);

/// Hosted caches to use.
#[derive(clap::Args)]
pub struct HostedArgs {
    /// Use this hosted cache and no peers: it is asked for blocks, and offered what comes from the origin
    ///
    /// Several can be named: where one fails, the next one stands in. `HOST` and `http://HOST` are of version 2, on
    /// port 80 where none is named; `https://HOST` takes offers of version 1 by TLS, on port 443, and has to prove
    /// that it is HOST.
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
    address: SocketAddr,
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
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => {
            let mut found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
            found.next().ok_or("the name has no address")?
        }
    };
    Ok(Named { version, address, name })
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

    /// Our address, as the first of them sees it: where it finds what it was offered.
    pub fn ours(&self) -> Option<IpAddr> {
        let to = self.hosted.first()?.address;
        let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        // Nothing is sent: the system chooses the address from which it would be.
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    }

    /// How a station uses them.
    pub fn hosting(&self) -> Result<Hosting, Failure> {
        if self.hosted.len() > HOSTED_CACHES {
            return Err(Failure(format!("--hosted: {HOSTED_CACHES} hosted caches at most")));
        }
        let places: Vec<Place> = self.hosted.iter().map(|named| named.place(self.hosted_port)).collect();
        let with_peers = self.with_peers;
        Ok(if places.is_empty() { Hosting::Distributed } else { Hosting::At { places, with_peers } })
    }

    /// Has the connections of a station that have to be secured be so.
    pub fn secure(&self, station: &mut Station, tls: impl FnOnce() -> Arc<ClientConfig>) {
        let secured = self.hosted.iter().zip(0u8..).filter(|(named, _)| named.version == Version::V1);
        let secured: Vec<_> = secured.collect();
        if secured.is_empty() {
            return;
        }
        let tls = tls();
        for (named, number) in secured {
            station.driver.origins().secure_offers(number, tls.clone(), named.name.clone());
        }
    }

    /// Says which hosted cache has failed since the last time, and why.
    pub fn tell_failure(&self, station: &mut Station) {
        let Some(failure) = station.node.offers().and_then(|offers| offers.state.poll_failure()) else {
            return;
        };
        let (address, mut why) = (failure.0, failure.1.to_string());
        let number = self.hosted.iter().zip(0u8..).find(|(named, _)| named.address == address);
        if let (Offers::Unreachable | Offers::Lost, Some((_, number))) = (failure.1, number)
            && let Some(trouble) = station.driver.origins().take_offers_trouble(number)
        {
            why = trouble.error.to_string();
        }
        // An error of a connection that never came about names where to.
        let why = why.strip_prefix(&format!("{address}: ")).unwrap_or(&why);
        tell(&format!("hosted cache {address}: {why}; for now it is offered nothing"));
    }
}

impl Named {
    fn place(&self, blocks: u16) -> Place {
        match self.version {
            Version::V1 => Place {
                blocks: SocketAddr::new(self.address.ip(), blocks),
                offers: self.address,
                version: Version::V1,
            },
            Version::V2 => Place::v2(self.address),
        }
    }
}

/// What a cache has when its peer starts, to be offered to a hosted cache.
pub struct Holdings(Vec<Descriptor>);

impl Holdings {
    /// What lies in the blocks of `cache`, by its segments: of each, as much as its last block tells.
    pub fn of(cache: &Path) -> Result<Self, Failure> {
        let blocks = file::committed(&cache.join("blocks"));
        let blocks = blocks.map_err(|error| Failure(format!("--cache {error}")))?;
        let mut last: HashMap<SegmentId, u32> = HashMap::new();
        for BlockId { segment, index } in blocks.into_iter().filter(|it| !it.segment.is_unverifiable()) {
            let known = last.entry(segment).or_default();
            *known = index.max(*known);
        }
        // What has another length has no descriptor (2.2.1.5).
        let known =
            last.iter().filter_map(|(id, last)| Some(describe(id.as_bytes().try_into().ok()?, *last)));
        Ok(Self(known.collect()))
    }

    /// Has as much of it offered as there is room for; whether anything was.
    pub fn offer<const STREAMS: usize>(&mut self, station: &mut Station<STREAMS>) -> bool {
        let (before, now) = (self.0.len(), station.now());
        while let Some(mut descriptor) = self.0.pop() {
            let last = descriptor.segment_bytes;
            let block =
                SegmentId::from_slice(&descriptor.segment).map(|segment| BlockId { segment, index: last });
            let stored = block.and_then(|block| station.node.storage().find(&block));
            // It may have gone meanwhile.
            let Some(stored) = stored else { continue };
            descriptor.segment_bytes = last.saturating_mul(BLOCK_BYTES).saturating_add(stored.plain_len);
            if last == 0 {
                // The only block of a segment, of either version.
                descriptor.block_bytes = stored.plain_len;
            }
            let Some(mut offers) = station.node.offers() else { break };
            if !offers.here(now, &descriptor) {
                descriptor.segment_bytes = last;
                self.0.push(descriptor);
                break;
            }
        }
        self.0.len() < before
    }
}

/// A segment by its name; instead of its size, the index of its last block, whose length is still to be found.
fn describe(segment: [u8; ID_BYTES], last: u32) -> Descriptor {
    // Where there is one block, that may be content information 2.0; a hosted cache cannot tell.
    let algorithm = if last == 0 { HashAlgorithm::TruncatedSha512 } else { HashAlgorithm::Sha256 };
    Descriptor { block_bytes: BLOCK_BYTES, segment_bytes: last, tag: DOWNLOAD_TAG, algorithm, segment }
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
        let (news, counters) = (offers.has_news(), offers.state.counters);
        if (sent, counters.messages) != self.seen {
            (self.seen, self.moved) = ((sent, counters.messages), now);
        }
        // Nobody takes it before the time is over.
        let in_vain = offers.state.rested_at(&places).is_none_or(|at| at > self.until);
        // Where nothing was offered, nobody comes for it.
        let quiet = now >= self.moved + QUIET || counters.messages == 0;
        if now >= self.until || (!news || in_vain) && quiet {
            return None;
        }
        Some(Duration::from_millis(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Version, String) {
        let named = parse(text).expect(text);
        (named.version, named.address.to_string())
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
        let of = |text| parse(text).unwrap().place(81);
        assert_eq!(of("10.0.0.7:99"), Place::v2(([10, 0, 0, 7], 99).into()));
        let v1 = of("https://10.0.0.7:99");
        assert_eq!((v1.blocks.port(), v1.offers.port(), v1.version), (81, 99, Version::V1));
    }
}
