//! A store in memory: what the others must do, as short as it can be said.
//!
//! Never waits for anything but its turn: each call lets others go first, before it happens and before it answers.
//! Invariant: what has happened is in `commits`, in that order. This file is long because it is a whole store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::*;
use crate::review::{GrantId, GrantRecord, GrantState};

/// How far a node is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    Kept,
    Over,
    Gone,
}

/// One change that has happened.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are only a few at a time")]
pub(crate) enum Commit {
    Request { before: Option<AccessRequest>, after: AccessRequest },
    Grant { before: Option<GrantRecord>, after: GrantRecord },
}

/// What goes wrong with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not happen.
    Before,
    /// It happens, and the answer is lost.
    After,
}

#[derive(Debug)]
struct Row {
    request: AccessRequest,
    binding: Binding,
    mode: Mode,
    node: Option<u64>,
}

/// What is stored.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) now: Timestamp,
    pub(crate) commits: Vec<Commit>,
    pub(crate) fault: Option<Fault>,
    requests: BTreeMap<RequestId, Row>,
    grants: BTreeMap<GrantId, GrantRecord>,
    cards: BTreeMap<RequestId, Card>,
    comments: BTreeMap<RequestId, Vec<Comment>>,
    nodes: BTreeMap<u64, (String, Lease)>,
    /// What no trail tells of: who made it, and the version and the time.
    untold: BTreeMap<Telling, (String, u64, i64)>,
}

/// One node's way to it.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    shelf: Arc<Mutex<Shelf>>,
    node: AtomicU64,
    /// Whether time is the store's.
    owns_time: bool,
}

