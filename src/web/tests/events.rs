//! What changes, as those who watch are told.

use reqwest::Response;

use super::*;

/// Reads until the stream has told that.
async fn told(stream: &mut Response, until: &str) -> String {
    let mut text = String::new();
    while !text.contains(until) {
        let chunk = stream.chunk().await.unwrap().unwrap_or_else(|| panic!("the stream ended after {text}"));
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

async fn watch(site: &Site, who: &str) -> Response {
    let mut stream = site.request(Method::GET, "/api/v1/events", who).send().await.unwrap();
    assert_eq!(
        (stream.status().as_u16(), stream.headers()["content-type"].to_str().unwrap()),
        (200, "text/event-stream")
    );
    told(&mut stream, "event: hello").await;
    stream
}

#[tokio::test]
async fn changes_are_told_to_those_they_concern_until_they_may_not_know() {
    let site = Site::start().await;
    let (mut bob, mut olga) = (watch(&site, "bob").await, watch(&site, "olga").await);
    let (id, _waiting) = site.hold("dba").await;
    let text = told(&mut bob, "PENDING").await;
    assert!(text.contains("event: request") && text.contains(&id) && !text.contains("UPDATE"), "{text}");
    assert_eq!(site.post(&format!("/api/v1/requests/{id}/reject"), "bob", json!({"reason": "no"})).await.0, 200);
    told(&mut bob, "REJECTED").await;

    // Who was told nothing so far is told of the next grant, which comes after it.
    let (offered, mut waiting) = site.hold("dba").await;
    let path = format!("/api/v1/requests/{offered}/approve");
    assert_eq!(site.post(&path, "bob", json!({"for": "30m"})).await.0, 200);
    waiting.decision().await;
    let text = told(&mut olga, "event: grants").await;
    assert!(!text.contains("event: request"), "{text}");

    let mut config = crate::review::fixture::config(crate::review::fixture::PEOPLE);
    config.users.retain(|user| user.name != "olga");
    site.bench.config.store(Arc::new(config));
    let (_third, _waiting) = site.hold("dba").await;
    while let Some(chunk) = olga.chunk().await.unwrap() {
        assert!(!String::from_utf8_lossy(&chunk).contains("event: request"));
    }
    assert_eq!(site.get("/api/v1/events", "").await.0, 401);
    site.stop().await;
}

#[tokio::test]
async fn one_person_does_not_take_the_streams_of_all() {
    let site = Site::start().await;
    let mut open = Vec::new();
    loop {
        let answer = site.request(Method::GET, "/api/v1/events", "alice").send().await.unwrap();
        if answer.status().as_u16() == 503 {
            break;
        }
        open.push(answer);
        assert!(open.len() < 200, "there is no end");
    }
    drop(watch(&site, "bob").await);
    drop(open);
    site.stop().await;
}
