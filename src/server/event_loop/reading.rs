//! The read phase: bytes come in, requests are answered, messages echoed or published.
//!
//! What is answered is decided in `handlers`, what is published in `draft`, how a message is sent back in `echo`;
//! nothing is written to a socket here.

use std::io::{ErrorKind, Read};

use crate::http::{self, Error, Framing, Request, Response, Status};
use crate::hub::{Published, Subscription};
use crate::server::api::handlers::{self, Acceptance, Answer, Intent};
use crate::server::api::payload;
use crate::server::api::routes::Door;
use crate::server::broker::answer::{NotPublished, PublishAnswer, Publishing, Receipt, Waiter};
use crate::server::broker::draft::Draft;
use crate::server::broker::idempotency::{IdempotencyKey, KeyRefused};
use crate::server::broker::mailbox::FAN_OUT_MAX;
use crate::server::clock;
use crate::server::connection::table::Key;
use crate::server::connection::timeouts::Stage;
use crate::server::connection::{Awaited, Connection, Phase, Rest, WebSocketPhase};
use crate::server::event_loop::read_queue::{Input, READ_LEN_PER_TURN_MAX};
use crate::server::event_loop::{EventLoop, READ_BUFFER_LEN};
use crate::server::metrics::refusals::Reason;
use crate::ws::{self, Message, Protocol};

/// Reads of one socket in a turn, unless the first fills the buffer: one for what is there, one to find that there is
/// no more, and two for what comes meanwhile.
const READS_PER_SHARE_MAX: usize = 4;

/// Bytes of one socket in a turn, with what they inflate to: two full reads, since inflating a byte costs less than
/// reading one.
const TAKEN_LEN_PER_SHARE_MAX: usize = 256 * 1024;

/// What a publisher with a large audience is read of at least: with less, a subscriber's write would cost more than
/// the bytes in it.
const PUBLISHER_SHARE_MIN: usize = 4 * 1024;

/// Bytes, besides those of one message of `--max-message`, that are read of a connection after its last answer or
/// Close frame, and of an event stream. They are read because a reset, which unread bytes cause, would take that answer
/// from a client that is still sending; what it can have on its way before it knows is what both systems hold: 4 MiB
/// and 6 MiB on Linux.
const DISCARDED_LEN_MAX: u64 = 16 * 1024 * 1024;

impl EventLoop {
    /// Reads until the socket has nothing more, something stands in the way, or its share of the turn is used up: one
    /// full read. Says what is left.
    pub(super) fn read_connection(&mut self, key: Key) -> Input {
        self.taken_len = 0;
        self.serve(key);
        self.go_on(key);
        let input = self.read_share(key);
        // What was read may have left something to send, or brought a deadline nearer.
        self.count(key);
        self.touched.push(key);
        self.schedule(key);
        input
    }

    fn read_share(&mut self, key: Key) -> Input {
        let mut share = self.connections.get(key).map_or(0, |connection| share_len(connection.audience));
        let mut is_drained = false;
        for _ in 0..READS_PER_SHARE_MAX {
            if let Some(input) = self.obstacle(key) {
                return input;
            }
            if share == 0 {
                break;
            }
            if is_drained {
                return Input::Drained;
            }
            let room_len = share;
            let mut buffer = std::mem::take(&mut self.read_buffer);
            let read =
                self.connections.get_mut(key).map(|connection| connection.socket.read(&mut buffer[..share]));
            if let Some(Ok(len)) = read {
                share -= len;
            }
            let is_more = match read {
                Some(Ok(0)) => self.end_of_input(key),
                Some(Ok(len)) => {
                    // The end of the peer has no further edge. Without it, a read that does not fill the room has left
                    // nothing, and what comes after it is an edge of its own.
                    is_drained =
                        len < room_len && self.connections.get(key).is_some_and(|peer| !peer.has_ended);
                    self.receive(key, &mut buffer[..len])
                }
                Some(Err(error)) if error.kind() == ErrorKind::Interrupted => true,
                Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => false,
                Some(Err(_)) => self.doom(key),
                None => false,
            };
            self.read_buffer = buffer;
            if !is_more {
                return Input::Drained;
            }
        }
        Input::Queued
    }

