//! `[notify.email]`: the server that takes mail, and who is written to.
//!
//! Never lets mail leave this machine in plaintext unless the file says so, and never a password. Invariant: every address
//! is one that a header and an SMTP command can hold.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lettre::message::Mailbox;

use super::keys::{self, Form, Keys, words};
use super::notify::include_statement;
use super::reader::Section;
use super::{Secret, UserConfig, secret};

pub(super) static EMAIL_KEYS: Keys = Keys {
    table: "[notify.email]",
    known: &[
        keys::required("host", Form::Text),
        keys::optional("port", Form::Number(1, 65_535)),
        keys::optional("tls", Form::Word(|| words(TLS))),
        keys::optional("dangerous_plaintext", Form::Flag),
        keys::optional("ca", Form::Text),
        keys::optional("username", Form::Text),
        keys::optional("password", Form::OneKey(&secret::SECRET_KEYS)),
        keys::required("from", Form::Text),
        keys::optional("to", Form::Texts),
        keys::optional("people", Form::Flag),
        keys::optional("include_statement", Form::Flag),
    ],
    unavailable: &[],
};

/// How the connection to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailTls {
    /// From a command on: a server that does not know it gets nothing.
    StartTls,
    /// From the first byte on.
    Implicit,
    /// Not at all.
    None,
}

const TLS: &[(&str, EmailTls)] =
    &[("starttls", EmailTls::StartTls), ("implicit", EmailTls::Implicit), ("none", EmailTls::None)];

/// `[notify.email]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailConfig {
    /// Name or address of the server that takes mail.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: EmailTls,
    /// Certificates (PEM) that its own must lead to, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Who logs in there, if anybody.
    pub login: Option<(String, Secret)>,
    /// Whom mail is from.
    pub from: Mailbox,
    /// Who is written to about everything.
    pub to: Vec<Mailbox>,
    /// Whether reviewers and requesters are written to as well, where `[[users]]` has their address.
    pub people: bool,
    /// Whether statements are sent with their literals.
    pub include_statement: bool,
}

/// Reads the table.
pub(super) fn email(section: &Section<'_>, directory: &Path) -> Option<EmailConfig> {
    let host = section.required("host", section.text("host").map(|text| text.value));
    let tls = section.choice("tls", TLS).unwrap_or(EmailTls::StartTls);
    let login = login(section, directory);
    if let Some(host) = &host {
        check_plaintext(section, host, tls);
    }
    let port = section.number("port", 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let from = section.required("from", section.text("from").and_then(|text| address(section, "from", &text.value)));
    let to = section.strings("to").unwrap_or_default();
    let to: Vec<_> = to.iter().filter_map(|text| address(section, "to", text)).collect();
    let people = section.flag("people").unwrap_or(true);
    if to.is_empty() && !people {
        let hint = "name addresses in \"to\", or leave people = false out".to_owned();
        section.problem("to", "[notify.email] writes to nobody", Some(hint));
    }
    let ca = section.path("ca", directory);
    if let Some(Err(error)) = ca.as_ref().map(File::open) {
        let path = ca.as_deref().unwrap_or(directory).display();
        section.problem("ca", format!("cannot read {path}: {error}"), None);
    }
    let include_statement = include_statement(section);
    Some(EmailConfig {
        host: host?,
        port: port.unwrap_or(default_port(tls)),
        tls,
        ca,
        login: login?,
        from: from?,
        to,
        people,
        include_statement,
    })
}

/// The port for what is left to users (RFC 6409, RFC 8314), or between servers.
fn default_port(tls: EmailTls) -> u16 {
    match tls {
        EmailTls::StartTls => 587,
        EmailTls::Implicit => 465,
        EmailTls::None => 25,
    }
}

/// Who logs in, if anybody; `None` when that is wrong.
fn login(section: &Section<'_>, directory: &Path) -> Option<Option<(String, Secret)>> {
    match (section.has("username"), section.has("password")) {
        (false, false) => Some(None),
        (true, false) => missing(section, "username", "password"),
        (false, true) => missing(section, "password", "username"),
        (true, true) => {
            let password = secret::secret(section, "password", directory);
            Some(Some((section.text("username")?.value, password?)))
        }
    }
}

fn missing<T>(section: &Section<'_>, given: &str, missing: &str) -> Option<T> {
    section.problem(given, format!("\"{given}\" in [notify.email] is without \"{missing}\""), None);
    None
}

/// Plaintext is for a server on this machine.
fn check_plaintext(section: &Section<'_>, host: &str, tls: EmailTls) {
    let dangerous = section.flag("dangerous_plaintext").unwrap_or(false);
    let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if tls != EmailTls::None || is_here {
        return;
    }
    if section.has("password") {
        let hint = "use tls = \"starttls\" or \"implicit\"".to_owned();
        section.problem("tls", "[notify.email] would send its password in plaintext", Some(hint));
    } else if dangerous {
        section.report.warn("Mail is sent in plaintext to another machine ([notify.email] dangerous_plaintext).");
    } else {
        let hint = "use tls = \"starttls\" or \"implicit\", or say dangerous_plaintext = true".to_owned();
        section.problem("tls", "[notify.email] would send mail in plaintext to another machine", Some(hint));
    }
}

/// Reads `NAME@DOMAIN` or `Somebody <NAME@DOMAIN>`.
fn address(section: &Section<'_>, key: &str, text: &str) -> Option<Mailbox> {
    let read = mailbox(text);
    if read.is_none() {
        let hint = "write \"dba@example.com\" or \"DBA <dba@example.com>\", in ASCII".to_owned();
        section.problem(key, format!("\"{}\" is not a mail address", crate::visible::line(text)), Some(hint));
    }
    read
}

/// Whose address cannot be written to, if mail goes to people.
pub(super) fn unwritable(email: Option<&EmailConfig>, users: &[UserConfig]) -> Option<String> {
    email.filter(|email| email.people)?;
    let is_wrong = |user: &&UserConfig| user.email.as_deref().is_some_and(|text| mailbox(text).is_none());
    let names: Vec<_> = users.iter().filter(is_wrong).map(|user| crate::visible::line(&user.name)).collect();
    let whose = names.join(", ");
    (!names.is_empty()).then(|| format!("Nobody writes to {whose}: \"email\" is not a mail address in ASCII."))
}

/// An address as it can stand in a header and in a command; `None` for any other text.
pub(crate) fn mailbox(text: &str) -> Option<Mailbox> {
    let is_plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    text.parse().ok().filter(|_: &Mailbox| is_plain)
}
