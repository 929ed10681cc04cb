//! Channels of two nodes against a model of Redis that loses publications, repeats them, trims, forgets, restarts and fails over,
//! over connections that break, delay and refuse.
//!
//! What a subscriber hears is checked against all that was ever published: no hole that no gap tells, nothing twice, one payload
//! an identifier.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::leaving::QUIET_MS;
use super::*;
use crate::server::broker::engine::filling::HELD_LEN_MAX;

const NODES: usize = 2;

/// Steps until everything is quiet, once nothing fails any more: far more than a correct channel takes.
const CALM_ROUNDS_MAX: usize = 2_000;

const RULES: Rules = Rules { keep: 5, renew_ms: 10_000, phase: 100 };

/// What happens. A number names a node, or how much of it.
#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    /// So many stay.
    Trim(u8),
    /// The key is deleted, evicted or expired.
    Delete,
    /// Redis restarts, with what it had.
    Restart,
    /// A replica is promoted that has not heard of so many publications.
    Failover(u8),
    /// Redis executes some commands of the node.
    Execute(usize, u8),
    /// The node hears some of what Redis has sent.
    Hear(usize, u8),
    /// Both, until there is nothing left.
    Settle(usize),
    /// The publication at this place on the way to the node is lost, or comes again later.
    Lose(usize, u8),
    Repeat(usize, u8),
    Cut(usize),
    Connect(usize),
    /// Redis ends the subscription. What is on its way still arrives.
    Unsubscribed(usize),
    /// The next command is refused.
    Refuse(usize),
    Want(usize),
    Unwant(usize),
    Count(usize, u8),
    /// The node may hold so many small publications from now on.
    Room(usize, u8),
    After(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..NODES;
    let step = prop_oneof![
        30 => (1..6_u8).prop_map(Step::Publish),
        1 => (60..140_u8).prop_map(Step::Publish),
        20 => (node(), 1..4_u8).prop_map(|(node, count)| Step::Execute(node, count)),
        20 => (node(), 1..4_u8).prop_map(|(node, count)| Step::Hear(node, count)),
        20 => node().prop_map(Step::Settle),
        6 => (0..8_u8).prop_map(Step::Trim),
        2 => Just(Step::Delete),
        1 => Just(Step::Restart),
        1 => (0..4_u8).prop_map(Step::Failover),
        15 => (node(), 0..4_u8).prop_map(|(node, place)| Step::Lose(node, place)),
        5 => (node(), 0..4_u8).prop_map(|(node, place)| Step::Repeat(node, place)),
        2 => node().prop_map(Step::Cut),
        8 => node().prop_map(Step::Connect),
        2 => node().prop_map(Step::Unsubscribed),
        3 => node().prop_map(Step::Refuse),
        6 => node().prop_map(Step::Want),
        4 => node().prop_map(Step::Unwant),
        2 => (node(), 0..3_u8).prop_map(|(node, count)| Step::Count(node, count)),
        2 => (node(), 0..6_u8).prop_map(|(node, room)| Step::Room(node, room)),
        6 => prop_oneof![1..100_u64, 1_000..12_000_u64, Just(QUIET_MS)].prop_map(Step::After),
    ];
    vec(step, 0..300)
}

/// Redis, as far as the script knows one channel.
#[derive(Debug, Default)]
struct Redis {
    /// The epoch with its newest publication, and the token under which they were drawn.
    newest: Option<(PublicationId, u64)>,
    oldest: u64,
    kept: BTreeMap<u64, Bytes>,
    token: u64,
    epochs: u64,
    /// The subscribers of each node.
    counts: [u64; NODES],
    /// All that was ever published.
    published: HashMap<PublicationId, Bytes>,
}

impl Redis {
    /// The newest publication, after a new epoch has begun where one must.
    fn position(&mut self) -> PublicationId {
        match self.newest {
            Some((newest, token)) if token == self.token => newest,
            Some(_) | None => self.begin(),
        }
    }

