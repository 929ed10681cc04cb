//! One connection: its phase, what it owes its peer, and what happens when it falls behind.
//!
//! What its bytes mean is decided in `reading`; which connections there are, the loop knows.

use std::io;
use std::net::Shutdown;

use mio::net::TcpStream;

use super::handlers::Intent;
use super::liveness::{Liveness, Millis, Stage};
use super::outbox::Outbox;
use super::render;
use super::tally::Transport;
use super::transmit::{Transmitted, transmit};
use crate::config::LagPolicy;
use crate::http::RequestReader;
use crate::hub::{Hub, Subscription};
use crate::ws::{CloseCode, Deflate, Protocol, State};

/// A socket and all that is known of it.
#[derive(Debug)]
pub struct Connection {
    pub socket: TcpStream,
    pub phase: Phase,
    pub outbox: Outbox,
    pub liveness: Liveness,
    /// When a timer is going to look here; never later than the deadline.
    pub timer_at: Millis,
    /// Whether the socket has room. Cleared by a write that did not fit, set by the edge that follows.
    pub is_writable: bool,
    /// The private bytes that were last counted in the loop's sum.
    pub held: usize,
    /// Whether reading stopped because the outbox was high. There may be no further edge.
    pub is_held: bool,
    /// What it is counted as in the loop's tally.
    pub counted_as: Transport,
    /// Where it came in.
    pub door: Door,
}

/// Which listener a connection came in at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// One of `--listen`.
    Public,
    /// That of `--metrics-listen`.
    Metrics,
}

/// The life of a connection, from top to bottom; `WebSocket` can be left out.
#[derive(Debug)]
pub enum Phase {
    /// Requests and their answers.
    Http(Box<HttpPhase>),
    /// Frames, until a Close frame has gone both ways or the peer broke the protocol.
    WebSocket(WebSocketPhase),
    /// The outbox is sent, then our half of TCP is closed.
    Finishing,
    /// Our half is closed; what the peer still sends is ignored until it closes its own.
    Lingering,
}

/// An HTTP connection.
#[derive(Debug)]
pub struct HttpPhase {
    pub reader: RequestReader,
    /// The publication whose body is being read, and whether the connection is kept alive after it.
    pub awaited: Option<(Intent, bool)>,
}

/// A WebSocket connection.
#[derive(Debug)]
pub struct WebSocketPhase {
    pub protocol: Protocol,
    /// The compression that was agreed.
    pub deflate: Option<Deflate>,
    /// What it reads; `None` for the echo, and once it is closing.
    pub subscription: Option<Subscription>,
    /// Whether it gets a Close frame as soon as it has read what it is owed: the server stops.
    pub is_leaving: bool,
}

/// What a flush left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing.
    Settled,
    /// The outbox is no longer high: read on.
    ReadOn,
    /// All is sent: say goodbye now.
    Leave,
    /// The subscriber is too far behind.
    Lagged(Subscription),
}

impl Connection {
    /// A connection that has just been accepted and has not said anything.
    pub fn new(socket: TcpStream, reader: RequestReader, now: Millis, door: Door) -> Self {
        let phase = Phase::Http(Box::new(HttpPhase { reader, awaited: None }));
        let liveness = Liveness::new(now);
        let timer_at = Millis(u64::MAX);
        Self {
            socket,
            phase,
            outbox: Outbox::default(),
            liveness,
            timer_at,
            is_writable: true,
            held: 0,
            is_held: false,
            counted_as: Transport::Http,
            door,
        }
    }

    /// How it is used; one that is ending as before.
    pub fn transport(&self) -> Transport {
        match self.phase {
            Phase::Http(_) => Transport::Http,
            Phase::WebSocket(_) => Transport::WebSocket,
            Phase::Finishing | Phase::Lingering => self.counted_as,
        }
    }

    /// The bytes that are held for this connection alone: what is under way in either direction.
    pub fn private_len(&self) -> usize {
        let inbound = match &self.phase {
            Phase::Http(http) => http.reader.buffered(),
            Phase::WebSocket(websocket) => websocket.protocol.held_len(),
            Phase::Finishing | Phase::Lingering => 0,
        };
        inbound + self.outbox.unsent().len()
    }

    /// What the connection reads.
    pub fn subscription(&self) -> Option<Subscription> {
        match &self.phase {
            Phase::WebSocket(websocket) => websocket.subscription,
            Phase::Http(_) | Phase::Finishing | Phase::Lingering => None,
        }
    }

    /// Ends the subscription: the rest of a started frame is kept, the rest of the log is not. The caller tells
    /// the exchange.
    #[must_use]
    pub fn detach(&mut self, hub: &mut Hub) -> Option<Subscription> {
        let Phase::WebSocket(websocket) = &mut self.phase else { return None };
        let subscription = websocket.subscription.take()?;
        self.take_started(subscription, hub);
        Some(subscription)
    }

