//! Certificates for the proxy and its clients.
//!
//! Never outlives the test. Invariant: private keys can be read by their owner only, as libpq demands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;

/// A CA, the certificate of the proxy, and grace's.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them, in a directory of their own.
    pub fn make() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("certificate");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("mode");
        };
        let key = || KeyPair::generate().expect("key");
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "CA of the tests");
        let ca = CertifiedIssuer::self_signed(ca, key()).expect("CA");
        write("ca.crt", ca.pem());
        let mut grace = CertificateParams::default();
        grace.distinguished_name = DistinguishedName::new();
        grace.subject_alt_names = vec![SanType::Rfc822Name("grace@example.com".try_into().expect("address"))];
        let server = CertificateParams::new(["localhost".to_owned()]).expect("name");
        for (name, params) in [("server", server), ("grace", grace)] {
            let key = key();
            write(&format!("{name}.crt"), params.signed_by(&key, &ca).expect("certificate").pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Self(directory)
    }

    /// Where `ca.crt`, `server.crt`, `server.key`, `grace.crt` and `grace.key` are.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// `[tls]`, and grace, who has no password.
    pub fn fragment(&self) -> String {
        format!(
            r#"
[tls]
cert = "{}"
key = "{}"
client_ca = "{}"

[[users]]
name = "grace"
groups = ["engineering"]
certificate = "grace@example.com"
"#,
            self.path("server.crt"),
            self.path("server.key"),
            self.path("ca.crt")
        )
    }

    /// How to connect to `localhost` and check who answers there.
    pub fn conninfo(&self, options: &str) -> String {
        format!("host=localhost hostaddr=127.0.0.1 dbname=shop sslrootcert={} {options}", self.path("ca.crt"))
    }
}
