//! The embedded store: SQLite in WAL mode with `synchronous=FULL`, one thread that writes and one
//! that reads.
//!
//! The writer takes every commit that waits, of whatever household, and puts them into one
//! transaction with a savepoint each: one fsync makes all of them durable, and a conflict undoes
//! only its own. Invariant: an answer leaves only after the transaction's fsync. Throughput
//! therefore grows with the load, up to [`BATCH_COMMITS_MAX`] commits per fsync.

mod access;
mod aggregate;
mod carried;
pub mod check;
mod database;
pub mod erasure;
#[cfg(test)]
pub(crate) mod sabotage;
mod seen;
pub mod upkeep;

pub use self::database::FILE_NAME;
use self::database::{Database, Job, Work};
#[cfg(test)]
pub(crate) use self::seen::seen_on_disk;
use super::{Answer, Held, OpenError, Store, StoreError};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{DeviceId, EpochId, HouseholdId};
use omega_sync_core::session::server::{Commit, Stored};
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

/// Commits that share one transaction.
pub const BATCH_COMMITS_MAX: usize = 512;
/// Bytes of commits after which no further one joins a transaction.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Commits or loads that wait for their thread; above it the asking room waits.
pub const QUEUE_MAX: usize = 4_096;

/// Where an answer goes, and on whose behalf: what goes wrong is logged in that span.
struct Reply<T> {
    to: oneshot::Sender<Result<T, StoreError>>,
    span: Span,
}

/// A change of the database; its error says whether the database works.
type Change = Box<dyn FnOnce(&mut Database) -> Result<(), StoreError> + Send>;

enum Write {
    Commit(HouseholdId, Commit, Reply<()>),
    Erase(HouseholdId, Reply<bool>),
    /// Something else, which answers by itself.
    Change(Change),
    /// Anything else that is written; its result is where whoever asked finds it.
    Job(Job, Reply<()>),
    Probe(Reply<()>),
}

enum Read {
    Load(HouseholdId, Reply<Option<Stored>>),
    Lives(HouseholdId, Reply<Option<Vec<EpochId>>>),
    Export(HouseholdId, Reply<Option<Held>>),
    /// Something else, which answers by itself.
    Look(Box<dyn FnOnce(&Database) + Send>),
    /// Anything else that is read; it answers itself.
    Job(Box<dyn FnOnce(&mut Database) + Send>),
    Probe(Reply<()>),
}

/// What is wrong with the database, as far as the last operations tell.
#[derive(Default)]
struct Condition {
    /// The last write's error; cleared by the next write that works.
    write: Option<StoreError>,
    /// Damage stays until someone has looked: other households may still work.
    damage: Option<StoreError>,
}

type SharedCondition = Arc<Mutex<Condition>>;

/// Households in one SQLite file.
pub struct SqliteStore {
    queues: Mutex<Option<Queues>>,
    threads: Mutex<Option<Threads>>,
    condition: SharedCondition,
}

struct Threads {
    writer: thread::JoinHandle<()>,
    reader: thread::JoinHandle<()>,
}

#[derive(Clone)]
struct Queues {
    write: mpsc::Sender<Write>,
    read: mpsc::Sender<Read>,
}

impl SqliteStore {
    /// Opens or creates the database in a folder, which is created too. Blocks.
    ///
    /// # Errors
    /// The folder can't be used or is in use, or the database is damaged or from a newer version.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let lock = Arc::new(database::lock(folder)?);
        let writer = Database::open(folder)?;
        let reader = Database::open_reader(folder)?;
        let (write, writes) = mpsc::channel(QUEUE_MAX);
        let (read, reads) = mpsc::channel(QUEUE_MAX);
        let condition = SharedCondition::default();
        let writer = start("store-writer", &lock, &condition, |condition| {
            run_writer(writer, writes, &condition);
        })?;
        let reader = start("store-reader", &lock, &condition, |condition| {
            run_reader(reader, reads, &condition);
        })?;
        Ok(Self {
            queues: Mutex::new(Some(Queues { write, read })),
            threads: Mutex::new(Some(Threads { writer, reader })),
            condition,
        })
    }

    /// Writes something in a savepoint of the writer's next transaction, and answers when that is
    /// durable. A [`StoreError::Conflict`] undoes this alone.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let queues = self.queues();
        Box::pin(async move {
            let found = Arc::new(Mutex::new(None));
            let place = found.clone();
            let job: Job = Box::new(move |connection| {
                let value = work(connection)?;
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                Ok(())
            });
            ask(&queues?.write, |reply| Write::Job(job, reply)).await?;
            let value = found.lock().unwrap_or_else(PoisonError::into_inner).take();
            value.ok_or(StoreError::Closed)
        })
    }

    /// Reads something, all of it from one state of the database.
    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (queues, condition) = (self.queues(), self.condition.clone());
        Box::pin(async move {
            let job = |reply: Reply<T>| {
                Read::Job(Box::new(move |database: &mut Database| {
                    let read = database.read_with(work);
                    if let Err(error) = &read {
                        let _in = reply.span.enter();
                        tracing::error!(code = error.code(), %error, "read");
                        note_damage(&condition, error);
                    }
                    answer(reply, read);
                }))
            };
            ask(&queues?.read, job).await
        })
    }

    fn queues(&self) -> Result<Queues, StoreError> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.clone().ok_or(StoreError::Closed)
    }
}

