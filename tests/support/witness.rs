//! Subscribers that must not be lied to: each notes what it hears, comes back with the last identifier when its connection ends,
//! and is judged by what all have heard.
//!
//! Who publishes, and what breaks meanwhile, is each test's own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use super::event_stream::Events;
use super::nodes::Published;
use super::{PATIENCE, connect};

/// The text after which a witness has heard all.
pub const END: &str = "end";

/// A witness that was refused tries again after this.
const PAUSE: Duration = Duration::from_millis(20);

/// An identifier: the epoch and the sequence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    pub epoch: String,
    pub sequence: u64,
}

impl Id {
    pub fn of(text: &str) -> Self {
        let (epoch, sequence) = text.split_once('-').unwrap();
        Self { epoch: epoch.to_owned(), sequence: sequence.parse().unwrap() }
    }
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What comes next is the publication after this one, and nothing is missing.
    Subscribed(Id),
    Publication(Id, String),
    Gap(Option<u64>, Id),
    Paused,
    Resumed,
}

/// By what a witness subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    WebSocket,
    EventStream,
}

/// A subscriber on a thread of its own.
pub struct Witness {
    log: Arc<Log>,
    thread: JoinHandle<()>,
    name: String,
}

#[derive(Default)]
struct Log {
    told: Mutex<Vec<Told>>,
    changed: Condvar,
}

impl Log {
    fn add(&self, told: Told) {
        self.told.lock().unwrap().push(told);
        self.changed.notify_all();
    }

    /// What a client that comes back has last got.
    fn position(&self) -> Option<Id> {
        self.told.lock().unwrap().iter().rev().find_map(|told| match told {
            Told::Subscribed(id) | Told::Publication(id, _) | Told::Gap(_, id) => Some(id.clone()),
            Told::Paused | Told::Resumed => None,
        })
    }

    fn has_ended(&self) -> bool {
        self.told.lock().unwrap().iter().any(|told| matches!(told, Told::Publication(_, data) if data == END))
    }
}

impl Witness {
    /// Subscribes at the first of these nodes, and at the next one whenever that ends, or it has got `stay` publications.
    pub fn start(nodes: &[SocketAddr], channel: &str, by: By, stay: usize) -> Self {
        let log = Arc::new(Log::default());
        let (nodes, channel, noted) = (nodes.to_vec(), channel.to_owned(), Arc::clone(&log));
        let name = format!("{by:?} at {}", nodes[0]);
        let thread = thread::spawn(move || {
            for node in nodes.iter().cycle() {
                visit(*node, &channel, by, stay, &noted);
                if noted.has_ended() {
                    return;
                }
            }
        });
        let witness = Self { log, thread, name };
        witness.hears("where it begins", |told| !told.is_empty());
        witness
    }

    /// Waits until it has heard something.
    pub fn hears(&self, what: &str, is_it: impl Fn(&[Told]) -> bool) {
        let told = self.log.told.lock().unwrap();
        let (told, waited) =
            self.log.changed.wait_timeout_while(told, PATIENCE, |told| !is_it(told)).unwrap();
        let last = &told[told.len().saturating_sub(8)..];
        assert!(!waited.timed_out(), "{} does not hear {what}; last of {}: {last:?}", self.name, told.len());
    }

    /// Waits until it hears this.
    pub fn hears_one(&self, expected: &Told) {
        self.hears(&format!("{expected:?}"), |told| told.contains(expected));
    }

    /// What it has heard up to now.
    pub fn told(&self) -> Vec<Told> {
        self.log.told.lock().unwrap().clone()
    }

    /// The texts that it has got.
    pub fn texts(&self) -> Vec<String> {
        let text = |told: Told| match told {
            Told::Publication(_, text) => Some(text),
            _ => None,
        };
        self.told().into_iter().filter_map(text).collect()
    }

    /// The gaps that it was told of.
    pub fn gaps(&self) -> Vec<Option<u64>> {
        let gap = |told: Told| match told {
            Told::Gap(missed, _) => Some(missed),
            _ => None,
        };
        self.told().into_iter().filter_map(gap).collect()
    }

    /// All that it has heard, once it has heard the end.
    pub fn end(self) -> Vec<Told> {
        self.hears("the end", |told| {
            told.iter().any(|told| matches!(told, Told::Publication(_, text) if text == END))
        });
        self.thread.join().unwrap();
        let told = self.log.told.lock().unwrap();
        told.clone()
    }
}

/// Subscribes once, from the last position, and notes what is heard until the connection ends or enough was got.
fn visit(node: SocketAddr, channel: &str, by: By, stay: usize, log: &Log) {
    let since = log.position().map_or_else(String::new, |id| format!("{}-{}", id.epoch, id.sequence));
    let path = format!("/channels/{channel}?since={since}");
    let is_heard = match by {
        By::WebSocket => by_websocket(node, &path, stay, log),
        By::EventStream => by_event_stream(node, &path, stay, log),
    };
    if !is_heard {
        thread::park_timeout(PAUSE);
    }
}

fn by_websocket(node: SocketAddr, path: &str, stay: usize, log: &Log) -> bool {
    let Ok(stream) = std::net::TcpStream::connect(node) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{node}{path}").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "fanfare.v1.json".parse().unwrap());
    let mut client = match tungstenite::client(request, stream) {
        Ok((client, _)) => client,
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(refused))) => {
            assert_eq!(refused.status(), 503, "{refused:?}");
            return false;
        }
        Err(_) => return false,
    };
    let mut left = stay;
    while left > 0 {
        match client.read() {
            Ok(Message::Text(text)) => {
                let told = read_envelope(&text);
                let is_end = matches!(&told, Some(Told::Publication(_, data)) if data == END);
                left -= usize::from(matches!(told, Some(Told::Publication(..))));
                told.into_iter().for_each(|told| log.add(told));
                if is_end {
                    return true;
                }
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("a witness at {node} hears nothing")
            }
            // The node has ended.
            Err(_) => return true,
        }
    }
    true
}

