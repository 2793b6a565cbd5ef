//! The simulated world: who does what next.
//!
//! Invariant: every choice comes from the seed; ids of requests, which do not, decide nothing. This file is long because
//! what everybody does is one table of choices.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use countersign_policy::Catalog;
use countersign_policy::analysis::AnalysisCache;
use countersign_policy::subject::Subject;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::bench::catalog;
use super::super::random::{CLIENT, FORMS, STEPS, TEXTS};
use super::house::{House, written};
use super::replies::Extent;
use super::seat::{Client, Done, Seat, TOO_MANY};
use crate::config::Config;
use crate::review::fixture::actor;
use crate::review::{AccessRequest, Consent, RequestId, State};
use crate::session::words::{Event, Identity, Surroundings};

const SEATS: usize = 4;

/// Who connects, and with them how they wait: by the rules below.
const REQUESTERS: [&str; 4] = ["alice", "frank", "gina", "ada"];
/// Who votes, or tries to.
const REVIEWERS: [&str; 8] = ["bob", "dave", "dave", "carol", "carol", "alice", "gina", "ada"];

/// What is approved as a whole, or is not.
const BATCHES: &[&str] = &[
    "Q SET countersign.batch = on | Q BEGIN | Q DELETE FROM customers | Q SELECT 1 | Q COMMIT",
    "Q SET countersign.batch = on | Q BEGIN | Q DELETE FROM customers | Q DELETE FROM customers | Q COMMIT",
    "Q SET countersign.batch = on | Q BEGIN | Q SELECT 1 | Q DELETE FROM customers | Q COMMIT",
    "Q BEGIN | Q DELETE FROM customers | Q SELECT 1/0 | Q COMMIT",
    "Q BEGIN | Q SELECT 1 | Q DELETE FROM customers",
    "Q BEGIN | Q DELETE FROM customers | Q SET search_path = sandbox | Q DELETE FROM customers | Q COMMIT",
    "Q BEGIN | Q DELETE FROM customers | Q COPY free FROM STDIN",
    "Q BEGIN | Q DELETE FROM customers | P - SELECT 1 | B - - | E - | S",
    "Q BEGIN;\\nDELETE FROM customers;\\nCOMMIT",
    "Q SET countersign.batch = off",
];

/// Two policies: what is guarded is held, or it is denied.
fn config(denying: bool) -> Config {
    let people = [
        ("alice", "engineering"),
        ("frank", "engineering"),
        ("gina", "engineering dba"),
        ("ada", "engineering admin"),
        ("bob", "dba"),
        ("dave", "dba security"),
        ("carol", "security"),
    ];
    let mut text = r#"
listen = "127.0.0.1:0"
data_dir = "data"
[databases.shop]
upstream = "postgres://shop@127.0.0.1:5432/shop?sslmode=disable"
groups = ["engineering"]
default = "allow"
unparsed = "hold"
review = { groups = ["dba"], timeout = "1h", mode = "wait" }
[[rules]]
name = "no-drop"
effects = ["drop"]
action = "deny"
"#
    .to_owned();
    for (name, groups) in people {
        let groups: Vec<&str> = groups.split(' ').collect();
        text += &format!("[[users]]\nname = \"{name}\"\ngroups = {groups:?}\n");
    }
    let guarded = "effects = [\"insert\", \"update\", \"delete\", \"copy_in\"]\nrelations = [\"public.customers\"]";
    for (user, mode, reviewers) in [
        ("alice", "wait", "[\"dba\"]"),
        ("frank", "resubmit", "[\"dba\"]"),
        ("gina", "auto", "[\"dba\", \"security\"]"),
        ("ada", "wait", "[\"dba\"]"),
    ] {
        text += &format!(
            "[[rules]]\nname = \"of-{user}\"\nusers = [\"{user}\"]\n{guarded}\naction = \"hold\"\nmode = \"{mode}\"\n\
             reviewers = {reviewers}\n"
        );
    }
    if denying {
        text += &format!("[[rules]]\nname = \"frozen\"\n{guarded}\naction = \"deny\"\n");
    }
    Config::parse(Path::new("countersign.toml"), &text).unwrap()
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub steps: usize,
    pub sessions: usize,
    /// Statements that upstreams executed.
    pub executed: usize,
    /// Requests whose approval was used.
    pub released: usize,
    pub rejected: usize,
    /// Statements that had too many rows.
    pub taken_back: usize,
    /// Requests that were released and have several statements.
    pub batches: usize,
    pub crashes: usize,
    pub full_disks: usize,
    pub drains: usize,
}

