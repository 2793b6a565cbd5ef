//! The tokens that `countersign login` has had, for the other commands: one of each proxy, in `countersign/login.json` of
//! XDG_CONFIG_HOME or `~/.config`.
//!
//! Never sends a token to another proxy than the one that gave it. Invariant: only its owner can read the file.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::private;

/// A token of one proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Kept {
    /// Whose.
    pub(super) user: String,
    /// For the Authorization header.
    pub(in crate::cli) token: String,
    /// Until when.
    pub(in crate::cli) expires_at: Timestamp,
}

/// By the origins of the pages.
type Logins = BTreeMap<String, Kept>;

fn path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(home.join("countersign/login.json"))
}

/// What a proxy is known by.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Keeps a token in the place of the one before, and says where.
pub(super) fn keep(url: &Url, kept: Kept, now: Timestamp) -> io::Result<PathBuf> {
    let path = path().ok_or_else(|| io::Error::other("neither XDG_CONFIG_HOME nor HOME is set"))?;
    put(&path, url, kept, now)?;
    Ok(path)
}

/// The token of that proxy, whether or not its hour is over.
pub(in crate::cli) fn find(url: &str) -> Option<Kept> {
    take(&path()?, &Url::parse(url).ok()?)
}

fn put(path: &Path, url: &Url, kept: Kept, now: Timestamp) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    // What cannot be read is of no use to anybody.
    let mut logins: Logins = serde_json::from_str(&private::read(path)?).unwrap_or_default();
    logins.retain(|_, known| known.expires_at > now);
    logins.insert(origin(url), kept);
    private::replace(path, &format!("{}\n", serde_json::to_string_pretty(&logins)?))
}

fn take(path: &Path, url: &Url) -> Option<Kept> {
    let mut logins: Logins = serde_json::from_str(&private::read(path).ok()?).ok()?;
    logins.remove(&origin(url))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::review::fixture::at;

    #[test]
    fn a_token_is_for_the_proxy_that_gave_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/countersign/login.json");
        let url = |text: &str| Url::parse(text).unwrap();
        let kept = |token: &str, end| Kept { user: "eve".to_owned(), token: token.to_owned(), expires_at: at(end) };
        put(&path, &url("https://one.example.com/login/cli"), kept("one", 10), at(0)).unwrap();
        put(&path, &url("http://127.0.0.1:8543/login/cli"), kept("two", 20), at(0)).unwrap();
        let token = |text: &str| take(&path, &url(text)).map(|kept| kept.token);
        assert_eq!(token("https://one.example.com").as_deref(), Some("one"));
        assert_eq!(token("http://127.0.0.1:8543").as_deref(), Some("two"));
        for other in ["http://one.example.com", "https://one.example.com:8543", "http://127.0.0.1:8544"] {
            assert_eq!(token(other), None, "{other}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        put(&path, &url("http://127.0.0.1:8543"), kept("three", 30), at(10)).unwrap();
        assert_eq!(
            (token("https://one.example.com"), token("http://127.0.0.1:8543").as_deref()),
            (None, Some("three"))
        );
        std::fs::write(&path, "{").unwrap();
        assert_eq!(token("http://127.0.0.1:8543"), None);
    }
}
