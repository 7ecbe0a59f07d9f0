//! How far a download is, and what it needs next.

use super::origin::Want;

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Content information is to be asked for.
    Asking,
    /// It has been asked for.
    Asked,
    /// The origin gives the content itself.
    Plain,
    /// A part of the content is to be asked for: there is no content information.
    AskingPart,
    /// The origin gives that part.
    Part,
    /// All plain bytes are here; some wait to be handed out.
    PlainEnd,
    /// The origin has told where the content is instead.
    Moved,
    /// The content information is here: it is being checked, or blocks are being read.
    Reading,
    /// Over, one way or the other.
    Over,
}

/// A request for the origin that a connection has to be found for.
#[derive(Clone, Debug)]
pub struct Need {
    /// What.
    pub want: Want,
    /// The block it fills, if it is for one.
    pub(super) block: Option<u32>,
}
