//! `batch_score._native`: registers the binding's functions and classes, and nothing else.

mod append;
mod buffers;
mod dialect;
mod error;
mod files;
mod guard;
mod journal;
mod lock;
mod plan;
mod records;
mod rows;
mod stream;
mod tensor;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::append::{AppendWriter, Ending, Summary};
    #[pymodule_export]
    use crate::files::{FileList, count_by_suffix};
    #[pymodule_export]
    use crate::guard::guard;
    #[pymodule_export]
    use crate::journal::{JournalContents, JournalRecord, read_journal};
    #[pymodule_export]
    use crate::plan::TextPlan;
    #[pymodule_export]
    use crate::records::{read_header, read_range, split_records};
    #[pymodule_export]
    use crate::rows::delimited_rows;
    #[pymodule_export]
    use crate::stream::{TextStream, is_stream};
    #[pymodule_export]
    use crate::tensor::{FieldReader, Misfit};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("debug_build", cfg!(debug_assertions))
    }
}
