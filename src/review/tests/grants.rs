//! Grants: offered with an approval, asked for, taken back, ended; and approvals that stand in for everybody's.

use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::store::GrantFilter;

fn offering(minutes: u64, scope: Scope) -> Consent {
    Consent { offer: Some(Offer { seconds: minutes * 60, scope }), ..Consent::default() }
}

/// The newest grant.
async fn newest(bench: &Bench) -> Option<GrantRecord> {
    let filter = GrantFilter { limit: 1, ..GrantFilter::default() };
    bench.review.grants(filter).await.unwrap().pop()
}

/// What people offer, one after the other, and the grant that comes of it: `rules 1800`.
#[track_caller]
fn check_offers(demands: &str, votes: &[(&str, Consent)], want: &str) {
    let got = run(async {
        let bench = Bench::new();
        let id = bench.ask(demands).await;
        for (name, consent) in votes {
            bench.review.approve(id, &actor(name), consent.clone(), at(1)).await.unwrap();
        }
        let state = bench.review.get(id).await.unwrap().state;
        let Some(grant) = newest(&bench).await else { return format!("{state}") };
        assert_eq!((grant.user.as_str(), grant.database.as_str(), grant.request), ("alice", "shop", Some(id)));
        let held = ("writes".to_owned(), "03".repeat(32));
        let scope = match &grant.scope {
            GrantScope { rules: Some(rules), shape: Some(shape), .. } if *rules == [held.0] && *shape == held.1 => {
                "shape"
            }
            GrantScope { rules: Some(_), shape: None, relations: None, masks: None } => "rules",
            GrantScope { rules: None, shape: None, relations: None, masks: None } => "database",
            other => panic!("{other:?}"),
        };
        assert_eq!(bench.review.grants_in_force().len(), 1);
        format!("{state} {scope} {}", grant.seconds)
    });
    assert_eq!(got, want);
}

#[test]
fn a_grant_is_given_when_everybody_who_approves_offers_one() {
    check_offers("dba", &[("bob", offering(30, Scope::Rules))], "APPROVED rules 1800");
    check_offers("dba", &[("bob", offering(30, Scope::Shape))], "APPROVED shape 1800");
    check_offers("dba", &[("bob", Consent::default())], "APPROVED");
    let wide = || ("bob", offering(60, Scope::Database));
    check_offers("dba*2", &[wide(), ("carol", offering(90, Scope::Shape))], "APPROVED shape 3600");
    check_offers("dba*2", &[wide(), ("carol", Consent::default())], "APPROVED");
    check_offers("dba*2", &[("carol", Consent::default()), wide()], "APPROVED");
    check_offers("dba*2", &[wide()], "PENDING");
}

#[test]
fn an_offer_against_the_policy_is_refused_and_nothing_has_changed() {
    run(async {
        let bench = Bench::new();
        let id = bench.ask("dba").await;
        let bob = actor("bob");
        for minutes in [0, 8 * 60 + 1] {
            let refused = bench.review.approve(id, &bob, offering(minutes, Scope::Rules), at(1)).await;
            assert!(matches!(refused, Err(ReviewError::TooLong { max }) if max == Duration::from_secs(8 * 3600)));
        }
        let mut none = config(PEOPLE);
        none.review.grant_max = Duration::ZERO;
        bench.config.store(Arc::new(none));
        let refused = bench.review.approve(id, &bob, offering(1, Scope::Rules), at(1)).await;
        assert!(matches!(refused, Err(ReviewError::NoGrants)));
        assert!(bench.review.get(id).await.unwrap().votes.is_empty());
    });
}

#[test]
fn what_has_a_name_of_its_session_is_not_granted_by_its_shape() {
    run(async {
        let bench = Bench::new();
        let new = NewRequest { shape: None, ..new_request("dba", Mode::Resubmit) };
        let Opened::Resubmit(request) = bench.review.open(new, at(0)).await.unwrap() else { panic!("not stored") };
        let refused = bench.review.approve(request.id, &actor("bob"), offering(30, Scope::Shape), at(1)).await;
        assert!(matches!(refused, Err(ReviewError::BadScope(_))), "{refused:?}");
        bench.review.approve(request.id, &actor("bob"), offering(30, Scope::Rules), at(1)).await.unwrap();
    });
}

#[test]
fn a_grant_taken_back_is_not_in_force_any_more() {
    run(async {
        for (name, allowed) in [("olga", false), ("sven", false), ("bob", true), ("root", true), ("alice", true)] {
            let bench = Bench::new();
            let id = bench.ask("dba").await;
            bench.review.approve(id, &actor("bob"), offering(30, Scope::Rules), at(1)).await.unwrap();
            let grant = newest(&bench).await.unwrap();
            let revoked = bench.review.revoke_grant(grant.id, &actor(name), None, at(2)).await;
            assert_eq!(revoked.is_ok(), allowed, "{name}");
            assert_eq!(bench.review.grants_in_force().is_empty(), allowed, "{name}");
        }
    });
}

