//! The payload of a Close frame, read and written: a code, and a reason cut to fit.
//!
//! Which codes exist is `close_code`; when a Close frame is sent, and what the connection is after it, `protocol`.

use super::close_code::CloseCode;
use super::error::Error;
use super::frame::{CONTROL_PAYLOAD_LEN_MAX, FrameHeader, Opcode};
use super::utf8::Utf8Validator;

/// The most bytes of reason that fit a Close frame: a control frame's 125 less two of code (RFC 6455 §5.5.1).
pub const REASON_LEN_MAX: usize = CONTROL_PAYLOAD_LEN_MAX - 2;

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
        let code = received(*code)?;
        // RFC 6455 §5.5.1: "the body MAY contain UTF-8-encoded data"; §8.1 says what is done if it is not
        // UTF-8.
        let reason = str::from_utf8(reason).map_err(|_| Error::ReasonNotUtf8)?;
        Ok(Some(CloseFrame { code, reason: reason.to_owned() }))
    }

    /// Refuses the beginning of a payload that no rest could make valid.
    pub(super) fn check_start(start: &[u8]) -> Result<(), Error> {
        let Some((code, reason)) = start.split_first_chunk() else { return Ok(()) };
        received(*code)?;
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
    out.extend_from_slice(&code.as_u16().to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

fn received(bytes: [u8; 2]) -> Result<CloseCode, Error> {
    let number = u16::from_be_bytes(bytes);
    // RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame".
    CloseCode::new(number).ok_or(Error::CloseCodeNotAllowed(number))
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
}
