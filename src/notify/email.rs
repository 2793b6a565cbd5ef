//! E-mail: a message for each event, to each who is to hear of it.
//!
//! Never decides, and takes no answer: who decides does so on the page. Invariant: what comes from people is encoded in the
//! message's headers and bodies, so that it can end neither, and an event has one Message-ID however often it is sent.

mod message;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use lettre::message::Mailbox;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use self::message::Letter;
use super::Tell;
use super::event::{GrantStep, Literals, Step, Story, Subject};
use super::http::{Outcome, PATIENCE};
use super::smtp::{Connection, SmtpError, Taken};
use crate::config::{EmailConfig, EmailTls, mailbox};
use crate::review::{GrantState, Review, State};
use crate::store::outbox::{Outbox, Posted};

/// The target's name.
pub(super) const EMAIL: &str = "email";
/// Connections at a time; servers take few from one address.
const CONNECTIONS_MAX: usize = 4;
/// How it is noted that a recipient's mail was taken.
const TAKEN: &str = "taken";
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// One server that takes mail.
pub(super) struct Email {
    config: EmailConfig,
    /// `None` when mail goes in plaintext, or no root certificate can be used.
    tls: Option<TlsConnector>,
    review: Arc<Review>,
    outbox: Arc<dyn Outbox>,
    literals: Literals,
    public_url: String,
    connections: Semaphore,
}

/// What became of the recipients of one event.
#[derive(Debug, Default)]
struct Tally {
    taken: usize,
    never: Option<u16>,
    later: Option<u16>,
}

impl Email {
    pub(super) fn new(config: &EmailConfig, review: &Arc<Review>, outbox: &Arc<dyn Outbox>, public_url: &str) -> Self {
        Self {
            config: config.clone(),
            tls: (config.tls != EmailTls::None)
                .then(|| crate::tls::strict_connector(config.ca.as_deref()).ok())
                .flatten(),
            review: Arc::clone(review),
            outbox: Arc::clone(outbox),
            literals: Literals::of(config.include_statement),
            public_url: public_url.to_owned(),
            connections: Semaphore::new(CONNECTIONS_MAX),
        }
    }

