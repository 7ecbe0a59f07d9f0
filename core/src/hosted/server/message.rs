//! A message as it arrives.

use core::net::SocketAddr;

use super::{Application, Counters, Key, Server, State, bump, remove};
use crate::bytes::copy;
use crate::content::SegmentId;
use crate::hosted::wire::{
    DESCRIPTOR_BYTES, Descriptor, MAX_DESCRIPTORS, Malformed, MessageType, OPENING_BYTES, Opening,
    ResponseCode, TAG_BYTES, Version,
};
use crate::limits::{MAX_DIGEST_BYTES, REQUEST_TIMEOUT, SEGMENT_BLOCKS, UPLOAD_TIMEOUT};
use crate::store::{InfoId, InfoStore};
use crate::time::Instant;

/// Bytes that are collected at a time at most.
const FIELD_BYTES: usize = MAX_DIGEST_BYTES;
const _: () = assert!(FIELD_BYTES >= DESCRIPTOR_BYTES && FIELD_BYTES >= OPENING_BYTES);

/// Bytes of the longest content information of one segment: header, description, count and block hashes.
const MAX_INFO_BYTES: u64 =
    18 + 16 + 2 * MAX_DIGEST_BYTES as u64 + 4 + SEGMENT_BLOCKS as u64 * MAX_DIGEST_BYTES as u64;

/// A row of the table of messages that are arriving.
pub struct Message {
    arriving: Option<Arriving>,
}

struct Arriving {
    key: Key,
    /// Who sends it; of an address of one link, with the link.
    client: SocketAddr,
    version: Version,
    /// When something of it came last.
    moved: Instant,
    phase: Phase,
    field: [u8; FIELD_BYTES],
    have: u8,
    port: u16,
    /// Descriptors that have come.
    descriptors: u8,
    from: Application,
    info: Option<InfoId>,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    /// The segment id of an INITIAL_OFFER_MESSAGE, of any length.
    Hash,
    /// The tag of a SEGMENT_INFO_MESSAGE.
    Tag,
    Info,
    Descriptor,
    /// The rest means nothing, and the message is answered.
    Ignored,
    /// The message will be dropped.
    Malformed,
}

impl Message {
    /// A row without a message.
    pub const FREE: Self = Self { arriving: None };

    pub(super) fn new(now: Instant, key: Key, client: SocketAddr, version: Version) -> Self {
        let arriving = Arriving {
            key,
            client,
            version,
            moved: now,
            phase: Phase::Opening,
            field: [0; FIELD_BYTES],
            have: 0,
            port: 0,
            descriptors: 0,
            from: Application::Other,
            info: None,
        };
        Self { arriving: Some(arriving) }
    }

    pub(super) fn is_free(&self) -> bool {
        self.arriving.is_none()
    }

    /// Whether nothing of it has come for so long that its client has given it up (MS-PCCRR 3.1.2: what is asked
    /// of a peer waits no longer either).
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.arriving.as_ref().is_some_and(|message| message.moved + REQUEST_TIMEOUT <= now)
    }

    /// Whether whoever carried it is gone: an upload may last no longer.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.lost_at().is_some_and(|lost| lost <= now)
    }

    /// From when on that is so.
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.arriving.as_ref().map(|message| message.moved + UPLOAD_TIMEOUT)
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.arriving.as_ref().is_some_and(|message| message.key == key)
    }

    /// Frees the row, and tells whose it was.
    pub(super) fn free(&mut self, infos: &mut dyn InfoStore) -> Option<Key> {
        let message = self.arriving.take()?;
        remove(infos, message.info);
        Some(message.key)
    }
}

impl Arriving {
    /// How many bytes are collected now.
    const fn need(&self) -> usize {
        match self.phase {
            Phase::Opening => OPENING_BYTES,
            Phase::Hash => MAX_DIGEST_BYTES,
            Phase::Tag => TAG_BYTES,
            Phase::Descriptor => DESCRIPTOR_BYTES,
            Phase::Info | Phase::Ignored | Phase::Malformed => 0,
        }
    }

    fn turn_to(&mut self, phase: Phase) {
        (self.phase, self.have) = (phase, 0);
    }

    /// What follows the beginning of a message.
    fn opened(&mut self) {
        let opening = self.field.first_chunk().map(Opening::parse);
        let Some(opening) = opening.filter(|opening| opening.is_of(self.version)) else {
            return self.turn_to(Phase::Malformed);
        };
        self.port = opening.port;
        self.turn_to(match opening.message {
            MessageType::InitialOffer => Phase::Hash,
            MessageType::SegmentInfo => Phase::Tag,
            MessageType::BatchedOffer => Phase::Descriptor,
            MessageType::Unknown(_) => Phase::Malformed,
        });
    }

    /// Where its client serves blocks.
    fn peer(&self) -> SocketAddr {
        let mut peer = self.client;
        peer.set_port(self.port);
        peer
    }
}

