//! `read_journal`: the records of a journal, for people and tests.
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from Python by value")]

use std::path::{Path, PathBuf};

use batch_score_core::journal::{Journal, Record};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::append::raised;

#[pyclass(frozen, get_all, module = "batch_score._native")]
pub struct JournalRecord {
    kind: &'static str,
    index: u64,
    identity: u32,
    attempt: u32,
    total: u64,
    succeeded: u64,
    returned: u64,
    end: u64,
    failed_end: u64,
}

impl From<&Record> for JournalRecord {
    fn from(record: &Record) -> Self {
        Self {
            kind: record.kind.name(),
            index: record.ending.index,
            identity: record.ending.identity,
            attempt: record.ending.attempt,
            total: record.ending.total,
            succeeded: record.ending.succeeded,
            returned: record.ending.returned,
            end: record.end,
            failed_end: record.failed_end,
        }
    }
}

#[pymethods]
impl JournalRecord {
    fn __repr__(&self) -> String {
        let Self { kind, index, identity, attempt, total, succeeded, returned, end, failed_end } = self;
        format!(
            "JournalRecord(kind='{kind}', index={index}, identity={identity}, attempt={attempt}, total={total}, \
             succeeded={succeeded}, returned={returned}, end={end}, failed_end={failed_end})"
        )
    }
}

#[pyclass(frozen, get_all, module = "batch_score._native")]
pub struct JournalContents {
    run_id: Py<PyBytes>,
    records: Py<PyList>,
    torn: bool,
}

/// The records of a journal, all of them in memory; the stub says what it raises.
#[pyfunction]
pub fn read_journal(py: Python<'_>, path: PathBuf) -> PyResult<JournalContents> {
    let (records, journal) = py.detach(|| read(&path)).map_err(raised)?;
    Ok(JournalContents {
        run_id: PyBytes::new(py, &journal.run_id()).unbind(),
        records: PyList::new(py, records.iter().map(JournalRecord::from))?.unbind(),
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
