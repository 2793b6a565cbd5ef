//! Which settings a client may ask for in its StartupMessage, directly or in `options`.
//!
//! Never passes on a setting that changes how SQL is read or who runs it, and never decides on one it does not know: that
//! is for the rules, see [`crate::session::preset`].
//! Invariant: what comes out is there once, by its canonical name; what is not on the list below is marked as such.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Refusal, StartupError};
use crate::session::choices::{self, Wrong};

/// What may be asked of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Any value; the upstream judges it.
    PassOn,
    /// UTF8 by any of its names; SQL_ASCII too, which is answered with UTF8: the same bytes, and the client is told.
    Utf8,
    /// Only these values, with which SQL is read as it was analysed.
    Pinned(&'static [&'static str]),
    /// Only by SET, where the policy sees it.
    Refuse,
}

const ALLOW_LIST: &[(&str, Rule)] = &[
    ("application_name", Rule::PassOn),
    ("bytea_output", Rule::PassOn),
    ("client_min_messages", Rule::PassOn),
    ("DateStyle", Rule::PassOn),
    ("default_transaction_deferrable", Rule::PassOn),
    ("default_transaction_isolation", Rule::PassOn),
    ("default_transaction_read_only", Rule::PassOn),
    ("extra_float_digits", Rule::PassOn),
    ("geqo", Rule::PassOn),
    ("idle_in_transaction_session_timeout", Rule::PassOn),
    ("idle_session_timeout", Rule::PassOn),
    ("IntervalStyle", Rule::PassOn),
    ("jit", Rule::PassOn),
    ("lock_timeout", Rule::PassOn),
    ("plan_cache_mode", Rule::PassOn),
    ("search_path", Rule::PassOn),
    ("statement_timeout", Rule::PassOn),
    ("TimeZone", Rule::PassOn),
    ("transaction_timeout", Rule::PassOn),
    ("client_connection_check_interval", Rule::PassOn),
    ("constraint_exclusion", Rule::PassOn),
    ("cpu_index_tuple_cost", Rule::PassOn),
    ("cpu_operator_cost", Rule::PassOn),
    ("cpu_tuple_cost", Rule::PassOn),
    ("cursor_tuple_fraction", Rule::PassOn),
    ("default_statistics_target", Rule::PassOn),
    ("default_text_search_config", Rule::PassOn),
    ("effective_cache_size", Rule::PassOn),
    ("effective_io_concurrency", Rule::PassOn),
    ("from_collapse_limit", Rule::PassOn),
    ("gin_fuzzy_search_limit", Rule::PassOn),
    ("hash_mem_multiplier", Rule::PassOn),
    ("join_collapse_limit", Rule::PassOn),
    ("lc_monetary", Rule::PassOn),
    ("lc_numeric", Rule::PassOn),
    ("lc_time", Rule::PassOn),
    ("maintenance_work_mem", Rule::PassOn),
    ("max_parallel_maintenance_workers", Rule::PassOn),
    ("max_parallel_workers", Rule::PassOn),
    ("max_parallel_workers_per_gather", Rule::PassOn),
    ("random_page_cost", Rule::PassOn),
    ("seq_page_cost", Rule::PassOn),
    ("tcp_keepalives_count", Rule::PassOn),
    ("tcp_keepalives_idle", Rule::PassOn),
    ("tcp_keepalives_interval", Rule::PassOn),
    ("tcp_user_timeout", Rule::PassOn),
    ("temp_buffers", Rule::PassOn),
    ("work_mem", Rule::PassOn),
    ("xmlbinary", Rule::PassOn),
    ("xmloption", Rule::PassOn),
    ("client_encoding", Rule::Utf8),
    ("standard_conforming_strings", Rule::Pinned(&["on", "true", "yes", "1"])),
    ("backslash_quote", Rule::Pinned(&["safe_encoding", "off", "false", "no", "0"])),
    ("role", Rule::Refuse),
    ("session_authorization", Rule::Refuse),
    // These have no SET that the rules could see.
    ("ignore_system_indexes", Rule::Refuse),
    ("jit_debugging_support", Rule::Refuse),
    ("jit_profiling_support", Rule::Refuse),
    ("local_preload_libraries", Rule::Refuse),
    ("log_connections", Rule::Refuse),
    ("log_disconnections", Rule::Refuse),
    ("post_auth_delay", Rule::Refuse),
    ("session_preload_libraries", Rule::Refuse),
];

