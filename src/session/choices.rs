//! How the client of a session wants its held statements to be dealt with: `countersign.mode`, `countersign.hold_budget`,
//! `countersign.batch`, as the upstream reports them.
//!
//! Never weakens what the rules say: a client chooses how it waits, not whether. Invariant: a value that is not known is no
//! choice.

use std::time::Duration;

use countersign_policy::rule::Mode;
use countersign_policy::{Analysis, Effect, Effects};
use jiff::{SignedDuration, Timestamp};

use super::machine::Machine;
use super::words::Surroundings;
use crate::duration;

/// What a client has chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    /// Statements of a transaction that are held are approved together.
    pub(super) batch: bool,
    mode: Option<Mode>,
    hold_budget: Option<Duration>,
}

impl Choices {
    /// Reads the settings; `None` is one that is not set.
    pub(super) fn read(batch: Option<&str>, mode: Option<&str>, hold_budget: Option<&str>) -> Self {
        let is_on = |text: &str| ["on", "true", "yes", "1"].iter().any(|word| text.trim().eq_ignore_ascii_case(word));
        let mode_of = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
            "wait" => Some(Mode::Wait),
            "resubmit" => Some(Mode::Resubmit),
            "auto" => Some(Mode::Auto),
            _ => None,
        };
        Self {
            batch: batch.is_some_and(is_on),
            mode: mode.and_then(mode_of),
            hold_budget: hold_budget.and_then(|text| duration::parse(text.trim())),
        }
    }
}

/// Whether it may have locked what others want, for as long as its transaction lasts.
pub(super) fn may_lock(analysis: &Analysis) -> bool {
    const LOCKS: Effects = Effects::of(&[
        Effect::Insert,
        Effect::Update,
        Effect::Delete,
        Effect::Merge,
        Effect::Truncate,
        Effect::CopyIn,
        Effect::Create,
        Effect::Alter,
        Effect::Drop,
        Effect::Grant,
        Effect::Revoke,
        Effect::Comment,
        Effect::SecurityLabel,
        Effect::Lock,
        Effect::Maintenance,
        Effect::Do,
        Effect::Call,
        Effect::FunctionCall,
        Effect::Unknown,
    ]);
    analysis.effects().intersects(LOCKS)
}

impl Machine {
    /// How its requester waits for what the rules hold: as they say, or as the client has chosen where that is stricter. In
    /// mode `auto` nobody waits with locks.
    pub(super) fn mode(&self, by_rules: Mode) -> Mode {
        let chosen = self.names.choices.mode.map_or(by_rules, |chosen| chosen.or_stricter(by_rules));
        if chosen == Mode::Auto && self.locked_in.is_some() { Mode::Resubmit } else { chosen }
    }

    /// When a client that waits from now on in this mode is told to come back.
    pub(super) fn leave_at(&self, mode: Mode, around: &Surroundings) -> Option<Timestamp> {
        let configured = around.config.database(&self.identity.subject.database).and_then(|found| found.hold_budget);
        let budget = configured.into_iter().chain(self.names.choices.hold_budget).min()?;
        let budget = SignedDuration::try_from(budget).unwrap_or(SignedDuration::MAX);
        (mode == Mode::Auto).then(|| around.now.checked_add(budget).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_no_choice() {
        let read = |batch, mode, budget| Choices::read(Some(batch), Some(mode), Some(budget));
        assert_eq!(read("off", "whenever", "soon"), Choices::default());
        assert_eq!(Choices::read(None, None, None), Choices::default());
        let (mode, hold_budget) = (Some(Mode::Resubmit), Some(Duration::from_secs(25)));
        assert_eq!(read(" ON", "Resubmit", "25s"), Choices { batch: true, mode, hold_budget });
    }
}