/// What an envelope says; nothing if it is a sign of life.
pub fn read_envelope(text: &str) -> Option<Told> {
    let value: Value = serde_json::from_str(text).unwrap();
    let data = &value["data"];
    let since = || Id::of(data["since"].as_str().unwrap());
    match value["event"].as_str() {
        Some("fanfare:subscribed") => Some(Told::Subscribed(since())),
        Some("fanfare:gap") => Some(Told::Gap(data["missed"].as_u64(), since())),
        Some("fanfare:paused") => Some(Told::Paused),
        Some("fanfare:resumed") => Some(Told::Resumed),
        Some("fanfare:alive") => None,
        _ => {
            Some(Told::Publication(Id::of(value["id"].as_str().unwrap()), data.as_str().unwrap().to_owned()))
        }
    }
}

fn by_event_stream(node: SocketAddr, path: &str, stay: usize, log: &Log) -> bool {
    let mut events = match Events::on(connect(node), path, "") {
        Ok(events) => events,
        Err(answer) => {
            assert_eq!(answer.status, 503, "{answer:?}");
            return false;
        }
    };
    events.shows_ids = true;
    let (mut left, mut is_first) = (stay, true);
    while left > 0 {
        let Some(event) = events.next() else { return true };
        let data = || serde_json::from_str::<Value>(&event.data).unwrap();
        let told = match event.name.as_str() {
            // Later ones say where it goes on after a notice, which says so too.
            "" if is_first => Told::Subscribed(Id::of(&event.id)),
            "" => continue,
            "fanfare:gap" => {
                let data = data();
                Told::Gap(data["missed"].as_u64(), Id::of(data["since"].as_str().unwrap()))
            }
            "fanfare:paused" => Told::Paused,
            "fanfare:resumed" => Told::Resumed,
            _ => {
                left -= 1;
                Told::Publication(Id::of(&event.id), event.data.clone())
            }
        };
        is_first &= matches!(told, Told::Paused | Told::Resumed);
        log.add(told);
        if event.data == END {
            return true;
        }
    }
    true
}

/// What all witnesses and publishers of a channel have to say, judged together.
#[derive(Debug, Default)]
pub struct Oracle {
    payloads: HashMap<Id, String>,
    ids: HashMap<String, Id>,
    /// Whether a text may have two identifiers: publishers try again with a key that is lost with a failover.
    has_retries: bool,
}

impl Oracle {
    /// One that takes it for no fault if something is published again.
    pub fn with_retries() -> Self {
        Self { has_retries: true, ..Self::default() }
    }

    /// Judges what a witness was told: sequences without a hole that no gap covers, one payload an identifier for ever and
    /// everywhere, nothing under two identifiers.
    pub fn judge(&mut self, told: &[Told]) {
        let mut position: Option<Id> = None;
        for (at, one) in told.iter().enumerate() {
            let context = || format!("{:?}", &told[at.saturating_sub(4)..=at]);
            match one {
                Told::Subscribed(id) => {
                    assert!(
                        position.is_none_or(|position| position == *id),
                        "it goes on where it was: {}",
                        context()
                    );
                    position = Some(id.clone());
                }
                Told::Publication(id, text) => {
                    let before = position.expect("it was told where it begins");
                    assert_eq!(
                        (&before.epoch, before.sequence + 1),
                        (&id.epoch, id.sequence),
                        "no hole: {}",
                        context()
                    );
                    self.note(id, text);
                    position = Some(id.clone());
                }
                Told::Gap(Some(missed), id) => {
                    let before = position.expect("it was told where it begins");
                    let is_covered = before.epoch == id.epoch && before.sequence + missed == id.sequence;
                    assert!(
                        is_covered && before.sequence < id.sequence,
                        "a gap covers its hole: {}",
                        context()
                    );
                    position = Some(id.clone());
                }
                Told::Gap(None, id) => position = Some(id.clone()),
                Told::Paused | Told::Resumed => {}
            }
        }
    }

    /// Takes note of what was published: an identifier has one payload for ever.
    pub fn note(&mut self, id: &Id, text: &str) {
        let payload = self.payloads.entry(id.clone()).or_insert_with(|| text.to_owned());
        assert_eq!(payload, text, "{id:?} is one publication");
        if text != END && !self.has_retries {
            let known = self.ids.entry(text.to_owned()).or_insert_with(|| id.clone());
            assert_eq!(known, id, "{text} is published once");
        }
    }

    /// Judges what publishers were told: what they were told of a publication is what subscribers have got.
    pub fn judge_publisher(&mut self, published: &Published) {
        for (text, id) in &published.ids {
            self.note(id, text);
        }
    }
}

/// Ends witnesses by a publication at this node, and judges all. Returns what each was told.
pub fn judge_all(
    node: SocketAddr,
    channel: &str,
    witnesses: Vec<Witness>,
    published: &[Published],
) -> Vec<Vec<Told>> {
    let deadline = Instant::now() + PATIENCE;
    while super::nodes::post(node, channel, "", END).status != 200 {
        assert!(Instant::now() < deadline, "the end cannot be published");
    }
    let told: Vec<_> = witnesses.into_iter().map(Witness::end).collect();
    let mut oracle = Oracle::default();
    told.iter().for_each(|told| oracle.judge(told));
    published.iter().for_each(|published| oracle.judge_publisher(published));
    let ends: Vec<_> = told.iter().map(|told| told.last()).collect();
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "all are at the same end: {ends:?}");
    told
}
