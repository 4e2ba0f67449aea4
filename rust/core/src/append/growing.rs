//! A file that only grows, and can be cut back to its last good end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file that is written at its end only, where `end` is the last good one.
#[derive(Debug)]
pub(super) struct GrowingFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) end: u64,
    /// Whether there may be bytes behind `end`.
    pub(super) ragged: bool,
}

impl GrowingFile {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| Error::io(path, error))?;
        Ok(Self { path: path.to_path_buf(), file, end: 0, ragged: false })
    }

    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = || {
            let file = OpenOptions::new().write(true).open(path)?;
            let end = file.metadata()?.len();
            Ok(Self { path: path.to_path_buf(), file, end, ragged: false })
        };
        open().map_err(|error| Error::io(path, error))
    }

    /// Keeps other processes from locking the file while this one has it open.
    pub(super) fn lock(&self) -> Result<()> {
        match self.file.try_lock() {
            // Some network file systems have no locks; there the caller has to see to it.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(()),
            Err(TryLockError::Error(error)) => Err(Error::io(&self.path, error)),
            Err(TryLockError::WouldBlock) => {
                let reason = "another process is writing this run; wait until it ends, or end it";
                Err(Error::io(&self.path, std::io::Error::new(ErrorKind::WouldBlock, reason)))
            }
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn cut(&mut self, end: u64) -> Result<()> {
        self.end = end;
        self.ragged = true;
        self.mend()
    }

    /// Writes behind `end` and returns the new end, which the caller adopts once the other file is written too.
    pub(super) fn write(&mut self, slices: &[&[u8]]) -> Result<u64> {
        let mut end = self.end;
        self.ragged = true;
        for slice in slices {
            self.file.write_all_at(slice, end).map_err(|error| Error::io(&self.path, error))?;
            end += slice.len() as u64;
        }
        Ok(end)
    }

    pub(super) fn adopt(&mut self, end: u64) {
        self.end = end;
        self.ragged = false;
    }

    /// Cuts off what a failed write left.
    pub(super) fn mend(&mut self) -> Result<()> {
        if self.ragged {
            self.file.set_len(self.end).map_err(|error| Error::io(&self.path, error))?;
            self.ragged = false;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io(&self.path, error))
    }

    /// Makes the name of the file as durable as its content.
    pub(super) fn sync_folder(&self) -> Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // Some network file systems have no such call; their names are durable when the file is.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            result => result.map_err(|error| Error::io(folder, error)),
        }
    }

    /// Removes a file that this process has just created, on the way out with an error.
    pub(super) fn discard(&self) {
        // The error on the way out is the one to report; all that can stay behind is an empty file.
        drop(std::fs::remove_file(&self.path));
    }
}
