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
        let Self { application, common, busy, .. } = self;
        Api::new(application.lend(), common.lend(), busy)
    }
}

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>
    Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    A: Application,
{
    /// Does what operations wait for.
    pub(super) fn work_application(&mut self) {
        let Self { application, common, busy, .. } = self;
        if let Some(tables) = application.tables() {
            Api::new(tables, common.lend(), busy).work();
        }
    }
}
