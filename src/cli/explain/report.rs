//! What `explain` tells, for machines and for people in a terminal.
//!
//! Never prints a name raw: what is not printable or looks like something else is spelt out. Invariant: both forms say the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use countersign_policy::analysis::{BaseColumn, Lineage, StatementAnalysis};
use countersign_policy::rule::Justification;
use countersign_policy::verdict::{Estimate, HoldTerms, Judgement, ReviewerDemand, Rows, Verdict};
use countersign_policy::{Analysis, Catalog, Effect, Effects};
use serde::Serialize;

use crate::cli::output::{Colour, visible_line};
use crate::duration::in_words;

/// What `explain` found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `allow`, `hold`, `deny`, or `error` for what can only fail.
    pub(super) verdict: &'static str,
    /// Rules that matched; empty when a default of the database or a mask decides.
    pub(super) rules: Vec<String>,
    /// What else holds it: `databases.NAME.default`, `databases.NAME.unparsed`, `masks.predicates`, `masks.stores`.
    pub(super) causes: Vec<String>,
    /// Observed rules that would have held or denied.
    pub(super) observed: Vec<String>,
    /// Who would have to approve.
    pub(super) reviewers: Vec<ReviewerDemand>,
    /// How long it would wait for them.
    pub(super) timeout_seconds: Option<u64>,
    /// What the rules and the proxy have to say.
    pub(super) messages: Vec<String>,
    /// The planner's estimate, where a rule asks for it.
    pub(super) estimate: Option<EstimateReport>,
    /// The reason for the statement, where it has one or needs one.
    pub(super) justification: Option<JustificationReport>,
    pub(super) statements: Vec<StatementReport>,
    /// Result columns with the mask each would get.
    pub(super) columns: Vec<ColumnReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EstimateReport {
    Rows(u64),
    Unavailable(&'static str),
}

#[derive(Debug, Serialize)]
pub(super) struct JustificationReport {
    pub(super) required: bool,
    /// The one in the comment that the statement begins with.
    pub(super) given: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct StatementReport {
    effects: Vec<&'static str>,
    /// Effects by relation.
    relations: BTreeMap<String, Vec<&'static str>>,
    /// Columns it refers to, as `schema.relation.column`; `null` when that cannot be told.
    reads: Option<Vec<String>>,
    /// Columns it writes, of the statements that name them.
    writes: Vec<String>,
    functions: Vec<String>,
    no_where: bool,
    not_understood: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ColumnReport {
    pub(super) name: String,
    pub(super) masked: bool,
}

impl Report {
    /// The report of a judgement. `given` is the reason in the statement's comment.
    pub(super) fn new(judgement: Judgement, analysis: &Analysis, catalog: &Catalog, given: Option<String>) -> Self {
        let (verdict, terms, messages) = match judgement.verdict {
            Verdict::Allow(_) => ("allow", None, Vec::new()),
            Verdict::Deny(denial) => ("deny", None, denial.message.into_iter().collect()),
            Verdict::Hold(terms) => ("hold", Some(terms.clone()), terms.messages),
        };
        let asked = |terms: &HoldTerms| terms.justification == Justification::Required;
        let required = terms.as_ref().is_some_and(asked);
        let own =
            |terms: &HoldTerms| terms.causes.iter().filter(|cause| !terms.rules.contains(cause)).cloned().collect();
        Self {
            verdict,
            rules: judgement.matched,
            causes: terms.as_ref().map(own).unwrap_or_default(),
            observed: judgement.observed,
            reviewers: terms.as_ref().map(|terms| terms.reviewers.clone()).unwrap_or_default(),
            timeout_seconds: terms.as_ref().map(|terms| terms.timeout.as_secs()),
            messages,
            estimate: match judgement.estimate {
                Estimate::NotNeeded | Estimate::Wanted => None,
                Estimate::Known(Rows::Estimated(rows)) => Some(EstimateReport::Rows(rows)),
                Estimate::Known(Rows::Unavailable(why)) => Some(EstimateReport::Unavailable(why)),
            },
            justification: (required || given.is_some()).then_some(JustificationReport { required, given }),
            statements: analysis.statements.iter().map(|statement| StatementReport::new(statement, catalog)).collect(),
            columns: Vec::new(),
        }
    }

    /// For people.
    pub(super) fn text(&self, colour: Colour) -> String {
        let mut out = String::new();
        let verdict = match self.verdict {
            "allow" => colour.green("ALLOW"),
            "hold" => colour.yellow("HOLD"),
            "error" => colour.red("ERROR"),
            _ => colour.red("DENY"),
        };
        // Writing to a String cannot fail.
        let _ok = writeln!(out, "{verdict}{}", self.because());
        let mut field = |name: &str, value: String| {
            let _ok = writeln!(out, "  {}  {value}", colour.dim(&format!("{name:<11}")));
        };
        let line = |text: &str| visible_line(text, colour);
        if !self.reviewers.is_empty() {
            let needs: Vec<_> = self.reviewers.iter().map(demand).collect();
            let within = self.timeout_seconds.map(|seconds| in_words(std::time::Duration::from_secs(seconds)));
            let within = within.map(|within| colour.dim(&format!(" within {within}"))).unwrap_or_default();
            field("approval by", format!("{}{within}", line(&needs.join(" and "))));
        }
        self.messages.iter().for_each(|message| field("message", line(message)));
        match &self.estimate {
            Some(EstimateReport::Rows(rows)) => {
                field("estimate", format!("about {rows} {}", if *rows == 1 { "row" } else { "rows" }))
            }
            Some(EstimateReport::Unavailable(why)) => field("estimate", colour.yellow(&format!("none: {why}"))),
            None => {}
        }
        match &self.justification {
            Some(JustificationReport { given: Some(given), .. }) => field("reason", line(given)),
            Some(JustificationReport { given: None, .. }) => {
                field("reason", colour.yellow("required: begin the statement with /* reason: … */"));
            }
            None => {}
        }
        for (number, statement) in self.statements.iter().enumerate() {
            if self.statements.len() > 1 {
                field("statement", format!("{} of {}", number + 1, self.statements.len()));
            }
            statement.tell(&mut field, colour);
        }
        for column in &self.columns {
            let shown = if column.masked { colour.yellow("masked") } else { colour.green("clear") };
            field("result", format!("{}: {shown}", line(&column.name)));
        }
        for rule in &self.observed {
            field("observed", format!("{} would act on it if it were enforced", line(rule)));
        }
        out
    }

    fn because(&self) -> String {
        if self.verdict == "error" {
            return " at once, as PostgreSQL would raise it".to_owned();
        }
        let rules = self.rules.iter().map(|rule| format!("\"{rule}\""));
        let all: Vec<_> = rules.chain(self.causes.iter().cloned()).collect();
        if all.is_empty() { " by the defaults of the database".to_owned() } else { format!(" by {}", all.join(", ")) }
    }
}

fn demand(demand: &ReviewerDemand) -> String {
    match demand.approvals {
        0 | 1 => demand.group.clone(),
        people => format!("{people} of {}", demand.group),
    }
}

impl StatementReport {
    fn new(statement: &StatementAnalysis, catalog: &Catalog) -> Self {
        let words = |effects: Effects| effects.iter().map(Effect::as_str).collect::<Vec<_>>();
        let relations = statement.relations.iter().map(|used| (used.name.to_string(), words(used.effects)));
        Self {
            effects: words(statement.effects),
            relations: relations.collect(),
            reads: match &statement.reads {
                Lineage::Columns(columns) => Some(names(columns, catalog)),
                Lineage::Unknown(_) => None,
            },
            writes: names(&statement.writes, catalog),
            functions: statement.functions.iter().map(ToString::to_string).collect(),
            no_where: statement.no_where,
            not_understood: statement.not_understood.as_ref().map(ToString::to_string),
        }
    }

    fn tell(&self, field: &mut impl FnMut(&str, String), colour: Colour) {
        let line = |text: &str| visible_line(text, colour);
        field("effects", colour.bold(&self.effects.join(", ")));
        for (relation, effects) in &self.relations {
            field("relation", format!("{}: {}", line(relation), effects.join(", ")));
        }
        for (name, columns) in [("writes", Some(&self.writes)), ("reads", self.reads.as_ref())] {
            match columns {
                Some(columns) if columns.is_empty() => {}
                Some(columns) => field(name, line(&columns.join(", "))),
                None => field(name, colour.yellow("any column: which ones cannot be told")),
            }
        }
        if !self.functions.is_empty() {
            field("functions", line(&self.functions.join(", ")));
        }
        if self.no_where {
            field("all rows", colour.red("no WHERE restricts it"));
        }
        if let Some(why) = &self.not_understood {
            field("unknown", colour.red(&format!("not understood: {}", line(why))));
        }
    }
}

/// Columns as `schema.relation.column`; those of the server's own catalogs are left out, they are not what people ask about.
fn names(columns: &[BaseColumn], catalog: &Catalog) -> Vec<String> {
    const FIRST_USER_OID: u32 = 16_384;
    let mut names = Vec::new();
    for column in columns.iter().filter(|column| column.relation >= FIRST_USER_OID) {
        let Some(relation) = catalog.relation(column.relation) else { continue };
        let own = relation.column(column.attnum).map_or("*", |column| column.name.as_str());
        names.push(format!("{}.{}.{own}", relation.schema, relation.name));
    }
    names.sort_unstable();
    names.dedup();
    names
}
