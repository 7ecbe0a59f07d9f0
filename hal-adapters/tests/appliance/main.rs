//! The appliance of `firmware-example` without its board: addresses that come and go, an origin that is not
//! there, what an owner sets, and the page.

#![allow(unexpected_cfgs, reason = "the features of another package")]

#[path = "../../../firmware-example/src/address.rs"]
mod address;
#[allow(dead_code, reason = "the adapters of a board use all of it")]
#[path = "../../../firmware-example/src/app.rs"]
mod app;
#[path = "../../../firmware-example/src/config.rs"]
mod config;
#[path = "../../../firmware-example/src/json.rs"]
mod json;
#[allow(dead_code, reason = "the adapters of a board use all of it")]
#[path = "../flash/mock.rs"]
mod mock;
#[allow(dead_code, reason = "the adapters of a board use all of it")]
#[path = "../../../firmware-example/src/page.rs"]
mod page;
#[allow(dead_code, reason = "the adapters of a board use all of it")]
#[path = "../../../firmware-example/src/preload.rs"]
mod preload;
#[allow(dead_code, reason = "a board finds out")]
#[path = "../../../firmware-example/src/start.rs"]
mod start;
#[path = "../../../firmware-example/src/store.rs"]
mod store;
#[path = "../../../firmware-example/src/watch.rs"]
mod watch;

/// What the firmware logs by defmt is printed here, in the same words.
mod log {
    macro_rules! log {
        ($($text:tt)*) => { println!($($text)*) };
    }
    pub(crate) use log;
}

use core::net::Ipv4Addr;

use app::{Action, App, Peer};
use config::{Config, Place, SheetError};
use mock::Mock;
use page::{Progress, REPLY_BYTES, Request};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::{Input, Node, Output};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::flash::Entry;
use preload::Failure;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use start::{Cause, Start};
use store::{FlashAndRam, INFO_BYTES, ROWS};

type Flash = Mock<4, 4, 4_096>;
type TestPeer = Peer<FlashAndRam<Flash>, ChaCha8Rng>;

const START: Start = Start { starts: 7, cause: Cause::Fault, at: 0x830 };

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn place(last: u8) -> Place {
    let address = Ipv4Addr::new(10, 0, 0, last);
    Place { address, prefix: 24, router: None, dns: Some(Ipv4Addr::new(10, 0, 0, 2)) }
}

/// A node with its store on flash, and an appliance that is to preload `url`.
fn appliance(url: &str) -> (TestPeer, App) {
    let rows = Box::leak(vec![Entry::EMPTY; ROWS].into_boxed_slice());
    let infos = Box::leak(vec![0; INFO_BYTES].into_boxed_slice());
    let store = store::mount(Flash::new(64, 1), rows, infos).unwrap();
    let config = Config { preload: url.try_into().unwrap(), ..Config::default() };
    let node = Node::new(app::node_config(&config, &START), store, SoftCrypto, ChaCha8Rng::seed_from_u64(1));
    (node, App::new(Instant::ZERO, START, (config, None)))
}

fn status(now: Instant, node: &mut TestPeer, app: &App) -> serde_json::Value {
    let mut request = Request::default();
    assert_eq!(request.take(b"GET /status HTTP/1.1\r\nHost: a\r\n"), Progress::More);
    assert_eq!(request.take(b"\r\n"), Progress::Whole);
    let mut reply = [0; REPLY_BYTES];
    let len = app.answer(now, node, 3, &request, &mut reply);
    let reply = str::from_utf8(&reply[..len]).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    serde_json::from_str(body).unwrap()
}

/// Has the node say whatever it wants to say; the connections that it asks for fail.
fn refuse_connections(now: Instant, node: &mut TestPeer, app: &mut App) {
    let mut buffer = [0; 1_500];
    while let Some(output) = node.poll_output(now, &mut buffer) {
        if let Output::Connect { stream, .. } = output {
            node.handle_input(now, Input::Lost { stream });
        } else {
            app.handle_output(now, output);
        }
    }
}

