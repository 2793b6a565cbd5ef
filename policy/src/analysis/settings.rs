//! Configuration parameters: which of them change how later SQL is read, checked or recorded.
//!
//! Never knows the server's current values. Invariant: for the settings that the proxy pins, a value that is not known to
//! be the pinned one is another one.

/// What setting a parameter amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Formats, time-outs, the planner, a parameter of an application.
    Harmless,
    /// The search path.
    SearchPath,
    /// The current role or user.
    Role,
    /// The requester's reason for what follows, which only the proxy reads.
    Reason,
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

/// Settings with the values that are safe to set.
const PINNED: &[(&str, &[&str])] = &[
    ("session_replication_role", &["origin"]),
    ("row_security", &["on", "true", "yes", "1"]),
    ("event_triggers", &["on", "true", "yes", "1"]),
    ("transform_null_equals", &["off", "false", "no", "0"]),
    ("array_nulls", &["on", "true", "yes", "1"]),
    ("password_encryption", &["scram-sha-256"]),
    ("plpgsql.variable_conflict", &["error"]),
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
    "restrict_nonsystem_relation_kind",
    "session_preload_libraries",
    "sepgsql.",
    "shared_preload_libraries",
    "syslog",
    "trace_",
    "track_",
    "zero_damaged_pages",
];

/// Sorts a parameter by name and, where it matters, value; `None` is a value that is not known.
pub fn classify(name: &str, value: Option<&str>) -> Kind {
    let name = name.to_ascii_lowercase();
    if name == "search_path" {
        return Kind::SearchPath;
    }
    if name == "role" || name == "session_authorization" {
        return Kind::Role;
    }
    if name == "countersign.reason" {
        return Kind::Reason;
    }
    let is_one_of = |safe: &[&str]| value.is_some_and(|value| safe.iter().any(|safe| value.eq_ignore_ascii_case(safe)));
    if let Some((pinned, safe)) = READING.iter().find(|(pinned, _)| *pinned == name) {
        return if is_one_of(safe) { Kind::Harmless } else { Kind::Reading(pinned) };
    }
    if let Some((_, safe)) = PINNED.iter().find(|(pinned, _)| *pinned == name) {
        return if is_one_of(safe) { Kind::Harmless } else { Kind::Dangerous };
    }
    if DANGEROUS.iter().any(|beginning| name.starts_with(beginning)) { Kind::Dangerous } else { Kind::Harmless }
}
