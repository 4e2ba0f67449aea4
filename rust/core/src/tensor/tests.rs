#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Debug;

use fearless_simd::Level;
use proptest::prelude::*;

use super::{Block, FieldReader, FileRange, Grid, Misfit, PIECE, Sinks, Target, Texts};
use crate::dialect::Dialect;
use crate::mask::levels;

const WIDTH: usize = 3;

fn dialect() -> Dialect {
    Dialect::new(b',', Some(b'"'), true).unwrap()
}

/// Reads records of two float64 around one text: `(matrix, texts)`.
fn read(text: &str, most: usize) -> Result<(Vec<f64>, Vec<String>), Misfit> {
    read_with(most, |reader, sinks| reader.read(text.as_bytes(), most, sinks))
}

/// The same with every kind of vector unit that this machine has, which must not matter.
fn read_with<E: Debug>(
    most: usize,
    read: impl Fn(&FieldReader, Sinks<'_, '_>) -> Result<usize, E>,
) -> Result<(Vec<f64>, Vec<String>), E> {
    let mut found = levels().into_iter().map(|level| read_at(level, most, &read));
    let first = found.next().unwrap();
    for other in found {
        match (&first, &other) {
            (Ok((cells, texts)), Ok(others)) => {
                assert_eq!((bits(cells), texts), (bits(&others.0), &others.1));
            }
            _ => assert_eq!(format!("{other:?}"), format!("{first:?}")),
        }
    }
    first
}

fn bits(cells: &[f64]) -> Vec<u64> {
    cells.iter().map(|cell| cell.to_bits()).collect()
}

fn read_at<E>(
    level: Level,
    most: usize,
    read: impl Fn(&FieldReader, Sinks<'_, '_>) -> Result<usize, E>,
) -> Result<(Vec<f64>, Vec<String>), E> {
    let targets = vec![
        Target::Cell { block: 0, column: 0, nullable: true },
        Target::Text { texts: 0 },
        Target::Cell { block: 0, column: 1, nullable: true },
    ];
    let reader = FieldReader { level, ..FieldReader::new(dialect(), targets, vec![b"NA".to_vec()]) };
    let mut cells = vec![0.0; most * 2];
    let mut texts = [Texts::default()];
    let mut missing = [false; WIDTH];
    let mut blocks = [Block::Float64(Grid { cells: &mut cells, strides: (2, 1) })];
    let records = read(&reader, Sinks { blocks: &mut blocks, texts: &mut texts, missing: &mut missing })?;
    let (offsets, bytes) = texts[0].finish().unwrap();
    let bounds = offsets.iter().zip(&offsets[1..]);
    let place = |offset: i32| usize::try_from(offset).unwrap();
    let words = bounds.map(|(&a, &b)| String::from_utf8(bytes[place(a)..place(b)].to_vec()).unwrap());
    let words = words.collect();
    cells.truncate(records * 2);
    Ok((cells, words))
}

#[test]
fn numbers_texts_and_missing_values_reach_their_places() {
    let (cells, texts) = read("1.5,a,-2\r\n\r\n,\"b, \"\"x\"\"\n\",NA\n 3e2 ,,\"4\"", 3).unwrap();
    assert_eq!(texts, ["a", "b, \"x\"\n", ""]);
    assert_eq!(cells[..2], [1.5, -2.0]);
    assert!(cells[2].is_nan() && cells[3].is_nan());
    assert_eq!(cells[4..], [300.0, 4.0]);
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let place =
        |text: &str, most| read(text, most).map_err(|misfit| (misfit.record, misfit.field)).unwrap_err();
    assert_eq!(place("1,a,2\n1,a\n", 9), (1, None)); // too few fields
    assert_eq!(place("1,a,2\n1,a,2,3\n", 9), (1, None));
    assert_eq!(place("1,a,2\n1,a,2\n", 1), (1, None)); // one more than there is room for
    assert_eq!(place("1,a,2\nx,a,2\n", 9), (1, Some(0)));
    assert_eq!(place("1,a,.\n", 9), (0, Some(2)));
    assert_eq!(place("1,a,-\n", 9), (0, Some(2)));
    assert_eq!(place("1,a,inf\n", 9), (0, Some(2)));
    assert_eq!(place("1,\"a\"b,2\n", 9), (0, Some(1))); // text behind a closing quote
    assert_eq!(place("1,a\"b,2\n", 9), (0, None));
    assert_eq!(place("1,\"a,2\n", 9), (0, None));
}

