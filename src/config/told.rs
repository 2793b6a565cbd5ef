//! Rules, masks and databases in sentences.
//!
//! Never leaves a condition out: each part of a matcher has its words. Invariant: what stands in the configuration comes out
//! with what deceives spelt out.

use std::time::Duration;

use countersign_policy::mask::{MaskRule, Predicates};
use countersign_policy::rule::{Action, DatabasePolicy, Justification, Matcher, Mode, RelationAccess, Rule};

use crate::duration::in_words;
use crate::visible;

/// What a rule does, without when.
pub(crate) fn action(rule: &Rule) -> String {
    let message =
        rule.message.as_deref().map(|message| format!(" with “{}”", visible::line(message))).unwrap_or_default();
    match rule.action {
        Action::Allow => "Lets pass".to_owned(),
        Action::Deny => format!("Denies{message}"),
        Action::Hold => {
            let who = match (rule.reviewers.is_empty(), rule.approvals) {
                (true, 0 | 1) => "the reviewers of the database approve".to_owned(),
                (true, people) => format!("{people} reviewers of the database approve"),
                (false, 0 | 1) => format!("{} approve{}", and(&rule.reviewers), plural(&rule.reviewers)),
                (false, people) => format!("{people} people of {} approve", and(&rule.reviewers)),
            };
            let within = rule.timeout.map(|time| format!(", within {}", in_words(time))).unwrap_or_default();
            let waits = rule.mode.map(|mode| format!("; {}", waits(mode))).unwrap_or_default();
            let reason = match rule.justification {
                Justification::Optional => "",
                Justification::Required => "; a reason is required",
            };
            format!("Holds until {who}{within}{waits}{reason}{message}")
        }
    }
}

/// A group approves, two groups approve.
fn plural(groups: &[String]) -> &'static str {
    if groups.len() == 1 { "s" } else { "" }
}

fn waits(mode: Mode) -> &'static str {
    match mode {
        Mode::Wait => "the session waits",
        Mode::Resubmit => "the statement is sent again after approval",
        Mode::Auto => "the session waits, or the statement is sent again",
    }
}

/// When a rule matches: all of these.
pub(crate) fn conditions(matcher: &Matcher) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |words: &str, values: Option<String>| told.extend(values.map(|values| format!("{words} {values}")));
    tell("on database", matcher.databases.as_deref().map(or));
    tell("by user", matcher.users.as_deref().map(or));
    tell("by members of", matcher.groups.as_deref().map(or));
    tell("not by members of", (!matcher.except_groups.is_empty()).then(|| or(&matcher.except_groups)));
    tell("from application", matcher.applications.as_deref().map(or));
    tell("at", matcher.hours.as_deref().map(or));
    let effects = matcher.effects.map(|effects| effects.iter().map(|effect| effect.to_string()).collect::<Vec<_>>());
    tell("that does", effects.as_deref().map(or));
    let access = match matcher.access {
        RelationAccess::Write => "writes",
        RelationAccess::Read => "reads",
        RelationAccess::Any => "reads or writes",
    };
    tell(&format!("that {access} relation"), matcher.relations.as_deref().map(or));
    tell(&format!("that {access} column"), matcher.columns.as_deref().map(or));
    tell("that calls", matcher.functions.as_deref().map(or));
    tell("of more rows, by the planner's estimate, than", matcher.max_rows.map(|rows| rows.to_string()));
    tell("with a text like", matcher.text.as_ref().map(|pattern| visible::line(pattern.as_str())));
    let mut flag = |value: Option<bool>, yes: &str, no: &str| {
        told.extend(value.map(|value| if value { yes.to_owned() } else { no.to_owned() }));
    };
    flag(matcher.in_transaction, "inside a transaction block", "outside a transaction block");
    flag(matcher.no_where, "UPDATE or DELETE without a restricting WHERE", "not an UPDATE or DELETE without WHERE");
    let (decides, not) = ("in which a masked column decides which rows come back", "in which no masked column decides");
    flag(matcher.masked_predicate, decides, not);
    told
}

