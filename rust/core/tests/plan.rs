//! The laws of mini-batches, against a state machine that looks at one byte after the other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may panic: that is how it fails

use std::path::{Path, PathBuf};

use batch_score_core::cut::{Cutter, Range};
use batch_score_core::dialect::{Dialect, Encoding, Format};
use batch_score_core::plan::{MiniBatch, Options, Plan};
use batch_score_core::records::{read_header, split_records};
use batch_score_core::scan::{Scanner, Starts};
use batch_score_core::{Error, Result};
use proptest::prelude::*;

/// Begin and end (line end included, empty lines after it too) of each record, the obvious way.
fn naive_delimited(text: &[u8], delimiter: u8, quote: Option<u8>) -> Vec<(u64, u64)> {
    #[derive(PartialEq)]
    enum Field {
        Start,
        Plain,
        Quoted,
        Closed,
    }
    let (mut begins, mut field, mut in_record) = (Vec::new(), Field::Start, false);
    for (at, &byte) in text.iter().enumerate() {
        let line_break = byte == b'\n' || byte == b'\r';
        if !in_record && !line_break {
            begins.push(at as u64);
            in_record = true;
        }
        let is_quote = Some(byte) == quote;
        field = match field {
            Field::Quoted if is_quote => Field::Closed,
            Field::Quoted => Field::Quoted,
            Field::Start | Field::Closed if is_quote => Field::Quoted,
            _ if line_break || byte == delimiter => Field::Start,
            _ => Field::Plain,
        };
        in_record &= !(line_break && field == Field::Start);
    }
    with_ends(&begins, text.len() as u64)
}

fn naive_json_lines(text: &[u8]) -> Vec<(u64, u64)> {
    let (mut begins, mut at) = (Vec::new(), 0);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.iter().any(|byte| !b" \t\r\n".contains(byte)) {
            begins.push(at);
        }
        at += line.len() as u64;
    }
    with_ends(&begins, at)
}

fn with_ends(begins: &[u64], end: u64) -> Vec<(u64, u64)> {
    begins.iter().copied().zip(begins.iter().copied().skip(1).chain([end])).collect()
}

fn naive(text: &[u8], format: Format) -> Vec<(u64, u64)> {
    match format {
        Format::JsonLines => naive_json_lines(text),
        Format::Delimited(dialect) => naive_delimited(text, dialect.delimiter(), dialect.spanning_quote()),
    }
}

/// As many records as fit, one after the other.
fn naive_cut(records: &[(u64, u64)], max_bytes: u64) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for (row, &(begin, end)) in records.iter().enumerate() {
        match ranges.last_mut() {
            Some(range) if end - range.offset <= max_bytes => {
                range.length = end - range.offset;
                range.rows += 1;
            }
            _ => ranges.push(Range { offset: begin, length: end - begin, first_row: row as u64, rows: 1 }),
        }
    }
    ranges
}

fn formats() -> impl Strategy<Value = Format> {
    let delimited =
        (prop::sample::select(vec![b',', b';', b'\t']), prop::option::of(Just(b'"')), any::<bool>());
    prop_oneof![
        4 => delimited.prop_map(|(delimiter, quote, multi_line)| {
            Format::Delimited(Dialect::new(delimiter, quote, multi_line).unwrap())
        }),
        1 => Just(Format::JsonLines),
    ]
}

/// Text made of what matters: quotes, delimiters, breaks, and stretches long enough to fill blocks.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "\"",
        "\"",
        "\"\"",
        ",",
        ";",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        " ",
        "a",
        "\"a\nb\",",
        "\",\"",
        "\"\n",
        "é",
        "plain text,",
        "0123456789012345678901234567890123456789",
        "a,b,c\nd,e,f\ng,h,i\n",
        "\"q\",\"r\"\"s\",\"t\nu\"\r\n",
    ];
    let structured =
        prop::collection::vec(prop::sample::select(pieces), 0..80).prop_map(|all| all.concat().into_bytes());
    let noise = prop::collection::vec(prop::sample::select(b"\"\",,\n\r a".to_vec()), 0..300);
    prop_oneof![3 => structured, 1 => noise, 3 => prop::collection::vec(blocks(), 1..5).prop_map(|all| all.concat())]
}

