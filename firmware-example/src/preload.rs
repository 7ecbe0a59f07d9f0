//! Fetching what the owner wants to be here before anybody asks for it.

use core::net::{Ipv4Addr, SocketAddr};

use peerdist_core::download::origin::OriginFailure;
use peerdist_core::download::{DownloadError, DownloadEvent, Url};
use peerdist_core::fetch::{Cause, Source};
use peerdist_core::node::Output;
use peerdist_core::time::{Duration, Instant};

use crate::log::log;
use crate::store::Numbers;

/// How long to wait after a failure. After each that follows without a block between them, twice as long.
const PAUSE: Duration = Duration::from_secs(10);

/// How often the pause is doubled: it comes to 640 s.
const DOUBLINGS: u32 = 6;

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

/// Why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The URL does not begin with `http://`.
    Scheme,
    /// It names no host.
    Host,
    /// Its port is no number of a port.
    Port,
    /// It is longer than a request can have it.
    Long,
    /// Nobody is there who could be asked for the host's address.
    NoServer,
    /// No name server can be asked for such a name.
    Name,
    /// The host has no address, or nobody said so.
    NotFound,
    /// There is no room for a download.
    Busy,
    /// The origin names another place.
    Moved,
    /// It gave the content without content information: nobody can be served with it.
    Plain,
    /// The download failed.
    Download(DownloadError),
}

impl Failure {
    /// What it means, for a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Scheme => "the URL is not one of http",
            Self::Host => "the URL names no host",
            Self::Port => "the port of the URL is none",
            Self::Long => "the URL is too long",
            Self::NoServer => "there is no name server",
            Self::Name => "no name server can be asked for this name",
            Self::NotFound => "the name has no address",
            Self::Busy => "there is no room for a download",
            Self::Moved => "the origin says that it moved",
            Self::Plain => "the origin has no content information: nothing is kept",
            Self::Download(DownloadError::Info(_)) => "the content information cannot be used",
            Self::Download(DownloadError::Full) => "the store is full",
            Self::Download(DownloadError::Changed { .. }) => "the content of the origin changed",
            Self::Download(DownloadError::Origin(failure)) => origin_words(failure),
        }
    }

    /// The status with which the origin refused, or 0.
    pub fn status(self) -> u16 {
        match self {
            Self::Download(DownloadError::Origin(OriginFailure::Status(status))) => status,
            _ => 0,
        }
    }
}

/// The same of what the origin did.
pub fn origin_words(failure: OriginFailure) -> &'static str {
    match failure {
        OriginFailure::Unreachable => "the origin cannot be reached",
        OriginFailure::Broken => "the origin broke off",
        OriginFailure::Silent => "the origin fell silent",
        OriginFailure::Status(_) => "the origin refuses",
        OriginFailure::BadReply => "the origin's reply is none",
        OriginFailure::Changed => "the content of the origin changed",
        OriginFailure::Url => "the URL has bytes that no request can carry",
        OriginFailure::Coding => "the origin uses an unknown coding",
    }
}

/// A URL as a log may have it: what follows a question mark may be a secret.
pub fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

