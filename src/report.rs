//! What the proxy makes of a statement, for whoever has to understand it: `countersign explain`, and a reviewer's card.
//!
//! Never judges: it retells a judgement and an analysis. Never holds the statement's text or values of a table. Invariant:
//! it is made by [`Report::new`] alone, so that `explain` and a card say the same, and it comes back from JSON as it went.

use std::collections::BTreeMap;

use countersign_policy::analysis::{BaseColumn, Lineage, StatementAnalysis};
use countersign_policy::rule::Justification;
use countersign_policy::verdict::{Estimate, HoldTerms, Judgement, ReviewerDemand, Rows, Verdict};
use countersign_policy::{Analysis, Catalog, Effect};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is told of one text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What would happen, or happened.
    pub verdict: Outcome,
    /// Rules that matched; empty when a default of the database or a mask decides.
    pub rules: Vec<String>,
    /// What else holds it: `databases.NAME.default`, `databases.NAME.unparsed`, `masks.predicates`, `masks.stores`.
    pub causes: Vec<String>,
    /// Observed rules that would have held or denied.
    pub observed: Vec<String>,
    /// Who would have to approve.
    pub reviewers: Vec<ReviewerDemand>,
    /// How long it would wait for them.
    pub timeout_seconds: Option<u64>,
    /// What the rules and the proxy have to say.
    pub messages: Vec<String>,
    /// The planner's estimate, where a rule asks for it.
    pub estimate: Option<EstimateReport>,
    /// The reason for the statement, where it has one or needs one.
    pub justification: Option<JustificationReport>,
    /// One for each statement of the text, in order.
    pub statements: Vec<StatementReport>,
    /// Result columns and whether they would be masked; empty where whoever made the report did not ask for them.
    pub columns: Vec<ColumnReport>,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is forwarded.
    Allow,
    /// It waits for people.
    Hold,
    /// It is refused.
    Deny,
    /// It can only fail, and does so at once.
    Error,
}

/// What the planner says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EstimateReport {
    /// About so many rows.
    Rows(u64),
    /// Nothing, and why.
    Unavailable(String),
}

/// The reason that whoever sent it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JustificationReport {
    /// Whether a rule demands one.
    pub required: bool,
    /// The one that is given.
    pub given: Option<String>,
}

/// What one statement does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementReport {
    /// Its effects, in the documented order.
    #[schema(value_type = Vec<String>)]
    pub effects: Vec<Effect>,
    /// Effects by relation, as `schema.relation`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub relations: BTreeMap<String, Vec<Effect>>,
    /// Columns it refers to, as `schema.relation.column`; `None` when that cannot be told.
    pub reads: Option<Vec<String>>,
    /// Columns it writes, of the statements that name them.
    pub writes: Vec<String>,
    /// Functions it calls, as `schema.function`.
    pub functions: Vec<String>,
    /// An UPDATE or DELETE of all rows.
    pub no_where: bool,
    /// Why it is not understood, if it is not.
    pub not_understood: Option<String>,
}

/// One column of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// As PostgreSQL names it.
    pub name: String,
    /// Whether a mask covers it.
    pub masked: bool,
}

impl Report {
    /// The report of a judgement, without columns. `catalog` is the one it was analysed with, `given` the reason that came
    /// with it.
    #[must_use]
    pub fn new(judgement: &Judgement, analysis: &Analysis, catalog: &Catalog, given: Option<String>) -> Self {
        let (verdict, terms, messages) = match &judgement.verdict {
            Verdict::Allow(_) => (Outcome::Allow, None, Vec::new()),
            Verdict::Deny(denial) => (Outcome::Deny, None, denial.message.iter().cloned().collect()),
            Verdict::Hold(terms) => (Outcome::Hold, Some(terms), terms.messages.clone()),
        };
        let required = terms.is_some_and(|terms| terms.justification == Justification::Required);
        let own =
            |terms: &HoldTerms| terms.causes.iter().filter(|cause| !terms.rules.contains(cause)).cloned().collect();
        Self {
            verdict,
            rules: judgement.matched.clone(),
            causes: terms.map(own).unwrap_or_default(),
            observed: judgement.observed.clone(),
            reviewers: terms.map(|terms| terms.reviewers.clone()).unwrap_or_default(),
            timeout_seconds: terms.map(|terms| terms.timeout.as_secs()),
            messages,
            estimate: match &judgement.estimate {
                Estimate::NotNeeded | Estimate::Wanted => None,
                Estimate::Known(Rows::Estimated(rows)) => Some(EstimateReport::Rows(*rows)),
                Estimate::Known(Rows::Unavailable(why)) => Some(EstimateReport::Unavailable((*why).to_owned())),
            },
            justification: (required || given.is_some()).then_some(JustificationReport { required, given }),
            statements: analysis.statements.iter().map(|statement| StatementReport::new(statement, catalog)).collect(),
            columns: Vec::new(),
        }
    }
}

impl StatementReport {
    /// The first statements of a text, at most so many.
    #[must_use]
    pub fn first(most: usize, analysis: &Analysis, catalog: &Catalog) -> Vec<Self> {
        analysis.statements.iter().take(most).map(|statement| Self::new(statement, catalog)).collect()
    }

    fn new(statement: &StatementAnalysis, catalog: &Catalog) -> Self {
        let relations = statement.relations.iter().map(|used| (used.name.to_string(), used.effects.iter().collect()));
        Self {
            effects: statement.effects.iter().collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_from_json_as_it_went() {
        let statement = StatementReport {
            effects: vec![Effect::Delete, Effect::FunctionCall],
            relations: BTreeMap::from([("public.orders".to_owned(), vec![Effect::Delete])]),
            reads: None,
            writes: vec!["public.orders.id".to_owned()],
            functions: vec!["public.close".to_owned()],
            no_where: true,
            not_understood: Some("unknown function".to_owned()),
        };
        let report = Report {
            verdict: Outcome::Hold,
            rules: vec!["writes".to_owned()],
            causes: vec!["masks.predicates".to_owned()],
            observed: vec!["tried".to_owned()],
            reviewers: vec![ReviewerDemand { group: "dba".to_owned(), approvals: 2 }],
            timeout_seconds: Some(3600),
            messages: vec!["ask \"first\"".to_owned()],
            estimate: Some(EstimateReport::Unavailable("the planner was not asked".to_owned())),
            justification: Some(JustificationReport { required: true, given: None }),
            statements: vec![statement],
            columns: vec![ColumnReport { name: "email".to_owned(), masked: true }],
        };
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""verdict":"hold""#) && json.contains(r#"["delete","function_call"]"#), "{json}");
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        let unknown = json.replace(r#""delete","function_call""#, r#""delete","destroy""#);
        assert!(serde_json::from_str::<Report>(&unknown).is_err());
    }
}