/// As many bytes as a scan takes at once, with what matters at both ends.
fn blocks() -> impl Strategy<Value = Vec<u8>> {
    let end = || prop::collection::vec(prop::sample::select(b"\"\"\",\n\r a".to_vec()), 0..5);
    (end(), prop::sample::select(b"a ,\n".to_vec()), end()).prop_map(|(first, filler, last)| {
        let between = vec![filler; 64 - first.len() - last.len()];
        [first, between, last].concat()
    })
}

/// Text of several groups of blocks: records that are whole, some of them long, and now and then something else.
fn long_texts() -> impl Strategy<Value = Vec<u8>> {
    let whole =
        ["a,b,c\n", "\"q\",\"r\"\"s\",\"t\nu\"\r\n", "\n", "\"\",,\"\n\n\"\n", "0123456789,\"x,y\",z\n"];
    let whole = prop::sample::select(whole.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    let quoted =
        (0usize..9000).prop_map(|length| [b"\"", "x\n".repeat(length / 2).as_bytes(), b"\"\n"].concat());
    let plain = (0usize..9000).prop_map(|length| ["a,".repeat(length / 2).as_bytes(), b"\n"].concat());
    let many = (whole, 1usize..900).prop_map(|(text, times)| text.repeat(times));
    let piece = prop_oneof![8 => many, 2 => quoted, 2 => plain, 1 => texts()];
    prop::collection::vec(piece, 1..12).prop_map(|all| all.concat())
}

fn write(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn options(format: Format, max_bytes: u64, chunk_bytes: usize) -> Options {
    Options { format, encoding: Encoding::InPlace, max_bytes, header: false, chunk_bytes, threads: 1 }
}

/// How much is asked for at a time: mini-batches and bytes. Only large portions are shared out among threads.
fn portions() -> impl Strategy<Value = (usize, u64)> {
    prop_oneof![Just((3, 50)), Just((1, 1)), Just((7, 1 << 20)), Just((usize::MAX, u64::MAX))]
}

fn plan(paths: Vec<PathBuf>, options: Options, wanted: usize, budget: u64) -> Result<Vec<MiniBatch>> {
    let mut plan = Plan::new(paths, options)?;
    let mut found = Vec::new();
    while plan.scan(wanted, budget)? {
        found.extend(plan.take(wanted));
    }
    found.extend(plan.take(usize::MAX));
    Ok(found)
}

proptest! {
    #[test]
    fn every_cutting_into_chunks_finds_the_records_of_the_twin(
        text in texts(), format in formats(), cuts in prop::collection::vec(0usize..400, 0..6)
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let mut begins = Vec::new();
        let mut scanner = Scanner::new(format, 0);
        for pair in cuts.windows(2) {
            scanner.feed(&text[pair[0]..pair[1]], &mut begins);
        }
        prop_assert_eq!(with_ends(&begins, text.len() as u64), naive(&text, format));
    }

    #[test]
    fn long_texts_have_the_records_of_the_twin_too(
        text in long_texts(), format in formats(), cut in 0usize..20_000
    ) {
        let (first, second) = text.split_at(cut.min(text.len()));
        let mut begins = Vec::new();
        let mut scanner = Scanner::new(format, 0);
        scanner.feed(first, &mut begins);
        scanner.feed(second, &mut begins);
        prop_assert_eq!(with_ends(&begins, text.len() as u64), naive(&text, format));
    }

    #[test]
    fn a_guess_that_agrees_with_the_truth_finds_the_same_from_there_on(
        text in texts(), format in formats(), from in 0usize..400, step in 1usize..80
    ) {
        let from = from.min(text.len());
        let mut truth = Scanner::new(format, 0);
        truth.feed(&text[..from], &mut Vec::new());
        let mut guess = Scanner::guess(format, from as u64);
        for piece in text[from..].chunks(step) {
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            let agreed = guess.agrees(&truth);
            truth.feed(piece, &mut expected);
            guess.feed(piece, &mut found);
            if agreed {
                prop_assert_eq!(found, expected);
                prop_assert!(guess.agrees(&truth));
                prop_assert_eq!(guess.between_records(), truth.between_records());
            }
        }
    }

    #[test]
    fn cutting_is_greedy_whether_starts_come_singly_or_in_blocks(
        lengths in prop::collection::vec(1u64..100, 0..200), max_bytes in 1u64..400
    ) {
        let ends = lengths.iter().scan(0, |at, length| { *at += length; Some(*at) });
        let begins: Vec<u64> = [0].into_iter().chain(ends).collect();
        let end = *begins.last().unwrap();
        let begins = &begins[..begins.len() - 1];
        let expected = naive_cut(&with_ends(begins, end), max_bytes);
        let (mut singly, mut blocks) = (Cutter::new(max_bytes, 0), Cutter::new(max_bytes, 0));
        for &begin in begins {
            singly.start(begin);
        }
        for base in (0..end).step_by(64) {
            let bits = begins.iter().filter(|&&begin| begin / 64 == base / 64);
            blocks.starts(base, bits.fold(0, |bits, begin| bits | 1 << (begin % 64)));
        }
        for cutter in [&mut singly, &mut blocks] {
            cutter.finish(end);
            prop_assert_eq!(cutter.take().collect::<Vec<_>>(), expected.clone());
        }
    }

    #[test]
    fn mini_batches_are_those_of_the_twin(
        all in prop::collection::vec(texts(), 1..4), format in formats(), max_bytes in 1u64..300,
        chunk in prop_oneof![1usize..20, 1usize..300], threads in 1usize..5, (wanted, budget) in portions(),
        header: bool, mark: bool
    ) {
        let folder = tempfile::tempdir().unwrap();
        let skip = usize::from(header && format != Format::JsonLines);
        let (mut paths, mut expected) = (Vec::new(), Vec::new());
        for (file, text) in all.iter().enumerate() {
            let before: &[u8] = if mark { b"\xEF\xBB\xBF" } else { b"" };
            paths.push(write(folder.path(), &file.to_string(), &[before, text].concat()));
            let records: Vec<_> = naive(text, format).split_off(skip.min(naive(text, format).len()));
            let shift = before.len() as u64;
            expected.extend(naive_cut(&records, max_bytes).into_iter().map(|range| {
                MiniBatch { file, range: Range { offset: range.offset + shift, ..range } }
            }));
        }
        let options = Options { header, threads, ..options(format, max_bytes, chunk) };
        prop_assert_eq!(plan(paths, options, wanted, budget).unwrap(), expected);
    }

    #[test]
    fn mini_batches_of_long_files_are_those_of_the_twin(
        pieces in prop::collection::vec((texts(), 1usize..20), 1..20), format in formats(), max_bytes in 1u64..20_000,
        chunk in 1usize..20_000, threads in 1usize..5
    ) {
        let text: Vec<u8> = pieces.iter().flat_map(|(text, times)| text.repeat(*times)).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "file", &text);
        let options = Options { threads, ..options(format, max_bytes, chunk) };
        let found = plan(vec![path], options, usize::MAX, u64::MAX).unwrap();
        let found: Vec<_> = found.into_iter().map(|found| found.range).collect();
        prop_assert_eq!(found, naive_cut(&naive(&text, format), max_bytes));
    }

    #[test]
    fn the_records_of_a_mini_batch_are_split_as_they_were_counted(text in texts(), format in formats()) {
        let split = split_records(&text, format);
        let whole = naive(&text, format);
        prop_assert_eq!(split.len(), whole.len());
        for (&(begin, end), &(first, after)) in split.iter().zip(&whole) {
            prop_assert_eq!(begin, first);
            prop_assert!(begin < end && end <= after);
            let rest = &text[usize::try_from(end).unwrap()..usize::try_from(after).unwrap()];
            prop_assert!(rest.iter().all(|byte| b" \t\r\n".contains(byte)));
        }
    }

    #[test]
    fn the_header_is_the_first_record(text in texts(), mark: bool) {
        let folder = tempfile::tempdir().unwrap();
        let dialect = Dialect::new(b',', Some(b'"'), true).unwrap();
        let before: &[u8] = if mark { b"\xEF\xBB\xBF" } else { b"" };
        let path = write(folder.path(), "file", &[before, &text].concat());
        let header = read_header(&path, dialect, Encoding::InPlace).unwrap();
        let split = split_records(&text, Format::Delimited(dialect));
        let first = split.first().map_or(&[][..], |&(begin, end)| {
            &text[usize::try_from(begin).unwrap()..usize::try_from(end).unwrap()]
        });
        prop_assert_eq!(&header.record, first);
        let second = split.get(1).map_or(text.len() as u64, |&(begin, _)| begin);
        prop_assert_eq!(header.data, second + before.len() as u64);
    }
}

fn commas() -> Format {
    Format::Delimited(Dialect::new(b',', Some(b'"'), true).unwrap())
}

/// All texts of `length` bytes that matter.
fn all_texts(length: u32) -> impl Iterator<Item = Vec<u8>> + Clone {
    (0..4usize.pow(length))
        .map(move |number| (0..length).map(|at| b"\",\na"[number >> (2 * at) & 3]).collect())
}

fn scan_agrees_with_the_twin(text: &[u8]) {
    let mut begins = Vec::new();
    Scanner::new(commas(), 0).feed(text, &mut begins);
    let ends = with_ends(&begins, text.len() as u64);
    assert_eq!(ends, naive(text, commas()), "{}", text.escape_ascii());
}

#[test]
fn every_seam_between_two_blocks_is_crossed_rightly() {
    for (head, tail) in all_texts(2).flat_map(|head| all_texts(2).map(move |tail| (head.clone(), tail))) {
        for (filler, next) in
            [b'a', b','].into_iter().flat_map(|filler| all_texts(3).map(move |next| (filler, next)))
        {
            let text = [&head[..], &[filler; 60], &tail, &next, &[b'a'; 60], b"\n"].concat();
            scan_agrees_with_the_twin(&text);
        }
    }
}

#[test]
fn every_seam_between_two_groups_of_blocks_is_crossed_rightly() {
    for (head, tail) in all_texts(3).flat_map(|head| all_texts(3).map(move |tail| (head.clone(), tail))) {
        for quoted in [false, true] {
            // With a quote somewhere, and without one.
            let begin: &[u8] = if quoted { b"\"q\"," } else { b"a,bc" };
            let text = [begin, &[b'a'; 4089], &head, &tail, &[b'b'; 4093], b"\n", b"c\n"].concat();
            scan_agrees_with_the_twin(&text);
        }
    }
}

#[test]
fn one_record_larger_than_everything_is_one_mini_batch() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("a\n\"{}\"\nb\n", "x\n".repeat(100_000));
    let path = write(folder.path(), "file", text.as_bytes());
    let found = plan(vec![path], options(commas(), 10, 64), 3, 50).unwrap();
    assert_eq!(found.iter().map(|found| found.range.length).collect::<Vec<_>>(), [2, 200_003, 2]);
}

