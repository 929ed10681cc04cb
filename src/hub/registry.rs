//! The channels that one loop has subscribers of: their logs, their readers, and which logs have something new.
//!
//! An owner is a number that the caller understands (a connection); nothing is sent to it here. Order between loops is
//! not kept here either: publications are appended in the order in which they are to be read.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use slab::Slab;

use super::feed::Feed;
use super::longest::Longest;
use super::positions::{Lost, Says};
use super::{ChannelName, Gap, LogId, PublicationId, Subscription, WireForm};

/// The local channels. A log of a form exists while it has a subscriber, a channel while it has a log.
#[derive(Debug, Default)]
pub struct Hub {
    names: HashMap<ChannelName, u32>,
    channels: Slab<Channel>,
    dirty: Vec<LogId>,
    /// Invariant: the bytes that all logs keep.
    log_bytes: usize,
    longest: Longest,
    /// Publications and notices appended to logs times the readers that those had, by form.
    deliveries: [u64; WireForm::ALL.len()],
    /// Publications that readers skipped.
    passed_over: u64,
    /// Of these, the ones that were not reported to their owner yet. Most subscriptions skip nothing.
    missed: BTreeMap<Subscription, u64>,
    /// Gaps whose frames readers skipped, and that were not reported either.
    lost: BTreeMap<Subscription, Lost>,
}

#[derive(Debug)]
struct Channel {
    name: ChannelName,
    feeds: [Option<Box<Feed>>; WireForm::ALL.len()],
}

/// What is special about a publication, or a notice, that is appended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sending<'a> {
    /// A subscription to the channel that steps over the frame: that of the sender.
    pub excluded: Option<Subscription>,
    /// The frame of [`WireForm::WebSocket`], if it is made and shared: a log that is empty need not copy it.
    pub frame: Option<&'a Bytes>,
    /// What it is.
    pub says: Says,
}

impl Hub {
    /// Subscribes `owner` to what is appended to the channel from now on.
    ///
    /// An owner may have any number of subscriptions, and the hub does not compare them: a second one to the same
    /// channel is another reader, with its own place, which gets every publication too. Whether an owner may have that
    /// is the caller's decision.
    #[must_use]
    pub fn subscribe(&mut self, name: &ChannelName, form: WireForm, owner: u64) -> Subscription {
        let channel = self.channel_index(name);
        let feed = self.channels[channel as usize].feeds[form.index()].get_or_insert_default();
        Subscription { log: LogId { channel, form }, slot: feed.join(owner) }
    }

    /// Ends a subscription. A frame of which the subscriber has read a part is [`Hub::started`]: its rest has to be taken
    /// before, or the connection is inside a frame that never ends.
    pub fn unsubscribe(&mut self, subscription: Subscription) {
        let LogId { channel, form } = subscription.log;
        self.missed.remove(&subscription);
        self.lost.remove(&subscription);
        let is_last = self.change(subscription.log, |feed| {
            feed.leave(subscription.slot);
            feed.readers_len() == 0
        });
        if !is_last {
            return;
        }
        let channel = &mut self.channels[channel as usize];
        channel.feeds[form.index()] = None;
        if channel.feeds.iter().all(Option::is_none) {
            let index = self.names.remove(&channel.name).expect("a channel is found under its name");
            self.channels.remove(index as usize);
            self.give_back();
        }
    }

    /// Appends a publication to every log of the channel, in the form that `encode` is asked for. A channel
    /// without subscribers has no log, and `encode` is not called.
    pub fn append(&mut self, name: &str, encode: impl FnMut(WireForm, &mut Vec<u8>)) {
        self.append_with(name, Sending::default(), encode);
    }

    /// As [`Hub::append`], but one subscription to the channel does not get the publication.
    pub fn append_excluding(
        &mut self,
        name: &str,
        excluded: Option<Subscription>,
        encode: impl FnMut(WireForm, &mut Vec<u8>),
    ) {
        self.append_with(name, Sending { excluded, ..Sending::default() }, encode);
    }

