//! Who has a port that we wanted.

use std::net::{IpAddr, SocketAddr};

/// The process that listens on the TCP port of `address`, as its name and number, where the system
/// tells: on Linux, of all processes to root, and of his own to anybody.
#[cfg(target_os = "linux")]
pub fn of_port(address: SocketAddr) -> Option<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> =
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| listener(line, address)).collect();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(number) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
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

/// What the file of a socket links to, if a line of the table is one that listens there.
#[cfg(target_os = "linux")]
fn listener(line: &str, address: SocketAddr) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let (ip, port) = local.split_once(':')?;
    let everywhere = ip.bytes().all(|digit| digit == b'0');
    let same = match address.ip() {
        // The table has the bytes in the order of the machine.
        IpAddr::V4(ours) => ip == format!("{:08X}", u32::from_ne_bytes(ours.octets())),
        IpAddr::V6(_) => ip.len() == 32,
    };
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let is_it =
        (everywhere || same) && u16::from_str_radix(port, 16) == Ok(address.port()) && state == LISTEN;
    is_it.then(|| format!("socket:[{inode}]"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table() {
        let at = |address: &str| address.parse().expect("an address");
        let line = "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 \
                    18446 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listener(line, at("192.0.2.1:80")).as_deref(), Some("socket:[18446]"));
        assert_eq!(listener(line, at("192.0.2.1:81")), None);
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), at("192.0.2.1:80")), None);
        assert_eq!(listener(&line.replace("00000000:0050", "7F7F7F7F:0050"), at("192.0.2.1:80")), None);
        assert!(
            listener(&line.replace("00000000:0050", "7F7F7F7F:0050"), at("127.127.127.127:80")).is_some()
        );
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue", at("192.0.2.1:80")), None);
    }

    #[test]
    fn we_have_it_ourselves() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let holder =
            of_port(listener.local_addr().expect("it is bound")).expect("our own files are ours to see");
        assert!(holder.ends_with(&format!("(process {})", std::process::id())), "{holder}");
    }
}
