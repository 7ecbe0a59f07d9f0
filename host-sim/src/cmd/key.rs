//! `peerdist key`: makes the server secret key, shows whether two are the same, and carries it from
//! one content server to another ([MS-PCCRC 2.5]).

use std::fmt::{Display, Write as _};
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use peerdist_core::content::{secret_key, server_secret};
use peerdist_core::crypto::{Crypto as _, HashAlgorithm, SoftCrypto};
use zeroize::Zeroizing;

use super::info::count;
use super::secret::{MAX_KEY_FILE_BYTES, Typed, bounded, typed};
use super::temporary::{self, folder_of};
use super::{Ending, Failure, one_line, print, unbuffered};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  it could not be done: one line on stderr says why";

/// As many as the hash that Windows makes Ks with gives: more add nothing.
const NEW_KEY_BYTES: usize = 32;

/// What a key of [`MAX_KEY_FILE_BYTES`] gives, so that every key can be carried.
const MAX_SEALED_BYTES: usize = secret_key::export_len(MAX_KEY_FILE_BYTES).expect("far from overflow");

/// A passphrase is one line; a file that is none should not be read to its end.
const MAX_PASSPHRASE_FILE_BYTES: usize = 64 * 1_024;

/// What Ks authenticates to make a fingerprint. HMAC of a hash by Ks is a segment secret; hashes have
/// 32, 48 or 64 bytes and this has 24, so no fingerprint tells anything of a segment secret.
const FINGERPRINT_LABEL: &[u8; 24] = b"peerdist key fingerprint";

/// Enough that keys do not collide by chance.
const FINGERPRINT_BYTES: usize = 8;

/// Content information may be of either version, and each hash makes another Ks of the same key.
const FINGERPRINTS: [(&str, HashAlgorithm); 4] = [
    ("version 1.0, SHA-256", HashAlgorithm::Sha256),
    ("version 1.0, SHA-384", HashAlgorithm::Sha384),
    ("version 1.0, SHA-512", HashAlgorithm::Sha512),
    ("version 2.0, SHA-512", HashAlgorithm::TruncatedSha512),
];

/// Makes, compares and carries server secret keys.
///
/// All content servers of the same content need the same key, or else their clients do not find what
/// each other holds. KEY is a raw key: the file has its bytes and nothing else, so keep it from others. FILE
/// is the format of MS-PCCRC 2.5, which a passphrase protects.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES, arg_required_else_help = false)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a random key, and shows what `show` does
    #[command(after_help = EXIT_CODES)]
    New {
        #[command(flatten)]
        output: Output,

        /// Bytes of the key: 1 to 65536 [default: 32]
        #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_bytes)]
        bytes: Option<usize>,
    },

    /// Protects a raw key by a passphrase
    #[command(after_help = EXIT_CODES)]
    Export {
        /// The raw key, at most 64 KiB; `-` is stdin
        key: PathBuf,

        #[command(flatten)]
        output: Output,

        #[command(flatten)]
        passphrase: PassphraseArgs,
    },

    /// Opens what `export` made, and shows what `show` does
    #[command(after_help = EXIT_CODES)]
    Import {
        /// The protected key; `-` is stdin
        file: PathBuf,

        #[command(flatten)]
        output: Output,

        #[command(flatten)]
        passphrase: PassphraseArgs,
    },

    /// Shows the length and the fingerprints of a raw key, and never the key
    ///
    /// Servers have the same key if their fingerprints are the same: one for each version and hash of the
    /// content information, the first 8 bytes of HMAC(Ks, "peerdist key fingerprint"), where Ks is the hash
    /// of the key. Of a random key they disclose nothing useful. If the key is a text that can be
    /// guessed, whoever has a fingerprint can test guesses: keep it among yourselves.
    #[command(after_help = EXIT_CODES)]
    Show {
        /// The raw key, at most 64 KiB; `-` is stdin
        key: PathBuf,
    },
}

/// Where a result goes.
#[derive(clap::Args)]
struct Output {
    /// The file to write, which only its owner may read; `-` is stdout, without the fingerprints
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Where the passphrase comes from: asked for on the terminal without either.
#[derive(clap::Args)]
#[group(multiple = false)]
struct PassphraseArgs {
    /// The passphrase; others on this machine can see it while the command runs
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = typed)]
    passphrase: Option<Typed>,

    /// A file with the passphrase as its only line; `-` is stdin
    #[arg(long, value_name = "PATH")]
    passphrase_file: Option<PathBuf>,
}

