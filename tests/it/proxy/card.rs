//! What a reviewer is shown of a held request besides the request itself.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::config::{PII_MASKED, WRITES_HELD};
use crate::support::proxy::Proxy;
use crate::support::within;
use countersign::demo::shop::SHOP_ROLE;

const DELETES_WAIT: &str = r#"
[[rules]]
name = "deletes-wait"
effects = ["delete"]
action = "hold"
mode = "wait"
reviewers = ["dba-team"]
"#;

/// What the person is shown once the card is complete.
async fn details(proxy: &Proxy, person: &str, id: &str) -> Value {
    let complete = async {
        loop {
            let details = proxy.api(person).request(id).await["details"].take();
            if details["card"]["complete"] == true {
                return details;
            }
            tokio::task::yield_now().await;
        }
    };
    within("complete card", complete).await
}

/// Statistics, triggers, and a foreign key that cascades; made through the proxy, which then knows of them.
async fn furnish(proxy: &Proxy) {
    let client = proxy.client("alice").await.client;
    for definition in [
        "ALTER TABLE payments DROP CONSTRAINT payments_order_id_fkey, \
             ADD CONSTRAINT payments_of_order FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE",
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "CREATE TRIGGER note_deletion BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION noted()",
        "CREATE TRIGGER note_insertion BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted()",
        "ANALYZE",
    ] {
        client.batch_execute(definition).await.expect(definition);
    }
}

