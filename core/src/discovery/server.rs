//! [MS-PCCRD] 3.2: the server role. Answers probes for segments that we have.
//!
//! The Available Segment List (3.2.1) is not kept here: the caller is asked, so there is no second
//! copy of what the store knows, and a segment added or removed is known at once (3.2.6.1).
//!
//! What a stranger can make us send is bounded three times: to hosts of the local subnet, so many
//! datagrams an answer, so many datagrams a second.

mod bounds;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use heapless::Vec;
use rand_core::CryptoRng;

pub use self::bounds::{ANSWERS_AT_ONCE, ANSWERS_PER_SECOND, CROWDED_FOR, MAX_CROWDS, MAX_REMEMBERED};
use self::bounds::{Allowance, Crowds, Remembered};
use super::wire::{
    Answer, Availabilities, Availability, Body, MAX_ANSWER_IDS, MAX_ANSWER_TEXT, MAX_SCOPES, MessageId, Part,
    Probe, ProbeMatchesRepr, ProbeMatchesV2Repr, ProbeV2, Scope, Uuid, Version,
};
use super::{Addresses, FIRST_GAP, FNV, Replies, Subnet, between, count, cut, mix};
use crate::ages::{AgesRepr, blob_bytes};
use crate::bytes::{NoRoom, Writer};
use crate::content::SegmentId;
use crate::limits::rows;
use crate::time::{Duration, Instant};

/// The shortest back-off before an answer (3.2.2).
pub const MIN_BACKOFF: Duration = Duration::from_millis(1);

/// The longest back-off before an answer, if nothing else is set: APP_MAX_DELAY (3.2.2, fact 29).
pub const MAX_BACKOFF: Duration = Duration::from_millis(65);

/// Datagrams of answers that wait for their back-off, as far as their texts fit `TEXT_BYTES`. More probes within 65 ms than this go
/// unanswered by us; they are repeated, and others have the same segments.
pub const MAX_PENDING: usize = rows(16, 8);

/// Bytes of what all answers that wait differ in: the id of the probe, the segments, and how much there
/// is of them. The longest answer takes 220, one for a single segment 120.
const TEXT_BYTES: usize = rows(2_560, 1_600);

/// Datagrams of one answer. A probe that fits one datagram asks for no more than these hold.
pub const MAX_PER_PROBE: usize = 7;
const _: () = assert!(MAX_PER_PROBE <= MAX_PENDING && MAX_PER_PROBE * MAX_ANSWER_TEXT <= TEXT_BYTES);

/// Sends of one answer at most (SOAP-over-UDP, fact 29).
pub const MAX_SENDS: u8 = 2;

/// Ages in one answer: one for each segment of a probe that fits one datagram, and a few to spare
/// for clients that write shorter ones.
pub const MAX_AGES_SENT: usize = 16;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often an answer is sent: 1 or [`MAX_SENDS`]; anything else is taken for the nearest.
    pub sends: u8,
    /// Product behaviour of 3.2.4.1: when we looked for a segment and so many peers answered, they
    /// are enough, and we answer seldom or not at all. Our client counts no more than 12.
    pub crowd: u8,
    /// 3.2.2: APP_MAX_DELAY, which is configurable. Clients wait for 200 ms or a little more (3.1.2);
    /// a shorter one than [`MIN_BACKOFF`] is taken for that.
    pub max_backoff: Duration,
}

impl Default for Config {
    /// 2 sends; 10 peers are enough; 65 ms.
    fn default() -> Self {
        Self { sends: MAX_SENDS, crowd: 10, max_backoff: MAX_BACKOFF }
    }
}

/// What we have of a segment, for an answer of version 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// How much of it.
    pub availability: Availability,
    /// How long, if that is known.
    pub age: Option<Duration>,
}

/// What happened so far; every number wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Probes of version 1 taken, repeats included.
    pub probes: u32,
    /// Probes of version 2 taken, repeats included.
    pub version2: u32,
    /// Probes that repeat an answered one.
    pub repeats: u32,
    /// Probes for nothing that we have.
    pub no_match: u32,
    /// Probes from elsewhere than the local subnet.
    pub not_local: u32,
    /// Segments that we have and left to the many others that have them.
    pub crowded: u32,
    /// Datagrams of answers not sent, since too many were within a short time.
    pub too_many: u32,
    /// Segments that we have but that found no room in an answer, or no room for the answer.
    pub left_out: u32,
    /// Datagrams written, repeats included.
    pub sent: u32,
    /// Datagrams dropped since the buffer lent for them was too short, or we have no address left
    /// that the receiver can reach.
    pub unsendable: u32,
}

