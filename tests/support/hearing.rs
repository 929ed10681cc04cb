//! An ear at a channel, and the oracle: what is heard is contiguous, an identifier has one payload for ever, and each hole is
//! covered by a gap that says at least as much.
//!
//! Nodes that share a Redis are started here too; what happens to that Redis is the tests'.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fanfare::config::{self, Config, Glob};
use serde_json::Value;
use tungstenite::Message;

use super::{Answer, Running, config, connect, envelopes, exchange, start, until};

/// An identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub epoch: String,
    pub sequence: u64,
}

impl Id {
    /// From its text.
    pub fn of(text: &str) -> Self {
        let (epoch, sequence) = text.split_once('-').unwrap();
        Self { epoch: epoch.into(), sequence: sequence.parse().unwrap() }
    }
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Subscribed(Id),
    Publication(Id, String),
    Gap(Option<u64>, Id),
    Paused,
    Resumed,
    Closed,
}

fn heard(text: &str) -> Option<Heard> {
    let value: Value = serde_json::from_str(text).unwrap();
    let since = || Id::of(value["data"]["since"].as_str().unwrap());
    match value["event"].as_str() {
        Some("fanfare:subscribed") => Some(Heard::Subscribed(since())),
        Some("fanfare:gap") => Some(Heard::Gap(value["data"]["missed"].as_u64(), since())),
        Some("fanfare:paused") => Some(Heard::Paused),
        Some("fanfare:resumed") => Some(Heard::Resumed),
        Some("fanfare:alive") => None,
        Some(other) => panic!("not expected: {other}"),
        None => {
            let id = Id::of(value["id"].as_str().unwrap());
            Some(Heard::Publication(id, value["data"].as_str().unwrap().into()))
        }
    }
}

/// A subscriber of one channel, which hears until it goes out of scope.
pub struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    /// Subscribes, and waits until it is told where it begins: now with the query `since=`, or after a publication.
    pub fn open(address: SocketAddr, channel: &str, query: &str) -> Self {
        let mut client = envelopes(address, &format!("{channel}?{query}"));
        client.get_mut().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (log, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (into, over) = (Arc::clone(&log), Arc::clone(&is_over));
        let listen = move || {
            while !over.load(Ordering::Relaxed) {
                let said = match client.read() {
                    Ok(Message::Text(text)) => heard(&text),
                    Ok(Message::Close(_)) => Some(Heard::Closed),
                    Ok(_) => None,
                    Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        None
                    }
                    Err(_) => return into.lock().unwrap().push(Heard::Closed),
                };
                into.lock().unwrap().extend(said);
            }
        };
        let ear = Self { heard: log, is_over, thread: Some(thread::spawn(listen)) };
        ear.hears("where it begins", |heard| matches!(heard, Heard::Subscribed(_) | Heard::Gap(..)));
        ear
    }

    /// What was heard so far.
    pub fn log(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until something is heard, and says what.
    #[allow(clippy::disallowed_methods)] // a failover takes seconds, and the servers need the processor
    pub fn hears(&self, what: &str, is_it: impl Fn(&Heard) -> bool) -> Heard {
        let wait = || {
            thread::sleep(Duration::from_millis(1));
            self.heard.lock().unwrap().iter().find(|heard| is_it(heard)).cloned()
        };
        until(what, wait)
    }

    /// Waits for a payload.
    pub fn hears_payload(&self, payload: &str) {
        self.hears(payload, |heard| matches!(heard, Heard::Publication(_, data) if data == payload));
    }

    /// The payloads so far, in order.
    pub fn payloads(&self) -> Vec<String> {
        let payload = |heard| match heard {
            Heard::Publication(_, data) => Some(data),
            _ => None,
        };
        self.log().into_iter().filter_map(payload).collect()
    }

    /// The gaps so far: how much was missed.
    pub fn gaps(&self) -> Vec<Option<u64>> {
        let gap = |heard| match heard {
            Heard::Gap(missed, _) => Some(missed),
            _ => None,
        };
        self.log().into_iter().filter_map(gap).collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let joined = self.thread.take().unwrap().join();
        if !thread::panicking() {
            joined.unwrap();
        }
    }
}

