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

/// The bits of a mode by which others than the owner may put files into a folder, or take them out.
#[cfg(unix)]
const WRITABLE: u32 = 0o022;

/// Makes a folder that is its owner's alone, unless it is there. One that others may write to is refused: they
/// could put their key in the place of the owner's. Its mode is left as it is, since it may be a folder that
/// is shared on purpose, like that of temporary files.
pub fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder)?.permissions()) & WRITABLE != 0 {
        let reason = "others may write to it, and it is to hold secrets: `chmod go-w` forbids them";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
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

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for (mode, good) in
            [(0o700, true), (0o755, true), (0o770, false), (0o702, false), (0o1777, false), (0o750, true)]
        {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(folder.path(), permissions).expect("it is ours");
            let made = make_private(folder.path());
            assert_eq!(made.is_ok(), good, "{mode:o}");
            assert!(made.err().is_none_or(|error| error.to_string().contains("chmod go-w")), "{mode:o}");
        }
    }

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
