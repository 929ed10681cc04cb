//! Event streams: the WHATWG event stream format, and the chunks that carry it (RFC 9112 §7.1).
//!
//! What the events say is not known here, nor when a heartbeat is due.
//!
//! ```text
//!   head      HTTP/1.1 200 OK … Transfer-Encoding: chunked
//!   chunk     1e CRLF | id: beef-7 LF data: hello LF LF | CRLF
//!   …
//!   the end   0 CRLF CRLF
//! ```
//!
//! One event is one chunk: an intermediary that passes chunks on passes events on.

use super::line::{line, status_line};
use super::response::{Framing, connection_fields};
use super::status::Status;

/// The media type, as an `Accept` field and `Content-Type` name it.
pub const EVENT_STREAM: &str = "text/event-stream";

/// The last chunk of a body: RFC 9112 §7.1, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// One event. Fields that are `None` are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamEvent<'a> {
    /// How long a client waits before it reconnects, in milliseconds.
    pub retry_ms: Option<u64>,
    /// What the client sends as `Last-Event-ID` when it reconnects. Without data, it is only remembered.
    pub id: Option<&'a str>,
    /// The event's name; a client calls it `message` if there is none. No line breaks.
    pub name: Option<&'a str>,
    /// The lines. CR, LF and CRLF each end one, and each arrives as LF: the format knows no other.
    pub data: Option<&'a [u8]>,
}

/// Appends the head of a response that is an event stream to `out`.
pub fn encode_stream_head(out: &mut Vec<u8>, framing: Framing) {
    status_line(out, Status::OK);
    line(out, &["Date: ", framing.date]);
    line(out, &["Content-Type: ", EVENT_STREAM]);
    line(out, &["Cache-Control: no-store"]);
    // nginx hands on what it gets at once only if the answer says so.
    line(out, &["X-Accel-Buffering: no"]);
    line(out, &["Transfer-Encoding: chunked"]);
    connection_fields(out, framing, "");
    out.extend_from_slice(b"\r\n");
}

/// Appends one event as one chunk.
pub fn encode_event(out: &mut Vec<u8>, event: &StreamEvent<'_>) {
    chunk(out, |block| {
        if let Some(retry_ms) = event.retry_ms {
            field(block, "retry", retry_ms.to_string().as_bytes());
        }
        if let Some(id) = event.id {
            field(block, "id", id.as_bytes());
        }
        if let Some(name) = event.name {
            field(block, "event", name.as_bytes());
        }
        for line in event.data.into_iter().flat_map(lines) {
            field(block, "data", line);
        }
        block.push(b'\n');
    });
}

/// Appends a comment as one chunk. Clients ignore it; intermediaries see that the connection is in use.
pub fn encode_comment(out: &mut Vec<u8>, comment: &str) {
    debug_assert!(!comment.contains(['\r', '\n']), "a comment is one line");
    chunk(out, |block| {
        block.push(b':');
        block.extend_from_slice(comment.as_bytes());
        block.extend_from_slice(b"\n\n");
    });
}

fn field(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    debug_assert!(!value.iter().any(|byte| b"\r\n".contains(byte)), "a field is one line");
    block.extend_from_slice(name.as_bytes());
    // The format removes one space after the colon, so a space that the value begins with is kept.
    block.extend_from_slice(b": ");
    block.extend_from_slice(value);
    block.push(b'\n');
}

fn chunk(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut block = Vec::new();
    write(&mut block);
    line(out, &[&format!("{:x}", block.len())]);
    out.extend_from_slice(&block);
    out.extend_from_slice(b"\r\n");
}

/// The lines of a text, as the event stream format ends them: by CRLF, LF or CR. No bytes are one empty line.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.iter().position(|byte| b"\r\n".contains(byte)) else {
            rest = None;
            return Some(text);
        };
        let len = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&text[end + len..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(event: &StreamEvent<'_>) -> String {
        let mut out = Vec::new();
        encode_event(&mut out, event);
        String::from_utf8(out).unwrap()
    }

    fn data(data: &[u8]) -> String {
        encoded(&StreamEvent { data: Some(data), ..StreamEvent::default() })
    }

    #[test]
    fn an_event_is_one_chunk_that_ends_in_an_empty_line() {
        let event = StreamEvent {
            id: Some("beef-7"),
            name: Some("tick"),
            data: Some(b"hi"),
            ..StreamEvent::default()
        };
        assert_eq!(encoded(&event), "21\r\nid: beef-7\nevent: tick\ndata: hi\n\n\r\n");
    }

    #[test]
    fn an_identifier_without_data_is_only_remembered_and_the_pause_is_in_milliseconds() {
        let event = StreamEvent { retry_ms: Some(2000), id: Some("a-0"), ..StreamEvent::default() };
        assert_eq!(encoded(&event), "15\r\nretry: 2000\nid: a-0\n\n\r\n");
    }

    #[test]
    fn every_line_end_begins_a_new_data_line() {
        assert_eq!(data(b"a\nb"), "11\r\ndata: a\ndata: b\n\n\r\n");
        assert_eq!(data(b"a\rb"), data(b"a\nb"));
        assert_eq!(data(b"a\r\nb"), data(b"a\nb"));
        assert_eq!(data(b"a\n\r\n\r"), "1e\r\ndata: a\ndata: \ndata: \ndata: \n\n\r\n");
    }

    #[test]
    fn no_bytes_are_one_empty_line_and_leading_spaces_are_kept() {
        assert_eq!(data(b""), "8\r\ndata: \n\n\r\n");
        assert_eq!(data(b"  a"), "b\r\ndata:   a\n\n\r\n");
    }

    #[test]
    fn a_payload_cannot_forge_a_field_or_an_event() {
        let forged = data(b"x\n\nevent: forged\nid: 1");
        assert_eq!(forged.matches("\n\n").count(), 1);
        assert!(forged.lines().all(|line| !line.starts_with("event") && !line.starts_with("id")), "{forged}");
    }

    #[test]
    fn a_comment_is_one_chunk() {
        let mut out = Vec::new();
        encode_comment(&mut out, "");
        assert_eq!(out, b"3\r\n:\n\n\r\n");
    }

    #[test]
    fn a_stream_has_no_length_and_is_not_stored_nor_held_back() {
        let mut out = Vec::new();
        let framing = Framing {
            date: "now",
            keep_alive: true,
            head_only: false,
            allow_origin: Some("*"),
            allows_credentials: false,
            varies_by_origin: false,
            hsts_s: None,
        };
        encode_stream_head(&mut out, framing);
        let head = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Type: text/event-stream\r\n\
                    Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\
                    Access-Control-Allow-Origin: *\r\n\
                    Access-Control-Expose-Headers: Idempotent-Replayed, Retry-After\r\n\
                    Connection: keep-alive\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), head);
    }
}
