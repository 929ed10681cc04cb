//! What is known of the channels where it is told who is there: what is asked, what is to be said, and when.
//!
//! What follows from it is in `attending`; the lists themselves are the broker's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::lead::Lead;
use crate::hub::ChannelName;
use crate::server::broker::elsewhere::Said;
use crate::server::broker::listing::{Listing, UNLISTED};
use crate::server::clock::Millis;

/// What the message begins with by which nodes are told of other records.
pub const NEWS: &[u8] = b"u ";

/// A node says this often that who is here is here, and looks whether another one has not said so for too long.
pub const RENEW_MS: u64 = 30_000;

/// The clients are told of a member that is at no node any more after this, unless it has come back: it may have changed nodes.
const LEAVING_MS: u64 = 1_000;

/// And a departure is reported after this, as hosted Pusher has it; that a channel is vacated, too. The script does not tell of who
/// comes back before that.
pub const DEPARTED_MS: u64 = 3_000;

/// What may be missing is read, or asked, after this: other nodes have noticed by then too, and have said what they have.
pub const LOOK_MS: u64 = 2_000;

/// No call.
const NONE: &str = "0";

/// The channels where it is told who is there.
#[derive(Debug, Default)]
pub struct Rosters {
    pub entries: HashMap<ChannelName, Roster>,
    pub due: Listing,
}

/// A channel.
#[derive(Debug)]
pub struct Roster {
    /// The number of the last message, once all was read.
    pub version: Option<u64>,
    /// Whether requests to join wait until all was read.
    pub holds_ready: bool,
    /// Whether that is being read.
    pub is_looking: bool,
    /// Whether messages may be missing.
    pub has_missed: bool,
    /// Whether a call is in flight, and whether that says all.
    pub is_telling: bool,
    pub was_whole: bool,
    /// Whether this node ends, and nobody is here any more.
    pub is_leaving: bool,
    /// Whether the broker has something to say.
    pub has_news: bool,
    /// Whether all is to be said, so that what Redis has besides is gone.
    pub is_whole: bool,
    /// What is to be said next.
    pub waiting: VecDeque<Said>,
    /// What the call in flight says.
    pub telling: Vec<Said>,
    /// Whether a call was lost since the last answer, so that Redis may have done what it says.
    pub is_unheard: bool,
    /// What Redis has called its hash when it last answered, which call that was (0: none), and when.
    pub born: Box<str>,
    pub heard: Box<str>,
    pub heard_at: Millis,
    /// Redis's clock.
    pub lead: Lead,
    /// The members that have gone by what this node said, and since when: it asks whether that is to be reported.
    pub departed: BTreeMap<Box<str>, Departed>,
    /// When the call in flight was made, and whether it asks that.
    pub told_at: Millis,
    pub is_reporting: bool,
    /// The members whose departure this node is to report, and which may have come back since: it was told late.
    pub reported_late: BTreeSet<Box<str>>,
    /// The members that are at no node any more, since when, and the clients are to be told; the first the longest.
    pub leaving: VecDeque<(Millis, Box<str>)>,
    /// Since when it is being asked who of those that have gone has come back.
    pub confirming_since: Option<Millis>,
    /// Neither is asked before.
    pub ask_after: Millis,
    /// Whether the last call says that somebody is here.
    pub is_anybody_here: bool,
    /// Whether the last one that was answered said so.
    pub has_said: bool,
    pub renew_at: Millis,
    pub look_at: Option<Millis>,
    pub again_at: Option<Millis>,
    listed: u64,
}

impl Rosters {
    /// When something is due.
    pub fn due(&self) -> Option<Millis> {
        self.due.first().map(|&(at, _)| Millis(at))
    }

    /// The broker has let go of a channel.
    pub fn forget(&mut self, name: &ChannelName) {
        if let Some(mut roster) = self.entries.remove(name) {
            self.due.list(name, &mut roster.listed, UNLISTED);
        }
    }

    /// A channel is not subscribed just now.
    pub fn miss(&mut self, name: &ChannelName) {
        if let Some(roster) = self.entries.get_mut(name) {
            roster.has_missed = true;
        }
    }

    /// Whether what this node has to say of a channel is not settled: then it is not let go of.
    pub fn are_unsettled(&self, name: &ChannelName) -> bool {
        self.entries.get(name).is_some_and(Roster::is_unsettled)
    }

    /// Whether Redis does not know yet of all channels that nobody is here any more.
    pub fn are_leaving(&self) -> bool {
        self.entries.values().any(|roster| roster.is_leaving && (roster.is_telling || roster.has_said))
    }

    /// Lists when something is due for a channel.
    pub fn settle(&mut self, name: &ChannelName) {
        let Some(roster) = self.entries.get_mut(name) else { return };
        let due = roster.due().map_or(UNLISTED, |at| at.0);
        self.due.list(name, &mut roster.listed, due);
    }
}

/// A member that has gone, by what the node heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// When it heard that.
    pub at: Millis,
    /// When it had not gone yet. `None`: it may have gone long before, and another node may report it any time.
    pub after: Option<Millis>,
}

