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
            SetOff::Call(oid) => catalog.user_function(oid).map(|(_, name, _)| format!("calls {name}")),
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
