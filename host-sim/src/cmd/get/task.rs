//! One URL on its way to a file.

use std::cell::LazyCell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use peerdist_core::download::origin::OriginFailure;
use peerdist_core::download::{self, DownloadError, DownloadEvent, HOST_BYTES, PATH_BYTES, Validator};
use peerdist_core::node::{DownloadId, Output};
use peerdist_hal::file::FileError;
use peerdist_hal::std::rustls::ClientConfig;
use peerdist_hal::std::rustls::pki_types::ServerName;
use peerdist_sim::net::names::Lookup;
use peerdist_sim::net::station::Station;
use url::Url;

use super::part::{Note, Part};
use super::report::Sources;

/// Redirects that are followed: as many as browsers follow.
const MAX_REDIRECTS: u32 = 20;

/// One URL.
pub struct Task {
    /// As it was asked for.
    pub asked: Url,
    /// Where redirects have led.
    pub url: Url,
    /// Where it goes.
    pub file: PathBuf,
    range: Range<u64>,
    /// How far it is.
    pub state: State,
    redirects: u32,
    /// Addresses of the origin, once they are known.
    addresses: Vec<SocketAddr>,
    lookup: Lookup,
    part: Option<Part>,
    /// Bytes that are in the file.
    pub received: u64,
    /// Of these, what an earlier attempt had left, without content information.
    resumed: Option<u64>,
    /// What is in the file is not of what the origin has now.
    stale: bool,
    /// It was begun afresh for that: a second time, it is the origin's fault.
    afresh: bool,
    /// Whether the origin gave content information.
    pub encoded: bool,
    total: Option<u64>,
    /// Where they came from.
    pub sources: Sources,
    /// What went wrong with the latest connection.
    trouble: Option<String>,
    /// What is to be said of it while it goes on.
    notice: Option<String>,
    /// What went wrong with the latest file of the cache.
    file_trouble: Option<String>,
    /// Where it goes on.
    moved: Option<String>,
    fault: Option<Fault>,
}

/// How far a task is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for a free download, or to go on elsewhere.
    Waiting,
    /// By this download.
    Running(DownloadId),
    /// The download has ended, and the file has to be put in its place.
    Ended(DownloadId),
    /// The file is there, with so many bytes.
    Done(u64),
    /// It is not to be had; see [`Task::fault`].
    Failed,
}

/// Why a task failed.
pub struct Fault {
    /// Of what kind.
    pub kind: Kind,
    /// A line that names the URL and the reason.
    pub text: String,
}

/// The exit codes of faults.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The origin does not give the content.
    Content = 1,
    /// Something on this machine.
    Local = 2,
    /// The way to the origin.
    Network = 3,
}

impl Task {
    /// A URL, for a file.
    pub fn new(url: Url, file: PathBuf, range: Range<u64>) -> Self {
        Self {
            asked: url.clone(),
            url,
            file,
            range,
            state: State::Waiting,
            redirects: 0,
            addresses: Vec::new(),
            lookup: Lookup::default(),
            part: None,
            received: 0,
            resumed: None,
            stale: false,
            afresh: false,
            encoded: false,
            total: None,
            sources: Sources::default(),
            trouble: None,
            notice: None,
            file_trouble: None,
            moved: None,
            fault: None,
        }
    }

