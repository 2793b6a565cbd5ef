//! The browser, and the door through which it brings the code back.
//!
//! Never takes a code from a page that this program has not sent the browser to. Invariant: the door is on this machine only,
//! and closes with the first right answer.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long somebody may take in the browser.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a request may take to come in.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Longest head of a request that is read, in bytes.
const HEAD_MAX: usize = 8 << 10;

/// Has an icon, so that no browser comes back for one when the door is closed.
const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n\
     <!DOCTYPE html><html lang=en><title>countersign login</title><link rel=icon href=\"data:,\">\
     <p>The program has it. You can close this window.</p>";
const OTHER: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Waits for the browser.
pub(super) struct Loopback {
    listener: TcpListener,
    port: u16,
    state: String,
}

impl Loopback {
    pub(super) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, state: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>()) })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What the answer is known by.
    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// The code that the browser brings.
    pub(super) async fn code(self) -> io::Result<String> {
        let coming = async {
            loop {
                let (stream, _) = self.listener.accept().await?;
                // Who says nothing must not keep the browser out for long.
                if let Ok(Ok(Some(code))) = tokio::time::timeout(REQUEST_TIME, self.answer(stream)).await {
                    return Ok(code);
                }
            }
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "nobody went on in the browser");
        tokio::time::timeout(PATIENCE, coming).await.map_err(|_elapsed| late())?
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<Option<String>> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).await?;
            head.extend_from_slice(bytes.get(..read).unwrap_or_default());
            if read == 0 || head.len() > HEAD_MAX {
                return Ok(None);
            }
        }
        let code = self.code_in(&String::from_utf8_lossy(&head));
        stream.write_all(if code.is_some() { DONE } else { OTHER }.as_bytes()).await?;
        stream.shutdown().await?;
        Ok(code)
    }

    /// The code in a request, if it brings what the page was told.
    fn code_in(&self, head: &str) -> Option<String> {
        let target = head.strip_prefix("GET /?")?.split_whitespace().next()?;
        let field = |wanted: &str| {
            form_urlencoded::parse(target.as_bytes())
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let is_ours: bool = field("state")?.as_bytes().ct_eq(self.state.as_bytes()).into();
        field("code").filter(|code| is_ours && !code.is_empty())
    }
}

/// Opens an address in the browser, if there is one; it is printed in any case.
pub(super) fn open(address: &str) {
    let named = std::env::var("BROWSER").ok().filter(|name| !name.is_empty());
    let usual = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = std::process::Command::new(named.as_deref().unwrap_or(usual));
    let command = command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "could not open the browser");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn request(port: u16, target: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_the_page_that_was_opened_brings_a_code() {
        let loopback = Loopback::open().await.unwrap();
        let (port, state) = (loopback.port(), loopback.state().to_owned());
        let waiting = tokio::spawn(loopback.code());
        for other in ["/", "/favicon.ico", "/?code=evil", "/?code=evil&state=x", &format!("/?code=&state={state}")] {
            assert!(request(port, other).await.starts_with("HTTP/1.1 404"), "{other}");
        }
        let answer = request(port, &format!("/?code=good&state={state}")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("good"), "{answer}");
        assert_eq!(waiting.await.unwrap().unwrap(), "good");
    }
}
