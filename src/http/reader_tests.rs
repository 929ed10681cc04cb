//! Requests in every cut: whole, split in two at each place, and byte by byte, with the same outcome.

use proptest::prelude::*;

use super::*;
use crate::http::Status;

const BODY_LEN_MAX: u64 = 32;

/// All that a caller can see of a connection.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Event>,
    error: Option<Error>,
    is_idle: bool,
    rest: Vec<u8>,
}

/// Reads every body that is announced, as a server would that answers at once.
fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Outcome {
    let mut reader = RequestReader::new(limits);
    let mut events = Vec::new();
    let mut error = None;
    for piece in pieces {
        reader.receive(piece);
        while error.is_none() {
            match reader.poll() {
                Ok(Some(event)) => {
                    if matches!(&event, Event::Head(request) if request.has_body()) {
                        error = reader.read_body(BODY_LEN_MAX).err();
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!(reader.poll(), Err(fault), "a fault is for good");
                    error = Some(fault);
                }
            }
        }
    }
    Outcome { events, error, is_idle: reader.is_idle(), rest: reader.take_rest() }
}

fn outcome_in_every_cut(bytes: &[u8], limits: Limits) -> Outcome {
    let whole = outcome([bytes], limits);
    assert_eq!(whole, outcome(bytes.chunks(1), limits), "byte by byte: {}", bytes.escape_ascii());
    for at in 1..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(whole, outcome([left, right], limits), "cut at {at}: {}", bytes.escape_ascii());
    }
    whole
}

/// Each event as a short text: method and target of a head, a body as it is.
fn accepted(bytes: &[u8]) -> Vec<String> {
    let outcome = outcome_in_every_cut(bytes, Limits::default());
    assert_eq!(outcome.error, None, "{}", bytes.escape_ascii());
    assert!(outcome.is_idle, "{}", bytes.escape_ascii());
    let text = |event: &Event| match event {
        Event::Head(request) => format!("{} {}", request.method(), request.target()),
        Event::Body(body) => body.escape_ascii().to_string(),
    };
    outcome.events.iter().map(text).collect()
}

fn refused(bytes: &[u8]) -> Error {
    let outcome = outcome_in_every_cut(bytes, Limits::default());
    outcome.error.unwrap_or_else(|| panic!("taken: {}", bytes.escape_ascii()))
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: b\r\n{fields}\r\n\r\n{body}").into_bytes()
}

#[test]
fn requests_are_read_in_any_cut() {
    let inputs: &[(&[u8], &[&str])] = &[
        (b"", &[]),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /"]),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", &["GET /"]),
        (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", &["GET /"]),
        (b"GET / HTTP/1.0\r\n\r\n", &["GET /"]),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", &["GET /"]),
        (b"m-search /?q=\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n", &["m-search /?q=\u{fc}"]),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &["OPTIONS *"]),
        (b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /b"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\t\"~\r\n\r\n", &["GET /"]),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &["POST /", "hello"]),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &["POST /"]),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x\r\n!\r\n0\r\nA: b\r\n\r\n",
            &["POST /", "hi!"],
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", &["POST /", ""]),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
            &["POST /", "x"],
        ),
    ];
    for (bytes, events) in inputs {
        assert_eq!(accepted(bytes), *events, "{}", bytes.escape_ascii());
    }
}

#[test]
fn pipelined_requests_come_out_one_by_one() {
    let bytes = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\r\n\
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
        GET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(accepted(bytes), ["GET /1", "POST /2", "one", "POST /3", "two", "GET /4"]);
}

