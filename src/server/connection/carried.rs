//! A session over HTTP requests: a connection without a socket, whose lines are given to the request that carries it.
//!
//! ```text
//!   session   Life::Carried, no socket: subscriptions, outbox, lag  ── lines ──┐
//!   request   Life::Carrier, a socket and its HTTP state            ◀──────────┘  one at a time
//! ```
//!
//! What is done with the lines is in `carrier`; how much a request may carry, `pusher` says.

use std::collections::VecDeque;

use super::awaiting::Wish;
use super::client::Client;
use super::timeouts::Stage;
use crate::pusher::fallback::path::{SessionName, Transport};
use crate::pusher::fallback::session::{Attached, Carriage, HEARTBEAT_MS};

/// A client that streams answers each sign of life with one of its own. Without an answer to this many, it is gone.
const UNANSWERED_MAX: u8 = 2;

/// A session.
#[derive(Debug)]
pub struct Carried {
    /// The name under which requests find it.
    pub name: SessionName,
    carriage: Carriage,
    /// The request that carries it, as the number of its key.
    carrier: Option<u64>,
    /// Whether lines were given to a stream that has not taken them yet. No more are given then: they wait in the logs.
    is_busy: bool,
    /// The Pusher client that it is; none if the client was refused.
    pub client: Option<Box<Client>>,
    /// What the client wants to be done, and what waits for a channel.
    pub wish: Option<Box<Wish>>,
    /// What it has posted after that.
    pub kept: VecDeque<String>,
    /// Signs of life that the client of a stream has not answered.
    unanswered: u8,
    /// Whether its stream had no room at the end of the last stage, and has taken nothing since.
    is_stuck: bool,
    /// Whether the frame that closes it is in the outbox.
    pub is_closing: bool,
    /// Whether it is closed once its unsent bytes are sent: the server stops.
    pub is_leaving: bool,
}

/// What is due for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// No request has come to carry it.
    Gone,
    /// The client has answered none of the last signs of life, or has taken nothing.
    Silent,
    /// It is time for a sign of life.
    SayAlive,
    /// Bytes are still to be taken, or a full stream to be replaced: that is the next sign of life.
    Nothing,
}

impl Carried {
    /// A session that no request carries yet.
    pub fn new(name: SessionName) -> Self {
        Self {
            name,
            carriage: Carriage::new(),
            carrier: None,
            is_busy: false,
            client: None,
            wish: None,
            kept: VecDeque::new(),
            unanswered: 0,
            is_stuck: false,
            is_closing: false,
            is_leaving: false,
        }
    }

    /// What the client is expected to do: to come back, or to wait for the next sign of life.
    pub fn stage(&self) -> Stage {
        Stage::Waiting(self.carriage.gone_after_ms().unwrap_or(HEARTBEAT_MS))
    }

    /// The bytes of memory that it takes beside the outbox.
    pub fn held_len(&self) -> usize {
        let client_len = self.client.as_ref().map_or(0, |client| client.held_len());
        let wish_len = self.wish.as_ref().map_or(0, |wish| wish.held_len());
        size_of::<Self>() + self.name.key.len() + client_len + wish_len + self.kept_len()
    }

    /// The bytes of what was posted and waits.
    pub fn kept_len(&self) -> usize {
        let texts: usize = self.kept.iter().map(String::len).sum();
        texts + self.kept.capacity() * size_of::<String>()
    }

    /// Within how many bytes the lines of the next write may begin.
    pub fn room(&self) -> usize {
        if self.is_busy { 0 } else { self.carriage.room() }
    }

    /// A request asks to carry it. `Ok` has the stream that the request replaces.
    pub fn attach(&mut self, transport: Transport, carrier: u64) -> (Attached, Option<u64>) {
        let attached = self.carriage.attach(transport);
        if attached == Attached::Refused {
            return (attached, None);
        }
        (self.is_busy, self.is_stuck) = (false, false);
        self.unanswered = 0;
        (attached, self.carrier.replace(carrier))
    }

    /// The request that carries it.
    pub fn carrier(&self) -> Option<u64> {
        self.carrier
    }

    /// Lines were written that the request that carries it is to be given: that request. A poll is answered with them.
    pub fn give(&mut self, len: usize) -> Option<u64> {
        self.carriage.wrote(len);
        self.is_busy = true;
        match self.carriage.transport()? {
            Transport::Streaming => self.carrier,
            Transport::Polling => self.detach(len),
        }
    }

    /// The stream has taken what it was given.
    pub fn note_taken(&mut self, carrier: u64) -> bool {
        let is_its_own = self.carrier == Some(carrier);
        if is_its_own {
            (self.is_busy, self.is_stuck) = (false, false);
        }
        is_its_own
    }

