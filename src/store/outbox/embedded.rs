//! The outbox of the embedded store.
//!
//! Never hands out what is claimed. Invariant: a claim and what becomes of it are one transaction each.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::{
    About, Backlog, Claim, DELIVERIES_MAX, Delivery, DeliveryFilter, DeliveryState, Event, Outbox, Posted, SWEPT_MAX,
    Settled, Subscription,
};
use crate::store::facts::time_from;
use crate::store::{SqliteStore, StoreError, StoreFuture};

/// Columns of `deliveries d` in the order [`delivery_from`] reads them.
const COLUMNS: &str = "d.id, d.target, d.about, d.subject, d.what, d.person, d.at, d.state, d.attempts, d.since, d.due_at, \
     d.tried_at, d.answer";

impl Outbox for SqliteStore {
    fn register(&self, targets: Vec<String>, now: Timestamp, retired: Timestamp) -> StoreFuture<'_, ()> {
        self.write(move |connection| register(connection, &targets, now, retired))
    }

    fn free_claims(&self) -> StoreFuture<'_, ()> {
        self.write(|connection| {
            connection.execute(
                "UPDATE deliveries SET lease_until = 0, leased_by = 0 WHERE state = 'WAITING' AND leased_by <> 0",
                [],
            )?;
            Ok(())
        })
    }

    fn targets(&self) -> StoreFuture<'_, Vec<String>> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT name FROM notify_targets ORDER BY name")?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
    }

    fn note(&self, event: Event) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            let at = event.at.as_microsecond();
            connection
                .prepare_cached(
                    "INSERT INTO deliveries (target, about, subject, what, person, at, since) \
                     SELECT name, ?1, ?2, ?3, ?4, ?5, ?5 FROM notify_targets",
                )?
                .execute(params![event.about.as_str(), event.subject, event.what, event.person, at])?;
            Ok(())
        })
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Vec<Delivery>> {
        self.write(move |connection| take(connection, &claim))
    }

    fn settle(&self, by: i64, settled: Vec<Settled>) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            let mut update = connection.prepare_cached(
                "UPDATE deliveries SET state = ?3, due_at = ?4, answer = ?5, tried_at = ?6, lease_until = 0, leased_by = 0 \
                 WHERE id = ?1 AND leased_by = ?2 AND state = 'WAITING'",
            )?;
            for one in settled {
                let (state, due_at) = one.end.stored();
                update.execute(params![one.id, by, state.as_str(), due_at, one.answer, one.at.as_microsecond()])?;
            }
            Ok(())
        })
    }

    fn deliveries(&self, filter: DeliveryFilter) -> StoreFuture<'_, Vec<Delivery>> {
        self.read(move |connection| list(connection, &filter))
    }

    fn redeliver(&self, id: i64, now: Timestamp) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            let changed = connection
                .prepare_cached("UPDATE deliveries SET state = 'WAITING', due_at = 0, since = ?2 WHERE id = ?1")?
                .execute(params![id, now.as_microsecond()])?;
            Ok(changed > 0)
        })
    }

    fn backlog(&self) -> StoreFuture<'_, Vec<Backlog>> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT t.name, s.state, count(d.id), min(d.at) FROM notify_targets t \
                 CROSS JOIN (SELECT 'WAITING' AS state UNION ALL SELECT 'DEAD') s \
                 LEFT JOIN deliveries d ON d.state = s.state AND d.target = t.name GROUP BY 1, 2 ORDER BY 1, 2",
            )?;
            query.query_and_then([], backlog_from)?.collect()
        })
    }

    fn sweep(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.write(move |connection| {
            let before = before.as_microsecond();
            connection.prepare_cached("DELETE FROM notify_messages WHERE posted_at < ?1")?.execute([before])?;
            let swept = connection
                .prepare_cached(
                    "DELETE FROM deliveries WHERE id IN \
                     (SELECT id FROM deliveries WHERE state <> 'WAITING' AND tried_at < ?1 LIMIT ?2)",
                )?
                .execute([before, SWEPT_MAX])?;
            Ok(u64::try_from(swept).unwrap_or(u64::MAX))
        })
    }

    fn posted(&self, target: String, subject: String) -> StoreFuture<'_, Vec<Posted>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT place, reference FROM notify_messages WHERE target = ?1 AND subject = ?2 ORDER BY place",
            )?;
            let posted = |row: &Row<'_>| Ok(Posted { place: row.get(0)?, reference: row.get(1)? });
            Ok(query.query_map([target, subject], posted)?.collect::<Result<_, _>>()?)
        })
    }

    fn note_posted(&self, target: String, subject: String, posted: Posted, at: Timestamp) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO notify_messages (target, subject, place, reference, posted_at) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![target, subject, posted.place, posted.reference, at.as_microsecond()])?;
            Ok(())
        })
    }

    fn subscriptions(&self, target: String) -> StoreFuture<'_, Vec<Subscription>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT place, database, person, at FROM notify_subscriptions WHERE target = ?1 ORDER BY place, database",
            )?;
            let subscription = |row: &Row<'_>| {
                let (place, database, person) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Subscription { place, database, person, at: time_from(row.get(3)?)? })
            };
            query.query_and_then([target], subscription)?.collect()
        })
    }

    fn subscribe(&self, target: String, subscription: Subscription) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            let Subscription { place, database, person, at } = subscription;
            let added = connection
                .prepare_cached(
                    "INSERT INTO notify_subscriptions (target, place, database, person, at) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![target, place, database, person, at.as_microsecond()])?;
            Ok(added > 0)
        })
    }

    fn unsubscribe(&self, target: String, place: String, database: Option<String>) -> StoreFuture<'_, u64> {
        self.write(move |connection| {
            let removed = connection
                .prepare_cached(
                    "DELETE FROM notify_subscriptions WHERE target = ?1 AND place = ?2 AND (?3 IS NULL OR database = ?3)",
                )?
                .execute(params![target, place, database])?;
            Ok(u64::try_from(removed).unwrap_or(u64::MAX))
        })
    }
}

