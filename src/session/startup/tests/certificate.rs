//! Client certificates, with psql.

use super::tls::psql_at;
use super::*;
use crate::tls::tests::TestCertificates;

/// alice has a password and a certificate, bob only a certificate.
fn context_with_certificates(certificates: &TestCertificates) -> StartupContext {
    let tls = TlsConfig { client_ca: Some(certificates.path("ca.crt")), ..certificates.config("server") };
    context_with(Some(tls), |config| {
        config.users[0].certificates = vec!["alice@example.com".to_owned()];
        config.users[1].certificates = vec!["root".to_owned(), "bob".to_owned()];
    })
}

#[tokio::test]
async fn a_certificate_stands_for_its_user_only() {
    let certificates = TestCertificates::new();
    let shared = context_with_certificates(&certificates);
    let path = |name: &str| certificates.path(name).display().to_string();
    let check = async |user: &str, certificate: Option<&str>, password: &str, expected: Result<(), &str>| {
        let (listener, address) = loopback();
        let presented = certificate.map_or_else(
            || "sslcert=/nonexistent".to_owned(),
            |name| {
                format!("sslcert={} sslkey={}", path(&format!("{name}.crt")), path(&format!("{}.key", key_of(name))))
            },
        );
        let options = format!("sslmode=require user={user} password='{password}' {presented}");
        let (output, outcome) = tokio::join!(psql_at(address, &options), serve(&listener, &shared));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), expected.is_ok(), "{user} {certificate:?}: {stderr}");
        assert_eq!(matches!(outcome, Ok(StartupOutcome::Session(_))), expected.is_ok(), "{outcome:?}");
        assert!(stderr.contains(expected.err().unwrap_or_default()), "{stderr}");
    };
    check("alice", Some("alice"), "wrong", Ok(())).await;
    check("alice", None, PASSWORD, Ok(())).await;
    check("alice", Some("mallory"), PASSWORD, Ok(())).await;
    check("bob", Some("root"), "wrong", Ok(())).await;
    let failed = |user: &str| format!("FATAL:  password authentication failed for user \"{user}\"");
    let detail = "DETAIL:  The client certificate does not stand for this user, so a password was asked for.";
    check("alice", Some("mallory"), "wrong", Err(detail)).await;
    check("alice", None, "wrong", Err(&failed("alice"))).await;
    check("bob", Some("alice"), "wrong", Err(&failed("bob"))).await;
    check("bob", Some("alice"), "wrong", Err(detail)).await;
    check("bob", None, "wrong", Err(&failed("bob"))).await;
    check("eve", Some("alice"), "wrong", Err(detail)).await;
    check("Bob", Some("root"), "wrong", Err(&failed("Bob"))).await;
    // Whoever signs for himself does not come as far as a name.
    check("alice", Some("forged-alice"), PASSWORD, Err("alert unknown ca")).await;
    check("bob", Some("forged-root"), "wrong", Err("alert unknown ca")).await;
}

fn key_of(certificate: &str) -> &str {
    certificate.strip_prefix("forged-").unwrap_or(certificate)
}

#[tokio::test]
async fn nobody_is_asked_for_a_certificate_without_a_ca() {
    let certificates = TestCertificates::new();
    let shared = context_with(Some(certificates.config("server")), |config| {
        config.users[1].certificates = vec!["root".to_owned()];
    });
    let (listener, address) = loopback();
    let path = |name: &str| certificates.path(name).display().to_string();
    let options = format!("sslmode=require user=bob sslcert={} sslkey={}", path("root.crt"), path("root.key"));
    let (output, outcome) = tokio::join!(psql_at(address, &options), serve(&listener, &shared));
    assert!(!output.status.success() && outcome.is_err(), "{outcome:?}");
}
