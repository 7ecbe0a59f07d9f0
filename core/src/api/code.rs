//! The numbers by which the calls of the API and their completions are known.

use super::error::ApiError;

/// A result, by its number: that of PEERDIST.H, or of Windows where there is none for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u32)]
pub enum Code {
    /// ERROR_SUCCESS.
    Success = 0,
    /// ERROR_INVALID_HANDLE.
    InvalidHandle = 6,
    /// ERROR_NOT_ENOUGH_MEMORY: a table or a store is full. The reference has no code for that, as it
    /// has memory without end; this is what Windows says where memory for a call is not to be had.
    NotEnoughMemory = 8,
    /// ERROR_INVALID_PARAMETER.
    InvalidParameter = 87,
    /// ERROR_OPERATION_ABORTED.
    OperationAborted = 995,
    /// ERROR_IO_INCOMPLETE.
    IoIncomplete = 996,
    /// ERROR_IO_PENDING: accepted, and exactly one completion follows.
    IoPending = 997,
    /// ERROR_NOT_FOUND. The documents name a PEERDIST_ERROR_NOT_FOUND, which does not exist (gap G1).
    NotFound = 1168,
    /// ERROR_ACCESS_DISABLED_BY_POLICY.
    AccessDisabledByPolicy = 1260,
    /// ERROR_TIMEOUT.
    Timeout = 1460,
    /// PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED.
    ContentInfoVersionUnsupported = 4050,
    /// PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO.
    CannotParseContentInfo = 4051,
    /// PEERDIST_ERROR_MISSING_DATA.
    MissingData = 4052,
    /// PEERDIST_ERROR_NO_MORE.
    NoMore = 4053,
    /// PEERDIST_ERROR_NOT_INITIALIZED.
    NotInitialized = 4054,
    /// PEERDIST_ERROR_ALREADY_INITIALIZED.
    AlreadyInitialized = 4055,
    /// PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS.
    ShutdownInProgress = 4056,
    /// PEERDIST_ERROR_INVALIDATED.
    Invalidated = 4057,
    /// PEERDIST_ERROR_ALREADY_EXISTS.
    AlreadyExists = 4058,
    /// PEERDIST_ERROR_OPERATION_NOTFOUND.
    OperationNotFound = 4059,
    /// PEERDIST_ERROR_ALREADY_COMPLETED.
    AlreadyCompleted = 4060,
    /// PEERDIST_ERROR_OUT_OF_BOUNDS.
    OutOfBounds = 4061,
    /// PEERDIST_ERROR_VERSION_UNSUPPORTED.
    VersionUnsupported = 4062,
    /// PEERDIST_ERROR_INVALID_CONFIGURATION.
    InvalidConfiguration = 4063,
    /// PEERDIST_ERROR_NOT_LICENSED.
    NotLicensed = 4064,
    /// PEERDIST_ERROR_SERVICE_UNAVAILABLE.
    ServiceUnavailable = 4065,
    /// PEERDIST_ERROR_TRUST_FAILURE.
    TrustFailure = 4066,
}

impl Code {
    /// The number.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl ApiError {
    /// The number that stands for it.
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidHandle => Code::InvalidHandle,
            Self::Full => Code::NotEnoughMemory,
            // Gap G3: what is asked too early, such as a read, is a wrong call.
            Self::InvalidParameter | Self::InvalidState => Code::InvalidParameter,
            Self::Aborted => Code::OperationAborted,
            Self::NotFound => Code::NotFound,
            Self::Disabled => Code::AccessDisabledByPolicy,
            Self::InfoVersion => Code::ContentInfoVersionUnsupported,
            Self::CannotParse(error) if error.is_version() => Code::ContentInfoVersionUnsupported,
            Self::CannotParse(_) => Code::CannotParseContentInfo,
            Self::NoMore => Code::NoMore,
            Self::Invalidated => Code::Invalidated,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::OperationNotFound => Code::OperationNotFound,
            Self::AlreadyCompleted => Code::AlreadyCompleted,
            Self::OutOfBounds => Code::OutOfBounds,
            Self::VersionUnsupported => Code::VersionUnsupported,
            Self::Unavailable => Code::ServiceUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Info;

    #[test]
    fn errors_have_the_numbers_of_windows() {
        for (error, number) in [
            (ApiError::InvalidHandle, 6),
            (ApiError::Full, 8),
            (ApiError::InvalidParameter, 87),
            (ApiError::InvalidState, 87),
            (ApiError::Aborted, 995),
            (ApiError::NotFound, 1168),
            (ApiError::Disabled, 1260),
            (ApiError::InfoVersion, 4050),
            (ApiError::NoMore, 4053),
            (ApiError::Invalidated, 4057),
            (ApiError::AlreadyExists, 4058),
            (ApiError::OperationNotFound, 4059),
            (ApiError::AlreadyCompleted, 4060),
            (ApiError::OutOfBounds, 4061),
            (ApiError::VersionUnsupported, 4062),
            (ApiError::Unavailable, 4065),
        ] {
            assert_eq!(error.code().number(), number);
        }
        for (blob, number) in
            [(&[0, 3][..], 4050), (&[0, 1], 4051), (&[], 4051), (&[0, 1, 4, 0x80, 0, 0], 4051)]
        {
            assert_eq!(ApiError::CannotParse(Info::parse(&blob).unwrap_err()).code().number(), number);
        }
    }

    /// Those that no call of core comes to are for what stands around it.
    #[test]
    fn codes_are_those_of_the_block() {
        let block = [
            Code::ContentInfoVersionUnsupported,
            Code::CannotParseContentInfo,
            Code::MissingData,
            Code::NoMore,
            Code::NotInitialized,
            Code::AlreadyInitialized,
            Code::ShutdownInProgress,
            Code::Invalidated,
            Code::AlreadyExists,
            Code::OperationNotFound,
            Code::AlreadyCompleted,
            Code::OutOfBounds,
            Code::VersionUnsupported,
            Code::InvalidConfiguration,
            Code::NotLicensed,
            Code::ServiceUnavailable,
            Code::TrustFailure,
        ];
        assert!(block.map(Code::number).into_iter().eq(4050..=4066));
        let others = [Code::Success, Code::IoIncomplete, Code::IoPending, Code::Timeout].map(Code::number);
        assert_eq!(others, [0, 996, 997, 1460]);
    }
}
