//! What all loops and handles share: the configuration, the broker, the number of connections and of bytes per loop, the
//! state of the stop.
//!
//! Connections and logs are not here: each belongs to one loop.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::server::api::handlers::Handlers;
use crate::server::broker::Broker;
use crate::server::broker::mailbox::FIRST_LOOP;
use crate::server::clock::Millis;
use crate::server::demo::DemoCall;
use crate::server::lock::lock;
use crate::server::metrics::dashboard::FIGURES_CHANNEL;
use crate::server::metrics::refusals::{Reason, Refusals};
use crate::server::metrics::snapshot::{Meters, Snapshot};

/// After this long without an eviction of history, the next one is logged again. At the limit, histories lose a few
/// publications at a time for as long as clients publish, and a line for each would flood the log.
const EVICTION_OVER_MS: u64 = 60_000;

/// The state that all threads of a server share.
#[derive(Debug)]
pub struct Shared {
    pub config: Config,
    pub handlers: Handlers,
    pub broker: Broker,
    pub meters: Meters,
    /// The time from which [`Millis`] count.
    started: Instant,
    /// The number of connections of each loop, with those that it has been assigned and has not taken yet.
    connections: Vec<AtomicUsize>,
    connections_max: usize,
    /// The number of bytes that each loop holds for its clients.
    held: Vec<AtomicUsize>,
    /// For the whole server, so that a reason has one log line, not one per loop.
    refusals: Mutex<Refusals>,
    /// One more than the time of the last eviction of history, in milliseconds; 0 if there was none.
    evicted_at: AtomicU64,
    stop: AtomicU8,
    /// When the lame duck ends and the drain begins, in milliseconds. The first request to stop sets it.
    drain_at: AtomicU64,
    pub demo_call: DemoCall,
    /// The number of loops that have not ended.
    loops_left: AtomicUsize,
}

/// How far the stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The server runs.
    No,
    /// It answers 503 at /readyz and serves everything else, for the configured time.
    LameDuck,
    /// It closes every connection, spread over the configured time.
    Drain,
    /// It ends at once.
    Now,
}

impl Stop {
    /// Whether connections are being closed.
    pub fn is_leaving(self) -> bool {
        self >= Self::Drain
    }
}

impl Shared {
    /// For as many loops as the broker has mailboxes.
    pub fn new(config: Config, broker: Broker, connections_max: usize) -> Self {
        let connections = broker.mailboxes().iter().map(|_| AtomicUsize::new(0)).collect();
        let held = broker.mailboxes().iter().map(|_| AtomicUsize::new(0)).collect();
        let handlers = Handlers::new(&config);
        let meters = Meters::new(broker.mailboxes().len());
        let loops_left = AtomicUsize::new(broker.mailboxes().len());
        let stop = AtomicU8::new(Stop::No as u8);
        let demo_call = DemoCall::new(config.serves_demo());
        Self {
            config,
            handlers,
            broker,
            meters,
            started: Instant::now(),
            connections,
            connections_max,
            held,
            refusals: Mutex::default(),
            evicted_at: AtomicU64::new(0),
            stop,
            drain_at: AtomicU64::new(u64::MAX),
            demo_call,
            loops_left,
        }
    }

    /// The time. A loop reads it when its wait ends and when its flush phase begins.
    pub fn now(&self) -> Millis {
        Millis(self.elapsed().as_millis() as u64)
    }

    /// The same, to the nanosecond.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long it is until then.
    pub fn until(&self, then: Millis) -> Duration {
        (self.started + Duration::from_millis(then.0)).saturating_duration_since(Instant::now())
    }

    /// How many more connections may be taken.
    pub fn room(&self) -> usize {
        if self.is_over_memory() {
            return 0;
        }
        self.connections_max.saturating_sub(self.connections_len())
    }

    /// Reports how many bytes a loop holds for its clients.
    pub fn hold(&self, loop_index: usize, bytes: usize) {
        self.held[loop_index].store(bytes, Ordering::Relaxed);
    }

    /// Whether more bytes are held for clients than `--max-memory`.
    pub fn is_over_memory(&self) -> bool {
        self.excess() > 0
    }

    /// By how many bytes `--max-memory` is exceeded.
    pub fn excess(&self) -> u64 {
        let held: usize = self.held.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        ((held + self.broker.held_len()) as u64).saturating_sub(self.config.max_memory)
    }

    /// Evicts history until `--max-memory` is not exceeded any more, and logs that when it begins.
    pub fn shed(&self, now: Millis) {
        let evicted = self.broker.shed(|| !self.is_over_memory());
        if evicted == 0 {
            return;
        }
        let before = self.evicted_at.swap(now.0 + 1, Ordering::Relaxed);
        if before == 0 || now.0 >= before + EVICTION_OVER_MS {
            tracing::warn!(
                evicted,
                "--max-memory is reached: history is evicted, and reconnecting subscribers are told of a gap"
            );
        }
    }

