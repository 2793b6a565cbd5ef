//! The file as a whole → [`Config`].
//!
//! Never stops at the first problem. Invariant: what is read is what the tables of keys say.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_policy::rule::{Action, DatabasePolicy, Mode, Policy, ReviewDefaults, Stage};
use countersign_policy::settings_read;
use sha2::{Digest, Sha256};
use toml_edit::Document;

use super::access::{self, TLS_KEYS, USER_KEYS};
use super::audit::{self, AUDIT_KEYS, AuditConfig};
use super::digest;
use super::email;
use super::keys::{self, Form, Keys, words};
use super::limits::{self, LIMIT_KEYS, SESSIONS_MAX, TCP_KEYS};
use super::masks::{self, MASK_KEYS, Shared};
use super::notify::{self, NOTIFY_KEYS, NotifyConfig};
use super::oidc::{self, Links};
use super::problem::{ConfigProblems, Report};
use super::reader::{Section, Spanned};
use super::rules::{ACTIONS, Known, MODES, NO_REVIEWER, RULE_KEYS, STAGES};
use super::store::{self, STORE_KEYS};
use super::web::{self, WEB_KEYS};
use super::{
    Config, DatabaseConfig, GroupsFrom, ListenAddress, ReviewConfig, TcpConfig, TlsConfig, UpstreamConfig, UserConfig,
    rules, secret, values,
};

/// More threads than any machine has processors.
const THREADS_MAX: u32 = 1_024;

pub(super) static TOP_KEYS: Keys = Keys {
    table: "the file",
    known: &[
        keys::optional("listen", Form::OneOrMore),
        keys::optional("data_dir", Form::Text),
        keys::optional("dangerous_plaintext", Form::Flag),
        keys::optional("drain_timeout", Form::Duration),
        keys::optional("reuse_port", Form::Flag),
        keys::optional("threads", Form::Number(1, THREADS_MAX)),
        keys::optional("proxy_protocol_from", Form::OneOrMore),
        keys::optional("limits", Form::Table(&LIMIT_KEYS)),
        keys::optional("tcp", Form::Table(&TCP_KEYS)),
        keys::optional("web", Form::Table(&WEB_KEYS)),
        keys::optional("tls", Form::Table(&TLS_KEYS)),
        keys::optional("store", Form::Table(&STORE_KEYS)),
        keys::optional("audit", Form::Table(&AUDIT_KEYS)),
        keys::optional("review", Form::Table(&REVIEW_KEYS)),
        keys::optional("masking", Form::Table(&MASKING_KEYS)),
        keys::optional("users", Form::Repeated(&USER_KEYS)),
        keys::optional("databases", Form::Named(&DATABASE_KEYS)),
        keys::optional("rules", Form::Repeated(&RULE_KEYS)),
        keys::optional("masks", Form::Repeated(&MASK_KEYS)),
        keys::optional("notify", Form::Table(&NOTIFY_KEYS)),
    ],
    unavailable: &[],
};
static REVIEW_KEYS: Keys = Keys {
    table: "[review]",
    known: &[
        keys::optional("admins_bypass", Form::Flag),
        keys::optional("console_decides", Form::Flag),
        keys::optional("force_groups", Form::Texts),
        keys::optional("grant_max", Form::DurationOrNever),
    ],
    unavailable: &[],
};
static MASKING_KEYS: Keys = Keys {
    table: "[masking]",
    known: &[
        keys::optional("hash_key", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("detect_foreign", Form::Flag),
    ],
    unavailable: &[],
};
/// As many clients as come and go at the same time at most databases.
const KEPT_CONNECTIONS: u32 = 10;
static DATABASE_KEYS: Keys = Keys {
    table: "[databases.NAME]",
    known: &[
        keys::required("upstream", Form::Text),
        keys::optional("password", Form::OneKey(&secret::SECRET_KEYS)),
        keys::required("groups", Form::Texts),
        keys::optional("default", Form::Word(|| words(ACTIONS))),
        keys::optional("unparsed", Form::Word(|| words(&ACTIONS[1..]))),
        keys::optional("review", Form::Table(&DATABASE_REVIEW_KEYS)),
        keys::optional("stage", Form::Word(|| words(STAGES))),
        keys::optional("sessions", Form::Number(1, SESSIONS_MAX)),
        keys::optional("kept_connections", Form::Number(0, SESSIONS_MAX)),
        keys::optional("auth", Form::Word(|| words(access::AUTHS))),
        keys::optional("groups_from", Form::Word(|| words(access::GROUPS_FROM))),
        keys::optional("literals", Form::Word(|| words(&audit::LITERALS))),
        keys::optional("correlation", Form::Word(|| words(&access::CORRELATIONS))),
    ],
    unavailable: &["allow_encodings"],
};
static DATABASE_REVIEW_KEYS: Keys = Keys {
    table: "review of [databases.NAME]",
    known: &[
        keys::optional("groups", Form::Texts),
        keys::optional("timeout", Form::Duration),
        keys::optional("mode", Form::Word(|| words(MODES))),
        keys::optional("hold_budget", Form::Duration),
        keys::optional("grant_max", Form::DurationOrNever),
        keys::optional("unbound_settings", Form::Texts),
    ],
    unavailable: &[],
};

/// How long sessions may finish what they are doing after the proxy was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// The name the proxy's own console answers to.
pub(crate) const CONSOLE: &str = "countersign";

/// Reads a whole file.
pub(super) fn config(path: &Path, text: &str) -> Result<Config, ConfigProblems> {
    let report = Report::new(path, text);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            report.problem(&error.span().unwrap_or(0..0), "", first_line(error.message()), None);
            return Err(report.finish().err().unwrap_or(ConfigProblems(Vec::new())));
        }
    };
    let config = Reading::open(&report, &document, path).config(text);
    let warnings = report.finish()?;
    // Without a problem every required part was read.
    config.map(|config| Config { warnings, ..config }).ok_or_else(|| {
        let report = Report::new(path, text);
        report.problem(&(0..0), "", "the configuration is incomplete", None);
        report.finish().err().unwrap_or(ConfigProblems(Vec::new()))
    })
}

