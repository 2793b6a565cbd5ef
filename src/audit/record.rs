//! What the audit trail records, and how one record becomes one line.
//!
//! Never builds an intermediate tree: a record borrows what it speaks of and is encoded straight into bytes.
//! Invariant: a line holds no raw line feed, so one record is one line whatever the statement holds.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use countersign_policy::Effects;

use countersign_policy::verdict::ReviewerDemand;

use super::{Output, frequent};
use crate::review::{GrantId, GrantScope, GrantState, Offer, Parameter, RequestId, State, Surface};

/// One thing that happened. Field names are the keys of the line (`docs/audit.md`).
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record<'a> {
    /// A client has authenticated.
    SessionOpen {
        /// Number or name of the session, unique while the proxy runs.
        session: &'a str,
        /// Authenticated user.
        user: &'a str,
        /// Database as the client named it.
        database: &'a str,
        /// `ip:port`, or `local`.
        client_address: &'a str,
        /// `application_name`.
        application: &'a str,
    },
    /// A client has not proved who it is, or may not connect where it wanted to. Not of those that have failed too often.
    LoginFailed {
        /// The user it named, at most 63 bytes of it.
        user: &'a str,
        /// The database it named, likewise.
        database: &'a str,
        /// `ip:port`, or `local`.
        client_address: &'a str,
        /// Why, one of few constant texts.
        reason: &'a str,
    },
    /// Somebody has signed in on the page, or tried to. Not of those that have failed too often.
    SignIn {
        /// The user, as named there, at most 63 bytes of it; empty for a token that nobody has.
        user: &'a str,
        /// IP address.
        client_address: &'a str,
        /// `password`, `token` or `oidc`.
        with: &'a str,
        /// Whether it is theirs.
        accepted: bool,
    },
    /// A password for databases was had through the page, or ended.
    Password {
        /// Whose.
        user: &'a str,
        /// IP address of the program that has it; empty where one was ended.
        client_address: &'a str,
        /// Until when; `null` where one was ended.
        expires_at: Option<Timestamp>,
    },
    /// A call of the HTTP API that changes something, or that was refused.
    ApiCall {
        /// Who called; empty where that is not known.
        user: &'a str,
        /// IP address.
        client_address: &'a str,
        /// `token` or `session`; empty where neither was accepted.
        with: &'a str,
        /// HTTP method.
        method: &'a str,
        /// Path, at most 200 bytes of it.
        path: &'a str,
        /// HTTP status of the answer.
        status: u16,
    },
    /// A command was typed into the console.
    ConsoleCommand {
        /// The session.
        session: &'a str,
        /// Its user.
        user: &'a str,
        /// The command, as it was typed.
        command: &'a str,
        /// Values of its parameters; none of what came without.
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        parameters: &'a [String],
        /// Whether they may do that.
        permitted: bool,
    },
    /// A session ended.
    SessionClose {
        /// The session.
        session: &'a str,
        /// Its user.
        user: &'a str,
        /// Its database.
        database: &'a str,
        /// Why it ended, one of few constant texts.
        reason: &'a str,
    },
    /// A statement was judged.
    Verdict {
        /// The session.
        session: &'a str,
        /// Which judgement of the session it is; the outcome of what was allowed at once has the same.
        number: u64,
        /// Its user.
        user: &'a str,
        /// Its database.
        database: &'a str,
        /// The statement text.
        statement: &'a str,
        /// Bound parameters, long ones cut; none where it has none.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        parameters: &'a [Parameter],
        /// HMAC of text and parameters where they are not kept as they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<&'a str>,
        /// What it does.
        #[serde(serialize_with = "effect_names")]
        effects: Effects,
        /// `allow`, `hold`, `deny`, or `error` for what can only fail.
        verdict: &'a str,
        /// Names of the rules that matched.
        rules: &'a [String],
        /// Names of observed rules that would have held or denied it.
        observed: &'a [String],
        /// The access request: the one that it waits for, or after an approval the one that it rests on.
        request: Option<RequestId>,
        /// Why what is held has none: `unjustified`, `too_many`, `unavailable`. Neither for the first statement of a batch.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_opened: Option<&'a str>,
        /// The grant that lifted its hold.
        #[serde(skip_serializing_if = "Option::is_none")]
        grant: Option<&'a str>,
        /// The grants that let it show values of masked columns.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        unmasked_by: &'a [String],
    },
    /// A held statement is about to be released; durable before it is.
    Intent {
        /// The access request.
        request: RequestId,
        /// Requester.
        user: &'a str,
        /// Database.
        database: &'a str,
        /// The statement text.
        statement: &'a str,
        /// Bound parameters.
        parameters: &'a [Parameter],
        /// HMAC of text and parameters where they are not kept as they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<&'a str>,
        /// Who approved it.
        approvers: &'a [String],
        /// Who had to.
        reviewers: &'a [ReviewerDemand],
    },
    /// How an execution ended.
    Outcome {
        /// The access request; `None` for a statement that was allowed at once.
        request: Option<RequestId>,
        /// Session and number of the verdict on a statement that was allowed at once.
        #[serde(flatten)]
        verdict: Option<VerdictId<'a>>,
        /// Requester.
        user: &'a str,
        /// Database.
        database: &'a str,
        /// `executed`, `failed`, `unknown`.
        outcome: &'a str,
        /// Command tag or SQLSTATE.
        detail: Option<&'a str>,
        /// Rows returned or changed.
        rows: u64,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
        /// Names of the result columns that were masked.
        masked_columns: &'a [String],
        /// How many cells were masked, by the name of the rule.
        #[serde(serialize_with = "by_name", skip_serializing_if = "<[_]>::is_empty")]
        masked_cells: &'a [(Arc<str>, u64)],
        /// What is kept of its output.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<&'a Output>,
        /// When it was told, if that was later than it happened: then only how it ended is known, and its
        /// command tag or SQLSTATE.
        #[serde(skip_serializing_if = "Option::is_none")]
        told_at: Option<Timestamp>,
    },
    /// A reviewer voted.
    Vote {
        /// The access request.
        request: RequestId,
        /// Version of the request that it made: the order of votes that came through several proxies.
        version: u64,
        /// Who.
        by: &'a str,
        /// In which of the demanded groups.
        groups: &'a [String],
        /// Whether it approves.
        approve: bool,
        /// Where.
        surface: Surface,
        /// Reason given.
        reason: Option<&'a str>,
        /// What is approved in the place of the text before.
        #[serde(skip_serializing_if = "Option::is_none")]
        edited: Option<&'a str>,
        /// HMAC of that text and the parameters of the request where they are not kept as they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        edited_digest: Option<&'a str>,
        /// For how long, and for what, it may be done again.
        #[serde(skip_serializing_if = "Option::is_none")]
        offer: Option<Offer>,
        /// Whether it stands in for everybody's.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        forced: bool,
        /// How many rows may be written at most.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_affected: Option<u64>,
        /// When it was told, if that was later than it happened: by then the process that did it was gone, or it had not heard
        /// that it was done.
        #[serde(skip_serializing_if = "Option::is_none")]
        told_at: Option<Timestamp>,
    },
    /// Somebody wrote about a request.
    Comment {
        /// The access request.
        request: RequestId,
        /// Who.
        by: &'a str,
        /// Where.
        surface: Surface,
        /// What.
        text: &'a str,
    },
    /// The requester gave the reason for a request that had none.
    Justification {
        /// The access request.
        request: RequestId,
        /// Who.
        by: &'a str,
        /// Where.
        surface: Surface,
        /// The reason.
        reason: &'a str,
    },
    /// An access request changed its state.
    Transition {
        /// The access request.
        request: RequestId,
        /// State before; `None` when it was made.
        from: Option<State>,
        /// State after.
        to: State,
        /// Who made it.
        by: &'a str,
        /// Where.
        surface: Surface,
        /// Why.
        reason: Option<&'a str>,
        /// When it was told, if that was later than it happened: by then the process that did it was gone, or it had not heard
        /// that it was done.
        #[serde(skip_serializing_if = "Option::is_none")]
        told_at: Option<Timestamp>,
    },
    /// A grant was asked for, given, refused, taken back, or has ended.
    Grant {
        /// The grant.
        grant: GrantId,
        /// State before; `None` when it was made.
        from: Option<GrantState>,
        /// State after.
        to: GrantState,
        /// Who made it.
        by: &'a str,
        /// Where.
        surface: Surface,
        /// Why.
        reason: Option<&'a str>,
        /// For whom.
        user: &'a str,
        /// On which database.
        database: &'a str,
        /// What it lifts.
        scope: &'a GrantScope,
        /// Who had to approve it.
        reviewers: &'a [ReviewerDemand],
        /// When it ends; while it is REQUESTED, until when it can be approved.
        expires_at: Timestamp,
        /// The access request whose approval it came with.
        request: Option<RequestId>,
        /// When it is told, if later than it happened.
        #[serde(skip_serializing_if = "Option::is_none")]
        told_at: Option<Timestamp>,
    },
    /// A reviewer voted on a grant.
    GrantVote {
        /// The grant.
        grant: GrantId,
        /// Who.
        by: &'a str,
        /// In which of the demanded groups.
        groups: &'a [String],
        /// Whether it approves.
        approve: bool,
        /// Where.
        surface: Surface,
        /// Reason given.
        reason: Option<&'a str>,
        /// When it is told, if later than it happened.
        #[serde(skip_serializing_if = "Option::is_none")]
        told_at: Option<Timestamp>,
    },
    /// A configuration was put into force.
    Config {
        /// Version of the form of records, see [`FORMAT`].
        format: u32,
        /// Digest of it.
        revision: &'a str,
        /// What weakens protection in it.
        warnings: &'a [String],
        /// What has changed in the file since the one that was recorded before.
        #[serde(skip_serializing_if = "Option::is_none")]
        diff: Option<&'a str>,
    },
    /// Somebody has changed the configuration file from here.
    ConfigChange {
        /// Who.
        by: &'a str,
        /// Where.
        surface: Surface,
        /// Digest of the file before.
        before: &'a str,
        /// Digest of the file after.
        after: &'a str,
        /// The lines that go, with `-`, and those that come, with `+`.
        diff: &'a str,
    },
    /// A segment is about to be removed because it is older than the retention; durable before it is.
    Retired {
        /// The file.
        segment: &'a str,
        /// Its first record.
        first_seq: u64,
        /// Its last record.
        last_seq: u64,
        /// Hash of that, hexadecimal: what the first record that stays carries.
        last_hash: &'a str,
    },
    /// Something of the trail is missing or damaged, as found when it was opened.
    Gap {
        /// What was found.
        reason: &'a str,
        /// File in which it was found.
        segment: &'a str,
        /// Bytes taken out of that file.
        bytes: u64,
        /// SHA-256 of those bytes, hexadecimal; empty when none were taken out.
        sha256: &'a str,
        /// File in which those bytes are kept; empty when none were taken out.
        kept_as: &'a str,
    },
}

