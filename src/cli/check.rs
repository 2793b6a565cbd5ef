//! `countersign check`: every problem of a configuration, or what it means.
//!
//! Never prints a secret, a verifier or a token. Invariant: it exits with 0 only when `serve` would accept the file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use countersign_policy::rule::{Action, DatabasePolicy, Justification, Mode, RelationAccess, Rule, Stage};
use serde_json::{Value, json};

use super::output::{Exit, Format};
use crate::config::{Config, ConfigProblems, DatabaseAuth, GroupsFrom, StoreConfig, UpstreamConfig};
use crate::duration::in_words;
use crate::fault::with_causes;
use crate::identity::oidc::{self, LEAD_BACK};

/// Checks a file and prints what was found. Problems go to standard error as text, to standard output as JSON.
#[must_use]
pub fn run(path: &Path, format: Format) -> ExitCode {
    let (text, code) = match (Config::load(path), format) {
        (Ok(config), Format::Text) => (summary(&config), Exit::Ok),
        (Ok(config), Format::Json) => (format!("{:#}\n", as_json(&config)), Exit::Ok),
        (Err(problems), Format::Text) => {
            eprintln!("{problems}");
            (String::new(), Exit::Config)
        }
        (Err(problems), Format::Json) => (format!("{:#}\n", problems_as_json(&problems)), Exit::Config),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code.into(),
        Err(_) => Exit::Io.into(),
    }
}

/// As [`run`], and asks the identity provider, if there is one. What it answers goes to standard error.
pub async fn run_online(path: PathBuf, format: Format) -> ExitCode {
    if let Ok(Some(oidc)) = Config::load(&path).map(|config| config.web.oidc)
        && let Err(error) = oidc::probe(&oidc).await
    {
        eprintln!("countersign: {} ({}): {}", oidc.name, oidc.issuer, with_causes(&error));
        return Exit::Unavailable.into();
    }
    run(&path, format)
}

fn summary(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_summary(&mut out, config);
    out
}

fn write_summary(out: &mut String, config: &Config) -> std::fmt::Result {
    let (revision, rules) = (&config.policy.revision, &config.rules_digest);
    writeln!(out, "{}: valid, revision {revision}, rules {rules}", config.path.display())?;
    if let Some(store) = store(config) {
        writeln!(out, "\nstore\n  {store}")?;
    }
    if let Some(oidc) = &config.web.oidc {
        writeln!(out, "\nidentity provider\n  {} ({})", oidc.name, oidc.issuer)?;
        writeln!(out, "    leads back to {}{}", config.web.public_url, LEAD_BACK)?;
        oidc.groups.iter().try_for_each(|(their, ours)| writeln!(out, "    {their} there is {ours} here"))?;
    }
    writeln!(out, "\nusers")?;
    for user in &config.users {
        let password = match (&user.verifier, user.certificates.is_empty()) {
            (Some(_), true) => "",
            (Some(_), false) => ", or by certificate",
            (None, true) => ", no password",
            (None, false) => ", by certificate only",
        };
        let tokens = if user.tokens.is_empty() { String::new() } else { format!(", {} tokens", user.tokens.len()) };
        writeln!(out, "  {}: {}{password}{tokens}", user.name, list(&user.groups))?;
    }
    writeln!(out, "\ndatabases")?;
    for (database, policy) in config.databases.iter().zip(&config.policy.databases) {
        let upstream = &database.upstream;
        writeln!(
            out,
            "  {} -> {}@{}:{}/{}",
            database.name, upstream.user, upstream.host, upstream.port, upstream.database
        )?;
        let by = match database.auth {
            DatabaseAuth::Proxy => "",
            DatabaseAuth::Passthrough => ", as roles of their own",
        };
        let more = match database.groups_from {
            GroupsFrom::Config => "",
            GroupsFrom::Roles => ", groups also from roles",
        };
        writeln!(out, "    for {}{by}{more}", list(&database.groups))?;
        writeln!(out, "    {}", database_line(policy))?;
    }
    writeln!(out, "\nrules")?;
    for rule in &config.policy.rules {
        writeln!(out, "  {}", rule_line(rule))?;
    }
    writeln!(out, "\nmasks")?;
    for mask in &config.policy.masks {
        let columns: Vec<_> = mask.columns.iter().map(ToString::to_string).collect();
        let except: Vec<_> = mask.except_groups.iter().map(ToString::to_string).collect();
        let except = if except.is_empty() { String::new() } else { format!(", except {}", list(&except)) };
        writeln!(out, "  {}: {} of {}{except}", mask.name, mask.mask.as_str(), list(&columns))?;
    }
    if !config.warnings.is_empty() {
        writeln!(out, "\nwarnings")?;
        config.warnings.iter().try_for_each(|warning| writeln!(out, "  {warning}"))?;
    }
    Ok(())
}

