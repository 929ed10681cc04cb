//! `RequestReader` over whole inputs, over any cut of them, and against the parser of `request_model`.
//!
//! May be refused: what breaks a rule of RFC 9112, disagrees about where a body ends, or is over a limit;
//! with one of the statuses below. All of it must be.
//!
//! Input: which limits (1 byte), where to cut (see `input::cuts`), then what the client sends. The body of
//! every POST is wanted, and every other that is announced.

use arbitrary::Unstructured;
use fanfare::http::{Error, Event, Limits, Request, RequestReader};

use super::input::{cuts, pick, pieces, up_to};
use super::request_model::{End, Expected, Head, Rules, Said, expected};

/// Longer inputs are not read byte by byte.
const BY_BYTE_LEN_MAX: usize = 512;

const STATUSES: [u16; 7] = [400, 411, 413, 417, 431, 501, 505];

const RULES: [Rules; 5] = [
    Rules { head_len_max: 16 * 1024, headers_max: 64, body_len_max: 1 << 20 },
    Rules { head_len_max: 16 * 1024, headers_max: 64, body_len_max: 16 },
    Rules { head_len_max: 64, headers_max: 4, body_len_max: 64 },
    Rules { head_len_max: 200, headers_max: 2, body_len_max: 0 },
    Rules { head_len_max: 16 * 1024, headers_max: 64, body_len_max: u64::MAX },
];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let rules = pick(&mut input, &RULES);
    let sizes = cuts(&mut input);
    let bytes = up_to(&mut input, usize::MAX);

    let whole = see(rules, &[bytes]);
    assert_eq!(see(rules, &pieces(bytes, sizes)), whole, "in pieces of {sizes:?}");
    if bytes.len() <= BY_BYTE_LEN_MAX {
        assert_eq!(see(rules, &bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    }
    check_model(&whole, &expected(rules, bytes));
}

/// All that a server sees of a connection.
#[derive(Debug, PartialEq)]
struct Seen {
    events: Vec<Event>,
    error: Option<Error>,
    is_idle: bool,
    buffered: usize,
    rest: Vec<u8>,
}

fn see(rules: Rules, pieces: &[&[u8]]) -> Seen {
    let limits = Limits { head_len_max: rules.head_len_max, headers_max: rules.headers_max };
    let mut reader = RequestReader::new(limits);
    let (mut events, mut error) = (Vec::new(), None);
    for piece in pieces {
        reader.receive(piece);
        while error.is_none() {
            match reader.poll() {
                Ok(Some(event)) => {
                    error = want_body(&mut reader, &event, rules).err();
                    events.push(event);
                }
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!(reader.poll(), Err(fault), "a fault is for good");
                    error = Some(fault);
                }
            }
        }
        let held_len_max = rules.body_len_max.max(rules.head_len_max as u64);
        assert!(error.is_some() || reader.buffered() as u64 <= held_len_max, "{} held", reader.buffered());
    }
    let (is_idle, buffered) = (reader.is_idle(), reader.buffered());
    Seen { events, error, is_idle, buffered, rest: reader.take_rest() }
}

fn want_body(reader: &mut RequestReader, event: &Event, rules: Rules) -> Result<(), Error> {
    match event {
        Event::Head(request) if rules.wants_body(request.method(), request.has_body()) => {
            reader.read_body(rules.body_len_max)
        }
        Event::Head(_) | Event::Body(_) => Ok(()),
    }
}

fn check_model(seen: &Seen, expected: &Expected) {
    assert_eq!(seen.events.len(), expected.said.len(), "{seen:?} is not {expected:?}");
    for (event, said) in seen.events.iter().zip(&expected.said) {
        match (event, said) {
            (Event::Head(request), Said::Head(head)) => check_head(request, head),
            (Event::Body(body), Said::Body(expected)) => assert_eq!(body, expected),
            (event, said) => panic!("{event:?} is not {said:?}"),
        }
    }
    match (&expected.end, seen.error) {
        (End::Between, None) => assert!(seen.is_idle && seen.buffered == 0),
        (End::Cut, None) => assert!(!seen.is_idle),
        (End::Refused(_) | End::Cut, Some(error)) => {
            assert!(STATUSES.contains(&error.status().code()), "{error:?}");
        }
        (End::Refused(rule), None) => panic!("taken, but breaks a rule: {rule}"),
        (End::Between, Some(error)) => panic!("refused with {error:?}, but breaks no rule"),
    }
}

fn check_head(request: &Request, head: &Head) {
    assert_eq!(request.method(), head.method);
    assert_eq!(request.target(), head.target);
    assert_eq!(request.minor_version(), head.minor_version);
    assert!(request.path().starts_with('/') || (request.path(), request.method()) == ("*", "OPTIONS"));
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    assert_eq!(format!("{}{query}", request.path()), request.target());
    for (name, first) in &head.fields {
        let values: Vec<&[u8]> = request.headers(name).collect();
        let expected = head.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        assert_eq!(values, expected.map(|(_, value)| &value[..]).collect::<Vec<_>>(), "{name}");
        assert_eq!(request.header(&name.to_ascii_uppercase()), values.first().copied());
        assert!(!first.iter().any(|byte| b"\r\n\0".contains(byte)), "{name} would split a response");
    }
}