    fn begin(&mut self) -> PublicationId {
        self.epochs += 1;
        let newest = PublicationId { epoch: self.epochs, sequence: 0 };
        self.newest = Some((newest, self.token));
        (self.oldest, self.kept, self.counts) = (1, BTreeMap::new(), [0; NODES]);
        newest
    }

    fn publish(&mut self) -> Record {
        let before = self.position();
        let id = PublicationId { sequence: before.sequence + 1, ..before };
        let stored = Bytes::from(format!("payload {}", self.published.len()));
        self.newest = Some((id, self.token));
        self.kept.insert(id.sequence, stored.clone());
        assert!(self.published.insert(id, stored.clone()).is_none(), "the model gives {id} twice");
        Record { id, stored }
    }

    fn trim(&mut self, count: usize) {
        while self.kept.len() > count {
            self.kept.pop_first();
            self.oldest += 1;
        }
    }

    fn open(&mut self, node: usize, count: u64, known: Option<PublicationId>) -> Opening {
        let mut newest = self.position();
        if known.is_some_and(|known| known.epoch == newest.epoch && known.sequence > newest.sequence) {
            newest = self.begin();
        }
        self.counts[node] = count;
        Opening { newest, oldest: self.oldest }
    }

    fn read(&self, from: u64, to: u64) -> Reading {
        let epoch = self.newest.map(|(newest, _)| newest.epoch);
        let stored = (from..=to).map(|sequence| self.kept.get(&sequence).cloned()).collect();
        Reading { epoch, oldest: if epoch.is_some() { self.oldest } else { 0 }, stored }
    }

    fn restart(&mut self) {
        self.token += 1;
    }

    fn fail_over(&mut self, late: u64) {
        self.restart();
        if let Some((newest, _)) = &mut self.newest {
            newest.sequence = newest.sequence.saturating_sub(late);
            let last = newest.sequence;
            self.kept.retain(|&sequence, _| sequence <= last);
        }
    }
}

/// A node: its channel, its connection, and what its subscriber has heard.
#[derive(Debug)]
struct Node {
    channel: Option<Channel>,
    is_connected: bool,
    is_subscribed: bool,
    /// Whether Redis has ended the subscription, and the node has not looked yet where the channel is now.
    is_adrift: bool,
    is_refusing: bool,
    refusals: u32,
    commands: VecDeque<Action>,
    wire: VecDeque<Event>,
    room: usize,
    is_ready: bool,
    heard: Option<PublicationId>,
}

impl Node {
    fn new() -> Self {
        Self {
            channel: None,
            is_connected: true,
            is_subscribed: false,
            is_adrift: false,
            is_refusing: false,
            refusals: 0,
            commands: VecDeque::new(),
            wire: VecDeque::new(),
            room: usize::MAX,
            is_ready: false,
            heard: None,
        }
    }
}

#[derive(Debug)]
struct World {
    redis: Redis,
    nodes: [Node; NODES],
    serials: u32,
    now: Millis,
}

