//! The append writer: every mini-batch reaches the output once, and the journal says where.

mod growing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests;

use std::io::ErrorKind;
use std::path::Path;

use self::growing::GrowingFile;
use crate::error::{Error, Result};
use crate::journal::{
    Ending, HEADER_LEN, Identities, Kind, Progress, Record, RunId, encode_header, extend_crc, malformed,
};
use crate::recover::{RunFiles, recover};

/// How much may be appended between two syncs to the disk: what a power loss can cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupCommit {
    /// Bytes of all three files.
    pub bytes: u64,
    /// Seconds, looked at whenever something is appended; infinity for no bound.
    pub seconds: f64,
}

impl GroupCommit {
    /// Whether to sync after `bytes_since` bytes and `seconds_since` seconds without one.
    #[must_use]
    pub fn due(&self, bytes_since: u64, seconds_since: f64) -> bool {
        bytes_since > 0 && (bytes_since >= self.bytes || seconds_since >= self.seconds)
    }

    fn check(self) -> Result<Self> {
        if self.seconds >= 0.0 {
            return Ok(self);
        }
        Err(Error::Option(format!("seconds between syncs must be 0 or more, not {}", self.seconds)))
    }
}

/// The only writer of a run's output, of its failed items and of its journal.
///
/// What an append left is valid after the death of the process at any instant; what a sync left is valid after
/// the loss of power. The format and what survives what are described at [`Journal`](crate::journal::Journal) and
/// in `docs/formats/journal.md`. Without an output file (a run that keeps only its summary) payloads are empty.
///
/// When a write fails, because the disk is full for instance, all files are cut back to where they were and the
/// writer stays usable. When a sync fails, nobody knows what is on the disk: the writer then refuses everything,
/// and the run can be resumed from the journal.
#[derive(Debug)]
pub struct AppendWriter {
    // In this order they go away, too, when creating the run fails: the locked journal last.
    failed_items: GrowingFile,
    output: Option<GrowingFile>,
    journal: GrowingFile,
    crc: u32,
    progress: Progress,
    cut_off: CutOff,
    identities: Identities,
    group: GroupCommit,
    unsynced: u64,
    synced_at: f64,
    now: f64,
    folders_synced: bool,
    sync_failed: bool,
}

/// What resuming a run took off its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    /// Undamaged records whose bytes, or those of one before, were not in the files.
    pub lost: u64,
    /// Whether the journal ended in a record that was cut off or damaged.
    pub torn: bool,
}

impl AppendWriter {
    /// Creates the files; `now` is the caller's clock in seconds.
    ///
    /// # Errors
    /// [`Error::Io`] of kind `AlreadyExists` when one of them is there, or of another kind when one cannot be
    /// created; none is left behind then. [`Error::Option`] for a negative time between syncs.
    pub fn create(files: RunFiles<'_>, run_id: RunId, group: GroupCommit, now: f64) -> Result<Self> {
        let group = group.check()?;
        // First made and last removed, so that whoever sees it finds it locked.
        let journal = GrowingFile::create_locked(files.journal)?;
        let failed_items = GrowingFile::create(files.failed_items)?;
        let output = files.output.map(GrowingFile::create).transpose()?;
        let mut writer = Self::over([failed_items, journal], output, group, now);
        writer.begin(run_id)?;
        Ok(writer)
    }

    /// Goes on after what [`recover`] finds good, and cuts off the rest of all files.
    ///
    /// A run of which nothing was committed begins anew: there is no journal, or less than its header, and there
    /// are no bytes in the other files.
    ///
    /// # Errors
    /// As [`recover`]; when there are bytes in another file, [`Error::Malformed`] for less of the journal than its
    /// header and [`Error::Io`] of kind `NotFound` for none; [`Error::Io`] of kind `WouldBlock` while another process
    /// writes the run, or of another kind when a file cannot be opened for writing or cut; [`Error::Option`] for a
    /// negative time between syncs.
    pub fn resume(files: RunFiles<'_>, run_id: RunId, group: GroupCommit, now: f64) -> Result<Self> {
        let group = group.check()?;
        // Before anything is read, so that no other process is still adding to it.
        let journal = claim_journal(files)?;
        if journal.length()? < HEADER_LEN as u64 {
            return Self::begin_anew(files, journal, run_id, group, now);
        }
        let recovered = recover(files, run_id)?;
        let mut writer = Self::open_others(files, journal, group, now)?;
        let good = recovered.progress.summary();
        // The journal last: one that knows too much of the others is mended by the next recovery.
        writer.failed_items.cut(good.failed_end)?;
        writer.output.as_mut().map_or(Ok(()), |output| output.cut(good.end))?;
        writer.journal.cut(recovered.journal_end)?;
        // What the process before this one appended may not be on the disk yet.
        writer.unsynced = recovered.journal_end.saturating_add(good.end).saturating_add(good.failed_end);
        writer.crc = recovered.crc;
        writer.progress = recovered.progress;
        writer.identities = recovered.identities;
        writer.cut_off = CutOff { lost: recovered.lost, torn: recovered.torn };
        Ok(writer)
    }

