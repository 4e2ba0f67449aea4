//! The bytes of one input file: positioned reads of a plain file, or a decoded stream.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::dialect::Encoding;
use crate::error::{Error, Result};
use crate::stream::{TextStream, is_stream, open_regular};

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A file that is read in place.
///
/// It is never mapped into memory: a file cut short by somebody else has to be an error, not a signal.
#[derive(Debug)]
pub struct PlainFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl PlainFile {
    /// Opens a file and notes its length.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened, [`Error::NoInput`] when it is not a regular file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_regular(path)?;
        let length = file.metadata().map_err(|fault| Error::io(path, fault))?.len();
        Ok(Self { path: path.to_path_buf(), file, length })
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the file is shorter, [`Error::Io`] when it cannot be read.
    pub fn read_exact(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|fault| {
            if fault.kind() == io::ErrorKind::UnexpectedEof {
                self.changed(
                    offset + buffer.len() as u64,
                    "the file became shorter than it was when it was planned",
                )
            } else {
                Error::io(&self.path, fault)
            }
        })
    }

    /// Checks that the file holds `length` bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is shorter.
    pub fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => {
                Err(self.changed(self.length, "the file is shorter than it was when it was planned; it ends"))
            }
        }
    }

    /// Refuses a file to which somebody still writes in the middle of a record.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the file has grown since it was opened.
    pub fn check_complete(&self) -> Result<()> {
        let now = self.file.metadata().map_err(|fault| Error::io(&self.path, fault))?.len();
        if now == self.length {
            return Ok(());
        }
        Err(self.changed(self.length, "the file changed while it was planned, with an unfinished record"))
    }

    /// Bytes in the file when it was opened.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    fn changed(&self, offset: u64, reason: &str) -> Error {
        Error::Malformed { path: self.path.clone(), offset, reason: reason.to_owned() }
    }
}

/// One input file, read from its beginning to its end.
pub enum Source {
    /// Read in place, up to the length it had when it was opened.
    Plain {
        /// The file.
        file: PlainFile,
        /// Offset of the next byte.
        position: u64,
    },
    /// Decompressed or decoded.
    Stream(TextStream),
}

impl Source {
    /// Opens a file as its name and encoding ask for.
    ///
    /// # Errors
    /// As [`PlainFile::open`] and [`TextStream::open`].
    pub fn open(path: &Path, encoding: Encoding) -> Result<Self> {
        if is_stream(path, encoding) {
            return Ok(Self::Stream(TextStream::open(path, encoding)?));
        }
        Ok(Self::Plain { file: PlainFile::open(path)?, position: 0 })
    }

    /// Reads until `buffer` is full or the text ends; returns the number of bytes read.
    ///
    /// # Errors
    /// As [`PlainFile::read_exact`] and [`TextStream::fill`].
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Stream(stream) => stream.fill(buffer),
            Self::Plain { file, position } => {
                let left = usize::try_from(file.length - *position).unwrap_or(usize::MAX);
                let wanted = buffer.len().min(left);
                file.read_exact(*position, buffer.get_mut(..wanted).unwrap_or_default())?;
                *position += wanted as u64;
                Ok(wanted)
            }
        }
    }
}

/// The bytes of a file's first piece that are a byte order mark and no data.
#[must_use]
pub fn mark_length(first: &[u8]) -> usize {
    if first.starts_with(UTF8_MARK) { UTF8_MARK.len() } else { 0 }
}

/// The least first piece in which [`mark_length`] can recognise a mark.
pub const LEAST_FIRST_PIECE: usize = UTF8_MARK.len();