/// Settings of the planner, which every client may have too, by the beginnings of their names.
const PLANNER: &[&str] = &["enable_", "geqo_", "jit_", "parallel_"];

/// Parameters of a StartupMessage that are no settings.
const NOT_SETTINGS: [&str; 4] = ["user", "database", "options", "replication"];

/// Why settings were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// On the list, but not with this value.
    #[error("invalid value for a pinned configuration parameter")]
    Value {
        /// Canonical name.
        name: &'static str,
        /// What the client wanted.
        value: String,
    },
    /// Only to be set where the policy sees it.
    #[error("configuration parameter cannot be set at connection start")]
    NotAtStart {
        /// Canonical name.
        name: &'static str,
    },
    /// A setting of ours that there is not, or with a value that it cannot have.
    #[error("invalid value for a configuration parameter of the proxy")]
    Choice(Wrong),
    /// Given twice in spellings that differ by case, so that there is no telling which one counts.
    #[error("configuration parameter is given twice")]
    Twice {
        /// Canonical name.
        name: String,
    },
    /// `options` has something else than settings.
    #[error("invalid command-line argument in options")]
    Options,
}

impl SettingError {
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Value { name, value } => {
                let refusal = Refusal::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""))
                    .detail("Countersign pins this setting, because it changes how SQL is read.");
                match *name {
                    "client_encoding" => {
                        refusal.hint("Connect with client_encoding=UTF8, in psql by PGCLIENTENCODING.")
                    }
                    _ => refusal,
                }
            }
            Self::NotAtStart { name } => {
                Refusal::new("22023", format!("parameter \"{name}\" cannot be set at connection start"))
                    .hint("Use SET after connecting.")
            }
            Self::Choice(Wrong { sqlstate, message, hint }) => {
                Refusal::new(sqlstate, message.clone()).hint(hint.clone())
            }
            Self::Twice { name } => Refusal::new("22023", format!("parameter \"{name}\" is given twice")),
            Self::Options => Refusal::new("22023", "invalid command-line argument in \"options\"")
                .hint("Use only -c name=value or --name=value."),
        }
    }
}

/// Refuses a replication connection of either kind.
pub(super) fn refuse_replication(parameters: &BTreeMap<String, String>) -> Result<(), StartupError> {
    let off = |value: &String| ["false", "off", "0", "no"].iter().any(|off| value.eq_ignore_ascii_case(off));
    if parameters.get("replication").is_none_or(off) { Ok(()) } else { Err(StartupError::Replication) }
}

/// The settings a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// All of them, each once.
    pub(super) all: Vec<(String, String)>,
    /// Those of them that are not on the list.
    pub(super) unlisted: Vec<(String, String)>,
}

/// The settings of a StartupMessage: those in `options` first, each overridden by a parameter of its own.
pub(super) fn settings(parameters: &BTreeMap<String, String>) -> Result<Settings, SettingError> {
    let mut judged: Vec<Judged> = Vec::new();
    for (name, value) in options(parameters.get("options").map(String::as_str).unwrap_or_default())? {
        put(&mut judged, judge(&name, value)?);
    }
    let mut direct = BTreeSet::new();
    for (name, value) in parameters.iter().filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str())) {
        let setting = judge(name, value.clone())?;
        if !direct.insert(setting.name.clone()) {
            return Err(SettingError::Twice { name: setting.name });
        }
        put(&mut judged, setting);
    }
    let pair = |setting: &Judged| (setting.name.clone(), setting.value.clone());
    let unlisted = judged.iter().filter(|setting| !setting.listed).map(pair).collect();
    Ok(Settings { all: judged.iter().map(pair).collect(), unlisted })
}

