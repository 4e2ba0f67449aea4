//! A file that grew under the journal, held against what the journal says of it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::journal::{extend_crc, malformed};

/// Bytes of a file that recovery holds at a time.
const BUFFER: usize = 1 << 20;

/// A file that is read in step with the journal, up to the first bytes that are not as recorded.
pub(super) struct GrownCheck {
    path: PathBuf,
    /// `None` when there is no such file.
    file: Option<File>,
    length: u64,
    /// The end that the record before gave.
    end: u64,
    /// Whether all bytes so far are as recorded.
    intact: bool,
    /// As long as the longest part read so far, at most [`BUFFER`].
    buffer: Vec<u8>,
}

impl GrownCheck {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened.map_err(|error| Error::io(path, error))?),
        };
        let length = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()));
        let length = length.map_err(|error| Error::io(path, error))?;
        Ok(Self { path: path.to_path_buf(), file, length, end: 0, intact: true, buffer: Vec::new() })
    }

    /// Whether the bytes up to `end` are as recorded, when `crc` is that of those behind the end before.
    pub(super) fn holds(&mut self, end: u64, crc: u32) -> Result<bool> {
        let start = std::mem::replace(&mut self.end, end);
        if self.intact && end != start {
            self.intact = self.is_as_recorded(start, end, crc)?;
        }
        Ok(self.intact)
    }

    fn is_as_recorded(&mut self, start: u64, end: u64, crc: u32) -> Result<bool> {
        let Some(file) = &mut self.file else {
            let reason =
                "the file is missing, but the journal says what is in it; put it back, or start a new run";
            return Err(Error::io(&self.path, std::io::Error::new(ErrorKind::NotFound, reason)));
        };
        if end > self.length || end < start {
            return Ok(false);
        }
        let found = crc_of(file, end - start, &mut self.buffer);
        let fits = found.map_err(|error| Error::io(&self.path, error))? == crc;
        if !fits && start == 0 {
            let reason = "the first bytes are not those that the journal recorded, so this may be another file; put \
                          that of the run back, or start a new run; the part that differs begins";
            return Err(malformed(&self.path, 0, reason));
        }
        Ok(fits)
    }
}

/// The CRC of the next `length` bytes.
fn crc_of(file: &mut File, mut length: u64, buffer: &mut Vec<u8>) -> std::io::Result<u32> {
    let mut crc = 0;
    while length > 0 {
        let wanted = usize::try_from(length).unwrap_or(BUFFER).min(BUFFER);
        buffer.resize(buffer.len().max(wanted), 0);
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        file.read_exact(chunk)?;
        crc = extend_crc(crc, chunk);
        length -= wanted as u64;
    }
    Ok(crc)
}
