//! Where fields and records end, found 64 bytes at a time.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

use std::ops::Range;

use fearless_simd::Simd;

use crate::dialect::Dialect;
use crate::mask::{self, Block, WIDTH};

use super::wide::{self, PLACES, wide};

/// Most blocks have fewer fields.
const SEVERAL: usize = 12;
/// Most places that are written down at once.
const MOST: usize = if SEVERAL < PLACES { PLACES } else { SEVERAL };

/// The fields' ends of a text that is fed piece by piece, until the records they belong to were taken.
#[derive(Debug)]
pub(super) struct Ends {
    delimiter: u8,
    quote: Option<u8>,
    /// Offsets of the bytes that end a field.
    fields: List,
    /// How many of `fields` there are up to the end of each line.
    lines: List,
    /// Of each record where it begins, and how many of `fields` come before it.
    records: Vec<(u32, usize)>,
    taken_fields: usize,
    /// Where the next line begins.
    begin: u32,
    /// Where the first of `fields` begins.
    origin: u32,
    /// Bytes fed.
    known: u32,
    /// Whether the byte before stands inside quotes.
    inside: bool,
    /// Whether a quote may open here: after a delimiter, a line break or a closing quote.
    opens: bool,
}

impl Ends {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            delimiter: dialect.delimiter(),
            quote: dialect.spanning_quote(),
            fields: List::default(),
            lines: List::default(),
            records: Vec::new(),
            taken_fields: 0,
            begin: 0,
            origin: 0,
            known: 0,
            inside: false,
            opens: true,
        }
    }

    /// Forgets everything: another text comes.
    pub(super) fn restart(&mut self) {
        self.fields.count = 0;
        self.lines.count = 0;
        self.records.clear();
        (self.taken_fields, self.begin, self.known) = (0, 0, 0);
        (self.inside, self.opens) = (false, true);
    }

    /// Bytes fed so far.
    pub(super) fn known(&self) -> usize {
        self.known as usize
    }

    /// Where the first line begins that was not taken.
    pub(super) fn begin(&self) -> usize {
        self.begin as usize
    }

    /// Looks at the next piece of the text, whose length is a multiple of 64 unless it is the last one, and gives the
    /// number of records that end in it; or how many fit, and why the next does not.
    #[inline(always)]
    pub(super) fn feed<V: Simd>(
        &mut self,
        simd: V,
        piece: &[u8],
        last: bool,
        width: usize,
    ) -> Result<usize, (usize, &'static str)> {
        self.find(simd, piece).map_err(|reason| (0, reason))?;
        if last {
            self.end_of_text().map_err(|reason| (0, reason))?;
        }
        self.take_records(width)
    }

    #[inline(always)]
    fn find<V: Simd>(&mut self, simd: V, piece: &[u8]) -> Result<(), &'static str> {
        self.fields.make_room(piece.len());
        self.lines.make_room(piece.len());
        let (blocks, tail) = piece.as_chunks::<WIDTH>();
        for block in blocks {
            self.block(simd, block, u64::MAX)?;
            self.known += 64;
        }
        if !tail.is_empty() {
            let length = u32::try_from(tail.len()).unwrap_or_default();
            let mut block = [0; WIDTH];
            block.iter_mut().zip(tail).for_each(|(place, &byte)| *place = byte);
            self.block(simd, &block, (1 << length) - 1)?;
            self.known += length;
        }
        Ok(())
    }

    /// A last line without a line break ends with the text.
    fn end_of_text(&mut self) -> Result<(), &'static str> {
        if self.inside {
            return Err("a quote is left open");
        }
        let ended =
            self.lines.known().last().map_or(self.taken_fields, |&end| end as usize) == self.fields.count;
        let begin = if ended { self.fields.known().last().map_or(self.begin, |end| end + 1) } else { 0 };
        if !ended || begin < self.known {
            self.fields.add([self.known], 1);
            self.lines.add([count(self.fields.count)], 1);
        }
        Ok(())
    }

    #[inline(always)]
    fn block<V: Simd>(&mut self, simd: V, block: &Block, valid: u64) -> Result<(), &'static str> {
        let breaks = mask::line_breaks(simd, block) & valid;
        let delimiters = mask::equal(simd, block, self.delimiter) & valid;
        let quotes = self.quote.map_or(0, |quote| mask::equal(simd, block, quote)) & valid;
        let outside = if quotes == 0 && !self.inside {
            self.opens = (breaks | delimiters) >> 63 == 1;
            u64::MAX
        } else {
            self.outside(quotes, breaks, delimiters)?
        };
        let breaks = breaks & outside;
        let ends = breaks | delimiters & outside;
        let before = count(self.fields.count);
        self.note_fields(simd, ends);
        self.note_lines(ends, breaks, before);
        Ok(())
    }

    /// The bits that are outside of quotes. The quotes' running parity tells, if every quote that opens by counting
    /// stands where one may open.
    fn outside(&mut self, quotes: u64, breaks: u64, delimiters: u64) -> Result<u64, &'static str> {
        let inside = mask::prefix_parity(quotes) ^ u64::from(self.inside).wrapping_neg();
        let may_precede = (breaks | delimiters) & !inside | quotes;
        if quotes & inside & !(may_precede << 1 | u64::from(self.opens)) != 0 {
            return Err("a quote stands in the middle of a field");
        }
        self.inside = inside >> 63 == 1;
        self.opens = may_precede >> 63 == 1;
        Ok(!inside)
    }

    /// Writes down the ends of fields, several at a time, wanted or not: how many there are in a block is what a processor
    /// cannot predict.
    #[inline(always)]
    fn note_fields<V: Simd>(&mut self, simd: V, ends: u64) {
        let mut rest = ends;
        let mut left = ends.count_ones();
        while left > 0 {
            let wanted;
            if let Some(wide) = wide(simd) {
                let (several, behind) = wide::places(wide, rest, self.known);
                wanted = left.min(count(PLACES));
                self.fields.add(several, wanted);
                rest = behind;
            } else {
                let mut several = [0; SEVERAL];
                for place in &mut several {
                    *place = self.known + rest.trailing_zeros();
                    rest &= rest.wrapping_sub(1);
                }
                wanted = left.min(count(SEVERAL));
                self.fields.add(several, wanted);
            }
            left -= wanted;
        }
    }

    /// Writes down the ends of lines, behind `before` fields: the first whether there is one or not, for the same reason.
    #[inline(always)]
    fn note_lines(&mut self, ends: u64, breaks: u64, before: u32) {
        let mut rest = breaks;
        let mut left = breaks.count_ones();
        loop {
            let lowest = rest & rest.wrapping_neg();
            let fields = (ends & lowest.wrapping_sub(1)).count_ones() + 1;
            self.lines.add([before + fields], left.min(1));
            if left <= 1 {
                return;
            }
            rest ^= lowest;
            left -= 1;
        }
    }

    /// Finds the records among the lines, all of which must have `width` fields. Empty lines are no records.
    fn take_records(&mut self, width: usize) -> Result<usize, (usize, &'static str)> {
        let mut first = 0;
        self.origin = self.begin;
        let fields = self.fields.known();
        for &end in self.lines.known() {
            let (begin, end) = (self.begin, end as usize);
            let last = fields.get(end - 1).copied().unwrap_or(begin);
            self.begin = last + 1;
            if last > begin {
                if end - first != width {
                    return Err((self.records.len(), "the record has another number of fields"));
                }
                self.records.push((begin, first));
            }
            first = end;
        }
        self.taken_fields = first;
        Ok(self.records.len())
    }

    /// How many records are known and not forgotten.
    pub(super) fn count(&self) -> usize {
        self.records.len()
    }

    /// Of each record, where field `first` begins, and the number of that field among all.
    #[inline(always)]
    pub(super) fn records(&self, first: usize) -> impl Iterator<Item = (u32, usize)> {
        let known = self.fields.known();
        self.records.iter().map(move |&(begin, at)| {
            let before = if first == 0 { None } else { known.get(at + first - 1) };
            (before.map_or(begin, |end| end + 1), at + first)
        })
    }

    /// Where fields end.
    #[inline(always)]
    pub(super) fn fields(&self, numbers: Range<usize>) -> &[u32] {
        self.fields.known().get(numbers).unwrap_or_default()
    }

    /// Where the first field begins, and where all end, those behind the last record included.
    pub(super) fn all(&self) -> (u32, &[u32]) {
        (self.origin, self.fields.known())
    }

    /// Where a field of a record begins and ends.
    pub(super) fn span(&self, record: usize, field: usize) -> (usize, usize) {
        let Some(&(begin, at)) = self.records.get(record) else { return (0, 0) };
        let end = |place: usize| self.fields.known().get(place).copied().unwrap_or(begin) as usize;
        let begin = if field == 0 { begin as usize } else { end(at + field - 1) + 1 };
        (begin, end(at + field))
    }

    /// Forgets the records.
    pub(super) fn forget(&mut self) {
        self.fields.drop_first(self.taken_fields);
        self.taken_fields = 0;
        self.lines.count = 0;
        self.records.clear();
    }
}

