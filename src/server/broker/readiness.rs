//! Which channels can be joined, where an engine of many nodes has to be asked first: it engages those that are wanted, and lets
//! go of those that nobody reads.
//!
//! Where the numbers of a channel are drawn here, it can be joined at any time, and that takes no lock. What waits meanwhile is
//! parked by its connection.

use std::time::Duration;

use crate::hub::{ChannelName, PublicationId};
use crate::server::broker::Broker;
use crate::server::broker::channel::{ChannelState, Told};
use crate::server::broker::engine::Engine;
use crate::server::broker::engine::tidings::Tiding;
use crate::server::broker::engine::waiting::{JoinQuestion, JoinWaiter, Prepared, Sought};
use crate::server::broker::shard::Shard;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// Whether a channel can be joined now.
enum Readiness {
    /// It can.
    Ready,
    /// It is not engaged.
    Unready,
    /// It is, and its reader has a publication that it has not.
    Behind,
}

/// For connections.
impl Broker {
    /// Whether channels can be joined now. Otherwise the engine is told that they are wanted, and `question` is answered later.
    /// Between the answer and the joining, a channel stays engaged.
    pub fn prepare<'a>(
        &self,
        channels: impl IntoIterator<Item = &'a ChannelName>,
        question: JoinQuestion,
    ) -> Prepared {
        self.prepare_each(channels.into_iter().map(|channel| (channel, None)), question)
    }

    /// The same, where a reader may have publications that this node has not got yet: the question is answered when it has
    /// those. What is missing then does not exist.
    pub fn prepare_sought(&self, sought: &[Sought], question: JoinQuestion) -> Prepared {
        self.prepare_each(sought.iter().map(|sought| (&sought.channel, sought.after)), question)
    }

    fn prepare_each<'a>(
        &self,
        channels: impl Iterator<Item = (&'a ChannelName, Option<PublicationId>)>,
        question: JoinQuestion,
    ) -> Prepared {
        let Engine::Remote(sequencer) = &self.engine else { return Prepared::Ready };
        let unready: Vec<_> = channels
            .filter_map(|(channel, after)| match self.readiness(channel, after) {
                Readiness::Ready => None,
                Readiness::Unready => Some((channel, false)),
                Readiness::Behind => Some((channel, true)),
            })
            .collect();
        if unready.is_empty() {
            return Prepared::Ready;
        }
        for (&(channel, is_ahead), waiter) in unready.iter().zip(JoinWaiter::of(question, unready.len())) {
            sequencer.want(channel, if is_ahead { waiter.ahead() } else { waiter });
        }
        Prepared::Awaited
    }

    /// Whether there is an engine that has to be asked before channels are joined.
    pub fn has_engine(&self) -> bool {
        match &self.engine {
            Engine::Local => false,
            Engine::Remote(_) => true,
        }
    }

    /// Whether a channel can be joined now. If so, it stays engaged until it is.
    pub fn is_ready(&self, channel: &ChannelName) -> bool {
        matches!(self.readiness(channel, None), Readiness::Ready)
    }

    /// The same where its reader may have a publication that this node has not got yet: then it cannot.
    pub fn is_ready_for(&self, sought: &Sought) -> bool {
        matches!(self.readiness(&sought.channel, sought.after), Readiness::Ready)
    }

    /// Whether all of these can be joined now. `is_asked`: what this node has not got yet does not exist.
    pub fn are_ready(&self, sought: &[Sought], is_asked: bool) -> bool {
        let is_ready = |sought: &Sought| match is_asked {
            true => self.is_ready(&sought.channel),
            false => self.is_ready_for(sought),
        };
        sought.iter().all(is_ready)
    }

    fn readiness(&self, channel: &ChannelName, after: Option<PublicationId>) -> Readiness {
        if !self.engine.draws(channel) {
            return Readiness::Ready;
        }
        let mut shard = lock(self.shard(channel.as_str()));
        let Some(state) = shard.channels.get_mut(channel) else { return Readiness::Unready };
        state.engagement.is_expected = true;
        match after {
            _ if !state.engagement.is_engaged => Readiness::Unready,
            Some(after) if after.epoch != state.epoch || after.sequence > state.sequence => Readiness::Behind,
            Some(_) | None => Readiness::Ready,
        }
    }

    /// Has all other nodes do this too, if there are any: at once, or when the engine is there again.
    pub fn tell_nodes(&self, tiding: Tiding) {
        match &self.engine {
            Engine::Local => {}
            Engine::Remote(sequencer) => sequencer.tell(tiding),
        }
    }

    /// Whether this node alone tells webhooks who comes and goes. Where several share the channels, the engine knows who is the first
    /// and the last over all of them, and tells them.
    pub fn reports(&self) -> bool {
        !self.has_engine()
    }

    /// How long a new subscriber is held whose channel is not ready; `None` where all are at any time.
    pub fn join_timeout(&self) -> Option<Duration> {
        match &self.engine {
            Engine::Local => None,
            Engine::Remote(sequencer) => Some(sequencer.join_timeout()),
        }
    }

    /// Tells the engine that the number of subscribers of a channel has changed, or whether anybody reads it, unless it was told
    /// and has not looked. Call it under the lock of the channel.
    pub(super) fn tell_engine_count(&self, state: &mut ChannelState, channel: &ChannelName) {
        let Engine::Remote(sequencer) = &self.engine else { return };
        if state.engagement.is_engaged && state.engagement.told.add(Told::COUNT) {
            sequencer.count_changed(channel);
        }
    }
}

