//! Peers that lie, fall silent or talk nonsense: each is found out, and the content still comes.

use peerdist_core::crypto::CipherAlgorithm;
use peerdist_core::fetch::{Cause, Failure, Source};
use peerdist_core::node::{Config, Input, StreamId};
use peerdist_core::retrieval::client::AcceptPlain;
use peerdist_core::time::Duration;
use peerdist_tests::check::{LONG, assert_whole, blocks, content, segments, verify_store};
use peerdist_tests::pair::{Act, Net, Refusal, STREAMS, fake_address, host_address};

/// Flips a bit in the first block that a connection carries.
fn flip(offset: u64) -> u8 {
    u8::from(offset == 300)
}

/// A reply over HTTP.
fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let mut reply = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    reply.extend(body);
    reply
}

/// MSG_BLK for `question`, a MSG_GETBLKS: `block` under `cipher`.
fn msg_blk(question: &[u8], cipher: CipherAlgorithm, block: &[u8]) -> Vec<u8> {
    let id = &question[20..52];
    let pad = block.len().next_multiple_of(4) - block.len();
    let iv = if cipher == CipherAlgorithm::None { 0 } else { 16 };
    let size = 16 + 4 + 32 + 12 + block.len() + pad + 4 + 4 + iv;
    let algorithm = u32::from(cipher != CipherAlgorithm::None);
    let mut out = Vec::new();
    let word = |out: &mut Vec<u8>, value: u32| out.extend(value.to_be_bytes());
    for value in [size as u32, 1, 5, size as u32, algorithm, 32] {
        word(&mut out, value);
    }
    out.extend(id);
    out.extend(&question[56..60]);
    word(&mut out, 0);
    word(&mut out, block.len() as u32);
    out.extend(block);
    out.extend(vec![0; pad]);
    word(&mut out, 0);
    word(&mut out, iv as u32);
    out.extend(vec![7; iv]);
    out
}

/// One scripted peer that has nothing right to say, and an honest origin: the failures of each
/// block, and how often the peer was asked.
fn failures_of(len: usize, script: impl FnMut(&[u8]) -> Act + 'static) -> (Net, Vec<Vec<Failure>>) {
    let content = content(len);
    let mut net = Net::new(11, 1, 8, content.clone());
    let claims = segments(&net.origin.info);
    net.add_fake(claims, script);
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    let blocks = blocks(net.seen(0, id));
    assert!(blocks.iter().all(|(source, _)| *source == Source::Origin));
    let info = net.origin.info.clone();
    assert_eq!(verify_store(&mut net, 0, &info), blocks.len() as u32);
    net.drive(LONG);
    assert_eq!(net.open_connections(), 0);
    (net, blocks.into_iter().map(|(_, failures)| failures).collect())
}

#[test]
fn a_liar_is_found_out_and_shunned() {
    let met = (0..8).filter(|seed| beside_a_liar(*seed)).count();
    assert!(met > 1, "{met} of 8 runs met the liar");
}

/// A download where one of two holders lies; whether it met the liar.
fn beside_a_liar(seed: u64) -> bool {
    let content = content(400_000);
    let mut net = Net::new(seed, 3, 8, content.clone());
    for host in [0, 1] {
        let id = net.download(host);
        net.drive_download(host, id, LONG);
    }
    net.hosts[0].tamper = Some(flip);
    let sent = net.origin.body_bytes;
    let id = net.download(2);
    net.drive_download(2, id, LONG);
    assert_whole(net.seen(2, id), &content, true);
    assert_eq!(net.origin.body_bytes, sent, "the honest peer has everything");
    let liar = Failure { peer: Some(host_address(0)), cause: Cause::BadBlock };
    let failures: Vec<_> = blocks(net.seen(2, id)).into_iter().flat_map(|(_, failures)| failures).collect();
    assert!(failures.iter().all(|failure| *failure == liar), "{failures:?}");
    assert_eq!(net.node(2).counters().fetch.bad_blocks as usize, failures.len());
    let info = net.origin.info.clone();
    assert_eq!(verify_store(&mut net, 2, &info), 7);
    if failures.is_empty() {
        return false;
    }
    // The liar is not asked again.
    let dialled = net.dialled[&host_address(0)];
    net.hosts[2].store.forget(&segments(&info));
    let id = net.download(2);
    net.drive_download(2, id, LONG);
    assert_whole(net.seen(2, id), &content, true);
    assert_eq!(net.dialled[&host_address(0)], dialled);
    true
}

