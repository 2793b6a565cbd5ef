//! Whether a function that is declared not to write can be believed.
//!
//! Never reads a body as a language: words are enough to doubt. Invariant: doubt only ever makes a function count as one
//! that may write. PostgreSQL lets a function that is declared stable or immutable call a volatile one, which writes.

use std::collections::{HashMap, HashSet};

use super::{Function, Oid, Volatility};
use crate::analysis::is_dangerous_built_in;

/// What one body calls.
struct Calls {
    names: HashSet<String>,
    /// It runs texts that are put together while it runs.
    is_dynamic: bool,
}

/// Makes every function volatile whose body calls a volatile one of a user, a dangerous one of the server, or runs dynamic
/// SQL; also through others. `bodies` are those of users' functions in languages other than C, by `pg_proc.oid`. Yields the
/// OIDs of those that were not believed.
pub fn doubt<'a>(
    functions: impl IntoIterator<Item = &'a mut (String, String, Function)>,
    bodies: &HashMap<Oid, String>,
) -> HashSet<Oid> {
    let mut functions: Vec<_> = functions.into_iter().filter(|(_, _, function)| !function.built_in).collect();
    let calls: HashMap<Oid, Calls> = bodies.iter().map(|(oid, body)| (*oid, calls(body))).collect();
    let mut writers: HashSet<String> = functions
        .iter()
        .filter(|(_, _, function)| function.volatility == Volatility::Volatile)
        .map(|(_, name, _)| name.to_lowercase())
        .collect();
    let mut doubted = HashSet::new();
    loop {
        let before = doubted.len();
        for (_, name, function) in &mut functions {
            let Some(calls) = calls.get(&function.oid).filter(|_| function.volatility != Volatility::Volatile) else {
                continue;
            };
            let writes = |called: &String| writers.contains(called) || is_dangerous_built_in(called);
            if calls.is_dynamic || calls.names.iter().any(writes) {
                function.volatility = Volatility::Volatile;
                function.doubted = true;
                writers.insert(name.to_lowercase());
                doubted.insert(function.oid);
            }
        }
        if doubted.len() == before {
            return doubted;
        }
    }
}

/// Words with an opening parenthesis behind them.
fn calls(body: &str) -> Calls {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
    // What is written in escapes could be any name.
    let is_dynamic = body.to_lowercase().contains("u&\"");
    let mut found = Calls { names: HashSet::new(), is_dynamic };
    let mut rest = body;
    while let Some(start) = rest.find(is_word) {
        let tail = rest.get(start..).unwrap_or_default();
        let end = tail.find(|letter| !is_word(letter)).unwrap_or(tail.len());
        let (word, after) = tail.split_at_checked(end).unwrap_or_default();
        let word = word.to_lowercase();
        found.is_dynamic |= word == "execute";
        if behind_blanks(after.trim_start_matches('"')).starts_with('(') {
            found.names.insert(word);
        }
        rest = after;
    }
    found
}

/// The text behind white space and comments; one that does not end is not skipped.
fn behind_blanks(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        let end = match text.get(..2) {
            Some("--") => text.find('\n'),
            Some("/*") => text.find("*/").map(|at| at + 2),
            Some(_) | None => None,
        };
        match end.and_then(|end| text.get(end..)) {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, volatility: Volatility, oid: Oid) -> (String, String, Function) {
        let function = Function {
            oid,
            volatility,
            language: "plpgsql".to_owned(),
            security_definer: false,
            kind: 'f',
            returns: 25,
            arguments: 0,
            built_in: false,
            doubted: false,
            body: None,
            prelude: None,
            behind: Box::default(),
        };
        ("public".to_owned(), name.to_owned(), function)
    }

    /// Whether a stable function with this body is doubted, beside a volatile `purge` and a stable `liar` that calls it.
    #[track_caller]
    fn check(body: &str, doubted: bool) {
        let mut functions = vec![
            function("asked", Volatility::Stable, 1),
            function("purge", Volatility::Volatile, 2),
            function("liar", Volatility::Immutable, 3),
        ];
        let bodies = HashMap::from([(1, body.to_owned()), (3, "BEGIN PERFORM public.purge (1); END".to_owned())]);
        assert_eq!(doubt(&mut functions, &bodies).contains(&1), doubted, "{body}");
    }

    #[test]
    fn a_body_that_calls_what_may_write_is_not_believed() {
        check("BEGIN PERFORM purge(1); RETURN 1; END", true);
        check("BEGIN RETURN \"purge\"(1); END", true);
        check("BEGIN RETURN public.PURGE\n\t(1); END", true);
        check("BEGIN RETURN liar(); END", true);
        check("BEGIN RETURN purge /* harmless */ -- really\n (1); END", true);
        check("BEGIN RETURN U&\"\\0070urge\"(1); END", true);
        check("BEGIN EXECUTE format('SELECT %I()', f); END", true);
        check("BEGIN RETURN pg_read_file('x'); END", true);
        check("BEGIN RETURN dblink_exec('c', 'DELETE FROM t'); END", true);
    }

    #[test]
    fn other_bodies_are() {
        check("BEGIN RETURN (SELECT count(*) FROM purge); END", false);
        check("BEGIN RETURN lower(name) || nextval('s') || now(); END", false);
        check("-- purge\nBEGIN RETURN 1; END", false);
        check("", false);
    }
}
