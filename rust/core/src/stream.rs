//! Text that can only be read from its beginning: compressed files, and UTF-16 and UTF-32.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;

use crate::dialect::Encoding;
use crate::error::{Error, Result};
use crate::transcode::Transcoder;

const READ_BYTES: usize = 256 << 10;

/// Whether offsets into the text of the file are not offsets into the file itself.
#[must_use]
pub fn is_stream(path: &Path, encoding: Encoding) -> bool {
    encoding != Encoding::InPlace || Compression::of(path).is_some()
}

#[derive(Clone, Copy)]
enum Compression {
    Gzip,
    Zstandard,
    Bzip2,
}

impl Compression {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstandard),
            "bz2" => Some(Self::Bzip2),
            _ => None,
        }
    }
}

/// The decoded text of a file, from its beginning to its end.
///
/// Every member of a gzip file, every frame of a Zstandard file and every stream of a bzip2 file is
/// read; zeros behind a member of a gzip file, with which some writers fill up blocks, are passed over.
/// UTF-16 and UTF-32 become UTF-8, without their byte order mark; other text stays as it is.
pub struct TextStream {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    position: u64,
}

impl TextStream {
    /// Opens a file, compressed or not.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened, [`Error::NoInput`] when it is not a regular file.
    pub fn open(path: &Path, encoding: Encoding) -> Result<Self> {
        let file = open_regular(path)?;
        let plain = decompress(file, Compression::of(path)).map_err(|fault| Error::io(path, fault))?;
        let reader: Box<dyn Read + Send> = match encoding {
            Encoding::InPlace => plain,
            Encoding::Utf16 => Box::new(Transcoder::utf16(plain)),
            Encoding::Utf32 => Box::new(Transcoder::utf32(plain)),
        };
        Ok(Self { path: path.to_path_buf(), reader, position: 0 })
    }

    /// Offset in the text of the next byte to be read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads until `buffer` is full or the text ends; returns the number of bytes read.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the file cannot be decompressed, [`Error::Io`] when it cannot be read.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    self.position += count as u64;
                }
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(self.fault(fault)),
            }
        }
        Ok(filled)
    }

    /// Reads `length` bytes of text from `offset` on, which may lie ahead of the position, but not behind it.
    ///
    /// # Errors
    /// [`Error::Option`] when `offset` lies behind the position, [`Error::Malformed`] when the text ends too early,
    /// else as [`TextStream::fill`].
    pub fn read_range(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let Some(ahead) = offset.checked_sub(self.position) else {
            return Err(Error::Option(format!(
                "{}: byte {offset} lies behind byte {} of the stream; open it anew to read it again",
                self.path.display(),
                self.position
            )));
        };
        let skipped = io::copy(&mut self.reader.by_ref().take(ahead), &mut io::sink());
        self.position += self.whole(skipped, ahead)?;
        let mut text = Vec::new();
        let read = self.reader.by_ref().take(length).read_to_end(&mut text).map(|count| count as u64);
        self.position += self.whole(read, length)?;
        Ok(text)
    }

    fn whole(&self, read: io::Result<u64>, wanted: u64) -> Result<u64> {
        match read {
            Ok(count) if count == wanted => Ok(count),
            Ok(count) => Err(Error::Malformed {
                path: self.path.clone(),
                offset: self.position + count,
                reason: format!(
                    "the text ends {} bytes too early; it changed since it was planned",
                    wanted - count
                ),
            }),
            Err(fault) => Err(self.fault(fault)),
        }
    }

    /// An answer of the operating system carries its error number; anything else is the decoders' complaint.
    fn fault(&self, fault: io::Error) -> Error {
        if fault.raw_os_error().is_some() {
            return Error::io(&self.path, fault);
        }
        Error::Malformed { path: self.path.clone(), offset: self.position, reason: fault.to_string() }
    }
}

/// Opens a file that has a beginning to which a reader can go back; of a named pipe, opening alone might wait for ever.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let io = |fault| Error::io(path, fault);
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::NoInput {
            input: path.display().to_string(),
            reason: "not a regular file; write its content into one",
        });
    }
    File::open(path).map_err(io)
}

fn decompress(file: File, compression: Option<Compression>) -> io::Result<Box<dyn Read + Send>> {
    let file = BufReader::with_capacity(READ_BYTES, file);
    Ok(match compression {
        None => Box::new(file),
        Some(Compression::Gzip) => Box::new(Members(GzDecoder::new(Lent(Some(file))))),
        Some(Compression::Zstandard) => Box::new(zstd::Decoder::with_buffer(file)?),
        Some(Compression::Bzip2) => Box::new(MultiBzDecoder::new(file)),
    })
}

/// The members of a gzip file, one behind the other.
struct Members(GzDecoder<Lent>);

impl Members {
    /// Goes on to the next member; false at the end of the file.
    fn go_on(&mut self) -> io::Result<bool> {
        let file = self.0.get_mut();
        loop {
            let bytes = file.fill_buf()?;
            let Some(&first) = bytes.first() else { return Ok(false) };
            if first != 0 {
                break;
            }
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            file.consume(zeros);
        }
        let file = Lent(file.0.take());
        self.0.reset(file);
        Ok(true)
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.0.read(buffer)?;
            if count > 0 || buffer.is_empty() || !self.go_on()? {
                return Ok(count);
            }
        }
    }
}

/// A file that can be taken out of a decoder, to be handed to it again.
struct Lent(Option<BufReader<File>>);

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |file| file.read(buffer))
    }
}

impl BufRead for Lent {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.as_mut().map_or(Ok(&[]), BufRead::fill_buf)
    }

    fn consume(&mut self, count: usize) {
        if let Some(file) = &mut self.0 {
            file.consume(count);
        }
    }
}
