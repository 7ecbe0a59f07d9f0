//! [MS-PCCRD] 3.2: the server role. Answers probes for segments that we have.
//!
//! The Available Segment List (3.2.1) is not kept here: the caller is asked, so there is no second
//! copy of what the store knows.

use core::net::SocketAddr;

use heapless::Vec;
use rand_core::CryptoRng;

use super::wire::{MAX_ANSWER_IDS, MAX_SCOPES, MessageId, Probe, ProbeMatchesRepr, Scope, Uuid};
use super::{Subnet, count};
use crate::content::SegmentId;
use crate::time::{Duration, Instant};

/// The shortest back-off before an answer (3.2.2).
pub const MIN_BACKOFF: Duration = Duration::from_millis(1);

/// The longest back-off before an answer: APP_MAX_DELAY (3.2.2, fact 29).
pub const MAX_BACKOFF: Duration = Duration::from_millis(65);

/// Datagrams of answers that wait for their back-off. More probes within 65 ms than this go
/// unanswered by us; they are repeated, and others have the same segments.
pub const MAX_PENDING: usize = 16;

/// Datagrams of one answer. A probe that fits one datagram asks for no more than these hold.
pub const MAX_PER_PROBE: usize = 7;

/// Probes remembered as answered.
pub const MAX_REMEMBERED: usize = 16;

/// How long a repeat is taken for one: less than 1 s, for a repeat after that deserves an answer
/// of its own (fact 29).
const REMEMBERED_FOR: Duration = Duration::from_millis(900);

/// What happened so far; every number wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Probes of version 1 taken, repeats included.
    pub probes: u32,
    /// Probes that repeat an answered one.
    pub repeats: u32,
    /// Probes for nothing that we have.
    pub no_match: u32,
    /// Probes of version 2.
    pub version2: u32,
    /// Probes from elsewhere than the local subnet.
    pub not_local: u32,
    /// Segments that we have but that found no room in an answer, or no room for the answer.
    pub left_out: u32,
    /// Datagrams written.
    pub sent: u32,
    /// Datagrams dropped since the buffer lent for them was too short.
    pub unsendable: u32,
}

/// The server role.
#[derive(Debug)]
pub struct Server {
    subnet: Option<Subnet>,
    endpoint: Uuid,
    instance_id: u32,
    message_number: u32,
    pending: Vec<Pending, MAX_PENDING>,
    /// Answered probes, oldest first.
    remembered: Vec<Remembered, MAX_REMEMBERED>,
    counters: Counters,
}

/// One datagram of an answer, in its back-off.
#[derive(Debug)]
struct Pending {
    due: Instant,
    to: SocketAddr,
    message_id: Uuid,
    relates_to: MessageId,
    scopes: Vec<(Scope, u32), MAX_ANSWER_IDS>,
}

#[derive(Debug)]
struct Remembered {
    at: Instant,
    from: SocketAddr,
    message_id: MessageId,
}

