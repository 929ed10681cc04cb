//! Readers of several channels by event streams and long polls that leave at random and come back, while others publish: no
//! channel has a hole, and nothing comes twice but what a stream was sent after it was last told its positions.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use fanfare::config::{Config, Glob};
use fanfare::server::Draft;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;
use support::event_stream::*;
use support::*;

const CHANNELS: usize = 4;

/// What is published to each channel when all else has been, again and again until everybody has gone.
const END: &str = "end";

/// The pause between two rounds of ends.
const PACE: Duration = Duration::from_millis(1);

/// How a client reads for a while, and when it leaves.
#[derive(Clone, Copy, Debug)]
enum Stay {
    /// An event stream that is cut after so many messages, which come again if the positions were not told since.
    Cut(usize),
    /// An event stream that is cut when it is next told its positions: nothing comes again.
    Told,
    /// So many long polls.
    Polls(usize),
}

fn stays() -> impl Strategy<Value = Vec<Stay>> {
    let stay = prop_oneof![
        3 => (1..30_usize).prop_map(Stay::Cut),
        1 => Just(Stay::Told),
        3 => (1..5_usize).prop_map(Stay::Polls),
    ];
    prop::collection::vec(stay, 1..6)
}

fn name(channel: usize) -> String {
    format!("race-{channel}")
}

fn number(channel: &Value) -> usize {
    channel.as_str().unwrap().strip_prefix("race-").unwrap().parse().unwrap()
}

