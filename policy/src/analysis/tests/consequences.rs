//! What a write sets off: triggers, defaults, foreign keys; and what inherits.

use super::fixture::analysis;
use crate::analysis::{AnalysisContext, NothingPrepared, analyze};
use crate::catalog::Catalog;
use crate::effect::{Effect, Effects};

/// `text` carries exactly these effects, and writes exactly these relations.
#[track_caller]
fn check(text: &str, effects: &str, written: &str) {
    let analysis = analysis(text);
    assert_eq!(analysis.not_understood(), None, "{text}");
    let found: Vec<&str> = analysis.effects().iter().map(|effect| effect.as_str()).collect();
    assert_eq!(found.join(" "), effects, "effects of {text}");
    let mut names: Vec<String> = analysis.statements[0]
        .relations
        .iter()
        .filter(|relation| relation.is_written())
        .map(|relation| format!("{}", relation.name))
        .collect();
    names.sort();
    assert_eq!(names.join(" "), written, "relations written by {text}");
}

const CASCADED: &str = "public.accounts public.entries public.entries_2024";

#[test]
fn foreign_keys_carry_a_deletion_on() {
    check("DELETE FROM accounts WHERE id = 1", "delete function_call", CASCADED);
    check("WITH d AS (DELETE FROM accounts RETURNING id) SELECT id FROM d", "select delete function_call", CASCADED);
    check("DELETE FROM open_accounts", "delete function_call", &format!("{CASCADED} public.open_accounts"));
}

#[test]
fn an_update_sets_off_only_what_its_columns_do() {
    check("UPDATE accounts SET note = 'x' WHERE id = 1", "update", "public.accounts");
    check("UPDATE accounts SET owner = 'x' WHERE id = 1", "update function_call", "public.accounts");
    check("UPDATE accounts SET (note, owner) = ('x', 'y') WHERE id = 1", "update function_call", "public.accounts");
    check("UPDATE accounts SET id = 2 WHERE id = 1", "update", CASCADED);
    check(
        "INSERT INTO accounts VALUES (1, 'a', 'b') ON CONFLICT (id) DO UPDATE SET owner = excluded.owner",
        "insert update function_call",
        "public.accounts",
    );
    check(
        "MERGE INTO accounts a USING balances b ON a.id = b.account WHEN MATCHED THEN UPDATE SET note = 'x'",
        "select update merge",
        "public.accounts",
    );
    check(
        "MERGE INTO accounts a USING balances b ON a.id = b.account WHEN MATCHED THEN DELETE",
        "select delete merge function_call",
        CASCADED,
    );
}

#[test]
fn only_functions_that_may_write_count() {
    check("INSERT INTO entries VALUES (1, 2, 3)", "insert", "public.entries public.entries_2024");
    check("COPY entries FROM STDIN", "copy_in", "public.entries public.entries_2024");
    check("INSERT INTO balances VALUES (1, 2)", "insert", "public.balances");
}

#[test]
fn copy_from_sets_off_what_an_insert_does() {
    check("INSERT INTO inbox VALUES (1, 'x')", "insert function_call", "public.inbox");
    check("COPY inbox FROM STDIN", "copy_in function_call", "public.inbox");
    check("COPY inbox (note) FROM STDIN WHERE id > 1", "copy_in function_call", "public.inbox");
    check("COPY inbox TO STDOUT", "select copy_out", "");
}

#[test]
fn what_is_indexed_calls_functions_when_it_is_computed() {
    let written = "public.parcels";
    for text in ["INSERT INTO parcels VALUES (1)", "UPDATE parcels SET weight = 1", "REINDEX TABLE parcels"] {
        assert!(analysis(text).effects().contains(Effect::FunctionCall), "{text}");
    }
    check("ANALYZE parcels", "function_call maintenance", written);
    check("ALTER TABLE parcels ALTER COLUMN weight TYPE text", "alter function_call", written);
    check("ALTER TABLE parcels OWNER TO somebody", "alter", written);
    check("SELECT * FROM parcels", "select", "");
    for text in ["ANALYZE", "VACUUM", "REINDEX SCHEMA public", "CLUSTER"] {
        check(text, "function_call maintenance", "");
        let catalog = Catalog::default();
        let context = AnalysisContext { catalog: &catalog, search_path: &[], prepared: &NothingPrepared };
        assert_eq!(
            analyze(text, &context).effects(),
            Effects::of(&[Effect::Maintenance]),
            "{text} without such an index"
        );
    }
    check("ANALYZE orders", "maintenance", "public.orders");
}

#[test]
fn policies_call_functions_and_read_others() {
    check("SELECT * FROM secured", "select function_call", "");
    check("DELETE FROM secured WHERE id = 1", "select delete function_call", "public.secured");
    let analysis = analysis("SELECT 1 FROM secured");
    let read = analysis.statements[0].relations.iter().filter(|used| used.is_read());
    let mut names: Vec<&str> = read.map(|used| used.name.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["customer_view", "customers", "customers_eu", "orders", "secured"]);
}

#[test]
fn truncate_reaches_others_with_cascade_only() {
    check("TRUNCATE accounts", "truncate", "public.accounts");
    check("TRUNCATE accounts CASCADE", "truncate", CASCADED);
}

#[test]
fn what_inherits_is_written_too_unless_it_says_only() {
    check("DELETE FROM entries", "delete function_call", "public.entries public.entries_2024");
    check("UPDATE ONLY entries SET amount = 1", "update", "public.entries");
}

#[test]
fn an_update_that_moves_a_row_to_another_partition_inserts_and_deletes() {
    check("UPDATE entries SET amount = 1", "update function_call", "public.entries public.entries_2024");
    check("UPDATE entries_2024 SET amount = 1", "update", "public.entries public.entries_2024");
}

#[test]
fn a_view_may_call_a_column_otherwise() {
    let written = "public.accounts public.holders";
    check("UPDATE holders SET note = 'x'", "update function_call", written);
    let upsert = "INSERT INTO holders VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET note = excluded.note";
    check(upsert, "insert update function_call", written);
}

#[test]
fn an_update_of_what_a_generated_column_is_made_of_is_one_of_it() {
    check("UPDATE people SET ssn = 'x'", "update function_call", "public.people");
}

#[test]
fn rules_do_what_their_actions_do() {
    check("INSERT INTO logged VALUES (1, 'x')", "insert", "public.logged public.orders");
    check("DELETE FROM logged WHERE id = 1", "delete", "public.logged");
    check("INSERT INTO over_logged VALUES (1)", "insert", "public.logged public.orders public.over_logged");
    check("INSERT INTO board VALUES (1, 'x')", "insert", "public.board public.payments");
    check("DELETE FROM board WHERE id = 1", "delete notify", "public.board public.orders");
    check("UPDATE board SET label = 'x'", "update", "public.board public.customers public.customers_eu");
}

#[test]
fn rules_that_are_not_known_or_never_end_are_not_understood() {
    for text in ["INSERT INTO ruled VALUES (1)", "INSERT INTO looping VALUES (1)", "UPDATE logged SET id = 1"] {
        assert!(analysis(text).not_understood().is_some(), "{text}");
    }
}

#[test]
fn reads_set_nothing_off() {
    check("SELECT * FROM accounts JOIN entries ON account = accounts.id", "select", "");
    check("EXPLAIN DELETE FROM accounts", "explain", "");
}
