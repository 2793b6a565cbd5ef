//! `countersign users`: people and services of the configuration file.
//!
//! Never prints or stores a password or token in clear, except a new token once, to the person who asked for it.
//! Invariant: a change is written whole or not at all, and a running proxy is told to reload after it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::output::Format;
use crate::config::edit::{ConfigEdit, EditError};
use crate::config::{Config, TokenConfig, derive_verifier};
use crate::duration;
use crate::identity::{Scope, Scopes, password, token_digest};

/// `EX_USAGE`, `EX_NOINPUT`, `EX_IOERR`, `EX_CONFIG` of sysexits.
const EX_USAGE: u8 = 64;
const EX_NOINPUT: u8 = 66;
const EX_IOERR: u8 = 74;
const EX_CONFIG: u8 = 78;

/// What to do with users.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum UsersCommand {
    /// Show users, their groups, and what they can sign in with.
    List {
        /// How to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Add a user; the password is read from standard input.
    Add {
        /// Login name.
        name: String,
        /// Mail address.
        #[arg(long)]
        email: Option<String>,
        /// Groups, separated by commas.
        #[arg(long, value_delimiter = ',')]
        groups: Vec<String>,
        /// Add the user without a password: the user can then use tokens only.
        #[arg(long)]
        no_password: bool,
    },
    /// Change a user's password; it is read from standard input.
    Passwd {
        /// Login name.
        name: String,
        /// The password of the web page, not that of database clients.
        #[arg(long)]
        web: bool,
    },
    /// Make a bearer token for the API and print it, once.
    Token {
        /// Login name.
        name: String,
        /// What it is for, separated by commas: requests:read, requests:write, requests:decide, grants:read, grants:write,
        /// grants:decide, audit:read, policy:read, or admin for everything that its user may do [default: the first six]
        #[arg(long, value_delimiter = ',', value_name = "SCOPES")]
        scope: Vec<Scope>,
        /// For how long, as 30d; or never, for no end
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: String,
        /// What to call it, for those who read the configuration
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// Remove a user.
    Remove {
        /// Login name.
        name: String,
    },
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("cannot read the password")]
    Password(#[source] io::Error),
    #[error("{0}")]
    Usage(&'static str),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Edit(EditError::Invalid(_)) => EX_CONFIG,
            Self::Edit(EditError::NoUser(_) | EditError::UserExists(_) | EditError::NoSuch(_)) | Self::Usage(_) => {
                EX_USAGE
            }
            Self::Password(_) => EX_NOINPUT,
            Self::Edit(EditError::Write { .. } | EditError::Changed) | Self::Output(_) => EX_IOERR,
        }
    }
}

/// Carries out a command on the file.
#[must_use]
pub fn run(command: UsersCommand, config_path: &Path) -> ExitCode {
    match carry_out(command, config_path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let cause = std::error::Error::source(&failure).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{failure}{cause}");
            ExitCode::from(failure.code())
        }
    }
}

fn carry_out(command: UsersCommand, path: &Path) -> Result<(), Failure> {
    match command {
        UsersCommand::List { format } => {
            let config = Config::load(path).map_err(EditError::Invalid)?;
            print(&listing(&config, format))
        }
        UsersCommand::Add { name, email, groups, no_password } => {
            let mut edit = ConfigEdit::open(path)?;
            edit.add_user(&name, email.as_deref(), &groups)?;
            if !no_password {
                edit.set_verifier(&name, &derive_verifier(&ask_password()?))?;
            }
            save(edit)
        }
        UsersCommand::Passwd { name, web } => {
            let mut edit = ConfigEdit::open(path)?;
            edit.require_user(&name)?;
            let password = ask_password()?;
            if web {
                let hash = password::hash(&password).map_err(|_too_long| Failure::Usage("the password is too long"))?;
                edit.set_web_password(&name, &hash)?;
            } else {
                edit.set_verifier(&name, &derive_verifier(&password))?;
            }
            save(edit)
        }
        UsersCommand::Token { name, scope, expires, label } => {
            let mut edit = ConfigEdit::open(path)?;
            let token = new_token();
            let scopes = if scope.is_empty() { Scopes::usual() } else { scope.into_iter().collect() };
            let expires_at = end_of(&expires)?;
            edit.add_token(&name, &TokenConfig { digest: token_digest(&token), name: label, scopes, expires_at })?;
            save(edit)?;
            print(&format!("{token}\n"))
        }
        UsersCommand::Remove { name } => {
            let mut edit = ConfigEdit::open(path)?;
            edit.remove_user(&name)?;
            save(edit)
        }
    }
}

