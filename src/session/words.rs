//! What passes between the session core and its driver: what the core sees, asks for and is told.
//!
//! Never behaviour; see [`super::machine`].

use std::sync::Arc;

use countersign_policy::analysis::{AnalysisCache, Footing};
use countersign_policy::grant::{Binding, Grant};
use countersign_policy::mask::MaskSet;
use countersign_policy::subject::Subject;
use countersign_policy::verdict::Rows;
use countersign_policy::{Catalog, Effects};
use jiff::Timestamp;

use super::unmasked::Unmasked;
use crate::audit::Output;
use crate::config::Config;
use crate::estimate::Question;
use crate::review::{AccessRequest, Agreement, Decision, Misfit, Outcome, Parameter, RequestId};

/// What the session sees of the world at one moment.
#[derive(Clone)]
pub struct Surroundings {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The upstream database's catalog.
    pub catalog: Arc<Catalog>,
    /// Masks for this session's subject under that catalog.
    pub masks: Arc<MaskSet>,
    /// The same with what grants have taken out.
    pub all_masks: Arc<MaskSet>,
    /// What grants have taken out of them.
    pub unmasked: Arc<[Unmasked]>,
    /// Grants in force, of anybody.
    pub grants: Arc<Vec<Arc<Grant>>>,
    /// Shared cache of analyses.
    pub analyses: Arc<AnalysisCache>,
    /// Whether a record of a statement can be kept.
    pub audit_writable: bool,
    /// The time.
    pub now: Timestamp,
}

/// Who is connected, fixed for the life of the session but for the groups, where they come from roles.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The requester.
    pub subject: Subject,
    /// Name of the session in the audit trail; no other session has it.
    pub session: String,
    /// Client address.
    pub client_address: String,
    /// Base of links to access requests.
    pub public_url: String,
    /// The role that was logged in upstream, as the upstream says.
    pub login_role: Option<String>,
}

/// What the session asks its driver to do, in order.
#[derive(Debug)]
pub enum Command {
    /// Write an audit record of a judgement.
    Record(Box<Judged>),
    /// Record a held request ([`Machine::request_to_open`](super::machine::Machine::request_to_open)), then the judgement
    /// with what became of it, and wait for its decision; answered by [`Event::Opened`] with the same number, then
    /// [`Event::Decided`].
    Open(u64, Box<Judged>),
    /// The requester withdrew it.
    Withdraw(RequestId),
    /// Record durably that it runs now; answered by [`Event::Begun`].
    Begin(RequestId),
    /// Let it wait without this session; answered by [`Event::LeftOpen`].
    LeaveOpen(RequestId),
    /// It was approved, but judged again it is not allowed.
    Revoke(RequestId),
    /// It was approved with changes, which the client is to send; that is bound to this.
    Rebind(RequestId, Binding),
    /// It ran.
    Finish(Box<Finished>),
    /// What was allowed at once has run, and that is to be recorded.
    Ran(Box<Ran>),
    /// So many cells were masked, by the name of the rule.
    CountMasked(Vec<(Arc<str>, u64)>),
    /// Ask the planner for an estimate; answered by [`Event::Estimated`].
    Estimate(Box<Question>),
    /// Look whether the upstream still has these definitions; answered by [`Event::Looked`].
    Look(Stake, Vec<Arc<Footing>>),
    /// Load the catalog again; answered by [`Event::CatalogRefreshed`].
    RefreshCatalog,
    /// Cancel what the upstream is running; answered by [`Event::CancelSent`].
    CancelUpstream,
    /// Tell the upstream, behind what was sent, that nothing more comes.
    ShutUpstream,
    /// End the session; the upstream, which owes nothing, may serve another.
    GiveBack,
    /// Send what is left to the client, then close both connections.
    Close,
}

/// A judgement, for the audit.
#[derive(Debug)]
pub struct Judged {
    /// Which judgement of the session it is.
    pub number: u64,
    /// The statement text.
    pub statement: Arc<str>,
    /// Its bound values.
    pub parameters: Vec<Parameter>,
    /// What it does.
    pub effects: Effects,
    /// `allow`, `hold`, `deny`, or `error` for what can only fail.
    pub verdict: &'static str,
    /// Rules that matched.
    pub rules: Vec<String>,
    /// Observed rules that would have held or denied.
    pub observed: Vec<String>,
    /// The access request it rests on, if it was judged again after an approval, or that it waits for.
    pub access_request: Option<RequestId>,
    /// Why there is none although it is held.
    pub not_opened: Option<&'static str>,
    /// The grant that lifted its hold.
    pub grant: Option<String>,
    /// The grants that let it show values of masked columns.
    pub unmasked_by: Vec<String>,
}

