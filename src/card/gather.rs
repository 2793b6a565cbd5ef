//! Gathering a card over one side connection.
//!
//! Never executes the statement, and never waits for long: each question has a time limit of the server's and all
//! together one of ours. Invariant: what is asked is rolled back.

use std::time::Duration;

use countersign_policy::catalog::Oid;
use countersign_policy::{Effect, Effects};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::inquiry::{Asked, Inquiry};
use super::{Card, Piece, Plan, RelationFacts, SetsOff, Transaction, Trigger, session};
use crate::estimate::{self, NotPlanned};
use crate::side_pool::SidePool;

/// How long the whole card may take, waiting for a connection included.
const WAIT: Duration = Duration::from_secs(10);
const SETTINGS: &str = "BEGIN READ ONLY; SET LOCAL search_path = ''; SET LOCAL statement_timeout = '2s'; \
     SET LOCAL lock_timeout = '500ms'";
/// Triggers that are shown at most.
const TRIGGERS_MAX: i64 = 100;

const LATE: &str = "the upstream did not answer in time";
const UNREACHABLE: &str = "the upstream could not be reached";
const UNASKED: &str = "the upstream did not tell";

/// Rows of the relations `$1` by the statistics, of all that inherits from them: PostgreSQL knows none of a parent itself.
const ROWS: &str = "\
WITH RECURSIVE tree (root, oid) AS (
    SELECT o, o FROM pg_catalog.unnest($1) AS o
    UNION SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid)
SELECT tree.root, pg_catalog.sum(c.reltuples) FILTER (WHERE c.reltuples > 0 OR c.relpages > 0)::pg_catalog.float8
FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid WHERE c.relkind IN ('r', 'm', 'f') GROUP BY tree.root";

/// Bytes of the relations `$1` and all that inherits from them. Takes locks.
const BYTES: &str = "\
WITH RECURSIVE tree (root, oid) AS (
    SELECT o, o FROM pg_catalog.unnest($1) AS o
    UNION SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid)
SELECT tree.root, pg_catalog.sum(pg_catalog.pg_total_relation_size(tree.oid))::pg_catalog.int8
FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid WHERE c.relkind IN ('r', 'm', 'S', 't') GROUP BY tree.root";

/// Triggers of the relations `$1`, `$2` at most: relation, name, type, attributes of UPDATE OF, function.
const TRIGGERS: &str = "\
SELECT t.tgrelid, t.tgname::pg_catalog.text, t.tgtype, t.tgattr::pg_catalog.int2[], n.nspname || '.' || p.proname
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE t.tgrelid = ANY ($1) AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY t.tgrelid, t.tgname LIMIT $2";

/// Fills the card in. `backend` is the process id of the session's connection.
///
/// # Cancel safety
/// When the future is dropped, the connection it used is closed.
pub(super) async fn fill(pool: &SidePool, mut card: Card, inquiry: &Inquiry, backend: Option<i32>) -> Card {
    let filling = async {
        let Some(side) = pool.take().await else { return UNREACHABLE };
        ask(side.client(), &mut card, inquiry, backend).await;
        side.put_back().await;
        UNASKED
    };
    let why = tokio::time::timeout(WAIT, filling).await.unwrap_or(LATE);
    card.given_up(why)
}

async fn ask(client: &Client, card: &mut Card, inquiry: &Inquiry, backend: Option<i32>) {
    card.transaction = match (inquiry.in_transaction, backend) {
        (false, _) => Piece::Shown(Transaction::default()),
        (true, None) => Piece::missing("the upstream has given no process id"),
        (true, Some(backend)) if begin(client).await => session::transaction(client, backend).await,
        (true, Some(_)) => Piece::missing(UNASKED),
    };
    if begin(client).await {
        card.relations = Piece::Shown(relations(client, &inquiry.relations).await);
    }
    if begin(client).await
        && let Ok(triggers) = triggers(client, inquiry).await
    {
        card.sets_off = Piece::Shown(SetsOff { triggers, cascades: inquiry.cascades.clone() });
    }
    if let Some(question) = &inquiry.question {
        let _rolled_back = client.batch_execute("ROLLBACK").await;
        card.plan = match estimate::explain(client, question).await {
            Ok(json) => read(&json),
            Err(not_planned) => Piece::missing(why_not(not_planned)),
        };
    }
}

