//! `AppendWriter`: the core's append writer, used without the GIL.
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from Python by value")]

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;

use batch_score_core::Error;
use batch_score_core::append::{AppendWriter as Writer, GroupCommit};
use batch_score_core::journal::{Ending, RunId};
use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyTypeError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use crate::error::to_python;
use crate::lock::lock;

import_exception!(batch_score.errors, OutputError);

/// Keeps the error number, so that a caller can tell a full disk from a missing folder.
pub fn raised(error: Error) -> PyErr {
    match error {
        Error::Io { path, source } if source.raw_os_error().is_some() => {
            let message = source.to_string();
            let reason = message.split(" (os error").next().unwrap_or_default().to_owned();
            let arguments: (Option<i32>, String, OsString) = (source.raw_os_error(), reason, path.into());
            PyOSError::new_err(arguments)
        }
        Error::Io { ref source, .. } if source.kind() == ErrorKind::WouldBlock => {
            PyBlockingIOError::new_err(error.to_string())
        }
        Error::Malformed { .. } => OutputError::new_err(error.to_string()),
        Error::Option(reason) => PyValueError::new_err(reason),
        error => to_python(error),
    }
}

/// Sixteen bytes of Python.
pub struct PyRunId(RunId);

impl<'py> FromPyObject<'_, 'py> for PyRunId {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let bytes = value.cast::<PyBytes>().ok().and_then(|bytes| bytes.as_bytes().try_into().ok());
        bytes.map(Self).ok_or_else(|| PyValueError::new_err("run_id must be bytes of length 16"))
    }
}

/// Bytes that stay where they are while the GIL is released: those of `bytes`, else a copy.
pub struct Payload(PyBackedBytes);

impl<'py> FromPyObject<'_, 'py> for Payload {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned().into()));
        }
        // Anyone may write to these two while the GIL is released, so what is appended is a copy.
        if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
            let copy = value.py().get_type::<PyBytes>().call1((value,))?;
            return Ok(Self(copy.cast_into::<PyBytes>()?.into()));
        }
        let found = value.get_type().name()?;
        Err(PyTypeError::new_err(format!("payload must be bytes, bytearray or memoryview, not {found}")))
    }
}

#[pyclass(frozen, module = "batch_score._native")]
pub struct AppendWriter(Mutex<State>);

enum State {
    Open(Box<Writer>),
    Closed { end: u64 },
}

impl State {
    fn open(&mut self) -> PyResult<&mut Writer> {
        match self {
            Self::Open(writer) => Ok(writer),
            Self::Closed { .. } => Err(PyValueError::new_err("the append writer is closed")),
        }
    }
}

impl AppendWriter {
    fn over(opened: batch_score_core::Result<Writer>) -> PyResult<Self> {
        let writer = opened.map_err(raised)?;
        Ok(Self(Mutex::new(State::Open(Box::new(writer)))))
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Writer) -> batch_score_core::Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| work(lock(&self.0)?.open()?).map_err(raised))
    }
}

#[pymethods]
impl AppendWriter {
    #[staticmethod]
    #[pyo3(signature = (output, journal, *, run_id, sync_bytes, sync_seconds, now))]
    fn create(
        py: Python<'_>,
        output: Option<PathBuf>,
        journal: PathBuf,
        run_id: PyRunId,
        sync_bytes: u64,
        sync_seconds: f64,
        now: f64,
    ) -> PyResult<Self> {
        let group = GroupCommit { bytes: sync_bytes, seconds: sync_seconds };
        Self::over(py.detach(|| Writer::create(output.as_deref(), &journal, run_id.0, group, now)))
    }

    #[staticmethod]
    #[pyo3(signature = (output, journal, *, run_id, sync_bytes, sync_seconds, now))]
    fn resume(
        py: Python<'_>,
        output: Option<PathBuf>,
        journal: PathBuf,
        run_id: PyRunId,
        sync_bytes: u64,
        sync_seconds: f64,
        now: f64,
    ) -> PyResult<Self> {
        let group = GroupCommit { bytes: sync_bytes, seconds: sync_seconds };
        Self::over(py.detach(|| Writer::resume(output.as_deref(), &journal, run_id.0, group, now)))
    }

    fn preamble(&self, py: Python<'_>, payload: Payload, now: f64) -> PyResult<u64> {
        self.with(py, |writer| writer.preamble(&payload.0, now))
    }

    #[expect(clippy::too_many_arguments, reason = "two of them are the receiver and the GIL")]
    fn append(
        &self,
        py: Python<'_>,
        index: u64,
        attempt: u32,
        total: u64,
        succeeded: u64,
        payload: Payload,
        now: f64,
    ) -> PyResult<u64> {
        let ending = Ending { index, attempt, total, succeeded };
        self.with(py, |writer| writer.append(ending, &[&payload.0], now))
    }

    fn fail(
        &self,
        py: Python<'_>,
        index: u64,
        attempt: u32,
        total: u64,
        succeeded: u64,
        now: f64,
    ) -> PyResult<()> {
        let ending = Ending { index, attempt, total, succeeded };
        self.with(py, |writer| writer.fail(ending, now))
    }

    fn committed(&self, py: Python<'_>, index: u64) -> PyResult<bool> {
        self.with(py, |writer| Ok(writer.progress().committed(index)))
    }

    fn failed(&self, py: Python<'_>, index: u64) -> PyResult<bool> {
        self.with(py, |writer| Ok(writer.progress().failed(index)))
    }

    #[getter]
    fn end_offset(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| match &*lock(&self.0)? {
            State::Open(writer) => Ok(writer.progress().summary().end),
            State::Closed { end } => Ok(*end),
        })
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Writer::sync)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let mut state = lock(&self.0)?;
            let State::Open(writer) = &*state else { return Ok(()) };
            let end = writer.progress().summary().end;
            match std::mem::replace(&mut *state, State::Closed { end }) {
                State::Open(writer) => writer.close().map(drop).map_err(raised),
                State::Closed { .. } => Ok(()),
            }
        })
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }
}