/// Starts a thread that keeps the folder's lock until it ends.
fn start(
    name: &str,
    lock: &Arc<File>,
    condition: &SharedCondition,
    body: impl FnOnce(SharedCondition) + Send + 'static,
) -> Result<thread::JoinHandle<()>, StoreError> {
    let (lock, condition) = (lock.clone(), condition.clone());
    let run = move || {
        body(condition);
        drop(lock);
    };
    let started = thread::Builder::new().name(name.into()).spawn(run);
    started.map_err(|error| StoreError::Unavailable(error.to_string()))
}

impl Store for SqliteStore {
    fn load(&self, household: &HouseholdId) -> Answer<Option<Stored>> {
        let (queues, household) = (self.queues(), household.clone());
        Box::pin(async move { ask(&queues?.read, |reply| Read::Load(household, reply)).await })
    }

    fn commit(&self, household: &HouseholdId, commit: Commit) -> Answer<()> {
        let (queues, household) = (self.queues(), household.clone());
        Box::pin(async move {
            ask(&queues?.write, |reply| Write::Commit(household, commit, reply)).await
        })
    }

    fn erase(&self, household: &HouseholdId) -> Answer<bool> {
        let (queues, household) = (self.queues(), household.clone());
        Box::pin(async move { ask(&queues?.write, |reply| Write::Erase(household, reply)).await })
    }

    fn lives(&self, household: &HouseholdId) -> Answer<Option<Vec<EpochId>>> {
        let (queues, household) = (self.queues(), household.clone());
        Box::pin(async move { ask(&queues?.read, |reply| Read::Lives(household, reply)).await })
    }

    fn export(&self, household: &HouseholdId) -> Answer<Option<Held>> {
        let (queues, household) = (self.queues(), household.clone());
        Box::pin(async move { ask(&queues?.read, |reply| Read::Export(household, reply)).await })
    }

    fn seen(&self, household: &HouseholdId) -> Answer<Vec<(DeviceId, UnixMillis)>> {
        self.read_seen(household.clone())
    }

    fn see(
        &self,
        household: &HouseholdId,
        seen: Vec<(DeviceId, UnixMillis)>,
        forgotten: Vec<DeviceId>,
    ) -> Answer<()> {
        self.write_seen(household.clone(), seen, forgotten)
    }

    /// Reads something; writes something only if the last write failed.
    fn check(&self) -> Answer<()> {
        let queues = self.queues();
        let (damage, writes) = {
            let condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
            (condition.damage.clone(), condition.write.is_none())
        };
        Box::pin(async move {
            match damage {
                Some(damage) => Err(damage),
                None if writes => ask(&queues?.read, Read::Probe).await,
                None => ask(&queues?.write, Write::Probe).await,
            }
        })
    }

    /// The writer goes last, so that its connection folds the write-ahead log into the database.
    fn close(&self) -> Answer<()> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let join = move || {
            let (Some(Queues { write, read }), Some(threads)) = (queues, threads) else {
                return Err(StoreError::Closed);
            };
            drop(read);
            let reader = threads.reader.join();
            drop(write);
            let ended = threads.writer.join().and(reader);
            ended.map_err(|_| StoreError::Unavailable("a store thread failed".into()))
        };
        Box::pin(async move {
            let joined = tokio::task::spawn_blocking(join).await;
            joined.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
        })
    }
}