    async fn send(&self, story: &Story, now: Timestamp) -> Outcome {
        let Some(letter) = Letter::of(story, self.literals, &self.public_url) else {
            return Outcome::delivered("not told here");
        };
        let recipients = self.recipients(story);
        if recipients.is_empty() {
            return Outcome::delivered("nobody to write to");
        }
        let subject = story.event.subject.clone();
        let Ok(posted) = self.outbox.posted(EMAIL.to_owned(), subject.clone()).await else {
            return Outcome::again("the store did not answer");
        };
        let place = |to: &Mailbox| format!("{} {}", story.id, to.email);
        let known = |to: &Mailbox| posted.iter().find(|one| one.place == place(to));
        let left: Vec<_> = recipients.iter().filter(|to| known(to).is_none()).collect();
        let mut tally = Tally::default();
        for settled in recipients.iter().filter_map(known) {
            tally.add(settled.reference.parse().map_or(Taken::Yes, Taken::Never));
        }
        // Nobody closes it.
        let Ok(_permit) = self.connections.acquire().await else { return Outcome::again("the proxy ends") };
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return Outcome::again(error.to_string()),
        };
        for to in &left {
            let bytes = match letter.to(&self.config.from, to) {
                Ok(bytes) => bytes,
                Err(_error) => return Outcome::refused("cannot be written as mail"),
            };
            let handed = connection.hand_over(&self.config.from.email, &to.email, &bytes);
            let taken = match tokio::time::timeout(PATIENCE, handed).await {
                Ok(Ok(taken)) => taken,
                Ok(Err(error)) => return Outcome::again(error.to_string()),
                Err(_elapsed) => return Outcome::again("no answer in time"),
            };
            tally.add(taken);
            // Who has it is not written to again because another has not; one alone is known by the delivery.
            let reference = match taken {
                Taken::Yes => Some(TAKEN.to_owned()),
                Taken::Never(code) => Some(code.to_string()),
                Taken::Later(_) => None,
            };
            if let Some(reference) = reference.filter(|_| recipients.len() > 1) {
                let posted = Posted { place: place(to), reference };
                let noted = self.outbox.note_posted(EMAIL.to_owned(), subject.clone(), posted, now).await;
                if noted.is_err() {
                    return Outcome::again("the store did not answer");
                }
            }
        }
        drop(tokio::time::timeout(FAREWELL, connection.quit()).await);
        tally.outcome(recipients.len())
    }

    async fn connect(&self) -> Result<Connection, SmtpError> {
        let opened = tokio::time::timeout(PATIENCE, Connection::open(&self.config, self.tls.as_ref())).await;
        opened.unwrap_or_else(|_elapsed| Err(SmtpError::Setup("no answer in time")))
    }

    /// Who is written to about an event, each address once.
    fn recipients(&self, story: &Story) -> Vec<Mailbox> {
        let mut all = self.config.to.clone();
        if self.config.people {
            let config = self.review.config();
            let concerned = config.users.iter().filter(|user| self.is_concerned(story, &user.name));
            // One whose address cannot be written to is left out; the file says what it is.
            all.extend(concerned.filter_map(|user| mailbox(user.email.as_deref()?)));
        }
        let mut once: Vec<Mailbox> = Vec::new();
        for one in all {
            let same = |other: &Mailbox| {
                let (this, other): (&str, &str) = (one.email.as_ref(), other.email.as_ref());
                this.eq_ignore_ascii_case(other)
            };
            if !once.iter().any(same) {
                once.push(one);
            }
        }
        once
    }

    /// Whether an event is for that person: for who is asked until it is decided, and for who asked what others have done.
    fn is_concerned(&self, story: &Story, name: &str) -> bool {
        match &story.subject {
            Subject::Request(request, step) => {
                let by = match step {
                    Step::Transition(step) => &step.by,
                    Step::Vote(vote) => &vote.by,
                    Step::Comment(comment) => &comment.by,
                };
                let is_theirs = match request.user == name {
                    true => is_for_requester(step),
                    false => {
                        is_for_reviewers(step) && self.review.is_asked(&request.database, &request.reviewers, name)
                    }
                };
                by != name && is_theirs
            }
            Subject::Grant(grant, step) => {
                let (by, state) = match step {
                    GrantStep::Transition(step) => (&step.by, step.to),
                    GrantStep::Vote(vote) => (&vote.by, GrantState::Requested),
                };
                let is_theirs = match grant.user == name {
                    true => state != GrantState::Requested,
                    false => self.review.is_asked(&grant.database, &grant.reviewers, name),
                };
                by != name && is_theirs
            }
            Subject::Config(_) => false,
        }
    }
}

/// Whether who is asked to review hears of it: of what happens until it is decided.
fn is_for_reviewers(step: &Step) -> bool {
    match step {
        Step::Vote(_) | Step::Comment(_) => true,
        Step::Transition(step) => match step.to {
            State::Pending | State::Approved | State::Rejected | State::Expired | State::Cancelled => true,
            State::Revoked => true,
            State::Executing | State::Executed | State::Failed | State::Unknown => false,
        },
    }
}

/// Whether who asked hears of it: of what others do. How it ends they see themselves, if it does.
fn is_for_requester(step: &Step) -> bool {
    match step {
        Step::Comment(_) => true,
        Step::Vote(_) => false,
        Step::Transition(step) => match step.to {
            State::Approved | State::Rejected | State::Expired | State::Cancelled | State::Revoked => true,
            State::Unknown => true,
            State::Pending | State::Executing | State::Executed | State::Failed => false,
        },
    }
}

impl Tally {
    fn add(&mut self, taken: Taken) {
        match taken {
            Taken::Yes => self.taken += 1,
            Taken::Never(code) => self.never = Some(code),
            Taken::Later(code) => self.later = Some(code),
        }
    }

    fn outcome(&self, recipients: usize) -> Outcome {
        match (self.later, self.never) {
            (Some(code), _) => Outcome::again(code.to_string()),
            (None, Some(code)) if self.taken == 0 => Outcome::refused(code.to_string()),
            (None, Some(code)) => Outcome::delivered(format!("{} of {recipients} recipients; {code}", self.taken)),
            (None, None) => Outcome::delivered("ok"),
        }
    }
}

impl Tell for Email {
    fn tell<'a>(&'a self, story: &'a Story, now: Timestamp) -> BoxFuture<'a, Outcome> {
        Box::pin(self.send(story, now))
    }
}
