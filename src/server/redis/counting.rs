//! How many subscribers the channels of this node have at other nodes: what these said last, without those that are dead.
//!
//! Each says its own by an open, within two seconds of a change, and Redis tells the nodes that have the channel. What is done with
//! the sum is the broker's and the host's.

use super::calls::Caller;
use super::counts::nodes_of;
use super::entries::Entry;
use super::lead::{Lead, is_late};
use super::link::Asked;
use super::node::Node;
use super::resp::Reply;
use super::rosters::{DEPARTED_MS, LOOK_MS};
use crate::hub::ChannelName;
use crate::server::broker::engine::keys::subscribers_elsewhere;
use crate::server::broker::engine::signal::Occupancy;
use crate::server::clock::Millis;

impl Node {
    /// The nodes that have a channel were told what each of them has.
    pub fn heard_counts(&mut self, name: &str, text: &[u8], now: Millis) {
        if let Some(name) = self.joins.name(name) {
            self.note_counts(&name, text, now);
            self.say_again(&name, text, now);
        }
    }

    /// Redis does not know any more what this node has: it has lost its memory, or another node takes this one for dead.
    fn say_again(&mut self, name: &ChannelName, text: &[u8], now: Millis) {
        let has_said = self.joins.entries.get(name).is_some_and(|entry| entry.heard > 0);
        if has_said && !nodes_of(text).any(|node| node == &*self.id) {
            self.renew(name, now);
        }
    }

    /// The answer to an open, with what there is of a channel by node, and what webhooks are to report of what it has changed.
    pub fn heard_nodes_of(&mut self, name: &ChannelName, reply: &Reply, now: Millis) {
        let Reply::List(parts) = reply else { return };
        let number = |at: usize| parts.get(at).and_then(Reply::as_number);
        let Some(text) = parts.get(4).and_then(Reply::as_text) else { return };
        let occupancy = match number(5) {
            Some(1) => Some(Occupancy::Occupied),
            Some(2) => Some(Occupancy::Vacated),
            Some(_) | None => None,
        };
        let subscribers = (number(6) == Some(1)).then(|| subscribers_elsewhere(text, "", |_| true));
        let was_vacated = !text.is_empty() && self.counts.vacated.remove(name).is_some();
        match occupancy {
            Some(Occupancy::Vacated) => {
                self.counts.vacated.insert(name.clone(), now);
                self.counts.ask_at(name, Millis(now.0 + DEPARTED_MS));
            }
            Some(Occupancy::Occupied) => {
                // It was empty for so long that it is reported to be vacated and occupied.
                if was_vacated {
                    self.host.counted(name, Some(Occupancy::Vacated), None, now);
                }
                self.host.counted(name, occupancy, None, now);
            }
            None => {}
        }
        if subscribers.is_some() {
            self.host.counted(name, None, subscribers, now);
        }
        self.note_counts(name, text, now);
    }

    /// Asks which of the channels that are vacated are to be reported, where that is due.
    pub fn tick_vacated(&mut self, now: Millis) {
        if self.is_ending() {
            // The answers to the last opens decide.
            return;
        }
        while let Some((name, at)) = self.counts.take_vacated_due(now) {
            let key = self.keys.channel(&name);
            let home = self.topology.home_of(key.as_bytes());
            match home.and_then(|home| self.topology.publisher(home)) {
                Some(up) => {
                    // It neither publishes nor begins anything.
                    let caller = Caller {
                        script: &up.script,
                        token: &up.token,
                        others: "",
                        fresh_epoch: "",
                        ttl_ms: 0,
                    };
                    let entry = self.joins.entries.get(&name);
                    let by = entry.map(|entry| entry.lead.answer_by(now));
                    let asked = Asked::Vacated(name, (at, now));
                    up.link.ask(asked, |out| caller.vacate(key.as_bytes(), &self.id, by, out));
                }
                None => self.counts.ask_at(&name, Millis(now.0 + LOOK_MS)),
            }
        }
    }

    /// What was in flight when its connection was lost.
    pub fn vacated_lost(&mut self, asked: &[(Asked, bool)], now: Millis) {
        for (asked, _) in asked {
            if let Asked::Vacated(name, _) = asked {
                self.counts.ask_at(name, Millis(now.0 + LOOK_MS));
            }
        }
    }