impl<'u> Target<'u> {
    /// Takes a URL apart.
    pub fn parse(url: &'u str) -> Result<Self, Failure> {
        let rest = url.strip_prefix("http://").ok_or(Failure::Scheme)?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(slash).ok_or(Failure::Host)?;
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| Failure::Port)?),
            None => (authority, HTTP),
        };
        if host.is_empty() {
            return Err(Failure::Host);
        }
        Ok(Self { host, port, authority, path: if path.is_empty() { "/" } else { path } })
    }

    /// The URL as core takes it, with the address of its host.
    pub fn url(&self, address: Ipv4Addr) -> Result<Url, Failure> {
        let origin = SocketAddr::from((address, self.port));
        let host = self.authority.try_into().map_err(|_| Failure::Long)?;
        let path = self.path.try_into().map_err(|_| Failure::Long)?;
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

/// The one URL: how far it is.
pub struct Preload {
    state: State,
    /// Failures in a row.
    row: u32,
    /// What comes is without content information.
    plain: bool,
    /// Why the latest attempt failed, unless one has succeeded since.
    pub failure: Option<Failure>,
    /// Bytes handed out by the latest attempt.
    pub bytes: u64,
    /// Those that the origin gave, in all attempts.
    pub from_origin: u64,
    /// Attempts that failed.
    pub failures: u32,
    /// How the origin failed when it was asked last, unless it has given something since.
    pub trouble: Option<OriginFailure>,
    /// How often it failed within attempts that went on.
    pub troubles: u32,
    /// What the store had when the latest attempt began.
    stock: Numbers,
    /// It has been said that a block came from the origin although the store had some.
    wondered: bool,
    /// The first such block, and why no peer gave it, until that is said.
    absent: Option<(u64, Option<Cause>)>,
}

impl Preload {
    /// Nothing is fetched yet. `wanted`: whether there is something to fetch.
    pub fn new(now: Instant, wanted: bool) -> Self {
        let state = if wanted { State::Due(now) } else { State::Off };
        Self {
            state,
            row: 0,
            plain: false,
            failure: None,
            bytes: 0,
            from_origin: 0,
            failures: 0,
            trouble: None,
            troubles: 0,
            stock: Numbers::default(),
            wondered: false,
            absent: None,
        }
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is time to begin.
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Due(at) if at <= now)
    }

    /// The address of the host is asked for.
    pub fn resolving(&mut self) {
        self.state = State::Resolving;
    }

    /// It has begun, with a store that has so much.
    pub fn begun(&mut self, stock: Numbers) {
        self.state = State::Running;
        (self.bytes, self.stock) = (0, stock);
        (self.wondered, self.absent) = (false, None);
    }

    /// Says of the first block that came from the origin what the store has by then, if it had some before: whether
    /// it is another content, or its own blocks are not found.
    pub fn wonder(&mut self, now: &Numbers) {
        let Some((offset, cause)) = self.absent.take() else { return };
        let cause = cause.map_or("nobody was asked", Cause::as_str);
        log!(
            "the block at {} came from the origin ({}), with {} blocks here at first",
            offset,
            cause,
            self.stock.blocks
        );
        log!(
            "now {} of {} segments, {} too old, {} evicted",
            now.blocks,
            now.segments,
            now.expired,
            now.evicted
        );
    }

    /// When it begins, if it waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let State::Due(at) = self.state { Some(at) } else { None }
    }

    /// What the node says of its downloads.
    pub fn handle_output(&mut self, now: Instant, output: Output<'_>) {
        match output {
            Output::Data { data, .. } => {
                self.bytes = self.bytes.saturating_add(data.len() as u64);
                if !self.plain {
                    self.row = 0;
                }
            }
            Output::Moved { .. } => self.fail(now, Failure::Moved),
            Output::Download { event, .. } => match event {
                DownloadEvent::Begun { len, encoded } => {
                    (self.plain, self.trouble) = (!encoded, None);
                    log!("preloading {} bytes, with content information: {}", len.unwrap_or(0), encoded);
                    let Numbers { blocks, segments, expired, evicted, .. } = self.stock;
                    log!(
                        "here are {} blocks of {} segments, {} too old, {} evicted",
                        blocks,
                        segments,
                        expired,
                        evicted
                    );
                }
                DownloadEvent::Block { range, source, failures } => {
                    if matches!(source, Source::Origin) {
                        let bytes = range.end.saturating_sub(range.start);
                        self.from_origin = self.from_origin.saturating_add(bytes);
                        self.trouble = None;
                        if self.stock.blocks > 0 && !core::mem::replace(&mut self.wondered, true) {
                            self.absent = Some((range.start, failures.first().map(|failure| failure.cause)));
                        }
                    }
                }
                // There are waits between them, which grow, so these lines are few.
                DownloadEvent::OriginFailed { failure, attempt, of } => {
                    log!("{}: attempt {} of {}", origin_words(failure), attempt, of);
                    self.trouble = Some(failure);
                    self.troubles = self.troubles.saturating_add(1);
                }
                // Origins make content information for who comes again.
                DownloadEvent::Done { .. } if self.plain => self.fail(now, Failure::Plain),
                DownloadEvent::Done { len } => {
                    log!("preloaded {} bytes, {} of them from the origin", len, self.from_origin);
                    (self.state, self.failure, self.trouble) = (State::Done, None, None);
                }
                DownloadEvent::Failed(error) => self.fail(now, Failure::Download(error)),
            },
            _ => {}
        }
    }

    /// It failed, and begins again later.
    pub fn fail(&mut self, now: Instant, failure: Failure) {
        let pause = PAUSE.millis() << self.row.min(DOUBLINGS);
        log!(
            "preloading failed: {} (status {}); once more in {} s",
            failure.words(),
            failure.status(),
            pause / 1_000
        );
        if let Failure::Download(DownloadError::Origin(failure)) = failure {
            self.trouble = Some(failure);
        }
        self.failures = self.failures.saturating_add(1);
        self.row = self.row.saturating_add(1);
        self.failure = Some(failure);
        self.state = State::Due(now + Duration::from_millis(pause));
    }
}
