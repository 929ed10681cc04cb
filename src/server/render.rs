//! Publications and notices as the bytes of a wire form.
//!
//! Who gets them and when is not known here.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use crate::config::Config;
use crate::hub::{Content, Publication, WireForm};
use crate::ws::{self, Deflater, Opcode, WINDOW_BITS_MAX};

/// The subprotocol whose frames are envelopes.
pub const ENVELOPE_SUBPROTOCOL: &str = "fanfare.v1.json";

/// The name of the notice that publications were passed over.
const LAGGED_EVENT: &str = "fanfare:lagged";

/// Makes frames, and has what deflating takes: one a loop.
#[derive(Debug)]
pub struct Renderer {
    level: u32,
    deflate_len_min: u64,
    /// By window bits, each from when it is first needed. All but the last are for the echo: channels are deflated
    /// with the largest window for everybody.
    deflaters: [Option<Deflater>; WINDOW_BITS_MAX as usize + 1],
}

impl Renderer {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let (level, deflate_len_min) = (config.deflate_level, config.deflate_min);
        Self { level, deflate_len_min, deflaters: Default::default() }
    }

    /// Appends the publication in `form`.
    pub fn publication(&mut self, publication: &Publication, form: WireForm, out: &mut Vec<u8>) {
        let opcode = opcode(publication.content);
        let frame = match form {
            // A header is all that there is to make.
            WireForm::WebSocket => return ws::encode_frame(out, opcode, &publication.data),
            WireForm::Envelope => publication.frames.get_or_encode(form, || {
                let envelope = envelope(publication);
                frame_of(|out| ws::encode_frame(out, Opcode::Text, &envelope))
            }),
            WireForm::WebSocketDeflate => publication.frames.get_or_encode(form, || {
                frame_of(|out| self.message(opcode, &publication.data, WINDOW_BITS_MAX, out))
            }),
            WireForm::EnvelopeDeflate => publication.frames.get_or_encode(form, || {
                let envelope = envelope(publication);
                frame_of(|out| self.message(Opcode::Text, &envelope, WINDOW_BITS_MAX, out))
            }),
        };
        out.extend_from_slice(frame);
    }

    /// Appends a message to a client that inflates with that window: compressed if that makes it smaller.
    pub fn message(&mut self, opcode: Opcode, payload: &[u8], window_bits: u8, out: &mut Vec<u8>) {
        match self.deflate(payload, window_bits) {
            Some(deflated) => ws::encode_compressed_frame(out, opcode, deflated),
            None => ws::encode_frame(out, opcode, payload),
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

/// Appends the notice that `missed` publications were passed over, if the form can say so.
pub fn lagged_notice(missed: u64, form: WireForm, out: &mut Vec<u8>) {
    if form.is_envelope() {
        let notice = format!(r#"{{"event":"{LAGGED_EVENT}","data":{{"missed":{missed}}}}}"#);
        ws::encode_frame(out, Opcode::Text, notice.as_bytes());
    }
}

fn frame_of(encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut frame = Vec::new();
    encode(&mut frame);
    frame.into()
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
    use super::*;
    use crate::hub::{ChannelName, EventName, Frames, PublicationId};

    fn published(content: Content, data: &'static [u8], event: Option<&str>) -> Publication {
        Publication {
            channel: ChannelName::new("news").unwrap(),
            id: PublicationId { epoch: 0xa, sequence: 7 },
            event: event.map(|name| EventName::new(name).unwrap()),
            content,
            data: Bytes::from_static(data),
            frames: Frames::default(),
        }
    }

    fn rendered(publication: &Publication, form: WireForm) -> Vec<u8> {
        let mut out = Vec::new();
        Renderer::new(&Config::default()).publication(publication, form, &mut out);
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
            Renderer::new(&Config { deflate_min: u64::MAX, ..Config::default() });
        let mut second = Vec::new();
        nothing_left_to_deflate.publication(&publication, WireForm::WebSocketDeflate, &mut second);
        assert_eq!(first, second);
    }

    #[test]
    fn a_client_with_the_smallest_window_is_sent_what_is_not_compressed() {
        let mut out = Vec::new();
        Renderer::new(&Config::default()).message(Opcode::Text, QUOTE, 8, &mut out);
        assert_eq!(out[0], 0x81);
    }
}
