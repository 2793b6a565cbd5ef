//! Who calls: bearer token, or name and password → [`Principal`].
//!
//! Never keeps or prints a token: the configuration holds digests only.
//! Invariant: every known digest is compared, in constant time, whether or not an earlier one matched.

pub mod password;
pub mod sessions;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use self::password::Checker;
use self::sessions::Credential;
use crate::config::{Config, UserConfig};

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// An authenticated person or service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Name in the configuration.
    pub name: String,
    /// Groups by the configuration in force.
    pub groups: Vec<String>,
}

impl From<&UserConfig> for Principal {
    fn from(user: &UserConfig) -> Self {
        Self { name: user.name.clone(), groups: user.groups.clone() }
    }
}

/// What stands in the configuration for a bearer token: `sha256:` and the digest in hexadecimal.
#[must_use]
pub fn token_digest(token: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(token.as_bytes())))
}

/// The user whose token this is, and what to open a session with.
#[must_use]
pub fn by_bearer_token(config: &Config, token: &str) -> Option<(Principal, Credential)> {
    let user = owner_of(config, token)?;
    let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let known = user.tokens.iter().find(|known| same_digest(known, &presented).into())?;
    Some((user.into(), Credential::token(known)))
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
    user.zip(known).filter(|_| is_right).map(|(user, known)| (user.into(), Credential::password(known)))
}

fn owner_of<'a>(config: &'a Config, token: &str) -> Option<&'a UserConfig> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let mut found = 0_u64;
    for (index, user) in (1_u64..).zip(&config.users) {
        for known in &user.tokens {
            found.conditional_assign(&index, same_digest(known, &presented));
        }
    }
    config.users.get(usize::try_from(found.checked_sub(1)?).ok()?)
}

fn same_digest(known: &str, presented: &[u8; 32]) -> Choice {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(known.strip_prefix("sha256:").unwrap_or(known), &mut bytes) {
        Ok(()) => bytes.ct_eq(presented),
        Err(_invalid) => Choice::from(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tokens: &[&str], presented: &str, want: bool) {
        let mut config = crate::review::fixture::config("zoe:other alice:engineering");
        config.users[0].tokens.clear();
        config.users[1].tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        let found = by_bearer_token(&config, presented).map(|(principal, _)| principal.name);
        assert_eq!(found.as_deref(), want.then_some("alice"));
    }

    #[test]
    fn only_the_token_itself_is_accepted() {
        let digest = token_digest("secret");
        check(&[&digest], "secret", true);
        check(&[digest.trim_start_matches("sha256:")], "secret", true);
        check(&[&token_digest("old"), &digest], "secret", true);
        check(&[&digest], "secret ", false);
        check(&[&digest], "", false);
        check(&[&token_digest("")], "", false);
        check(&[&digest], &digest, false);
        check(&["sha256:"], "", false);
        check(&["sha256:00"], "secret", false);
        check(&[], "secret", false);
        check(&[&token_digest(&"x".repeat(600))], &"x".repeat(600), false);
    }
}
