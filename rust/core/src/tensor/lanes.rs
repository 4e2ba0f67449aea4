//! Many short numbers at once, side by side in the lanes of the processor's vector unit.
//!
//! A field of up to eight characters (a minus sign aside) is an integer of 64 bits. Every step is arithmetic on these:
//! the point is found and taken out, its place chooses a power of ten, neighbouring digits are joined to pairs, fours,
//! eights. There is no branch for the processor to guess wrong. The compiler makes vector code of the loops; where the
//! processor has instructions that it does not think of, [`wide`] uses them.
#![allow(
    clippy::inline_always,
    reason = "a function uses the chosen instruction set only where it is inlined"
)]

use fearless_simd::Simd;

use super::ends::Ends;
use super::number::Number;
use super::wide::{self, GROUP, SPAN, Wide, wide};
use super::word::{POINTS, ZEROS, eight_digits, no_digits, zero_bytes};

/// How many numbers the wide steps make before their digits become values of a type: enough for vector code, and few
/// enough for the first-level cache.
const CHUNK: usize = 64;
/// Of a shape: there is a minus sign.
const MINUS: u32 = 1 << 31;

/// Fields that are to become numbers.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Those of the run that is being read.
    chosen: Fields,
    /// All of the piece, where loading all is no dearer than loading some.
    all: Fields,
    /// Other than 0 where no number could be made.
    refused: Vec<u8>,
}

impl Lanes {
    /// Takes the next piece of a text, of which `ends` knows the records.
    #[inline(always)]
    pub(super) fn take<V: Simd>(&mut self, simd: V, text: &[u8], ends: &Ends) {
        if let Some(wide) = wide(simd) {
            self.all.load_all(wide, text, ends);
        }
    }

    /// Chooses `fields` neighbours from number `first` of each record.
    #[inline(always)]
    pub(super) fn choose<V: Simd>(
        &mut self,
        simd: V,
        text: &[u8],
        ends: &Ends,
        (first, fields): (usize, usize),
    ) {
        self.chosen.make_room(ends.count() * fields);
        for (record, (begin, at)) in ends.records(first).enumerate() {
            let lane = record * fields;
            if wide(simd).is_some() {
                self.chosen.copy(lane, &self.all, (at, fields));
            } else {
                self.chosen.load(lane, text, begin, ends.fields(at..at + fields));
            }
        }
    }

    /// Makes numbers of all chosen fields, of which there are as many as `values`, and tells whether there is one of
    /// which none can be made here.
    #[inline(always)]
    pub(super) fn numbers<T: Number, V: Simd>(&mut self, simd: V, values: &mut [T]) -> bool {
        let refused = room(&mut self.refused, values.len());
        let mut any = 0;
        for (chunk, (values, refused)) in
            self.chosen.chunks().zip(values.chunks_mut(CHUNK).zip(refused.chunks_mut(CHUNK)))
        {
            any |= chunk.numbers(simd, values, refused);
        }
        any != 0
    }

    /// Whether no number could be made of the field in a lane.
    pub(super) fn refused(&self, lane: usize) -> bool {
        self.refused.get(lane) != Some(&0)
    }
}

/// What is needed of the texts of fields, so that the rest can go on without them.
#[derive(Debug, Default)]
struct Fields {
    /// The length without a minus sign, and in the highest bit whether there is one.
    shapes: Vec<u32>,
    /// The last eight bytes.
    words: Vec<u64>,
}

impl Fields {
    /// Makes room for so many, and for what is written or read beyond for the sake of whole groups and chunks.
    fn make_room(&mut self, count: usize) {
        room(&mut self.shapes, count + CHUNK);
        room(&mut self.words, count + CHUNK);
    }

    /// Loads neighbouring fields, of which the first begins at `begin`, one by one.
    #[inline(always)]
    fn load(&mut self, place: usize, text: &[u8], begin: u32, ends: &[u32]) {
        let places = place..place + ends.len();
        let (Some(words), Some(shapes)) = (self.words.get_mut(places.clone()), self.shapes.get_mut(places))
        else {
            return;
        };
        load(text, begin, ends, words, shapes);
    }

    /// Loads all fields that are known, in groups.
    #[inline(always)]
    fn load_all(&mut self, wide: Wide, text: &[u8], ends: &Ends) {
        let (mut begin, fields) = ends.all();
        self.make_room(fields.len());
        let (groups, rest) = fields.as_chunks::<GROUP>();
        let places = self.words.as_chunks_mut().0.iter_mut().zip(self.shapes.as_chunks_mut().0);
        for (group, (words, shapes)) in groups.iter().zip(places) {
            let [.., last] = *group;
            let window = text.get((begin as usize).wrapping_sub(8)..).and_then(<[u8]>::first_chunk);
            if let Some(window) = window.filter(|_| last - begin <= SPAN) {
                (*words, *shapes) = wide::words(wide, window, begin, *group);
            } else {
                load(text, begin, group, words, shapes);
            }
            begin = last + 1;
        }
        self.load(groups.len() * GROUP, text, begin, rest);
    }

    /// Copies `count` fields of `from` that begin with number `at`, and some more.
    #[inline(always)]
    fn copy(&mut self, place: usize, from: &Self, (at, count): (usize, usize)) {
        copy(&mut self.words, place, &from.words, (at, count));
        copy(&mut self.shapes, place, &from.shapes, (at, count));
    }

    #[inline(always)]
    fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let (words, shapes) = (self.words.as_chunks().0, self.shapes.as_chunks().0);
        words.iter().zip(shapes).map(|(words, shapes)| Chunk { words, shapes })
    }
}

/// Some fields, perhaps with others behind them that do not matter.
struct Chunk<'a> {
    words: &'a [u64; CHUNK],
    shapes: &'a [u32; CHUNK],
}

