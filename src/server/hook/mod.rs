//! The calls of a site's backend: threads that make them, started as they are needed, and the way of answers to the loops.
//!
//! What is asked, joined, kept and answered is decided by `backend::Desk`; a loop waits for no call.

mod client;
#[cfg(test)]
#[path = "../../../tests/support/backend.rs"]
pub mod stub;
mod trouble;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use client::{Client, Failure};
use trouble::Trouble;

use crate::backend::{
    Action, Asked, Bounds, Call, CallId, Counts, Credentials, Desk, Fault, Reply, Taken, Told, Transport,
};
use crate::config::Backend;
use crate::hub::ChannelName;
use crate::server::broker::mailbox::{Mailbox, Verdict};
use crate::server::clock::{Clock, Millis, millis};
use crate::server::lock::lock;
use crate::server::outbound::Trust;

/// A thread that has had nothing to do for this long ends.
const IDLE_TIME_MAX: Duration = Duration::from_secs(10);

/// Who waits for an answer: a connection of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The loop.
    pub loop_index: usize,
    /// The connection's key as a number. It may have been closed when the answer comes.
    pub connection: u64,
}

/// What is asked about channels, by whom, and where the answer goes.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the client brought.
    pub credentials: &'a Arc<Credentials>,
    /// What it wants.
    pub action: Action,
    /// Of which channels.
    pub channels: &'a [ChannelName],
    /// How it came.
    pub transport: Transport,
    /// Whom a [`Verdict`] is sent to, if it is not known now.
    pub waiter: Waiter,
}

/// The backend that decides.
///
/// Its threads end when they are idle, and at [`Hook::stop`] or when it is dropped.
#[derive(Debug)]
pub struct Hook {
    office: Arc<Office>,
}

/// What the threads share with the loops.
#[derive(Debug)]
struct Office {
    client: Client,
    clock: Clock,
    mailboxes: Arc<[Mailbox]>,
    state: Mutex<State>,
    /// Wakes a thread.
    is_due: Condvar,
    /// Wakes those who wait for the end of the threads.
    has_ended: Condvar,
}

#[derive(Debug)]
struct State {
    desk: Desk<Waiter>,
    trouble: Trouble,
    threads_max: usize,
    threads: usize,
    /// Of them, those that wait for something to do.
    idle: usize,
}

impl Hook {
    /// No thread yet. `clock` is the one that `now` comes from in [`Hook::ask`].
    pub fn new(backend: &Backend, clock: Clock, mailboxes: Arc<[Mailbox]>, trust: &Trust) -> Self {
        let bounds = Bounds::new(millis(backend.timeout));
        let state = State {
            desk: Desk::new(bounds),
            trouble: Trouble::new(&backend.url),
            threads_max: bounds.calls_max,
            threads: 0,
            idle: 0,
        };
        let office = Office {
            client: Client::new(backend, bounds.calls_max, trust),
            clock,
            mailboxes,
            state: Mutex::new(state),
            is_due: Condvar::new(),
            has_ended: Condvar::new(),
        };
        Self { office: Arc::new(office) }
    }

    /// Asks about channels. What is not known is told later by a [`Verdict`] with the number of the question, also where the
    /// backend fails: always, and within twice the time of a call.
    pub fn ask(&self, question: Question<'_>, now: Millis) -> Asked {
        let Question { credentials, action, channels, transport, waiter } = question;
        let mut state = lock(&self.office.state);
        let asked = state.desk.ask(credentials, action, channels, transport, waiter, now.0);
        let told = if state.desk.has_work() { self.employ(&mut state) } else { Vec::new() };
        drop(state);
        self.office.tell(told);
        asked
    }

    /// Forgets what the backend has said of a user, who is asked about anew.
    pub fn forget_user(&self, sub: &str) {
        lock(&self.office.state).desk.forget_user(sub);
    }

    /// What there is and was.
    pub fn counts(&self) -> Counts {
        lock(&self.office.state).desk.counts()
    }

