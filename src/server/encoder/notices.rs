//! Notices, encoded as the bytes of a wire form: what the server itself tells a subscriber.
//!
//! Publications are encoded in `encoder`; answers to commands are texts of `commands`.

use crate::http::{self, StreamEvent};
use crate::hub::{Gap, PublicationId, WireForm};
use crate::ws::{self, Opcode};

/// How long an EventSource waits before it reconnects: a server that restarts is back after 2 s.
pub const STREAM_RETRY_MS: u64 = 2000;

/// What the server tells a subscriber besides publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The subscription begins after publication `since`, and nothing between that and the requested position is lost.
    /// The server sends something at least every `idle_ms`.
    Subscribed { since: PublicationId, idle_ms: u64 },
    /// The same, but something before that publication is lost.
    Gap { gap: Gap, since: PublicationId, idle_ms: u64 },
    /// The subscriber lagged, and that number of publications was skipped.
    Lagged(u64),
    /// Publications may come late from now on.
    Paused,
    /// Publications come at once again, after those that were late.
    Resumed,
    /// The server is alive; it says so at least every `idle_ms`.
    Alive { idle_ms: u64 },
}

impl Notice {
    fn event(self) -> &'static str {
        match self {
            Self::Subscribed { .. } => "fanfare:subscribed",
            Self::Gap { .. } => "fanfare:gap",
            Self::Lagged(_) => "fanfare:lagged",
            Self::Paused => "fanfare:paused",
            Self::Resumed => "fanfare:resumed",
            Self::Alive { .. } => "fanfare:alive",
        }
    }

    /// The data in an event stream without envelopes. It has no idle time: the sign of life there is a comment, which
    /// pages do not see.
    fn data(self) -> String {
        match self {
            Self::Subscribed { since, .. } => format!(r#"{{"since":"{since}"}}"#),
            Self::Gap { gap, since, .. } => format!(r#"{{"missed":{},"since":"{since}"}}"#, missed(gap)),
            Self::Lagged(missed) => format!(r#"{{"missed":{missed}}}"#),
            Self::Paused | Self::Resumed => "{}".to_owned(),
            Self::Alive { idle_ms } => format!(r#"{{"idle":{idle_ms}}}"#),
        }
    }

    /// The same as an envelope, with the name of the channel for readers of several. Those are told the idle time of their
    /// connection, and not of each channel.
    pub fn envelope(self, channel: Option<&str>) -> String {
        let (event, has_channel) = (self.event(), channel.is_some());
        let channel = channel.map_or_else(String::new, |name| format!(r#","channel":"{name}""#));
        let data = match self {
            Self::Subscribed { since, idle_ms } if !has_channel => {
                format!(r#"{{"since":"{since}","idle":{idle_ms}}}"#)
            }
            Self::Gap { gap, since, idle_ms } if !has_channel => {
                format!(r#"{{"missed":{},"since":"{since}","idle":{idle_ms}}}"#, missed(gap))
            }
            Self::Subscribed { .. }
            | Self::Gap { .. }
            | Self::Lagged(_)
            | Self::Paused
            | Self::Resumed
            | Self::Alive { .. } => self.data(),
        };
        format!(r#"{{"event":"{event}"{channel},"data":{data}}}"#)
    }
}

/// Appends a notice, if the wire form can express it. Forms for readers of several channels have the name of the `channel`, if
/// the notice is about one.
pub fn notice(notice: Notice, form: WireForm, channel: Option<&str>, out: &mut Vec<u8>) {
    match form {
        // The Pusher protocol knows no notices: what a subscriber skips is counted only.
        WireForm::WebSocket
        | WireForm::WebSocketDeflate
        | WireForm::LongPoll
        | WireForm::NamedLongPoll
        | WireForm::LiveViewPoll
        | WireForm::Pusher
        | WireForm::PusherDeflate
        | WireForm::PusherStream => {}
        WireForm::Envelope | WireForm::EnvelopeDeflate => {
            ws::encode_frame(out, Opcode::Text, notice.envelope(None).as_bytes());
        }
        WireForm::NamedEnvelope | WireForm::NamedEnvelopeDeflate | WireForm::LiveView => {
            ws::encode_frame(out, Opcode::Text, notice.envelope(channel).as_bytes());
        }
        WireForm::EventStream => match notice {
            Notice::Alive { .. } => http::encode_comment(out, ""),
            _ => stream_notice(notice, Some(notice.event()), &notice.data(), out),
        },
        // Positions and the time before a reconnect are in blocks of their own.
        WireForm::NamedEventStream | WireForm::LiveViewStream => {
            let data = notice.envelope(channel);
            http::encode_event(out, &StreamEvent { data: Some(data.as_bytes()), ..StreamEvent::default() });
        }
        WireForm::EventStreamEnvelope => stream_notice(notice, None, &notice.envelope(None), out),
    }
}

/// The first notice of a stream, and a gap, also has the time before a reconnect and the client's position, which a browser
/// sends back when it reconnects, even if no publication came.
fn stream_notice(notice: Notice, name: Option<&str>, data: &str, out: &mut Vec<u8>) {
    let since = match notice {
        Notice::Subscribed { since, .. } | Notice::Gap { since, .. } => Some(since.to_string()),
        Notice::Lagged(_) | Notice::Paused | Notice::Resumed | Notice::Alive { .. } => None,
    };
    let retry_ms = since.is_some().then_some(STREAM_RETRY_MS);
    // Without envelopes there is no `fanfare:subscribed`: the identifier says the same.
    let is_silent = matches!((notice, name), (Notice::Subscribed { .. }, Some(_)));
    let (name, data) = if is_silent { (None, None) } else { (name, Some(data.as_bytes())) };
    http::encode_event(out, &StreamEvent { retry_ms, id: since.as_deref(), name, data });
}

/// The number of missed publications as JSON; `null` if it is not known.
pub fn missed(gap: Gap) -> String {
    gap.missed.map_or_else(|| "null".into(), |missed| missed.to_string())
}
