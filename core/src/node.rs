//! One peer, whole: bytes, time and entropy in; bytes and events out.
//!
//! The node passes events between the parts and owns what they share: the table of streams, the
//! table of jobs, both stores. It decides nothing that a part can decide.
//!
//! **The contract.** After every call that changes something, drain: call
//! [`poll_output`](Node::poll_output) until it returns `None`, and
//! [`poll_stream`](Node::poll_stream) for every stream with room to send. Then wait for input, or
//! until [`poll_timeout`](Node::poll_timeout). The crate's front page shows the loop.

use core::net::SocketAddr;
use core::ops::Range;

use heapless::{Deque, Vec, VecView};
use rand_core::CryptoRng;

use crate::api::client::{
    ApiError, CONTENTS, Client, Completion, ContentHandle, ContentTag, DOWNLOAD_INTAKES, INTAKES, Parts,
    Patience, READS, ReadError, ReadId,
};
use crate::api::{Api, Application, Installed, NoApplication};
use crate::bytes::Len;
use crate::crypto::{CipherAlgorithm, Crypto};
use crate::discovery::{self, Subnet, wire::Message};
use crate::download::origin::OriginStream;
use crate::download::{Download, DownloadEvent, ORIGIN_STREAMS, Url, Validator, WINDOW};
use crate::encoding::InfoVersion;
use crate::fetch::stream::{Answer, Desk, PeerStream};
use crate::fetch::{self, Ask, Cause, Fetch, Job};
use crate::hosted;
use crate::hosted::client::Places;
pub use crate::limits::DOWNLOADS;
use crate::limits::MAX_UPLOADS;
use crate::offering::OfferStream;
use crate::retrieval::client::AcceptPlain;
use crate::serve::{self, Upload};
use crate::store::{Storage, StoreError};
use crate::time::{Duration, Instant, earliest};

use downloads::Place;
use offers::told;
pub use service::{ClientOnly, Hosted, HostedCache, Offering, Service, Serving};

/// Reads of the application at once, until it has ended them: what downloads leave of [`READS`].
pub const APPLICATION_READS: usize = READS - DOWNLOADS * WINDOW;

// Downloads leave some of what they share with the application.
const _: () = {
    assert!(READS > DOWNLOADS * WINDOW);
    assert!(INTAKES > DOWNLOADS * DOWNLOAD_INTAKES && DOWNLOAD_INTAKES == ORIGIN_STREAMS);
    assert!(CONTENTS > DOWNLOADS);
};

/// How long no connection is asked for after one found no socket.
const SOCKET_WAIT: Duration = Duration::from_millis(100);

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The TCP port on which peers find our blocks (fact 49: 80 by default, and often taken).
    pub port: u16,
    /// Grows with each start of the machine, so that other peers notice the restart (MS-PCCRD
    /// 2.2.3.6): seconds of a clock, or a counter in flash.
    pub instance_id: u32,
    /// Uploads at once (MS-PCCRR 3.2.1: 64 by default, MUST be configurable); those beyond are
    /// told that nothing is here.
    pub max_uploads: usize,
    /// Streams that incoming connections never take, so that we can fetch while we serve; half of
    /// all at most, so that we can serve at all.
    pub reserved_streams: usize,
    /// How data from the origin is encrypted, and what peers send unencrypted.
    pub cipher: CipherAlgorithm,
    /// Hosted caches: the first that can be is asked for what no peer has, and what comes from origins is offered to
    /// it, where the [`Service`] does that ([`Offering`]).
    pub hosted_caches: Places,
    /// Whether peers are looked for, and told what is here (distributed mode). Without it, nothing is probed for,
    /// and probes are not heard.
    pub distributed: bool,
    /// What is taken from peers that do not encrypt.
    pub accept_plain: AcceptPlain,
    /// The highest version of content information that origins are asked for. What they give may
    /// be lower (MS-PCCRTP 3.1.4).
    pub content_information: InfoVersion,
    /// Probing.
    pub discovery: discovery::client::Config,
    /// Answering probes.
    pub answer: discovery::server::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 80,
            instance_id: 1,
            max_uploads: MAX_UPLOADS,
            reserved_streams: 4,
            cipher: CipherAlgorithm::Aes128,
            hosted_caches: Places::new(),
            distributed: true,
            accept_plain: AcceptPlain::No,
            content_information: InfoVersion::V1,
            discovery: discovery::client::Config::default(),
            answer: discovery::server::Config::default(),
        }
    }
}

