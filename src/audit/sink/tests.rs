use super::position::Tail;
use super::*;
use crate::audit::{Audit, Options, Record, segment};

fn now() -> jiff::Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// Thirty records in segments of about four.
fn trail(dir: &Path) {
    let audit = Audit::open_with(dir, Options { segment_bytes_max: 1000, ..Options::default() }, now()).unwrap();
    for session in 0..30 {
        let session = session.to_string();
        let record = Record::SessionClose { session: &session, user: "alice", database: "shop", reason: "closed" };
        audit.record(now(), &record).unwrap();
    }
}

/// What is read from the beginning, a few records at a time.
fn all(tail: &mut Tail, up_to: u64) -> (Vec<u64>, u64) {
    let (mut numbers, mut lost) = (Vec::new(), 0);
    loop {
        let read = tail.read(up_to, 7, 1 << 20).unwrap();
        if read.lines.is_empty() {
            return (numbers, lost);
        }
        numbers.extend(read.lines.iter().map(|line| line.seq));
        lost += read.lost;
    }
}

#[test]
fn each_record_is_read_once_and_none_that_is_not_safe() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sink-a"), "1 0 0\n").unwrap();
    trail(dir.path());
    let mut tail = Tail::resume(dir.path(), "a");
    assert_eq!(all(&mut tail, 11), ((1..=11).collect(), 0));
    assert_eq!(all(&mut tail, 11), (Vec::new(), 0));
    tail.keep().unwrap();
    let mut next = Tail::resume(dir.path(), "a");
    assert_eq!(all(&mut next, 30), ((12..=30).collect(), 0), "the next process goes on there");
    // A new one begins with the segment that is written to.
    let (numbers, lost) = all(&mut Tail::resume(dir.path(), "b"), 30);
    assert!(numbers.len() < 7 && numbers.last() == Some(&30) && lost == 0, "{numbers:?}");
}

#[test]
fn what_is_gone_before_it_was_sent_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sink-a"), "1 0 0\n").unwrap();
    trail(dir.path());
    let mut tail = Tail::resume(dir.path(), "a");
    tail.read(2, 7, 1 << 20).unwrap();
    for number in 1..=2 {
        for path in [segment::path(dir.path(), number), segment::packed_path(dir.path(), number)] {
            drop(std::fs::remove_file(path));
        }
    }
    tail.keep().unwrap();
    let (numbers, lost) = all(&mut Tail::resume(dir.path(), "a"), 30);
    assert_eq!(numbers.last(), Some(&30));
    assert_eq!(numbers[0], 3 + lost, "{numbers:?}");
    assert!(lost > 0);
}

#[test]
fn a_batch_is_bounded_by_records_and_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sink-a"), "1 0 0\n").unwrap();
    trail(dir.path());
    let mut tail = Tail::resume(dir.path(), "a");
    assert_eq!(tail.read(30, 5, 1 << 20).unwrap().lines.len(), 5);
    assert_eq!(tail.read(30, 5, 300).unwrap().lines.len(), 2, "the one that reaches the limit is the last");
}
