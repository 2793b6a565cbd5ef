//! Records as events of the Open Cybersecurity Schema Framework, version 1.3.0: what clients do as Datastore Activity, who signs in
//! as Authentication, everything else as API Activity.
//!
//! Never leaves anything out: the record as it was written is in `raw_data`. Invariant: every attribute that a class requires
//! is there, and `type_uid` follows from class and activity.
//! Source: schema.ocsf.io/1.3.0, classes 6005, 3002 and 6003.

use serde_json::{Map, Value, json};

use crate::audit::Entry;

/// Version of the schema.
const VERSION: &str = "1.3.0";
/// "Other", whatever it is an enumeration of.
const OTHER: u64 = 99;
/// Severities.
const INFORMATIONAL: u64 = 1;
const MEDIUM: u64 = 3;
/// States of an event.
const SUCCESS: u64 = 1;
const FAILURE: u64 = 2;
/// Type of a database: relational.
const RELATIONAL: u64 = 1;
/// Type of a datastore: a database.
const DATABASE: u64 = 1;

/// A class of events: its number, that of its category, and their names.
#[derive(Clone, Copy)]
struct Class {
    uid: u64,
    name: &'static str,
    category_uid: u64,
    category_name: &'static str,
}

const DATASTORE: Class =
    Class { uid: 6005, name: "Datastore Activity", category_uid: 6, category_name: "Application Activity" };
const API: Class = Class { uid: 6003, name: "API Activity", category_uid: 6, category_name: "Application Activity" };
const AUTHENTICATION: Class =
    Class { uid: 3002, name: "Authentication", category_uid: 3, category_name: "Identity & Access Management" };

/// The event that a record is.
pub(super) fn event(entry: &Entry) -> Value {
    let kind = entry.text("kind");
    let class = match kind {
        "session_open" | "session_close" | "verdict" | "intent" | "outcome" => DATASTORE,
        "login_failed" | "sign_in" => AUTHENTICATION,
        _ => API,
    };
    let (activity_id, activity_name) = activity(class, entry);
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| drop(event.insert(key.to_owned(), value));
    put("class_uid", json!(class.uid));
    put("class_name", json!(class.name));
    put("category_uid", json!(class.category_uid));
    put("category_name", json!(class.category_name));
    put("activity_id", json!(activity_id));
    put("activity_name", json!(activity_name));
    put("type_uid", json!(class.uid * 100 + activity_id));
    put("type_name", json!(format!("{}: {activity_name}", class.name)));
    put("time", json!(entry.at().map_or(0, jiff::Timestamp::as_millisecond)));
    put("severity_id", json!(severity(entry)));
    put("metadata", metadata(entry));
    put("message", json!(kind));
    put("raw_data", json!(entry.line));
    if let Some(failed) = failed(entry) {
        put("status_id", json!(if failed { FAILURE } else { SUCCESS }));
    }
    for (key, from) in [("status_detail", "reason"), ("status_code", "detail")] {
        if let Some(text) = entry.shown(from) {
            put(key, json!(text));
        }
    }
    let user = json!({ "name": who(entry) });
    if class.uid == AUTHENTICATION.uid {
        put("user", user);
        put("service", json!({ "name": "countersign" }));
    } else {
        put("actor", actor(entry, user));
    }
    put("src_endpoint", source(entry));
    if class.uid == DATASTORE.uid {
        put("database", json!({ "name": entry.text("database"), "type_id": RELATIONAL, "type": "Relational" }));
        put("type_id", json!(DATABASE));
        if !entry.text("statement").is_empty() {
            put("query_info", json!({ "query_string": entry.text("statement") }));
        }
        if let Some(duration) = entry.fields.get("duration_ms") {
            put("duration", duration.clone());
        }
    }
    if class.uid == API.uid {
        let request = entry.shown("request").or_else(|| entry.shown("grant"));
        let request = request.map(|uid| json!({ "uid": uid }));
        let mut api = json!({ "operation": kind, "service": { "name": "countersign" } });
        if let (Some(request), Some(api)) = (request, api.as_object_mut()) {
            api.insert("request".to_owned(), request);
        }
        put("api", api);
    }
    Value::Object(event)
}

/// What was done, as the class numbers it, and its name.
fn activity(class: Class, entry: &Entry) -> (u64, String) {
    let named = |id: u64, name: &str| (id, name.to_owned());
    match (class.uid, entry.text("kind")) {
        (3002, _) => named(1, "Logon"),
        (6005, "session_open") => named(3, "Connect"),
        (6005, "verdict") => on_data(entry),
        (6003, "transition" | "grant") if entry.shown("from").is_none() => named(1, "Create"),
        (6003, "comment" | "justification" | "vote" | "grant_vote") => named(1, "Create"),
        (6003, "transition" | "grant" | "config_change" | "config") => named(3, "Update"),
        (6003, "retired") => named(4, "Delete"),
        (_, kind) => named(OTHER, kind),
    }
}