    /// Begins on the empty leftovers of a run that died before its journal had a header.
    fn begin_anew(
        files: RunFiles<'_>,
        journal: GrowingFile,
        run_id: RunId,
        group: GroupCommit,
        now: f64,
    ) -> Result<Self> {
        refuse_rows_without_journal(files, Some(journal.length()?))?;
        let mut writer = Self::open_others(files, journal, group, now)?;
        // Longer than what is left of the journal, so it covers all of that.
        writer.begin(run_id)?;
        Ok(writer)
    }

    fn open_others(files: RunFiles<'_>, journal: GrowingFile, group: GroupCommit, now: f64) -> Result<Self> {
        let failed_items = GrowingFile::open_or_make(files.failed_items)?;
        let output = files.output.map(GrowingFile::open_or_make).transpose()?;
        Ok(Self::over([failed_items, journal], output, group, now))
    }

    fn over(files: [GrowingFile; 2], output: Option<GrowingFile>, group: GroupCommit, now: f64) -> Self {
        let [failed_items, journal] = files;
        Self {
            failed_items,
            output,
            journal,
            crc: 0,
            progress: Progress::default(),
            cut_off: CutOff::default(),
            identities: Identities::default(),
            group,
            unsynced: 0,
            synced_at: now,
            now,
            folders_synced: false,
            sync_failed: false,
        }
    }

    /// Writes the header of the journal; with it the run has begun, so its files stay.
    fn begin(&mut self, run_id: RunId) -> Result<()> {
        let (header, crc) = encode_header(&run_id);
        match self.journal.write(&[&header]) {
            Ok(end) => self.journal.adopt(end),
            Err(error) => {
                drop(self.journal.mend());
                return Err(error);
            }
        }
        self.crc = crc;
        self.unsynced = self.journal.end;
        self.files().for_each(GrowingFile::keep);
        Ok(())
    }

    /// All files in the order in which they are written and synced: the journal behind those it speaks of.
    fn files(&mut self) -> impl Iterator<Item = &mut GrowingFile> {
        [Some(&mut self.failed_items), self.output.as_mut(), Some(&mut self.journal)].into_iter().flatten()
    }

    /// What was appended so far.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What resuming this run cut off; nothing for a new one.
    #[must_use]
    pub fn cut_off(&self) -> CutOff {
        self.cut_off
    }

    /// The identity of a mini-batch that had ended when the run was resumed.
    #[must_use]
    pub fn identity(&self, index: u64) -> Option<u32> {
        self.identities.get(index)
    }

    /// Writes the header line, before any other byte of the output; returns the new end of the output.
    ///
    /// # Errors
    /// As [`AppendWriter::append`].
    pub fn preamble(&mut self, payload: &[u8], now: f64) -> Result<u64> {
        self.append(Kind::Preamble, Ending::default(), &[payload], &[], now)
    }

    /// Ends a mini-batch: its lines of failed items, its rows, then its record; returns the new end of the output
    /// in bytes.
    ///
    /// # Errors
    /// [`Error::Option`] for what may not come next (a mini-batch that has ended already, more items succeeded
    /// than there are or were returned, rows of a failed one, rows without an output file); [`Error::Io`] when a
    /// write fails, after which the writer stays usable, or when a sync fails, after which it does not although
    /// the mini-batch has ended.
    pub fn append(
        &mut self,
        kind: Kind,
        ending: Ending,
        payload: &[&[u8]],
        failed_items: &[u8],
        now: f64,
    ) -> Result<u64> {
        self.mend()?;
        let record = self.record(kind, ending, payload, failed_items)?;
        let (bytes, crc) = record.encode(self.crc);
        if let Err(error) = self.write(payload, failed_items, &bytes) {
            // If a cut fails too, the next call repeats it before it does anything else.
            drop(self.mend());
            return Err(error);
        }
        let before = self.progress.summary();
        let added = (record.end - before.end).saturating_add(record.failed_end - before.failed_end);
        self.progress.apply(&record).map_err(Error::Option)?;
        self.crc = crc;
        self.unsynced = self.unsynced.saturating_add(added).saturating_add(bytes.len() as u64);
        self.now = now;
        if self.group.due(self.unsynced, now - self.synced_at) {
            self.sync()?;
        }
        Ok(record.end)
    }

