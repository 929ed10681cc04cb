//! What all loops and handles share: the configuration, the broker, how full each loop is, whether to stop.
//!
//! No connection and no log is here.

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

/// When this long no history was evicted, the next eviction is another one and logged: at the limit it is a few
/// publications at a time, with pauses, for as long as clients publish.
const EVICTION_OVER_MS: u64 = 60_000;

/// Shared by reference between all threads of a server.
#[derive(Debug)]
pub struct Shared {
    pub config: Config,
    pub handlers: Handlers,
    pub broker: Broker,
    pub meters: Meters,
    /// What [`Millis`] count from.
    started: Instant,
    /// How many connections each loop has, or is about to have.
    connections: Vec<AtomicUsize>,
    connections_max: usize,
    /// How many bytes each loop holds for its clients.
    held: Vec<AtomicUsize>,
    /// One line a kind for the whole server, not one a loop.
    refusals: Mutex<Refusals>,
    /// When history was last evicted, in milliseconds and one; 0 for never.
    evicted_at: AtomicU64,
    stop: AtomicU8,
    /// When the lame duck's time is over, in milliseconds; set once, when the stop is asked for.
    drain_at: AtomicU64,
    pub demo_call: DemoCall,
    /// How many loops have not ended.
    loops_left: AtomicUsize,
}

/// How far the stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The server runs.
    No,
    /// It says that it is not ready, and serves everything else, for the configured time.
    LameDuck,
    /// It says goodbye to everybody.
    Drain,
    /// It ends.
    Now,
}

impl Stop {
    /// Whether connections are to go.
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

    /// The time. Every loop looks once a turn.
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

    /// Says how many bytes a loop holds for its clients.
    pub fn hold(&self, loop_index: usize, bytes: usize) {
        self.held[loop_index].store(bytes, Ordering::Relaxed);
    }

    /// Whether all that is held for clients is more than the configured memory.
    pub fn is_over_memory(&self) -> bool {
        self.excess() > 0
    }

    /// By how many bytes it is more.
    pub fn excess(&self) -> u64 {
        let held: usize = self.held.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        ((held + self.broker.held_len()) as u64).saturating_sub(self.config.max_memory)
    }

    /// Evicts history until memory is not short any more, and logs that once.
    pub fn shed(&self, now: Millis) {
        let evicted = self.broker.shed(|| !self.is_over_memory());
        if evicted == 0 {
            return;
        }
        let before = self.evicted_at.swap(now.0 + 1, Ordering::Relaxed);
        if before == 0 || now.0 >= before + EVICTION_OVER_MS {
            tracing::warn!(
                evicted,
                "--max-memory is reached: history is evicted, reconnecting subscribers get a gap"
            );
        }
    }

    /// How many connections there are.
    pub fn connections_len(&self) -> usize {
        self.connections.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The loop with the fewest connections, which is counted one more. Only the accepting loop assigns.
    pub fn assign(&self) -> usize {
        let counts = self.connections.iter().enumerate();
        let (index, count) = counts
            .min_by_key(|(_, count)| count.load(Ordering::Relaxed))
            .expect("there is at least one loop");
        count.fetch_add(1, Ordering::Relaxed);
        index
    }

    /// One connection of the loop is gone.
    pub fn release(&self, loop_index: usize) {
        self.connections[loop_index].fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a refusal, and logs it if it is time for a line.
    pub fn note(&self, kind: Reason, now: Millis, what: &dyn fmt::Display) {
        self.note_several(kind, 1, now, what);
    }

    /// Counts refusals of one kind, and logs them if it is time for a line.
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

    /// Whether to stop.
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

    /// A loop has ended. The first one may have waited for that.
    pub fn end_loop(&self) {
        self.loops_left.fetch_sub(1, Ordering::SeqCst);
        self.broker.mailbox(FIRST_LOOP).wake();
    }

    /// Begins the stop: by the lame duck if one is configured, else by the drain. The first to ask sets the time.
    pub fn request_shutdown(&self) {
        if self.config.lame_duck.is_zero() {
            return self.request_stop(Stop::Drain);
        }
        let lame_duck_ms = u64::try_from(self.config.lame_duck.as_millis()).unwrap_or(u64::MAX);
        self.drain_at.fetch_min(self.now().0.saturating_add(lame_duck_ms), Ordering::SeqCst);
        self.request_stop(Stop::LameDuck);
    }

    /// Goes from the lame duck to the drain; false if the stop has not come as far, or further.
    pub fn end_lame_duck(&self) -> bool {
        let (from, to) = (Stop::LameDuck as u8, Stop::Drain as u8);
        let is_ended = self.stop.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.wake_all();
        is_ended
    }

    /// When the lame duck's time is over, if it is one.
    pub fn drain_at(&self) -> Option<Millis> {
        (self.stop() == Stop::LameDuck).then(|| Millis(self.drain_at.load(Ordering::SeqCst)))
    }

    /// Tells every loop to stop. It does not become less urgent.
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

    /// What three loops share, and the polls that their wakers need.
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
    fn asked_twice_a_lame_duck_does_not_begin_anew() {
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
        assert!(!shared.end_lame_duck(), "it is none");
        assert_eq!(shared.stop(), Stop::No);
        shared.config.lame_duck = Duration::from_secs(600);
        shared.request_shutdown();
        assert!(shared.end_lame_duck());
        assert_eq!((shared.stop(), shared.drain_at()), (Stop::Drain, None));
        assert!(!shared.end_lame_duck(), "it is one no more");
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
