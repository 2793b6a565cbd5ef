//! `[[rules]]` of the file → the policy package's rules.
//!
//! Never accepts a rule that could not match or whose keys would have no effect. Invariant: a rule that is made does
//! what each of its keys says.

use countersign_policy::moment::Window;
use countersign_policy::rule::{
    Action, ColumnGlob, Glob, GlobError, Justification, Matcher, Mode, NameGlob, RelationAccess, Rule, Stage,
    text_pattern,
};
use countersign_policy::{Effect, Effects};

use super::PUBLIC;
use super::keys::{self, Form, Keys, words};
use super::problem::did_you_mean;
use super::reader::{Section, Spanned};

pub(super) static RULE_KEYS: Keys = Keys {
    table: "[[rules]]",
    known: &[
        keys::required("name", Form::Text),
        keys::optional("databases", Form::FilledTexts),
        keys::optional("users", Form::FilledTexts),
        keys::optional("groups", Form::FilledTexts),
        keys::optional("except_groups", Form::Texts),
        keys::optional("applications", Form::FilledTexts),
        keys::optional("in_transaction", Form::Flag),
        keys::optional("hours", Form::FilledTexts),
        keys::optional("effects", Form::WordList(effect_words)),
        keys::optional("relations", Form::FilledTexts),
        keys::optional("columns", Form::FilledTexts),
        keys::optional("access", Form::Word(|| words(ACCESSES))),
        keys::optional("functions", Form::FilledTexts),
        keys::optional("no_where", Form::Flag),
        keys::optional("max_rows", Form::Number(0, u32::MAX)),
        keys::optional("masked_predicate", Form::Flag),
        keys::optional("text", Form::Text),
        keys::required("action", Form::Word(|| words(ACTIONS))),
        keys::optional("message", Form::Text),
        keys::optional("reviewers", Form::Texts),
        keys::optional("approvals", Form::Number(1, 1000)),
        keys::optional("timeout", Form::Duration),
        keys::optional("mode", Form::Word(|| words(MODES))),
        keys::optional("justification", Form::Word(|| words(JUSTIFICATIONS))),
        keys::optional("stage", Form::Word(|| words(STAGES))),
    ],
    unavailable: &[],
};

pub(super) const ACTIONS: &[(&str, Action)] =
    &[("allow", Action::Allow), ("hold", Action::Hold), ("deny", Action::Deny)];
pub(super) const MODES: &[(&str, Mode)] = &[("wait", Mode::Wait), ("resubmit", Mode::Resubmit), ("auto", Mode::Auto)];
pub(super) const STAGES: &[(&str, Stage)] = &[("observe", Stage::Observe), ("enforce", Stage::Enforce)];
fn effect_words() -> Vec<&'static str> {
    Effect::ALL.iter().map(|effect| effect.as_str()).collect()
}

const JUSTIFICATIONS: &[(&str, Justification)] =
    &[("required", Justification::Required), ("optional", Justification::Optional)];
const ACCESSES: &[(&str, RelationAccess)] =
    &[("write", RelationAccess::Write), ("read", RelationAccess::Read), ("any", RelationAccess::Any)];
/// Effects on a relation that do not count as writing it.
const READING: Effects = Effects::of(&[Effect::Select, Effect::CopyOut]);

/// What a group of reviewers without members means.
pub(super) const NO_REVIEWER: &str = "nobody could approve for it";

/// The names a rule may speak of.
pub(super) struct Known<'a> {
    pub(super) databases: Vec<&'a str>,
    pub(super) users: Vec<&'a str>,
    pub(super) groups: Vec<&'a str>,
    /// Whether some database has groups that this file does not know of.
    pub(super) others: bool,
    /// Whether there may be people whom this file does not name.
    pub(super) strangers: bool,
}

/// Reads one rule; `None` when a problem was reported that leaves nothing to build.
pub(super) fn rule(section: &Section<'_>, known: &Known<'_>) -> Option<Rule> {
    let matcher = matcher(section, known);
    let action = section.required("action", section.choice("action", ACTIONS));
    if action.is_some_and(|action| action != Action::Hold) {
        let idle =
            ["reviewers", "approvals", "timeout", "mode", "justification"].into_iter().filter(|key| section.has(key));
        for key in idle {
            let message = format!("\"{key}\" in {} has no effect: the rule does not hold", section.title);
            section.problem(key, message, None);
        }
    }
    if action == Some(Action::Allow) && section.has("max_rows") {
        let message = format!("\"max_rows\" in {} would allow only what has more rows", section.title);
        section.problem("max_rows", message, Some("hold or deny what has more".to_owned()));
    }
    let reviewers = section.list("reviewers").unwrap_or_default();
    known.warn_of_empty_groups(section, &reviewers, NO_REVIEWER);
    // Everything is read before anything is given up, so that every problem is reported.
    let name = section.required("name", section.text("name"));
    let message = section.text("message").map(|text| text.value);
    let approvals = section.count("approvals").unwrap_or(1);
    let timeout = section.duration("timeout");
    let mode = section.choice("mode", MODES);
    let justification = section.choice("justification", JUSTIFICATIONS).unwrap_or_default();
    let stage = section.choice("stage", STAGES).unwrap_or_default();
    let reviewers = reviewers.into_iter().map(|group| group.value).collect();
    let rule = Rule {
        name: name?.value,
        matcher,
        action: action?,
        message,
        reviewers,
        approvals,
        timeout,
        mode,
        justification,
        stage,
    };
    if rule.stage == Stage::Observe {
        section.report.warn(format!("Rule \"{}\" is only observed.", rule.name));
    }
    Some(rule)
}

