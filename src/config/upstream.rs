//! Upstream addresses: `postgres://user@host:port/database?parameter=value`, as libpq reads them.
//!
//! Never accepts a password in the URL and never repeats a URL in a message. Invariant: what libpq would take from the
//! environment (user, database) must stand in the URL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::did_you_mean;
use super::{SslIdentity, SslMode, TcpConfig, UpstreamConfig};

const PARAMETERS: [&str; 7] = ["host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout"];
const SSL_MODES: [(&str, SslMode); 5] = [
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];
const PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is wrong with a URL, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UrlError {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

fn wrong(message: impl Into<String>) -> UrlError {
    UrlError { message: message.into(), hint: None }
}

fn wrong_with(message: impl Into<String>, hint: impl Into<String>) -> UrlError {
    UrlError { message: message.into(), hint: Some(hint.into()) }
}

impl UpstreamConfig {
    /// Reads a `postgres://` URL, without a password in it. Paths in it are relative to `directory`.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn from_url(url: &str, directory: &Path) -> Result<Self, String> {
        parse(url, directory).map_err(|error| {
            let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("the URL {}{hint}", error.message)
        })
    }
}

/// Reads a URL; the password stands beside it. Paths are relative to `directory`.
pub(super) fn parse(url: &str, directory: &Path) -> Result<UpstreamConfig, UrlError> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let example = "write \"postgres://user@host:5432/database\"";
    let rest = rest.ok_or_else(|| wrong_with("is not a postgres:// URL", example))?;
    if rest.contains('#') {
        return Err(wrong_with("has a fragment", "write %23 for a number sign"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err(wrong_with("holds a password", "put it beside it as password = { env = \"NAME\" }"));
    }
    let (host, port) = host_and_port(address)?;
    let mut upstream = UpstreamConfig {
        host: decode(host)?,
        port,
        database: decode(database)?,
        user: decode(user)?,
        password: None,
        ssl_mode: SslMode::Prefer,
        ssl_root_cert: None,
        ssl_identity: None,
        connect_timeout: CONNECT_TIMEOUT,
        tcp: TcpConfig::default(),
    };
    let (mut cert, mut key) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("has a parameter without a value"))?;
        let (name, value) = (decode(name)?, decode(value)?);
        match name.as_str() {
            "sslcert" => cert = Some(directory.join(value)),
            "sslkey" => key = Some(directory.join(value)),
            _ => set(&mut upstream, &name, value, directory)?,
        }
    }
    upstream.ssl_identity = match (cert, key) {
        (Some(cert), Some(key)) => Some(SslIdentity { cert, key }),
        (None, None) => None,
        (Some(_), None) => return Err(wrong("has sslcert without sslkey")),
        (None, Some(_)) => return Err(wrong("has sslkey without sslcert")),
    };
    complete(upstream)
}

fn complete(upstream: UpstreamConfig) -> Result<UpstreamConfig, UrlError> {
    let lacking = [("user", &upstream.user), ("host", &upstream.host), ("database", &upstream.database)];
    if let Some((part, _)) = lacking.into_iter().find(|(_, value)| value.is_empty()) {
        return Err(wrong(format!("names no {part}")));
    }
    if upstream.host.contains(',') {
        return Err(wrong("names several hosts"));
    }
    let texts = [&upstream.host, &upstream.user, &upstream.database];
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(wrong("holds a NUL"));
    }
    Ok(upstream)
}

fn host_and_port(address: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| wrong("does not close the bracket of its host"))?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or("")) })
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    Ok((host, port.map_or(Ok(PORT), read_port)?))
}

fn read_port(text: &str) -> Result<u16, UrlError> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("has a port that is not from 1 to 65535"))
}