/// What a mask does.
pub(crate) fn mask(mask: &MaskRule) -> String {
    let kind = mask.mask.as_str();
    let except = match mask.except_groups.as_slice() {
        [] => "for everybody".to_owned(),
        groups => format!("for everybody but members of {}", or(groups)),
    };
    let deciding = match mask.predicates {
        Predicates::Allow => "may decide which rows come back",
        Predicates::AllowEquality => {
            "may be compared with one value; other uses that decide which rows come back are held"
        }
        Predicates::Hold => "are held where they decide which rows come back",
        Predicates::Deny => "are denied where they decide which rows come back",
    };
    format!("Shows “{kind}” {except}. The values {deciding}.")
}

/// What holds on a database where no rule says more.
pub(crate) fn defaults(database: &DatabasePolicy) -> String {
    let does = |action: Action| match action {
        Action::Allow => "passes",
        Action::Hold => "is held",
        Action::Deny => "is denied",
    };
    let review = &database.review;
    let by = if review.groups.is_empty() { "nobody".to_owned() } else { and(&review.groups) };
    format!(
        "What no rule speaks of {}; what is not understood {}. Reviewed by {by} within {}; {}.",
        does(database.default),
        does(database.unparsed),
        in_words(review.timeout),
        waits(review.mode),
    )
}

/// A limit, or that there is none.
pub(crate) fn longest_grant(time: Duration) -> String {
    if time.is_zero() { "no grants".to_owned() } else { format!("grants of at most {}", in_words(time)) }
}

fn or<T: ToString>(values: &[T]) -> String {
    visible::line(&values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))
}

fn and(values: &[String]) -> String {
    visible::line(&values.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FILE: &str = r#"
        data_dir = "/tmp/words"
        [databases.shop]
        upstream = "postgres://rw@localhost/shop?sslmode=disable"
        groups = ["dba"]
        default = "allow"
        review = { groups = ["dba"], timeout = "1h" }
    "#;

    #[track_caller]
    fn check(rule: &str, does: &str, when: &str) {
        let text = format!("{FILE}\n[[rules]]\nname = \"r\"\n{rule}\n");
        let config = Config::parse(std::path::Path::new("countersign.toml"), &text).unwrap_or_else(|p| panic!("{p}"));
        let rule = &config.policy.rules[0];
        assert_eq!((action(rule).as_str(), conditions(&rule.matcher).join("; ").as_str()), (does, when));
    }

    #[test]
    fn rules_are_told_whole() {
        check("action = \"allow\"\neffects = [\"show\"]", "Lets pass", "that does show");
        check(
            "action = \"deny\"\nmessage = \"No\u{202e}\"\nusers = [\"*\"]\nno_where = true",
            "Denies with “No<U+202E>”",
            "by user *; UPDATE or DELETE without a restricting WHERE",
        );
        check(
            "action = \"hold\"\nreviewers = [\"dba\", \"sec\"]\ntimeout = \"30m\"\njustification = \"required\"\n\
             relations = [\"public.*\"]\nexcept_groups = [\"root\"]\nmax_rows = 10\nmode = \"wait\"",
            "Holds until dba and sec approve, within 30 minutes; the session waits; a reason is required",
            "not by members of root; that writes relation public.*; of more rows, by the planner's estimate, than 10",
        );
        check(
            "action = \"hold\"\nreviewers = [\"dba\"]\ndatabases = [\"shop\"]\ntext = \"drop\\\\s\"\nin_transaction = false\n\
             hours = [\"Sat\"]\nfunctions = [\"lo_*\"]\ncolumns = [\"*.*.ssn\"]\naccess = \"read\"",
            "Holds until dba approves",
            "on database shop; at sat 00:00-24:00; that reads column *.*.ssn; that calls *.lo_*; with a text like drop\\s; \
             outside a transaction block",
        );
        check("action = \"hold\"\napprovals = 2", "Holds until 2 reviewers of the database approve", "");
    }
}
