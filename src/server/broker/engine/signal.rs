//! What happens to a channel whose numbers Redis draws, and what is to be done about it.
//!
//! Which follows from which is known to `channel`. Redis's bytes are not known here.

use bytes::Bytes;

use crate::hub::{Gap, PublicationId};

/// A publication as Redis has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its identifier.
    pub id: PublicationId,
    /// Its bytes, which are not looked at here.
    pub stored: Bytes,
}

/// Where a channel is in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The epoch, and the newest publication; 0 before the first.
    pub newest: PublicationId,
    /// The oldest publication that is kept; the one after the newest if none is.
    pub oldest: u64,
}

/// What is there of the publications that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The epoch; `None` if Redis does not know the channel.
    pub epoch: Option<u64>,
    /// The oldest publication that is kept.
    pub oldest: u64,
    /// Each publication that was asked for, in order; `None` for one that is not there.
    pub stored: Vec<Option<Bytes>>,
}

/// What has become of a channel over all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupancy {
    /// It has its first subscriber.
    Occupied,
    /// It has lost its last one.
    Vacated,
}

/// What happens to a channel. Answers and publications come in the order in which Redis sent them over its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request names it.
    Wanted,
    /// It has no subscriber, and no request waits for it.
    Unwanted,
    /// Nobody wants it, and somebody who was told that it is ready may be about to join.
    Expected,
    /// Too many channels that nobody wants have come after it: if it is one of these, it is left by the next tick.
    CrowdedOut,
    /// It has this many subscribers on this node.
    Counted(u64),
    /// There is a connection to the Redis that has it.
    Connected,
    /// That connection is lost, or Redis has ended the subscription.
    Disconnected,
    /// A publication has come, while all channels together may hold this many bytes more.
    Pushed(Record, usize),
    /// An open has been answered.
    Opened(u64, Opening),
    /// An open was refused.
    NotOpened(u64),
    /// Redis has said how far it is, and what came before that was taken.
    Known(PublicationId),
    /// A read has been answered.
    Read(u64, Reading),
    /// A read was refused.
    NotRead(u64),
    /// Redis is to be told again that it is in use: something that a node has left there is to be swept.
    Renew,
    /// It is [`Channel::due`](super::channel::Channel::due).
    Tick,
}

/// What is to be done for a channel, in this order. What is written to Redis is written in this order too, over one connection;
/// answers carry the attempt of their command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Subscribe to it.
    Subscribe,
    /// End the subscription.
    Unsubscribe,
    /// Ask where it is, and say what this node has and has of it.
    Open {
        /// Comes back with the answer.
        attempt: u64,
        /// The subscribers on this node.
        count: u64,
        /// The newest publication that this node knows.
        known: Option<PublicationId>,
    },
    /// Ask for its epoch, its oldest publication, and those from `from` to `to`.
    Read {
        /// Comes back with the answer.
        attempt: u64,
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// It begins after this publication: nothing is kept of it yet, and nobody has joined.
    Begin(PublicationId),
    /// Keep a publication and deliver it: the one after the last that was delivered, begun after or told as the end of a gap.
    Deliver(Record),
    /// Forget what is kept, and tell its subscribers that something is missing between what they have and what comes after this
    /// publication.
    Gap(Gap, PublicationId),
    /// Requests that wait for the channel may join it from now on.
    Ready,
    /// Drop this value. Nobody wants the channel, and Redis has been told.
    Forget,
}

/// Channels are renewed at multiples of this time: those of one step go in one write, and the thread and Redis are not woken for
/// each. Of 50,000 channels a step has 33, which are 1 ms of Redis.
pub const RENEW_STEP_MS: u64 = 100;

/// What a node's configuration says of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The most publications that the node keeps: one that joins reads no more of the past.
    pub keep: u64,
    /// How often Redis is told that the channel is in use, in milliseconds: a quarter of the time after which it forgets it.
    pub renew_ms: u64,
    /// Where in that time the first renewal is, in 256ths: spreads those of channels that joined together.
    pub phase: u8,
}
