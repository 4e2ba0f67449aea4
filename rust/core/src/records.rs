//! Single records: a file's header, and the records of a mini-batch.

use std::path::Path;

use memchr::memchr;

use crate::dialect::{Dialect, Encoding, Format};
use crate::error::{Error, Result};
use crate::scan::Scanner;
use crate::source::{Source, mark_length};

const FIRST_READ: usize = 64 << 10;
const LONGEST_HEADER: usize = 64 << 20;

/// The first record of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes, without byte order mark and line end.
    pub record: Vec<u8>,
    /// Offset in the (decoded) text where the second record begins, or where the text ends.
    pub data: u64,
}

/// Reads the first record of a file; it is empty when the file has no record.
///
/// # Errors
/// [`Error::Malformed`] when it is longer than 64 MiB, as it is when a quote is left open; else as [`Source::fill`].
pub fn read_header(path: &Path, dialect: Dialect, encoding: Encoding) -> Result<Header> {
    let mut source = Source::open(path, encoding)?;
    let mut text = Vec::new();
    let mut begins = Vec::new();
    let mut scanner = Scanner::new(Format::Delimited(dialect), 0);
    let mut wanted = FIRST_READ;
    loop {
        let known = text.len();
        text.resize(wanted, 0);
        let count = source.fill(text.get_mut(known..).unwrap_or_default())?;
        text.truncate(known + count);
        let mark = if known == 0 { mark_length(&text) } else { 0 };
        scanner.skip(mark);
        scanner.feed(text.get(known + mark..).unwrap_or_default(), &mut begins);
        if begins.len() > 1 || text.len() < wanted {
            break;
        }
        if text.len() >= LONGEST_HEADER {
            let reason =
                format!("the first record is longer than {LONGEST_HEADER} bytes; is a quote left open");
            return Err(Error::Malformed { path: path.to_path_buf(), offset: 0, reason });
        }
        wanted *= 2;
    }
    Ok(header(&text, &begins, scanner.between_records()))
}

fn header(text: &[u8], begins: &[u64], line_ended: bool) -> Header {
    let mut offsets = begins.iter().copied();
    let end = text.len() as u64;
    let first = offsets.next().unwrap_or(end);
    let second = offsets.next();
    let record = slice(text, first, second.unwrap_or(end));
    let record = if second.is_some() || line_ended { without_breaks(record) } else { record };
    Header { record: record.to_vec(), data: second.unwrap_or(end) }
}

/// Begin and end of each record of `text`, without its line end. `text` begins at the beginning of a record.
#[must_use]
pub fn split_records(text: &[u8], format: Format) -> Vec<(u64, u64)> {
    let mut begins = Vec::new();
    let mut scanner = Scanner::new(format, 0);
    scanner.feed(text, &mut begins);
    let end = text.len() as u64;
    let ends = begins.iter().copied().skip(1).chain([end]);
    let whole = begins.iter().copied().zip(ends);
    let cut = |(begin, end)| {
        let record = slice(text, begin, end);
        let length = match format {
            Format::JsonLines => first_line(record).len(),
            // Breaks at the end of the text belong to the last record if its quote was left open.
            Format::Delimited(_) if end == text.len() as u64 && !scanner.between_records() => record.len(),
            Format::Delimited(_) => without_breaks(record).len(),
        };
        (begin, begin + length as u64)
    };
    whole.map(cut).collect()
}

fn slice(text: &[u8], begin: u64, end: u64) -> &[u8] {
    let bounds = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
    bounds.and_then(|(begin, end)| text.get(begin..end)).unwrap_or_default()
}

fn without_breaks(record: &[u8]) -> &[u8] {
    let last = record.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    record.get(..last.map_or(0, |last| last + 1)).unwrap_or_default()
}

fn first_line(record: &[u8]) -> &[u8] {
    let line = memchr(b'\n', record).and_then(|end| record.get(..end)).unwrap_or(record);
    line.strip_suffix(b"\r").unwrap_or(line)
}
