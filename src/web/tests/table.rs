//! Who may call what: every operation of the OpenAPI document, by everybody.
//!
//! Never lets a new operation go without a line: the table and the document have to name the same.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::identity::{Scope, Scopes};
use crate::review::fixture::{self, PEOPLE, actor};
use crate::review::{GrantAsk, GrantScope};

/// Callers, and what each operation answers them: nobody, a token without scopes, one that may only look, the requester, a
/// reviewer, an admin.
const CALLERS: [&str; 6] = ["", "idle", "looker", "alice", "bob", "root"];
const EXPECTED: &str = "
    GET  /api/v1/me                        401 403 200 200 200 200
    GET  /api/v1/events                    401 403 200 200 200 200
    GET  /api/v1/requests                  401 403 200 200 200 200
    POST /api/v1/requests                  401 403 403 503 503 503
    GET  /api/v1/requests/{id}             401 403 200 200 200 200
    POST /api/v1/requests/{id}/approve     401 403 403 403 200 403
    POST /api/v1/requests/{id}/reject      401 403 403 403 200 403
    POST /api/v1/requests/{id}/cancel      401 403 403 200 403 200
    POST /api/v1/requests/{id}/revoke      401 403 403 403 409 409
    POST /api/v1/requests/{id}/comments    401 403 403 200 200 200
    POST /api/v1/requests/{id}/justify     401 403 403 200 403 403
    GET  /api/v1/analytics                 401 403 200 200 200 200
    GET  /api/v1/audit                     401 403 403 403 403 200
    GET  /api/v1/audit/{seq}               401 403 403 403 403 200
    GET  /api/v1/databases                 401 403 403 200 200 200
    GET  /api/v1/grants                    401 403 200 200 200 200
    POST /api/v1/grants                    401 403 403 201 201 201
    GET  /api/v1/grants/{id}               401 403 200 200 200 200
    POST /api/v1/grants/{id}/approve       401 403 403 403 200 403
    POST /api/v1/grants/{id}/reject        401 403 403 403 200 403
    POST /api/v1/grants/{id}/cancel        401 403 403 200 403 200
    POST /api/v1/grants/{id}/revoke        401 403 403 409 409 409
    GET  /api/v1/notifications             401 403 403 403 403 200
    POST /api/v1/notifications/{id}/redeliver 401 403 403 403 403 404
    GET  /api/openapi.json                 200 200 200 200 200 200
    GET  /livez                            200 200 200 200 200 200
    GET  /healthz                          200 200 200 200 200 200
    GET  /readyz                           200 200 200 200 200 200
    GET  /metrics                          200 200 200 200 200 200
";

/// The operations of the document, as `GET /path`.
fn operations() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&openapi_document()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let of_path = |(path, item): (&String, &Value)| {
        item.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
    };
    paths.flat_map(of_path).collect()
}

fn table() -> BTreeMap<String, Vec<u16>> {
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let statuses = words[2..].iter().map(|word| word.parse().unwrap()).collect();
        (format!("{} {}", words[0], words[1]), statuses)
    };
    EXPECTED.lines().filter(|line| !line.trim().is_empty()).map(row).collect()
}

/// A call that is what the operation takes.
fn body(path: &str) -> Value {
    match path.rsplit('/').next().unwrap() {
        "reject" | "justify" => json!({"reason": "because"}),
        // Nobody runs it here; what does is in tests/it.
        "requests" => json!({"database": "shop", "statement": "SELECT 1"}),
        "comments" => json!({"text": "<script>alert(1)</script>"}),
        "grants" => json!({"database": "shop", "for": "30m", "reason": "on call"}),
        _ => json!({}),
    }
}

async fn site() -> Site {
    let site = Site::start().await;
    let text = "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[web]\npublic_url = \"https://countersign.example.com\"\n\
        [databases.shop]\nupstream = \"postgres://app@127.0.0.1/shop\"\ngroups = [\"engineering\", \"dba\", \"admin\"]\n\
        review = { groups = [\"dba\"], grant_max = \"1h\" }\n";
    let users = fixture::config(&format!("{PEOPLE} idle:dba looker:dba")).users;
    let mut config = Config { users, ..Config::parse("countersign.toml".as_ref(), text).unwrap() };
    config.limits.requests_per_user = crate::config::UNCOUNTED;
    for user in &mut config.users {
        match user.name.as_str() {
            "idle" => user.tokens[0].scopes = Scopes::default(),
            "looker" => user.tokens[0].scopes = Scopes::from_iter([Scope::RequestsRead, Scope::GrantsRead]),
            _ => {}
        }
    }
    site.bench.config.store(Arc::new(config));
    site
}

