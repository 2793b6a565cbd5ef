//! `countersign scan` against the sample shop.

use std::process::{Command, Output};

use countersign::demo::shop;

use crate::support::config::{environment, render};
use crate::support::server::{Database, SERVER, UPSTREAM_PASSWORD};

fn countersign(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).env("PGPASSWORD", UPSTREAM_PASSWORD).envs(environment());
    command.output().expect("the binary")
}

/// What a scan of the database prints.
#[track_caller]
fn scan(database: &Database, format: &str) -> String {
    let url = format!("postgres://{}@127.0.0.1:{}/{}?sslmode=disable", shop::SHOP_ROLE, SERVER.port(), database.name);
    let output = countersign(&["scan", "--upstream", &url, "--format", format]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn a_scan_proposes_masks_and_prints_no_value() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let made = "CREATE TABLE \"Odd.Names\" (id integer, \"Contact\" text, body text, client_ip inet, salary integer);
        INSERT INTO \"Odd.Names\" SELECT n, 'DE89370400440532013000', 'call +49 30 1234567' || n, '10.0.0.1', n
            FROM generate_series(1, 50) n;
        GRANT SELECT ON \"Odd.Names\" TO PUBLIC";
    direct.batch_execute(made).await.expect("a table");
    let toml = scan(&database, "text");
    for (column, mask) in [
        ("public.customers.email", "email"),
        ("public.customers.phone", "phone"),
        ("public.customers.ssn", "last4"),
        ("public.customers.card", "card"),
        ("public.customers.birth_date", "date_year"),
        ("public.Odd.Names.Contact", "iban"),
        ("public.Odd.Names.body", "detect"),
        ("public.Odd.Names.client_ip", "ip"),
        ("public.Odd.Names.salary", "zero"),
    ] {
        let entry = toml.split("[[masks]]").find(|entry| entry.contains(&format!("mask = \"{mask}\"")));
        let pattern = column.replace("Odd.Names", "Odd?Names");
        assert!(entry.is_some_and(|entry| entry.contains(&pattern)), "{column}: {toml}");
    }
    for clear in ["customers.id", "customers.region", "products.", "orders.", "payments."] {
        assert!(!toml.contains(clear), "{clear}: {toml}");
    }
    for value in ["bruno", "913-30", "DE89", "+49", "10.0.0.1", "+1 2"] {
        assert!(!toml.contains(value), "{value}: {toml}");
    }
    let home = tempfile::tempdir().expect("temporary directory");
    let file = home.path().join("countersign.toml");
    std::fs::write(&file, render(&database, home.path(), &toml)).expect("a file");
    let checked = countersign(&["check", "-c", &file.to_string_lossy()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let json: serde_json::Value = serde_json::from_str(&scan(&database, "json")).expect("JSON");
    let proposals = json["proposals"].as_array().expect("proposals");
    let email = proposals.iter().find(|proposal| proposal["column"] == "public.customers.email").expect("email");
    assert_eq!((email["mask"].as_str(), email["confidence"].as_str()), (Some("email"), Some("high")));
}

#[test]
fn what_cannot_be_reached_is_told() {
    for (url, exit, told) in [
        ("mysql://x@localhost/y", 64, "is not a postgres:// URL"),
        ("postgres://x:secret@localhost/y", 64, "holds a password"),
        ("postgres://x@127.0.0.1:1/y?sslmode=disable", 69, "connect"),
    ] {
        let output = countersign(&["scan", "--upstream", url]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{url}: {text}");
        assert!(text.contains(told) && !text.contains("secret"), "{url}: {text}");
    }
}
