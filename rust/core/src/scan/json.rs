//! JSON Lines: a line feed ends a record, and a line of white space only is none.

use fearless_simd::Simd;

use super::{Rules, Starts};
use crate::mask::{self, Block, WIDTH};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct JsonLines;

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Whether the line so far is empty or white space.
    blank: bool,
    /// Where the line begins, as long as it is blank.
    line: u64,
}

impl State {
    pub(super) const GUESS: Self = Self { blank: false, line: 0 };

    pub(super) fn new(position: u64) -> Self {
        Self { blank: true, line: position }
    }

    pub(super) fn between_records(self) -> bool {
        self.blank
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.blank == other.blank && (!self.blank || self.line == other.line)
    }
}

impl Rules for JsonLines {
    type State = State;

    #[inline(always)]
    fn block<V: Simd>(self, simd: V, state: &mut State, block: &Block, base: u64) -> Option<u64> {
        let breaks = mask::equal(simd, block, b'\n');
        let first = breaks << 1 | u64::from(state.blank);
        let undecided = state.blank && state.line != base;
        // Only the bytes that begin a line matter: one that is white space leaves open whether a record begins.
        if undecided || first & mask::blanks(simd, block) & !breaks != 0 {
            return None;
        }
        state.blank = breaks >> 63 == 1;
        state.line = base + WIDTH as u64;
        Some(first & !breaks)
    }

    #[inline]
    fn byte<S: Starts>(self, state: &mut State, byte: u8, at: u64, starts: &mut S) {
        match byte {
            b'\n' => *state = State::new(at + 1),
            b' ' | b'\t' | b'\r' => {}
            _ if state.blank => {
                starts.start(state.line);
                state.blank = false;
            }
            _ => {}
        }
    }
}
