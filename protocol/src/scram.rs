//! The server side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802 sections 5 and 6, RFC 7677), as PostgreSQL speaks
//! it.
//!
//! Never sees a password, never does IO, never makes randomness: the nonce is an argument.
//! Invariant: [`Exchange::finish`] answers `Ok` only to a proof made with the key behind the verifier's StoredKey.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Name of the mechanism that is always offered.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Name of the mechanism that binds to the channel; for connections with TLS.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Beginning of a client-first-message that binds to the server's certificate (RFC 5929 section 4).
const END_POINT_HEADER: &str = "p=tls-server-end-point,";

/// Iterations PostgreSQL uses by default.
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// Length of the salt PostgreSQL makes, in bytes.
pub const DEFAULT_SALT_LEN: usize = 16;

const KEY_LEN: usize = 32;

type Key = [u8; KEY_LEN];

/// What the server knows of a password: enough to check a proof, not enough to make one.
#[derive(Clone)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the form of `pg_authid.rolpassword`.
    ///
    /// # Errors
    /// [`ScramError::Verifier`] when it is anything else.
    pub fn parse(text: &str) -> Result<Self, ScramError> {
        Self::parts(text).ok_or(ScramError::Verifier)
    }

    fn parts(text: &str) -> Option<Self> {
        let (work, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = work.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations = decimal(iterations)?;
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }

    /// A verifier that no proof satisfies: for users who do not exist, so that they look as if they did.
    ///
    /// The same `secret` and `user` give the same salt, and its keys are pseudo-random: nobody knows a key that
    /// hashes to its StoredKey. `iterations` and `salt_len` (1 to 32) should be those of the real verifiers.
    #[must_use]
    pub fn mock(secret: &[u8], user: &str, iterations: u32, salt_len: usize) -> Self {
        let derive = |purpose: &[u8]| mac(&mac(secret, &[purpose]), &[user.as_bytes()]);
        let mut salt = derive(b"salt").to_vec();
        salt.truncate(salt_len.max(1));
        Self { iterations: iterations.max(1), salt, stored_key: derive(b"StoredKey"), server_key: derive(b"ServerKey") }
    }

    /// How many iterations the client has to compute.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Length of the salt in bytes.
    #[must_use]
    pub fn salt_len(&self) -> usize {
        self.salt.len()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// What the exchange has to do with the channel it runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding<'a> {
    /// [`MECHANISM_PLUS`] was not offered.
    NotOffered,
    /// It was offered, and the client chose [`MECHANISM`].
    Declined,
    /// The client chose it; carries the hash of the server's certificate (`tls-server-end-point`).
    EndPoint(&'a [u8]),
}

impl Binding<'_> {
    /// Takes the gs2-header off a client-first-message; returns what `c=` of the client-final-message must be, and the
    /// rest.
    fn gs2_header<'a>(&self, text: &'a str) -> Result<(String, &'a str), ScramError> {
        let binds = text.starts_with("p=");
        if !binds && !text.starts_with("n,") && !text.starts_with("y,") {
            return Err(ScramError::Malformed("gs2-header"));
        }
        let without = |header: &str| Ok((BASE64.encode(format!("{header},")), text.get(2..).unwrap_or_default()));
        match self {
            Self::NotOffered | Self::Declined if binds => Err(ScramError::ChannelBinding),
            // Somebody between us took the offer out, so that the client would not notice another certificate.
            Self::Declined if text.starts_with("y,") => Err(ScramError::Downgrade),
            Self::NotOffered if text.starts_with("y,") => without("y,"),
            Self::NotOffered | Self::Declined => without("n,"),
            Self::EndPoint(_) if !binds => Err(ScramError::ChannelBindingMissing),
            Self::EndPoint(hash) => {
                let rest = text.strip_prefix(END_POINT_HEADER).ok_or(ScramError::ChannelBindingType)?;
                Ok((BASE64.encode([END_POINT_HEADER.as_bytes(), b",", hash].concat()), rest))
            }
        }
    }
}

