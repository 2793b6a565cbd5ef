//! Real clients that log in, or fail to.

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use tokio_postgres::NoTls;

use super::*;

/// Logs in with tokio-postgres; returns SQLSTATE and message on failure.
async fn log_in(
    shared: &StartupContext,
    config: &tokio_postgres::Config,
) -> (Result<(), (String, String)>, Result<StartupOutcome, StartupError>) {
    let (listener, address) = loopback();
    let client = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let connected = config.connect_raw(stream, NoTls).await;
        connected.map(|_| ()).map_err(|error| {
            let error = error.as_db_error().expect("an ErrorResponse");
            (error.code().code().to_owned(), error.message().to_owned())
        })
    };
    tokio::join!(client, serve(&listener, shared))
}

fn login(user: &str, password: &str, database: Option<&str>) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.user(user).password(password);
    if let Some(database) = database {
        config.dbname(database);
    }
    config
}

#[tokio::test]
async fn the_right_password_makes_a_session() {
    let mut config = login("alice", PASSWORD, Some("shop"));
    config.application_name("tests").options("-c statement_timeout=5s");
    let (client, outcome) = log_in(&context(None), &config).await;
    assert_eq!(client, Ok(()));
    let Ok(StartupOutcome::Session(client)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((client.user.as_str(), client.database.as_str(), client.tls), ("alice", "shop", false));
    assert!(client.peer.starts_with("127.0.0.1:") && client.unread.is_empty());
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected =
        [setting("statement_timeout", "5s"), setting("application_name", "tests"), setting("client_encoding", "UTF8")];
    assert_eq!(client.parameters, expected);
}

#[tokio::test]
async fn the_database_is_the_user_unless_named() {
    let (client, outcome) = log_in(&context(None), &login("alice", PASSWORD, None)).await;
    assert_eq!(client, Ok(()));
    let Ok(StartupOutcome::Session(client)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(client.database, "alice");
}

#[tokio::test]
async fn failures_tell_no_more_than_postgresql() {
    let shared = context(None);
    let check = async |config: tokio_postgres::Config, sqlstate: &str, message: &str| {
        let (client, outcome) = log_in(&shared, &config).await;
        assert_eq!(client, Err((sqlstate.to_owned(), message.to_owned())));
        assert!(outcome.is_err());
    };
    let password = |user: &str| format!("password authentication failed for user \"{user}\"");
    check(login("alice", "wrong", Some("shop")), "28P01", &password("alice")).await;
    check(login("Alice", PASSWORD, Some("shop")), "28P01", &password("Alice")).await;
    check(login("bob", "", Some("shop")), "28P01", &password("bob")).await;
    check(login("eve", PASSWORD, Some("shop")), "28P01", &password("eve")).await;
    // Databases are spoken of only after authentication, and then alike whether they are missing or closed.
    check(login("eve", PASSWORD, Some("nowhere")), "28P01", &password("eve")).await;
    check(login("alice", "wrong", Some("vault")), "28P01", &password("alice")).await;
    check(login("alice", PASSWORD, Some("nowhere")), "3D000", "database \"nowhere\" does not exist").await;
    check(login("alice", PASSWORD, Some("vault")), "3D000", "database \"vault\" does not exist").await;
    let mut role = login("alice", PASSWORD, Some("shop"));
    role.options("-c role=admin");
    check(role, "22023", "parameter \"role\" cannot be set at connection start").await;
    let mut latin1 = login("alice", PASSWORD, Some("shop"));
    latin1.options("-c client_encoding=LATIN1");
    check(latin1, "22023", "invalid value for parameter \"client_encoding\": \"LATIN1\"").await;
}

#[tokio::test]
async fn bytes_behind_the_login_are_kept() {
    let (listener, address) = loopback();
    let shared = context(None);
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut out = startup_packet(3 << 16, &[("user", "alice"), ("database", "shop")]).as_slice().into();
        let mut scram = ScramSha256::new(PASSWORD.as_bytes(), ChannelBinding::unsupported());
        frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut out).unwrap();
        stream.write_all(&out).await.unwrap();
        let mut sasl = [0; 24];
        stream.read_exact(&mut sasl).await.unwrap();
        let mut header = [0; 9];
        stream.read_exact(&mut header).await.unwrap();
        let mut server_first = vec![0; usize::from(header[4]) - 8];
        stream.read_exact(&mut server_first).await.unwrap();
        scram.update(&server_first).unwrap();
        out.clear();
        frontend::sasl_response(scram.message(), &mut out).unwrap();
        frontend::query("select 1", &mut out).unwrap();
        stream.write_all(&out).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let (answer, outcome) = tokio::join!(client, serve(&listener, &shared));
    let Ok(StartupOutcome::Session(client)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(client.unread[..], b"Q\0\0\0\x0dselect 1\0"[..]);
    assert!(answer.starts_with(b"R\0\0\0\x36\0\0\0\x0cv=") && answer.ends_with(b"Z\0\0\0\x05I"));
}

#[tokio::test]
async fn an_address_may_fail_so_often() {
    let shared = context_with(None, |config| config.limits.failures_per_address = 3);
    let attempt = async |user: &str, password: &str| {
        let (client, _) = log_in(&shared, &login(user, password, Some("shop"))).await;
        client.err().map(|(sqlstate, message)| format!("{sqlstate} {message}"))
    };
    let refused = Some("28000 too many failed authentications from this address");
    for _ in 0..2 {
        for user in ["alice", "eve"] {
            assert!(attempt(user, "wrong").await.is_some_and(|error| error.starts_with("28P01")));
        }
        assert_eq!(attempt("alice", PASSWORD).await, None, "a success is a new beginning");
    }
    for user in ["eve", "alice", "bob"] {
        assert!(attempt(user, "wrong").await.is_some_and(|error| error.starts_with("28P01")));
    }
    assert_eq!(attempt("eve", "wrong").await.as_deref(), refused);
    assert_eq!(attempt("alice", "wrong").await.as_deref(), refused);
    assert_eq!(attempt("alice", PASSWORD).await.as_deref(), refused, "nothing is learned from it");
}

#[tokio::test]
async fn failed_logins_are_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let audit = Arc::new(crate::audit::Audit::open(directory.path(), jiff::Timestamp::UNIX_EPOCH).unwrap());
    let shared = context(None).with_audit(audit);
    let long = "é".repeat(60);
    for config in [
        login("alice", "wrong", Some("shop")),
        login("eve", PASSWORD, None),
        login("alice", PASSWORD, Some("vault")),
        login(&long, PASSWORD, Some("shop")),
    ] {
        assert!(log_in(&shared, &config).await.1.is_err());
    }
    assert!(log_in(&shared, &login("alice", PASSWORD, Some("shop"))).await.1.is_ok());
    drop(shared);
    let lines = std::fs::read_to_string(directory.path().join("000001.jsonl")).unwrap();
    let told: Vec<(String, String, String)> = lines
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            assert!(text("client_address").starts_with("127.0.0.1:") && !line.to_string().contains(PASSWORD));
            assert_eq!(text("kind"), "login_failed");
            (text("user"), text("database"), text("reason"))
        })
        .collect();
    let wrong = "the password is wrong, or there is no such user";
    let expected = [
        ("alice", "shop", wrong),
        ("eve", "eve", wrong),
        ("alice", "vault", "the database is not open to the user"),
        (&"é".repeat(31), "shop", wrong),
    ];
    assert_eq!(told, expected.map(|(user, database, why)| (user.to_owned(), database.to_owned(), why.to_owned())));
}
