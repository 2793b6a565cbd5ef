//! Secrets: where they are kept, and SCRAM verifiers.
//!
//! Never accepts a secret that stands in the file in clear, and never repeats one in a message. Invariant: a user's
//! password leaves this module only as a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::keys::{self, Form, Keys};
use super::reader::Section;
use super::{Secret, WebPassword};
use crate::identity::password;

/// A secret that is kept elsewhere.
pub(super) static SECRET_KEYS: Keys = Keys {
    table: "secret",
    known: &[keys::optional("env", Form::Text), keys::optional("file", Form::Text)],
    unavailable: &[],
};
/// A user's password.
pub(super) static PASSWORD_KEYS: Keys = Keys {
    table: "password",
    known: &[
        keys::optional("env", Form::Text),
        keys::optional("file", Form::Text),
        keys::optional("scram", Form::Text),
    ],
    unavailable: &[],
};

/// A user's password on the page.
pub(super) static WEB_PASSWORD_KEYS: Keys = Keys {
    table: "web_password",
    known: &[
        keys::optional("argon2", Form::Text),
        keys::optional("env", Form::Text),
        keys::optional("file", Form::Text),
    ],
    unavailable: &[],
};

const FILE_MAX: u64 = 64 * 1024;
const ITERATIONS_MIN: u32 = 4096;
const WHERE: &str = "write { env = \"NAME\" } or { file = \"path\" }";

/// Reads `key = { env = … } | { file = … }`.
pub(super) fn secret(section: &Section<'_>, key: &str, directory: &Path) -> Option<Secret> {
    let table = open(section, key, &SECRET_KEYS)?;
    stored(&table, key, directory)
}

/// Reads `password = { scram = … } | { env = … } | { file = … }` of a user, as a verifier.
pub(super) fn verifier(section: &Section<'_>, directory: &Path) -> Option<String> {
    match hashed(section, &SCRAM, directory)? {
        Hashed::Given(verifier) => Some(verifier),
        Hashed::Clear(password) => Some(derive_verifier(password.expose())),
    }
}

/// Reads `web_password = { argon2 = … } | { env = … } | { file = … }` of a user.
pub(super) fn web_password(section: &Section<'_>, directory: &Path) -> Option<WebPassword> {
    Some(match hashed(section, &ARGON2, directory)? {
        Hashed::Given(hash) => WebPassword::Argon2(hash),
        Hashed::Clear(password) => WebPassword::Clear(password),
    })
}

/// A way to write a password down that does not tell it.
struct Scheme {
    /// Key of the user.
    key: &'static str,
    keys: &'static Keys,
    /// Key of the table.
    form: &'static str,
    name: &'static str,
    is_valid: fn(&str) -> bool,
    hint: &'static str,
}

const SCRAM: Scheme = Scheme {
    key: "password",
    keys: &PASSWORD_KEYS,
    form: "scram",
    name: "a SCRAM-SHA-256 verifier",
    is_valid: is_verifier,
    hint: "make one with `countersign users passwd`, or copy rolpassword from pg_authid",
};
const ARGON2: Scheme = Scheme {
    key: "web_password",
    keys: &WEB_PASSWORD_KEYS,
    form: "argon2",
    name: "an Argon2id hash that this program would make",
    is_valid: password::is_hash,
    hint: "make one with `countersign users passwd --web`",
};

/// A password as it was given.
enum Hashed {
    Given(String),
    Clear(Secret),
}

fn hashed(section: &Section<'_>, scheme: &Scheme, directory: &Path) -> Option<Hashed> {
    let table = open(section, scheme.key, scheme.keys)?;
    if !table.has(scheme.form) {
        return stored(&table, scheme.key, directory).map(Hashed::Clear);
    }
    let given = table.text(scheme.form)?.value;
    if table.has("env") || table.has("file") {
        let message = format!("\"{}\" in {} has more than one source", scheme.key, section.title);
        table.problem(scheme.form, message, None);
        return None;
    }
    if (scheme.is_valid)(&given) {
        return Some(Hashed::Given(given));
    }
    let message = format!("\"{}\" in {} is not {}", scheme.form, section.title, scheme.name);
    table.problem(scheme.form, message, Some(scheme.hint.to_owned()));
    None
}

fn open<'a>(section: &Section<'a>, key: &str, keys: &'static Keys) -> Option<Section<'a>> {
    if section.is_text(key) {
        let message = format!("\"{key}\" in {} stands in the file in clear", section.title);
        section.problem(key, message, Some(WHERE.to_owned()));
        return None;
    }
    section.section(key, format!("\"{key}\" in {}", section.title), keys)
}

fn stored(table: &Section<'_>, key: &str, directory: &Path) -> Option<Secret> {
    match (table.text("env"), table.text("file")) {
        (Some(name), None) => {
            let value = std::env::var(&name.value).ok().filter(|value| !value.is_empty());
            if value.is_none() {
                let message = format!("environment variable {} of {} is not set", name.value, table.title);
                table.problem("env", message, None);
            }
            value.map(Secret::new)
        }
        (None, Some(path)) => match read_private(&directory.join(&path.value)) {
            Ok(value) => Some(Secret::new(value)),
            Err(error) => {
                table.problem("file", format!("cannot use file \"{}\" of {}: {error}", path.value, table.title), None);
                None
            }
        },
        (Some(_), Some(_)) => {
            table.problem("file", format!("{} has more than one source", table.title), None);
            None
        }
        (None, None) if table.has("env") || table.has("file") => None,
        (None, None) => {
            table.report.problem(&table.at, key, format!("{} has no source", table.title), Some(WHERE.to_owned()));
            None
        }
    }
}