/// Whether groups also come from the upstream.
fn is_roles(groups_from: Spanned<String>) -> bool {
    access::GROUPS_FROM.contains(&(groups_from.value.as_str(), GroupsFrom::Roles))
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("the file is not valid TOML").to_owned()
}

struct Reading<'a> {
    report: &'a Report<'a>,
    document: &'a toml_edit::Table,
    top: Section<'a>,
    path: &'a Path,
    directory: PathBuf,
    /// How long a request waits where nothing says otherwise.
    timeout: Duration,
}

impl<'a> Reading<'a> {
    fn open(report: &'a Report<'a>, document: &'a Document<&str>, path: &'a Path) -> Self {
        let top = Section::open(report, document.as_table(), 0..0, "the file".to_owned(), &TOP_KEYS);
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let timeout = access::review_timeout(report, std::env::var(access::REVIEW_TIMEOUT).ok().as_deref());
        Self { report, document: document.as_table(), top, path, directory, timeout }
    }

    fn config(&self, text: &str) -> Option<Config> {
        let tls = self.section("tls", &TLS_KEYS).and_then(|section| access::tls(&section, &self.directory));
        let listen = self.listen(tls.as_ref());
        let web_section = self.section("web", &WEB_KEYS);
        let web = web::web(web_section.as_ref(), &self.directory, self.report);
        let links = Links::new(web_section.is_some_and(|section| section.has("oidc")));
        let oidc = web.as_ref().and_then(|web| web.oidc.as_ref());
        let limits = limits::limits(self.section("limits", &LIMIT_KEYS).as_ref());
        let tcp = limits::tcp(self.section("tcp", &TCP_KEYS).as_ref());
        let data_dir = self.top.path("data_dir", &self.directory);
        let data_dir = data_dir.unwrap_or_else(|| self.directory.join("countersign-data"));
        let store = store::store(self.section("store", &STORE_KEYS).as_ref(), &self.directory);
        let user = |section: &Section<'_>| access::user(section, tls.as_ref(), &links, &self.directory);
        let users = self.distinct("users", &USER_KEYS, user);
        oidc::warning(oidc, &users).into_iter().for_each(|warning| self.report.warn(warning));
        let from_provider = oidc.into_iter().flat_map(|oidc| &oidc.groups).map(|(_, ours)| ours.as_str());
        let sections = self.top.named("databases", &DATABASE_KEYS);
        let known = Known {
            databases: sections.iter().map(|(name, _)| name.as_str()).collect(),
            users: users.iter().map(|user| user.name.as_str()).collect(),
            groups: users.iter().flat_map(|user| user.groups.iter().map(String::as_str)).chain(from_provider).collect(),
            strangers: oidc.is_some_and(|oidc| !oidc.groups.is_empty()),
            others: sections.iter().any(|(_, section)| section.text_quietly("groups_from").is_some_and(is_roles)),
        };
        let databases: Vec<_> =
            sections.iter().filter_map(|(name, section)| self.database(name, section, &known, tcp)).collect();
        let rules = self.distinct("rules", &RULE_KEYS, |section| rules::rule(section, &known));
        let shared = self.masking(&data_dir);
        let masks = self.distinct("masks", &MASK_KEYS, |section| masks::mask(section, &known, &shared));
        let hashes = masks.iter().any(|mask| mask.mask.is_keyed());
        let (review, audit) = (self.review(), self.audit());
        let (databases, database_policies) = databases.into_iter().unzip();
        let revision = revision_of(text);
        Some(Config {
            path: self.path.to_owned(),
            text: super::Secret::new(text.to_owned()),
            listen,
            proxy_protocol_from: access::networks(&self.top, "proxy_protocol_from"),
            data_dir,
            reuse_port: self.top.flag("reuse_port").unwrap_or(false),
            threads: self.top.number("threads", 1..=THREADS_MAX),
            drain_timeout: self.top.duration("drain_timeout").unwrap_or(DRAIN_TIMEOUT),
            limits,
            tcp,
            web: web?,
            tls,
            store: store?,
            review,
            audit,
            notify: self.notify(&users),
            policy: Policy { revision, rules, masks, databases: database_policies },
            users,
            databases,
            rules_digest: digest::of(self.document),
            warnings: Vec::new(),
            mask_key_missing: hashes && !shared.is_stable,
        })
    }

