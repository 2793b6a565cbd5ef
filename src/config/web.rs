//! `[web]`: where the page and the API are served, and for how long people stay signed in.
//!
//! Never believes what a request says of its way here, unless it comes from where the configuration says.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use super::keys::{self, Form, Keys};
use super::problem::Report;
use super::reader::Section;
use super::{Network, OidcConfig, access, oidc, values};

pub(super) static WEB_KEYS: Keys = Keys {
    table: "[web]",
    known: &[
        keys::optional("listen", Form::Text),
        keys::optional("public_url", Form::Text),
        keys::optional("session_timeout", Form::Duration),
        keys::optional("forwarded_from", Form::OneOrMore),
        keys::optional("calls_per_caller", Form::Number(1, CALLS_MAX)),
        keys::optional("calls_per_address", Form::Number(1, CALLS_MAX)),
        keys::optional("oidc", Form::Table(&oidc::OIDC_KEYS)),
    ],
    unavailable: &[],
};

/// Two working days do not fit into one sign-in.
const SESSION_TIMEOUT: Duration = Duration::from_secs(12 * 3600);

/// Calls of one caller in a minute: as many as a program makes that asks for everything twice a second.
const CALLS_PER_CALLER: NonZeroU32 = NonZeroU32::new(3_000).unwrap();
/// Calls from one address in a minute: a few such callers may share one.
const CALLS_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(12_000).unwrap();
/// More than the proxy can answer.
const CALLS_MAX: u32 = 10_000_000;

/// `[web]`.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Address of the page and the API.
    pub listen: SocketAddr,
    /// Base of links in notices, without a trailing slash.
    pub public_url: String,
    /// How long after signing in somebody has to do so again.
    pub session_timeout: Duration,
    /// Proxies in front of the page, whose `X-Forwarded-For` tells who connects through them.
    pub forwarded_from: Vec<Network>,
    /// Calls of the API that one caller may make in a minute.
    pub calls_per_caller: NonZeroU32,
    /// Calls of the API that may come from one address in a minute.
    pub calls_per_address: NonZeroU32,
    /// Where else people sign in.
    pub oidc: Option<OidcConfig>,
}

impl WebConfig {
    /// At that address, and otherwise as it is when nothing is said.
    #[must_use]
    pub fn at(listen: SocketAddr, public_url: String) -> Self {
        Self {
            listen,
            public_url,
            session_timeout: SESSION_TIMEOUT,
            forwarded_from: Vec::new(),
            calls_per_caller: CALLS_PER_CALLER,
            calls_per_address: CALLS_PER_ADDRESS,
            oidc: None,
        }
    }

    /// Base of links, of a proxy that serves the page there: the configuration cannot know a port that the system chose.
    #[must_use]
    pub fn url_at(&self, served: SocketAddr) -> String {
        match self.listen.port() {
            0 => format!("http://{served}"),
            _ => self.public_url.clone(),
        }
    }
}

pub(super) fn web(section: Option<&Section<'_>>, directory: &Path, report: &Report<'_>) -> Option<WebConfig> {
    let text = section.and_then(|section| section.text("listen"));
    let address = match &text {
        None => values::socket("127.0.0.1:8543"),
        Some(text) => values::socket(&text.value),
    };
    if let (None, Some(text)) = (address, &text) {
        let message = format!("\"{}\" is not an address", text.value);
        report.problem(&text.at, "listen", message, Some("write \"127.0.0.1:8543\"".to_owned()));
    }
    let public_url = section.and_then(|section| {
        let url = section.text("public_url")?;
        let is_web = url.value.starts_with("https://") || url.value.starts_with("http://");
        if !is_web {
            let message = format!("\"{}\" is not an http:// or https:// URL", url.value);
            report.problem(&url.at, "public_url", message, None);
        }
        is_web.then(|| url.value.trim_end_matches('/').to_owned())
    });
    let timeout = section.and_then(|section| section.duration("session_timeout"));
    let forwarded_from = section.map(|section| access::networks(section, "forwarded_from")).unwrap_or_default();
    let calls = |key| section.and_then(|section| section.number(key, 1..=CALLS_MAX)).and_then(NonZeroU32::new);
    let (per_caller, per_address) = (calls("calls_per_caller"), calls("calls_per_address"));
    let oidc = section.filter(|section| section.has("oidc")).and_then(|section| oidc::oidc(section, directory));
    let listen = address?;
    if !listen.ip().is_loopback() {
        report.warn(format!("The page and the API listen on {listen} without TLS: put a TLS proxy in front of them."));
    }
    Some(WebConfig {
        session_timeout: timeout.unwrap_or(SESSION_TIMEOUT),
        forwarded_from,
        calls_per_caller: per_caller.unwrap_or(CALLS_PER_CALLER),
        calls_per_address: per_address.unwrap_or(CALLS_PER_ADDRESS),
        oidc,
        ..WebConfig::at(listen, public_url.unwrap_or_else(|| format!("http://{listen}")))
    })
}
