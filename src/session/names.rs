//! What names and literals mean in this session: its search path, role and formats, as the upstream reports them.
//!
//! Never computes them: after anything that may change them, the upstream is asked. Invariant: while they are stale,
//! nothing is judged.

use countersign_policy::analysis::{SessionChange, StatementAnalysis};
use countersign_policy::{Analysis, Catalog, Effect, Effects};
use countersign_protocol::row::Cells;

use super::choices::{self, Choices, Wrong};
use super::justification;

/// The values of settings, each behind a comma.
macro_rules! settings {
    ($($name:literal),+) => {
        concat!($(", pg_catalog.current_setting('", $name, "')"),+)
    };
}

/// Asks for role, search path, the formats and other settings that give a statement another meaning, and what only the proxy
/// reads, in one row. Nothing in it can be shadowed by objects of other schemas.
pub(super) const QUERY: &str = concat!(
    "SELECT current_user::pg_catalog.text, pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text, \
     pg_catalog.current_setting('countersign.reason', true), pg_catalog.concat_ws('; '",
    settings!(
        "DateStyle",
        "IntervalStyle",
        "TimeZone",
        "timezone_abbreviations",
        "lc_monetary",
        "lc_numeric",
        "lc_time",
        "bytea_output",
        "default_text_search_config",
        "extra_float_digits",
        "xmlbinary",
        "xmloption",
        "array_nulls",
        "session_replication_role",
        "transform_null_equals"
    ),
    "), pg_catalog.current_setting('countersign.batch', true), \
     pg_catalog.current_setting('countersign.mode', true), pg_catalog.current_setting('countersign.hold_budget', true)"
);

/// The names and the catalog under which something was analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    names: u64,
    catalog: u64,
}

/// Search path and role.
pub(super) struct Names {
    pub(super) search_path: Vec<String>,
    pub(super) role: String,
    /// The settings that decide which values texts stand for.
    pub(super) formats: String,
    /// Grows when any of them changes.
    learned: u64,
    /// May be different now; ask before judging.
    pub(super) stale: bool,
    /// The cycle of the open transaction in which they were last changed, so that its end may change them again.
    changed_in: Option<u64>,
    /// The requester's reason, as the session has set it.
    pub(super) reason: Option<String>,
    /// How the client wants its held statements to be dealt with.
    pub(super) choices: Choices,
    /// As `changed_in`, for reason and choices.
    chosen_in: Option<u64>,
}

impl Names {
    pub(super) fn unknown() -> Self {
        Self {
            search_path: Vec::new(),
            role: String::new(),
            formats: String::new(),
            learned: 0,
            stale: true,
            changed_in: None,
            reason: None,
            choices: Choices::default(),
            chosen_in: None,
        }
    }

    /// Under which names and catalog an analysis made now is valid. Other sessions' temporary tables are none of it.
    pub(super) fn generation(&self, catalog: &Catalog) -> Generation {
        Generation { names: self.learned, catalog: catalog.version_for(&self.search_path) }
    }

    /// Takes in the row that [`QUERY`] returned; `None` when it is not what was asked for.
    pub(super) fn learn(&mut self, row: &[u8]) -> Option<()> {
        let mut cells = Cells::read(row).ok()?;
        let role = std::str::from_utf8(cells.next()?.ok()??).ok()?.to_owned();
        let search_path: Vec<String> = serde_json::from_slice(cells.next()?.ok()??).ok()?;
        let mut setting =
            || cells.next().and_then(Result::ok).flatten().and_then(|text| std::str::from_utf8(text).ok());
        self.reason = setting().and_then(justification::kept);
        self.formats = setting().unwrap_or_default().to_owned();
        self.choices = Choices::read(setting(), setting(), setting());
        if role != self.role || search_path != self.search_path {
            self.learned = self.learned.saturating_add(1);
            self.role = role;
            self.search_path = search_path;
        }
        self.stale = false;
        Some(())
    }

    /// Notes that a statement with this analysis was forwarded in this cycle.
    pub(super) fn forwarded(&mut self, analysis: &Analysis, cycle: u64) {
        if may_change(analysis) {
            self.stale = true;
            self.changed_in = Some(cycle);
        }
        if chooses(analysis) {
            self.stale = true;
            self.chosen_in = Some(cycle);
        }
        let ends = analysis.effects().contains(Effect::Transaction);
        if ends && (self.changed_in.is_some() || self.chosen_in.is_some()) {
            self.stale = true;
        }
    }

