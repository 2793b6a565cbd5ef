//! One connection that runs texts and tells what they did.
//!
//! Never runs what would harm the server. Invariant: what is asked about a text is asked within its transaction, before it
//! ends.

use bytes::{Bytes, BytesMut};
use countersign::throwaway::{SUPERUSER, ThrowawayPostgres};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use super::facts::{Facts, Origin, Outcome, Trace};
use crate::support::wire::{Frame, WireClient};

/// The schema of the observer.
pub const OBSERVER_SCHEMA: &str = "observer";
/// Makes the table that event triggers write to. Its schema is left out of every trace.
pub const OBSERVER: &str = "\
CREATE SCHEMA observer; GRANT USAGE ON SCHEMA observer TO public;
CREATE UNLOGGED TABLE observer.commands (at bigserial, tag text, kind text, oid oid, name text, xid xid8 DEFAULT pg_current_xact_id());
GRANT SELECT ON observer.commands TO public;
CREATE FUNCTION observer.command() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO observer.commands (tag, kind, oid, name)
        SELECT command_tag, coalesce(object_type, ''), coalesce(objid, 0), coalesce(object_identity, '')
        FROM pg_event_trigger_ddl_commands();
END $$;
CREATE FUNCTION observer.dropped() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO observer.commands (tag, kind, oid, name)
        SELECT 'DROPPED', object_type, objid, object_identity FROM pg_event_trigger_dropped_objects()
        WHERE original OR (normal AND object_type IN ('table', 'view', 'materialized view', 'foreign table', 'table column'));
END $$;
CREATE EVENT TRIGGER observer_command ON ddl_command_end EXECUTE FUNCTION observer.command();
CREATE EVENT TRIGGER observer_dropped ON sql_drop EXECUTE FUNCTION observer.dropped();";

/// Asks what the transaction did so far.
const TRACE: &str = "\
SELECT pg_catalog.json_build_object(
'written', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('oid', c.oid::int8, 'name', c.relname,
        'inserted', i, 'updated', u, 'deleted', d)), '[]')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
        LATERAL (SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) AS i,
            pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) AS u,
            pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS d) s
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm') AND n.nspname <> 'observer' AND i + u + d > 0),
'called', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('oid', p.oid::int8, 'name', p.proname,
        'is_volatile', p.provolatile = 'v', 'calls', pg_catalog.pg_stat_get_xact_function_calls(p.oid))), '[]')
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.oid >= 16384 AND n.nspname <> 'observer' AND pg_catalog.pg_stat_get_xact_function_calls(p.oid) > 0),
'locks', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('oid', c.oid::int8, 'name', c.relname,
        'mode', l.mode)), '[]')
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND c.oid >= 16384
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'observer'),
'advisory', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'advisory'),
'xid', pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL,
'role', current_user, 'session_role', session_user, 'path', pg_catalog.current_schemas(true),
'reading', pg_catalog.concat_ws('/', pg_catalog.current_setting('standard_conforming_strings'),
    pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('backslash_quote')),
'commands', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('tag', o.tag, 'kind', o.kind,
        'oid', o.oid::int8, 'name', o.name) ORDER BY o.at), '[]')
    FROM observer.commands o WHERE o.xid = pg_catalog.pg_current_xact_id_if_assigned()))";

/// What is not run: it would reach out of the database, or stop the run.
const NOT_RUN: &[&str] = &[
    "to program",
    "from program",
    "prepare transaction",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_promote",
    "pg_rotate_logfile",
    "alter system",
    "create tablespace",
    "drop tablespace",
    "pg_sleep",
    "lo_export",
    "dblink",
    "pg_file_",
    "observer",
];

/// What became of the texts that can only stand outside of a transaction.
const NOT_IN_BLOCK: [&str; 2] = ["25001", "2D000"];

pub struct Witness {
    client: WireClient,
    /// A transaction is open, because a cursor is.
    is_open: bool,
    /// The last text ran outside of a transaction.
    left_transaction: bool,
    /// COPY FROM STDIN gets a row of NULLs, not nothing.
    gives_rows: bool,
}

/// The answers to one Query or up to one Sync.
struct Reply(Vec<Frame>);

impl Reply {
    fn error(&self) -> Option<String> {
        let error = self.0.iter().find(|frame| frame.tag == b'E')?;
        Some(error.field(b'C').unwrap_or_default())
    }

