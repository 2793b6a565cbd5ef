//! The configuration of the proxy under test.
//!
//! Never holds a secret in clear: passwords travel in the child's environment, tokens as digests.

use sha2::{Digest, Sha256};

use super::server::{Database, SERVER, UPSTREAM_PASSWORD};
use countersign::demo::shop;

/// The people of every test, each with their groups.
pub const PEOPLE: &[(&str, &[&str])] = &[
    ("alice", &["engineering"]),
    ("bob", &["dba-team"]),
    ("carol", &["security-team"]),
    ("dave", &["dba-team", "security-team"]),
    ("erin", &["engineering", "privacy-officers"]),
    ("frank", &["engineering", "dba-team"]),
];

/// Rules that hold every write until someone of `dba-team` agrees, and deny what destroys.
pub const WRITES_HELD: &str = r#"
[[rules]]
name = "no-destructive-ddl"
effects = ["drop", "truncate"]
action = "deny"
message = "Drop and truncate go through a migration, never through a session"

[[rules]]
name = "writes-need-review"
effects = ["insert", "update", "delete", "merge", "copy_in"]
action = "hold"
reviewers = ["dba-team"]
"#;

/// Masks over the personal data of the sample shop.
pub const PII_MASKED: &str = r#"
[[masks]]
name = "customer-email"
columns = ["public.customers.email"]
mask = "email"
except_groups = ["privacy-officers"]

[[masks]]
name = "customer-numbers"
columns = ["public.customers.ssn", "public.customers.card"]
mask = "last4"
except_groups = ["privacy-officers"]
"#;

/// Password of a person on the proxy port.
pub fn password(user: &str) -> String {
    format!("password-of-{user}")
}

/// Bearer token of a person.
pub fn token(user: &str) -> String {
    format!("token-of-{user}")
}

/// Name of the environment variable that carries a person's password.
fn password_variable(user: &str) -> String {
    format!("COUNTERSIGN_TEST_{}_PASSWORD", user.to_uppercase())
}

/// The environment that goes with [`render`].
pub fn environment() -> Vec<(String, String)> {
    let people = PEOPLE.iter().map(|(name, _)| (password_variable(name), password(name)));
    people.chain([("COUNTERSIGN_TEST_UPSTREAM_PASSWORD".to_owned(), UPSTREAM_PASSWORD.to_owned())]).collect()
}

/// `countersign.toml` with ports that the system chooses, everybody of [`PEOPLE`], the database as `shop`, and the
/// fragment (rules, masks) at its end.
pub fn render(database: &Database, data_dir: &std::path::Path, fragment: &str) -> String {
    let mut text = format!(
        r#"listen = "127.0.0.1:0"
data_dir = {data_dir:?}

[web]
listen = "127.0.0.1:0"
public_url = "http://countersign.test"
calls_per_caller = 10000000
calls_per_address = 10000000

[databases.shop]
upstream = "postgres://{role}@127.0.0.1:{port}/{name}?sslmode=disable"
password = {{ env = "COUNTERSIGN_TEST_UPSTREAM_PASSWORD" }}
groups = ["engineering", "dba-team", "security-team", "privacy-officers"]
default = "allow"
unparsed = "hold"
review = {{ groups = ["dba-team"], timeout = "1h", mode = "wait" }}
"#,
        role = shop::SHOP_ROLE,
        port = SERVER.port(),
        name = database.name,
    );
    for (name, groups) in PEOPLE {
        let digest = hex::encode(Sha256::digest(token(name)));
        let variable = password_variable(name);
        text += &format!(
            r#"
[[users]]
name = "{name}"
email = "{name}@example.com"
groups = {groups:?}
password = {{ env = "{variable}" }}
web_password = {{ env = "{variable}" }}
tokens = [{{ sha256 = "{digest}", scopes = ["admin"] }}]
"#
        );
    }
    text + fragment
}
