//! What is decided about one channel, for one client and one action: yes, no, or that nobody could decide.
//!
//! How it came about is not known here.

use std::fmt;
use std::sync::Arc;

use super::call::Action;
use crate::hub::ChannelName;
use crate::token::{INFO_LEN_MAX, NAME_LEN_MAX};

/// How long a client is told to wait where the backend could not decide, in seconds: a restart of a backend takes as long.
pub const RETRY_AFTER_S: u64 = 5;

/// What is decided about a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The client may.
    Yes(Grant),
    /// The client may not; the backend's own sentence, if it gave one.
    No(Option<Arc<str>>),
    /// It is not known: nobody is let in, and whoever is in may stay for a while.
    Fault(Fault),
}

/// What the backend allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who the client is, if the backend says so.
    pub person: Option<Arc<Person>>,
    /// Whether the client may see who is there.
    pub sees: bool,
    /// Until when this is known, in milliseconds of the server's clock. Then it is to be asked again.
    pub ends_at_ms: u64,
}

/// Who a client is to its backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The user: needed for presence.
    pub sub: Option<Box<str>>,
    /// What other members are told of the user, as JSON without white space.
    pub info: Option<Box<str>>,
}

/// Why the backend could not decide. `Display` is the sentence that a client is told, and says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// There was no answer within this time, in milliseconds.
    Timeout(u64),
    /// There was no connection, or it ended before the answer.
    Unreachable,
    /// The status says neither yes nor no.
    Status(u16),
    /// The answer is not what is documented.
    Unreadable,
    /// As many questions wait as may, or this one has waited for too long.
    Busy,
    /// The calls before failed, and a pause is made.
    Paused,
    /// The user was revoked while the backend was asked, time and again: each answer may be what was true before.
    Outdated,
    /// The server stops, or has no thread to ask with.
    Stopped,
    /// The program that decides in the place of a backend did not.
    Program(ProgramFault),
}

/// Why the program that decides in the place of a backend did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgramFault {
    /// It gave up its means to answer without an answer.
    Unanswered,
    /// It panicked.
    Panicked,
    /// As many of its answers are awaited as may be.
    Busy,
    /// It named a user by nothing, or by too long a name.
    User,
    /// What it said of the user is not JSON, or too long.
    Info,
    /// It named another user for another channel of the same question.
    Users,
}

/// The sentence of a no: the backend's own, if it gave one.
#[must_use]
pub fn refusal(message: Option<&str>, action: Action, channel: &ChannelName) -> String {
    if let Some(message) = message {
        return message.to_owned();
    }
    let what = match action {
        Action::Subscribe => "subscribe",
        Action::Publish => "publish",
    };
    format!("The backend does not let this client {what} to {channel}.")
}

impl Fault {
    /// Whether it is the backend as a whole that is missing: it is left alone for a while then. What a single client could
    /// bring about, a fault in the answer to its cookie, is no such case.
    pub(super) fn is_absence(self) -> bool {
        match self {
            Self::Timeout(_) | Self::Unreachable => true,
            // What proxies say for a server behind them.
            Self::Status(status) => matches!(status, 502..=504),
            Self::Unreadable
            | Self::Busy
            | Self::Paused
            | Self::Outdated
            | Self::Stopped
            | Self::Program(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const JUDGE: &str = "The backend that decides";
        match self {
            Self::Timeout(ms) if ms % 1000 == 0 => write!(f, "{JUDGE} did not answer in {} s", ms / 1000),
            Self::Timeout(ms) => write!(f, "{JUDGE} did not answer in {ms} ms"),
            Self::Unreachable => write!(f, "{JUDGE} cannot be reached"),
            Self::Status(status) => write!(f, "{JUDGE} answered {status}"),
            Self::Unreadable => write!(f, "{JUDGE} gave an answer that is not understood"),
            Self::Busy => write!(f, "Too many questions wait for the backend that decides"),
            Self::Paused => write!(f, "{JUDGE} does not answer at present"),
            Self::Outdated => write!(f, "The user was revoked while the backend was asked"),
            Self::Stopped => write!(f, "This server is stopping"),
            Self::Program(fault) => fault.fmt(f),
        }?;
        write!(f, "; try again in {RETRY_AFTER_S} s.")
    }
}

/// The sentence without its end.
impl fmt::Display for ProgramFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered => f.write_str("The program that decides did not answer"),
            Self::Panicked => f.write_str("The program that decides failed"),
            Self::Busy => f.write_str("Too many answers of the program that decides are awaited"),
            Self::User => write!(f, "The program named a user of no or more than {NAME_LEN_MAX} bytes"),
            Self::Info => {
                write!(f, "The program gave an info that is not JSON of at most {INFO_LEN_MAX} bytes")
            }
            Self::Users => f.write_str("The program named another user for another channel of this client"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_let_in_is_told_why_and_when_to_come_back() {
        let channel = ChannelName::new("chat-8").unwrap();
        assert_eq!(refusal(Some("By invitation"), Action::Publish, &channel), "By invitation");
        for (action, what) in [(Action::Publish, "publish"), (Action::Subscribe, "subscribe")] {
            assert_eq!(
                refusal(None, action, &channel),
                format!("The backend does not let this client {what} to chat-8.")
            );
        }
        assert_eq!(
            Fault::Timeout(2000).to_string(),
            "The backend that decides did not answer in 2 s; try again in 5 s."
        );
        assert_eq!(
            Fault::Timeout(1500).to_string(),
            "The backend that decides did not answer in 1500 ms; try again in 5 s."
        );
    }

    #[test]
    fn a_sentence_about_a_fault_fits_a_close_frame() {
        // RFC 6455 §5.5: 125 bytes, of which 2 are the code.
        use Fault::*;
        let sent = [Timeout(u64::MAX), Unreachable, Status(u16::MAX), Unreadable];
        let of_programs = [
            ProgramFault::Unanswered,
            ProgramFault::Panicked,
            ProgramFault::Busy,
            ProgramFault::User,
            ProgramFault::Info,
            ProgramFault::Users,
        ];
        let own = [Busy, Paused, Outdated, Stopped].into_iter().chain(of_programs.map(Program));
        for fault in sent.into_iter().chain(own) {
            let sentence = fault.to_string();
            assert!(sentence.len() <= 123 && sentence.ends_with("5 s."), "{sentence}");
        }
    }
}
