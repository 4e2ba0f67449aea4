//! What is good of a run that ended somehow: the journal held against the output.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::journal::{Journal, Progress, Record, RunId, extend_crc, malformed};

/// Bytes of output that recovery holds at a time.
const CHECK_BUFFER: usize = 1 << 20;

/// What is good of a run that ended somehow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What the good records come to; `progress.summary().end` is the valid length of the output.
    pub progress: Progress,
    /// The valid length of the journal.
    pub journal_end: u64,
    /// The running CRC of the journal there.
    pub crc: u32,
    /// Whether the journal ended in a record that is cut off or damaged.
    pub torn: bool,
    /// Undamaged records that do not count, because their bytes or those of one before are not in the output.
    pub lost: u64,
}

/// Finds what is good: the records before the first damaged one whose bytes are all in the output, unchanged.
///
/// Reads both files once, the output through a buffer of fixed size; changes nothing.
///
/// # Errors
/// [`Error::Io`] when a file cannot be read. [`Error::Malformed`] when the journal cannot be used ([`Journal`]),
/// belongs to another run, contradicts itself, needs an output file and got none, or when the very first bytes of
/// the output are not those of this run, so that cutting it could destroy something else.
pub fn recover(output: Option<&Path>, journal: &Path, run_id: RunId) -> Result<Recovered> {
    let mut source = Journal::open(journal)?;
    if source.run_id() != run_id {
        return Err(malformed(
            journal,
            12,
            "the journal belongs to another run; its input or settings differ",
        ));
    }
    let mut check = output.map(OutputCheck::open).transpose()?;
    let mut recovered = Recovered {
        progress: Progress::default(),
        journal_end: source.end(),
        crc: source.crc(),
        torn: false,
        lost: 0,
    };
    while let Some(record) = source.next_record()? {
        if recovered.lost > 0 || !recovered.take(&record, check.as_mut(), &source)? {
            recovered.lost += 1;
        }
    }
    recovered.torn = source.torn();
    Ok(recovered)
}

impl Recovered {
    /// Takes in a record that `journal` has just returned, unless its bytes are missing from the output.
    fn take(&mut self, record: &Record, check: Option<&mut OutputCheck>, journal: &Journal) -> Result<bool> {
        let start = self.progress.summary().end;
        let contradiction = |reason| malformed(journal.path(), self.journal_end, reason);
        self.progress.check(record).map_err(contradiction)?;
        let held = match check {
            Some(check) => check.holds(start, record)?,
            None if record.end == 0 => true,
            None => return Err(contradiction("this run has an output file, but none was given".to_owned())),
        };
        if held {
            self.progress.apply(record).map_err(Error::Option)?;
            self.journal_end = journal.end();
            self.crc = journal.crc();
        }
        Ok(held)
    }
}

/// An output that is read in step with the journal.
struct OutputCheck {
    path: PathBuf,
    file: File,
    length: u64,
    buffer: Vec<u8>,
}

impl OutputCheck {
    fn open(path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|error| Error::io(path, error))?;
        Ok(Self { path: path.to_path_buf(), file, length, buffer: vec![0; CHECK_BUFFER] })
    }

    fn holds(&mut self, start: u64, record: &Record) -> Result<bool> {
        if record.end > self.length {
            return Ok(false);
        }
        let crc = self.crc_of(record.end - start).map_err(|error| Error::io(&self.path, error))?;
        if crc != record.bytes_crc && start == 0 {
            let reason = "the first bytes are not those that the journal recorded; give the file of that run or \
                          start a new run; they should begin";
            return Err(malformed(&self.path, 0, reason));
        }
        Ok(crc == record.bytes_crc)
    }

    fn crc_of(&mut self, mut length: u64) -> std::io::Result<u32> {
        let mut crc = 0;
        while length > 0 {
            let wanted = usize::try_from(length).unwrap_or(CHECK_BUFFER).min(CHECK_BUFFER);
            let chunk = self.buffer.get_mut(..wanted).unwrap_or_default();
            self.file.read_exact(chunk)?;
            crc = extend_crc(crc, chunk);
            length -= wanted as u64;
        }
        Ok(crc)
    }
}
