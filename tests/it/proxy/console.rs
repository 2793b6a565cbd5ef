//! The console, by psql and by drivers of the extended protocol.

use std::process::Output;

use tokio_postgres::error::SqlState;

use crate::support::client::{TestClient, affected, refusal_of};
use crate::support::config::{WRITES_HELD, password};
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::within;

const UPDATE: &str = "UPDATE customers SET note = 'by console' WHERE id = 1";

/// A proxy that holds writes, and of which carol is an admin.
async fn proxy() -> Proxy {
    let launch = Launch { fragment: WRITES_HELD, ..Launch::default() };
    let adapt =
        |text: String| text.replacen("groups = [\"security-team\"]", "groups = [\"security-team\", \"admin\"]", 1);
    Proxy::in_front_of(Database::create().await, launch, adapt).await
}

async fn console(proxy: &Proxy, user: &str) -> TestClient {
    let connected = TestClient::try_connect(proxy.address(), user, &password(user), "countersign").await;
    connected.expect("the console")
}

/// What psql prints for commands of the console.
async fn typed(proxy: &Proxy, user: &str, commands: &[&str]) -> Output {
    let mut arguments = vec!["-At", "-d", "countersign"];
    arguments.extend(commands.iter().flat_map(|command| ["-c", *command]));
    proxy.psql(user, &arguments).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn check_fails(output: &Output, wanted: &str) {
    assert!(!output.status.success() && text(&output.stderr).contains(wanted), "{output:?}");
}

#[tokio::test]
async fn a_reviewer_decides_in_psql() {
    let proxy = proxy().await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    let id = held.id.clone();
    let list = typed(&proxy, "bob", &["SHOW REQUESTS"]).await;
    let row = format!("{id}|PENDING|alice|shop|update on public.customers|dba-team|");
    assert!(text(&list.stdout).starts_with(&row), "{list:?}");
    let page = typed(&proxy, "bob", &[&format!("SHOW REQUEST {id}")]).await;
    assert!(text(&page.stdout).contains(UPDATE), "{page:?}");
    check_fails(&typed(&proxy, "alice", &[&format!("APPROVE {id}")]).await, "do not review their own");
    let approved = typed(&proxy, "bob", &[&format!("APPROVE {id} REASON 'it''s fine'")]).await;
    assert!(approved.status.success(), "{approved:?}");
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    let request = proxy.api("bob").request(&id).await;
    assert_eq!(
        (&request["votes"][0]["surface"], &request["votes"][0]["reason"]),
        (&"console".into(), &"it's fine".into())
    );

    let held = alice.hold(UPDATE).await;
    let rejected = typed(&proxy, "bob", &[&format!("REJECT {} REASON 'not today'", held.id)]).await;
    assert!(rejected.status.success(), "{rejected:?}");
    assert_eq!(held.refusal().await.detail(), Some("not today"));
    check_fails(&typed(&proxy, "bob", &[&format!("APPROVE {id}")]).await, "already");
}

#[tokio::test]
async fn decisions_can_be_kept_out_of_the_console() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}\n[review]\nconsole_decides = false\n")).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    for command in ["APPROVE {} REASON 'x'", "REJECT {} REASON 'x'", "REVOKE {}"] {
        check_fails(&typed(&proxy, "bob", &[&command.replace("{}", &held.id)]).await, "not taken in the console");
    }
    assert!(held.is_waiting() && proxy.api("bob").state(&held.id).await == "PENDING");
    let withdrawn = typed(&proxy, "alice", &[&format!("CANCEL {}", held.id)]).await;
    assert!(withdrawn.status.success(), "{withdrawn:?}");
    assert_eq!(held.refusal().await.code().code(), "57014");
    let trail = std::fs::read_to_string(proxy.data_dir().join("audit/000001.jsonl")).expect("the trail");
    let told: Vec<_> = trail.lines().filter(|line| line.contains("\"console_command\"")).collect();
    assert_eq!(told.iter().filter(|line| line.contains("\"permitted\":false")).count(), 3, "{told:?}");
}

#[tokio::test]
async fn one_user_does_not_take_all_consoles() {
    let proxy = proxy().await;
    let mut open = Vec::new();
    for _console in 0..10 {
        open.push(console(&proxy, "alice").await);
    }
    check_fails(&typed(&proxy, "alice", &["SHOW HELP"]).await, "you have 10 consoles open already");
    assert!(typed(&proxy, "bob", &["SHOW HELP"]).await.status.success());
    open.pop().expect("a console").vanish();
    let comes_in = async { while !typed(&proxy, "alice", &["SHOW HELP"]).await.status.success() {} };
    within("a place is free again", comes_in).await;
}

