//! How the client of a session wants its held statements to be dealt with: `countersign.mode`, `countersign.hold_budget`,
//! `countersign.batch`, as the upstream reports them.
//!
//! Never weakens what the rules say: a client chooses how it waits, not whether. Invariant: a value that is not known is no
//! choice.

use std::time::Duration;

use countersign_policy::rule::Mode;
use countersign_policy::{Analysis, Effect, Effects};
use countersign_protocol::sqlstate;
use jiff::{SignedDuration, Timestamp};

use super::machine::Machine;
use super::words::Surroundings;
use crate::{duration, visible};

const ON: [&str; 4] = ["on", "true", "yes", "1"];
const OFF: [&str; 4] = ["off", "false", "no", "0"];

/// Every setting that the proxy reads, with what it can be set to.
const SETTINGS: [(&str, &str); 4] = [
    ("countersign.batch", "on, off"),
    ("countersign.hold_budget", "a time such as 25s or 10m"),
    ("countersign.mode", "wait, resubmit, auto"),
    ("countersign.reason", "any text"),
];

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
        let is_on = |text: &str| ON.iter().any(|word| text.trim().eq_ignore_ascii_case(word));
        Self {
            batch: batch.is_some_and(is_on),
            mode: mode.and_then(mode_of),
            hold_budget: hold_budget.and_then(|text| duration::parse(text.trim())),
        }
    }
}

fn mode_of(text: &str) -> Option<Mode> {
    match text.trim().to_ascii_lowercase().as_str() {
        "wait" => Some(Mode::Wait),
        "resubmit" => Some(Mode::Resubmit),
        "auto" => Some(Mode::Auto),
        _ => None,
    }
}

/// A setting of ours with a value that it cannot have, or a name that none of them has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// SQLSTATE.
    pub sqlstate: &'static str,
    /// Primary message.
    pub message: String,
    /// HINT: what there is, and the nearest of it.
    pub hint: String,
}

/// What is wrong with setting this to that, if something is; `setting` is in lower case. Nothing at all unsets it.
pub(crate) fn wrong(setting: &str, value: &str) -> Option<Wrong> {
    let Some((_, allowed)) = SETTINGS.iter().find(|(known, _)| *known == setting) else {
        let names = SETTINGS.map(|(known, _)| known);
        return setting.starts_with("countersign.").then(|| Wrong {
            sqlstate: sqlstate::UNDEFINED_OBJECT,
            message: format!("unrecognized configuration parameter \"{setting}\""),
            hint: with_nearest(format!("Countersign has {}.", names.join(", ")), setting, names),
        });
    };
    let is_word = |words: &[&str]| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word));
    let is_valid = match setting {
        _ if value.is_empty() => true,
        "countersign.batch" => is_word(&ON) || is_word(&OFF),
        "countersign.hold_budget" => duration::parse(value.trim()).is_some(),
        "countersign.mode" => mode_of(value).is_some(),
        _ => true,
    };
    (!is_valid).then(|| Wrong {
        sqlstate: sqlstate::INVALID_PARAMETER_VALUE,
        message: format!("invalid value for parameter \"{setting}\": \"{}\"", visible::head(value, 63)),
        hint: with_nearest(format!("Available values: {allowed}."), value, allowed.split(", ")),
    })
}

fn with_nearest<'w>(hint: String, word: &str, valid: impl IntoIterator<Item = &'w str>) -> String {
    let nearest = crate::config::nearest(&word.trim().to_ascii_lowercase(), valid);
    nearest.map_or_else(|| hint.clone(), |nearest| format!("{hint} Did you mean \"{nearest}\"?"))
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

    #[track_caller]
    fn check(setting: &str, value: &str, want: &str) {
        let told = wrong(setting, value).map(|wrong| format!("{} {} {}", wrong.sqlstate, wrong.message, wrong.hint));
        assert_eq!(told.as_deref().unwrap_or(""), want);
    }

    #[test]
    fn what_cannot_be_chosen_is_said_with_what_can() {
        check(
            "countersign.mode",
            "wiat",
            "22023 invalid value for parameter \"countersign.mode\": \"wiat\" \
             Available values: wait, resubmit, auto. Did you mean \"wait\"?",
        );
        check(
            "countersign.mode",
            "x",
            "22023 invalid value for parameter \"countersign.mode\": \"x\" Available values: wait, resubmit, auto.",
        );
        check(
            "countersign.batch",
            "onn",
            "22023 invalid value for parameter \"countersign.batch\": \"onn\" \
             Available values: on, off. Did you mean \"on\"?",
        );
        check(
            "countersign.hold_budget",
            "soon",
            "22023 invalid value for parameter \"countersign.hold_budget\": \"soon\" \
             Available values: a time such as 25s or 10m.",
        );
        check(
            "countersign.mod",
            "wait",
            "42704 unrecognized configuration parameter \"countersign.mod\" Countersign has countersign.batch, \
             countersign.hold_budget, countersign.mode, countersign.reason. Did you mean \"countersign.mode\"?",
        );
    }

    #[test]
    fn what_can_be_chosen_passes() {
        for value in ["wait", " Resubmit ", "AUTO", ""] {
            check("countersign.mode", value, "");
        }
        for value in ["on", "OFF", "0", "yes", "false"] {
            check("countersign.batch", value, "");
        }
        check("countersign.hold_budget", "25s", "");
        check("countersign.reason", "wiat", "");
        check("application_name", "wiat", "");
        check("myapp.mode", "wiat", "");
    }
}
