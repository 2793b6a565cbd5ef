//! Who comes in and how: load balancers, `[tls]`, `[[users]]`, and the upstream of a database with what is presented there.
//!
//! Never accepts a certificate for a user when no certificate is asked for. Invariant: a file that is named can be read,
//! and a private key of ours by its owner only.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{self, Form, Keys};
use super::limits::SESSIONS_MAX;
use super::oidc::Links;
use super::problem::Report;
use super::reader::Section;
use super::{
    DatabaseAuth, GroupsFrom, Network, SslMode, TlsConfig, UpstreamConfig, UserConfig, secret, token, upstream,
};

pub(super) static TLS_KEYS: Keys = Keys {
    table: "[tls]",
    known: &[
        keys::required("cert", Form::Text),
        keys::required("key", Form::Text),
        keys::optional("client_ca", Form::Text),
        keys::optional("require", Form::Flag),
    ],
    unavailable: &[],
};
pub(super) static USER_KEYS: Keys = Keys {
    table: "[[users]]",
    known: &[
        keys::required("name", Form::Text),
        keys::optional("email", Form::Text),
        keys::optional("groups", Form::Texts),
        keys::optional("password", Form::OneKey(&secret::PASSWORD_KEYS)),
        keys::optional("web_password", Form::OneKey(&secret::WEB_PASSWORD_KEYS)),
        keys::optional("certificate", Form::OneOrMore),
        keys::optional("tokens", Form::Entries(&token::TOKEN_KEYS)),
        keys::optional("sessions", Form::Number(1, SESSIONS_MAX)),
        keys::optional("oidc", Form::Text),
    ],
    unavailable: &[],
};

pub(super) const AUTHS: &[(&str, DatabaseAuth)] =
    &[("proxy", DatabaseAuth::Proxy), ("passthrough", DatabaseAuth::Passthrough)];

/// What is added to statements on their way to the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Correlation {
    /// Nothing.
    #[default]
    Off,
    /// A comment at the end of each Query that is understood: its access request, or its session and verdict.
    Comment,
}

/// `correlation` of a database.
pub(super) const CORRELATIONS: [(&str, Correlation); 2] =
    [("off", Correlation::Off), ("comment", Correlation::Comment)];

pub(super) const GROUPS_FROM: &[(&str, GroupsFrom)] = &[("config", GroupsFrom::Config), ("roles", GroupsFrom::Roles)];

/// The environment variable with the default of every `timeout`, in seconds.
pub(super) const REVIEW_TIMEOUT: &str = "REVIEW_TIMEOUT_SEC";
const HOUR: Duration = Duration::from_secs(3600);

/// How long a request waits where neither its rule nor its database says.
pub(super) fn review_timeout(report: &Report<'_>, seconds: Option<&str>) -> Duration {
    let Some(seconds) = seconds.map(str::trim).filter(|seconds| !seconds.is_empty()) else { return HOUR };
    match seconds.parse() {
        Ok(seconds @ 1..) => Duration::from_secs(seconds),
        Ok(0) | Err(_) => {
            let message = format!("{REVIEW_TIMEOUT} in the environment is \"{seconds}\", and no number of seconds");
            report.problem(&(0..0), REVIEW_TIMEOUT, message, Some("set it to 3600, or not at all".to_owned()));
            HOUR
        }
    }
}

/// Reads `proxy_protocol_from` and the like.
pub(super) fn networks(section: &Section<'_>, key: &str) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in section.one_or_more(key).unwrap_or_default() {
        match Network::parse(&text.value) {
            Some(network) => networks.push(network),
            None => {
                let message = format!("\"{}\" is not a network", text.value);
                let hint = "write \"10.0.0.0/8\", with no bit set behind the prefix, or \"192.0.2.7\"".to_owned();
                section.report.problem(&text.at, key, message, Some(hint));
            }
        }
    }
    networks
}

