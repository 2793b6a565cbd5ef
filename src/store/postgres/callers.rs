//! What is kept of callers, in the shared store.
//!
//! Never merges two calls, whichever proxies they come to. Invariant: a key of a caller stands in one row.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::PostgresStore;
use super::rows::storable;
use crate::store::callers::{
    Answered, Begun, CALLS_MAX, Call, Callers, Key, PEOPLE_MAX, PageSession, Password, PasswordCode, Person, SWEEP_MAX,
    encode_groups, groups_from,
};
use crate::store::{StoreError, StoreFuture, facts};

const OPEN: &str = "WITH over AS (DELETE FROM countersign.page_sessions s WHERE s.ends_at <= $4 OR s.key IN \
     (SELECT o.key FROM countersign.page_sessions o WHERE o.person = $2 ORDER BY o.opened_at DESC OFFSET $6)), \
     silent AS (DELETE FROM countersign.people p WHERE p.ends_at <= $4 AND p.person <> $2), \
     said AS (INSERT INTO countersign.people (person, credential, groups, ends_at) SELECT $2, $3, $7, $5 \
     WHERE $7::text IS NOT NULL ON CONFLICT (person) DO UPDATE SET credential = excluded.credential, \
     groups = excluded.groups, ends_at = excluded.ends_at) \
     INSERT INTO countersign.page_sessions (key, person, credential, opened_at, ends_at) VALUES ($1, $2, $3, $4, $5)";
const SESSION: &str = "SELECT s.key, s.person, s.credential, s.opened_at, least(s.ends_at, p.ends_at), p.groups \
     FROM countersign.page_sessions s LEFT JOIN countersign.people p ON p.person = s.person AND p.credential = s.credential WHERE s.key = $1";
const PEOPLE: &str = "SELECT p.person, p.credential, p.groups, p.ends_at FROM countersign.people p WHERE p.ends_at > $1 \
     ORDER BY p.ends_at DESC LIMIT $2";
const OFFER: &str = "WITH over AS (DELETE FROM countersign.password_codes c WHERE c.ends_at <= $5) \
     INSERT INTO countersign.password_codes (code, person, credential, ends_at) VALUES ($1, $2, $3, $4)";
const CLAIM: &str = "WITH used AS (DELETE FROM countersign.password_codes c WHERE c.code = $1 AND c.ends_at > $3 \
     RETURNING c.person, c.credential), \
     over AS (DELETE FROM countersign.passwords w WHERE w.ends_at <= $3 AND w.person NOT IN (SELECT u.person FROM used u)) \
     INSERT INTO countersign.passwords (person, credential, verifier, ends_at) SELECT u.person, u.credential, $2, $4 \
     FROM used u ON CONFLICT (person) DO UPDATE SET credential = excluded.credential, verifier = excluded.verifier, \
     ends_at = excluded.ends_at RETURNING person";
const PASSWORD: &str = "SELECT w.credential, w.verifier, p.groups FROM countersign.passwords w \
     LEFT JOIN countersign.people p ON p.person = w.person AND p.credential = w.credential AND p.ends_at > $2 \
     WHERE w.person = $1 AND w.ends_at > $2";
const DROP: &str = "WITH codes AS (DELETE FROM countersign.password_codes c WHERE c.person = $1) \
     DELETE FROM countersign.passwords w WHERE w.person = $1 RETURNING w.person";
const CLOSE: &str = "DELETE FROM countersign.page_sessions s WHERE s.key = $1";
const CLOSE_ALL: &str = "WITH closed AS (DELETE FROM countersign.page_sessions s WHERE s.person = $1 RETURNING s.key) \
     SELECT count(*) FROM closed";
/// A row comes back when the call is new.
const BEGIN: &str = "WITH swept AS (DELETE FROM countersign.calls c WHERE (c.caller, c.key) IN \
     (SELECT o.caller, o.key FROM countersign.calls o WHERE o.ends_at <= $4 AND NOT (o.caller = $1 AND o.key = $2) \
     LIMIT $6)), \
     kept AS (SELECT count(*) AS n FROM countersign.calls o WHERE o.caller = $1 AND o.ends_at > $4) \
     INSERT INTO countersign.calls AS c (caller, key, request, ends_at) SELECT $1, $2, $3, $5 FROM kept WHERE kept.n < $7 \
     ON CONFLICT (caller, key) DO UPDATE SET request = excluded.request, ends_at = excluded.ends_at, status = NULL, \
     answer = NULL WHERE c.ends_at <= $4 RETURNING c.key";
const KNOWN: &str = "SELECT c.request, c.status, c.answer FROM countersign.calls c WHERE c.caller = $1 AND c.key = $2";
const END: &str = "UPDATE countersign.calls SET status = $3, answer = $4 WHERE caller = $1 AND key = $2";
const FORGET: &str = "DELETE FROM countersign.calls WHERE caller = $1 AND key = $2 AND status IS NULL";
const PROBE: &str =
    "INSERT INTO countersign.probes (node, at) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET at = $2";

