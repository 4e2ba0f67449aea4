#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{Column, Values, delimited};

fn written(values: Values<'_>, rows: usize) -> String {
    let zeros = vec![0_i64; rows];
    let columns = [Column { values, valid: None }, Column { values: Values::Int64(&zeros), valid: None }];
    String::from_utf8(delimited(&columns, rows, b',')).unwrap()
}

#[test]
fn floats_have_one_layout() {
    let values = [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1e-5, "0.00001"),
        (-1.25e-6, "-0.00000125"),
        (1e-6, "0.000001"),
        (9.99e-7, "9.99e-7"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        (1_234_567_890.5, "1234567890.5"),
        (9_999_999_999.0, "9999999999"),
        (1e10, "1e+10"),
        (12_345_678_901.0, "1.2345678901e+10"),
        (-1.5e300, "-1.5e+300"),
        (f64::NAN, "nan"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ];
    for (value, text) in values {
        assert_eq!(written(Values::Float64(&[value]), 1), format!("{text},0\n"));
    }
    assert_eq!(written(Values::Float32(&[0.1, 16_777_216.0, 1e-6]), 3), "0.1,0\n16777216,0\n0.000001,0\n");
}

#[test]
fn a_lone_blank_field_has_quotes_and_a_missing_one_too() {
    let texts = Column { values: Values::Text(&[0, 1, 1, 2], b" x"), valid: Some(&[1, 1, 1]) };
    assert_eq!(delimited(&[texts], 3, b','), b"\" \"\n\"\"\nx\n");
    let numbers = Column { values: Values::Int64(&[1, 2]), valid: Some(&[1, 0]) };
    assert_eq!(delimited(&[numbers], 2, b','), b"1\n\"\"\n");
    assert_eq!(delimited(&[numbers, numbers], 2, b','), b"1,1\n,\n");
}

proptest! {
    #[test]
    fn every_float_reads_back_as_itself(long: f64, short: f32) {
        let text = written(Values::Float64(&[long]), 1);
        let found: f64 = text.strip_suffix(",0\n").unwrap().parse().unwrap();
        prop_assert!(found.to_bits() == long.to_bits() || (found.is_nan() && long.is_nan()));
        let text = written(Values::Float32(&[short]), 1);
        let found: f32 = text.strip_suffix(",0\n").unwrap().parse().unwrap();
        prop_assert!(found.to_bits() == short.to_bits() || (found.is_nan() && short.is_nan()));
    }

    #[test]
    fn texts_get_quotes_where_they_need_them(texts in prop::collection::vec("[a\",;\r\n]{0,6}", 1..20)) {
        let mut offsets = vec![0];
        offsets.extend(texts.iter().scan(0, |end, text| { *end += i64::try_from(text.len()).unwrap(); Some(*end) }));
        let bytes = texts.concat();
        let field = |text: &String| {
            let special = text.contains(['"', ',', '\r', '\n']);
            if special { format!("\"{}\",0\n", text.replace('"', "\"\"")) } else { format!("{text},0\n") }
        };
        let twin: Vec<String> = texts.iter().map(field).collect();
        prop_assert_eq!(written(Values::Text(&offsets, bytes.as_bytes()), texts.len()), twin.concat());
    }

    #[test]
    fn integers_are_themselves(values in prop::collection::vec(any::<i64>(), 1..20)) {
        let twin: Vec<String> = values.iter().map(|value| format!("{value},0\n")).collect();
        prop_assert_eq!(written(Values::Int64(&values), values.len()), twin.concat());
    }
}
