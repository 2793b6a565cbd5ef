//! Passwords of the page: made into Argon2id hashes, and checked.
//!
//! Never checks more of them at a time than the machine can bear: each takes 19 MiB and some tens of milliseconds.
//! Invariant: it takes as long to refuse somebody whom nobody knows as to refuse a wrong password.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::config::WebPassword;

/// Longest password that is looked at, in bytes.
const BYTES_MAX: usize = 512;
/// Passwords checked at a time.
const CHECKS_MAX: usize = 2;
/// Most memory and passes that a hash in the configuration may ask for: 128 MiB, 16 times.
const MEMORY_KIB_MAX: u32 = 128 << 10;
const PASSES_MAX: u32 = 16;

/// The password cannot be hashed: it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password is longer than {BYTES_MAX} bytes")]
pub struct TooLong;

/// The Argon2id hash of a password with a random salt, as a PHC string.
///
/// # Errors
/// When the password is too long.
pub fn hash(password: &str) -> Result<String, TooLong> {
    if password.len() > BYTES_MAX {
        return Err(TooLong);
    }
    let salt: [u8; 16] = rand::random();
    hasher().hash_password_with_salt(password.as_bytes(), &salt).map(|hash| hash.to_string()).map_err(|_error| TooLong)
}

/// Whether the text is a hash that can be checked at a bearable cost.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let affordable = |params: Params| params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX;
    hash.algorithm.as_str() == "argon2id"
        && hash.salt.is_some()
        && hash.hash.is_some()
        && Params::try_from(&hash).is_ok_and(affordable)
}

/// Checks passwords, a few at a time.
#[derive(Clone, Debug)]
pub struct Checker {
    room: Arc<Semaphore>,
    /// What is checked for who has no password.
    nobody: Arc<str>,
}

impl Default for Checker {
    fn default() -> Self {
        let nobody = hash("nobody").unwrap_or_default();
        Self { room: Arc::new(Semaphore::new(CHECKS_MAX)), nobody: nobody.into() }
    }
}

impl Checker {
    /// Whether that is the password. `None` is somebody who has none.
    pub async fn is_right(&self, known: Option<&WebPassword>, password: &str) -> bool {
        if password.is_empty() || password.len() > BYTES_MAX {
            return false;
        }
        // The semaphore is never closed, so there is always a permit.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        let (known, nobody, password) = (known.cloned(), Arc::clone(&self.nobody), password.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            check(known.as_ref(), &nobody, &password)
        });
        checked.await.unwrap_or(false)
    }
}

fn check(known: Option<&WebPassword>, nobody: &str, password: &str) -> bool {
    let (hash, clear) = match known {
        Some(WebPassword::Argon2(hash)) => (hash.as_str(), None),
        Some(WebPassword::Clear(secret)) => (nobody, Some(secret)),
        None => (nobody, None),
    };
    // Worked out in every case, so that all refusals take the same time.
    let fits = hasher().verify_password(password.as_bytes(), hash).is_ok();
    match (known, clear) {
        (Some(_), Some(secret)) => {
            let digest = |text: &str| Sha256::digest(text.as_bytes());
            digest(secret.expose()).ct_eq(&digest(password)).into()
        }
        (Some(_), None) => fits,
        (None, _) => false,
    }
}

fn hasher() -> Argon2<'static> {
    // OWASP's choice: 19 MiB, 2 passes, 1 lane.
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[track_caller]
    fn check_hash(text: &str, want: bool) {
        assert_eq!(is_hash(text), want, "{text}");
    }

    #[test]
    fn only_affordable_argon2id_is_a_hash() {
        let good = hash("correct horse").unwrap();
        assert!(good.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{good}");
        assert_ne!(good, hash("correct horse").unwrap());
        check_hash(&good, true);
        check_hash(&good.replace("argon2id", "argon2i"), false);
        check_hash(&good.replace("m=19456", "m=4194304"), false);
        check_hash(&good.replace("t=2", "t=100"), false);
        check_hash(good.rsplit_once('$').unwrap().0, false);
        check_hash("", false);
        check_hash("hunter2", false);
        check_hash("SCRAM-SHA-256$4096:c2FsdA==$a:b", false);
        assert_eq!(hash(&"x".repeat(600)), Err(TooLong));
    }

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let checker = Checker::default();
        let hashed = WebPassword::Argon2(hash("secret").unwrap());
        let clear = WebPassword::Clear(Secret::new("secret".to_owned()));
        for known in [&hashed, &clear] {
            assert!(checker.is_right(Some(known), "secret").await);
            for wrong in ["secret ", "Secret", "", "nobody", &"x".repeat(600)] {
                assert!(!checker.is_right(Some(known), wrong).await, "{wrong}");
            }
        }
        assert!(!checker.is_right(None, "nobody").await);
    }
}
