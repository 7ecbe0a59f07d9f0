//! `peerdist peer`: a serving peer on a real network.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peerdist_core::encoding::InfoVersion;
use peerdist_hal::file::MAX_BLOCKS;
use peerdist_sim::net::cache::{self, Limits};
use peerdist_sim::net::local;
use peerdist_sim::net::peer::Peer;
use peerdist_sim::net::station::{Hosting, PEER_STREAMS, Setup, Station};
use peerdist_sim::net::wire::Tap;

use super::admin::{self, AdminArgs};
use super::offers::{Holdings, HostedArgs, Telling};
use super::wire::{self, Bind, WireArgs};
use super::{Ending, Failure, print, signals, tell};

/// What `--help` says at its end.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  it was asked to end, by SIGTERM or Ctrl-C, and did
  2  it could not be started: one line on stderr says why";

/// Joins the local network as a peer that serves what its cache has.
///
/// It answers probes on UDP port 3702 and serves blocks on the TCP port until a signal ends it. When it is
/// ready it prints a line: `ready ADDR:PORT`, then how many bytes the cache has, and where it is.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The address of this machine on the network to serve; its interface is the one that is used
    #[arg(long, value_name = "ADDR")]
    bind: Bind,

    #[command(flatten)]
    wire: WireArgs,

    #[command(flatten)]
    hosted: HostedArgs,

    #[command(flatten)]
    serve: ServeArgs,
}

/// What serves others out of a cache.
#[derive(clap::Args)]
pub struct ServeArgs {
    /// The folder with the blocks; made if it is not there
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,

    /// The TCP port on which others are served
    #[arg(long, value_name = "N", default_value_t = 80)]
    port: u16,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    admin: AdminArgs,
}

/// How much a cache keeps.
#[derive(clap::Args)]
pub struct LimitArgs {
    /// How much the cache holds, such as 500MiB or 20GiB: beyond, what was not used for longest goes
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = size)]
    max_size: u64,

    /// How many days a block is kept
    #[arg(long, value_name = "DAYS", default_value_t = cache::DEFAULT_MAX_AGE_DAYS)]
    max_age: u64,
}

impl LimitArgs {
    /// The same for a cache.
    pub fn limits(&self) -> Limits {
        Limits { max_size: self.max_size, max_age: cache::days(self.max_age) }
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size = peerdist_sim::scenario::parse_room(text).map_err(|error| error.to_string())?;
    if size > cache::MOST_BYTES {
        let gib = cache::MOST_BYTES >> 30;
        return Err(format!("{gib}GiB at most: no more blocks of 64 KiB are kept than {MAX_BLOCKS}"));
    }
    Ok(size)
}

/// Says so where no peer can be found.
pub fn warn_of_no_multicast(bind: IpAddr) {
    if let Some(interface) = local::without_multicast(bind) {
        tell(&format!("{interface}, which has {bind}, takes no multicast: no peers are found there"));
    }
}

/// Serves until a signal comes.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let bind = args.bind.address;
    let tap = args.wire.tap(Some(args.bind))?;
    if tap.is_none() && args.hosted.uses_peers() {
        warn_of_no_multicast(bind);
    }
    let (hosted, hosting) = (&args.hosted, args.hosted.hosting()?);
    if hosted.is_old() {
        // That takes the keys of a segment, which no cache keeps.
        tell("what the cache has cannot be offered to hosted caches of version 1");
    }
    let (mut holdings, mut telling) = (Holdings::default(), Telling::default());
    args.serve.run::<PEER_STREAMS>(bind, tap, hosting, &|_, _| String::new(), &mut |station| {
        telling.failure(hosted, station);
        (hosted.any() && !hosted.is_old()).then(|| holdings.offer(station))
    })
}

impl ServeArgs {
    /// Serves at this address until a signal comes. Says that it is ready, and `more` of where it is, plainly and by
    /// TLS; calls `each` in every turn, and again after the time that it tells.
    pub fn run<const STREAMS: usize>(
        self,
        bind: IpAddr,
        tap: Option<Tap>,
        hosting: Hosting,
        more: &dyn Fn(SocketAddr, Option<SocketAddr>) -> String,
        each: &mut dyn FnMut(&mut Station<STREAMS>) -> Option<Duration>,
    ) -> Result<Ending, Failure> {
        let addresses = if tap.is_some() { Ok(Vec::new()) } else { local::of_interface(bind) };
        let addresses = addresses.map_err(|error| Failure(format!("--bind: {error}")))?;
        let admin = self.admin.bind()?;
        let limits = self.limits.limits();
        let storage =
            cache::open(&self.cache, limits).map_err(|error| Failure(format!("--cache {error}")))?;
        let size = storage.blocks.size();
        let (serve, content_info) = (Some(self.port), InfoVersion::V2);
        let mut station = wire::open(Setup { addresses, tap, serve, content_info, storage, hosting })?;
        let control = station.control();
        signals::on_end(move || control.stop());
        let ready = SocketAddr::new(bind, station.driver.port());
        let mut lines = format!("ready {ready}, {size} bytes in {}\n", self.cache.display());
        lines += &more(ready, station.tls_port.map(|port| SocketAddr::new(bind, port)));
        if let Some(admin) = admin {
            let peer = Peer { control: station.control(), cache: self.cache, limits };
            lines += &admin::start(admin, Arc::new(peer))?;
        }
        print(&lines)?;
        while !station.is_stopped() {
            let wait = station.poll(&mut |_| {});
            let wait = wait.into_iter().chain(each(&mut station)).min();
            station.wait(wait).map_err(|error| Failure(format!("waiting for the network: {error}")))?;
        }
        Ok(Ending::Good)
    }
}
