//! Hands mail to a server.
//!
//! Never goes on in plaintext where encryption is configured, and never believes an answer that came before it. Invariant:
//! what is read of a server is bounded, and an answer that is not understood means that nothing was taken.
//! Sources: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 4954 (AUTH).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{EmailConfig, EmailTls};
use crate::stream::Stream;

/// Bytes of one line of a reply, and lines of one reply; the specification has 512 and leaves the other open.
const LINE_MAX: u64 = 2048;
const LINES_MAX: usize = 100;

/// Why the server cannot be talked to, or did not take something.
#[derive(Debug, thiserror::Error)]
pub(super) enum SmtpError {
    /// No connection, or it broke.
    #[error("could not connect")]
    Connect(#[source] std::io::Error),
    /// It broke.
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    /// Its certificate is not what it should be, or no TLS came about.
    #[error("no TLS connection")]
    Tls(#[source] std::io::Error),
    /// What is configured cannot be used.
    #[error("{0}")]
    Setup(&'static str),
    /// An answer that is none.
    #[error("not an answer of SMTP ({0})")]
    Protocol(&'static str),
    /// Something else than what was needed.
    #[error("{code} ({stage})")]
    Refused { stage: &'static str, code: u16 },
}

/// What the server does with one recipient's mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It has it.
    Yes,
    /// Not now; the code.
    Later(u16),
    /// Never; the code.
    Never(u16),
}

/// A reply: its code, and the words of each line.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// A connection that is logged in.
pub(super) struct Connection {
    stream: BufReader<Stream>,
    /// What the server can do, by the reply to EHLO.
    can: Vec<String>,
}

impl Connection {
    /// Connects, encrypts and logs in, as configured.
    ///
    /// # Errors
    /// When any of that fails; nothing was sent then but what leads to it.
    pub(super) async fn open(config: &EmailConfig, tls: Option<&TlsConnector>) -> Result<Self, SmtpError> {
        let stream = TcpStream::connect((config.host.as_str(), config.port)).await.map_err(SmtpError::Connect)?;
        let name = hello(&stream)?;
        let stream = match config.tls {
            EmailTls::Implicit => encrypted(stream, config, tls).await?,
            EmailTls::StartTls | EmailTls::None => Stream::tcp(stream)?,
        };
        let mut this = Self { stream: BufReader::new(stream), can: Vec::new() };
        this.reply().await?.expect("greeting", 220)?;
        this.hello(&name).await?;
        if config.tls == EmailTls::StartTls {
            this = this.start_tls(config, tls).await?;
            this.hello(&name).await?;
        }
        if let Some((username, password)) = &config.login {
            this.log_in(username, password.expose()).await?;
        }
        Ok(this)
    }

    async fn hello(&mut self, name: &str) -> Result<(), SmtpError> {
        let reply = self.command(&format!("EHLO {name}")).await?;
        self.can = reply.expect("EHLO", 250)?.lines.into_iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    async fn start_tls(mut self, config: &EmailConfig, tls: Option<&TlsConnector>) -> Result<Self, SmtpError> {
        if !self.can.iter().any(|can| can == "STARTTLS") {
            return Err(SmtpError::Setup("the server does not offer STARTTLS"));
        }
        self.command("STARTTLS").await?.expect("STARTTLS", 220)?;
        // What is there already was sent by somebody who need not be the server, to be taken for its answers.
        if !self.stream.buffer().is_empty() {
            return Err(SmtpError::Protocol("more than the answer to STARTTLS"));
        }
        let Stream::Tcp(stream) = self.stream.into_inner() else {
            return Err(SmtpError::Protocol("encrypted twice"));
        };
        let stream = BufReader::new(encrypted(stream, config, tls).await?);
        Ok(Self { stream, can: Vec::new() })
    }

    async fn log_in(&mut self, username: &str, password: &str) -> Result<(), SmtpError> {
        let knows = |way: &str| {
            let mut offers = self.can.iter().filter_map(|can| can.strip_prefix("AUTH "));
            offers.any(|ways| ways.split(' ').any(|one| one == way))
        };
        let reply = if knows("PLAIN") {
            let secret = STANDARD.encode(format!("\0{username}\0{password}"));
            self.command(&format!("AUTH PLAIN {secret}")).await?
        } else if knows("LOGIN") {
            self.command("AUTH LOGIN").await?.expect("AUTH", 334)?;
            self.command(&STANDARD.encode(username)).await?.expect("AUTH", 334)?;
            self.command(&STANDARD.encode(password)).await?
        } else {
            return Err(SmtpError::Setup("the server offers neither AUTH PLAIN nor AUTH LOGIN"));
        };
        reply.expect("AUTH", 235).map(drop)
    }

    /// Hands a message over for one recipient; `message` has lines that end with CR LF.
    ///
    /// # Errors
    /// When the connection broke, or the server does not want mail from that sender. It may have taken the message if it
    /// broke last.
    pub(super) async fn hand_over(&mut self, from: &Address, to: &Address, message: &[u8]) -> Result<Taken, SmtpError> {
        self.command(&format!("MAIL FROM:<{from}>")).await?.expect("MAIL", 250)?;
        let reply = self.command(&format!("RCPT TO:<{to}>")).await?;
        let taken = match reply.taken("RCPT")? {
            Taken::Yes => self.data(message).await?,
            other => other,
        };
        if taken != Taken::Yes {
            self.command("RSET").await?.expect("RSET", 250)?;
        }
        Ok(taken)
    }

    async fn data(&mut self, message: &[u8]) -> Result<Taken, SmtpError> {
        let reply = self.command("DATA").await?;
        if reply.code != 354 {
            return match reply.taken("DATA")? {
                Taken::Yes => Err(SmtpError::Protocol("no answer to DATA")),
                other => Ok(other),
            };
        }
        self.stream.write_all(&stuffed(message)).await?;
        self.stream.flush().await?;
        self.reply().await?.taken("message")
    }

    /// Says good-bye.
    pub(super) async fn quit(mut self) {
        // Whatever it answers, there is nothing left to do.
        let _said = self.command("QUIT").await;
    }

    async fn command(&mut self, line: &str) -> Result<Reply, SmtpError> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, SmtpError> {
        let mut lines = Vec::new();
        let mut first: Option<u16> = None;
        while lines.len() < LINES_MAX {
            let mut line = Vec::new();
            (&mut self.stream).take(LINE_MAX).read_until(b'\n', &mut line).await?;
            let line = line.strip_suffix(b"\n").ok_or(SmtpError::Protocol("a line without end"))?;
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
            let code = code.and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code));
            let code = code.ok_or(SmtpError::Protocol("no code"))?;
            if *first.get_or_insert(code) != code {
                return Err(SmtpError::Protocol("two codes"));
            }
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                None | Some(b' ') => return Ok(Reply { code, lines }),
                Some(b'-') => {}
                Some(_other) => return Err(SmtpError::Protocol("no code")),
            }
        }
        Err(SmtpError::Protocol("too many lines"))
    }
}

impl Reply {
    fn expect(self, stage: &'static str, code: u16) -> Result<Self, SmtpError> {
        if self.code == code { Ok(self) } else { Err(SmtpError::Refused { stage, code: self.code }) }
    }

    /// What it means for one message; that the server closes the connection is about no message.
    fn taken(&self, stage: &'static str) -> Result<Taken, SmtpError> {
        match self.code {
            200..300 => Ok(Taken::Yes),
            421 => Err(SmtpError::Refused { stage, code: self.code }),
            400..500 => Ok(Taken::Later(self.code)),
            500..600 => Ok(Taken::Never(self.code)),
            code => Err(SmtpError::Refused { stage, code }),
        }
    }
}

async fn encrypted(stream: TcpStream, config: &EmailConfig, tls: Option<&TlsConnector>) -> Result<Stream, SmtpError> {
    let tls = tls.ok_or(SmtpError::Setup("no usable root certificates (\"ca\")"))?;
    let name = ServerName::try_from(config.host.clone()).map_err(|_invalid| SmtpError::Setup("\"host\" is no name"))?;
    let stream = tls.connect(name, stream).await.map_err(SmtpError::Tls)?;
    Ok(Stream::Tls(Box::new(stream.into())))
}

/// What the proxy is called, which has no name of its own: its address (RFC 5321, section 4.1.3).
fn hello(stream: &TcpStream) -> Result<String, SmtpError> {
    let address = stream.local_addr()?.ip().to_canonical();
    Ok(if address.is_ipv4() { format!("[{address}]") } else { format!("[IPv6:{address}]") })
}

/// The message with its end, and with no line before it that could be taken for it (RFC 5321, section 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_message_can_end_it() {
        let check = |message: &str, expected: &str| {
            assert_eq!(String::from_utf8(stuffed(message.as_bytes())).unwrap(), expected, "{message:?}");
        };
        check("a\r\nb\r\n", "a\r\nb\r\n.\r\n");
        check("a\r\n.\r\nQUIT\r\n", "a\r\n..\r\nQUIT\r\n.\r\n");
        check(".", "..\r\n.\r\n");
        check("a\n.\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n");
        check("", ".\r\n");
    }
}
