//! The whole on real sockets: an origin behind a slow line, three clients on the kernel's sockets and one
//! on a TAP device. What the first has fetched, the others get from it, and not from the origin. Then the TAP
//! device joins them to a simulated branch, whose clients get from one of them what it has. With a hosted cache, the
//! first client can be gone.

mod hosted;

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use crate::Result;
use crate::lab::{Lab, Running, SWITCH, TAP, address, line, number as json_number, socket, write_content};
use crate::run::output;

/// The clients on the kernel's sockets.
const CLIENTS: [(&str, u16); 3] = [("one", 1), ("two", 2), ("three", 3)];

/// The number of the client on the TAP device.
const TAP_NUMBER: u16 = 4;

/// Bytes of the file: more than a segment of content information 2.0, and no whole number of blocks.
const FILE_BYTES: usize = 2_000_001;

/// Mbit/s of the origin's line.
const LINE_MBIT: u32 = 20;

/// In both versions, over both families, with the command as it is released.
pub fn check() -> Result<()> {
    let Some(lab) = Lab::build(&CLIENTS, LINE_MBIT)? else { return Ok(()) };
    fs::create_dir_all(lab.folder.join("root")).map_err(|error| error.to_string())?;
    let content = write_content(&lab.folder.join("root/content"), FILE_BYTES, 5)?;
    let (mut passes, mut without, mut hosted) = (0, Vec::new(), 0);
    for ipv6 in [false, true].into_iter().filter(|ipv6| !ipv6 || lab.ipv6) {
        let _origin = lab.origin(&socket(100, 8000, ipv6), &["--admin"], || lab.hashed())?;
        for version in ["1", "2"] {
            pass(&lab, &content, version, ipv6)?;
            passes += 1;
            if !on_tap(&lab, version, ipv6) {
                without.push(name(version, ipv6));
            }
        }
        hosted += hosted::passes(&lab, &content, ipv6)?;
    }
    let clients = clients(passes, &without);
    println!("    {passes} passes, {clients}: the origin gave its content once in each");
    println!(
        "    {hosted} passes with a hosted cache, by HTTP and by TLS: when the first client is gone, the second has \
         everything from there, and from the origin nothing"
    );
    if lab.tap {
        real_in_simulated(&lab)?;
    }
    Ok(())
}

