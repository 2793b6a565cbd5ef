//! `[web.oidc]`: the identity provider at which people sign in on the page.
//!
//! Never admits anybody by default: who may sign in is listed, by an entry of `[[users]]` or by a group. Invariant: what is
//! sent to the provider, and comes from it, is encrypted, unless it runs on this machine.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::http::Uri;

use super::keys::{self, Form, Keys, words};
use super::reader::Section;
use super::{Secret, UserConfig, secret};

pub(super) static OIDC_KEYS: Keys = Keys {
    table: "[web.oidc]",
    known: &[
        keys::optional("name", Form::Text),
        keys::required("issuer", Form::Text),
        keys::required("client_id", Form::Text),
        keys::optional("client_secret", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("scopes", Form::Texts),
        keys::optional("user_claim", Form::Word(|| words(USER_CLAIMS))),
        keys::optional("groups_claim", Form::Text),
        keys::optional("groups", Form::TextMap),
        keys::optional("ca", Form::Text),
    ],
    unavailable: &[],
};

/// What the provider is asked to tell, besides who it is.
const SCOPES: [&str; 2] = ["email", "profile"];
const GROUPS_CLAIM: &str = "groups";

/// The claim that tells people apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserClaim {
    /// `sub`: the provider's own identifier.
    Sub,
    /// `email`, as far as the provider has verified it.
    #[default]
    Email,
    /// `preferred_username`.
    PreferredUsername,
}

impl UserClaim {
    /// Its name in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::Email => "email",
            Self::PreferredUsername => "preferred_username",
        }
    }
}

const USER_CLAIMS: &[(&str, UserClaim)] =
    &[("sub", UserClaim::Sub), ("email", UserClaim::Email), ("preferred_username", UserClaim::PreferredUsername)];

/// `[web.oidc]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// What people call it.
    pub name: String,
    /// Its issuer identifier, exactly as it calls itself.
    pub issuer: String,
    /// What it knows the proxy by.
    pub client_id: String,
    /// Proves that; not for public clients.
    pub client_secret: Option<Secret>,
    /// Scopes besides `openid`.
    pub scopes: Vec<String>,
    /// What tells people apart.
    pub user_claim: UserClaim,
    /// The claim that holds groups.
    pub groups_claim: String,
    /// Groups of the provider that count, and the group here that each stands for.
    pub groups: Vec<(String, String)>,
    /// Certificates (PEM) that its own must lead to, instead of those of the system.
    pub ca: Option<PathBuf>,
}

impl OidcConfig {
    /// The groups here that those of the provider stand for, each once.
    #[must_use]
    pub fn groups_here(&self, theirs: &[String]) -> Vec<String> {
        let mut here: Vec<String> = Vec::new();
        for (their, ours) in &self.groups {
            if theirs.contains(their) && !here.contains(ours) {
                here.push(ours.clone());
            }
        }
        here
    }
}

/// Reads `[web.oidc]`, which needs to know where people are led back to.
pub(super) fn oidc(web: &Section<'_>, directory: &Path) -> Option<OidcConfig> {
    let section = web.section("oidc", OIDC_KEYS.table.to_owned(), &OIDC_KEYS)?;
    if !web.has("public_url") {
        let message = "[web.oidc] needs \"public_url\" in [web], where the provider leads people back to";
        web.problem("oidc", message, Some("add public_url = \"https://countersign.example.com\"".to_owned()));
    }
    let issuer = section.required("issuer", issuer(&section));
    let client_id = section.required("client_id", section.text("client_id").map(|text| text.value));
    let client_secret =
        section.has("client_secret").then(|| secret::secret(&section, "client_secret", directory)).flatten();
    let ca = section.path("ca", directory);
    if let Some(Err(error)) = ca.as_ref().map(File::open) {
        let path = ca.as_deref().unwrap_or(directory).display();
        section.problem("ca", format!("cannot read {path}: {error}"), None);
    }
    let scopes = section.strings("scopes").unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec());
    let user_claim = section.choice("user_claim", USER_CLAIMS).unwrap_or_default();
    let groups_claim = section.text("groups_claim").map_or_else(|| GROUPS_CLAIM.to_owned(), |text| text.value);
    let groups = section.texts("groups").unwrap_or_default();
    let name = section.text("name").map(|text| text.value);
    let (issuer, client_id) = (issuer?, client_id?);
    Some(OidcConfig {
        name: name.unwrap_or_else(|| host_of(&issuer).unwrap_or_else(|| issuer.clone())),
        issuer,
        client_id,
        client_secret,
        scopes: scopes.into_iter().filter(|scope| scope != "openid").collect(),
        user_claim,
        groups_claim,
        groups: groups.into_iter().map(|(their, ours)| (their, ours.value)).collect(),
        ca,
    })
}

fn issuer(section: &Section<'_>) -> Option<String> {
    let text = section.text("issuer")?;
    if is_safe(&text.value) {
        return Some(text.value);
    }
    let message = format!("\"{}\" is not an https:// URL", text.value);
    let hint = "only a provider on this machine may be reached by http://".to_owned();
    section.report.problem(&text.at, "issuer", message, Some(hint));
    None
}

fn host_of(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_owned)
}

/// Whether nobody on the way can read or change what goes there: https, or this machine.
#[must_use]
pub fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_here,
        _ => false,
    }
}

/// Looks at what each user is known as at the provider.
pub(super) struct Links {
    /// Whether there is a provider.
    pub(super) exist: bool,
    seen: RefCell<HashSet<String>>,
}

impl Links {
    pub(super) fn new(exist: bool) -> Self {
        Self { exist, seen: RefCell::default() }
    }

    /// Reads `oidc` of one user: nobody else has the same.
    pub(super) fn read(&self, user: &Section<'_>) -> Option<String> {
        let text = user.text("oidc")?;
        if !self.exist {
            let message = format!("{} has \"oidc\", but there is no identity provider", user.title);
            user.problem("oidc", message, Some("add [web.oidc] with issuer and client_id".to_owned()));
        } else if !self.seen.borrow_mut().insert(text.value.clone()) {
            let message = format!("{} has the \"oidc\" of another user, \"{}\"", user.title, text.value);
            user.problem("oidc", message, None);
        }
        Some(text.value)
    }
}

/// Warns of a provider through which nobody could come in.
pub(super) fn warning(oidc: Option<&OidcConfig>, users: &[UserConfig]) -> Option<String> {
    let is_idle = oidc?.groups.is_empty() && users.iter().all(|user| user.oidc.is_none());
    is_idle.then(|| {
        "Nobody can sign in by [web.oidc]: it has no \"groups\", and no entry of [[users]] has \"oidc\".".to_owned()
    })
}
