//! Downloads in a node: their places, and the connections to their origins. Of a node without any,
//! nothing of this is left.

use super::*;
use crate::download::origin::OriginFailure;

/// A place for a download.
pub(super) struct Place {
    /// How often it has been used.
    generation: u32,
    pub(super) download: Option<Download>,
}

impl Place {
    /// A free place each. Not inlined, it lies on the stack before a node is made of it, and not while.
    #[inline(never)]
    pub(super) fn all_free<const DOWNLOADS: usize>() -> [Self; DOWNLOADS] {
        core::array::from_fn(|_| Self { generation: 0, download: None })
    }

    pub(super) fn download(&mut self) -> Option<&mut Download> {
        self.download.as_mut()
    }

    pub(super) fn has_event(&self) -> bool {
        self.download.as_ref().is_some_and(Download::has_event)
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.download.as_ref()?.poll_timeout(now)
    }

    pub(super) fn owns(&self, read: ReadId) -> bool {
        self.download.as_ref().is_some_and(|download| download.owns(read))
    }
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
    pub(super) fn begin_download(
        &mut self,
        now: Instant,
        url: Url,
        range: Range<u64>,
    ) -> Option<(DownloadId, &mut Download)> {
        let mut places = (0u8..).zip(&mut self.downloads);
        let (index, place) = places.find(|(_, place)| place.download.is_none())?;
        place.generation = place.generation.wrapping_add(1);
        let id = DownloadId { index, generation: place.generation };
        Some((id, place.download.insert(Download::new(now, url, range))))
    }

    /// The latest download in a place.
    pub(super) fn download_id(&self, index: u8) -> DownloadId {
        let place = self.downloads.get(usize::from(index));
        DownloadId { index, generation: place.map_or(0, |place| place.generation) }
    }

    /// A download that is under way.
    pub(super) fn under_way(&self, download: DownloadId) -> Option<&Download> {
        let place = self.downloads.get(usize::from(download.index))?;
        place.download.as_ref().filter(|_| place.generation == download.generation)
    }

    pub(super) fn drop_download(&mut self, id: DownloadId) {
        let Self { downloads, client, common, streams, .. } = self;
        let Some(place) = downloads.get_mut(usize::from(id.index)) else { return };
        if place.generation != id.generation {
            return;
        }
        if let Some(download) = &mut place.download {
            download.cancel(client, &mut common.lend());
        }
        place.download = None;
        // The next download of this number may be of another origin.
        for stream in streams.iter_mut().filter(|stream| stream.is_of(id.index)) {
            stream.dismiss(Due::Abort);
        }
    }

    #[inline(never)]
    pub(super) fn handle_origin_data(&mut self, now: Instant, id: StreamId, data: &[u8]) -> usize {
        let Self { streams, downloads, client, common, service, config, .. } = self;
        let Some(stream) = row(streams, id) else { return data.len() };
        let Role::Origin(index, origin) = &mut stream.role else { return data.len() };
        let Some(download) = downloads.get_mut(usize::from(*index)).and_then(Place::download) else {
            stream.dismiss(Due::Abort);
            return data.len();
        };
        let asked = origin.want().is_some();
        let mut parts = Parts { told: told(service, config), ..common.lend() };
        let used = download.handle_origin(now, origin, client, &mut parts, data);
        let failed = origin.has_failed();
        if failed || (origin.want().is_none() && !(asked && origin.keeps_open())) {
            stream.dismiss(if failed { Due::Abort } else { Due::Close });
        }
        // What is left waits for room: it is asked for once plain bytes are handed out.
        used
    }

    /// There is no socket for a connection to an origin: what it was to ask waits for another.
    pub(super) fn put_back(&mut self, id: StreamId) {
        let Self { streams, downloads, client, common, .. } = self;
        let Some(Stream { role: Role::Origin(index, origin), .. }) = row(streams, id) else { return };
        let download = downloads.get_mut(usize::from(*index)).and_then(Place::download);
        if let (Some(download), Some(want)) = (download, origin.take_want()) {
            download.put_back(&want, client, &mut common.lend());
        }
    }

    /// The connection to an origin has ended, or is lost: to the network, or to its own deadline,
    /// which is `cause`.
    #[inline(never)]
    pub(super) fn lose_origin(&mut self, now: Instant, id: StreamId, eof: bool, cause: Option<Cause>) {
        let Self { streams, downloads, client, common, .. } = self;
        let Some(stream) = row(streams, id) else { return };
        let Role::Origin(index, origin) = &mut stream.role else { return };
        if let Some(download) = downloads.get_mut(usize::from(*index)).and_then(Place::download) {
            let mut parts = common.lend();
            if eof {
                download.handle_origin_eof(now, origin, client, &mut parts);
            } else {
                let failure = origin.broken(cause.is_some());
                download.origin_failed(now, origin.take_want(), failure, client, &mut parts);
            }
        }
        match eof {
            true => stream.dismiss(Due::Close),
            false => stream.end(cause),
        }
    }

