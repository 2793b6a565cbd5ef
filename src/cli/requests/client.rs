//! The HTTP client of the commands.
//!
//! Never prints the token, follows no redirect with it. Invariant: every failure becomes a [`Failure`] that says what to do.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::cli::output::{Colour, Exit, visible_line};
use crate::web::Problem;

/// Longest time a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What went wrong, what to do about it, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What went wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>, hint: &str) -> Self {
        Self { exit, message: message.into(), hint: (!hint.is_empty()).then(|| hint.to_owned()) }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "countersign: {}", visible_line(&self.message, Colour::Off))?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// Calls the API as one person.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl Client {
    /// A client for the API at `url`.
    ///
    /// # Errors
    /// When the URL is not one of HTTP, or the token is missing.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let wrong = |message: String| {
            Failure::new(Exit::Usage, message, "set COUNTERSIGN_URL, for example http://127.0.0.1:8543")
        };
        let base = Url::parse(url).map_err(|error| wrong(format!("\"{url}\" is not a URL: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong(format!("\"{url}\" is not an http or https URL")));
        }
        let token = token.filter(|token| !token.is_empty()).ok_or_else(|| {
            let hint = "run countersign login; or set COUNTERSIGN_TOKEN, \"countersign users token NAME\" makes one";
            Failure::new(Exit::Permission, "no token", hint)
        })?;
        crate::telemetry::install_crypto_provider();
        let http = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::new(Exit::Unavailable, format!("could not set up HTTP: {error}"), ""))?;
        Ok(Self { http, base, token })
    }

    /// Whether the token would travel unencrypted to another machine.
    #[must_use]
    pub fn is_in_clear(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.base.scheme() == "http" && !local
    }

    /// GET `path` under the API with these query parameters.
    ///
    /// # Errors
    /// When the proxy cannot be reached, refuses, or answers with something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Failure> {
        self.send(self.http.request(Method::GET, self.address(path)).query(query)).await
    }

    /// POST a body to `path` under the API.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str], body: serde_json::Value) -> Result<T, Failure> {
        self.send(self.http.request(Method::POST, self.address(path)).json(&body)).await
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Cannot fail: a URL with a host can be a base.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Failure> {
        let at = self.base.as_str().trim_end_matches('/').to_owned();
        let unreachable = |error: reqwest::Error| {
            let what = if error.is_timeout() { "no answer in time from" } else { "could not reach" };
            let hint = "is the proxy running? COUNTERSIGN_URL names the address of its [web] listen";
            Failure::new(Exit::Unavailable, format!("{what} {at}"), hint)
        };
        let response = request.bearer_auth(&self.token).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_error| strange(&at));
        }
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => refused(status, &problem.detail),
            Err(_other) => Failure { message: format!("{at} answered {status}"), ..strange(&at) },
        })
    }
}

fn strange(at: &str) -> Failure {
    Failure::new(Exit::Unavailable, format!("{at} did not answer as the API does"), "check COUNTERSIGN_URL")
}

fn refused(status: StatusCode, detail: &str) -> Failure {
    let (exit, hint) = match status {
        StatusCode::UNAUTHORIZED => (
            Exit::Permission,
            "check COUNTERSIGN_TOKEN, \"countersign users token NAME\" makes a new one; or run countersign login",
        ),
        StatusCode::FORBIDDEN => {
            (Exit::Permission, "\"countersign requests show ID\", or grants, tells who must approve")
        }
        StatusCode::NOT_FOUND => (Exit::Data, "\"countersign requests list\", or grants, shows those you may see"),
        StatusCode::CONFLICT => (Exit::Data, "\"countersign requests show ID\", or grants, tells what happened to it"),
        StatusCode::UNPROCESSABLE_ENTITY if detail.contains("reason") => (Exit::Usage, "give --reason 'why'"),
        status if status.is_client_error() => (Exit::Usage, ""),
        _ => (Exit::Unavailable, "see the log of the proxy"),
    };
    Failure::new(exit, detail.to_owned(), hint)
}
