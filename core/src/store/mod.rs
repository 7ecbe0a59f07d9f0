//! Where blocks are kept.
