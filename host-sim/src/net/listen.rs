//! Ports to listen on; where one is taken, by whom.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Takes a port, for an asynchronous runtime to accept on. Where it is taken, the error says by which process,
/// as far as the system lets us see.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder(address.port()).unwrap_or_else(|| "another process".into());
            io::Error::new(io::ErrorKind::AddrInUse, format!("the port is taken by {holder}"))
        }
        _ => error,
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The name and number of a process that listens on a TCP port.
#[cfg(target_os = "linux")]
fn holder(port: u16) -> Option<String> {
    use std::fs;

    /// `TCP_LISTEN` of the kernel.
    const LISTENS: &str = "0A";

    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inodes: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let &[_, local, _, state, _, _, _, _, _, inode, ..] = &fields[..] else { return None };
            let (_, found) = local.rsplit_once(':')?;
            let found = u16::from_str_radix(found, 16).ok()?;
            (found == port && state == LISTENS).then(|| format!("socket:[{inode}]"))
        })
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        if process.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files.flatten().any(|file| {
            let link = fs::read_link(file.path()).unwrap_or_default();
            inodes.iter().any(|inode| link.as_os_str() == inode.as_str())
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {})", name.trim(), process.file_name().display()));
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
fn holder(_: u16) -> Option<String> {
    None
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
