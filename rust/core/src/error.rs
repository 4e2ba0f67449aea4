//! The one error type of the core: what went wrong, and where.

use std::path::{Path, PathBuf};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault, with the place it happened as fields rather than as text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, read, list or write a file.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A path, glob or folder of the input yields nothing to score.
    #[error("{input}: {reason}")]
    NoInput {
        /// The path, folder or glob as given.
        input: String,
        /// What is missing.
        reason: &'static str,
    },
    /// The content of a file is not what its format promises.
    #[error("{path}: {reason} at byte {offset}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Offset in the (decoded) file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// An option has a value that cannot be used.
    #[error("{0}")]
    Option(String),
}

impl Error {
    /// Wraps what the operating system answered for `path`.
    #[must_use]
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
}
