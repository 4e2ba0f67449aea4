//! The sorted names of one folder, packed: a folder of ten million files fits in memory.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
    /// A link, whose target has to be looked up.
    Link,
    /// A socket, pipe or device.
    Other,
}

impl From<FileType> for EntryKind {
    fn from(about: FileType) -> Self {
        if about.is_file() {
            Self::File
        } else if about.is_dir() {
            Self::Folder
        } else if about.is_symlink() {
            Self::Link
        } else {
            Self::Other
        }
    }
}

/// The entries of a folder in the order of their names' bytes.
#[derive(Debug)]
pub(super) struct Names {
    text: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    begin: usize,
    length: u16,
    kind: EntryKind,
}

impl Names {
    /// Reads a folder; an empty path is the current folder.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut names = Self { text: Vec::new(), entries: Vec::new(), next: 0 };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            names.push(&entry.file_name().into_vec(), entry.file_type()?.into())?;
        }
        let text = &names.text;
        names.entries.sort_unstable_by(|one, other| one.name(text).cmp(other.name(text)));
        Ok(names)
    }

    pub(super) fn next(&mut self) -> Option<(&OsStr, EntryKind)> {
        let entry = self.entries.get(self.next)?;
        self.next += 1;
        Some((OsStr::from_bytes(entry.name(&self.text)), entry.kind))
    }

    fn push(&mut self, name: &[u8], kind: EntryKind) -> io::Result<()> {
        let length = u16::try_from(name.len()).map_err(io::Error::other)?;
        self.entries.push(Entry { begin: self.text.len(), length, kind });
        self.text.extend_from_slice(name);
        Ok(())
    }
}

impl Entry {
    fn name(self, text: &[u8]) -> &[u8] {
        text.get(self.begin..self.begin + usize::from(self.length)).unwrap_or_default()
    }
}
