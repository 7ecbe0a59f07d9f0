//! What happens while a run goes on, for whoever looks on or waits for it.

use std::fmt;

use peerdist_core::time::Duration;

use crate::hostile::{Answers, Stage};
use crate::port::News;
use crate::report;
use crate::scenario::Member;

/// Something has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// To a real machine.
    Machine {
        /// What it is called.
        member: Member,
        /// What.
        news: News,
    },
    /// A client of a run in real time is so far.
    Client {
        /// What it is called.
        member: Member,
        /// How far.
        step: Step,
    },
    /// A hostile host is so far.
    Flood {
        /// What it is called.
        name: String,
        /// How far.
        stage: Stage,
    },
    /// A host was spoken of that there is not.
    Nobody(Member),
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Its download has begun.
    Begun,
    /// It has half of the content.
    Half,
    /// Its download has ended, so long after it began; the report says how.
    Ended(Duration),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine { member, news } => write!(f, "{member} {news}"),
            Self::Client { member, step } => match step {
                Step::Begun => write!(f, "{member} begins"),
                Step::Half => write!(f, "{member} has half of it"),
                Step::Ended(after) => {
                    write!(f, "{member} has ended after {}", report::time(after.millis()))
                }
            },
            Self::Flood { name, stage } => match stage {
                Stage::Idle => write!(f, "{name} does nothing"),
                Stage::Opening => write!(f, "{name} opens connections"),
                Stage::Open(Answers { open, refused, silent }) => write!(
                    f,
                    "{name}: {open} connections were opened, {refused} refused, {silent} without an answer"
                ),
                Stage::Over { closed } => write!(
                    f,
                    "{name} has let go of its connections; {closed} of the open ones had been closed before"
                ),
            },
            Self::Nobody(member) => write!(f, "there is no {member}"),
        }
    }
}
