//! Plays a script.
//!
//! A line of a script is one of
//! `> …` the client sends; `^ …` the upstream gets exactly this; `v …` the upstream answers; `< …` the client gets exactly
//! this; `! …` something else happens; `= …` the core asks for exactly this; `~` what the client got is looked at with the
//! next `<`. What is not expected before the next line that puts something in, fails the script.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::BytesMut;
use countersign_policy::Catalog;
use countersign_policy::analysis::AnalysisCache;
use countersign_policy::catalog::{Column, Function, Relation, RelationKind, Type, Volatility};
use countersign_policy::mask::{MaskSet, ViewsUnknown};
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{ReviewerDemand, Rows};
use jiff::{SignedDuration, Timestamp};

use super::super::Machine;
use super::edited::{SAFER, edit};
use super::notation::{backend, frontend, heard, sent};
use crate::config::Config;
use crate::review::{AccessRequest, Decision, Outcome, RequestId, State};
use crate::session::words::{BeginRefused, Command, Event, Identity, Opening, Surroundings};

/// OID of `public.customers`.
pub const CUSTOMERS: u32 = 20_001;

/// `public.free` may be written, `public.customers` is guarded, DROP is denied.
const CONFIG: &str = r#"
listen = "127.0.0.1:0"
data_dir = "data"
[databases.shop]
upstream = "postgres://shop@127.0.0.1:5432/shop?sslmode=disable"
groups = ["engineering"]
default = "allow"
unparsed = "hold"
review = { groups = ["dba"], timeout = "1h", mode = "wait" }
[[users]]
name = "alice"
groups = ["engineering"]
[[users]]
name = "bob"
groups = ["dba"]
[[rules]]
name = "no-drop"
effects = ["drop"]
action = "deny"
[[rules]]
name = "large-objects"
functions = ["lo_unlink"]
action = "hold"
reviewers = ["dba"]
[[rules]]
name = "guarded"
effects = ["insert", "update", "delete", "copy_in"]
relations = ["public.customers"]
action = "hold"
reviewers = ["dba"]
"#;

const MASKS: &str = r#"
[[masks]]
name = "email"
columns = ["public.customers.email"]
mask = "redact"
"#;

const COUNTS: &str = r#"
[[rules]]
name = "many"
effects = ["update"]
relations = ["public.free"]
max_rows = 100
action = "hold"
reviewers = ["dba"]
"#;

const LIMITS: &str = r#"
[limits]
idle_timeout = "30s"
idle_in_transaction_timeout = "10s"
request_mib = 1
"#;

