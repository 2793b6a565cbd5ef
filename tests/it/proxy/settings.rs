//! Custom settings that a held statement can read: an approval is bound to their values, and to no others.

use serde_json::json;

use crate::support::client::{TestClient, request_id};
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::within;

const UPDATE: &str = "UPDATE tenants SET note = 'seen'";

/// Rows of three tenants, of which a session sees those of `app.tenant`; whatever else the objects here read.
async fn start(objects: &str, unbound: &str) -> Proxy {
    start_with(objects, &format!("mode = \"resubmit\"{unbound}")).await
}

async fn start_with(objects: &str, review: &str) -> Proxy {
    let database = Database::create().await;
    let direct = database.direct().await;
    let tenants = "CREATE TABLE tenants (tenant text, note text); INSERT INTO tenants VALUES ('a'), ('b'), ('c');
        GRANT ALL ON tenants TO PUBLIC; ALTER TABLE tenants ENABLE ROW LEVEL SECURITY; ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
        CREATE POLICY own ON tenants USING (tenant = pg_catalog.current_setting('app.tenant', true));";
    direct.batch_execute(&format!("{tenants}{objects}")).await.expect("objects");
    let adapt = |text: String| text.replace("mode = \"wait\"", review);
    Proxy::in_front_of(database, Launch { fragment: WRITES_HELD, ..Launch::default() }, adapt).await
}

/// Sends it after these settings; what is said when it has to be approved first.
async fn told(client: &TestClient, settings: &str) -> Option<String> {
    if !settings.is_empty() {
        client.value(settings).await;
    }
    let refused = within(UPDATE, client.client.simple_query(UPDATE)).await.err()?;
    let refused = crate::support::client::refusal_of(refused);
    Some(refused.detail().unwrap_or_default().to_owned())
}

/// Likewise; the request that has to be approved first.
async fn send(client: &TestClient, settings: &str) -> Option<String> {
    let told = told(client, settings).await?;
    Some(request_id(&told).unwrap_or_else(|| panic!("{told}")))
}

async fn approved(proxy: &Proxy, settings: &str) -> String {
    let id = send(&proxy.client("alice").await, settings).await.expect("it needs an approval");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    id
}

