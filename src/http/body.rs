//! Decodes one request body, by Content-Length or chunked, under a limit (RFC 9112 §6 and §7).
//!
//! It keeps the decoded bytes and takes no more than its own: what follows the body stays with the reader.
//! Whether there is a body, and which kind, is `length.rs`.

use super::error::Error;
use super::scan::{Limits, Progress, Scanner};

/// A chunk's size line without its CRLF. RFC 9112 §7.1.1: "A server ought to limit the total length of chunk
/// extensions"; it ignores them, and no client that we know sends any.
const CHUNK_LINE_LEN_MAX: usize = 256;

/// Digits of a chunk size: 16 hex digits fill the 64 bits.
const CHUNK_DIGITS_MAX: usize = 16;

/// The room of a body is at most this many times what has come of it: a peer that announces much and sends little takes
/// little. With the first read of a body of 64 KiB a quarter of it and more is there, and it is moved once.
const ROOM_AHEAD: usize = 4;

/// A body on its way in.
///
/// Invariant: `bytes.len() + (what is left of the chunk or body) <= len_max`, checked before any of it is
/// kept.
#[derive(Debug)]
pub(super) struct Body {
    place: Place,
    bytes: Vec<u8>,
    len_max: u64,
    limits: Limits,
}

/// What the next byte is part of.
#[derive(Debug)]
enum Place {
    /// `left` bytes of a body by Content-Length.
    Known { left: u64 },
    /// A chunk's size line, CRLF included.
    Size(SizeLine),
    /// `left` bytes of a chunk.
    Data { left: u64 },
    /// The CR after a chunk's data.
    DataCr,
    /// The LF after that CR.
    DataLf,
    /// The trailer section and the empty line that ends it.
    Trailers(Scanner),
}

/// A line such as `1a;name=value`, read up to where `part` says.
#[derive(Clone, Copy, Debug)]
struct SizeLine {
    part: SizePart,
    size: u64,
    /// Digits so far, leading zeros included.
    digits: usize,
    /// Bytes so far.
    len: usize,
}

#[derive(Clone, Copy, Debug)]
enum SizePart {
    Digits,
    /// Whitespace, which only an extension may follow: the BWS of RFC 9112 §7.1.1.
    Space,
    Extension,
    Lf,
    End,
}

impl Body {
    /// A body of `len` bytes.
    pub fn known(len: u64, len_max: u64, limits: Limits) -> Self {
        Self { place: Place::Known { left: len }, bytes: Vec::new(), len_max, limits }
    }

    /// A chunked body of at most `len_max` decoded bytes, whose trailers fit `limits`.
    pub fn chunked(len_max: u64, limits: Limits) -> Self {
        Self { place: Place::Size(SizeLine::START), bytes: Vec::new(), len_max, limits }
    }

    /// Takes from the front of `input` what belongs to the body, and says how much that was and whether the
    /// body is complete. A complete one takes nothing more.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, bool), Error> {
        let mut used = 0;
        loop {
            if matches!(self.place, Place::Known { left: 0 }) {
                return Ok((used, true));
            }
            let rest = &input[used..];
            if rest.is_empty() {
                return Ok((used, false));
            }
            let (step_len, complete) = self.step(rest)?;
            used += step_len;
            if complete {
                self.place = Place::Known { left: 0 };
                return Ok((used, true));
            }
        }
    }

    /// The decoded bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The room that they take.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The decoded bytes of a complete body.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Uses at least one byte of `input`, which has one; says how many, and whether they were the last.
    fn step(&mut self, input: &[u8]) -> Result<(usize, bool), Error> {
        let byte = input[0];
        let next = match &mut self.place {
            Place::Known { left } => return Ok((copy(&mut self.bytes, left, input), false)),
            Place::Data { left } => {
                let copied = copy(&mut self.bytes, left, input);
                if *left == 0 {
                    self.place = Place::DataCr;
                }
                return Ok((copied, false));
            }
            Place::Trailers(scanner) => return trailers(scanner, input),
            Place::Size(line) => {
                let line = line.next(byte)?;
                self.after_size(line)?
            }
            // RFC 9112 §7.1: `chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF`.
            Place::DataCr if byte == b'\r' => Place::DataLf,
            Place::DataLf if byte == b'\n' => Place::Size(SizeLine::START),
            Place::DataCr | Place::DataLf => return Err(Error::ChunkEnd),
        };
        self.place = next;
        Ok((1, false))
    }

    /// Refuses a size as soon as its digits exceed what the limit leaves, before the chunk's data is there.
    fn after_size(&self, line: SizeLine) -> Result<Place, Error> {
        if line.size > self.len_max - self.bytes.len() as u64 {
            return Err(Error::BodyTooLarge { len_max: self.len_max });
        }
        Ok(match (line.part, line.size) {
            (SizePart::End, 0) => Place::Trailers(Scanner::trailers(self.limits)),
            (SizePart::End, size) => Place::Data { left: size },
            (SizePart::Digits | SizePart::Space | SizePart::Extension | SizePart::Lf, _) => Place::Size(line),
        })
    }
}

