//! The append writer: every mini-batch reaches the output once, and the journal says where.

mod growing;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::path::Path;

use self::growing::GrowingFile;
use crate::error::{Error, Result};
use crate::journal::{Ending, Kind, Progress, Record, RunId, encode_header, extend_crc};
use crate::recover::recover;

/// How much may be appended between two syncs to the disk: what a power loss can cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupCommit {
    /// Bytes of output and journal.
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

/// The only writer of a run's output and of its journal.
///
/// What an append left is valid after the death of the process at any instant; what a sync left is valid after
/// the loss of power. The format and what survives what are described at [`Journal`] and in
/// `docs/formats/journal.md`. Without an output file (a run that keeps only the summary) payloads are empty.
///
/// When a write fails, because the disk is full for instance, both files are cut back to where they were and the
/// writer stays usable. When a sync fails, nobody knows what is on the disk: the writer then refuses everything,
/// and the run can be resumed from the journal.
#[derive(Debug)]
pub struct AppendWriter {
    output: Option<GrowingFile>,
    journal: GrowingFile,
    crc: u32,
    progress: Progress,
    group: GroupCommit,
    unsynced: u64,
    synced_at: f64,
    now: f64,
    folders_synced: bool,
    sync_failed: bool,
}

impl AppendWriter {
    /// Creates both files; `now` is the caller's clock in seconds.
    ///
    /// # Errors
    /// [`Error::Io`] of kind `AlreadyExists` when either file is there, or of another kind when one cannot be
    /// created; neither is left behind then. [`Error::Option`] for a negative time between syncs.
    pub fn create(
        output: Option<&Path>,
        journal: &Path,
        run_id: RunId,
        group: GroupCommit,
        now: f64,
    ) -> Result<Self> {
        let group = group.check()?;
        let output = output.map(GrowingFile::create).transpose()?;
        let begun = GrowingFile::create(journal).and_then(|file| begin_journal(file, run_id));
        let (journal, crc) = begun.inspect_err(|_| {
            if let Some(output) = &output {
                output.discard();
            }
        })?;
        let unsynced = journal.end;
        Ok(Self { crc, unsynced, ..Self::over(output, journal, group, now) })
    }

    /// Goes on after what [`recover`] finds good, and cuts off the rest of both files.
    ///
    /// # Errors
    /// As [`recover`]; [`Error::Io`] of kind `WouldBlock` while another process writes the run, or of another kind
    /// when a file cannot be opened for writing or cut; [`Error::Option`] for a negative time between syncs.
    pub fn resume(
        output: Option<&Path>,
        journal: &Path,
        run_id: RunId,
        group: GroupCommit,
        now: f64,
    ) -> Result<Self> {
        let group = group.check()?;
        // Before anything is read, so that no other process is still adding to it.
        let opened = GrowingFile::open(journal)?;
        opened.lock()?;
        let recovered = recover(output, journal, run_id)?;
        let mut journal = opened;
        let mut output = output.map(GrowingFile::open).transpose()?;
        let end = recovered.progress.summary().end;
        // The output first: a journal that knows too much of it is mended by the next recovery.
        output.as_mut().map_or(Ok(()), |output| output.cut(end))?;
        journal.cut(recovered.journal_end)?;
        // What the process before this one appended may not be on the disk yet.
        let unsynced = journal.end.saturating_add(end);
        let (crc, progress) = (recovered.crc, recovered.progress);
        Ok(Self { crc, progress, unsynced, ..Self::over(output, journal, group, now) })
    }

    fn over(output: Option<GrowingFile>, journal: GrowingFile, group: GroupCommit, now: f64) -> Self {
        Self {
            output,
            journal,
            crc: 0,
            progress: Progress::default(),
            group,
            unsynced: 0,
            synced_at: now,
            now,
            folders_synced: false,
            sync_failed: false,
        }
    }

    /// What was appended so far.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Writes the header line, before any other byte of the output; returns the new end of the output.
    ///
    /// # Errors
    /// As [`AppendWriter::append`].
    pub fn preamble(&mut self, payload: &[u8], now: f64) -> Result<u64> {
        self.write(Kind::Preamble, Ending::default(), &[payload], now)
    }

