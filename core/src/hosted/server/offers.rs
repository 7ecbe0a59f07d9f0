//! What clients offer, and how far getting it has come.

use core::net::SocketAddr;

use super::{Application, Key, Limits, MAX_OFFERED_BYTES, Message, Server, State, bump, remove};
use crate::content::{HodCheck, Info, InfoError, Progress, Segment, SegmentId};
use crate::crypto::{Crypto, Digest, HashAlgorithm, Secret};
use crate::hosted::wire::{Descriptor, ResponseCode};
use crate::limits::{BLOCK_BYTES, MAX_SEGMENT_V2_BYTES, SEGMENT_BLOCKS};
use crate::store::verify::Expected;
use crate::store::{BlockId, InfoId, InfoStore, InfoView, Storage};
use crate::time::{Duration, Instant, earliest};

/// Block hashes checked against a segment's HoD in one call.
const HOD_STEP: u32 = 64;

/// How long a segment may wait for its turn, and then be asked for as any other.
const QUEUE: Duration = Duration::from_secs(300);

/// How long a segment rests of which a block could not be got.
const PAUSE: Duration = Duration::from_secs(1);

/// A row of the table of offers: one segment, whoever offers it.
pub struct Offer {
    pub(super) offered: Option<Offered>,
}

pub(super) struct Offered {
    stage: Stage,
    /// Not known of content information that was not looked at yet.
    segment: Option<SegmentId>,
    /// Whom it is asked of, and who offers it as well.
    client: SocketAddr,
    other: Option<SocketAddr>,
    from: Application,
    what: What,
    /// Bytes of the segment, and of each block but the last.
    bytes: u32,
    block_bytes: u32,
    /// The next block to ask for.
    next: u32,
    /// Blocks that are being asked for.
    asked: u8,
    /// Whether any was asked of whoever offers it now.
    tried: bool,
    /// When it was offered, was first asked for, or a block came last.
    moved: Instant,
    /// Before then, nothing more of it is asked for.
    after: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Of a message that is not whole.
    Arriving(Key),
    /// Its content information is looked at first.
    Fresh,
    /// Its blocks are asked for.
    Wanted,
    /// Nobody is asked for more of it; what was asked for is still awaited.
    Over,
    /// All that there was has come; its content information is kept, for the next INITIAL_OFFER_MESSAGE.
    Kept,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Version 2.0: as it comes, since nothing tells what it is.
    AsReceived(HashAlgorithm),
    /// Version 1.0.
    Described(InfoId),
}

/// What is known of a block that a hosted cache asks for.
pub enum Known {
    /// Only how many bytes its plaintext is said to have.
    Length(HashAlgorithm, u32),
    /// What it is, and its segment's secret.
    Hash(Expected, Secret),
}

/// A block to ask a client for.
pub struct Wanted {
    /// The row of the offer that it is of.
    pub offer: usize,
    /// Of whom.
    pub client: SocketAddr,
    /// Which.
    pub block: BlockId,
    /// What is known of it.
    pub known: Known,
}

/// How asking for a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is here, with so many bytes.
    Here(u32),
    /// The client does not have it.
    NotHeld,
    /// The client cannot be reached on the port that it names.
    Unreachable,
    /// What the client sent is not what was offered.
    Bad,
    /// There is no room for it.
    Full,
    /// It may come if it is asked for again.
    Again,
}

impl Offer {
    /// A row without an offer.
    pub const FREE: Self = Self { offered: None };

    pub(super) fn is_arriving(&self, key: Key) -> bool {
        self.offered.as_ref().is_some_and(|offered| offered.stage == Stage::Arriving(key))
    }

    /// Its message is whole.
    pub(super) fn arrived(&mut self) {
        if let Some(offered) = &mut self.offered {
            offered.stage = Stage::Wanted;
        }
    }

    /// Frees a row that has no content information.
    pub(super) fn clear(&mut self) {
        self.offered = None;
    }
}

impl Offered {
    fn is_kept(&self) -> bool {
        self.stage == Stage::Kept && self.asked == 0
    }

