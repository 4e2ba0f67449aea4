//! The journal of a run: which mini-batch ended at which byte of the output.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The first bytes of every journal; the byte above 127 and the two line ends reveal a copy made as text.
const MAGIC: [u8; 8] = *b"\x89BSJ\r\n\x1a\n";
/// The only format version this build writes and reads.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 32;
/// Bytes of every record.
pub const RECORD_LEN: usize = 48;

/// A fingerprint that the caller computes from a run's input and settings: this journal belongs to that run.
pub type RunId = [u8; 16];

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The output begins with a header line, which belongs to no mini-batch.
    Preamble,
    /// The bytes of a mini-batch are in the output.
    Committed,
    /// A mini-batch failed for good and left no bytes.
    Failed,
}

impl Kind {
    /// The lower-case name of the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preamble => "preamble",
            Self::Committed => "committed",
            Self::Failed => "failed",
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::Preamble => 1,
            Self::Committed => 2,
            Self::Failed => 3,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Preamble),
            2 => Some(Self::Committed),
            3 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// How a mini-batch ended: the part of a record that the caller of the append writer knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The mini-batch.
    pub index: u64,
    /// Which try this was, 0 for the first.
    pub attempt: u32,
    /// Items of the mini-batch.
    pub total: u64,
    /// Items that succeeded, at most `total`.
    pub succeeded: u64,
}

/// One record of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the record says.
    pub kind: Kind,
    /// The mini-batch; all zero in a preamble.
    pub ending: Ending,
    /// Length of the output once this record holds.
    pub end: u64,
    /// CRC-32 of the bytes that this record added to the output; 0 when it added none.
    pub bytes_crc: u32,
}

impl Record {
    /// The record as stored after records whose running CRC is `crc`, and the running CRC after it.
    #[must_use]
    pub fn encode(&self, crc: u32) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(RECORD_LEN);
        bytes.extend(self.kind.code().to_le_bytes());
        bytes.extend(self.ending.attempt.to_le_bytes());
        bytes.extend(self.ending.index.to_le_bytes());
        bytes.extend(self.ending.total.to_le_bytes());
        bytes.extend(self.ending.succeeded.to_le_bytes());
        bytes.extend(self.end.to_le_bytes());
        bytes.extend(self.bytes_crc.to_le_bytes());
        seal(bytes, crc)
    }

    /// Reads the fields; `None` for a kind that this version does not know.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let kind = Kind::from_code(take_u32(&mut bytes)?)?;
        let attempt = take_u32(&mut bytes)?;
        let index = take_u64(&mut bytes)?;
        let total = take_u64(&mut bytes)?;
        let succeeded = take_u64(&mut bytes)?;
        let end = take_u64(&mut bytes)?;
        let bytes_crc = take_u32(&mut bytes)?;
        Some(Self { kind, ending: Ending { index, attempt, total, succeeded }, end, bytes_crc })
    }
}

/// The header as stored, and the running CRC that the first record starts from.
#[must_use]
pub fn encode_header(run_id: &RunId) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(run_id);
    seal(bytes, 0)
}

fn seal(mut bytes: Vec<u8>, crc: u32) -> (Vec<u8>, u32) {
    let crc = extend_crc(crc, &bytes);
    bytes.extend(crc.to_le_bytes());
    (bytes, crc)
}