#[test]
fn an_address_with_and_without_a_server() {
    let (mut node, mut app) = appliance("");
    assert_eq!(app.poll(at(4), &mut node), None);
    assert_eq!(app.poll_timeout(), Some(at(5)));
    // Nobody is there: the one that is set.
    let fallback = Config::default().fallback;
    assert_eq!(app.poll(at(5), &mut node), Some(Action::Address(fallback)));
    assert_eq!(app.poll(at(5), &mut node), None);
    assert_eq!(app.poll_timeout(), None);
    assert_eq!(status(at(5), &mut node, &app)["network"]["address_by"], "config");
    // Somebody comes, and goes.
    app.handle_lease(at(60), Some(place(5)));
    assert_eq!(app.poll(at(60), &mut node), Some(Action::Address(place(5))));
    assert_eq!(status(at(60), &mut node, &app)["address"], "10.0.0.5");
    app.handle_lease(at(99), None);
    assert_eq!(app.poll(at(99), &mut node), Some(Action::Address(fallback)));
    let numbers = status(at(99), &mut node, &app);
    assert_eq!(numbers["network"]["address_by"], "config");
    assert_eq!(numbers["network"]["lease_losses"], 1);
}

#[test]
fn the_cable_is_pulled() {
    let (mut node, mut app) = appliance("");
    app.handle_lease(at(1), Some(place(5)));
    assert_eq!(app.poll(at(1), &mut node), Some(Action::Address(place(5))));
    app.handle_link(at(2), false);
    // Without a cable there is no sense in another address.
    app.handle_lease(at(3), None);
    assert_eq!(app.poll(at(30), &mut node), None);
    assert_eq!(app.poll_timeout(), None);
    assert_eq!(status(at(30), &mut node, &app)["network"]["link"], "down");
    app.handle_link(at(40), true);
    app.handle_link(at(41), true);
    assert_eq!(app.poll(at(41), &mut node), None);
    assert_eq!(app.poll_timeout(), Some(at(45)));
    app.handle_lease(at(42), Some(place(6)));
    assert_eq!(app.poll(at(42), &mut node), Some(Action::Address(place(6))));
    assert_eq!(app.poll_timeout(), None);
    assert_eq!(status(at(42), &mut node, &app)["network"]["link_losses"], 1);
    // Back in another network, where nobody gives addresses.
    app.handle_link(at(50), false);
    app.handle_link(at(60), true);
    assert_eq!(app.poll(at(65), &mut node), Some(Action::Address(Config::default().fallback)));
}

/// A card needs a second or two to find out; nothing was lost by that.
#[test]
fn a_cable_that_comes_with_the_start_was_not_pulled() {
    let (mut node, mut app) = appliance("");
    app.handle_link(at(0), false);
    app.handle_link(at(2), true);
    assert_eq!(app.poll_timeout(), Some(at(7)));
    app.handle_lease(at(3), Some(place(5)));
    assert_eq!(app.poll(at(3), &mut node), Some(Action::Address(place(5))));
    assert_eq!(status(at(3), &mut node, &app)["network"]["link_losses"], 0);
}

#[test]
fn pauses_grow_while_there_is_no_origin() {
    let (mut node, mut app) = appliance("http://origin/content");
    app.handle_lease(at(0), Some(place(5)));
    assert_eq!(app.poll(at(0), &mut node), Some(Action::Address(place(5))));
    let (mut now, mut pauses) = (at(0), Vec::new());
    for _ in 0..9 {
        assert_eq!(app.poll(now, &mut node), Some(Action::Resolve("origin")));
        assert_eq!(app.poll(now, &mut node), None, "it is asked for once");
        app.handle_resolved(now, &mut node, Err(Failure::NotFound));
        let next = app.poll_timeout().unwrap();
        pauses.push(next.since(now).millis() / 1_000);
        now = next;
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 640, 640]);
    let numbers = status(now, &mut node, &app);
    assert_eq!(numbers["preload"]["failure"], "the name has no address");
    assert_eq!(
        (&numbers["preload"]["failures"], &numbers["preload"]["state"]),
        (&9.into(), &"waiting".into())
    );
}

#[test]
fn an_origin_that_refuses_connections() {
    let (mut node, mut app) = appliance("http://10.0.0.9:8080/content");
    app.handle_lease(at(0), Some(place(5)));
    assert_eq!(app.poll(at(0), &mut node), Some(Action::Address(place(5))));
    // An address needs no name server.
    assert_eq!(app.poll(at(0), &mut node), Some(Action::Node));
    let mut now = at(0);
    while status(now, &mut node, &app)["preload"]["state"] == "running" {
        refuse_connections(now, &mut node, &mut app);
        now += Duration::from_millis(500);
        assert!(now < at(300), "it gives up");
    }
    let numbers = status(now, &mut node, &app);
    assert_eq!(numbers["preload"]["failure"], "the origin cannot be reached");
    // The eighth attempt ended it.
    assert_eq!(numbers["preload"]["origin_failures"], 7);
    assert_eq!(numbers["preload"]["origin_failure"], "the origin cannot be reached");
    assert_eq!(app.poll(now, &mut node), None);
    let again = app.poll_timeout().unwrap();
    assert_eq!(app.poll(again, &mut node), Some(Action::Node));
}

