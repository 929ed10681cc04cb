//! What a connection may use besides itself: borrowed from its event loop, beside the table of connections.
//!
//! No other connection, no poll and no timer can be reached from here.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::lag::LagRules;
use super::spares::Spares;
use super::timeouts::Timeouts;
use crate::hub::{ChannelName, Hub, Position, Publication, Resumption, Sending, Subscription};
use crate::server::broker::answer::Waiter;
use crate::server::clock::Millis;
use crate::server::encoder::Encoder;
use crate::server::metrics::counters::Counters;
use crate::server::metrics::refusals::Reason;
use crate::server::shared::Shared;

/// Bytes read of all sockets in a turn; those that were not read keep their places. What is published in a turn is written
/// twice before it goes out, for the channel and for its logs: 256 KiB of it are still in a cache then. What the sockets
/// hold is compared with `--max-memory` once a turn, so this is also how far past it a loop can get, but for one share.
const READ_LEN_PER_TURN_MAX: usize = 256 * 1024;

/// The part of an event loop that its connections use.
#[derive(Debug)]
pub struct Context {
    /// What all loops share: the broker, the configuration, whether the server stops.
    pub shared: Arc<Shared>,
    /// The number of this loop.
    pub loop_index: usize,
    /// The channels that this loop has subscribers of.
    pub hub: Hub,
    pub encoder: Encoder,
    pub counters: Counters,
    pub spares: Spares,
    pub timeouts: Timeouts,
    pub lag_rules: LagRules,
    /// When this turn's waiting was over; from the flush on, when that began.
    pub now: Millis,
    /// The key of the connection that is being called, as an owner of subscriptions.
    pub owner: u64,
    /// Bytes read in this turn, and inflated from them.
    pub read_len: usize,
    /// The same of the connection that is being read.
    pub taken_len: usize,
    /// Whether somebody subscribed to the dashboard's figures in this turn.
    pub has_new_watcher: bool,
    /// Room for what is taken from the mailbox; empty between uses.
    taken: VecDeque<Arc<Publication>>,
}

impl Context {
    /// Of the loop with that number.
    pub fn new(loop_index: usize, shared: Arc<Shared>) -> Self {
        let timeouts = Timeouts::new(&shared.config);
        let lag_rules = LagRules::new(&shared.config);
        let encoder = Encoder::new(&shared.config);
        Self {
            shared,
            loop_index,
            hub: Hub::default(),
            encoder,
            counters: Counters::default(),
            spares: Spares::default(),
            timeouts,
            lag_rules,
            now: Millis::default(),
            owner: 0,
            read_len: 0,
            taken_len: 0,
            has_new_watcher: false,
            taken: VecDeque::new(),
        }
    }

    /// Counts a refusal, and logs it if it is time for a line.
    pub fn note(&self, reason: Reason, what: &dyn fmt::Display) {
        self.shared.note(reason, self.now, what);
    }

    /// Whether publishers have to wait until some loop has caught up.
    pub fn is_congested(&self) -> bool {
        self.shared.broker.is_congested()
    }

    /// Whether connections are closed because the server stops.
    pub fn is_leaving(&self) -> bool {
        self.shared.stop().is_leaving()
    }

    /// Whether this turn has read as many bytes as a turn reads.
    pub fn is_read_out(&self) -> bool {
        self.read_len > READ_LEN_PER_TURN_MAX
    }

    /// Counts bytes that a connection has read, or inflated from what it has read.
    pub fn note_taken(&mut self, len: usize) {
        self.read_len += len;
        self.taken_len += len;
    }

    /// The connection that is being called, as the publisher that an answer is for. It awaits one answer at a time, so the
    /// number of the request is not looked at.
    pub fn waiter(&self) -> Waiter {
        Waiter::Connection { loop_index: self.loop_index, connection: self.owner, request: 0 }
    }

    /// The bytes that this loop holds for its clients.
    pub fn held_len(&self) -> usize {
        let own = self.counters.private_bytes + self.counters.connection_bytes;
        usize::try_from(own).unwrap_or(usize::MAX) + self.hub.log_bytes()
    }

    /// Takes about `len_max` bytes out of the mailbox and appends them to the logs, encoded once a form. How many it took.
    pub fn apply(&mut self, len_max: usize) -> usize {
        let Self { shared, loop_index, hub, encoder, taken, .. } = self;
        let len = shared.broker.mailbox(*loop_index).take_publications(len_max, taken);
        for publication in taken.drain(..) {
            let name = publication.channel.as_str();
            let excluded = publication.excluded.filter(|owner| owner.hub == *loop_index);
            let excluded = excluded.and_then(|owner| hub.subscription_of(name, owner.number));
            let sending = Sending { excluded, frame: publication.frames.plain() };
            hub.append_with(name, sending, |form, out| encoder.publication(&publication, form, out));
        }
        len
    }

    /// Decides, while nobody can publish to the channel and all that was published is in the logs, whether to join it.
    pub fn under_lock<T>(
        &mut self,
        channel: &ChannelName,
        position: Position,
        join: impl FnOnce(&mut Hub, Resumption) -> Option<T>,
    ) -> Option<T> {
        let (shared, loop_index, now) = (Arc::clone(&self.shared), self.loop_index, self.now);
        let joined = shared.broker.subscribe(channel, loop_index, position, now, |resumption| {
            // All of it, whatever a turn's slice is: what comes after the join is in the logs after this.
            self.apply(usize::MAX);
            join(&mut self.hub, resumption)
        });
        shared.demo_call.note(channel, &shared.broker);
        joined
    }

    /// Ends a subscription of the hub and of the broker. A frame of it that is partly written has been finished.
    pub fn unsubscribe(&mut self, subscription: Subscription) {
        self.shared.broker.unsubscribe(self.hub.channel(subscription), self.loop_index, self.now);
        self.hub.unsubscribe(subscription);
    }

    /// Puts what is counted so far where other threads read it.
    pub fn put_counters(&mut self) {
        self.counters.deliveries = *self.hub.deliveries();
        self.counters.passed_over = self.hub.passed_over();
        self.counters.log_bytes = self.hub.log_bytes() as u64;
        self.counters.lag_max = self.hub.lag_max() as u64;
        self.shared.meters.board(self.loop_index).put(&self.counters);
    }
}
