//! Many sessions, idle, then each with one held statement: memory for each, time to release each.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign::throwaway::{SUPERUSER, ThrowawayOptions, ThrowawayPostgres};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::approver::{Approved, Approver};
use crate::client::Client;
use crate::figures::Figures;
use crate::proxy::Proxy;
use crate::relay::Relay;
use crate::stub::{self, Ran};

const TABLE: &str = "CREATE TABLE accounts (id int PRIMARY KEY, balance int)";
/// Sessions that log in at once.
const LOGINS: usize = 64;
/// Files open besides those of sessions.
const OTHER_FILES: u64 = 100;
/// How the clients of the bare relay call themselves: by its end the stub knows a session.
const RELAYED: &str = "holds via countersign";
/// How long a process is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// What is measured.
pub(crate) struct Load {
    pub(crate) sessions: usize,
    /// How many statements wait to be held at once.
    pub(crate) at_once: usize,
    /// How many approvals are under way at once.
    pub(crate) approvers: usize,
    /// In the extended protocol.
    pub(crate) extended: bool,
}

/// A session whose statement is held.
struct Held {
    number: usize,
    client: Client,
    request: String,
    waited: Duration,
}

fn update(number: usize) -> String {
    format!("UPDATE accounts SET balance = balance + 1 WHERE id = {number}")
}

/// Runs the whole scenario.
pub(crate) async fn measure(binary: &Path, load: Load) -> Outcome<Figures> {
    let Load { sessions, at_once, approvers, extended } = load;
    // Two of the proxy for each session, and as many here: the client's and the stub's.
    allow_files(2 * sessions as u64 + OTHER_FILES)?;
    let postgres = ThrowawayPostgres::start(&ThrowawayOptions::default())?;
    postgres.execute(SUPERUSER, TABLE).await?;
    let ran = Ran::default();
    let stub = stub::start(SocketAddr::from(([127, 0, 0, 1], postgres.port())), ran.clone())?;
    let mut figures = Figures::default();
    figures.note("sessions", sessions as f64, "");
    let relayed = relayed(&binary.with_file_name("bare_relay"), stub, sessions).await?;
    figures.note("memory for one idle session of the bare relay", relayed, "kB");
    let proxy = Proxy::start(binary, stub, postgres.password()).await?;
    figures.note("statements sent at once", at_once as f64, "");
    figures.note("approvals under way at once", approvers as f64, "");

    settle().await;
    let empty = proxy.memory_kb("VmRSS")?;
    let begin = Instant::now();
    let clients = connect(proxy.address()?, "holds", sessions).await?;
    figures.note("all connected after", begin.elapsed().as_secs_f64(), "s");
    settle().await;
    let idle = proxy.memory_kb("VmRSS")?;
    figures.note("memory of the proxy without sessions", empty, "kB");
    figures.note("memory for one idle session", (idle - empty) / sessions as f64, "kB");
    figures.note("memory for one idle session, over the relay's", (idle - empty) / sessions as f64 - relayed, "kB");
    ran.take();

    let (begin, cpu) = (Instant::now(), proxy.cpu_ms()?);
    let held = hold(clients, at_once, extended).await?;
    figures.note("all held after", begin.elapsed().as_secs_f64(), "s");
    figures.note("CPU of the proxy to hold one", (proxy.cpu_ms()? - cpu) / sessions as f64, "ms");
    figures.note_times("statement sent to notice", held.iter().map(|held| held.waited).collect());
    settle().await;
    let parked = proxy.memory_kb("VmRSS")?;
    figures.note("memory for one hold, besides", (parked - idle) / sessions as f64, "kB");
    figures.note("memory of the proxy with all held", parked, "kB");
    if !ran.take().is_empty() {
        return Err("something ran before it was approved".into());
    }

    let (begin, cpu) = (Instant::now(), proxy.cpu_ms()?);
    let released = release(held, &Approver::new(proxy.web()), approvers).await?;
    figures.note("all released after", begin.elapsed().as_secs_f64(), "s");
    figures.note("CPU of the proxy to release one", (proxy.cpu_ms()? - cpu) / sessions as f64, "ms");
    let after_answer = |(approved, at): &(Approved, Instant)| at.saturating_duration_since(approved.answered);
    let after_asking = |(approved, at): &(Approved, Instant)| at.saturating_duration_since(approved.asked);
    figures.note_times("answer to CommandComplete", released.iter().map(after_answer).collect());
    figures.note_times("approval sent to CommandComplete", released.iter().map(after_asking).collect());
    ran_once(&ran, sessions)?;
    figures.note("ran exactly once", sessions as f64, "");

    figures.note("memory of the proxy at its highest", proxy.memory_kb("VmHWM")?, "kB");
    Ok(figures)
}

