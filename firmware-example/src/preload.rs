//! Fetching what the owner wants to be here before anybody asks for it.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};

use peerdist_core::download::{DownloadEvent, Url};
use peerdist_core::fetch::Source;
use peerdist_core::node::{DownloadId, Output};
use peerdist_core::time::{Duration, Instant};

use crate::log::log;
use crate::network::ResolveError;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(10);

/// The port of a URL that names none.
const HTTP: u16 = 80;

/// A URL in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'u> {
    /// The host: a name or an address.
    pub host: &'u str,
    /// The port.
    pub port: u16,
    /// Host and port, as they stand there.
    pub authority: &'u str,
    /// Path and query.
    pub path: &'u str,
}

/// Why a URL cannot be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It does not begin with `http://`.
    Scheme,
    /// It names no host.
    Host,
    /// Its port is no number of a port.
    Port,
    /// It is longer than a request can have it.
    Long,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL is not one of http",
            Self::Host => "the URL names no host",
            Self::Port => "the port of the URL is none",
            Self::Long => "the URL is too long",
        })
    }
}

impl<'u> Target<'u> {
    /// Takes a URL apart.
    pub fn parse(url: &'u str) -> Result<Self, UrlError> {
        let rest = url.strip_prefix("http://").ok_or(UrlError::Scheme)?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(slash).ok_or(UrlError::Host)?;
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| UrlError::Port)?),
            None => (authority, HTTP),
        };
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        Ok(Self { host, port, authority, path: if path.is_empty() { "/" } else { path } })
    }

    fn url(&self, address: Ipv4Addr) -> Result<Url, UrlError> {
        let origin = SocketAddr::from((address, self.port));
        let host = self.authority.try_into().map_err(|_| UrlError::Long)?;
        let path = self.path.try_into().map_err(|_| UrlError::Long)?;
        Ok(Url { origin, host, path })
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nothing to fetch.
    Off,
    /// It begins then.
    Due(Instant),
    /// The address of the host is asked for.
    Resolving,
    /// It is under way.
    Running,
    /// All of it has been here.
    Done,
}

impl State {
    /// One word for a machine.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Due(_) => "waiting",
            Self::Resolving => "resolving",
            Self::Running => "running",
            Self::Done => "done",
        }
    }
}

/// The one URL.
pub struct Preload {
    target: Option<Target<'static>>,
    state: State,
    /// Bytes handed out by the latest attempt.
    pub bytes: u64,
    /// Those of them that the origin gave, in all attempts.
    pub from_origin: u64,
    /// Attempts that failed.
    pub failures: u32,
}

impl Preload {
    /// Nothing is fetched yet of `url`.
    pub fn new(now: Instant, url: Option<&'static str>) -> Result<Self, UrlError> {
        let target = url.map(Target::parse).transpose()?;
        let state = if target.is_some() { State::Due(now) } else { State::Off };
        Ok(Self { target, state, bytes: 0, from_origin: 0, failures: 0 })
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Begins when it is time; whether it did. `resolve` gives the address of a name once it is known,
    /// `begin` begins a download if there is room for one.
    pub fn poll(
        &mut self,
        now: Instant,
        resolve: impl FnOnce(&str) -> Option<Result<Ipv4Addr, ResolveError>>,
        begin: impl FnOnce(Url) -> Option<DownloadId>,
    ) -> bool {
        let Some(target) = self.target else { return false };
        let asked = match self.state {
            State::Due(at) if at <= now => false,
            State::Resolving => true,
            State::Off | State::Due(_) | State::Running | State::Done => return false,
        };
        let address = match target.host.parse() {
            Ok(address) => Some(Ok(address)),
            Err(_) => resolve(target.host),
        };
        match address {
            None => {
                self.state = State::Resolving;
                return !asked;
            }
            Some(Err(error)) => self.fail(now, error),
            Some(Ok(address)) => match target.url(address).map(begin) {
                Ok(Some(_)) => {
                    log!("preloading {}{} from {address}", target.authority, target.path);
                    (self.bytes, self.from_origin) = (0, 0);
                    self.state = State::Running;
                }
                Ok(None) => self.fail(now, "there is no room for a download"),
                Err(error) => self.fail(now, error),
            },
        }
        true
    }

    /// When it begins, if it waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let State::Due(at) = self.state { Some(at) } else { None }
    }

    /// What the node says of its downloads.
    pub fn take(&mut self, now: Instant, output: Output<'_>) {
        match output {
            Output::Data { data, .. } => self.bytes = self.bytes.saturating_add(data.len() as u64),
            Output::Moved { .. } => self.fail(now, "the origin says that it moved"),
            Output::Download { event, .. } => match event {
                DownloadEvent::Begun { len, encoded } => {
                    log!("its length is {len:?}, with content information: {encoded}");
                }
                DownloadEvent::Block { range, source, .. } => {
                    if matches!(source, Source::Origin) {
                        let bytes = range.end.saturating_sub(range.start);
                        self.from_origin = self.from_origin.saturating_add(bytes);
                    }
                }
                DownloadEvent::Done { len } => {
                    log!("preloaded {len} bytes, {} of them from the origin", self.from_origin);
                    self.state = State::Done;
                }
                DownloadEvent::Failed(error) => self.fail(now, error),
            },
            _ => {}
        }
    }

    fn fail(&mut self, now: Instant, why: impl fmt::Display) {
        log!("preloading failed: {why}");
        self.failures = self.failures.saturating_add(1);
        self.state = State::Due(now + PAUSE);
    }
}
