//! `FileList` and `count_by_suffix`: the files behind inputs, without a Python object for each.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;

use batch_score_core::files;
use pyo3::prelude::*;

use crate::error::to_python;
use crate::lock::lock;

/// Files between two looks for Ctrl-C: some hundredths of a second.
const SLICE: usize = 20_000;

#[pyclass(frozen, module = "batch_score._native")]
pub struct FileList(Mutex<files::FileList>);

#[pymethods]
impl FileList {
    #[new]
    fn new(py: Python<'_>, inputs: Vec<PathBuf>) -> PyResult<Self> {
        Ok(Self(Mutex::new(py.detach(|| files::FileList::new(inputs)).map_err(to_python)?)))
    }

    fn next_batch(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<OsString>> {
        let mut found: Vec<OsString> = Vec::new();
        while found.len() < limit {
            let wanted = SLICE.min(limit - found.len());
            let before = found.len();
            py.detach(|| self.slice(wanted, &mut found))?;
            if found.len() - before < wanted {
                break;
            }
            py.check_signals()?;
        }
        Ok(found)
    }
}

impl FileList {
    fn slice(&self, wanted: usize, found: &mut Vec<OsString>) -> PyResult<()> {
        let mut list = lock(&self.0)?;
        for file in list.by_ref().take(wanted) {
            found.push(file.map_err(to_python)?.into_os_string());
        }
        Ok(())
    }
}

type Counts = (u64, u64, Option<OsString>, Option<OsString>);

#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "extracted from Python as an owned value")]
pub fn count_by_suffix(py: Python<'_>, inputs: Vec<PathBuf>, suffixes: Vec<String>) -> PyResult<Counts> {
    let mut list = py.detach(|| files::FileList::new(inputs)).map_err(to_python)?;
    let mut count = files::SuffixCount::default();
    while py.detach(|| count_slice(&mut list, &suffixes, &mut count)).map_err(to_python)? {
        py.check_signals()?;
    }
    let [matching, other] =
        [count.first_matching, count.first_other].map(|path| path.map(PathBuf::into_os_string));
    Ok((count.matching, count.other, matching, other))
}

/// Counts some files; returns whether there may be more.
fn count_slice(
    list: &mut files::FileList,
    suffixes: &[String],
    count: &mut files::SuffixCount,
) -> batch_score_core::Result<bool> {
    let before = count.matching + count.other;
    for file in list.take(SLICE) {
        count.add(file?, suffixes);
    }
    Ok(count.matching + count.other - before == SLICE as u64)
}
