//! The order of each channel over all loops: publishing in two halves, joining and leaving, and what is kept of a
//! channel for reconnecting subscribers.
//!
//! The first half of publishing draws the number (`sequence`), the second fills history and mailboxes (`deliver`). On
//! one node both happen under one lock; with an engine the second comes when the engine says so.
//!
//! No bytes are encoded and no log is touched here; a loop does that with what it finds in its mailbox.

pub mod activity;
pub mod answer;
pub mod arrivals;
pub mod attendance;
pub mod audience;
pub mod calls;
pub mod channel;
pub mod deliveries;
pub mod draft;
pub mod elsewhere;
pub mod engine;
pub mod eviction;
pub mod fingerprint;
pub mod idempotency;
pub mod joins;
pub mod listing;
pub mod mailbox;
pub mod memory;
pub mod names;
pub mod payload;
pub mod presence;
pub mod presence_news;
pub mod presence_shared;
pub mod presence_text;
pub mod queries;
pub mod readiness;
pub mod reading;
pub mod retention;
pub mod roads;
pub mod shard;
pub mod tapped;
pub mod unnamed;
pub mod untold;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::config::Glob;
use crate::hub::{ChannelName, HistoryLimits, Position, Publication, PublicationId, Published};
use crate::pusher::Kind;
use crate::server::broker::answer::{NotPublished, PublishAnswer, Publishing, Receipt, Waiter};
use crate::server::broker::arrivals::PresenceRules;
use crate::server::broker::channel::ChannelState;
use crate::server::broker::draft::Draft;
use crate::server::broker::engine::{Engine, Sequencer, Ticket};
use crate::server::broker::fingerprint::Fingerprint;
use crate::server::broker::idempotency::{IdempotencyKey, KeyRefused, Keyed, Known};
use crate::server::broker::listing::UNLISTED;
use crate::server::broker::mailbox::{FIRST_LOOP, Mailbox};
use crate::server::broker::memory::{Account, KEY_PARTS};
use crate::server::broker::retention::Retention;
use crate::server::broker::shard::{Lists, Shard};
use crate::server::broker::tapped::Tapped;
use crate::server::clock::Millis;
use crate::server::lock::lock;

/// Channels are spread over this many locks. A lock is held for several hundred nanoseconds, so a few per core keep
/// publishers of different channels apart.
const SHARDS: usize = 64;

/// The channels of all loops.
#[derive(Debug)]
pub struct Broker {
    hasher: RandomState,
    pub(super) shards: Vec<Mutex<Shard>>,
    mailboxes: Arc<[Mailbox]>,
    engine: Engine,
    /// Of which channels a program is told.
    pub(super) tapped: Tapped,
    retention: Retention,
    presence_rules: PresenceRules,
    first_epoch: u64,
    next_epoch: AtomicU64,
    pub(super) account: Account,
    /// How much known idempotency keys may keep from being freed, in bytes.
    keys_len_max: usize,
    /// When something expires next, of all channels, in milliseconds.
    pub(super) due_at: AtomicU64,
    /// Publications that were evicted from histories before they expired.
    pub(super) evicted: AtomicU64,
    /// Whether publications are counted by channel.
    pub(super) is_counting: AtomicBool,
}