/// For the engine.
impl Broker {
    /// The engine delivers here what is published to a channel from now on, and its history and position are those of the engine:
    /// it can be joined. It stays known until [`Broker::disengage`]. The waiters are told after this.
    pub fn engage(&self, channel: &ChannelName) {
        let mut shard = lock(self.shard(channel.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = self.state(channels, lists, channel);
        state.engagement.is_engaged = true;
        // The waiters come next.
        state.engagement.is_expected = true;
        lists.settle(channel, state);
        if state.has_readers() {
            // They have joined before: it was let go of, or is engaged anew.
            self.tell_engine_count(state, channel);
        }
        if state.is_anybody_here() {
            self.tell_engine_members(state, channel);
        }
    }

    /// The engine wants to let go of a channel. False if it stays engaged: somebody reads it, or was told since this was last asked
    /// that it can be joined, and may be about to. Ask again when as much time has passed as a channel without readers is kept.
    #[must_use]
    pub fn disengage(&self, channel: &ChannelName, now: Millis) -> bool {
        let mut shard = lock(self.shard(channel.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let Some(state) = channels.get_mut(channel) else { return true };
        if state.has_readers()
            || state.is_anybody_here()
            || std::mem::replace(&mut state.engagement.is_expected, false)
        {
            return false;
        }
        (state.engagement, state.elsewhere) = Default::default();
        state.forget_elsewhere();
        lists.settle(channel, state);
        self.remove_if_unused(&mut shard, channel, now);
        true
    }

    /// A channel has this many subscribers at other nodes. True if that is another number than before.
    #[must_use]
    pub fn set_elsewhere(&self, channel: &ChannelName, subscribers: u64) -> bool {
        let mut shard = lock(self.shard(channel.as_str()));
        let Some(state) = shard.channels.get_mut(channel) else { return false };
        let subscribers = u32::try_from(subscribers).unwrap_or(u32::MAX);
        std::mem::replace(&mut state.elsewhere, subscribers) != subscribers
    }

    /// The subscribers of a channel on this node, and whether anybody reads it. The engine is told of the next change.
    pub fn audience_of(&self, channel: &ChannelName) -> (u64, bool) {
        let mut shard = lock(self.shard(channel.as_str()));
        let Some(state) = shard.channels.get_mut(channel) else { return (0, false) };
        state.engagement.told.remove(Told::COUNT);
        (state.subscribers_len(), state.has_readers())
    }
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
