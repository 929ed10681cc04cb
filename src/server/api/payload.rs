//! From a request body or a WebSocket message to a draft: bodies by their media type, messages by the subprotocol.
//!
//! Whether the peer may publish is decided in `access`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::commands::Reference;
use crate::hub::{ChannelName, Content, EventName, Source, WireForm};
use crate::server::broker::draft::{Draft, DraftError, Excluded, check_json, detail};
use crate::server::broker::idempotency::IdempotencyKey;
use crate::server::encoder;
use crate::ws::{Message, MessageKind};

/// A message of at least this many bytes is copied into the frame that goes out, and is the payload of that for all who
/// keep it. A shorter one is copied into the logs: that takes less time than one more reference to count on every loop.
const FRAMED_LEN_MIN: usize = 2 * 1024;

/// What a body's media type promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `text/*`.
    Text,
    /// `application/json`, `application/…+json`.
    Json,
    /// `application/x-www-form-urlencoded`: what `curl -d` sends with every body. Text if it is UTF-8.
    CurlDefault,
    /// Anything else.
    Binary,
}

impl MediaType {
    /// Reads a `Content-Type` field. Parameters are ignored: JSON and text are UTF-8 here.
    pub fn of(content_type: Option<&str>) -> Self {
        let essence = content_type.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match essence.split_once('/') {
            Some(("text", _)) => Self::Text,
            Some(("application", "json")) => Self::Json,
            Some(("application", subtype)) if subtype.ends_with("+json") => Self::Json,
            Some(("application", "x-www-form-urlencoded")) => Self::CurlDefault,
            _ => Self::Binary,
        }
    }
}

/// A draft from a request body.
pub fn from_body(
    channel: ChannelName,
    event: Option<EventName>,
    media_type: MediaType,
    body: Vec<u8>,
) -> Result<Draft, DraftError> {
    let is_utf8 = simdutf8::basic::from_utf8(&body).is_ok();
    let content = match media_type {
        MediaType::Text | MediaType::Json if !is_utf8 => return Err(DraftError::NotUtf8),
        MediaType::Json => {
            check_json(&body)?;
            Content::Json
        }
        MediaType::Text => Content::Text,
        MediaType::CurlDefault if is_utf8 => Content::Text,
        MediaType::CurlDefault | MediaType::Binary => Content::Binary,
    };
    Ok(Draft {
        channel,
        event,
        content,
        data: exact(body),
        source: Source::Publisher,
        excluded: Excluded::Nobody,
        frame: None,
    })
}

/// What a WebSocket message is to have published.
#[derive(Debug)]
pub struct Sent {
    pub draft: Draft,
    /// What the sender calls it, if it is to be acknowledged.
    pub reference: Option<Reference>,
    /// The key under which the sender may repeat it.
    pub key: Option<IdempotencyKey>,
}

/// What a WebSocket message is to have published.
pub fn from_message(channel: ChannelName, form: WireForm, message: &Message<'_>) -> Result<Sent, DraftError> {
    let content = match (form.is_envelope(), message.kind) {
        (false, MessageKind::Text) => Content::Text,
        (false, MessageKind::Binary) => Content::Binary,
        (true, MessageKind::Text) => return from_envelope(channel, &message.payload),
        (true, MessageKind::Binary) => return Err(DraftError::BinaryEnvelope),
    };
    let payload = &message.payload[..];
    let (frame, data) = if payload.len() < FRAMED_LEN_MIN {
        (None, Bytes::copy_from_slice(payload))
    } else {
        let (frame, data) = encoder::plain_frame(content, payload);
        (Some(frame), data)
    };
    let draft = Draft {
        channel,
        event: None,
        content,
        data,
        source: Source::Publisher,
        excluded: Excluded::Nobody,
        frame,
    };
    Ok(Sent { draft, reference: None, key: None })
}

/// The bytes without spare capacity: a channel's history keeps them.
fn exact(data: Vec<u8>) -> Bytes {
    data.into_boxed_slice().into()
}