/// A TCP connection: an index into the table of streams, and its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StreamId {
    /// Which row: below `STREAMS`.
    pub index: u16,
    /// Which use of it.
    pub generation: u32,
}

/// A download under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DownloadId {
    index: u8,
    generation: u32,
}

/// What goes in.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Only time has passed.
    Timeout,
    /// A datagram came to UDP port 3702, multicast or not.
    Datagram {
        /// From whom.
        from: SocketAddr,
        /// Its payload.
        data: &'a [u8],
    },
    /// A connection that we asked for is open.
    Connected {
        /// Which.
        stream: StreamId,
    },
    /// Bytes of a stream. What is not used must be offered again, first of all.
    Data {
        /// Of which.
        stream: StreamId,
        /// In order.
        data: &'a [u8],
    },
    /// The other side sends no more, and all its bytes were used.
    Eof {
        /// On which.
        stream: StreamId,
    },
    /// The connection is lost, or never came about.
    Lost {
        /// Which.
        stream: StreamId,
    },
    /// Our side has no socket for a connection that was asked for: nothing was sent, and the other
    /// side is not to blame. It is asked for again a little later.
    NoSocket {
        /// Which.
        stream: StreamId,
    },
}

impl core::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Timeout => f.write_str("Timeout"),
            Self::Datagram { from, data } => {
                f.debug_struct("Datagram").field("from", from).field("data", &Len(data)).finish()
            }
            Self::Connected { stream } => f.debug_struct("Connected").field("stream", stream).finish(),
            Self::Data { stream, data } => {
                f.debug_struct("Data").field("stream", stream).field("data", &Len(data)).finish()
            }
            Self::Eof { stream } => f.debug_struct("Eof").field("stream", stream).finish(),
            Self::Lost { stream } => f.debug_struct("Lost").field("stream", stream).finish(),
            Self::NoSocket { stream } => f.debug_struct("NoSocket").field("stream", stream).finish(),
        }
    }
}

/// What a connection is for, and so whether it has to be secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Purpose {
    /// To ask a peer, or a hosted cache, for blocks: never secured.
    Blocks,
    /// To ask the origin of that download: secured as its URL says.
    Origin(DownloadId),
    /// To offer something to the hosted cache of that number in [`Config::hosted_caches`]: secured where that is of
    /// version 1.0 (MS-PCHC 2.1).
    Offers(u8),
}

/// What comes out.
pub enum Output<'a> {
    /// Send this from UDP port 3702. Multicast goes out with a TTL of 1.
    Datagram {
        /// To whom: a group, or one peer.
        to: SocketAddr,
        /// Its payload.
        data: &'a [u8],
    },
    /// Open a TCP connection.
    Connect {
        /// What to call it.
        stream: StreamId,
        /// To where.
        remote: SocketAddr,
        /// What for.
        purpose: Purpose,
    },
    /// Send what has been polled, then close. The stream is forgotten here.
    Close {
        /// Which.
        stream: StreamId,
    },
    /// Reset at once. The stream is forgotten here.
    Abort {
        /// Which.
        stream: StreamId,
    },
    /// Offer the bytes again that were not used.
    Resume {
        /// Of which.
        stream: StreamId,
    },
    /// Verified bytes of a download; or plain ones, of an origin without content information.
    /// Blocks come in any order.
    Data {
        /// Of which.
        download: DownloadId,
        /// Where they belong in the content.
        offset: u64,
        /// What they are.
        data: &'a [u8],
    },
    /// The origin says that the content is at another place; the download is over.
    Moved {
        /// Which.
        download: DownloadId,
        /// The value of `Location` (RFC 9110, 10.2.2): a URL, absolute or relative, if it is well made.
        location: &'a [u8],
    },
    /// Something happened to a download.
    Download {
        /// Which.
        download: DownloadId,
        /// What.
        event: DownloadEvent,
    },
}

