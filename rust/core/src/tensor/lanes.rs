//! Many short numbers at once, side by side in the lanes of the processor's vector unit.
//!
//! A field of up to eight characters (a minus sign aside) is an integer of 64 bits. Every step is arithmetic on these:
//! the point is found and taken out, its place becomes a power of ten, neighbouring digits are joined to pairs, fours,
//! eights. There is no branch for the processor to guess wrong, and the compiler makes vector code of the loops.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

use super::number::Number;
use super::word::{POINTS, ZEROS, eight_digits, no_digits, zero_bytes};

/// The digit 1 in the last place.
const UNIT: u64 = 1 << 56;

/// Fields that are to become numbers: for each what is needed of its text, so that the rest can go on without it.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    begins: Vec<u32>,
    ends: Vec<u32>,
    /// The last eight bytes, and the first.
    words: Vec<u64>,
    heads: Vec<u8>,
}

impl Lanes {
    /// Takes the fields off.
    pub(super) fn clear(&mut self) {
        self.begins.clear();
        self.ends.clear();
        self.words.clear();
        self.heads.clear();
    }

    /// Where the field in a lane begins and ends.
    pub(super) fn span(&self, lane: usize) -> Option<(u32, u32)> {
        self.begins.get(lane).copied().zip(self.ends.get(lane).copied())
    }

    /// Loads neighbouring fields of a record, of which the first begins at `begin`.
    #[inline(always)]
    pub(super) fn load(&mut self, text: &[u8], begin: u32, ends: &[u32]) {
        let known = self.ends.len();
        self.ends.extend_from_slice(ends);
        self.begins.push(begin);
        self.begins.extend_from_slice(ends.split_last().map_or(ends, |(_, before)| before));
        self.begins.iter_mut().skip(known + 1).for_each(|begin| *begin += 1);
        self.words.resize(known + ends.len(), 0);
        self.heads.resize(known + ends.len(), 0);
        let spans = self.begins.iter().zip(&self.ends);
        let places = self.words.iter_mut().zip(&mut self.heads);
        for ((&begin, &end), (word, head)) in spans.zip(places).skip(known) {
            *word = last_eight(text, end as usize);
            *head = text.get(begin as usize).copied().unwrap_or_default();
        }
    }

    /// Makes numbers of all fields; those of which none can be made here get a value other than 0 in `refused`.
    /// Both slices have as many places as there are fields.
    ///
    /// Returns whether there is such a field.
    #[inline(always)]
    pub(super) fn numbers<T: Number>(&self, values: &mut [T], refused: &mut [u8]) -> bool {
        let mut any = 0;
        let spans = self.begins.iter().zip(&self.ends);
        let fields = spans.zip(self.words.iter().zip(&self.heads));
        for (((&begin, &end), (&word, &head)), (value, refused)) in fields.zip(values.iter_mut().zip(refused))
        {
            let negative = u32::from(head == b'-');
            let length = (end - begin).wrapping_sub(negative);
            let (number, flaw) = number::<T>(word, length, negative);
            *value = number;
            *refused = u8::from(flaw != 0);
            any |= flaw;
        }
        any != 0
    }
}

#[inline(always)]
fn last_eight(text: &[u8], end: usize) -> u64 {
    // Too near to the beginning of the text: nothing, which no digit is.
    let bytes = text.get(end.wrapping_sub(8)..end).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// The number in the last `length` bytes of a word, and something other than 0 when there is none.
#[inline(always)]
fn number<T: Number>(word: u64, length: u32, negative: u32) -> (T, u64) {
    let outside = length.wrapping_sub(1) >= 8;
    let foreign = 64_u32.wrapping_sub(8 * length) & 63; // bits of the field before
    let word = (word ^ ZEROS) >> foreign << foreign;
    let found = zero_bytes(word ^ POINTS);
    let point = if T::POINT { found & found.wrapping_neg() } else { 0 };
    // The characters before the point move up to those behind it; its own place, as a digit 1, is the power of ten.
    let before = word & (point >> 7).wrapping_sub(1);
    let behind = word & !(point << 1).wrapping_sub(1);
    let digits = if point == 0 { word } else { behind | before << 8 };
    let unit = if point == 0 { UNIT } else { point >> 7 };
    let lone = if length == 1 { point } else { 0 };
    let flaw = no_digits(digits) | lone | u64::from(outside);
    let (number, exact) = T::of(eight_digits(digits), eight_digits(unit), negative);
    (number, flaw | u64::from(!exact))
}
