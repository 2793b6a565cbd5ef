//! How requests were decided, counted: how fast, by whom asked for, under which rules.
//!
//! Never reads a statement, and never more than [`REQUESTS_MAX`] requests. Invariant: whoever asks is told of those
//! requests only that they may know of.

use std::collections::HashMap;
use std::hash::Hash;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{RequestId, Review, ReviewError, State};
use crate::store::{Decided, Digest, DigestFilter, Viewer};

/// Requests that are counted at most, the newest; more are left out and it is said.
pub const REQUESTS_MAX: u64 = 250_000;
/// Requests that are read from the store at once: others are served in between.
const PAGE: u32 = 5_000;
/// Requesters and shapes that are named.
const TOP: usize = 20;
/// Rules, databases, groups and periods that are told apart.
const SLICES_MAX: usize = 1_000;

/// What is counted.
#[derive(Clone, Debug)]
pub struct Question {
    /// Made at or after this moment.
    pub from: Timestamp,
    /// Made before this moment.
    pub until: Timestamp,
    /// On this database.
    pub database: Option<String>,
    /// By this user.
    pub user: Option<String>,
    /// Held by this rule.
    pub rule: Option<String>,
    /// To be reviewed by this group.
    pub group: Option<String>,
    /// How long the periods are.
    pub per: Period,
    /// Who asks; `None` may know of all.
    pub visible_to: Option<Viewer>,
}

/// Length of a period, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    #[default]
    Day,
    /// A month.
    Month,
}

impl Period {
    /// The period that the moment lies in: `2026-11-20T07`, `2026-11-20` or `2026-11`.
    #[must_use]
    pub fn name(self, at: Timestamp) -> String {
        let format = match self {
            Self::Hour => "%Y-%m-%dT%H",
            Self::Day => "%Y-%m-%d",
            Self::Month => "%Y-%m",
        };
        at.strftime(format).to_string()
    }
}

/// What was counted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Analytics {
    /// Made at or after this moment.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Made before this moment.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// Whether there were more than [`REQUESTS_MAX`]; the oldest are left out then.
    pub truncated: bool,
    /// All of them.
    pub total: Tally,
    /// By database, those with most requests first; so are the other lists.
    pub databases: Vec<Slice>,
    /// By rule.
    pub rules: Vec<Slice>,
    /// By group that was asked.
    pub groups: Vec<Slice>,
    /// By requester: the first twenty.
    pub requesters: Vec<Slice>,
    /// By shape: the first twenty.
    pub shapes: Vec<ShapeSlice>,
    /// By the period in which they were made, oldest first.
    pub periods: Vec<Slice>,
}

/// How many requests, and how they were decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// Requests.
    pub requests: u64,
    /// Approved by others.
    pub approved: u64,
    /// Rejected.
    pub rejected: u64,
    /// Approved by an admin who made them.
    pub self_approved: u64,
    /// Expired without a decision.
    pub expired: u64,
    /// Withdrawn without a decision.
    pub cancelled: u64,
    /// Still waiting.
    pub pending: u64,
    /// Approved, of those that somebody else decided; `None` when there are none.
    pub approval_rate: Option<f64>,
    /// Milliseconds until somebody else decided, for half of them.
    pub decision_ms_p50: Option<u64>,
    /// The same for nine of ten.
    pub decision_ms_p90: Option<u64>,
}

/// Requests that have something in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Slice {
    /// What they have in common.
    pub name: String,
    /// How many, and how they were decided.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Requests of one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShapeSlice {
    /// The newest of them.
    pub example: RequestId,
    /// What it does, in one line.
    pub summary: String,
    /// How many, and how they were decided.
    #[serde(flatten)]
    pub tally: Tally,
}