/// Reads `[tls]`.
pub(super) fn tls(section: &Section<'_>, directory: &Path) -> Option<TlsConfig> {
    let file = |key: &str| {
        let path = section.path(key, directory)?;
        if let Err(error) = File::open(&path) {
            section.problem(key, format!("cannot read {}: {error}", path.display()), None);
        }
        Some(path)
    };
    let (cert, key) = (section.required("cert", file("cert")), section.required("key", file("key")));
    let client_ca = file("client_ca");
    let require = section.flag("require").unwrap_or(true);
    Some(TlsConfig { cert: cert?, key: key?, client_ca, require })
}

/// Reads one `[[users]]`.
pub(super) fn user(
    section: &Section<'_>,
    tls: Option<&TlsConfig>,
    links: &Links,
    directory: &Path,
) -> Option<UserConfig> {
    let verifier = section.has("password").then(|| secret::verifier(section, directory)).flatten();
    let certificates: Vec<_> =
        section.one_or_more("certificate").unwrap_or_default().into_iter().map(|name| name.value).collect();
    if !certificates.is_empty() && tls.is_some_and(|tls| tls.client_ca.is_none()) {
        let message = format!("{} has a certificate, but clients are not asked for one", section.title);
        section.problem("certificate", message, Some("set client_ca in [tls]".to_owned()));
    }
    if !certificates.is_empty() && tls.is_none() {
        let message = format!("{} has a certificate, but there is no [tls]", section.title);
        section.problem("certificate", message, Some("add [tls] with cert, key and client_ca".to_owned()));
    }
    Some(UserConfig {
        email: section.text("email").map(|text| text.value),
        groups: section.strings("groups").unwrap_or_default(),
        name: section.required("name", section.text("name"))?.value,
        verifier,
        web_password: section.has("web_password").then(|| secret::web_password(section, directory)).flatten(),
        certificates,
        tokens: token::tokens(section),
        oidc: links.read(section),
        sessions: section.number("sessions", 1..=SESSIONS_MAX),
    })
}

/// Reads the `postgres://` URL of a key.
pub(super) fn upstream(section: &Section<'_>, key: &str, directory: &Path) -> Option<UpstreamConfig> {
    let url = section.needed(key, section.text(key))?;
    let parsed = upstream::parse(&url.value, directory);
    let upstream = parsed.map_err(|error| {
        let message = format!("\"{key}\" in {} {}", section.title, error.message);
        section.report.problem(&url.at, key, message, error.hint);
    });
    let upstream = upstream.ok()?;
    let check = |name: &str, path: Option<&PathBuf>, open: fn(&Path) -> io::Result<()>| {
        if let Some(Err(error)) = path.map(|path| open(path)) {
            let path = path.map(|path| path.display().to_string()).unwrap_or_default();
            section.problem(key, format!("cannot use {name} {path}: {error}"), None);
        }
    };
    let readable = |path: &Path| File::open(path).map(drop);
    check("sslrootcert", upstream.ssl_root_cert.as_ref(), readable);
    check("sslcert", upstream.ssl_identity.as_ref().map(|identity| &identity.cert), readable);
    check("sslkey", upstream.ssl_identity.as_ref().map(|identity| &identity.key), private);
    warn_of_strangers(section, &upstream);
    Some(upstream)
}

/// As libpq: others than the owner may not read it; a key of root's may be read by its group.
fn private(path: &Path) -> io::Result<()> {
    let metadata = File::open(path)?.metadata()?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(io::Error::other("others than its owner may read it (chmod 600)"))
}

fn warn_of_strangers(section: &Section<'_>, upstream: &UpstreamConfig) {
    let address = upstream.host.parse::<std::net::IpAddr>();
    let local = upstream.host.starts_with('/')
        || upstream.host == "localhost"
        || address.is_ok_and(|address| address.is_loopback());
    if !local && matches!(upstream.ssl_mode, SslMode::Disable | SslMode::Prefer | SslMode::Require) {
        section.report.warn(format!(
            "{}: sslmode does not check who answers at {}; use verify-full.",
            section.title, upstream.host
        ));
    }
}
