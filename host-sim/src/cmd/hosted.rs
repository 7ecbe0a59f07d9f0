//! `peerdist hosted`: a hosted cache on a real network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use peerdist_core::encoding::InfoVersion;
use peerdist_core::hosted::server;
use peerdist_core::hosted::wire::Version;
use peerdist_sim::net::cache;
use peerdist_sim::net::local;
use peerdist_sim::net::peer::Peer;
use peerdist_sim::net::station::{Hosting, Setup};

use super::admin::{self, AdminArgs};
use super::peer::LimitArgs;
use super::wire::{self, Bind};
use super::{Ending, Failure, print, signals, tell};

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0  it was asked to end, by SIGTERM or Ctrl-C, and did
  2  it could not be started: one line on stderr says why";

/// Keeps for a whole office what its clients offer: a hosted cache (version 2).
///
/// Clients say by HTTP what they have got from an origin; it gets the blocks from them and hands them out to others.
/// It has no keys: who gets a block verifies it. When it is ready it prints a line: `ready ADDR:PORT`, then how many
/// bytes the cache has, and where it is. A client that names a port on which it cannot be reached is told of on
/// stderr.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The address of this machine to serve on
    #[arg(long, value_name = "ADDR")]
    bind: Bind,

    /// The folder with the blocks; made if it is not there
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,

    /// The TCP port of offers and blocks
    #[arg(long, value_name = "N", default_value_t = 80)]
    port: u16,

    /// How many segments of one client wait to be got from it
    #[arg(long, value_name = "N", default_value_t = server::Limits::default().segments)]
    per_client: u16,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    admin: AdminArgs,
}

/// Serves until a signal comes.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let bind = args.bind.address;
    let addresses = local::of_interface(bind).map_err(|error| Failure(format!("--bind: {error}")))?;
    let admin = args.admin.bind()?;
    let limits = args.limits.limits();
    let storage = cache::open(&args.cache, limits).map_err(|error| Failure(format!("--cache {error}")))?;
    let size = storage.blocks.size();
    let hosting = Hosting::Here(server::Limits { segments: args.per_client, ..server::Limits::default() });
    let (serve, content_info) = (Some(args.port), InfoVersion::V2);
    let mut station = wire::open(Setup { addresses, tap: None, serve, content_info, storage, hosting })?;
    let control = station.control();
    signals::on_end(move || control.stop());
    let ready = SocketAddr::new(bind, station.driver.port());
    let mut lines = format!("ready {ready}, {size} bytes in {}\n", args.cache.display());
    lines += &format!("offers to http://{ready}{}\n", Version::V2.path());
    if let Some(admin) = admin {
        let peer = Peer { control: station.control(), cache: args.cache, limits };
        lines += &admin::start(admin, Arc::new(peer))?;
    }
    print(&lines)?;
    while !station.is_stopped() {
        let wait = station.poll(&mut |_| {});
        if let Some(client) = station.node.hosted().and_then(|state| state.poll_unreachable()) {
            tell(&format!("client port unreachable: {client}; what it offers is given up"));
        }
        station.wait(wait).map_err(|error| Failure(format!("waiting for the network: {error}")))?;
    }
    Ok(Ending::Good)
}