    /// What keeps the next bytes from being taken, if anything does: the peer itself, or, if it publishes, a loop that
    /// is behind.
    fn obstacle(&mut self, key: Key) -> Option<Input> {
        let connection = self.connections.get(key)?;
        if connection.is_to_be_read() {
            return Some(connection.input);
        }
        if connection.is_to_be_held() {
            if connection.has_ended && connection.asks_ahead() {
                // It is known without reading as far as the end.
                self.end_of_input(key);
            }
            return Some(Input::Held);
        }
        if connection.is_publisher() && self.broker().is_congested() {
            return Some(Input::Parked);
        }
        connection.has_rest().then_some(Input::Queued)
    }

    /// Whether more should be taken of what was read: the bounds of reading, looked at after each event as well.
    fn may_take(&self, key: Key) -> bool {
        let is_used_up = self.read_len > READ_LEN_PER_TURN_MAX || self.taken_len > TAKEN_LEN_PER_SHARE_MAX;
        !is_used_up
            && self.connections.get(key).is_some_and(|connection| {
                let has_to_wait = connection.is_publisher() && self.broker().is_congested();
                !connection.is_to_be_held() && !has_to_wait
            })
    }

    /// Takes what was read in an earlier turn and was too much for that.
    fn go_on(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::WebSocket(websocket) = &mut connection.phase else { return };
        if let Some(mut rest) = websocket.rest.take() {
            self.receive_frames(key, &mut rest.0);
        }
    }

    fn doom(&mut self, key: Key) -> bool {
        self.doomed.push(key);
        false
    }

