//! The one service of the process, and the node in it: on a host, or on bare metal.

#[cfg(not(feature = "std"))]
pub mod bare;
#[cfg(feature = "std")]
pub mod hosted;
#[cfg(feature = "std")]
mod storage;

#[cfg(not(feature = "std"))]
use bare as place;
#[cfg(feature = "std")]
use hosted as place;

pub(crate) use place::{
    CONTENTS, INFOS, INSTANCES, Machine, OPERATIONS, PIECE, STREAMS, set_status, shutdown, startup, with,
};

/// A status, by its number.
fn status(number: crate::types::PEERDIST_STATUS) -> crate::service::Answer<peerdist_core::api::Status> {
    use crate::types::*;
    use peerdist_core::api::Status;
    match number {
        PEERDIST_STATUS_DISABLED => Ok(Status::Disabled),
        PEERDIST_STATUS_UNAVAILABLE => Ok(Status::Unavailable),
        PEERDIST_STATUS_AVAILABLE => Ok(Status::Available),
        _ => Err(ERROR_INVALID_PARAMETER),
    }
}
