//! `countersign exec`: SQL through the proxy as one request.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::client::request_id;
use crate::support::config::{WRITES_HELD, password};
use crate::support::proxy::Proxy;
use crate::support::within;

fn exec(proxy: &Proxy, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(["exec", "shop", "--proxy", &format!("postgres://alice@{}?sslmode=disable", proxy.address())])
        .args(arguments)
        .env("PGPASSWORD", password("alice"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn done(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = within("exec", command.output()).await.expect("the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

/// The only request that waits, once it does.
async fn waiting(proxy: &Proxy) -> Value {
    let found = async {
        loop {
            let page = proxy.api("bob").call(reqwest::Method::GET, "/requests?status=pending", None).await.body;
            if let Some(request) = page["requests"].get(0) {
                return request.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    within("a request", found).await
}

#[tokio::test]
async fn a_file_is_one_request() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let home = tempfile::tempdir().expect("temporary directory");
    let (file, text) = (
        home.path().join("lost.sql"),
        "UPDATE orders SET status = 'lost' WHERE id = 1;\nUPDATE orders SET status = 'lost' WHERE id = 2;\n\
         SELECT id, status FROM orders WHERE status = 'lost' ORDER BY id;\n",
    );
    std::fs::write(&file, text).expect("the file");
    let path = file.display().to_string();
    let mut command = exec(&proxy, &["-f", &path, "--reason", "ticket 17"]);
    let approved = async {
        let id = waiting(&proxy).await["id"].as_str().expect("id").to_owned();
        assert_eq!(proxy.api("bob").approve(&id).await, 200);
    };
    let (outcome, ()) = futures_util::future::join(done(&mut command), approved).await;
    let wanted = "UPDATE 1\nUPDATE 1\n id | status\n----+--------\n  1 | lost\n  2 | lost\n(2 rows)\n\n";
    assert_eq!((outcome.0, outcome.1.as_str()), (Some(0), wanted), "{}", outcome.2);
    assert!(
        outcome.2.starts_with("NOTICE:  waiting for approval by dba-team\nDETAIL:  Access request "),
        "{}",
        outcome.2
    );
    let page = proxy.api("bob").call(reqwest::Method::GET, "/requests", None).await.body;
    let all = page["requests"].as_array().expect("requests");
    assert_eq!((all.len(), &all[0]["statement"]), (1, &json!(text)));
    assert_eq!(all[0]["justification"], json!("ticket 17"));
}

#[tokio::test]
async fn a_script_may_come_back_later() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let statement = ["-i", "UPDATE orders SET status = 'lost' WHERE id = 1", "--no-wait"];
    let (code, id, told) = done(&mut exec(&proxy, &statement)).await;
    assert_eq!((code, request_id(&told).as_deref()), (Some(0), Some(id.trim())), "{told}");
    assert_eq!(done(&mut exec(&proxy, &statement)).await.1, id, "the same request");
    assert_eq!(proxy.api("bob").approve(id.trim()).await, 200);
    assert_eq!(done(&mut exec(&proxy, &statement)).await, (Some(0), "UPDATE 1\n".to_owned(), String::new()));
}

#[tokio::test]
async fn machines_get_what_they_ask_for() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let select = "SELECT 1 AS one, NULL AS nothing, 'a,\"b\"' AS text; SELECT 2 AS two";
    let (code, out, _) = done(&mut exec(&proxy, &["-i", select, "--format", "json"])).await;
    let documents: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((code, &documents[0]["rows"]), (Some(0), &json!([["1", null, "a,\"b\""]])));
    assert_eq!((documents.len(), &documents[1]["command"]), (2, &json!("SELECT 1")));
    let (_, out, _) = done(&mut exec(&proxy, &["-i", select, "--format", "csv"])).await;
    assert_eq!(out, "one,nothing,text\r\n1,,\"a,\"\"b\"\"\"\r\ntwo\r\n2\r\n");
    let (code, out, _) = done(&mut exec(&proxy, &["-i", "COPY (SELECT 1, 'x') TO STDOUT"])).await;
    assert_eq!((code, out.as_str()), (Some(0), "1\tx\nCOPY 1\n"));
}

#[tokio::test]
async fn failures_have_their_exit_codes() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let fails = async |arguments: &[&str], code: i32, told: &str| {
        let (found, out, err) = done(&mut exec(&proxy, arguments)).await;
        assert_eq!((found, out.as_str()), (Some(code), ""), "{arguments:?}: {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    };
    fails(&["-i", "DROP TABLE orders"], 77, "statement denied by rule \"no-destructive-ddl\"").await;
    fails(&["-i", "SELECT 1/0"], 65, "division by zero").await;
    fails(&["-i", "SELEC 1"], 65, "syntax error").await;
    fails(&["-f", "/nowhere/at.all"], 74, "could not read /nowhere/at.all").await;
    fails(&[], 2, "--input").await;
    let (code, _, told) = done(exec(&proxy, &["-i", "SELECT 1"]).env("PGPASSWORD", "wrong")).await;
    assert_eq!(code, Some(77), "{told}");
}
