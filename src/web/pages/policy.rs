//! Databases, rules and masks as they are in force, and the switch between enforcing and observing.
//!
//! Never names a database to who may neither connect to it nor review what happens there. Invariant: a switch is thrown
//! only for the configuration that the page showed.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use countersign_policy::rule::{DatabasePolicy, Rule, Stage};

use super::{Answer, Frame, PageError, page, sql};
use crate::config::edit::Staged;
use crate::config::{Config, told};
use crate::review::analytics::Slice;
use crate::web::analytics::{AnalyticsQuery, count};
use crate::web::fields::Fields;
use crate::web::session::{SignedIn, Submitted};
use crate::web::{ApiState, Problem, configure};

/// How far back requests are counted.
const COUNTED: &str = "30d";

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    frame: Frame,
    revision: String,
    warnings: Vec<String>,
    databases: Vec<DatabaseShown>,
    rules: Vec<RuleShown>,
    masks: Vec<MaskShown>,
    /// The token for forms, for who may change the configuration.
    csrf: Option<String>,
    done: Option<&'static str>,
    problem: Option<String>,
}

struct DatabaseShown {
    name: String,
    defaults: String,
    groups: String,
    grants: String,
    observed: bool,
    figures: String,
}

struct RuleShown {
    name: String,
    action: String,
    tone: &'static str,
    conditions: Vec<String>,
    observed: bool,
    figures: String,
}

struct MaskShown {
    name: String,
    columns: String,
    words: String,
}

/// `GET /policy`.
pub(in crate::web) async fn policy(
    State(state): State<ApiState>,
    person: SignedIn,
    RawQuery(query): RawQuery,
) -> Answer {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let done = match fields.get("done") {
        Some("enforce") => Some("It is enforced from now on."),
        Some("observe") => Some("It is only observed from now on: nothing is held or denied by it."),
        Some(_) | None => None,
    };
    shown(&state, &person, done, None).await
}

/// `GET /policy/{kind}`, when somebody loads the answer to a form again.
pub(in crate::web) async fn back_to_policy() -> Redirect {
    Redirect::to("/policy")
}

/// `POST /policy/{kind}`.
pub(in crate::web) async fn set_stage(
    State(state): State<ApiState>,
    Path(kind): Path<String>,
    Submitted { person, fields }: Submitted,
) -> Answer {
    let name = fields.get("name").unwrap_or_default().to_owned();
    let what = match kind.as_str() {
        "rules" => Staged::Rule(name),
        "databases" => Staged::Database(name),
        _ => return Err(PageError::of(&person)(Problem::bad_request("There is no such button"))),
    };
    let (stage, word) = match fields.get("stage") {
        Some("observe") => (Stage::Observe, "observe"),
        Some("enforce") => (Stage::Enforce, "enforce"),
        Some(_) | None => return Err(PageError::of(&person)(Problem::bad_request("A stage is enforce or observe"))),
    };
    let seen = fields.get("revision").unwrap_or_default();
    match configure::set_stage(&state, (&person.principal, &person.actor()), what, stage, seen).await {
        Ok(()) => Ok(Redirect::to(&format!("/policy?done={word}")).into_response()),
        Err(problem) => shown(&state, &person, None, Some(problem)).await,
    }
}

async fn shown(state: &ApiState, person: &SignedIn, done: Option<&'static str>, problem: Option<Problem>) -> Answer {
    let config = state.config.load_full();
    let groups = &person.principal.groups;
    let configures = state.review.configures(groups);
    let may_know = |name: &str, policy: &DatabasePolicy| {
        let open = config.database(name).is_some_and(|database| database.groups.iter().any(|one| groups.contains(one)));
        open || state.review.sees_all(groups) || policy.review.groups.iter().any(|one| groups.contains(one))
    };
    let known: Vec<_> = config.policy.databases.iter().filter(|policy| may_know(&policy.name, policy)).collect();
    let query = AnalyticsQuery { last: Some(COUNTED.to_owned()), ..AnalyticsQuery::default() };
    let counted = count(state, &person.principal, query).await.map_err(PageError::of(person))?;
    let concerns = |rule: &&Rule| {
        let named = rule.matcher.databases.as_deref();
        named.is_none_or(|globs| globs.iter().any(|glob| known.iter().any(|one| glob.matches(&one.name))))
    };
    let shown = PolicyPage {
        frame: Frame::load(state, person, "policy").await.map_err(PageError::of(person))?,
        revision: config.policy.revision.clone(),
        warnings: if configures { config.warnings.clone() } else { Vec::new() },
        databases: known.iter().map(|policy| database(&config, policy, &counted.databases)).collect(),
        rules: config.policy.rules.iter().filter(concerns).map(|one| rule(one, &counted.rules)).collect(),
        masks: config.policy.masks.iter().map(mask).collect(),
        csrf: configures.then(|| person.token.csrf()),
        done,
        problem: problem.as_ref().map(|problem| format!("{}.", problem.detail)),
    };
    let status = problem.map_or(200, |problem| problem.status);
    Ok(page(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), &shown))
}

fn database(config: &Config, policy: &DatabasePolicy, counted: &[Slice]) -> DatabaseShown {
    let groups = config.database(&policy.name).map(|database| database.groups.join(", ")).unwrap_or_default();
    DatabaseShown {
        name: policy.name.clone(),
        defaults: told::defaults(policy),
        groups: sql::line(&groups),
        grants: told::longest_grant(config.grant_max(&policy.name)),
        observed: policy.stage == Stage::Observe,
        figures: figures(&policy.name, counted),
    }
}

fn rule(rule: &Rule, counted: &[Slice]) -> RuleShown {
    use countersign_policy::rule::Action;
    RuleShown {
        name: rule.name.clone(),
        action: told::action(rule),
        tone: match rule.action {
            Action::Allow => "good",
            Action::Hold => "waits",
            Action::Deny => "bad",
        },
        conditions: told::conditions(&rule.matcher),
        observed: rule.stage == Stage::Observe,
        figures: figures(&rule.name, counted),
    }
}

fn mask(mask: &countersign_policy::mask::MaskRule) -> MaskShown {
    let columns: Vec<_> = mask.columns.iter().map(ToString::to_string).collect();
    MaskShown { name: sql::line(&mask.name), columns: sql::line(&columns.join(", ")), words: told::mask(mask) }
}

/// How often it held something lately.
fn figures(name: &str, counted: &[Slice]) -> String {
    let Some(slice) = counted.iter().find(|slice| slice.name == name) else {
        return "no requests in 30 days".to_owned();
    };
    let plural = if slice.tally.requests == 1 { "" } else { "s" };
    let rate = slice.tally.approval_rate.map(|rate| format!(", {:.0} % approved", rate * 100.0)).unwrap_or_default();
    format!("{} request{plural} in 30 days{rate}", slice.tally.requests)
}
