//! The deadlines of a connection, and what is due at each: pure rules, with the time as an argument.
//!
//! Nothing is sent or closed here.

use crate::config::Config;
use crate::server::clock::{Millis, millis};

/// If a notice is due and a ping is due within this part of the idle timeout, both are sent in one write, which wakes the
/// peer once. An eighth is 3.75 s of 30 s, more than a pong takes.
const PING_EARLY_PART: u64 = 8;

/// What the peer of a connection is expected to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Send a request head.
    Head,
    /// Send the rest of a body.
    Body,
    /// Nothing: an HTTP connection between two requests.
    KeptAlive,
    /// Nothing: an open WebSocket or event stream.
    Open,
    /// Nothing: a long poll that waits for this many milliseconds.
    Waiting(u32),
    /// Nothing: a request that carries a session, whose deadlines are the session's.
    Carrying,
    /// Answer the ping.
    Pinged,
    /// Answer our Close frame.
    Closing,
    /// Take the last bytes that are sent.
    Finishing,
    /// Close TCP.
    Lingering,
}

/// What is due at the end of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Answer 408 and close.
    RequestTimeout,
    /// Close without an answer: there is no request.
    Hangup,
    /// Send a Ping frame, which begins [`Stage::Pinged`]; on an event stream a comment, and the stage begins again.
    Ping,
    /// Send the notice that the server is alive, to a subscriber that cannot see pings.
    Notice,
    /// Close a Pusher client that was not authorized in time, or a client whose token or key has expired.
    Unauthorized,
    /// Ask the backend again whether the connection may read its channels.
    Renewal,
    /// Go on without the verdict of the program, which has had its time.
    Verdict,
    /// Go on without channels that were waited for, which have had their time.
    Channels,
    /// Call the timer of the session.
    Timer,
    /// Answer the long poll without publications.
    Answer,
    /// Send a Close frame: the peer has not answered the ping.
    CloseSilent,
    /// Drop the socket.
    Drop,
}

/// Since when a connection is in its stage, and when the next notice is due.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    since: Millis,
    /// [`NEVER`] for a peer that gets no notices.
    notice_at: Millis,
}

const NEVER: Millis = Millis(u64::MAX);

/// How long each stage may last, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    head: u64,
    body: u64,
    idle: u64,
    pong: u64,
    close: u64,
}

impl Timeouts {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        // A timeout below a millisecond counts as a millisecond.
        let at_least_one = |duration| millis(duration).max(1);
        Self {
            head: at_least_one(config.handshake_timeout),
            body: at_least_one(config.body_timeout),
            idle: at_least_one(config.idle_timeout),
            pong: at_least_one(config.pong_timeout),
            close: at_least_one(config.close_timeout),
        }
    }

    /// The longest time between two notices to a subscriber that gets them, in milliseconds.
    pub fn idle_ms(&self) -> u64 {
        self.idle
    }

    /// The time to a complete request head, in milliseconds.
    pub fn head_ms(&self) -> u64 {
        self.head
    }

    fn of(&self, stage: Stage) -> u64 {
        match stage {
            Stage::Head => self.head,
            Stage::Body => self.body,
            Stage::KeptAlive | Stage::Open => self.idle,
            // What is to be taken comes before what is to be answered: it has no less time.
            Stage::Finishing => self.idle.max(self.close),
            Stage::Waiting(wait_ms) => u64::from(wait_ms),
            Stage::Carrying => NEVER.0,
            Stage::Pinged => self.pong,
            Stage::Closing | Stage::Lingering => self.close,
        }
    }
}

impl Deadlines {
    /// For a connection that has just been accepted.
    pub fn new(now: Millis) -> Self {
        Self { since: now, notice_at: NEVER }
    }

    /// A stage begins.
    pub fn restart(&mut self, now: Millis) {
        self.since = now;
    }

    /// From now on the peer gets a notice every idle timeout, whatever it sends itself.
    pub fn begin_notices(&mut self, now: Millis, timeouts: &Timeouts) {
        self.notice_at = Millis(now.0 + timeouts.idle);
    }

    /// A notice has been sent, if the peer gets notices.
    pub fn told(&mut self, now: Millis, timeouts: &Timeouts) {
        if self.notice_at != NEVER {
            self.begin_notices(now, timeouts);
        }
    }

