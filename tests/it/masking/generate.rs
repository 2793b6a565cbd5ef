//! Tables, views, functions, data and queries of the non-interference test, from a seed.
//!
//! Never makes a masked column decide on rows on purpose; that is refused. Invariant: the same seed gives the same
//! queries, and each of them succeeds in PostgreSQL.

use crate::pipeline::Chance;

/// What is asked about. Columns that begin with `m_` are masked; views and functions call them something else.
pub const SCHEMA: &str = "
    CREATE SCHEMA s;
    CREATE TYPE s.pair AS (left_side text, right_side integer);
    CREATE TABLE s.t (id integer, k integer, a text, n integer, tags text[], j jsonb, m_text text, m_num integer,
        m_tags text[], m_json jsonb, m_pair s.pair, m_day date, loud text GENERATED ALWAYS AS (upper(m_text)) STORED);
    CREATE TABLE s.u (id integer, k integer, a text, n integer, tags text[], j jsonb, m_text text, m_num integer,
        m_tags text[], m_json jsonb, m_pair s.pair, m_day date, row_of s.t);
    CREATE TABLE s.p (id integer, k integer, a text, m_text text, m_num integer) PARTITION BY LIST (k);
    CREATE TABLE s.p0 PARTITION OF s.p FOR VALUES IN (0);
    CREATE TABLE s.p1 (m_num integer, m_text text, a text, k integer, id integer);
    ALTER TABLE s.p ATTACH PARTITION s.p1 DEFAULT;
    CREATE VIEW s.v AS SELECT id, k, a, m_text AS mail, upper(m_text) AS shouted, m_num + 1 AS more, tags FROM s.t;
    CREATE VIEW s.vv AS SELECT v.id, v.mail AS x, u.a AS y, u.m_tags AS z, v.k FROM s.v JOIN s.u ON u.id = v.id;
    CREATE VIEW s.vrow AS SELECT id, t AS r FROM s.t;
    CREATE VIEW s.vagg AS SELECT k, max(m_text) AS top, count(*) AS n, string_agg(a, ',' ORDER BY id) AS names FROM s.t GROUP BY k;
    CREATE FUNCTION s.of(integer) RETURNS text LANGUAGE sql STABLE AS 'SELECT m_text FROM s.t WHERE id = $1';
    CREATE FUNCTION s.twice(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $1';
    CREATE FUNCTION s.everything() RETURNS SETOF s.t LANGUAGE sql STABLE AS 'SELECT * FROM s.t ORDER BY id';
    CREATE FUNCTION s.names() RETURNS TABLE (who text, what text) LANGUAGE sql STABLE AS 'SELECT a, m_text FROM s.t ORDER BY id';
    GRANT USAGE ON SCHEMA s TO PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA s TO PUBLIC;";

/// Fills the tables anew. Variants differ in what the masked columns hold, not in where they hold NULL.
pub fn data(seed: u64, variant: u64) -> String {
    let (mut clean, mut secret) = (Chance(seed), Chance(seed ^ (variant << 32)));
    let mut script = "TRUNCATE s.t, s.u, s.p;\n".to_owned();
    let mut canary = || format!("CANARY{}", secret.next() % 1_000_000_007);
    for table in ["t", "u"] {
        for id in 1..6 {
            let (k, n) = (clean.below(3), clean.below(100));
            let mut masked = [
                format!("'{} x'", canary()),
                (canary()[6..].parse::<u64>().expect("digits") % 1_000_000).to_string(),
                format!("ARRAY['{}', NULL, '{},\"']", canary(), canary()),
                format!("'{{\"k\": \"{}\"}}'", canary()),
                format!("ROW('{}', 7)", canary()),
                format!("date '1950-01-01' + {}", canary().len() * 1000 + id),
            ];
            for value in &mut masked {
                if clean.once_in(6) {
                    *value = "NULL".to_owned();
                }
            }
            let more = if table == "u" { format!(", (SELECT t FROM s.t WHERE id = {id})") } else { String::new() };
            script += &format!(
                "INSERT INTO s.{table} VALUES ({id}, {k}, 'name{id}', {n}, ARRAY['a{n}', 'b'], '{{\"k\": {n}}}', {}{more});\n",
                masked.join(", ")
            );
        }
    }
    for id in 1..5 {
        script += &format!("INSERT INTO s.p VALUES ({id}, {}, 'p{id}', '{}', 5);\n", id % 2, canary());
    }
    script
}

/// A query: columns, each with whether it has nothing to do with masked columns, and what stands around them.
#[derive(Clone, Debug)]
pub struct Query {
    pub columns: Vec<(String, bool)>,
    /// `{}` stands for the columns.
    frame: String,
    clean_rest: Vec<bool>,
}

/// Statements before, the one that counts, statements after.
type Way = (Vec<String>, String, Vec<String>);

impl Query {
    /// A query with columns of its own; `{}` in the frame stands for them.
    pub fn of(columns: Vec<(String, bool)>, frame: String) -> Self {
        Self { columns, frame, clean_rest: Vec::new() }
    }

    /// A query as it is, with which of its columns are clean.
    pub fn fixed(text: String, clean: Vec<bool>) -> Self {
        Self { columns: Vec::new(), frame: text, clean_rest: clean }
    }

    pub fn text(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|(text, _)| text.as_str()).collect();
        self.frame.replacen("{}", &columns.join(", "), 1)
    }

    /// By result column, whether it is clean.
    pub fn clean(&self) -> impl Iterator<Item = bool> {
        let own = self.columns.iter().map(|(_, is_clean)| *is_clean);
        self.clean_rest.iter().copied().chain(own)
    }

    /// The ways to ask for it by Query.
    pub fn ways(&self, text: &str) -> Vec<Way> {
        let begin = || vec!["BEGIN".to_owned()];
        let rollback = || vec!["ROLLBACK".to_owned()];
        let mut ways = vec![
            (begin(), text.to_owned(), rollback()),
            (begin(), format!("COPY ({text}) TO STDOUT"), rollback()),
            (begin(), format!("COPY ({text}) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)"), rollback()),
            (
                vec!["BEGIN".to_owned(), format!("PREPARE q AS {text}")],
                "EXECUTE q".to_owned(),
                vec!["ROLLBACK".to_owned(), "DEALLOCATE q".to_owned()],
            ),
        ];
        if !text.starts_with("UPDATE") && !text.contains("RETURNING") {
            let declared = vec!["BEGIN".to_owned(), format!("DECLARE c CURSOR FOR {text}")];
            ways.push((declared, "FETCH ALL FROM c".to_owned(), rollback()));
        }
        ways
    }
}

