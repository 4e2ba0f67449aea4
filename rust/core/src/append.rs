//! The append writer: every mini-batch reaches the output once, and the journal says where.

mod group_commit;
mod growing;
mod syncing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests;

use std::io::ErrorKind;
use std::path::Path;

pub use self::group_commit::GroupCommit;
use self::group_commit::{Due, Exposure};
use self::growing::GrowingFile;
use self::syncing::{Dirty, Sync};
use crate::error::{Error, Result};
use crate::journal::{
    Ending, HEADER_LEN, Identities, Kind, Progress, Record, RunId, encode_header, extend_crc, malformed,
};
use crate::recover::{RunFiles, recover};

/// The only writer of a run's output, of its failed items and of its journal.
///
/// What an append left is valid after the death of the process at any instant; what a sync left is valid after
/// the loss of power. The format and what survives what are described at [`Journal`](crate::journal::Journal) and
/// in `docs/formats/journal.md`. Without an output file (a run that keeps only its summary) payloads are empty.
///
/// When a write fails, because the disk is full for instance, all files are cut back to where they were and the
/// writer stays usable. Syncs run in a thread of their own, one at a time ([`GroupCommit`]). When one fails, nobody
/// knows what is on the disk: the writer then refuses everything, and the run can be resumed from the journal.
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
    exposed: Exposure,
    sync: Option<Sync>,
    sync_failed: bool,
    folders_synced: bool,
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
        let mut writer = Self::over([failed_items, journal], output, group);
        writer.begin(run_id, now)?;
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
        let mut writer = Self::open_others(files, journal, group)?;
        let good = recovered.progress.summary();
        // The journal last: one that knows too much of the others is mended by the next recovery.
        writer.failed_items.cut(good.failed_end)?;
        writer.output.as_mut().map_or(Ok(()), |output| output.cut(good.end))?;
        writer.journal.cut(recovered.journal_end)?;
        // What the process before this one appended may not be on the disk yet.
        let all = recovered.journal_end.saturating_add(good.end).saturating_add(good.failed_end);
        writer.exposed.append(all, now);
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
        let mut writer = Self::open_others(files, journal, group)?;
        // Longer than what is left of the journal, so it covers all of that.
        writer.begin(run_id, now)?;
        Ok(writer)
    }

    fn open_others(files: RunFiles<'_>, journal: GrowingFile, group: GroupCommit) -> Result<Self> {
        let failed_items = GrowingFile::open_or_make(files.failed_items)?;
        let output = files.output.map(GrowingFile::open_or_make).transpose()?;
        Ok(Self::over([failed_items, journal], output, group))
    }

    fn over(files: [GrowingFile; 2], output: Option<GrowingFile>, group: GroupCommit) -> Self {
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
            exposed: Exposure::NONE,
            sync: None,
            sync_failed: false,
            folders_synced: false,
        }
    }

    /// Writes the header of the journal; with it the run has begun, so its files stay.
    fn begin(&mut self, run_id: RunId, now: f64) -> Result<()> {
        let (header, crc) = encode_header(&run_id);
        match self.journal.write(&[&header]) {
            Ok(end) => self.journal.adopt(end),
            Err(error) => {
                drop(self.journal.mend());
                return Err(error);
            }
        }
        self.crc = crc;
        self.exposed.append(self.journal.end, now);
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
        self.exposed.append(added.saturating_add(bytes.len() as u64), now);
        self.keep_up(now)?;
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

    /// Does what group commit asks for at `now`; for callers that append nothing for a while.
    ///
    /// # Errors
    /// [`Error::Io`] when a sync has failed; the writer refuses everything afterwards.
    pub fn keep_up(&mut self, now: f64) -> Result<()> {
        self.mend()?;
        if self.sync.as_ref().is_some_and(Sync::has_ended) {
            self.wait()?;
        }
        loop {
            match self.group.due(&self.exposed, now) {
                Due::Nothing => return Ok(()),
                Due::Begin => return self.begin_sync(),
                Due::Wait => {
                    self.begin_sync()?;
                    self.wait()?;
                }
            }
        }
    }

    /// Begins to bring everything appended so far to the disk, unless a sync is under way.
    ///
    /// # Errors
    /// As [`AppendWriter::sync`].
    pub fn begin_sync(&mut self) -> Result<()> {
        self.mend()?;
        if self.sync.is_none() && self.exposed.waiting.bytes > 0 {
            // The journal last: rows that were there when this began are on the disk before their records.
            let mut dirty = Dirty::default();
            self.files().for_each(|file| file.give(&mut dirty));
            if !std::mem::replace(&mut self.folders_synced, true) {
                dirty.folders = self.files().map(|file| file.folder().to_path_buf()).collect();
            }
            self.exposed.begin();
            self.sync = Some(self.settled(Sync::begin(dirty))?);
        }
        Ok(())
    }

    /// Waits for the sync under way, if there is one.
    fn wait(&mut self) -> Result<()> {
        if let Some(sync) = self.sync.take() {
            self.settled(sync.wait())?;
            self.exposed.end();
        }
        Ok(())
    }

    fn settled<T>(&mut self, synced: Result<T>) -> Result<T> {
        self.sync_failed |= synced.is_err();
        synced
    }

    /// Brings everything appended so far to the disk, the journal after the files that it speaks of.
    ///
    /// # Errors
    /// [`Error::Io`]; the writer refuses everything afterwards.
    pub fn sync(&mut self) -> Result<()> {
        self.wait()?;
        self.begin_sync()?;
        self.wait()
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
