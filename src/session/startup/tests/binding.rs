//! Channel binding: with psql, and with somebody in the middle.

use rustls_pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio_rustls::TlsStream;

use super::tls::psql_at;
use super::*;
use crate::tls::tests::TestCertificates;

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
/// AuthenticationSASL as we send it over TLS, and as somebody would make it look who has no use for channel binding.
const OFFER: &[u8] = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
const LESS: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

/// What the man in the middle does besides showing his own certificate.
#[derive(Clone, Copy)]
enum Man {
    Relays,
    TakesTheOfferOut,
}

/// Ends the client's TLS with another certificate and begins one of his own with the proxy.
async fn stand_between(listener: TcpListener, proxy: SocketAddr, certificates: &TestCertificates, man: Man) {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut upstream = TcpStream::connect(proxy).await.unwrap();
    let mut request = [0; 8];
    client.read_exact(&mut request).await.unwrap();
    assert_eq!(request, *SSL_REQUEST);
    client.write_all(b"S").await.unwrap();
    upstream.write_all(SSL_REQUEST).await.unwrap();
    assert_eq!(upstream.read_u8().await.unwrap(), b'S');
    let own = crate::tls::acceptor(&certificates.config("self")).unwrap();
    let connector = crate::tls::connector(&crate::tls::tests::upstream(SslMode::Require, None)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let (client, upstream) = tokio::join!(own.accept(client), connector.connect(name, upstream));
    let (mut client, mut upstream) = (TlsStream::Server(client.unwrap()), TlsStream::Client(upstream.unwrap()));
    let mut startup = vec![0; 4];
    client.read_exact(&mut startup).await.unwrap();
    startup.resize(usize::from(startup[3]), 0);
    client.read_exact(&mut startup[4..]).await.unwrap();
    upstream.write_all(&startup).await.unwrap();
    upstream.flush().await.unwrap();
    let mut offer = vec![0; OFFER.len()];
    upstream.read_exact(&mut offer).await.unwrap();
    assert_eq!(offer.escape_ascii().to_string(), OFFER.escape_ascii().to_string());
    client.write_all(if matches!(man, Man::Relays) { OFFER } else { LESS }).await.unwrap();
    client.flush().await.unwrap();
    // How it ends is for the two others to say.
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}

#[tokio::test]
async fn psql_binds_to_our_certificate() {
    let certificates = TestCertificates::new();
    let check = async |certificate: &str, options: &str, expected: Result<(), &str>| {
        let shared = context(Some(certificates.config(certificate)));
        let (listener, address) = loopback();
        let (output, _) = tokio::join!(psql_at(address, options), serve(&listener, &shared));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), expected.is_ok(), "{certificate} {options}: {stderr}");
        assert!(stderr.contains(expected.err().unwrap_or_default()), "{stderr}");
    };
    check("server", "sslmode=require channel_binding=require", Ok(())).await;
    check("p384", "sslmode=require channel_binding=require", Ok(())).await;
    check("server", "sslmode=require channel_binding=prefer", Ok(())).await;
    check("server", "sslmode=require channel_binding=disable", Ok(())).await;
    check("server", "sslmode=disable channel_binding=prefer", Ok(())).await;
    check("server", "sslmode=disable channel_binding=require", Err("channel binding required")).await;
    // An Ed25519 signature has no hash function, and RFC 5929 nothing to say about it.
    check("ed25519", "sslmode=require channel_binding=prefer", Ok(())).await;
    check("ed25519", "sslmode=require channel_binding=require", Err("channel binding is required")).await;
}

#[tokio::test]
async fn a_man_in_the_middle_is_noticed() {
    let certificates = TestCertificates::new();
    let shared = context(Some(certificates.config("server")));
    let check = async |man: Man, options: &str, expected: &str| {
        let (listener, address) = loopback();
        let middle = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = middle.local_addr().unwrap();
        let man = stand_between(middle, address, &certificates, man);
        let (output, (), outcome) = tokio::join!(psql_at(at, options), man, serve(&listener, &shared));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(expected), "{stderr}");
        assert!(!matches!(outcome, Ok(StartupOutcome::Session(_))), "{outcome:?}");
    };
    let mismatch = "FATAL:  SCRAM channel binding check failed";
    check(Man::Relays, "sslmode=require channel_binding=require", mismatch).await;
    check(Man::Relays, "sslmode=require channel_binding=prefer", mismatch).await;
    let negotiation = "FATAL:  SCRAM channel binding negotiation error";
    check(Man::TakesTheOfferOut, "sslmode=require channel_binding=prefer", negotiation).await;
    check(Man::TakesTheOfferOut, "sslmode=require channel_binding=require", "channel binding is required").await;
}
