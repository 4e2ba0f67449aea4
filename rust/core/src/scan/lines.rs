//! Delimited text in which every line break ends a record.

use fearless_simd::Simd;

use super::{Rules, Starts};
use crate::mask::{self, Block};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lines {
    /// Whether the byte before was a line break (or there was none).
    fresh: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { fresh: true }
    }

    pub(super) fn guess() -> Self {
        Self { fresh: false }
    }

    pub(super) fn between_records(self) -> bool {
        self.fresh
    }
}

impl Rules for Lines {
    #[inline(always)]
    fn block<V: Simd, S: Starts>(&mut self, simd: V, block: &Block, base: u64, starts: &mut S) {
        let breaks = mask::line_breaks(simd, block);
        starts.starts(base, !breaks & (breaks << 1 | u64::from(self.fresh)));
        self.fresh = breaks >> 63 == 1;
    }

    #[inline]
    fn byte<S: Starts>(&mut self, byte: u8, at: u64, starts: &mut S) {
        let line_break = matches!(byte, b'\r' | b'\n');
        if self.fresh && !line_break {
            starts.start(at);
        }
        self.fresh = line_break;
    }
}
