//! `auth = "passthrough"`: the role is the user, and everything else is as with the proxy's own users.

use countersign::demo::shop;
use tokio_postgres::Client;

use crate::support::client::TestClient;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::server::{Database, SERVER};

const PASSWORD: &str = "password-upstream";

/// A proxy with a database `direct` that leaves authentication to the server, and roles that exist there only: `name`,
/// and `alice`, who is also a user of the proxy, with another password there.
async fn start(database: &Database, role: &str) -> Proxy {
    for role in [role, "alice"] {
        let create = format!(
            "DO $$ BEGIN CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' IN ROLE {}; \
             EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            shop::SHOP_ROLE
        );
        SERVER.execute("postgres", &create).await.expect("role");
    }
    let fragment = format!(
        r#"{WRITES_HELD}
[databases.direct]
upstream = "postgres://{}@127.0.0.1:{}/{}?sslmode=disable"
password = {{ env = "COUNTERSIGN_TEST_UPSTREAM_PASSWORD" }}
auth = "passthrough"
groups = ["public"]
default = "allow"
review = {{ groups = ["dba-team"], timeout = "1h", mode = "wait" }}

[[rules]]
name = "engineers-do-not-truncate"
groups = ["engineering"]
functions = ["version"]
action = "deny"
"#,
        shop::SHOP_ROLE,
        SERVER.port(),
        database.name,
    );
    Proxy::start(&fragment).await
}

async fn value(client: &Client, statement: &str) -> String {
    client.query_one(statement, &[]).await.expect(statement).get(0)
}

#[tokio::test]
async fn the_role_is_the_user() {
    let database = Database::create().await;
    let proxy = start(&database, "relayed_role").await;
    SERVER.execute("postgres", "ALTER ROLE relayed_role SET standard_conforming_strings = off").await.expect("role");
    let connect = async |user: &str, password: &str| {
        TestClient::try_connect(proxy.address(), user, password, "direct")
            .await
            .map_err(|error| error.as_db_error().map(|error| error.code().code().to_owned()).unwrap_or_default())
    };
    let session = connect("relayed_role", PASSWORD).await.map(|session| session.client).expect("session");
    assert_eq!(value(&session, "SELECT current_user::text || ' ' || session_user").await, "relayed_role relayed_role");
    assert_eq!(value(&session, "SHOW standard_conforming_strings").await, "on");
    assert_eq!(value(&session, "SHOW application_name").await, "relayed_role via countersign");
    let count = session.query_one("SELECT count(*) FROM customers", &[]).await.expect("the catalog is there");
    assert!(count.get::<_, i64>(0) > 0);
    assert_eq!(connect("relayed_role", "wrong").await.map(drop), Err("28P01".to_owned()));
    assert_eq!(connect("no_such_role", PASSWORD).await.map(drop), Err("28P01".to_owned()));
    let by_proxy = crate::support::config::password("alice");
    assert_eq!(connect("alice", &by_proxy).await.map(drop), Err("28P01".to_owned()));
    // Who is in the file has the groups of the file.
    assert!(value(&session, "SELECT version()").await.starts_with("PostgreSQL"));
    let alice = connect("alice", PASSWORD).await.map(|session| session.client).expect("session");
    let denied = alice.query("SELECT version()", &[]).await.expect_err("denied for engineering");
    assert_eq!(denied.code().map(|code| code.code().to_owned()).as_deref(), Some("42501"));
}

#[tokio::test]
async fn statements_of_a_role_are_held_and_cancelled_as_any() {
    let database = Database::create().await;
    let proxy = start(&database, "relayed_writer").await;
    let mut session =
        TestClient::try_connect(proxy.address(), "relayed_writer", PASSWORD, "direct").await.expect("session");
    let held = session.hold("UPDATE orders SET status = 'shipped' WHERE id = 4").await;
    let request = proxy.api("bob").request(&held.id).await;
    assert_eq!((request["user"].as_str(), request["database"].as_str()), (Some("relayed_writer"), Some("direct")));
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    held.outcome().await.expect("it runs once approved");
    let running = session.client.simple_query("SELECT count(*) FROM generate_series(1, 1000000000)");
    let cancel = session.client.cancel_token();
    let (outcome, ()) = tokio::join!(running, async {
        let observer = SERVER.superuser(&database.name).connect(tokio_postgres::NoTls).await.expect("observer");
        let (observer, connection) = observer;
        tokio::spawn(connection);
        let runs = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'relayed_writer'";
        while observer.query_one(runs, &[]).await.expect(runs).get::<_, i64>(0) == 0 {}
        cancel.cancel_query(tokio_postgres::NoTls).await.expect("cancel");
    });
    let error = outcome.expect_err("cancelled");
    assert_eq!(error.code().map(|code| code.code().to_owned()).as_deref(), Some("57014"));
}