fn register(connection: &Connection, targets: &[String], now: Timestamp, retired: Timestamp) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO notify_targets (name, seen_at) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET seen_at = ?2",
    )?;
    for target in targets {
        insert.execute(params![target, now.as_microsecond()])?;
    }
    connection.prepare_cached("DELETE FROM notify_targets WHERE seen_at < ?1")?.execute([retired.as_microsecond()])?;
    connection
        .prepare_cached(
            "UPDATE deliveries SET state = 'DEAD', answer = 'target is no longer configured', tried_at = ?1 \
             WHERE state = 'WAITING' AND target NOT IN (SELECT name FROM notify_targets)",
        )?
        .execute([now.as_microsecond()])?;
    Ok(())
}

fn take(connection: &Connection, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "UPDATE deliveries AS d SET leased_by = ?2, lease_until = ?4, attempts = attempts + 1 WHERE d.id IN \
         (SELECT w.id FROM deliveries w WHERE w.target = ?1 AND w.state = 'WAITING' AND w.due_at <= ?3 AND w.lease_until <= ?3 \
         AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.target = w.target AND e.subject = w.subject \
         AND e.state = 'WAITING' AND e.id < w.id) ORDER BY w.id LIMIT ?5) RETURNING {}",
        COLUMNS.replace("d.", "")
    );
    let (now, until) = (claim.now.as_microsecond(), claim.until.as_microsecond());
    let mut query = connection.prepare_cached(&sql)?;
    let taken = query.query_and_then(params![claim.target, claim.by, now, until, claim.limit], delivery_from)?;
    let mut taken = taken.collect::<Result<Vec<_>, StoreError>>()?;
    taken.sort_by_key(|delivery| delivery.id);
    Ok(taken)
}

fn list(connection: &Connection, filter: &DeliveryFilter) -> Result<Vec<Delivery>, StoreError> {
    let mut sql = format!("SELECT {COLUMNS} FROM deliveries d WHERE true");
    let mut values: Vec<Value> = Vec::new();
    let mut also = |clause: &str, value: Value| {
        sql.push_str(clause);
        values.push(value);
    };
    if let Some(target) = &filter.target {
        also(" AND d.target = ?", target.clone().into());
    }
    if let Some(state) = filter.state {
        also(" AND d.state = ?", state.as_str().to_owned().into());
    }
    if let Some(subject) = &filter.subject {
        also(" AND d.subject = ?", subject.clone().into());
    }
    if let Some(before) = filter.before {
        also(" AND d.id < ?", before.into());
    }
    also(" ORDER BY d.id DESC LIMIT ?", i64::from(filter.limit.clamp(1, DELIVERIES_MAX)).into());
    let mut query = connection.prepare_cached(&sql)?;
    query.query_and_then(params_from_iter(values), delivery_from)?.collect()
}

fn delivery_from(row: &Row<'_>) -> Result<Delivery, StoreError> {
    let (about, state): (String, String) = (row.get(2)?, row.get(7)?);
    let event = Event {
        about: About::from_name(&about)?,
        subject: row.get(3)?,
        what: row.get(4)?,
        person: row.get(5)?,
        at: time_from(row.get(6)?)?,
    };
    Ok(Delivery {
        id: row.get(0)?,
        target: row.get(1)?,
        event,
        state: DeliveryState::from_name(&state)?,
        attempts: row.get(8)?,
        since: time_from(row.get(9)?)?,
        due_at: time_from(row.get(10)?)?,
        tried_at: row.get::<_, Option<i64>>(11)?.map(time_from).transpose()?,
        answer: row.get(12)?,
    })
}

fn backlog_from(row: &Row<'_>) -> Result<Backlog, StoreError> {
    let state: String = row.get(1)?;
    Ok(Backlog {
        target: row.get(0)?,
        state: DeliveryState::from_name(&state)?,
        count: row.get(2)?,
        oldest: row.get::<_, Option<i64>>(3)?.map(time_from).transpose()?,
    })
}