fn sequence(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

/// What a client has got of one channel.
#[derive(Clone, Debug)]
struct Read {
    /// The position from which it would go on now.
    since: String,
    /// The sequence after which the next publication follows.
    at: u64,
    /// Each publication by its sequence, from 1 on; nothing for one that it was told is lost.
    got: Vec<Option<String>>,
    has_ended: bool,
}

impl Read {
    fn message(&mut self, message: &Value) {
        let (id, data) = (message["id"].as_str().unwrap(), message["data"].as_str().unwrap());
        self.at += 1;
        assert_eq!(sequence(id), self.at, "no hole, and one order");
        match self.got.get_mut(self.at as usize - 1) {
            None => self.got.push(Some(data.to_owned())),
            Some(before @ None) => *before = Some(data.to_owned()),
            Some(Some(before)) => assert_eq!(before, data, "it comes again as it came first"),
        }
        self.has_ended |= data == END;
    }

    /// It was told that this many are lost, and that it goes on after `since`.
    fn missed(&mut self, count: u64, since: u64) {
        assert!(count > 0);
        self.at += count;
        assert_eq!(self.at, since, "it goes on behind the hole");
        let len = self.got.len().max(self.at as usize);
        self.got.resize(len, None);
    }
}

/// A client and what it has got of all channels, in the order of its URL.
#[derive(Clone, Debug)]
struct Progress {
    reads: Vec<Read>,
    /// How often it was told its positions in a block of their own.
    told: usize,
}

impl Progress {
    fn is_over(&self) -> bool {
        self.reads.iter().all(|read| read.has_ended)
    }

    /// Begins where it was last told.
    fn begin(&mut self) {
        for read in &mut self.reads {
            read.at = sequence(&read.since);
        }
    }

    fn stay(&mut self, address: SocketAddr, stay: Stay) {
        match stay {
            Stay::Cut(count) => self.stream(address, Some(count)),
            Stay::Told => self.stream(address, None),
            Stay::Polls(count) => {
                for _ in 0..count {
                    self.poll(address);
                    if self.is_over() {
                        return;
                    }
                }
            }
        }
    }

    /// Reads a stream for so many messages, or until the positions are told.
    fn stream(&mut self, address: SocketAddr, count: Option<usize>) {
        self.begin();
        let query: String = (0..CHANNELS).map(|channel| format!("&channel={}", name(channel))).collect();
        let ids: Vec<_> = self.reads.iter().map(|read| read.since.as_str()).collect();
        let fields = format!("Last-Event-ID: {}\r\n", ids.join(","));
        let mut events = Events::open(address, &format!("/channels?{query}"), &fields);
        events.shows_ids = true;
        let (mut taken, mut begun) = (0, 0);
        loop {
            let event = events.next().unwrap();
            if event.data.is_empty() {
                self.told(&event.id);
                self.told += 1;
                if count.is_none() || self.is_over() {
                    return;
                }
                continue;
            }
            let message: Value = serde_json::from_str(&event.data).unwrap();
            let read = &mut self.reads[number(&message["channel"])];
            match message["event"].as_str() {
                Some("fanfare:subscribed") => {
                    begun += 1;
                    assert_eq!(message["data"]["since"], read.since);
                }
                Some("fanfare:gap") => {
                    begun += 1;
                    let since = sequence(message["data"]["since"].as_str().unwrap());
                    read.missed(message["data"]["missed"].as_u64().unwrap(), since);
                }
                Some(event) => panic!("{event}: {message}"),
                None => {
                    assert_eq!(begun, CHANNELS, "each channel has said where it begins");
                    read.message(&message);
                    taken += 1;
                }
            }
            if begun == CHANNELS && taken == 0 {
                // The first block of all has the positions after the gaps.
                self.told(&event.id);
            }
            // A client that leaves in the middle of a stream goes on from what it was told last.
            if count == Some(taken) || self.is_over() {
                return;
            }
        }
    }

    /// The positions are exactly behind all that came before them.
    fn told(&mut self, ids: &str) {
        let ids: Vec<_> = ids.split(',').collect();
        assert_eq!(ids.len(), CHANNELS);
        for (read, id) in self.reads.iter_mut().zip(ids) {
            assert_eq!(sequence(id), read.at, "positions count what came before them");
            read.since = id.to_owned();
        }
    }

    fn poll(&mut self, address: SocketAddr) {
        self.begin();
        let query: String = (0..CHANNELS)
            .map(|channel| format!("&channel={}&since={}", name(channel), self.reads[channel].since))
            .collect();
        let answer = request(address, "GET", &format!("/channels?{query}&wait=20"), "", b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        let messages = answer["messages"].as_array().unwrap();
        for (channel, read) in self.reads.iter_mut().enumerate() {
            let name = Value::from(name(channel));
            let own: Vec<_> = messages.iter().filter(|message| message["channel"] == name).collect();
            let next = answer["next"][name.as_str().unwrap()].as_str().unwrap();
            if let Some(gap) = answer["gap"].get(name.as_str().unwrap()) {
                let since = match own.first() {
                    Some(first) => sequence(first["id"].as_str().unwrap()) - 1,
                    None => sequence(next),
                };
                read.missed(gap["missed"].as_u64().unwrap(), since);
            }
            own.into_iter().for_each(|message| read.message(message));
            assert_eq!(sequence(next), read.at, "next is exact");
            read.since = next.to_owned();
        }
        assert!(!messages.is_empty() || !answer["gap"].is_null(), "it waits until there is something");
    }
}

/// Runs the clients while so many publishers each publish so many messages to all channels in turn.
fn race(
    config: Config,
    publishers: usize,
    each: usize,
    pause: Option<Duration>,
    clients: Vec<Vec<Stay>>,
) -> Vec<Progress> {
    let server = start(config);
    let address = server.address;
    // One that stays keeps the channels from being forgotten before their first publications.
    let query: String = (0..CHANNELS).map(|channel| format!("&channel={}", name(channel))).collect();
    let mut witness = Events::open(address, &format!("/channels?{query}"), "");
    let ids = witness.next().unwrap().id;
    let reads =
        ids.split(',').map(|id| Read { since: id.to_owned(), at: 0, got: Vec::new(), has_ended: false });
    let begin = Progress { reads: reads.collect(), told: 0 };
    let (present, gone) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let following: Vec<_> = clients
            .into_iter()
            .map(|stays| {
                let (mut progress, present) = (begin.clone(), present.clone());
                scope.spawn(move || {
                    // A stream that is cut before it is told its positions begins again where it began.
                    for &next in stays.iter().chain([&Stay::Told]).cycle() {
                        progress.stay(address, next);
                        if progress.is_over() {
                            break;
                        }
                    }
                    drop(present);
                    progress
                })
            })
            .collect();
        drop(present);
        let publishing: Vec<_> = (0..publishers)
            .map(|publisher| {
                let handle = server.handle.clone();
                let (never, paused) = mpsc::channel::<()>();
                scope.spawn(move || {
                    // It is never sent anything.
                    let _never = never;
                    for number in 0..each {
                        let channel = name((publisher + number * 3) % CHANNELS);
                        publish_draft(
                            &handle,
                            &Draft::text(&channel, format!("{publisher}:{number}")).unwrap(),
                        );
                        if let Some(pause) = pause {
                            assert_eq!(paused.recv_timeout(pause), Err(RecvTimeoutError::Timeout));
                        }
                    }
                })
            })
            .collect();
        publishing.into_iter().for_each(|thread| thread.join().unwrap());
        while gone.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            for channel in 0..CHANNELS {
                publish_draft(&server.handle, &Draft::text(&name(channel), END).unwrap());
            }
        }
        let got = following.into_iter().map(|thread| thread.join().unwrap()).collect();
        drop(witness);
        got
    })
}

