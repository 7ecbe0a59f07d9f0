//! A simulated branch office.
