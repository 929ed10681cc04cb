//! What reads a channel as soon as it can be joined while nothing waits for that: a program's session, whose methods cannot wait.
//!
//! What does wait is in `preparing`. A session is not told of a refusal; the engine is asked again, as long as the session is there.

use super::Connection;
use super::context::Context;
use super::life::{Life, WebSocket};
use crate::hub::ChannelName;
use crate::server::broker::engine::waiting::Unavailable;
use crate::server::clock::Millis;
use crate::server::handlers::link::Form;

/// The engine is asked again this long after it has refused a channel, in milliseconds: as long as clients are told to wait.
const ASK_AGAIN_MS: u64 = 1_000;

/// A channel that is read once it can be joined.
#[derive(Debug)]
pub struct LateRead {
    channel: ChannelName,
    form: Form,
    /// The question that was asked about it last.
    question: u64,
    /// When it is asked about again.
    ask_at: Millis,
}

impl Connection {
    /// Reads a channel of a session once it can be joined. It may wait for that already.
    pub(super) fn read_late(&mut self, channel: &ChannelName, form: Form, cx: &mut Context) {
        if self.late().iter().any(|late| late.channel == *channel) {
            return;
        }
        match cx.prepare(std::slice::from_ref(channel)) {
            None => self.read_for_session(channel, form, cx),
            Some(question) => {
                let late = LateRead { channel: channel.clone(), form, question, ask_at: cx.answer_by() };
                if let Life::WebSocket(websocket) = &mut self.life {
                    websocket.aside.get_or_insert_default().late.push(late);
                }
            }
        }
    }

    /// Reads a channel of a session no more, and does not begin to.
    pub(super) fn stop_reading(&mut self, channel: &ChannelName, cx: &mut Context) {
        self.keep_late(|late| late.channel != *channel);
        self.end_reading(channel, cx);
    }

    /// The channel of a question can be joined, or cannot. Its session may not want to read it any more.
    pub(super) fn take_late(&mut self, question: u64, outcome: Result<(), Unavailable>, cx: &mut Context) {
        let Some(late) = self.late_mut().and_then(|late| late.iter_mut().find(|it| it.question == question))
        else {
            return;
        };
        match outcome {
            Ok(()) => {
                let (channel, form) = (late.channel.clone(), late.form);
                self.keep_late(|late| late.channel != channel);
                self.read_late(&channel, form, cx);
            }
            Err(Unavailable) => late.ask_at = Millis(cx.now.0 + ASK_AGAIN_MS),
        }
    }

    /// When the engine is to be asked again about channels of a session, if it is.
    pub(super) fn ask_late_at(&self) -> Option<Millis> {
        self.late().iter().map(|late| late.ask_at).min()
    }

    /// Asks again about the channels for which it is time.
    pub(super) fn ask_late(&mut self, cx: &mut Context) {
        let due = self.late().iter().filter(|late| late.ask_at <= cx.now);
        let due: Vec<_> = due.map(|late| (late.channel.clone(), late.form)).collect();
        self.keep_late(|late| late.ask_at > cx.now);
        for (channel, form) in due {
            self.read_late(&channel, form, cx);
        }
    }

    /// The connection ends: nothing is to be read any more.
    pub(super) fn forget_late(&mut self) {
        self.keep_late(|_| false);
    }

    fn keep_late(&mut self, is_kept: impl FnMut(&LateRead) -> bool) {
        let Life::WebSocket(websocket) = &mut self.life else { return };
        let Some(aside) = &mut websocket.aside else { return };
        aside.late.retain(is_kept);
        websocket.forget_empty_aside();
    }

    fn late(&self) -> &[LateRead] {
        match &self.life {
            Life::WebSocket(WebSocket { aside: Some(aside), .. }) => &aside.late,
            _ => &[],
        }
    }

    fn late_mut(&mut self) -> Option<&mut Vec<LateRead>> {
        match &mut self.life {
            Life::WebSocket(WebSocket { aside: Some(aside), .. }) => Some(&mut aside.late),
            _ => None,
        }
    }
}

impl Context {
    /// When the engine has answered a question that is asked now, or has lost it.
    fn answer_by(&self) -> Millis {
        Millis(self.join_ends(self.now).unwrap_or(self.now).0.saturating_add(ASK_AGAIN_MS))
    }
}