/// Does it.
pub fn run(args: Args) -> Result<Ending, Failure> {
    match args.action {
        Action::New { output, bytes } => new(&output, bytes.unwrap_or(NEW_KEY_BYTES))?,
        Action::Export { key, output, passphrase } => export(&key, &output, &passphrase)?,
        Action::Import { file, output, passphrase } => import(&file, &output, &passphrase)?,
        Action::Show { key } => show(&key, &raw_key(&key)?)?,
    }
    Ok(Ending::Good)
}

fn new(output: &Output, bytes: usize) -> Result<(), Failure> {
    output.check()?;
    let mut key = Zeroizing::new(vec![0; bytes]);
    getrandom::fill(&mut key).map_err(|error| failure("the random source of the system", error))?;
    output.write_key(&key)
}

fn export(key: &Path, output: &Output, passphrase: &PassphraseArgs) -> Result<(), Failure> {
    passphrase.check(key)?;
    output.check()?;
    let raw = raw_key(key)?;
    let passphrase = passphrase.for_export(ask)?;
    let sealed = secret_key::export_len(raw.len()).ok_or(secret_key::KeyFileError::NoRoom).and_then(|len| {
        let mut sealed = vec![0; len];
        secret_key::export(&mut SoftCrypto, &passphrase, &raw, &mut sealed).map(|_| sealed)
    });
    output.write(&sealed.map_err(|error| failure(name(key), error))?)
}

fn import(file: &Path, output: &Output, passphrase: &PassphraseArgs) -> Result<(), Failure> {
    passphrase.check(file)?;
    output.check()?;
    let mut sealed = read(file, MAX_SEALED_BYTES)?;
    let passphrase = passphrase.for_import(ask)?;
    let key = secret_key::import(&mut SoftCrypto, &passphrase, &mut sealed)
        .map_err(|error| failure(name(file), error))?;
    if key.expose().is_empty() {
        return Err(failure(name(file), EMPTY_KEY));
    }
    output.write_key(key.expose())
}

fn show(path: &Path, key: &[u8]) -> Result<(), Failure> {
    let mut text = format!("{}: {}\n", one_line(&name(path)), count(key.len() as u64, "byte"));
    for (version, algorithm) in FINGERPRINTS {
        let ks = server_secret(&mut SoftCrypto, algorithm, key);
        let fingerprint = SoftCrypto.hmac(algorithm, ks.expose(), &[FINGERPRINT_LABEL]);
        text += &format!("  {version}: ");
        for byte in fingerprint.expose().iter().take(FINGERPRINT_BYTES) {
            _ = write!(text, "{byte:02x}");
        }
        text += "\n";
    }
    print(&text)
}

impl Output {
    /// Whether it could be written, before anybody is asked for a passphrase. Links and devices are not
    /// replaced by a file even with `--force`: that is hardly what is wanted.
    fn check(&self) -> Result<(), Failure> {
        if is_stream(&self.output) {
            return match io::stdout().is_terminal() {
                true => Err(failure("stdout", "a terminal, where no key should appear")),
                false => Ok(()),
            };
        }
        let failure = |reason: &dyn Display| Err(failure(self.output.display(), reason));
        match fs::symlink_metadata(&self.output) {
            Ok(found) if !found.is_file() => failure(&"exists, and is not a regular file"),
            Ok(_) if !self.force => failure(&"exists; --force replaces it"),
            Err(error) if error.kind() != io::ErrorKind::NotFound => failure(&error),
            _ => fs::metadata(folder_of(&self.output)).map(|_| ()).or_else(|error| failure(&error)),
        }
    }

    /// Writes all or nothing.
    fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        if is_stream(&self.output) {
            let written = unbuffered(io::stdout()).and_then(|mut stdout| stdout.write_all(bytes));
            return written.map_err(|error| failure("stdout", error));
        }
        let write = || -> io::Result<()> {
            let output = temporary::Output::new(self.output.clone())?;
            output.file().write_all(bytes)?;
            output.persist(self.force)
        };
        write().map_err(|error| failure(self.output.display(), error))
    }

    /// Writes a raw key and, unless it went to stdout, shows what it is.
    fn write_key(&self, key: &[u8]) -> Result<(), Failure> {
        self.write(key)?;
        if is_stream(&self.output) { Ok(()) } else { show(&self.output, key) }
    }
}

impl PassphraseArgs {
    fn check(&self, input: &Path) -> Result<(), Failure> {
        let both = is_stream(input) && self.passphrase_file.as_deref().is_some_and(is_stream);
        if both { Err(failure("stdin", "cannot be both the key and the passphrase")) } else { Ok(()) }
    }

    /// The passphrase of a file that was made before.
    fn for_import(&self, ask: impl FnOnce(&str) -> Asked) -> Asked {
        match self {
            Self { passphrase: Some(Typed(text)), .. } => Ok(text.clone()),
            Self { passphrase_file: Some(path), .. } => only_line(path),
            _ => ask("Passphrase: "),
        }
    }

