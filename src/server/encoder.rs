//! Publications and notices, encoded as the bytes of a wire form.
//!
//! Which connection gets them, and when, is not decided here.

mod notices;

pub use notices::{Notice, STREAM_RETRY_MS, notice};

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use crate::config::Config;
use crate::http::{self, StreamEvent};
use crate::hub::{Content, Gap, Interruption, Publication, PublicationId, Source, WireForm};
use crate::pusher::event::{Data, channel_event};
use crate::pusher::fallback;
use crate::server::clock::millis;
use crate::server::encoder::notices::missed;
use crate::ws::{self, Deflater, Opcode, WINDOW_BITS_MAX};

/// The subprotocol whose frames are envelopes.
pub const ENVELOPE_SUBPROTOCOL: &str = "fanfare.v1.json";

/// The subprotocol of clients that are sent payloads and nothing else, as without one: for those that offer names, since a
/// browser fails if it offers some and gets none.
pub const RAW_SUBPROTOCOL: &str = "fanfare.v1.raw";

/// The event of binary publications in an event stream without envelopes; `fanfare:binary:NAME` if they have a name.
const BINARY_EVENT: &str = "fanfare:binary";

/// What Pusher clients are told that an event without a name is called; an EventSource calls it the same.
const UNNAMED_EVENT: &str = "message";

/// Encodes frames, and owns the compressors. One per loop.
#[derive(Debug)]
pub struct Encoder {
    level: u32,
    deflate_len_min: u64,
    /// How often the server says that it is alive, at least.
    idle_ms: u64,
    /// By window bits, each created on first use. All but the last are for the echo: publications are compressed once for
    /// all subscribers, with the largest window.
    deflaters: [Option<Deflater>; WINDOW_BITS_MAX as usize + 1],
}

impl Encoder {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let (level, deflate_len_min) = (config.deflate_level, config.deflate_min);
        let idle_ms = millis(config.idle_timeout).max(1);
        Self { level, deflate_len_min, idle_ms, deflaters: Default::default() }
    }

    /// Appends the publication, or what happens to its channel, in `form`; nothing if the form cannot express it.
    pub fn publication(&mut self, publication: &Publication, form: WireForm, out: &mut Vec<u8>) {
        match publication.source {
            Source::Protocol if !form.has_protocol_events() => return,
            Source::Notice(happens) => return self.interruption(happens, publication, form, out),
            Source::Publisher | Source::Client { .. } | Source::Protocol => {}
        }
        let opcode = opcode(publication.content);
        let frame = match form {
            // Not shared between loops: it costs a header and a copy of the payload.
            WireForm::WebSocket => return ws::encode_frame(out, opcode, &publication.data),
            WireForm::Envelope => {
                publication.frames.get_or_encode(form, || text_frame(&envelope(publication)))
            }
            WireForm::WebSocketDeflate => publication.frames.get_or_encode(form, || {
                frame_of(|out| self.message(opcode, &publication.data, WINDOW_BITS_MAX, out))
            }),
            WireForm::EnvelopeDeflate => publication.frames.get_or_encode(form, || {
                let envelope = envelope(publication);
                frame_of(|out| self.message(Opcode::Text, &envelope, WINDOW_BITS_MAX, out))
            }),
            WireForm::EventStream => {
                publication.frames.get_or_encode(form, || frame_of(|out| event_chunk(publication, out)))
            }
            WireForm::EventStreamEnvelope => publication.frames.get_or_encode(form, || {
                let (id, envelope) = (publication.id.to_string(), envelope(publication));
                let event = StreamEvent { id: Some(&id), data: Some(&envelope), ..StreamEvent::default() };
                frame_of(|out| http::encode_event(out, &event))
            }),
            WireForm::LongPoll => publication.frames.get_or_encode(form, || {
                let mut element = vec![b','];
                element.extend_from_slice(&envelope(publication));
                element
            }),
            WireForm::Pusher => publication.frames.get_or_encode(form, || {
                let event = pusher_event(publication);
                frame_of(|out| ws::encode_frame(out, Opcode::Text, event.as_bytes()))
            }),
            WireForm::PusherDeflate => publication.frames.get_or_encode(form, || {
                let event = pusher_event(publication);
                frame_of(|out| self.message(Opcode::Text, event.as_bytes(), WINDOW_BITS_MAX, out))
            }),
            WireForm::PusherStream => publication
                .frames
                .get_or_encode(form, || frame_of(|out| fallback::message(out, &pusher_event(publication)))),
            WireForm::NamedEnvelope => {
                publication.frames.get_or_encode(form, || text_frame(&named_envelope(publication)))
            }
            WireForm::NamedEnvelopeDeflate => publication.frames.get_or_encode(form, || {
                let envelope = named_envelope(publication);
                frame_of(|out| self.message(Opcode::Text, &envelope, WINDOW_BITS_MAX, out))
            }),
            WireForm::NamedEventStream => {
                publication.frames.get_or_encode(form, || data_chunk(&named_envelope(publication)))
            }
            WireForm::NamedLongPoll => publication
                .frames
                .get_or_encode(form, || [b",".as_slice(), &named_envelope(publication)].concat()),
            WireForm::LiveView => {
                publication.frames.get_or_encode(form, || text_frame(&live_envelope(publication)))
            }
            WireForm::LiveViewStream => {
                publication.frames.get_or_encode(form, || data_chunk(&live_envelope(publication)))
            }
            WireForm::LiveViewPoll => publication
                .frames
                .get_or_encode(form, || [b",".as_slice(), &live_envelope(publication)].concat()),
        };
        out.extend_from_slice(frame);
    }

    fn interruption(&self, happens: Interruption, at: &Publication, form: WireForm, out: &mut Vec<u8>) {
        let said = match happens {
            // The poll is answered with its gap beside the messages: the frame has it answered, and is not a part of that.
            Interruption::Gap(_) if form.is_long_poll() => return out.push(b','),
            Interruption::Gap(gap) => Notice::Gap { gap, since: at.id, idle_ms: self.idle_ms },
            Interruption::Paused => Notice::Paused,
            Interruption::Resumed => Notice::Resumed,
        };
        let watched = form.is_watching().then(|| at.channel.watched());
        let channel = watched.as_ref().map_or(at.channel.local(), |watched| watched.as_str());
        notice(said, form, Some(channel), out);
    }

    /// Appends a message for a client that inflates with this window: compressed if that makes it smaller.
    pub fn message(&mut self, opcode: Opcode, payload: &[u8], window_bits: u8, out: &mut Vec<u8>) {
        match self.deflate(payload, window_bits) {
            Some(deflated) => ws::encode_compressed_frame(out, opcode, deflated),
            None => ws::encode_frame(out, opcode, payload),
        }
        if let Some(deflater) = &mut self.deflaters[usize::from(window_bits)] {
            deflater.release();
        }
    }

    fn deflate(&mut self, payload: &[u8], window_bits: u8) -> Option<&[u8]> {
        if (payload.len() as u64) < self.deflate_len_min {
            return None;
        }
        let deflater = &mut self.deflaters[usize::from(window_bits)];
        if deflater.is_none() {
            *deflater = Deflater::new(self.level, window_bits);
        }
        deflater.as_mut()?.deflate(payload)
    }
}