/// Of every byte something is written down: as much as there can be in a piece, and more.
#[test]
fn texts_of_nothing_but_ends_are_read_to_the_last_one() {
    for width in [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
        let targets = (0..width).map(|column| Target::Cell { block: 0, column, nullable: true }).collect();
        let reader = FieldReader::new(dialect(), targets, Vec::new());
        let text = format!("{}\n", ",".repeat(width - 1)).repeat(2);
        let text = if width == 1 { format!("{}7\n7", "\n".repeat(3 * PIECE)) } else { text };
        let mut cells = vec![7.0; 2 * width];
        let mut blocks = [Block::Float64(Grid { cells: &mut cells, strides: (width, 1) })];
        let sinks = Sinks { blocks: &mut blocks, texts: &mut [], missing: &mut vec![false; width] };
        assert_eq!(reader.read(text.as_bytes(), 2, sinks), Ok(2));
        assert!(cells.iter().all(|cell| cell.is_nan() == (width > 1)));
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_even_if_its_pieces_join_to_a_character() {
    let mut texts = Texts::default();
    assert!(texts.push(b"\xc3", None) && texts.push(b"\xa4", None));
    assert!(texts.finish().is_none());
}

fn field() -> impl Strategy<Value = (String, f64)> {
    let plain = (any::<bool>(), "[0-9]{0,12}", "(\\.[0-9]{0,12})?")
        .prop_map(|(negative, whole, rest)| format!("{}{whole}{rest}", if negative { "-" } else { "" }));
    let any_float = any::<f64>().prop_map(|value| value.to_string());
    let short_float = any::<f32>().prop_map(|value| value.to_string());
    prop_oneof![plain, any_float, short_float].prop_filter_map("not a number", |text| {
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
        Some((text, value))
    })
}

fn ending() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n"), Just("\r")]
}

proptest! {
    #[test]
    fn any_numbers_in_any_layout_are_read_as_the_standard_library_reads_them(
        rows in prop::collection::vec((field(), "[a-z]{0,90}", field(), ending()), 1..400),
    ) {
        let lines: Vec<String> = rows.iter().map(|(a, b, c, end)| format!("{},{b},{}{end}", a.0, c.0)).collect();
        let text = lines.concat();
        let (cells, texts) = read(&text, rows.len()).unwrap();
        let wanted: Vec<u64> = rows.iter().flat_map(|(a, _, c, _)| [a.1.to_bits(), c.1.to_bits()]).collect();
        prop_assert_eq!(bits(&cells), wanted);
        prop_assert_eq!(texts, rows.into_iter().map(|(_, text, _, _)| text).collect::<Vec<_>>());
    }

    /// Runs of many columns, of which some are skipped.
    #[test]
    fn any_table_of_numbers_is_read_as_the_standard_library_reads_it(
        width in 1..20_usize,
        skipped in 0..20_usize,
        fields in prop::collection::vec(field(), 1..400),
    ) {
        let rows: Vec<&[(String, f64)]> = fields.chunks_exact(width).collect();
        let line = |row: &&[(String, f64)]| row.iter().map(|one| one.0.as_str()).collect::<Vec<_>>().join(",");
        let text = rows.iter().map(line).collect::<Vec<_>>().join("\n");
        let target = |column| if column == skipped {
            Target::Skip
        } else {
            Target::Cell { block: 0, column, nullable: false }
        };
        for level in levels() {
            let reader = FieldReader::new(dialect(), (0..width).map(target).collect(), Vec::new());
            let mut cells = vec![0.0_f32; rows.len() * width];
            let mut blocks = [Block::Float32(Grid { cells: &mut cells, strides: (width, 1) })];
            let sinks = Sinks { blocks: &mut blocks, texts: &mut [], missing: &mut vec![false; width] };
            let read = FieldReader { level, ..reader }.read(text.as_bytes(), rows.len(), sinks);
            if rows.iter().any(|row| row.iter().enumerate().any(|(column, one)| column != skipped && one.0.is_empty())) {
                prop_assert!(read.is_err());
                continue;
            }
            prop_assert_eq!(read, Ok(rows.len()));
            for (row, cells) in rows.iter().zip(cells.chunks_exact(width)) {
                for (column, (one, cell)) in row.iter().zip(cells).enumerate() {
                    let wanted = if column == skipped { 0.0 } else { one.0.parse::<f32>().unwrap() };
                    prop_assert_eq!(cell.to_bits(), wanted.to_bits());
                }
            }
        }
    }

    #[test]
    fn a_range_of_a_file_is_read_as_its_text_is(
        rows in prop::collection::vec((field(), "[a\",\r\n]{0,90000}", field(), ending()), 1..12),
    ) {
        let line = |(a, b, c, end): &((String, f64), String, (String, f64), &str)| {
            format!("{},\"{}\",{}{end}", a.0, b.replace('"', "\"\""), c.0)
        };
        let text = rows.iter().map(line).collect::<Vec<_>>().concat();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, format!("head\n{text}")).unwrap();
        let range = FileRange { path: file.path(), offset: 5, length: text.len() as u64 };
        let found = read_with(rows.len(), |reader, sinks| reader.read_file(range, rows.len(), sinks)).unwrap();
        let (cells, texts) = read(&text, rows.len()).unwrap();
        prop_assert_eq!((bits(&found.0), found.1), (bits(&cells), texts));
    }

    #[test]
    fn quoted_texts_come_back_as_they_were(texts in prop::collection::vec("[a\",\r\n]{0,80}", 1..300)) {
        let quoted = |text: &String| format!("1,\"{}\",2\n", text.replace('"', "\"\""));
        let text = texts.iter().map(quoted).collect::<Vec<_>>().concat();
        prop_assert_eq!(read(&text, texts.len()).unwrap().1, texts);
    }
}
