//! JSON Lines: a line feed ends a record, and a line of white space only is none.

use fearless_simd::Simd;

use super::{Rules, Starts, byte_by_byte};
use crate::mask::{self, Block, WIDTH};

#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLines {
    /// Whether the line so far is empty or white space.
    blank: bool,
    /// Where the line begins, as long as it is blank.
    line: u64,
}

impl JsonLines {
    pub(super) fn new(position: u64) -> Self {
        Self { blank: true, line: position }
    }

    pub(super) fn guess() -> Self {
        Self { blank: false, line: 0 }
    }

    pub(super) fn between_records(self) -> bool {
        self.blank
    }
}

impl PartialEq for JsonLines {
    fn eq(&self, other: &Self) -> bool {
        self.blank == other.blank && (!self.blank || self.line == other.line)
    }
}

impl Rules for JsonLines {
    #[inline(always)]
    fn block<V: Simd, S: Starts>(&mut self, simd: V, block: &Block, base: u64, starts: &mut S) {
        let breaks = mask::equal(simd, block, b'\n');
        let first = breaks << 1 | u64::from(self.blank);
        let undecided = self.blank && self.line != base;
        // Only the bytes that begin a line matter: one that is white space leaves open whether a record begins.
        if undecided || first & mask::blanks(simd, block) & !breaks != 0 {
            return byte_by_byte(self, block, base, starts);
        }
        starts.starts(base, first & !breaks);
        self.blank = breaks >> 63 == 1;
        self.line = base + WIDTH as u64;
    }

    #[inline]
    fn byte<S: Starts>(&mut self, byte: u8, at: u64, starts: &mut S) {
        match byte {
            b'\n' => *self = Self::new(at + 1),
            b' ' | b'\t' | b'\r' => {}
            _ if self.blank => {
                starts.start(self.line);
                self.blank = false;
            }
            _ => {}
        }
    }
}
