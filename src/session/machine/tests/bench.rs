//! Plays a script.
//!
//! A line of a script is one of
//! `> …` the client sends; `^ …` the upstream gets exactly this; `v …` the upstream answers; `< …` the client gets exactly
//! this; `! …` something else happens; `= …` the core asks for exactly this; `~` what the client got is looked at with the
//! next `<`. What is not expected before the next line that puts something in, fails the script.

use std::sync::Arc;

use bytes::BytesMut;
use countersign_policy::rule::Mode;
use countersign_policy::verdict::Rows;
use jiff::SignedDuration;

use super::super::Machine;
use super::edited::{SAFER, edit};
use super::notation::{backend, frontend, heard, sent};
pub use super::scenery::{Setting, catalog};
use super::scenery::{agreed, for_two_rows, identity, met, surroundings};
use crate::review::{AccessRequest, Decision, Outcome, RequestId, State};
use crate::session::words::{BeginRefused, Command, Event, Looked, Opening, Stake, Surroundings};

/// How the bytes of both sides arrive.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// Line by line.
    Whole,
    /// One by one.
    Bytes,
    /// Line by line, except that one line is cut: the one which holds this byte, counted over the whole script.
    CutAt(usize),
}

/// Plays a script in [`Setting::Plain`].
#[track_caller]
pub fn check(script: &str) {
    check_in(Setting::Plain, script);
}

/// Plays a script with every split, and byte by byte.
#[track_caller]
pub fn check_in(setting: Setting, script: &str) {
    let total = play(setting, script, Arrival::Whole);
    play(setting, script, Arrival::Bytes);
    for at in 1..total {
        play(setting, script, Arrival::CutAt(at));
    }
}

/// Plays a script whose messages are too large to be split everywhere: whole, and cut in the middle.
#[track_caller]
pub fn check_large(setting: Setting, script: &str) {
    let total = play(setting, script, Arrival::Whole);
    play(setting, script, Arrival::CutAt(total / 2));
}

/// Plays a script once, whole: its texts are known afterwards.
#[track_caller]
pub fn check_unknown(setting: Setting, script: &str) {
    play(setting, script, Arrival::Whole);
}

/// Plays it once; yields how many bytes both sides sent.
#[track_caller]
fn play(setting: Setting, script: &str, arrival: Arrival) -> usize {
    let mut stage = Stage::new(setting);
    let mut offset = 0;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
        stage.line = format!("{line} ({arrival:?})");
        match kind {
            ">" => stage.client_sends(&arrival.chunks(&frontend(text), &mut offset)),
            "v" => stage.upstream_sends(&arrival.chunks(&backend(text), &mut offset)),
            "!" => stage.happens(text),
            "^" => stage.upstream_gets(text),
            "<" => stage.client_gets(text),
            "=" => stage.asks(text),
            "~" => stage.kept.append(&mut stage.to_client),
            other => panic!("unknown kind of line: {other}"),
        }
    }
    stage.expects_nothing_more();
    offset
}

impl Arrival {
    fn chunks(self, bytes: &[u8], offset: &mut usize) -> Vec<Vec<u8>> {
        let begin = *offset;
        *offset += bytes.len();
        match self {
            Self::Whole => vec![bytes.to_vec()],
            Self::Bytes => bytes.iter().map(|byte| vec![*byte]).collect(),
            Self::CutAt(at) if at > begin && at < *offset => {
                let (one, two) = bytes.split_at(at - begin);
                vec![one.to_vec(), two.to_vec()]
            }
            Self::CutAt(_) => vec![bytes.to_vec()],
        }
    }
}

/// A core and what it has put out.
pub struct Stage {
    pub machine: Machine,
    pub around: Surroundings,
    pub to_client: Vec<u8>,
    kept: Vec<u8>,
    pub to_upstream: Vec<u8>,
    pub asked: Vec<String>,
    opening: Option<u64>,
    pub request: RequestId,
    line: String,
}

