//! What definitions reach besides what they name: CASCADE, and locks through views.

use super::fixture::{analysis, catalog};
use crate::analysis::{AnalysisContext, NothingPrepared, analyze};
use crate::effect::Effect;

/// The relations on which `text` has that effect.
#[track_caller]
fn check(text: &str, effect: Effect, names: &str) {
    let analysis = analysis(text);
    assert_eq!(analysis.not_understood(), None, "{text}");
    assert_eq!(analysis.effects().contains(effect), !names.is_empty(), "effects of {text}");
    let used = analysis.statements.iter().flat_map(|statement| &statement.relations);
    let mut found: Vec<&str> =
        used.filter(|used| used.effects.contains(effect)).map(|used| used.name.name.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found.join(" "), names, "{text}");
}

#[test]
fn dropping_a_table_takes_its_views_and_foreign_keys_along() {
    check("DROP TABLE accounts CASCADE", Effect::Drop, "accounts holders");
    check("DROP TABLE accounts CASCADE", Effect::Alter, "entries entries_2024");
    check("DROP TABLE accounts", Effect::Drop, "accounts");
    check("DROP TABLE accounts", Effect::Alter, "");
    check("DROP TABLE IF EXISTS nosuch CASCADE", Effect::Alter, "");
}

#[test]
fn dropping_a_column_takes_along_what_is_made_of_it() {
    check("ALTER TABLE accounts DROP COLUMN owner CASCADE", Effect::Drop, "holders");
    check("ALTER TABLE accounts DROP COLUMN owner CASCADE", Effect::Alter, "accounts");
    check("ALTER TABLE accounts DROP COLUMN id CASCADE", Effect::Alter, "accounts entries entries_2024");
    check("ALTER TABLE accounts DROP COLUMN note CASCADE", Effect::Drop, "");
    check("ALTER TABLE accounts DROP COLUMN owner", Effect::Drop, "");
    check("ALTER TABLE accounts DROP CONSTRAINT accounts_pkey CASCADE", Effect::Alter, "accounts entries entries_2024");
    check("ALTER TABLE accounts DROP CONSTRAINT accounts_pkey", Effect::Alter, "accounts");
}

#[test]
fn dropping_a_type_takes_columns_along_and_views_on_them() {
    check("DROP TYPE parcel CASCADE", Effect::Drop, "contacts parcels");
    check("DROP TYPE parcel CASCADE", Effect::Alter, "boxes");
    check("DROP TYPE parcel", Effect::Alter, "");
    check("DROP TYPE nosuch CASCADE", Effect::Alter, "");
    check("DROP DOMAIN IF EXISTS small CASCADE", Effect::Alter, "");
}

#[test]
fn dropping_a_function_alters_what_calls_it() {
    check("DROP FUNCTION purge() CASCADE", Effect::Alter, "accounts entries inbox parcels people secured");
    check("DROP FUNCTION next_number CASCADE", Effect::Drop, "numbered");
    check("DROP FUNCTION purge()", Effect::Alter, "");
    check("DROP FUNCTION app.purge CASCADE", Effect::Alter, "");
}

#[test]
fn dropping_a_schema_reaches_out_of_it() {
    check("DROP SCHEMA app CASCADE", Effect::Drop, "customers");
    assert!(analysis("DROP SCHEMA public CASCADE").effects().contains(Effect::Alter));
}

#[test]
fn dropping_what_has_dependents_that_are_not_known_is_not_understood() {
    for text in ["DROP EXTENSION hstore CASCADE", "DROP COLLATION c CASCADE", "DROP SERVER s CASCADE"] {
        assert!(analysis(text).not_understood().is_some(), "{text}");
    }
    assert_eq!(analysis("DROP EXTENSION IF EXISTS hstore").not_understood(), None);
    check("DROP TRIGGER t ON orders CASCADE", Effect::Drop, "orders");
    let catalog = catalog().with_entangled_schemas(["app".to_owned()].into());
    let context = AnalysisContext { catalog: &catalog, search_path: &[], prepared: &NothingPrepared };
    assert!(analyze("DROP SCHEMA app CASCADE", &context).not_understood().is_some());
    assert_eq!(analyze("DROP SCHEMA app", &context).not_understood(), None);
}

#[test]
fn altering_a_type_alters_the_tables_of_it() {
    check("ALTER TYPE parcel ADD ATTRIBUTE size int CASCADE", Effect::Alter, "parcels");
    check("ALTER TYPE parcel RENAME ATTRIBUTE weight TO mass CASCADE", Effect::Alter, "parcel parcels");
    check("ALTER TYPE parcel ADD ATTRIBUTE size int", Effect::Drop, "");
}

#[test]
fn a_lock_on_a_view_is_one_on_what_it_reads() {
    check("LOCK TABLE orders", Effect::Lock, "orders");
    let behind = "contacts customer_view customers customers_eu orders";
    check("LOCK TABLE contacts IN EXCLUSIVE MODE", Effect::Lock, behind);
    check("LOCK TABLE pg_stats IN SHARE MODE", Effect::Lock, "pg_stats");
    assert!(analysis("LOCK TABLE broken").not_understood().is_some());
}