/// Version of the form of records: it changes when a key is taken away or means something else, and not when one is added.
/// `docs/audit.schema.json` describes it.
pub const FORMAT: u32 = 1;

/// Which verdict an outcome belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictId<'a> {
    /// The session.
    pub session: &'a str,
    /// Number of the judgement in it.
    pub number: u64,
}

/// What records are called that people may look for, as `kind` has it.
pub const KINDS: [&str; 21] = [
    "verdict",
    "intent",
    "outcome",
    "transition",
    "vote",
    "comment",
    "justification",
    "grant",
    "grant_vote",
    "session_open",
    "session_close",
    "login_failed",
    "sign_in",
    "password",
    "api_call",
    "console_command",
    "config",
    "config_change",
    "retired",
    "gap",
    "checkpoint",
];

fn effect_names<S: Serializer>(effects: &Effects, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(effects.iter().map(countersign_policy::Effect::as_str))
}

fn by_name<S: Serializer>(counts: &&[(Arc<str>, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(name, count)| (&**name, count)))
}

#[derive(Serialize)]
struct Body<'a> {
    at: Timestamp,
    #[serde(flatten)]
    record: &'a Record<'a>,
}

/// Appends the part of a line that does not depend on its place in the chain: `"at":…,"kind":…,…}` without line feed.
///
/// # Errors
/// When a value cannot be encoded.
pub(super) fn encode_body(at: Timestamp, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if frequent::encode(at, record, out)? {
        return Ok(());
    }
    encode_slowly(at, record, out)
}

