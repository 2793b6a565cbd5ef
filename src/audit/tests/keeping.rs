//! Closed segments are compressed, and go when they are too old; the chain holds throughout.

use std::time::Instant;

use super::*;

fn small() -> Options {
    Options { segment_bytes_max: 1000, ..Options::default() }
}

/// Writes records until a few segments are closed, then waits until there are the files that are wanted.
#[track_caller]
fn written_and_kept(dir: &Path, options: Options, wanted: impl Fn(&[String]) -> bool) {
    let audit = Audit::open_with(dir, options, now()).unwrap();
    (0..30).for_each(|n| audit.record(now(), &close(&n.to_string())).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(&segments(dir)) {
        assert!(Instant::now() < deadline, "{:?}", segments(dir));
        std::thread::yield_now();
    }
}

fn segments(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("jsonl")).collect();
    names.sort_unstable();
    names
}

fn one_is_open(names: &[String]) -> bool {
    names.len() > 3 && names.iter().filter(|name| !name.ends_with(".gz")).count() == 1
}

#[test]
fn closed_segments_are_compressed_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for records in [30, 60] {
        written_and_kept(dir.path(), small(), one_is_open);
        let report = verify(dir.path(), Known::default()).unwrap();
        assert!(report.is_intact(), "{report:#?}");
        assert_eq!((report.records, report.first_seq), (records, Some(1)));
    }
    let packed = segment::packed_path(dir.path(), 2);
    let mut bytes = fs::read(&packed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&packed, bytes).unwrap();
    let intact = verify(dir.path(), Known::default()).is_ok_and(|report| report.is_intact());
    assert!(!intact, "a changed byte of a compressed segment");
}

#[test]
fn when_the_last_segment_is_compressed_another_one_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    written_and_kept(dir.path(), small(), one_is_open);
    let last = *segment::list(dir.path()).unwrap().last().unwrap();
    fs::remove_file(segment::path(dir.path(), last)).unwrap();
    fs::remove_file(dir.path().join("head")).unwrap();
    written_and_kept(dir.path(), small(), one_is_open);
    assert!(verify(dir.path(), Known::default()).unwrap().is_intact());
}

#[test]
fn a_copy_that_a_crash_left_unfinished_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    written_and_kept(dir.path(), small(), one_is_open);
    // As after a crash between the compressed copy and the removal of the original; the copy is not believed.
    let (_, mut lines) = segment::reader(dir.path(), 2).unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut lines, &mut text).unwrap();
    fs::write(segment::path(dir.path(), 2), text).unwrap();
    fs::write(segment::packed_path(dir.path(), 2), b"half").unwrap();
    written_and_kept(dir.path(), small(), one_is_open);
    assert!(verify(dir.path(), Known::default()).unwrap().is_intact());
}

#[test]
fn records_past_their_retention_go_and_the_trail_says_so() {
    let dir = tempfile::tempdir().unwrap();
    // The records are from the first days of 2026.
    let options = Options { retention: Some(Duration::from_secs(86_400)), ..small() };
    written_and_kept(dir.path(), options, |names| !names.iter().any(|name| name.starts_with("000001")));
    let report = verify(dir.path(), Known::default()).unwrap();
    assert!(report.is_intact(), "{report:#?}");
    assert!(report.notes[0].contains("were removed because of their age"), "{report:#?}");

    let kept = tempfile::tempdir().unwrap();
    let options = Options { retention: Some(Duration::from_secs(100 * 365 * 86_400)), ..small() };
    written_and_kept(kept.path(), options, one_is_open);
    assert_eq!(verify(kept.path(), Known::default()).unwrap().first_seq, Some(1));
    // Somebody else removes segments: the trail does not say so.
    fs::remove_file(segment::packed_path(kept.path(), 1)).unwrap();
    let report = verify(kept.path(), Known::default()).unwrap();
    assert_eq!(report.findings[0].fault, Fault::Dropped);
}
