//! `peerdist package`: blocks from one cache to another, in a file.

mod export;
mod import;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use peerdist_core::content::{Info, InfoError};
use peerdist_sim::crypto::FastCrypto;
use peerdist_sim::package::{Known, MAX_SEGMENTS};

use super::info::Input;
use super::peer::LimitArgs;
use super::{Ending, Failure};

const EXPORT_HELP: &str = "\
JSON: one object.
  blocks, segments  how many are in the package
  bytes             of the package
  damaged           blocks that could not be read, and are not in it
  unfit             blocks that are not encrypted, or longer than any, and are not in it
  missing           blocks that INFO tells of and the cache does not have

Exit codes:
  0  the package is there
  1  it is there, and some blocks are not in it that should be
  2  it could not be made: one line on stderr says why";

const IMPORT_HELP: &str = "\
JSON: one object.
  complete     whether the package was read to its end, and is as it was made
  blocks       how many were read; the next five add up to it
  verified     blocks that are in the cache now, since content information says that they are right
  as_received  blocks that are in the cache now, unverified, for a hosted cache of version 2
  present      blocks that were there
  unknown      blocks without content information, which are not taken
  refused      blocks that are not what content information says: the first of them are on stderr
  evicted      blocks that went to make room

Exit codes:
  0  all blocks were taken, or were there
  1  some are unknown or were refused
  2  not all of the package could be read or written; what came before that stays. One line on stderr says why";

/// Content informations at once, each of which is an open file.
const MAX_INFOS: usize = 128;

/// Takes blocks from one cache to another in a file: to load the cache of a branch before it is asked.
///
/// A package has encrypted blocks, and never their keys, which are in content information. Take that along by another
/// way: with it, every block is verified before it is in the cache. docs/PACKAGE.md has the format.
#[derive(clap::Args)]
#[command(arg_required_else_help = false)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Puts the blocks of a cache into a package
    ///
    /// Nothing in the cache changes. FILE appears when it is complete; until then it is FILE.part.
    #[command(after_help = EXPORT_HELP)]
    Export {
        /// The folder with the blocks
        #[arg(long, value_name = "DIR")]
        cache: PathBuf,

        /// The package to write; - for stdout
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,

        #[command(flatten)]
        infos: InfoArgs,

        /// Replace the file if it exists
        #[arg(long)]
        force: bool,

        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },

    /// Takes the blocks of a package into a cache
    ///
    /// A block is verified by the content information that tells of it, as one from a peer is, before it is in the
    /// cache; without any, it is left out.
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// The folder with the blocks; made if it is not there
        #[arg(long, value_name = "DIR")]
        cache: PathBuf,

        /// The package; - for stdin
        file: PathBuf,

        #[command(flatten)]
        infos: InfoArgs,

        /// Keep blocks without content information unverified, as a hosted cache of version 2 does: only that serves them
        #[arg(long)]
        as_received: bool,

        #[command(flatten)]
        limits: LimitArgs,

        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct InfoArgs {
    /// Content information of the blocks to take, one for each --info; - for stdin
    #[arg(long = "info", value_name = "INFO")]
    paths: Vec<PathBuf>,
}

/// Content information as it was opened, and what it says.
type Opened = Vec<(Input, Info)>;

/// Does it.
pub fn run(args: Args) -> Result<Ending, Failure> {
    match args.action {
        Action::Export { cache, output, infos, force, json } => {
            let opened = infos.open(None)?;
            let known = known(&opened)?;
            let wanted = (!infos.paths.is_empty()).then_some(&known);
            let order = export::Order { cache: &cache, output: &output, force, json };
            order.run(wanted).map_err(|stop| stop.failure(&opened))
        }
        Action::Import { cache, file, infos, as_received, limits, json } => {
            let opened = infos.open(Some(&file))?;
            let limits = limits.limits();
            let order = import::Order { cache: &cache, file: &file, limits, as_received, json };
            order.run(&known(&opened)?).map_err(|stop| stop.failure(&opened))
        }
    }
}

/// Why a command stops in the middle.
enum Stop {
    /// Content information of this number, in the order of the options, cannot be read any more.
    Info(usize, InfoError),
    Other(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<(usize, InfoError)> for Stop {
    fn from((number, error): (usize, InfoError)) -> Self {
        Self::Info(number, error)
    }
}

impl Stop {
    fn failure(self, opened: &Opened) -> Failure {
        match self {
            Self::Info(number, error) => match opened.get(number) {
                Some((input, _)) => input.failure(&error),
                None => Failure(error.to_string()),
            },
            Self::Other(failure) => failure,
        }
    }
}

impl InfoArgs {
    /// Opens all of them, where stdin is not taken twice. What describes empty content tells of no block.
    fn open(&self, package: Option<&Path>) -> Result<Opened, Failure> {
        let paths = self.paths.iter().map(PathBuf::as_path);
        if paths.clone().chain(package).filter(|path| *path == Path::new("-")).count() > 1 {
            return Err(Failure("stdin cannot be two files".into()));
        }
        if self.paths.len() > MAX_INFOS {
            return Err(Failure(format!("--info: more than {MAX_INFOS} at once")));
        }
        let mut opened = Vec::new();
        for path in paths {
            let input = Input::open(path)?;
            if let (_, Some(info)) = input.parse()? {
                opened.push((input, info));
            }
        }
        Ok(opened)
    }
}

fn known(opened: &Opened) -> Result<Known<'_>, Failure> {
    let mut known = Known::default();
    for (input, info) in opened {
        known.add(&mut FastCrypto, info.clone(), input.source()).map_err(|error| match error {
            Some(error) => input.failure(&error),
            None => Failure(format!("{}: more than {MAX_SEGMENTS} segments in all", input.name())),
        })?;
    }
    Ok(known)
}
