//! What signatures show that the chain alone does not.

use super::*;

fn key() -> SigningKey {
    SigningKey::from_pem(&SigningKey::new_pem().unwrap()).unwrap()
}

/// A key that signs, and what checks it.
fn keys() -> (Signer, PublicKey) {
    let key = key();
    let public = key.public();
    (Signer::new(key, None), public)
}

/// A record, a checkpoint, the other records, a checkpoint.
fn signed(dir: &Path, signer: Signer, records: usize) {
    let options = Options { signer: Some(signer), ..Options::default() };
    let audit = Audit::open_with(dir, options, now()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(audit.record_durable(now(), &close("0"))).unwrap();
    (1..records).for_each(|n| audit.record(now(), &close(&n.to_string())).unwrap());
}

fn trusting(keys: &[PublicKey]) -> Known {
    Known { keys: keys.to_vec(), ..Known::default() }
}

fn faults(report: &Report) -> Vec<(Fault, u64)> {
    report.findings.iter().map(|finding| (finding.fault, finding.seq.unwrap())).collect()
}

/// Writes the lines anew with a chain that fits, as somebody would who has the files and not the key.
fn forge(dir: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let mut all = lines(dir, 1);
    change(&mut all);
    let mut last = Head { seq: 0, hash: NO_HASH };
    for line in &mut all {
        let body = line.split_once("\",").unwrap().1.to_owned();
        *line = format!("{{\"seq\":{},\"prev\":\"{}\",{body}", last.seq + 1, hex::encode(last.hash));
        last = Head { seq: last.seq + 1, hash: line_hash(line.as_bytes()) };
    }
    rewrite(dir, 1, &all);
    fs::write(dir.join("head"), last.to_line()).unwrap();
}

#[test]
fn a_signed_trail_verifies_with_its_key_and_with_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, public) = keys();
    signed(dir.path(), signer, 2500);
    let report = verify(dir.path(), trusting(&[public])).unwrap();
    assert!(report.is_intact(), "{report:#?}");
    assert_eq!(report.records, 2500 + 4, "a checkpoint at least every {CHECKPOINT_RECORDS} records");
    assert_eq!(report.notes, [format!("2504 records are signed with {public}")]);

    let report = verify(dir.path(), trusting(&[key().public()])).unwrap();
    assert_eq!(report.findings[0].fault, Fault::Unsigned);
    let report = verify(dir.path(), Known::default()).unwrap();
    assert!(report.is_intact() && report.notes.iter().any(|note| note.contains("compare the key")), "{report:#?}");
}

#[test]
fn a_chain_written_anew_without_the_key_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, public) = keys();
    signed(dir.path(), signer, 5);
    forge(dir.path(), |_| {});
    assert!(verify(dir.path(), trusting(&[public])).unwrap().is_intact(), "nothing was changed");

    forge(dir.path(), |lines| lines[2] = lines[2].replace("alice", "mallory"));
    let report = verify(dir.path(), trusting(&[public])).unwrap();
    assert_eq!(faults(&report), [(Fault::Changed, 7)], "{report:#?}");

    forge(dir.path(), |lines| lines.retain(|line| !line.contains("checkpoint")));
    let report = verify(dir.path(), trusting(&[public])).unwrap();
    assert_eq!(faults(&report), [(Fault::Unsigned, 5)], "{report:#?}");
}

#[test]
fn somebody_else_s_signatures_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, public) = keys();
    signed(dir.path(), signer, 3);
    signed(dir.path(), keys().0, 3);
    // Also when the first key in the trail is all there is to trust.
    for known in [trusting(&[public]), Known::default()] {
        assert_eq!(faults(&verify(dir.path(), known).unwrap()), [(Fault::Unsigned, 7), (Fault::Unsigned, 10)]);
    }
}

#[test]
fn a_key_that_was_handed_over_to_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (key(), key());
    let (old_public, new_public) = (old.public(), new.public());
    signed(dir.path(), Signer::new(new, Some(&old)), 3);
    let report = verify(dir.path(), trusting(&[old_public])).unwrap();
    assert!(report.is_intact(), "{report:#?}");
    assert!(verify(dir.path(), trusting(&[new_public])).unwrap().is_intact());
    assert!(!verify(dir.path(), trusting(&[key().public()])).unwrap().is_intact());
}

#[test]
fn what_a_crash_leaves_unsigned_is_noted_and_more_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, public) = keys();
    signed(dir.path(), signer, 3);
    // A process that could not sign any more, as after a crash.
    for (records, intact) in [(CHECKPOINT_RECORDS, true), (1, false)] {
        let audit = Audit::open(dir.path(), now()).unwrap();
        (0..records).for_each(|n| audit.record(now(), &close(&n.to_string())).unwrap());
        drop(audit);
        let report = verify(dir.path(), trusting(&[public])).unwrap();
        assert_eq!(report.is_intact(), intact, "{report:#?}");
    }
}

#[test]
fn the_next_process_does_not_sign_for_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let crashed = Audit::open(dir.path(), now()).unwrap();
    ["a", "b"].iter().for_each(|text| crashed.record(now(), &close(text)).unwrap());
    drop(crashed);
    let (signer, public) = keys();
    signed(dir.path(), signer, 3);
    let report = verify(dir.path(), trusting(&[public])).unwrap();
    assert!(report.is_intact(), "{report:#?}");
    assert!(report.notes[0].contains("records 1 to 2: chained, but the proxy stopped before it signed"), "{report:#?}");
    assert_eq!(report.notes[1], format!("5 records are signed with {public}"));
}

#[tokio::test]
async fn a_record_waits_for_a_signature_for_a_limited_time() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, _) = keys();
    let options = Options { signer: Some(signer), checkpoint_after: Duration::ZERO, ..Options::default() };
    let audit = Audit::open_with(dir.path(), options, now()).unwrap();
    audit.record_durable(now(), &close("a")).await.unwrap();
    audit.record_durable(now(), &close("b")).await.unwrap();
    let written = lines(dir.path(), 1);
    assert!(written[1].contains("\"kind\":\"checkpoint\",\"since\":1,"), "the first one at once: {written:?}");
    assert!(written[3].contains("\"kind\":\"checkpoint\",\"since\":3,"), "{written:?}");
}

#[test]
fn every_closed_segment_ends_with_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, public) = keys();
    let options = Options { signer: Some(signer), segment_bytes_max: 2000, ..Options::default() };
    let audit = Audit::open_with(dir.path(), options, now()).unwrap();
    (0..50).for_each(|n| audit.record(now(), &close(&n.to_string())).unwrap());
    drop(audit);
    let segments = segment::list(dir.path()).unwrap();
    assert!(segments.len() > 3);
    for number in segments {
        assert!(lines(dir.path(), number).last().unwrap().contains("\"kind\":\"checkpoint\""));
    }
    assert!(verify(dir.path(), trusting(&[public])).unwrap().is_intact());
}

#[test]
fn a_fork_is_told_from_a_record_that_stands_there_twice() {
    let dir = tempfile::tempdir().unwrap();
    signed(dir.path(), keys().0, 3);
    let mut all = lines(dir.path(), 1);
    all.insert(3, all[0].replace("alice", "mallory"));
    rewrite(dir.path(), 1, &all);
    assert_eq!(faults(&verify(dir.path(), Known::default()).unwrap()), [(Fault::Forked, 1)]);
}
