//! Who is in one channel: users, each there once however many connections it has, and how many others; and what the readers
//! of the changes have been told of that.
//!
//! Times come in, texts go out. The lock and the mailboxes are the broker's, and who a connection is was proved before.
//!
//! Readers have the state of the newest change. What is different now is collected, and told when the pause is over:
//!
//! ```text
//!  change 3 (since)          now
//!  { a, b }      + c - a  =  { b, c }     a new reader gets { a, b } and "since 3",
//!  `members` with `before` undone         then, as everybody, change 4: joined c, left a
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::PresenceRule;
use crate::hub::{Ledger, Owner, PublicationId};
use crate::pusher::Member as PusherMember;
use crate::server::broker::listing::UNLISTED;
use crate::server::broker::memory::Counted;
use crate::server::broker::presence_news::{News, note_news};
use crate::server::broker::presence_text::{self as text, Totals};
use crate::server::broker::unnamed::{Unnamed, linger_ms};
use crate::server::clock::Millis;

/// The shortest time between two changes: a reader is sent at most one a second.
const PAUSE_MS: u64 = 1000;

/// The same above [`LARGE_MIN`] in the channel, and after a change that is a whole list.
const LONG_PAUSE_MS: u64 = 5000;

/// Above this many, somebody comes or goes all the time, and each change costs as many deliveries.
const LARGE_MIN: u64 = 1000;

/// What a member costs besides its texts: two places in the maps, at least half full, and the counts of the shared texts.
const MEMBER_LEN: usize = 2 * size_of::<(Arc<str>, Member)>() + 2 * size_of::<(Millis, Arc<str>)>() + 64;

/// What a member's connection costs: a place in the map.
const OWNER_LEN: usize = size_of::<(Owner, Arc<str>)>() + 1;

/// Who a subscriber is, by the proof that it gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present<'a> {
    /// The user; `None` for somebody without a name, who is counted.
    pub sub: Option<&'a str>,
    /// What the others may know of the user: one JSON value.
    pub info: Option<&'a str>,
    /// Whether it subscribes anew for each answer.
    pub is_poll: bool,
}

impl<'a> From<&'a PusherMember> for Present<'a> {
    fn from(member: &'a PusherMember) -> Self {
        Self { sub: Some(&member.user_id), info: member.user_info.as_deref(), is_poll: false }
    }
}

/// What the readers of the changes are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its identifier: the sequence counts the changes.
    pub id: PublicationId,
    /// One JSON object.
    pub data: String,
}

/// Who is in a channel.
#[derive(Debug)]
pub struct Presence {
    rule: PresenceRule,
    /// The longest list that is told.
    pub(super) list_max: usize,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// The connections of members. A subscriber that is not here has no name.
    owners: HashMap<Owner, Arc<str>>,
    /// The members that have no connection here any more, by the time when they have left.
    ///
    /// Invariant: those that are here with no `connections`, under their `until`.
    leaving: BTreeSet<(Millis, Arc<str>)>,
    pub(super) unnamed: Unnamed,
    /// Those without a name at other nodes.
    pub(super) unnamed_elsewhere: u64,
    /// What other nodes do not know yet, where there may be some.
    pub(super) news: Option<News>,
    /// Invariant: the bytes of the texts in `members`.
    pub(super) text_len: usize,
    pub(super) told: Told,
    counted: Counted,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) sub: Arc<str>,
    pub(super) info: Info,
    pub(super) connections: u64,
    /// It stays until then, if no connection is left.
    until: Millis,
    /// Whether it has a connection here, or had one a moment ago.
    pub(super) is_here: bool,
    /// Its connections at other nodes; `None` if it is at none of them.
    pub(super) elsewhere: Option<u64>,
}

/// What others may know of a member: JSON.
pub(super) type Info = Option<Arc<str>>;

/// What the readers of the changes know.
#[derive(Debug)]
pub(super) struct Told {
    /// Readers by loop.
    readers: Box<[u64]>,
    /// The newest change.
    newest: PublicationId,
    /// Whether somebody was told the state of the newest change, who may come back with its identifier.
    is_shown: bool,
    /// Whether members are others than at the newest change, of which nobody was told as nobody read.
    has_moved: bool,
    totals: Totals,
    /// Whether they know who is there, and not only how many are. Only if there are readers.
    has_list: bool,
    /// Who has come, gone or changed since: what the readers know of it. The outer `None`: nothing, it was not there.
    ///
    /// Invariant: at most as many as the longest list, and none without `has_list`.
    before: BTreeMap<Arc<str>, Option<Info>>,
    /// When the pause ends.
    next_at: Millis,
    /// When something is to be told.
    due_at: Option<Millis>,
}

