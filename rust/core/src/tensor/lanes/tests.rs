#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use fearless_simd::{Level, dispatch};
use proptest::prelude::*;

use super::{GROUP, MINUS, load, single};
use crate::tensor::wide::{self, PLACES, WINDOW, Wide, wide};

/// What the wide steps need; None where this processor does not take them, and there is nothing to test.
fn widest() -> Option<Wide> {
    dispatch!(Level::new(), simd => wide(simd))
}

/// Something like a number, or not.
fn field() -> impl Strategy<Value = String> {
    prop_oneof!["-?[0-9]{0,9}", "-?[0-9]{0,7}\\.[0-9]{0,7}", "[-.0-9 ex]{0,13}"]
}

fn same_digits(wide: Wide, words: [u64; GROUP], shapes: [u32; GROUP], pointed: bool) {
    let (digits, units, flaws) = wide::digits(wide, words, shapes, pointed);
    for place in 0..GROUP {
        let (wanted, unit, flaw) = single(words[place], shapes[place] & !MINUS, pointed);
        assert_eq!(flaws[place] != 0, flaw != 0, "word {:x}, shape {:x}", words[place], shapes[place]);
        assert!(flaw != 0 || (digits[place], units[place]) == (wanted, unit));
    }
}

proptest! {
    #[test]
    fn wide_steps_load_and_read_fields_as_single_steps_do(fields in prop::array::uniform8(field())) {
        let Some(wide) = widest() else { return Ok(()) };
        let text = format!("1234567\n{}\n{}", fields.join(","), "-".repeat(WINDOW));
        let mut end = 7;
        let ends = fields.map(|field| {
            end += 1 + u32::try_from(field.len()).unwrap_or_default();
            end
        });
        let Some(window) = text.as_bytes().first_chunk() else { return Ok(()) };
        let (words, shapes) = wide::words(wide, window, 8, ends);
        let (mut wanted_words, mut wanted_shapes) = ([0; GROUP], [0; GROUP]);
        load(text.as_bytes(), 8, &ends, &mut wanted_words, &mut wanted_shapes);
        prop_assert_eq!((words, shapes), (wanted_words, wanted_shapes));
        same_digits(wide, words, shapes, true);
        same_digits(wide, words, shapes, false);
    }

    #[test]
    fn wide_steps_find_places_as_single_steps_do(bits: u64, base in 0..u32::MAX - 64) {
        let Some(wide) = widest() else { return Ok(()) };
        let (found, behind) = wide::places(wide, bits, base);
        let all = (0..64).filter(|place| bits >> place & 1 == 1);
        let (first, rest): (Vec<_>, Vec<_>) = all.enumerate().partition(|(count, _)| *count < PLACES);
        let first: Vec<u32> = first.into_iter().map(|(_, place)| base + place).collect();
        prop_assert_eq!(&found[..first.len()], first);
        prop_assert_eq!(behind, rest.into_iter().map(|(_, place)| 1 << place).sum::<u64>());
    }
}
