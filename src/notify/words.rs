//! What people are told: the same facts in a card of Teams and in a message of Slack.
//!
//! Never formats for a target: what comes from requesters and reviewers is plain text here, with what deceives spelt out.
//! Invariant: every text is bounded.

use jiff::Timestamp;

use countersign_policy::verdict::ReviewerDemand;

use super::event::{GrantStep, Literals, Shown, Step};
use crate::config::PUBLIC;
use crate::duration::in_words;
use crate::review::{AccessRequest, GrantRecord, GrantState, State};
use crate::visible::{self, Piece, line};

/// Characters of a fact, of what people wrote, and of a statement.
const FACT_MAX: usize = 300;
const WRITTEN_MAX: usize = 1000;
pub(super) const STATEMENT_MAX: usize = 2500;

/// How something stands, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Waits,
    Good,
    Bad,
    Over,
}

/// What people are told.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// What it is about and how it stands: `Approval needed: delete on public.t`.
    pub(super) title: String,
    pub(super) tone: Tone,
    /// Names and values.
    pub(super) facts: Vec<(&'static str, String)>,
    /// The statement, and whether it was cut.
    pub(super) statement: Option<(String, Cut)>,
    /// What is said of the statement where it is not shown.
    pub(super) not_shown: Option<&'static str>,
    /// What somebody wrote, and who.
    pub(super) written: Option<(String, String)>,
    /// The page.
    pub(super) url: String,
}

/// Whether all of a text is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Whole,
    Cut,
}

impl Words {
    /// Of a request as it stands in that state; `step` is what has happened last.
    pub(super) fn of_request(
        request: &AccessRequest,
        (state, step): (State, &Step),
        literals: Literals,
        public_url: &str,
    ) -> Self {
        let (word, tone) = state_words(state);
        let mut facts = vec![
            ("Requester", person(&request.user, &request.groups)),
            ("Database", fact(&request.database)),
            ("Effects", fact(&request.effects.join(", "))),
            ("Rules", fact(&request.rules.join(", "))),
            ("Needs", fact(&needs(&request.reviewers))),
            ("Justification", fact(request.justification.as_deref().unwrap_or_default())),
        ];
        if state == State::Pending {
            facts.push(("Expires", time(request.expires_at)));
        }
        if matches!(state, State::Executed | State::Failed) {
            facts.push(("Outcome", fact(request.outcome.as_deref().unwrap_or_default())));
        }
        facts.retain(|(_, value)| !value.is_empty());
        let text = request.edit().map_or_else(|| request.statement.clone(), |edit| edit.statement);
        let (statement, not_shown) = match literals.show(&text) {
            Shown::Whole(text) | Shown::WithoutLiterals(text) => (Some(cut(&spelt(&text), STATEMENT_MAX)), None),
            Shown::Not => (None, Some("The statement is not shown here: its values cannot be told from the rest.")),
        };
        Self {
            title: format!("{}: {}", word, fact(&request.summary)),
            tone,
            facts,
            statement,
            not_shown,
            written: written(request, state, step),
            url: format!("{public_url}/requests/{}", request.id),
        }
    }

    /// Of a grant as it stands in that state.
    pub(super) fn of_grant(grant: &GrantRecord, (state, step): (GrantState, &GrantStep), public_url: &str) -> Self {
        let (word, tone) = match state {
            GrantState::Requested => ("Grant asked for", Tone::Waits),
            GrantState::Active => ("Grant in force", Tone::Good),
            GrantState::Ended => ("Grant is over", Tone::Over),
            GrantState::Revoked => ("Grant taken back", Tone::Bad),
            GrantState::Rejected => ("Grant rejected", Tone::Bad),
            GrantState::Expired => ("Nobody decided on grant", Tone::Over),
            GrantState::Cancelled => ("Grant no longer asked for", Tone::Over),
        };
        let mut facts = vec![
            ("For", fact(&grant.user)),
            ("Database", fact(&grant.database)),
            ("Time", in_words(std::time::Duration::from_secs(grant.seconds))),
            ("Needs", fact(&needs(&grant.reviewers))),
        ];
        if matches!(state, GrantState::Requested | GrantState::Active) {
            facts.push((if state == GrantState::Active { "Ends" } else { "Expires" }, time(grant.expires_at)));
        }
        facts.retain(|(_, value)| !value.is_empty());
        let (by, reason) = match step {
            GrantStep::Transition(step) => (&step.by, &step.reason),
            GrantStep::Vote(vote) => (&vote.by, &vote.reason),
        };
        Self {
            title: format!("{word}: {}", fact(&grant.summary)),
            tone,
            facts,
            statement: None,
            not_shown: None,
            written: reason.as_deref().map(|reason| (fact(by), cut(&line(reason), WRITTEN_MAX).0)),
            url: format!("{public_url}/grants"),
        }
    }

