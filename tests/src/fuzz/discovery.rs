//! Discovery's datagrams.

use std::net::SocketAddr;

use peerdist_core::ages::{Ages, AgesRepr, MAX_AGES, MAX_BLOB_BYTES};
use peerdist_core::bytes::Writer;
use peerdist_core::content::SegmentId;
use peerdist_core::discovery::wire::{
    Availabilities, Availability, MAX_IDS, MAX_MATCHES, MAX_MESSAGE_ID_BYTES, MAX_SCOPES, MAX_SENT_BYTES,
    Malformed, Message, MessageId, ProbeMatch, ProbeMatchV2, ProbeMatches, ProbeMatchesRepr,
    ProbeMatchesV2Repr, ProbeRepr, ProbeV2Repr, Scope, Uuid, XAddrs, parse,
};
use peerdist_core::time::Duration;

use super::numbers;

/// A message that is accepted keeps the bounds, and says the same when it is written in our form
/// and read again.
pub fn discovery(data: &[u8]) {
    if let Some(uuid) = Uuid::parse(data) {
        probe_again(uuid, &[SegmentId::from_slice(&[7; 32]).unwrap()]);
    }
    match parse(data) {
        Ok(Message::Probe(probe)) => {
            check_id(&probe.message_id);
            let scopes: Vec<Scope> = probe.scopes.iter().collect();
            assert!((1..=MAX_SCOPES).contains(&scopes.len()));
            let ids: Vec<SegmentId> = probe.scopes.ids().collect();
            assert!(ids.iter().eq(scopes.iter().map(|scope| &scope.id)));
            probe_again(probe.message_id.uuid().unwrap_or(uuid()), &ids);
            let (a, b) = numbers(data);
            let address = SocketAddr::from(([192, 0, 2, a as u8], b as u16 | 1));
            let counted: Vec<_> = scopes.iter().map(|scope| (*scope, (a as u32).max(1))).collect();
            answer_again(&probe.message_id, &counted, address);
        }
        Ok(Message::ProbeV2(probe)) => {
            check_id(&probe.message_id);
            let ids: Vec<SegmentId> = probe.ids.iter().collect();
            assert!((1..=MAX_IDS).contains(&ids.len()));
            probe_v2_again(probe.message_id.uuid().unwrap_or(uuid()), &ids);
            let (a, b) = numbers(data);
            let of = [Availability::Nothing, Availability::Some, Availability::All];
            let held: Vec<_> = (0..ids.len()).map(|i| of[(a >> (i % 60)) as usize % 3]).collect();
            let ages: Vec<_> = (0..=255).map(|i| (i, Duration::from_micros(b >> (i % 64)))).collect();
            answer_v2_again(&probe.message_id, &held, &ages, SocketAddr::from(([192, 0, 2, 1], 80)));
        }
        Ok(Message::ProbeMatches(message)) => matches(&message),
        Ok(Message::Other) => {}
        Err(Malformed::Xml(error)) => assert!(error.offset <= data.len(), "{error:?}"),
        Err(_) => {}
    }
}

fn matches(message: &ProbeMatches<'_>) {
    check_id(&message.relates_to);
    let count = message.matches.len() + message.matches_v2.len() + message.discarded as usize;
    assert!((1..=MAX_MATCHES).contains(&count));
    for one in &message.matches {
        let segments: Vec<(SegmentId, u32)> = one.segments().collect();
        assert!((1..=MAX_SCOPES).contains(&segments.len()));
        assert!(segments.iter().map(|(id, _)| *id).eq(one.scopes.ids()));
        let counted: Vec<_> =
            one.scopes.iter().zip(&segments).map(|(scope, (_, count))| (scope, *count)).collect();
        for address in addresses(&one.xaddrs) {
            answer_again(&message.relates_to, &counted, address);
        }
    }
    for one in &message.matches_v2 {
        let longest = (0..=MAX_IDS).rev().find(|asked| one.availability(*asked).is_some()).unwrap();
        assert!(longest >= 4, "one byte at least");
        let held: Vec<_> = one.availability(longest).unwrap().collect();
        assert_eq!(held.len(), longest);
        let mut buf = [0; MAX_BLOB_BYTES];
        let ages: Vec<_> = one.ages(&mut buf).map_or(vec![], |ages| ages.iter().collect());
        assert!(ages.len() <= MAX_AGES);
        for address in addresses(&one.xaddrs) {
            answer_v2_again(&message.relates_to, &held, &ages, address);
        }
    }
}

/// The addresses of a match: such as can be connected to.
fn addresses(xaddrs: &XAddrs<'_>) -> Vec<SocketAddr> {
    // A datagram may hold thousands.
    let all: Vec<SocketAddr> = xaddrs.iter().take(8).collect();
    let sound = |it: &SocketAddr| it.port() != 0 && !it.ip().is_unspecified() && !it.ip().is_multicast();
    assert!(all.iter().all(sound));
    all
}

