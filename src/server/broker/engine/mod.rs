//! Where a publication's number is drawn: by this process under the channel's lock, or by an engine that many nodes
//! share.
//!
//! The contract between the broker and such an engine is here; an engine is not.

pub mod channel;
pub mod filling;
pub mod keys;
pub mod outgoing;
pub mod records;
pub mod signal;
pub mod stored;
pub mod tidings;
pub mod waiting;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::ChannelName;
use crate::server::broker::answer::Waiter;
use crate::server::broker::draft::Draft;
use crate::server::broker::engine::tidings::Tiding;
use crate::server::broker::engine::waiting::JoinWaiter;
use crate::server::broker::idempotency::Keyed;

/// Where the numbers of publications are drawn.
#[derive(Debug)]
pub enum Engine {
    /// By this process: a publication is numbered and delivered at once, under its channel's lock.
    Local,
    /// By something that other nodes use too: a publication is handed over, and delivered when it comes back.
    Remote(Arc<dyn Sequencer>),
}

impl Engine {
    /// What draws the numbers of a channel outside this process. `None`: this process does, as it does in any case for the
    /// server's own channels and for companions, which each node has for itself.
    pub fn sequencer_of(&self, channel: &ChannelName) -> Option<&Arc<dyn Sequencer>> {
        match self {
            Self::Local => None,
            Self::Remote(sequencer) => {
                (!channel.is_reserved() && !channel.is_companion()).then_some(sequencer)
            }
        }
    }

    /// Whether publishers should wait until it has done more of what it was given.
    pub fn is_congested(&self) -> bool {
        match self {
            Self::Local => false,
            Self::Remote(sequencer) => sequencer.is_congested(),
        }
    }

    /// Whether the numbers of a channel are drawn outside this process.
    pub fn draws(&self, channel: &ChannelName) -> bool {
        self.sequencer_of(channel).is_some()
    }
}

/// How long a new subscriber is held whose channel is not ready, unless the engine says otherwise.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// An engine outside this process. For each publication that it takes:
///
/// 1. It draws the number: per channel ascending by 1, or from 1 again under a new epoch.
/// 2. It calls [`Broker::deliver`] once on each node, in the order of the numbers; [`Broker::begin`] before the first of them,
///    and [`Broker::gap`] where some will not come, or the epoch is a new one.
/// 3. On the node that published it then calls [`Broker::settle`] once with the ticket: with a receipt of what `deliver`
///    returned, or of the earlier publication that it knows under the ticket's key, or with why nothing was delivered. That
///    takes less time than an idempotency key is known.
///
/// A channel is engaged while the engine delivers here what is published to it. For each that is wanted:
///
/// 1. It makes the channel's history and position those of the engine, and calls [`Broker::engage`].
/// 2. It then tells each waiter once, by [`JoinWaiter::tell`]; or, when that has taken [`Sequencer::join_timeout`], or as soon as
///    it is known that it cannot be done, that the channel is unavailable. So it holds no waiter for longer, whose connection may
///    be gone by then. A channel that is engaged when it is wanted was not when somebody looked: its waiter is told at once.
/// 3. While nobody reads the channel, it may call [`Broker::disengage`]; who wants it again says so.
///
/// [`Broker::begin`]: super::Broker::begin
/// [`Broker::deliver`]: super::Broker::deliver
/// [`Broker::gap`]: super::Broker::gap
/// [`Broker::settle`]: super::Broker::settle
/// [`Broker::engage`]: super::Broker::engage
/// [`Broker::disengage`]: super::Broker::disengage
pub trait Sequencer: fmt::Debug + Send + Sync {
    /// Takes a publication. Called in the order of each publisher, from its thread, without a lock of the broker; does
    /// not wait for I/O.
    fn sequence(&self, draft: Draft, ticket: Ticket);

    /// A connection waits until a channel is engaged. Called without a lock of the broker; only notes it, and wakes the engine.
    fn want(&self, channel: &ChannelName, waiter: JoinWaiter);

    /// The number of subscribers of an engaged channel has changed, or whether anybody reads it: ask [`Broker::audience_of`].
    /// Called once until that was asked, under the lock of the channel; only notes it, and wakes the engine.
    ///
    /// [`Broker::audience_of`]: super::Broker::audience_of
    fn count_changed(&self, channel: &ChannelName);

    /// Other nodes are to know something of who is in an engaged channel here: ask [`Broker::take_news`]. Called as
    /// [`Sequencer::count_changed`] is.
    ///
    /// [`Broker::take_news`]: super::Broker::take_news
    fn members_changed(&self, channel: &ChannelName);

    /// A cache channel has had no event for a new subscriber, for the first time on this node since it is empty. Called as
    /// [`Sequencer::count_changed`] is.
    fn cache_missed(&self, channel: &ChannelName);

    /// All other nodes are to do this. Called without a lock of the broker; only notes it, and wakes the engine.
    fn tell(&self, tiding: Tiding);

    /// Whether publishers should wait until it has done more of what it was given.
    fn is_congested(&self) -> bool {
        false
    }

    /// How long a new subscriber is held whose channel is not engaged.
    fn join_timeout(&self) -> Duration {
        JOIN_TIMEOUT
    }
}

/// What an engine returns to [`Broker::settle`] when a publication has been delivered.
///
/// [`Broker::settle`]: super::Broker::settle
#[derive(Debug)]
pub struct Ticket {
    pub(super) channel: ChannelName,
    pub(super) key: Option<Keyed>,
    pub(super) waiter: Waiter,
}

impl Ticket {
    /// Where it is published.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The key that it was published with, if any.
    pub fn keyed(&self) -> Option<Keyed> {
        self.key
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
pub mod held;
