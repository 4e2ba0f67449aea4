//! Delimited text in which a quoted field may hold line breaks.
//!
//! A quote opens a field only at the field's start; elsewhere outside quotes it is an ordinary byte. Inside quotes
//! the next quote closes, and a quote straight after it opens again, which is how `""` comes to stand for one quote.
//! If every quote that opens by counting (the 1st, 3rd, 5th ...) stands at a field's start or after a
//! closing quote, counting is right, and a block of 64 bytes is settled by its quotes' running parity. A
//! block with any other quote is read byte by byte.

use fearless_simd::Simd;

use super::{Rules, Starts, byte_by_byte};
use crate::mask::{self, Block};

#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted {
    delimiter: u8,
    quote: u8,
    /// Whether the byte before stands inside quotes.
    inside: bool,
    /// Whether a quote would open here: after a delimiter, a line break or a closing quote.
    opens: bool,
    /// Whether the byte before was a line break outside quotes (or there was none).
    fresh: bool,
}

impl Quoted {
    pub(super) fn new(delimiter: u8, quote: u8) -> Self {
        Self { delimiter, quote, inside: false, opens: true, fresh: true }
    }

    pub(super) fn guess(delimiter: u8, quote: u8) -> Self {
        Self { delimiter, quote, inside: false, opens: false, fresh: false }
    }

    pub(super) fn between_records(self) -> bool {
        self.fresh
    }

    #[inline(always)]
    fn unquoted<V: Simd, S: Starts>(&mut self, simd: V, block: &Block, base: u64, starts: &mut S) {
        if self.inside {
            return;
        }
        let breaks = mask::line_breaks(simd, block);
        starts.starts(base, !breaks & (breaks << 1 | u64::from(self.fresh)));
        self.fresh = breaks >> 63 == 1;
        self.opens = self.fresh || last(block) == self.delimiter;
    }
}

impl PartialEq for Quoted {
    fn eq(&self, other: &Self) -> bool {
        // Inside quotes nothing else is looked at before the closing quote.
        self.inside == other.inside && (self.inside || (self.opens, self.fresh) == (other.opens, other.fresh))
    }
}

impl Rules for Quoted {
    #[inline(always)]
    fn block<V: Simd, S: Starts>(&mut self, simd: V, block: &Block, base: u64, starts: &mut S) {
        let quotes = mask::equal(simd, block, self.quote);
        if quotes == 0 {
            return self.unquoted(simd, block, base, starts);
        }
        let inside = mask::prefix_parity(quotes) ^ (u64::from(self.inside).wrapping_neg());
        let breaks = mask::line_breaks(simd, block) & !inside;
        let may_precede = mask::equal(simd, block, self.delimiter) | breaks | quotes;
        let opening = quotes & inside;
        if opening & !(may_precede << 1 | u64::from(self.opens)) != 0 {
            return byte_by_byte(self, block, base, starts);
        }
        // A break inside quotes is no break, but the byte after it begins no record either.
        let after_break = breaks << 1 | u64::from(self.fresh);
        starts.starts(base, after_break & !breaks);
        self.inside = inside >> 63 == 1;
        self.opens = may_precede >> 63 == 1;
        self.fresh = breaks >> 63 == 1;
    }

    #[inline]
    fn byte<S: Starts>(&mut self, byte: u8, at: u64, starts: &mut S) {
        if self.inside {
            self.opens = byte == self.quote;
            self.inside = !self.opens;
            return;
        }
        let line_break = matches!(byte, b'\r' | b'\n');
        if self.fresh && !line_break {
            starts.start(at);
        }
        self.inside = self.opens && byte == self.quote;
        self.opens = line_break || byte == self.delimiter;
        self.fresh = line_break;
    }
}

#[inline]
fn last(block: &Block) -> u8 {
    let [.., last] = *block;
    last
}
