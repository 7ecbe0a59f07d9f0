//! The node at work: input to the right part, events from one part to the next.

use super::*;
use crate::content::SegmentId;
use crate::discovery::Addresses;
use crate::discovery::server::Holding;
use crate::discovery::wire::Availability;
use crate::hosted::server::{Desk as _, Key};
use crate::limits::SEGMENT_BLOCKS;
use crate::serve::Offers;

/// Passes over all parts in one call.
const PASSES: usize = 4;

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>
    Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    P: Service,
    A: Application,
{
    #[inline(never)]
    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        let Self {
            common: Common { storage, rng, fetch, .. }, service, config, counters, application, ..
        } = self;
        // Who does not look for peers is none.
        if !config.distributed {
            return;
        }
        match discovery::wire::parse(data) {
            Ok(Message::Probe(probe)) => {
                hear(application, fetch.discovery().addresses(), now, from, probe.scopes.ids());
                let Some(server) = service.server_mut() else {
                    // Who serves nobody hears all the same who else gets a segment.
                    let ours = fetch.discovery().addresses();
                    if DOWNLOADS > 0 && ours.is_local(from.ip()) && !ours.contains(from.ip()) {
                        probe.scopes.ids().for_each(|segment| fetch.heard(now, from.ip(), &segment));
                    }
                    return;
                };
                let is_us = server.addresses().contains(from.ip());
                server.handle_probe(now, rng, from, &probe, &mut |segment| {
                    if DOWNLOADS > 0 && !is_us {
                        fetch.heard(now, from.ip(), segment);
                    }
                    storage.blocks(segment)
                });
            }
            Ok(Message::ProbeMatches(matches)) => {
                // Without an address of ours, nothing tells who is on the local subnet.
                let ours = fetch.discovery().addresses().clone();
                if ours.is_empty() {
                    return;
                }
                let is_us = |peer: SocketAddr| peer.port() == config.port && ours.contains(peer.ip());
                fetch.handle_matches(now, from, &matches, &is_us);
            }
            Ok(Message::ProbeV2(probe)) => {
                hear(application, fetch.discovery().addresses(), now, from, probe.ids.iter());
                let Some(server) = service.server_mut() else { return };
                server.handle_probe_v2(now, rng, from, &probe, &mut |segment| Holding {
                    // MS-PCCRD 2.2.3.3: the low bit MUST be 0 where not all blocks are here. A segment
                    // of content information 2.0 has a single block (fact 12); one of 1.0, which may
                    // be asked for in this form, is known to be whole only if it has the most.
                    availability: match storage.blocks(segment) {
                        0 => Availability::Nothing,
                        1 | SEGMENT_BLOCKS.. => Availability::All,
                        _ => Availability::Some,
                    },
                    age: storage.age(segment, now),
                });
            }
            Ok(Message::Other) => {}
            // MS-PCCRD 3.1.6, 3.2.6: all malformed messages MUST be silently discarded.
            Err(_) => counters.malformed_datagrams = counters.malformed_datagrams.wrapping_add(1),
        }
    }

    #[inline(never)]
    pub(super) fn handle_data(&mut self, now: Instant, id: StreamId, data: &[u8]) -> usize {
        let Self { streams, common, counters, config, service, .. } = self;
        let is_active = |stream: &&Stream| matches!(&stream.role, Role::Serve(upload) if upload.is_active());
        let active = if P::SERVES { streams.iter().filter(is_active).count() } else { 0 };
        let Some(stream) = row(streams, id) else { return data.len() };
        match &mut stream.role {
            Role::Serve(upload) if P::SERVES => {
                let busy = active >= config.max_uploads;
                let mut hosted = service.hosted();
                let offers = hosted.as_mut().map(|hosted| Offers { desk: &mut hosted.server, key: key(id) });
                upload.handle(now, &mut common.storage, offers, &mut counters.serve, busy, data)
            }
            Role::Fetch(peer) => {
                let asked = peer.asks();
                let Common { fetch, jobs, storage, crypto, rng, .. } = common;
                let desk = &mut Desk { fetch, jobs, store: storage, crypto, rng };
                let (used, answer) = peer.handle(now, desk, data);
                let gone_wrong = matches!(answer, Some(Answer::Failed(Cause::BadReply)));
                let idle_talk = asked.is_none() && !data.is_empty();
                if gone_wrong || idle_talk || (peer.is_idle() && !peer.keeps_open()) {
                    stream.dismiss(if gone_wrong || idle_talk { Due::Abort } else { Due::Close });
                }
                common.answered(now, asked, answer);
                if idle_talk { data.len() } else { used }
            }
            Role::Offers(..) if P::OFFERS => self.handle_response(now, id, data),
            Role::Free | Role::Serve(_) | Role::Origin(..) | Role::Offers(..) => data.len(),
        }
    }

    pub(super) fn handle_eof(&mut self, now: Instant, id: StreamId) {
        let crowded = self.is_crowded(now, id, None);
        let Self { streams, common, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        match &mut stream.role {
            Role::Free => {}
            Role::Serve(upload) => {
                upload.handle_eof();
                if upload.is_over() {
                    stream.dismiss(Due::Close);
                    self.forget_offer(id);
                }
            }
            Role::Fetch(peer) => {
                let asked = peer.asks().filter(|_| !crowded);
                let answer = peer.handle_eof(now, &mut common.storage);
                stream.dismiss(Due::Close);
                common.answered(now, asked, answer);
            }
            Role::Origin(..) => self.lose_origin(now, id, true, None),
            Role::Offers(..) if P::OFFERS => self.lose_offers(now, id, true, None),
            Role::Offers(..) => {}
        }
    }

    /// A stream is lost: to the network, or to its own deadline, which is `cause`.
    #[inline(never)]
    pub(super) fn lose(&mut self, now: Instant, id: StreamId, cause: Option<Cause>) {
        let crowded = cause != Some(Cause::TimedOut) && self.is_crowded(now, id, cause);
        let Self { streams, common, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        match &mut stream.role {
            Role::Free => stream.end(cause),
            Role::Serve(_) => {
                stream.end(cause);
                self.forget_offer(id);
            }
            Role::Fetch(peer) => {
                let asked = peer.asks().filter(|_| !crowded);
                let lost = if peer.is_connected() { Cause::Broken } else { Cause::Unreachable };
                let answer = peer.give_up(&mut common.storage, cause.unwrap_or(lost));
                stream.end(cause);
                common.answered(now, asked, answer);
            }
            Role::Origin(..) => self.lose_origin(now, id, false, cause),
            Role::Offers(..) if P::OFFERS => self.lose_offers(now, id, false, cause),
            Role::Offers(..) => {}
        }
    }

    /// A connection that served has ended: what was being offered on it never comes to its end.
    pub(super) fn forget_offer(&mut self, id: StreamId) {
        if let Some(Hosted { mut server, .. }) = self.service.hosted() {
            server.forget(key(id), &mut self.common.storage);
        }
    }

    /// Whether a peer ends a connection, on which nothing has come, for having enough of them: it has others. What
    /// was to be asked on this one waits for those, and it is no failure of the peer's. A stack may say sooner what
    /// it refuses than what it takes; who says nothing, which is a `cause`, has to have taken one.
    #[inline(never)]
    fn is_crowded(&mut self, now: Instant, id: StreamId, cause: Option<Cause>) -> bool {
        let Self { streams, common: Common { fetch, jobs, .. }, .. } = self;
        let Some(Stream { role: Role::Fetch(peer), .. }) = row(streams, id) else { return false };
        let Some(ask) = peer.asks_in_vain() else { return false };
        let works = |(index, stream): &(usize, &Stream)| match &stream.role {
            Role::Fetch(other) if *index != usize::from(id.index) => {
                other.peer() == ask.peer && (cause.is_none() || other.is_connected())
            }
            _ => false,
        };
        let others = streams.iter().enumerate().filter(works).count() as u8;
        if others > 0 {
            fetch.crowded(now, jobs, &ask, others);
        }
        others > 0
    }

    /// There is no socket for a stream: nobody is to blame, and its purpose waits for another.
    pub(super) fn handle_no_socket(&mut self, now: Instant, id: StreamId) {
        let Self { streams, common: Common { fetch, jobs, .. }, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        match &stream.role {
            Role::Free | Role::Serve(_) => {}
            // What was open had one, and is lost with all that came.
            Role::Fetch(peer) if peer.is_connected() => return self.lose(now, id, None),
            Role::Origin(_, origin) if origin.is_connected() => return self.lose(now, id, None),
            Role::Offers(offers) if offers.is_connected() => return self.lose(now, id, None),
            Role::Fetch(peer) => {
                if let Some(ask) = peer.asks() {
                    fetch.not_carried(now, jobs, &ask);
                }
            }
            Role::Origin(..) => self.put_back(id),
            Role::Offers(..) => self.not_offered(),
        }
        if let Some(stream) = row(&mut self.streams, id) {
            stream.free();
        }
        self.dial_after = now + SOCKET_WAIT;
    }

    /// Moves every part on.
    #[inline(never)]
    pub(super) fn work(&mut self, now: Instant) {
        self.expire(now);
        self.worked = now;
        self.common.storage.set_time(now);
        if let Some(server) = self.service.server_mut() {
            // What fetch is about to end is known here for the last time.
            let discovery = self.common.fetch.discovery();
            discovery.replies(now, &mut |segment, replies| server.learn(now, segment, replies));
        }
        self.busy = true;
        // What one part has done may give another something to do; what is left after a few
        // passes is for the next call.
        for _ in 0..PASSES {
            if !self.busy {
                break;
            }
            self.busy = false;
            self.work_downloads(now);
            self.work_client(now);
            self.work_application(now);
            let Common { storage, crypto, rng, fetch, jobs, .. } = &mut self.common;
            if let Some(Hosted { mut server, pulls }) = self.service.hosted() {
                self.busy |= pulls.work(now, &mut server, fetch, jobs, storage, crypto);
            }
            self.busy |= fetch.work(now, jobs, storage, crypto, rng);
            self.work_offers(now);
            // A question without a connection to its peer does not keep back those that have one.
            let mut dial = now >= self.dial_after;
            while let Some(ask) = self.next_ask(now, dial) {
                if !self.carry(now, &ask) && !core::mem::take(&mut dial) {
                    break;
                }
            }
        }
        self.drop_orphans(now);
    }

    /// Gives up what has run out of time.
    #[inline(never)]
    fn expire(&mut self, now: Instant) {
        for index in 0..self.streams.len() {
            let Some(stream) = self.streams.get_mut(index) else { break };
            if stream.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            let cause = match &stream.role {
                Role::Fetch(peer) if !peer.is_idle() => peer.timeout_cause(),
                Role::Origin(_, origin) if origin.want().is_some() => Cause::TimedOut,
                Role::Offers(offers) if !offers.is_idle() => Cause::Unreachable,
                Role::Serve(upload) if !upload.is_idle() => Cause::TimedOut,
                // It was only kept in case there would be more to do.
                _ => {
                    stream.dismiss(Due::Close);
                    continue;
                }
            };
            let id = StreamId { index: index as u16, generation: stream.generation };
            if let Role::Serve(_) = &stream.role {
                self.counters.serve.timed_out = self.counters.serve.timed_out.wrapping_add(1);
            }
            self.lose(now, id, Some(cause));
        }
    }

    /// The next question that there is a connection for, or if `dial` allows it, can be.
    #[inline(never)]
    fn next_ask(&mut self, now: Instant, dial: bool) -> Option<Ask> {
        let Self { streams, common: Common { fetch, jobs, rng, .. }, .. } = self;
        let (mut any_idle, mut any_free, mut any_closing) = (false, !streams.is_full(), false);
        for stream in streams.iter() {
            any_idle |= stream.idle_peer().is_some();
            any_free |= stream.is_free();
            // A place that is being made is waited for, before another one is.
            any_closing |= matches!(stream.role, Role::Free) && stream.due.is_some();
        }
        let dial = dial && (any_free || (any_idle && !any_closing));
        if !dial && !any_idle {
            return None;
        }
        let reach = |peer| dial || streams.iter().any(|stream| stream.idle_peer() == Some(peer));
        fetch.next_ask(now, jobs, rng, &reach)
    }

    /// Finds a connection for a question: one that is idle, a new one, or another's place.
    #[inline(never)]
    fn carry(&mut self, now: Instant, ask: &Ask) -> bool {
        let Self { streams, common: Common { fetch, jobs, .. }, dial_after, config, .. } = self;
        let mut idle = None;
        for (index, stream) in streams.iter_mut().enumerate() {
            if stream.idle_peer() == Some(ask.peer)
                && let Role::Fetch(peer) = &mut stream.role
                && peer.ask(now, ask)
            {
                return true;
            }
            if idle.is_none() && stream.idle_peer().is_some() {
                idle = Some(index);
            }
        }
        let free = if now >= *dial_after { free_row(streams) } else { None };
        if now >= *dial_after
            && let Some(stream) = free.or(idle).and_then(|index| streams.get_mut(index))
        {
            if free.is_none() {
                stream.dismiss(Due::Close);
            } else {
                stream.open_peer(now, ask.peer, config.accept_plain);
                if let Role::Fetch(peer) = &mut stream.role
                    && peer.ask(now, ask)
                {
                    return true;
                }
                stream.free();
            }
        }
        fetch.not_carried(now, jobs, ask);
        false
    }

    fn work_client(&mut self, now: Instant) {
        let Self { client, common, for_application, downloads, .. } = self;
        // Whatever completes frees a job for a read that waits for one.
        self.busy |= client.work(now, &mut common.lend(), &mut |client, completion| {
            let place = downloads.iter_mut().find(|place| place.owns(completion.read));
            match place.and_then(Place::download) {
                Some(download) => download.handle_completion(now, client, &completion),
                // There is room: no more reads are taken than completions can wait.
                None => drop(for_application.push_back(completion)),
            }
        });
    }

    /// Closes connections whose purpose is gone: the job was cancelled, the download is over.
    #[inline(never)]
    fn drop_orphans(&mut self, now: Instant) {
        let Self { streams, common, downloads, .. } = self;
        for stream in streams.iter_mut() {
            let orphan = match &mut stream.role {
                Role::Free | Role::Serve(_) | Role::Offers(_) => false,
                Role::Fetch(peer) => {
                    let asked = peer.asks().filter(|ask| !common.fetch.is_awaited(&common.jobs, ask));
                    let orphan = asked.is_some();
                    if orphan {
                        let answer = peer.give_up(&mut common.storage, Cause::TimedOut);
                        common.answered(now, asked, answer);
                    }
                    orphan
                }
                Role::Origin(index, origin) => {
                    let download = downloads.get_mut(usize::from(*index)).and_then(Place::download);
                    let orphan = download.is_none_or(|download| download.is_over());
                    if orphan && origin.want().is_none() {
                        stream.dismiss(Due::Close);
                        continue;
                    }
                    orphan
                }
            };
            if orphan {
                stream.dismiss(Due::Abort);
            }
        }
    }

    pub(super) fn open(&mut self, role: Role, due: Option<Due>) -> Option<StreamId> {
        let index = free_row(&mut self.streams)?;
        let stream = self.streams.get_mut(index)?;
        stream.open(role, due);
        Some(StreamId { index: index as u16, generation: stream.generation })
    }

    pub(super) fn role(&mut self, id: StreamId) -> Option<&mut Role> {
        row(&mut self.streams, id).map(|stream| &mut stream.role)
    }

    #[inline(never)]
    pub(super) fn stream_output<'b>(&mut self) -> Option<Output<'b>> {
        for (index, row) in (0u16..).zip(&mut self.streams) {
            let stream = StreamId { index, generation: row.generation };
            match row.due.take() {
                Some(Due::Connect(remote)) => {
                    let purpose = match &row.role {
                        Role::Origin(index, _) => {
                            let index = *index;
                            Purpose::Origin(self.download_id(index))
                        }
                        Role::Offers(offers) => Purpose::Offers(offers.place()),
                        _ => Purpose::Blocks,
                    };
                    return Some(Output::Connect { stream, remote, purpose });
                }
                Some(Due::Close) => {
                    row.free();
                    return Some(Output::Close { stream });
                }
                Some(Due::Abort) => {
                    row.free();
                    return Some(Output::Abort { stream });
                }
                None => {}
            }
            if core::mem::take(&mut row.resume) {
                return Some(Output::Resume { stream });
            }
        }
        None
    }
}

/// By which a hosted cache knows what comes on a connection.
fn key(id: StreamId) -> Key {
    Key(u64::from(id.generation) << 16 | u64::from(id.index))
}

/// Tells applications who else looks for segments.
fn hear(
    application: &mut impl Application,
    ours: &Addresses,
    now: Instant,
    from: SocketAddr,
    segments: impl Iterator<Item = SegmentId>,
) {
    if let Some(mut tables) = application.tables()
        && ours.is_local(from.ip())
        && !ours.contains(from.ip())
    {
        segments.for_each(|segment| tables.heard(now, from.ip(), &segment));
    }
}

impl Stream {
    /// Puts a free row to use for the origin of the download in a place. Apart, so that what is moved here lies on
    /// the stack no longer than it has to.
    #[inline(never)]
    pub(super) fn open_origin(&mut self, now: Instant, place: u8, origin: SocketAddr) {
        self.open(Role::Origin(place, OriginStream::new(now)), Some(Due::Connect(origin)));
    }

    /// The same for a peer.
    #[inline(never)]
    fn open_peer(&mut self, now: Instant, peer: SocketAddr, accept_plain: AcceptPlain) {
        self.open(Role::Fetch(PeerStream::new(now, peer, accept_plain)), Some(Due::Connect(peer)));
    }

    /// Puts a free row to use.
    pub(super) fn open(&mut self, role: Role, due: Option<Due>) {
        self.generation = self.generation.wrapping_add(1);
        (self.role, self.due, self.resume) = (role, due, false);
    }

    /// The peer that can be asked on it at once.
    fn idle_peer(&self) -> Option<SocketAddr> {
        match &self.role {
            Role::Fetch(peer) if peer.is_idle() => Some(peer.peer()),
            _ => None,
        }
    }

    /// Whether it leads to the origin of the download in a place.
    pub(super) fn is_of(&self, place: u8) -> bool {
        matches!(&self.role, Role::Origin(of, _) if *of == place)
    }

    /// Ends a stream of which the adapter knows; one that it was not told to open yet, it never hears
    /// of.
    pub(super) fn dismiss(&mut self, due: Due) {
        match self.due {
            Some(Due::Connect(_)) => self.free(),
            _ => (self.role, self.due) = (Role::Free, Some(due)),
        }
    }

    /// Ends a stream that is lost; if that was its own deadline, the adapter has to be told.
    pub(super) fn end(&mut self, cause: Option<Cause>) {
        match cause {
            Some(_) => self.dismiss(Due::Abort),
            None => self.free(),
        }
    }
}

impl<S: Storage, C: Crypto, R: CryptoRng, const BLOCKS: usize> Common<S, C, R, BLOCKS> {
    #[inline(never)]
    pub(super) fn lend(&mut self) -> Parts<'_> {
        let Self { storage, crypto, rng, fetch, jobs, cipher } = self;
        Parts { storage, crypto, rng, fetch, jobs, cipher: *cipher, told: None }
    }

    /// Tells what came of a question, if it was one.
    #[inline(never)]
    fn answered(&mut self, now: Instant, asked: Option<Ask>, answer: Option<Answer>) {
        let Self { fetch, jobs, storage, crypto, .. } = self;
        if let (Some(ask), Some(answer)) = (asked, answer) {
            fetch.answered(now, jobs, storage, crypto, &ask, answer);
        }
    }
}