    /// As [`Hub::append`], with what `sending` says.
    ///
    /// Nothing changes for other subscribers than the excluded one. That sees a hole in the identifiers, and what it has to
    /// read is cut in runs ([`Hub::unread_runs`]) while it has not come to the frame. A form that it alone reads is
    /// not encoded. Costs O(1) besides the bytes, and 16 bytes while the subscriber has not come to the frame.
    pub fn append_with(
        &mut self,
        name: &str,
        sending: Sending<'_>,
        mut encode: impl FnMut(WireForm, &mut Vec<u8>),
    ) {
        let Some(&channel) = self.names.get(name) else { return };
        let Sending { excluded, frame, says } = sending;
        assert!(
            excluded.is_none_or(|excluded| excluded.log.channel == channel),
            "an excluded subscription is one of the channel"
        );
        for form in WireForm::ALL {
            let Some(feed) = &mut self.channels[channel as usize].feeds[form.index()] else { continue };
            let excluded = excluded.filter(|excluded| excluded.log.form == form);
            // The Pusher protocol knows no positions: its own events are not told from publications there.
            let says = if form.is_pusher() { Says::default() } else { says };
            let head_before = feed.log.head();
            let shared = frame.filter(|_| form == WireForm::WebSocket);
            let slot = excluded.map(|excluded| excluded.slot);
            let receivers = feed.append(says, slot, shared, |out| encode(form, out));
            if receivers == 0 {
                continue;
            }
            self.log_bytes += (feed.log.head() - head_before) as usize;
            self.deliveries[form.index()] += receivers as u64;
            if !std::mem::replace(&mut feed.is_dirty, true) {
                self.dirty.push(LogId { channel, form });
            }
        }
    }

    /// The subscription of an owner to a channel, if it has one. O(subscribers of the channel).
    #[must_use]
    pub fn subscription_of(&self, name: &str, owner: u64) -> Option<Subscription> {
        let &channel = self.names.get(name)?;
        WireForm::ALL.into_iter().find_map(|form| {
            let log = LogId { channel, form };
            let slot = self.feed(log)?.slot_of(owner)?;
            Some(Subscription { log, slot })
        })
    }

    /// The first of these subscriptions that is to the channel, in whatever form. O(subscriptions), an integer each.
    #[must_use]
    pub fn find_among(
        &self,
        name: &str,
        mut subscriptions: impl Iterator<Item = Subscription>,
    ) -> Option<Subscription> {
        let &channel = self.names.get(name)?;
        subscriptions.find(|subscription| subscription.log.channel == channel)
    }

    /// Where the owner keeps the subscription among its others, as it said with [`Hub::set_hint`]; 0 before that. With it,
    /// who walks the readers of a log need not search among the owner's subscriptions. Whether it is still right, the
    /// owner knows.
    #[must_use]
    pub fn hint(&self, subscription: Subscription) -> u32 {
        self.reading(subscription).hint(subscription.slot)
    }

    /// Notes where the owner keeps the subscription.
    pub fn set_hint(&mut self, subscription: Subscription, hint: u32) {
        self.feed_mut(subscription.log).set_hint(subscription.slot, hint);
    }

    /// The next log with something new in it since it was last returned here.
    #[must_use]
    pub fn pop_dirty(&mut self) -> Option<LogId> {
        while let Some(log) = self.dirty.pop() {
            // Its last subscriber may have left since, and the place may even be another channel's by now.
            let feed =
                self.channels.get_mut(log.channel as usize).and_then(|c| c.feeds[log.form.index()].as_mut());
            if let Some(feed) = feed
                && std::mem::take(&mut feed.is_dirty)
            {
                return Some(log);
            }
        }
        None
    }

    /// How many subscribers the log has.
    #[must_use]
    pub fn readers_len(&self, log: LogId) -> usize {
        self.feed(log).map_or(0, Feed::readers_len)
    }

    /// The subscription at a place below [`Hub::readers_len`], and its owner; an owner has a place for each of its
    /// subscriptions. The last subscriber takes the place of one that leaves. So a walk visits every subscriber once,
    /// whichever of those visited leave meanwhile, if it goes from place 0 on by [`Hub::place_after`], or from the last
    /// place to the first. The former is the order in which they joined, in which a system has their sockets side by side.
    #[must_use]
    pub fn reader_at(&self, log: LogId, place: usize) -> Option<(Subscription, u64)> {
        self.reader_with_hint(log, place).map(|(subscription, owner, _)| (subscription, owner))
    }

    /// As [`Hub::reader_at`], with the number that the owner last gave to [`Hub::set_hint`]; 0 before that.
    #[must_use]
    pub fn reader_with_hint(&self, log: LogId, place: usize) -> Option<(Subscription, u64, u32)> {
        let (slot, reader) = self.feed(log)?.reader_at(place)?;
        Some((Subscription { log, slot }, reader.owner, reader.hint))
    }

    /// Where a walk goes on after `visited`, which was at `place`: at the same place if it has left, since the last
    /// subscriber is there then.
    #[must_use]
    pub fn place_after(&self, log: LogId, place: usize, visited: Subscription) -> usize {
        let has_stayed = self.reader_at(log, place).is_some_and(|(subscription, _)| subscription == visited);
        place + usize::from(has_stayed)
    }

