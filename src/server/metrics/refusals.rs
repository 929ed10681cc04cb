//! Refusals by reason: each is counted, and logged at most once in ten seconds for each reason.
//!
//! What is refused is decided elsewhere.

use crate::http::Status;
use crate::server::clock::Millis;
use crate::server::excerpt::Excerpt;
use crate::ws::CloseCode;

/// At most one log line a reason in this time: a flood of bad clients must not become a flood of lines.
const QUIET_MS: u64 = 10_000;

/// The longest description in a log line. Ours are shorter; one that quotes a peer is cut.
const REASON_LEN_MAX: usize = 200;

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A connection past `--max-connections`.
    NoRoom,
    /// A connection for which there was no descriptor.
    Descriptors,
    /// A connection for which there was no memory, or that held most when `--max-memory` was reached.
    Memory,
    /// A request that breaks a rule of HTTP or of ours.
    BadRequest,
    /// A request without the key, or with another.
    Unauthorized,
    /// A request that is not allowed, whatever its key.
    Forbidden,
    /// A request for a path that names nothing.
    NotFound,
    /// A request by a method that is not served.
    Method,
    /// A request that was not complete in time.
    Timeout,
    /// A request that contradicts an earlier one: a key reused for another publication.
    Conflict,
    /// A request for more than an app may do in a time, or a handshake past `--ip-handshakes`.
    Rate,
    /// A connection past `--ip-connections` or `--user-connections`.
    TooMany,
    /// A connection without a PROXY header of a trusted proxy where there has to be one.
    Proxy,
    /// A request or message that is too long.
    TooLarge,
    /// A request for a protocol, coding or version that is not supported.
    Unsupported,
    /// A request that met a fault of the server.
    Internal,
    /// A WebSocket peer that broke the protocol.
    Protocol,
    /// A WebSocket message whose content is invalid.
    Payload,
    /// A WebSocket message that the peer may not send.
    Policy,
    /// What a client asked for by the Pusher protocol and did not get.
    Pusher,
    /// What a client of many channels asked for and did not get.
    Command,
    /// A peer that did not answer a ping.
    Silent,
    /// A subscriber past `--max-lag`. It is counted by policy, not here.
    Lagged,
    /// A TLS handshake that was not complete in time. This and the next are counted as failures of handshakes.
    TlsTimeout,
    /// HTTP without TLS where TLS is spoken.
    TlsPlainHttp,
    /// A handshake that the peer ended with an alert.
    TlsAlert,
    /// A handshake that breaks a rule, or asks for what is not spoken here.
    TlsProtocol,
    /// A handshake during which the peer went away.
    TlsClosed,
    /// TLS where it is not spoken.
    TlsAtPlain,
    /// A connection of a program whose handler failed or panicked.
    Handler,
    /// Handlers of a program that took long. It refuses nothing, and is not counted here.
    SlowHandler,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 31] = [
        Self::NoRoom,
        Self::Descriptors,
        Self::Memory,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Method,
        Self::Timeout,
        Self::Conflict,
        Self::Rate,
        Self::TooMany,
        Self::Proxy,
        Self::TooLarge,
        Self::Unsupported,
        Self::Internal,
        Self::Protocol,
        Self::Payload,
        Self::Policy,
        Self::Pusher,
        Self::Command,
        Self::Silent,
        Self::Lagged,
        Self::TlsTimeout,
        Self::TlsPlainHttp,
        Self::TlsAlert,
        Self::TlsProtocol,
        Self::TlsClosed,
        Self::TlsAtPlain,
        Self::Handler,
        Self::SlowHandler,
    ];

    /// Its label in metrics, if it is counted there.
    pub fn label(self) -> Option<&'static str> {
        Some(match self {
            Self::NoRoom => "no_room",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::Rate => "rate",
            Self::TooMany => "too_many",
            Self::Proxy => "proxy_header",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
            Self::Protocol => "protocol_error",
            Self::Payload => "invalid_payload",
            Self::Policy => "policy",
            Self::Pusher => "pusher",
            Self::Command => "command",
            Self::Silent => "silent",
            Self::TlsAtPlain => "tls_at_plain_port",
            Self::Handler => "handler",
            Self::Lagged
            | Self::SlowHandler
            | Self::TlsTimeout
            | Self::TlsPlainHttp
            | Self::TlsAlert
            | Self::TlsProtocol
            | Self::TlsClosed => return None,
        })
    }

    /// Its label among the failures of TLS handshakes, if it is one.
    pub fn tls_label(self) -> Option<&'static str> {
        match self {
            Self::TlsTimeout => Some("timeout"),
            Self::TlsPlainHttp => Some("plain_http"),
            Self::TlsAlert => Some("alert"),
            Self::TlsProtocol => Some("protocol"),
            Self::TlsClosed => Some("closed"),
            _ => None,
        }
    }

    /// The reason for an answer with this status, if that is a refusal. 503, full or stopping, is noted where it is
    /// decided.
    pub fn of_status(status: Status) -> Option<Self> {
        Some(match status.code() {
            ..400 | 503 => return None,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::Method,
            408 => Self::Timeout,
            409 | 422 => Self::Conflict,
            413 | 431 => Self::TooLarge,
            429 => Self::Rate,
            415 | 417 | 426 | 501 | 505 => Self::Unsupported,
            400..500 => Self::BadRequest,
            500.. => Self::Internal,
        })
    }

    /// The reason for closing a WebSocket peer with this code for what it sent.
    pub fn of_close(code: CloseCode) -> Self {
        match code {
            CloseCode::UNSUPPORTED_DATA | CloseCode::INVALID_PAYLOAD => Self::Payload,
            CloseCode::POLICY_VIOLATION => Self::Policy,
            CloseCode::MESSAGE_TOO_BIG => Self::TooLarge,
            _ => Self::Protocol,
        }
    }
}

