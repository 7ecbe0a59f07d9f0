//! Scenarios as TOML: read, laid over the default, and written so that the run can be repeated.
//!
//! Whatever is wrong with a file is one line with its place: a key nobody knows, a unit that is none, values
//! that contradict each other.

mod words;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use peerdist_core::encoding::InfoVersion;
use peerdist_core::time::Duration;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use self::words::{
    CachingValue, Clients, Connections, ContentInfo, Delay, Events, HostName, Names, Port, Rate, Room,
    SeedValue, Share, Size, StartValue, Time,
};
use super::{
    Caching, Clock, ContentSource, FLOOD, FLOOD_HOLD, FLOOD_PORT, Fault, Group, InvalidScenario, LEASE, Line,
    LineChange, Member, PRESETS, Part, Scenario, Start, invalid, parse_line,
};
use crate::link::{DEFAULT_QUEUE, Probability};

/// Bytes that a scenario file can have: times of start for all clients, and as many faults.
const MAX_FILE: u64 = 1 << 20;

/// What is wrong with the text of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {reason}")]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Why.
    pub reason: String,
}

/// Why there is no scenario in a file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no scenario.
    #[error("{}:{error}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: FileError,
    },
}

/// A scenario file. What it does not say is as in the scenario underneath.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    clients: Option<Spanned<Clients>>,
    seed: Option<SeedValue>,
    start: Option<Spanned<StartValue>>,
    loss: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lying: Option<Spanned<Names>>,
    #[serde(rename = "content-info")]
    content_info: Option<ContentInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caching: Option<CachingValue>,
    #[serde(rename = "hosted-cache", skip_serializing_if = "Option::is_none")]
    hosted_cache: Option<Spanned<HostName>>,
    content: Option<Spanned<ContentKeys>>,
    wan: Option<Spanned<LineValue>>,
    lan: Option<Spanned<LineValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Spanned<ServicesKeys>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<LimitKeys>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    group: Vec<Spanned<GroupKeys>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slow: Vec<Spanned<SlowKeys>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    small: Vec<Spanned<SmallKeys>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leave: Vec<Spanned<LeaveKeys>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cable: Vec<Spanned<CableKeys>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flood: Vec<Spanned<FloodKeys>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partition: Vec<Spanned<PartitionKeys>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ContentKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct LineKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<Delay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<Delay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reorder: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrupt: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Room>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LimitKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Events>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct GroupKeys {
    name: String,
    clients: Clients,
    #[serde(skip_serializing_if = "Option::is_none")]
    lan: Option<LineValue>,
}

/// The keys of a line, or as the options have it: `RATE/DELAY`.
#[derive(Serialize)]
#[serde(transparent)]
struct LineValue(LineKeys);

