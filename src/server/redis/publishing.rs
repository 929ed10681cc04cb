//! What is published by way of Redis: calls of the script, and what becomes of each.
//!
//! What waits, and in which order, is `broker::engine::outgoing`'s.

use std::time::Instant;

use super::answers::read_numbers;
use super::calls::{self, Caller, ttl_ms};
use super::link::Asked;
use super::node::Node;
use super::refusal::{Fate, Reason, Refusal};
use super::resp::Reply;
use super::topology::{MasterId, place_of};
use crate::hub::{ChannelName, Published};
use crate::server::broker::answer::Receipt;
use crate::server::broker::draft::Draft;
use crate::server::broker::engine::keys::{BadKnown, Known};
use crate::server::broker::engine::outgoing::{Call, Item, Settled};
use crate::server::broker::engine::{Ticket, stored};
use crate::server::clock::Millis;

/// A call that was refused for now is made again after this long: the time of a key's migration.
const AGAIN_MS: u64 = 20;

/// A call that was sent elsewhere this often goes there after a while: two masters send it to each other.
const HOPS_MAX: u8 = 4;

/// But not when less than this is left: one that is not answered by then may have been executed, and a refused one is known not to be.
const LAST_TRY_MS: u64 = 100;

/// A call whose master is away is made again after this long, if it is back.
const AWAY_MS: u64 = 20;

impl Node {
    /// Takes a publication.
    pub fn publish(&mut self, draft: &Draft, ticket: Ticket, now: Millis) {
        let record = stored::record(draft, &self.id);
        let key = ticket.keyed();
        // Who comes when all others were told that Redis is away is told so too.
        let is_away = self.is_away(now) && !self.topology.masters().any(|(_, master)| master.publish.is_up());
        let deadline = if is_away { now } else { Millis(now.0 + self.timeout_ms) };
        self.outgoing.add(draft.channel.clone(), Item { record, key, ticket, deadline });
    }

    /// Makes the calls that can be made, and gives up what has waited too long.
    pub fn make_calls(&mut self, now: Millis) {
        let expired = self.outgoing.expire(now);
        self.settle_all(expired);
        while self.has_room()
            && let Some(call) = self.outgoing.next_call()
        {
            self.make_call(&call, now);
        }
    }

    /// Whether masters take more. While none is there nothing is tried: what waits is called for when one has come.
    fn has_room(&mut self) -> bool {
        let mut rooms =
            self.topology.masters().filter_map(|(_, master)| Some(master.publish.up()?.link.has_room()));
        rooms.next().is_some_and(|first| first && rooms.all(|room| room))
    }

    fn make_call(&mut self, call: &Call, now: Millis) {
        let name = call.channel.as_str();
        let redirect = self.redirects.get_mut(name).and_then(|redirected| redirected.to.take());
        let (key, is_sharded) = (self.keys.channel(&call.channel), self.topology.is_sharded());
        let home = redirect.or_else(|| self.topology.home_of(key.as_bytes()));
        let is_asking = redirect.is_some();
        let limits = self.broker.limits_of(&call.channel);
        let others = home.map(|home| self.topology.other_tokens(home)).unwrap_or_default();
        let Some(up) = home.and_then(|home| self.topology.publisher(home)) else {
            return self.outgoing.again(name, Millis(now.0 + AWAY_MS));
        };
        let caller = Caller {
            script: &up.script,
            token: &up.token,
            others: &others,
            fresh_epoch: &super::dice::fresh_epoch(),
            ttl_ms: ttl_ms(&limits),
        };
        if is_asking {
            up.link.ask(Asked::Asking, calls::asking);
        }
        let keyed =
            call.key.map(|keyed| (self.keys.key(&call.channel, keyed.digest), keyed.fingerprint.to_string()));
        let keyed = keyed.as_ref().map(|(key, fingerprint)| (key.as_bytes(), fingerprint.as_str()));
        let known = self.joins.entries.get(&call.channel).and_then(|entry| entry.channel.position());
        let write = |out: &mut _| {
            caller.publish(key.as_bytes(), keyed, (&limits, is_sharded), known, &call.records, out);
        };
        let records = call.records.len() as u64;
        up.link.ask(Asked::Publish(call.channel.clone(), records, Instant::now()), write);
    }

    /// The answer to a call.
    pub fn called(&mut self, master: MasterId, channel: &ChannelName, reply: &Reply, now: Millis) {
        let (name, mut others) = (channel.as_str(), 0);
        let settled = match reply {
            Reply::List(parts) => match read_numbers(parts) {
                Some((first, last)) => {
                    others = self.elsewhere(parts.get(3).and_then(Reply::as_text).unwrap_or_default());
                    self.outgoing.answered(name, first, last)
                }
                // What it means is not known, nor what it has done.
                None => self.outgoing.cut(name, true),
            },
            Reply::Text(text) => match Known::read(text) {
                Ok(Known { fingerprint, id, nodes }) => {
                    others = self.elsewhere(nodes);
                    self.outgoing.known(name, fingerprint, id)
                }
                // Nothing was executed, and the same would be found again.
                Err(BadKnown) => self.outgoing.refused(name),
            },
            Reply::Error(error) => return self.refused(master, channel, error, now),
            Reply::Number(_) | Reply::Nil | Reply::Map(_) | Reply::Push(_) => self.outgoing.cut(name, true),
        };
        self.settle_with(settled, others);
    }