    fn record(&self, kind: Kind, ending: Ending, payload: &[&[u8]], failed_items: &[u8]) -> Result<Record> {
        let before = self.progress.summary();
        let (end, output_crc) = lengthened("the output", before.end, payload)?;
        let (failed_end, failed_crc) = lengthened("the failed items", before.failed_end, &[failed_items])?;
        if self.output.is_none() && end > 0 {
            return Err(Error::Option("this run has no output file, so a payload must be empty".to_owned()));
        }
        let record = Record { kind, ending, end, failed_end, output_crc, failed_crc };
        self.progress.check(&record).map_err(Error::Option)?;
        Ok(record)
    }

    fn write(&mut self, payload: &[&[u8]], failed_items: &[u8], record: &[u8]) -> Result<()> {
        let failed_end = self.failed_items.write(&[failed_items])?;
        let end = self.output.as_mut().map(|output| output.write(payload)).transpose()?;
        let journal_end = self.journal.write(&[record])?;
        self.failed_items.adopt(failed_end);
        if let (Some(output), Some(end)) = (&mut self.output, end) {
            output.adopt(end);
        }
        self.journal.adopt(journal_end);
        Ok(())
    }

    /// Refuses after a failed sync; cuts off what a failed write left.
    fn mend(&mut self) -> Result<()> {
        if self.sync_failed {
            let reason = "an earlier sync failed, so what is on the disk is unknown; resume the run";
            return Err(Error::io(&self.journal.path, std::io::Error::other(reason)));
        }
        self.files().try_for_each(GrowingFile::mend)
    }

    /// Brings everything to the disk, the journal after the files that it speaks of.
    ///
    /// # Errors
    /// [`Error::Io`]; the writer refuses everything afterwards.
    pub fn sync(&mut self) -> Result<()> {
        self.mend()?;
        if self.unsynced > 0 {
            let synced = self.sync_files();
            self.sync_failed = synced.is_err();
            synced?;
            self.unsynced = 0;
        }
        self.synced_at = self.now;
        Ok(())
    }

    fn sync_files(&mut self) -> Result<()> {
        self.files().try_for_each(GrowingFile::sync)?;
        if !self.folders_synced {
            self.files().try_for_each(|file| file.sync_folder())?;
            self.folders_synced = true;
        }
        Ok(())
    }

    /// Syncs and closes; returns the length of the output in bytes.
    ///
    /// # Errors
    /// As [`AppendWriter::sync`]; the files are closed all the same.
    pub fn close(mut self) -> Result<u64> {
        self.sync()?;
        Ok(self.progress.summary().end)
    }
}

/// The end and the CRC of the bytes when `slices` are added to a file.
fn lengthened(file: &str, end: u64, slices: &[&[u8]]) -> Result<(u64, u32)> {
    let end = slices.iter().try_fold(end, |end, slice| end.checked_add(slice.len() as u64));
    let end = end.ok_or_else(|| Error::Option(format!("{file} would be too long")))?;
    Ok((end, slices.iter().fold(0, |crc, slice| extend_crc(crc, slice))))
}

/// Opens and locks the journal of a run to be resumed; makes an empty one if no file of the run has bytes.
fn claim_journal(files: RunFiles<'_>) -> Result<GrowingFile> {
    let journal = match GrowingFile::open(files.journal) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            refuse_rows_without_journal(files, None)?;
            GrowingFile::open_or_make(files.journal)?
        }
        opened => opened?,
    };
    journal.lock()?;
    Ok(journal)
}

/// Refuses bytes that no journal speaks of; changes nothing. `length` is that of the journal, `None` without one.
fn refuse_rows_without_journal(files: RunFiles<'_>, length: Option<u64>) -> Result<()> {
    for path in files.output.into_iter().chain([files.failed_items]) {
        let bytes = match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            found => found.map_err(|error| Error::io(path, error))?.len(),
        };
        if bytes > 0 {
            return Err(rows_without_journal(files.journal, length, path, bytes));
        }
    }
    Ok(())
}

fn rows_without_journal(journal: &Path, length: Option<u64>, grown: &Path, bytes: u64) -> Error {
    let state = if length.is_some() { "damaged" } else { "missing" };
    let reason = format!(
        "the journal is {state}, so nobody knows which of the {bytes} bytes of {} are good and nothing was touched; \
         put a copy of it back, or start a new run",
        grown.display()
    );
    match length {
        Some(length) => malformed(journal, length, format!("{reason}; its header breaks off")),
        None => Error::io(journal, std::io::Error::new(ErrorKind::NotFound, reason)),
    }
}
