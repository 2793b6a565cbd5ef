//! The proxy with [tls], as an operator sets it up: certificates of both sides, and cancels by whichever way clients
//! send them.

use std::fs;
use std::process::Output;

use rustix::process::{Pid, Signal};

use crate::support::certificates::Certificates;
use crate::support::proxy::{Launch, Proxy};
use crate::support::within;

async fn psql(proxy: &Proxy, conninfo: &str, command: &str) -> Output {
    let mut psql = proxy.psql_command("alice", &["-w", "-At", "-d", conninfo, "-c", command]);
    within("psql", psql.output()).await.expect("psql")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[tokio::test]
async fn psql_gets_in_by_password_and_by_certificate() {
    let certificates = Certificates::make();
    let proxy = Proxy::start(&certificates.fragment()).await;
    let check = async |options: &str, expected: Result<&str, &str>| {
        let output =
            psql(&proxy, &certificates.conninfo(options), "SELECT 'in as ' || current_setting('application_name')")
                .await;
        match expected {
            Ok(expected) => assert_eq!(text(&output.stdout), expected, "{options}: {}", text(&output.stderr)),
            Err(expected) => assert!(text(&output.stderr).contains(expected), "{options}: {}", text(&output.stderr)),
        }
    };
    let alice = "in as alice via countersign";
    check("sslmode=verify-full channel_binding=require", Ok(alice)).await;
    check("sslmode=disable", Err("FATAL:  connection requires TLS")).await;
    let own = format!("sslcert={} sslkey={}", certificates.path("grace.crt"), certificates.path("grace.key"));
    let grace = "in as grace via countersign";
    check(&format!("sslmode=verify-full user=grace {own}"), Ok(grace)).await;
    check(&format!("sslmode=verify-full user=alice {own}"), Ok(alice)).await;
    check("sslmode=verify-full user=grace", Err("FATAL:  password authentication failed for user \"grace\"")).await;
    assert!((proxy.metric("countersign_auth_failures_total{outcome=\"failed\"}").await - 1.0).abs() < 0.5);
}

/// libpq before version 17 sends its CancelRequest without TLS, whatever the connection uses.
#[tokio::test]
async fn ctrl_c_works_where_tls_is_required() {
    let certificates = Certificates::make();
    let proxy = Proxy::start(&certificates.fragment()).await;
    let conninfo = certificates.conninfo("sslmode=verify-full");
    let mut psql = proxy.psql_command("alice", &["-w", "-d", &conninfo, "-c", "SELECT pg_advisory_lock(8872)"]);
    let direct = proxy.database.direct().await;
    direct.batch_execute("SELECT pg_advisory_lock(8872)").await.expect("lock");
    let running = psql.spawn().expect("psql");
    let process = Pid::from_raw(i32::try_from(running.id().expect("pid")).expect("pid")).expect("pid");
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 8872";
    while direct.query_one(waiting, &[]).await.expect("pg_locks").get::<_, i64>(0) == 0 {}
    rustix::process::kill_process(process, Signal::INT).expect("Ctrl-C");
    let output = within("psql", running.wait_with_output()).await.expect("psql");
    assert!(text(&output.stderr).contains("canceling statement due to user request"), "{}", text(&output.stderr));
}

/// What a load balancer says of its clients is in the audit trail.
#[tokio::test]
async fn the_audit_trail_names_the_client_behind_a_load_balancer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let launch = Launch { top: "proxy_protocol_from = \"127.0.0.1\"\n", ..Launch::default() };
    let proxy = Proxy::launch(launch).await;
    let mut stream = tokio::net::TcpStream::connect(proxy.address()).await.expect("connection");
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x30\x39\x19\x8f";
    stream.write_all(header).await.expect("sending");
    let mut settings = tokio_postgres::Config::new();
    settings.user("alice").password(crate::support::config::password("alice")).dbname("shop");
    let (client, connection) = settings.connect_raw(stream, tokio_postgres::NoTls).await.expect("session");
    let connection = tokio::spawn(connection);
    client.simple_query("SELECT 1").await.expect("SELECT");
    drop(client);
    within("end of the session", connection).await.expect("task").expect("connection");
    let trail = || {
        let segments = fs::read_dir(proxy.data_dir().join("audit")).expect("audit trail").flatten();
        segments.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default()).collect::<String>()
    };
    // Records are written in groups, a moment later.
    let recorded = async {
        while !trail().contains("192.0.2.7:12345") {
            tokio::task::yield_now().await;
        }
    };
    within("record of the session", recorded).await;
    // Without a header nobody is let in from there, not even to cancel.
    let mut bare = tokio::net::TcpStream::connect(proxy.address()).await.expect("connection");
    bare.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.expect("sending");
    let mut answer = Vec::new();
    drop(within("refusal", bare.read_to_end(&mut answer)).await);
    assert!(text(&answer).contains("connection does not begin with a PROXY protocol header"), "{}", text(&answer));
}
