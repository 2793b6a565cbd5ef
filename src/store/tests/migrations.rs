//! Stores of every earlier version, brought up to date.
//!
//! `rows/KIND-NNNN.sql` is what a program of that version wrote, as text that nobody edits any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::store::migrations::{Migration, POSTGRES, SQLITE};

/// What stands in each file, for ever: the first digits of its SHA-256. A new file gets a line here, an old line is never
/// changed.
const WRITTEN: [(&str, &str); 26] = [
    ("sqlite/0001-requests.sql", "bee0198f9731115d"),
    ("sqlite/0002-grants.sql", "10023c772d9d04d2"),
    ("sqlite/0003-lists.sql", "bbc7d05bce0ec697"),
    ("sqlite/0004-edits.sql", "72d974d958c1524f"),
    ("sqlite/0005-cards.sql", "f90a0e67a4c9e968"),
    ("sqlite/0006-limits.sql", "bdaef184b03ab913"),
    ("sqlite/0007-callers.sql", "9d1e82ebb2931ee3"),
    ("sqlite/0008-told.sql", "a91fae84f4cce764"),
    ("sqlite/0009-people.sql", "3688a2b93d2bcc27"),
    ("sqlite/0010-grants-told.sql", "5d3727aab294081c"),
    ("sqlite/0011-passwords.sql", "a838c14389186610"),
    ("sqlite/0012-outbox.sql", "19298a64e15ac33e"),
    ("sqlite/0013-undecided.sql", "84ceaf667849ef24"),
    ("postgres/0001-requests.sql", "e7c592a76957ed1c"),
    ("postgres/0002-grants.sql", "93d2b0fa61f6b875"),
    ("postgres/0003-edits.sql", "f4d7813f6e6f56dc"),
    ("postgres/0004-cards.sql", "cc2bf719aa22f464"),
    ("postgres/0005-limits.sql", "dcb6cb5955577eb4"),
    ("postgres/0006-callers.sql", "0fe6f6b65bee0764"),
    ("postgres/0007-told.sql", "59726f9dc6754310"),
    ("postgres/0008-people.sql", "3f94fd6e90fb957c"),
    ("postgres/0009-grants-told.sql", "4cdbb0a4f2c27f29"),
    ("postgres/0010-passwords.sql", "c2f2650b46cf9ab9"),
    ("postgres/0011-outbox.sql", "1f5e85f9aa7a7855"),
    ("postgres/0012-anchors.sql", "ee913a55010443d1"),
    ("postgres/0013-undecided.sql", "7c5e8d2eeb4b9f01"),
];

fn source(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store").join(path)
}

