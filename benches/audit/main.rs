//! Measures the audit trail alone: what a record costs in CPU, how many a second there can be, and how long looking for
//! one takes.
//!
//! Never part of the product. Invariant: records are those of an allowed statement, as a session makes them.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use countersign::audit::{Audit, Options, Question, Record, Signer, SigningKey, VerdictId, newest, search};
use countersign_policy::Effect;
use jiff::Timestamp;

/// Any failure ends the measurement.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Measures the audit trail")]
struct Arguments {
    /// Records to write
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Records that wait for the disk, written by 64 tasks
    #[arg(long, default_value_t = 100_000)]
    durable: u64,
    /// Directory for the trails; by default a temporary one
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("audit: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Outcome<()> {
    let home = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    write_async(&home.path().join("async"), arguments.records)?;
    write_durably(&home.path().join("durable"), arguments.durable).await?;
    look(&home.path().join("async"), arguments.records)
}

fn open(dir: &Path) -> Outcome<Audit> {
    let key = SigningKey::from_pem(&SigningKey::new_pem()?)?;
    let options = Options { signer: Some(Signer::new(key, None)), ..Options::default() };
    Ok(Audit::open_with(dir, options, Timestamp::now())?)
}

/// CPU time of this process.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

fn verdict<'a>(number: u64, user: &'a str, statement: &'a str) -> Record<'a> {
    Record::Verdict {
        session: "1795371943-17",
        number,
        user,
        database: "shop",
        statement,
        parameters: &[],
        digest: None,
        effects: [Effect::Select].into_iter().collect(),
        verdict: "allow",
        rules: &[],
        observed: &[],
        request: None,
        not_opened: None,
        grant: None,
        unmasked_by: &[],
    }
}

fn outcome(number: u64, user: &str) -> Record<'_> {
    Record::Outcome {
        request: None,
        verdict: Some(VerdictId { session: "1795371943-17", number }),
        user,
        database: "shop",
        outcome: "executed",
        detail: Some("SELECT 1"),
        rows: 1,
        duration_ms: 0,
        masked_columns: &[],
        masked_cells: &[],
        output: None,
        told_at: None,
    }
}

/// One of a thousand users, one of whom asks rarely.
fn user(number: u64) -> String {
    format!("user{}", number % 1000)
}

fn write_async(dir: &Path, records: u64) -> Outcome<()> {
    let audit = open(dir)?;
    let (began, spent) = (Instant::now(), cpu());
    for number in 0..records / 2 {
        let statement = format!("SELECT abalance FROM pgbench_accounts WHERE aid = {number}");
        let (now, user) = (Timestamp::now(), user(number));
        push(&audit, now, &verdict(number, &user, &statement))?;
        push(&audit, now, &outcome(number, &user))?;
    }
    drop(audit);
    let (took, spent) = (began.elapsed(), cpu() - spent);
    let each = spent.as_nanos() / u128::from(records.max(1));
    println!(
        "async: {:.0} records/s to the end of the last sync, {each} ns of CPU a record",
        records as f64 / took.as_secs_f64()
    );
    Ok(())
}

/// Waits for room, which a session would not: it is refused.
fn push(audit: &Audit, now: Timestamp, record: &Record<'_>) -> Outcome<()> {
    while audit.lag_bytes() > 64 << 20 {
        std::thread::yield_now();
    }
    Ok(audit.record(now, record)?)
}

async fn write_durably(dir: &Path, records: u64) -> Outcome<()> {
    const TASKS: u64 = 64;
    let audit = Arc::new(open(dir)?);
    let (began, spent) = (Instant::now(), cpu());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let audit = Arc::clone(&audit);
        tasks.spawn(async move {
            for number in 0..records / TASKS {
                let user = user(task);
                let record = verdict(number, &user, "SELECT abalance FROM pgbench_accounts WHERE aid = 1");
                audit.record_durable(Timestamp::now(), &record).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let (took, spent) = (began.elapsed(), cpu() - spent);
    let each = spent.as_nanos() / u128::from(records.max(1));
    println!(
        "before_forward, {TASKS} sessions: {:.0} records/s, {each} ns of CPU a record",
        records as f64 / took.as_secs_f64()
    );
    Ok(())
}

fn look(dir: &Path, records: u64) -> Outcome<()> {
    // Closed segments are compressed by then, as they are in a proxy that has run for a while.
    drop(open(dir)?);
    let by = |user: &str| Question { user: Some(user.to_owned()), ..Question::default() };
    let text = |text: &str| Question { text: Some(text.to_owned()), ..Question::default() };
    let questions = [
        ("the newest 50", Question::default()),
        ("newest 50 of one user in 1,000", by("user7")),
        ("newest 50 of nobody", by("nobody")),
        ("a text that is in none", text("no such text")),
    ];
    for (what, question) in questions {
        let began = Instant::now();
        let found = newest(dir, &question, 50, || true)?.entries.len();
        println!("{what} among {records}: {found} found in {:.3} s", began.elapsed().as_secs_f64());
    }
    let began = Instant::now();
    let mut all = 0_u64;
    search(dir, &Question::default(), |_entry| {
        all += 1;
        true
    })?;
    println!("export of all {all}: {:.2} s", began.elapsed().as_secs_f64());
    Ok(())
}
