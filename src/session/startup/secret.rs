//! The secret behind the salts of users who do not exist.
//!
//! Never changes once made: a salt that changed at a restart would tell which users are real.
//! Invariant: only the owner of the data directory can read it.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

const FILE_NAME: &str = "scram_mock_secret";
const LEN: usize = 32;

/// Reads the secret from the data directory, or makes it there.
///
/// # Errors
/// When the file can be neither read nor made, or has another length than 32 bytes.
pub fn mock_secret(data_dir: &Path) -> io::Result<[u8; LEN]> {
    let path = data_dir.join(FILE_NAME);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return from_file(&result?),
    }
    let secret: [u8; LEN] = rand::random();
    // A temporary file has mode 0600, and the rename makes it appear whole.
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    file.write_all(&secret)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(secret),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => from_file(&fs::read(&path)?),
        Err(error) => Err(error.error),
    }
}

fn from_file(content: &[u8]) -> io::Result<[u8; LEN]> {
    content.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "scram_mock_secret has a wrong length"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let secret = mock_secret(directory.path()).unwrap();
        assert_eq!(mock_secret(directory.path()).unwrap(), secret);
        let mode = fs::metadata(directory.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(mock_secret(tempfile::tempdir().unwrap().path()).unwrap(), secret);
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), "short").unwrap();
        assert_eq!(mock_secret(directory.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
