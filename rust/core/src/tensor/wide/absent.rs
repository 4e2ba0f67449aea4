//! The steps where no processor takes them: nothing ever calls them.

use super::{GROUP, PLACES, WINDOW};

#[derive(Clone, Copy)]
pub(in super::super) enum Wide {}

pub(in super::super) fn places(wide: Wide, _bits: u64, _base: u32) -> ([u32; PLACES], u64) {
    match wide {}
}

pub(in super::super) fn words(
    wide: Wide,
    _window: &[u8; WINDOW],
    _begin: u32,
    _ends: [u32; GROUP],
) -> ([u64; GROUP], [u32; GROUP]) {
    match wide {}
}

pub(in super::super) fn digits(
    wide: Wide,
    _words: [u64; GROUP],
    _shapes: [u32; GROUP],
    _pointed: bool,
) -> ([i32; GROUP], [i32; GROUP], [u8; GROUP]) {
    match wide {}
}