impl Broker {
    /// No channels yet. Epochs count up from `first_epoch`, which should be another at every start.
    pub fn new(mailboxes: Vec<Mailbox>, first_epoch: u64, retention: Retention, engine: Engine) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            mailboxes: mailboxes.into(),
            engine,
            retention,
            tapped: Tapped::default(),
            presence_rules: PresenceRules::default(),
            first_epoch,
            next_epoch: AtomicU64::new(first_epoch),
            account: Account::default(),
            keys_len_max: usize::MAX,
            due_at: AtomicU64::new(UNLISTED),
            evicted: AtomicU64::new(0),
            is_counting: AtomicBool::new(false),
        }
    }

    /// The same with rules of who is told of whom is there.
    #[must_use]
    pub fn with_presence(self, rules: PresenceRules) -> Self {
        Self { presence_rules: rules, ..self }
    }

    /// The same, whose idempotency keys take their share of `--max-memory` at most.
    #[must_use]
    pub fn with_memory(self, max_memory: u64) -> Self {
        Self { keys_len_max: usize::try_from(max_memory / KEY_PARTS).unwrap_or(usize::MAX), ..self }
    }

    /// Has publications to these channels posted to the first loop too, for a program that is told of them.
    pub fn tap(&self, glob: Glob) {
        self.tapped.add(glob);
    }

    /// The mailbox of a loop.
    pub fn mailbox(&self, loop_index: usize) -> &Mailbox {
        &self.mailboxes[loop_index]
    }

    /// All mailboxes, in the order of the loops.
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    /// The same, for threads that answer connections.
    pub fn shared_mailboxes(&self) -> Arc<[Mailbox]> {
        Arc::clone(&self.mailboxes)
    }

    /// Whether publishers should wait until some loop has taken more of its mailbox, or the engine has done more.
    pub fn is_congested(&self) -> bool {
        self.is_read_late() || self.engine.is_congested()
    }

    /// Whether some loop has to take more of its mailbox before more is put there.
    pub fn is_read_late(&self) -> bool {
        self.mailboxes.iter().any(Mailbox::is_congested)
    }

    /// How much of a channel is kept.
    pub fn limits_of(&self, channel: &ChannelName) -> HistoryLimits {
        self.retention.of(channel.local())
    }

    /// The number of known channels: those with subscribers, and those whose history or sequence is kept.
    pub fn channels_len(&self) -> usize {
        self.account.channels_len()
    }

    /// The bytes held by channels, their histories and known keys, and by publications in mailboxes.
    pub fn held_len(&self) -> usize {
        self.account.held_len()
    }

    /// Publishes. If the answer comes later, `waiter` gets it.
    pub fn publish(&self, draft: Draft, waiter: Waiter, now: Millis) -> Publishing {
        match self.engine.sequencer_of(&draft.channel) {
            None => {
                let mut shard = lock(self.shard(draft.channel.as_str()));
                Publishing::Done(Receipt::of_new(self.publish_in(&mut shard, draft, now)))
            }
            Some(sequencer) => sequence(&**sequencer, draft, None, waiter),
        }
    }

    /// Publishes, unless the same was published under the same key in the last minute: then the answer is that one's,
    /// and is awaited if that one is.
    ///
    /// # Errors
    /// The key was used for another publication, or is new and there is no room to keep it: in memory, or in the share of it
    /// that keys have.
    pub fn publish_once(
        &self,
        draft: Draft,
        key: IdempotencyKey,
        has_room: bool,
        waiter: Waiter,
        now: Millis,
    ) -> Result<Publishing, KeyRefused> {
        let key = Keyed { digest: key.digest(), fingerprint: Fingerprint::of(&draft) };
        let channel = draft.channel.clone();
        let sequencer = self.engine.sequencer_of(&channel);
        let mut shard = lock(self.shard(channel.as_str()));
        if let Some(state) = shard.channels.get_mut(&channel) {
            state.keys.expire(now, &self.account);
            let awaited_of = sequencer.filter(|_| state.keys.is_awaited(key.digest));
            match (state.keys.find(key), awaited_of) {
                (Ok(Some(Known::Delivered(published))), _) => {
                    return Ok(Publishing::Done(Receipt::of_earlier(*published)));
                }
                (Ok(Some(Known::Awaited(waiters))), _) => {
                    waiters.push(waiter);
                    return Ok(Publishing::Awaited);
                }
                (Ok(None), _) => {}
                // Which of the two has the key, the engine knows: other nodes may have used it before.
                (Err(KeyRefused::Reused), Some(sequencer)) => {
                    drop(shard);
                    return Ok(sequence(&**sequencer, draft, Some(key), waiter));
                }
                (Err(refused), _) => return Err(refused),
            }
        }
        if !has_room {
            return Err(KeyRefused::NoRoom);
        }
        if self.account.kept_by_keys() >= self.keys_len_max {
            return Err(KeyRefused::ShareUsed);
        }
        let note = |shard: &mut Shard, known| {
            let Shard { channels, lists, .. } = shard;
            let state = self.state(channels, lists, &channel);
            state.keys.insert(key, known, now, &self.account);
            lists.settle(&channel, state);
            self.note_due(shard);
        };
        match sequencer {
            None => {
                let published = self.publish_in(&mut shard, draft, now);
                note(&mut shard, Known::Delivered(published));
                Ok(Publishing::Done(Receipt::of_new(published)))
            }
            Some(sequencer) => {
                note(&mut shard, Known::Awaited(Vec::new()));
                drop(shard);
                Ok(sequence(&**sequencer, draft, Some(key), waiter))
            }
        }
    }

    /// A publication of a draft under its number.
    pub fn publication(&self, draft: Draft, id: PublicationId) -> Arc<Publication> {
        let Draft { channel, event, content, data, source, excluded, frame } = draft;
        let frames = self.account.add_publication(data.len()).with_plain(frame);
        Arc::new(Publication {
            channel,
            id,
            event,
            content,
            data,
            source,
            excluded: excluded.owner(),
            frames,
        })
    }

    /// Answers the publisher of a publication that an engine took, and those who repeated it with its key meanwhile.
    pub fn settle(&self, ticket: Ticket, outcome: Result<Receipt, NotPublished>) {
        let Ticket { channel, key, waiter } = ticket;
        self.tell(waiter, outcome);
        let outcome = outcome.map(|receipt| receipt.published);
        let Some(key) = key else { return };
        let mut shard = lock(self.shard(channel.as_str()));
        let Shard { channels, lists, .. } = &mut *shard;
        let Some(state) = channels.get_mut(&channel) else { return };
        let waiters = state.keys.settle(key, outcome.ok(), &self.account);
        lists.settle(&channel, state);
        self.note_due(&shard);
        drop(shard);
        for waiter in waiters {
            self.tell(waiter, outcome.map(Receipt::of_earlier));
        }
    }

    fn tell(&self, waiter: Waiter, outcome: Result<Receipt, NotPublished>) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Connection { loop_index, connection, request } => {
                self.mailboxes[loop_index].answer(PublishAnswer { connection, request, outcome });
            }
            Waiter::Thread(reply) => reply.put(outcome),
        }
    }

    /// Both halves under the lock of the channel's shard.
    fn publish_in(&self, shard: &mut Shard, draft: Draft, now: Millis) -> Published {
        let Shard { channels, lists, busy, .. } = &mut *shard;
        // Nearly every publication is to a known channel, which is found without a clone of its name.
        let published = match channels.get_mut(&draft.channel) {
            Some(state) => self.publish_to(state, lists, busy, draft, now),
            None => {
                let state = self.state(channels, lists, &draft.channel);
                self.publish_to(state, lists, busy, draft, now)
            }
        };
        self.note_due(shard);
        published
    }

    fn publish_to(
        &self,
        state: &mut ChannelState,
        lists: &mut Lists,
        busy: &mut Vec<ChannelName>,
        draft: Draft,
        now: Millis,
    ) -> Published {
        state.sequence += 1;
        let id = PublicationId { epoch: state.epoch, sequence: state.sequence };
        self.deliver_to(state, lists, busy, self.publication(draft, id), (now, now))
    }

    /// The second half of publishing. The publication was numbered at `at`, which history counts its age from.
    fn deliver_to(
        &self,
        state: &mut ChannelState,
        lists: &mut Lists,
        busy: &mut Vec<ChannelName>,
        publication: Arc<Publication>,
        (at, now): (Millis, Millis),
    ) -> Published {
        state.used_at = now;
        if self.is_counting.load(Ordering::Relaxed) {
            if state.published == 0 {
                busy.push(publication.channel.clone());
            }
            state.published += 1;
        }
        state.history.push(Arc::clone(&publication), at.0, now.0, &state.limits);
        self.post(&state.readers, state.is_tapped, &publication);
        if Kind::of(publication.channel.local()).is_cache {
            state.audience().cache(&publication, now);
        }
        lists.settle(&publication.channel, state);
        Published { id: publication.id, subscribers: state.subscribers_len() }
    }

    /// Puts a publication into the mailbox of each loop that has a reader, and of the first if the program is told of it.
    fn post(&self, readers: &[u64], is_tapped: bool, publication: &Arc<Publication>) {
        for (index, (mailbox, &readers)) in self.mailboxes.iter().zip(readers).enumerate() {
            if readers > 0 || is_tapped && index == FIRST_LOOP {
                mailbox.post(Arc::clone(publication), readers);
            }
        }
    }

    /// The state of a channel, which begins if it is not known.
    fn state<'a>(
        &self,
        channels: &'a mut HashMap<ChannelName, ChannelState>,
        lists: &mut Lists,
        name: &ChannelName,
    ) -> &'a mut ChannelState {
        channels.entry(name.clone()).or_insert_with(|| {
            self.account.add_channel();
            lists.names.add(name);
            let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
            let mut state = ChannelState::new(epoch, self.mailboxes.len(), self.retention.of(name.local()));
            state.is_tapped = self.tapped.has(name.local()) && name.accompanied().is_none();
            state
        })
    }

    /// Where this process draws the numbers: a channel without publications is removed with its last subscriber. The beginning of its earlier epoch is the
    /// beginning of this one, if no epoch between them had publications.
    fn translate(&self, position: Position, epoch: u64, removed_epoch: u64) -> Position {
        match position {
            Position::After(PublicationId { epoch: then, sequence: 0 })
                if (self.first_epoch..epoch).contains(&then) && removed_epoch < then =>
            {
                Position::After(PublicationId { epoch, sequence: 0 })
            }
            position => position,
        }
    }

    fn remove_if_unused(&self, shard: &mut Shard, name: &ChannelName, now: Millis) {
        self.account.remove_channels(usize::from(shard.remove_if_unused(name, now)));
        self.note_due(shard);
    }

    /// Wakes the loop that sweeps if something of these channels expires earlier than it knows.
    pub(super) fn note_due(&self, shard: &Shard) {
        if let Some(&(at, _)) = shard.lists.due.first()
            && at < self.due_at.load(Ordering::Relaxed)
            && at < self.due_at.fetch_min(at, Ordering::SeqCst)
        {
            self.mailboxes[FIRST_LOOP].wake();
        }
    }

    pub(super) fn shard(&self, name: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

/// Has an engine publish.
fn sequence(sequencer: &dyn Sequencer, draft: Draft, key: Option<Keyed>, waiter: Waiter) -> Publishing {
    let ticket = Ticket { channel: draft.channel.clone(), key, waiter };
    sequencer.sequence(draft, ticket);
    Publishing::Awaited
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "engine_tests.rs"]
mod engine_tests;