#[test]
fn a_lone_liar() {
    let content = content(400_000);
    let mut net = Net::new(6, 2, 8, content.clone());
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    net.hosts[0].tamper = Some(flip);
    let id = net.download(1);
    net.drive_download(1, id, LONG);
    assert_whole(net.seen(1, id), &content, true);
    let info = net.origin.info.clone();
    assert_eq!(verify_store(&mut net, 1, &info), 7);
    assert!(net.node(1).counters().fetch.bad_blocks > 0);
}

#[test]
fn nonsense_is_a_bad_reply() {
    type Script = fn(&[u8]) -> Act;
    let scripts: [(&str, Script); 8] = [
        ("empty 200", |_| Act::Send(http("200 OK", b""))),
        ("garbage", |_| Act::Send(http("200 OK", &[0xee; 900]))),
        ("no HTTP", |_| Act::Send(b"no HTTP\r\n\r\n".to_vec())),
        ("negotiation of another version", |_| {
            Act::Send(http(
                "200 OK",
                &[0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2],
            ))
        }),
        ("endless negotiation", |_| {
            Act::Send(http(
                "200 OK",
                &[0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2],
            ))
        }),
        ("another segment", |question| {
            let mut question = question.to_vec();
            question[30] ^= 1;
            Act::Send(http("200 OK", &msg_blk(&question, CipherAlgorithm::Aes128, &[1; 1_008])))
        }),
        ("another block", |question| {
            let mut question = question.to_vec();
            question[59] ^= 1;
            Act::Send(http("200 OK", &msg_blk(&question, CipherAlgorithm::Aes128, &[1; 1_008])))
        }),
        ("wrong length", |question| {
            Act::Send(http("200 OK", &msg_blk(question, CipherAlgorithm::Aes128, &[1; 1_024])))
        }),
    ];
    for (what, script) in scripts {
        let (net, failures) = failures_of(1_000, script);
        let expected = Failure { peer: Some(fake_address(0)), cause: Cause::BadReply };
        assert_eq!(failures, [[expected]], "{what}");
        let asked = if what == "endless negotiation" { 2 } else { 1 };
        assert_eq!(net.fakes[0].asked, asked, "{what}");
    }
}

