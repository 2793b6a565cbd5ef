//! The session core between a client, an upstream, people and a clock that do anything at any time.
//!
//! Checked: it does not panic; no more requests leave than it recorded as allowed; nothing leaves after its end; what
//! the client gets is whole messages as long as what the upstream sends is.

use bytes::BytesMut;
use countersign::relay::{NO_PORTAL, OWN_NAME};
use countersign::review::{AccessRequest, Agreement, Decision, RequestId, State};
use countersign::session::words::BeginRefused;
use countersign::session::words::Looked;
use countersign::session::words::Opening;
use countersign::session::{Command, Event, Machine, Surroundings};
use countersign_policy::verdict::ReviewerDemand;
use countersign_protocol::Frame;
use countersign_protocol::frontend::{self, Target};
use jiff::SignedDuration;

use super::bytes_in::{BytesIn, put_frame};
use super::shop;

const TEXTS: &[&str] = &[
    "SELECT 1",
    "SELECT id FROM free",
    "SELECT email FROM customers",
    "SELECT 1/0",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "DELETE FROM customers",
    "DELETE FROM free",
    "INSERT INTO free VALUES ('1')",
    "DROP TABLE free",
    "COPY free FROM STDIN",
    "COPY customers FROM STDIN",
    "COPY customers TO STDOUT",
    "COPY free TO STDOUT",
    "SET search_path = sandbox",
    "SET search_path = public",
    "PREPARE a AS DELETE FROM customers",
    "PREPARE a AS SELECT id FROM free",
    "EXECUTE a",
    "DEALLOCATE a",
    "DECLARE p CURSOR FOR SELECT id FROM free",
    "DECLARE p CURSOR FOR SELECT email FROM customers",
    "FETCH p",
    "CLOSE p",
    "DISCARD ALL",
    "CREATE TABLE n (x text)",
    "SELECT * FROM n",
    "SELECT opens('x')",
    "BEGIN; DELETE FROM customers; COMMIT",
    "SELECT 1; SELECT email FROM customers",
    "",
    ";",
    "SELEC 1",
    "DO 'x'",
];

const NAMES: &[&[u8]] = &[b"", b"a", b"p", NO_PORTAL, OWN_NAME];

const COLUMNS: &[&[u8]] = &[
    b"\0\x00",
    b"\0\x01id\0\0\0\x4e\x22\0\x01\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
    b"\0\x01email\0\0\0\x4e\x21\0\x02\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
    b"\0\x01x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
];

const TOLD: &[&[u8]] = &[
    b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0",
    b"SFATAL\0VFATAL\0C57P01\0Mbye\0\0",
    b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0",
];

const OWN_ROWS: &[&[u8]] = &[
    b"\0\x02\0\0\0\x04shop\0\0\0\x17[\"pg_catalog\",\"public\"]",
    b"\0\x02\0\0\0\x04shop\0\0\0\x18[\"pg_catalog\",\"sandbox\"]",
    b"\0\x01\0\0\0\x031-1",
];

/// See the module documentation.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let mut choices = BytesIn(data);
    let mut play = Play::new();
    while !choices.is_empty() {
        match choices.byte() % 8 {
            0..=2 => play.client(&client_message(&mut choices)),
            3..=5 => play.upstream(&upstream_message(&mut choices)),
            6 => play.answer(&mut choices),
            _ => play.event(&mut choices),
        }
        play.check();
    }
}

struct Play {
    machine: Machine,
    around: Surroundings,
    waiting: Vec<Command>,
    held: Option<RequestId>,
    serial: u128,
    permits: usize,
    executed: usize,
    sent: BytesMut,
    told: BytesMut,
    /// Both sides have sent whole messages only.
    orderly: bool,
}

impl Play {
    fn new() -> Self {
        Self {
            machine: shop::machine(),
            around: shop::surroundings(),
            waiting: Vec::new(),
            held: None,
            serial: 0,
            permits: 0,
            executed: 0,
            sent: BytesMut::new(),
            told: BytesMut::new(),
            orderly: true,
        }
    }

    fn client(&mut self, bytes: &[u8]) {
        if self.machine.wants_client() {
            self.machine.client_input().extend_from_slice(bytes);
            self.machine.advance(&self.around);
        }
    }

