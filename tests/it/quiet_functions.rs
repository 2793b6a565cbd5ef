//! The functions that are known to fail for no value are functions of the server.

use countersign_policy::analysis::quiet_functions;

use crate::support::server::Database;

/// Those of the list that a server of this version does not have yet.
fn is_later(name: &str, version: i32) -> bool {
    let since = match name {
        "any_value" => 160_000,
        "regexp_count" | "regexp_like" | "regexp_substr" => 150_000,
        "extract" => 140_000,
        _ => 0,
    };
    version < since
}

#[tokio::test]
async fn each_is_there_with_those_arguments() {
    let direct = Database::create().await.direct().await;
    let version: i32 =
        direct.query_one("SELECT current_setting('server_version_num')::int", &[]).await.expect("version").get(0);
    let overloads = "SELECT bool_or(provariadic <> 0 OR pronargs >= $2), bool_or(provolatile = 'v' OR prosecdef)
        FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = $1 AND prokind <> 'p'";
    let mut names = Vec::new();
    for function in quiet_functions().filter(|function| !is_later(function.name, version)) {
        let arguments = i16::try_from(function.arguments).expect("few");
        let row = direct.query_one(overloads, &[&function.name, &arguments]).await.expect("functions");
        let (takes, changes): (Option<bool>, Option<bool>) = (row.get(0), row.get(1));
        assert_eq!((takes, changes), (Some(true), Some(false)), "{function:?}");
        assert!(function.why.len() > 5, "{function:?}");
        names.push(function.name);
    }
    assert!(names.is_sorted() && names.len() > 80, "{names:?}");
}

/// Values that are at the edge of what their types hold, given to those that take one of them.
#[tokio::test]
async fn none_fails_for_a_value_at_the_edge() {
    let direct = Database::create().await.direct().await;
    let one_argument =
        "SELECT p.proname::text, t.typname::text FROM pg_proc p JOIN pg_type t ON t.oid = p.proargtypes[0]
        WHERE pronamespace = 'pg_catalog'::regnamespace AND pronargs = 1 AND proname = ANY ($1) AND prokind = 'f'
          AND provariadic = 0 ORDER BY 1, 2";
    let all: Vec<&str> =
        quiet_functions().filter(|function| function.arguments == 0).map(|function| function.name).collect();
    let mut asked = 0;
    for row in direct.query(one_argument, &[&all]).await.expect("functions") {
        let (name, kind): (String, String) = (row.get(0), row.get(1));
        for value in edges(&kind) {
            let literal = value.replace('\'', "''");
            let statement = format!("SELECT pg_catalog.{name}('{literal}'::\"{kind}\")");
            direct.simple_query(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked}");
}

fn edges(kind: &str) -> &'static [&'static str] {
    match kind {
        "text" | "bpchar" => &["", "a", "ä\u{1F600}", "\\", "'\"", "%s", "\u{1}"],
        "numeric" => &["NaN", "0", "-1e131071", "1e-16383"],
        "float8" => &["NaN", "Infinity", "-Infinity", "1e308", "5e-324"],
        "bytea" => &["", "\\x00ff"],
        "json" | "jsonb" => &["null", "[]", "{}", "\"\"", "1e300", "[[{\"a\":null}]]"],
        "inet" => &["0.0.0.0/0", "::/0"],
        "date" | "timestamp" => &["infinity", "-infinity", "4713-01-01 BC"],
        "interval" => &["178000000 years", "-178000000 years"],
        _ => &[],
    }
}
