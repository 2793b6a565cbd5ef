//! Sinks pass on what the files hold, to receivers that take nothing that is not as it has to be.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use regex::Regex;
use rustix::process::Signal;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

use crate::support::proxy::{Launch, Proxy};
use crate::support::within;

/// The lines of the trail so far.
fn lines(proxy: &Proxy) -> Vec<String> {
    let text = fs::read_to_string(proxy.data_dir().join("audit/000001.jsonl")).expect("segment");
    text.lines().map(str::to_owned).collect()
}

/// A message of RFC 5424; its JSON. Every part of the header is checked.
#[track_caller]
fn read_message(message: &str) -> String {
    const FORM: &str = concat!(
        r"\A<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z [!-~]{1,255} countersign \d{1,10} (?<kind>[a-z_]{1,32})",
        r#" \[meta sequenceId="(?<number>[1-9]\d*)"\] (?<text>\{.*\})\z"#
    );
    let parts =
        Regex::new(FORM).expect("a pattern").captures(message).unwrap_or_else(|| panic!("not syslog: {message}"));
    let record: Value = serde_json::from_str(&parts["text"]).expect("JSON");
    assert_eq!(record["kind"], parts["kind"]);
    assert_eq!(record["seq"].to_string(), parts["number"]);
    parts["text"].to_owned()
}

/// One message with its length in front.
async fn read_counted(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut length = String::new();
    loop {
        match stream.read_u8().await? {
            b' ' => break,
            digit @ b'0'..=b'9' if length.len() < 9 => length.push(char::from(digit)),
            other => panic!("{other} in a length after {length:?}"),
        }
    }
    assert!(!length.starts_with('0'));
    let mut message = vec![0; length.parse().expect("a length")];
    stream.read_exact(&mut message).await?;
    Ok(read_message(&String::from_utf8(message).expect("UTF-8")))
}

fn sink(name: &str, rest: &str) -> String {
    format!("[[audit.sinks]]\nname = \"{name}\"\n{rest}\n")
}

/// Has the trail tell of a statement.
async fn say(proxy: &Proxy, text: &str) {
    proxy.client("alice").await.value(&format!("SELECT '{text}'")).await.expect("a row");
}

/// Reads messages until one tells of that text.
async fn until(text: &str, mut next: impl AsyncFnMut() -> String) -> Vec<String> {
    let reading = async {
        let mut read: Vec<String> = Vec::new();
        while !read.last().is_some_and(|line| line.contains(text)) {
            read.push(next().await);
        }
        read
    };
    within(text, reading).await
}

#[tokio::test]
async fn a_syslog_stream_gets_every_record_also_after_it_was_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let proxy = Proxy::start(&sink("siem", &format!("to = \"syslog\"\nurl = \"tcp://{address}\""))).await;
    let (mut stream, _) = within("a connection", listener.accept()).await.expect("a connection");
    say(&proxy, "first\nline é").await;
    let mut read = until("first", async || read_counted(&mut stream).await.expect("a message")).await;
    drop((stream, listener));
    // Nobody is there, and nothing waits for it.
    for number in 0..20 {
        say(&proxy, &format!("meanwhile-{number}.")).await;
    }
    let listener = TcpListener::bind(address).await.expect("the same port");
    let (mut stream, _) = within("a connection", listener.accept()).await.expect("a connection");
    read.extend(until("meanwhile-19.", async || read_counted(&mut stream).await.expect("a message")).await);
    // What was sent shortly before the receiver went away comes again.
    let mut seen = HashSet::new();
    read.retain(|line| seen.insert(line.clone()));
    assert_eq!(read, lines(&proxy)[..read.len()]);
    assert_eq!(proxy.metric("countersign_audit_sink_dropped_total{sink=\"siem\"}").await, 0.0);
    assert!(proxy.metric("countersign_audit_sink_failures_total{sink=\"siem\"}").await > 0.0);
}