impl Chunk<'_> {
    /// Makes as many numbers as there are places; see [`Lanes::numbers`].
    #[inline(always)]
    fn numbers<T: Number, V: Simd>(&self, simd: V, values: &mut [T], refused: &mut [u8]) -> u8 {
        // In two steps, because compilers make no vector code of one that goes from 64 bits to floats of 32.
        let mut parts = Parts { digits: [0; CHUNK], units: [0; CHUNK], flaws: [0; CHUNK] };
        if let Some(wide) = wide(simd) {
            self.take_apart_wide(wide, T::POINT, &mut parts);
        } else {
            self.take_apart(T::POINT, &mut parts);
        }
        let parts = parts.digits.iter().zip(&parts.units).zip(&parts.flaws);
        let mut any = 0;
        for ((((&digits, &unit), &flaw), &shape), (value, refused)) in
            parts.zip(self.shapes).zip(values.iter_mut().zip(refused))
        {
            let (number, exact) = T::of(digits, unit, shape >> 31);
            *value = number;
            *refused = flaw | u8::from(!exact);
            any |= *refused;
        }
        any
    }

    #[inline(always)]
    fn take_apart(&self, pointed: bool, parts: &mut Parts) {
        let places = parts.digits.iter_mut().zip(&mut parts.units).zip(&mut parts.flaws);
        for ((&word, &shape), ((digits, unit), flaw)) in self.words.iter().zip(self.shapes).zip(places) {
            (*digits, *unit, *flaw) = single(word, shape & !MINUS, pointed);
        }
    }

    #[inline(always)]
    fn take_apart_wide(&self, wide: Wide, pointed: bool, Parts { digits, units, flaws }: &mut Parts) {
        let groups = self.words.as_chunks().0.iter().zip(self.shapes.as_chunks().0);
        let places = digits.as_chunks_mut().0.iter_mut().zip(units.as_chunks_mut().0);
        for ((words, shapes), ((digits, units), flaws)) in groups.zip(places.zip(flaws.as_chunks_mut().0)) {
            (*digits, *units, *flaws) = wide::digits(wide, *words, *shapes, pointed);
        }
    }
}

/// What fields say, taken apart: the digits as integers, the power of ten that each is to be divided by, and other
/// than 0 where it is no number of up to eight characters.
struct Parts {
    digits: [i32; CHUNK],
    units: [i32; CHUNK],
    flaws: [u8; CHUNK],
}

/// Loads as many fields as there are ends.
#[inline(always)]
fn load(text: &[u8], mut begin: u32, ends: &[u32], words: &mut [u64], shapes: &mut [u32]) {
    for (&end, (word, shape)) in ends.iter().zip(words.iter_mut().zip(shapes)) {
        let minus = u32::from(text.get(begin as usize) == Some(&b'-'));
        *shape = (end - begin).wrapping_sub(minus) & !MINUS | minus << 31;
        *word = last_eight(text, end as usize);
        begin = end + 1;
    }
}

/// Copies whole groups of `from`, at least `count` places.
#[inline(always)]
fn copy<T: Copy>(to: &mut [T], place: usize, from: &[T], (at, count): (usize, usize)) {
    let length = count.next_multiple_of(GROUP);
    let (Some(to), Some(from)) = (to.get_mut(place..place + length), from.get(at..at + length)) else {
        return;
    };
    for (to, from) in to.as_chunks_mut::<GROUP>().0.iter_mut().zip(from.as_chunks::<GROUP>().0) {
        *to = *from;
    }
}

/// The first `length` places. They are not taken back when fewer are needed: runs of one field and of many take turns,
/// and clearing the places again and again took a thirtieth of the time of reading.
#[inline(always)]
fn room<T: Copy + Default>(places: &mut Vec<T>, length: usize) -> &mut [T] {
    if places.len() < length {
        places.resize(length, T::default());
    }
    places.get_mut(..length).unwrap_or_default()
}

#[inline(always)]
fn last_eight(text: &[u8], end: usize) -> u64 {
    // Too near to the beginning of the text: nothing, which no digit is.
    let bytes = text.get(end.wrapping_sub(8)..end).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// The digits in the last `length` bytes of a word, the power of ten to divide them by, and other than 0 where that is
/// no number.
#[inline(always)]
fn single(word: u64, length: u32, pointed: bool) -> (i32, i32, u8) {
    let outside = length.wrapping_sub(1) >= 8;
    let foreign = 64_u32.wrapping_sub(8 * length) & 63; // bits of the field before
    let word = (word ^ ZEROS) >> foreign << foreign;
    let found = zero_bytes(word ^ POINTS);
    let point = if pointed { found & found.wrapping_neg() } else { 0 };
    // The characters before the point move up to those behind it.
    let before = word & (point >> 7).wrapping_sub(1);
    let behind = word & !(point << 1).wrapping_sub(1);
    let digits = if point == 0 { word } else { behind | before << 8 };
    let lone = length == 1 && point != 0;
    let flaw = no_digits(digits) != 0 || lone || outside;
    (eight_digits(digits), power(point), u8::from(flaw))
}

/// Ten to the number of places behind the point, which is the highest bit of its byte; 1 when there is none.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "below 10^8")]
fn power(point: u64) -> i32 {
    let places = |bytes: u64, power: u64| if point & bytes == 0 { 1 } else { power };
    let fours = places(0x0000_0000_ffff_ffff, 10_000);
    let pairs = places(0x0000_ffff_0000_ffff, 100);
    let ones = places(0x00ff_00ff_00ff_00ff, 10);
    (fours * pairs * ones) as i32
}

#[cfg(test)]
mod tests;
