//! [MS-PCCRR] server.