impl SizeLine {
    const START: Self = Self { part: SizePart::Digits, size: 0, digits: 0, len: 0 };

    /// The line with one byte more: RFC 9112 §7.1, `chunk-size = 1*HEXDIG`, and nothing else than that.
    fn next(self, byte: u8) -> Result<Self, Error> {
        if self.len == CHUNK_LINE_LEN_MAX && byte != b'\r' && byte != b'\n' {
            return Err(Error::ChunkLineTooLong);
        }
        let line = Self { len: self.len + 1, ..self };
        let part = match (self.part, byte) {
            (SizePart::Lf, b'\n') => SizePart::End,
            (SizePart::Lf, _) => return Err(Error::BareCr),
            (_, b'\n') => return Err(Error::BareLf),
            (SizePart::Digits, _) if byte.is_ascii_hexdigit() => return line.with_digit(byte),
            (SizePart::Digits, _) if self.digits == 0 => return Err(Error::ChunkSize),
            (SizePart::Digits | SizePart::Space, b' ' | b'\t') => SizePart::Space,
            (SizePart::Digits | SizePart::Space, b';') => SizePart::Extension,
            (SizePart::Digits | SizePart::Extension, b'\r') => SizePart::Lf,
            (SizePart::Extension, b'\t') => SizePart::Extension,
            (SizePart::Extension, _) if !byte.is_ascii_control() => SizePart::Extension,
            (SizePart::Digits | SizePart::Space | SizePart::Extension, _) => return Err(Error::ChunkSize),
            (SizePart::End, _) => unreachable!("the line ended before"),
        };
        Ok(Self { part, ..line })
    }

    /// RFC 9112 §7.1: "A recipient MUST anticipate potentially large hexadecimal numerals and prevent parsing
    /// errors due to integer conversion overflows".
    fn with_digit(self, byte: u8) -> Result<Self, Error> {
        let digit = char::from(byte).to_digit(16).ok_or(Error::ChunkSize)?;
        if self.digits == CHUNK_DIGITS_MAX {
            return Err(Error::ChunkSize);
        }
        Ok(Self { size: self.size << 4 | u64::from(digit), digits: self.digits + 1, ..self })
    }
}

/// Copies what there is of the `left` bytes.
fn copy(bytes: &mut Vec<u8>, left: &mut u64, input: &[u8]) -> usize {
    let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left -= len as u64;
    let needed = bytes.len() + len;
    if needed > bytes.capacity() {
        bytes.reserve_exact(grown(needed, bytes.capacity(), *left) - bytes.len());
    }
    bytes.extend_from_slice(&input[..len]);
    len
}

/// The room for `needed` bytes where there is too little: to the announced end if that is near enough, and in any case
/// twice what it was, so that each byte is moved twice at most on average.
fn grown(needed: usize, capacity: usize, missing: u64) -> usize {
    let end = usize::try_from(missing).ok().filter(|&missing| missing <= (ROOM_AHEAD - 1) * needed);
    (needed + end.unwrap_or(0)).max(2 * capacity)
}

/// RFC 9112 §7.1.2: trailer fields are read to find the end of the body, and dropped.
fn trailers(scanner: &mut Scanner, input: &[u8]) -> Result<(usize, bool), Error> {
    Ok(match scanner.scan(input)? {
        Progress::Complete(len) => (len, true),
        Progress::More => (input.len(), false),
        Progress::EmptyLine(_) | Progress::RequestLine(_) => unreachable!("trailers have no request line"),
    })
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
