//! `read_journal`: the records of a journal, for people and tests.
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from Python by value")]

use std::path::{Path, PathBuf};

use batch_score_core::journal::{Ending, Journal, Record};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::append::raised;

#[pyclass(frozen, get_all, module = "batch_score._native")]
pub struct JournalContents {
    run_id: Py<PyBytes>,
    records: Py<PyList>,
    torn: bool,
}

#[pyfunction]
pub fn read_journal(py: Python<'_>, path: PathBuf) -> PyResult<JournalContents> {
    let (records, journal) = py.detach(|| read(&path)).map_err(raised)?;
    Ok(JournalContents {
        run_id: PyBytes::new(py, &journal.run_id()).unbind(),
        records: PyList::new(py, records.iter().map(row))?.unbind(),
        torn: journal.torn(),
    })
}

fn read(path: &Path) -> batch_score_core::Result<(Vec<Record>, Journal)> {
    let mut journal = Journal::open(path)?;
    let mut records = Vec::new();
    while let Some(record) = journal.next_record()? {
        records.push(record);
    }
    Ok((records, journal))
}

fn row(record: &Record) -> (&'static str, u64, u32, u64, u64, u64) {
    let Ending { index, attempt, total, succeeded } = record.ending;
    (record.kind.name(), index, attempt, total, succeeded, record.end)
}
