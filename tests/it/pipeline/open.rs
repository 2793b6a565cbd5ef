//! Everything is allowed: one database behind the proxy, one without, both the same.
//!
//! Never lets a script see what another one left. Invariant: both databases are copies of one, OIDs included.

use std::net::{Ipv4Addr, SocketAddr};

use countersign::demo::shop::SHOP_ROLE;
use tokio_postgres::Client;

use super::Theatre;
use super::generate::Step;
use super::play::{End, Heard, Nobody, play};
use super::texts::{CONTENTS, SCHEMA};
use super::transcript::{self, FirstNewOid};
use crate::support::config;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::{Database, SERVER, UPSTREAM_PASSWORD};
use crate::support::wire::WireClient;

/// What both connections call themselves.
pub const APPLICATION: &str = "pipeline";

/// Both databases.
pub struct Open {
    proxy: Proxy,
    direct: Database,
    behind: Client,
    beside: Client,
    first_new: FirstNewOid,
}

/// A new database with the small schema.
pub async fn database(more: &str) -> Database {
    let database = Database::create().await;
    let role = "DO $$BEGIN CREATE ROLE other; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END$$;";
    SERVER.execute("postgres", &format!("{role} GRANT other TO {SHOP_ROLE};")).await.expect("role");
    let grants = "GRANT ALL ON SCHEMA public, sandbox TO other;
        GRANT ALL ON ALL TABLES IN SCHEMA public, sandbox TO other;";
    let schema = format!("SET ROLE {SHOP_ROLE}; {SCHEMA} {more} RESET ROLE; {grants}");
    SERVER.execute(&database.name, &schema).await.expect("schema");
    database
}

impl Open {
    /// Makes the databases and starts the proxy.
    pub async fn prepare() -> Self {
        let (direct, other) = {
            let template = database("").await;
            (template.copy().await, template.copy().await)
        };
        let observe = |text: String| text.replace("unparsed = ", "stage = \"observe\"\nunparsed = ");
        let proxy = Proxy::in_front_of(other, Launch::default(), observe).await;
        let (behind, beside) = (proxy.database.direct().await, direct.direct().await);
        let first_new = "SELECT (max(oid::bigint) + 1)::oid FROM pg_class";
        let first_new: u32 = behind.query_one(first_new, &[]).await.expect("OIDs").try_get(0).expect("an OID");
        Self { proxy, direct, behind, beside, first_new }
    }

    async fn reset(&self) {
        for client in [&self.behind, &self.beside] {
            client.batch_execute("SELECT reset()").await.expect("reset");
        }
    }

    async fn play_both(&self, seed: u64, steps: &[Step]) -> (Heard, Heard) {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, SERVER.port()));
        let direct = [("user", SHOP_ROLE), ("database", &self.direct.name), ("application_name", APPLICATION)];
        let proxied = [("user", "alice"), ("database", "shop"), ("application_name", APPLICATION)];
        let direct = WireClient::connect_with(server, &direct, UPSTREAM_PASSWORD).await.into_stream();
        let proxied = WireClient::connect_with(self.proxy.address(), &proxied, &config::password("alice")).await;
        let proxied = proxied.into_stream();
        let (mut one, mut other) = (Nobody, Nobody);
        tokio::join!(play(direct, steps, seed, &mut one), play(proxied, steps, seed, &mut other))
    }
}

/// All rows.
async fn contents(client: &Client) -> Vec<(String, Option<String>)> {
    let rows = client.query(CONTENTS, &[]).await.expect("contents");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

impl Theatre for Open {
    async fn play(&mut self, seed: u64, steps: &[Step]) -> Option<String> {
        self.reset().await;
        let (direct, proxied) = self.play_both(seed, steps).await;
        if let Some(difference) = transcript::difference(&direct, &proxied, self.first_new) {
            return Some(difference);
        }
        if direct.end == End::Closed || proxied.end == End::Closed {
            return None;
        }
        let (beside, behind) = (contents(&self.beside).await, contents(&self.behind).await);
        (beside != behind).then(|| format!("what is left: direct {beside:?}\nproxied {behind:?}"))
    }
}
