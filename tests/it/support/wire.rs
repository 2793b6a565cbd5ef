//! A client on the level of protocol messages.
//!
//! Never interprets more than it must to log in. Invariant: what is read is what was on the wire, in order.

use std::net::SocketAddr;

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{config, within};

/// One connection.
pub struct WireClient {
    stream: TcpStream,
    /// Process id and secret key of BackendKeyData, where the secret has four bytes.
    pub key: (i32, i32),
    /// Process id and secret key of BackendKeyData.
    pub long_key: (i32, Vec<u8>),
}

/// One message from the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// First byte: which message it is.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Frame {
    /// A field of an ErrorResponse or NoticeResponse: `C` is SQLSTATE, `M` the message, `D` DETAIL, `H` HINT.
    pub fn field(&self, code: u8) -> Option<String> {
        let mut fields = self.body.split(|byte| *byte == 0);
        fields.find_map(|field| {
            let (first, text) = field.split_first()?;
            (*first == code).then(|| String::from_utf8_lossy(text).into_owned())
        })
    }
}

/// The tags, one character each, without notices: which messages came, in order.
pub fn tags(frames: &[Frame]) -> String {
    frames.iter().filter(|frame| frame.tag != b'N').map(|frame| char::from(frame.tag)).collect()
}

impl WireClient {
    /// Connects to the database `shop` and logs in with SCRAM-SHA-256.
    pub async fn connect(address: SocketAddr, user: &str) -> Self {
        Self::connect_as(address, user, 0).await
    }

    /// Likewise, with another minor version of protocol 3.
    pub async fn connect_as(address: SocketAddr, user: &str, minor: u8) -> Self {
        let stream = TcpStream::connect(address).await.expect("connection");
        let mut client = Self { stream, key: (0, 0), long_key: (0, Vec::new()) };
        let mut startup = BytesMut::new();
        frontend::startup_message([("user", user), ("database", "shop")], &mut startup).expect("StartupMessage");
        startup[7] = minor;
        client.send(&startup).await;
        client.log_in(&config::password(user)).await;
        client.greeted().await
    }

    /// Connects to any server and database.
    pub async fn connect_to(address: SocketAddr, user: &str, password: &str, database: &str) -> Self {
        Self::connect_with(address, &[("user", user), ("database", database)], password).await
    }

    /// Connects to any server with these startup parameters.
    pub async fn connect_with(address: SocketAddr, parameters: &[(&str, &str)], password: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("connection");
        let mut client = Self { stream, key: (0, 0), long_key: (0, Vec::new()) };
        let mut startup = BytesMut::new();
        frontend::startup_message(parameters.iter().copied(), &mut startup).expect("StartupMessage");
        client.send(&startup).await;
        client.log_in(password).await;
        client.greeted().await
    }

    async fn greeted(mut self) -> Self {
        let client = &mut self;
        for frame in client.until_ready().await {
            if let (b'K', Some((process_id, secret))) = (frame.tag, frame.body.split_first_chunk()) {
                let process_id = i32::from_be_bytes(*process_id);
                client.long_key = (process_id, secret.to_vec());
                client.key = (process_id, secret.try_into().map_or(0, i32::from_be_bytes));
            }
        }
        self
    }

