//! One budget for what clients make the server hold (`--max-memory`), and who goes when it is passed.
//!
//! What a log keeps the hub counts, what a connection holds it knows itself; here the sums are kept and compared.

use std::collections::{BTreeSet, HashMap};

use super::connection::Phase;
use super::connections::Key;
use super::event_loop::EventLoop;
use super::handlers;
use super::liveness::Millis;
use super::refusals::Kind;
use crate::hub::LogId;
use crate::ws::CloseCode;

/// What a connection costs besides what it holds: its entry, its timer, its place in a log.
pub const CONNECTION_LEN: usize = 256;

/// A connection that holds less than this is not worth ending for its memory: it is a frame or a head under way.
const BURDEN_MIN: u64 = 4 * 1024;

/// What a client is told that goes for the sake of the others.
const OUT_OF_MEMORY: &str =
    "the server is out of memory (--max-memory), and you held most; come back in a moment";

/// After a look at all connections that did not find enough, until the next one. A look at 100,000 takes some
/// milliseconds; what comes in meanwhile is bounded by the turns.
const RELIEF_PAUSE_MS: u64 = 20;

/// This part of `--max-memory` is freed besides what is too much, so that the next look is not due in the next turn:
/// there are at most 64 for as many bytes as may be held in all.
const RELIEF_PARTS: u64 = 64;

/// What a connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Burden {
    key: Key,
    /// By itself.
    held: u64,
    /// The log that it is behind in, and by how much.
    lag: Option<(LogId, u64)>,
}

impl Burden {
    fn len(self) -> u64 {
        self.held + self.lag.map_or(0, |(_, lag)| lag)
    }
}

/// What connections hold, and which of them are to go.
#[derive(Debug)]
struct Burdens {
    /// The heaviest last.
    left: Vec<Burden>,
    /// By how much the readers of a log that are left are behind in it, the furthest last.
    lags: HashMap<LogId, Vec<u64>>,
}

/// Connections that go together, and the logs that they read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Victims {
    keys: Vec<Key>,
    logs: BTreeSet<LogId>,
}

impl Burdens {
    fn new(mut left: Vec<Burden>) -> Self {
        left.sort_unstable_by_key(|burden| (burden.len(), burden.key));
        let mut lags: HashMap<LogId, Vec<u64>> = HashMap::new();
        for (log, lag) in left.iter().filter_map(|burden| burden.lag) {
            lags.entry(log).or_default().push(lag);
        }
        lags.values_mut().for_each(|lags| lags.sort_unstable());
        Self { left, lags }
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Takes out the heaviest that together free so many bytes, at least one. A log is freed as far as the slowest
    /// of its readers that is left has read it.
    fn pick(&mut self, excess: u64) -> Victims {
        let (mut victims, mut freed) = (Victims::default(), 0);
        while let Some(burden) = self.left.pop() {
            victims.keys.push(burden.key);
            freed += burden.held;
            if let Some((log, _)) = burden.lag
                && let Some(lags) = self.lags.get_mut(&log)
            {
                victims.logs.insert(log);
                let furthest = lags.pop().unwrap_or(0);
                freed += furthest - lags.last().copied().unwrap_or(0);
            }
            if freed >= excess {
                break;
            }
        }
        victims
    }
}

impl EventLoop {
    /// Counts what a connection holds and how it is used now, in the place of what was counted before.
    pub(super) fn count(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let held = u32::try_from(connection.private_len()).unwrap_or(u32::MAX);
        self.private_len = self.private_len - connection.held as usize + held as usize;
        connection.held = held;
        let transport = connection.transport();
        if transport != connection.counted_as {
            self.tally.note_transport(connection.counted_as, transport);
            connection.counted_as = transport;
        }
    }

    /// Tells the others how much this loop holds. If that is too much in all, those go that hold most here: who is
    /// furthest behind, or has most under way. Who has read everything and asks for nothing is never among them.
    ///
    /// What is kept for those that might come back goes before anybody.
    pub(super) fn relieve(&mut self) {
        self.report();
        self.is_relief_due = false;
        if !self.shared.is_over_memory() {
            return;
        }
        self.shared.shed(self.now);
        if !self.shared.is_over_memory() {
            return;
        }
        if self.now < self.relief_at {
            self.is_relief_due = true;
            return;
        }
        let mut burdens = self.burdens();
        while self.shared.is_over_memory() && !burdens.is_empty() {
            let victims = burdens.pick(self.shared.excess() + self.shared.config.max_memory / RELIEF_PARTS);
            for &key in &victims.keys {
                self.unburden(key);
            }
            victims.logs.into_iter().for_each(|log| self.hub.trim(log));
            for key in victims.keys {
                self.flush_connection(key);
            }
            self.report();
        }
        if self.shared.is_over_memory() {
            self.relief_at = Millis(self.now.0 + RELIEF_PAUSE_MS);
        }
    }

