//! What messages offer gets into the table.

use core::net::SocketAddr;

use super::offers::{Offer, Offered, Others, Stage, What};
use super::{Application, Key, Limits, MAX_OFFERED_BYTES, Server, bump, remove};
use crate::content::{Info, SegmentId};
use crate::hosted::wire::{Descriptor, ResponseCode};
use crate::limits::{BLOCK_BYTES, MAX_SEGMENT_V2_BYTES, SEGMENT_BLOCKS};
use crate::store::{InfoId, InfoStore, InfoView};
use crate::time::Instant;

impl Server<'_> {
    /// A segment of a BATCHED_OFFER_MESSAGE.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        key: Key,
        client: SocketAddr,
        descriptor: &Descriptor,
        infos: &mut dyn InfoStore,
    ) {
        bump(&mut self.state.counters.offered);
        let &Descriptor { block_bytes, segment_bytes, ref tag, algorithm, ref segment } = descriptor;
        let usable = block_bytes <= MAX_SEGMENT_V2_BYTES
            && segment_bytes <= MAX_OFFERED_BYTES
            && descriptor.blocks().is_some_and(|blocks| blocks <= SEGMENT_BLOCKS);
        let Some(segment) = SegmentId::from_slice(segment).filter(|_| usable) else {
            return bump(&mut self.state.counters.unusable);
        };
        let offered = Offered {
            stage: Stage::Arriving(key),
            segment: Some(segment),
            client,
            others: Others::new(),
            from: Application::of(tag),
            what: What::AsReceived(algorithm),
            bytes: segment_bytes,
            block_bytes: block_bytes.min(segment_bytes),
            next: 0,
            asked: 0,
            tried: false,
            moved: now,
            after: now,
        };
        let same = |row: &Offered| row.stage == offered.stage && row.is_same(&offered);
        if !self.offers.iter().filter_map(|row| row.offered.as_ref()).any(same) {
            self.insert(offered, infos);
        }
    }

    /// A BATCHED_OFFER_MESSAGE is whole: what it offers counts.
    pub(super) fn arrived(&mut self, now: Instant, key: Key) {
        for index in 0..self.offers.len() {
            let place = self.offers.get_mut(index).filter(|row| row.is_arriving(key));
            let Some(mut offered) = place.and_then(|row| row.offered.take()) else { continue };
            let same =
                |known: &&mut Offered| !matches!(known.stage, Stage::Arriving(_)) && known.is_same(&offered);
            match self.offers.iter_mut().filter_map(|row| row.offered.as_mut()).find(same) {
                Some(known) => known.also(now, offered.client),
                None => {
                    (offered.stage, offered.moved) = (Stage::Wanted, now);
                    if let Some(row) = self.offers.get_mut(index) {
                        row.offered = Some(offered);
                    }
                }
            }
        }
    }

    /// 3.1.5.1: the code MUST be 0 if all block hashes of the segment are here, and 1 otherwise; also where
    /// all its blocks are here (fact 46). What is missing of it is asked of the client.
    pub(super) fn initial_offer(
        &mut self,
        now: Instant,
        client: SocketAddr,
        segment: &SegmentId,
    ) -> ResponseCode {
        bump(&mut self.state.counters.offered);
        let described = |offered: &&mut Offered| {
            offered.segment == Some(*segment) && offered.info().is_some() && offered.stage != Stage::Over
        };
        let found = self.offers.iter_mut().filter_map(|row| row.offered.as_mut()).find(described);
        match found {
            Some(offered) => {
                offered.also(now, client);
                ResponseCode::Ok
            }
            None => ResponseCode::Interested,
        }
    }

    /// A segment of a SEGMENT_INFO_MESSAGE.
    pub(super) fn described_offer(
        &mut self,
        now: Instant,
        client: SocketAddr,
        from: Application,
        info: Option<InfoId>,
        infos: &mut dyn InfoStore,
    ) {
        bump(&mut self.state.counters.offered);
        let Some(info) = info else { return };
        let described = InfoView { store: &*infos, id: info };
        let whole = Info::parse(&described).ok().filter(|info| match info {
            // 2.2.1.4: cSegments MUST be 1.
            Info::V1(info) => info.segment_count() == 1,
            Info::V2(_) => false,
        });
        let Some(segment) = whole.and_then(|info| info.segment(&described, 0).ok()) else {
            bump(&mut self.state.counters.bad_infos);
            return infos.remove_info(info);
        };
        let taken = self.insert(
            Offered {
                stage: Stage::Fresh,
                segment: None,
                client,
                others: Others::new(),
                from,
                what: What::Described(info),
                bytes: segment.byte_len(),
                block_bytes: BLOCK_BYTES,
                next: 0,
                asked: 0,
                tried: false,
                moved: now,
                after: now,
            },
            infos,
        );
        if !taken {
            infos.remove_info(info);
        }
    }

    /// Puts an offer into a free row, or that of one that is only kept, within the share of its client.
    fn insert(&mut self, offered: Offered, infos: &mut dyn InfoStore) -> bool {
        let Limits { segments, bytes, .. } = self.state.limits;
        let (mut rows, mut waits) = (0u16, u64::from(offered.bytes));
        for other in self.offers.iter().filter_map(|row| row.offered.as_ref()) {
            if other.client.ip() == offered.client.ip() && !other.is_kept() {
                rows = rows.saturating_add(1);
                waits = waits.saturating_add(other.bytes.into());
            }
        }
        if self.offers.iter().all(|row| row.offered.is_some()) {
            self.forget_kept(infos);
        }
        let free = self.offers.iter_mut().find(|row| row.offered.is_none());
        match free.filter(|_| rows < segments && waits <= bytes) {
            Some(row) => {
                row.offered = Some(offered);
                true
            }
            None => {
                bump(&mut self.state.counters.refused);
                false
            }
        }
    }

    /// Makes room for another content information, and another row: forgets one that is kept, the one that was of
    /// use longest ago.
    pub(super) fn forget_kept(&mut self, infos: &mut dyn InfoStore) -> bool {
        let kept = |row: &&mut Offer| row.offered.as_ref().is_some_and(Offered::is_kept);
        let moved = |row: &&mut Offer| row.offered.as_ref().map(|offered| offered.moved);
        let Some(row) = self.offers.iter_mut().filter(kept).min_by_key(moved) else { return false };
        remove(infos, row.offered.take().and_then(|offered| offered.info()));
        true
    }
}
