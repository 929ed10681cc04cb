//! Publications as Redis keeps them, against a reading of the same bytes by hand: any bytes are refused, or they are what the
//! reading says and are written again as they were.
//!
//! Input: form (1 byte), and the rest. Form modulo 4: 0, the rest is what is stored; 1, a record, which the script has put its
//! version and the time before; 2, a message of a channel in Redis; 3, what is kept under an idempotency key.

use arbitrary::Unstructured;
use fanfare::hub::ChannelName;
use fanfare::server::bare_records::{BadStored, Known, Stored, pushed, read, record};

use super::input::byte;

/// What the script puts before a record: its version, and Redis's time.
const BEFORE: &[u8] = b"11700000000123";

/// The name of this node.
const NODE: &str = "n1";

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let form = byte(&mut input);
    let rest = input.take_rest();
    match form % 4 {
        0 => check_stored(rest),
        1 => check_stored(&[BEFORE, rest].concat()),
        2 => check_message(rest),
        _ => check_known(rest),
    }
}

fn check_stored(bytes: &[u8]) {
    let channel = ChannelName::new("a").expect("it is a name");
    let found = read(bytes, &channel, NODE);
    assert_eq!(read(bytes, &channel, NODE), found, "it does not depend on anything else");
    let expected = by_hand(bytes);
    match found {
        Ok(Stored { at_ms, draft }) => {
            let expected = expected.unwrap_or_else(|| panic!("{draft:?} of {bytes:?}"));
            assert_eq!((at_ms, draft.event_name()), (expected.at_ms, expected.event));
            assert_eq!((draft.channel_name(), draft.payload()), (&channel, expected.payload));
            assert_eq!(draft.as_text().is_some(), expected.is_text);
            let again = [&bytes[..14], &record(&draft, NODE)].concat();
            assert_eq!(read(&again, &channel, NODE), Ok(Stored { at_ms, draft }), "there and back");
            // Who is excluded on another node is not known any more.
            assert!(again == bytes || !expected.is_canonical && again.len() <= bytes.len() + SOCKET_LEN_MAX);
        }
        Err(error) => {
            assert!(expected.is_none(), "{error} of {bytes:?}");
            check_sentence(error);
        }
    }
}

/// The longest identifier of a connection, which one that no connection can have is written as.
const SOCKET_LEN_MAX: usize = 41;

/// What a publication says, read in the order of the bytes.
struct ByHand<'a> {
    at_ms: u64,
    event: Option<&'a str>,
    payload: &'a [u8],
    is_text: bool,
    /// Whether there is one way only to write it, and this node knows all of it.
    is_canonical: bool,
}

fn by_hand(bytes: &[u8]) -> Option<ByHand<'_>> {
    let time = bytes.get(1..14)?;
    let (kinds, mut rest) = (*bytes.get(15)?, bytes.get(16..)?);
    if bytes[0] != b'1' || bytes[14] != 1 || kinds >= 128 || !time.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let at_ms = str::from_utf8(time).ok()?.parse().ok()?;
    let (content, source, excluded) = (kinds % 4, kinds / 8 % 4, kinds / 32 % 4);
    let event = if kinds / 4 % 2 == 1 { Some(take_text(&mut rest)?) } else { None };
    if event.is_some_and(|event| !is_event_name(event, source == 3)) || content == 3 || excluded == 3 {
        return None;
    }
    if source == 2 {
        take_text(&mut rest)?;
    }
    if source == 1 || source == 2 {
        is_socket_id(take_text(&mut rest)?).then_some(())?;
    }
    let is_canonical = match excluded {
        1 => {
            let node = take_text(&mut rest)?;
            take(&mut rest, 16)?;
            node == NODE
        }
        2 => {
            let socket_id = take_text(&mut rest)?;
            is_socket_id(socket_id).then_some(())?;
            is_number(socket_id, 0, 1 << 53) && is_number(socket_id, 1, 10_000_000_000)
        }
        _ => true,
    };
    let is_text = content < 2;
    (!is_text || str::from_utf8(rest).is_ok()).then_some(())?;
    Some(ByHand { at_ms, event, payload: rest, is_text, is_canonical })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = (rest.get(..len)?, rest.get(len..)?);
    *rest = after;
    Some(taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = take(rest, 4)?.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
    str::from_utf8(take(rest, len)?).ok()
}

fn is_event_name(name: &str, is_protocol: bool) -> bool {
    let is_reserved = ["fanfare:", "pusher:", "pusher_internal:"].iter().any(|&own| name.starts_with(own));
    (1..=200).contains(&name.chars().count())
        && !name.contains(char::is_control)
        && (is_protocol || !is_reserved)
}

fn is_socket_id(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let is_digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 2 && parts.iter().all(is_digits)
}

/// Whether this half of the identifier is a number below `end`, as numbers are written.
fn is_number(socket_id: &str, half: usize, end: u64) -> bool {
    let text = socket_id.split('.').nth(half).unwrap_or_default();
    text.parse::<u64>().is_ok_and(|number| number < end && number.to_string() == text)
}

fn check_message(bytes: &[u8]) {
    match pushed(bytes) {
        Ok(message) => {
            let again = [message.id.to_string().as_bytes(), b" ", &message.stored].concat();
            assert_eq!(again, bytes);
            check_stored(&message.stored);
        }
        Err(error) => {
            assert_eq!(error, BadStored::Id);
            let id = bytes.split(|&byte| byte == b' ').next().filter(|id| id.len() < bytes.len());
            let id = id.and_then(|id| str::from_utf8(id).ok());
            assert!(id.is_none_or(|id| id.parse::<fanfare::hub::PublicationId>().is_err()), "{id:?} is one");
            check_sentence(error);
        }
    }
}

fn check_known(bytes: &[u8]) {
    match Known::read(bytes) {
        Ok(Known { fingerprint, id, nodes }) => {
            assert_eq!([format!("{fingerprint} {id} ").as_bytes(), nodes].concat(), bytes);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A sentence is one line.
fn check_sentence(error: BadStored) {
    let sentence = error.to_string();
    assert!(!sentence.is_empty() && !sentence.chars().any(char::is_control), "{sentence:?}");
}
