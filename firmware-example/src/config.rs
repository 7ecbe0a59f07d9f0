//! What an owner sets.

use core::net::Ipv4Addr;

use heapless::String;

/// Bytes of a URL: those of its host and of its path that core takes, and what is around them.
pub const URL_BYTES: usize = 320;

/// What an owner sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where there is no DHCP.
    pub fallback: Place,
    /// What is fetched before anybody asks for it: `http://HOST[:PORT]/PATH`. Empty: nothing is.
    pub preload: String<URL_BYTES>,
    /// The TCP port on which peers are served.
    pub port: u16,
}

/// A place in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Our address.
    pub address: Ipv4Addr,
    /// How many bits of it are the network's.
    pub prefix: u8,
    /// Where packets go for other networks.
    pub router: Option<Ipv4Addr>,
    /// Who knows the addresses of names.
    pub dns: Option<Ipv4Addr>,
}

impl Default for Config {
    /// That of this image: for the network that `peerdist sim` simulates.
    fn default() -> Self {
        Self {
            fallback: Place {
                address: Ipv4Addr::new(10, 0, 9, 200),
                prefix: 16,
                router: None,
                dns: Some(Ipv4Addr::new(10, 0, 0, 2)),
            },
            // It is shorter than there is room.
            preload: "http://origin/content".try_into().unwrap_or_default(),
            port: 80,
        }
    }
}
