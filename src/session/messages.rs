//! The words a requester reads: errors and notices of PRODUCT's wire contract, as message bytes.
//!
//! Never says more than the requester may know: no other statement, no rule text, no upstream address.
//! `docs/errors.md` lists every one of them with its SQLSTATE.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_policy::verdict::{Denial, ReviewerDemand};
use countersign_protocol::response::{ErrorFields, error_response, notice_response};
use countersign_protocol::{ProtocolError, sqlstate};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::choices::Wrong;
use super::hopeless::Hopeless;
use crate::duration::in_words;
use crate::review::{AccessRequest, Edit, Misfit, RequestId};

/// An ErrorResponse with severity ERROR.
pub(super) fn error(sqlstate: &str, message: &str, detail: Option<&str>, hint: Option<&str>) -> Bytes {
    let mut out = BytesMut::new();
    error_response(&mut out, &ErrorFields { severity: "ERROR", sqlstate, message, detail, hint });
    out.freeze()
}

/// An ErrorResponse with severity FATAL: the connection ends after it.
pub fn fatal(sqlstate: &str, message: &str, hint: Option<&str>) -> Bytes {
    let mut out = BytesMut::new();
    error_response(&mut out, &ErrorFields { severity: "FATAL", sqlstate, message, detail: None, hint });
    out.freeze()
}

pub(super) fn denied(denial: &Denial) -> Bytes {
    let message = match &denial.rule {
        Some(rule) => format!("statement denied by rule \"{rule}\""),
        None => "statement denied".to_owned(),
    };
    error(sqlstate::INSUFFICIENT_PRIVILEGE, &message, denial.message.as_deref(), None)
}

pub(super) fn rejected(by: &str, group: &str, reason: &str) -> Bytes {
    let message = if group.is_empty() {
        format!("statement rejected by {by}")
    } else {
        format!("statement rejected by {by} ({group})")
    };
    error(sqlstate::INSUFFICIENT_PRIVILEGE, &message, Some(&without_controls(reason)), None)
}

/// What a person wrote, for a terminal that prints messages as they come: nothing in it moves the cursor.
fn without_controls(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    let show = |c: char| if is_plain(c) { c.to_string() } else { crate::visible::spelt(c) };
    text.chars().map(show).collect()
}

pub(super) fn expired(after: Duration) -> Bytes {
    let message = format!("approval timed out after {}", in_words(after));
    let hint = "Send the statement again to ask for approval anew.";
    error(sqlstate::QUERY_CANCELED, &message, None, Some(hint))
}

pub(super) fn withdrawn() -> Bytes {
    error(sqlstate::QUERY_CANCELED, "canceling statement due to user request", None, None)
}

/// Message of the error that names an access request to wait for, and how its DETAIL begins.
const APPROVAL_REQUIRED: &str = "approval required";
/// How the DETAIL of what is about an access request begins.
pub(crate) const ABOUT: &str = "Access request ";

/// The access request that has to be approved first, from message and DETAIL of an error.
pub(crate) fn required_request(message: &str, detail: &str) -> Option<RequestId> {
    let id = detail.strip_prefix(ABOUT)?.split(':').next()?;
    let id = ulid::Ulid::from_string(id).ok().map(RequestId);
    id.filter(|_| message == APPROVAL_REQUIRED)
}

pub(super) fn approval_required(request: &AccessRequest, misfit: Option<&Misfit>, link: &str) -> Bytes {
    let detail = about_waiting(request, misfit);
    let mut hint = format!("Re-run the same statement after approval: {link}");
    if request.justification_required && request.justification.is_none() {
        hint.insert_str(0, "It is approved only with a reason: countersign requests justify ID --reason '...'. ");
    }
    error(sqlstate::INSUFFICIENT_PRIVILEGE, APPROVAL_REQUIRED, Some(&detail), Some(&hint))
}

pub(super) fn unjustified() -> Bytes {
    let detail = "A rule that holds it asks its requester for the reason.";
    let hint = "Begin the statement with a comment /* reason: ... */, or SET countersign.reason = '...' before it.";
    error(sqlstate::INSUFFICIENT_PRIVILEGE, "statement needs a reason", Some(detail), Some(hint))
}

