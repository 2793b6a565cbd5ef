//! Each way of editing a trail on disk is found at the right record, by `audit verify` and by the verifier of the
//! documentation, which shares no code with it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use countersign::audit::{Audit, Fault, Known, Options, PublicKey, Record, Signer, SigningKey, verify};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::audit::verify_without_us;

/// The lines of each segment, by its file.
type Segments = BTreeMap<String, Vec<String>>;

/// The segment in the middle: closed and compressed.
const CLOSED: &str = "000002.jsonl.gz";
/// The segment that is written to.
const LAST: &str = "000003.jsonl";

fn write_trail(dir: &Path) -> PublicKey {
    let key = SigningKey::from_pem(&SigningKey::new_pem().expect("a key")).expect("a key");
    let public = key.public();
    let options = Options { segment_bytes_max: 1500, signer: Some(Signer::new(key, None)), ..Options::default() };
    let now = "2026-01-02T03:04:05Z".parse().expect("a time");
    let audit = Audit::open_with(dir, options, now).expect("a trail");
    for session in 1..=18 {
        let session = session.to_string();
        let record = Record::SessionClose { session: &session, user: "alice", database: "shop", reason: "closed" };
        audit.record(now, &record).expect("recorded");
    }
    drop(audit);
    // The keeper may have been told to stop before it was done.
    Audit::open(dir, now).map(drop).expect("a trail");
    for segment in fs::read_dir(dir).expect("a directory").flatten() {
        let name = segment.file_name().into_string().expect("a name");
        if name.ends_with(".jsonl") && name != LAST {
            let text = fs::read(segment.path()).expect("segment");
            pack(&dir.join(format!("{name}.gz")), &text);
            fs::remove_file(segment.path()).expect("segment");
        }
    }
    public
}

fn pack(path: &Path, text: &[u8]) {
    let mut encoder = GzEncoder::new(fs::File::create(path).expect("segment"), Compression::default());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("segment");
}

fn read(dir: &Path) -> Segments {
    let mut segments = Segments::new();
    for file in fs::read_dir(dir).expect("a directory").flatten() {
        let name = file.file_name().into_string().expect("a name");
        let mut text = String::new();
        let mut source = fs::File::open(file.path()).expect("segment");
        match name.rsplit('.').next() {
            Some("gz") => GzDecoder::new(source).read_to_string(&mut text),
            Some("jsonl") => source.read_to_string(&mut text),
            _ => continue,
        }
        .expect("segment");
        segments.insert(name, text.lines().map(str::to_owned).collect());
    }
    segments
}

fn write(dir: &Path, segments: &Segments) {
    for (name, lines) in segments {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if name.ends_with(".gz") {
            pack(&dir.join(name), text.as_bytes());
        } else {
            fs::write(dir.join(name), text).expect("segment");
        }
    }
}

fn seq(line: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(line).expect("a record")["seq"].as_u64().expect("a number")
}

/// Edits a trail; both must find `fault` at the record that is named by segment and line, from 1, as it was written.
#[track_caller]
fn check(fault: Fault, (segment, line): (&str, usize), their_line: usize, edit: impl FnOnce(&mut Segments)) {
    let directory = tempfile::tempdir().expect("a directory");
    let key = write_trail(directory.path());
    let known = || Known { keys: vec![key], ..Known::default() };
    let genuine = verify(directory.path(), known()).expect("readable");
    assert!(genuine.is_intact(), "{genuine:#?}");
    let theirs = verify_without_us(directory.path(), &key.to_string(), &[]);
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stdout));
    let mut segments = read(directory.path());
    let wanted = seq(&segments[segment][line - 1]);
    edit(&mut segments);
    write(directory.path(), &segments);
    let ours = verify(directory.path(), known()).expect("readable");
    let first = ours.findings.first().unwrap_or_else(|| panic!("{fault:?} is not found: {ours:#?}"));
    assert_eq!((first.fault, first.seq), (fault, Some(wanted)), "{ours:#?}");
    let theirs = verify_without_us(directory.path(), &key.to_string(), &[]);
    let said = String::from_utf8_lossy(&theirs.stdout).into_owned();
    assert_eq!(theirs.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with(&format!("{segment}:{their_line}:")) || their_line == 0,
        "{fault:?} at {their_line}: {said}"
    );
}

