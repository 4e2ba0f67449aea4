//! Who may write a run, and where one may begin: files that are there, leftovers, several at once.

use std::io::ErrorKind;
use std::sync::Barrier;

use super::*;

/// Content of a file before a run, `None` for no file.
type Leftover = Option<&'static [u8]>;

fn kind_of(error: &Error) -> Option<ErrorKind> {
    match error {
        Error::Io { source, .. } => Some(source.kind()),
        _ => None,
    }
}

fn put(run: &Run, leftovers: [Leftover; 3]) {
    for (path, leftover) in run.paths.iter().zip(leftovers) {
        if let Some(content) = leftover {
            fs::write(path, content).unwrap();
        }
    }
}

#[test]
fn create_leaves_a_file_that_is_there_alone_and_nothing_else_behind() {
    for there in 0..3 {
        let run = Run::new(&[]);
        fs::write(&run.paths[there], b"mine").unwrap();
        let before = run.listing();
        let error = AppendWriter::create(run.files(), RUN, NEVER, 0.0).unwrap_err();
        assert_eq!(kind_of(&error), Some(ErrorKind::AlreadyExists));
        assert!(error.to_string().contains(run.paths[there].to_str().unwrap()), "{error}");
        assert_eq!(run.listing(), before);
        fs::remove_file(&run.paths[there]).unwrap();
        drop(run.create());
        assert_eq!(run.listing().len(), 3);
    }
}

#[test]
fn resume_begins_anew_on_the_empty_leftovers_of_a_start() {
    let (none, empty): (Leftover, Leftover) = (None, Some(b""));
    let steps =
        [Step { kind: Kind::Bisected, payload: vec![b"row\n".to_vec()], failed_items: b"{}\n".to_vec() }];
    let (_, contents, _) = finished(&steps);
    for journal in [none, empty, Some(b"\x89BSJ\r\n\x1a\n\x02\0\0"), Some(&[0; HEADER_LEN - 1])] {
        for (failed_items, output) in [(none, none), (none, empty), (empty, none), (empty, empty)] {
            let run = Run::new(&steps);
            put(&run, [failed_items, output, journal]);
            let mut writer = run.resume();
            assert_eq!((writer.cut_off(), writer.identity(0)), (CutOff::default(), None));
            run.go_on(&mut writer);
            writer.close().unwrap();
            assert_eq!(run.contents(), contents);
        }
    }
}

#[test]
fn bytes_without_a_journal_are_refused_and_not_touched() {
    let rows: Leftover = Some(b"rows\n");
    for (journal, state) in [(None, "missing"), (Some(&b""[..]), "damaged"), (Some(b"\x89BSJ"), "damaged")] {
        for leftovers in [[rows, None, journal], [None, rows, journal], [rows, rows, journal]] {
            let run = Run::new(&[]);
            put(&run, leftovers);
            let before = run.listing();
            let error = run.try_resume().unwrap_err();
            let message = format!("the journal is {state}, so nobody knows which of the 5 bytes of ");
            assert!(error.to_string().contains(&message), "{error}");
            match journal {
                None => assert_eq!(kind_of(&error), Some(ErrorKind::NotFound)),
                Some(left) => assert!(error.to_string().ends_with(&format!(" at byte {}", left.len()))),
            }
            assert_eq!(run.listing(), before);
        }
    }
}

#[test]
fn a_missing_file_is_made_anew_only_if_the_run_has_no_bytes_in_it() {
    let run = Run::new(&[]);
    drop(run.create());
    fs::remove_file(&run.paths[0]).unwrap();
    fs::remove_file(&run.paths[1]).unwrap();
    run.resume().preamble(b"header\n", 0.0).unwrap();
    fs::remove_file(&run.paths[0]).unwrap();
    drop(run.resume());
    assert_eq!(run.contents()[..2], [b"".to_vec(), b"header\n".to_vec()]);
    for gone in [1, 0] {
        fs::remove_file(&run.paths[gone]).unwrap();
    }
    let before = run.listing();
    let error = run.try_resume().unwrap_err();
    assert_eq!(kind_of(&error), Some(ErrorKind::NotFound));
    assert!(error.to_string().contains("predictions.csv: the file is missing, "), "{error}");
    assert_eq!(run.listing(), before);
}

#[test]
fn a_run_that_is_being_written_cannot_be_resumed() {
    let run = Run::new(&[]);
    for open in [Run::create, Run::resume] {
        let writer = open(&run);
        assert_eq!(kind_of(&run.try_resume().unwrap_err()), Some(ErrorKind::WouldBlock));
        writer.close().unwrap();
    }
}

#[test]
fn a_journal_that_its_creator_removed_is_nobodys() {
    let run = Run::new(&[]);
    fs::write(&run.paths[2], b"").unwrap();
    let opened = GrowingFile::open(&run.paths[2]).unwrap();
    fs::remove_file(&run.paths[2]).unwrap();
    assert_eq!(kind_of(&opened.lock().unwrap_err()), Some(ErrorKind::WouldBlock));
    fs::write(&run.paths[2], b"").unwrap();
    assert_eq!(kind_of(&opened.lock().unwrap_err()), Some(ErrorKind::WouldBlock));
}

type Opener = fn(&Run) -> Result<AppendWriter>;

/// Lets all `openers` at the run at once; all that got it hold it until everyone has tried.
fn race(run: &Run, openers: &[Opener]) -> Vec<Result<u64>> {
    let barrier = Barrier::new(openers.len());
    let attempt = |opener: Opener| {
        barrier.wait();
        let opened = opener(run);
        barrier.wait();
        opened.and_then(|mut writer| {
            run.go_on(&mut writer);
            writer.close()
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = openers.iter().map(|opener| scope.spawn(|| attempt(*opener))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_several_that_open_a_run_at_once_exactly_one_gets_it() {
    let create: Opener = |run| AppendWriter::create(run.files(), RUN, NEVER, 0.0);
    let resume: Opener = Run::try_resume;
    let steps =
        [Step { kind: Kind::Bisected, payload: vec![b"row\n".to_vec()], failed_items: b"{}\n".to_vec() }];
    let (_, contents, _) = finished(&steps);
    let mut torn = contents.clone();
    torn[2].truncate(HEADER_LEN + RECORD_LEN + 5);
    for _ in 0..20 {
        for (begin, openers) in [
            (None, &[resume, resume, resume][..]),
            (None, &[create, resume, resume]),
            (None, &[create, create, resume]),
            (Some(&contents), &[resume, resume, resume]),
            (Some(&torn), &[resume, resume, resume]),
        ] {
            let run = Run::new(&steps);
            if let Some(begin) = begin {
                run.put(begin);
            }
            let results = race(&run, openers);
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
            let refusals = results.iter().filter_map(|result| result.as_ref().err()).map(kind_of);
            let expected = [Some(ErrorKind::WouldBlock), Some(ErrorKind::AlreadyExists)];
            assert!(refusals.into_iter().all(|kind| expected.contains(&kind)), "{results:?}");
            assert_eq!(run.contents(), contents);
        }
    }
}
