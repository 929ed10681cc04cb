//! Finds where a request head or a trailer section ends, and refuses bytes that cannot be part of one.
//!
//! It looks at each byte once, whatever the pieces they come in, and keeps none of them. What the lines mean
//! is httparse's and `Request`'s to say; httparse alone would also take bare line feeds.

use super::error::Error;

/// How much of a request head is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line and the header fields, the empty line included; of a trailer section as
    /// well.
    pub head_len_max: usize,
    /// Header fields.
    pub headers_max: usize,
}

impl Default for Limits {
    /// 16 KiB as node (`--max-http-header-size`); Tomcat has 8 KiB, nginx 4 buffers of 8 KiB. 64 fields where
    /// Tomcat has 100 and node 2,000: a browser's handshake has about 20.
    fn default() -> Self {
        Self { head_len_max: 16 * 1024, headers_max: 64 }
    }
}

/// RFC 9112 §2.2: "a server that is expecting to receive and parse a request-line SHOULD ignore at least one
/// empty line (CRLF) received prior to the request-line". Old clients sent one after the body of a POST.
const EMPTY_LINES_MAX: u8 = 4;

/// The first byte of a TLS record that carries a handshake: RFC 8446 §5.1, ContentType 22.
const TLS_HANDSHAKE: u8 = 0x16;

/// What [`Scanner::scan`] came to; each number counts the bytes of the piece that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of the piece is looked at: more bytes are needed.
    More,
    /// An empty line before the request ends here, and all that was looked at is to be forgotten.
    EmptyLine(usize),
    /// The request line ends here, CRLF included.
    RequestLine(usize),
    /// The empty line after the fields ends here: the section is complete.
    Complete(usize),
}

/// The grammar of a head down to its lines.
///
/// ```text
///   ( CRLF )*  method SP rest CRLF  ( name ":" value CRLF )*  CRLF
///   ^Before    ^Method   ^Line      ^FieldStart  ^Value       ^FieldStart
/// ```
///
/// Invariant: `len <= limits.head_len_max`, `fields <= limits.headers_max`.
#[derive(Debug)]
pub(super) struct Scanner {
    limits: Limits,
    place: Place,
    len: usize,
    fields: usize,
    empty_lines: u8,
}

/// Where in the grammar the next byte is; `…Lf` means that a CR came, so that only LF may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    BeforeLf,
    Method,
    Line,
    LineLf,
    FieldStart,
    Name,
    Value,
    ValueLf,
    EndLf,
    End,
}

impl Scanner {
    /// For a request head.
    pub fn head(limits: Limits) -> Self {
        Self { limits, place: Place::Before, len: 0, fields: 0, empty_lines: 0 }
    }

    /// For the trailer section of a chunked body: fields and an empty line, by the same rules.
    pub fn trailers(limits: Limits) -> Self {
        Self { place: Place::FieldStart, ..Self::head(limits) }
    }

    /// How many header fields there were so far.
    pub fn fields(&self) -> usize {
        self.fields
    }