/// It takes minutes until it is given up: the page says before what the trouble is.
#[test]
fn an_origin_that_falls_silent() {
    let (mut node, mut app) = appliance("http://10.0.0.9/content");
    app.handle_lease(at(0), Some(place(5)));
    assert_eq!(app.poll(at(0), &mut node), Some(Action::Address(place(5))));
    assert_eq!(app.poll(at(0), &mut node), Some(Action::Node));
    let mut buffer = [0; 1_500];
    let mut failures = Vec::new();
    for second in 0..130 {
        let now = at(second);
        while let Some(output) = node.poll_output(now, &mut buffer) {
            match output {
                Output::Connect { stream, .. } => drop(node.handle_input(now, Input::Connected { stream })),
                other => app.handle_output(now, other),
            }
        }
        let preload = &status(now, &mut node, &app)["preload"];
        assert_eq!((&preload["state"], &preload["failures"]), (&"running".into(), &0.into()));
        let expected = if second < 60 { None } else { Some("the origin fell silent") };
        assert_eq!(preload["origin_failure"].as_str(), expected, "{second}");
        failures.push(preload["origin_failures"].as_u64().unwrap());
    }
    assert_eq!([failures[59], failures[60], failures[120], failures[122]], [0, 1, 1, 2]);
}

/// Without content information, nothing that came can be served: it is fetched again, when there may be some.
#[test]
fn an_origin_without_content_information() {
    let (mut node, mut app) = appliance("http://10.0.0.9/content");
    app.handle_lease(at(0), Some(place(5)));
    assert_eq!(app.poll(at(0), &mut node), Some(Action::Address(place(5))));
    let (mut now, mut pauses) = (at(0), Vec::new());
    let mut buffer = [0; 1_500];
    for _ in 0..3 {
        assert_eq!(app.poll(now, &mut node), Some(Action::Node));
        let mut open = Vec::new();
        while status(now, &mut node, &app)["preload"]["state"] == "running" {
            while let Some(output) = node.poll_output(now, &mut buffer) {
                match output {
                    Output::Connect { stream, .. } => open.push(stream),
                    Output::Close { stream } | Output::Abort { stream } => open.retain(|it| *it != stream),
                    other => app.handle_output(now, other),
                }
            }
            for stream in open.clone() {
                node.handle_input(now, Input::Connected { stream });
                if node.poll_stream(now, stream, &mut buffer).is_ok_and(|len| len > 0) {
                    let data = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain";
                    assert_eq!(node.handle_input(now, Input::Data { stream, data }), data.len());
                }
            }
            now += Duration::from_millis(50);
            assert!(now < at(300), "{}", status(now, &mut node, &app));
        }
        let numbers = status(now, &mut node, &app);
        assert_eq!(numbers["preload"]["failure"], "the origin has no content information: nothing is kept");
        assert_eq!((&numbers["preload"]["bytes"], &numbers["store"]["blocks"]), (&5.into(), &0.into()));
        let next = app.poll_timeout().unwrap();
        pauses.push(next.since(now).millis().div_ceil(10_000));
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4]);
}

/// More connections than there are streams, from one who asks nothing.
#[test]
fn a_peer_that_opens_a_thousand_connections() {
    let (mut node, app) = appliance("");
    let mut buffer = [0; 1_500];
    let from = "10.0.0.66:50000".parse().unwrap();
    let mut open = 0;
    for millis in 0..1_000 {
        let now = at(1) + Duration::from_millis(millis);
        open += usize::from(node.accept(now, from).is_some());
        while let Some(output) = node.poll_output(now, &mut buffer) {
            open -= usize::from(matches!(output, Output::Close { .. } | Output::Abort { .. }));
        }
        assert!(open <= app::STREAMS);
    }
    let numbers = status(at(3), &mut node, &app);
    let count = |name: &str| numbers["serve"][name].as_u64().unwrap();
    assert_eq!(count("refused") + count("gave_way") + open as u64, 1_000);
    assert!(open > 1, "{numbers}");
}

