//! The one thread that owns the connection, and group commit.
//!
//! Never answers before the commit. Invariant: a job that fails leaves nothing behind and harms no other of its batch.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Jobs that may wait; callers wait for room beyond it.
const QUEUE_MAX: usize = 4096;

/// Jobs committed together at most.
const BATCH_MAX: usize = 512;

/// Whether a job changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Answers the caller: with what the job returned, or with the failure of the commit.
type Reply = Box<dyn FnOnce(bool) + Send>;

/// Does the work and says whether it is to be kept.
type Work = Box<dyn FnOnce(&Connection) -> (bool, Reply) + Send>;

struct Job {
    access: Access,
    work: Work,
}

#[derive(Debug)]
pub(super) struct StoreThread {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StoreThread {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || run(&connection, queue))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` on the store's thread and returns its result once it is committed.
    ///
    /// # Cancel safety
    /// When the future is dropped the work may or may not be done.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let result = work(connection);
            let keep = result.is_ok();
            let reply: Reply = Box::new(move |committed| {
                let result = if committed || !keep { result } else { Err(StoreError::Commit) };
                // Whoever no longer waits does not need to know.
                let _gone = answer.send(result);
            });
            (keep, reply)
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(Job { access, work }).await.map_err(|_closed| StoreError::Closed)?;
        answered.await.map_err(|_closed| StoreError::Closed)?
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("store thread panicked");
        }
    }
}

fn run(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        batch.extend(queue.blocking_recv());
        if batch.is_empty() {
            return;
        }
        while batch.len() < BATCH_MAX
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        commit_together(connection, &mut batch);
    }
}

fn commit_together(connection: &Connection, batch: &mut Vec<Job>) {
    let writes = batch.iter().any(|job| job.access == Access::Write);
    let begin = if writes { "BEGIN IMMEDIATE" } else { "BEGIN" };
    let mut replies = Vec::with_capacity(batch.len());
    let committed = connection.execute_batch(begin).and_then(|()| {
        for job in batch.drain(..) {
            replies.push(in_savepoint(connection, job)?);
        }
        connection.execute_batch("COMMIT")
    });
    if let Err(error) = &committed {
        tracing::error!(error = %error, "could not commit to store");
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %error, "could not roll back in store");
        }
    }
    // Jobs that never ran are dropped here: their callers see the store as closed, and refuse.
    batch.clear();
    replies.into_iter().for_each(|reply| reply(committed.is_ok()));
}

fn in_savepoint(connection: &Connection, job: Job) -> rusqlite::Result<Reply> {
    if job.access == Access::Read {
        return Ok((job.work)(connection).1);
    }
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let (keep, reply) = (job.work)(connection);
    if !keep {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    #[tokio::test]
    async fn on_a_full_disk_what_was_answered_ok_is_there_and_reading_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("small.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER, filler BLOB)").unwrap();
        connection.pragma_update(None, "max_page_count", 40).unwrap();
        let thread = StoreThread::start(connection).unwrap();
        let mut answered = Vec::new();
        for round in 0..20 {
            let inserts = (0..8).map(|n| {
                thread.call(Access::Write, move |connection| {
                    Ok(connection.execute("INSERT INTO t VALUES (?1, zeroblob(3000))", [round * 8 + n])?)
                })
            });
            answered.extend(join_all(inserts).await.into_iter().map(|answer| answer.is_ok()));
        }
        assert!(answered.contains(&true) && answered.contains(&false));
        let read = |connection: &Connection| {
            let mut query = connection.prepare("SELECT id FROM t ORDER BY id")?;
            let ids: Result<Vec<usize>, _> = query.query_map([], |row| row.get(0))?.collect();
            Ok(ids?)
        };
        let there = thread.call(Access::Read, read).await.unwrap();
        let promised: Vec<usize> = (0..answered.len()).filter(|index| answered[*index]).collect();
        assert_eq!(there, promised);
        drop(thread);
        assert_eq!(read(&Connection::open(&path).unwrap()).unwrap(), promised);
    }
}
