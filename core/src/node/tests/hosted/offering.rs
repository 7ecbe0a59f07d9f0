//! Clients that offer by themselves what they get from the origin.

use super::*;
use crate::hosted::client::{self, Failure, INTERVAL, REST};
use crate::node::{Offering, Purpose, StreamError};
use crate::store::{InfoId, InfoStore as _};

type Offers = Office<Offering<4>>;

impl Offers {
    fn offering(&mut self) -> client::Client<'_> {
        self.clients[OFFERS - 1].offers().unwrap()
    }
}

/// A hosted cache of version 1.0, which serves blocks beside.
fn v1() -> Place {
    Place { offers: SocketAddr::new(address(CACHE).ip(), TLS), version: Version::V1, blocks: address(CACHE) }
}

/// 3.2.4, 3.2.5.4: what a client gets from the origin, the other one has from the hosted cache, in one message.
#[test]
fn what_came_from_the_origin_is_offered() {
    let content = content();
    let mut office = Offers::with_config(config(), 8);
    office.fill(OFFERS, &content);
    assert!(office.offering().has_news());
    office.run(2);
    assert!(!office.offering().has_news());
    let counters = office.offering().state.counters;
    assert_eq!((counters.blocks, counters.messages, counters.segments, counters.failed), (3, 1, 1, 0));
    assert_eq!(office.counters().bytes[By::Other as usize], 150_000);
    assert_eq!(office.read(READS, &content), Some(Source::HostedCache(address(CACHE))));
    // What came from there is not offered again.
    office.run(5);
    assert_eq!(office.counters().messages, 1);
}

/// 3.2.5.1: version 1.0 is asked for what describes the segment, and verifies it.
#[test]
fn version_1_gets_what_describes_a_segment() {
    let content = content();
    let mut office = Offers::with_config(with_caches(&[v1()]), 8);
    office.fill(OFFERS, &content);
    office.run(2);
    let counters = office.offering().state.counters;
    assert_eq!((counters.messages, counters.segments, counters.described), (2, 1, 1));
    let (_, id) = segment(&content);
    for index in 0..3 {
        assert!(office.cache.storage().find(&BlockId { segment: id, index }).is_some());
    }
    assert_eq!(office.read(READS, &content), Some(Source::HostedCache(address(CACHE))));
}

/// A block that comes later is offered for itself, although nothing of the segment was left to offer.
#[test]
fn more_of_a_segment_is_offered_again() {
    let content = content();
    let mut office = Offers::with_config(config(), 8);
    let handle = office.open(OFFERS, &content);
    for (messages, block) in (1..).zip([0, 2, 1]) {
        let at = block << 16;
        let end = content.len().min(at + (1 << 16));
        let node = &mut office.clients[OFFERS - 1];
        let used = node.add_data(handle, at as u64, &content[at..end]).unwrap().0;
        assert_eq!(used, end - at);
        office.run(2);
        let counters = office.offering().state.counters;
        assert_eq!((counters.blocks, counters.messages), (messages, messages));
        assert_eq!(office.counters().blocks, messages);
    }
}

/// A hosted cache that cannot be reached rests, and the next one of the list is offered what it was to have; blocks
/// are asked of that one too.
#[test]
fn the_next_one_stands_in() {
    let content = content();
    let gone = Place::v2(([10, 0, 0, 77], 80).into());
    let mut office = Offers::with_config(with_caches(&[gone, Place::v2(address(CACHE))]), 8);
    office.fill(OFFERS, &content);
    office.run(2);
    let offering = office.offering();
    assert_eq!(offering.state.poll_failure(), Some((gone.offers, Failure::Unreachable)));
    assert_eq!((offering.state.counters.messages, offering.state.counters.failed), (1, 1));
    assert_eq!(office.read(READS, &content), Some(Source::HostedCache(address(CACHE))));
}

/// Where none can be reached, what came waits, and goes out when one is back.
#[test]
fn what_came_waits_for_a_hosted_cache() {
    let content = content();
    let mut office = Offers::with_config(config(), 8);
    office.fill(OFFERS, &content);
    let now = office.now;
    let mut buf = [0; 2_048];
    let stream = loop {
        match office.clients[OFFERS - 1].poll_output(now, &mut buf) {
            Some(Output::Connect { stream, purpose: Purpose::Offers(0), .. }) => break stream,
            Some(_) => {}
            None => panic!("nothing is offered"),
        }
    };
    office.clients[OFFERS - 1].handle_input(now, Input::Lost { stream });
    office.run(REST.millis() / 1_000 - 1);
    assert_eq!(office.counters().messages, 0);
    assert!(office.offering().has_news());
    office.run(2);
    assert_eq!(office.counters().messages, 1);
}

