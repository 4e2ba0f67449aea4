//! The core of batch-score: scanning files into mini-batches and appending keyed results exactly once.
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