    /// The peer has closed its half. Answers that it is owed are still sent; a WebSocket and a stream are over. So is a
    /// long poll that waits: nobody closes its half and stays for that, and who has gone would be counted until then.
    fn end_of_input(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        if connection.awaits_delivery() {
            // It is read again after the answer, and found to have ended then.
            return false;
        }
        if connection.outbox.is_empty() {
            return self.doom(key);
        }
        match connection.phase {
            Phase::Http(_) => {
                self.leave_channel(key);
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.finish(self.now);
                }
            }
            Phase::Finishing => {}
            Phase::WebSocket(_) | Phase::EventStream(_) | Phase::Lingering => return self.doom(key),
        }
        false
    }

    /// Takes what was read. False if there is nothing more to be read.
    fn receive(&mut self, key: Key, input: &mut [u8]) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.audience = 0;
        self.read_len += input.len();
        self.taken_len += input.len();
        self.counters.bytes_received += input.len() as u64;
        match &mut connection.phase {
            Phase::Http(http) => {
                http.reader.receive(input);
                if connection.liveness.stage() == Stage::KeptAlive {
                    connection.liveness.enter(Stage::Head, self.now);
                }
                self.serve(key);
            }
            Phase::WebSocket(_) => {
                connection.liveness.heard(self.now);
                let is_closing = connection.liveness.stage() == Stage::Closing;
                let len = input.len();
                self.receive_frames(key, input);
                // Of what comes after our Close frame, only the answer to it counts.
                return !is_closing || self.discard(key, len);
            }
            // After the Close frame nothing counts (RFC 6455 §5.5.1), and an event stream has no end to ask behind.
            Phase::EventStream(_) | Phase::Finishing | Phase::Lingering => {
                return self.discard(key, input.len());
            }
        }
        true
    }

    /// Counts what is read to no purpose. Who goes on and on is dropped; false then.
    fn discard(&mut self, key: Key, len: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.discarded = connection.discarded.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        // At 4 GiB the count ends, and so does the connection, whatever the configuration says.
        let len_max =
            self.shared.config.max_message.saturating_add(DISCARDED_LEN_MAX).min(u64::from(u32::MAX) - 1);
        u64::from(connection.discarded) <= len_max || self.doom(key)
    }

    /// Answers the requests that are complete, as long as the peer takes the answers.
    fn serve(&mut self, key: Key) {
        while let Some(connection) = self.connections.get_mut(key) {
            let Phase::Http(http) = &mut connection.phase else { return };
            if matches!(http.awaited, Some(Awaited::Publication { .. } | Awaited::Delivery { .. })) {
                return;
            }
            let is_body = matches!(http.awaited, Some(Awaited::Body { .. }));
            if connection.outbox.is_high() {
                return;
            }
            if is_body && self.shared.broker.is_congested() {
                return self.park(key);
            }
            match http.reader.poll() {
                Ok(None) => return,
                Ok(Some(http::Event::Head(request))) => self.answer(key, &request),
                Ok(Some(http::Event::Body(body))) => self.publish_body(key, body),
                Err(error) => self.refuse_request(key, &error),
            }
        }
    }

    fn answer(&mut self, key: Key, request: &Request) {
        let answer = self.decide(key, request);
        if let Some(connection) = self.connections.get_mut(key)
            && let Door::Public = connection.door
            && let Phase::Http(http) = &mut connection.phase
        {
            http.allow_origin = self.shared.handlers.allow_origin(request).map(Into::into);
        }
        match answer {
            Answer::Respond(response) => self.respond_to(key, request, &response),
            Answer::Report(report) => {
                let response = self.report_on(report);
                self.respond_to(key, request, &response);
            }
            Answer::ReadBody(intent) => self.await_body(key, request, intent),
            Answer::Stream(joining) => self.stream(key, joining),
            Answer::Poll(polling) => self.poll_channel(key, request, &polling),
            Answer::Upgrade(acceptance) => self.upgrade(key, acceptance),
        }
    }

    /// Answers a request whose body, if it announced one, is not wanted.
    pub(super) fn respond_to(&mut self, key: Key, request: &Request, response: &Response) {
        let keep_alive = request.keep_alive() && !request.has_body();
        self.respond(key, response, keep_alive, request.method() == "HEAD");
    }

    fn await_body(&mut self, key: Key, request: &Request, intent: Intent) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::Http(http) = &mut connection.phase else { return };
        if let Err(error) = http.reader.read_body(intent.len_max) {
            return self.refuse_request(key, &error);
        }
        http.awaited = Some(Awaited::Body { intent, keep_alive: request.keep_alive() });
        if request.expects_continue() {
            connection.outbox.tail().extend_from_slice(http::CONTINUE);
        }
        connection.liveness.enter(Stage::Body, self.now);
    }

    fn publish_body(&mut self, key: Key, body: Vec<u8>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::Http(http) = &mut connection.phase else { return };
        let Some(Awaited::Body { intent, keep_alive }) = http.awaited.take() else {
            unreachable!("a body is read for a publication");
        };
        let response = match payload::from_body(intent.channel, intent.event, intent.media_type, body) {
            Ok(draft) => self.publish(key, draft, intent.key, keep_alive),
            Err(error) => Some(Response::error(Status::BAD_REQUEST, &error)),
        };
        if let Some(response) = response {
            self.respond(key, &response, keep_alive, false);
        }
    }

    /// Publishes what a request brought. `None` if the answer comes by the mailbox.
    fn publish(
        &mut self,
        key: Key,
        draft: Draft,
        once: Option<IdempotencyKey>,
        keep_alive: bool,
    ) -> Option<Response> {
        // A connection awaits one answer at a time, so the number of the request is not looked at.
        let waiter = Waiter::Connection { loop_index: self.index, connection: key.to_u64(), request: 0 };
        let publishing = match once {
            None => Ok(self.broker().publish(draft, waiter, self.now)),
            Some(once) => {
                let has_room = !self.shared.is_over_memory();
                self.broker().publish_once(draft, once, has_room, waiter, self.now)
            }
        };
        Some(match publishing {
            Ok(Publishing::Done(receipt)) => self.answer_of_publishing(key, Ok(receipt)),
            Ok(Publishing::Awaited) => {
                if let Some(Connection { phase: Phase::Http(http), .. }) = self.connections.get_mut(key) {
                    http.awaited = Some(Awaited::Delivery { keep_alive });
                }
                return None;
            }
            Err(KeyRefused::Reused) => handlers::key_reused(),
            Err(KeyRefused::NoRoom) => {
                self.shared.note(
                    Reason::Memory,
                    self.now,
                    &"a publication with a key: --max-memory is reached",
                );
                handlers::no_room_for_key()
            }
        })
    }

    /// Answers a request whose publication has been delivered, or was not. The connection may be closed or answered by
    /// now.
    pub(super) fn answer_publisher(&mut self, answer: PublishAnswer) {
        let key = Key::from_u64(answer.connection);
        let response = self.answer_of_publishing(key, answer.outcome);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::Http(http) = &mut connection.phase else { return };
        let Some(Awaited::Delivery { keep_alive }) = http.awaited else { return };
        http.awaited = None;
        self.respond(key, &response, keep_alive, false);
        self.touched.push(key);
        self.queue_to_read(key);
    }

    fn answer_of_publishing(&mut self, key: Key, outcome: Result<Receipt, NotPublished>) -> Response {
        match outcome {
            Ok(receipt) => {
                if !receipt.is_replay {
                    self.note_published(key, receipt.published);
                }
                handlers::published(receipt)
            }
            Err(why) => handlers::not_published(why),
        }
    }

    fn note_published(&mut self, key: Key, published: Published) {
        self.counters.publishes += 1;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.audience = u32::try_from(published.subscribers).unwrap_or(u32::MAX);
        }
    }

    /// Answers a request that cannot be read any further, and closes.
    pub(super) fn refuse_request(&mut self, key: Key, error: &Error) {
        let response = match *error {
            Error::BodyTooLarge { len_max } => handlers::too_long(len_max),
            _ => Response::from(error),
        };
        self.respond(key, &response, false, false);
    }

    pub(super) fn respond(&mut self, key: Key, response: &Response, keep_alive: bool, head_only: bool) {
        let keep_alive = keep_alive && !self.shared.stop().is_leaving();
        let date = clock::http_date();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let allow_origin = connection.allow_origin();
        let varies_by_origin =
            matches!(connection.door, Door::Public) && self.shared.handlers.varies_by_origin();
        let allow_origin = allow_origin.as_deref();
        response.encode(
            connection.outbox.tail(),
            Framing { date: &date, keep_alive, head_only, allow_origin, varies_by_origin },
        );
        if let Some(kind) = Reason::of_status(response.status()) {
            let code = response.status().code();
            self.shared.note(kind, self.now, &format_args!("a request, with {code}"));
        }
        if !keep_alive {
            return connection.finish(self.now);
        }
        let is_idle = matches!(&connection.phase, Phase::Http(http) if http.reader.is_idle());
        connection.liveness.enter(if is_idle { Stage::KeptAlive } else { Stage::Head }, self.now);
    }

    /// From HTTP to WebSocket. Bytes behind the handshake are frames already.
    fn upgrade(&mut self, key: Key, acceptance: Acceptance) {
        let joined = acceptance.subscribes.map(|joining| self.join(key, &joining));
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::Http(http) = &mut connection.phase else { return };
        let mut rest = http.reader.take_rest();
        let deflate = acceptance.deflate;
        let extensions = deflate.map(|deflate| deflate.to_string());
        let out = connection.outbox.tail();
        acceptance.upgrade.encode_response(out, acceptance.subprotocol, extensions.as_deref());
        let mut protocol = Protocol::new(acceptance.inbound);
        if let Some(deflate) = deflate {
            protocol = protocol.with_deflate(deflate);
        }
        let is_leaving = self.shared.stop().is_leaving();
        let subscription = joined.as_ref().map(|joined| joined.subscription);
        connection.phase =
            Phase::WebSocket(WebSocketPhase { protocol, rest: None, deflate, subscription, is_leaving });
        connection.liveness.enter(Stage::Open, self.now);
        if let Some(joined) = joined {
            if joined.subscription.form().is_envelope() {
                connection.liveness.begin_notices(self.now, &self.timeouts);
            }
            connection.begin(joined);
        }
        self.receive_frames(key, &mut rest);
    }

    fn receive_frames(&mut self, key: Key, input: &mut [u8]) {
        let mut input = input;
        let mut room = self.room(key);
        loop {
            let may_take = self.may_take(key);
            let Some(connection) = self.connections.get_mut(key) else { break };
            let Connection { phase: Phase::WebSocket(websocket), outbox, .. } = connection else { break };
            if !may_take {
                websocket.rest = Some(Box::new(Rest((&*input).into())));
                break;
            }
            let received = websocket.protocol.receive_with(&mut input, outbox.tail(), &mut room);
            let inflated_len = websocket.protocol.take_inflated_len();
            self.read_len += inflated_len;
            self.taken_len += inflated_len;
            match received {
                Ok(None) => break,
                Ok(Some(ws::Event::Message(message))) => {
                    self.receive_message(key, message, input.is_empty());
                    if room.capacity() == 0 {
                        room = self.room(key);
                    }
                }
                Ok(Some(ws::Event::Inflating | ws::Event::Ping | ws::Event::Pong)) => {}
                Ok(Some(ws::Event::Close(_))) => {
                    self.finish_connection(key);
                    break;
                }
                Err(error) => {
                    self.shared.note(Reason::of_close(error.close_code()), self.now, &error);
                    self.finish_connection(key);
                    break;
                }
            }
        }
        self.spares.give(room);
    }

    /// What a message of that connection is assembled in, if it does not lie whole in what was read. A publication
    /// keeps its bytes, so its room is its own.
    fn room(&mut self, key: Key) -> Vec<u8> {
        match self.connections.get(key) {
            Some(connection) if connection.subscription().is_none() => self.spares.take(),
            _ => Vec::new(),
        }
    }

    fn receive_message(&mut self, key: Key, message: Message<'_>, is_last: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.subscription() {
            Some(subscription) => self.publish_message(key, subscription, message),
            None => self.echo(key, message, is_last),
        }
    }

    fn publish_message(&mut self, key: Key, subscription: Subscription, message: Message<'_>) {
        let channel = self.hub.channel(subscription).clone();
        match payload::from_message(channel, subscription.form(), message) {
            Ok(draft) => {
                let waiter =
                    Waiter::Connection { loop_index: self.index, connection: key.to_u64(), request: 0 };
                // An answer that comes later is counted when it comes: this peer is told nothing.
                if let Publishing::Done(receipt) = self.broker().publish(draft, waiter, self.now) {
                    self.note_published(key, receipt.published);
                }
            }
            Err(error) => {
                self.shared.note(Reason::of_close(error.close_code()), self.now, &error);
                self.close_connection(key, error.close_code(), &error.to_string());
            }
        }
    }
}

/// How many bytes a connection is read of in a turn whose last publication had so many subscribers.
fn share_len(audience: u32) -> usize {
    let fan_out_share = usize::try_from(FAN_OUT_MAX / u64::from(audience.max(1))).unwrap_or(usize::MAX);
    fan_out_share.clamp(PUBLISHER_SHARE_MIN, READ_BUFFER_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_read_of_the_less_the_more_there_is_to_be_written_for_it() {
        assert_eq!([0, 1, 256].map(share_len), [READ_BUFFER_LEN; 3]);
        assert_eq!([1024, 4096, 10_000].map(share_len), [32 * 1024, 8 * 1024, PUBLISHER_SHARE_MIN]);
    }
}