    /// The number of connections of all loops.
    pub fn connections_len(&self) -> usize {
        self.connections.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Chooses the loop with the fewest connections, and counts one more for it. Only the first loop calls it.
    pub fn assign(&self) -> usize {
        let counts = self.connections.iter().enumerate();
        let (index, count) = counts
            .min_by_key(|(_, count)| count.load(Ordering::Relaxed))
            .expect("there is at least one loop");
        count.fetch_add(1, Ordering::Relaxed);
        index
    }

    /// Counts one connection less for a loop.
    pub fn release(&self, loop_index: usize) {
        self.connections[loop_index].fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a refusal, and logs it if a line is due for its reason.
    pub fn note(&self, kind: Reason, now: Millis, what: &dyn fmt::Display) {
        self.note_several(kind, 1, now, what);
    }

    /// Counts refusals for one reason, and logs them if a line is due for it.
    pub fn note_several(&self, kind: Reason, count: usize, now: Millis, what: &dyn fmt::Display) {
        lock(&self.refusals).note(kind, count as u64, now, what);
    }

    /// All numbers of the server at this moment. O(loops), whatever the number of connections.
    pub fn snapshot(&self) -> Snapshot {
        let own = usize::from(self.broker.subscribers_len(FIGURES_CHANNEL).is_some());
        Snapshot {
            counters: self.meters.counters(),
            refusals: lock(&self.refusals).counts().collect(),
            publication_bytes: self.broker.held_len() as u64,
            evicted: self.broker.evicted(),
            memory_max: self.config.max_memory,
            channels: self.broker.channels_len().saturating_sub(own) as u64,
            uptime: self.elapsed(),
        }
    }

    /// How far the stop has come.
    pub fn stop(&self) -> Stop {
        match self.stop.load(Ordering::SeqCst) {
            0 => Stop::No,
            1 => Stop::LameDuck,
            2 => Stop::Drain,
            _ => Stop::Now,
        }
    }

    /// Whether all loops but one have ended.
    pub fn is_last_loop(&self) -> bool {
        self.loops_left.load(Ordering::SeqCst) <= 1
    }

    /// A loop has ended. The first loop is woken, since it may wait for that.
    pub fn end_loop(&self) {
        self.loops_left.fetch_sub(1, Ordering::SeqCst);
        self.broker.mailbox(FIRST_LOOP).wake();
    }

    /// Begins the stop: with the lame duck if one is configured, otherwise with the drain. The first call sets the time.
    pub fn request_shutdown(&self) {
        if self.config.lame_duck.is_zero() {
            return self.request_stop(Stop::Drain);
        }
        let lame_duck_ms = u64::try_from(self.config.lame_duck.as_millis()).unwrap_or(u64::MAX);
        self.drain_at.fetch_min(self.now().0.saturating_add(lame_duck_ms), Ordering::SeqCst);
        self.request_stop(Stop::LameDuck);
    }

    /// Begins the drain now; false if the server is not a lame duck.
    pub fn end_lame_duck(&self) -> bool {
        let (from, to) = (Stop::LameDuck as u8, Stop::Drain as u8);
        let is_ended = self.stop.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.wake_all();
        is_ended
    }

    /// When the drain begins, if the server is a lame duck.
    pub fn drain_at(&self) -> Option<Millis> {
        (self.stop() == Stop::LameDuck).then(|| Millis(self.drain_at.load(Ordering::SeqCst)))
    }

    /// Tells every loop how far to stop. A stop that is further already stays as it is.
    pub fn request_stop(&self, stop: Stop) {
        self.stop.fetch_max(stop as u8, Ordering::SeqCst);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.broker.mailboxes().iter().for_each(|mailbox| mailbox.wake());
    }
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;
    use crate::server::broker::engine::Engine;
    use crate::server::broker::mailbox::mailboxes;
    use crate::server::broker::retention::Retention;

    /// The shared state of three loops, and the polls of their wakers.
    fn shared(connections_max: usize) -> (Shared, Vec<Poll>) {
        let polls: Vec<Poll> = (0..3).map(|_| Poll::new().unwrap()).collect();
        let retention = Retention::new(&Config::default());
        let broker = Broker::new(mailboxes(&polls, Token(0)).unwrap(), 0, retention, Engine::Local);
        (Shared::new(Config::default(), broker, connections_max), polls)
    }

    #[test]
    fn an_accepted_socket_goes_to_the_loop_with_the_fewest_connections() {
        let (shared, _polls) = shared(10);
        assert_eq!([shared.assign(), shared.assign(), shared.assign()], [0, 1, 2]);
        shared.release(1);
        assert_eq!(shared.assign(), 1);
    }

    #[test]
    fn there_is_room_up_to_the_most_connections() {
        let (shared, _polls) = shared(2);
        assert_eq!(shared.room(), 2);
        let index = shared.assign();
        shared.assign();
        assert_eq!((shared.room(), shared.connections_len()), (0, 2));
        shared.release(index);
        assert_eq!(shared.room(), 1);
    }

    #[test]
    fn a_second_request_to_stop_does_not_restart_the_lame_duck() {
        let (mut shared, _polls) = shared(1);
        assert_eq!(shared.drain_at(), None);
        shared.config.lame_duck = Duration::from_millis(1);
        shared.request_shutdown();
        shared.config.lame_duck = Duration::from_secs(600);
        shared.request_shutdown();
        assert_eq!(shared.stop(), Stop::LameDuck);
        assert!(shared.drain_at().unwrap().0 < 600_000);
    }

    #[test]
    fn a_lame_duck_is_ended_once() {
        let (mut shared, _polls) = shared(1);
        assert!(!shared.end_lame_duck(), "it is not a lame duck yet");
        assert_eq!(shared.stop(), Stop::No);
        shared.config.lame_duck = Duration::from_secs(600);
        shared.request_shutdown();
        assert!(shared.end_lame_duck());
        assert_eq!((shared.stop(), shared.drain_at()), (Stop::Drain, None));
        assert!(!shared.end_lame_duck(), "it is not a lame duck any more");
    }

    #[test]
    fn a_stop_does_not_become_less_urgent() {
        let (shared, _polls) = shared(1);
        assert_eq!(shared.stop(), Stop::No);
        shared.request_stop(Stop::Now);
        shared.request_stop(Stop::Drain);
        assert_eq!(shared.stop(), Stop::Now);
    }
}
