//! A piece of a file: its bytes, and the records that begin in them.

use crate::dialect::Format;
use crate::error::Result;
use crate::scan::{Bitmap, Scanner};
use crate::source::{PlainFile, mark_length};
use crate::stream::TextStream;

/// Bytes between two looks whether a guess has come right.
const STRIDE: usize = 256;

/// A buffer, used for one piece after the other.
pub(super) struct Chunk {
    buffer: Vec<u8>,
    /// Where the data begin in the buffer, and where they end.
    data: (usize, usize),
    starts: Bitmap,
    /// What was assumed at the first byte of data.
    assumed: Scanner,
    /// What follows from it behind the last one.
    reached: Scanner,
}

/// Where a chunk comes from.
pub(super) enum Origin<'file> {
    Plain { file: &'file PlainFile, offset: u64, length: usize },
    Stream { stream: &'file mut TextStream, length: usize },
}

impl Chunk {
    pub(super) fn new(format: Format) -> Self {
        let nowhere = Scanner::new(format, 0);
        let (buffer, starts) = (Vec::new(), Bitmap::default());
        Self { buffer, data: (0, 0), starts, assumed: nowhere, reached: nowhere }
    }

    /// Reads a piece of a file and scans it; `scanner` is what can be known or guessed of the bytes before.
    pub(super) fn fill(&mut self, origin: Origin<'_>, mut scanner: Scanner) -> Result<()> {
        let end = self.read(origin)?;
        let read = self.buffer.get(..end).unwrap_or_default();
        let begin = if scanner.position() == 0 { mark_length(read) } else { 0 };
        scanner.skip(begin);
        self.data = (begin, end);
        self.starts.reset(scanner.position(), end - begin);
        self.assumed = scanner;
        scanner.feed(read.get(begin..).unwrap_or_default(), &mut self.starts);
        self.reached = scanner;
        self.starts.count(end - begin);
        Ok(())
    }

    fn read(&mut self, origin: Origin<'_>) -> Result<usize> {
        let (Origin::Plain { length, .. } | Origin::Stream { length, .. }) = origin;
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        let buffer = self.buffer.get_mut(..length).unwrap_or_default();
        match origin {
            Origin::Plain { file, offset, .. } => file.read_exact(offset, buffer).map(|()| length),
            Origin::Stream { stream, .. } => stream.fill(buffer),
        }
    }

    /// Bytes read, a byte order mark included.
    pub(super) fn len(&self) -> usize {
        self.data.1
    }

    /// Puts right what was guessed, now that the bytes before are `known`; gives what is known behind the last byte.
    pub(super) fn settle(&mut self, mut known: Scanner) -> Scanner {
        known.skip(self.data.0);
        let mut guess = self.assumed;
        let data = self.buffer.get(self.data.0..self.data.1).unwrap_or_default();
        let mut redone = 0;
        for piece in data.chunks(STRIDE) {
            if known.agrees(&guess) {
                break;
            }
            // Told a second time, a record's beginning is taken back.
            guess.feed(piece, &mut self.starts);
            known.feed(piece, &mut self.starts);
            redone += piece.len();
        }
        self.starts.count(redone);
        if known.agrees(&guess) { self.reached } else { known }
    }

    /// The beginnings of records.
    pub(super) fn starts(&self) -> &Bitmap {
        &self.starts
    }
}
