//! The driver over embassy-net, as two nodes beside each other and as one beside a plain stack.

mod world;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use embassy_net::tcp::{State, TcpSocket};
use embassy_net::{ConfigV4, IpEndpoint, Stack};
use embassy_time::Timer;
use peerdist_core::api::client::{Added, ContentHandle, ReadId, ReadResult};
use peerdist_core::bytes::Writer;
use peerdist_core::discovery::Subnet;
use peerdist_core::download::{DownloadEvent, Url};
use peerdist_core::fetch::Source;
use peerdist_core::http::conn::{Conn, Event};
use peerdist_core::node::Config;
use peerdist_core::retrieval::wire::{GET_BLOCKS_BYTES, GetBlocks, PATH};
use peerdist_core::store::{BlockId, Store};
use peerdist_core::time::Duration;
use peerdist_tests::check::{content, segments};
use peerdist_tests::origin::publish;

use world::{Host, PORT, World, address, config, now, tcp};

/// Three full blocks and a short one.
const LEN: usize = 200_000;
const BLOCK: usize = 65_536;

/// Opens the content and waits until reads can begin.
fn open<const SOCKETS: usize>(world: &mut World, host: &Host<SOCKETS>) -> ContentHandle {
    let handle = host.driver.with_node(|node| {
        let handle = node.open_content([7; 16]).unwrap();
        node.add_content_information(handle, &host.info).unwrap();
        node.complete_content_information(handle).unwrap();
        handle
    });
    world.run_until(1_000, || host.driver.with_node(|node| node.is_ready(handle)) == Ok(true));
    handle
}

/// A node at 10.0.0.1 that has all of the content.
fn server<const SOCKETS: usize>(world: &mut World, config: Config) -> Host<SOCKETS> {
    let bytes = content(LEN);
    let host = world.full_host::<SOCKETS>(1, config, &publish(&bytes));
    let handle = open(world, &host);
    let mut offset = 0;
    while offset < LEN {
        let (used, added) =
            host.driver.with_node(|node| node.add_data(handle, offset as u64, &bytes[offset..])).unwrap();
        assert_eq!(added, Added::Committed);
        offset += used;
    }
    host
}

fn begin<const SOCKETS: usize>(host: &Host<SOCKETS>, handle: ContentHandle, offset: usize) -> ReadId {
    let timeout = Duration::from_secs(5);
    host.driver.with_node(|node| node.block_read(now(), handle, offset as u64, u64::MAX, timeout)).unwrap()
}

fn result<const SOCKETS: usize>(world: &mut World, host: &Host<SOCKETS>, read: ReadId) -> ReadResult {
    let mut found = None;
    world.run_until(10_000, || {
        found = host.driver.with_node(|node| node.poll_completion());
        found.is_some()
    });
    let completion = found.unwrap();
    assert_eq!(completion.read, read);
    completion.result
}

/// Reads all of the content, which can come from `from` alone.
fn read_all<const SOCKETS: usize>(
    world: &mut World,
    host: &Host<SOCKETS>,
    handle: ContentHandle,
    from: Source,
) {
    let bytes = content(LEN);
    for start in (0..LEN).step_by(BLOCK) {
        let read = begin(host, handle, start);
        let ReadResult::Data { range, source } = result(world, host, read) else { panic!("no data") };
        assert_eq!((range.start, range.end), (start as u64, LEN.min(start + BLOCK) as u64));
        assert_eq!(source, from);
        let mut copied = vec![0; (range.end - range.start) as usize];
        let len = host.driver.with_node(|node| node.copy_read(read, 0, &mut copied)).unwrap();
        assert!(copied[..len] == bytes[start..][..copied.len()]);
        host.driver.with_node(|node| node.end_read(read));
    }
}

#[test]
fn every_byte_comes_from_the_other_node() {
    let mut world = World::new();
    let server = server::<4>(&mut world, Config::default());
    let client = world.full_host::<4>(2, Config::default(), &server.info);
    let handle = open(&mut world, &client);
    let them = Source::Peer((address(1), PORT).into());
    read_all(&mut world, &client, handle, them);
    let counters = server.driver.with_node(|node| node.counters());
    assert_eq!((counters.serve.blocks, counters.refused), (4, 0));
    // The server has answered a probe at once, for it knew its sender from that: it asked nobody (ARP, 1).
    let asks = |frame: &&Vec<u8>| frame[12..14] == [8, 6] && frame[20..22] == [0, 1];
    assert_eq!(world.cable.frames.borrow().iter().filter(asks).count(), 0);
    assert_eq!(server.driver.dropped_datagrams() + client.driver.dropped_datagrams(), 0);
    // And nobody goes on working once all is done: connections are kept for a while, then closed.
    let before = world.turns;
    world.run(60_000);
    assert!(world.turns - before < 500, "{} turns in a minute", world.turns - before);
}

