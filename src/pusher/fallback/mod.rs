//! The HTTP transports of pusher-js, for clients whose WebSocket is blocked: their frames, and what clients post.
//!
//! A frame is a line, whose first byte is its type. Paths are in `path`; which request carries a session, and how
//! much it may carry, is in `session`. No request is read here.
//!
//! ```text
//!  | hhhh…h LF | o{} LF | a["…"] LF | a["…"] LF | h LF | c[4200,"…"] LF |
//!    prelude     open     message     message    heartbeat  close
//! ```

pub mod path;
pub mod session;

use std::fmt;
use std::io::Write;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

/// The first frame of a session: it is open.
pub const OPEN: &[u8] = b"o{}\n";

/// A sign of life. A client with a stream posts one of its own for each, so it is never the answer to that.
pub const HEARTBEAT: &[u8] = b"h\n";

/// The answer to a client's sign of life: no messages.
pub const NO_MESSAGES: &[u8] = b"a[]\n";

/// The first line of a stream. Some browsers hand nothing to the page before they have 2 KiB.
pub const PRELUDE: [u8; PRELUDE_LEN] = {
    let mut prelude = [b'h'; PRELUDE_LEN];
    prelude[PRELUDE_LEN - 1] = b'\n';
    prelude
};

const PRELUDE_LEN: usize = 2049;

/// The most messages of one post. pusher-js posts one; each takes some 100 bytes of memory until all are processed.
pub const MESSAGES_MAX: usize = 1000;

/// The close code for a request that is not needed, since another one carries the session.
pub const ANOTHER_IS_OPEN: u16 = 2010;

/// Appends the frame of one message: `a["…"]` and a line feed, all of it ASCII, so that its bytes are as many as the
/// UTF-16 units that the client counts.
pub fn message(out: &mut Vec<u8>, message: &str) {
    out.extend_from_slice(b"a[");
    push_ascii(out, message);
    out.extend_from_slice(b"]\n");
}

/// Appends the frame that closes a session: `c[code,"reason"]`.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    write!(out, "c[{code},").expect("a vector takes every write");
    push_ascii(out, reason);
    out.extend_from_slice(b"]\n");
}

/// Appends a text as a JSON string of ASCII characters.
fn push_ascii(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            ' '..='~' => out.push(character as u8),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a vector takes every write");
                }
            }
        }
    }
    out.push(b'"');
}

/// The messages that a client posts; none are a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted(pub Vec<String>);

impl Posted {
    /// Reads the body of a post: a JSON array of strings.
    ///
    /// # Errors
    /// It is not that, or has more than [`MESSAGES_MAX`] messages.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidPost> {
        serde_json::from_slice(body).map_err(|error| InvalidPost(error.to_string()))
    }
}

impl<'de> Deserialize<'de> for Posted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Messages)
    }
}

struct Messages;

impl<'de> Visitor<'de> for Messages {
    type Value = Posted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages as strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Posted, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = elements.next_element()? {
            if messages.len() == MESSAGES_MAX {
                return Err(A::Error::custom(format_args!("more than {MESSAGES_MAX} messages")));
            }
            messages.push(message);
        }
        Ok(Posted(messages))
    }
}

/// A post that is no array of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPost(String);

impl fmt::Display for InvalidPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is not a JSON array of messages as strings: {}", self.0)
    }
}

impl std::error::Error for InvalidPost {}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_is_a_line_of_ascii_that_parses_to_the_same_text() {
        for text in ["{\"a\":\"b\\n\"}", "é \u{1f600} \u{7f} \n", ""] {
            let line = line(|out| message(out, text));
            assert!(line.is_ascii() && line.ends_with("]\n") && line.matches('\n').count() == 1);
            assert_eq!(serde_json::from_str::<[String; 1]>(&line[1..]).unwrap(), [text]);
        }
    }

    #[test]
    fn the_client_counts_as_many_units_as_there_are_bytes() {
        for text in ["é", "\u{1f600}", "\u{2028}", "日本"] {
            let line = line(|out| message(out, text));
            assert_eq!(line.encode_utf16().count(), line.len());
        }
        assert_eq!(line(|out| message(out, "\u{1f600}")), "a[\"\\ud83d\\ude00\"]\n");
    }

    #[test]
    fn a_close_frame_has_the_code_and_the_reason() {
        assert_eq!(
            line(|out| close(out, ANOTHER_IS_OPEN, "Another connection still open")),
            "c[2010,\"Another connection still open\"]\n"
        );
        assert_eq!(line(|out| close(out, 4001, "\"é\"\n")), "c[4001,\"\\\"\\u00e9\\\"\\u000a\"]\n");
    }

    #[test]
    fn the_prelude_is_one_line_of_heartbeats_longer_than_2_kib() {
        assert_eq!(PRELUDE.iter().position(|&byte| byte != b'h'), Some(2048));
        assert_eq!(PRELUDE[2048..], *b"\n");
    }

    #[test]
    fn a_post_is_an_array_of_messages_and_an_empty_one_is_a_sign_of_life() {
        let posted = |body: &str| Posted::parse(body.as_bytes()).map(|Posted(messages)| messages);
        assert_eq!(posted("[]"), Ok(vec![]));
        assert_eq!(
            posted(r#"["{\"event\":\"pusher:ping\"}"]"#),
            Ok(vec![r#"{"event":"pusher:ping"}"#.into()])
        );
        assert_eq!(posted(" [ \"a\" , \"\\ud83d\\ude00\" ] "), Ok(vec!["a".into(), "\u{1f600}".into()]));
    }

    #[test]
    fn a_post_that_is_anything_else_is_refused_with_the_reason() {
        for body in ["", "\"a\"", "{}", "[1]", "[\"a\"", "[\"a\"]x", "[[\"a\"]]", "[\"\\ud800\"]", "null"] {
            let error = Posted::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(
                error.starts_with("the body is not a JSON array of messages as strings: "),
                "{body}: {error}"
            );
        }
        assert!(Posted::parse(b"[\"\xff\"]").is_err());
    }

    #[test]
    fn a_post_has_a_bounded_number_of_messages() {
        let body = |count: usize| format!("[{}]", vec!["\"\""; count].join(","));
        assert_eq!(Posted::parse(body(MESSAGES_MAX).as_bytes()).unwrap().0.len(), MESSAGES_MAX);
        let error = Posted::parse(body(MESSAGES_MAX + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 1000 messages"), "{error}");
    }
}