impl Departed {
    /// Whether it is time to report it.
    pub fn is_due(self, now: Millis) -> bool {
        self.at.0 + DEPARTED_MS <= now.0
    }

    /// Whether it is known that nobody can have reported it yet.
    pub fn is_unreported(self, now: Millis) -> bool {
        self.after.is_some_and(|after| now.0 < after.0 + DEPARTED_MS)
    }
}

impl Roster {
    /// One of which nothing is known.
    pub fn new(now: Millis) -> Self {
        Self {
            version: None,
            holds_ready: true,
            is_looking: false,
            has_missed: false,
            is_telling: false,
            was_whole: false,
            is_leaving: false,
            has_news: false,
            is_whole: false,
            waiting: VecDeque::new(),
            telling: Vec::new(),
            is_unheard: false,
            born: Box::default(),
            heard: NONE.into(),
            heard_at: now,
            lead: Lead::default(),
            departed: BTreeMap::new(),
            told_at: now,
            is_reporting: false,
            reported_late: BTreeSet::new(),
            leaving: VecDeque::new(),
            confirming_since: None,
            ask_after: Millis(0),
            is_anybody_here: false,
            has_said: false,
            renew_at: Millis(now.0 + RENEW_MS),
            look_at: None,
            again_at: None,
            listed: UNLISTED,
        }
    }

    /// The members of whom it is due to ask whether they have come back: else the clients are told, or it is reported.
    pub fn gone_by(&self, now: Millis, most: usize) -> Vec<Box<str>> {
        let is_left = |&&(at, _): &&(Millis, Box<str>)| at.0 + LEAVING_MS <= now.0;
        let left = self.leaving.iter().take_while(is_left).map(|(_, user_id)| user_id);
        left.chain(&self.reported_late).take(most).cloned().collect()
    }

    /// Members are at no node any more.
    pub fn note_leaving(&mut self, user_ids: Vec<Box<str>>, now: Millis) {
        // Who had left before, and has come back, has its own time again.
        let again: HashSet<&str> = user_ids.iter().map(AsRef::as_ref).collect();
        self.leaving.retain(|(_, user_id)| !again.contains(&**user_id));
        self.leaving.extend(user_ids.into_iter().map(|user_id| (now, user_id)));
    }

    /// It was asked then of these members. Returns those that have left since: answers and messages come by two connections, and what
    /// the answer says of them is older.
    pub fn take_asked(&mut self, asked: &HashSet<&str>, since: Millis) -> HashSet<Box<str>> {
        let is_older = |at: Millis| at.0 + LEAVING_MS <= since.0;
        self.leaving.retain(|(at, user_id)| !(asked.contains(&**user_id) && is_older(*at)));
        let newer = self.leaving.iter().filter(|(_, user_id)| asked.contains(&**user_id));
        newer.map(|(_, user_id)| user_id.clone()).collect()
    }

    /// Whether others may have come back of whom this node has not heard: it was away, or Redis has forgotten, and first they say who
    /// is with them.
    pub fn is_behind(&self) -> bool {
        self.has_missed || self.is_looking || self.look_at.is_some()
    }

    /// When it is due to ask who of those that have gone has come back. `None` while that is being asked.
    pub fn confirm_at(&self) -> Option<Millis> {
        let left = self.leaving.front().map(|(at, _)| Millis(at.0 + LEAVING_MS));
        let late = self.reported_late.first().map(|_| Millis(0));
        let due = left.into_iter().chain(late).min().filter(|_| self.confirming_since.is_none());
        due.map(|at| at.max(self.ask_after))
    }

    /// Until when Redis may say whose departure is to be reported, by its own clock, if it is asked now: later, others who have waited
    /// for it too may be about to say who has come back. `None` while it is not to say that.
    pub fn report_by(&self, now: Millis) -> Option<u64> {
        let is_asking = !self.is_behind() && *self.heard != *NONE;
        is_asking.then(|| self.lead.answer_by(now))
    }

    /// A call was answered.
    pub fn note_call(&mut self, call: Box<str>, now: Millis) {
        let time = call.split_once('.').and_then(|(seconds, micros)| {
            let (seconds, micros): (u64, u64) = (seconds.parse().ok()?, micros.parse().ok()?);
            seconds.checked_mul(1_000)?.checked_add(micros / 1_000)
        });
        self.lead = Lead::of(time.unwrap_or(0), now);
        (self.heard, self.heard_at) = (call, now);
    }

    /// When it is due to ask whose departure is to be reported.
    pub fn report_at(&self) -> Option<Millis> {
        let at = self.departed.values().map(|departed| departed.at).min()?;
        Some(Millis(at.0 + DEPARTED_MS).max(self.ask_after))
    }

