//! `FieldReader`: delimited text into the caller's arrays.
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from Python by value")]

use std::path::PathBuf;

use batch_score_core::tensor::{self, Block, FileRange, Grid, Sinks, Target, Texts, Unread};
use pyo3::buffer::{Element, PyBuffer};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::buffers::elements_mut;
use crate::dialect::dialect;
use crate::error::to_python;

create_exception!(
    batch_score._native,
    Misfit,
    PyException,
    "A text has something that a FieldReader does not read."
);

/// What becomes of a field: `(block, column, nullable)` or `"text"`.
#[derive(FromPyObject)]
enum Field {
    Cell((usize, usize, bool)),
    Text(String),
}

/// Offsets and characters of the texts of a field.
type FieldTexts<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// The texts of each text field, and for each field whether a value was missing.
type Found<'py> = (Vec<FieldTexts<'py>>, Vec<bool>);

#[pyclass(frozen, module = "batch_score._native")]
pub struct FieldReader {
    reader: tensor::FieldReader,
    texts: usize,
}

#[pymethods]
impl FieldReader {
    #[new]
    #[pyo3(signature = (fields, *, delimiter=",", quote=Some("\""), missing=Vec::new()))]
    fn new(
        fields: Vec<Option<Field>>,
        delimiter: &str,
        quote: Option<&str>,
        missing: Vec<String>,
    ) -> PyResult<Self> {
        let mut texts = 0;
        let mut target = |field| match field {
            None => Ok(Target::Skip),
            Some(Field::Cell((block, column, nullable))) => Ok(Target::Cell { block, column, nullable }),
            Some(Field::Text(kind)) if kind == "text" => {
                texts += 1;
                Ok(Target::Text { texts: texts - 1 })
            }
            Some(Field::Text(kind)) => Err(PyValueError::new_err(format!("a field cannot be {kind:?}"))),
        };
        let targets = fields.into_iter().map(&mut target).collect::<PyResult<_>>()?;
        let missing = missing.into_iter().map(String::into_bytes).collect();
        let reader =
            tensor::FieldReader::new(dialect(delimiter, quote, true).map_err(to_python)?, targets, missing);
        Ok(Self { reader, texts })
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        data: PyBackedBytes,
        rows: usize,
        blocks: Vec<Matrix>,
    ) -> PyResult<Found<'py>> {
        self.read_with(py, rows, &blocks, |sinks| Ok(self.reader.read(&data, rows, sinks)?))
    }

    fn read_range<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        offset: u64,
        length: u64,
        rows: usize,
        blocks: Vec<Matrix>,
    ) -> PyResult<Found<'py>> {
        let range = FileRange { path: &path, offset, length };
        self.read_with(py, rows, &blocks, |sinks| self.reader.read_file(range, rows, sinks))
    }
}

impl FieldReader {
    fn read_with<'py>(
        &self,
        py: Python<'py>,
        rows: usize,
        blocks: &[Matrix],
        read: impl FnOnce(Sinks<'_, '_>) -> Result<usize, Unread> + Send,
    ) -> PyResult<Found<'py>> {
        refuse_overlap(blocks)?;
        let mut blocks = blocks.iter().map(Matrix::block).collect::<PyResult<Vec<_>>>()?;
        let mut texts = vec![Texts::default(); self.texts];
        let mut missing = vec![false; self.reader.fields()];
        let sinks = Sinks { blocks: &mut blocks, texts: &mut texts, missing: &mut missing };
        let found = py.detach(|| read(sinks)).map_err(|unread| match unread {
            Unread::File(error) => to_python(error),
            Unread::Misfit(misfit) => Misfit::new_err(misfit.to_string()),
        })?;
        if found != rows {
            return Err(Misfit::new_err(format!("there are {found} records where {rows} were expected")));
        }
        let texts = texts.iter().map(|texts| as_bytes(py, texts)).collect::<PyResult<_>>()?;
        Ok((texts, missing))
    }
}

fn as_bytes<'py>(py: Python<'py>, texts: &Texts) -> PyResult<FieldTexts<'py>> {
    let (offsets, bytes) = texts.finish().ok_or_else(|| Misfit::new_err("a text is not UTF-8"))?;
    let width = size_of::<i32>();
    let fill = |buffer: &mut [u8]| {
        buffer
            .chunks_exact_mut(width)
            .zip(offsets)
            .for_each(|(place, end)| place.copy_from_slice(&end.to_ne_bytes()));
        Ok(())
    };
    Ok((PyBytes::new_with(py, size_of_val(offsets), fill)?, PyBytes::new(py, bytes)))
}

/// An array of rows and columns that can be written to.
enum Matrix {
    Float32(PyBuffer<f32>),
    Float64(PyBuffer<f64>),
    Int64(PyBuffer<i64>),
}

impl<'py> FromPyObject<'_, 'py> for Matrix {
    type Error = PyErr;

    fn extract(array: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(buffer) = PyBuffer::get(&array) {
            return Ok(Self::Float32(buffer));
        }
        if let Ok(buffer) = PyBuffer::get(&array) {
            return Ok(Self::Float64(buffer));
        }
        PyBuffer::get(&array).map(Self::Int64)
    }
}

impl Matrix {
    fn block(&self) -> PyResult<Block<'_>> {
        Ok(match self {
            Self::Float32(buffer) => Block::Float32(grid(buffer)?),
            Self::Float64(buffer) => Block::Float64(grid(buffer)?),
            Self::Int64(buffer) => Block::Int64(grid(buffer)?),
        })
    }

    /// First and last byte of its memory.
    fn span(&self) -> (usize, usize) {
        let (begin, length) = match self {
            Self::Float32(buffer) => (buffer.buf_ptr(), buffer.len_bytes()),
            Self::Float64(buffer) => (buffer.buf_ptr(), buffer.len_bytes()),
            Self::Int64(buffer) => (buffer.buf_ptr(), buffer.len_bytes()),
        };
        (begin as usize, begin as usize + length)
    }
}

/// Two blocks in the same memory would be written to at once.
fn refuse_overlap(blocks: &[Matrix]) -> PyResult<()> {
    let mut spans: Vec<_> = blocks.iter().map(Matrix::span).collect();
    spans.sort_unstable();
    let apart = spans.windows(2).all(|pair| matches!(pair, [(_, end), (begin, _)] if end <= begin));
    if apart { Ok(()) } else { Err(PyValueError::new_err("two blocks share memory")) }
}

/// The cells of a buffer, by rows or by columns.
fn grid<T: Element>(buffer: &PyBuffer<T>) -> PyResult<Grid<'_, T>> {
    let [rows, columns] = *buffer.shape() else {
        return Err(PyValueError::new_err("a block must have two dimensions"));
    };
    let strides = if buffer.is_c_contiguous() { (columns, 1) } else { (1, rows) };
    Ok(Grid { cells: elements_mut(buffer)?, strides })
}
