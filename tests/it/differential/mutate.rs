//! Statements that nobody would write: tokens swapped, dropped, doubled and replaced, statements put into others.
//!
//! Never parses: tokens are what a glance tells apart. Invariant: a seed always gives the same text.

/// Longest text that is made.
const TEXT_MAX: usize = 4_000;

/// What a statement is put into; `{}` is its place.
const AROUND: &[&str] = &[
    "EXPLAIN ANALYZE {}",
    "EXPLAIN (ANALYZE false) {}",
    "EXPLAIN (ANALYZE 0, VERBOSE) {}",
    "EXPLAIN (ANALYZE 'on', COSTS off) {}",
    "EXPLAIN VERBOSE {}",
    "WITH w AS ({}) SELECT 1",
    "WITH w AS MATERIALIZED ({}) SELECT * FROM w",
    "WITH RECURSIVE w AS ({}) SELECT count(*) FROM w",
    "WITH a AS ({}), b AS (SELECT * FROM a) SELECT * FROM b, people",
    "WITH people AS ({}) DELETE FROM people",
    "COPY ({}) TO STDOUT",
    "COPY ({}) TO STDOUT (FORMAT csv, HEADER)",
    "PREPARE q AS {}; EXECUTE q",
    "PREPARE q AS {}",
    "DECLARE c CURSOR FOR {}; FETCH ALL FROM c",
    "CREATE TABLE made AS {}",
    "CREATE TEMP TABLE made ON COMMIT DROP AS {}",
    "CREATE VIEW made AS {}",
    "CREATE MATERIALIZED VIEW made AS {}",
    "INSERT INTO log (what) {}",
    "SELECT * FROM ({}) AS s",
    "SELECT ({})",
    "SELECT EXISTS ({})",
    "SELECT ARRAY({})",
    "SELECT id FROM people WHERE id IN ({})",
    "SELECT * FROM people, LATERAL ({}) AS l",
    "{} UNION ALL SELECT 1",
    "({}) EXCEPT (SELECT NULL)",
    "CREATE FUNCTION made() RETURNS void LANGUAGE sql AS $made$ {} $made$; SELECT made()",
    "CREATE RULE made AS ON UPDATE TO log DO ALSO {}; UPDATE log SET what = 'x'",
    "/* {} */ SELECT 1",
    "SELECT 1 -- {}",
    "SELECT $$ {} $$",
    "BEGIN; {}; COMMIT",
    "SELECT 1; {}",
    "{}; SELECT 1",
];

/// White space and comments between tokens.
const BETWEEN: &[&str] =
    &["\n", "\t", "\x0c", "\x0b", " /**/ ", " /* ; */ ", " --\n", " -- '\n", "\r", " /* /* */ */ ", "\u{a0}", ""];

/// Words and signs that change much.
const SPICE: &[&str] = &[
    "ONLY",
    "*",
    ",",
    ";",
    "(",
    ")",
    "DISTINCT",
    "AS",
    "NOT",
    "NULL",
    "WITH",
    "RETURNING *",
    "FROM",
    "WHERE true",
    "USING people",
    "ON CONFLICT DO NOTHING",
    "FOR UPDATE",
    "INTO made",
    "LATERAL",
    "END",
    "CASE",
    "OR",
    "AND",
    "::text",
    "::kind",
    "COLLATE \"C\"",
    "OPERATOR(pg_catalog.+)",
    "FILTER (WHERE true)",
    "OVER ()",
    "TABLESAMPLE system (1)",
    "ORDER BY 1",
    "LIMIT 1",
    "$1",
    "[1]",
    ".*",
    "public.",
    "pg_catalog.",
    "touch()",
    "touch(1)",
    "shout('x')",
    "DEFAULT",
    "VALUES (1)",
    "INTERVAL '1'",
    "ROW(1)",
    "ANY (ARRAY[1])",
    "NATURAL JOIN people",
    "LEFT JOIN log USING (id)",
    "IS DISTINCT FROM",
    "BETWEEN",
    "IN (SELECT 1)",
    "SELECT",
    "UPDATE",
    "DELETE",
    "INSERT",
    "MERGE",
    "TABLE people",
    "OVERRIDING SYSTEM VALUE",
    "AS (x)",
    "1",
    "-1",
    "0x1F",
    "1_000",
    "1e5",
    ".5",
    "'x'",
    "E'\\''",
    "'\\'",
    "U&'\\0061'",
    "U&\"\\0070eople\"",
    "$$'$$",
    "$a$x$a$",
    "B'1'",
    "X'ff'",
    "''",
    "\"\"",
    "\"people\"",
    "\"People\"",
    "current_user",
    "nextval('people_id_seq')",
    "setval('people_id_seq', 9)",
    "set_config('search_path', 'other', true)",
    "pg_advisory_xact_lock(1)",
    "lo_create(0)",
    "pg_notify('a', 'b')",
    "query_to_xml('DELETE FROM log', true, true, '')",
];

