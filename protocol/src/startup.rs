//! Everything on the wire before a session: startup packets, password messages, and the answers to them.
//!
//! Never decides who may connect and never reads a socket; `pgwire` reads and writes the packets, after their lengths
//! and texts were checked here, because its decoders trust both.
//! Invariant: a packet is either understood to its last byte or refused; nothing in it is dropped or replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::{Bytes, BytesMut};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, GssEncRequest, MESSAGE_TYPE_BYTE_PASSWORD_MESSAGE_FAMILY, NegotiateProtocolVersion,
    ParameterStatus, SecretKey, SslRequest, Startup,
};
use pgwire::messages::{DecodeContext, Message, ProtocolVersion};

/// Longest startup packet accepted, in bytes; PostgreSQL's own limit.
pub const STARTUP_PACKET_MAX: usize = 10_000;

/// Longest password or SASL message accepted, in bytes.
pub const PASSWORD_MESSAGE_MAX: usize = 4_096;

/// Longest message of an upstream before its first ReadyForQuery, in bytes; libpq's limit.
pub const UPSTREAM_MESSAGE_MAX: usize = 30_000;

const CANCEL_REQUEST_CODE: u32 = 80_877_102;
const SSL_REQUEST_CODE: u32 = 80_877_103;
const GSSENC_REQUEST_CODE: u32 = 80_877_104;
const PROTOCOL_MAJOR: i32 = 3;

/// The newest minor version of protocol 3 that is spoken.
pub const PROTOCOL_MINOR_MAX: u16 = 2;

/// From this minor version on the secret of BackendKeyData may be longer than four bytes (manual, "Protocol Versions").
const LONG_SECRETS_SINCE: u16 = 2;

/// Length of the secret of BackendKeyData in protocol 3.0, in bytes.
const SECRET_LEN: usize = 4;

/// Length of the secret in protocol 3.2, in bytes; as long as PostgreSQL's own.
const LONG_SECRET_LEN: usize = 32;

/// Prefix of protocol options (manual, "StartupMessage"): unknown ones are negotiated away, never an error.
const PROTOCOL_OPTION_PREFIX: &str = "_pq_.";

/// One packet of a client that has not started a session yet.
#[derive(Clone, PartialEq, Eq)]
pub enum StartupPacket {
    /// Asks for TLS.
    SslRequest,
    /// Asks for GSSAPI encryption.
    GssEncRequest,
    /// Asks to cancel what another session runs; this connection ends with it.
    CancelRequest {
        /// Process id of the BackendKeyData.
        process_id: i32,
        /// Secret key of the BackendKeyData: 4 to 256 bytes.
        secret: Bytes,
    },
    /// Asks for a session.
    StartupMessage(StartupMessage),
}

impl fmt::Debug for StartupPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SslRequest => "SslRequest",
            Self::GssEncRequest => "GssEncRequest",
            Self::CancelRequest { .. } => "CancelRequest",
            Self::StartupMessage(_) => "StartupMessage",
        })
    }
}

/// A StartupMessage of protocol 3.
#[derive(Clone, PartialEq, Eq)]
pub struct StartupMessage {
    /// Minor protocol version asked for.
    pub minor: u16,
    /// Parameters but protocol options, by the name as the client spelt it.
    pub parameters: BTreeMap<String, String>,
    /// Names of the protocol options (`_pq_.…`) asked for.
    pub protocol_options: Vec<String>,
}

impl StartupMessage {
    /// The minor version that is spoken with this client. There is no 3.1; who asks for it gets 3.0 under that name,
    /// as from PostgreSQL.
    #[must_use]
    pub fn minor_spoken(&self) -> u16 {
        self.minor.min(PROTOCOL_MINOR_MAX)
    }

    /// Whether the client has to be told that less is spoken than it asked for.
    #[must_use]
    pub fn needs_negotiation(&self) -> bool {
        self.minor > PROTOCOL_MINOR_MAX || !self.protocol_options.is_empty()
    }

    /// How long a secret its BackendKeyData carries, in bytes.
    #[must_use]
    pub fn cancel_secret_len(&self) -> usize {
        if self.minor_spoken() >= LONG_SECRETS_SINCE { LONG_SECRET_LEN } else { SECRET_LEN }
    }
}

/// Why a packet or message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The length field is out of bounds, or not what this kind of packet has.
    #[error("invalid length of startup packet")]
    Length,
    /// Another protocol version than 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    Version {
        /// Major version asked for.
        major: u16,
        /// Minor version asked for.
        minor: u16,
    },
    /// Names and values do not come in NUL-terminated pairs up to a final NUL.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    /// A name or value is not UTF-8.
    #[error("startup packet is not valid UTF-8")]
    Encoding,
    /// The same parameter twice.
    #[error("startup packet has a parameter twice")]
    Duplicate,
    /// Something else than a password message where one has to come.
    #[error("expected password response, got another message")]
    NotPassword,
    /// The length field of a password message is out of bounds.
    #[error("invalid password message length")]
    PasswordLength,
    /// A password message whose inside does not fit its length.
    #[error("malformed SASLInitialResponse message")]
    SaslInitialResponse,
    /// A message that cannot be written: a NUL in a text, or too long.
    #[error("message cannot be encoded")]
    Encode,
}

