//! Records byte by byte, there and back, and what is refused.
//!
//! That nothing else panics is the fuzz target's, `stored_record`.

use proptest::prelude::*;

use super::*;

/// What script.lua puts before a record.
const BEFORE: &[u8] = b"11700000000123";

fn name() -> ChannelName {
    ChannelName::new("a").unwrap()
}

fn stored(record: &[u8]) -> Vec<u8> {
    [BEFORE, record].concat()
}

fn read_draft(record: &[u8]) -> Result<Draft, BadStored> {
    read(&stored(record), &name(), "n1").map(|stored| stored.draft)
}

fn client_event() -> Draft {
    Draft {
        event: Some(EventName::new("client-x").unwrap()),
        source: Source::Client { user_id: Some("7".into()), socket_id: "1.2".into() },
        excluded: Excluded::Owner(Owner { hub: 3, number: 0x0102 }),
        ..Draft::json("a", "{}").unwrap()
    }
}

const CLIENT_EVENT: &[u8] = b"\x01\x35\0\0\0\x08client-x\0\0\0\x017\0\0\0\x031.2\0\0\0\x02n1\
                              \0\0\0\0\0\0\0\x03\0\0\0\0\0\0\x01\x02{}";

#[test]
fn a_record_is_version_kinds_the_names_that_there_are_and_the_payload() {
    let text = Draft::text("a", "hi").unwrap();
    assert_eq!(&record(&text, "n1")[..], b"\x01\x00hi");
    assert_eq!(&record(&Draft::json("a", "{}").unwrap(), "n1")[..], b"\x01\x01{}");
    assert_eq!(&record(&Draft::binary("a", &b"\xff"[..]).unwrap(), "n1")[..], b"\x01\x02\xff");
    let named = Draft::text("a", "hi").unwrap().event("é").unwrap();
    assert_eq!(&record(&named, "n1")[..], b"\x01\x04\0\0\0\x02\xc3\xa9hi");
    assert_eq!(&record(&client_event(), "n1")[..], CLIENT_EVENT);
    let socket = Excluded::Socket("12.34".parse().unwrap());
    assert_eq!(&record(&Draft { excluded: socket, ..text }, "n1")[..], b"\x01\x40\0\0\0\x0512.34hi");
}

#[test]
fn what_is_read_is_what_was_written_at_rediss_time() {
    let anonymous = Source::Client { user_id: None, socket_id: "1.2".into() };
    let drafts = [
        Draft::text("a", "").unwrap(),
        Draft::binary("a", vec![0, 255]).unwrap().event("e").unwrap(),
        client_event(),
        Draft { source: anonymous, excluded: Excluded::Socket(SocketId::new(5, 6)), ..client_event() },
        Draft {
            event: Some(EventName::of_protocol("pusher_internal:member_added")),
            source: Source::Protocol,
            excluded: Excluded::Nobody,
            ..client_event()
        },
    ];
    for draft in drafts {
        let read = read(&stored(&record(&draft, "n1")), &name(), "n1").unwrap();
        assert_eq!(read, Stored { at_ms: 1_700_000_000_123, draft });
    }
}

#[test]
fn the_frame_of_a_draft_does_not_travel() {
    let draft = Draft { frame: Some(Bytes::from_static(b"\x81\x02hi")), ..Draft::text("a", "hi").unwrap() };
    assert_eq!(read_draft(&record(&draft, "n1")).unwrap(), Draft { frame: None, ..draft });
}

#[test]
fn a_connection_of_another_node_is_excluded_there_and_not_here() {
    let draft = read_draft(&record(&client_event(), "n2")).unwrap();
    assert_eq!(draft, Draft { excluded: Excluded::Nobody, ..client_event() });
}

#[test]
fn a_payload_does_not_keep_the_buffer_alive_that_it_was_read_from() {
    let buffer = Bytes::from(stored(b"\x01\x00hi"));
    let Stored { draft, .. } = read(&buffer, &name(), "n1").unwrap();
    let record = pushed(&Bytes::from([b"e-7 ", &buffer[..]].concat())).unwrap();
    assert!(buffer.is_unique() && draft.data.is_unique() && record.stored.is_unique());
}

#[test]
fn a_record_that_is_cut_anywhere_before_its_payload_is_too_short() {
    let whole = stored(CLIENT_EVENT);
    for len in 0..whole.len() - 2 {
        assert_eq!(read(&whole[..len], &name(), "n1"), Err(BadStored::Short), "{len} bytes");
    }
    assert!(read(&whole[..whole.len() - 2], &name(), "n1").is_ok(), "an empty payload");
}

