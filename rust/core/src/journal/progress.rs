//! What the records of a journal come to, and which record may come next.

use std::collections::BTreeMap;

use super::{Ending, Kind, Record};

/// What a sequence of records comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Length of the output in bytes.
    pub end: u64,
    /// Length of the failed items in bytes.
    pub failed_end: u64,
    /// Bytes of the preamble, 0 without one.
    pub header: u64,
    /// Mini-batches that were scored in one piece.
    pub committed: u64,
    /// Those among the committed that had fewer items succeed than they have.
    pub short: u64,
    /// Mini-batches that were scored in parts.
    pub bisected: u64,
    /// Mini-batches that failed for good.
    pub failed: u64,
    /// Items of all these mini-batches.
    pub items_total: u64,
    /// Items of them that succeeded.
    pub items_succeeded: u64,
    /// Elements that were returned for them.
    pub returned: u64,
}

/// The state that records lead to, and the law of what may come next.
///
/// A preamble comes before any other byte of the output; a mini-batch ends once; neither file ever shrinks; a
/// failed mini-batch adds nothing to the output. The append writer asks before it writes, recovery while it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    summary: Summary,
    /// By `index / 64`: a bit for each mini-batch in the output and a bit for each failed one. A map, so that
    /// memory follows the number of records whatever indices a file claims.
    ended: BTreeMap<u64, [u64; 2]>,
}

impl Progress {
    /// Totals so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Whether the bytes of this mini-batch are in the output: it was committed or bisected.
    #[must_use]
    pub fn committed(&self, index: u64) -> bool {
        let [committed, _] = self.bits(index);
        committed & bit(index) != 0
    }

    /// Whether this mini-batch failed for good.
    #[must_use]
    pub fn failed(&self, index: u64) -> bool {
        let [_, failed] = self.bits(index);
        failed & bit(index) != 0
    }

    fn bits(&self, index: u64) -> [u64; 2] {
        self.ended.get(&(index / 64)).copied().unwrap_or_default()
    }

    /// The totals after `record`.
    ///
    /// # Errors
    /// The reason why `record` may not come next.
    pub fn check(&self, record: &Record) -> std::result::Result<Summary, String> {
        let Summary { end, failed_end, .. } = self.summary;
        let files = [
            ("the output", end, record.end, record.output_crc),
            ("the failed items", failed_end, record.failed_end, record.failed_crc),
        ];
        for (name, before, after, crc) in files {
            if after < before {
                return Err(format!("{name} cannot shrink to {after} bytes"));
            }
            if after == before && crc != 0 {
                return Err(format!("no bytes were added to {name}, so their CRC must be 0"));
            }
        }
        match record.kind {
            Kind::Preamble => self.check_preamble(record),
            Kind::Committed | Kind::Failed | Kind::Bisected => self.check_ending(record),
        }
    }

    fn check_preamble(&self, record: &Record) -> std::result::Result<Summary, String> {
        if self.summary.end > 0 {
            return Err("a preamble must be the first bytes of the output".to_owned());
        }
        if record.end == 0 || record.ending != Ending::default() {
            return Err("a preamble must have bytes and belong to no mini-batch".to_owned());
        }
        if record.failed_end > self.summary.failed_end {
            return Err("a preamble cannot add to the failed items".to_owned());
        }
        Ok(Summary { end: record.end, header: record.end, ..self.summary })
    }

    fn check_ending(&self, record: &Record) -> std::result::Result<Summary, String> {
        let Ending { index, total, succeeded, returned, .. } = record.ending;
        if self.committed(index) || self.failed(index) {
            return Err(format!("mini-batch {index} has ended already, it can do so only once"));
        }
        if succeeded > total.min(returned) {
            return Err(format!(
                "mini-batch {index} cannot have {succeeded} of {total} items succeeded when {returned} were returned"
            ));
        }
        if record.kind == Kind::Failed && (record.end, returned) != (self.summary.end, 0) {
            return Err(format!("mini-batch {index} failed, so it cannot have rows in the output"));
        }
        self.totals_after(record)
            .ok_or_else(|| format!("the counts of mini-batch {index} overflow the totals"))
    }

    fn totals_after(&self, record: &Record) -> Option<Summary> {
        let before = self.summary;
        let Ending { total, succeeded, returned, .. } = record.ending;
        let of_kind = |kind| u64::from(record.kind == kind);
        Some(Summary {
            end: record.end,
            failed_end: record.failed_end,
            header: before.header,
            committed: before.committed + of_kind(Kind::Committed),
            short: before.short + of_kind(Kind::Committed) * u64::from(succeeded < total),
            bisected: before.bisected + of_kind(Kind::Bisected),
            failed: before.failed + of_kind(Kind::Failed),
            items_total: before.items_total.checked_add(total)?,
            items_succeeded: before.items_succeeded.checked_add(succeeded)?,
            returned: before.returned.checked_add(returned)?,
        })
    }

    /// Takes `record` in.
    ///
    /// # Errors
    /// As [`Progress::check`]; nothing has changed then.
    pub fn apply(&mut self, record: &Record) -> std::result::Result<(), String> {
        self.summary = self.check(record)?;
        let index = record.ending.index;
        let [in_output, failed] = match record.kind {
            Kind::Preamble => return Ok(()),
            Kind::Committed | Kind::Bisected => [bit(index), 0],
            Kind::Failed => [0, bit(index)],
        };
        let bits = self.ended.entry(index / 64).or_default();
        bits[0] |= in_output;
        bits[1] |= failed;
        Ok(())
    }
}

/// The place of a mini-batch in a word of 64.
pub(super) fn bit(index: u64) -> u64 {
    1 << (index % 64)
}