#[test]
fn what_an_owner_sets() {
    let sheet = "peerdist\n# ours\npreload = http://a.b:81/c?d  # every night\n\naddress=192.168.7.9/20\n\
        router = 192.168.0.1\r\ndns = 192.168.0.2\nport = 8081\nend\n\u{0}\u{0}";
    let config = Config::read(sheet.as_bytes()).unwrap();
    assert_eq!((config.preload.as_str(), config.port), ("http://a.b:81/c?d", 8081));
    let Place { address, prefix, router, dns } = config.fallback;
    assert_eq!((address, prefix), (Ipv4Addr::new(192, 168, 7, 9), 20));
    assert_eq!((router, dns), (Some(Ipv4Addr::new(192, 168, 0, 1)), Some(Ipv4Addr::new(192, 168, 0, 2))));
    assert_eq!(Config::read(b"peerdist\nend"), Ok(Config::default()));

    for none in [&[0xff; 4_096][..], &[0; 4_096], b"", b"peerdis", b"\npeerdist\nend\n"] {
        assert_eq!(Config::read(none), Err(SheetError::Absent));
    }
    let read = |text: &str| Config::read(format!("peerdist\n{text}\nend\n").as_bytes());
    let long = format!("preload = http://a/{}", "x".repeat(400));
    for wrong in ["port", "port =", "port = 0", "port = 65536", "address = 1.2.3.4", "address = 1.2.3.4/33"] {
        assert_eq!(read(wrong), Err(SheetError::Line(2)), "{wrong}");
    }
    for wrong in ["colour = red", "dns = 1.2.3", "\u{7f}\u{0}", &long] {
        assert_eq!(read(&format!("port = 81\n{wrong}")), Err(SheetError::Line(3)), "{wrong}");
    }
    // Cut anywhere, it is not taken, or it is whole.
    for end in 0..sheet.len() {
        let cut = Config::read(&sheet.as_bytes()[..end]);
        assert!(cut.is_err() || cut.as_ref() == Ok(&config), "{end}: {cut:?}");
    }
    let (taken, refused) = app::read_config(b"peerdist\nport = x\nend\n");
    assert_eq!((taken, refused), (Config::default(), Some(SheetError::Line(2))));
}

#[test]
fn a_page_for_whoever_asks_properly() {
    let (mut node, app) = appliance("");
    let mut ask = |text: &[u8]| {
        let mut request = Request::default();
        assert_eq!(request.take(text), Progress::Whole);
        let mut reply = [0; REPLY_BYTES];
        let len = app.answer(at(1), &mut node, 0, &request, &mut reply);
        String::from_utf8(reply[..len].to_vec()).unwrap()
    };
    assert!(ask(b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(b"POST /status HTTP/1.1\n\n").starts_with("HTTP/1.1 405 "));
    assert!(ask(b"\r\n\r\n").starts_with("HTTP/1.1 405 "));
    let mut long = b"GET /status".to_vec();
    long.extend([b'x'; 1_000]);
    long.extend(b" HTTP/1.1\r\n\r\n");
    assert!(ask(&long).starts_with("HTTP/1.1 404 "));
    let mut endless = Request::default();
    let more = (0..100).map(|_| endless.take(&[b'a'; 100])).take_while(|it| *it == Progress::More).count();
    assert_eq!(more, 20, "2 KiB and not more");

    let numbers = status(at(9), &mut node, &app);
    assert_eq!((&numbers["starts"], &numbers["last_reset"]), (&7.into(), &"fault".into()));
    assert_eq!((&numbers["reset_at"], &numbers["uptime_ms"]), (&0x830.into(), &9_000.into()));
    assert_eq!(numbers["address"], serde_json::Value::Null);
    assert_eq!((&numbers["store"]["rows"], &numbers["dropped_datagrams"]), (&ROWS.into(), &3.into()));

    // What finds no room in a reply is refused whole.
    let mut small = [0; 100];
    let mut request = Request::default();
    request.take(b"GET /status HTTP/1.1\r\n\r\n");
    let len = app.answer(at(1), &mut node, 0, &request, &mut small);
    assert!(small[..len].starts_with(b"HTTP/1.1 500 "));
}

/// What follows a question mark may be a secret.
#[test]
fn a_log_has_no_queries() {
    assert_eq!(preload::without_query("http://origin/a.bin?key=secret"), "http://origin/a.bin");
    assert_eq!(preload::without_query("http://origin/a.bin"), "http://origin/a.bin");
}
