//! Connections to the upstream that are kept for the next client.

use tokio_postgres::Client;

use crate::support::client::TestClient;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::within;

async fn start() -> (Proxy, Client) {
    let database = Database::create().await;
    let direct = database.direct().await;
    let launch = Launch { fragment: WRITES_HELD, ..Launch::default() };
    (Proxy::in_front_of(database, launch, |text| text).await, direct)
}

async fn backend(client: &TestClient) -> i32 {
    client.client.query_one("SELECT pg_backend_pid()", &[]).await.expect("pid").get(0)
}

/// Waits until the backend has forgotten its client, or has gone; whether it is there.
async fn is_kept(direct: &Client, pid: i32) -> bool {
    let settled = async {
        loop {
            let found = "SELECT query LIKE 'SELECT WHERE %' AND state = 'idle' FROM pg_stat_activity WHERE pid = $1";
            match direct.query_opt(found, &[&pid]).await.expect("activity").map(|row| row.get(0)) {
                Some(true) => return true,
                Some(false) => {}
                None => return false,
            }
        }
    };
    within("the client has left", settled).await
}

/// Says Terminate, as libpq does.
async fn leave(client: TestClient, direct: &Client) -> (i32, bool) {
    let pid = backend(&client).await;
    client.leave().await;
    (pid, is_kept(direct, pid).await)
}

#[tokio::test]
async fn the_next_client_of_the_same_user_finds_nothing_of_the_first() {
    let (proxy, direct) = start().await;
    let first = proxy.client("alice").await;
    let leftovers = "SET search_path = pg_catalog; SET app.tenant = 'seven'; SET statement_timeout = 12345; LISTEN gossip; \
        PREPARE p AS SELECT 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1; \
        SELECT pg_advisory_lock(7)";
    for statement in leftovers.split("; ") {
        within(statement, first.client.batch_execute(statement)).await.expect(statement);
    }
    let (pid, kept) = leave(first, &direct).await;
    assert!(kept);
    let second = proxy.client("alice").await;
    assert_eq!(backend(&second).await, pid, "it is the same");
    let nothing = "SELECT current_setting('search_path') || coalesce(current_setting('app.tenant', true), '') \
        || current_setting('statement_timeout') \
        || (SELECT count(*) FROM pg_prepared_statements WHERE name = 'p') || (SELECT count(*) FROM pg_cursors) \
        || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) || (SELECT count(*) FROM pg_listening_channels())";
    assert_eq!(second.value(nothing).await.as_deref(), Some("\"$user\", public00000"));
    // What it asks for is decided as ever.
    assert_eq!(second.refusal("TRUNCATE payments").await.code().code(), "42501");
}

#[tokio::test]
async fn somebody_else_gets_another() {
    let (proxy, direct) = start().await;
    let (pid, kept) = leave(proxy.client("alice").await, &direct).await;
    let bob = proxy.client("bob").await;
    assert!(kept && backend(&bob).await != pid);
    let name = bob.value("SELECT current_setting('application_name')").await;
    assert_eq!(name.as_deref(), Some("bob via countersign"));
    assert_eq!(backend(&proxy.client("alice").await).await, pid);
}

#[tokio::test]
async fn what_is_not_at_rest_is_not_kept() {
    let (proxy, direct) = start().await;
    let open = proxy.client("alice").await;
    open.client.batch_execute("BEGIN; SELECT 1").await.expect("a block");
    assert!(!leave(open, &direct).await.1, "a transaction is open");
    let temporary = proxy.client("alice").await;
    temporary.client.batch_execute("CREATE TEMP TABLE t (id int)").await.expect("a table");
    let pid = leave(temporary, &direct).await.0;
    // It may still be seen, having answered that it has a schema that stays in the search path.
    within("it goes", async { while is_kept(&direct, pid).await {} }).await;
    let gone = proxy.client("alice").await;
    let pid = backend(&gone).await;
    gone.vanish();
    assert!(!is_kept(&direct, pid).await, "its client did not say that it leaves");
    let cancelled = proxy.client("alice").await;
    let endless = cancelled.client.simple_query("SELECT count(*) FROM generate_series(1, 1000000000000)");
    let token = cancelled.client.cancel_token();
    let (ended, sent) = tokio::join!(endless, async {
        let pid =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1000000000000)' AND datname = current_database()";
        let runs = async { while direct.query_one(pid, &[]).await.expect("activity").get::<_, i64>(0) == 0 {} };
        within("it runs", runs).await;
        token.cancel_query(tokio_postgres::NoTls).await
    });
    assert!(ended.is_err() && sent.is_ok());
    assert!(!leave(cancelled, &direct).await.1, "a cancel may come late");
}

#[tokio::test]
async fn one_that_has_ended_meanwhile_is_not_handed_out() {
    let (proxy, direct) = start().await;
    let (pid, kept) = leave(proxy.client("alice").await, &direct).await;
    assert!(kept);
    direct.execute("SELECT pg_terminate_backend($1, 10000)", &[&pid]).await.expect("an end");
    let next = proxy.client("alice").await;
    assert_ne!(backend(&next).await, pid);
}

#[tokio::test]
async fn who_needs_the_place_of_a_kept_one_gets_it() {
    let (proxy, direct) = start().await;
    let (_, kept) = leave(proxy.client("alice").await, &direct).await;
    assert!(kept);
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
    let taken: i64 = direct.query_one(count, &[]).await.expect("activity").get(0);
    let limit =
        format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT {taken}', current_database()); END $$");
    direct.batch_execute(&limit).await.expect("a limit");
    let bob = proxy.client("bob").await;
    assert_eq!(bob.value("SELECT 1").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn none_is_kept_where_none_is_wanted() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let adapt = |text: String| text.replacen("[databases.shop]", "[databases.shop]\nkept_connections = 0", 1);
    let proxy = Proxy::in_front_of(database, Launch::default(), adapt).await;
    assert!(!leave(proxy.client("alice").await, &direct).await.1);
}
