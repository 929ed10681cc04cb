//! Who is in the channels of this node where that is told: other nodes are told of who is here, and it is read who is there.
//!
//! A channel's nodes have a hash in Redis. A call of the script says what has changed here, one at a time a channel, so that what
//! changes meanwhile is said by the next; and says each half a minute that this node lives. What others say comes as messages with
//! ascending numbers; where one is missing, and before anybody joins, all is read. The lists themselves are the broker's: see
//! `broker::elsewhere`.
//!
//! While Redis is away, nobody is told that others have left. When it comes back it may have forgotten all, so it is read again only
//! after the others had time to say theirs.

use std::collections::HashSet;

use super::calls::{self, Caller, Teller};
use super::lead::is_late;
use super::link::Asked;
use super::node::Node;
use super::resp::Reply;
use super::rosters::{LOOK_MS, RENEW_MS, Roster};
use crate::hub::ChannelName;
use crate::server::broker::elsewhere::News;
use crate::server::broker::engine::records::{self, Record, Whose};
use crate::server::clock::Millis;

/// And is believed for this long: it may miss one time.
const LIVE_MS: u64 = 75_000;

/// What was refused, or had no connection, is said again after this.
const AGAIN_MS: u64 = 500;

/// Channels of which something is said in a turn: those that were joined together are renewed together.
const CALLS_MAX: usize = 1_000;

/// Records of one call: of 1 KiB each at most, and a millisecond of Redis's time.
const RECORDS_MAX: usize = 256;

/// What is asked.
impl Node {
    /// Whether requests to join a channel have to wait until it is known who is in it. That is asked for then.
    pub fn is_ready_held(&mut self, name: &ChannelName) -> bool {
        if !self.broker.tells_members(name) {
            return false;
        }
        let now = self.clock.now();
        let roster = self.rosters.entries.entry(name.clone()).or_insert_with(|| Roster::new(now));
        if !roster.holds_ready {
            return false;
        }
        self.look(name);
        self.rosters.settle(name);
        true
    }

    fn look(&mut self, name: &ChannelName) {
        let key = self.keys.members(name);
        if self.rosters.entries.get(name).is_none_or(|roster| roster.is_looking) {
            return;
        }
        let Some(up) = self.home_up(name) else { return };
        up.link.ask(Asked::Look(name.clone()), |out| calls::look(key.as_bytes(), out));
        if let Some(roster) = self.rosters.entries.get_mut(name) {
            (roster.is_looking, roster.look_at) = (true, None);
        }
    }

    /// A channel's subscription is there, perhaps again.
    pub fn roster_opened(&mut self, name: &ChannelName, now: Millis) {
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        if !std::mem::take(&mut roster.has_missed) {
            return;
        }
        if roster.holds_ready {
            self.look(name);
        } else {
            roster.look_at = Some(Millis(now.0 + LOOK_MS));
            roster.renew_at = now;
        }
        self.rosters.settle(name);
    }

    /// What was in flight when its connection was lost.
    pub fn rosters_lost(&mut self, asked: &[(Asked, bool)], now: Millis) {
        for (asked, _) in asked {
            match asked {
                Asked::Members(name) => self.not_told(name, now),
                Asked::Look(name) => self.not_looked(name, now),
                Asked::Confirm(name, _) => self.not_confirmed(name, now),
                _ => {}
            }
        }
    }

    /// The broker has something to say of a channel.
    pub fn members_changed(&mut self, name: &ChannelName, now: Millis) {
        if let Some(roster) = self.rosters.entries.get_mut(name) {
            roster.has_news = true;
            self.say(name, now);
        }
    }

    /// What is due.
    pub fn tick_rosters(&mut self, now: Millis) {
        let mut left = CALLS_MAX;
        while left > 0
            && let Some((_, name)) = self.rosters.due.first().filter(|&&(at, _)| at <= now.0).cloned()
        {
            left -= 1;
            let Some(roster) = self.rosters.entries.get_mut(&name) else { return };
            roster.again_at.take_if(|at| *at <= now);
            if roster.is_behind() {
                roster.ask_after = Millis(now.0 + AGAIN_MS);
            }
            // What was lost is said before it is read: else who has left since is not known any more.
            let is_late = roster.look_at.take_if(|at| *at <= now).is_some();
            if is_late && roster.is_unheard {
                roster.look_at = Some(Millis(now.0 + AGAIN_MS));
            } else if is_late {
                self.look(&name);
            }
            self.confirm(&name, now);
            self.say(&name, now);
        }
    }

