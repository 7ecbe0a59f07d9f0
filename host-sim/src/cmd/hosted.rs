//! `peerdist hosted`: a hosted cache on a real network.

use peerdist_core::hosted::server;
use peerdist_core::hosted::wire::Version;
use peerdist_sim::net::station::Hosting;

use super::peer::{EXIT_CODES, ServeArgs};
use super::wire::Bind;
use super::{Ending, Failure, tell};

/// Keeps for a whole office what its clients offer: a hosted cache (version 2).
///
/// Clients say by HTTP what they have got from an origin; it gets the blocks from them and hands them out to others.
/// It has no keys: who gets a block verifies it. When it is ready it prints a line: `ready ADDR:PORT`, then how many
/// bytes the cache has, and where it is. A client that names a port on which it cannot be reached is told of on
/// stderr, once a minute at most.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The address of this machine to serve on
    #[arg(long, value_name = "ADDR")]
    bind: Bind,

    /// How many segments of one client wait to be got from it
    #[arg(long, value_name = "N", default_value_t = server::Limits::default().segments)]
    per_client: u16,

    #[command(flatten)]
    serve: ServeArgs,
}

/// Serves until a signal comes.
pub fn run(args: Args) -> Result<Ending, Failure> {
    args.bind.of_this_machine()?;
    let limits = server::Limits { segments: args.per_client, ..server::Limits::default() };
    let offers = |ready| format!("offers to http://{ready}{}\n", Version::V2.path());
    args.serve.run(args.bind.address, None, Hosting::Here(limits), &offers, &mut |station| {
        while let Some(client) = station.node.hosted().and_then(|state| state.poll_unreachable()) {
            tell(&format!("client port unreachable: {client}; what it offers is given up"));
        }
    })
}
