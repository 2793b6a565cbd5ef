//! A request as a person reads it.
//!
//! Never shows what a requester wrote without spelling out what could deceive. Invariant: it is made from the record alone.

use jiff::Timestamp;

use super::diff::{self, DiffLine};
use super::sql::{self, Line};
use crate::duration::in_words;
use crate::review::{AccessRequest, GrantState, State, Vote};
use crate::visible;

/// Longest statement that is shown whole, in bytes.
pub(super) const STATEMENT_MAX: usize = 1 << 20;
/// Lines of a statement in a list.
const LINES_IN_LIST: usize = 2;
/// Seconds left below which time presses.
const HURRY_S: i64 = 300;

/// A state and how good it is.
pub(super) struct StateShown {
    pub(super) word: String,
    pub(super) tone: &'static str,
}

/// An effect and how much it can harm.
pub(super) struct EffectShown {
    pub(super) word: String,
    pub(super) tone: &'static str,
}

/// What lists show.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) state: StateShown,
    pub(super) effects: Vec<EffectShown>,
    pub(super) summary: String,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) age: String,
    pub(super) needs: String,
    pub(super) left: Option<String>,
    /// When that is over, in seconds since 1970.
    pub(super) until: i64,
    pub(super) hurry: bool,
    pub(super) justification: Option<String>,
    pub(super) lines: Vec<Line>,
}

impl Item {
    pub(super) fn of(request: &AccessRequest, now: Timestamp) -> Self {
        let left = time_left(request, now);
        Self {
            id: request.id.to_string(),
            state: state(request.state),
            effects: by_harm(request.effects.iter().map(|name| effect(name)).collect()),
            summary: sql::line(&request.summary),
            user: sql::line(&request.user),
            database: sql::line(&request.database),
            age: age(request.created_at, now),
            needs: needs(request),
            left: left.map(seconds),
            until: request.expires_at.as_second(),
            hurry: left.is_some_and(|left| left < HURRY_S),
            justification: request.justification.as_deref().map(sql::line),
            lines: sql::first_lines(&request.approved_text(), LINES_IN_LIST),
        }
    }
}

/// What the page of one request shows besides that.
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) state: StateShown,
    pub(super) effects: Vec<EffectShown>,
    pub(super) summary: String,
    pub(super) user: String,
    pub(super) groups: String,
    pub(super) database: String,
    pub(super) age: String,
    pub(super) needs: String,
    pub(super) left: Option<String>,
    /// When that is over, in seconds since 1970.
    pub(super) until: i64,
    pub(super) hurry: bool,
    pub(super) justification: Option<String>,
    pub(super) lines: Vec<Line>,
    pub(super) hidden: bool,
    pub(super) edit: Option<EditShown>,
    pub(super) parameters: Vec<ParameterShown>,
    pub(super) rules: String,
    pub(super) messages: Vec<String>,
    pub(super) from: String,
    pub(super) in_transaction: bool,
    pub(super) outcome: Option<String>,
    pub(super) story: Vec<Event>,
}

pub(super) struct EditShown {
    pub(super) by: String,
    pub(super) diff: Vec<DiffLine>,
}

pub(super) struct ParameterShown {
    pub(super) kind: String,
    pub(super) value: Option<String>,
}

/// Something that happened to it.
pub(super) struct Event {
    pub(super) at: String,
    pub(super) text: String,
    pub(super) reason: Option<String>,
    pub(super) tone: &'static str,
    order: Timestamp,
}

impl Shown {
    pub(super) fn of(request: &AccessRequest, now: Timestamp) -> Self {
        let Item { id, state, effects, summary, user, database, age, needs, left, until, hurry, justification, .. } =
            Item::of(request, now);
        let edit = request.edit();
        let hidden = sql::is_deceptive(&request.statement)
            || edit.as_ref().is_some_and(|edit| sql::is_deceptive(&edit.statement));
        let edit = edit
            .map(|edit| EditShown { by: sql::line(&edit.by), diff: diff::diff(&request.statement, &edit.statement) });
        let parameters = request.parameters.iter().map(|parameter| ParameterShown {
            kind: sql::line(&parameter.type_name),
            value: parameter.value.as_deref().map(sql::line),
        });
        let application = match request.application.as_str() {
            "" => String::new(),
            application => format!(", {}", sql::line(application)),
        };
        Self {
            groups: sql::line(&request.groups.join(", ")),
            lines: sql::lines(visible::head(&request.statement, STATEMENT_MAX)),
            hidden,
            edit,
            parameters: parameters.collect(),
            rules: sql::line(&request.rules.join(", ")),
            messages: request.messages.iter().map(|message| sql::line(message)).collect(),
            from: format!("{}{application}", request.client_address),
            in_transaction: request.in_transaction && matches!(request.state, State::Pending | State::Approved),
            outcome: request.outcome.as_deref().map(sql::line),
            story: story(request),
            id,
            state,
            effects,
            summary,
            user,
            database,
            age,
            needs,
            left,
            until,
            hurry,
            justification,
        }
    }
}