    fn info(&self) -> Option<InfoId> {
        match self.what {
            What::Described(info) => Some(info),
            What::AsReceived(_) => None,
        }
    }

    const fn blocks(&self) -> u32 {
        self.bytes.div_ceil(if self.block_bytes == 0 { 1 } else { self.block_bytes })
    }

    fn block_len(&self, index: u32) -> u32 {
        let before = index.saturating_mul(self.block_bytes);
        self.bytes.saturating_sub(before).min(self.block_bytes)
    }

    /// Somebody offers it, who may have what is still missing.
    fn also(&mut self, now: Instant, client: SocketAddr) {
        match self.stage {
            Stage::Kept | Stage::Over => {
                (self.client, self.other, self.next, self.moved) = (client, None, 0, now);
                (self.stage, self.tried) = (Stage::Wanted, false);
            }
            // It may have more of it by now.
            Stage::Wanted if client == self.client => self.next = 0,
            _ if client == self.client => {}
            _ => self.other = self.other.or(Some(client)),
        }
    }

    /// Turns to whoever offers it as well; `false` if that is nobody.
    fn turn(&mut self, now: Instant) -> bool {
        let Some(other) = self.other.take() else { return false };
        (self.client, self.next, self.moved, self.after) = (other, 0, now, now);
        self.tried = false;
        true
    }

    /// When it is given up, unless a block comes. Whoever waits for its turn is not to blame.
    fn late_at(&self, patience: Duration) -> Option<Instant> {
        let waits = self.stage == Stage::Wanted && self.asked == 0;
        let since = if self.tried { self.moved } else { self.moved + QUEUE };
        waits.then_some(since + patience)
    }

