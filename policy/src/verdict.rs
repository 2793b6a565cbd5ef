//! Case → [`Verdict`]: the one door.
//!
//! Never forwards anything: an `Allow` carries a [`Permit`], and the relay takes it by value.
//! Invariant: [`Permit`] has no constructor outside this module, and only [`Policy::judge`] calls it.

use std::time::Duration;

use crate::analysis::Analysis;
use crate::grant::{Approval, Binding};
use crate::rule::Mode;
use crate::subject::Subject;

/// What is put before [`crate::rule::Policy::judge`].
#[derive(Debug)]
pub struct Case<'a> {
    /// Number of the request within its session; the permit is good for this one only.
    pub serial: u64,
    /// Who asks.
    pub subject: &'a Subject,
    /// The whole text of the request.
    pub text: &'a str,
    /// Its analysis.
    pub analysis: &'a Analysis,
    /// An approval and the binding of this very request, when it is judged again after a decision.
    pub approval: Option<(Approval, Binding)>,
}

/// The outcome of judging a case.
#[derive(Debug)]
pub enum Verdict {
    /// May be forwarded with this permit.
    Allow(Permit),
    /// Waits for a decision on these terms.
    Hold(HoldTerms),
    /// Refused.
    Deny(Denial),
}

/// Proof that a request was allowed. Not `Clone`: forwarding consumes it.
#[derive(Debug)]
pub struct Permit {
    serial: u64,
    request: Option<String>,
}

impl Permit {
    /// Number of the request it is good for.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Id of the access request whose approval it rests on, if any.
    #[must_use]
    pub fn approved_by_request(&self) -> Option<&str> {
        self.request.as_deref()
    }
}

/// On which terms a request is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldTerms {
    /// Names of the rules that hold it; empty when the database's `default` or `unparsed` does.
    pub rules: Vec<String>,
    /// Every demand must be met, by distinct people.
    pub reviewers: Vec<ReviewerDemand>,
    /// How long it waits: the shortest of the rules that hold it.
    pub timeout: Duration,
    /// How the requester waits.
    pub mode: Mode,
    /// Messages of the rules that hold it.
    pub messages: Vec<String>,
}

/// So many people of one group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReviewerDemand {
    /// The group.
    pub group: String,
    /// People of it, from 1.
    pub approvals: u32,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Name of the rule that denies it; `None` when the database's `default` or `unparsed` does.
    pub rule: Option<String>,
    /// DETAIL for the client.
    pub message: Option<String>,
}
