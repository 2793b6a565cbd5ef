//! What is kept of callers, in each kind of store.

use super::both::Place;
use super::*;
use crate::store::{Answered, Begun, Call, PageSession, PasswordCode};

fn call(caller: &str, key: u8, request: u8) -> Call {
    Call { caller: caller.to_owned(), key: [key; 32], request: [request; 32] }
}

fn session(key: u8, user: &str, opened: i64) -> PageSession {
    let (opened_at, ends_at) = (at(opened), at(opened + 100));
    PageSession { key: [key; 32], user: user.to_owned(), credential: [9; 32], opened_at, ends_at, said: None }
}

#[tokio::test]
async fn a_call_is_new_once_for_each_caller_and_key() {
    for place in Place::both().await {
        let callers = place.open_callers().await;
        let begin = async |call: Call, now: i64| callers.begin_call(call, at(now), at(now + 100)).await.unwrap();
        assert_eq!(begin(call("bob", 1, 1), 0).await, Begun::New);
        assert_eq!(begin(call("bob", 1, 1), 1).await, Begun::Open);
        assert_eq!(begin(call("bob", 1, 2), 1).await, Begun::Other);
        assert_eq!(begin(call("carol", 1, 2), 1).await, Begun::New);
        let answered = Answered { status: 201, body: Some("{\"ü\": null}".to_owned()) };
        callers.end_call(call("bob", 1, 1), Some(answered.clone())).await.unwrap();
        assert_eq!(begin(call("bob", 1, 1), 2).await, Begun::Answered(answered.clone()));
        assert_eq!(begin(call("bob", 1, 2), 2).await, Begun::Other);
        // What was answered is not forgotten, what failed is.
        callers.end_call(call("bob", 1, 1), None).await.unwrap();
        assert_eq!(begin(call("bob", 1, 1), 3).await, Begun::Answered(answered));
        callers.end_call(call("carol", 1, 2), None).await.unwrap();
        assert_eq!(begin(call("carol", 1, 3), 4).await, Begun::New);
        assert_eq!(begin(call("bob", 1, 2), 100).await, Begun::New, "its time is over");
        assert_eq!(begin(call("bob", 1, 2), 101).await, Begun::Open);
        let large = Answered { status: 200, body: None };
        callers.end_call(call("bob", 1, 2), Some(large.clone())).await.unwrap();
        assert_eq!(begin(call("bob", 1, 2), 102).await, Begun::Answered(large));
        callers.probe(at(0)).await.unwrap();
        callers.probe(at(1)).await.unwrap();
    }
}

#[tokio::test]
async fn of_calls_that_come_together_one_is_new() {
    for place in Place::both().await {
        let callers = place.open_callers().await;
        let begin = || callers.begin_call(call("bob", 1, 1), at(0), at(100));
        let (one, two, three) = tokio::join!(begin(), begin(), begin());
        let begun = [one.unwrap(), two.unwrap(), three.unwrap()];
        assert_eq!(begun.iter().filter(|begun| **begun == Begun::New).count(), 1, "{begun:?}");
    }
}

#[tokio::test]
async fn sessions_come_and_go() {
    for place in Place::both().await {
        let callers = place.open_callers().await;
        let is_open = async |key: u8| callers.session([key; 32]).await.unwrap().is_some();
        for (key, user) in [(1, "bob"), (2, "bob"), (3, "carol"), (4, "bob")] {
            callers.open_session(session(key, user, i64::from(key)), 2).await.unwrap();
        }
        assert_eq!(callers.session([3; 32]).await.unwrap(), Some(session(3, "carol", 3)));
        assert_eq!([is_open(1).await, is_open(2).await, is_open(4).await], [false, true, true], "the oldest ends");
        callers.close_session([2; 32]).await.unwrap();
        assert!(!is_open(2).await && is_open(4).await);
        callers.open_session(session(5, "bob", 5), 20).await.unwrap();
        assert_eq!(callers.close_sessions("bob".to_owned()).await.unwrap(), 2);
        assert!(!is_open(4).await && !is_open(5).await && is_open(3).await);
        callers.open_session(session(6, "bob", 500), 20).await.unwrap();
        assert!(!is_open(3).await, "its time is over");
    }
}

#[tokio::test]
async fn proxies_of_one_store_know_the_same() {
    let here = Place::postgres().await;
    let there = here.elsewhere();
    let (one, other) = (here.open_callers().await, there.open_callers().await);
    one.open_session(session(1, "bob", 0), 20).await.unwrap();
    assert_eq!(other.session([1; 32]).await.unwrap(), Some(session(1, "bob", 0)));
    assert_eq!(one.begin_call(call("bob", 1, 1), at(0), at(9)).await.unwrap(), Begun::New);
    let answered = Answered { status: 200, body: Some("{}".to_owned()) };
    one.end_call(call("bob", 1, 1), Some(answered.clone())).await.unwrap();
    assert_eq!(other.begin_call(call("bob", 1, 1), at(1), at(9)).await.unwrap(), Begun::Answered(answered));
    assert_eq!(other.close_sessions("bob".to_owned()).await.unwrap(), 1);
    assert_eq!(one.session([1; 32]).await.unwrap(), None);
}