/// Lets others go first, once.
pub(crate) async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    fn register(&mut self, installation: &str) -> u64 {
        let node = 1 + self.nodes.keys().next_back().copied().unwrap_or_default();
        self.nodes.insert(node, (installation.to_owned(), Lease::Kept));
        node
    }

    fn holds_lease(&self, node: u64) -> Result<(), StoreError> {
        let kept = self.nodes.get(&node).is_some_and(|(_, lease)| *lease == Lease::Kept);
        if kept { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// What is added to a request has to be told by the node that made it.
    fn must_tell(&mut self, node: u64, (before, after): (Option<&AccessRequest>, &AccessRequest)) {
        let (votes, steps) = before.map_or((0, 0), |before| (before.votes.len(), before.transitions.len()));
        let votes = after.votes[votes..].iter().map(|vote| (Telling::of_vote(after.id, vote), vote.at));
        let steps = after.transitions[steps..].iter().map(|step| (Telling::of_transition(after.id, step), step.at));
        let by = self.nodes[&node].0.clone();
        let made = votes.chain(steps).map(|(telling, at)| (telling, (by.clone(), after.version, at.as_microsecond())));
        self.untold.extend(made.collect::<Vec<_>>());
    }

    /// Likewise of grants.
    fn must_tell_grant(&mut self, node: u64, (before, after): (Option<&GrantRecord>, &GrantRecord)) {
        let by = self.nodes[&node].0.clone();
        let added = Telling::of_grant(before, after).into_iter();
        self.untold.extend(added.map(|(telling, at)| (telling, (by.clone(), 0, at))));
    }

    /// Whether trails tell of everything.
    pub(crate) fn is_told(&self) -> bool {
        self.untold.is_empty()
    }

    fn untold(&mut self, node: u64, before: i64) -> Vec<Untold> {
        let me = self.nodes[&node].0.clone();
        let mut found = Vec::new();
        for (telling, (by, version, at)) in &mut self.untold {
            let is_left = self.nodes.values().all(|(of, lease)| of != by || *lease == Lease::Gone);
            let adopted = *by != me && is_left;
            if adopted || (*by == me && *at < before) {
                by.clone_from(&me);
                found.push(Untold { telling: telling.clone(), at: *at, version: *version, adopted });
            }
        }
        found.sort_by_key(|untold| untold.at);
        found
    }

    fn has_room(&self, user: &str, now: Timestamp, most: u32) -> bool {
        let requests = self.requests.values().map(|row| &row.request);
        let requests =
            requests.filter(|open| open.state == State::Pending && open.user == user && open.expires_at > now);
        let grants = self.grants.values();
        let grants =
            grants.filter(|open| open.state == GrantState::Requested && open.user == user && open.expires_at > now);
        requests.count() + grants.count() < most as usize
    }

    fn create(&mut self, new: NewRecord, node: u64) -> Result<bool, StoreError> {
        check_history(&new.request)?;
        self.holds_lease(node)?;
        let (user, now) = (&new.request.user, new.request.created_at);
        if new.undecided_max.is_some_and(|most| !self.has_room(user, now, most)) {
            return Ok(false);
        }
        if self.requests.contains_key(&new.request.id) {
            return Err(StoreError::Invalid("request id"));
        }
        self.must_tell(node, (None, &new.request));
        let node = (new.mode != Mode::Resubmit).then_some(node);
        self.cards.insert(new.request.id, new.card);
        self.commits.push(Commit::Request { before: None, after: new.request.clone() });
        self.requests.insert(new.request.id, Row { request: new.request, binding: new.binding, mode: new.mode, node });
        Ok(true)
    }

    fn apply(&mut self, change: Change, node: u64) -> Result<Option<AccessRequest>, StoreError> {
        let Some(row) = self.requests.get(&change.id) else { return Ok(None) };
        if row.request.version != change.expected_version {
            return Ok(None);
        }
        if let Some(transition) = &change.transition {
            check_transition(Some(row.request.state), transition)?;
            if transition.to == State::Executing {
                self.holds_lease(node)?;
            }
        }
        let Some(row) = self.requests.get_mut(&change.id) else { return Ok(None) };
        let before = row.request.clone();
        let next = &mut row.request;
        next.version += 1;
        if let Some(transition) = change.transition {
            if next.state == State::Pending {
                next.decided_at = Some(transition.at);
            }
            next.state = transition.to;
            if next.state == State::Executing {
                row.node = Some(node);
            }
            next.transitions.push(transition);
        }
        next.votes.extend(change.vote);
        next.expires_at = change.expires_at.unwrap_or(next.expires_at);
        next.outcome = change.outcome.or(next.outcome.take());
        next.justification = change.justification.or(next.justification.take());
        self.comments.entry(change.id).or_default().extend(change.comment);
        if let Some(mode) = change.mode {
            row.mode = mode;
            row.node = row.node.filter(|_| mode != Mode::Resubmit);
        }
        row.binding = change.binding.unwrap_or(row.binding);
        let after = next.clone();
        self.must_tell(node, (Some(&before), &after));
        self.commits.push(Commit::Request { before: Some(before), after: after.clone() });
        if let Some(grant) = change.grant {
            self.must_tell_grant(node, (None, &grant));
            self.commits.push(Commit::Grant { before: None, after: (*grant).clone() });
            self.grants.insert(grant.id, *grant);
        }
        Ok(Some(after))
    }

    /// Ends those of which `which` says how.
    fn end(
        &mut self,
        (node, limit): (u64, usize),
        now: Timestamp,
        which: impl Fn(&Row) -> Option<(State, &'static str)>,
    ) -> Vec<(RequestId, Transition)> {
        let due: Vec<_> = self
            .requests
            .values()
            .filter_map(|row| Some((row.request.id, row.request.version, row.request.state, which(row)?)))
            .take(limit)
            .collect();
        let mut ended = Vec::new();
        for (id, expected_version, from, (to, reason)) in due {
            let transition = Transition {
                from: Some(from),
                to,
                by: "proxy".to_owned(),
                surface: Surface::Proxy,
                at: now,
                reason: Some(reason.to_owned()),
            };
            let change = Change {
                id,
                expected_version,
                vote: None,
                transition: Some(transition.clone()),
                expires_at: None,
                outcome: None,
                mode: None,
                grant: None,
                binding: None,
                comment: None,
                justification: None,
            };
            self.apply(change, node).unwrap().unwrap();
            ended.push((id, transition));
        }
        ended
    }

    fn expire(&mut self, node: u64, now: Timestamp, limit: u32) -> Vec<(RequestId, Transition)> {
        self.end((node, limit as usize), now, |row| match row.request.state {
            _ if row.request.expires_at > now => None,
            State::Pending => Some((State::Expired, "nobody decided in time")),
            State::Approved => Some((State::Expired, "approval was not used in time")),
            State::Executing
            | State::Executed
            | State::Failed
            | State::Unknown
            | State::Rejected
            | State::Expired
            | State::Cancelled
            | State::Revoked => None,
        })
    }

    fn reap(&mut self, me: u64) -> Vec<(RequestId, Transition)> {
        let gone: Vec<u64> =
            self.nodes.iter().filter(|(_, (_, lease))| *lease == Lease::Gone).map(|(node, _)| *node).collect();
        let now = self.now;
        self.end((me, usize::MAX), now, |row| {
            row.node.filter(|node| gone.contains(node))?;
            match (row.request.state, row.mode) {
                (State::Executing, _) => Some((State::Unknown, "proxy was gone while it ran")),
                (State::Pending, Mode::Wait | Mode::Auto) | (State::Approved, Mode::Wait) => {
                    Some((State::Cancelled, "proxy was gone"))
                }
                _ => None,
            }
        })
    }
}

impl MemoryStore {
    /// Joins as `installation`; its earlier nodes are gone.
    pub(crate) fn join(shelf: &Arc<Mutex<Shelf>>, installation: &str, owns_time: bool) -> Self {
        let mut held = lock(shelf);
        for (of, lease) in held.nodes.values_mut() {
            if of == installation {
                *lease = Lease::Gone;
            }
        }
        let node = held.register(installation);
        Self { shelf: Arc::clone(shelf), node: AtomicU64::new(node), owns_time }
    }

    fn id(&self) -> u64 {
        self.node.load(Ordering::Relaxed)
    }

    /// What becomes of the lease when nobody renews it in time, or somebody does.
    pub(crate) fn set_lease(&self, kept: bool) {
        let mut shelf = lock(&self.shelf);
        let Some((installation, lease)) = shelf.nodes.get_mut(&self.id()) else { return };
        match (kept, *lease) {
            (true, Lease::Gone) => {
                let installation = installation.clone();
                let node = shelf.register(&installation);
                self.node.store(node, Ordering::Relaxed);
            }
            (true, Lease::Kept | Lease::Over) => *lease = Lease::Kept,
            (false, Lease::Kept) => *lease = Lease::Over,
            (false, Lease::Over | Lease::Gone) => {}
        }
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Shelf, u64) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            pause().await;
            let done = {
                let mut shelf = lock(&self.shelf);
                match shelf.fault.take() {
                    Some(Fault::Before) => Err(StoreError::Unreachable),
                    Some(Fault::After) => work(&mut shelf, self.id()).and_then(|_lost| Err(StoreError::Timeout)),
                    None => work(&mut shelf, self.id()),
                }
            };
            pause().await;
            done
        })
    }
}

