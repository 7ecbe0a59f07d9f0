//! `peerdist hosted`: a hosted cache on a real network.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::ValueEnum;
use peerdist_core::hosted::server::{Limits, Rules};
use peerdist_core::hosted::wire::Version;
use peerdist_hal::std::rustls::ServerConfig;
use peerdist_sim::net::station::{HOSTED_STREAMS, HostedSetup, Hosting, connections};
use peerdist_sim::net::tls;

use super::peer::{EXIT_CODES, ServeArgs};
use super::wire::Bind;
use super::{Ending, Failure, tell};

/// Files beside those of connections: of the cache, and what every process has.
const OTHER_FILES: u64 = 256;

/// Tables of that many connections lie on the stack while they are made, and some systems give a first thread 1 MiB.
const STACK_BYTES: usize = 16 << 20;

/// The port of HTTPS.
const TLS_PORT: u16 = 443;

/// Keeps for a whole office what its clients offer: a hosted cache.
///
/// Clients say what they have got from an origin, by HTTP (version 2) or by HTTPS (version 1); it gets the blocks from
/// them and hands them out to others. Version 1 gives it the keys: it verifies every block. Version 2 does not: who
/// gets a block verifies it. When it is ready it prints a line: `ready ADDR:PORT`, then how many bytes the cache has,
/// and where it is; then one for each version, with its URL. A client that names a port on which it cannot be reached
/// is told of on stderr, once a minute at most.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The address of this machine to serve on
    #[arg(long, value_name = "ADDR")]
    bind: Bind,

    /// How many segments of one client wait to be got from it
    #[arg(long, value_name = "N", default_value_t = Limits::default().segments, value_parser = clap::value_parser!(u16).range(1..))]
    per_client: u16,

    /// The versions of offers that are taken, such as v1,v2 [default: v2; with a certificate both]
    #[arg(long, value_name = "VERSIONS", value_delimiter = ',', hide_possible_values = true)]
    accept: Vec<Accepted>,

    #[command(flatten)]
    tls: TlsArgs,

    /// Keep blocks of version 1 as they come, WITHOUT verifying them: whoever offers garbage has it handed out, until
    /// those who get it find out
    #[arg(long)]
    trust_offers: bool,

    #[command(flatten)]
    serve: ServeArgs,
}

/// How version 1 is secured, by TLS 1.2 or 1.3.
#[derive(clap::Args)]
struct TlsArgs {
    /// The TCP port of version 1 [default: 443]
    #[arg(long, value_name = "N", requires = "certificate")]
    tls_port: Option<u16>,

    /// The certificate of this server in PEM form, and those above it
    #[arg(long, value_name = "FILE", group = "certificate", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of the certificate in PEM form
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Make a certificate at each start: to try it out, since clients have no reason to trust it
    #[arg(long, group = "certificate", conflicts_with_all = ["cert", "key"])]
    tls_self_signed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accepted {
    V1,
    V2,
}

/// Serves until a signal comes.
pub fn run(args: Args) -> Result<Ending, Failure> {
    args.bind.of_this_machine()?;
    let setup = args.setup()?;
    let rules = setup.rules;
    if rules.trusts {
        tell(
            "--trust-offers: blocks that are offered by version 1 are NOT verified before they are handed out",
        );
    }
    allow_files();
    let offers = move |plain: SocketAddr, secured: Option<SocketAddr>| {
        let v2 = rules.v2.then(|| format!("offers to http://{plain}{}\n", Version::V2.path()));
        let v1 = secured.map(|secured| format!("offers to https://{secured}{}\n", Version::V1.path()));
        v2.into_iter().chain(v1).collect()
    };
    let (bind, hosting) = (args.bind.address, Hosting::Here(setup));
    let serve = move || {
        args.serve.run::<HOSTED_STREAMS>(bind, None, hosting, &offers, &mut |station| {
            while let Some(client) = station.node.hosted().and_then(|state| state.poll_unreachable()) {
                tell(&format!("client port unreachable: {client}; what it offers is given up"));
            }
            None
        })
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(serve);
    let thread = thread.map_err(|error| Failure(format!("a thread: {error}")))?;
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

impl Args {
    fn setup(&self) -> Result<HostedSetup, Failure> {
        let failure = |text: &str| Err(Failure(text.into()));
        let config = self.tls.config(&self.bind)?;
        let takes = |version| match self.accept.as_slice() {
            [] => version == Accepted::V2 || config.is_some(),
            some => some.contains(&version),
        };
        let rules = Rules { v1: takes(Accepted::V1), v2: takes(Accepted::V2), trusts: self.trust_offers };
        match (rules.v1, &config) {
            (true, None) => {
                return failure("--accept v1: that is by TLS: --cert and --key, or --tls-self-signed");
            }
            (false, Some(_)) => return failure("--accept v2: a certificate is for v1 alone"),
            (false, None) if rules.trusts => {
                return failure("--trust-offers: of v1 alone; nothing in v2 can be verified");
            }
            _ => {}
        }
        let tls = config.map(|config| (self.tls.tls_port.unwrap_or(TLS_PORT), config));
        let limits = Limits { segments: self.per_client, ..Limits::default() };
        Ok(HostedSetup { limits, rules, tls })
    }
}

impl TlsArgs {
    fn config(&self, bind: &Bind) -> Result<Option<Arc<ServerConfig>>, Failure> {
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => tls::of_files(cert, key),
            _ if self.tls_self_signed => tls::self_signed(bind.address),
            _ => return Ok(None),
        };
        config.map(Some).map_err(Failure)
    }
}

/// Has the system allow as many open files as there may be connections: some allow half of that at first.
#[cfg(unix)]
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let need = connections(HOSTED_STREAMS) as u64 + OTHER_FILES;
    let Rlimit { current: Some(now), maximum } = getrlimit(Resource::Nofile) else { return };
    let most = maximum.unwrap_or(need).min(need);
    let raised = now >= most || setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }).is_ok();
    if !raised || now.max(most) < need {
        let allowed = if raised { now.max(most) } else { now };
        tell(&format!(
            "the system allows {allowed} open files: of more connections, some wait (ulimit -n {need})"
        ));
    }
}

/// Elsewhere, sockets are no files.
#[cfg(not(unix))]
fn allow_files() {}