/// Takes one packet off the front of `buf`, or `None` when more bytes are needed.
///
/// # Errors
/// [`PacketError`] when the bytes cannot become an acceptable packet; then `buf` is of no further use.
pub fn decode_packet(buf: &mut BytesMut) -> Result<Option<StartupPacket>, PacketError> {
    let Some(length) = be_u32(buf, 0) else { return Ok(None) };
    let length = usize::try_from(length).map_err(|_| PacketError::Length)?;
    if !(8..=STARTUP_PACKET_MAX).contains(&length) {
        return Err(PacketError::Length);
    }
    if buf.len() < length {
        return Ok(None);
    }
    let packet = buf.split_to(length);
    let exactly_a_header = |kind| if length == 8 { Ok(Some(kind)) } else { Err(PacketError::Length) };
    match be_u32(&packet, 4).ok_or(PacketError::Length)? {
        SSL_REQUEST_CODE => exactly_a_header(StartupPacket::SslRequest),
        GSSENC_REQUEST_CODE => exactly_a_header(StartupPacket::GssEncRequest),
        CANCEL_REQUEST_CODE => cancel_request(packet).map(Some),
        _ => startup_message(packet).map(Some),
    }
}

fn cancel_request(mut packet: BytesMut) -> Result<StartupPacket, PacketError> {
    // Read as protocol 3.2 a key of any legal length stays whole; as 3.0 all behind four bytes would be dropped.
    let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
    match CancelRequest::decode(&mut packet, &context) {
        Ok(Some(request)) => {
            Ok(StartupPacket::CancelRequest { process_id: request.pid, secret: request.secret_key.to_bytes() })
        }
        Ok(None) | Err(_) => Err(PacketError::Length),
    }
}

fn startup_message(mut packet: BytesMut) -> Result<StartupPacket, PacketError> {
    let version = be_u32(&packet, 4).ok_or(PacketError::Length)?.to_be_bytes();
    let [major_high, major_low, minor_high, minor_low] = version;
    let (major, minor) = (u16::from_be_bytes([major_high, major_low]), u16::from_be_bytes([minor_high, minor_low]));
    if major != 3 {
        return Err(PacketError::Version { major, minor });
    }
    check_parameters(packet.get(8..).unwrap_or_default())?;
    let startup = match Startup::decode(&mut packet, &DecodeContext::default()) {
        Ok(Some(startup)) => startup,
        Ok(None) | Err(_) => return Err(PacketError::Layout),
    };
    let (options, parameters): (BTreeMap<_, _>, BTreeMap<_, _>) =
        startup.parameters.into_iter().partition(|(name, _)| name.starts_with(PROTOCOL_OPTION_PREFIX));
    let protocol_options = options.into_keys().collect();
    Ok(StartupPacket::StartupMessage(StartupMessage { minor, parameters, protocol_options }))
}

/// Checks `(name NUL value NUL)* NUL` without a byte left over: pgwire would replace, complete or ignore what is
/// wrong.
fn check_parameters(body: &[u8]) -> Result<(), PacketError> {
    let pairs = body.strip_suffix(b"\0").ok_or(PacketError::Layout)?;
    if pairs.is_empty() {
        return Ok(());
    }
    let text = std::str::from_utf8(pairs).map_err(|_| PacketError::Encoding)?;
    let mut texts = text.strip_suffix('\0').ok_or(PacketError::Layout)?.split('\0');
    let mut seen = BTreeSet::new();
    while let Some(name) = texts.next() {
        if name.is_empty() || texts.next().is_none() {
            return Err(PacketError::Layout);
        }
        if !seen.insert(name) {
            return Err(PacketError::Duplicate);
        }
    }
    Ok(())
}

/// Takes one password message (`p`) off the front of `buf` and returns its body, or `None` when more bytes are
/// needed.
///
/// # Errors
/// [`PacketError::NotPassword`] or [`PacketError::PasswordLength`]; then `buf` is of no further use.
pub fn decode_password_message(buf: &mut BytesMut) -> Result<Option<Bytes>, PacketError> {
    match buf.first() {
        None => return Ok(None),
        Some(tag) if *tag != MESSAGE_TYPE_BYTE_PASSWORD_MESSAGE_FAMILY => return Err(PacketError::NotPassword),
        Some(_) => {}
    }
    let Some(length) = be_u32(buf, 1) else { return Ok(None) };
    let length = usize::try_from(length).map_err(|_| PacketError::PasswordLength)?;
    if !(4..=PASSWORD_MESSAGE_MAX).contains(&length) {
        return Err(PacketError::PasswordLength);
    }
    if buf.len() <= length {
        return Ok(None);
    }
    let mut message = buf.split_to(length.saturating_add(1));
    Ok(Some(message.split_off(5).freeze()))
}

