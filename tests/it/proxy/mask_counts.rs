//! What the audit trail tells of masked results.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::request_id;
use crate::support::config::PII_MASKED;
use crate::support::proxy::Proxy;

/// What a held statement showed under masks: a SELECT by a masked condition, and a COPY of the same.
#[tokio::test]
async fn an_outcome_tells_how_many_cells_were_masked() {
    let mut proxy = Proxy::start(PII_MASKED).await;
    let mut requests = Vec::new();
    for statement in [
        "SELECT id, email, ssn, card FROM customers WHERE ssn > '0' AND id < 4",
        "COPY (SELECT id, email, ssn, card FROM customers WHERE ssn > '0' AND id < 4) TO STDOUT",
    ] {
        let mut wire = proxy.wire("alice").await;
        wire.send_query(statement).await;
        let notice = wire.frame().await;
        let id = request_id(&notice.field(b'D').expect("a detail")).expect("a request");
        proxy.api("bob").approve(&id).await;
        wire.until_ready().await;
        requests.push(id);
    }
    proxy.signal(Signal::TERM);
    proxy.ended().await;
    let segment = proxy.data_dir().join("audit").join("000001.jsonl");
    let text = std::fs::read_to_string(segment).expect("the trail");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    for id in requests {
        let is_it = |record: &&Value| record["kind"] == "outcome" && record["request"] == json!(id);
        let outcome = records.iter().find(is_it).expect("an outcome");
        assert_eq!(outcome["rows"], 3, "{outcome}");
        assert_eq!(outcome["masked_cells"], json!({ "customer-email": 3, "customer-numbers": 6 }), "{outcome}");
    }
}