/// Numbers, with room for more behind them.
#[derive(Debug, Default)]
struct List {
    places: Vec<u32>,
    count: usize,
}

impl List {
    fn known(&self) -> &[u32] {
        self.places.get(..self.count).unwrap_or_default()
    }

    /// Makes room for so many, and for those that [`List::add`] writes beyond.
    fn make_room(&mut self, more: usize) {
        let wanted = self.count + more + MOST;
        if self.places.len() < wanted {
            self.places.resize(wanted, 0);
        }
    }

    /// Writes all of `numbers`, of which only the first `wanted` are there to stay; without room for them, none.
    #[inline(always)]
    fn add<const N: usize>(&mut self, numbers: [u32; N], wanted: u32) {
        if let Some(place) = self.places.get_mut(self.count..).and_then(<[u32]>::first_chunk_mut::<N>) {
            *place = numbers;
            self.count += wanted as usize;
        }
    }

    fn drop_first(&mut self, dropped: usize) {
        let dropped = dropped.min(self.count);
        self.places.copy_within(dropped..self.count, 0);
        self.count -= dropped;
    }
}

/// In a text whose offsets are of 32 bits there are not more fields.
#[expect(clippy::cast_possible_truncation, reason = "see above")]
fn count(fields: usize) -> u32 {
    fields as u32
}
