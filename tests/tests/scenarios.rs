//! Scenarios from files (`tests/scenarios`), in which much goes wrong: all who can get the right bytes.

use std::path::Path;

use peerdist_sim::report::{Ending, Report};
use peerdist_sim::run::{RunOptions, run};
use peerdist_sim::scenario::{PRESETS, Scenario};
use peerdist_sim::world::Outcome;

fn scenario(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn report(scenario: &Scenario) -> Report {
    let report = run(scenario, &RunOptions::default(), &mut ()).expect("a run");
    assert_eq!(report.outcome, Outcome::Done);
    consistent(&report);
    report
}

/// The timeline adds up to what each client says, and lies within the run.
fn consistent(report: &Report) {
    for client in &report.clients {
        let sum = |from: &dyn Fn(&str) -> bool| {
            let services = report.timeline.iter().filter(|service| service.to == client.name);
            let services = services.filter(|service| from(&service.from));
            services.fold((0, 0), |sum, service| (sum.0 + service.bytes, sum.1 + service.blocks))
        };
        let (bytes, blocks) = (client.bytes, client.blocks);
        let name = client.name.as_str();
        assert_eq!(sum(&|from| from == "origin"), (bytes.origin, blocks.origin), "{name}");
        assert_eq!(sum(&|from| from == name), (bytes.local, blocks.local), "{name}");
        let hosted = |from: &str| from == "hosted-cache";
        assert_eq!(sum(&hosted), (bytes.hosted, blocks.hosted), "{name}");
        let peers = sum(&|from| from != "origin" && from != name && !hosted(from));
        assert_eq!(peers, (bytes.peer, blocks.peer), "{name}");
    }
    for service in &report.timeline {
        assert!(service.first_ms <= service.last_ms && service.last_ms <= report.virtual_ms, "{service:?}");
    }
}

/// Who got how many bytes from whom.
fn given(report: &Report, from: &str, to: &str) -> u64 {
    let mut services = report.timeline.iter();
    services.find(|service| service.from == from && service.to == to).map_or(0, |service| service.bytes)
}

#[test]
fn loss_copies_overtaking_and_flipped_bits_cost_time_and_nothing_else() {
    let mishaps = scenario("mishaps.toml");
    let first = report(&mishaps);
    assert!(first.ok(), "{}", first.to_json());
    assert_eq!(first.to_json(), report(&mishaps).to_json(), "a scenario repeats itself");
    let other = report(&Scenario { seed: 4, ..mishaps });
    assert!(other.ok() && other.trace_sha256 != first.trace_sha256);
}

#[test]
fn everything_at_once_repeats_itself_from_the_file_and_from_what_is_printed() {
    let rough = Scenario::preset(PRESETS[1].0).expect("it comes with the package");
    let first = report(&rough);
    assert!(first.ok(), "{}", first.to_json());
    let printed = Scenario::from_toml(&rough.to_toml().expect("no file is named")).expect("a scenario");
    assert_eq!(first.to_json(), report(&printed).to_json());
}

/// In both versions of the protocol: what the first client got, the others have from the hosted cache.
#[test]
fn a_hosted_cache_gives_what_one_client_got() {
    for name in ["hosted", "hosted-v1"] {
        let scenario = Scenario { clients: 3, ..Scenario::preset(name).expect("it comes with the package") };
        let report = report(&scenario);
        assert!(report.ok(), "{}", report.to_json());
        let [first, others @ ..] = &report.clients[..] else { panic!() };
        assert_eq!((first.bytes.origin, first.bytes.hosted), (report.content.bytes, 0), "{name}");
        assert!(
            others.iter().all(|other| other.bytes.hosted == report.content.bytes),
            "{}",
            report.to_json()
        );
    }
}

/// It is switched off while it gives: who has no hosted cache any more has the origin.
#[test]
fn a_hosted_cache_may_go() {
    let text = "caching = 'hosted'\nclients = 3\nlan = '10Mbit/1ms'\n\
                [[leave]]\nwho = 'hosted-cache'\nat = '24 s'";
    let report = report(&Scenario::from_toml(text).expect("a scenario"));
    assert!(report.ok(), "{}", report.to_json());
    let second = report.clients[1].bytes;
    assert!(second.hosted > 0 && second.origin > 0, "{second:?}");
    assert_eq!(report.clients[2].bytes.origin, report.content.bytes);
}

/// With peers as well, who is near is asked first.
#[test]
fn peers_come_before_a_hosted_cache() {
    let report = report(&Scenario::from_toml("caching = 'both'\nclients = 3").expect("a scenario"));
    assert!(report.ok(), "{}", report.to_json());
    assert_eq!(report.clients[2].bytes.peer, report.content.bytes);
}

#[test]
fn a_partition_heals() {
    let report = report(&scenario("partition.toml"));
    assert!(report.ok(), "{}", report.to_json());
    let across = |service: &&peerdist_sim::report::Service| {
        let desk = |name: &str| ["client-01", "client-02", "client-03"].contains(&name);
        service.from != "origin" && desk(&service.from) != desk(&service.to)
    };
    let across: Vec<_> = report.timeline.iter().filter(across).collect();
    assert!(!across.is_empty() && across.iter().all(|service| service.first_ms >= 13_000), "{across:?}");
    // Meanwhile the annex had the origin.
    assert!(given(&report, "origin", "client-04") + given(&report, "origin", "client-05") > 0);
}

#[test]
fn who_leaves_in_the_middle_does_not_keep_the_others_from_anything() {
    let report = report(&scenario("departure.toml"));
    let endings: Vec<Ending> = report.clients.iter().map(|client| client.ending).collect();
    assert_eq!(
        endings,
        [Ending::Right, Ending::Killed, Ending::Right, Ending::Right],
        "{}",
        report.to_json()
    );
    // The first came back, for its own content and to serve.
    assert!(report.clients[0].virtual_ms > 5_000);
    assert!(given(&report, "client-01", "client-02") > 0);
    assert!(given(&report, "client-01", "client-03") > 0);
}

#[test]
fn a_liar_and_a_slow_peer_are_got_along_with() {
    let report = report(&scenario("liars.toml"));
    assert!(report.ok(), "{}", report.to_json());
    assert_eq!(report.timeline.iter().filter(|service| service.from == "client-01").count(), 0);
    assert!(report.clients.iter().any(|client| client.reasons.contains_key("10.0.1.1: bad block")));
}
