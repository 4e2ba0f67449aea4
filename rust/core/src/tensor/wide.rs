//! Steps that a processor with AVX-512 takes for several fields at once.
//!
//! [`wide`] tells whether this one does. Each step gives what the loop beside its call gives without it.

#[cfg(not(target_arch = "x86_64"))]
mod absent;
#[cfg(target_arch = "x86_64")]
mod avx512;

use fearless_simd::Simd;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use absent::{Wide, digits, places, words};
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::{Wide, digits, places, words};

/// How many fields [`words`] and [`digits`] take.
pub(super) const GROUP: usize = 8;
/// How many places [`places`] gives.
pub(super) const PLACES: usize = 16;
/// Bytes of text that [`words`] looks at, of which the first eight are before the first field.
pub(super) const WINDOW: usize = 128;
/// How far behind the beginning of the first field the last one may end, so that it begins in the window too.
pub(super) const SPAN: u32 = 119;

/// What the steps ask for, if this processor has it.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "no other processor has it"))]
pub(super) fn wide<V: Simd>(simd: V) -> Option<Wide> {
    #[cfg(target_arch = "x86_64")]
    return simd.level().as_avx512();
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}
