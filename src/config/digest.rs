//! A digest of what a configuration decides, by which proxies on one store tell whether they go by the same rules.
//!
//! Never looks at what may differ from one proxy to another: addresses, files, secrets. Invariant: the order of tables and
//! keys does not matter, as it does not matter to the rules.

use sha2::{Digest, Sha256};
use toml_edit::{Item, Table, Value};

/// Tables that say who may do what.
const DECIDING: [&str; 5] = ["databases", "users", "rules", "masks", "review"];
/// What of them is each proxy's own, or a secret.
const OWN: [&str; 10] = [
    "upstream",
    "password",
    "web_password",
    "tokens",
    "certificate",
    "sessions",
    "email",
    "hash_key",
    "client_secret",
    "ca",
];

/// Twelve hexadecimal digits.
pub(super) fn of(document: &Table) -> String {
    let mut text = String::new();
    for key in DECIDING {
        if let Some(item) = document.get(key) {
            text.push_str(key);
            write_item(item, &mut text);
        }
    }
    if let Some(item) = document.get("web").and_then(|web| web.get("oidc")) {
        text.push_str("oidc");
        write_item(item, &mut text);
    }
    hex::encode(Sha256::digest(text)).chars().take(12).collect()
}

fn write_item(item: &Item, out: &mut String) {
    match item {
        Item::None => {}
        Item::Value(value) => write_value(value, out),
        Item::Table(table) => write_sorted(table.iter().filter(|(key, _)| !OWN.contains(key)).map(of_key), '{', out),
        Item::ArrayOfTables(tables) => {
            let one = |table: &Table| written(&Item::Table(table.clone()));
            write_sorted(tables.iter().map(one), '[', out);
        }
    }
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(&format!("{:?}", text.value())),
        Value::Integer(number) => out.push_str(&number.value().to_string()),
        Value::Float(number) => out.push_str(&number.value().to_string()),
        Value::Boolean(flag) => out.push_str(&flag.value().to_string()),
        Value::Datetime(at) => out.push_str(&at.value().to_string()),
        // One name, and an array of it, mean the same; so do names in another order.
        Value::Array(values) => write_sorted(values.iter().map(|value| written(&Item::Value(value.clone()))), '[', out),
        Value::InlineTable(table) => {
            let own = |key: &str| OWN.contains(&key);
            let shown = table.iter().filter(|(key, _)| !own(key));
            write_sorted(shown.map(|(key, value)| of_key((key, &Item::Value(value.clone())))), '{', out);
        }
    }
}

fn of_key((key, item): (&str, &Item)) -> String {
    format!("{key:?}={}", written(item))
}

fn written(item: &Item) -> String {
    let mut out = String::new();
    write_item(item, &mut out);
    out
}

fn write_sorted(parts: impl Iterator<Item = String>, open: char, out: &mut String) {
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    out.push(open);
    out.push_str(&parts.join(","));
    out.push(open);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
listen = "127.0.0.1:1"
[databases.shop]
upstream = "postgres://a@one/shop"
groups = ["a", "b"]
review = { groups = ["dba"], timeout = "1h" }
[[users]]
name = "alice"
groups = ["a"]
password = { env = "ONE" }
[[rules]]
name = "one"
action = "deny"
effects = ["drop"]
[[rules]]
name = "two"
action = "hold"
"#;

    #[track_caller]
    fn check(from: &str, to: &str, is_same: bool) {
        assert!(RULES.contains(from), "{from}");
        let digest = |text: &str| of(text.parse::<toml_edit::DocumentMut>().unwrap().as_table());
        let other = RULES.replacen(from, to, 1);
        assert_eq!(digest(RULES) == digest(&other), is_same, "{other}");
    }

    #[test]
    fn what_is_each_proxys_own_does_not_count() {
        check("127.0.0.1:1", "127.0.0.1:2", true);
        check("a@one/shop", "b@two/shop", true);
        check("\"ONE\"", "\"TWO\"", true);
        check("[databases.shop]", "# a comment\n[databases.shop]", true);
        check("[\"a\", \"b\"]", "[ \"b\",\"a\" ]", true);
        check("name = \"one\"\naction = \"deny\"", "action = 'deny'\nname = 'one'", true);
    }

    #[test]
    fn what_decides_counts() {
        check("\"drop\"", "\"truncate\"", false);
        check("\"deny\"", "\"hold\"", false);
        check("\"1h\"", "\"2h\"", false);
        check("[\"dba\"]", "[\"dba\", \"x\"]", false);
        check("groups = [\"a\"]", "groups = []", false);
        check("[databases.shop]", "[databases.other]", false);
        check("[[rules]]\nname = \"two\"\naction = \"hold\"", "", false);
        check("[[rules]]\nname = \"two\"", "[review]\nadmins_bypass = false\n[[rules]]\nname = \"two\"", false);
    }
}