/// The frame of [`WireForm::WebSocket`], and the payload inside it.
pub fn plain_frame(content: Content, payload: &[u8]) -> (Bytes, Bytes) {
    let mut frame = Vec::with_capacity(ws::HEADER_LEN_MAX + payload.len());
    ws::encode_frame(&mut frame, opcode(content), payload);
    let frame = Bytes::from(frame);
    (frame.clone(), frame.slice(frame.len() - payload.len()..))
}

/// The body of a long poll's answer. `elements` are frames of its wire form, each with a comma ahead of it.
pub fn long_poll_answer(gap: Option<Gap>, elements: &[u8], next: PublicationId) -> Vec<u8> {
    let mut out = Vec::with_capacity(elements.len() + 96);
    out.push(b'{');
    if let Some(gap) = gap {
        push(&mut out, format_args!(r#""gap":{{"missed":{}}},"#, missed(gap)));
    }
    out.extend_from_slice(br#""messages":["#);
    out.extend_from_slice(elements.strip_prefix(b",").unwrap_or(elements));
    push(&mut out, format_args!("],\"next\":\"{next}\"}}\n"));
    out
}

/// The body of the answer to a long poll of several channels, one channel after the other.
#[derive(Debug, Default)]
pub struct ManyAnswer {
    /// Frames of [`WireForm::NamedLongPoll`], each with a comma ahead of it.
    pub elements: Vec<u8>,
    next: String,
    gaps: String,
    presence: String,
}

impl ManyAnswer {
    /// What the client knows of a channel after this answer: its position, and whether something before the first element is
    /// lost.
    pub fn channel(&mut self, name: &str, gap: Option<Gap>, next: PublicationId) {
        self.next.push_str(&format!(r#","{name}":"{next}""#));
        if let Some(gap) = gap {
            self.gaps.push_str(&format!(r#","{name}":{{"missed":{}}}"#, missed(gap)));
        }
    }

    /// What the client that asked for it knows, after this answer, of who is in a channel: the newest change. `None`: it is not
    /// told.
    pub fn presence(&mut self, name: &str, newest: Option<PublicationId>) {
        let newest = newest.map_or_else(|| "false".to_owned(), |newest| format!("\"{newest}\""));
        self.presence.push_str(&format!(r#","{name}":{newest}"#));
    }

    /// Adds an envelope of this client's own ahead of what comes later.
    pub fn push(&mut self, envelope: &str) {
        self.elements.push(b',');
        self.elements.extend_from_slice(envelope.as_bytes());
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let Self { elements, next, gaps, presence } = self;
        let len = elements.len() + next.len() + gaps.len() + presence.len();
        let mut out = Vec::with_capacity(len + 64);
        out.extend_from_slice(br#"{"messages":["#);
        out.extend_from_slice(elements.strip_prefix(b",").unwrap_or(elements));
        push(&mut out, format_args!("],\"next\":{{{}}}", next.strip_prefix(',').unwrap_or(next)));
        if let Some(gaps) = gaps.strip_prefix(',') {
            push(&mut out, format_args!(",\"gap\":{{{gaps}}}"));
        }
        if let Some(presence) = presence.strip_prefix(',') {
            push(&mut out, format_args!(",\"presence\":{{{presence}}}"));
        }
        out.extend_from_slice(b"}\n");
        out
    }
}

fn frame_of(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&mut frame);
    frame
}

fn text_frame(text: &[u8]) -> Vec<u8> {
    frame_of(|out| ws::encode_frame(out, Opcode::Text, text))
}

/// A chunk with an event that has data and nothing else.
fn data_chunk(data: &[u8]) -> Vec<u8> {
    frame_of(|out| http::encode_event(out, &StreamEvent { data: Some(data), ..StreamEvent::default() }))
}

fn opcode(content: Content) -> Opcode {
    match content {
        Content::Text | Content::Json => Opcode::Text,
        Content::Binary => Opcode::Binary,
    }
}

/// A publication as an event without an envelope; binary data as base64, which the event's name says.
fn event_chunk(publication: &Publication, out: &mut Vec<u8>) {
    let id = publication.id.to_string();
    let name = publication.event.as_ref().map(|event| event.as_str());
    let id = Some(id.as_str());
    match publication.content {
        Content::Text | Content::Json => {
            let event = StreamEvent { id, name, data: Some(&publication.data), ..StreamEvent::default() };
            http::encode_event(out, &event);
        }
        Content::Binary => {
            let (name, data) = (binary_event(name), STANDARD.encode(&publication.data));
            let (name, data) = (Some(name.as_str()), Some(data.as_bytes()));
            http::encode_event(out, &StreamEvent { id, name, data, ..StreamEvent::default() });
        }
    }
}

/// The name of an event whose data is base64.
fn binary_event(name: Option<&str>) -> String {
    name.map_or_else(|| BINARY_EVENT.into(), |name| format!("{BINARY_EVENT}:{name}"))
}

/// The event of the Pusher protocol that delivers a publication. One without a name is called `message`, as an
/// event stream calls it; binary data is base64, which the event's name says.
fn pusher_event(publication: &Publication) -> String {
    let channel = publication.channel.local();
    let name = publication.event.as_ref().map(|event| event.as_str());
    let user_id = match &publication.source {
        Source::Client { user_id, .. } => user_id.as_deref(),
        Source::Publisher | Source::Protocol | Source::Notice(_) => None,
    };
    let mut out = Vec::with_capacity(publication.data.len() + 96);
    match (publication.content, &publication.source) {
        (Content::Json, Source::Client { .. }) => {
            let data = Data::Json(text(&publication.data));
            channel_event(&mut out, name.unwrap_or(UNNAMED_EVENT), channel, data, user_id);
        }
        (Content::Text | Content::Json, _) => {
            let data = Data::Text(text(&publication.data));
            channel_event(&mut out, name.unwrap_or(UNNAMED_EVENT), channel, data, user_id);
        }
        (Content::Binary, _) => {
            let data = STANDARD.encode(&publication.data);
            channel_event(&mut out, &binary_event(name), channel, Data::Text(&data), user_id);
        }
    }
    String::from_utf8(out).expect("it is made of texts")
}

/// `{"id":…,"event":…,"data":…}`; for binary data, base64 and `"encoding":"base64"`.
fn envelope(publication: &Publication) -> Vec<u8> {
    let mut out = Vec::with_capacity(publication.data.len() + 64);
    push(&mut out, format_args!(r#"{{"id":"{}""#, publication.id));
    if let Some(event) = &publication.event {
        out.extend_from_slice(br#","event":"#);
        push_json(&mut out, event.as_str());
    }
    out.extend_from_slice(br#","data":"#);
    match publication.content {
        Content::Json => out.extend_from_slice(&publication.data),
        Content::Text => push_json(&mut out, text(&publication.data)),
        Content::Binary => {
            push(&mut out, format_args!(r#""{}","encoding":"base64""#, STANDARD.encode(&publication.data)))
        }
    }
    out.push(b'}');
    out
}

/// The envelope with `"channel":NAME,` in front.
fn named_envelope(publication: &Publication) -> Vec<u8> {
    let (channel, envelope) = (publication.channel.local(), envelope(publication));
    let mut out = Vec::with_capacity(envelope.len() + channel.len() + 16);
    out.extend_from_slice(br#"{"channel":"#);
    push_json(&mut out, channel);
    out.push(b',');
    out.extend_from_slice(&envelope[1..]);
    out
}

/// `{"channel":…,"id":…,"data":RECORD}` with the name under which the channel is watched. An event of the protocol has no `id`:
/// it is no publication, and who reconnects goes on after the last that was one.
fn live_envelope(publication: &Publication) -> Vec<u8> {
    let (channel, record) = (publication.channel.watched(), live_record(publication));
    let mut out = Vec::with_capacity(record.len() + channel.as_str().len() + 64);
    out.extend_from_slice(br#"{"channel":"#);
    push_json(&mut out, channel.as_str());
    if publication.source != Source::Protocol {
        push(&mut out, format_args!(r#","id":"{}""#, publication.id));
    }
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(&record);
    out.push(b'}');
    out
}

/// The envelope, with `source`, and `socket_id` and `user_id` of a client. The identifier of an event of the protocol is that
/// of the newest publication.
fn live_record(publication: &Publication) -> Vec<u8> {
    let mut out = envelope(publication);
    out.pop();
    match &publication.source {
        Source::Publisher => out.extend_from_slice(br#","source":"publisher"}"#),
        // What happens to the channel is told as a notice, which has no record.
        Source::Protocol | Source::Notice(_) => out.extend_from_slice(br#","source":"protocol"}"#),
        Source::Client { user_id, socket_id } => {
            out.extend_from_slice(br#","source":"client","socket_id":"#);
            push_json(&mut out, &**socket_id);
            if let Some(user_id) = user_id {
                out.extend_from_slice(br#","user_id":"#);
                push_json(&mut out, &**user_id);
            }
            out.push(b'}');
        }
    }
    out
}

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).expect("text is checked when it is published")
}

fn push(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a vector takes every write");
}

fn push_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a string is always JSON, and a vector takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{ChannelName, EventName};

    fn published(content: Content, data: &'static [u8], event: Option<&str>) -> Publication {
        Publication {
            channel: ChannelName::new("news").unwrap(),
            id: PublicationId { epoch: 0xa, sequence: 7 },
            event: event.map(|name| EventName::new(name).unwrap()),
            content,
            ..Publication::test(7, data)
        }
    }

    fn rendered(publication: &Publication, form: WireForm) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new(&Config::default()).publication(publication, form, &mut out);
        out
    }

    fn enveloped(publication: &Publication) -> String {
        String::from_utf8(envelope(publication)).unwrap()
    }

    #[test]
    fn the_plain_form_is_the_payload_in_a_frame_and_nothing_else() {
        assert_eq!(
            rendered(&published(Content::Text, b"Hello", None), WireForm::WebSocket),
            b"\x81\x05Hello"
        );
        assert_eq!(rendered(&published(Content::Json, b"{}", Some("e")), WireForm::WebSocket), b"\x81\x02{}");
        assert_eq!(
            rendered(&published(Content::Binary, b"\xff", None), WireForm::WebSocket),
            b"\x82\x01\xff"
        );
    }

    #[test]
    fn a_pusher_client_is_sent_the_payload_as_a_string_and_that_of_another_client_as_it_is() {
        let event = |publication: &Publication| {
            let frame = rendered(publication, WireForm::Pusher);
            assert_eq!(frame[0], 0x81, "one text frame");
            assert_eq!(usize::from(frame[1]), frame.len() - 2);
            String::from_utf8(frame[2..].to_vec()).unwrap()
        };
        assert_eq!(
            event(&published(Content::Json, br#"{"a":1}"#, Some("tick"))),
            r#"{"event":"tick","channel":"news","data":"{\"a\":1}"}"#
        );
        assert_eq!(
            event(&published(Content::Text, b"hello", None)),
            r#"{"event":"message","channel":"news","data":"hello"}"#
        );
        assert_eq!(
            event(&published(Content::Binary, b"\xff", Some("tick"))),
            r#"{"event":"fanfare:binary:tick","channel":"news","data":"/w=="}"#
        );
        let source = Source::Client { user_id: Some("7".into()), socket_id: "1.2".into() };
        let sent = Publication { source, ..published(Content::Json, br#"{"a":1}"#, Some("client-x")) };
        assert_eq!(event(&sent), r#"{"event":"client-x","channel":"news","data":{"a":1},"user_id":"7"}"#);
    }

    #[test]
    fn a_channel_of_another_app_is_called_as_its_clients_know_it() {
        let channel = ChannelName::new("news").unwrap().in_space("7");
        let publication = Publication { channel, ..published(Content::Text, b"x", None) };
        let line = String::from_utf8(rendered(&publication, WireForm::PusherStream)).unwrap();
        assert_eq!(
            line,
            "a[\"{\\\"event\\\":\\\"message\\\",\\\"channel\\\":\\\"news\\\",\\\"data\\\":\\\"x\\\"}\"]\n"
        );
    }

    #[test]
    fn who_watches_is_told_who_made_a_publication() {
        let record = |source| {
            let publication = Publication { source, ..published(Content::Json, b"{}", Some("client-x")) };
            let element = String::from_utf8(rendered(&publication, WireForm::LiveViewPoll)).unwrap();
            let (_, record) = element.split_once(r#""data":"#).unwrap();
            record.strip_suffix('}').unwrap().to_owned()
        };
        assert_eq!(
            record(Source::Publisher),
            r#"{"id":"a-7","event":"client-x","data":{},"source":"publisher"}"#
        );
        assert_eq!(
            record(Source::Client { user_id: Some("<b>".into()), socket_id: "1.2".into() }),
            r#"{"id":"a-7","event":"client-x","data":{},"source":"client","socket_id":"1.2","user_id":"<b>"}"#
        );
        assert_eq!(
            record(Source::Client { user_id: None, socket_id: "1.2".into() }),
            r#"{"id":"a-7","event":"client-x","data":{},"source":"client","socket_id":"1.2"}"#
        );
        assert_eq!(
            record(Source::Protocol),
            r#"{"id":"a-7","event":"client-x","data":{},"source":"protocol"}"#
        );
    }

    #[test]
    fn who_watches_reads_a_channel_under_a_name_of_its_own_and_an_event_of_the_protocol_has_no_identifier() {
        let channel = ChannelName::new("news").unwrap().in_space("7");
        let made_by = |source| {
            let channel = channel.clone();
            Publication { channel, source, ..published(Content::Text, b"x", None) }
        };
        let publication = made_by(Source::Publisher);
        let expected = r#"{"channel":"@fanfare.watch/7/news","id":"a-7","data":{"id":"a-7","data":"x","source":"publisher"}}"#;
        let frame = rendered(&publication, WireForm::LiveView);
        assert_eq!((&frame[..2], &frame[2..]), (&b"\x81\x62"[..], expected.as_bytes()));
        let chunk = rendered(&publication, WireForm::LiveViewStream);
        assert_eq!(String::from_utf8(chunk).unwrap(), format!("6a\r\ndata: {expected}\n\n\r\n"));
        assert_eq!(rendered(&publication, WireForm::LiveViewPoll), format!(",{expected}").as_bytes());
        let frame = rendered(&made_by(Source::Protocol), WireForm::LiveView);
        let expected = br#"{"channel":"@fanfare.watch/7/news","data":{"#;
        assert_eq!(&frame[2..2 + expected.len()], expected);
    }

    #[test]
    fn an_event_of_the_protocol_itself_goes_to_pusher_clients_and_who_watches_only() {
        let publication =
            Publication { source: Source::Protocol, ..published(Content::Text, b"{}", Some("joined")) };
        for form in WireForm::ALL {
            assert_eq!(rendered(&publication, form).is_empty(), !form.has_protocol_events(), "{form:?}");
        }
    }

    #[test]
    fn an_envelope_is_one_text_frame() {
        let frame = rendered(&published(Content::Text, b"x", None), WireForm::Envelope);
        assert_eq!(frame, b"\x81\x17{\"id\":\"a-7\",\"data\":\"x\"}");
    }

    #[test]
    fn for_a_reader_of_several_channels_the_envelope_begins_with_the_name() {
        let mut publication = published(Content::Json, br#"{"price":1.5}"#, Some("tick"));
        publication.channel = ChannelName::new("news").unwrap();
        publication.id = "8c1f5d0e7a21-8".parse().unwrap();
        let expected = br#"{"channel":"news","id":"8c1f5d0e7a21-8","event":"tick","data":{"price":1.5}}"#;
        let frame = rendered(&publication, WireForm::NamedEnvelope);
        assert_eq!(frame, [b"\x81\x4c", &expected[..]].concat());
        let said = noticed(Notice::Lagged(3), WireForm::NamedEnvelope);
        assert!(said.ends_with(r#"{"event":"fanfare:lagged","channel":"a","data":{"missed":3}}"#), "{said}");
    }

    #[test]
    fn a_stream_of_several_channels_has_the_same_envelope_and_no_identifiers() {
        let publication = published(Content::Text, b"hi", Some("say"));
        let chunk = rendered(&publication, WireForm::NamedEventStream);
        let expected =
            "3f\r\ndata: {\"channel\":\"news\",\"id\":\"a-7\",\"event\":\"say\",\"data\":\"hi\"}\n\n\r\n";
        assert_eq!(String::from_utf8(chunk).unwrap(), expected);
        let said = noticed(Notice::Lagged(3), WireForm::NamedEventStream);
        let expected =
            "44\r\ndata: {\"event\":\"fanfare:lagged\",\"channel\":\"a\",\"data\":{\"missed\":3}}\n\n\r\n";
        assert_eq!(said, expected);
    }

    #[test]
    fn the_answer_to_a_poll_of_several_channels_has_what_is_next_in_each() {
        let element = rendered(&published(Content::Text, b"hi", None), WireForm::NamedLongPoll);
        assert_eq!(element, br#",{"channel":"news","id":"a-7","data":"hi"}"#);
        let mut answer = ManyAnswer::default();
        let id = |sequence| PublicationId { epoch: 10, sequence };
        answer.channel("news", None, id(7));
        assert_eq!(answer.body(), b"{\"messages\":[],\"next\":{\"news\":\"a-7\"}}\n");
        answer.elements.extend([element.clone(), element].concat());
        answer.channel("chat-7", Some(Gap { missed: None }), id(8));
        answer.channel("ops", Some(Gap { missed: Some(4) }), id(9));
        let expected = concat!(
            r#"{"messages":[{"channel":"news","id":"a-7","data":"hi"},{"channel":"news","id":"a-7","data":"hi"}],"#,
            r#""next":{"news":"a-7","chat-7":"a-8","ops":"a-9"},"#,
            r#""gap":{"chat-7":{"missed":null},"ops":{"missed":4}}}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(answer.body()).unwrap(), expected);
    }

    #[test]
    fn an_envelope_carries_text_as_a_string_and_json_as_a_value() {
        assert_eq!(
            enveloped(&published(Content::Text, b"\"q\"\n", None)),
            r#"{"id":"a-7","data":"\"q\"\n"}"#
        );
        assert_eq!(enveloped(&published(Content::Json, b"[1, 2]", None)), r#"{"id":"a-7","data":[1, 2]}"#);
    }

    #[test]
    fn an_envelope_carries_binary_as_base64_and_says_so() {
        let envelope = enveloped(&published(Content::Binary, b"\x00\xff", None));
        assert_eq!(envelope, r#"{"id":"a-7","data":"AP8=","encoding":"base64"}"#);
    }

    #[test]
    fn an_envelope_names_the_event_if_there_is_one() {
        let envelope = enveloped(&published(Content::Text, b"x", Some("say \"hi\"")));
        assert_eq!(envelope, r#"{"id":"a-7","event":"say \"hi\"","data":"x"}"#);
    }

    fn noticed(said: Notice, form: WireForm) -> String {
        let mut out = Vec::new();
        notice(said, form, Some("a"), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What is appended to a log of the form when that happens to the channel `news` of the space `7`, after `a-3`.
    fn interrupted(happens: Interruption, form: WireForm) -> String {
        let channel = ChannelName::new("news").unwrap().in_space("7");
        let source = Source::Notice(happens);
        let publication = Publication { channel, id: SINCE, source, ..Publication::test(3, "") };
        String::from_utf8_lossy(&rendered(&publication, form)).into_owned()
    }

    const LOST: Interruption = Interruption::Gap(Gap { missed: Some(2) });

    #[test]
    fn a_gap_among_publications_is_told_as_one_at_the_beginning_is() {
        let frame =
            "\u{fffd}F{\"event\":\"fanfare:gap\",\"data\":{\"missed\":2,\"since\":\"a-3\",\"idle\":30000}}";
        for form in [WireForm::Envelope, WireForm::EnvelopeDeflate] {
            assert_eq!(interrupted(LOST, form), frame, "{form:?}");
        }
        let block = "retry: 2000\nid: a-3\nevent: fanfare:gap\ndata: {\"missed\":2,\"since\":\"a-3\"}\n\n";
        assert_eq!(interrupted(LOST, WireForm::EventStream), format!("49\r\n{block}\r\n"));
        let data = "{\"event\":\"fanfare:gap\",\"data\":{\"missed\":null,\"since\":\"a-3\",\"idle\":30000}}";
        let unknown = Interruption::Gap(Gap { missed: None });
        assert_eq!(
            interrupted(unknown, WireForm::EventStreamEnvelope),
            format!("65\r\nretry: 2000\nid: a-3\ndata: {data}\n\n\r\n")
        );
    }

    #[test]
    fn readers_of_several_channels_are_told_of_which_a_gap_is_as_the_answer_to_their_command_tells_it() {
        let told = |channel| {
            format!(
                "{{\"event\":\"fanfare:gap\",\"channel\":\"{channel}\",\"data\":{{\"missed\":2,\"since\":\"a-3\"}}}}"
            )
        };
        for form in [WireForm::NamedEnvelope, WireForm::NamedEnvelopeDeflate] {
            assert_eq!(interrupted(LOST, form), format!("\u{fffd}J{}", told("news")), "{form:?}");
        }
        let chunk = format!("52\r\ndata: {}\n\n\r\n", told("news"));
        assert_eq!(interrupted(LOST, WireForm::NamedEventStream), chunk);
        let watched = "@fanfare.watch/7/news";
        assert_eq!(interrupted(LOST, WireForm::LiveView), format!("\u{fffd}[{}", told(watched)));
        assert_eq!(
            interrupted(LOST, WireForm::LiveViewStream),
            format!("63\r\ndata: {}\n\n\r\n", told(watched))
        );
    }

    #[test]
    fn a_pause_and_its_end_are_told_without_a_position() {
        for (happens, event) in
            [(Interruption::Paused, "fanfare:paused"), (Interruption::Resumed, "fanfare:resumed")]
        {
            let said = |channel| format!("{{\"event\":\"{event}\"{channel},\"data\":{{}}}}");
            let named = said(",\"channel\":\"news\"");
            let framed = |text: &str| format!("\u{fffd}{}{text}", char::from(text.len() as u8));
            let chunk = |text: &str| format!("{:x}\r\n{text}\n\n\r\n", text.len() + 2);
            assert_eq!(interrupted(happens, WireForm::Envelope), framed(&said("")));
            assert_eq!(interrupted(happens, WireForm::NamedEnvelope), framed(&named));
            assert_eq!(
                interrupted(happens, WireForm::EventStream),
                chunk(&format!("event: {event}\ndata: {{}}"))
            );
            assert_eq!(
                interrupted(happens, WireForm::EventStreamEnvelope),
                chunk(&format!("data: {}", said("")))
            );
            assert_eq!(interrupted(happens, WireForm::NamedEventStream), chunk(&format!("data: {named}")));
        }
    }

    #[test]
    fn a_form_without_notices_says_nothing_of_what_happens_to_its_channel_and_a_poll_is_woken_by_a_gap() {
        for form in WireForm::ALL {
            let is_mute =
                form.is_pusher() || matches!(form, WireForm::WebSocket | WireForm::WebSocketDeflate);
            assert_eq!(interrupted(LOST, form).is_empty(), is_mute, "{form:?}");
            for happens in [Interruption::Paused, Interruption::Resumed] {
                let said = interrupted(happens, form);
                assert_eq!(said.is_empty(), is_mute || form.is_long_poll(), "{form:?}");
            }
        }
    }

    const SINCE: PublicationId = PublicationId { epoch: 0xa, sequence: 3 };

    #[test]
    fn a_form_of_envelopes_can_express_that_something_was_missed_and_one_of_payloads_cannot() {
        assert_eq!(noticed(Notice::Lagged(3), WireForm::WebSocket), "");
        let said = noticed(Notice::Lagged(3), WireForm::Envelope);
        assert!(said.ends_with(r#"{"event":"fanfare:lagged","data":{"missed":3}}"#), "{said}");
    }

    #[test]
    fn a_gap_says_how_much_is_lost_and_where_it_goes_on() {
        let gap = |missed| Notice::Gap { gap: Gap { missed }, since: SINCE, idle_ms: 30_000 };
        let said = noticed(gap(Some(2)), WireForm::Envelope);
        let data = r#"{"event":"fanfare:gap","data":{"missed":2,"since":"a-3","idle":30000}}"#;
        assert!(said.ends_with(data), "{said}");
        let lines = noticed(gap(None), WireForm::EventStream);
        let block = "retry: 2000\nid: a-3\nevent: fanfare:gap\ndata: {\"missed\":null,\"since\":\"a-3\"}\n\n";
        assert!(lines.contains(block), "{lines}");
    }

    #[test]
    fn a_stream_begins_with_its_identifier_and_with_an_event_only_if_it_has_envelopes() {
        let subscribed = Notice::Subscribed { since: SINCE, idle_ms: 30_000 };
        let lines = noticed(subscribed, WireForm::EventStream);
        assert_eq!(lines, "15\r\nretry: 2000\nid: a-3\n\n\r\n");
        let envelopes = noticed(subscribed, WireForm::EventStreamEnvelope);
        let data = r#"data: {"event":"fanfare:subscribed","data":{"since":"a-3","idle":30000}}"#;
        assert!(envelopes.contains(&format!("retry: 2000\nid: a-3\n{data}\n\n")), "{envelopes}");
    }

    #[test]
    fn the_notice_that_the_server_is_alive_is_an_envelope_without_an_id_or_a_comment() {
        let alive = Notice::Alive { idle_ms: 30_000 };
        let said = r#"{"event":"fanfare:alive","data":{"idle":30000}}"#;
        for form in [WireForm::Envelope, WireForm::EnvelopeDeflate] {
            assert!(noticed(alive, form).ends_with(said), "{form:?}");
        }
        let stream = noticed(alive, WireForm::EventStreamEnvelope);
        assert_eq!(stream, format!("37\r\ndata: {said}\n\n\r\n"));
        assert_eq!(noticed(alive, WireForm::EventStream), "3\r\n:\n\n\r\n");
        assert_eq!(noticed(alive, WireForm::WebSocket), "");
    }

    #[test]
    fn an_event_without_an_envelope_has_a_name_and_lines_and_its_name_tells_binary_data() {
        let streamed =
            |publication| String::from_utf8(rendered(&publication, WireForm::EventStream)).unwrap();
        let text = streamed(published(Content::Text, b"one\r\ntwo", Some("tick")));
        assert_eq!(text, "29\r\nid: a-7\nevent: tick\ndata: one\ndata: two\n\n\r\n");
        let binary = streamed(published(Content::Binary, b"\xff", None));
        assert!(binary.contains("event: fanfare:binary\ndata: /w==\n\n"), "{binary}");
        let named = streamed(published(Content::Binary, b"\xff", Some("tick")));
        assert!(named.contains("event: fanfare:binary:tick\ndata: /w==\n\n"), "{named}");
    }

    #[test]
    fn a_stream_of_envelopes_keeps_every_line_end_and_names_no_event() {
        let publication = published(Content::Text, b"one\r\ntwo\rthree", Some("tick"));
        let stream = String::from_utf8(rendered(&publication, WireForm::EventStreamEnvelope)).unwrap();
        let data = r#"data: {"id":"a-7","event":"tick","data":"one\r\ntwo\rthree"}"#;
        assert!(stream.contains(&format!("\r\nid: a-7\n{data}\n\n\r\n")), "{stream}");
    }

    #[test]
    fn the_answer_to_a_long_poll_is_json_with_the_place_to_go_on_from() {
        let answer =
            |gap, elements: &[u8]| String::from_utf8(long_poll_answer(gap, elements, SINCE)).unwrap();
        assert_eq!(answer(None, b""), "{\"messages\":[],\"next\":\"a-3\"}\n");
        let elements = [
            rendered(&published(Content::Json, b"1", None), WireForm::LongPoll),
            rendered(&published(Content::Json, b"2", None), WireForm::LongPoll),
        ];
        assert_eq!(
            answer(Some(Gap { missed: Some(4) }), &elements.concat()),
            "{\"gap\":{\"missed\":4},\"messages\":[{\"id\":\"a-7\",\"data\":1},{\"id\":\"a-7\",\"data\":2}],\"next\":\"a-3\"}\n"
        );
    }

    const QUOTE: &[u8] = br#"{"symbol":"ACME","bid":101.25,"ask":101.50,"bidSize":300,"askSize":200,"symbolName":"ACME Corporation","symbolExchange":"XNYS","symbolCurrency":"USD"}"#;

    #[test]
    fn a_deflated_form_sets_rsv1_and_is_smaller() {
        for form in [WireForm::WebSocketDeflate, WireForm::EnvelopeDeflate] {
            let frame = rendered(&published(Content::Json, QUOTE, None), form);
            assert_eq!(frame[0], 0xc1, "{form:?}");
            assert!(frame.len() < QUOTE.len(), "{form:?}");
        }
    }

    #[test]
    fn what_is_small_or_does_not_shrink_goes_uncompressed_in_the_deflated_form() {
        let small = published(Content::Text, b"Hello", None);
        assert_eq!(rendered(&small, WireForm::WebSocketDeflate), b"\x81\x05Hello");
        static NOISE: [u8; 256] = {
            let mut noise = [0; 256];
            let mut n = 0;
            while n < 256 {
                noise[n] = n as u8;
                n += 1;
            }
            noise
        };
        assert_eq!(rendered(&published(Content::Binary, &NOISE, None), WireForm::WebSocketDeflate)[0], 0x82);
    }

    #[test]
    fn a_publication_is_deflated_once_for_all_loops() {
        let publication = published(Content::Json, QUOTE, None);
        let first = rendered(&publication, WireForm::WebSocketDeflate);
        assert_eq!(first[0], 0xc1);
        let mut nothing_left_to_deflate =
            Encoder::new(&Config { deflate_min: u64::MAX, ..Config::default() });
        let mut second = Vec::new();
        nothing_left_to_deflate.publication(&publication, WireForm::WebSocketDeflate, &mut second);
        assert_eq!(first, second);
    }

    #[test]
    fn a_client_with_the_smallest_window_is_sent_uncompressed_messages() {
        let mut out = Vec::new();
        Encoder::new(&Config::default()).message(Opcode::Text, QUOTE, 8, &mut out);
        assert_eq!(out[0], 0x81);
    }
}