#[test]
fn a_malformed_head_is_refused() {
    let inputs: &[(&[u8], Error)] = &[
        (b"\x16\x03\x01\x02\x00\x01\x00", Error::Tls),
        (b"\r\n\r\n\r\n\r\n\r\n", Error::EmptyLines),
        (b"\n", Error::BareLf),
        (b"GET /\r\n", Error::RequestLine),
        (b"GET  / HTTP/1.1\r\n", Error::RequestLine),
        (b"GET /  HTTP/1.1\r\n", Error::RequestLine),
        (b"GET / a HTTP/2.0\r\n", Error::RequestLine),
        (b"GET / HTTP/1.1 \r\n", Error::RequestLine),
        (b"GET\t/ HTTP/1.1\r\n", Error::ControlByte),
        (b"GET /a b HTTP/1.1\r\n", Error::RequestLine),
        (b"GET / http/1.1\r\n", Error::RequestLine),
        (b"GET / HTTP/1.10\r\n", Error::RequestLine),
        (b"GET /\xff HTTP/1.1\r\n", Error::RequestLine),
        (b"G(T / HTTP/1.1\r\n", Error::RequestLine),
        (b"GET / HTTP/1.1\n", Error::BareLf),
        (b"GET / HTTP/1.1\rHost", Error::BareCr),
        (b"GET /\0 HTTP/1.1\r\n", Error::ControlByte),
        (b"GET a HTTP/1.1\r\n", Error::Target),
        (b"GET * HTTP/1.1\r\n", Error::Target),
        (b"GET /#a HTTP/1.1\r\n", Error::Target),
        (b"CONNECT a:443 HTTP/1.1\r\n", Error::Target),
        (b"GET / HTTP/1.1\r\n Host: a\r\n", Error::Fold),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n", Error::Fold),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n", Error::Fold),
        (b"GET / HTTP/1.1\r\nHost : a\r\n", Error::SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\nHost\r\n", Error::FieldName),
        (b"GET / HTTP/1.1\r\nHo(st: a\r\n", Error::FieldName),
        (b"GET / HTTP/1.1\r\n: a\r\n", Error::FieldName),
        (b"GET / HTTP/1.1\r\nHost: a\0\r\n", Error::ControlByte),
        (b"GET / HTTP/1.1\r\nHost: a\x01\r\n", Error::ControlByte),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Error::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", Error::BareCr),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Error::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\rX", Error::BareCr),
    ];
    for (bytes, error) in inputs {
        assert_eq!(refused(bytes), *error, "{}", bytes.escape_ascii());
        assert_eq!(error.status(), Status::BAD_REQUEST);
    }
}

#[test]
fn another_http_version_is_refused_at_its_line() {
    for line in ["GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/1.2", "PRI * HTTP/2.0", "GET / HTTP/2"] {
        let error = refused(format!("{line}\r\n").as_bytes());
        assert_eq!(error, Error::Version, "{line}");
        assert_eq!(error.status(), Status::HTTP_VERSION_NOT_SUPPORTED);
    }
}

#[test]
fn http_1_1_has_one_host() {
    for (fields, error) in [
        ("A: b", Error::HostMissing),
        ("Host: a\r\nHost: a", Error::HostRepeated),
        ("Host: a\r\nhost: b", Error::HostRepeated),
        ("Host: a b", Error::HostInvalid),
        ("Host: a/b", Error::HostInvalid),
        ("Host: a, b", Error::HostInvalid),
        ("Host: u@a", Error::HostInvalid),
    ] {
        assert_eq!(refused(format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()), error, "{fields}");
    }
    assert_eq!(refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Error::HostRepeated);
}