/// Each client has got all that was published, and all in one order.
fn assert_whole(all: &[Progress], publishers: usize, each: usize) {
    for progress in all {
        let mut got = Vec::new();
        for (read, first) in progress.reads.iter().zip(&all[0].reads) {
            let data: Vec<_> = read.got.iter().map(|data| data.as_ref().expect("nothing is lost")).collect();
            let of_first = first.got.iter().flatten();
            assert!(data.iter().zip(of_first).all(|(data, first)| *data == first), "all see one order");
            got.extend(data.into_iter().filter(|data| *data != END).cloned());
        }
        got.sort();
        let numbers = |publisher| (0..each).map(move |number| format!("{publisher}:{number}"));
        let mut expected: Vec<_> = (0..publishers).flat_map(numbers).collect();
        expected.sort();
        assert_eq!(got, expected);
    }
}

#[test]
fn streams_that_are_told_their_positions_while_publishers_are_at_work_go_on_exactly_there() {
    let (publishers, each) = (3, 300);
    let clients = vec![
        vec![Stay::Told, Stay::Cut(40)],
        vec![Stay::Cut(20), Stay::Told, Stay::Polls(3)],
        vec![Stay::Polls(2), Stay::Told, Stay::Cut(5)],
    ];
    let config = Config { history: vec![(Glob::new("*"), 100_000)], ..config() };
    // For three seconds.
    let all = race(config, publishers, each, Some(Duration::from_millis(10)), clients);
    assert_whole(&all, publishers, each);
    assert!(all.iter().all(|progress| progress.told > 0), "it is told about once a second");
}

fn cases() -> ProptestConfig {
    // A seed that fails is printed; nothing is written beside the sources.
    let failure_persistence = Some(Box::new(FileFailurePersistence::Off) as Box<_>);
    ProptestConfig { cases: 6, max_shrink_iters: 20, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_reader_of_several_channels_that_leaves_and_comes_back_at_random_has_no_hole_in_any(
        clients in prop::collection::vec(stays(), 1..5),
        publishers in 1..4_usize,
        each in 1..200_usize,
    ) {
        let config = Config { history: vec![(Glob::new("*"), 100_000)], ..config() };
        assert_whole(&race(config, publishers, each, None, clients), publishers, each);
    }

    #[test]
    fn a_reader_of_several_channels_that_missed_more_than_is_kept_is_told_exactly_how_much_of_each(
        clients in prop::collection::vec(stays(), 1..4),
        kept in 0..8_usize,
        each in 50..300_usize,
    ) {
        let config = Config { history: vec![(Glob::new("*"), kept)], ..config() };
        for progress in race(config, 2, each, None, clients) {
            for read in progress.reads {
                prop_assert!(read.has_ended);
                prop_assert!(read.got.len() + 2 > 2 * each / CHANNELS);
            }
        }
    }
}
