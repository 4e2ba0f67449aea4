//! Eight characters in an integer of 64 bits, the first in its lowest byte.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

/// Zeros in all places.
pub(super) const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
/// What points become when a zero is taken from each character.
pub(super) const POINTS: u64 = u64::from_le_bytes([b'.' ^ b'0'; 8]);
const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH_BITS: u64 = ONES << 7;

/// The high bit of the first byte that is zero, and perhaps of some after it.
#[inline(always)]
pub(super) fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH_BITS
}

/// 0 if all bytes are 0 to 9, else something else.
#[inline(always)]
pub(super) fn no_digits(word: u64) -> u64 {
    (word | word.wrapping_add(ONES * 0x76)) & HIGH_BITS
}

/// The number that bytes of 0 to 9 spell; anything for other bytes.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "of eight digits nothing is lost")]
pub(super) fn eight_digits(word: u64) -> i32 {
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    const FOURS: u64 = 0x0000_ffff_0000_ffff;
    // Neighbours are joined to pairs, pairs to fours, fours to eight.
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8) & PAIRS;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & FOURS;
    ((fours & 0xffff_ffff) * 10_000 + (fours >> 32)) as i32
}
