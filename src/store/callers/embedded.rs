//! What is kept of callers, in the embedded store.
//!
//! Never merges two calls. Invariant: a key of a caller stands in one row.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Answered, Begun, CALLS_MAX, Call, Callers, Key, PEOPLE_MAX, PageSession, Password, PasswordCode, Person, SWEEP_MAX,
    encode_groups, groups_from,
};
use crate::store::{SqliteStore, StoreError, StoreFuture, facts};

impl Callers for SqliteStore {
    fn open_session(&self, session: PageSession, per_user_max: u32) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            connection
                .prepare_cached("DELETE FROM page_sessions WHERE ends_at <= ?1")?
                .execute([session.opened_at.as_microsecond()])?;
            connection
                .prepare_cached(
                    "DELETE FROM page_sessions WHERE key IN (SELECT key FROM page_sessions WHERE person = ?1 \
                     ORDER BY opened_at DESC LIMIT -1 OFFSET ?2)",
                )?
                .execute(params![session.user, per_user_max.saturating_sub(1)])?;
            connection
                .prepare_cached(
                    "INSERT INTO page_sessions (key, person, credential, opened_at, ends_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    session.key.as_slice(),
                    session.user,
                    session.credential.as_slice(),
                    session.opened_at.as_microsecond(),
                    session.ends_at.as_microsecond(),
                ])?;
            connection
                .prepare_cached("DELETE FROM people WHERE ends_at <= ?1")?
                .execute([session.opened_at.as_microsecond()])?;
            let Some(said) = &session.said else { return Ok(()) };
            connection
                .prepare_cached(
                    "INSERT INTO people (person, credential, groups, ends_at) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (person) DO UPDATE SET credential = ?2, groups = ?3, ends_at = ?4",
                )?
                .execute(params![
                    session.user,
                    session.credential.as_slice(),
                    encode_groups(said)?,
                    session.ends_at.as_microsecond(),
                ])?;
            Ok(())
        })
    }

    fn people(&self, now: Timestamp) -> StoreFuture<'_, Vec<Person>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT person, credential, groups, ends_at FROM people WHERE ends_at > ?1 ORDER BY ends_at DESC LIMIT ?2",
            )?;
            let found = query.query_map(params![now.as_microsecond(), PEOPLE_MAX], |row| Ok(person_from(row)))?;
            found.map(|person| person?).collect()
        })
    }

    fn session(&self, key: Key) -> StoreFuture<'_, Option<PageSession>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT s.key, s.person, s.credential, s.opened_at, min(s.ends_at, coalesce(p.ends_at, s.ends_at)), p.groups \
                 FROM page_sessions s LEFT JOIN people p ON p.person = s.person AND p.credential = s.credential WHERE s.key = ?1",
            )?;
            query.query_row([key.as_slice()], |row| Ok(session_from(row))).optional()?.transpose()
        })
    }

    fn offer_password(&self, code: PasswordCode, now: Timestamp) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            connection
                .prepare_cached("DELETE FROM password_codes WHERE ends_at <= ?1")?
                .execute([now.as_microsecond()])?;
            connection
                .prepare_cached(
                    "INSERT INTO password_codes (code, person, credential, ends_at) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    code.code.as_slice(),
                    code.user,
                    code.credential.as_slice(),
                    code.ends_at.as_microsecond()
                ])?;
            Ok(())
        })
    }

    fn claim_password(
        &self,
        code: Key,
        verifier: String,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> StoreFuture<'_, Option<String>> {
        self.write(move |connection| {
            let used = connection
                .prepare_cached(
                    "DELETE FROM password_codes WHERE code = ?1 AND ends_at > ?2 RETURNING person, credential",
                )?
                .query_row(params![code.as_slice(), now.as_microsecond()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Key>(1)?))
                })
                .optional()?;
            let Some((person, credential)) = used else { return Ok(None) };
            connection.prepare_cached("DELETE FROM passwords WHERE ends_at <= ?1")?.execute([now.as_microsecond()])?;
            connection
                .prepare_cached(
                    "INSERT INTO passwords (person, credential, verifier, ends_at) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (person) DO UPDATE SET credential = ?2, verifier = ?3, ends_at = ?4",
                )?
                .execute(params![person, credential.as_slice(), verifier, ends_at.as_microsecond()])?;
            Ok(Some(person))
        })
    }

    fn password(&self, user: String, now: Timestamp) -> StoreFuture<'_, Option<Password>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT w.credential, w.verifier, p.groups FROM passwords w LEFT JOIN people p \
                 ON p.person = w.person AND p.credential = w.credential AND p.ends_at > ?2 \
                 WHERE w.person = ?1 AND w.ends_at > ?2",
            )?;
            let found = query.query_row(params![user, now.as_microsecond()], |row| Ok(password_from(row)));
            found.optional()?.transpose()
        })
    }

    fn drop_password(&self, user: String) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM password_codes WHERE person = ?1")?.execute([&user])?;
            Ok(connection.prepare_cached("DELETE FROM passwords WHERE person = ?1")?.execute([&user])? > 0)
        })
    }

    fn close_session(&self, key: Key) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM page_sessions WHERE key = ?1")?.execute([key.as_slice()])?;
            Ok(())
        })
    }

    fn close_sessions(&self, user: String) -> StoreFuture<'_, u64> {
        self.write(move |connection| {
            let closed = connection.prepare_cached("DELETE FROM page_sessions WHERE person = ?1")?.execute([user])?;
            Ok(u64::try_from(closed).unwrap_or(u64::MAX))
        })
    }

    fn begin_call(&self, call: Call, now: Timestamp, ends_at: Timestamp) -> StoreFuture<'_, Begun> {
        self.write(move |connection| begin(connection, &call, now, ends_at))
    }

    fn end_call(&self, call: Call, answered: Option<Answered>) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            let key = call.key.as_slice();
            match answered {
                None => connection
                    .prepare_cached("DELETE FROM calls WHERE caller = ?1 AND key = ?2 AND status IS NULL")?
                    .execute(params![call.caller, key])?,
                Some(Answered { status, body }) => connection
                    .prepare_cached("UPDATE calls SET status = ?3, answer = ?4 WHERE caller = ?1 AND key = ?2")?
                    .execute(params![call.caller, key, status, body])?,
            };
            Ok(())
        })
    }

    fn probe(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            connection
                .prepare_cached("INSERT INTO probes (id, at) VALUES (0, ?1) ON CONFLICT (id) DO UPDATE SET at = ?1")?
                .execute([now.as_microsecond()])?;
            Ok(())
        })
    }
}

