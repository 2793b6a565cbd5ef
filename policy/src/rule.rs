//! Rules: matchers and an action, and the [`Policy`] that is all of them at one revision.
//!
//! Never decides by order: every rule that matches is considered and the strictest action wins ([`crate::verdict`]).
//! Invariant: a rule that holds or denies matches when *anything* in a statement fits it; a rule that allows matches
//! only when *everything* in the statement does.

mod columns;
mod glob;
mod matching;
mod text;

use std::time::Duration;

use regex::Regex;

pub use self::glob::{ColumnGlob, Glob, GlobError, NameGlob};
pub(crate) use self::matching::Scope;
pub(crate) use self::text::PlainText;

use crate::effect::Effects;
use crate::mask::MaskRule;
use crate::moment::Window;
use crate::subject::Subject;

/// All rules and masks at one revision of the configuration.
#[derive(Debug, Default)]
pub struct Policy {
    /// Digest of the configuration it was made from.
    pub revision: String,
    /// Rules, in the order of the file (which has no meaning).
    pub rules: Vec<Rule>,
    /// Masks, in the order of the file.
    pub masks: Vec<MaskRule>,
    /// Per database, by the name clients use.
    pub databases: Vec<DatabasePolicy>,
}

impl Policy {
    /// Whether a judgement may depend on the planner's estimate.
    #[must_use]
    pub fn asks_for_rows(&self) -> bool {
        self.rules.iter().any(|rule| rule.matcher.max_rows.is_some())
    }

    /// Whether something of this subject could be held or denied by a rule, or by the default of its database.
    #[must_use]
    pub fn may_object(&self, subject: &Subject) -> bool {
        let Some(database) = self.databases.iter().find(|known| known.name == subject.database) else { return true };
        let objects = |rule: &Rule| {
            rule.action != Action::Allow && rule.stage == Stage::Enforce && rule.matcher.fits_subject(subject)
        };
        database.stage == Stage::Enforce && (database.default != Action::Allow || self.rules.iter().any(objects))
    }

    /// Whether a judgement depends on the time of day.
    #[must_use]
    pub fn asks_for_time(&self) -> bool {
        self.rules.iter().any(|rule| rule.matcher.hours.is_some())
    }
}

/// What holds for one database when no rule says more.
#[derive(Debug)]
pub struct DatabasePolicy {
    /// Name in the configuration (`[databases.NAME]`).
    pub name: String,
    /// Verdict when no rule matches.
    pub default: Action,
    /// What a statement that is not understood gets; never `Allow`.
    pub unparsed: Action,
    /// Defaults for holds.
    pub review: ReviewDefaults,
    /// Whether verdicts are enforced or only recorded.
    pub stage: Stage,
}

/// Defaults of holds on a database.
#[derive(Clone, Debug)]
pub struct ReviewDefaults {
    /// Reviewer groups.
    pub groups: Vec<String>,
    /// How long a request waits.
    pub timeout: Duration,
    /// How the requester waits.
    pub mode: Mode,
    /// Longest time of a grant; `None` where the database does not say.
    pub grant_max: Option<Duration>,
}

/// One `[[rules]]` entry.
#[derive(Debug)]
pub struct Rule {
    /// Unique name.
    pub name: String,
    /// What has to be true for it to match.
    pub matcher: Matcher,
    /// What it does.
    pub action: Action,
    /// DETAIL of the denial, or note on the request.
    pub message: Option<String>,
    /// Reviewer groups of a hold; empty means the database's.
    pub reviewers: Vec<String>,
    /// People per group, from 1.
    pub approvals: u32,
    /// How long a held request waits; `None` means the database's.
    pub timeout: Option<Duration>,
    /// How the requester waits; `None` means the database's.
    pub mode: Option<Mode>,
    /// Whether the requester has to give a reason.
    pub justification: Justification,
    /// Whether the rule is enforced or only recorded.
    pub stage: Stage,
}

/// Whether a requester has to give a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Justification {
    /// Only if they want to.
    #[default]
    Optional,
    /// What is held without one is refused.
    Required,
}

/// Conditions of a rule: all that are present must be true; within one, any of its values.
#[derive(Debug, Default)]
pub struct Matcher {
    /// Database names.
    pub databases: Option<Vec<Glob>>,
    /// User names.
    pub users: Option<Vec<Glob>>,
    /// Groups of the requester.
    pub groups: Option<Vec<Glob>>,
    /// Groups that are exempt.
    pub except_groups: Vec<Glob>,
    /// `application_name` of the client, which is what the client says.
    pub applications: Option<Vec<Glob>>,
    /// Whether a transaction block is open.
    pub in_transaction: Option<bool>,
    /// Windows of local time.
    pub hours: Option<Vec<Window>>,
    /// Effects of the statement.
    pub effects: Option<Effects>,
    /// Relations, as `schema.name`.
    pub relations: Option<Vec<NameGlob>>,
    /// Columns, as `schema.relation.column`.
    pub columns: Option<Vec<ColumnGlob>>,
    /// Which access to a relation counts for `relations` and `columns`.
    pub access: RelationAccess,
    /// Functions, as `name` or `schema.name`.
    pub functions: Option<Vec<NameGlob>>,
    /// An UPDATE or DELETE without a restricting WHERE.
    pub no_where: Option<bool>,
    /// Most rows, by the planner's estimate, that it does not speak of.
    pub max_rows: Option<u64>,
    /// Whether a column that is masked for the requester decides which rows come back, or in which order.
    pub masked_predicate: Option<bool>,
    /// Regular expression over the statement with comments removed.
    pub text: Option<Regex>,
}

/// Compiles a `text` pattern: case is ignored (SQL's key words have none) unless the pattern says `(?-i)`.
///
/// # Errors
/// When it is no valid regular expression, or too large.
pub fn text_pattern(source: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(source).case_insensitive(true).size_limit(1 << 20).build()
}

/// Which access to a relation a rule's `relations` speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelationAccess {
    /// Those written.
    #[default]
    Write,
    /// Those read.
    Read,
    /// Either.
    Any,
}

/// What a rule does; ordered from lenient to strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Lets it pass.
    #[default]
    Allow,
    /// Waits for a decision.
    Hold,
    /// Refuses it.
    Deny,
}

/// How a requester waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On the wire.
    Wait,
    /// By sending the same statement again after approval.
    Resubmit,
    /// On the wire, and by resubmission when that is not possible.
    Auto,
}

impl Mode {
    /// Which of two wins: one that says `resubmit` must not keep a session waiting, and one that says `wait` wants an answer
    /// on the wire.
    #[must_use]
    pub fn or_stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Resubmit, _) | (_, Self::Resubmit) => Self::Resubmit,
            (Self::Wait, _) | (_, Self::Wait) => Self::Wait,
            (Self::Auto, Self::Auto) => Self::Auto,
        }
    }
}

/// Whether a rule or database is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Only records what it would have done.
    Observe,
    /// Enforced.
    #[default]
    Enforce,
}