    fn upstream(&mut self, (bytes, is_whole): &(BytesMut, bool)) {
        self.orderly &= is_whole;
        self.machine.upstream_input().extend_from_slice(bytes);
        self.machine.advance(&self.around);
    }

    fn cause(&mut self, event: Event) {
        self.machine.on_event(event, &self.around);
    }

    /// Store, catalog and driver answer one of the commands, whichever.
    fn answer(&mut self, choices: &mut BytesIn<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let at = usize::from(choices.byte()) % self.waiting.len();
        let how = choices.byte() % 8;
        match self.waiting.swap_remove(at) {
            Command::Open(number, ..) => {
                self.serial += 1;
                let id = RequestId(ulid::Ulid(self.serial));
                self.held = Some(id);
                let opening = match how {
                    0 => None,
                    1 => Some(Opening::Resubmit(Box::new(self.request(id)), None)),
                    2 => Some(Opening::Ready(id, agreed())),
                    3 => Some(Opening::TooMany(1)),
                    _ => Some(Opening::Waiting(Box::new(self.request(id)), None)),
                };
                self.cause(Event::Opened(number, opening));
            }
            Command::Begin(id) => {
                let begun = match how {
                    0 => Err(BeginRefused::Unusable),
                    1 => Err(BeginRefused::Unavailable),
                    _ => Ok(()),
                };
                self.cause(Event::Begun(id, begun));
            }
            Command::Estimate(_) => {
                self.cause(Event::Estimated(countersign_policy::verdict::Rows::Estimated(u64::from(how))))
            }
            Command::Look(stake, _) => self.cause(Event::Looked(stake, Looked::Same)),
            Command::RefreshCatalog => self.cause(Event::CatalogRefreshed),
            Command::CancelUpstream => self.cause(Event::CancelSent),
            Command::LeaveOpen(id) => {
                let request = (how > 0).then(|| Box::new(self.request(id)));
                self.cause(Event::LeftOpen(id, request));
            }
            Command::Record(_)
            | Command::Withdraw(_)
            | Command::Revoke(_)
            | Command::Rebind(..)
            | Command::Finish(_)
            | Command::Ran(_)
            | Command::CountMasked(_)
            | Command::ShutUpstream
            | Command::GiveBack
            | Command::Close => {}
        }
    }

