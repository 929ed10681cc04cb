//! One receiver: the events that wait for it, and the thread that sends them.
//!
//! Loops push events under a lock that the thread holds for as long as it takes to collect a request, never while it sends.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::pusher::webhook::{Bounds, Counts, Event, Kinds, Next, Pushed, Timing, WebhookQueue, body};
use crate::server::apps::webhooks::client::{ATTEMPT_TIME_MAX, Client, Credentials, Failure};
use crate::server::apps::webhooks::trouble::{Lost, Trouble};
use crate::server::clock::{Clock, Millis, millis, unix_ms};
use crate::server::lock::lock;
use crate::server::outbound::Trust;

/// A receiver of an app's webhooks. The thread ends after [`Receiver::close`].
#[derive(Debug)]
pub struct Receiver {
    url: Box<str>,
    clock: Clock,
    state: Mutex<State>,
    /// Wakes the thread.
    is_due: Condvar,
    /// Wakes those who wait for the end of the thread.
    has_ended: Condvar,
}

/// What the thread shares with those who report events.
#[derive(Debug)]
struct State {
    queue: WebhookQueue,
    credentials: Arc<Credentials>,
    trouble: Trouble,
    /// Until when the thread sleeps; the beginning of time while it does not.
    sleeps_until: Millis,
    /// When the thread ends at the latest, if it was closed.
    end_by: Option<Millis>,
    is_running: bool,
}

/// What is known of a receiver, for the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverState {
    /// Where events are posted to.
    pub url: Box<str>,
    /// What became of events so far.
    pub counts: Counts,
    /// Why the last attempt failed, if it did.
    pub failure: Option<String>,
}

/// What the thread sends.
struct Attempt {
    events: Vec<Arc<str>>,
    credentials: Arc<Credentials>,
    within: Duration,
}

