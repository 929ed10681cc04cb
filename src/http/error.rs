//! The faults of a peer in HTTP and in the handshake, each with the status and the sentence that it is answered with.
//!
//! Faults of the server are assertions, and not here. Nor is the end of a connection, which is no fault.

use std::fmt;

use super::status::Status;

/// A fault of the peer. [`Error::status`] is what it is answered with, its `Display` the sentence in the
/// body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The first byte is that of a TLS record.
    Tls,
    /// More empty lines than are tolerated before a request.
    EmptyLines,
    /// The request line is not `method SP target SP version`.
    RequestLine,
    /// An HTTP version other than 1.0 and 1.1.
    Version,
    /// A request target that is neither a path nor an absolute URL with one.
    Target,
    /// A request head (or trailer section) of more than `len_max` bytes.
    HeadTooLong {
        /// The limit that was passed.
        len_max: usize,
    },
    /// More than `headers_max` header fields.
    TooManyHeaders {
        /// The limit that was passed.
        headers_max: usize,
    },
    /// A line feed that no carriage return precedes.
    BareLf,
    /// A carriage return that no line feed follows.
    BareCr,
    /// A control character in the head, e.g. NUL.
    ControlByte,
    /// A field line that begins with whitespace.
    Fold,
    /// Whitespace between a field name and its colon.
    SpaceBeforeColon,
    /// A field name that is not a token, or a field line without a colon.
    FieldName,
    /// HTTP/1.1 without a Host field.
    HostMissing,
    /// More than one Host field.
    HostRepeated,
    /// A Host field that is not a host and a port.
    HostInvalid,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndCoding,
    /// More than one Content-Length field.
    LengthRepeated,
    /// A Content-Length that is not a decimal number, or one that 64 bits cannot hold.
    LengthInvalid,
    /// Transfer-Encoding in an HTTP/1.0 request.
    CodingInOldVersion,
    /// A transfer coding other than `chunked` alone.
    CodingUnknown,
    /// A chunk size line that is not one.
    ChunkSize,
    /// A chunk size line longer than `CHUNK_LINE_LEN_MAX`.
    ChunkLineTooLong,
    /// No CRLF where a chunk's data ends.
    ChunkEnd,
    /// No Content-Length and no Transfer-Encoding where a body is wanted.
    LengthRequired,
    /// A body of more than `len_max` bytes.
    BodyTooLarge {
        /// The limit that was passed.
        len_max: u64,
    },
    /// An Expect field that asks for something other than `100-continue`.
    Expectation,
    /// The request was not complete in time. Raised by the caller, which has the clock.
    RequestTimeout,
    /// A request for the handshake that does not ask for an upgrade to WebSocket.
    NotUpgrade,
    /// A handshake by a method other than GET.
    UpgradeMethod,
    /// A handshake in HTTP/1.0.
    UpgradeVersion,
    /// A handshake that announces a body.
    UpgradeBody,
    /// A handshake whose Connection field does not name `Upgrade`.
    UpgradeConnection,
    /// A handshake for a WebSocket version other than 13.
    WebSocketVersion,
    /// A handshake without Sec-WebSocket-Key.
    KeyMissing,
    /// A handshake with more than one Sec-WebSocket-Key.
    KeyRepeated,
    /// A Sec-WebSocket-Key that is not 16 bytes of base64.
    KeyInvalid,
}

