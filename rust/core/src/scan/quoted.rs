//! Delimited text in which a quoted field may hold line breaks.
//!
//! A quote opens a field only at the field's start; elsewhere outside quotes it is an ordinary byte. Inside quotes
//! the next quote closes, and a quote straight after it opens again, which is how `""` comes to stand for one quote.
//! If every quote that opens by counting (the 1st, 3rd, 5th ...) stands at a field's start or after a
//! closing quote, counting is right, and a block of 64 bytes is settled by its quotes' running parity. A
//! block with any other quote is read byte by byte.

use fearless_simd::Simd;

use super::{Rules, Starts};
use crate::mask::{self, Block};

/// Blocks without a quote after which the next is taken to have none too. Where blocks with and without quotes
/// alternate, to tell them apart takes longer than to treat them alike: the processor guesses the branch wrongly.
const CALM: u8 = 16;

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
    /// Blocks since the last one with a quote, at most [`CALM`]; this changes the way, never the answer.
    calm: u8,
}

impl State {
    pub(super) const NEW: Self = Self { inside: false, opens: true, fresh: true, calm: CALM };
    pub(super) const GUESS: Self = Self { inside: false, opens: false, fresh: false, calm: CALM };

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

    #[inline(always)]
    fn unquoted<V: Simd>(self, simd: V, state: &mut State, block: &Block) -> u64 {
        if state.inside {
            return 0;
        }
        let breaks = mask::line_breaks(simd, block);
        let begins = !breaks & (breaks << 1 | u64::from(state.fresh));
        state.fresh = breaks >> 63 == 1;
        state.opens = (breaks | mask::equal(simd, block, self.delimiter)) >> 63 == 1;
        begins
    }
}

impl Rules for Quoted {
    type State = State;

    #[inline(always)]
    fn block<V: Simd>(self, simd: V, state: &mut State, block: &Block, _base: u64) -> Option<u64> {
        let quotes = mask::equal(simd, block, self.quote);
        if state.calm == CALM && quotes == 0 {
            return Some(self.unquoted(simd, state, block));
        }
        let inside = mask::prefix_parity(quotes) ^ u64::from(state.inside).wrapping_neg();
        let breaks = mask::line_breaks(simd, block) & !inside;
        let may_precede = mask::equal(simd, block, self.delimiter) | breaks | quotes;
        let opening = quotes & inside;
        if opening & !(may_precede << 1 | u64::from(state.opens)) != 0 {
            return None;
        }
        // A break inside quotes is no break, but the byte after it begins no record either.
        let begins = !breaks & (breaks << 1 | u64::from(state.fresh));
        state.calm = if quotes == 0 { CALM.min(state.calm + 1) } else { 0 };
        state.inside = inside >> 63 == 1;
        state.opens = may_precede >> 63 == 1;
        state.fresh = breaks >> 63 == 1;
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
