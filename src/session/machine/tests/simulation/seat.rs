//! One session: its client, its upstream, the core between them, and what the driver would do.
//!
//! Bytes move only when they are told to, as few as one at a time. Invariant: as in the driver, nothing reaches the core
//! while one of its commands waits.

use std::collections::VecDeque;

use bytes::BytesMut;
use jiff::Timestamp;

use super::super::super::Machine;
use super::super::notation::{frontend, heard, sent};
use super::super::upstream::{Executed, Postgres, statements};
use super::house::House;
use super::replies::{self, Extent};
use crate::audit::Record;
use crate::review::{Agreement, Execution, Opened, Outcome, RequestId, ReviewError, Wait, Waiting};
use crate::session::parked::Gate;
use crate::session::words::{BeginRefused, Command, Event, Finished, Identity, Judged, Opening, Surroundings};

/// Nothing here is large: what grows beyond this grows without bound.
const BUFFER_LEN_MAX: usize = 1 << 20;

/// In statements that people approve for no row, though they have one.
pub const TOO_MANY: &str = "'0'";

/// What the client's end of the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Open,
    /// It sends nothing more, and reads.
    Ended,
    Gone,
}

/// What became of one command.
pub enum Done {
    Nothing,
    Opened(RequestId),
    Begun(RequestId),
}

/// See the module documentation.
pub struct Seat {
    pub identity: Identity,
    pub machine: Machine,
    pub around: Surroundings,
    pub upstream: Postgres,
    pub client: Client,
    pub is_closed: bool,
    /// The statements whose runs have been recorded, each of a batch by itself.
    pub begun: Vec<String>,
    /// One of them was approved for any number of rows.
    is_unlimited: bool,
    /// How many requests were allowed and stand in the audit trail.
    allowed: usize,
    commands: VecDeque<Command>,
    waiting: Option<Wait>,
    to_proxy: BytesMut,
    from_upstream: BytesMut,
    sent: Vec<u8>,
    got: Vec<u8>,
    is_end_seen: bool,
    is_upstream_shut: bool,
    cancels_under_way: usize,
}

impl Seat {
    pub fn new(identity: Identity, around: Surroundings) -> Self {
        let mut machine = Machine::new(identity.clone(), BytesMut::new(), BytesMut::new());
        machine.advance(&around);
        Self {
            identity,
            machine,
            around,
            upstream: Postgres::new(),
            client: Client::Open,
            is_closed: false,
            begun: Vec::new(),
            is_unlimited: false,
            allowed: 0,
            commands: VecDeque::new(),
            waiting: None,
            to_proxy: BytesMut::new(),
            from_upstream: BytesMut::new(),
            sent: Vec::new(),
            got: Vec::new(),
            is_end_seen: false,
            is_upstream_shut: false,
            cancels_under_way: 0,
        }
    }

    pub fn send(&mut self, text: &str) {
        if self.client == Client::Open {
            let bytes = frontend(text);
            self.to_proxy.extend_from_slice(&bytes);
            self.sent.extend_from_slice(&bytes);
        }
    }

    fn collect(&mut self) {
        while let Some(command) = self.machine.next_command() {
            self.commands.push_back(command);
        }
        let machine = &mut self.machine;
        let kept = [machine.client_input().len(), machine.client_output().len(), machine.upstream_output().len()];
        assert!(kept.iter().all(|kept| *kept < BUFFER_LEN_MAX), "a buffer grows: {kept:?}");
    }

    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Lets an event happen; false when the core cannot be reached now.
    pub fn cause(&mut self, event: Event) -> bool {
        let reachable = !self.is_closed && self.commands.is_empty();
        if reachable {
            self.machine.on_event(event, &self.around);
            self.collect();
        }
        reachable
    }

    fn advance(&mut self) {
        self.machine.advance(&self.around);
        self.collect();
    }

    /// The proxy reads from the client. Yields whether anything happened, as all of these do.
    pub fn read_client(&mut self, length: usize) -> bool {
        if self.is_closed || !self.commands.is_empty() || !self.machine.wants_client() {
            return false;
        }
        if !self.to_proxy.is_empty() {
            let bytes = self.to_proxy.split_to(length.min(self.to_proxy.len()));
            self.machine.client_input().extend_from_slice(&bytes);
            self.advance();
            return true;
        }
        !self.is_end_seen && self.client != Client::Open && {
            self.is_end_seen = true;
            self.cause(Event::ClientEnded)
        }
    }

