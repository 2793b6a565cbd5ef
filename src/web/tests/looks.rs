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
    assert_eq!((&one["hash"], one["record"]["prev"] == one["hash"]), (&all[0]["prev"], false));
    assert_eq!((&one["follows_previous"], &one["followed_by_next"]), (&json!(true), &json!(true)));
    for (path, who, want) in [
        ("/api/v1/audit", "bob", 403),
        ("/api/v1/audit/1", "bob", 403),
        ("/api/v1/audit", "", 401),
        ("/api/v1/audit?since=yesterday", "root", 422),
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
    assert!(status == 422 && text.contains("2h for two hours ago"), "{status} {text}");
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
    assert_eq!(bob.get("/analytics?last=soon").await.0, 422);
    site.stop().await;
}

/// A site whose configuration is a file, in which `bob` and the admin `root` sign in with their names and `-secret`.
async fn site_with_file(rules: &str) -> (Site, std::path::PathBuf) {
    let site = Site::start().await;
    let path = site.bench.dir.path().join("countersign.toml");
    let user = |name: &str, group: &str| {
        let hash = crate::identity::password::hash(&format!("{name}-secret")).unwrap();
        format!("[[users]]\nname = \"{name}\"\ngroups = [\"{group}\"]\nweb_password = {{ argon2 = \"{hash}\" }}\n\n")
    };
    let databases = "[databases.shop]\nupstream = \"postgres://rw@localhost/shop\"\ngroups = [\"dba\"]\ndefault = \"allow\"\n\
        [databases.secret]\nupstream = \"postgres://rw@localhost/secret\"\ngroups = [\"admin\"]\ndefault = \"allow\"\n";
    let text = format!("data_dir = \"data\"\n\n{}{}{databases}\n{rules}", user("root", "admin"), user("bob", "dba"));
    std::fs::write(&path, text).unwrap();
    site.bench.config.store(Arc::new(crate::config::Config::load(&path).unwrap()));
    (site, path)
}

const RULES: &str = "# Ours.\n[[rules]]\nname = \"writes\" # all\neffects = [\"update\"]\naction = \"hold\"\nreviewers = [\"dba\"]\n\n\
    [[rules]]\nname = \"secrets\"\ndatabases = [\"secret\"]\naction = \"deny\"\n\n\
    [[masks]]\nname = \"mails\"\ncolumns = [\"*.*.email\"]\nmask = \"email\"\n";

#[tokio::test]
async fn admins_switch_rules_and_others_read_what_concerns_them() {
    let (site, path) = site_with_file(RULES).await;
    let bob = Browser::signed_in(&site, "bob").await;
    let (status, text) = bob.get("/policy").await;
    assert_eq!(status, 200);
    for part in ["Holds until dba approves", "that does update", "mails", "*.*.email", "What no rule speaks of passes"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("secret") && !text.contains("Only observe"), "{text}");
    let csrf = bob.hidden("/", "csrf").await;
    let switch = |csrf: &str, revision: &str, kind: &str, name: &str, stage: &str| {
        let fields = [("csrf", csrf), ("revision", revision), ("name", name), ("stage", stage)];
        (format!("/policy/{kind}"), fields.map(|(key, value)| (key.to_owned(), value.to_owned())))
    };
    let revision = || site.bench.config.load().policy.revision.clone();
    let send = async |browser: &Browser<'_>, (path, fields): (String, [(String, String); 4])| {
        let fields = fields.each_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        browser.post(&path, &fields).await.status().as_u16()
    };
    assert_eq!(send(&bob, switch(&csrf, &revision(), "rules", "writes", "observe")).await, 403);

    let root = Browser::signed_in(&site, "root").await;
    assert!(root.get("/policy").await.1.contains("secrets"));
    let csrf = root.hidden("/policy", "csrf").await;
    let before = revision();
    for (kind, name, stage, want) in [
        ("rules", "none", "observe", 404),
        ("masks", "mails", "observe", 400),
        ("rules", "writes", "off", 400),
        ("rules", "writes", "observe", 303),
        ("databases", "shop", "observe", 303),
        ("rules", "writes", "enforce", 303),
    ] {
        let status = send(&root, switch(&csrf, &revision(), kind, name, stage)).await;
        assert_eq!(status, want, "{kind} {name} {stage}");
    }
    assert_eq!(send(&root, switch("x", &revision(), "rules", "writes", "observe")).await, 403, "another site");
    assert_eq!(send(&root, switch(&csrf, &before, "rules", "writes", "observe")).await, 409, "seen before");
    let config = site.bench.config.load();
    let stages = (config.policy.rules[0].stage, config.policy.databases[0].stage);
    assert_eq!(format!("{stages:?}"), "(Enforce, Observe)");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("# Ours.") && text.contains("name = \"writes\" # all"), "{text}");
    let (status, text) = root.get("/policy").await;
    assert!(status == 200 && text.contains("observed only") && text.contains("is only observed"), "{text}");

    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "# by hand\n").unwrap();
    assert_eq!(send(&root, switch(&csrf, &revision(), "rules", "writes", "observe")).await, 409, "edited meanwhile");
    site.stop().await;
}

