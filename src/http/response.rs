//! Responses: a status, header fields and a body, written out as HTTP/1.1.
//!
//! The 101 of a handshake is `upgrade.rs`; a response without an end is `event_stream.rs`.

use std::fmt::Display;

use super::error::Error;
use super::line::{line, status_line};
use super::status::Status;
use super::upgrade::WEBSOCKET_VERSION;

/// What a client that sent `Expect: 100-continue` is told before its body is read: RFC 9110 §15.2.1.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response that is complete before its first byte is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: Status,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// What the connection, not the handler, says about a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing<'a> {
    /// The time as RFC 9110 §5.6.7 writes it, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub date: &'a str,
    /// Whether the connection serves another request after this one.
    pub keep_alive: bool,
    /// Whether this answers a HEAD: the fields of the GET, without its body.
    pub head_only: bool,
    /// The origin whose pages may read the answer, or `*` for all: the Fetch standard's CORS protocol. `None` if
    /// no page asked.
    pub allow_origin: Option<&'a str>,
    /// Whether that page may read it although it sent its cookies: the Fetch standard, §3.3.4. Not with `*`.
    pub allows_credentials: bool,
    /// Whether pages of another origin, or programs, may be answered otherwise.
    pub varies_by_origin: bool,
    /// For how many seconds browsers are to use nothing but `https://` with this host, over TLS and if it is wanted.
    pub hsts_s: Option<u64>,
}

/// Fields of answers that pages of other origins may read besides those that the Fetch standard lists.
const EXPOSED_FIELDS: &str = "Idempotent-Replayed, Retry-After";

impl Response {
    /// A response without a body.
    pub fn new(status: Status) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A response whose body is one line of text.
    pub fn text(status: Status, sentence: &str) -> Self {
        Self::new(status).body("text/plain; charset=utf-8", format!("{sentence}\n"))
    }

    /// A response whose body is the error as a sentence: the text of an error begins with a small letter and has no full
    /// stop, since it is also used inside longer lines.
    #[doc(hidden)]
    pub fn error(status: Status, error: &dyn Display) -> Self {
        let mut sentence = error.to_string();
        if let Some(first) = sentence.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self::text(status, &format!("{sentence}."))
    }

    /// 200 with a page.
    pub fn html(page: impl Into<String>) -> Self {
        Self::new(Status::OK).body("text/html; charset=utf-8", page.into())
    }

    /// 400: the request is wrong, and the sentence says how.
    pub fn bad_request(sentence: &str) -> Self {
        Self::text(Status::BAD_REQUEST, sentence)
    }

    /// 401: nobody has proved who they are.
    pub fn unauthorized(sentence: &str) -> Self {
        Self::text(Status::UNAUTHORIZED, sentence)
    }

    /// 403: whoever it is may not.
    pub fn forbidden(sentence: &str) -> Self {
        Self::text(Status::FORBIDDEN, sentence)
    }

    /// 404: nothing is here.
    pub fn not_found(sentence: &str) -> Self {
        Self::text(Status::NOT_FOUND, sentence)
    }

    /// A response whose body is JSON.
    pub fn json(status: Status, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status).body("application/json", body)
    }

    /// With one header field more. Content-Length, Date and Connection are not the handler's to set.
    ///
    /// # Panics
    ///
    /// If the value holds CR, LF or NUL: RFC 9110 §5.5. What a peer sent is not put into a header unchecked.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        assert!(
            !value.contains(['\r', '\n', '\0']),
            "the value of {name} would split the response: {value:?}"
        );
        self.headers.push((name, value));
        self
    }

    /// With this body, and the Content-Type that goes with it.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The number of bytes of the body.
    #[doc(hidden)]
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// The body.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Appends the head of a response that ends with the connection, not after a length: RFC 9112 §6.3. The caller appends
    /// the body.
    #[doc(hidden)]
    pub fn encode_endless_head(&self, out: &mut Vec<u8>, framing: Framing) {
        debug_assert!(!framing.keep_alive && self.body.is_empty(), "the body ends with the connection");
        self.head(out, framing);
        connection_fields(out, framing, "");
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the response to `out`.
    #[doc(hidden)]
    pub fn encode(&self, out: &mut Vec<u8>, framing: Framing) {
        self.head(out, framing);
        if self.status.allows_body() {
            line(out, &["Content-Length: ", &self.body.len().to_string()]);
        }
        // RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
        let offers_upgrade = self.headers.iter().any(|(name, _)| *name == "Upgrade");
        connection_fields(out, framing, if offers_upgrade { "Upgrade, " } else { "" });
        out.extend_from_slice(b"\r\n");
        if self.status.allows_body() && !framing.head_only {
            out.extend_from_slice(&self.body);
        }
    }

    /// The status line, and the fields that the handler says and the date.
    fn head(&self, out: &mut Vec<u8>, framing: Framing) {
        status_line(out, self.status);
        // RFC 9110 §6.6.1: "An origin server with a clock MUST generate a Date header field in all 2xx …,
        // 3xx …, and
        // 4xx (Client Error) responses".
        line(out, &["Date: ", framing.date]);
        for (name, value) in &self.headers {
            line(out, &[name, ": ", value]);
        }
    }
}

impl From<&Error> for Response {
    fn from(error: &Error) -> Self {
        let response = Response::text(error.status(), &error.to_string());
        if error.status() != Status::UPGRADE_REQUIRED {
            return response;
        }
        // RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response"; RFC 6455 §4.2.2
        // for the version.
        response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", WEBSOCKET_VERSION)
    }
}

