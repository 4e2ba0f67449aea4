//! Sixty-four bytes at a time: the positions of chosen bytes in a block, as the bits of an integer.

use wide::u8x16;

/// Bytes in a block.
pub const WIDTH: usize = 64;

/// One block of a buffer.
pub type Block = [u8; WIDTH];

/// The bits of the bytes equal to `byte`; bit 0 is the first byte.
#[inline]
#[must_use]
pub fn equal(block: &Block, byte: u8) -> u64 {
    let wanted = u8x16::splat(byte);
    gather(block, |lane| lane.simd_eq(wanted))
}

/// The bits of the bytes that are a carriage return or a line feed.
#[inline]
#[must_use]
pub fn line_breaks(block: &Block) -> u64 {
    let (feed, carriage) = (u8x16::splat(b'\n'), u8x16::splat(b'\r'));
    gather(block, |lane| lane.simd_eq(feed) | lane.simd_eq(carriage))
}

/// The bits of the bytes up to the space: JSON's white space, and control bytes that no JSON line begins with.
#[inline]
#[must_use]
pub fn blanks(block: &Block) -> u64 {
    let space = u8x16::splat(b' ');
    gather(block, |lane| lane.min(space).simd_eq(lane))
}

#[inline]
fn gather(block: &Block, matches: impl Fn(u8x16) -> u8x16) -> u64 {
    let (lanes, _) = block.as_chunks::<16>();
    lanes
        .iter()
        .zip([0, 16, 32, 48])
        .fold(0, |bits, (lane, shift)| bits | u64::from(matches(u8x16::new(*lane)).to_bitmask()) << shift)
}

/// Bit `i` of the result is the parity of bits `0..=i`.
#[inline]
#[must_use]
pub fn prefix_parity(bits: u64) -> u64 {
    let mut parity = bits;
    for shift in [1, 2, 4, 8, 16, 32] {
        parity ^= parity << shift;
    }
    parity
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Block, blanks, equal, line_breaks, prefix_parity};

    fn naive(block: &Block, matches: impl Fn(u8) -> bool) -> u64 {
        block.iter().enumerate().map(|(bit, &byte)| u64::from(matches(byte)) << bit).sum()
    }

    proptest! {
        #[test]
        fn masks_equal_a_byte_by_byte_look(block in any::<[u8; 64]>(), byte: u8) {
            prop_assert_eq!(equal(&block, byte), naive(&block, |candidate| candidate == byte));
            prop_assert_eq!(line_breaks(&block), naive(&block, |candidate| b"\r\n".contains(&candidate)));
            prop_assert_eq!(blanks(&block), naive(&block, |candidate| candidate <= b' '));
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