/// Its requester has so much undecided that nothing more is asked of people.
pub(super) fn too_many_undecided(user: &str, limit: u32) -> Bytes {
    let detail = format!(
        "User \"{user}\" has {limit} access requests and grants that nobody has decided, which is as many as one user may have."
    );
    let hint = "Withdraw what is no longer needed (countersign requests cancel), or wait until people have decided; \
                [limits] requests_per_user is how many there may be.";
    let message = "too many access requests wait for approval";
    error(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message, Some(&detail), Some(hint))
}

/// Told before what a reviewer has changed is run.
pub(super) fn edited_notice(edit: &Edit) -> Bytes {
    let mut out = BytesMut::new();
    let message = format!("statement approved with changes by {}", edit.by);
    let detail = format!("What runs is: {}", edit.statement);
    let fields =
        ErrorFields { severity: "NOTICE", sqlstate: "00000", message: &message, detail: Some(&detail), hint: None };
    notice_response(&mut out, &fields);
    out.freeze()
}

pub(super) fn approved_with_changes(edit: &Edit, link: &str) -> Bytes {
    let message = format!("statement approved with changes by {}", edit.by);
    let detail = format!("What was approved is: {}", edit.statement);
    let hint = format!("Nothing was run. Send that text, with the same parameters: {link}");
    error(sqlstate::INSUFFICIENT_PRIVILEGE, &message, Some(&detail), Some(&hint))
}

/// More rows were written than people have approved; they have been taken back, or will be with the open transaction.
pub(super) fn too_many_rows(affected: u64, limit: u64) -> Bytes {
    let message = format!("statement affected {affected} rows, and was approved for at most {limit}");
    let hint = "Nothing of it stays. Send the statement again to ask for approval anew.";
    error(sqlstate::LIMIT_EXCEEDED, &message, None, Some(hint))
}

/// An approval with a limit of rows, for something whose rows cannot be counted before they are there to stay.
pub(super) fn cannot_be_limited() -> Bytes {
    let message = "the statement was approved for a number of rows, and its rows cannot be counted as it runs";
    let detail =
        "They can be in INSERT, UPDATE, DELETE and MERGE, without another one in WITH, and fetched as a whole.";
    let hint = "Nothing of it stays. Ask for an approval without that limit.";
    error(sqlstate::FEATURE_NOT_SUPPORTED, message, Some(detail), Some(hint))
}

/// What cannot be one of the statements that are collected for the end of their transaction.
pub(super) fn not_in_a_batch() -> Bytes {
    let detail = "A batch is approved, and runs, as one text: COPY from or to the client, statements of the extended \
                  protocol, and COMMIT or ROLLBACK among other statements are not part of it.";
    let hint = "Nothing of the batch was run. SET countersign.batch = off, or leave this out.";
    error(sqlstate::FEATURE_NOT_SUPPORTED, "statement cannot be part of a batch", Some(detail), Some(hint))
}

pub(super) fn bound_undecided() -> Bytes {
    let message = "a statement that needs approval must be bound and executed in one pipeline";
    let hint = "Send Execute before Flush or Sync.";
    error(sqlstate::INSUFFICIENT_PRIVILEGE, message, None, Some(hint))
}

pub(super) fn failed_block() -> Bytes {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    error(sqlstate::IN_FAILED_TRANSACTION, message, None, None)
}

pub(super) fn record_unavailable() -> Bytes {
    let hint = "Nothing was run. Ask an operator of the proxy to look at its log.";
    error(sqlstate::IO_ERROR, "statement refused: the proxy cannot keep a record of it", None, Some(hint))
}

pub(super) fn definitions_unknown() -> Bytes {
    let hint = "Nothing was run. Ask an operator of the proxy to look at its log.";
    let message = "statement refused: the proxy could not look at the definitions behind it";
    error(sqlstate::IO_ERROR, message, None, Some(hint))
}