/// An exchange that waits for the client-final-message.
pub struct Exchange {
    verifier: Verifier,
    /// The gs2-header and the channel's data, which the client must repeat, in base 64.
    channel_binding: String,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Exchange {
    /// Takes the client-first-message and returns the exchange; [`Exchange::server_first`] is the answer to send.
    ///
    /// `server_nonce` is printable ASCII without a comma, unpredictable, and new for every exchange. The user name
    /// inside the message is ignored, as in PostgreSQL: the StartupMessage has it.
    ///
    /// # Errors
    /// [`ScramError`] when the message is malformed or asks for what is not offered.
    pub fn begin(
        verifier: Verifier,
        binding: Binding<'_>,
        client_first: &[u8],
        server_nonce: &str,
    ) -> Result<Self, ScramError> {
        let (channel_binding, rest) = binding.gs2_header(text(client_first)?)?;
        let client_first_bare = rest.strip_prefix(',').ok_or(ScramError::AuthorizationIdentity)?;
        if client_first_bare.starts_with("m=") {
            return Err(ScramError::MandatoryExtension);
        }
        let mut attributes = client_first_bare.split(',');
        expect(attributes.next(), "n=", "user name")?;
        let client_nonce = expect(attributes.next(), "r=", "nonce")?;
        if !is_nonce(client_nonce) {
            return Err(ScramError::Malformed("nonce"));
        }
        if !is_nonce(server_nonce) {
            return Err(ScramError::ServerNonce);
        }
        if !attributes.all(is_attribute) {
            return Err(ScramError::Malformed("extension"));
        }
        let nonce = format!("{client_nonce}{server_nonce}");
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        Ok(Self { verifier, channel_binding, nonce, client_first_bare: client_first_bare.to_owned(), server_first })
    }

    /// The server-first-message, to be sent in an AuthenticationSASLContinue.
    #[must_use]
    pub fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Takes the client-final-message; returns the server-final-message, to be sent in an AuthenticationSASLFinal.
    ///
    /// # Errors
    /// [`ScramError::Rejected`] when the proof is wrong, another [`ScramError`] when the message is malformed.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = text(client_final)?;
        // The proof is the last attribute and base 64 has no comma, so the last comma divides.
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed("proof"))?;
        let proof = key(proof).ok_or(ScramError::Malformed("proof"))?;
        let mut attributes = without_proof.split(',');
        if expect(attributes.next(), "c=", "channel binding")? != self.channel_binding {
            return Err(ScramError::ChannelBindingMismatch);
        }
        if expect(attributes.next(), "r=", "nonce")? != self.nonce {
            return Err(ScramError::Nonce);
        }
        if !attributes.all(|attribute| is_attribute(attribute) && !attribute.starts_with("p=")) {
            return Err(ScramError::Malformed("extension"));
        }
        let auth_message: [&[u8]; 5] =
            [self.client_first_bare.as_bytes(), b",", self.server_first.as_bytes(), b",", without_proof.as_bytes()];
        let mut client_key = mac(&self.verifier.stored_key, &auth_message);
        for (byte, proof) in client_key.iter_mut().zip(proof) {
            *byte ^= proof;
        }
        let candidate: Key = Sha256::digest(client_key).into();
        if !bool::from(candidate.ct_eq(&self.verifier.stored_key)) {
            return Err(ScramError::Rejected);
        }
        Ok(format!("v={}", BASE64.encode(mac(&self.verifier.server_key, &auth_message))))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The configured text is no SCRAM-SHA-256 verifier.
    #[error("not a SCRAM-SHA-256 verifier")]
    Verifier,
    /// The caller's nonce is empty or not printable.
    #[error("unusable server nonce")]
    ServerNonce,
    /// The message does not follow the grammar; names the part.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// The client binds to the channel with a mechanism that does not.
    #[error("client uses channel binding without having selected it")]
    ChannelBinding,
    /// The client does not bind to the channel with a mechanism that does.
    #[error("client selected channel binding without using it")]
    ChannelBindingMissing,
    /// The client binds to something else than the server's certificate.
    #[error("unsupported SCRAM channel-binding type")]
    ChannelBindingType,
    /// The client could bind to the channel and believes that it was not offered, but it was.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    /// The client-final-message has another gs2-header, or another certificate: there is somebody in the middle.
    #[error("SCRAM channel binding check failed")]
    ChannelBindingMismatch,
    /// The client wants to act as somebody else.
    #[error("authorization identity is not supported")]
    AuthorizationIdentity,
    /// The client requires an extension that does not exist here.
    #[error("mandatory SCRAM extension is not supported")]
    MandatoryExtension,
    /// The nonce of the client-final-message is not the one of this exchange.
    #[error("SCRAM nonce does not match")]
    Nonce,
    /// The proof is wrong.
    #[error("SCRAM proof rejected")]
    Rejected,
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Key {
    // HMAC takes keys of any length (RFC 2104 section 2), so the fallback is never reached; it still keeps keys
    // unusable.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; KEY_LEN] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn key(base64: &str) -> Option<Key> {
    BASE64.decode(base64).ok()?.try_into().ok()
}

fn decimal(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number > 0)
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("encoding"))?;
    if text.contains('\0') { Err(ScramError::Malformed("encoding")) } else { Ok(text) }
}

fn expect<'a>(attribute: Option<&'a str>, name: &str, part: &'static str) -> Result<&'a str, ScramError> {
    attribute.and_then(|attribute| attribute.strip_prefix(name)).ok_or(ScramError::Malformed(part))
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21..=0x2b | 0x2d..=0x7e))
}

/// `attr-val`: a letter, an equals sign, a value (RFC 5802 section 7).
fn is_attribute(text: &str) -> bool {
    matches!(text.as_bytes(), [name, b'=', _, ..] if name.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests;