/// Reads the body of a SASLInitialResponse: the mechanism and the client-first-message, which has to be there.
///
/// # Errors
/// [`PacketError::SaslInitialResponse`] when a length does not fit.
pub fn sasl_initial_response(body: &Bytes) -> Result<(&str, Bytes), PacketError> {
    let malformed = PacketError::SaslInitialResponse;
    let end = memchr::memchr(0, body).ok_or(malformed.clone())?;
    let mechanism = body.get(..end).and_then(|name| std::str::from_utf8(name).ok()).ok_or(malformed.clone())?;
    let length = be_u32(body, end.saturating_add(1)).ok_or(malformed.clone())?;
    let data = body.slice(end.saturating_add(5)..);
    if usize::try_from(length) == Ok(data.len()) { Ok((mechanism, data)) } else { Err(malformed) }
}

/// What the proxy says to a client before the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// This minor version of protocol 3, and none of these options.
    NegotiateProtocolVersion(u16, &'a [String]),
    /// AuthenticationCleartextPassword.
    AuthenticationCleartextPassword,
    /// AuthenticationMD5Password with its salt.
    AuthenticationMd5Password([u8; 4]),
    /// AuthenticationSASL with these mechanisms, the preferred one first.
    AuthenticationSasl(&'a [&'a str]),
    /// AuthenticationSASLContinue with the server-first-message.
    AuthenticationSaslContinue(&'a str),
    /// AuthenticationSASLFinal with the server-final-message.
    AuthenticationSaslFinal(&'a str),
}

/// Appends an answer.
///
/// # Errors
/// [`PacketError::Encode`] when a text has a NUL or is too long; `out` is then as before.
pub fn encode_answer(out: &mut BytesMut, answer: &Answer<'_>) -> Result<(), PacketError> {
    let data = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match answer {
        Answer::NegotiateProtocolVersion(minor, options) => {
            let version = (PROTOCOL_MAJOR << 16) | i32::from(*minor);
            put(out, &NegotiateProtocolVersion::new(version, options.to_vec()))
        }
        Answer::AuthenticationCleartextPassword => put(out, &Authentication::CleartextPassword),
        Answer::AuthenticationMd5Password(salt) => put(out, &Authentication::MD5Password(salt.to_vec())),
        Answer::AuthenticationSasl(mechanisms) => {
            put(out, &Authentication::SASL(mechanisms.iter().map(|name| (*name).to_owned()).collect()))
        }
        Answer::AuthenticationSaslContinue(text) => put(out, &Authentication::SASLContinue(data(text))),
        Answer::AuthenticationSaslFinal(text) => put(out, &Authentication::SASLFinal(data(text))),
    }
}

/// AuthenticationOk, a ParameterStatus for each parameter, BackendKeyData, ReadyForQuery (idle).
///
/// What cannot be encoded is left out: a parameter with a NUL or longer than [`UPSTREAM_MESSAGE_MAX`], a secret that
/// is not 4 to 256 bytes long.
#[must_use]
pub fn encode_greeting(parameters: &[(String, String)], process_id: i32, secret: &Bytes) -> BytesMut {
    let mut out = BytesMut::new();
    // Each `put` leaves nothing behind when it fails, so ignoring the error is leaving the message out.
    let _ = put(&mut out, &Authentication::Ok);
    for (name, value) in parameters.iter().filter(|(name, value)| !name.contains('\0') && !value.contains('\0')) {
        let _ = put(&mut out, &ParameterStatus::new(name.clone(), value.clone()));
    }
    let _ = put(&mut out, &BackendKeyData::new(process_id, SecretKey::Bytes(secret.clone())));
    let _ = put(&mut out, &ReadyForQuery::new(TransactionStatus::Idle));
    out
}

/// Encodes a packet the proxy sends to an upstream.
///
/// # Errors
/// [`PacketError::Encode`] when a text has a NUL, a name is empty, a key has no legal length, or the packet is too
/// long.
pub fn encode_packet(packet: StartupPacket) -> Result<BytesMut, PacketError> {
    let mut out = BytesMut::new();
    match packet {
        StartupPacket::SslRequest => put(&mut out, &SslRequest::new())?,
        StartupPacket::GssEncRequest => put(&mut out, &GssEncRequest::new())?,
        StartupPacket::CancelRequest { process_id, secret } => {
            put(&mut out, &CancelRequest::new(process_id, SecretKey::Bytes(secret)))?;
        }
        StartupPacket::StartupMessage(message) => {
            let illegal =
                |(name, value): (&String, &String)| name.is_empty() || name.contains('\0') || value.contains('\0');
            if message.parameters.iter().any(illegal) {
                return Err(PacketError::Encode);
            }
            let mut startup = Startup::new();
            startup.protocol_number_minor = message.minor;
            startup.parameters = message.parameters;
            put(&mut out, &startup)?;
        }
    }
    Ok(out)
}

/// `Message::encode` writes the tag before it checks the length; an error must leave nothing behind.
fn put(out: &mut BytesMut, message: &impl Message) -> Result<(), PacketError> {
    let before = out.len();
    message.encode(out).map_err(|_| {
        out.truncate(before);
        PacketError::Encode
    })
}

fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
