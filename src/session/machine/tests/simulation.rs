//! Everything at once, from a seed: clients, reviewers, cancels, lost connections, slow peers, changes of policy, drains,
//! crashes, full disks, and a clock that jumps.
//!
//! Real are the session core, review, store and audit; simulated are sockets, time and PostgreSQL. Nothing waits for the
//! clock of this machine, and one seed plays the same every time.
//!
//! `COUNTERSIGN_SIMULATION_MINUTES=10 cargo test --lib simulation` plays as many seeds as fit in;
//! `COUNTERSIGN_SIMULATION_SEED=17` plays one and prints every step.

mod house;
mod replies;
mod seat;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use world::{Tally, World};

/// Seeds of every run of the tests, and those that once found a defect.
const SEEDS: std::ops::Range<u64> = 0..20;
const FOUND: &[u64] = &[50, 79, 98, 275, 302, 338, 559, 1220, 1454];
const STEPS: usize = 1500;
/// How many of the last steps are shown with a failure.
const SHOWN: usize = 80;

/// Whether a statement needs an approval when unqualified names mean that schema.
fn is_guarded(text: &str, schema: &str) -> bool {
    let writes = text.starts_with("DELETE") || text.starts_with("COPY");
    writes && text.contains("customers") && schema == "public"
}

/// Plays one seed; after a failure shows what led to it, and fails.
fn play(seed: u64, steps: usize) -> Tally {
    let mut world = World::new(seed);
    let played = catch_unwind(AssertUnwindSafe(|| {
        (0..steps).for_each(|_| world.step());
        world.settle();
        world.finish();
    }));
    if let Err(failure) = played {
        let from = world.trace.len().saturating_sub(SHOWN);
        eprintln!("seed {seed}, step {}:\n{}", world.trace.len(), world.trace[from..].join("\n"));
        std::panic::resume_unwind(failure);
    }
    world.tally
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn promises_hold_whatever_happens() {
    if let Some(seed) = number("COUNTERSIGN_SIMULATION_SEED") {
        println!("{:?}", play(seed, STEPS));
        return;
    }
    let mut all = Tally::default();
    SEEDS.chain(FOUND.iter().copied()).for_each(|seed| all += play(seed, STEPS));
    // A simulation in which nothing happens shows nothing.
    let rare = [
        all.released,
        all.rejected,
        all.taken_back,
        all.batches,
        all.executed,
        all.crashes,
        all.full_disks,
        all.drains,
        all.sessions,
    ];
    assert!(rare.iter().all(|count| *count > 5), "{all:?}");
    let Some(minutes) = number("COUNTERSIGN_SIMULATION_MINUTES") else { return };
    let (begin, first) = (Instant::now(), number("COUNTERSIGN_SIMULATION_FROM").unwrap_or(SEEDS.end));
    let mut seed = first;
    while begin.elapsed() < Duration::from_secs(60 * minutes) {
        all += play(seed, STEPS);
        seed += 1;
    }
    println!("{} seeds, from {first}: {all:?}", seed - first);
}
