//! `TextStream`: compressed files, UTF-16 and UTF-32, read from the beginning.

use std::path::PathBuf;
use std::sync::Mutex;

use batch_score_core::stream;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;
use crate::lock::lock;

#[pyclass(frozen, module = "batch_score._native")]
pub struct TextStream(Mutex<stream::TextStream>);

#[pymethods]
impl TextStream {
    #[new]
    #[pyo3(signature = (path, *, encoding="utf8"))]
    fn new(py: Python<'_>, path: PathBuf, encoding: &str) -> PyResult<Self> {
        let open = move || stream::TextStream::open(&path, encoding.parse()?);
        Ok(Self(Mutex::new(py.detach(open).map_err(to_python)?)))
    }

    fn read_range<'py>(&self, py: Python<'py>, offset: u64, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        let text = py.detach(|| lock(&self.0)?.read_range(offset, length).map_err(to_python))?;
        Ok(PyBytes::new(py, &text))
    }

    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| Ok(lock(&self.0)?.position()))
    }
}

#[pyfunction]
#[pyo3(signature = (path, encoding="utf8"))]
#[allow(clippy::needless_pass_by_value, reason = "extracted from Python as an owned value")]
pub fn is_stream(path: PathBuf, encoding: &str) -> PyResult<bool> {
    Ok(stream::is_stream(&path, encoding.parse().map_err(to_python)?))
}