    /// Whether a statement in the middle of a string changes what names in a later one of the same string mean.
    pub(super) fn change_midway(&self, analysis: &Analysis) -> bool {
        const NAMELESS: Effects = Effects::of(&[
            Effect::Transaction,
            Effect::Set,
            Effect::Show,
            Effect::Reset,
            Effect::Listen,
            Effect::Deallocate,
        ]);
        let mut changed = false;
        analysis.statements.iter().any(|statement| {
            let affected = changed && !statement.effects.without(NAMELESS).is_empty();
            let takes_back = self.changed_in.is_some() && statement.effects.contains(Effect::Transaction);
            changed |= takes_back || changes_names(statement);
            affected
        })
    }

    /// Whether the end of the transaction may change them again.
    pub(super) fn may_change_with_transaction(&self) -> bool {
        self.stale || self.changed_in.is_some() || self.chosen_in.is_some()
    }

    /// Notes that no transaction of the cycles before this one is open any more.
    pub(super) fn transaction_ended(&mut self, cycles: u64) {
        for changed in [&mut self.changed_in, &mut self.chosen_in] {
            if changed.is_some_and(|cycle| cycle < cycles) {
                *changed = None;
                self.stale = true;
            }
        }
    }
}

/// Whether names may mean something else after the text.
pub(super) fn may_change(analysis: &Analysis) -> bool {
    const SUSPECT: Effects = Effects::of(&[
        Effect::Do,
        Effect::Call,
        Effect::FunctionCall,
        Effect::Create,
        Effect::Drop,
        Effect::Alter,
        Effect::Unknown,
    ]);
    analysis.statements.iter().any(|statement| {
        changes_names(statement)
            || statement.session_changes.contains(&SessionChange::Values)
            || statement.effects.intersects(SUSPECT)
            || statement.functions.iter().any(|function| function.schema != "pg_catalog")
    })
}

/// Whether what only the proxy reads may be something else after the text.
fn chooses(analysis: &Analysis) -> bool {
    analysis.statements.iter().any(|statement| statement.session_changes.contains(&SessionChange::OfTheProxy))
}

/// Whether it is the purpose of the statement to change what names mean.
pub(super) fn changes_names(statement: &StatementAnalysis) -> bool {
    const PURPOSE: Effects =
        Effects::of(&[Effect::SetRole, Effect::SetDangerous, Effect::Reset, Effect::Discard, Effect::Unknown]);
    statement.effects.intersects(PURPOSE)
        || statement
            .session_changes
            .iter()
            .any(|change| matches!(change, SessionChange::SearchPath | SessionChange::Role | SessionChange::DiscardAll))
}

/// Whether the next statement must not be judged before this one has completed.
pub(super) fn is_barrier(analysis: &Analysis) -> bool {
    may_change(analysis)
        || analysis.statements.iter().any(|statement| {
            statement.effects.contains(Effect::CopyIn)
                || statement
                    .session_changes
                    .iter()
                    .any(|change| !matches!(change, SessionChange::Transaction | SessionChange::TransactionBegun))
        })
}

/// Whether the catalog is different once the statement has been committed.
pub(super) fn changes_catalog(analysis: &Analysis) -> bool {
    const DEFINES: Effects =
        Effects::of(&[Effect::Create, Effect::Alter, Effect::Drop, Effect::Do, Effect::Call, Effect::Unknown]);
    analysis.statements.iter().any(|statement| {
        statement.effects.intersects(DEFINES) || statement.session_changes.contains(&SessionChange::Catalog)
    })
}

/// What the analysed text would set a setting of ours to, and cannot.
pub(super) fn wrong_choice(analysis: &Analysis) -> Option<Wrong> {
    analysis.statements.iter().flat_map(|statement| &statement.session_changes).find_map(|change| {
        let SessionChange::Choice(setting, value) = change else { return None };
        choices::wrong(setting, value)
    })
}

/// The setting that decides how texts are read, and that the analysed text would change.
pub(super) fn changes_reading(analysis: &Analysis) -> Option<&'static str> {
    analysis.statements.iter().flat_map(|statement| &statement.session_changes).find_map(|change| match change {
        SessionChange::Reading(setting) => Some(*setting),
        SessionChange::Prepare(..)
        | SessionChange::Deallocate(_)
        | SessionChange::DeallocateAll
        | SessionChange::DeclareCursor(..)
        | SessionChange::CloseCursor(_)
        | SessionChange::DiscardAll
        | SessionChange::SearchPath
        | SessionChange::Role
        | SessionChange::Catalog
        | SessionChange::Expressions(_)
        | SessionChange::EventTrigger
        | SessionChange::Transaction
        | SessionChange::TransactionBegun
        | SessionChange::OfTheProxy
        | SessionChange::Choice(..)
        | SessionChange::Values => None,
    })
}
