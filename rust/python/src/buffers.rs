//! The memory of Python's arrays as slices that can be used without the GIL.
//!
//! What the interpreter shows of a buffer cannot leave the thread that holds the GIL, so this is where the binding is
//! unsafe. Whoever passes an array promises that nobody else changes it before the call is over.
#![expect(unsafe_code, reason = "see above")]
#![expect(clippy::mut_from_ref, reason = "the buffer is no owner of the memory that it shows")]

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The elements of a buffer without gaps.
pub fn elements<T: Element>(buffer: &PyBuffer<T>) -> PyResult<&[T]> {
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err("an array must have no gaps"));
    }
    if buffer.item_count() == 0 {
        return Ok(&[]); // whose address may be none
    }
    // SAFETY: these are the buffer's elements and no others; their type was checked when it was taken, and it lives as
    // long as the borrow.
    Ok(unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<T>(), buffer.item_count()) })
}

/// The elements of a buffer without gaps, in the order of its memory, to be written to. No other slice may be of the
/// same memory.
pub fn elements_mut<T: Element>(buffer: &PyBuffer<T>) -> PyResult<&mut [T]> {
    if !buffer.is_c_contiguous() && !buffer.is_fortran_contiguous() {
        return Err(PyValueError::new_err("an array must have no gaps"));
    }
    if buffer.readonly() {
        return Err(PyValueError::new_err("an array must be writable"));
    }
    if buffer.item_count() == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as above; the caller has seen to it that this is the only slice of this memory.
    Ok(unsafe { std::slice::from_raw_parts_mut(buffer.buf_ptr().cast::<T>(), buffer.item_count()) })
}
