//! The role of a connection that reads several channels as one event stream.
//!
//! ```text
//!   retry: 2000                       the first block of the first channel has the positions in all of them
//!   id: beef-7,f00d-40
//!   data: {"event":"fanfare:subscribed","channel":"news", …
//!
//!   data: {"event":"fanfare:gap","channel":"chat-7", …
//!
//!   data: {"channel":"news","id":"beef-8", …           shared with the other readers of the channel
//!
//!   id: beef-8,f00d-40                this reader's: remembered, and no event
//! ```
//!
//! When the positions are told is the rule of `places`. An event stream of one channel is in `event_stream`.

use super::Connection;
use super::awaiting::Streaming;
use super::context::Context;
use super::joining::join_one_of_many;
use super::life::{EventStream, Life};
use super::places::{Places, digest};
use super::preparing::{Waited, sought_by_readings};
use super::subscriptions::Subscriptions;
use crate::http::{self, StreamEvent};
use crate::hub::{Hub, PublicationId, WireForm};
use crate::server::api::many::{Reading, SEPARATOR};
use crate::server::clock::Millis;
use crate::server::encoder::{Notice, STREAM_RETRY_MS};

/// The beginning of the stream.
impl Connection {
    /// Answers a request with an event stream of several channels, which may not be ready although they were waited for. Of each
    /// is told where it begins, then what was missed.
    pub(super) fn begin_stream_of_many(&mut self, readings: Vec<Reading>, waited: Waited, cx: &mut Context) {
        if let Some(question) = cx.prepare_sought(&sought_by_readings(&readings), waited.is_asked) {
            return self.begin_stream_late(Streaming::Many(readings), question, cx);
        }
        self.send_stream_head(cx);
        let places = self.join_all(&readings, cx);
        self.become_event_stream(cx.is_leaving(), true, Some(Box::new(places)), cx.now);
        self.expect_acknowledgement(cx);
    }

    /// Joins the channels of a stream, and tells its reader where each begins.
    pub(super) fn join_all(&mut self, readings: &[Reading], cx: &mut Context) -> Places {
        let mut beginnings = Vec::new();
        for Reading { channel, wanted, .. } in readings {
            let who = (self.present(), wanted.presence && self.sees(channel, cx));
            let joined = join_one_of_many(channel, WireForm::NamedEventStream, wanted, None, who, cx);
            beginnings.extend(joined.texts);
            joined.entries.into_iter().for_each(|entry| self.add_subscription(entry, &cx.hub));
        }
        let positions = self.positions(&cx.hub);
        let ids = joined(&positions);
        let (mut retry_ms, mut id) = (Some(STREAM_RETRY_MS), Some(ids.as_str()));
        for text in &beginnings {
            let data = Some(text.as_bytes());
            let event = StreamEvent { retry_ms: retry_ms.take(), id: id.take(), name: None, data };
            http::encode_event(self.outbox.tail(), &event);
        }
        Places::new(digest(positions.iter().copied()), cx.now)
    }
}

/// Positions.
impl Connection {
    /// The last publication of each channel that is in its socket, its outbox or the started frame, or that it skipped.
    /// What tells who is there has none: a reader that comes back is told anew.
    fn positions(&self, hub: &Hub) -> Vec<PublicationId> {
        positions(&self.subscriptions, hub).collect()
    }

    fn places(&self) -> Option<&Places> {
        match &self.life {
            Life::EventStream(EventStream { places, .. }) => places.as_deref(),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    fn places_mut(&mut self) -> Option<&mut Places> {
        match &mut self.life {
            Life::EventStream(EventStream { places, .. }) => places.as_deref_mut(),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    /// Notes how far a write has got. True if positions are to be told in another write right away.
    pub(super) fn note_places(&mut self, cx: &Context) -> bool {
        let Self { life: Life::EventStream(EventStream { places: Some(places), .. }), subscriptions, .. } =
            self
        else {
            return false;
        };
        places.note(digest(positions(subscriptions, &cx.hub)));
        places.is_due(cx.now)
    }

    /// Appends the block with the positions to the outbox, if it is due. What is in the outbox goes out before any byte of a
    /// log that is not counted in them.
    pub(super) fn tell_places(&mut self, cx: &Context) {
        if self.places().is_some_and(|places| places.is_due(cx.now)) {
            self.tell_places_now(cx);
        }
    }

    fn tell_places_now(&mut self, cx: &Context) {
        let positions = self.positions(&cx.hub);
        // A peer with unsent bytes needs no further sign of life.
        let is_quiet = self.outbox.is_empty();
        let Some(places) = self.places_mut() else { return };
        let alive = Notice::Alive { idle_ms: cx.timeouts.idle_ms() };
        let data = (places.is_alive_due && is_quiet).then(|| alive.envelope(None));
        places.told(digest(positions.iter().copied()), cx.now);
        let ids = joined(&positions);
        let event = StreamEvent {
            id: Some(&ids),
            data: data.as_ref().map(String::as_bytes),
            ..StreamEvent::default()
        };
        http::encode_event(self.outbox.tail(), &event);
    }

    /// The stream ends: its reader is told where it goes on, so that nothing comes twice. What it skipped, it is told before.
    pub(super) fn tell_last_places(&mut self, cx: &mut Context) {
        if self.places().is_some() && !self.subscriptions.is_empty() {
            self.tell_skipped(cx);
            self.tell_places_now(cx);
        }
    }

    /// Has the next write tell the reader that the server is alive. False if it reads no stream of several channels.
    pub(super) fn ask_for_sign_of_life(&mut self) -> bool {
        self.places_mut().map(|places| places.is_alive_due = true).is_some()
    }

    /// When the reader is to be told its positions. Its socket has to have room: otherwise they are told when it has.
    pub(super) fn places_due_at(&self) -> Option<Millis> {
        self.places().filter(|_| !self.stream.is_refused()).map(Places::due_at)
    }

    /// Whether the reader has been sent publications that its positions do not count yet.
    pub(super) fn has_untold_places(&self) -> bool {
        self.places().is_some_and(Places::is_untold)
    }
}

fn positions<'a>(subscriptions: &'a Subscriptions, hub: &'a Hub) -> impl Iterator<Item = PublicationId> + 'a {
    let entries = subscriptions.entries().iter();
    entries.filter(|entry| !hub.channel(entry.subscription).is_companion()).map(|entry| entry.position(hub))
}

/// The positions as one identifier, in the order of the URL.
fn joined(positions: &[PublicationId]) -> String {
    let ids: Vec<String> = positions.iter().map(PublicationId::to_string).collect();
    ids.join(&SEPARATOR.to_string())
}