    /// Asks who of those that have gone has come back, if that is due.
    fn confirm(&mut self, name: &ChannelName, now: Millis) {
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        if roster.confirm_at().is_none_or(|at| at > now) {
            return;
        }
        let (members_key, key) = (self.keys.members(name), self.keys.channel(name));
        let home = self.topology.home_of(key.as_bytes());
        let Some(up) = home.and_then(|home| self.topology.publisher(home)) else {
            // While Redis is away, nobody has gone.
            roster.ask_after = Millis(now.0 + LOOK_MS);
            return;
        };
        let user_ids = roster.gone_by(now, RECORDS_MAX);
        roster.confirming_since = Some(now);
        up.link.ask(Asked::Confirm(name.clone(), user_ids.clone()), |out| {
            calls::confirm(members_key.as_bytes(), &user_ids, out)
        });
    }

    /// Says what is to be said, if nothing is in flight.
    fn say(&mut self, name: &ChannelName, now: Millis) {
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        let is_held = roster.is_telling || roster.again_at.is_some() || roster.holds_ready;
        let is_reporting = !roster.is_behind() && roster.report_at().is_some_and(|at| at <= now);
        let is_due = is_reporting
            || roster.has_news
            || roster.is_whole
            || !roster.waiting.is_empty()
            || roster.renew_at <= now;
        if !is_held && is_due {
            self.call_members(name, now);
        }
        self.rosters.settle(name);
    }

    fn call_members(&mut self, name: &ChannelName, now: Millis) {
        let (members_key, key) = (self.keys.members(name), self.keys.channel(name));
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        let home = self.topology.home_of(key.as_bytes());
        let (others, is_sharded) = (
            home.map(|home| self.topology.other_tokens(home)).unwrap_or_default(),
            self.topology.is_sharded(),
        );
        let Some(up) = home.and_then(|home| self.topology.publisher(home)) else {
            (roster.again_at, roster.is_whole) = (Some(Millis(now.0 + AGAIN_MS)), true);
            return;
        };
        let mut is_whole = false;
        if roster.waiting.is_empty() {
            let news = match roster.is_leaving {
                false => self.broker.take_news(name, roster.is_whole, now),
                true => News { records: Vec::new(), is_whole: true, is_anybody_here: false },
            };
            is_whole = news.is_whole;
            roster.waiting = news.records.into();
            roster.is_anybody_here = news.is_anybody_here;
            (roster.has_news, roster.is_whole) = (false, false);
        }
        // What is whole is so in one call: what it does not say is gone.
        let len = if is_whole { roster.waiting.len() } else { roster.waiting.len().min(RECORDS_MAX) };
        roster.telling = roster.waiting.drain(..len).collect();
        let report_by = roster.report_by(now);
        let is_asking = roster.report_at().is_some_and(|at| at <= now);
        roster.is_reporting = report_by.is_some() && (is_asking || is_whole);
        // A Redis that has forgotten has to hear who has gone.
        let (mut unreported, mut doubtful) = (Vec::new(), Vec::new());
        for (user_id, departed) in &roster.departed {
            if departed.is_unreported(now) && is_whole {
                unreported.push(&**user_id);
            } else if is_whole || is_asking && departed.is_due(now) {
                doubtful.push(&**user_id);
            }
        }
        let teller = Teller {
            node: &self.id,
            live_ms: match roster.is_leaving {
                true => None,
                false => Some(if roster.is_anybody_here { LIVE_MS } else { 0 }),
            },
            is_whole,
            heard: roster.is_unheard.then_some(&*roster.heard),
            born: &roster.born,
            is_late: now.0 >= roster.heard_at.0 + LIVE_MS,
            report_by,
            departed: [&unreported, &doubtful],
        };
        let caller =
            Caller { script: &up.script, token: &up.token, others: &others, fresh_epoch: "", ttl_ms: 0 };
        let names = (members_key.as_bytes(), key.as_bytes());
        up.link.ask(Asked::Members(name.clone()), |out| {
            caller.members(names, teller, is_sharded, &roster.telling, out)
        });
        (roster.is_telling, roster.was_whole) = (true, is_whole);
        (roster.told_at, roster.renew_at) = (now, Millis(now.0 + RENEW_MS));
    }
}

