//! What statements set off, as the catalog has it.

use std::fmt::Write as _;

use countersign_policy::Catalog;
use countersign_policy::catalog::SetOff;

use super::start;
use crate::support::server::Database;

/// What statements on that relation set off, one line each.
fn set_off(catalog: &Catalog, relation: &str) -> String {
    let relation = catalog.relation_named("public", relation).expect("relation");
    let mut lines = String::new();
    for consequence in &relation.consequences {
        let on = consequence.on.iter().map(|effect| effect.as_str()).collect::<Vec<_>>().join(" ");
        let what = match consequence.what {
            SetOff::Call(oid) => {
                let name = catalog.user_function(oid).map_or("the server's own", |(_, name, _)| name);
                Some(format!("calls {name}"))
            }
            SetOff::Write(effect, oid) => {
                catalog.relation(oid).map(|other| format!("{} {}", effect.as_str(), other.name))
            }
        };
        let _ = writeln!(lines, "{on} {:?}: {}", consequence.columns, what.expect("known"));
    }
    lines
}

#[tokio::test]
async fn indexes_policies_and_what_depends_on_a_relation_are_known() {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct
        .batch_execute(
            "CREATE TYPE pair AS (a int, b text); CREATE TABLE pairs OF pair;
             CREATE TABLE base (id int PRIMARY KEY, x int, y text);
             CREATE VIEW top AS SELECT id, x FROM base; CREATE TABLE refers (b int REFERENCES base);
             CREATE FUNCTION keyed(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
             CREATE FUNCTION seen() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
             CREATE INDEX ON base (keyed(x));
             CREATE TABLE parted (a int) PARTITION BY RANGE (keyed(a));
             CREATE VIEW keys AS SELECT keyed(1) AS k; CREATE SEQUENCE numbers; CREATE TABLE numbered (a int DEFAULT nextval('numbers'));
             CREATE TABLE secured (a int); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
             CREATE POLICY p ON secured USING (a IN (SELECT id FROM base) AND seen());
             CREATE TABLE open_to_all (a int); CREATE POLICY p ON open_to_all USING (seen());",
        )
        .await
        .expect("objects");
    direct
        .batch_execute(
            "CREATE SCHEMA tied; CREATE SCHEMA free; CREATE COLLATION tied.c FROM \"C\"; CREATE COLLATION free.c FROM \"C\";
             CREATE TABLE sorted (a text COLLATE tied.c)",
        )
        .await
        .expect("collations");
    let catalog = start(&database).await.snapshot();
    assert!(catalog.is_entangled("tied") && !catalog.is_entangled("free") && !catalog.is_entangled("public"));
    let check = |relation: &str, expected: &str| assert_eq!(set_off(&catalog, relation), expected, "{relation}");
    check("pair", "drop []: drop pairs\nalter []: alter pairs\n");
    check(
        "base",
        "truncate []: truncate refers\n\
         drop [1]: alter refers\ndrop [1]: alter secured\ndrop [1, 2]: drop top\n\
         insert update alter maintenance []: calls keyed\n",
    );
    check("parted", "insert update alter maintenance []: calls keyed\n");
    check("keys", " []: calls keyed\n");
    check("numbers", "drop []: alter numbered\n");
    check("secured", "select insert update delete []: calls seen\nselect insert update delete []: select base\n");
    check("open_to_all", "");
}

/// Code that runs because of the type of a column, or without being named by a function: conditions of triggers, operators,
/// domains in domains, arrays, rows and ranges, casts.
#[tokio::test]
async fn what_is_called_by_way_of_types_and_operators_is_known() {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct
        .batch_execute(
            "CREATE FUNCTION seen(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
             CREATE FUNCTION made() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
             CREATE FUNCTION met_by(int, int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
             CREATE OPERATOR <~> (FUNCTION = met_by, LEFTARG = int, RIGHTARG = int);
             CREATE TABLE watched (a int);
             CREATE TRIGGER t BEFORE UPDATE ON watched FOR EACH ROW WHEN (seen(new.a))
                EXECUTE FUNCTION suppress_redundant_updates_trigger();
             CREATE DOMAIN given AS int DEFAULT made(); CREATE TABLE giving (a int, b given);
             CREATE DOMAIN checked AS int CHECK (seen(value)); CREATE DOMAIN twice AS checked;
             CREATE TYPE pair AS (a twice, b int); CREATE TYPE span AS RANGE (subtype = checked);
             CREATE TABLE domains (a int, b twice); CREATE TABLE arrays (a checked[]); CREATE TABLE rows (a int, b pair[]);
             CREATE TABLE ranges (a span); CREATE TABLE plain (a int, b text, c int[]);
             CREATE DOMAIN compared AS int CHECK (value <~> 1); CREATE TABLE operated (a compared);
             CREATE TABLE limited (a int CHECK (a <~> 1)); CREATE TABLE converted (a int CHECK (a::checked > 0));
             CREATE FUNCTION sampled(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN made(); END';
             CREATE TABLE measured (a int, b int); CREATE STATISTICS s ON (sampled(a)), b FROM measured;
             CREATE TYPE box2 AS (a int);
             CREATE FUNCTION to_box2(text) RETURNS box2 LANGUAGE plpgsql AS 'BEGIN RETURN row(1)::box2; END';
             CREATE FUNCTION of_box2(box2) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
             CREATE CAST (text AS box2) WITH FUNCTION to_box2(text) AS ASSIGNMENT;
             CREATE CAST (box2 AS text) WITH FUNCTION of_box2(box2); CREATE TABLE boxed (a int, b box2);",
        )
        .await
        .expect("objects");
    let catalog = start(&database).await.snapshot();
    let check = |relation: &str, expected: &str| assert_eq!(set_off(&catalog, relation), expected, "{relation}");
    check("watched", "update []: calls the server's own\nupdate []: calls seen\n");
    check("giving", "insert update [2]: calls made\n");
    check("domains", "insert update [2]: calls seen\n");
    check("arrays", "insert update [1]: calls seen\n");
    check("rows", "insert update [2]: calls seen\n");
    check("ranges", "insert update [1]: calls seen\n");
    check("operated", "insert update [1]: calls met_by\n");
    check("limited", "insert update alter []: calls met_by\n");
    check("converted", "insert update alter []: calls seen\n");
    check("boxed", "insert update [2]: calls to_box2\nselect insert update delete []: calls of_box2\n");
    check("plain", "");
    check("measured", "maintenance []: calls sampled\n");
    let runs = |name: &str| catalog.functions_named("public", &format!("cast:{name}")).len();
    assert_eq!(["checked", "twice", "_twice", "pair", "domains", "compared"].map(runs), [1; 6]);
    assert!(runs("span") > 0);
    assert_eq!((runs("box2"), runs("plain"), runs("given")), (2, 0, 0));
    assert!(catalog.functions_named("pg_catalog", "cast:text").is_empty());
}