#[tokio::test]
async fn datagrams_and_sockets_in_the_file_system_get_one_message_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let log = directory.path().join("log");
    let unix = UnixDatagram::bind(&log).expect("a socket");
    let stream = directory.path().join("stream");
    let listener = UnixListener::bind(&stream).expect("a socket");
    let config = [
        sink("udp", &format!("to = \"syslog\"\nurl = \"udp://{}\"", udp.local_addr().expect("an address"))),
        sink("log", &format!("to = \"syslog\"\nurl = \"unix:{}\"\nkinds = [\"verdict\"]", log.display())),
        sink("stream", &format!("to = \"syslog\"\nurl = \"unix:{}\"", stream.display())),
    ];
    let proxy = Proxy::start(&config.concat()).await;
    say(&proxy, "canary-514").await;
    let datagram = async |buffer: &[u8]| read_message(std::str::from_utf8(buffer).expect("UTF-8"));
    let mut buffer = vec![0; 1 << 16];
    let by_udp = until("canary-514", async || {
        let length = udp.recv(&mut buffer).await.expect("a datagram");
        datagram(&buffer[..length]).await
    });
    let by_udp = by_udp.await;
    let by_log = until("canary-514", async || {
        let length = unix.recv(&mut buffer).await.expect("a datagram");
        datagram(&buffer[..length]).await
    });
    let by_log = by_log.await;
    let (mut connection, _) = within("a connection", listener.accept()).await.expect("a connection");
    let by_stream = until("canary-514", async || read_counted(&mut connection).await.expect("a message")).await;
    let written = lines(&proxy);
    assert_eq!((&by_udp[..], &by_stream[..]), (&written[..by_udp.len()], &written[..by_stream.len()]));
    assert_eq!(by_log.len(), 1, "only verdicts are asked for: {by_log:?}");
    // More than a datagram holds: its number is passed on, and how long it is.
    say(&proxy, &format!("long-{}", "x".repeat(70_000))).await;
    let long = until("too_long", async || {
        let length = udp.recv(&mut buffer).await.expect("a datagram");
        datagram(&buffer[..length]).await
    });
    let record: Value = serde_json::from_str(long.await.last().expect("a message")).expect("JSON");
    assert!(record["too_long"].as_u64().is_some_and(|bytes| bytes > 70_000), "{record}");
}

