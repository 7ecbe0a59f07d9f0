use super::*;

fn read(text: &str) -> Scenario {
    Scenario::from_toml(text).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    Scenario::from_toml(text).unwrap_err().to_string()
}

#[test]
fn lines_as_the_options_have_them() {
    let scenario = read("wan = '4Mbit/20ms'\n[[group]]\nname = 'far'\nclients = 1\nlan = '1 Gbit/s / 5 ms'");
    assert_eq!(scenario.wan, Line::new(4_000_000, Duration::from_millis(20)));
    assert_eq!(scenario.cable(Member::Client(0)).delay, Duration::from_millis(5));
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(read(""), Scenario::branch());
    assert_eq!(read("# only words\n[wan]\n"), Scenario::branch());
}

#[test]
fn every_preset_can_be_run_and_the_default_says_what_it_says() {
    for (name, text) in PRESETS {
        assert_eq!(read(text).validate(), Ok(()), "{name}");
        assert_eq!(Scenario::preset(name), Some(read(text)));
    }
    assert_eq!(Scenario::preset("moon"), None);
    let branch = Scenario {
        clients: 10,
        content: ContentSource::Generated(4 << 20),
        wan: Line::new(2_000_000, Duration::from_millis(50)),
        lan: Line::new(1_000_000_000, Duration::from_micros(50)),
        start: Start::Staggered,
        seed: 1,
        ..Scenario::blank()
    };
    assert_eq!(Scenario::branch(), branch);
}

#[test]
fn what_is_said_takes_the_place_of_the_default_key_by_key() {
    let scenario = read(
        r#"
        loss = 2
        content-info = 2
        seed = "18446744073709551615"
        start = ["0", "1.5 s", "2min"]
        clients = 3
        content = { size = 100000 }
        wan = { rate = "512kbit", queue = "64 KiB" }
        limit = { time = "2 h", events = 1000 }

        [lan]
        delay = "1 ms"
        jitter = "0.5ms"
        loss = "0.1 %"
        duplicate = "1%"
        reorder = 2.5
        corrupt = "0"
        "#,
    );
    assert_eq!((scenario.seed, scenario.clients), (u64::MAX, 3));
    let times = [0, 1_500_000, 120_000_000].map(Duration::from_micros).to_vec();
    assert_eq!(scenario.start, Start::At(times));
    assert_eq!(scenario.content, ContentSource::Generated(100_000));
    assert_eq!(scenario.content_info, InfoVersion::V2);
    // The rest of the line is the default's.
    let wan = Line { queue: 65_536, ..Line::new(512_000, Duration::from_millis(50)) };
    assert_eq!(scenario.wan, wan);
    let percent = |percent| Probability::from_percent(percent).unwrap();
    let lan = Line {
        jitter: Duration::from_micros(500),
        loss: Some(percent(0.1)),
        duplicate: percent(1.0),
        reorder: percent(2.5),
        ..Line::new(1_000_000_000, Duration::from_millis(1))
    };
    assert_eq!(scenario.lan, lan);
    assert_eq!(scenario.link(wan).loss, percent(2.0));
    assert_eq!(scenario.link(lan).loss, percent(0.1));
    assert_eq!((scenario.time_limit, scenario.event_limit), (Some(Duration::from_secs(7200)), 1000));
}

const GROUPS: &str = r#"
lying = ["near", "client-4"]
[[group]]
name = "near"
clients = 2
[[group]]
name = "far"
clients = 2
lan = { rate = "10 Mbit/s" }
[[slow]]
who = "client-04"
rate = "64 kbit"
[[leave]]
who = ["far"]
at = "2 s"
back = "3 s"
[[leave]]
who = "client-01"
after = "1 s"
[[partition]]
between = ["far", ["origin", "near", "client-01"]]
from = "1 s"
"#;