#[test]
fn a_grant_ends_on_time_and_survives_a_restart_until_then() {
    run(async {
        let bench = Bench::new();
        let id = bench.ask("dba").await;
        bench.review.approve(id, &actor("bob"), offering(1, Scope::Rules), at(1)).await.unwrap();
        let bench = bench.restart();
        bench.review.catch_up(&bench.dir.path().join("audit"), at(60)).await.unwrap();
        bench.review.recover(at(60)).await.unwrap();
        let in_force = bench.review.grants_in_force();
        assert_eq!(in_force.iter().map(|grant| grant.until).collect::<Vec<_>>(), [at(61).as_microsecond()]);
        bench.review.sweep(at(61)).await.unwrap();
        assert!(bench.review.grants_in_force().is_empty());
        assert_eq!(newest(&bench).await.unwrap().state, GrantState::Ended);
        let kinds = bench.audit_kinds().join(" ");
        assert_eq!(kinds, "PENDING vote APPROVED ACTIVE EXPIRED ENDED");
    });
}

/// A configuration with a rule that asks `dba` and `security`, on a database that asks `dba` by default.
pub(super) fn guarded() -> Config {
    let text = "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\
        [databases.shop]\nupstream = \"postgres://app@127.0.0.1/shop\"\ngroups = [\"engineering\"]\n\
        review = { groups = [\"dba\"], grant_max = \"1h\" }\n\
        [[rules]]\nname = \"writes\"\naction = \"hold\"\nreviewers = [\"dba\", \"security\"]\n";
    Config { users: config(PEOPLE).users, ..Config::parse("countersign.toml".as_ref(), text).unwrap() }
}

fn ask(minutes: u64, rules: Option<&[&str]>) -> GrantAsk {
    let rules = rules.map(|rules| rules.iter().map(|rule| (*rule).to_owned()).collect());
    GrantAsk {
        database: "shop".to_owned(),
        time: Duration::from_secs(minutes * 60),
        scope: GrantScope { rules, ..GrantScope::default() },
        reason: Some("on call".to_owned()),
    }
}

#[test]
fn who_asks_for_a_grant_gets_it_from_those_who_review_what_it_lifts() {
    run(async {
        let bench = Bench::new();
        bench.config.store(Arc::new(guarded()));
        let (review, alice) = (&bench.review, actor("alice"));
        let grant = review.request_grant(&alice, ask(30, Some(&["writes"])), at(0)).await.unwrap();
        assert!(review.grants_in_force().is_empty());
        for (name, want) in [("alice", "OwnRequest"), ("olga", "NotEligible"), ("bob", ""), ("bob", "AlreadyVoted")] {
            let voted = review.approve_grant(grant.id, &actor(name), None, at(1)).await;
            assert!(voted.map_or_else(|error| format!("{error:?}"), |_| String::new()).starts_with(want), "{name}");
        }
        assert!(review.grants_in_force().is_empty());
        let given = review.approve_grant(grant.id, &actor("sven"), None, at(2)).await.unwrap();
        assert_eq!((given.state, given.expires_at), (GrantState::Active, at(2 + 1800)));
        assert_eq!(review.grants_in_force().len(), 1);
        let late = review.reject_grant(grant.id, &actor("bob"), "no".to_owned(), at(3)).await;
        assert!(matches!(late, Err(ReviewError::GrantDecided { state: GrantState::Active })));
        assert_eq!(bench.audit_kinds().join(" "), "REQUESTED grant_vote grant_vote ACTIVE");
    });
}

#[test]
fn what_cannot_be_granted_is_refused_when_it_is_asked_for() {
    run(async {
        let bench = Bench::new();
        bench.config.store(Arc::new(guarded()));
        let refused = async |who: &str, ask: GrantAsk| bench.review.request_grant(&actor(who), ask, at(0)).await.err();
        assert!(matches!(refused("alice", ask(61, None)).await, Some(ReviewError::TooLong { .. })));
        assert!(matches!(refused("bob", ask(30, None)).await, Some(ReviewError::NoSuchDatabase)));
        for rule in ["reads", "databases.shop.unparsed", "masks.predicates", "databases.shopping.default"] {
            assert!(matches!(refused("alice", ask(30, Some(&[rule]))).await, Some(ReviewError::BadScope(_))), "{rule}");
        }
        let mut bad = ask(30, None);
        bad.scope.relations = Some(vec!["[".to_owned()]);
        assert!(matches!(refused("alice", bad).await, Some(ReviewError::BadScope(_))));
        assert!(newest(&bench).await.is_none());
        assert!(refused("alice", ask(60, Some(&["writes", "databases.shop.default"]))).await.is_none());
    });
}

#[test]
fn what_was_asked_for_can_be_refused_withdrawn_or_forgotten() {
    run(async {
        let bench = Bench::new();
        bench.config.store(Arc::new(guarded()));
        let review = &bench.review;
        let asked = async || review.request_grant(&actor("alice"), ask(30, None), at(0)).await.unwrap().id;
        let id = asked().await;
        assert!(matches!(
            review.reject_grant(id, &actor("bob"), String::new(), at(1)).await,
            Err(ReviewError::ReasonRequired)
        ));
        let rejected = review.reject_grant(id, &actor("bob"), "no".to_owned(), at(1)).await.unwrap();
        assert_eq!(rejected.state, GrantState::Rejected);
        let id = asked().await;
        assert!(review.cancel_grant(id, &actor("bob"), None, at(1)).await.is_err());
        assert_eq!(review.cancel_grant(id, &actor("alice"), None, at(1)).await.unwrap().state, GrantState::Cancelled);
        let id = asked().await;
        assert!(matches!(review.approve_grant(id, &actor("bob"), None, at(3600)).await, Err(ReviewError::Expired)));
        review.sweep(at(3600)).await.unwrap();
        assert_eq!(review.grant(id).await.unwrap().state, GrantState::Expired);
    });
}

