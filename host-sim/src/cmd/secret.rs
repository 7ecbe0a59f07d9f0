//! The server secret key among the arguments of a command.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Failure;

/// Bytes of the largest key file: a key is a few dozen, and a file that is not one should not
/// be read to its end.
pub const MAX_KEY_FILE_BYTES: usize = 64 * 1_024;

/// Where the server secret key comes from: one option at most.
#[derive(clap::Args, Default)]
#[group(multiple = false)]
pub struct SecretArgs {
    /// The passphrase of the server; others on this machine can see it while the command runs
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = typed)]
    secret: Option<Typed>,

    /// The server secret key in hexadecimal; others can see it, too
    #[arg(long, value_name = "HEX", allow_hyphen_values = true, value_parser = typed)]
    secret_hex: Option<Typed>,

    /// A file whose bytes are the server secret key, as they are: at most 64 KiB
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// A secret as it was typed: wiped, and impossible to print. What is wrong with it is found after
/// the command line was parsed, since errors of the parser quote the value.
#[derive(Clone)]
pub struct Typed(pub Zeroizing<String>);

/// Takes an argument as a secret.
pub fn typed(text: &str) -> Result<Typed, std::convert::Infallible> {
    Ok(Typed(Zeroizing::new(text.to_string())))
}

impl SecretArgs {
    /// The bytes of the server secret key: at least one. `None` without any of the options.
    pub fn key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let (option, key) = match self {
            Self { secret: Some(text), .. } => ("--secret", utf16(&text.0)),
            Self { secret_hex: Some(text), .. } => {
                ("--secret-hex", hex(&text.0).ok_or(Failure("--secret-hex: not pairs of hex digits".into()))?)
            }
            Self { key: Some(path), .. } => ("--key", key_file(path)?),
            _ => return Ok(None),
        };
        match key.is_empty() {
            true => Err(Failure(format!("{option}: an empty key keeps no secret"))),
            false => Ok(Some(key)),
        }
    }
}

/// Fact 5: a passphrase counts as its UTF-16LE bytes, without a NUL.
fn utf16(text: &str) -> Zeroizing<Vec<u8>> {
    // A byte of UTF-8 gives at most one unit of UTF-16: the bytes are never moved, so none are left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * text.len()));
    text.encode_utf16().for_each(|unit| bytes.extend_from_slice(&unit.to_le_bytes()));
    bytes
}

fn hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    for pair in text.as_bytes().chunks(2) {
        let &[high, low] = pair else { return None };
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Some(bytes)
}

fn key_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failure = |reason: String| Failure(format!("--key {}: {reason}", path.display()));
    match File::open(path).and_then(|file| bounded(file, MAX_KEY_FILE_BYTES)) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(failure(format!("more than {} KiB, so no key", MAX_KEY_FILE_BYTES / 1_024))),
        Err(error) => Err(failure(error.to_string())),
    }
}

/// All that `source` holds; `None` if that is more than `max` bytes.
pub fn bounded(source: impl Read, max: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // Room for one more than allowed, so that reading neither moves the secret nor goes on for long.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max + 1));
    let len = source.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((len <= max).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        secret: SecretArgs,
    }

    /// The key, or the line that says why not.
    fn key(args: &[&str]) -> Result<Option<Vec<u8>>, String> {
        let args = [&["peerdist"], args].concat();
        let command = Command::try_parse_from(args).unwrap_or_else(|error| panic!("{error}"));
        let key = command.secret.key().map_err(|Failure(line)| line)?;
        Ok(key.map(|key| key.to_vec()))
    }

    #[test]
    fn keys() {
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["--secret", "hé€"]), Ok(Some(b"h\0\xe9\0\xac\x20".to_vec())));
        assert_eq!(key(&["--secret", "𝄞"]), Ok(Some(b"\x34\xd8\x1e\xdd".to_vec())));
        assert_eq!(key(&["--secret", "-x"]), Ok(Some(b"-\0x\0".to_vec())));
        assert_eq!(key(&["--secret-hex", "00fFA5"]), Ok(Some(vec![0, 0xff, 0xa5])));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        for len in [1, MAX_KEY_FILE_BYTES] {
            fs::write(&file, vec![7; len]).expect("a writable folder");
            assert_eq!(key(&["--key", file.to_str().expect("UTF-8")]), Ok(Some(vec![7; len])));
        }
    }

    #[test]
    fn no_keys() {
        for hex in ["0", "0g", "+1", "éa", "00 1"] {
            assert_eq!(key(&["--secret-hex", hex]), Err("--secret-hex: not pairs of hex digits".into()));
        }
        for option in ["--secret", "--secret-hex"] {
            assert_eq!(key(&[option, ""]), Err(format!("{option}: an empty key keeps no secret")));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let path = file.to_str().expect("UTF-8");
        let refused = || key(&["--key", path]).expect_err("no key");
        assert!(refused().starts_with(&format!("--key {path}: No such file")), "{}", refused());
        fs::write(&file, []).expect("a writable folder");
        assert_eq!(refused(), "--key: an empty key keeps no secret");
        fs::write(&file, vec![7; MAX_KEY_FILE_BYTES + 1]).expect("a writable folder");
        assert_eq!(refused(), format!("--key {path}: more than 64 KiB, so no key"));
        fs::remove_file(&file).expect("it is there");
        fs::create_dir(&file).expect("a writable folder");
        assert!(refused().contains("directory"), "{}", refused());
    }

    #[test]
    fn one_key_at_most() {
        for args in [["--secret", "a", "--key", "b"], ["--secret-hex", "aa", "--secret", "b"]] {
            assert!(Command::try_parse_from([&["peerdist"], &args[..]].concat()).is_err());
        }
    }
}
