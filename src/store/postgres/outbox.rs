//! The outbox of the shared store.
//!
//! Never hands out what another proxy has claimed. Invariant: a claim and what becomes of it are one statement each.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::PostgresStore;
use super::rows::{storable, version_from};
use crate::store::facts::time_from;
use crate::store::outbox::{
    About, Backlog, Claim, DELIVERIES_MAX, Delivery, DeliveryFilter, DeliveryState, Event, Outbox, Posted, SWEPT_MAX,
    Settled, Subscription,
};
use crate::store::{StoreError, StoreFuture};

/// Columns of `deliveries d` in the order [`delivery_from`] reads them.
macro_rules! columns {
    () => {
        "d.id, d.target, d.about, d.subject, d.what, d.person, d.at, d.state, d.attempts, d.since, d.due_at, d.tried_at, \
         d.answer"
    };
}

/// `$1` targets, `$2` now, `$3` others named before then go.
const REGISTER: &str = "WITH named AS (INSERT INTO countersign.notify_targets (name, seen_at) \
     SELECT n, $2 FROM unnest($1::text[]) n ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at) \
     DELETE FROM countersign.notify_targets t WHERE t.seen_at < $3 AND t.name <> ALL ($1::text[])";
const GIVE_UP: &str = "UPDATE countersign.deliveries d SET state = 'DEAD', answer = 'target is no longer configured', \
     tried_at = $1 WHERE d.state = 'WAITING' AND NOT EXISTS \
     (SELECT FROM countersign.notify_targets t WHERE t.name = d.target)";
const TARGETS: &str = "SELECT t.name FROM countersign.notify_targets t ORDER BY t.name";
const NOTE: &str = "INSERT INTO countersign.deliveries (target, about, subject, what, person, at, since) \
     SELECT t.name, $1, $2, $3, $4, $5::bigint, $5 FROM countersign.notify_targets t";
/// `$1` target, `$2` by, `$3` now, `$4` until, `$5` at most. Another proxy that claims at the same moment takes others.
const CLAIM: &str = concat!(
    "WITH due AS (SELECT w.id FROM countersign.deliveries w WHERE w.target = $1 AND w.state = 'WAITING' AND w.due_at <= $3 \
     AND w.lease_until <= $3 AND NOT EXISTS (SELECT FROM countersign.deliveries e WHERE e.target = w.target \
     AND e.subject = w.subject AND e.state = 'WAITING' AND e.id < w.id) ORDER BY w.id LIMIT $5 FOR UPDATE SKIP LOCKED) \
     UPDATE countersign.deliveries d SET leased_by = $2, lease_until = $4, attempts = d.attempts + 1 FROM due \
     WHERE d.id = due.id RETURNING ",
    columns!()
);
/// `$1` by; `$2` numbers, `$3` states, `$4` due again, `$5` answers, `$6` when tried.
const SETTLE: &str = "UPDATE countersign.deliveries d SET state = x.state, due_at = x.due_at, answer = x.answer, \
     tried_at = x.tried_at, lease_until = 0, leased_by = 0 \
     FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[]) \
     AS x (id, state, due_at, answer, tried_at) WHERE d.id = x.id AND d.leased_by = $1 AND d.state = 'WAITING'";
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM countersign.deliveries d WHERE ($1::text IS NULL OR d.target = $1) AND ($2::text IS NULL OR d.state = $2) \
     AND ($3::text IS NULL OR d.subject = $3) AND ($4::bigint IS NULL OR d.id < $4) ORDER BY d.id DESC LIMIT $5"
);
const REDELIVER: &str = "UPDATE countersign.deliveries d SET state = 'WAITING', due_at = 0, since = $2 WHERE d.id = $1 \
     RETURNING d.id";
const BACKLOG: &str = "SELECT t.name, s.state, count(d.id), min(d.at) FROM countersign.notify_targets t \
     CROSS JOIN (VALUES ('WAITING'), ('DEAD')) AS s (state) \
     LEFT JOIN countersign.deliveries d ON d.state = s.state AND d.target = t.name GROUP BY 1, 2 ORDER BY 1, 2";
const SWEEP: &str = "WITH over AS (SELECT d.id FROM countersign.deliveries d WHERE d.state <> 'WAITING' AND d.tried_at < $1 \
     LIMIT $2 FOR UPDATE SKIP LOCKED), messages AS (DELETE FROM countersign.notify_messages m WHERE m.posted_at < $1) \
     DELETE FROM countersign.deliveries d USING over WHERE d.id = over.id RETURNING d.id";
const POSTED: &str = "SELECT m.place, m.reference FROM countersign.notify_messages m WHERE m.target = $1 AND m.subject = $2 \
     ORDER BY m.place";
const NOTE_POSTED: &str = "INSERT INTO countersign.notify_messages (target, subject, place, reference, posted_at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (target, subject, place) \
     DO UPDATE SET reference = excluded.reference, posted_at = excluded.posted_at";
const SUBSCRIPTIONS: &str = "SELECT s.place, s.database, s.person, s.at FROM countersign.notify_subscriptions s \
     WHERE s.target = $1 ORDER BY s.place, s.database";
const SUBSCRIBE: &str = "INSERT INTO countersign.notify_subscriptions (target, place, database, person, at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING place";
const UNSUBSCRIBE: &str = "DELETE FROM countersign.notify_subscriptions s WHERE s.target = $1 AND s.place = $2 \
     AND ($3::text IS NULL OR s.database = $3) RETURNING s.place";

