//! What no client should send, and what becomes of it and of others.

use super::*;

/// 3.1.5.4: it MUST be dropped, and leaves nothing behind.
fn assert_dropped(version: Version, message: &[u8]) {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, version, message), None);
    assert_eq!((cache.offers(), cache.server().counters().dropped), (0, 1));
    assert!(cache.next().is_none());
    cache.assert_open();
}

/// Fact 44.
#[test]
fn more_than_128_descriptors() {
    assert_dropped(Version::V2, vector!("batched-offer-neg-129"));
}

/// Fact 44.
#[test]
fn no_descriptors() {
    assert_dropped(Version::V2, vector!("batched-offer-neg-empty"));
}

/// Fact 44.
#[test]
fn a_tag_of_another_size() {
    assert_dropped(Version::V2, vector!("batched-offer-neg-notag"));
}

/// 2.1, fact 45: neither URL takes the other's version.
#[test]
fn the_wrong_url_for_a_version() {
    assert_dropped(Version::V1, vector!("batched-offer-3"));
    assert_dropped(Version::V2, vector!("initial-offer"));
    assert_dropped(Version::V2, vector!("segment-info-128000-fixed"));
}

#[test]
fn messages_that_are_none() {
    assert_dropped(Version::V1, vector!("initial-offer-neg-version"));
    assert_dropped(Version::V1, vector!("initial-offer-neg-type"));
    assert_dropped(Version::V2, &[]);
    assert_dropped(Version::V2, &vector!("batched-offer-3")[..OPENING_BYTES + DESCRIPTOR_BYTES + 1]);
    // An id of a length that no digest has.
    let mut short = vector!("initial-offer").to_vec();
    short.pop();
    assert_dropped(Version::V1, &short);
    assert_dropped(Version::V1, &[&vector!("initial-offer-48")[..], &[7; 17]].concat());
}

/// Fact 44: an algorithm that nobody knows is answered, and ends what is read; what came before it counts.
#[test]
fn an_unknown_algorithm() {
    let mut cache = Cache::roomy();
    assert_eq!(
        cache.send(CLIENT, Version::V2, vector!("batched-offer-neg-hashalgo")),
        Some(ResponseCode::Ok)
    );
    assert!(cache.next().is_none());
    let strange = vector!("batched-offer-neg-hashalgo").get(OPENING_BYTES..).unwrap();
    let message = [&batch(80, 1..2), strange, &descriptor(2, 5, 5)].concat();
    assert_eq!(cache.send(CLIENT, Version::V2, &message), Some(ResponseCode::Ok));
    assert_eq!(cache.next().map(|wanted| wanted.block.segment.as_bytes()[0]), Some(1));
    assert!(cache.next().is_none());
    assert_eq!(cache.server().counters().unusable, 2);
    cache.assert_open();
}

/// Fact 44: a segment may have more bytes than a block; who offers more than anybody has is not believed.
#[test]
fn sizes_of_segments() {
    let mut cache = Cache::roomy();
    let message = [&batch(80, 0..0)[..], &descriptor(1, 65_536, 65_537)].concat();
    assert_eq!(cache.send(CLIENT, Version::V2, &message), Some(ResponseCode::Ok));
    for (index, len) in [(0, 65_536), (1, 1)] {
        let wanted = cache.next().unwrap();
        assert_eq!(wanted.block.index, index);
        assert!(matches!(wanted.known, Known::Length(_, said) if said == len));
    }
    assert!(cache.next().is_none());

    for (unusable, (block, segment)) in (1..).zip([
        (0, 5),
        (5, 0),
        (131_073, 131_073),
        (65_536, u32::MAX),
        (65_536, (32 << 20) + 1),
        (1, 513),
    ]) {
        let message = [&batch(80, 0..0)[..], &descriptor(2, block, segment)].concat();
        assert_eq!(cache.send(CLIENT, Version::V2, &message), Some(ResponseCode::Ok));
        assert_eq!(cache.server().counters().unusable, unusable);
        assert!(cache.next().is_none());
    }
}