/// What a receiver over HTTP is asked and answers.
#[derive(Clone, Default)]
struct Web {
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    calls: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Web {
    async fn serve(answers: &[(u16, &'static str)]) -> (Self, String) {
        let web = Self { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Self::default() };
        let router = axum::Router::new().route("/in", axum::routing::post(Self::take)).with_state(web.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/in", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (web, url)
    }

    async fn take(State(web): State<Self>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
        web.calls.lock().expect("calls").push((headers, body));
        let (status, body) = web.answers.lock().expect("answers").pop_front().unwrap_or((200, "{}"));
        (StatusCode::from_u16(status).expect("a status"), body)
    }

    /// Waits for a call that holds the text; all calls until then.
    async fn until(&self, text: &str) -> Vec<(HeaderMap, String)> {
        let waiting = async {
            loop {
                let calls = self.calls.lock().expect("calls").clone();
                let read: Vec<_> = calls
                    .into_iter()
                    .map(|(headers, body)| (headers, String::from_utf8(body.to_vec()).expect("UTF-8")))
                    .collect();
                if read.iter().any(|(_, body)| body.contains(text)) {
                    return read;
                }
                tokio::task::yield_now().await;
            }
        };
        within(text, waiting).await
    }
}

#[tokio::test]
async fn a_collector_gets_log_records_of_opentelemetry() {
    let rejects_one = r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}"#;
    let (web, url) = Web::serve(&[(503, ""), (200, rejects_one)]).await;
    let proxy = Proxy::start(&sink("otel", &format!("to = \"otlp\"\nurl = \"{url}\""))).await;
    say(&proxy, "canary-4318").await;
    let calls = web.until("canary-4318").await;
    let mut bodies = Vec::new();
    for (headers, body) in &calls {
        assert_eq!(headers["content-type"], "application/json");
        let request: Value = serde_json::from_str(body).expect("JSON");
        let resource = &request["resourceLogs"][0];
        assert_eq!(resource["resource"]["attributes"][0]["key"], "service.name");
        for record in resource["scopeLogs"][0]["logRecords"].as_array().expect("records") {
            let line = record["body"]["stringValue"].as_str().expect("a body").to_owned();
            let told: Value = serde_json::from_str(&line).expect("JSON");
            let kind = told["kind"].as_str().expect("a kind");
            assert_eq!(record["eventName"], format!("countersign.audit.{kind}"));
            assert_eq!(record["severityNumber"], 9);
            let nanoseconds: i128 =
                record["timeUnixNano"].as_str().expect("64 bits in a string").parse().expect("a number");
            let at: jiff::Timestamp = told["at"].as_str().expect("a time").parse().expect("a time");
            assert_eq!(at.as_nanosecond(), nanoseconds);
            assert_eq!(record["attributes"][1]["value"]["intValue"], told["seq"].to_string());
            bodies.push(line);
        }
    }
    // The first batch came twice, because the first answer was 503.
    bodies.dedup();
    assert!(calls.len() > 1 && calls[0].1.len() == calls[1].1.len());
    assert_eq!(proxy.metric("countersign_audit_sink_dropped_total{sink=\"otel\"}").await, 1.0, "what it has rejected");
}

#[tokio::test]
async fn a_webhook_gets_signed_lines_and_what_it_refuses_is_counted() {
    let (web, url) = Web::serve(&[(401, "")]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (token, secret) = (directory.path().join("token"), directory.path().join("secret"));
    for (path, text) in [(&token, "Bearer let-me-in"), (&secret, "whsec_c2VjcmV0IG9mIHRoZSBob29r")] {
        write_secret(path, text);
    }
    let rest = format!(
        "to = \"webhook\"\nurl = \"{url}\"\nauthorization = {{ file = {token:?} }}\nsecret = {{ file = {secret:?} }}"
    );
    let proxy = Proxy::start(&sink("hook", &rest)).await;
    say(&proxy, "canary-8080").await;
    let calls = web.until("canary-8080").await;
    for (headers, body) in &calls {
        assert_eq!(headers["authorization"], "Bearer let-me-in");
        assert_eq!(headers["content-type"], "application/x-ndjson");
        let (id, at) =
            (headers["webhook-id"].to_str().expect("text"), headers["webhook-timestamp"].to_str().expect("text"));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret of the hook").expect("a key");
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        assert_eq!(headers["webhook-signature"], format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
        let numbers: Vec<u64> = body
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64().expect("a number"))
            .collect();
        assert_eq!(id, format!("audit-{}-{}", numbers[0], numbers[numbers.len() - 1]));
    }
    assert_eq!(calls[0].0["webhook-id"], calls[1].0["webhook-id"], "what was not taken is sent again under its name");
    web.answers.lock().expect("answers").push_back((422, ""));
    say(&proxy, "refused").await;
    let counted = async {
        while proxy.metric("countersign_audit_sink_dropped_total{sink=\"hook\"}").await == 0.0 {
            tokio::task::yield_now().await;
        }
    };
    within("what was refused", counted).await;
    say(&proxy, "after that").await;
    web.until("after that").await;
}

fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("a file");
}

#[tokio::test]
async fn standard_output_gets_json_lines_and_a_new_process_goes_on_where_the_last_one_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let stdout = directory.path().join("stdout");
    let fragment = sink("out", "to = \"stdout\"");
    let launch = Launch { fragment: &fragment, stdout: Some(&stdout), ..Launch::default() };
    let mut proxy = Proxy::launch(launch).await;
    let written = async |text: &str| {
        let waiting = async {
            while !fs::read_to_string(&stdout).unwrap_or_default().contains(text) {
                tokio::task::yield_now().await;
            }
        };
        within(text, waiting).await
    };
    say(&proxy, "canary-1").await;
    written("canary-1").await;
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    proxy.relaunch(launch).await;
    say(&proxy, "canary-2").await;
    written("canary-2").await;
    let text = fs::read_to_string(&stdout).expect("standard output");
    let mut told: Vec<String> = text.lines().map(str::to_owned).collect();
    told.dedup();
    assert_eq!(told, lines(&proxy)[..told.len()]);
}