fn rows_of(kind: &str, version: u32) -> String {
    let path = source(&format!("tests/rows/{kind}-{version:04}.sql"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_file_is_numbered_listed_and_never_edited() {
    let listed: Vec<&Migration> = SQLITE.iter().chain(POSTGRES).collect();
    for migration in &listed {
        let number = format!("/{:04}-", migration.version);
        assert!(migration.file.contains(&number), "{} is version {}", migration.file, migration.version);
    }
    let there = |kind: &str| {
        let files = fs::read_dir(source(&format!("migrations/{kind}"))).unwrap();
        files.map(|file| format!("{kind}/{}", file.unwrap().file_name().display())).collect::<Vec<_>>()
    };
    let there: BTreeSet<String> = there("sqlite").into_iter().chain(there("postgres")).collect();
    let named: BTreeSet<String> = listed.iter().map(|migration| migration.file.to_owned()).collect();
    assert_eq!(there, named, "every file is on a list");
    let digest = |migration: &&Migration| {
        let digest = hex::encode(Sha256::digest(migration.text));
        (migration.file, digest[..16].to_owned())
    };
    let written: Vec<_> = listed.iter().map(digest).collect();
    let expected: Vec<_> = WRITTEN.iter().map(|(file, digest)| (*file, (*digest).to_owned())).collect();
    assert_eq!(written, expected, "a released file stays as it is; a new one has a line in WRITTEN");
}

/// Makes a store as programs of versions 1 to `version` left it, one after the other, with rows of each.
async fn left_by(place: &Place, kind: &str, list: &[Migration], version: u32) {
    let set_up = "CREATE SCHEMA IF NOT EXISTS countersign;";
    let set_up = if kind == "postgres" { set_up } else { "" };
    let mut text = format!("{set_up} CREATE TABLE countersign.schema_version (version bigint NOT NULL);");
    for migration in list.iter().take_while(|migration| migration.version <= version) {
        text.push_str(migration.text);
        text.push_str(&rows_of(kind, migration.version));
    }
    text.push_str(&format!("INSERT INTO countersign.schema_version VALUES ({version});"));
    place.execute(&text).await;
}

/// What was written by `version` is read, listed, decided and used by this program.
async fn serves(store: &Arc<dyn Store>, version: u32) {
    let id = |n: u32| {
        let text = format!("{:026}", version * 10 + n);
        RequestId(ulid::Ulid::from_string(&text).unwrap())
    };
    let what = |n: u32| format!("request {n} of version {version}");
    let viewer = Some(Viewer { name: "eve".to_owned(), groups: vec!["dba".to_owned()], ..Viewer::default() });
    let inbox = Filter { state: Some(State::Pending), visible_to: viewer, limit: 100, ..Filter::default() };
    let waits = async || store.list(inbox.clone()).await.unwrap().iter().any(|request| request.id == id(1));
    assert!(waits().await, "{}", what(1));
    let change = |n: u32, version: u64, from: State, to: State| Change { id: id(n), ..change(0, version, from, to) };
    store.vote_and_transition(change(1, 1, State::Pending, State::Rejected)).await.unwrap().unwrap();
    assert!(!waits().await, "{}", what(1));

    let binding = Binding([u8::try_from(version * 10 + 2).unwrap(); 32]);
    let found = store.find_resubmittable(binding, "alice".to_owned(), State::Approved, at(0)).await.unwrap().unwrap();
    assert_eq!((found.id, found.votes.len(), found.transitions.len()), (id(2), 1, 2), "{}", what(2));
    let begun = store.vote_and_transition(change(2, 2, State::Approved, State::Executing)).await.unwrap().unwrap();
    assert_eq!((begun.state, begun.transitions.len()), (State::Executing, 3), "{}", what(2));

    let used = store.get(id(3)).await.unwrap().unwrap();
    let told = (used.state, used.version, used.outcome.as_deref(), used.reviewers.len(), used.votes.len());
    assert_eq!(told, (State::Executed, 4, Some("DELETE 1"), 1, 1), "{}", what(3));
    let text = (used.statement.as_str(), used.parameters[0].value.as_deref());
    assert_eq!(text, ("DELETE FROM t", Some("1")), "{}", what(3));
    let past = store.past(AccessRequest { shape: "03".to_owned(), ..used }, None).await.unwrap();
    // The first version knew no shapes.
    let counted = past.approved >= 1 && past.rejected >= 1;
    assert_eq!(counted, version > 1, "{} and the two before are of that shape", what(3));
}

/// Who was signed in stays so, and what was answered is known.
async fn keeps_callers(callers: &Arc<dyn Callers>, kind: &str, version: u32) {
    let first = if kind == "sqlite" { 7 } else { 6 };
    for of in first..=version {
        let key = [u8::try_from(of).unwrap(); 32];
        let session = callers.session(key).await.unwrap().unwrap();
        assert_eq!(session.user, "bob", "{kind} {of}");
        // What was said last is of who opened the last session.
        let said = (of == version && of > first + 1).then(|| vec!["their-dbas".to_owned()]);
        assert_eq!(session.said, said, "{kind} {of}");
        // Of passwords, the one that was made last; every code is for one.
        let password = callers.password("bob".to_owned(), at(0)).await.unwrap();
        let verifier = (version > first + 3).then(|| format!("verifier of version {version}"));
        assert_eq!(password.map(|password| password.verifier), verifier, "{kind} {of}");
        let call = Call { caller: "bob".to_owned(), key, request: key };
        let answered = Answered { status: 201, body: Some("{}".to_owned()) };
        assert_eq!(callers.begin_call(call, at(0), at(9)).await.unwrap(), Begun::Answered(answered), "{kind} {of}");
    }
}

async fn check(place: Place, kind: &str, list: &[Migration], version: u32) {
    left_by(&place, kind, list, version).await;
    let store = place.open().await;
    assert!(store.recover(at(9)).await.unwrap().is_empty(), "nothing that was left is ended by the migration");
    for of in 1..=version {
        serves(&store, of).await;
    }
    let grants = store.grants(GrantFilter { open: true, limit: 100, ..GrantFilter::default() }).await.unwrap();
    assert_eq!(grants.len(), usize::try_from(version).unwrap() - 1, "{kind} has one of each version but the first");
    drop(store);
    keeps_callers(&place.open_callers().await, kind, version).await;
    // Once is enough.
    assert!(place.open().await.get(RequestId(ulid::Ulid(5))).await.unwrap().is_none());
}

#[tokio::test]
async fn embedded_stores_of_every_version_are_brought_up_to_date() {
    for migration in SQLITE {
        check(Place::sqlite(), "sqlite", SQLITE, migration.version).await;
    }
}

#[tokio::test]
async fn shared_stores_of_every_version_are_brought_up_to_date() {
    for migration in POSTGRES {
        check(Place::postgres().await, "postgres", POSTGRES, migration.version).await;
    }
}

/// A migration that fails in the middle leaves the store as it was, for the program that made it.
#[tokio::test]
async fn a_migration_that_fails_changes_nothing() {
    for (place, kind, list) in [(Place::sqlite(), "sqlite", SQLITE), (Place::postgres().await, "postgres", POSTGRES)] {
        left_by(&place, kind, list, 1).await;
        // In the way of the second.
        place.execute("CREATE TABLE countersign.grants (id text)").await;
        assert!(place.try_open().await.is_err(), "{kind}");
        place.execute("DROP TABLE countersign.grants").await;
        let store = place.open().await;
        serves(&store, 1).await;
    }
}
