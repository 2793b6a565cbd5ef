//! Stands in for the upstream of ten thousand sessions, which would need ten thousand processes of PostgreSQL.
//!
//! Never stands in for the catalog: connections that are not of a session go on to a real PostgreSQL.
//! Invariant: it counts every Query it was sent, by its text.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use countersign_protocol::Frame;
use countersign_protocol::backend::tag;
use countersign_protocol::frontend::tag as frontend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::Outcome;
use crate::client::put_message;

/// How the proxy's session connections call themselves.
const OF_A_SESSION: &str = " via countersign";
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// Largest startup packet and message.
const LEN_MAX: u32 = 1 << 20;

/// What PostgreSQL 15 reports of itself.
const PARAMETERS: [(&str, &str); 13] = [
    ("application_name", "holds via countersign"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "on"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("session_authorization", "postgres"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "Etc/UTC"),
];

/// How often each text was run.
#[derive(Clone, Default)]
pub(crate) struct Ran {
    texts: Arc<Mutex<HashMap<String, u32>>>,
}

impl Ran {
    fn note(&self, text: String) {
        *self.texts.lock().unwrap_or_else(PoisonError::into_inner).entry(text).or_default() += 1;
    }

    /// Forgets everything; what was there.
    pub(crate) fn take(&self) -> HashMap<String, u32> {
        std::mem::take(&mut self.texts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts to listen; the port. Serves until the process ends.
pub(crate) fn start(postgres: SocketAddr, ran: Ran) -> Outcome<u16> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(BACKLOG)?;
    let port = listener.local_addr()?.port();
    tokio::spawn(accept(listener, postgres, ran));
    Ok(port)
}

async fn accept(listener: TcpListener, postgres: SocketAddr, ran: Ran) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let ran = ran.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, postgres, &ran).await {
                        eprintln!("holds: stub: {error}");
                    }
                });
            }
            Err(error) => {
                eprintln!("holds: stub cannot accept: {error}");
                return;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, postgres: SocketAddr, ran: &Ran) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let length = stream.read_u32().await?;
    if !(8..=LEN_MAX).contains(&length) {
        return Err("a startup packet of an impossible length".into());
    }
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    if is_of_a_session(&body) {
        return session(stream, ran).await;
    }
    let mut upstream = TcpStream::connect(postgres).await?;
    upstream.write_u32(length).await?;
    upstream.write_all(&body).await?;
    copy_bidirectional(&mut stream, &mut upstream).await?;
    Ok(())
}

fn is_of_a_session(startup: &[u8]) -> bool {
    String::from_utf8_lossy(startup).split('\0').any(|text| text.ends_with(OF_A_SESSION))
}

async fn session(mut stream: TcpStream, ran: &Ran) -> Outcome<()> {
    let mut out = greeting();
    let (mut unread, mut parsed) = (BytesMut::new(), String::new());
    loop {
        while let Some(frame) = Frame::take(&mut unread, |_| LEN_MAX)? {
            if frame.tag == frontend::TERMINATE {
                return Ok(());
            }
            answer(&frame, &mut parsed, ran, &mut out)?;
        }
        if !out.is_empty() {
            stream.write_all_buf(&mut out).await?;
            (out, unread) = (BytesMut::new(), if unread.is_empty() { BytesMut::new() } else { unread });
        }
        unread.reserve(1 << 10);
        if stream.read_buf(&mut unread).await? == 0 {
            return Ok(());
        }
    }
}

fn greeting() -> BytesMut {
    let mut out = BytesMut::new();
    put_message(&mut out, tag::AUTHENTICATION, &0_u32.to_be_bytes());
    for (name, value) in PARAMETERS {
        put_message(&mut out, tag::PARAMETER_STATUS, format!("{name}\0{value}\0").as_bytes());
    }
    put_message(&mut out, tag::BACKEND_KEY_DATA, &[0; 8]);
    put_message(&mut out, tag::READY_FOR_QUERY, b"I");
    out
}

/// Answers a message of the proxy's own question about names, or of a client; `parsed` is the text of the last Parse.
fn answer(frame: &Frame, parsed: &mut String, ran: &Ran, out: &mut BytesMut) -> Outcome<()> {
    match frame.tag {
        frontend::QUERY => {
            let text = String::from_utf8_lossy(frame.body()).trim_end_matches('\0').to_owned();
            let command_tag: &[u8] = if is_update(&text) { b"UPDATE 1\0" } else { b"SELECT 0\0" };
            ran.note(text);
            put_message(out, tag::COMMAND_COMPLETE, command_tag);
            put_message(out, tag::READY_FOR_QUERY, b"I");
        }
        frontend::PARSE => {
            let mut strings = frame.body().split(|byte| *byte == 0);
            *parsed = String::from_utf8_lossy(strings.nth(1).unwrap_or_default()).into_owned();
            put_message(out, tag::PARSE_COMPLETE, b"");
        }
        frontend::BIND => put_message(out, tag::BIND_COMPLETE, b""),
        frontend::CLOSE => put_message(out, tag::CLOSE_COMPLETE, b""),
        frontend::DESCRIBE => put_message(out, tag::NO_DATA, b""),
        frontend::EXECUTE if is_update(parsed) => {
            ran.note(parsed.clone());
            put_message(out, tag::COMMAND_COMPLETE, b"UPDATE 1\0");
        }
        frontend::EXECUTE => {
            put_message(out, tag::DATA_ROW, &role_and_search_path());
            put_message(out, tag::COMMAND_COMPLETE, b"SELECT 1\0");
        }
        frontend::SYNC => put_message(out, tag::READY_FOR_QUERY, b"I"),
        other => return Err(format!("unexpected message {:?}", char::from(other)).into()),
    }
    Ok(())
}

fn is_update(text: &str) -> bool {
    text.starts_with("UPDATE")
}

fn role_and_search_path() -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u16(2);
    for cell in ["postgres", "[\"pg_catalog\",\"public\"]"] {
        body.put_u32(u32::try_from(cell.len()).unwrap_or(u32::MAX));
        body.put_slice(cell.as_bytes());
    }
    body
}