    fn section(&self, key: &str, keys: &'static Keys) -> Option<Section<'a>> {
        self.top.section(key, keys.table.to_owned(), keys)
    }

    fn listen(&self, tls: Option<&TlsConfig>) -> Vec<ListenAddress> {
        let plaintext = self.top.flag("dangerous_plaintext").unwrap_or(false);
        let default = || vec![Spanned { value: "127.0.0.1:6543".to_owned(), at: 0..0 }];
        let texts = self.top.one_or_more("listen").unwrap_or_else(default);
        if texts.is_empty() {
            self.top.problem("listen", "\"listen\" is empty", None);
        }
        let mut addresses = Vec::with_capacity(texts.len());
        for text in texts {
            let Some(address) = values::listen(&text.value) else {
                let message = format!("\"{}\" is not an address", text.value);
                let hint = "write \"127.0.0.1:6543\", \"[::1]:6543\" or \"unix:/path\"".to_owned();
                self.report.problem(&text.at, "listen", message, Some(hint));
                continue;
            };
            let exposed = matches!(&address, ListenAddress::Tcp(address) if !address.ip().is_loopback());
            match tls {
                None if exposed && plaintext => {
                    self.report.warn(format!("Clients connect to {} in plaintext.", text.value))
                }
                None if exposed && !self.top.has("tls") => {
                    let message = format!("\"{}\" is not a loopback address, and there is no [tls]", text.value);
                    self.report.problem(&text.at, "listen", message, Some("add [tls] with cert and key".to_owned()));
                }
                Some(tls) if exposed && !tls.require => {
                    self.report
                        .warn(format!("Clients may connect to {} in plaintext ([tls] require = false).", text.value));
                }
                _ => {}
            }
            addresses.push(address);
        }
        addresses
    }

    fn audit(&self) -> AuditConfig {
        self.section("audit", &AUDIT_KEYS).map(|section| audit::audit(&section, &self.directory)).unwrap_or_default()
    }

    fn notify(&self, users: &[UserConfig]) -> NotifyConfig {
        let section = self.section("notify", &NOTIFY_KEYS);
        let notify = section.map(|section| notify::notify(&section, &self.directory)).unwrap_or_default();
        email::unwritable(notify.email.as_ref(), users).into_iter().for_each(|warning| self.report.warn(warning));
        notify
    }

    fn review(&self) -> ReviewConfig {
        let Some(section) = self.section("review", &REVIEW_KEYS) else { return ReviewConfig::default() };
        let none = ReviewConfig::default();
        ReviewConfig {
            admins_bypass: section.flag("admins_bypass").unwrap_or(none.admins_bypass),
            console_decides: section.flag("console_decides").unwrap_or(none.console_decides),
            force_groups: section.strings("force_groups").unwrap_or(none.force_groups),
            grant_max: section.duration_or_none("grant_max").unwrap_or(none.grant_max),
        }
    }

    fn masking(&self, data_dir: &Path) -> Shared {
        let masking = self.section("masking", &MASKING_KEYS);
        let looks_into_foreign = masking.as_ref().and_then(|section| section.flag("detect_foreign")).unwrap_or(true);
        let (key, is_stable) = self.mask_key(masking.as_ref(), data_dir);
        Shared { key, is_stable, looks_into_foreign }
    }

    /// The key of `hash` masks, and whether it will be the same at the next start.
    fn mask_key(&self, masking: Option<&Section<'_>>, data_dir: &Path) -> ([u8; 32], bool) {
        if let Some(section) = masking.filter(|section| section.has("hash_key")) {
            let given = secret::secret(section, "hash_key", &self.directory);
            return (given.map_or([0; 32], |given| secret::key_from(&given)), true);
        }
        match secret::stored_mask_key(data_dir) {
            Ok(Some(key)) => (key, true),
            Ok(None) => (rand::random(), false),
            Err(error) => {
                self.report.problem(
                    &self.top.key_at("data_dir"),
                    "data_dir",
                    format!("cannot use mask.key: {error}"),
                    None,
                );
                (rand::random(), false)
            }
        }
    }

    /// Reads every `[[key]]`, and reports names that come twice.
    fn distinct<T>(&self, key: &str, keys: &'static Keys, read: impl Fn(&Section<'_>) -> Option<T>) -> Vec<T> {
        let mut seen = HashSet::new();
        let mut made = Vec::new();
        for section in self.top.repeated(key, keys) {
            made.extend(read(&section));
            if let Some(name) = section.text_quietly("name").filter(|name| !seen.insert(name.value.clone())) {
                let message = format!("{} \"{}\" is defined twice", keys.table, name.value);
                self.report.problem(&name.at, "name", message, None);
            }
        }
        made
    }