    /// Whether a COPY FROM STDIN was given one.
    fn took_a_row(&self) -> bool {
        self.0.iter().any(|frame| frame.tag == b'G')
    }

    fn first_cell(&self) -> Option<&[u8]> {
        let row = self.0.iter().find(|frame| frame.tag == b'D')?;
        row.body.get(6..)
    }

    /// Command tags without counts; an empty query has an empty one.
    fn tags(&self) -> Vec<String> {
        let tag = |frame: &Frame| match frame.tag {
            b'C' => {
                let text = String::from_utf8_lossy(&frame.body);
                let words: Vec<_> = text.trim_end_matches('\0').split(' ').collect();
                let is_count = |word: &&&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
                let words: Vec<_> = words.iter().filter(|word| !is_count(word)).copied().collect();
                Some(words.join(" "))
            }
            _ => None,
        };
        self.0.iter().filter_map(tag).collect()
    }

    fn copied(&self) -> Option<usize> {
        let copy = self.0.iter().find(|frame| frame.tag == b'H')?;
        let count = copy.body.get(1..3)?;
        Some(usize::from(u16::from_be_bytes([count[0], count[1]])))
    }

    /// Origins in a RowDescription; empty for NoData.
    fn columns(&self) -> Option<Vec<Origin>> {
        let described = self.0.iter().find(|frame| matches!(frame.tag, b'T' | b'n'))?;
        if described.tag == b'n' {
            return Some(Vec::new());
        }
        let mut columns = Vec::new();
        let mut rest = described.body.get(2..)?;
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let field = rest.get(end + 1..end + 19)?;
            let relation = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
            columns.push(Origin { relation, attnum: i16::from_be_bytes([field[4], field[5]]) });
            rest = rest.get(end + 19..)?;
        }
        Some(columns)
    }

    fn parameters(&self) -> usize {
        let described = self.0.iter().find(|frame| frame.tag == b't');
        described.map_or(0, |frame| usize::from(u16::from_be_bytes([frame.body[0], frame.body[1]])))
    }
}

impl Witness {
    pub async fn connect(server: &ThrowawayPostgres, database: &str) -> Self {
        let address = ([127, 0, 0, 1], server.port()).into();
        let client = WireClient::connect_to(address, SUPERUSER, server.password(), database).await;
        Self { client, is_open: false, left_transaction: false, gives_rows: true }
    }

    /// Whether a transaction is left open, because a cursor is.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the last text ran outside of a transaction.
    pub fn left_transaction(&self) -> bool {
        self.left_transaction
    }

    /// Runs a text; `None` when the connection ended.
    ///
    /// [`Self::begin`] comes first and yields what was before.
    pub async fn observe(&mut self, text: &str, before: Trace, keep: bool) -> Option<Outcome> {
        let lower = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        if NOT_RUN.iter().any(|word| lower.contains(word)) || text.contains('\0') {
            self.end(false).await?;
            return Some(Outcome::Skipped);
        }
        self.left_transaction = false;
        let mut facts = Facts { before, ..Facts::default() };
        let described = self.describe(text).await?;
        let parameters = described.parameters();
        facts.columns = described.columns();
        match described.error().as_deref() {
            None => {}
            // Several statements cannot be prepared; they can be run.
            Some("42601") if described.0.iter().any(is_several) => {
                self.end(false).await?;
                facts.before = self.begin().await?;
            }
            Some(_) => {
                self.end(false).await?;
                return Some(Outcome::Refused(None));
            }
        }
        let mut reply = if parameters > 0 { self.execute(parameters).await? } else { self.query(text).await? };
        // The row that a COPY was given may not be one for its table.
        if reply.took_a_row() && reply.error().is_some() {
            self.end(false).await?;
            facts.before = self.begin().await?;
            self.gives_rows = false;
            reply = self.query(text).await?;
            self.gives_rows = true;
        }
        if let Some(sqlstate) = reply.error() {
            self.end(false).await?;
            if keep && NOT_IN_BLOCK.contains(&sqlstate.as_str()) {
                return self.outside(text, facts).await;
            }
            return Some(Outcome::Refused(facts.columns));
        }
        facts.tags = reply.tags();
        facts.copied = reply.copied();
        facts.after = Some(self.trace().await?);
        let opens = facts.tags.iter().any(|tag| tag == "DECLARE CURSOR");
        let moves = facts.tags.iter().all(|tag| matches!(tag.as_str(), "FETCH" | "MOVE" | "SELECT"));
        if keep && (opens || (self.is_open && moves)) {
            self.is_open = true;
        } else {
            self.end(keep).await?;
        }
        Some(Outcome::Ran(Box::new(facts)))
    }

