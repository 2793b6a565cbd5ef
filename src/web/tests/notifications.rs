//! The page of notifications.

use super::page::{Browser, site};
use super::*;
use crate::review::fixture::at;
use crate::store::outbox::{About, DeliveryFilter, Event};

#[tokio::test]
async fn admins_look_after_notifications_and_nobody_else() {
    let site = site().await;
    let outbox = Arc::clone(&site.bench.outbox);
    outbox.register(vec!["webhook <b>".to_owned()], at(0), at(0)).await.unwrap();
    let (id, _waiting) = site.hold("dba").await;
    let event = Event {
        about: About::Config,
        subject: "<script>".to_owned(),
        what: "CHANGED".to_owned(),
        person: String::new(),
        at: at(1),
    };
    outbox.note(event).await.unwrap();
    // Named by nobody any more: what waits is given up.
    outbox.register(vec!["teams".to_owned()], at(9), at(9)).await.unwrap();

    let bob = Browser::signed_in(&site, "bob").await;
    assert_eq!(bob.get("/notifications").await.0, 403);
    assert!(!bob.get("/").await.1.contains("/notifications"));
    let root = Browser::signed_in(&site, "root").await;
    assert!(root.get("/").await.1.contains("href=\"/notifications\""));
    let (status, text) = root.get("/notifications").await;
    assert_eq!(status, 200);
    assert!(text.contains(&format!("href=\"/requests/{id}\"")) && text.contains("target is no longer configured"));
    assert!(text.contains("webhook &#60;b&#62;") && !text.contains("<script>\"") && !text.contains("<b>\""));
    assert!(text.contains("<strong>teams</strong>") && text.contains("all told"), "{text}");
    let (_, none) = root.get("/notifications?state=DELIVERED").await;
    assert!(none.contains("Nothing fits"));

    let dead = outbox.deliveries(DeliveryFilter { limit: 9, ..DeliveryFilter::default() }).await.unwrap();
    let path = format!("/notifications/{}/redeliver", dead[0].id);
    let csrf = bob.hidden("/grants", "csrf").await;
    assert_eq!(bob.post(&path, &[("csrf", &csrf)]).await.status(), 403);
    assert_eq!(root.post(&path, &[]).await.status(), 403);
    let csrf = root.hidden("/notifications", "csrf").await;
    assert_eq!(root.post(&path, &[("csrf", &csrf)]).await.status(), 303);
    assert_eq!(root.post("/notifications/4711/redeliver", &[("csrf", &csrf)]).await.status(), 404);
    let waiting = DeliveryFilter {
        state: Some(crate::store::outbox::DeliveryState::Waiting),
        limit: 9,
        ..DeliveryFilter::default()
    };
    assert_eq!(outbox.deliveries(waiting).await.unwrap().len(), 1);
    site.stop().await;
}
