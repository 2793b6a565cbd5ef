//! Requests as people see them in a terminal.
//!
//! Never prints a requester's text raw. Invariant: the statement is shown whole, effects before it.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::card;
use crate::cli::output::{Cell, Colour, Table, visible, visible_line};
use crate::review::{State, Vote};
use crate::web::RequestView;

/// A table of requests, or a sentence when there are none.
pub(super) fn list(requests: &[RequestView], colour: Colour) -> String {
    if requests.is_empty() {
        return "no requests\n".to_owned();
    }
    let mut table = Table::default();
    let heading = ["ID", "STATE", "USER", "DATABASE", "WHAT", "NEEDS", "LEFT"];
    table.push(heading.map(|text| Cell::new(text, 20).painted(|text| colour.dim(text))).into());
    for view in requests {
        let request = &view.request;
        table.push(vec![
            Cell::new(&request.id.to_string(), 26),
            Cell::new(request.state.as_str(), 10).painted(|text| paint(request.state, text, colour)),
            Cell::new(&request.user, 20),
            Cell::new(&request.database, 20),
            Cell::new(&request.summary, 48),
            Cell::new(&needs(view), 32),
            Cell::new(&view.seconds_left.map(duration).unwrap_or_default(), 12),
        ]);
    }
    table.to_string()
}

/// One line of `watch`.
pub(super) fn line(view: &RequestView, colour: Colour) -> String {
    let request = &view.request;
    let last = request.transitions.last();
    let at = last.map_or(request.created_at, |transition| transition.at);
    let at = request.votes.last().map_or(at, |vote| at.max(vote.at));
    let by = last.filter(|transition| transition.from.is_some()).map(|transition| format!("by {}", transition.by));
    let note = match request.state {
        State::Pending => format!("needs {}", needs(view)),
        _ => by.unwrap_or_default(),
    };
    format!(
        "{}  {}  {}  {}@{}  {}  {}\n",
        colour.dim(&at.strftime("%H:%M:%S").to_string()),
        paint(request.state, &format!("{:<9}", request.state), colour),
        request.id,
        visible_line(&request.user, colour),
        visible_line(&request.database, colour),
        visible_line(&request.summary, colour),
        visible_line(&note, colour),
    )
}

/// Everything about one request.
pub(crate) fn full(view: &RequestView, colour: Colour, width: Option<usize>) -> String {
    let request = &view.request;
    let mut out = String::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ok = writeln!(out, "{}  {value}", colour.dim(&format!("{name:<11}")));
        }
    };
    let line = |text: &str| visible_line(text, colour);
    let words = |words: &[String]| line(&words.join(", "));
    field("request", colour.bold(&request.id.to_string()));
    field("state", paint(request.state, request.state.as_str(), colour));
    field("effects", colour.bold(&words(&request.effects)));
    field("what", line(&request.summary));
    field("user", format!("{} ({})", line(&request.user), words(&request.groups)));
    field("database", line(&request.database));
    field("from", format!("{} {}", line(&request.client_address), line(&request.application)));
    field("rules", words(&request.rules));
    request.messages.iter().for_each(|message| field("note", line(message)));
    field("reason", line(request.justification.as_deref().unwrap_or_default()));
    if request.justification_required && request.justification.is_none() {
        field("reason", colour.yellow("required; its requester has given none yet"));
    }
    field(
        "transaction",
        if request.in_transaction { "inside an open transaction block".to_owned() } else { String::new() },
    );
    if let Some(details) = &view.details {
        card::tell(details, &request.reviewers, &mut field, colour);
    }
    field("made", time(request.created_at));
    let left = view.seconds_left.map(|left| format!("{} ({} left)", time(request.expires_at), duration(left)));
    field("expires", left.unwrap_or_default());
    field("needs", if request.state == State::Pending { line(&needs(view)) } else { String::new() });
    request.votes.iter().for_each(|vote| field("vote", line(&vote_text(vote))));
    for transition in request.transitions.iter().filter(|transition| transition.from.is_some()) {
        let reason = transition.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let text = format!("{} {} by {}{reason}", time(transition.at), transition.to, transition.by);
        field("became", line(&text));
    }
    for comment in view.details.iter().flat_map(|details| &details.comments) {
        field("comment", line(&format!("{} by {}: {}", time(comment.at), comment.by, comment.text)));
    }
    field("outcome", line(request.outcome.as_deref().unwrap_or_default()));
    field("link", line(&view.url));
    for (number, parameter) in request.parameters.iter().enumerate() {
        let value = parameter.value.as_deref().map_or_else(|| colour.dim("NULL"), |value| format!("'{}'", line(value)));
        field(&format!("${}", number + 1), format!("{value} ({})", line(&parameter.type_name)));
    }
    if let Some(card) = view.details.as_ref().and_then(|details| details.card.as_ref()) {
        out.push_str(&card::plan(card, colour, width));
    }
    let _ok = write!(out, "\n{}\n", visible(request.statement.trim_end(), colour));
    if let Some(edit) = request.edit() {
        let by = colour.bold(&format!("approved in its place, by {}:", visible_line(&edit.by, colour)));
        let _ok = write!(out, "\n{by}\n{}\n", visible(edit.statement.trim_end(), colour));
    }
    out
}

/// Groups and how many of each, with how many approvals are there.
pub(crate) fn needs(view: &RequestView) -> String {
    let request = &view.request;
    if request.state != State::Pending {
        return String::new();
    }
    let demands: Vec<_> = request
        .reviewers
        .iter()
        .map(|demand| match demand.approvals {
            0 | 1 => demand.group.clone(),
            people => format!("{people} of {}", demand.group),
        })
        .collect();
    let approvals = request.approvals().count();
    let so_far = if approvals > 0 { format!(" ({approvals} so far)") } else { String::new() };
    format!("{}{so_far}", demands.join(" and "))
}

pub(crate) fn vote_text(vote: &Vote) -> String {
    let verb = match (vote.approve, vote.forced) {
        (true, false) => "approved",
        (true, true) => "approved in everybody's place",
        (false, _) => "rejected",
    };
    let offer = vote.offer.map(|offer| format!(" for {}", duration(i64::try_from(offer.seconds).unwrap_or(i64::MAX))));
    let limit = vote.max_affected.map(|rows| format!(" for at most {rows} rows")).unwrap_or_default();
    let reason = vote.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let groups = vote.groups.join(", ");
    format!("{} {verb}{}{limit} by {} ({groups}){reason}", time(vote.at), offer.unwrap_or_default(), vote.by)
}

fn paint(state: State, text: &str, colour: Colour) -> String {
    match state {
        State::Pending | State::Executing => colour.yellow(text),
        State::Approved | State::Executed => colour.green(text),
        State::Rejected | State::Failed | State::Unknown | State::Revoked => colour.red(text),
        State::Expired | State::Cancelled => colour.dim(text),
    }
}

pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `59s`, `12m 5s`, `3h 7m`.
pub(crate) fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: i64, want: &str) {
        assert_eq!(duration(seconds), want);
    }

    #[test]
    fn time_left_is_short() {
        check(0, "0s");
        check(59, "59s");
        check(60, "1m 0s");
        check(3599, "59m 59s");
        check(3600, "1h 0m");
        check(90_000, "25h 0m");
    }
}
