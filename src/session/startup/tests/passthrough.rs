//! Clients that the upstream authenticates: a real PostgreSQL with every method.

use super::tls::psql_at;
use super::*;
use crate::config::{DatabaseAuth, Network};
use crate::tls::tests::TestCertificates;
use crate::upstream::tests::throwaway::Throwaway;

const HBA: &str = "\
local all admin         trust
host  all trust_user    all trust
host  all scram_user    all scram-sha-256
host  all limited_user  all scram-sha-256
host  all md5_user      all md5
host  all password_user all password
host  all refused_user  all reject
host  all all           all scram-sha-256
";

const ROLES: &str = "\
set password_encryption = 'scram-sha-256';
create role trust_user login; create role refused_user login password 's3cret';
create role scram_user login password 's3cret'; create role password_user login password 's3cret';
create role limited_user login password 's3cret' connection limit 0; create role alice login password 'another';
create role nologin_user nologin password 's3cret';
set password_encryption = 'md5';
create role md5_user login password 's3cret';
";

async fn start(certificates: &TestCertificates) -> Throwaway {
    let server = Throwaway::start(HBA, certificates).await;
    let mut config = tokio_postgres::Config::new();
    config.host(server.socket_directory()).port(server.port).user("admin").dbname("postgres");
    let (admin, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(ROLES).await.unwrap();
    server
}

/// `shop` is open to everybody, `vault` to nobody here; both leave authentication to the server.
fn passing_on(server: &Throwaway, ssl_mode: SslMode, tls: Option<TlsConfig>) -> StartupContext {
    passing_on_with(server, ssl_mode, tls, |_| {})
}

fn passing_on_with(
    server: &Throwaway,
    ssl_mode: SslMode,
    tls: Option<TlsConfig>,
    change: impl FnOnce(&mut Config),
) -> StartupContext {
    context_with(tls, |config| {
        change(config);
        config.limits.failures_per_address = 1000;
        for (database, group) in [(0, "public"), (2, "security-team")] {
            let database = &mut config.databases[database];
            database.auth = DatabaseAuth::Passthrough;
            database.groups = vec![group.to_owned()];
            database.upstream.port = server.port;
            database.upstream.database = "postgres".to_owned();
            database.upstream.ssl_mode = ssl_mode;
        }
    })
}

async fn log_in(shared: &StartupContext, options: &str) -> Result<Box<ClientHandshake>, String> {
    let (listener, address) = loopback();
    let (output, outcome) = tokio::join!(psql_at(address, options), serve(&listener, shared));
    match outcome {
        Ok(StartupOutcome::Session(client)) if output.status.success() => Ok(client),
        outcome => Err(format!("{}{outcome:?}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[tokio::test]
async fn the_upstream_decides_by_whatever_method_it_has() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let shared = passing_on(&server, SslMode::Disable, None);
    for user in ["scram_user", "md5_user", "password_user"] {
        let client = log_in(&shared, &format!("user={user} password=s3cret")).await.unwrap();
        assert_eq!(client.user, user);
        let upstream = client.upstream.expect("the connection that was authenticated");
        let reported = |name: &str| upstream.parameters.iter().find(|(own, _)| own == name).unwrap().1.as_str();
        assert_eq!(reported("session_authorization"), user);
        assert_eq!(reported("application_name"), format!("{user} via countersign"));
        let wrong = log_in(&shared, &format!("user={user} password=wrong")).await.unwrap_err();
        assert!(wrong.contains(&format!("FATAL:  password authentication failed for user \"{user}\"")), "{wrong}");
    }
    let check = async |options: &str, expected: &str| {
        let refusal = log_in(&shared, options).await.unwrap_err();
        assert!(refusal.contains(expected), "{options}: {refusal}");
    };
    check("user=missing password=s3cret", "FATAL:  password authentication failed for user \"missing\"").await;
    check("user=refused_user password=s3cret", "FATAL:  user \"refused_user\" is not admitted").await;
    check("user=nologin_user password=s3cret", "FATAL:  user \"nologin_user\" is not admitted").await;
    check("user=limited_user password=s3cret", "FATAL:  the database server has too many connections").await;
    // The proxy's own users have no say here.
    check(&format!("user=alice password='{PASSWORD}'"), "FATAL:  password authentication failed").await;
    log_in(&shared, "user=alice password=another").await.unwrap();
}

/// A server that trusts the proxy's host does not know who is behind it.
#[tokio::test]
async fn nobody_gets_in_whom_the_upstream_did_not_ask() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let shared = passing_on(&server, SslMode::Disable, None);
    let refusal = log_in(&shared, "user=trust_user password=any").await.unwrap_err();
    assert!(refusal.contains("FATAL:  could not authenticate to the database server"), "{refusal}");
    assert!(refusal.contains("Unchallenged"), "{refusal}");
}

#[tokio::test]
async fn a_database_is_open_to_its_groups_only() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let shared = passing_on(&server, SslMode::Disable, None);
    let closed = log_in(&shared, "user=scram_user password=s3cret dbname=vault").await.unwrap_err();
    assert!(closed.contains("FATAL:  database \"vault\" does not exist"), "{closed}");
    let wrong = log_in(&shared, "user=scram_user password=wrong dbname=vault").await.unwrap_err();
    assert!(wrong.contains("FATAL:  password authentication failed"), "{wrong}");
}

#[tokio::test]
async fn channel_binding_ends_here() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let own = || Some(certificates.config("server"));
    let check = async |ssl_mode, tls, options: &str, expected: Result<(), &str>| {
        let shared = passing_on(&server, ssl_mode, tls);
        let got = log_in(&shared, &format!("user=scram_user password=s3cret {options}")).await.map(drop);
        match (got, expected) {
            (Ok(()), Ok(())) => {}
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{options}: {got}"),
            (got, expected) => panic!("{ssl_mode:?} {options}: {got:?}, not {expected:?}"),
        }
    };
    check(SslMode::Disable, own(), "sslmode=require", Ok(())).await;
    check(SslMode::Require, None, "sslmode=disable", Ok(())).await;
    check(SslMode::Require, own(), "sslmode=disable", Ok(())).await;
    check(SslMode::Require, own(), "sslmode=require channel_binding=disable", Ok(())).await;
    let cannot = "FATAL:  channel binding cannot pass through the proxy";
    check(SslMode::Require, own(), "sslmode=require", Err(cannot)).await;
    check(SslMode::Require, own(), "sslmode=require", Err("HINT:  Connect with channel_binding=disable")).await;
    check(SslMode::Disable, own(), "sslmode=require channel_binding=require", Err("channel binding is required")).await;
}

#[tokio::test]
async fn no_password_is_asked_for_in_clear_over_a_network() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let shared = passing_on_with(&server, SslMode::Disable, None, |config| {
        config.proxy_protocol_from = vec![Network::parse("127.0.0.1").unwrap()];
    });
    let header =
        |host: &[u8; 4]| [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], host, &[127, 0, 0, 1, 0, 1, 0, 2]].concat();
    let startup = |user| startup_packet(3 << 16, &[("user", user), ("database", "shop")]);
    let (answer, _) = exchange(&shared, &[header(&[192, 0, 2, 7]), startup("password_user")].concat()).await;
    assert_eq!(field(&answer, 'M').as_deref(), Some("connection requires TLS"), "{}", answer.escape_ascii());
    let (answer, _) = exchange(&shared, &[header(&[127, 0, 0, 9]), startup("password_user")].concat()).await;
    assert_eq!(answer, b"R\0\0\0\x08\0\0\0\x03");
    let (answer, _) = exchange(&shared, &[header(&[192, 0, 2, 7]), startup("md5_user")].concat()).await;
    assert!(answer.starts_with(b"R\0\0\0\x0c\0\0\0\x05") && answer.len() == 13, "{}", answer.escape_ascii());
}
