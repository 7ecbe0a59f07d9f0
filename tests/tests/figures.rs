//! What downloads are meant to reach, in virtual time and bytes: the same on every machine.

use std::path::Path;

use peerdist_core::encoding::InfoVersion;
use peerdist_core::time::Duration;
use peerdist_sim::report::Report;
use peerdist_sim::run::{RunOptions, run};
use peerdist_sim::scenario::{ContentSource, Line, Scenario, Start, parse_loss};

fn report(scenario: &Scenario) -> Report {
    let report = run(scenario, &RunOptions::default(), &mut ()).expect("a run");
    assert!(report.ok());
    report
}

/// The fastest that peers gave a client of this scenario its blocks, in bits per second.
fn rate(scenario: &Scenario) -> u64 {
    let report = report(scenario);
    report.clients.iter().filter_map(|client| report.rate_from_peers(&client.name)).max().expect("a rate")
}

fn from_file(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn one_peer_fills_a_gigabit() {
    let branch = Scenario::branch();
    let line = |line, delay| Line { delay: Duration::from_micros(delay), rate: 1_000_000_000, ..line };
    let (wan, lan) = (line(branch.wan, 1_000), line(branch.lan, 200));
    let content = ContentSource::Generated(64 << 20);
    let scenario = Scenario { clients: 2, content, wan, lan, ..branch };
    let rate = rate(&scenario);
    assert!(rate >= 850_000_000, "{rate} bit/s");
}

#[test]
fn four_peers_are_nearly_four_times_as_fast_as_one() {
    let (one, four) = (rate(&from_file("one-peer.toml")), rate(&from_file("four-peers.toml")));
    assert!(four * 10 >= one * 35, "{one} and {four} bit/s");
}

#[test]
fn a_crowd_fetches_the_content_about_once() {
    for (loss, most) in [("0", 1.3), ("2", 1.5)] {
        let content = ContentSource::Generated(20 << 20);
        let loss = parse_loss(loss).expect("a share");
        let crowd = Scenario { clients: 20, content, loss, start: Start::Together, ..Scenario::branch() };
        let report = report(&crowd);
        let factor = report.wan.bytes as f64 / report.content.bytes as f64;
        assert!(factor <= most, "{factor} times the content");
    }
}

/// Nobody sees the others; what they bring to the hosted cache is all that they know of each other.
#[test]
fn a_crowd_that_shares_a_hosted_cache_fetches_the_content_about_once() {
    let hosted = Scenario::preset("hosted").expect("it comes with the package");
    let content = ContentSource::Generated(20 << 20);
    let report = report(&Scenario { clients: 100, content, start: Start::Together, ..hosted });
    let factor = report.wan.bytes as f64 / report.content.bytes as f64;
    assert!(factor <= 1.3, "{factor} times the content");
    assert!(report.clients.iter().all(|client| client.bytes.peer == 0));
}

/// Content information 2.0 has no lists of blocks, so that what the others bring is seen later: two get more of the same,
/// and many hardly more than that.
#[test]
fn a_crowd_that_shares_a_hosted_cache_and_has_no_lists() {
    for (clients, most) in [(1, 1.01), (2, 1.3), (30, 1.8)] {
        let hosted = Scenario::preset("hosted").expect("it comes with the package");
        let (content, content_info) = (ContentSource::Generated(5 << 20), InfoVersion::V2);
        let report = report(&Scenario { clients, content, content_info, start: Start::Together, ..hosted });
        let factor = report.wan.bytes as f64 / report.content.bytes as f64;
        assert!(factor <= most, "{clients} clients: {factor} times the content");
    }
}