#[test]
fn framing_that_two_servers_could_read_differently_is_refused() {
    for (fields, error) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Error::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Error::LengthAndCoding),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", Error::LengthAndCoding),
        ("Content-Length: 5\r\nContent-Length: 5", Error::LengthRepeated),
        ("Content-Length: 5\r\ncontent-length: 6", Error::LengthRepeated),
        ("Content-Length: 5, 5", Error::LengthInvalid),
        ("Content-Length: +5", Error::LengthInvalid),
        ("Content-Length: -5", Error::LengthInvalid),
        ("Content-Length: 0x5", Error::LengthInvalid),
        ("Content-Length: 5 5", Error::LengthInvalid),
        ("Content-Length: 5;", Error::LengthInvalid),
        ("Content-Length:", Error::LengthInvalid),
        ("Content-Length: 18446744073709551616", Error::LengthInvalid),
        ("Content-Length : 5", Error::SpaceBeforeColon),
        ("Content-Length\u{a0}: 5", Error::FieldName),
        ("Transfer-Encoding : chunked", Error::SpaceBeforeColon),
        ("Transfer-Encoding\t: chunked", Error::SpaceBeforeColon),
        (" Transfer-Encoding: chunked", Error::Fold),
        ("X: y\r\n Transfer-Encoding: chunked", Error::Fold),
        ("Transfer-Encoding:\r\n chunked", Error::Fold),
        ("Transfer-Encoding: \x0bchunked", Error::ControlByte),
        ("X: y\nTransfer-Encoding: chunked", Error::BareLf),
        ("X: y\rTransfer-Encoding: chunked", Error::BareCr),
    ] {
        let error_seen = refused(&post(fields, "0\r\n\r\n"));
        assert_eq!(error_seen, error, "{fields:?}");
        assert_eq!(error.status(), Status::BAD_REQUEST);
    }
}

