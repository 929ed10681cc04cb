//! What connections hold, and which of them go first when memory is short.
//!
//! Nobody is ended here.

use std::collections::{BTreeSet, HashMap};

use crate::hub::LogId;
use crate::server::clock::Millis;
use crate::server::connection::table::Key;

/// What a connection holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burden {
    pub key: Key,
    /// By itself.
    pub held: u64,
    /// The logs that it lags in, and by how much.
    pub lags: Vec<(LogId, u64)>,
}

impl Burden {
    pub fn len(&self) -> u64 {
        self.held + self.lags.iter().map(|&(_, lag)| lag).sum::<u64>()
    }
}

/// What connections hold, and which of them are to go.
#[derive(Debug)]
pub struct Burdens {
    /// The heaviest last.
    left: Vec<Burden>,
    /// By how much the readers of a log that are left are behind in it, the furthest last.
    lags: HashMap<LogId, Vec<u64>>,
}

/// Connections that go together, and the logs that they read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Victims {
    pub keys: Vec<Key>,
    pub logs: BTreeSet<LogId>,
}

impl Burdens {
    pub fn new(mut left: Vec<Burden>) -> Self {
        left.sort_by_cached_key(|burden| (burden.len(), burden.key));
        let mut lags: HashMap<LogId, Vec<u64>> = HashMap::new();
        for &(log, lag) in left.iter().flat_map(|burden| &burden.lags) {
            lags.entry(log).or_default().push(lag);
        }
        lags.values_mut().for_each(|lags| lags.sort_unstable());
        Self { left, lags }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Takes out the heaviest that together free so many bytes, at least one. A log is freed as far as the slowest
    /// of its readers that is left has read it.
    pub fn pick(&mut self, excess: u64) -> Victims {
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
    pub not_before: Millis,
    /// Whether memory was short at the end of the last turn, and that look was put off.
    pub is_put_off: bool,
}

impl Eviction {
    /// When the next look is due.
    pub fn deadline(&self) -> Option<Millis> {
        self.is_put_off.then_some(self.not_before)
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