impl Server<'_> {
    /// Reads on.
    pub(super) fn read(&mut self, now: Instant, index: usize, mut bytes: &[u8], infos: &mut dyn InfoStore) {
        while !bytes.is_empty() {
            let Some(message) = arriving(self.messages, index) else {
                return;
            };
            message.moved = now;
            let used = match message.phase {
                Phase::Ignored | Phase::Malformed => return,
                Phase::Info => {
                    self.add_info(index, bytes, infos);
                    return;
                }
                Phase::Opening | Phase::Hash | Phase::Tag | Phase::Descriptor => {
                    let need = message.need();
                    let room = message.field.get_mut(message.have.into()..need).unwrap_or_default();
                    let used = copy(room, bytes);
                    message.have = message.have.saturating_add(used as u8);
                    if used == 0 {
                        // More than any digest has.
                        message.turn_to(Phase::Malformed);
                    } else if usize::from(message.have) == need {
                        self.field_complete(now, index, infos);
                    }
                    used
                }
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    fn field_complete(&mut self, now: Instant, index: usize, infos: &mut dyn InfoStore) {
        let Some(message) = arriving(self.messages, index) else {
            return;
        };
        match message.phase {
            Phase::Opening => message.opened(),
            Phase::Tag => {
                message.from = message.field.first_chunk().map_or(Application::Other, Application::of);
                self.make_info(index, infos);
            }
            Phase::Descriptor => self.descriptor(now, index, infos),
            // It is whole when the message is.
            Phase::Hash | Phase::Info | Phase::Ignored | Phase::Malformed => {}
        }
    }

    /// Makes room for the content information that comes next.
    fn make_info(&mut self, index: usize, infos: &mut dyn InfoStore) {
        let mut info = None;
        if self.has_place(index) {
            info = infos.create_info().ok();
            if info.is_none() && self.forget_kept(infos) {
                info = infos.create_info().ok();
            }
        }
        let Some(message) = arriving(self.messages, index) else {
            return remove(infos, info);
        };
        if info.is_none() {
            bump(&mut self.state.counters.refused);
        }
        message.info = info;
        message.turn_to(if info.is_some() { Phase::Info } else { Phase::Ignored });
    }

    /// Whether the client of a message may have another content information here.
    fn has_place(&self, index: usize) -> bool {
        let message = self.messages.get(index).and_then(|message| message.arriving.as_ref());
        let Some(client) = message.map(|message| message.client.ip()) else { return false };
        let arriving = self.messages.iter().filter_map(|message| message.arriving.as_ref());
        let arriving = arriving.filter(|message| message.client.ip() == client && message.info.is_some());
        let offered = self.offers.iter().filter_map(|row| row.offered.as_ref());
        let offered = offered.filter(|offered| offered.client.ip() == client && offered.takes_place());
        arriving.count().saturating_add(offered.count()) < self.state.limits.infos.into()
    }

    fn descriptor(&mut self, now: Instant, index: usize, infos: &mut dyn InfoStore) {
        let Some(message) = arriving(self.messages, index) else {
            return;
        };
        message.turn_to(Phase::Descriptor);
        // 2.2.1.5: MUST NOT contain more than 128; fact 44: what does is dropped.
        if usize::from(message.descriptors) == MAX_DESCRIPTORS {
            return message.turn_to(Phase::Malformed);
        }
        message.descriptors = message.descriptors.saturating_add(1);
        let descriptor = message.field.first_chunk().ok_or(Malformed::Truncated).and_then(Descriptor::parse);
        match descriptor {
            Ok(descriptor) => {
                let (key, peer) = (message.key, message.peer());
                self.offer(now, key, peer, &descriptor, infos);
            }
            Err(Malformed::Algorithm(_)) => {
                bump(&mut self.state.counters.unusable);
                message.turn_to(Phase::Ignored);
            }
            Err(_) => message.turn_to(Phase::Malformed),
        }
    }

    fn add_info(&mut self, index: usize, bytes: &[u8], infos: &mut dyn InfoStore) {
        let Some(message) = arriving(self.messages, index) else {
            return;
        };
        let Some(id) = message.info else { return message.turn_to(Phase::Ignored) };
        let len = infos.info_len(id).saturating_add(bytes.len() as u64);
        // Fact 44: broken content information is answered, and ignored.
        let is_broken = len > MAX_INFO_BYTES;
        let mut taken = !is_broken && infos.append_info(id, bytes).is_ok();
        // What is only kept for the next offer gives way.
        while !is_broken && !taken && self.forget_kept(infos) {
            taken = infos.append_info(id, bytes).is_ok();
        }
        let Some(message) = arriving(self.messages, index).filter(|_| !taken) else { return };
        let State { counters: Counters { bad_infos, refused, .. }, .. } = &mut *self.state;
        bump(if is_broken { bad_infos } else { refused });
        remove(infos, message.info.take());
        message.turn_to(Phase::Ignored);
    }

    /// The message is over: what it offers counts, unless it is malformed.
    pub(super) fn complete(
        &mut self,
        now: Instant,
        index: usize,
        infos: &mut dyn InfoStore,
    ) -> Option<ResponseCode> {
        let message = arriving(self.messages, index)?;
        let (key, peer, from) = (message.key, message.peer(), message.from);
        let have = message.field.get(..message.have.into()).unwrap_or_default();
        match message.phase {
            Phase::Opening | Phase::Tag | Phase::Malformed => None,
            Phase::Hash => {
                // 3.1.5.4: an id that is no digest is not correctly formatted.
                let segment = SegmentId::from_slice(have)?;
                Some(self.initial_offer(now, peer, &segment))
            }
            Phase::Descriptor if !have.is_empty() || message.descriptors == 0 => None,
            // 3.1.5.3: MUST be a code of 0.
            Phase::Descriptor | Phase::Ignored => {
                self.arrived(now, key);
                Some(ResponseCode::Ok)
            }
            // 3.1.5.2: MUST be a code of 0, whatever came before, and whatever the information is worth (fact 44).
            Phase::Info => {
                let info = message.info.take();
                self.described_offer(now, peer, from, info, infos);
                Some(ResponseCode::Ok)
            }
        }
    }
}

fn arriving(messages: &mut [Message], index: usize) -> Option<&mut Arriving> {
    messages.get_mut(index)?.arriving.as_mut()
}