impl Store for MemoryStore {
    fn create(&self, new: NewRecord) -> StoreFuture<'_, bool> {
        self.call(|shelf, node| shelf.create(new, node))
    }

    fn get(&self, id: RequestId) -> StoreFuture<'_, Option<AccessRequest>> {
        self.call(move |shelf, _node| Ok(shelf.requests.get(&id).map(|row| row.request.clone())))
    }

    fn card(&self, id: RequestId) -> StoreFuture<'_, Option<Card>> {
        self.call(move |shelf, _node| Ok(shelf.cards.get(&id).cloned()))
    }

    fn fill_card(&self, id: RequestId, card: Card) -> StoreFuture<'_, ()> {
        self.call(move |shelf, _node| {
            shelf.cards.insert(id, card);
            Ok(())
        })
    }

    fn comments(&self, id: RequestId) -> StoreFuture<'_, Vec<Comment>> {
        self.call(move |shelf, _node| Ok(shelf.comments.get(&id).cloned().unwrap_or_default()))
    }

    fn digests(&self, _filter: DigestFilter) -> StoreFuture<'_, Vec<Digest>> {
        self.call(|_shelf, _node| Ok(Vec::new()))
    }

    fn past(&self, _request: AccessRequest, _user: Option<String>) -> StoreFuture<'_, Past> {
        self.call(|_shelf, _node| Ok(Past::default()))
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Vec<AccessRequest>> {
        self.call(move |shelf, _node| {
            let fits = |request: &&AccessRequest| {
                filter.state.is_none_or(|state| request.state == state)
                    && filter.database.as_ref().is_none_or(|database| request.database == *database)
                    && filter.user.as_ref().is_none_or(|user| request.user == *user)
                    && filter.after.is_none_or(|after| request.id < after)
                    && filter.visible_to.as_ref().is_none_or(|viewer| {
                        let there = viewer.on.iter().filter(|on| on.database == request.database);
                        let groups: Vec<_> = there.flat_map(|on| &on.groups).chain(&viewer.groups).collect();
                        request.user == viewer.name
                            || request.reviewers.iter().any(|demand| groups.contains(&&demand.group))
                    })
            };
            let newest = shelf.requests.values().rev().map(|row| &row.request).filter(fits);
            Ok(newest.take(filter.limit.clamp(1, PAGE_MAX) as usize).cloned().collect())
        })
    }

    fn waiting_on(&self, person: Viewer, now: Timestamp, limit: u32) -> StoreFuture<'_, WaitingOn> {
        self.call(move |shelf, _node| {
            let waits = |request: &&AccessRequest| {
                request.state == State::Pending
                    && request.user != person.name
                    && request.expires_at > now
                    && request.reviewers.iter().any(|demand| {
                        person
                            .ways()
                            .any(|(group, on)| group == demand.group && on.is_none_or(|on| on == request.database))
                    })
                    && request.approvals().all(|vote| vote.by != person.name)
                    && (request.justification.is_some() || !request.justification_required)
            };
            let mut all: Vec<_> = shelf.requests.values().map(|row| &row.request).filter(waits).cloned().collect();
            all.sort_by_key(|request| (request.expires_at, request.id));
            let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
            all.truncate(limit as usize);
            Ok(WaitingOn { count, first: all })
        })
    }

    fn vote_and_transition(&self, change: Change) -> StoreFuture<'_, Option<AccessRequest>> {
        self.call(|shelf, node| shelf.apply(change, node))
    }

    fn find_resubmittable(
        &self,
        binding: Binding,
        user: String,
        state: State,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<AccessRequest>> {
        self.call(move |shelf, _node| {
            let fits = |row: &&Row| {
                let usable = match state {
                    State::Approved => row.mode != Mode::Wait,
                    State::Pending => row.mode == Mode::Resubmit,
                    _ => false,
                };
                usable
                    && (row.binding, &row.request.user, row.request.state) == (binding, &user, state)
                    && row.request.expires_at > now
            };
            Ok(shelf.requests.values().rev().find(fits).map(|row| row.request.clone()))
        })
    }

    fn expire_due(&self, now: Timestamp, limit: u32) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        self.call(move |shelf, node| Ok(shelf.expire(node, now, limit)))
    }

    fn next_expiry(&self) -> StoreFuture<'_, Option<Timestamp>> {
        self.call(|shelf, _node| {
            let open = shelf.requests.values().map(|row| &row.request);
            let open = open.filter(|request| matches!(request.state, State::Pending | State::Approved));
            Ok(open.map(|request| request.expires_at).min())
        })
    }

    fn recover(&self, _now: Timestamp) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        self.call(|shelf, node| Ok(shelf.reap(node)))
    }

    fn create_grant(&self, grant: GrantRecord, undecided_max: Option<u32>) -> StoreFuture<'_, bool> {
        self.call(move |shelf, node| {
            if undecided_max.is_some_and(|most| !shelf.has_room(&grant.user, grant.created_at, most)) {
                return Ok(false);
            }
            shelf.must_tell_grant(node, (None, &grant));
            shelf.commits.push(Commit::Grant { before: None, after: grant.clone() });
            shelf.grants.insert(grant.id, grant);
            Ok(true)
        })
    }

    fn grant(&self, id: GrantId) -> StoreFuture<'_, Option<GrantRecord>> {
        self.call(move |shelf, _node| Ok(shelf.grants.get(&id).cloned()))
    }

    fn grants(&self, filter: GrantFilter) -> StoreFuture<'_, Vec<GrantRecord>> {
        self.call(move |shelf, _node| {
            let fits = |grant: &&GrantRecord| {
                (!filter.open || matches!(grant.state, GrantState::Requested | GrantState::Active))
                    && filter.state.is_none_or(|state| grant.state == state)
                    && filter.database.as_ref().is_none_or(|database| grant.database == *database)
                    && filter.user.as_ref().is_none_or(|user| grant.user == *user)
                    && filter.after.is_none_or(|after| grant.id < after)
            };
            let newest = shelf.grants.values().rev().filter(fits);
            Ok(newest.take(filter.limit.clamp(1, PAGE_MAX) as usize).cloned().collect())
        })
    }

    fn replace_grant(&self, next: GrantRecord) -> StoreFuture<'_, bool> {
        self.call(|shelf, node| {
            let Some(found) = shelf.grants.get(&next.id) else { return Ok(false) };
            if found.version + 1 != next.version {
                return Ok(false);
            }
            check_grant(found.state, next.state)?;
            let before = shelf.grants.insert(next.id, next.clone());
            shelf.must_tell_grant(node, (before.as_ref(), &next));
            shelf.commits.push(Commit::Grant { before, after: next });
            Ok(true)
        })
    }

    fn reap(&self) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        self.call(|shelf, node| {
            if shelf.holds_lease(node).is_ok() {
                for (of, (_, lease)) in &mut shelf.nodes {
                    if *of != node && *lease == Lease::Over {
                        *lease = Lease::Gone;
                    }
                }
            }
            Ok(shelf.reap(node))
        })
    }

    fn untold(&self, before: Timestamp) -> StoreFuture<'_, Vec<Untold>> {
        self.call(move |shelf, node| Ok(shelf.untold(node, before.as_microsecond())))
    }

    fn told(&self, tellings: Vec<Telling>) -> StoreFuture<'_, ()> {
        self.call(move |shelf, _node| {
            shelf.untold.retain(|telling, _| !tellings.contains(telling));
            Ok(())
        })
    }

    fn now(&self) -> Option<Timestamp> {
        self.owns_time.then(|| lock(&self.shelf).now)
    }
}
