//! [MS-PCHC] 3.1, the server: messages in, out comes a table of what clients offer.
//!
//! A message is read as it arrives: of a descriptor, a few bytes are kept until it is whole, and content
//! information goes straight into its store. What a message offers counts once all of it has come; a bad one
//! leaves nothing behind.
//!
//! Whoever works through the table asks for the blocks (3.1.5), and says how that went.

mod absent;
mod asking;
mod check;
mod intake;
mod message;
mod offers;

use core::net::{IpAddr, SocketAddr};

use self::absent::Absent;
pub use self::absent::TELL_AGAIN;
pub use self::asking::{Ended, Known, Wanted, poll_timeout};
pub use self::message::Message;
pub use self::offers::Offer;
use super::wire::{ContentTag, ResponseCode, Version};
use crate::content::HodCheck;
use crate::limits::SEGMENT_BYTES;
use crate::store::{InfoId, InfoStore};
use crate::time::{Duration, Instant};

/// Bytes of the longest segment that is taken, of either version: what is said to be longer is nobody's.
pub const MAX_OFFERED_BYTES: u32 = SEGMENT_BYTES;

/// What one client may have a hosted cache keep in mind and do, so that others are not kept waiting (fact 47).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Segments that wait to be fetched from it.
    pub segments: u16,
    /// Bytes of those, by what it says of them.
    pub bytes: u64,
    /// Content information of those, each of which takes a place in the store, while it arrives too.
    pub infos: u8,
    /// Blocks asked of it at a time.
    pub blocks: u8,
    /// How long an offer is kept of which no block comes.
    pub patience: Duration,
}

impl Default for Limits {
    /// Four full batches, 256 MiB, of version 1.0 in full segments, 8 blocks, 30 s.
    fn default() -> Self {
        Self { segments: 512, bytes: 256 << 20, infos: 8, blocks: 8, patience: Duration::from_secs(30) }
    }
}

/// What a hosted cache takes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rules {
    /// Offers of version 1.0.
    pub v1: bool,
    /// Offers of version 2.0.
    pub v2: bool,
    /// Blocks offered by version 1.0 are kept as they come, like those of version 2.0: faster, and whoever offers
    /// garbage has it handed out, until those who get it find out. MS-PCCRC 2.2 demands that they are verified.
    pub trusts: bool,
}

impl Default for Rules {
    /// Both versions; what can be verified, is.
    fn default() -> Self {
        Self { v1: true, v2: true, trusts: false }
    }
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Messages answered.
    pub messages: u32,
    /// Messages dropped: malformed, of unknown type, of the other version (3.1.5.4).
    pub dropped: u32,
    /// Messages of which the end never came.
    pub abandoned: u32,
    /// Segments offered.
    pub offered: u32,
    /// Of those, what is not taken: too long, without blocks, or of an algorithm nobody knows.
    pub unusable: u32,
    /// Content information that cannot be read, or is not that of one whole segment (fact 44).
    pub bad_infos: u32,
    /// Segments whose block hashes are not those of their HoD.
    pub lies: u32,
    /// What found no room: in the table, in the share of its client, or in the store.
    pub refused: u32,
    /// Segments that were given up: their client cannot be reached, or no block came in time.
    pub given_up: u32,
    /// Blocks that came.
    pub blocks: u32,
    /// Bytes of those, by the application that offers them (3.1.5.2, 3.1.5.3: the tag MUST be passed to the
    /// higher layer).
    pub bytes: [u64; APPLICATIONS],
}

/// How many applications are told apart.
pub const APPLICATIONS: usize = 5;

/// Who cached what is offered, by its tag (3.2.1, fact 48).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Application {
    /// The tag of WinINet.
    WinInet,
    /// The tag of WebIO.
    WebIo,
    /// The tag of BITS.
    Bits,
    /// The tag of the SMB stack.
    Smb,
    /// Any other tag.
    Other,
}

impl Application {
    /// Whose tag that is.
    pub fn of(tag: &ContentTag) -> Self {
        match tag {
            b"WinINet\0\0\0\0\0\0\0\0\0" => Self::WinInet,
            b"WebIO\0\0\0\0\0\0\0\0\0\0\0" => Self::WebIo,
            b"BITS-4.0\0\0\0\0\0\0\0\0" => Self::Bits,
            [
                0x35,
                0xdb,
                0x04,
                0x5d,
                0x14,
                0x23,
                0x45,
                0x53,
                0xa0,
                0x51,
                0x0d,
                0xc2,
                0xe1,
                0x5e,
                0x6c,
                0x4c,
            ] => Self::Smb,
            _ => Self::Other,
        }
    }
}

/// Which message, of those that are arriving: whoever carries it chooses, and no two at once are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Key(pub u64);

