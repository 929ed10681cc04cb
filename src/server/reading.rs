//! The read phase: bytes come in, requests are answered, messages echoed or published.
//!
//! What is answered is decided in `handlers`, what is published in `draft`, how a message is sent back in `echo`;
//! nothing is written to a socket here.

use std::io::{ErrorKind, Read};
use std::time::SystemTime;

use super::connection::{Awaited, Connection, Door, Phase, WebSocketPhase};
use super::connections::Key;
use super::draft::{self, Draft};
use super::event_loop::EventLoop;
use super::handlers::{self, Acceptance, Answer, Intent};
use super::liveness::Stage;
use super::refusals::Kind;
use super::retries::{IdempotencyKey, KeyRefused};
use super::shared::Stop;
use crate::http::{self, Error, Framing, Request, Response, Status};
use crate::hub::Subscription;
use crate::ws::{self, Message, Protocol};

/// Reads of one socket in a turn: 256 KiB, then it is the others' turn.
const READS_PER_TURN_MAX: usize = 2;

/// Bytes read of all sockets in a turn; the rest come first in the next. What is published in a turn is written twice before
/// it goes out, for the channel and for its logs: 256 KiB of it are still in a cache then, and are what one busy publisher
/// may send. What the sockets hold is compared with `--max-memory` once a turn, so this is also how far past it a loop can
/// get, but for one socket's share.
const READ_LEN_PER_TURN_MAX: usize = 256 * 1024;

impl EventLoop {
    /// Reads until the socket has nothing more, its outbox is high, or its share of the turn is used up.
    pub(super) fn read_connection(&mut self, key: Key) {
        self.serve(key);
        let mut is_drained = false;
        for _ in 0..READS_PER_TURN_MAX {
            if !self.may_read(key) {
                break;
            }
            if is_drained {
                return self.settle(key);
            }
            let mut buffer = std::mem::take(&mut self.read_buffer);
            let read = self.connections.get_mut(key).map(|connection| connection.socket.read(&mut buffer));
            let is_more = match read {
                Some(Ok(0)) => self.end_of_input(key),
                Some(Ok(len)) => {
                    is_drained = len < buffer.len() && !self.is_read_closed(key);
                    self.receive(key, &mut buffer[..len])
                }
                Some(Err(error)) if error.kind() == ErrorKind::Interrupted => true,
                Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => false,
                Some(Err(_)) => self.doom(key),
                None => false,
            };
            self.read_buffer = buffer;
            if !is_more {
                return self.settle(key);
            }
        }
        if self.connections.get(key).is_some_and(|connection| !connection.is_held) {
            self.read_again.push(key);
        }
        self.settle(key);
    }

    /// Whether the peer's end is there to be read, or an error: no further edge tells of either. Without, a read that
    /// does not fill the buffer has left nothing, and what comes after it is an edge of its own.
    fn is_read_closed(&self, key: Key) -> bool {
        self.connections.get(key).is_none_or(|connection| connection.is_read_closed)
    }

    /// Whether the next bytes should be taken: not while a loop is behind, nor past the turn's share, nor from a peer
    /// that does not take its answers or asks for more while a long poll waits.
    fn may_read(&mut self, key: Key) -> bool {
        let is_enough = self.exchange().is_congested() || self.has_read_enough();
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.is_held = connection.outbox.is_high() || connection.asks_ahead();
        !is_enough && !connection.is_held
    }

    /// Whether the turn's share of reading is used up.
    pub(super) fn has_read_enough(&self) -> bool {
        self.read_len > READ_LEN_PER_TURN_MAX
    }

    /// What was read may have left something to send, or brought a deadline nearer.
    fn settle(&mut self, key: Key) {
        self.count(key);
        self.touched.push(key);
        self.schedule(key);
    }

    fn doom(&mut self, key: Key) -> bool {
        self.doomed.push(key);
        false
    }

