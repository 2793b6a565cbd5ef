//! The whole workflow on several proxies, in any order that can happen, against a reference of what may happen.
//!
//! Real is everything of this package; in memory are the store and the trails. Every call of the store is a place where
//! somebody else goes first, where the process may die, or where the answer is lost. Every change that reaches the store is
//! judged by [`rules`], which shares no code with what made it, and at the end the trails alone have to tell one history.
//!
//! `COUNTERSIGN_MODEL_STEPS=5000000 cargo test --lib review::tests::model` takes so many steps;
//! `COUNTERSIGN_MODEL_SEED=17` plays one seed and prints every step.

mod actors;
mod rules;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Tally, World};

/// Steps of one seed.
const STEPS: usize = 3_000;
/// Seeds of a normal run.
const SEEDS: u64 = 25;
/// How many of the last steps are shown with a failure.
const SHOWN: usize = 60;

fn play(seed: u64) -> Tally {
    let mut world = World::new(seed, std::env::var_os("COUNTERSIGN_MODEL_SEED").is_some());
    let played = catch_unwind(AssertUnwindSafe(|| {
        (0..STEPS).for_each(|_| world.step());
        world.settle();
    }));
    if let Err(failure) = played {
        let from = world.trace.len().saturating_sub(SHOWN);
        eprintln!("seed {seed}:\n{}", world.trace[from..].join("\n"));
        std::panic::resume_unwind(failure);
    }
    world.tally
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn nothing_runs_without_one_fitting_unexpired_unused_approval() {
    if let Some(seed) = number("COUNTERSIGN_MODEL_SEED") {
        println!("{:?}", play(seed));
        return;
    }
    let wanted = number("COUNTERSIGN_MODEL_STEPS").map_or(SEEDS, |steps| steps.div_ceil(STEPS as u64));
    let mut all = Tally::default();
    (0..wanted).for_each(|seed| all.add(&play(seed)));
    println!("{wanted} seeds: {all:#?}");
    // A model in which nothing happens shows nothing.
    let rare = [
        "ran at once",
        "ran with a ticket",
        "lifted",
        "crash",
        "edited",
        "forced",
        "bypassed",
        "reaped",
        "lost answer",
        "reload",
    ];
    for what in rare {
        assert!(all.count(what) > 3, "{what}: {all:#?}");
    }
}
