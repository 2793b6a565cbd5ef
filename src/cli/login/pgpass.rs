//! libpq's password file.
//!
//! Never leaves the file to others than its owner, as libpq would not read it then. Invariant: lines of other servers and
//! users stay as they are, and the file is replaced as a whole.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::private;

/// Where clients reach the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    host: String,
    port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts.filter(|(host, _)| !host.is_empty()).ok_or("write it as db.example.com:6543")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port })
    }
}

/// Puts the password into the file, in the place of the one before; says where that is.
pub(super) fn keep(at: &HostPort, user: &str, password: &str) -> io::Result<PathBuf> {
    let named = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
    let path = named.or_else(usual).ok_or_else(|| io::Error::other("neither PGPASSFILE nor HOME is set"))?;
    write(&path, at, user, password)?;
    Ok(path)
}

fn write(path: &Path, at: &HostPort, user: &str, password: &str) -> io::Result<()> {
    let before = private::read(path)?;
    let begin = format!("{}:{}:*:{}:", escaped(&at.host), at.port, escaped(user));
    // libpq takes the first line that fits.
    let mut text = format!("{begin}{}\n", escaped(password));
    for line in before.lines().filter(|line| !line.starts_with(&begin)) {
        text.push_str(line);
        text.push('\n');
    }
    private::replace(path, &text)
}

/// As libpq reads it back.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(':', "\\:")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_address_has_a_port() {
        let parse = |text: &str| text.parse::<HostPort>().ok().map(|at| (at.host, at.port));
        assert_eq!(parse("db.example.com:6543"), Some(("db.example.com".to_owned(), 6543)));
        assert_eq!(parse("[::1]:6543"), Some(("::1".to_owned(), 6543)));
        assert_eq!((parse("db.example.com"), parse(":6543"), parse("db:x")), (None, None, None));
    }

    #[test]
    fn other_lines_stay_and_nobody_else_can_read_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        let at: HostPort = "::1:6543".parse().unwrap();
        write(&path, &at, "eve", "one").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\\:\\:1:6543:*:eve:one\n");
        std::fs::write(&path, "# mine\ndb:5432:*:eve:old\n\\:\\:1:6543:*:eve:one\n*:*:*:bob:x").unwrap();
        write(&path, &at, "eve", "t:w\\o").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "\\:\\:1:6543:*:eve:t\\:w\\\\o\n# mine\ndb:5432:*:eve:old\n*:*:*:bob:x\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
