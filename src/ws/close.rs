//! Close codes and the payload of a Close frame, read and written.
//!
//! Which codes exist, which of them a peer may send, and how a reason is cut to fit. When a Close frame is
//! sent, and what the connection is after it, is `protocol`.

use std::fmt;

use super::error::Error;
use super::frame::{CONTROL_PAYLOAD_LEN_MAX, FrameHeader, Opcode};
use super::utf8::Utf8Validator;

/// The most bytes of reason that fit a Close frame: a control frame's 125 less two of code (RFC 6455 §5.5.1).
pub const REASON_LEN_MAX: usize = CONTROL_PAYLOAD_LEN_MAX - 2;

/// A close code that an endpoint may send (RFC 6455 §7.4): one of the constants, or 3000-4999.
///
/// The codes that stand for the absence of a Close frame (1005, 1006, 1015) and the undefined ones have no
/// value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

macro_rules! close_codes {
    ($($number:literal $name:ident $sentence:literal)*) => {
        impl CloseCode {
            $(
                #[doc = concat!(stringify!($number), ": ", $sentence, ".")]
                pub const $name: CloseCode = CloseCode($number);
            )*

            /// What the code says.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self.0 {
                    $($number => $sentence,)*
                    _ => "a code of a library or an application",
                }
            }

            const fn is_registered(number: u16) -> bool {
                matches!(number, $($number)|*)
            }
        }
    };
}

// RFC 6455 §7.4.1, and 1012-1014 of the IANA registry that §11.7 opens.
close_codes! {
    1000 NORMAL              "the connection has done what it was for"
    1001 GOING_AWAY          "the endpoint is going away: a server stops, a browser leaves the page"
    1002 PROTOCOL_ERROR      "the peer broke a rule of the protocol"
    1003 UNSUPPORTED_DATA    "the endpoint does not take this kind of data"
    1007 INVALID_PAYLOAD     "the payload is not what its type says: text that is not UTF-8"
    1008 POLICY_VIOLATION    "the message breaks the endpoint's policy"
    1009 MESSAGE_TOO_BIG     "the message is too big to process"
    1010 MANDATORY_EXTENSION "the client needs an extension that the server did not negotiate"
    1011 INTERNAL_ERROR      "the server met a condition that it did not expect"
    1012 SERVICE_RESTART     "the server restarts"
    1013 TRY_AGAIN_LATER     "the server cannot serve this client now"
    1014 BAD_GATEWAY         "a server behind this one gave an invalid answer"
}

impl CloseCode {
    /// The code of that number, if an endpoint may send it.
    #[must_use]
    pub const fn new(number: u16) -> Option<CloseCode> {
        // RFC 6455 §7.4.2: 3000-3999 are "for use by libraries, frameworks, and applications", 4000-4999 "for
        // private use"; 0-999 "are not used", and of 1000-2999 what no document defines has no meaning.
        if CloseCode::is_registered(number) || matches!(number, 3000..=4999) {
            Some(CloseCode(number))
        } else {
            None
        }
    }

    /// A code of 3000-4999, for a constant.
    ///
    /// # Panics
    /// If the number is outside that range.
    #[must_use]
    pub const fn private(number: u16) -> CloseCode {
        assert!(matches!(number, 3000..=4999), "RFC 6455 §7.4.2 leaves 3000-4999 to applications");
        CloseCode(number)
    }

    /// The number, as it is on the wire.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    fn received(bytes: [u8; 2]) -> Result<CloseCode, Error> {
        let number = u16::from_be_bytes(bytes);
        // RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame".
        CloseCode::new(number).ok_or(Error::CloseCodeNotAllowed(number))
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.sentence())
    }
}

/// What a Close frame says, if it says anything (RFC 6455 §5.5.1).
///
/// ```text
///   0       2                     2..=125
///   | code  | reason, UTF-8 ...   |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code.
    pub code: CloseCode,
    /// The reason: for a log line, not for a user (§7.1.6).
    pub reason: String,
}

impl CloseFrame {
    /// Reads a whole payload; `None` is an empty one.
    pub(super) fn parse(payload: &[u8]) -> Result<Option<CloseFrame>, Error> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            // RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned
            // integer (in network byte order) representing a status code".
            return if payload.is_empty() { Ok(None) } else { Err(Error::CloseOfOneByte) };
        };
        let code = CloseCode::received(*code)?;
        // RFC 6455 §5.5.1: "the body MAY contain UTF-8-encoded data"; §8.1 says what is done if it is not
        // UTF-8.
        let reason = str::from_utf8(reason).map_err(|_| Error::ReasonNotUtf8)?;
        Ok(Some(CloseFrame { code, reason: reason.to_owned() }))
    }

    /// Refuses the beginning of a payload that no rest could make valid.
    pub(super) fn check_start(start: &[u8]) -> Result<(), Error> {
        let Some((code, reason)) = start.split_first_chunk() else { return Ok(()) };
        CloseCode::received(*code)?;
        Utf8Validator::default().push(reason).map_err(|_| Error::ReasonNotUtf8)
    }
}

