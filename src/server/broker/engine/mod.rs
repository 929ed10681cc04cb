//! Where a publication's number is drawn: by this process under the channel's lock, or by an engine that many nodes
//! share.
//!
//! The contract between the broker and such an engine is here; an engine is not.

#[cfg_attr(not(test), expect(dead_code, reason = "there is no engine of many nodes yet"))]
pub mod channel;
pub mod filling;
#[cfg_attr(not(test), expect(dead_code, reason = "there is no engine of many nodes yet"))]
pub mod keys;
#[cfg_attr(not(test), expect(dead_code, reason = "there is no engine of many nodes yet"))]
pub mod outgoing;
#[cfg_attr(not(test), expect(dead_code, reason = "there is no engine of many nodes yet"))]
pub mod signal;
#[cfg_attr(not(test), expect(dead_code, reason = "there is no engine of many nodes yet"))]
pub mod stored;

use std::fmt;
use std::sync::Arc;

use crate::hub::ChannelName;
use crate::server::broker::answer::Waiter;
use crate::server::broker::draft::Draft;
use crate::server::broker::idempotency::Keyed;

/// Where the numbers of publications are drawn.
#[derive(Debug)]
pub enum Engine {
    /// By this process: a publication is numbered and delivered at once, under its channel's lock.
    Local,
    /// By something that other nodes use too: a publication is handed over, and delivered when it comes back.
    #[cfg_attr(not(test), expect(dead_code, reason = "there is no engine of many nodes yet"))]
    Remote(Arc<dyn Sequencer>),
}

/// An engine outside this process. For each publication that it takes:
///
/// 1. It draws the number: per channel ascending by 1, or from 1 again under a new epoch.
/// 2. It calls [`Broker::deliver`] once on each node, in the order of the numbers.
/// 3. On the node that published it then calls [`Broker::settle`] once with the ticket: with a receipt of what `deliver`
///    returned, or of the earlier publication that it knows under the ticket's key, or with why nothing was delivered. That
///    takes less time than an idempotency key is known.
///
/// [`Broker::deliver`]: super::Broker::deliver
/// [`Broker::settle`]: super::Broker::settle
pub trait Sequencer: fmt::Debug + Send + Sync {
    /// Takes a publication. Called in the order of each publisher, from its thread, without a lock of the broker; does
    /// not wait for I/O.
    fn sequence(&self, draft: Draft, ticket: Ticket);
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

#[cfg(test)]
#[path = "held_tests.rs"]
pub mod held;
