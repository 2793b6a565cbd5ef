//! Passwords of database clients that live for an hour: had for a code that the page gives to who is signed in there.
//!
//! Never sees a password: the program that asks for one makes it, and sends a SCRAM verifier. Invariant: a password ends with
//! its hour, with what its owner signed in with, and with their right to sign in.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_protocol::scram::{self, Verifier};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::sessions::{Credential, holder};
use crate::config::Config;
use crate::store::{Callers, PasswordCode, StoreError};

/// How long a password lives.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How long a code waits for the program that asks.
const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// How long a login waits for the store.
const PATIENCE: Duration = Duration::from_secs(2);

/// A password that somebody has at this moment.
#[derive(Clone, Debug)]
pub struct Held {
    /// What it is known by.
    pub verifier: Verifier,
    /// Groups of its owner.
    pub groups: Vec<String>,
}

/// A password that somebody has just had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Whose.
    pub user: String,
    /// What they had signed in with.
    pub credential: Credential,
    /// Until when.
    pub ends_at: Timestamp,
}

/// The passwords of everybody, at any proxy of the store.
#[derive(Clone, Debug)]
pub struct Passwords {
    store: Arc<dyn Callers>,
}

/// Whether that is a verifier as `countersign login` makes it: nobody can tell it from that of a user who does not exist.
#[must_use]
pub fn is_verifier(text: &str) -> bool {
    let usual = |verifier: Verifier| {
        verifier.iterations() == scram::DEFAULT_ITERATIONS && verifier.salt_len() == scram::DEFAULT_SALT_LEN
    };
    text.len() < 256 && Verifier::parse(text).is_ok_and(usual)
}

/// Whether a user has a password in the configuration, which is then the one that counts.
#[must_use]
pub fn has_own(config: &Config, user: &str) -> bool {
    config.user(user).is_some_and(|user| user.verifier.is_some())
}

fn digest(code: &str) -> [u8; 32] {
    Sha256::new().chain_update("password-code\0").chain_update(code).finalize().into()
}

impl Passwords {
    /// Kept in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Callers>) -> Self {
        Self { store }
    }

    /// A code for somebody who is signed in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn offer(&self, user: &str, credential: Credential, now: Timestamp) -> Result<String, StoreError> {
        let code = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>());
        let ends_at = now.checked_add(CODE_LIFETIME).unwrap_or(now);
        let kept = PasswordCode { code: digest(&code), user: user.to_owned(), credential: credential.key(), ends_at };
        self.store.offer_password(kept, now).await?;
        Ok(code)
    }

    /// Uses a code up for a password with that verifier. `None` when there is no such code.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim(&self, code: &str, verifier: &str, now: Timestamp) -> Result<Option<Claimed>, StoreError> {
        let ends_at = now.checked_add(LIFETIME).unwrap_or(now);
        let user = self.store.claim_password(digest(code), verifier.to_owned(), now, ends_at).await?;
        let Some(user) = user else { return Ok(None) };
        let kept = self.store.password(user.clone(), now).await?;
        Ok(kept.map(|kept| Claimed { user, credential: Credential::from_key(kept.credential), ends_at }))
    }

    /// Ends the password of a user; whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self, user: &str) -> Result<bool, StoreError> {
        self.store.drop_password(user.to_owned()).await
    }

    /// The password that a user has now. A store that does not answer has none.
    pub async fn find(&self, config: &Config, user: &str, now: Timestamp) -> Option<Held> {
        let found = tokio::time::timeout(PATIENCE, self.store.password(user.to_owned(), now)).await;
        let Ok(Ok(found)) = found else {
            tracing::warn!("could not look for passwords of countersign login: the store does not answer");
            return None;
        };
        let found = found.filter(|_| !has_own(config, user))?;
        let credential = Credential::from_key(found.credential);
        let owner = holder(config, user, credential, found.said.as_deref(), now)?;
        Some(Held { verifier: Verifier::parse(&found.verifier).ok()?, groups: owner.groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, WebPassword, derive_verifier};
    use crate::review::fixture::at;
    use crate::store::tests::both::Place;

    fn config() -> Config {
        let mut config = crate::review::fixture::config("alice:engineering bob:dba");
        config.users[0].web_password = Some(WebPassword::Clear(Secret::new("one".to_owned())));
        config
    }

    #[tokio::test]
    async fn a_password_ends_with_its_hour_and_with_what_it_was_had_for() {
        let (place, config) = (Place::sqlite(), config());
        let passwords = Passwords::new(place.open_callers().await);
        let credential = Credential::password(config.users[0].web_password.as_ref().unwrap());
        let verifier = derive_verifier("secret");
        let code = passwords.offer("alice", credential, at(0)).await.unwrap();
        assert_eq!(passwords.claim(&code, &verifier, at(300)).await.unwrap(), None, "five minutes are over");
        let code = passwords.offer("alice", credential, at(0)).await.unwrap();
        let given = passwords.claim(&code, &verifier, at(299)).await.unwrap();
        assert_eq!(given, Some(Claimed { user: "alice".to_owned(), credential, ends_at: at(3899) }));
        let groups =
            async |config: &Config, now: i64| passwords.find(config, "alice", at(now)).await.map(|held| held.groups);
        assert_eq!(groups(&config, 3898).await.unwrap(), ["engineering"]);
        assert!(groups(&config, 3899).await.is_none(), "its hour is over");
        let changed = |change: fn(&mut Config)| {
            let mut config = self::config();
            change(&mut config);
            config
        };
        let other =
            changed(|config| config.users[0].web_password = Some(WebPassword::Clear(Secret::new("two".to_owned()))));
        assert!(groups(&other, 300).await.is_none(), "the password of the page is another");
        let own = changed(|config| config.users[0].verifier = Some(derive_verifier("own")));
        assert!(groups(&own, 300).await.is_none(), "that of the configuration counts");
        assert!(groups(&changed(|config| drop(config.users.remove(0))), 300).await.is_none());
        assert!(passwords.find(&config, "bob", at(300)).await.is_none());
        assert!(passwords.end("alice").await.unwrap() && groups(&config, 300).await.is_none());
    }

    #[test]
    fn only_what_looks_like_every_other_is_taken() {
        let good = derive_verifier("x");
        assert!(is_verifier(&good));
        for bad in [
            "",
            "x",
            &good.replace("4096", "4097"),
            &good.replace("4096", "1"),
            &good[..good.len() - 4],
            &"x".repeat(300),
        ] {
            assert!(!is_verifier(bad), "{bad}");
        }
    }
}
