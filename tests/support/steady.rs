//! Clients that do nothing wrong: a ticker and its witnesses, which notice a lost, doubled or late message.
//!
//! What the others do meanwhile is each test's own.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tungstenite::{Error, Message};

use super::{Client, PATIENCE, websocket};

/// The ticker's pace. 200 ticks a second show a stall of a loop within 5 ms, and cost 2 % of a core.
const PACE: Duration = Duration::from_millis(5);

/// What the ticker says last.
const END: &str = "end";

/// A ticker that publishes 0, 1, 2, … at a steady pace, and subscribers that each must get all of it, in order.
pub struct Steady {
    stop: Sender<()>,
    ticker: JoinHandle<usize>,
    witnesses: Vec<JoinHandle<usize>>,
    seen: Arc<Seen>,
}

/// How many ticks each witness has got.
struct Seen {
    counts: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl Steady {
    /// Subscribes this many witnesses to the channel, then lets the ticker begin. The witnesses answer pings.
    pub fn begin(address: SocketAddr, channel: &str, witnesses: usize) -> Self {
        let path = format!("/channels/{channel}");
        let seen = Arc::new(Seen { counts: Mutex::new(vec![0; witnesses]), changed: Condvar::new() });
        let witness = |index| {
            let (client, seen) = (websocket(address, &path), Arc::clone(&seen));
            thread::spawn(move || witness(client, |count| seen.note(index, count)))
        };
        let witnesses = (0..witnesses).map(witness).collect();
        let (stop, stopped) = mpsc::channel();
        let mut client = websocket(address, &path);
        let ticker = thread::spawn(move || {
            let mut ticks = 0;
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                tick(&mut client, &ticks.to_string());
                ticks += 1;
            }
            tick(&mut client, END);
            ticks
        });
        Self { stop, ticker, witnesses, seen }
    }

    /// How many ticks every witness has got.
    pub fn seen(&self) -> usize {
        *self.seen.counts.lock().unwrap().iter().min().unwrap()
    }

    /// Waits until every witness has got this many more.
    pub fn more(&self, count: usize) {
        let target = self.seen() + count;
        let counts = self.seen.counts.lock().unwrap();
        let is_short = |counts: &mut Vec<usize>| counts.iter().any(|&count| count < target);
        let (counts, waited) = self.seen.changed.wait_timeout_while(counts, PATIENCE, is_short).unwrap();
        assert!(!waited.timed_out(), "the others are not served: {target} ticks are due, {counts:?} came");
    }

    /// Stops the ticker and asserts that every witness got every tick. Returns their number.
    pub fn end(self) -> usize {
        drop(self.stop);
        let ticks = self.ticker.join().unwrap();
        for witness in self.witnesses {
            assert_eq!(witness.join().unwrap(), ticks, "a witness has all that was said");
        }
        ticks
    }
}

impl Seen {
    fn note(&self, index: usize, count: usize) {
        self.counts.lock().unwrap()[index] = count;
        self.changed.notify_all();
    }
}

/// Publishes, and waits until it has come round.
fn tick(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
    assert_eq!(next_text(client), text, "the ticker is a subscriber too");
}

/// Reads ticks to the end; each must be the next. Returns their number.
pub fn witness(mut client: Client, mut note: impl FnMut(usize)) -> usize {
    for ticks in 0.. {
        let text = next_text(&mut client);
        if text == END {
            return ticks;
        }
        assert_eq!(text, ticks.to_string(), "no tick is lost, doubled or out of order");
        note(ticks + 1);
    }
    unreachable!("ticks do not run out")
}

/// The next text; pings before it are answered.
pub fn next_text(client: &mut Client) -> String {
    loop {
        match client.read() {
            Ok(Message::Text(text)) => return text.to_string(),
            Ok(Message::Ping(_)) => client.flush().unwrap(),
            // A read with a timeout ends this way when its process was stopped and woken: signal(7).
            Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            other => panic!("not a text: {other:?}"),
        }
    }
}
