//! The append writer and recovery together: faults at every byte, then going on.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::journal::{HEADER_LEN, Journal, RECORD_LEN};
use crate::recover::Recovered;

const RUN: RunId = [7; 16];
const NEVER: GroupCommit = GroupCommit { bytes: u64::MAX, seconds: f64::INFINITY };

/// One call of the append writer; the mini-batch index follows from its place.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Vec<u8>>),
    Fail,
}

struct Run {
    folder: tempfile::TempDir,
    steps: Vec<Step>,
}

impl Run {
    fn new(steps: &[Step]) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), steps: steps.to_vec() }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("predictions.csv")
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn create(&self) -> AppendWriter {
        AppendWriter::create(Some(&self.output()), &self.journal(), RUN, NEVER, 0.0).unwrap()
    }

    fn resume(&self) -> AppendWriter {
        AppendWriter::resume(Some(&self.output()), &self.journal(), RUN, NEVER, 0.0).unwrap()
    }

    fn recover(&self) -> Result<Recovered> {
        recover(Some(&self.output()), &self.journal(), RUN)
    }

    /// Takes the steps whose mini-batches have not ended, in order.
    fn go_on(&self, writer: &mut AppendWriter) {
        if writer.progress().summary().end == 0 {
            writer.preamble(b"key,score\n", 0.0).unwrap();
        }
        for (index, step) in (0..).zip(&self.steps) {
            let ending = Ending { index: index * 63, attempt: 1, total: 3, succeeded: 2 };
            if writer.progress().committed(ending.index) || writer.progress().failed(ending.index) {
                continue;
            }
            match step {
                Step::Append(slices) => {
                    let slices: Vec<&[u8]> = slices.iter().map(Vec::as_slice).collect();
                    writer.append(ending, &slices, 0.0).unwrap();
                }
                Step::Fail => writer.fail(ending, 0.0).unwrap(),
            }
        }
    }

    fn files(&self) -> (Vec<u8>, Vec<u8>) {
        (fs::read(self.output()).unwrap(), fs::read(self.journal()).unwrap())
    }

    fn put(&self, output: &[u8], journal: &[u8]) {
        fs::write(self.output(), output).unwrap();
        fs::write(self.journal(), journal).unwrap();
    }
}

/// What the output must hold, computed without a writer.
fn expected(steps: &[Step]) -> Vec<u8> {
    let mut bytes = b"key,score\n".to_vec();
    for step in steps {
        if let Step::Append(slices) = step {
            bytes.extend(slices.concat());
        }
    }
    bytes
}

/// Output lengths after each record, beginning with none.
fn ends(journal: &Path) -> Vec<u64> {
    let mut journal = Journal::open(journal).unwrap();
    let records = std::iter::from_fn(|| journal.next_record().unwrap());
    [0].into_iter().chain(records.map(|record| record.end)).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let slice = prop::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        4 => prop::collection::vec(slice, 0..3).prop_map(Step::Append),
        1 => Just(Step::Fail),
    ]
}

/// A finished run, its files, and the output length after each record.
fn finished(steps: &[Step]) -> (Run, Vec<u8>, Vec<u8>, Vec<u64>) {
    let run = Run::new(steps);
    run.go_on(&mut run.create());
    let (output, journal) = run.files();
    let ends = ends(&run.journal());
    (run, output, journal, ends)
}

