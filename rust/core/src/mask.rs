//! Sixty-four bytes at a time: the positions of chosen bytes in a block, as the bits of an integer.
//!
//! Each function is compiled once for every kind of vector unit, and [`fearless_simd::dispatch`] in `scan` chooses.
#![allow(
    clippy::inline_always,
    reason = "the caller's instruction set is theirs only where they are inlined"
)]

#[cfg(test)]
use fearless_simd::Level;
use fearless_simd::{Simd, SimdBase, SimdMask, u8x64};

/// Bytes in a block.
pub const WIDTH: usize = 64;

/// One block of a buffer.
pub type Block = [u8; WIDTH];

/// The bits of the bytes equal to `byte`; bit 0 is the first byte.
#[inline(always)]
#[must_use]
pub fn equal<V: Simd>(simd: V, block: &Block, byte: u8) -> u64 {
    u8x64::from_slice(simd, block).simd_eq(byte).to_bitmask()
}

/// The bits of the bytes that are a carriage return or a line feed.
#[inline(always)]
#[must_use]
pub fn line_breaks<V: Simd>(simd: V, block: &Block) -> u64 {
    let lanes = u8x64::from_slice(simd, block);
    (lanes.simd_eq(b'\n') | lanes.simd_eq(b'\r')).to_bitmask()
}

/// The bits of the bytes up to the space: JSON's white space, and control bytes that no JSON line begins with.
#[inline(always)]
#[must_use]
pub fn blanks<V: Simd>(simd: V, block: &Block) -> u64 {
    u8x64::from_slice(simd, block).simd_le(b' ').to_bitmask()
}

/// Bit `i` of the result is the parity of bits `0..=i`.
#[inline(always)]
#[must_use]
pub fn prefix_parity(bits: u64) -> u64 {
    let mut parity = bits;
    for shift in [1, 2, 4, 8, 16, 32] {
        parity ^= parity << shift;
    }
    parity
}

/// Every kind of vector unit that this machine has.
#[cfg(test)]
pub fn levels() -> Vec<Level> {
    let mut levels = vec![Level::new(), Level::baseline()];
    #[cfg(target_arch = "x86_64")]
    {
        levels.extend(Level::new().as_sse4_2().map(Level::Sse4_2));
        levels.extend(Level::new().as_avx2().map(Level::Avx2));
    }
    levels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use fearless_simd::dispatch;

    use super::{Block, blanks, equal, levels, line_breaks, prefix_parity};

    fn naive(block: &Block, matches: impl Fn(u8) -> bool) -> u64 {
        block.iter().enumerate().map(|(bit, &byte)| u64::from(matches(byte)) << bit).sum()
    }

    proptest! {
        #[test]
        fn masks_equal_a_byte_by_byte_look(block in any::<[u8; 64]>(), byte: u8) {
            let expected = [
                naive(&block, |candidate| candidate == byte),
                naive(&block, |candidate| b"\r\n".contains(&candidate)),
                naive(&block, |candidate| candidate <= b' '),
            ];
            for level in levels() {
                let found = dispatch!(level, simd => [
                    equal(simd, &block, byte),
                    line_breaks(simd, &block),
                    blanks(simd, &block),
                ]);
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn parity_is_a_running_xor(bits: u64) {
            let mut inside = false;
            for bit in 0..64 {
                inside ^= bits >> bit & 1 == 1;
                prop_assert_eq!(prefix_parity(bits) >> bit & 1 == 1, inside);
            }
        }
    }
}