/// The end.
impl Node {
    /// This node ends: nobody is here any more.
    pub fn leave_rosters(&mut self, now: Millis) {
        let has_said = |roster: &Roster| roster.has_said || roster.is_telling || !roster.departed.is_empty();
        let said = self.rosters.entries.iter().filter(|(_, roster)| has_said(roster));
        let names: Vec<_> = said.map(|(name, _)| name.clone()).collect();
        for name in &names {
            if let Some(roster) = self.rosters.entries.get_mut(name) {
                (roster.is_leaving, roster.is_whole) = (true, true);
                roster.waiting.clear();
            }
            self.say(name, now);
        }
    }
}

/// The very end.
impl Node {
    /// The departures of which Redis has not answered whether they are to be reported are reported now.
    pub fn report_departed(&mut self, now: Millis) {
        for (name, roster) in &mut self.rosters.entries {
            let departed = std::mem::take(&mut roster.departed).into_keys();
            for user_id in departed.chain(std::mem::take(&mut roster.reported_late)) {
                self.host.member_changed(name, &user_id, false, now);
            }
        }
    }
}

/// What is heard.
impl Node {
    /// The answer to what was said.
    pub fn heard_members(&mut self, name: &ChannelName, reply: &Reply, now: Millis) {
        let Some(Answer { was_known, came, left, born, gone, call }) = read_answer(reply) else {
            return self.not_told(name, now);
        };
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        let records: Vec<Record> = roster.telling.drain(..).map(|said| said.record).collect();
        self.broker.note_heard(name, &records);
        let has_said = std::mem::replace(&mut roster.has_said, roster.is_anybody_here);
        roster.is_telling = false;
        roster.note_call(call, now);
        let has_lost = !roster.was_whole && !roster.departed.is_empty() && born != roster.born;
        let is_forgotten = has_said && !was_known || has_lost;
        if is_forgotten {
            // Redis has forgotten all.
            (roster.is_whole, roster.look_at) = (!roster.was_whole, Some(Millis(now.0 + LOOK_MS)));
            roster.waiting.clear();
        }
        if !is_forgotten || roster.was_whole {
            roster.born = born;
        }
        if roster.is_leaving && roster.was_whole {
            roster.departed.clear();
        }
        roster.note_departed(&gone, left, now);
        roster.is_unheard = false;
        for user_id in &came {
            self.host.member_changed(name, user_id, true, now);
        }
        if !roster.is_leaving && is_late(roster.told_at, now) {
            // Another node may have reported since that they have come.
            roster.reported_late.extend(gone);
        } else {
            gone.iter().for_each(|user_id| self.host.member_changed(name, user_id, false, now));
        }
        self.say(name, now);
    }

    /// Who of those that have gone has come back.
    pub fn confirmed(&mut self, name: &ChannelName, user_ids: Vec<Box<str>>, reply: &Reply, now: Millis) {
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        let since = roster.confirming_since.take().filter(|&since| !is_late(since, now));
        let (Reply::List(values), Some(since)) = (reply, since) else {
            // Others may be about to say who has come to them while Redis was away.
            return self.not_confirmed(name, now);
        };
        let asked: HashSet<&str> = user_ids.iter().map(AsRef::as_ref).collect();
        let left_since = roster.take_asked(&asked, since);
        let (mut records, mut gone) = (Vec::new(), Vec::new());
        for (user_id, value) in user_ids.into_iter().zip(values) {
            let is_reported_late = roster.reported_late.remove(&user_id);
            match value.as_text() {
                // It had come back, and has left again.
                Some(_) if left_since.contains(&user_id) => {}
                Some(value) => {
                    let field = Whose::Member(user_id).field();
                    records.extend(Record::elsewhere(field.as_bytes(), value, &self.id));
                }
                None => {
                    if is_reported_late {
                        self.host.member_changed(name, &user_id, false, now);
                    }
                    gone.push(user_id);
                }
            }
        }
        self.note_elsewhere(name, records, false, now);
        self.broker.tell_gone(name, &gone, now);
        self.say(name, now);
    }

