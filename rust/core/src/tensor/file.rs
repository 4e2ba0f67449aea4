//! Records of a file, read in pieces that stay in the cache until they are numbers.

use std::path::Path;

use super::{FieldReader, Misfit, Scratch, Sinks};
use crate::error::Error;
use crate::source::PlainFile;

/// Bytes of a file in memory at once, unless a record is longer.
const BUFFER: u64 = 256 << 10;

/// Whole records in a file.
#[derive(Clone, Copy, Debug)]
pub struct FileRange<'a> {
    /// The file.
    pub path: &'a Path,
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// Why records of a file were not read.
#[derive(Debug)]
pub enum Unread {
    /// The file cannot be read.
    File(Error),
    /// There is something else in it.
    Misfit(Misfit),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}

impl From<Misfit> for Unread {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
    }
}

impl FieldReader {
    /// Reads the records of a range of a file as [`FieldReader::read`] does those of a text.
    ///
    /// # Errors
    /// [`Unread::File`] as [`PlainFile::open`] and [`PlainFile::read_exact`]; [`Unread::Misfit`] as
    /// [`FieldReader::read`], and when the range ends neither with a line nor with the file.
    pub fn read_file(
        &self,
        range: FileRange<'_>,
        most: usize,
        mut sinks: Sinks<'_, '_>,
    ) -> Result<usize, Unread> {
        let file = PlainFile::open(range.path)?;
        file.check_range(range.offset, range.length)?;
        let end = range.offset + range.length;
        let mut buffer = Buffer::new(range.length.min(BUFFER));
        let mut scratch = Scratch::new(self.dialect);
        let (mut position, mut records) = (range.offset, 0);
        while position < end {
            position += buffer.fill(&file, position, end)?;
            let whole = position == end;
            if whole && !buffer.ends_line() && end < file.length() {
                return Err(Misfit {
                    record: most,
                    field: None,
                    reason: "no record ends where the range does",
                }
                .into());
            }
            let (found, used) =
                self.read_part(buffer.known(), whole, (records, most), &mut scratch, &mut sinks)?;
            records += found;
            buffer.forget(used);
        }
        Ok(records)
    }
}

/// The bytes that are looked at.
struct Buffer {
    bytes: Vec<u8>,
    count: usize,
}

impl Buffer {
    fn new(size: u64) -> Self {
        Self { bytes: vec![0; usize::try_from(size).unwrap_or(0)], count: 0 }
    }

    fn known(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or_default()
    }

    fn ends_line(&self) -> bool {
        matches!(self.known().last(), Some(b'\r' | b'\n'))
    }

    /// Reads on from `position`, as much as there is room for, and gives the number of bytes.
    fn fill(&mut self, file: &PlainFile, position: u64, end: u64) -> Result<u64, Error> {
        if self.count == self.bytes.len() {
            self.bytes.resize(self.count * 2, 0); // one record fills it
        }
        let room = self.bytes.get_mut(self.count..).unwrap_or_default();
        let wanted = usize::try_from(end - position).unwrap_or(usize::MAX).min(room.len());
        let room = room.get_mut(..wanted).unwrap_or_default();
        file.read_exact(position, room)?;
        self.count += wanted;
        Ok(wanted as u64)
    }

    /// Drops the first bytes.
    fn forget(&mut self, used: usize) {
        let used = used.min(self.count);
        self.bytes.copy_within(used..self.count, 0);
        self.count -= used;
    }
}
