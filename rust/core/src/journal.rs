//! The journal of a run: which mini-batch ended at which byte of the output and of the failed items.

mod identities;
mod progress;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

pub use self::identities::Identities;
pub use self::progress::{Progress, Summary};
use crate::error::{Error, Result};

/// The first bytes of every journal; the byte above 127 and the two line ends reveal a copy made as text.
const MAGIC: [u8; 8] = *b"\x89BSJ\r\n\x1a\n";
/// The only format version this build writes and reads.
pub const VERSION: u32 = 2;
/// Bytes of the header.
pub const HEADER_LEN: usize = 32;
/// Bytes of every record.
pub const RECORD_LEN: usize = 72;

/// A fingerprint that the caller computes from a run's input and settings: this journal belongs to that run.
pub type RunId = [u8; 16];

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The output begins with a header line, which belongs to no mini-batch.
    Preamble,
    /// A mini-batch was scored in one piece: its bytes are in the output.
    Committed,
    /// A mini-batch failed for good and left nothing in the output.
    Failed,
    /// A mini-batch was scored in parts after it had failed as a whole: the bytes of the good ones are in the output.
    Bisected,
}

impl Kind {
    /// The lower-case name of the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preamble => "preamble",
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::Bisected => "bisected",
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::Preamble => 1,
            Self::Committed => 2,
            Self::Failed => 3,
            Self::Bisected => 4,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Preamble),
            2 => Some(Self::Committed),
            3 => Some(Self::Failed),
            4 => Some(Self::Bisected),
            _ => None,
        }
    }
}

/// How a mini-batch ended: the part of a record that the caller of the append writer knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The mini-batch.
    pub index: u64,
    /// What the caller computed from the mini-batch to recognise it, opaque here.
    pub identity: u32,
    /// Which try this was, 0 for the first.
    pub attempt: u32,
    /// Items of the mini-batch.
    pub total: u64,
    /// Items that succeeded, at most `total` and at most `returned`.
    pub succeeded: u64,
    /// Elements that were returned for it: its rows in the output. May exceed `total`.
    pub returned: u64,
}

/// One record of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the record says.
    pub kind: Kind,
    /// The mini-batch; all zero in a preamble.
    pub ending: Ending,
    /// Length of the output once this record holds.
    pub end: u64,
    /// Length of the failed items once this record holds.
    pub failed_end: u64,
    /// CRC-32 of the bytes that this record added to the output; 0 when it added none.
    pub output_crc: u32,
    /// CRC-32 of the bytes that this record added to the failed items; 0 when it added none.
    pub failed_crc: u32,
}

impl Record {
    /// The record as stored after records whose running CRC is `crc`, and the running CRC after it.
    #[must_use]
    pub fn encode(&self, crc: u32) -> (Vec<u8>, u32) {
        let Ending { index, identity, attempt, total, succeeded, returned } = self.ending;
        let mut bytes = Vec::with_capacity(RECORD_LEN);
        for field in [self.kind.code(), attempt] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [index, total, succeeded, returned, self.end, self.failed_end] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [identity, self.output_crc, self.failed_crc] {
            bytes.extend(field.to_le_bytes());
        }
        seal(bytes, crc)
    }

    /// Reads the fields; `None` for a kind that this version does not know.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let kind = Kind::from_code(take_u32(&mut bytes)?)?;
        let attempt = take_u32(&mut bytes)?;
        let index = take_u64(&mut bytes)?;
        let total = take_u64(&mut bytes)?;
        let succeeded = take_u64(&mut bytes)?;
        let returned = take_u64(&mut bytes)?;
        let end = take_u64(&mut bytes)?;
        let failed_end = take_u64(&mut bytes)?;
        let identity = take_u32(&mut bytes)?;
        let output_crc = take_u32(&mut bytes)?;
        let failed_crc = take_u32(&mut bytes)?;
        let ending = Ending { index, identity, attempt, total, succeeded, returned };
        Some(Self { kind, ending, end, failed_end, output_crc, failed_crc })
    }
}

/// The header as stored, and the running CRC that the first record starts from.
#[must_use]
pub fn encode_header(run_id: &RunId) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(run_id);
    seal(bytes, 0)
}

fn seal(mut bytes: Vec<u8>, crc: u32) -> (Vec<u8>, u32) {
    let crc = extend_crc(crc, &bytes);
    bytes.extend(crc.to_le_bytes());
    (bytes, crc)
}

