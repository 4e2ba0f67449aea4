//! The steps in the processor's own instructions. They are compiled into whoever calls them, so that what goes from one
//! to the next stays in registers.

use std::arch::x86_64::{
    __m256i, _mm_cvtsi128_si64, _mm_movm_epi8, _mm256_add_epi32, _mm256_alignr_epi32, _mm256_and_si256,
    _mm256_cmpeq_epi32_mask, _mm256_cmpgt_epu32_mask, _mm256_mask_or_epi32, _mm256_mask_sub_epi32,
    _mm256_set1_epi32, _mm256_sub_epi32, _mm512_add_epi8, _mm512_add_epi32, _mm512_add_epi64,
    _mm512_adds_epu8, _mm512_and_si512, _mm512_castsi256_si512, _mm512_castsi512_si128,
    _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask, _mm512_cvtepu8_epi32, _mm512_cvtepu32_epi64,
    _mm512_madd_epi16, _mm512_maddubs_epi16, _mm512_mask_ternarylogic_epi64, _mm512_maskz_compress_epi8,
    _mm512_movm_epi8, _mm512_packus_epi32, _mm512_permutex2var_epi8, _mm512_permutexvar_epi32,
    _mm512_popcnt_epi64, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_slli_epi64, _mm512_sllv_epi64, _mm512_srli_epi64, _mm512_sub_epi64,
    _mm512_ternarylogic_epi64, _mm512_test_epi64_mask, _pdep_u64,
};

use fearless_simd::prelude::*;
pub(in super::super) use fearless_simd::x86::Avx512 as Wide;
use fearless_simd::{i32x8, kernel, u8x64, u32x8, u32x16, u64x8};

use super::super::word::{POINTS, ZEROS};
use super::{GROUP, PLACES, WINDOW};

/// The highest bit.
const MINUS: i32 = i32::MIN;
/// For `ternarylogic`: the third, where the first two differ.
const DIFFERENT_AND: i32 = 0x28;
/// For `ternarylogic`: the first without the second, and the third.
const WITHOUT_OR: i32 = 0xba;

const FOLLOWING: u64 = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
const EIGHT: u64 = u64::from_le_bytes([8; 8]);
/// Of every byte of a block where it stands.
const ORDER: [u64; 8] = [
    FOLLOWING,
    FOLLOWING + EIGHT,
    FOLLOWING + 2 * EIGHT,
    FOLLOWING + 3 * EIGHT,
    FOLLOWING + 4 * EIGHT,
    FOLLOWING + 5 * EIGHT,
    FOLLOWING + 6 * EIGHT,
    FOLLOWING + 7 * EIGHT,
];
/// For every byte the first of its eight, counted within sixteen.
const FIRST: [u64; 8] = [0, EIGHT, 0, EIGHT, 0, EIGHT, 0, EIGHT];
/// Ten to the number of characters behind a point that is character 0 to 7; 1 where there is none.
const UNITS: [u32; 16] = [10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1, 1, 0, 0, 0, 0, 0, 0, 0];
/// Every second place.
const EVEN: [u32; 16] = [0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0];
/// The first two places of every four.
const PAIRS: [u32; 16] = [0, 1, 4, 5, 8, 9, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0];
/// Weights of two neighbours that are to become one number, as bytes and as halves of 32 bits.
const TENS: i32 = i32::from_le_bytes([10, 1, 10, 1]);
const HUNDREDS: i32 = 100 + (1 << 16);
const TEN_THOUSANDS: i32 = 10_000 + (1 << 16);

kernel!(
    /// Where the first bits of `bits` stand, counted from `base`, with anything where there are fewer; and the bits
    /// behind them.
    #[inline]
    pub(in super::super) fn places(wide: Avx512, bits: u64, base: u32) -> ([u32; PLACES], u64) {
        let order: u64x8<Wide> = ORDER.simd_into(wide);
        let chosen = _mm512_maskz_compress_epi8(bits, order.into());
        let chosen = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(chosen));
        let places = _mm512_add_epi32(chosen, _mm512_set1_epi32(base.cast_signed()));
        let places: u32x16<Wide> = places.simd_into(wide);
        (places.into(), _pdep_u64(u64::MAX << PLACES, bits))
    }
);

