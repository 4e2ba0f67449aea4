//! Waiting for an object that another thread uses.

use std::sync::{Mutex, MutexGuard};

use pyo3::PyResult;
use pyo3::exceptions::PyRuntimeError;

/// The object behind the lock. Call it detached, or a thread that holds the lock could wait for this one.
pub fn lock<T>(mutex: &Mutex<T>) -> PyResult<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| {
        PyRuntimeError::new_err("another thread failed while it used this object; make a new one")
    })
}