/// What a client of `fanfare.v1.json` sends.
#[derive(Deserialize)]
struct ClientEnvelope<'a> {
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "ref")]
    reference: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn from_envelope(channel: ChannelName, payload: &[u8]) -> Result<Sent, DraftError> {
    let not_envelope = |error: serde_json::Error| DraftError::NotEnvelope(detail(&error));
    let envelope: ClientEnvelope<'_> = serde_json::from_slice(payload).map_err(not_envelope)?;
    let event = envelope.event.as_deref().map(EventName::new).transpose();
    let event = event.map_err(DraftError::Event)?;
    let reference = envelope.reference.map(|reference| Reference::new(reference.get())).transpose();
    let reference = reference.map_err(DraftError::Reference)?;
    let key =
        envelope.key.map(|key| IdempotencyKey::new(key.as_bytes()).ok_or(DraftError::Key)).transpose()?;
    let json = envelope.data.get();
    let (content, data) = if json.starts_with('"') {
        let text: String = serde_json::from_str(json).map_err(not_envelope)?;
        (Content::Text, Bytes::from(text))
    } else {
        (Content::Json, Bytes::copy_from_slice(json.as_bytes()))
    };
    let draft = Draft {
        channel,
        event,
        content,
        data,
        source: Source::Publisher,
        excluded: Excluded::Nobody,
        frame: None,
    };
    Ok(Sent { draft, reference, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::CloseCode;

    fn channel() -> ChannelName {
        ChannelName::new("news").unwrap()
    }

    fn body(content_type: Option<&str>, body: &[u8]) -> Result<(Content, Bytes), DraftError> {
        let draft = from_body(channel(), None, MediaType::of(content_type), body.to_vec())?;
        Ok((draft.content, draft.data))
    }

    fn content(content_type: &str, bytes: &[u8]) -> Result<Content, DraftError> {
        body(Some(content_type), bytes).map(|(content, _)| content)
    }

    #[test]
    fn a_publication_keeps_no_room_that_was_meant_for_more() {
        let with_room = |bytes: &[u8]| {
            let mut vec = Vec::with_capacity(1000);
            vec.extend_from_slice(bytes);
            vec
        };
        let posted = from_body(channel(), None, MediaType::Text, with_room(b"abc")).unwrap();
        let message = Message { kind: MessageKind::Text, payload: with_room(b"abc").into() };
        let sent = from_message(channel(), WireForm::WebSocket, &message).unwrap().draft;
        for draft in [posted, sent] {
            assert_eq!(draft.data.try_into_mut().unwrap().capacity(), 3);
        }
    }

    fn envelope(text: &str) -> Result<Draft, DraftError> {
        let message = Message { kind: MessageKind::Text, payload: Cow::Borrowed(text.as_bytes()) };
        from_message(channel(), WireForm::Envelope, &message).map(|sent| sent.draft)
    }

    #[test]
    fn the_payload_of_a_long_message_is_a_part_of_its_frame() {
        for (len, header) in [
            (FRAMED_LEN_MIN, &b"\x82\x7e\x08\x00"[..]),
            (0x1_0000, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ] {
            let payload = vec![7; len];
            let message = Message { kind: MessageKind::Binary, payload: Cow::Borrowed(&payload) };
            let draft = from_message(channel(), WireForm::WebSocket, &message).unwrap().draft;
            let frame = draft.frame.unwrap();
            assert_eq!((&frame[..header.len()], &draft.data[..]), (header, &payload[..]));
            assert_eq!(frame[header.len()..].as_ptr_range(), draft.data.as_ptr_range());
        }
        let message = Message { kind: MessageKind::Text, payload: Cow::Borrowed(b"short") };
        let draft = from_message(channel(), WireForm::WebSocket, &message).unwrap().draft;
        assert_eq!((draft.frame, &draft.data[..]), (None, &b"short"[..]));
    }

    #[test]
    fn the_media_type_decides_what_a_body_is() {
        assert_eq!(content("text/plain", b"x"), Ok(Content::Text));
        assert_eq!(content("Text/HTML; charset=utf-8", b"x"), Ok(Content::Text));
        assert_eq!(content("application/json", b"{}"), Ok(Content::Json));
        assert_eq!(content("application/ld+json;x=y", b"1"), Ok(Content::Json));
        assert_eq!(content("application/octet-stream", b"x"), Ok(Content::Binary));
        assert_eq!(body(None, b"x"), Ok((Content::Binary, Bytes::from_static(b"x"))));
    }

    #[test]
    fn what_curl_sends_by_default_is_text_unless_it_cannot_be() {
        assert_eq!(content("application/x-www-form-urlencoded", b"hello"), Ok(Content::Text));
        assert_eq!(content("application/x-www-form-urlencoded", b"\xff"), Ok(Content::Binary));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        assert_eq!(content("text/plain", b"\xff"), Err(DraftError::NotUtf8));
        assert_eq!(content("application/json", b"\"\xff\""), Err(DraftError::NotUtf8));
    }

    #[test]
    fn json_that_is_none_is_refused_with_the_place() {
        let Err(DraftError::NotJson(what)) = content("application/json", b"{\"a\":}") else { panic!() };
        assert!(what.contains("line 1 column 6"), "{what}");
        assert!(content("application/json", b"{} {}").is_err());
        assert!(content("application/json", b"").is_err());
    }

    #[test]
    fn the_data_of_an_envelope_is_text_if_a_string_and_json_if_not() {
        let draft = envelope(r#"{"data":"say \"hi\""}"#).unwrap();
        assert_eq!((draft.content, &draft.data[..]), (Content::Text, &b"say \"hi\""[..]));
        let draft = envelope(r#"{"event":"tick","data":{"price": 1.50},"id":"ignored"}"#).unwrap();
        assert_eq!((draft.content, &draft.data[..]), (Content::Json, &br#"{"price": 1.50}"#[..]));
        assert_eq!(draft.event, Some(EventName::new("tick").unwrap()));
    }

    #[test]
    fn what_is_no_envelope_is_closed_with_1007() {
        for text in
            ["", "hello", "[]", "{}", r#"{"data":}"#, r#"{"data":1,"data":2}"#, r#"{"data":"\ud800"}"#]
        {
            let error = envelope(text).unwrap_err();
            assert_eq!(error.close_code(), CloseCode::INVALID_PAYLOAD, "{text}");
        }
    }

    #[test]
    fn what_is_said_of_a_wrong_envelope_fits_a_close_frame_with_its_place_and_quotes_little() {
        let error = envelope(&format!("\"{}\"", "x".repeat(900_000))).unwrap_err().to_string();
        assert!(error.len() <= 123, "{} bytes: {error}", error.len());
        assert!(error.contains("invalid type: string \"xxx"), "{error}");
        assert!(error.ends_with("… at line 1 column 900002"), "{error}");
    }

    #[test]
    fn a_binary_message_among_envelopes_is_closed_with_1003() {
        let message = Message { kind: MessageKind::Binary, payload: Cow::Borrowed(b"x") };
        let error = from_message(channel(), WireForm::Envelope, &message).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::UNSUPPORTED_DATA);
    }

    #[test]
    fn a_reserved_event_is_closed_with_1008() {
        let error = envelope(r#"{"event":"fanfare:x","data":1}"#).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::POLICY_VIOLATION);
    }
}