impl core::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Datagram { to, data } => {
                f.debug_struct("Datagram").field("to", to).field("data", &Len(data)).finish()
            }
            Self::Connect { stream, remote, purpose } => {
                let mut shown = f.debug_struct("Connect");
                shown.field("stream", stream).field("remote", remote).field("purpose", purpose).finish()
            }
            Self::Close { stream } => f.debug_struct("Close").field("stream", stream).finish(),
            Self::Abort { stream } => f.debug_struct("Abort").field("stream", stream).finish(),
            Self::Resume { stream } => f.debug_struct("Resume").field("stream", stream).finish(),
            Self::Data { download, offset, data } => {
                let data = &Len(data);
                let mut shown = f.debug_struct("Data");
                shown.field("download", download).field("offset", offset).field("data", data).finish()
            }
            Self::Moved { download, location } => {
                f.debug_struct("Moved").field("download", download).field("location", &Len(location)).finish()
            }
            Self::Download { download, event } => {
                f.debug_struct("Download").field("download", download).field("event", event).finish()
            }
        }
    }
}

/// The stream cannot go on: what was promised cannot be sent, or it is not known. Reset it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StreamError;

impl core::fmt::Display for StreamError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the stream cannot go on")
    }
}

impl core::error::Error for StreamError {}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Uploads.
    pub serve: serve::Counters,
    /// Fetching from peers.
    pub fetch: crate::fetch::Counters,
    /// Probing.
    pub probe: discovery::client::Counters,
    /// Answering probes.
    pub answer: discovery::server::Counters,
    /// Datagrams that were no message.
    pub malformed_datagrams: u32,
    /// Connections that were refused for want of a stream.
    pub refused: u32,
    /// Connections that were closed for others, since they asked nothing or did not take their reply.
    pub gave_way: u32,
}

/// One peer over a store `S`, a crypto provider `C` and a source of entropy `R`, with `STREAMS`
/// connections and `BLOCKS` blocks being fetched at a time.
///
/// The last parameters say what a device does. With no `DOWNLOADS` the application gets from the
/// origin itself what no peer has, and adds it by [`add_data`](Self::add_data); a [`ClientOnly`] serves
/// nobody; an [`Application`] publishes. What is not done is not linked, and has no table.
pub struct Node<
    S,
    C,
    R,
    const STREAMS: usize,
    const BLOCKS: usize,
    const DOWNLOADS: usize = { self::DOWNLOADS },
    P = Serving,
    A = NoApplication,
> {
    config: Config,
    common: Common<S, C, R, BLOCKS>,
    /// Rows come about when they are first used: an array of them would lie on the stack once more while the node
    /// is made.
    streams: Vec<Stream, STREAMS>,
    service: P,
    application: A,
    client: Client,
    downloads: [Place; DOWNLOADS],
    for_application: Deque<Completion, APPLICATION_READS>,
    /// Whether work is left that needs no input.
    busy: bool,
    /// When it was moved on last.
    worked: Instant,
    /// Before then, no connection is asked for: there was no socket for the last one.
    dial_after: Instant,
    counters: Counters,
}

/// What all parts work with.
struct Common<S, C, R, const BLOCKS: usize> {
    storage: S,
    crypto: C,
    rng: R,
    fetch: Fetch,
    jobs: [Job; BLOCKS],
    cipher: CipherAlgorithm,
}

/// A row of the table of streams.
struct Stream {
    generation: u32,
    role: Role,
    /// The adapter has to be told.
    due: Option<Due>,
    resume: bool,
}

enum Role {
    Free,
    Serve(Upload),
    Fetch(PeerStream),
    /// Of the download in that place.
    Origin(u8, OriginStream),
    /// To a hosted cache that takes offers.
    Offers(OfferStream),
}

