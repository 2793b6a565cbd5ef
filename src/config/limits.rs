//! `[limits]`, `[tcp]` and how the proxy stops: how much of everything there may be.
//!
//! Never unlimited where a stranger could fill it: what has no default here is bounded elsewhere.

use std::time::Duration;

use super::keys::{self, Form, Keys};
use super::reader::Section;

pub(super) static LIMIT_KEYS: Keys = Keys {
    table: "[limits]",
    known: &[
        keys::optional("sessions", Form::Number(1, SESSIONS_MAX)),
        keys::optional("sessions_per_user", Form::Number(1, SESSIONS_MAX)),
        keys::optional("requests_per_user", Form::Number(1, SESSIONS_MAX)),
        keys::optional("unauthenticated", Form::Number(1, SESSIONS_MAX)),
        keys::optional("failures_per_address", Form::Number(1, FAILURES_MAX)),
        keys::optional("failures_per_user", Form::Number(1, FAILURES_MAX)),
        keys::optional("idle_timeout", Form::Duration),
        keys::optional("idle_in_transaction_timeout", Form::Duration),
        keys::optional("request_mib", Form::Number(1, REQUEST_MIB_MAX)),
    ],
    unavailable: &[],
};
pub(super) static TCP_KEYS: Keys = Keys {
    table: "[tcp]",
    known: &[
        keys::optional("keepalive_idle", Form::Duration),
        keys::optional("keepalive_interval", Form::Duration),
        keys::optional("keepalive_count", Form::Number(1, 100)),
        keys::optional("user_timeout", Form::Duration),
    ],
    unavailable: &[],
};

/// More sessions than any process has descriptors for.
pub(super) const SESSIONS_MAX: u32 = 1_000_000;
/// So many undecided requests of one user that nobody counts them.
pub const UNCOUNTED: u32 = SESSIONS_MAX;
/// As many failures per minute as no person and no program makes by mistake.
const FAILURES_MAX: u32 = 100_000;
/// Largest Query, Parse or Bind that may be allowed: what a session keeps under its names has room for it.
const REQUEST_MIB_MAX: u32 = 120;

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Sessions in all.
    pub sessions: u32,
    /// Sessions of one user, unless the user says otherwise.
    pub sessions_per_user: Option<u32>,
    /// Access requests and grants of one user that wait for votes.
    pub requests_per_user: u32,
    /// Connections that have not authenticated yet.
    pub unauthenticated: u32,
    /// Failed authentications per minute after which an address is refused.
    pub failures_per_address: u32,
    /// Failed authentications per minute after which attempts on a user have to wait.
    pub failures_per_user: u32,
    /// How long a session may wait for its client outside a transaction.
    pub idle_timeout: Option<Duration>,
    /// How long a session may wait for its client inside a transaction.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// Largest Query, Parse or Bind, in bytes.
    pub request_len_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            sessions: 1000,
            sessions_per_user: None,
            requests_per_user: 100,
            unauthenticated: 200,
            failures_per_address: 10,
            failures_per_user: 10,
            idle_timeout: None,
            idle_in_transaction_timeout: None,
            request_len_max: 64 << 20,
        }
    }
}

/// `[tcp]`: when a peer that does not answer counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// Idle time before the first keepalive probe.
    pub keepalive_idle: Duration,
    /// Time between keepalive probes.
    pub keepalive_interval: Duration,
    /// Unanswered probes after which the peer is gone.
    pub keepalive_count: u32,
    /// How long sent bytes may stay unacknowledged, or unread; the system's own limit when absent.
    pub user_timeout: Option<Duration>,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            // Well below the 350 s after which cloud load balancers forget a connection.
            keepalive_idle: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(10),
            keepalive_count: 6,
            user_timeout: None,
        }
    }
}

pub(super) fn limits(section: Option<&Section<'_>>) -> LimitsConfig {
    let default = LimitsConfig::default();
    let Some(section) = section else { return default };
    let request_mib = section.number("request_mib", 1..=REQUEST_MIB_MAX);
    LimitsConfig {
        sessions: section.number("sessions", 1..=SESSIONS_MAX).unwrap_or(default.sessions),
        sessions_per_user: section.number("sessions_per_user", 1..=SESSIONS_MAX),
        requests_per_user: section.number("requests_per_user", 1..=SESSIONS_MAX).unwrap_or(default.requests_per_user),
        unauthenticated: section.number("unauthenticated", 1..=SESSIONS_MAX).unwrap_or(default.unauthenticated),
        failures_per_address: section
            .number("failures_per_address", 1..=FAILURES_MAX)
            .unwrap_or(default.failures_per_address),
        failures_per_user: section.number("failures_per_user", 1..=FAILURES_MAX).unwrap_or(default.failures_per_user),
        idle_timeout: section.duration("idle_timeout"),
        idle_in_transaction_timeout: section.duration("idle_in_transaction_timeout"),
        request_len_max: request_mib.map_or(default.request_len_max, |mib| (mib as usize) << 20),
    }
}

pub(super) fn tcp(section: Option<&Section<'_>>) -> TcpConfig {
    let default = TcpConfig::default();
    let Some(section) = section else { return default };
    TcpConfig {
        keepalive_idle: section.duration("keepalive_idle").unwrap_or(default.keepalive_idle),
        keepalive_interval: section.duration("keepalive_interval").unwrap_or(default.keepalive_interval),
        keepalive_count: section.number("keepalive_count", 1..=100).unwrap_or(default.keepalive_count),
        user_timeout: section.duration("user_timeout"),
    }
}

impl LimitsConfig {
    /// How much one user may have undecided, where that is counted.
    #[must_use]
    pub fn undecided_max(&self) -> Option<u32> {
        Some(self.requests_per_user).filter(|most| *most < UNCOUNTED)
    }
}