async fn ask<Q, T>(
    queue: &mpsc::Sender<Q>,
    question: impl FnOnce(Reply<T>) -> Q,
) -> Result<T, StoreError> {
    let (to, answer) = oneshot::channel();
    let reply = Reply { to, span: Span::current() };
    queue.send(question(reply)).await.map_err(|_| StoreError::Closed)?;
    answer.await.map_err(|_| StoreError::Closed)?
}

/// Runs until every sender of the queue is gone and the queue is empty.
fn run_writer(mut database: Database, mut queue: mpsc::Receiver<Write>, state: &SharedCondition) {
    while let Some(first) = queue.blocking_recv() {
        let mut works = Vec::new();
        let mut replies = Vec::new();
        let mut bytes = 0;
        let mut erasure = None;
        let mut next = Some(first);
        while let Some(write) = next {
            match write {
                Write::Commit(household, commit, reply) => {
                    bytes += size(&commit);
                    works.push(Work::Commit(household, commit));
                    replies.push(reply);
                }
                Write::Job(job, reply) => {
                    works.push(Work::Job(job));
                    replies.push(reply);
                }
                // It takes with it whatever was asked for before.
                Write::Erase(household, reply) => erasure = Some((household, reply)),
                Write::Change(work) => {
                    if let Err(error) = note(state, work(&mut database)) {
                        tracing::error!(code = error.code(), %error, "a change failed");
                    }
                }
                Write::Probe(reply) => answer(reply, note(state, database.probe_write())),
            }
            let room =
                erasure.is_none() && works.len() < BATCH_COMMITS_MAX && bytes < BATCH_BYTES_MAX;
            next = if room { queue.try_recv().ok() } else { None };
        }
        if !works.is_empty() {
            write_all(&mut database, works, replies, state);
        }
        if let Some((household, reply)) = erasure {
            answer(reply, note(state, database.erase(&household)));
        }
    }
}

/// Writes all of it in one transaction, and answers when that is durable.
fn write_all(
    database: &mut Database,
    works: Vec<Work>,
    replies: Vec<Reply<()>>,
    state: &SharedCondition,
) {
    let count = works.len();
    match note(state, database.commit(works)) {
        Ok(results) => {
            for (reply, result) in replies.into_iter().zip(results) {
                if let Err(error) = &result {
                    note_damage(state, error);
                }
                answer(reply, result);
            }
        }
        Err(error) => {
            for reply in replies {
                let _in = reply.span.clone().entered();
                tracing::error!(code = error.code(), %error, commits = count, "commit");
                answer(reply, Err(error.clone()));
            }
        }
    }
}

fn run_reader(mut database: Database, mut queue: mpsc::Receiver<Read>, state: &SharedCondition) {
    while let Some(read) = queue.blocking_recv() {
        match read {
            Read::Load(household, reply) => {
                let loaded = database.load(&household);
                if let Err(error) = &loaded {
                    let _in = reply.span.enter();
                    tracing::error!(code = error.code(), %error, %household, "load");
                    note_damage(state, error);
                }
                answer(reply, loaded);
            }
            Read::Lives(household, reply) => answer(reply, database.lives(&household)),
            Read::Export(household, reply) => {
                answer(reply, erasure::held(&mut database.connection, &household));
            }
            Read::Look(work) => work(&database),
            Read::Job(job) => job(&mut database),
            Read::Probe(reply) => answer(reply, database.probe_read()),
        }
    }
}

/// Remembers whether the last write worked.
fn note<T>(state: &SharedCondition, result: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(error) = &result {
        note_damage(state, error);
    }
    state.lock().unwrap_or_else(PoisonError::into_inner).write = result.as_ref().err().cloned();
    result
}

fn note_damage(state: &SharedCondition, error: &StoreError) {
    if matches!(error, StoreError::Corrupt(_)) {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.damage.get_or_insert_with(|| error.clone());
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    // Who asked may have gone; the work is done all the same.
    let _ = reply.to.send(result);
}

fn size(commit: &Commit) -> usize {
    let entries = commit.entries.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let replicas = commit.replicas.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    entries + replicas + commit.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes.len())
}

#[cfg(test)]
mod tests;
