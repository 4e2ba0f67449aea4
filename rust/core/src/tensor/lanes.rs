//! Many short numbers at once, side by side in the lanes of the processor's vector unit.
//!
//! A field of up to eight characters (a minus sign aside) is an integer of 64 bits. Every step is arithmetic on these:
//! the point is found and taken out, its place chooses a power of ten, neighbouring digits are joined to pairs, fours,
//! eights. There is no branch for the processor to guess wrong, and the compiler makes vector code of the loops.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

use super::number::Number;
use super::word::{POINTS, ZEROS, eight_digits, no_digits, zero_bytes};

/// Fields that are to become numbers: for each what is needed of its text, so that the rest can go on without it.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lengths: Vec<u32>,
    /// The last eight bytes, and the first.
    words: Vec<u64>,
    heads: Vec<u8>,
    /// Other than 0 where no number could be made.
    refused: Vec<u8>,
}

impl Lanes {
    /// Loads the fields of records, `fields` neighbours of each: where the first begins, and where each ends.
    #[inline(always)]
    pub(super) fn load<'a>(
        &mut self,
        text: &[u8],
        (count, fields): (usize, usize),
        records: impl Iterator<Item = (u32, &'a [u32])>,
    ) {
        let lanes = count * fields;
        let lengths = room(&mut self.lengths, lanes).chunks_exact_mut(fields);
        let rest = room(&mut self.words, lanes).chunks_exact_mut(fields);
        let rest = rest.zip(room(&mut self.heads, lanes).chunks_exact_mut(fields));
        for ((mut begin, ends), (lengths, (words, heads))) in records.zip(lengths.zip(rest)) {
            for (&end, (length, (word, head))) in
                ends.iter().zip(lengths.iter_mut().zip(words.iter_mut().zip(heads)))
            {
                *length = end - begin;
                *word = last_eight(text, end as usize);
                *head = text.get(begin as usize).copied().unwrap_or_default();
                begin = end + 1;
            }
        }
    }

    /// Makes numbers of all fields, of which there are as many as `values`, and tells whether there is one of which
    /// none can be made here.
    #[inline(always)]
    pub(super) fn numbers<T: Number>(&mut self, values: &mut [T]) -> bool {
        let mut any = 0;
        let refused = room(&mut self.refused, values.len());
        let fields = self.lengths.iter().zip(self.words.iter().zip(&self.heads));
        for ((&length, (&word, &head)), (value, refused)) in fields.zip(values.iter_mut().zip(refused)) {
            let negative = u32::from(head == b'-');
            let (number, flaw) = number::<T>(word, length.wrapping_sub(negative), negative);
            *value = number;
            *refused = u8::from(flaw != 0);
            any |= flaw;
        }
        any != 0
    }

    /// Whether no number could be made of the field in a lane.
    pub(super) fn refused(&self, lane: usize) -> bool {
        self.refused.get(lane) != Some(&0)
    }
}

/// The first `length` places. They are not taken back when fewer are needed: runs of one field and of many take turns,
/// and clearing the places again and again took a thirtieth of the time of reading.
#[inline(always)]
fn room<T: Copy + Default>(places: &mut Vec<T>, length: usize) -> &mut [T] {
    if places.len() < length {
        places.resize(length, T::default());
    }
    places.get_mut(..length).unwrap_or_default()
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
    // The characters before the point move up to those behind it.
    let before = word & (point >> 7).wrapping_sub(1);
    let behind = word & !(point << 1).wrapping_sub(1);
    let digits = if point == 0 { word } else { behind | before << 8 };
    let lone = if length == 1 { point } else { 0 };
    let flaw = no_digits(digits) | lone | u64::from(outside);
    let (number, exact) = T::of(eight_digits(digits), power(point), negative);
    (number, flaw | u64::from(!exact))
}

/// Ten to the number of places behind the point, which is the highest bit of its byte; 1 when there is none.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "below 10^8")]
fn power(point: u64) -> i32 {
    let places = |bytes: u64, power: u64| if point & bytes == 0 { 1 } else { power };
    let fours = places(0x0000_0000_ffff_ffff, 10_000);
    let pairs = places(0x0000_ffff_0000_ffff, 100);
    let ones = places(0x00ff_00ff_00ff_00ff, 10);
    (fours * pairs * ones) as i32
}
