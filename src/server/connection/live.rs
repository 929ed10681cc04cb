//! What a session does to its connection while it is called: it sends, closes, reads channels and publishes.
//!
//! When it is called is in `acting`.

use std::io::IoSlice;
use std::time::Duration;

use super::context::Context;
use super::joining::subscribe_at;
use super::life::{Life, WebSocket};
use super::stream::Outlet;
use super::subscriptions::Entry;
use super::{Connection, Next};
use crate::hub::{ChannelName, Position, Published, WireForm};
use crate::server::api::acceptance::{form as plain_form, is_deflated};
use crate::server::broker::answer::{Publishing, Waiter};
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::clock::{Millis, millis};
use crate::server::handle::PublishError;
use crate::server::handlers::actors::ActorId;
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::link::{Address, ConnectionId, Form, Link, To};
use crate::ws::{CloseCode, FrameHeader, MessageKind, Opcode};

/// The last message of a read is sent from where it is without a copy if it has at least this many bytes and the connection
/// reads no channel. Copying fewer takes less time than passing the system two runs.
const LAST_IN_PLACE_LEN_MIN: usize = 2 * 1024;

/// Any other message is sent without a copy if it has at least this many bytes. Shorter ones are collected in the outbox,
/// since a write for each would cost more than the copy.
const IN_PLACE_LEN_MIN: usize = 16 * 1024;

/// The room for the header of a frame whose length is not known yet: that of the longest header of a server's frame.
const HEADER_LEN_MAX: usize = 10;

/// A connection whose session is being called.
///
/// ```text
///   outbox   | sent | unsent ... | header, 10 bytes | what `write` has made so far
///                                ^ mark
/// ```
#[derive(Debug)]
pub struct Live<'a> {
    connection: &'a mut Connection,
    cx: &'a mut Context,
    id: ActorId,
    /// Whether nothing was read after what the session is called for.
    is_last: bool,
    /// Where a frame of the outbox begins that is not complete.
    mark: Option<usize>,
    /// Whether the server's own code runs, whose panics are its own.
    pub is_inside: bool,
    /// Whether the socket was found to be broken.
    pub is_broken: bool,
}

impl<'a> Live<'a> {
    /// Of the connection that is being called.
    pub fn new(connection: &'a mut Connection, id: ActorId, is_last: bool, cx: &'a mut Context) -> Self {
        Self { connection, cx, id, is_last, mark: None, is_inside: false, is_broken: false }
    }

    /// Takes back a frame that is not complete.
    pub fn take_back(&mut self) {
        if let Some(mark) = self.mark.take() {
            self.connection.outbox.tail().truncate(mark);
        }
    }

    /// Does something of the server's.
    fn inside<T>(&mut self, act: impl FnOnce(&mut Connection, &mut Context) -> T) -> T {
        self.is_inside = true;
        let done = act(self.connection, self.cx);
        self.is_inside = false;
        done
    }
}

impl Link for Live<'_> {
    fn send(&mut self, kind: MessageKind, payload: &[u8]) {
        let is_last = self.is_last;
        self.cx.actors.note_sent(self.id, payload.len());
        let is_broken = self.inside(|connection, cx| connection.send_frame(kind, payload, is_last, cx));
        self.is_broken |= is_broken == Next::Drop;
    }

    fn write(&mut self, write: &mut dyn FnMut(&mut Vec<u8>) -> Outcome) -> Outcome {
        if !self.connection.is_open() {
            return Ok(());
        }
        self.connection.outbox.lend(&mut self.cx.spares);
        let out = self.connection.outbox.tail();
        let mark = out.len();
        self.mark = Some(mark);
        out.extend_from_slice(&[0; HEADER_LEN_MAX]);
        let written = write(out);
        match written {
            Ok(()) => {
                let len = self.connection.outbox.tail().len() - mark;
                self.cx.actors.note_sent(self.id, len);
                self.mark = None;
                self.inside(|connection, cx| connection.finish_frame(mark, cx));
            }
            Err(_) => self.take_back(),
        }
        written
    }

    fn subscribe(&mut self, channel: &ChannelName, form: Form) -> Outcome {
        if channel.is_reserved() {
            return Err(PublishError::Reserved.into());
        }
        self.inside(|connection, cx| connection.begin_reading(channel, form, cx));
        Ok(())
    }

    fn unsubscribe(&mut self, channel: &ChannelName) {
        self.inside(|connection, cx| connection.stop_reading(channel, cx));
    }

    fn publish(&mut self, draft: Draft, to: To) -> Result<Option<Published>, PublishError> {
        self.inside(|connection, cx| connection.publish_for_session(draft, to, cx))
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        self.inside(|connection, cx| connection.close(code, reason, cx));
    }

    fn queued(&self) -> usize {
        self.connection.unsent_len()
    }

    fn set_timer(&mut self, after: Option<Duration>) {
        // At least a millisecond, which is what the loop counts in: a timer of zero would not let it rest.
        let at = after.map(|after| Millis(self.cx.now.0.saturating_add(millis(after).max(1))));
        self.cx.actors.set_timer(self.id, at);
    }

    fn id(&self) -> ConnectionId {
        ConnectionId { loop_index: self.cx.loop_index as u32, connection: self.cx.owner }
    }

    fn address(&self) -> Address {
        self.cx.address()
    }

    fn has_worker(&self) -> bool {
        self.cx.program.workers.has_room()
    }

    fn work(&mut self, job: Box<dyn FnOnce() + Send>) {
        self.cx.program.workers.run(job);
    }
}