    #[inline(never)]
    pub(super) fn work_downloads(&mut self, now: Instant) {
        for index in 0..DOWNLOADS as u8 {
            // The origin first: what is missing is not asked for again among the peers while it
            // could be fetched.
            while self.ask_origin(now, index) {}
            let Self { client, common, downloads, streams, busy, .. } = self;
            let download = downloads.get_mut(usize::from(index)).and_then(Place::download);
            let Some(download) = download else { continue };
            let mut parts = common.lend();
            let before = download.reads_under_way();
            download.work(now, client, &mut parts);
            // What has just begun may end at once, out of the store.
            *busy |= download.reads_under_way() > before;
            // Closes connections to the origin whose block a peer has by now.
            while let Some(start) = download.dropped(client, &mut parts) {
                for stream in streams.iter_mut() {
                    if let Role::Origin(of, origin) = &stream.role
                        && *of == index
                        && origin.asks_from(start)
                    {
                        stream.end(Some(Cause::OnItsWay));
                    }
                }
            }
            while self.ask_origin(now, index) {}
            let download = self.downloads.get_mut(usize::from(index)).and_then(Place::download);
            self.busy |= download.is_some_and(Download::take_more);
        }
    }

    /// Carries one request of a download to its origin, if there is one and a connection for it.
    #[inline(never)]
    fn ask_origin(&mut self, now: Instant, index: u8) -> bool {
        let Self { streams, downloads, client, common, config, dial_after, .. } = self;
        let download = downloads.get_mut(usize::from(index)).and_then(Place::download);
        let Some(download) = download else { return false };
        let idle = |stream: &Stream| match &stream.role {
            Role::Origin(of, origin) => *of == index && origin.want().is_none(),
            _ => false,
        };
        let idle = streams.iter().position(idle);
        let chosen = idle.or_else(|| {
            let open = streams.iter().filter(|stream| stream.is_of(index)).count();
            if now >= *dial_after && open < ORIGIN_STREAMS { free_row(streams) } else { None }
        });
        let Some(stream) = chosen.and_then(|chosen| streams.get_mut(chosen)) else { return false };
        let mut parts = common.lend();
        let Some(need) = download.need(now, client, &mut parts) else { return false };
        if idle.is_none() {
            stream.open_origin(now, index, download.url().origin);
        }
        let Role::Origin(_, connection) = &mut stream.role else { return false };
        if download.ask(now, connection, config.content_information, &need) {
            return true;
        }
        if idle.is_some() {
            stream.dismiss(Due::Close);
            download.put_back(&need.want, client, &mut parts);
        } else {
            stream.free();
            download.origin_failed(now, Some(need.want), OriginFailure::Url, client, &mut parts);
        }
        false
    }

    #[inline(never)]
    pub(super) fn download_output<'b>(&mut self) -> Option<Output<'b>> {
        let Self { client, common, downloads, .. } = self;
        for (index, place) in (0u8..).zip(downloads) {
            let Some(download) = &mut place.download else { continue };
            if let Some(event) = download.poll_event(client, &mut common.lend()) {
                let download = DownloadId { index, generation: place.generation };
                return Some(Output::Download { download, event });
            }
        }
        None
    }

    #[inline(never)]
    pub(super) fn data_output<'b>(&mut self, buf: &'b mut [u8]) -> Option<Output<'b>> {
        let Self { client, common, downloads, streams, busy, .. } = self;
        for (index, place) in (0u8..).zip(downloads) {
            let id = DownloadId { index, generation: place.generation };
            let Some(download) = &mut place.download else { continue };
            if let Some(len) = download.poll_moved(buf) {
                place.download = None;
                return Some(Output::Moved { download: id, location: buf.get(..len)? });
            }
            if let Some((offset, len)) = download.poll_data(client, &mut common.lend(), buf) {
                // There is room again for what the origin still has to say.
                let resume = download.is_plain();
                for stream in streams.iter_mut().filter(|stream| stream.is_of(index)) {
                    stream.resume |= resume;
                }
                *busy = true;
                return Some(Output::Data { download: id, offset, data: buf.get(..len)? });
            }
            *busy |= download.take_more();
            if download.is_over() {
                place.download = None;
            }
        }
        None
    }
}