fn session_from(row: &Row<'_>) -> Result<PageSession, StoreError> {
    Ok(PageSession {
        key: row.get(0)?,
        user: row.get(1)?,
        credential: row.get(2)?,
        opened_at: facts::time_from(row.get(3)?)?,
        ends_at: facts::time_from(row.get(4)?)?,
        said: row.get::<_, Option<String>>(5)?.as_deref().map(groups_from).transpose()?,
    })
}

fn password_from(row: &Row<'_>) -> Result<Password, StoreError> {
    let said = row.get::<_, Option<String>>(2)?.as_deref().map(groups_from).transpose()?;
    Ok(Password { credential: row.get(0)?, verifier: row.get(1)?, said })
}

fn person_from(row: &Row<'_>) -> Result<Person, StoreError> {
    Ok(Person {
        name: row.get(0)?,
        credential: row.get(1)?,
        groups: groups_from(&row.get::<_, String>(2)?)?,
        ends_at: facts::time_from(row.get(3)?)?,
    })
}

fn begin(connection: &Connection, call: &Call, now: Timestamp, ends_at: Timestamp) -> Result<Begun, StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM calls WHERE (caller, key) IN (SELECT caller, key FROM calls WHERE ends_at <= ?1 LIMIT ?2) \
             OR (caller = ?3 AND key = ?4 AND ends_at <= ?1)",
        )?
        .execute(params![now.as_microsecond(), SWEEP_MAX, call.caller, call.key.as_slice()])?;
    let known = connection
        .prepare_cached("SELECT request, status, answer FROM calls WHERE caller = ?1 AND key = ?2")?
        .query_row(params![call.caller, call.key.as_slice()], |row| {
            Ok((row.get::<_, Key>(0)?, row.get::<_, Option<u16>>(1)?, row.get(2)?))
        })
        .optional()?;
    if let Some((request, status, body)) = known {
        return Ok(match status {
            _ if request != call.request => Begun::Other,
            Some(status) => Begun::Answered(Answered { status, body }),
            None => Begun::Open,
        });
    }
    let kept: u32 = connection
        .prepare_cached("SELECT count(*) FROM calls WHERE caller = ?1")?
        .query_row([&call.caller], |row| row.get(0))?;
    if kept >= CALLS_MAX {
        return Ok(Begun::TooMany);
    }
    connection
        .prepare_cached("INSERT INTO calls (caller, key, request, ends_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![call.caller, call.key.as_slice(), call.request.as_slice(), ends_at.as_microsecond()])?;
    Ok(Begun::New)
}