/// The CRC-32 (polynomial of zlib) of some bytes followed by `bytes`, when `crc` is that of the former.
#[must_use]
pub fn extend_crc(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

/// A journal opened for reading, record by record up to the first torn one.
///
/// # Format, version 1
///
/// All integers are little endian. A header of 32 bytes, then records of 48 bytes, nothing else:
///
/// | header | bytes | | record | bytes | |
/// |---|---|---|---|---|---|
/// | magic | 0..8 | `89 42 53 4A 0D 0A 1A 0A` | kind | 0..4 | 1 preamble, 2 committed, 3 failed |
/// | version | 8..12 | 1 | attempt | 4..8 | 0 for the first try |
/// | run id | 12..28 | chosen by the caller | index | 8..16 | the mini-batch |
/// | crc | 28..32 | | items total | 16..24 | |
/// | | | | items succeeded | 24..32 | at most the total |
/// | | | | end | 32..40 | length of the output after this record |
/// | | | | crc of bytes | 40..44 | of the output from the previous end to this one |
/// | | | | crc | 44..48 | |
///
/// Every CRC is the CRC-32 of zlib. The last field of the header and of each record continues the one before
/// it over the bytes of its own header or record, so it covers the whole file up to there: a record of another
/// run, or one left over behind a cut, does not fit.
///
/// # What it does not hold
///
/// The rows, where a mini-batch lies in the input, why one failed, the name of the output, any time of day.
///
/// # What never changes
///
/// Magic and version stay where they are in every version. Within version 1 no field moves, changes its
/// meaning or gets a new value; a reader refuses what it does not know.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    source: BufReader<File>,
    run_id: RunId,
    crc: u32,
    end: u64,
    torn: bool,
}

impl Journal {
    /// Opens a journal and checks its header.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Malformed`] when it is no journal, is of another format
    /// version, or its header is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let mut source = BufReader::with_capacity(RECORD_LEN * 1024, file);
        let header: [u8; HEADER_LEN] = read_block(&mut source, path)?.map_err(|length| {
            malformed(
                path,
                length as u64,
                "the header ends too soon, so nothing was committed; start a new run",
            )
        })?;
        let (run_id, crc) = check_header(path, &header)?;
        Ok(Self { path: path.to_path_buf(), source, run_id, crc, end: HEADER_LEN as u64, torn: false })
    }

    /// Where the journal was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run that this journal belongs to.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The next record, or `None` at the end of the journal or of its undamaged part.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Malformed`] for an undamaged record of unknown kind.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        if self.torn {
            return Ok(None);
        }
        let block: [u8; RECORD_LEN] = match read_block(&mut self.source, &self.path)? {
            Ok(block) => block,
            Err(length) => {
                self.torn = length > 0;
                return Ok(None);
            }
        };
        let Some(crc) = open_seal(&block, self.crc) else {
            self.torn = true;
            return Ok(None);
        };
        let record = Record::decode(&block).ok_or_else(|| {
            malformed(&self.path, self.end, "a record of unknown kind; use the batch-score that wrote it")
        })?;
        self.crc = crc;
        self.end += RECORD_LEN as u64;
        Ok(Some(record))
    }

    /// Bytes of the journal up to the last record that was returned.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The running CRC after the last record that was returned.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Whether reading stopped at a record that is cut off or damaged.
    #[must_use]
    pub fn torn(&self) -> bool {
        self.torn
    }
}

/// Reads `N` bytes, or says how many there were.
fn read_block<const N: usize>(
    source: &mut impl Read,
    path: &Path,
) -> Result<std::result::Result<[u8; N], usize>> {
    let mut block = [0; N];
    let mut length = 0;
    while let Some(rest) = block.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => return Ok(Err(length)),
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path, error)),
        }
    }
    Ok(Ok(block))
}

fn check_header(path: &Path, header: &[u8; HEADER_LEN]) -> Result<(RunId, u32)> {
    let mut rest = header.as_slice();
    if take(&mut rest) != Some(MAGIC) {
        return Err(malformed(path, 0, "this is not a journal of batch-score"));
    }
    match take_u32(&mut rest) {
        Some(VERSION) => {}
        version => {
            let version = version.unwrap_or_default();
            let reason = format!(
                "format version {version} is unknown, this build reads version {VERSION}; use the batch-score \
                 that wrote it; found"
            );
            return Err(malformed(path, MAGIC.len() as u64, reason));
        }
    }
    match (take(&mut rest), open_seal(header, 0)) {
        (Some(run_id), Some(crc)) => Ok((run_id, crc)),
        _ => Err(malformed(path, HEADER_LEN as u64 - 4, "the header is damaged, its CRC does not fit")),
    }
}

