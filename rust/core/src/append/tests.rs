//! The append writer and recovery together: faults at every byte, then going on.

mod cases;
mod claims;
mod syncs;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::journal::{Journal, RECORD_LEN};
use crate::recover::Recovered;

const RUN: RunId = [7; 16];
const NEVER: GroupCommit = GroupCommit { bytes: u64::MAX, seconds: f64::INFINITY };
const HEADER_LINE: &[u8] = b"key,score\n";

/// One call of the append writer; the mini-batch index follows from its place.
#[derive(Clone, Debug)]
struct Step {
    kind: Kind,
    payload: Vec<Vec<u8>>,
    failed_items: Vec<u8>,
}

/// The content of the files: failed items, output, journal.
type Contents = [Vec<u8>; 3];

struct Run {
    folder: tempfile::TempDir,
    paths: [PathBuf; 3],
    steps: Vec<Step>,
}

impl Run {
    fn new(steps: &[Step]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["failed_items.jsonl", "predictions.csv", "journal"].map(|name| folder.path().join(name));
        Self { folder, paths, steps: steps.to_vec() }
    }

    fn files(&self) -> RunFiles<'_> {
        let [failed_items, output, journal] = &self.paths;
        RunFiles { output: Some(output), failed_items, journal }
    }

    fn without_output(&self) -> RunFiles<'_> {
        RunFiles { output: None, ..self.files() }
    }

    fn create(&self) -> AppendWriter {
        AppendWriter::create(self.files(), RUN, NEVER, 0.0).unwrap()
    }

    fn try_resume(&self) -> Result<AppendWriter> {
        AppendWriter::resume(self.files(), RUN, NEVER, 0.0)
    }

    fn resume(&self) -> AppendWriter {
        self.try_resume().unwrap()
    }

    fn recover(&self) -> Result<Recovered> {
        recover(self.files(), RUN)
    }

    /// Takes the steps whose mini-batches have not ended, in order.
    fn go_on(&self, writer: &mut AppendWriter) {
        if writer.progress().summary().end == 0 {
            writer.preamble(HEADER_LINE, 0.0).unwrap();
        }
        for (index, step) in (0..).zip(&self.steps) {
            let ending = ending_of(index, step.kind);
            if writer.progress().committed(ending.index) || writer.progress().failed(ending.index) {
                continue;
            }
            let payload: Vec<&[u8]> = step.payload.iter().map(Vec::as_slice).collect();
            writer.append(step.kind, ending, &payload, &step.failed_items, 0.0).unwrap();
        }
    }

    fn contents(&self) -> Contents {
        self.paths.clone().map(|path| fs::read(path).unwrap())
    }

    fn put(&self, contents: &Contents) {
        for (path, content) in self.paths.iter().zip(contents) {
            fs::write(path, content).unwrap();
        }
    }

    /// What is in the folder, to see that nothing was touched.
    fn listing(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let mut listing: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        listing.sort();
        listing
    }
}

/// Indices a good part of a word apart, so that some share a word of the set of ended ones and some do not.
fn ending_of(place: u32, kind: Kind) -> Ending {
    let count = if kind == Kind::Failed { 0 } else { 2 };
    let index = u64::from(place) * 21;
    Ending { index, identity: !place, attempt: 1, total: 3, succeeded: count, returned: count }
}

/// What output and failed items must hold, computed without a writer.
fn expected(steps: &[Step]) -> (Vec<u8>, Vec<u8>) {
    let rows = steps.iter().flat_map(|step| step.payload.concat());
    let lines = steps.iter().flat_map(|step| step.failed_items.clone());
    (HEADER_LINE.iter().copied().chain(rows).collect(), lines.collect())
}

/// Lengths of failed items and output after each record, beginning with none.
fn ends(journal: &Path) -> Vec<[u64; 2]> {
    let mut journal = Journal::open(journal).unwrap();
    let records = std::iter::from_fn(|| journal.next_record().unwrap());
    [[0, 0]].into_iter().chain(records.map(|record| [record.failed_end, record.end])).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..12);
    let payload = || prop::collection::vec(bytes(), 0..3);
    prop_oneof![
        3 => payload().prop_map(|payload| (Kind::Committed, payload, vec![])),
        1 => (payload(), bytes()).prop_map(|(payload, lines)| (Kind::Committed, payload, lines)),
        2 => (payload(), bytes()).prop_map(|(payload, lines)| (Kind::Bisected, payload, lines)),
        2 => bytes().prop_map(|lines| (Kind::Failed, vec![], lines)),
    ]
    .prop_map(|(kind, payload, failed_items)| Step { kind, payload, failed_items })
}

