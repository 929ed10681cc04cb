//! How many subscribers the channels of this node have at other nodes: what these said last, without those that are dead.
//!
//! Each says its own by an open, within two seconds of a change, and Redis tells the nodes that have the channel. What is done with
//! the sum is the broker's and the host's.

use super::counts::nodes_of;
use super::node::Node;
use super::resp::Reply;
use crate::hub::ChannelName;
use crate::server::broker::engine::keys::subscribers_elsewhere;
use crate::server::clock::Millis;

impl Node {
    /// The nodes that have a channel were told what each of them has.
    pub fn heard_counts(&mut self, name: &str, text: &[u8], now: Millis) {
        if let Some(name) = self.joins.name(name) {
            if !text.is_empty() {
                self.host.is_occupied(&name, now);
            }
            self.note_counts(&name, text, now);
        }
    }

    /// The answer to an open, with what there is of a channel by node, how many subscribers that were before it, and whether these had
    /// just gone.
    pub fn heard_nodes_of(&mut self, name: &ChannelName, reply: &Reply, now: Millis) {
        let Reply::List(parts) = reply else { return };
        let number = |at: usize| parts.get(at).and_then(Reply::as_number);
        let Some(text) = parts.get(4).and_then(Reply::as_text) else { return };
        if let (Some(before), Some(returned)) = (number(5), number(6)) {
            let all = subscribers_elsewhere(text, "", |_| true);
            self.host.counted(name, (before, all), returned == 1, now);
        }
        self.note_counts(name, text, now);
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
