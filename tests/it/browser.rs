//! The page in headless Chromium, with psql on the other side of the proxy.
//!
//! The stories are in `tests/browser/page.js`, the identity provider in `tests/browser/provider.js`; `scripts/setup --tests` installs Chromium and what drives it. With
//! `COUNTERSIGN_SCREENSHOTS=docs/images` they leave the pictures of the documentation there.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};

/// Each story waits for what it wants to see up to a minute; all of them take a few seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(480);
const STORIES: usize = 16;

/// An admin, who signs in with the password of alice, and who reads the audit trail besides admins.
const OPERATORS: &str = r#"
[audit]
readers = ["dba-team"]

[[users]]
name = "root"
groups = ["admin"]
web_password = { env = "COUNTERSIGN_TEST_ALICE_PASSWORD" }
"#;

/// What the identity provider knows the proxy by.
const CLIENT: [(&str, &str); 2] = [("CLIENT_ID", "countersign"), ("CLIENT_SECRET", "secret-of-the-client")];

fn oidc(issuer: &str) -> String {
    format!(
        r#"
[web.oidc]
name = "Example ID"
issuer = "{issuer}"
client_id = "countersign"
client_secret = {{ env = "CLIENT_SECRET" }}
scopes = ["email", "groups"]
groups = {{ "their-dbas" = "dba-team" }}
"#
    )
}

/// Starts the identity provider; it ends when it is dropped.
async fn start_provider(modules: &Path) -> (tokio::process::Child, String) {
    let mut command = Command::new("node");
    command.arg(in_repository("tests/browser/provider.js")).env("NODE_PATH", modules).envs(CLIENT);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().expect("node");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let issuer = crate::support::within("the identity provider", lines.next_line()).await.expect("its issuer");
    (child, issuer.expect("oidc-provider is not installed; run: scripts/setup --tests"))
}

pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Debian's Chromium, or another that is named.
pub(crate) fn chromium() -> PathBuf {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|path| path.exists());
    found.expect("Chromium (scripts/setup --tests installs it, or set CHROMIUM)")
}

#[tokio::test]
async fn people_decide_in_a_browser() {
    let modules = in_repository("target/browser/node_modules");
    assert!(modules.exists(), "playwright-core is not installed; run: scripts/setup --tests");
    let (_provider, issuer) = start_provider(&modules).await;
    let fragment = format!("{WRITES_HELD}{OPERATORS}{}", oidc(&issuer));
    let launch = Launch { fragment: &fragment, environment: &CLIENT, ..Launch::default() };
    let proxy = Proxy::launch(launch).await;
    let mut command = Command::new("node");
    command
        .arg(in_repository("tests/browser/page.js"))
        .env("NODE_PATH", modules)
        .env("CHROMIUM", chromium())
        .env("WEB_URL", proxy.web())
        .env("ISSUER", &issuer)
        .env("COUNTERSIGN", env!("CARGO_BIN_EXE_countersign"))
        .env("PROXY_PORT", proxy.address().port().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(pictures) = std::env::var_os("COUNTERSIGN_SCREENSHOTS") {
        command.env("SCREENSHOTS", in_repository(&pictures.to_string_lossy()));
    }
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the stories end").expect("node");
    let printed = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{told}\n{}", proxy.log());
    assert_eq!(printed.lines().count(), STORIES, "{printed}");
    assert!(!proxy.log().contains("archive job"), "the log of the proxy holds no reason");
}
