//! `read_header`, `split_records` and `read_range`: the bytes of single records and mini-batches.

use std::path::PathBuf;

use batch_score_core::records;
use batch_score_core::source::PlainFile;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::dialect::{dialect, format};
use crate::error::to_python;

#[pyfunction]
#[pyo3(signature = (path, *, delimiter=",", quote=Some("\""), multi_line=true, encoding="utf8"))]
pub fn read_header<'py>(
    py: Python<'py>,
    path: PathBuf,
    delimiter: &str,
    quote: Option<&str>,
    multi_line: bool,
    encoding: &str,
) -> PyResult<(Bound<'py, PyBytes>, u64)> {
    let read = move || records::read_header(&path, dialect(delimiter, quote, multi_line)?, encoding.parse()?);
    let header = py.detach(read).map_err(to_python)?;
    Ok((PyBytes::new(py, &header.record), header.data))
}

#[pyfunction]
#[pyo3(signature = (data, *, format="delimited", delimiter=",", quote=Some("\""), multi_line=true))]
pub fn split_records(
    py: Python<'_>,
    data: &[u8],
    format: &str,
    delimiter: &str,
    quote: Option<&str>,
    multi_line: bool,
) -> PyResult<Vec<(u64, u64)>> {
    let split = || Ok(records::split_records(data, self::format(format, delimiter, quote, multi_line)?));
    py.detach(split).map_err(to_python)
}

#[pyfunction]
pub fn read_range(py: Python<'_>, path: PathBuf, offset: u64, length: u64) -> PyResult<Bound<'_, PyBytes>> {
    let open = move || {
        let file = PlainFile::open(&path)?;
        file.check_range(offset, length)?; // before memory is set aside for it
        Ok(file)
    };
    let file = py.detach(open).map_err(to_python)?;
    let length =
        usize::try_from(length).map_err(|_| PyOverflowError::new_err("length does not fit in memory"))?;
    PyBytes::new_with(py, length, |buffer| py.detach(|| file.read_exact(offset, buffer)).map_err(to_python))
}
