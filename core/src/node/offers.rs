//! The node as a client of hosted caches: what came from an origin is offered (MS-PCHC 3.2).

use super::*;
use crate::api::client::Told;
use crate::hosted::client::{Came, Failure, Place};
use crate::hosted::wire::ResponseCode;
use crate::offering::OfferStream;
use crate::store::InfoStore;

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>
    Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    P: Service,
    A: Application,
{
    /// The adapter has sent the message on this connection once more, with what proves who we are.
    #[inline(never)]
    pub fn sent_again(&mut self, now: Instant, stream: StreamId) {
        let is_busy = |role: &Role| matches!(role, Role::Offers(offers) if !offers.is_idle());
        if row(&mut self.streams, stream).is_some_and(|stream| is_busy(&stream.role))
            && let Some(offers) = self.service.offers()
        {
            // 3.2.5.3: the Request Timer MUST also be reset to its initial expiration time.
            offers.state.carried(now);
        }
    }

    /// Moves offers on: a message that waits gets a connection.
    #[inline(never)]
    pub(super) fn work_offers(&mut self, now: Instant) {
        if !P::OFFERS {
            return;
        }
        let Self { service, common, config, streams, dial_after, .. } = self;
        let Some(mut offers) = service.offers() else { return };
        let before = offers.state.is_under_way();
        let waits = offers.work(now, &config.hosted_caches, &mut common.storage);
        if before && (waits || !offers.state.is_under_way()) {
            // Whatever still comes to a message that has expired is not looked at (3.2.2).
            let busy = |stream: &&mut Stream| matches!(&stream.role, Role::Offers(of) if !of.is_idle());
            streams.iter_mut().filter(busy).for_each(|stream| stream.dismiss(Due::Abort));
        }
        let Some(number) = offers.state.waits_for() else { return };
        let Some(place) = config.hosted_caches.get(usize::from(number)) else { return };
        if streams.iter_mut().any(|stream| stream.carry_offer(number)) {
            offers.state.carried(now);
            return;
        }
        if now < *dial_after {
            return;
        }
        let index = free_row(streams).or_else(|| {
            let idle = streams.iter_mut().find(|stream| stream.is_idle_fetch());
            // Its place is free in the next pass.
            idle.into_iter().for_each(|stream| stream.dismiss(Due::Close));
            None
        });
        if let Some(stream) = index.and_then(|index| streams.get_mut(index)) {
            stream.open_offers(now, number, place);
            offers.state.carried(now);
        }
    }

    /// Takes bytes of a response.
    #[inline(never)]
    pub(super) fn handle_response(&mut self, now: Instant, id: StreamId, data: &[u8]) -> usize {
        let Some(stream) = row(&mut self.streams, id) else { return data.len() };
        let Role::Offers(offers) = &mut stream.role else { return data.len() };
        let idle_talk = offers.is_idle() && !data.is_empty();
        let (used, result) = offers.handle(now, data);
        let gone_wrong = idle_talk || matches!(result, Some(Err(_)));
        if gone_wrong || (offers.is_idle() && !offers.keeps_open()) {
            stream.dismiss(if gone_wrong { Due::Abort } else { Due::Close });
        }
        self.offered(now, result);
        if idle_talk { data.len() } else { used }
    }

    /// A connection to a hosted cache has ended: by its own deadline, which is `cause`, or from outside.
    #[inline(never)]
    pub(super) fn lose_offers(&mut self, now: Instant, id: StreamId, is_end: bool, cause: Option<Cause>) {
        let Some(stream) = row(&mut self.streams, id) else { return };
        let Role::Offers(offers) = &mut stream.role else { return };
        if offers.is_stale() {
            if is_end {
                stream.dismiss(Due::Abort);
            } else {
                stream.end(cause);
            }
            self.not_offered();
            self.busy = true;
            return;
        }
        let result = match is_end {
            true => offers.handle_eof(now),
            false => (!offers.is_idle()).then_some(Err(match offers.is_connected() {
                true => Failure::Lost,
                false => Failure::Unreachable,
            })),
        };
        if is_end {
            stream.dismiss(Due::Close);
        } else {
            stream.end(cause);
        }
        self.offered(now, result);
    }

    /// There is no socket for a connection to a hosted cache: the message waits for another.
    pub(super) fn not_offered(&mut self) {
        self.service.offers().into_iter().for_each(|offers| offers.state.not_carried());
    }

    fn offered(&mut self, now: Instant, result: Option<Result<ResponseCode, Failure>>) {
        let Self { service, common, config, .. } = self;
        let Some(mut offers) = service.offers() else { return };
        match result {
            Some(Ok(code)) => offers.answered(now, code, &mut common.storage),
            Some(Err(failure)) => offers.failed(now, &config.hosted_caches, failure, &mut common.storage),
            None => {}
        }
        self.busy = true;
    }
}

/// Who is told of what comes from origins, where it is offered to anybody.
pub(super) fn told<'a, P: Service>(service: &'a mut P, config: &Config) -> Option<&'a mut dyn Told> {
    if P::OFFERS && !config.hosted_caches.is_empty() { Some(service) } else { None }
}

impl<P: Service> Told for P {
    fn came(&mut self, came: &Came<'_>, infos: &mut dyn InfoStore) {
        self.offers().into_iter().for_each(|mut offers| offers.came(came, infos));
    }
}

impl Stream {
    /// Whether it is a connection to that hosted cache that takes the message.
    fn carry_offer(&mut self, number: u8) -> bool {
        match &mut self.role {
            Role::Offers(offers) if offers.place() == number && offers.is_connected() => offers.begin(),
            _ => false,
        }
    }

    fn is_idle_fetch(&self) -> bool {
        matches!(&self.role, Role::Fetch(peer) if peer.is_idle())
    }

    /// Puts a free row to use for a hosted cache, with the message under way.
    #[inline(never)]
    fn open_offers(&mut self, now: Instant, number: u8, place: &Place) {
        let mut stream = OfferStream::new(now, number, place);
        stream.begin();
        self.open(Role::Offers(stream), Some(Due::Connect(place.offers)));
    }
}
