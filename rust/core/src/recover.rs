//! What is good of a run that ended somehow: the journal held against the files that grow under it.

mod check;

use std::path::Path;

use self::check::GrownCheck;
use crate::error::{Error, Result};
use crate::journal::{Identities, Journal, Kind, Progress, Record, RunId, malformed};

/// The files of a run that the append writer owns.
#[derive(Clone, Copy, Debug)]
pub struct RunFiles<'a> {
    /// The rows; `None` for a run that keeps only its summary.
    pub output: Option<&'a Path>,
    /// The lines about items that failed.
    pub failed_items: &'a Path,
    /// The journal that speaks of both.
    pub journal: &'a Path,
}

/// What is good of a run that ended somehow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What the good records come to; its summary has the valid lengths of the output and the failed items.
    pub progress: Progress,
    /// The identities of the mini-batches that ended.
    pub identities: Identities,
    /// The valid length of the journal.
    pub journal_end: u64,
    /// The running CRC of the journal there.
    pub crc: u32,
    /// Whether the journal ended in a record that is cut off or damaged.
    pub torn: bool,
    /// Undamaged records that do not count, because their bytes or those of one before are not in the files.
    pub lost: u64,
}

/// Finds what is good: the records before the first damaged one whose bytes are all in the files, unchanged.
///
/// Reads every file once, through buffers of fixed size; changes nothing. A file that is missing counts as empty
/// as long as no record has bytes in it.
///
/// # Errors
/// [`Error::Io`] when a file cannot be read. [`Error::Malformed`] when the journal cannot be used ([`Journal`]),
/// belongs to another run, contradicts itself, needs an output file and got none, or when the very first bytes of
/// the output or of the failed items are not those of this run, so that cutting could destroy something else.
pub fn recover(files: RunFiles<'_>, run_id: RunId) -> Result<Recovered> {
    let mut journal = Journal::open(files.journal)?;
    if journal.run_id() != run_id {
        let reason = "the journal belongs to another run; put that of this run back, or start a new run; their ids differ";
        return Err(malformed(files.journal, 12, reason));
    }
    let mut recovery = Recovery {
        output: files.output.map(GrownCheck::open).transpose()?,
        failed_items: GrownCheck::open(files.failed_items)?,
        good: Recovered {
            progress: Progress::default(),
            identities: Identities::default(),
            journal_end: journal.end(),
            crc: journal.crc(),
            torn: false,
            lost: 0,
        },
    };
    while let Some(record) = journal.next_record()? {
        recovery.take(&record, &journal)?;
    }
    Ok(Recovered { torn: journal.torn(), ..recovery.good })
}

/// The files read in step with the journal.
struct Recovery {
    output: Option<GrownCheck>,
    failed_items: GrownCheck,
    good: Recovered,
}

impl Recovery {
    /// Takes in a record that `journal` has just returned, or counts it as lost.
    fn take(&mut self, record: &Record, journal: &Journal) -> Result<()> {
        let contradiction = |at, reason| malformed(journal.path(), at, reason);
        if self.good.lost == 0 {
            let law = self.good.progress.check(record);
            law.map_err(|reason| contradiction(self.good.journal_end, reason))?;
        }
        // Also behind a loss, and in both files: the first bytes of neither may be somebody else's.
        let in_failed_items = self.failed_items.holds(record.failed_end, record.failed_crc)?;
        let in_output = match &mut self.output {
            Some(output) => output.holds(record.end, record.output_crc)?,
            None if record.end == 0 => true,
            None => {
                let reason =
                    "this run has an output file, but none was given; the first record with bytes ends";
                return Err(contradiction(journal.end(), reason.to_owned()));
            }
        };
        if !(in_output && in_failed_items) {
            self.good.lost += 1;
            return Ok(());
        }
        self.good.progress.apply(record).map_err(Error::Option)?;
        if record.kind != Kind::Preamble {
            self.good.identities.insert(record.ending.index, record.ending.identity);
        }
        self.good.journal_end = journal.end();
        self.good.crc = journal.crc();
        Ok(())
    }
}
