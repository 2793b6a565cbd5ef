//! `[[audit.sinks]]`: where records go besides the files.
//!
//! Never sends anything. Invariant: the name of a sink is the name of no other, and fit for a file.

use std::path::{Path, PathBuf};

use super::keys::{self, Form, Keys, words};
use super::reader::{Section, Spanned};
use super::{Secret, secret};
use crate::audit::KINDS;

pub(super) static SINK_KEYS: Keys = Keys {
    table: "[[audit.sinks]]",
    known: &[
        keys::required("name", Form::Text),
        keys::required("to", Form::Word(|| words(&SPEAKS))),
        keys::optional("url", Form::Text),
        keys::optional("kinds", Form::WordList(|| KINDS.to_vec())),
        keys::optional("authorization", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("secret", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("ca", Form::Text),
    ],
    unavailable: &[],
};

/// One receiver of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// Its name.
    pub name: String,
    /// Where it is, and what it speaks.
    pub to: SinkTarget,
    /// Which kinds of records it gets; none means all.
    pub kinds: Vec<String>,
    /// What stands in `Authorization`.
    pub authorization: Option<Secret>,
    /// What signs the calls of a webhook.
    pub secret: Option<Secret>,
    /// CA certificates (PEM) that the receiver's certificate must lead to; `None` means the system's.
    pub ca: Option<PathBuf>,
}

/// What a receiver speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTarget {
    /// Standard output of the proxy: JSON lines.
    Stdout,
    /// Syslog, RFC 5424.
    Syslog(SyslogAddress),
    /// OpenTelemetry logs over HTTP, as JSON.
    Otlp(String),
    /// JSON lines over HTTP.
    Webhook(String),
}

/// Where a syslog receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// `host:port`, a datagram for each record.
    Udp(String),
    /// `host:port`, a stream with the length in front of each record.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

#[derive(Clone, Copy)]
enum Speaks {
    Stdout,
    Syslog,
    Otlp,
    Webhook,
}

const SPEAKS: [(&str, Speaks); 4] =
    [("stdout", Speaks::Stdout), ("syslog", Speaks::Syslog), ("otlp", Speaks::Otlp), ("webhook", Speaks::Webhook)];

/// Reads all of them.
pub(super) fn sinks(audit: &Section<'_>, directory: &Path) -> Vec<SinkConfig> {
    let mut sinks: Vec<SinkConfig> = Vec::new();
    for section in audit.repeated("sinks", &SINK_KEYS) {
        let Some(sink) = sink(&section, directory) else { continue };
        if sinks.iter().any(|other| other.name == sink.name) {
            section.problem("name", format!("[[audit.sinks]] \"{}\" is defined twice", sink.name), None);
        } else {
            sinks.push(sink);
        }
    }
    sinks
}

fn sink(section: &Section<'_>, directory: &Path) -> Option<SinkConfig> {
    let name = section.required("name", section.text("name"));
    if let Some(name) = name.as_ref().filter(|name| !is_plain(&name.value)) {
        let hint = "use letters, digits, \"-\" and \"_\", at most 63".to_owned();
        section.problem("name", format!("\"{}\" is no name of a sink", name.value), Some(hint));
        return None;
    }
    let speaks = section.required("to", section.choice("to", &SPEAKS));
    let url = section.text("url");
    let kinds = kinds(section);
    let secret_of = |key: &str| section.has(key).then(|| secret::secret(section, key, directory)).flatten();
    let to = match speaks? {
        Speaks::Stdout => SinkTarget::Stdout,
        Speaks::Syslog => SinkTarget::Syslog(syslog(section, &section.needed("url", url)?)?),
        Speaks::Otlp => SinkTarget::Otlp(http(section, section.needed("url", url)?)?),
        Speaks::Webhook => SinkTarget::Webhook(http(section, section.needed("url", url)?)?),
    };
    Some(SinkConfig {
        name: name?.value,
        to,
        kinds,
        authorization: secret_of("authorization"),
        secret: secret_of("secret"),
        ca: section.path("ca", directory),
    })
}

