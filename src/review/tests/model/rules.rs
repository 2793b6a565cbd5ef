//! What may happen, said once more and otherwise.
//!
//! Never asks the code under test. Invariant: `known` is what the store has, change by change.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::actors::Deed;
use crate::review::{AccessRequest, GrantId, GrantRecord, GrantState, RequestId, State, Surface, Transition, Vote};
use crate::store::tests::memory::Commit;

/// Who is in which group, and what they may do.
#[derive(Clone, Debug)]
pub(super) struct Staff {
    pub(super) groups: BTreeMap<String, Vec<String>>,
    pub(super) bypass: bool,
    pub(super) forcing: Vec<String>,
}

impl Staff {
    fn is_in(&self, name: &str, group: &str) -> bool {
        self.groups.get(name).is_some_and(|groups| groups.iter().any(|known| known == group))
    }
}

/// What somebody does.
#[derive(Clone, Debug)]
pub(super) enum What {
    Session { user: String },
    Approve { id: RequestId },
    Reject { id: RequestId },
    Cancel { id: RequestId },
    Revoke { id: RequestId },
    Sweep,
    Look,
    Recover,
    AskGrant,
    ApproveGrant,
    EndGrant,
}

impl What {
    /// The request that it is about, if it is about one.
    pub(super) fn request(&self) -> Option<RequestId> {
        match self {
            Self::Approve { id } | Self::Reject { id } | Self::Cancel { id } | Self::Revoke { id } => Some(*id),
            Self::Session { .. }
            | Self::Sweep
            | Self::Look
            | Self::Recover
            | Self::AskGrant
            | Self::ApproveGrant
            | Self::EndGrant => None,
        }
    }
}

/// Somebody who is about to do something, and under which circumstances.
pub(super) struct Doing<'a> {
    pub(super) what: &'a What,
    pub(super) by: &'a str,
    pub(super) began: Timestamp,
    pub(super) now: Timestamp,
    /// The staff as its proxy has known it since then, in turn.
    pub(super) staff: Vec<&'a Staff>,
}

impl Doing<'_> {
    fn any(&self, holds: impl Fn(&Staff) -> bool) -> bool {
        self.staff.iter().any(|staff| holds(staff))
    }

    fn all(&self, holds: impl Fn(&Staff) -> bool) -> bool {
        self.staff.iter().all(|staff| holds(staff))
    }
}

/// What has happened so far.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) known: HashMap<RequestId, AccessRequest>,
    grants: HashMap<GrantId, (GrantRecord, Option<usize>)>,
    begun: HashSet<RequestId>,
    ran: HashSet<RequestId>,
    commits: usize,
}

const LEGAL: &str = "PENDING>APPROVED PENDING>REJECTED PENDING>EXPIRED PENDING>CANCELLED APPROVED>EXECUTING \
    APPROVED>EXPIRED APPROVED>CANCELLED APPROVED>REVOKED EXECUTING>EXECUTED EXECUTING>FAILED EXECUTING>UNKNOWN";

impl Rules {
    pub(super) fn commits(&self) -> usize {
        self.commits
    }

    pub(super) fn open_grants(&self) -> Vec<GrantId> {
        self.grants.iter().filter(|(_, (grant, _))| grant.state.is_open()).map(|(id, _)| *id).collect()
    }