    /// Bytes arrived. They prove that the peer of an open WebSocket is alive, and its stage is [`Stage::Open`] then. They
    /// do not extend the time of a request, a close or the end: one byte a second would hold the connection for ever.
    pub fn heard(&mut self, stage: Stage, now: Millis) {
        match stage {
            Stage::Open | Stage::Pinged => self.since = now,
            Stage::Head
            | Stage::Body
            | Stage::KeptAlive
            | Stage::Waiting(_)
            | Stage::Carrying
            | Stage::Closing
            | Stage::Finishing
            | Stage::Lingering => {}
        }
    }

    /// The peer was not read from `since` until now: in stages in which it is expected to send, that time does not count.
    pub fn excuse(&mut self, stage: Stage, since: Millis, now: Millis) {
        match stage {
            Stage::Head | Stage::Body | Stage::KeptAlive | Stage::Open | Stage::Pinged => {
                self.since.0 += now.0.saturating_sub(since.0);
            }
            Stage::Waiting(_) | Stage::Carrying | Stage::Closing | Stage::Finishing | Stage::Lingering => {}
        }
    }

    /// The peer took bytes after the kernel had refused some. This proves that an open WebSocket is alive, as bytes from
    /// it do, and restarts the time of an answer, a Close frame or the end: what is still to be sent is finite. The time
    /// of a request is restarted only while the connection is held (`is_held`), since its bytes are not read then.
    pub fn took(&mut self, stage: Stage, now: Millis, is_held: bool) {
        match stage {
            Stage::Open
            | Stage::Pinged
            | Stage::KeptAlive
            | Stage::Closing
            | Stage::Finishing
            | Stage::Lingering => self.since = now,
            Stage::Head | Stage::Body if is_held => self.since = now,
            Stage::Head | Stage::Body | Stage::Waiting(_) | Stage::Carrying => {}
        }
    }

    /// The kernel refused bytes, and had not refused any before: the peer's time to take them begins now, not when they
    /// were put into the outbox, which may have been earlier in a long turn. This is not a sign of life.
    pub fn was_refused(&mut self, stage: Stage, now: Millis) {
        match stage {
            Stage::KeptAlive | Stage::Closing | Stage::Finishing | Stage::Lingering => self.since = now,
            Stage::Head | Stage::Body | Stage::Waiting(_) | Stage::Carrying | Stage::Open | Stage::Pinged => {
            }
        }
    }

    /// When something is due.
    pub fn next(&self, stage: Stage, timeouts: &Timeouts) -> Millis {
        self.end_of_stage(stage, timeouts).min(self.notice_at(stage))
    }

    /// What is due now, if anything.
    pub fn due(&self, stage: Stage, now: Millis, timeouts: &Timeouts) -> Option<Due> {
        let end = self.end_of_stage(stage, timeouts);
        if now < end {
            let is_ping_near = stage == Stage::Open && now.0 + timeouts.idle / PING_EARLY_PART >= end.0;
            let due = if is_ping_near { Due::Ping } else { Due::Notice };
            return (now >= self.notice_at(stage)).then_some(due);
        }
        Some(match stage {
            Stage::Head | Stage::Body => Due::RequestTimeout,
            Stage::KeptAlive => Due::Hangup,
            Stage::Open => Due::Ping,
            Stage::Waiting(_) => Due::Answer,
            Stage::Pinged => Due::CloseSilent,
            Stage::Carrying | Stage::Closing | Stage::Finishing | Stage::Lingering => Due::Drop,
        })
    }

    fn end_of_stage(&self, stage: Stage, timeouts: &Timeouts) -> Millis {
        Millis(self.since.0.saturating_add(timeouts.of(stage)))
    }

