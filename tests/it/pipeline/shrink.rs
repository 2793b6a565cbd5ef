//! Making a failing script shorter.
//!
//! Never returns one that does not fail. Invariant: it takes no longer than [`LONGEST`], and one script more.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::generate::Step;

/// How long shorter scripts are tried.
const LONGEST: Duration = Duration::from_secs(60);

/// The shortest script that was found to fail, and how it fails.
pub async fn shrink(
    steps: Vec<Step>,
    failure: String,
    mut fails: impl AsyncFnMut(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let (mut best, mut why) = (steps, failure);
    let mut piece = best.len().div_ceil(2);
    let begin = Instant::now();
    while piece > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < best.len() && begin.elapsed() < LONGEST {
            let mut candidate = best.clone();
            candidate.drain(at..(at + piece).min(best.len()));
            match fails(&candidate).await {
                Some(failure) => {
                    (best, why) = (candidate, failure);
                    shorter = true;
                }
                None => at += piece,
            }
        }
        if begin.elapsed() >= LONGEST {
            break;
        }
        if !shorter || piece > 1 {
            piece /= 2;
        }
    }
    (best, why)
}

/// The script, one step a line.
pub fn readable(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        let _ = writeln!(out, "    {step}");
    }
    out
}
