//! What single calls do and refuse, one case at a time.

use std::fs::File;
use std::sync::Arc;

use super::*;

fn ending(index: u64) -> Ending {
    Ending { index, identity: 0, attempt: 0, total: 1, succeeded: 1, returned: 1 }
}

fn nothing(index: u64) -> Ending {
    Ending { succeeded: 0, returned: 0, ..ending(index) }
}

fn commit(writer: &mut AppendWriter, index: u64, payload: &[u8]) -> Result<u64> {
    writer.append(Kind::Committed, ending(index), &[payload], &[], 0.0)
}

fn fail(writer: &mut AppendWriter, index: u64, lines: &[u8]) -> Result<u64> {
    writer.append(Kind::Failed, nothing(index), &[], lines, 0.0)
}

#[test]
fn a_mini_batch_ends_once_also_after_resume() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    assert_eq!(writer.append(Kind::Committed, ending(5), &[b"ab", b"", b"c"], b"", 0.0).unwrap(), 3);
    fail(&mut writer, 6, b"{}\n").unwrap();
    writer.append(Kind::Bisected, ending(7), &[b"d"], b"{}\n", 0.0).unwrap();
    drop(writer);
    let mut writer = run.resume();
    for index in [5, 6, 7] {
        assert!(matches!(commit(&mut writer, index, b"x"), Err(Error::Option(_))));
        assert!(matches!(fail(&mut writer, index, b"x"), Err(Error::Option(_))));
    }
    assert!(writer.preamble(b"late\n", 0.0).is_err());
    assert_eq!(commit(&mut writer, 8, b"e").unwrap(), 5);
    assert_eq!(writer.close().unwrap(), 5);
    assert_eq!(run.contents()[..2], [b"{}\n{}\n".to_vec(), b"abcde".to_vec()]);
}

#[test]
fn identities_are_known_of_mini_batches_that_ended_before_resuming() {
    let run = Run::new(&[]);
    let with_identity = |index, identity| Ending { identity, ..ending(index) };
    let mut writer = run.create();
    writer.append(Kind::Committed, with_identity(0, 0), &[b"a"], &[], 0.0).unwrap();
    writer.append(Kind::Bisected, with_identity(70, u32::MAX), &[], &[], 0.0).unwrap();
    assert_eq!(writer.identity(0), None);
    drop(writer);
    let mut writer = run.resume();
    writer.append(Kind::Committed, with_identity(1, 5), &[b"b"], &[], 0.0).unwrap();
    let found = [0, 1, 2, 70].map(|index| writer.identity(index));
    assert_eq!(found, [Some(0), None, None, Some(u32::MAX)]);
}

#[test]
fn without_an_output_there_are_only_failed_items_and_a_journal() {
    let run = Run::new(&[]);
    let mut writer = AppendWriter::create(run.without_output(), RUN, NEVER, 0.0).unwrap();
    assert!(commit(&mut writer, 0, b"x").is_err());
    assert!(writer.preamble(b"x", 0.0).is_err());
    assert_eq!(commit(&mut writer, 0, b"").unwrap(), 0);
    fail(&mut writer, 1, b"{}\n").unwrap();
    writer.close().unwrap();
    assert!(!run.paths[1].exists());
    let writer = AppendWriter::resume(run.without_output(), RUN, NEVER, 0.0).unwrap();
    assert!(writer.progress().committed(0) && writer.progress().failed(1));
    assert!(!run.paths[1].exists());
}

#[test]
fn what_does_not_belong_together_is_refused_and_not_touched() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    commit(&mut writer, 0, b"our rows\n").unwrap();
    fail(&mut writer, 1, b"our lines\n").unwrap();
    drop(writer);
    let ours = run.listing();
    let refused = |files, run_id| AppendWriter::resume(files, run_id, NEVER, 0.0).unwrap_err().to_string();
    assert!(refused(run.files(), [8; 16]).contains("another run"));
    assert!(refused(run.without_output(), RUN).contains("none was given"));
    assert_eq!(run.listing(), ours);
    for (file, foreign) in [(0, "somebody else's lines\n"), (1, "somebody else's rows\n")] {
        fs::write(&run.paths[file], foreign).unwrap();
        let before = run.listing();
        assert!(refused(run.files(), RUN).contains("not those that the journal recorded"));
        assert_eq!(run.listing(), before);
    }
}

#[test]
fn first_bytes_of_somebody_else_are_not_cut_even_when_nothing_is_good() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    commit(&mut writer, 0, b"our rows\n").unwrap();
    fail(&mut writer, 1, b"our lines\n").unwrap();
    drop(writer);
    fs::write(&run.paths[1], b"").unwrap();
    fs::write(&run.paths[0], b"somebody else's lines\n").unwrap();
    let before = run.listing();
    assert!(run.try_resume().unwrap_err().to_string().contains("not those that the journal recorded"));
    assert_eq!(run.listing(), before);
}

#[test]
fn a_journal_that_contradicts_itself_is_refused() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    commit(&mut writer, 0, b"a").unwrap();
    let again = Record {
        kind: Kind::Committed,
        ending: ending(0),
        end: 1,
        failed_end: 0,
        output_crc: 0,
        failed_crc: 0,
    };
    let journal = [fs::read(&run.paths[2]).unwrap(), again.encode(writer.crc).0].concat();
    fs::write(&run.paths[2], journal).unwrap();
    let error = run.recover().unwrap_err().to_string();
    assert!(error.contains("ended already") && error.ends_with("at byte 104"), "{error}");
}

#[test]
fn a_failed_write_takes_the_bytes_back_from_every_file() {
    for refusing in 0..3 {
        let run = Run::new(&[]);
        let mut writer = run.create();
        commit(&mut writer, 0, b"good\n").unwrap();
        let [_, _, journal_before] = run.contents();
        let read_only = Arc::new(File::open(&run.paths[refusing]).unwrap());
        let file = &mut writer.files().nth(refusing).unwrap().file;
        let writable = std::mem::replace(file, read_only);
        let mut bisect =
            |payload: &[u8], lines: &[u8]| writer.append(Kind::Bisected, ending(1), &[payload], lines, 0.0);
        assert!(bisect(b"lost\n", b"lost too\n").is_err());
        assert!(bisect(b"lost again\n", b"lost again\n").is_err());
        assert!(!writer.progress().committed(1));
        // The file cannot be cut while it refuses writes, so the next call has to do it.
        writer.files().nth(refusing).unwrap().file = writable;
        let end = writer.append(Kind::Bisected, ending(1), &[b"kept\n"], b"kept\n", 0.0).unwrap();
        assert_eq!(end, 10);
        let [failed_items, output, journal] = run.contents();
        assert_eq!((failed_items, output), (b"kept\n".to_vec(), b"good\nkept\n".to_vec()));
        assert_eq!(journal.len(), journal_before.len() + RECORD_LEN);
        let summary = run.recover().unwrap().progress.summary();
        assert_eq!((summary.committed, summary.bisected), (1, 1));
    }
}

#[test]
fn a_time_between_syncs_that_is_no_time_is_refused() {
    let run = Run::new(&[]);
    for seconds in [-1.0, f64::NAN] {
        let group = GroupCommit { bytes: 1, seconds };
        assert!(AppendWriter::create(run.files(), RUN, group, 0.0).is_err());
        assert!(AppendWriter::resume(run.files(), RUN, group, 0.0).is_err());
    }
    assert_eq!(run.listing(), []);
}