    fn database(
        &self,
        name: &str,
        section: &Section<'_>,
        known: &Known<'_>,
        tcp: TcpConfig,
    ) -> Option<(DatabaseConfig, DatabasePolicy)> {
        if name == CONSOLE {
            section.report.problem(&section.at, name, format!("database name \"{CONSOLE}\" is reserved"), None);
        }
        let groups = section.required("groups", section.list("groups"));
        known.warn_of_empty_groups(section, groups.as_deref().unwrap_or_default(), "nobody in it can connect");
        let password = section.has("password").then(|| secret::secret(section, "password", &self.directory)).flatten();
        let upstream = access::upstream(section, "upstream", &self.directory);
        let default = section.choice("default", ACTIONS).unwrap_or(Action::Hold);
        let unparsed = section.choice("unparsed", &ACTIONS[1..]).unwrap_or(Action::Hold);
        let (review, hold_budget, unbound_settings) = self.review_defaults(section, name, known);
        let stage = section.choice("stage", STAGES).unwrap_or_default();
        if stage == Stage::Observe {
            self.report.warn(format!("Database \"{name}\" is only observed: nothing is held or denied."));
        }
        if review.groups.is_empty() && (default == Action::Hold || unparsed == Action::Hold) {
            self.report
                .warn(format!("Database \"{name}\" names no reviewer group: what its defaults would hold is denied."));
        }
        let sessions = section.number("sessions", 1..=SESSIONS_MAX);
        let kept_connections = section.number("kept_connections", 0..=SESSIONS_MAX).unwrap_or(KEPT_CONNECTIONS);
        let upstream = UpstreamConfig { password, tcp, ..upstream? };
        let groups = groups?.into_iter().map(|group| group.value).collect();
        let auth = section.choice("auth", access::AUTHS).unwrap_or_default();
        let groups_from = section.choice("groups_from", access::GROUPS_FROM).unwrap_or_default();
        let name = name.to_owned();
        let config = DatabaseConfig {
            name: name.clone(),
            upstream,
            auth,
            groups,
            groups_from,
            sessions,
            kept_connections,
            hold_budget,
            unbound_settings,
            correlation: section.choice("correlation", &access::CORRELATIONS).unwrap_or_default(),
            literals: section.choice("literals", &audit::LITERALS).unwrap_or_default(),
        };
        Some((config, DatabasePolicy { name, default, unparsed, review, stage }))
    }