    /// Commits a mini-batch: its bytes, then its record; returns the new end of the output in bytes.
    ///
    /// # Errors
    /// [`Error::Option`] for what may not come next (a mini-batch that has ended already, more items succeeded
    /// than there are, bytes without an output file); [`Error::Io`] when a write fails, after which the writer
    /// stays usable, or when a sync fails, after which it does not although this mini-batch is committed.
    pub fn append(&mut self, ending: Ending, payload: &[&[u8]], now: f64) -> Result<u64> {
        self.write(Kind::Committed, ending, payload, now)
    }

    /// Records that a mini-batch failed for good.
    ///
    /// # Errors
    /// As [`AppendWriter::append`].
    pub fn fail(&mut self, ending: Ending, now: f64) -> Result<()> {
        self.write(Kind::Failed, ending, &[], now).map(drop)
    }

    fn write(&mut self, kind: Kind, ending: Ending, payload: &[&[u8]], now: f64) -> Result<u64> {
        self.mend()?;
        let record = self.record(kind, ending, payload)?;
        let (bytes, crc) = record.encode(self.crc);
        if let Err(error) = self.write_both(payload, &bytes) {
            // If a cut fails too, the next call repeats it before it does anything else.
            drop(self.mend());
            return Err(error);
        }
        let added = record.end - self.progress.summary().end;
        self.progress.apply(&record).map_err(Error::Option)?;
        self.crc = crc;
        self.unsynced = self.unsynced.saturating_add(added).saturating_add(bytes.len() as u64);
        self.now = now;
        if self.group.due(self.unsynced, now - self.synced_at) {
            self.sync()?;
        }
        Ok(record.end)
    }

    fn record(&self, kind: Kind, ending: Ending, payload: &[&[u8]]) -> Result<Record> {
        let start = self.progress.summary().end;
        let end = payload.iter().try_fold(start, |end, slice| end.checked_add(slice.len() as u64));
        let end = end.ok_or_else(|| Error::Option("the output would be too long".to_owned()))?;
        if self.output.is_none() && end > 0 {
            return Err(Error::Option("this run has no output file, so a payload must be empty".to_owned()));
        }
        let bytes_crc = payload.iter().fold(0, |crc, slice| extend_crc(crc, slice));
        let record = Record { kind, ending, end, bytes_crc };
        self.progress.check(&record).map_err(Error::Option)?;
        Ok(record)
    }

    fn write_both(&mut self, payload: &[&[u8]], record: &[u8]) -> Result<()> {
        let Some(output) = &mut self.output else {
            let end = self.journal.write(&[record])?;
            self.journal.adopt(end);
            return Ok(());
        };
        let end = output.write(payload)?;
        let journal_end = self.journal.write(&[record])?;
        self.journal.adopt(journal_end);
        output.adopt(end);
        Ok(())
    }

    /// Refuses after a failed sync; cuts off what a failed write left.
    fn mend(&mut self) -> Result<()> {
        if self.sync_failed {
            let reason = "an earlier sync failed, so what is on the disk is unknown; resume the run";
            return Err(Error::io(&self.journal.path, std::io::Error::other(reason)));
        }
        self.journal.mend()?;
        self.output.as_mut().map_or(Ok(()), GrowingFile::mend)
    }

    /// Brings everything to the disk, the output before the journal that speaks of it.
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
        if let Some(output) = &self.output {
            output.sync()?;
        }
        self.journal.sync()?;
        if !self.folders_synced {
            for file in self.output.iter().chain([&self.journal]) {
                file.sync_folder()?;
            }
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

fn begin_journal(mut journal: GrowingFile, run_id: RunId) -> Result<(GrowingFile, u32)> {
    let (header, crc) = encode_header(&run_id);
    let begun = journal.lock().and_then(|()| journal.write(&[&header]));
    let end = begun.inspect_err(|_| journal.discard())?;
    journal.adopt(end);
    Ok((journal, crc))
}