/// The WARNING before rows whose columns are hidden, because a definition is not what their plan took it for.
pub(super) fn defined_anew() -> Bytes {
    let mut out = BytesMut::new();
    let fields = ErrorFields {
        severity: "WARNING",
        sqlstate: sqlstate::WARNING,
        message: "a definition behind the statement has changed: columns that rest on it are masked",
        detail: None,
        hint: Some("Run the statement again."),
    };
    notice_response(&mut out, &fields);
    out.freeze()
}

pub(super) fn approval_unusable() -> Bytes {
    let hint = "Nothing was run. Send the statement again to ask for approval anew.";
    error(sqlstate::INSUFFICIENT_PRIVILEGE, "the approval can no longer be used", None, Some(hint))
}

pub(super) fn unknown_statement(name: &[u8]) -> Bytes {
    let message = match name {
        b"" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name)),
    };
    error(sqlstate::UNKNOWN_STATEMENT, &message, None, None)
}

pub(super) fn unknown_portal(name: &[u8]) -> Bytes {
    let message = format!("portal \"{}\" does not exist", String::from_utf8_lossy(name));
    error(sqlstate::UNKNOWN_CURSOR, &message, None, None)
}

pub(super) fn too_much_kept() -> Bytes {
    let hint = "Close prepared statements that are no longer used, or deallocate them.";
    error(sqlstate::LIMIT_EXCEEDED, "prepared statements and portals take too much memory", None, Some(hint))
}

pub(super) fn too_large(limit: usize) -> Bytes {
    let detail = format!("The proxy takes statements and their parameters up to {} MiB.", limit >> 20);
    let hint = "Send the data by COPY, or in parts.";
    error(sqlstate::LIMIT_EXCEEDED, "message is too large", Some(&detail), Some(hint))
}

pub(super) fn malformed(broken: ProtocolError) -> Bytes {
    error(sqlstate::PROTOCOL_VIOLATION, &broken.to_string(), None, None)
}