    /// A change has reached the store; what is special about it.
    pub(super) fn commit(&mut self, commit: &Commit, doing: &Doing<'_>) -> Vec<&'static str> {
        self.commits += 1;
        match commit {
            Commit::Request { before: None, after } => self.created(after, doing),
            Commit::Request { before: Some(before), after } => self.changed(before, after, doing),
            Commit::Grant { before, after } => {
                self.grant_changed(before.as_ref(), after, doing);
                Vec::new()
            }
        }
    }

    fn created(&mut self, after: &AccessRequest, doing: &Doing<'_>) -> Vec<&'static str> {
        let What::Session { user } = doing.what else { panic!("made by {:?}", doing.what) };
        assert_eq!((&after.user, after.version), (user, 1));
        let bypassed = after.state == State::Approved;
        match after.votes.as_slice() {
            [] => assert_eq!(after.state, State::Pending),
            [vote] => {
                assert!(bypassed && vote.by == *user && vote.approve);
                assert!(doing.any(|staff| staff.bypass && staff.is_in(user, "admin")), "{user} may not");
            }
            votes => panic!("{votes:?}"),
        }
        assert!(self.known.insert(after.id, after.clone()).is_none());
        if bypassed { vec!["bypassed"] } else { Vec::new() }
    }

    fn changed(&mut self, before: &AccessRequest, after: &AccessRequest, doing: &Doing<'_>) -> Vec<&'static str> {
        let id = after.id;
        assert_eq!(self.known[&id].version, before.version, "changed behind our back");
        assert_eq!(after.version, before.version + 1);
        assert!(after.votes.starts_with(&before.votes) && after.votes.len() <= before.votes.len() + 1, "a lost vote");
        assert!(after.transitions.starts_with(&before.transitions), "a lost transition");
        assert!(after.transitions.len() <= before.transitions.len() + 1);
        let (vote, step) = (after.votes.get(before.votes.len()), after.transitions.get(before.transitions.len()));
        let mut marks = Vec::new();
        if let Some(vote) = vote {
            check_vote(before, vote, doing);
            marks.extend(vote.edited.is_some().then_some("edited"));
            marks.extend(vote.forced.then_some("forced"));
            let enough = |staff: &Staff| is_enough(after, vote, staff);
            match after.state {
                State::Approved => assert!(doing.any(enough), "too few approve: {after:#?}"),
                State::Pending => assert!(!doing.all(enough), "enough approve: {after:#?}"),
                State::Rejected => assert!(!vote.approve),
                state => panic!("a vote made it {state}"),
            }
        }
        match step {
            Some(step) => marks.extend(self.check_step(before, step, doing)),
            None => assert_eq!(before.state, after.state),
        }
        self.known.insert(id, after.clone());
        marks
    }

    fn check_step(&mut self, before: &AccessRequest, step: &Transition, doing: &Doing<'_>) -> Option<&'static str> {
        assert_eq!(step.from, Some(before.state));
        let arrow = format!("{}>{}", before.state, step.to);
        assert!(LEGAL.split(' ').any(|legal| legal == arrow), "{arrow}");
        assert!((doing.began..=doing.now).contains(&step.at), "{step:?} at {}", doing.now);
        let by_proxy = step.by == "proxy" && step.surface == Surface::Proxy;
        let eligible = |staff: &Staff| before.reviewers.iter().any(|demand| staff.is_in(doing.by, &demand.group));
        let admin = |staff: &Staff| staff.is_in(doing.by, "admin");
        match (doing.what, step.to) {
            (What::Approve { .. }, State::Approved) => assert_eq!(step.by, doing.by),
            (What::Reject { .. }, State::Rejected) => {
                assert!(doing.any(eligible) && step.by == doing.by && step.reason.is_some());
            }
            (What::Cancel { .. }, State::Cancelled) => {
                assert!(step.by == doing.by && (before.user == doing.by || doing.any(admin)));
            }
            (What::Revoke { .. }, State::Revoked) => {
                assert!(step.by == doing.by && (doing.any(eligible) || doing.any(admin)));
            }
            (What::Session { user }, State::Cancelled) => {
                assert!(step.by == before.user && before.user == *user && step.surface == Surface::Wire);
            }
            (What::Session { .. }, State::Revoked) => assert!(by_proxy && step.reason.is_some()),
            (What::Session { user }, State::Executing) => {
                assert!(by_proxy && before.user == *user);
                assert!(before.expires_at > doing.began, "it had expired");
                assert!(doing.any(|staff| stands(before, staff)), "who approved it has left: {before:#?}");
                assert!(self.begun.insert(before.id), "used twice");
            }
            (What::Session { .. } | What::Sweep, State::Executed | State::Failed) => assert!(by_proxy),
            (What::Session { .. }, State::Unknown) => assert!(by_proxy),
            (What::Sweep, State::Expired) => assert!(by_proxy && before.expires_at <= doing.now),
            (What::Sweep | What::Recover, State::Unknown) => {
                assert!(by_proxy);
                return Some("reaped");
            }
            (What::Sweep | What::Recover, State::Cancelled) => {
                let abandoned = step.by == before.user && step.surface == Surface::Wire;
                assert!(abandoned || by_proxy);
                return by_proxy.then_some("reaped");
            }
            (what, to) => panic!("{what:?} made it {to}"),
        }
        None
    }

    fn grant_changed(&mut self, before: Option<&GrantRecord>, after: &GrantRecord, doing: &Doing<'_>) {
        if let Some(before) = before {
            let (known, ended) = &self.grants[&after.id];
            assert!(ended.is_none() && known.version == before.version && after.version == before.version + 1);
        }
        let newly = after.state == GrantState::Active && before.is_none_or(|before| before.state != GrantState::Active);
        if newly && before.is_some() {
            let people: Vec<&Vote> = after.votes.iter().collect();
            assert!(people.iter().all(|vote| vote.approve && vote.by != after.user));
            let enough = |staff: &Staff| fill(&after.reviewers, &counted(&people, staff));
            assert!(doing.any(enough), "too few approve: {after:#?}");
        }
        if newly && before.is_none() {
            let from = after.request.expect("it came with an approval");
            let request = &self.known[&from];
            assert_eq!((&request.user, &request.database), (&after.user, &after.database));
            let forced = era(&request.votes).iter().any(|vote| vote.forced);
            let counts = era(&request.votes).iter().filter(|vote| vote.approve && (vote.forced || !forced));
            let offers = |vote: &Vote| vote.offer.is_some_and(|offer| offer.seconds >= after.seconds);
            assert!(counts.into_iter().all(offers), "not everybody has offered it: {request:#?}");
        }
        let ended = (!after.state.is_open()).then_some(self.commits);
        self.grants.insert(after.id, (after.clone(), ended));
    }

    /// Something went upstream. `fresh` is how many changes its proxy has certainly heard of.
    pub(super) fn deed(&mut self, deed: &Deed, fresh: usize, intents: &HashSet<RequestId>, now: Timestamp) {
        match deed {
            Deed::Ran { id, text, .. } => {
                let request = &self.known[id];
                assert!(self.begun.contains(id) && self.ran.insert(*id), "it ran twice");
                assert!(intents.contains(id), "it ran before its intent was durable");
                // Other proxies may have counted this one as gone.
                assert!(matches!(request.state, State::Executing | State::Unknown), "{}", request.state);
                let edit = request.votes.iter().rev().find_map(|vote| vote.edited.as_ref());
                assert_eq!(edit.unwrap_or(&request.statement), text, "another text was approved");
            }
            Deed::Lifted { grant, user } => {
                let (record, ended) = &self.grants[grant];
                assert_eq!(record.user, *user);
                assert!(now < record.expires_at, "its time was over");
                assert_ne!(record.state, GrantState::Requested);
                assert!(ended.is_none_or(|ended| ended > fresh), "it had been taken back");
            }
        }
    }
}

fn check_vote(before: &AccessRequest, vote: &Vote, doing: &Doing<'_>) {
    assert_eq!(vote.by, doing.by);
    assert!(before.state == State::Pending && before.expires_at > doing.began, "it was not open");
    let approves = match doing.what {
        What::Approve { .. } => true,
        What::Reject { .. } => false,
        what => panic!("{what:?} votes"),
    };
    assert_eq!(vote.approve, approves);
    let asked = |staff: &Staff| {
        vote.groups
            .iter()
            .all(|group| staff.is_in(&vote.by, group) && before.reviewers.iter().any(|demand| demand.group == *group))
    };
    assert!(!vote.groups.is_empty());
    if vote.by == before.user {
        assert!(vote.approve && doing.any(|staff| staff.bypass && staff.is_in(&vote.by, "admin")));
    } else if vote.forced {
        assert!(vote.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty()));
        let may = |staff: &Staff| {
            vote.groups.iter().all(|group| staff.is_in(&vote.by, group) && staff.forcing.contains(group))
        };
        assert!(doing.any(may));
    } else {
        assert!(doing.any(asked), "{} is not asked: {vote:?}", vote.by);
        let counts = era(&before.votes).iter().any(|other| other.by == vote.by && other.approve);
        assert!(!vote.approve || vote.edited.is_some() || !counts, "{} votes twice", vote.by);
    }
}

/// The votes that are about the text as it is now.
fn era(votes: &[Vote]) -> &[Vote] {
    let from = votes.iter().rposition(|vote| vote.edited.is_some()).unwrap_or(0);
    &votes[from..]
}

fn is_enough(after: &AccessRequest, last: &Vote, staff: &Staff) -> bool {
    if !last.approve {
        return false;
    }
    let people: Vec<&Vote> = era(&after.votes).iter().filter(|vote| vote.approve).collect();
    last.forced || last.by == after.user || fill(&after.reviewers, &counted(&people, staff))
}

/// Whether those who approved it are still those who may.
fn stands(request: &AccessRequest, staff: &Staff) -> bool {
    let people: Vec<&Vote> = era(&request.votes).iter().filter(|vote| vote.approve).collect();
    let counted = counted(&people, staff);
    let alone = people
        .iter()
        .zip(&counted)
        .any(|(vote, groups)| (vote.forced || vote.by == request.user) && !groups.is_empty());
    alone || fill(&request.reviewers, &counted)
}

/// In which groups each of them counts.
fn counted(votes: &[&Vote], staff: &Staff) -> Vec<Vec<String>> {
    let counts = |vote: &&Vote| vote.groups.iter().filter(|group| staff.is_in(&vote.by, group)).cloned().collect();
    votes.iter().map(counts).collect()
}

/// Whether every place can be taken by somebody of its group, by trying every way.
fn fill(demands: &[countersign_policy::verdict::ReviewerDemand], people: &[Vec<String>]) -> bool {
    let places: Vec<&str> =
        demands.iter().flat_map(|demand| vec![demand.group.as_str(); demand.approvals as usize]).collect();
    fn seat(places: &[&str], people: &[Vec<String>]) -> bool {
        let Some((place, rest)) = places.split_first() else { return true };
        (0..people.len()).any(|at| {
            let mut others = people.to_vec();
            others.remove(at).iter().any(|group| group == place) && seat(rest, &others)
        })
    }
    !places.is_empty() && seat(&places, people)
}
