//! What is asked of a store.
//!
//! Never averages: times are told by median, 99th percentile and maximum. Invariant: what is measured is checked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::review::{AccessRequest, RequestId, State, Surface, Transition, Vote};
use countersign::store::{Change, DigestFilter, Filter, NewRecord, Store, Viewer};
use countersign_policy::grant::Binding;
use countersign_policy::rule::Mode;
use jiff::Timestamp;

use crate::{Arguments, Outcome};

/// Rows of a page.
const PAGE: u32 = 50;

/// Asks everything and prints how long it took.
pub(crate) async fn all(store: Arc<dyn Store>, arguments: &Arguments) -> Outcome<()> {
    let last = u128::from(2 * arguments.requests - 2);
    let page = Filter { state: Some(State::Pending), limit: PAGE, ..Filter::default() };
    let viewer = |name: &str, group: &str| {
        Some(Viewer { name: name.to_owned(), groups: vec![group.to_owned()], on: Vec::new() })
    };
    let middle = Some(nth(last / 2));
    let lists = [
        ("newest 50 that wait", page.clone()),
        ("50 from the middle", Filter { after: middle, ..page.clone() }),
        ("of one database", Filter { database: Some("db3".to_owned()), ..page.clone() }),
        ("by one user", Filter { user: Some("user7".to_owned()), ..page.clone() }),
        ("to be reviewed by a group that reviews all", Filter { visible_to: viewer("eve", "dba"), ..page.clone() }),
        ("to be reviewed by a group that reviews few", Filter { visible_to: viewer("eve", "rare"), ..page.clone() }),
        ("visible to somebody who sees nothing", Filter { visible_to: viewer("eve", "nobody"), ..page.clone() }),
        (
            "of a database, to be reviewed by a group that reviews few",
            Filter { database: Some("db7".to_owned()), visible_to: viewer("eve", "rare"), ..page.clone() },
        ),
        (
            "of a database, visible to somebody who sees nothing",
            Filter { database: Some("db3".to_owned()), visible_to: viewer("eve", "nobody"), ..page.clone() },
        ),
        (
            "in a state that is rare",
            Filter { state: Some(State::Unknown), visible_to: viewer("eve", "dba"), ..page.clone() },
        ),
        ("of any state, of a database with none", Filter { database: Some("none".to_owned()), ..Filter::default() }),
    ];
    for (name, filter) in lists {
        let mut times = Vec::new();
        for _call in 0..arguments.count {
            let began = Instant::now();
            store.list(filter.clone()).await?;
            times.push(began.elapsed());
        }
        tell(name, times);
    }
    let mut times = Vec::new();
    for call in 0..u128::from(arguments.count) {
        let request = store.get(nth(call * 400 + 2)).await?.ok_or("a request is missing")?;
        let began = Instant::now();
        store.vote_and_transition(approval(&request)).await?.ok_or("somebody else was faster")?;
        times.push(began.elapsed());
    }
    tell("approve one", times);
    for (name, visible_to) in [("all", None), ("of a group that reviews few", viewer("eve", "rare"))] {
        count(&*store, name, visible_to).await?;
    }
    at_once(store, arguments.at_once).await
}

/// Reads everything as the analytics do, page by page.
async fn count(store: &dyn Store, name: &str, visible_to: Option<Viewer>) -> Outcome<()> {
    const DIGESTS: u32 = 5_000;
    let (mut before, mut times, mut counted) = (None, Vec::new(), 0);
    loop {
        let (from, until) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let filter = DigestFilter { from, until, before, visible_to: visible_to.clone(), limit: DIGESTS };
        let began = Instant::now();
        let page = store.digests(filter).await?;
        times.push(began.elapsed());
        counted += page.len();
        before = page.last().map(|digest| digest.id);
        if page.len() < DIGESTS as usize {
            break;
        }
    }
    println!("  {counted} requests are counted: {:.2} s", times.iter().sum::<Duration>().as_secs_f64());
    tell(&format!("a page of them, {name}"), times);
    Ok(())
}

/// Requests that come together and are approved together.
async fn at_once(store: Arc<dyn Store>, count: u32) -> Outcome<()> {
    let requests: Vec<AccessRequest> = (0..count).map(|_n| new_request()).collect();
    let began = Instant::now();
    let created = requests.iter().map(|request| {
        let binding = Binding(rand::random());
        let (mode, card) = (Mode::Wait, Default::default());
        store.create(NewRecord { request: request.clone(), binding, mode, card, undecided_max: None })
    });
    for outcome in futures_util::future::join_all(created).await {
        outcome?;
    }
    println!("  {count} come at once: {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let approved = requests.iter().map(|request| store.vote_and_transition(approval(request)));
    for outcome in futures_util::future::join_all(approved).await {
        outcome?.ok_or("somebody else was faster")?;
    }
    println!("  {count} are approved at once: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// The id that the filled rows have.
fn nth(n: u128) -> RequestId {
    // As it is printed: decimal digits are digits of base 32, too.
    RequestId(ulid::Ulid::from_string(&format!("{n:026}")).unwrap_or_default())
}

fn tell(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at =
        |share: usize| times.get((times.len() - 1) * share / 100).copied().unwrap_or_default().as_secs_f64() * 1_000.0;
    println!("  {name}: median {:.2} ms, p99 {:.2} ms, longest {:.2} ms", at(50), at(99), at(100));
}

fn approval(request: &AccessRequest) -> Change {
    let at = Timestamp::UNIX_EPOCH;
    let vote = Vote {
        by: "bob".to_owned(),
        groups: vec!["dba".to_owned()],
        approve: true,
        reason: None,
        at,
        surface: Surface::Api,
        edited: None,
        offer: None,
        forced: false,
        max_affected: None,
    };
    let transition = Transition {
        from: Some(State::Pending),
        to: State::Approved,
        by: "bob".to_owned(),
        surface: Surface::Api,
        at,
        reason: None,
    };
    Change {
        id: request.id,
        expected_version: request.version,
        vote: Some(vote),
        transition: Some(transition),
        expires_at: None,
        outcome: None,
        mode: None,
        grant: None,
        binding: None,
        comment: None,
        justification: None,
    }
}

fn new_request() -> AccessRequest {
    let at = Timestamp::UNIX_EPOCH;
    AccessRequest {
        id: RequestId(ulid::Ulid::from_parts(1 << 40, rand::random())),
        state: State::Pending,
        version: 1,
        user: "alice".to_owned(),
        groups: vec!["engineering".to_owned()],
        database: "shop".to_owned(),
        client_address: "192.0.2.1:5000".to_owned(),
        application: "psql".to_owned(),
        statement: "UPDATE customers SET note = 'x' WHERE id = 1".to_owned(),
        parameters: Vec::new(),
        summary: "update on public.customers".to_owned(),
        effects: vec!["update".to_owned()],
        rules: vec!["writes".to_owned()],
        messages: Vec::new(),
        causes: vec!["writes".to_owned()],
        justification: None,
        justification_required: false,
        shape: String::new(),
        reviewers: vec![countersign_policy::verdict::ReviewerDemand { group: "dba".to_owned(), approvals: 1 }],
        in_transaction: false,
        rows_counted: true,
        created_at: at,
        expires_at: Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 365 * 100),
        decided_at: None,
        votes: Vec::new(),
        transitions: vec![Transition {
            from: None,
            to: State::Pending,
            by: "alice".to_owned(),
            surface: Surface::Wire,
            at,
            reason: None,
        }],
        outcome: None,
    }
}