    /// The passphrase of a file to make: asked for twice, and not empty.
    fn for_export(&self, ask: impl Fn(&str) -> Asked) -> Asked {
        let passphrase = self.for_import(&ask)?;
        // 2.5: a passphrase MUST be there for the key to be exported.
        if passphrase.is_empty() {
            return Err(failure("the passphrase", "empty, so it protects nothing"));
        }
        let is_asked = self.passphrase.is_none() && self.passphrase_file.is_none();
        if is_asked && ask("The same passphrase again: ")? != passphrase {
            return Err(failure("the passphrase", "not the same both times"));
        }
        Ok(passphrase)
    }
}

type Asked = Result<Zeroizing<String>, Failure>;

/// Asks on the terminal, without echo.
fn ask(prompt: &str) -> Asked {
    let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
    typed.map_err(|error| {
        Failure(format!("no passphrase from a terminal ({error}): --passphrase-file takes it from a file"))
    })
}

fn only_line(path: &Path) -> Asked {
    let failure = |reason: &str| failure(name(path), reason);
    // Any kind of file: a password manager may well give it through a pipe.
    let bytes = read_any(path, MAX_PASSPHRASE_FILE_BYTES)?;
    let text = str::from_utf8(&bytes).map_err(|_| failure("a passphrase that is not UTF-8"))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    match line.contains(['\n', '\r']) {
        true => Err(failure("more than the one line of a passphrase")),
        false => Ok(Zeroizing::new(line.to_string())),
    }
}

const EMPTY_KEY: &str = "an empty key keeps no secret";

/// The raw key in a file: at least one byte.
fn raw_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let key = read(path, MAX_KEY_FILE_BYTES)?;
    if key.is_empty() { Err(failure(name(path), EMPTY_KEY)) } else { Ok(key) }
}

/// The bytes of a regular file, or of stdin.
fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Looked at first: opening a pipe would wait for somebody to write.
    if !is_stream(path) && !fs::metadata(path).map_err(|error| failure(name(path), error))?.is_file() {
        return Err(failure(name(path), "not a regular file"));
    }
    read_any(path, max)
}

fn read_any(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let file = if is_stream(path) { unbuffered(io::stdin()) } else { File::open(path) };
    match file.and_then(|file| bounded(file, max)) {
        Ok(bytes) => bytes.ok_or_else(|| failure(name(path), format!("too long: more than {max} bytes"))),
        Err(error) => Err(failure(name(path), error)),
    }
}

/// Whether an argument stands for stdin or stdout.
fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// What messages call an input.
fn name(path: &Path) -> String {
    if is_stream(path) { "stdin".into() } else { path.display().to_string() }
}

fn failure(what: impl Display, reason: impl Display) -> Failure {
    Failure(format!("{what}: {reason}"))
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (1..=MAX_KEY_FILE_BYTES).contains(bytes));
    bytes.ok_or_else(|| format!("not a number from 1 to {MAX_KEY_FILE_BYTES}"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What comes of it if these are typed, and how often was asked.
    fn typing(answers: &[&str], passphrase: impl Fn(&dyn Fn(&str) -> Asked) -> Asked) -> (String, usize) {
        let asked = RefCell::new(0);
        let result = passphrase(&|_| {
            let answer = answers[*asked.borrow()];
            *asked.borrow_mut() += 1;
            Ok(Zeroizing::new(answer.to_string()))
        });
        let text = result.map_or_else(|Failure(line)| line, |passphrase| passphrase.to_string());
        (text, asked.into_inner())
    }

    #[test]
    fn asked_on_the_terminal() {
        let args = PassphraseArgs { passphrase: None, passphrase_file: None };
        assert_eq!(typing(&["one"], |ask| args.for_import(ask)), ("one".into(), 1));
        assert_eq!(typing(&[""], |ask| args.for_import(ask)), ("".into(), 1));
        assert_eq!(typing(&["one", "one"], |ask| args.for_export(ask)), ("one".into(), 2));
        let differs = ("the passphrase: not the same both times".into(), 2);
        assert_eq!(typing(&["one", "One"], |ask| args.for_export(ask)), differs);
        let empty = ("the passphrase: empty, so it protects nothing".into(), 1);
        assert_eq!(typing(&[""], |ask| args.for_export(ask)), empty);
    }

    #[test]
    fn given_and_not_asked_for() {
        let text = Some(Typed(Zeroizing::new("one".into())));
        let args = PassphraseArgs { passphrase: text, passphrase_file: None };
        assert_eq!(typing(&[], |ask| args.for_import(ask)), ("one".into(), 0));
        assert_eq!(typing(&[], |ask| args.for_export(ask)), ("one".into(), 0));
    }
}
