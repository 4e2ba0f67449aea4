//! Where records begin in a piece of a file, one bit for each byte, and how many begin in each stretch of it.

use fearless_simd::{Level, Simd, dispatch};

use super::{GROUP, Starts};
use crate::mask::WIDTH;

/// A set of records' beginnings. To report one a second time takes it out again.
#[derive(Debug, Default)]
pub struct Bitmap {
    base: u64,
    words: Vec<u64>,
    /// How many records begin in each group of words.
    counts: Vec<u32>,
    /// A record that began before `base`, which only what comes after `base` could tell.
    before: Option<u64>,
}

/// Some words of a [`Bitmap`].
#[derive(Clone, Copy, Debug)]
pub struct Group<'bits> {
    /// Offset of the first byte.
    pub base: u64,
    /// A bit for each byte.
    pub words: &'bits [u64],
    /// The number of bits that are set.
    pub count: u64,
}

impl Bitmap {
    /// Makes it the empty set for `length` bytes from offset `base` on.
    pub fn reset(&mut self, base: u64, length: usize) {
        self.base = base;
        self.before = None;
        self.words.clear();
        self.words.resize(length.div_ceil(WIDTH), 0);
        self.counts.clear();
        self.counts.resize(self.words.len().div_ceil(GROUP), 0);
    }

    /// Counts, after the last change to the first `length` bytes.
    pub fn count(&mut self, length: usize) {
        dispatch!(Level::new(), simd => self.count_groups(simd, length.div_ceil(WIDTH * GROUP)));
    }

    #[inline(always)]
    fn count_groups<V: Simd>(&mut self, _simd: V, groups: usize) {
        for (count, words) in self.counts.iter_mut().zip(self.words.chunks(GROUP)).take(groups) {
            *count = words.iter().map(|word| word.count_ones()).sum();
        }
    }

    /// The record that began before the first byte.
    #[must_use]
    pub fn before(&self) -> Option<u64> {
        self.before
    }

    /// All that was counted, in order.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let bases = (self.base..).step_by(GROUP * WIDTH);
        let groups = self.words.chunks(GROUP).zip(&self.counts).zip(bases);
        groups.map(|((words, &count), base)| Group { base, words, count: u64::from(count) })
    }

    /// What a scanner is given to tell it which records begin.
    pub fn marker(&mut self) -> Marker<'_> {
        Marker { base: self.base, words: &mut self.words, before: &mut self.before }
    }
}

/// The writing hand of a [`Bitmap`]; apart from it, so that a scan can keep all of it in registers.
#[derive(Debug)]
pub struct Marker<'bits> {
    base: u64,
    words: &'bits mut [u64],
    before: &'bits mut Option<u64>,
}

impl Marker<'_> {
    #[inline(always)]
    fn toggle(&mut self, offset: u64, bits: u64) {
        let word = usize::try_from(offset / WIDTH as u64).ok().and_then(|index| self.words.get_mut(index));
        if let Some(word) = word {
            *word ^= bits;
        }
    }
}

impl Starts for Marker<'_> {
    #[inline(always)]
    fn start(&mut self, at: u64) {
        match at.checked_sub(self.base) {
            Some(offset) => self.toggle(offset, 1 << (offset % WIDTH as u64)),
            None => *self.before = Some(at),
        }
    }

    #[inline(always)]
    fn starts(&mut self, base: u64, bits: u64) {
        match base.checked_sub(self.base) {
            Some(offset) if offset % WIDTH as u64 == 0 => self.toggle(offset, bits),
            _ => self.each(base, bits),
        }
    }

    #[inline(always)]
    fn blocks(&mut self, base: u64, blocks: &[u64]) {
        let first = base.checked_sub(self.base).filter(|offset| offset % WIDTH as u64 == 0);
        let words = first.and_then(|offset| usize::try_from(offset / WIDTH as u64).ok());
        match words.and_then(|first| self.words.get_mut(first..)) {
            Some(words) => words.iter_mut().zip(blocks).for_each(|(word, bits)| *word ^= bits),
            None => {
                for (&bits, base) in blocks.iter().zip((base..).step_by(WIDTH)) {
                    self.starts(base, bits);
                }
            }
        }
    }
}

impl Group<'_> {
    /// Offset behind the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + (self.words.len() * WIDTH) as u64
    }

    /// The words with the offset of each one's first byte.
    #[must_use]
    pub fn words(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + ExactSizeIterator {
        let base = self.base;
        self.words.iter().enumerate().map(move |(index, &word)| (base + (index * WIDTH) as u64, word))
    }

    /// Offset of the last record that begins here.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let last = self.words().rev().find(|&(_, word)| word != 0);
        last.map(|(base, word)| base + u64::from(word.ilog2()))
    }
}
