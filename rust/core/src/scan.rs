//! Where records begin.
//!
//! A line break outside quotes ends a record, and completely empty lines are no records. So the breaks between
//! two records form one run of `\n` and `\r`, and a record begins at the first byte after such a run: the one fact a
//! scan has to find. Whether the run was `\n`, `\r\n`, a lone `\r` or several empty lines makes no difference.
//!
//! A scan takes 64 bytes at a time wherever the rules allow it and byte by byte where they do not; both give
//! the same answer, and so does every way of cutting the input into chunks.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

mod bitmap;
mod json;
mod lines;
mod quoted;

use fearless_simd::{Level, Simd, dispatch};

use crate::dialect::Format;
use crate::mask::{Block, WIDTH};

pub use bitmap::{Bitmap, Group};
use json::JsonLines;
use lines::Lines;
use quoted::Quoted;

/// Who is told where records begin, in ascending order.
pub trait Starts {
    /// A record begins at offset `at`.
    fn start(&mut self, at: u64);

    /// A record begins at `base` plus the number of each bit set.
    #[inline(always)]
    fn starts(&mut self, base: u64, bits: u64) {
        self.each(base, bits);
    }

    /// [`Starts::starts`], one record after the other.
    fn each(&mut self, base: u64, bits: u64) {
        let mut rest = bits;
        while rest != 0 {
            self.start(base + u64::from(rest.trailing_zeros()));
            rest &= rest - 1;
        }
    }
}

impl Starts for Vec<u64> {
    fn start(&mut self, at: u64) {
        self.push(at);
    }
}

/// The rules of one format, with what they remember of the bytes before.
///
/// Two are equal if they find the same records in whatever comes next.
trait Rules: Copy + PartialEq {
    fn block<V: Simd, S: Starts>(&mut self, simd: V, block: &Block, base: u64, starts: &mut S);
    fn byte<S: Starts>(&mut self, byte: u8, at: u64, starts: &mut S);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum AnyRules {
    Lines(Lines),
    Quoted(Quoted),
    JsonLines(JsonLines),
}

/// Finds the beginnings of records in a file that is fed to it piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    format: Format,
    rules: AnyRules,
    position: u64,
}

impl Scanner {
    /// A scanner whose first byte stands at offset `position` and begins a line.
    #[must_use]
    pub fn new(format: Format, position: u64) -> Self {
        let rules = match format {
            Format::JsonLines => AnyRules::JsonLines(JsonLines::new(position)),
            Format::Delimited(dialect) => match dialect.spanning_quote() {
                Some(quote) => AnyRules::Quoted(Quoted::new(dialect.delimiter(), quote)),
                None => AnyRules::Lines(Lines::new()),
            },
        };
        Self { format, rules, position }
    }

    /// A scanner that is put down in the middle of a file.
    ///
    /// It takes the byte before for an ordinary one, inside a record and outside quotes. Where that is wrong, its
    /// records are wrong until it [agrees](Self::agrees) with a scanner that came from the beginning.
    #[must_use]
    pub fn guess(format: Format, position: u64) -> Self {
        let rules = match format {
            Format::JsonLines => AnyRules::JsonLines(JsonLines::guess()),
            Format::Delimited(dialect) => match dialect.spanning_quote() {
                Some(quote) => AnyRules::Quoted(Quoted::guess(dialect.delimiter(), quote)),
                None => AnyRules::Lines(Lines::guess()),
            },
        };
        Self { format, rules, position }
    }

    /// Whether both, at the same offset, find the same records from here on.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.position == other.position && self.rules == other.rules
    }

    /// Reads the next bytes of the file and tells `starts` which records begin in them.
    pub fn feed(&mut self, bytes: &[u8], starts: &mut impl Starts) {
        match &mut self.rules {
            AnyRules::Lines(rules) => scan(rules, bytes, self.position, starts),
            AnyRules::Quoted(rules) => scan(rules, bytes, self.position, starts),
            AnyRules::JsonLines(rules) => scan(rules, bytes, self.position, starts),
        }
        self.position += bytes.len() as u64;
    }

    /// Passes over `count` bytes that are no data.
    pub fn skip(&mut self, count: usize) {
        if count > 0 {
            *self = Self::new(self.format, self.position + count as u64);
        }
    }

    /// Offset of the next byte to be fed.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the last byte ended a record, rather than standing inside one.
    #[must_use]
    pub fn between_records(&self) -> bool {
        match &self.rules {
            AnyRules::Lines(rules) => rules.between_records(),
            AnyRules::Quoted(rules) => rules.between_records(),
            AnyRules::JsonLines(rules) => rules.between_records(),
        }
    }
}

fn scan<R: Rules>(rules: &mut R, bytes: &[u8], position: u64, starts: &mut impl Starts) {
    dispatch!(Level::new(), simd => run(simd, rules, bytes, position, starts));
}

#[inline(always)]
fn run<V: Simd, R: Rules>(simd: V, rules: &mut R, bytes: &[u8], position: u64, starts: &mut impl Starts) {
    let mut local = *rules; // a copy that the compiler can keep in registers
    let (blocks, tail) = bytes.as_chunks::<WIDTH>();
    let mut at = position;
    for block in blocks {
        local.block(simd, block, at, starts);
        at += WIDTH as u64;
    }
    byte_by_byte(&mut local, tail, at, starts);
    *rules = local;
}

fn byte_by_byte<R: Rules>(rules: &mut R, bytes: &[u8], position: u64, starts: &mut impl Starts) {
    for (&byte, at) in bytes.iter().zip(position..) {
        rules.byte(byte, at, starts);
    }
}
