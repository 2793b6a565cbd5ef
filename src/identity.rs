//! Who calls: bearer token, or name and password → [`Principal`].
//!
//! Never keeps or prints a token: the configuration holds digests only.
//! Invariant: every known digest is compared, in constant time, whether or not an earlier one matched.

pub mod oidc;
pub mod password;
pub mod passwords;
pub mod people;
mod scope;
pub mod sessions;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use self::password::Checker;
use self::sessions::Credential;
use crate::config::{Config, UserConfig};

pub use scope::{Scope, Scopes, UnknownScope};

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// An authenticated person or service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Name in the configuration.
    pub name: String,
    /// Groups by the configuration in force.
    pub groups: Vec<String>,
    /// What their credentials are for.
    pub scopes: Scopes,
}

impl Principal {
    fn new(user: &UserConfig, scopes: Scopes) -> Self {
        Self { name: user.name.clone(), groups: user.groups.clone(), scopes }
    }

    /// Whether what they have shown is for that.
    #[must_use]
    pub fn may_use(&self, scope: Scope) -> bool {
        self.scopes.allow(scope)
    }
}

/// What stands in the configuration for a bearer token: its SHA-256 in hexadecimal.
#[must_use]
pub fn token_digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// The user whose token this is, with what it is for, and what to open a session with; nobody once it has ended.
#[must_use]
pub fn by_bearer_token(config: &Config, token: &str, now: Timestamp) -> Option<(Principal, Credential)> {
    let user = owner_of(config, token)?;
    let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let known = user.tokens.iter().find(|known| same_digest(&known.digest, &presented).into())?;
    let credential = Credential::token(&known.digest);
    Some((credential.principal(user, now)?, credential))
}

/// The user of that name, if that is their password on the page, and what to open a session with.
pub async fn sign_in_by_password(
    config: &Config,
    checker: &Checker,
    name: &str,
    password: &str,
) -> Option<(Principal, Credential)> {
    let user = config.user(name);
    let known = user.and_then(|user| user.web_password.as_ref());
    let is_right = checker.is_right(known, password).await;
    user.zip(known)
        .filter(|_| is_right)
        .map(|(user, known)| (Principal::new(user, Scopes::all()), Credential::password(known)))
}

fn owner_of<'a>(config: &'a Config, token: &str) -> Option<&'a UserConfig> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let mut found = 0_u64;
    for (index, user) in (1_u64..).zip(&config.users) {
        for known in &user.tokens {
            found.conditional_assign(&index, same_digest(&known.digest, &presented));
        }
    }
    config.users.get(usize::try_from(found.checked_sub(1)?).ok()?)
}

fn same_digest(known: &str, presented: &[u8; 32]) -> Choice {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(known, &mut bytes) {
        Ok(()) => bytes.ct_eq(presented),
        Err(_invalid) => Choice::from(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenConfig;
    use crate::review::fixture::{self, at};

    fn config(digests: &[&str]) -> Config {
        let mut config = fixture::config("zoe:other alice:engineering");
        config.users[0].tokens.clear();
        let token = |digest: &&str| TokenConfig { digest: (*digest).to_owned(), ..fixture::token("") };
        config.users[1].tokens = digests.iter().map(token).collect();
        config
    }

    #[track_caller]
    fn check(digests: &[&str], presented: &str, want: bool) {
        let found = by_bearer_token(&config(digests), presented, at(0)).map(|(principal, _)| principal.name);
        assert_eq!(found.as_deref(), want.then_some("alice"));
    }

    #[test]
    fn only_the_token_itself_is_accepted() {
        let digest = token_digest("secret");
        check(&[&digest], "secret", true);
        check(&[&token_digest("old"), &digest], "secret", true);
        check(&[&digest], "secret ", false);
        check(&[&digest], "", false);
        check(&[&token_digest("")], "", false);
        check(&[&digest], &digest, false);
        check(&[""], "", false);
        check(&["00"], "secret", false);
        check(&[], "secret", false);
        check(&[&token_digest(&"x".repeat(600))], &"x".repeat(600), false);
    }

    #[test]
    fn a_token_is_for_its_scopes_until_it_ends() {
        let mut config = config(&[&token_digest("secret")]);
        let token = &mut config.users[1].tokens[0];
        token.scopes = [Scope::RequestsRead].into_iter().collect();
        token.expires_at = Some(at(10));
        let (person, credential) = by_bearer_token(&config, "secret", at(9)).unwrap();
        assert!(person.may_use(Scope::RequestsRead) && !person.may_use(Scope::RequestsDecide));
        assert!(by_bearer_token(&config, "secret", at(10)).is_none());
        // A session that was opened with it is for no more and lasts no longer.
        assert_eq!(credential.principal(&config.users[1], at(9)).unwrap().scopes, person.scopes);
        assert!(credential.principal(&config.users[1], at(10)).is_none());
        config.users[1].tokens[0].scopes = Scopes::default();
        let (person, _) = by_bearer_token(&config, "secret", at(9)).unwrap();
        assert!(Scope::ALL.iter().all(|scope| !person.may_use(*scope)));
    }
}
