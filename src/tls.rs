//! TLS towards clients and towards upstreams, from files to rustls configurations.
//!
//! Never does a handshake itself and never falls back to plaintext.
//! Invariant: `verify-ca` and `verify-full` accept a certificate only if it leads to the given roots, whatever the
//! server says.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{SslIdentity, SslMode, TlsConfig, UpstreamConfig};

pub mod certificate;
mod verifier;

use verifier::{Check, UpstreamVerifier};

/// What PostgreSQL clients name in ALPN (manual, "SSL Session Encryption").
pub const ALPN: &[u8] = b"postgresql";

/// Our side of TLS with clients.
#[derive(Clone)]
pub struct ClientTls {
    acceptor: TlsAcceptor,
    end_point: Option<Bytes>,
}

impl ClientTls {
    /// Does the handshake.
    ///
    /// # Errors
    /// When the client and we do not agree, or it left.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// What our certificate is to channel binding; `None` when it cannot be bound to.
    #[must_use]
    pub fn end_point(&self) -> Option<Bytes> {
        self.end_point.clone()
    }
}

/// Makes our side of TLS with clients: TLS 1.2 and 1.3. With `client_ca` they are asked for a certificate; who has none
/// is let in to authenticate otherwise, who has one that leads elsewhere or is expired is not. A client that names protocols (ALPN) must
/// name [`ALPN`]. Sessions are not resumed, as in PostgreSQL: each connection shows the certificate in force.
///
/// # Errors
/// [`TlsError`] naming the file that is missing or wrong.
pub fn acceptor(config: &TlsConfig) -> Result<ClientTls, TlsError> {
    let chain = certificates(&config.cert)?;
    let end_point = chain.first().and_then(certificate::end_point).map(Bytes::from);
    let key = private_key(&config.key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    let builder = match &config.client_ca {
        Some(path) => builder.with_client_cert_verifier(client_verifier(path)?),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|source| TlsError::KeyPair {
        cert: config.cert.clone(),
        key: config.key.clone(),
        source,
    })?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(ClientTls { acceptor: TlsAcceptor::from(Arc::new(server)), end_point })
}

fn client_verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |source| TlsError::RootCertificate { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(unusable)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    builder.allow_unauthenticated().build().map_err(|error| unusable(rustls::Error::General(error.to_string())))
}

/// Makes the connector for an upstream.
///
/// As in libpq, `prefer` and `require` accept any certificate unless a root file is given: then the chain is checked.
/// Without a root file, `verify-ca` and `verify-full` use the system's roots.
///
/// # Errors
/// [`TlsError`] naming the file that is missing or wrong.
pub fn connector(upstream: &UpstreamConfig) -> Result<TlsConnector, TlsError> {
    let root_cert = upstream.ssl_root_cert.as_deref();
    let check = match (upstream.ssl_mode, root_cert) {
        (SslMode::Disable | SslMode::Prefer | SslMode::Require, None) => Check::Nothing,
        (SslMode::Disable | SslMode::Prefer | SslMode::Require | SslMode::VerifyCa, _) => Check::Chain,
        (SslMode::VerifyFull, _) => Check::ChainAndName,
    };
    let roots = match (check, root_cert) {
        (Check::Nothing, _) => Vec::new(),
        (Check::Chain | Check::ChainAndName, Some(path)) => certificates(path)?,
        (Check::Chain | Check::ChainAndName, None) => system_roots()?,
    };
    let builder = client_builder(check, roots, root_cert)?;
    let client = match &upstream.ssl_identity {
        None => builder.with_no_client_auth(),
        Some(SslIdentity { cert, key }) => {
            let unusable = |source| TlsError::KeyPair { cert: cert.clone(), key: key.clone(), source };
            builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(unusable)?
        }
    };
    Ok(TlsConnector::from(Arc::new(client)))
}

/// Makes the connector for any other server: its certificate must lead to a root of that file, or of the system, and be made
/// for its name.
///
/// # Errors
/// [`TlsError`] naming the file that is missing or wrong.
pub fn strict_connector(ca: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let roots = ca.map_or_else(system_roots, certificates)?;
    let client = client_builder(Check::ChainAndName, roots, ca)?.with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(client)))
}

fn client_builder(
    check: Check,
    roots: Vec<CertificateDer<'static>>,
    path: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let unusable = |source| TlsError::RootCertificate { path: path.map(Path::to_owned).unwrap_or_default(), source };
    let verifier = UpstreamVerifier::new(check, roots, provider()).map_err(unusable)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(TlsError::Provider)?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(verifier)))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| TlsError::PrivateKey { path: path.to_owned(), source: plain(error) })
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate file cannot be read.
    #[error("cannot read certificates from \"{}\"", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate file has none.
    #[error("\"{}\" has no certificate in PEM form", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The private key cannot be read.
    #[error("cannot read a private key in PEM form from \"{}\"", path.display())]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Certificate and private key do not belong together, or are of a kind rustls does not support.
    #[error("cannot use certificate \"{}\" with private key \"{}\"", cert.display(), key.display())]
    KeyPair {
        /// Certificate file.
        cert: PathBuf,
        /// Key file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A root certificate is unusable.
    #[error("cannot use the root certificates in \"{}\"", path.display())]
    RootCertificate {
        /// The file; empty for the system's roots.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The system has no root certificates.
    #[error("the system has no root certificates; set sslrootcert")]
    NoSystemRoots,
    /// The cryptography provider does not support the protocol versions.
    #[error("no usable TLS protocol version")]
    Provider(#[source] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::Certificates { path: path.to_owned(), source: plain(error) };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if certificates.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(certificates) }
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let roots = rustls_native_certs::load_native_certs().certs;
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}

/// The reason without the text of the file, which may be a key.
fn plain(error: pem::Error) -> io::Error {
    match error {
        pem::Error::Io(error) => error,
        pem::Error::NoItemsFound => io::Error::new(io::ErrorKind::InvalidData, "nothing of that kind in the file"),
        _ => io::Error::new(io::ErrorKind::InvalidData, "malformed PEM"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
