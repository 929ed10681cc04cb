//! The connection of a session, while one of its methods is called.
//!
//! How other threads reach it is in `remote`.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use crate::hub::{ChannelName, PublicationId};
use crate::server::PublishError;
use crate::server::broker::draft::Draft;
use crate::server::broker::payload::Payload;
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::link::{ConnectionId, Form, Link, To};
use crate::server::handlers::message::Message;
use crate::ws::CloseCode;

/// The connection of a session, borrowed for one call: it cannot be kept, so nothing can be sent to a connection that has ended.
/// What is to reach it later has a
/// [`Remote`](crate::app::Remote).
///
/// Nothing of what a call sends is written before the loop's flush, so ten messages leave in one write; only long ones may leave
/// earlier, together with what was sent before them. What is sent here goes ahead of what channels have in the same turn: who
/// needs one order publishes.
pub struct Socket<'a, S: ?Sized> {
    pub(super) link: &'a mut dyn Link,
    session: PhantomData<fn(&S)>,
}

impl<'a, S> Socket<'a, S> {
    pub(super) fn new(link: &'a mut dyn Link) -> Self {
        Self { link, session: PhantomData }
    }

    /// The same connection for a session of another type.
    pub(super) fn retyped<T>(&mut self) -> Socket<'_, T> {
        Socket { link: &mut *self.link, session: PhantomData }
    }

    /// Sends a message to the peer: `&str` as text, `&[u8]` as binary, or a [`Message`] as it is.
    ///
    /// It never blocks, and never fails. While more than 64 KiB wait for the peer, it is not read, so that an echo bounds itself;
    /// a peer for which more than [`Config::max_lag`](crate::Config::max_lag) waits after a write, besides the newest message, is
    /// closed with 1013. After [`Socket::close`], messages are passed over.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) {
        let message = message.into();
        self.link.send(message.kind(), message.bytes());
    }

    /// Sends a value as JSON, in a text message, without a buffer between.
    ///
    /// # Errors
    /// The value has no JSON: a map whose keys are no strings, or one whose own code refused. Nothing was sent.
    pub fn send_json<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        self.link.write(&mut |out| Ok(serde_json::to_writer(out, value)?))
    }

    /// Sends the peer what is published to a channel from now on: each payload as it is, binary or text. The session is not
    /// called for these. A channel that it reads already stays as it is.
    ///
    /// Where many nodes share an engine, it may have to be asked for the channel first. Nothing waits for that: the channel is
    /// joined as soon as it can be, and what is published before is not sent. On one node it is joined when this returns.
    ///
    /// # Errors
    /// The channel is one of the server's own.
    pub fn subscribe(&mut self, channel: &ChannelName) -> Outcome {
        self.link.subscribe(channel, Form::Raw)
    }

    /// The same in another form.
    ///
    /// # Errors
    /// As [`Socket::subscribe`].
    pub fn subscribe_as(&mut self, channel: &ChannelName, form: Form) -> Outcome {
        self.link.subscribe(channel, form)
    }

    /// Sends the peer no more of a channel.
    pub fn unsubscribe(&mut self, channel: &ChannelName) {
        self.link.unsubscribe(channel);
    }

    /// Publishes to a channel: `&str` or `String` as text, `Bytes` or `Vec<u8>` as binary, [`Json`](crate::app::Json) as JSON. It
    /// reaches every subscriber by every transport, on all loops, in the channel's order; this connection too if it reads the
    /// channel. If the loops are behind, it is taken all the same, and this connection is not read until they are not.
    ///
    /// # Errors
    /// It is too long or has no JSON, or the channel is one of the server's own.
    pub fn publish(&mut self, channel: &ChannelName, payload: impl Payload) -> Outcome {
        self.put(channel, payload, To::All)?;
        Ok(())
    }

    /// The same to all subscribers but this connection.
    ///
    /// # Errors
    /// As [`Socket::publish`].
    pub fn publish_to_others(&mut self, channel: &ChannelName, payload: impl Payload) -> Outcome {
        self.put(channel, payload, To::Others)?;
        Ok(())
    }

    /// The same as [`Socket::publish`], with what became of it: the identifier, by which subscribers resume; `None` if it is with
    /// the engine of many nodes.
    ///
    /// # Errors
    /// As [`Socket::publish`].
    pub fn try_publish(
        &mut self,
        channel: &ChannelName,
        payload: impl Payload,
    ) -> Result<Option<PublicationId>, PublishError> {
        self.put(channel, payload, To::All)
    }

    fn put(
        &mut self,
        channel: &ChannelName,
        payload: impl Payload,
        to: To,
    ) -> Result<Option<PublicationId>, PublishError> {
        let draft = Draft::of(channel, payload)?;
        Ok(self.link.publish(draft, to)?.map(|published| published.id))
    }

    /// Closes the connection, with a reason of which the peer is sent the first 123 bytes. What was sent before still goes out,
    /// and `closed` is called after this call.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.link.close(code, reason);
    }

    /// How many bytes of what was sent the peer has not taken. Above 64 KiB it is not read.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.link.queued()
    }

    /// Has [`Session::timer`](crate::app::Session::timer) called once, after this time, to the millisecond and at least one. A connection has one timer:
    /// setting it again moves it.
    pub fn set_timer(&mut self, after: Duration) {
        self.link.set_timer(Some(after));
    }

    /// Has the timer not called.
    pub fn clear_timer(&mut self) {
        self.link.set_timer(None);
    }

    /// The number of the connection, which no other one of this run of the server has.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.link.id()
    }
}

impl<S: ?Sized> std::fmt::Debug for Socket<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Socket({})", self.link.id())
    }
}
