//! Errors and notices of statements that concern masked data, without the texts that could quote a value.
//!
//! Never changes severity, SQLSTATE, position, or the names of schema, table, column, type and constraint: clients act on
//! those. Invariant: no other text of such a message reaches the client.
//! Source: PostgreSQL manual, "Error and Notice Message Fields".

use bytes::{Bytes, BytesMut};
use countersign_policy::analysis::StatementAnalysis;
use countersign_policy::mask::MaskSet;
use countersign_policy::{Analysis, Effect, Effects};
use countersign_protocol::FrameRef;
use countersign_protocol::backend::error_field;
use countersign_protocol::response::keep_fields;

use super::expected::Expected;
use super::machine::Machine;
use super::statements::Undo;
use super::words::Surroundings;

/// Fields that name objects or classify; none of them quotes a value.
const KEPT: &[u8] = b"SVCPstcdn";
/// The primary message in place of the original.
const WITHHELD: &str = "the message is withheld because it could quote masked data";

/// Primary messages that are the same whatever the data is.
const CONSTANT: &[&str] = &[
    "SET LOCAL can only be used in transaction blocks",
    "current transaction is aborted, commands ignored until end of transaction block",
    "there is already a transaction in progress",
    "there is no transaction in progress",
];

impl Machine {
    /// The message as the client may see it.
    pub(super) fn scrubbed(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Bytes {
        if !around.all_masks.touches_database() || is_about_the_text(frame) || !self.concerns_masked(around) {
            return Bytes::copy_from_slice(frame.bytes);
        }
        let mut out = BytesMut::new();
        let message = error_field(frame.body(), b'M').unwrap_or_default();
        let constant = CONSTANT.iter().find(|constant| constant.as_bytes() == message);
        keep_fields(&mut out, frame, KEPT, constant.unwrap_or(&WITHHELD));
        out.freeze()
    }

    /// Whether what the upstream is doing could bring a masked value into a message.
    fn concerns_masked(&mut self, around: &Surroundings) -> bool {
        match self.expected.front() {
            Some(Expected::Query(reply)) => concerns_masked(&reply.run.analysis, reply.run.masks(around)),
            Some(Expected::Execute(reply)) => concerns_masked(&reply.run.analysis, reply.run.masks(around)),
            // Planning may fold function calls; otherwise only the client's own parameters can be quoted.
            Some(Expected::Bind(Undo::Portal(name, ..))) => self
                .statements
                .portal(name)
                .is_none_or(|portal| portal.statement.analysis.statements.iter().any(calls_foreign)),
            // Deferred constraints are checked at commit.
            Some(Expected::Sync | Expected::CopySyncs(_)) => true,
            Some(
                Expected::PoisonQuery(_)
                | Expected::PoisonExecute(_)
                | Expected::Parse(_)
                | Expected::OwnParse
                | Expected::Bind(_)
                | Expected::Close(_)
                | Expected::Describe(_)
                | Expected::OwnDescribe(_)
                | Expected::Own(_),
            )
            | None => false,
        }
    }
}

/// Whether PostgreSQL complains about the statement as it is written, before it has looked at any row: names that there are
/// not, wrong constants. Only its parser says where in the text; what is raised while rows are read, by a function or a
/// cast, has no position, and an inner statement's is of another kind.
fn is_about_the_text(frame: FrameRef<'_>) -> bool {
    let field = |code: u8| error_field(frame.body(), code);
    let sqlstate = field(b'C').unwrap_or_default();
    let of_parser = sqlstate.starts_with(b"42") || matches!(sqlstate, b"22P02" | b"22007");
    of_parser && field(b'P').is_some() && [b'p', b'q', b'W'].into_iter().all(|code| field(code).is_none())
}

fn concerns_masked(analysis: &Analysis, masks: &MaskSet) -> bool {
    if !masks.touches_database() {
        return false;
    }
    const OPAQUE: Effects =
        Effects::of(&[Effect::Transaction, Effect::Do, Effect::Call, Effect::FunctionCall, Effect::Unknown]);
    analysis.statements.iter().any(|statement| {
        statement.effects.intersects(OPAQUE)
            || calls_foreign(statement)
            || statement.relations.iter().any(|relation| relation.oid.is_none_or(|oid| masks.touches_relation(oid)))
    })
}

/// Whether it calls a function that did not come with the server.
fn calls_foreign(statement: &StatementAnalysis) -> bool {
    statement.functions.iter().any(|function| function.schema != "pg_catalog")
}