#[derive(Clone, Copy)]
enum Due {
    Connect(SocketAddr),
    Close,
    Abort,
}

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>
    Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    P: Service,
    A: Application,
{
    /// The reads of a download are rows of the table that the application's are in.
    const FITS: () = assert!(DOWNLOADS <= self::DOWNLOADS, "more downloads than there are reads for");

    /// A peer that knows nobody. `rng` must be fit for keys: IVs come from it.
    #[inline(always)]
    pub fn new(config: Config, storage: S, crypto: C, mut rng: R) -> Self {
        const { Self::FITS };
        let mut hosted = Vec::new();
        // There is room for as many. Collecting panics where there is not.
        for place in &config.hosted_caches {
            let _ = hosted.push(place.blocks);
        }
        let fetch = fetch::Config {
            discovery: config.discovery.clone(),
            hosted,
            distributed: config.distributed,
            cipher: config.cipher,
        };
        let cipher = config.cipher;
        // What is large is made where it stays: nothing of it lies on the stack beside.
        Self {
            service: P::new(config.answer.clone(), config.instance_id, &mut rng),
            config,
            common: Common {
                storage,
                crypto,
                rng,
                fetch: Fetch::new(fetch),
                jobs: [const { Job::FREE }; BLOCKS],
                cipher,
            },
            streams: Vec::new(),
            application: A::new(),
            client: Client::new(DOWNLOADS),
            downloads: Place::all_free(),
            for_application: Deque::new(),
            busy: false,
            worked: Instant::ZERO,
            dial_after: Instant::ZERO,
            counters: Counters::default(),
        }
    }

    /// Tells the addresses under which peers reach us, and their networks, outside of which nobody is
    /// asked or answered: one of each family at most, the first that is named. Without any, probes are
    /// not answered, and answers are not taken.
    #[inline(never)]
    pub fn set_addresses(&mut self, addresses: &[Subnet]) {
        if let Some(server) = self.service.server_mut() {
            server.set_addresses(addresses);
        }
        self.common.fetch.discovery().set_addresses(addresses);
        // That is the one by which answers of version 1 name us (fact 24).
        let first = |v4: bool| addresses.iter().find(|net| net.address.is_ipv4() == v4);
        let ours = first(true).or(first(false)).map(|net| SocketAddr::new(net.address, self.config.port));
        self.common.fetch.set_us(ours);
    }

    /// What can be set.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The store of blocks and of content information that it was built with.
    pub fn storage(&self) -> &S {
        &self.common.storage
    }

    /// The same, to have blocks forgotten: none that is pinned, for those are being read or sent.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.common.storage
    }

    /// The crypto provider.
    pub fn crypto(&self) -> &C {
        &self.common.crypto
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        let fetch = self.common.fetch.counters;
        let answer = self.service.server().map(|server| server.counters()).unwrap_or_default();
        let probe = self.common.fetch.probe_counters();
        Counters { fetch, probe, answer, ..self.counters }
    }

    /// What it keeps for applications.
    pub fn application(&mut self) -> &mut A {
        &mut self.application
    }

    /// What the node does for others.
    pub fn service(&mut self) -> &mut P {
        &mut self.service
    }

    /// What a hosted cache knows of offers, where the node is one.
    pub fn hosted(&mut self) -> Option<&mut hosted::server::State> {
        self.service.hosted().map(|Hosted { server, .. }| server.state)
    }

    /// What is to be offered to hosted caches, where the node offers it.
    pub fn offers(&mut self) -> Option<hosted::client::Client<'_>> {
        self.service.offers()
    }

    /// Takes an incoming connection on our port; `None` if it has to be refused: no stream is
    /// free beyond those in reserve, and all others are busy; or nobody is served at all.
    pub fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.accept_some(now, remote, false)
    }

    /// The same of one that the adapter secures by TLS: offers of version 1.0 to a hosted cache come by those, and
    /// by no others (MS-PCHC 2.1).
    pub fn accept_secured(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.accept_some(now, remote, true)
    }

    #[inline(never)]
    fn accept_some(&mut self, now: Instant, remote: SocketAddr, secured: bool) -> Option<StreamId> {
        if !P::SERVES {
            return None;
        }
        let taken = self.streams.iter().filter(|stream| !stream.is_free()).count();
        let free = STREAMS.saturating_sub(taken);
        let reserved = self.config.reserved_streams.min(STREAMS / 2);
        // Whoever keeps a connection without asking anything gives way to who may have a question.
        if free <= reserved && !self.make_room(now) {
            self.counters.refused = self.counters.refused.wrapping_add(1);
            return None;
        }
        self.open(Role::Serve(Upload::new(now, remote, self.service.role(), secured)), None)
    }

    /// Ends the upload that gives way and was idle for longest; whether there is one.
    fn make_room(&mut self, now: Instant) -> bool {
        let give_way = (0u16..).zip(&mut self.streams).filter_map(|(index, stream)| match &stream.role {
            Role::Serve(upload) if upload.gives_way(now) => {
                Some((upload.deadline(), upload.is_idle(), index, stream))
            }
            _ => None,
        });
        let Some((_, idle, index, stream)) = give_way.min_by_key(|(deadline, ..)| *deadline) else {
            return false;
        };
        let id = StreamId { index, generation: stream.generation };
        stream.dismiss(if idle { Due::Close } else { Due::Abort });
        self.forget_offer(id);
        self.counters.gave_way = self.counters.gave_way.wrapping_add(1);
        true
    }

    /// Takes an input and returns how many of its bytes were used: all, except of
    /// [`Input::Data`], whose rest is asked for by [`Output::Resume`].
    #[inline(never)]
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        match input {
            Input::Timeout => 0,
            Input::Datagram { from, data } => {
                self.handle_datagram(now, from, data);
                data.len()
            }
            Input::Connected { stream } => {
                match self.role(stream) {
                    Some(Role::Fetch(peer)) => peer.handle_connected(now),
                    Some(Role::Origin(_, origin)) => origin.handle_connected(now),
                    Some(Role::Offers(offers)) => offers.handle_connected(now),
                    _ => {}
                }
                0
            }
            Input::Data { stream, data } => match self.role(stream) {
                // By itself, since what comes of it goes deeper than anything else.
                Some(Role::Origin(..)) => self.handle_origin_data(now, stream, data),
                _ => self.handle_data(now, stream, data),
            },
            Input::Eof { stream } => {
                self.handle_eof(now, stream);
                0
            }
            Input::Lost { stream } => {
                self.lose(now, stream, None);
                0
            }
            Input::NoSocket { stream } => {
                self.handle_no_socket(now, stream);
                0
            }
        }
    }

    /// The next thing for the caller to do; `None` when all is drained. `buf` carries datagrams
    /// and data: 1,400 bytes at least, more for speed.
    #[inline(never)]
    pub fn poll_output<'b>(&mut self, now: Instant, buf: &'b mut [u8]) -> Option<Output<'b>> {
        self.work(now);
        if let Some(output) = self.stream_output() {
            return Some(output);
        }
        if let Some((to, len)) = self.common.fetch.discovery().poll_transmit(now, buf) {
            return Some(Output::Datagram { to, data: buf.get(..len)? });
        }
        if let Some(server) = self.service.server_mut()
            && let Some((to, len)) = server.poll_transmit(now, self.config.port, buf)
        {
            return Some(Output::Datagram { to, data: buf.get(..len)? });
        }
        if let Some(output) = self.download_output() {
            return Some(output);
        }
        self.data_output(buf)
    }

    /// Fills the front of `buf`, the free room of a stream's socket, and returns how much.
    #[inline(never)]
    pub fn poll_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        buf: &mut [u8],
    ) -> Result<usize, StreamError> {
        let Self { streams, common, counters, downloads, config, service, busy, .. } = self;
        let row = row(streams, stream).ok_or(StreamError)?;
        let result = match &mut row.role {
            Role::Fetch(peer) => Ok(peer.poll(buf)),
            Role::Origin(index, origin) => {
                let download = downloads.get(usize::from(*index)).and_then(|place| place.download.as_ref());
                let max_info = config.content_information;
                Ok(download.map_or(0, |download| download.poll_origin(origin, max_info, buf)))
            }
            Role::Offers(stream) if P::OFFERS => service.offers().map_or(Ok(0), |mut client| {
                let sent = stream.poll(&client, config.port, &common.storage, buf);
                sent.map_err(|failure| {
                    client.failed(now, &config.hosted_caches, failure, &mut common.storage);
                    *busy = true;
                    StreamError
                })
            }),
            Role::Serve(upload) if P::SERVES => {
                let waited = !upload.wants_input();
                let result = upload.poll(now, &mut common.storage, &mut counters.serve, buf);
                row.resume |= waited && upload.wants_input();
                if upload.is_over() && result.is_ok() {
                    row.due = Some(Due::Close);
                }
                result.map_err(|_: StoreError| StreamError)
            }
            Role::Free | Role::Serve(_) | Role::Offers(_) => Err(StreamError),
        };
        if result.is_err() {
            row.free();
        }
        result
    }

    /// When [`poll_output`](Self::poll_output) has something to do even if no input comes. `now`
    /// itself means at once: the last call left work, so that it did not take too long.
    #[inline(never)]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.busy || self.downloads.iter().any(Place::has_event) {
            return Some(now);
        }
        let mut next = earliest(self.common.fetch.poll_timeout(), self.client.poll_timeout());
        next = earliest(next, self.service.server().and_then(|server| server.poll_timeout()));
        next = earliest(next, self.application.poll_timeout());
        next = earliest(next, self.service.poll_timeout(now, &self.config.hosted_caches));
        next = earliest(next, Some(self.dial_after).filter(|at| *at > now));
        for place in &self.downloads {
            next = earliest(next, place.poll_timeout(now));
        }
        for stream in &self.streams {
            next = earliest(next, stream.deadline());
        }
        next
    }

    /// Begins to download `url`; `None` while `DOWNLOADS` are under way.
    pub fn download(&mut self, now: Instant, url: Url) -> Option<DownloadId> {
        self.download_range(now, url, 0..u64::MAX)
    }

    /// The same of what lies in `range`, which may reach beyond the end, but not be empty. Whole blocks are
    /// fetched and kept; what is outside is not handed out.
    pub fn download_range(&mut self, now: Instant, url: Url, range: Range<u64>) -> Option<DownloadId> {
        self.begin_download(now, url, range).map(|(id, _)| id)
    }

    /// The same of content that an earlier download got plainly and in part, if it is still what
    /// `validator` tells; or else it fails with [`Changed`](crate::download::origin::OriginFailure::Changed).
    /// What came before lies in front of `range`.
    pub fn download_rest(
        &mut self,
        now: Instant,
        url: Url,
        range: Range<u64>,
        validator: Validator,
    ) -> Option<DownloadId> {
        let (id, download) = self.begin_download(now, url, range)?;
        download.resume(&validator);
        Some(id)
    }

    /// What tells the content of a download from a later one, once the first bytes of it are here and if the
    /// origin gives it plainly: for [`Node::download_rest`].
    pub fn validator(&self, download: DownloadId) -> Option<&Validator> {
        self.under_way(download)?.validator()
    }

    /// Ends a download; no more comes of it. What is cached stays.
    pub fn cancel_download(&mut self, download: DownloadId) {
        self.drop_download(download);
    }

    /// Opens an empty content (PeerDistClientOpenContent).
    pub fn open_content(&mut self, tag: ContentTag) -> Result<ContentHandle, ApiError> {
        self.client.open_content(&mut self.common.storage, tag)
    }

    /// Closes a content (PeerDistClientCloseContent).
    pub fn close_content(&mut self, content: ContentHandle) -> Result<(), ApiError> {
        self.client.close_content(content, &mut self.common.lend())
    }

    /// Adds content information (PeerDistClientAddContentInformation).
    pub fn add_content_information(&mut self, content: ContentHandle, bytes: &[u8]) -> Result<(), ApiError> {
        self.client.add_content_information(&mut self.common.storage, content, bytes)
    }

    /// Completes content information (PeerDistClientCompleteContentInformation); reads can begin
    /// once [`is_ready`](Self::is_ready).
    pub fn complete_content_information(&mut self, content: ContentHandle) -> Result<(), ApiError> {
        self.busy = true;
        self.client.complete_content_information(&mut self.common.storage, content)
    }

    /// Whether reads can begin.
    pub fn is_ready(&self, content: ContentHandle) -> Result<bool, ApiError> {
        self.client.is_ready(content).map(|info| info.is_some())
    }

    /// Reads at an offset (PeerDistClientBlockRead); ends in [`poll_completion`](Self::poll_completion).
    pub fn block_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        offset: u64,
        max: u64,
        patience: impl Into<Patience>,
    ) -> Result<ReadId, ApiError> {
        self.check_reads()?;
        self.busy = true;
        self.client.block_read(now, content, offset, max, patience.into())
    }

    /// Reads on (PeerDistClientStreamRead); ends in [`poll_completion`](Self::poll_completion).
    pub fn stream_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        max: u64,
        patience: impl Into<Patience>,
    ) -> Result<ReadId, ApiError> {
        self.check_reads()?;
        self.busy = true;
        self.client.stream_read(now, content, max, patience.into())
    }

    /// A read of the application that has ended.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.for_application.pop_front()
    }

    /// Copies data of a completed read, from `skip` bytes into it.
    pub fn copy_read(&mut self, read: ReadId, skip: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.client.copy_read(&mut self.common.storage, &mut self.common.crypto, read, skip, buf)
    }

    /// Ends a read: gives its data free, or cancels it.
    pub fn end_read(&mut self, read: ReadId) {
        self.client.end_read(&mut self.common.lend(), read);
    }

    /// Adds data from the origin (PeerDistClientAddData): how many bytes were used, up to the end
    /// of their block, and what became of them.
    pub fn add_data(
        &mut self,
        content: ContentHandle,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(usize, crate::api::client::Added), ApiError> {
        let Self { service, config, common, client, .. } = self;
        let mut parts = Parts { told: told(service, config), ..common.lend() };
        client.add_data(&mut parts, content, offset, bytes)
    }

    /// Refuses the application's reads beyond [`APPLICATION_READS`]: each may need room for its
    /// completion, and a row of the table that downloads share.
    fn check_reads(&self) -> Result<(), ApiError> {
        if self.reads_left() > 0 { Ok(()) } else { Err(ApiError::Full) }
    }
}

