//! A piece of a file: its bytes, and the records that begin in them.

use std::ops::Range;

use crate::dialect::Format;
use crate::error::Result;
use crate::scan::{Bitmap, Scanner};
use crate::source::{PlainFile, mark_length};
use crate::stream::TextStream;

/// Buffers begin where a cache line does: a block never lies in two of them.
const LINE: usize = 64;
/// Bytes between two looks whether a guess has come right.
const STRIDE: usize = 256;

/// A buffer, used for one piece after the other.
pub(super) struct Chunk {
    buffer: Vec<u8>,
    /// What was read: bytes of the buffer, a byte order mark included.
    read: Range<usize>,
    /// Length of the byte order mark.
    mark: usize,
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
        Self { buffer, read: 0..0, mark: 0, starts, assumed: nowhere, reached: nowhere }
    }

    /// Reads a piece of a file and scans it; `scanner` is what can be known or guessed of the bytes before.
    pub(super) fn fill(&mut self, origin: Origin<'_>, mut scanner: Scanner) -> Result<()> {
        self.read(origin)?;
        let read = self.buffer.get(self.read.clone()).unwrap_or_default();
        self.mark = if scanner.position() == 0 { mark_length(read) } else { 0 };
        let data = read.get(self.mark..).unwrap_or_default();
        scanner.skip(self.mark);
        self.starts.reset(scanner.position(), data.len());
        self.assumed = scanner;
        scanner.feed(data, &mut self.starts.marker());
        self.reached = scanner;
        self.starts.count(data.len());
        Ok(())
    }

    fn read(&mut self, origin: Origin<'_>) -> Result<()> {
        let (Origin::Plain { length, .. } | Origin::Stream { length, .. }) = origin;
        if self.buffer.len() < length + LINE {
            self.buffer = vec![0; length + LINE];
        }
        let begin = self.buffer.as_ptr().align_offset(LINE).min(LINE);
        let buffer = self.buffer.get_mut(begin..begin + length).unwrap_or_default();
        let count = match origin {
            Origin::Plain { file, offset, .. } => file.read_exact(offset, buffer).map(|()| length),
            Origin::Stream { stream, .. } => stream.fill(buffer),
        };
        self.read = begin..begin + count?;
        Ok(())
    }

    /// Bytes read, a byte order mark included.
    pub(super) fn len(&self) -> usize {
        self.read.len()
    }

    /// Puts right what was guessed, now that the bytes before are `known`; gives what is known behind the last byte.
    pub(super) fn settle(&mut self, mut known: Scanner) -> Scanner {
        known.skip(self.mark);
        let mut guess = self.assumed;
        let data = self.buffer.get(self.read.start + self.mark..self.read.end).unwrap_or_default();
        let mut redone = 0;
        for piece in data.chunks(STRIDE) {
            if known.agrees(&guess) {
                break;
            }
            // Told a second time, a record's beginning is taken back.
            guess.feed(piece, &mut self.starts.marker());
            known.feed(piece, &mut self.starts.marker());
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