impl Error {
    /// The status that answers the fault: the one place that decides it.
    pub fn status(&self) -> Status {
        match self {
            Error::Tls
            | Error::EmptyLines
            | Error::RequestLine
            | Error::Target
            | Error::BareLf
            | Error::BareCr
            | Error::ControlByte
            | Error::Fold
            | Error::SpaceBeforeColon
            | Error::FieldName
            | Error::HostMissing
            | Error::HostRepeated
            | Error::HostInvalid
            | Error::LengthAndCoding
            | Error::LengthRepeated
            | Error::LengthInvalid
            | Error::CodingInOldVersion
            | Error::ChunkSize
            | Error::ChunkLineTooLong
            | Error::ChunkEnd
            | Error::UpgradeMethod
            | Error::UpgradeVersion
            | Error::UpgradeBody
            | Error::UpgradeConnection
            | Error::KeyMissing
            | Error::KeyRepeated
            | Error::KeyInvalid => Status::BAD_REQUEST,
            Error::RequestTimeout => Status::REQUEST_TIMEOUT,
            Error::LengthRequired => Status::LENGTH_REQUIRED,
            Error::BodyTooLarge { .. } => Status::CONTENT_TOO_LARGE,
            Error::Expectation => Status::EXPECTATION_FAILED,
            Error::NotUpgrade | Error::WebSocketVersion => Status::UPGRADE_REQUIRED,
            Error::HeadTooLong { .. } | Error::TooManyHeaders { .. } => {
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Error::CodingUnknown => Status::NOT_IMPLEMENTED,
            Error::Version => Status::HTTP_VERSION_NOT_SUPPORTED,
        }
    }
}

#[rustfmt::skip] // one line a fault
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Tls => "These bytes are TLS, and this port speaks plain HTTP: use http:// or ws://, or put a TLS proxy in front.",
            Error::EmptyLines => "There are too many empty lines before the request.",
            Error::RequestLine => "The request line is malformed: it is a method, a target and a version, with one space between them.",
            Error::Version => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            Error::Target => "The request target is malformed: send a path that begins with '/', without a '#'.",
            Error::HeadTooLong { len_max } => return write!(f, "The request head is longer than {len_max} bytes: send fewer or shorter header fields (cookies, often)."),
            Error::TooManyHeaders { headers_max } => return write!(f, "The request has more than {headers_max} header fields: send fewer."),
            Error::BareLf => "A line feed came without its carriage return: lines end with CR LF.",
            Error::BareCr => "A carriage return came without its line feed: lines end with CR LF.",
            Error::ControlByte => "The request head holds a control character.",
            Error::Fold => "A header line begins with whitespace: folded header fields are obsolete, write each on one line.",
            Error::SpaceBeforeColon => "There is whitespace between a header name and its colon.",
            Error::FieldName => "A header line is malformed: it is a name, a colon and a value.",
            Error::HostMissing => "The Host header is missing, which HTTP/1.1 requires.",
            Error::HostRepeated => "There is more than one Host header.",
            Error::HostInvalid => "The Host header is malformed: it is a host name, and a port where needed.",
            Error::LengthAndCoding => "The request has both Content-Length and Transfer-Encoding: send one of them.",
            Error::LengthRepeated => "There is more than one Content-Length header.",
            Error::LengthInvalid => "The Content-Length is not a decimal number.",
            Error::CodingInOldVersion => "Transfer-Encoding needs HTTP/1.1.",
            Error::CodingUnknown => "The only transfer coding understood here is chunked, once and alone.",
            Error::ChunkSize => "A chunk size is malformed: it is 1 to 16 hex digits.",
            Error::ChunkLineTooLong => "A chunk size line is too long: leave out its extensions.",
            Error::ChunkEnd => "A chunk does not end where its size says.",
            Error::LengthRequired => "The request needs a body: send a Content-Length or Transfer-Encoding: chunked.",
            Error::BodyTooLarge { len_max } => return write!(f, "The request body is longer than {len_max} bytes."),
            Error::Expectation => "The only expectation understood here is 100-continue.",
            Error::RequestTimeout => "The request was not complete in time.",
            Error::NotUpgrade => "This address speaks WebSocket: connect with ws:// or wss:// (the request has no Upgrade: websocket).",
            Error::UpgradeMethod => "A WebSocket handshake is a GET.",
            Error::UpgradeVersion => "A WebSocket handshake needs HTTP/1.1 (is a proxy in between speaking HTTP/1.0?).",
            Error::UpgradeBody => "A WebSocket handshake has no body.",
            Error::UpgradeConnection => "The Connection header does not name Upgrade (does a proxy in between drop it?).",
            Error::WebSocketVersion => "The only WebSocket version spoken here is 13.",
            Error::KeyMissing => "The Sec-WebSocket-Key header is missing.",
            Error::KeyRepeated => "There is more than one Sec-WebSocket-Key header.",
            Error::KeyInvalid => "The Sec-WebSocket-Key is not 16 bytes in base64.",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fits_two_words() {
        assert!(size_of::<Error>() <= 16, "{}", size_of::<Error>());
    }

    #[test]
    fn a_limit_is_named_in_its_sentence() {
        assert!(Error::HeadTooLong { len_max: 16384 }.to_string().contains("16384 bytes"));
        assert!(Error::BodyTooLarge { len_max: 7 }.to_string().contains("7 bytes"));
        assert!(Error::TooManyHeaders { headers_max: 64 }.to_string().contains("64 header fields"));
    }
}
