//! What reads a channel as soon as that can be joined, while nothing waits for it: a program's session, whose methods cannot wait,
//! and an event stream whose request has waited for long enough.
//!
//! What does wait is in `preparing`. Nobody here is told of a refusal: the engine is asked again, as long as the connection is there.

use super::Connection;
use super::awaiting::{Asked, LateRead, LateStream, Streaming};
use super::context::Context;
use super::joining::join;
use super::life::{EventStream, Life, WebSocket};
use super::preparing::sought_by_readings;
use crate::hub::{ChannelName, WireForm};
use crate::server::access::{Refusal, Verdict};
use crate::server::api::many::Reading;
use crate::server::broker::engine::waiting::Sought;
use crate::server::broker::mailbox::Unavailable;
use crate::server::clock::Millis;
use crate::server::encoder::{self, Notice};
use crate::server::handlers::link::Form;

/// The engine is asked again this long after it has refused a channel, in milliseconds: as long as clients are told to wait.
const ASK_AGAIN_MS: u64 = 1_000;

/// What is waited for.
impl Connection {
    /// The channels of a question can be joined, or one of them cannot.
    pub(super) fn take_late(&mut self, question: u64, outcome: Result<(), Unavailable>, cx: &mut Context) {
        if let Some(late) = self.late_stream_mut().filter(|late| late.asked.question == question) {
            match outcome {
                Ok(()) => self.go_on_streaming(true, cx),
                Err(Unavailable) => late.asked.again_at = Millis(cx.now.0 + ASK_AGAIN_MS),
            }
            return;
        }
        let Some(reads) = self.late_reads_mut() else { return };
        let Some(late) = reads.iter_mut().find(|late| late.asked.question == question) else { return };
        match outcome {
            Ok(()) => {
                let (channel, form) = (late.channel.clone(), late.form);
                self.keep_late(|late| late.channel != channel);
                self.read_late(&channel, form, cx);
            }
            Err(Unavailable) => late.asked.again_at = Millis(cx.now.0 + ASK_AGAIN_MS),
        }
    }

    /// When the engine is to be asked again, if it is.
    pub(super) fn ask_late_at(&self) -> Option<Millis> {
        let stream = self.late_stream().map(|late| late.asked.again_at);
        stream.into_iter().chain(self.late_reads().iter().map(|late| late.asked.again_at)).min()
    }

    /// Asks again about the channels for which it is time.
    pub(super) fn ask_late(&mut self, cx: &mut Context) {
        if self.late_stream().is_some_and(|late| late.asked.again_at <= cx.now) {
            self.go_on_streaming(false, cx);
        }
        let due = self.late_reads().iter().filter(|late| late.asked.again_at <= cx.now);
        let due: Vec<_> = due.map(|late| (late.channel.clone(), late.form)).collect();
        self.keep_late(|late| late.asked.again_at > cx.now);
        for (channel, form) in due {
            self.read_late(&channel, form, cx);
        }
    }

    /// The connection ends: nothing is to be read any more.
    pub(super) fn forget_late(&mut self) {
        self.keep_late(|_| false);
        if let Life::EventStream(stream) = &mut self.life {
            stream.late = None;
        }
    }
}

/// Sessions.
impl Connection {
    /// Reads a channel of a session once it can be joined. It may wait for that already.
    pub(super) fn read_late(&mut self, channel: &ChannelName, form: Form, cx: &mut Context) {
        if self.late_reads().iter().any(|late| late.channel == *channel) {
            return;
        }
        let Some(question) = cx.prepare(std::slice::from_ref(channel)) else {
            return self.read_for_session(channel, form, cx);
        };
        let late = LateRead { channel: channel.clone(), form, asked: asked_now(question, cx) };
        if let Life::WebSocket(websocket) = &mut self.life {
            websocket.aside.get_or_insert_default().late.push(late);
        }
    }

    /// Reads a channel of a session no more, and does not begin to.
    pub(super) fn stop_reading(&mut self, channel: &ChannelName, cx: &mut Context) {
        self.keep_late(|late| late.channel != *channel);
        self.end_reading(channel, cx);
    }

    fn keep_late(&mut self, is_kept: impl FnMut(&LateRead) -> bool) {
        let Life::WebSocket(websocket) = &mut self.life else { return };
        let Some(aside) = &mut websocket.aside else { return };
        aside.late.retain(is_kept);
        websocket.forget_empty_aside();
    }

