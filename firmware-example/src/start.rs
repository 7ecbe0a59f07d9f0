//! How the machine came to be running.

/// Why it was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Power came, or somebody pressed the button: the program had nothing to say.
    Outside,
    /// The main loop stood still.
    Watchdog,
    /// The program found an invariant of its own broken.
    Panic,
    /// The processor found that something cannot be done.
    Fault,
}

/// The last reset, and those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Starts so far, this one among them; 0 if the flash cannot count them.
    pub starts: u32,
    /// Why there was a reset.
    pub cause: Cause,
    /// Where the program was, as its addresses are in the ELF file; 0 if nobody can tell.
    pub at: u32,
}

impl Cause {
    /// One word for a machine.
    pub fn word(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Watchdog => "watchdog",
            Self::Panic => "panic",
            Self::Fault => "fault",
        }
    }
}