impl Callers for PostgresStore {
    fn open_session(&self, session: PageSession, per_user_max: u32) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let others = i64::from(per_user_max.saturating_sub(1));
            let (opened, ends) = (session.opened_at.as_microsecond(), session.ends_at.as_microsecond());
            let (key, credential) = (session.key.as_slice(), session.credential.as_slice());
            let said = session.said.as_deref().map(encode_groups).transpose()?;
            let person = storable(&session.user);
            self.query(OPEN, &[&key, &person, &credential, &opened, &ends, &others, &said]).await.map(drop)
        })
    }

    fn people(&self, now: Timestamp) -> StoreFuture<'_, Vec<Person>> {
        Box::pin(async move {
            let found = self.query(PEOPLE, &[&now.as_microsecond(), &i64::from(PEOPLE_MAX)]).await?;
            found.iter().map(person_from).collect()
        })
    }

    fn session(&self, key: Key) -> StoreFuture<'_, Option<PageSession>> {
        Box::pin(async move { self.query(SESSION, &[&key.as_slice()]).await?.first().map(session_from).transpose() })
    }

    fn offer_password(&self, code: PasswordCode, now: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (ends, now) = (code.ends_at.as_microsecond(), now.as_microsecond());
            let (key, credential) = (code.code.as_slice(), code.credential.as_slice());
            self.query(OFFER, &[&key, &storable(&code.user), &credential, &ends, &now]).await.map(drop)
        })
    }

    fn claim_password(
        &self,
        code: Key,
        verifier: String,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> StoreFuture<'_, Option<String>> {
        Box::pin(async move {
            let (now, ends) = (now.as_microsecond(), ends_at.as_microsecond());
            let claimed = self.query(CLAIM, &[&code.as_slice(), &storable(&verifier), &now, &ends]).await?;
            Ok(claimed.first().map(|row| row.try_get(0)).transpose()?)
        })
    }

    fn password(&self, user: String, now: Timestamp) -> StoreFuture<'_, Option<Password>> {
        Box::pin(async move {
            let found = self.query(PASSWORD, &[&storable(&user), &now.as_microsecond()]).await?;
            found.first().map(password_from).transpose()
        })
    }

    fn drop_password(&self, user: String) -> StoreFuture<'_, bool> {
        Box::pin(async move { Ok(!self.query(DROP, &[&storable(&user)]).await?.is_empty()) })
    }

    fn close_session(&self, key: Key) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.query(CLOSE, &[&key.as_slice()]).await.map(drop) })
    }

    fn close_sessions(&self, user: String) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let closed = self.query(CLOSE_ALL, &[&storable(&user)]).await?;
            let count: i64 = closed.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
            Ok(count.unsigned_abs())
        })
    }

    fn begin_call(&self, call: Call, now: Timestamp, ends_at: Timestamp) -> StoreFuture<'_, Begun> {
        Box::pin(async move {
            let (caller, key, request) = (storable(&call.caller), call.key.as_slice(), call.request.as_slice());
            let (now, ends_at) = (now.as_microsecond(), ends_at.as_microsecond());
            let (sweep, most) = (i64::from(SWEEP_MAX), i64::from(CALLS_MAX));
            let begun = self.query(BEGIN, &[&caller, &key, &request, &now, &ends_at, &sweep, &most]).await?;
            if !begun.is_empty() {
                return Ok(Begun::New);
            }
            let known = self.query(KNOWN, &[&caller, &key]).await?;
            known.first().map_or(Ok(Begun::TooMany), |row| begun_from(row, &call))
        })
    }

    fn end_call(&self, call: Call, answered: Option<Answered>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (caller, key) = (storable(&call.caller), call.key.as_slice());
            match answered {
                None => self.query(FORGET, &[&caller, &key]).await.map(drop),
                Some(Answered { status, body }) => {
                    let body = body.as_deref().map(storable);
                    self.query(END, &[&caller, &key, &i32::from(status), &body]).await.map(drop)
                }
            }
        })
    }

    fn probe(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.query(PROBE, &[&self.node.id(), &now.as_microsecond()]).await.map(drop) })
    }
}

fn digest(bytes: &[u8]) -> Result<Key, StoreError> {
    bytes.try_into().map_err(|_length| StoreError::Invalid("digest"))
}

fn session_from(row: &Row) -> Result<PageSession, StoreError> {
    Ok(PageSession {
        key: digest(row.try_get(0)?)?,
        user: row.try_get(1)?,
        credential: digest(row.try_get(2)?)?,
        opened_at: facts::time_from(row.try_get(3)?)?,
        ends_at: facts::time_from(row.try_get(4)?)?,
        said: row.try_get::<_, Option<String>>(5)?.as_deref().map(groups_from).transpose()?,
    })
}

fn password_from(row: &Row) -> Result<Password, StoreError> {
    let said = row.try_get::<_, Option<String>>(2)?.as_deref().map(groups_from).transpose()?;
    Ok(Password { credential: digest(row.try_get(0)?)?, verifier: row.try_get(1)?, said })
}

fn person_from(row: &Row) -> Result<Person, StoreError> {
    Ok(Person {
        name: row.try_get(0)?,
        credential: digest(row.try_get(1)?)?,
        groups: groups_from(row.try_get(2)?)?,
        ends_at: facts::time_from(row.try_get(3)?)?,
    })
}

fn begun_from(row: &Row, call: &Call) -> Result<Begun, StoreError> {
    if digest(row.try_get(0)?)? != call.request {
        return Ok(Begun::Other);
    }
    let status: Option<i32> = row.try_get(1)?;
    let Some(status) = status else { return Ok(Begun::Open) };
    let status = u16::try_from(status).map_err(|_range| StoreError::Invalid("status"))?;
    Ok(Begun::Answered(Answered { status, body: row.try_get(2)? }))
}