/// When a token ends that lasts so long; `never` has no end.
fn end_of(expires: &str) -> Result<Option<Timestamp>, Failure> {
    if expires == "never" {
        return Ok(None);
    }
    let wrong = Failure::Usage("--expires is a time such as 12h or 90d, or never");
    let time = duration::parse(expires).ok_or(wrong)?;
    let end = Timestamp::now().checked_add(time).unwrap_or(Timestamp::MAX);
    Ok(Some(Timestamp::from_second(end.as_second()).unwrap_or(end)))
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

fn listing(config: &Config, format: Format) -> String {
    match format {
        Format::Json => {
            let users = config.users.iter().map(|user| {
                serde_json::json!({
                    "name": user.name, "email": user.email, "groups": user.groups,
                    "password": user.verifier.is_some(), "web_password": user.web_password.is_some(),
                    "tokens": user.tokens.iter().map(about).collect::<Vec<_>>(),
                })
            });
            format!("{:#}\n", serde_json::Value::from_iter(users))
        }
        Format::Text => {
            let width = config.users.iter().map(|user| user.name.chars().count()).max().unwrap_or(0);
            let line = |user: &crate::config::UserConfig| {
                let password = if user.verifier.is_some() { "password" } else { "no password" };
                let groups = user.groups.join(",");
                let web = if user.web_password.is_some() { ", web password" } else { "" };
                format!("{:width$}  {groups}  {password}{web}, {} tokens\n", user.name, user.tokens.len())
            };
            config.users.iter().map(line).collect()
        }
    }
}

/// What is shown of a token: enough of its digest to find it in the file.
fn about(token: &TokenConfig) -> serde_json::Value {
    let digest = token.digest.get(..8);
    serde_json::json!({ "sha256": digest, "name": token.name, "scopes": token.scopes, "expires": token.expires_at })
}

/// `cs_` and 32 random bytes in URL-safe base 64.
fn new_token() -> String {
    format!("cs_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

fn save(edit: ConfigEdit) -> Result<(), Failure> {
    let config = edit.save()?;
    config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    match running(&config.data_dir) {
        Some(pid) if kill_process(pid, Signal::HUP).is_ok() => eprintln!("the running proxy was told to reload"),
        Some(_) | None => {}
    }
    Ok(())
}

/// The process named in `countersign.pid`, if it is a proxy. A stale file may name any other process.
fn running(data_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data_dir.join("countersign.pid")).ok()?;
    let pid: i32 = text.trim().parse().ok().filter(|pid| *pid > 1)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let is_ours = name.map_or(cfg!(not(target_os = "linux")), |name| name.trim() == "countersign");
    Pid::from_raw(pid).filter(|_| is_ours)
}

/// Reads a password: twice and without echo on a terminal, otherwise the first line of standard input.
fn ask_password() -> Result<String, Failure> {
    let stdin = io::stdin();
    let first = if stdin.is_terminal() {
        let first = without_echo("Password: ").map_err(Failure::Password)?;
        if without_echo("Again: ").map_err(Failure::Password)? != first {
            return Err(Failure::Usage("the passwords differ"));
        }
        first
    } else {
        read_line()?
    };
    if first.is_empty() { Err(Failure::Usage("the password is empty")) } else { Ok(first) }
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(Failure::Password)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Turns echo off while a line is read, and on again whatever happens.
fn without_echo(prompt: &str) -> io::Result<String> {
    struct Restore(rustix::termios::Termios);
    impl Drop for Restore {
        fn drop(&mut self) {
            // Nothing is left to do when the terminal is gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
            eprintln!();
        }
    }
    eprint!("{prompt}");
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _restore = Restore(before);
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("countersign.toml");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn add(name: &str) -> UsersCommand {
        UsersCommand::Add { name: name.to_owned(), email: None, groups: vec!["dba".to_owned()], no_password: true }
    }

    fn token(name: &str, expires: &str) -> UsersCommand {
        let (name, expires) = (name.to_owned(), expires.to_owned());
        UsersCommand::Token { name, scope: vec![Scope::RequestsRead], expires, label: None }
    }

    #[track_caller]
    fn check(command: UsersCommand, path: &Path, expected: u8) {
        let code = carry_out(command, path).map_or_else(|failure| failure.code(), |()| 0);
        assert_eq!(code, expected);
    }

    #[test]
    fn commands_change_the_file_or_say_why_not() {
        let (_directory, path) = file("# Users.\n");
        check(add("alice"), &path, 0);
        check(add("alice"), &path, EX_USAGE);
        check(token("alice", "30d"), &path, 0);
        check(token("bob", "30d"), &path, EX_USAGE);
        check(token("alice", "soon"), &path, EX_USAGE);
        check(UsersCommand::Passwd { name: "bob".to_owned(), web: true }, &path, EX_USAGE);
        let config = Config::load(&path).unwrap();
        let made = &config.user("alice").unwrap().tokens;
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].scopes.iter().collect::<Vec<_>>(), [Scope::RequestsRead]);
        assert!(!made[0].is_over(Timestamp::now()) && made[0].expires_at.is_some());
        check(UsersCommand::Remove { name: "alice".to_owned() }, &path, 0);
        check(UsersCommand::Remove { name: "alice".to_owned() }, &path, EX_USAGE);
        std::fs::write(&path, "lisen = 1").unwrap();
        check(add("alice"), &path, EX_CONFIG);
    }

    #[test]
    fn tokens_are_long_and_different() {
        let token = new_token();
        assert!(token.starts_with("cs_") && token.len() == 46);
        assert_ne!(token, new_token());
    }

    #[test]
    fn a_listing_shows_no_secret() {
        let (_directory, path) = file("");
        check(add("alice"), &path, 0);
        check(token("alice", "never"), &path, 0);
        let config = Config::load(&path).unwrap();
        assert_eq!(listing(&config, Format::Text), "alice  dba  no password, 1 tokens\n");
        assert!(!listing(&config, Format::Json).contains(&config.users[0].tokens[0].digest));
    }

    #[test]
    fn only_a_proxy_is_signalled() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(running(directory.path()), None);
        for text in ["", "x", "0", "1", "-5", &std::process::id().to_string()] {
            std::fs::write(directory.path().join("countersign.pid"), text).unwrap();
            let ours = std::fs::read_to_string("/proc/self/comm").is_ok_and(|name| name.trim() == "countersign");
            assert!(ours || running(directory.path()).is_none(), "{text}");
        }
    }
}
