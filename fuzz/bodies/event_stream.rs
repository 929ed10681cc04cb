//! `encode_event` against a client written from the WHATWG's text: what is dispatched is what was said.
//!
//! Nothing may be refused. A payload's CR, LF and CRLF all arrive as LF, which is all that the format can say;
//! nothing else of it may be lost, and nothing of it may become a field, an event or a chunk.
//!
//! Input: events until it is used up. Each: flags (1 byte: 1, it has an identifier; 2, a name; 4, data; 8, it is a
//! comment), the length of its text (1 byte), the text.

use arbitrary::Unstructured;
use fanfare::http::{StreamEvent, encode_comment, encode_event};

use super::input::{byte, up_to};

/// What a client dispatches.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dispatched {
    last_id: String,
    name: String,
    data: String,
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let (mut wire, mut expected, mut last_id) = (Vec::new(), Vec::new(), String::new());
    while !input.is_empty() {
        let flags = byte(&mut input);
        let len = usize::from(byte(&mut input));
        let text = String::from_utf8_lossy(up_to(&mut input, len)).into_owned();
        if flags & 8 == 8 {
            encode_comment(&mut wire, &one_line(&text));
            continue;
        }
        let id = (flags & 1 == 1).then(|| format!("{:x}-{len}", expected.len()));
        let name = (flags & 2 == 2).then(|| one_line(&text)).filter(|name| !name.is_empty());
        let data = (flags & 4 == 4).then_some(text.as_bytes());
        if id.is_none() && name.is_none() && data.is_none() {
            continue;
        }
        encode_event(
            &mut wire,
            &StreamEvent { retry_ms: None, id: id.as_deref(), name: name.as_deref(), data },
        );
        last_id = id.unwrap_or(last_id);
        if data.is_some() {
            let name = name.unwrap_or_else(|| "message".into());
            let data = text.replace("\r\n", "\n").replace('\r', "\n");
            expected.push(Dispatched { last_id: last_id.clone(), name, data });
        }
    }
    assert_eq!(dispatched(&dechunked(&wire)), expected);
}

/// What the server takes for a name or a comment: it has no control characters.
fn one_line(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// RFC 9112 §7.1, without extensions.
fn dechunked(wire: &[u8]) -> String {
    let (mut rest, mut content) = (wire, Vec::new());
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a size line ends");
        let size = std::str::from_utf8(&rest[..end]).expect("a size is hexadecimal");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        assert!(size > 0, "nothing ends the stream here");
        content.extend_from_slice(&rest[end + 2..][..size]);
        assert!(content.ends_with(b"\n\n"), "a chunk is whole blocks");
        rest = rest[end + 2 + size..].strip_prefix(b"\r\n").expect("a chunk ends in CRLF");
    }
    String::from_utf8(content).expect("an event stream is UTF-8")
}

/// The WHATWG's 9.2.6, "Interpreting an event stream".
fn dispatched(stream: &str) -> Vec<Dispatched> {
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut last_id, mut name, mut data) =
        (Vec::new(), String::new(), String::new(), String::new());
    for line in lines.lines() {
        if line.is_empty() {
            let (event, text) = (std::mem::take(&mut name), std::mem::take(&mut data));
            if let Some(text) = text.strip_suffix('\n') {
                let name = if event.is_empty() { "message".into() } else { event };
                events.push(Dispatched { last_id: last_id.clone(), name, data: text.into() });
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.into(),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => last_id = value.into(),
            _ => {}
        }
    }
    events
}
