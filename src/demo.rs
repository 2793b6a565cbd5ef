//! `countersign demo`: a throwaway PostgreSQL with a sample shop, and the configuration of a proxy in front of it.
//!
//! Never touches an existing database or configuration, and listens on loopback only. Invariant: dropping a [`Demo`]
//! removes everything it made.

pub mod guide;
pub mod live;
mod settings;
pub mod shop;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thiserror::Error;

use crate::throwaway::{ThrowawayError, ThrowawayOptions, ThrowawayPostgres};

/// The documented ports, used when they are free.
const POSTGRES_PORT: u16 = 6543;
const WEB_PORT: u16 = 8543;

/// The people of the demo: name and group.
const PEOPLE: [(&str, &str); 2] = [("alice", "engineering"), ("bob", "dba-team")];

/// A prepared demo: the server runs, the configuration is written, the proxy is not started yet.
#[derive(Debug)]
pub struct Demo {
    server: ThrowawayPostgres,
    home: TempDir,
    people: Vec<Person>,
    postgres: SocketAddr,
    web: SocketAddr,
}

/// Somebody who takes part, with secrets made for this one run.
#[derive(Clone)]
pub struct Person {
    /// Login name.
    pub name: &'static str,
    /// The one group.
    pub group: &'static str,
    /// Password on the PostgreSQL port and on the page.
    pub password: String,
    /// Bearer token of the API.
    pub token: String,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("name", &self.name).field("group", &self.group).finish_non_exhaustive()
    }
}

/// Why the demo cannot be prepared.
#[derive(Debug, Error)]
pub enum DemoError {
    /// There is no throwaway server.
    #[error(transparent)]
    Server(#[from] ThrowawayError),
    /// The sample shop could not be made.
    #[error("could not create the sample database")]
    Shop(#[from] tokio_postgres::Error),
    /// A file could not be written or a port not found.
    #[error("could not {operation}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> DemoError {
    move |source| DemoError::Io { operation, source }
}

impl Demo {
    /// Starts the server, fills the shop and writes the configuration: two to five seconds.
    ///
    /// # Errors
    ///
    /// PostgreSQL is not installed or did not start, or a file could not be written.
    pub async fn prepare() -> Result<Self, DemoError> {
        let start = tokio::task::spawn_blocking(|| ThrowawayPostgres::start(&ThrowawayOptions::default()));
        let server = start.await.map_err(|error| failed("start PostgreSQL")(io::Error::other(error)))??;
        let password = secret();
        shop::create_role(&server, &password).await?;
        shop::create_database(&server, "shop").await?;

        let home =
            tempfile::Builder::new().prefix("countersign-demo-").tempdir().map_err(failed("make a directory"))?;
        let people =
            PEOPLE.map(|(name, group)| Person { name, group, password: secret(), token: format!("demo-{}", secret()) });
        let demo = Self {
            server,
            home,
            people: people.to_vec(),
            postgres: loopback(POSTGRES_PORT).map_err(failed("find a free port"))?,
            web: loopback(WEB_PORT).map_err(failed("find a free port"))?,
        };
        demo.write_configuration(&password)?;
        Ok(demo)
    }

    /// The configuration file for the proxy.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.home.path().join("countersign.toml")
    }

    /// The people who take part.
    #[must_use]
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// Where the proxy is to listen for PostgreSQL clients.
    #[must_use]
    pub fn postgres(&self) -> SocketAddr {
        self.postgres
    }

    /// Where the proxy is to serve its API.
    #[must_use]
    pub fn web(&self) -> SocketAddr {
        self.web
    }

    /// The PostgreSQL behind the proxy.
    #[must_use]
    pub fn server(&self) -> &ThrowawayPostgres {
        &self.server
    }

    /// The password goes into a file of its own, which only we can read, because the configuration takes none in clear.
    fn write_configuration(&self, password: &str) -> Result<(), DemoError> {
        let home = self.home.path();
        let data_dir = home.join("data");
        fs::DirBuilder::new().mode(0o700).create(&data_dir).map_err(failed("make the data directory"))?;
        let password_file = home.join("shop-password");
        write_private(&password_file, password)?;
        let text = settings::render(&settings::Settings {
            postgres: self.postgres,
            web: self.web,
            data_dir: &data_dir,
            upstream: &self.server.url(shop::SHOP_ROLE, "shop"),
            password_file: &password_file,
            people: &self.people,
        });
        write_private(&self.config_path(), &text)
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), DemoError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(failed("write the configuration"))
}

/// The preferred port if it is free, otherwise any.
fn loopback(preferred: u16) -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, preferred))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?
        .local_addr()
}

fn secret() -> String {
    hex::encode(rand::random::<[u8; 6]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn prepares_everything_and_leaves_nothing_behind() {
        let demo = Demo::prepare().await.expect("demo");
        let config = fs::read_to_string(demo.config_path()).expect("configuration");
        for person in demo.people() {
            assert!(config.contains(&format!("\"{}\"", person.name)));
            assert!(!config.contains(&person.password) && !config.contains(&person.token), "no secret in clear");
        }
        let (client, connection) =
            demo.server().superuser("shop").connect(tokio_postgres::NoTls).await.expect("connection");
        tokio::spawn(connection);
        for (table, rows) in [("customers", 200), ("orders", 1000), ("products", 40), ("customer_contacts", 200)] {
            let row = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.expect(table);
            assert_eq!(row.get::<_, i64>(0), rows, "{table}");
        }
        let cards = client.query("SELECT card FROM customers", &[]).await.expect("cards");
        assert!(cards.iter().all(|row| luhn(row.get(0))), "every card number passes the Luhn check");
        let home = demo.home.path().to_owned();
        drop(demo);
        assert!(!home.exists());
    }

    fn luhn(number: &str) -> bool {
        let digits = number.bytes().rev().map(|byte| u32::from(byte - b'0'));
        let sum: u32 = digits
            .enumerate()
            .map(|(at, digit)| if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
            .sum();
        number.len() == 16 && sum.is_multiple_of(10)
    }

    #[test]
    fn takes_another_port_when_the_preferred_one_is_taken() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listener");
        let port = taken.local_addr().expect("address").port();
        assert_ne!(loopback(port).expect("address").port(), port);
    }
}
