//! What TLS does to the life of a connection: handshakes that are complete, or fail, and sessions that end.
//!
//! Records are in `tls`, and what they hold in the files of the roles.

use super::context::Context;
use super::life::{After, Life};
use super::outbox::Outbox;
use super::tls::TlsLayer;
use super::{Connection, Next};
use crate::http::{Request, Response};
use crate::server::api::routes::Door;
use crate::server::api::{answers, redirects};
use crate::server::metrics::counters::Handshakes;
use crate::server::metrics::refusals::Reason;
use crate::server::tls::received::{
    Ending, Fault, FaultKind, HANDSHAKE, Handshake, PROTOCOL_VERSION, Version,
};
use crate::ws::{CloseCode, State};

/// The close reason when the keys of a session are used up. Only those of TLS 1.2 can be, after 16 million records.
const SPENT: &str = "the keys of this TLS 1.2 session are used up; reconnect";

impl Connection {
    /// Counts a handshake that is complete.
    pub(super) fn note_handshake(handshake: Handshake, cx: &mut Context) {
        let Handshakes { full, resumed } = match handshake.version {
            Version::Tls12 => &mut cx.counters.tls12_handshakes,
            Version::Tls13 => &mut cx.counters.tls13_handshakes,
        };
        *(if handshake.is_resumed { resumed } else { full }) += 1;
    }

    /// Counts a handshake that is not complete, if this connection is in one. Whoever connects and sends nothing, as probes
    /// do, has begun none.
    pub(super) fn note_broken_handshake(&self, reason: Reason, cx: &Context) {
        if self.stream.tls().is_some_and(|tls| tls.is_handshaking() && !tls.is_fresh()) {
            self.note_peer(reason, "it was not completed", cx);
        }
    }

    /// Counts a handshake that takes too long.
    pub fn note_late_handshake(&self, cx: &Context) {
        self.note_broken_handshake(Reason::TlsTimeout, cx);
    }

    /// Whether the keys of its session are used up but for what ends it, and it does not end yet.
    pub(super) fn is_spent(&self) -> bool {
        self.stream.tls().is_some_and(TlsLayer::is_spent)
            && match &self.life {
                Life::WebSocket(websocket) => websocket.protocol.state() == State::Open,
                Life::Http(_) | Life::LongPoll(_) | Life::EventStream(_) | Life::Carrier(_) => true,
                Life::Carried(_) | Life::Finishing | Life::Lingering => false,
            }
    }

    /// Ends it while it still can be told.
    pub(super) fn end_spent(&mut self, cx: &mut Context) {
        match self.life {
            Life::WebSocket(_) | Life::EventStream(_) => self.close(CloseCode::GOING_AWAY, SPENT, cx),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::Carrier(_)
            | Life::Carried(_)
            | Life::Finishing
            | Life::Lingering => self.finish(cx),
        }
    }

    /// Whether the peer begins with a TLS handshake where that is not spoken.
    pub(super) fn is_greeted_with_tls(&self, input: &[u8]) -> bool {
        // No method of HTTP begins like this.
        let is_first = matches!(&self.life, Life::Http(http) if http.reader.is_idle());
        is_first && self.stream.tls().is_none() && input.first() == Some(&HANDSHAKE)
    }

    /// Tells it so in its own words, and closes.
    pub(super) fn refuse_tls(&mut self, cx: &mut Context) {
        self.note_peer(
            Reason::TlsAtPlain,
            "it was begun where it is not spoken; --tls-listen says where it is",
            cx,
        );
        self.outbox.tail().extend_from_slice(&PROTOCOL_VERSION);
        self.finish(cx);
    }

    /// Where a plain request is sent, if it is: to the same target with `https://`.
    pub(super) fn redirected(&self, request: &Request, cx: &Context) -> Option<Response> {
        let port = cx.shared.redirect_port?;
        let is_plain = self.stream.tls().is_none() && self.door == Door::Public;
        is_plain.then(|| redirects::to_https(request, port)).flatten()
    }

    /// For how many seconds browsers are to use nothing but `https://` with this host, if they are told that.
    pub(super) fn hsts_s(&self, cx: &Context) -> Option<u64> {
        let is_secured = self.stream.tls().is_some_and(TlsLayer::is_open);
        cx.shared.config.tls.hsts.filter(|_| is_secured).map(|hsts| hsts.as_secs())
    }

    /// The input of a session has ended behind what was received.
    pub(super) fn end_of_session(
        &mut self,
        ending: &Ending,
        was_handshaking: bool,
        cx: &mut Context,
    ) -> Next {
        match ending {
            Ending::PeerDone => return self.end_of_input(cx),
            Ending::Failed(fault) => self.break_off(fault, was_handshaking, cx),
        }
        Next::Wait
    }

    /// Ends the connection with what its session had to say of a fault. Nothing else can be sent.
    fn break_off(&mut self, fault: &Fault, was_handshaking: bool, cx: &mut Context) {
        let reason = match fault.kind {
            FaultKind::PlainHttp => Reason::TlsPlainHttp,
            FaultKind::Alert | FaultKind::Protocol if !was_handshaking => Reason::Protocol,
            FaultKind::Alert => Reason::TlsAlert,
            FaultKind::Protocol => Reason::TlsProtocol,
        };
        self.note_peer(reason, &fault.what, cx);
        self.leave_channels(cx);
        self.outbox = Outbox::default();
        match fault.kind {
            FaultKind::PlainHttp => self.respond_unnoted(&answers::speaks_tls(), After::Close, cx),
            FaultKind::Alert | FaultKind::Protocol => self.finish(cx),
        }
    }

    fn note_peer(&self, reason: Reason, what: &str, cx: &Context) {
        match self.stream.peer_address() {
            Some(peer) => cx.note(reason, &format_args!("TLS of {peer}: {what}")),
            None => cx.note(reason, &format_args!("TLS of a peer that has gone: {what}")),
        }
    }
}
