//! People who are signed in on the page.
//!
//! Never keeps a session's token, only its digest. Invariant: a session ends with its time, with the credential it was
//! opened with, and with its user: each is looked up in the configuration in force at every use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Principal;
use crate::config::{Config, UserConfig, WebPassword};

/// Sessions of one user, and in all; the oldest end when there are more.
const PER_USER_MAX: usize = 20;
const ALL_MAX: usize = 10_000;
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

    /// What stands in the forms of this session, which other sites cannot know.
    #[must_use]
    pub fn csrf(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.digest("csrf"))
    }

    /// Whether a form brought what stands in the forms of this session.
    #[must_use]
    pub fn is_csrf(&self, given: &str) -> bool {
        self.csrf().as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
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

    fn of(kind: &str, text: &str) -> Self {
        Self(Sha256::new().chain_update(kind).chain_update([0]).chain_update(text).finalize().into())
    }

    /// Whether that user still has it.
    pub(crate) fn belongs_to(self, user: &UserConfig) -> bool {
        user.web_password.as_ref().is_some_and(|password| Self::password(password) == self)
            || user.tokens.iter().any(|token| Self::token(token) == self)
    }
}

#[derive(Clone, Debug)]
struct Session {
    user: String,
    credential: Credential,
    opened: Instant,
    ends: Instant,
}

/// Everybody who is signed in on this process.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<HashMap<[u8; 32], Session>>,
}

impl Sessions {
    /// Opens a session for somebody who has just proved who they are.
    #[must_use]
    pub fn open(&self, user: &str, credential: Credential, lifetime: Duration, now: Instant) -> SessionToken {
        let token = SessionToken(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let session = Session { user: user.to_owned(), credential, opened: now, ends: now + lifetime };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.ends > now);
        let of_user = |session: &Session| session.user == user;
        if open.values().filter(|session| of_user(session)).count() >= PER_USER_MAX {
            end_oldest(&mut open, of_user);
        }
        if open.len() >= ALL_MAX {
            end_oldest(&mut open, |_| true);
        }
        open.insert(token.digest("session"), session);
        token
    }

    /// Who it belongs to, by the configuration in force; ends it when that says so.
    #[must_use]
    pub fn find(&self, config: &Config, token: &SessionToken, now: Instant) -> Option<Principal> {
        let key = token.digest("session");
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get(&key)?;
        let user = config.user(&session.user).filter(|user| session.ends > now && session.credential.belongs_to(user));
        if user.is_none() {
            open.remove(&key);
        }
        user.map(Principal::from)
    }

    /// Ends a session.
    pub fn close(&self, token: &SessionToken) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&token.digest("session"));
    }
}

fn end_oldest(open: &mut HashMap<[u8; 32], Session>, which: impl Fn(&Session) -> bool) {
    let candidates = open.iter().filter(|(_, session)| which(session));
    let oldest = candidates.min_by_key(|(_, session)| session.opened).map(|(key, _)| *key);
    if let Some(key) = oldest {
        open.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

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

    #[test]
    fn a_session_ends_with_its_time_its_credential_and_its_user() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let mut config = config();
        let bob = credential(&config, "bob");
        let token = sessions.open("bob", bob, HOUR, now);
        assert_eq!(sessions.find(&config, &token, now).unwrap().groups, ["dba"]);
        assert!(sessions.find(&config, &token, now + HOUR).is_none());
        assert!(sessions.find(&config, &token, now).is_none(), "what has ended does not come back");

        let token = sessions.open("bob", bob, HOUR, now);
        config.users[1].groups = vec!["other".to_owned()];
        assert_eq!(sessions.find(&config, &token, now).unwrap().groups, ["other"], "groups are those of now");
        config.users[1].web_password = None;
        assert!(sessions.find(&config, &token, now).is_none());

        let by_token = Credential::token(&config.users[0].tokens[0]);
        let token = sessions.open("alice", by_token, HOUR, now);
        assert!(sessions.find(&config, &token, now).is_some());
        config.users.remove(0);
        assert!(sessions.find(&config, &token, now).is_none());
    }

    #[test]
    fn only_its_token_finds_a_session() {
        let (sessions, config, now) = (Sessions::default(), config(), Instant::now());
        let token = sessions.open("bob", credential(&config, "bob"), HOUR, now);
        let other = sessions.open("alice", credential(&config, "alice"), HOUR, now);
        assert_eq!(SessionToken::parse(token.expose()), Some(token.clone()));
        assert_eq!(sessions.find(&config, &other, now).unwrap().name, "alice");
        sessions.close(&token);
        assert!(sessions.find(&config, &token, now).is_none());
        for bad in ["", "x", &"x".repeat(44), &format!("{}=", "x".repeat(42))] {
            assert_eq!(SessionToken::parse(bad), None);
        }
        assert!(!format!("{other:?}").contains(other.expose()));
        assert!(other.is_csrf(&other.csrf()) && !other.is_csrf(&token.csrf()) && !other.is_csrf(""));
        assert_ne!(other.csrf(), other.expose());
    }

    #[test]
    fn the_oldest_makes_room() {
        let (sessions, config, now) = (Sessions::default(), config(), Instant::now());
        let bob = credential(&config, "bob");
        let tokens: Vec<_> =
            (0..=PER_USER_MAX).map(|n| sessions.open("bob", bob, HOUR, now + Duration::from_secs(n as u64))).collect();
        assert!(sessions.find(&config, &tokens[0], now).is_none());
        assert!(tokens[1..].iter().all(|token| sessions.find(&config, token, now).is_some()));
    }
}