    /// Whether a channel that was vacated at that time is to be reported.
    pub fn vacancy_confirmed(
        &mut self,
        name: &ChannelName,
        (at, asked_at): (Millis, Millis),
        reply: &Reply,
        now: Millis,
    ) {
        let numbers = match reply {
            Reply::List(parts) => parts.first().zip(parts.get(1)),
            _ => None,
        };
        let numbers = numbers.and_then(|(verdict, time)| verdict.as_number().zip(time.as_number()));
        if let Some((entry, (_, redis_ms))) = self.joins.entries.get_mut(name).zip(numbers) {
            entry.lead = Lead::of(redis_ms, now);
        }
        // Another node may have reported since a late answer that it is occupied.
        let verdict = numbers.map(|(verdict, _)| verdict);
        let verdict = verdict.filter(|&verdict| verdict < 2 && !is_late(asked_at, now));
        let Some(verdict) = verdict else {
            return self.counts.ask_at(name, Millis(now.0 + LOOK_MS));
        };
        if self.counts.vacated.get(name) != Some(&at) || (self.is_ending() && verdict == 0) {
            return;
        }
        self.counts.vacated.remove(name);
        if verdict == 1 {
            self.host.counted(name, Some(Occupancy::Vacated), None, now);
        }
    }

    /// The channels that this node is to report as vacated are reported now.
    pub fn report_vacated(&mut self, now: Millis) {
        for name in std::mem::take(&mut self.counts.vacated).into_keys() {
            self.host.counted(&name, Some(Occupancy::Vacated), None, now);
        }
    }

    /// This node ends, and its webhooks say at once which channels are vacated: whoever comes back to one occupies it.
    pub fn leave_vacated(&mut self, now: Millis) {
        // What was to be said in two seconds is said now.
        let untold =
            self.joins.entries.iter().filter(|(_, entry)| entry.said > 0 && entry.channel.count() == 0);
        let untold: Vec<_> = untold.map(|(name, _)| name.clone()).collect();
        untold.iter().for_each(|name| self.renew(name, now));
        let is_vacated = |(name, entry): &(&ChannelName, &Entry)| {
            // Or it is about to hear that, or what it says is in flight.
            let has_said = entry.said > 0 || entry.heard > 0;
            self.counts.vacated.contains_key(*name) || (has_said && entry.channel.count() == 0)
        };
        let vacated = self.joins.entries.iter().filter(is_vacated);
        let names: Vec<_> = vacated.map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.send_last_open(name);
        }
    }

    /// Redis has this text of subscribers by node for a channel of this node.
    pub fn note_counts(&mut self, name: &ChannelName, text: &[u8], now: Millis) {
        if text.is_empty() {
            if self.counts.texts.contains_key(name) {
                self.counts.forget(name);
                self.tell_elsewhere(name, 0, now);
            }
            return;
        }
        match self.counts.texts.get_mut(name) {
            Some(before) if **before == *text => return,
            Some(before) => *before = text.into(),
            None => drop(self.counts.texts.insert(name.clone(), text.into())),
        }
        self.tell_elsewhere(name, self.elsewhere(text), now);
    }

    /// The subscribers at other nodes that live, of a text of subscribers by node.
    pub fn elsewhere(&self, text: &[u8]) -> u64 {
        subscribers_elsewhere(text, &self.id, |node| self.nodes.lives(node))
    }

    /// Other nodes live than before: what they have counts, or does not any more. O(channels). Those that dead nodes had are opened
    /// anew, which sweeps what these have left.
    pub fn recount(&mut self, now: Millis) {
        let (mut changed, mut left) = (Vec::new(), Vec::new());
        for (name, text) in &self.counts.texts {
            changed.push((name.clone(), self.elsewhere(text)));
            if nodes_of(text).any(|node| self.nodes.is_dead(node)) {
                left.push(name.clone());
            }
        }
        changed.into_iter().for_each(|(name, elsewhere)| self.tell_elsewhere(&name, elsewhere, now));
        self.joins.to_renew.extend(left);
    }

    fn tell_elsewhere(&self, name: &ChannelName, elsewhere: u64, now: Millis) {
        if self.broker.set_elsewhere(name, elsewhere) {
            self.host.recounted(name, now);
        }
    }
}
