//! Syncs beside the appends: when they begin, what waits for them, what a failed one means.

use std::fs::File;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::*;
use crate::append::group_commit::{Due, Exposure};

/// Ends mini-batch `index` at `now`; the bytes that no sync covers afterwards, and whether one is under way.
fn append(writer: &mut AppendWriter, index: u64, now: f64, bytes: usize) -> Result<(u64, bool)> {
    let ending = Ending { index, identity: 0, attempt: 0, total: 1, succeeded: 1, returned: 1 };
    writer.append(Kind::Bisected, ending, &[&vec![b'x'; bytes]], b"{}\n", now)?;
    Ok((writer.exposed.waiting.bytes, writer.sync.is_some()))
}

#[test]
fn an_append_leaves_less_than_the_bounds_off_the_disk() {
    let run = Run::new(&[]);
    let group = GroupCommit { bytes: 400, seconds: 10.0 };
    let mut writer = AppendWriter::create(run.files(), RUN, group, 100.0).unwrap();
    assert_eq!(append(&mut writer, 0, 101.0, 2).unwrap(), (32 + 72 + 5, false));
    assert_eq!(append(&mut writer, 1, 104.9, 2).unwrap(), (186, false));
    assert_eq!(append(&mut writer, 2, 105.0, 0).unwrap(), (0, true), "half of the time since the header");
    writer.wait().unwrap();
    assert_eq!(append(&mut writer, 3, 106.0, 125).unwrap(), (0, true), "half of the bytes");
    assert_eq!(append(&mut writer, 4, 107.0, 1_000).unwrap(), (0, false), "all of the bytes, so it waited");
    assert_eq!(append(&mut writer, 5, 108.0, 2).unwrap(), (77, false));
    writer.keep_up(118.0).unwrap();
    assert_eq!(writer.exposed, Exposure::NONE, "all of the time, although nothing was appended");
    assert_eq!(writer.close().unwrap(), 1_131);
}

/// A device takes every write and no sync.
#[test]
fn a_sync_that_fails_beside_the_appends_is_found_and_final() {
    let run = Run::new(&[]);
    let group = GroupCommit { bytes: u64::MAX, seconds: 10.0 };
    let mut writer = AppendWriter::create(run.files(), RUN, group, 0.0).unwrap();
    writer.failed_items.file = Arc::new(File::options().write(true).open("/dev/null").unwrap());
    assert_eq!(append(&mut writer, 0, 5.0, 9).unwrap(), (0, true));
    let found = (0..2_000).find_map(|_| {
        sleep(Duration::from_millis(5));
        writer.keep_up(5.0).err()
    });
    assert!(matches!(found, Some(Error::Io { path, .. }) if path == run.paths[0]));
    assert!(append(&mut writer, 1, 5.0, 9).unwrap_err().to_string().contains("resume the run"));
    assert!(writer.begin_sync().is_err());
    assert!(writer.close().is_err());
    assert_eq!(run.resume().cut_off().lost, 1, "the lines that the device swallowed");
}

#[test]
fn a_writer_that_goes_away_leaves_no_thread_in_its_files() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    append(&mut writer, 0, 0.0, 4 << 20).unwrap();
    writer.begin_sync().unwrap();
    drop(writer);
    assert!(run.try_resume().is_ok(), "the journal is not locked any more");
}

/// What may happen to an append writer between two looks at the clock.
#[derive(Clone, Copy, Debug)]
enum Event {
    Append(u64),
    Begin,
    End,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![3 => (0..5_u64).prop_map(Event::Append), 1 => Just(Event::Begin), 1 => Just(Event::End)]
}

proptest! {
    #[test]
    fn what_is_due_follows_from_every_byte_that_is_not_on_the_disk(
        bytes in 0..9_u64, seconds in 0..9_u8, events in prop::collection::vec((event(), 0..4_u8), 0..20),
    ) {
        let group = GroupCommit { bytes, seconds: f64::from(seconds) };
        let (mut exposed, mut now) = (Exposure::NONE, 0.0);
        // One entry per byte: when it was appended.
        let (mut waiting, mut syncing) = (Vec::<f64>::new(), Vec::<f64>::new());
        for (event, pause) in events {
            now += f64::from(pause);
            match event {
                Event::Append(count) => {
                    exposed.append(count, now);
                    waiting.extend((0..count).map(|_| now));
                }
                Event::Begin if syncing.is_empty() => {
                    exposed.begin();
                    syncing.append(&mut waiting);
                }
                Event::Begin => {}
                Event::End => {
                    exposed.end();
                    syncing.clear();
                }
            }
            let reached = |pending: &[f64], bytes, seconds| {
                !pending.is_empty() && (pending.len() as u64 >= bytes || now - pending[0] >= seconds)
            };
            let all = [syncing.clone(), waiting.clone()].concat();
            let due = if reached(&all, bytes, group.seconds) {
                Due::Wait
            } else if reached(&waiting, bytes / 2, group.seconds / 2.0) {
                Due::Begin
            } else {
                Due::Nothing
            };
            prop_assert_eq!(group.due(&exposed, now), due);
        }
    }
}

#[test]
fn what_the_system_was_asked_to_write_early_is_there_and_is_asked_for_again_after_a_cut() {
    let run = Run::new(&[]);
    let mut writer = run.create();
    for index in 0..4 {
        append(&mut writer, index, 0.0, 3_000_001).unwrap();
    }
    let output = writer.output.as_mut().unwrap();
    // Up to the last whole 64 KiB, each time that 4 MiB had come together.
    assert_eq!((output.written_back, output.end), (11_993_088, 12_000_004));
    output.cut(5_000_000).unwrap();
    assert_eq!(output.written_back, 5_000_000);
    assert_eq!(fs::read(&run.paths[1]).unwrap(), vec![b'x'; 5_000_000]);
}
