//! Whatever both sides send, in whatever order it arrives: nothing panics, nothing guarded is executed that was not
//! approved, and with an honest upstream the session never loses track of it.

use bytes::BytesMut;
use countersign_protocol::Frame;
use proptest::prelude::*;

use super::Setting;
use super::bench::Stage;
use super::notation::{backend, frontend, heard};
use super::upstream::Postgres;
use crate::relay::{NO_PORTAL, OWN_NAME};

/// Of these, `DELETE FROM customers` is held while the name means `public.customers`, and `DROP TABLE` is denied.
pub const CLIENT: &[&str] = &[
    "Q SELECT 1",
    "Q SELECT 1/0",
    "Q BEGIN",
    "Q COMMIT",
    "Q ROLLBACK",
    "Q DELETE FROM customers",
    "Q DROP TABLE free",
    "Q COPY free FROM STDIN",
    "Q SET search_path = sandbox",
    "Q SET search_path = public",
    "Q PREPARE a AS DELETE FROM customers",
    "Q PREPARE a AS SELECT id FROM free",
    "Q EXECUTE a",
    "Q DECLARE p CURSOR FOR SELECT 1",
    "Q FETCH p",
    "P - SELECT 1",
    "P - SELECT 1/0",
    "P - BEGIN",
    "P - COMMIT",
    "P - SET search_path = sandbox",
    "P - SET search_path = public",
    "P a DELETE FROM customers",
    "P - DELETE FROM customers",
    "P a SELECT id FROM free",
    "P - SELECT email FROM customers",
    "P - DROP TABLE free",
    "P - EXECUTE a",
    "P - COPY free FROM STDIN",
    "B - -",
    "B p -",
    "B p a",
    "B - a",
    "D S a",
    "D P p",
    "E -",
    "E p",
    "E p 1",
    "C S a",
    "C P p",
    "H",
    "S",
    "S",
    "S",
    "d one",
    "d bad",
    "c",
    "f no",
];

const UPSTREAM: &[&str] = &[
    "1",
    "2",
    "3",
    "n",
    "t",
    "T id:20002:1",
    "D one",
    "C SELECT 1",
    "s",
    "I",
    "Z I",
    "Z T",
    "Z E",
    "E 22012",
    "E! 57P01",
    "N 00000",
    "G",
    "H",
    "d one",
    "c",
    "S TimeZone UTC",
];

const EVENTS: &[&str] = &[
    "cancel",
    "cancel sent",
    "minute",
    "client ended",
    "client closed",
    "upstream closed",
    "pause",
    "resume",
    "drain",
    "drain soon",
    "drain now",
    "left open",
];
const DECISIONS: &[&str] = &["approved", "rejected", "expired", "cancelled", "cancel"];

/// What is executed by any of the forms below.
pub const TEXTS: &[&str] = &[
    "SELECT id FROM free",
    "SELECT email FROM customers",
    "SELECT 1/0",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SET search_path = sandbox",
    "SET search_path = sandbox",
    "SET search_path = public",
    "DELETE FROM customers",
    "DELETE FROM customers",
    "DELETE FROM customers",
    "DROP TABLE free",
    "COPY customers FROM STDIN",
    "COPY free FROM STDIN",
    "EXECUTE a",
    "FETCH p",
    "PREPARE a AS DELETE FROM customers",
    "PREPARE a AS SELECT id FROM free",
    "DECLARE p CURSOR FOR SELECT id FROM free",
];

/// Ways to execute, or nearly execute, a text; `*` stands for it.
pub const FORMS: &[&str] = &[
    "Q *",
    "P - * | B - - | E -",
    "P - * | B - - | E - | S",
    "P a *",
    "C S a | P a *",
    "P - * | B p -",
    "C P p | P - * | B p -",
    "P - * | B p - | S",
];

/// What continues.
pub const STEPS: &[&str] = &[
    "B - a | E -",
    "B p a",
    "E p",
    "E p 1",
    "E - | S",
    "C S a",
    "C P p",
    "D S a",
    "D P p",
    "H",
    "S",
    "S",
    "d one | S",
    "d bad | S",
    "d bad | S | c | S",
];

