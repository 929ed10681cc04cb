//! Clients that leave at random points and come back, over any transport, while others publish: each gets the whole of
//! the channel in its one order, or is told exactly what it did not get.

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
use support::long_poll::*;
use support::*;

/// What is published when all else has been, again and again until everybody has gone: who missed one gets another.
const END: &str = "end";

/// The pause between two ends.
const PACE: Duration = Duration::from_millis(1);

/// A publication that a client got, or the hole that it was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Message { id: String, data: String },
    Missed { count: u64, since: String },
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    WebSocket,
    EventStream,
    EnvelopeStream,
    LongPoll,
}

/// One stay: by which transport, and after how many messages (for a long poll: answers) the client leaves.
type Stay = (Transport, usize);

fn stays() -> impl Strategy<Value = Vec<Stay>> {
    let transport = prop_oneof![
        Just(Transport::WebSocket),
        Just(Transport::EventStream),
        Just(Transport::EnvelopeStream),
        Just(Transport::LongPoll)
    ];
    prop::collection::vec((transport, 1..20_usize), 1..6)
}

fn message(value: &Value) -> Got {
    let text = |field: &str| value[field].as_str().unwrap().to_owned();
    Got::Message { id: text("id"), data: text("data") }
}

fn missed(count: &Value, since: &Value) -> Got {
    Got::Missed { count: count.as_u64().unwrap(), since: since.as_str().unwrap().into() }
}

/// An envelope or a notice; nothing if the notice is that there is no gap.
fn envelope(text: &str) -> Option<Got> {
    let value: Value = serde_json::from_str(text).unwrap();
    match value["event"].as_str() {
        Some("fanfare:gap") => Some(missed(&value["data"]["missed"], &value["data"]["since"])),
        Some("fanfare:subscribed") => None,
        _ => Some(message(&value)),
    }
}

