//! The simulated LAN: `peerdist sim`, with a seat for the appliance.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Stdio};

use super::log::{Failure, Log, Running, boxed, dies_with_us};
use super::report::Report;
use crate::Result;
use crate::run::target_dir;

/// The LAN, running.
pub struct Lan {
    sim: Running,
    /// Where it takes orders.
    orders: ChildStdin,
    /// What it says of machines, clients and floods.
    pub log: Log,
    /// Where it waits for the appliance.
    address: String,
}

impl Lan {
    /// That of a scenario: its clients are held until they are told to start. What each host sends and receives
    /// is kept in the folder `captures` from the end of the run on, if there is one.
    pub fn start(scenario: &Path, captures: Option<&Path>) -> Result<Self, Failure> {
        let mut command = dies_with_us(target_dir().join("release/peerdist"));
        command.args(["sim", "--attach", "qemu:127.0.0.1:0", "--hold", "--json"]).arg(scenario);
        if let Some(folder) = captures {
            command.arg("--pcap").arg(folder);
        }
        let mut sim = Running::start(command.stdin(Stdio::piped()))?;
        let orders = sim.0.stdin.take().ok_or_else(|| "the simulation has no stdin".to_owned())?;
        let log = Log::follow("lan", vec![boxed(sim.0.stderr.take())])?;
        let line = log.wait_for("qemu: waiting at ")?;
        let address = line.rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { sim, orders, log, address })
    }

    /// What QEMU has to be told of it.
    pub fn netdev(&self) -> String {
        format!("socket,id=lan,connect={}", self.address)
    }

    /// Has it do that: `start`, `leave NAME`, `back NAME`, `flood NAME`.
    pub fn order(&mut self, order: &str) -> Result<()> {
        println!("    order: {order}");
        let failed = |error: std::io::Error| format!("the simulation: {error}");
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .and_then(|()| self.orders.flush())
            .map_err(failed)
    }

    /// What it comes to, when all clients have ended.
    pub fn report(mut self) -> Result<Report> {
        let failed = |error: std::io::Error| format!("the simulation: {error}");
        let mut json = String::new();
        let stdout = self.sim.0.stdout.as_mut().ok_or("the simulation has no stdout")?;
        stdout.read_to_string(&mut json).map_err(failed)?;
        let status = self.sim.0.wait().map_err(failed)?;
        println!("    report: {}", json.trim());
        Ok(Report { json, good: status.success() })
    }
}
