//! The files below one folder that match a pattern, in sorted order, one folder in memory per level.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::names::{EntryKind, Names};
use super::pattern::{Open, Parts};
use crate::error::{Error, Result};

const TOO_MANY_LINKS: i32 = 40; // ELOOP on Linux

pub(super) struct Walk {
    parts: Parts,
    levels: Vec<Level>,
}

/// A folder that the walk is in.
struct Level {
    path: PathBuf,
    names: Names,
    open: Open,
    /// Device and inode, by which a link back to this folder is recognised.
    identity: (u64, u64),
}

impl Walk {
    /// Begins in `base`. A folder that does not exist has no files.
    pub(super) fn new(base: &Path, parts: Parts) -> Result<Self> {
        let named = if base.as_os_str().is_empty() { Path::new(".") } else { base };
        let open = parts.start();
        let mut walk = Self { parts, levels: Vec::new() };
        match fs::metadata(named) {
            Ok(about) if about.is_dir() => walk.enter(base.to_path_buf(), open, &about)?,
            Ok(_) => {}
            Err(fault) if leads_nowhere(&fault) => {}
            Err(fault) => return Err(Error::io(base, fault)),
        }
        Ok(walk)
    }

    pub(super) fn next_file(&mut self) -> Result<Option<PathBuf>> {
        while let Some(level) = self.levels.last_mut() {
            let Some((name, kind)) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let completes = self.parts.completes(level.open, name);
            let below = self.parts.enter(level.open, name);
            if !completes && below == 0 {
                continue;
            }
            let path = level.path.join(name);
            let (kind, about) = follow(&path, kind, below != 0)?;
            match (kind, about) {
                (EntryKind::File, _) if completes => return Ok(Some(path)),
                (EntryKind::Folder, Some(about)) if below != 0 => self.enter(path, below, &about)?,
                _ => {}
            }
        }
        Ok(None)
    }

    fn enter(&mut self, path: PathBuf, open: Open, about: &Metadata) -> Result<()> {
        let identity = (about.dev(), about.ino());
        if self.levels.iter().any(|level| level.identity == identity) {
            return Ok(()); // a link to a folder above: its files are listed there
        }
        let names = Names::read(&path).map_err(|fault| Error::io(&path, fault))?;
        self.levels.push(Level { path, names, open, identity });
        Ok(())
    }
}

/// What an entry is once its link is followed, with the folder's identity if it may be entered.
fn follow(path: &Path, kind: EntryKind, enterable: bool) -> Result<(EntryKind, Option<Metadata>)> {
    if kind != EntryKind::Link && !(kind == EntryKind::Folder && enterable) {
        return Ok((kind, None));
    }
    match fs::metadata(path) {
        Ok(about) => Ok((about.file_type().into(), Some(about))),
        Err(fault) if leads_nowhere(&fault) => Ok((EntryKind::Other, None)),
        Err(fault) => Err(Error::io(path, fault)),
    }
}

fn leads_nowhere(fault: &io::Error) -> bool {
    names_nothing(fault) || fault.raw_os_error() == Some(TOO_MANY_LINKS)
}

/// Whether there cannot be anything of the name: also below a file, or if it is too long.
pub(super) fn names_nothing(fault: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(fault.kind(), NotFound | NotADirectory | InvalidFilename)
}
