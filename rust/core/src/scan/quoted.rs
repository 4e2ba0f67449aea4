//! Delimited text in which a quoted field may hold line breaks.
//!
//! A quote opens a field only at the field's start; elsewhere outside quotes it is an ordinary byte. Inside quotes
//! the next quote closes, and a quote straight after it opens again, which is how `""` comes to stand for one quote.
//! If every quote that opens by counting (the 1st, 3rd, 5th ...) stands at a field's start or after a
//! closing quote, counting is right, and a block of 64 bytes is settled by its quotes' running parity. A
//! block with any other quote is read byte by byte.
//!
//! Of a group of blocks each step is taken for all of them before the next one, so that the compiler makes vector code
//! of what is arithmetic on words.

use fearless_simd::Simd;

use super::{Blocks, GROUP, Rules, Starts, Words};
use crate::mask::{self, Block};

/// Groups after one with a misplaced quote that are taken block by block at once: where there is one, there are more.
const ROUGH: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quoted {
    delimiter: u8,
    quote: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Whether the byte before stands inside quotes.
    inside: bool,
    /// Whether a quote would open here: after a delimiter, a line break or a closing quote.
    opens: bool,
    /// Whether the byte before was a line break outside quotes (or there was none).
    fresh: bool,
    /// Groups that are still to be taken block by block; this changes the way, never the answer.
    rough: u8,
}

impl State {
    pub(super) const NEW: Self = Self { inside: false, opens: true, fresh: true, rough: 0 };
    pub(super) const GUESS: Self = Self { inside: false, opens: false, fresh: false, rough: 0 };

    pub(super) fn between_records(self) -> bool {
        self.fresh
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        // Inside quotes nothing else is looked at before the closing quote.
        self.inside == other.inside && (self.inside || (self.opens, self.fresh) == (other.opens, other.fresh))
    }
}

impl Quoted {
    pub(super) fn new(delimiter: u8, quote: u8) -> Self {
        Self { delimiter, quote }
    }

    /// A group without a quote.
    #[inline(always)]
    fn unquoted<V: Simd>(self, simd: V, state: &mut State, blocks: &Blocks, breaks: &Words) -> Words {
        if state.inside {
            return [0; GROUP];
        }
        let begins = beginnings(breaks, state.fresh);
        let delimiters = blocks.last().map_or(0, |block| mask::equal(simd, block, self.delimiter));
        state.fresh = ends_with(breaks);
        state.opens = state.fresh || delimiters >> 63 == 1;
        begins
    }
}

/// The bit before each bit, where `first` stands before all of them.
#[inline(always)]
fn before(words: &Words, first: bool) -> Words {
    let mut shifted = *words;
    let mut carried = u64::from(first);
    for word in &mut shifted {
        let last = *word >> 63;
        *word = *word << 1 | carried;
        carried = last;
    }
    shifted
}

/// The bytes after line breaks that are none themselves.
#[inline(always)]
fn beginnings(breaks: &Words, fresh: bool) -> Words {
    let mut begins = before(breaks, fresh);
    for (begin, line_break) in begins.iter_mut().zip(breaks) {
        *begin &= !line_break;
    }
    begins
}

fn ends_with(words: &Words) -> bool {
    words.last().is_some_and(|word| word >> 63 == 1)
}

impl Rules for Quoted {
    type State = State;

    #[inline(always)]
    fn block<V: Simd>(self, simd: V, state: &mut State, block: &Block, _base: u64) -> Option<u64> {
        let quotes = mask::equal(simd, block, self.quote);
        let inside = mask::prefix_parity(quotes) ^ u64::from(state.inside).wrapping_neg();
        let breaks = mask::line_breaks(simd, block) & !inside;
        let may_precede = mask::equal(simd, block, self.delimiter) | breaks | quotes;
        let opening = quotes & inside;
        if opening & !(may_precede << 1 | u64::from(state.opens)) != 0 {
            return None;
        }
        // A break inside quotes is no break, but the byte after it begins no record either.
        let begins = !breaks & (breaks << 1 | u64::from(state.fresh));
        state.inside = inside >> 63 == 1;
        state.opens = may_precede >> 63 == 1;
        state.fresh = breaks >> 63 == 1;
        Some(begins)
    }

    #[inline(always)]
    fn group<V: Simd>(self, simd: V, state: &mut State, blocks: &Blocks) -> Option<Words> {
        if state.rough > 0 {
            state.rough -= 1;
            return None;
        }
        let quotes = blocks.each_ref().map(|block| mask::equal(simd, block, self.quote));
        let mut breaks = blocks.each_ref().map(|block| mask::line_breaks(simd, block));
        if quotes.iter().fold(0, |any, word| any | word) == 0 {
            return Some(self.unquoted(simd, state, blocks, &breaks));
        }
        let delimiters = blocks.each_ref().map(|block| mask::equal(simd, block, self.delimiter));
        let mut inside = quotes.map(mask::prefix_parity);
        let mut within = u64::from(state.inside).wrapping_neg();
        for word in &mut inside {
            *word ^= within;
            within = (*word >> 63).wrapping_neg();
        }
        let mut may_precede = quotes;
        for ((word, line_breaks), (delimiters, inside)) in
            may_precede.iter_mut().zip(&mut breaks).zip(delimiters.iter().zip(&inside))
        {
            *line_breaks &= !inside;
            *word |= delimiters | *line_breaks;
        }
        let openable = before(&may_precede, state.opens);
        let opening = quotes.iter().zip(&inside).map(|(quotes, inside)| quotes & inside);
        if opening.zip(&openable).fold(0, |any, (opening, openable)| any | opening & !openable) != 0 {
            state.rough = ROUGH;
            return None;
        }
        let begins = beginnings(&breaks, state.fresh);
        *state = State {
            inside: ends_with(&inside),
            opens: ends_with(&may_precede),
            fresh: ends_with(&breaks),
            rough: 0,
        };
        Some(begins)
    }

    #[inline]
    fn byte<S: Starts>(self, state: &mut State, byte: u8, at: u64, starts: &mut S) {
        if state.inside {
            state.opens = byte == self.quote;
            state.inside = !state.opens;
            return;
        }
        let line_break = matches!(byte, b'\r' | b'\n');
        if state.fresh && !line_break {
            starts.start(at);
        }
        state.inside = state.opens && byte == self.quote;
        state.opens = line_break || byte == self.delimiter;
        state.fresh = line_break;
    }
}
