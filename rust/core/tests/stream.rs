//! Compressed files, UTF-16 and UTF-32 hold the same text as a plain file.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may panic: that is how it fails

use std::io::Write;
use std::path::{Path, PathBuf};

use batch_score_core::Error;
use batch_score_core::dialect::Encoding;
use batch_score_core::stream::{TextStream, is_stream};
use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn compress(text: &[u8], suffix: &str) -> Vec<u8> {
    match suffix {
        "gz" => gzip(text),
        "zst" => zstd::encode_all(text, 1).unwrap(),
        "bz2" => bzip2(text),
        _ => text.to_vec(),
    }
}

fn encode(text: &str, encoding: Encoding, big: bool, mark: bool) -> Vec<u8> {
    let marked = if mark { format!("\u{FEFF}{text}") } else { text.to_owned() };
    match encoding {
        Encoding::InPlace => text.as_bytes().to_vec(),
        Encoding::Utf16 => marked
            .encode_utf16()
            .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect(),
        Encoding::Utf32 => marked
            .chars()
            .flat_map(|unit| if big { u32::from(unit).to_be_bytes() } else { u32::from(unit).to_le_bytes() })
            .collect(),
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn read_all(path: &Path, encoding: Encoding, step: u64, length: u64) -> Vec<u8> {
    let mut stream = TextStream::open(path, encoding).unwrap();
    let mut text = Vec::new();
    while stream.position() < length {
        let wanted = step.min(length - stream.position());
        text.extend(stream.read_range(stream.position(), wanted).unwrap());
    }
    text
}

proptest! {
    #[test]
    fn every_way_of_storing_text_gives_the_same_text(
        text in "[a-z\u{1F600}é\n\"\u{4E00}]{0,200}", again in "[a-z]{0,20}", step in 1u64..50, big: bool,
        encoding in prop::sample::select(vec![Encoding::InPlace, Encoding::Utf16, Encoding::Utf32]),
        suffix in prop::sample::select(vec!["txt", "gz", "zst", "bz2", "GZ"])
    ) {
        let folder = tempfile::tempdir().unwrap();
        let lower = suffix.to_ascii_lowercase();
        // Two members, frames or streams behind each other are one text.
        let bytes = [
            compress(&encode(&text, encoding, big, true), &lower),
            compress(&encode(&again, encoding, big, false), &lower),
        ].concat();
        let path = write(folder.path(), &format!("file.{suffix}"), &bytes);
        let whole = text + &again;
        prop_assert_eq!(is_stream(&path, encoding), suffix != "txt" || encoding != Encoding::InPlace);
        prop_assert_eq!(read_all(&path, encoding, step, whole.len() as u64), whole.as_bytes());
    }
}

#[test]
fn text_longer_than_every_buffer_survives_decoding() {
    let folder = tempfile::tempdir().unwrap();
    let text = "x\u{1F600}yé".repeat(50_000);
    for encoding in [Encoding::Utf16, Encoding::Utf32] {
        let path = write(folder.path(), "file", &encode(&text, encoding, false, false));
        assert_eq!(read_all(&path, encoding, 70_001, text.len() as u64), text.as_bytes());
    }
}

#[test]
fn damaged_files_are_malformed() {
    let folder = tempfile::tempdir().unwrap();
    let text: Vec<u8> =
        (0..60_000u32).flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
    for suffix in ["gz", "zst", "bz2"] {
        let bytes = compress(&text, suffix);
        for (damage, bytes) in [
            ("truncated", bytes.get(..bytes.len() / 2).unwrap().to_vec()),
            ("truncated by 3 bytes", bytes.get(..bytes.len() - 3).unwrap().to_vec()),
            ("not compressed", b"plain text, not compressed at all".to_vec()),
        ] {
            let path = write(folder.path(), &format!("file.{suffix}"), &bytes);
            let fault =
                TextStream::open(&path, Encoding::InPlace).unwrap().fill(&mut vec![0; 1 << 20]).unwrap_err();
            assert!(matches!(fault, Error::Malformed { .. }), "{suffix} {damage}: {fault}");
        }
    }
}

/// UTF-16 in little-endian order as UTF-8, with the byte 0xFF for what is no text.
fn naive_utf16(bytes: &[u8]) -> Vec<u8> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = Vec::new();
    for unit in char::decode_utf16(pairs.iter().map(|&pair| u16::from_le_bytes(pair))) {
        match unit {
            Ok(character) => text.extend(character.to_string().bytes()),
            Err(_) => text.push(0xFF),
        }
    }
    if !rest.is_empty() {
        text.push(0xFF);
    }
    text
}

proptest! {
    #[test]
    fn what_is_no_text_is_one_byte_that_no_text_has(
        units in prop::collection::vec(prop::sample::select(vec![0x61u16, 0xE9, 0x4E00, 0xD83D, 0xDE00, 0xD800]), 0..50),
        times in prop::sample::select(vec![1usize, 1, 1, 2000]), odd: bool, step in 1u64..5000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>().repeat(times);
        // Half a unit behind half a pair counts as one with it.
        bytes.extend((odd && !matches!(units.last(), Some(0xD83D | 0xD800))).then_some(0x61));
        let wanted = naive_utf16(&bytes);
        let path = write(folder.path(), "file", &bytes);
        prop_assert_eq!(read_all(&path, Encoding::Utf16, step, wanted.len() as u64), &wanted[..]);
        let mut beyond = TextStream::open(&path, Encoding::Utf16).unwrap();
        prop_assert_eq!(beyond.fill(&mut vec![0; wanted.len() + 1]).unwrap(), wanted.len());
    }
}

#[test]
fn utf32_that_is_no_text_is_one_byte_too() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[u8], &[u8]); 2] =
        [(b"a\0\0\0b\0", b"a\xFF"), (b"\0\0\x11\0a\0\0\0\0\xD8\0\0", b"\xFFa\xFF")];
    for (bytes, wanted) in cases {
        let path = write(folder.path(), "file", bytes);
        assert_eq!(read_all(&path, Encoding::Utf32, 9, wanted.len() as u64), wanted);
    }
}

#[test]
fn zeros_behind_members_of_gzip_are_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = |count: usize| vec![0; count];
    for padding in [0, 1, 511, 1_000_000] {
        let bytes = [gzip(b"one "), zeros(padding), gzip(b"two"), gzip(b""), zeros(padding)].concat();
        let path = write(folder.path(), "file.gz", &bytes);
        let mut text = [0; 99];
        let count = TextStream::open(&path, Encoding::InPlace).unwrap().fill(&mut text).unwrap();
        assert_eq!(&text[..count], b"one two");
        let path = write(folder.path(), "file.gz", &[bytes, b"junk".to_vec()].concat());
        assert!(TextStream::open(&path, Encoding::InPlace).unwrap().fill(&mut text).is_err());
    }
}

#[test]
fn ranges_skip_ahead_but_never_go_back_or_beyond_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "file.gz", &gzip(b"0123456789"));
    let mut stream = TextStream::open(&path, Encoding::InPlace).unwrap();
    assert_eq!(stream.read_range(3, 2).unwrap(), b"34");
    assert_eq!(stream.read_range(5, 1).unwrap(), b"5");
    assert!(matches!(stream.read_range(4, 1), Err(Error::Option(_))));
    assert!(matches!(stream.read_range(8, 3), Err(Error::Malformed { .. })));
}
