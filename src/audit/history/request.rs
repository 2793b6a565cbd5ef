//! The story of one access request.
//!
//! Never guesses a step that is not told. Invariant: a request without flaws was released at most once, with the approval
//! of enough distinct people, and has one end.

use jiff::{SignedDuration, Timestamp};

use super::entry::{Intent, Outcome, Step, Vote};
use super::{Finder, HEARD_LATE_MS, same_moment, told_once};
use crate::review::State;
use crate::review::votes::are_met;

#[derive(Default)]
pub(super) struct RequestStory {
    pub(super) steps: Vec<(Timestamp, Step)>,
    pub(super) votes: Vec<(Timestamp, Vote)>,
    pub(super) intents: Vec<(Timestamp, Intent)>,
    pub(super) outcomes: Vec<Outcome>,
}

impl RequestStory {
    /// The state it ended in.
    pub(super) fn end(&self) -> Option<State> {
        self.steps.iter().map(|(_, step)| step.to).find(|to| to.is_final())
    }

    /// Leaves out what is told twice because it was told late.
    pub(super) fn without_echoes(mut self) -> Self {
        told_once(
            &mut self.steps,
            |(_, step)| step.told_at.is_some(),
            |(at, one), (when, other)| {
                same_moment(*at, *when) && (one.from, one.to, &one.by) == (other.from, other.to, &other.by)
            },
        );
        told_once(
            &mut self.votes,
            |(_, vote)| vote.told_at.is_some(),
            |(at, one), (when, other)| same_moment(*at, *when) && (&one.by, one.approve) == (&other.by, other.approve),
        );
        told_once(&mut self.outcomes, |outcome| outcome.told_at.is_some(), |one, other| one.outcome == other.outcome);
        self
    }

    pub(super) fn check(&self, finder: &mut Finder<'_>) {
        self.check_steps(finder);
        self.check_votes(finder);
        self.check_execution(finder);
    }

    fn times(&self, to: State) -> usize {
        self.steps.iter().filter(|(_, step)| step.to == to).count()
    }

    fn step(&self, to: State) -> Option<&(Timestamp, Step)> {
        self.steps.iter().find(|(_, step)| step.to == to)
    }

    /// The state table has no way back, so that each state is entered once at most.
    fn check_steps(&self, finder: &mut Finder<'_>) {
        for state in State::ALL {
            let times = self.times(state);
            if times > 1 {
                finder.broken(format!("became {state} {times} times"));
            }
        }
        let ends: Vec<_> = State::ALL.into_iter().filter(|state| state.is_final() && self.times(*state) > 0).collect();
        if ends.len() > 1 {
            finder.broken(format!("ended as {ends:?}"));
        }
        for (_, step) in &self.steps {
            let legal = match step.from {
                None => step.to == State::Pending,
                Some(from) => from.may_become(step.to),
            };
            if !legal {
                finder.broken(format!("went from {:?} to {}", step.from, step.to));
            }
            if step.by.is_empty() || step.surface.is_empty() {
                finder.broken(format!("became {} by nobody", step.to));
            }
            if step.to == State::Rejected && step.reason.as_deref().unwrap_or_default().trim().is_empty() {
                finder.broken("was rejected without a reason");
            }
            if let Some(from) = step.from
                && self.step(from).is_none()
            {
                finder.missing(format!("it is not told how it became {from}"));
            }
        }
        if self.steps.is_empty() {
            finder.missing("it is not told how it came about");
        }
    }

    fn check_votes(&self, finder: &mut Finder<'_>) {
        let requester = self.requester();
        for (index, (_, vote)) in self.votes.iter().enumerate() {
            if vote.groups.is_empty() {
                finder.broken(format!("{} voted in no group", vote.by));
            }
            if requester == Some(&vote.by) && (!vote.approve || vote.groups != ["admin"]) {
                finder.broken(format!("{} voted on an own request", vote.by));
            }
            if vote.forced && vote.reason.as_deref().unwrap_or_default().trim().is_empty() {
                finder.broken(format!("{} stood in for everybody without a reason", vote.by));
            }
            // Who has approved one text may approve another, and stand in for everybody.
            let same = |(_, other): &&(Timestamp, Vote)| {
                (&other.by, other.approve, other.forced) == (&vote.by, vote.approve, vote.forced)
                    && self.changes_until(other) == self.changes_until(vote)
            };
            if self.votes[..index].iter().any(|other| same(&other)) {
                finder.broken(format!("{} voted twice", vote.by));
            }
        }
    }

