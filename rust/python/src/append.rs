//! `AppendWriter`: the core's append writer, used without the GIL.
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from Python by value")]

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;

use batch_score_core::Error;
use batch_score_core::append::{AppendWriter as Writer, GroupCommit};
use batch_score_core::journal::{self, Kind, RunId};
use batch_score_core::recover::RunFiles;
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
        Err(PyTypeError::new_err(format!("bytes, bytearray or memoryview are needed, not {found}")))
    }
}

#[pyclass(frozen, get_all, module = "batch_score._native")]
pub struct Ending {
    index: u64,
    identity: u32,
    attempt: u32,
    total: u64,
    succeeded: u64,
    returned: u64,
}

#[pymethods]
impl Ending {
    #[new]
    #[pyo3(signature = (*, index, identity, attempt, total, succeeded, returned))]
    fn new(index: u64, identity: u32, attempt: u32, total: u64, succeeded: u64, returned: u64) -> Self {
        Self { index, identity, attempt, total, succeeded, returned }
    }
}

impl From<&Ending> for journal::Ending {
    fn from(ending: &Ending) -> Self {
        let Ending { index, identity, attempt, total, succeeded, returned } = *ending;
        Self { index, identity, attempt, total, succeeded, returned }
    }
}

#[pyclass(frozen, get_all, module = "batch_score._native")]
pub struct Summary {
    end: u64,
    failed_end: u64,
    header: u64,
    committed: u64,
    short: u64,
    bisected: u64,
    failed: u64,
    items_total: u64,
    items_succeeded: u64,
    returned: u64,
}

impl From<journal::Summary> for Summary {
    fn from(summary: journal::Summary) -> Self {
        Self {
            end: summary.end,
            failed_end: summary.failed_end,
            header: summary.header,
            committed: summary.committed,
            short: summary.short,
            bisected: summary.bisected,
            failed: summary.failed,
            items_total: summary.items_total,
            items_succeeded: summary.items_succeeded,
            returned: summary.returned,
        }
    }
}

/// The kind of an ending by its name.
fn kind_named(name: &str) -> PyResult<Kind> {
    let kinds = [Kind::Committed, Kind::Bisected, Kind::Failed];
    kinds.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        PyValueError::new_err(format!("the kind must be committed, bisected or failed, not {name:?}"))
    })
}

#[pyclass(frozen, module = "batch_score._native")]
pub struct AppendWriter {
    state: Mutex<State>,
    #[pyo3(get)]
    lost: u64,
    #[pyo3(get)]
    torn: bool,
}

enum State {
    Open(Box<Writer>),
    Closed(journal::Summary),
}

impl State {
    fn open(&mut self) -> PyResult<&mut Writer> {
        match self {
            Self::Open(writer) => Ok(writer),
            Self::Closed(_) => Err(PyValueError::new_err("the append writer is closed")),
        }
    }

    fn summary(&self) -> journal::Summary {
        match self {
            Self::Open(writer) => writer.progress().summary(),
            Self::Closed(summary) => *summary,
        }
    }
}

impl AppendWriter {
    fn over(opened: batch_score_core::Result<Writer>) -> PyResult<Self> {
        let writer = opened.map_err(raised)?;
        let cut_off = writer.cut_off();
        let state = Mutex::new(State::Open(Box::new(writer)));
        Ok(Self { state, lost: cut_off.lost, torn: cut_off.torn })
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Writer) -> batch_score_core::Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| work(lock(&self.state)?.open()?).map_err(raised))
    }

    fn totals(&self, py: Python<'_>) -> PyResult<journal::Summary> {
        py.detach(|| Ok(lock(&self.state)?.summary()))
    }
}

#[pymethods]
impl AppendWriter {
    #[staticmethod]
    #[pyo3(signature = (output, failed_items, journal, *, run_id, sync_bytes, sync_seconds, now))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn create(
        py: Python<'_>,
        output: Option<PathBuf>,
        failed_items: PathBuf,
        journal: PathBuf,
        run_id: PyRunId,
        sync_bytes: u64,
        sync_seconds: f64,
        now: f64,
    ) -> PyResult<Self> {
        let group = GroupCommit { bytes: sync_bytes, seconds: sync_seconds };
        let files = RunFiles { output: output.as_deref(), failed_items: &failed_items, journal: &journal };
        Self::over(py.detach(|| Writer::create(files, run_id.0, group, now)))
    }

    #[staticmethod]
    #[pyo3(signature = (output, failed_items, journal, *, run_id, sync_bytes, sync_seconds, now))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn resume(
        py: Python<'_>,
        output: Option<PathBuf>,
        failed_items: PathBuf,
        journal: PathBuf,
        run_id: PyRunId,
        sync_bytes: u64,
        sync_seconds: f64,
        now: f64,
    ) -> PyResult<Self> {
        let group = GroupCommit { bytes: sync_bytes, seconds: sync_seconds };
        let files = RunFiles { output: output.as_deref(), failed_items: &failed_items, journal: &journal };
        Self::over(py.detach(|| Writer::resume(files, run_id.0, group, now)))
    }

    fn preamble(&self, py: Python<'_>, payload: Payload, now: f64) -> PyResult<u64> {
        self.with(py, |writer| writer.preamble(&payload.0, now))
    }

    fn append(
        &self,
        py: Python<'_>,
        kind: &str,
        ending: PyRef<'_, Ending>,
        payload: Payload,
        failed_items: Payload,
        now: f64,
    ) -> PyResult<u64> {
        let (kind, ending) = (kind_named(kind)?, (&*ending).into());
        self.with(py, |writer| writer.append(kind, ending, &[&payload.0], &failed_items.0, now))
    }

    fn committed(&self, py: Python<'_>, index: u64) -> PyResult<bool> {
        self.with(py, |writer| Ok(writer.progress().committed(index)))
    }

    fn failed(&self, py: Python<'_>, index: u64) -> PyResult<bool> {
        self.with(py, |writer| Ok(writer.progress().failed(index)))
    }

    fn identity(&self, py: Python<'_>, index: u64) -> PyResult<Option<u32>> {
        self.with(py, |writer| Ok(writer.identity(index)))
    }

    #[getter]
    fn summary(&self, py: Python<'_>) -> PyResult<Summary> {
        self.totals(py).map(Summary::from)
    }

    #[getter]
    fn end_offset(&self, py: Python<'_>) -> PyResult<u64> {
        self.totals(py).map(|summary| summary.end)
    }

    fn keep_up(&self, py: Python<'_>, now: f64) -> PyResult<()> {
        self.with(py, |writer| writer.keep_up(now))
    }

    fn begin_sync(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Writer::begin_sync)
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Writer::sync)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let mut state = lock(&self.state)?;
            let closed = State::Closed(state.summary());
            match std::mem::replace(&mut *state, closed) {
                State::Open(writer) => writer.close().map(drop).map_err(raised),
                State::Closed(_) => Ok(()),
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
