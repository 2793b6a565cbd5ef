mod keeping;
mod reading;
mod signatures;

use std::fs;
use std::path::Path;

use super::segment::Head;
use super::*;

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn close(text: &str) -> Record<'_> {
    Record::SessionClose { session: text, user: "alice", database: "shop", reason: "Terminate" }
}

async fn write(dir: &Path, texts: &[&str], segment_bytes_max: u64) {
    let audit = Audit::open_with(dir, Options { segment_bytes_max, ..Options::default() }, now()).unwrap();
    for text in texts {
        audit.record_durable(now(), &close(text)).await.unwrap();
    }
}

fn lines(dir: &Path, segment: u32) -> Vec<String> {
    fs::read_to_string(segment::path(dir, segment)).unwrap().lines().map(str::to_owned).collect()
}

fn rewrite(dir: &Path, segment: u32, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(segment::path(dir, segment), text).unwrap();
}

/// Writes six records, lets `tamper` change the lines of the first segment, and wants exactly this fault at this record.
#[track_caller]
fn check(tamper: impl FnOnce(&mut Vec<String>), want: &[(Fault, u64)]) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(write(dir.path(), &["a", "b", "c", "d", "e", "f"], SEGMENT_BYTES_MAX));
    assert!(verify(dir.path(), Known::default()).unwrap().is_intact());
    let mut all = lines(dir.path(), 1);
    tamper(&mut all);
    rewrite(dir.path(), 1, &all);
    let report = verify(dir.path(), Known::default()).unwrap();
    let got: Vec<_> = report.findings.iter().map(|finding| (finding.fault, finding.seq.unwrap())).collect();
    assert_eq!(got, want, "{:#?}", report.findings);
}

#[test]
fn tampering_is_found_and_placed() {
    check(|_| {}, &[]);
    check(|lines| lines[2] = lines[2].replace("alice", "mallory"), &[(Fault::Changed, 3)]);
    check(|lines| lines[5] = lines[5].replace("alice", "mallory"), &[(Fault::Changed, 6)]);
    check(|lines| lines[0].insert(1, ' '), &[(Fault::Changed, 1)]);
    check(|lines| lines[3] = "{}".to_owned(), &[(Fault::Changed, 4)]);
    check(|lines| lines[3] = "no JSON".to_owned(), &[(Fault::Changed, 4)]);
    check(|lines| drop(lines.remove(2)), &[(Fault::Dropped, 4)]);
    check(|lines| drop(lines.drain(1..4)), &[(Fault::Dropped, 5)]);
    check(|lines| drop(lines.remove(0)), &[(Fault::Dropped, 2)]);
    check(|lines| lines.swap(2, 3), &[(Fault::Reordered, 3)]);
    check(|lines| lines.insert(4, lines[1].clone()), &[(Fault::Reordered, 2)]);
    check(|lines| lines.truncate(4), &[(Fault::Truncated, 4)]);
    check(Vec::clear, &[(Fault::Truncated, 0)]);
    check(
        |lines| lines[2] = lines[2].replace("\"prev\":\"", "\"prev\":\"0"),
        &[(Fault::Changed, 2), (Fault::Changed, 3)],
    );
}

#[tokio::test]
async fn a_line_cut_in_the_middle_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &["a", "b"], SEGMENT_BYTES_MAX).await;
    let text = fs::read(segment::path(dir.path(), 1)).unwrap();
    fs::write(segment::path(dir.path(), 1), &text[..text.len() - 9]).unwrap();
    let report = verify(dir.path(), Known::default()).unwrap();
    assert_eq!(report.findings[0].fault, Fault::Truncated);
    assert_eq!((report.findings[0].line, report.findings[0].seq), (2, Some(2)));
}

#[tokio::test]
async fn the_chain_goes_on_over_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for _start in 0..3 {
        write(dir.path(), &["a", "b", "c", "d"], 500).await;
    }
    let report = verify(dir.path(), Known::default()).unwrap();
    assert!(report.is_intact(), "{report:#?}");
    assert!(report.segments > 3);
    assert_eq!((report.records, report.last_seq), (12, Some(12)));
    assert!(report.gaps.is_empty());

    // It is plain or compressed, or both for a moment that the drop above has ended.
    let removed = [segment::path(dir.path(), 2), segment::packed_path(dir.path(), 2)].map(fs::remove_file);
    assert!(removed.iter().any(Result::is_ok));
    let report = verify(dir.path(), Known::default()).unwrap();
    assert_eq!((report.findings[0].segment.as_str(), report.findings[0].fault), ("000002.jsonl", Fault::Dropped));
}

