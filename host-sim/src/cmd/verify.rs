//! `peerdist verify`: whether a file is what content information says.

mod check;
mod report;

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use peerdist_core::content::{Info, InfoSource, server_secret};
use peerdist_sim::crypto::AllCores;

use self::check::{Check, Stop};
use super::info::{self, Input};
use super::secret::SecretArgs;
use super::{Ending, Failure, bar, print};

const AFTER_HELP: &str = "\
JSON: one object. Ranges are {\"start\", \"end\"} in bytes of the content, the end not included.
  same         whether nothing differs
  verified     the range whose bytes have been compared; null if there is none
  segments, blocks
               how many have been compared, at least in part
  secret_checked
               whether each segment secret has been derived from the server secret key
  unchecked_hods
               segments whose HoD could not be checked, since FILE does not have all of them; their blocks could
  differences  how many there are
  listed       the first of them: kind, and what applies of segment, block, range, ranges, offset
Of kind there are: block; unlisted_block, which is in one of ranges; block_hashes, which are not those of the
HoD, though they are those of FILE; secret; file_ends at offset, and range is missing; file_goes_on at offset.

Exit codes:
  0  all is the same
  1  something differs
  2  it could not be run: one line on stderr says why";

/// Says whether a file is what content information says, and where it differs.
///
/// FILE is the content from its first byte on, even if INFO describes a part of it. What INFO says of the segments
/// of its range is compared: whole segments, if FILE has them.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The content information; `-` for stdin
    info: PathBuf,

    /// The content; `-` for stdin
    file: PathBuf,

    /// FILE may go on after the end of what INFO describes
    #[arg(long)]
    part: bool,

    #[command(flatten)]
    secret: SecretArgs,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it and prints the result.
pub fn run(args: Args) -> Result<Ending, Failure> {
    if args.info == Path::new("-") && args.file == Path::new("-") {
        return Err(Failure("stdin cannot be both INFO and FILE".into()));
    }
    let key = args.secret.key()?;
    let input = Input::open(&args.info)?;
    let (algorithm, described) = input.parse()?;
    let name = info::name(&args.file, "stdin");
    let mut file = check::File::open(&args.file).map_err(|error| Failure(format!("{name}: {error}")))?;
    let mut crypto = AllCores;
    let report = match described {
        None => check::empty(&mut file, args.part).map_err(Stop::File),
        Some(info) => {
            let ks = key.map(|key| server_secret(&mut crypto, algorithm, &key));
            let (source, bar) = (input.source(), progress_bar(&info, input.source()));
            let check = Check { info: &info, source, ks, part: args.part, bar: &bar };
            let report = check.run(&mut file, &mut crypto);
            bar.finish_and_clear();
            report
        }
    };
    let report = report.map_err(|stop| match stop {
        Stop::Info(error) => input.failure(&error),
        Stop::File(error) => Failure(format!("{name}: {error}")),
    })?;
    print(&if args.json { report.to_json() + "\n" } else { report.to_text(&super::one_line(&name)) })?;
    Ok(if report.same() { Ending::Good } else { Ending::Bad })
}

/// Progress on stderr, if that is a terminal.
fn progress_bar(info: &Info, source: &dyn InfoSource) -> ProgressBar {
    let start = info.segment(source, 0).map_or(0, |segment| segment.offset());
    bar::of_bytes(Some(info.content_end().saturating_sub(start)))
}
