//! Subscribers over TLS that measure how late their messages are. The first one publishes them.
//!
//! What else the server does meanwhile is not known here.

#![allow(clippy::disallowed_methods)] // publications come at their times

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::ws::{Opcode, encode_masked_frame};

use crate::support::connector::{Connection, Connector};
use crate::support::{Form, orders, say};

/// The role of their process: `watchers ADDRESS COUNT`.
pub const ROLE: &str = "watchers";

/// The order to forget what was measured.
pub const BEGIN: &str = "begin";

/// The order to say how late each message was at each subscriber, in microseconds.
pub const END: &str = "end";

/// 20 messages a second.
const EVERY: Duration = Duration::from_millis(50);

/// A message says when it was to be published: microseconds since the start, in so many digits.
const DIGITS: usize = 20;

/// Masks what the first subscriber sends.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The clock of the messages, and how late those were that have arrived.
struct Watch {
    start: Instant,
    late: Mutex<Vec<u64>>,
}

/// Says `ready` once all are subscribed and messages flow.
pub fn run(address: &str, count: &str) {
    let count: usize = count.parse().expect("the number of subscribers is a number");
    let connector = Connector::new(address);
    let watch = Arc::new(Watch { start: Instant::now(), late: Mutex::default() });
    let mut subscribers: Vec<_> = (0..count).map(|_| subscribe(&connector)).collect();
    let publisher = subscribers.pop().expect("there is one at least");
    for mut subscriber in subscribers {
        let watch = Arc::clone(&watch);
        thread::spawn(move || {
            loop {
                watch.receive(&mut subscriber);
            }
        });
    }
    let publishing = Arc::clone(&watch);
    thread::spawn(move || publishing.publish(publisher));
    say("ready");
    for (order, _) in orders() {
        match order.as_str() {
            BEGIN => {
                watch.take();
                say("begun");
            }
            END => say(&watch.take()),
            unknown => unreachable!("the bench gives no order {unknown}"),
        }
    }
}

impl Watch {
    /// Publishes on time. A message that has to wait for the one before it, since that was late, is late as well.
    fn publish(&self, mut publisher: Box<dyn Connection>) {
        let mut at = self.start.elapsed();
        let mut frame = Vec::new();
        loop {
            thread::sleep(at.saturating_sub(self.start.elapsed()));
            frame.clear();
            let message = format!("{:0DIGITS$}", at.as_micros());
            encode_masked_frame(&mut frame, true, Opcode::Text, KEY, message.as_bytes());
            publisher.write_all(&frame).expect("the server reads its publisher");
            self.receive(&mut publisher);
            at += EVERY;
        }
    }

    fn receive(&self, subscriber: &mut Box<dyn Connection>) {
        let mut frame = [0; 2 + DIGITS];
        subscriber.read_exact(&mut frame).expect("the server keeps its subscribers");
        let at = str::from_utf8(&frame[2..]).ok().and_then(|digits| digits.parse().ok());
        let late = self.start.elapsed() - Duration::from_micros(at.expect("a message is a time"));
        self.late.lock().expect("nobody panics with it").push(late.as_micros() as u64);
    }

    /// What was measured since the last time, as words.
    fn take(&self) -> String {
        let late = std::mem::take(&mut *self.late.lock().expect("nobody panics with it"));
        late.iter().fold(String::new(), |mut words, micros| {
            let space = if words.is_empty() { "" } else { " " };
            write!(words, "{space}{micros}").expect("a string has room");
            words
        })
    }
}

/// A WebSocket to the channel.
pub fn subscribe(connector: &Connector) -> Box<dyn Connection> {
    let mut client = connector.connect();
    ask(&mut client, connector.address());
    client
}

/// The handshake of a WebSocket, and its answer. What follows the answer is not read.
pub fn ask(client: &mut (impl Read + Write + ?Sized), address: &str) {
    client.write_all(Form::WEBSOCKET.request(address).as_bytes()).expect("the server reads the request");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).expect("the server answers");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
}
