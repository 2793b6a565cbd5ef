//! Authentication by the upstream (`auth = "passthrough"`): its requests go to the client, the client's answers to it.
//!
//! Never decides whether a password is right, and keeps nothing of the exchange. Never asks for a password in clear over
//! a network. Never tells what the upstream said, only what kind of error it was.
//! Invariant: `Some` comes only after the upstream asked the client for a proof and was satisfied.

use bytes::Bytes;
use countersign_protocol::scram;
use countersign_protocol::startup::{self as wire, Answer};

use super::connection::Connection;
use super::error::StartupError;
use super::peer::Peer;
use crate::config::UpstreamConfig;
use crate::upstream::{AuthenticationRequest, LoginRelay, Upstream, UpstreamError};

/// Relays the exchange; `None` when the client left in the middle of it. `target` names the client's user.
pub(super) async fn authenticate(
    connection: &mut Connection,
    peer: Peer,
    target: UpstreamConfig,
    settings: &[(String, String)],
) -> Result<Option<Upstream>, StartupError> {
    let user = target.user.clone();
    let failed = |error| of_upstream(error, &user);
    let mut login = LoginRelay::begin(target, settings).await.map_err(failed)?;
    let relayed = match login.request().await.map_err(failed)? {
        AuthenticationRequest::CleartextPassword if !is_confidential(connection, peer) => {
            return Err(StartupError::CleartextRefused);
        }
        AuthenticationRequest::CleartextPassword => {
            one_answer(connection, &mut login, &Answer::AuthenticationCleartextPassword).await
        }
        AuthenticationRequest::Md5Password(salt) => {
            one_answer(connection, &mut login, &Answer::AuthenticationMd5Password(salt)).await
        }
        AuthenticationRequest::Scram { plus } => relay_scram(connection, &mut login, plus).await,
        AuthenticationRequest::SaslContinue(_) | AuthenticationRequest::SaslFinal(_) | AuthenticationRequest::Ok => {
            Err(out_of_order().into())
        }
    };
    let relayed = relayed.map_err(|error| match error {
        StartupError::Upstream(error) => failed(error),
        error => error,
    })?;
    if !relayed {
        return Ok(None);
    }
    match login.request().await.map_err(failed)? {
        AuthenticationRequest::Ok => login.finish().await.map(Some).map_err(failed),
        _ => Err(out_of_order().into()),
    }
}

/// Asks the client and hands its answer on; `false` when it left instead.
async fn one_answer(
    connection: &mut Connection,
    login: &mut LoginRelay,
    question: &Answer<'_>,
) -> Result<bool, StartupError> {
    connection.answer(question).await?;
    let Some(body) = connection.password_message().await? else { return Ok(false) };
    login.answer(&body).await?;
    Ok(true)
}

async fn relay_scram(connection: &mut Connection, login: &mut LoginRelay, plus: bool) -> Result<bool, StartupError> {
    connection.answer(&Answer::AuthenticationSasl(&[scram::MECHANISM])).await?;
    let Some(body) = connection.password_message().await? else { return Ok(false) };
    let (mechanism, client_first) = wire::sasl_initial_response(&body)?;
    if mechanism != scram::MECHANISM {
        return Err(StartupError::Mechanism);
    }
    // It would tell the upstream that somebody took the offer out, which is so, and be refused there.
    if plus && client_first.starts_with(b"y,") {
        return Err(StartupError::BindingNotRelayed);
    }
    login.answer(&body).await?;
    let AuthenticationRequest::SaslContinue(data) = login.request().await? else { return Err(out_of_order().into()) };
    if !one_answer(connection, login, &Answer::AuthenticationSaslContinue(text(&data)?)).await? {
        return Ok(false);
    }
    let AuthenticationRequest::SaslFinal(data) = login.request().await? else { return Err(out_of_order().into()) };
    connection.answer(&Answer::AuthenticationSaslFinal(text(&data)?)).await?;
    Ok(true)
}

fn text(data: &Bytes) -> Result<&str, UpstreamError> {
    std::str::from_utf8(data).map_err(|_| UpstreamError::Protocol("malformed SCRAM message"))
}

fn out_of_order() -> UpstreamError {
    UpstreamError::Protocol("authentication requests out of order")
}

/// Whether a password in clear would stay among the client and us.
fn is_confidential(connection: &Connection, peer: Peer) -> bool {
    connection.stream.is_tls() || peer.ip().is_none_or(|address| address.is_loopback())
}

/// What the upstream says of the user is for the user; anything else is between the upstream and us.
fn of_upstream(error: UpstreamError, user: &str) -> StartupError {
    match error {
        UpstreamError::Rejected { sqlstate } if sqlstate == "28P01" => {
            StartupError::Password { user: user.to_owned(), certificate: false }
        }
        UpstreamError::Rejected { sqlstate } if sqlstate.starts_with("28") => {
            StartupError::NotAdmitted { user: user.to_owned() }
        }
        UpstreamError::Rejected { sqlstate } if sqlstate == "42501" => StartupError::NoConnectPrivilege,
        error => StartupError::Upstream(error),
    }
}
