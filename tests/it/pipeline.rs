//! Arbitrary sequences of messages, with a real PostgreSQL as the judge.
//!
//! With everything allowed, the replies through the proxy and what they leave behind are those of PostgreSQL itself.
//! With some of it denied, held and masked, PostgreSQL executes nothing that was not permitted, the client is told the
//! upstream's own transaction status, and gets no masked value.
//!
//! Normal runs play a few fixed seeds. `COUNTERSIGN_FUZZ_SECONDS=600` plays new ones for so long,
//! `COUNTERSIGN_FUZZ_SEED=7` that one. Invariant: a failure names its seed and the shortest script that still fails.

mod generate;
mod guarded;
mod message;
mod open;
mod play;
mod shrink;
mod texts;
mod transcript;

pub use self::generate::Chance;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use generate::{Setting, Step};

/// How long the fixed seeds may take.
const NORMAL: Duration = Duration::from_secs(10);
/// The fixed seeds.
const SEEDS: std::ops::Range<u64> = 1..40;

/// Seeds that once found a defect.
const FOUND: &[u64] = &[1_795_314_347_000_111, 1_795_316_630_000_046, 1_795_320_405_000_051, 1_795_321_083_000_598];

/// Seeds to be played, and until when.
struct Seeds {
    seeds: Box<dyn Iterator<Item = u64>>,
    until: Instant,
}

impl Seeds {
    fn from_environment() -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let begin = Instant::now();
        if let Some(seed) = number("COUNTERSIGN_FUZZ_SEED") {
            return Self { seeds: Box::new(std::iter::once(seed)), until: begin + Duration::from_secs(3600) };
        }
        match number("COUNTERSIGN_FUZZ_SECONDS") {
            Some(seconds) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                Self { seeds: Box::new(now * 1_000_000..), until: begin + Duration::from_secs(seconds) }
            }
            None => Self { seeds: Box::new(FOUND.iter().copied().chain(SEEDS)), until: begin + NORMAL },
        }
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let seed = self.seeds.next()?;
        (Instant::now() < self.until).then_some(seed)
    }
}

/// Where scripts are played.
trait Theatre {
    /// Plays a script; the reason if it fails.
    async fn play(&mut self, seed: u64, steps: &[Step]) -> Option<String>;
}

/// Plays all seeds; a script that fails is shortened and told.
async fn play_seeds(setting: Setting, theatre: &mut impl Theatre) {
    let mut played = 0;
    for seed in Seeds::from_environment() {
        let steps = generate::script(seed, setting);
        played += 1;
        let Some(failure) = theatre.play(seed, &steps).await else { continue };
        eprintln!("COUNTERSIGN_FUZZ_SEED={seed} fails; before it is shortened:\n{}{failure}", shrink::readable(&steps));
        let (steps, failure) = shrink::shrink(steps, failure, async |steps| theatre.play(seed, steps).await).await;
        panic!("COUNTERSIGN_FUZZ_SEED={seed} fails after {played} scripts:\n{}{failure}", shrink::readable(&steps));
    }
    eprintln!("{played} scripts");
    assert!(played > 0, "no time for a single script");
}

#[tokio::test]
async fn with_everything_allowed_replies_are_those_of_postgresql() {
    play_seeds(Setting::Open, &mut open::Open::prepare().await).await;
}

#[tokio::test]
async fn a_guarded_upstream_executes_only_what_was_permitted() {
    play_seeds(Setting::Guarded, &mut guarded::Guarded::prepare().await).await;
}
