//! The client's side of PostgreSQL's authentication: trust, password, md5, SCRAM-SHA-256 and, over TLS,
//! SCRAM-SHA-256-PLUS.
//!
//! Never sends a password in clear unless TLS carries it or it stays on this machine.
//! Invariant: after SCRAM began, only an upstream that proved to know the password too is believed.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;

use super::UpstreamError;
use super::wire::Wire;
use crate::config::UpstreamConfig;
use crate::stream::{Stream, UpstreamStream};
use crate::tls::certificate;

pub(super) const OK: u32 = 0;
pub(super) const CLEARTEXT_PASSWORD: u32 = 3;
pub(super) const MD5_PASSWORD: u32 = 5;
pub(super) const SASL: u32 = 10;
pub(super) const SASL_CONTINUE: u32 = 11;
pub(super) const SASL_FINAL: u32 = 12;

/// Answers whatever the upstream asks for, up to AuthenticationOk.
pub(super) async fn authenticate(wire: &mut Wire, target: &UpstreamConfig) -> Result<(), UpstreamError> {
    let (code, data) = request(wire).await?;
    match code {
        OK => return Ok(()),
        CLEARTEXT_PASSWORD => {
            let password = password(target)?;
            if !is_confidential(&wire.stream) {
                return Err(UpstreamError::CleartextRefused);
            }
            send_password(wire, password.as_bytes()).await?;
        }
        MD5_PASSWORD => {
            let salt = data.as_ref().try_into().map_err(|_| UpstreamError::Protocol("malformed md5 salt"))?;
            let hash = md5_hash(target.user.as_bytes(), password(target)?.as_bytes(), salt);
            send_password(wire, hash.as_bytes()).await?;
        }
        SASL => scram(wire, &data, password(target)?).await?,
        code => return Err(UpstreamError::UnsupportedAuthentication(code)),
    }
    match request(wire).await? {
        (OK, _) => Ok(()),
        _ => Err(UpstreamError::Protocol("expected AuthenticationOk")),
    }
}

/// The next authentication request: its code and data.
pub(super) async fn request(wire: &mut Wire) -> Result<(u32, Bytes), UpstreamError> {
    let (tag, mut body) = wire.receive().await?;
    let code = body.first_chunk().map(|code| u32::from_be_bytes(*code));
    match (tag, code) {
        (b'R', Some(code)) => Ok((code, body.split_off(4))),
        _ => Err(UpstreamError::Protocol("expected an authentication request")),
    }
}

fn password(target: &UpstreamConfig) -> Result<&str, UpstreamError> {
    let password = target.password.as_ref().ok_or(UpstreamError::NoPassword)?.expose();
    // A NUL would end the password message early.
    if password.is_empty() || password.contains('\0') { Err(UpstreamError::NoPassword) } else { Ok(password) }
}

pub(super) fn is_confidential(stream: &UpstreamStream) -> bool {
    let is_loopback = |address: Option<SocketAddr>| address.is_some_and(|address| address.ip().is_loopback());
    stream.is_tls() || stream.is_unix() || stream.peer_addr().is_ok_and(is_loopback)
}

async fn send_password(wire: &mut Wire, password: &[u8]) -> Result<(), UpstreamError> {
    let mut out = BytesMut::new();
    frontend::password_message(password, &mut out).map_err(|_| UpstreamError::NoPassword)?;
    wire.send(&out).await
}

/// The mechanism of SCRAM to use, and what it has to do with the channel: bound to the upstream's certificate whenever
/// that is offered and possible. What was possible and not offered is said, so that a real PostgreSQL notices if somebody
/// between took the offer out.
fn mechanism(stream: &UpstreamStream, offered: &[u8]) -> Result<(&'static str, ChannelBinding), UpstreamError> {
    let offers = |wanted: &str| offered.split(|byte| *byte == 0).any(|name| name == wanted.as_bytes());
    match end_point(stream) {
        Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
            Ok((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)))
        }
        _ if !offers(SCRAM_SHA_256) => Err(UpstreamError::UnsupportedAuthentication(SASL)),
        Some(_) => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
    }
}

fn end_point(stream: &UpstreamStream) -> Option<Vec<u8>> {
    match stream {
        Stream::Tls(stream) => certificate::end_point(stream.get_ref().1.peer_certificates()?.first()?),
        Stream::Tcp(_) | Stream::Unix(_) => None,
    }
}

/// SCRAM-SHA-256, up to and with the upstream's own proof.
async fn scram(wire: &mut Wire, mechanisms: &[u8], password: &str) -> Result<(), UpstreamError> {
    let (mechanism, binding) = mechanism(&wire.stream, mechanisms)?;
    let malformed = |_| UpstreamError::Protocol("SASL message cannot be encoded");
    let mut client = ScramSha256::new(password.as_bytes(), binding);
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(mechanism, client.message(), &mut out).map_err(malformed)?;
    wire.send(&out).await?;
    let (SASL_CONTINUE, server_first) = request(wire).await? else {
        return Err(UpstreamError::Protocol("expected AuthenticationSASLContinue"));
    };
    client.update(&server_first).map_err(UpstreamError::Scram)?;
    out.clear();
    frontend::sasl_response(client.message(), &mut out).map_err(malformed)?;
    wire.send(&out).await?;
    let (SASL_FINAL, server_final) = request(wire).await? else {
        return Err(UpstreamError::Protocol("expected AuthenticationSASLFinal"));
    };
    client.finish(&server_final).map_err(UpstreamError::Scram)
}