/// The settings as they go upstream, where the name of the application tells who it is.
pub(crate) fn for_upstream(settings: &[(String, String)], user: &str) -> Vec<(String, String)> {
    let mut own: Vec<_> = settings.iter().filter(|(name, _)| name != "application_name").cloned().collect();
    own.push(("application_name".to_owned(), format!("{user} via countersign")));
    own
}

struct Judged {
    /// Canonical, as far as it is known; otherwise in lower case, as names of settings are compared without case.
    name: String,
    value: String,
    listed: bool,
}

fn put(settings: &mut Vec<Judged>, setting: Judged) {
    settings.retain(|earlier| earlier.name != setting.name);
    settings.push(setting);
}

fn judge(name: &str, value: String) -> Result<Judged, SettingError> {
    let known = ALLOW_LIST.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some((name, rule)) = known else {
        let name = name.to_ascii_lowercase();
        if let Some(wrong) = choices::wrong(&name, &value) {
            return Err(SettingError::Choice(wrong));
        }
        let listed = PLANNER.iter().any(|beginning| name.starts_with(beginning));
        return Ok(Judged { name, value, listed });
    };
    let value = match rule {
        Rule::PassOn => value,
        Rule::Utf8 if is_utf8(&value) => "UTF8".to_owned(),
        Rule::Pinned(values) if values.iter().any(|pinned| pinned.eq_ignore_ascii_case(&value)) => value,
        Rule::Utf8 | Rule::Pinned(_) => return Err(SettingError::Value { name, value }),
        Rule::Refuse => return Err(SettingError::NotAtStart { name }),
    };
    Ok(Judged { name: (*name).to_owned(), value, listed: true })
}

/// PostgreSQL compares encoding names by their letters and digits: `'utf-8'`, as some drivers send it, is UTF8.
fn is_utf8(value: &str) -> bool {
    let letters: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    ["utf8", "unicode", "sqlascii"].contains(&letters.to_ascii_lowercase().as_str()) && value.is_ascii()
}

