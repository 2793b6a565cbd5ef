//! Several proxies, their clients and reviewers, and everything that can go wrong, from a seed.
//!
//! Never waits for a clock. Invariant: one seed plays the same every time. This file is long because everybody in the world
//! acts on the same few things.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use countersign_policy::rule::Mode;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::actors::{Deed, Leave, Manner, Scene, TEXTS, binding_of, session};
use super::rules::{Doing, Rules, Staff, What};
use crate::audit::{Audit, history_of};
use crate::config::Config;
use crate::review::fixture::{actor, at, new_request};
use crate::review::telling::Heard;
use crate::review::{
    AccessRequest, Consent, GrantAsk, GrantScope, NewRequest, Offer, Outcome, RequestId, Review, ReviewError, Scope,
    State,
};
use crate::store::tests::memory::{Commit, Fault, MemoryStore, Shelf};

const NODES: usize = 3;
/// What goes on at the same time.
const TASKS_MAX: usize = 14;
const REVIEWERS: [&str; 8] = ["bob", "carol", "sam", "sven", "maya", "root", "olga", "alice"];

/// How often what has happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    pub(super) fn count(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or_default()
    }

    fn mark(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, count)| *self.0.entry(what).or_default() += count);
    }
}

/// What a task answers: nothing, or the request as it is told to who decided.
type Answer = Result<Option<AccessRequest>, ReviewError>;

struct Task {
    node: usize,
    what: What,
    by: String,
    began: Timestamp,
    /// Policies of its node that it cannot have seen.
    policies_before: usize,
    commits_before: usize,
    /// Versions that it has made of the request it is about.
    made: Vec<u64>,
    future: Pin<Box<dyn Future<Output = Answer>>>,
}

/// A proxy that runs.
struct Up {
    review: Arc<Review>,
    store: Arc<MemoryStore>,
    audit: Arc<Audit>,
    config: Arc<ArcSwap<Config>>,
}

struct Node {
    name: String,
    up: Option<Up>,
    /// Its policies so far, the last is in force.
    policies: Vec<usize>,
    lines: Vec<String>,
    intents: HashSet<RequestId>,
    /// Changes that it has certainly heard of.
    fresh: usize,
}

/// See the module documentation.
pub(super) struct World {
    pub(super) trace: Vec<String>,
    pub(super) tally: Tally,
    rng: StdRng,
    shelf: Arc<Mutex<Shelf>>,
    nodes: Vec<Node>,
    tasks: Vec<Task>,
    rules: Rules,
    staff: Vec<Staff>,
    requests: Vec<RequestId>,
    deeds: Rc<RefCell<Vec<Deed>>>,
    prints: bool,
}

fn staff_of(config: &Config) -> Staff {
    let groups: BTreeMap<_, _> = config.users.iter().map(|user| (user.name.clone(), user.groups.clone())).collect();
    Staff { groups, bypass: config.review.admins_bypass, forcing: config.review.force_groups.clone() }
}

impl World {
    pub(super) fn new(seed: u64, prints: bool) -> Self {
        let mut base = super::super::grants::guarded();
        base.review.force_groups = vec!["security".to_owned()];
        let mut shelf = Shelf::default();
        shelf.now = at(0);
        let node = |index: usize| Node {
            name: format!("node {index}"),
            up: None,
            policies: vec![0],
            lines: Vec::new(),
            intents: HashSet::new(),
            fresh: 0,
        };
        let mut world = Self {
            trace: Vec::new(),
            tally: Tally::default(),
            rng: StdRng::seed_from_u64(seed),
            shelf: Arc::new(Mutex::new(shelf)),
            nodes: (0..NODES).map(node).collect(),
            tasks: Vec::new(),
            rules: Rules::default(),
            staff: vec![staff_of(&base)],
            requests: Vec::new(),
            deeds: Rc::default(),
            prints,
        };
        (0..NODES).for_each(|node| world.start(node));
        world
    }

    fn note(&mut self, what: String) {
        if self.prints {
            println!("{what}");
        }
        self.trace.push(what);
    }