fn is_plain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(fits)
}

fn kinds(section: &Section<'_>) -> Vec<String> {
    let known: Vec<(&str, &str)> = KINDS.iter().map(|kind| (*kind, *kind)).collect();
    let given = section.list("kinds").unwrap_or_default();
    given.iter().filter_map(|kind| section.pick("kinds", kind, &known)).map(str::to_owned).collect()
}

fn syslog(section: &Section<'_>, url: &Spanned<String>) -> Option<SyslogAddress> {
    let text = url.value.as_str();
    let (address, host) = if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Some(SyslogAddress::Unix(path.into()));
    } else if let Some(to) = text.strip_prefix("udp://").filter(|to| has_port(to)) {
        (SyslogAddress::Udp(to.to_owned()), to)
    } else if let Some(to) = text.strip_prefix("tcp://").filter(|to| has_port(to)) {
        (SyslogAddress::Tcp(to.to_owned()), to)
    } else {
        let hint = "write \"udp://host:514\", \"tcp://host:601\" or \"unix:/dev/log\"".to_owned();
        section.problem("url", format!("\"{text}\" is no address of a syslog receiver"), Some(hint));
        return None;
    };
    warn_of_plaintext(section, host);
    Some(address)
}

fn http(section: &Section<'_>, url: Spanned<String>) -> Option<String> {
    if let Some(rest) = url.value.strip_prefix("http://") {
        warn_of_plaintext(section, rest.split('/').next().unwrap_or_default());
    } else if !url.value.starts_with("https://") {
        let hint = "write \"https://host/path\"".to_owned();
        section.problem("url", format!("\"{}\" is no address of HTTP", url.value), Some(hint));
        return None;
    }
    Some(url.value)
}

fn has_port(to: &str) -> bool {
    to.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn warn_of_plaintext(section: &Section<'_>, host: &str) {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let is_here = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !is_here {
        section.report.warn(format!("{} sends records to {host} in plaintext.", section.title));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{messages, with};

    #[test]
    fn sinks_say_what_is_wrong_with_them() {
        #[track_caller]
        fn check(_top: &str, end: &str, expected: &str) {
            let messages = messages(with("", end));
            assert!(messages.len() == 1 && messages[0].contains(expected), "{messages:?}");
        }
        let sink = |rest: &str| format!("[[audit.sinks]]\n{rest}\n");
        check("", &sink("to = \"stdout\""), "lacks \"name\"");
        check("", &sink("name = \"a b\"\nto = \"stdout\""), "\"a b\" is no name of a sink");
        check("", &sink("name = \"a\"\nto = \"kafka\""), "\"kafka\"");
        check("", &sink("name = \"a\"\nto = \"syslog\"\nurl = \"tcp://host\""), "is no address of a syslog receiver");
        check("", &sink("name = \"a\"\nto = \"webhook\"\nurl = \"ftp://host\""), "is no address of HTTP");
        check("", &sink("name = \"a\"\nto = \"stdout\"\nkinds = [\"verdicts\"]"), "\"verdicts\"");
        check("", &sink("name = \"a\"\nto = \"otlp\""), "lacks \"url\"");
        let two = sink("name = \"a\"\nto = \"stdout\"").repeat(2);
        check("", &two, "[[audit.sinks]] \"a\" is defined twice");
        for (url, warned) in
            [("tcp://siem.internal:601", true), ("tcp://127.0.0.1:601", false), ("unix:/dev/log", false)]
        {
            let config = with("", &sink(&format!("name = \"a\"\nto = \"syslog\"\nurl = \"{url}\""))).unwrap();
            assert_eq!(config.warnings.iter().any(|warning| warning.contains("plaintext")), warned, "{url}");
            assert_eq!(config.audit.sinks.len(), 1);
        }
    }
}
