//! RFC 6455 §5.4 to §7 in literal bytes, each sequence in every cut.
//!
//! Headers alone are in `frame_tests`. Most frames here have the key 00 00 00 00, so that a payload is
//! legible.

use std::borrow::Cow;

use super::super::frame::encode_masked_frame;
use super::*;

const ACCEPT: Inbound = Inbound::Accept { message_len_max: 1 << 20 };

/// All that can be seen of a connection from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    events: Vec<Event<'static>>,
    error: Option<Error>,
    outbox: Vec<u8>,
    state: State,
}

impl Event<'_> {
    fn into_owned(self) -> Event<'static> {
        match self {
            Event::Message(Message { kind, payload }) => {
                Event::Message(Message { kind, payload: Cow::Owned(payload.into_owned()) })
            }
            Event::Inflating => Event::Inflating,
            Event::Ping => Event::Ping,
            Event::Pong => Event::Pong,
            Event::Close(close) => Event::Close(close),
        }
    }
}

/// A protocol and what has been seen of it.
struct Connection {
    protocol: Protocol,
    seen: Seen,
}

impl Connection {
    fn new(inbound: Inbound) -> Self {
        let seen = Seen { events: Vec::new(), error: None, outbox: Vec::new(), state: State::Open };
        Connection { protocol: Protocol::new(inbound), seen }
    }

    /// Drives the protocol over one read as its type doc says.
    fn read(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match self.protocol.receive(&mut input, &mut self.seen.outbox) {
                Ok(Some(event)) => self.seen.events.push(event.into_owned()),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(self.seen.error.replace(error), None, "a connection fails once");
                    assert_eq!(self.protocol.state(), State::Closed);
                }
            }
        }
        assert!(input.is_empty(), "`Ok(None)` means that all was consumed");
        self.seen.state = self.protocol.state();
    }
}

fn see(inbound: Inbound, reads: &[&[u8]]) -> Seen {
    let mut connection = Connection::new(inbound);
    reads.iter().for_each(|read| connection.read(read));
    connection.seen
}

/// What is seen of the whole, after asserting that every cut in two, and every byte by itself, shows the
/// same.
fn see_in_every_cut(inbound: Inbound, bytes: &[u8]) -> Seen {
    let whole = see(inbound, &[bytes]);
    for cut in 0..=bytes.len() {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(see(inbound, &[front, back]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(see(inbound, &single), whole, "byte by byte");
    whole
}

/// Asserts that an open connection takes the bytes, shows the events, answers with `outbox` and stays open.
fn assert_taken(bytes: &[u8], events: &[Event<'static>], outbox: &[u8]) {
    let seen = see_in_every_cut(ACCEPT, bytes);
    let expected = Seen { events: events.to_vec(), error: None, outbox: outbox.to_vec(), state: State::Open };
    assert_eq!(seen, expected);
}

/// Asserts that the last of the bytes, and none before it, is refused with the error; that the outbox then
/// ends in the Close frame for it; and that what follows is ignored. Returns the events before.
fn assert_refused_by_last_byte(inbound: Inbound, bytes: &[u8], error: Error) -> Vec<Event<'static>> {
    let mut close = Vec::new();
    encode_close(&mut close, error.close_code(), &error.to_string());
    let before = see_in_every_cut(inbound, &bytes[..bytes.len() - 1]);
    assert_eq!((before.error, before.state), (None, State::Open), "too early");
    let after = see_in_every_cut(inbound, &[bytes, b"\x89\x80\0\0\0\0", b"\x81\x81\0\0\0\0x"].concat());
    assert_eq!((after.error, after.state), (Some(error), State::Closed));
    assert_eq!(after.outbox, [before.outbox, close].concat());
    assert_eq!(after.events, before.events);
    after.events
}

fn assert_refused(bytes: &[u8], error: Error) {
    assert_eq!(assert_refused_by_last_byte(ACCEPT, bytes, error), []);
}

fn text(payload: &str) -> Event<'static> {
    let payload = Cow::Owned(payload.as_bytes().to_vec());
    Event::Message(Message { kind: MessageKind::Text, payload })
}

fn binary(payload: &[u8]) -> Event<'static> {
    Event::Message(Message { kind: MessageKind::Binary, payload: Cow::Owned(payload.to_vec()) })
}

fn close(number: u16, reason: &str) -> Event<'static> {
    let code = CloseCode::new(number).unwrap();
    Event::Close(Some(CloseFrame { code, reason: reason.to_owned() }))
}