    fn unbound_settings(&self, review: &Section<'_>) -> Vec<String> {
        let read = |name: Spanned<String>| {
            let known = settings_read::custom(&name.value);
            if known.is_none() {
                let message = format!("\"{}\" is no custom setting of the database", name.value);
                let hint = "their names have two parts, as \"app.request_id\"".to_owned();
                self.report.problem(&name.at, "unbound_settings", message, Some(hint));
            }
            known
        };
        review.list("unbound_settings").unwrap_or_default().into_iter().filter_map(read).collect()
    }

    /// The defaults of holds, how long a client waits at most in mode `auto`, and the custom settings that no approval is bound
    /// to.
    fn review_defaults(
        &self,
        section: &Section<'_>,
        name: &str,
        known: &Known<'_>,
    ) -> (ReviewDefaults, Option<Duration>, Vec<String>) {
        let timeout = self.timeout;
        let none = ReviewDefaults { groups: Vec::new(), timeout, mode: Mode::Auto, grant_max: None };
        let title = format!("\"review\" in [databases.{name}]");
        let Some(review) = section.section("review", title, &DATABASE_REVIEW_KEYS) else {
            return (none, None, Vec::new());
        };
        let groups = review.list("groups").unwrap_or_default();
        known.warn_of_empty_groups(&review, &groups, NO_REVIEWER);
        let defaults = ReviewDefaults {
            groups: groups.into_iter().map(|group| group.value).collect(),
            timeout: review.duration("timeout").unwrap_or(none.timeout),
            mode: review.choice("mode", MODES).unwrap_or(none.mode),
            grant_max: review.duration_or_none("grant_max"),
        };
        (defaults, review.duration("hold_budget"), self.unbound_settings(&review))
    }
}

/// What a file is told from others by.
pub(super) fn revision_of(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes())).chars().take(12).collect()
}
