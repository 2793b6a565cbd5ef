//! What the demo prints while it runs: one line per event.
//!
//! Never prints statements, parameters or values. Invariant: control characters of names that come from a client do not
//! reach the terminal.

use jiff::Timestamp;

use super::guide::{Paint, Tone};
use crate::live::LiveEvent;

/// The line for the event, without a newline, with the time of day in UTC.
#[must_use]
pub fn line(event: &LiveEvent, now: Timestamp, paint: Paint) -> String {
    let (tone, word, rest) = describe(event);
    let time = paint.text(Tone::Quiet, &now.strftime("%H:%M:%S").to_string());
    let visible: String = rest.chars().map(|shown| if shown.is_control() { '\u{fffd}' } else { shown }).collect();
    format!("{time}  {}  {visible}", paint.text(tone, &format!("{word:<8}")))
}

fn describe(event: &LiveEvent) -> (Tone, &'static str, String) {
    match event {
        LiveEvent::Held { id, user, summary, reviewers } => {
            (Tone::Waiting, "held", format!("{user}: {summary}, waits for {} ({id})", reviewers.join(" and ")))
        }
        LiveEvent::Denied { user, rule: Some(rule) } => (Tone::Bad, "denied", format!("{user}, by rule \"{rule}\"")),
        LiveEvent::Denied { user, rule: None } => (Tone::Bad, "denied", user.clone()),
        LiveEvent::Approved { id, by } => (Tone::Good, "approved", format!("{id} by {by}")),
        LiveEvent::Rejected { id, by } => (Tone::Bad, "rejected", format!("{id} by {by}")),
        LiveEvent::Closed { id, state } => (Tone::Quiet, "closed", format!("{id} {state}")),
        LiveEvent::Finished { id, outcome: Ok(tag) } => (Tone::Good, "ran", format!("{id}: {tag}")),
        LiveEvent::Finished { id, outcome: Err(sqlstate) } => {
            (Tone::Bad, "failed", format!("{id}: SQLSTATE {sqlstate}"))
        }
        LiveEvent::Masked { user, columns } => (Tone::Good, "masked", format!("{} for {user}", columns.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &LiveEvent, expected: &str) {
        assert_eq!(line(event, Timestamp::UNIX_EPOCH, Paint::Plain), format!("00:00:00  {expected}"));
    }

    #[test]
    fn one_line_per_event() {
        let (id, user) = ("01JD".to_owned(), "alice".to_owned());
        check(
            &LiveEvent::Held {
                id: id.clone(),
                user: user.clone(),
                summary: "update on public.orders".to_owned(),
                reviewers: vec!["dba-team".to_owned(), "security-team".to_owned()],
            },
            "held      alice: update on public.orders, waits for dba-team and security-team (01JD)",
        );
        check(&LiveEvent::Denied { user: user.clone(), rule: None }, "denied    alice");
        check(&LiveEvent::Approved { id: id.clone(), by: "bob".to_owned() }, "approved  01JD by bob");
        check(&LiveEvent::Finished { id: id.clone(), outcome: Ok("UPDATE 1".to_owned()) }, "ran       01JD: UPDATE 1");
        check(&LiveEvent::Closed { id, state: "expired".to_owned() }, "closed    01JD expired");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let event = LiveEvent::Masked { user: "\x1b]0;x\x07\n".to_owned(), columns: vec!["email".to_owned()] };
        let shown = line(&event, Timestamp::UNIX_EPOCH, Paint::Plain);
        assert!(!shown.contains(['\x1b', '\x07', '\n']), "{shown:?}");
    }
}
