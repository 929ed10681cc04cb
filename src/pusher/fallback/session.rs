//! Which request carries a session of pusher-js' HTTP transports at present, how much it may carry, and when a session
//! without a request is gone.
//!
//! Pure rules: times are told, not measured, and what is carried is not known here.

use super::path::Transport;
use super::{OPEN, PRELUDE};

/// How long a session lives without a request that carries it. A client that polls is back within a round trip.
pub const GONE_AFTER_MS: u32 = 5_000;

/// How often a request that carries nothing else carries a sign of life. Proxies end a silent response after 30 s or more.
pub const HEARTBEAT_MS: u32 = 25_000;

/// The client aborts a stream once it has read more than this many UTF-16 units, and asks for another one: what was sent
/// behind the line with which that happens would be lost.
pub const STREAM_UNITS_MAX: usize = 256 * 1024;

/// A write carries the lines that begin within this many bytes, so that one answer to a poll takes a bounded time.
pub const BATCH_LEN: usize = 64 * 1024;

/// The slowest client whose session survives the reading of an answer to a poll: 16 bytes a millisecond.
const SLOWEST_BYTES_PER_MS: usize = 16;

/// The request that carries a session, if any.
///
/// ```text
///            attach(Streaming)                 wrote > STREAM_UNITS_MAX
///   ┌─────┐ ─────────────────▶ ┌───────────┐ ───────────────────────────▶ ┌──────┐
///   │ none│                    │ streaming │                              │ full │ ── attach ─▶ streaming
///   └─────┘ ◀───────────────── └───────────┘ ◀─────────────────────────── └──────┘
///    │ ▲        detach
///    │ │ detach               ┌─────────┐
///    │ └───────────────────── │ polling │
///    └──── attach(Polling) ─▶ └─────────┘                 none for GONE_AFTER_MS ─▶ gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriage {
    carrier: Carrier,
    /// Whether the client has been sent the frame that opens the session.
    is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    /// None. The session is gone after this time.
    None { gone_after_ms: u32 },
    /// A poll, which is answered with one batch.
    Polling,
    /// A stream, which has carried this many units.
    Streaming { units: usize },
}

/// What a request to carry a session comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Attached {
    /// It carries the session, and its first frame is [`OPEN`]. A poll is answered with that alone.
    Opens,
    /// It carries the session.
    Continues,
    /// It carries the session instead of a stream that is full: that one is to be ended.
    Replaces,
    /// Another one carries it, and goes on to do so.
    Refused,
}

impl Carriage {
    /// A session that no request carries yet.
    #[must_use]
    pub fn new() -> Self {
        Self { carrier: Carrier::None { gone_after_ms: GONE_AFTER_MS }, is_open: false }
    }

    /// A request asks to carry the session. The caller sends [`PRELUDE`] on every stream, and [`OPEN`] if it opens the
    /// session: they are counted here.
    pub fn attach(&mut self, transport: Transport) -> Attached {
        let attached = match self.carrier {
            Carrier::None { .. } if self.is_open => Attached::Continues,
            Carrier::None { .. } => Attached::Opens,
            Carrier::Streaming { units } if units > STREAM_UNITS_MAX => Attached::Replaces,
            Carrier::Streaming { .. } | Carrier::Polling => return Attached::Refused,
        };
        self.is_open = true;
        self.carrier = match (transport, attached) {
            (Transport::Polling, _) => Carrier::Polling,
            (Transport::Streaming, Attached::Opens) => {
                Carrier::Streaming { units: PRELUDE.len() + OPEN.len() }
            }
            (Transport::Streaming, _) => Carrier::Streaming { units: PRELUDE.len() },
        };
        attached
    }

    /// How the session is carried, if it is.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        match self.carrier {
            Carrier::None { .. } => None,
            Carrier::Polling => Some(Transport::Polling),
            Carrier::Streaming { .. } => Some(Transport::Streaming),
        }
    }

    /// Within how many bytes the lines of the next write may begin; 0 if none may be written.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.carrier {
            Carrier::None { .. } => 0,
            Carrier::Polling => BATCH_LEN,
            Carrier::Streaming { units } => (STREAM_UNITS_MAX + 1).saturating_sub(units).min(BATCH_LEN),
        }
    }

    /// Lines were written to the request that carries the session.
    pub fn wrote(&mut self, len: usize) {
        if let Carrier::Streaming { units } = &mut self.carrier {
            *units += len;
        }
    }

    /// Nothing carries the session any more: its request was answered with this many bytes, or the peer has gone.
    pub fn detach(&mut self, answer_len: usize) {
        let reading_ms = u32::try_from(answer_len / SLOWEST_BYTES_PER_MS).unwrap_or(u32::MAX);
        self.carrier = Carrier::None { gone_after_ms: GONE_AFTER_MS.saturating_add(reading_ms) };
    }

    /// How long the session lives if no request comes to carry it; `None` while one does.
    #[must_use]
    pub fn gone_after_ms(&self) -> Option<u32> {
        match self.carrier {
            Carrier::None { gone_after_ms } => Some(gone_after_ms),
            Carrier::Polling | Carrier::Streaming { .. } => None,
        }
    }
}

