//! Command tags of PostgreSQL → effects of which a statement with that tag must carry one.
//!
//! Never knows a statement's text. Invariant: a tag that is not listed is not let pass.

use countersign_policy::{Effect, Effects};

/// The effects that go with a tag; `None` when the tag is not known.
pub fn effects(tag: &str) -> Option<Effects> {
    let list: &[Effect] = match tag {
        // A query that makes a table has the tag of a query.
        "SELECT" => &[Effect::Select, Effect::Create, Effect::Maintenance],
        "SELECT INTO" => &[Effect::Create],
        "INSERT" => &[Effect::Insert],
        "UPDATE" => &[Effect::Update],
        "DELETE" => &[Effect::Delete],
        "MERGE" => &[Effect::Merge],
        "COPY" => &[Effect::CopyIn, Effect::CopyOut],
        "TRUNCATE TABLE" => &[Effect::Truncate],
        "BEGIN"
        | "START TRANSACTION"
        | "COMMIT"
        | "ROLLBACK"
        | "SAVEPOINT"
        | "RELEASE"
        | "PREPARE TRANSACTION"
        | "COMMIT PREPARED"
        | "ROLLBACK PREPARED" => &[Effect::Transaction],
        "DECLARE CURSOR" | "FETCH" | "MOVE" | "CLOSE CURSOR" | "CLOSE CURSOR ALL" => &[Effect::Cursor],
        "PREPARE" => &[Effect::Prepare],
        "DEALLOCATE" | "DEALLOCATE ALL" => &[Effect::Deallocate],
        "DISCARD ALL" | "DISCARD PLANS" | "DISCARD SEQUENCES" | "DISCARD TEMP" => &[Effect::Discard],
        "SET" => &[Effect::Set, Effect::SetRole, Effect::SetDangerous],
        "SET CONSTRAINTS" => &[Effect::Set],
        "RESET" => &[Effect::Reset],
        "SHOW" => &[Effect::Show],
        "EXPLAIN" => &[Effect::Explain],
        "LISTEN" | "UNLISTEN" => &[Effect::Listen],
        "NOTIFY" => &[Effect::Notify],
        "LOCK TABLE" => &[Effect::Lock, Effect::Select],
        "VACUUM" | "ANALYZE" | "CLUSTER" | "REINDEX" | "CHECKPOINT" | "REFRESH MATERIALIZED VIEW" => {
            &[Effect::Maintenance]
        }
        "CALL" => &[Effect::Call],
        "DO" => &[Effect::Do],
        "LOAD" => &[Effect::FunctionCall],
        "GRANT" | "GRANT ROLE" => &[Effect::Grant],
        "REVOKE" | "REVOKE ROLE" => &[Effect::Revoke],
        "COMMENT" => &[Effect::Comment],
        "SECURITY LABEL" => &[Effect::SecurityLabel],
        "ALTER DEFAULT PRIVILEGES" => &[Effect::Grant, Effect::Revoke, Effect::Alter],
        "REASSIGN OWNED" => &[Effect::Alter],
        "IMPORT FOREIGN SCHEMA" => &[Effect::Create],
        // An index that replaces another one, a partition's constraint.
        "CREATE INDEX" => &[Effect::Create, Effect::Alter],
        _ if tag.starts_with("CREATE ") => &[Effect::Create],
        // CREATE SCHEMA and CREATE TABLE are made of several commands.
        _ if tag.starts_with("ALTER ") => &[Effect::Alter, Effect::Create],
        _ if tag.starts_with("DROP ") => &[Effect::Drop],
        _ => return None,
    };
    Some(Effects::of(list))
}
