//! The keys of tokens at a URL (`--token-jwks`): a thread fetches them at the start, every ten minutes, and when a token names
//! a key that is not there. A set that cannot be fetched leaves the last one as it is.
//!
//! When is decided by `token::Refresh`; what follows from the keys by `access`.

mod client;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use client::{Client, Failure};

use crate::server::clock::{Clock, Millis};
use crate::server::excerpt::Excerpt;
use crate::server::lock::lock;
use crate::server::outbound::Trust;
use crate::token::{KeyFiles, Keys, Pace, Refresh};

/// The longest reason in a log line, in bytes.
const REASON_LEN_MAX: usize = 300;

/// The keys at a URL. The thread ends when this is dropped.
#[derive(Debug)]
pub struct KeyUrl {
    desk: Arc<Desk>,
}

/// How often they were fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// With good keys.
    pub fetched: u64,
    /// Without.
    pub failed: u64,
}

/// What the thread shares with those who meet unknown keys.
#[derive(Debug)]
struct Desk {
    client: Client,
    clock: Clock,
    state: Mutex<State>,
    /// Wakes the thread.
    is_due: Condvar,
}

#[derive(Debug)]
struct State {
    refresh: Refresh,
    keys: Keys,
    counts: FetchCounts,
    /// What was said last of keys that are passed over.
    passed_over: Vec<String>,
    /// Why the last attempt failed, if it did.
    failing: Option<String>,
    is_stopped: bool,
}

impl KeyUrl {
    /// Fetches the keys for the first time, and waits for that: a server that listens without them would refuse everybody. If
    /// it fails, the server begins without them.
    pub fn fetch(url: &str, clock: Clock, trust: &Trust) -> Self {
        Self::fetch_at(Pace::default(), url, clock, trust)
    }

    fn fetch_at(pace: Pace, url: &str, clock: Clock, trust: &Trust) -> Self {
        let client = Client::new(url, trust);
        let state = State {
            refresh: Refresh::new(pace, clock.now().0),
            keys: Keys::default(),
            counts: FetchCounts::default(),
            passed_over: Vec::new(),
            failing: None,
            is_stopped: false,
        };
        let desk = Desk { client, clock, state: Mutex::new(state), is_due: Condvar::new() };
        let fetched = desk.client.fetch();
        desk.settle(fetched);
        Self { desk: Arc::new(desk) }
    }

    /// The keys at present.
    pub fn keys(&self) -> Keys {
        lock(&self.desk.state).keys.clone()
    }

    /// How often they were fetched.
    pub fn counts(&self) -> FetchCounts {
        lock(&self.desk.state).counts
    }

    /// Starts the thread, which hands other keys than before to `take`. What that has changed, it says for the log; `None`
    /// ends the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(&self, take: impl Fn(&Keys) -> Option<String> + Send + 'static) -> io::Result<()> {
        let desk = Arc::clone(&self.desk);
        thread::Builder::new().name("fanfare-jwks".into()).spawn(move || desk.run(take)).map(drop)
    }

    /// A token names a key that is not there, or is signed by an algorithm that there is no key for.
    pub fn note_unknown(&self) {
        let now = self.desk.clock.now();
        if lock(&self.desk.state).refresh.note_unknown(now.0) {
            self.desk.is_due.notify_one();
        }
    }

    /// Ends the thread, which may be in a call: it is not waited for.
    pub fn stop(&self) {
        lock(&self.desk.state).is_stopped = true;
        self.desk.is_due.notify_one();
    }
}

impl Drop for KeyUrl {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Desk {
    fn run(&self, take: impl Fn(&Keys) -> Option<String>) {
        while self.wait() {
            let Some(keys) = self.settle(self.client.fetch()) else { continue };
            let Some(changes) = take(&keys) else { return };
            tracing::info!("reloaded --token-jwks {}: {changes}", self.client.place());
        }
    }

    /// Waits until a fetch is due; false at the end.
    fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.is_stopped {
                return false;
            }
            let left = self.clock.until(Millis(state.refresh.due_ms()));
            if left.is_zero() {
                return true;
            }
            state = self.sleep(state, left);
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let woken = self.is_due.wait_timeout(state, time);
        woken.map_or_else(|poisoned: PoisonError<_>| poisoned.into_inner().0, |(state, _)| state)
    }

    /// Notes how an attempt went. The keys, if they are others than before.
    fn settle(&self, fetched: Result<KeyFiles, Failure>) -> Option<Keys> {
        let (now, place) = (self.clock.now(), self.client.place());
        let mut state = lock(&self.state);
        state.refresh.note_attempt(now.0, fetched.is_ok());
        let read = match fetched {
            Ok(read) => read,
            Err(failure) => {
                state.counts.failed += 1;
                state.note_failure(place, &failure, now);
                return None;
            }
        };
        state.counts.fetched += 1;
        if state.failing.take().is_some() {
            tracing::info!("--token-jwks {place}: the keys are fetched again");
        }
        let news = read.passed_over.iter().filter(|sentence| !state.passed_over.contains(sentence));
        news.for_each(|sentence| tracing::warn!("--token-jwks {sentence}"));
        state.passed_over = read.passed_over;
        let is_other = read.keys.without(&state.keys).next().is_some()
            || state.keys.without(&read.keys).next().is_some();
        is_other.then(|| {
            state.keys = read.keys;
            state.keys.clone()
        })
    }
}

impl State {
    /// Logs a failure, unless the one before was the same.
    fn note_failure(&mut self, place: &str, failure: &Failure, now: Millis) {
        let reason = Excerpt { what: failure, len_max: REASON_LEN_MAX }.to_string();
        if self.failing.as_ref() == Some(&reason) {
            return;
        }
        let then = match self.counts.fetched {
            0 => "until they are, no token is good but for those of --token-key",
            _ => "those that were fetched before are good until they are",
        };
        let in_s = self.refresh.due_ms().saturating_sub(now.0) / 1000;
        tracing::error!(
            "--token-jwks {place}: the keys are not fetched: {reason}. The next try is in {in_s} s; {then}"
        );
        self.failing = Some(reason);
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
