//! What waits to be published against a model of Redis that executes, refuses, answers late and never, over connections that are
//! cut before, amid and after a command, which may still be executed then.
//!
//! Checked are the promises to publishers: each is told once, and nothing that is not so.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::server::broker::idempotency::KeyDigest;

const CHANNELS: [&str; 3] = ["a", "b", "c"];

const EPOCH: u64 = 0xe;

/// Rounds until everything is settled, once nothing fails any more: far more than it takes.
const CALM_ROUNDS_MAX: usize = 10_000;

/// What happens. The first number names the channel.
#[derive(Clone, Debug)]
enum Step {
    /// So many publications, to be made within this time.
    Add(usize, u8, u64),
    /// One of 100 KiB.
    AddLong(usize),
    /// One with this key and this fingerprint.
    AddKeyed(usize, u8, u8, u64),
    /// The next call is taken.
    Take,
    /// Redis executes the call in flight; its answer is on its way.
    Execute(usize),
    /// The answer arrives.
    Hear(usize),
    /// Redis refuses the call in flight.
    Refuse(usize, Refusal),
    Cut(usize, CutAt),
    /// Redis executes what it had read of a connection that was cut.
    ExecuteLate,
    After(u64),
}

#[derive(Clone, Copy, Debug)]
enum Refusal {
    Again(u64),
    Elsewhere,
    Never,
}

/// Where a connection is cut that has a call which is not executed.
#[derive(Clone, Copy, Debug)]
enum CutAt {
    Unwritten,
    Amid,
    /// Redis has read it, and executes it later.
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channel = || 0..CHANNELS.len();
    let refusal =
        prop_oneof![(1..40_u64).prop_map(Refusal::Again), Just(Refusal::Elsewhere), Just(Refusal::Never),];
    let cut = prop_oneof![Just(CutAt::Unwritten), Just(CutAt::Amid), Just(CutAt::Read)];
    let step = prop_oneof![
        6 => (channel(), 1..4_u8, 1..200_u64).prop_map(|(channel, count, ms)| Step::Add(channel, count, ms)),
        1 => (channel(), 60..140_u8, 1..200_u64).prop_map(|(channel, count, ms)| Step::Add(channel, count, ms)),
        1 => channel().prop_map(Step::AddLong),
        4 => (channel(), 0..3_u8, 0..2_u8, 1..200_u64)
            .prop_map(|(channel, key, fingerprint, ms)| Step::AddKeyed(channel, key, fingerprint, ms)),
        10 => Just(Step::Take),
        8 => channel().prop_map(Step::Execute),
        8 => channel().prop_map(Step::Hear),
        3 => (channel(), refusal).prop_map(|(channel, refusal)| Step::Refuse(channel, refusal)),
        3 => (channel(), cut).prop_map(|(channel, at)| Step::Cut(channel, at)),
        2 => Just(Step::ExecuteLate),
        3 => (1..60_u64).prop_map(Step::After),
    ];
    vec(step, 1..120)
}

/// A publication by its ticket.
#[derive(Debug)]
struct Made {
    channel: usize,
    key: Option<(u8, u8)>,
    deadline: u64,
    /// The latest deadline of its channel until then.
    deadline_max: u64,
    /// Whether a call with it was written that was not answered.
    was_cut: bool,
    outcome: Option<Result<Numbered, NotPublished>>,
    executions: usize,
}

#[derive(Clone, Copy, Debug)]
enum Reply {
    Made { first: u64, last: u64 },
    Known { fingerprint: u8, sequence: u64 },
}

/// A call as it was taken, and its answer once it is executed.
#[derive(Clone, Debug)]
struct Flight {
    tickets: Vec<usize>,
    reply: Option<Reply>,
}

/// What Redis has of a channel: the tickets by sequence, whether they were executed late, and the keys.
#[derive(Debug, Default)]
struct Stored {
    executed: Vec<(usize, bool)>,
    keys: HashMap<u8, (u8, u64)>,
}

