#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{Number, Read, plain, unusual};

/// Reads a number that stands behind other fields, so that the fast ways have bytes to load.
fn value<T: Number>(text: &str) -> Option<T> {
    let line = format!("12345678901234567,{text}");
    plain(line.as_bytes(), 18, line.len()).or_else(|| match unusual(text.as_bytes(), Some(b'"'), &[]) {
        Read::Value(value) => Some(value),
        Read::Missing | Read::Unfit => None,
    })
}

/// Half-way between two neighbouring f32, or next to it: where rounding twice goes wrong.
fn half_way() -> impl Strategy<Value = String> {
    (any::<f32>(), -1_i64..=1, 8_usize..18).prop_map(|(low, step, digits)| {
        let middle = f64::midpoint(f64::from(low.abs()), f64::from(low.abs().next_up()));
        let near = f64::from_bits(middle.to_bits().wrapping_add_signed(step));
        format!("{near:.digits$}")
    })
}

#[test]
fn what_is_no_plain_number_is_refused() {
    for text in
        ["", ".", "-", "-.", "--1", "1-", "1.2.3", "1,2", "1_0", "0x10", "nan", "inf", "1e", "e5", "1 2", "+"]
    {
        assert_eq!(value::<f64>(text), None, "{text:?}");
        assert_eq!(value::<f32>(text), None, "{text:?}");
        assert_eq!(value::<i64>(text), None, "{text:?}");
    }
    for text in ["1.", "1.0", "1e3", "+5", ".", "9223372036854775808"] {
        assert_eq!(value::<i64>(text), None, "{text:?}");
    }
}

#[test]
fn signs_of_zero_and_the_ends_of_the_range_are_kept() {
    assert_eq!(value::<f64>("-0").unwrap().to_bits(), (-0.0_f64).to_bits());
    assert_eq!(value::<f32>("-.0").unwrap().to_bits(), (-0.0_f32).to_bits());
    assert_eq!(value::<i64>("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(value::<i64>("9223372036854775807"), Some(i64::MAX));
    assert_eq!(value::<f32>("1e39"), Some(f32::INFINITY));
    assert_eq!(value::<f64>("1e-400"), Some(0.0));
}

proptest! {
    #[test]
    fn decimals_of_any_length_are_the_nearest_floats(
        negative: bool, whole in "[0-9]{0,20}", rest in "(\\.[0-9]{0,20})?(e-?[0-9]{1,2})?",
    ) {
        let text = format!("{}{whole}{rest}", if negative { "-" } else { "" });
        prop_assert_eq!(value::<f64>(&text).map(f64::to_bits), text.parse().ok().map(f64::to_bits));
        prop_assert_eq!(value::<f32>(&text).map(f32::to_bits), text.parse().ok().map(f32::to_bits));
    }

    #[test]
    fn decimals_between_two_floats_are_rounded_once(text in half_way()) {
        prop_assert_eq!(value::<f32>(&text).map(f32::to_bits), text.parse().ok().map(f32::to_bits));
    }

    #[test]
    fn integers_are_themselves(number: i64, short in -99_999_999_i64..=99_999_999, zeros in "0{0,9}") {
        prop_assert_eq!(value::<i64>(&number.to_string()), Some(number));
        prop_assert_eq!(value::<i64>(&short.to_string()), Some(short));
        prop_assert_eq!(value::<i64>(&format!("{zeros}{}", short.abs())), Some(short.abs()));
    }

    #[test]
    fn any_bytes_are_a_number_only_if_the_standard_library_says_so(text in "[0-9.eE+\\-x /:]{0,20}") {
        let trimmed = text.trim();
        prop_assert_eq!(value::<f64>(&text).map(f64::to_bits), trimmed.parse().ok().map(f64::to_bits));
    }
}
