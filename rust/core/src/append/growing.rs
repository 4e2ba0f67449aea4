//! A file that only grows, and can be cut back to its last good end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use super::syncing::Dirty;
use crate::error::{Error, Result};

/// After so many bytes the system is asked to begin writing them. Then a sync finds little left to do, and its lock on
/// the file does not hold up the writer.
const WRITE_BACK_BYTES: u64 = 4 << 20;
/// The last page may still grow, and a page on its way to the disk makes the next write wait. No system has larger ones.
const PAGE: u64 = 64 << 10;

/// A file that is written at its end only, where `end` is the last good one.
#[derive(Debug)]
pub(super) struct GrowingFile {
    pub(super) path: PathBuf,
    // Shared with the thread that syncs it, which does nothing else with it.
    pub(super) file: Arc<File>,
    pub(super) end: u64,
    /// Up to where the system was asked to bring the file to the disk.
    pub(super) written_back: u64,
    /// Whether there may be bytes behind `end`.
    ragged: bool,
    /// Whether there may be something that no sync was asked for yet.
    unsynced: bool,
    /// Whether the file goes away with this value: it was created, and what it belongs to is not complete.
    fresh: bool,
}

impl GrowingFile {
    /// Creates a file that is removed again unless it is kept ([`GrowingFile::keep`]).
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut file = Self::over(path, OpenOptions::new().write(true).create_new(true))?;
        file.fresh = true;
        Ok(file)
    }

    /// Creates a file like [`GrowingFile::create`], and locks it.
    pub(super) fn create_locked(path: &Path) -> Result<Self> {
        let mut file = Self::create(path)?;
        // From here to the lock others may open it, lock it first, and make it theirs.
        file.fresh = false;
        match file.lock() {
            Ok(()) if file.length()? > 0 => return Err(Error::io(path, ErrorKind::AlreadyExists.into())),
            Err(Error::Io { path, source }) if source.kind() == ErrorKind::WouldBlock => {
                return Err(Error::Io { path, source });
            }
            locked => {
                file.fresh = true;
                locked?;
            }
        }
        Ok(file)
    }

    /// Opens a file that is there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::over(path, OpenOptions::new().write(true))
    }

    /// Opens a file as it is, or makes an empty one.
    pub(super) fn open_or_make(path: &Path) -> Result<Self> {
        Self::over(path, OpenOptions::new().write(true).create(true).truncate(false))
    }

    fn over(path: &Path, options: &OpenOptions) -> Result<Self> {
        let file = options.open(path).map_err(|error| Error::io(path, error))?;
        let (path, file) = (path.to_path_buf(), Arc::new(file));
        Ok(Self { path, file, end: 0, written_back: 0, ragged: false, unsynced: true, fresh: false })
    }

    /// The file stays, whatever happens to this value.
    pub(super) fn keep(&mut self) {
        self.fresh = false;
    }

    /// How long the file is now.
    pub(super) fn length(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| Error::io(&self.path, error))
    }

    /// Keeps other processes from locking the file while this one has it open.
    pub(super) fn lock(&self) -> Result<()> {
        match self.file.try_lock() {
            // Some network file systems have no locks; there the caller has to see to it.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => self.check_place(),
            Err(TryLockError::Error(error)) => Err(Error::io(&self.path, error)),
            Err(TryLockError::WouldBlock) => Err(self.taken()),
            Ok(()) => self.check_place(),
        }
    }

    /// A file that its creator removed while this process was opening it is nobody's, so its lock says nothing.
    fn check_place(&self) -> Result<()> {
        let place = |of: std::io::Result<std::fs::Metadata>| of.map(|of| (of.dev(), of.ino()));
        match (place(self.file.metadata()), place(std::fs::metadata(&self.path))) {
            (Ok(opened), Ok(named)) if opened == named => Ok(()),
            (Err(error), _) => Err(Error::io(&self.path, error)),
            _ => Err(self.taken()),
        }
    }

    fn taken(&self) -> Error {
        let reason = "another process is writing this run; wait until it ends, or end it";
        Error::io(&self.path, std::io::Error::new(ErrorKind::WouldBlock, reason))
    }

    pub(super) fn cut(&mut self, end: u64) -> Result<()> {
        self.end = end;
        self.written_back = end;
        self.ragged = true;
        self.mend()
    }

    /// Writes behind `end` and returns the new end, which the caller adopts once the other files are written too.
    pub(super) fn write(&mut self, slices: &[&[u8]]) -> Result<u64> {
        let mut end = self.end;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            self.ragged = true;
            self.unsynced = true;
            self.file.write_all_at(slice, end).map_err(|error| Error::io(&self.path, error))?;
            end += slice.len() as u64;
        }
        Ok(end)
    }

    pub(super) fn adopt(&mut self, end: u64) {
        self.end = end;
        self.ragged = false;
        self.begin_write_back();
    }

    /// Asks the system to begin bringing what is complete to the disk, and waits for none of it.
    fn begin_write_back(&mut self) {
        let complete = self.end / PAGE * PAGE;
        let length = complete.saturating_sub(self.written_back);
        if length < WRITE_BACK_BYTES {
            return;
        }
        // `DontNeed` makes Linux write dirty pages at once, and it drops only those that are on the disk already:
        // none here. It is a hint: what a system makes of it changes nothing but the duration of the next sync.
        let _ = fadvise(&self.file, self.written_back, NonZeroU64::new(length), Advice::DontNeed);
        self.written_back = complete;
    }

    /// Cuts off what a failed write left.
    pub(super) fn mend(&mut self) -> Result<()> {
        if self.ragged {
            self.file.set_len(self.end).map_err(|error| Error::io(&self.path, error))?;
            self.ragged = false;
            self.unsynced = true;
        }
        Ok(())
    }

    /// Adds what a sync has to bring to the disk; it is taken for synced from here on.
    pub(super) fn give(&mut self, dirty: &mut Dirty) {
        if std::mem::take(&mut self.unsynced) {
            dirty.files.push((self.path.clone(), Arc::clone(&self.file)));
        }
    }

    /// Where the name of the file is.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
    }
}

impl Drop for GrowingFile {
    fn drop(&mut self) {
        if self.fresh {
            // The error on the way out is the one to report; all that can stay behind is an empty file.
            drop(std::fs::remove_file(&self.path));
        }
    }
}
