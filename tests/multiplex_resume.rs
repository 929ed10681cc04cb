//! Clients of many channels that leave, unsubscribe and come back at random, while others publish: each channel has no hole
//! and nothing comes twice.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use fanfare::config::{Config, Glob};
use fanfare::server::Draft;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use support::multiplex::*;
use support::*;

const CHANNELS: usize = 6;

/// What is published to each channel when all else has been, again and again until everybody has gone.
const END: &str = "end";

/// The pause between two rounds of ends.
const PACE: Duration = Duration::from_millis(1);

/// One stay: after how many messages the client unsubscribes from a channel, and after how many more it leaves.
type Stay = (usize, usize, usize);

fn stays() -> impl Strategy<Value = Vec<Stay>> {
    prop::collection::vec((1..30_usize, 0..CHANNELS, 0..30_usize), 1..6)
}

fn name(channel: usize) -> String {
    format!("race-{channel}")
}

/// What a client has got.
#[derive(Default)]
struct Progress {
    /// The newest identifier of each channel.
    newest: BTreeMap<String, String>,
    /// The data of each channel, in the order in which it came.
    got: BTreeMap<String, Vec<String>>,
    ended: BTreeSet<String>,
}

impl Progress {
    fn take(&mut self, message: &Value) {
        let text = |field: &str| message[field].as_str().unwrap().to_owned();
        let (channel, id, data) = (text("channel"), text("id"), text("data"));
        let before = self.newest.insert(channel.clone(), id.clone()).unwrap();
        assert_eq!(parts(&id), (parts(&before).0, parts(&before).1 + 1), "{channel}: after {before}");
        if data == END {
            self.ended.insert(channel);
        } else {
            self.got.entry(channel).or_default().push(data);
        }
    }

    fn is_over(&self) -> bool {
        self.ended.len() == CHANNELS
    }

    /// Stays for so many messages, or until every channel has ended.
    fn stay(&mut self, address: SocketAddr, (first, leaves, rest): Stay) {
        let mut client = multiplex(address);
        let wanted: Vec<_> = (0..CHANNELS)
            .map(|channel| json!({"channel": name(channel), "since": self.newest[&name(channel)]}))
            .collect();
        say(&mut client, &json!({"event": "fanfare:subscribe", "data": wanted}).to_string());
        self.read(&mut client, first);
        say(&mut client, &json!({"event": "fanfare:unsubscribe", "data": [name(leaves)]}).to_string());
        let answer = loop {
            let message = next(&mut client);
            if message["event"] == "fanfare:unsubscribed" {
                break message;
            }
            self.note(&message);
        };
        assert_eq!(answer["channel"], name(leaves));
        // Nothing of the channel that was left comes any more: it would come twice, once it is joined again.
        let left = self.newest[&name(leaves)].clone();
        if rest % 2 == 0 {
            let again = json!([{"channel": name(leaves), "since": left}]);
            say(&mut client, &json!({"event": "fanfare:subscribe", "data": again}).to_string());
        }
        if self.ended.len() + 1 < CHANNELS {
            self.read(&mut client, rest);
        }
    }

    fn read(&mut self, client: &mut Client, count: usize) {
        let mut left = count;
        while left > 0 && !self.is_over() {
            let message = next(client);
            self.note(&message);
            left -= usize::from(message["event"].is_null());
        }
    }

    fn note(&mut self, message: &Value) {
        match message["event"].as_str() {
            Some("fanfare:subscribed") => {
                let channel = message["channel"].as_str().unwrap();
                assert_eq!(message["data"]["since"], self.newest[channel], "nothing is lost");
            }
            Some(event) => panic!("{event}: {message}"),
            None => self.take(message),
        }
    }
}

fn parts(id: &str) -> (String, u64) {
    let (epoch, sequence) = id.split_once('-').unwrap();
    (epoch.to_owned(), sequence.parse().unwrap())
}

/// All that a client gets, stay by stay and over again.
fn follow(address: SocketAddr, newest: BTreeMap<String, String>, stays: Vec<Stay>) -> Progress {
    let mut progress = Progress { newest, ..Progress::default() };
    for &next in stays.iter().cycle() {
        progress.stay(address, next);
        if progress.is_over() {
            break;
        }
    }
    progress
}

/// Runs the clients while so many publishers each publish so many messages to all channels.
fn race(publishers: usize, each: usize, clients: Vec<Vec<Stay>>) -> Vec<Progress> {
    let server = start(Config { history: vec![(Glob::new("*"), 100_000)], ..config() });
    let address = server.address;
    let mut witness = multiplex(address);
    let newest: BTreeMap<_, _> = (0..CHANNELS)
        .map(|channel| {
            let answer = subscribe(&mut witness, &name(channel));
            (name(channel), answer["data"]["since"].as_str().unwrap().to_owned())
        })
        .collect();
    let witnessing = Client::from_partially_read(
        witness.get_ref().try_clone().unwrap(),
        Vec::new(),
        tungstenite::protocol::Role::Client,
        None,
    );
    let reader = thread::spawn(move || {
        let mut witnessing = witnessing;
        while witnessing.read().is_ok() {}
    });
    let (present, gone) = mpsc::channel::<()>();
    let all = thread::scope(|scope| {
        let following: Vec<_> = clients
            .into_iter()
            .map(|stays| {
                let (newest, present) = (newest.clone(), present.clone());
                scope.spawn(move || {
                    let progress = follow(address, newest, stays);
                    drop(present);
                    progress
                })
            })
            .collect();
        drop(present);
        let publishing: Vec<_> = (0..publishers)
            .map(|publisher| {
                let handle = server.handle.clone();
                scope.spawn(move || {
                    for number in 0..each {
                        let channel = name((publisher + number * 7) % CHANNELS);
                        let draft = Draft::text(&channel, format!("{publisher}:{number}")).unwrap();
                        publish_draft(&handle, &draft);
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
        following.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    drop(server);
    reader.join().unwrap();
    all
}

fn cases() -> ProptestConfig {
    // A seed that fails is printed; nothing is written beside the sources.
    let failure_persistence = Some(Box::new(FileFailurePersistence::Off) as Box<_>);
    ProptestConfig { cases: 12, max_shrink_iters: 20, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_client_of_many_channels_that_leaves_and_comes_back_at_random_gets_each_channel_whole_and_once(
        clients in prop::collection::vec(stays(), 1..6),
        publishers in 1..4_usize,
        each in 1..200_usize,
    ) {
        let all = race(publishers, each, clients);
        for progress in &all {
            let got: usize = progress.got.values().map(Vec::len).sum();
            prop_assert_eq!(got, publishers * each);
            prop_assert_eq!(&progress.got, &all[0].got, "all see one order of each channel");
        }
    }
}
