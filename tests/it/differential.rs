//! Our analysis against what PostgreSQL itself says and shows, statement by statement.
//!
//! Each text of a corpus is analysed and then run. What PostgreSQL describes (result columns and where they come from), and
//! what can be seen afterwards in its transaction (rows written, locks, calls of functions, definitions changed, settings of
//! the session) has to lie within what the analysis says. A text is *equal*, *conceded* (the analysis says that it does not
//! understand), or *wrong*; wrong is a bug.
//!
//! Normal runs play a sample. `COUNTERSIGN_CORPUS=directory` plays whole corpora, files of JSON lines with `sql` and `src`;
//! `COUNTERSIGN_CORPUS_ONLY=name` those whose names hold this, `name/scene` and scenes in them. Findings are written to the file that
//! `COUNTERSIGN_FINDINGS` names. Statements are also mutated from seeds: a few in normal runs, `COUNTERSIGN_FUZZ_SECONDS=600`
//! new ones for so long, `COUNTERSIGN_FUZZ_SEED=7` that one. Invariant: PostgreSQL is the judge, never another reading of ours.

mod corpus;
mod facts;
mod judge;
mod mutants;
mod mutate;
mod read_only;
mod report;
mod scenery;
mod session;
mod stage;
mod tags;
mod witness;

use std::fmt::Write as _;
use std::path::Path;

use corpus::{Corpus, Kind};
use report::Report;
use stage::Stage;

/// A sample of each kind of client; small enough for every run.
const SAMPLE: &[(&str, &str)] = &[
    ("psql", include_str!("../corpus/benign/psql.jsonl")),
    ("orm", include_str!("../corpus/benign/orm.jsonl")),
    ("adversarial", include_str!("../corpus/adversarial.jsonl")),
];

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn corpora() -> Vec<Corpus> {
    let Some(directory) = variable("COUNTERSIGN_CORPUS") else {
        return SAMPLE.iter().map(|(name, text)| Corpus::parse(name, text)).collect();
    };
    let only = variable("COUNTERSIGN_CORPUS_ONLY").unwrap_or_default();
    let (only, scene) = only.split_once('/').unwrap_or((&only, ""));
    let mut found = Vec::new();
    for path in corpus::files(Path::new(&directory)) {
        let mut corpus = Corpus::read(&path);
        corpus.scenes.retain(|found| found.is_base || scene.split(',').any(|part| found.name.contains(part)));
        found.extend(Some(corpus).filter(|corpus| corpus.name.contains(only)));
    }
    found
}

async fn play(corpus: &Corpus) -> Report {
    let mut report = Report::new(&corpus.name, variable("COUNTERSIGN_FINDINGS").as_deref());
    let keep = corpus.kind != Kind::Adversarial;
    let mut base = Stage::set(None).await;
    for extension in corpus::EXTENSIONS.iter().filter(|_| corpus.name == "a_contrib") {
        assert!(base.prepare(&format!("CREATE EXTENSION {extension}")).await, "{extension}");
    }
    for scene in corpus.scenes.iter().filter(|scene| scene.is_base) {
        base.play_all(scene, keep, &mut report).await;
    }
    let template = base.freeze();
    for scene in corpus.scenes.iter().filter(|scene| !scene.is_base) {
        let mut stage = Stage::set(Some(&template)).await;
        stage.play_all(scene, keep, &mut report).await;
        stage.clear().await;
    }
    report
}

#[tokio::test]
async fn whatever_postgresql_does_is_in_the_analysis() {
    let (mut wrong, mut stopped) = (Vec::new(), Vec::new());
    let mut table = String::new();
    for corpus in corpora() {
        let report = play(&corpus).await;
        let _ = writeln!(table, "{report}");
        for (why, count) in &report.conceded {
            let _ = writeln!(table, "    conceded {count}: {why}");
        }
        let _ =
            writeln!(table, "    reads {}, of which a policy for reading stops {}", report.reads, report.stopped.len());
        wrong.extend(report.wrong);
        stopped.extend(report.stopped.into_iter().filter(|_| corpus.kind == Kind::Traffic));
    }
    eprintln!("{table}");
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "PostgreSQL did what the analysis does not carry:\n{shown}");
    let shown = stopped.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(stopped.is_empty(), "reads of everyday clients are stopped:\n{shown}");
}