#[test]
fn groups_have_the_first_clients_and_names_stand_for_all_of_them() {
    let scenario = read(GROUPS);
    assert_eq!(scenario.clients, 4);
    assert_eq!(
        [0, 2, 3].map(|client| scenario.cable(Member::Client(client)).rate),
        [1_000_000_000, 10_000_000, 64_000]
    );
    let leave = |client| Fault::Leave {
        client,
        clock: Clock::Run,
        at: Duration::from_secs(2),
        back: Some(Duration::from_secs(3)),
    };
    let [far, near] = [[2, 3].map(Member::Client), [0, 1].map(Member::Client)];
    let faults = [
        Fault::Corrupt { client: 0 },
        Fault::Corrupt { client: 1 },
        Fault::Corrupt { client: 3 },
        Fault::Slow { client: 3, rate: 64_000 },
        leave(2),
        leave(3),
        Fault::Leave { client: 0, clock: Clock::Download, at: Duration::from_secs(1), back: None },
        Fault::Partition {
            between: [far.to_vec(), [&[Member::Origin][..], &near].concat()],
            from: Duration::from_secs(1),
            to: None,
        },
    ];
    assert_eq!(scenario.faults, faults);
    // More clients than the groups have are in none.
    assert_eq!(read(&format!("clients = 6\n{GROUPS}")).cable(Member::Client(5)).rate, 1_000_000_000);
}

const MACHINES: &str = r#"
clients = 2
services = { lease = "20 s" }
[[leave]]
who = ["machine-01", "services", "client-02"]
at = "1 s"
back = "3 s"
[[leave]]
who = "origin"
at = "2 s"
[[cable]]
who = ["machine-01", "client-01"]
lan = { rate = "4 Mbit/s", delay = "2 ms", jitter = "1 ms", loss = 3, duplicate = 1, reorder = 2, queue = "9 KiB" }
[[flood]]
who = "machine-02"
at = "500 ms"
[[flood]]
who = "client-01"
at = 0
connections = 7
port = 8080
hold = "1 min"
"#;

#[test]
fn machines_and_other_hosts_are_called_by_their_names() {
    let scenario = read(MACHINES);
    assert_eq!(scenario.lease, Duration::from_secs(20));
    let seconds = Duration::from_secs;
    let away = |member| Fault::Unplug { member, at: seconds(1), back: Some(seconds(3)) };
    let lan = LineChange {
        rate: Some(4_000_000),
        delay: Some(Duration::from_millis(2)),
        jitter: Some(Duration::from_millis(1)),
        loss: Probability::from_percent(3.0),
        duplicate: Probability::from_percent(1.0),
        reorder: Probability::from_percent(2.0),
        corrupt: None,
        queue: Some(9 << 10),
    };
    let [machine, other] = [0, 1].map(Member::Machine);
    let faults = [
        away(machine),
        away(Member::Services),
        Fault::Leave { client: 1, clock: Clock::Run, at: seconds(1), back: Some(seconds(3)) },
        Fault::Unplug { member: Member::Origin, at: seconds(2), back: None },
        Fault::Cable { member: machine, lan },
        Fault::Cable { member: Member::Client(0), lan },
        Fault::Flood {
            member: other,
            at: Duration::from_millis(500),
            connections: FLOOD,
            port: 80,
            hold: FLOOD_HOLD,
        },
        Fault::Flood {
            member: Member::Client(0),
            at: seconds(0),
            connections: 7,
            port: 8080,
            hold: seconds(60),
        },
    ];
    assert_eq!(scenario.faults, faults);
    let rates = [machine, other, Member::Client(0), Member::Client(1)].map(|it| scenario.cable(it).rate);
    assert_eq!(rates, [4_000_000, 1_000_000_000, 4_000_000, 1_000_000_000]);
}

