//! Blocks to ask clients for, and what came of that.

use core::net::SocketAddr;

use super::Limits;
use super::offers::{Offer, Offered, Stage, What, row};
use super::{Message, Server, State, bump};
use crate::content::Info;
use crate::crypto::{Digest, HashAlgorithm, Secret};
use crate::store::verify::Expected;
use crate::store::{BlockId, InfoStore, InfoView, Storage};
use crate::time::{Duration, Instant, earliest};

/// How long a segment rests of which a block could not be got.
const PAUSE: Duration = Duration::from_secs(1);

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
    /// No connection to the client came about, on the port that it names.
    Unreachable,
    /// The client will not, or does not speak the protocol.
    Refused,
    /// What the client sent is not what was offered.
    Bad,
    /// There is no room for it.
    Full,
    /// It may come if it is asked for again.
    Again,
}

impl Server<'_> {
    /// The next block to ask for, of a client of which `asked` says how many are asked already.
    pub fn next(
        &mut self,
        now: Instant,
        storage: &dyn Storage,
        asked: &dyn Fn(SocketAddr) -> usize,
    ) -> Option<Wanted> {
        let trusts = self.state.rules.trusts;
        while let Some(index) = self.turn(now, asked) {
            let wanted = row(self.offers, index).and_then(|offered| next_of(offered, index, storage, trusts));
            let Some(wanted) = wanted else {
                // Whoever else offers it may have what this one has not.
                release(now, self.offers, index);
                continue;
            };
            self.state.turn = Some(wanted.client.ip());
            if let Some(offered) = row(self.offers, index).filter(|offered| !offered.tried) {
                (offered.tried, offered.moved) = (true, now);
            }
            return Some(wanted);
        }
        None
    }

    /// The row whose turn it is: one client after the other, so that who offers much keeps back nobody; of a client,
    /// what waits for longest.
    fn turn(&self, now: Instant, asked: &dyn Fn(SocketAddr) -> usize) -> Option<usize> {
        let mut first = None;
        for (index, offered) in self.offers.iter().enumerate() {
            let Some(offered) = offered.offered.as_ref().filter(|offered| offered.is_due(now)) else {
                continue;
            };
            let client = offered.client.ip();
            let rank = (self.state.turn.is_some_and(|last| client <= last), client, offered.after);
            if first.is_none_or(|(least, _)| rank < least)
                && asked(offered.client) < self.state.limits.blocks.into()
            {
                first = Some((rank, index));
            }
        }
        first.map(|(_, index)| index)
    }

    /// Tells how asking `client` for block `index` of a row's segment ended.
    pub fn ended(&mut self, now: Instant, offer: usize, client: SocketAddr, index: u32, ended: Ended) {
        let State { counters, absent, .. } = &mut *self.state;
        let Some(offered) = row(self.offers, offer) else { return };
        offered.asked = offered.asked.saturating_sub(1);
        if matches!(ended, Ended::Here(_) | Ended::NotHeld | Ended::Refused | Ended::Bad) {
            absent.reached(client);
        }
        // By now another one may be asked, who is not to blame; or nobody is any more.
        let is_late = offered.client != client || offered.stage != Stage::Wanted;
        match ended {
            Ended::Here(bytes) => {
                bump(&mut counters.blocks);
                let of = counters.bytes.get_mut(offered.from as usize);
                of.into_iter().for_each(|of| *of = of.wrapping_add(bytes.into()));
                // Who gives one block is there, and the others are in their turn.
                let rows = self.offers.iter_mut().filter_map(|row| row.offered.as_mut());
                rows.filter(|other| other.client == client && other.stage == Stage::Wanted)
                    .for_each(|other| other.moved = now);
            }
            Ended::Full => {
                bump(&mut counters.refused);
                offered.others.clear();
                offered.end();
            }
            _ if is_late => {}
            Ended::NotHeld => {}
            Ended::Refused => self.give_up(now, offer),
            Ended::Bad => {
                bump(&mut counters.lies);
                self.give_up(now, offer);
            }
            Ended::Unreachable if absent.failed(now, client) => {
                for index in 0..self.offers.len() {
                    let of = self.offers.get(index).and_then(|row| row.offered.as_ref());
                    if of.is_some_and(|other| other.client == client && other.stage == Stage::Wanted) {
                        self.give_up(now, index);
                    }
                }
            }
            Ended::Unreachable | Ended::Again => {
                offered.next = offered.next.min(index);
                offered.after = now + PAUSE;
            }
        }
        release(now, self.offers, offer);
    }

    /// Gives up what has waited too long for a block, and messages of which no more comes.
    pub fn expire(&mut self, now: Instant, infos: &mut dyn InfoStore) {
        for index in 0..self.messages.len() {
            if self.messages.get(index).is_some_and(|message| message.is_lost(now)) {
                self.abandon(index, infos);
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

/// The next block of a segment that is not here, and is counted as asked for.
fn next_of(offered: &mut Offered, index: usize, storage: &dyn Storage, trusts: bool) -> Option<Wanted> {
    let segment = offered.segment?;
    let apart = segment.unverifiable();
    while offered.next < offered.blocks() {
        let block = BlockId { segment, index: offered.next };
        offered.next = offered.next.saturating_add(1);
        if storage.has(&block) {
            continue;
        }
        let known = match offered.what {
            What::AsReceived(algorithm) => Known::Length(algorithm, offered.block_len(block.index)),
            What::Described(id) => {
                let source = InfoView { store: storage, id };
                let Some((expected, secret)) = described(&source, block.index) else { continue };
                // What has no name of its own for that is verified all the same.
                match apart {
                    Some(_) if trusts => Known::Length(expected.algorithm, expected.len),
                    _ => Known::Hash(expected, secret),
                }
            }
        };
        let is_kept = |segment| storage.has(&BlockId { segment, ..block });
        if matches!(known, Known::Length(..)) && apart.is_none_or(is_kept) {
            continue;
        }
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
