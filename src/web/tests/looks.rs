//! Pages and calls that only look: the audit trail, analytics.

use super::page::{Browser, NASTY, site};
use super::*;

/// The newest records of the trail, as soon as there are so many.
async fn records(site: &Site, path: &str, count: usize) -> Vec<Value> {
    loop {
        let (status, page) = site.get(path, "root").await;
        assert_eq!(status, 200, "{page}");
        let records = page["records"].as_array().unwrap();
        if records.len() >= count {
            return records.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_trail_is_searched_and_opened_by_who_may() {
    let site = site().await;
    let mut stranger = Browser::new(&site);
    for name in ["bob", "<i>eve</i>", "bob", "olga"] {
        assert_eq!(stranger.sign_in(name, "wrong").await.status(), 401);
    }
    let all = records(&site, "/api/v1/audit?kind=sign_in", 4).await;
    let users: Vec<_> = all.iter().map(|record| record["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["olga", "bob", "<i>eve</i>", "bob"], "newest first");
    assert_eq!(records(&site, "/api/v1/audit?user=bob", 2).await.len(), 2);
    let (_, first) = site.get("/api/v1/audit?kind=sign_in&limit=1", "root").await;
    let next = first["next"].as_u64().unwrap();
    assert_eq!((&first["records"][0], next), (&all[0], all[0]["seq"].as_u64().unwrap()));
    let (_, second) = site.get(&format!("/api/v1/audit?kind=sign_in&limit=3&before={next}"), "root").await;
    assert_eq!((second["records"].as_array().unwrap().as_slice(), &second["next"]), (&all[1..], &Value::Null));

    let seq = all[1]["seq"].as_u64().unwrap();
    let (status, one) = site.get(&format!("/api/v1/audit/{seq}"), "root").await;
    assert_eq!((status, &one["record"]), (200, &all[1]));
    assert_eq!((&one["hash"], &one["record"]["prev"] == &one["hash"]), (&all[0]["prev"], false));
    assert_eq!((&one["follows_previous"], &one["followed_by_next"]), (&json!(true), &json!(true)));
    for (path, who, want) in [
        ("/api/v1/audit", "bob", 403),
        ("/api/v1/audit/1", "bob", 403),
        ("/api/v1/audit", "", 401),
        ("/api/v1/audit?since=yesterday", "root", 400),
        ("/api/v1/audit?page=2", "root", 400),
        ("/api/v1/audit/99999", "root", 404),
        ("/api/v1/audit/x", "root", 404),
    ] {
        assert_eq!(site.get(path, who).await.0, want, "{who} {path}");
    }

    let root = Browser::signed_in(&site, "root").await;
    let (status, text) = root.get("/audit?kind=sign_in&user=%3Ci%3Eeve%3C%2Fi%3E").await;
    assert_eq!(status, 200);
    assert!(text.contains("&#60;i&#62;eve") && !text.contains("<i>eve"), "{text}");
    let (_, text) = root.get(&format!("/audit/{seq}")).await;
    assert!(text.contains(one["hash"].as_str().unwrap()) && text.contains("carries this hash"), "{text}");
    let (status, text) = root.get("/audit?since=yesterday").await;
    assert!(status == 400 && text.contains("2h for two hours ago"), "{status} {text}");
    let bob = Browser::signed_in(&site, "bob").await;
    assert_eq!(bob.get("/audit").await.0, 403);
    assert!(!bob.get("/").await.1.contains("href=\"/audit\""));
    let mut config = crate::review::fixture::config(crate::review::fixture::PEOPLE);
    config.audit.readers = vec!["dba".to_owned()];
    site.bench.config.store(Arc::new(config));
    assert_eq!(site.get("/api/v1/audit", "bob").await.0, 200, "readers besides admins");
    site.stop().await;
}

#[tokio::test]
async fn pictures_show_the_numbers_of_the_api() {
    let site = site().await;
    let (id, mut waiting) = site.hold("dba").await;
    let (_other, _waits) = site.hold("dba").await;
    assert_eq!(site.post(&format!("/api/v1/requests/{id}/approve"), "bob", json!({})).await.0, 200);
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    let bob = Browser::signed_in(&site, "bob").await;
    let (status, text) = bob.get("/analytics").await;
    assert_eq!(status, 200);
    let (_, counted) = site.get("/api/v1/analytics?last=30d", "bob").await;
    assert_eq!((&counted["total"]["requests"], &counted["total"]["approved"]), (&json!(2), &json!(1)));
    assert!(text.contains("<dt>Requests</dt><dd>2</dd>") && text.contains("<dd>100 %</dd>"), "{text}");
    assert!(text.contains("<svg") && text.contains(": 1 approved</title>"), "{text}");
    assert!(!text.contains("style="), "the policy allows no styles in attributes");
    let olga = Browser::signed_in(&site, "olga").await;
    assert!(olga.get("/analytics").await.1.contains("No requests in this time"));
    let nasty = form_urlencoded::byte_serialize(NASTY.as_bytes()).collect::<String>();
    let (status, text) = bob.get(&format!("/analytics?rule={nasty}")).await;
    assert!(status == 200 && !text.contains("<script>alert"), "{text}");
    assert_eq!(bob.get("/analytics?last=soon").await.0, 400);
    site.stop().await;
}