    fn report(&self) {
        let connections_len = CONNECTION_LEN * self.connections.len();
        self.shared.hold(self.index, self.private_len + self.hub.log_bytes() + connections_len);
    }

    /// What the connections hold that are worth ending for it.
    fn burdens(&self) -> Burdens {
        let burdens = self.connections.keys().filter_map(|key| self.burden(key));
        Burdens::new(burdens.filter(|burden| burden.len() >= BURDEN_MIN).collect())
    }

    fn burden(&self, key: Key) -> Option<Burden> {
        let connection = self.connections.get(key)?;
        // A socket that has room is not behind, it is about to be flushed.
        let subscription = connection.subscription().filter(|_| !connection.is_writable);
        let lag = subscription.map(|subscription| (self.hub.log(subscription), self.hub.lag(subscription)));
        Some(Burden { key, held: connection.held.into(), lag })
    }

    /// Ends a connection in a way that frees what it holds at once.
    fn unburden(&mut self, key: Key) {
        self.shared.note(Kind::Memory, self.now, &"a connection: --max-memory is reached, and it held most");
        let Some(connection) = self.connections.get(key) else { return };
        if connection.outbox.unsent().len() as u64 >= BURDEN_MIN {
            // It does not take what it asked for: there is no room for a goodbye either.
            self.leave_channel(key);
            self.cut(key);
        } else if matches!(connection.phase, Phase::Http(_)) {
            self.leave_channel(key);
            self.respond(key, &handlers::over_capacity(), false, false);
        } else {
            self.close_connection(key, CloseCode::TRY_AGAIN_LATER, OUT_OF_MEMORY);
        }
    }

    /// Drops what was to be sent, and the connection with it.
    fn cut(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.phase = Phase::Lingering;
        connection.outbox = Default::default();
        self.doomed.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{ChannelName, Hub, WireForm};

    /// A connection that holds so much, and is behind by so much in a log.
    fn burden(index: u32, held: u64, lag: Option<(LogId, u64)>) -> Burden {
        Burden { key: Key::test(index), held, lag }
    }

    fn logs() -> [LogId; 2] {
        let mut hub = Hub::default();
        ["a", "b"].map(|name| {
            let name = ChannelName::new(name).unwrap();
            let subscription = hub.subscribe(&name, WireForm::WebSocket, 0);
            hub.log(subscription)
        })
    }

    fn picked(burdens: &mut Burdens, excess: u64) -> Vec<u32> {
        let keys = burdens.pick(excess).keys.into_iter();
        keys.map(|key| (0..10).find(|&index| Key::test(index) == key).unwrap()).collect()
    }

    #[test]
    fn the_heaviest_go_until_enough_is_freed() {
        let mut burdens = Burdens::new(vec![burden(0, 10, None), burden(1, 30, None), burden(2, 20, None)]);
        assert_eq!(picked(&mut burdens, 31), [1, 2]);
        assert_eq!(picked(&mut burdens, 1), [0]);
        assert!(burdens.is_empty());
    }

    #[test]
    fn a_log_is_freed_as_far_as_the_next_of_its_readers_has_read() {
        let [a, b] = logs();
        let lags = [(0, a, 100), (1, a, 90), (2, a, 40), (3, b, 60)];
        let all = || Burdens::new(lags.map(|(index, log, lag)| burden(index, 0, Some((log, lag)))).to_vec());
        assert_eq!(picked(&mut all(), 10), [0]);
        assert_eq!(picked(&mut all(), 60), [0, 1]);
        assert_eq!(picked(&mut all(), 61), [0, 1, 3]);
        assert_eq!(all().pick(61).logs, BTreeSet::from([a, b]), "each is trimmed once");
        assert_eq!(picked(&mut all(), 1000), [0, 1, 3, 2]);
    }
}