#[test]
fn what_is_not_known_is_refused_and_the_error_says_what() {
    let refusals = [
        (&b"21700000000123\x01\x00"[..], BadStored::Version(b'2')),
        (b"1170000000012x\x01\x00", BadStored::Time),
        (b"1 170000000012\x01\x00", BadStored::Time),
        (b"11700000000123\x02\x00", BadStored::RecordVersion(2)),
        (b"11700000000123\x01\x80", BadStored::Kinds(0x80)),
        (b"11700000000123\x01\x03", BadStored::Kinds(0x03)),
        (b"11700000000123\x01\x60", BadStored::Kinds(0x60)),
        (b"11700000000123\x01\x00\xff", BadStored::NotUtf8),
        (b"11700000000123\x01\x01\xff", BadStored::NotUtf8),
        (b"11700000000123\x01\x04\0\0\0\x01\xff", BadStored::NotUtf8),
        (b"11700000000123\x01\x08\0\0\0\x031:2", BadStored::SocketId),
        (b"11700000000123\x01\x40\0\0\0\x00", BadStored::SocketId),
        (b"11700000000123\x01\x04\xff\xff\xff\xffxxxx", BadStored::Short),
    ];
    for (bytes, error) in refusals {
        assert_eq!(read(bytes, &name(), "n1"), Err(error), "{bytes:?}");
    }
    assert_eq!(BadStored::RecordVersion(2).to_string(), "a record in Redis has the version 2, not 1");
    assert_eq!(BadStored::Version(b'2').to_string(), "a publication in Redis has the version 50, not 49");
    assert_eq!(BadStored::Kinds(3).to_string(), "a record in Redis has unknown kinds: 00000011");
}

#[test]
fn an_event_name_follows_the_rules_of_event_names_and_only_the_protocol_has_reserved_ones() {
    let named = |kinds: u8, name: &str| {
        let len = u32::try_from(name.len()).unwrap().to_be_bytes();
        read_draft(&[&[1, kinds], &len[..], name.as_bytes()].concat()).map(|draft| draft.event.unwrap())
    };
    assert_eq!(named(0x04, ""), Err(BadStored::Event(InvalidEventName::Length)));
    assert_eq!(named(0x04, &"e".repeat(201)), Err(BadStored::Event(InvalidEventName::Length)));
    assert_eq!(named(0x04, "a\nb"), Err(BadStored::Event(InvalidEventName::ControlCharacter)));
    assert_eq!(named(0x04, "pusher:x"), Err(BadStored::Event(InvalidEventName::Reserved)));
    assert_eq!(named(0x1c, "pusher:x").unwrap().as_str(), "pusher:x");
    assert_eq!(named(0x1c, "a\nb"), Err(BadStored::Event(InvalidEventName::ControlCharacter)));
}

#[test]
fn a_message_of_a_channel_is_an_identifier_and_what_is_stored() {
    let record = pushed(b"abcdefabcdef-17 1 x").unwrap();
    assert_eq!(record.id, PublicationId { epoch: 0xabcd_efab_cdef, sequence: 17 });
    assert_eq!(record.stored, &b"1 x"[..]);
    let longest = format!("{:x}-{} x", u64::MAX, u64::MAX);
    assert_eq!(pushed(longest.as_bytes()).unwrap().stored, &b"x"[..]);
    for other in
        [&b""[..], b" ", b"a-1", b"a-01 x", b"-1 x", b"\xff-1 x", &[b'a'; 100], b"a-18446744073709551616 x"]
    {
        assert_eq!(pushed(other), Err(BadStored::Id));
    }
}

proptest! {
    #[test]
    fn any_draft_is_read_as_it_was_written(
        event in proptest::option::of("[^\\p{Cc}]{1,20}"),
        user_id in proptest::option::of(".{0,10}"),
        kinds in (0..3_u8, 0..3_u8, 0..3_u8),
        (first, second) in any::<(u64, u64)>(),
        text in ".{0,60}",
    ) {
        let content = [Content::Text, Content::Json, Content::Binary][usize::from(kinds.0)];
        let socket_id = SocketId::new(first, second);
        let user_id = user_id.map(Into::into);
        let client = Source::Client { user_id, socket_id: socket_id.to_string().into() };
        let owner = Owner { hub: first as usize, number: second };
        let draft = Draft {
            event: event.map(|event| EventName::new(&event).unwrap()),
            content,
            source: [Source::Publisher, client, Source::Protocol][usize::from(kinds.1)].clone(),
            excluded: [Excluded::Nobody, Excluded::Owner(owner), Excluded::Socket(socket_id)][usize::from(kinds.2)],
            ..Draft::text("a", text).unwrap()
        };
        let record = record(&draft, "n1");
        prop_assert_eq!(read_draft(&record).unwrap(), draft);
    }
}
