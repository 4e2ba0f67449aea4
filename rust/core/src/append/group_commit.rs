//! When what was appended goes to the disk: decisions only, no file and no clock.

use crate::error::{Error, Result};

/// How much of what was appended may not be on the disk: what a power loss can cost.
///
/// A sync begins, beside the appends, at half of a bound. An append waits only where the whole of it would be
/// passed, because the disk is slower than what is appended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupCommit {
    /// Bytes of all three files.
    pub bytes: u64,
    /// Seconds since the oldest of these bytes, looked at whenever something is appended; infinity for no bound.
    pub seconds: f64,
}

/// What group commit asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// A sync should begin, unless one is under way.
    Begin,
    /// Nothing may be appended until more is on the disk.
    Wait,
}

impl GroupCommit {
    pub(super) fn check(self) -> Result<Self> {
        if self.seconds >= 0.0 {
            return Ok(self);
        }
        Err(Error::Option(format!("seconds between syncs must be 0 or more, not {}", self.seconds)))
    }

    /// What must happen at `now`, so that both bounds are kept.
    pub(super) fn due(self, exposed: &Exposure, now: f64) -> Due {
        let Exposure { waiting, syncing } = *exposed;
        let all = Pending {
            bytes: waiting.bytes.saturating_add(syncing.bytes),
            since: waiting.since.min(syncing.since),
        };
        if all.reaches(self, now) {
            return Due::Wait;
        }
        let half = Self { bytes: self.bytes / 2, seconds: self.seconds / 2.0 };
        if waiting.reaches(half, now) { Due::Begin } else { Due::Nothing }
    }
}

/// Bytes that may not be on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pending {
    pub(super) bytes: u64,
    /// When the first of them was appended; infinity while there are none.
    pub(super) since: f64,
}

impl Pending {
    const NONE: Self = Self { bytes: 0, since: f64::INFINITY };

    fn reaches(self, bound: GroupCommit, now: f64) -> bool {
        self.bytes > 0 && (self.bytes >= bound.bytes || now - self.since >= bound.seconds)
    }
}

/// What of the appended bytes may not be on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exposure {
    /// No sync that has begun covers them.
    pub(super) waiting: Pending,
    /// The sync under way covers them.
    pub(super) syncing: Pending,
}

impl Exposure {
    pub(super) const NONE: Self = Self { waiting: Pending::NONE, syncing: Pending::NONE };

    pub(super) fn append(&mut self, bytes: u64, now: f64) {
        if bytes > 0 {
            self.waiting.bytes = self.waiting.bytes.saturating_add(bytes);
            self.waiting.since = self.waiting.since.min(now);
        }
    }

    pub(super) fn begin(&mut self) {
        self.syncing = std::mem::replace(&mut self.waiting, Pending::NONE);
    }

    pub(super) fn end(&mut self) {
        self.syncing = Pending::NONE;
    }
}