    /// What the subscriber reads next, in one run: all that it has not read, or what comes before a frame that it
    /// steps over. Empty only if it has read everything.
    #[must_use]
    pub fn unread(&self, subscription: Subscription) -> &[u8] {
        self.reading(subscription).unread(subscription.slot)
    }

    /// All that the subscriber has not read, if that is one run.
    #[must_use]
    pub fn unread_whole(&self, subscription: Subscription) -> Option<&[u8]> {
        self.reading(subscription).unread_whole(subscription.slot)
    }

    /// All that the subscriber has not read, in runs: one, and one more for each place where it steps over frames.
    /// [`Hub::advance`] counts their bytes as if they were one.
    pub fn unread_runs(&self, subscription: Subscription) -> impl Iterator<Item = &[u8]> {
        self.reading(subscription).unread_runs(subscription.slot)
    }

    /// The rest of the frame of which the subscriber has read a part; empty if there is none.
    #[must_use]
    pub fn started(&self, subscription: Subscription) -> &[u8] {
        self.reading(subscription).started(subscription.slot)
    }

    /// How many bytes the subscriber is behind the end of its log; 0 exactly if it has nothing to read. Frames that it
    /// will step over count: the log keeps them for it like the others, and this is what bounds a log.
    #[must_use]
    pub fn lag(&self, subscription: Subscription) -> u64 {
        self.reading(subscription).lag(subscription.slot)
    }

    /// How many publications the subscriber has not begun to read. One that excludes it does not count, nor do notices.
    #[must_use]
    pub fn unread_publications(&self, subscription: Subscription) -> u64 {
        self.reading(subscription).unread_publications(subscription.slot)
    }

    /// What the subscriber reads next up to a gap that is not the first thing: what is lost before it, its bytes, and the
    /// publication that the subscriber is after then. No publication may exclude it.
    #[must_use]
    pub fn unread_to_gap(&self, subscription: Subscription) -> (Option<Gap>, &[u8], Option<PublicationId>) {
        self.reading(subscription).unread_to_gap(subscription.slot)
    }

    /// The last publication that is behind the subscriber: the last that it has read or begun to read, skipped, or found
    /// when it joined; after a gap that it has read or begun, the last that was lost. `None` unless the log's publications have had
    /// identifiers, or [`Hub::note_newest`] was called.
    #[must_use]
    pub fn position(&self, subscription: Subscription) -> Option<PublicationId> {
        self.reading(subscription).position(subscription.slot)
    }

    /// The newest publication of the channel, as far as this hub knows: everything up to it is behind the subscriber or yet to
    /// be read. `None` as for [`Hub::position`].
    #[must_use]
    pub fn newest(&self, subscription: Subscription) -> Option<PublicationId> {
        self.reading(subscription).newest()
    }

    /// Says which publication is the newest of the channel, all earlier ones having been appended.
    pub fn note_newest(&mut self, subscription: Subscription, newest: PublicationId) {
        self.feed_mut(subscription.log).note_newest(newest);
    }

    /// Notes that the subscriber has read `len` more bytes.
    ///
    /// Whether it has more to read.
    pub fn advance(&mut self, subscription: Subscription, len: usize) -> bool {
        self.change(subscription.log, |feed| feed.advance(subscription.slot, len))
    }

    /// As [`Hub::advance`], by as much as the subscriber has to read, but `len_max` bytes at most: how many, and whether it has
    /// more to read.
    pub fn advance_within(&mut self, subscription: Subscription, len_max: usize) -> (usize, bool) {
        self.change(subscription.log, |feed| feed.advance_within(subscription.slot, len_max))
    }

    /// How many of the bytes that the subscriber is behind are those of publications that exclude it, and of notices.
    #[must_use]
    pub fn other_len(&self, subscription: Subscription) -> u64 {
        self.reading(subscription).other_len(subscription.slot)
    }

    /// Whether the subscriber is more than `lag_max` bytes behind, and that by more than one publication, or by
    /// publications that exclude it and notices.
    #[must_use]
    pub fn is_lagged(&self, subscription: Subscription, lag_max: u64) -> bool {
        self.reading(subscription).is_lagged(subscription.slot, lag_max)
    }

    /// Skips the oldest publications, but not the newest, until the subscriber is at most `lag_max` bytes behind. A
    /// started frame must have been read to its end. The number of skipped publications is added to
    /// [`Hub::take_missed`].
    pub fn skip_oldest(&mut self, subscription: Subscription, lag_max: u64) {
        let skipped = self.change(subscription.log, |feed| feed.skip_oldest(subscription.slot, lag_max));
        self.note_skipped(subscription, skipped);
    }

