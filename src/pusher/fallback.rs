//! The HTTP transports of pusher-js, for clients whose WebSocket is blocked: their frames.
//!
//! A frame is a line, whose first byte is its type. No request is read here.

use std::io::Write;

/// Appends the frame of one message: `a["…"]` and a line feed, all of it ASCII, so that its bytes are as many as the
/// UTF-16 units that the client counts.
pub fn message(out: &mut Vec<u8>, message: &str) {
    out.extend_from_slice(b"a[\"");
    for character in message.chars() {
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
    out.extend_from_slice(b"\"]\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_of_ascii_that_parses_to_the_same_text() {
        for text in ["{\"a\":\"b\\n\"}", "é \u{1f600} \u{7f} \n", ""] {
            let mut out = Vec::new();
            message(&mut out, text);
            let line = std::str::from_utf8(&out).unwrap();
            assert!(line.is_ascii() && line.ends_with("]\n") && line.matches('\n').count() == 1);
            assert_eq!(serde_json::from_str::<[String; 1]>(&line[1..]).unwrap(), [text]);
        }
    }
}
