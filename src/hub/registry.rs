//! The channels that one loop has subscribers of: their logs, who reads them, and how far each has come.
//!
//! An owner is a number that the caller understands (a connection); nothing is written to it here. Order between
//! loops is not kept here either: publications come in the order in which they are to be read.

use std::collections::HashMap;

use bytes::Bytes;
use slab::Slab;

use super::longest::Longest;
use super::readers::{Reader, Readers};
use super::{ChannelName, Cursor, Log, WireForm};

/// The local channels. A log of a form exists while it has a subscriber, a channel while it has a log.
#[derive(Debug, Default)]
pub struct Hub {
    names: HashMap<ChannelName, u32>,
    channels: Slab<Channel>,
    dirty: Vec<LogId>,
    /// Invariant: the bytes that all logs keep.
    log_bytes: usize,
    longest: Longest,
    /// Publications appended to logs times the readers that those had, by form.
    deliveries: [u64; WireForm::ALL.len()],
    /// Publications that readers were moved past.
    passed_over: u64,
}

/// A log of one channel in one form. Good until its last subscriber leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId {
    channel: u32,
    form: WireForm,
}

/// One owner's place in one log. Good until it is given to [`Hub::unsubscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    log: LogId,
    slot: u32,
}

impl Subscription {
    /// The form that is read.
    #[must_use]
    pub fn form(self) -> WireForm {
        self.log.form
    }
}

#[derive(Debug)]
struct Channel {
    name: ChannelName,
    feeds: [Option<Box<Feed>>; WireForm::ALL.len()],
}

/// A log and its readers.
///
/// Invariant: `behind` is the number of readers with something to read; the log is empty when it is 0.
#[derive(Debug, Default)]
struct Feed {
    log: Log,
    readers: Readers,
    behind: usize,
    is_dirty: bool,
    /// The length under which the log is listed in `longest`.
    listed: usize,
}

impl Hub {
    /// Subscribes `owner` to what is appended to the channel from now on.
    #[must_use]
    pub fn subscribe(&mut self, name: &ChannelName, form: WireForm, owner: u64) -> Subscription {
        let channel = self.channel_index(name);
        let feed = self.channels[channel as usize].feeds[form.index()].get_or_insert_default();
        let slot = feed.readers.insert(owner, feed.log.cursor_at_head());
        Subscription { log: LogId { channel, form }, slot }
    }

    /// Ends a subscription. What its owner had not read is forgotten.
    pub fn unsubscribe(&mut self, subscription: Subscription) {
        let LogId { channel, form } = subscription.log;
        let is_last = self.change(subscription.log, |feed| {
            let reader = feed.readers.remove(subscription.slot);
            if feed.log.lag(reader.cursor) > 0 {
                feed.caught_up();
            }
            feed.readers.len() == 0
        });
        if !is_last {
            return;
        }
        let channel = &mut self.channels[channel as usize];
        channel.feeds[form.index()] = None;
        if channel.feeds.iter().all(Option::is_none) {
            let index = self.names.remove(&channel.name).expect("a channel is found under its name");
            self.channels.remove(index as usize);
        }
    }

    /// Appends a publication to every log of the channel, in the form that `encode` is asked for. A channel
    /// without subscribers has no log, and `encode` is not called.
    pub fn append(&mut self, name: &str, encode: impl FnMut(WireForm, &mut Vec<u8>)) {
        self.append_or_share(name, |_| None, encode);
    }

    /// The same, where `share` is asked first, and gives the frame of a form that others have as well: it need not be
    /// copied.
    pub fn append_or_share(
        &mut self,
        name: &str,
        share: impl Fn(WireForm) -> Option<Bytes>,
        mut encode: impl FnMut(WireForm, &mut Vec<u8>),
    ) {
        let Some(&channel) = self.names.get(name) else { return };
        for form in WireForm::ALL {
            let Some(feed) = &mut self.channels[channel as usize].feeds[form.index()] else { continue };
            let head_before = feed.log.head();
            match share(form) {
                Some(frame) => feed.log.append_shared(frame),
                None => feed.log.append(|out| encode(form, out)),
            }
            self.log_bytes += (feed.log.head() - head_before) as usize;
            // A form that cannot say the publication has nothing new to read.
            if feed.log.head() == head_before {
                continue;
            }
            feed.behind = feed.readers.len();
            self.deliveries[form.index()] += feed.readers.len() as u64;
            if !std::mem::replace(&mut feed.is_dirty, true) {
                self.dirty.push(LogId { channel, form });
            }
        }
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
        self.feed(log).map_or(0, |feed| feed.readers.len())
    }

    /// The subscription at a place below [`Hub::readers_len`], and its owner. The last subscriber takes the place of
    /// one that leaves: a walk from the last place to the first passes over nobody, whoever leaves meanwhile.
    #[must_use]
    pub fn reader_at(&self, log: LogId, place: usize) -> Option<(Subscription, u64)> {
        let (slot, reader) = self.feed(log)?.readers.at(place)?;
        Some((Subscription { log, slot }, reader.owner))
    }

