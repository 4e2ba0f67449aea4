//! What numbers there are, and one of them from its text, exactly.
//!
//! The digits as an integer, divided by a power of ten, give the nearest float if both are exact (Clinger 1990, "How to
//! read floating point numbers accurately"). All other spellings go through the standard library, which is exact too
//! and slower.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

use super::text::unquoted;
use super::word::{POINTS, ZEROS, eight_digits, no_digits, zero_bytes};

/// A type that text is read into.
pub(super) trait Number: Copy + Sized {
    /// What stands for a missing value, if the type has something.
    const MISSING: Option<Self>;
    /// Whether a point may be among the digits.
    const POINT: bool;
    /// Nothing in particular.
    const ZERO: Self;

    /// Up to eight digits over a power of ten below 10^8, and whether that is exact.
    fn of(digits: i32, unit: i32, negative: u32) -> (Self, bool);

    /// `digits / 10^scale`, or its negative, if that can be had exactly here. At most 16 digits.
    fn from_digits(digits: i64, scale: usize, negative: bool) -> Option<Self>;

    /// Reads a spelling that is not empty and has no white space.
    fn parse(text: &[u8]) -> Option<Self>;
}

/// What a field holds.
pub(super) enum Read<T> {
    Value(T),
    Missing,
    Unfit,
}

/// Reads the field from `begin` to `end` if it is an optional minus and up to 16 characters, of which one is a point.
pub(super) fn plain<T: Number>(text: &[u8], begin: usize, end: usize) -> Option<T> {
    let negative = *text.get(begin)? == b'-';
    let length = end.checked_sub(begin + usize::from(negative)).filter(|length| (1..=16).contains(length))?;
    let bytes = text.get(end.checked_sub(16)?..end)?;
    let (digits, scale) = sixteen::<T>(u128::from_le_bytes(bytes.try_into().ok()?), length)?;
    T::from_digits(digits, scale, negative)
}

/// The last `length` of sixteen characters as an integer, and how many of them stand behind the point.
fn sixteen<T: Number>(word: u128, length: usize) -> Option<(i64, usize)> {
    let foreign = 128 - 8 * length; // bits of the field before
    let word = (word ^ (u128::from(ZEROS) << 64 | u128::from(ZEROS))) >> foreign << foreign;
    let (low, high) = halves(word);
    let at = match (zero_bytes(low ^ POINTS), zero_bytes(high ^ POINTS)) {
        (0, 0) => return Some((joined(word)?, 0)),
        _ if !T::POINT || length == 1 => return None,
        (0, point) => 64 + point.trailing_zeros(), // of the point's byte the highest bit
        (point, _) => point.trailing_zeros(),
    };
    let before = word & ((1 << (at - 7)) - 1);
    let behind = word & !(2_u128 << at).wrapping_sub(1);
    Some((joined(behind | before << 8)?, 15 - (at / 8) as usize))
}

fn joined(word: u128) -> Option<i64> {
    let (low, high) = halves(word);
    (no_digits(low) | no_digits(high) == 0)
        .then(|| i64::from(eight_digits(low)) * 100_000_000 + i64::from(eight_digits(high)))
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
fn halves(word: u128) -> (u64, u64) {
    (word as u64, (word >> 64) as u64)
}

/// Everything that is not plain: missing values, quotes, white space, exponents, long numbers.
pub(super) fn unusual<T: Number>(field: &[u8], quote: Option<u8>, missing: &[Vec<u8>]) -> Read<T> {
    let inner = quote
        .filter(|quote| field.first() == Some(quote))
        .map_or(Some(field), |quote| unquoted(field, quote));
    let Some(inner) = inner else { return Read::Unfit };
    if inner.is_empty() || missing.iter().any(|one| one == inner) {
        return Read::Missing;
    }
    T::parse(trimmed(inner)).map_or(Read::Unfit, Read::Value)
}

fn trimmed(field: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !blank(byte)).map_or(begin, |last| last + 1);
    field.get(begin..end).unwrap_or_default()
}

/// `text` if it has nothing but what numbers are written with: the standard library reads words too.
fn numeral<'a>(text: &'a [u8], marks: &[u8]) -> Option<&'a str> {
    let allowed = text.iter().all(|byte| byte.is_ascii_digit() || marks.contains(byte));
    std::str::from_utf8(text).ok().filter(|_| allowed)
}

/// Powers of ten that an f64 holds exactly and that up to 16 digits can need.
const POWERS: [f64; 17] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16];
/// The same for f32.
const SHORT_POWERS: [f32; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];

#[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
impl Number for f64 {
    const MISSING: Option<Self> = Some(Self::NAN);
    const POINT: bool = true;
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn of(digits: i32, unit: i32, negative: u32) -> (Self, bool) {
        let value = Self::from(digits) / Self::from(unit);
        (Self::from_bits(value.to_bits() | u64::from(negative) << 63), true)
    }

    fn from_digits(digits: i64, scale: usize, negative: bool) -> Option<Self> {
        if digits > 1 << Self::MANTISSA_DIGITS {
            return None;
        }
        let value = digits as Self / POWERS.get(scale)?;
        Some(Self::from_bits(value.to_bits() | u64::from(negative) << 63))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        numeral(text, b"+-.eE")?.parse().ok()
    }
}

#[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
impl Number for f32 {
    const MISSING: Option<Self> = Some(Self::NAN);
    const POINT: bool = true;
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn of(digits: i32, unit: i32, negative: u32) -> (Self, bool) {
        let value = digits as Self / unit as Self;
        (Self::from_bits(value.to_bits() | negative << 31), digits <= 1 << Self::MANTISSA_DIGITS)
    }

    fn from_digits(digits: i64, scale: usize, negative: bool) -> Option<Self> {
        match SHORT_POWERS.get(scale) {
            Some(power) if digits <= 1 << Self::MANTISSA_DIGITS => {
                let value = digits as Self / power;
                Some(Self::from_bits(value.to_bits() | u32::from(negative) << 31))
            }
            _ => rounded(digits, scale, negative),
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        numeral(text, b"+-.eE")?.parse().ok()
    }
}

/// The f32 next to an f64 that was rounded itself; None when that lies just between two f32, so that the first rounding
/// may have decided the second.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the point")]
fn rounded(digits: i64, scale: usize, negative: bool) -> Option<f32> {
    const DROPPED: u64 = (1 << (f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS)) - 1;
    let value = f64::from_digits(digits, scale, negative)?;
    (value.to_bits() & DROPPED != DROPPED / 2 + 1).then_some(value as f32)
}

impl Number for i64 {
    const MISSING: Option<Self> = None;
    const POINT: bool = false;
    const ZERO: Self = 0;

    #[inline(always)]
    fn of(digits: i32, _unit: i32, negative: u32) -> (Self, bool) {
        // All bits turned over and one added is the negative.
        ((Self::from(digits) ^ -Self::from(negative)) + Self::from(negative), true)
    }

    fn from_digits(digits: i64, _scale: usize, negative: bool) -> Option<Self> {
        Some(if negative { -digits } else { digits })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        numeral(text, b"-")?.parse().ok()
    }
}

#[cfg(test)]
mod tests;
