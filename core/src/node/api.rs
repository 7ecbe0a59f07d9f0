//! The PeerDist API of a node whose type names an application. Without one, nothing of this is left.

use super::*;

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>
    Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    P: Service,
    A: Installed,
{
    /// The calls of the PeerDist API. Like every call that changes something, they want to be followed
    /// by draining: what has ended then is told by [`Api::poll_operation`].
    pub fn api(&mut self) -> Api<'_> {
        let reads_left = self.reads_left();
        let Self { application, common, client, busy, service, config, .. } = self;
        let parts = Parts { told: told(service, config), ..common.lend() };
        Api::new(application.lend(), parts, client, reads_left, busy)
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
    /// Does what operations wait for.
    pub(super) fn work_application(&mut self, now: Instant) {
        let Self { application, for_application, .. } = self;
        let Some(mut tables) = application.tables() else { return };
        for _ in 0..for_application.len() {
            let Some(completion) = for_application.pop_front() else { break };
            if !tables.came(&completion) {
                // Nobody has taken its place.
                drop(for_application.push_back(completion));
            }
        }
        let reads_left = self.reads_left();
        let Self { application, common, client, busy, service, config, .. } = self;
        if let Some(tables) = application.tables() {
            let parts = Parts { told: told(service, config), ..common.lend() };
            let more = Api::new(tables, parts, client, reads_left, busy).work(now);
            self.busy |= more;
        }
    }

    /// Reads that the application may have beside those that it has: each may need room for its
    /// completion, and a row of the table that downloads share.
    pub(super) fn reads_left(&self) -> usize {
        let of_download = |read: &ReadId| self.downloads.iter().any(|place| place.owns(*read));
        let open = self.client.reads().filter(|read| !of_download(read)).count();
        let ended = |completion: &&Completion| self.client.reads().all(|read| read != completion.read);
        let waiting = self.for_application.iter().filter(ended).count();
        APPLICATION_READS.saturating_sub(open + waiting)
    }
}