/// The TAP device is on the switch of a simulated branch. A real host gets its content from the simulated origin;
/// then the simulated clients get all of it from that host.
fn real_in_simulated(lab: &Lab) -> Result<()> {
    const SIZE: &str = "1 MiB";
    const BYTES: u64 = 1 << 20;
    // In the network of the simulation, where machines are.
    const ADDRESS: &str = "10.0.9.77";
    lab.own_address("one", &format!("{ADDRESS}/16"))?;
    let options = ["sim", "--attach", &format!("tap:{TAP}"), "--hold", "--json", "--clients", "2"];
    let mut command =
        lab.peerdist(SWITCH, &[&options[..], &["--size", SIZE, "--wan", "20Mbit/5ms"]].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut sim = Running(command.spawn().map_err(|error| format!("the simulation: {error}"))?);

    // It asks until somebody answers, so the simulation may still be about to begin. The version is that of the
    // simulated clients: by the other, the blocks have other names.
    let options = ["--json", "--bind", ADDRESS, "--content-info", "1"];
    let mut get = lab.peerdist("one", &[&["get", "http://10.0.0.1/content"][..], &options].concat());
    let (done, said) = output(get.args(["-o", "simulated", "--cache", "simulated-cache"]))?;
    let json: String = said.split_whitespace().collect();
    if !done || json_number(&json, "origin") != Some(BYTES) {
        return Err(format!("a real host has not the content of the simulated origin: {}", line(&said)));
    }
    let _peer = lab.peer("one", &["--bind", ADDRESS, "--cache", "simulated-cache"])?;
    // The end of its stdin lets the clients go.
    drop(sim.0.stdin.take());
    let mut report = String::new();
    let stdout = sim.0.stdout.as_mut().ok_or("the simulation has no stdout")?;
    stdout.read_to_string(&mut report).map_err(|error| format!("the simulation: {error}"))?;
    let good = sim.0.wait().is_ok_and(|status| status.success());
    let from_peers = format!(r#""bytes":{{"local":0,"peer":{BYTES},"hosted":0,"origin":0}}"#);
    let from_host = format!(r#"{{"from":"machine-01","to":"client-01","bytes":{BYTES},"#);
    if !good || report.matches(&from_peers).count() != 2 || !report.contains(&from_host) {
        return Err(format!("simulated clients have not all from a real host: {report}"));
    }
    println!("    on a TAP device, 2 simulated clients have everything from a real host");
    Ok(())
}

/// Who took part, and in what not.
fn clients(passes: usize, without: &[String]) -> String {
    match without {
        [] => "3 clients and one on TAP".into(),
        all if all.len() == passes => "3 clients, none on TAP".into(),
        some => format!("3 clients and one on TAP (not in {})", some.join(", ")),
    }
}

fn name(version: &str, ipv6: bool) -> String {
    format!("v{version}-ip{}", if ipv6 { 6 } else { 4 })
}

/// Whether a client on the TAP device takes part. Answers of version 1.0 name a peer's address of IPv4 if it has one
/// (fact 24), and with an address of IPv6 this stack has none.
fn on_tap(lab: &Lab, version: &str, ipv6: bool) -> bool {
    lab.tap && !(ipv6 && version == "1")
}

/// One client after the other fetches the file.
fn pass(lab: &Lab, content: &[u8], version: &str, ipv6: bool) -> Result<()> {
    let name = name(version, ipv6);
    let sent = || lab.status("ContentBytes").ok_or("the origin tells no ContentBytes");
    let url = format!("http://{}/content", socket(100, 8000, ipv6));
    let get = |host: &str, number: u16, source: &str| -> Result<()> {
        let failed = |why: &str| Err(format!("{name}, client {number}: {why}"));
        let (file, cache) = (format!("{name}-{number}"), format!("{name}-cache-{number}"));
        let mut bind = address(number, ipv6);
        let mut command = lab.peerdist(host, &["get", &url, "--json", "--content-info", version]);
        command.args(["-o", &file, "--cache", &cache]);
        if host == SWITCH {
            bind += if ipv6 { "/64" } else { "/16" };
            command.args(["--tap", TAP]);
        }
        let (done, said) = output(command.args(["--bind", &bind]))?;
        if !done {
            return failed(line(&said));
        }
        if fs::read(lab.folder.join(&file)).ok().as_deref() != Some(content) {
            return failed("its file is not the origin's");
        }
        let json: String = said.split_whitespace().collect();
        let from_origin = json_number(&json, "origin");
        let whole = FILE_BYTES as u64;
        let expected = if source == "origin" { whole } else { 0 };
        if !json.contains("\"content_information\":true") || from_origin != Some(expected) {
            return failed(&format!("not all came from {source}: {json}"));
        }
        Ok(())
    };

    let before = sent()?;
    get("one", 1, "origin")?;
    let first = sent()?;
    if first - before != FILE_BYTES as u64 {
        return Err(format!("{name}: for the first client the origin sent {} bytes", first - before));
    }
    let (bind, cache) = (address(1, ipv6), format!("{name}-cache-1"));
    let _peer = lab.peer("one", &["--bind", &bind, "--cache", &cache])?;
    get("two", 2, "peers")?;
    get("three", 3, "peers")?;
    if on_tap(lab, version, ipv6) {
        get(SWITCH, TAP_NUMBER, "peers")?;
    }
    match sent()? - first {
        0 => Ok(()),
        bytes => Err(format!("{name}: the origin sent {bytes} bytes of what the first client serves")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_took_part() {
        let without = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(clients(4, &[]), "3 clients and one on TAP");
        assert_eq!(clients(4, &without(&["v1-ip6"])), "3 clients and one on TAP (not in v1-ip6)");
        assert_eq!(clients(2, &without(&["v1-ip4", "v2-ip4"])), "3 clients, none on TAP");
    }
}
