//! Text to numbers: the wanted fields of delimited records, straight into the caller's memory.
//!
//! Two steps for each piece of the text that fits in a core's cache. The first finds, 64 bytes at a time, where fields
//! end. The second goes from record to record through these ends and reads each wanted field into the place that
//! its [`Target`] names: a cell of a row-major matrix, of a column, or a text.
//!
//! The reader takes what is plain and refuses the rest with a [`Misfit`]: it never guesses. What it takes, it reads
//! exactly: every number is the nearest one that its type can hold.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

mod ends;
mod file;
mod lanes;
mod number;
mod text;
mod wide;
mod word;

use std::fmt;

use fearless_simd::{Level, Simd, dispatch};

use crate::dialect::Dialect;

use ends::Ends;
pub use file::{FileRange, Unread};
use lanes::Lanes;
use number::{Number, Read};
pub use text::Texts;

/// Text is taken in pieces of this many bytes, so that the ends of its fields stay in the cache.
const PIECE: usize = 16 << 10;

/// Where the values of one field of every record go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Skip,
    /// Into column `column` of the block of number `block`.
    Cell {
        /// Position among the blocks.
        block: usize,
        /// Column inside the block.
        column: usize,
        /// Whether a missing value is NaN, rather than a misfit.
        nullable: bool,
    },
    /// Onto the end of the texts of number `texts`.
    Text {
        /// Position among the texts.
        texts: usize,
    },
}

/// A matrix of one row per record, in somebody's memory.
#[derive(Debug)]
pub struct Grid<'a, T> {
    /// The cells.
    pub cells: &'a mut [T],
    /// How far two rows are apart, and two columns, in cells.
    pub strides: (usize, usize),
}

impl<T: Copy> Grid<'_, T> {
    /// The cells of `fields` columns from `column` in `records` rows from `row`, if nothing lies between them.
    fn piece(
        &mut self,
        (row, records): (usize, usize),
        (column, fields): (usize, usize),
    ) -> Option<&mut [T]> {
        let (rows, columns) = self.strides;
        let joined = rows == fields && column == 0 && (columns == 1 || fields == 1);
        joined.then(|| self.cells.get_mut(row * rows..(row + records) * rows)).flatten()
    }

    /// Writes neighbouring columns of a row; None when they are outside.
    #[inline(always)]
    fn write(&mut self, row: usize, column: usize, values: &[T]) -> Option<()> {
        let (rows, columns) = self.strides;
        let begin = row * rows + column * columns;
        if columns == 1 {
            self.cells.get_mut(begin..begin + values.len())?.copy_from_slice(values);
            return Some(());
        }
        for (place, value) in values.iter().enumerate() {
            *self.cells.get_mut(begin + place * columns)? = *value;
        }
        Some(())
    }
}

/// A [`Grid`] of one of the types that text is read into.
#[derive(Debug)]
pub enum Block<'a> {
    /// 32-bit floats.
    Float32(Grid<'a, f32>),
    /// 64-bit floats.
    Float64(Grid<'a, f64>),
    /// 64-bit integers, which have no value for a missing one.
    Int64(Grid<'a, i64>),
}

/// A text that is not what was expected, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Ordinal of the record in the text.
    pub record: usize,
    /// Ordinal of the field in the record, None when it is the record that does not fit.
    pub field: Option<usize>,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "record {}", self.record)?;
        if let Some(field) = self.field {
            write!(formatter, ", field {field}")?;
        }
        write!(formatter, ": {}", self.reason)
    }
}

/// How delimited text is read: one target per field of a record.
#[derive(Clone, Debug)]
pub struct FieldReader {
    level: Level,
    dialect: Dialect,
    targets: Vec<Target>,
    runs: Vec<Run>,
    /// Whether any field is to be a number.
    numeric: bool,
    missing: Vec<Vec<u8>>,
}

/// Fields that stand side by side in the text and in what they are read into.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Of the first field; those behind have the next columns.
    target: Target,
    first: usize,
    fields: usize,
}

/// Where one call of [`FieldReader::read`] puts what it reads.
#[derive(Debug)]
pub struct Sinks<'a, 'b> {
    /// The blocks that [`Target::Cell`] counts.
    pub blocks: &'a mut [Block<'b>],
    /// The texts that [`Target::Text`] counts.
    pub texts: &'a mut [Texts],
    /// For each field, whether one of its values was missing.
    pub missing: &'a mut [bool],
}

