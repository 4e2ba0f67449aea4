//! One file of a plan: what of it is handed out to be scanned, and what is cut.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Options;
use super::chunk::{Chunk, Origin};
use crate::cut::{Cutter, Range};
use crate::dialect::Format;
use crate::error::Result;
use crate::scan::Scanner;
use crate::source::{LEAST_FIRST_PIECE, PlainFile, Source};
use crate::stream::TextStream;

/// A file between its opening and the last of its mini-batches.
pub(super) struct FileScan {
    supply: Supply,
    /// Pieces that were handed out and are not cut yet, in order; None as long as one is being scanned.
    out: VecDeque<Option<Result<Chunk>>>,
    /// Number of pieces that are cut.
    cut: usize,
    /// Behind the pieces that are cut.
    scanner: Scanner,
    cutter: Cutter,
}

enum Supply {
    /// The file is being opened, or a stream is being read.
    Lent,
    Plain {
        file: Arc<PlainFile>,
        next: u64,
    },
    Stream(TextStream),
    Ended,
}

/// A piece to be read, and by what means.
pub(super) struct Piece {
    /// Ordinal in the file.
    pub(super) number: usize,
    from: From,
    length: usize,
    scanner: Scanner,
}

enum From {
    Plain(Arc<PlainFile>, u64),
    Stream(TextStream),
}

impl Piece {
    /// Reads and scans it; gives back the stream that has more.
    pub(super) fn fill(self, chunk: &mut Chunk) -> Result<Option<TextStream>> {
        let Self { length, scanner, .. } = self;
        match self.from {
            From::Plain(file, offset) => {
                chunk.fill(Origin::Plain { file: &file, offset, length }, scanner)?;
                Ok(None)
            }
            From::Stream(mut stream) => {
                chunk.fill(Origin::Stream { stream: &mut stream, length }, scanner)?;
                Ok((chunk.len() == length).then_some(stream))
            }
        }
    }
}

impl FileScan {
    /// A file that somebody is about to open.
    pub(super) fn new(options: &Options) -> Self {
        let has_header = options.header && options.format != Format::JsonLines;
        Self {
            supply: Supply::Lent,
            out: VecDeque::new(),
            cut: 0,
            scanner: Scanner::new(options.format, 0),
            cutter: Cutter::new(options.max_bytes, u64::from(has_header)),
        }
    }

    /// The file is open, or cannot be opened.
    pub(super) fn opened(&mut self, source: Result<Source>) {
        self.supply = match source {
            Ok(Source::Plain { file, position }) => Supply::Plain { file: Arc::new(file), next: position },
            Ok(Source::Stream(stream)) => Supply::Stream(stream),
            Err(fault) => {
                self.out.push_back(Some(Err(fault)));
                Supply::Ended
            }
        };
    }

    /// Whether no piece is out.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Hands out the next piece, if it can be read now.
    pub(super) fn hand_out(&mut self, options: &Options) -> Option<Piece> {
        let number = self.cut + self.out.len();
        let most = if number == 0 { options.chunk_bytes.max(LEAST_FIRST_PIECE) } else { options.chunk_bytes };
        let (from, position, length) = match std::mem::replace(&mut self.supply, Supply::Lent) {
            Supply::Plain { file, next } if next < file.length() => {
                let length = most.min(usize::try_from(file.length() - next).unwrap_or(usize::MAX));
                self.supply = Supply::Plain { file: Arc::clone(&file), next: next + length as u64 };
                (From::Plain(file, next), next, length)
            }
            Supply::Stream(stream) => {
                let position = stream.position();
                (From::Stream(stream), position, most)
            }
            other => {
                self.supply = other;
                return None;
            }
        };
        let scanner =
            if self.out.is_empty() { self.scanner } else { Scanner::guess(options.format, position) };
        self.out.push_back(None);
        Some(Piece { number, from, length, scanner })
    }

    /// Takes back a piece, scanned, and the stream it came from if that has more.
    pub(super) fn hand_in(&mut self, number: usize, outcome: Result<Chunk>, stream: Option<TextStream>) {
        if matches!(self.supply, Supply::Lent) {
            self.supply = stream.map_or(Supply::Ended, Supply::Stream);
        }
        if let Some(slot) = self.out.get_mut(number - self.cut) {
            *slot = Some(outcome);
        }
    }

    /// Cuts the next piece, if it has been scanned.
    pub(super) fn cut(&mut self) -> Result<Option<Chunk>> {
        let Some(Some(_)) = self.out.front() else { return Ok(None) };
        let Some(outcome) = self.out.pop_front().flatten() else { return Ok(None) };
        let mut chunk = outcome?;
        self.cut += 1;
        self.scanner = chunk.settle(self.scanner);
        self.cutter.add(chunk.starts());
        Ok(Some(chunk))
    }

    /// Whether all of the file is cut; if so, its last mini-batch ends here.
    pub(super) fn finish(&mut self) -> Result<bool> {
        let ended = match &self.supply {
            Supply::Plain { file, next } => *next >= file.length(),
            Supply::Ended => true,
            Supply::Lent | Supply::Stream(_) => false,
        };
        if !ended || !self.is_idle() {
            return Ok(false);
        }
        if let Supply::Plain { file, .. } = &self.supply
            && !self.scanner.between_records()
        {
            file.check_complete()?;
        }
        self.cutter.finish(self.scanner.position());
        Ok(true)
    }

    /// Takes away the ranges that are complete.
    pub(super) fn take(&mut self) -> std::vec::Drain<'_, Range> {
        self.cutter.take()
    }
}
