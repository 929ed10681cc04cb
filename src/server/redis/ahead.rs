//! Readers that have more of a channel than this node: they come from a node that got it sooner, and join once this one has what
//! Redis has.
//!
//! Redis says how far a channel is over the connection that publications come by, so that those before its answer have come.
//! How what is missing then is read is `joins`'.

use super::answers::read_newest;
use super::calls;
use super::link::Asked;
use super::node::Node;
use super::resp::Reply;
use crate::hub::ChannelName;
use crate::server::broker::engine::signal::Event;
use crate::server::broker::engine::waiting::JoinWaiter;
use crate::server::clock::Millis;

impl Node {
    /// Has who waits for a ready channel join once this node has what Redis has now, or be refused when its time is over.
    pub fn wait_for_newest(
        &mut self,
        name: &ChannelName,
        (until, waiter): (Millis, JoinWaiter),
        now: Millis,
    ) {
        let Some(ahead) = self.joins.ahead_of(name) else { return };
        ahead.add(until, waiter);
        self.ask_newest(name);
        self.settle(name, now);
    }

    /// Asks how far a channel is, if somebody waits for that and it is known whom to ask.
    pub fn ask_newest(&mut self, name: &ChannelName) {
        let key = self.keys.channel(name);
        let Some(entry) = self.joins.entries.get_mut(name) else { return };
        let Some(home) = entry.home else { return };
        let Some(ahead) = &mut entry.ahead else { return };
        if let Some(up) = self.topology.subscriber(home)
            && ahead.ask()
        {
            up.link.ask(Asked::Newest(name.clone()), |out| calls::newest(key.as_bytes(), out));
        }
    }

    /// The answer to that. Where Redis has nothing of the channel, its reader joins where this node is, and is told of a gap.
    pub fn heard_newest(&mut self, name: &ChannelName, reply: &Reply, now: Millis) {
        let Some(ahead) = self.joins.entries.get_mut(name).and_then(|entry| entry.ahead.as_mut()) else {
            return;
        };
        if let Reply::Error(_) = reply {
            ahead.note_refused(now);
            self.settle(name, now);
            return self.ask_newest(name);
        }
        ahead.note_answered();
        self.ask_newest(name);
        match read_newest(reply) {
            Some(newest) => self.take(name, Event::Known(newest), now),
            None => self.settle(name, now),
        }
    }
}