/// The CRC-32 (polynomial of zlib) of some bytes followed by `bytes`, when `crc` is that of the former.
#[must_use]
pub fn extend_crc(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

/// A journal opened for reading, record by record up to the first torn one.
///
/// # Format, version 2
///
/// All integers are little endian. A header of 32 bytes, then records of 72 bytes, nothing else:
///
/// | header | bytes | | record | bytes | |
/// |---|---|---|---|---|---|
/// | magic | 0..8 | `89 42 53 4A 0D 0A 1A 0A` | kind | 0..4 | 1 preamble, 2 committed, 3 failed, 4 bisected |
/// | version | 8..12 | 2 | attempt | 4..8 | 0 for the first try |
/// | run id | 12..28 | chosen by the caller | index | 8..16 | the mini-batch |
/// | crc | 28..32 | | items total | 16..24 | |
/// | | | | items succeeded | 24..32 | at most the total, at most returned |
/// | | | | returned | 32..40 | rows of the mini-batch in the output |
/// | | | | end | 40..48 | length of the output after this record |
/// | | | | failed end | 48..56 | length of the failed items after this record |
/// | | | | identity | 56..60 | of the mini-batch, chosen by the caller |
/// | | | | crc of output | 60..64 | from the previous end to this one |
/// | | | | crc of failed items | 64..68 | from the previous failed end to this one |
/// | | | | crc | 68..72 | |
///
/// Every CRC is the CRC-32 of zlib. The last field of the header and of each record continues the one before
/// it over the bytes of its own header or record, so it covers the whole file up to there: a record of another
/// run, or one left over behind a cut, does not fit.
///
/// # What it does not hold
///
/// The rows, where a mini-batch lies in the input, why one failed, the names of the other files, any time of day.
///
/// # What never changes
///
/// Magic and version stay where they are in every version. Within version 2 no field moves, changes its
/// meaning or gets a new value; a reader refuses what it does not know.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    source: BufReader<File>,
    run_id: RunId,
    crc: u32,
    end: u64,
    torn: bool,
}

impl Journal {
    /// Opens a journal and checks its header.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Malformed`] when it is no journal, is of another format
    /// version, or its header is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let mut source = BufReader::with_capacity(RECORD_LEN * 1024, file);
        let header: [u8; HEADER_LEN] = read_block(&mut source, path)?.map_err(|length| {
            malformed(
                path,
                length as u64,
                "the header is cut off, so there are no records; resume the run; the file ends",
            )
        })?;
        let (run_id, crc) = check_header(path, &header)?;
        Ok(Self { path: path.to_path_buf(), source, run_id, crc, end: HEADER_LEN as u64, torn: false })
    }

    /// Where the journal was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run that this journal belongs to.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The next record, or `None` at the end of the journal or of its undamaged part.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Malformed`] for an undamaged record of unknown kind.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        if self.torn {
            return Ok(None);
        }
        let block: [u8; RECORD_LEN] = match read_block(&mut self.source, &self.path)? {
            Ok(block) => block,
            Err(length) => {
                self.torn = length > 0;
                return Ok(None);
            }
        };
        let Some(crc) = open_seal(&block, self.crc) else {
            self.torn = true;
            return Ok(None);
        };
        let record = Record::decode(&block).ok_or_else(|| {
            malformed(&self.path, self.end, "a record of unknown kind; use the batch-score that wrote it")
        })?;
        self.crc = crc;
        self.end += RECORD_LEN as u64;
        Ok(Some(record))
    }

    /// Bytes of the journal up to the last record that was returned.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The running CRC after the last record that was returned.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Whether reading stopped at a record that is cut off or damaged.
    #[must_use]
    pub fn torn(&self) -> bool {
        self.torn
    }
}

/// Reads `N` bytes, or says how many there were.
fn read_block<const N: usize>(
    source: &mut impl Read,
    path: &Path,
) -> Result<std::result::Result<[u8; N], usize>> {
    let mut block = [0; N];
    let mut length = 0;
    while let Some(rest) = block.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => return Ok(Err(length)),
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path, error)),
        }
    }
    Ok(Ok(block))
}

fn check_header(path: &Path, header: &[u8; HEADER_LEN]) -> Result<(RunId, u32)> {
    let mut rest = header.as_slice();
    if take(&mut rest) != Some(MAGIC) {
        return Err(malformed(path, 0, "this is not a journal of batch-score"));
    }
    match take_u32(&mut rest) {
        Some(VERSION) => {}
        version => {
            let version = version.unwrap_or_default();
            let reason = format!(
                "format version {version} is unknown, this build reads version {VERSION}; use the batch-score \
                 that wrote it; found"
            );
            return Err(malformed(path, MAGIC.len() as u64, reason));
        }
    }
    match (take(&mut rest), open_seal(header, 0)) {
        (Some(run_id), Some(crc)) => Ok((run_id, crc)),
        _ => Err(malformed(path, HEADER_LEN as u64 - 4, "the header is damaged, its CRC does not fit")),
    }
}

/// The running CRC after `block`, if the one stored at its end is right.
fn open_seal(block: &[u8], crc: u32) -> Option<u32> {
    let (content, stored) = block.split_last_chunk::<4>()?;
    let crc = extend_crc(crc, content);
    (crc == u32::from_le_bytes(*stored)).then_some(crc)
}

pub(crate) fn malformed(path: &Path, offset: u64, reason: impl Into<String>) -> Error {
    Error::Malformed { path: path.to_path_buf(), offset, reason: reason.into() }
}
