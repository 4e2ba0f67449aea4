//! `delimited_rows`: columns to delimited text.
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from Python by value")]

use batch_score_core::rows::{Column, Values, delimited};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::buffers::elements;

/// What Python hands over for the values of a column; the order is that in which kinds are tried.
#[derive(FromPyObject)]
pub enum Array {
    Constant(PyBackedBytes),
    Text((PyBuffer<i64>, PyBuffer<u8>)),
    Int64(PyBuffer<i64>),
    Float64(PyBuffer<f64>),
    Float32(PyBuffer<f32>),
}

impl Array {
    fn values(&self) -> PyResult<Values<'_>> {
        Ok(match self {
            Self::Constant(bytes) => Values::Constant(bytes),
            Self::Text((offsets, bytes)) => Values::Text(elements(offsets)?, elements(bytes)?),
            Self::Int64(values) => Values::Int64(elements(values)?),
            Self::Float64(values) => Values::Float64(elements(values)?),
            Self::Float32(values) => Values::Float32(elements(values)?),
        })
    }
}

/// Values, and for each 0 if it is missing.
type Given = (Array, Option<PyBuffer<u8>>);

fn column((array, valid): &Given) -> PyResult<Column<'_>> {
    Ok(Column { values: array.values()?, valid: valid.as_ref().map(elements).transpose()? })
}

#[pyfunction]
#[pyo3(signature = (columns, rows, *, delimiter=","))]
pub fn delimited_rows<'py>(
    py: Python<'py>,
    columns: Vec<Given>,
    rows: usize,
    delimiter: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let &[delimiter] = delimiter.as_bytes() else {
        return Err(PyValueError::new_err("the delimiter must be one ASCII character"));
    };
    let columns = columns.iter().map(column).collect::<PyResult<Vec<_>>>()?;
    Ok(PyBytes::new(py, &py.detach(|| delimited(&columns, rows, delimiter))))
}
