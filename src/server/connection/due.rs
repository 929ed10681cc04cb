//! When a connection is due, and what it does then.
//!
//! The rules of time are in `timeouts`; what is sent is in the file of each role.

use super::context::Context;
use super::life::{Awaits, Life, Messages, WebSocket};
use super::subscriptions::Subscriptions;
use super::timeouts::{Due, Stage};
use super::{Connection, Next};
use crate::config::LagPolicy;
use crate::server::clock::Millis;
use crate::server::metrics::refusals::Reason;

impl Connection {
    /// When it is due next if no event comes first.
    pub fn deadline(&self, cx: &Context) -> Millis {
        let deadline = self.deadlines.next(self.stage(), &cx.timeouts);
        let deadline = self.may_stay_until(cx).map_or(deadline, |at| at.min(deadline));
        let deadline = self.renewal_at().map_or(deadline, |at| at.min(deadline));
        let deadline = self.verdict_by(cx).map_or(deadline, |at| at.min(deadline));
        let deadline = self.channels_by(cx).map_or(deadline, |at| at.min(deadline));
        let deadline = self.session_timer(cx).map_or(deadline, |at| at.min(deadline));
        let flush_at = self.flush_at(cx);
        // What is due already is left to the flush of this turn.
        if flush_at > cx.now { deadline.min(flush_at) } else { deadline }
    }

    /// Whether its deadline cannot have come nearer in a flush: an open subscriber whose socket takes all that it is sent.
    pub fn is_steady(&self) -> bool {
        !self.stream.is_refused() && self.stage() == Stage::Open && !self.has_untold_places()
    }

    /// Whether a flush has to do something although nothing was published: to apply the lag policy, since the grace of a
    /// lagging subscriber has ended, or to tell a reader of several channels its positions.
    pub fn is_flush_due(&self, cx: &Context) -> bool {
        self.flush_at(cx) <= cx.now
    }

    fn flush_at(&self, cx: &Context) -> Millis {
        let grace_end = self.grace_end(cx);
        self.places_due_at().map_or(grace_end, |at| at.min(grace_end))
    }

    fn grace_end(&self, cx: &Context) -> Millis {
        let policy = match &self.subscriptions {
            Subscriptions::One(entry) => entry.policy,
            Subscriptions::None | Subscriptions::Several(_) => LagPolicy::Close,
        };
        self.lateness.deadline(policy, &cx.lag_rules)
    }

    /// Until when it may stay as it is, without authorization or with that which it has.
    fn may_stay_until(&self, cx: &Context) -> Option<Millis> {
        self.must_begin_by().into_iter().chain(self.stays_until(cx)).min()
    }

    /// Excludes the time from `since` until now, in which the peer was not read, from its deadlines.
    pub fn excuse(&mut self, since: Millis, now: Millis) {
        self.deadlines.excuse(self.stage(), since, now);
    }

    /// What is due now, if anything. Whether unread bytes or unused room excuse the peer, [`Connection::is_excused`] tells.
    pub fn due(&self, cx: &Context) -> Option<Due> {
        if self.may_stay_until(cx).is_some_and(|at| at <= cx.now) {
            return Some(Due::Unauthorized);
        }
        if self.renewal_at().is_some_and(|at| at <= cx.now) {
            return Some(Due::Renewal);
        }
        if self.verdict_by(cx).is_some_and(|at| at <= cx.now) {
            return Some(Due::Verdict);
        }
        if self.channels_by(cx).is_some_and(|at| at <= cx.now) {
            return Some(Due::Channels);
        }
        if self.session_timer(cx).is_some_and(|at| at <= cx.now) {
            return Some(Due::Timer);
        }
        self.deadlines.due(self.stage(), cx.now, &cx.timeouts)
    }

    /// When its client has to have proved who it is, or to have asked for something.
    fn must_begin_by(&self) -> Option<Millis> {
        self.authorize_by().or_else(|| self.begin_by())
    }