/// Writes what the connection says about a response; `options` are put before its own in the Connection field.
pub(super) fn connection_fields(out: &mut Vec<u8>, framing: Framing, options: &str) {
    if let Some(origin) = framing.allow_origin {
        line(out, &["Access-Control-Allow-Origin: ", origin]);
        line(out, &["Access-Control-Expose-Headers: ", EXPOSED_FIELDS]);
        if framing.allows_credentials {
            line(out, &["Access-Control-Allow-Credentials: true"]);
        }
    }
    // What is sent to one origin, or to none, must not be taken from a cache for another.
    if framing.varies_by_origin {
        line(out, &["Vary: Origin"]);
    }
    // RFC 6797 §7.2: "An HSTS Host MUST NOT include the STS header field in HTTP responses conveyed over non-secure
    // transport."
    if let Some(max_age_s) = framing.hsts_s {
        line(out, &["Strict-Transport-Security: max-age=", &max_age_s.to_string()]);
    }
    // RFC 9112 §9.6 for close; keep-alive is for HTTP/1.0 clients, §9.3.
    line(out, &["Connection: ", options, if framing.keep_alive { "keep-alive" } else { "close" }]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn encoded(response: &Response, keep_alive: bool, head_only: bool) -> String {
        let mut out = Vec::new();
        let framing = Framing {
            date: DATE,
            keep_alive,
            head_only,
            allow_origin: None,
            allows_credentials: false,
            varies_by_origin: false,
            hsts_s: None,
        };
        response.encode(&mut out, framing);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_response_has_date_type_length_and_body() {
        assert_eq!(
            encoded(&Response::text(Status::NOT_FOUND, "No such channel."), true, false),
            "HTTP/1.1 404 Not Found\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 17\r\n\
             Connection: keep-alive\r\n\
             \r\n\
             No such channel.\n"
        );
    }

    #[test]
    fn an_error_is_made_a_sentence_of() {
        let refused = encoded(&Response::error(Status::BAD_REQUEST, &"the name is empty"), true, false);
        assert!(refused.ends_with("\r\n\r\nThe name is empty.\n"), "{refused}");
    }

    #[test]
    fn a_browser_is_told_to_use_tls_alone_where_the_connection_says_so() {
        let mut out = Vec::new();
        let framing = Framing {
            date: DATE,
            keep_alive: true,
            head_only: false,
            allow_origin: None,
            allows_credentials: false,
            varies_by_origin: false,
            hsts_s: Some(300),
        };
        Response::new(Status::OK).encode(&mut out, framing);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nStrict-Transport-Security: max-age=300\r\n"), "{text}");
    }

    #[test]
    fn the_answer_to_head_has_the_length_and_not_the_body() {
        let head = encoded(&Response::json(Status::OK, r#"{"id":1}"#), false, true);
        assert!(
            head.contains("Content-Type: application/json\r\nContent-Length: 8\r\nConnection: close\r\n")
        );
        assert!(head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_response_without_a_body_says_length_zero() {
        assert!(encoded(&Response::new(Status::OK), true, false).contains("Content-Length: 0\r\n"));
    }

    #[test]
    fn the_head_of_a_response_without_an_end_has_no_length_and_closes() {
        let mut out = Vec::new();
        let framing = Framing {
            date: DATE,
            keep_alive: false,
            head_only: false,
            allow_origin: Some("https://shop.example"),
            allows_credentials: false,
            varies_by_origin: true,
            hsts_s: None,
        };
        let response = Response::new(Status::OK).body("text/plain; charset=utf-8", "");
        response.encode_endless_head(&mut out, framing);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 OK\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Access-Control-Allow-Origin: https://shop.example\r\n\
             Access-Control-Expose-Headers: Idempotent-Replayed, Retry-After\r\n\
             Vary: Origin\r\n\
             Connection: close\r\n\
             \r\n"
        );
    }

    #[test]
    fn no_content_says_no_length() {
        assert!(!encoded(&Response::new(Status::NO_CONTENT), true, false).contains("Content-Length"));
    }

    #[test]
    fn a_header_is_written_as_given() {
        let response = Response::new(Status::METHOD_NOT_ALLOWED).header("Allow", "GET, POST");
        assert_eq!(response.status(), Status::METHOD_NOT_ALLOWED);
        assert!(encoded(&response, true, false).contains("\r\nAllow: GET, POST\r\n"));
    }

    #[test]
    #[should_panic(expected = "would split the response")]
    fn a_header_value_with_a_line_break_is_a_bug() {
        let _ = Response::new(Status::OK).header("X-Channel", "a\r\nSet-Cookie: b");
    }

    #[test]
    fn an_error_becomes_its_status_and_its_sentence() {
        let response = encoded(&Response::from(&Error::HostMissing), false, false);
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(response.ends_with("\r\n\r\nThe Host header is missing, which HTTP/1.1 requires.\n"));
        assert!(!response.contains("Upgrade"));
    }

    #[test]
    fn upgrade_required_names_the_protocol_and_the_version() {
        for error in [Error::WebSocketVersion, Error::NotUpgrade] {
            let response = encoded(&Response::from(&error), false, false);
            assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
            assert!(response.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
            assert!(response.contains("\r\nConnection: Upgrade, close\r\n"), "one field: {response}");
        }
    }
}