/// The running CRC after `block`, if the one stored at its end is right.
fn open_seal(block: &[u8], crc: u32) -> Option<u32> {
    let (content, stored) = block.split_last_chunk::<4>()?;
    let crc = extend_crc(crc, content);
    (crc == u32::from_le_bytes(*stored)).then_some(crc)
}

pub(crate) fn malformed(path: &Path, offset: u64, reason: impl Into<String>) -> Error {
    Error::Malformed { path: path.to_path_buf(), offset, reason: reason.into() }
}

/// What a sequence of records comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Length of the output in bytes.
    pub end: u64,
    /// Mini-batches whose bytes are in the output.
    pub committed: u64,
    /// Mini-batches that failed for good.
    pub failed: u64,
    /// Items of all these mini-batches.
    pub items_total: u64,
    /// Items of the committed ones that succeeded.
    pub items_succeeded: u64,
}

/// The state that records lead to, and the law of what may come next.
///
/// A preamble comes before any other byte of the output; a mini-batch ends once; the output never shrinks; a
/// failed mini-batch adds nothing. The append writer asks before it writes, recovery while it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    summary: Summary,
    /// By `index / 64`: a bit for each committed and a bit for each failed mini-batch. A map, so that memory
    /// follows the number of records whatever indices a file claims.
    ended: BTreeMap<u64, [u64; 2]>,
}

