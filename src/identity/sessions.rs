//! People who are signed in on the page.
//!
//! Never keeps a session's token, only its digest; sessions are in the store, so that any proxy serves a page. Invariant: a session ends with its time, with the credential it was
//! opened with, and with its user: each is looked up in the configuration in force at every use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::people;
use super::{Principal, Scopes};
use crate::config::{Config, OidcConfig, TokenConfig, UserConfig, WebPassword};
use crate::store::{Callers, PageSession, StoreError};

/// Sessions of one user; the oldest end when there are more.
const PER_USER_MAX: u32 = 20;
/// How long what was read of a session counts: so late other proxies notice that somebody has signed out.
const FRESH: Duration = Duration::from_secs(2);
/// Sessions of which that is remembered.
const SEEN_MAX: usize = 10_000;
/// What begins the token of `countersign login`.
const LOGIN_PREFIX: &str = "csl_";
/// Bytes of a token in the cookie.
const TOKEN_LEN: usize = 43;

/// What proves, in a cookie, who somebody is: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    /// The token in a cookie's value, if it has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid =
            text.len() == TOKEN_LEN && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        valid.then(|| Self(text.to_owned()))
    }

    /// The value for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn digest(&self, purpose: &str) -> [u8; 32] {
        Sha256::new().chain_update(purpose).chain_update([0]).chain_update(&self.0).finalize().into()
    }

    /// 256 random bits.
    #[must_use]
    pub(super) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// A secret made from it, which tells nothing about it.
    pub(super) fn derived(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.digest(purpose))
    }

    /// Whether that is the secret made from it.
    pub(super) fn is_derived(&self, purpose: &str, given: &str) -> bool {
        self.derived(purpose).as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// What stands in the forms of this session, which other sites cannot know.
    #[must_use]
    pub fn csrf(&self) -> String {
        self.derived("csrf")
    }

    /// Whether a form brought what stands in the forms of this session.
    #[must_use]
    pub fn is_csrf(&self, given: &str) -> bool {
        self.is_derived("csrf", given)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// What proves, in an Authorization header, for whom `countersign login` has signed in: 256 random bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginToken(SessionToken);

impl LoginToken {
    /// The token in a header, if it has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix(LOGIN_PREFIX).and_then(SessionToken::parse).map(Self)
    }

    /// As the header has it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{LOGIN_PREFIX}{}", self.0.0)
    }

    fn key(&self) -> [u8; 32] {
        self.0.digest("login")
    }
}

/// What somebody signed in with, as a digest: when it is no longer theirs, the session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential([u8; 32]);

impl Credential {
    /// The password of the page.
    #[must_use]
    pub fn password(password: &WebPassword) -> Self {
        let text = match password {
            WebPassword::Argon2(hash) => hash.as_str(),
            WebPassword::Clear(secret) => secret.expose(),
        };
        Self::of("password", text)
    }

    /// A bearer token, by its digest in the configuration.
    #[must_use]
    pub fn token(digest: &str) -> Self {
        Self::of("token", digest)
    }

    /// Somebody of the identity provider, by the claim that tells people apart.
    #[must_use]
    pub fn provider(oidc: &OidcConfig, who: &str) -> Self {
        let parts = [oidc.issuer.as_str(), oidc.client_id.as_str(), oidc.user_claim.as_str(), who];
        Self::of("provider", &parts.map(|part| format!("{}:{part}", part.len())).concat())
    }

    /// As the store has it.
    pub(super) fn from_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    pub(super) fn key(self) -> [u8; 32] {
        self.0
    }

    fn of(kind: &str, text: &str) -> Self {
        Self(Sha256::new().chain_update(kind).chain_update([0]).chain_update(text).finalize().into())
    }

    /// That user, with what it is for, if it is still theirs.
    pub(crate) fn principal(self, user: &UserConfig, now: Timestamp) -> Option<Principal> {
        let is_password = user.web_password.as_ref().is_some_and(|password| Self::password(password) == self);
        let is_it = |token: &&TokenConfig| Self::token(&token.digest) == self && !token.is_over(now);
        let scopes = if is_password { Some(Scopes::all()) } else { user.tokens.iter().find(is_it).map(|it| it.scopes) };
        scopes.map(|scopes| Principal::new(user, scopes))
    }
}

/// Everybody who is signed in, at any proxy of the store.
#[derive(Debug)]
pub struct Sessions {
    store: Arc<dyn Callers>,
    /// What was read lately.
    seen: Mutex<HashMap<[u8; 32], Seen>>,
}

