//! [MS-PCCRR] wire.