/// What a statement does that matters most.
fn on_data(entry: &Entry) -> (u64, String) {
    const EFFECTS: [(&[&str], u64, &str); 5] = [
        (&["delete", "truncate", "drop"], 7, "Delete"),
        (&["update", "merge", "alter"], 2, "Update"),
        (&["insert", "copy_in"], 5, "Write"),
        (&["create"], 6, "Create"),
        (&["select", "copy_out"], 4, "Query"),
    ];
    let effects = entry.fields.get("effects").and_then(Value::as_array).cloned().unwrap_or_default();
    let has =
        |names: &[&str]| effects.iter().any(|effect| effect.as_str().is_some_and(|effect| names.contains(&effect)));
    let known = EFFECTS.iter().find(|(names, ..)| has(names));
    known.map_or_else(
        || (OTHER, entry.shown("effects").unwrap_or_else(|| "verdict".to_owned())),
        |(_, id, name)| (*id, (*name).to_owned()),
    )
}

fn severity(entry: &Entry) -> u64 {
    let is_grave = matches!(entry.text("kind"), "gap" | "login_failed") || entry.text("verdict") == "deny";
    if is_grave { MEDIUM } else { INFORMATIONAL }
}

/// Whether it came to nothing, where that can be said.
fn failed(entry: &Entry) -> Option<bool> {
    let flag = |key: &str| entry.fields.get(key).and_then(Value::as_bool);
    match entry.text("kind") {
        "login_failed" => Some(true),
        "sign_in" => flag("accepted").map(|accepted| !accepted),
        "console_command" => flag("permitted").map(|permitted| !permitted),
        "api_call" => entry.fields.get("status").and_then(Value::as_u64).map(|status| status >= 400),
        "verdict" => Some(matches!(entry.text("verdict"), "deny" | "error")),
        "outcome" if entry.text("outcome") != "unknown" => Some(entry.text("outcome") == "failed"),
        _ => None,
    }
}

fn metadata(entry: &Entry) -> Value {
    json!({
        "version": VERSION,
        "uid": entry.seq().to_string(),
        "original_time": entry.text("at"),
        "log_name": entry.text("kind"),
        "product": {
            "name": "Countersign",
            "vendor_name": "Countersign",
            "version": env!("CARGO_PKG_VERSION"),
        },
    })
}

fn who(entry: &Entry) -> String {
    ["by", "user"].into_iter().map(|key| entry.text(key)).find(|who| !who.is_empty()).unwrap_or("unknown").to_owned()
}

fn actor(entry: &Entry, user: Value) -> Value {
    match entry.shown("session") {
        Some(session) => json!({ "user": user, "session": { "uid": session } }),
        None => json!({ "user": user }),
    }
}

