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

pub use bitmap::{Bitmap, Group, Marker};
use json::JsonLines;
use lines::Lines;
use quoted::Quoted;

/// Blocks that are told together: 4 KiB of text.
const GROUP: usize = 64;

/// A group of them, and a bit for each of its bytes.
type Blocks = [Block; GROUP];
type Words = [u64; GROUP];

/// Who is told where records begin, in ascending order.
pub trait Starts {
    /// A record begins at offset `at`.
    fn start(&mut self, at: u64);

    /// A record begins at `base` plus the number of each bit set.
    #[inline(always)]
    fn starts(&mut self, base: u64, bits: u64) {
        self.each(base, bits);
    }

    /// [`Starts::starts`] for each of some blocks that follow each other from `base` on.
    #[inline(always)]
    fn blocks(&mut self, base: u64, blocks: &[u64]) {
        for (&bits, base) in blocks.iter().zip((base..).step_by(WIDTH)) {
            self.starts(base, bits);
        }
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

/// The rules of one format.
trait Rules: Copy {
    /// What they remember of the bytes before. Two are equal if the same records follow from them, whatever comes next.
    type State: Copy + PartialEq;

    /// The bytes of a block that begin a record; None, and nothing is changed, if it has to be read byte by byte.
    fn block<V: Simd>(self, simd: V, state: &mut Self::State, block: &Block, base: u64) -> Option<u64>;
    /// The same for a whole group, where that is quicker; None, and nothing that matters is changed, if its blocks have to
    /// be taken one by one.
    #[inline(always)]
    fn group<V: Simd>(self, _simd: V, _state: &mut Self::State, _blocks: &Blocks) -> Option<Words> {
        None
    }
    fn byte<S: Starts>(self, state: &mut Self::State, byte: u8, at: u64, starts: &mut S);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Progress {
    Lines(Lines, <Lines as Rules>::State),
    Quoted(Quoted, <Quoted as Rules>::State),
    JsonLines(JsonLines, <JsonLines as Rules>::State),
}

/// Finds the beginnings of records in a file that is fed to it piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    format: Format,
    progress: Progress,
    position: u64,
}

impl Scanner {
    /// A scanner whose first byte stands at offset `position` and begins a line.
    #[must_use]
    pub fn new(format: Format, position: u64) -> Self {
        let progress = match format {
            Format::JsonLines => Progress::JsonLines(JsonLines, json::State::new(position)),
            Format::Delimited(dialect) => match dialect.spanning_quote() {
                Some(quote) => Progress::Quoted(Quoted::new(dialect.delimiter(), quote), quoted::State::NEW),
                None => Progress::Lines(Lines, lines::State::NEW),
            },
        };
        Self { format, progress, position }
    }

    /// A scanner that is put down in the middle of a file.
    ///
    /// It takes the byte before for an ordinary one, inside a record and outside quotes. Where that is wrong, its
    /// records are wrong until it [agrees](Self::agrees) with a scanner that came from the beginning.
    #[must_use]
    pub fn guess(format: Format, position: u64) -> Self {
        let mut guess = Self::new(format, position);
        match &mut guess.progress {
            Progress::Lines(_, state) => *state = lines::State::GUESS,
            Progress::Quoted(_, state) => *state = quoted::State::GUESS,
            Progress::JsonLines(_, state) => *state = json::State::GUESS,
        }
        guess
    }

    /// Whether both, at the same offset, find the same records from here on.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.position == other.position && self.progress == other.progress
    }

    /// Reads the next bytes of the file and tells `starts` which records begin in them.
    pub fn feed(&mut self, bytes: &[u8], starts: &mut impl Starts) {
        match &mut self.progress {
            Progress::Lines(rules, state) => scan(*rules, state, bytes, self.position, starts),
            Progress::Quoted(rules, state) => scan(*rules, state, bytes, self.position, starts),
            Progress::JsonLines(rules, state) => scan(*rules, state, bytes, self.position, starts),
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
        match &self.progress {
            Progress::Lines(_, state) => state.between_records(),
            Progress::Quoted(_, state) => state.between_records(),
            Progress::JsonLines(_, state) => state.between_records(),
        }
    }
}

fn scan<R: Rules>(rules: R, state: &mut R::State, bytes: &[u8], position: u64, starts: &mut impl Starts) {
    *state = dispatch!(Level::new(), simd => run(simd, rules, *state, bytes, position, starts));
}

#[inline(always)]
fn run<V: Simd, R: Rules>(
    simd: V,
    rules: R,
    mut state: R::State,
    bytes: &[u8],
    position: u64,
    starts: &mut impl Starts,
) -> R::State {
    let (blocks, tail) = bytes.as_chunks::<WIDTH>();
    let mut base = position;
    for group in blocks.chunks(GROUP) {
        let whole = group.try_into().ok().and_then(|whole| rules.group(simd, &mut state, whole));
        if let Some(words) = whole {
            starts.blocks(base, &words);
            base += (GROUP * WIDTH) as u64;
            continue;
        }
        // Told together, so that the loop over blocks is about nothing but rules.
        let mut words = [0; GROUP];
        let (words, _) = words.split_at_mut(group.len());
        let mut at = base;
        for (index, block) in group.iter().enumerate() {
            let bits = rules.block(simd, &mut state, block, at).unwrap_or_else(|| {
                let slowly = byte_by_byte(rules, state, block, at);
                state = slowly.state;
                slowly.bits_after(base, words, starts)
            });
            if let Some(word) = words.get_mut(index) {
                *word |= bits;
            }
            at += WIDTH as u64;
        }
        starts.blocks(base, words);
        base = at;
    }
    let slowly = byte_by_byte(rules, state, tail, base);
    let bits = slowly.bits_after(base, &mut [], starts);
    starts.starts(base, bits);
    slowly.state
}

/// At most a block. State comes and goes as a value and the code stays out of the loop: so that keeps its registers.
#[cold]
#[inline(never)]
fn byte_by_byte<R: Rules>(rules: R, mut state: R::State, bytes: &[u8], position: u64) -> Slowly<R::State> {
    let mut found = InBlock { base: position, bits: 0, before: None };
    for (&byte, at) in bytes.iter().zip(position..) {
        rules.byte(&mut state, byte, at, &mut found);
    }
    Slowly { state, bits: found.bits, before: found.before }
}

/// What became of bytes that were read one after the other.
struct Slowly<T> {
    state: T,
    bits: u64,
    /// A record that began before them.
    before: Option<u64>,
}

impl<T> Slowly<T> {
    /// Its bits, after a record that began before is told or set in the words from offset `base` on.
    fn bits_after(&self, base: u64, words: &mut [u64], starts: &mut impl Starts) -> u64 {
        let Some(at) = self.before else { return self.bits };
        let offset = at.checked_sub(base).and_then(|offset| usize::try_from(offset).ok());
        match offset.and_then(|offset| words.get_mut(offset / WIDTH)) {
            Some(word) => *word |= 1 << ((at - base) % WIDTH as u64),
            None => starts.start(at),
        }
        self.bits
    }
}

struct InBlock {
    base: u64,
    bits: u64,
    before: Option<u64>,
}

impl Starts for InBlock {
    fn start(&mut self, at: u64) {
        match at.checked_sub(self.base) {
            Some(bit) => self.bits |= 1 << bit,
            None => self.before = Some(at),
        }
    }
}
