//! The mini-batches of many text files, found while they are being asked for.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::cut::{Cutter, Range};
use crate::dialect::{Encoding, Format};
use crate::error::{Error, Result};
use crate::scan::Scanner;
use crate::source::{LEAST_FIRST_PIECE, Source, mark_length};

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
    /// Size of the one buffer that files are read into.
    pub chunk_bytes: usize,
}

/// A mini-batch: a range of the file with the given position in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniBatch {
    /// Position of the file in the list of paths.
    pub file: usize,
    /// What part of it.
    pub range: Range,
}

/// Scans files one after the other, only as far as mini-batches are asked for.
///
/// Memory is the list of paths, one buffer, and the mini-batches of one buffer's worth of text,
/// however large a file or a record is.
pub struct Plan {
    paths: Vec<PathBuf>,
    options: Options,
    next: usize,
    current: Option<Scan>,
    buffer: Vec<u8>,
    found: VecDeque<MiniBatch>,
    records: u64,
    bytes: u64,
    state: State,
}

enum State {
    Scanning,
    /// With an error that nobody has seen yet.
    Failed(Error),
    /// After an error.
    Over,
}

/// The file that is being scanned.
struct Scan {
    file: usize,
    source: Source,
    scanner: Scanner,
    cutter: Cutter,
}

impl Plan {
    /// A plan of `paths`, in that order. No file is opened yet.
    ///
    /// # Errors
    /// [`Error::Option`] when a size is 0.
    pub fn new(paths: Vec<PathBuf>, options: Options) -> Result<Self> {
        for (name, is_zero) in
            [("max_bytes", options.max_bytes == 0), ("chunk_bytes", options.chunk_bytes == 0)]
        {
            if is_zero {
                return Err(Error::Option(format!("{name} is 0; it has to be at least 1")));
            }
        }
        Ok(Self {
            paths,
            options,
            next: 0,
            current: None,
            buffer: vec![0; options.chunk_bytes.max(LEAST_FIRST_PIECE)],
            found: VecDeque::new(),
            records: 0,
            bytes: 0,
            state: State::Scanning,
        })
    }

    /// Scans until `wanted` mini-batches wait to be taken, about `budget` bytes are read, or the files end.
    ///
    /// Returns whether more can be found; a caller that has to stay interruptible goes on with another call.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoInput`] or [`Error::Malformed`] when a file cannot be read; scanning does not go on. What was
    /// found before has to be taken first.
    pub fn scan(&mut self, wanted: usize, budget: u64) -> Result<bool> {
        let end = self.bytes.saturating_add(budget);
        let mut more = true;
        while more && self.found.len() < wanted && self.bytes < end {
            more = match self.state {
                State::Scanning => self.step().unwrap_or_else(|fault| {
                    self.state = State::Failed(fault);
                    false
                }),
                State::Failed(_) | State::Over => false,
            };
        }
        if self.found.is_empty() && matches!(self.state, State::Failed(_) | State::Over) {
            return Err(match std::mem::replace(&mut self.state, State::Over) {
                State::Failed(fault) => fault,
                State::Scanning | State::Over => {
                    Error::Option(String::from("this plan ended with an error; make a new one"))
                }
            });
        }
        Ok(more)
    }

    /// Takes away at most `limit` of the mini-batches found, in order.
    pub fn take(&mut self, limit: usize) -> impl Iterator<Item = MiniBatch> + '_ {
        let count = limit.min(self.found.len());
        self.found.drain(..count)
    }

    /// Number of mini-batches that wait to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.found.len()
    }

    /// Records of the mini-batches found so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of (decoded) text read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads one buffer of the current file, or opens the next one.
    fn step(&mut self) -> Result<bool> {
        let Some(scan) = &mut self.current else {
            let Some(path) = self.paths.get(self.next) else { return Ok(false) };
            self.current = Some(Scan::open(self.next, path, &self.options)?);
            self.next += 1;
            return Ok(true);
        };
        let ended = scan.step(&mut self.buffer, self.options.chunk_bytes, &mut self.bytes)?;
        for range in scan.cutter.take() {
            self.records += range.rows;
            self.found.push_back(MiniBatch { file: scan.file, range });
        }
        if ended {
            self.current = None;
        }
        Ok(true)
    }
}

impl Scan {
    fn open(file: usize, path: &Path, options: &Options) -> Result<Self> {
        let has_header = options.header && options.format != Format::JsonLines;
        Ok(Self {
            file,
            source: Source::open(path, options.encoding)?,
            scanner: Scanner::new(options.format, 0),
            cutter: Cutter::new(options.max_bytes, u64::from(has_header)),
        })
    }

    fn step(&mut self, buffer: &mut [u8], chunk: usize, bytes: &mut u64) -> Result<bool> {
        let at_start = self.scanner.position() == 0;
        let wanted = if at_start { buffer.len() } else { chunk };
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        let count = self.source.fill(buffer)?;
        *bytes += count as u64;
        let read = buffer.get(..count).unwrap_or_default();
        let mark = if at_start { mark_length(read) } else { 0 };
        self.scanner.skip(mark);
        self.scanner.feed(read.get(mark..).unwrap_or_default(), &mut self.cutter);
        let ended = count < wanted;
        if ended {
            if !self.scanner.between_records() {
                self.source.check_complete()?;
            }
            self.cutter.finish(self.scanner.position());
        }
        Ok(ended)
    }
}
