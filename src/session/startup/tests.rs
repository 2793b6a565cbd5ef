use std::net::SocketAddr;

use postgres_protocol::password::scram_sha_256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{
    AuditConfig, LimitsConfig, ListenAddress, NotifyConfig, ReviewConfig, SslMode, TcpConfig, TlsConfig, UserConfig,
    WebConfig,
};
use crate::listener::{Listener, Sharing};
use crate::review::fixture::database;

mod binding;
mod certificate;
mod login;
mod packets;
mod passthrough;
mod proxy_header;
mod states;
mod tls;

const PASSWORD: &str = "s3cret pässword";

fn user(name: &str, groups: &[&str], password: Option<&str>) -> UserConfig {
    UserConfig {
        name: name.to_owned(),
        email: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        verifier: password.map(|password| scram_sha_256(password.as_bytes())),
        web_password: None,
        certificates: Vec::new(),
        tokens: Vec::new(),
        sessions: None,
        oidc: None,
    }
}

/// alice may use `shop` and `alice`; bob has no password; nobody may use `vault`.
fn context(tls: Option<TlsConfig>) -> StartupContext {
    context_with(tls, |_| {})
}

fn context_with(tls: Option<TlsConfig>, change: impl FnOnce(&mut Config)) -> StartupContext {
    let acceptor = tls.as_ref().map(|config| crate::tls::acceptor(config).unwrap());
    let mut config = Config {
        text: crate::config::Secret::new(String::new()),
        path: "countersign.toml".into(),
        listen: Vec::new(),
        proxy_protocol_from: Vec::new(),
        data_dir: "/nonexistent".into(),
        reuse_port: false,
        threads: None,
        drain_timeout: Duration::from_secs(1),
        limits: LimitsConfig::default(),
        tcp: TcpConfig::default(),
        web: WebConfig::at(([127, 0, 0, 1], 0).into(), String::new()),
        tls,
        store: crate::config::StoreConfig::Sqlite,
        review: ReviewConfig::default(),
        audit: AuditConfig::default(),
        notify: NotifyConfig::default(),
        users: vec![user("alice", &["engineering"], Some(PASSWORD)), user("bob", &["engineering"], None)],
        databases: vec![
            database("shop", &["dba-team", "engineering"]),
            database("alice", &["engineering"]),
            database("vault", &["security-team"]),
        ],
        policy: countersign_policy::rule::Policy::default(),
        rules_digest: String::new(),
        mask_key_missing: false,
        warnings: Vec::new(),
    };
    change(&mut config);
    StartupContext::new(Arc::new(ArcSwap::from_pointee(config)), acceptor, [7; 32])
}

fn loopback() -> (Listener, SocketAddr) {
    let listener = Listener::bind(&ListenAddress::Tcp(([127, 0, 0, 1], 0).into()), Sharing::Alone).unwrap();
    let ListenAddress::Tcp(address) = *listener.local_addr() else { panic!("it was TCP") };
    (listener, address)
}

/// Accepts one client; after a login sends the greeting and reads until the client leaves.
async fn serve(listener: &Listener, shared: &StartupContext) -> Result<StartupOutcome, StartupError> {
    let stream = listener.accept().await;
    let mut outcome = accept(stream, shared).await?;
    if let StartupOutcome::Session(client) = &mut outcome {
        let key = CancelKey { process_id: 42, secret: bytes::Bytes::from_static(b"abcd") };
        let parameters = [("server_version".to_owned(), "15.0".to_owned())];
        client.stream.write_all(&greeting(&parameters, &key)).await.unwrap();
        let _ = client.stream.read_to_end(&mut Vec::new()).await;
        let _ = client.stream.shutdown().await;
    }
    if let StartupOutcome::Cancel(_, stream) = &mut outcome {
        stream.shutdown().await.unwrap();
    }
    Ok(outcome)
}

/// Sends bytes, half-closes, and returns all that comes back, with how the negotiation ended.
async fn exchange(shared: &StartupContext, bytes: &[u8]) -> (Vec<u8>, Result<StartupOutcome, StartupError>) {
    let (listener, address) = loopback();
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    tokio::join!(client, serve(&listener, shared))
}

fn startup_packet(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut packet = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    packet.extend(body);
    packet
}

/// The text of a field of the ErrorResponse that ends the bytes.
fn field(bytes: &[u8], code: char) -> Option<String> {
    let start = bytes.windows(7).position(|window| window[0] == b'E' && window[5..] == *b"SF")?;
    let fields = bytes[start + 5..].split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    fields.filter_map(|field| field.strip_prefix(code).map(str::to_owned)).next()
}