#[tokio::test]
async fn what_the_provider_said_last_counts_for_as_long_as_the_session_would() {
    for place in Place::both().await {
        let callers = place.open_callers().await;
        let groups = |words: &str| Some(words.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let said = async |key: u8| callers.session([key; 32]).await.unwrap().unwrap().said;
        let people = async |now: i64| {
            let people = callers.people(at(now)).await.unwrap();
            people.into_iter().map(|person| (person.name, person.groups.join(" "))).collect::<Vec<_>>()
        };
        let eve = |words: &str| ("eve".to_owned(), words.to_owned());
        callers.open_session(session(1, "bob", 0), 20).await.unwrap();
        callers.open_session(PageSession { said: groups("dba ops"), ..session(2, "eve", 0) }, 20).await.unwrap();
        assert_eq!((said(1).await, said(2).await), (None, groups("dba ops")));
        callers.open_session(PageSession { said: groups("ops"), ..session(3, "eve", 5) }, 20).await.unwrap();
        assert_eq!((said(2).await, said(3).await), (groups("ops"), groups("ops")), "the last word counts everywhere");
        // Who signs out has still been what they were.
        callers.close_sessions("eve".to_owned()).await.unwrap();
        assert_eq!((people(104).await, people(105).await), (vec![eve("ops")], Vec::new()));
        // Somebody else by the same name is another person.
        let other = PageSession { credential: [8; 32], said: groups(""), ..session(4, "eve", 6) };
        callers.open_session(session(5, "eve", 5), 20).await.unwrap();
        callers.open_session(other, 20).await.unwrap();
        assert_eq!((said(4).await, said(5).await, people(7).await), (groups(""), None, vec![eve("")]));
        // Time takes it away, at the next sign-in of anybody.
        callers.open_session(session(6, "bob", 500), 20).await.unwrap();
        assert_eq!(people(0).await, Vec::new());
    }
}

#[tokio::test]
async fn a_code_is_for_one_password_and_a_person_has_one() {
    for place in Place::both().await {
        let callers = place.open_callers().await;
        let offer = async |code: u8, user: &str, now: i64| {
            let code =
                PasswordCode { code: [code; 32], user: user.to_owned(), credential: [9; 32], ends_at: at(now + 10) };
            callers.offer_password(code, at(now)).await.unwrap();
        };
        let claim = async |code: u8, verifier: &str, now: i64| {
            let claimed = callers.claim_password([code; 32], verifier.to_owned(), at(now), at(now + 100));
            claimed.await.unwrap()
        };
        let verifier = async |user: &str, now: i64| {
            let password = callers.password(user.to_owned(), at(now)).await.unwrap();
            password.map(|password| (password.verifier, password.said))
        };
        let of = |text: &str| Some((text.to_owned(), None));
        let eve = || Some("eve".to_owned());
        offer(1, "eve", 0).await;
        assert_eq!(verifier("eve", 0).await, None, "a code is no password");
        assert_eq!((claim(2, "x", 1).await, claim(1, "one", 1).await, claim(1, "two", 1).await), (None, eve(), None));
        assert_eq!(
            (verifier("eve", 100).await, verifier("eve", 101).await),
            (of("one"), None),
            "until its time is over"
        );
        assert_eq!(verifier("bob", 1).await, None);
        offer(3, "eve", 2).await;
        assert_eq!(claim(3, "late", 12).await, None, "the time of the code is over");
        offer(4, "eve", 20).await;
        assert_eq!((claim(4, "two", 21).await, verifier("eve", 22).await), (eve(), of("two")), "the last one counts");
        // What the provider has said of who asked for it comes along, for as long as it counts.
        let said = PageSession { said: Some(vec!["dba".to_owned()]), ..session(1, "eve", 0) };
        callers.open_session(said, 20).await.unwrap();
        let groups = async |now: i64| verifier("eve", now).await.and_then(|(_, said)| said);
        assert_eq!((groups(99).await, groups(100).await), (Some(vec!["dba".to_owned()]), None));
        offer(5, "eve", 30).await;
        let dropped = async || callers.drop_password("eve".to_owned()).await.unwrap();
        assert_eq!((dropped().await, dropped().await), (true, false));
        assert_eq!((verifier("eve", 31).await, claim(5, "three", 31).await), (None, None), "codes go as well");
    }
}