mod api;
mod downloads;
mod drive;
mod offers;
mod service;

impl Stream {
    fn is_free(&self) -> bool {
        matches!(self.role, Role::Free) && self.due.is_none()
    }

    /// Forgets the stream: whatever the adapter still says of it is ignored.
    fn free(&mut self) {
        self.role = Role::Free;
        self.due = None;
        self.resume = false;
        self.generation = self.generation.wrapping_add(1);
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Free => None,
            Role::Serve(upload) => Some(upload.deadline()),
            Role::Fetch(peer) => Some(peer.deadline()),
            Role::Origin(_, origin) => Some(origin.deadline()),
            Role::Offers(offers) => offers.deadline(),
        }
    }
}

/// The place of a row that is free.
#[inline(never)]
fn free_row(streams: &mut VecView<Stream>) -> Option<usize> {
    streams.iter().position(Stream::is_free).or_else(|| {
        let row = Stream { generation: 0, role: Role::Free, due: None, resume: false };
        streams.push(row).ok()?;
        streams.len().checked_sub(1)
    })
}

fn row(streams: &mut [Stream], id: StreamId) -> Option<&mut Stream> {
    streams.get_mut(usize::from(id.index)).filter(|stream| stream.generation == id.generation)
}

#[cfg(test)]
mod tests;
