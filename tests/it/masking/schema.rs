//! Tables and views of the non-interference test, from a seed, and queries over them.
//!
//! Never lets a masked column decide on rows. Invariant: a column counts as clean only when nothing that it is made of is
//! masked, through any number of views.

use super::generate::Query;
use crate::pipeline::Chance;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Texts,
    Document,
}

#[derive(Clone)]
struct Column {
    name: String,
    kind: Kind,
    is_clean: bool,
}

impl Column {
    /// It as a text, of a row `x`.
    fn text(&self) -> String {
        let name = &self.name;
        match self.kind {
            Kind::Text => format!("x.{name}"),
            Kind::Number => format!("x.{name}::text"),
            Kind::Texts => format!("x.{name}[1]"),
            Kind::Document => format!("(x.{name} ->> 'k')"),
        }
    }

    fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Text => "text",
            Kind::Number => "integer",
            Kind::Texts => "text[]",
            Kind::Document => "jsonb",
        }
    }
}

/// A table or view with `id`, `k`, and these columns.
#[derive(Clone)]
struct Relation {
    name: String,
    columns: Vec<Column>,
    definition: String,
    /// How many rows it is filled with; views are not.
    rows: u64,
}

/// Tables and views, each made of those before it.
pub struct Schema {
    seed: u64,
    relations: Vec<Relation>,
}

impl Schema {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(77) ^ 5);
        let mut relations: Vec<Relation> = (0..2).map(|number| table(&mut chance, number)).collect();
        let parent = relations[0].clone();
        let definition = format!("CREATE TABLE s.r2 () INHERITS (s.{})", parent.name);
        relations.push(Relation { name: "r2".to_owned(), definition, ..parent });
        for number in 0..5 {
            let source = relations[chance.below(relations.len())].clone();
            relations.push(view(&mut chance, number, &source));
        }
        Self { seed, relations }
    }

    pub fn definitions(&self) -> String {
        let all: Vec<_> = self.relations.iter().map(|relation| relation.definition.as_str()).collect();
        format!("{}; GRANT ALL ON ALL TABLES IN SCHEMA s TO PUBLIC", all.join(";\n"))
    }

    /// Fills the tables anew; variants differ in what the masked columns hold, not in where they hold NULL.
    pub fn data(&self, variant: u64) -> String {
        let (mut clean, mut secret) = (Chance(self.seed ^ 9), Chance((self.seed ^ 9) ^ (variant << 32)));
        let mut script = String::new();
        for (number, table) in self.relations.iter().filter(|relation| relation.rows > 0).enumerate() {
            script += &format!("TRUNCATE ONLY s.{};\n", table.name);
            for row in 0..table.rows {
                let mut values = vec![(1 + row + 50 * number as u64).to_string(), clean.below(3).to_string()];
                for column in table.columns.iter().filter(|column| !column.name.starts_with("g_")) {
                    let (is_null, seen) = (clean.once_in(6), clean.next() % 1_000_007);
                    let value = if column.is_clean {
                        format!("seen{seen}")
                    } else {
                        format!("CANARY{}", secret.next() % 1_000_007)
                    };
                    values.push(if is_null { "NULL".to_owned() } else { literal(column.kind, &value) });
                }
                script += &format!("INSERT INTO s.{} VALUES ({});\n", table.name, values.join(", "));
            }
        }
        script
    }

    pub fn queries(&self, count: usize) -> Vec<Query> {
        let mut chance = Chance(self.seed.wrapping_mul(131) ^ 3);
        (0..count).map(|_| self.query(&mut chance)).collect()
    }

    fn query(&self, chance: &mut Chance) -> Query {
        let mut any = || &self.relations[chance.below(self.relations.len())];
        let (relation, other) = (any(), any());
        let name = &relation.name;
        let frame = match chance.below(6) {
            0 => {
                let own = relation.columns.iter().map(|column| column.is_clean);
                let rest = [true, true].into_iter().chain(own).collect();
                return Query::fixed(format!("SELECT * FROM s.{name} x ORDER BY id"), rest);
            }
            1 => format!("SELECT {{}} FROM (SELECT * FROM s.{name}) x ORDER BY x.id"),
            2 => format!("WITH x AS MATERIALIZED (TABLE s.{name}) SELECT {{}} FROM x ORDER BY x.id"),
            3 => format!("SELECT {{}} FROM s.{name} x LEFT JOIN s.{} y ON y.id = x.id ORDER BY x.id, y.id", other.name),
            _ => format!("SELECT {{}} FROM s.{name} x ORDER BY x.id"),
        };
        let columns = (0..=chance.below(4)).map(|_| {
            let (text, is_clean) = expression(chance, &relation.columns);
            let plain = &relation.columns[chance.below(relation.columns.len())];
            match chance.below(4) {
                0 => (format!("x.{}", plain.name), plain.is_clean),
                1 => ("x".to_owned(), false),
                _ => (text, is_clean),
            }
        });
        Query::of(columns.collect(), frame)
    }
}