    /// Looks at the bytes that follow those of the last call, up to the next thing to tell.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Progress, Error> {
        for (index, &byte) in bytes.iter().enumerate() {
            if self.len == self.limits.head_len_max {
                return Err(Error::HeadTooLong { len_max: self.limits.head_len_max });
            }
            self.len += 1;
            let next = self.next(byte)?;
            match (std::mem::replace(&mut self.place, next), next) {
                (Place::BeforeLf, _) => return self.empty_line(index + 1),
                (Place::LineLf, _) => return Ok(Progress::RequestLine(index + 1)),
                (Place::FieldStart, Place::Name) => self.count_field()?,
                (_, Place::End) => return Ok(Progress::Complete(index + 1)),
                _ => {}
            }
        }
        Ok(Progress::More)
    }

    fn next(&self, byte: u8) -> Result<Place, Error> {
        match self.place {
            Place::Before => match byte {
                b'\r' => Ok(Place::BeforeLf),
                TLS_HANDSHAKE => Err(Error::Tls),
                b'\n' => Err(Error::BareLf),
                _ => method(byte),
            },
            Place::Method => match byte {
                b' ' => Ok(Place::Line),
                _ => method(byte),
            },
            Place::Line => text(byte, Place::Line, Place::LineLf),
            Place::FieldStart => match byte {
                b'\r' => Ok(Place::EndLf),
                // RFC 9112 §5.2: "A server that receives an obs-fold in a request message that is not
                // within a message/http container MUST either reject the message by sending a 400 (Bad
                // Request) …", and §2.2 for whitespace between the request line and the first field.
                b' ' | b'\t' => Err(Error::Fold),
                _ => name(byte),
            },
            Place::Name => match byte {
                b':' => Ok(Place::Value),
                // RFC 9112 §5.1: "A server MUST reject, with a response status code of 400 (Bad Request), any
                // received request message that contains whitespace between a header field name and colon."
                b' ' | b'\t' => Err(Error::SpaceBeforeColon),
                _ => name(byte),
            },
            Place::Value => text(byte, Place::Value, Place::ValueLf),
            Place::BeforeLf => line_feed(byte, Place::Before),
            Place::LineLf | Place::ValueLf => line_feed(byte, Place::FieldStart),
            Place::EndLf => line_feed(byte, Place::End),
            Place::End => unreachable!("a scanner is asked for no byte after the end of its section"),
        }
    }

    fn empty_line(&mut self, looked_at: usize) -> Result<Progress, Error> {
        if self.empty_lines == EMPTY_LINES_MAX {
            return Err(Error::EmptyLines);
        }
        self.empty_lines += 1;
        self.len = 0;
        Ok(Progress::EmptyLine(looked_at))
    }

    fn count_field(&mut self) -> Result<(), Error> {
        if self.fields == self.limits.headers_max {
            return Err(Error::TooManyHeaders { headers_max: self.limits.headers_max });
        }
        self.fields += 1;
        Ok(())
    }
}

/// RFC 9110 §9.1: `method = token`.
fn method(byte: u8) -> Result<Place, Error> {
    if is_token(byte) { Ok(Place::Method) } else { Err(control_or(byte, Error::RequestLine)) }
}

/// RFC 9110 §5.1: `field-name = token`.
fn name(byte: u8) -> Result<Place, Error> {
    if is_token(byte) { Ok(Place::Name) } else { Err(control_or(byte, Error::FieldName)) }
}

/// A byte of the request line or of a field value: no control character but the tab, up to the CR.
///
/// RFC 9110 §5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous".
fn text(byte: u8, here: Place, after_cr: Place) -> Result<Place, Error> {
    match byte {
        b'\r' => Ok(after_cr),
        b'\t' => Ok(here),
        0..0x20 | 0x7f => Err(control_or(byte, Error::ControlByte)),
        _ => Ok(here),
    }
}

/// RFC 9112 §2.2: "A recipient of such a bare CR MUST consider that element to be invalid".
fn line_feed(byte: u8, next: Place) -> Result<Place, Error> {
    if byte == b'\n' { Ok(next) } else { Err(Error::BareCr) }
}

/// The fault of a byte that does not belong: what it is, or else what it broke.
fn control_or(byte: u8, otherwise: Error) -> Error {
    match byte {
        // RFC 9112 §2.2 lets a recipient take a lone LF as the end of a line; two that differ in whether they
        // do are how requests are smuggled.
        b'\n' => Error::BareLf,
        b'\r' => otherwise,
        0..0x20 | 0x7f => Error::ControlByte,
        _ => otherwise,
    }
}