/// Expressions over a row `x` of `s.t` or `s.u`.
fn text_of(chance: &mut Chance, depth: usize, is_clean: bool) -> String {
    let column = match is_clean {
        true => chance.pick(&["x.a", "x.n::text", "x.tags[1]", "(x.j ->> 'k')", "'lit'", "x.k::text"]),
        false => chance.pick(&[
            "x.m_text",
            "x.m_num::text",
            "x.m_tags[1]",
            "(x.m_json ->> 'k')",
            "(x.m_pair).left_side",
            "(to_jsonb(x) ->> 'm_text')",
            "x::text",
            "array_to_string(x.m_tags, '-')",
            "(SELECT max(y.m_text) FROM s.u y WHERE y.id = x.id)",
            "(SELECT v.mail FROM s.v v WHERE v.id = x.id LIMIT 1)",
            "row_to_json(x)::text",
        ]),
    };
    if depth == 0 {
        return column.to_owned();
    }
    let inner = text_of(chance, depth - 1, is_clean);
    let other_clean = is_clean || chance.once_in(2);
    let other = text_of(chance, depth - 1, other_clean);
    match chance.below(11) {
        0 => format!("upper({inner})"),
        1 => format!("({inner} || {other})"),
        2 => format!("coalesce({other}, {inner})"),
        3 => format!("CASE WHEN x.n > 50 THEN {inner} ELSE {other} END"),
        4 => format!("md5({inner})"),
        5 => format!("reverse({inner})"),
        6 => format!("(ARRAY[{other}, {inner}])[2]"),
        7 => format!("(SELECT {inner})"),
        8 => format!("s.twice({inner})"),
        9 => format!("jsonb_build_object('a', {inner})::text"),
        _ => format!("greatest({inner}, {other})"),
    }
}