/// Writes a probe for as many of `ids` as fit, reads it, and checks that it says the same.
fn probe_again(message_id: Uuid, ids: &[SegmentId]) {
    let ids = &ids[..ProbeRepr::fitting(ids)];
    assert!(!ids.is_empty());
    let mut buf = [0; MAX_SENT_BYTES];
    let len = ProbeRepr { message_id, ids }.emit(&mut buf).unwrap();
    let Ok(Message::Probe(again)) = parse(&buf[..len]) else { panic!("no probe") };
    assert_eq!(again.message_id.uuid(), Some(message_id));
    assert!(again.scopes.ids().eq(ids.iter().copied()));
}

/// Writes an answer with as many of `scopes` as fit, reads it, and checks that it says the same.
fn answer_again(relates_to: &MessageId, scopes: &[(Scope, u32)], xaddr: SocketAddr) {
    let scopes = &scopes[..ProbeMatchesRepr::fitting(relates_to, scopes)];
    if scopes.is_empty() {
        return;
    }
    let repr = ProbeMatchesRepr {
        message_id: uuid(),
        relates_to,
        instance_id: u32::MAX,
        message_number: u32::MAX,
        endpoint: uuid(),
        scopes,
        xaddr,
    };
    let mut buf = [0; MAX_SENT_BYTES];
    let len = repr.emit(&mut buf).unwrap();
    let Ok(Message::ProbeMatches(again)) = parse(&buf[..len]) else { panic!("no answer") };
    assert_eq!(&again.relates_to, relates_to);
    let [one]: &[ProbeMatch<'_>] = &again.matches else { panic!("not one match") };
    assert!(one.scopes.iter().eq(scopes.iter().map(|(scope, _)| *scope)));
    assert!(one.segments().eq(scopes.iter().map(|(scope, count)| (scope.id, *count))));
    assert!(one.xaddrs.iter().eq([xaddr]));
}

fn probe_v2_again(message_id: Uuid, ids: &[SegmentId]) {
    let ids = &ids[..ProbeV2Repr::fitting(ids)];
    let mut buf = [0; MAX_SENT_BYTES];
    let len = ProbeV2Repr::new(message_id, ids).unwrap().emit(&mut buf).unwrap();
    let Ok(Message::ProbeV2(again)) = parse(&buf[..len]) else { panic!("no probe") };
    assert_eq!(again.message_id.uuid(), Some(message_id));
    assert!(again.ids.iter().eq(ids.iter().copied()));
}

/// Writes an answer with as many of `ages` as fit, reads it, and checks that it says the same, but
/// for what is lost of an age in its unit.
fn answer_v2_again(
    relates_to: &MessageId,
    held: &[Availability],
    ages: &[(u8, Duration)],
    xaddr: SocketAddr,
) {
    let Some(fitting) = ProbeMatchesV2Repr::fitting_ages(relates_to, held.len()) else { return };
    let ages = AgesRepr(&ages[..ages.len().min(fitting)]);
    let mut blob = [0; MAX_BLOB_BYTES];
    let mut writer = Writer::new(&mut blob);
    ages.emit(&mut writer).unwrap();
    let blob = &*writer.finish();
    assert_eq!(blob.len(), ages.buffer_len());
    let mut availability = Availabilities::new();
    held.iter().for_each(|one| availability.push(*one).unwrap());
    let repr = ProbeMatchesV2Repr {
        message_id: uuid(),
        relates_to,
        instance_id: u32::MAX,
        message_number: u32::MAX,
        endpoint: uuid(),
        availability: &availability,
        ages: blob,
        xaddr,
    };
    let mut buf = [0; MAX_SENT_BYTES];
    let len = repr.emit(&mut buf).unwrap();
    let Ok(Message::ProbeMatches(again)) = parse(&buf[..len]) else { panic!("no answer") };
    assert_eq!(&again.relates_to, relates_to);
    let [one]: &[ProbeMatchV2<'_>] = &again.matches_v2 else { panic!("not one match") };
    if !held.is_empty() {
        assert!(one.availability(held.len()).unwrap().eq(held.iter().copied()));
    }
    assert!(one.xaddrs.iter().eq([xaddr]));
    let mut buf = [0; MAX_BLOB_BYTES];
    let again = one.ages(&mut buf).unwrap();
    assert!(again.iter().eq(Ages::parse(blob).unwrap().iter()));
    for ((index, age), (index_again, age_again)) in ages.0.iter().zip(again.iter()) {
        assert!(*index == index_again && *age >= age_again);
    }
}

fn check_id(id: &MessageId) {
    assert!((1..=MAX_MESSAGE_ID_BYTES).contains(&id.as_bytes().len()));
    assert!(id.as_bytes().iter().all(u8::is_ascii_graphic));
}

fn uuid() -> Uuid {
    Uuid::parse(b"b1b6a2d0-0000-4000-8000-0123456789ab").unwrap()
}
