//! The sample shop: an invented database for the demo and the tests.
//!
//! Never holds data of real people. Invariant: it is the same every time.

use crate::throwaway::ThrowawayPostgres;

/// Statements that fill an empty database.
pub const SHOP: &str = include_str!("shop.sql");

/// Role that owns the shop and as which the proxy connects.
pub const SHOP_ROLE: &str = "shop_rw";

/// Creates the role (once per server) with that password.
///
/// # Errors
///
/// The server raised an error or went away.
pub async fn create_role(server: &ThrowawayPostgres, password: &str) -> Result<(), tokio_postgres::Error> {
    let password = postgres_protocol::escape::escape_literal(password);
    server.execute("postgres", &format!("CREATE ROLE {SHOP_ROLE} LOGIN PASSWORD {password}")).await
}

/// Creates a database of that name, which the role owns, and fills it.
///
/// # Errors
///
/// The server raised an error or went away.
pub async fn create_database(server: &ThrowawayPostgres, name: &str) -> Result<(), tokio_postgres::Error> {
    let quoted = postgres_protocol::escape::escape_identifier(name);
    server.execute("postgres", &format!("CREATE DATABASE {quoted} OWNER {SHOP_ROLE}")).await?;
    server.execute(name, &format!("SET ROLE {SHOP_ROLE};\n{SHOP}")).await
}