fn set(upstream: &mut UpstreamConfig, name: &str, value: String, directory: &Path) -> Result<(), UrlError> {
    match name {
        "host" => upstream.host = value,
        "port" => upstream.port = read_port(&value)?,
        "sslmode" => {
            let mode = SSL_MODES.iter().find(|(word, _)| *word == value);
            let valid = || SSL_MODES.map(|(word, _)| word).join(", ");
            upstream.ssl_mode =
                mode.ok_or_else(|| wrong_with("has an unknown sslmode", format!("valid are {}", valid())))?.1;
        }
        "sslrootcert" => upstream.ssl_root_cert = (value != "system").then(|| directory.join(PathBuf::from(value))),
        "connect_timeout" => {
            let seconds = value.parse().ok().filter(|seconds| (1..=600).contains(seconds));
            upstream.connect_timeout = seconds
                .map(Duration::from_secs)
                .ok_or_else(|| wrong("has a connect_timeout that is not from 1 to 600 seconds"))?;
        }
        "password" => return Err(wrong_with("holds a password", "put it beside it as password = { env = \"NAME\" }")),
        _ => {
            let hint = did_you_mean(name, PARAMETERS).unwrap_or_else(|| format!("valid are {}", PARAMETERS.join(", ")));
            return Err(wrong_with(format!("has an unknown parameter \"{name}\""), hint));
        }
    }
    Ok(())
}

/// Percent-decoding (RFC 3986, section 2.1); a plus sign stands for itself, as in libpq.
fn decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>().ok_or_else(|| wrong("has an incomplete % escape"))?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| wrong("has a wrong % escape"))?;
        bytes.extend(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 once decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let upstream = parse(url, Path::new("/etc/cs"));
        let found = upstream.map(|at| format!("{}@{} {} {} {:?}", at.user, at.host, at.port, at.database, at.ssl_mode));
        assert_eq!(found.as_deref(), Ok(expected), "{url}");
    }

    #[track_caller]
    fn check_error(url: &str, expected: &str) {
        assert_eq!(parse(url, Path::new("/")).unwrap_err().message, expected, "{url}");
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        check("postgres://rw@db.internal/shop", "rw@db.internal 5432 shop Prefer");
        check("postgresql://rw@db:6000/shop?sslmode=verify-full", "rw@db 6000 shop VerifyFull");
        check("postgres://rw@[::1]:6000/shop", "rw@::1 6000 shop Prefer");
        check("postgres://rw@/shop?host=/run/postgresql&port=5433", "rw@/run/postgresql 5433 shop Prefer");
        check("postgres://r%40w@%2Frun%2Fpg/my%20shop", "r@w@/run/pg 5432 my shop Prefer");
        check("postgres://a+b@db/shop", "a+b@db 5432 shop Prefer");
    }

    #[test]
    fn certificates_are_found_beside_the_file() {
        let upstream = parse("postgres://u@h/d?sslrootcert=ca.crt&connect_timeout=3", Path::new("/etc/cs")).unwrap();
        assert_eq!(upstream.ssl_root_cert, Some(PathBuf::from("/etc/cs/ca.crt")));
        assert_eq!(upstream.connect_timeout, Duration::from_secs(3));
        assert_eq!(upstream.ssl_identity, None);
        let upstream = parse("postgres://u@h/d?sslkey=/keys/a.key&sslcert=a.crt", Path::new("/etc/cs")).unwrap();
        let identity = SslIdentity { cert: "/etc/cs/a.crt".into(), key: "/keys/a.key".into() };
        assert_eq!(upstream.ssl_identity, Some(identity));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        check_error("mysql://u@h/d", "is not a postgres:// URL");
        check_error("postgres://u:hunter2@h/d", "holds a password");
        check_error("postgres://u@h/d?password=hunter2", "holds a password");
        check_error("postgres://h/d", "names no user");
        check_error("postgres://u@h", "names no database");
        check_error("postgres://u@/d", "names no host");
        check_error("postgres://u@h:0/d", "has a port that is not from 1 to 65535");
        check_error("postgres://u@h:x/d", "has a port that is not from 1 to 65535");
        check_error("postgres://u@a,b/d", "names several hosts");
        check_error("postgres://u@h/d?sslmode=allow", "has an unknown sslmode");
        check_error("postgres://u@h/d?ssl_mode=require", "has an unknown parameter \"ssl_mode\"");
        check_error("postgres://u@h/d%zz", "has a wrong % escape");
        check_error("postgres://u@h/d%2", "has an incomplete % escape");
        check_error("postgres://u@h/d?sslmode", "has a parameter without a value");
        check_error("postgres://u@h/d#x", "has a fragment");
        check_error("postgres://u@h/d?sslcert=a.crt", "has sslcert without sslkey");
        check_error("postgres://u@h/d?sslkey=a.key", "has sslkey without sslcert");
    }
}
