//! What of a connection waits: a request, a message or a command, for its backend or for channels that cannot be joined yet; and what
//! is read as soon as that can be.
//!
//! Nothing is done with it here: see `judging`, `preparing` and `late`. The batch that waits for the backend is in `grants`.

use std::sync::Arc;

use crate::backend::{Credentials, Judged, QuestionId};
use crate::http;
use crate::hub::ChannelName;
use crate::pusher;
use crate::server::api::acceptance::Joining;
use crate::server::api::basis::Asking;
use crate::server::api::many::Reading;
use crate::server::api::payload::Sent;
use crate::server::clock::Millis;
use crate::server::handlers::link::Form;

/// A request that waits. Nothing that follows it is read meanwhile.
#[derive(Debug)]
pub struct Parked {
    pub request: http::Request,
    /// What the backend was shown, if it was the one that was asked.
    pub credentials: Option<Arc<Credentials>>,
    pub judged: Judged,
    pub pending: Pending,
    /// Since when it waits for that.
    pub since: Millis,
}

/// What is waited for.
#[derive(Debug)]
pub enum Pending {
    /// What the backend decides.
    Verdict { question: QuestionId, asking: Asking },
    /// Channels that cannot be joined yet; the number of the question about them.
    Channels { question: u64 },
}

impl Pending {
    /// Whether it is what the backend decides about this.
    pub fn is_verdict(&self, about: QuestionId) -> bool {
        matches!(self, Self::Verdict { question, .. } if *question == about)
    }

    /// Whether it is the channels of this question.
    pub fn is_channels(&self, of: u64) -> bool {
        matches!(self, Self::Channels { question } if *question == of)
    }

    /// The question about channels, if it is that.
    pub fn channels(&self) -> Option<u64> {
        match self {
            Self::Channels { question } => Some(*question),
            Self::Verdict { .. } => None,
        }
    }
}

impl Parked {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let credentials_len = self.credentials.as_ref().map_or(0, |credentials| credentials.held_len());
        size_of::<Self>() + self.request.held_len() + credentials_len + self.judged.held_len()
    }
}

/// What a client wants to be done, and what that waits for. Nothing further of the client is carried out meanwhile.
#[derive(Debug)]
pub struct Wish {
    pub pending: Pending,
    /// Since when it waits for that.
    pub since: Millis,
    pub what: Wished,
}

/// What a client wants to be done, as it came.
#[derive(Debug)]
pub enum Wished {
    /// A message is to be published to the one channel.
    Message(Sent),
    /// A command is to be carried out: its text.
    Command(Box<str>),
    /// A Pusher client is to join a channel, in a presence channel as this member. Its signature was right.
    Subscription { name: pusher::Name, member: Option<pusher::Member> },
}

impl Wish {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let what_len = match &self.what {
            Wished::Message(sent) => sent.draft.data.len(),
            Wished::Command(text) => text.len(),
            Wished::Subscription { name, member } => {
                let member_len = member.as_ref().map_or(0, |member| {
                    member.user_id.len() + member.user_info.as_ref().map_or(0, |info| info.len())
                });
                name.as_str().len() + member_len
            }
        };
        size_of::<Self>() + what_len
    }
}

/// A channel of a session that is read once it can be joined.
#[derive(Debug)]
pub struct LateRead {
    pub channel: ChannelName,
    pub form: Form,
    pub asked: Asked,
}

/// An event stream that reads its channels once they can be joined.
#[derive(Debug)]
pub struct LateStream {
    pub what: Streaming,
    pub asked: Asked,
}

/// What an event stream reads.
#[derive(Debug)]
pub enum Streaming {
    /// One channel.
    One(Joining),
    /// Several.
    Many(Vec<Reading>),
}

/// That the engine was asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The question.
    pub question: u64,
    /// When it is asked again.
    pub again_at: Millis,
}

impl LateStream {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let readings_len = match &self.what {
            Streaming::One(_) => 0,
            Streaming::Many(readings) => size_of_val(&**readings),
        };
        size_of::<Self>() + readings_len
    }
}
