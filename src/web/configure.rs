//! Changes of the configuration file from the page, by admins.
//!
//! Never changes another file than the one in force: when somebody has edited it since it was loaded, nothing is done.
//! Invariant: a change is on record, with who made it and what changed, before it is in force.

use std::path::PathBuf;

use axum::http::StatusCode;
use countersign_policy::rule::Stage;
use jiff::Timestamp;

use super::{ApiState, Problem};
use crate::audit::Record;
use crate::config::edit::{ConfigEdit, EditError, Staged};
use crate::identity::{Principal, Scope};
use crate::review::Actor;

/// Has a rule or a database enforced or only observed from now on. `seen` is the revision that the actor has seen.
pub(super) async fn set_stage(
    state: &ApiState,
    (who, actor): (&Principal, &Actor),
    what: Staged,
    stage: Stage,
    seen: &str,
) -> Result<(), Problem> {
    if !state.review.configures(&actor.groups) || !who.may_use(Scope::Admin) {
        let detail = "Members of admin change the configuration";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-eligible", detail));
    }
    // One after the other: each begins with the file that the one before has written.
    let _turn = state.configuring.lock().await;
    let (path, revision) = {
        let config = state.config.load();
        (config.path.clone(), config.policy.revision.clone())
    };
    if seen != revision {
        let detail = "The configuration has changed since you saw it; here it is now";
        return Err(Problem::new(StatusCode::CONFLICT, "changed", detail));
    }
    if state.review.audit_health().is_err() && !state.config.load().audit.fail_open {
        let detail = "The audit trail cannot be written; see the log of the proxy";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    let edited = tokio::task::spawn_blocking(move || edit(path, &revision, &what, stage));
    let edited = edited.await.unwrap_or_else(|_panicked| Err(unavailable("The file could not be changed")))?;
    let record = Record::ConfigChange {
        by: &actor.name,
        surface: actor.surface,
        before: seen,
        after: &edited.config.policy.revision,
        diff: &edited.diff,
    };
    if let Err(error) = state.audit.record(Timestamp::now(), &record) {
        tracing::error!(%error, "could not record a change of the configuration");
    }
    state
        .pulse
        .reload(edited.config)
        .await
        .map_err(|why| unavailable(&format!("The file is changed, but not in force: {why}")))
}

struct Edited {
    config: crate::config::Config,
    diff: String,
}

fn edit(path: PathBuf, revision: &str, what: &Staged, stage: Stage) -> Result<Edited, Problem> {
    let mut edit = ConfigEdit::open_at(&path, revision).map_err(problem)?;
    edit.set_stage(what, stage).map_err(problem)?;
    let diff = edit.diff();
    Ok(Edited { config: edit.save().map_err(problem)?, diff })
}

fn problem(error: EditError) -> Problem {
    let word = match &error {
        EditError::Changed => "changed",
        EditError::NoSuch(_) | EditError::NoUser(_) | EditError::UserExists(_) => "not-found",
        EditError::Invalid(_) | EditError::Write { .. } => {
            tracing::error!(error = %crate::fault::with_causes(&error), "could not change the configuration");
            return unavailable("The file could not be changed; see the log of the proxy");
        }
    };
    let text = error.to_string();
    let mut letters = text.chars();
    let sentence = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
    let status = if word == "changed" { StatusCode::CONFLICT } else { StatusCode::NOT_FOUND };
    Problem::new(status, word, sentence.unwrap_or_default())
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}