impl Server {
    /// A server with nothing to say. `instance_id` must be greater than at the last start
    /// (2.2.3.6); the time of the start in seconds will do.
    pub fn new(instance_id: u32, rng: &mut dyn CryptoRng) -> Self {
        Self {
            subnet: None,
            // 3.2.3: Address, InstanceId and MessageNumber MUST be generated and set at the start;
            // fact 30: a fresh endpoint address at each.
            endpoint: Uuid::random(rng),
            instance_id,
            message_number: 0,
            pending: Vec::new(),
            remembered: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Tells our own subnet: probes from elsewhere are not answered, so that nobody can have our
    /// answers sent to a host of his choice far away. `None`: they come from anywhere.
    pub fn set_subnet(&mut self, subnet: Option<Subnet>) {
        self.subnet = subnet;
    }

    /// Takes a probe of version 2, which is not answered.
    pub fn handle_probe_v2(&mut self) {
        count(&mut self.counters.version2);
    }

    /// Takes a probe that came from `from` (3.2.4.1). `have` tells how many blocks of a segment
    /// can be served, 0 for none; it is asked once for each segment. The answer goes out after a
    /// random back-off; where it does not fit one datagram, it goes on in the next.
    pub fn handle_probe(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: SocketAddr,
        probe: &Probe<'_>,
        have: &mut dyn FnMut(&SegmentId) -> u32,
    ) {
        if self.subnet.is_some_and(|subnet| !subnet.contains(from.ip())) {
            count(&mut self.counters.not_local);
            return;
        }
        count(&mut self.counters.probes);
        self.remembered.retain(|it| now.since(it.at) < REMEMBERED_FOR);
        if self.remembered.iter().any(|it| it.from == from && it.message_id == probe.message_id) {
            count(&mut self.counters.repeats);
            return;
        }
        // 3.2.4.1: the block counts of the matching segments MUST be retrieved first.
        let mut held = Vec::<(Scope, u32), MAX_SCOPES>::new();
        for scope in probe.scopes.iter() {
            if held.iter().any(|(other, _)| other.id == scope.id) {
                continue;
            }
            let blocks = have(&scope.id);
            if blocks != 0 && held.push((scope, blocks)).is_err() {
                count(&mut self.counters.left_out);
            }
        }
        if held.is_empty() {
            // 3.2.2, 3.2.4.1: without a match the probe MUST be silently discarded.
            count(&mut self.counters.no_match);
            return;
        }
        // 3.2.2: the back-off timer MUST be set randomly between 1 ms and APP_MAX_DELAY.
        let due = now + backoff(rng);
        let queued = self.queue(rng, due, from, &probe.message_id, &held);
        let left_out = u32::try_from(held.len().saturating_sub(queued)).unwrap_or(u32::MAX);
        self.counters.left_out = self.counters.left_out.wrapping_add(left_out);
        if queued != 0 {
            self.remember(now, from, &probe.message_id);
        }
    }

    /// Writes a datagram that is due to the front of `buf` and returns where to send it, and its
    /// bytes. `ours` is where we serve blocks, as the receiver can reach it. `buf` needs
    /// [`MAX_SENT_BYTES`](super::wire::MAX_SENT_BYTES); what does not fit it is dropped.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        ours: SocketAddr,
        buf: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        loop {
            let answer = self.take_due(now)?;
            self.next_message_number();
            // 3.2.2: when the timer expires the ProbeMatch MUST be sent to the requesting peer.
            let emitted = ProbeMatchesRepr {
                message_id: answer.message_id,
                relates_to: &answer.relates_to,
                instance_id: self.instance_id,
                message_number: self.message_number,
                endpoint: self.endpoint,
                scopes: &answer.scopes,
                xaddr: ours,
            }
            .emit(buf);
            match emitted {
                Ok(len) => {
                    count(&mut self.counters.sent);
                    return Some((answer.to, len));
                }
                Err(_) => count(&mut self.counters.unsendable),
            }
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

    /// Queues `held` in as many datagrams as it takes; returns how many segments found room.
    fn queue(
        &mut self,
        rng: &mut dyn CryptoRng,
        due: Instant,
        to: SocketAddr,
        relates_to: &MessageId,
        held: &[(Scope, u32)],
    ) -> usize {
        let mut rest = held;
        for _ in 0..MAX_PER_PROBE {
            let fitting = ProbeMatchesRepr::fitting(relates_to, rest);
            let Some((scopes, others)) = rest.split_at_checked(fitting) else { break };
            let Ok(scopes) = Vec::from_slice(scopes) else { break };
            if scopes.is_empty() {
                break;
            }
            let relates_to = relates_to.clone();
            let answer = Pending { due, to, message_id: Uuid::random(rng), relates_to, scopes };
            if self.pending.push(answer).is_err() {
                warning!("the table of answers is full");
                break;
            }
            rest = others;
        }
        held.len().saturating_sub(rest.len())
    }

    fn remember(&mut self, at: Instant, from: SocketAddr, message_id: &MessageId) {
        if self.remembered.is_full() {
            // A second answer to the oldest is the lesser evil.
            let oldest = self.remembered.first().map(|it| it.at);
            let mut dropped = false;
            self.remembered.retain(|it| core::mem::replace(&mut dropped, true) || Some(it.at) != oldest);
        }
        let _ = self.remembered.push(Remembered { at, from, message_id: message_id.clone() });
    }

    /// Takes out the datagram that is due first; of one answer, the first.
    fn take_due(&mut self, now: Instant) -> Option<Pending> {
        let due = self.poll_timeout().filter(|&due| due <= now)?;
        let index = self.pending.iter().position(|answer| answer.due == due)?;
        // The order of the rest is that of arrival, so that datagrams due together keep theirs.
        (index < self.pending.len()).then(|| self.pending.remove(index))
    }

    /// 2.2.3.7: MessageNumber MUST be incremented for each message, the first SHOULD be 1; 2.2.3.6:
    /// a new count begins with a greater InstanceId.
    fn next_message_number(&mut self) {
        self.message_number = match self.message_number.checked_add(1) {
            Some(number) => number,
            None => {
                self.instance_id = self.instance_id.wrapping_add(1);
                1
            }
        };
    }
}

/// A time between [`MIN_BACKOFF`] and [`MAX_BACKOFF`], both included.
fn backoff(rng: &mut dyn CryptoRng) -> Duration {
    let spread = MAX_BACKOFF.micros().saturating_sub(MIN_BACKOFF.micros()).saturating_add(1);
    MIN_BACKOFF + Duration::from_micros(u64::from(rng.next_u32()).checked_rem(spread).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::super::CountingRng;
    use super::super::wire::{Message, ProbeRepr, parse};
    use super::*;

    const PROBE: &[u8] = include_bytes!("../../../tests/vectors/v1-probe.xml");
    const PROBE_ID: &str = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn from() -> SocketAddr {
        "192.0.2.9:45678".parse().unwrap()
    }

    /// The probe of a client with another MessageID and these scopes.
    fn probe(number: u32, scopes: &str) -> Vec<u8> {
        let text = String::from_utf8(PROBE.to_vec()).unwrap();
        text.replace("13482503", &std::format!("{number:08x}")).replace(PROBE_ID, scopes).into_bytes()
    }

    fn handle(server: &mut Server, now: Instant, datagram: &[u8], blocks: u32) {
        handle_from(server, now, from(), datagram, &mut |_| blocks);
    }

    fn handle_from(
        server: &mut Server,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        have: &mut dyn FnMut(&SegmentId) -> u32,
    ) {
        if let Ok(Message::Probe(probe)) = parse(datagram) {
            server.handle_probe(now, &mut CountingRng(7), from, &probe, have);
        }
    }

    fn transmit(server: &mut Server, now: Instant) -> Option<String> {
        let mut buf = [0; 1_399];
        let (to, len) = server.poll_transmit(now, "192.0.2.1:8080".parse().unwrap(), &mut buf)?;
        assert_eq!(to, from());
        Some(String::from_utf8(buf[..len].to_vec()).unwrap())
    }

    #[test]
    fn an_answer_after_the_back_off() {
        let mut server = Server::new(42, &mut CountingRng(0xa0));
        handle(&mut server, at(0), PROBE, 3);
        let due = server.poll_timeout().unwrap();
        assert!((at(1)..=at(65)).contains(&due), "{due:?}");
        assert_eq!(transmit(&mut server, Instant::from_micros(due.micros() - 1)), None);

        let answer = transmit(&mut server, due).unwrap();
        assert_eq!(
            answer,
            include_str!("../../../tests/vectors/own-probematches.xml").trim_end(),
            "the form that every known client takes"
        );
        assert_eq!(transmit(&mut server, at(1_000)), None);
        assert_eq!(server.poll_timeout(), None);
    }

    #[test]
    fn the_back_off_stays_within_its_bounds() {
        for start in 0..=255 {
            let backoff = backoff(&mut CountingRng(start));
            assert!((MIN_BACKOFF..=MAX_BACKOFF).contains(&backoff));
        }
    }

    #[test]
    fn silence() {
        let mut server = Server::new(42, &mut CountingRng(0));
        handle(&mut server, at(0), PROBE, 0);
        handle(&mut server, at(0), &probe(1, ""), 1);
        assert_eq!(server.poll_timeout(), None);
        let counters = Counters { probes: 1, no_match: 1, ..Counters::default() };
        assert_eq!(server.counters(), counters);
    }

    /// An answer is longer than its probe: who could name any address would have us send it there.
    #[test]
    fn probes_from_elsewhere() {
        let mut server = Server::new(42, &mut CountingRng(0));
        for (address, counted) in [("192.0.3.1", 1), ("192.0.2.1", 1)] {
            server.set_subnet(Some(Subnet { address: address.parse().unwrap(), prefix: 24 }));
            handle(&mut server, at(0), PROBE, 1);
            assert_eq!(server.counters().not_local, counted);
            assert_eq!(server.poll_timeout().is_some(), address == "192.0.2.1");
        }
        server.handle_probe_v2();
        assert_eq!(server.counters().version2, 1);
    }

    #[test]
    fn a_repeat_is_answered_after_a_second_only() {
        let mut server = Server::new(42, &mut CountingRng(0));
        handle(&mut server, at(0), PROBE, 1);
        handle(&mut server, at(10), PROBE, 1);
        assert!(transmit(&mut server, at(70)).unwrap().contains("MessageNumber=\"1\""));
        handle(&mut server, at(250), PROBE, 1);
        assert_eq!(transmit(&mut server, at(900)), None);
        assert_eq!(server.counters().repeats, 2);

        // Another port is another client.
        let other = "192.0.2.9:45679".parse().unwrap();
        handle_from(&mut server, at(300), other, PROBE, &mut |_| 1);
        assert!(server.poll_timeout().is_some());
        let mut buf = [0; 1_399];
        let sent = server.poll_transmit(at(400), "192.0.2.1:80".parse().unwrap(), &mut buf);
        assert_eq!(sent.map(|(to, _)| to), Some(other));

        handle(&mut server, at(1_000), PROBE, 1);
        assert!(transmit(&mut server, at(1_065)).unwrap().contains("MessageNumber=\"3\""));
    }

    #[test]
    fn only_what_we_have_and_as_it_was_written() {
        let mut server = Server::new(42, &mut CountingRng(0));
        let (mixed, absent) = ("aB".repeat(48), "0".repeat(64));
        let datagram = probe(1, &[mixed.as_str(), &absent, &mixed].join("\n"));
        handle_from(&mut server, at(0), from(), &datagram, &mut |id| {
            if id.as_bytes().len() == 48 { 512 } else { 0 }
        });
        let answer = transmit(&mut server, at(65)).unwrap();
        assert!(answer.contains(&std::format!("<wsd:Scopes>{mixed}</wsd:Scopes>")));
        assert!(answer.contains("<PeerDist:BlockCount>00000200</PeerDist:BlockCount>"));
        assert_eq!(transmit(&mut server, at(65)), None);
    }

    #[test]
    fn a_long_answer_goes_on_in_the_next_datagram() {
        let mut server = Server::new(u32::MAX, &mut CountingRng(0));
        let ids: Vec<_> = (0..9).map(|i: u32| std::format!("{i:064X}")).collect();
        handle(&mut server, at(0), &probe(1, &ids.join(" ")), 512);
        let mut answers = Vec::new();
        while let Some(answer) = transmit(&mut server, at(65)) {
            assert!(answer.len() < 1_400);
            answers.push(answer);
        }
        assert_eq!(answers.len(), 5);
        for (i, id) in ids.iter().enumerate() {
            assert!(answers[i / MAX_ANSWER_IDS].contains(id), "in the order of the probe");
        }
        for (i, answer) in answers.iter().enumerate() {
            assert!(answer.contains(&std::format!("MessageNumber=\"{}\"", i + 1)));
        }
        assert_eq!(server.counters().left_out, 0);
    }

    #[test]
    fn whatever_fits_a_probe_can_be_answered() {
        for bytes in [32, 48, 64] {
            let datagrams = ProbeRepr::capacity(bytes).div_ceil(ProbeMatchesRepr::capacity(45, bytes));
            assert!(datagrams <= MAX_PER_PROBE, "{datagrams}");
        }
    }

    #[test]
    fn bounds() {
        let mut server = Server::new(42, &mut CountingRng(0));
        let ids: Vec<_> = (0..MAX_SCOPES).map(|i| std::format!("{i:0128X}")).collect();
        handle(&mut server, at(0), &probe(1, &ids.join(" ")), 1);
        assert_eq!(server.counters().left_out as usize, MAX_SCOPES - MAX_PER_PROBE);
        for number in 0..100 {
            handle(&mut server, at(0), &probe(number + 2, PROBE_ID), 1);
        }
        assert_eq!(server.pending.len(), MAX_PENDING);
        assert_eq!(server.counters().repeats, 0);
        assert_eq!(server.poll_transmit(at(65), from(), &mut [0; 100]), None);
        assert_eq!(server.counters().unsendable as usize, MAX_PENDING);
        assert_eq!(server.poll_timeout(), None);

        // What found no room has not been answered, so its repeat is.
        handle(&mut server, at(500), &probe(90, PROBE_ID), 1);
        assert!(transmit(&mut server, at(565)).is_some());
        for number in 0..100 {
            handle(&mut server, at(600), &probe(number + 200, PROBE_ID), 1);
            assert!(transmit(&mut server, at(665)).is_some());
        }
        assert_eq!(server.remembered.len(), MAX_REMEMBERED);
        handle(&mut server, at(700), &probe(299, PROBE_ID), 1);
        handle(&mut server, at(700), &probe(284, PROBE_ID), 1);
        assert_eq!(server.counters().repeats, 2, "the youngest are remembered");
        handle(&mut server, at(700), &probe(283, PROBE_ID), 1);
        assert_eq!(server.counters().repeats, 2);
    }

    #[test]
    fn the_longest_answer_fits() {
        let mut server = Server::new(u32::MAX, &mut CountingRng(0));
        server.message_number = u32::MAX - 1;
        let ids = [0u8; 3].map(|i| std::format!("{i:096X}")).join(" ");
        let ours = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
        handle(&mut server, at(0), &probe(1, &ids), 512);
        let mut buf = [0; 1_399];
        let (_, len) = server.poll_transmit(at(65), ours, &mut buf).unwrap();
        assert!(core::str::from_utf8(&buf[..len]).unwrap().contains(&ours.to_string()));
        assert_eq!(server.poll_transmit(at(65), ours, &mut buf), None);
        assert_eq!(server.message_number, u32::MAX);
        server.next_message_number();
        assert_eq!((server.instance_id, server.message_number), (0, 1));
    }
}
