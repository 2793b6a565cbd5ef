//! Finding records again, over segments, plain and compressed.

use super::*;

/// Sessions 0 to 29 of alice and bob in turn, in segments of about four records.
fn trail(dir: &Path) {
    let audit = Audit::open_with(dir, Options { segment_bytes_max: 1000, ..Options::default() }, now()).unwrap();
    for n in 0..30 {
        let at = now() + jiff::SignedDuration::from_secs(n);
        let (session, user) = (n.to_string(), if n % 2 == 0 { "alice" } else { "bob" });
        let database = if n < 20 { "shop" } else { "wiki" };
        let record = Record::SessionClose { session: &session, user, database, reason: "closed" };
        audit.record(at, &record).unwrap();
    }
}

fn sessions(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text("session")).collect()
}

#[track_caller]
fn check(dir: &Path, question: Question, want: &[&str]) {
    let mut found = Vec::new();
    search(dir, &question, |entry| {
        found.push(entry);
        true
    })
    .unwrap();
    assert_eq!(sessions(&found), want, "{question:?}");
    let newest = last(dir, &question, 2).unwrap();
    assert_eq!(sessions(&newest), want[want.len().saturating_sub(2)..], "the last of {question:?}");
}

#[test]
fn a_question_finds_what_fits_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path());
    let all = Question::default;
    let text = |text: &str| Some(text.to_owned());
    let time = |seconds| Some(now() + jiff::SignedDuration::from_secs(seconds));
    check(dir.path(), Question { after: 27, ..all() }, &["27", "28", "29"]);
    check(
        dir.path(),
        Question { user: text("alice"), database: text("wiki"), ..all() },
        &["20", "22", "24", "26", "28"],
    );
    check(dir.path(), Question { since: time(3), until: time(6), ..all() }, &["3", "4", "5"]);
    check(dir.path(), Question { since: time(28), ..all() }, &["28", "29"]);
    check(dir.path(), Question { until: time(2), ..all() }, &["0", "1"]);
    check(dir.path(), Question { kinds: vec!["verdict".to_owned()], ..all() }, &[]);
    check(dir.path(), Question { request: text("none"), ..all() }, &[]);
    assert_eq!(last(dir.path(), &all(), 100).unwrap().len(), 30);
    assert!(search(&dir.path().join("elsewhere"), &all(), |_| true).is_err());
}

#[test]
fn a_search_stops_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path());
    let mut seen = 0;
    search(dir.path(), &Question::default(), |_| {
        seen += 1;
        seen < 7
    })
    .unwrap();
    assert_eq!(seen, 7);
}

#[tokio::test]
async fn a_follower_sees_each_new_record_once_over_segments() {
    let dir = tempfile::tempdir().unwrap();
    trail(dir.path());
    let mut follower = Follower::from_end(dir.path(), Question::default()).unwrap();
    assert!(follower.read_on().unwrap().is_empty());
    let audit = Audit::open_with(dir.path(), Options { segment_bytes_max: 500, ..Options::default() }, now()).unwrap();
    let mut come = Vec::new();
    for text in ["a", "b", "c", "d", "e"] {
        audit.record_durable(now(), &close(text)).await.unwrap();
        come.extend(follower.read_on().unwrap());
    }
    assert_eq!(sessions(&come), ["a", "b", "c", "d", "e"]);
    // A line that is not complete is not a record yet.
    drop(audit);
    let last = *segment::list(dir.path()).unwrap().last().unwrap();
    let mut text = fs::read(segment::path(dir.path(), last)).unwrap();
    text.extend_from_slice(b"{\"seq\":99");
    fs::write(segment::path(dir.path(), last), text).unwrap();
    assert!(follower.read_on().unwrap().is_empty());
}
