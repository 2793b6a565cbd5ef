//! Why a decision was not accepted.

use crate::audit::AuditError;
use crate::review::State;
use crate::store::StoreError;

/// Why a decision was not accepted. Nothing has changed then, unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such request.
    #[error("access request does not exist")]
    NotFound,
    /// The person is in none of the groups that may do this.
    #[error("only members of {groups} may do this")]
    NotEligible {
        /// Those groups, as a phrase.
        groups: String,
    },
    /// Requesters do not decide about themselves.
    #[error("requesters do not review their own requests")]
    OwnRequest,
    /// The person has approved already.
    #[error("you have approved this request already")]
    AlreadyVoted,
    /// It is no longer in a state that allows this.
    #[error("access request is already {state}")]
    AlreadyDecided {
        /// The state it is in.
        state: State,
    },
    /// Saying no takes a reason.
    #[error("a reason is required")]
    ReasonRequired,
    /// Its time is over.
    #[error("access request has expired")]
    Expired,
    /// The store failed; the decision may or may not stand.
    #[error("could not record decision")]
    Store(#[from] StoreError),
    /// The audit trail cannot be written; nothing is released.
    #[error("could not write audit trail")]
    Audit(#[from] AuditError),
}