/// Reads `-c name=value`, `-cname=value` and `--name=value`.
fn options(text: &str) -> Result<Vec<(String, String)>, SettingError> {
    let mut settings = Vec::new();
    let mut words = words(text)?.into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or(SettingError::Options)?
        } else if let Some(setting) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            setting.to_owned()
        } else {
            return Err(SettingError::Options);
        };
        let (name, value) = setting.split_once('=').ok_or(SettingError::Options)?;
        // The server's command line takes dashes for underscores.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// Splits at white space; a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, SettingError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(characters.next().ok_or(SettingError::Options)?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parameters: &[(&str, &str)], expected: Result<&[(&str, &str)], &str>) {
        let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let got = settings(&parameters).map(|settings| settings.all).map_err(|error| error.refusal().sqlstate);
        assert_eq!(got, expected.map(own));
    }

    #[track_caller]
    fn check_unlisted(parameters: &[(&str, &str)], expected: &[&str]) {
        let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let unlisted = settings(&parameters).unwrap().unlisted;
        assert_eq!(unlisted.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_on_the_list_is_for_the_rules() {
        check_unlisted(&[("client_encoding", "UTF8"), ("options", "-c work_mem=1MB -c enable_seqscan=off")], &[]);
        check_unlisted(&[("fancy", "1"), ("App.Tenant", "7"), ("geqo", "on")], &["app.tenant", "fancy"]);
        check_unlisted(
            &[("options", "-c app.tenant=1 -c APP.tenant=2"), ("row_security", "off")],
            &["app.tenant", "row_security"],
        );
        check_unlisted(&[("User", "a"), ("", "1"), ("synchronous_commit", "off")], &["", "user", "synchronous_commit"]);
        check_unlisted(&[("options", "-c app.tenant=1"), ("app.tenant", "2")], &["app.tenant"]);
        check(&[("App.x", "1"), ("app.X", "2")], Err("22023"));
    }

    #[test]
    fn what_drivers_send_passes() {
        check(&[("user", "a"), ("database", "d"), ("replication", "off"), ("options", "")], Ok(&[]));
        check(
            &[("client_encoding", "UTF8"), ("DateStyle", "ISO"), ("TimeZone", "UTC"), ("extra_float_digits", "2")],
            Ok(&[("DateStyle", "ISO"), ("TimeZone", "UTC"), ("client_encoding", "UTF8"), ("extra_float_digits", "2")]),
        );
        check(&[("datestyle", "ISO, MDY")], Ok(&[("DateStyle", "ISO, MDY")]));
        for utf8 in ["utf8", "'utf-8'", "UTF-8", "UNICODE", "SQL_ASCII"] {
            check(&[("client_encoding", utf8)], Ok(&[("client_encoding", "UTF8")]));
        }
        check(&[("options", "-c intervalstyle=postgres_verbose")], Ok(&[("IntervalStyle", "postgres_verbose")]));
        check(
            &[("options", "-cgeqo=off  --statement-timeout=5s")],
            Ok(&[("geqo", "off"), ("statement_timeout", "5s")]),
        );
        check(&[("options", r"-c search_path=a,\ b\\")], Ok(&[("search_path", r"a, b\")]));
        check(&[("options", "-c geqo=a=b")], Ok(&[("geqo", "a=b")]));
        check(&[("options", "-c geqo=on -c GEQO=off")], Ok(&[("geqo", "off")]));
        check(&[("options", "-c geqo=on"), ("geqo", "off")], Ok(&[("geqo", "off")]));
        check(&[("options", "-c standard_conforming_strings=ON")], Ok(&[("standard_conforming_strings", "ON")]));
    }

    #[test]
    fn what_changes_the_reading_of_sql_is_refused() {
        for encoding in ["SJIS", "latin1", "BIG5", "", "utf8x", "utf８", "DEFAULT"] {
            check(&[("client_encoding", encoding)], Err("22023"));
        }
        check(&[("standard_conforming_strings", "off")], Err("22023"));
        check(&[("Standard_Conforming_Strings", "0")], Err("22023"));
        check(&[("backslash_quote", "on")], Err("22023"));
        check(&[("options", "-c standard_conforming_strings=off")], Err("22023"));
        check(&[("options", "--standard-conforming-strings=off")], Err("22023"));
        check(&[("options", "-c geqo=on -c client_encoding=SJIS")], Err("22023"));
        check(&[("options", r"-c client\_encoding=SJIS")], Err("22023"));
        check(&[("role", "admin")], Err("22023"));
        check(&[("options", "-crole=admin")], Err("22023"));
        check(&[("session_authorization", "postgres")], Err("22023"));
        check(&[("geqo", "on"), ("GEQO", "off")], Err("22023"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for options in ["-c", "-c geqo", "-c geqo on", "geqo=on", "-e", "-W 5", "--geqo", "-c geqo=on\\", "- c geqo=on"]
        {
            check(&[("options", options)], Err("22023"));
        }
        check(&[("session_preload_libraries", "x")], Err("22023"));
        check(&[("options", "-c local_preload_libraries=x")], Err("22023"));
    }

    #[test]
    fn only_ordinary_connections_are_made() {
        let check = |value: &str, expected| {
            let parameters = [("replication".to_owned(), value.to_owned())].into();
            assert_eq!(refuse_replication(&parameters).is_ok(), expected, "{value}");
        };
        assert!(refuse_replication(&BTreeMap::new()).is_ok());
        for off in ["false", "off", "0", "no", "OFF"] {
            check(off, true);
        }
        for on in ["true", "on", "1", "yes", "database", "", "of"] {
            check(on, false);
        }
    }
}