    /// Sends a Close frame, unless one went out before, and waits for the peer's. Detach first.
    pub fn close(&mut self, code: CloseCode, reason: &str, now: Millis) {
        let Phase::WebSocket(websocket) = &mut self.phase else { return };
        debug_assert!(websocket.subscription.is_none(), "nothing follows a Close frame");
        if websocket.protocol.state() == State::Open {
            websocket.protocol.close(code, reason, self.outbox.tail());
            self.liveness.enter(Stage::Closing, now);
        }
    }

    /// Sends what is owed, then closes TCP from our side (RFC 6455 §7.1.1: the server first). Detach first.
    pub fn finish(&mut self, now: Millis) {
        self.phase = Phase::Finishing;
        self.liveness.enter(Stage::Lingering, now);
    }

    /// Writes what the socket takes, with one system call: the rest of a started frame, then the outbox, then the
    /// log. That call is a connection's write budget of a turn. What was written is added to `sent`.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, hub: &mut Hub, lag_max: u64, sent: &mut u64) -> io::Result<Flushed> {
        let subscription = self.subscription();
        if self.is_writable {
            if let Some(subscription) = subscription {
                self.tell_missed(subscription, hub);
            }
            self.write_once(subscription, hub, sent)?;
        }
        if !self.is_writable
            && let Some(subscription) = subscription
            && hub.lag(subscription) > lag_max
        {
            return Ok(Flushed::Lagged(subscription));
        }
        self.after_flush(subscription, hub)
    }

    /// What happens to a subscriber that is more than `lag_max` bytes behind. True if it has to be closed.
    #[must_use]
    pub fn lagged(
        &mut self,
        policy: LagPolicy,
        subscription: Subscription,
        hub: &mut Hub,
        lag_max: u64,
    ) -> bool {
        self.take_started(subscription, hub);
        match policy {
            LagPolicy::Close => return true,
            LagPolicy::Skip => hub.skip_oldest(subscription, lag_max),
            LagPolicy::Latest => hub.skip_to_newest(subscription),
        }
        false
    }

    fn write_once(
        &mut self,
        subscription: Option<Subscription>,
        hub: &mut Hub,
        sent: &mut u64,
    ) -> io::Result<()> {
        let started_len = subscription.map_or(0, |subscription| hub.started(subscription).len());
        let unread = subscription.map_or(&[][..], |subscription| hub.unread(subscription));
        let outbox_len = self.outbox.unsent().len();
        let runs = if outbox_len == 0 {
            [unread, &[], &[]]
        } else {
            let (started, rest) = unread.split_at(started_len);
            [started, self.outbox.unsent(), rest]
        };
        if outbox_len == 0 && unread.is_empty() {
            return Ok(());
        }
        let written = match transmit(&self.socket, &runs)? {
            Transmitted::All(len) => len,
            Transmitted::Part(len) => {
                self.is_writable = false;
                len
            }
        };
        *sent += written as u64;
        let from_outbox = written.saturating_sub(started_len).min(outbox_len);
        self.outbox.consume(from_outbox);
        if let Some(subscription) = subscription {
            hub.advance(subscription, written - from_outbox);
        }
        Ok(())
    }

    fn after_flush(&mut self, subscription: Option<Subscription>, hub: &Hub) -> io::Result<Flushed> {
        if let Phase::WebSocket(WebSocketPhase { is_leaving: true, .. }) = self.phase
            && subscription.is_none_or(|subscription| hub.lag(subscription) == 0)
        {
            return Ok(Flushed::Leave);
        }
        if matches!(self.phase, Phase::Finishing) && self.outbox.is_empty() {
            self.phase = Phase::Lingering;
            return match self.socket.shutdown(Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                // The peer may have closed its half already; no edge tells of that again.
                _ => Ok(Flushed::ReadOn),
            };
        }
        if self.is_held && !self.outbox.is_high() {
            self.is_held = false;
            return Ok(Flushed::ReadOn);
        }
        Ok(Flushed::Settled)
    }

    fn tell_missed(&mut self, subscription: Subscription, hub: &mut Hub) {
        let missed = hub.take_missed(subscription);
        if missed > 0 {
            render::lagged_notice(missed, subscription.form(), self.outbox.tail());
        }
    }

    fn take_started(&mut self, subscription: Subscription, hub: &mut Hub) {
        let started = hub.started(subscription);
        if !started.is_empty() {
            let len = started.len();
            self.outbox.prepend(started);
            hub.advance(subscription, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_at_rest_is_small() {
        // 10,000 of them: the aim is 400 bytes each with everything else that they own.
        assert!(size_of::<Connection>() <= 200, "{}", size_of::<Connection>());
    }
}
