//! What TLS does to the life of a connection: handshakes that are complete, or fail, and sessions that end.
//!
//! Records are in `tls`, and what they hold in the files of the roles.

use super::context::Context;
use super::life::After;
use super::outbox::Outbox;
use super::{Connection, Next};
use crate::server::api::answers;
use crate::server::metrics::counters::Handshakes;
use crate::server::metrics::refusals::Reason;
use crate::server::tls::received::{Ending, Fault, FaultKind, Handshake, Version};

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

    /// The input of a session has ended behind what was received.
    pub(super) fn end_of_session(&mut self, ending: &Ending, was_handshaking: bool, cx: &mut Context) -> Next {
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