#[derive(Clone, Debug)]
enum Turn {
    Client(String),
    /// The upstream works off that many messages.
    Answers(u8),
    Decision(&'static str),
}

#[derive(Clone, Debug)]
enum Noise {
    Client(Vec<u8>),
    Upstream(Vec<u8>),
    Event(&'static str),
    Decision(&'static str),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let form = (prop::sample::select(FORMS), prop::sample::select(TEXTS));
    let turn = prop_oneof![
        6 => form.prop_map(|(form, text)| Turn::Client(form.replace('*', text))),
        3 => prop::sample::select(STEPS).prop_map(|step| Turn::Client(step.to_owned())),
        1 => prop::sample::select(CLIENT).prop_map(|text| Turn::Client(text.to_owned())),
        6 => Just(Turn::Answers(u8::MAX)),
        3 => (1..6_u8).prop_map(Turn::Answers),
        2 => prop::sample::select(DECISIONS).prop_map(Turn::Decision),
    ];
    prop::collection::vec(turn, 0..40)
}

fn noises() -> impl Strategy<Value = Vec<Noise>> {
    let noise = prop::collection::vec(any::<u8>(), 1..12);
    let turn = prop_oneof![
        10 => prop::sample::select(CLIENT).prop_map(|text| Noise::Client(frontend(text))),
        10 => prop::sample::select(UPSTREAM).prop_map(|text| Noise::Upstream(backend(text))),
        1 => noise.clone().prop_map(Noise::Client),
        1 => noise.prop_map(Noise::Upstream),
        2 => prop::sample::select(EVENTS).prop_map(Noise::Event),
        2 => prop::sample::select(DECISIONS).prop_map(Noise::Decision),
    ];
    prop::collection::vec(turn, 0..40)
}

/// The stage with what answers the core's commands, and what was decided.
struct Play {
    stage: Stage,
    permits: usize,
    begun: usize,
}

impl Play {
    fn new(setting: Setting) -> Self {
        Self { stage: Stage::new(setting), permits: 0, begun: 0 }
    }

    fn receive(&mut self, client: &[u8], upstream: &[u8]) {
        self.stage.machine.client_input().extend_from_slice(client);
        self.stage.machine.upstream_input().extend_from_slice(upstream);
        self.stage.machine.advance(&self.stage.around);
        self.stage.collect();
        self.answer_commands();
    }

    /// Store and catalog answer at once.
    fn answer_commands(&mut self) {
        loop {
            let asked = std::mem::take(&mut self.stage.asked);
            if asked.is_empty() {
                return;
            }
            for command in asked {
                match command.as_str() {
                    "allow" => self.permits += 1,
                    "Open" => self.stage.cause("opened"),
                    "Refresh" => self.stage.cause("refreshed"),
                    "CancelUpstream" => self.stage.cause("cancel sent"),
                    "Begin" => {
                        self.begun += 1;
                        self.stage.cause("begun");
                    }
                    _ => {}
                }
            }
        }
    }

    fn cause(&mut self, what: &str) {
        self.stage.cause(what);
        self.answer_commands();
    }

    fn decide(&mut self, what: &str) {
        if self.stage.machine.is_held() {
            self.cause(what);
        }
    }

    fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stage.to_upstream)
    }
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

fn settings() -> impl Strategy<Value = Setting> {
    prop::sample::select(&[Setting::Plain, Setting::Masked, Setting::Fresh][..])
}

proptest! {
    #[test]
    fn an_honest_upstream_executes_only_what_was_approved(turns in turns(), setting in settings()) {
        let mut play = Play::new(setting);
        let mut upstream = Postgres::new();
        let mut told = Vec::new();
        for turn in turns {
            match turn {
                Turn::Client(text) => play.receive(&frontend(&text), b""),
                Turn::Decision(what) => play.decide(what),
                Turn::Answers(count) => {
                    for _ in 0..count {
                        let Some(reply) = upstream.step() else { break };
                        play.receive(b"", &reply);
                        upstream.send(&play.take_sent());
                    }
                }
            }
            upstream.send(&play.take_sent());
            let guarded = upstream.executed.iter().filter(|done| done.text.contains("customers") && done.schema == "public");
            prop_assert!(guarded.count() <= play.begun, "more was executed than approved: {:?}", upstream.executed);
            prop_assert!(!upstream.executed.iter().any(|done| done.text.starts_with("DROP")));
            told.append(&mut play.stage.to_client);
            let lost = heard(&told).contains("E! 08P01") && !is_fault_of_client(&told);
            prop_assert!(!lost, "the session lost track of the upstream: {}", heard(&told));
        }
    }

    #[test]
    fn nothing_executes_without_a_permit(noises in noises(), setting in settings()) {
        let mut play = Play::new(setting);
        let (mut sent, mut executed) = (BytesMut::new(), 0);
        for noise in noises {
            match noise {
                Noise::Client(bytes) => play.receive(&bytes, b""),
                Noise::Upstream(bytes) => play.receive(b"", &bytes),
                Noise::Event(what) => play.cause(what),
                Noise::Decision(what) => play.decide(what),
            }
            sent.extend_from_slice(&play.take_sent());
            while let Some(frame) = Frame::take(&mut sent, |_| u32::MAX).unwrap() {
                executed += usize::from(executes(&frame));
            }
            prop_assert!(executed <= play.permits, "{executed} executed, {} permitted", play.permits);
        }
    }
}

/// A Query or the like during COPY is fatal in PostgreSQL too.
fn is_fault_of_client(told: &[u8]) -> bool {
    String::from_utf8_lossy(told).contains("during COPY from stdin")
}
