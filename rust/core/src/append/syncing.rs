//! A sync in a thread of its own.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};

/// Files whose content goes to the disk one after another, and folders for the sake of the names in them.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) files: Vec<(PathBuf, Arc<File>)>,
    pub(super) folders: Vec<PathBuf>,
}

impl Dirty {
    fn sync(&self) -> Result<()> {
        for (path, file) in &self.files {
            file.sync_data().map_err(|error| Error::io(path, error))?;
        }
        self.folders.iter().try_for_each(|folder| sync_folder(folder))
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some network file systems have no such call; their names are durable when the file is.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result.map_err(|error| Error::io(folder, error)),
    }
}

/// A sync under way, or one that has ended well. Whoever lets go of it waits for it, so that no thread has the files
/// open behind their owner.
#[derive(Debug)]
pub(super) struct Sync(Option<JoinHandle<Result<()>>>);

impl Sync {
    /// Begins a sync; carries it out at once when the system has no thread left.
    pub(super) fn begin(dirty: Dirty) -> Result<Self> {
        let dirty = Arc::new(dirty);
        let work = Arc::clone(&dirty);
        match thread::Builder::new().name("sync".to_owned()).spawn(move || work.sync()) {
            Ok(thread) => Ok(Self(Some(thread))),
            Err(_) => dirty.sync().map(|()| Self(None)),
        }
    }

    /// Whether waiting for it would take no time.
    pub(super) fn has_ended(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it has ended, and says how.
    pub(super) fn wait(mut self) -> Result<()> {
        let synced = self.0.take().map_or(Ok(Ok(())), JoinHandle::join);
        synced.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // Who does not ask how it ended has a fault to report already.
            drop(thread.join());
        }
    }
}