#[tokio::test]
async fn a_torn_line_is_moved_aside_and_written_down() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &["a", "b"], SEGMENT_BYTES_MAX).await;
    let mut text = fs::read(segment::path(dir.path(), 1)).unwrap();
    text.extend_from_slice(b"{\"seq\":3,\"pre");
    fs::write(segment::path(dir.path(), 1), &text).unwrap();
    write(dir.path(), &["c"], SEGMENT_BYTES_MAX).await;
    let report = verify(dir.path(), Known::default()).unwrap();
    assert!(report.is_intact(), "{report:#?}");
    assert_eq!((report.records, report.gaps.len()), (4, 1));
    let kept = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept.filter(|path| path.to_string_lossy().contains("torn")).collect();
    assert_eq!(fs::read(&kept[0]).unwrap(), b"{\"seq\":3,\"pre");
}

#[tokio::test]
async fn lines_lost_at_the_end_stay_lost_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &["a", "b", "c", "d"], SEGMENT_BYTES_MAX).await;
    let mut all = lines(dir.path(), 1);
    all.truncate(2);
    rewrite(dir.path(), 1, &all);
    write(dir.path(), &["e"], SEGMENT_BYTES_MAX).await;
    let report = verify(dir.path(), Known::default()).unwrap();
    assert!(report.is_intact(), "{report:#?}");
    assert!(report.gaps[0].contains("records 3 to 4 are missing"), "{:?}", report.gaps);
    assert_eq!(report.last_seq, Some(6));
}

#[tokio::test]
async fn damage_inside_survives_a_restart_as_a_gap_and_as_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &["a", "b", "c"], SEGMENT_BYTES_MAX).await;
    let mut all = lines(dir.path(), 1);
    all[1] = all[1].replace("alice", "mallory");
    rewrite(dir.path(), 1, &all);
    write(dir.path(), &["d"], SEGMENT_BYTES_MAX).await;
    let report = verify(dir.path(), Known::default()).unwrap();
    assert_eq!(report.gaps.len(), 1);
    assert_eq!(report.findings.len(), 1, "{report:#?}");
    assert_eq!(report.findings[0].seq, Some(2));
}

#[tokio::test]
async fn an_anchor_finds_a_trail_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &["a", "b", "c"], SEGMENT_BYTES_MAX).await;
    let report = verify(dir.path(), Known::default()).unwrap();
    let anchor: Anchor = format!("{}:{}", report.last_seq.unwrap(), report.last_hash.unwrap()).parse().unwrap();
    let known = Known { anchors: vec![anchor], ..Known::default() };
    assert!(verify(dir.path(), known.clone()).unwrap().is_intact());

    let forged = tempfile::tempdir().unwrap();
    write(forged.path(), &["a", "x", "c", "d"], SEGMENT_BYTES_MAX).await;
    assert!(verify(forged.path(), Known::default()).unwrap().is_intact());
    assert_eq!(verify(forged.path(), known.clone()).unwrap().findings[0].seq, Some(3));
    let short = tempfile::tempdir().unwrap();
    write(short.path(), &["a"], SEGMENT_BYTES_MAX).await;
    assert!(!verify(short.path(), known.clone()).unwrap().is_intact());
}

#[test]
fn one_process_writes_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Audit::open(dir.path(), now()).unwrap();
    assert!(matches!(Audit::open(dir.path(), now()), Err(AuditError::InUse(_))));
    drop(first);
    Audit::open(dir.path(), now()).unwrap();
}

#[tokio::test]
async fn a_failed_write_refuses_everything_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open_with(dir.path(), Options { segment_bytes_max: 1, ..Options::default() }, now()).unwrap();
    audit.record_durable(now(), &close("a")).await.unwrap();
    // The next segment cannot be made: its name is taken.
    fs::create_dir(segment::path(dir.path(), 2)).unwrap();
    assert!(matches!(audit.record_durable(now(), &close("b")).await, Err(AuditError::Failed)));
    assert!(matches!(audit.record(now(), &close("c")), Err(AuditError::Failed)));
    assert!(audit.health().is_err());
}

#[test]
fn records_of_many_threads_form_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let audit =
        Audit::open_with(dir.path(), Options { segment_bytes_max: 20_000, ..Options::default() }, now()).unwrap();
    std::thread::scope(|scope| {
        for _thread in 0..4 {
            scope.spawn(|| (0..500).for_each(|n| audit.record(now(), &close(&n.to_string())).unwrap()));
        }
    });
    drop(audit);
    let report = verify(dir.path(), Known::default()).unwrap();
    assert!(report.is_intact(), "{:#?}", report.findings);
    assert_eq!(report.records, 2000);
}