/// Fact 47: as much as a message can say, again and again: what waits of one client has a bound.
#[test]
fn offers_for_terabytes() {
    let mut cache = Cache::roomy();
    let limits = Limits::default();
    let mut offered = 0u64;
    for round in 0..300u32 {
        let mut message = batch(80, 0..0);
        for number in 0..128 {
            let mut descriptor = descriptor(number, 65_536, MAX_OFFERED_BYTES);
            descriptor[DESCRIPTOR_BYTES - 4..].copy_from_slice(&round.to_be_bytes());
            message.extend(descriptor);
            offered += u64::from(MAX_OFFERED_BYTES);
        }
        assert_eq!(cache.send(CLIENT, Version::V2, &message), Some(ResponseCode::Ok));
    }
    assert!(offered > 1 << 40);
    assert_eq!(cache.offers() as u64, limits.bytes / u64::from(MAX_OFFERED_BYTES));
    assert_eq!(cache.server().counters().refused as usize, 300 * 128 - cache.offers());
    cache.assert_open();
    // Nor is more than that asked for.
    let asked = 1 + core::iter::from_fn(|| cache.next()).count() as u64;
    assert!(asked <= limits.bytes / 65_536);
}

/// Fact 44: content information that cannot be read is answered, and ignored; so is what lies about its hashes.
#[test]
fn content_information_that_lies() {
    let mut cache = Cache::roomy();
    let bad: [&[u8]; 6] = [
        vector!("segment-info-neg-version"),
        vector!("segment-info-neg-hashalgo"),
        vector!("segment-info-neg-nosegments"),
        vector!("segment-info-neg-twosegments"),
        &vector!("segment-info-128000-fixed")[..180],
        &[&vector!("segment-info-128000-fixed")[..], &[0; 40_000]].concat(),
    ];
    for (number, message) in (1..).zip(bad) {
        assert_eq!(cache.send(CLIENT, Version::V1, message), Some(ResponseCode::Ok));
        cache.check();
        assert!(cache.next().is_none());
        assert_eq!(cache.server().counters().bad_infos + cache.server().counters().refused, number);
    }
    let mut lie = vector!("segment-info-128000-fixed").to_vec();
    *lie.last_mut().unwrap() ^= 1;
    assert_eq!(cache.send(CLIENT, Version::V1, &lie), Some(ResponseCode::Ok));
    cache.check();
    assert!(cache.next().is_none());
    assert_eq!((cache.server().counters().lies, cache.offers()), (1, 0));
    // Nothing of them is left in the store.
    assert_eq!(cache.send(CLIENT, Version::V1, vector!("segment-info-smbtag")), Some(ResponseCode::Ok));
    cache.check();
    let wanted = cache.next().unwrap();
    cache.ended(&wanted, Ended::Here(10));
    assert_eq!(cache.server().counters().bytes[Application::Smb as usize], 10);
}

/// A client whose port cannot be reached is told of, and all that it offers is given up, but for what another
/// offers as well: that one is asked.
#[test]
fn a_client_that_cannot_be_reached() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(81, 1..4)), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &batch(82, 2..3)), Some(ResponseCode::Ok));
    for first in [true, false] {
        let wanted = cache.next().unwrap();
        cache.ended(&wanted, Ended::Unreachable);
        assert_eq!((cache.offers(), cache.state.counters.given_up), if first { (3, 0) } else { (1, 2) });
        cache.now += Duration::from_secs(5);
    }
    assert_eq!(cache.state.poll_unreachable(), Some(SocketAddr::new(CLIENT, 81)));
    assert_eq!(cache.state.poll_unreachable(), None);
    let wanted = cache.next().unwrap();
    assert_eq!((wanted.client, wanted.block.segment.as_bytes()[0]), (SocketAddr::new(OTHER, 82), 2));
    assert!(cache.next().is_none());
    assert_eq!((cache.offers(), cache.server().counters().given_up), (1, 2));
}

/// Who never serves is given up after a while; who serves is not.
#[test]
fn a_client_that_offers_and_never_serves() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..9)), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &batch(80, 11..14)), Some(ResponseCode::Ok));
    let patience = Limits::default().patience;
    for _ in 0..16 {
        let Some(wanted) = cache.next() else { break };
        cache.now += Duration::from_secs(8);
        cache.expire();
        let ended = if wanted.client.ip() == CLIENT { Ended::Here(5) } else { Ended::Again };
        cache.ended(&wanted, ended);
    }
    assert!(cache.server().counters().blocks >= 5, "{:?}", cache.state.counters);
    cache.now += patience;
    cache.expire();
    assert_eq!(cache.offers(), 0);
    assert!(cache.server().counters().given_up >= 3);
}