    fn not_confirmed(&mut self, name: &ChannelName, now: Millis) {
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        (roster.confirming_since, roster.ask_after) = (None, Millis(now.0 + LOOK_MS));
        self.rosters.settle(name);
    }

    fn note_elsewhere(&mut self, name: &ChannelName, records: Vec<Record>, are_all: bool, now: Millis) {
        let leaving = self.broker.note_elsewhere(name, records, are_all, now);
        if let Some(roster) = self.rosters.entries.get_mut(name).filter(|_| !leaving.is_empty()) {
            roster.note_leaving(leaving, now);
        }
    }

    /// What was said may have been heard or not: all is said again.
    fn not_told(&mut self, name: &ChannelName, now: Millis) {
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        (roster.is_telling, roster.is_unheard, roster.is_whole) = (false, true, true);
        roster.waiting.clear();
        roster.telling.clear();
        roster.again_at = Some(Millis(now.0 + AGAIN_MS));
        self.rosters.settle(name);
    }

    /// Who is in a channel.
    pub fn heard_look(&mut self, name: &ChannelName, reply: &Reply, now: Millis) {
        let Reply::Map(fields) = reply else { return self.not_looked(name, now) };
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        roster.is_looking = false;
        let texts = || fields.iter().filter_map(|(field, value)| Some((field.as_text()?, value.as_text()?)));
        let version = texts()
            .find_map(|(field, value)| (field == b"v").then(|| str::from_utf8(value).ok()?.parse().ok())?);
        roster.version = Some(version.unwrap_or(0));
        let is_held = std::mem::take(&mut roster.holds_ready);
        let records =
            texts().filter_map(|(field, value)| Record::elsewhere(field, value, &self.id)).collect();
        self.note_elsewhere(name, records, true, now);
        if is_held {
            self.ready(name, now);
            self.settle(name, now);
        }
        self.say(name, now);
    }

    fn not_looked(&mut self, name: &ChannelName, now: Millis) {
        let Some(roster) = self.rosters.entries.get_mut(name) else { return };
        (roster.is_looking, roster.look_at) = (false, Some(Millis(now.0 + AGAIN_MS)));
        self.rosters.settle(name);
    }

    /// Records have changed, perhaps by what this node said.
    pub fn heard_news(&mut self, name: &str, text: &[u8], now: Millis) {
        let Some(name) = self.joins.name(name) else { return };
        let Some((version, fields)) = records::read_news(text) else { return self.tally.note_unreadable() };
        let Some(roster) = self.rosters.entries.get_mut(&name) else { return };
        // What is being read has it, or is older than it.
        let Some(before) = roster.version.replace(version) else {
            roster.version = None;
            return;
        };
        if before.checked_add(1) != Some(version) && before != 0 {
            roster.look_at.get_or_insert(Millis(now.0 + LOOK_MS));
            // Redis may have forgotten what this node has said, and another one has noticed first.
            roster.renew_at = now;
        }
        let changed = fields.iter().filter_map(|(field, value)| Record::changed(field, value, &self.id));
        let changed: Vec<_> = changed.collect();
        self.note_elsewhere(&name, changed, false, now);
        self.say(&name, now);
    }
}

/// What the answer to what was said says.
struct Answer {
    /// Whether the node was known.
    was_known: bool,
    /// The members that have come, and those that have gone of which that is not to be reported yet.
    came: Users,
    left: Users,
    /// What Redis calls its hash.
    born: Box<str>,
    /// The members whose departure is to be reported.
    gone: Users,
    /// Which call this was.
    call: Box<str>,
}

/// The users of some members.
type Users = Vec<Box<str>>;

fn read_answer(reply: &Reply) -> Option<Answer> {
    let Reply::List(parts) = reply else { return None };
    let texts = |at: usize| match parts.get(at) {
        Some(Reply::List(texts)) => {
            Some(texts.iter().filter_map(|text| Some(str::from_utf8(text.as_text()?).ok()?.into())).collect())
        }
        _ => None,
    };
    let text = |at: usize| Some(str::from_utf8(parts.get(at)?.as_text()?).ok()?.into());
    Some(Answer {
        was_known: parts.get(1)?.as_number()? == 1,
        came: texts(2)?,
        left: texts(3)?,
        born: text(4)?,
        gone: texts(5)?,
        call: text(6)?,
    })
}