async fn seen(proxy: &Proxy) -> Vec<String> {
    let direct = proxy.database.direct().await;
    let rows =
        direct.query("SELECT tenant FROM tenants WHERE note IS NOT NULL ORDER BY 1", &[]).await.expect("tenants");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_approval_is_for_the_values_that_were_seen() {
    let proxy = start("", "").await;
    let id = approved(&proxy, "SET app.tenant = 'a'").await;
    let card = &proxy.api("bob").request(&id).await["details"]["card"];
    assert_eq!(card["settings"], json!([["app.tenant", "a"]]));
    let client = proxy.client("alice").await;
    for other in [
        "",
        "SET app.tenant = 'b'",
        "SELECT set_config('app.tenant', 'c', false)",
        "SET App.Tenant = 'A'",
        "RESET app.tenant",
        "SET app.tenant = ''",
    ] {
        let asked = send(&client, other).await;
        assert!(asked.is_some_and(|asked| asked != id), "{other}");
    }
    assert_eq!(send(&client, "SET app.tenant = 'a'").await, None, "it is what was approved");
    assert_eq!(seen(&proxy).await, ["a"]);
}

#[tokio::test]
async fn who_sends_it_otherwise_is_told_what_differs_from_the_approval() {
    let proxy = start_with("", "mode = \"auto\"").await;
    let mut client = proxy.client("alice").await;
    let first =
        told(&client, "SET countersign.mode = 'resubmit'; SET app.tenant = 'one'").await.expect("it needs an approval");
    assert!(first.ends_with(" UTC."), "nothing is approved yet: {first}");
    let id = request_id(&first).expect("id");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    for (settings, differs) in [
        ("SET app.tenant = 'secret'", "it was approved with another value of app.tenant."),
        (
            "SET search_path = public, pg_catalog",
            "it was approved with another search_path and another value of app.tenant.",
        ),
        ("SET app.tenant = 'one'", "it was approved with another search_path."),
        (
            "RESET search_path; SET DateStyle = 'German'",
            "what it is bound to has changed: definitions in the database, or how the session reads values.",
        ),
    ] {
        // Sent again, it joins the request that it has made, and the same is told.
        for _time in 0..2 {
            let told = told(&client, settings).await.expect("the approval does not fit");
            let wanted = format!(" UTC. Access request {id} is approved for the same statement, but {differs}");
            assert!(told.ends_with(&wanted), "{settings}: {told}");
            assert!(!told.contains("secret") && !told.contains("one'"), "{told}");
        }
    }
    client.value("RESET countersign.mode; SET app.tenant = 'third'").await;
    let waiting = client.hold(UPDATE).await;
    assert!(waiting.notice.detail().unwrap_or_default().contains(&id), "{:?}", waiting.notice);
    assert_eq!(proxy.api("bob").reject(&waiting.id, "no").await, 200);
    waiting.refusal().await;
    client.value("RESET DateStyle; SET countersign.mode = 'resubmit'; SET app.tenant = 'one'").await;
    // Of another statement, and of another user, nothing is said.
    let other = client.refusal("UPDATE tenants SET note = 'other'").await;
    assert!(!other.detail().unwrap_or_default().contains(&id), "{other:?}");
    let erin = proxy.client("erin").await;
    let hers = told(&erin, "SET countersign.mode = 'resubmit'; SET app.tenant = 'one'")
        .await
        .expect("nobody has approved hers");
    assert!(!hers.contains(&id), "{hers}");
    assert_eq!(told(&client, "").await, None, "it fits again");
}

#[tokio::test]
async fn what_a_transaction_sets_counts_while_it_lasts() {
    let proxy = start("", "").await;
    let id = approved(&proxy, "SET app.tenant = 'a'").await;
    let client = proxy.client("alice").await;
    client.value("SET app.tenant = 'a'").await;
    client.value("BEGIN").await;
    assert_ne!(send(&client, "SET LOCAL app.tenant = 'b'").await, Some(id));
    client.value("ROLLBACK").await;
    assert_eq!(send(&client, "").await, None, "it is as before");
    assert_eq!(seen(&proxy).await, ["a"]);
}

#[tokio::test]
async fn settings_of_the_start_count() {
    let proxy = start("", "").await;
    let id = approved(&proxy, "SET app.tenant = 'a'").await;
    let psql = async |options: &str| {
        let mut command = proxy.psql_command("alice", &["-c", UPDATE]);
        within("psql", command.env("PGOPTIONS", options).output()).await.expect("psql")
    };
    let other = String::from_utf8_lossy(&psql("-c app.tenant=b").await.stderr).into_owned();
    assert!(other.contains("approval required") && request_id(&other).is_some_and(|other| other != id), "{other}");
    assert!(psql("-c app.tenant=a").await.status.success());
    assert_eq!(seen(&proxy).await, ["a"]);
}

/// An Execute asks like a Query, in the middle of a pipeline, too.
#[tokio::test]
async fn by_the_extended_protocol_as_well() {
    let proxy = start("", "").await;
    let client = proxy.client("alice").await;
    client.value("SET app.tenant = 'a'").await;
    let error = client.client.execute(UPDATE, &[]).await.expect_err("it needs an approval");
    let refused = crate::support::client::refusal_of(error);
    let id = request_id(refused.detail().unwrap_or_default()).expect("id");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    client.value("SET app.tenant = 'b'").await;
    assert!(client.client.execute(UPDATE, &[]).await.is_err());
    client.value("SET app.tenant = 'a'").await;
    assert_eq!(client.client.execute(UPDATE, &[]).await.expect("it was approved"), 1);
}

/// ORMs set an id for each transaction, which nothing reads.
#[tokio::test]
async fn what_nothing_reads_may_differ() {
    let proxy = start("", "").await;
    approved(&proxy, "SET app.tenant = 'a'; SET app.request_id = '1'").await;
    let client = proxy.client("alice").await;
    assert_eq!(send(&client, "SET app.tenant = 'a'; SET app.request_id = '2'").await, None);
    assert_eq!(seen(&proxy).await, ["a"]);
}

#[tokio::test]
async fn what_a_trigger_reads_counts_unless_it_is_left_out() {
    let objects = "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN NEW.note := current_setting('app.request_id', true); RETURN NEW; END$$;
        CREATE TRIGGER noted BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION noted();";
    for (unbound, fits) in [("", false), (", unbound_settings = [\"App.Request_id\"]", true)] {
        let proxy = start(objects, unbound).await;
        approved(&proxy, "SET app.tenant = 'a'; SET app.request_id = '1'").await;
        let client = proxy.client("alice").await;
        let asked = send(&client, "SET app.tenant = 'a'; SET app.request_id = '2'").await;
        assert_eq!(asked.is_none(), fits, "{unbound}");
    }
}

/// A function that reads whatever it is told to may read all that the session has set.
#[tokio::test]
async fn a_name_that_is_not_known_may_be_any() {
    let objects = "CREATE FUNCTION setting_of(name text) RETURNS text LANGUAGE sql STABLE AS
            $$SELECT pg_catalog.current_setting(name, true)$$;";
    let proxy = start(objects, "").await;
    let id = approved(&proxy, "SET app.tenant = 'a'; SET app.other = '1'").await;
    let client = proxy.client("alice").await;
    let asked = send(&client, "SET app.tenant = 'a'; SET app.other = '2'").await;
    assert!(asked.is_some_and(|asked| asked != id));
    assert_eq!(send(&client, "SET app.other = '1'").await, None);
}