/// The number of refusals by reason, and which log lines are due.
#[derive(Debug, Default)]
pub struct Refusals {
    reasons: [Noted; Reason::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    count: u64,
    named_at: Option<Millis>,
    /// How many were not logged since.
    unnamed: u64,
}

impl Refusals {
    /// Counts refusals and writes a line if it is time for one.
    pub fn note(&mut self, reason: Reason, count: u64, now: Millis, what: &dyn std::fmt::Display) {
        if let Some(unnamed) = self.count(reason, count, now) {
            let what = Excerpt { what, len_max: REASON_LEN_MAX };
            tracing::warn!(reason = ?reason, unnamed, "refused: {what}");
        }
    }

    /// The number of refusals by label, for each reason that metrics count.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = Reason::ALL.iter().zip(&self.reasons);
        counts.filter_map(|(reason, noted)| Some((reason.label()?, noted.count)))
    }

    /// The number of failed TLS handshakes by label.
    pub fn tls_counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = Reason::ALL.iter().zip(&self.reasons);
        counts.filter_map(|(reason, noted)| Some((reason.tls_label()?, noted.count)))
    }

    /// `Some(n)` if a line is due, after n refusals for the reason that were not logged.
    fn count(&mut self, reason: Reason, count: u64, now: Millis) -> Option<u64> {
        let noted = &mut self.reasons[reason as usize];
        noted.count += count;
        if noted.named_at.is_some_and(|at| now.0 < at.0 + QUIET_MS) {
            noted.unnamed += count;
            return None;
        }
        noted.named_at = Some(now);
        Some(std::mem::replace(&mut noted.unnamed, count.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_named_at_once_and_the_rest_are_counted() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.count(Reason::NotFound, 1, Millis(5)), Some(0));
        assert_eq!(refusals.count(Reason::NotFound, 1, Millis(6)), None);
        assert_eq!(refusals.count(Reason::NotFound, 1, Millis(10_004)), None);
        assert_eq!(refusals.count(Reason::NotFound, 1, Millis(10_005)), Some(2));
    }

    #[test]
    fn of_several_at_once_one_is_named() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.count(Reason::NoRoom, 3, Millis(5)), Some(0));
        assert_eq!(refusals.count(Reason::NoRoom, 1, Millis(10_005)), Some(2));
    }

    #[test]
    fn one_kind_does_not_silence_another() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.count(Reason::NotFound, 1, Millis(5)), Some(0));
        assert_eq!(refusals.count(Reason::Lagged, 1, Millis(5)), Some(0));
    }

    #[test]
    fn every_kind_is_counted_under_its_own_label() {
        let mut refusals = Refusals::default();
        for (number, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, number);
            refusals.count(reason, number as u64 + 1, Millis(0));
        }
        let counts: Vec<_> = refusals.counts().collect();
        assert_eq!(counts.len(), 24, "all but the lagging, the handshakes and the slow handlers");
        assert_eq!(
            (counts[0], counts[21], counts[22], counts[23]),
            (("no_room", 1), ("silent", 22), ("tls_at_plain_port", 29), ("handler", 30))
        );
        let labels: std::collections::BTreeSet<_> = counts.iter().map(|(label, _)| label).collect();
        assert_eq!(labels.len(), counts.len());
        let handshakes: Vec<_> = refusals.tls_counts().collect();
        let labels = [("timeout", 24), ("plain_http", 25), ("alert", 26), ("protocol", 27), ("closed", 28)];
        assert_eq!(handshakes, labels);
    }

    #[test]
    fn a_status_says_why_a_request_was_refused() {
        for (status, reason) in [
            (Status::OK, None),
            (Status::BAD_REQUEST, Some(Reason::BadRequest)),
            (Status::UNAUTHORIZED, Some(Reason::Unauthorized)),
            (Status::FORBIDDEN, Some(Reason::Forbidden)),
            (Status::TOO_MANY_REQUESTS, Some(Reason::Rate)),
            (Status::NOT_FOUND, Some(Reason::NotFound)),
            (Status::METHOD_NOT_ALLOWED, Some(Reason::Method)),
            (Status::REQUEST_TIMEOUT, Some(Reason::Timeout)),
            (Status::LENGTH_REQUIRED, Some(Reason::BadRequest)),
            (Status::CONTENT_TOO_LARGE, Some(Reason::TooLarge)),
            (Status::REQUEST_HEADER_FIELDS_TOO_LARGE, Some(Reason::TooLarge)),
            (Status::EXPECTATION_FAILED, Some(Reason::Unsupported)),
            (Status::UPGRADE_REQUIRED, Some(Reason::Unsupported)),
            (Status::NOT_IMPLEMENTED, Some(Reason::Unsupported)),
            (Status::HTTP_VERSION_NOT_SUPPORTED, Some(Reason::Unsupported)),
            (Status::GATEWAY_TIMEOUT, Some(Reason::Internal)),
            (Status::SERVICE_UNAVAILABLE, None),
        ] {
            assert_eq!(Reason::of_status(status), reason, "{status}");
        }
    }

    #[test]
    fn a_close_code_says_why_a_peer_was_closed() {
        for (code, reason) in [
            (CloseCode::PROTOCOL_ERROR, Reason::Protocol),
            (CloseCode::UNSUPPORTED_DATA, Reason::Payload),
            (CloseCode::INVALID_PAYLOAD, Reason::Payload),
            (CloseCode::POLICY_VIOLATION, Reason::Policy),
            (CloseCode::MESSAGE_TOO_BIG, Reason::TooLarge),
        ] {
            assert_eq!(Reason::of_close(code), reason, "{code}");
        }
    }
}
