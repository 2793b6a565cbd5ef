//! The password exchange: SCRAM-SHA-256, and over TLS SCRAM-SHA-256-PLUS.
//!
//! Never tells users who do not exist from users with another password: both go through the whole exchange.
//! Invariant: groups come only after a proof made with the key of the user's verifier: that of the configuration, or that of a
//! password that was had on the page and lives for an hour.

use countersign_protocol::scram::{self, Binding, Exchange, ScramError, Verifier};
use countersign_protocol::startup::{self as wire, Answer};
use rand::Rng as _;

use super::StartupContext;
use super::connection::Connection;
use super::error::StartupError;

/// Random bytes in a server nonce, before encoding; as many as PostgreSQL takes.
const NONCE_LEN: usize = 24;

/// The SCRAM exchange: groups that come with what was shown, besides those of the configuration; `None` when the client left
/// in the middle of it.
pub(super) async fn authenticate(
    connection: &mut Connection,
    user: &str,
    shared: &StartupContext,
) -> Result<Option<Vec<String>>, StartupError> {
    let end_point = connection.end_point.clone();
    let offered: &[&str] = match &end_point {
        Some(_) => &[scram::MECHANISM_PLUS, scram::MECHANISM],
        None => &[scram::MECHANISM],
    };
    connection.answer(&Answer::AuthenticationSasl(offered)).await?;
    let Some(body) = connection.password_message().await? else { return Ok(None) };
    let (mechanism, client_first) = wire::sasl_initial_response(&body)?;
    let binding = match (mechanism, &end_point) {
        (scram::MECHANISM, None) => Binding::NotOffered,
        (scram::MECHANISM, Some(_)) => Binding::Declined,
        (scram::MECHANISM_PLUS, Some(hash)) => Binding::EndPoint(hash),
        (_, _) => return Err(StartupError::Mechanism),
    };
    let (verifier, groups) = match shared.held(user).await {
        Some(held) => (held.verifier, held.groups),
        None => (verifier(shared, user), Vec::new()),
    };
    let exchange = Exchange::begin(verifier, binding, &client_first, &nonce())?;
    connection.answer(&Answer::AuthenticationSaslContinue(exchange.server_first())).await?;
    let Some(body) = connection.password_message().await? else { return Ok(None) };
    let server_final = exchange.finish(&body).map_err(|error| match error {
        ScramError::Rejected => {
            StartupError::Password { user: user.to_owned(), certificate: !connection.certificate_names.is_empty() }
        }
        error => StartupError::Scram(error),
    })?;
    connection.answer(&Answer::AuthenticationSaslFinal(&server_final)).await?;
    Ok(Some(groups))
}

/// Printable and without a comma: hexadecimal.
fn nonce() -> String {
    let mut bytes = [0; NONCE_LEN];
    rand::rng().fill(&mut bytes);
    hex::encode(bytes)
}

/// The user's verifier, or one nobody satisfies and nobody can tell from a real one.
fn verifier(shared: &StartupContext, user: &str) -> Verifier {
    let config = shared.config();
    let own = config.user(user).and_then(|user| user.verifier.as_deref()).map(Verifier::parse);
    if let Some(Ok(verifier)) = own {
        return verifier;
    }
    let mut verifiers = config.users.iter().filter_map(|user| Verifier::parse(user.verifier.as_deref()?).ok());
    let (iterations, salt_len) = verifiers
        .next()
        .map_or((scram::DEFAULT_ITERATIONS, scram::DEFAULT_SALT_LEN), |model| (model.iterations(), model.salt_len()));
    Verifier::mock(&shared.mock_secret, user, iterations, salt_len)
}