impl Stage {
    pub fn new(setting: Setting) -> Self {
        let around = surroundings(setting);
        let mut machine = Machine::new(identity(), BytesMut::new(), BytesMut::new());
        if setting != Setting::Fresh {
            let row = backend(r#"D shop ["pg_catalog","public"]"#);
            machine.names.learn(&row[5..]).unwrap();
        }
        machine.advance(&around);
        Self {
            machine,
            around,
            to_client: Vec::new(),
            kept: Vec::new(),
            to_upstream: Vec::new(),
            asked: Vec::new(),
            opening: None,
            request: RequestId(ulid::Ulid::new()),
            line: String::new(),
        }
    }

    #[track_caller]
    fn client_sends(&mut self, chunks: &[Vec<u8>]) {
        self.expects_nothing_more();
        for chunk in chunks {
            self.machine.client_input().extend_from_slice(chunk);
            self.machine.advance(&self.around);
            self.collect();
        }
    }

    #[track_caller]
    fn upstream_sends(&mut self, chunks: &[Vec<u8>]) {
        self.expects_nothing_more();
        for chunk in chunks {
            self.machine.upstream_input().extend_from_slice(chunk);
            self.machine.advance(&self.around);
            self.collect();
        }
    }

    pub fn collect(&mut self) {
        self.to_client.extend_from_slice(&self.machine.client_output().split());
        self.to_upstream.extend_from_slice(&self.machine.upstream_output().split());
        while let Some(command) = self.machine.next_command() {
            let asked = match command {
                // Rows tell as much.
                Command::CountMasked(_) | Command::Ran(_) => continue,
                Command::Record(judged) => judged.verdict.to_owned(),
                Command::Open(number, judged) => {
                    self.opening = Some(number);
                    let open = match self.machine.request_to_open(number, &self.around) {
                        None => "Open(withdrawn)",
                        Some(request) if request.mode == Mode::Resubmit => "Open(resubmit)",
                        Some(_) => "Open",
                    };
                    format!("{} {open}", judged.verdict)
                }
                Command::Withdraw(_) => "Withdraw".to_owned(),
                Command::LeaveOpen(_) => "LeaveOpen".to_owned(),
                Command::Begin(_) => "Begin".to_owned(),
                Command::Revoke(_) => "Revoke".to_owned(),
                Command::Rebind(..) => "Rebind".to_owned(),
                Command::Finish(finished) => match finished.outcome {
                    Outcome::Executed(tag) => format!("Executed({tag})"),
                    Outcome::Failed(sqlstate) => format!("Failed({sqlstate})"),
                    Outcome::Unknown => "Unknown".to_owned(),
                },
                Command::Estimate(question) => format!("Estimate({})", question.values.len()),
                Command::Look(Stake::Verdict, _) => "Look".to_owned(),
                Command::Look(Stake::Rows, _) => "LookForRows".to_owned(),
                Command::RefreshCatalog => "Refresh".to_owned(),
                Command::CancelUpstream => "CancelUpstream".to_owned(),
                Command::ShutUpstream => "Shut".to_owned(),
                Command::GiveBack => "GiveBack".to_owned(),
                Command::Close => "Close".to_owned(),
            };
            self.asked.push(asked);
        }
    }

    #[track_caller]
    fn happens(&mut self, what: &str) {
        self.expects_nothing_more();
        if what == "room" {
            assert!(self.machine.interrupted().is_some(), "nothing waits for room: {}", self.line);
            self.machine.advance(&self.around);
            return self.collect();
        }
        self.cause(what);
    }

    /// Lets an event happen and collects what follows from it.
    #[track_caller]
    pub fn cause(&mut self, what: &str) {
        let event = match what {
            "opened" => self.opened(|stage| Some(Opening::Waiting(Box::new(stage.request()), None))),
            "not opened" => self.opened(|_| None),
            "resubmit" => self.opened(|stage| Some(Opening::Resubmit(Box::new(stage.request()), None))),
            "unjustified" => self.opened(|_| Some(Opening::Unjustified)),
            "ticket" => self.opened(|stage| Some(Opening::Ready(stage.request, agreed(None)))),
            "changed ticket" => self.opened(|stage| Some(Opening::Ready(stage.request, agreed(edit(SAFER))))),
            "approved" => Event::Decided(self.request, Decision::Approved(agreed(None))),
            "changed" => Event::Decided(self.request, Decision::Approved(agreed(edit(SAFER)))),
            "changed for the worse" => {
                Event::Decided(self.request, Decision::Approved(agreed(edit("DROP TABLE customers"))))
            }
            "approved for 2 rows" => Event::Decided(self.request, Decision::Approved(for_two_rows(None))),
            "changed for 2 rows" => Event::Decided(self.request, Decision::Approved(for_two_rows(edit(SAFER)))),
            "rejected" => {
                let (by, group, reason) = ("bob".to_owned(), "dba".to_owned(), "no".to_owned());
                Event::Decided(self.request, Decision::Rejected { by, group, reason })
            }
            "expired" => Event::Decided(self.request, Decision::Expired),
            "cancelled" => Event::Decided(self.request, Decision::Cancelled),
            "begun" => Event::Begun(self.request, Ok(())),
            "unusable" => Event::Begun(self.request, Err(BeginRefused::Unusable)),
            "unavailable" => Event::Begun(self.request, Err(BeginRefused::Unavailable)),
            "refreshed" => Event::CatalogRefreshed,
            "few rows" => Event::Estimated(Rows::Estimated(10)),
            "many rows" => Event::Estimated(Rows::Estimated(5000)),
            "no estimate" => Event::Estimated(Rows::Unavailable("there is none")),
            "same" => Event::Looked(Stake::Verdict, Looked::Same),
            "other" => {
                self.around.catalog = Arc::new(catalog(2));
                Event::Looked(Stake::Verdict, Looked::Changed)
            }
            "not seen" => Event::Looked(Stake::Verdict, Looked::Failed),
            "rows same" => Event::Looked(Stake::Rows, Looked::Same),
            "rows other" => Event::Looked(Stake::Rows, Looked::Changed),
            "rows not seen" => Event::Looked(Stake::Rows, Looked::Failed),
            "redefined" => {
                self.around.catalog = Arc::new(catalog(2));
                Event::CatalogRefreshed
            }
            "record failed" => Event::RecordFailed,
            "cancel" => Event::Cancel,
            "cancel sent" => Event::CancelSent,
            "minute" => {
                self.around.now += SignedDuration::from_secs(61);
                Event::Tick
            }
            "client ended" => Event::ClientEnded,
            "client closed" => Event::ClientClosed,
            "upstream closed" => Event::UpstreamClosed,
            "left open" => Event::LeftOpen(self.request, Some(Box::new(self.request()))),
            "not left open" => Event::LeftOpen(self.request, None),
            "pause" => Event::Paused(true),
            "resume" => Event::Paused(false),
            "drain" => Event::Drain,
            "drain soon" => Event::DrainSoon,
            "drain now" => Event::DrainNow,
            other => panic!("unknown event {other}"),
        };
        self.machine.on_event(event, &self.around);
        self.collect();
    }

    #[track_caller]
    fn opened(&mut self, opening: impl FnOnce(&Self) -> Option<Opening>) -> Event {
        let number = self.opening.take().expect("a request that is being opened");
        self.request = RequestId(ulid::Ulid::new());
        Event::Opened(number, opening(self))
    }

    fn request(&self) -> AccessRequest {
        AccessRequest {
            id: self.request,
            state: State::Pending,
            version: 1,
            user: "alice".to_owned(),
            groups: Vec::new(),
            database: "shop".to_owned(),
            client_address: String::new(),
            application: String::new(),
            statement: String::new(),
            parameters: Vec::new(),
            summary: "something".to_owned(),
            effects: Vec::new(),
            rules: Vec::new(),
            causes: Vec::new(),
            shape: String::new(),
            messages: Vec::new(),
            reviewers: met(),
            justification: None,
            justification_required: false,
            in_transaction: false,
            rows_counted: true,
            created_at: self.around.now,
            expires_at: self.around.now + SignedDuration::from_hours(1),
            decided_at: None,
            votes: Vec::new(),
            transitions: Vec::new(),
            outcome: None,
        }
    }

    #[track_caller]
    fn upstream_gets(&mut self, text: &str) {
        let wanted = frontend(text);
        let got = std::mem::take(&mut self.to_upstream);
        assert!(
            got == wanted,
            "at {}\nthe upstream got  {}\ninstead of        {}",
            self.line,
            sent(&got),
            sent(&wanted)
        );
    }

    #[track_caller]
    fn client_gets(&mut self, text: &str) {
        let mut got = std::mem::take(&mut self.kept);
        got.append(&mut self.to_client);
        let got = heard(&got);
        assert_eq!(got, text, "at {}: left is what the client got", self.line);
    }

    #[track_caller]
    fn asks(&mut self, text: &str) {
        let got = std::mem::take(&mut self.asked).join(" ");
        assert_eq!(got, text, "at {}: left is what the core asked for", self.line);
    }

    #[track_caller]
    fn expects_nothing_more(&mut self) {
        let line = &self.line;
        assert!(self.to_upstream.is_empty(), "before {line}\nthe upstream got {}", sent(&self.to_upstream));
        assert!(self.to_client.is_empty(), "before {line}\nthe client got {}", heard(&self.to_client));
        assert!(self.asked.is_empty(), "before {line}\nthe core asked for {:?}", self.asked);
    }
}