proptest! {
    // A case works on many files; PROPTEST_CASES still turns the effort up.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(8), ..Default::default() })]

    #[test]
    fn the_output_is_what_was_appended_and_recovery_agrees(steps in prop::collection::vec(step(), 0..40)) {
        let run = Run::new(&steps);
        let mut writer = run.create();
        run.go_on(&mut writer);
        prop_assert_eq!(run.files().0, expected(&steps));
        let recovered = run.recover().unwrap();
        prop_assert_eq!(&recovered.progress, writer.progress());
        prop_assert_eq!((recovered.torn, recovered.lost), (false, 0));
        prop_assert_eq!(recovered.crc, writer.crc);
    }

    #[test]
    fn whatever_is_cut_off_a_prefix_is_good_and_resume_completes_it(
        steps in prop::collection::vec(step(), 1..5),
        both in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let (run, output, journal, ends) = finished(&steps);
        let of_journal = (HEADER_LEN..=journal.len()).map(|length| (output.len(), length));
        let of_output = (0..=output.len()).map(|length| (length, journal.len()));
        let pair = (
            both.0.index(output.len() + 1),
            HEADER_LEN + both.1.index(journal.len() + 1 - HEADER_LEN),
        );
        for (output_length, journal_length) in of_journal.chain(of_output).chain([pair]) {
            run.put(output.get(..output_length).unwrap(), journal.get(..journal_length).unwrap());
            let stored = (journal_length - HEADER_LEN) / RECORD_LEN;
            let good = ends.iter().take(stored + 1).take_while(|end| **end <= output_length as u64).count() - 1;
            let recovered = run.recover().unwrap();
            prop_assert_eq!(Some(&recovered.progress.summary().end), ends.get(good));
            prop_assert_eq!(recovered.journal_end, (HEADER_LEN + good * RECORD_LEN) as u64);
            prop_assert_eq!(recovered.lost, (stored - good) as u64);
            prop_assert_eq!(recovered.torn, !(journal_length - HEADER_LEN).is_multiple_of(RECORD_LEN));
            run.go_on(&mut run.resume());
            prop_assert_eq!(run.files(), (output.clone(), journal.clone()));
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_good_part(
        steps in prop::collection::vec(step(), 1..8),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let (run, mut output, mut journal, ends) = finished(&steps);
        let at = at.index(output.len() + journal.len());
        let flip = |bytes: &mut Vec<u8>, at: usize| *bytes.get_mut(at).unwrap() ^= 1 << bit;
        let good = if let Some(at) = at.checked_sub(output.len()) {
            flip(&mut journal, at);
            at.checked_sub(HEADER_LEN).map(|at| at / RECORD_LEN)
        } else {
            flip(&mut output, at);
            let good = ends.iter().take_while(|end| **end <= at as u64).count() - 1;
            (good > 0).then_some(good)
        };
        run.put(&output, &journal);
        match (run.recover(), good) {
            (Ok(recovered), Some(good)) => {
                prop_assert_eq!(Some(&recovered.progress.summary().end), ends.get(good));
                prop_assert_eq!(recovered.journal_end, (HEADER_LEN + good * RECORD_LEN) as u64);
                run.go_on(&mut run.resume());
                prop_assert_eq!(run.files().0, expected(&steps));
            }
            (found, good) => prop_assert!(found.is_err() && good.is_none(), "{found:?}, {good:?}"),
        }
    }

    #[test]
    fn a_sync_is_due_when_either_bound_is_reached(
        bytes in 0..5_u64, seconds in 0..5_u8, bytes_since in 0..9_u64, seconds_since in 0..9_u8,
    ) {
        let group = GroupCommit { bytes, seconds: f64::from(seconds) };
        let due = bytes_since > 0 && (bytes_since >= bytes || seconds_since >= seconds);
        prop_assert_eq!(group.due(bytes_since, f64::from(seconds_since)), due);
    }
}

fn ending(index: u64) -> Ending {
    Ending { index, attempt: 0, total: 1, succeeded: 1 }
}

#[test]
fn create_leaves_a_file_that_is_there_alone_and_nothing_else_behind() {
    let run = Run::new(&[]);
    let create = || AppendWriter::create(Some(&run.output()), &run.journal(), RUN, NEVER, 0.0);
    for (there, other) in [(run.output(), run.journal()), (run.journal(), run.output())] {
        fs::write(&there, b"mine").unwrap();
        let error = create().unwrap_err();
        assert!(
            matches!(&error, Error::Io { path, source } if *path == there && source.kind() == ErrorKind::AlreadyExists)
        );
        assert_eq!(fs::read(&there).unwrap(), b"mine");
        assert!(!other.exists());
        fs::remove_file(&there).unwrap();
    }
    create().unwrap();
}

#[test]
fn a_mini_batch_ends_once_also_after_resume() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    assert_eq!(writer.append(ending(5), &[b"ab", b"", b"c"], 0.0).unwrap(), 3);
    writer.fail(ending(6), 0.0).unwrap();
    drop(writer);
    let mut writer = run.resume();
    for index in [5, 6] {
        assert!(matches!(writer.append(ending(index), &[b"x"], 0.0), Err(Error::Option(_))));
        assert!(matches!(writer.fail(ending(index), 0.0), Err(Error::Option(_))));
    }
    assert!(writer.preamble(b"late\n", 0.0).is_err());
    assert_eq!(writer.append(ending(7), &[b"d"], 0.0).unwrap(), 4);
    assert_eq!(writer.close().unwrap(), 4);
    assert_eq!(run.files().0, b"abcd");
}

#[test]
fn a_run_that_is_being_written_cannot_be_resumed() {
    let run = Run::new(&[]);
    let resume = || AppendWriter::resume(Some(&run.output()), &run.journal(), RUN, NEVER, 0.0);
    for open in [Run::create, Run::resume] {
        let writer = open(&run);
        assert!(matches!(resume(), Err(Error::Io { source, .. }) if source.kind() == ErrorKind::WouldBlock));
        writer.close().unwrap();
    }
}

#[test]
fn without_an_output_there_is_only_a_journal() {
    let run = Run::new(&[]);
    let mut writer = AppendWriter::create(None, &run.journal(), RUN, NEVER, 0.0).unwrap();
    assert!(writer.append(ending(0), &[b"x"], 0.0).is_err());
    assert_eq!(writer.append(ending(0), &[], 0.0).unwrap(), 0);
    writer.close().unwrap();
    assert!(!run.output().exists());
    let recovered = recover(None, &run.journal(), RUN).unwrap();
    assert!(recovered.progress.committed(0));
}

#[test]
fn what_does_not_belong_together_is_refused_and_not_touched() {
    let run = Run::new(&[]);
    run.create().append(ending(0), &[b"our rows\n"], 0.0).unwrap();
    let refused = |output: Option<&Path>, run_id| {
        AppendWriter::resume(output, &run.journal(), run_id, NEVER, 0.0).unwrap_err().to_string()
    };
    assert!(refused(Some(&run.output()), [8; 16]).contains("another run"));
    assert!(refused(None, RUN).contains("none was given"));
    fs::write(run.output(), b"somebody else's rows\n").unwrap();
    assert!(refused(Some(&run.output()), RUN).contains("not those that the journal recorded"));
    assert_eq!(run.files().0, b"somebody else's rows\n");
}

#[test]
fn a_journal_that_contradicts_itself_is_refused() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    writer.append(ending(0), &[b"a"], 0.0).unwrap();
    let again = Record { kind: Kind::Committed, ending: ending(0), end: 1, bytes_crc: 0 };
    let journal = [fs::read(run.journal()).unwrap(), again.encode(writer.crc).0].concat();
    fs::write(run.journal(), journal).unwrap();
    let error = run.recover().unwrap_err().to_string();
    assert!(error.contains("ended already") && error.ends_with("at byte 80"), "{error}");
}