#[derive(Debug, Default)]
struct World {
    now: u64,
    outgoing: Outgoing<usize>,
    made: Vec<Made>,
    redis: [Stored; CHANNELS.len()],
    flights: [Option<Flight>; CHANNELS.len()],
    /// Calls that came back, which are to be the next of their channels as far as they are not settled.
    returned: [Option<Vec<usize>>; CHANNELS.len()],
    paused_until: [u64; CHANNELS.len()],
    late: Vec<(usize, Flight)>,
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Add(channel, count, ms) => (0..count).for_each(|_| self.add(channel, None, 0, ms)),
            Step::AddLong(channel) => self.add(channel, None, 100 * 1024, 200),
            Step::AddKeyed(channel, key, fingerprint, ms) => {
                self.add(channel, Some((key, fingerprint)), 0, ms);
            }
            Step::Take => self.take(),
            Step::Execute(channel) => self.execute(channel),
            Step::Hear(channel) => self.hear(channel),
            Step::Refuse(channel, refusal) => self.refuse(channel, refusal),
            Step::Cut(channel, at) => self.cut(channel, at),
            Step::ExecuteLate => {
                if let Some((channel, flight)) = self.late.pop() {
                    self.reply_to(channel, &flight.tickets, true);
                }
            }
            Step::After(ms) => self.after(ms),
        }
        self.check();
    }

    fn add(&mut self, channel: usize, key: Option<(u8, u8)>, padding: usize, ms: u64) {
        let (ticket, deadline) = (self.made.len(), self.now + ms);
        let earlier = self.made.iter().filter(|made| made.channel == channel).map(|made| made.deadline);
        let deadline_max = earlier.max().unwrap_or(0).max(deadline);
        let mut record = ticket.to_be_bytes().to_vec();
        record.resize(record.len() + padding, 0);
        let item = Item {
            record: record.into(),
            key: key.map(|(key, fingerprint)| Keyed {
                digest: KeyDigest::test(key),
                fingerprint: Fingerprint::test(fingerprint),
            }),
            ticket,
            deadline: Millis(deadline),
        };
        self.outgoing.add(ChannelName::new(CHANNELS[channel]).unwrap(), item);
        let (was_cut, outcome, executions) = (false, None, 0);
        self.made.push(Made { channel, key, deadline, deadline_max, was_cut, outcome, executions });
    }

    fn take(&mut self) {
        let Some(call) = self.outgoing.next_call() else {
            for (channel, flight) in self.flights.iter().enumerate() {
                let has_none = self.waiting(channel).next().is_none();
                assert!(flight.is_some() || has_none || self.now < self.paused_until[channel]);
            }
            return;
        };
        let channel = CHANNELS.iter().position(|&name| name == call.channel.as_str()).unwrap();
        assert!(self.flights[channel].is_none(), "one call in flight a channel");
        let tickets: Vec<_> =
            call.records.iter().map(|record| usize::from_be_bytes(*record.first_chunk().unwrap())).collect();
        let lens: Vec<_> = call.records.iter().map(Bytes::len).collect();
        assert!((1..=CALL_RECORDS_MAX).contains(&tickets.len()));
        assert!(tickets.len() == 1 || lens.iter().sum::<usize>() <= CALL_LEN_MAX);
        let expected: Vec<_> = self.waiting(channel).take(tickets.len()).collect();
        assert_eq!(tickets, expected, "the oldest that wait, and nothing that is settled");
        if let Some(before) = self.returned[channel].take() {
            let before: Vec<_> =
                before.into_iter().filter(|&ticket| self.made[ticket].outcome.is_none()).collect();
            assert!(before.is_empty() || before == tickets, "the same call again");
        }
        let key = self.made[tickets[0]].key;
        assert_eq!(call.key.map(|key| key.digest), key.map(|(key, _)| KeyDigest::test(key)));
        for &ticket in &tickets {
            assert!(tickets.len() == 1 || self.made[ticket].key.is_none(), "one with a key goes alone");
        }
        self.flights[channel] = Some(Flight { tickets, reply: None });
    }

    /// What is not settled and not in flight, in the order of adding.
    fn waiting(&self, channel: usize) -> impl Iterator<Item = usize> {
        let flight = self.flights[channel].as_ref().map_or(&[][..], |flight| &flight.tickets);
        let made = self.made.iter().enumerate();
        made.filter(move |(ticket, made)| {
            made.channel == channel && made.outcome.is_none() && !flight.contains(ticket)
        })
        .map(|(ticket, _)| ticket)
    }

    fn reply_to(&mut self, channel: usize, tickets: &[usize], is_late: bool) -> Reply {
        let redis = &mut self.redis[channel];
        let sequence = redis.executed.len() as u64 + 1;
        if let Some((key, fingerprint)) = self.made[tickets[0]].key {
            if let Some(&(fingerprint, sequence)) = redis.keys.get(&key) {
                return Reply::Known { fingerprint, sequence };
            }
            redis.keys.insert(key, (fingerprint, sequence));
        }
        for &ticket in tickets {
            redis.executed.push((ticket, is_late));
            self.made[ticket].executions += 1;
        }
        Reply::Made { first: sequence, last: redis.executed.len() as u64 }
    }

    fn execute(&mut self, channel: usize) {
        let Some(flight) = self.flights[channel].take() else { return };
        let Flight { tickets, reply } = flight;
        let reply = reply.unwrap_or_else(|| self.reply_to(channel, &tickets, false));
        self.flights[channel] = Some(Flight { tickets, reply: Some(reply) });
    }

    fn hear(&mut self, channel: usize) {
        let Some(Flight { reply: Some(reply), .. }) = self.flights[channel] else { return };
        self.flights[channel] = None;
        let id = |sequence| PublicationId { epoch: EPOCH, sequence };
        let settled = match reply {
            Reply::Made { first, last } => self.outgoing.answered(CHANNELS[channel], id(first), last),
            Reply::Known { fingerprint, sequence } => {
                self.outgoing.known(CHANNELS[channel], Fingerprint::test(fingerprint), id(sequence))
            }
        };
        self.settle(settled);
    }

    fn refuse(&mut self, channel: usize, refusal: Refusal) {
        if !matches!(self.flights[channel], Some(Flight { reply: None, .. })) {
            return;
        }
        let Some(Flight { tickets, .. }) = self.flights[channel].take() else { return };
        let name = CHANNELS[channel];
        match refusal {
            Refusal::Never => {
                let settled = self.outgoing.refused(name);
                return self.settle(settled);
            }
            Refusal::Again(ms) => {
                self.paused_until[channel] = self.now + ms;
                self.outgoing.again(name, Millis(self.now + ms));
            }
            Refusal::Elsewhere => self.outgoing.elsewhere(name),
        }
        self.returned[channel] = Some(tickets);
    }

    fn cut(&mut self, channel: usize, at: CutAt) {
        let Some(flight) = self.flights[channel].take() else { return };
        let was_written = match (flight.reply, at) {
            (None, CutAt::Unwritten) => false,
            (None, CutAt::Read) => {
                self.late.push((channel, flight.clone()));
                true
            }
            (None, CutAt::Amid) | (Some(_), _) => true,
        };
        flight.tickets.iter().for_each(|&ticket| self.made[ticket].was_cut |= was_written);
        let settled = self.outgoing.cut(CHANNELS[channel], was_written);
        self.settle(settled);
        self.returned[channel] = Some(flight.tickets);
    }

    fn after(&mut self, ms: u64) {
        self.now += ms;
        let settled = self.outgoing.expire(Millis(self.now));
        for one in &settled {
            assert!(self.made[one.ticket].deadline <= self.now, "{} is not due", one.ticket);
        }
        self.settle(settled);
        assert!(self.outgoing.due().is_none_or(|due| due.0 > self.now));
        for made in self.made.iter().filter(|made| made.deadline_max <= self.now) {
            assert!(made.outcome.is_some(), "it is past its deadline: {made:?}");
        }
    }

    fn settle(&mut self, settled: Vec<Settled<usize>>) {
        for Settled { ticket, outcome } in settled {
            let made = &mut self.made[ticket];
            assert_eq!(made.outcome.replace(outcome), None, "{ticket} is settled twice");
            let Made { channel, key, was_cut, executions, .. } = *made;
            let flight = self.flights[channel].as_ref();
            let is_in_flight = flight.is_some_and(|flight| flight.tickets.contains(&ticket));
            match outcome {
                Ok(Numbered { id, is_replay }) => {
                    let (there, _) = self.redis[channel].executed[id.sequence as usize - 1];
                    assert_eq!(id.epoch, EPOCH);
                    assert!(there == ticket || key.is_some() && self.made[there].key == key);
                    assert!(!is_replay || executions == 0 && there != ticket, "{ticket} is no replay");
                    assert!(there != ticket || executions == 1);
                    assert!(there == ticket || is_replay || was_cut, "{ticket} is a replay");
                }
                Err(NotPublished::Unanswered) => {
                    assert!(was_cut || is_in_flight, "{ticket} is surely not published");
                }
                Err(NotPublished::KeyReused) => {
                    let (key, fingerprint) = key.unwrap();
                    assert_ne!(self.redis[channel].keys[&key].0, fingerprint);
                }
                Err(NotPublished::Refused) => {
                    assert!(!was_cut && !is_in_flight, "{ticket} may be published");
                }
            }
        }
    }

    /// What holds at every time.
    fn check(&self) {
        let unsettled = self.made.iter().filter(|made| made.outcome.is_none()).count();
        assert_eq!(self.outgoing.waiting_len(), unsettled);
        assert!(unsettled == 0 || self.outgoing.due().is_some(), "all of it has a deadline");
        let is_idle = unsettled == 0 && self.flights.iter().all(Option::is_none);
        assert_eq!(self.outgoing.bytes() == 0, is_idle, "nothing is kept of a channel without anything");
        for (ticket, made) in self.made.iter().enumerate() {
            let was_executed = made.executions > 0;
            assert!(made.executions <= 1, "{ticket} was executed twice");
            let is_denied =
                matches!(made.outcome, Some(Err(NotPublished::Refused | NotPublished::KeyReused)));
            assert!(!(is_denied && was_executed), "{ticket} was executed and refused");
        }
        for redis in &self.redis {
            let in_time: Vec<_> =
                redis.executed.iter().filter(|(_, is_late)| !is_late).map(|&(ticket, _)| ticket).collect();
            assert!(in_time.is_sorted(), "in the order of adding: {in_time:?}");
            let keys: Vec<_> =
                redis.executed.iter().filter_map(|&(ticket, _)| self.made[ticket].key).collect();
            let mut once = keys.iter().map(|(key, _)| key).collect::<Vec<_>>();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), keys.len(), "a key is executed once");
        }
    }

    /// Nothing fails any more.
    fn calm(&mut self) {
        for _ in 0..CALM_ROUNDS_MAX {
            for channel in 0..CHANNELS.len() {
                self.step(&Step::Execute(channel));
                self.step(&Step::Hear(channel));
            }
            if self.outgoing.bytes() == 0 {
                break;
            }
            self.step(&Step::After(1));
            self.step(&Step::Take);
        }
        while !self.late.is_empty() {
            self.step(&Step::ExecuteLate);
        }
        assert!(self.made.iter().all(|made| made.outcome.is_some()));
        assert_eq!((self.outgoing.bytes(), self.outgoing.due()), (0, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_publisher_is_told_once_and_what_is_so_whatever_happens_to_calls(steps in steps()) {
        let mut world = World::default();
        for step in &steps {
            world.step(step);
        }
        world.calm();
    }
}