/// The end of an approved request.
#[derive(Debug)]
pub struct Finished {
    /// Which.
    pub id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
    /// Rows that went to the client.
    pub rows: u64,
    /// Names of the result columns that were masked.
    pub masked: Vec<String>,
    /// Cells that were masked, by rule.
    pub masked_cells: Vec<(Arc<str>, u64)>,
    /// What is kept of its output.
    pub output: Option<Output>,
}

/// The end of a request that was allowed at once.
#[derive(Debug)]
pub struct Ran {
    /// Which judgement of the session allowed it.
    pub number: u64,
    /// When.
    pub judged_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Rows that went to the client.
    pub rows: u64,
    /// Names of the result columns that were masked.
    pub masked: Vec<String>,
    /// Cells that were masked, by rule.
    pub masked_cells: Vec<(Arc<str>, u64)>,
}

/// What happens to a session besides bytes.
#[derive(Debug)]
pub enum Event {
    /// The store recorded the request of that number, or could not (`None`).
    Opened(u64, Option<Opening>),
    /// People, or the clock, decided.
    Decided(RequestId, Decision),
    /// The run is recorded, or must not happen.
    Begun(RequestId, Result<(), BeginRefused>),
    /// The catalog was loaded, or could not be; the surroundings tell.
    CatalogRefreshed,
    /// What a look at the definitions has shown.
    Looked(Stake, Looked),
    /// What the planner says.
    Estimated(Rows),
    /// A held request waits for its approval without this session, or it has been decided in this moment (`None`).
    LeftOpen(RequestId, Option<Box<AccessRequest>>),
    /// A [`Command::Record`] could not be carried out.
    RecordFailed,
    /// The client sent a CancelRequest.
    Cancel,
    /// The CancelRequest reached the upstream, or could not be sent.
    CancelSent,
    /// Time passed.
    Tick,
    /// The client sends nothing more; it may still read.
    ClientEnded,
    /// The client's socket is broken.
    ClientClosed,
    /// The upstream's socket is at its end.
    UpstreamClosed,
    /// An operator has the session begin nothing new, or begin again.
    Paused(bool),
    /// The proxy shuts down: the session ends with what it is doing.
    Drain,
    /// The same for a session that has just begun: if it has done nothing yet, it may do one thing.
    DrainSoon,
    /// The proxy shuts down and waits no longer: what runs is cancelled.
    DrainNow,
}

/// What waits for a look at the upstream's definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stake {
    /// The judgement of the request that is postponed.
    Verdict,
    /// The rows that have come.
    Rows,
}

/// What a look at the upstream's definitions has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// They are what the analysis took them for.
    Same,
    /// They are not; the catalog was loaded again.
    Changed,
    /// Nobody knows.
    Failed,
}

/// What became of [`Command::Open`].
#[derive(Debug)]
pub enum Opening {
    /// It waits; there may be an approval that does not fit it.
    Waiting(Box<AccessRequest>, Option<Misfit>),
    /// An approval for exactly this exists already, or one that was given with changes.
    Ready(RequestId, Agreement),
    /// It needs a reason and has none; nothing was recorded.
    Unjustified,
    /// Its requester has so much undecided that nothing was recorded.
    TooMany(u32),
    /// It is recorded; the client is to send it again once it is approved. Likewise.
    Resubmit(Box<AccessRequest>, Option<Misfit>),
}

/// Why an approved request does not run after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginRefused {
    /// The approval expired, was revoked or was used.
    Unusable,
    /// Store or audit cannot be written.
    Unavailable,
}

impl Opening {
    /// The access request that was opened or found, or why there is none.
    pub fn request(&self) -> Result<RequestId, &'static str> {
        match self {
            Self::Waiting(request, _) | Self::Resubmit(request, _) => Ok(request.id),
            Self::Ready(id, _) => Ok(*id),
            Self::Unjustified => Err("unjustified"),
            Self::TooMany(_) => Err("too_many"),
        }
    }
}

impl Judged {
    /// The same where its request was withdrawn before it could be recorded.
    #[must_use]
    pub fn withdrawn(self) -> Self {
        Self { access_request: None, not_opened: Some("withdrawn"), ..self }
    }

    /// The same with what became of the request that was to be opened for it; `None` when it could not be recorded.
    #[must_use]
    pub fn opened(self, opening: Option<&Opening>) -> Self {
        match opening.map_or(Err("unavailable"), Opening::request) {
            Ok(id) => Self { access_request: Some(id), not_opened: None, ..self },
            Err(why) => Self { access_request: None, not_opened: Some(why), ..self },
        }
    }
}
