//! The HTTP API, asked whatever its OpenAPI document allows and forbids.
//!
//! Schemathesis makes the calls and compares the answers with the document; `scripts/setup --tests` installs it.
//! `COUNTERSIGN_API_SECONDS=600 cargo test --test it api::` lets it go on for longer.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::config::{WRITES_HELD, token};
use crate::support::proxy::{Launch, Proxy};

/// How long it may ask when nobody says.
const SECONDS: u64 = 40;
/// What it takes to begin and to report.
const BESIDES: u64 = 240;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Some requests that wait for votes.
async fn hold(proxy: &Proxy) {
    for id in 0..5 {
        let client = proxy.client("alice").await;
        client.client.batch_execute("SET countersign.mode = resubmit").await.expect("mode");
        client.refusal(&format!("UPDATE orders SET id = id WHERE id = {id}")).await;
    }
}

/// Calls everything as that person; what is not as the document says is printed.
async fn check(proxy: &Proxy, person: &str, seconds: u64) {
    let mut command = Command::new("python3");
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(in_repository("tests/clients/schemathesis.toml"))
        .args(["run", &format!("{}/api/openapi.json", proxy.web()), "--no-color", "--seed", "1"])
        .args(["--max-time", &seconds.to_string()])
        .args(["--header", &format!("Authorization: Bearer {}", token(person))])
        .env("PYTHONPATH", in_repository("target/clients/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(proxy.data_dir())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let limit = Duration::from_secs(seconds + BESIDES);
    let output = tokio::time::timeout(limit, command.output()).await.expect("it ends in time").expect("python3");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{person}: {printed}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn every_answer_is_as_the_document_says() {
    let seconds = std::env::var("COUNTERSIGN_API_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let proxy = Proxy::launch(Launch { fragment: WRITES_HELD, ..Launch::default() }).await;
    hold(&proxy).await;
    check(&proxy, "bob", seconds).await;
    assert_eq!(proxy.health().await["status"], "ok");
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
}
