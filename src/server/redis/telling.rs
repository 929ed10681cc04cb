//! What this node tells the others besides publications, and hears of them: on the channel of the nodes, once each. What has to reach
//! those that do not listen just then is kept in a sorted set too, by its time, which a node reads whenever it begins to listen.
//!
//! What follows from it is the host's.

use super::link::Asked;
use super::node::Node;
use super::resp::{Command, Reply};
use super::told::{ENDED_MAX, WAITING_MAX};
use crate::hub::ChannelName;
use crate::server::broker::engine::tidings::Tiding;
use crate::server::clock::{Millis, unix_ms};

/// How long revocations are kept, in seconds: longer than a token lives, with what clocks may differ by.
const REVOKED_KEPT_S: u64 = 25 * 60 * 60;

/// How long it is kept whose connections were to end, in seconds: longer than Redis is away of a sudden.
const ENDED_KEPT_S: u64 = 60 * 60;

/// An empty cache channel is reported once in this time: that for which an event is kept.
const MISS_MS: u64 = 30 * 60 * 1000;

/// The most that are read: see [`WAITING_MAX`].
const READ_MAX: u64 = 10_000;

impl Node {
    /// Tells the other nodes, as soon as Redis is there. The latest are told if too many wait.
    pub fn tell(&mut self, tiding: Tiding) {
        if self.telling.waiting.len() == WAITING_MAX {
            self.telling.waiting.pop_front();
        }
        if let Tiding::Terminate { .. } = &tiding {
            // That has been done here.
            self.telling.note_ended(&tiding);
        }
        self.telling.waiting.push_back(tiding);
    }

    /// Where something is kept for nodes that do not hear it, and for how long, in seconds.
    fn kept_at(&self, tiding: &Tiding) -> (&str, u64) {
        match tiding {
            Tiding::UserRevoked { .. } | Tiding::TokenRevoked { .. } => (self.keys.revoked(), REVOKED_KEPT_S),
            Tiding::Terminate { .. } => (self.keys.ended(), ENDED_KEPT_S),
        }
    }

    /// A cache channel had no event for a new subscriber: the first node that says so reports it. Where Redis is away nobody does.
    pub fn missed(&mut self, channel: ChannelName) {
        let key = self.keys.miss(&channel);
        let Some(up) = self.topology.publisher_of(key.as_bytes()) else { return };
        let command = |out: &mut _| {
            let command = Command::new(out, 6).word(b"SET").word(key.as_bytes()).word(self.id.as_bytes());
            drop(command.word(b"NX").word(b"PX").number(MISS_MS));
        };
        up.link.ask(Asked::Miss(channel), command);
    }

    /// Tells what waits, where there is a connection for it.
    pub fn tell_waiting(&mut self) {
        if self.telling.is_to_read && self.ask_kept() {
            self.telling.is_to_read = false;
        }
        while let Some(tiding) = self.telling.waiting.pop_front() {
            if !self.send_tiding(&tiding) {
                return self.telling.waiting.push_front(tiding);
            }
        }
    }

    /// Tells again what Redis has refused to keep: a Redis that is full may have room by now.
    pub fn tell_kept_later(&mut self) {
        for tiding in self.telling.take_unkept() {
            self.tell(tiding);
        }
    }

    fn ask_kept(&mut self) -> bool {
        let kept = [(self.keys.revoked(), READ_MAX), (self.keys.ended(), ENDED_MAX as u64)];
        for (key, most) in kept {
            let Some(up) = self.topology.publisher_of(key.as_bytes()) else { return false };
            // The latest first.
            let command = |out: &mut _| {
                let command = Command::new(out, 5).word(b"ZRANGE").word(key.as_bytes()).number(0);
                drop(command.number(most - 1).word(b"REV"));
            };
            up.link.ask(Asked::Kept, command);
        }
        true
    }

    fn send_tiding(&mut self, tiding: &Tiding) -> bool {
        let (key, kept_s) = self.kept_at(tiding);
        let (key, at_s, text) = (key.to_owned(), tiding.at_s(), tiding.to_text());
        let (key, channel) = (key.as_bytes(), self.keys.nodes().as_bytes());
        let Some(up) = self.topology.publisher_of(key) else { return false };
        let add = |out: &mut _| {
            drop(Command::new(out, 4).word(b"ZADD").word(key).number(at_s).word(text.as_bytes()));
        };
        up.link.ask(Asked::Keep(tiding.clone()), add);
        let forget = |out: &mut _| {
            let command = Command::new(out, 4).word(b"ZREMRANGEBYSCORE").word(key).word(b"-inf");
            drop(command.number(at_s.saturating_sub(kept_s)));
        };
        up.link.ask(Asked::Forget, forget);
        let expire =
            |out: &mut _| drop(Command::new(out, 3).word(b"PEXPIRE").word(key).number(kept_s * 1000));
        up.link.ask(Asked::Forget, expire);
        let message = format!("{} {text}", self.id);
        let publish = |out: &mut _| {
            drop(Command::new(out, 3).word(b"PUBLISH").word(channel).word(message.as_bytes()));
        };
        up.link.ask(Asked::Tell(tiding.clone()), publish);
        true
    }

    /// Commands that were in flight when their connection was lost: what was to be told is told again. It does no harm twice.
    pub fn tell_again(&mut self, asked: &[(Asked, bool)]) {
        for (asked, _) in asked {
            match asked {
                Asked::Tell(tiding) => self.tell(tiding.clone()),
                Asked::Kept => self.telling.begin(),
                _ => {}
            }
        }
    }

    /// A message on the channel of the nodes.
    pub fn heard_node(&mut self, text: &[u8], now: Millis) {
        if text.starts_with(self.id.as_bytes()) {
            if self.nodes.heard_own(now) {
                self.say_all_again();
            }
            return;
        }
        let tiding = str::from_utf8(text)
            .ok()
            .and_then(|text| text.split_once(' '))
            .and_then(|(_, rest)| Tiding::read(rest));
        match tiding {
            Some(tiding) => self.told(tiding),
            None if self.nodes.heard(text, now) => self.recount(now),
            None => {}
        }
    }

    /// What is kept of what nodes were told.
    pub fn heard_kept(&mut self, reply: &Reply) {
        let Reply::List(parts) = reply else { return };
        let now_s = unix_ms() / 1000;
        let texts = parts.iter().filter_map(|part| str::from_utf8(part.as_text()?).ok());
        let kept: Vec<_> = texts.filter_map(Tiding::read).collect();
        // The latest is the last that is remembered.
        for tiding in kept.into_iter().rev() {
            let (_, kept_s) = self.kept_at(&tiding);
            let is_earlier = matches!(tiding, Tiding::Terminate { at_ms, .. } if at_ms < self.began_unix_ms);
            // Nobody was here before this node was.
            if tiding.at_s().saturating_add(kept_s) > now_s && !is_earlier {
                self.told(tiding);
            }
        }
    }

    /// Another node tells what all are to do.
    fn told(&mut self, tiding: Tiding) {
        if matches!(tiding, Tiding::Terminate { .. }) && !self.telling.note_ended(&tiding) {
            return;
        }
        self.host.told(tiding);
    }
}
