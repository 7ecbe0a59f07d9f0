//! The command line: one file per subcommand. Errors are one line on stderr.
//!
//! Exit codes: 0, all is well; 1, it ran but the result is not what it should be; 2, it could not be run. A
//! command with more of them says so in its help.

mod admin;
mod bar;
mod get;
mod hash;
mod hosted;
mod info;
mod inspect;
mod key;
mod offers;
mod origin;
mod package;
mod peer;
mod secret;
mod signals;
mod sim;
mod status;
mod temporary;
mod verify;
mod wire;

use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  it ran, and the result is not what it should be
  2  it could not be run, or not all be written: one line on stderr says why";

/// Shares downloads within a branch office, as Windows' BranchCache does.
///
/// Without a command: simulates a branch office of ten clients.
#[derive(Parser)]
#[command(name = "peerdist", version, after_help = EXIT_CODES)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Sim(sim::Args),
    Get(get::Args),
    Peer(peer::Args),
    Hosted(hosted::Args),
    Hash(hash::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Key(key::Args),
    Package(package::Args),
    Origin(origin::Args),
    Status(status::Args),
}

/// How a command ended that could be run.
enum Ending {
    Good,
    /// The result is not what it should be; the command has shown it.
    Bad,
    /// It could not all be run; the command has said what and why.
    Partial,
    /// This code says how.
    Code(u8),
}

/// Why a command could not be run: one line that names the thing and the reason.
struct Failure(String);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let ending = match Args::try_parse() {
        Ok(args) => match args.command.unwrap_or_else(|| Command::Sim(sim::Args::default())) {
            Command::Get(args) => get::run(args),
            Command::Peer(args) => peer::run(args),
            Command::Hosted(args) => hosted::run(args),
            Command::Key(args) => key::run(args),
            Command::Package(args) => package::run(args),
            Command::Origin(args) => origin::run(args),
            Command::Status(args) => status::run(args),
            Command::Sim(args) => sim::run(args),
            Command::Inspect(args) => inspect::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Hash(args) => hash::run(args),
        },
        Err(error) => usage(&error),
    };
    match ending {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Bad) => ExitCode::from(1),
        Ok(Ending::Partial) => ExitCode::from(2),
        Ok(Ending::Code(code)) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(2)
        }
    }
}

impl Failure {
    fn tell(&self) {
        tell(&self.0);
    }
}

/// Writes a line to stderr.
fn tell(line: &str) {
    // If stderr is closed there is nobody left to tell.
    _ = writeln!(io::stderr(), "peerdist: {}", one_line(line));
}

/// Help goes to stdout as it is; of an error, the line that says what is wrong.
fn usage(error: &clap::Error) -> Result<Ending, Failure> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        error.print().map_err(|error| Failure(format!("stdout: {error}")))?;
        return Ok(Ending::Good);
    }
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    // What people typed may have several lines itself.
    let mut text = error.render().to_string();
    for typed in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if let Some(typed) = context(typed).filter(|typed| *typed != one_line(typed)) {
            text = text.replace(&typed, &one_line(&typed));
        }
    }
    let line = text.lines().next().unwrap_or_default();
    let mut line = line.strip_prefix("error: ").unwrap_or(line).to_string();
    if let (ErrorKind::ValueValidation, Some(option), Some(value), Some(reason)) = (
        error.kind(),
        context(ContextKind::InvalidArg),
        context(ContextKind::InvalidValue),
        std::error::Error::source(error),
    ) {
        line = format!("invalid value '{value}' for '{option}': {reason}");
    }
    if let (ErrorKind::MissingRequiredArgument, Some(missing)) =
        (error.kind(), context(ContextKind::InvalidArg))
    {
        line = format!("missing: {missing}");
    }
    if let Some(values) = context(ContextKind::ValidValue).filter(|values| !values.is_empty()) {
        line += &format!("; possible values: {values}");
    }
    Err(Failure(line))
}

/// The text with whatever would move a terminal's cursor, or begin a line, written as an escape.
fn one_line(text: &str) -> String {
    let unsafe_char = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let escaped =
        text.chars().map(|c| if unsafe_char(c) { c.escape_default().to_string() } else { c.to_string() });
    escaped.collect()
}

/// Prints a result.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// What came of writing to stdout. Somebody who stops reading (`| head`) has seen enough: that is no failure.
fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(format!("stdout: {error}"))),
        _ => Ok(()),
    }
}

/// A standard stream as a file: the standard library keeps what passes in buffers that nobody wipes.
#[cfg(unix)]
fn unbuffered(stream: impl std::os::fd::AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn unbuffered(stream: impl std::os::windows::io::AsHandle) -> io::Result<File> {
    stream.as_handle().try_clone_to_owned().map(File::from)
}
