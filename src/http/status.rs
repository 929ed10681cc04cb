//! The status codes that this server sends, each with its reason phrase: a part of the table of RFC 9110 §15.
//!
//! Which fault is answered with which status is not decided here: see `Error::status`.

use std::fmt;

/// A status code and its reason phrase, e.g. `404 Not Found`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status {
    code: u16,
    reason: &'static str,
}

#[rustfmt::skip] // one line a status
#[allow(missing_docs)] // the reason phrase says it
impl Status {
    pub const SWITCHING_PROTOCOLS: Status = Status::new(101, "Switching Protocols");
    pub const OK: Status = Status::new(200, "OK");
    pub const CREATED: Status = Status::new(201, "Created");
    pub const ACCEPTED: Status = Status::new(202, "Accepted");
    pub const NO_CONTENT: Status = Status::new(204, "No Content");
    pub const MOVED_PERMANENTLY: Status = Status::new(301, "Moved Permanently");
    pub const FOUND: Status = Status::new(302, "Found");
    pub const SEE_OTHER: Status = Status::new(303, "See Other");
    pub const TEMPORARY_REDIRECT: Status = Status::new(307, "Temporary Redirect");
    pub const PERMANENT_REDIRECT: Status = Status::new(308, "Permanent Redirect");
    pub const BAD_REQUEST: Status = Status::new(400, "Bad Request");
    pub const UNAUTHORIZED: Status = Status::new(401, "Unauthorized");
    pub const FORBIDDEN: Status = Status::new(403, "Forbidden");
    pub const NOT_FOUND: Status = Status::new(404, "Not Found");
    pub const METHOD_NOT_ALLOWED: Status = Status::new(405, "Method Not Allowed");
    pub const REQUEST_TIMEOUT: Status = Status::new(408, "Request Timeout");
    pub const CONFLICT: Status = Status::new(409, "Conflict");
    pub const GONE: Status = Status::new(410, "Gone");
    pub const LENGTH_REQUIRED: Status = Status::new(411, "Length Required");
    pub const CONTENT_TOO_LARGE: Status = Status::new(413, "Content Too Large");
    pub const EXPECTATION_FAILED: Status = Status::new(417, "Expectation Failed");
    pub const UNPROCESSABLE_CONTENT: Status = Status::new(422, "Unprocessable Content");
    pub const UPGRADE_REQUIRED: Status = Status::new(426, "Upgrade Required");
    pub const TOO_MANY_REQUESTS: Status = Status::new(429, "Too Many Requests");
    pub const REQUEST_HEADER_FIELDS_TOO_LARGE: Status = Status::new(431, "Request Header Fields Too Large");
    pub const INTERNAL_SERVER_ERROR: Status = Status::new(500, "Internal Server Error");
    pub const NOT_IMPLEMENTED: Status = Status::new(501, "Not Implemented");
    pub const SERVICE_UNAVAILABLE: Status = Status::new(503, "Service Unavailable");
    pub const GATEWAY_TIMEOUT: Status = Status::new(504, "Gateway Timeout");
    pub const HTTP_VERSION_NOT_SUPPORTED: Status = Status::new(505, "HTTP Version Not Supported");
}

impl Status {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// The three digits.
    pub fn code(self) -> u16 {
        self.code
    }

    /// The reason phrase.
    pub fn reason(self) -> &'static str {
        self.reason
    }

    /// Whether a response with this status may have content, and so a Content-Length.
    ///
    /// RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status
    /// code of 1xx (Informational) or 204 (No Content)".
    pub fn allows_body(self) -> bool {
        self.code >= 200 && self.code != 204
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_prints_as_on_the_wire() {
        assert_eq!(Status::NOT_FOUND.to_string(), "404 Not Found");
    }

    #[test]
    fn informational_and_no_content_have_no_body() {
        assert!(!Status::SWITCHING_PROTOCOLS.allows_body());
        assert!(!Status::NO_CONTENT.allows_body());
        assert!(Status::OK.allows_body());
    }
}
