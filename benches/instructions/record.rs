//! How many instructions does a session spend on the record of an allowed statement, until another thread has it?

use std::hint::black_box;

use countersign::audit::{Audit, Record};
use countersign_policy::{Effect, Effects};
use gungraun::prelude::*;
use jiff::Timestamp;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 123_456_789);

/// A trail in a directory of its own, which has taken a record before.
fn trail() -> Audit {
    let dir = std::env::temp_dir();
    let dir = dir.join(format!("countersign-instructions-{}", std::process::id()));
    let audit = Audit::open(&dir, NOW).expect("a trail");
    audit.record(NOW, &verdict(1)).expect("a record");
    audit
}

fn verdict(number: u64) -> Record<'static> {
    Record::Verdict {
        session: "1795371943-17",
        number,
        user: "alice",
        database: "shop",
        statement: "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
        parameters: &[],
        digest: None,
        effects: Effects::of(&[Effect::Select]),
        verdict: "allow",
        rules: &[],
        observed: &[],
        request: None,
        not_opened: None,
        grant: None,
        unmasked_by: &[],
    }
}

fn end(audit: Audit) {
    let dir = audit.dir().to_owned();
    drop(audit);
    let _ = std::fs::remove_dir_all(dir);
}

#[library_benchmark]
#[bench::allowed(args = (), setup = trail, teardown = end)]
fn record(audit: Audit) -> Audit {
    audit.record(NOW, black_box(&verdict(2))).expect("a record");
    audit
}

library_benchmark_group!(name = records, benchmarks = [record]);
main!(library_benchmark_groups = records);
