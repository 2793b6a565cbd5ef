//! What a bearer token is for: scopes.
//!
//! Never widens what its user may do: a scope opens a door, and [`Review`](crate::review::Review) decides behind it.
//! Invariant: no scopes, no door.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// One thing that a token can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// See access requests, their analytics, and what changes.
    RequestsRead,
    /// Make access requests, withdraw own ones, write about them.
    RequestsWrite,
    /// Approve, reject and revoke access requests.
    RequestsDecide,
    /// Run statements, as far as the rules allow or people approve.
    StatementsRun,
    /// See grants.
    GrantsRead,
    /// Ask for grants and withdraw what was asked for.
    GrantsWrite,
    /// Approve, reject and revoke grants.
    GrantsDecide,
    /// Search the audit trail.
    AuditRead,
    /// See databases, rules and masks.
    PolicyRead,
    /// Everything that its user may do.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 10] = [
        Self::RequestsRead,
        Self::RequestsWrite,
        Self::RequestsDecide,
        Self::StatementsRun,
        Self::GrantsRead,
        Self::GrantsWrite,
        Self::GrantsDecide,
        Self::AuditRead,
        Self::PolicyRead,
        Self::Admin,
    ];

    /// The name in the configuration: `requests:read`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestsRead => "requests:read",
            Self::RequestsWrite => "requests:write",
            Self::RequestsDecide => "requests:decide",
            Self::StatementsRun => "statements:run",
            Self::GrantsRead => "grants:read",
            Self::GrantsWrite => "grants:write",
            Self::GrantsDecide => "grants:decide",
            Self::AuditRead => "audit:read",
            Self::PolicyRead => "policy:read",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is the name of no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a scope")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// What a caller's credentials are for; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// Of somebody who has signed in themselves.
    #[must_use]
    pub fn all() -> Self {
        Self::from_iter([Scope::Admin])
    }

    /// What people do about requests and grants: of a token that was made without naming scopes.
    #[must_use]
    pub fn usual() -> Self {
        use Scope::{GrantsDecide, GrantsRead, GrantsWrite, RequestsDecide, RequestsRead, RequestsWrite};
        Self::from_iter([RequestsRead, RequestsWrite, RequestsDecide, GrantsRead, GrantsWrite, GrantsDecide])
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it opens that door.
    #[must_use]
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// The scopes that are named, in the documented order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | scope.bit()))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_opens_its_own_door_and_admin_opens_all() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            let only = Scopes::from_iter([scope]);
            assert_eq!(only.iter().collect::<Vec<_>>(), [scope]);
            for other in Scope::ALL {
                assert!(!Scopes::default().allow(other));
                assert!(Scopes::all().allow(other));
                assert_eq!(only.allow(other), other == scope || scope == Scope::Admin, "{scope} at {other}");
            }
        }
        assert!("requests".parse::<Scope>().is_err() && "Admin".parse::<Scope>().is_err());
        assert!(!Scopes::usual().allow(Scope::AuditRead) && !Scopes::usual().allow(Scope::StatementsRun));
        assert!(!Scopes::usual().allow(Scope::Admin));
    }
}
