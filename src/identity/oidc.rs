//! Signing in at an identity provider by OpenID Connect: authorization code, PKCE, state and nonce.
//!
//! Never believes what came through the browser: who somebody is comes from the provider, signed, over a connection of our
//! own. Invariant: [`Said`] exists only after signature, issuer, audience, times and nonce of an ID token were checked.

mod claims;
mod http;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, Client, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    SignatureVerificationError, StandardErrorResponse, StandardTokenResponse, TokenResponse as _,
};
use tokio::sync::Mutex;

use self::claims::Claims;
use self::http::{Http, HttpError};
use super::sessions::SessionToken;
use crate::config::OidcConfig;

pub use claims::Said;

/// Where the provider leads people back to, below `public_url`.
pub const LEAD_BACK: &str = "/login/oidc/callback";

/// How long what the provider says of itself counts.
const FRESH: Duration = Duration::from_secs(3600);
/// How long it is not asked again after it could not be.
const PAUSE: Duration = Duration::from_secs(3);
/// How old its keys must be to be fetched again for a token that none of them has signed.
const KEYS_AGE_MIN: Duration = Duration::from_secs(30);

/// Signatures that are accepted: those that only the provider can make.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type IdFields = IdTokenFields<
    Claims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Tokens = StandardTokenResponse<IdFields, CoreTokenType>;
type OidcClient = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why somebody could not be signed in by the provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// It does not answer.
    #[error("the identity provider cannot be reached")]
    Unreachable(#[source] HttpError),
    /// It could not be reached a moment ago.
    #[error("the identity provider could not be reached a moment ago")]
    Away,
    /// What it answers is not what OpenID Connect says, or not from the issuer that is configured.
    #[error("the identity provider's {0} cannot be used")]
    Unusable(&'static str),
    /// It does not take client id or secret.
    #[error("the identity provider does not accept client_id or client_secret")]
    ClientRefused,
    /// It does not take the code: it was used before, or too late.
    #[error("the identity provider does not accept the code")]
    CodeRefused,
    /// The ID token is not what it must be.
    #[error("the ID token has {0}")]
    Token(&'static str),
    /// It does not say who it is.
    #[error("the identity provider does not tell the claim \"{0}\"")]
    NoClaim(&'static str),
    /// It does not vouch for the address.
    #[error("the identity provider has not verified the e-mail address")]
    UnverifiedEmail,
}

/// One attempt to sign in: a secret in the browser that began it, from which everything else of it is derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt(SessionToken);

impl Attempt {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self(SessionToken::random())
    }

    /// That of a cookie.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        SessionToken::parse(text).map(Self)
    }

    /// The value for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What comes back through the browser, and proves that this browser began it.
    #[must_use]
    pub fn state(&self) -> String {
        self.0.derived("oidc-state")
    }

    /// Whether what came back belongs to it.
    #[must_use]
    pub fn is_state(&self, given: &str) -> bool {
        self.0.is_derived("oidc-state", given)
    }

    fn nonce(&self) -> Nonce {
        Nonce::new(self.0.derived("oidc-nonce"))
    }

    fn verifier(&self) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.0.derived("oidc-verifier"))
    }
}

impl Default for Attempt {
    fn default() -> Self {
        Self::new()
    }
}

/// The provider, with what it says of itself.
#[derive(Debug, Default)]
pub struct Provider {
    /// Held while it is asked, so that it is asked once.
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    config: OidcConfig,
    at: Instant,
    /// `None` when it could not be asked.
    found: Option<Arc<Found>>,
}

#[derive(Debug)]
struct Found {
    http: Http,
    client: OidcClient,
}