#[test]
fn a_cable_that_loses_frames_loses_no_byte() {
    let mut world = World::new();
    let server = server::<4>(&mut world, Config::default());
    let client = world.full_host::<4>(2, Config::default(), &server.info);
    let handle = open(&mut world, &client);
    // At most one a block, since each costs a second, and a request has two.
    world.cable.loses.set(Some(97));
    let them = Source::Peer((address(1), PORT).into());
    read_all(&mut world, &client, handle, them);
}

#[test]
fn what_was_lost_with_the_cable_comes_when_it_is_there_again() {
    let mut world = World::new();
    let server = server::<4>(&mut world, Config::default());
    let client = world.full_host::<4>(2, Config::default(), &server.info);
    let handle = open(&mut world, &client);
    // In the middle of the block.
    let cable = world.cable.clone();
    cable.cut_at.set(Some(cable.frames.borrow().len() + 20));
    let read = begin(&client, handle, 0);
    let came = result(&mut world, &client, read);
    assert!(matches!(came, ReadResult::Missing { .. } | ReadResult::TimedOut { .. }), "{came:?}");
    client.driver.with_node(|node| node.end_read(read));
    world.run(20_000);
    assert!(cable.frames.borrow().len() > cable.cut_at.take().unwrap());
    world.run(10_000);
    let them = Source::Peer((address(1), PORT).into());
    read_all(&mut world, &client, handle, them);
}