#[derive(Debug)]
struct Seen {
    session: Option<PageSession>,
    at: Instant,
}

impl Sessions {
    /// Kept in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Callers>) -> Self {
        Self { store, seen: Mutex::default() }
    }

    /// Opens a session for somebody who has just proved who they are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(
        &self,
        user: &str,
        credential: Credential,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<SessionToken, StoreError> {
        self.open_as((user, credential), None, lifetime, now).await
    }

    /// As [`Sessions::open`], for somebody of the identity provider, who is in these groups there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open_as(
        &self,
        (user, credential): (&str, Credential),
        said: Option<Vec<String>>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<SessionToken, StoreError> {
        let token = SessionToken::random();
        self.keep((token.digest("session"), user, credential), said, lifetime, now).await?;
        Ok(token)
    }

    /// Lets a program act for an hour for somebody who has signed in with that: a bearer token, which no cookie can carry.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open_for_program(
        &self,
        user: &str,
        credential: Credential,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<LoginToken, StoreError> {
        let token = LoginToken(SessionToken::random());
        // What the provider has said of its user is known from them.
        self.keep((token.key(), user, credential), None, lifetime, now).await?;
        Ok(token)
    }

    async fn keep(
        &self,
        (key, user, credential): ([u8; 32], &str, Credential),
        said: Option<Vec<String>>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
        let ends_at = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        let user = user.to_owned();
        let session = PageSession { key, user, credential: credential.0, opened_at: now, ends_at, said };
        self.store.open_session(session, PER_USER_MAX).await
    }

    /// Who it belongs to, by the configuration in force; ends it when that says so.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(
        &self,
        config: &Config,
        token: &SessionToken,
        now: Timestamp,
    ) -> Result<Option<Principal>, StoreError> {
        self.holder_of(config, token.digest("session"), now).await
    }

    /// Who has had that bearer token by `countersign login`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_program(
        &self,
        config: &Config,
        token: &LoginToken,
        now: Timestamp,
    ) -> Result<Option<Principal>, StoreError> {
        self.holder_of(config, token.key(), now).await
    }

    async fn holder_of(&self, config: &Config, key: [u8; 32], now: Timestamp) -> Result<Option<Principal>, StoreError> {
        let Some(session) = self.read(key).await? else { return Ok(None) };
        let credential = Credential(session.credential);
        let person = if session.ends_at > now {
            holder(config, &session.user, credential, session.said.as_deref(), now)
        } else {
            None
        };
        if person.is_none() {
            self.end(key).await?;
        }
        Ok(person)
    }

    /// What a session was opened with; `None` when it has ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn credential(&self, token: &SessionToken) -> Result<Option<Credential>, StoreError> {
        Ok(self.read(token.digest("session")).await?.map(|session| Credential(session.credential)))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn close(&self, token: &SessionToken) -> Result<(), StoreError> {
        self.end(token.digest("session")).await
    }

    /// Ends all sessions of a user and says how many there were; other proxies notice within two seconds.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn close_all(&self, user: &str) -> Result<u64, StoreError> {
        let closed = self.store.close_sessions(user.to_owned()).await?;
        self.seen().retain(|_, seen| seen.session.as_ref().is_some_and(|session| session.user != user));
        Ok(closed)
    }

    async fn end(&self, key: [u8; 32]) -> Result<(), StoreError> {
        self.store.close_session(key).await?;
        self.seen().remove(&key);
        Ok(())
    }

    async fn read(&self, key: [u8; 32]) -> Result<Option<PageSession>, StoreError> {
        if let Some(seen) = self.seen().get(&key).filter(|seen| seen.at.elapsed() < FRESH) {
            return Ok(seen.session.clone());
        }
        let session = self.store.session(key).await?;
        let mut seen = self.seen();
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, seen| seen.at.elapsed() < FRESH);
        }
        if seen.len() < SEEN_MAX {
            seen.insert(key, Seen { session: session.clone(), at: Instant::now() });
        }
        Ok(session)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<[u8; 32], Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who somebody is now who has signed in with that, by the provider if it has said something of them.
