//! Ports to listen on; where one is taken, by whom.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::holder::{self, Protocol};

/// Takes a port, for an asynchronous runtime to accept on. Where it is taken, the error says by which process,
/// as far as the system lets us see.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder::of_port(Protocol::Tcp, address).unwrap_or_else(|| "another process".into());
            io::Error::new(io::ErrorKind::AddrInUse, format!("the port is taken by {holder}"))
        }
        _ => error,
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_has_a_holder() {
        let first = listen("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let error = listen(first.local_addr().expect("it is bound")).expect_err("it is taken").to_string();
        assert!(error.starts_with("the port is taken by "), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.ends_with(&format!("(process {})", std::process::id())), "{error}");
        }
    }
}
