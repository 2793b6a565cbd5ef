//! The configuration: what `countersign.toml` means once every problem in it has been ruled out.
//!
//! Never holds a secret that can be printed: [`Secret`] hides its value in `Debug`.
//! Invariant: a [`Config`] that exists is valid; it is built in one step and passed explicitly, never global.

mod access;
mod audit;
pub(crate) mod diff;
mod digest;
pub mod edit;
mod email;
mod keys;
mod limits;
mod masks;
mod network;
mod notify;
mod oidc;
mod problem;
mod reader;
mod resolve;
mod rules;
mod secret;
mod sinks;
mod store;
#[cfg(test)]
mod tests;
mod token;
pub(crate) mod told;
mod upstream;
mod values;
mod web;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_policy::rule::Policy;
use countersign_policy::subject::Subject;

use crate::audit::Literals;

pub use self::access::Correlation;
pub use self::audit::{AuditConfig, Durability, Outcomes, Results};
pub(crate) use self::email::mailbox;
pub use self::email::{EmailConfig, EmailTls};
pub use self::limits::{LimitsConfig, TcpConfig, UNCOUNTED};
pub use self::network::Network;
pub use self::notify::{Endpoint, NotifyConfig, SigningSecret, SlackConfig, TeamsConfig, WebhookConfig};
pub(crate) use self::oidc::is_safe;
pub use self::oidc::{OidcConfig, UserClaim};
pub(crate) use self::problem::nearest;
pub use self::problem::{ConfigProblems, Problem};
pub(crate) use self::resolve::CONSOLE;
pub use self::secret::{derive_verifier, mask_key};
pub use self::sinks::{SinkConfig, SinkTarget, SyslogAddress};
pub use self::store::StoreConfig;
pub use self::token::TokenConfig;
pub use self::web::WebConfig;

/// A valid configuration at one revision.
#[derive(Debug)]
pub struct Config {
    /// Where the file came from, for reload and for `countersign users`.
    pub path: PathBuf,
    /// Its text. Nothing of it is printed: it holds verifiers and digests.
    pub text: Secret,
    /// Where clients connect.
    pub listen: Vec<ListenAddress>,
    /// Load balancers, which say in the PROXY protocol who connects through them.
    pub proxy_protocol_from: Vec<Network>,
    /// Embedded store and audit segments.
    pub data_dir: PathBuf,
    /// Whether other processes may listen on the same TCP addresses.
    pub reuse_port: bool,
    /// How many threads serve sessions; `None` leaves it to the number of processors.
    pub threads: Option<u32>,
    /// How long sessions may finish what they are doing after the proxy was told to stop.
    pub drain_timeout: Duration,
    /// How much of everything there may be.
    pub limits: LimitsConfig,
    /// When a peer that does not answer counts as gone.
    pub tcp: TcpConfig,
    /// API, health and metrics.
    pub web: WebConfig,
    /// TLS towards clients.
    pub tls: Option<TlsConfig>,
    /// Where access requests are kept.
    pub store: StoreConfig,
    /// How requests are decided.
    pub review: ReviewConfig,
    /// The audit trail.
    pub audit: AuditConfig,
    /// Who else is told of what happens.
    pub notify: NotifyConfig,
    /// People and services who may connect or decide.
    pub users: Vec<UserConfig>,
    /// Databases behind the proxy.
    pub databases: Vec<DatabaseConfig>,
    /// Rules and masks.
    pub policy: Policy,
    /// Digest of what it decides, twelve hexadecimal digits: the same on all proxies of one store, if they go by the same
    /// rules.
    pub rules_digest: String,
    /// What weakens protection in it, one sentence each; printed at every start.
    pub warnings: Vec<String>,
    /// Whether a `hash` mask has only a key that was drawn for this load; see [`Config::ensure_mask_key`].
    pub mask_key_missing: bool,
}

/// One address of `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `host:port`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/path/.s.PGSQL.6543`.
    Unix(PathBuf),
}

/// `[tls]`.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// CA file (PEM): clients that present a certificate need one that leads there.
    pub client_ca: Option<PathBuf>,
    /// Refuse plaintext clients.
    pub require: bool,
}

/// `[review]`.
#[derive(Clone, Debug)]
pub struct ReviewConfig {
    /// Whether members of `admin` approve their own requests.
    pub admins_bypass: bool,
    /// Whether requests and grants are decided in the console, too, where the password of database clients is enough.
    pub console_decides: bool,
    /// Groups whose members may approve in everybody's place, with a reason.
    pub force_groups: Vec<String>,
    /// Longest time of a grant, where the database does not say; zero is none at all.
    pub grant_max: Duration,
}

impl Default for ReviewConfig {
    fn default() -> Self {
        let grant_max = Duration::from_secs(8 * 3600);
        Self { admins_bypass: true, console_decides: true, force_groups: Vec::new(), grant_max }
    }
}

/// One `[[users]]` entry.
#[derive(Clone, Debug)]
pub struct UserConfig {
    /// Login name.
    pub name: String,
    /// Mail address.
    pub email: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// SCRAM verifier, given or made from the password; without one no password is right.
    pub verifier: Option<String>,
    /// What the password on the page is known by; without one no password is right.
    pub web_password: Option<WebPassword>,
    /// Names in a client certificate that stand for this user; with such a certificate no password is asked for.
    pub certificates: Vec<String>,
    /// Bearer tokens of the API.
    pub tokens: Vec<TokenConfig>,
    /// What `user_claim` of `[web.oidc]` says of this person.
    pub oidc: Option<String>,
    /// Sessions at a time; `[limits]` decides when absent.
    pub sessions: Option<u32>,
}

