//! Every method and TLS mode against a real PostgreSQL.

use super::throwaway::Throwaway;
use super::*;
use crate::tls::tests::TestCertificates;

const HBA: &str = "\
local   all admin          trust
local   all password_user  password
hostnossl all tls_user all reject
host    all tls_user       all scram-sha-256
host    all trust_user     all trust
host    all password_user  all password
host    all md5_user       all md5
host    all scram_user     all scram-sha-256
host    all limited_user   all trust
host    all ident_user     all ident
hostssl all root           all cert
";

const ROLES: &str = "\
set password_encryption = 'scram-sha-256';
create role trust_user login; create role ident_user login; create role root login; create role limited_user login connection limit 0;
create role password_user login password 'upstream-s3cret'; create role scram_user login password 'upstream-s3cret';
create role tls_user login password 'upstream-s3cret';
set password_encryption = 'md5';
create role md5_user login password 'upstream-s3cret';
alter role trust_user set standard_conforming_strings = off; alter role trust_user set client_encoding = 'LATIN1';
";

/// Sends a query and returns everything up to ReadyForQuery.
async fn query(upstream: &mut Upstream, sql: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    postgres_protocol::message::frontend::query(sql, &mut out).unwrap();
    upstream.stream.write_all(&out).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(5).any(|window| window == b"Z\0\0\0\x05") {
        assert_ne!(upstream.stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    answer
}

async fn start(certificates: &TestCertificates) -> Throwaway {
    let server = Throwaway::start(HBA, certificates).await;
    let mut admin = connect(&target(&server.socket_directory(), server.port, "admin"), &[]).await.unwrap();
    let answer = query(&mut admin, ROLES).await;
    assert!(!answer.windows(6).any(|window| window == b"SERROR"), "{}", answer.escape_ascii());
    server
}

#[tokio::test]
async fn every_method_and_mode_connects() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let host = |user| target("localhost", server.port, user);
    let check = async |target: UpstreamConfig, tls: bool| {
        let name = format!("{} {:?}", target.user, target.ssl_mode);
        let settings = [("application_name".to_owned(), "alice via countersign".to_owned())];
        let mut upstream = connect(&target, &settings).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(upstream.stream.is_tls(), tls, "{name}");
        assert!(upstream.unread.is_empty());
        let reported = |name: &str| upstream.parameters.iter().find(|(own, _)| own == name).unwrap().1.as_str();
        assert_eq!((reported("client_encoding"), reported("standard_conforming_strings")), ("UTF8", "on"), "{name}");
        assert_eq!(reported("application_name"), "alice via countersign");
        let answer = query(&mut upstream, "select 'it ' || 'works'").await;
        assert!(answer.windows(8).any(|window| window == b"it works"), "{name}");
    };
    for user in ["trust_user", "password_user", "md5_user", "scram_user"] {
        check(host(user), false).await;
        check(with_tls(host(user), SslMode::Prefer, None), true).await;
    }
    check(target(&server.socket_directory(), server.port, "password_user"), false).await;
    let root = certificates.path("ca.crt");
    check(with_tls(host("tls_user"), SslMode::Require, None), true).await;
    check(with_tls(host("tls_user"), SslMode::VerifyCa, Some(&root)), true).await;
    check(with_tls(host("tls_user"), SslMode::VerifyFull, Some(&root)), true).await;
    let by_address = target("127.0.0.1", server.port, "tls_user");
    check(with_tls(by_address, SslMode::VerifyCa, Some(&root)), true).await;
}

/// No ParameterStatus tells about backslash_quote, and none is needed: with UTF8 its values differ in what is an error,
/// never in where a string ends. So it is left to the server, and to poolers that know no such parameter.
#[tokio::test]
async fn backslash_quote_never_changes_where_a_string_ends() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let target = target("localhost", server.port, "trust_user");
    let check = async |value: &str, expected: &[u8]| {
        let mut upstream = connect(&target, &[("backslash_quote".to_owned(), value.to_owned())]).await.unwrap();
        let answer = query(&mut upstream, r"select E'a\'b' || ' -- ' || 'c\', 'd'").await;
        assert!(answer.windows(expected.len()).any(|window| window == expected), "{value}: {}", answer.escape_ascii());
    };
    check("on", br"a'b -- c\").await;
    check("safe_encoding", br"a'b -- c\").await;
    check("off", b"C22P06").await;
}

#[tokio::test]
async fn our_own_certificate_is_presented() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let with = |name: &str| {
        let path = |kind: &str| certificates.path(&format!("{name}.{kind}"));
        let ssl_identity = Some(SslIdentity { cert: path("crt"), key: path("key") });
        let target = with_tls(target("localhost", server.port, "root"), SslMode::Require, None);
        UpstreamConfig { ssl_identity, password: None, ..target }
    };
    let mut upstream = connect(&with("root"), &[]).await.unwrap();
    let answer = query(&mut upstream, "select current_user || ' by certificate'").await;
    assert!(answer.windows(19).any(|window| window == b"root by certificate"), "{}", answer.escape_ascii());
    check_error(connect(&with("alice"), &[]).await, "08001", Fault::Proxy);
    let without = UpstreamConfig { ssl_identity: None, ..with("root") };
    check_error(connect(&without, &[]).await, "08001", Fault::Proxy);
}

#[tokio::test]
async fn what_postgresql_refuses_is_an_error() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let host = |user| target("localhost", server.port, user);
    let check = async |target: UpstreamConfig, sqlstate: &str, fault| {
        check_error(connect(&target, &[]).await, sqlstate, fault);
    };
    for user in ["password_user", "md5_user", "scram_user"] {
        let wrong = UpstreamConfig { password: Some(Secret::new("wrong".to_owned())), ..host(user) };
        check(wrong, "08001", Fault::Proxy).await;
        check(UpstreamConfig { password: None, ..host(user) }, "08001", Fault::Proxy).await;
        check(UpstreamConfig { password: Some(Secret::new(String::new())), ..host(user) }, "08001", Fault::Proxy).await;
    }
    check(UpstreamConfig { database: "nowhere".to_owned(), ..host("trust_user") }, "08001", Fault::Proxy).await;
    check(host("tls_user"), "08001", Fault::Proxy).await;
    check(host("missing_user"), "08001", Fault::Proxy).await;
    check(host("ident_user"), "08001", Fault::Proxy).await;
    check(host("limited_user"), "53300", Fault::Upstream).await;
    let (root, other) = (certificates.path("ca.crt"), certificates.path("other.crt"));
    let by_address = target("127.0.0.1", server.port, "tls_user");
    check(with_tls(by_address, SslMode::VerifyFull, Some(&root)), "08001", Fault::Upstream).await;
    check(with_tls(host("tls_user"), SslMode::VerifyFull, Some(&other)), "08001", Fault::Upstream).await;
    check(with_tls(host("tls_user"), SslMode::VerifyCa, Some(&other)), "08001", Fault::Upstream).await;
    let bad = [("statement_timeout".to_owned(), "soon".to_owned())];
    check_error(connect(&host("trust_user"), &bad).await, "22023", Fault::Upstream);
}