impl FieldReader {
    /// A reader of records with as many fields as there are `targets`.
    ///
    /// `missing` are the spellings of a missing number, such as `NA`; an empty field is one in any case.
    #[must_use]
    pub fn new(dialect: Dialect, targets: Vec<Target>, missing: Vec<Vec<u8>>) -> Self {
        let runs = runs(&targets);
        let numeric = targets.iter().any(|target| matches!(target, Target::Cell { .. }));
        Self { level: Level::new(), dialect, targets, runs, numeric, missing }
    }

    /// How many fields a record has.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.targets.len()
    }

    /// Reads the records of `text` and gives their number. Blocks must have a row for each, up to `most` of them.
    ///
    /// # Errors
    /// [`Misfit`] for the first record found that has another number of fields, or a field that is not a plain
    /// value of its target's type; for a quote that is not at the beginning or end of its field; and for a record
    /// beyond `most`. What was read until then stays where it is.
    pub fn read(&self, text: &[u8], most: usize, mut sinks: Sinks<'_, '_>) -> Result<usize, Misfit> {
        let mut scratch = Scratch::new(self.dialect);
        self.read_part(text, true, (0, most), &mut scratch, &mut sinks).map(|(records, _)| records)
    }

    /// Reads the records that are complete in `text`, of which the first is that of ordinal `first`, and `most` the
    /// number of all. In a `whole` text the last record needs no line break.
    ///
    /// Returns their number and their bytes.
    fn read_part(
        &self,
        text: &[u8],
        whole: bool,
        (first, most): (usize, usize),
        scratch: &mut Scratch,
        sinks: &mut Sinks<'_, '_>,
    ) -> Result<(usize, usize), Misfit> {
        scratch.ends.restart();
        let pieces = Pieces { text, whole, first, most };
        dispatch!(self.level, simd => self.read_pieces(simd, pieces, scratch, sinks))
            .map(|records| (records - first, scratch.ends.begin()))
    }

    #[inline(always)]
    fn read_pieces<V: Simd>(
        &self,
        simd: V,
        pieces: Pieces<'_>,
        Scratch { ends, lanes }: &mut Scratch,
        sinks: &mut Sinks<'_, '_>,
    ) -> Result<usize, Misfit> {
        let Pieces { text, whole, mut first, most } = pieces;
        if u32::try_from(text.len()).is_err() {
            return Err(Misfit { record: first, field: None, reason: "the text is longer than 4 GiB" });
        }
        for piece in text.chunks(PIECE) {
            let last = whole && ends.known() + piece.len() == text.len();
            let records = ends.feed(simd, piece, last, self.targets.len());
            let records =
                records.map_err(|(record, reason)| Misfit { record: first + record, field: None, reason })?;
            if first + records > most {
                return Err(Misfit { record: most, field: None, reason: "the record is one too many" });
            }
            if self.numeric {
                lanes.take(simd, text, ends);
            }
            for run in &self.runs {
                self.run(*run, &Part { simd, text, first, ends }, lanes, sinks)?;
            }
            first += records;
            ends.forget();
        }
        Ok(first)
    }

    /// Reads the fields of a run in all records of a part.
    #[inline(always)]
    fn run<V: Simd>(
        &self,
        run: Run,
        part: &Part<'_, V>,
        lanes: &mut Lanes,
        sinks: &mut Sinks<'_, '_>,
    ) -> Result<(), Misfit> {
        let (block, column) = match run.target {
            Target::Skip => return Ok(()),
            Target::Text { texts } => return self.texts(run.first, part, sinks.texts.get_mut(texts)),
            Target::Cell { block, column, .. } => (block, column),
        };
        lanes.choose(part.simd, part.text, part.ends, (run.first, run.fields));
        let missing = &mut *sinks.missing;
        match sinks.blocks.get_mut(block) {
            Some(Block::Float32(grid)) => self.cells(run, column, part, lanes, grid, missing),
            Some(Block::Float64(grid)) => self.cells(run, column, part, lanes, grid, missing),
            Some(Block::Int64(grid)) => self.cells(run, column, part, lanes, grid, missing),
            None => Err(part.misfit(0, run.first, NO_PLACE)),
        }
    }

    #[inline(always)]
    fn cells<T: Number, V: Simd>(
        &self,
        run: Run,
        column: usize,
        part: &Part<'_, V>,
        lanes: &mut Lanes,
        grid: &mut Grid<'_, T>,
        missing: &mut [bool],
    ) -> Result<(), Misfit> {
        let records = part.ends.count();
        if let Some(values) = grid.piece((part.first, records), (column, run.fields)) {
            return self.numbers(run, part, lanes, values, missing);
        }
        let mut values = vec![T::ZERO; records * run.fields];
        self.numbers(run, part, lanes, &mut values, missing)?;
        for (record, row) in values.chunks_exact(run.fields).enumerate() {
            let written = grid.write(part.first + record, column, row);
            written.ok_or_else(|| part.misfit(record, run.first, NO_PLACE))?;
        }
        Ok(())
    }

    /// Makes numbers of the fields of a run, record by record.
    #[inline(always)]
    fn numbers<T: Number, V: Simd>(
        &self,
        run: Run,
        part: &Part<'_, V>,
        lanes: &mut Lanes,
        values: &mut [T],
        missing: &mut [bool],
    ) -> Result<(), Misfit> {
        if lanes.numbers(part.simd, values) {
            for (lane, value) in values.iter_mut().enumerate().filter(|(lane, _)| lanes.refused(*lane)) {
                *value = self.one(part, run, lane, missing)?;
            }
        }
        Ok(())
    }

    /// Reads a number that is not as short and plain as most.
    #[inline(never)]
    fn one<T: Number, V>(
        &self,
        part: &Part<'_, V>,
        run: Run,
        lane: usize,
        missing: &mut [bool],
    ) -> Result<T, Misfit> {
        let (record, field) = (lane / run.fields, run.first + lane % run.fields);
        let (begin, end) = part.ends.span(record, field);
        if let Some(value) = number::plain(part.text, begin, end) {
            return Ok(value);
        }
        let text = part.text.get(begin..end).unwrap_or_default();
        let nullable = matches!(self.targets.get(field), Some(Target::Cell { nullable: true, .. }));
        match number::unusual(text, self.dialect.spanning_quote(), &self.missing) {
            Read::Value(value) => Ok(value),
            Read::Missing if nullable => {
                missing.get_mut(field).into_iter().for_each(|flag| *flag = true);
                T::MISSING.ok_or_else(|| part.misfit(record, field, NO_VALUE))
            }
            Read::Missing => Err(part.misfit(record, field, NO_VALUE)),
            Read::Unfit => {
                Err(part.misfit(record, field, "the field is not a plain number of its column's type"))
            }
        }
    }

    fn texts<V>(&self, field: usize, part: &Part<'_, V>, texts: Option<&mut Texts>) -> Result<(), Misfit> {
        let texts = texts.ok_or_else(|| part.misfit(0, field, NO_PLACE))?;
        for (record, (begin, at)) in part.ends.records(field).enumerate() {
            let end = part.ends.fields(at..at + 1).first().copied().unwrap_or(begin);
            let text = part.text.get(begin as usize..end as usize).unwrap_or_default();
            if !texts.push(text, self.dialect.spanning_quote()) {
                return Err(part.misfit(record, field, "text stands behind a closing quote"));
            }
        }
        Ok(())
    }
}

