//! Records as syslog messages.
//!
//! Never splits a record over messages. Invariant: a message on a stream has its length in front, so that what a record
//! holds cannot begin another one.
//! Source: RFC 5424 (messages), RFC 5426 (UDP), RFC 6587, section 3.4.1 (octet counting).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};

use super::{Line, SinkError};
use crate::config::SyslogAddress;

/// Facility 13 (log audit), severity 5 (notice).
const PRIORITY: u8 = 13 * 8 + 5;
/// Largest message that goes into one datagram; a longer record is named by its number only.
const DATAGRAM_MAX: usize = 60_000;
/// How long connecting and sending may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what was sent on a stream is kept, to be sent again on the next one when this one breaks.
const UNREAD_FOR: Duration = Duration::from_secs(10);
/// How many bytes of it are kept.
const UNREAD_BYTES: usize = 4 << 20;
/// Digits of a second that a message may have.
const FRACTION_DIGITS_MAX: usize = 6;

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
}

/// A connection to a syslog receiver, made when there is something to send.
pub(super) struct Syslog {
    address: SyslogAddress,
    host: String,
    socket: Option<Socket>,
    /// What was sent on a stream a moment ago: nobody confirms that it was read.
    recent: VecDeque<(Instant, Vec<u8>)>,
}

impl Syslog {
    pub(super) fn new(address: SyslogAddress) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // HOSTNAME is printable ASCII without spaces.
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        Self {
            address,
            host: if host.is_empty() { "-".to_owned() } else { host },
            socket: None,
            recent: VecDeque::new(),
        }
    }

    /// Sends all of them; after an error some may have arrived.
    pub(super) async fn send(&mut self, lines: &[Line]) -> Result<(), SinkError> {
        let sent = tokio::time::timeout(PATIENCE, self.try_send(lines)).await;
        let sent = sent.unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut)));
        sent.map_err(|error| {
            self.socket = None;
            SinkError::Io(error)
        })
    }

    async fn try_send(&mut self, lines: &[Line]) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => {
                socket.look()?;
                socket
            }
            none => {
                let mut socket = Socket::connect(&self.address).await?;
                for (_, bytes) in &self.recent {
                    socket.write(bytes).await?;
                }
                none.insert(socket)
            }
        };
        let host = &self.host;
        match socket {
            Socket::Tcp(_) | Socket::UnixStream(_) => {
                let bytes = counted(lines, host);
                socket.write(&bytes).await?;
                self.remember(bytes);
                Ok(())
            }
            Socket::Udp(udp) => {
                for line in lines {
                    udp.send(datagram(line, host).as_bytes()).await?;
                }
                Ok(())
            }
            Socket::UnixDatagram(unix) => {
                for line in lines {
                    unix.send(datagram(line, host).as_bytes()).await?;
                }
                Ok(())
            }
        }
    }
}

impl Syslog {
    fn remember(&mut self, bytes: Vec<u8>) {
        let now = Instant::now();
        self.recent.push_back((now, bytes));
        let is_old = |(at, _): &(Instant, Vec<u8>)| now.duration_since(*at) > UNREAD_FOR;
        let mut size: usize = self.recent.iter().map(|(_, bytes)| bytes.len()).sum();
        while self.recent.front().is_some_and(is_old) || size > UNREAD_BYTES {
            size -= self.recent.pop_front().map_or(size, |(_, bytes)| bytes.len());
        }
    }
}

impl Socket {
    /// Writes to a stream; datagrams are not sent like this.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::UnixStream(stream) => stream.write_all(bytes).await,
            Self::Udp(_) | Self::UnixDatagram(_) => Ok(()),
        }
    }

    async fn connect(address: &SyslogAddress) -> io::Result<Self> {
        match address {
            SyslogAddress::Tcp(to) => Ok(Self::Tcp(TcpStream::connect(to).await?)),
            SyslogAddress::Udp(to) => {
                let to = tokio::net::lookup_host(to).await?.next();
                let to = to.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(from).await?;
                socket.connect(to).await?;
                Ok(Self::Udp(socket))
            }
            SyslogAddress::Unix(path) => Self::unix(path).await,
        }
    }

    /// `/dev/log` takes datagrams as a rule, and a stream where somebody has set it up so.
    async fn unix(path: &PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match socket.connect(path) {
            Ok(()) => Ok(Self::UnixDatagram(socket)),
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                Ok(Self::UnixStream(UnixStream::connect(path).await?))
            }
            Err(error) => Err(error),
        }
    }

    /// Notices a receiver that has closed the stream: what is written to it then would be lost without an error.
    fn look(&self) -> io::Result<()> {
        let mut byte = [0; 64];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::UnixStream(stream) => stream.try_read(&mut byte),
            Self::Udp(_) | Self::UnixDatagram(_) => return Ok(()),
        };
        match read {
            Ok(0) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn counted(lines: &[Line], host: &str) -> Vec<u8> {
    let mut out = String::new();
    for line in lines {
        let message = message(line, host, &line.text);
        // Writing to a String cannot fail.
        let _ok = write!(out, "{} {message}", message.len());
    }
    out.into_bytes()
}

fn datagram(line: &Line, host: &str) -> String {
    let whole = message(line, host, &line.text);
    if whole.len() <= DATAGRAM_MAX {
        return whole;
    }
    let (seq, bytes) = (line.seq, line.text.len());
    message(line, host, &format!("{{\"seq\":{seq},\"kind\":\"{}\",\"too_long\":{bytes}}}", line.kind))
}

/// `<109>1 TIMESTAMP HOST countersign PROCID MSGID [meta sequenceId="…"] JSON`
fn message(line: &Line, host: &str, text: &str) -> String {
    let process = std::process::id();
    // A number from 1 to 2147483647, which begins again.
    let sequence = line.seq.wrapping_sub(1) % 2_147_483_647 + 1;
    let (at, kind) = (timestamp(&line.at), &line.kind);
    format!("<{PRIORITY}>1 {at} {host} countersign {process} {kind} [meta sequenceId=\"{sequence}\"] {text}")
}

/// The time with as many digits as a message may have.
fn timestamp(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, fraction)) => {
            let digits: String = fraction.chars().filter(char::is_ascii_digit).take(FRACTION_DIGITS_MAX).collect();
            format!("{seconds}.{digits}Z")
        }
        None => at.to_owned(),
    }
}
