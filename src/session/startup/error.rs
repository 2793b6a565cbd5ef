//! Why a client got no session, and how much of that it may read.
//!
//! Never carries a password, a proof or a setting's value into a log: those appear only in what the client itself is
//! sent.
//! Invariant: [`StartupError::refusal`] is the only way from an error to the wire, and what a stranger wrote cannot end a
//! line of the log.

use std::borrow::Cow;
use std::io;

use bytes::BytesMut;
use countersign_protocol::proxy_header::ProxyHeaderError;
use countersign_protocol::response::{ErrorFields, error_response};
use countersign_protocol::scram::ScramError;
use countersign_protocol::startup::PacketError;

use super::settings::SettingError;
use crate::fault::Fault;
use crate::roles::RolesUnread;
use crate::upstream::UpstreamError;

/// Why a negotiation failed.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// Reading or writing failed.
    #[error("lost the client during startup")]
    Io(#[source] io::Error),
    /// The client took too long.
    #[error("client took too long to authenticate")]
    Deadline,
    /// A load balancer did not say who connects, or not in a way we understand.
    #[error("no usable PROXY protocol header from an address of proxy_protocol_from")]
    ProxyHeader(#[from] ProxyHeaderError),
    /// Somebody who is no load balancer of ours said who connects.
    #[error("PROXY protocol header from an address that is not in proxy_protocol_from")]
    UnexpectedProxyHeader,
    /// A malformed or unsupported packet.
    #[error("unacceptable startup packet")]
    Packet(#[from] PacketError),
    /// Bytes followed the SSLRequest before it was answered.
    #[error("received unencrypted data after SSL request")]
    BytesBeforeTls,
    /// The client and we found no way to TLS.
    #[error("TLS handshake with the client failed")]
    TlsHandshake(#[source] io::Error),
    /// TLS from the first byte, but no word of PostgreSQL.
    #[error("client began with TLS, but did not name the protocol in ALPN")]
    NoAlpn,
    /// Plaintext where the configuration wants TLS.
    #[error("client did not use TLS")]
    TlsRequired,
    /// A replication connection.
    #[error("client asked for a replication connection")]
    Replication,
    /// No `user` in the StartupMessage.
    #[error("client named no user")]
    NoUser,
    /// Another mechanism than the one offered.
    #[error("client selected a SASL mechanism that was not offered")]
    Mechanism,
    /// A malformed SCRAM message.
    #[error("SCRAM exchange failed")]
    Scram(#[from] ScramError),
    /// A wrong password, or no such user: the two are not told apart.
    #[error("password authentication failed for user \"{}\"", user.escape_debug())]
    Password {
        /// As the client gave it.
        user: String,
        /// Whether the client also presented a certificate, which does not stand for the user.
        certificate: bool,
    },
    /// The upstream could not be reached, or not be used, while it was to authenticate the client.
    #[error("could not let the upstream authenticate the client")]
    Upstream(#[from] UpstreamError),
    /// The upstream does not let the role in, whatever the password.
    #[error("the upstream does not admit user \"{}\"", user.escape_debug())]
    NotAdmitted {
        /// As the client gave it.
        user: String,
    },
    /// The upstream let the role in, but not into the database.
    #[error("the role has no CONNECT privilege on the upstream's database")]
    NoConnectPrivilege,
    /// The upstream wants the password in clear, and the client's connection is not encrypted.
    #[error("the upstream asks for a password in clear, and the client did not use TLS")]
    CleartextRefused,
    /// The client could bind to its channel, which ends here; the upstream would take that for an attack.
    #[error("client and upstream could bind to their channels, which are two")]
    BindingNotRelayed,
    /// Too many authentications from this address failed.
    #[error("too many failed authentications from the address")]
    TooManyFailures,
    /// No such database, or none open to the user: the two are not told apart.
    #[error("database \"{}\" does not exist or is not open to the user", database.escape_debug())]
    NoDatabase {
        /// As the client gave it.
        database: String,
    },
    /// It is not known who is in which group of the database.
    #[error(transparent)]
    RolesUnread(#[from] RolesUnread),
    /// A setting that cannot be had.
    #[error("unacceptable setting in the startup packet")]
    Setting(#[from] SettingError),
}

impl StartupError {
    /// Whose fault it is: the client's, or that of the network between, unless the upstream had a part in it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        if let Self::Upstream(error) = self { error.fault() } else { Fault::Client }
    }

    /// Whether somebody tried to prove who they are, and did not.
    pub(super) fn is_failed_authentication(&self) -> bool {
        matches!(self, Self::Password { .. } | Self::Scram(_) | Self::NotAdmitted { .. })
    }

    /// What the audit trail says of it; `None` when nobody has tried to log in.
    pub(super) fn audited(&self) -> Option<&'static str> {
        match self {
            Self::Password { .. } => Some("the password is wrong, or there is no such user"),
            Self::Scram(_) => Some("the SCRAM exchange failed"),
            Self::NotAdmitted { .. } => Some("the upstream does not admit the role"),
            Self::NoConnectPrivilege => Some("the role has no CONNECT privilege"),
            Self::NoDatabase { .. } => Some("the database is not open to the user"),
            Self::Io(_)
            | Self::Deadline
            | Self::ProxyHeader(_)
            | Self::UnexpectedProxyHeader
            | Self::Packet(_)
            | Self::BytesBeforeTls
            | Self::TlsHandshake(_)
            | Self::NoAlpn
            | Self::TlsRequired
            | Self::Replication
            | Self::NoUser
            | Self::Mechanism
            | Self::Upstream(_)
            | Self::CleartextRefused
            | Self::BindingNotRelayed
            | Self::TooManyFailures
            | Self::RolesUnread(_)
            | Self::Setting(_) => None,
        }
    }

    /// Whether it is one of many of its kind, so that one line each would only fill the log; metrics count them.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        matches!(self, Self::TooManyFailures)
    }

    /// What the client may read of it; `None` when it is to be hung up on: it left, stalled, or speaks something
    /// else.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let refusal = match self {
            Self::Io(_) | Self::Deadline | Self::TlsHandshake(_) | Self::UnexpectedProxyHeader => return None,
            Self::ProxyHeader(error) => Refusal::new("08P01", error.to_string())
                .detail("The address this connection comes from is that of a load balancer (proxy_protocol_from)."),
            Self::Packet(error) => of_packet(error)?,
            Self::BytesBeforeTls => Refusal::new("08P01", "received unencrypted data after SSL request").detail(
                "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
            ),
            Self::NoAlpn => Refusal::new(
                "08P01",
                "received direct SSL connection request without ALPN protocol negotiation extension",
            ),
            Self::TlsRequired => Refusal::new("28000", "connection requires TLS")
                .detail("The connection was not encrypted, so no password was asked for.")
                .hint("Connect with sslmode=require or stronger."),
            Self::Replication => Refusal::new("0A000", "replication connections are not supported"),
            Self::NoUser => Refusal::new("28000", "no PostgreSQL user name specified in startup packet"),
            Self::Mechanism => Refusal::new("08P01", "client selected an invalid SASL authentication mechanism"),
            Self::Scram(error) => of_scram(*error),
            Self::Password { user, certificate } => {
                let refusal = Refusal::new("28P01", format!("password authentication failed for user \"{user}\""));
                // For every user, so that it tells nothing about this one.
                let detail = "The client certificate does not stand for this user, so a password was asked for.";
                if *certificate { refusal.detail(detail) } else { refusal }
            }
            Self::Upstream(error) => {
                let ErrorFields { sqlstate, message, hint, .. } = error.fields();
                Refusal { sqlstate, message: message.to_owned(), detail: None, hint: hint.map(Cow::from) }
            }
            Self::NotAdmitted { user } => Refusal::new("28000", format!("user \"{user}\" is not admitted"))
                .detail("The database server does not let this role in from the proxy (pg_hba.conf)."),
            Self::NoConnectPrivilege => Refusal::new("42501", "permission denied for database")
                .detail("The role has no CONNECT privilege on the database server."),
            Self::CleartextRefused => Refusal::new("28000", "connection requires TLS")
                .detail("The database server asks for the password in clear.")
                .hint("Connect with sslmode=require or stronger."),
            Self::BindingNotRelayed => Refusal::new("28000", "channel binding cannot pass through the proxy")
                .hint("Connect with channel_binding=disable: the database server authenticates you behind the proxy."),
            Self::TooManyFailures => Refusal::new("28000", "too many failed authentications from this address")
                .hint("Try again in a minute."),
            Self::NoDatabase { database } => Refusal::new("3D000", format!("database \"{database}\" does not exist")),
            Self::RolesUnread(unread) => Refusal::new("57P03", unread.to_string())
                .hint("Try again in a moment; if it stays so, an operator finds the cause in the proxy's log."),
            Self::Setting(error) => error.refusal(),
        };
        Some(refusal)
    }
}

fn of_scram(error: ScramError) -> Refusal {
    match error {
        ScramError::ChannelBinding => Refusal::new("08P01", "malformed SCRAM message").detail(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding \
             data.",
        ),
        ScramError::ChannelBindingMissing => Refusal::new("08P01", "malformed SCRAM message").detail(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
        ),
        ScramError::Downgrade => Refusal::new("28000", error.to_string())
            .detail(
                "The client supports SCRAM channel binding but thinks the server does not.  However, this server does \
                 support channel binding.",
            )
            .hint("Something between client and proxy ends TLS; connect without it."),
        ScramError::ChannelBindingMismatch => Refusal::new("28000", error.to_string())
            .detail("The client saw another certificate than that of the proxy.")
            .hint("Something between client and proxy ends TLS; connect without it."),
        ScramError::Verifier
        | ScramError::ServerNonce
        | ScramError::Malformed(_)
        | ScramError::ChannelBindingType
        | ScramError::AuthorizationIdentity
        | ScramError::MandatoryExtension
        | ScramError::Nonce
        | ScramError::Rejected => Refusal::new("08P01", error.to_string()),
    }
}

fn of_packet(error: &PacketError) -> Option<Refusal> {
    match error {
        // Whoever sends such a length does not speak this protocol: TLS from the first byte, HTTP, a port scan.
        PacketError::Length => None,
        PacketError::Version { .. } => Some(Refusal::new("0A000", error.to_string())),
        PacketError::Layout
        | PacketError::Encoding
        | PacketError::Duplicate
        | PacketError::NotPassword
        | PacketError::PasswordLength
        | PacketError::SaslInitialResponse
        | PacketError::Encode => Some(Refusal::new("08P01", error.to_string())),
    }
}

/// The texts of a FATAL ErrorResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE.
    pub sqlstate: &'static str,
    /// Primary message.
    pub message: String,
    /// DETAIL.
    pub detail: Option<&'static str>,
    /// HINT.
    pub hint: Option<Cow<'static, str>>,
}

impl Refusal {
    pub(super) fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    pub(super) fn detail(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Appends the ErrorResponse.
    pub fn encode(&self, out: &mut BytesMut) {
        let Self { sqlstate, message, detail, hint } = self;
        let hint = hint.as_deref();
        error_response(out, &ErrorFields { severity: "FATAL", sqlstate, message, detail: *detail, hint });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_a_line_of_the_log() {
        let name = || "eve\nWARN all is well\x1b[0m".to_owned();
        for error in [
            StartupError::Password { user: name(), certificate: false },
            StartupError::NoDatabase { database: name() },
            StartupError::NotAdmitted { user: name() },
        ] {
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
}