    /// It was said who has gone, and asked which of that is to be reported: these are, and these not yet.
    pub fn note_departed(&mut self, gone: &[Box<str>], left: Vec<Box<str>>, now: Millis) {
        for user_id in gone {
            self.departed.remove(user_id);
        }
        let (asked_at, is_reporting) = (self.told_at, self.is_reporting);
        let mut asked = BTreeSet::new();
        self.departed.retain(|user_id, departed| {
            let is_asked = is_reporting && departed.is_due(asked_at);
            if is_asked {
                asked.insert(user_id.clone());
            }
            !is_asked
        });
        for user_id in left {
            // Unless it had been said before, it has gone by what was said.
            let is_known = !self.is_unheard && !asked.contains(&user_id);
            let departed = Departed { at: now, after: is_known.then_some(asked_at) };
            self.departed.entry(user_id).or_insert(departed);
        }
    }

    /// Whether Redis is to be told something, or has not answered yet what that was.
    pub fn is_unsettled(&self) -> bool {
        let is_to_say = self.has_news || self.is_whole || !self.waiting.is_empty();
        let is_anybody_gone =
            !self.departed.is_empty() || !self.leaving.is_empty() || !self.reported_late.is_empty();
        is_to_say || self.is_telling || self.again_at.is_some() || self.has_said || is_anybody_gone
    }

    fn due(&self) -> Option<Millis> {
        let say_at = match self.is_telling || self.holds_ready {
            true => None,
            false => Some(
                self.again_at.unwrap_or(self.report_at().map_or(self.renew_at, |at| at.min(self.renew_at))),
            ),
        };
        say_at.into_iter().chain(self.look_at).chain(self.confirm_at()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_to_be_asked_yet_is_not_though_more_have_gone_meanwhile() {
        let mut roster = Roster::new(Millis(0));
        assert_eq!((roster.confirm_at(), roster.report_at()), (None, None));
        roster.note_leaving(vec!["a".into()], Millis(100));
        roster.note_departed(&[], vec!["a".into()], Millis(100));
        assert_eq!((roster.confirm_at(), roster.report_at()), (Some(Millis(1_100)), Some(Millis(3_100))));
        roster.ask_after = Millis(5_000);
        roster.reported_late.insert("b".into());
        roster.note_leaving(vec!["c".into()], Millis(300));
        assert_eq!((roster.confirm_at(), roster.report_at()), (Some(Millis(5_000)), Some(Millis(5_000))));
        assert_eq!(roster.gone_by(Millis(5_000), 3), ["a".into(), "c".into(), "b".into()] as [Box<str>; 3]);
        roster.confirming_since = Some(Millis(5_000));
        assert_eq!(roster.confirm_at(), None);
    }

    #[test]
    fn who_leaves_again_has_the_whole_time_again() {
        let mut roster = Roster::new(Millis(0));
        roster.note_leaving(vec!["a".into(), "b".into()], Millis(100));
        roster.note_leaving(vec!["a".into()], Millis(900));
        assert_eq!(roster.gone_by(Millis(1_100), 9), ["b".into()] as [Box<str>; 1]);
        assert_eq!(roster.gone_by(Millis(1_900), 9).len(), 2);
    }

    #[test]
    fn who_leaves_again_while_it_is_asked_about_is_asked_about_again() {
        let mut roster = Roster::new(Millis(0));
        roster.note_leaving(vec!["a".into(), "b".into()], Millis(100));
        let user_ids = roster.gone_by(Millis(1_100), 9);
        roster.note_leaving(vec!["a".into()], Millis(1_100));
        let asked = user_ids.iter().map(AsRef::as_ref).collect();
        assert_eq!(roster.take_asked(&asked, Millis(1_100)), HashSet::from(["a".into()]));
        assert_eq!(roster.leaving, [(Millis(1_100), "a".into())]);
    }

    #[test]
    fn a_departure_is_asked_about_until_redis_does_not_wait_any_more() {
        let mut roster = Roster::new(Millis(0));
        roster.note_departed(&[], vec!["a".into(), "b".into()], Millis(100));
        (roster.told_at, roster.is_reporting) = (Millis(2_000), true);
        roster.note_departed(&[], vec!["a".into(), "c".into(), "d".into()], Millis(2_001));
        assert_eq!((roster.departed.len(), roster.report_at()), (4, Some(Millis(3_100))));
        roster.told_at = Millis(3_100);
        // The last one is due by Redis's clock already.
        roster.note_departed(&["a".into(), "d".into()], vec!["b".into()], Millis(3_101));
        let [b, c] = [(3_101, None), (2_001, Some(Millis(2_000)))]
            .map(|(at, after)| Departed { at: Millis(at), after });
        let left = [("b".into(), b), ("c".into(), c)];
        assert_eq!(roster.departed, BTreeMap::from(left));
    }

    #[test]
    fn nobody_can_have_reported_a_departure_that_was_said_a_moment_before_unless_that_was_not_heard() {
        let is_unreported = |is_unheard, now| {
            let mut roster = Roster::new(Millis(100));
            roster.is_unheard = is_unheard;
            roster.note_departed(&[], vec!["a".into()], Millis(900));
            roster.departed["a"].is_unreported(Millis(now))
        };
        assert_eq!([3_099, 3_100].map(|now| is_unreported(false, now)), [true, false]);
        assert!(!is_unreported(true, 901));
    }
}
