//! What a policy that lets through nothing but reading does to texts that, as PostgreSQL shows, only read.
//!
//! Never asks the analysis what a read is. Invariant: a read that is stopped is a false alarm, which for its sender is an
//! outage.

use std::sync::LazyLock;
use std::time::Duration;

use countersign_policy::analysis::Analysis;
use countersign_policy::grant::Grants;
use countersign_policy::mask::MaskSet;
use countersign_policy::moment::Moment;
use countersign_policy::rule::{
    Action, DatabasePolicy, Justification, Matcher, Mode, Policy, ReviewDefaults, Rule, Stage,
};
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{Case, Verdict};
use countersign_policy::{Catalog, Effect, Effects};

use super::facts::Facts;

/// Tags of commands that do not write by themselves.
const READING_TAGS: &[&str] = &[
    "SELECT",
    "SHOW",
    "EXPLAIN",
    "FETCH",
    "MOVE",
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "DECLARE CURSOR",
    "CLOSE CURSOR",
    "PREPARE",
    "DEALLOCATE",
    "SET",
    "RESET",
    "LOCK TABLE",
];

/// What counts as more than reading though PostgreSQL's evidence shows no write: files of the server, statistics, advisory
/// locks, and settings that decide what is logged.
const MORE_THAN_READING: &[&str] =
    &["pg_advisory_unlock(", "pg_read_file(", "pg_stat_file(", "pg_stat_reset", "SET log_"];

/// What the policy lets through; anything else in a statement, and whatever is not understood, is denied.
const READING: Effects = Effects::of(&[
    Effect::Select,
    Effect::Show,
    Effect::Explain,
    Effect::Transaction,
    Effect::Cursor,
    Effect::Prepare,
    Effect::Execute,
    Effect::Deallocate,
    Effect::Set,
    Effect::Reset,
]);

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let reading = Rule {
        name: "reading".to_owned(),
        matcher: Matcher { effects: Some(READING), ..Matcher::default() },
        action: Action::Allow,
        message: None,
        reviewers: Vec::new(),
        approvals: 1,
        timeout: None,
        mode: None,
        justification: Justification::Optional,
        stage: Stage::Enforce,
    };
    let database = DatabasePolicy {
        name: SUBJECT.database.clone(),
        default: Action::Deny,
        unparsed: Action::Deny,
        review: ReviewDefaults {
            groups: Vec::new(),
            timeout: Duration::from_secs(1),
            mode: Mode::Wait,
            grant_max: None,
        },
        stage: Stage::Enforce,
    };
    Policy { rules: vec![reading], databases: vec![database], ..Policy::default() }
});

static SUBJECT: LazyLock<Subject> = LazyLock::new(|| Subject {
    user: "reader".to_owned(),
    groups: Vec::new(),
    database: "shop".to_owned(),
    application: String::new(),
});

/// What becomes of a text that only reads.
#[derive(Debug)]
pub enum Read {
    /// The policy lets it through.
    Passed,
    /// The policy stops it, because it carries this.
    Stopped(String),
}

/// Whether PostgreSQL shows that the text only reads.
fn only_reads(text: &str, facts: &Facts) -> bool {
    !MORE_THAN_READING.iter().any(|more| text.contains(more))
        && !facts.tags.is_empty()
        && facts.tags.iter().all(|tag| READING_TAGS.contains(&tag.as_str()))
        && !facts.wrote()
        && !facts.took_advisory_lock()
        && facts.locked().iter().all(|lock| lock.mode == "AccessShareLock")
        && !facts.reading_changed()
        && facts.commands().is_empty()
        && facts.written().is_empty()
}

/// Judges a text by the policy; `None` when it does more than read.
pub fn judge(text: &str, facts: &Facts, analysis: &Analysis, catalog: &Catalog) -> Option<Read> {
    if !only_reads(text, facts) {
        return None;
    }
    let masks = MaskSet::default();
    let case = Case {
        serial: 1,
        subject: &SUBJECT,
        text,
        analysis,
        masks: &masks,
        catalog,
        moment: Moment::default(),
        rows: None,
        approval: None,
        grants: Grants::default(),
    };
    Some(match POLICY.judge(case).verdict {
        Verdict::Allow(_) => Read::Passed,
        Verdict::Hold(_) | Verdict::Deny(_) => {
            Read::Stopped(format!("{:?} {:?}", analysis.effects(), analysis.not_understood()))
        }
    })
}