/// A finished run, the content of its files, and the lengths after each record.
fn finished(steps: &[Step]) -> (Run, Contents, Vec<[u64; 2]>) {
    let run = Run::new(steps);
    run.go_on(&mut run.create());
    let (contents, ends) = (run.contents(), ends(&run.paths[2]));
    (run, contents, ends)
}

/// Checks that the first `good` records count and no others.
fn is_good_part(recovered: &Recovered, good: usize, ends: &[[u64; 2]]) -> bool {
    let summary = recovered.progress.summary();
    let ended = (0..).take(good.saturating_sub(1)).map(|place| ending_of(place, Kind::Failed));
    Some(&[summary.failed_end, summary.end]) == ends.get(good)
        && recovered.journal_end == (HEADER_LEN + good * RECORD_LEN) as u64
        && summary.committed + summary.bisected + summary.failed == good.saturating_sub(1) as u64
        && ended.into_iter().all(|ending| recovered.identities.get(ending.index) == Some(ending.identity))
}

proptest! {
    // A case works on many files; PROPTEST_CASES still turns the effort up.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(8), ..Default::default() })]

    #[test]
    fn the_files_are_what_was_appended_and_recovery_agrees(steps in prop::collection::vec(step(), 0..40)) {
        let run = Run::new(&steps);
        let mut writer = run.create();
        run.go_on(&mut writer);
        let [failed_items, output, _] = run.contents();
        prop_assert_eq!((output, failed_items), expected(&steps));
        let recovered = run.recover().unwrap();
        prop_assert_eq!(&recovered.progress, writer.progress());
        prop_assert_eq!((recovered.torn, recovered.lost), (false, 0));
        prop_assert_eq!(recovered.crc, writer.crc);
    }

    #[test]
    fn whatever_is_cut_off_a_prefix_is_good_and_resume_completes_it(
        steps in prop::collection::vec(step(), 1..5),
        at in any::<[prop::sample::Index; 3]>(),
    ) {
        let (run, contents, ends) = finished(&steps);
        let whole = contents.each_ref().map(Vec::len);
        let one_file = (0..3).flat_map(|file| {
            let shortest = if file == 2 { HEADER_LEN } else { 0 };
            (shortest..=whole[file]).map(move |length| {
                let mut lengths = whole;
                lengths[file] = length;
                lengths
            })
        });
        let all = [at[0].index(whole[0] + 1), at[1].index(whole[1] + 1),
                   HEADER_LEN + at[2].index(whole[2] + 1 - HEADER_LEN)];
        for lengths in one_file.chain([all]) {
            let mut cut = contents.clone();
            cut.iter_mut().zip(lengths).for_each(|(content, length)| content.truncate(length));
            run.put(&cut);
            let stored = (lengths[2] - HEADER_LEN) / RECORD_LEN;
            let there = |end: &&[u64; 2]| end[0] <= lengths[0] as u64 && end[1] <= lengths[1] as u64;
            let good = ends.iter().take(stored + 1).take_while(there).count() - 1;
            let recovered = run.recover().unwrap();
            prop_assert!(is_good_part(&recovered, good, &ends), "{:?}", recovered);
            prop_assert_eq!(recovered.lost, (stored - good) as u64);
            prop_assert_eq!(recovered.torn, !(lengths[2] - HEADER_LEN).is_multiple_of(RECORD_LEN));
            let mut writer = run.resume();
            prop_assert_eq!(writer.cut_off(), CutOff { lost: recovered.lost, torn: recovered.torn });
            run.go_on(&mut writer);
            prop_assert_eq!(&run.contents(), &contents);
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_good_part(
        steps in prop::collection::vec(step(), 1..8),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let (run, mut contents, ends) = finished(&steps);
        let mut at = at.index(contents.iter().map(Vec::len).sum());
        let mut file = 0;
        while at >= contents[file].len() {
            at -= contents[file].len();
            file += 1;
        }
        *contents[file].get_mut(at).unwrap() ^= 1 << bit;
        run.put(&contents);
        let good = if file == 2 {
            at.checked_sub(HEADER_LEN).map(|at| at / RECORD_LEN)
        } else {
            let before = ends.iter().take_while(|end| end[file] <= at as u64);
            let (count, last) = before.fold((0, 0), |(count, _), end| (count + 1, end[file]));
            (last > 0).then_some(count - 1)
        };
        match (run.recover(), good) {
            (Ok(recovered), Some(good)) => {
                prop_assert!(is_good_part(&recovered, good, &ends), "{:?}", recovered);
                run.go_on(&mut run.resume());
                let [failed_items, output, _] = run.contents();
                prop_assert_eq!((output, failed_items), expected(&steps));
            }
            (found, good) => {
                prop_assert!(found.is_err() && good.is_none(), "{found:?}, {good:?}");
                prop_assert!(run.try_resume().is_err());
                prop_assert_eq!(run.contents(), contents);
            }
        }
    }
}