    fn requester(&self) -> Option<&String> {
        self.step(State::Pending).map(|(_, step)| &step.by)
    }

    /// Votes in the order in which they were given.
    fn in_order(&self) -> Vec<&Vote> {
        let mut votes: Vec<_> = self.votes.iter().collect();
        votes.sort_by_key(|(at, vote)| (vote.version, *at));
        votes.into_iter().map(|(_, vote)| vote).collect()
    }

    /// How many changes of the text there were until a vote, with its own: what it approves.
    fn changes_until(&self, vote: &Vote) -> usize {
        let votes = self.in_order();
        let until = votes.iter().position(|other| std::ptr::eq(*other, vote)).unwrap_or(votes.len());
        votes.iter().take(until + 1).filter(|vote| vote.edited.is_some()).count()
    }

    fn check_execution(&self, finder: &mut Finder<'_>) {
        if self.intents.len() > 1 {
            finder.broken(format!("was released {} times", self.intents.len()));
        }
        if self.outcomes.len() > 1 {
            finder.broken(format!("ran {} times", self.outcomes.len()));
        }
        if !self.outcomes.is_empty() && self.intents.is_empty() {
            finder.broken("ran without an intent");
        }
        let Some((at, intent)) = self.intents.first() else { return self.check_unreleased(finder) };
        for state in [State::Approved, State::Executing] {
            match self.step(state) {
                None => finder.missing(format!("was released, and it is not told how it became {state}")),
                Some((when, _)) if *when > *at + SignedDuration::from_millis(HEARD_LATE_MS) => {
                    finder.broken(format!("was released before it became {state}"))
                }
                Some(_) => {}
            }
        }
        self.check_approval(intent, finder);
        match (self.end(), self.outcomes.first().map(|outcome| outcome.outcome.as_str())) {
            (None, _) => finder.missing("was released, and it is not told how it ended"),
            (Some(State::Executed), Some("executed"))
            | (Some(State::Failed), Some("failed"))
            // Others may count it as gone before its own proxy tells how it ended.
            | (Some(State::Unknown), Some("executed" | "failed" | "unknown") | None) => {}
            (Some(end), Some(outcome)) => finder.broken(format!("is {end}, and its outcome was {outcome}")),
            (Some(end @ (State::Executed | State::Failed)), None) => {
                finder.missing(format!("is {end}, and its outcome is not told"));
            }
            (Some(end), None) => finder.broken(format!("was released, and is {end}")),
        }
    }

    /// Without an intent nothing ran, whatever began.
    fn check_unreleased(&self, finder: &mut Finder<'_>) {
        if self.end() == Some(State::Executed) {
            finder.broken("was executed without an intent");
        }
    }

    fn check_approval(&self, intent: &Intent, finder: &mut Finder<'_>) {
        let votes = self.in_order();
        let edit = votes.iter().rposition(|vote| vote.edited.is_some());
        let counted: Vec<&Vote> = votes.into_iter().skip(edit.unwrap_or(0)).filter(|vote| vote.approve).collect();
        if let Some(text) = counted.iter().find_map(|vote| vote.edited.as_deref())
            && text != intent.statement
        {
            finder.broken("another text was released than the one that was approved");
        }
        let mut told: Vec<&str> = counted.iter().map(|vote| vote.by.as_str()).collect();
        let mut named: Vec<&str> = intent.approvers.iter().map(String::as_str).collect();
        for names in [&mut told, &mut named] {
            names.sort_unstable();
            names.dedup();
        }
        if named.is_empty() {
            finder.broken("was released with nobody's approval");
        }
        if named != told {
            let all_known = told.iter().all(|name| named.contains(name));
            let text = format!("was released with the approval of {named:?}, and told are the votes of {told:?}");
            if all_known {
                finder.missing(text)
            } else {
                finder.broken(text)
            }
            return;
        }
        let own = named.contains(&intent.user.as_str());
        if own || counted.iter().any(|vote| vote.forced) {
            return;
        }
        let Some(reviewers) = &intent.reviewers else { return };
        let people: Vec<Vec<String>> = named
            .iter()
            .map(|name| counted.iter().filter(|vote| vote.by == **name).flat_map(|vote| vote.groups.clone()).collect())
            .collect();
        if !are_met(reviewers, &people) {
            finder.broken(format!("was released with the approval of {named:?}, who are not enough"));
        }
    }
}
