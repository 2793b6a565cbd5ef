//! `[notify]`: who is told of what happens, besides those who look.
//!
//! Never sends a literal of a statement anywhere unless the file says so for that target. Invariant: what is sent is encrypted
//! on its way, unless it stays on this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::email::{self, EMAIL_KEYS, EmailConfig};
use super::keys::{self, Form, Keys};
use super::reader::Section;
use super::{Network, Secret, access, oidc, secret};

/// The address of a receiver, which may be a secret.
const URL: &[Form] = &[Form::Text, Form::OneKey(&secret::SECRET_KEYS)];
pub(super) static NOTIFY_KEYS: Keys = Keys {
    table: "[notify]",
    known: &[
        keys::optional("retention", Form::Duration),
        keys::optional("give_up_after", Form::Duration),
        keys::optional("webhooks", Form::Repeated(&WEBHOOK_KEYS)),
        keys::optional("teams", Form::Table(&TEAMS_KEYS)),
        keys::optional("slack", Form::Table(&SLACK_KEYS)),
        keys::optional("email", Form::Table(&EMAIL_KEYS)),
    ],
    unavailable: &[],
};
pub(super) static WEBHOOK_KEYS: Keys = Keys {
    table: "[[notify.webhooks]]",
    known: &[
        keys::required("name", Form::Text),
        keys::required("url", Form::Either(URL)),
        keys::required("secret", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("former_secret", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("include_statement", Form::Flag),
        keys::optional("allow_addresses", Form::OneOrMore),
        keys::optional("ca", Form::Text),
    ],
    unavailable: &[],
};

pub(super) static TEAMS_KEYS: Keys = Keys {
    table: "[notify.teams]",
    known: &[
        keys::required("url", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("include_statement", Form::Flag),
        keys::optional("allow_addresses", Form::OneOrMore),
        keys::optional("ca", Form::Text),
    ],
    unavailable: &[],
};
pub(super) static SLACK_KEYS: Keys = Keys {
    table: "[notify.slack]",
    known: &[
        keys::required("bot_token", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("app_token", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("signing_secret", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("channels", Form::Texts),
        keys::optional("include_statement", Form::Flag),
        keys::optional("url", Form::Either(URL)),
        keys::optional("allow_addresses", Form::OneOrMore),
        keys::optional("ca", Form::Text),
    ],
    unavailable: &[],
};

/// Where the methods of Slack's Web API are.
const SLACK_URL: &str = "https://slack.com/api/";

/// What was delivered, or given up, is shown for so long.
const RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// A target that is away for longer is not told of it any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 86_400);
/// What Standard Webhooks has secrets begin with.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret, as Standard Webhooks has it.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// `[notify]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    /// For how long deliveries are kept after they ended.
    pub retention: Duration,
    /// For how long one is tried.
    pub give_up_after: Duration,
    /// `[[notify.webhooks]]`.
    pub webhooks: Vec<WebhookConfig>,
    /// `[notify.teams]`.
    pub teams: Option<TeamsConfig>,
    /// `[notify.slack]`.
    pub slack: Option<SlackConfig>,
    /// `[notify.email]`.
    pub email: Option<EmailConfig>,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            retention: RETENTION,
            give_up_after: GIVE_UP_AFTER,
            webhooks: Vec::new(),
            teams: None,
            slack: None,
            email: None,
        }
    }
}

/// Where something is sent, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address; it may hold what lets one send there.
    pub url: Secret,
    /// Addresses that are not public and may be called all the same.
    pub allow_addresses: Vec<Network>,
    /// Certificates (PEM) that its own must lead to, instead of those of the system.
    pub ca: Option<PathBuf>,
}

/// One `[[notify.webhooks]]` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// What people call it.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What signs.
    pub secret: SigningSecret,
    /// What signs besides, while the other end changes over.
    pub former_secret: Option<SigningSecret>,
    /// Whether statements are sent with their literals, and parameters.
    pub include_statement: bool,
}

/// `[notify.teams]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamsConfig {
    /// The webhook of a workflow.
    pub endpoint: Endpoint,
    /// Whether statements are sent with their literals.
    pub include_statement: bool,
}

/// `[notify.slack]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackConfig {
    /// The Web API.
    pub endpoint: Endpoint,
    /// What the app calls it with.
    pub bot_token: Secret,
    /// What the app connects to Slack with, so that Slack need not call.
    pub app_token: Option<Secret>,
    /// What calls of Slack are signed with; without one none are taken.
    pub signing_secret: Option<Secret>,
    /// Ids of channels that hear of everything.
    pub channels: Vec<String>,
    /// Whether statements are sent with their literals.
    pub include_statement: bool,
}

/// The key of a webhook's signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// Reads `whsec_` and base 64 of 24 to 64 bytes; `None` when it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
        SECRET_BYTES.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The key, for who signs.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// Reads the table.
pub(super) fn notify(section: &Section<'_>, directory: &Path) -> NotifyConfig {
    let webhooks = section.repeated("webhooks", &WEBHOOK_KEYS);
    let webhooks: Vec<_> = webhooks.iter().filter_map(|one| webhook(one, directory)).collect();
    for (index, one) in webhooks.iter().enumerate() {
        if webhooks.iter().take(index).any(|other| other.name == one.name) {
            section.problem("webhooks", format!("[[notify.webhooks]] \"{}\" is defined twice", one.name), None);
        }
    }
    NotifyConfig {
        retention: section.duration("retention").unwrap_or(RETENTION),
        give_up_after: section.duration("give_up_after").unwrap_or(GIVE_UP_AFTER),
        webhooks,
        teams: section
            .section("teams", TEAMS_KEYS.table.to_owned(), &TEAMS_KEYS)
            .and_then(|one| teams(&one, directory)),
        slack: section
            .section("slack", SLACK_KEYS.table.to_owned(), &SLACK_KEYS)
            .and_then(|one| slack(&one, directory)),
        email: section
            .section("email", EMAIL_KEYS.table.to_owned(), &EMAIL_KEYS)
            .and_then(|one| email::email(&one, directory)),
    }
}

