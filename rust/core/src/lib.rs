//! The core of batch-score: scanning files into mini-batches, numbers from text and rows to text, and appending keyed
//! results exactly once.
//!
//! | what | modules |
//! |---|---|
//! | which files there are | `files` |
//! | where records and mini-batches begin and end | `dialect`, `mask`, `scan`, `records`, `cut`, `plan` |
//! | bytes of files, compressed or in other encodings | `source`, `stream`, `transcode` |
//! | text to numbers, and rows to text | `tensor`, `rows` |
//! | the output and its journal | `append`, `journal`, `recover` |
//! | workers that end with their coordinator | `guard` |
//!
//! The crate knows nothing of Python. Every fault is an [`Error`] that says what happened and where.
#![forbid(unsafe_code)]

pub mod append;
pub mod cut;
pub mod dialect;
pub mod error;
pub mod files;
pub mod guard;
pub mod journal;
pub mod mask;
pub mod plan;
pub mod records;
pub mod recover;
pub mod rows;
pub mod scan;
pub mod source;
pub mod stream;
pub mod tensor;
pub mod transcode;

pub use error::{Error, Result};
