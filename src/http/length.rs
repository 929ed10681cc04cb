//! How a request announces where its body ends: Content-Length, chunked, or no body (RFC 9112 §6).
//!
//! Every ambiguity is refused here: if two servers disagree about the length, a request can be smuggled past one of
//! them. Decoding the body is `body.rs`.

use super::error::Error;

/// The end of a body, as announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// No framing field: RFC 9112 §6.3, rule 7: "the message body length is zero (no message body is
    /// present)".
    Unannounced,
    /// Content-Length.
    Known(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

impl BodyLength {
    /// From the values of all Content-Length and all Transfer-Encoding fields of a head, and the minor version of
    /// HTTP/1 that it is in: RFC 9112 §6.3, as strict as it lets a server be.
    pub fn of<'a>(
        mut lengths: impl Iterator<Item = &'a [u8]>,
        mut codings: impl Iterator<Item = &'a [u8]>,
        minor_version: u8,
    ) -> Result<Self, Error> {
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(BodyLength::Unannounced),
            // RFC 9112 §6.1: "A server MAY reject a request that contains both Content-Length and
            // Transfer-Encoding".
            (Some(_), Some(_)) => Err(Error::LengthAndCoding),
            // RFC 9110 §8.6 lets equal values be joined; nothing that we know sends them.
            (Some(_), None) if lengths.next().is_some() => Err(Error::LengthRepeated),
            (Some(length), None) => number(length).map(BodyLength::Known).ok_or(Error::LengthInvalid),
            (None, Some(coding)) => chunked(coding, codings.next().is_some(), minor_version),
        }
    }

    /// Whether a body of at least one byte is announced (or, if chunked, may follow).
    pub fn announces_body(self) -> bool {
        !matches!(self, BodyLength::Unannounced | BodyLength::Known(0))
    }
}

fn chunked(coding: &[u8], repeated: bool, minor_version: u8) -> Result<BodyLength, Error> {
    // RFC 9112 §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding
    // header field MUST treat the message as if the framing is faulty".
    if minor_version == 0 {
        return Err(Error::CodingInOldVersion);
    }
    // RFC 9112 §6.1: "A server that receives a request message with a transfer coding it does not understand
    // SHOULD respond with 501 (Not Implemented)." §7: "All transfer-coding names are case-insensitive".
    if repeated || !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(Error::CodingUnknown);
    }
    Ok(BodyLength::Chunked)
}

/// RFC 9110 §8.6: `Content-Length = 1*DIGIT`; "MUST … prevent parsing errors due to integer conversion
/// overflows".
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"0042"), Some(42));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for refused in ["", "+5", "-5", "0x5", "5 5", "5,5", "5.0", "five", "18446744073709551616", "\u{663}"]
        {
            assert_eq!(number(refused.as_bytes()), None, "{refused}");
        }
    }
}
