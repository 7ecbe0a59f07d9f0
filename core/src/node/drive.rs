//! The node at work: input to the right part, events from one part to the next.

use super::*;
use crate::discovery::server::Holding;
use crate::discovery::wire::Availability;
use crate::download::origin::OriginFailure;
use crate::limits::SEGMENT_BLOCKS;

/// Passes over all parts in one call.
const PASSES: usize = 4;

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P>
    Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    P: Service,
{
    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        let Self { storage, rng, service, fetch, config, counters, .. } = self;
        match discovery::wire::parse(data) {
            Ok(Message::Probe(probe)) => {
                let Some(server) = service.server_mut() else { return };
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

    pub(super) fn handle_data(&mut self, now: Instant, id: StreamId, data: &[u8]) -> usize {
        let Self { streams, storage, counters, config, .. } = self;
        let active = streams
            .iter()
            .filter(|stream| matches!(&stream.role, Role::Serve(upload) if upload.is_active()))
            .count();
        let Some(stream) = row(streams, id) else { return data.len() };
        match &mut stream.role {
            Role::Serve(upload) if P::SERVES => {
                let busy = active >= config.max_uploads;
                upload.handle(now, storage, &mut counters.serve, busy, data)
            }
            Role::Fetch(peer) => {
                let asked = peer.asks();
                let Self { fetch, jobs, storage, crypto, rng, .. } = self;
                let desk = &mut Desk { fetch, jobs, store: storage, crypto, rng };
                let (used, answer) = peer.handle(now, desk, data);
                let gone_wrong = matches!(answer, Some(Answer::Failed(Cause::BadReply)));
                let idle_talk = asked.is_none() && !data.is_empty();
                if gone_wrong || idle_talk || (peer.is_idle() && !peer.keeps_open()) {
                    stream.dismiss(if gone_wrong || idle_talk { Due::Abort } else { Due::Close });
                }
                self.answered(now, asked, answer);
                if idle_talk { data.len() } else { used }
            }
            Role::Origin(..) => self.handle_origin_data(now, id, data),
            Role::Free | Role::Serve(_) => data.len(),
        }
    }

    fn handle_origin_data(&mut self, now: Instant, id: StreamId, data: &[u8]) -> usize {
        let Self { streams, downloads, client, storage, crypto, rng, fetch, jobs, config, .. } = self;
        let Some(stream) = row(streams, id) else { return data.len() };
        let Role::Origin(index, origin) = &mut stream.role else { return data.len() };
        let index = *index;
        let Some(download) = downloads.get_mut(index).and_then(Option::as_mut) else {
            stream.dismiss(Due::Abort);
            return data.len();
        };
        let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
        let asked = origin.want().is_some();
        let used = download.handle_origin(now, origin, client, &mut parts, data);
        let failed = origin.has_failed();
        if failed || (origin.want().is_none() && !(asked && origin.keeps_open())) {
            stream.dismiss(if failed { Due::Abort } else { Due::Close });
        }
        // What is left waits for room: it is asked for once plain bytes are handed out.
        used
    }

    pub(super) fn handle_eof(&mut self, now: Instant, id: StreamId) {
        let Self { streams, storage, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        match &mut stream.role {
            Role::Free => {}
            Role::Serve(upload) => {
                upload.handle_eof();
                if upload.is_over() {
                    stream.dismiss(Due::Close);
                }
            }
            Role::Fetch(peer) => {
                let asked = peer.asks();
                let answer = peer.handle_eof(now, storage);
                stream.dismiss(Due::Close);
                self.answered(now, asked, answer);
            }
            Role::Origin(..) => self.lose_origin(now, id, true, None),
        }
    }

    /// A stream is lost: to the network, or to its own deadline, which is `cause`.
    pub(super) fn lose(&mut self, now: Instant, id: StreamId, cause: Option<Cause>) {
        let Self { streams, storage, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        match &mut stream.role {
            Role::Free | Role::Serve(_) => stream.end(cause),
            Role::Fetch(peer) => {
                let asked = peer.asks();
                let answer = peer.give_up(storage, cause.unwrap_or(Cause::Unreachable));
                stream.end(cause);
                self.answered(now, asked, answer);
            }
            Role::Origin(..) => self.lose_origin(now, id, false, cause),
        }
    }

    /// Tells what came of a question, if it was one.
    fn answered(&mut self, now: Instant, asked: Option<Ask>, answer: Option<Answer>) {
        let Self { fetch, jobs, storage, crypto, .. } = self;
        if let (Some(ask), Some(answer)) = (asked, answer) {
            fetch.answered(now, jobs, storage, crypto, &ask, answer);
        }
    }

    /// There is no socket for a stream: nobody is to blame, and its purpose waits for another.
    pub(super) fn handle_no_socket(&mut self, now: Instant, id: StreamId) {
        let Self { streams, downloads, client, storage, crypto, rng, fetch, jobs, config, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        match &mut stream.role {
            Role::Free | Role::Serve(_) => {}
            // What was open had one, and is lost with all that came.
            Role::Fetch(peer) if peer.is_connected() => return self.lose(now, id, None),
            Role::Origin(_, origin) if origin.is_connected() => return self.lose(now, id, None),
            Role::Fetch(peer) => {
                if let Some(ask) = peer.asks() {
                    fetch.not_carried(now, jobs, &ask);
                }
            }
            Role::Origin(index, origin) => {
                let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
                let download = downloads.get_mut(*index).and_then(Option::as_mut);
                if let (Some(download), Some(want)) = (download, origin.take_want()) {
                    download.put_back(&want, client, &mut parts);
                }
            }
        }
        stream.free();
        self.dial_after = now + SOCKET_WAIT;
    }

    fn lose_origin(&mut self, now: Instant, id: StreamId, eof: bool, cause: Option<Cause>) {
        let Self { streams, downloads, client, storage, crypto, rng, fetch, jobs, config, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        let Role::Origin(index, origin) = &mut stream.role else { return };
        let index = *index;
        let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
        let download = downloads.get_mut(index).and_then(Option::as_mut);
        if let Some(download) = download {
            if eof {
                download.handle_origin_eof(now, origin, client, &mut parts);
            } else {
                let failure = origin.broken();
                download.origin_failed(now, origin.take_want(), failure, client, &mut parts);
            }
        }
        match eof {
            true => stream.dismiss(Due::Close),
            false => stream.end(cause),
        }
    }

    /// Moves every part on.
    pub(super) fn work(&mut self, now: Instant) {
        self.expire(now);
        self.storage.set_time(now);
        let Self { fetch, service, .. } = self;
        if let Some(server) = service.server_mut() {
            // What fetch is about to end is known here for the last time.
            fetch.discovery().replies(now, &mut |segment, replies| server.learn(now, segment, replies));
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
            let Self { storage, crypto, rng, fetch, jobs, .. } = self;
            self.busy |= fetch.work(now, jobs, storage, crypto, rng);
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
    fn expire(&mut self, now: Instant) {
        for index in 0..STREAMS {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            if stream.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            let cause = match &stream.role {
                Role::Fetch(peer) if !peer.is_idle() => peer.timeout_cause(),
                Role::Origin(_, origin) if origin.want().is_some() => Cause::TimedOut,
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
    fn next_ask(&mut self, now: Instant, dial: bool) -> Option<Ask> {
        let Self { streams, fetch, jobs, rng, .. } = self;
        let idle = |stream: &Stream| match &stream.role {
            Role::Fetch(peer) if peer.is_idle() => Some(peer.peer()),
            _ => None,
        };
        // A place that is being made is waited for, before another one is.
        let closing = |stream: &Stream| matches!(stream.role, Role::Free) && stream.due.is_some();
        let any_idle = streams.iter().any(|stream| idle(stream).is_some());
        let room = streams.iter().any(Stream::is_free) || (any_idle && !streams.iter().any(closing));
        let dial = dial && room;
        if !dial && !any_idle {
            return None;
        }
        let reach = |peer| dial || streams.iter().any(|stream| idle(stream) == Some(peer));
        fetch.next_ask(now, jobs, rng, &reach)
    }

    /// Finds a connection for a question: one that is idle, a new one, or another's place.
    fn carry(&mut self, now: Instant, ask: &Ask) -> bool {
        for stream in &mut self.streams {
            if let Role::Fetch(peer) = &mut stream.role
                && peer.peer() == ask.peer
                && peer.is_idle()
                && peer.ask(now, ask)
            {
                return true;
            }
        }
        if now >= self.dial_after && !self.streams.iter().any(Stream::is_free) {
            let idle = |stream: &&mut Stream| matches!(&stream.role, Role::Fetch(peer) if peer.is_idle());
            if let Some(stream) = self.streams.iter_mut().find(idle) {
                stream.dismiss(Due::Close);
            }
        }
        let mut peer = PeerStream::new(now, ask.peer, self.config.accept_plain);
        let asked = peer.ask(now, ask);
        let carried = asked
            && now >= self.dial_after
            && self.open(Role::Fetch(peer), Some(Due::Connect(ask.peer))).is_some();
        if !carried {
            let Self { fetch, jobs, .. } = self;
            fetch.not_carried(now, jobs, ask);
        }
        carried
    }

    fn work_client(&mut self, now: Instant) {
        let Self { client, storage, crypto, rng, fetch, jobs, config, completions, downloads, .. } = self;
        let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
        self.busy |= client.work(now, &mut parts, completions);
        while let Some(completion) = self.completions.pop_front() {
            let owner = downloads.iter_mut().flatten().find(|download| download.owns(completion.read));
            match owner {
                Some(download) => {
                    download.handle_completion(now, client, &completion);
                }
                // There is room: no more reads are taken than completions can wait.
                None => drop(self.for_application.push_back(completion)),
            }
            // A job is free for a read that waits for one.
            self.busy = true;
        }
    }

    fn work_downloads(&mut self, now: Instant) {
        for index in 0..DOWNLOADS {
            // The origin first: what is missing is not asked for again among the peers while it
            // could be fetched.
            while self.ask_origin(now, index) {}
            let Self { client, storage, crypto, rng, fetch, jobs, config, downloads, .. } = self;
            let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
            let Some(download) = downloads.get_mut(index).and_then(Option::as_mut) else { continue };
            let before = download.reads_under_way();
            download.work(now, client, &mut parts);
            // What has just begun may end at once, out of the store.
            self.busy |= download.reads_under_way() > before;
            self.drop_requests(index);
            while self.ask_origin(now, index) {}
            self.busy |=
                self.downloads.get_mut(index).and_then(Option::as_mut).is_some_and(Download::take_more);
        }
    }

    /// Closes connections to the origin whose block a peer has by now.
    fn drop_requests(&mut self, index: usize) {
        let Self { client, storage, crypto, rng, fetch, jobs, config, downloads, streams, .. } = self;
        let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
        let Some(download) = downloads.get_mut(index).and_then(Option::as_mut) else { return };
        while let Some(start) = download.dropped(client, &mut parts) {
            let its = |stream: &&mut Stream| match &stream.role {
                Role::Origin(of, origin) => *of == index && origin.asks_from(start),
                _ => false,
            };
            streams.iter_mut().filter(its).for_each(|stream| stream.end(Some(Cause::OnItsWay)));
        }
    }

    /// Carries one request of a download to its origin, if there is one and a connection for it.
    fn ask_origin(&mut self, now: Instant, index: usize) -> bool {
        let Self {
            streams, downloads, client, storage, crypto, rng, fetch, jobs, config, dial_after, ..
        } = self;
        let Some(download) = downloads.get_mut(index).and_then(Option::as_mut) else { return false };
        let ours = |stream: &Stream| matches!(&stream.role, Role::Origin(of, _) if *of == index);
        let idle =
            |stream: &Stream| matches!(&stream.role, Role::Origin(_, origin) if origin.want().is_none());
        let idle = streams.iter().position(|stream| ours(stream) && idle(stream));
        let open = streams.iter().filter(|stream| ours(stream)).count();
        let free = now >= *dial_after && streams.iter().any(Stream::is_free);
        if idle.is_none() && (open >= ORIGIN_STREAMS || !free) {
            return false;
        }
        let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
        let Some(need) = download.need(now, client, &mut parts) else { return false };
        let max_info = config.content_information;
        if let Some(stream) = idle.and_then(|idle| streams.get_mut(idle)) {
            if let Role::Origin(_, connection) = &mut stream.role
                && download.ask(now, connection, max_info, &need)
            {
                return true;
            }
            stream.dismiss(Due::Close);
            download.put_back(&need.want, client, &mut parts);
            return false;
        }
        let mut connection = OriginStream::new(now);
        if !download.ask(now, &mut connection, max_info, &need) {
            download.origin_failed(now, Some(need.want), OriginFailure::Url, client, &mut parts);
            return false;
        }
        let due = Due::Connect(download.url().origin);
        self.open(Role::Origin(index, connection), Some(due)).is_some()
    }

    /// Closes connections whose purpose is gone: the job was cancelled, the download is over.
    fn drop_orphans(&mut self, now: Instant) {
        let Self { streams, fetch, jobs, storage, crypto, downloads, .. } = self;
        for stream in streams.iter_mut() {
            let orphan = match &mut stream.role {
                Role::Free | Role::Serve(_) => false,
                Role::Fetch(peer) => {
                    let orphan = peer.asks().filter(|ask| !fetch.is_awaited(jobs, ask));
                    if let Some(ask) = &orphan
                        && let Some(answer) = peer.give_up(storage, Cause::TimedOut)
                    {
                        fetch.answered(now, jobs, storage, crypto, ask, answer);
                    }
                    orphan.is_some()
                }
                Role::Origin(index, origin) => {
                    let download = downloads.get(*index).and_then(Option::as_ref);
                    let orphan = download.is_none_or(Download::is_over);
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
        let (index, stream) = (0u16..).zip(&mut self.streams).find(|(_, stream)| stream.is_free())?;
        stream.generation = stream.generation.wrapping_add(1);
        (stream.role, stream.due, stream.resume) = (role, due, false);
        Some(StreamId { index, generation: stream.generation })
    }

    pub(super) fn role(&mut self, id: StreamId) -> Option<&mut Role> {
        row(&mut self.streams, id).map(|stream| &mut stream.role)
    }

    pub(super) fn download_output<'b>(&mut self) -> Option<Output<'b>> {
        let Self { client, storage, crypto, rng, fetch, jobs, config, downloads, .. } = self;
        let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
        for (index, download) in downloads.iter_mut().enumerate() {
            let event = download.as_mut().and_then(|download| download.poll_event(client, &mut parts));
            if let Some(event) = event {
                return Some(Output::Download { download: self.download_id(index), event });
            }
        }
        None
    }

    pub(super) fn stream_output<'b>(&mut self) -> Option<Output<'b>> {
        for (index, row) in (0u16..).zip(&mut self.streams) {
            let stream = StreamId { index, generation: row.generation };
            match row.due.take() {
                Some(Due::Connect(remote)) => {
                    let download = match row.role {
                        Role::Origin(index, _) => Some(self.download_id(index)),
                        _ => None,
                    };
                    return Some(Output::Connect { stream, remote, download });
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

    pub(super) fn data_output<'b>(&mut self, buf: &'b mut [u8]) -> Option<Output<'b>> {
        for index in 0..DOWNLOADS {
            let Self { client, storage, crypto, rng, fetch, jobs, config, downloads, streams, .. } = self;
            let mut parts = Parts { storage, crypto, rng, fetch, jobs, cipher: config.cipher };
            let Some(slot) = downloads.get_mut(index) else { continue };
            let Some(download) = slot else { continue };
            if let Some(len) = download.poll_moved(buf) {
                *slot = None;
                let download = self.download_id(index);
                return Some(Output::Moved { download, location: buf.get(..len)? });
            }
            if let Some((offset, len)) = download.poll_data(client, &mut parts, buf) {
                // There is room again for what the origin still has to say.
                let ours = |stream: &&mut Stream| matches!(&stream.role, Role::Origin(of, _) if *of == index);
                streams.iter_mut().filter(ours).for_each(|stream| stream.resume |= download.is_plain());
                self.busy = true;
                return Some(Output::Data {
                    download: self.download_id(index),
                    offset,
                    data: buf.get(..len)?,
                });
            }
            self.busy |= download.take_more();
            if download.is_over() {
                *slot = None;
            }
        }
        None
    }
}

impl Stream {
    /// Ends a stream of which the adapter knows; one that it was not told to open yet, it never hears
    /// of.
    pub(super) fn dismiss(&mut self, due: Due) {
        match self.due {
            Some(Due::Connect(_)) => self.free(),
            _ => (self.role, self.due) = (Role::Free, Some(due)),
        }
    }

    /// Ends a stream that is lost; if that was its own deadline, the adapter has to be told.
    fn end(&mut self, cause: Option<Cause>) {
        match cause {
            Some(_) => self.dismiss(Due::Abort),
            None => self.free(),
        }
    }
}