fn masked_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_masked_frame(&mut frame, fin, opcode, [0x37, 0xfa, 0x21, 0x3d], payload);
    frame
}

// Messages: RFC 6455 §5.4, §5.6, §5.7.

#[test]
fn a_masked_hello_of_section_5_7_is_a_message() {
    assert_taken(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[text("Hello")], b"");
}

#[test]
fn an_unmasked_hello_of_section_5_7_is_refused_from_a_client() {
    assert_refused(b"\x81\x05", Error::Unmasked);
}

#[test]
fn a_hello_in_two_fragments_of_section_5_7_is_one_message() {
    assert_taken(
        b"\x01\x83\x37\xfa\x21\x3d\x7f\x9f\x4d\x80\x82\x37\xfa\x21\x3d\x5b\x95",
        &[text("Hello")],
        b"",
    );
}

#[test]
fn a_masked_pong_of_section_5_7_is_a_sign_of_life_and_not_answered() {
    assert_taken(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[Event::Pong], b"");
}

#[test]
fn a_ping_hello_of_section_5_7_is_answered_with_its_payload() {
    assert_taken(b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[Event::Ping], b"\x8a\x05Hello");
}

#[test]
fn the_256_bytes_of_section_5_7_are_a_message() {
    let bytes = [&b"\x82\xfe\x01\x00\0\0\0\0"[..], &[0xee; 256]].concat();
    assert_taken(&bytes, &[binary(&[0xee; 256])], b"");
}