#[tokio::test]
async fn people_write_on_the_page_and_see_what_a_change_changes() {
    let site = site().await;
    let (id, _waiting) = site.hold("dba").await;
    let (alice, bob) = (Browser::signed_in(&site, "alice").await, Browser::signed_in(&site, "bob").await);
    let path = format!("/requests/{id}");
    let mine = alice.hidden(&path, "csrf").await;
    let given = [("csrf", mine.as_str()), ("justification", "OPS-7, customers wait")];
    assert_eq!(alice.post(&format!("{path}/justify"), &given).await.status(), 303);
    assert_eq!(alice.post(&format!("{path}/justify"), &given).await.status(), 409, "once");
    assert!(!alice.get(&path).await.1.contains("Why you need it"));
    let theirs = bob.hidden(&path, "csrf").await;
    let said = [("csrf", theirs.as_str()), ("comment", NASTY)];
    assert_eq!(bob.post(&format!("{path}/comment"), &said).await.status(), 303);
    assert_eq!(bob.post(&format!("{path}/comment"), &[("csrf", &theirs), ("comment", " ")]).await.status(), 422);
    assert_eq!(bob.post(&format!("{path}/comment"), &[("csrf", "x"), ("comment", "y")]).await.status(), 403);
    let (_, text) = bob.get(&path).await;
    assert!(text.contains("OPS-7, customers wait") && text.contains("&#60;script&#62;alert(1)"), "{text}");
    assert!(!text.contains("<script>alert"), "{text}");

    let changed = [("csrf", theirs.as_str()), ("statement", "UPDATE t SET v = 'x'\r\nWHERE false")];
    let preview = bob.post(&format!("{path}/preview"), &changed).await;
    assert_eq!(preview.status(), 200);
    let text = preview.text().await.unwrap();
    assert!(text.contains("line gone") && text.contains("WHERE false") && text.contains("line come"), "{text}");
    let olga = Browser::signed_in(&site, "olga").await;
    let csrf = olga.hidden("/", "csrf").await;
    assert_eq!(olga.post(&format!("{path}/comment"), &[("csrf", &csrf), ("comment", "y")]).await.status(), 404);
    site.stop().await;
}

#[tokio::test]
async fn what_waits_is_counted_past_a_page() {
    let site = site().await;
    let mut held = Vec::new();
    for _ in 0..105 {
        held.push(site.hold("dba").await);
    }
    let bob = Browser::signed_in(&site, "bob").await;
    let (_, text) = bob.get("/").await;
    assert!(text.contains("(105) Inbox") && text.contains("And 5 more"), "{text}");
    assert!(bob.get("/requests").await.1.contains("105<span"));
    drop(held);
    site.stop().await;
}
