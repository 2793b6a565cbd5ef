//! The message about an event.
//!
//! Never encodes a header or markup itself: `lettre` and the template do. Invariant: what is sent about one request or grant
//! is one thread: all of it has the same subject, and names the first message.

use std::time::SystemTime;

use askama::Template;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use crate::notify::event::{self, Literals, Story, Subject};
use crate::notify::words::{Cut, Tone, Words, cut};
use crate::review::State;
use crate::visible::line;

/// Characters of a subject.
const SUBJECT_MAX: usize = 200;
/// Says that nobody has written this, so that no program answers (RFC 3834, section 5).
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
/// To sort by.
const EVENT: HeaderName = HeaderName::new_from_ascii_str("X-Countersign-Event");
const GOES_ON: &str = "The statement goes on; the page has all of it.";

/// What is written about one event, to whoever.
pub(super) struct Letter {
    /// Id of the event, and of the first about the same.
    id: String,
    first: String,
    kind: String,
    subject: String,
    at: SystemTime,
    text: String,
    html: String,
}

#[derive(Template)]
#[template(path = "email.html")]
struct Page<'a> {
    words: &'a Words,
    colour: &'static str,
    goes_on: Option<&'static str>,
}

impl Letter {
    /// Of an event; `None` of one that is not written about.
    pub(super) fn of(story: &Story, literals: Literals, public_url: &str) -> Option<Self> {
        let (words, subject, first) = match &story.subject {
            Subject::Request(request, step) => {
                let state = step.state(request);
                // How that ends follows at once.
                if state == State::Executing {
                    return None;
                }
                let words = Words::of_request(request, (state, step), literals, public_url);
                let subject = subject("Access request", [&request.summary, &request.user, &request.database]);
                (words, subject, request.transitions.first().map(|first| (first.to.as_str(), first.at)))
            }
            Subject::Grant(grant, step) => {
                let words = Words::of_grant(grant, (step.state(), step), public_url);
                let subject = subject("Grant", [&grant.summary, &grant.user, &grant.database]);
                (words, subject, grant.transitions.first().map(|first| (first.to.as_str(), first.at)))
            }
            Subject::Config(_) => return None,
        };
        let first = first.map(|(what, at)| event::id(&story.event.subject, what, at));
        let goes_on = words.statement.as_ref().and_then(|(_, is_cut)| (*is_cut == Cut::Cut).then_some(GOES_ON));
        Some(Self {
            first: first.unwrap_or_else(|| story.id.clone()),
            id: story.id.clone(),
            kind: story.kind.clone(),
            subject,
            at: story.event.at.into(),
            text: text(&words, goes_on),
            html: Page { colour: colour(words.tone), goes_on, words: &words }.render().ok()?,
        })
    }

    /// The bytes for one recipient.
    ///
    /// # Errors
    /// When they make no message.
    pub(super) fn to(&self, from: &Mailbox, to: &Mailbox) -> Result<Vec<u8>, lettre::error::Error> {
        let name = |id: &str| format!("<{id}@{}>", from.email.domain());
        let is_first = self.first == self.id;
        let subject = if is_first { self.subject.clone() } else { format!("Re: {}", self.subject) };
        let mut message = Message::builder()
            .from(from.clone())
            .to(to.clone())
            .subject(subject)
            .date(self.at)
            .message_id(Some(name(&self.id)))
            .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
            .raw_header(HeaderValue::new(EVENT, self.kind.clone()));
        if !is_first {
            message = message.in_reply_to(name(&self.first)).references(name(&self.first));
        }
        let parts = MultiPart::alternative_plain_html(self.text.clone(), self.html.clone());
        Ok(message.multipart(parts)?.formatted())
    }
}

/// What it is about: what, who, where; the same however it stands.
fn subject(about: &str, [what, who, database]: [&str; 3]) -> String {
    let words = format!("{about}: {}, {} on {}", line(what), line(who), line(database));
    cut(&words, SUBJECT_MAX).0
}

/// For readers without markup.
fn text(words: &Words, goes_on: Option<&str>) -> String {
    let mut paragraphs = vec![words.title.clone()];
    let facts: Vec<_> = words.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    paragraphs.push(facts.join("\n"));
    if let Some((statement, _)) = &words.statement {
        paragraphs.push(statement.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"));
    }
    paragraphs.extend(goes_on.or(words.not_shown).map(str::to_owned));
    if let Some((by, said)) = &words.written {
        paragraphs.push(if said.is_empty() { by.clone() } else { format!("{by}: {said}") });
    }
    paragraphs.push(words.url.clone());
    format!("{}\n", paragraphs.join("\n\n"))
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Waits => "#8a5300",
        Tone::Good => "#176b38",
        Tone::Bad => "#a3241c",
        Tone::Over => "#555555",
    }
}