/// Appends a Close frame. A reason over [`REASON_LEN_MAX`] is cut at the last character that fits.
pub fn encode_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let mut end = reason.len().min(REASON_LEN_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let payload_len = 2 + end as u64;
    FrameHeader { fin: true, is_compressed: false, opcode: Opcode::Close, mask: None, payload_len }
        .encode(out);
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that the frame is what `encode_close` writes and that its payload reads back as what was
    /// written.
    fn assert_close(frame: &[u8], number: u16, reason: &str) {
        let code = CloseCode::new(number).unwrap();
        let mut out = Vec::new();
        encode_close(&mut out, code, reason);
        assert_eq!(out, frame);
        assert_eq!(CloseFrame::parse(&frame[2..]), Ok(Some(CloseFrame { code, reason: reason.to_owned() })));
    }

    #[test]
    fn a_close_is_a_code_and_a_reason() {
        assert_close(b"\x88\x02\x03\xe8", 1000, "");
        assert_close(b"\x88\x05\x03\xeabad", 1002, "bad");
        assert_close(b"\x88\x04\x10\x04\xc3\xa9", 4100, "\u{e9}");
    }

    #[test]
    fn an_empty_close_says_nothing() {
        assert_eq!(CloseFrame::parse(b""), Ok(None));
    }

    #[test]
    fn half_a_code_is_refused() {
        assert_eq!(CloseFrame::parse(b"\x03"), Err(Error::CloseOfOneByte));
    }

    #[test]
    fn exactly_the_codes_that_a_peer_may_send_are_taken() {
        for number in 0..=u16::MAX {
            let may_send = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
            let parsed =
                CloseFrame::parse(&number.to_be_bytes()).map(|frame| frame.map(|frame| frame.code.as_u16()));
            let expected = if may_send { Ok(Some(number)) } else { Err(Error::CloseCodeNotAllowed(number)) };
            assert_eq!(parsed, expected);
        }
    }

    #[test]
    fn a_reason_that_is_not_utf8_is_refused_at_its_first_bad_byte() {
        let payload = b"\x03\xe8ab\xce\xbaz\xed\xa0\x80";
        assert_eq!(CloseFrame::parse(payload), Err(Error::ReasonNotUtf8));
        for end in 0..=payload.len() {
            let expected = if end < 9 { Ok(()) } else { Err(Error::ReasonNotUtf8) };
            assert_eq!(CloseFrame::check_start(&payload[..end]), expected, "{end} bytes");
        }
    }

    #[test]
    fn a_reason_that_ends_inside_a_character_is_refused() {
        assert_eq!(CloseFrame::parse(b"\x03\xe8\xce"), Err(Error::ReasonNotUtf8));
    }

    #[test]
    fn a_reason_is_cut_to_123_bytes_at_a_character() {
        let fits = "x".repeat(REASON_LEN_MAX);
        let cut = |reason: &str| {
            let mut out = Vec::new();
            encode_close(&mut out, CloseCode::NORMAL, reason);
            assert_eq!(usize::from(out[1]), out.len() - 2);
            CloseFrame::parse(&out[2..]).unwrap().unwrap().reason
        };
        assert_eq!(cut(&fits), fits);
        assert_eq!(cut(&format!("{fits}x")), fits);
        assert_eq!(cut(&format!("{}\u{20ac}", &fits[..121])), fits[..121]);
        assert_eq!(cut(&format!("{}\u{20ac}", &fits[..120])), format!("{}\u{20ac}", &fits[..120]));
    }

    #[test]
    fn a_code_is_printed_with_its_sentence() {
        assert_eq!(CloseCode::SERVICE_RESTART.to_string(), "1012: the server restarts");
        assert_eq!(CloseCode::private(4100).to_string(), "4100: a code of a library or an application");
    }

    #[test]
    #[should_panic(expected = "leaves 3000-4999 to applications")]
    fn a_private_code_outside_its_range_is_our_mistake() {
        let _ = CloseCode::private(2999);
    }
}
