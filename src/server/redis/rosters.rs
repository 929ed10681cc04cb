//! What is known of the channels where it is told who is there: what is asked, what is to be said, and when.
//!
//! What follows from it is in `attending`; the lists themselves are the broker's.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::hub::ChannelName;
use crate::server::broker::elsewhere::{News, Said};
use crate::server::broker::engine::records::{Record, Whose};
use crate::server::broker::listing::{Listing, UNLISTED};
use crate::server::clock::Millis;

/// What the message begins with by which nodes are told of other records.
pub const NEWS: &[u8] = b"u ";

/// A node says this often that who is here is here, and looks whether another one has not said so for too long.
pub const RENEW_MS: u64 = 30_000;

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
    /// What Redis has called its hash when it last answered, the number of that answer, and when it was.
    pub born: Box<str>,
    pub heard: u64,
    pub heard_at: Millis,
    /// The members whose departure this node reports: by what number that was decided, and when it was heard.
    pub departed: BTreeMap<Box<str>, (u64, Millis)>,
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
            heard: 0,
            heard_at: now,
            departed: BTreeMap::new(),
            is_anybody_here: false,
            has_said: false,
            renew_at: Millis(now.0 + RENEW_MS),
            look_at: None,
            again_at: None,
            listed: UNLISTED,
        }
    }

    /// What this node says at its end: nobody is here, and whose departure it reports is not waited for any more.
    pub fn last_news(&self) -> News {
        let departed = |user_id: &str| Said {
            record: Record { whose: Whose::Member(user_id.into()), here: None },
            is_known: false,
        };
        let records = self.departed.keys().map(|user_id| departed(user_id)).collect();
        News { records, is_whole: true, is_anybody_here: false }
    }

    /// Whether Redis is to be told something, or has not answered yet what that was.
    pub fn is_unsettled(&self) -> bool {
        let is_to_say = self.has_news || self.is_whole || !self.waiting.is_empty();
        is_to_say || self.is_telling || self.again_at.is_some() || self.has_said
    }

    fn due(&self) -> Option<Millis> {
        let say_at = match self.is_telling || self.holds_ready {
            true => None,
            false => Some(self.again_at.unwrap_or(self.renew_at)),
        };
        say_at.into_iter().chain(self.look_at).min()
    }
}
