//! The story of one grant.
//!
//! Never knows what a statement was: whether a scope fits is judged when it is used. Invariant: a grant without flaws has
//! lifted holds of its user only, on its database, while it was in force.

use jiff::{SignedDuration, Timestamp};

use super::entry::{GrantStep, GrantVote, Verdict};
use super::{Finder, HEARD_LATE_MS, same_moment, told_once};
use crate::review::GrantState;

#[derive(Default)]
pub(super) struct GrantStory {
    pub(super) steps: Vec<(Timestamp, GrantStep)>,
    pub(super) votes: Vec<(Timestamp, GrantVote)>,
    /// When it lifted a hold.
    pub(super) used: Vec<(Timestamp, Verdict)>,
}

impl GrantStory {
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
        self
    }

    pub(super) fn check(&self, finder: &mut Finder<'_>) {
        for (_, step) in &self.steps {
            let legal = match step.from {
                None => matches!(step.to, GrantState::Requested | GrantState::Active),
                Some(from) => from.may_become(step.to),
            };
            if !legal {
                finder.broken(format!("went from {:?} to {}", step.from, step.to));
            }
            if step.by.is_empty() || (step.to == GrantState::Active && step.by == step.user) {
                finder.broken(format!("became {} by \"{}\"", step.to, step.by));
            }
        }
        for (_, step) in &self.steps {
            if let Some(from) = step.from
                && !self.steps.iter().any(|(_, other)| other.to == from)
            {
                finder.missing(format!("it is not told how it became {from}"));
            }
        }
        for state in GrantState::ALL {
            if self.steps.iter().filter(|(_, step)| step.to == state).count() > 1 {
                finder.broken(format!("became {state} more than once"));
            }
        }
        if self.steps.iter().filter(|(_, step)| !step.to.is_open()).count() > 1 {
            finder.broken("ended more than once");
        }
        for (index, (_, vote)) in self.votes.iter().enumerate() {
            let same = |(_, other): &(Timestamp, GrantVote)| (&other.by, other.approve) == (&vote.by, vote.approve);
            if self.votes[..index].iter().any(same) {
                finder.broken(format!("{} voted twice", vote.by));
            }
        }
        self.check_use(finder);
    }

    fn check_use(&self, finder: &mut Finder<'_>) {
        if self.used.is_empty() {
            return;
        }
        let Some((since, given)) = self.steps.iter().find(|(_, step)| step.to == GrantState::Active) else {
            finder.missing("was used, and it is not told how it was given");
            return;
        };
        let late = SignedDuration::from_millis(HEARD_LATE_MS);
        let ended = self.steps.iter().find(|(_, step)| !step.to.is_open()).map(|(at, _)| *at);
        let until = ended.map_or(given.expires_at, |ended| ended.min(given.expires_at));
        for (at, verdict) in &self.used {
            if (&verdict.user, &verdict.database) != (&given.user, &given.database) {
                finder.broken(format!("was used by {} on {}", verdict.user, verdict.database));
            }
            if *at + late < *since || *at > until + late {
                finder.broken(format!("was used at {at}, and was in force from {since} to {until}"));
            }
        }
    }
}