#[test]
fn a_missing_file_is_an_error_after_the_mini_batches_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let there = write(folder.path(), "file", b"a\nb\n");
    let mut plan = Plan::new(vec![there, folder.path().join("gone")], options(commas(), 2, 64)).unwrap();
    assert!(!plan.scan(9, 1000).unwrap());
    assert_eq!(plan.take(9).count(), 2);
    assert!(matches!(plan.scan(9, 1000), Err(Error::Io { .. })));
    assert!(matches!(plan.scan(9, 1000), Err(Error::Option(_))));
}

#[test]
fn a_file_cut_short_while_it_is_scanned_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "file", &b"ab\n".repeat(1000));
    let mut plan = Plan::new(vec![path.clone()], options(commas(), 30, 64)).unwrap();
    assert!(plan.scan(1, 64).unwrap());
    std::fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap();
    let fault = std::iter::repeat_with(|| {
        plan.take(9).for_each(drop);
        plan.scan(9, 1000)
    });
    let fault = fault.take(100).find_map(Result::err).unwrap();
    assert!(matches!(fault, Error::Malformed { .. }), "{fault}");
}

#[test]
fn a_file_that_grows_in_the_middle_of_a_record_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "file", b"aaaa\nbbbb");
    let mut plan = Plan::new(vec![path.clone()], options(commas(), 3, 3)).unwrap();
    assert!(plan.scan(1, 1).unwrap());
    std::fs::write(path, b"aaaa\nbbbbcc\n").unwrap();
    while plan.scan(1, 1).unwrap() && plan.waiting() == 0 {}
    plan.take(1).for_each(drop);
    assert!(matches!(plan.scan(1, 1000), Err(Error::Malformed { .. })));
}

#[test]
fn options_that_cannot_be_used_are_refused() {
    for (delimiter, quote) in [(b',', Some(b',')), (b'\n', None), (b',', Some(b'\r')), (0xE9, None)] {
        assert!(matches!(Dialect::new(delimiter, quote, true), Err(Error::Option(_))));
    }
    assert!(matches!(Plan::new(vec![], options(commas(), 0, 64)), Err(Error::Option(_))));
    assert!(matches!(Plan::new(vec![], options(commas(), 1, 0)), Err(Error::Option(_))));
    let no_threads = Options { threads: 0, ..options(commas(), 1, 1) };
    assert!(matches!(Plan::new(vec![], no_threads), Err(Error::Option(_))));
    assert!("utf7".parse::<Encoding>().is_err());
}
