use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::config::{Secret, SslIdentity, SslMode};
use crate::fault::Fault;

mod postgres;
mod scripted;
pub(crate) mod throwaway;

const PASSWORD: &str = "upstream-s3cret";

/// Anything longer means that something hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

fn target(host: &str, port: u16, user: &str) -> UpstreamConfig {
    UpstreamConfig {
        host: host.to_owned(),
        port,
        database: "postgres".to_owned(),
        user: user.to_owned(),
        password: Some(Secret::new(PASSWORD.to_owned())),
        ssl_mode: SslMode::Disable,
        ssl_root_cert: None,
        ssl_identity: None,
        connect_timeout: TIMEOUT,
        tcp: crate::config::TcpConfig::default(),
    }
}

fn with_tls(target: UpstreamConfig, ssl_mode: SslMode, root: Option<&Path>) -> UpstreamConfig {
    UpstreamConfig { ssl_mode, ssl_root_cert: root.map(Path::to_owned), ..target }
}

/// Nothing a client reads may name the upstream.
#[track_caller]
fn check_error(result: Result<Upstream, UpstreamError>, sqlstate: &str, fault: Fault) {
    let error = result.expect_err("connecting must fail");
    let fields = error.fields();
    assert_eq!((fields.severity, fields.sqlstate, error.fault()), ("FATAL", sqlstate, fault), "{error:?}");
    let shown = format!("{fields:?} {error} {error:?}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    let shown = format!("{fields:?}");
    for secret in ["127.0.0.1", "localhost", "_user", "postgres"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