    /// The peer has closed its half. Answers that it is owed are still sent; a WebSocket and a stream are over. So is a
    /// long poll that waits: nobody closes its half and stays for that, and who has gone would be counted until then.
    fn end_of_input(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
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
        connection.liveness.heard(self.now);
        self.read_len += input.len();
        self.tally.bytes_received += input.len() as u64;
        match &mut connection.phase {
            Phase::Http(http) => {
                http.reader.receive(input);
                if connection.liveness.stage() == Stage::KeptAlive {
                    connection.liveness.enter(Stage::Head, self.now);
                }
                self.serve(key);
            }
            Phase::WebSocket(_) => self.receive_frames(key, input),
            // After the Close frame nothing counts (RFC 6455 §5.5.1), and an event stream has no end to ask behind.
            Phase::EventStream(_) | Phase::Finishing | Phase::Lingering => {}
        }
        true
    }

    /// Answers the requests that are complete, as long as the peer takes the answers.
    fn serve(&mut self, key: Key) {
        while let Some(connection) = self.connections.get_mut(key) {
            let Phase::Http(http) = &mut connection.phase else { return };
            if matches!(http.awaited, Some(Awaited::Publication { .. })) {
                return;
            }
            if connection.outbox.is_high() {
                connection.is_held = true;
                return;
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
        let response = match draft::from_body(intent.channel, intent.event, intent.media_type, body) {
            Ok(draft) => self.publish(draft, intent.key),
            Err(error) => Response::error(Status::BAD_REQUEST, &error),
        };
        self.respond(key, &response, keep_alive, false);
    }

    fn publish(&mut self, draft: Draft, key: Option<IdempotencyKey>) -> Response {
        let Some(key) = key else {
            self.tally.publishes += 1;
            return handlers::published(self.exchange().publish(draft, self.now), false);
        };
        match self.exchange().publish_once(draft, key, !self.shared.is_over_memory(), self.now) {
            Ok((published, is_replay)) => {
                self.tally.publishes += u64::from(!is_replay);
                handlers::published(published, is_replay)
            }
            Err(KeyRefused::Reused) => handlers::key_reused(),
            Err(KeyRefused::NoRoom) => {
                self.shared.note(
                    Kind::Memory,
                    self.now,
                    &"a publication with a key: --max-memory is reached",
                );
                handlers::no_room_for_key()
            }
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
        let keep_alive = keep_alive && self.shared.stop() == Stop::No;
        let date = httpdate::fmt_http_date(SystemTime::now());
        let Some(connection) = self.connections.get_mut(key) else { return };
        let allow_origin = connection.allow_origin();
        response.encode(
            connection.outbox.tail(),
            Framing { date: &date, keep_alive, head_only, allow_origin: allow_origin.as_deref() },
        );
        if let Some(kind) = Kind::of_status(response.status()) {
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
        let is_leaving = self.shared.stop() != Stop::No;
        let subscription = joined.as_ref().map(|joined| joined.subscription);
        connection.phase = Phase::WebSocket(WebSocketPhase { protocol, deflate, subscription, is_leaving });
        connection.liveness.enter(Stage::Open, self.now);
        if let Some(joined) = joined {
            connection.begin(joined);
        }
        self.receive_frames(key, &mut rest);
    }

    fn receive_frames(&mut self, key: Key, input: &mut [u8]) {
        let mut input = input;
        let mut room = self.room(key);
        while let Some(connection) = self.connections.get_mut(key) {
            let Connection { phase: Phase::WebSocket(websocket), outbox, .. } = connection else { break };
            match websocket.protocol.receive_with(&mut input, outbox.tail(), &mut room) {
                Ok(None) => break,
                Ok(Some(ws::Event::Message(message))) => {
                    self.receive_message(key, message, input.is_empty());
                    if room.capacity() == 0 {
                        room = self.room(key);
                    }
                }
                Ok(Some(ws::Event::Ping | ws::Event::Pong)) => {}
                Ok(Some(ws::Event::Close(_))) => {
                    self.finish_connection(key);
                    break;
                }
                Err(error) => {
                    self.shared.note(Kind::of_close(error.close_code()), self.now, &error);
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
        match draft::from_message(channel, subscription.form(), message) {
            Ok(draft) => {
                self.tally.publishes += 1;
                let _ = self.exchange().publish(draft, self.now);
            }
            Err(error) => {
                self.shared.note(Kind::of_close(error.close_code()), self.now, &error);
                self.close_connection(key, error.close_code(), &error.to_string());
            }
        }
    }
}
