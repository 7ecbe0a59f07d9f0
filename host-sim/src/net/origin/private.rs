//! The folder of secrets, and the server secret key that is kept there where nobody has given one.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// The name of the key.
const KEY: &str = "server-secret-key";

/// Bytes of a key that is drawn: as many as SHA-256 has.
const KEY_BYTES: usize = 32;

/// Makes a folder that is its owner's alone, unless it is there.
pub fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The key of this folder. It has to stay the same: with another one clients would not find what they have
/// under the ids of before.
pub fn own_key(folder: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    match read(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(&mut *key).map_err(io::Error::other)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(&*key)?;
    file.as_file().sync_data()?;
    // Another server may have been faster: then that one's it is.
    match file.persist_noclobber(folder.join(KEY)) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => read(folder),
    }
}

fn read(folder: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    let mut file = File::open(folder.join(KEY))?;
    file.read_exact(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("a/b");
        make_private(&folder).and_then(|()| make_private(&folder)).expect("a writable folder");
        let key = own_key(&folder).expect("it is drawn");
        assert_eq!(own_key(&folder).expect("it is read"), key);
        assert_ne!(*key, vec![0; KEY_BYTES]);
        #[cfg(unix)]
        for (path, mode) in [(folder.clone(), 0o700), (folder.join(KEY), 0o600)] {
            let permissions = fs::metadata(path).expect("it is there").permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, mode);
        }
        fs::write(folder.join(KEY), "short").expect("it is ours");
        assert!(own_key(&folder).is_err());
    }
}
