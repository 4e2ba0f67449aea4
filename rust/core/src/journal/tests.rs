//! The format of the journal and the law of its records.

use proptest::prelude::*;

use super::*;

const RUN: RunId = *b"0123456789abcdef";

fn committed(index: u64, end: u64) -> Record {
    let ending = Ending { index, identity: 0xC0FF_EE00, attempt: 1, total: 5, succeeded: 4, returned: 6 };
    Record { kind: Kind::Committed, ending, end, failed_end: 0, output_crc: 0xDEAD_BEEF, failed_crc: 0 }
}

fn failed(index: u64, end: u64, failed_end: u64) -> Record {
    let ending = Ending { succeeded: 0, returned: 0, ..committed(index, end).ending };
    Record { kind: Kind::Failed, ending, end, failed_end, output_crc: 0, failed_crc: 9 }
}

fn bisected(index: u64, end: u64, failed_end: u64) -> Record {
    Record { kind: Kind::Bisected, failed_end, failed_crc: 9, ..committed(index, end) }
}

fn preamble(end: u64) -> Record {
    let nothing_failed = committed(0, end);
    Record { kind: Kind::Preamble, ending: Ending::default(), ..nothing_failed }
}

fn stored(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn refusal(content: &[u8]) -> String {
    let (_folder, path) = stored(content);
    Journal::open(&path).unwrap_err().to_string()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| hex.get(at..at + 2).unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(digits(at), 16).unwrap()).collect()
}

/// The bytes of version 2, written down once: if this test has to change, the version has to.
#[test]
fn version_2_is_what_it_always_was() {
    let (header, crc) = encode_header(&RUN);
    assert_eq!(header, bytes("8942534a0d0a1a0a020000003031323334353637383961626364656692b9d2d4"));
    let (record, _) = bisected(258, 1 << 40, 1 << 24).encode(crc);
    let expected = [
        "04000000",
        "01000000",
        "0201000000000000",
        "0500000000000000",
        "0400000000000000",
        "0600000000000000",
        "0000000000010000",
        "0000000100000000",
        "00eeffc0",
        "efbeadde",
        "09000000",
        "ea4e7c52",
    ];
    assert_eq!(record, bytes(&expected.concat()));
}

#[test]
fn records_come_back_as_they_were_written() {
    let written =
        [preamble(9), committed(u64::MAX, 9), failed(0, 9, 5), bisected(7, 12, 6), committed(1, u64::MAX)];
    let (mut content, mut crc) = encode_header(&RUN);
    for record in &written {
        let (bytes, next) = record.encode(crc);
        crc = next;
        content.extend(bytes);
    }
    let (_folder, path) = stored(&content);
    let mut journal = Journal::open(&path).unwrap();
    assert_eq!(journal.run_id(), RUN);
    for record in &written {
        assert_eq!(journal.next_record().unwrap().as_ref(), Some(record));
    }
    assert_eq!(journal.next_record().unwrap(), None);
    assert_eq!((journal.torn(), journal.end(), journal.crc()), (false, content.len() as u64, crc));
}

#[test]
fn an_undamaged_record_of_unknown_kind_is_refused() {
    let (mut content, crc) = encode_header(&RUN);
    let (record, _) = committed(0, 1).encode(crc);
    let fields = record.get(4..RECORD_LEN - 4).unwrap();
    content.extend(seal([&9_u32.to_le_bytes(), fields].concat(), crc).0);
    let (_folder, path) = stored(&content);
    let error = Journal::open(&path).unwrap().next_record().unwrap_err();
    assert!(error.to_string().contains("unknown kind"), "{error}");
}

#[test]
fn a_record_of_another_run_or_place_does_not_fit() {
    let (header, crc) = encode_header(&RUN);
    let (first, next) = committed(0, 1).encode(crc);
    let (second, _) = committed(1, 2).encode(next);
    let (foreign, _) = committed(1, 2).encode(encode_header(&[0; 16]).1);
    for (records, good) in [([&first, &foreign], 1), ([&second, &first], 0), ([&first, &first], 1)] {
        let (_folder, path) = stored(&[header.as_slice(), records[0], records[1]].concat());
        let mut journal = Journal::open(&path).unwrap();
        let read = std::iter::from_fn(|| journal.next_record().unwrap()).count();
        assert_eq!((read, journal.torn()), (good, true));
    }
}

#[test]
fn headers_that_cannot_be_trusted_are_refused_with_the_reason() {
    let (header, _) = encode_header(&RUN);
    let with = |at: usize, byte: u8| {
        let mut header = header.clone();
        *header.get_mut(at).unwrap() = byte;
        header
    };
    assert!(refusal(header.get(..31).unwrap()).contains("header is cut off"));
    assert!(refusal(b"").contains("header is cut off"));
    assert!(refusal(&with(1, b'X')).contains("not a journal"));
    for version in [1, 3] {
        let refused = format!("version {version} is unknown, this build reads version 2");
        assert!(refusal(&with(8, version)).contains(&refused));
    }
    assert!(refusal(&with(12, b'X')).contains("header is damaged"));
}