    /// Skips all but the newest publication. A started frame must have been read to its end. The number of skipped
    /// publications is added to [`Hub::take_missed`].
    ///
    /// The newest is skipped too if it is followed by more than `lag_max` bytes of publications that exclude the
    /// subscriber and of notices, for these are kept until it has read the newest. The same holds for [`Hub::skip_oldest`].
    pub fn skip_to_newest(&mut self, subscription: Subscription, lag_max: u64) {
        let skipped = self.change(subscription.log, |feed| feed.skip_to_newest(subscription.slot, lag_max));
        self.note_skipped(subscription, skipped);
    }

    /// How many publications were skipped since this was last called.
    #[must_use]
    pub fn take_missed(&mut self, subscription: Subscription) -> u64 {
        self.missed.remove(&subscription).unwrap_or(0)
    }

    /// What gaps the subscriber would have been told of by the frames that were skipped since this was last called.
    #[must_use]
    pub fn take_lost(&mut self, subscription: Subscription) -> Option<Lost> {
        self.lost.remove(&subscription)
    }

    /// Trims what every subscriber of the log has read, and notes how much is left. Costs O(subscribers).
    pub fn trim(&mut self, log: LogId) {
        if self.feed(log).is_some() {
            self.change(log, Feed::trim);
            let Self { channels, longest, .. } = self;
            if let Some(feed) = channels[log.channel as usize].feeds[log.form.index()].as_deref_mut() {
                longest.list(log, &mut feed.listed, feed.log.len());
            }
        }
    }

    /// The log that is read.
    #[must_use]
    pub fn log(&self, subscription: Subscription) -> LogId {
        subscription.log
    }

    /// The name of the channel that is subscribed to.
    #[must_use]
    pub fn channel(&self, subscription: Subscription) -> &ChannelName {
        &self.channels[subscription.log.channel as usize].name
    }

    /// How many channels have a subscriber here.
    #[must_use]
    pub fn channels_len(&self) -> usize {
        self.channels.len()
    }

    /// How many bytes all logs keep.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// How many bytes the longest log had when it was last trimmed, or has now if it has shrunk since.
    #[must_use]
    pub fn lag_max(&self) -> usize {
        self.longest.len()
    }

    /// How many deliveries were appended, by form: each publication times the subscribers that the form had.
    #[must_use]
    pub fn deliveries(&self) -> &[u64; WireForm::ALL.len()] {
        &self.deliveries
    }

    /// How many publications subscribers skipped by [`Hub::skip_oldest`] and [`Hub::skip_to_newest`], in all.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn note_skipped(&mut self, subscription: Subscription, (missed, lost): (u64, Option<Lost>)) {
        self.passed_over += missed;
        if missed > 0 {
            *self.missed.entry(subscription).or_default() += missed;
        }
        if let Some(lost) = lost {
            self.lost.entry(subscription).and_modify(|before| *before = before.and(lost)).or_insert(lost);
        }
    }

    /// Gives back the room of channels that have gone, once it is more than three quarters.
    fn give_back(&mut self) {
        if self.names.len() < self.names.capacity() / 4 {
            self.names.shrink_to_fit();
            // Only the places after the last channel can be given back.
            self.channels.shrink_to_fit();
        }
    }

    fn channel_index(&mut self, name: &ChannelName) -> u32 {
        if let Some(&channel) = self.names.get(name) {
            return channel;
        }
        let channel = self.channels.insert(Channel { name: name.clone(), feeds: Default::default() }) as u32;
        self.names.insert(name.clone(), channel);
        channel
    }

    /// Changes a feed, and counts what its log keeps afterwards.
    fn change<T>(&mut self, log: LogId, change: impl FnOnce(&mut Feed) -> T) -> T {
        let Self { channels, longest, log_bytes, .. } = self;
        let feed = channels[log.channel as usize].feeds[log.form.index()].as_deref_mut();
        let feed = feed.expect("a log exists while it has a subscriber");
        let before = feed.log.len();
        let result = change(feed);
        let after = feed.log.len();
        *log_bytes = *log_bytes - before + after;
        if after < feed.listed {
            longest.list(log, &mut feed.listed, after);
        }
        result
    }

    /// The bytes that the readers of a subscription's log take.
    #[cfg(test)]
    pub(crate) fn readers_held_len(&self, subscription: Subscription) -> usize {
        self.reading(subscription).readers_held_len()
    }

    fn feed(&self, log: LogId) -> Option<&Feed> {
        self.channels.get(log.channel as usize)?.feeds[log.form.index()].as_deref()
    }

    fn feed_mut(&mut self, log: LogId) -> &mut Feed {
        let feed = self.channels[log.channel as usize].feeds[log.form.index()].as_deref_mut();
        feed.expect("a log exists while it has a subscriber")
    }

    fn reading(&self, subscription: Subscription) -> &Feed {
        self.feed(subscription.log).expect("a log exists while it has a subscriber")
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