/// A transaction of its own for each question, so that one that fails harms no other.
async fn begin(client: &Client) -> bool {
    client.batch_execute("ROLLBACK").await.is_ok() && client.batch_execute(SETTINGS).await.is_ok()
}

fn read(json: &str) -> Piece<Plan> {
    super::read_plan(json).map_or_else(|| Piece::missing("the planner's answer is no plan"), Piece::Shown)
}

/// What PostgreSQL says to a statement that it does not plan is about names and literals of the statement.
fn why_not(not_planned: NotPlanned) -> String {
    match not_planned {
        NotPlanned::Refused(Some(error)) => {
            format!("the statement could not be planned: {} ({})", error.message(), error.code().code())
        }
        other @ (NotPlanned::Refused(None) | NotPlanned::NoConnection | NotPlanned::NotAsRole) => {
            other.phrase().to_owned()
        }
    }
}

async fn relations(client: &Client, asked: &[Asked]) -> Vec<RelationFacts> {
    let oids: Vec<Oid> = asked.iter().map(|asked| asked.oid).collect();
    let rows = client.query_typed(ROWS, &[(&oids, Type::OID_ARRAY)]).await.unwrap_or_default();
    // Last: what is locked by somebody cannot be measured, and ends the transaction.
    let bytes = client.query_typed(BYTES, &[(&oids, Type::OID_ARRAY)]).await.unwrap_or_default();
    let facts = |asked: &Asked| {
        let own = |row: &&tokio_postgres::Row| row.try_get::<_, Oid>(0).is_ok_and(|oid| oid == asked.oid);
        let tuples = rows.iter().find(own).and_then(|row| row.try_get::<_, Option<f64>>(1).ok().flatten());
        let size = bytes.iter().find(own).and_then(|row| row.try_get::<_, Option<i64>>(1).ok().flatten());
        RelationFacts {
            name: asked.name.clone(),
            kind: asked.kind.to_owned(),
            effects: asked.effects.iter().map(|effect| effect.as_str().to_owned()).collect(),
            rows: tuples.map(whole),
            bytes: size.and_then(|size| u64::try_from(size).ok()),
        }
    };
    asked.iter().map(facts).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as saturates, and NaN becomes 0")]
fn whole(rows: f64) -> u64 {
    rows as u64
}

/// The triggers that fire because of what is written.
async fn triggers(client: &Client, inquiry: &Inquiry) -> Result<Vec<Trigger>, tokio_postgres::Error> {
    let oids: Vec<Oid> = inquiry.relations.iter().map(|asked| asked.oid).collect();
    let found = client.query_typed(TRIGGERS, &[(&oids, Type::OID_ARRAY), (&TRIGGERS_MAX, Type::INT8)]).await?;
    let mut triggers = Vec::new();
    for row in &found {
        let (oid, kind, columns): (Oid, i16, Vec<i16>) = (row.try_get(0)?, row.try_get(2)?, row.try_get(3)?);
        let Some(asked) = inquiry.relations.iter().find(|asked| asked.oid == oid) else { continue };
        if !fires(kind, &columns, asked, &inquiry.assigned) {
            continue;
        }
        let when = match kind & 66 {
            2 => "before",
            64 => "instead of",
            _ => "after",
        };
        let (relation, when) = (asked.name.clone(), when.to_owned());
        triggers.push(Trigger { relation, name: row.try_get(1)?, when, function: row.try_get(4)? });
    }
    Ok(triggers)
}

/// Whether a trigger of that `tgtype` and these attributes fires on what is done to the relation.
fn fires(kind: i16, columns: &[i16], asked: &Asked, assigned: &[(Oid, i16)]) -> bool {
    let by = |bit: i16, effects: &[Effect]| kind & bit != 0 && asked.effects.intersects(Effects::of(effects));
    let own = |(oid, _): &&(Oid, i16)| *oid == asked.oid;
    let is_assigned = |(_, column): &(Oid, i16)| *column == 0 || columns.contains(column);
    // Where it is not known what is assigned, anything may be.
    let concerns =
        columns.is_empty() || !assigned.iter().any(|one| own(&one)) || assigned.iter().filter(own).any(is_assigned);
    by(4, &[Effect::Insert, Effect::CopyIn, Effect::Merge])
        || by(8, &[Effect::Delete, Effect::Merge])
        || (by(16, &[Effect::Update, Effect::Merge]) && concerns)
        || by(32, &[Effect::Truncate])
}
