//! An ear at a channel of nodes whose Redis is more than one server: it stays at one node, and hears until it goes out of scope.
//!
//! Such nodes are started here too; what happens to that Redis is the tests', and what is heard is judged by `witness`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fanfare::config::{self, Config, Glob};
use tungstenite::Message;

use super::witness::{Id, Told, read_envelope};
use super::{Answer, Running, config, envelopes, nodes, start, until};

/// A subscriber of one channel, which hears until it goes out of scope.
pub struct Ear {
    told: Arc<Mutex<Vec<Told>>>,
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
                    Ok(Message::Text(text)) => read_envelope(&text),
                    Ok(_) => None,
                    Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        None
                    }
                    // Its node has ended.
                    Err(_) => return,
                };
                into.lock().unwrap().extend(said);
            }
        };
        let ear = Self { told: log, is_over, thread: Some(thread::spawn(listen)) };
        ear.hears("where it begins", |told| matches!(told, Told::Subscribed(_) | Told::Gap(..)));
        ear
    }

    /// What was heard so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until something is heard, and says what.
    #[allow(clippy::disallowed_methods)] // a failover takes seconds, and the servers need the processor
    pub fn hears(&self, what: &str, is_it: impl Fn(&Told) -> bool) -> Told {
        let wait = || {
            thread::sleep(Duration::from_millis(1));
            self.told.lock().unwrap().iter().find(|told| is_it(told)).cloned()
        };
        until(what, wait)
    }

    /// Waits for a payload.
    pub fn hears_payload(&self, payload: &str) {
        self.hears(payload, |told| matches!(told, Told::Publication(_, data) if data == payload));
    }

    /// The payloads so far, in order.
    pub fn payloads(&self) -> Vec<String> {
        let payload = |told| match told {
            Told::Publication(_, data) => Some(data),
            _ => None,
        };
        self.told().into_iter().filter_map(payload).collect()
    }

    /// The gaps so far: how much was missed.
    pub fn gaps(&self) -> Vec<Option<u64>> {
        let gap = |told| match told {
            Told::Gap(missed, _) => Some(missed),
            _ => None,
        };
        self.told().into_iter().filter_map(gap).collect()
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
    nodes::post(address, channel, &key, payload)
}

/// The identifier that an answer has, if it was published.
pub fn id_of(answer: &Answer) -> Option<Id> {
    (answer.status == 200).then(|| nodes::id_of(answer))
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