#[test]
fn the_64_kib_of_section_5_7_are_a_message() {
    let bytes = [&b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\0\0\0\0"[..], &[0xee; 65_536]].concat();
    let whole = see(ACCEPT, &[&bytes]);
    assert_eq!(whole.events, [binary(&[0xee; 65_536])]);
    for cut in [1, 2, 9, 10, 13, 14, 15, 40_000, bytes.len() - 1] {
        assert_eq!(see(ACCEPT, &[&bytes[..cut], &bytes[cut..]]), whole);
    }
}

#[test]
fn an_empty_frame_is_an_empty_message() {
    assert_taken(b"\x81\x80\0\0\0\0\x82\x80\0\0\0\0", &[text(""), binary(b"")], b"");
}

#[test]
fn empty_fragments_add_nothing_to_a_message() {
    assert_taken(
        b"\x01\x80\0\0\0\0\x00\x80\0\0\0\0\x00\x81\0\0\0\0a\x00\x80\0\0\0\0\x80\x80\0\0\0\0",
        &[text("a")],
        b"",
    );
}

#[test]
fn a_message_of_empty_fragments_is_an_empty_message() {
    assert_taken(b"\x02\x80\0\0\0\0\x80\x80\0\0\0\0", &[binary(b"")], b"");
}

#[test]
fn messages_in_one_read_come_out_in_order() {
    assert_taken(
        b"\x81\x81\0\0\0\0a\x82\x81\0\0\0\0b\x81\x81\0\0\0\0c",
        &[text("a"), binary(b"b"), text("c")],
        b"",
    );
}

#[test]
fn control_frames_between_fragments_are_dealt_with_at_once() {
    assert_taken(
        b"\x01\x81\0\0\0\0a\x89\x82\0\0\0\0hi\x00\x81\0\0\0\0b\x8a\x81\0\0\0\0x\x80\x81\0\0\0\0c",
        &[Event::Ping, Event::Pong, text("abc")],
        b"\x8a\x02hi",
    );
}

#[test]
fn a_continuation_without_a_start_is_refused_at_its_header() {
    assert_refused(b"\x80\x81\0\0\0\0", Error::ContinuationWithoutStart);
    assert_refused(b"\x00\x80\0\0\0\0", Error::ContinuationWithoutStart);
}

#[test]
fn a_continuation_after_the_last_fragment_is_refused() {
    let bytes = b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b\x80\x81\0\0\0\0";
    let events = assert_refused_by_last_byte(ACCEPT, bytes, Error::ContinuationWithoutStart);
    assert_eq!(events, [text("ab")]);
}

#[test]
fn a_new_message_inside_a_fragmented_one_is_refused_at_its_header() {
    assert_refused(b"\x01\x81\0\0\0\0a\x81\x81\0\0\0\0", Error::MessageInsideMessage);
    assert_refused(b"\x02\x80\0\0\0\0\x01\x81\0\0\0\0", Error::MessageInsideMessage);
}

#[test]
fn a_fault_of_the_header_ends_the_connection() {
    assert_refused(b"\xc1", Error::ReservedBits);
    assert_refused(b"\x83", Error::ReservedOpcode(3));
    assert_refused(b"\x09", Error::ControlFragmented);
    assert_refused(b"\x89\xfe", Error::ControlTooLong);
    assert_refused(b"\x82\xfe\x00\x7d", Error::LengthNotMinimal);
    assert_refused(b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", Error::LengthTopBit);
}

#[test]
fn what_came_before_a_fault_is_still_delivered_and_answered() {
    let bytes = b"\x81\x81\0\0\0\0a\x89\x81\0\0\0\0p\xff";
    let events = assert_refused_by_last_byte(ACCEPT, bytes, Error::ReservedBits);
    assert_eq!(events, [text("a"), Event::Ping]);
    assert!(see(ACCEPT, &[bytes]).outbox.starts_with(b"\x8a\x01p\x88"));
}

// UTF-8: RFC 6455 §5.6, §8.1.

#[test]
fn a_character_may_be_cut_by_a_fragment_and_by_a_read() {
    assert_taken(b"\x01\x81\0\0\0\0\xce\x80\x83\0\0\0\0\xba\xcf\x8c", &[text("\u{3ba}\u{3cc}")], b"");
}

#[test]
fn bad_utf8_in_the_middle_of_a_frame_is_refused_at_its_first_byte() {
    assert_refused(b"\x81\x8a\0\0\0\0ab\xed\xa0", Error::TextNotUtf8);
    assert_refused(b"\x81\x8a\0\0\0\0ab\xff", Error::TextNotUtf8);
    assert_refused(b"\x81\x8a\0\0\0\0\xf4\x90", Error::TextNotUtf8);
    assert_refused(b"\x81\x8a\x37\xfa\x21\x3d\xf7", Error::TextNotUtf8);
}

#[test]
fn bad_utf8_across_two_fragments_is_refused_at_its_first_byte() {
    assert_refused(b"\x01\x81\0\0\0\0\xce\x00\x85\0\0\0\0a", Error::TextNotUtf8);
}

#[test]
fn a_text_that_ends_inside_a_character_is_refused_at_its_end() {
    assert_refused(b"\x81\x82\0\0\0\0a\xce", Error::TextNotUtf8);
    assert_refused(b"\x01\x81\0\0\0\0\xce\x80\x80\0\0\0\0", Error::TextNotUtf8);
}

#[test]
fn a_binary_message_need_not_be_utf8() {
    assert_taken(b"\x82\x82\0\0\0\0\xff\xfe", &[binary(b"\xff\xfe")], b"");
}

// Limits: RFC 6455 §7.4.1, §10.4.

#[test]
fn a_message_of_exactly_the_limit_is_taken() {
    let seen = see_in_every_cut(Inbound::Accept { message_len_max: 3 }, b"\x81\x83\0\0\0\0abc");
    assert_eq!(seen.events, [text("abc")]);
}

#[test]
fn a_frame_over_the_limit_is_refused_at_its_header() {
    let inbound = Inbound::Accept { message_len_max: 3 };
    let error = Error::TooBig { limit: 3 };
    assert_eq!(assert_refused_by_last_byte(inbound, b"\x81\x84\0\0\0\0", error), []);
    let longest = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    assert_eq!(assert_refused_by_last_byte(inbound, longest, error), []);
}

#[test]
fn the_limit_counts_all_fragments_of_a_message_and_starts_anew_with_the_next() {
    let inbound = Inbound::Accept { message_len_max: 3 };
    let bytes = b"\x81\x83\0\0\0\0abc\x01\x82\0\0\0\0de\x89\x82\0\0\0\0hi\x80\x82\0\0\0\0";
    let events = assert_refused_by_last_byte(inbound, bytes, Error::TooBig { limit: 3 });
    assert_eq!(events, [text("abc"), Event::Ping]);
}

#[test]
fn a_connection_that_may_not_publish_is_told_so_at_the_header() {
    let error = Error::MessageRefused;
    assert_eq!(assert_refused_by_last_byte(Inbound::Refuse, b"\x81\x81\0\0\0\0", error), []);
    assert_eq!(assert_refused_by_last_byte(Inbound::Refuse, b"\x02\x80\0\0\0\0", error), []);
}

#[test]
fn a_connection_that_may_not_publish_may_ping_and_close() {
    let seen = see_in_every_cut(Inbound::Refuse, b"\x89\x80\0\0\0\0\x8a\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8");
    assert_eq!(seen.events, [Event::Ping, Event::Pong, close(1000, "")]);
    assert_eq!(seen.outbox, b"\x8a\x00\x88\x02\x03\xe8");
}

#[test]
fn no_memory_is_reserved_for_bytes_that_a_header_only_declares() {
    let mut connection = Connection::new(Inbound::Accept { message_len_max: u64::MAX });
    connection.read(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0abc");
    let message = connection.protocol.message.as_ref().unwrap();
    assert_eq!(message.payload_len(), Some(3));
    assert_eq!((connection.seen.state, connection.seen.events.len()), (State::Open, 0));
}

#[test]
fn a_message_of_65536_fragments_of_one_byte_is_taken() {
    let mut bytes = masked_frame(false, Opcode::Binary, b"x");
    for _ in 0..65_534 {
        bytes.extend_from_slice(b"\x00\x81\0\0\0\0x");
    }
    bytes.extend_from_slice(b"\x80\x81\0\0\0\0x");
    let expected = [binary(&[b'x'; 65_536])];
    assert_eq!(see(ACCEPT, &[&bytes]).events, expected);
    let reads: Vec<&[u8]> = bytes.chunks(10).collect();
    assert_eq!(see(ACCEPT, &reads).events, expected);
}

// Control frames: RFC 6455 §5.5.

#[test]
fn a_ping_of_125_bytes_is_answered_in_full() {
    let bytes = [&b"\x89\xfd\0\0\0\0"[..], &[b'p'; 125]].concat();
    assert_taken(&bytes, &[Event::Ping], &[&b"\x8a\x7d"[..], &[b'p'; 125]].concat());
}

#[test]
fn pings_are_answered_in_order() {
    assert_taken(
        b"\x89\x81\0\0\0\0a\x89\x80\0\0\0\0\x89\x81\0\0\0\0c",
        &[Event::Ping, Event::Ping, Event::Ping],
        b"\x8a\x01a\x8a\x00\x8a\x01c",
    );
}

#[test]
fn a_flood_of_pings_makes_no_more_than_it_sends_and_one_pong_a_call() {
    let mut bytes = masked_frame(true, Opcode::Ping, &[b'p'; 125]).repeat(10_000);
    let mut input = &mut bytes[..];
    let mut protocol = Protocol::new(ACCEPT);
    let mut outbox = Vec::new();
    for answered in 1..=10_000 {
        assert_eq!(protocol.receive(&mut input, &mut outbox), Ok(Some(Event::Ping)));
        assert_eq!(outbox.len(), answered * 127);
        assert_eq!(input.len(), (10_000 - answered) * 131);
        assert!(protocol.kept.is_none() && protocol.message.is_none());
    }
}

#[test]
fn our_ping_goes_out_unmasked_and_its_pong_is_seen() {
    let mut connection = Connection::new(ACCEPT);
    connection.protocol.ping(b"7", &mut connection.seen.outbox);
    connection.read(b"\x8a\x81\0\0\0\x007");
    assert_eq!((connection.seen.outbox, connection.seen.events), (b"\x89\x017".to_vec(), vec![Event::Pong]));
}

#[test]
#[should_panic(expected = "a control frame is 125 bytes or less")]
fn a_ping_of_126_bytes_is_our_mistake() {
    Protocol::new(ACCEPT).ping(&[0; 126], &mut Vec::new());
}

// Closing: RFC 6455 §5.5.1, §7.

/// Asserts that an open connection is closed by the bytes, ignores what follows, and answers with `outbox`.
fn assert_closed_by(bytes: &[u8], event: Event<'static>, outbox: &[u8]) {
    let seen = see_in_every_cut(ACCEPT, &[bytes, b"\x81\x81\0\0\0\0a\xff"].concat());
    let expected = Seen { events: vec![event], error: None, outbox: outbox.to_vec(), state: State::Closed };
    assert_eq!(seen, expected);
}

#[test]
fn a_close_is_answered_with_its_code_and_what_follows_is_ignored() {
    assert_closed_by(b"\x88\x82\0\0\0\0\x03\xe8", close(1000, ""), b"\x88\x02\x03\xe8");
    assert_closed_by(b"\x88\x85\0\0\0\0\x0f\xa0bye", close(4000, "bye"), b"\x88\x02\x0f\xa0");
}

#[test]
fn an_empty_close_is_answered_with_an_empty_close() {
    assert_closed_by(b"\x88\x80\0\0\0\0", Event::Close(None), b"\x88\x00");
}

#[test]
fn a_close_inside_a_fragmented_message_drops_the_message() {
    assert_closed_by(b"\x01\x81\0\0\0\0a\x88\x80\0\0\0\0", Event::Close(None), b"\x88\x00");
}

#[test]
fn a_close_with_the_longest_reason_is_taken() {
    let bytes = [&b"\x88\xfd\0\0\0\0\x03\xe8"[..], &[b'r'; 123]].concat();
    assert_closed_by(&bytes, close(1000, &"r".repeat(123)), b"\x88\x02\x03\xe8");
}

#[test]
fn a_close_of_one_byte_is_refused() {
    assert_refused(b"\x88\x81\0\0\0\0\x03", Error::CloseOfOneByte);
}

#[test]
fn a_close_code_that_must_not_be_sent_is_refused_at_its_second_byte() {
    for number in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let [high, low] = number.to_be_bytes();
        assert_refused(&[0x88, 0x82, 0, 0, 0, 0, high, low], Error::CloseCodeNotAllowed(number));
        assert_refused(&[0x88, 0x85, 0, 0, 0, 0, high, low], Error::CloseCodeNotAllowed(number));
    }
}

#[test]
fn bad_utf8_in_a_close_reason_is_refused_at_its_first_byte() {
    assert_refused(b"\x88\x8a\0\0\0\0\x03\xe8ok\xc0", Error::ReasonNotUtf8);
    assert_refused(b"\x88\x83\0\0\0\0\x03\xe8\xce", Error::ReasonNotUtf8);
}

/// A connection that has sent its Close frame, with an empty outbox, after reading `bytes`.
fn closing_after(bytes: &[u8]) -> Connection {
    let mut connection = Connection::new(ACCEPT);
    connection.read(bytes);
    connection.seen.outbox.clear();
    connection.protocol.close(CloseCode::GOING_AWAY, "restart", &mut connection.seen.outbox);
    assert_eq!(connection.seen.outbox, b"\x88\x09\x03\xe9restart");
    assert_eq!(connection.protocol.state(), State::Closing);
    connection.seen.outbox.clear();
    connection
}

/// Asserts what a closing connection, whose Close frame went out after `before`, shows of `bytes`, in every
/// cut; it sends nothing more.
fn assert_closing_shows(before: &[u8], bytes: &[u8], events: &[Event<'static>], end: Result<State, Error>) {
    for cut in 0..=bytes.len() {
        let mut connection = closing_after(before);
        connection.read(&bytes[..cut]);
        assert!(connection.protocol.message.is_none(), "a closing connection keeps no message");
        connection.read(&bytes[cut..]);
        let seen = connection.seen;
        let state = end.unwrap_or(State::Closed);
        assert_eq!((&seen.events[..], seen.error, seen.state), (events, end.err(), state), "cut at {cut}");
        assert_eq!(seen.outbox, b"");
    }
}

#[test]
fn our_close_waits_for_the_answer_and_does_not_answer_it() {
    assert_closing_shows(b"", b"\x88\x82\0\0\0\0\x03\xe9", &[close(1001, "")], Ok(State::Closed));
    assert_closing_shows(b"", b"\x88\x80\0\0\0\0", &[Event::Close(None)], Ok(State::Closed));
}

#[test]
fn messages_after_our_close_are_dropped_and_pings_are_not_answered() {
    assert_closing_shows(
        b"",
        b"\x81\x81\0\0\0\0a\x01\x81\0\0\0\0\xff\x89\x80\0\0\0\0\x80\x81\0\0\0\0b\x8a\x80\0\0\0\0",
        &[Event::Ping, Event::Pong],
        Ok(State::Closing),
    );
}

#[test]
fn our_close_in_the_middle_of_a_frame_drops_the_rest_of_it() {
    let answer = [close(1001, "")];
    assert_closing_shows(b"\x81\x83\0\0\0\0a", b"bc\x88\x82\0\0\0\0\x03\xe9", &answer, Ok(State::Closed));
    assert_closing_shows(
        b"\x01\x81\0\0\0\0a\x80\x83\0\0\0\0b",
        b"cd\x88\x82\0\0\0\0\x03\xe9",
        &answer,
        Ok(State::Closed),
    );
    assert_closing_shows(b"\x88\x82\0\0\0\0\x03", b"\xe9", &answer, Ok(State::Closed));
    assert_closing_shows(b"\x89\x82\0\0\0\0p", b"q", &[Event::Ping], Ok(State::Closing));
}

#[test]
fn a_message_over_the_limit_after_our_close_is_dropped_too() {
    let bytes = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0abc";
    assert_closing_shows(b"", bytes, &[], Ok(State::Closing));
}

#[test]
fn a_fault_after_our_close_ends_the_connection_without_a_second_close() {
    assert_closing_shows(b"", b"\x81\x05Hello", &[], Err(Error::Unmasked));
    assert_closing_shows(b"", b"\x88\x81\0\0\0\0\x03", &[], Err(Error::CloseOfOneByte));
}

#[test]
fn nothing_is_said_after_our_close() {
    let mut connection = closing_after(b"");
    connection.protocol.close(CloseCode::NORMAL, "", &mut connection.seen.outbox);
    connection.protocol.ping(b"", &mut connection.seen.outbox);
    assert_eq!((connection.seen.outbox, connection.protocol.state()), (vec![], State::Closing));
}

#[test]
fn nothing_is_said_after_the_end() {
    let mut connection = Connection::new(ACCEPT);
    connection.read(b"\x88\x80\0\0\0\0");
    connection.seen.outbox.clear();
    connection.protocol.close(CloseCode::NORMAL, "", &mut connection.seen.outbox);
    connection.protocol.ping(b"", &mut connection.seen.outbox);
    assert_eq!((connection.seen.outbox, connection.protocol.state()), (vec![], State::Closed));
}

// Memory.

#[test]
fn a_protocol_is_at_most_72_bytes() {
    assert!(size_of::<Protocol>() <= 72, "{} bytes", size_of::<Protocol>());
}

#[test]
fn a_message_that_is_one_frame_of_the_input_is_borrowed_from_it() {
    let mut bytes = *b"\x81\x81\0\0\0\0a";
    let mut input = &mut bytes[..];
    let event = Protocol::new(ACCEPT).receive(&mut input, &mut Vec::new());
    assert!(matches!(event, Ok(Some(Event::Message(Message { payload: Cow::Borrowed(b"a"), .. })))));
}

#[test]
fn a_connection_between_frames_owns_no_heap_memory() {
    let bytes = b"\x01\x81\0\0\0\0a\x89\x82\0\0\0\0hi\x80\x82\0\0\0\0bc\x88\x80\0\0\0\0";
    let mut connection = Connection::new(ACCEPT);
    let mut owned = Vec::new();
    for byte in bytes {
        connection.read(&[*byte]);
        owned.push((connection.protocol.message.is_some(), connection.protocol.kept.is_some()));
    }
    // The message from its first byte to its last but one, and the ping's payload while it is cut.
    let expected = (1..=bytes.len()).map(|read| ((7..23).contains(&read), read == 14));
    assert_eq!(owned, expected.collect::<Vec<_>>());
}

#[path = "protocol_model_tests.rs"]
mod model_tests;

#[test]
fn a_long_compressed_message_is_inflated_in_steps_and_what_is_left_can_be_kept() {
    let payload: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 5000) as u8).collect();
    let mut deflater = crate::ws::Deflater::new(6, 15).unwrap();
    let deflated = deflater.deflate(&payload).unwrap();
    let mut wire = Vec::new();
    crate::ws::encode_masked_frame(&mut wire, true, Opcode::Binary, [1, 2, 3, 4], deflated);
    wire[0] |= 0x40;
    let deflate = Deflate::negotiate(["permessage-deflate"].into_iter(), false).unwrap();
    let inbound = Inbound::Accept { message_len_max: 1 << 20 };
    let mut protocol = Protocol::new(inbound).with_deflate(deflate);
    let (mut outbox, mut steps, mut inflated_len) = (Vec::new(), 0, 0);
    loop {
        let mut kept = wire.clone();
        let mut input = &mut kept[..];
        let event = protocol.receive(&mut input, &mut outbox).unwrap().map(Event::into_owned);
        wire = input.to_vec();
        let step_len = protocol.take_inflated_len();
        assert!(step_len <= 64 * 1024, "{step_len}");
        inflated_len += step_len;
        match event {
            Some(Event::Inflating) => steps += 1,
            Some(Event::Message(message)) => break assert_eq!(message.payload, payload),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((steps, inflated_len, &wire[..]), (payload.len() / (64 * 1024), payload.len(), &[][..]));
}