/// What describes a segment cannot be read any more: its connection is reset in the middle of the message, and the next
/// segment is offered at once.
#[test]
fn a_message_that_cannot_be_read() {
    let mut office = Offers::with_config(with_caches(&[v1()]), 8);
    let mut buf = [0; 4_096];
    office.fill(OFFERS, &content());
    let now = office.now + INTERVAL;
    let node = &mut office.clients[OFFERS - 1];
    let Some(Output::Connect { stream, .. }) = node.poll_output(now, &mut buf) else { panic!() };
    node.handle_input(now, Input::Connected { stream });
    assert!(node.poll_stream(now, stream, &mut buf).unwrap() > 0);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01\x01";
    node.handle_input(now, Input::Data { stream, data: answer });
    assert!(node.poll_output(now, &mut buf).is_none(), "it is kept for what was asked for");
    assert_eq!(node.poll_stream(now, stream, &mut buf[..250]), Ok(250));
    (0..=u8::MAX).for_each(|id| node.storage_mut().remove_info(InfoId(id)));
    assert_eq!(node.poll_stream(now, stream, &mut buf), Err(StreamError));
    assert_eq!(node.poll_timeout(now), Some(now));
    assert!(node.poll_output(now, &mut buf).is_none() && !node.offers().unwrap().has_news());
    office.fill(OFFERS, &[1; 70_000]);
    office.now = now;
    office.run(2);
    assert_eq!(office.offering().state.counters.messages, 3);
}

/// 3.2.2, 3.2.6: a message without a response is dropped when it expires, and what comes to it after that counts for
/// nothing.
#[test]
fn a_message_expires() {
    let content = content();
    let mut office = Offers::with_config(config(), 8);
    office.fill(OFFERS, &content);
    let mut buf = [0; 4_096];
    let mut now = office.now;
    let node = &mut office.clients[OFFERS - 1];
    let Some(Output::Connect { stream, .. }) = node.poll_output(now, &mut buf) else { panic!() };
    node.handle_input(now, Input::Connected { stream });
    let sent = node.poll_stream(now, stream, &mut buf).unwrap();
    assert!(buf[..sent].starts_with(b"POST /0131501b-d67f-491b-9a40-c4bf27bcb4d4 HTTP/1.1\r\n"));
    assert!(node.poll_output(now, &mut buf).is_none());
    assert_eq!(node.poll_timeout(now), Some(now + Duration::from_secs(15)));
    now += Duration::from_secs(15);
    let output = node.poll_output(now, &mut buf);
    assert!(matches!(output, Some(Output::Abort { stream: gone }) if gone == stream), "{output:?}");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01\0";
    node.handle_input(now, Input::Data { stream, data: answer });
    let offers = node.offers().unwrap();
    assert_eq!(offers.state.poll_failure(), Some((address(CACHE), Failure::Expired)));
    assert_eq!((offers.state.counters.messages, offers.state.counters.failed), (0, 1));
    assert!(offers.has_news());
}

/// 3.2.5.3: a message that is sent once more has all of its time again.
#[test]
fn sent_again_it_expires_later() {
    let mut office = Offers::with_config(config(), 8);
    office.fill(OFFERS, &content());
    let mut buf = [0; 4_096];
    let now = office.now;
    let node = &mut office.clients[OFFERS - 1];
    let Some(Output::Connect { stream, .. }) = node.poll_output(now, &mut buf) else { panic!() };
    node.handle_input(now, Input::Connected { stream });
    assert!(node.poll_stream(now, stream, &mut buf).unwrap() > 0);
    assert!(node.poll_output(now, &mut buf).is_none());
    let later = now + Duration::from_secs(9);
    node.sent_again(later, stream);
    assert_eq!(node.poll_timeout(later), Some(later + Duration::from_secs(15)));
    // Once it is answered, there is nothing to wait for.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01\0";
    node.handle_input(later, Input::Data { stream, data: answer });
    node.sent_again(later, stream);
    assert!(!node.offers().unwrap().state.is_under_way());
}