impl World {
    fn new() -> Self {
        Self { redis: Redis::default(), nodes: [Node::new(), Node::new()], serials: 0, now: Millis(0) }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish(count) => (0..count).for_each(|_| self.publish()),
            Step::Trim(count) => self.redis.trim(count.into()),
            Step::Delete => self.redis.newest = None,
            Step::Restart => {
                self.redis.restart();
                (0..NODES).for_each(|node| self.cut(node));
            }
            Step::Failover(late) => {
                self.redis.fail_over(late.into());
                (0..NODES).for_each(|node| self.cut(node));
            }
            Step::Execute(node, count) => (0..count).for_each(|_| _ = self.execute(node)),
            Step::Hear(node, count) => (0..count).for_each(|_| _ = self.hear(node)),
            Step::Settle(node) => while self.execute(node).or_else(|| self.hear(node)).is_some() {},
            Step::Lose(node, place) => drop(self.take_push(node, place.into())),
            Step::Repeat(node, place) => {
                let pushed = self.push_at(node, place.into()).map(|at| self.nodes[node].wire[at].clone());
                self.nodes[node].wire.extend(pushed);
            }
            Step::Cut(node) => self.cut(node),
            Step::Connect(node) => self.connect(node),
            Step::Unsubscribed(node) if self.nodes[node].is_subscribed => {
                self.nodes[node].is_subscribed = false;
                self.nodes[node].is_adrift = true;
                self.nodes[node].commands.clear();
                self.take(node, Event::Disconnected);
            }
            Step::Unsubscribed(_) => {}
            Step::Refuse(node) => self.nodes[node].is_refusing = true,
            Step::Want(node) => self.want(node),
            Step::Unwant(node) => self.take(node, Event::Unwanted),
            Step::Count(node, count) => self.take(node, Event::Counted(count.into())),
            Step::Room(node, room) => self.nodes[node].room = usize::from(room) * 100,
            Step::After(ms) => {
                self.now.0 += ms;
                (0..NODES).for_each(|node| self.tick(node));
            }
        }
    }

    fn publish(&mut self) {
        let record = self.redis.publish();
        for node in self.nodes.iter_mut().filter(|node| node.is_connected && node.is_subscribed) {
            node.wire.push_back(Event::Pushed(record.clone(), node.room));
        }
    }

    fn push_at(&self, node: usize, place: usize) -> Option<usize> {
        let wire = self.nodes[node].wire.iter().enumerate();
        wire.filter(|(_, event)| matches!(event, Event::Pushed(..))).nth(place).map(|(at, _)| at)
    }

    fn take_push(&mut self, node: usize, place: usize) -> Option<Event> {
        let at = self.push_at(node, place)?;
        self.nodes[node].wire.remove(at)
    }

    fn cut(&mut self, node: usize) {
        let lost = &mut self.nodes[node];
        (lost.is_connected, lost.is_subscribed, lost.is_adrift) = (false, false, false);
        lost.commands.clear();
        lost.wire.clear();
        self.take(node, Event::Disconnected);
    }

    fn connect(&mut self, node: usize) {
        let cut = &mut self.nodes[node];
        let was_adrift = std::mem::take(&mut cut.is_adrift);
        if !std::mem::replace(&mut cut.is_connected, true) || was_adrift {
            self.take(node, Event::Connected);
        }
    }

    fn want(&mut self, node: usize) {
        if self.nodes[node].channel.is_some() {
            return self.take(node, Event::Wanted);
        }
        let mut actions = Vec::new();
        let wanted = &mut self.nodes[node];
        (wanted.is_ready, wanted.heard) = (false, None);
        self.serials += 1;
        let is_connected = wanted.is_connected && !wanted.is_adrift;
        wanted.channel = Some(Channel::new(RULES, self.serials, is_connected, self.now, &mut actions));
        self.act(node, actions);
    }

    fn take(&mut self, node: usize, event: Event) {
        let mut actions = Vec::new();
        let Some(channel) = &mut self.nodes[node].channel else { return };
        channel.take(event, self.now, &mut actions);
        assert!(channel.held_len() <= HELD_LEN_MAX);
        self.act(node, actions);
    }

    fn tick(&mut self, node: usize) {
        let due = |world: &Self| world.nodes[node].channel.as_ref().and_then(Channel::due);
        if due(self).is_some_and(|at| at <= self.now) {
            self.take(node, Event::Tick);
            assert!(due(self).is_none_or(|at| at > self.now), "it is due again at once: {self:?}");
        }
    }

    /// What the node does, as far as its subscriber hears of it; commands wait for Redis.
    fn act(&mut self, index: usize, actions: Vec<Action>) {
        let node = &mut self.nodes[index];
        for action in actions {
            match action {
                Action::Subscribe | Action::Unsubscribe | Action::Open { .. } | Action::Read { .. } => {
                    assert!(node.is_connected, "{action:?} without a connection");
                    node.commands.push_back(action);
                }
                Action::Begin(since) => {
                    assert!(!node.is_ready, "somebody may have joined");
                    node.heard = Some(since);
                }
                Action::Ready => assert!(!std::mem::replace(&mut node.is_ready, true)),
                Action::Deliver(Record { id, stored }) => {
                    let before = node.heard.expect("nothing is delivered ahead of a beginning");
                    assert_eq!(id, PublicationId { sequence: before.sequence + 1, ..before });
                    assert_eq!(self.redis.published[&id], stored, "one payload an identifier");
                    node.heard = Some(id);
                }
                Action::Gap(Gap { missed }, since) => {
                    let before = node.heard.expect("nothing is missing ahead of a beginning");
                    assert!(node.is_ready);
                    if let Some(missed) = missed {
                        assert_eq!((before.epoch, before.sequence + missed), (since.epoch, since.sequence));
                        let is_current =
                            self.redis.newest.is_some_and(|(newest, _)| newest.epoch == since.epoch);
                        let mut lost = before.sequence + 1..=since.sequence;
                        assert!(!is_current || lost.all(|sequence| !self.redis.kept.contains_key(&sequence)));
                    } else {
                        assert_ne!(before.epoch, since.epoch, "nothing was lost");
                    }
                    node.heard = Some(since);
                }
                Action::Forget => {
                    node.channel = None;
                    // It gives up after several refusals.
                    let is_told = node.refusals > DOUBLINGS_MAX || self.redis.counts[index] == 0;
                    let is_coming = |command: &Action| matches!(command, Action::Open { count: 1.., .. });
                    assert!(is_told && !node.commands.iter().any(is_coming), "Redis believes in subscribers");
                }
            }
        }
    }

    fn execute(&mut self, index: usize) -> Option<()> {
        let node = &mut self.nodes[index];
        let command = node.commands.pop_front()?;
        match command {
            Action::Subscribe => node.is_subscribed = true,
            Action::Unsubscribe => node.is_subscribed = false,
            Action::Open { attempt, .. } if std::mem::take(&mut node.is_refusing) => {
                node.refusals += 1;
                node.wire.push_back(Event::NotOpened(attempt));
            }
            Action::Open { attempt, count, known } => {
                node.wire.push_back(Event::Opened(attempt, self.redis.open(index, count, known)));
            }
            Action::Read { attempt, .. } if std::mem::take(&mut node.is_refusing) => {
                node.wire.push_back(Event::NotRead(attempt));
            }
            Action::Read { attempt, from, to } => {
                assert!(to - from < u64::from(READ_MAX));
                node.wire.push_back(Event::Read(attempt, self.redis.read(from, to)));
            }
            _ => unreachable!("no other is a command"),
        }
        Some(())
    }

    fn hear(&mut self, node: usize) -> Option<()> {
        let event = self.nodes[node].wire.pop_front()?;
        self.take(node, event);
        Some(())
    }

    /// Nothing fails any more: every channel that is wanted gets to where Redis is.
    fn calm(&mut self) {
        for node in 0..NODES {
            self.nodes[node].is_refusing = false;
            self.connect(node);
            self.want(node);
        }
        let mut rounds = 0;
        while !self.is_settled() {
            rounds += 1;
            assert!(rounds < CALM_ROUNDS_MAX, "it never settles: {self:?}");
            for node in 0..NODES {
                self.step(&Step::Settle(node));
            }
            // A lost publication that nothing follows is found by the next renewal.
            self.step(&Step::After(COUNT_MS));
        }
    }

    fn is_settled(&self) -> bool {
        let Some((newest, _)) = self.redis.newest else { return false };
        self.nodes.iter().all(|node| {
            let is_live = node.channel.as_ref().is_some_and(|channel| matches!(channel.state, State::Live));
            let is_quiet = node.commands.is_empty() && node.wire.is_empty();
            is_live && is_quiet && node.is_ready && node.heard == Some(newest)
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_every_subscriber_hears_each_publication_once_in_order_or_of_a_gap(steps in steps()) {
        let mut world = World::new();
        (0..NODES).for_each(|node| world.want(node));
        steps.iter().for_each(|step| world.step(step));
        world.calm();
    }
}
