//! `[store]`: where access requests are kept.
//!
//! Never connects to it. Invariant: what is said about PostgreSQL is said only where the store is one.

use std::path::Path;
use std::time::Duration;

use super::keys::{self, Form, Keys};
use super::reader::Section;
use super::{UpstreamConfig, access, secret};

pub(super) static STORE_KEYS: Keys = Keys {
    table: "[store]",
    known: &[
        keys::optional("url", Form::Text),
        keys::optional("password", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("lease", Form::Duration),
    ],
    unavailable: &[],
};

/// How long a proxy that does not renew its lease is taken for alive.
const LEASE: Duration = Duration::from_secs(10);
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(600);

/// `[store]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreConfig {
    /// A file in the data directory.
    #[default]
    Sqlite,
    /// A database that several proxies share.
    Postgres {
        /// Where it is.
        upstream: Box<UpstreamConfig>,
        /// How long a proxy that does not renew its lease is taken for alive.
        lease: Duration,
    },
}

/// Reads `[store]`.
pub(super) fn store(section: Option<&Section<'_>>, directory: &Path) -> Option<StoreConfig> {
    let Some(section) = section else { return Some(StoreConfig::Sqlite) };
    let url = section.text("url");
    if !url.as_ref().is_some_and(|url| url.value.starts_with("postgres")) {
        if let Some(url) = url.filter(|url| url.value != "sqlite") {
            let hint = "write \"sqlite\" or \"postgres://user@host:5432/database\"".to_owned();
            section.report.problem(&url.at, "url", format!("\"url\" in {} is not a store", section.title), Some(hint));
        }
        for key in ["password", "lease"].into_iter().filter(|key| section.has(key)) {
            section.problem(key, format!("\"{key}\" in {} is for a store on PostgreSQL", section.title), None);
        }
        return Some(StoreConfig::Sqlite);
    }
    let password = section.has("password").then(|| secret::secret(section, "password", directory)).flatten();
    let lease = section.duration("lease").unwrap_or(LEASE);
    if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
        section.problem("lease", format!("\"lease\" in {} must be from 1s to 10m", section.title), None);
    }
    let upstream = access::upstream(section, "url", directory)?;
    Some(StoreConfig::Postgres { upstream: Box::new(UpstreamConfig { password, ..upstream }), lease })
}