#[tokio::test]
async fn a_held_statement_shows_its_plan_sizes_and_what_it_sets_off() {
    let proxy = Proxy::start(DELETES_WAIT).await;
    furnish(&proxy).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold_execute("DELETE FROM orders WHERE id < $1", vec![Box::new(50_i32)]).await;
    let details = details(&proxy, "bob", &held.id).await;
    let card = &details["card"];
    assert_eq!((&card["role"], &card["format"]), (&json!(SHOP_ROLE), &json!(1)));

    let plan = &card["plan"]["shown"]["root"];
    assert_eq!((&plan["node"], &plan["on"], &plan["rows"]), (&json!("Delete"), &json!("orders"), &json!(49)), "{plan}");
    assert!(plan.to_string().contains("(id < 50)"), "the bound value: {plan}");

    let relations = card["relations"]["shown"].as_array().expect("relations");
    let orders = relations.iter().find(|relation| relation["name"] == "public.orders").expect("orders");
    assert!(orders["effects"].to_string().contains("delete") && orders["kind"] == "table", "{orders}");
    assert!(orders["rows"].as_u64() > Some(100) && orders["bytes"].as_u64() > Some(8192), "{orders}");

    let sets_off = &card["sets_off"]["shown"];
    let triggers =
        json!([{"relation": "public.orders", "name": "note_deletion", "when": "before", "function": "public.noted"}]);
    assert_eq!(sets_off["triggers"], triggers);
    let cascades = json!([{"from": "public.orders", "effect": "delete", "to": "public.payments"}]);
    assert_eq!(sets_off["cascades"], cascades);

    assert_eq!(card["transaction"]["shown"]["open"], false);

    let shown = proxy.run_as("bob", &["requests", "show", &held.id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in [
        "relation     public.orders (table, about ",
        "sets off     trigger note_deletion on public.orders, before it: public.noted\n",
        "sets off     delete on public.payments, by a foreign key to public.orders\n",
        "\nDelete on orders  (49 rows, cost ",
        "Index Cond: (id < 50)\n",
        "◄ costs most\n",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    assert_eq!(details["still_needed"], json!([{"group": "dba-team", "approvals": 1}]));
    assert_eq!(details["past"], json!({"approved": 0, "rejected": 0, "undecided": 0}));
}

#[tokio::test]
async fn an_open_transaction_shows_its_locks_and_whom_it_blocks() {
    let proxy = Proxy::start(DELETES_WAIT).await;
    let mut client = proxy.client("alice").await;
    client.client.batch_execute("BEGIN; UPDATE orders SET status = 'paid' WHERE id = 1").await.expect("a lock");
    let direct = proxy.database.direct().await;
    let other = proxy.database.direct().await;
    let blocked = tokio::spawn(async move {
        other.batch_execute("SET application_name = 'patient'; UPDATE orders SET status = 'new' WHERE id = 1").await
    });
    let waits = async {
        const WAITING: &str = "SELECT count(*) FROM pg_locks w JOIN pg_stat_activity a USING (pid) \
             WHERE NOT w.granted AND a.datname = current_database()";
        while direct.query_one(WAITING, &[]).await.expect("locks").get::<_, i64>(0) == 0 {}
    };
    within("a session that waits", waits).await;
    let held = client.hold("DELETE FROM payments WHERE id = 3").await;
    let details = details(&proxy, "bob", &held.id).await;
    let transaction = &details["card"]["transaction"]["shown"];
    assert_eq!((&transaction["open"], &transaction["has_written"]), (&json!(true), &json!(true)), "{transaction}");
    assert!(transaction["since"].as_str().is_some_and(|since| since.starts_with("20")), "{transaction}");
    let lock = json!({"on": "public.orders", "mode": "RowExclusiveLock"});
    assert!(transaction["locks"].as_array().is_some_and(|locks| locks.contains(&lock)), "{transaction}");
    let others = transaction["blocked"].as_array().expect("blocked sessions");
    assert_eq!(others.len(), 1, "{transaction}");
    assert_eq!((&others[0]["waits_for"], others[0]["pid"].as_i64() > Some(0)), (&json!("a row"), true), "{others:?}");
    assert!(!transaction.to_string().contains("status = 'new'"), "what others execute is theirs");

    proxy.api("bob").approve(&held.id).await;
    held.outcome().await.expect("approved");
    client.client.batch_execute("COMMIT").await.expect("commit");
    within("the other session", blocked).await.expect("task").expect("update");
}

#[tokio::test]
async fn what_is_missing_says_why() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}{PII_MASKED}")).await;
    let direct = proxy.database.direct().await;
    direct
        .batch_execute(
            "CREATE FUNCTION liar() RETURNS integer IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
             CREATE TABLE locked (id integer)",
        )
        .await
        .expect("a function that is not what it says");
    direct.batch_execute(&format!("GRANT ALL ON locked TO {SHOP_ROLE}; ANALYZE")).await.expect("grant");
    direct.batch_execute("BEGIN; LOCK locked IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    for (statement, why) in [
        ("DELETE FROM payments; DELETE FROM payments", "the text holds several statements"),
        (
            "DELETE FROM payments WHERE id = 'x'",
            "the statement could not be planned: invalid input syntax for type integer: \"x\" (22P02)",
        ),
        ("DELETE FROM payments WHERE id = public.liar()", "planning it could run a function that was not judged"),
        ("DELETE FROM customers WHERE email = 'a@example.com'", "its estimates would tell about masked values"),
        ("DELETE FROM customers WHERE ssn LIKE '7%'", "its estimates would tell about masked values"),
        ("DELETE FROM locked", "the statement could not be planned: canceling statement due to lock timeout (55P03)"),
    ] {
        let mut client = proxy.client("alice").await;
        let held = client.hold(statement).await;
        let details = details(&proxy, "bob", &held.id).await;
        assert_eq!(details["card"]["plan"], json!({"not_shown": why}), "{statement}");
        if statement.ends_with("locked") {
            let relation = &details["card"]["relations"]["shown"][0];
            assert_eq!((&relation["name"], &relation["bytes"]), (&json!("public.locked"), &Value::Null), "{relation}");
        }
    }
}

#[tokio::test]
async fn only_who_may_see_the_request_sees_its_card() {
    let proxy = Proxy::start(DELETES_WAIT).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold("DELETE FROM payments WHERE id = 3").await;
    for person in ["alice", "bob"] {
        let card = &details(&proxy, person, &held.id).await["card"];
        assert!(card["plan"]["shown"].is_object(), "{person}: {card}");
    }
    for stranger in ["carol", "erin"] {
        let answer = proxy.api(stranger).call(Method::GET, &format!("/requests/{}", held.id), None).await;
        assert_eq!((answer.status, &answer.body["details"]), (404, &Value::Null), "{stranger}");
    }
    let page = proxy.api("bob").call(Method::GET, "/requests", None).await.body;
    assert_eq!(page["requests"][0]["details"], Value::Null, "a list has no cards");
}

#[tokio::test]
async fn requests_of_the_same_shape_tell_how_they_were_decided() {
    let proxy = Proxy::start(DELETES_WAIT).await;
    let (alice, erin, bob) = (&mut proxy.client("alice").await, &mut proxy.client("erin").await, proxy.api("bob"));
    for (client, id) in [(&mut *alice, 1), (&mut *erin, 2)] {
        let held = client.hold(&format!("DELETE FROM payments WHERE id = {id}")).await;
        bob.approve(&held.id).await;
        held.outcome().await.expect("approved");
    }
    let held = erin.hold("delete from payments -- again\nwhere id = 3").await;
    bob.reject(&held.id, "enough").await;
    held.refusal().await;
    let held = erin.hold("DELETE FROM payments WHERE id = 4").await;
    let past = |details: Value| details["past"].clone();
    let all = past(details(&proxy, "bob", &held.id).await);
    assert_eq!(all, json!({"approved": 2, "rejected": 0, "undecided": 0}), "keywords are told apart by case");
    let own = past(details(&proxy, "erin", &held.id).await);
    assert_eq!(own["approved"], 1, "a requester learns of own requests only");
}
