//! Some of it is denied, some held and decided one way or the other, some masked.
//!
//! Never trusts the proxy about what ran: triggers tell the server's log. Invariant: what a script is allowed is exactly
//! what was approved while it was played.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::Theatre;
use super::generate::{Chance, Step};
use super::open::{APPLICATION, database};
use super::play::{End, Heard, Listener, play};
use super::texts::{CANARY, EVIDENCE};
use crate::support::client::request_id;
use crate::support::config;
use crate::support::proxy::{Launch, Proxy};
use crate::support::wire::{Frame, WireClient, cancel};

const POLICY: &str = r#"
[[rules]]
name = "denied"
effects = ["insert", "update", "delete", "merge", "copy_in", "truncate", "drop", "alter"]
relations = ["public.denied"]
action = "deny"

[[rules]]
name = "guarded"
effects = ["insert", "update", "delete", "merge", "copy_in", "truncate", "drop", "alter"]
relations = ["public.guarded"]
action = "hold"

[[rules]]
name = "code"
effects = ["function_call", "do", "call"]
action = "hold"

[[masks]]
name = "secret"
columns = ["public.people.secret"]
mask = "redact"
predicates = "allow"
"#;

/// The database, and the proxy in front of it.
pub struct Guarded {
    proxy: Proxy,
    behind: Client,
    log_seen: usize,
}

impl Guarded {
    /// Makes the database and starts the proxy.
    pub async fn prepare() -> Self {
        let launch = Launch { fragment: POLICY, ..Launch::default() };
        let proxy = Proxy::in_front_of(database(EVIDENCE).await, launch, |text| text).await;
        let behind = proxy.database.direct().await;
        Self { proxy, behind, log_seen: 0 }
    }

    /// What the triggers told since the last time: what was done, and by which text.
    fn evidence(&mut self) -> Vec<(String, String)> {
        let log = self.proxy.database.log();
        let new = log.get(self.log_seen..).unwrap_or_default().to_owned();
        self.log_seen = log.len();
        let mut found: Vec<(String, String)> = Vec::new();
        let mut pending = None;
        for line in new.lines() {
            if let Some((_, done)) = line.split_once("evidence: ") {
                pending = done.strip_suffix('.').map(str::to_owned);
            } else if let (Some((_, text)), Some(_)) = (line.split_once("STATEMENT:  "), &pending) {
                found.extend(pending.take().map(|done| (done, text.to_owned())));
            }
        }
        found.extend(pending.map(|done| (done, String::new())));
        found
    }

    /// What was done and was not permitted.
    fn unpermitted(&mut self, approved: &HashMap<String, usize>) -> Option<String> {
        let mut done: HashMap<String, usize> = HashMap::new();
        for (what, text) in self.evidence() {
            if what.ends_with("on denied") {
                return Some(format!("the upstream executed what is denied: {what}, by {text:?}"));
            }
            *done.entry(text).or_default() += 1;
        }
        let too_often = |(text, times): &(&String, &usize)| {
            let writes = ["DELETE FROM", "INSERT INTO", "UPDATE", "COPY", "EXECUTE", "strip()"];
            let each: usize = writes.iter().map(|word| text.matches(word).count()).sum();
            **times > approved.get(*text).copied().unwrap_or(0) * each.max(1)
        };
        let found = done.iter().find(too_often)?;
        Some(format!("the upstream executed {:?} {} times, approved {:?}", found.0, found.1, approved.get(found.0)))
    }
}

/// Alice's client, with a reviewer beside it.
struct Alice<'a> {
    proxy: &'a Proxy,
    behind: &'a Client,
    key: (i32, i32),
    chance: Chance,
    approved: HashMap<String, usize>,
}

impl Listener for Alice<'_> {
    async fn hears(&mut self, frame: &Frame) {
        let Some(id) = frame.field(b'D').filter(|_| frame.tag == b'N').and_then(|detail| request_id(&detail)) else {
            return;
        };
        match self.chance.below(10) {
            0..=5 => {
                let bob = self.proxy.api("bob");
                let text = bob.request(&id).await["statement"].as_str().unwrap_or_default().to_owned();
                // Before it is sent: then it may run at any moment.
                *self.approved.entry(text).or_default() += 1;
                bob.approve(&id).await;
            }
            6 | 7 => drop(self.proxy.api("bob").reject(&id, "no").await),
            8 => drop(self.proxy.api("alice").cancel(&id).await),
            _ => self.cancels().await,
        }
    }

    async fn pauses(&mut self, status: u8) -> bool {
        let state = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1";
        let rows = self.behind.query(state, &[&APPLICATION]).await.expect("activity");
        // The one of the script before may be about to end.
        let [row] = rows.as_slice() else { return true };
        match row.get::<_, Option<&str>>(0) {
            Some("idle") => status == b'I',
            Some("idle in transaction") => status == b'T',
            Some("idle in transaction (aborted)") => status == b'E',
            _ => true,
        }
    }

    async fn cancels(&mut self) {
        cancel(self.proxy.address(), self.key).await;
    }
}

fn shows_canary(heard: &Heard) -> Option<String> {
    let shown = |frame: &&Frame| frame.body.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes());
    let frame = heard.frames.iter().find(shown)?;
    Some(format!("a masked value leaves: {} {}", char::from(frame.tag), frame.body.escape_ascii()))
}

impl Theatre for Guarded {
    async fn play(&mut self, seed: u64, steps: &[Step]) -> Option<String> {
        self.behind.batch_execute("SELECT reset()").await.expect("reset");
        drop(self.evidence());
        let parameters = [("user", "alice"), ("database", "shop"), ("application_name", APPLICATION)];
        let wire = WireClient::connect_with(self.proxy.address(), &parameters, &config::password("alice")).await;
        let (proxy, behind, key) = (&self.proxy, &self.behind, wire.key);
        let mut alice = Alice { proxy, behind, key, chance: Chance(seed ^ 0xB0B), approved: HashMap::new() };
        let heard = play(wire.into_stream(), steps, seed, &mut alice).await;
        let approved = alice.approved;
        if let Some(failure) = self.unpermitted(&approved).or_else(|| shows_canary(&heard)) {
            return Some(failure);
        }
        if let Some(status) = heard.untrue {
            return Some(format!("the client was told {status}, which is not the upstream's state"));
        }
        let last = || heard.frames.iter().rev().take(6).rev();
        let told = || last().map(|frame| format!("\n  {} {}", char::from(frame.tag), frame.body.escape_ascii()));
        (heard.end == End::Silent).then(|| format!("no answer any more after{}", told().collect::<String>()))
    }
}
