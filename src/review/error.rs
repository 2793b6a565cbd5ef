//! Why a decision was not accepted.

use std::time::Duration;

use crate::audit::AuditError;
use crate::duration::in_words;
use crate::review::{COMMENT_CHARS_MAX, GrantState, State};
use crate::roles::RolesUnread;
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
    /// The person is in none of them by the configuration, and roles cannot be asked.
    #[error(transparent)]
    RolesUnread(RolesUnread),
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
    /// Its requester has to say why first.
    #[error("its requester has given no reason yet, which a rule asks for")]
    Unjustified,
    /// It has a reason.
    #[error("access request has a reason already")]
    AlreadyJustified,
    /// Only its requester may do this.
    #[error("only its requester may do this")]
    NotRequester,
    /// It cannot be a comment.
    #[error("a comment has from 1 to {COMMENT_CHARS_MAX} characters")]
    BadComment,
    /// The person has as much undecided as the configuration allows.
    #[error("you have {limit} requests that nobody has decided, which is as many as [limits] requests_per_user allows")]
    TooManyUndecided {
        /// How many are allowed.
        limit: u32,
    },
    /// Too much was written about it.
    #[error("too much has been written about this request")]
    TooMany,
    /// Its time is over.
    #[error("access request has expired")]
    Expired,
    /// It has been changed since, and what is approved is not named.
    #[error("statement was changed by {by}: approve the changed text by giving it")]
    Changed {
        /// Who changed it last.
        by: String,
    },
    /// The changed text cannot be a statement.
    #[error("changed statement is empty or has a NUL in it")]
    BadEdit,
    /// The rows that the statement writes are not counted as it runs.
    #[error(
        "rows of this statement cannot be limited: their number is known only for INSERT, UPDATE, DELETE and MERGE, without another one in WITH"
    )]
    NotCounted,
    /// There is no such grant.
    #[error("grant does not exist")]
    NoSuchGrant,
    /// It is no longer in a state that allows this.
    #[error("grant is already {state}")]
    GrantDecided {
        /// The state it is in.
        state: GrantState,
    },
    /// There is no such database for this person.
    #[error("database does not exist")]
    NoSuchDatabase,
    /// A grant for what is asked for makes no sense.
    #[error("grant cannot be for that: {0}")]
    BadScope(String),
    /// Grants are not given on this database.
    #[error("no grants are given on this database")]
    NoGrants,
    /// It is longer than the policy allows.
    #[error("a grant on this database lasts from 1 second to {}", in_words(*.max))]
    TooLong {
        /// The longest.
        max: Duration,
    },
    /// The store failed; the decision may or may not stand.
    #[error("could not record decision")]
    Store(#[from] StoreError),
    /// The audit trail cannot be read.
    #[error("could not read audit trail")]
    Trail(#[source] std::io::Error),
    /// The audit trail cannot be written; nothing is released.
    #[error("could not write audit trail")]
    Audit(#[from] AuditError),
}
