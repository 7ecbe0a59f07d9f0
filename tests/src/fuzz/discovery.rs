//! Discovery's datagrams.

use std::net::SocketAddr;

use peerdist_core::content::SegmentId;
use peerdist_core::discovery::wire::{
    MAX_MATCHES, MAX_MESSAGE_ID_BYTES, MAX_SCOPES, MAX_SENT_BYTES, MAX_XADDRS, Malformed, Message, MessageId,
    ProbeMatch, ProbeMatches, ProbeMatchesRepr, ProbeRepr, Scope, Uuid, parse,
};

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
        Ok(Message::ProbeMatches(message)) => matches(&message),
        Ok(Message::ProbeV2 | Message::Other) => {}
        Err(Malformed::Xml(error)) => assert!(error.offset <= data.len(), "{error:?}"),
        Err(_) => {}
    }
}

fn matches(message: &ProbeMatches<'_>) {
    check_id(&message.relates_to);
    let count = message.matches.len() + (message.discarded + message.version2) as usize;
    assert!((1..=MAX_MATCHES).contains(&count));
    for one in &message.matches {
        let segments: Vec<(SegmentId, u32)> = one.segments().collect();
        assert!((1..=MAX_SCOPES).contains(&segments.len()));
        assert!(segments.iter().map(|(id, _)| *id).eq(one.scopes.ids()));
        let counted: Vec<_> =
            one.scopes.iter().zip(&segments).map(|(scope, (_, count))| (scope, *count)).collect();
        assert!(one.xaddrs.iter().count() <= MAX_XADDRS);
        for address in one.xaddrs.iter() {
            assert!(address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast());
            answer_again(&message.relates_to, &counted, address);
        }
    }
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

fn check_id(id: &MessageId) {
    assert!((1..=MAX_MESSAGE_ID_BYTES).contains(&id.as_bytes().len()));
    assert!(id.as_bytes().iter().all(u8::is_ascii_graphic));
}

fn uuid() -> Uuid {
    Uuid::parse(b"b1b6a2d0-0000-4000-8000-0123456789ab").unwrap()
}
