use super::*;
use std::fmt::Write as _;

/// What becomes of a trail with these records, and the flaws that are found: `r1 broken was released 2 times`.
#[track_caller]
fn check(records: &[&str], want: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for record in records {
        let (second, rest) = record.split_once(' ').unwrap();
        let mut words = rest.split(' ');
        let kind = words.next().unwrap();
        let words: Vec<&str> = words.collect();
        let body = match (kind, words.as_slice()) {
            ("step", [id, from, to, by]) => {
                let from = if *from == "-" { "null".to_owned() } else { format!("\"{from}\"") };
                format!(
                    r#""kind":"transition","request":"{id}","from":{from},"to":"{to}","by":"{by}","surface":"api","reason":"why""#
                )
            }
            ("vote", [id, by, groups, rest @ ..]) => {
                let (edited, forced) = (rest.contains(&"edited"), rest.contains(&"forced"));
                let groups = groups.replace('+', "\",\"");
                let edited = if edited { r#","edited":"safer""# } else { "" };
                format!(
                    r#""kind":"vote","request":"{id}","by":"{by}","groups":["{groups}"],"approve":true,"surface":"api","reason":"fine","forced":{forced}{edited}"#
                )
            }
            ("intent", [id, text, approvers, reviewers]) => {
                let approvers = approvers.replace('+', "\",\"");
                let reviewers: Vec<_> =
                    reviewers.split('+').map(|group| format!(r#"{{"group":"{group}","approvals":1}}"#)).collect();
                format!(
                    r#""kind":"intent","request":"{id}","user":"alice","database":"shop","statement":"{text}","parameters":[],"approvers":["{approvers}"],"reviewers":[{}]"#,
                    reviewers.join(",")
                )
            }
            ("outcome", [id, outcome]) => {
                format!(r#""kind":"outcome","request":"{id}","user":"alice","database":"shop","outcome":"{outcome}""#)
            }
            ("grant", [id, from, to, by]) => {
                let from = if *from == "-" { "null".to_owned() } else { format!("\"{from}\"") };
                format!(
                    r#""kind":"grant","grant":"{id}","from":{from},"to":"{to}","by":"{by}","surface":"api","user":"alice","database":"shop","expires_at":"2026-01-01T00:00:30Z""#
                )
            }
            ("lifted", [id, user]) => {
                format!(r#""kind":"verdict","user":"{user}","database":"shop","verdict":"allow","grant":"{id}""#)
            }
            other => panic!("{other:?}"),
        };
        writeln!(text, r#"{{"seq":1,"prev":"","at":"2026-01-01T00:00:{second:0>2}Z",{body}}}"#).unwrap();
    }
    std::fs::write(dir.path().join("000001.jsonl"), text).unwrap();
    let found = history([dir.path()]).unwrap();
    let kind = |kind| if kind == FlawKind::Broken { "broken" } else { "missing" };
    let got: Vec<_> =
        found.flaws.iter().map(|flaw| format!("{} {} {}", flaw.of, kind(flaw.kind), flaw.detail)).collect();
    assert_eq!(got, want);
}

const ASKED: &str = "1 step r1 - PENDING alice";
const BOB: &str = "2 vote r1 bob dba";
const APPROVED: &str = "2 step r1 PENDING APPROVED bob";
const BEGUN: &str = "3 step r1 APPROVED EXECUTING proxy";
const INTENT: &str = "3 intent r1 text bob dba";
const OUTCOME: &str = "4 outcome r1 executed";
const EXECUTED: &str = "4 step r1 EXECUTING EXECUTED proxy";

#[test]
fn a_whole_story_has_no_flaw_in_whatever_order_it_is_told() {
    check(&[ASKED, BOB, APPROVED, BEGUN, INTENT, OUTCOME, EXECUTED], &[]);
    check(&[EXECUTED, OUTCOME, INTENT, BEGUN, APPROVED, BOB, ASKED], &[]);
    check(&[ASKED, "9 step r1 PENDING EXPIRED proxy"], &[]);
    check(&[ASKED, BOB, APPROVED, BEGUN, INTENT, "9 step r1 EXECUTING UNKNOWN proxy"], &[]);
    check(&[ASKED, BOB, APPROVED, BEGUN, "9 step r1 EXECUTING UNKNOWN proxy"], &[]);
    check(&["1 step r1 - PENDING root", "1 vote r1 root admin", "1 step r1 PENDING APPROVED root"], &[]);
}

#[test]
fn what_runs_twice_or_unapproved_is_broken() {
    let all = [ASKED, BOB, APPROVED, BEGUN, INTENT, OUTCOME, EXECUTED];
    let with = |more: &[&'static str]| all.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    check(&with(&[INTENT]), &["r1 broken was released 2 times"]);
    check(&with(&[OUTCOME]), &["r1 broken ran 2 times"]);
    check(&with(&[EXECUTED]), &["r1 broken became EXECUTED 2 times"]);
    check(&with(&["9 step r1 PENDING REJECTED bob"]), &["r1 broken ended as [Executed, Rejected]"]);
    check(
        &[ASKED, BOB, APPROVED, BEGUN, OUTCOME, EXECUTED],
        &["r1 broken ran without an intent", "r1 broken was executed without an intent"],
    );
    let by = |vote: &'static str, intent: &'static str| [ASKED, vote, APPROVED, BEGUN, intent, OUTCOME, EXECUTED];
    check(
        &by(BOB, "3 intent r1 text bob dba+security"),
        &["r1 broken was released with the approval of [\"bob\"], who are not enough"],
    );
    check(
        &by("2 vote r1 bob dba+security", "3 intent r1 text bob dba+security"),
        &["r1 broken was released with the approval of [\"bob\"], who are not enough"],
    );
    check(&by("2 vote r1 root oncall forced", "3 intent r1 text root dba+security"), &[]);
    check(&by("2 vote r1 bob dba edited", "3 intent r1 safer bob dba"), &[]);
    check(
        &by("2 vote r1 bob dba edited", INTENT),
        &["r1 broken another text was released than the one that was approved"],
    );
    check(&by("2 vote r1 alice dba", "3 intent r1 text alice dba"), &["r1 broken alice voted on an own request"]);
    check(&with(&["1 vote r1 bob dba"]), &["r1 broken bob voted twice"]);
    check(
        &with(&["9 vote r1 sven dba"]),
        &["r1 broken was released with the approval of [\"bob\"], and told are the votes of [\"bob\", \"sven\"]"],
    );
}

#[test]
fn what_a_lost_end_of_a_trail_would_have_told_is_missing() {
    check(&[APPROVED], &["r1 missing it is not told how it became PENDING"]);
    check(&[ASKED, BOB, APPROVED, BEGUN, INTENT], &["r1 missing was released, and it is not told how it ended"]);
    check(&[ASKED, BOB, APPROVED, BEGUN, INTENT, EXECUTED], &["r1 missing is EXECUTED, and its outcome is not told"]);
    check(
        &[ASKED, APPROVED, BEGUN, INTENT, OUTCOME, EXECUTED],
        &["r1 missing was released with the approval of [\"bob\"], and told are the votes of []"],
    );
}

#[test]
fn a_grant_lifts_holds_while_it_is_in_force() {
    let given = "1 grant g1 - ACTIVE bob";
    check(&[given, "5 lifted g1 alice", "20 grant g1 ACTIVE REVOKED bob", "21 lifted g1 alice"], &[]);
    check(&[given, "29 lifted g1 alice"], &[]);
    let late = "g1 broken was used at 2026-01-01T00:00:25Z, and was in force from 2026-01-01T00:00:01Z to 2026-01-01T00:00:20Z";
    check(&[given, "20 grant g1 ACTIVE REVOKED bob", "25 lifted g1 alice"], &[late]);
    check(&[given, "5 lifted g1 eve"], &["g1 broken was used by eve on shop"]);
    check(&["5 lifted g1 alice"], &["g1 missing was used, and it is not told how it was given"]);
    check(&["1 grant g1 - ACTIVE alice"], &["g1 broken became ACTIVE by \"alice\""]);
    check(
        &[given, "5 grant g1 ACTIVE REVOKED bob", "6 grant g1 ACTIVE ENDED proxy"],
        &["g1 broken ended more than once"],
    );
}

/// A proxy that is gone may have told what another one tells late; its own record has more digits of the time.
#[test]
fn what_is_told_late_as_well_counts_once() {
    let step = |at: &str, from: &str, to: &str, late: &str| {
        format!(
            r#"{{"at":"{at}","kind":"transition","request":"r1","from":{from},"to":"{to}","by":"bob","surface":"api","reason":"why"{late}}}"#
        )
    };
    let vote = |at: &str, late: &str| {
        format!(
            r#"{{"at":"{at}","kind":"vote","request":"r1","version":2,"by":"bob","groups":["dba"],"approve":false,"surface":"api","reason":"why"{late}}}"#
        )
    };
    let late = r#","told_at":"2026-01-01T00:01:00Z""#;
    let first = step("2026-01-01T00:00:01Z", "null", "PENDING", "").replace("bob", "alice");
    let once = ["2026-01-01T00:00:02.123456789Z", "2026-01-01T00:00:02.123456Z"];
    let other = "2026-01-01T00:00:03Z";
    let flaws = |again: &str| {
        let told = [
            first.clone(),
            vote(once[0], ""),
            vote(again, late),
            vote(again, late),
            step(once[0], "\"PENDING\"", "REJECTED", ""),
            step(again, "\"PENDING\"", "REJECTED", late),
        ];
        history_of(told.iter().map(String::as_str)).flaws.len()
    };
    assert_eq!(flaws(once[1]), 0);
    assert_eq!(flaws(other), 2, "at another moment it is another one");
}

#[test]
fn what_is_told_late_of_grants_counts_once() {
    let step = |at: &str, from: &str, to: &str, late: &str| {
        format!(
            r#"{{"at":"{at}","kind":"grant","grant":"g1","from":{from},"to":"{to}","by":"bob","surface":"api","user":"alice","database":"shop","expires_at":"2026-01-01T00:00:30Z"{late}}}"#
        )
    };
    let vote = |at: &str, late: &str| {
        format!(
            r#"{{"at":"{at}","kind":"grant_vote","grant":"g1","by":"bob","groups":["dba"],"approve":true,"surface":"api"{late}}}"#
        )
    };
    let late = r#","told_at":"2026-01-01T00:01:00Z""#;
    let asked = step("2026-01-01T00:00:01Z", "null", "REQUESTED", "").replace("\"bob\"", "\"alice\"");
    let once = ["2026-01-01T00:00:02.123456789Z", "2026-01-01T00:00:02.123456Z"];
    let active = |at: &str, late: &str| step(at, "\"REQUESTED\"", "ACTIVE", late);
    let flaws = |lines: &[String]| {
        let history = history_of(lines.iter().map(String::as_str));
        history.flaws.into_iter().map(|flaw| flaw.detail).collect::<Vec<_>>()
    };
    let both = [vote(once[0], ""), active(once[0], ""), asked, vote(once[1], late), active(once[1], late)];
    assert_eq!(flaws(&both), <[String; 0]>::default());
    let again = [&both[..], &[vote("2026-01-01T00:00:03Z", late), active("2026-01-01T00:00:03Z", late)]].concat();
    assert_eq!(
        flaws(&again),
        ["became ACTIVE more than once", "bob voted twice"],
        "at another moment it is another one"
    );
    assert_eq!(flaws(&both[..2]), ["it is not told how it became REQUESTED"]);
}
