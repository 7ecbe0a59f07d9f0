//! Drives a node over smoltcp sockets, on a microcontroller as in the simulated LAN.