fn teams(section: &Section<'_>, directory: &Path) -> Option<TeamsConfig> {
    if section.is_text("url") {
        let hint = "it lets anybody write to the channel: write { env = \"NAME\" } or { file = \"path\" }".to_owned();
        section.problem("url", "\"url\" in [notify.teams] stands in the file in clear", Some(hint));
        return None;
    }
    let include_statement = include_statement(section);
    Some(TeamsConfig { endpoint: endpoint(section, directory)?, include_statement })
}

fn slack(section: &Section<'_>, directory: &Path) -> Option<SlackConfig> {
    let read = |key: &str| section.has(key).then(|| secret::secret(section, key, directory)).flatten();
    let (given, app_token, signing_secret) = (read("bot_token"), read("app_token"), read("signing_secret"));
    let bot_token = section.required("bot_token", given);
    if bot_token.as_ref().is_some_and(|token| !token.expose().starts_with("xoxb-")) {
        let hint = "it is shown as \"Bot User OAuth Token\" once the app is installed".to_owned();
        section.problem("bot_token", "\"bot_token\" in [notify.slack] is not the token of a bot (xoxb-…)", Some(hint));
    }
    if app_token.as_ref().is_some_and(|token| !token.expose().starts_with("xapp-")) {
        let hint = "make one under \"App-Level Tokens\" with the scope connections:write".to_owned();
        section.problem("app_token", "\"app_token\" in [notify.slack] is not the token of an app (xapp-…)", Some(hint));
    }
    let channels = section.strings("channels").unwrap_or_default();
    for channel in channels.iter().filter(|channel| !is_slack_id(channel)) {
        let hint = "a channel's id stands at the end of its details: C0123456789".to_owned();
        section.problem("channels", format!("\"{channel}\" is not the id of a channel"), Some(hint));
    }
    let default = || {
        let url = Secret::new(SLACK_URL.to_owned());
        Some(Endpoint { url, allow_addresses: access::networks(section, "allow_addresses"), ca: None })
    };
    let endpoint = if section.has("url") { endpoint(section, directory) } else { default() };
    let include_statement = include_statement(section);
    Some(SlackConfig {
        endpoint: endpoint?,
        bot_token: bot_token?,
        app_token,
        signing_secret,
        channels,
        include_statement,
    })
}

/// Whether it looks like what Slack calls a channel or a person.
fn is_slack_id(text: &str) -> bool {
    let is_known = text.starts_with(['C', 'G', 'D', 'U', 'W']);
    is_known && text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn webhook(section: &Section<'_>, directory: &Path) -> Option<WebhookConfig> {
    let name = section.required("name", section.text("name").map(|text| text.value));
    let endpoint = endpoint(section, directory);
    let signing = |key: &str| section.has(key).then(|| signing_secret(section, key, directory)).flatten();
    let (given, former_secret) = (signing("secret"), signing("former_secret"));
    let secret = section.required("secret", given);
    let include_statement = include_statement(section);
    Some(WebhookConfig { name: name?, endpoint: endpoint?, secret: secret?, former_secret, include_statement })
}

/// Reads `include_statement`, and warns of it.
pub(super) fn include_statement(section: &Section<'_>) -> bool {
    let includes = section.flag("include_statement").unwrap_or(false);
    if includes {
        section.report.warn(format!(
            "Statements are sent with their literals and parameters to {} (include_statement = true).",
            section.title
        ));
    }
    includes
}

/// Reads `url`, `allow_addresses` and `ca`.
pub(super) fn endpoint(section: &Section<'_>, directory: &Path) -> Option<Endpoint> {
    let url = match section.is_text("url") {
        true => section.text("url").map(|text| Secret::new(text.value)),
        false => section.has("url").then(|| secret::secret(section, "url", directory)).flatten(),
    };
    let url = section.needed("url", url);
    let is_safe =
        url.as_ref().is_none_or(|url| oidc::is_safe(url.expose()) && reqwest::Url::parse(url.expose()).is_ok());
    if !is_safe {
        let hint = "only what runs on this machine may be reached by http://".to_owned();
        section.problem("url", format!("\"url\" in {} is not an https:// URL", section.title), Some(hint));
    }
    let ca = section.path("ca", directory);
    if let Some(Err(error)) = ca.as_ref().map(File::open) {
        let path = ca.as_deref().unwrap_or(directory).display();
        section.problem("ca", format!("cannot read {path}: {error}"), None);
    }
    let allow_addresses = access::networks(section, "allow_addresses");
    Some(Endpoint { url: url.filter(|_| is_safe)?, allow_addresses, ca })
}

fn signing_secret(section: &Section<'_>, key: &str, directory: &Path) -> Option<SigningSecret> {
    let text = secret::secret(section, key, directory)?;
    let parsed = SigningSecret::parse(text.expose());
    if parsed.is_none() {
        let hint = "make one with `echo whsec_$(openssl rand -base64 32)`".to_owned();
        let message = format!("\"{key}\" in {} is not whsec_ and base 64 of 24 to 64 bytes", section.title);
        section.problem(key, message, Some(hint));
    }
    parsed
}
