//! `TextPlan`: the mini-batches of text files.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;

use batch_score_core::Error;
use batch_score_core::plan::{MiniBatch, Options, Plan};
use pyo3::prelude::*;

use crate::dialect::format;
use crate::error::to_python;
use crate::lock::lock;

/// Bytes between two looks for Ctrl-C: some hundredths of a second.
const SLICE: u64 = 128 << 20;

/// More threads read no faster: memory is what they wait for.
const MOST_THREADS: usize = 8;

type Row = (usize, u64, u64, u64, u64);

#[pyclass(frozen, module = "batch_score._native")]
pub struct TextPlan {
    plan: Mutex<Plan>,
    // Beside the plan, so that progress can be read while another thread scans.
    records: AtomicU64,
    bytes: AtomicU64,
}

#[pymethods]
impl TextPlan {
    #[new]
    #[pyo3(signature = (
        paths, *, max_bytes, format="delimited", delimiter=",", quote=Some("\""), header=true, multi_line=true,
        encoding="utf8", chunk_bytes=262_144, threads=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments on the Python side")]
    fn new(
        py: Python<'_>,
        paths: Vec<PathBuf>,
        max_bytes: u64,
        format: &str,
        delimiter: &str,
        quote: Option<&str>,
        header: bool,
        multi_line: bool,
        encoding: &str,
        chunk_bytes: usize,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let options = || {
            let format = self::format(format, delimiter, quote, multi_line)?;
            let threads = threads.unwrap_or_else(cores);
            Ok(Options { format, encoding: encoding.parse()?, max_bytes, header, chunk_bytes, threads })
        };
        let plan = py.detach(|| Plan::new(paths, options()?)).map_err(to_python)?;
        Ok(Self { plan: Mutex::new(plan), records: AtomicU64::new(0), bytes: AtomicU64::new(0) })
    }

    fn next_batch(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<Row>> {
        if limit == 0 {
            return Err(to_python(Error::Option(String::from("limit is 0; it has to be at least 1"))));
        }
        loop {
            if let Some(found) = py.detach(|| self.slice(limit))? {
                return Ok(found.into_iter().map(row).collect());
            }
            py.check_signals()?;
        }
    }

    #[getter]
    fn records_scanned(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    #[getter]
    fn bytes_scanned(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl TextPlan {
    /// Scans for a while; returns `limit` mini-batches, or the last ones, once they are found.
    fn slice(&self, limit: usize) -> PyResult<Option<Vec<MiniBatch>>> {
        let mut plan = lock(&self.plan)?;
        let outcome = plan.scan(limit, SLICE);
        self.records.store(plan.records(), Ordering::Relaxed);
        self.bytes.store(plan.bytes(), Ordering::Relaxed);
        let unfinished = outcome.map_err(to_python)? && plan.waiting() < limit;
        Ok((!unfinished).then(|| plan.take(limit).collect()))
    }
}

/// The cores that this process may use.
fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS)
}

fn row(found: MiniBatch) -> Row {
    (found.file, found.range.offset, found.range.length, found.range.first_row, found.range.rows)
}