#[test]
fn what_is_written_gives_the_same_run() {
    let more = "start = 'together'\nseed = 7\nwan = { loss = 0.1, reorder = '3 %', queue = 1000 }\n\
                limit = { time = '90 s', events = 12 }\ncontent = { file = '/there/it \"is\"' }";
    let times = "clients = 2\ncontent-info = 2\nstart = ['1 s', 0]\nseed = '9999999999999999999'\nloss = '0.0000001 %'";
    let hosted = "caching = 'both-v1'\nleave = [{ who = 'hosted-cache', at = '1 s' }]";
    let machine =
        "caching = 'hosted'\nhosted-cache = 'machine-01'\nleave = [{ who = 'machine-01', at = '1 s' }]";
    for text in ["", PRESETS[1].1, PRESETS[3].1, more, times, GROUPS, MACHINES, hosted, machine] {
        let scenario = read(text);
        let written = scenario.to_toml().unwrap();
        assert_eq!(read(&written), scenario, "{written}");
    }
    let written = read("lan = { delay = 0, jitter = 0 }\nloss = 0.1").to_toml().unwrap();
    assert_eq!(
        written,
        "clients = 10\nseed = 1\nstart = \"staggered\"\nloss = \"0.1 %\"\ncontent-info = \"1\"\n\n\
         [content]\nsize = \"4 MiB\"\n\n\
         [wan]\nrate = \"2 Mbit/s\"\ndelay = \"50 ms\"\n\n[lan]\nrate = \"1 Gbit/s\"\ndelay = \"0 us\"\n"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, place, words) in [
        ("clients = 10\nspeed = 9", "2:1: ", "unknown field `speed`"),
        ("caching = 'some'", "1:11: ", "`some` is no way of caching, which are distributed, none, hosted"),
        ("leave = [{ who = 'hosted-cache', at = '1 s' }]", "1:18: ", "there is no hosted cache"),
        ("caching = 'hosted'\nhosted-cache = 'machine'", "2:16: ", "nobody is called `machine`"),
        (
            "caching = 'hosted'\nhosted-cache = 'client-01'",
            "2:16: ",
            "the hosted cache is `hosted-cache`, or `machine-01`, and cannot be client-01",
        ),
        ("caching = 'hosted'\nhosted-cache = 'machine-02'", "2:16: ", "cannot be machine-02"),
        ("hosted-cache = 'machine-01'", "1:16: ", "without `caching = \"hosted\"` nobody asks"),
        ("caching = 'both-v1'\nhosted-cache = 'machine-01'", "2:16: ", "of version 2 only"),
        (
            "caching = 'hosted'\nhosted-cache = 'machine-01'\nleave = [{ who = 'hosted-cache', at = '1 s' }]",
            "3:18: ",
            "the hosted cache is machine-01",
        ),
        ("[wan]\nrate = '2 Mbit'\n  latency = 5", "3:3: ", "unknown field `latency`, expected one of `rate`"),
        ("[wan]\nrate = '2 furlongs'", "2:8: ", "`2 furlongs` is not a rate"),
        ("[wan]\nrate = '2 Mbps'", "2:8: ", "bps is bytes to tc"),
        ("[wan]\nrate = 2", "2:8: ", "`2` is not a rate"),
        ("seed = 1\nlan = { 'délai' = 1, delay = 0 }", "2:9: ", "unknown field `délai`"),
        ("'é' = 1\nlan = { 'é' = 1 }", "2:9: ", "unknown field `é`"),
        ("content = { file = 'é', sise = 1 }", "1:25: ", "unknown field `sise`"),
        ("[lan]\ndelay = '50'", "2:9: ", "`50` is not a delay"),
        ("[lan]\ndelay = true", "2:9: ", "expected a delay such as \"50 ms\""),
        (
            "lan = { delay = '1 ms', jitter = '2 ms' }",
            "1:7: ",
            "a jitter of 2 ms is more than the delay of 1 ms",
        ),
        ("[wan]\ndelay = 0\nreorder = 1", "1:1: ", "without a delay no frame can overtake"),
        ("wan = '2Mbit'", "1:7: ", "RATE/DELAY"),
        ("seed = 1\nwan = 5", "2:7: ", "expected a line such as \"2Mbit/50ms\""),
        ("loss = '101 %'", "1:8: ", "between 0 and 100"),
        ("loss = '1 % 25 %'", "1:8: ", "`1 % 25 %` is not a number of per cent"),
        ("loss = nan", "1:8: ", "between 0 and 100"),
        ("clients = 0", "1:11: ", "at least one client"),
        ("clients = 1001", "1:11: ", "at most 1000 clients"),
        ("clients = -1", "1:11: ", "not a number from 1 to 1000"),
        ("clients = 2.5", "1:11: ", "not a number from 1 to 1000"),
        ("clients = 99999999999999999999", "1:11: ", "not a number from 1 to 1000"),
        ("limit = { events = 'many' }", "1:20: ", "not a number from 0 to"),
        ("clients = 3\nclients = 4", "2:1: ", "duplicate key"),
        ("clients = ", "1:11: ", ""),
        ("seed = -1", "1:8: ", "not a number from 0"),
        ("content-info = '2.1'", "1:16: ", "`2.1` is not a version of content information"),
        ("start = 'later'", "1:9: ", "`later` is not \"together\""),
        ("start = ['1 s', 'soon']", "1:9: ", "`soon` is not a time"),
        ("start = ['1 s', '2 s']", "1:9: ", "2 times of start for 10 clients"),
        ("content = { size = 1, file = 'a' }", "1:11: ", "either a `size` or a `file`"),
        ("[content]", "1:1: ", "either a `size` or a `file`"),
        ("[content]\nsize = '5 GiB'", "2:8: ", "too large"),
        ("[content]\nsize = 'big'", "2:8: ", "`big` is not a size"),
        ("[wan]\nqueue = '1025 GiB'", "2:9: ", "a queue or a store has at most 1 TiB"),
        ("[content]\nsize = '2 GiB'", "1:1: ", "10 clients would take 24.0 GiB"),
        ("[[group]]\nclients = 1", "1:1: ", "missing field `name`"),
        ("[[group]]\nname = 'a'\nclients = 0", "3:11: ", "at least one client"),
        ("[[group]]\nname = 'a'\nclients = 'two'", "3:11: ", "not a number from 1 to 1000"),
        ("clients = 1\n[[group]]\nname = 'a'\nclients = 2", "2:1: ", "have 2 clients, but there are only 1"),
        ("[[group]]\nname = 'client-01'\nclients = 2", "1:1: ", "cannot be called `client-01`"),
        (
            "[[group]]\nname = 'a'\nclients = 2\n[[group]]\nname = 'a'\nclients = 2",
            "4:1: ",
            "two groups called `a`",
        ),
        ("lying = ['client-11']", "1:9: ", "there is no client-11, only 10 clients"),
        ("lying = 'somebody'", "1:9: ", "nobody is called `somebody`"),
        ("lying = 'client-00'", "1:9: ", "nobody is called `client-00`"),
        ("lying = 'client-+1'", "1:9: ", "nobody is called `client-+1`"),
        ("lying = 'client-'", "1:9: ", "nobody is called `client-`"),
        ("lying = 'origin'", "1:9: ", "the origin is no client"),
        ("lying = 'machine-01'", "1:9: ", "machine-01 is no client"),
        ("[[slow]]\nwho = 'services'\nrate = '1 Mbit'", "2:7: ", "services is no client"),
        ("[[leave]]\nwho = 'machine-251'\nat = 0", "2:7: ", "at most 250 machines"),
        ("[[leave]]\nwho = 'machine-00'\nat = 0", "2:7: ", "nobody is called `machine-00`"),
        (
            "[[leave]]\nwho = 'origin'\nafter = '1 s'",
            "2:7: ",
            "origin has no download: it leaves `at` a time",
        ),
        (
            "[[leave]]\nwho = 'origin'\nat = '2 s'\nback = '1 s'",
            "2:7: ",
            "origin comes back before it leaves",
        ),
        (
            "[[leave]]\nwho = 'origin'\nat = 0\n[[leave]]\nwho = 'origin'\nat = '1 s'",
            "5:7: ",
            "origin leaves while it is away",
        ),
        ("[[cable]]\nwho = 'origin'\nlan = '1Mbit/1ms'", "2:7: ", "the cable of the origin is the `wan`"),
        ("[[cable]]\nwho = 'services'\nlan = '1Mbit/1ms'", "2:7: ", "the cable of services is as the `lan`"),
        (
            "[[cable]]\nwho = ['machine-01', 'client-11']\nlan = '1Mbit/1ms'",
            "2:7: ",
            "there is no client-11, only 10 clients",
        ),
        (
            "[[cable]]\nwho = 'machine-01'\nlan = { jitter = '1 s' }",
            "2:7: ",
            "a jitter of 1 s is more than the delay",
        ),
        (
            "[[cable]]\nwho = 'machine-01'\nlan = {}\n[[cable]]\nwho = 'machine-1'\nlan = {}",
            "5:7: ",
            "machine-01 has two cables",
        ),
        ("[[flood]]\nwho = 'origin'\nat = 0", "2:7: ", "a machine or a hosted cache, not for origin"),
        ("[[flood]]\nwho = 'client-01'", "1:1: ", "missing field `at`"),
        ("[[flood]]\nwho = 'client-01'\nat = 0\nconnections = 10001", "2:7: ", "1 to 10000 connections"),
        (
            "[[flood]]\nwho = 'client-01'\nat = 0\nconnections = 'all'",
            "4:15: ",
            "not a number of connections",
        ),
        ("[[flood]]\nwho = 'client-01'\nat = 0\nport = 65536", "4:8: ", "not the number of a port"),
        ("[[flood]]\nwho = 'client-01'\nat = 0\nport = 0", "2:7: ", "nobody listens on port 0"),
        ("services = { lease = '1.5 s' }", "1:12: ", "whole seconds, from 1 to 604800"),
        ("services = { lease = 0 }", "1:12: ", "whole seconds, from 1 to 604800"),
        ("services = {}", "1:12: ", "missing field `lease`"),
        ("lying = 5", "1:9: ", "expected a name such as \"client-01\""),
        ("[[leave]]\nwho = 'client-01'", "1:1: ", "either `at` a time or `after`"),
        ("[[leave]]\nwho = 'client-01'\nat = '1 s'\nafter = '1 s'", "1:1: ", "either `at` a time or `after`"),
        (
            "[[leave]]\nwho = 'client-01'\nat = '2 s'\nback = '1 s'",
            "2:7: ",
            "client-01 comes back before it leaves",
        ),
        ("[[partition]]\nbetween = ['client-01']\nfrom = 0", "2:11: ", "length 1"),
        ("[[partition]]\nbetween = ['client-01', []]\nfrom = 0", "2:11: ", "a side of a partition is empty"),
        (
            "[[partition]]\nbetween = ['client-01', ['origin', 'client-01']]\nfrom = 0",
            "2:11: ",
            "client-01 is on both sides",
        ),
        (
            "[[partition]]\nbetween = ['client-01', 'origin']\nfrom = '1 s'\nto = '1 s'",
            "2:11: ",
            "ends before it begins",
        ),
        ("[[slow]]\nwho = 'client-01'\nrate = '0 bit'", "3:8: ", "between 1 bit/s"),
        (
            "[[slow]]\nwho = 'client-01'\nrate = '1 Mbit'\n[[slow]]\nwho = ['client-02', 'client-01']\nrate = '2 Mbit'",
            "5:7: ",
            "client-01 is slow twice",
        ),
        (
            "[[small]]\nwho = 'client-01'\nstore = '63 KiB'",
            "2:7: ",
            "a store of 63 KiB has no room for a block",
        ),
        (
            "content-info = 2\n[[small]]\nwho = 'client-01'\nstore = '64 KiB'",
            "3:7: ",
            "no room for a block of content information 2.0",
        ),
        (
            "[[small]]\nwho = ['client-01']\nstore = '1 MiB'\n[[small]]\nwho = 'client-1'\nstore = '5 GiB'",
            "5:7: ",
            "client-01 is small twice",
        ),
    ] {
        let error = refused(text);
        assert!(error.starts_with(place) && error.contains(words), "{text:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{text:?}: {error}");
    }
}
