//! What a webhook is sent.
//!
//! Never holds a literal of a statement, nor a parameter, unless the configuration says so for the target. Invariant:
//! `docs/webhook-event.schema.json` describes it, and is made from these types.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::event::{GrantStep, Literals, Shown, Step, Story, Subject};
use crate::review::schema::Demand;
use crate::review::{
    AccessRequest, Comment, GrantRecord, GrantScope, GrantState, GrantTransition, Parameter, State, Surface,
    Transition, Vote,
};
use countersign_policy::verdict::ReviewerDemand;

/// One event.
#[derive(Serialize, ToSchema)]
pub struct WebhookEvent {
    /// What has happened: `access_request.created`, `access_request.approved`, `grant.active`, `config.changed` …
    #[serde(rename = "type")]
    kind: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// What it is about, and what was done.
    data: EventData,
}

/// What an event is about; what does not concern it is absent.
#[derive(Default, Serialize, ToSchema)]
struct EventData {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<EventRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<EventGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<EventConfig>,
    /// The change of state of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<Transition>,
    /// The change of state of the grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_transition: Option<GrantTransition>,
    /// The vote: of a transition, the one that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    vote: Option<EventVote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<Comment>,
}

/// How a text of SQL is sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TextIs {
    /// Every byte of it.
    Whole,
    /// With `…` for each literal; white space and comments are one space.
    WithoutLiterals,
    /// Not at all: its literals cannot be told from the rest.
    LeftOut,
}

/// A text of SQL.
#[derive(Serialize, ToSchema)]
struct EventText {
    text: Option<String>,
    is: TextIs,
}

impl EventText {
    fn of(literals: Literals, text: &str) -> Self {
        match literals.show(text) {
            Shown::Whole(text) => Self { text: Some(text), is: TextIs::Whole },
            Shown::WithoutLiterals(text) => Self { text: Some(text), is: TextIs::WithoutLiterals },
            Shown::Not => Self { text: None, is: TextIs::LeftOut },
        }
    }
}

/// An access request.
#[derive(Serialize, ToSchema)]
struct EventRequest {
    id: String,
    /// The state that this event led to.
    state: State,
    /// Requester.
    user: String,
    groups: Vec<String>,
    database: String,
    client_address: String,
    application: String,
    /// One line for people.
    summary: String,
    statement: EventText,
    /// What a reviewer approved in its place.
    edited: Option<EventText>,
    /// Bound parameters; only with `include_statement`.
    parameters: Option<Vec<Parameter>>,
    effects: Vec<String>,
    rules: Vec<String>,
    /// Digest of its shape: the same for the same statement with other literals.
    shape: String,
    /// Who must approve.
    #[schema(value_type = Vec<Demand>)]
    reviewers: Vec<ReviewerDemand>,
    justification: Option<String>,
    /// Command tag or SQLSTATE, once it ran.
    outcome: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The page for people.
    url: String,
}

/// A grant.
#[derive(Serialize, ToSchema)]
struct EventGrant {
    id: String,
    /// The state that this event led to.
    state: GrantState,
    /// For whom.
    user: String,
    database: String,
    scope: GrantScope,
    /// For how long once it is ACTIVE, in seconds.
    seconds: u64,
    #[schema(value_type = Vec<Demand>)]
    reviewers: Vec<ReviewerDemand>,
    /// The access request whose approval it came with.
    request: Option<String>,
    summary: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The page for people.
    url: String,
}

/// The configuration in force.
#[derive(Serialize, ToSchema)]
struct EventConfig {
    /// Its revision, as the audit trail has it.
    revision: String,
}

