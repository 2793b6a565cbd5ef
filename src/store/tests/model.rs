//! Random calls to every kind of store at once: all give the same answers.
//!
//! `COUNTERSIGN_MODEL_STEPS=200000 cargo test --lib store::tests::model` makes so many calls of each.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::memory::{MemoryStore, Shelf};
use super::*;
use crate::review::{GrantRecord, GrantScope, GrantState, GrantTransition};

/// Calls of a normal run, of each store.
const STEPS: usize = 600;

/// Calls, in which a few requests, people and times come up again and again.
struct Caller {
    rng: StdRng,
    second: i64,
    known: Vec<(u128, u64)>,
    grants: Vec<GrantRecord>,
}

/// One call and its answer, as text.
type Answer = Result<String, StoreError>;

fn text<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Answer {
    answer.map(|answer| format!("{answer:?}"))
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Call {
    Create(NewRecord),
    Get(RequestId),
    List(Filter),
    Change(Change),
    Find(Binding, String, State, Timestamp),
    Expire(Timestamp, u32),
    NextExpiry,
    Decided(Vec<RequestId>),
    Give(GrantRecord, Option<u32>),
    Replace(GrantRecord),
    Grants(GrantFilter),
}

impl Call {
    async fn ask(self, store: &dyn Store) -> Answer {
        match self {
            Self::Create(new) => text(store.create(new).await),
            Self::Get(id) => text(store.get(id).await),
            Self::List(filter) => text(store.list(filter).await),
            Self::Change(change) => text(store.vote_and_transition(change).await),
            Self::Find(binding, user, state, now) => text(store.find_resubmittable(binding, user, state, now).await),
            Self::Expire(now, limit) => text(store.expire_due(now, limit).await.map(|mut ended| {
                ended.sort_by_key(|(id, _)| *id);
                ended
            })),
            Self::NextExpiry => text(store.next_expiry().await),
            Self::Decided(ids) => text(store.decided(ids).await.map(|mut decided| {
                decided.sort_by_key(|request| request.id);
                decided.dedup_by_key(|request| request.id);
                decided
            })),
            Self::Give(grant, undecided_max) => text(store.create_grant(grant, undecided_max).await),
            Self::Replace(grant) => text(store.replace_grant(grant).await),
            Self::Grants(filter) => text(store.grants(filter).await),
        }
    }
}

impl Caller {
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())].clone()
    }

    fn name(&mut self, names: &[&str]) -> String {
        self.pick(names).to_owned()
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.rng.random_bool(0.5).then(|| value(self))
    }

    /// A request that is there, with its version or one that is over, or one that is not there.
    fn some_id(&mut self) -> (u128, u64) {
        let any = (self.rng.random_range(1..400), 1);
        if self.known.is_empty() || self.rng.random_bool(0.05) {
            return any;
        }
        let recent = self.known.len().saturating_sub(12);
        let (id, version) = self.known[self.rng.random_range(recent..self.known.len())];
        (id, version.saturating_sub(u64::from(self.rng.random_bool(0.1))))
    }

    fn next(&mut self) -> Call {
        self.second += self.rng.random_range(0..3);
        match self.rng.random_range(0..100) {
            0..20 => self.create(),
            20..60 => self.change(),
            60..68 => Call::Get(RequestId(ulid::Ulid(self.some_id().0))),
            68..74 => Call::List(self.filter()),
            74..82 => {
                let (binding, user) = (Binding([self.rng.random_range(0..6); 32]), self.name(&["alice", "eve"]));
                Call::Find(binding, user, self.pick(&[State::Approved, State::Pending]), at(self.second))
            }
            82..85 => Call::Expire(at(self.second), 1000),
            85..87 => Call::NextExpiry,
            87..90 => Call::Decided((0..4).map(|_| RequestId(ulid::Ulid(self.some_id().0))).collect()),
            90..93 => self.give(),
            93..98 if !self.grants.is_empty() => self.replace(),
            _ => {
                let state = self.maybe(|this| this.pick(&GrantState::ALL));
                let user = self.maybe(|this| this.name(&["alice", "eve"]));
                let (open, limit) = (self.rng.random_bool(0.5), self.rng.random_range(1..20));
                Call::Grants(GrantFilter { open, state, user, limit, ..GrantFilter::default() })
            }
        }
    }

    fn create(&mut self) -> Call {
        let id = if self.rng.random_bool(0.05) { self.some_id().0 } else { 1000 + self.known.len() as u128 };
        let (user, database) = (self.name(&["alice", "eve"]), self.name(&["shop", "hr"]));
        let group = self.name(&["dba", "security"]);
        let approvals = self.rng.random_range(1..3);
        let made = AccessRequest {
            user,
            database,
            reviewers: vec![ReviewerDemand { group, approvals }],
            created_at: at(self.second),
            expires_at: at(self.second + self.rng.random_range(1..60)),
            ..request(id)
        };
        if self.known.iter().all(|(known, _)| *known != id) {
            self.known.push((id, 1));
        }
        let binding = Binding([self.rng.random_range(0..6); 32]);
        let mode = self.pick(&[Mode::Wait, Mode::Resubmit, Mode::Auto]);
        let undecided_max = self.maybe(|this| this.rng.random_range(1..9));
        Call::Create(NewRecord { binding, mode, undecided_max, ..record(made) })
    }

    fn change(&mut self) -> Call {
        let (id, version) = self.some_id();
        let from = self.pick(&[State::Pending, State::Pending, State::Approved, State::Approved, State::Executing]);
        let likely = [State::Approved, State::Approved, State::Executing, State::Executed, State::Cancelled];
        let to = if self.rng.random_bool(0.9) { self.pick(&likely) } else { self.pick(&State::ALL) };
        let second = self.second;
        let made = self.rng.random_bool(0.8);
        let vote = self.maybe(|this| Vote {
            by: this.name(&["bob", "carol"]),
            groups: vec!["dba".to_owned()],
            approve: this.rng.random_bool(0.8),
            reason: this.maybe(|_| "it's \\ fine\n".to_owned()),
            at: at(second),
            surface: Surface::Api,
            edited: this.maybe(|_| "DELETE FROM t WHERE 'ü' = $1".to_owned()),
            offer: None,
            forced: this.rng.random_bool(0.2),
            max_affected: this.maybe(|this| this.rng.random_range(0..9)),
        });
        let transition = Transition {
            from: Some(from),
            to,
            by: "bob".to_owned(),
            surface: Surface::Api,
            at: at(second),
            reason: None,
        };
        Call::Change(Change {
            id: RequestId(ulid::Ulid(id)),
            expected_version: version,
            vote,
            transition: made.then_some(transition),
            expires_at: self.maybe(|this| at(second + this.rng.random_range(1..60))),
            outcome: self.maybe(|_| "DELETE 1".to_owned()),
            mode: self.maybe(|this| this.pick(&[Mode::Resubmit, Mode::Auto])),
            grant: None,
            binding: self.maybe(|this| Binding([this.rng.random_range(0..6); 32])),
            comment: None,
            // What begins is justified already.
            justification: self.maybe(|_| "ticket 'ü'".to_owned()).filter(|_| !(made && to == State::Executing)),
        })
    }

    fn filter(&mut self) -> Filter {
        let there = |this: &mut Self| GroupsOn {
            database: this.name(&["shop", "hr"]),
            groups: vec![this.name(&["dba", "security"])],
        };
        let viewer = |this: &mut Self| Viewer {
            name: this.name(&["alice", "olga"]),
            groups: vec![this.name(&["dba", "security", "x"])],
            on: this.maybe(there).into_iter().collect(),
        };
        Filter {
            state: self.maybe(|this| this.pick(&State::ALL)),
            database: self.maybe(|this| this.name(&["shop", "hr"])),
            user: self.maybe(|this| this.name(&["alice", "eve"])),
            visible_to: self.maybe(viewer),
            after: self.maybe(|this| RequestId(ulid::Ulid(this.some_id().0))),
            limit: self.rng.random_range(1..9),
        }
    }

    fn give(&mut self) -> Call {
        let state = self.pick(&[GrantState::Requested, GrantState::Active]);
        let first = GrantTransition {
            from: None,
            to: state,
            by: "bob".to_owned(),
            surface: Surface::Api,
            at: at(self.second),
            reason: None,
        };
        let grant = GrantRecord {
            id: crate::review::GrantId(ulid::Ulid(5000 + self.grants.len() as u128)),
            state,
            version: 1,
            user: self.name(&["alice", "eve"]),
            database: "shop".to_owned(),
            scope: GrantScope::default(),
            seconds: 60,
            reviewers: Vec::new(),
            request: None,
            summary: String::new(),
            created_at: at(self.second),
            expires_at: at(self.second + 60),
            votes: Vec::new(),
            transitions: vec![first],
        };
        self.grants.push(grant.clone());
        Call::Give(grant, self.maybe(|this| this.rng.random_range(1..9)))
    }

    fn replace(&mut self) -> Call {
        let index = self.rng.random_range(0..self.grants.len());
        let mut next = self.grants[index].clone();
        next.state = self.pick(&GrantState::ALL);
        next.version += if self.rng.random_bool(0.9) { 1 } else { 0 };
        Call::Replace(next)
    }

    /// What is known after an answer that all gave.
    fn learn(&mut self, call: &Call, answer: &Answer, after: &Option<AccessRequest>) {
        if let (Call::Replace(grant), Ok(done)) = (call, answer)
            && done == "true"
            && let Some(known) = self.grants.iter_mut().find(|known| known.id == grant.id)
        {
            *known = grant.clone();
        }
        let Some(request) = after else { return };
        let known = self.known.iter_mut().find(|(id, _)| *id == request.id.0.0);
        known.into_iter().for_each(|(_, version)| *version = request.version);
    }
}