#[test]
fn a_forced_approval_takes_a_group_and_a_reason_and_nobody_else() {
    run(async {
        let bench = Bench::new();
        let mut config = config(PEOPLE);
        config.review.force_groups = vec!["security".to_owned()];
        bench.config.store(Arc::new(config));
        let id = bench.ask("dba*2 security").await;
        let forced = |reason: &str| Consent { reason: Some(reason.to_owned()), forced: true, ..Consent::default() };
        let approve = async |name: &str, consent| bench.review.approve(id, &actor(name), consent, at(1)).await;
        assert!(matches!(approve("bob", forced("fire")).await, Err(ReviewError::NotEligible { .. })));
        assert!(matches!(approve("alice", forced("fire")).await, Err(ReviewError::OwnRequest)));
        assert!(matches!(approve("sven", forced(" ")).await, Err(ReviewError::ReasonRequired)));
        approve("sven", Consent::default()).await.unwrap();
        let approved = approve("sven", forced("fire")).await.unwrap();
        assert_eq!(approved.state, State::Approved);
        assert!(approved.votes.last().is_some_and(|vote| vote.forced && vote.groups == ["security"]));
        assert_eq!(bench.review.get(id).await.unwrap().votes, approved.votes);
    });
}

/// Nor without the reason that a rule asks for.
#[test]
fn an_admin_stands_in_for_nobody_with_an_own_request() {
    run(async {
        let bench = Bench::new();
        let own = NewRequest {
            user: "root".to_owned(),
            justification_asked: countersign_policy::rule::Justification::Required,
            ..new_request("dba", Mode::Resubmit)
        };
        let Opened::Resubmit(request) = bench.review.open(own, at(0)).await.unwrap() else { panic!("not stored") };
        let forced = || Consent { forced: true, ..Consent::default() };
        let approve = async || bench.review.approve(request.id, &actor("root"), forced(), at(1)).await;
        assert!(matches!(approve().await, Err(ReviewError::Unjustified)));
        bench.review.justify(request.id, &actor("root"), "ticket 17", at(1)).await.unwrap();
        let approved = approve().await.unwrap();
        assert!(approved.votes.iter().all(|vote| !vote.forced && vote.groups == ["admin"]), "{:?}", approved.votes);
    });
}

/// The process was killed between the store and the trail.
#[test]
fn what_no_trail_tells_of_a_grant_is_told_at_the_next_start() {
    run(async {
        let bench = Bench::new();
        bench.config.store(Arc::new(guarded()));
        let ask = GrantAsk {
            database: "shop".to_owned(),
            time: Duration::from_secs(60),
            scope: GrantScope::default(),
            reason: Some("on call".to_owned()),
        };
        let asked = bench.review.request_grant(&actor("alice"), ask, at(0)).await.unwrap();
        let mut active = asked.clone();
        active.votes.push(crate::review::decide::vote_of(&actor("bob"), vec!["dba".to_owned()], None, at(1)));
        let step = GrantTransition {
            from: Some(GrantState::Requested),
            to: GrantState::Active,
            by: "bob".to_owned(),
            surface: Surface::Api,
            at: at(1),
            reason: None,
        };
        assert!(bench.review.store.replace_grant(active.after(step).unwrap()).await.unwrap());
        let bench = bench.restart();
        let dir = Arc::clone(&bench.dir);
        let trail = dir.path().join("audit");
        for _start in 0..2 {
            bench.review.catch_up(&trail, at(9)).await.unwrap();
            assert!(bench.review.store.untold(Timestamp::MAX).await.unwrap().is_empty());
        }
        drop(bench);
        let lines = crate::audit::lines(&trail);
        let of_grants: Vec<serde_json::Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|record: &serde_json::Value| record["grant"] == asked.id.to_string())
            .collect();
        let told: Vec<_> = of_grants
            .iter()
            .map(|record| (record["kind"].as_str().unwrap(), record["at"].as_str().unwrap(), record.get("told_at")))
            .collect();
        let (now, late) = (at(1).to_string(), serde_json::Value::from(at(9).to_string()));
        let wanted =
            [("grant", at(0).to_string(), None), ("grant_vote", now.clone(), Some(&late)), ("grant", now, Some(&late))];
        let wanted: Vec<_> = wanted.iter().map(|(kind, at, late)| (*kind, at.as_str(), *late)).collect();
        assert_eq!(told, wanted, "{of_grants:#?}");
        assert_eq!(crate::audit::history_of(lines.iter().map(String::as_str)).flaws, []);
    });
}