/// What a script is played in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Names are known, no masks.
    Plain,
    /// Names are known, `customers.email` is masked.
    Masked,
    /// A session that has just begun.
    Fresh,
    /// Names are known, the database is only observed.
    Observed,
    /// Names are known, and what is not understood is denied.
    Strict,
    /// Names are known, and what is held waits in mode `auto`.
    Auto,
    /// Names are known; idle for 30 s, or 10 s within a transaction, is too long, and so is a request of more than 1 MiB.
    Limited,
    /// Names are known; updates of `public.free` with more than 100 rows are held.
    Counted,
}

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
            self.asked.push(match command {
                // Rows tell as much.
                Command::CountMasked(_) => continue,
                Command::Record(judged) => judged.verdict.to_owned(),
                Command::Open(number, _) => {
                    self.opening = Some(number);
                    "Open".to_owned()
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
                Command::RefreshCatalog => "Refresh".to_owned(),
                Command::CancelUpstream => "CancelUpstream".to_owned(),
                Command::ShutUpstream => "Shut".to_owned(),
                Command::Close => "Close".to_owned(),
            });
        }
    }

    #[track_caller]
    fn happens(&mut self, what: &str) {
        self.expects_nothing_more();
        self.cause(what);
    }

    /// Lets an event happen and collects what follows from it.
    #[track_caller]
    pub fn cause(&mut self, what: &str) {
        let event = match what {
            "opened" => self.opened(|stage| Some(Opening::Waiting(Box::new(stage.request())))),
            "not opened" => self.opened(|_| None),
            "resubmit" => self.opened(|stage| Some(Opening::Resubmit(Box::new(stage.request())))),
            "unjustified" => self.opened(|_| Some(Opening::Unjustified)),
            "ticket" => self.opened(|stage| Some(Opening::Ready(stage.request, met(), None))),
            "changed ticket" => self.opened(|stage| Some(Opening::Ready(stage.request, met(), edit(SAFER)))),
            "approved" => Event::Decided(self.request, Decision::Approved { met: met(), edit: None }),
            "changed" => Event::Decided(self.request, Decision::Approved { met: met(), edit: edit(SAFER) }),
            "changed for the worse" => {
                Event::Decided(self.request, Decision::Approved { met: met(), edit: edit("DROP TABLE customers") })
            }
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
            in_transaction: false,
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

fn met() -> Vec<ReviewerDemand> {
    vec![ReviewerDemand { group: "dba".to_owned(), approvals: 1 }]
}

fn identity() -> Identity {
    Identity {
        subject: Subject {
            user: "alice".to_owned(),
            groups: vec!["engineering".to_owned()],
            database: "shop".to_owned(),
            application: "test".to_owned(),
        },
        session: "s-1".to_owned(),
        client_address: "127.0.0.1".to_owned(),
        public_url: "http://countersign.test".to_owned(),
    }
}

/// The surroundings of a setting, made once: what a script changes in them, it changes in its own copy.
fn surroundings(setting: Setting) -> Surroundings {
    static MADE: LazyLock<Mutex<HashMap<Setting, Surroundings>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(setting).or_insert_with(|| make_surroundings(setting)).clone()
}

fn make_surroundings(setting: Setting) -> Surroundings {
    let text = match setting {
        Setting::Masked => format!("{CONFIG}{MASKS}"),
        Setting::Auto => CONFIG.replace("mode = \"wait\"", "mode = \"auto\""),
        Setting::Limited => format!("{CONFIG}{LIMITS}"),
        Setting::Counted => format!("{CONFIG}{COUNTS}"),
        Setting::Plain | Setting::Fresh => CONFIG.to_owned(),
        Setting::Strict => CONFIG.replace(r#"unparsed = "hold""#, r#"unparsed = "deny""#),
        Setting::Observed => CONFIG.replace(r#"unparsed = "hold""#, "unparsed = \"hold\"\nstage = \"observe\""),
    };
    let config = Config::parse(Path::new("countersign.toml"), &text).expect("configuration");
    let catalog = catalog(1);
    let masks = MaskSet::compile(&config.policy, &catalog, &identity().subject, &ViewsUnknown);
    Surroundings {
        config: Arc::new(config),
        catalog: Arc::new(catalog),
        masks: Arc::new(masks),
        grants: Arc::default(),
        analyses: Arc::new(AnalysisCache::new(100, 1 << 20)),
        audit_writable: true,
        now: "2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap(),
    }
}

pub fn catalog(version: u64) -> Catalog {
    let text = |attnum, name: &str| Column { attnum, name: name.to_owned(), type_oid: 25, generated: None };
    let table = |oid, schema: &str, name: &str| Relation {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        row_type: oid + 100_000,
        columns: vec![text(1, "id"), text(2, "email")],
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    };
    let relations = vec![
        table(CUSTOMERS, "public", "customers"),
        table(20_002, "public", "free"),
        table(20_003, "sandbox", "customers"),
    ];
    let types = vec![Type {
        oid: 25,
        schema: "pg_catalog".to_owned(),
        name: "text".to_owned(),
        kind: 'b',
        category: 'S',
        relation: 0,
        element: 0,
        base: 0,
    }];
    let function = |schema: &str, name: &str, volatility| {
        let function = Function {
            oid: 1,
            volatility,
            language: "internal".to_owned(),
            security_definer: false,
            doubted: false,
            body: None,
            prelude: None,
            kind: 'f',
            returns: 25,
            arguments: 1,
            built_in: schema == "pg_catalog",
        };
        (schema.to_owned(), name.to_owned(), function)
    };
    let mut functions =
        vec![function("pg_catalog", "upper", Volatility::Immutable), function("public", "opens", Volatility::Stable)];
    for name in ["lo_open", "loread", "lo_unlink"] {
        functions.push(function("pg_catalog", name, Volatility::Volatile));
    }
    Catalog::new(version, relations, types, functions)
}
