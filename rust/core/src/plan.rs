//! The mini-batches of many text files, found while they are being asked for.

mod chunk;
mod file;
#[cfg(test)]
mod tests;
mod work;

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

use crate::cut::Range;
use crate::dialect::{Encoding, Format};
use crate::error::{Error, Result};

use work::{Task, Work};

/// Tasks of a plan that one thread does alone: a plan of a few small files is over before another one has started.
const SOLO_TASKS: usize = 12;
/// Pieces that have to be wanted for each further thread.
const WORTH: u64 = 4;

/// How files are cut.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What a record is.
    pub format: Format,
    /// How bytes become text.
    pub encoding: Encoding,
    /// No mini-batch is longer, unless it is a single record.
    pub max_bytes: u64,
    /// Whether the first record of each file names the columns.
    pub header: bool,
    /// Size of the buffers that files are read into.
    pub chunk_bytes: usize,
    /// How many threads may scan at a time, the caller's own included.
    pub threads: usize,
}

/// A mini-batch: a range of the file with the given position in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniBatch {
    /// Position of the file in the list of paths.
    pub file: usize,
    /// What part of it.
    pub range: Range,
}

/// Scans files in order, only as far as mini-batches are asked for.
///
/// Memory is the list of paths, a few buffers for each thread, and the mini-batches of these buffers' worth of text,
/// however large a file or a record is. Threads live only as long as a call.
pub struct Plan {
    paths: Vec<PathBuf>,
    options: Options,
    work: Work,
    /// Tasks done by one thread alone.
    solo_done: usize,
}

impl Plan {
    /// A plan of `paths`, in that order. No file is opened yet.
    ///
    /// # Errors
    /// [`Error::Option`] when a size is 0.
    pub fn new(paths: Vec<PathBuf>, options: Options) -> Result<Self> {
        for (name, is_zero) in [
            ("max_bytes", options.max_bytes == 0),
            ("chunk_bytes", options.chunk_bytes == 0),
            ("threads", options.threads == 0),
        ] {
            if is_zero {
                return Err(Error::Option(format!("{name} is 0; it has to be at least 1")));
            }
        }
        let work = Work::new(paths.len(), options);
        Ok(Self { paths, options, work, solo_done: 0 })
    }

    /// Scans until `wanted` mini-batches wait to be taken, about `budget` bytes are read, or the files end.
    ///
    /// Returns whether more can be found; a caller that has to stay interruptible goes on with another call.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoInput`] or [`Error::Malformed`] when a file cannot be read; scanning does not go on. What was
    /// found before has to be taken first.
    pub fn scan(&mut self, wanted: usize, budget: u64) -> Result<bool> {
        let helpers = self.helpers(wanted, budget);
        let end = self.work.bytes.saturating_add(budget);
        let solo_left = SOLO_TASKS - self.solo_done;
        let team = Team {
            paths: &self.paths,
            encoding: self.options.encoding,
            wanted,
            end,
            work: Mutex::new(&mut self.work),
            changed: Condvar::new(),
        };
        if helpers == 0 {
            team.run(usize::MAX);
        } else {
            self.solo_done += team.run(solo_left);
            team.run_with(helpers);
        }
        self.work.check()?;
        Ok(self.work.has_more())
    }

    /// How many threads are worth starting.
    fn helpers(&self, wanted: usize, budget: u64) -> usize {
        let wanted = wanted.saturating_sub(self.work.found.len()) as u64;
        let bytes = wanted.saturating_mul(self.options.max_bytes).min(budget);
        let pieces = bytes / self.options.chunk_bytes as u64;
        usize::try_from(pieces / WORTH).unwrap_or(usize::MAX).min(self.options.threads - 1)
    }

    /// Takes away at most `limit` of the mini-batches found, in order.
    pub fn take(&mut self, limit: usize) -> impl Iterator<Item = MiniBatch> + '_ {
        let count = limit.min(self.work.found.len());
        self.work.found.drain(..count)
    }

    /// Number of mini-batches that wait to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.work.found.len()
    }

    /// Records of the mini-batches found so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.work.records
    }

    /// Bytes of (decoded) text read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.work.bytes
    }
}

/// The threads of one call, which share out its tasks.
struct Team<'plan> {
    paths: &'plan [PathBuf],
    encoding: Encoding,
    /// When to stop: so many mini-batches, or so many bytes.
    wanted: usize,
    end: u64,
    work: Mutex<&'plan mut Work>,
    /// Somebody has answered: there may be tasks, or none any more.
    changed: Condvar,
}

impl<'plan> Team<'plan> {
    fn run_with(&self, helpers: usize) {
        thread::scope(|scope| {
            for _ in 0..helpers {
                if self.is_done(&self.lock()) {
                    break;
                }
                // Without another thread it takes longer, and that is all.
                let _ = Builder::new().name("scan".into()).spawn_scoped(scope, || self.run(usize::MAX));
            }
            self.run(usize::MAX);
        });
    }

    /// Does tasks, at most `limit`, until enough is found; returns how many.
    fn run(&self, limit: usize) -> usize {
        let mut done = 0;
        while done < limit
            && let Some(task) = self.next()
        {
            let answer = task.perform(self.paths, self.encoding);
            self.lock().answer(answer);
            self.changed.notify_all();
            done += 1;
        }
        done
    }

    /// The next task, once there is one; None when nothing is left to be done.
    fn next(&self) -> Option<Task> {
        let mut work = self.lock();
        while !self.is_done(&work) {
            if let Some(task) = work.next() {
                return Some(task);
            }
            if work.pending == 0 {
                break;
            }
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn is_done(&self, work: &Work) -> bool {
        work.found.len() >= self.wanted || work.bytes >= self.end || !work.has_more()
    }

    fn lock(&self) -> MutexGuard<'_, &'plan mut Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