/// Some statements are approved for as many rows as they have, some for fewer, some for any number.
fn limited(request: &AccessRequest) -> Consent {
    let text = &request.statement;
    let limit = [(TOO_MANY, 0), ("'1'", 1)].into_iter().find(|(variant, _)| text.contains(variant));
    Consent { max_affected: limit.filter(|_| request.rows_counted).map(|(_, rows)| rows), ..Consent::default() }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.sessions += other.sessions;
        self.executed += other.executed;
        self.released += other.released;
        self.rejected += other.rejected;
        self.taken_back += other.taken_back;
        self.batches += other.batches;
        self.crashes += other.crashes;
        self.full_disks += other.full_disks;
        self.drains += other.drains;
    }
}

/// See the module documentation.
pub struct World {
    pub trace: Vec<String>,
    pub tally: Tally,
    rng: StdRng,
    now: Timestamp,
    house: Option<House>,
    seats: Vec<Seat>,
    /// Every request there was, in the order in which they were made.
    requests: Vec<RequestId>,
    /// Those that were released.
    begun: HashSet<RequestId>,
    policies: [Arc<Config>; 2],
    denying: bool,
    draining: bool,
    sessions: u64,
    catalog: Arc<Catalog>,
    analyses: Arc<AnalysisCache>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut world = Self {
            trace: Vec::new(),
            tally: Tally::default(),
            rng: StdRng::seed_from_u64(seed),
            now,
            house: Some(House::new(config(false), now)),
            seats: Vec::new(),
            requests: Vec::new(),
            begun: HashSet::new(),
            policies: [config(false), config(true)].map(Arc::new),
            denying: false,
            draining: false,
            sessions: 0,
            catalog: Arc::new(catalog(1)),
            analyses: Arc::new(AnalysisCache::new(1000, 1 << 20)),
        };
        world.seats = (0..SEATS).map(|at| world.new_seat(at)).collect();
        world
    }

    fn house(&self) -> &House {
        self.house.as_ref().unwrap()
    }

    fn new_seat(&mut self, at: usize) -> Seat {
        self.sessions += 1;
        let identity = Identity {
            subject: Subject {
                user: REQUESTERS[at].to_owned(),
                groups: vec!["engineering".to_owned()],
                database: "shop".to_owned(),
                application: String::new(),
            },
            session: format!("s-{}", self.sessions),
            client_address: "local".to_owned(),
            public_url: "http://countersign.test".to_owned(),
            login_role: Some("shop_rw".to_owned()),
        };
        Seat::new(identity, self.around())
    }

    fn around(&self) -> Surroundings {
        Surroundings {
            config: Arc::clone(&self.policies[usize::from(self.denying)]),
            catalog: Arc::clone(&self.catalog),
            masks: Arc::default(),
            all_masks: Arc::default(),
            unmasked: Arc::default(),
            grants: Arc::default(),
            analyses: Arc::clone(&self.analyses),
            audit_writable: !self.house().is_disk_full(),
            now: self.now,
        }
    }

    fn note(&mut self, what: String) {
        if std::env::var_os("COUNTERSIGN_SIMULATION_SEED").is_some() {
            println!("{what}");
        }
        self.trace.push(what);
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    /// Something happens.
    pub fn step(&mut self) {
        self.tally.steps += 1;
        let at = self.rng.random_range(0..self.seats.len());
        if self.seats[at].is_closed {
            return self.replace(at);
        }
        // What it decides now it decides by what it sees now; what it decided is carried out as it was decided.
        if !self.seats[at].has_commands() {
            self.seats[at].around = self.around();
        }
        match self.rng.random_range(0..1000) {
            0..70 => self.client_sends(at),
            70..110 => self.vote(),
            110..120 => {
                if self.seats[at].cause(Event::Cancel) {
                    self.note(format!("{at} cancel"));
                }
            }
            120..128 => self.rarely(at),
            _ => self.progress(at),
        }
    }

    /// One of the things that can go on in a session goes on.
    fn progress(&mut self, at: usize) {
        let length = if self.rng.random_bool(0.3) { self.rng.random_range(1..12) } else { usize::MAX };
        let first = self.rng.random_range(0..8);
        for turn in first..first + 8 {
            let house = self.house.as_ref().unwrap();
            let seat = &mut self.seats[at];
            let (what, happened) = match turn % 8 {
                0 => ("read client", seat.read_client(length)),
                1 => ("write upstream", seat.write_upstream(length)),
                2 => ("run upstream", seat.run_upstream()),
                3 => ("read upstream", seat.read_upstream(length)),
                4 => ("write client", seat.write_client(length)),
                5 => ("hear the decision", seat.hear_decision(house)),
                6 => ("cancel is sent", seat.deliver_cancel()),
                _ if seat.has_commands() => return self.carry_out(at),
                _ => continue,
            };
            if happened {
                let length = if length < 12 { length.to_string() } else { String::new() };
                self.note(format!("{at} {what} {length}"));
                return self.seats[at].check(Extent::SoFar);
            }
        }
    }

    fn client_sends(&mut self, at: usize) {
        let text = match self.rng.random_range(0..18) {
            13..16 => self.pick(BATCHES).to_owned(),
            16 => self.pick(&["Q COMMIT", "Q COMMIT", "Q ROLLBACK"]).to_owned(),
            10..13 => {
                self.pick(FORMS).replace('*', "DELETE FROM customers") + self.pick(&[" | E - | S", " | E p | S", ""])
            }
            0..6 => self.pick(FORMS).replace('*', self.pick(TEXTS)),
            6..10 => self.pick(STEPS).to_owned(),
            _ => self.pick(CLIENT).to_owned(),
        };
        // A few variants, so that an approval of one cannot pass for that of another.
        let variant = format!("DELETE FROM customers WHERE id = '{}'", self.rng.random_range(0..3));
        let text = text.replace("DELETE FROM customers", &variant);
        self.note(format!("{at} client: {text}"));
        self.seats[at].send(&text);
    }

    fn carry_out(&mut self, at: usize) {
        let done = self.seats[at].carry_out(self.house.as_ref().unwrap(), self.now);
        let Some(done) = done else { return };
        self.remember(&done);
        match done {
            Done::Nothing => self.note(format!("{at} carries out a command")),
            Done::Opened(_) => self.note(format!("{at} opens a request; there are {}", self.requests.len())),
            Done::Begun(id) => self.begins(at, id),
        }
        self.seats[at].check(Extent::SoFar);
    }

    /// A request is released: in time, by the right people, under a policy that allows it.
    fn begins(&mut self, at: usize, id: RequestId) {
        let request = self.house().wait(self.house().review.get(id)).unwrap();
        self.note(format!("{at} begins {}", request.statement));
        self.tally.batches += usize::from(request.statement.contains(";\n"));
        let judged_by = &self.seats[at].around.config;
        let is_direct = request.statement.starts_with("DELETE") || request.statement.starts_with("COPY");
        assert!(!is_direct || Arc::ptr_eq(judged_by, &self.policies[0]), "judged again, it was denied");
        assert!(self.now < request.expires_at, "released after its time");
        assert_eq!(request.state, State::Executing);
        let mut approvers: Vec<&str> =
            request.votes.iter().filter(|vote| vote.approve).map(|vote| vote.by.as_str()).collect();
        approvers.dedup();
        let is_admin = request.user == "ada" && approvers == ["ada"];
        let enough = approvers.len() >= request.reviewers.len();
        let others = approvers.iter().all(|by| *by != request.user && ["bob", "dave", "carol", "gina"].contains(by));
        assert!(is_admin || (enough && others), "{} was approved by {approvers:?}", request.user);
    }

    /// Somebody decides something, or tries to.
    fn vote(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let recent = self.requests.len().saturating_sub(4);
        let at = self.rng.random_range(recent..self.requests.len());
        let (id, who) = (self.requests[at], self.pick(&REVIEWERS));
        let (review, person, now) = (Arc::clone(&self.house().review), actor(who), self.now);
        let choice = self.rng.random_range(0..20);
        let outcome = self.house().wait(async {
            match choice {
                0..15 => review.approve(id, &person, limited(&review.get(id).await?), now).await,
                15..18 => review.reject(id, &person, "no".to_owned(), now).await,
                18 => review.cancel(id, &person, None, now).await,
                _ => review.revoke(id, &person, None, now).await,
            }
        });
        let state = outcome.map(|request| request.state.to_string()).unwrap_or_else(|error| error.to_string());
        self.tally.rejected += usize::from(state == State::Rejected.to_string());
        self.note(format!("{who} decides ({choice}) about request {at}: {state}"));
    }

    fn rarely(&mut self, at: usize) {
        match self.rng.random_range(0..100) {
            0..20 => self.sweep(),
            25..45 => {
                let seconds = self.pick(&[1, 30, 61, 600, 1800, 3700]);
                self.now += SignedDuration::from_secs(seconds);
                self.note(format!("{seconds} s pass"));
                for seat in &mut self.seats {
                    seat.around.now = self.now;
                    seat.cause(Event::Tick);
                }
            }
            45..65 => {
                let client = self.pick(&[Client::Ended, Client::Gone]);
                self.note(format!("{at} client {client:?}"));
                self.seats[at].client = client;
            }
            65..70 => {
                self.note(format!("{at} loses its upstream"));
                self.seats[at].cause(Event::UpstreamClosed);
            }
            70..80 if self.denying || self.rng.random_bool(0.3) => {
                self.denying = !self.denying;
                self.note(format!("a new policy: {}", if self.denying { "denied" } else { "held" }));
                let policy = Arc::clone(&self.policies[usize::from(self.denying)]);
                self.house().config.store(policy);
            }
            80..90 => self.drain(),
            90..95 => self.crash(),
            20..25 | 95..100 if !self.house().is_disk_full() => {
                self.note("the disk is full".to_owned());
                self.tally.full_disks += 1;
                self.house().fill_disk();
            }
            _ if self.house().is_disk_full() => self.crash(),
            _ => {}
        }
    }

    fn sweep(&mut self) {
        self.note("sweep".to_owned());
        self.house().must(self.house().review.sweep(self.now));
    }

    /// The first time sessions are asked to end, the second time they are told to, and the proxy starts again.
    fn drain(&mut self) {
        let ending = self.draining;
        self.note(format!("drain, {}", if ending { "at its end" } else { "begins" }));
        for at in 0..self.seats.len() {
            while let Some(done) = self.seats[at].carry_out(self.house.as_ref().unwrap(), self.now) {
                self.remember(&done);
            }
            let event = match (ending, self.rng.random_bool(0.5)) {
                (true, _) => Event::DrainNow,
                (false, true) => Event::DrainSoon,
                (false, false) => Event::Drain,
            };
            self.seats[at].around = self.around();
            self.seats[at].cause(event);
        }
        self.draining = !ending;
        if ending {
            self.tally.drains += 1;
            self.settle();
            for seat in &self.seats {
                assert!(seat.is_closed, "{} outlives the drain", seat.identity.session);
            }
            self.house = self.house.take().map(|house| house.restart(self.now));
            (0..SEATS).for_each(|at| self.replace(at));
        }
    }

    fn crash(&mut self) {
        self.note("crash".to_owned());
        self.tally.crashes += 1;
        for at in 0..self.seats.len() {
            let written = self.rng.random_range(0..200);
            self.seats[at].die(written);
        }
        self.house = self.house.take().map(|house| house.crash(self.now));
        (0..SEATS).for_each(|at| self.replace(at));
        self.draining = false;
    }

    /// The next client connects where a session has ended.
    fn replace(&mut self, at: usize) {
        self.seats[at].check(Extent::SoFar);
        self.note(format!("{at} connects"));
        self.tally.executed += self.seats[at].upstream.executed.len();
        self.tally.taken_back += self.seats[at].taken_back();
        let seat = self.new_seat(at);
        self.seats[at] = seat;
    }

    /// Everything that can happen by itself happens, and nobody approves any more.
    pub fn settle(&mut self) {
        if self.house().is_disk_full() {
            // Nobody can decide any more; time still does.
            self.now += SignedDuration::from_hours(2);
        }
        self.sweep();
        let mut busy = true;
        let mut rounds = 0;
        while busy {
            busy = false;
            rounds += 1;
            assert!(rounds < 1000, "it never comes to rest");
            for at in 0..self.seats.len() {
                self.seats[at].around = self.around();
                busy |= self.settle_seat(at);
            }
            if !busy {
                busy = self.reject_all();
            }
        }
        for seat in &self.seats {
            let is_done = seat.is_closed || (seat.is_settled() && seat.client == Client::Open);
            assert!(is_done, "{} waits for nothing: {}", seat.identity.session, seat.story());
            let complete = !seat.is_closed && seat.owes_nothing();
            seat.check(if complete { Extent::Complete } else { Extent::SoFar });
        }
    }

    fn settle_seat(&mut self, at: usize) -> bool {
        let house = self.house.as_ref().unwrap();
        let seat = &mut self.seats[at];
        if seat.is_closed {
            return false;
        }
        let (mut busy, mut dones) = (false, Vec::new());
        while let Some(done) = seat.carry_out(house, self.now) {
            busy = true;
            dones.push(done);
        }
        busy |= seat.write_upstream(usize::MAX);
        busy |= seat.run_upstream();
        busy |= seat.read_upstream(usize::MAX);
        busy |= seat.write_client(usize::MAX);
        busy |= seat.read_client(usize::MAX);
        busy |= seat.deliver_cancel();
        busy |= seat.hear_decision(house);
        dones.iter().for_each(|done| self.remember(done));
        busy
    }

    fn remember(&mut self, done: &Done) {
        match done {
            Done::Nothing => {}
            Done::Opened(id) if self.requests.contains(id) => {}
            Done::Opened(id) => self.requests.push(*id),
            Done::Begun(id) => assert!(self.begun.insert(*id), "released twice"),
        }
    }

    fn reject_all(&mut self) -> bool {
        let (house, now) = (self.house.as_ref().unwrap(), self.now);
        let review = &house.review;
        let held = self
            .requests
            .iter()
            .filter(|id| house.wait(review.reject(**id, &actor("dave"), "enough".to_owned(), now)).is_ok());
        held.count() > 0
    }

    /// What the audit trail says at the end.
    pub fn finish(&mut self) {
        self.tally.sessions = usize::try_from(self.sessions).unwrap();
        self.tally.released = self.begun.len();
        self.tally.executed += self.seats.iter().map(|seat| seat.upstream.executed.len()).sum::<usize>();
        self.tally.taken_back += self.seats.iter().map(Seat::taken_back).sum::<usize>();
        self.seats.clear();
        let intents = self.house.take().unwrap().intents();
        for id in &self.begun {
            assert!(intents.contains(&written(*id)), "{id} ran without an intent in the audit trail");
        }
    }
}
