//! What must be the same for an approval to be used: whatever gives the statement another meaning asks anew.

use crate::support::client::request_id;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::wire::{Pipeline, WireClient};

/// What happens on the connection between the approval and the second try, and whether the approval still fits.
const BETWEEN: &[(&str, bool)] = &[
    ("SELECT 1", true),
    ("SET application_name = 'another'", true),
    ("SET statement_timeout = '1min'", true),
    ("SET DateStyle = 'ISO, MDY'", true),
    ("BEGIN; SET LOCAL DateStyle = 'German'; ROLLBACK", true),
    ("SET DateStyle = 'ISO, DMY'", false),
    ("BEGIN; SET LOCAL DateStyle = 'German'", false),
    ("SET TIME ZONE 'Asia/Tokyo'", false),
    ("SELECT set_config('IntervalStyle', 'sql_standard', false)", false),
    ("SET search_path = public, pg_catalog", false),
    ("CREATE TEMP TABLE customers (id int, note text)", false),
    ("SET lc_monetary = 'C.UTF-8'", false),
    ("SET extra_float_digits = 0", false),
    ("SET bytea_output = 'escape'", false),
    ("SET default_text_search_config = 'german'", false),
    // `WHERE note = NULL` finds nothing, or everything without a note.
    ("SET transform_null_equals = on", false),
    ("SET transform_null_equals = on; SET transform_null_equals = off", true),
    ("BEGIN; SET LOCAL transform_null_equals = on; ROLLBACK", true),
    (
        "BEGIN; SET LOCAL transform_null_equals = on; SAVEPOINT a; SET LOCAL transform_null_equals = off; ROLLBACK TO a",
        false,
    ),
    ("SET array_nulls = off", false),
    ("SELECT set_config('array_nulls', 'off', false)", false),
];

async fn start() -> Proxy {
    let launch = Launch { fragment: WRITES_HELD, ..Launch::default() };
    let resubmit = |text: String| text.replace("mode = \"wait\"", "mode = \"resubmit\"");
    Proxy::in_front_of(Database::create().await, launch, resubmit).await
}

fn update(number: usize) -> String {
    format!("UPDATE customers SET note = 'bound-{number}-' WHERE id = 1")
}

#[tokio::test]
async fn an_approval_serves_only_where_the_statement_means_the_same() {
    let proxy = start().await;
    for (number, (between, fits)) in BETWEEN.iter().enumerate() {
        let text = update(number);
        let client = proxy.client("alice").await;
        let refused = client.refusal(&text).await;
        let id = request_id(refused.detail().unwrap_or_default()).expect("id");
        assert_eq!(proxy.api("bob").approve(&id).await, 200);
        client.client.simple_query(between).await.unwrap_or_else(|error| panic!("{between}: {error}"));
        let second = client.client.simple_query(&text).await;
        assert_eq!(second.is_ok(), *fits, "{between}: {second:?}");
        if let Err(error) = second {
            let detail = error.as_db_error().and_then(|error| error.detail()).unwrap_or_default().to_owned();
            assert_ne!(request_id(&detail), Some(id.clone()), "{between}");
            assert_eq!(
                proxy.api("bob").state(&id).await,
                "APPROVED",
                "{between}: it can still be used as it was meant"
            );
        }
    }
    let log = proxy.database.log();
    let ran = |number: usize| log.contains(&format!("statement: {}", update(number)));
    for (number, (between, fits)) in BETWEEN.iter().enumerate() {
        assert_eq!(ran(number), *fits, "{between}");
    }
}

/// The setting is changed in the same pipeline, so that nobody has told of it when the ticket is asked for.
#[tokio::test]
async fn a_setting_changed_in_the_pipeline_of_the_ticket_is_known_by_then() {
    let proxy = start().await;
    let text = update(0);
    let mut client: WireClient = proxy.wire("alice").await;
    let detail = async |client: &mut WireClient, pipeline: Pipeline| {
        client.send(&pipeline.sync().0).await;
        let frames = client.until_ready().await;
        let refused = frames.iter().find(|frame| frame.tag == b'E');
        refused.and_then(|frame| frame.field(b'D')).as_deref().and_then(request_id)
    };
    let id = detail(&mut client, Pipeline::default().execute(&text, &[], 0)).await.expect("id");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    let changed = Pipeline::default().execute("SET DateStyle = 'ISO, DMY'", &[], 0).execute(&text, &[], 0);
    let other = detail(&mut client, changed).await.expect("another id");
    assert_ne!(other, id);
    let back = Pipeline::default().execute("SET DateStyle = 'ISO, MDY'", &[], 0).execute(&text, &[], 0);
    assert_eq!(detail(&mut client, back).await, None, "set back, the approval fits");
    assert_eq!(proxy.api("bob").state(&id).await, "EXECUTED");
}