#[test]
fn a_failed_record_write_takes_the_bytes_back() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    writer.append(ending(0), &[b"good\n"], 0.0).unwrap();
    let read_only = File::open(run.journal()).unwrap();
    let journal = std::mem::replace(&mut writer.journal.file, read_only);
    let before = run.files();
    assert!(writer.append(ending(1), &[b"lost\n"], 0.0).is_err());
    assert!(!writer.progress().committed(1));
    // Neither file can be cut while the journal refuses writes, so the next call has to do it.
    writer.journal.file = journal;
    assert_eq!(writer.append(ending(1), &[b"kept\n"], 0.0).unwrap(), 10);
    let (output, journal) = run.files();
    assert_eq!(output, b"good\nkept\n");
    assert_eq!(journal.len(), before.1.len() + RECORD_LEN);
    assert_eq!(run.recover().unwrap().progress.summary().committed, 2);
}

#[test]
fn syncs_happen_when_due_and_a_failed_one_is_final() {
    let run = Run::new(&[]);
    let group = GroupCommit { bytes: 200, seconds: 10.0 };
    let mut writer = AppendWriter::create(Some(&run.output()), &run.journal(), RUN, group, 100.0).unwrap();
    let mut unsynced = |index, now, bytes: usize| {
        writer.append(ending(index), &[vec![b'x'; bytes].as_slice()], now).unwrap();
        writer.unsynced
    };
    assert_eq!(unsynced(0, 109.0, 2), 32 + 48 + 2);
    assert_eq!(unsynced(1, 110.0, 2), 0);
    assert_eq!(unsynced(2, 111.0, 100), 148);
    assert_eq!(unsynced(3, 112.0, 4), 0);
    assert_eq!(unsynced(4, 121.0, 2), 50);
    writer.sync_failed = true;
    assert!(writer.append(ending(5), &[b"x"], 121.0).unwrap_err().to_string().contains("resume the run"));
    assert!(writer.close().is_err());
}

#[test]
fn a_time_between_syncs_that_is_no_time_is_refused() {
    let run = Run::new(&[]);
    for seconds in [-1.0, f64::NAN] {
        let group = GroupCommit { bytes: 1, seconds };
        assert!(AppendWriter::create(Some(&run.output()), &run.journal(), RUN, group, 0.0).is_err());
    }
    assert!(!run.output().exists() && !run.journal().exists());
}
