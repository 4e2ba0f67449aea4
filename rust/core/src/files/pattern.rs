//! Glob patterns, matched one name at a time, so that a walk enters no folder in which nothing can match.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use crate::error::{Error, Result};

/// What a path has to look like below some folder, name by name.
#[derive(Clone, Debug)]
pub(super) struct Parts(Arc<[Part]>);

#[derive(Debug)]
enum Part {
    /// `**`: any number of folders, and any file when it comes last.
    Deep,
    /// One name; `dotted` when the pattern itself begins with a dot.
    Name { matcher: GlobMatcher, dotted: bool },
}

/// Which parts may come next: bit `i` stands for part `i`.
pub(super) type Open = u64;

const MOST_PARTS: usize = 63;

pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

pub(super) fn is_pattern(path: &Path) -> bool {
    has_wildcard(path.as_os_str())
}

fn has_wildcard(name: &OsStr) -> bool {
    name.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

impl Parts {
    /// What every visible file below a folder looks like.
    pub(super) fn everything() -> Self {
        Self(Arc::new([Part::Deep]))
    }

    /// Cuts a pattern into the folder that it begins with, which may be empty, and the parts below that folder.
    pub(super) fn parse(pattern: &Path) -> Result<(PathBuf, Self)> {
        let is_plain = |part: &Component| !has_wildcard(part.as_os_str());
        let base = pattern.components().take_while(is_plain).collect();
        let parts =
            pattern.components().skip_while(is_plain).map(|part| Part::parse(part.as_os_str(), pattern));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.len() > MOST_PARTS {
            return Err(malformed(pattern, "more than 63 levels"));
        }
        Ok((base, Self(parts.into())))
    }

    pub(super) fn start(&self) -> Open {
        self.reach(1)
    }

    /// What may come after the folder `name`; 0 when nothing below it can match.
    pub(super) fn enter(&self, open: Open, name: &OsStr) -> Open {
        let moved = self.each(open).filter(|(_, part)| part.accepts(name)).map(|(number, part)| match part {
            Part::Deep => 1 << number,
            Part::Name { .. } => 2 << number,
        });
        let entered = self.reach(moved.fold(0, |all, bit: u64| all | bit));
        entered & !(1 << self.0.len()) // a part after the last would say: all matched, nothing may follow
    }

    /// Whether the file `name` completes the pattern.
    pub(super) fn completes(&self, open: Open, name: &OsStr) -> bool {
        self.each(open).any(|(number, part)| number + 1 == self.0.len() && part.accepts(name))
    }

    /// Whether a whole path below the pattern's folder matches.
    pub(super) fn match_path(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        let folders = path.parent().into_iter().flat_map(Path::components);
        let open = folders.fold(self.start(), |open, folder| self.enter(open, folder.as_os_str()));
        self.completes(open, name)
    }

    fn each(&self, open: Open) -> impl Iterator<Item = (usize, &Part)> {
        self.0.iter().enumerate().filter(move |(number, _)| open >> number & 1 == 1)
    }

    /// `**` may stand for no folder at all, so what comes after it is open as well.
    fn reach(&self, open: Open) -> Open {
        let deep = self.0.iter().enumerate().filter(|(_, part)| matches!(part, Part::Deep));
        deep.fold(open, |open, (number, _)| open | (open >> number & 1) << (number + 1))
    }
}

impl Part {
    fn parse(name: &OsStr, pattern: &Path) -> Result<Self> {
        let text = name.to_str().ok_or_else(|| malformed(pattern, "it is not valid UTF-8"))?;
        if text == "**" {
            return Ok(Self::Deep);
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build();
        let matcher = glob.map_err(|fault| malformed(pattern, &fault.kind().to_string()))?.compile_matcher();
        Ok(Self::Name { matcher, dotted: is_hidden(name) })
    }

    fn accepts(&self, name: &OsStr) -> bool {
        match self {
            Self::Deep => !is_hidden(name),
            Self::Name { matcher, dotted } => (*dotted || !is_hidden(name)) && matcher.is_match(name),
        }
    }
}

fn malformed(pattern: &Path, reason: &str) -> Error {
    Error::Option(format!("{}: the pattern cannot be used: {reason}", pattern.display()))
}