#[tokio::test]
async fn what_somebody_may_not_know_of_does_not_exist() {
    let proxy = proxy().await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    // erin neither made it nor reviews it.
    let list = typed(&proxy, "erin", &["SHOW REQUESTS"]).await;
    assert_eq!((list.status.success(), text(&list.stdout).as_str()), (true, ""));
    for command in ["SHOW REQUEST", "APPROVE", "CANCEL", "REVOKE"] {
        let told = typed(&proxy, "erin", &[&format!("{command} {}", held.id)]).await;
        let told = (told.status.success(), text(&told.stderr));
        assert!(
            !told.0 && (told.1.contains("does not exist") || told.1.contains("there is no")),
            "{command}: {told:?}"
        );
    }
    assert!(held.is_waiting());
}

#[tokio::test]
async fn commands_of_admins_are_refused_to_others_and_on_record() {
    let proxy = proxy().await;
    let alice = proxy.client("alice").await;
    let session = console(&proxy, "carol").await.value("SHOW SESSIONS").await.expect("a session");
    let commands = [
        "SHOW SESSIONS".to_owned(),
        "SHOW STATS".to_owned(),
        "SHOW POOLS".to_owned(),
        "SHOW CONFIG".to_owned(),
        "RELOAD".to_owned(),
        "PAUSE".to_owned(),
        "PAUSE shop".to_owned(),
        "RESUME".to_owned(),
        format!("KILL {session}"),
        "SHUTDOWN".to_owned(),
    ];
    let bob = console(&proxy, "bob").await;
    for command in &commands {
        let refusal = bob.refusal(command).await;
        assert_eq!(
            (refusal.code(), refusal.message()),
            (&SqlState::INSUFFICIENT_PRIVILEGE, "only members of admin may do this")
        );
    }
    assert_eq!(alice.value("SELECT 1").await.as_deref(), Some("1"), "nothing was paused, killed or shut down");
    let search = proxy.run(&["audit", "search", "--kind", "console_command", "--format", "json"]);
    let records: Vec<serde_json::Value> =
        text(&search.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for command in &commands {
        let of_bob = |record: &&serde_json::Value| record["user"] == "bob" && record["command"] == command.as_str();
        let found = records.iter().find(of_bob).unwrap_or_else(|| panic!("{command} is not on record: {search:?}"));
        assert_eq!(found["permitted"], false, "{command}");
    }
}

#[tokio::test]
async fn drivers_use_the_extended_protocol() {
    let proxy = proxy().await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    let carol = console(&proxy, "carol").await;
    let stats = carol.client.query("SHOW STATS", &[]).await.expect("stats");
    let (name, denied, sessions): (String, i64, i64) =
        (stats[0].get("database"), stats[0].get("total_denied"), stats[0].get("sessions"));
    assert_eq!((name.as_str(), denied, sessions), ("shop", 0, 1));
    assert_eq!(stats[0].get::<_, i64>("total_held"), 1);
    let bob = console(&proxy, "bob").await;
    let id = held.id.clone();
    let refused = refusal_of(bob.client.execute("REJECT $1 REASON $2", &[&"no id", &"x"]).await.expect_err("no id"));
    assert!(refused.message().contains("\"no id\" is no id"), "{refused:?}");
    bob.client.execute("REJECT $1 REASON $2", &[&id, &"'; SHUTDOWN"]).await.expect("rejected");
    assert_eq!(held.refusal().await.detail(), Some("'; SHUTDOWN"));
    let search = proxy.run(&["audit", "search", "--kind", "console_command", "--format", "json"]);
    let on_record =
        format!("\"command\":\"REJECT $1 REASON $2\",\"parameters\":[\"{id}\",\"'; SHUTDOWN\"],\"permitted\":true");
    assert!(text(&search.stdout).contains(&on_record), "{search:?}");
    for of_drivers in ["SET extra_float_digits = 3", "BEGIN", "SELECT 1", "COMMIT", "SELECT version()"] {
        bob.client.execute(of_drivers, &[]).await.unwrap_or_else(|error| panic!("{of_drivers}: {error}"));
    }
    let sql = refusal_of(bob.client.query("SELECT * FROM customers", &[]).await.expect_err("SQL"));
    assert!(
        sql.code() == &SqlState::SYNTAX_ERROR && sql.hint().is_some_and(|hint| hint.contains("takes no SQL")),
        "{sql:?}"
    );
}

#[tokio::test]
async fn a_paused_database_begins_nothing_and_loses_nothing() {
    let proxy = proxy().await;
    let (open, waits) = (proxy.client("alice").await, proxy.client("frank").await);
    open.client.batch_execute("BEGIN; CREATE TEMP TABLE t (x int)").await.expect("a transaction");
    let carol = console(&proxy, "carol").await;
    carol.client.batch_execute("PAUSE shop").await.expect("paused");
    assert_eq!(
        carol.client.query_one("SHOW DATABASES", &[]).await.expect("databases").get::<_, String>("state"),
        "paused"
    );
    open.client.batch_execute("SELECT 1; COMMIT").await.expect("what has begun ends");
    let waiting = tokio::spawn(async move { waits.value("SELECT 41 + 1").await });
    // A session that was there before, one that comes now: neither begins anything.
    let newcomer = proxy.client("bob").await;
    let also = tokio::spawn(async move { newcomer.value("SELECT 41 + 2").await });
    let unknown = refusal_of(carol.client.simple_query("PAUSE shp").await.expect_err("no such database"));
    assert_eq!(unknown.message(), "there is no database \"shp\"");
    assert!(!proxy.database.log().contains("41 + "), "nothing has begun");
    assert!(!waiting.is_finished() && !also.is_finished());
    carol.client.batch_execute("RESUME").await.expect("resumed");
    assert_eq!(within("the first", waiting).await.expect("no panic").as_deref(), Some("42"));
    assert_eq!(within("the second", also).await.expect("no panic").as_deref(), Some("43"));
}

#[tokio::test]
async fn a_session_is_killed_with_what_it_runs() {
    let proxy = proxy().await;
    let (alice, other) = (proxy.client("alice").await, proxy.client("frank").await);
    let pid: i32 = alice.client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    let carol = console(&proxy, "carol").await;
    let sessions = carol.client.query("SHOW SESSIONS", &[]).await.expect("sessions");
    let of_alice = sessions.iter().find(|row| row.get::<_, Option<i64>>("pid") == Some(pid.into())).expect("alice's");
    assert_eq!(of_alice.get::<_, String>("user"), "alice");
    let holder = proxy.client("erin").await;
    holder.client.batch_execute("BEGIN; LOCK TABLE orders").await.expect("a lock");
    let running = tokio::spawn(async move { alice.client.batch_execute("SELECT count(*) FROM orders").await });
    let waits = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'");
    within("the lock", async { while other.value(&waits).await.is_none() {} }).await;
    carol.client.batch_execute(&format!("KILL {}", of_alice.get::<_, String>("session"))).await.expect("killed");
    within("its end", running).await.expect("no panic").expect_err("cancelled");
    let gone = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid}");
    within("the end of its backend", async { while other.value(&gone).await.is_some() {} }).await;
    let again = refusal_of(carol.client.simple_query("KILL nobody").await.expect_err("nobody"));
    assert_eq!(again.message(), "there is no session \"nobody\"");
}