/// After a negotiation the same question is put once more, and not a third time, whatever comes then.
#[test]
fn a_negotiation_is_answered_once() {
    let mut negotiated = false;
    let (net, failures) = failures_of(1_000, move |_| {
        let versions = [0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        Act::Send(match std::mem::replace(&mut negotiated, true) {
            false => http("200 OK", &versions),
            true => http("503 Service Unavailable", b""),
        })
    });
    assert_eq!(failures, [[Failure { peer: Some(fake_address(0)), cause: Cause::Refused }]]);
    assert_eq!(net.fakes[0].asked, 2);
}

/// Bytes behind the message make a bad reply as soon as they are announced: they are not waited for.
#[test]
fn a_surplus_that_never_comes() {
    let (net, failures) = failures_of(1_000, |question| {
        let message = msg_blk(question, CipherAlgorithm::Aes128, &[1; 1_008]);
        let mut reply =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", message.len() + 1).into_bytes();
        reply.extend(message);
        Act::Send(reply)
    });
    assert_eq!(failures, [[Failure { peer: Some(fake_address(0)), cause: Cause::BadReply }]]);
    let seen = net.seen(0, 1);
    let waited = seen.events.last().unwrap().0.since(seen.events[0].0);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[test]
fn a_refusal_is_no_lie() {
    let refusal = |_: &[u8]| Act::SendAndClose(http("400 Bad Request", b""));
    // An open block is of no use to us, and no lie.
    let open =
        |question: &[u8]| Act::Send(http("200 OK", &msg_blk(question, CipherAlgorithm::None, &[1; 1_000])));
    for failures in [failures_of(1_000, refusal).1, failures_of(1_000, open).1] {
        assert_eq!(failures, [[Failure { peer: Some(fake_address(0)), cause: Cause::Refused }]]);
    }
}

#[test]
fn an_empty_block_is_an_honest_no() {
    let script = |question: &[u8]| Act::Send(http("200 OK", &msg_blk(question, CipherAlgorithm::None, &[])));
    let (_, failures) = failures_of(1_000, script);
    assert_eq!(failures, [[Failure { peer: Some(fake_address(0)), cause: Cause::NotHeld }]]);
}

#[test]
fn the_right_length_and_the_wrong_bytes() {
    let script =
        |question: &[u8]| Act::Send(http("200 OK", &msg_blk(question, CipherAlgorithm::Aes128, &[1; 1_008])));
    let (net, failures) = failures_of(1_000, script);
    assert_eq!(failures, [[Failure { peer: Some(fake_address(0)), cause: Cause::BadBlock }]]);
    assert_eq!(net.fakes[0].asked, 1);
}

#[test]
fn a_peer_that_closes_in_the_middle() {
    let script = |question: &[u8]| {
        let mut reply = http("200 OK", &msg_blk(question, CipherAlgorithm::Aes128, &[1; 1_008]));
        reply.truncate(reply.len() / 2);
        Act::SendAndClose(reply)
    };
    let (_, failures) = failures_of(1_000, script);
    assert_eq!(failures, [[Failure { peer: Some(fake_address(0)), cause: Cause::Broken }]]);
}

/// MS-PCCRR 3.1.2: 2 seconds for the whole exchange, however it trickles.
#[test]
fn a_peer_that_falls_silent() {
    for share in [0, 1, 2] {
        let (net, failures) = failures_of(1_000, move |question: &[u8]| {
            let mut reply = http("200 OK", &msg_blk(question, CipherAlgorithm::Aes128, &[1; 1_008]));
            reply.truncate(reply.len() * share / 3);
            Act::Send(reply)
        });
        assert_eq!(failures, [[Failure { peer: Some(fake_address(0)), cause: Cause::TimedOut }]]);
        let seen = net.seen(0, 1);
        let (begun, done) = (seen.events[0].0, seen.events.last().unwrap().0);
        let waited = done.since(begun);
        assert!(waited > Duration::from_secs(2) && waited < Duration::from_millis(2_500), "{waited:?}");
    }
}

#[test]
fn a_peer_that_is_not_there() {
    let mut net = Net::new(11, 1, 8, content(1_000));
    let claims = segments(&net.origin.info);
    net.add_fake(claims, |_| Act::Silence);
    net.fakes_refuse = true;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    let failure = Failure { peer: Some(fake_address(0)), cause: Cause::Unreachable };
    assert_eq!(blocks(net.seen(0, id)), [(Source::Origin, vec![failure])]);
}

/// Of two holders one falls silent: the block comes from the other.
/// A peer with few connections refuses the others: it is asked over those that it took, and not the origin.
#[test]
fn a_peer_with_few_connections() {
    for (most, refusal) in (1..=3).flat_map(|most| [(most, Refusal::AtOnce), (most, Refusal::Reset)]) {
        let content = content(200 * 65_536);
        let mut net = Net::new(11, 2, 200, content.clone());
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        net.takes = Some((most, refusal));
        let sent = net.origin.body_bytes;
        let id = net.download(1);
        net.drive_download(1, id, LONG);
        assert_whole(net.seen(1, id), &content, true);
        assert_eq!(net.origin.body_bytes, sent, "{most} {refusal:?}");
        for (source, failures) in blocks(net.seen(1, id)) {
            assert_eq!((source, &*failures), (Source::Peer(host_address(0)), &[][..]), "{most} {refusal:?}");
        }
        assert_eq!(net.node(1).counters().fetch.shunned, 0);
        // More of them are tried now and then, and not with each block.
        let dialled = net.dialled[&host_address(0)];
        assert!(dialled <= 20, "{dialled} connections for 200 blocks: {most} {refusal:?}");
    }
}

#[test]
fn elsewhere() {
    let content = content(200_000);
    let mut net = Net::new(12, 2, 8, content.clone());
    let first = net.download(0);
    net.drive_download(0, first, LONG);
    let claims = segments(&net.origin.info);
    net.add_fake(claims, |_| Act::Silence);
    let sent = net.origin.body_bytes;
    let second = net.download(1);
    net.drive_download(1, second, LONG);
    assert_whole(net.seen(1, second), &content, true);
    assert_eq!(net.origin.body_bytes, sent);
    for (source, failures) in blocks(net.seen(1, second)) {
        assert_eq!(source, Source::Peer(host_address(0)));
        let silent = Failure { peer: Some(fake_address(0)), cause: Cause::TimedOut };
        assert!(failures.is_empty() || failures == [silent], "{failures:?}");
    }
}

/// Datagrams may be lost or come twice: nothing but time is lost with them.
#[test]
fn datagrams_lost_and_doubled() {
    for (hook, from_peer) in [
        ((|number, _| u32::from(number % 2 == 0)) as fn(u64, usize) -> u32, None),
        (|_, _| 3, Some(true)),
        (|_, _| 0, Some(false)),
    ] {
        let content = content(100_000);
        let mut net = Net::new(13, 2, 8, content.clone());
        let first = net.download(0);
        net.drive_download(0, first, LONG);
        net.datagram_hook = hook;
        let second = net.download(1);
        net.drive_download(1, second, LONG);
        assert_whole(net.seen(1, second), &content, true);
        let blocks = blocks(net.seen(1, second));
        if let Some(from_peer) = from_peer {
            assert!(blocks.iter().all(|(source, _)| (*source == Source::Peer(host_address(0))) == from_peer));
        }
    }
}

#[test]
fn one_seed_one_transcript() {
    let run = |seed| {
        let mut net = Net::new(seed, 4, 8, content(400_000));
        let ids: Vec<_> = (0..4).map(|host| net.download(host)).collect();
        net.drive(LONG);
        for (host, id) in ids.into_iter().enumerate() {
            assert_whole(net.seen(host, id), &net.origin.content, true);
        }
        net.transcript
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Peers that are gone do not keep an honest one, which came later, from being found.
#[test]
fn dead_holders_make_room() {
    let content = content(4 * 65_536);
    let mut net = Net::new(23, 2, 8, content.clone());
    let claims = segments(&net.origin.info);
    for _ in 0..20 {
        net.add_fake(claims.clone(), |_| Act::Silence);
    }
    net.fakes_refuse = true;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    // They leave, and host 1 comes to hold everything; host 0 has forgotten its own blocks.
    net.fakes.clear();
    let id = net.download(1);
    net.drive_download(1, id, LONG);
    net.drive_past(net.now + Duration::from_secs(600));
    net.hosts[0].store.forget(&claims);
    let sent = net.origin.body_bytes;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    let from_peer =
        blocks(net.seen(0, id)).iter().filter(|(source, _)| *source == Source::Peer(host_address(1))).count();
    assert!(
        from_peer >= 3,
        "{from_peer} blocks from the honest peer, {} from the origin",
        net.origin.body_bytes - sent
    );
}

/// A read that ends by its own time-out says who kept it waiting.
#[test]
fn a_time_out_names_the_silent() {
    let content = content(1_000);
    let mut net = Net::new(29, 1, 8, content.clone());
    let claims = segments(&net.origin.info);
    for _ in 0..4 {
        net.add_fake(claims.clone(), |_| Act::Silence);
    }
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    let (source, failures) = &blocks(net.seen(0, id))[0];
    assert_eq!(*source, Source::Origin);
    assert!(failures.len() >= 2, "{failures:?}");
    assert!(failures.iter().all(|failure| failure.cause == Cause::TimedOut && failure.peer.is_some()));
}

/// MS-PCCRD 3.1.4.1: XAddrs MUST be on the local subnet.
#[test]
fn who_claims_to_be_elsewhere_is_not_asked() {
    for elsewhere in ["10.7.0.1:80", "127.0.0.1:80"] {
        let content = content(100_000);
        let mut net = Net::new(12, 1, 8, content.clone());
        let claims = segments(&net.origin.info);
        let fake = net.add_fake(claims, |_| Act::Silence);
        net.fakes[fake].claimed = Some(elsewhere.parse().unwrap());
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        assert_whole(net.seen(0, id), &content, true);
        assert_eq!(net.dialled.get(&elsewhere.parse().unwrap()), None);
        let counters = net.node(0).counters();
        assert!(counters.probe.not_local > 0 && counters.fetch.asked == 0, "{counters:?}");
    }
}

/// That our side is out of sockets is no reason to shun a peer, or to give up an origin.
#[test]
fn want_of_sockets_is_nobodys_fault() {
    let content = content(200_000);
    let mut net = Net::new(13, 2, 8, content.clone());
    net.no_sockets = 12;
    let begun = net.now;
    let first = net.download(0);
    net.drive_download(0, first, LONG);
    assert_whole(net.seen(0, first), &content, true);
    let millis = net.now.since(begun).millis();
    assert!((1_200..2_200).contains(&millis), "a tenth of a second each: {millis}");
    assert_eq!(net.no_sockets, 0);

    let second = net.download(1);
    net.drive_until(LONG, |net| !net.seen(1, second).events.is_empty());
    net.no_sockets = 5;
    net.drive_download(1, second, LONG);
    assert_eq!(net.no_sockets, 0);
    assert_whole(net.seen(1, second), &content, true);
    for (source, failures) in blocks(net.seen(1, second)) {
        assert_eq!(source, Source::Peer(host_address(0)));
        assert_eq!(failures, []);
    }
    assert_eq!(net.node(1).counters().fetch.shunned, 0);
}

/// Questions for which no connection can be had keep none back that there is one for.
#[test]
fn one_peer_without_a_socket_does_not_keep_another_waiting() {
    let content = content(160 * 65_536);
    let mut net = Net::new(14, 2, 160, content.clone());
    let first = net.download(0);
    net.drive_download(0, first, LONG);
    net.add_fake(segments(&net.origin.info), |_| Act::Silence);
    net.no_socket_to = Some(fake_address(0));
    let (sent, begun) = (net.origin.body_bytes, net.now);
    let second = net.download(1);
    net.drive_download(1, second, LONG);
    assert_whole(net.seen(1, second), &content, true);
    assert_eq!((net.origin.body_bytes, net.node(1).counters().fetch.shunned), (sent, 0));
    let millis = net.now.since(begun).millis();
    assert!(millis < 200, "one pause for want of sockets, and the transfer: {millis} ms");
}

/// A connection whose socket goes while a block comes on it is lost like any other, with the place that
/// the block had in the store.
#[test]
fn a_socket_that_goes_in_the_middle() {
    for cipher in [CipherAlgorithm::Aes128, CipherAlgorithm::None] {
        let content = content(65_536);
        let mut net = Net::new(37, 0, 0, content.clone());
        net.add_host(37, 1, Config { accept_plain: AcceptPlain::Yes, ..Config::default() });
        net.add_fake(segments(&net.origin.info), move |question: &[u8]| {
            let mut reply =
                http("200 OK", &msg_blk(question, cipher, &vec![1; cipher.sealed_len(65_536) as usize]));
            reply.truncate(reply.len() / 2);
            Act::Send(reply)
        });
        let id = net.download(0);
        net.drive_until(LONG, |net| net.fakes[0].asked > 0);
        net.drive_past(net.now + Duration::from_secs(1));
        net.fakes_refuse = true;
        let now = net.now;
        for stream in
            (0..STREAMS as u16).flat_map(|index| (0..9).map(move |generation| StreamId { index, generation }))
        {
            net.node(0).handle_input(now, Input::NoSocket { stream });
        }
        net.drive_download(0, id, Duration::from_secs(20));
        assert_whole(net.seen(0, id), &content, true);
        let failure = Failure { peer: Some(fake_address(0)), cause: Cause::Broken };
        assert_eq!(blocks(net.seen(0, id)), [(Source::Origin, vec![failure])]);
    }
}