impl Presence {
    /// Nobody yet. Lists of up to `list_max` members are told, if the rule allows any. The changes begin after `epoch`-0, and
    /// are for readers on `loops` loops.
    pub fn new(rule: PresenceRule, list_max: usize, epoch: u64, loops: usize) -> Self {
        Self {
            rule,
            list_max,
            members: BTreeMap::new(),
            owners: HashMap::new(),
            leaving: BTreeSet::new(),
            unnamed: Unnamed::default(),
            unnamed_elsewhere: 0,
            news: None,
            text_len: 0,
            told: Told {
                readers: vec![0; loops].into(),
                newest: PublicationId { epoch, sequence: 0 },
                is_shown: false,
                has_moved: false,
                totals: Totals::default(),
                has_list: false,
                before: BTreeMap::new(),
                next_at: Millis::default(),
                due_at: None,
            },
            counted: Counted::default(),
        }
    }

    /// Whether it can be forgotten: nobody is there, and nobody is told of it.
    pub fn is_idle(&self) -> bool {
        let is_told = self.news.as_ref().is_none_or(|news| !news.is_any(self.unnamed.len()));
        let is_nobody_there = self.members.is_empty() && self.unnamed.len() + self.unnamed_elsewhere == 0;
        is_nobody_there && is_told && !self.told.has_readers()
    }

    /// Counts what it holds now, in the count that `ledger` is.
    pub fn recount(&mut self, ledger: &Ledger) {
        // What readers know of those who have gone is at most as long as the list of them was.
        let members = self.members.len() + self.told.before.len();
        let bytes = size_of::<Self>() + self.text_len + members * MEMBER_LEN;
        let bytes = bytes + self.owners.capacity() * OWNER_LEN + self.unnamed.held_len();
        self.counted.set(bytes, ledger);
    }

    /// When something of it is due next.
    pub fn due(&self) -> u64 {
        let leaves = self.leaving.first().map_or(UNLISTED, |(until, _)| until.0);
        leaves.min(self.unnamed.due()).min(self.told.due_at.map_or(UNLISTED, |at| at.0))
    }
}

/// Coming and going.
impl Presence {
    /// A connection has subscribed to the channel. It may do so once; the latest info of a user is kept.
    pub fn join(&mut self, owner: Owner, present: Present<'_>) {
        match present.sub {
            None => self.unnamed.come(present.is_poll),
            Some(sub) => {
                let sub = self.enter(sub, present.info);
                let other = self.owners.insert(owner, sub);
                debug_assert!(other.is_none(), "a connection is in a channel once");
            }
        }
    }

    /// The subscription of a connection has ended.
    pub fn leave(&mut self, owner: Owner, is_poll: bool, now: Millis) {
        match self.owners.remove(&owner) {
            None => self.unnamed.go(is_poll, now),
            Some(sub) => self.exit(&sub, Millis(now.0 + linger_ms(is_poll))),
        }
        if self.owners.len() <= self.owners.capacity() / 4 {
            self.owners.shrink_to_fit();
        }
    }

    /// A long poll was answered at once: its client is there, and between two polls.
    pub fn pass(&mut self, present: Present<'_>, now: Millis) {
        match present.sub {
            None => {
                self.unnamed.come(present.is_poll);
                self.unnamed.go(present.is_poll, now);
            }
            Some(sub) => {
                let sub = self.enter(sub, present.info);
                self.exit(&sub, Millis(now.0 + linger_ms(present.is_poll)));
            }
        }
    }

    /// A connection that has subscribed has proved to be somebody else, or to have another info.
    pub fn identify(&mut self, owner: Owner, present: Present<'_>, now: Millis) {
        let before = self.owners.remove(&owner);
        if before.is_none() {
            self.unnamed.become_named();
        }
        // In this order, a user that stays is never without a connection.
        self.join(owner, present);
        if let Some(sub) = before {
            self.exit(&sub, now);
        }
    }

