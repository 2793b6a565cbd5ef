//! pg_dump by somebody for whom columns are masked: the dump restores, and has no masked value in it.

use std::process::{Output, Stdio};

use tokio_postgres::config::Host;

use crate::support::config::password;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::{Database, SERVER};
use crate::support::within;

/// Mail addresses are unique: their hashes are, too.
const MASKS: &str = "
[[masks]]
name = \"addresses\"
columns = [\"public.customers.email\", \"public.odd.email\"]
mask = \"hash\"

[[masks]]
name = \"numbers\"
columns = [\"public.customers.ssn\", \"public.customers.card\", \"public.customers.phone\"]
mask = \"redact\"

[[masks]]
name = \"born\"
columns = [\"public.customers.birth_date\", \"public.odd.tags\", \"public.odd.who\"]
mask = \"redact\"
";

/// What the shop does not have: arrays, rows, generated columns, materialized views.
const MORE: &str = "
    SET ROLE shop_rw;
    CREATE TABLE odd (id serial, email text, shout text GENERATED ALWAYS AS (upper(email)) STORED, tags text[], who customers);
    INSERT INTO odd (email, tags, who) SELECT email, ARRAY[ssn, 'x'], c FROM customers c WHERE id < 4;
    CREATE MATERIALIZED VIEW kept AS SELECT id, email FROM customers;
    COMMENT ON COLUMN odd.tags IS 'labels';
    RESET ROLE;
    ANALYZE;";

async fn run(program: &str, conninfo: &str, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(program);
    command.args(["-d", conninfo]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    within(program, command.output()).await.expect("the program runs")
}

#[tokio::test]
async fn a_dump_restores_and_has_no_masked_value_in_it() {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct.batch_execute(MORE).await.expect("definitions");
    let proxy = Proxy::in_front_of(database, Launch { fragment: MASKS, ..Launch::default() }, |text| text).await;
    let port = proxy.address().port();
    let alice = format!("host=127.0.0.1 port={port} user=alice dbname=shop password={}", password("alice"));
    for options in [&["--no-owner"][..], &["--no-owner", "--inserts"]] {
        let dump = run("pg_dump", &alice, options).await;
        let problem = String::from_utf8_lossy(&dump.stderr);
        assert!(dump.status.success(), "{options:?}: {problem}");
        let text = String::from_utf8(dump.stdout).expect("UTF-8");
        let secrets = direct
            .query("SELECT unnest(ARRAY[email, ssn, card, phone, birth_date::text]) FROM customers", &[])
            .await
            .expect("values");
        for secret in secrets.iter().filter_map(|row| row.get::<_, Option<String>>(0)) {
            assert!(!text.contains(&secret) && !text.contains(&secret.to_uppercase()), "{options:?}: {secret}");
        }
        let copy = format!("{}_restored", proxy.database.name);
        SERVER.execute("postgres", &format!("DROP DATABASE IF EXISTS {copy}")).await.expect("dropped");
        SERVER.execute("postgres", &format!("CREATE DATABASE {copy} TEMPLATE template0")).await.expect("created");
        let restored = Database { name: copy.clone() };
        let target = restored.direct().await;
        assert_eq!(restore(&text, &copy).await, Ok(()), "{options:?}");
        let check = "SELECT count(*), count(DISTINCT email), count(birth_date), count(ssn) FROM public.customers";
        let row = target.query_one(check, &[]).await.expect("customers");
        let counts: [i64; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
        assert_eq!(counts, [200, 200, 0, 200], "{options:?}");
        let row = target.query_one("SELECT tags::text, (who).region FROM public.odd WHERE id = 1", &[]).await;
        let tags: Option<String> = row.expect("odd").get(0);
        assert_eq!(tags.as_deref(), Some("{***,***}"));
        let next: i64 = target.query_one("SELECT nextval('public.orders_id_seq')", &[]).await.expect("sequence").get(0);
        assert_eq!(next, 1001);
    }
}

/// Restores a script as people do, with psql.
async fn restore(script: &str, database: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), script).expect("a script");
    let path = file.path().to_str().expect("a path").to_owned();
    let superuser = SERVER.superuser(database);
    let (Some(Host::Unix(socket)), Some(user)) = (superuser.get_hosts().first(), superuser.get_user()) else {
        return Err("the superuser connects by a socket".to_owned());
    };
    let conninfo = format!("host={} port={} user={user} dbname={database}", socket.display(), SERVER.port());
    let done = run("psql", &conninfo, &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", &path]).await;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