impl Review {
    /// Counts requests.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn analytics(&self, question: Question) -> Result<Analytics, ReviewError> {
        let mut counting = Counting::default();
        let mut before = None;
        let mut truncated = false;
        loop {
            let filter = DigestFilter {
                from: question.from,
                until: question.until,
                before,
                visible_to: question.visible_to.clone(),
                limit: PAGE,
            };
            let page = self.store.digests(filter).await?;
            page.iter()
                .filter(|digest| question.concerns(digest))
                .for_each(|digest| counting.add(digest, question.per));
            before = page.last().map(|digest| digest.id);
            if page.len() < PAGE as usize {
                break;
            }
            counting.read += u64::from(PAGE);
            truncated = counting.read >= REQUESTS_MAX;
            if truncated {
                break;
            }
        }
        let mut shapes = Vec::new();
        for (example, tally) in top(counting.shapes.into_values().map(|(id, counted)| (id, counted.told()))) {
            let summary = self.store.get(example).await?.map(|request| request.summary).unwrap_or_default();
            shapes.push(ShapeSlice { example, summary, tally });
        }
        let mut periods = slices(counting.periods);
        periods.sort_by(|one, other| one.name.cmp(&other.name));
        let mut requesters = slices(counting.requesters);
        requesters.truncate(TOP);
        Ok(Analytics {
            from: question.from,
            until: question.until,
            truncated,
            total: counting.total.told(),
            databases: slices(counting.databases),
            rules: slices(counting.rules),
            groups: slices(counting.groups),
            requesters,
            shapes,
            periods,
        })
    }
}

impl Question {
    fn concerns(&self, digest: &Digest) -> bool {
        let is = |asked: &Option<String>, value: &str| asked.as_deref().is_none_or(|asked| asked == value);
        let among =
            |asked: &Option<String>, values: &[String]| asked.as_ref().is_none_or(|asked| values.contains(asked));
        is(&self.database, &digest.database)
            && is(&self.user, &digest.requester)
            && among(&self.rule, &digest.rules)
            && among(&self.group, &digest.groups)
    }
}

/// What has been counted so far.
#[derive(Default)]
struct Counting {
    read: u64,
    total: Counted,
    databases: HashMap<String, Counted>,
    rules: HashMap<String, Counted>,
    groups: HashMap<String, Counted>,
    requesters: HashMap<String, Counted>,
    shapes: HashMap<String, (RequestId, Counted)>,
    periods: HashMap<String, Counted>,
}

#[derive(Default)]
struct Counted {
    tally: Tally,
    /// Milliseconds of each decision.
    times: Vec<u64>,
}

impl Counting {
    fn add(&mut self, digest: &Digest, per: Period) {
        self.total.add(digest);
        entry(&mut self.databases, &digest.database).add(digest);
        entry(&mut self.requesters, &digest.requester).add(digest);
        entry(&mut self.periods, &per.name(digest.created_at)).add(digest);
        digest.rules.iter().for_each(|rule| entry(&mut self.rules, rule).add(digest));
        let mut groups = digest.groups.clone();
        groups.sort_unstable();
        groups.dedup();
        groups.iter().for_each(|group| entry(&mut self.groups, group).add(digest));
        if !digest.shape.is_empty() {
            // The newest come first.
            let new = || (digest.id, Counted::default());
            self.shapes.entry(digest.shape.clone()).or_insert_with(new).1.add(digest);
        }
    }
}

/// The count of that name; past a bound, of all others together.
fn entry<'a>(slices: &'a mut HashMap<String, Counted>, name: &str) -> &'a mut Counted {
    let name = if slices.len() < SLICES_MAX || slices.contains_key(name) { name } else { "(others)" };
    if !slices.contains_key(name) {
        slices.insert(name.to_owned(), Counted::default());
    }
    slices.entry(name.to_owned()).or_default()
}

impl Counted {
    fn add(&mut self, digest: &Digest) {
        let tally = &mut self.tally;
        tally.requests += 1;
        let Some(Decided { to, by, at }) = &digest.decided else {
            tally.pending += 1;
            return;
        };
        let by_others = *by != digest.requester;
        match to {
            State::Approved if by_others => tally.approved += 1,
            State::Approved => tally.self_approved += 1,
            State::Rejected => tally.rejected += 1,
            State::Cancelled => tally.cancelled += 1,
            State::Expired => tally.expired += 1,
            State::Pending | State::Executing | State::Executed | State::Failed | State::Unknown | State::Revoked => {}
        }
        if by_others && matches!(to, State::Approved | State::Rejected) {
            let time = at.duration_since(digest.created_at).as_millis();
            self.times.push(u64::try_from(time).unwrap_or(0));
        }
    }