    /// Has those leave who did not come back, `most` at once. Returns their number.
    pub fn expire(&mut self, now: Millis, most: usize) -> usize {
        let mut done = self.unnamed.expire(now, most);
        while done < most && self.leaving.first().is_some_and(|&(until, _)| until <= now) {
            done += 1;
            let Some((_, sub)) = self.leaving.pop_first() else { unreachable!("it was just looked at") };
            let Some(member) = self.members.get_mut(&sub) else { unreachable!("who leaves is a member") };
            member.is_here = false;
            if self.news.is_some() {
                // It may be at another node: it is there until these say that it is not.
                member.elsewhere.get_or_insert(0);
            }
            note_news(&mut self.news, &sub);
            if member.elsewhere.is_none() {
                self.remove(&sub);
            }
        }
        done
    }

    /// One that is nowhere any more.
    pub(super) fn remove(&mut self, sub: &Arc<str>) {
        let Some(member) = self.members.remove(sub) else { unreachable!("who is removed is a member") };
        self.text_len -= sub.len() + text_len(&member.info);
        self.told.note(Arc::clone(sub), Some(member.info), self.list_max);
    }

    fn enter(&mut self, sub: &str, info: Option<&str>) -> Arc<str> {
        let Some(member) = self.members.get_mut(sub) else {
            let sub: Arc<str> = sub.into();
            let info: Info = info.map(Into::into);
            self.text_len += sub.len() + text_len(&info);
            let mut member = Member::new(Arc::clone(&sub), info);
            (member.connections, member.is_here) = (1, true);
            self.members.insert(Arc::clone(&sub), member);
            note_news(&mut self.news, &sub);
            self.told.note(Arc::clone(&sub), None, self.list_max);
            return sub;
        };
        let sub = Arc::clone(&member.sub);
        if member.connections == 0 && member.is_here {
            self.leaving.remove(&(member.until, Arc::clone(&sub)));
        }
        (member.connections, member.is_here) = (member.connections + 1, true);
        note_news(&mut self.news, &sub);
        if member.info.as_deref() != info {
            let before = std::mem::replace(&mut member.info, info.map(Into::into));
            self.text_len = self.text_len - text_len(&before) + text_len(&member.info);
            self.told.note(Arc::clone(&sub), Some(before), self.list_max);
        }
        sub
    }

    /// A connection of a member has gone. Without another one it stays until then, or until later if an earlier connection
    /// has promised that.
    fn exit(&mut self, sub: &Arc<str>, until: Millis) {
        let Some(member) = self.members.get_mut(sub) else {
            unreachable!("a member stays while it has a connection")
        };
        member.connections -= 1;
        note_news(&mut self.news, sub);
        member.until = member.until.max(until);
        if member.connections == 0 {
            self.leaving.insert((member.until, Arc::clone(sub)));
        }
    }
}

/// What is told.
impl Presence {
    /// One more reader of the changes, on this loop. Returns what it is told first: the state of the newest change. The
    /// next changes follow on that.
    pub fn begin_reading(&mut self, loop_index: usize) -> Change {
        let id = self.begin_following(loop_index);
        Change { id, data: self.told_state() }
    }

    /// The same for one that knows the state of a change. Returns the newest: if that is the one, it has missed nothing.
    pub fn begin_following(&mut self, loop_index: usize) -> PublicationId {
        if !self.told.has_readers() {
            let totals = self.totals();
            // Nobody was told of what has changed since the last reader left: it is a change by itself.
            let is_another = self.told.has_moved || totals != self.told.totals;
            self.told.newest.sequence += u64::from(is_another && self.told.is_shown);
            (self.told.totals, self.told.has_list) = (totals, self.may_list());
            (self.told.is_shown, self.told.has_moved) = (false, false);
        }
        self.told.readers[loop_index] += 1;
        self.told.is_shown = true;
        self.told.newest
    }

    /// What the readers know: the state of the newest change. Only while there is one.
    pub fn told_state(&self) -> String {
        let members = self.told.has_list.then(|| self.told_members());
        text::state(members, self.told.totals, Some(self.told.newest))
    }

    /// One reader less.
    pub fn end_reading(&mut self, loop_index: usize) {
        let has_changed = self.has_changed();
        self.told.readers[loop_index] -= 1;
        if !self.told.has_readers() {
            self.told.has_moved = has_changed;
            self.told.has_list = false;
            self.told.before.clear();
            self.told.due_at = None;
        }
    }

    /// The readers of the changes by loop.
    pub fn readers(&self) -> &[u64] {
        &self.told.readers
    }