    fn late_reads(&self) -> &[LateRead] {
        match &self.life {
            Life::WebSocket(WebSocket { aside: Some(aside), .. }) => &aside.late,
            _ => &[],
        }
    }

    fn late_reads_mut(&mut self) -> Option<&mut Vec<LateRead>> {
        match &mut self.life {
            Life::WebSocket(WebSocket { aside: Some(aside), .. }) => Some(&mut aside.late),
            _ => None,
        }
    }
}

/// Event streams.
impl Connection {
    /// Begins an event stream without its channels, which the engine was asked about. Its reader is told that publications come
    /// late.
    pub(super) fn begin_stream_late(&mut self, what: Streaming, question: u64, cx: &mut Context) {
        self.send_stream_head(cx);
        let is_envelope = match &what {
            Streaming::One(joining) => joining.form.is_envelope(),
            Streaming::Many(_) => true,
        };
        self.become_event_stream(cx.is_leaving(), is_envelope, None, cx.now);
        self.tell_interruption(Notice::Paused, &what);
        let late = LateStream { what, asked: asked_now(question, cx) };
        if let Life::EventStream(stream) = &mut self.life {
            stream.late = Some(Box::new(late));
        }
        self.expect_acknowledgement(cx);
    }

    /// Joins the channels of an event stream, or asks for them again. `is_asked`: what this node has not of them does not exist.
    fn go_on_streaming(&mut self, is_asked: bool, cx: &mut Context) {
        let Life::EventStream(stream) = &mut self.life else { return };
        let Some(mut late) = stream.late.take() else { return };
        let sought = match &late.what {
            Streaming::One(joining) => vec![Sought::at(joining.channel.clone(), joining.position)],
            Streaming::Many(readings) => sought_by_readings(readings),
        };
        if let Some(question) = cx.prepare_sought(&sought, is_asked) {
            late.asked = asked_now(question, cx);
            stream.late = Some(late);
            return;
        }
        if let Err(refusal) = self.check_late(&late.what, cx) {
            cx.note_refusal(&refusal, self.identity.as_deref());
            return self.end_with(&refusal, cx);
        }
        self.tell_interruption(Notice::Resumed, &late.what);
        match &late.what {
            Streaming::One(joining) => {
                let joined = join(joining, self.present(), cx);
                self.begin(joined, &cx.hub);
            }
            Streaming::Many(readings) => {
                let joined = self.join_all(readings, cx);
                if let Life::EventStream(EventStream { places, .. }) = &mut self.life {
                    *places = Some(Box::new(joined));
                }
            }
        }
    }

    /// Checks that the client may still read what it asked for: the rules may have changed since.
    fn check_late(&self, what: &Streaming, cx: &Context) -> Result<(), Refusal> {
        let channels: Vec<&ChannelName> = match what {
            Streaming::One(joining) => vec![&joining.channel],
            Streaming::Many(readings) => readings.iter().map(|reading| &reading.channel).collect(),
        };
        let who = self.identity.as_deref();
        for channel in channels {
            if channel.is_reserved() {
                cx.access.check_admin(who)?;
            } else if let Verdict::No(refusal) = cx.access.may_subscribe(who, channel) {
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn tell_interruption(&mut self, said: Notice, what: &Streaming) {
        let out = self.outbox.tail();
        match what {
            Streaming::One(joining) => encoder::notice(said, joining.form, None, out),
            Streaming::Many(readings) => {
                for Reading { wanted, .. } in readings {
                    encoder::notice(said, WireForm::NamedEventStream, Some(wanted.channel.as_str()), out);
                }
            }
        }
    }

    /// Whether it is an event stream that cannot read its channels yet.
    pub(super) fn is_late_stream(&self) -> bool {
        self.late_stream().is_some()
    }

    fn late_stream(&self) -> Option<&LateStream> {
        match &self.life {
            Life::EventStream(stream) => stream.late.as_deref(),
            _ => None,
        }
    }

    fn late_stream_mut(&mut self) -> Option<&mut LateStream> {
        match &mut self.life {
            Life::EventStream(stream) => stream.late.as_deref_mut(),
            _ => None,
        }
    }
}

/// A question that is asked now. It is answered by the time that it has, or was lost.
fn asked_now(question: u64, cx: &Context) -> Asked {
    let answer_by = cx.join_ends(cx.now).unwrap_or(cx.now);
    Asked { question, again_at: Millis(answer_by.0.saturating_add(ASK_AGAIN_MS)) }
}