#[test]
fn the_law_of_sequences() {
    let mut progress = Progress::default();
    for record in [failed(3, 0, 8), preamble(10), committed(0, 10), committed(7, 25), failed(64, 25, 9)] {
        let start = progress.summary();
        let record = Record {
            failed_end: record.failed_end.max(start.failed_end),
            output_crc: u32::from(record.end > start.end),
            ..record
        };
        progress.apply(&record).unwrap();
    }
    let silent = |record: Record| Record { output_crc: 0, failed_crc: 0, ..record };
    progress.apply(&silent(Record { end: 25, ..bisected(65, 25, 9) })).unwrap();
    for (record, reason) in [
        (Record { failed_end: 9, ..preamble(40) }, "first bytes"),
        (Record { failed_end: 9, ..committed(0, 40) }, "ended already"),
        (bisected(3, 40, 10), "ended already"),
        (failed(7, 25, 10), "ended already"),
        (failed(65, 25, 10), "ended already"),
        (bisected(8, 24, 10), "the output cannot shrink to 24"),
        (bisected(8, 26, 8), "the failed items cannot shrink to 8"),
        (bisected(8, 25, 10), "added to the output, so their CRC must be 0"),
        (bisected(8, 26, 9), "added to the failed items, so their CRC must be 0"),
        (Record { output_crc: 1, ..failed(8, 26, 10) }, "cannot have rows"),
    ] {
        let found = progress.clone().apply(&record).unwrap_err();
        assert!(found.contains(reason), "{found}");
    }
    let summary = Summary {
        end: 25,
        failed_end: 9,
        header: 10,
        committed: 2,
        short: 2,
        bisected: 1,
        failed: 2,
        items_total: 25,
        items_succeeded: 12,
        returned: 18,
    };
    assert_eq!(progress.summary(), summary);
    let ended = |index| (progress.committed(index), progress.failed(index));
    let expected = [(true, false), (false, true), (true, false), (false, true), (true, false)];
    assert_eq!([0, 3, 7, 64, 65].map(ended), expected);
    assert_eq!([1, 2, 63, 66, u64::MAX].map(ended), [(false, false); 5]);
}

fn with(record: Record, ending: Ending) -> Record {
    Record { ending: Ending { index: record.ending.index, ..ending }, output_crc: 0, failed_crc: 0, ..record }
}

#[test]
fn impossible_counts_are_refused() {
    let counts = |total, succeeded, returned| Ending { total, succeeded, returned, ..Ending::default() };
    for (record, reason) in [
        (with(committed(0, 0), counts(5, 6, 6)), "6 of 5 items succeeded"),
        (with(bisected(0, 0, 0), counts(5, 4, 3)), "when 3 were returned"),
        (with(failed(0, 0, 0), counts(5, 1, 0)), "when 0 were returned"),
        (with(failed(0, 0, 0), counts(5, 0, 1)), "cannot have rows"),
    ] {
        let found = Progress::default().apply(&record).unwrap_err();
        assert!(found.contains(reason), "{found}");
    }
    for most in [counts(u64::MAX, 0, 0), counts(0, 0, u64::MAX)] {
        let mut progress = Progress::default();
        progress.apply(&with(committed(0, 0), most)).unwrap();
        let found = progress.apply(&with(committed(1, 0), counts(1, 1, 1))).unwrap_err();
        assert!(found.contains("overflow"), "{found}");
        progress.apply(&with(committed(1, 0), Ending::default())).unwrap();
    }
}

#[test]
fn a_preamble_is_bytes_of_the_output_and_nothing_else() {
    let refused = |record: Record| Progress::default().apply(&record).unwrap_err();
    assert!(refused(with(preamble(0), Ending::default())).contains("must have bytes"));
    let identity = Ending { identity: 1, ..Ending::default() };
    assert!(refused(Record { ending: identity, ..preamble(4) }).contains("belong to no mini-batch"));
    let noisy = Record { failed_end: 3, failed_crc: 1, ..preamble(4) };
    assert!(refused(noisy).contains("cannot add to the failed items"));
}

proptest! {
    #[test]
    fn identities_are_what_a_plain_map_keeps(
        inserted in prop::collection::vec((prop_oneof![0..200_u64, any::<u64>()], any::<u32>()), 0..200),
        asked in prop::collection::vec(0..200_u64, 0..50),
    ) {
        let mut identities = Identities::default();
        let mut twin = std::collections::HashMap::new();
        for (index, identity) in &inserted {
            identities.insert(*index, *identity);
            twin.insert(*index, *identity);
        }
        for index in inserted.iter().map(|(index, _)| index).chain(&asked) {
            prop_assert_eq!(identities.get(*index), twin.get(index).copied());
        }
    }
}
