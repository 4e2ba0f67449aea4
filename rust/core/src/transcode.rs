//! UTF-16 and UTF-32 as a stream of UTF-8.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE};

const READ_BYTES: usize = 64 << 10;

/// Reads another encoding as UTF-8, in constant memory. The byte order mark is not part of the text.
pub struct Transcoder<R> {
    inner: R,
    raw: Vec<u8>,
    units: Units,
    text: String,
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
        Self { inner, raw: vec![0; READ_BYTES], units, text: String::new(), taken: 0, ended: false }
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
            Units::Utf16Unknown => Ok(()),
            Units::Utf16(decoder) => utf16(decoder, raw, self.ended, &mut self.text),
            Units::Utf32(units) => units.decode(raw, self.ended, &mut self.text),
        }
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() && !self.ended {
            self.refill()?;
        }
        let mut rest = self.text.as_bytes().get(self.taken..).unwrap_or_default();
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

fn utf16(decoder: &mut Decoder, raw: &[u8], last: bool, text: &mut String) -> io::Result<()> {
    let most = decoder.max_utf8_buffer_length_without_replacement(raw.len());
    text.reserve(most.ok_or_else(|| malformed("UTF-16"))?);
    match decoder.decode_to_string_without_replacement(raw, text, last).0 {
        DecoderResult::InputEmpty => Ok(()),
        DecoderResult::OutputFull | DecoderResult::Malformed(..) => Err(malformed("UTF-16")),
    }
}

#[derive(Default)]
struct Utf32 {
    /// How four bytes become a number, known after the first four.
    order: Option<fn([u8; 4]) -> u32>,
    /// The beginning of a character whose other bytes are still to come.
    split: Vec<u8>,
}

impl Utf32 {
    fn decode(&mut self, raw: &[u8], last: bool, text: &mut String) -> io::Result<()> {
        self.split.extend_from_slice(raw);
        let bytes = std::mem::take(&mut self.split);
        let (units, rest) = bytes.as_chunks::<4>();
        for &unit in units {
            self.unit(unit, text)?;
        }
        self.split.extend_from_slice(rest);
        if last && !self.split.is_empty() { Err(malformed("UTF-32")) } else { Ok(()) }
    }

    fn unit(&mut self, unit: [u8; 4], text: &mut String) -> io::Result<()> {
        let read = match (self.order, unit) {
            (Some(read), _) => read,
            (None, [0, 0, 0xFE, 0xFF]) => {
                self.order = Some(u32::from_be_bytes);
                return Ok(());
            }
            (None, [0xFF, 0xFE, 0, 0]) => {
                self.order = Some(u32::from_le_bytes);
                return Ok(());
            }
            (None, _) => *self.order.insert(u32::from_le_bytes),
        };
        text.push(char::from_u32(read(unit)).ok_or_else(|| malformed("UTF-32"))?);
        Ok(())
    }
}

fn malformed(encoding: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the text is not valid {encoding}"))
}
