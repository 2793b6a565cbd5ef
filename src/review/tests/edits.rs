//! Approvals with changes: of which text they are, and for whom they are found again.

use countersign_policy::grant::Binding;

use super::*;

const SAFER: &str = "UPDATE t SET v = 1 WHERE id = $1 AND v = 0";

fn changing(text: &str) -> Consent {
    Consent { edited: Some(text.to_owned()), ..Consent::default() }
}

#[test]
fn approvals_of_a_text_do_not_count_for_the_changed_one() {
    run(async {
        let bench = Bench::new();
        let mut waiting = bench.hold("dba*2").await;
        let id = waiting.request.id;
        let approve = async |name: &str, consent: Consent| bench.review.approve(id, &actor(name), consent, at(1)).await;
        approve("bob", Consent::default()).await.unwrap();
        let changed = approve("carol", changing(SAFER)).await.unwrap();
        assert_eq!((changed.state, changed.approvals().count()), (State::Pending, 1));
        assert!(matches!(approve("carol", changing(SAFER)).await, Err(ReviewError::AlreadyVoted)));
        let unseen = approve("bob", Consent::default()).await;
        assert!(matches!(unseen, Err(ReviewError::Changed { by }) if by == "carol"));
        // The same text again is no change.
        let approved = approve("bob", changing(SAFER)).await.unwrap();
        assert_eq!(approved.state, State::Approved);
        let edit = Some(Edit { statement: SAFER.to_owned(), by: "carol".to_owned() });
        assert_eq!(approved.edit(), edit);
        assert_eq!(
            waiting.decision().await,
            Decision::Approved(Agreement { met: approved.reviewers.clone(), edit, max_affected: None })
        );
        bench.review.begin_execution(id, at(2)).await.unwrap();
        let dir = Arc::clone(&bench.dir);
        drop((waiting, bench));
        let trail = crate::audit::lines(&dir.path().join("audit"));
        let intent: serde_json::Value = trail
            .iter()
            .find(|line| line.contains("\"intent\""))
            .map(|line| serde_json::from_str(line))
            .unwrap()
            .unwrap();
        assert_eq!((&intent["statement"], &intent["approvers"]), (&SAFER.into(), &serde_json::json!(["carol", "bob"])));
    });
}

#[test]
fn a_change_that_is_no_statement_or_is_offered_again_is_refused() {
    run(async {
        let bench = Bench::new();
        let id = bench.ask("dba").await;
        let approve = async |consent: Consent| bench.review.approve(id, &actor("bob"), consent, at(1)).await;
        for text in ["", " \n", "SELECT 1\0"] {
            assert!(matches!(approve(changing(text)).await, Err(ReviewError::BadEdit)), "{text:?}");
        }
        let offer = Some(Offer { seconds: 60, scope: Scope::Shape });
        assert!(matches!(approve(Consent { offer, ..changing(SAFER) }).await, Err(ReviewError::BadScope(_))));
        let refused = bench.review.approve(id, &actor("alice"), changing(SAFER), at(1)).await;
        assert!(matches!(refused, Err(ReviewError::OwnRequest)));
        assert!(bench.review.get(id).await.unwrap().votes.is_empty());
    });
}

#[test]
fn an_approval_with_changes_is_found_by_the_changed_text_once_it_is_bound_to_it() {
    run(async {
        let bench = Bench::new();
        let waiting = bench.hold("dba").await;
        let id = waiting.request.id;
        assert!(bench.review.rebind(id, Binding([8; 32])).await.is_err());
        bench.review.approve(id, &actor("bob"), changing(SAFER), at(1)).await.unwrap();
        drop(waiting);
        bench.review.rebind(id, Binding([8; 32])).await.unwrap();
        let bench = bench.restart();
        bench.review.recover(at(2)).await.unwrap();
        let sent = async |binding: u8| {
            let new = NewRequest { binding: Binding([binding; 32]), ..new_request("dba", Mode::Wait) };
            bench.review.open(new, at(3)).await.unwrap()
        };
        assert!(matches!(sent(7).await, Opened::Waiting(_)));
        assert!(
            matches!(sent(8).await, Opened::Ticket { id: found, agreement: Agreement { edit: Some(_), .. } } if found == id)
        );
        bench.review.begin_execution(id, at(4)).await.unwrap();
        assert!(matches!(sent(8).await, Opened::Waiting(_)));
    });
}