    /// The proxy writes to the upstream.
    pub fn write_upstream(&mut self, length: usize) -> bool {
        let out = self.machine.upstream_output();
        // Commands come before the bytes they belong to.
        if self.is_closed || !self.commands.is_empty() || out.is_empty() {
            return false;
        }
        let bytes = out.split_to(length.min(out.len()));
        self.upstream.send(&bytes);
        true
    }

    /// The upstream works off one message.
    pub fn run_upstream(&mut self) -> bool {
        let Some(reply) = self.upstream.step() else { return false };
        self.from_upstream.extend_from_slice(&reply);
        true
    }

    /// The proxy reads from the upstream.
    pub fn read_upstream(&mut self, length: usize) -> bool {
        if self.is_closed || !self.commands.is_empty() {
            return false;
        }
        if !self.from_upstream.is_empty() {
            let bytes = self.from_upstream.split_to(length.min(self.from_upstream.len()));
            self.machine.upstream_input().extend_from_slice(&bytes);
            self.advance();
            return true;
        }
        let is_read = self.is_upstream_shut && self.machine.upstream_output().is_empty();
        if is_read && let Some(reply) = self.upstream.step() {
            self.from_upstream.extend_from_slice(&reply);
            return true;
        }
        (is_read || self.upstream.closed) && self.cause(Event::UpstreamClosed)
    }

    /// The proxy writes to the client.
    pub fn write_client(&mut self, length: usize) -> bool {
        let out = self.machine.client_output();
        if self.is_closed || !self.commands.is_empty() || out.is_empty() {
            return false;
        }
        if self.client == Client::Gone {
            return self.cause(Event::ClientClosed);
        }
        let bytes = out.split_to(length.min(out.len()));
        self.got.extend_from_slice(&bytes);
        true
    }

    /// The decision that has come for the held request reaches the core.
    pub fn hear_decision(&mut self, house: &House) -> bool {
        if self.is_closed || !self.commands.is_empty() {
            return false;
        }
        let Some(mut waiting) = self.waiting.take() else { return false };
        let decision = house.wait(async {
            let now = std::future::ready(());
            tokio::select! {
                biased;
                decision = waiting.decision() => Some(decision),
                () = now => None,
            }
        });
        match decision {
            Some(_) if self.client != Client::Open => {
                self.waiting = Some(waiting);
                self.cause(Event::ClientEnded)
            }
            Some(decision) => self.cause(Event::Decided(waiting.id(), decision)),
            None => {
                self.waiting = Some(waiting);
                false
            }
        }
    }

    /// A CancelRequest of the proxy reaches the upstream, too late to cancel anything.
    pub fn deliver_cancel(&mut self) -> bool {
        self.cancels_under_way > 0 && self.cause(Event::CancelSent) && {
            self.cancels_under_way -= 1;
            true
        }
    }

    fn record(&mut self, judged: &Judged, house: &House, now: Timestamp) -> Option<Event> {
        let record = Record::Verdict {
            session: &self.identity.session,
            user: &self.identity.subject.user,
            database: &self.identity.subject.database,
            number: judged.number,
            statement: &judged.statement,
            parameters: &judged.parameters,
            digest: None,
            effects: judged.effects,
            verdict: judged.verdict,
            rules: &judged.rules,
            observed: &judged.observed,
            request: judged.access_request,
            not_opened: judged.not_opened,
            grant: judged.grant.as_deref(),
            unmasked_by: &judged.unmasked_by,
        };
        let written = house.audit.record(now, &record);
        if written.is_ok() && judged.verdict == "allow" {
            self.allowed += statements(&judged.statement).count();
        }
        written.err().map(|_| Event::RecordFailed)
    }

