//! The lines of a head as HTTP/1.1 writes them, each ended by CRLF.
//!
//! Which lines a head has is not known here.

use super::status::Status;

/// Appends the first line of a response: RFC 9112 §4.
pub(super) fn status_line(out: &mut Vec<u8>, status: Status) {
    line(out, &["HTTP/1.1 ", &status.code().to_string(), " ", status.reason()]);
}

/// Appends the parts and a CRLF.
pub(super) fn line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