/// The path of an operation, on a request or a grant that nobody has decided about.
async fn place(site: &Site, path: &str) -> (String, Option<Waiting>) {
    if path.contains("{seq}") {
        // The first of the refusals is there to be found.
        site.audit.synced().await.unwrap();
        return (path.replace("{seq}", "1"), None);
    }
    if !path.contains("{id}") {
        return (path.to_owned(), None);
    }
    let (id, waiting) = site.hold("dba").await;
    if !path.contains("/grants/") {
        return (path.replace("{id}", &id), Some(waiting));
    }
    let ask = GrantAsk {
        database: "shop".to_owned(),
        time: Duration::from_secs(60),
        scope: GrantScope::default(),
        reason: Some("on call".to_owned()),
    };
    let grant = site.bench.review.request_grant(&actor("alice"), ask, Timestamp::now()).await.unwrap();
    (path.replace("{id}", &grant.id.to_string()), Some(waiting))
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says() {
    let site = site().await;
    let table = table();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), operations());
    let mut wrong = Vec::new();
    for (operation, expected) in &table {
        let (method, path) = operation.split_once(' ').unwrap();
        for (who, want) in CALLERS.iter().zip(expected) {
            let (path, _waiting) = place(&site, path).await;
            let mut call = site.request(method.parse().unwrap(), &path, who);
            if method == "POST" {
                call = call.json(&body(&path));
            }
            let response = call.send().await.unwrap();
            let got = response.status().as_u16();
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
            let media = response.headers()["content-type"].to_str().unwrap();
            assert!(!media.contains("html"), "{operation} answers with {media}");
            if got != *want {
                wrong.push(format!("{operation} by {who:?}: {got}, not {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    site.stop().await;
}

#[tokio::test]
async fn a_database_is_named_to_who_may_know_of_it() {
    let site = site().await;
    for (who, want) in [("alice", 1), ("bob", 1), ("root", 1), ("olga", 0)] {
        let (status, body) = site.get("/api/v1/databases", who).await;
        assert_eq!((status, body["databases"].as_array().unwrap().len()), (200, want), "{who}");
    }
    let (_, body) = site.get("/api/v1/databases", "alice").await;
    assert_eq!(
        body["databases"][0],
        json!({"name": "shop", "groups": ["engineering", "dba", "admin"], "default": "hold", "unparsed": "hold",
            "observed": false, "reviewers": ["dba"], "timeout": 3600, "grant_max": 3600})
    );
    site.stop().await;
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let site = site().await;
    let token = {
        let config = site.bench.config.load();
        let credential = crate::identity::sessions::Credential::token(&config.user("bob").unwrap().tokens[0].digest);
        let sessions = crate::identity::sessions::Sessions::new(Arc::clone(&site.bench.callers));
        sessions.open("bob", credential, Duration::from_secs(600), Timestamp::now()).await.unwrap()
    };
    let cookie = format!("__Host-countersign={}", token.expose());
    let unsafe_ones =
        operations().into_iter().filter_map(|operation| operation.strip_prefix("POST ").map(str::to_owned));
    for path in unsafe_ones {
        let call = async |path: &str, extra: &[(&str, &str)]| {
            let mut call = site.client.post(format!("http://{}{path}", site.address)).header("cookie", &cookie);
            for (name, value) in extra {
                call = call.header(*name, *value);
            }
            site.call(call.json(&body(path))).await
        };
        let (csrf, own) = (token.csrf(), "https://countersign.example.com");
        let (path, _waiting) = place(&site, &path).await;
        for bad in [
            &[][..],
            &[("x-csrf-token", "guessed")],
            &[("x-csrf-token", csrf.as_str()), ("origin", "https://evil.example")],
            &[("x-csrf-token", csrf.as_str()), ("sec-fetch-site", "cross-site")],
            &[("origin", own)],
        ] {
            let (status, body) = call(&path, bad).await;
            let kind = body["type"].as_str().unwrap_or_default();
            assert_eq!((status, kind), (403, "urn:countersign:problem:cross-site"), "{path} {bad:?}");
        }
        let (status, body) = call(&path, &[("x-csrf-token", csrf.as_str()), ("origin", own)]).await;
        assert_ne!(body["type"], "urn:countersign:problem:cross-site", "{path} {status}");
        assert_ne!(status, 401, "{path}");
    }
    site.stop().await;
}
