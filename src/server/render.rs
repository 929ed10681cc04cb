//! Publications and notices as the bytes of a wire form.
//!
//! Who gets them and when is not known here.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::hub::{Content, Publication, WireForm};
use crate::ws::{self, Opcode};

/// The subprotocol whose frames are envelopes.
pub const ENVELOPE_SUBPROTOCOL: &str = "fanfare.v1.json";

/// The name of the notice that publications were passed over.
const LAGGED_EVENT: &str = "fanfare:lagged";

/// Appends the publication in `form`.
pub fn publication(publication: &Publication, form: WireForm, out: &mut Vec<u8>) {
    match form {
        WireForm::WebSocket => ws::encode_frame(out, opcode(publication.content), &publication.data),
        WireForm::Envelope => ws::encode_frame(out, Opcode::Text, &envelope(publication)),
    }
}

/// Appends the notice that `missed` publications were passed over, if the form can say so.
pub fn lagged_notice(missed: u64, form: WireForm, out: &mut Vec<u8>) {
    match form {
        WireForm::WebSocket => {}
        WireForm::Envelope => {
            let notice = format!(r#"{{"event":"{LAGGED_EVENT}","data":{{"missed":{missed}}}}}"#);
            ws::encode_frame(out, Opcode::Text, notice.as_bytes());
        }
    }
}

fn opcode(content: Content) -> Opcode {
    match content {
        Content::Text | Content::Json => Opcode::Text,
        Content::Binary => Opcode::Binary,
    }
}

/// `{"id":…,"event":…,"data":…}`; binary data is base64 and says so: `"encoding":"base64"`.
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
    use bytes::Bytes;

    use super::*;
    use crate::hub::{ChannelName, EventName, PublicationId};

    fn published(content: Content, data: &'static [u8], event: Option<&str>) -> Publication {
        Publication {
            channel: ChannelName::new("news").unwrap(),
            id: PublicationId { epoch: 0xa, sequence: 7 },
            event: event.map(|name| EventName::new(name).unwrap()),
            content,
            data: Bytes::from_static(data),
        }
    }

    fn rendered(publication: &Publication, form: WireForm) -> Vec<u8> {
        let mut out = Vec::new();
        super::publication(publication, form, &mut out);
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
    fn an_envelope_is_one_text_frame() {
        let frame = rendered(&published(Content::Text, b"x", None), WireForm::Envelope);
        assert_eq!(frame, b"\x81\x17{\"id\":\"a-7\",\"data\":\"x\"}");
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

    #[test]
    fn only_the_envelope_form_can_say_that_something_was_missed() {
        let mut out = Vec::new();
        lagged_notice(3, WireForm::WebSocket, &mut out);
        assert_eq!(out, b"");
        lagged_notice(3, WireForm::Envelope, &mut out);
        assert_eq!(&out[2..], br#"{"event":"fanfare:lagged","data":{"missed":3}}"#);
    }
}
