//! What of a scenario can be run.

use peerdist_core::encoding::InfoVersion;
use peerdist_core::hosted::wire::Version;
use peerdist_core::limits::{BLOCK_BYTES, MAX_SEGMENT_V2_BYTES};
use peerdist_core::time::Duration;

use super::{
    Caching, ContentSource, Fault, Group, InvalidScenario, Line, LineChange, MAX_CLIENTS, MAX_CONTENT,
    MAX_FLOOD, MAX_MACHINES, MAX_MEMORY, Member, Part, Scenario, Start, count, file, invalid, units,
};
use crate::link::Probability;
use crate::report;

/// The longest lease: a week.
const MAX_LEASE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Scenario {
    /// Whether this can be run at all.
    pub fn validate(&self) -> Result<(), InvalidScenario> {
        check_clients(self.clients).map_err(|error| error.of(Part::Clients))?;
        self.wan.check().map_err(|error| error.of(Part::Wan))?;
        self.lan.check().map_err(|error| error.of(Part::Lan))?;
        if let ContentSource::Generated(size) = self.content {
            let fits = check_size(size).and_then(|()| self.check_memory(size));
            fits.map_err(|error| error.of(Part::Content))?;
        }
        let lease = self.lease.micros();
        if !lease.is_multiple_of(1_000_000) || !(1_000_000..=MAX_LEASE.micros()).contains(&lease) {
            let error = format!("a lease takes whole seconds, from 1 to {}", MAX_LEASE.micros() / 1_000_000);
            return invalid(error).map_err(|error| error.of(Part::Services));
        }
        self.check_hosted_cache().map_err(|error| error.of(Part::HostedCache))?;
        if let Start::At(times) = &self.start
            && times.len() != self.clients
        {
            let error = format!("{} times of start for {} clients", times.len(), self.clients);
            return invalid(error).map_err(|error| error.of(Part::Start));
        }
        for index in 0..self.groups.len() {
            self.check_group(index).map_err(|error| error.of(Part::Group(index)))?;
        }
        for index in 0..self.faults.len() {
            self.check_fault(index).map_err(|error| error.of(Part::Fault(index)))?;
        }
        Ok(())
    }

    /// Clients know where it is from the beginning, so it has to be the machine that gets the first address.
    fn check_hosted_cache(&self) -> Result<(), InvalidScenario> {
        match (self.hosted_cache, self.caching) {
            (Member::Hosted, _) | (Member::Machine(0), Caching::Hosted { version: Version::V2, .. }) => {
                Ok(())
            }
            (Member::Machine(0), Caching::Hosted { version: Version::V1, .. }) => {
                invalid("a machine is a hosted cache of version 2 only, as TLS is not simulated")
            }
            (Member::Machine(0), _) => invalid("without `caching = \"hosted\"` nobody asks a hosted cache"),
            (member, _) => {
                let (hosted, machine) = (Member::Hosted, Member::Machine(0));
                invalid(format!("the hosted cache is `{hosted}`, or `{machine}`, and cannot be {member}"))
            }
        }
    }

    fn check_group(&self, index: usize) -> Result<(), InvalidScenario> {
        let Group { name, clients, lan } = &self.groups[index];
        let groups = &self.groups[..=index];
        if name.is_empty() || file::member(name).is_some() {
            return invalid(format!("a group cannot be called `{name}`"));
        }
        if groups[..index].iter().any(|other| other.name == *name) {
            return invalid(format!("there are two groups called `{name}`"));
        }
        if *clients == 0 {
            return invalid(format!("the group `{name}` has no clients"));
        }
        let sum: usize = groups.iter().fold(0, |sum, group| sum.saturating_add(group.clients));
        if sum > self.clients {
            return invalid(format!(
                "up to and with `{name}` the groups have {sum} clients, but there are only {}",
                self.clients
            ));
        }
        lan.over(self.lan).check()
    }

    fn check_fault(&self, index: usize) -> Result<(), InvalidScenario> {
        match &self.faults[index] {
            Fault::Corrupt { client } => self.check_client(*client),
            Fault::Slow { client, rate } => {
                self.check_client(*client)?;
                self.check_once(
                    index,
                    *client,
                    "slow",
                    |fault| matches!(fault, Fault::Slow { client: other, .. } if other == client),
                )?;
                Line::new(*rate, Duration::ZERO).check()
            }
            Fault::Small { client, store } => {
                self.check_client(*client)?;
                self.check_once(
                    index,
                    *client,
                    "small",
                    |fault| matches!(fault, Fault::Small { client: other, .. } if other == client),
                )?;
                let (block, version) = match self.content_info {
                    InfoVersion::V1 => (BLOCK_BYTES, "1.0"),
                    InfoVersion::V2 => (MAX_SEGMENT_V2_BYTES, "2.0"),
                };
                if *store < u64::from(block) {
                    return invalid(format!(
                        "a store of {} has no room for a block of content information {version}",
                        units::size(*store)
                    ));
                }
                Ok(())
            }
            Fault::Leave { client, clock, at, back } => {
                self.check_client(*client)?;
                if back.is_some_and(|back| back <= *at) {
                    return invalid(format!("{} comes back before it leaves", Member::Client(*client)));
                }
                let before = |end: &Option<Duration>, start: &Duration| end.is_some_and(|end| end <= *start);
                let twice = self.faults[..index].iter().any(|fault| match fault {
                    Fault::Leave { client: other, clock: other_clock, at: other_at, back: other_back } => {
                        (other, other_clock) == (client, clock)
                            && !before(other_back, at)
                            && !before(back, other_at)
                    }
                    _ => false,
                });
                if twice {
                    return invalid(format!("{} leaves while it is away", Member::Client(*client)));
                }
                Ok(())
            }
            Fault::Unplug { member, at, back } => self.check_unplug(index, *member, *at, *back),
            Fault::Cable { member, lan } => self.check_cable(index, *member, lan),
            Fault::Flood { member, connections, port, .. } => {
                self.check_member(*member)?;
                if matches!(member, Member::Origin | Member::Services) {
                    return invalid(format!(
                        "a flood is for a client, a machine or a hosted cache, not for {member}"
                    ));
                }
                if *connections == 0 || *connections > MAX_FLOOD {
                    return invalid(format!("a flood has 1 to {MAX_FLOOD} connections, not {connections}"));
                }
                if *port == 0 {
                    return invalid("nobody listens on port 0");
                }
                Ok(())
            }
            Fault::Partition { between: [one, other], from, to } => {
                for member in one.iter().chain(other) {
                    self.check_member(*member)?;
                }
                if let Some(both) = one.iter().find(|member| other.contains(member)) {
                    return invalid(format!("{both} is on both sides of a partition"));
                }
                if one.is_empty() || other.is_empty() {
                    return invalid("a side of a partition is empty");
                }
                if to.is_some_and(|to| to <= *from) {
                    return invalid("a partition ends before it begins");
                }
                Ok(())
            }
        }
    }

    /// Of two faults of a kind, only one would count.
    fn check_once(
        &self,
        index: usize,
        client: usize,
        kind: &str,
        is_same: impl Fn(&Fault) -> bool,
    ) -> Result<(), InvalidScenario> {
        match self.faults[..index].iter().any(is_same) {
            true => invalid(format!("{} is {kind} twice", Member::Client(client))),
            false => Ok(()),
        }
    }

    fn check_client(&self, client: usize) -> Result<(), InvalidScenario> {
        if client < self.clients {
            return Ok(());
        }
        let (member, clients) = (Member::Client(client), self.clients);
        let clients = if clients == 1 { "1 client".into() } else { format!("{clients} clients") };
        invalid(format!("there is no {member}, only {clients}"))
    }

    /// Whether so many machines are all that it speaks of.
    pub fn check_attached(&self, machines: usize) -> Result<(), InvalidScenario> {
        if matches!(self.hosted_cache, Member::Machine(_)) && machines > 1 {
            return invalid(format!(
                "with {} as the hosted cache no other machine can be attached: the first address is its own",
                self.hosted_cache
            ));
        }
        for member in self.faults.iter().flat_map(Fault::members).chain([self.hosted_cache]) {
            match member {
                Member::Machine(index) if index >= machines => {
                    let attached = match machines {
                        0 => "no machine is attached".into(),
                        _ => count(machines, "machine is attached", "machines are attached"),
                    };
                    return invalid(format!("there is no {member}: {attached}"));
                }
                Member::Services if machines == 0 => {
                    return invalid(format!("there is no host `{member}`: no machine is attached"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_member(&self, member: Member) -> Result<(), InvalidScenario> {
        match member {
            Member::Client(client) => self.check_client(client),
            Member::Machine(index) if index >= MAX_MACHINES => {
                invalid(format!("there is no {member}: at most {MAX_MACHINES} machines can be attached"))
            }
            Member::Hosted if self.hosted_cache != Member::Hosted => {
                invalid(format!("the hosted cache is {}", self.hosted_cache))
            }
            Member::Hosted if !self.is_hosted() => invalid("there is no hosted cache"),
            Member::Machine(_) | Member::Origin | Member::Services | Member::Hosted => Ok(()),
        }
    }

    fn check_unplug(
        &self,
        index: usize,
        member: Member,
        at: Duration,
        back: Option<Duration>,
    ) -> Result<(), InvalidScenario> {
        self.check_member(member)?;
        if let Member::Client(_) = member {
            return invalid(format!("{member} is a client: it leaves"));
        }
        if back.is_some_and(|back| back <= at) {
            return invalid(format!("{member} comes back before it leaves"));
        }
        let before = |end: Option<Duration>, start: Duration| end.is_some_and(|end| end <= start);
        let twice = self.faults[..index].iter().any(|fault| match *fault {
            Fault::Unplug { member: other, at: other_at, back: other_back } => {
                other == member && !before(other_back, at) && !before(back, other_at)
            }
            _ => false,
        });
        if twice { invalid(format!("{member} leaves while it is away")) } else { Ok(()) }
    }

    fn check_cable(&self, index: usize, member: Member, lan: &LineChange) -> Result<(), InvalidScenario> {
        self.check_member(member)?;
        match member {
            Member::Client(_) | Member::Machine(_) | Member::Hosted => {}
            Member::Origin => return invalid("the cable of the origin is the `wan`"),
            Member::Services => return invalid(format!("the cable of {member} is as the `lan`")),
        }
        let same = |fault: &Fault| matches!(fault, Fault::Cable { member: other, .. } if *other == member);
        if self.faults[..index].iter().any(same) {
            return invalid(format!("{member} has two cables"));
        }
        lan.over(self.lan).check()
    }

    /// Whether content of `size` bytes, for so many clients, stays within [`MAX_MEMORY`].
    pub fn check_memory(&self, size: u64) -> Result<(), InvalidScenario> {
        let needed = self.memory(size);
        if needed > MAX_MEMORY {
            return invalid(format!(
                "{} of content for {} clients would take {} of memory: at most {} may be taken",
                report::size(size),
                self.clients,
                report::size(needed),
                report::size(MAX_MEMORY)
            ));
        }
        Ok(())
    }
}

impl Fault {
    /// Whom it concerns.
    fn members(&self) -> Vec<Member> {
        match self {
            Self::Leave { client, .. }
            | Self::Corrupt { client }
            | Self::Slow { client, .. }
            | Self::Small { client, .. } => vec![Member::Client(*client)],
            Self::Unplug { member, .. } | Self::Cable { member, .. } | Self::Flood { member, .. } => {
                vec![*member]
            }
            Self::Partition { between: [one, other], .. } => [&one[..], other].concat(),
        }
    }
}

impl Line {
    pub(super) fn check(&self) -> Result<(), InvalidScenario> {
        if self.rate == 0 {
            return invalid("a rate of 0 bit/s never delivers anything");
        }
        if self.jitter > self.delay {
            let (jitter, delay) = (units::time(self.jitter), units::time(self.delay));
            return invalid(format!("a jitter of {jitter} is more than the delay of {delay}"));
        }
        if self.reorder != Probability::NEVER && self.delay == Duration::ZERO {
            return invalid("without a delay no frame can overtake another");
        }
        Ok(())
    }
}

pub(super) fn check_clients(clients: usize) -> Result<(), InvalidScenario> {
    match clients {
        0 => invalid("at least one client is needed"),
        1..=MAX_CLIENTS => Ok(()),
        _ => invalid(format!("at most {MAX_CLIENTS} clients fit into the branch")),
    }
}

pub(super) fn check_size(size: u64) -> Result<(), InvalidScenario> {
    if size > MAX_CONTENT {
        return invalid(format!(
            "content of {size} bytes is too large: at most {} GiB are held in memory",
            MAX_CONTENT >> 30
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Clock;
    use super::*;

    #[test]
    fn machines_that_are_not_attached_are_missed() {
        let seconds = Duration::from_secs;
        let of = |member| Fault::Unplug { member, at: seconds(1), back: Some(seconds(2)) };
        let checked = |faults: &[Fault], machines| {
            let scenario = Scenario { faults: faults.to_vec(), ..Scenario::branch() };
            assert_eq!(scenario.validate(), Ok(()));
            scenario.check_attached(machines).map_err(|error| error.to_string())
        };
        let both = [of(Member::Machine(1)), of(Member::Services)];
        assert_eq!(checked(&both, 2), Ok(()));
        assert_eq!(checked(&both, 1), Err("there is no machine-02: 1 machine is attached".into()));
        assert_eq!(checked(&both[..1], 0), Err("there is no machine-02: no machine is attached".into()));
        assert_eq!(checked(&both[1..], 0), Err("there is no host `services`: no machine is attached".into()));
        let hosted = Scenario { hosted_cache: Member::Machine(0), ..Scenario::preset("hosted").unwrap() };
        let hosted =
            [0, 1, 2].map(|machines| hosted.check_attached(machines).map_err(|error| error.to_string()));
        assert_eq!(hosted[0], Err("there is no machine-01: no machine is attached".into()));
        assert_eq!(hosted[1], Ok(()));
        assert!(
            matches!(&hosted[2], Err(error) if error.contains("no other machine can be attached")),
            "{hosted:?}"
        );
        let between = [vec![Member::Machine(0)], vec![Member::Origin]];
        assert!(checked(&[Fault::Partition { between, from: seconds(1), to: None }], 0).is_err());
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert_eq!(Scenario::branch().validate(), Ok(()));
        let faulty = |fault| Scenario { faults: vec![fault], ..Scenario::branch() }.validate();
        assert_eq!(faulty(Fault::Corrupt { client: 9 }), Ok(()));
        assert!(faulty(Fault::Corrupt { client: 10 }).is_err());
        let leave = |client, at, back: Option<u64>| Fault::Leave {
            client,
            clock: Clock::Run,
            at: Duration::from_secs(at),
            back: back.map(Duration::from_secs),
        };
        assert!(faulty(leave(10, 1, None)).is_err());
        assert!(faulty(leave(9, 1, Some(2))).is_ok() && faulty(leave(9, 2, Some(2))).is_err());
        let twice = |one, other| Scenario { faults: vec![one, other], ..Scenario::branch() }.validate();
        assert_eq!(twice(leave(1, 5, Some(6)), leave(1, 1, Some(5))), Ok(()));
        assert_eq!(twice(leave(1, 1, None), leave(2, 2, None)), Ok(()));
        let error = twice(leave(1, 1, None), leave(1, 2, None)).unwrap_err().to_string();
        assert_eq!(error, "client-02 leaves while it is away");
        let sized = |clients, size| {
            Scenario { clients, content: ContentSource::Generated(size), ..Scenario::branch() }.validate()
        };
        assert_eq!(sized(2, MAX_CONTENT), Ok(()));
        let error = sized(3, MAX_CONTENT).unwrap_err().to_string();
        assert!(error.contains("3 clients would take 20.0 GiB of memory: at most 16.0 GiB"), "{error}");
        assert!(sized(MAX_CLIENTS, 16 << 20).is_ok() && sized(MAX_CLIENTS, 17 << 20).is_err());
        assert!(Scenario { clients: 0, ..Scenario::branch() }.validate().is_err());
        assert!(Scenario { lan: Line::new(0, Duration::ZERO), ..Scenario::branch() }.validate().is_err());
    }
}
