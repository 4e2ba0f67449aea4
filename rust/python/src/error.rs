//! The one place where a core error becomes a Python exception.

use std::io::ErrorKind;

use batch_score_core::Error;
use pyo3::exceptions::{PyFileExistsError, PyFileNotFoundError, PyOSError, PyPermissionError};
use pyo3::{PyErr, import_exception};

import_exception!(batch_score.errors, ConfigError);
import_exception!(batch_score.errors, InputError);
import_exception!(batch_score.errors, RecordError);

/// Maps a core error to the exact built-in where Python has one, else to the class of `batch_score.errors`.
#[allow(clippy::needless_pass_by_value, reason = "so that it can be handed to `map_err`")]
pub fn to_python(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Io { source, .. } => match source.kind() {
            ErrorKind::NotFound => PyFileNotFoundError::new_err(message),
            ErrorKind::PermissionDenied => PyPermissionError::new_err(message),
            ErrorKind::AlreadyExists => PyFileExistsError::new_err(message),
            _ => PyOSError::new_err(message),
        },
        Error::NoInput { .. } => InputError::new_err(message),
        Error::Option(_) => ConfigError::new_err(message),
        _ => RecordError::new_err(message),
    }
}