/// What takes messages: the server, as whoever carries them sees it.
pub trait Desk {
    /// Whether there is a URL of that version here.
    fn takes(&self, version: Version) -> bool;

    /// A message begins, from that client, at the URL of that version; `false` if too many are arriving. The port
    /// that counts is the one that the message names.
    fn begin(
        &mut self,
        now: Instant,
        key: Key,
        client: SocketAddr,
        version: Version,
        infos: &mut dyn InfoStore,
    ) -> bool;

    /// More of it has come.
    fn take(&mut self, now: Instant, key: Key, bytes: &[u8], infos: &mut dyn InfoStore);

    /// It is whole: the answer; `None` if it MUST be dropped (3.1.5.4).
    fn finish(&mut self, now: Instant, key: Key, infos: &mut dyn InfoStore) -> Option<ResponseCode>;

    /// No more of it comes, if it has not come to its end: it is forgotten, with what it offered.
    fn forget(&mut self, key: Key, infos: &mut dyn InfoStore);
}

/// Offers, and messages that are arriving, in tables of any size.
pub struct Server<'a> {
    /// What is offered.
    pub offers: &'a mut [Offer],
    /// Messages that are arriving.
    pub messages: &'a mut [Message],
    /// What they share.
    pub state: &'a mut State,
}

/// What is not in a table.
#[derive(Default)]
pub struct State {
    /// What each client may do.
    pub limits: Limits,
    /// What is taken.
    pub rules: Rules,
    /// What happened so far.
    pub counters: Counters,
    /// Clients that could not be reached.
    absent: Absent,
    /// The client whose turn was last.
    turn: Option<IpAddr>,
    /// Whose block hashes are being looked at.
    checking: Option<(usize, HodCheck)>,
}

impl State {
    /// With those limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A client whose port could not be reached, so that its offers were given up: the next of those that nobody was
    /// told of, each once in [`TELL_AGAIN`].
    pub fn poll_unreachable(&mut self) -> Option<SocketAddr> {
        self.absent.tell()
    }
}

impl Desk for Server<'_> {
    fn takes(&self, version: Version) -> bool {
        let Rules { v1, v2, .. } = self.state.rules;
        match version {
            Version::V1 => v1,
            Version::V2 => v2,
        }
    }

    fn begin(
        &mut self,
        now: Instant,
        key: Key,
        client: SocketAddr,
        version: Version,
        infos: &mut dyn InfoStore,
    ) -> bool {
        let place = self.messages.iter().position(|message| message.is_free()).or_else(|| {
            // Nobody waits any more for the end of it.
            let stale = |message: &Message| message.is_stale(now);
            self.messages.iter().position(stale)
        });
        let Some(index) = place else {
            bump(&mut self.state.counters.refused);
            return false;
        };
        self.abandon(index, infos);
        if let Some(message) = self.messages.get_mut(index) {
            *message = Message::new(now, key, client, version);
        }
        true
    }

    fn take(&mut self, now: Instant, key: Key, bytes: &[u8], infos: &mut dyn InfoStore) {
        if let Some(index) = self.message(key) {
            self.read(now, index, bytes, infos);
        }
    }

    fn finish(&mut self, now: Instant, key: Key, infos: &mut dyn InfoStore) -> Option<ResponseCode> {
        let answer = self.message(key).and_then(|index| {
            let answer = self.complete(now, index, infos);
            self.end(index, infos);
            answer
        });
        let Counters { messages, dropped, .. } = &mut self.state.counters;
        bump(if answer.is_some() { messages } else { dropped });
        answer
    }

    fn forget(&mut self, key: Key, infos: &mut dyn InfoStore) {
        self.message(key).into_iter().for_each(|index| self.abandon(index, infos));
    }
}

impl Server<'_> {
    fn message(&self, key: Key) -> Option<usize> {
        self.messages.iter().position(|message| message.has(key))
    }

    /// Forgets a message that is not whole, if there is one in that row.
    fn abandon(&mut self, index: usize, infos: &mut dyn InfoStore) {
        if self.messages.get(index).is_some_and(|message| !message.is_free()) {
            bump(&mut self.state.counters.abandoned);
            self.end(index, infos);
        }
    }

    /// Forgets a message, and what it offered unless that counts by now.
    fn end(&mut self, index: usize, infos: &mut dyn InfoStore) {
        let Some(message) = self.messages.get_mut(index) else { return };
        if let Some(key) = message.free(infos) {
            self.offers.iter_mut().filter(|offer| offer.is_arriving(key)).for_each(Offer::clear);
        }
    }
}

fn bump(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

fn remove(infos: &mut dyn InfoStore, id: Option<InfoId>) {
    if let Some(id) = id {
        infos.remove_info(id);
    }
}

#[cfg(test)]
mod tests;
