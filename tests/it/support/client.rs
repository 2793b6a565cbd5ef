//! A PostgreSQL client that keeps its notices.
//!
//! Never retries. Invariant: notices are in the order in which they came.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};

use super::config;
use super::within;

/// One connection through the proxy.
pub struct TestClient {
    /// The connection itself.
    pub client: Arc<Client>,
    notices: UnboundedReceiver<DbError>,
    /// Moves the bytes.
    connection: JoinHandle<()>,
}

/// A statement that the proxy holds.
pub struct Held<T> {
    /// Id of the access request, from the notice.
    pub id: String,
    /// The notice.
    pub notice: DbError,
    outcome: JoinHandle<Result<T, Error>>,
}

impl TestClient {
    /// Connects to the database `shop`.
    pub async fn connect(address: SocketAddr, user: &str) -> Self {
        Self::try_connect(address, user, &config::password(user), "shop").await.expect("connection through the proxy")
    }

    /// Connects, or not.
    pub async fn try_connect(address: SocketAddr, user: &str, password: &str, dbname: &str) -> Result<Self, Error> {
        let mut settings = Config::new();
        settings.host("127.0.0.1").port(address.port()).user(user).password(password).dbname(dbname);
        let (client, mut connection) = within("connecting", settings.connect(NoTls)).await?;
        let (sender, notices) = unbounded_channel();
        let connection = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message {
                    drop(sender.send(notice));
                }
            }
        });
        Ok(Self { client: Arc::new(client), notices, connection })
    }

    /// Closes the connection, whatever is going on there and without a word.
    pub fn vanish(self) {
        self.connection.abort();
    }

    /// Says that it leaves, and waits for the end of the connection.
    pub async fn leave(self) {
        let Self { client, connection, .. } = self;
        drop(client);
        within("the end of the connection", connection).await.expect("its task");
    }

    /// The next notice.
    pub async fn notice(&mut self) -> DbError {
        within("notice", self.notices.recv()).await.expect("a notice before the connection ends")
    }

    /// Sends a simple Query and waits until it is held.
    pub async fn hold(&mut self, statement: &str) -> Held<Vec<SimpleQueryMessage>> {
        let client = Arc::clone(&self.client);
        let statement = statement.to_owned();
        self.held(tokio::spawn(async move { client.simple_query(&statement).await })).await
    }

    /// Executes with parameters by the extended protocol and waits until it is held. Yields the row count.
    pub async fn hold_execute(&mut self, statement: &str, parameters: Vec<Box<dyn ToSql + Sync + Send>>) -> Held<u64> {
        let client = Arc::clone(&self.client);
        let statement = statement.to_owned();
        let execution = async move {
            let parameters: Vec<&(dyn ToSql + Sync)> =
                parameters.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)).collect();
            client.execute(&statement, &parameters).await
        };
        self.held(tokio::spawn(execution)).await
    }

    async fn held<T>(&mut self, outcome: JoinHandle<Result<T, Error>>) -> Held<T> {
        let notice = self.notice().await;
        let id = request_id(notice.detail().unwrap_or_default()).unwrap_or_else(|| panic!("no id in {notice:?}"));
        Held { id, notice, outcome }
    }

    /// The single value of a statement that passes at once.
    pub async fn value(&self, statement: &str) -> Option<String> {
        let messages = within(statement, self.client.simple_query(statement)).await.expect(statement);
        let is_row = |message: &&SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(_));
        let Some(SimpleQueryMessage::Row(row)) = messages.iter().find(is_row) else { return None };
        row.get(0).map(str::to_owned)
    }

    /// The error of a statement that fails at once.
    pub async fn refusal(&self, statement: &str) -> DbError {
        let outcome = within(statement, self.client.simple_query(statement)).await;
        refusal_of(outcome.expect_err(statement))
    }
}

impl<T> Held<T> {
    /// What became of it.
    pub async fn outcome(self) -> Result<T, Error> {
        within("end of the hold", self.outcome).await.expect("the task that waits")
    }

    /// The error it ended with.
    pub async fn refusal(self) -> DbError {
        match self.outcome().await {
            Ok(_) => panic!("the statement ran"),
            Err(error) => refusal_of(error),
        }
    }

    /// Whether it is still waiting.
    pub fn is_waiting(&self) -> bool {
        !self.outcome.is_finished()
    }
}

/// The ErrorResponse behind the error.
#[track_caller]
pub fn refusal_of(error: Error) -> DbError {
    error.as_db_error().cloned().unwrap_or_else(|| panic!("not an ErrorResponse: {error}"))
}

/// Number of rows in the last CommandComplete.
pub fn affected(messages: &[SimpleQueryMessage]) -> Option<u64> {
    let is_complete = |message: &&SimpleQueryMessage| matches!(message, SimpleQueryMessage::CommandComplete(_));
    let Some(SimpleQueryMessage::CommandComplete(rows)) = messages.iter().rev().find(is_complete) else { return None };
    Some(*rows)
}

/// The ULID after "Access request ".
pub fn request_id(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("Access request ")?;
    let id: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    (id.len() == 26).then_some(id)
}
