//! Mutated statements against PostgreSQL, in a small database in which a write sets off much.
//!
//! Never keeps what a statement did. Invariant: a failure names its seed and the shortest statement that still fails.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_policy::Effect;

use super::corpus::{self, Corpus};
use super::mutate::{Mutator, tokens};
use super::report::Verdict;
use super::scenery::{SETTING, STATEMENTS};
use super::stage::Stage;
use super::variable;

/// How long normal runs play.
const NORMAL: Duration = Duration::from_secs(6);
/// The first of the fixed seeds.
const FIRST: u64 = 1;
/// How long a shorter statement is looked for.
const SHRINK: Duration = Duration::from_secs(60);

/// The database, and how to get it back.
struct Theatre {
    template: String,
    stage: Stage,
}

impl Theatre {
    async fn prepare() -> Self {
        let mut base = Stage::set(None).await;
        assert!(base.prepare(SETTING).await, "the setting");
        let template = base.freeze();
        let stage = Stage::set(Some(&template)).await;
        Self { template, stage }
    }

    async fn play(&mut self, text: &str) -> Verdict {
        let ends = self.stage.analyze(text).effects().contains(Effect::Transaction);
        let (verdict, _) = self.stage.compare(text, false).await;
        let lower = text.to_lowercase();
        // What ends a transaction may have kept something; what is prepared stays.
        if ends || lower.contains("commit") {
            let used = std::mem::replace(&mut self.stage, Stage::set(Some(&self.template)).await);
            used.clear().await;
        } else if lower.contains("prepare") {
            self.stage.forget().await;
        }
        verdict
    }

    /// The shortest text found that is still wrong, and why.
    async fn shrink(&mut self, text: &str, why: Vec<String>) -> (String, Vec<String>) {
        let (mut best, mut why) = (text.to_owned(), why);
        let begin = Instant::now();
        let mut piece = tokens(&best).len().div_ceil(2);
        while piece > 0 && begin.elapsed() < SHRINK {
            let mut at = 0;
            let mut shorter = false;
            while at < tokens(&best).len() && begin.elapsed() < SHRINK {
                let mut left: Vec<&str> = tokens(&best);
                let end = (at + piece).min(left.len());
                left.drain(at..end);
                let candidate = left.concat();
                match self.play(&candidate).await {
                    Verdict::Wrong(found) => {
                        (best, why, shorter) = (candidate, found, true);
                    }
                    Verdict::Equal | Verdict::Conceded(_) | Verdict::Refused | Verdict::Skipped => at += piece,
                }
            }
            if !shorter || piece > 1 {
                piece /= 2;
            }
        }
        (best, why)
    }
}

/// Seeds to be played, and until when.
fn seeds() -> (std::ops::Range<u64>, Instant) {
    let number = |name| variable(name).and_then(|text| text.parse::<u64>().ok());
    let begin = Instant::now();
    if let Some(seed) = number("COUNTERSIGN_FUZZ_SEED") {
        return (seed..seed + 1, begin + Duration::from_secs(3600));
    }
    match number("COUNTERSIGN_FUZZ_SECONDS") {
        Some(seconds) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            (now * 1_000_000..u64::MAX, begin + Duration::from_secs(seconds))
        }
        None => (FIRST..u64::MAX, begin + NORMAL),
    }
}

/// The statements of the setting, many times, and hard ones.
fn pool() -> Vec<String> {
    let adversarial = Corpus::parse("adversarial", include_str!("../../corpus/adversarial.jsonl"));
    let mut pool: Vec<String> = adversarial.scenes.into_iter().flat_map(|scene| scene.texts).collect();
    for _ in 0..20 {
        pool.extend(STATEMENTS.iter().map(|text| (*text).to_owned()));
    }
    if let Some(directory) = variable("COUNTERSIGN_CORPUS") {
        let regression = |path: &std::path::PathBuf| path.ends_with("a_regress.jsonl");
        for path in corpus::files(std::path::Path::new(&directory)).into_iter().filter(regression) {
            pool.extend(Corpus::read(&path).scenes.into_iter().flat_map(|scene| scene.texts).step_by(17));
        }
    }
    pool
}

#[tokio::test]
async fn statements_of_the_setting_are_understood() {
    let mut theatre = Theatre::prepare().await;
    let mut odd = Vec::new();
    for text in STATEMENTS {
        match theatre.play(text).await {
            Verdict::Equal | Verdict::Refused => {}
            Verdict::Conceded(_) if text.starts_with("DO ") || text.starts_with("EXECUTE") => {}
            other @ (Verdict::Conceded(_) | Verdict::Wrong(_) | Verdict::Skipped) => {
                odd.push(format!("{other:?}: {text}"));
            }
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
}

#[tokio::test]
async fn mutated_statements_do_nothing_that_the_analysis_does_not_carry() {
    let pool = pool();
    let mut theatre = Theatre::prepare().await;
    let (seeds, until) = seeds();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in seeds.take_while(|_| Instant::now() < until) {
        let text = Mutator::new(seed, &pool).text();
        let what = match theatre.play(&text).await {
            Verdict::Equal => "equal",
            Verdict::Conceded(_) => "conceded",
            Verdict::Refused => "refused",
            Verdict::Skipped => "skipped",
            Verdict::Wrong(why) => {
                eprintln!("COUNTERSIGN_FUZZ_SEED={seed} is wrong: {}\n{text}", why.join("; "));
                let (text, why) = theatre.shrink(&text, why).await;
                panic!("COUNTERSIGN_FUZZ_SEED={seed} is wrong: {}\n{text}", why.join("; "));
            }
        };
        *counts.entry(what).or_default() += 1;
    }
    eprintln!("{counts:?}");
    assert!(!counts.is_empty(), "no time for a single statement");
}