/// What is known of all identifiers of one channel.
#[derive(Default)]
pub struct Ledger {
    payloads: HashMap<Id, String>,
}

impl Ledger {
    /// A publication was answered with this identifier.
    pub fn note(&mut self, id: &Id, payload: &str) {
        let known = self.payloads.entry(id.clone()).or_insert_with(|| payload.into());
        assert_eq!(known, payload, "{id:?} has two payloads");
    }

    /// Checks what one subscriber has heard: the sequences are contiguous within an epoch, a gap says at least what is missing, and
    /// another epoch begins with a gap of which nobody knows how much is missing.
    pub fn check(&mut self, log: &[Heard]) {
        let mut at: Option<Id> = None;
        for heard in log {
            match heard {
                Heard::Subscribed(since) => at = Some(since.clone()),
                Heard::Gap(None, since) => at = Some(since.clone()),
                Heard::Gap(Some(missed), since) => {
                    if let Some(at) = &at {
                        assert_eq!(
                            at.epoch, since.epoch,
                            "a gap of {missed} leads to another epoch: {log:?}"
                        );
                        assert!(
                            at.sequence + missed >= since.sequence,
                            "more is missing than {missed}: {log:?}"
                        );
                    }
                    at = Some(since.clone());
                }
                Heard::Publication(id, payload) => {
                    self.note(id, payload);
                    if let Some(at) = &at {
                        let next = Id { sequence: at.sequence + 1, ..at.clone() };
                        assert_eq!(*id, next, "something is missing, or comes twice: {log:?}");
                    }
                    at = Some(id.clone());
                }
                Heard::Paused | Heard::Resumed | Heard::Closed => {}
            }
        }
    }
}

/// A node on these servers of Redis, which waits for it no longer than `timeout`.
pub fn node(seeds: &[String], timeout: Duration) -> Running {
    start(node_config(seeds, timeout))
}

/// Publications kept of a channel.
const HISTORY: usize = 10_000;

/// How that is configured.
pub fn node_config(seeds: &[String], timeout: Duration) -> Config {
    let seeds = seeds.iter().map(|seed| seed.parse().unwrap()).collect::<Vec<_>>();
    let redis = config::Redis { timeout, seeds: seeds.clone(), ..config::Redis::new(seeds[0].clone()) };
    // A test on a busy machine is not to have gaps of its own.
    Config { redis: Some(redis), history: vec![(Glob::new("*"), HISTORY)], ..config() }
}

/// A publication by POST, with a key or none.
pub fn post(address: SocketAddr, channel: &str, payload: &str, key: Option<&str>) -> Answer {
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /channels/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{key}\r\n",
        payload.len()
    );
    exchange(&mut connect(address), &[head.as_bytes(), payload.as_bytes()].concat())
}

/// The identifier that an answer has, if it was published.
pub fn id_of(answer: &Answer) -> Option<Id> {
    if answer.status != 200 {
        return None;
    }
    let value: Value = serde_json::from_str(&answer.body).unwrap();
    Some(Id::of(value["id"].as_str().unwrap()))
}

/// Publishes, which is expected to be done.
pub fn published(address: SocketAddr, channel: &str, payload: &str) -> Id {
    let answer = post(address, channel, payload, None);
    id_of(&answer).unwrap_or_else(|| panic!("{answer:?}"))
}

/// One that publishes one after the other until it is told to stop.
pub struct Publisher {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<(String, Answer)>>>,
}

impl Publisher {
    /// Publishes payloads that begin so, with keys or without.
    #[allow(clippy::disallowed_methods)] // the pace of a publisher, on which nothing depends
    pub fn start(address: SocketAddr, channel: &str, name: &str, has_keys: bool) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, channel, name) = (Arc::clone(&is_over), channel.to_owned(), name.to_owned());
        let publish = move || {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let payload = format!("{name}-{}", answers.len());
                let answer = post(address, &channel, &payload, has_keys.then_some(payload.as_str()));
                answers.push((payload, answer));
                thread::sleep(Duration::from_millis(1));
            }
            answers
        };
        Self { is_over, thread: Some(thread::spawn(publish)) }
    }

    /// Ends it: each payload and its answer.
    pub fn stop(mut self) -> Vec<(String, Answer)> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
