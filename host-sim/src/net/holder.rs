//! Who has a port that we wanted.

use std::net::SocketAddr;

/// The process that listens on the TCP port of `address`, as its name and number, where the system
/// tells: on Linux, of all processes to root, and of his own to anybody.
#[cfg(target_os = "linux")]
pub fn of_port(address: SocketAddr) -> Option<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| listener(line, address.port()))
        .collect();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let number = process.file_name().into_string().unwrap_or_default();
        let files = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        if links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str())) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {number})", name.trim_end()));
        }
    }
    None
}

/// Elsewhere nobody says.
#[cfg(not(target_os = "linux"))]
pub fn of_port(_address: SocketAddr) -> Option<String> {
    None
}

/// What the file of a socket links to, if a line of the table is one that listens on `port`.
#[cfg(target_os = "linux")]
fn listener(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let (_, its) = local.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    (u16::from_str_radix(its, 16) == Ok(port) && state == LISTEN).then(|| format!("socket:[{inode}]"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table() {
        let line = "   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 \
                    18446 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listener(line, 80).as_deref(), Some("socket:[18446]"));
        assert_eq!(listener(line, 81), None);
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), 80), None);
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue", 80), None);
    }

    #[test]
    fn we_have_it_ourselves() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let holder =
            of_port(listener.local_addr().expect("it is bound")).expect("our own files are ours to see");
        assert!(holder.ends_with(&format!("(process {})", std::process::id())), "{holder}");
    }
}
