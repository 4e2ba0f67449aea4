//! What is to be done next, and what came of it, in the order of the files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::chunk::Chunk;
use super::file::{FileScan, Piece};
use super::{MiniBatch, Options};
use crate::dialect::Encoding;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::stream::TextStream;

/// Pieces for each thread, and for all of them, that may be out at a time: one in each thread's hands, the others waiting
/// to be cut. The more, the longer a thread can be kept off its core before the others run out of room.
const AHEAD: (usize, usize) = (4, 16);

/// The state of a plan: everything but the scanning itself.
pub(super) struct Work {
    options: Options,
    /// Number of files in the list.
    listed: usize,
    /// Files that are open or being opened, in the order of the list.
    files: VecDeque<FileScan>,
    /// Position in the list of the first of them.
    first: usize,
    spare: Vec<Chunk>,
    /// Chunks that are not spare.
    out: usize,
    /// Tasks that were given out and not answered.
    pub(super) pending: usize,
    pub(super) found: VecDeque<MiniBatch>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    state: State,
}

enum State {
    Scanning,
    /// With an error that nobody has seen yet.
    Failed(Error),
    /// After an error.
    Over,
}

/// What a thread does without holding up others.
#[allow(clippy::large_enum_variant, reason = "a thread has one at a time")]
pub(super) enum Task {
    Open { file: usize },
    Scan { file: usize, piece: Piece, chunk: Chunk },
}

/// What came of a [`Task`].
pub(super) enum Answer {
    Opened { file: usize, source: Result<Source> },
    Scanned { file: usize, number: usize, outcome: Result<Chunk>, stream: Option<TextStream> },
}

impl Task {
    pub(super) fn perform(self, paths: &[PathBuf], encoding: Encoding) -> Answer {
        match self {
            Self::Open { file } => {
                let path = paths.get(file).map_or(Path::new(""), PathBuf::as_path);
                Answer::Opened { file, source: Source::open(path, encoding) }
            }
            Self::Scan { file, piece, mut chunk } => {
                let number = piece.number;
                match piece.fill(&mut chunk) {
                    Ok(stream) => Answer::Scanned { file, number, outcome: Ok(chunk), stream },
                    Err(fault) => Answer::Scanned { file, number, outcome: Err(fault), stream: None },
                }
            }
        }
    }
}

impl Work {
    pub(super) fn new(listed: usize, options: Options) -> Self {
        Self {
            options,
            listed,
            files: VecDeque::new(),
            first: 0,
            spare: Vec::new(),
            out: 0,
            pending: 0,
            found: VecDeque::new(),
            records: 0,
            bytes: 0,
            state: State::Scanning,
        }
    }

    /// Whether there is something left to be found.
    pub(super) fn has_more(&self) -> bool {
        matches!(self.state, State::Scanning) && (!self.files.is_empty() || self.first < self.listed)
    }

    /// The error, if everything found before it was taken.
    pub(super) fn check(&mut self) -> Result<()> {
        if matches!(self.state, State::Scanning) || !self.found.is_empty() {
            return Ok(());
        }
        Err(match std::mem::replace(&mut self.state, State::Over) {
            State::Failed(fault) => fault,
            State::Scanning | State::Over => {
                Error::Option(String::from("this plan ended with an error; make a new one"))
            }
        })
    }

    /// The next task that can be begun now; the earlier in the list, the sooner.
    pub(super) fn next(&mut self) -> Option<Task> {
        if !self.has_more() {
            return None;
        }
        // What everything else waits for is never held up by what waits.
        let awaited = self.files.front().is_some_and(FileScan::is_idle);
        let room = self.out < self.most_out();
        let files = self.files.iter_mut().enumerate();
        let files = files.take(if room { usize::MAX } else { usize::from(awaited) });
        for (file, scan) in files {
            if let Some(piece) = scan.hand_out(&self.options) {
                let chunk = self.spare.pop().unwrap_or_else(|| Chunk::new(self.options.format));
                self.out += 1;
                self.pending += 1;
                return Some(Task::Scan { file: self.first + file, piece, chunk });
            }
        }
        let file = self.first + self.files.len();
        let opens = room && file < self.listed && self.files.len() < self.most_out();
        opens.then(|| {
            self.files.push_back(FileScan::new(&self.options));
            self.pending += 1;
            Task::Open { file }
        })
    }

    fn most_out(&self) -> usize {
        match self.options.threads {
            1 => 1,
            threads => threads.saturating_mul(AHEAD.0).saturating_add(AHEAD.1),
        }
    }

    /// Takes what came of a task, and cuts as far as there is no gap.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.pending -= 1;
        let (Answer::Opened { file, .. } | Answer::Scanned { file, .. }) = answer;
        let Some(scan) = file.checked_sub(self.first).and_then(|file| self.files.get_mut(file)) else {
            return;
        };
        match answer {
            Answer::Opened { source, .. } => scan.opened(source),
            Answer::Scanned { number, outcome, stream, .. } => scan.hand_in(number, outcome, stream),
        }
        if let Err(fault) = self.cut() {
            self.state = State::Failed(fault);
            self.files.clear();
        }
    }

    fn cut(&mut self) -> Result<()> {
        while let Some(front) = self.files.front_mut() {
            while let Some(chunk) = front.cut()? {
                self.bytes += chunk.len() as u64;
                self.out -= 1;
                self.spare.push(chunk);
                keep(self.first, front, &mut self.found, &mut self.records);
            }
            if !front.finish()? {
                break;
            }
            keep(self.first, front, &mut self.found, &mut self.records);
            self.files.pop_front();
            self.first += 1;
        }
        Ok(())
    }
}

fn keep(file: usize, scan: &mut FileScan, found: &mut VecDeque<MiniBatch>, records: &mut u64) {
    for range in scan.take() {
        *records += range.rows;
        found.push_back(MiniBatch { file, range });
    }
}