pub(super) fn holder(
    config: &Config,
    user: &str,
    credential: Credential,
    said: Option<&[String]>,
    now: Timestamp,
) -> Option<Principal> {
    match said {
        None => credential.principal(config.user(user)?, now),
        Some(said) => {
            let groups = people::groups_now(config, user, credential, said)?;
            Some(Principal { name: user.to_owned(), groups, scopes: Scopes::all() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::review::fixture::at;
    use crate::store::tests::both::Place;

    const HOUR: Duration = Duration::from_secs(3600);

    fn config() -> Config {
        let mut config = crate::review::fixture::config("alice:engineering bob:dba");
        for user in &mut config.users {
            user.web_password = Some(WebPassword::Clear(Secret::new(format!("{}-password", user.name))));
        }
        config
    }

    fn credential(config: &Config, user: &str) -> Credential {
        Credential::password(config.user(user).unwrap().web_password.as_ref().unwrap())
    }

    async fn sessions() -> (Sessions, Place) {
        let place = Place::sqlite();
        (Sessions::new(place.open_callers().await), place)
    }

    async fn open(sessions: &Sessions, user: &str, credential: Credential, now: Timestamp) -> SessionToken {
        sessions.open(user, credential, HOUR, now).await.unwrap()
    }

    #[tokio::test]
    async fn a_session_ends_with_its_time_its_credential_and_its_user() {
        let ((sessions, _place), mut config) = (sessions().await, config());
        let bob = credential(&config, "bob");
        let token = open(&sessions, "bob", bob, at(0)).await;
        assert_eq!(sessions.find(&config, &token, at(0)).await.unwrap().unwrap().groups, ["dba"]);
        assert!(sessions.find(&config, &token, at(3600)).await.unwrap().is_none());
        assert!(sessions.find(&config, &token, at(0)).await.unwrap().is_none(), "what has ended does not come back");

        let token = open(&sessions, "bob", bob, at(0)).await;
        config.users[1].groups = vec!["other".to_owned()];
        let now = sessions.find(&config, &token, at(0)).await.unwrap().unwrap();
        assert_eq!(now.groups, ["other"], "groups are those of now");
        config.users[1].web_password = None;
        assert!(sessions.find(&config, &token, at(0)).await.unwrap().is_none());

        let by_token = Credential::token(&config.users[0].tokens[0].digest);
        let token = open(&sessions, "alice", by_token, at(0)).await;
        assert!(sessions.find(&config, &token, at(0)).await.unwrap().is_some());
        config.users[0].tokens[0].expires_at = Some(at(9));
        assert!(sessions.find(&config, &token, at(9)).await.unwrap().is_none());
        config.users.remove(0);
        assert!(sessions.find(&config, &token, at(0)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn only_its_token_finds_a_session() {
        let ((sessions, _place), config) = (sessions().await, config());
        let token = open(&sessions, "bob", credential(&config, "bob"), at(0)).await;
        let other = open(&sessions, "alice", credential(&config, "alice"), at(0)).await;
        assert_eq!(SessionToken::parse(token.expose()), Some(token.clone()));
        assert_eq!(sessions.find(&config, &other, at(0)).await.unwrap().unwrap().name, "alice");
        sessions.close(&token).await.unwrap();
        assert!(sessions.find(&config, &token, at(0)).await.unwrap().is_none());
        for bad in ["", "x", &"x".repeat(44), &format!("{}=", "x".repeat(42))] {
            assert_eq!(SessionToken::parse(bad), None);
        }
        assert!(!format!("{other:?}").contains(other.expose()));
        assert!(other.is_csrf(&other.csrf()) && !other.is_csrf(&token.csrf()) && !other.is_csrf(""));
        assert_ne!(other.csrf(), other.expose());
    }

    #[tokio::test]
    async fn the_oldest_makes_room_and_all_end_together() {
        let ((sessions, _place), config) = (sessions().await, config());
        let (bob, alice) = (credential(&config, "bob"), credential(&config, "alice"));
        let other = open(&sessions, "alice", alice, at(0)).await;
        let mut tokens = Vec::new();
        for n in 0..=i64::from(PER_USER_MAX) {
            tokens.push(open(&sessions, "bob", bob, at(n)).await);
        }
        let mut left = Vec::new();
        for token in &tokens {
            left.push(sessions.find(&config, token, at(30)).await.unwrap().is_some());
        }
        assert!(!left[0] && left[1..].iter().all(|left| *left), "{left:?}");
        assert_eq!(sessions.close_all("bob").await.unwrap(), u64::from(PER_USER_MAX));
        assert!(sessions.find(&config, &tokens[9], at(30)).await.unwrap().is_none());
        assert!(sessions.find(&config, &other, at(30)).await.unwrap().is_some());
    }
}