    /// All that the subscriber has not read, in one run.
    #[must_use]
    pub fn unread(&self, subscription: Subscription) -> &[u8] {
        let (feed, reader) = self.reader(subscription);
        feed.log.unread(reader.cursor)
    }

    /// The rest of the frame of which the subscriber has read a part; empty if there is none.
    #[must_use]
    pub fn started(&self, subscription: Subscription) -> &[u8] {
        let (feed, reader) = self.reader(subscription);
        feed.log.started(reader.cursor)
    }

    /// How many bytes the subscriber is behind.
    #[must_use]
    pub fn lag(&self, subscription: Subscription) -> u64 {
        let (feed, reader) = self.reader(subscription);
        feed.log.lag(reader.cursor)
    }

    /// How many publications the subscriber has not begun to read.
    #[must_use]
    pub fn unread_publications(&self, subscription: Subscription) -> u64 {
        let (feed, reader) = self.reader(subscription);
        feed.log.unread_frames(reader.cursor)
    }

    /// Notes that the subscriber has read `len` more bytes.
    pub fn advance(&mut self, subscription: Subscription, len: usize) {
        self.change(subscription.log, |feed| {
            let cursor = feed.readers.get(subscription.slot).cursor;
            let advanced = feed.log.advance(cursor, len);
            feed.move_reader(subscription.slot, cursor, advanced);
        });
    }

    /// Whether the subscriber is more than `lag_max` bytes behind, and that by more than one publication.
    #[must_use]
    pub fn is_lagged(&self, subscription: Subscription, lag_max: u64) -> bool {
        let (feed, reader) = self.reader(subscription);
        feed.log.is_lagged(reader.cursor, lag_max)
    }

    /// Passes over the oldest publications, but for the newest, until the subscriber is at most `lag_max` bytes behind. A started
    /// frame must have been read to its end. How many were passed over is added to [`Hub::take_missed`].
    pub fn skip_oldest(&mut self, subscription: Subscription, lag_max: u64) {
        self.skip(subscription, |log, cursor| log.skip_oldest(cursor, lag_max));
    }

    /// Passes over all but the newest publication. A started frame must have been read to its end. How many
    /// were passed over is added to [`Hub::take_missed`].
    pub fn skip_to_newest(&mut self, subscription: Subscription) {
        self.skip(subscription, Log::skip_to_newest);
    }

    /// How many publications were passed over since this was last asked.
    #[must_use]
    pub fn take_missed(&mut self, subscription: Subscription) -> u64 {
        let reader = self.feed_mut(subscription.log).readers.get_mut(subscription.slot);
        std::mem::take(&mut reader.missed).into()
    }

    /// Forgets what every subscriber of the log has read, and notes how much is left.
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

    /// How many publications subscribers were moved past by [`Hub::skip_oldest`] and [`Hub::skip_to_newest`].
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn channel_index(&mut self, name: &ChannelName) -> u32 {
        if let Some(&channel) = self.names.get(name) {
            return channel;
        }
        let channel = self.channels.insert(Channel { name: name.clone(), feeds: Default::default() }) as u32;
        self.names.insert(name.clone(), channel);
        channel
    }

    fn skip(&mut self, subscription: Subscription, to: impl FnOnce(&Log, Cursor) -> (Cursor, u64)) {
        let passed_over = self.change(subscription.log, |feed| {
            let reader = feed.readers.get_mut(subscription.slot);
            let before = reader.cursor;
            let (cursor, missed) = to(&feed.log, before);
            reader.missed = reader.missed.saturating_add(u32::try_from(missed).unwrap_or(u32::MAX));
            feed.move_reader(subscription.slot, before, cursor);
            missed
        });
        self.passed_over += passed_over;
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

    fn feed(&self, log: LogId) -> Option<&Feed> {
        self.channels.get(log.channel as usize)?.feeds[log.form.index()].as_deref()
    }

    fn feed_mut(&mut self, log: LogId) -> &mut Feed {
        let feed = self.channels[log.channel as usize].feeds[log.form.index()].as_deref_mut();
        feed.expect("a log exists while it has a subscriber")
    }

    fn reader(&self, subscription: Subscription) -> (&Feed, &Reader) {
        let feed = self.feed(subscription.log).expect("a log exists while it has a subscriber");
        (feed, feed.readers.get(subscription.slot))
    }
}

impl Feed {
    fn move_reader(&mut self, slot: u32, from: Cursor, to: Cursor) {
        self.readers.get_mut(slot).cursor = to;
        if self.log.lag(from) > 0 && self.log.lag(to) == 0 {
            self.caught_up();
        }
    }

    /// One reader less has something to read. When none has, nothing needs to be kept.
    fn caught_up(&mut self) {
        self.behind -= 1;
        if self.behind == 0 {
            self.log.trim(self.log.head());
        }
    }

    fn trim(&mut self) {
        let slowest = self.readers.iter().map(|reader| reader.cursor.offset()).min();
        self.log.trim(slowest.unwrap_or(self.log.head()));
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