fn request(host: &[u8], index: u32) -> Vec<u8> {
    let mut buf = [0; GET_BLOCKS_BYTES];
    let mut writer = Writer::new(&mut buf);
    GetBlocks::emit_one(segments(host)[0].as_bytes(), index, &mut writer).unwrap();
    let body = writer.finish();
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Reads a reply, a few bytes at a time and with a pause between: its status and its body.
async fn reply(socket: &mut TcpSocket<'_>, conn: &mut Conn, left: &mut Vec<u8>) -> Option<(u16, Vec<u8>)> {
    conn.expect_reply(false).unwrap();
    let (mut status, mut body) = (0, Vec::new());
    loop {
        let (used, event) = conn.handle(left);
        match event.unwrap() {
            Some(Event::Status { code, .. }) => status = code,
            Some(Event::Body(piece)) => body.extend_from_slice(piece),
            Some(Event::End) => {
                left.drain(..used);
                return Some((status, body));
            }
            Some(_) => {}
            None => {
                left.drain(..used);
                let mut some = [0; 3_000];
                match socket.read(&mut some).await {
                    Ok(0) | Err(_) => return None,
                    Ok(len) => left.extend(&some[..len]),
                }
                Timer::after_millis(1).await;
                continue;
            }
        }
        left.drain(..used);
    }
}

/// The bytes of a block as it is stored.
fn sealed<const SOCKETS: usize>(host: &Host<SOCKETS>, index: u32) -> Vec<u8> {
    let segment = segments(&host.info)[0];
    host.driver.with_node(|node| {
        let store = node.storage_mut();
        let stored = store.find(&BlockId { segment, index }).unwrap();
        let mut bytes = vec![0; stored.len as usize];
        store.read(stored.slot, 0, &mut bytes).unwrap();
        bytes
    })
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// Four questions at once and a client that takes its time: the node uses a question when it has answered
/// those before, and the socket has room for a reply bit by bit.
#[test]
fn questions_wait_for_the_answers_before_them() {
    let mut world = World::new();
    let server = server::<2>(&mut world, Config::default());
    let stack = world.stacks[1];
    let questions: Vec<u8> = (0..4).flat_map(|index| request(&server.info, index)).collect();
    let bodies = Rc::<RefCell<Vec<Vec<u8>>>>::default();
    let got = bodies.clone();
    world.spawn(async move {
        let mut socket = tcp(stack);
        socket.connect(IpEndpoint::from((address(1), PORT))).await.unwrap();
        assert_eq!(socket.write(&questions).await, Ok(questions.len()));
        let (mut conn, mut left) = (Conn::client(), Vec::new());
        for _ in 0..4 {
            let (status, body) = reply(&mut socket, &mut conn, &mut left).await.unwrap();
            assert_eq!(status, 200);
            got.borrow_mut().push(body);
        }
        socket.close();
        socket.flush().await.unwrap();
    });
    world.run_until(5_000, || bodies.borrow().len() == 4);
    for (index, body) in (0..4).zip(bodies.take()) {
        assert!(contains(&body, &sealed(&server, index)), "{index}");
    }
}

/// One socket listens at a time; who finds none is refused, and comes in when it asks again.
#[test]
fn more_connections_than_sockets() {
    const CLIENTS: usize = 9;
    let mut world = World::new();
    let server = server::<3>(&mut world, Config { reserved_streams: 0, ..Config::default() });
    let stack = world.stacks[1];
    let (served, refused) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let block = Rc::new(sealed(&server, 3));
    for client in 0..CLIENTS {
        let (question, block) = (request(&server.info, 3), block.clone());
        let (served, refused) = (served.clone(), refused.clone());
        world.spawn(async move {
            let mut socket = tcp(stack);
            loop {
                socket.abort();
                if socket.connect(IpEndpoint::from((address(1), PORT))).await.is_ok()
                    && socket.write(&question).await.is_ok()
                    && let Some((200, body)) = reply(&mut socket, &mut Conn::client(), &mut Vec::new()).await
                {
                    assert!(contains(&body, &block));
                    break;
                }
                refused.set(refused.get() + 1);
                // Not all at the same time again.
                Timer::after_millis(7 * (client as u64 + 1)).await;
            }
            socket.close();
            served.set(served.get() + 1);
            // The last acknowledgement is still to be sent.
            Timer::after_secs(1).await;
        });
    }
    world.run_until(30_000, || served.get() == CLIENTS);
    assert!(refused.get() >= CLIENTS - 3, "only {} were refused", refused.get());
    // All sockets are free again.
    world.run(30_000);
    for _ in 0..2 {
        let task = world.spawn(connect(stack));
        world.run(100);
        assert!(world.is_over(task));
    }
}

/// A connection that is opened, and kept for as long as the world is.
async fn connect(stack: Stack<'static>) {
    let socket = world::leak(tcp(stack));
    socket.connect(IpEndpoint::from((address(1), PORT))).await.unwrap();
}

/// Connections that never come about are no reason to refuse others.
#[test]
fn half_open_connections_do_not_close_the_port() {
    let mut world = World::new();
    let _ours = world.full_host::<8>(1, Config::default(), &[]);
    let stack = world.stacks[1];
    world.run(5);
    world.cable.mute.set(true);
    world.spawn(connect(stack));
    world.spawn(connect(stack));
    world.run(20);
    world.cable.mute.set(false);
    let third = world.spawn(connect(stack));
    world.run(20);
    assert!(world.is_over(third));
}

/// The node closes; the other side does not, and goes on talking.
#[test]
fn who_never_closes_is_reset() {
    let mut world = World::new();
    let _ours = world.full_host::<4>(1, Config::default(), &[]);
    let stack = world.stacks[1];
    let state = Rc::new(Cell::new(State::Closed));
    let seen = state.clone();
    world.run(5);
    world.spawn(async move {
        let mut socket = tcp(stack);
        socket.connect(IpEndpoint::from((address(1), PORT))).await.unwrap();
        socket.write(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        loop {
            for _ in 0..40 {
                Timer::after_millis(10).await;
                seen.set(socket.state());
            }
            // A connection that was reset takes nothing.
            let _ = socket.write(b"more").await;
        }
    });
    world.run(50);
    for step in 0..12 {
        assert_eq!(state.get(), State::CloseWait, "{step}");
        world.run(400);
    }
    world.run(900);
    assert_eq!(state.get(), State::Closed);
}

fn url(port: u16) -> Url {
    let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
    Url { origin: (address(2), port).into(), host, path }
}

fn has_failed<const SOCKETS: usize>(host: &Host<SOCKETS>) -> bool {
    host.outputs.borrow().events.iter().any(|event| matches!(event, DownloadEvent::Failed(_)))
}

/// The only socket listens: the origin is not to blame, and the download waits.
#[test]
fn want_of_sockets_ends_no_download() {
    let mut world = World::new();
    let ours = world.full_host::<1>(1, Config { reserved_streams: 1, ..Config::default() }, &[]);
    world.run(5);
    ours.driver.with_node(|node| node.download(now(), url(PORT))).unwrap();
    world.run(60_000);
    assert!(!has_failed(&ours));
}

/// No packet can go to port 0: that is the origin's fault, and waiting for a socket would not help.
#[test]
fn an_address_that_nobody_can_have_ends_the_download() {
    let mut world = World::new();
    let ours = world.full_host::<4>(1, Config::default(), &[]);
    ours.driver.with_node(|node| node.download(now(), url(0))).unwrap();
    world.run(60_000);
    assert!(has_failed(&ours));
}

/// Answers so many requests on port 8080, each on a connection, with the content, and closes once the client did.
async fn origin(stack: Stack<'static>, requests: usize, header: &'static str) {
    for _ in 0..requests {
        let mut socket = tcp(stack);
        socket.accept(8_080).await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut some = [0; 100];
            let len = socket.read(&mut some).await.unwrap();
            request.extend(&some[..len]);
        }
        let bytes = content(LEN);
        let head = format!("HTTP/1.1 200 OK\r\n{header}Content-Length: {LEN}\r\n\r\n");
        for mut rest in [head.as_bytes(), &bytes] {
            while !rest.is_empty() {
                let len = socket.write(rest).await.unwrap();
                rest = &rest[len..];
            }
        }
        assert_eq!(socket.read(&mut [0; 9]).await, Ok(0));
        socket.close();
        socket.flush().await.unwrap();
    }
}

/// Of two sockets one listens; the other is closed, and waits for segments that may stray. Whoever needs it for
/// a connection does not have to.
#[test]
fn a_connection_that_is_over_makes_room_for_another() {
    let mut world = World::new();
    let ours = world.full_host::<2>(1, Config { reserved_streams: 1, ..Config::default() }, &[]);
    world.spawn(origin(world.stacks[1], 3, "Connection: close\r\n"));
    for done in 1..=3 {
        ours.driver.with_node(|node| node.download(now(), url(8_080))).unwrap();
        let outputs = ours.outputs.clone();
        let over = |event: &&DownloadEvent| matches!(event, DownloadEvent::Done { .. });
        world.run_until(2_000, || outputs.borrow().events.iter().filter(over).count() == done);
        assert!(!has_failed(&ours));
    }
}

/// Without content information, bytes go from the socket to the application a piece at a time: the rest is
/// offered again.
#[test]
fn a_plain_download_loses_no_byte() {
    let mut world = World::new();
    let ours = world.full_host::<4>(1, Config::default(), &[]);
    let stack = world.stacks[1];
    world.spawn(origin(stack, 1, ""));
    ours.driver.with_node(|node| node.download(now(), url(8_080))).unwrap();
    let outputs = ours.outputs.clone();
    let done = |event: &DownloadEvent| matches!(event, DownloadEvent::Done { len } if *len == LEN as u64);
    world.run_until(20_000, || outputs.borrow().events.iter().any(done));
    let outputs = outputs.borrow();
    let mut all = Vec::<u8>::new();
    for (offset, data) in &outputs.data {
        assert_eq!(*offset, all.len() as u64);
        all.extend(data);
    }
    assert!(all == content(LEN));
}

/// A task that ends loses its connection, and leaves its place to another.
#[test]
fn a_socket_can_be_taken_away() {
    let mut world = World::new();
    let ours = world.host::<1>(1, Config { reserved_streams: 0, ..Config::default() }, &[]);
    let stack = world.stacks[1];
    let first = world.spawn(ours.socket());
    let second = world.spawn(ours.socket());
    world.run(5);
    // There is one place.
    assert!(world.is_over(second) && !world.is_over(first));
    let client = world.spawn(connect(stack));
    world.run(20);
    assert!(world.is_over(client));
    world.kill(first);
    world.run(20);
    let third = world.spawn(ours.socket());
    world.run(20);
    assert!(!world.is_over(third));
    let client = world.spawn(connect(stack));
    world.run(20);
    assert!(world.is_over(client));
}

/// Whoever has joined the group of discovery without an address has told nobody.
#[test]
fn the_group_is_joined_again_with_each_address() {
    let mut world = World::without_addresses();
    let ours = world.full_host::<2>(1, Config::default(), &[]);
    let reports = |world: &World, last: u8| {
        // IPv4 in Ethernet, from that address to the group, IGMP in IPv4; a report.
        let to = [address(last).octets(), [239, 255, 255, 250]].concat();
        let report = |frame: &&Vec<u8>| {
            frame[12..14] == [8, 0] && frame[23] == 2 && frame[26..34] == to[..] && frame[34] == 0x16
        };
        world.cable.frames.borrow().iter().filter(report).count()
    };
    world.run(100);
    for last in [1, 3] {
        assert_eq!(reports(&world, last), 0);
        world.stacks[0].set_config_v4(ConfigV4::Static(config(last)));
        let subnet = Subnet { address: address(last).into(), prefix: 24 };
        ours.driver.with_node(|node| node.set_addresses(&[subnet]));
        world.run(100);
        assert_eq!(reports(&world, last), 1);
    }
}