#[tokio::test]
async fn a_cancel_ends_the_statement_over_every_kind_of_route() {
    let certificates = TestCertificates::new();
    let server = start(&certificates).await;
    let root = certificates.path("ca.crt");
    let targets = [
        target(&server.socket_directory(), server.port, "admin"),
        target("localhost", server.port, "scram_user"),
        with_tls(target("localhost", server.port, "tls_user"), SslMode::VerifyFull, Some(&root)),
    ];
    for target in targets {
        let mut upstream = connect(&target, &[]).await.unwrap();
        let mut bystander = connect(&target, &[]).await.unwrap();
        let cancel = upstream.cancel.clone();
        // The lock makes the statement wait for as long as it takes, and shows that it runs before the cancel is
        // sent.
        query(&mut bystander, "select pg_advisory_lock(7)").await;
        let cancelled = async {
            let waiting = "select count(*) || ' waiting' from pg_locks where locktype = 'advisory' and not granted";
            while !query(&mut bystander, waiting).await.windows(9).any(|window| window == b"1 waiting") {}
            cancel.cancel().await.unwrap();
        };
        let both = async { tokio::join!(query(&mut upstream, "select pg_advisory_lock(7)"), cancelled) };
        let (answer, ()) = tokio::time::timeout(TIMEOUT, both).await.unwrap();
        assert!(answer.windows(6).any(|window| window == b"C57014"), "{}", answer.escape_ascii());
        assert!(!format!("{cancel:?}").contains("secret"));
    }
}
