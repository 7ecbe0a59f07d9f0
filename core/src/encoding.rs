//! [MS-PCCRTP] The `peerdist` HTTP coding.