/// Makes texts from a seed.
pub struct Mutator<'a> {
    chance: u64,
    pool: &'a [String],
}

impl<'a> Mutator<'a> {
    /// `pool` is what texts and tokens are taken from.
    pub fn new(seed: u64, pool: &'a [String]) -> Self {
        Self { chance: seed, pool }
    }

    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64: every seed is as good as any other.
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 16).expect("48 bits") % limit.max(1)
    }

    fn one_of<'b>(&mut self, list: &[&'b str]) -> &'b str {
        list[self.below(list.len())]
    }

    fn any_text(&mut self) -> &'a str {
        &self.pool[self.below(self.pool.len())]
    }

    /// A text of the pool, changed a few times.
    pub fn text(&mut self) -> String {
        let mut text = self.any_text().to_owned();
        // Few changes: what PostgreSQL refuses shows nothing.
        let changes = [1, 1, 1, 2, 2, 3];
        for _ in 0..changes[self.below(changes.len())] {
            text = match self.below(8) {
                0..=3 => self.wrapped(&text),
                4 => format!("{text}; {}", self.any_text()),
                _ => self.changed(&text),
            };
        }
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }

    fn wrapped(&mut self, text: &str) -> String {
        self.one_of(AROUND).replace("{}", text.trim_end_matches(';'))
    }

    fn changed(&mut self, text: &str) -> String {
        let mut tokens: Vec<String> = tokens(text).into_iter().map(str::to_owned).collect();
        if tokens.is_empty() {
            return text.to_owned();
        }
        let (at, other) = (self.below(tokens.len()), self.below(tokens.len()));
        match self.below(9) {
            0 => tokens.swap(at, other),
            1 => drop(tokens.remove(at)),
            2 => tokens.insert(other, tokens[at].clone()),
            3 => tokens.insert(at, format!(" {} ", self.one_of(SPICE))),
            4 => {
                let from = super::mutate::tokens(self.any_text());
                let taken = from.get(self.below(from.len())).copied().unwrap_or(" ");
                tokens[at] = format!(" {taken} ");
            }
            5 => tokens.insert(at, self.one_of(BETWEEN).to_owned()),
            6 => tokens[at] = self.respelt(&tokens[at].clone()),
            7 => tokens[at] = format!(" {} ", self.one_of(SPICE)),
            _ => {
                let (low, high) = (at.min(other), at.max(other));
                let piece = tokens[low..high].to_vec();
                tokens.splice(other..other, piece);
            }
        }
        tokens.concat()
    }

    /// The same token, written otherwise; mostly with the same meaning.
    fn respelt(&mut self, token: &str) -> String {
        let first = token.chars().next().unwrap_or(' ');
        if first == '\'' {
            let inner = token.trim_matches('\'');
            return match self.below(6) {
                0 => format!(" E{token}"),
                1 => format!("$q${}$q$", inner.replace("''", "'")),
                2 => format!(" U&{token}"),
                3 => format!("'{inner}\\'"),
                4 => format!("{token}\n'y'"),
                _ => format!("{token}''"),
            };
        }
        if first.is_alphabetic() {
            return match self.below(5) {
                0 => token.to_uppercase(),
                1 => format!("\"{token}\""),
                2 => format!("\"{}\"", token.to_uppercase()),
                3 => format!("U&\"\\{:04x}{}\"", u32::from(first), &token[first.len_utf8()..]),
                _ => format!("{token}{token}"),
            };
        }
        token.to_owned()
    }
}

/// Words, strings, comments, white space and single signs, which together are the text.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted(rest, first),
            '-' if rest.starts_with("--") => rest.find('\n').map_or(rest.len(), |end| end + 1),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '$' => dollars(rest),
            _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            _ if first.is_whitespace() => rest.find(|letter: char| !letter.is_whitespace()).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        found.push(token);
        rest = after;
    }
    found
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

fn dollars(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else { return 1 };
    let tag = &text[..end + 2];
    if !tag[1..tag.len() - 1].chars().all(is_word) {
        return 1;
    }
    text[tag.len()..].find(tag).map_or(text.len(), |at| at + 2 * tag.len())
}
