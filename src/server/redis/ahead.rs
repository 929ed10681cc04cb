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
    /// Has who waits for a ready channel join once this node has what Redis has now. One question is in flight, whatever the
    /// number of readers.
    pub fn ask_newest(&mut self, name: &ChannelName, waiter: JoinWaiter) {
        let Some(ahead) = self.joins.ahead_of(name) else { return };
        if !ahead.asked.is_empty() {
            return ahead.next.push(waiter);
        }
        ahead.asked.push(waiter);
        self.send_newest(name);
    }

    fn send_newest(&mut self, name: &ChannelName) {
        let key = self.keys.channel(name);
        if let Some(up) = self.home_up(name) {
            up.link.ask(Asked::Newest(name.clone()), |out| calls::newest(key.as_bytes(), out));
        }
    }

    /// The answer to that. One that says nothing is as good as none: the reader joins where this node is, and is told of a gap.
    pub fn heard_newest(&mut self, name: &ChannelName, reply: &Reply, now: Millis) {
        let Some(ahead) = self.joins.ahead_of(name) else { return };
        ahead.answered.append(&mut ahead.asked);
        ahead.asked.append(&mut ahead.next);
        if !ahead.asked.is_empty() {
            self.send_newest(name);
        }
        match read_newest(reply) {
            Some(newest) => self.take(name, Event::Known(newest), now),
            None => self.settle(name, now),
        }
    }
}
