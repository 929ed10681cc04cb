//! The faults of a peer, and what it is told: one variant a fault, one `match` from fault to close code.
//!
//! Every fault here is the peer's. Faults of the server are assertions, and a connection that closes as it should is an
//! event. Each fault is detected in the file that reads the bytes in question.

use std::fmt;

use super::close_code::CloseCode;

/// A fault of the peer. The connection cannot go on after it (RFC 6455 §7.1.7, "Fail the WebSocket
/// Connection").
///
/// `Display` is the reason of the Close frame that the peer gets: at most [`REASON_LEN_MAX`] bytes, for a
/// person.
///
/// [`REASON_LEN_MAX`]: super::REASON_LEN_MAX
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// RSV1, RSV2 or RSV3 is set, and no extension gives it a meaning (§5.2).
    ReservedBits,
    /// The opcode is one of 0x3-0x7 and 0xB-0xF (§5.2).
    ReservedOpcode(u8),
    /// The mask bit is clear in a client's frame (§5.1).
    Unmasked,
    /// The payload length is written in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// The top bit of a 64-bit payload length is set (§5.2).
    LengthTopBit,
    /// A control frame declares more than 125 bytes (§5.5).
    ControlTooLong,
    /// A control frame has FIN clear (§5.5).
    ControlFragmented,
    /// A continuation frame, and no message to continue (§5.4).
    ContinuationWithoutStart,
    /// A text or binary frame before the message under way has ended (§5.4).
    MessageInsideMessage,
    /// The payload of a Close frame is one byte: half a close code (§5.5.1).
    CloseOfOneByte,
    /// The close code is none that an endpoint may send (§7.4).
    CloseCodeNotAllowed(u16),
    /// The reason of a Close frame is not UTF-8 (§5.5.1, §8.1).
    ReasonNotUtf8,
    /// A text message is not UTF-8 (§5.6, §8.1).
    TextNotUtf8,
    /// A compressed message is no DEFLATE (RFC 7692 §7.2.2).
    NotDeflate,
    /// All frames of the message together would pass the limit (§7.4.1, 1009).
    TooBig {
        /// The limit in bytes.
        limit: u64,
    },
    /// A message on a connection that may only listen (§7.4.1, 1008).
    MessageRefused,
}

impl Error {
    /// The code of the Close frame that answers the fault: the one place that decides it.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Error::ReservedBits
            | Error::ReservedOpcode(_)
            | Error::Unmasked
            | Error::LengthNotMinimal
            | Error::LengthTopBit
            | Error::ControlTooLong
            | Error::ControlFragmented
            | Error::ContinuationWithoutStart
            | Error::MessageInsideMessage
            | Error::CloseOfOneByte
            | Error::CloseCodeNotAllowed(_) => CloseCode::PROTOCOL_ERROR,
            Error::ReasonNotUtf8 | Error::TextNotUtf8 | Error::NotDeflate => CloseCode::INVALID_PAYLOAD,
            Error::TooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            Error::MessageRefused => CloseCode::POLICY_VIOLATION,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::ReservedBits => f.write_str("a reserved bit (RSV1-3) is set, but no extension uses it"),
            Error::ReservedOpcode(bits) => write!(f, "opcode 0x{bits:X} is reserved"),
            Error::Unmasked => f.write_str("a client must mask its frames"),
            Error::LengthNotMinimal => f.write_str("the payload length is not in its shortest form"),
            Error::LengthTopBit => f.write_str("the top bit of the 64-bit payload length is set"),
            Error::ControlTooLong => f.write_str("a control frame's payload is at most 125 bytes"),
            Error::ControlFragmented => f.write_str("a control frame must not be fragmented"),
            Error::ContinuationWithoutStart => {
                f.write_str("a continuation frame without a message to continue")
            }
            Error::MessageInsideMessage => {
                f.write_str("a new message before the last fragment of the one before")
            }
            Error::CloseOfOneByte => {
                f.write_str("a close payload is empty, or a code of two bytes and a reason")
            }
            Error::CloseCodeNotAllowed(code) => write!(f, "close code {code} must not be sent"),
            Error::ReasonNotUtf8 => f.write_str("the close reason is not valid UTF-8"),
            Error::TextNotUtf8 => f.write_str("the text message is not valid UTF-8"),
            Error::NotDeflate => f.write_str("the compressed message is not valid DEFLATE"),
            Error::TooBig { limit } => write!(f, "the message is over the limit of {limit} bytes"),
            Error::MessageRefused => f.write_str("publishing to this channel is not open to this connection"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::super::close::REASON_LEN_MAX;
    use super::*;

    /// One value a variant, the longest there is of each, with the code that the RFC names for it.
    const FAULTS: [(Error, CloseCode); 16] = [
        (Error::ReservedBits, CloseCode::PROTOCOL_ERROR),
        (Error::ReservedOpcode(0xF), CloseCode::PROTOCOL_ERROR),
        (Error::Unmasked, CloseCode::PROTOCOL_ERROR),
        (Error::LengthNotMinimal, CloseCode::PROTOCOL_ERROR),
        (Error::LengthTopBit, CloseCode::PROTOCOL_ERROR),
        (Error::ControlTooLong, CloseCode::PROTOCOL_ERROR),
        (Error::ControlFragmented, CloseCode::PROTOCOL_ERROR),
        (Error::ContinuationWithoutStart, CloseCode::PROTOCOL_ERROR),
        (Error::MessageInsideMessage, CloseCode::PROTOCOL_ERROR),
        (Error::CloseOfOneByte, CloseCode::PROTOCOL_ERROR),
        (Error::CloseCodeNotAllowed(u16::MAX), CloseCode::PROTOCOL_ERROR),
        (Error::ReasonNotUtf8, CloseCode::INVALID_PAYLOAD),
        (Error::TextNotUtf8, CloseCode::INVALID_PAYLOAD),
        (Error::NotDeflate, CloseCode::INVALID_PAYLOAD),
        (Error::TooBig { limit: u64::MAX }, CloseCode::MESSAGE_TOO_BIG),
        (Error::MessageRefused, CloseCode::POLICY_VIOLATION),
    ];

    #[test]
    fn every_fault_has_the_close_code_that_the_rfc_names() {
        for (error, code) in FAULTS {
            assert_eq!(error.close_code(), code, "{error:?}");
        }
    }

    #[test]
    fn every_fault_is_told_in_words_that_fit_a_close_frame_uncut() {
        for (error, _) in FAULTS {
            let reason = error.to_string();
            assert!(!reason.is_empty() && reason.len() <= REASON_LEN_MAX, "{error:?}: {reason:?}");
        }
    }

    #[test]
    fn an_error_is_no_larger_than_its_limit_and_a_tag() {
        assert_eq!(size_of::<Error>(), 16);
    }
}