/// Reads a file that only its owner may read; a newline at its end is not part of the secret.
fn read_private(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("others than its owner may read it (chmod 600)"));
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text)?;
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(secret.to_owned())
}

/// Makes a SCRAM-SHA-256 verifier of a password, with a random salt.
#[must_use]
pub fn derive_verifier(password: &str) -> String {
    postgres_protocol::password::scram_sha_256(password.as_bytes())
}

/// Whether the text has the form `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
fn is_verifier(text: &str) -> bool {
    let parts = || {
        let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some((iterations, salt, stored, server))
    };
    let is_key = |key: &str| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 32);
    parts().is_some_and(|(iterations, salt, stored, server)| {
        iterations.parse::<u32>().is_ok_and(|count| count >= ITERATIONS_MIN)
            && STANDARD.decode(salt).is_ok_and(|bytes| !bytes.is_empty())
            && is_key(stored)
            && is_key(server)
    })
}

/// The key of `hash` masks made from a configured secret of any length.
pub(super) fn key_from(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret.expose().as_bytes()).into()
}

/// The key of `hash` masks kept in the data directory, if it was made already.
pub(super) fn stored_mask_key(data_dir: &Path) -> io::Result<Option<[u8; 32]>> {
    stored_secret(data_dir, MASK_KEY_FILE)?.map(|text| parse_key(MASK_KEY_FILE, &text)).transpose()
}

const MASK_KEY_FILE: &str = "mask.key";

fn parse_key(name: &str, text: &str) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key)
        .map_err(|_| io::Error::other(format!("{name} does not hold 64 hexadecimal digits")))?;
    Ok(key)
}

/// The key of `hash` masks: the one in `data_dir/mask.key`, which is made (mode 600) when there is none.
///
/// # Errors
/// When the file can be neither read nor made, or others than its owner may read it.
pub fn mask_key(data_dir: &Path) -> io::Result<[u8; 32]> {
    stored_key(data_dir, MASK_KEY_FILE)
}

/// A key kept in the data directory, made (mode 600) when there is none.
pub(super) fn stored_key(data_dir: &Path, name: &str) -> io::Result<[u8; 32]> {
    let make = || Ok(format!("{}\n", hex::encode(rand::random::<[u8; 32]>())));
    parse_key(name, &stored_or_new(data_dir, name, make)?)
}

/// A secret in the data directory, made (mode 600) when there is none.
///
/// # Errors
/// When the file can be neither read nor made, or others than its owner may read it.
pub(super) fn stored_or_new(
    data_dir: &Path,
    name: &str,
    make: impl FnOnce() -> io::Result<String>,
) -> io::Result<String> {
    if let Some(secret) = stored_secret(data_dir, name)? {
        return Ok(secret);
    }
    let mut file = tempfile::Builder::new().permissions(private_mode()).tempfile_in(data_dir)?;
    file.write_all(make()?.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(data_dir.join(name)) {
        Ok(_) => {}
        // Another process made it in between: its secret counts.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    stored_secret(data_dir, name)?.ok_or_else(|| io::Error::other(format!("{name} disappeared")))
}

/// A secret in the data directory, if it was made already.
pub(super) fn stored_secret(data_dir: &Path, name: &str) -> io::Result<Option<String>> {
    match read_private(&data_dir.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn private_mode() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    fn write(directory: &Path, name: &str, mode: u32, text: &str) {
        let mut options = File::options();
        options.write(true).create_new(true).mode(mode);
        options.open(directory.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_derived_verifier_is_a_verifier() {
        assert!(is_verifier(&derive_verifier("correct horse")));
        assert_ne!(derive_verifier("x"), derive_verifier("x"));
    }

    #[test]
    fn other_texts_are_no_verifiers() {
        let good = derive_verifier("x");
        for bad in [
            "",
            "secret",
            "md5d41d8cd98f00b204e9800998ecf8427e",
            &good.replace("4096", "1"),
            &good.replace(':', ";"),
            &good[..good.len() - 4],
        ] {
            assert!(!is_verifier(bad), "{bad}");
        }
    }

    #[test]
    fn a_secret_file_must_be_private() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "private", 0o600, "hunter2\n");
        write(directory.path(), "open", 0o644, "hunter2\n");
        write(directory.path(), "empty", 0o600, "\n");
        assert_eq!(read_private(&directory.path().join("private")).unwrap(), "hunter2");
        assert!(read_private(&directory.path().join("open")).is_err());
        assert!(read_private(&directory.path().join("empty")).is_err());
        assert!(read_private(&directory.path().join("absent")).is_err());
    }

    #[test]
    fn the_mask_key_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(stored_mask_key(directory.path()).unwrap(), None);
        let key = mask_key(directory.path()).unwrap();
        assert_eq!(mask_key(directory.path()).unwrap(), key);
        let mode = std::fs::metadata(directory.path().join(MASK_KEY_FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