    /// Nothing more of it is asked for. What is known of it stays known.
    fn end(&mut self) {
        self.stage = match self.what {
            What::Described(_) if self.segment.is_some() => Stage::Kept,
            _ => Stage::Over,
        };
    }
}

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
        // Who says something else of a segment is believed as little as who was first.
        let what = What::AsReceived(algorithm);
        let same = |offered: &&mut Offered| {
            let as_said =
                offered.bytes == segment_bytes && offered.block_bytes == block_bytes.min(segment_bytes);
            offered.segment == Some(segment) && (offered.info().is_some() || offered.what == what && as_said)
        };
        if let Some(offered) = self.offers.iter_mut().filter_map(|row| row.offered.as_mut()).find(same) {
            return offered.also(now, client);
        }
        let offered = Offered {
            stage: Stage::Arriving(key),
            segment: Some(segment),
            client,
            other: None,
            from: Application::of(tag),
            what,
            bytes: segment_bytes,
            block_bytes: block_bytes.min(segment_bytes),
            next: 0,
            asked: 0,
            tried: false,
            moved: now,
            after: now,
        };
        self.insert(offered, infos);
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
                other: None,
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

    /// Looks at content information that has come, some block hashes of it at a time; whether there is more to
    /// look at.
    pub fn check(&mut self, infos: &mut dyn InfoStore, crypto: &mut dyn Crypto) -> bool {
        let fresh = |row: &Offer| row.offered.as_ref().is_some_and(|offered| offered.stage == Stage::Fresh);
        let Some(index) = self.offers.iter().position(fresh) else { return false };
        match self.step(index, infos, crypto) {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => self.state.checking = None,
            Err(_) => {
                self.state.checking = None;
                bump(&mut self.state.counters.lies);
                let row = self.offers.get_mut(index).and_then(|row| row.offered.take());
                remove(infos, row.and_then(|offered| offered.info()));
            }
        }
        true
    }

    fn step(
        &mut self,
        index: usize,
        infos: &mut dyn InfoStore,
        crypto: &mut dyn Crypto,
    ) -> Result<Progress, InfoError> {
        let Some(offered) = row(self.offers, index) else {
            return Ok(Progress::Done);
        };
        let Some(id) = offered.info() else { return Ok(Progress::Done) };
        let source = InfoView { store: &*infos, id };
        if self.state.checking.as_ref().is_none_or(|(checking, _)| *checking != index) {
            let segment = segment(&source)?;
            // MS-PCCRC 2.2: MUST match, and of a list that leaves some out, that cannot be told.
            let check = HodCheck::new(crypto, &segment)?;
            self.state.checking = Some((index, check));
        }
        let Some((_, check)) = &mut self.state.checking else { return Ok(Progress::Done) };
        if check.step(&source, crypto, HOD_STEP)? == Progress::More {
            return Ok(Progress::More);
        }
        let (client, other, moved) = (offered.client, offered.other, offered.moved);
        let segment = segment(&source)?.id(crypto);
        let known = self.offers.iter_mut().filter_map(|row| row.offered.as_mut()).find(|offered| {
            offered.segment == Some(segment) && offered.info().is_some() && offered.stage != Stage::Over
        });
        if let Some(known) = known {
            known.also(moved, client);
            other.into_iter().for_each(|other| known.also(moved, other));
            infos.remove_info(id);
            self.offers.get_mut(index).into_iter().for_each(Offer::clear);
        } else if let Some(offered) = row(self.offers, index) {
            (offered.segment, offered.stage) = (Some(segment), Stage::Wanted);
        }
        Ok(Progress::Done)
    }

    /// The next block to ask for, of a client of which `asked` says how many are asked already.
    pub fn next(
        &mut self,
        now: Instant,
        storage: &dyn Storage,
        asked: &dyn Fn(SocketAddr) -> usize,
    ) -> Option<Wanted> {
        let rows = self.offers.len();
        for step in 0..rows {
            // One after the other, so that no client keeps back the others.
            let index = self.state.turn.wrapping_add(step).checked_rem(rows)?;
            let Some(offered) = row(self.offers, index) else {
                continue;
            };
            if offered.stage != Stage::Wanted
                || offered.after > now
                || asked(offered.client) >= self.state.limits.blocks.into()
            {
                continue;
            }
            let mut wanted = next_of(offered, index, storage);
            if wanted.is_none() {
                // Whoever else offers it may have what this one has not.
                release(now, self.offers, index);
                let other = row(self.offers, index).filter(|offered| offered.stage == Stage::Wanted);
                wanted = other.and_then(|offered| next_of(offered, index, storage));
            }
            if wanted.is_none() {
                release(now, self.offers, index);
                continue;
            }
            self.state.turn = index.wrapping_add(1);
            if let Some(offered) = row(self.offers, index).filter(|offered| !offered.tried) {
                (offered.tried, offered.moved) = (true, now);
            }
            return wanted;
        }
        None
    }

    /// Tells how asking `client` for block `index` of a row's segment ended.
    pub fn ended(&mut self, now: Instant, offer: usize, client: SocketAddr, index: u32, ended: Ended) {
        let State { counters, unreachable, .. } = &mut *self.state;
        let Some(offered) = row(self.offers, offer) else { return };
        offered.asked = offered.asked.saturating_sub(1);
        // By now another one may be asked, who is not to blame.
        let is_late = offered.client != client && !matches!(ended, Ended::Here(_) | Ended::Full);
        match ended {
            _ if is_late => {}
            Ended::Here(bytes) => {
                bump(&mut counters.blocks);
                let of = counters.bytes.get_mut(offered.from as usize);
                of.into_iter().for_each(|of| *of = of.wrapping_add(bytes.into()));
                // Who gives one block is there, and the others are in their turn.
                let rows = self.offers.iter_mut().filter_map(|row| row.offered.as_mut());
                rows.filter(|other| other.client == client && other.stage == Stage::Wanted)
                    .for_each(|other| other.moved = now);
            }
            Ended::NotHeld => {}
            Ended::Again => {
                offered.next = offered.next.min(index);
                offered.after = now + PAUSE;
            }
            Ended::Bad => {
                bump(&mut counters.lies);
                self.give_up(now, offer);
            }
            Ended::Full => {
                bump(&mut counters.refused);
                offered.other = None;
                offered.end();
            }
            Ended::Unreachable => {
                *unreachable = Some(client);
                for index in 0..self.offers.len() {
                    let of = self.offers.get(index).and_then(|row| row.offered.as_ref());
                    if of.is_some_and(|other| other.client == client && other.stage == Stage::Wanted) {
                        self.give_up(now, index);
                    }
                }
            }
        }
        release(now, self.offers, offer);
    }

    /// Gives up what has waited too long for a block, and messages of which no more comes.
    pub fn expire(&mut self, now: Instant, infos: &mut dyn InfoStore) {
        for index in 0..self.messages.len() {
            if self.messages.get(index).is_some_and(|message| message.is_lost(now)) {
                self.end(index, infos);
            }
        }
        let patience = self.state.limits.patience;
        for index in 0..self.offers.len() {
            let of = self.offers.get(index).and_then(|row| row.offered.as_ref());
            let late = of.and_then(|offered| offered.late_at(patience));
            if late.is_some_and(|late| late <= now) {
                self.give_up(now, index);
            }
        }
    }

    /// Turns to whoever else offers a row's segment, or gives it up.
    fn give_up(&mut self, now: Instant, index: usize) {
        let Some(offered) = row(self.offers, index) else { return };
        if !offered.turn(now) {
            bump(&mut self.state.counters.given_up);
            offered.end();
        }
        release(now, self.offers, index);
    }
}

