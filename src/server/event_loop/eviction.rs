//! One budget for what clients make the server hold (`--max-memory`), and who goes when it is passed.
//!
//! What a log keeps the hub counts, what a connection holds it knows itself; here the sums are kept and compared.

use std::collections::{BTreeSet, HashMap};

use super::EventLoop;
use crate::hub::LogId;
use crate::server::clock::Millis;
use crate::server::connection::Next;
use crate::server::connection::table::Key;
use crate::server::metrics::refusals::Reason;

/// A connection that holds less than this is not worth ending for its memory: it is a frame or a head under way.
const BURDEN_MIN: u64 = 4 * 1024;

/// After a look at all connections that did not find enough, until the next one. A look at 100,000 takes some
/// milliseconds; what comes in meanwhile is bounded by the turns.
const RELIEF_PAUSE_MS: u64 = 20;

/// This part of `--max-memory` is freed besides what is too much, so that the next look is not due in the next turn:
/// there are at most 64 for as many bytes as may be held in all.
const RELIEF_PARTS: u64 = 64;

/// What a connection holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Burden {
    key: Key,
    /// By itself.
    held: u64,
    /// The logs that it lags in, and by how much.
    lags: Vec<(LogId, u64)>,
}

impl Burden {
    fn len(&self) -> u64 {
        self.held + self.lags.iter().map(|&(_, lag)| lag).sum::<u64>()
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
        left.sort_by_cached_key(|burden| (burden.len(), burden.key));
        let mut lags: HashMap<LogId, Vec<u64>> = HashMap::new();
        for &(log, lag) in left.iter().flat_map(|burden| &burden.lags) {
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
            for (log, lag) in burden.lags {
                let Some(lags) = self.lags.get_mut(&log) else { continue };
                victims.logs.insert(log);
                let furthest = lags.last().copied().unwrap_or(0);
                if let Ok(at) = lags.binary_search(&lag) {
                    lags.remove(at);
                }
                freed += furthest - lags.last().copied().unwrap_or(0);
            }
            if freed >= excess {
                break;
            }
        }
        victims
    }
}

/// When connections are looked at again, if memory is short.
#[derive(Debug, Default)]
pub struct Eviction {
    not_before: Millis,
    /// Whether memory was short at the end of the last turn, and that look was put off.
    is_put_off: bool,
}

impl Eviction {
    /// When the next look is due.
    pub fn deadline(&self) -> Option<Millis> {
        self.is_put_off.then_some(self.not_before)
    }
}

impl EventLoop {
    /// Tells the others how much this loop holds. If that is too much in all, the connections are ended that hold most
    /// here: those that lag furthest, or have most under way. A caught-up connection that asks for nothing is never among
    /// them.
    ///
    /// What is kept for reconnecting subscribers goes before anybody.
    pub(super) fn evict(&mut self) {
        self.report();
        self.eviction.is_put_off = false;
        if !self.is_over_memory() {
            return;
        }
        self.context.shared.shed(self.context.now);
        if !self.is_over_memory() {
            return;
        }
        if self.context.now < self.eviction.not_before {
            self.eviction.is_put_off = true;
            return;
        }
        let mut burdens = self.burdens();
        while self.is_over_memory() && !burdens.is_empty() {
            let shared = &self.context.shared;
            let victims = burdens.pick(shared.excess() + shared.config.max_memory / RELIEF_PARTS);
            for &key in &victims.keys {
                self.end_for_memory(key);
            }
            victims.logs.into_iter().for_each(|log| self.context.hub.trim(log));
            for key in victims.keys {
                self.flush_connection(key);
            }
            self.report();
        }
        if self.is_over_memory() {
            self.eviction.not_before = Millis(self.context.now.0 + RELIEF_PAUSE_MS);
        }
    }

    fn is_over_memory(&self) -> bool {
        self.context.shared.is_over_memory()
    }

    fn report(&self) {
        let cx = &self.context;
        cx.shared.hold(cx.loop_index, cx.held_len());
    }

    /// What the connections hold that are worth ending for it.
    fn burdens(&self) -> Burdens {
        let burdens = self.connections.keys().filter_map(|key| self.burden(key));
        Burdens::new(burdens.filter(|burden| burden.len() >= BURDEN_MIN).collect())
    }

    fn burden(&self, key: Key) -> Option<Burden> {
        let connection = self.connections.get(key)?;
        let lags = connection.lags(&self.context).filter(|&(_, lag)| lag > 0).collect();
        Some(Burden { key, held: connection.counted_len.into(), lags })
    }

    /// Ends a connection in a way that frees what it holds at once.
    fn end_for_memory(&mut self, key: Key) {
        let Some((connection, cx)) = self.with(key) else { return };
        cx.note(Reason::Memory, &"a connection: --max-memory is reached, and it held most");
        let next = if connection.unsent_len() as u64 >= BURDEN_MIN {
            // It does not take what it asked for: there is no room for a goodbye either.
            connection.cut(cx)
        } else {
            connection.end_for_memory(cx);
            Next::Wait
        };
        self.settle(key, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{ChannelName, Hub, WireForm};

    /// A connection that holds so much, and is behind by so much in a log.
    fn burden(index: u32, held: u64, lag: Option<(LogId, u64)>) -> Burden {
        Burden { key: Key::test(index), held, lags: lag.into_iter().collect() }
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