/// A vote.
#[derive(Serialize, ToSchema)]
struct EventVote {
    by: String,
    groups: Vec<String>,
    approve: bool,
    /// Whether it stood in for everybody's: break-glass.
    forced: bool,
    reason: Option<String>,
    surface: Surface,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl WebhookEvent {
    /// What is sent of that.
    pub(super) fn of(story: &Story, literals: Literals, public_url: &str) -> Self {
        let data = match &story.subject {
            Subject::Request(request, step) => of_request(request, step, literals, public_url),
            Subject::Grant(grant, step) => of_grant(grant, step, public_url),
            Subject::Config(revision) => {
                EventData { config: Some(EventConfig { revision: revision.clone() }), ..EventData::default() }
            }
        };
        Self { kind: story.kind.clone(), timestamp: story.event.at, data }
    }
}

fn of_request(request: &AccessRequest, step: &Step, literals: Literals, public_url: &str) -> EventData {
    let parameters = match literals {
        Literals::Sent => Some(request.parameters.clone()),
        Literals::LeftOut => None,
    };
    let shown = EventRequest {
        id: request.id.to_string(),
        state: step.state(request),
        user: request.user.clone(),
        groups: request.groups.clone(),
        database: request.database.clone(),
        client_address: request.client_address.clone(),
        application: request.application.clone(),
        summary: request.summary.clone(),
        statement: EventText::of(literals, &request.statement),
        edited: request.edit().map(|edit| EventText::of(literals, &edit.statement)),
        parameters,
        effects: request.effects.clone(),
        rules: request.rules.clone(),
        shape: request.shape.clone(),
        reviewers: request.reviewers.clone(),
        justification: request.justification.clone(),
        outcome: request.outcome.clone().filter(|_| has_run(step.state(request))),
        created_at: request.created_at,
        expires_at: request.expires_at,
        url: format!("{public_url}/requests/{}", request.id),
    };
    let data = EventData { request: Some(shown), ..EventData::default() };
    match step {
        Step::Transition(transition) => {
            let vote = step.vote(request).map(EventVote::of);
            EventData { transition: Some(transition.clone()), vote, ..data }
        }
        Step::Vote(vote) => EventData { vote: Some(EventVote::of(vote)), ..data },
        Step::Comment(comment) => EventData { comment: Some(comment.clone()), ..data },
    }
}

/// Whether its outcome is known by then.
fn has_run(state: State) -> bool {
    matches!(state, State::Executed | State::Failed)
}

fn of_grant(grant: &GrantRecord, step: &GrantStep, public_url: &str) -> EventData {
    let shown = EventGrant {
        id: grant.id.to_string(),
        state: step.state(),
        user: grant.user.clone(),
        database: grant.database.clone(),
        scope: grant.scope.clone(),
        seconds: grant.seconds,
        reviewers: grant.reviewers.clone(),
        request: grant.request.map(|id| id.to_string()),
        summary: grant.summary.clone(),
        expires_at: grant.expires_at,
        url: format!("{public_url}/grants"),
    };
    let data = EventData { grant: Some(shown), ..EventData::default() };
    match step {
        GrantStep::Transition(step) => EventData { grant_transition: Some(step.clone()), ..data },
        GrantStep::Vote(vote) => EventData { vote: Some(EventVote::of(vote)), ..data },
    }
}

impl EventVote {
    fn of(vote: &Vote) -> Self {
        let Vote { by, groups, approve, forced, reason, surface, at, .. } = vote.clone();
        Self { by, groups, approve, forced, reason, surface, at }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use utoipa::PartialSchema;

    use super::*;

    /// The JSON Schema of an event.
    fn schema() -> String {
        let mut with = vec![(WebhookEvent::name().into_owned(), WebhookEvent::schema())];
        WebhookEvent::schemas(&mut with);
        let all: Map<String, Value> =
            with.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap())).collect();
        let document = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "What a webhook of Countersign is sent",
            "$ref": "#/$defs/WebhookEvent",
            "$defs": all,
        });
        let text = serde_json::to_string_pretty(&document).unwrap();
        text.replace("#/components/schemas/", "#/$defs/") + "\n"
    }

    #[test]
    fn the_committed_schema_is_that_of_the_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/webhook-event.schema.json");
        if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == schema(), "write it anew: COUNTERSIGN_WRITE_DOCS=1 cargo test --lib committed");
        let document: Value = serde_json::from_str(&committed).unwrap();
        for reference in committed.split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