/// RFC 9110 §5.6.2: `tchar`.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Scanner {
        Scanner::head(Limits::default())
    }

    #[test]
    fn a_head_is_found_line_by_line() {
        let mut scanner = head();
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        assert_eq!(scanner.scan(bytes), Ok(Progress::EmptyLine(2)));
        assert_eq!(scanner.scan(&bytes[2..]), Ok(Progress::RequestLine(16)));
        assert_eq!(scanner.scan(&bytes[18..]), Ok(Progress::Complete(11)));
        assert_eq!(scanner.fields(), 1);
    }

    #[test]
    fn a_head_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
        let bytes = b"GET / HTTP/1.1\r\n\r\n";
        for (len_max, complete) in [(bytes.len(), true), (bytes.len() - 1, false)] {
            let mut scanner = Scanner::head(Limits { head_len_max: len_max, headers_max: 0 });
            assert_eq!(scanner.scan(bytes), Ok(Progress::RequestLine(16)));
            let expected =
                if complete { Ok(Progress::Complete(2)) } else { Err(Error::HeadTooLong { len_max }) };
            assert_eq!(scanner.scan(&bytes[16..]), expected);
        }
    }

    #[test]
    fn a_fault_is_told_at_its_own_byte() {
        let faults: &[(&[u8], Error)] = &[
            (b"\x16", Error::Tls),
            (b"\n", Error::BareLf),
            (b"\0", Error::ControlByte),
            (b" ", Error::RequestLine),
            (b"\rG", Error::BareCr),
            (b"GET\r", Error::RequestLine),
            (b"G\xc3", Error::RequestLine),
            (b"GET /\n", Error::BareLf),
            (b"GET /\r\r", Error::BareCr),
            (b"GET /\x1b", Error::ControlByte),
        ];
        for (bytes, error) in faults {
            assert_eq!(head().scan(bytes), Err(*error), "{bytes:?}");
            assert!(head().scan(&bytes[..bytes.len() - 1]).is_ok(), "{bytes:?}");
        }
    }

    #[test]
    fn a_fault_in_the_fields_is_told_at_its_own_byte() {
        let faults: &[(&[u8], Error)] = &[
            (b" ", Error::Fold),
            (b"\t", Error::Fold),
            (b":", Error::FieldName),
            (b"Host\r", Error::FieldName),
            (b"Host\n", Error::BareLf),
            (b"Host ", Error::SpaceBeforeColon),
            (b"Host\t", Error::SpaceBeforeColon),
            (b"H\xe9", Error::FieldName),
            (b"H\0", Error::ControlByte),
            (b"Host: a\0", Error::ControlByte),
            (b"Host: a\x7f", Error::ControlByte),
            (b"Host: a\n", Error::BareLf),
            (b"Host: a\rb", Error::BareCr),
            (b"Host: a\r\n ", Error::Fold),
            (b"\ra", Error::BareCr),
        ];
        for (bytes, error) in faults {
            let mut scanner = Scanner::trailers(Limits::default());
            assert_eq!(scanner.scan(bytes), Err(*error), "{bytes:?}");
            let mut scanner = Scanner::trailers(Limits::default());
            assert_eq!(scanner.scan(&bytes[..bytes.len() - 1]), Ok(Progress::More), "{bytes:?}");
        }
    }

    #[test]
    fn five_empty_lines_are_too_many() {
        let mut scanner = head();
        for _ in 0..4 {
            assert_eq!(scanner.scan(b"\r\n"), Ok(Progress::EmptyLine(2)));
        }
        assert_eq!(scanner.scan(b"\r\n"), Err(Error::EmptyLines));
    }

    #[test]
    fn the_field_over_the_limit_is_refused_at_its_first_byte() {
        let mut scanner = Scanner::trailers(Limits { head_len_max: 100, headers_max: 1 });
        assert_eq!(scanner.scan(b"a: 1\r\n"), Ok(Progress::More));
        assert_eq!(scanner.scan(b"b"), Err(Error::TooManyHeaders { headers_max: 1 }));
    }
}