async fn settle() {
    tokio::time::sleep(SETTLE).await;
}

/// What an idle session of the bare relay takes, in kB: the least that there can be.
async fn relayed(binary: &Path, stub: u16, sessions: usize) -> Outcome<f64> {
    let relay = Relay::start(binary, stub)?;
    settle().await;
    let empty = relay.memory_kb()?;
    let _clients = connect(relay.address(), RELAYED, sessions).await?;
    settle().await;
    Ok((relay.memory_kb()? - empty) / sessions as f64)
}

/// Makes room for so many open files, here and in the processes started from here.
fn allow_files(wanted: u64) -> Outcome<()> {
    let now = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(now.current) {
        return Ok(());
    }
    let maximum = if enough(now.maximum) { now.maximum } else { Some(wanted) };
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(|error| {
        format!("{wanted} open files are needed and not allowed ({error}): raise the limit, or use fewer --sessions")
            .into()
    })
}

/// Logs all sessions in, and lets each run one statement, so that it is as idle as a session in use is.
async fn connect(address: SocketAddr, application: &'static str, sessions: usize) -> Outcome<Vec<Client>> {
    let places = Arc::new(Semaphore::new(LOGINS));
    let mut logins = JoinSet::new();
    for _ in 0..sessions {
        let places = Arc::clone(&places);
        logins.spawn(async move {
            let _place = places.acquire().await?;
            let mut client = Client::connect(address, application).await?;
            client.query("SELECT 1").await?;
            client.completed().await?;
            Outcome::Ok(client)
        });
    }
    let mut clients = Vec::with_capacity(sessions);
    while let Some(client) = logins.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

/// Sends all statements, so many at once, and waits until each client was told that it waits.
async fn hold(clients: Vec<Client>, at_once: usize, extended: bool) -> Outcome<Vec<Held>> {
    let places = Arc::new(Semaphore::new(at_once));
    let mut waiting = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let places = Arc::clone(&places);
        waiting.spawn(async move {
            let _place = places.acquire().await?;
            let begin = Instant::now();
            let text = update(number);
            if extended {
                client.execute(&text).await?
            } else {
                client.query(&text).await?
            }
            let request = client.held().await?;
            Outcome::Ok(Held { number, client, request, waited: begin.elapsed() })
        });
    }
    let mut held = Vec::new();
    while let Some(one) = waiting.join_next().await {
        held.push(one??);
    }
    Ok(held)
}

/// Approves everything; for each statement the approval, and when its client had CommandComplete.
async fn release(held: Vec<Held>, approver: &Approver, approvers: usize) -> Outcome<Vec<(Approved, Instant)>> {
    let mut requests = VecDeque::new();
    let mut clients = JoinSet::new();
    for Held { number, mut client, request, .. } in held {
        requests.push_back((number, request));
        clients.spawn(async move { Outcome::Ok((number, client.completed().await?)) });
    }
    let count = requests.len();
    let requests = Arc::new(Mutex::new(requests));
    let mut reviewers = JoinSet::new();
    for _ in 0..approvers {
        let (requests, approver) = (Arc::clone(&requests), approver.clone());
        reviewers.spawn(async move {
            let next = || requests.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let mut approved = Vec::new();
            while let Some((number, request)) = next() {
                approved.push((number, approver.approve(&request).await?));
            }
            Outcome::Ok(approved)
        });
    }
    let (mut approved, mut completed) = (vec![None; count], vec![None; count]);
    while let Some(some) = reviewers.join_next().await {
        some??.into_iter().for_each(|(number, one)| approved[number] = Some(one));
    }
    while let Some(one) = clients.join_next().await {
        let (number, at) = one??;
        completed[number] = Some(at);
    }
    Ok(approved.into_iter().zip(completed).filter_map(|(approved, at)| approved.zip(at)).collect())
}

fn ran_once(ran: &Ran, sessions: usize) -> Outcome<()> {
    let texts = ran.take();
    let once = (0..sessions).filter(|number| texts.get(&update(*number)) == Some(&1)).count();
    if once == sessions && texts.len() == sessions {
        return Ok(());
    }
    Err(format!("{once} of {sessions} statements ran exactly once, {} texts ran", texts.len()).into())
}