fn matcher(section: &Section<'_>, known: &Known<'_>) -> Matcher {
    let matcher = Matcher {
        databases: named(section, "databases", "database", &known.databases),
        users: users(section, known),
        groups: globs(section, "groups", Glob::new),
        except_groups: globs(section, "except_groups", Glob::new).unwrap_or_default(),
        applications: globs(section, "applications", Glob::new),
        in_transaction: section.flag("in_transaction"),
        hours: hours(section),
        effects: effects(section),
        relations: globs(section, "relations", NameGlob::qualified),
        columns: globs(section, "columns", ColumnGlob::new),
        access: section.choice("access", ACCESSES).unwrap_or_default(),
        functions: globs(section, "functions", NameGlob::unqualified),
        no_where: section.flag("no_where"),
        max_rows: section.number("max_rows", 0..=u32::MAX).map(u64::from),
        masked_predicate: section.flag("masked_predicate"),
        text: text(section),
    };
    let groups: Vec<_> = section.list_quietly("groups");
    known.warn_of_empty_groups(section, &groups, "the rule applies to nobody in it");
    let of_relations: Vec<_> = ["relations", "columns"].into_iter().filter(|key| section.has(key)).collect();
    if section.has("access") && of_relations.is_empty() {
        let without = format!("\"access\" in {} has no effect without \"relations\" or \"columns\"", section.title);
        section.problem("access", without, None);
    }
    let reads_only = |effects: Effects| !effects.is_empty() && effects.without(READING).is_empty();
    if matcher.access == RelationAccess::Write
        && matcher.effects.is_some_and(reads_only)
        && !section.has("access")
        && let Some(key) = of_relations.first()
    {
        let message =
            format!("{} never matches: \"{key}\" speaks of those written, \"effects\" of reading", section.title);
        section.problem(key, message, Some("add access = \"read\"".to_owned()));
    }
    matcher
}

/// Globs over the names of people.
fn users(section: &Section<'_>, known: &Known<'_>) -> Option<Vec<Glob>> {
    if known.strangers { globs(section, "users", Glob::new) } else { named(section, "users", "user", &known.users) }
}

/// Globs over names that the file itself defines: one without a wildcard must name something.
fn named(section: &Section<'_>, key: &str, what: &str, valid: &[&str]) -> Option<Vec<Glob>> {
    for text in section.list_quietly(key) {
        let is_literal = Glob::new(&text.value).is_ok_and(|glob| glob.is_literal());
        if is_literal && !valid.contains(&text.value.as_str()) {
            let message = format!("there is no {what} \"{}\"", text.value);
            section.report.problem(&text.at, key, message, did_you_mean(&text.value, valid.iter().copied()));
        }
    }
    globs(section, key, Glob::new)
}

/// Compiles every pattern of a list; an empty list is a problem, because it matches nothing.
pub(super) fn globs<G>(section: &Section<'_>, key: &str, compile: fn(&str) -> Result<G, GlobError>) -> Option<Vec<G>> {
    let texts = filled(section, key)?;
    let mut compiled = Vec::with_capacity(texts.len());
    for text in texts {
        match compile(&text.value) {
            Ok(glob) => compiled.push(glob),
            Err(error) => {
                let hint = matches!(error, GlobError::Parts(..)).then(|| "a part may be *".to_owned());
                section.report.problem(&text.at, key, error.to_string(), hint);
            }
        }
    }
    Some(compiled)
}

fn filled(section: &Section<'_>, key: &str) -> Option<Vec<Spanned<String>>> {
    let texts = section.list(key)?;
    if texts.is_empty() && key != "except_groups" {
        section.problem(key, format!("\"{key}\" in {} is empty and matches nothing", section.title), None);
    }
    Some(texts)
}

fn effects(section: &Section<'_>) -> Option<Effects> {
    let words: Vec<_> = Effect::ALL.iter().map(|effect| (effect.as_str(), *effect)).collect();
    let texts = filled(section, "effects")?;
    Some(texts.iter().filter_map(|text| section.pick("effects", text, &words)).collect())
}

fn hours(section: &Section<'_>) -> Option<Vec<Window>> {
    let mut windows = Vec::new();
    for text in filled(section, "hours")? {
        match Window::parse(&text.value) {
            Ok(window) => windows.push(window),
            Err(error) => {
                let hint = "write \"Mon-Fri 09:00-17:30\", \"Sat\" or \"22:00-06:00\"".to_owned();
                section.report.problem(&text.at, "hours", format!("\"{}\" {error}", text.value), Some(hint));
            }
        }
    }
    Some(windows)
}

fn text(section: &Section<'_>) -> Option<regex::Regex> {
    let text = section.text("text")?;
    let compiled = text_pattern(&text.value);
    if compiled.is_err() {
        let message = format!("\"text\" in {} is not a valid regular expression", section.title);
        section.report.problem(&text.at, "text", message, None);
    }
    compiled.ok()
}

impl Known<'_> {
    /// Warns of groups that no user is in.
    pub(super) fn warn_of_empty_groups(&self, section: &Section<'_>, groups: &[Spanned<String>], so: &str) {
        // Who is in it may only be known upstream.
        let groups = if self.others { &[] } else { groups };
        for group in groups {
            let literal = Glob::new(&group.value).is_ok_and(|glob| glob.is_literal());
            // Everybody is in it, but nobody reviews as everybody.
            let public = group.value == PUBLIC && so != NO_REVIEWER;
            if literal && !public && !self.groups.contains(&group.value.as_str()) {
                section.report.warn(format!("{}: no user is in group \"{}\", {so}.", section.title, group.value));
            }
        }
    }
}
