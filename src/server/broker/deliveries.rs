//! What an engine of many nodes tells the broker of a channel: where it begins, its publications, what is missing among them,
//! and that they come late.
//!
//! Only the engine's thread calls these, in the order of each channel. When it does is decided in `engine`; how subscribers
//! are told is the encoder's.

use std::sync::Arc;

use crate::hub::{
    ChannelName, Content, Gap, History, Interruption, Publication, PublicationId, Published, Source,
};
use crate::server::broker::Broker;
use crate::server::broker::channel::{ChannelState, Told};
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::shard::Shard;
use crate::server::clock::Millis;
use crate::server::lock::lock;

impl Broker {
    /// A channel goes on after publication `at`. Nobody has joined it, and nothing of it is kept.
    pub fn begin(&self, name: &ChannelName, at: PublicationId, now: Millis) {
        self.change(name, now, |state| {
            debug_assert!(!state.has_readers(), "who has joined is told of a gap");
            state.go_on_after(at);
        });
    }

    /// The second half of a publication that an engine numbered: history, then mailboxes. It is the one after the newest of
    /// its channel. The engine took it at `at`, on this node's clock: that is its age in the history. One that is too old
    /// for that already is delivered, and not kept.
    pub fn deliver(&self, publication: Arc<Publication>, at: Millis, now: Millis) -> Published {
        let mut shard = lock(self.shard(publication.channel.as_str()));
        let Shard { channels, lists, busy, .. } = &mut *shard;
        let state = self.state(channels, lists, &publication.channel);
        debug_assert_eq!(
            (state.epoch, state.sequence + 1),
            (publication.id.epoch, publication.id.sequence),
            "what is missing is told as a gap first"
        );
        state.sequence = publication.id.sequence;
        let published = self.deliver_to(state, lists, busy, publication, (at, now));
        self.note_due(&shard);
        published
    }

    /// Publications of a channel will never come: it goes on after `since`. What is kept from before is forgotten, and so is
    /// the event that is cached for new Pusher clients: a newer one may be among those that are lost. Subscribers whose
    /// form can say so are told, in their order among the publications.
    pub fn gap(&self, name: &ChannelName, gap: Gap, since: PublicationId, now: Millis) {
        self.change(name, now, |state| {
            state.go_on_after(since);
            state.evict_cached();
            self.post_notice(state, name, Interruption::Gap(gap));
        });
    }

    /// Publications of a channel may come late from now on. Its subscribers are told, and those that join meanwhile, if their
    /// form can say so; their positions stay.
    pub fn pause(&self, name: &ChannelName) {
        self.interrupt(name, Interruption::Paused, |told| _ = told.add(Told::PAUSED));
    }

    /// Publications of a channel come at once again: those that were late have been delivered.
    pub fn resume(&self, name: &ChannelName) {
        self.interrupt(name, Interruption::Resumed, |told| told.remove(Told::PAUSED));
    }

    fn interrupt(&self, name: &ChannelName, happens: Interruption, note: impl FnOnce(&mut Told)) {
        let mut shard = lock(self.shard(name.as_str()));
        let Some(state) = shard.channels.get_mut(name) else { return };
        note(&mut state.engagement.told);
        self.post_notice(state, name, happens);
    }

    /// Changes the state of a channel, which begins if it is not known.
    fn change(&self, name: &ChannelName, now: Millis, change: impl FnOnce(&mut ChannelState)) {
        let mut shard = lock(self.shard(name.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let state = self.state(channels, lists, name);
        state.used_at = now;
        change(state);
        lists.settle(name, state);
        self.note_due(&shard);
    }

    /// Puts a notice into the mailboxes of the loops that have readers: it has its place among the publications.
    fn post_notice(&self, state: &ChannelState, name: &ChannelName, happens: Interruption) {
        let id = PublicationId { epoch: state.epoch, sequence: state.sequence };
        let draft = Draft {
            channel: name.clone(),
            event: None,
            content: Content::Text,
            data: Default::default(),
            source: Source::Notice(happens),
            excluded: Excluded::Nobody,
            frame: None,
        };
        self.post(&state.readers, false, &self.publication(draft, id));
    }
}

impl ChannelState {
    /// The next publication is the one after this; nothing up to it is kept.
    fn go_on_after(&mut self, at: PublicationId) {
        self.epoch = at.epoch;
        self.sequence = at.sequence;
        self.history = History::default();
    }
}
