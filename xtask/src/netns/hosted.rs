//! A hosted cache on the third host: what the first client got and offered, the second has from there, when the first
//! is gone.

use std::fs;

use super::FILE_BYTES;
use crate::Result;
use crate::lab::{Lab, address, line, number, socket};
use crate::run::output;

/// Where it is.
const HOST: (&str, u16) = ("three", 3);

/// Versions of offers, of content information, and of IP. Version 1.0 of offers is of content information 1.0.
const PASSES: [(&str, &str, bool); 3] = [("2", "1", false), ("2", "2", true), ("1", "1", false)];

/// All passes of this family; how many there were.
pub fn passes(lab: &Lab, content: &[u8], ipv6: bool) -> Result<usize> {
    let passes = PASSES.iter().filter(|(.., of)| *of == ipv6);
    passes.map(|(version, info, _)| pass(lab, content, version, info, ipv6)).sum()
}

fn pass(lab: &Lab, content: &[u8], version: &str, info: &str, ipv6: bool) -> Result<usize> {
    let name = format!("hosted-v{version}-{}", super::name(info, ipv6));
    let failed = |why: &str| format!("{name}: {why}");
    let sent = || lab.status("ContentBytes").ok_or("the origin tells no ContentBytes");
    let certificate = lab.certificate(&name, &[HOST.1])?;
    let (bind, cache) = (address(HOST.1, ipv6), format!("{name}-cache"));
    let tls = ["--cert", &certificate.0, "--key", &certificate.1];
    let tls = if version == "1" { &tls[..] } else { &[] };
    let _cache = lab.hosted(HOST.0, &[&["--bind", &bind, "--cache", &cache], tls].concat())?;
    let url = format!("http://{}/content", socket(100, 8000, ipv6));
    let place = match (version, ipv6) {
        ("1", _) => format!("https://{bind}"),
        (_, true) => format!("[{bind}]"),
        (_, false) => bind,
    };
    let get = |host: &str, source: &str| -> Result<()> {
        let file = format!("{name}-{host}");
        let options = ["get", &url, "--json", "--content-info", info, "--hosted", &place];
        let mut command = lab.peerdist(host, &options);
        command.args(["-o", &file, "--cache", &format!("{file}-cache")]);
        command.env("SSL_CERT_FILE", lab.folder.join(&certificate.0));
        let (done, said) = output(&mut command)?;
        if !done {
            return Err(failed(line(&said)));
        }
        if fs::read(lab.folder.join(&file)).ok().as_deref() != Some(content) {
            return Err(failed("the file is not the origin's"));
        }
        let json: String = said.split_whitespace().collect();
        if number(&json, source) != Some(FILE_BYTES as u64) {
            return Err(failed(&format!("{host} has not all from {source}: {json}")));
        }
        Ok(())
    };

    get("one", "origin")?;
    let before = sent()?;
    lab.plug(1, false)?;
    let got = get("two", "hosted");
    lab.plug(1, true)?;
    got?;
    match sent()? - before {
        0 => Ok(1),
        bytes => Err(failed(&format!("the origin sent {bytes} bytes of what the hosted cache has"))),
    }
}
