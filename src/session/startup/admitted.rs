//! A client whose user the proxy has authenticated by other means than on the wire.
//!
//! Never asks for less than other clients have to bring: the database has to be open to the user, and settings are read as in
//! a StartupMessage. Invariant: a database whose upstream authenticates its clients itself is closed to it.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::error::StartupError;
use super::settings::{self, Settings};
use super::{ClientHandshake, StartupContext, groups_to_connect};
use crate::config::DatabaseAuth;
use crate::stream::ClientStream;

/// Bytes of the secret of a CancelRequest in protocol 3.0.
const SECRET_LEN: usize = 4;

/// Who is let in.
pub(crate) struct Admitted {
    pub(crate) user: String,
    /// Groups that came with what the user has shown.
    pub(crate) brought: Vec<String>,
    pub(crate) database: String,
    /// As in a StartupMessage.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Where the user is.
    pub(crate) peer: String,
}

/// Lets somebody in whose other end of `stream` is the proxy itself.
///
/// # Errors
/// As [`super::accept`], where the user may not connect or asks for a setting that nobody gets; the stream is closed.
pub(crate) async fn admit(
    stream: ClientStream,
    who: Admitted,
    shared: &StartupContext,
) -> Result<Box<ClientHandshake>, StartupError> {
    let Admitted { user, brought, database, parameters, peer } = who;
    let groups = groups_to_connect(shared, &user, &brought, &database).await?;
    let passed_on = shared.config().database(&database).is_some_and(|it| it.auth == DatabaseAuth::Passthrough);
    if passed_on {
        return Err(StartupError::NotAdmitted { user });
    }
    let Settings { all: parameters, unlisted } = settings::settings(&parameters)?;
    Ok(Box::new(ClientHandshake {
        stream,
        unread: BytesMut::new(),
        user,
        groups,
        brought,
        database,
        parameters,
        unlisted,
        peer,
        tls: false,
        upstream: None,
        cancel_secret_len: SECRET_LEN,
    }))
}