/// Columns as they are, whole rows, and what else is no text.
fn other_of(chance: &mut Chance) -> (String, bool) {
    let (text, is_clean) = chance.pick(&[
        ("x.m_text", false),
        ("x.m_num", false),
        ("x.m_tags", false),
        ("x.m_json", false),
        ("x.m_pair", false),
        ("x.m_day", false),
        ("x", false),
        ("ARRAY[x.m_num, x.n]", false),
        ("ARRAY[x]", false),
        ("to_jsonb(x)", false),
        ("ROW(x.a, x.m_text)", false),
        ("(x.m_pair).*", false),
        ("int4range(x.n, x.n + 1)", true),
        ("x.tags", true),
        ("x.j", true),
        ("x.n + 1", true),
        ("x.id", true),
        ("count(*) OVER ()", true),
        ("row_number() OVER (ORDER BY x.id)", true),
        ("lag(x.m_text) OVER (ORDER BY x.id)", false),
        ("first_value(x.a) OVER (ORDER BY x.id)", true),
        ("x.m_text IS NULL", false),
    ]);
    (text.to_owned(), is_clean)
}

fn column(chance: &mut Chance) -> (String, bool) {
    if chance.once_in(3) {
        return other_of(chance);
    }
    let is_clean = chance.once_in(3);
    let depth = chance.below(3);
    (text_of(chance, depth, is_clean), is_clean)
}

/// Queries with columns of their own.
const FRAMES: &[&str] = &[
    "SELECT {} FROM s.t x ORDER BY x.id",
    "SELECT {} FROM s.u x WHERE x.n < 70 ORDER BY x.id",
    "SELECT {} FROM s.t x JOIN s.u y ON y.id = x.id ORDER BY x.id",
    "SELECT {} FROM s.t x LEFT JOIN LATERAL (SELECT y.m_text FROM s.u y WHERE y.id = x.id) z ON true ORDER BY x.id",
    "SELECT {} FROM (SELECT * FROM s.t WHERE k < 2) x ORDER BY x.id",
    "WITH x AS MATERIALIZED (SELECT * FROM s.u) SELECT {} FROM x ORDER BY x.id",
    "SELECT * FROM (SELECT {} FROM s.t x ORDER BY x.id) AS q",
    "SELECT DISTINCT ON (x.id) {} FROM s.t x ORDER BY x.id",
    "UPDATE s.t x SET a = x.a || '!' WHERE x.id = 2 RETURNING {}",
    "DELETE FROM s.u x WHERE x.id = 3 RETURNING {}",
    "SELECT {} FROM s.everything() AS x ORDER BY x.id",
];