    /// On one line.
    pub(super) fn in_short(&self) -> String {
        let value = |name: &str| self.facts.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        let who = value("Requester").or(value("For")).unwrap_or_default();
        format!("{}, {who} on {}", self.title, value("Database").unwrap_or_default())
    }
}

fn state_words(state: State) -> (&'static str, Tone) {
    match state {
        State::Pending => ("Approval needed", Tone::Waits),
        State::Approved => ("Approved", Tone::Good),
        State::Executing => ("Approved, runs now", Tone::Good),
        State::Executed => ("Approved, has run", Tone::Good),
        State::Failed => ("Approved, has failed", Tone::Bad),
        State::Unknown => ("Approved, outcome unknown", Tone::Bad),
        State::Rejected => ("Rejected", Tone::Bad),
        State::Expired => ("Expired", Tone::Over),
        State::Cancelled => ("Withdrawn", Tone::Over),
        State::Revoked => ("Approval taken back", Tone::Bad),
    }
}

/// What the last who did something wrote, with who it was.
fn written(request: &AccessRequest, state: State, step: &Step) -> Option<(String, String)> {
    let said = |by: &str, text: &str| (fact(by), cut(&line(text), WRITTEN_MAX).0);
    match step {
        Step::Comment(comment) => Some(said(&format!("{} wrote", comment.by), &comment.text)),
        Step::Vote(vote) if state == State::Pending => {
            Some(said(&format!("{} approved", vote.by), vote.reason.as_deref().unwrap_or_default()))
        }
        Step::Vote(_) | Step::Transition(_) => {
            let decided = request.transitions.iter().rev().find(|one| {
                matches!(one.to, State::Approved | State::Rejected | State::Expired | State::Cancelled | State::Revoked)
            })?;
            let is_forced =
                request.votes.iter().any(|vote| vote.forced && vote.at == decided.at && vote.by == decided.by);
            let alone = if is_forced { " alone (break-glass)" } else { "" };
            let verb = format!("{}{alone}", decided.to.as_str().to_lowercase());
            Some(said(&format!("{verb} by {}", decided.by), decided.reason.as_deref().unwrap_or_default()))
        }
    }
}

fn person(name: &str, groups: &[String]) -> String {
    // Everybody is in that one.
    let groups: Vec<_> = groups.iter().map(String::as_str).filter(|group| *group != PUBLIC).collect();
    fact(&if groups.is_empty() { name.to_owned() } else { format!("{name} ({})", groups.join(", ")) })
}

fn needs(reviewers: &[ReviewerDemand]) -> String {
    let of = |demand: &ReviewerDemand| match demand.approvals {
        1 => demand.group.clone(),
        people => format!("{people} of {}", demand.group),
    };
    reviewers.iter().map(of).collect::<Vec<_>>().join(" and ")
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn fact(text: &str) -> String {
    cut(&line(text), FACT_MAX).0
}

/// A statement with what deceives spelt out, and its lines as they are.
fn spelt(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (_, piece) in visible::pieces(text) {
        match piece {
            Piece::Plain(c) => out.push(c),
            Piece::Hidden(c) => out.push_str(&visible::spelt(c)),
            Piece::Disguised(c) => {
                out.push(c);
                out.push_str(&visible::spelt(c));
            }
        }
    }
    out
}

/// At most so many characters.
pub(super) fn cut(text: &str, chars_max: usize) -> (String, Cut) {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => (format!("{}…", text.get(..end).unwrap_or_default()), Cut::Cut),
        None => (text.to_owned(), Cut::Whole),
    }
}