impl Outbox for PostgresStore {
    fn register(&self, targets: Vec<String>, now: Timestamp, retired: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.query(REGISTER, &[&targets, &now.as_microsecond(), &retired.as_microsecond()]).await?;
            self.query(GIVE_UP, &[&now.as_microsecond()]).await.map(drop)
        })
    }

    fn targets(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async move { self.query(TARGETS, &[]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect() })
    }

    fn note(&self, event: Event) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (subject, what, person) = (storable(&event.subject), storable(&event.what), storable(&event.person));
            self.query(NOTE, &[&event.about.as_str(), &subject, &what, &person, &event.at.as_microsecond()])
                .await
                .map(drop)
        })
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            let (now, until) = (claim.now.as_microsecond(), claim.until.as_microsecond());
            let limit = i64::from(claim.limit);
            let taken = self.query(CLAIM, &[&claim.target, &claim.by, &now, &until, &limit]).await?;
            let mut taken = taken.iter().map(delivery_from).collect::<Result<Vec<_>, _>>()?;
            taken.sort_by_key(|delivery| delivery.id);
            Ok(taken)
        })
    }

    fn settle(&self, by: i64, settled: Vec<Settled>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let ids: Vec<i64> = settled.iter().map(|one| one.id).collect();
            let (states, due): (Vec<&str>, Vec<i64>) = settled
                .iter()
                .map(|one| {
                    let (state, due) = one.end.stored();
                    (state.as_str(), due)
                })
                .unzip();
            let answers: Vec<String> = settled.iter().map(|one| storable(&one.answer)).collect();
            let tried: Vec<i64> = settled.iter().map(|one| one.at.as_microsecond()).collect();
            self.query(SETTLE, &[&by, &ids, &states, &due, &answers, &tried]).await.map(drop)
        })
    }

    fn deliveries(&self, filter: DeliveryFilter) -> StoreFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            let state = filter.state.map(DeliveryState::as_str);
            let limit = i64::from(filter.limit.clamp(1, DELIVERIES_MAX));
            let page = self.query(LIST, &[&filter.target, &state, &filter.subject, &filter.before, &limit]).await?;
            page.iter().map(delivery_from).collect()
        })
    }

    fn redeliver(&self, id: i64, now: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(async move { Ok(!self.query(REDELIVER, &[&id, &now.as_microsecond()]).await?.is_empty()) })
    }

    fn backlog(&self) -> StoreFuture<'_, Vec<Backlog>> {
        Box::pin(async move { self.query(BACKLOG, &[]).await?.iter().map(backlog_from).collect() })
    }

    fn sweep(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let swept = self.query(SWEEP, &[&before.as_microsecond(), &SWEPT_MAX]).await?;
            Ok(u64::try_from(swept.len()).unwrap_or(u64::MAX))
        })
    }

    fn posted(&self, target: String, subject: String) -> StoreFuture<'_, Vec<Posted>> {
        Box::pin(async move {
            let found = self.query(POSTED, &[&target, &subject]).await?;
            let posted = |row: &Row| Ok(Posted { place: row.try_get(0)?, reference: row.try_get(1)? });
            found.iter().map(posted).collect()
        })
    }

    fn note_posted(&self, target: String, subject: String, posted: Posted, at: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let Posted { place, reference } = posted;
            self.query(NOTE_POSTED, &[&target, &subject, &place, &reference, &at.as_microsecond()]).await.map(drop)
        })
    }

    fn subscriptions(&self, target: String) -> StoreFuture<'_, Vec<Subscription>> {
        Box::pin(async move {
            let found = self.query(SUBSCRIPTIONS, &[&target]).await?;
            let subscription = |row: &Row| {
                let (place, database, person) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                Ok(Subscription { place, database, person, at: time_from(row.try_get(3)?)? })
            };
            found.iter().map(subscription).collect()
        })
    }

    fn subscribe(&self, target: String, subscription: Subscription) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let Subscription { place, database, person, at } = subscription;
            let added = self.query(SUBSCRIBE, &[&target, &place, &database, &person, &at.as_microsecond()]).await?;
            Ok(!added.is_empty())
        })
    }

    fn unsubscribe(&self, target: String, place: String, database: Option<String>) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let removed = self.query(UNSUBSCRIBE, &[&target, &place, &database]).await?;
            Ok(u64::try_from(removed.len()).unwrap_or(u64::MAX))
        })
    }
}

fn delivery_from(row: &Row) -> Result<Delivery, StoreError> {
    let event = Event {
        about: About::from_name(row.try_get(2)?)?,
        subject: row.try_get(3)?,
        what: row.try_get(4)?,
        person: row.try_get(5)?,
        at: time_from(row.try_get(6)?)?,
    };
    Ok(Delivery {
        id: row.try_get(0)?,
        target: row.try_get(1)?,
        event,
        state: DeliveryState::from_name(row.try_get(7)?)?,
        attempts: version_from(row.try_get(8)?)?,
        since: time_from(row.try_get(9)?)?,
        due_at: time_from(row.try_get(10)?)?,
        tried_at: row.try_get::<_, Option<i64>>(11)?.map(time_from).transpose()?,
        answer: row.try_get(12)?,
    })
}

fn backlog_from(row: &Row) -> Result<Backlog, StoreError> {
    Ok(Backlog {
        target: row.try_get(0)?,
        state: DeliveryState::from_name(row.try_get(1)?)?,
        count: version_from(row.try_get(2)?)?,
        oldest: row.try_get::<_, Option<i64>>(3)?.map(time_from).transpose()?,
    })
}
