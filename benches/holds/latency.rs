//! From an approval to the client's CommandComplete, one at a time, with a real PostgreSQL.

use std::path::Path;

use countersign::throwaway::{SUPERUSER, ThrowawayOptions, ThrowawayPostgres};

use crate::Outcome;
use crate::approver::Approver;
use crate::client::Client;
use crate::figures::Figures;
use crate::proxy::Proxy;

const TABLE: &str = "CREATE TABLE accounts AS SELECT 1 AS id, 0 AS balance";
const UPDATE: &str = "UPDATE accounts SET balance = balance + 1 WHERE id = 1";

/// Holds and releases `count` statements of one session, one after the other.
pub(crate) async fn measure(binary: &Path, count: usize) -> Outcome<Figures> {
    let postgres = ThrowawayPostgres::start(&ThrowawayOptions::default())?;
    postgres.execute(SUPERUSER, TABLE).await?;
    let proxy = Proxy::start(binary, postgres.port(), postgres.password()).await?;
    let approver = Approver::new(proxy.web());
    let mut client = Client::connect(proxy.address()?, "holds").await?;
    let (mut after_answer, mut after_asking) = (Vec::new(), Vec::new());
    for _ in 0..count {
        client.query(UPDATE).await?;
        let id = client.held().await?;
        let (approved, completed) = tokio::join!(approver.approve(&id), client.completed());
        let (approved, completed) = (approved?, completed?);
        after_answer.push(completed.saturating_duration_since(approved.answered));
        after_asking.push(completed.saturating_duration_since(approved.asked));
    }
    let check = format!("DO $$ BEGIN ASSERT (SELECT balance = {count} FROM accounts); END $$");
    postgres.execute(SUPERUSER, &check).await?;
    let mut figures = Figures::default();
    figures.note("statements released", count as f64, "");
    figures.note_times("answer to CommandComplete", after_answer);
    figures.note_times("approval sent to CommandComplete", after_asking);
    Ok(figures)
}