fn literal(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Text => format!("'{value} x'"),
        Kind::Number => value.trim_start_matches(|letter: char| letter.is_alphabetic()).to_owned(),
        Kind::Texts => format!("ARRAY['{value}', NULL, 'b']"),
        Kind::Document => format!("'{{\"k\": \"{value}\", \"n\": [1]}}'"),
    }
}

fn table(chance: &mut Chance, number: usize) -> Relation {
    let mut columns = Vec::new();
    for place in 0..3 + chance.below(4) {
        let kind = chance.pick(&[Kind::Text, Kind::Text, Kind::Number, Kind::Texts, Kind::Document]);
        // One of each at least.
        let is_clean = if place < 2 { place == 0 } else { chance.once_in(2) };
        let name = format!("{}_{number}{place}", if is_clean { "c" } else { "m" });
        columns.push(Column { name, kind, is_clean });
    }
    let stored: Vec<_> = columns.iter().map(|column| format!("{} {}", column.name, column.type_name())).collect();
    let of = columns.iter().find(|column| column.kind == Kind::Text).cloned();
    let generated = of.filter(|_| chance.once_in(2)).map(|of| {
        let definition = format!(", g_{number} text GENERATED ALWAYS AS (upper({})) STORED", of.name);
        columns.push(Column { name: format!("g_{number}"), kind: Kind::Text, is_clean: of.is_clean });
        definition
    });
    let (name, stored) = (format!("r{number}"), stored.join(", "));
    let definition =
        format!("CREATE TABLE s.{name} (id integer, k integer, {stored}{})", generated.unwrap_or_default());
    Relation { name, columns, definition, rows: 4 }
}

/// A text made of one or two columns of a row `x`.
fn expression(chance: &mut Chance, columns: &[Column]) -> (String, bool) {
    let mut any = || &columns[chance.below(columns.len())];
    let (one, other) = (any(), any());
    let (a, b) = (one.text(), other.text());
    let (text, uses_both) = match chance.below(9) {
        0 => (a, false),
        1 => (format!("upper({a})"), false),
        2 => (format!("reverse({a})"), false),
        3 => (format!("({a} || {b})"), true),
        4 => (format!("coalesce({a}, {b})"), true),
        5 => (format!("CASE WHEN x.k > 0 THEN {a} ELSE {b} END"), true),
        6 => (format!("(ARRAY[{a}, {b}])[2]"), true),
        7 => (format!("jsonb_build_object('a', {a}, 'b', {b})::text"), true),
        _ => (format!("(SELECT z.t FROM (VALUES ({a}), ({b})) AS z (t) LIMIT 1)"), true),
    };
    (text, one.is_clean && (other.is_clean || !uses_both))
}

fn view(chance: &mut Chance, number: usize, source: &Relation) -> Relation {
    let name = format!("v{number}");
    let mut columns = Vec::new();
    let mut shown = Vec::new();
    let aggregates = chance.once_in(4);
    for place in 0..2 + chance.below(3) {
        let plain = &source.columns[chance.below(source.columns.len())];
        let (text, kind, is_clean) = if !aggregates && chance.once_in(2) {
            (format!("x.{}", plain.name), plain.kind, plain.is_clean)
        } else {
            let (text, is_clean) = expression(chance, &source.columns);
            (if aggregates { format!("max({text})") } else { text }, Kind::Text, is_clean)
        };
        let column = Column { name: format!("w{number}{place}"), kind, is_clean };
        shown.push(format!("{text} AS {}", column.name));
        columns.push(column);
    }
    let (shown, from) = (shown.join(", "), &source.name);
    let body = match (aggregates, chance.below(4)) {
        (true, _) => format!("SELECT min(x.id) AS id, x.k, {shown} FROM s.{from} x GROUP BY x.k"),
        (false, 0) => format!(
            "SELECT x.id, x.k, {shown} FROM s.{from} x UNION ALL SELECT x.id + 1000, x.k, {shown} FROM s.{from} x"
        ),
        (false, 1) => format!("WITH x AS (SELECT * FROM s.{from}) SELECT x.id, x.k, {shown} FROM x"),
        (false, _) => format!("SELECT x.id, x.k, {shown} FROM s.{from} x"),
    };
    Relation { definition: format!("CREATE VIEW s.{name} AS {body}"), name, columns, rows: 0 }
}