/// What a password on the page is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebPassword {
    /// An Argon2id hash, as a PHC string.
    Argon2(String),
    /// The password itself, from the environment or a file.
    Clear(Secret),
}

/// The group that everybody who has authenticated is in; PostgreSQL's word for it.
pub const PUBLIC: &str = "public";

/// Who authenticates the clients of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatabaseAuth {
    /// The proxy, by `[[users]]`; it connects upstream with the database's own role.
    #[default]
    Proxy,
    /// The upstream: clients connect there as the role they name, with its password.
    Passthrough,
}

/// Where the groups of the users of a database come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupsFrom {
    /// From `[[users]]`.
    #[default]
    Config,
    /// From there, and from the roles that they are members of upstream.
    Roles,
}

/// One `[databases.NAME]` entry.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Name clients use.
    pub name: String,
    /// Where and as whom the proxy connects.
    pub upstream: UpstreamConfig,
    /// Who authenticates clients.
    pub auth: DatabaseAuth,
    /// Groups whose members may connect.
    pub groups: Vec<String>,
    /// Where else its users have groups from.
    pub groups_from: GroupsFrom,
    /// Sessions at a time.
    pub sessions: Option<u32>,
    /// Connections to the upstream that are kept for the next clients of the same users.
    pub kept_connections: u32,
    /// How long a client waits at most in mode `auto`, before it is told to send its statement again.
    pub hold_budget: Option<Duration>,
    /// Custom settings that no approval is bound to, in lower case.
    pub unbound_settings: Vec<String>,
    /// What the audit trail keeps of literals and parameters.
    pub literals: Literals,
    /// What is added to statements so that the upstream's log can be tied to the trail.
    pub correlation: Correlation,
}

/// A parsed `postgres://` URL and the password beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Host name, IP address, or directory of a unix socket (starts with `/`).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// Role.
    pub user: String,
    /// Password, if one is needed.
    pub password: Option<Secret>,
    /// TLS mode.
    pub ssl_mode: SslMode,
    /// CA file (PEM) for `verify-ca` and `verify-full`; `None` means the system's.
    pub ssl_root_cert: Option<PathBuf>,
    /// Our own certificate, for upstreams that ask for one.
    pub ssl_identity: Option<SslIdentity>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// When an upstream that does not answer counts as gone.
    pub tcp: TcpConfig,
}

/// libpq's `sslcert` and `sslkey`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SslIdentity {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Plaintext.
    Disable,
    /// TLS when the server offers it.
    Prefer,
    /// TLS, any certificate.
    Require,
    /// TLS, certificate signed by the CA.
    VerifyCa,
    /// TLS, certificate signed by the CA and made for the host.
    VerifyFull,
}

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Config {
    /// Reads and checks a file, and the secrets it points to.
    ///
    /// # Errors
    /// Every problem in it, by line.
    pub fn load(path: &Path) -> Result<Self, ConfigProblems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the file: {error}");
            let path = path.to_owned();
            ConfigProblems(vec![Problem { path, line: 0, column: 0, key: String::new(), message, hint: None }])
        })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file that is, or will be, at `path`.
    ///
    /// # Errors
    /// Every problem in it, by line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigProblems> {
        resolve::config(path, text)
    }

    /// The longest time of a grant on that database; zero when none are given there.
    #[must_use]
    pub fn grant_max(&self, database: &str) -> Duration {
        let known = self.policy.databases.iter().find(|known| known.name == database);
        known.and_then(|known| known.review.grant_max).unwrap_or(self.review.grant_max)
    }

    /// Gives `hash` masks the key kept in the data directory, making it once, so that hashes stay the same over
    /// restarts. Does nothing when no mask needs it. The data directory must exist.
    ///
    /// # Errors
    /// When the key can be neither read nor made.
    pub fn ensure_mask_key(&mut self) -> io::Result<()> {
        if self.mask_key_missing {
            let key = mask_key(&self.data_dir)?;
            self.policy.masks.iter_mut().for_each(|mask| mask.key = key);
            self.mask_key_missing = false;
        }
        Ok(())
    }

    /// The user of that name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&UserConfig> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The groups of somebody who has authenticated under that name, in this file or upstream.
    #[must_use]
    pub fn groups_of(&self, name: &str) -> Vec<String> {
        let mut groups = self.user(name).map(|user| user.groups.clone()).unwrap_or_default();
        if !groups.iter().any(|group| group == PUBLIC) {
            groups.push(PUBLIC.to_owned());
        }
        groups
    }

    /// The database of that name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&DatabaseConfig> {
        self.databases.iter().find(|database| database.name == name)
    }

    /// What is added to statements on that database; nothing on one that is gone.
    #[must_use]
    pub fn correlation(&self, database: &str) -> Correlation {
        self.database(database).map_or(Correlation::Off, |database| database.correlation)
    }

    /// What the audit trail keeps of literals of statements on that database; none of a database that is gone.
    #[must_use]
    pub fn literals(&self, database: &str) -> Literals {
        self.database(database).map_or(Literals::Redacted, |database| database.literals)
    }

    /// What the audit trail keeps of the output of this client's statements that needed an approval: no values where it keeps no
    /// literals, nor where a mask does not apply to the client.
    #[must_use]
    pub fn results(&self, subject: &Subject) -> Results {
        let keeps_values = || {
            self.literals(&subject.database) == Literals::Full
                && self.policy.masks.iter().all(|mask| mask.applies_to(subject))
        };
        match self.audit.results {
            Results::Masked if !keeps_values() => Results::Counts,
            results => results,
        }
    }
}