/// What a stay gives: at least as many messages as it is to last, unless the end comes before.
fn stay(address: SocketAddr, since: &str, (transport, count): Stay) -> Vec<Got> {
    let path = format!("/channels/race?since={since}");
    match transport {
        Transport::WebSocket => {
            let mut client = envelopes(address, &format!("race?since={since}"));
            take(count, || envelope(&text(&mut client)))
        }
        Transport::EventStream => {
            let mut events = Events::open(address, "/channels/race", &format!("Last-Event-ID: {since}\r\n"));
            take(count, || {
                let Event { id, name, data } = events.next().unwrap();
                Some(match name.as_str() {
                    "fanfare:gap" => envelope(&format!(r#"{{"event":"fanfare:gap","data":{data}}}"#))?,
                    _ => Got::Message { id, data },
                })
            })
        }
        Transport::EnvelopeStream => {
            let path = format!("{path}&protocol=fanfare.v1.json");
            let mut events = Events::open(address, &path, "");
            take(count, || envelope(&events.next().unwrap().data))
        }
        Transport::LongPoll => {
            let mut poll = Poll::new(address, "/channels/race");
            poll.next = since.into();
            let mut got = Vec::new();
            for _ in 0..count {
                let answer = poll.poll(20);
                let messages = answer["messages"].as_array().unwrap();
                if let Some(gap) = answer.get("gap") {
                    // A client has no use for it: `next` is where it goes on.
                    let since =
                        before(messages.first().map_or(&answer["next"], |message| &message["id"]), messages);
                    got.push(missed(&gap["missed"], &since));
                }
                got.extend(messages.iter().map(message));
                if got.iter().any(|got| is_end(Some(got))) {
                    break;
                }
            }
            got
        }
    }
}

/// Where an answer's messages begin: before the first, or at `next` if there are none.
fn before(first_or_next: &Value, messages: &[Value]) -> Value {
    let id = first_or_next.as_str().unwrap();
    let (epoch, sequence) = id.split_once('-').unwrap();
    let sequence = sequence.parse::<u64>().unwrap() - u64::from(!messages.is_empty());
    format!("{epoch}-{sequence}").into()
}

/// Takes so many messages, or up to the end.
fn take(count: usize, mut next: impl FnMut() -> Option<Got>) -> Vec<Got> {
    let mut got = Vec::new();
    while got.len() < count && !is_end(got.last()) {
        got.extend(next());
    }
    got
}

fn is_end(got: Option<&Got>) -> bool {
    matches!(got, Some(Got::Message { data, .. }) if data == END)
}

/// All that a client gets that begins at `since` and goes on from what it got last, stay by stay and over again, until
/// the end.
fn follow(address: SocketAddr, since: String, stays: Vec<Stay>) -> Vec<Got> {
    let mut got: Vec<Got> = Vec::new();
    let mut since = since;
    for &next in stays.iter().cycle() {
        let news = stay(address, &since, next);
        match news.last() {
            Some(Got::Message { id, .. } | Got::Missed { since: id, .. }) => since.clone_from(id),
            None => {}
        }
        got.extend(news);
        if let Some(end) = got.iter().position(|got| is_end(Some(got))) {
            got.truncate(end + 1);
            break;
        }
    }
    got
}

/// Runs the clients while so many publishers each publish so many messages; what each client got.
fn race(config: Config, publishers: usize, each: usize, clients: Vec<Vec<Stay>>) -> Vec<Vec<Got>> {
    let server = start(config);
    let address = server.address;
    let mut poll = Poll::new(address, "/channels/race");
    poll.poll(0);
    // One that stays keeps the channel from being forgotten before its first publication.
    let witness = websocket(address, "/channels/race");
    let (present, gone) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let following: Vec<_> = clients
            .into_iter()
            .map(|stays| {
                let (since, present) = (poll.next.clone(), present.clone());
                scope.spawn(move || {
                    let got = follow(address, since, stays);
                    drop(present);
                    got
                })
            })
            .collect();
        drop(present);
        let publishing: Vec<_> = (0..publishers)
            .map(|publisher| {
                let handle = server.handle.clone();
                scope.spawn(move || {
                    for number in 0..each {
                        let draft = Draft::text("race", format!("{publisher}:{number}")).unwrap();
                        publish_draft(&handle, &draft);
                        if number % 7 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        publishing.into_iter().for_each(|thread| thread.join().unwrap());
        while gone.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            publish_draft(&server.handle, &Draft::text("race", END).unwrap());
        }
        let got = following.into_iter().map(|thread| thread.join().unwrap()).collect();
        drop(witness);
        got
    })
}

/// Each publisher's messages in its own order.
fn assert_publishers_order(data: &[String], publishers: usize, each: usize) {
    for publisher in 0..publishers {
        let prefix = format!("{publisher}:");
        let numbers: Vec<usize> = data
            .iter()
            .filter_map(|data| data.strip_prefix(&prefix))
            .map(|number| number.parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..each).collect::<Vec<_>>());
    }
}

fn sequence(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

fn cases() -> ProptestConfig {
    // A seed that fails is printed; nothing is written beside the sources.
    let failure_persistence = Some(Box::new(FileFailurePersistence::Off) as Box<_>);
    ProptestConfig { cases: 12, max_shrink_iters: 20, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_subscriber_that_leaves_and_reconnects_at_random_gets_everything_once_and_in_order(
        clients in prop::collection::vec(stays(), 1..6),
        publishers in 1..4_usize,
        each in 1..150_usize,
    ) {
        let config = Config { history: vec![(Glob::new("*"), 100_000)], ..config() };
        let all = race(config, publishers, each, clients);
        let mut ids_of_first = None;
        for got in all {
            let mut ids = Vec::new();
            let mut data = Vec::new();
            for got in got {
                let Got::Message { id, data: text } = got else { panic!("nothing was lost: {got:?}") };
                ids.push(id);
                data.push(text);
            }
            let expected: Vec<u64> = (1..=(publishers * each + 1) as u64).collect();
            prop_assert_eq!(ids.iter().map(|id| sequence(id)).collect::<Vec<_>>(), expected);
            assert_publishers_order(&data, publishers, each);
            let pairs: Vec<_> = ids.into_iter().zip(data).collect();
            let first = ids_of_first.get_or_insert_with(|| pairs.clone());
            prop_assert_eq!(&pairs, first, "all see one order under the same identifiers");
        }
    }

    #[test]
    fn a_subscriber_that_missed_more_than_is_kept_is_told_exactly_how_much(
        clients in prop::collection::vec(stays(), 1..5),
        kept in 0..8_usize,
        each in 50..300_usize,
    ) {
        let config = Config { history: vec![(Glob::new("*"), kept)], ..config() };
        for got in race(config, 2, each, clients) {
            let mut last = 0;
            for got in got {
                match got {
                    Got::Missed { count, since } => {
                        prop_assert!(count > 0);
                        last += count;
                        prop_assert_eq!(sequence(&since), last, "it goes on behind the hole");
                    }
                    Got::Message { id, .. } => {
                        prop_assert_eq!(sequence(&id), last + 1, "a hole is told, and nothing comes twice");
                        last += 1;
                    }
                }
            }
            prop_assert!(last > 2 * each as u64);
        }
    }
}