/// The server role.
#[derive(Debug)]
pub struct Server {
    config: Config,
    addresses: Addresses,
    /// Who we are in answers of version 1, and in those of version 2.
    endpoints: [Uuid; 2],
    instance_id: u32,
    message_number: u32,
    pending: Vec<Pending, MAX_PENDING>,
    /// The texts of the answers that wait, in their order.
    texts: Vec<u8, TEXT_BYTES>,
    remembered: Remembered,
    allowance: Allowance,
    crowds: Crowds,
    counters: Counters,
}

/// One datagram of an answer: in its back-off, or to be repeated.
#[derive(Clone, Copy, Debug)]
struct Pending {
    due: Instant,
    to: SocketAddr,
    message_id: Uuid,
    version: Version,
    /// Bytes of its texts: the id of the probe, the scopes, the data.
    lens: [u8; 3],
    sends_left: u8,
    /// Until the repeat, in microseconds.
    gap: u32,
    /// InstanceId and MessageNumber, once it has been sent: a repeat has the same.
    sequence: Option<(u32, u32)>,
}

impl Pending {
    fn text_bytes(&self) -> usize {
        self.lens.iter().copied().map(usize::from).sum()
    }
}

/// A probe that is answered.
#[derive(Clone, Copy)]
struct Asked<'a> {
    from: SocketAddr,
    message_id: &'a MessageId,
    /// When its answer is due.
    due: Instant,
}

/// What has been decided about one probe for segments that many others have.
#[derive(Clone, Copy, Debug, Default)]
struct Draw {
    /// Some are left to the others.
    crowded: bool,
    /// Whether we are one of those that answer all the same, once that was drawn.
    lucky: Option<bool>,
}

impl Server {
    /// A server with nothing to say, and the default configuration. `instance_id` must be greater
    /// than at the last start (2.2.3.6); the time of the start in seconds will do.
    pub fn new(instance_id: u32, rng: &mut dyn CryptoRng) -> Self {
        Self::with_config(Config::default(), instance_id, rng)
    }

    /// The same, as it is configured.
    #[inline(always)]
    pub fn with_config(mut config: Config, instance_id: u32, rng: &mut dyn CryptoRng) -> Self {
        config.sends = config.sends.clamp(1, MAX_SENDS);
        config.max_backoff = config.max_backoff.max(MIN_BACKOFF);
        Self {
            config,
            addresses: Addresses::default(),
            // 3.2.3: Address, InstanceId and MessageNumber MUST be generated and set at the start;
            // fact 30: fresh endpoint addresses at each, one for either version.
            endpoints: [Uuid::random(rng), Uuid::random(rng)],
            instance_id,
            message_number: 0,
            pending: Vec::new(),
            texts: Vec::new(),
            remembered: Remembered::default(),
            allowance: Allowance::default(),
            crowds: Crowds::default(),
            counters: Counters::default(),
        }
    }

    /// Tells where we serve blocks, one address of each family at most: the first that is named.
    /// Probes from elsewhere than their networks are not answered, so that nobody can have our
    /// answers sent to a host of his choice far away; without any address, none are.
    pub fn set_addresses(&mut self, addresses: &[Subnet]) {
        self.addresses = Addresses::new(addresses);
    }

    /// Where we serve blocks.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Tells how many peers answered when we looked for `segment` ourselves; the last time counts,
    /// for [`CROWDED_FOR`].
    #[inline(never)]
    pub fn learn(&mut self, now: Instant, segment: &SegmentId, replies: Replies) {
        let crowded = replies.all >= self.config.crowd;
        self.crowds.learn(now, segment, crowded.then_some(replies.whole >= self.config.crowd));
    }