impl Default for Carriage {
    fn default() -> Self {
        Self::new()
    }
}

/// How many bytes of `lines` may be written if all lines may that begin within the first `room` bytes. Lines are never cut;
/// `lines` ends with one.
#[must_use]
pub fn cut(lines: &[u8], room: usize) -> usize {
    debug_assert!(lines.last().is_none_or(|&last| last == b'\n'), "lines are whole");
    if room == 0 || lines.len() <= room {
        return lines.len().min(room);
    }
    let end = lines[room - 1..].iter().position(|&byte| byte == b'\n');
    end.map_or(lines.len(), |after| room + after)
}

#[cfg(test)]
mod tests {
    use super::*;

    use Transport::{Polling, Streaming};

    #[test]
    fn a_session_is_opened_once_whatever_carries_it_later() {
        let mut carriage = Carriage::new();
        assert_eq!(carriage.attach(Polling), Attached::Opens);
        carriage.detach(OPEN.len());
        for transport in [Polling, Streaming, Polling] {
            assert_eq!(carriage.attach(transport), Attached::Continues);
            assert_eq!(carriage.transport(), Some(transport));
            carriage.detach(0);
        }
    }

    #[test]
    fn a_second_request_is_refused_while_the_first_carries_the_session() {
        for transport in [Polling, Streaming] {
            let mut carriage = Carriage::new();
            assert_eq!(carriage.attach(transport), Attached::Opens);
            let before = carriage;
            assert_eq!(carriage.attach(Polling), Attached::Refused);
            assert_eq!(carriage.attach(Streaming), Attached::Refused);
            assert_eq!(carriage, before);
        }
    }

    #[test]
    fn a_session_is_gone_5_s_after_nothing_carries_it_any_more() {
        let mut carriage = Carriage::new();
        assert_eq!(carriage.gone_after_ms(), Some(5000));
        let _ = carriage.attach(Streaming);
        assert_eq!(carriage.gone_after_ms(), None);
        carriage.detach(0);
        assert_eq!(carriage.gone_after_ms(), Some(5000));
    }

    #[test]
    fn the_time_to_read_an_answer_does_not_count() {
        let mut carriage = Carriage::new();
        let _ = carriage.attach(Polling);
        carriage.detach(64 * 1024);
        assert_eq!(carriage.gone_after_ms(), Some(5000 + 4096));
    }

    #[test]
    fn a_stream_is_full_with_the_line_that_brings_it_past_the_mark() {
        let mut carriage = Carriage::new();
        let _ = carriage.attach(Streaming);
        assert_eq!(carriage.room(), BATCH_LEN);
        carriage.wrote(STREAM_UNITS_MAX - PRELUDE.len() - OPEN.len());
        assert_eq!(carriage.room(), 1, "at the mark the client goes on to read");
        assert_eq!(carriage.attach(Streaming), Attached::Refused);
        carriage.wrote(1);
        assert_eq!(carriage.room(), 0);
        assert_eq!(carriage.attach(Streaming), Attached::Replaces);
        assert_eq!(carriage.room(), BATCH_LEN, "the count begins again");
    }

    #[test]
    fn a_poll_has_no_mark() {
        let mut carriage = Carriage::new();
        let _ = carriage.attach(Polling);
        carriage.wrote(2 * STREAM_UNITS_MAX);
        assert_eq!(carriage.room(), BATCH_LEN);
    }

    #[test]
    fn nothing_is_written_where_nothing_carries_it() {
        assert_eq!(Carriage::new().room(), 0);
    }

    #[test]
    fn lines_are_written_whole_as_long_as_they_begin_within_the_room() {
        let lines = b"aaa\nbb\nc\n";
        let lens: Vec<_> = (0..=10).map(|room| cut(lines, room)).collect();
        assert_eq!(lens, [0, 4, 4, 4, 4, 7, 7, 7, 9, 9, 9]);
        assert_eq!(cut(b"", 5), 0);
    }
}
