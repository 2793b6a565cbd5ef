//! The custom settings (`app.tenant`) that a held statement may read: an approval is bound to their values.
//!
//! Never computes a value: the upstream is asked, on the session's own connection, right before a statement is held.
//! Invariant: values are forgotten when anything is sent that the upstream answers, so that no approval is bound to old ones.

use std::collections::BTreeSet;

use countersign_policy::Effect;
use countersign_policy::settings_read::{SettingsRead, custom, named};
use countersign_protocol::Frame;
use countersign_protocol::row::Cells;

use super::expected::Run;
use super::machine::Machine;
use super::parked::{Asked, runs_a_name};
use super::words::Surroundings;

/// How many names of a session are remembered.
const SEEN_MAX: usize = 200;

/// What is known of them.
#[derive(Default)]
pub(super) struct Settings {
    /// Names that texts of this session have set.
    seen: BTreeSet<String>,
    /// It has set others, too.
    is_unknown: bool,
    /// The values that were asked for, until something else is sent.
    known: Option<Vec<Setting>>,
}

/// A setting and its value; `None` when it was never set.
pub(super) type Setting = (String, Option<String>);

impl Settings {
    /// Notes what a request that is forwarded may set.
    pub(super) fn forwarded(&mut self, run: &Run) {
        let effects = run.analysis.effects();
        self.is_unknown |= effects.contains(Effect::SetDangerous);
        if effects.contains(Effect::Set) {
            self.saw(named(&run.text));
        }
    }

    /// Notes names that the session has set.
    pub(super) fn saw(&mut self, names: impl IntoIterator<Item = String>) {
        self.seen.extend(names);
        while self.seen.len() > SEEN_MAX {
            self.seen.pop_last();
            self.is_unknown = true;
        }
    }

    /// Something is sent that may change them.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}

/// What asks for the values of settings with these plain names.
pub(super) fn query(names: &[String]) -> String {
    let values: Vec<String> = names.iter().map(|name| format!("pg_catalog.current_setting('{name}', true)")).collect();
    format!("SELECT pg_catalog.array_to_json(ARRAY[{}])::pg_catalog.text", values.join(", "))
}

impl Machine {
    /// Notes the settings that the session began with.
    pub(super) fn began_with(&mut self, names: &[String]) {
        self.settings.saw(names.iter().filter_map(|name| custom(name)));
    }

    /// The settings that it may read, and whether there may be others.
    fn settings_of(&self, asked: &Asked, around: &Surroundings) -> (Vec<String>, bool) {
        let mut of_text = SettingsRead::default();
        of_text.read_text(&asked.text);
        let of_objects = around.catalog.settings_read();
        let is_open = of_text.is_open() || of_objects.is_open() || runs_a_name(&asked.analysis);
        let mut names: BTreeSet<&str> = of_text.names().chain(of_objects.names()).collect();
        if is_open {
            names.extend(self.settings.seen.iter().map(String::as_str));
        }
        let database = around.config.database(&self.identity.subject.database);
        let unbound = database.map(|database| database.unbound_settings.as_slice()).unwrap_or_default();
        let bound = names.into_iter().filter(|name| !unbound.iter().any(|unbound| unbound == name));
        (bound.map(str::to_owned).collect(), is_open && self.settings.is_unknown)
    }

    /// The names whose values are to be asked for before it can be held.
    pub(super) fn wants_settings(&self, asked: &Asked, around: &Surroundings) -> Option<Vec<String>> {
        let (names, _) = self.settings_of(asked, around);
        (!names.is_empty() && self.known_settings(&names).is_none()).then_some(names)
    }

    /// The values of exactly these, if they are known.
    fn known_settings(&self, names: &[String]) -> Option<&[Setting]> {
        let known = self.settings.known.as_deref()?;
        known.iter().map(|(name, _)| name).eq(names).then_some(known)
    }

    /// Has the upstream asked; the frame waits meanwhile.
    pub(super) fn ask_settings(&mut self, frame: &Frame, names: Vec<String>) {
        if self.expected.is_empty() {
            let text = query(&names);
            self.ask_own(&text, Some(names));
        }
        self.postpone(frame);
    }

    /// Takes in the row that [`query`] returned; `None` when it is not what was asked for.
    pub(super) fn learn_settings(&mut self, names: Vec<String>, row: &[u8]) -> Option<()> {
        let values: Vec<Option<String>> = serde_json::from_slice(Cells::read(row).ok()?.next()?.ok()??).ok()?;
        if values.len() != names.len() {
            return None;
        }
        self.settings.known = Some(names.into_iter().zip(values).collect());
        Some(())
    }

    /// Those that it may read, with their values, for people.
    pub(super) fn shown_settings(&self, asked: &Asked, around: &Surroundings) -> Vec<Setting> {
        let (names, _) = self.settings_of(asked, around);
        self.known_settings(&names).map(<[Setting]>::to_vec).unwrap_or_default()
    }

    /// The settings that an approval of it is bound to, with their values, as far as they are known.
    pub(super) fn bound_settings(&self, asked: &Asked, around: &Surroundings) -> Vec<Setting> {
        let (names, is_unknown) = self.settings_of(asked, around);
        if names.is_empty() && !is_unknown {
            return Vec::new();
        }
        // No setting has this name: what is not known fits nothing that was.
        let not_known = || vec![("?".to_owned(), None)];
        let known =
            (!names.is_empty()).then(|| self.known_settings(&names).map_or_else(not_known, <[Setting]>::to_vec));
        let mut bound = known.unwrap_or_default();
        if is_unknown {
            // Nobody can tell what it has set: such an approval serves only this session.
            bound.push((String::new(), Some(self.identity.session.clone())));
        }
        bound
    }
}
