//! Parts of an access request ⇄ texts and numbers, the same in every store.
//!
//! Never hides damage: what cannot be read back is an error. Invariant: reading gives what was written.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use countersign_policy::rule::Mode;

use super::StoreError;
use crate::card::Card;
use crate::review::{
    AccessRequest, GrantId, GrantRecord, GrantState, Offer, Parameter, RequestId, State, Surface, Vote,
};

/// What the text of facts holds when a reason is required, and when there is none. No string in it can hold either, because
/// there every quote has a backslash before it.
pub(super) const JUSTIFICATION_REQUIRED: &str = "\"justification_required\":true";
pub(super) const NOT_JUSTIFIED: &str = "\"justification\":null";

/// What nobody searches by, as one JSON text.
#[derive(Serialize)]
struct FactsOut<'a> {
    groups: &'a [String],
    client_address: &'a str,
    application: &'a str,
    statement: &'a str,
    parameters: &'a [Parameter],
    summary: &'a str,
    effects: &'a [String],
    rules: &'a [String],
    causes: &'a [String],
    shape: &'a str,
    messages: &'a [String],
    justification: Option<&'a str>,
    justification_required: bool,
    in_transaction: bool,
    rows_counted: bool,
}

#[derive(Deserialize)]
struct FactsIn {
    groups: Vec<String>,
    client_address: String,
    application: String,
    statement: String,
    parameters: Vec<Parameter>,
    summary: String,
    effects: Vec<String>,
    rules: Vec<String>,
    #[serde(default)]
    causes: Vec<String>,
    #[serde(default)]
    shape: String,
    messages: Vec<String>,
    #[serde(default)]
    justification: Option<String>,
    #[serde(default)]
    justification_required: bool,
    in_transaction: bool,
    #[serde(default)]
    rows_counted: bool,
}

/// What nobody searches by.
pub(super) fn encode(request: &AccessRequest) -> Result<String, StoreError> {
    let facts = FactsOut {
        groups: &request.groups,
        client_address: &request.client_address,
        application: &request.application,
        statement: &request.statement,
        parameters: &request.parameters,
        summary: &request.summary,
        effects: &request.effects,
        rules: &request.rules,
        causes: &request.causes,
        shape: &request.shape,
        messages: &request.messages,
        justification: request.justification.as_deref(),
        justification_required: request.justification_required,
        in_transaction: request.in_transaction,
        rows_counted: request.rows_counted,
    };
    serde_json::to_string(&facts).map_err(|_error| StoreError::Invalid("request"))
}

/// The columns of a request as a store gives them back.
pub(super) struct Columns {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) version: u64,
    pub(super) requester: String,
    pub(super) database: String,
    /// Microseconds since 1970, as every time here.
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
    pub(super) decided_at: Option<i64>,
    pub(super) outcome: Option<String>,
    /// The reason that was given later.
    pub(super) justification: Option<String>,
}

impl Columns {
    /// The request; its demands, votes and transitions stand elsewhere.
    pub(super) fn with(self, facts: &str) -> Result<AccessRequest, StoreError> {
        let facts: FactsIn = serde_json::from_str(facts).map_err(|_error| StoreError::Invalid("request"))?;
        Ok(AccessRequest {
            id: id_from(&self.id)?,
            state: state_from(&self.state)?,
            version: self.version,
            user: self.requester,
            groups: facts.groups,
            database: self.database,
            client_address: facts.client_address,
            application: facts.application,
            statement: facts.statement,
            parameters: facts.parameters,
            summary: facts.summary,
            effects: facts.effects,
            rules: facts.rules,
            causes: facts.causes,
            shape: facts.shape,
            messages: facts.messages,
            reviewers: Vec::new(),
            justification: self.justification.or(facts.justification),
            justification_required: facts.justification_required,
            in_transaction: facts.in_transaction,
            rows_counted: facts.rows_counted,
            created_at: time_from(self.created_at)?,
            expires_at: time_from(self.expires_at)?,
            decided_at: self.decided_at.map(time_from).transpose()?,
            votes: Vec::new(),
            transitions: Vec::new(),
            outcome: self.outcome,
        })
    }
}

/// A card as one JSON text.
pub(super) fn encode_card(card: &Card) -> Result<String, StoreError> {
    serde_json::to_string(card).map_err(|_error| StoreError::Invalid("card"))
}

pub(super) fn card_from(text: &str) -> Result<Card, StoreError> {
    serde_json::from_str(text).map_err(|_error| StoreError::Invalid("card"))
}

/// Names of rules, to be counted by.
pub(super) fn encode_rules(request: &AccessRequest) -> Result<String, StoreError> {
    serde_json::to_string(&request.rules).map_err(|_error| StoreError::Invalid("request"))
}

/// What a voter offers, as one JSON text.
pub(super) fn encode_offer(vote: &Vote) -> Result<Option<String>, StoreError> {
    vote.offer.as_ref().map(serde_json::to_string).transpose().map_err(|_error| StoreError::Invalid("vote"))
}

pub(super) fn offer_from(text: Option<&str>) -> Result<Option<Offer>, StoreError> {
    text.map(serde_json::from_str).transpose().map_err(|_error| StoreError::Invalid("vote"))
}

/// A grant as one JSON text; nobody searches by more of it than stands beside it.
pub(super) fn encode_grant(grant: &GrantRecord) -> Result<String, StoreError> {
    serde_json::to_string(grant).map_err(|_error| StoreError::Invalid("grant"))
}

pub(super) fn grant_from(text: &str) -> Result<GrantRecord, StoreError> {
    serde_json::from_str(text).map_err(|_error| StoreError::Invalid("grant"))
}

pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Wait => "wait",
        Mode::Resubmit => "resubmit",
        Mode::Auto => "auto",
    }
}

pub(super) fn surface_name(surface: Surface) -> &'static str {
    match surface {
        Surface::Wire => "wire",
        Surface::Api => "api",
        Surface::Web => "web",
        Surface::Console => "console",
        Surface::Slack => "slack",
        Surface::Proxy => "proxy",
    }
}

pub(super) fn surface_from(name: &str) -> Result<Surface, StoreError> {
    [Surface::Wire, Surface::Api, Surface::Web, Surface::Console, Surface::Slack, Surface::Proxy]
        .into_iter()
        .find(|surface| surface_name(*surface) == name)
        .ok_or(StoreError::Invalid("surface"))
}

pub(super) fn state_from(name: &str) -> Result<State, StoreError> {
    name.parse().map_err(|_unknown| StoreError::Invalid("state"))
}

pub(super) fn time_from(microseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(microseconds).map_err(|_range| StoreError::Invalid("time"))
}

pub(super) fn grant_state_from(name: &str) -> Result<GrantState, StoreError> {
    name.parse().map_err(|_unknown| StoreError::Invalid("state"))
}

pub(super) fn grant_id_from(text: &str) -> Result<GrantId, StoreError> {
    ulid::Ulid::from_string(text).map(GrantId).map_err(|_invalid| StoreError::Invalid("grant id"))
}

pub(super) fn id_from(text: &str) -> Result<RequestId, StoreError> {
    ulid::Ulid::from_string(text).map(RequestId).map_err(|_invalid| StoreError::Invalid("request id"))
}