impl Progress {
    /// Totals so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Whether the bytes of this mini-batch are in the output.
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
        match record.kind {
            Kind::Preamble => self.check_preamble(record),
            Kind::Committed | Kind::Failed => self.check_ending(record),
        }
    }

    fn check_preamble(&self, record: &Record) -> std::result::Result<Summary, String> {
        if self.summary.end > 0 {
            return Err("a preamble must be the first bytes of the output".to_owned());
        }
        if record.end == 0 || record.ending != Ending::default() {
            return Err("a preamble must have bytes and belong to no mini-batch".to_owned());
        }
        Ok(Summary { end: record.end, ..self.summary })
    }

    fn check_ending(&self, record: &Record) -> std::result::Result<Summary, String> {
        let Ending { index, total, succeeded, .. } = record.ending;
        if self.committed(index) || self.failed(index) {
            return Err(format!("mini-batch {index} has ended already, it can do so only once"));
        }
        if succeeded > total {
            return Err(format!("mini-batch {index} cannot have {succeeded} of {total} items succeeded"));
        }
        if record.end < self.summary.end {
            return Err(format!("mini-batch {index} cannot shrink the output to {} bytes", record.end));
        }
        if record.kind == Kind::Failed && (record.end, record.bytes_crc) != (self.summary.end, 0) {
            return Err(format!("mini-batch {index} failed, so it cannot have bytes in the output"));
        }
        self.totals_after(record).ok_or_else(|| format!("the items of mini-batch {index} overflow the total"))
    }

    fn totals_after(&self, record: &Record) -> Option<Summary> {
        let Summary { committed, failed, items_total, items_succeeded, .. } = self.summary;
        let is_committed = record.kind == Kind::Committed;
        let succeeded = if is_committed { record.ending.succeeded } else { 0 };
        Some(Summary {
            end: record.end,
            committed: committed + u64::from(is_committed),
            failed: failed + u64::from(!is_committed),
            items_total: items_total.checked_add(record.ending.total)?,
            items_succeeded: items_succeeded.checked_add(succeeded)?,
        })
    }

    /// Takes `record` in.
    ///
    /// # Errors
    /// As [`Progress::check`]; nothing has changed then.
    pub fn apply(&mut self, record: &Record) -> std::result::Result<(), String> {
        self.summary = self.check(record)?;
        let index = record.ending.index;
        match record.kind {
            Kind::Preamble => {}
            Kind::Committed => self.ended.entry(index / 64).or_default()[0] |= bit(index),
            Kind::Failed => self.ended.entry(index / 64).or_default()[1] |= bit(index),
        }
        Ok(())
    }
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const RUN: RunId = *b"0123456789abcdef";

    fn committed(index: u64, end: u64) -> Record {
        let ending = Ending { index, attempt: 1, total: 5, succeeded: 4 };
        Record { kind: Kind::Committed, ending, end, bytes_crc: 0xDEAD_BEEF }
    }

    fn failed(index: u64, end: u64) -> Record {
        Record { kind: Kind::Failed, bytes_crc: 0, ..committed(index, end) }
    }

    fn preamble(end: u64) -> Record {
        Record { kind: Kind::Preamble, ending: Ending::default(), end, bytes_crc: 7 }
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

    /// The bytes of version 1, written down once: if this test has to change, the version has to.
    #[test]
    fn version_1_is_what_it_always_was() {
        let (header, crc) = encode_header(&RUN);
        assert_eq!(header, bytes("8942534a0d0a1a0a010000003031323334353637383961626364656658f47b7b"));
        let (record, _) = committed(258, 1 << 40).encode(crc);
        let expected = [
            "02000000",
            "01000000",
            "0201000000000000",
            "0500000000000000",
            "0400000000000000",
            "0000000000010000",
            "efbeadde",
            "b44de2f3",
        ];
        assert_eq!(record, bytes(&expected.concat()));
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let written = [preamble(9), committed(u64::MAX, 9), failed(0, 9), committed(1, u64::MAX)];
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
        let fields = record.get(4..44).unwrap();
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
        assert!(refusal(header.get(..31).unwrap()).contains("nothing was committed"));
        assert!(refusal(b"").contains("nothing was committed"));
        assert!(refusal(&with(1, b'X')).contains("not a journal"));
        assert!(refusal(&with(8, 2)).contains("version 2 is unknown, this build reads version 1"));
        assert!(refusal(&with(12, b'X')).contains("header is damaged"));
    }

    #[test]
    fn the_law_of_sequences() {
        let mut progress = Progress::default();
        for record in [failed(3, 0), preamble(10), committed(0, 10), committed(7, 25), failed(64, 25)] {
            progress.apply(&record).unwrap();
        }
        for (record, reason) in [
            (preamble(40), "first bytes"),
            (committed(0, 40), "ended already"),
            (committed(3, 40), "ended already"),
            (failed(7, 25), "ended already"),
            (committed(8, 24), "shrink"),
            (failed(8, 26), "cannot have bytes"),
        ] {
            let found = progress.clone().apply(&record).unwrap_err();
            assert!(found.contains(reason), "{found}");
        }
        let summary = Summary { end: 25, committed: 2, failed: 2, items_total: 20, items_succeeded: 8 };
        assert_eq!(progress.summary(), summary);
        let ended = |index| (progress.committed(index), progress.failed(index));
        assert_eq!([0, 3, 7, 64].map(ended), [(true, false), (false, true), (true, false), (false, true)]);
        assert_eq!([1, 2, 63, 65, u64::MAX].map(ended), [(false, false); 5]);
    }

    #[test]
    fn impossible_counts_are_refused() {
        let mut progress = Progress::default();
        let mut record = committed(0, 0);
        record.ending.succeeded = 6;
        assert!(progress.apply(&record).unwrap_err().contains("6 of 5 items"));
        record.ending = Ending { total: u64::MAX, ..Ending::default() };
        progress.apply(&record).unwrap();
        assert!(progress.apply(&committed(1, 0)).unwrap_err().contains("overflow"));
        assert!(Progress::default().apply(&preamble(0)).unwrap_err().contains("must have bytes"));
    }
}