    /// Whether it has come to an end.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Done(_) | State::Failed)
    }

    /// Whether it has begun: it has a file, and a download or is about to get one.
    pub fn is_under_way(&self) -> bool {
        self.part.is_some() && !self.is_over()
    }

    /// Why it failed, if it did.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// What is to be said of it while it goes on, once.
    pub fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// Bytes that are wanted, once that is known.
    pub fn len(&self) -> Option<u64> {
        let total = self.total?;
        Some(self.range.end.min(total).saturating_sub(self.range.start))
    }

    /// Bytes that came from the origin without content information.
    pub fn plain(&self) -> u64 {
        if self.encoded { 0 } else { self.received - self.resumed.unwrap_or(0) }
    }

    /// Begins, if there is a download free; whether it did something.
    pub fn begin(&mut self, station: &mut Station, tls: &LazyCell<Arc<ClientConfig>>) -> bool {
        if self.state != State::Waiting {
            return false;
        }
        if let Err(fault) = self.try_begin(station, tls) {
            self.fail(fault.kind, &fault.text);
        }
        self.state != State::Waiting
    }

    fn try_begin(&mut self, station: &mut Station, tls: &LazyCell<Arc<ClientConfig>>) -> Result<(), Fault> {
        let fault = |kind, text: String| Fault { kind, text };
        let local = |text: &str| fault(Kind::Local, text.to_string());
        if self.part.is_none() {
            let part = Part::new(&self.file);
            self.part = Some(part.map_err(|error| local(&format!("{}.part: {error}", self.file.display())))?);
        }
        let rest = self.rest();
        let rest = rest.map_err(|error| local(&format!("{}.part: {error}", self.file.display())))?;
        if self.addresses.is_empty() {
            let Some(addresses) = station.names.poll(&self.url, &mut self.lookup) else { return Ok(()) };
            let addresses = addresses.map_err(|error| fault(Kind::Network, error.to_string()))?;
            let reachable = station.driver.reachable(addresses);
            self.addresses = reachable.map_err(|text| fault(Kind::Network, text))?;
        }
        let &origin = self.addresses.first().ok_or(fault(Kind::Network, "the name has no address".into()))?;
        let name = self.url.host_str().ok_or(local("no host"))?;
        let host = match self.url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_string(),
        };
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_string(),
        };
        let too_long = |what: &str, most: usize| local(&format!("{what} of more than {most} bytes"));
        let host = host.as_str().try_into().map_err(|_| too_long("a host", HOST_BYTES))?;
        let path = path.as_str().try_into().map_err(|_| too_long("a path", PATH_BYTES))?;
        let now = station.now();
        let url = download::Url { origin, host, path };
        // All are in use: later.
        let (at, id) = match rest {
            Some((at, validator)) => {
                let end = self.total.unwrap_or(u64::MAX).min(self.range.end);
                let rest = self.range.start.saturating_add(at)..end;
                (Some(at), station.node.download_rest(now, url, rest, validator))
            }
            None => (None, station.node.download_range(now, url, self.range.clone())),
        };
        let Some(id) = id else { return Ok(()) };
        (self.resumed, self.received, self.sources) = (at, at.unwrap_or(0), Sources::default());
        self.sources.cache = self.received;
        station.driver.origins().reach(id, std::mem::take(&mut self.addresses));
        self.state = State::Running(id);
        if self.url.scheme() == "https" {
            let bare = name.trim_start_matches('[').trim_end_matches(']').to_string();
            match ServerName::try_from(bare) {
                Ok(name) => station.driver.origins().secure(id, (**tls).clone(), name),
                Err(error) => {
                    station.node.cancel_download(id);
                    station.driver.origins().forget(id);
                    return Err(local(&error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// How much of plain content is there already, and what tells that content. The last byte is asked for
    /// again, so that there is something to ask for.
    fn rest(&mut self) -> io::Result<Option<(u64, Validator)>> {
        let Some(part) = &mut self.part else { return Ok(None) };
        let Some(note) = part.note() else { return Ok(None) };
        let validator = Validator::from_slice(note.validator.as_bytes()).ok();
        let same = note.asked == self.asked.as_str() && note.start == self.range.start;
        let validator = validator.filter(|told| same && !told.is_empty() && told.is_ascii());
        let end = note.total.unwrap_or(u64::MAX).min(self.range.end);
        let most = end.saturating_sub(self.range.start);
        let at = part.len()?.checked_sub(1).filter(|at| *at < most);
        match at.zip(validator) {
            Some(rest) => {
                self.total = note.total;
                Ok(Some(rest))
            }
            None => part.clear().map(|()| None),
        }
    }

    /// Begins again from nothing, once.
    fn begin_afresh(&mut self) -> Result<(), Fault> {
        let clear = self.part.as_mut().map_or(Ok(()), Part::clear);
        let local =
            |error| Fault { kind: Kind::Local, text: format!("{}.part: {error}", self.file.display()) };
        clear.map_err(local)?;
        (self.afresh, self.stale, self.total, self.redirects) = (true, false, None, 0);
        (self.fault, self.url, self.state) = (None, self.asked.clone(), State::Waiting);
        self.addresses.clear();
        Ok(())
    }

    /// Notes what the file is a part of, once that is known.
    fn note(&mut self, station: &Station, id: DownloadId) -> io::Result<()> {
        let Some(part) = self.part.as_mut().filter(|part| part.note().is_none()) else { return Ok(()) };
        let validator = station.node.validator(id).filter(|_| self.received > 0 && !self.encoded);
        let Some(validator) = validator.and_then(|told| str::from_utf8(told).ok()) else { return Ok(()) };
        let (asked, url) = (self.asked.to_string(), without_query(&self.url));
        part.keep(Note::new(asked, url, self.range.start, self.total, validator.into()))
    }

    /// Takes what its download hands out.
    pub fn take(&mut self, output: Output<'_>) {
        match output {
            Output::Data { offset, data, .. } => {
                let Some(part) = &mut self.part else { return };
                // A redirect may lead elsewhere than before, where the same validator tells something else.
                let elsewhere = |note: &Note| note.url != without_query(&self.url);
                self.stale |= self.resumed.is_some() && part.note().is_some_and(elsewhere);
                if self.stale || self.fault.is_some() {
                    return;
                }
                if let Err(error) = part.write_at(offset.saturating_sub(self.range.start), data) {
                    let text = format!("{}.part, byte {offset}: {error}", self.file.display());
                    self.fault = Some(Fault { kind: Kind::Local, text });
                    return;
                }
                self.received += data.len() as u64;
            }
            Output::Moved { download, location } => {
                self.moved = Some(String::from_utf8_lossy(location).into_owned());
                self.state = State::Ended(download);
            }
            Output::Download { event: DownloadEvent::Begun { len, encoded }, .. } => {
                (self.total, self.encoded) = (len, encoded);
            }
            Output::Download { event: DownloadEvent::Block { range, source, failures }, .. } => {
                self.sources.block(range, source, &failures);
            }
            Output::Download { event: DownloadEvent::OriginFailed { failure, attempt, of }, .. } => {
                *self.sources.failures.entry(failure.to_string()).or_default() += 1;
                self.notice = Some(format!("{}: {failure} (attempt {attempt} of {of})", self.url));
            }
            Output::Download { download, event: DownloadEvent::Done { .. } } => {
                self.state = State::Ended(download);
            }
            Output::Download { download, event: DownloadEvent::Failed(error) } => {
                use OriginFailure::{BadReply, Broken, Changed, Coding, Silent, Status, Unreachable};
                let unfit = matches!(error, DownloadError::Origin(BadReply | Coding | Status(416)));
                self.stale |= error == DownloadError::Origin(Changed) || self.resumed.is_some() && unfit;
                let kind = match error {
                    DownloadError::Origin(Unreachable | Broken | Silent) => Kind::Network,
                    DownloadError::Origin(OriginFailure::Url) | DownloadError::Full => Kind::Local,
                    _ => Kind::Content,
                };
                self.fault = Some(Fault { kind, text: error.to_string() });
                self.state = State::Ended(download);
            }
            _ => {}
        }
    }

    /// A file of the cache could not be made, written, read or removed, and whether a block that was to be
    /// stored was not.
    pub fn take_file_trouble(&mut self, trouble: &FileError, is_of_block: bool) {
        let is_running = matches!(self.state, State::Running(_));
        if is_of_block && is_running && is_lasting(&trouble.error) && self.fault.is_none() {
            // A block that cannot be stored cannot be verified, and would be waited for in vain.
            self.fault = Some(Fault { kind: Kind::Local, text: trouble.to_string() });
        } else {
            self.file_trouble = Some(trouble.to_string());
        }
    }

    /// Draws the conclusions from what was handed out; whether something came to an end.
    pub fn settle(&mut self, station: &mut Station) -> bool {
        match self.state {
            State::Running(id) => {
                if let Err(error) = self.note(station, id) {
                    self.file_trouble = Some(format!("{}.part.from: {error}", self.file.display()));
                }
                if self.stale && !self.afresh {
                    self.cancel(station);
                    if let Err(fault) = self.begin_afresh() {
                        self.fail(fault.kind, &fault.text);
                    }
                    return true;
                }
                // A disk that is full, or a file that is not ours any more.
                if let Some(fault) = self.fault.take() {
                    self.cancel(station);
                    self.fail(fault.kind, &fault.text);
                    return true;
                }
                let Some(trouble) = station.driver.origins().take_trouble(id) else { return false };
                self.trouble = Some(trouble.error.to_string());
                // Nobody is there, under any of its addresses. After silence the node tries again.
                if !trouble.connected && trouble.refused {
                    self.cancel(station);
                    self.fail(Kind::Network, &trouble.error.to_string());
                    return true;
                }
                false
            }
            State::Ended(id) => {
                station.driver.origins().forget(id);
                self.state = State::Waiting;
                if self.stale && !self.afresh {
                    if let Err(fault) = self.begin_afresh() {
                        self.fail(fault.kind, &fault.text);
                    }
                } else if let Some(fault) = self.fault.take() {
                    let mut text = fault.text;
                    let reason = self.file_trouble.take().filter(|_| fault.kind == Kind::Local);
                    for reason in reason.into_iter().chain(self.trouble.take()) {
                        text += &format!(" ({reason})");
                    }
                    self.fail(fault.kind, &text);
                } else if let Some(location) = self.moved.take() {
                    if let Err(text) = self.follow(&location) {
                        self.fail(Kind::Content, &text);
                    }
                } else if let Some(len) = self.len().filter(|len| *len != self.received) {
                    let text = format!("{} bytes came of {len}", self.received);
                    self.fail(Kind::Network, &text);
                } else if let Some(part) = self.part.take() {
                    let len = self.received;
                    match part.persist(len) {
                        Ok(()) => self.state = State::Done(len),
                        Err(error) => {
                            let file = self.file.display();
                            self.fail(Kind::Local, &format!("{file}: {error}; what came is in {file}.part"));
                        }
                    }
                }
                true
            }
            State::Waiting | State::Done(_) | State::Failed => false,
        }
    }

    /// Goes on at another URL.
    fn follow(&mut self, location: &str) -> Result<(), String> {
        self.redirects += 1;
        if self.redirects > MAX_REDIRECTS {
            return Err(format!("more than {MAX_REDIRECTS} redirects, the last to {location}"));
        }
        let wrong = |why: &dyn std::fmt::Display| format!("redirect to {location}: {why}");
        let next = self.url.join(location).map_err(|error| wrong(&error))?;
        check(&next).map_err(|why| wrong(&why))?;
        if self.url.scheme() == "https" && next.scheme() != "https" {
            return Err(wrong(&"from https to http"));
        }
        self.url = next;
        self.addresses.clear();
        Ok(())
    }

    /// Ends its download, if it has one.
    pub fn cancel(&mut self, station: &mut Station) {
        if let State::Running(id) = self.state {
            station.node.cancel_download(id);
            station.driver.origins().forget(id);
        }
        self.state = State::Waiting;
    }

    fn fail(&mut self, kind: Kind, text: &str) {
        (self.part, self.notice) = (None, None);
        self.state = State::Failed;
        self.fault = Some(Fault { kind, text: format!("{}: {text}", self.url) });
    }
}

/// Whether it does not pass by itself: a disk that is full, a folder that is gone or that we may not write to.
fn is_lasting(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    let full = matches!(error.kind(), E::FileTooLarge | E::QuotaExceeded | E::StorageFull);
    full || matches!(error.kind(), E::NotFound | E::PermissionDenied | E::ReadOnlyFilesystem)
}

/// Whether it can be fetched.
pub fn check(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is neither http nor https", url.scheme()));
    }
    if !url.has_host() {
        return Err("it names no host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("names and passwords in URLs are not sent".into());
    }
    Ok(())
}

/// The URL without what may change from time to time, such as a signature.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// The name of a file for it: the last part of its path.
pub fn name_of(url: &Url) -> Option<String> {
    let name = url.path_segments()?.next_back()?;
    // What is an escape stays one, so that no name leads out of the folder.
    (!name.is_empty() && !name.starts_with('.')).then(|| name.to_string())
}