impl Provider {
    /// Where the browser has to go.
    ///
    /// # Errors
    /// When the provider does not answer, or not as it must.
    pub async fn begin(&self, config: &OidcConfig, attempt: &Attempt, lead_back: &str) -> Result<String, OidcError> {
        let found = self.found(config, FRESH).await?;
        let (state, nonce) = (attempt.state(), attempt.nonce());
        let request = found
            .client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || nonce)
            .set_redirect_uri(Cow::Owned(redirect(lead_back)?))
            .add_scopes(config.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&attempt.verifier()));
        Ok(request.url().0.into())
    }

    /// What the provider says of who came back with that code.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn finish(
        &self,
        config: &OidcConfig,
        attempt: &Attempt,
        code: &str,
        lead_back: &str,
    ) -> Result<Said, OidcError> {
        let found = self.found(config, FRESH).await?;
        let tokens = found.exchange(attempt, code, redirect(lead_back)?).await?;
        let id_token = tokens.id_token().ok_or(OidcError::Token("not come"))?;
        let verified = match id_token.claims(&found.verifier(), &attempt.nonce()) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                // The provider may have other keys by now.
                let found = self.found(config, KEYS_AGE_MIN).await?;
                id_token.claims(&found.verifier(), &attempt.nonce()).map_err(|error| of_token(&error))?
            }
            verified => verified.map_err(|error| of_token(&error))?,
        };
        let mut claims = Claims::of_token(verified);
        if !claims.is_complete(config)
            && let Ok(request) = found.client.user_info(tokens.access_token().clone(), Some(verified.subject().clone()))
        {
            let more = request.request_async::<Claims, _, CoreGenderClaim>(&found.http).await;
            claims.add(&more.map_err(|_error| OidcError::Unusable("answer about the person"))?);
        }
        claims.said(config)
    }

    /// What it says of itself, if that is not older than `age`.
    async fn found(&self, config: &OidcConfig, age: Duration) -> Result<Arc<Found>, OidcError> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.config == *config) {
            match &known.found {
                Some(found) if known.at.elapsed() < age => return Ok(Arc::clone(found)),
                None if known.at.elapsed() < PAUSE => return Err(OidcError::Away),
                Some(_) | None => {}
            }
        }
        let asked = Found::ask(config).await.map(Arc::new);
        let found = asked.as_ref().ok().cloned();
        *known = Some(Known { config: config.clone(), at: Instant::now(), found });
        asked
    }
}

/// Asks a provider what it says of itself, as signing in does.
///
/// # Errors
/// When it does not answer, or not as it must.
pub async fn probe(config: &OidcConfig) -> Result<(), OidcError> {
    Found::ask(config).await.map(drop)
}

impl Found {
    async fn ask(config: &OidcConfig) -> Result<Self, OidcError> {
        let http = Http::new(config).map_err(OidcError::Unreachable)?;
        let issuer = IssuerUrl::new(config.issuer.clone()).map_err(|_error| OidcError::Unusable("issuer"))?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.map_err(of_discovery)?;
        let methods = metadata.token_endpoint_auth_methods_supported();
        let posts = methods.is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let secret = config.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let client = Client::from_provider_metadata(metadata, ClientId::new(config.client_id.clone()), secret);
        let client = client.set_auth_type(if posts { AuthType::RequestBody } else { AuthType::BasicAuth });
        Ok(Self { http, client })
    }

    /// Checks ID tokens.
    fn verifier(&self) -> openidconnect::IdTokenVerifier<'_, CoreJsonWebKey> {
        self.client.id_token_verifier().set_allowed_algs(ALGORITHMS)
    }

    async fn exchange(&self, attempt: &Attempt, code: &str, lead_back: RedirectUrl) -> Result<Tokens, OidcError> {
        let request = self.client.exchange_code(AuthorizationCode::new(code.to_owned()));
        let request = request.map_err(|_error| OidcError::Unusable("discovery document"))?;
        let request = request.set_redirect_uri(Cow::Owned(lead_back)).set_pkce_verifier(attempt.verifier());
        request.request_async(&self.http).await.map_err(|error| match error {
            RequestTokenError::Request(error) => OidcError::Unreachable(error),
            RequestTokenError::ServerResponse(answer) => match answer.error() {
                CoreErrorResponseType::InvalidGrant => OidcError::CodeRefused,
                CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnauthorizedClient => {
                    OidcError::ClientRefused
                }
                _ => OidcError::Unusable("answer to the code"),
            },
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => OidcError::Unusable("answer to the code"),
        })
    }
}

fn redirect(lead_back: &str) -> Result<RedirectUrl, OidcError> {
    RedirectUrl::new(lead_back.to_owned()).map_err(|_error| OidcError::Unusable("public_url"))
}

fn of_discovery(error: DiscoveryError<HttpError>) -> OidcError {
    match error {
        DiscoveryError::Request(error) => OidcError::Unreachable(error),
        DiscoveryError::Validation(_) => OidcError::Unusable("issuer, which is not the one of the configuration,"),
        _ => OidcError::Unusable("discovery document"),
    }
}

/// What is wrong with a token; its own words quote what is in it.
fn of_token(error: &ClaimsVerificationError) -> OidcError {
    OidcError::Token(match error {
        ClaimsVerificationError::Expired(_) => "expired",
        ClaimsVerificationError::InvalidAudience(_) => "another audience",
        ClaimsVerificationError::InvalidIssuer(_) => "another issuer",
        ClaimsVerificationError::InvalidNonce(_) => "another nonce",
        ClaimsVerificationError::SignatureVerification(_) => "no good signature",
        _ => "claims that cannot be used",
    })
}

#[cfg(test)]
pub(crate) mod tests;
