//! What an owner sets.

use core::net::Ipv4Addr;

use smoltcp::wire::Ipv4Cidr;

/// What an owner sets.
pub struct Config {
    /// Where there is no DHCP.
    pub fallback: Static,
    /// What is fetched before anybody asks for it: `http://HOST[:PORT]/PATH`.
    pub preload: Option<&'static str>,
}

/// A place in a network.
#[derive(Clone, Copy)]
pub struct Static {
    /// Our address, and how many bits of it are the network's.
    pub address: Ipv4Cidr,
    /// Where packets go for other networks.
    pub router: Option<Ipv4Addr>,
    /// Who knows the addresses of names.
    pub dns: Option<Ipv4Addr>,
}

/// That of this image: for the network that `peerdist sim` simulates.
pub static CONFIG: Config = Config {
    fallback: Static {
        address: Ipv4Cidr::new(Ipv4Addr::new(10, 0, 9, 200), 16),
        router: None,
        dns: Some(Ipv4Addr::new(10, 0, 0, 2)),
    },
    preload: Some("http://origin/content"),
};
