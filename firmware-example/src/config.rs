//! What an owner sets.

use core::net::Ipv4Addr;

/// What an owner sets.
pub struct Config {
    /// Our address.
    pub address: Ipv4Addr,
    /// Bits of its network's part.
    pub prefix: u8,
    /// Where packets go for other networks.
    pub router: Option<Ipv4Addr>,
    /// What is fetched before anybody asks for it: `http://ADDRESS[:PORT]/PATH`.
    pub preload: Option<&'static str>,
}

/// That of this image: for the network that `peerdist sim` simulates.
pub static CONFIG: Config = Config {
    address: Ipv4Addr::new(10, 0, 9, 1),
    prefix: 16,
    router: None,
    preload: Some("http://10.0.0.1/content"),
};