    /// Carries out the next command, as the driver does.
    pub fn carry_out(&mut self, house: &House, now: Timestamp) -> Option<Done> {
        let command = self.commands.pop_front()?;
        let review = &house.review;
        let event = match command {
            Command::Record(judged) => self.record(&judged, house, now),
            Command::Open(number, judged) => return Some(self.open(number, *judged, house, now)),
            Command::Begin(id) => return Some(self.begin(id, house, now)),
            Command::Rebind(id, binding) => {
                house.must(review.rebind(id, binding));
                None
            }
            Command::Withdraw(id) => {
                self.waiting = None;
                house.must(review.withdraw(id, now));
                None
            }
            Command::LeaveOpen(id) => {
                let left = house.wait(review.park(id, now)).ok().map(Box::new);
                if left.is_some() {
                    self.waiting = None;
                }
                Some(Event::LeftOpen(id, left))
            }
            Command::Revoke(id) => {
                let _ = house.wait(review.deny_after_approval(id, "denied by now".to_owned(), now));
                None
            }
            Command::Finish(finished) => {
                finish(*finished, house, now);
                None
            }
            Command::CountMasked(_) | Command::Ran(_) => None,
            Command::Estimate(_) => {
                Some(Event::Estimated(countersign_policy::verdict::Rows::Unavailable("nobody plans here")))
            }
            Command::Look(stake, _) => Some(Event::Looked(stake, crate::session::words::Looked::Same)),
            Command::RefreshCatalog => Some(Event::CatalogRefreshed),
            Command::CancelUpstream => {
                self.cancels_under_way += 1;
                None
            }
            Command::ShutUpstream => {
                self.is_upstream_shut = true;
                None
            }
            Command::GiveBack | Command::Close => {
                self.part();
                None
            }
        };
        self.answer(event);
        Some(Done::Nothing)
    }