/// Messages are so far apart, whatever comes meanwhile.
#[test]
fn messages_are_apart() {
    let mut office = Offers::with_config(config(), 8);
    let mut buf = [0; 2_048];
    let mut contents = (1u8..5).map(|n| vec![n; 70_000]);
    office.fill(OFFERS, &contents.next().unwrap());
    while office.act(OFFERS) || office.act(CACHE) {}
    assert_eq!(office.counters().messages, 1);
    for content in contents {
        office.fill(OFFERS, &content);
        while office.act(OFFERS) || office.act(CACHE) {}
    }
    assert_eq!(office.counters().messages, 1);
    let now = office.now;
    let node = &mut office.clients[OFFERS - 1];
    assert!(node.poll_output(now, &mut buf).is_none());
    office.now = now + INTERVAL;
    while office.act(OFFERS) || office.act(CACHE) {}
    assert_eq!((office.counters().messages, office.counters().offered), (2, 4));
}

/// A hosted cache may close a connection that was kept when the next message is on its way: that goes out on a new one,
/// and nobody is to blame. On that one, it is.
#[test]
fn a_kept_connection_may_be_gone() {
    let mut office = Offers::with_config(config(), 8);
    let mut buf = [0; 4_096];
    let mut now = office.now;
    office.fill(OFFERS, &[1; 70_000]);
    let node = &mut office.clients[OFFERS - 1];
    let Some(Output::Connect { stream: first, .. }) = node.poll_output(now, &mut buf) else { panic!() };
    node.handle_input(now, Input::Connected { stream: first });
    assert!(node.poll_stream(now, first, &mut buf).unwrap() > 0);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01\0";
    node.handle_input(now, Input::Data { stream: first, data: answer });
    assert!(node.poll_output(now, &mut buf).is_none());
    now += INTERVAL;
    office.now = now;
    office.fill(OFFERS, &[2; 70_000]);
    let node = &mut office.clients[OFFERS - 1];
    now += INTERVAL;
    assert!(node.poll_output(now, &mut buf).is_none(), "it goes out on the same");
    let sent = node.poll_stream(now, first, &mut buf).unwrap();
    assert!(sent > 0);
    node.handle_input(now, Input::Eof { stream: first });
    let second = loop {
        match node.poll_output(now, &mut buf) {
            Some(Output::Connect { stream, .. }) => break stream,
            Some(Output::Abort { stream }) if stream == first => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(node.offers().unwrap().state.counters.failed, 0);
    node.handle_input(now, Input::Connected { stream: second });
    assert_eq!(node.poll_stream(now, second, &mut buf), Ok(sent));
    node.handle_input(now, Input::Eof { stream: second });
    assert_eq!(node.offers().unwrap().state.poll_failure(), Some((address(CACHE), Failure::Lost)));
}

/// However much an application adds at once, and closes before the node does anything.
#[test]
fn what_an_application_closes_is_offered() {
    use crate::api::{SUPPORTED_VERSION, Tabled, UserId};
    let content: Vec<u8> = (0..20u8).flat_map(|n| [n; 1 << 16]).collect();
    let tag = *b"a tag of 16 byte";
    let mut buf = [0; 4_096];
    let mut node: Node<_, _, _, 8, 4, 0, Offering<4>, Tabled<2, 1, 1, 1, 4, 128, 400>> =
        Node::new(config(), store(20), SoftCrypto, Fixed(7));
    let instance = node.api().startup(SUPPORTED_VERSION, UserId(7)).unwrap();
    let handle = node.api().open_content(instance, tag, 0).unwrap();
    node.api().add_content_information(handle, &published_v1(&content)).unwrap();
    while node.api().poll_operation().is_none() {
        assert!(node.poll_output(NOW, &mut buf).is_none());
    }
    node.api().complete_content_information(handle).unwrap();
    while node.api().poll_operation().is_none() {
        assert!(node.poll_output(NOW, &mut buf).is_none());
    }
    let mut api = node.api();
    api.add_data(handle, 0, &content).unwrap();
    api.close_content(handle).unwrap();
    assert_eq!(node.offers().unwrap().state.counters.blocks, 20);
    let Some(Output::Connect { stream, .. }) = node.poll_output(NOW, &mut buf) else { panic!() };
    let sent = node.poll_stream(NOW, stream, &mut buf).unwrap();
    assert!(buf[..sent].windows(tag.len()).any(|bytes| bytes == tag), "by the tag of the content");
}