    /// Notices are due in the open stages only.
    fn notice_at(&self, stage: Stage) -> Millis {
        match stage {
            Stage::Open | Stage::Pinged => self.notice_at,
            Stage::Head
            | Stage::Body
            | Stage::KeptAlive
            | Stage::Waiting(_)
            | Stage::Carrying
            | Stage::Closing
            | Stage::Finishing
            | Stage::Lingering => NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Head 10 s, body 30 s, idle 30 s, pong 20 s, close 5 s.
    fn timeouts() -> Timeouts {
        Timeouts::new(&Config::default())
    }

    fn at(seconds: u64) -> Millis {
        Millis(seconds * 1000)
    }

    /// The stage and the deadlines of a connection. As in the roles, a sign of life turns [`Stage::Pinged`] into
    /// [`Stage::Open`].
    struct Watched {
        stage: Stage,
        deadlines: Deadlines,
    }

    impl Watched {
        fn enter(&mut self, stage: Stage, now: Millis) {
            self.stage = stage;
            self.deadlines.restart(now);
        }

        fn heard(&mut self, now: Millis) {
            self.deadlines.heard(self.stage, now);
            if self.stage == Stage::Pinged {
                self.stage = Stage::Open;
            }
        }

        fn took(&mut self, now: Millis, is_held: bool) {
            self.deadlines.took(self.stage, now, is_held);
            if self.stage == Stage::Pinged {
                self.stage = Stage::Open;
            }
        }

        fn excuse(&mut self, since: Millis, now: Millis) {
            self.deadlines.excuse(self.stage, since, now);
        }

        fn begin_notices(&mut self, now: Millis, timeouts: &Timeouts) {
            self.deadlines.begin_notices(now, timeouts);
        }

        fn told(&mut self, now: Millis, timeouts: &Timeouts) {
            self.deadlines.told(now, timeouts);
        }

        fn deadline(&self, timeouts: &Timeouts) -> Millis {
            self.deadlines.next(self.stage, timeouts)
        }

        fn due(&self, now: Millis, timeouts: &Timeouts) -> Option<Due> {
            self.deadlines.due(self.stage, now, timeouts)
        }
    }

    fn in_stage(stage: Stage) -> Watched {
        Watched { stage, deadlines: Deadlines { since: at(100), notice_at: NEVER } }
    }

    #[test]
    fn a_request_head_is_due_after_its_timeout_and_not_before() {
        let watched = Watched { stage: Stage::Head, deadlines: Deadlines::new(at(100)) };
        assert_eq!(watched.due(Millis(109_999), &timeouts()), None);
        assert_eq!(watched.due(at(110), &timeouts()), Some(Due::RequestTimeout));
    }

    #[test]
    fn single_bytes_do_not_extend_the_time_of_a_request() {
        for stage in [Stage::Head, Stage::Body] {
            let mut watched = in_stage(stage);
            watched.heard(at(105));
            assert_eq!(watched.due(at(130), &timeouts()), Some(Due::RequestTimeout), "{stage:?}");
        }
    }

    #[test]
    fn a_silent_websocket_is_pinged_then_closed_then_dropped() {
        let mut watched = in_stage(Stage::Open);
        assert_eq!(watched.due(Millis(129_999), &timeouts()), None);
        assert_eq!(watched.due(at(130), &timeouts()), Some(Due::Ping));
        watched.enter(Stage::Pinged, at(130));
        assert_eq!(watched.due(Millis(149_999), &timeouts()), None);
        assert_eq!(watched.due(at(150), &timeouts()), Some(Due::CloseSilent));
        watched.enter(Stage::Closing, at(150));
        assert_eq!(watched.due(Millis(154_999), &timeouts()), None);
        assert_eq!(watched.due(at(155), &timeouts()), Some(Due::Drop));
    }

    #[test]
    fn any_byte_after_a_ping_is_a_sign_of_life() {
        let mut watched = in_stage(Stage::Pinged);
        watched.heard(at(119));
        assert_eq!(watched.due(Millis(148_999), &timeouts()), None);
        assert_eq!(watched.due(at(149), &timeouts()), Some(Due::Ping));
    }

    #[test]
    fn bytes_do_not_prolong_the_end() {
        for stage in [Stage::Closing, Stage::Lingering] {
            let mut watched = in_stage(stage);
            watched.heard(at(104));
            assert_eq!(watched.due(at(105), &timeouts()), Some(Due::Drop), "{stage:?}");
        }
    }

    /// Open since 100 s, with notices since then.
    fn hearing() -> Watched {
        let mut watched = in_stage(Stage::Open);
        watched.begin_notices(at(100), &timeouts());
        watched
    }

    #[test]
    fn a_notice_is_due_in_every_idle_timeout_whatever_the_peer_says() {
        let mut watched = hearing();
        for round in 0..3 {
            watched.heard(at(115 + 30 * round));
            assert_eq!(watched.due(Millis(129_999 + 30_000 * round), &timeouts()), None);
            assert_eq!(watched.deadline(&timeouts()), at(130 + 30 * round));
            assert_eq!(watched.due(at(130 + 30 * round), &timeouts()), Some(Due::Notice));
            watched.told(at(130 + 30 * round), &timeouts());
        }
    }

    #[test]
    fn a_notice_goes_along_with_a_ping_that_is_nearly_due() {
        let mut watched = hearing();
        assert_eq!(watched.due(at(130), &timeouts()), Some(Due::Ping));
        watched.told(at(130), &timeouts());
        watched.enter(Stage::Pinged, at(130));
        watched.heard(Millis(133_750));
        assert_eq!(watched.due(Millis(159_999), &timeouts()), None);
        assert_eq!(watched.due(at(160), &timeouts()), Some(Due::Ping), "the pong came within an eighth");
        watched.heard(Millis(133_751));
        assert_eq!(watched.due(at(160), &timeouts()), Some(Due::Notice));
    }

    #[test]
    fn a_peer_that_does_not_answer_a_ping_is_closed_notices_or_not_and_a_closing_one_is_told_nothing() {
        let mut watched = hearing();
        watched.enter(Stage::Pinged, at(115));
        assert_eq!(watched.due(at(130), &timeouts()), Some(Due::Notice));
        watched.told(at(130), &timeouts());
        assert_eq!(watched.due(at(135), &timeouts()), Some(Due::CloseSilent));
        watched.enter(Stage::Closing, at(128));
        assert_eq!(watched.deadline(&timeouts()), at(133));
    }

    #[test]
    fn a_peer_without_notices_is_never_sent_one() {
        let mut watched = in_stage(Stage::Open);
        watched.told(at(100), &timeouts());
        watched.heard(at(115));
        assert_eq!(watched.due(at(130), &timeouts()), None);
    }

    #[test]
    fn the_time_in_which_a_peer_was_not_read_does_not_count_against_it() {
        for (stage, due) in [(Stage::Body, Due::RequestTimeout), (Stage::Pinged, Due::CloseSilent)] {
            let mut watched = in_stage(stage);
            let deadline = watched.deadline(&timeouts()).0;
            watched.excuse(at(103), at(110));
            assert_eq!(watched.due(Millis(deadline + 6_999), &timeouts()), None, "{stage:?}");
            assert_eq!(watched.due(Millis(deadline + 7_000), &timeouts()), Some(due), "{stage:?}");
        }
    }

    #[test]
    fn a_peer_that_takes_bytes_is_alive() {
        for stage in [Stage::Open, Stage::Pinged] {
            let mut watched = in_stage(stage);
            watched.took(at(119), false);
            assert_eq!(watched.due(Millis(148_999), &timeouts()), None);
            assert_eq!(watched.due(at(149), &timeouts()), Some(Due::Ping));
        }
    }

    #[test]
    fn not_being_read_does_not_prolong_a_wait_or_the_end() {
        for (stage, due) in [(Stage::Waiting(1000), Due::Answer), (Stage::Lingering, Due::Drop)] {
            let mut watched = in_stage(stage);
            watched.excuse(at(100), at(110));
            assert_eq!(watched.due(at(110), &timeouts()), Some(due), "{stage:?}");
        }
    }

    #[test]
    fn taking_bytes_restarts_the_time_of_an_answer_a_close_or_the_end() {
        for (stage, seconds, due) in [
            (Stage::KeptAlive, 30, Due::Hangup),
            (Stage::Closing, 5, Due::Drop),
            (Stage::Finishing, 30, Due::Drop),
            (Stage::Lingering, 5, Due::Drop),
        ] {
            let mut watched = in_stage(stage);
            watched.took(at(104), false);
            assert_eq!(watched.due(Millis(103_999 + seconds * 1000), &timeouts()), None, "{stage:?}");
            assert_eq!(watched.due(at(104 + seconds), &timeouts()), Some(due), "{stage:?}");
        }
    }

    #[test]
    fn taking_answers_prolongs_a_request_only_while_it_is_not_read() {
        for (stage, seconds) in [(Stage::Head, 10), (Stage::Body, 30)] {
            for (is_held, due) in [(true, None), (false, Some(Due::RequestTimeout))] {
                let mut watched = in_stage(stage);
                watched.took(at(105), is_held);
                assert_eq!(watched.due(at(100 + seconds), &timeouts()), due, "{stage:?}");
            }
        }
    }

    #[test]
    fn bytes_ahead_of_a_close_frame_have_no_less_time_than_the_answer_to_it() {
        let second = std::time::Duration::from_secs(1);
        for (idle, close) in [(5, 20), (20, 5)] {
            let config =
                Config { idle_timeout: idle * second, close_timeout: close * second, ..Config::default() };
            let deadline = in_stage(Stage::Finishing).deadline(&Timeouts::new(&config));
            assert_eq!(deadline, at(120));
        }
    }

    #[test]
    fn a_connection_between_requests_is_closed_without_an_answer() {
        assert_eq!(in_stage(Stage::KeptAlive).due(at(130), &timeouts()), Some(Due::Hangup));
    }
}
