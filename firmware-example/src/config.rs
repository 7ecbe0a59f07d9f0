//! What an owner sets.

use core::net::Ipv4Addr;

use heapless::String;

/// Bytes of a URL: those of its host and of its path that core takes, and what is around them.
pub const URL_BYTES: usize = 320;

/// Bytes of a line of a sheet at most.
const LINE_BYTES: usize = URL_BYTES + 64;

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

/// The first line of a sheet, and its last.
const FIRST: &str = "peerdist";
const LAST: &str = "end";

/// Why a sheet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SheetError {
    /// There is none.
    Absent,
    /// It does not come to its last line.
    Cut,
    /// This line, from 1, is none that is known, or its value is none.
    Line(u32),
}

impl SheetError {
    /// What it means, for a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Absent => "there are none",
            Self::Cut => "they do not come to their end",
            Self::Line(_) => "a line is none that is known",
        }
    }
}

impl Config {
    /// Reads a sheet: text that whoever sets up a board writes to its flash, and that no one else does. It
    /// begins with the line `peerdist` and ends with the line `end`; between them are lines `name = value`,
    /// empty ones, and comments behind a `#`. What is not named stays as it is in the image.
    ///
    /// ```text
    /// peerdist
    /// preload = http://origin/content
    /// address = 10.0.9.200/16     # where there is no DHCP
    /// router = 10.0.0.1
    /// dns = 10.0.0.2
    /// port = 80
    /// end
    /// ```
    ///
    /// A sheet with a mistake is not taken in part: who set it finds the image's values, and the reason in
    /// the log and on the page.
    pub fn read(sheet: &[u8]) -> Result<Self, SheetError> {
        let mut config = Self::default();
        let mut number = 0;
        for line in sheet.split(|byte| *byte == b'\n') {
            number += 1;
            let wrong = if number == 1 { SheetError::Absent } else { SheetError::Line(number) };
            // Flash that is erased, or anything else, is no text for long.
            let line = core::str::from_utf8(line.get(..LINE_BYTES.min(line.len())).unwrap_or_default());
            let line = line.map_err(|_| wrong)?.split('#').next().unwrap_or_default().trim();
            match line {
                FIRST if number == 1 => {}
                _ if number == 1 => return Err(SheetError::Absent),
                LAST => return Ok(config),
                "" => {}
                line => config.set(line).ok_or(wrong)?,
            }
        }
        Err(SheetError::Cut)
    }

    /// Takes a line.
    fn set(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        match name {
            "preload" => self.preload = value.try_into().ok()?,
            "address" => {
                let (address, prefix) = value.split_once('/')?;
                self.fallback.address = address.parse().ok()?;
                self.fallback.prefix = prefix.parse().ok().filter(|bits| *bits <= 32)?;
            }
            "router" => self.fallback.router = Some(value.parse().ok()?),
            "dns" => self.fallback.dns = Some(value.parse().ok()?),
            "port" => self.port = value.parse().ok().filter(|port| *port > 0)?,
            _ => return None,
        }
        Some(())
    }
}
