//! Columns to delimited text: RFC 4180 with `\n`, quotes only where they are needed.
//!
//! A float is written with the fewest digits that read back as itself, in the layout of Apache Arrow's CSV writer: plain
//! from 10^-6 to below 10^10, else with an exponent that has a sign where it is positive only (`1.5e-7`, `1e+10`).

use memchr::{memchr, memchr3};

/// The values of a column, one for each row.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Integers.
    Int64(&'a [i64]),
    /// 32-bit floats.
    Float32(&'a [f32]),
    /// 64-bit floats.
    Float64(&'a [f64]),
    /// Texts: where the first begins and each ends, and their bytes.
    Text(&'a [i64], &'a [u8]),
    /// The same text in all rows.
    Constant(&'a [u8]),
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// The values.
    pub values: Values<'a>,
    /// For each row 0 if there is no value, which is written as an empty field; None if there are all.
    pub valid: Option<&'a [u8]>,
}

/// Writes `rows` records, one line each.
///
/// A record whose only field is blank gets quotes, because many readers take a blank line for no record. Values that
/// are missing at the end of a column are written as empty fields.
#[must_use]
pub fn delimited(columns: &[Column<'_>], rows: usize, delimiter: u8) -> Vec<u8> {
    let alone = columns.len() == 1;
    let mut writers: Vec<_> = columns.iter().map(|column| Writer::new(*column, delimiter, alone)).collect();
    let mut out = Vec::with_capacity(rows * columns.len() * 12);
    for row in 0..rows {
        for (place, writer) in writers.iter_mut().enumerate() {
            if place > 0 {
                out.push(delimiter);
            }
            writer.write(row, &mut out);
        }
        out.push(b'\n');
    }
    out
}

/// Writes the fields of one column.
struct Writer<'a> {
    column: Column<'a>,
    quoting: Quoting,
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl<'a> Writer<'a> {
    fn new(column: Column<'a>, delimiter: u8, alone: bool) -> Self {
        let texts = match column.values {
            Values::Text(_, bytes) | Values::Constant(bytes) => bytes,
            _ => b"",
        };
        let quoting = Quoting { delimiter, alone, special: has_special(texts, delimiter) };
        Self { column, quoting, integer: itoa::Buffer::new(), float: zmij::Buffer::new() }
    }

    #[inline]
    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.column.valid.is_some_and(|valid| valid.get(row) == Some(&0)) {
            return self.quoting.text(b"", out);
        }
        match self.column.values {
            Values::Int64(values) => match values.get(row) {
                Some(&value) => out.extend_from_slice(self.integer.format(value).as_bytes()),
                None => self.quoting.text(b"", out),
            },
            Values::Float32(values) => match values.get(row) {
                Some(&value) => {
                    float(value.into(), value.is_finite().then(|| self.float.format_finite(value)), out);
                }
                None => self.quoting.text(b"", out),
            },
            Values::Float64(values) => match values.get(row) {
                Some(&value) => float(value, value.is_finite().then(|| self.float.format_finite(value)), out),
                None => self.quoting.text(b"", out),
            },
            Values::Text(offsets, bytes) => self.quoting.text(text(offsets, bytes, row), out),
            Values::Constant(bytes) => self.quoting.text(bytes, out),
        }
    }
}

fn text<'a>(offsets: &[i64], bytes: &'a [u8], row: usize) -> &'a [u8] {
    let bounds = offsets.get(row).zip(offsets.get(row + 1));
    let bounds = bounds.and_then(|(&begin, &end)| usize::try_from(begin).ok().zip(usize::try_from(end).ok()));
    bounds.and_then(|(begin, end)| bytes.get(begin..end)).unwrap_or_default()
}

fn has_special(text: &[u8], delimiter: u8) -> bool {
    memchr3(b'"', b'\r', b'\n', text).or_else(|| memchr(delimiter, text)).is_some()
}

/// Which fields get quotes.
struct Quoting {
    delimiter: u8,
    /// The field is all there is in a record.
    alone: bool,
    /// Some text of the column has a byte that needs quotes.
    special: bool,
}

impl Quoting {
    #[inline]
    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        let special = self.special && has_special(text, self.delimiter);
        let blank =
            self.alone && text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\x0c' | b'\r' | b'\n'));
        if !special && !blank {
            return out.extend_from_slice(text);
        }
        out.push(b'"');
        for piece in text.split_inclusive(|&byte| byte == b'"') {
            out.extend_from_slice(piece);
            if piece.ends_with(b"\"") {
                out.push(b'"');
            }
        }
        out.push(b'"');
    }
}

/// Where the shortest digits come plain already, with `.0` behind whole numbers.
const PLAIN: std::ops::Range<f64> = 1e-5..1e10;
/// Below all numbers that are written plain.
const TINY: f64 = 9e-7;
/// More digits than any spelling has.
const LONGEST: usize = 32;
/// The exponent of the smallest number that is written plain.
const SMALLEST_PLAIN: i32 = -6;

/// Writes a float of which `digits` is the shortest spelling, None if it is not finite.
#[inline]
fn float(value: f64, digits: Option<&str>, out: &mut Vec<u8>) {
    let Some(digits) = digits else {
        return out.extend_from_slice(if value.is_nan() {
            b"nan"
        } else if value > 0.0 {
            b"inf"
        } else {
            b"-inf"
        });
    };
    let size = value.abs();
    if PLAIN.contains(&size) || value == 0.0 {
        return out.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
    }
    if size < TINY {
        return out.extend_from_slice(digits.as_bytes()); // its exponent is the one that is wanted
    }
    unusual(value, digits, out);
}

/// Writes a very small or large number.
fn unusual(value: f64, spelling: &str, out: &mut Vec<u8>) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let mut place = [0; LONGEST];
    let (digits, exponent) = scientific(spelling, &mut place);
    if (SMALLEST_PLAIN..0).contains(&exponent) {
        out.extend_from_slice(b"0.");
        out.extend((exponent + 1..0).map(|_| b'0'));
        return out.extend_from_slice(digits);
    }
    let (first, rest) = digits.split_at(1.min(digits.len()));
    out.extend_from_slice(first);
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    out.extend_from_slice(if exponent > 0 { b"e+" } else { b"e" });
    out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
}

/// The digits of a number from the first to the last that is not zero, and the power of ten of the first.
fn scientific<'a>(spelling: &str, place: &'a mut [u8; LONGEST]) -> (&'a [u8], i32) {
    let (mantissa, power) = spelling.split_once('e').unwrap_or((spelling, "0"));
    let mut exponent = power.parse().unwrap_or(0);
    let (mut count, mut last, mut behind_point) = (0, 0, false);
    for byte in mantissa.bytes().filter(|&byte| byte != b'-') {
        if byte == b'.' {
            behind_point = true;
            continue;
        }
        exponent -= i32::from(behind_point && count == 0);
        exponent += i32::from(!behind_point && count > 0);
        if byte != b'0' || count > 0 {
            place.get_mut(count).into_iter().for_each(|place| *place = byte);
            count += 1;
            last = if byte == b'0' { last } else { count };
        }
    }
    (place.get(..last).unwrap_or_default(), exponent)
}

#[cfg(test)]
mod tests;
