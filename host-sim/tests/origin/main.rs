//! `peerdist origin` and `peerdist status`, from outside: over sockets, byte for byte.

mod admin;
mod curl;
mod files;
mod rules;
mod server;