/// As PostgreSQL shows it: the bytes of the first character that is none (`report_invalid_encoding`).
pub(super) fn not_utf8(text: &[u8]) -> Bytes {
    let valid = std::str::from_utf8(text).err().map_or(text.len(), |error| error.valid_up_to());
    let broken = text.get(valid..).unwrap_or_default();
    let length = match broken.first() {
        Some(0xC0..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF7) => 4,
        Some(_) | None => 1,
    };
    let shown: Vec<String> = broken.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
    error("22021", &format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")), None, None)
}

pub(super) fn hopeless(hopeless: &Hopeless) -> Bytes {
    error(hopeless.sqlstate, &hopeless.message, None, None)
}

/// A COPY with masked columns, by the name of one, whose cells cannot be told apart.
pub(super) fn copy_of_masked(column: &str) -> Bytes {
    let message = format!("COPY of masked column \"{column}\" is not available with these options");
    let detail = "Its values cannot be replaced in another encoding than UTF8, with a backslash in the NULL marker, \
                  or with an option that is not known.";
    let hint = "Leave these options out, or SELECT the columns: their rows come back with the masked values replaced.";
    error(sqlstate::INSUFFICIENT_PRIVILEGE, &message, Some(detail), Some(hint))
}

/// A setting of ours with a value that it cannot have.
pub(super) fn wrong_choice(wrong: &Wrong) -> Bytes {
    error(wrong.sqlstate, &wrong.message, None, Some(&wrong.hint))
}

/// A setting that must keep its value.
pub(super) fn pinned(setting: &str) -> Bytes {
    let message = format!("parameter \"{setting}\" cannot be changed through the proxy");
    let hint = "It decides how the text of later statements is read. Leave it at its default.";
    error(sqlstate::CANT_CHANGE_RUNTIME_PARAM, &message, None, Some(hint))
}

pub(super) fn login_role() -> Bytes {
    let message = "the role that the proxy logs in with cannot be changed through the proxy";
    let detail = "ALTER, RENAME, DROP and DROP OWNED of it could keep the proxy from logging in again.";
    let hint = "Name another role, or change it on a direct connection, together with the configuration of the proxy.";
    error(sqlstate::INSUFFICIENT_PRIVILEGE, message, Some(detail), Some(hint))
}

pub(super) fn not_supported(message: &str) -> Bytes {
    error(sqlstate::FEATURE_NOT_SUPPORTED, message, None, None)
}

/// The NOTICE of a statement that waits.
pub(super) fn waiting(request: &AccessRequest, misfit: Option<&Misfit>, link: &str) -> Bytes {
    let message = format!("waiting for approval by {}", groups(&request.reviewers));
    let detail = about_waiting(request, misfit);
    let hint = format!("{link}   Ctrl-C withdraws it.");
    let mut out = BytesMut::new();
    let fields = ErrorFields {
        severity: "NOTICE",
        sqlstate: "00000",
        message: &message,
        detail: Some(&detail),
        hint: Some(&hint),
    };
    notice_response(&mut out, &fields);
    out.freeze()
}

fn about(request: &AccessRequest) -> String {
    format!("{ABOUT}{}: {}.", request.id, request.summary)
}

fn about_waiting(request: &AccessRequest, misfit: Option<&Misfit>) -> String {
    let misfit = misfit.map(|misfit| {
        let with = match misfit.with.as_slice() {
            [] => "what it is bound to has changed: definitions in the database, or how the session reads values"
                .to_owned(),
            with => format!("it was approved with {}", with.join(" and ")),
        };
        format!(" Access request {} is approved for the same statement, but {with}.", misfit.id)
    });
    format!("{} Expires {}.{}", about(request), clock(request.expires_at), misfit.unwrap_or_default())
}

/// `dba-team`, `dba-team and security-team`, `2 of dba-team, auditors and security-team`.
fn groups(reviewers: &[ReviewerDemand]) -> String {
    let names: Vec<String> = reviewers
        .iter()
        .map(|demand| match demand.approvals {
            0 | 1 => demand.group.clone(),
            people => format!("{people} of {}", demand.group),
        })
        .collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_groups(reviewers: &[(&str, u32)], words: &str) {
        let reviewers: Vec<_> = reviewers
            .iter()
            .map(|(group, approvals)| ReviewerDemand { group: (*group).to_owned(), approvals: *approvals })
            .collect();
        assert_eq!(groups(&reviewers), words);
    }

    #[track_caller]
    fn check_not_utf8(text: &[u8], shown: &str) {
        let message = not_utf8(text);
        let wanted = format!("encoding \"UTF8\": {shown}\0");
        assert!(message.windows(wanted.len()).any(|bytes| bytes == wanted.as_bytes()), "{message:?}");
    }

    #[test]
    fn a_reason_moves_no_cursor_and_keeps_its_lines() {
        let told = |reason: &str| String::from_utf8_lossy(&rejected("bob", "dba-team", reason)).into_owned();
        let shown = told("no\u{1b}[2J\u{7}\r\nask \u{201c}J\u{fc}rgen\u{201d}\tfirst");
        assert!(shown.contains("no<U+001B>[2J<U+0007>\\r\nask \u{201c}J\u{fc}rgen\u{201d}\tfirst"), "{shown}");
    }

    #[test]
    fn what_is_not_utf8_is_shown_as_postgresql_does() {
        check_not_utf8(b"SELECT '\xff'", "0xff");
        check_not_utf8("SELECT 'ä', '\u{e9}".as_bytes().split_last().unwrap().1, "0xc3");
        check_not_utf8(b"SELECT '\xc3'", "0xc3 0x27");
        check_not_utf8(b"\xed\xa0\x80", "0xed 0xa0 0x80");
        check_not_utf8(b"\xf0\x9f", "0xf0 0x9f");
    }

    #[test]
    fn reviewer_groups_read_as_a_sentence() {
        check_groups(&[("dba-team", 1)], "dba-team");
        check_groups(&[("dba-team", 1), ("security-team", 1)], "dba-team and security-team");
        check_groups(&[("a", 1), ("b", 2), ("c", 1)], "a, 2 of b and c");
    }
}
