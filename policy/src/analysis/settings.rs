//! Configuration parameters: which of them change how later SQL is read, checked or recorded, and which one is meant.
//!
//! Never knows the server's current values. Invariant: for the settings that the proxy pins, a value that is not known to
//! be the pinned one is another one.

use std::borrow::Cow;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, Node};

use super::lineage::{Level, Scope};
use super::relations::is_built_in;
use super::walker::Walker;
use super::{Form, names};

/// What setting a parameter amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Formats, time-outs, the planner, a parameter of an application.
    Harmless,
    /// The search path.
    SearchPath,
    /// The current role or user.
    Role,
    /// Only the proxy reads it.
    OfTheProxy,
    /// Changes which values texts like `'01/02/2026'` stand for, or sets back what may change how SQL is read.
    Values,
    /// Changes how later SQL is read, checked or recorded.
    Dangerous,
    /// A setting that decides where strings end, to another value than the pinned one. Its name.
    Reading(&'static str),
}

/// Settings that decide how the text of later statements is read, with the values that are the pinned one.
const READING: &[(&str, &[&str])] = &[
    ("standard_conforming_strings", &["on", "true", "yes", "1"]),
    ("client_encoding", &["utf8", "utf-8", "unicode"]),
    ("backslash_quote", &["safe_encoding"]),
];

/// Settings that decide which values the texts in a statement stand for, or which texts the values that it compares.
const VALUES: &[&str] = &[
    "bytea_output",
    "datestyle",
    "default_text_search_config",
    "extra_float_digits",
    "intervalstyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "timezone",
    "timezone_abbreviations",
    "xmlbinary",
    "xmloption",
];

/// Settings with the values that are safe to set: to those they may go back, and an approval is bound to what they are.
/// `row_security` is none of them: off makes queries fail that would
/// otherwise leave rows out.
const PINNED: &[(&str, &[&str])] = &[
    ("session_replication_role", &["origin"]),
    ("event_triggers", &["on", "true", "yes", "1"]),
    ("transform_null_equals", &["off", "false", "no", "0"]),
    ("array_nulls", &["on", "true", "yes", "1"]),
    ("password_encryption", &["scram-sha-256"]),
    ("plpgsql.variable_conflict", &["error"]),
    // As pg_dump sets it: nothing is left out that could be restricted.
    ("restrict_nonsystem_relation_kind", &["view, foreign-table", "view,foreign-table"]),
];

/// Settings, or beginnings of their names, for which no value is safe.
const DANGEROUS: &[&str] = &[
    "allow_",
    "archive_",
    "auto_explain.",
    "backtrace_functions",
    "createrole_self_grant",
    "debug_",
    "dynamic_library_path",
    "extension_control_path",
    "ignore_",
    "jit_provider",
    "lo_compat_privileges",
    "local_preload_libraries",
    "log_",
    "logging_collector",
    "pg_stat_statements.",
    "pgaudit.",
    "plperl.",
    "plpython.",
    "pltcl.",
    "restore_command",
    "session_preload_libraries",
    "sepgsql.",
    "shared_preload_libraries",
    "syslog",
    "trace_",
    "track_",
    "zero_damaged_pages",
];

/// Settings that only the proxy reads.
const OF_THE_PROXY: &[&str] =
    &["countersign.batch", "countersign.hold_budget", "countersign.mode", "countersign.reason"];

/// Sorts a parameter by name and, where it matters, value; `None` is a value that is not known.
pub fn classify(name: &str, value: Option<&str>) -> Kind {
    let name = name.to_ascii_lowercase();
    if name == "search_path" {
        return Kind::SearchPath;
    }
    if name == "role" || name == "session_authorization" {
        return Kind::Role;
    }
    if OF_THE_PROXY.contains(&name.as_str()) {
        return Kind::OfTheProxy;
    }
    if VALUES.contains(&name.as_str()) {
        return Kind::Values;
    }
    let is_one_of = |safe: &[&str]| value.is_some_and(|value| safe.iter().any(|safe| value.eq_ignore_ascii_case(safe)));
    if let Some((pinned, safe)) = READING.iter().find(|(pinned, _)| *pinned == name) {
        return if is_one_of(safe) { Kind::Harmless } else { Kind::Reading(pinned) };
    }
    if let Some((_, safe)) = PINNED.iter().find(|(pinned, _)| *pinned == name) {
        return if is_one_of(safe) { Kind::Values } else { Kind::Dangerous };
    }
    if DANGEROUS.iter().any(|beginning| name.starts_with(beginning)) { Kind::Dangerous } else { Kind::Harmless }
}

/// `pg_settings` has one row for each setting, with its name.
const VIEW: &str = "pg_settings";
const NAME: &str = "name";

impl Walker<'_> {
    /// The name in `FROM pg_settings WHERE name = 'row_security'`: how pg_dump sets what not every server has.
    pub(super) fn one_setting(&mut self, clause: Option<&Node>, level: &Level) -> Option<Node> {
        let [source] = level.sources.as_slice() else { return None };
        let view = self.catalog().relation(source.relation?).filter(|view| view.name == VIEW && is_built_in(view))?;
        let mut named = level.columns.list.iter().filter(|column| column.name == NAME);
        let (Some(column), None, None) = (named.next(), named.next(), &level.columns.rest) else { return None };
        let Some(Form::Column(stored)) = &column.form else { return None };
        let is_name = view.column(stored.attnum).is_some_and(|stored| stored.name == NAME);
        let Some(NodeEnum::AExpr(equality)) = clause.and_then(|clause| clause.node.as_ref()) else { return None };
        let (left, right) = (equality.lexpr.as_deref()?, equality.rexpr.as_deref()?);
        let is_equality = equality.kind() == AExprKind::AexprOp && names::texts(&equality.name) == ["="];
        let fits = is_name && is_equality && is_setting_name(left) && matches!(right.node, Some(NodeEnum::AConst(_)));
        (fits && self.is_servers_operator("=")).then(|| right.clone())
    }
}

/// `name`, without the relation it is of.
fn is_setting_name(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::ColumnRef(column)) if names::texts(&column.fields) == [NAME])
}

/// The arguments of a call; of `set_config(name, …)` for one row of `pg_settings` with the name of that row.
pub(super) fn with_name<'n>(function: &str, args: &'n [Node], scope: &Scope<'_>) -> Cow<'n, [Node]> {
    match (args, &scope.level.setting) {
        ([name, rest @ ..], Some(setting)) if function == "set_config" && is_setting_name(name) => {
            std::iter::once(setting).chain(rest).cloned().collect()
        }
        _ => Cow::Borrowed(args),
    }
}
