//! What `peerdist sim --json` prints.

use crate::Result;
use crate::lab::number;

/// The report of a run.
pub struct Report {
    /// As it was printed.
    pub json: String,
    /// Whether all clients have the right bytes.
    pub good: bool,
}

/// Where the bytes of a client came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Other peers.
    pub peer: u64,
    /// The hosted cache.
    pub hosted: u64,
    /// The origin.
    pub origin: u64,
}

impl Report {
    /// Whether this computer was too slow for a run in real time: who has what from whom then says nothing.
    pub fn held_up(&self) -> bool {
        self.json.contains(r#""held_up":{"#)
    }

    /// That all clients have the right bytes.
    pub fn is_good(&self) -> Result<()> {
        if self.good { Ok(()) } else { Err(format!("a client has not the right bytes: {}", self.json)) }
    }

    /// Where the bytes of `client` came from.
    pub fn bytes(&self, client: &str) -> Result<Bytes> {
        let found = || {
            let (_, rest) = self.json.split_once(&format!(r#""name":"{client}","#))?;
            let (_, rest) = rest.split_once(r#""bytes":{"#)?;
            let bytes = rest.split('}').next()?;
            let [peer, hosted, origin] = ["peer", "hosted", "origin"].map(|source| number(bytes, source));
            Some(Bytes { peer: peer?, hosted: hosted?, origin: origin? })
        };
        found().ok_or_else(|| format!("the report has no {client}: {}", self.json))
    }

    /// How many bytes `client` has from `giver`.
    pub fn given(&self, giver: &str, client: &str) -> u64 {
        let words = format!(r#"{{"from":"{giver}","to":"{client}","#);
        let entry = self.json.split_once(&words).and_then(|(_, rest)| number(rest, "bytes"));
        entry.unwrap_or(0)
    }

    /// That `client` has all `bytes` from the peer `giver`.
    pub fn all_from(&self, giver: &str, client: &str, bytes: u64) -> Result<()> {
        self.only(Bytes { peer: bytes, hosted: 0, origin: 0 }, giver, client, bytes)
    }

    /// That `client` has all `bytes` from `giver`, as its hosted cache.
    pub fn all_from_hosted_cache(&self, giver: &str, client: &str, bytes: u64) -> Result<()> {
        self.only(Bytes { peer: 0, hosted: bytes, origin: 0 }, giver, client, bytes)
    }

    fn only(&self, wanted: Bytes, giver: &str, client: &str, bytes: u64) -> Result<()> {
        let (found, given) = (self.bytes(client)?, self.given(giver, client));
        if found == wanted && given == bytes {
            return Ok(());
        }
        Err(format!("{client} has {given} bytes from {giver}, not {bytes}, and {found:?}: {}", self.json))
    }

    /// That `client` has all `bytes` from peers.
    pub fn all_from_peers(&self, client: &str, bytes: u64) -> Result<()> {
        let found = self.bytes(client)?;
        if found == (Bytes { peer: bytes, hosted: 0, origin: 0 }) {
            return Ok(());
        }
        Err(format!("{client} has not all from peers, but {found:?}: {}", self.json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_what_from_whom() {
        let json = r#"{"clients":[{"name":"client-01","ok":true,"bytes":{"local":0,"peer":7,"hosted":0,"origin":0}},
            {"name":"client-02","ok":true,"bytes":{"local":0,"peer":5,"hosted":0,"origin":2}},
            {"name":"client-04","ok":true,"bytes":{"local":0,"peer":0,"hosted":3,"origin":0}}],"timeline":[
            {"from":"machine-01","to":"client-04","bytes":3,"blocks":1},
            {"from":"machine-01","to":"client-01","bytes":7,"blocks":1},
            {"from":"client-01","to":"client-02","bytes":5,"blocks":1}]}"#;
        let report = Report { json: json.into(), good: true };
        assert_eq!(report.bytes("client-02"), Ok(Bytes { peer: 5, hosted: 0, origin: 2 }));
        assert!(report.bytes("client-03").is_err() && !report.held_up());
        let slow = Report { json: r#"{"held_up":{"times":1}}"#.into(), good: true };
        assert!(slow.held_up());
        assert_eq!(report.given("machine-01", "client-02"), 0);
        assert_eq!(report.all_from("machine-01", "client-01", 7), Ok(()));
        assert_eq!(report.all_from_peers("client-01", 7), Ok(()));
        assert_eq!(report.all_from_hosted_cache("machine-01", "client-04", 3), Ok(()));
        assert!(report.all_from_hosted_cache("machine-01", "client-01", 7).is_err());
        assert!(report.all_from("machine-01", "client-04", 3).is_err());
        for (client, bytes) in [("client-01", 8), ("client-02", 7), ("client-02", 5)] {
            assert!(report.all_from("machine-01", client, bytes).is_err(), "{client} {bytes}");
            assert!(report.all_from_peers(client, bytes).is_err(), "{client} {bytes}");
        }
    }
}
