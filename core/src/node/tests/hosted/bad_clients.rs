//! Clients of a hosted cache that do what they should not, and others that have what they want all the same.

use super::*;

const V1: &str = Version::V1.path();
const V2: &str = Version::V2.path();

impl Office {
    /// A message of which only the beginning comes, by a connection that stays open; `None` if none is to be had.
    fn begin(&mut self, client: SocketAddr, message: &[u8]) -> Option<StreamId> {
        let now = self.now;
        let stream = self.cache.admit(now, client, false)?;
        let head = std::format!("POST {V2} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", message.len());
        for data in [head.as_bytes(), &message[..message.len() - 1]] {
            self.cache.input(now, Input::Data { stream, data });
        }
        Some(stream)
    }

    /// Whether all of the content's blocks are here, verified.
    fn has(&self, content: &[u8]) -> bool {
        let (_, segment) = segment(content);
        (0..3).all(|index| self.cache.storage().find(&BlockId { segment, index }).is_some())
    }
}

/// Connections that end in the middle of an offer take it along: there is room for the next at once.
#[test]
fn abandoned_connections_by_the_hundred() {
    let content = content();
    let mut office = Office::new();
    office.fill(OFFERS, &content);
    let message = batch(80, &content);
    for number in 0..300 {
        let stream = office.begin(address(READS), &message).unwrap();
        let now = office.now;
        let end = if number % 2 == 0 { Input::Lost { stream } } else { Input::Eof { stream } };
        office.cache.input(now, end);
        office.run(0);
    }
    assert_eq!(office.counters().abandoned, 300);
    assert_eq!(office.send(V2, false, &message), ok());
    office.run(2);
    assert_eq!(office.counters().blocks, 3);
}

/// Nor is anything left of a message that stops being HTTP, although its connection still waits for the answer.
#[test]
fn what_stops_being_http() {
    let message = batch(80, &content());
    let mut office = Office::new();
    let now = office.now;
    let stream = office.cache.admit(now, address(READS), false).unwrap();
    let head = std::format!("POST {V2} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n");
    for data in [head.as_bytes(), &message] {
        office.cache.input(now, Input::Data { stream, data });
    }
    assert_eq!(office.counters().abandoned, 0);
    let rest = [&[0; 256 - 75][..], b"no chunk\r\n"].concat();
    assert_eq!(message.len(), 75);
    office.cache.input(now, Input::Data { stream, data: &rest });
    assert_eq!(office.counters().abandoned, 1);
}

/// Those that stay open, and of which nothing more comes, give way.
#[test]
fn connections_that_are_left_open() {
    let content = content();
    let mut office = Office::new();
    office.fill(OFFERS, &content);
    let message = batch(80, &content);
    while office.begin(address(READS), &message).is_some() {}
    office.run(2);
    assert_eq!(office.send(V2, false, &message), ok());
    office.run(2);
    assert_eq!(office.counters().blocks, 3);
}

/// MS-PCCRC 2.2: other bytes than were hashed are not kept, nor handed out, and who has the right ones is asked when it
/// offers them.
#[test]
fn other_bytes_for_the_right_hashes() {
    let content = content();
    let mut office = Office::new();
    [OFFERS, READS].into_iter().for_each(|client| office.fill(client, &content));
    office.trick = Some((OFFERS, Trick::Garble));
    assert_eq!(office.send(V1, true, &described(80, &content)), ok());
    office.run(60);
    let counters = office.counters();
    assert_eq!((counters.blocks, counters.lies, counters.given_up), (0, 1, 1));
    let (_, segment) = segment(&content);
    assert!((0..3).all(|index| office.cache.storage().find(&BlockId { segment, index }).is_none()));

    let initial = message(Version::V1, MessageType::InitialOffer, 80, segment.as_bytes());
    assert_eq!(office.send_from(address(READS), V1, true, &initial), ok());
    office.run(2);
    assert_eq!((office.has(&content), office.counters().blocks), (true, 3));
}

/// Fact 47: garbage is kept as it comes where nobody can tell, and no reader takes it for content. Who describes the
/// segment has it verified, and that is handed out then.
#[test]
fn garbage_without_keys() {
    let content = content();
    let mut office = Office::new();
    office.fill(OFFERS, &content);
    office.trick = Some((OFFERS, Trick::Garble));
    assert_eq!(office.send(V2, false, &batch(80, &content)), ok());
    office.run(2);
    assert_eq!(office.counters().blocks, 3);
    assert_eq!(office.read(READS, &content), None);
    office.trick = None;
    assert_eq!(office.send(V1, true, &described(80, &content)), ok());
    office.run(10);
    assert!(office.has(&content));
    assert_eq!(office.read(READS, &content), Some(Source::HostedCache(address(CACHE))));
}

/// A connection that breaks says nothing of the port: what was asked on it is asked again.
#[test]
fn a_connection_that_breaks() {
    let contents = [0, 1].map(|flip| content().iter().map(|byte| byte ^ flip).collect::<Vec<_>>());
    let mut office = Office::new();
    for content in &contents {
        office.fill(OFFERS, content);
    }
    office.trick = Some((OFFERS, Trick::Break(2)));
    for content in &contents {
        assert_eq!(office.send(V1, true, &described(80, content)), ok());
    }
    office.run(20);
    assert!(contents.iter().all(|content| office.has(content)));
    let state = office.cache.hosted().unwrap();
    assert_eq!((state.counters.given_up, state.poll_unreachable()), (0, None));
}

/// Who refuses, or answers no sense, is given up, and is no liar.
#[test]
fn answers_without_a_block() {
    for answer in [&b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"[..], b"SSH-2.0\r\n"] {
        let content = content();
        let mut office = Office::new();
        office.fill(OFFERS, &content);
        office.trick = Some((OFFERS, Trick::Say(answer)));
        assert_eq!(office.send(V1, true, &described(80, &content)), ok());
        office.run(60);
        let counters = office.counters();
        assert_eq!((counters.blocks, counters.lies, counters.given_up), (0, 0, 1));
    }
}

/// An address of one link only is nothing without the link.
#[test]
fn clients_on_a_link() {
    let content = content();
    let mut office = Office::new();
    let client = core::net::SocketAddrV6::new("fe80::7".parse().unwrap(), 50_000, 0, 3);
    assert_eq!(office.send_from(client.into(), V2, false, &batch(81, &content)), ok());
    let mut buf = [0; 2_048];
    let Some(Output::Connect { remote, .. }) = office.cache.output(NOW, &mut buf) else {
        panic!("nobody asked")
    };
    assert_eq!(remote, core::net::SocketAddrV6::new(*client.ip(), 81, 0, 3).into());
}