    /// An answer overtakes the commands behind it, as in the driver.
    fn answer(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.machine.on_event(event, &self.around);
            self.collect();
        }
    }

    fn open(&mut self, number: u64, judged: Judged, house: &House, now: Timestamp) -> Done {
        let Some(request) = self.machine.request_to_open(number, &self.around) else {
            let failed = self.record(&judged.withdrawn(), house, now);
            self.answer(failed);
            return Done::Nothing;
        };
        let opening = house.must(house.review.open(*request, now)).map(|opened| self.opening(opened));
        let failed = self.record(&judged.opened(opening.as_ref()), house, now);
        self.answer(failed);
        let opened = opening.as_ref().and_then(|opening| opening.request().ok());
        self.answer(Some(Event::Opened(number, opening)));
        opened.map_or(Done::Nothing, Done::Opened)
    }

    fn opening(&mut self, opened: Opened) -> Opening {
        match opened {
            Opened::Unjustified => Opening::Unjustified,
            Opened::TooMany(limit) => Opening::TooMany(limit),
            Opened::Waiting(Waiting { request, wait }) => {
                self.waiting = Some(wait);
                Opening::Waiting(Box::new(request), None)
            }
            Opened::Ticket { id, agreement } => Opening::Ready(id, agreement),
            Opened::SelfApproved { id, met } => Opening::Ready(id, Agreement { met, ..Agreement::default() }),
            Opened::Resubmit(request) | Opened::Joined(request) => Opening::Resubmit(Box::new(request), None),
        }
    }

    fn begin(&mut self, id: RequestId, house: &House, now: Timestamp) -> Done {
        if let Err(error) = house.wait(house.review.begin_execution(id, now)) {
            let refused = match error {
                ReviewError::Audit(_) => BeginRefused::Unavailable,
                _ => BeginRefused::Unusable,
            };
            self.answer(Some(Event::Begun(id, Err(refused))));
            return Done::Nothing;
        }
        let request = house.wait(house.review.get(id)).unwrap();
        assert_eq!(request.user, self.identity.subject.user, "an approval of somebody else");
        self.is_unlimited |= !request.rows_counted;
        self.begun.extend(statements(&request.statement).map(str::to_owned));
        self.answer(Some(Event::Begun(id, Ok(()))));
        Done::Begun(id)
    }

    /// The session is over: what is in the buffers still goes out.
    fn part(&mut self) {
        let (to_upstream, to_client) = (self.machine.upstream_output().split(), self.machine.client_output().split());
        self.upstream.send(&to_upstream);
        if self.client != Client::Gone {
            self.got.extend_from_slice(&to_client);
        }
        self.stop();
    }

    /// The proxy was killed: of what it was writing, a part is out.
    pub fn die(&mut self, written: usize) {
        if self.commands.is_empty() {
            self.write_upstream(written);
        }
        self.stop();
    }

    fn stop(&mut self) {
        while self.upstream.step().is_some() {}
        self.is_closed = true;
    }

    /// Nothing was executed that was not approved, and the client was told nothing that PostgreSQL would not have told.
    pub fn check(&self, extent: Extent) {
        let executed = &self.upstream.executed;
        assert!(executed.len() <= self.allowed, "executed without a record: {}", self.story());
        let guarded: Vec<_> = executed.iter().filter(|done| super::is_guarded(&done.text, &done.schema)).collect();
        assert!(guarded.len() <= self.begun.len(), "executed {guarded:?}, approved {:?}", self.begun);
        for done in &guarded {
            let ran = guarded.iter().filter(|other| other.text == done.text).count();
            let approved = self.begun.iter().filter(|text| **text == done.text || names_another(text)).count();
            let begun = &self.begun;
            assert!(ran <= approved, "executed {ran} times: {}, approved {begun:?}\n{}", done.text, self.story());
        }
        // What was approved for fewer rows than it has is not there to stay. Nobody limits an admin, or what has a name.
        let is_named = self.begun.iter().any(|text| names_another(text));
        let is_limited = self.identity.subject.user != "ada" && !self.is_unlimited && !is_named;
        let is_too_much = |done: &Executed| super::is_guarded(&done.text, &done.schema) && done.text.contains(TOO_MANY);
        assert!(!is_limited || !self.upstream.committed.iter().any(is_too_much), "too much: {}", self.story());
        assert!(!executed.iter().any(|done| done.text.starts_with("DROP")), "a denied statement was executed");
        if let Err(lie) = replies::check(&self.sent, &self.got, extent) {
            panic!("{}: {lie}\n{}", self.identity.session, self.story());
        }
    }

    /// How often rows were taken back.
    pub fn taken_back(&self) -> usize {
        self.got.windows(7).filter(|bytes| bytes == b"C54000\0").count()
    }

    /// What was said, and where it stands.
    pub fn story(&self) -> String {
        let machine = &self.machine;
        let gate = match &machine.gate {
            Gate::Open => "open",
            Gate::Refreshing => "refreshing",
            Gate::Estimating(_) => "estimating",
            Gate::Looking => "looking",
            Gate::Opening(_) => "opening",
            Gate::Held(_) => "held",
            Gate::Approved(_) => "approved",
            Gate::Releasing(_) => "releasing",
            Gate::Leaving => "leaving",
            Gate::Closed => "closed",
        };
        format!(
            "the client ({:?}) sent {}\nand was told {}\nwaiting are {} commands, {} bytes to the proxy, {} from the \
             upstream; the gate is {gate}; blocked {}, expected {}, in a pipeline {}, draining {:?}",
            self.client,
            sent(&self.sent),
            heard(&self.got),
            self.commands.len(),
            self.to_proxy.len(),
            self.from_upstream.len(),
            machine.blocked,
            machine.expected.len(),
            machine.in_pipeline,
            machine.draining,
        )
    }

    /// Whether everybody waits for the client.
    pub fn is_settled(&self) -> bool {
        let is_at_rest = matches!(self.machine.gate, Gate::Open) && !self.machine.blocked;
        is_at_rest && self.commands.is_empty() && self.to_proxy.is_empty() && self.from_upstream.is_empty()
    }

    /// Whether every reply must have come by now.
    pub fn owes_nothing(&self) -> bool {
        !self.machine.in_pipeline && self.machine.group.is_empty()
    }
}

/// Whether what it executes has a name: then the text that runs is another, or a part of it.
fn names_another(text: &str) -> bool {
    ["EXECUTE", "FETCH", "PREPARE", "DECLARE"].iter().any(|word| text.starts_with(word))
}

fn finish(finished: Finished, house: &House, now: Timestamp) {
    let Finished { id, outcome, rows, masked, masked_cells, output } = finished;
    debug_assert!(!matches!(&outcome, Outcome::Executed(tag) if tag.is_empty()), "an outcome has its tag");
    let execution =
        Execution { outcome, rows, duration: std::time::Duration::ZERO, masked_columns: masked, masked_cells, output };
    house.must(house.review.finish(id, &execution, now));
}
