//! Delimited text in which every line break ends a record.

use fearless_simd::Simd;

use super::{Rules, Starts};
use crate::mask::{self, Block};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lines;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// Whether the byte before was a line break (or there was none).
    fresh: bool,
}

impl State {
    pub(super) const NEW: Self = Self { fresh: true };
    pub(super) const GUESS: Self = Self { fresh: false };

    pub(super) fn between_records(self) -> bool {
        self.fresh
    }
}

impl Rules for Lines {
    type State = State;

    #[inline(always)]
    fn block<V: Simd>(self, simd: V, state: &mut State, block: &Block, _base: u64) -> Option<u64> {
        let breaks = mask::line_breaks(simd, block);
        let begins = !breaks & (breaks << 1 | u64::from(state.fresh));
        state.fresh = breaks >> 63 == 1;
        Some(begins)
    }

    #[inline]
    fn byte<S: Starts>(self, state: &mut State, byte: u8, at: u64, starts: &mut S) {
        let line_break = matches!(byte, b'\r' | b'\n');
        if state.fresh && !line_break {
            starts.start(at);
        }
        state.fresh = line_break;
    }
}
