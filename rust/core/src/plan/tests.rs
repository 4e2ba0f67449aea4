//! Whatever order the tasks are done in, as if by threads, the plan is that of one thread.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may panic: that is how it fails

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::work::{Task, Work};
use super::{MiniBatch, Options, Plan};
use crate::dialect::{Dialect, Encoding, Format};
use crate::error::{Error, Result};

fn formats() -> impl Strategy<Value = Format> {
    let delimited = prop::option::of(Just(b'"')).prop_map(|quote| Dialect::new(b',', quote, true).unwrap());
    prop_oneof![3 => delimited.prop_map(Format::Delimited), 1 => Just(Format::JsonLines)]
}

/// Records, quotes that hold breaks, and stretches in which a wrong guess never comes right.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\"",
        "\"\"",
        ",",
        "\n",
        "\r\n",
        "\n\n \n",
        "a",
        "\"a\nb\",",
        "\"\"\"\n\"",
        ",\"\",\"\"",
        "\n\n\n\n\n",
        "{}\n",
        "plain text, with no quote,\n",
        "0123456789012345678901234567890123456789",
        "\"q\",\"r\"\"s\",\"t\nu\"\r\n",
    ];
    let times = prop_oneof![4 => 1usize..4, 1 => 1usize..400];
    let run = (prop::sample::select(pieces.to_vec()), times).prop_map(|(piece, times)| piece.repeat(times));
    (any::<bool>(), prop::collection::vec(run, 0..40)).prop_map(|(mark, runs)| {
        let mark = if mark { "\u{feff}" } else { "" };
        [mark, &runs.concat()].concat().into_bytes()
    })
}

fn options(format: Format, max_bytes: u64, chunk_bytes: usize, threads: usize) -> Options {
    Options { format, encoding: Encoding::InPlace, max_bytes, header: true, chunk_bytes, threads }
}

fn write(folder: &Path, texts: &[Vec<u8>]) -> Vec<PathBuf> {
    let write = |(number, text): (usize, &Vec<u8>)| {
        let path = folder.join(number.to_string());
        std::fs::write(&path, text).unwrap();
        path
    };
    texts.iter().enumerate().map(write).collect()
}

/// Begins tasks and ends them in the order that `choices` say.
fn shuffled(paths: &[PathBuf], options: Options, choices: &[usize]) -> (Vec<MiniBatch>, Result<()>) {
    let mut work = Work::new(paths.len(), options);
    let mut begun: Vec<Task> = Vec::new();
    for &choice in choices.iter().cycle() {
        let fresh = if begun.len() < options.threads && choice % 3 > 0 { work.next() } else { None };
        match fresh {
            Some(task) => begun.push(task),
            None if begun.is_empty() && choice % 3 > 0 => break,
            None if begun.is_empty() => {}
            None => {
                let task = begun.swap_remove(choice / 3 % begun.len());
                work.answer(task.perform(paths, options.encoding));
            }
        }
    }
    let found = work.found.drain(..).collect();
    (found, work.check())
}

fn alone(paths: Vec<PathBuf>, options: Options) -> (Vec<MiniBatch>, Result<()>) {
    let mut plan = Plan::new(paths, Options { threads: 1, ..options }).unwrap();
    let outcome = plan.scan(usize::MAX, u64::MAX);
    let found = plan.take(usize::MAX).collect();
    (found, outcome.map(drop))
}

proptest! {
    #[test]
    fn tasks_done_in_any_order_make_the_plan_of_one_thread(
        all in prop::collection::vec(texts(), 1..4), format in formats(),
        max_bytes in prop_oneof![1u64..100, 1u64..10_000], chunk in prop_oneof![1usize..40, 1usize..9000],
        threads in 2usize..5, choices in prop::collection::vec(any::<usize>(), 1..60)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let paths = write(folder.path(), &all);
        // Choices of one kind only would never come to an end.
        let choices = [&choices[..], &[0, 1, 3, 2]].concat();
        let whole = options(format, max_bytes, 1 << 20, 1);
        let (expected, _) = alone(paths.clone(), whole);
        let (found, outcome) = shuffled(&paths, options(format, max_bytes, chunk, threads), &choices);
        prop_assert!(outcome.is_ok());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn an_error_comes_after_what_was_found_before_it_and_before_everything_else(
        all in prop::collection::vec(texts(), 3..4), gone in 0usize..3, threads in 2usize..5,
        choices in prop::collection::vec(any::<usize>(), 1..60)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let paths = write(folder.path(), &all);
        std::fs::remove_file(&paths[gone]).unwrap();
        let format = Format::Delimited(Dialect::new(b',', Some(b'"'), true).unwrap());
        let options = options(format, 20, 30, threads);
        let (expected, _) = alone(paths[..gone].to_vec(), options);
        let (found, outcome) = shuffled(&paths, options, &[&choices[..], &[0, 1, 3, 2]].concat());
        prop_assert_eq!(found, expected);
        let about_it = matches!(outcome, Err(Error::Io { path, .. }) if path == paths[gone]);
        prop_assert!(about_it);
    }
}