    /// Whether the peer is excused from what is due, since it is not silent: it has sent bytes that are not read yet, or
    /// its socket has room again, which the flush of this turn is going to use.
    pub fn is_excused(&self, due: Due) -> bool {
        if self.stream.is_freed() && matches!(due, Due::Hangup | Due::CloseSilent | Due::Drop) {
            return true;
        }
        if self.awaits_answer() {
            // The request was complete in time. The connection is read again after the answer.
            return due == Due::RequestTimeout;
        }
        self.is_to_be_read()
            && match due {
                Due::RequestTimeout | Due::Hangup | Due::CloseSilent => true,
                // On an event stream it is a comment, which expects no answer.
                Due::Ping => matches!(self.life, Life::WebSocket(_)),
                Due::Timer
                | Due::Answer
                | Due::Notice
                | Due::Drop
                | Due::Unauthorized
                | Due::Renewal
                | Due::Verdict
                | Due::Channels => false,
            }
    }

    /// Does what is due.
    pub fn expire(&mut self, due: Due, cx: &mut Context) -> Next {
        let is_begun_too_late = self.begin_by().is_some_and(|at| at <= cx.now);
        if due == Due::RequestTimeout && self.note_late_opening(cx) {
            return Next::Drop;
        }
        match (due, &mut self.life) {
            (Due::Renewal, _) => return self.renew(cx),
            (Due::Verdict, _) => return self.miss_verdict(cx),
            (Due::Channels, _) => return self.expire_channels(cx),
            (Due::Timer, _) => self.fire_timer(cx),
            // A peer with TLS is told that this is the end, and not a cut.
            (Due::Hangup, Life::Http(_)) if self.stream.tls().is_some() => self.finish(cx),
            (Due::RequestTimeout, Life::Http(http)) if http.is_under_way() => self.refuse_late_request(cx),
            (Due::Answer, Life::LongPoll(_)) => {
                self.answer_poll(cx);
                return Next::Read;
            }
            // There is no asking: what the peer takes of the bytes that wait for it is its answer.
            (Due::Ping, Life::EventStream(stream)) if self.stream.is_refused() => {
                stream.awaits = Awaits::SignOfLife;
                self.deadlines.restart(cx.now);
            }
            (Due::Ping, Life::EventStream(_)) => {
                self.expect_acknowledgement(cx);
                self.say_alive(cx);
                self.deadlines.restart(cx.now);
            }
            (Due::CloseSilent, Life::EventStream(_)) => {
                cx.note(Reason::Silent, &"an event stream whose bytes were not taken");
                return Next::Drop;
            }
            (Due::Unauthorized, Life::EventStream(_)) => self.end_stay(cx),
            (Due::Unauthorized, Life::WebSocket(WebSocket { messages: Messages::Commands, .. }))
                if is_begun_too_late =>
            {
                self.close_unbegun(cx);
            }
            (Due::Unauthorized, Life::WebSocket(websocket)) if websocket.messages != Messages::Pusher => {
                self.end_stay(cx);
            }
            (Due::Unauthorized, Life::WebSocket(_) | Life::Carried(_)) => self.close_unauthorized(cx),
            (Due::Notice, Life::WebSocket(_)) => {
                self.say_alive(cx);
                self.deadlines.told(cx.now, &cx.timeouts);
            }
            (Due::Answer, Life::Carried(_)) => return self.beat(cx),
            (Due::Ping, Life::WebSocket(_)) => self.ping(cx),
            (Due::CloseSilent, Life::WebSocket(_)) => self.close_silent(cx),
            // Its last deadline has passed, or the deadline is not one of this life.
            (
                Due::RequestTimeout
                | Due::Hangup
                | Due::Ping
                | Due::Notice
                | Due::Answer
                | Due::CloseSilent
                | Due::Unauthorized
                | Due::Drop,
                Life::Http(_)
                | Life::LongPoll(_)
                | Life::WebSocket(_)
                | Life::EventStream(_)
                | Life::Carried(_)
                | Life::Carrier(_)
                | Life::Finishing
                | Life::Lingering,
            ) => return Next::Drop,
        }
        Next::Wait
    }

    /// Notes a connection that is not past what comes ahead of its requests, if it is one: it cannot be answered.
    fn note_late_opening(&self, cx: &Context) -> bool {
        if matches!(&self.life, Life::Http(http) if http.is_proxy_header_awaited()) {
            self.note_bad_header(&"no PROXY header came within --handshake-timeout", cx);
            return true;
        }
        self.note_late_handshake(cx);
        self.stream.is_handshaking()
    }
}
