//! How a text file is written: its format, its encoding, and what ends a record.

use std::str::FromStr;

use crate::error::{Error, Result};

/// The bytes that separate fields and quote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
    multi_line: bool,
}

impl Dialect {
    /// A dialect of single-byte delimiter and quote.
    ///
    /// With `multi_line` off, or without a quote, every line break ends a record.
    ///
    /// # Errors
    /// [`Error::Option`] when delimiter and quote are the same byte, a line break, or not ASCII.
    pub fn new(delimiter: u8, quote: Option<u8>, multi_line: bool) -> Result<Self> {
        for (name, byte) in [("delimiter", Some(delimiter)), ("quote", quote)] {
            if byte.is_some_and(|byte| matches!(byte, b'\r' | b'\n') || !byte.is_ascii()) {
                return Err(Error::Option(format!(
                    "the {name} is a line break or not ASCII; choose another character"
                )));
            }
        }
        if quote == Some(delimiter) {
            return Err(Error::Option(String::from(
                "delimiter and quote are the same character; choose two different ones",
            )));
        }
        Ok(Self { delimiter, quote, multi_line })
    }

    /// The byte between two fields.
    #[must_use]
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The quote that can keep a line break inside a record, if there is one.
    #[must_use]
    pub fn spanning_quote(&self) -> Option<u8> {
        self.quote.filter(|_| self.multi_line)
    }
}

/// What a record is in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rows of delimited fields.
    Delimited(Dialect),
    /// One JSON value a line.
    JsonLines,
}

/// How the bytes of a file become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8 or a single-byte superset of ASCII: line breaks, quotes and delimiters can be found in the raw bytes.
    InPlace,
    /// UTF-16 by its byte order mark, else little-endian; decoded to UTF-8 as a stream.
    Utf16,
    /// UTF-32 by its byte order mark, else little-endian; decoded to UTF-8 as a stream.
    Utf32,
}

impl FromStr for Encoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "utf8" | "utf8bom" | "ascii" | "latin1" | "iso88591" | "windows1252" => Ok(Self::InPlace),
            "utf16" => Ok(Self::Utf16),
            "utf32" => Ok(Self::Utf32),
            _ => Err(Error::Option(format!(
                "encoding '{name}' is unknown; choose utf8, utf8bom, ascii, latin1, iso88591, windows1252, utf16 or utf32"
            ))),
        }
    }
}
