//! Format options as Python spells them.

use batch_score_core::dialect::{Dialect, Format};
use batch_score_core::{Error, Result};

/// One character, as the core's byte.
fn byte(name: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Error::Option(format!(
            "the {name} {text:?} is not one ASCII character; choose one, such as ','"
        ))),
    }
}

/// The dialect of delimited text.
pub fn dialect(delimiter: &str, quote: Option<&str>, multi_line: bool) -> Result<Dialect> {
    let quote = quote.map(|quote| byte("quote", quote)).transpose()?;
    Dialect::new(byte("delimiter", delimiter)?, quote, multi_line)
}

/// The format called `name`; JSON Lines ignores the dialect.
pub fn format(name: &str, delimiter: &str, quote: Option<&str>, multi_line: bool) -> Result<Format> {
    match name {
        "delimited" => Ok(Format::Delimited(dialect(delimiter, quote, multi_line)?)),
        "jsonl" => Ok(Format::JsonLines),
        _ => Err(Error::Option(format!("format '{name}' is unknown; choose delimited or jsonl"))),
    }
}