    fn request(&self, id: RequestId) -> AccessRequest {
        AccessRequest {
            id,
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

    fn event(&mut self, choices: &mut BytesIn<'_>) {
        let decided = |decision| self.held.map(|id| Event::Decided(id, decision));
        let event = match choices.byte() % 16 {
            0..=5 => decided(Decision::Approved(agreed())),
            6 => decided(Decision::Rejected { by: "bob".to_owned(), group: "dba".to_owned(), reason: "no".to_owned() }),
            7 => decided(Decision::Expired),
            8 => decided(Decision::Cancelled),
            9 | 10 => Some(Event::Cancel),
            11 => {
                self.around.now += SignedDuration::from_secs(61);
                Some(Event::Tick)
            }
            12 => Some(Event::ClientClosed),
            13 => Some(Event::UpstreamClosed),
            14 => Some(match choices.byte() % 4 {
                0 => Event::Drain,
                1 => Event::DrainSoon,
                2 => Event::DrainNow,
                _ => Event::ClientEnded,
            }),
            _ => Some(Event::RecordFailed),
        };
        if let Some(event) = event {
            self.cause(event);
        }
    }

    fn check(&mut self) {
        let to_client = self.machine.client_output().split();
        self.sent.extend_from_slice(&self.machine.upstream_output().split());
        while let Some(command) = self.machine.next_command() {
            match command {
                Command::Record(judged) => self.permits += usize::from(judged.verdict == "allow"),
                Command::Close => assert!(self.machine.is_closed()),
                other => self.waiting.push(other),
            }
        }
        while let Ok(Some(frame)) = Frame::take(&mut self.sent, |_| u32::MAX) {
            self.executed += usize::from(executes(&frame));
        }
        assert!(self.executed <= self.permits, "{} executed, {} permitted", self.executed, self.permits);
        if self.orderly {
            self.told.extend_from_slice(&to_client);
            while Frame::take(&mut self.told, |_| 1 << 24).expect("frames for the client").is_some() {}
            assert!(self.told.is_empty(), "the client has half a message");
        }
        if self.machine.is_closed() {
            self.machine.advance(&self.around);
            let silent = self.machine.client_output().is_empty() && self.machine.upstream_output().is_empty();
            assert!(silent, "the end is the end");
        }
    }
}

fn agreed() -> Agreement {
    Agreement { met: met(), ..Agreement::default() }
}

fn met() -> Vec<ReviewerDemand> {
    vec![ReviewerDemand { group: "dba".to_owned(), approvals: 1 }]
}

/// Whether a message executes something of the client's.
fn executes(frame: &Frame) -> bool {
    match frame.tag {
        b'Q' => frame.body() != b"countersign refused a statement\0",
        b'E' => !frame.body().starts_with(NO_PORTAL) && !frame.body().starts_with(OWN_NAME),
        b'F' => true,
        _ => false,
    }
}

/// A message of the client, or some bytes.
fn client_message(choices: &mut BytesIn<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    match choices.byte() % 16 {
        0..=2 => frontend::put_query(&mut out, choices.pick(TEXTS)),
        3 | 4 => frontend::put_parse(&mut out, choices.pick(NAMES), choices.pick(TEXTS)),
        5 | 6 => frontend::put_bind(&mut out, choices.pick(NAMES), choices.pick(NAMES), &[]),
        7 => frontend::put_describe(&mut out, target(choices)),
        8 | 9 => {
            let portal = choices.pick(NAMES);
            let rows = i32::from(choices.byte() % 4);
            let body = [portal, b"\0", &rows.to_be_bytes()].concat();
            put_frame(&mut out, b'E', &body);
        }
        10 => frontend::put_close(&mut out, target(choices)),
        11 | 12 => frontend::put_empty(&mut out, frontend::tag::SYNC),
        13 => frontend::put_empty(&mut out, choices.pick(b"HcXHc")),
        14 => put_frame(&mut out, choices.pick(b"dfdFpZQPBDEC"), choices.bytes(40)),
        _ => out.extend_from_slice(choices.bytes(40)),
    }
    out
}

fn target<'a>(choices: &mut BytesIn<'_>) -> Target<'a> {
    let name = choices.pick(NAMES);
    if choices.byte().is_multiple_of(2) { Target::Statement(name) } else { Target::Portal(name) }
}

/// A message of the upstream, or some bytes; and whether it is a whole message.
fn upstream_message(choices: &mut BytesIn<'_>) -> (BytesMut, bool) {
    let mut out = BytesMut::new();
    match choices.byte() % 16 {
        0 | 1 => put_frame(&mut out, b'Z', choices.pick(&[b"I", b"I", b"T", b"E"])),
        2 => put_frame(&mut out, b'C', choices.pick(&[&b"SELECT 1\0"[..], b"DELETE 1\0", b"COPY 2\0"])),
        3 => put_frame(&mut out, b'D', choices.pick(OWN_ROWS)),
        // The names are asked for at first, and after much that follows.
        4 => {
            for (tag, body) in [(b'1', &b""[..]), (b'2', b""), (b'D', OWN_ROWS[0]), (b'C', b"SELECT 1\0")] {
                put_frame(&mut out, tag, body);
            }
            put_frame(&mut out, b'3', b"");
            put_frame(&mut out, b'3', b"");
        }
        5 | 6 => put_frame(&mut out, choices.pick(b"123nsIc"), b""),
        7 => put_frame(&mut out, b'T', choices.pick(COLUMNS)),
        8 => put_frame(&mut out, b't', b"\0\0"),
        9 => put_frame(&mut out, choices.pick(b"GH"), b"\0\0\x01\0\0"),
        10 => put_frame(&mut out, b'E', choices.pick(&TOLD[..2])),
        11 => put_frame(&mut out, b'E', TOLD[0]),
        12 => {
            put_frame(&mut out, choices.pick(b"NSA"), choices.pick(&[TOLD[2], b"TimeZone\0UTC\0", b"\0\0\0\x07n\0p\0"]))
        }
        13 => put_frame(&mut out, b'd', choices.bytes(8)),
        14 => put_frame(&mut out, choices.byte(), choices.bytes(40)),
        _ => {
            out.extend_from_slice(choices.bytes(40));
            return (out, false);
        }
    }
    (out, true)
}