#[test]
fn a_transfer_coding_other_than_chunked_alone_is_not_implemented() {
    for coding in [
        "xchunked",
        "chunked, identity",
        "chunked, chunked",
        "gzip, chunked",
        "identity",
        "chunked;a=b",
        "\"chunked\"",
        ",chunked",
        "",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: x",
    ] {
        let error = refused(&post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n"));
        assert_eq!(error, Error::CodingUnknown, "{coding:?}");
        assert_eq!(error.status(), Status::NOT_IMPLEMENTED);
    }
}

#[test]
fn chunked_in_http_1_0_is_refused() {
    assert_eq!(
        refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Error::CodingInOldVersion
    );
}

#[test]
fn a_malformed_chunked_body_is_refused_in_any_cut() {
    for (body, error) in [
        ("5\nhello\r\n", Error::BareLf),
        ("5\r\nhello\n0\r\n", Error::ChunkEnd),
        ("5\r\nhello0\r\n", Error::ChunkEnd),
        ("0x5\r\nhello\r\n", Error::ChunkSize),
        ("+5\r\nhello\r\n", Error::ChunkSize),
        ("5 \r\nhello\r\n", Error::ChunkSize),
        ("00000000000000005\r\nhello\r\n", Error::ChunkSize),
        ("FFFFFFFFFFFFFFFFF\r\n", Error::BodyTooLarge { len_max: BODY_LEN_MAX }),
        ("5\r\nhello\r\n1c\r\n", Error::BodyTooLarge { len_max: BODY_LEN_MAX }),
        ("0\r\nTransfer-Encoding : x\r\n\r\n", Error::SpaceBeforeColon),
    ] {
        assert_eq!(refused(&post("Transfer-Encoding: chunked", body)), error, "{body:?}");
    }
}

#[test]
fn an_expectation_other_than_continue_fails() {
    for expect in ["200-ok", "100-continue, x", "100-continue=1"] {
        let error = refused(&post(&format!("Expect: {expect}"), ""));
        assert_eq!((error, error.status()), (Error::Expectation, Status::EXPECTATION_FAILED), "{expect}");
    }
}

#[test]
fn a_head_over_the_limits_is_refused_in_any_cut() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let limits = |head_len_max, headers_max| Limits { head_len_max, headers_max };
    assert_eq!(outcome_in_every_cut(bytes, limits(bytes.len(), 2)).error, None);
    let too_long = outcome_in_every_cut(bytes, limits(bytes.len() - 1, 2)).error.unwrap();
    assert_eq!(too_long, Error::HeadTooLong { len_max: bytes.len() - 1 });
    let too_many = outcome_in_every_cut(bytes, limits(bytes.len(), 1)).error.unwrap();
    assert_eq!(too_many, Error::TooManyHeaders { headers_max: 1 });
    for error in [too_long, too_many] {
        assert_eq!(error.status(), Status::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
}

#[test]
fn an_endless_request_line_is_refused_at_the_limit() {
    let bytes = [b"GET /".to_vec(), vec![b'a'; 20_000]].concat();
    assert_eq!(outcome([&bytes[..16_384]], Limits::default()).error, None);
    let outcome = outcome(bytes.chunks(1), Limits::default());
    assert_eq!(outcome.error, Some(Error::HeadTooLong { len_max: 16_384 }));
    assert_eq!(outcome.rest, b"", "nothing is kept after a fault");
}

fn reader_with(bytes: &[u8]) -> (RequestReader, Request) {
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(bytes);
    match reader.poll() {
        Ok(Some(Event::Head(request))) => (reader, request),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_the_body_comes() {
    let (mut reader, _) = reader_with(&post("Content-Length: 11", ""));
    let error = reader.read_body(10).unwrap_err();
    assert_eq!((error, error.status()), (Error::BodyTooLarge { len_max: 10 }, Status::CONTENT_TOO_LARGE));
}

#[test]
fn a_body_of_exactly_the_limit_is_taken() {
    let (mut reader, _) = reader_with(&post("Content-Length: 5", "hello"));
    assert_eq!(reader.read_body(5), Ok(()));
    assert_eq!(reader.poll(), Ok(Some(Event::Body(b"hello".to_vec()))));
}

#[test]
fn a_body_that_is_wanted_and_not_announced_needs_a_length() {
    let (mut reader, request) = reader_with(&post("A: b", ""));
    assert!(!request.has_body());
    let error = reader.read_body(10).unwrap_err();
    assert_eq!((error, error.status()), (Error::LengthRequired, Status::LENGTH_REQUIRED));
    assert!(reader.is_idle(), "the connection can go on");
}

#[test]
fn a_length_of_zero_is_an_empty_body() {
    let (mut reader, _) = reader_with(&post("Content-Length: 0", "GET /2 HTTP/1.0\r\n\r\n"));
    assert_eq!(reader.read_body(0), Ok(()));
    assert_eq!(reader.poll(), Ok(Some(Event::Body(vec![]))));
    assert!(matches!(reader.poll(), Ok(Some(Event::Head(request))) if request.target() == "/2"));
}

#[test]
fn an_announced_body_that_is_not_read_ends_the_requests() {
    let (mut reader, _) = reader_with(&post("Content-Length: 18", "GET / HTTP/1.0\r\n\r\n"));
    assert_eq!(reader.poll(), Ok(None));
    reader.receive(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(reader.poll(), Ok(None));
    assert!(!reader.is_idle());
}

#[test]
#[should_panic(expected = "read_body belongs between")]
fn reading_a_body_before_any_head_is_a_bug() {
    let _ = RequestReader::new(Limits::default()).read_body(1);
}

#[test]
fn a_reader_is_idle_only_between_requests() {
    let mut reader = RequestReader::new(Limits::default());
    assert!(reader.is_idle());
    for &byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r" {
        reader.receive(&[byte]);
        assert_eq!(reader.poll(), Ok(None));
        assert!(!reader.is_idle());
    }
    reader.receive(b"\n");
    assert!(matches!(reader.poll(), Ok(Some(Event::Head(_)))));
    assert!(reader.is_idle());
    reader.receive(b"\r");
    assert_eq!(reader.poll(), Ok(None));
    assert!(!reader.is_idle());
    reader.receive(b"\n");
    assert_eq!(reader.poll(), Ok(None));
    assert!(reader.is_idle());
}

#[test]
fn an_idle_reader_owns_no_memory() {
    let (mut reader, _) = reader_with(b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(reader.buffered(), 18);
    assert!(matches!(reader.poll(), Ok(Some(Event::Head(_)))));
    assert_eq!(reader.poll(), Ok(None));
    assert_eq!((reader.buffered(), reader.buffer.capacity()), (0, 0));
}

#[test]
fn the_rest_of_a_body_goes_to_its_place_and_what_follows_it_waits() {
    for (head, rest, next) in [
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n", "abcdef", "GET "),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            "6\r\nabcdef\r\n0\r\n\r\n",
            "GET ",
        ),
    ] {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(head.as_bytes());
        assert!(matches!(reader.poll(), Ok(Some(Event::Head(_)))));
        reader.read_body(BODY_LEN_MAX).unwrap();
        reader.receive(&rest.as_bytes()[..4]);
        assert_eq!(reader.buffer.capacity(), 0);
        reader.receive(&rest.as_bytes()[4..]);
        assert_eq!(reader.buffer.capacity(), 0);
        reader.receive(next.as_bytes());
        assert_eq!(reader.poll(), Ok(Some(Event::Body(b"abcdef".to_vec()))));
        assert_eq!(reader.take_rest(), next.as_bytes());
    }
}

#[test]
fn the_decoded_part_of_a_body_counts_as_buffered() {
    let (mut reader, _) = reader_with(&post("Content-Length: 5", "hel"));
    assert_eq!(reader.buffered(), 3);
    reader.read_body(5).unwrap();
    assert_eq!(reader.poll(), Ok(None));
    assert_eq!(reader.buffered(), 3);
}

#[test]
fn ten_thousand_pipelined_requests_are_read_from_one_buffer() {
    let bytes = b"GET / HTTP/1.0\r\n\r\n".repeat(10_000);
    assert_eq!(outcome([&bytes[..]], Limits::default()).events.len(), 10_000);
}

/// A request that may be right or not, put together from parts that each may be right or not.
fn request() -> impl Strategy<Value = Vec<u8>> {
    const LINES: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST /a?b HTTP/1.1\r\nHost: a\r\n",
        b"POST http://a HTTP/1.0\r\n",
        b"\r\nGET /c HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/2.0\r\n",
    ];
    const FIELDS: [&[u8]; 6] = [
        b"",
        b"A: b\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"Host: b\r\n",
        b"C : d\r\n",
    ];
    const BODIES: [&[u8]; 7] = [
        b"\r\n",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 99\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nA: b\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n17\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    ];
    (prop::sample::select(&LINES[..]), prop::sample::select(&FIELDS[..]), prop::sample::select(&BODIES[..]))
        .prop_map(|(line, field, body)| [line, field, body].concat())
}

/// Some requests, of whose bytes none or a few were changed.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![prop::sample::select(&b"\r\n \t:;05\0a"[..]), any::<u8>()];
    let changes =
        prop_oneof![Just(vec![]), prop::collection::vec((any::<prop::sample::Index>(), byte), 1..3),];
    (prop::collection::vec(request(), 1..4), changes).prop_map(|(requests, changes)| {
        let mut bytes = requests.concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn same_in_any_cut(bytes: &[u8], cuts: &[usize], limits: Limits) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
    assert_eq!(outcome([bytes], limits), outcome(pieces, limits));
}

proptest! {
    #[test]
    fn requests_mean_the_same_in_any_cut(
        bytes in requests(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        same_in_any_cut(&bytes, &cuts, Limits::default());
    }

    #[test]
    fn requests_mean_the_same_in_any_cut_under_any_limits(
        bytes in requests(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
        head_len_max in 0..100usize,
        headers_max in 0..4usize,
    ) {
        same_in_any_cut(&bytes, &cuts, Limits { head_len_max, headers_max });
    }

    #[test]
    fn arbitrary_bytes_mean_the_same_in_any_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        same_in_any_cut(&bytes, &cuts, Limits::default());
    }

    /// The scanner and httparse must not disagree on where a head ends or what its first word is.
    #[test]
    fn httparse_takes_every_head_that_we_take(bytes in requests()) {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(&bytes);
        if let Ok(Some(Event::Head(request))) = reader.poll() {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut parsed = httparse::Request::new(&mut headers);
            let head_len = bytes.len() - reader.take_rest().len();
            prop_assert_eq!(parsed.parse(&bytes), Ok(httparse::Status::Complete(head_len)));
            prop_assert_eq!(parsed.method, Some(request.method()));
        }
    }
}