    /// Answers all who wait with a fault, and ends the threads; those that are in a call are waited for at most this long.
    pub fn stop(&self, within: Duration) {
        self.office.close();
        let state = lock(&self.office.state);
        let waited = self.office.has_ended.wait_timeout_while(state, within, |state| state.threads > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Sees to it that a thread takes what waits. Returns those who are told that there is none.
    fn employ(&self, state: &mut State) -> Vec<Told<Waiter>> {
        self.office.is_due.notify_one();
        if state.idle >= state.desk.counts().waiting || state.threads >= state.threads_max {
            return Vec::new();
        }
        let office = Arc::clone(&self.office);
        let started =
            thread::Builder::new().name("fanfare-auth".into()).spawn(move || Working(office).0.work());
        match started {
            Ok(_) => state.threads += 1,
            Err(error) => {
                state.trouble.note_no_thread(&error, self.office.clock.now());
                if state.threads == 0 {
                    return state.desk.give_up();
                }
            }
        }
        Vec::new()
    }
}

/// Threads that were not stopped end now.
impl Drop for Hook {
    fn drop(&mut self) {
        self.office.close();
    }
}

impl Office {
    /// Answers all who wait, and ends the threads once their calls have ended.
    fn close(&self) {
        let told = lock(&self.state).desk.stop();
        self.is_due.notify_all();
        self.tell(told);
    }

    /// A thread: makes calls until there are none for a while.
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            let (taken, told) = state.desk.take(self.clock.now().0);
            match taken {
                Taken::Call(call) => {
                    drop(state);
                    self.tell(told);
                    self.make(&call);
                    state = lock(&self.state);
                }
                Taken::Wait if !told.is_empty() => {
                    drop(state);
                    self.tell(told);
                    state = lock(&self.state);
                }
                Taken::Wait => {
                    let is_idle;
                    (state, is_idle) = self.sleep(state);
                    if is_idle && !state.desk.has_work() {
                        return;
                    }
                }
                Taken::End => return,
            }
        }
    }

    /// Waits until it is woken; true if it was not for a long time.
    fn sleep<'a>(&self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
        state.idle += 1;
        let woken = self.is_due.wait_timeout(state, IDLE_TIME_MAX);
        let (mut state, time) = woken.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        (state, time.timed_out())
    }

    fn make(&self, call: &Call) {
        let mut making = Making { office: self, id: call.id, outcome: None };
        making.outcome = Some(self.client.call(call));
    }

    fn settle(&self, id: CallId, outcome: Option<Result<Reply, Failure>>) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let outcome = match outcome {
            Some(Ok(reply)) => {
                state.trouble.note_answer(now);
                Ok(reply)
            }
            Some(Err(failure)) => {
                state.trouble.note_failure(&failure, now);
                Err(failure.fault())
            }
            None => Err(Fault::Unreachable),
        };
        let told = state.desk.settle(id, outcome, now.0);
        drop(state);
        self.tell(told);
    }

    /// Sends answers to the loops of those who asked.
    fn tell(&self, told: Vec<Told<Waiter>>) {
        for Told { waiter, question, decisions } in told {
            let Waiter { loop_index, connection } = waiter;
            self.mailboxes[loop_index].verdict(Verdict { connection, question, decisions });
        }
    }
}

/// A call that is being made. It is settled also if its thread panics, so that nobody waits for ever.
struct Making<'a> {
    office: &'a Office,
    id: CallId,
    outcome: Option<Result<Reply, Failure>>,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.office.settle(self.id, self.outcome.take());
    }
}

/// A thread's hold of the office: it is counted out also if it panics.
struct Working(Arc<Office>);

impl Drop for Working {
    fn drop(&mut self) {
        lock(&self.0.state).threads -= 1;
        self.0.has_ended.notify_all();
    }
}

#[cfg(test)]
#[path = "hook_tests.rs"]
mod tests;
