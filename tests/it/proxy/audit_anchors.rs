//! What anchors show that the files alone cannot: an operator with the key who cuts off the end, or writes another story.

use std::fs;
use std::path::{Path, PathBuf};

use countersign::audit::{Anchor, Audit, Fault, Known, Options, Record, Report, Signer, SigningKey, verify};
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};

use super::audit::verify_without_us;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::shared_store::SharedStore;
use crate::support::within;

fn now() -> jiff::Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}

/// Whoever has the key writes so many records, and what they say.
fn write(dir: &Path, pem: &str, records: usize, user: &str) {
    let signer = Some(Signer::new(SigningKey::from_pem(pem).expect("a key"), None));
    let audit = Audit::open_with(dir, Options { signer, ..Options::default() }, now()).expect("a trail");
    for session in 0..records {
        let session = session.to_string();
        let record = Record::SessionClose { session: &session, user, database: "shop", reason: "closed" };
        audit.record(now(), &record).expect("recorded");
    }
}

fn lines(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("000001.jsonl")).expect("segment");
    text.lines().map(str::to_owned).collect()
}

fn checkpoints(dir: &Path) -> Vec<String> {
    lines(dir).into_iter().filter(|line| line.contains("\"kind\":\"checkpoint\"")).collect()
}

fn anchor_of(line: &str) -> String {
    let seq = serde_json::from_str::<serde_json::Value>(line).expect("a record")["seq"].to_string();
    format!("{seq}:{}", hex::encode(Sha256::digest(line)))
}

fn known(dir: &Path, anchors: &str) -> Report {
    let anchors = Anchor::read_list(anchors).expect("anchors");
    verify(dir, Known { anchors, ..Known::default() }).expect("readable")
}

/// Both verifiers find this at that record, and without the anchors nothing.
#[track_caller]
fn check(dir: &Path, key: &str, kept: &[String], fault: Fault, seq: u64) {
    assert!(known(dir, "").is_intact(), "{:#?}", known(dir, ""));
    assert!(verify_without_us(dir, key, &[]).status.success());
    let report = known(dir, &kept.join("\n"));
    let first = report.findings.first().expect("a finding");
    assert_eq!((first.fault, first.seq), (fault, Some(seq)), "{report:#?}");
    let anchors: Vec<String> = kept.iter().map(|line| anchor_of(line)).collect();
    let theirs = verify_without_us(dir, key, &anchors);
    let said = String::from_utf8_lossy(&theirs.stdout).into_owned();
    assert!(!theirs.status.success() && said.contains(&format!("record {seq} is not")), "{said}");
}

#[test]
fn an_end_that_the_operator_has_cut_off_and_a_story_written_anew_are_found() {
    let pem = SigningKey::new_pem().expect("a key");
    let key = SigningKey::from_pem(&pem).expect("a key").public().to_string();
    let genuine = tempfile::tempdir().expect("a directory");
    for _process in 0..3 {
        write(genuine.path(), &pem, 3, "alice");
    }
    let kept = checkpoints(genuine.path());
    let report = known(genuine.path(), &kept.join("\n"));
    assert!(
        report.is_intact() && report.notes.iter().any(|note| note.contains("anchored records are there")),
        "{report:#?}"
    );
    let last: u64 =
        anchor_of(kept.last().expect("a checkpoint")).split(':').next().expect("a number").parse().expect("a number");

    let cut = tempfile::tempdir().expect("a directory");
    for _process in 0..2 {
        write(cut.path(), &pem, 3, "alice");
    }
    // The first two thirds as they were: what is missing is the end.
    let shorter: Vec<String> = lines(genuine.path()).into_iter().take(lines(cut.path()).len()).collect();
    fs::write(cut.path().join("000001.jsonl"), shorter.join("\n") + "\n").expect("segment");
    let end = shorter.last().expect("a line");
    let head = anchor_of(end);
    let (seq, hash) = head.split_once(':').expect("an anchor");
    fs::write(cut.path().join("head"), format!("{seq:0>20} {hash}\n")).expect("head");
    let gone = kept.iter().map(|line| anchor_of(line)).find(|anchor| {
        let kept: u64 = anchor.split(':').next().expect("a number").parse().expect("a number");
        kept > seq.parse().expect("a number")
    });
    let gone: u64 = gone.expect("one that is gone").split(':').next().expect("a number").parse().expect("a number");
    assert!(gone <= last);
    check(cut.path(), &key, &kept, Fault::Truncated, gone);

    let anew = tempfile::tempdir().expect("a directory");
    for _process in 0..3 {
        write(anew.path(), &pem, 3, "malory");
    }
    let first: u64 = anchor_of(&kept[0]).split(':').next().expect("a number").parse().expect("a number");
    check(anew.path(), &key, &kept, Fault::Changed, first);

    // Checkpoints of both stories were kept: the one that is there is one of two.
    let both: Vec<String> = kept.iter().cloned().chain(checkpoints(anew.path())).collect();
    let report = known(anew.path(), &both.join("\n"));
    assert_eq!((report.findings[0].fault, report.findings[0].seq), (Fault::Forked, Some(first)), "{report:#?}");
}

#[test]
fn what_is_no_list_of_anchors_is_refused_by_its_line() {
    assert_eq!(Anchor::read_list("").map(|anchors| anchors.len()), Ok(0));
    assert_eq!(Anchor::read_list(&format!("7:{}\n\n", "0".repeat(64))).map(|anchors| anchors.len()), Ok(1));
    assert_eq!(Anchor::read_list(&format!("7:{}\n7:abc\n", "0".repeat(64))).err(), Some(2));
    assert_eq!(Anchor::read_list("{\"seq\":1}").err(), Some(1));
}

#[tokio::test]
async fn a_shared_store_keeps_the_checkpoints_of_its_proxies() {
    let store = SharedStore::create().await;
    let fragment = format!("{WRITES_HELD}{}[audit]\ncheckpoint = \"1s\"\n", store.fragment("10m"));
    let mut proxy = Proxy::start(&fragment).await;
    proxy.client("alice").await.value("SELECT 1").await.expect("a row");
    let keeping = async {
        while store.anchors().await.len() < 2 {
            proxy.client("alice").await.value("SELECT 2").await.expect("a row");
        }
    };
    within("checkpoints in the store", keeping).await;
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let trail: PathBuf = proxy.data_dir().join("audit");
    let kept = store.anchors().await;
    let written: Vec<String> = checkpoints(&trail).iter().map(|line| anchor_of(line)).collect();
    assert_eq!(kept, written[..kept.len()]);
    let file = proxy.data_dir().join("anchors");
    fs::write(&file, kept.join("\n")).expect("a file");
    let verify = |proxy: &Proxy| {
        let file = file.to_str().expect("a path");
        proxy.run(&["audit", "verify", "-c", "countersign.toml", "--anchors", file])
    };
    let output = verify(&proxy);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // The operator cuts off everything behind the first checkpoint.
    let all = lines(&trail);
    let first = all.iter().position(|line| line.contains("\"kind\":\"checkpoint\"")).expect("a checkpoint");
    fs::write(trail.join("000001.jsonl"), all[..=first].join("\n") + "\n").expect("segment");
    let head = anchor_of(&all[first]);
    let (seq, hash) = head.split_once(':').expect("an anchor");
    fs::write(trail.join("head"), format!("{seq:0>20} {hash}\n")).expect("head");
    let plain = proxy.run(&["audit", "verify", "-c", "countersign.toml"]);
    assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stdout));
    let output = verify(&proxy);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(65) && said.contains("truncated: the anchored record"), "{said}");
}
