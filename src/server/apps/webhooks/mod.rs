//! The webhooks of running apps: a thread for each receiver, which a start or a reload begins and a stop ends.
//!
//! What is sent when is decided by `pusher::webhook`; a loop that reports an event waits for no request.

mod client;
mod receiver;
#[cfg(test)]
#[path = "../../../../tests/support/receiver.rs"]
mod stub;
mod trouble;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use crate::pusher::webhook::{Counts, Event, Kinds, Timing};
use crate::pusher::{App, WebhookEvent};
use crate::server::apps::webhooks::client::{ATTEMPT_TIME_MAX, Credentials};
use crate::server::apps::webhooks::receiver::Receiver;
pub use crate::server::apps::webhooks::receiver::ReceiverState;
use crate::server::clock::{Clock, Millis, millis};
use crate::server::lock::{lock, read, write};
use crate::server::outbound::Trust;

/// The threads of all receivers of a server.
#[derive(Debug)]
pub struct Senders {
    clock: Clock,
    timing: Timing,
    trust: Trust,
    /// Also those of receivers and apps that a reload has removed, until they have ended.
    running: Mutex<Vec<Arc<Receiver>>>,
}

/// The threads of a server that never ran, or was not stopped, end now.
impl Drop for Senders {
    fn drop(&mut self) {
        let now = self.clock.now();
        lock(&self.running).iter().for_each(|receiver| receiver.close(now));
    }
}

/// The receivers of an app.
#[derive(Debug, Default)]
pub struct Webhooks {
    /// The kinds of events that any of them is told of, as [`Kinds::bits`].
    kinds: AtomicU8,
    receivers: RwLock<Vec<Arc<Receiver>>>,
    leaving: Mutex<Leaving>,
}

/// What a reload has removed.
#[derive(Debug, Default)]
struct Leaving {
    /// The receivers whose threads have not ended.
    receivers: Vec<Arc<Receiver>>,
    /// What became of the events of the others.
    ended: Counts,
}

impl Senders {
    /// No thread yet. `clock` is the one whose times events are reported with.
    pub fn new(clock: Clock, timing: Timing, trust: Trust) -> Self {
        Self { clock, timing, trust, running: Mutex::default() }
    }

    /// Ends every thread: what waits is tried once, for at most this time in all, and what then still waits is dropped.
    pub fn stop(&self, within: Duration) {
        let running = std::mem::take(&mut *lock(&self.running));
        let end_by = Millis(self.clock.now().0.saturating_add(millis(within)));
        running.iter().for_each(|receiver| receiver.close(end_by));
        running.iter().for_each(|receiver| receiver.join(end_by));
    }

    /// Starts the thread of a receiver, or logs why there is none: the app runs without it.
    fn start(
        &self,
        app_id: &str,
        url: &str,
        kinds: Kinds,
        credentials: &Arc<Credentials>,
    ) -> Option<Arc<Receiver>> {
        let credentials = Arc::clone(credentials);
        let started =
            Receiver::start(app_id, url, kinds, credentials, self.clock, self.timing, self.trust.clone());
        let receiver = started.inspect_err(|error| {
            tracing::error!(
                "webhooks of app {app_id} are not sent: the system refuses a thread: {error}. Raise the limit on processes \
                 or memory (ulimit -u, ulimit -v), then reload"
            );
        });
        let receiver = receiver.ok()?;
        let mut running = lock(&self.running);
        running.retain(|receiver| receiver.is_running());
        running.push(Arc::clone(&receiver));
        Some(receiver)
    }
}

impl Webhooks {
    /// Makes the receivers those of the settings. One that stays keeps what waits for it; the thread of one that is removed
    /// tries that once and ends.
    pub fn apply(&self, settings: &App, senders: &Senders) {
        let secret = settings.secrets.first().cloned().unwrap_or_default();
        let credentials = Arc::new(Credentials { key: settings.key.clone(), secret });
        let mut before = read(&self.receivers).clone();
        let (mut receivers, mut kinds) = (Vec::new(), Kinds::default());
        for webhook in &settings.webhooks {
            let listed = Kinds::listed(&webhook.events);
            let receiver = match before.iter().position(|receiver| receiver.url() == webhook.url) {
                Some(at) => {
                    let receiver = before.remove(at);
                    receiver.update(listed, Arc::clone(&credentials));
                    Some(receiver)
                }
                None => senders.start(&settings.id, &webhook.url, listed, &credentials),
            };
            if let Some(receiver) = receiver {
                kinds = kinds.and(listed.with_cancelling());
                receivers.push(receiver);
            }
        }
        *write(&self.receivers) = receivers;
        self.kinds.store(kinds.bits(), Ordering::Relaxed);
        self.remove(before, senders);
    }

    /// Removes every receiver: the app is gone.
    pub fn close(&self, senders: &Senders) {
        self.kinds.store(Kinds::default().bits(), Ordering::Relaxed);
        self.remove(std::mem::take(&mut *write(&self.receivers)), senders);
    }

    fn remove(&self, receivers: Vec<Arc<Receiver>>, senders: &Senders) {
        let end_by = Millis(senders.clock.now().0.saturating_add(millis(ATTEMPT_TIME_MAX)));
        receivers.iter().for_each(|receiver| receiver.close(end_by));
        let mut leaving = lock(&self.leaving);
        leaving.receivers.extend(receivers);
        leaving.settle();
    }

    /// Whether anybody is told of this kind of event, or it can cancel what somebody would be told of.
    pub fn wants(&self, kind: WebhookEvent) -> bool {
        Kinds::from_bits(self.kinds.load(Ordering::Relaxed)).contains(kind)
    }

    /// Hands an event to the receivers.
    pub fn report(&self, event: &Event, now: Millis) {
        if !self.wants(event.kind()) {
            return;
        }
        let text = event.to_json().into();
        read(&self.receivers).iter().for_each(|receiver| receiver.push(event, &text, now));
    }

    /// What is known of each receiver, in the order of the configuration.
    pub fn receivers(&self) -> Vec<ReceiverState> {
        read(&self.receivers).iter().map(|receiver| receiver.state()).collect()
    }

    /// What became of all events so far; none if there never was a receiver.
    pub fn counts(&self) -> Option<Counts> {
        let mut leaving = lock(&self.leaving);
        leaving.settle();
        let mut counts = leaving.ended;
        let present = read(&self.receivers);
        let all = present.iter().chain(&leaving.receivers);
        let is_used = all.clone().next().is_some() || counts != Counts::default();
        all.for_each(|receiver| counts.add(receiver.counts()));
        is_used.then_some(counts)
    }
}

impl Leaving {
    /// Forgets the receivers whose threads have ended, but for what they counted.
    fn settle(&mut self) {
        let Self { receivers, ended } = self;
        receivers.retain(|receiver| {
            let is_running = receiver.is_running();
            if !is_running {
                ended.add(receiver.counts());
            }
            is_running
        });
    }
}

#[cfg(test)]
#[path = "webhooks_tests.rs"]
mod tests;