/// A block that is not what was hashed ends its segment, but not the client's others.
#[test]
fn other_bytes_than_it_hashed() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..3)), Some(ResponseCode::Ok));
    let wanted = cache.next().unwrap();
    cache.ended(&wanted, Ended::Bad);
    let other = cache.next().unwrap();
    assert_ne!(other.block, wanted.block);
    assert!(cache.next().is_none());
    assert_eq!((cache.server().counters().lies, cache.offers()), (1, 1));
    cache.ended(&other, Ended::Full);
    assert_eq!((cache.server().counters().refused, cache.offers()), (1, 0));
}

/// As many messages arrive as there are rows; one of which nothing more comes gives its row, and what it offered.
#[test]
fn messages_that_stop() {
    let mut cache = Cache::roomy();
    let message = batch(80, 1..3);
    let [a, b] = [(); 2].map(|()| cache.begin(CLIENT, Version::V2).unwrap());
    cache.take(a, &message[..OPENING_BYTES + DESCRIPTOR_BYTES]);
    cache.take(b, &message[..3]);
    assert_eq!(cache.begin(OTHER, Version::V2), None);
    assert!(cache.next().is_none(), "it is not whole");
    cache.now += crate::limits::REQUEST_TIMEOUT;
    let c = cache.begin(OTHER, Version::V2).unwrap();
    assert_eq!(cache.offers(), 0, "of the one that gave way");
    assert_eq!(cache.server().counters().abandoned, 1);
    // What still comes of that one is nobody's.
    cache.take(a, &message[OPENING_BYTES + DESCRIPTOR_BYTES..]);
    assert_eq!(cache.finish(a), None);
    cache.take(c, &message);
    assert_eq!(cache.finish(c), Some(ResponseCode::Ok));
    assert_eq!(cache.offers(), 2);
    cache.now += crate::limits::UPLOAD_TIMEOUT;
    cache.expire();
    assert!(cache.messages.iter().all(Message::is_free));
    assert_eq!(cache.server().counters().abandoned, 2);
}

/// What a message offers counts once it is whole: until then it neither keeps back who offers the same, nor has it a
/// say in what others offer.
#[test]
fn messages_that_end_badly_take_nothing_along() {
    let mut cache = Cache::roomy();
    let message = batch(80, 1..3);
    let bad = cache.begin(CLIENT, Version::V2).unwrap();
    cache.take(bad, &message);
    assert_eq!(cache.send(OTHER, Version::V2, &message), Some(ResponseCode::Ok));
    cache.take(bad, &[0]);
    assert_eq!(cache.finish(bad), None);
    let wanted = [(); 2].map(|()| cache.next().unwrap());
    assert!(wanted.iter().all(|wanted| wanted.client.ip() == OTHER));

    let bad = cache.begin(CLIENT, Version::V2).unwrap();
    cache.take(bad, &message);
    cache.ended(&wanted[0], Ended::Bad);
    assert!(cache.next().is_none(), "it is not whole");
    cache.take(bad, &[0]);
    assert_eq!(cache.finish(bad), None);
    cache.ended(&wanted[1], Ended::Bad);
    assert_eq!((cache.next().is_none(), cache.offers()), (true, 0));
}

/// Who says something else of a segment has no say in what another one offers.
#[test]
fn sizes_are_not_those_of_whoever_was_first() {
    let mut cache = Cache::roomy();
    let said = |bytes| [&batch(80, 0..0)[..], &descriptor(1, bytes, bytes)].concat();
    assert_eq!(cache.send(CLIENT, Version::V2, &said(4)), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &said(5)), Some(ResponseCode::Ok));
    let wrong = cache.next().unwrap();
    cache.ended(&wrong, Ended::Bad);
    let right = cache.next().unwrap();
    assert!(matches!(right.known, Known::Length(_, 5)));
    assert_eq!(right.client.ip(), OTHER);
}