    fn told(mut self) -> Tally {
        self.times.sort_unstable();
        // The smallest that is not exceeded by so many of a hundred.
        let rank = |percent: usize| {
            let rank = (self.times.len() * percent).div_ceil(100);
            self.times.get(rank.checked_sub(1)?).copied()
        };
        let decided = self.tally.approved + self.tally.rejected;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = (decided > 0).then(|| self.tally.approved as f64 / decided as f64);
        Tally { approval_rate: rate, decision_ms_p50: rank(50), decision_ms_p90: rank(90), ..self.tally }
    }
}

fn slices(counted: HashMap<String, Counted>) -> Vec<Slice> {
    let mut slices: Vec<Slice> =
        counted.into_iter().map(|(name, counted)| Slice { name, tally: counted.told() }).collect();
    slices.sort_by(|one, other| (other.tally.requests, &one.name).cmp(&(one.tally.requests, &other.name)));
    slices
}

/// Those with most requests.
fn top<K: Ord + Copy + Hash>(all: impl Iterator<Item = (K, Tally)>) -> Vec<(K, Tally)> {
    let mut all: Vec<(K, Tally)> = all.collect();
    all.sort_by_key(|one| std::cmp::Reverse((one.1.requests, one.0)));
    all.truncate(TOP);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::fixture::at;

    /// `approved bob 5`: what became of it, by whom, after how many seconds.
    fn digest(number: u128, what: &str) -> Digest {
        let mut words = what.split(' ');
        let state = words.next().unwrap().to_uppercase().parse().unwrap();
        let (by, seconds) = (words.next().unwrap_or("proxy").to_owned(), words.next().unwrap_or("0"));
        let decided = Decided { to: state, by, at: at(seconds.parse().unwrap()) };
        Digest {
            id: RequestId(ulid::Ulid(number)),
            requester: "alice".to_owned(),
            database: "shop".to_owned(),
            created_at: at(0),
            shape: "ab".to_owned(),
            rules: vec!["writes".to_owned()],
            groups: vec!["dba".to_owned(), "dba".to_owned()],
            decided: (state != State::Pending).then_some(decided),
        }
    }

    fn counted(what: &[&str]) -> Counting {
        let mut counting = Counting::default();
        (0..).zip(what).for_each(|(number, what)| counting.add(&digest(number, what), Period::Day));
        counting
    }

    #[track_caller]
    fn check_times(seconds: &[u32], p50: Option<u64>, p90: Option<u64>) {
        let what: Vec<String> = seconds.iter().map(|seconds| format!("approved bob {seconds}")).collect();
        let what: Vec<&str> = what.iter().map(String::as_str).collect();
        let tally = counted(&what).total.told();
        assert_eq!((tally.decision_ms_p50, tally.decision_ms_p90), (p50, p90));
    }

    #[test]
    fn times_are_those_of_a_real_decision() {
        check_times(&[], None, None);
        check_times(&[3], Some(3_000), Some(3_000));
        check_times(&[9, 1, 2, 3, 4, 5, 6, 7, 8, 10], Some(5_000), Some(9_000));
    }

    #[test]
    fn what_nobody_decided_counts_neither_for_nor_against() {
        let what = [
            "approved bob 1",
            "rejected bob 2",
            "approved alice 0",
            "expired",
            "cancelled alice 3",
            "pending",
            "approved bob 9",
        ];
        let counting = counted(&what);
        let groups = slices(counting.groups);
        let total = counting.total.told();
        assert_eq!((total.requests, total.approved, total.rejected, total.self_approved), (7, 2, 1, 1));
        assert_eq!((total.expired, total.cancelled, total.pending), (1, 1, 1));
        assert_eq!((total.approval_rate, total.decision_ms_p50), (Some(2.0 / 3.0), Some(2_000)));
        assert_eq!((groups.len(), groups[0].tally.requests), (1, 7), "a group that is asked twice counts once");
    }

    #[test]
    fn names_are_bounded() {
        let mut slices = HashMap::new();
        for number in 0..SLICES_MAX + 50 {
            entry(&mut slices, &number.to_string()).add(&digest(1, "pending"));
        }
        assert_eq!(slices.len(), SLICES_MAX + 1);
        assert_eq!(slices["(others)"].tally.requests, 50);
    }
}
