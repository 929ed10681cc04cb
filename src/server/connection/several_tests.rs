//! Connections with several subscriptions against a model: whatever the socket takes, and whoever comes and goes.
//!
//! Without a socket: the connection writes into its loop's pipe, which takes as much as it is told to.

use std::collections::{HashMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::stream::Stream;
use super::tests::{context, flush, join_from, publish, texts};
use super::*;
use crate::config::Config;
use crate::hub::{Owner, Position};

/// The key of the connection as an owner.
const OWNER: u64 = 7;

const CHANNELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// How many publications a channel keeps, at the most.
const KEPT: usize = 5;

#[derive(Clone, Debug)]
enum Operation {
    /// A publication of so many lines, which the connection gets unless it is excluded.
    Publish { channel: usize, lines: usize, is_excluded: bool },
    /// A flush with room for about so many bytes.
    Flush { room: usize },
    /// A private message.
    Answer,
    /// Joins a channel, after the last publications.
    Join { channel: usize, last: usize },
    /// Leaves a channel.
    Leave { channel: usize },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let channel = || 0..CHANNELS.len();
    let operation = prop_oneof![
        6 => (channel(), 1..5_usize, prop::bool::weighted(0.2))
            .prop_map(|(channel, lines, is_excluded)| Operation::Publish { channel, lines, is_excluded }),
        4 => (0..200_usize).prop_map(|room| Operation::Flush { room }),
        1 => Just(Operation::Answer),
        2 => (channel(), 0..KEPT + 1).prop_map(|(channel, last)| Operation::Join { channel, last }),
        1 => channel().prop_map(|channel| Operation::Leave { channel }),
    ];
    vec(operation, 1..120)
}

/// A connection, and what its peer is to receive.
struct World {
    cx: Context,
    connection: Connection,
    received: Vec<u8>,
    published: usize,
    /// The last publications of each channel.
    kept: HashMap<&'static str, VecDeque<String>>,
    /// What the connection has yet to receive of each channel that it reads.
    expected: HashMap<&'static str, VecDeque<String>>,
    answers: VecDeque<String>,
    /// What it may still receive of a channel that it has left: the rest of a started frame, or the outbox.
    left: Vec<String>,
}

impl World {
    fn new() -> Self {
        let config = Config { history: vec![("*".parse().unwrap(), KEPT)], ..Config::default() };
        let mut cx = context(config);
        cx.owner = OWNER;
        let connection = Connection::new(Stream::without_socket(), Millis(0), Door::Public);
        Self {
            cx,
            connection,
            received: Vec::new(),
            published: 0,
            kept: HashMap::new(),
            expected: HashMap::new(),
            answers: VecDeque::new(),
            left: Vec::new(),
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Publish { channel, lines, is_excluded } => {
                self.publish(CHANNELS[channel], lines, is_excluded)
            }
            Operation::Flush { room } => self.flush(room),
            Operation::Answer => {
                let text = format!("answer {}\n", self.published);
                crate::ws::encode_frame(
                    self.connection.outbox.tail(),
                    crate::ws::Opcode::Text,
                    text.as_bytes(),
                );
                self.answers.push_back(text);
            }
            Operation::Join { channel, last } => self.join(CHANNELS[channel], last),
            Operation::Leave { channel } => self.leave(CHANNELS[channel]),
        }
    }

    fn publish(&mut self, name: &'static str, lines: usize, is_excluded: bool) {
        self.published += 1;
        let text = format!("{name} {}\n", self.published).repeat(lines);
        let excluded = is_excluded.then_some(Owner { hub: 0, number: OWNER });
        publish(&mut self.cx, name, &text, excluded);
        let kept = self.kept.entry(name).or_default();
        kept.push_back(text.clone());
        kept.drain(..kept.len().saturating_sub(KEPT));
        if let Some(expected) = self.expected.get_mut(name).filter(|_| !is_excluded) {
            expected.push_back(text);
        }
    }

    fn flush(&mut self, room: usize) {
        self.connection.stream.make_room();
        self.cx.pipe.open(room);
        assert_ne!(flush(&mut self.connection, &mut self.cx), Next::Drop);
        self.received.extend(self.cx.pipe.take());
        // What a walk over all of them finds is what is listed.
        let walked: u64 = {
            let entries = self.connection.subscriptions.entries().iter();
            entries.map(|entry| self.cx.hub.lag(entry.subscription)).sum()
        };
        assert_eq!(self.connection.lag(&self.cx), walked);
    }

    fn join(&mut self, name: &'static str, last: usize) {
        if self.expected.contains_key(name) {
            return;
        }
        let position = if last == 0 { Position::Now } else { Position::Last(last) };
        join_from(&mut self.connection, name, position, &mut self.cx);
        let kept = self.kept.get(name).into_iter().flatten();
        let missed = kept.clone().skip(kept.count().saturating_sub(last)).cloned();
        self.expected.insert(name, missed.collect());
    }

    fn leave(&mut self, name: &'static str) {
        let found = self.connection.subscriptions.to_channel(name, &self.cx.hub);
        assert_eq!(found.is_some(), self.expected.contains_key(name));
        if let Some(subscription) = found {
            assert!(self.connection.detach(subscription, &mut self.cx));
            self.cx.unsubscribe(subscription);
            self.left.extend(self.expected.remove(name).into_iter().flatten());
        }
    }

    /// Every frame that has come is whole, and the next of its channel.
    fn check(mut self) {
        self.flush(usize::MAX);
        assert_eq!((self.connection.outbox.is_empty(), self.connection.lag(&self.cx)), (true, 0));
        for text in texts(&self.received) {
            let queue = if text.starts_with("answer") {
                Some(&mut self.answers)
            } else {
                self.expected.get_mut(&text[..1])
            };
            if let Some(queue) = queue
                && queue.front() == Some(&text)
            {
                queue.pop_front();
                continue;
            }
            let at = self.left.iter().position(|left| *left == text);
            assert!(at.is_some(), "{text:?} comes twice, too late or too early");
            self.left.remove(at.unwrap_or_default());
        }
        assert!(self.answers.is_empty());
        assert!(self.expected.values().all(VecDeque::is_empty), "{:?}", self.expected);
    }
}

proptest! {
    #[test]
    fn each_channel_is_received_whole_and_in_order_whatever_is_flushed_when(operations in operations()) {
        let mut world = World::new();
        operations.iter().for_each(|operation| world.apply(operation));
        world.check();
    }
}

#[test]
fn a_channel_with_many_bytes_leaves_room_for_the_others_in_every_write() {
    let mut world = World::new();
    ["a", "b"].into_iter().for_each(|name| world.join(name, 0));
    for _ in 0..50 {
        world.publish("a", 10, false);
    }
    world.flush(100);
    world.publish("b", 1, false);
    world.flush(100);
    world.publish("a", 10, false);
    world.publish("b", 1, false);
    world.flush(100);
    let read: Vec<_> = texts_so_far(&world.received);
    assert_eq!(read.iter().filter(|text| text.starts_with('b')).count(), 2, "{read:?}");
    world.check();
}

#[test]
fn a_message_to_each_of_100_channels_leaves_in_one_write() {
    let mut cx = context(Config::default());
    cx.owner = OWNER;
    let mut connection = Connection::new(Stream::without_socket(), Millis(0), Door::Public);
    let names: Vec<_> = (0..100).map(|number| format!("c{number}")).collect();
    for name in &names {
        join_from(&mut connection, name, Position::Now, &mut cx);
        publish(&mut cx, name, "x\n", None);
    }
    crate::ws::encode_frame(connection.outbox.tail(), crate::ws::Opcode::Text, b"private\n");
    connection.stream.make_room();
    cx.pipe.open(usize::MAX);
    let all: Vec<_> = connection.subscriptions.entries().iter().map(|entry| entry.subscription).collect();
    for &one in &all {
        let _ = connection.note_unread(one, cx.hub.hint(one), &mut cx.hub);
    }
    assert!(!connection.write_once(&mut cx).unwrap(), "nothing is left");
    assert_eq!(texts(&cx.pipe.take()).len(), 101);
}

/// The texts of the whole frames.
fn texts_so_far(bytes: &[u8]) -> Vec<String> {
    let mut end = 0;
    while let Some(&len) = bytes.get(end + 1)
        && end + 2 + usize::from(len) <= bytes.len()
    {
        end += 2 + usize::from(len);
    }
    texts(&bytes[..end])
}
