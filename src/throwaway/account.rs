//! The account PostgreSQL runs under: ours, or an unprivileged one when we are root, because it refuses root.
//!
//! Never creates accounts. Invariant: a command made here runs with that account's user and group and no other groups.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{ThrowawayError, failed};

/// User and group to switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// `None` when we are not root (a directory we just made has this owner): then nothing needs to be switched.
    pub(super) fn for_owner(owner: u32) -> Result<Option<Self>, ThrowawayError> {
        if owner != 0 {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(failed("read /etc/passwd"))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::named(&accounts, name))
            .map(Some)
            .ok_or(ThrowawayError::NoAccount)
    }

    /// Looks the name up in the text of `/etc/passwd` (`name:password:UID:GID:…`).
    fn named(accounts: &str, name: &str) -> Option<Self> {
        let mut fields = accounts.lines().map(|line| line.split(':')).find_map(|mut fields| {
            let found = fields.next() == Some(name);
            found.then_some(fields)
        })?;
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        (user != 0).then_some(Self { user, group })
    }
}

/// Makes the account the owner of the path.
pub(super) fn give(path: &Path, account: Option<Account>) -> Result<(), ThrowawayError> {
    match account {
        Some(account) => chown(path, Some(account.user), Some(account.group)).map_err(failed("change a file's owner")),
        None => Ok(()),
    }
}

/// A command that runs under the account, in a directory it can enter, in its own process group (so that Ctrl-C on the
/// terminal does not reach it), with no input and without the caller's `PG…` settings.
pub(super) fn command(program: &Path, account: Option<Account>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null()).process_group(0).env("LC_ALL", "C").env("TZ", "UTC");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\nbroken:x\nnobody:x:65534:65534:nobody:/:/bin/false\n";

    #[track_caller]
    fn check(name: &str, expected: Option<(u32, u32)>) {
        assert_eq!(Account::named(ACCOUNTS, name).map(|found| (found.user, found.group)), expected, "{name}");
    }

    #[test]
    fn finds_accounts_but_never_root() {
        check("nobody", Some((65534, 65534)));
        check("root", None);
        check("broken", None);
        check("missing", None);
    }
}