#[tokio::test]
async fn the_configuration_is_read_again_or_stays() {
    let proxy = proxy().await;
    let alice = proxy.client("alice").await;
    let carol = console(&proxy, "carol").await;
    proxy.edit("name = \"writes-need-review\"\neffects = [", "name = \"writes-need-review\"\nefects = [");
    let refusal = carol.refusal("RELOAD").await;
    assert!(refusal.message().contains("efects"), "{refusal:?}");
    assert_eq!(carol.value("SHOW RULES").await.as_deref(), Some("no-destructive-ddl"), "the old rules stay");
    proxy.edit("name = \"writes-need-review\"\nefects = [", "name = \"all-is-denied\"\neffects = [");
    proxy.edit("action = \"hold\"\nreviewers = [\"dba-team\"]", "action = \"deny\"");
    carol.client.batch_execute("RELOAD").await.expect("reloaded");
    assert!(alice.refusal(UPDATE).await.message().contains("all-is-denied"));
}

#[tokio::test]
async fn the_proxy_is_shut_down_from_the_console() {
    let mut proxy = proxy().await;
    let carol = console(&proxy, "carol").await;
    let paused = proxy.client("alice").await;
    carol.client.batch_execute("PAUSE").await.expect("paused");
    let waiting = tokio::spawn(async move { paused.client.simple_query("SELECT 41 + 1").await });
    carol.client.batch_execute("SHUTDOWN").await.expect("shut down");
    assert!(proxy.ended().await.success(), "{}", proxy.log());
    within("the one that waits", waiting).await.expect("no panic").expect_err("it was never begun");
    assert!(!proxy.database.log().contains("41 + "), "what waited was not begun");
}

#[tokio::test]
async fn a_message_without_end_does_not_fill_the_memory() {
    let proxy = proxy().await;
    let carol = console(&proxy, "carol").await;
    let long = format!("SHOW {}", "x".repeat(2 << 20));
    carol.client.simple_query(&long).await.expect_err("too long");
    let again = console(&proxy, "carol").await;
    assert!(again.value("SHOW VERSION").await.is_some_and(|version| version.starts_with("Countersign ")));
}
