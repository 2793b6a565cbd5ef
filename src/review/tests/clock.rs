//! Clocks that jump.

use super::*;

async fn states(bench: &Bench, ids: [RequestId; 2]) -> [State; 2] {
    let state = async |id| bench.review.get(id).await.unwrap().state;
    [state(ids[0]).await, state(ids[1]).await]
}

/// The embedded store goes by the clock of the machine, whatever that does.
#[test]
fn what_has_expired_stays_so_and_what_has_not_waits_longer() {
    run(async {
        let bench = Bench::new();
        let waiting = bench.hold("dba").await;
        let ids = [waiting.request.id, bench.ask("dba").await];
        // An hour back: nothing is due, and what is decided then can be used then.
        bench.review.sweep(at(-3600)).await.unwrap();
        assert_eq!(states(&bench, ids).await, [State::Pending, State::Pending]);
        let approved = bench.review.approve(ids[1], &actor("bob"), None, at(-3600)).await.unwrap();
        assert_eq!((approved.state, approved.expires_at), (State::Approved, at(-3540)), "for as long as it could wait");
        bench.review.sweep(at(-3541)).await.unwrap();
        assert_eq!(states(&bench, ids).await, [State::Pending, State::Approved]);
        // Forward again: what is due by then is over at once.
        bench.review.sweep(at(0)).await.unwrap();
        assert_eq!(states(&bench, ids).await, [State::Pending, State::Expired]);
        bench.review.sweep(at(3600)).await.unwrap();
        assert_eq!(states(&bench, ids).await, [State::Expired, State::Expired]);
        // Back once more: it stays over.
        bench.review.sweep(at(-3600)).await.unwrap();
        assert_eq!(states(&bench, ids).await, [State::Expired, State::Expired]);
        for id in ids {
            let late = bench.review.approve(id, &actor("carol"), None, at(-3600)).await;
            assert!(matches!(late, Err(ReviewError::AlreadyDecided { state: State::Expired })), "{late:?}");
            assert!(bench.review.begin_execution(id, at(-3600)).await.is_err());
        }
    });
}