const NO_PLACE: &str = "there is no memory for its value";
const NO_VALUE: &str = "the value is missing";

/// A text that is taken piece by piece; see [`FieldReader::read_part`].
#[derive(Clone, Copy)]
struct Pieces<'a> {
    text: &'a [u8],
    whole: bool,
    first: usize,
    most: usize,
}

/// Memory that is used for one piece after the other.
struct Scratch {
    ends: Ends,
    lanes: Lanes,
}

impl Scratch {
    fn new(dialect: Dialect) -> Self {
        Self { ends: Ends::new(dialect), lanes: Lanes::default() }
    }
}

/// Records of a text whose fields' ends are known.
struct Part<'a, V> {
    simd: V,
    text: &'a [u8],
    /// Ordinal of the first record.
    first: usize,
    ends: &'a Ends,
}

impl<V> Part<'_, V> {
    #[cold]
    fn misfit(&self, record: usize, field: usize, reason: &'static str) -> Misfit {
        Misfit { record: self.first + record, field: Some(field), reason }
    }
}

/// Joins fields whose targets are neighbours.
fn runs(targets: &[Target]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (first, &target) in targets.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.goes_on(target) => run.fields += 1,
            _ => runs.push(Run { target, first, fields: 1 }),
        }
    }
    runs
}

impl Run {
    fn goes_on(&self, next: Target) -> bool {
        match (self.target, next) {
            (Target::Skip, Target::Skip) => true,
            (Target::Cell { block, column, .. }, Target::Cell { block: other, column: next, .. }) => {
                block == other && column + self.fields == next
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
