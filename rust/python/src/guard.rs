//! `guard`: a worker ends when its coordinator does.

use pyo3::prelude::*;

#[pyfunction]
pub fn guard(parent_pid: u32) -> PyResult<()> {
    Ok(batch_score_core::guard::guard(parent_pid)?)
}