    /// Who is there now, as a JSON object.
    pub fn state(&self) -> String {
        let members = self.members.values().map(Member::entry);
        text::state(self.may_list().then_some(members), self.totals(), None)
    }

    /// Whether the readers are to be told of changes at this time. If they are to be later, [`Presence::due`] says when.
    #[must_use]
    pub fn is_to_tell(&mut self, now: Millis) -> bool {
        let has_changed = self.has_changed();
        let is_paused = now < self.told.next_at;
        self.told.due_at = (has_changed && is_paused).then_some(self.told.next_at);
        has_changed && !is_paused
    }

    /// The changes, if the readers are to be told of them at this time. They have been told then.
    pub fn change(&mut self, now: Millis) -> Option<Change> {
        if !self.is_to_tell(now) {
            return None;
        }
        let (had_list, may_list) = (self.told.has_list, self.may_list());
        let totals = self.totals();
        let data = match (may_list, had_list) {
            (false, _) => text::change_of_totals(totals),
            (true, false) => text::state(Some(self.members.values().map(Member::entry)), totals, None),
            (true, true) => text::change(self.joined(), self.left(), totals),
        };
        self.told.has_list = may_list;
        self.told.before.clear();
        self.told.totals = totals;
        self.told.newest.sequence += 1;
        let is_large = totals.count as u64 + totals.unnamed > LARGE_MIN;
        let is_whole = may_list && !had_list;
        self.told.next_at = Millis(now.0 + if is_large || is_whole { LONG_PAUSE_MS } else { PAUSE_MS });
        Some(Change { id: self.told.newest, data })
    }

    fn has_changed(&self) -> bool {
        let owes_list = self.may_list() && !self.told.has_list;
        let is_different = owes_list || !self.told.before.is_empty() || self.totals() != self.told.totals;
        is_different && self.told.has_readers()
    }

    fn may_list(&self) -> bool {
        self.rule == PresenceRule::Members && self.members.len() <= self.list_max
    }

    fn totals(&self) -> Totals {
        Totals { count: self.members.len(), unnamed: self.unnamed.len() + self.unnamed_elsewhere }
    }

    /// Who has come since the newest change, or has another info. One who has gone and come back is told again, and in
    /// [`Presence::left`] one who has come and gone: a reader may have asked for the state meanwhile.
    fn joined(&self) -> impl Iterator<Item = text::Member<'_>> {
        self.told.before.keys().filter_map(|sub| self.members.get(sub)).map(Member::entry)
    }

    /// Who has gone since.
    fn left(&self) -> impl Iterator<Item = &str> {
        self.told.before.keys().map(|sub| &**sub).filter(|&sub| !self.members.contains_key(sub))
    }

    /// Who was there at the newest change.
    fn told_members(&self) -> impl Iterator<Item = text::Member<'_>> {
        let before = &self.told.before;
        let unchanged = self.members.values().filter(|member| !before.contains_key(&member.sub));
        let changed = before.iter().filter_map(|(sub, info)| {
            let connections = self.members.get(sub).map_or(0, Member::connections);
            Some(text::Member { sub, info: info.as_ref()?.as_deref(), connections })
        });
        unchanged.map(Member::entry).chain(changed)
    }
}

impl Member {
    /// One that is nowhere yet.
    pub(super) fn new(sub: Arc<str>, info: Info) -> Self {
        Self { sub, info, connections: 0, until: Millis::default(), is_here: false, elsewhere: None }
    }

    fn entry(&self) -> text::Member<'_> {
        text::Member { sub: &self.sub, info: self.info.as_deref(), connections: self.connections() }
    }

    /// At all nodes.
    fn connections(&self) -> u64 {
        self.connections.saturating_add(self.elsewhere.unwrap_or(0))
    }
}

impl Told {
    fn has_readers(&self) -> bool {
        self.readers.iter().any(|&readers| readers > 0)
    }

    /// Notes that somebody is different from `before`.
    pub(super) fn note(&mut self, sub: Arc<str>, before: Option<Info>, list_max: usize) {
        if !self.has_list {
            self.has_moved |= !self.has_readers();
            return;
        }
        self.before.entry(sub).or_insert(before);
        if self.before.len() > list_max {
            // The whole list is shorter.
            self.has_list = false;
            self.before.clear();
        }
    }
}

/// The bytes of it.
pub(super) fn text_len(info: &Info) -> usize {
    info.as_ref().map_or(0, |info| info.len())
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