    fn now(&self) -> Timestamp {
        self.shelf.lock().unwrap().now
    }

    fn pass(&mut self, time: SignedDuration) {
        let mut shelf = self.shelf.lock().unwrap();
        shelf.now = shelf.now.checked_add(time).unwrap();
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())].clone()
    }

    fn policy(&self, index: usize) -> Config {
        let staff = &self.staff[index];
        let mut config = super::super::grants::guarded();
        for user in &mut config.users {
            user.groups = staff.groups.get(&user.name).cloned().unwrap_or_default();
        }
        config.review.admins_bypass = staff.bypass;
        config.review.force_groups = staff.forcing.clone();
        config
    }

    pub(super) fn step(&mut self) {
        self.tally.mark("steps");
        match self.rng.random_range(0..1000) {
            0..220 if self.tasks.len() < TASKS_MAX => self.begin(),
            220..300 => self.write_down(),
            300..325 => self.rarely(),
            _ if self.tasks.is_empty() => self.begin(),
            _ => {
                let task = self.rng.random_range(0..self.tasks.len());
                self.poll(task);
            }
        }
    }

    /// The disk of some proxy catches up.
    fn write_down(&mut self) {
        let node = self.rng.random_range(0..NODES);
        self.write_down_of(node);
    }

    fn write_down_of(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let Some(up) = &node.up else { return };
        for line in up.audit.written() {
            if line.contains("\"kind\":\"intent\"") {
                let record: serde_json::Value = serde_json::from_str(&line).unwrap();
                let id = ulid::Ulid::from_string(record["request"].as_str().unwrap()).unwrap();
                node.intents.insert(RequestId(id));
            }
            node.lines.push(line);
        }
    }

    fn rarely(&mut self) {
        let node = self.rng.random_range(0..NODES);
        match self.rng.random_range(0..100) {
            0..30 => {
                let seconds = self.pick(&[1, 5, 20, 61, 400]);
                self.note(format!("{seconds} s pass"));
                self.pass(SignedDuration::from_secs(seconds));
            }
            30..45 => self.reload(node),
            45..51 => self.crash(node),
            51..60 => self.lease(node, false),
            60..88 => self.lease(node, true),
            _ => {
                let fault = self.pick(&[Fault::Before, Fault::After]);
                self.note(format!("the next call of the store fails: {fault:?}"));
                self.tally.mark(if fault == Fault::After { "lost answer" } else { "failed call" });
                self.shelf.lock().unwrap().fault = Some(fault);
            }
        }
    }

    fn lease(&mut self, node: usize, kept: bool) {
        self.note(format!("{node} {} its lease", if kept { "renews" } else { "loses" }));
        if let Some(up) = &self.nodes[node].up {
            up.store.set_lease(kept);
        }
    }

    /// A proxy takes in a policy: a new one, or that of another proxy.
    fn reload(&mut self, node: usize) {
        self.tally.mark("reload");
        if self.rng.random_bool(0.6) {
            let mut staff = self.staff[self.staff.len() - 1].clone();
            let name = self.pick(&["bob", "carol", "sam", "sven", "maya"]);
            let groups = [vec!["dba"], vec!["dba", "security"], vec!["dba", "security"], vec!["security"], vec![]];
            let groups = self.pick(&groups).into_iter().map(str::to_owned).collect();
            staff.groups.insert(name.to_owned(), groups);
            staff.bypass = self.rng.random_bool(0.7);
            staff.forcing = if self.rng.random_bool(0.7) { vec!["security".to_owned()] } else { Vec::new() };
            self.staff.push(staff);
        }
        let newest = self.staff.len() - 1;
        self.nodes[node].policies.push(newest);
        self.note(format!("{node} reloads: {:?}", self.staff[newest]));
        let config = self.policy(newest);
        if let Some(up) = &self.nodes[node].up {
            up.config.store(Arc::new(config));
        }
    }

    /// SIGKILL: what is under way is not heard of again, and what was not written down is lost.
    fn crash(&mut self, node: usize) {
        if self.nodes[node].up.is_none() {
            return;
        }
        self.tally.mark("crash");
        self.note(format!("{node} is killed"));
        self.tasks.retain(|task| task.node != node);
        self.nodes[node].up = None;
    }

    fn start(&mut self, node: usize) {
        let policy = *self.nodes[node].policies.last().unwrap();
        let store = Arc::new(MemoryStore::join(&self.shelf, &self.nodes[node].name, false));
        let (audit, config) = (Arc::new(Audit::detached()), Arc::new(ArcSwap::from_pointee(self.policy(policy))));
        let shared: Arc<dyn crate::store::Store> = Arc::clone(&store) as _;
        let review = Review::new(shared, Arc::clone(&audit), Arc::clone(&config));
        self.nodes[node].up = Some(Up { review: Arc::clone(&review), store, audit, config });
        self.note(format!("{node} starts"));
        let now = self.now();
        self.shelf.lock().unwrap().fault = None;
        let lines = self.nodes[node].lines.clone();
        self.task(node, What::Recover, "proxy", async move {
            review.catch_up_with(now, |_since| Ok(Heard::of_lines(&lines))).await?;
            review.recover(now).await.map(|()| None)
        });
        let recovery = self.tasks.len() - 1;
        while self.tasks.len() > recovery {
            self.write_down_of(node);
            self.poll(recovery);
        }
    }

    fn task(&mut self, node: usize, what: What, by: &str, future: impl Future<Output = Answer> + 'static) {
        self.pass(SignedDuration::from_millis(1));
        self.tasks.push(Task {
            node,
            what,
            by: by.to_owned(),
            began: self.now() - SignedDuration::from_millis(1),
            policies_before: self.nodes[node].policies.len() - 1,
            commits_before: self.rules.commits(),
            made: Vec::new(),
            future: Box::pin(future),
        });
    }

    /// Somebody begins to do something.
    fn begin(&mut self) {
        let node = self.rng.random_range(0..NODES);
        let Some(up) = &self.nodes[node].up else { return self.start(node) };
        let review = Arc::clone(&up.review);
        let now = self.now();
        match self.rng.random_range(0..100) {
            0..25 => self.session(node, review),
            25..78 => self.decide(node, review),
            78..88 => self.task(node, What::Sweep, "proxy", async move { review.sweep(now).await.map(|()| None) }),
            88..94 => {
                let waiting = review.pending.ids();
                self.task(node, What::Look, "proxy", async move { review.look(waiting).await.map(|()| None) });
            }
            _ => self.decide_grant(node, review),
        }
    }

    fn session(&mut self, node: usize, review: Arc<Review>) {
        let user = self.pick(&["alice", "alice", "alice", "maya", "root"]);
        let demands = self.pick(&["dba", "dba*2", "dba security", "dba*2 security"]);
        let mode = self.pick(&[Mode::Wait, Mode::Resubmit, Mode::Auto]);
        let text = self.pick(&TEXTS).to_owned();
        let new = NewRequest {
            binding: binding_of(&text),
            user: user.to_owned(),
            statement: text,
            ..new_request(demands, mode)
        };
        let leave = match mode {
            Mode::Wait => [Leave::Withdraw, Leave::Vanish],
            Mode::Resubmit | Mode::Auto => [Leave::Park, Leave::Vanish],
        };
        let outcomes =
            [Outcome::Executed("DELETE 1".to_owned()), Outcome::Failed("23505".to_owned()), Outcome::Unknown];
        let manner = Manner {
            patience: self.rng.random_range(0..80),
            leave: self.pick(&leave),
            denied: self.rng.random_bool(0.1),
            extended: self.rng.random_bool(0.5),
            outcome: self.pick(&outcomes),
        };
        self.note(format!("{node} {user} sends {:?} ({demands}, {mode:?}), {manner:?}", new.statement));
        let scene = Scene { review, shelf: Arc::clone(&self.shelf), deeds: Rc::clone(&self.deeds) };
        let held = session(scene, new, manner);
        self.task(node, What::Session { user: user.to_owned() }, user, async move { held.await.map(|()| None) });
    }

    fn consent(&mut self) -> Consent {
        let seconds = self.pick(&[5, 30]);
        let scope = self.pick(&[Scope::Shape, Scope::Rules, Scope::Database]);
        let edited = self.rng.random_bool(0.15).then(|| self.pick(&TEXTS).to_owned());
        Consent {
            reason: self.rng.random_bool(0.8).then(|| "fine".to_owned()),
            offer: self.rng.random_bool(0.15).then_some(Offer { seconds, scope }),
            forced: self.rng.random_bool(0.08),
            edited,
            max_affected: None,
        }
    }

    fn decide(&mut self, node: usize, review: Arc<Review>) {
        if self.requests.is_empty() {
            return;
        }
        let recent = self.requests.len().saturating_sub(4);
        let id = self.requests[self.rng.random_range(recent..self.requests.len())];
        let (who, now) = (self.pick(&REVIEWERS), self.now());
        let person = actor(who);
        let (consent, choice) = (self.consent(), self.rng.random_range(0..20));
        let reason = Some("because".to_owned());
        match choice {
            0..15 => {
                self.note(format!("{node} {who} approves {id}: {consent:?}"));
                self.task(node, What::Approve { id }, who, async move {
                    review.approve(id, &person, consent, now).await.map(Some)
                });
            }
            15..17 => {
                self.note(format!("{node} {who} rejects {id}"));
                self.task(node, What::Reject { id }, who, async move {
                    review.reject(id, &person, "no".to_owned(), now).await.map(Some)
                });
            }
            17..19 => {
                self.note(format!("{node} {who} cancels {id}"));
                self.task(node, What::Cancel { id }, who, async move {
                    review.cancel(id, &person, reason, now).await.map(Some)
                });
            }
            _ => {
                self.note(format!("{node} {who} revokes {id}"));
                self.task(node, What::Revoke { id }, who, async move {
                    review.revoke(id, &person, reason, now).await.map(Some)
                });
            }
        }
    }

    fn decide_grant(&mut self, node: usize, review: Arc<Review>) {
        let (who, now) = (self.pick(&REVIEWERS), self.now());
        let person = actor(who);
        let mut open = self.rules.open_grants();
        open.sort_unstable();
        if open.is_empty() || self.rng.random_bool(0.3) {
            let time = std::time::Duration::from_secs(self.pick(&[5, 30]));
            let ask = GrantAsk { database: "shop".to_owned(), time, scope: GrantScope::default(), reason: None };
            self.note(format!("{node} {who} asks for a grant"));
            return self.task(node, What::AskGrant, who, async move {
                review.request_grant(&person, ask, now).await.map(|_| None)
            });
        }
        let id = self.pick(&open);
        if self.rng.random_bool(0.6) {
            self.note(format!("{node} {who} approves grant {id}"));
            return self.task(node, What::ApproveGrant, who, async move {
                review.approve_grant(id, &person, None, now).await.map(|_| None)
            });
        }
        self.note(format!("{node} {who} ends grant {id}"));
        let choice = self.rng.random_range(0..3);
        self.task(node, What::EndGrant, who, async move {
            let ended = match choice {
                0 => review.reject_grant(id, &person, "no".to_owned(), now).await,
                1 => review.cancel_grant(id, &person, None, now).await,
                _ => review.revoke_grant(id, &person, None, now).await,
            };
            ended.map(|_| None)
        });
    }

    /// A task goes on until it lets others go first, and what it has changed meanwhile is judged.
    fn poll(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        let polled = task.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let commits = std::mem::take(&mut self.shelf.lock().unwrap().commits);
        let now = self.shelf.lock().unwrap().now;
        let node = &self.nodes[task.node];
        let policies: HashSet<usize> = node.policies[task.policies_before..].iter().copied().collect();
        let staff = policies.into_iter().map(|policy| &self.staff[policy]).collect();
        let doing = Doing { what: &task.what, by: &task.by, began: task.began, now, staff };
        for commit in &commits {
            for mark in self.rules.commit(commit, &doing) {
                self.tally.mark(mark);
            }
            match commit {
                Commit::Request { before, after } => {
                    if before.is_none() {
                        self.requests.push(after.id);
                    }
                    if task.what.request() == Some(after.id) {
                        task.made.push(after.version);
                    }
                }
                Commit::Grant { .. } => {}
            }
        }
        for deed in self.deeds.borrow_mut().drain(..) {
            self.rules.deed(&deed, node.fresh, &node.intents, now);
            self.tally.mark(match deed {
                Deed::Ran { is_ticket: true, .. } => "ran with a ticket",
                Deed::Ran { .. } => "ran at once",
                Deed::Lifted { .. } => "lifted",
            });
        }
        for commit in &commits {
            self.trace.push(format!("  {} made {}", self.tasks[index].by, told(commit)));
            if self.prints {
                println!("{}", self.trace[self.trace.len() - 1]);
            }
        }
        if let Poll::Ready(answer) = polled {
            let task = self.tasks.swap_remove(index);
            self.finished(&task, &answer);
        }
    }

    /// What is told to who decided is what has happened.
    fn finished(&mut self, task: &Task, answer: &Answer) {
        if task.what.request().is_some() {
            match answer {
                Ok(Some(request)) => assert_eq!(task.made, [request.version], "{:?} {answer:#?}", task.what),
                Err(ReviewError::Store(_)) => assert!(task.made.len() <= 1, "{:?}", task.made),
                Ok(None) | Err(_) => assert!(task.made.is_empty(), "{:?} {answer:?}", task.what),
            }
        }
        if answer.is_ok() && matches!(task.what, What::Sweep | What::Recover | What::EndGrant) {
            let fresh = &mut self.nodes[task.node].fresh;
            *fresh = (*fresh).max(task.commits_before);
        }
        if let Err(error) = answer {
            self.note(format!("  {} {:?}: {error}", task.by, task.what));
        }
    }

    /// Everything comes to its end, and the trails alone tell what has happened.
    pub(super) fn settle(&mut self) {
        for round in 0..5 {
            // What was forgotten counts as such after a while.
            self.pass(SignedDuration::from_secs(if round == 1 { 120 } else { 15 }));
            (0..NODES).filter(|node| self.nodes[*node].up.is_none()).collect::<Vec<_>>().into_iter().for_each(|node| {
                self.start(node);
            });
            (0..NODES).for_each(|node| self.lease(node, true));
            for node in 0..NODES {
                let (review, now) = (Arc::clone(&self.nodes[node].up.as_ref().unwrap().review), self.now());
                self.task(node, What::Sweep, "proxy", async move { review.sweep(now).await.map(|()| None) });
            }
            let mut turns = 0;
            while !self.tasks.is_empty() {
                turns += 1;
                assert!(turns < 200_000, "it never comes to rest");
                (0..NODES).for_each(|node| self.write_down_of(node));
                self.shelf.lock().unwrap().fault = None;
                let task = self.rng.random_range(0..self.tasks.len());
                self.poll(task);
            }
        }
        (0..NODES).for_each(|node| self.write_down_of(node));
        let states: HashMap<_, _> = self.rules.known.iter().map(|(id, request)| (*id, request.state)).collect();
        assert!(states.values().all(|state| *state != State::Executing), "it runs for ever: {states:?}");
        let history = history_of(self.nodes.iter().flat_map(|node| node.lines.iter().map(String::as_str)));
        assert!(history.flaws.is_empty(), "{:#?}", history.flaws);
        assert!(self.shelf.lock().unwrap().is_told(), "what is done is told, sooner or later");
    }
}

fn told(commit: &Commit) -> String {
    match commit {
        Commit::Request { after, .. } => {
            format!("{} {} v{} with {} votes", after.id, after.state, after.version, after.votes.len())
        }
        Commit::Grant { after, .. } => format!("grant {} {} v{}", after.id, after.state, after.version),
    }
}