/// Queries as they are, each with which of its columns are clean.
const FIXED: &[(&str, &[bool])] = &[
    ("SELECT * FROM s.v ORDER BY id", &[true, true, true, false, false, false, true]),
    ("SELECT * FROM s.vv ORDER BY id", &[true, false, true, false, true]),
    ("SELECT id, r, (r).m_text, (r).a FROM s.vrow ORDER BY id", &[true, false, false, false]),
    ("SELECT * FROM s.vagg ORDER BY k", &[true, false, true, true]),
    ("SELECT * FROM s.p ORDER BY id", &[true, true, true, false, false]),
    ("SELECT m_text, id FROM s.p1 ORDER BY id", &[false, true]),
    ("SELECT s.of(id), id FROM s.t ORDER BY id", &[false, true]),
    ("SELECT who, what FROM s.names()", &[false, false]),
    ("SELECT a FROM s.t UNION ALL SELECT m_text FROM s.u", &[false]),
    (
        "SELECT k, m FROM (SELECT k, array_agg(m_text ORDER BY id) AS m FROM s.t GROUP BY k) q ORDER BY k",
        &[true, false],
    ),
    ("SELECT k, count(m_text), json_agg(t ORDER BY id) FROM s.t GROUP BY k ORDER BY k", &[true, false, false]),
    (
        "SELECT k, max(m_text), min(a), array_agg(a ORDER BY id) FROM s.t GROUP BY ROLLUP (k) ORDER BY k",
        &[true, false, true, true],
    ),
    (
        "WITH RECURSIVE r(i, c) AS (SELECT id, m_text FROM s.t WHERE id = 1 UNION ALL SELECT i + 1, c FROM r WHERE i < 3) SELECT * FROM r",
        &[true, false],
    ),
    (
        "WITH RECURSIVE r(i, c, d) AS (SELECT 1, 'a'::text, m_text FROM s.t WHERE id = 1 UNION ALL SELECT i + 1, d, c FROM r WHERE i < 4) SELECT * FROM r",
        &[true, false, false],
    ),
    ("SELECT v.c FROM s.t, LATERAL (VALUES (m_text), (a)) AS v(c) WHERE id = 1", &[false]),
    ("SELECT id, row_of, (row_of).a, (row_of).m_text FROM s.u ORDER BY id", &[true, false, false, false]),
    ("SELECT (SELECT t FROM s.t WHERE id = 2).m_text, (SELECT t FROM s.t WHERE id = 2).a", &[false, false]),
    ("INSERT INTO s.p VALUES (9, 0, 'new', 'mine', 1) RETURNING id, a, m_text", &[true, true, false]),
    (
        "UPDATE s.t SET a = u.a FROM s.u WHERE u.id = s.t.id AND u.id = 2 RETURNING u.m_text, s.t.m_text, u.id",
        &[false, false, true],
    ),
    ("SELECT loud, m_text FROM s.t ORDER BY id", &[false, false]),
    ("TABLE s.p", &[false, false, false, false, false]),
    ("SELECT id, m_text FROM s.t TABLESAMPLE system (100) ORDER BY id", &[true, false]),
    ("SELECT * FROM s.t x JOIN s.u y USING (id, k) ORDER BY id", &[true]),
    ("SELECT xmlelement(name a, m_text)::text, xmlforest(a)::text FROM s.t ORDER BY id", &[false, true]),
    ("SELECT m_tags[1:2], m_tags || tags, tags[1:1] FROM s.t ORDER BY id", &[false, false, true]),
    ("SELECT jsonb_path_query_first(to_jsonb(t), '$.m_text'), j -> 'k' FROM s.t ORDER BY id", &[false, true]),
];

/// The queries of a seed.
pub fn queries(seed: u64, count: usize) -> Vec<Query> {
    let mut chance = Chance(seed.wrapping_mul(31));
    let mut query = |index: usize| {
        if index < FIXED.len() {
            let (text, clean) = FIXED[index];
            return Query::fixed(text.to_owned(), clean.to_vec());
        }
        let frame = chance.pick(FRAMES);
        let mut columns: Vec<_> = (0..=chance.below(4)).map(|_| column(&mut chance)).collect();
        // A row that expands shifts what is behind it; what a function returned is hidden whole.
        let expands = columns.iter().any(|(text, _)| text.ends_with(".*"));
        let opaque = frame.contains("everything()") || frame.starts_with("SELECT * FROM (");
        let windows = frame.contains("RETURNING");
        columns.retain(|(text, _)| !windows || !text.contains("OVER"));
        if columns.is_empty() {
            columns.push(("x.id".to_owned(), true));
        }
        columns.iter_mut().for_each(|(_, is_clean)| *is_clean &= !expands && !opaque);
        Query::of(columns, frame.to_owned())
    };
    (0..count).map(&mut query).collect()
}
