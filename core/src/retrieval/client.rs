//! [MS-PCCRR] client.