async fn play(seed: u64, steps: usize, stores: &[Arc<dyn Store>]) -> [usize; 3] {
    let mut caller = Caller { rng: StdRng::seed_from_u64(seed), second: 0, known: Vec::new(), grants: Vec::new() };
    let (mut done, mut stale, mut refused) = (0, 0, 0);
    for step in 0..steps {
        let call = caller.next();
        let mut answers = Vec::new();
        for store in stores {
            answers.push(call.clone().ask(&**store).await);
        }
        let first = answers[0].as_ref();
        for (answer, store) in answers.iter().zip(stores) {
            // Each words its failures itself.
            let same = match (first, answer) {
                (Ok(want), Ok(got)) => want == got,
                (Err(_), Err(_)) => true,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            assert!(same, "seed {seed}, step {step}: {call:#?}\n{first:#?}\n{store:?} says {answer:#?}");
        }
        let id = match &call {
            Call::Create(new) => Some(new.request.id),
            Call::Change(change) => Some(change.id),
            _ => None,
        };
        let after = match id {
            Some(id) => stores[0].get(id).await.unwrap(),
            None => None,
        };
        if matches!(call, Call::Change(_)) {
            match first {
                Ok(answer) if answer == "None" => stale += 1,
                Ok(_) => done += 1,
                Err(_) => refused += 1,
            }
        }
        if let Call::Expire(..) = call {
            for (id, version) in &mut caller.known {
                let found = stores[0].get(RequestId(ulid::Ulid(*id))).await.unwrap();
                *version = found.map_or(*version, |request| request.version);
            }
        }
        caller.learn(&call, &answers[0], &after);
    }
    [done, stale, refused]
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::join(&Arc::new(Mutex::new(Shelf::default())), "one", false))
}

#[tokio::test]
async fn every_store_answers_like_the_one_in_memory() {
    let wanted = std::env::var("COUNTERSIGN_MODEL_STEPS").ok().map(|text| text.parse().unwrap()).unwrap_or(STEPS);
    let mut counts = [0; 3];
    for seed in 0..wanted.div_ceil(STEPS) as u64 {
        let (sqlite, postgres) = (Place::sqlite(), Place::postgres().await);
        let stores = [memory(), sqlite.open().await, postgres.open().await];
        let played = play(seed, STEPS, &stores).await;
        counts.iter_mut().zip(played).for_each(|(count, more)| *count += more);
    }
    println!("{wanted} calls of each: changes made, stale, refused: {counts:?}");
    assert!(counts.iter().all(|count| *count > STEPS / 50), "too little happens: {counts:?}");
}