impl<'de> Deserialize<'de> for LineValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = LineKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line such as \"2Mbit/50ms\", or its keys")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<LineKeys, E> {
                let Line { rate, delay, .. } = parse_line(text).map_err(E::custom)?;
                let (rate, delay) = (Some(Rate(rate)), Some(Delay(delay)));
                Ok(LineKeys { rate, delay, ..LineKeys::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LineKeys, A::Error> {
                LineKeys::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(Value).map(Self)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SlowKeys {
    who: Spanned<Names>,
    rate: Rate,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SmallKeys {
    who: Spanned<Names>,
    store: Room,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LeaveKeys {
    who: Spanned<Names>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    back: Option<Time>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ServicesKeys {
    lease: Time,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CableKeys {
    who: Spanned<Names>,
    lan: LineValue,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FloodKeys {
    who: Spanned<Names>,
    at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Connections>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Time>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PartitionKeys {
    between: Spanned<[Names; 2]>,
    from: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Time>,
}

impl Scenario {
    /// The scenario of that name among [`PRESETS`].
    pub fn preset(name: &str) -> Option<Self> {
        let (_, text) = PRESETS.iter().find(|(preset, _)| *preset == name)?;
        Self::from_toml(text).ok()
    }

    /// The scenario in a file. The file that it names as content is looked for from the folder it is in itself.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let mut text = String::new();
        // A device may have no end.
        let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
        let read = read.and_then(|length| match length as u64 > MAX_FILE {
            true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a scenario")),
            false => Ok(()),
        });
        read.map_err(|error| LoadError::Read { path: path.into(), error })?;
        let scenario = Self::from_toml(&text);
        let mut scenario = scenario.map_err(|error| LoadError::Wrong { path: path.into(), error })?;
        if let (ContentSource::File(content), Some(folder)) = (&mut scenario.content, path.parent()) {
            *content = folder.join(&*content);
        }
        Ok(scenario)
    }

    /// The scenario in `text`, laid over the default.
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        let base = document(PRESETS[0].1)?.apply(PRESETS[0].1, Self::blank())?;
        document(text)?.apply(text, base)
    }

    /// The whole scenario as TOML; what was given as names of groups has become names of clients.
    ///
    /// It fails if the path of the content is not UTF-8, or not to be found from here.
    pub fn to_toml(&self) -> Result<String, InvalidScenario> {
        let wrong =
            |error: &dyn fmt::Display| InvalidScenario { reason: error.to_string(), part: Part::Content };
        toml::to_string(&Document::of(self).map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))
    }

    /// What the default is laid over.
    pub(super) fn blank() -> Self {
        Self {
            clients: 0,
            content: ContentSource::Generated(0),
            content_info: InfoVersion::V1,
            caching: Caching::Distributed,
            hosted_cache: Member::Hosted,
            wan: Line::new(0, Duration::ZERO),
            lan: Line::new(0, Duration::ZERO),
            loss: Probability::NEVER,
            start: Start::Together,
            seed: 0,
            groups: Vec::new(),
            faults: Vec::new(),
            time_limit: None,
            lease: LEASE,
            event_limit: 4_000_000_000,
        }
    }
}

fn document(text: &str) -> Result<Document, FileError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let reason: Vec<&str> = error.message().lines().map(str::trim).collect();
        error_at(text, error.span().map_or(text.len(), |span| span.start), reason.join("; "))
    })
}

fn error_at(text: &str, offset: usize, reason: impl Into<String>) -> FileError {
    let before = text.get(..offset).unwrap_or(text);
    let (line, start) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |end| end + 1));
    FileError { line, column: before[start..].chars().count() + 1, reason: reason.into() }
}

/// Where what a scenario has came from.
#[derive(Default)]
struct Places {
    clients: Option<Range<usize>>,
    content: Option<Range<usize>>,
    wan: Option<Range<usize>>,
    lan: Option<Range<usize>>,
    start: Option<Range<usize>>,
    services: Option<Range<usize>>,
    hosted_cache: Option<Range<usize>>,
    groups: Vec<Range<usize>>,
    faults: Vec<Range<usize>>,
}

impl Places {
    fn of(&self, part: Part) -> usize {
        let range = match part {
            Part::Value => None,
            Part::Clients => self.clients.as_ref(),
            Part::Content => self.content.as_ref().or(self.clients.as_ref()),
            Part::Wan => self.wan.as_ref(),
            Part::Lan => self.lan.as_ref(),
            Part::Start => self.start.as_ref().or(self.clients.as_ref()),
            Part::Services => self.services.as_ref(),
            Part::HostedCache => self.hosted_cache.as_ref(),
            Part::Group(index) => self.groups.get(index),
            Part::Fault(index) => self.faults.get(index),
        };
        range.map_or(0, |range| range.start)
    }
}

impl Document {
    /// Lays this over `scenario`; `text` is what it was read from.
    fn apply(self, text: &str, mut scenario: Scenario) -> Result<Scenario, FileError> {
        let at = |place: &Range<usize>| {
            let start = place.start;
            move |error: InvalidScenario| error_at(text, start, error.reason)
        };
        let mut places = Places {
            clients: self.clients.as_ref().map(Spanned::span),
            content: self.content.as_ref().map(Spanned::span),
            wan: self.wan.as_ref().map(Spanned::span),
            lan: self.lan.as_ref().map(Spanned::span),
            start: self.start.as_ref().map(Spanned::span),
            services: self.services.as_ref().map(Spanned::span),
            hosted_cache: self.hosted_cache.as_ref().map(Spanned::span),
            groups: self.group.iter().map(Spanned::span).collect(),
            faults: Vec::new(),
        };
        let groups = self.group.into_iter().map(|group| group.into_inner().group());
        scenario.groups = groups.collect();
        if let Some(clients) = self.clients {
            scenario.clients = clients.into_inner().0;
        } else if !scenario.groups.is_empty() {
            scenario.clients = scenario.groups.iter().fold(0, |sum, group| sum.saturating_add(group.clients));
            places.clients = places.groups.first().cloned();
        }
        if let Some(SeedValue(seed)) = self.seed {
            scenario.seed = seed;
        }
        if let Some(start) = self.start {
            scenario.start = start.into_inner().0;
        }
        if let Some(Share(loss)) = self.loss {
            scenario.loss = loss;
        }
        if let Some(ContentInfo(version)) = self.content_info {
            scenario.content_info = version;
        }
        if let Some(CachingValue(caching)) = self.caching {
            scenario.caching = caching;
        }
        if let Some(host) = self.hosted_cache {
            let HostName(member) = host.into_inner();
            scenario.hosted_cache = member;
        }
        if let Some(content) = self.content {
            let place = content.span();
            scenario.content = content.into_inner().source().map_err(at(&place))?;
        }
        for (keys, line) in [(self.wan, &mut scenario.wan), (self.lan, &mut scenario.lan)] {
            if let Some(keys) = keys {
                *line = keys.into_inner().0.change().over(*line);
            }
        }
        if let Some(services) = self.services {
            let ServicesKeys { lease: Time(lease) } = services.into_inner();
            scenario.lease = lease;
        }
        if let Some(LimitKeys { time, events }) = self.limit {
            scenario.time_limit = time.map(|Time(time)| time).or(scenario.time_limit);
            scenario.event_limit = events.map_or(scenario.event_limit, |Events(events)| events);
        }
        // Before the names of clients are looked up: the groups must be right for that.
        let check = |scenario: &Scenario, places: &Places| {
            scenario.validate().map_err(|error| error_at(text, places.of(error.part), error.reason))
        };
        check(&scenario, &places)?;

        let groups = scenario.groups.clone();
        let mut add = |fault, place: &Range<usize>| {
            scenario.faults.push(fault);
            places.faults.push(place.clone());
        };
        if let Some(names) = &self.lying {
            for client in names.get_ref().clients(&groups).map_err(at(&names.span()))? {
                add(Fault::Corrupt { client }, &names.span());
            }
        }
        for slow in self.slow {
            let SlowKeys { who, rate: Rate(rate) } = slow.into_inner();
            for client in who.get_ref().clients(&groups).map_err(at(&who.span()))? {
                add(Fault::Slow { client, rate }, &who.span());
            }
        }
        for small in self.small {
            let SmallKeys { who, store: Room(store) } = small.into_inner();
            for client in who.get_ref().clients(&groups).map_err(at(&who.span()))? {
                add(Fault::Small { client, store }, &who.span());
            }
        }
        for leave in self.leave {
            let place = leave.span();
            let LeaveKeys { who, at: run, after, back } = leave.into_inner();
            let (clock, Time(when)) = match (run, after) {
                (Some(run), None) => (Clock::Run, run),
                (None, Some(after)) => (Clock::Download, after),
                _ => {
                    let reason = "who leaves does so either `at` a time or `after` its download began";
                    return Err(error_at(text, place.start, reason));
                }
            };
            let back = back.map(|Time(back)| back);
            for member in who.get_ref().members(&groups).map_err(at(&who.span()))? {
                let fault = match (member, clock) {
                    (Member::Client(client), clock) => Fault::Leave { client, clock, at: when, back },
                    (member, Clock::Run) => Fault::Unplug { member, at: when, back },
                    (member, Clock::Download) => {
                        let reason = format!("{member} has no download: it leaves `at` a time");
                        return Err(error_at(text, who.span().start, reason));
                    }
                };
                add(fault, &who.span());
            }
        }
        for cable in self.cable {
            let CableKeys { who, lan: LineValue(lan) } = cable.into_inner();
            let lan = lan.change();
            for member in who.get_ref().members(&groups).map_err(at(&who.span()))? {
                add(Fault::Cable { member, lan }, &who.span());
            }
        }
        for flood in self.flood {
            let FloodKeys { who, at: Time(when), connections, port, hold } = flood.into_inner();
            let connections = connections.map_or(FLOOD, |Connections(connections)| connections);
            let port = port.map_or(FLOOD_PORT, |Port(port)| port);
            let hold = hold.map_or(FLOOD_HOLD, |Time(hold)| hold);
            for member in who.get_ref().members(&groups).map_err(at(&who.span()))? {
                add(Fault::Flood { member, at: when, connections, port, hold }, &who.span());
            }
        }
        for partition in self.partition {
            let PartitionKeys { between, from: Time(from), to } = partition.into_inner();
            let place = between.span();
            let [one, other] = between.into_inner();
            let members = |names: Names| names.members(&groups).map_err(at(&place));
            let between = [members(one)?, members(other)?];
            add(Fault::Partition { between, from, to: to.map(|Time(to)| to) }, &place);
        }
        check(&scenario, &places)?;
        Ok(scenario)
    }

    fn of(scenario: &Scenario) -> Result<Self, InvalidScenario> {
        let Scenario { clients, wan, lan, loss, start, seed, groups, faults, .. } = scenario;
        let mut document = Self {
            clients: Some(unplaced(Clients(*clients))),
            seed: Some(SeedValue(*seed)),
            start: Some(unplaced(StartValue(start.clone()))),
            loss: Some(Share(*loss)),
            content_info: Some(ContentInfo(scenario.content_info)),
            content: Some(unplaced(ContentKeys::of(&scenario.content)?)),
            wan: Some(unplaced(LineValue(LineKeys::of(wan)))),
            lan: Some(unplaced(LineValue(LineKeys::of(lan)))),
            group: groups.iter().map(|group| unplaced(GroupKeys::of(group))).collect(),
            ..Self::default()
        };
        let usual = scenario.caching == Caching::Distributed;
        document.caching = (!usual).then_some(CachingValue(scenario.caching));
        let usual = scenario.hosted_cache == Member::Hosted;
        document.hosted_cache = (!usual).then(|| unplaced(HostName(scenario.hosted_cache)));
        let lease = (scenario.lease != LEASE).then_some(Time(scenario.lease));
        document.services = lease.map(|lease| unplaced(ServicesKeys { lease }));
        let standard = Scenario::blank().event_limit;
        let events = (scenario.event_limit != standard).then_some(Events(scenario.event_limit));
        if events.is_some() || scenario.time_limit.is_some() {
            document.limit = Some(LimitKeys { time: scenario.time_limit.map(Time), events });
        }
        let mut lying = Vec::new();
        for fault in faults {
            match fault {
                Fault::Corrupt { client } => lying.push(Member::Client(*client)),
                Fault::Slow { client, rate } => {
                    let who = unplaced(Names::of(&[Member::Client(*client)]));
                    document.slow.push(unplaced(SlowKeys { who, rate: Rate(*rate) }));
                }
                Fault::Small { client, store } => {
                    let who = unplaced(Names::of(&[Member::Client(*client)]));
                    document.small.push(unplaced(SmallKeys { who, store: Room(*store) }));
                }
                Fault::Leave { client, clock, at, back } => {
                    let who = unplaced(Names::of(&[Member::Client(*client)]));
                    let (at, after) = match clock {
                        Clock::Run => (Some(Time(*at)), None),
                        Clock::Download => (None, Some(Time(*at))),
                    };
                    document.leave.push(unplaced(LeaveKeys { who, at, after, back: back.map(Time) }));
                }
                Fault::Unplug { member, at, back } => {
                    let who = unplaced(Names::of(&[*member]));
                    let keys = LeaveKeys { who, at: Some(Time(*at)), after: None, back: back.map(Time) };
                    document.leave.push(unplaced(keys));
                }
                Fault::Cable { member, lan } => {
                    let who = unplaced(Names::of(&[*member]));
                    let lan = LineValue(LineKeys::of_change(lan));
                    document.cable.push(unplaced(CableKeys { who, lan }));
                }
                Fault::Flood { member, at, connections, port, hold } => {
                    let who = unplaced(Names::of(&[*member]));
                    let connections = (*connections != FLOOD).then_some(Connections(*connections));
                    let port = (*port != FLOOD_PORT).then_some(Port(*port));
                    let hold = (*hold != FLOOD_HOLD).then_some(Time(*hold));
                    let keys = FloodKeys { who, at: Time(*at), connections, port, hold };
                    document.flood.push(unplaced(keys));
                }
                Fault::Partition { between: [one, other], from, to } => {
                    let between = unplaced([Names::of(one), Names::of(other)]);
                    let keys = PartitionKeys { between, from: Time(*from), to: to.map(Time) };
                    document.partition.push(unplaced(keys));
                }
            }
        }
        document.lying = (!lying.is_empty()).then(|| unplaced(Names::of(&lying)));
        Ok(document)
    }
}

/// A value that was not read from anywhere.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

impl ContentKeys {
    fn source(self) -> Result<ContentSource, InvalidScenario> {
        match (self.size, self.file) {
            (Some(Size(size)), None) => Ok(ContentSource::Generated(size)),
            (None, Some(file)) => Ok(ContentSource::File(file)),
            _ => invalid("content has either a `size` or a `file`"),
        }
    }

    fn of(source: &ContentSource) -> Result<Self, InvalidScenario> {
        match source {
            ContentSource::Generated(size) => Ok(Self { size: Some(Size(*size)), file: None }),
            // The text may be read from any folder.
            ContentSource::File(path) => match std::path::absolute(path) {
                Ok(file) => Ok(Self { size: None, file: Some(file) }),
                Err(error) => invalid(format!("{}: {error}", path.display())),
            },
        }
    }
}

impl LineKeys {
    fn change(self) -> LineChange {
        let share = |share: Option<Share>| share.map(|Share(share)| share);
        let delay = |delay: Option<Delay>| delay.map(|Delay(delay)| delay);
        LineChange {
            rate: self.rate.map(|Rate(rate)| rate),
            delay: delay(self.delay),
            jitter: delay(self.jitter),
            loss: share(self.loss),
            duplicate: share(self.duplicate),
            reorder: share(self.reorder),
            corrupt: share(self.corrupt),
            queue: self.queue.map(|Room(queue)| queue),
        }
    }

    fn of_change(change: &LineChange) -> Self {
        Self {
            rate: change.rate.map(Rate),
            delay: change.delay.map(Delay),
            jitter: change.jitter.map(Delay),
            loss: change.loss.map(Share),
            duplicate: change.duplicate.map(Share),
            reorder: change.reorder.map(Share),
            corrupt: change.corrupt.map(Share),
            queue: change.queue.map(Room),
        }
    }

    /// The rate, the delay, and what is not as usual.
    fn of(line: &Line) -> Self {
        let share = |share| (share != Probability::NEVER).then_some(share);
        Self::of_change(&LineChange {
            rate: Some(line.rate),
            delay: Some(line.delay),
            jitter: (line.jitter != Duration::ZERO).then_some(line.jitter),
            loss: line.loss,
            duplicate: share(line.duplicate),
            reorder: share(line.reorder),
            corrupt: share(line.corrupt),
            queue: (line.queue != DEFAULT_QUEUE).then_some(line.queue),
        })
    }
}

impl GroupKeys {
    fn group(self) -> Group {
        let lan = self.lan.map(|LineValue(keys)| keys.change()).unwrap_or_default();
        Group { name: self.name, clients: self.clients.0, lan }
    }

    fn of(group: &Group) -> Self {
        let differs = group.lan != LineChange::default();
        let lan = differs.then(|| LineValue(LineKeys::of_change(&group.lan)));
        Self { name: group.name.clone(), clients: Clients(group.clients), lan }
    }
}

impl Names {
    fn of(members: &[Member]) -> Self {
        Self(members.iter().map(Member::to_string).collect())
    }

    /// Who they are, each once.
    fn members(&self, groups: &[Group]) -> Result<Vec<Member>, InvalidScenario> {
        let mut members = Vec::new();
        for name in &self.0 {
            let mut first = 0;
            let mut ranges = groups.iter().map(|group| {
                first += group.clients;
                (&group.name, first - group.clients..first)
            });
            let named = match ranges.find(|(group, _)| *group == name) {
                Some((_, clients)) => clients.map(Member::Client).collect(),
                None => vec![member(name).map_or_else(|| invalid(format!("nobody is called `{name}`")), Ok)?],
            };
            members.extend(named.into_iter().filter(|member| !members.contains(member)).collect::<Vec<_>>());
        }
        Ok(members)
    }

    fn clients(&self, groups: &[Group]) -> Result<Vec<usize>, InvalidScenario> {
        let clients = self.members(groups)?.into_iter().map(|member| match member {
            Member::Client(client) => Ok(client),
            Member::Origin => invalid("the origin is no client"),
            Member::Machine(_) | Member::Services | Member::Hosted => {
                invalid(format!("{member} is no client"))
            }
        });
        clients.collect()
    }
}

/// The host of that name: `origin`, `services`, `hosted-cache`, `client-01`, `machine-01` and so on.
pub fn member(name: &str) -> Option<Member> {
    let numbered = |prefix| {
        let digits: &str = name.strip_prefix(prefix)?;
        let number = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<usize>());
        number?.ok()?.checked_sub(1)
    };
    match name {
        "origin" => Some(Member::Origin),
        "services" => Some(Member::Services),
        "hosted-cache" => Some(Member::Hosted),
        _ => {
            let client = numbered("client-").map(Member::Client);
            client.or_else(|| numbered("machine-").map(Member::Machine))
        }
    }
}

#[cfg(test)]
mod tests;
