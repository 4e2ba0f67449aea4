//! Fields that stay text, one after the other in one piece of memory.

use memchr::memchr;

/// Texts as Arrow has them: their bytes, and where each ends.
#[derive(Clone, Debug)]
pub struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl Texts {
    /// Adds a field as it stands in the file, quotes and all. False when it cannot be taken.
    pub(super) fn push(&mut self, field: &[u8], quote: Option<u8>) -> bool {
        match quote {
            Some(quote) if field.first() == Some(&quote) => {
                let Some(inner) = unquoted(field, quote) else { return false };
                self.unescape(inner, quote);
            }
            _ => self.bytes.extend_from_slice(field),
        }
        i32::try_from(self.bytes.len()).map(|end| self.offsets.push(end)).is_ok()
    }

    /// Adds what stands between two quotes, in which two quotes mean one.
    fn unescape(&mut self, inner: &[u8], quote: u8) {
        let mut rest = inner;
        while let Some(at) = memchr(quote, rest) {
            let (piece, behind) = rest.split_at((at + 1).min(rest.len()));
            self.bytes.extend_from_slice(piece);
            rest = behind.get(1..).unwrap_or_default();
        }
        self.bytes.extend_from_slice(rest);
    }

    /// Where each text ends, after a zero; and their bytes. None when one is not UTF-8.
    #[must_use]
    pub fn finish(&self) -> Option<(&[i32], &[u8])> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        // All together are UTF-8; each is if none begins in the middle of a character.
        let apart =
            self.offsets.iter().all(|&end| usize::try_from(end).is_ok_and(|end| text.is_char_boundary(end)));
        apart.then_some((&self.offsets, &self.bytes))
    }
}

/// What stands between the quotes of a quoted field; None when the last byte is not the closing quote.
pub(super) fn unquoted(field: &[u8], quote: u8) -> Option<&[u8]> {
    field.strip_prefix(&[quote])?.strip_suffix(&[quote])
}