    /// Makes a call again after a while that was refused for now, or gives it up as refused when its time is over.
    fn publish_again(&mut self, name: &str, now: Millis) {
        let at = Millis(now.0 + AGAIN_MS);
        let deadline = self.outgoing.deadline_of(name).filter(|deadline| deadline.0 < at.0 + LAST_TRY_MS);
        self.outgoing.again(name, deadline.map_or(at, |deadline| deadline.max(at)));
    }

    fn refused(&mut self, master: MasterId, channel: &ChannelName, error: &[u8], now: Millis) {
        let name = channel.as_str();
        let refusal = self.refusal(master, error);
        let what = format!("to publish to channel {channel}");
        match refusal.fate() {
            Fate::Never | Fate::Unknown => self.trouble.note_refused(&what, &refusal, now),
            Fate::Elsewhere => self.tally.note_redirect(),
            Fate::LoadScript | Fate::Again | Fate::AgainAtMaster => {}
        }
        match refusal.fate() {
            Fate::LoadScript => {
                self.load_script(master);
                self.outgoing.elsewhere(name);
            }
            Fate::Again => self.publish_again(name, now),
            Fate::AgainAtMaster => {
                self.topology.scout(now);
                self.publish_again(name, now);
            }
            Fate::Elsewhere => match self.follow(channel, &refusal.reason, now) {
                true => self.outgoing.elsewhere(name),
                false => self.publish_again(name, now),
            },
            Fate::Never => {
                let settled = self.outgoing.refused(name);
                self.settle_all(settled);
            }
            Fate::Unknown => {
                let settled = self.outgoing.cut(name, true);
                self.settle_all(settled);
            }
        }
    }

    /// What Redis has refused at a master.
    pub fn refusal(&mut self, master: MasterId, error: &[u8]) -> Refusal {
        let place = self.topology.master(master).map(|master| master.place().clone());
        Refusal::of(error, place.as_ref().map_or("", |place| place.host()))
    }

    /// Goes where a slot is said to be; false if not at once.
    fn follow(&mut self, channel: &ChannelName, reason: &Reason, now: Millis) -> bool {
        let to = self.note_redirect(reason, now);
        let redirected = self.redirects.entry(channel.clone()).or_default();
        redirected.hops = redirected.hops.saturating_add(1);
        redirected.to = to.filter(|_| matches!(reason, Reason::Ask(_)));
        to.is_some() && redirected.hops <= HOPS_MAX
    }

    /// Takes note of where a slot is said to be: that master, if it is known.
    pub fn note_redirect(&mut self, reason: &Reason, now: Millis) -> Option<MasterId> {
        let redirect = match reason {
            Reason::Moved(redirect) => {
                self.topology.note_moved(redirect.slot, &redirect.address);
                self.topology.scout(now);
                redirect
            }
            Reason::Ask(redirect) => redirect,
            _ => return None,
        };
        let id = self.topology.id_at(&place_of(&redirect.address));
        if id.is_none() {
            self.topology.scout(now);
        }
        id
    }

    /// The connection to publish at a master is lost.
    pub fn calls_lost(&mut self, asked: Vec<(Asked, bool)>) {
        for (asked, was_written) in asked {
            if let Asked::Publish(channel, ..) = asked {
                let settled = self.outgoing.cut(channel.as_str(), was_written);
                self.settle_all(settled);
            }
        }
    }

    fn settle_all(&mut self, settled: Vec<Settled<Ticket>>) {
        self.settle_with(settled, 0);
    }

    /// Tells publishers what has become of their publications. At other nodes there are this many subscribers.
    fn settle_with(&mut self, settled: Vec<Settled<Ticket>>, others: u64) {
        for Settled { ticket, outcome } in settled {
            if !self.redirects.is_empty() {
                self.redirects.remove(ticket.channel().as_str());
            }
            let outcome = outcome.map(|numbered| {
                let own = self.broker.subscribers_len(ticket.channel().as_str()).unwrap_or(0);
                let subscribers = own + others;
                let published = Published { id: numbered.id, subscribers };
                match numbered.is_replay {
                    true => Receipt::of_earlier(published),
                    false => Receipt::of_new(published),
                }
            });
            self.tally.note_outcome(outcome.err());
            self.broker.settle(ticket, outcome);
        }
    }
}
