//! The demo's `countersign.toml`.
//!
//! Never contains a secret in clear. Invariant: strings from outside are written as TOML strings by the TOML crate.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use sha2::{Digest, Sha256};
use toml_edit::Value;

use super::Person;

/// What goes into the file.
pub(super) struct Settings<'a> {
    pub(super) postgres: SocketAddr,
    pub(super) web: SocketAddr,
    pub(super) data_dir: &'a Path,
    pub(super) upstream: &'a str,
    pub(super) password_file: &'a Path,
    pub(super) people: &'a [Person],
}

/// Rules and masks, as somebody would write them.
const RULES_AND_MASKS: &str = r#"
[[rules]]
name = "no-destructive-ddl"
effects = ["drop", "truncate"]
action = "deny"
message = "Drop and truncate go through a migration, never through a session"

[[rules]]
name = "writes-need-a-dba"
effects = ["insert", "update", "delete", "merge", "copy_in"]
relations = ["public.*"]
action = "hold"
reviewers = ["dba-team"]
timeout = "30m"

[[masks]]
name = "customer-email"
columns = ["public.customers.email"]
mask = "email"

[[masks]]
name = "customer-phone"
columns = ["public.customers.phone"]
mask = "phone"

[[masks]]
name = "customer-ssn"
columns = ["*.*.ssn"]
mask = "last4"

[[masks]]
name = "customer-card"
columns = ["public.customers.card"]
mask = "card"
"#;

/// The text of the file.
pub(super) fn render(settings: &Settings<'_>) -> String {
    let Settings { postgres, web, data_dir, upstream, password_file, people } = settings;
    let mut text = format!(
        r#"# Made by "countersign demo"; gone when the demo ends.
listen = "{postgres}"
data_dir = {data_dir}

[web]
listen = "{web}"
public_url = "http://{web}"

[databases.shop]
upstream = {upstream}
password = {{ file = {password_file} }}
groups = ["engineering", "dba-team"]
default = "allow"
unparsed = "hold"
review = {{ groups = ["dba-team"], timeout = "30m", mode = "wait" }}
"#,
        data_dir = string(&data_dir.display().to_string()),
        upstream = string(&format!("{upstream}?sslmode=disable")),
        password_file = string(&password_file.display().to_string()),
    );
    for person in *people {
        // The demo's own passwords are short.
        let web = crate::identity::password::hash(&person.password).unwrap_or_default();
        let verifier = postgres_protocol::password::scram_sha_256(person.password.as_bytes());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"
[[users]]
name = "{name}"
email = "{name}@example.com"
groups = ["{group}"]
password = {{ scram = {verifier} }}
web_password = {{ argon2 = {web} }}
tokens = [{{ sha256 = "{digest}", scopes = ["admin"] }}]
"#,
            name = person.name,
            group = person.group,
            verifier = string(&verifier),
            web = string(&web),
            digest = hex::encode(Sha256::digest(&person.token)),
        );
    }
    text + RULES_AND_MASKS
}

fn string(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_valid_toml_whatever_the_paths_are() {
        let people = [Person { name: "alice", group: "engineering", password: "p".to_owned(), token: "t".to_owned() }];
        let text = render(&Settings {
            postgres: ([127, 0, 0, 1], 6543).into(),
            web: ([127, 0, 0, 1], 8543).into(),
            data_dir: Path::new("/tmp/with \"quotes\" and \\"),
            upstream: "postgres://shop_rw@127.0.0.1:5/shop",
            password_file: Path::new("/tmp/ü"),
            people: &people,
        });
        let parsed: toml_edit::DocumentMut = text.parse().expect("TOML");
        assert_eq!(parsed["data_dir"].as_str(), Some("/tmp/with \"quotes\" and \\"));
        assert_eq!(parsed["databases"]["shop"]["password"]["file"].as_str(), Some("/tmp/ü"));
        assert_eq!(parsed["masks"].as_array_of_tables().map(toml_edit::ArrayOfTables::len), Some(4));
    }
}
