//! An event of the outbox with what is in the store about it.
//!
//! Never tells of more than has happened by then: votes and transitions that came later are not in it. Invariant: the id of an
//! event is the same however often, to whom, and by which proxy it is told.

use countersign_policy::analysis::without_literals;
use jiff::Timestamp;

use crate::review::{
    AccessRequest, Comment, GrantId, GrantRecord, GrantState, GrantTransition, RequestId, Review, ReviewError, State,
    Transition, Vote,
};
use crate::store::outbox::{About, Event};

/// What is told.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// Its id.
    pub(crate) id: String,
    /// Its type: `access_request.approved`.
    pub(crate) kind: String,
    /// The event.
    pub(crate) event: Event,
    /// What it is about.
    pub(crate) subject: Subject,
}

/// What an event is about, with what has happened.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// A request.
    Request(Box<AccessRequest>, Step),
    /// A grant.
    Grant(Box<GrantRecord>, GrantStep),
    /// The configuration of that revision is in force.
    Config(String),
}

/// What has happened to a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Transition(Transition),
    Vote(Vote),
    Comment(Comment),
}

/// What has happened to a grant.
#[derive(Clone, Debug)]
pub(crate) enum GrantStep {
    Transition(GrantTransition),
    Vote(Vote),
}

/// What is to be done with an event.
#[derive(Debug)]
pub(crate) enum Found {
    /// To be told.
    Story(Box<Story>),
    /// A vote that decided: the transition tells of it.
    WithAnother,
    /// Nothing in the store is like it.
    Missing,
}

/// Reads what an event is about.
///
/// # Errors
/// When the store fails.
pub(super) async fn find(review: &Review, event: &Event) -> Result<Found, ReviewError> {
    let subject = match event.about {
        About::Config => Some(Subject::Config(event.subject.clone())),
        About::Request => match event.subject.parse().map(RequestId) {
            Ok(id) => of_request(review, id, event).await?,
            Err(_invalid) => None,
        },
        About::Grant => match event.subject.parse().map(GrantId) {
            Ok(id) => of_grant(review, id, event).await?,
            Err(_invalid) => None,
        },
    };
    let Some(subject) = subject else { return Ok(Found::Missing) };
    if subject.is_deciding_vote() {
        return Ok(Found::WithAnother);
    }
    let story =
        Story { id: id(&event.subject, &event.what, event.at), kind: kind(event), event: event.clone(), subject };
    Ok(Found::Story(Box::new(story)))
}

/// The id of an event.
pub(super) fn id(subject: &str, what: &str, at: Timestamp) -> String {
    format!("msg_{subject}_{what}_{}", at.as_microsecond())
}

/// The type of an event: `access_request.created`, `grant.active`, `config.changed`.
fn kind(event: &Event) -> String {
    let what = event.what.to_ascii_lowercase();
    match event.about {
        About::Request if event.what == State::Pending.as_str() => "access_request.created".to_owned(),
        About::Request => format!("access_request.{what}"),
        About::Grant => format!("grant.{what}"),
        About::Config => format!("config.{what}"),
    }
}

async fn of_request(review: &Review, id: RequestId, event: &Event) -> Result<Option<Subject>, ReviewError> {
    let request = match review.get(id).await {
        Ok(request) => request,
        Err(ReviewError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let step = match event.what.as_str() {
        "VOTED" => {
            let mut votes = request.votes.iter();
            votes.find(|vote| vote.by == event.person && vote.at == event.at).cloned().map(Step::Vote)
        }
        "COMMENTED" => {
            let mut comments = review.comments(id).await?.into_iter();
            comments.find(|comment| comment.by == event.person && comment.at == event.at).map(Step::Comment)
        }
        to => {
            let mut transitions = request.transitions.iter();
            transitions.find(|transition| transition.to.as_str() == to).cloned().map(Step::Transition)
        }
    };
    Ok(step.map(|step| Subject::Request(Box::new(request), step)))
}

async fn of_grant(review: &Review, id: GrantId, event: &Event) -> Result<Option<Subject>, ReviewError> {
    let grant = match review.grant(id).await {
        Ok(grant) => grant,
        Err(ReviewError::NoSuchGrant) => return Ok(None),
        Err(error) => return Err(error),
    };
    let step = match event.what.as_str() {
        "VOTED" => {
            let mut votes = grant.votes.iter();
            votes.find(|vote| vote.by == event.person && vote.at == event.at).cloned().map(GrantStep::Vote)
        }
        to => {
            let mut steps = grant.transitions.iter();
            steps.find(|step| step.to.as_str() == to).cloned().map(GrantStep::Transition)
        }
    };
    Ok(step.map(|step| Subject::Grant(Box::new(grant), step)))
}

impl Subject {
    /// Whether it is a vote that came with a transition.
    fn is_deciding_vote(&self) -> bool {
        match self {
            Self::Request(request, Step::Vote(vote)) => {
                let by = |step: &Transition| step.at == vote.at && step.by == vote.by;
                request.transitions.iter().any(by)
            }
            Self::Grant(grant, GrantStep::Vote(vote)) => {
                let by = |step: &GrantTransition| step.at == vote.at && step.by == vote.by;
                grant.transitions.iter().any(by)
            }
            Self::Request(..) | Self::Grant(..) | Self::Config(_) => false,
        }
    }
}

impl Step {
    /// The vote that came with it, or that it is.
    pub(crate) fn vote<'a>(&'a self, request: &'a AccessRequest) -> Option<&'a Vote> {
        match self {
            Self::Vote(vote) => Some(vote),
            Self::Transition(step) => request.votes.iter().find(|vote| vote.at == step.at && vote.by == step.by),
            Self::Comment(_) => None,
        }
    }

    /// The state of the request then.
    pub(crate) fn state(&self, request: &AccessRequest) -> State {
        let at = match self {
            Self::Transition(transition) => return transition.to,
            // One that decides is told with the decision.
            Self::Vote(_) => return State::Pending,
            Self::Comment(comment) => comment.at,
        };
        let mut until = request.transitions.iter().rev();
        until.find(|transition| transition.at <= at).map_or(State::Pending, |transition| transition.to)
    }
}

impl GrantStep {
    /// The state of the grant then.
    pub(crate) fn state(&self) -> GrantState {
        match self {
            Self::Transition(step) => step.to,
            Self::Vote(_) => GrantState::Requested,
        }
    }
}

/// A text of SQL as it may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Every byte of it.
    Whole(String),
    /// Without the values of its literals.
    WithoutLiterals(String),
    /// Not at all: its literals cannot be told from the rest.
    Not,
}

/// Whether literals may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literals {
    Sent,
    LeftOut,
}

impl Literals {
    pub(crate) fn of(include_statement: bool) -> Self {
        if include_statement { Self::Sent } else { Self::LeftOut }
    }

    /// How a text is sent.
    pub(crate) fn show(self, text: &str) -> Shown {
        match self {
            Self::Sent => Shown::Whole(text.to_owned()),
            Self::LeftOut => without_literals(text).map_or(Shown::Not, Shown::WithoutLiterals),
        }
    }
}
