//! UTF-16 and UTF-32 as a stream of UTF-8.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE};

const READ_BYTES: usize = 64 << 10;

/// What stands for something that is no text: a byte that UTF-8 never has, so that whoever reads its record refuses it.
const NO_TEXT: u8 = 0xFF;

/// Reads another encoding as UTF-8, in constant memory. The byte order mark is not part of the text.
///
/// What cannot be decoded becomes the byte 0xFF, and the text goes on behind it.
pub struct Transcoder<R> {
    inner: R,
    raw: Vec<u8>,
    units: Units,
    text: Vec<u8>,
    /// How much of `text` was handed out.
    taken: usize,
    ended: bool,
}

enum Units {
    /// Before the first bytes, which say whether the order is big-endian.
    Utf16Unknown,
    Utf16(Box<Decoder>),
    Utf32(Utf32),
}

impl<R: Read> Transcoder<R> {
    /// UTF-16 in the order of its byte order mark, else little-endian.
    pub fn utf16(inner: R) -> Self {
        Self::new(inner, Units::Utf16Unknown)
    }

    /// UTF-32 in the order of its byte order mark, else little-endian.
    pub fn utf32(inner: R) -> Self {
        Self::new(inner, Units::Utf32(Utf32::default()))
    }

    fn new(inner: R, units: Units) -> Self {
        Self { inner, raw: vec![0; READ_BYTES], units, text: Vec::new(), taken: 0, ended: false }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.taken = 0;
        let count = fill(&mut self.inner, &mut self.raw)?;
        self.ended = count < self.raw.len();
        let raw = self.raw.get(..count).unwrap_or_default();
        if matches!(self.units, Units::Utf16Unknown) {
            let order = if raw.starts_with(&[0xFE, 0xFF]) { UTF_16BE } else { UTF_16LE };
            self.units = Units::Utf16(Box::new(order.new_decoder_with_bom_removal()));
        }
        match &mut self.units {
            Units::Utf16Unknown => {}
            Units::Utf16(decoder) => utf16(decoder, raw, self.ended, &mut self.text),
            Units::Utf32(units) => units.decode(raw, self.ended, &mut self.text),
        }
        Ok(())
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() && !self.ended {
            self.refill()?;
        }
        let mut rest = self.text.get(self.taken..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

fn fill(inner: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match inner.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(filled)
}

fn utf16(decoder: &mut Decoder, mut raw: &[u8], last: bool, text: &mut Vec<u8>) {
    let mut filled = 0;
    loop {
        let room = decoder.max_utf8_buffer_length_without_replacement(raw.len()).unwrap_or(READ_BYTES);
        if text.len() <= filled + room {
            text.resize(filled + room + 1, 0);
        }
        let free = text.get_mut(filled..).unwrap_or_default();
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(raw, free, last);
        raw = raw.get(read..).unwrap_or_default();
        filled += written;
        match result {
            DecoderResult::InputEmpty => break,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => {
                if let Some(place) = text.get_mut(filled) {
                    *place = NO_TEXT;
                    filled += 1;
                }
            }
        }
    }
    text.truncate(filled);
}

#[derive(Default)]
struct Utf32 {
    /// How four bytes become a number, known after the first four.
    order: Option<fn([u8; 4]) -> u32>,
    /// The beginning of a character whose other bytes are still to come.
    split: Vec<u8>,
}

impl Utf32 {
    fn decode(&mut self, raw: &[u8], last: bool, text: &mut Vec<u8>) {
        self.split.extend_from_slice(raw);
        let bytes = std::mem::take(&mut self.split);
        let (units, rest) = bytes.as_chunks::<4>();
        for &unit in units {
            self.unit(unit, text);
        }
        self.split.extend_from_slice(rest);
        if last && !self.split.is_empty() {
            text.push(NO_TEXT);
        }
    }

    fn unit(&mut self, unit: [u8; 4], text: &mut Vec<u8>) {
        let read = match (self.order, unit) {
            (Some(read), _) => read,
            (None, [0, 0, 0xFE, 0xFF]) => {
                self.order = Some(u32::from_be_bytes);
                return;
            }
            (None, [0xFF, 0xFE, 0, 0]) => {
                self.order = Some(u32::from_le_bytes);
                return;
            }
            (None, _) => *self.order.insert(u32::from_le_bytes),
        };
        match char::from_u32(read(unit)) {
            Some(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => text.push(NO_TEXT),
        }
    }
}
