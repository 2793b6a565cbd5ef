//! Calls of the provider.
//!
//! Never follows a redirect and never goes where somebody on the way could read it. Invariant: a call ends in time, with an
//! answer of bounded size.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;

use crate::config::{OidcConfig, is_safe};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const BODY_MAX: usize = 1 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The certificates of `ca` cannot be used.
    #[error("could not use the certificates of {path}", path = .0.display())]
    Ca(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no answer.
    #[error("no answer")]
    Call(#[from] reqwest::Error),
    /// It leads to where others could read it.
    #[error("an address that is not https")]
    Unsafe,
    /// The answer is too large.
    #[error("an answer of more than {BODY_MAX} bytes")]
    TooLarge,
}

/// Calls one provider.
#[derive(Clone, Debug)]
pub(super) struct Http(reqwest::Client);

impl Http {
    pub(super) fn new(config: &OidcConfig) -> Result<Self, HttpError> {
        crate::telemetry::install_crypto_provider();
        // A connection that was kept may be closed by the other end in the moment in which a code is sent, which is good once.
        let builder = reqwest::Client::builder().pool_max_idle_per_host(0);
        let mut builder = builder.redirect(Policy::none()).timeout(PATIENCE);
        if config.issuer.starts_with("http://") {
            // It runs on this machine.
            builder = builder.no_proxy();
        }
        if let Some(path) = &config.ca {
            let failed = |error: Box<dyn std::error::Error + Send + Sync>| HttpError::Ca(path.clone(), error);
            let text = std::fs::read(path).map_err(|error| failed(error.into()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| failed(error.into()))?;
            builder = builder.tls_certs_only(certificates);
        }
        Ok(Self(builder.build()?))
    }

    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !is_safe(&request.uri().to_string()) {
            return Err(HttpError::Unsafe);
        }
        let mut answer = self.0.execute(request.try_into()?).await.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len().saturating_add(chunk.len()) > BODY_MAX {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = HttpResponse::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(Self::call(self, request))
    }
}
