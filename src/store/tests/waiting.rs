//! What waits for somebody's vote.

use super::*;

/// `bob:dba,ops` at 30 seconds: how many wait, and which are first.
#[track_caller]
fn check(found: &WaitingOn, count: u32, first: &[u128]) {
    let ids: Vec<u128> = found.first.iter().map(|request| request.id.0.0).collect();
    assert_eq!((found.count, ids.as_slice()), (count, first));
}

fn vote(by: &str, edited: Option<&str>) -> Vote {
    Vote {
        by: by.to_owned(),
        groups: vec!["dba".to_owned()],
        approve: true,
        reason: None,
        at: at(1),
        surface: Surface::Api,
        offer: None,
        forced: false,
        edited: edited.map(str::to_owned),
        max_affected: None,
    }
}

#[tokio::test]
async fn what_waits_for_a_vote_is_found_however_many_there_are() {
    for place in Place::both().await {
        let store = place.open().await;
        let person = |name: &str, groups: &[&str]| Viewer {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Viewer::default()
        };
        let of = |group: &str| vec![ReviewerDemand { group: group.to_owned(), approvals: 2 }];
        let nasty = "\"justification_required\":true,\"justification\":null";
        for new in [
            AccessRequest { expires_at: at(90), ..request(1) },
            AccessRequest { expires_at: at(50), reviewers: of("ops"), ..request(2) },
            AccessRequest { reviewers: of("security"), ..request(3) },
            AccessRequest { user: "bob".to_owned(), ..request(4) },
            AccessRequest { expires_at: at(20), ..request(5) },
            AccessRequest { justification: None, ..request(6) },
            AccessRequest {
                justification: None,
                justification_required: false,
                statement: nasty.to_owned(),
                ..request(7)
            },
            AccessRequest { reviewers: [of("dba"), of("ops")].concat(), ..request(8) },
        ] {
            store.create(record(new)).await.unwrap();
        }
        let bob = || person("bob", &["dba", "ops"]);
        let look = async |limit| store.waiting_on(bob(), at(30), limit).await.unwrap();
        check(&look(10).await, 4, &[2, 7, 8, 1]);
        check(&look(1).await, 4, &[2]);
        check(&look(0).await, 4, &[]);
        check(&store.waiting_on(person("eve", &[]), at(30), 10).await.unwrap(), 0, &[]);
        let there = |database: &str| Viewer {
            on: vec![GroupsOn { database: database.to_owned(), groups: vec!["security".to_owned()] }],
            ..person("kim", &[])
        };
        check(&store.waiting_on(there("shop"), at(30), 10).await.unwrap(), 1, &[3]);
        check(&store.waiting_on(there("elsewhere"), at(30), 10).await.unwrap(), 0, &[]);

        // A vote that was cast counts until somebody changes the text.
        let mut version = 0;
        for (who, edited, waits) in [("bob", None, false), ("carol", Some("SELECT 1"), true), ("bob", None, false)] {
            version += 1;
            let cast = Change { vote: Some(vote(who, edited)), ..change(8, version, State::Pending, State::Pending) };
            let cast = Change { transition: None, ..cast };
            store.vote_and_transition(cast).await.unwrap().unwrap();
            check(&look(10).await, 3 + u32::from(waits), if waits { &[2, 7, 8, 1] } else { &[2, 7, 1] });
        }
        let given =
            Change { justification: Some("asked for".to_owned()), ..change(6, 1, State::Pending, State::Pending) };
        store.vote_and_transition(Change { transition: None, ..given }).await.unwrap().unwrap();
        check(&look(10).await, 4, &[2, 6, 7, 1]);
        store.vote_and_transition(change(2, 1, State::Pending, State::Rejected)).await.unwrap().unwrap();
        check(&look(10).await, 3, &[6, 7, 1]);
    }
}