/// What is done for a session.
impl Connection {
    /// Appends a message to the outbox, or writes a long one at once from where it is. Nothing follows a Close frame.
    fn send_frame(&mut self, kind: MessageKind, payload: &[u8], is_last: bool, cx: &mut Context) -> Next {
        let Life::WebSocket(websocket) = &self.life else { return Next::Wait };
        if !websocket.is_open() {
            return Next::Wait;
        }
        let opcode = opcode(kind);
        self.outbox.lend(&mut cx.spares);
        if let Some(deflate) = websocket.deflate {
            cx.encoder.message(opcode, payload, deflate.server_max_window_bits, self.outbox.tail());
            return Next::Wait;
        }
        let payload_len = payload.len() as u64;
        let header = FrameHeader { fin: true, is_compressed: false, opcode, mask: None, payload_len };
        let out = self.outbox.tail();
        let len_min = if is_last { LAST_IN_PLACE_LEN_MIN } else { IN_PLACE_LEN_MIN };
        if payload.len() < len_min || !self.subscriptions.is_empty() {
            header.encode(out);
            out.extend_from_slice(payload);
            return Next::Wait;
        }
        header.encode(out);
        self.send_in_place(payload, cx)
    }

    /// Sends the outbox and then `bytes`, as much as the socket takes with one system call; the rest waits in the outbox. The
    /// connection has no subscription: the flush phase knows where a channel's frames end. [`Next::Drop`] if the socket is
    /// broken.
    fn send_in_place(&mut self, bytes: &[u8], cx: &mut Context) -> Next {
        let mut written = 0;
        if self.stream.is_writable() {
            let runs = [self.outbox.unsent(), bytes].map(IoSlice::new);
            let Context { counters, pipe, sealing, .. } = cx;
            let mut outlet = Outlet { pipe, sealing, sent: &mut counters.bytes_sent };
            match self.stream.write(&runs, &mut outlet) {
                Ok(len) => written = len,
                Err(_) => return Next::Drop,
            }
        }
        let from_outbox = written.min(self.outbox.unsent().len());
        let from_bytes = written - from_outbox;
        if from_bytes < bytes.len() {
            self.outbox.tail().extend_from_slice(&bytes[from_bytes..]);
        }
        self.outbox.consume(from_outbox);
        Next::Wait
    }

    /// Makes a frame of what is behind `mark` and the room for its header.
    fn finish_frame(&mut self, mark: usize, cx: &mut Context) {
        let Life::WebSocket(WebSocket { deflate, .. }) = &self.life else { return };
        let out = self.outbox.tail();
        if let Some(deflate) = deflate {
            let text = out.split_off(mark + HEADER_LEN_MAX);
            out.truncate(mark);
            cx.encoder.message(Opcode::Text, &text, deflate.server_max_window_bits, out);
            return;
        }
        let payload_len = (out.len() - mark - HEADER_LEN_MAX) as u64;
        // Behind the payload first, which is then moved up to it: no further buffer.
        let end = out.len();
        FrameHeader { fin: true, is_compressed: false, opcode: Opcode::Text, mask: None, payload_len }
            .encode(out);
        let header_len = out.len() - end;
        out.copy_within(end.., mark);
        out.copy_within(mark + HEADER_LEN_MAX..end, mark + header_len);
        out.truncate(end - HEADER_LEN_MAX + header_len);
    }

    /// Reads a channel, from what is published after it was joined: at once, or when it can be. It may read it already.
    fn begin_reading(&mut self, channel: &ChannelName, form: Form, cx: &mut Context) {
        if self.is_open() && self.subscription_to(channel, cx).is_none() {
            self.read_late(channel, form, cx);
        }
    }

    /// Reads a channel that can be joined, from what is published after this on.
    pub(super) fn read_for_session(&mut self, channel: &ChannelName, form: Form, cx: &mut Context) {
        let Life::WebSocket(websocket) = &self.life else { return };
        let form = match form {
            Form::Raw => plain_form(false, websocket.deflate),
            Form::Envelope if is_deflated(websocket.deflate) => WireForm::NamedEnvelopeDeflate,
            Form::Envelope => WireForm::NamedEnvelope,
        };
        let (policy, owner) = (cx.shared.config.lag_policy(channel.local()), cx.owner);
        let present = self.present();
        let subscription = cx.under_lock(channel, (Position::Now, form), present, |hub, resumption| {
            Some(subscribe_at(hub, channel, form, owner, &resumption))
        });
        let subscription = subscription.expect("it joins in any case");
        self.add_subscription(Entry::new(subscription, policy, None), &cx.hub);
    }

    /// Publishes what the session says. If the loops are behind, the connection is not read until they are not.
    fn publish_for_session(
        &mut self,
        mut draft: Draft,
        to: To,
        cx: &mut Context,
    ) -> Result<Option<Published>, PublishError> {
        let len_max = cx.shared.config.publication_len_max();
        if draft.data.len() as u64 > len_max {
            return Err(PublishError::TooLong { len_max });
        }
        draft.excluded = match to {
            To::All => Excluded::Nobody,
            To::Others => Excluded::Owner(cx.owner()),
        };
        match cx.shared.broker.publish(draft, Waiter::Nobody, cx.now) {
            Publishing::Done(receipt) => {
                cx.counters.note_keyless_publishes(1);
                self.audience = u16::try_from(receipt.published.subscribers).unwrap_or(u16::MAX);
                Ok(Some(receipt.published))
            }
            Publishing::Awaited => {
                self.note_awaited();
                Ok(None)
            }
        }
    }
}

fn opcode(kind: MessageKind) -> Opcode {
    match kind {
        MessageKind::Text => Opcode::Text,
        MessageKind::Binary => Opcode::Binary,
    }
}