    async fn outside(&mut self, text: &str, mut facts: Facts) -> Option<Outcome> {
        self.left_transaction = true;
        let reply = self.query(text).await?;
        let refused = reply.error();
        self.query("ROLLBACK").await?;
        if refused.is_some() {
            return Some(Outcome::Refused(facts.columns));
        }
        facts.tags = reply.tags();
        Some(Outcome::Ran(Box::new(facts)))
    }

    /// Begins a transaction, unless one is open, and tells what it has done so far.
    pub async fn begin(&mut self) -> Option<Trace> {
        if !self.is_open {
            self.query("BEGIN").await?;
        }
        self.trace().await
    }

    async fn end(&mut self, keep: bool) -> Option<()> {
        self.is_open = false;
        let reply = self.query(if keep { "COMMIT" } else { "ROLLBACK" }).await?;
        if reply.error().is_some() {
            self.query("ROLLBACK").await?;
        }
        Some(())
    }

    async fn trace(&mut self) -> Option<Trace> {
        let reply = self.query(TRACE).await?;
        let trace = reply.first_cell().and_then(|cell| serde_json::from_slice(cell).ok());
        Some(trace.unwrap_or_else(|| panic!("no trace: {:?}", reply.error())))
    }

    async fn describe(&mut self, text: &str) -> Option<Reply> {
        let mut out = BytesMut::new();
        frontend::parse("", text, [], &mut out).expect("Parse");
        frontend::describe(b'S', "", &mut out).expect("Describe");
        frontend::sync(&mut out);
        self.client.send(&out).await;
        self.reply().await
    }

    /// Executes the statement that was described last, with NULL for every parameter.
    async fn execute(&mut self, parameters: usize) -> Option<Reply> {
        let mut out = BytesMut::new();
        let null = |_: (), _: &mut BytesMut| Ok(IsNull::Yes);
        let bound = frontend::bind("", "", [], std::iter::repeat_n((), parameters), null, [], &mut out);
        assert!(bound.is_ok(), "Bind");
        frontend::execute("", 0, &mut out).expect("Execute");
        frontend::sync(&mut out);
        self.client.send(&out).await;
        self.reply().await
    }

    pub async fn sql(&mut self, text: &str) -> Option<Option<String>> {
        Some(self.query(text).await?.error())
    }

    /// The result columns of a query.
    pub async fn origins(&mut self, query: &str) -> Option<Vec<Origin>> {
        self.describe(query).await?.columns()
    }

    async fn query(&mut self, text: &str) -> Option<Reply> {
        self.client.send_query(text).await;
        self.reply().await
    }

    async fn reply(&mut self) -> Option<Reply> {
        let mut frames = Vec::new();
        loop {
            let frame = self.client.next().await?;
            match frame.tag {
                b'Z' => return Some(Reply(frames)),
                b'G' => {
                    let mut out = BytesMut::new();
                    let row = self.gives_rows.then(|| row_of_nulls(&frame)).flatten();
                    if let Some(row) = row {
                        frontend::CopyData::new(row).expect("CopyData").write(&mut out);
                        frames.push(frame);
                    }
                    frontend::copy_done(&mut out);
                    self.client.send(&out).await;
                }
                // One row is enough, and of COPY none.
                b'D' if frames.iter().any(|known: &Frame| known.tag == b'D') => {}
                b'd' | b'N' | b'A' => {}
                _ => frames.push(frame),
            }
        }
    }
}

/// What COPY takes in the format that it asks for by default; `None` of the binary one. Other options may read it otherwise.
fn row_of_nulls(copy: &Frame) -> Option<Bytes> {
    let [0, high, low, ..] = *copy.body.get(..)? else { return None };
    let row = vec!["\\N"; usize::from(u16::from_be_bytes([high, low]))].join("\t");
    Some(Bytes::from(format!("{row}\n")))
}

fn is_several(frame: &Frame) -> bool {
    frame.tag == b'E' && frame.field(b'M').is_some_and(|message| message.contains("multiple commands"))
}
