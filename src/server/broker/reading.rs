//! Joining and leaving a channel as a reader of whatever wire form, under the channel's lock.
//!
//! Joining as a Pusher client is in `joins`, and whether the channel can be joined at all in `readiness`.

use crate::hub::{ChannelName, Position, PublicationId, Resumption};
use crate::server::broker::Broker;
use crate::server::broker::arrivals::{Arrival, Departure};
use crate::server::broker::channel::{ChannelState, Told};
use crate::server::broker::shard::Shard;
use crate::server::clock::Millis;
use crate::server::lock::lock;

impl Broker {
    /// Joins a channel at a position. `join` runs while nobody can publish to the channel: earlier publications are in
    /// the mailbox by then and, as far as they are kept, in the resumption; later ones are in neither. If it returns
    /// something, one subscriber more is counted, and `report` is given their number under the same lock.
    pub fn subscribe<T>(
        &self,
        name: &ChannelName,
        arrival: Arrival<'_>,
        position: Position,
        now: Millis,
        join: impl FnOnce(Resumption) -> Option<T>,
        report: impl FnOnce(u64),
    ) -> Option<T> {
        self.join_at(name, arrival.owner.hub, position, now, join, |state, has_joined| {
            if has_joined {
                report(state.subscribers_len());
            }
            self.attend(state, name, arrival, has_joined, now);
        })
    }

    /// As [`Broker::subscribe`], for a reader that is not one of the subscribers: nobody is told of it, and it is in no count.
    pub fn watch<T>(
        &self,
        name: &ChannelName,
        loop_index: usize,
        position: Position,
        now: Millis,
        join: impl FnOnce(Resumption) -> Option<T>,
    ) -> Option<T> {
        self.join_at(name, loop_index, position, now, join, |state, has_joined| {
            state.watchers += u64::from(has_joined);
        })
    }

    fn join_at<T>(
        &self,
        name: &ChannelName,
        loop_index: usize,
        position: Position,
        now: Millis,
        join: impl FnOnce(Resumption) -> Option<T>,
        note: impl FnOnce(&mut ChannelState, bool),
    ) -> Option<T> {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, removed_epoch, .. } = &mut *shard;
        let state = self.state(channels, lists, name);
        state.history.expire(now.0, &state.limits);
        let position = match self.engine.draws(name) {
            true => position,
            false => self.translate(position, state.epoch, *removed_epoch),
        };
        let newest = PublicationId { epoch: state.epoch, sequence: state.sequence };
        let resumption = state.history.resume(position, newest);
        let is_paused = state.engagement.told.has(Told::PAUSED);
        let joined = join(Resumption { is_paused, ..resumption });
        state.readers[loop_index] += u64::from(joined.is_some());
        note(state, joined.is_some());
        if joined.is_some() {
            self.tell_engine_count(state, name);
        }
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
        joined
    }

    /// Counts one subscriber less. `report` is given the number of those that are left, under the lock of the channel.
    pub fn unsubscribe(
        &self,
        name: &ChannelName,
        departure: Departure,
        now: Millis,
        report: impl FnOnce(u64),
    ) {
        self.leave_at(name, departure.owner.hub, now, |state| {
            report(state.subscribers_len());
            self.depart(state, name, departure, now);
        });
    }

    /// Ends what [`Broker::watch`] began.
    pub fn unwatch(&self, name: &ChannelName, loop_index: usize, now: Millis) {
        self.leave_at(name, loop_index, now, |state| state.watchers -= 1);
    }

    fn leave_at(
        &self,
        name: &ChannelName,
        loop_index: usize,
        now: Millis,
        note: impl FnOnce(&mut ChannelState),
    ) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = channels.get_mut(name).expect("a channel is known while it has a subscriber");
        state.readers[loop_index] -= 1;
        note(state);
        self.tell_engine_count(state, name);
        state.used_at = now;
        state.forget_empty_audience();
        lists.settle(name, state);
        self.remove_if_unused(&mut shard, name, now);
    }
}