/// Where it came from: an address where the record has one, else the session, or the surface, that it came through.
fn source(entry: &Entry) -> Value {
    let address = entry.text("client_address");
    if let Ok(socket) = address.parse::<std::net::SocketAddr>() {
        return json!({ "ip": socket.ip().to_string(), "port": socket.port() });
    }
    if let Ok(ip) = address.parse::<std::net::IpAddr>() {
        return json!({ "ip": ip.to_string() });
    }
    let known = [address, entry.text("session"), entry.text("surface")].into_iter().find(|known| !known.is_empty());
    json!({ "name": known.unwrap_or("countersign") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_of(line: &str) -> Value {
        let line = line.replacen('{', r#"{"seq":7,"prev":"00","at":"2026-01-02T03:04:05.678Z","#, 1);
        event(&Entry { fields: serde_json::from_str(&line).unwrap(), line })
    }

    /// What version 1.3.0 requires of an event of that class.
    fn flaws(event: &Value) -> Vec<String> {
        let class = event["class_uid"].as_u64().unwrap();
        let activities: &[u64] = match class {
            6005 => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99],
            6003 => &[1, 2, 3, 4, 99],
            3002 => &[1, 2, 3, 4, 5, 6, 7, 99],
            other => panic!("class {other}"),
        };
        let of_class: &[&str] = match class {
            6005 => &["actor.user.name", "src_endpoint", "database.type_id"],
            6003 => &["actor.user.name", "src_endpoint", "api.operation"],
            _ => &["user.name", "service.name"],
        };
        let of_all = [
            "activity_id",
            "category_uid",
            "metadata.version",
            "metadata.product.vendor_name",
            "severity_id",
            "time",
            "type_uid",
        ];
        let lacks = |path: &&&str| event.pointer(&format!("/{}", path.replace('.', "/"))).is_none_or(Value::is_null);
        let mut flaws: Vec<String> =
            of_all.iter().chain(of_class).filter(lacks).map(|path| format!("lacks {path}")).collect();
        let activity = event["activity_id"].as_u64().unwrap();
        if !activities.contains(&activity) || event["type_uid"] != class * 100 + activity {
            flaws.push(format!("activity {activity}, type {}", event["type_uid"]));
        }
        if event["category_uid"] != class / 1000 || event["metadata"]["version"] != "1.3.0" || !event["time"].is_i64() {
            flaws.push("category, version or time".to_owned());
        }
        if event.get("query_info").is_some_and(|query| query["query_string"].as_str().is_none()) {
            flaws.push("query_info without query_string".to_owned());
        }
        let source = &event["src_endpoint"];
        if source["ip"].as_str().is_none() && source["name"].as_str().is_none() {
            flaws.push("src_endpoint without ip and name".to_owned());
        }
        flaws
    }

    #[track_caller]
    fn check(line: &str, type_uid: u64, status_id: Option<u64>) -> Value {
        let event = event_of(line);
        assert_eq!(flaws(&event), Vec::<String>::new(), "{event}");
        assert_eq!((event["type_uid"].as_u64(), event["status_id"].as_u64()), (Some(type_uid), status_id), "{event}");
        event
    }

    #[test]
    fn what_clients_do_is_activity_of_a_datastore() {
        check(
            r#"{"kind":"session_open","session":"1","user":"alice","database":"shop","client_address":"192.0.2.1:5000"}"#,
            600_503,
            None,
        );
        let verdict = |effects: &str, verdict: &str| {
            format!(
                r#"{{"kind":"verdict","session":"1","user":"alice","database":"shop","statement":"X","effects":[{effects}],"verdict":"{verdict}"}}"#
            )
        };
        let denied = check(&verdict(r#""select","delete""#, "deny"), 600_507, Some(2));
        assert_eq!((&denied["severity_id"], &denied["query_info"]["query_string"]), (&json!(3), &json!("X")));
        check(&verdict(r#""select","update""#, "hold"), 600_502, Some(1));
        check(&verdict(r#""insert""#, "allow"), 600_505, Some(1));
        check(&verdict(r#""select""#, "allow"), 600_504, Some(1));
        let other = check(&verdict(r#""vacuum""#, "allow"), 600_599, Some(1));
        assert_eq!(other["activity_name"], "vacuum");
        let failed = check(
            r#"{"kind":"outcome","user":"alice","database":"shop","outcome":"failed","detail":"22012","duration_ms":3}"#,
            600_599,
            Some(2),
        );
        assert_eq!((&failed["status_code"], &failed["duration"]), (&json!("22012"), &json!(3)));
        check(
            r#"{"kind":"outcome","user":"alice","database":"shop","outcome":"unknown","detail":null}"#,
            600_599,
            None,
        );
    }

    #[test]
    fn decisions_are_activity_of_an_api_and_failed_logins_are_authentication() {
        let vote = check(
            r#"{"kind":"vote","request":"01J","by":"bob","approve":true,"surface":"web","reason":"fine"}"#,
            600_301,
            None,
        );
        assert_eq!((&vote["actor"]["user"]["name"], &vote["api"]["request"]["uid"]), (&json!("bob"), &json!("01J")));
        check(
            r#"{"kind":"transition","request":"01J","from":null,"to":"PENDING","by":"alice","surface":"wire"}"#,
            600_301,
            None,
        );
        check(r#"{"kind":"transition","request":"01J","from":"PENDING","to":"APPROVED","by":"bob"}"#, 600_303, None);
        check(
            r#"{"kind":"api_call","user":"","client_address":"::1","method":"POST","path":"/","status":403}"#,
            600_399,
            Some(2),
        );
        check(r#"{"kind":"checkpoint","since":1}"#, 600_399, None);
        let login = check(
            r#"{"kind":"login_failed","user":"eve","client_address":"local","reason":"password"}"#,
            300_201,
            Some(2),
        );
        assert_eq!(login["status_detail"], "password");
        check(
            r#"{"kind":"sign_in","user":"bob","client_address":"192.0.2.1","with":"password","accepted":true}"#,
            300_201,
            Some(1),
        );
    }

    #[test]
    fn every_kind_of_record_is_an_event_with_all_of_it() {
        for kind in crate::audit::KINDS {
            let event = event_of(&format!(r#"{{"kind":"{kind}"}}"#));
            assert_eq!(flaws(&event), Vec::<String>::new(), "{event}");
            assert!(event["raw_data"].as_str().is_some_and(|raw| raw.contains(kind)));
        }
    }
}