kernel!(
    /// The last eight bytes of neighbouring fields, and their shapes: the length without a minus sign, and in the highest
    /// bit whether there is one.
    ///
    /// The `window` of the text begins eight bytes before `begin`, where the first field does. `ends` are where
    /// the fields end, none of them more than [`super::SPAN`] behind `begin`.
    #[inline]
    pub(in super::super) fn words(
        wide: Avx512,
        window: &[u8; WINDOW],
        begin: u32,
        ends: [u32; GROUP],
    ) -> ([u64; GROUP], [u32; GROUP]) {
        let (low, high) = window.split_at(WINDOW / 2);
        let (low, high) = (u8x64::from_slice(wide, low), u8x64::from_slice(wide, high));
        let ends: u32x8<Wide> = ends.simd_into(wide);
        let ends = _mm256_sub_epi32(ends.into(), _mm256_set1_epi32(begin.cast_signed()));
        // A field begins behind the end of the one before; the first one's is the byte before the window's ninth.
        let before = _mm256_alignr_epi32::<7>(ends, _mm256_set1_epi32(-1));
        let heads = _mm512_castsi256_si512(_mm256_add_epi32(before, _mm256_set1_epi32(9)));
        let heads = _mm512_permutex2var_epi8(low.into(), heads, high.into());
        let heads = _mm256_and_si256(_mm512_castsi512_si256(heads), _mm256_set1_epi32(0xff));
        let minus = _mm256_cmpeq_epi32_mask(heads, _mm256_set1_epi32(i32::from(b'-')));
        let one = _mm256_set1_epi32(1);
        let lengths = _mm256_sub_epi32(_mm256_sub_epi32(ends, before), one);
        let lengths = _mm256_mask_sub_epi32(lengths, minus, lengths, one);
        let shapes = _mm256_mask_or_epi32(lengths, minus, lengths, _mm256_set1_epi32(MINUS));
        // The window is eight bytes ahead of `begin`: what stands at an end's place in it is the eighth byte before.
        let first: u64x8<Wide> = FIRST.simd_into(wide);
        let bytes = _mm512_shuffle_epi8(_mm512_cvtepu32_epi64(ends), first.into());
        let bytes = _mm512_add_epi8(bytes, _mm512_set1_epi64(FOLLOWING.cast_signed()));
        let words = _mm512_permutex2var_epi8(low.into(), bytes, high.into());
        let (words, shapes): (u64x8<Wide>, u32x8<Wide>) = (words.simd_into(wide), shapes.simd_into(wide));
        (words.into(), shapes.into())
    }
);

kernel!(
    /// The digits of fields as integers, the power of ten that each is to be divided by, and other than 0 where there
    /// is no number of up to eight characters.
    ///
    /// Fields are what [`words`] gives; `pointed` says whether a point may be among their digits.
    #[inline]
    pub(in super::super) fn digits(
        wide: Avx512,
        words: [u64; GROUP],
        shapes: [u32; GROUP],
        pointed: bool,
    ) -> ([i32; GROUP], [i32; GROUP], [u8; GROUP]) {
        let (words, shapes): (u64x8<Wide>, u32x8<Wide>) = (words.simd_into(wide), shapes.simd_into(wide));
        let lengths = _mm256_and_si256(shapes.into(), _mm256_set1_epi32(!MINUS));
        let (one, less_one) = (_mm256_set1_epi32(1), _mm512_set1_epi64(-1));
        let mut flaws = _mm256_cmpgt_epu32_mask(_mm256_sub_epi32(lengths, one), _mm256_set1_epi32(7));
        let foreign = _mm512_slli_epi64::<3>(_mm512_cvtepu32_epi64(lengths));
        let own = _mm512_sllv_epi64(less_one, _mm512_sub_epi64(_mm512_set1_epi64(64), foreign));
        let zeros = _mm512_set1_epi64(ZEROS.cast_signed());
        let text = _mm512_ternarylogic_epi64::<DIFFERENT_AND>(words.into(), zeros, own);
        let (mut digits, mut units) = (text, one);
        if pointed {
            let points = _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi64(POINTS.cast_signed()));
            let points = _mm512_movm_epi8(points);
            let point = _mm512_and_si512(points, _mm512_sub_epi64(_mm512_setzero_si512(), points));
            let before = _mm512_add_epi64(point, less_one);
            let through = _mm512_add_epi64(_mm512_slli_epi64::<8>(point), less_one);
            // The characters before the point move up to those behind it.
            let moved = _mm512_slli_epi64::<8>(_mm512_and_si512(text, before));
            let pointed = _mm512_test_epi64_mask(points, points);
            digits = _mm512_mask_ternarylogic_epi64::<WITHOUT_OR>(text, pointed, through, moved);
            flaws |= pointed & _mm256_cmpeq_epi32_mask(lengths, one);
            let place = _mm512_srli_epi64::<3>(_mm512_popcnt_epi64(before));
            let (even, table): (u32x16<Wide>, u32x16<Wide>) = (EVEN.simd_into(wide), UNITS.simd_into(wide));
            let place = _mm512_permutexvar_epi32(even.into(), place);
            units = _mm512_castsi512_si256(_mm512_permutexvar_epi32(place, table.into()));
        }
        let above_nine = _mm512_adds_epu8(digits, _mm512_set1_epi8(0x7f - 9));
        flaws |= _mm512_test_epi64_mask(above_nine, _mm512_set1_epi8(i8::MIN));
        let digits = _mm512_maddubs_epi16(digits, _mm512_set1_epi32(TENS));
        let digits = _mm512_madd_epi16(digits, _mm512_set1_epi32(HUNDREDS));
        let digits = _mm512_packus_epi32(digits, digits);
        let digits = _mm512_madd_epi16(digits, _mm512_set1_epi32(TEN_THOUSANDS));
        let pairs: u32x16<Wide> = PAIRS.simd_into(wide);
        let digits: __m256i = _mm512_castsi512_si256(_mm512_permutexvar_epi32(pairs.into(), digits));
        let (digits, units): (i32x8<Wide>, i32x8<Wide>) = (digits.simd_into(wide), units.simd_into(wide));
        let flaws = _mm_cvtsi128_si64(_mm_movm_epi8(flaws.into()));
        (digits.into(), units.into(), flaws.to_le_bytes())
    }
);