fn closed(segments: &mut Segments) -> &mut Vec<String> {
    segments.get_mut(CLOSED).expect("the segment")
}

#[test]
fn a_changed_record_is_found() {
    // The record behind it carries another hash.
    check(Fault::Changed, (CLOSED, 2), 3, |segments| {
        let line = &mut closed(segments)[1];
        *line = line.replace("alice", "malory");
    });
}

#[test]
fn a_dropped_record_is_found() {
    // Named is the record that it is missing before.
    check(Fault::Dropped, (CLOSED, 3), 2, |segments| drop(closed(segments).remove(1)));
}

#[test]
fn a_dropped_segment_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = write_trail(directory.path());
    fs::remove_file(directory.path().join(CLOSED)).expect("the segment");
    let ours = verify(directory.path(), Known { keys: vec![key], ..Known::default() }).expect("readable");
    assert_eq!((ours.findings[0].fault, ours.findings[0].segment.as_str()), (Fault::Dropped, "000002.jsonl"));
    let theirs = verify_without_us(directory.path(), &key.to_string(), &[]);
    assert!(String::from_utf8_lossy(&theirs.stdout).starts_with("000003.jsonl:1:"));
}

#[test]
fn reordered_records_are_found() {
    check(Fault::Reordered, (CLOSED, 2), 2, |segments| closed(segments).swap(1, 2));
}

#[test]
fn a_record_from_another_history_is_found() {
    check(Fault::Forked, (CLOSED, 2), 3, |segments| {
        let other = closed(segments)[1].replace("alice", "malory");
        closed(segments).insert(2, other);
    });
}

#[test]
fn a_cut_end_is_found() {
    // The record before is the last that is there, and the head knows of later ones.
    let last = |segments: &Segments| segments[LAST].len();
    let directory = tempfile::tempdir().expect("a directory");
    write_trail(directory.path());
    let lines = last(&read(directory.path()));
    check(Fault::Truncated, (LAST, lines - 1), 0, |segments| {
        drop(segments.get_mut(LAST).expect("the segment").pop());
    });
}

#[test]
fn a_signature_that_is_none_is_found() {
    // The checkpoint at the end of a closed segment.
    let directory = tempfile::tempdir().expect("a directory");
    write_trail(directory.path());
    let at = read(directory.path())[CLOSED].iter().position(|line| line.contains("checkpoint")).expect("a checkpoint");
    check(Fault::Changed, (CLOSED, at + 1), at + 1, |segments| {
        let checkpoint = &mut closed(segments)[at];
        let changed = if checkpoint.contains("\"signature\":\"0") { "1" } else { "0" };
        let digit = checkpoint.find("\"signature\":\"").expect("a signature") + "\"signature\":\"".len();
        checkpoint.replace_range(digit..=digit, changed);
    });
}

#[test]
fn a_trail_that_somebody_else_has_signed_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let (stranger, own) = (write_trail(directory.path()), write_trail(&directory.path().join("own")));
    let ours = verify(directory.path(), Known { keys: vec![own], ..Known::default() }).expect("readable");
    let finding = ours.findings.first().expect("a finding");
    let checkpoint = read(directory.path())["000001.jsonl.gz"].iter().position(|line| line.contains("checkpoint"));
    let line = checkpoint.expect("a checkpoint") as u64 + 1;
    assert_eq!((finding.fault, finding.segment.as_str(), finding.line), (Fault::Unsigned, "000001.jsonl.gz", line));
    let theirs = verify_without_us(directory.path(), &own.to_string(), &[]);
    let said = String::from_utf8_lossy(&theirs.stdout).into_owned();
    let wanted = format!("000001.jsonl.gz:{line}: not signed by a trusted key");
    assert!(said.lines().any(|line| line == wanted), "{said}");
    assert!(verify_without_us(directory.path(), &stranger.to_string(), &[]).status.success());
}