/// A state of a request.
pub(super) fn state(state: State) -> StateShown {
    let (word, tone) = match state {
        State::Pending => ("Waiting", "waits"),
        State::Approved => ("Approved", "good"),
        State::Executing => ("Running", "waits"),
        State::Executed => ("Executed", "good"),
        State::Failed => ("Failed", "bad"),
        State::Unknown => ("Unknown", "bad"),
        State::Rejected => ("Rejected", "bad"),
        State::Expired => ("Expired", "over"),
        State::Cancelled => ("Withdrawn", "over"),
        State::Revoked => ("Revoked", "bad"),
    };
    StateShown { word: word.to_owned(), tone }
}

/// A state of a grant.
pub(super) fn grant_state(state: GrantState) -> StateShown {
    let (word, tone) = match state {
        GrantState::Requested => ("Asked for", "waits"),
        GrantState::Active => ("In force", "good"),
        GrantState::Ended => ("Ended", "over"),
        GrantState::Revoked => ("Revoked", "bad"),
        GrantState::Rejected => ("Rejected", "bad"),
        GrantState::Expired => ("Expired", "over"),
        GrantState::Cancelled => ("Withdrawn", "over"),
    };
    StateShown { word: word.to_owned(), tone }
}

/// The most harmful first.
pub(super) fn by_harm(mut effects: Vec<EffectShown>) -> Vec<EffectShown> {
    effects.sort_by_key(|effect| match effect.tone {
        "harms" => 0,
        "writes" => 1,
        _ => 2,
    });
    effects
}

/// An effect by its documented name.
pub(super) fn effect(name: &str) -> EffectShown {
    let tone = match name {
        "select" | "show" | "explain" | "transaction" | "cursor" | "listen" | "set" | "reset" | "prepare"
        | "deallocate" | "discard" | "comment" | "copy_out" | "notify" => "reads",
        "delete" | "truncate" | "drop" | "copy_program" | "copy_file" | "grant" | "revoke" | "set_role"
        | "set_dangerous" | "security_label" | "unknown" => "harms",
        _ => "writes",
    };
    EffectShown { word: name.replace('_', " "), tone }
}

fn story(request: &AccessRequest) -> Vec<Event> {
    let reason = |reason: &Option<String>| reason.as_deref().map(sql::line);
    let votes = request.votes.iter().map(|vote| Event {
        at: time(vote.at),
        text: vote_text(vote),
        reason: reason(&vote.reason),
        tone: if vote.approve { "good" } else { "bad" },
        order: vote.at,
    });
    // A rejection is a vote already, and the first transition is the request.
    let moved = request.transitions.iter().filter(|transition| transition.to != State::Rejected);
    let transitions = moved.map(|transition| {
        let by = sql::line(&transition.by);
        let text = match (transition.from, transition.by.as_str()) {
            (None, _) => format!("{by} asked"),
            (_, "proxy") => state(transition.to).word,
            (_, _) if transition.to == State::Approved => "Approved".to_owned(),
            (_, _) => format!("{} by {by}", state(transition.to).word),
        };
        let told = transition.from.is_some() && transition.to != State::Approved;
        Event {
            at: time(transition.at),
            text,
            reason: if told { reason(&transition.reason) } else { None },
            tone: state(transition.to).tone,
            order: transition.at,
        }
    });
    let mut story: Vec<Event> = votes.chain(transitions).collect();
    story.sort_by_key(|event| event.order);
    story
}

fn vote_text(vote: &Vote) -> String {
    let groups = sql::line(&vote.groups.join(", "));
    let verb = match (vote.approve, vote.forced, vote.edited.is_some()) {
        (false, _, _) => "rejected",
        (true, true, _) => "approved in everybody's place",
        (true, false, true) => "approved with changes",
        (true, false, false) => "approved",
    };
    let offer = vote.offer.map(|offer| format!(" for {}", in_words(std::time::Duration::from_secs(offer.seconds))));
    let limit = vote.max_affected.map(|rows| format!(", at most {rows} rows"));
    format!("{} ({groups}) {verb}{}{}", sql::line(&vote.by), offer.unwrap_or_default(), limit.unwrap_or_default())
}

/// Groups that are asked for, and who has approved so far.
fn needs(request: &AccessRequest) -> String {
    if request.state != State::Pending {
        return String::new();
    }
    let demand = |group: &str, approvals: u32| match approvals {
        0 | 1 => sql::line(group),
        people => format!("{people} of {}", sql::line(group)),
    };
    let demands: Vec<_> = request.reviewers.iter().map(|asked| demand(&asked.group, asked.approvals)).collect();
    let given: Vec<_> = request.approvals().map(|vote| sql::line(&vote.by)).collect();
    let so_far = if given.is_empty() { String::new() } else { format!("; approved so far: {}", given.join(", ")) };
    format!("{}{so_far}", demands.join(" and "))
}

fn time_left(request: &AccessRequest, now: Timestamp) -> Option<i64> {
    let waits = matches!(request.state, State::Pending | State::Approved);
    waits.then(|| now.duration_until(request.expires_at).as_secs().max(0))
}

/// `59 s`, `12 min`, `3 h 7 min`.
pub(super) fn seconds(count: i64) -> String {
    match count {
        ..60 => format!("{count} s"),
        60..3600 => format!("{} min", count / 60),
        _ => format!("{} h {} min", count / 3600, count % 3600 / 60),
    }
}

/// How long ago, or when.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    match at.duration_until(now).as_secs() {
        ..5 => "just now".to_owned(),
        past @ 5..86_400 => format!("{} ago", seconds(past)),
        _ => time(at),
    }
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
