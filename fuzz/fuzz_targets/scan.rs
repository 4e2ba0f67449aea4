//! Any bytes, cut anywhere: block by block and byte by byte find the same records, and mini-batches obey their laws.
//! Run with `cargo +nightly fuzz run scan`.
#![no_main]

use batch_score_core::cut::{Cutter, Range};
use batch_score_core::dialect::{Dialect, Format};
use batch_score_core::records::split_records;
use batch_score_core::scan::Scanner;
use libfuzzer_sys::fuzz_target;

fn format(choice: u8) -> Format {
    if choice & 1 == 1 {
        return Format::JsonLines;
    }
    let quote = (choice & 2 == 0).then_some(b'"');
    Format::Delimited(Dialect::new(b',', quote, choice & 4 == 0).expect("the bytes are different"))
}

/// Fed in pieces of `step` bytes; a step of 1 never sees a whole block.
fn begins(text: &[u8], format: Format, step: usize) -> Vec<u64> {
    let mut begins = Vec::new();
    let mut scanner = Scanner::new(format, 0);
    text.chunks(step).for_each(|piece| scanner.feed(piece, &mut begins));
    begins
}

fn check(ranges: &[Range], begins: &[u64], max_bytes: u64, end: u64) {
    let (mut at, mut row) = (begins.first().copied().unwrap_or(end), 0);
    for range in ranges {
        assert_eq!((range.offset, range.first_row), (at, row), "ranges tile the text");
        assert!(range.rows == 1 || range.length <= max_bytes, "the bound is kept");
        let inside = begins.iter().filter(|&&begin| (at..at + range.length).contains(&begin));
        assert_eq!(inside.count() as u64, range.rows, "records are counted");
        (at, row) = (at + range.length, row + range.rows);
    }
    assert_eq!((at, row), (end, begins.len() as u64), "nothing is left out");
    for pair in ranges.windows(2) {
        assert!(pair[0].length + pair[1].length > max_bytes, "mini-batches are full");
    }
}

fuzz_target!(|input: (u8, u8, u16, &[u8])| {
    let (choice, step, max_bytes, text) = input;
    let (format, max_bytes, end) = (format(choice), u64::from(max_bytes) + 1, text.len() as u64);
    let expected = begins(text, format, 1);
    assert_eq!(begins(text, format, usize::from(step) + 1), expected);
    assert_eq!(begins(text, format, usize::MAX), expected);
    assert_eq!(split_records(text, format).len(), expected.len());
    let mut cutter = Cutter::new(max_bytes, 0);
    Scanner::new(format, 0).feed(text, &mut cutter);
    cutter.finish(end);
    check(&cutter.take().collect::<Vec<_>>(), &expected, max_bytes, end);
});
