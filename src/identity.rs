//! Who calls: bearer token → [`Principal`].
//!
//! Never keeps or prints a token: the configuration holds digests only.
//! Invariant: every known digest is compared, in constant time, whether or not an earlier one matched.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::Config;

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

/// What stands in the configuration for a bearer token: `sha256:` and the digest in hexadecimal.
#[must_use]
pub fn token_digest(token: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(token.as_bytes())))
}

/// The user whose token this is.
#[must_use]
pub fn by_bearer_token(config: &Config, token: &str) -> Option<Principal> {
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
    let user = config.users.get(usize::try_from(found.checked_sub(1)?).ok()?)?;
    Some(Principal { name: user.name.clone(), groups: user.groups.clone() })
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
        let found = by_bearer_token(&config, presented).map(|principal| principal.name);
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
