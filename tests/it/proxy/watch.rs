//! `countersign requests watch` on a terminal.

use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::client::affected;
use crate::support::config::{WRITES_HELD, token};
use crate::support::proxy::Proxy;
use crate::support::within;

/// The program on a terminal of its own, which `script` makes.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Terminal {
    fn open(proxy: &Proxy, user: &str) -> Self {
        let program = format!("{} requests watch", env!("CARGO_BIN_EXE_countersign"));
        let mut command = Command::new("script");
        command
            .args(["-q", "-e", "-c", &program, "/dev/null"])
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("COUNTERSIGN_URL", proxy.web())
            .env("COUNTERSIGN_TOKEN", token(user))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("script (apt-get install bsdutils)");
        let (keyboard, screen) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, keyboard, screen, seen: String::new() }
    }

    /// Reads until that is on the screen.
    async fn shows(&mut self, wanted: &str) {
        let reading = async {
            let mut bytes = [0; 4096];
            while !self.seen.contains(wanted) {
                let length = self.screen.read(&mut bytes).await.expect("the terminal");
                assert!(length > 0, "it has ended: {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        };
        within(wanted, reading).await;
        self.seen.clear();
    }

    async fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).await.expect("the keyboard");
        self.keyboard.flush().await.expect("the keyboard");
    }
}

#[tokio::test]
async fn a_reviewer_decides_with_single_keys() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    let mut terminal = Terminal::open(&proxy, "bob");
    terminal.shows("0 waiting").await;
    let held = alice.hold("UPDATE customers SET note = 'by key' WHERE id = 1").await;
    terminal.shows(&held.id).await;
    terminal.press("j").await;
    terminal.shows("UPDATE customers SET note = 'by key' WHERE id = 1").await;
    terminal.press("a").await;
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    terminal.shows("0 waiting").await;
    let held = alice.hold("DELETE FROM orders").await;
    terminal.shows(&held.id).await;
    terminal.press("j").await;
    terminal.shows("DELETE FROM orders").await;
    terminal.press("r").await;
    terminal.shows("Reason").await;
    terminal.press("not all of them\r").await;
    assert_eq!(held.refusal().await.detail(), Some("not all of them"));
    terminal.press("q").await;
    assert!(within("its end", terminal.child.wait()).await.expect("the terminal").success());
}