    /// Takes a probe that came from `from` (3.2.4.1). `have` tells how many blocks of a segment
    /// can be served, 0 for none; it is asked once for each segment. The answer goes out after a
    /// random back-off; where it does not fit one datagram, it goes on in the next.
    #[inline(never)]
    pub fn handle_probe(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: SocketAddr,
        probe: &Probe<'_>,
        have: &mut dyn FnMut(&SegmentId) -> u32,
    ) {
        if !self.is_new(now, from, &probe.message_id, Version::V1) {
            return;
        }
        // 3.2.4.1: the block counts of the matching segments MUST be retrieved first. Each by its place
        // in the probe and its fingerprint.
        let mut held = Vec::<(usize, u64, u32), MAX_SCOPES>::new();
        let mut draw = Draw::default();
        for (place, id) in probe.scopes.ids().enumerate() {
            let name = mix(FNV, id.as_bytes());
            if held.iter().any(|(_, other, _)| *other == name) {
                continue;
            }
            let blocks = have(&id);
            if blocks != 0 && !self.is_crowded(now, rng, &mut draw, &id) {
                // A probe has no more scopes than there is room for.
                let _ = held.push((place, name, blocks));
            }
        }
        if held.is_empty() {
            self.keep_silent(now, from, &probe.message_id, draw);
            return;
        }
        let asked = self.asked(now, rng, from, &probe.message_id);
        let blocks_of = |place| held.iter().find(|(other, ..)| *other == place).map(|(_, _, blocks)| *blocks);
        let scopes = probe.scopes.iter().enumerate();
        let mut scopes = scopes.filter_map(|(place, scope)| Some((scope, blocks_of(place)?)));
        let mut next = scopes.next();
        let mut answered = 0usize;
        for _ in 0..MAX_PER_PROBE {
            let mut fitting = Vec::<(Scope, u32), MAX_ANSWER_IDS>::new();
            while let Some(scope) = next
                && fitting.push(scope).is_ok()
            {
                if ProbeMatchesRepr::fitting(&probe.message_id, &fitting) < fitting.len() {
                    fitting.pop();
                    break;
                }
                next = scopes.next();
            }
            if fitting.is_empty() || !self.queue(now, rng, &asked, &Body::V1(&fitting)) {
                break;
            }
            answered = answered.saturating_add(fitting.len());
        }
        let left_out = held.len().saturating_sub(answered) as u32;
        self.counters.left_out = self.counters.left_out.wrapping_add(left_out);
        if answered > 0 {
            self.remembered.push(now, from, &probe.message_id);
        }
    }

    /// The same for a probe of version 2, which has one datagram of answer. `have` is asked for
    /// each segment in turn.
    #[inline(never)]
    pub fn handle_probe_v2(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: SocketAddr,
        probe: &ProbeV2<'_>,
        have: &mut dyn FnMut(&SegmentId) -> Holding,
    ) {
        if !self.is_new(now, from, &probe.message_id, Version::V2) {
            return;
        }
        let (mut availability, mut draw) = (Availabilities::new(), Draw::default());
        let mut ages = Vec::<(u8, Duration), MAX_AGES_SENT>::new();
        for (index, segment) in probe.ids.iter().enumerate() {
            let mut holding = have(&segment);
            if holding.availability != Availability::Nothing && self.is_crowded(now, rng, &mut draw, &segment)
            {
                holding = Holding::default();
            }
            // A probe has no more ids than there is room for.
            let _ = availability.push(holding.availability);
            if let (Some(age), Ok(index)) = (holding.age, u8::try_from(index))
                && holding.availability != Availability::Nothing
            {
                // Without its age a segment can be fetched as well (fact 28).
                let _ = ages.push((index, age));
            }
        }
        if !availability.any() {
            self.keep_silent(now, from, &probe.message_id, draw);
            return;
        }
        let asked = self.asked(now, rng, from, &probe.message_id);
        let mut blob = [0; blob_bytes(MAX_AGES_SENT)];
        let mut writer = Writer::new(&mut blob);
        let fitting = ProbeMatchesV2Repr::fitting_ages(&probe.message_id, availability.len());
        let fits = fitting.is_some_and(|fitting| {
            ages.truncate(fitting);
            AgesRepr(&ages).emit(&mut writer).is_ok()
        });
        if fits && self.queue(now, rng, &asked, &Body::V2(&availability, writer.finish())) {
            self.remembered.push(now, from, &probe.message_id);
        } else {
            count(&mut self.counters.left_out);
        }
    }

