//! From the beginnings of records to mini-batches, greedily and in constant memory.

use crate::scan::{Bitmap, Group, Starts};

/// A run of whole records of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Offset of its first byte.
    pub offset: u64,
    /// Bytes, up to the beginning of the next record.
    pub length: u64,
    /// Ordinal of its first record, counted from 0 in the file.
    pub first_row: u64,
    /// Number of records, at least 1.
    pub rows: u64,
}

/// Makes the longest ranges that a bound allows: none is longer, unless it is a single record.
#[derive(Debug)]
pub struct Cutter {
    max_bytes: u64,
    /// Records still to be left out at the beginning (the header).
    skip: u64,
    /// Records up to and including the one that begins at `last`; 0 before the first one.
    rows: u64,
    offset: u64,
    last: u64,
    first_row: u64,
    found: Vec<Range>,
}

impl Cutter {
    /// A cutter that leaves out the first `skip` records.
    #[must_use]
    pub fn new(max_bytes: u64, skip: u64) -> Self {
        Self { max_bytes, skip, rows: 0, offset: 0, last: 0, first_row: 0, found: Vec::new() }
    }

    /// Takes the records that begin in a piece of the file, which follows the pieces before.
    pub fn add(&mut self, found: &Bitmap) {
        if let Some(at) = found.before() {
            self.start(at);
        }
        for group in found.groups().filter(|group| group.count > 0) {
            self.group(&group);
        }
    }

    /// Single records matter only near the end of a range.
    fn group(&mut self, group: &Group<'_>) {
        if self.rows > 0 && self.fits(group.end()) {
            self.rows += group.count;
            self.last = group.last().unwrap_or(self.last);
            return;
        }
        for (base, bits) in group.words() {
            self.starts(base, bits);
        }
    }

    /// Ends the last record at offset `end`.
    pub fn finish(&mut self, end: u64) {
        if self.rows == 0 {
            return;
        }
        if !self.fits(end) && self.rows > 1 {
            self.cut(self.last, self.rows - 1);
            self.rows = 1;
        }
        self.cut(end, self.rows);
        self.rows = 0;
    }

    /// Takes away the ranges that are complete.
    pub fn take(&mut self) -> std::vec::Drain<'_, Range> {
        self.found.drain(..)
    }

    fn fits(&self, end: u64) -> bool {
        end - self.offset <= self.max_bytes
    }

    fn cut(&mut self, end: u64, rows: u64) {
        self.found.push(Range {
            offset: self.offset,
            length: end - self.offset,
            first_row: self.first_row,
            rows,
        });
        self.offset = end;
        self.first_row += rows;
    }

    fn begin(&mut self, at: u64) {
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            (self.offset, self.last, self.rows) = (at, at, 1);
        }
    }
}

impl Starts for Cutter {
    fn start(&mut self, at: u64) {
        if self.rows == 0 {
            return self.begin(at);
        }
        if !self.fits(at) && self.rows > 1 {
            self.cut(self.last, self.rows - 1);
            self.rows = 1;
        }
        if !self.fits(at) {
            self.cut(at, 1);
            self.rows = 0;
        }
        self.last = at;
        self.rows += 1;
    }

    #[inline]
    fn starts(&mut self, base: u64, bits: u64) {
        if bits == 0 {
            return;
        }
        let last = base + u64::from(bits.ilog2());
        if self.rows > 0 && self.fits(last) {
            self.last = last;
            self.rows += u64::from(bits.count_ones());
        } else {
            self.each(base, bits);
        }
    }
}