    /// The socket itself; everything that was received has been read.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    async fn log_in(&mut self, password: &str) {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let frame = self.frame().await;
            assert_eq!(char::from(frame.tag), 'R', "authentication: {frame:?}");
            let (kind, data) = frame.body.split_at(4);
            let mut answer = BytesMut::new();
            match u32::from_be_bytes(kind.try_into().expect("four bytes")) {
                0 => return,
                10 => frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut answer).expect("response"),
                11 => {
                    scram.update(data).expect("server-first message");
                    frontend::sasl_response(scram.message(), &mut answer).expect("response");
                }
                12 => scram.finish(data).expect("server signature"),
                other => panic!("authentication request {other}"),
            }
            self.send(&answer).await;
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sending");
    }

    /// The next message, or `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 5];
        within("a message", self.stream.read_exact(&mut head)).await.ok()?;
        let [tag, a, b, c, d] = head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).expect("length");
        let mut body = vec![0; length - 4];
        within("a message's body", self.stream.read_exact(&mut body)).await.ok()?;
        Some(Frame { tag, body })
    }

    /// The next message.
    pub async fn frame(&mut self) -> Frame {
        self.next().await.expect("the connection ended")
    }

    /// Everything up to and including ReadyForQuery.
    pub async fn until_ready(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            let ready = frame.tag == b'Z';
            frames.push(frame);
            if ready {
                return frames;
            }
        }
    }

    /// Sends nothing more; yields what still comes.
    pub async fn end(mut self) -> Vec<Frame> {
        self.stream.shutdown().await.expect("shutdown");
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Sends a simple Query.
    pub async fn send_query(&mut self, statement: &str) {
        let mut bytes = BytesMut::new();
        frontend::query(statement, &mut bytes).expect("Query");
        self.send(&bytes).await;
    }

    /// Sends a simple Query and reads to ReadyForQuery.
    pub async fn query(&mut self, statement: &str) -> Vec<Frame> {
        self.send_query(statement).await;
        self.until_ready().await
    }
}

/// A pipeline of extended-protocol messages.
#[derive(Default)]
pub struct Pipeline(pub BytesMut);

impl Pipeline {
    /// Parse, Bind (text parameters, results in that format), Describe and Execute of the unnamed statement.
    pub fn execute(mut self, statement: &str, parameters: &[&str], result_format: i16) -> Self {
        frontend::parse("", statement, [], &mut self.0).expect("Parse");
        let value = |parameter: &&str, out: &mut BytesMut| {
            out.extend_from_slice(parameter.as_bytes());
            Ok(IsNull::No)
        };
        let bound = frontend::bind("", "", [], parameters, value, [result_format], &mut self.0);
        assert!(bound.is_ok(), "Bind");
        frontend::describe(b'P', "", &mut self.0).expect("Describe");
        frontend::execute("", 0, &mut self.0).expect("Execute");
        self
    }

    /// Parse of a named statement, without Describe.
    pub fn prepare(mut self, name: &str, statement: &str) -> Self {
        frontend::parse(name, statement, [], &mut self.0).expect("Parse");
        self
    }

    /// Bind of a named statement without parameters to a portal, results in that format.
    pub fn bind(mut self, portal: &str, name: &str, result_format: i16) -> Self {
        let none: [&str; 0] = [];
        let bound = frontend::bind(portal, name, [], none, |_, _| Ok(IsNull::Yes), [result_format], &mut self.0);
        assert!(bound.is_ok(), "Bind");
        self
    }

    /// Execute of a portal, of at most so many rows (0 for all), without Describe.
    pub fn run(mut self, portal: &str, rows_max: i32) -> Self {
        frontend::execute(portal, rows_max, &mut self.0).expect("Execute");
        self
    }

    /// Sync.
    pub fn sync(mut self) -> Self {
        frontend::sync(&mut self.0);
        self
    }
}

/// Sends a CancelRequest on a connection of its own, as Ctrl-C in psql does, and waits until the proxy closes it.
pub async fn cancel(address: SocketAddr, key: (i32, i32)) {
    cancel_with(address, key.0, &key.1.to_be_bytes()).await;
}

/// Likewise, with a secret of any length.
pub async fn cancel_with(address: SocketAddr, process_id: i32, secret: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("connection");
    let length = u32::try_from(12 + secret.len()).expect("length").to_be_bytes();
    let packet = [&length, &80_877_102_u32.to_be_bytes(), &process_id.to_be_bytes(), secret].concat();
    stream.write_all(&packet).await.expect("sending");
    let mut rest = Vec::new();
    drop(within("end of the cancel connection", stream.read_to_end(&mut rest)).await);
    assert!(rest.is_empty(), "a CancelRequest has no answer");
}
