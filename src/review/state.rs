//! Which state of an access request may follow which.
//!
//! Never changes anything: the store asks it before every write. Invariant: a final state has no successor.

use std::fmt;
use std::str::FromStr;

use super::State;

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Approved,
        Self::Executing,
        Self::Executed,
        Self::Failed,
        Self::Unknown,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Revoked,
    ];

    /// Whether a request in this state may become `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Approved | Self::Rejected | Self::Expired | Self::Cancelled),
            Self::Approved => matches!(next, Self::Executing | Self::Expired | Self::Cancelled | Self::Revoked),
            Self::Executing => matches!(next, Self::Executed | Self::Failed | Self::Unknown),
            Self::Executed
            | Self::Failed
            | Self::Unknown
            | Self::Rejected
            | Self::Expired
            | Self::Cancelled
            | Self::Revoked => false,
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        !Self::ALL.iter().any(|next| self.may_become(*next))
    }

    /// The name people see: `PENDING`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Executing => "EXECUTING",
            Self::Executed => "EXECUTED",
            Self::Failed => "FAILED",
            Self::Unknown => "UNKNOWN",
            Self::Rejected => "REJECTED",
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
            Self::Revoked => "REVOKED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is the name of no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a state of an access request")]
pub struct UnknownState(pub String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let same = |state: &&Self| state.as_str().eq_ignore_ascii_case(text);
        Self::ALL.iter().find(same).copied().ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_in_the_documentation() {
        let arrows: Vec<_> = State::ALL
            .iter()
            .flat_map(|from| State::ALL.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from.may_become(*to))
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        assert_eq!(
            arrows.join(" "),
            "PENDING>APPROVED PENDING>REJECTED PENDING>EXPIRED PENDING>CANCELLED APPROVED>EXECUTING \
             APPROVED>EXPIRED APPROVED>CANCELLED APPROVED>REVOKED EXECUTING>EXECUTED EXECUTING>FAILED EXECUTING>UNKNOWN"
        );
    }

    #[test]
    fn names_are_read_back_and_match_their_json() {
        for state in State::ALL {
            assert_eq!(state.as_str().to_lowercase().parse(), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert!("DONE".parse::<State>().is_err());
    }
}
