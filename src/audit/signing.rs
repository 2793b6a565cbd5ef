//! Ed25519 signatures over the trail: checkpoints that only the holder of the key can write.
//!
//! Never signs a record that this process did not write: a checkpoint says from which one on it vouches.
//! Invariant: what is signed is the line itself, from its first byte up to `,"signature":`; so the chain is signed with it.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

/// Records after which a checkpoint follows at the latest.
pub const CHECKPOINT_RECORDS: u64 = 1000;

/// What stands between what is signed and its signature.
const BEFORE_SIGNATURE: &[u8] = b",\"signature\":\"";

/// Prefix of what an older key signs to hand over to a newer one.
const ENDORSEMENT: &[u8] = b"countersign audit key ";

/// The public half of a signing key: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    fn verify(self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }

    /// Whether this key has handed over to `successor`.
    pub(super) fn endorses(self, successor: Self, endorsement: &[u8]) -> bool {
        self.verify(&endorsed(successor), endorsement)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes)
            .map_err(|_error| "a public key is 64 hexadecimal digits, as \"audit key\" prints them".to_owned())?;
        Ok(Self(bytes))
    }
}

/// An Ed25519 key that signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a private key in PEM, PKCS #8, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_error| "it holds no \"BEGIN PRIVATE KEY\" in PEM".to_owned())?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        let pair = pair.map_err(|_rejected| "it is no Ed25519 key in PKCS #8".to_owned())?;
        let public =
            pair.public_key().as_ref().try_into().map_err(|_length| "its public key is not 32 bytes".to_owned())?;
        Ok(Self { pair, public: PublicKey(public) })
    }

    /// A new private key, in PEM.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new_pem() -> io::Result<String> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let der = made.map_err(|_error| io::Error::other("the system gives no random bytes"))?;
        Ok(pem(der.as_ref()))
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs over to `successor`.
    #[must_use]
    pub fn endorse(&self, successor: PublicKey) -> Endorsement {
        let signature = hex::encode(self.pair.sign(&endorsed(successor)).as_ref());
        Endorsement { endorsed_by: self.public.to_string(), endorsement: signature }
    }
}

fn endorsed(successor: PublicKey) -> Vec<u8> {
    [ENDORSEMENT, successor.to_string().as_bytes()].concat()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out + "-----END PRIVATE KEY-----\n"
}

/// How an older key hands over to a newer one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Endorsement {
    endorsed_by: String,
    endorsement: String,
}

/// What signs a trail while it is written.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    /// Goes with the first checkpoint.
    endorsement: Option<Endorsement>,
}

impl Signer {
    /// Signs with `key`, to which `former` hands over.
    #[must_use]
    pub fn new(key: SigningKey, former: Option<&SigningKey>) -> Self {
        let endorsement = former.filter(|former| former.public != key.public).map(|former| former.endorse(key.public));
        Self { key, endorsement }
    }

    /// Completes a line that holds `{"seq":…,"prev":"…",`: a checkpoint over all records from `since` on.
    pub(super) fn finish_line(
        &mut self,
        line: &mut Vec<u8>,
        at: Timestamp,
        since: u64,
        start: usize,
    ) -> io::Result<()> {
        write!(line, "\"at\":\"{at}\",\"kind\":\"checkpoint\",\"since\":{since},\"key\":\"{}\"", self.key.public)?;
        if let Some(Endorsement { endorsed_by, endorsement }) = self.endorsement.take() {
            write!(line, ",\"endorsed_by\":\"{endorsed_by}\",\"endorsement\":\"{endorsement}\"")?;
        }
        let signature = hex::encode(self.key.pair.sign(&line[start..]).as_ref());
        line.extend_from_slice(BEFORE_SIGNATURE);
        line.extend_from_slice(signature.as_bytes());
        line.extend_from_slice(b"\"}");
        Ok(())
    }
}

/// Whether `key` has signed this line.
pub(super) fn is_signed(line: &[u8], key: PublicKey) -> bool {
    let Some(at) = line.len().checked_sub(BEFORE_SIGNATURE.len() + 128 + 2) else { return false };
    let (signed, rest) = line.split_at(at);
    let digits = rest.strip_prefix(BEFORE_SIGNATURE).and_then(|rest| rest.strip_suffix(b"\"}"));
    let Some(Ok(signature)) = digits.map(hex::decode) else { return false };
    key.verify(signed, &signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate() -> SigningKey {
        SigningKey::from_pem(&SigningKey::new_pem().unwrap()).unwrap()
    }

    #[test]
    fn a_signature_is_of_one_line_and_one_key() {
        let key = generate();
        let (public, other) = (key.public(), generate().public());
        let mut line = br#"{"seq":7,"prev":"00","#.to_vec();
        Signer::new(key, None).finish_line(&mut line, Timestamp::UNIX_EPOCH, 3, 0).unwrap();
        assert!(is_signed(&line, public));
        assert!(!is_signed(&line, other));
        for position in 0..line.len() {
            let mut changed = line.clone();
            changed[position] ^= 1;
            assert!(!is_signed(&changed, public), "byte {position}");
        }
        assert!(!is_signed(b"{}", public));
    }

    #[test]
    fn keys_are_read_as_openssl_writes_them() {
        // The pair of RFC 8410, section 10; openssl genpkey writes the same form.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(SigningKey::from_pem(pem).unwrap().public().to_string(), public);
        assert!(SigningKey::from_pem("secret").unwrap_err().contains("PEM"));
    }

    #[test]
    fn a_former_key_hands_over_to_one_key_only() {
        let (old, new, stranger) = (generate(), generate(), generate());
        let endorsement = hex::decode(old.endorse(new.public()).endorsement).unwrap();
        assert!(old.public().endorses(new.public(), &endorsement));
        assert!(!old.public().endorses(stranger.public(), &endorsement));
        assert!(!stranger.public().endorses(new.public(), &endorsement));
    }
}