    /// Writes a datagram that is due to the front of `buf` and returns where to send it, and its
    /// bytes. `port` is where we serve blocks. `buf` needs
    /// [`MAX_SENT_BYTES`](super::wire::MAX_SENT_BYTES); what does not fit it is dropped.
    #[inline(never)]
    pub fn poll_transmit(&mut self, now: Instant, port: u16, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            let due = self.poll_timeout().filter(|&due| due <= now)?;
            // Of datagrams that are due together, the first that came.
            let place = self.pending.iter().position(|answer| answer.due == due)?;
            let sequence = match self.pending.get(place)?.sequence {
                Some(sequence) => sequence,
                None => self.next_sequence(),
            };
            // 3.2.2: when the timer expires the ProbeMatch MUST be sent to the requesting peer.
            let sent = self.emit(place, sequence, port, buf);
            let answer = self.pending.get_mut(place)?;
            let to = answer.to;
            answer.sends_left = answer.sends_left.saturating_sub(1);
            (answer.due, answer.sequence) = (now + Duration::from_micros(answer.gap.into()), Some(sequence));
            if answer.sends_left == 0 || sent.is_err() {
                self.remove(place);
            }
            if let Ok(len) = sent {
                count(&mut self.counters.sent);
                return Some((to, len));
            }
            count(&mut self.counters.unsendable);
        }
    }

    /// When to poll next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.iter().map(|answer| answer.due).min()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The address that an answer names. Every client reads one of IPv4 in version 1 (fact 24), so
    /// that comes first there; in version 2, the one of the family in which the client asked.
    fn reached_at(&self, answer: &Pending) -> Option<IpAddr> {
        let asker = self.addresses.of_family(answer.to.ip());
        match answer.version {
            Version::V1 => self.addresses.of_family(Ipv4Addr::UNSPECIFIED.into()).or(asker),
            Version::V2 => asker,
        }
    }

    /// Whether a probe is one to answer: of a neighbour, and no repeat.
    #[inline(never)]
    fn is_new(&mut self, now: Instant, from: SocketAddr, message_id: &MessageId, version: Version) -> bool {
        // Nobody asks from port 0, and nothing can be sent there.
        if from.port() == 0 || !self.addresses.is_local(from.ip()) {
            count(&mut self.counters.not_local);
            return false;
        }
        let Counters { probes, version2, .. } = &mut self.counters;
        count(if version == Version::V1 { probes } else { version2 });
        let repeat = self.remembered.contains(now, from, message_id);
        if repeat {
            count(&mut self.counters.repeats);
        }
        !repeat
    }

    /// Whether the many others that have `segment` are to answer, and not we.
    fn is_crowded(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        draw: &mut Draw,
        segment: &SegmentId,
    ) -> bool {
        let crowded = match self.crowds.whole(now, segment) {
            None => false,
            // Product behaviour of 3.2.4.1: enough peers with all of it: no reply.
            Some(true) => true,
            // Enough peers, not all with all of it: a reply with a probability of 0.33. It is drawn
            // once for the probe, so a probe that names a segment twice has no better chances.
            Some(false) => !*draw.lucky.get_or_insert_with(|| rng.next_u32().is_multiple_of(3)),
        };
        if crowded {
            draw.crowded = true;
            count(&mut self.counters.crowded);
        }
        crowded
    }

    /// Gives no answer to a probe for nothing that we have, or that others are to answer.
    fn keep_silent(&mut self, now: Instant, from: SocketAddr, message_id: &MessageId, draw: Draw) {
        if draw.crowded {
            // Its repeats are the same probe: another draw for each, and we would answer too often.
            self.remembered.push(now, from, message_id);
        } else {
            // 3.2.2, 3.2.4.1: without a match the probe MUST be silently discarded.
            count(&mut self.counters.no_match);
        }
    }

    /// When the answer to a probe is due.
    fn asked<'a>(
        &self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: SocketAddr,
        message_id: &'a MessageId,
    ) -> Asked<'a> {
        // 3.2.2: the back-off timer MUST be set randomly between 1 ms and APP_MAX_DELAY.
        Asked { from, message_id, due: now + between((MIN_BACKOFF, self.config.max_backoff), rng) }
    }

    /// Has a datagram sent; whether there is room for it, and few enough were sent lately.
    #[inline(never)]
    fn queue(&mut self, now: Instant, rng: &mut dyn CryptoRng, asked: &Asked<'_>, body: &Body<'_>) -> bool {
        let mut buf = [0; MAX_ANSWER_TEXT];
        let mut writer = Writer::new(&mut buf);
        let (mut lens, mut end) = ([0u8; 3], 0);
        for (len, part) in lens.iter_mut().zip([Part::RelatesTo, Part::Scopes, Part::Data]) {
            body.emit(asked.message_id, part, &mut writer);
            // Parts are no longer than all of them together.
            const { assert!(MAX_ANSWER_TEXT <= u8::MAX as usize) };
            *len = writer.len().saturating_sub(end) as u8;
            end = writer.len();
        }
        // It was seen to fit.
        let Ok(len) = writer.end() else { return false };
        // Who has not been answered goes before who may have missed an answer.
        while self.is_full(len)
            && let Some(repeat) = self.pending.iter().position(|answer| answer.sequence.is_some())
        {
            self.remove(repeat);
        }
        if self.is_full(len) {
            warning!("the table of answers is full");
            return false;
        }
        if !self.allowance.take(now) {
            count(&mut self.counters.too_many);
            return false;
        }
        let answer = Pending {
            due: asked.due,
            to: asked.from,
            message_id: Uuid::random(rng),
            version: body.version(),
            lens,
            sends_left: self.config.sends,
            gap: between(FIRST_GAP, rng).micros() as u32,
            sequence: None,
        };
        self.texts.extend_from_slice(buf.get(..len).unwrap_or_default()).is_ok()
            && self.pending.push(answer).is_ok()
    }

    /// Whether there is no room for one more answer with so many bytes of text.
    fn is_full(&self, len: usize) -> bool {
        self.pending.is_full() || TEXT_BYTES.saturating_sub(self.texts.len()) < len
    }

    /// Where the texts of the answer in `place` begin.
    fn text_at(&self, place: usize) -> usize {
        self.pending.iter().take(place).map(Pending::text_bytes).sum()
    }

    /// Forgets the answer in `place`.
    #[inline(never)]
    fn remove(&mut self, place: usize) {
        let Some(answer) = self.pending.get(place) else { return };
        let begin = self.text_at(place);
        let gone = begin..begin.saturating_add(answer.text_bytes());
        // The order of the rest is that of arrival, so that datagrams due together keep theirs.
        cut(&mut self.texts, gone);
        cut(&mut self.pending, place..place.saturating_add(1));
    }

    /// Writes the answer in `place`.
    #[inline(never)]
    fn emit(&self, place: usize, sequence: (u32, u32), port: u16, buf: &mut [u8]) -> Result<usize, NoRoom> {
        let answer = self.pending.get(place).ok_or(NoRoom)?;
        let ip = self.reached_at(answer).ok_or(NoRoom)?;
        let [v1, v2] = &self.endpoints;
        let endpoint = if answer.version == Version::V1 { v1 } else { v2 };
        let Pending { version, ref message_id, lens: [relates_to, scopes, _], .. } = *answer;
        let texts = self.texts.get(self.text_at(place)..).unwrap_or_default();
        let texts = texts.get(..answer.text_bytes()).unwrap_or_default();
        let (relates_to, rest) = texts.split_at_checked(relates_to.into()).unwrap_or_default();
        let (scopes, data) = rest.split_at_checked(scopes.into()).unwrap_or_default();
        Answer { version, message_id, sequence, endpoint, xaddr: SocketAddr::new(ip, port) }.emit(
            buf,
            &mut |part, writer| {
                writer.put(match part {
                    Part::RelatesTo => relates_to,
                    Part::Scopes => scopes,
                    Part::Data => data,
                });
            },
        )
    }

    /// 2.2.3.7: MessageNumber MUST be incremented for each message, the first SHOULD be 1; 2.2.3.6:
    /// a new count begins with a greater InstanceId. Both versions share them.
    #[inline(never)]
    fn next_sequence(&mut self) -> (u32, u32) {
        self.message_number = match self.message_number.checked_add(1) {
            Some(number) => number,
            None => {
                self.instance_id = self.instance_id.wrapping_add(1);
                1
            }
        };
        (self.instance_id, self.message_number)
    }
}

#[cfg(test)]
mod tests;
