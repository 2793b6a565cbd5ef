use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType};
use rustls_pki_types::ServerName;
use tempfile::TempDir;

use super::*;

/// Certificates for tests, as files in one directory.
pub(crate) struct TestCertificates {
    directory: TempDir,
}

impl TestCertificates {
    /// `p384` and `ed25519`, self-signed for `localhost` with those algorithms;
    /// `ca.crt`; `server.crt` and `server.key` for `localhost`, signed by it; `self.crt` and `self.key`, its own CA;
    /// `alice`, `mallory` and `root`, client certificates signed by it, with that common name and a mail address
    /// (`alice@example.com`), and `forged-…`, the same signed by themselves;
    /// `expired.crt` and `expired.key`, likewise; `other.crt`, a CA that signed nothing.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let ca = CertifiedIssuer::self_signed(authority("test CA"), KeyPair::generate().unwrap()).unwrap();
        write("ca.crt", ca.pem());
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        write("server.crt", server.pem());
        write("server.key", key.serialize_pem());
        for (name, common_name, alternative) in [
            ("alice", "alice", "alice@example.com"),
            ("mallory", "mallory", "m@example.com"),
            ("root", "root", "x@y.z"),
        ] {
            let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, common_name);
            params.subject_alt_names = vec![SanType::Rfc822Name(alternative.try_into().unwrap())];
            write(&format!("{name}.crt"), params.signed_by(&key, &ca).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
            write(&format!("forged-{name}.crt"), params.self_signed(&key).unwrap().pem());
        }
        for (name, algorithm) in [("p384", &rcgen::PKCS_ECDSA_P384_SHA384), ("ed25519", &rcgen::PKCS_ED25519)] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            write(&format!("{name}.crt"), params.self_signed(&key).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        let mut own = authority("self-signed");
        own.subject_alt_names = CertificateParams::new(["localhost".to_owned()]).unwrap().subject_alt_names;
        let key = KeyPair::generate().unwrap();
        write("self.crt", own.self_signed(&key).unwrap().pem());
        write("self.key", key.serialize_pem());
        own.not_after = rcgen::date_time_ymd(2001, 1, 1);
        own.not_before = rcgen::date_time_ymd(2000, 1, 1);
        write("expired.crt", own.self_signed(&key).unwrap().pem());
        write("expired.key", key.serialize_pem());
        write("other.crt", authority("other CA").self_signed(&KeyPair::generate().unwrap()).unwrap().pem());
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `[tls]` with `NAME.crt` and `NAME.key`.
    pub(crate) fn config(&self, name: &str) -> TlsConfig {
        TlsConfig {
            cert: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
            client_ca: None,
            require: false,
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// An upstream with that TLS mode and root file.
pub(crate) fn upstream(ssl_mode: SslMode, ssl_root_cert: Option<PathBuf>) -> UpstreamConfig {
    UpstreamConfig {
        host: "localhost".to_owned(),
        port: 5432,
        database: "shop".to_owned(),
        user: "proxy".to_owned(),
        password: None,
        ssl_mode,
        ssl_root_cert,
        ssl_identity: None,
        connect_timeout: Duration::from_secs(60),
        tcp: crate::config::TcpConfig::default(),
    }
}

/// Does both handshakes over a pipe; returns whether the client was satisfied.
async fn handshake(certificates: &TestCertificates, server: &str, client: (SslMode, Option<&str>), host: &str) -> bool {
    let acceptor = acceptor(&certificates.config(server)).unwrap();
    let root = client.1.map(|name| certificates.path(name));
    let connector = connector(&upstream(client.0, root)).unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let both = async { tokio::join!(connector.connect(name, near), acceptor.acceptor.accept(far)) };
    let (client, _server) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    client.is_ok()
}

#[tokio::test]
async fn each_mode_checks_what_libpq_checks() {
    let certificates = TestCertificates::new();
    let check = async |server, mode, root, host, expected| {
        let accepted = handshake(&certificates, server, (mode, root), host).await;
        assert_eq!(accepted, expected, "{server} {mode:?} {root:?} {host}");
    };
    check("server", SslMode::Prefer, None, "localhost", true).await;
    check("server", SslMode::Require, None, "elsewhere", true).await;
    check("expired", SslMode::Require, None, "elsewhere", true).await;
    check("server", SslMode::Require, Some("ca.crt"), "elsewhere", true).await;
    check("server", SslMode::Require, Some("other.crt"), "localhost", false).await;
    check("server", SslMode::VerifyCa, Some("ca.crt"), "elsewhere", true).await;
    check("server", SslMode::VerifyCa, Some("other.crt"), "localhost", false).await;
    check("server", SslMode::VerifyFull, Some("ca.crt"), "localhost", true).await;
    check("server", SslMode::VerifyFull, Some("ca.crt"), "elsewhere", false).await;
    check("server", SslMode::VerifyFull, Some("ca.crt"), "127.0.0.1", false).await;
    check("server", SslMode::VerifyFull, Some("other.crt"), "localhost", false).await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_only_when_it_is_the_root() {
    let certificates = TestCertificates::new();
    let check = async |server, mode, root, host, expected| {
        let accepted = handshake(&certificates, server, (mode, Some(root)), host).await;
        assert_eq!(accepted, expected, "{server} {mode:?} {root} {host}");
    };
    check("self", SslMode::VerifyFull, "self.crt", "localhost", true).await;
    check("self", SslMode::VerifyFull, "self.crt", "elsewhere", false).await;
    check("self", SslMode::VerifyCa, "self.crt", "elsewhere", true).await;
    check("self", SslMode::VerifyCa, "ca.crt", "localhost", false).await;
    check("expired", SslMode::VerifyCa, "expired.crt", "localhost", false).await;
}

#[test]
fn errors_name_the_file() {
    #[track_caller]
    fn check<T>(result: Result<T, TlsError>, expected: &str) {
        let Err(error) = result else { panic!("expected: {expected}") };
        let message = error.to_string();
        assert!(message.contains(expected), "{message}");
    }
    let certificates = TestCertificates::new();
    std::fs::write(certificates.path("empty.crt"), "").unwrap();
    std::fs::write(certificates.path("broken.key"), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0").unwrap();
    let with = |cert: &str, key: &str| {
        acceptor(&TlsConfig {
            cert: certificates.path(cert),
            key: certificates.path(key),
            client_ca: None,
            require: false,
        })
    };
    check(with("missing.crt", "server.key"), "missing.crt\"");
    check(with("empty.crt", "server.key"), "empty.crt\" has no certificate");
    check(with("server.key", "server.key"), "server.key\" has no certificate");
    check(with("server.crt", "missing.key"), "missing.key\"");
    check(with("server.crt", "server.crt"), "server.crt\"");
    check(with("server.crt", "broken.key"), "broken.key\"");
    check(with("server.crt", "self.key"), "self.key\"");
    let with_root = |mode, root: &str| connector(&upstream(mode, Some(certificates.path(root))));
    check(with_root(SslMode::VerifyCa, "missing.crt"), "missing.crt\"");
    check(with_root(SslMode::VerifyFull, "empty.crt"), "empty.crt\" has no certificate");
    let with_identity = |cert: &str, key: &str| {
        let ssl_identity = Some(SslIdentity { cert: certificates.path(cert), key: certificates.path(key) });
        connector(&UpstreamConfig { ssl_identity, ..upstream(SslMode::Require, None) })
    };
    check(with_identity("missing.crt", "alice.key"), "missing.crt\"");
    check(with_identity("alice.crt", "missing.key"), "missing.key\"");
    check(with_identity("alice.crt", "self.key"), "self.key\"");
    let with_ca =
        |ca: &str| acceptor(&TlsConfig { client_ca: Some(certificates.path(ca)), ..certificates.config("server") });
    check(with_ca("missing.crt"), "missing.crt\"");
    check(with_ca("empty.crt"), "empty.crt\" has no certificate");
}
