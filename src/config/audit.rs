//! `[audit]`: what becomes of the trail, and who signs it.
//!
//! Never signs anything itself. Invariant: a key that was read here is a key: what else stands in its place is a problem of
//! the configuration, not of the start.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::keys::{self, Form, Keys, words};
use super::reader::Section;
use super::{Secret, SinkConfig, secret, sinks};
use crate::audit::{CHECKPOINT_AFTER, Literals, LiteralsKey, PublicKey, Signer, SigningKey};

pub(super) static AUDIT_KEYS: Keys = Keys {
    table: "[audit]",
    known: &[
        keys::optional("fail_open", Form::Flag),
        keys::optional("record_results", Form::Word(|| words(&RESULTS))),
        keys::optional("retention", Form::Duration),
        keys::optional("signing_key", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("former_signing_key", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("checkpoint", Form::Duration),
        keys::optional("durability", Form::Word(|| words(&DURABILITIES))),
        keys::optional("readers", Form::Texts),
        keys::optional("outcomes", Form::Word(|| words(&OUTCOMES))),
        keys::optional("literals_key", Form::OneKey(&secret::SECRET_KEYS)),
        keys::optional("sinks", Form::Repeated(&sinks::SINK_KEYS)),
    ],
    unavailable: &[],
};

/// The signing key in the data directory.
const KEY_FILE: &str = "audit.key";

/// What has to be on stable storage before a statement that is allowed at once is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: its record follows within about a second.
    #[default]
    Async,
    /// Its record.
    BeforeForward,
}

/// Of which statements the outcome is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcomes {
    /// Of those that needed an approval.
    #[default]
    Held,
    /// Of all that were sent to the upstream.
    All,
}

const OUTCOMES: [(&str, Outcomes); 2] = [("held", Outcomes::Held), ("all", Outcomes::All)];

/// What is kept of the output of statements that needed an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Results {
    /// Nothing.
    #[default]
    None,
    /// Names of columns, and how much it was.
    Counts,
    /// Rows, too, as their client got them.
    Masked,
}

const RESULTS: [(&str, Results); 3] =
    [("none", Results::None), ("counts", Results::Counts), ("masked", Results::Masked)];

/// `literals` of a database.
pub(super) const LITERALS: [(&str, Literals); 3] =
    [("full", Literals::Full), ("redacted", Literals::Redacted), ("hashed", Literals::Hashed)];

/// The key of hashes and digests in the data directory.
const LITERALS_KEY_FILE: &str = "literals.key";

const DURABILITIES: [(&str, Durability); 2] =
    [("async", Durability::Async), ("before_forward", Durability::BeforeForward)];

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// Let statements run when the audit cannot be written.
    pub fail_open: bool,
    /// What is written before a statement is forwarded.
    pub durability: Durability,
    /// Of which statements the outcome is recorded.
    pub outcomes: Outcomes,
    /// What is kept of the output of statements that needed an approval.
    pub results: Results,
    /// How long a record may wait for a signature.
    pub checkpoint: Duration,
    /// How long records are kept; without it, for ever.
    pub retention: Option<Duration>,
    /// Groups whose members may read the trail on the page and through the API, as admins may.
    pub readers: Vec<String>,
    /// Where records go besides the files.
    pub sinks: Vec<SinkConfig>,
    /// Private key in PEM; without it, the one in the data directory.
    signing_key: Option<Secret>,
    /// Private key in PEM that hands over to the signing key.
    former_signing_key: Option<Secret>,
    /// What literals are hashed with; without it, a key in the data directory.
    literals_key: Option<Secret>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            fail_open: false,
            durability: Durability::Async,
            outcomes: Outcomes::Held,
            results: Results::None,
            checkpoint: CHECKPOINT_AFTER,
            retention: None,
            readers: Vec::new(),
            sinks: Vec::new(),
            signing_key: None,
            former_signing_key: None,
            literals_key: None,
        }
    }
}

