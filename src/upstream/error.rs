//! Why there is no upstream, and how much of that a client may read.
//!
//! Never carries a password, nor a text the upstream sent.
//! Invariant: what a client reads names no address, no role and no database of the upstream.

use std::io;

use countersign_protocol::response::ErrorFields;

use crate::fault::Fault;
use crate::tls::TlsError;

/// Why connecting to, or cancelling on, an upstream failed.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The host name has no address.
    #[error("could not resolve the upstream's host name")]
    Resolve(#[source] io::Error),
    /// No connection: refused, unreachable, no such socket.
    #[error("could not connect to the upstream")]
    Connect(#[source] io::Error),
    /// `connect_timeout` passed.
    #[error("connecting to the upstream timed out")]
    Timeout,
    /// TLS is wanted, but the upstream has none.
    #[error("the upstream does not offer TLS, but sslmode requires it")]
    TlsNotOffered,
    /// No agreement on TLS, or an unacceptable certificate.
    #[error("TLS handshake with the upstream failed")]
    TlsHandshake(#[source] io::Error),
    /// The configuration for TLS is unusable.
    #[error("could not set up TLS for the upstream")]
    Tls(#[from] TlsError),
    /// `verify-full` needs a host that a certificate can be made for.
    #[error("the upstream's host is no name or address a certificate can carry")]
    HostName,
    /// The upstream wants a password and none is configured.
    #[error("the upstream asks for a password, but none is configured")]
    NoPassword,
    /// The upstream wants the password in clear over an unprotected network.
    #[error("the upstream asks for a password in clear over an unencrypted connection")]
    CleartextRefused,
    /// The upstream wants a method we do not have; carries the code of the authentication request.
    #[error("the upstream asks for an unsupported authentication method (code {0})")]
    UnsupportedAuthentication(u32),
    /// The upstream lets the client in without having asked for anything.
    #[error("the upstream asks clients of a passthrough database for no password; see its pg_hba.conf")]
    Unchallenged,
    /// The SCRAM exchange failed on our side: perhaps the upstream is an impostor.
    #[error("SCRAM exchange with the upstream failed")]
    Scram(#[source] io::Error),
    /// The upstream sent an ErrorResponse.
    #[error("the upstream rejected the connection with SQLSTATE {sqlstate}")]
    Rejected {
        /// Its SQLSTATE.
        sqlstate: String,
    },
    /// A setting for the StartupMessage that cannot be sent.
    #[error("a setting cannot be sent to the upstream")]
    Setting,
    /// The upstream did not take a pinned setting; names it.
    #[error("the upstream did not accept the pinned setting {0}")]
    Pinned(&'static str),
    /// The upstream does not keep to the protocol; says where.
    #[error("protocol violation by the upstream: {0}")]
    Protocol(&'static str),
    /// The upstream closed the connection too early.
    #[error("the upstream closed the connection during startup")]
    Closed,
    /// Reading or writing failed.
    #[error("lost the upstream during startup")]
    Io(#[source] io::Error),
}

impl UpstreamError {
    /// Whether the server has no room for another connection.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Rejected { sqlstate } if sqlstate == "53300")
    }

    /// Whose fault it is. A password the upstream rejects is the configuration's.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Tls(_) | Self::HostName | Self::NoPassword | Self::CleartextRefused | Self::Unchallenged => {
                Fault::Proxy
            }
            Self::Setting => Fault::Client,
            Self::Rejected { sqlstate } if is_of_configuration(sqlstate) => Fault::Proxy,
            Self::Resolve(_)
            | Self::Connect(_)
            | Self::Timeout
            | Self::TlsNotOffered
            | Self::TlsHandshake(_)
            | Self::UnsupportedAuthentication(_)
            | Self::Scram(_)
            | Self::Rejected { .. }
            | Self::Pinned(_)
            | Self::Protocol(_)
            | Self::Closed
            | Self::Io(_) => Fault::Upstream,
        }
    }

    /// The FATAL ErrorResponse for the client that has to go without: 08001 when no connection came about, 08006 when
    /// one broke, and what drivers act upon: 53300 (too many connections), 57P03 (starting up or shutting down),
    /// 22023 and 42704 (a setting the upstream does not take, or know).
    #[must_use]
    pub fn fields(&self) -> ErrorFields<'static> {
        let (sqlstate, message) = match self {
            Self::Resolve(_) | Self::Connect(_) => ("08001", "could not connect to the database server"),
            Self::Timeout => ("08001", "connecting to the database server timed out"),
            Self::TlsNotOffered | Self::TlsHandshake(_) | Self::Tls(_) | Self::HostName => {
                ("08001", "no secure connection to the database server")
            }
            Self::NoPassword
            | Self::CleartextRefused
            | Self::Unchallenged
            | Self::UnsupportedAuthentication(_)
            | Self::Scram(_) => ("08001", "could not authenticate to the database server"),
            Self::Rejected { sqlstate } => of_rejection(sqlstate),
            Self::Setting => ("22023", "invalid value for a configuration parameter"),
            Self::Pinned(_) | Self::Protocol(_) => ("08001", "the database server is not usable through Countersign"),
            Self::Closed | Self::Io(_) => ("08006", "the database server closed the connection unexpectedly"),
        };
        let hint = match self.fault() {
            Fault::Client => None,
            Fault::Upstream | Fault::Proxy => Some("The log of the proxy says why; ask whoever operates it."),
        };
        ErrorFields { severity: "FATAL", sqlstate, message, detail: None, hint }
    }
}

/// Classes 28 (who we are) and 3D (which database): what stands in `upstream` and `password`.
fn is_of_configuration(sqlstate: &str) -> bool {
    sqlstate.starts_with("28") || sqlstate.starts_with("3D")
}

fn of_rejection(sqlstate: &str) -> (&'static str, &'static str) {
    match sqlstate {
        "53300" => ("53300", "the database server has too many connections"),
        "57P03" => ("57P03", "the database server is starting up or shutting down"),
        "42704" => ("42704", "the database server does not know a configuration parameter"),
        "22023" | "22007" | "22008" => ("22023", "the database server refused a configuration parameter"),
        other if other.starts_with("28") => ("08001", "could not authenticate to the database server"),
        _ => ("08001", "the database server rejected the connection"),
    }
}
