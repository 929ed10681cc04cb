//! Sessions over HTTP requests with a pretend clock: signs of life, silence, and the end without a request.

use std::sync::Arc;

use mio::{Poll, Token};

use super::*;
use crate::config::Config;
use crate::pusher::fallback::path::parse;
use crate::server::broker::Broker;
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::retention::Retention;
use crate::server::connection::timeouts::Due;
use crate::server::outbound::Trust;
use crate::server::shared::Shared;

/// The key of the request that carries the session.
const CARRIER: u64 = 7;

fn context() -> Context {
    let config = Config::default();
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    let broker = Broker::new(mailboxes, 0, Retention::new(&config), Engine::Local);
    Context::new(0, Arc::new(Shared::new(config, broker, 10, &Trust::default())))
}

fn session() -> Connection {
    Connection::new_session(parse("/app/k/0/aaaaaaaa/xhr").unwrap().0, Millis(0))
}

/// A session that this request has carried since the start.
fn carried_by(transport: Transport, cx: &Context) -> Connection {
    let mut session = session();
    let _ = session.attach(transport, CARRIER, cx);
    session
}

/// What the session writes, if it may.
fn flushed(session: &mut Connection, cx: &mut Context) -> (Next, String) {
    let next = session.flush(cx);
    (next, String::from_utf8(cx.pipe.take()).unwrap())
}

/// Does what is due at this time.
fn expired(session: &mut Connection, at_ms: u64, cx: &mut Context) -> Option<Next> {
    cx.now = Millis(at_ms);
    let due = session.due(cx)?;
    assert_eq!(due, Due::Answer);
    Some(session.expire(due, cx))
}

#[test]
fn a_poll_that_has_waited_for_25_s_is_answered_with_a_sign_of_life() {
    let mut cx = context();
    let mut session = carried_by(Transport::Polling, &cx);
    assert_eq!(session.deadline(&cx), Millis(25_000));
    assert_eq!(expired(&mut session, 24_999, &mut cx), None);
    assert_eq!(flushed(&mut session, &mut cx), (Next::Wait, String::new()));
    assert_eq!(expired(&mut session, 25_000, &mut cx), Some(Next::Wait));
    assert_eq!(flushed(&mut session, &mut cx), (Next::Wait, "h\n".into()));
    assert_eq!(session.give(2, &cx), Some(CARRIER));
    assert_eq!(session.carrier(), None);
    assert_eq!(session.deadline(&cx), Millis(30_000), "gone if no other poll comes");
}

#[test]
fn a_stream_has_a_sign_of_life_every_25_s_and_a_client_that_answers_two_of_them_by_nothing_is_closed() {
    let mut cx = context();
    let mut session = carried_by(Transport::Streaming, &cx);
    let mut give = |session: &mut Connection, at_ms: u64, expected: &str| {
        assert_eq!(expired(session, at_ms - 1, &mut cx), None);
        assert_eq!(expired(session, at_ms, &mut cx), Some(Next::Wait));
        let (next, lines) = flushed(session, &mut cx);
        assert!(lines.contains(expected), "{lines}");
        assert_eq!(session.give(lines.len(), &cx), Some(CARRIER));
        assert!(session.note_taken(CARRIER));
        next
    };
    assert_eq!(give(&mut session, 25_000, "h\n"), Next::Wait);
    assert_eq!(give(&mut session, 50_000, "h\n"), Next::Wait);
    let mut other = context();
    assert_eq!(session.receive_post(b"[]", &mut other), Ok(()));
    assert_eq!(flushed(&mut session, &mut other), (Next::Wait, "a[]\n".into()));
    for at_ms in [75_000, 100_000] {
        assert_eq!(give(&mut session, at_ms, "h\n"), Next::Wait);
    }
    let next = give(&mut session, 125_000, "c[4201,\"");
    assert_eq!(next, Next::Drop, "after the last line there is nothing to wait for");
}

#[test]
fn a_session_that_no_request_carries_is_gone_after_5_s_and_not_before() {
    let mut cx = context();
    let mut session = carried_by(Transport::Streaming, &cx);
    cx.now = Millis(10_000);
    assert_eq!(session.lose_carrier(CARRIER + 1, &cx), Next::Wait, "an earlier request of the session");
    assert_eq!(session.carrier(), Some(CARRIER));
    let _ = session.lose_carrier(CARRIER, &cx);
    assert_eq!(expired(&mut session, 14_999, &mut cx), None);
    assert_eq!(expired(&mut session, 15_000, &mut cx), Some(Next::Drop));
}

#[test]
fn a_session_that_nothing_carries_keeps_what_it_says_for_the_next_request() {
    let mut cx = context();
    let mut session = session();
    assert_eq!(session.receive_post(b"[]", &mut cx), Ok(()));
    assert_eq!(flushed(&mut session, &mut cx), (Next::Wait, String::new()));
    let _ = session.attach(Transport::Polling, CARRIER, &cx);
    assert_eq!(flushed(&mut session, &mut cx), (Next::Wait, "a[]\n".into()));
}

#[test]
fn a_closed_session_whose_full_stream_is_never_replaced_is_dropped() {
    let mut cx = context();
    let mut session = carried_by(Transport::Streaming, &cx);
    let _ = session.give(300_000, &cx);
    assert!(session.note_taken(CARRIER));
    session.close(CloseCode::GOING_AWAY, "the end", &mut cx);
    assert_eq!(flushed(&mut session, &mut cx), (Next::Wait, String::new()));
    assert_eq!(expired(&mut session, 25_000, &mut cx), Some(Next::Wait));
    assert_eq!(expired(&mut session, 50_000, &mut cx), Some(Next::Drop));
}

#[test]
fn a_session_that_is_cut_is_still_known_by_its_name_and_its_request() {
    let mut cx = context();
    let mut session = carried_by(Transport::Polling, &cx);
    assert_eq!(session.cut(&mut cx), Next::Drop);
    assert!(session.session_name().is_some());
    assert_eq!(session.carrier(), Some(CARRIER));
}