impl AuditConfig {
    /// What signs the trail; the key is made when there is none.
    ///
    /// # Errors
    /// When `audit.key` in `data_dir` can be neither read nor made, or is no key.
    pub fn signer(&self, data_dir: &Path) -> io::Result<Signer> {
        let pem = match &self.signing_key {
            Some(pem) => pem.clone(),
            None => Secret::new(secret::stored_or_new(data_dir, KEY_FILE, SigningKey::new_pem)?),
        };
        let former = self.former_signing_key.as_ref().map(key).transpose()?;
        Ok(Signer::new(key(&pem)?, former.as_ref()))
    }

    /// What hashes the literals of statements where they are not kept; made when there is none.
    ///
    /// # Errors
    /// When `literals.key` in `data_dir` can be neither read nor made.
    pub fn literals_key(&self, data_dir: &Path) -> io::Result<LiteralsKey> {
        let key = match &self.literals_key {
            Some(given) => secret::key_from(given),
            None => secret::stored_key(data_dir, LITERALS_KEY_FILE)?,
        };
        Ok(LiteralsKey::new(key))
    }

    /// The same of a proxy that has been started before; `None` before its first start.
    ///
    /// # Errors
    /// When `literals.key` in `data_dir` cannot be read.
    pub fn known_literals_key(&self, data_dir: &Path) -> io::Result<Option<LiteralsKey>> {
        let made = self.literals_key.is_some() || secret::stored_secret(data_dir, LITERALS_KEY_FILE)?.is_some();
        made.then(|| self.literals_key(data_dir)).transpose()
    }

    /// The key by which others verify the trail; `None` before the first start has made one.
    ///
    /// # Errors
    /// When `audit.key` in `data_dir` cannot be read, or is no key.
    pub fn public_key(&self, data_dir: &Path) -> io::Result<Option<PublicKey>> {
        let pem = match &self.signing_key {
            Some(pem) => Some(pem.clone()),
            None => secret::stored_secret(data_dir, KEY_FILE)?.map(Secret::new),
        };
        pem.map(|pem| key(&pem).map(|key| key.public())).transpose()
    }
}

fn key(pem: &Secret) -> io::Result<SigningKey> {
    SigningKey::from_pem(pem.expose())
        .map_err(|why| io::Error::other(format!("the key that signs the audit trail: {why}")))
}

/// Reads the table.
pub(super) fn audit(section: &Section<'_>, directory: &Path) -> AuditConfig {
    let none = AuditConfig::default();
    let fail_open = section.flag("fail_open").unwrap_or(false);
    if fail_open {
        section.report.warn("Statements run even when the audit cannot be written ([audit] fail_open = true).");
    }
    let key_of = |name: &str| section.has(name).then(|| signing_key(section, name, directory)).flatten();
    AuditConfig {
        fail_open,
        durability: section.choice("durability", &DURABILITIES).unwrap_or(none.durability),
        outcomes: section.choice("outcomes", &OUTCOMES).unwrap_or(none.outcomes),
        results: section.choice("record_results", &RESULTS).unwrap_or(none.results),
        retention: section.duration("retention"),
        readers: section.strings("readers").unwrap_or_default(),
        checkpoint: section.duration("checkpoint").unwrap_or(none.checkpoint),
        sinks: sinks::sinks(section, directory),
        signing_key: key_of("signing_key"),
        former_signing_key: key_of("former_signing_key"),
        literals_key: section.has("literals_key").then(|| secret::secret(section, "literals_key", directory)).flatten(),
    }
}

fn signing_key(section: &Section<'_>, name: &str, directory: &Path) -> Option<Secret> {
    let pem = secret::secret(section, name, directory)?;
    match SigningKey::from_pem(pem.expose()) {
        Ok(_) => Some(pem),
        Err(why) => {
            let hint = "make one with `openssl genpkey -algorithm ed25519`".to_owned();
            section.problem(name, format!("\"{name}\" in [audit] is not a signing key: {why}"), Some(hint));
            None
        }
    }
}