/// The same of any record.
pub(super) fn encode_slowly(at: Timestamp, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let start = out.len();
    serde_json::to_writer(&mut *out, &Body { at, record })?;
    out.remove(start); // the opening brace; the writer puts its own, with the place in the chain, in front
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(record: &Record<'_>, want: &str) {
        let mut out = Vec::new();
        encode_body("2026-01-02T03:04:05Z".parse().unwrap(), record, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn one_record_is_one_line() {
        check(
            &Record::SessionClose { session: "7", user: "al\nice", database: "shop", reason: "Terminate" },
            r#""at":"2026-01-02T03:04:05Z","kind":"session_close","session":"7","user":"al\nice","database":"shop","reason":"Terminate"}"#,
        );
        check(
            &Record::Verdict {
                session: "7",
                number: 3,
                user: "alice",
                database: "shop",
                statement: "DELETE FROM t\r\n",
                parameters: &[],
                digest: None,
                effects: [countersign_policy::Effect::Delete].into_iter().collect(),
                verdict: "hold",
                rules: &["writes".to_owned()],
                observed: &[],
                request: None,
                not_opened: None,
                grant: None,
                unmasked_by: &[],
            },
            r#""at":"2026-01-02T03:04:05Z","kind":"verdict","session":"7","number":3,"user":"alice","database":"shop","statement":"DELETE FROM t\r\n","effects":["delete"],"verdict":"hold","rules":["writes"],"observed":[],"request":null}"#,
        );
        check(
            &Record::Outcome {
                request: None,
                verdict: Some(VerdictId { session: "7", number: 3 }),
                user: "alice",
                database: "shop",
                outcome: "executed",
                detail: Some("SELECT 2"),
                rows: 2,
                duration_ms: 3,
                masked_columns: &["public.customers.email".to_owned()],
                masked_cells: &[("emails".into(), 2)],
                output: None,
                told_at: None,
            },
            r#""at":"2026-01-02T03:04:05Z","kind":"outcome","request":null,"session":"7","number":3,"user":"alice","database":"shop","outcome":"executed","detail":"SELECT 2","rows":2,"duration_ms":3,"masked_columns":["public.customers.email"],"masked_cells":{"emails":2}}"#,
        );
    }
}