impl Receiver {
    /// Starts the thread of a receiver.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        app_id: &str,
        url: &str,
        kinds: Kinds,
        credentials: Arc<Credentials>,
        clock: Clock,
        timing: Timing,
        trust: Trust,
    ) -> io::Result<Arc<Self>> {
        let state = State {
            queue: WebhookQueue::new(kinds, timing, Bounds::default()),
            credentials,
            trouble: Trouble::new(app_id, url),
            sleeps_until: Millis(0),
            end_by: None,
            is_running: true,
        };
        let receiver = Arc::new(Self {
            url: url.into(),
            clock,
            state: Mutex::new(state),
            is_due: Condvar::new(),
            has_ended: Condvar::new(),
        });
        let sending = Running(Arc::clone(&receiver));
        thread::Builder::new().name("fanfare-webhook".into()).spawn(move || sending.0.send_all(&trust))?;
        Ok(receiver)
    }

    /// Where events are posted to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces what a reload may change.
    pub fn update(&self, kinds: Kinds, credentials: Arc<Credentials>) {
        let mut state = lock(&self.state);
        state.queue.set_kinds(kinds);
        state.credentials = credentials;
    }

    /// Takes an event; `text` is its JSON.
    pub fn push(&self, event: &Event, text: &Arc<str>, now: Millis) {
        let mut state = lock(&self.state);
        match state.queue.push(event, text, now.0) {
            Pushed::Waits(at_ms) if Millis(at_ms) < state.sleeps_until => {
                state.sleeps_until = Millis(at_ms);
                drop(state);
                self.is_due.notify_one();
            }
            Pushed::Waits(_) | Pushed::Settled => {}
            Pushed::Dropped => {
                let why = if state.queue.is_closed() { Lost::Stopped } else { Lost::Full };
                state.trouble.note_lost(1, why, now);
                if let Some(due) = state.trouble.due().filter(|&due| due < state.sleeps_until) {
                    state.sleeps_until = due;
                    drop(state);
                    self.is_due.notify_one();
                }
            }
        }
    }

    /// What waits is tried once, until then at the latest; then the thread ends.
    pub fn close(&self, end_by: Millis) {
        let mut state = lock(&self.state);
        state.queue.close();
        state.end_by = Some(state.end_by.map_or(end_by, |earlier| earlier.min(end_by)));
        drop(state);
        self.is_due.notify_one();
    }

    /// Waits for the end of the thread after [`close`](Self::close). What waits then is dropped.
    pub fn join(&self, end_by: Millis) {
        let state = lock(&self.state);
        let is_running = |state: &mut State| state.is_running;
        let waited = self.has_ended.wait_timeout_while(state, self.clock.until(end_by), is_running);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.abandon(self.clock.now());
        state.trouble.end();
    }

    /// Whether the thread has not ended.
    pub fn is_running(&self) -> bool {
        lock(&self.state).is_running
    }

    /// What became of events so far.
    pub fn counts(&self) -> Counts {
        lock(&self.state).queue.counts()
    }

    /// What is known of it.
    pub fn state(&self) -> ReceiverState {
        let state = lock(&self.state);
        let failure = state.trouble.reason().map(ToOwned::to_owned);
        ReceiverState { url: self.url.clone(), counts: state.queue.counts(), failure }
    }

    /// The thread.
    fn send_all(&self, trust: &Trust) {
        let client = Client::new(&self.url, trust);
        while let Some(Attempt { events, credentials, within }) = self.next_attempt() {
            let body = body(unix_ms(), &events);
            self.settle(client.post(&self.url, &credentials, &body, within));
        }
    }

    /// Waits until something is to be sent. None after the end.
    fn next_attempt(&self) -> Option<Attempt> {
        let mut state = lock(&self.state);
        loop {
            let now = self.clock.now();
            if state.end_by.is_some_and(|end_by| end_by <= now) {
                return None;
            }
            state.trouble.log_due(now);
            let until = match state.queue.next(now.0) {
                Next::Send(events) => return Some(state.attempt(events, now)),
                Next::WaitUntil(at_ms) => Millis(at_ms),
                Next::Wait if state.queue.is_closed() => return None,
                Next::Wait => Millis(u64::MAX),
            };
            let until = state.trouble.due().map_or(until, |due| due.min(until));
            state.sleeps_until = until;
            state = self.sleep(state, Duration::from_millis(until.0.saturating_sub(now.0)));
            state.sleeps_until = Millis(0);
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let woken = self.is_due.wait_timeout(state, time);
        woken.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
    }

    /// Notes how an attempt went.
    fn settle(&self, outcome: Result<(), Failure>) {
        let mut state = lock(&self.state);
        let now = self.clock.now();
        match outcome {
            Ok(()) => {
                state.queue.taken();
                state.trouble.note_success();
            }
            Err(failure) => {
                let dropped = state.queue.failed(now.0);
                state.trouble.note_failure(&failure);
                if dropped > 0 {
                    let why = if state.queue.is_closed() { Lost::Stopped } else { Lost::TooLong };
                    state.trouble.note_lost(dropped, why, now);
                }
            }
        }
    }
}

impl State {
    fn attempt(&self, events: Vec<Arc<str>>, now: Millis) -> Attempt {
        let left_ms = self.end_by.map_or(u64::MAX, |end_by| end_by.0.saturating_sub(now.0));
        let within = Duration::from_millis(millis(ATTEMPT_TIME_MAX).min(left_ms).max(1));
        Attempt { events, credentials: Arc::clone(&self.credentials), within }
    }

    /// Drops what waits.
    fn abandon(&mut self, now: Millis) {
        let dropped = self.queue.abandon();
        if dropped > 0 {
            self.trouble.note_lost(dropped, Lost::Stopped, now);
        }
    }
}

/// The thread's hold of its receiver: whoever waits for its end is woken also if it panics.
struct Running(Arc<Receiver>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.is_running = false;
        state.abandon(self.0.clock.now());
        state.trouble.end();
        drop(state);
        self.0.has_ended.notify_all();
    }
}