fn row(offers: &mut [Offer], index: usize) -> Option<&mut Offered> {
    offers.get_mut(index)?.offered.as_mut()
}

/// When a [`Server`] has something to do without new input.
pub fn poll_timeout(
    offers: &[Offer],
    messages: &[Message],
    limits: &Limits,
    now: Instant,
) -> Option<Instant> {
    let lost = messages.iter().fold(None, |next, message| earliest(next, message.lost_at()));
    let wanted = offers.iter().filter_map(|row| row.offered.as_ref());
    wanted.fold(lost, |next, offered| {
        let late = offered.late_at(limits.patience);
        let after = late.and(Some(offered.after)).filter(|after| *after > now);
        earliest(next, earliest(after, late))
    })
}

/// Ends a row of which everything has been asked for, of all who offer it, and frees one that is over.
fn release(now: Instant, offers: &mut [Offer], index: usize) {
    let Some(row) = offers.get_mut(index) else { return };
    let Some(offered) = row.offered.as_mut().filter(|offered| offered.asked == 0) else { return };
    if offered.stage == Stage::Wanted && offered.next >= offered.blocks() && !offered.turn(now) {
        offered.end();
    }
    if offered.stage == Stage::Over {
        row.offered = None;
    }
}

/// The one segment that content information describes.
fn segment(source: &InfoView<'_, dyn InfoStore + '_>) -> Result<Segment, InfoError> {
    Info::parse(source)?.segment(source, 0)
}

/// The next block of a segment that is not here, and is counted as asked for.
fn next_of(offered: &mut Offered, index: usize, storage: &dyn Storage) -> Option<Wanted> {
    let segment = offered.segment?;
    while offered.next < offered.blocks() {
        let block = BlockId { segment, index: offered.next };
        offered.next = offered.next.saturating_add(1);
        let known = match offered.what {
            _ if storage.find(&block).is_some() => continue,
            What::AsReceived(algorithm) => {
                let apart = segment.unverifiable().map(|segment| BlockId { segment, ..block });
                if apart.is_none_or(|apart| storage.find(&apart).is_some()) {
                    continue;
                }
                Known::Length(algorithm, offered.block_len(block.index))
            }
            What::Described(id) => {
                let source = InfoView { store: storage, id };
                let Some((expected, secret)) = described(&source, block.index) else { continue };
                Known::Hash(expected, secret)
            }
        };
        offered.asked = offered.asked.saturating_add(1);
        return Some(Wanted { offer: index, client: offered.client, block, known });
    }
    None
}

fn described(source: &InfoView<'_, dyn Storage + '_>, index: u32) -> Option<(Expected, Secret)> {
    let info = Info::parse(source).ok()?;
    let segment = info.segment(source, 0).ok()?;
    let hash: Digest = segment.block_hash(source, index).ok()??;
    let expected = Expected { algorithm: segment.algorithm(), hash, len: segment.block_len(index)? };
    Some((expected, segment.secret().clone()))
}