    /// Nothing carries it any more, after an answer of this length: the request that did.
    pub fn detach(&mut self, answer_len: usize) -> Option<u64> {
        self.carriage.detach(answer_len);
        self.is_busy = false;
        self.carrier.take()
    }

    /// The client has posted something.
    pub fn heard(&mut self) {
        self.unanswered = 0;
    }

    /// What is due at the end of its stage.
    pub fn beat(&mut self) -> Beat {
        match self.carriage.transport() {
            None => Beat::Gone,
            Some(Transport::Polling) => Beat::SayAlive,
            Some(Transport::Streaming) if self.unanswered >= UNANSWERED_MAX => Beat::Silent,
            Some(Transport::Streaming) if self.room() > 0 => {
                self.unanswered += 1;
                Beat::SayAlive
            }
            Some(Transport::Streaming) if self.is_stuck => Beat::Silent,
            Some(Transport::Streaming) => {
                self.is_stuck = true;
                Beat::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::fallback::path::parse;
    use Transport::{Polling, Streaming};

    fn carried() -> Carried {
        Carried::new(parse("/app/k/0/aaaaaaaa/xhr").unwrap().0)
    }

    #[test]
    fn a_poll_is_given_one_batch_and_carries_the_session_no_more() {
        let (mut session, poll) = (carried(), 7);
        assert_eq!(session.attach(Polling, poll), (Attached::Opens, None));
        assert!(session.room() > 0);
        assert_eq!(session.give(100), Some(poll));
        assert_eq!((session.carrier(), session.room()), (None, 0));
        assert_eq!(session.stage(), Stage::Waiting(5006));
        assert_eq!(session.attach(Polling, 8), (Attached::Continues, None));
        assert!(session.room() > 0);
    }

    #[test]
    fn a_stream_is_given_no_more_until_it_has_taken_what_it_has() {
        let (mut session, stream) = (carried(), 7);
        let _ = session.attach(Streaming, stream);
        assert_eq!(session.give(100), Some(stream));
        assert_eq!(session.room(), 0);
        assert!(!session.note_taken(8), "an earlier stream of the session");
        assert_eq!(session.room(), 0);
        assert!(session.note_taken(stream));
        assert!(session.room() > 0);
    }

    #[test]
    fn a_full_stream_is_replaced() {
        let (mut session, stream) = (carried(), 7);
        let _ = session.attach(Streaming, stream);
        let _ = session.give(300_000);
        assert_eq!(session.attach(Streaming, 8), (Attached::Replaces, Some(stream)));
        assert_eq!(session.carrier(), Some(8));
        assert_eq!(session.attach(Streaming, 9), (Attached::Refused, None));
        assert_eq!(session.carrier(), Some(8));
    }

    #[test]
    fn the_client_of_a_stream_that_answers_no_sign_of_life_is_silent_at_the_third() {
        let mut session = carried();
        let _ = session.attach(Streaming, 7);
        assert_eq!(session.stage(), Stage::Waiting(25_000));
        assert_eq!(
            [session.beat(), session.beat(), session.beat()],
            [Beat::SayAlive, Beat::SayAlive, Beat::Silent]
        );
        session.heard();
        assert_eq!(session.beat(), Beat::SayAlive);
    }

    #[test]
    fn a_stream_that_takes_nothing_between_two_signs_of_life_is_silent_and_one_that_takes_a_little_is_not() {
        let mut session = carried();
        let _ = session.attach(Streaming, 7);
        for _ in 0..10 {
            let _ = session.give(10);
            assert_eq!(session.beat(), Beat::Nothing);
            assert!(session.note_taken(7));
        }
        let _ = session.give(10);
        assert_eq!([session.beat(), session.beat()], [Beat::Nothing, Beat::Silent]);
    }

    #[test]
    fn a_full_stream_is_to_be_replaced_before_the_second_sign_of_life() {
        let mut session = carried();
        let _ = session.attach(Streaming, 7);
        let _ = session.give(300_000);
        assert!(session.note_taken(7));
        assert_eq!(session.beat(), Beat::Nothing);
        let _ = session.attach(Streaming, 8);
        assert_eq!(session.beat(), Beat::SayAlive);
        let _ = session.give(300_000);
        assert!(session.note_taken(8));
        assert_eq!([session.beat(), session.beat()], [Beat::Nothing, Beat::Silent]);
    }

    #[test]
    fn a_poll_without_messages_is_answered_with_a_sign_of_life_and_a_session_without_one_is_gone() {
        let mut session = carried();
        assert_eq!(session.beat(), Beat::Gone);
        let _ = session.attach(Polling, 7);
        assert!((0..10).all(|_| session.beat() == Beat::SayAlive));
    }
}