/// Where the shared store is; `None` for the embedded one.
fn store(config: &Config) -> Option<String> {
    match &config.store {
        StoreConfig::Sqlite => None,
        StoreConfig::Postgres { upstream, lease } => {
            let UpstreamConfig { user, host, port, database, .. } = &**upstream;
            Some(format!("{user}@{host}:{port}/{database}, lease {}", in_words(*lease)))
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn database_line(policy: &DatabasePolicy) -> String {
    let review = &policy.review;
    format!(
        "default {}, unparsed {}, reviewed by {} within {}, mode {}{}",
        action(policy.default),
        action(policy.unparsed),
        list(&review.groups),
        in_words(review.timeout),
        mode(review.mode),
        stage(policy.stage),
    )
}

fn rule_line(rule: &Rule) -> String {
    let matcher = &rule.matcher;
    let mut parts = Vec::new();
    let mut add = |name: &str, values: Option<Vec<String>>| {
        parts.extend(values.filter(|values| !values.is_empty()).map(|values| format!("{name} {}", values.join("|"))));
    };
    add("databases", matcher.databases.as_deref().map(texts));
    add("users", matcher.users.as_deref().map(texts));
    add("groups", matcher.groups.as_deref().map(texts));
    add("except_groups", Some(texts(&matcher.except_groups)));
    add("applications", matcher.applications.as_deref().map(texts));
    add("in_transaction", matcher.in_transaction.map(|value| vec![value.to_string()]));
    add("hours", matcher.hours.as_deref().map(texts));
    add("effects", matcher.effects.map(|effects| effects.iter().map(|effect| effect.to_string()).collect()));
    add("relations", matcher.relations.as_deref().map(texts));
    add("columns", matcher.columns.as_deref().map(texts));
    add("access", access(matcher.access).map(|word| vec![word.to_owned()]));
    add("functions", matcher.functions.as_deref().map(texts));
    add("no_where", matcher.no_where.map(|value| vec![value.to_string()]));
    add("max_rows", matcher.max_rows.map(|rows| vec![rows.to_string()]));
    add("masked_predicate", matcher.masked_predicate.map(|value| vec![value.to_string()]));
    add("text", matcher.text.as_ref().map(|pattern| vec![pattern.to_string()]));
    let when = if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") };
    let by = if rule.reviewers.is_empty() { String::new() } else { format!(" by {}", list(&rule.reviewers)) };
    let reason = match rule.justification {
        Justification::Optional => "",
        Justification::Required => ", with a reason,",
    };
    format!("{}: {}{by}{reason} when {when}{}", rule.name, action(rule.action), stage(rule.stage))
}

fn texts<T: ToString>(globs: &[T]) -> Vec<String> {
    globs.iter().map(ToString::to_string).collect()
}

/// The word for it, where it is not what a rule has anyway.
fn access(access: RelationAccess) -> Option<&'static str> {
    match access {
        RelationAccess::Write => None,
        RelationAccess::Read => Some("read"),
        RelationAccess::Any => Some("any"),
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Hold => "hold",
        Action::Deny => "deny",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Wait => "wait",
        Mode::Resubmit => "resubmit",
        Mode::Auto => "auto",
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Observe => " (observed only)",
        Stage::Enforce => "",
    }
}

fn as_json(config: &Config) -> Value {
    let users = config.users.iter().map(|user| {
        json!({
            "name": user.name, "email": user.email, "groups": user.groups,
            "password": user.verifier.is_some(), "certificates": user.certificates, "tokens": user.tokens.len(),
        })
    });
    let databases = config.databases.iter().zip(&config.policy.databases).map(|(database, policy)| {
        let review = &policy.review;
        json!({
            "name": database.name, "host": database.upstream.host, "port": database.upstream.port,
            "database": database.upstream.database, "role": database.upstream.user, "groups": database.groups,
            "passthrough": database.auth == DatabaseAuth::Passthrough,
            "groups_from_roles": database.groups_from == GroupsFrom::Roles,
            "default": action(policy.default), "unparsed": action(policy.unparsed),
            "review": {
                "groups": review.groups, "timeout_seconds": review.timeout.as_secs(), "mode": mode(review.mode),
            },
            "observe": policy.stage == Stage::Observe,
        })
    });
    let rules = config.policy.rules.iter().map(|rule| {
        json!({
            "name": rule.name, "action": action(rule.action), "reviewers": rule.reviewers,
            "approvals": rule.approvals, "observe": rule.stage == Stage::Observe, "summary": rule_line(rule),
        })
    });
    let masks = config.policy.masks.iter().map(|mask| {
        json!({
            "name": mask.name, "mask": mask.mask.as_str(), "columns": texts(&mask.columns),
            "except_groups": texts(&mask.except_groups),
        })
    });
    json!({
        "valid": true,
        "revision": config.policy.revision,
        "rules_digest": config.rules_digest,
        "store": store(config).unwrap_or_else(|| "sqlite".to_owned()),
        "users": users.collect::<Vec<_>>(),
        "databases": databases.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "masks": masks.collect::<Vec<_>>(),
        "warnings": config.warnings,
    })
}

fn problems_as_json(problems: &ConfigProblems) -> Value {
    let list = problems.0.iter().map(|problem| {
        json!({
            "path": problem.path, "line": problem.line, "column": problem.column, "key": problem.key,
            "message": problem.message, "hint": problem.hint,
        })
    });
    json!({ "valid": false, "problems": list.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::derive_verifier;

    fn config() -> Config {
        let verifier = derive_verifier("hunter2");
        let text = format!(
            r#"
[[users]]
name = "alice"
groups = ["dba"]
password = {{ scram = "{verifier}" }}
tokens = ["sha256:{}"]
[databases.shop]
upstream = "postgres://rw@localhost/shop"
groups = ["dba"]
review = {{ groups = ["dba"] }}
[[rules]]
name = "writes"
effects = ["insert", "delete"]
relations = ["public.*"]
action = "hold"
reviewers = ["dba"]
stage = "observe"
[[masks]]
name = "pii"
columns = ["*.*.email"]
mask = "email"
except_groups = ["privacy"]
"#,
            "ab".repeat(32)
        );
        Config::parse(Path::new("countersign.toml"), &text).unwrap()
    }

    #[test]
    fn the_summary_says_what_the_file_means() {
        let summary = summary(&config());
        for line in [
            "  alice: dba, 1 tokens",
            "  shop -> rw@localhost:5432/shop",
            "    default hold, unparsed hold, reviewed by dba within 1 hour, mode auto",
            "  writes: hold by dba when effects insert|delete, relations public.* (observed only)",
            "  pii: email of *.*.email, except privacy",
            "  Rule \"writes\" is only observed.",
        ] {
            assert!(summary.lines().any(|found| found == line), "{line}\nin\n{summary}");
        }
    }

    #[test]
    fn no_output_holds_a_verifier_or_token() {
        let config = config();
        let verifier = config.users[0].verifier.clone().unwrap();
        for output in [summary(&config), as_json(&config).to_string()] {
            assert!(!output.contains(&verifier) && !output.contains("abababab"));
        }
    }

    #[test]
    fn a_wrong_file_is_a_configuration_error() {
        let code = |format| format!("{:?}", run(Path::new("/nonexistent/countersign.toml"), format));
        assert_eq!(code(Format::Text), format!("{:?}", ExitCode::from(Exit::Config)));
    }
}
