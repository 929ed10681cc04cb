//! What all loops and handles share: the configuration, the broker, the apps, and a type for each of the clock, the placement of
//! connections, the budget of memory, the refusals and the stop.
//!
//! Connections and logs are not here: each belongs to one loop.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::Config;
use crate::pusher::App;
use crate::pusher::webhook::Timing;
use crate::server::access::{Access, Asker, Guard, KeyChanges, Refusal, Whom};
use crate::server::api::handlers::Handlers;
use crate::server::apps::{Apps, Reloaded};
use crate::server::audit::Audit;
use crate::server::broker::Broker;
use crate::server::broker::engine::tidings::Tiding;
use crate::server::broker::mailbox::{FIRST_LOOP, Opening};
use crate::server::budget::Budget;
use crate::server::clock::{self, Clock, Millis};
use crate::server::handshakes::Handshakes;
use crate::server::hook::Hook;
use crate::server::jwks::KeyUrl;
use crate::server::limits::Limits;
use crate::server::lock::lock;
use crate::server::metrics::dashboard::FIGURES_CHANNEL;
use crate::server::metrics::refusals::{Reason, Refusals};
use crate::server::metrics::snapshot::{Meters, Snapshot};
use crate::server::outbound::Trust;
use crate::server::placement::Placement;
use crate::server::redis::{Host, Outcome, Redis};
use crate::server::sessions::Sessions;
use crate::server::stopping::{Stop, Stopping};
use crate::server::tls::{Session, Tls};
use crate::token::Keys;

/// The state that all threads of a server share.
#[derive(Debug)]
pub struct Shared {
    pub config: Config,
    pub handlers: Handlers,
    /// The rules of access, and what proofs are good at present.
    pub guard: Guard,
    pub broker: Arc<Broker>,
    pub apps: Arc<Apps>,
    pub meters: Meters,
    pub clock: Clock,
    pub placement: Placement,
    /// Of addresses and users.
    pub limits: Limits,
    /// The sessions over HTTP requests.
    pub sessions: Sessions,
    pub budget: Budget,
    /// Where publications by keys are written down, if they are.
    pub audit: Option<Audit>,
    /// The engine of many nodes, if there is one.
    pub redis: Option<Redis>,
    /// The backend that decides, if there is one.
    pub hook: Option<Hook>,
    /// Certificates and the configuration of sessions, where an address speaks TLS.
    pub tls: Option<Tls>,
    /// The port of `https://` that plain requests are sent to, if they are.
    pub redirect_port: Option<u16>,
    /// The TLS handshakes that wait.
    pub handshakes: Handshakes,
    /// For the whole server, so that a reason has one log line, not one per loop.
    refusals: Mutex<Refusals>,
    /// Its changes wake the loops, so they are made here.
    stopping: Stopping,
}

/// With an engine of many nodes, it is the engine that waits for who comes back. That somebody has gone, which one node reports, goes
/// ahead of that it has come, which another one reports a moment after.
const TIMING_OF_NODES: Timing = Timing { delay_ms: 0, arrival_ms: 300, ..Timing::DEFAULT };

impl Shared {
    /// For as many loops as the broker has mailboxes.
    pub fn new(config: Config, broker: Broker, connections_max: usize, trust: &Trust) -> Self {
        let (loops, clock) = (broker.mailboxes().len(), Clock::start());
        let apps = Apps::new(&config.apps_or_development(&config.apps), loops);
        let timing = if broker.has_engine() { TIMING_OF_NODES } else { Timing::default() };
        apps.start_webhooks(clock, timing, trust);
        let apps = Arc::new(apps);
        let hook = config
            .backend
            .as_ref()
            .map(|backend| Hook::new(backend, clock, broker.shared_mailboxes(), trust));
        let key_url = config.token_jwks.as_deref().map(|url| KeyUrl::fetch(url, clock, trust));
        Self {
            handlers: Handlers::new(&config),
            guard: Guard::new(&config, loops).with_key_url(key_url),
            apps,
            meters: Meters::new(loops),
            clock,
            placement: Placement::new(loops, connections_max),
            limits: Limits::new(&config),
            sessions: Sessions::default(),
            budget: Budget::new(loops, config.max_memory),
            hook,
            redis: None,
            audit: None,
            tls: None,
            redirect_port: None,
            handshakes: Handshakes::default(),
            refusals: Mutex::default(),
            stopping: Stopping::new(loops),
            config,
            broker: Arc::new(broker),
        }
    }

    /// The same with the file where publications by keys are written down.
    pub fn with_audit(self, audit: Option<Audit>) -> Self {
        Self { audit, ..self }
    }

    /// The same with the engine that the broker was made with.
    pub fn with_redis(self, redis: Option<Redis>) -> Self {
        Self { redis, ..self }
    }

    /// Starts the thread of the engine, if there is one, which works for `host`. Returns how the first attempt to reach Redis went.
    ///
    /// # Errors
    /// The system has no thread, or the authorities of TLS are not to be read.
    pub fn start_redis(&self, trust: &Trust, host: Box<dyn Host>) -> io::Result<Outcome> {
        let (Some(engine), Some(config)) = (&self.redis, &self.config.redis) else { return Ok(Outcome::Up) };
        engine.start(config, Arc::clone(&self.broker), (self.clock, trust), host)
    }

    /// The same with what addresses that speak TLS need. The first of them has this port.
    pub fn with_tls(self, tls: Option<Tls>, port: Option<u16>) -> Self {
        let redirect_port = port.filter(|_| self.config.tls.redirect_https);
        Self { tls, redirect_port, ..self }
    }

    /// The session of a connection that begins with TLS.
    pub fn begin_tls(&self, opening: Opening) -> Option<Session> {
        match opening {
            Opening::Tls => self.tls.as_ref().and_then(Tls::begin),
            Opening::Request | Opening::ProxyHeader => None,
        }
    }

    /// Replaces the configured apps by others that were checked, and wakes the loops, which close the connections of those
    /// that are gone.
    pub fn reload_apps(&self, apps: &[App]) -> Reloaded {
        let reloaded = self.apps.reload(self.config.apps_or_development(apps));
        self.wake_all();
        reloaded
    }

    /// How many more connections may be taken: none while memory is short.
    pub fn room(&self) -> usize {
        if self.is_over_memory() { 0 } else { self.placement.room() }
    }

    /// Whether more bytes are held for clients than `--max-memory`.
    pub fn is_over_memory(&self) -> bool {
        self.budget.excess(&self.broker) > 0
    }

    /// Counts a refusal, and logs it if a line is due for its reason.
    pub fn note(&self, reason: Reason, now: Millis, what: &dyn fmt::Display) {
        self.note_several(reason, 1, now, what);
    }

    /// Counts refusals for one reason, and logs them if a line is due for it.
    pub fn note_several(&self, reason: Reason, count: usize, now: Millis, what: &dyn fmt::Display) {
        lock(&self.refusals).note(reason, count as u64, now, what);
    }

    /// All numbers of the server at this moment, but those of a program's handlers. O(loops), whatever the number of connections.
    pub fn snapshot(&self) -> Snapshot {
        let own = usize::from(self.broker.subscribers_len(FIGURES_CHANNEL).is_some());
        let (refusals, tls_failures) = {
            let refusals = lock(&self.refusals);
            (refusals.counts().collect(), refusals.tls_counts().collect())
        };
        Snapshot {
            counters: self.meters.counters(),
            keys: self.key_uses(),
            refusals,
            publication_bytes: self.broker.held_len() as u64,
            token_bytes: self.guard.held_len() as u64,
            evicted: self.broker.evicted(),
            memory_max: self.config.max_memory,
            channels: self.broker.channels_len().saturating_sub(own) as u64,
            webhooks: self.apps.webhook_counts(),
            backend: self.hook.as_ref().map(Hook::counts),
            redis: self.redis.as_ref().map(|redis| redis.state().figures()),
            tls: self.tls.as_ref().map(Tls::figures),
            key_fetches: self.guard.key_url().map(|key_url| {
                let counts = key_url.counts();
                (counts.fetched, counts.failed)
            }),
            tls_failures,
            tls_waiting: self.handshakes.waiting() as u64,
            audit_lost: self.audit.as_ref().map_or(0, Audit::lost),
            handler_panics: 0,
            handlers: Vec::new(),
            uptime: self.clock.elapsed(),
        }
    }
}

/// Access.
impl Shared {
    fn key_uses(&self) -> Vec<(String, u64, u64)> {
        let uses = self.guard.access().key_uses().into_iter();
        uses.map(|key| (key.name, key.publishes, key.last_used_s)).collect()
    }

    /// The rules at present. A loop keeps those of its turn in its context.
    pub fn access(&self) -> Arc<Access> {
        self.guard.access()
    }

    /// Changes whenever the rules do.
    pub fn generation(&self) -> u64 {
        self.guard.generation()
    }

    /// Takes the rules, keys, globs and origins of another configuration that was checked, and wakes the loops, which
    /// close the connections that may stay no more.
    pub fn reload_access(&self, config: &Config) -> KeyChanges {
        let changes = self.guard.reload(config);
        self.wake_all();
        changes
    }

    /// Takes the keys of tokens that were fetched, and wakes the loops, which close the connections whose keys are gone.
    pub fn take_fetched_keys(&self, keys: &Keys) -> KeyChanges {
        let changes = self.guard.take_fetched(keys);
        self.wake_all();
        changes
    }

    /// Revokes tokens on all nodes, and forgets what the backend has said of the user. The loops end the connections that live by
    /// them, and `asker` is told how many of this node they were.
    ///
    /// # Errors
    /// There is no room for another revocation.
    pub fn revoke(&self, whom: Whom, asker: Asker) -> Result<(), Refusal> {
        let at_s = clock::unix_ms() / 1000;
        let tiding = match whom.clone() {
            Whom::Sub(sub) => Tiding::UserRevoked { sub, at_s },
            Whom::Jti(jti) => Tiding::TokenRevoked { jti, at_s },
        };
        self.revoke_here(whom, at_s, Some(asker))?;
        self.broker.tell_nodes(tiding);
        Ok(())
    }

    /// The same on this node only.
    ///
    /// # Errors
    /// There is no room for another revocation.
    pub fn revoke_here(&self, whom: Whom, at_s: u64, asker: Option<Asker>) -> Result<(), Refusal> {
        if let (Whom::Sub(sub), Some(hook)) = (&whom, &self.hook) {
            hook.forget_user(sub);
        }
        self.guard.revoke(whom, at_s, asker)?;
        self.wake_all();
        Ok(())
    }
}

/// The stop.
impl Shared {
    /// How far the stop has come.
    pub fn stop(&self) -> Stop {
        self.stopping.stop()
    }

    /// When the drain begins, if the server is a lame duck.
    pub fn drain_at(&self) -> Option<Millis> {
        self.stopping.drain_at()
    }

    /// Whether all loops but one have ended.
    pub fn is_last_loop(&self) -> bool {
        self.stopping.is_last_loop()
    }

    /// A loop has ended. The first loop is woken, since it may wait for that.
    pub fn end_loop(&self) {
        self.stopping.end_loop();
        self.broker.mailbox(FIRST_LOOP).wake();
    }

    /// Begins the stop: with the lame duck if one is configured, otherwise with the drain. The first call sets the time.
    pub fn request_shutdown(&self) {
        self.stopping.begin(self.config.lame_duck, self.clock.now());
        self.wake_all();
    }

    /// Begins the drain now; false if the server is not a lame duck.
    pub fn end_lame_duck(&self) -> bool {
        let is_ended = self.stopping.end_lame_duck();
        self.wake_all();
        is_ended
    }

    /// Tells every loop how far to stop. A stop that is further already stays as it is.
    pub fn request_stop(&self, stop: Stop) {
        self.stopping.request(stop);
        self.wake_all();
    }

    /// Ends the sending of webhooks, once no loop reports any.
    pub fn stop_webhooks(&self) {
        let within = if self.stop() == Stop::Now { Duration::ZERO } else { self.config.close_timeout };
        self.apps.stop_webhooks(within);
    }

    /// Ends the calls of the backend, once no loop asks anything.
    pub fn stop_hook(&self) {
        if let Some(hook) = &self.hook {
            let within = if self.stop() == Stop::Now { Duration::ZERO } else { self.config.close_timeout };
            hook.stop(within);
        }
    }

    /// Ends the engine of many nodes, once nothing is published any more.
    pub fn stop_redis(&self) {
        self.redis.iter().for_each(Redis::stop);
    }

    /// Whether Redis has been away for longer than anybody is to wait.
    pub fn is_redis_away(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| redis.is_away(self.clock.now()))
    }

    /// Ends the fetching of keys.
    pub fn stop_key_url(&self) {
        self.guard.key_url().iter().for_each(|key_url| key_url.stop());
    }

    /// Waits until the audit is written, once no loop publishes anything, for at most the time of a close.
    pub fn stop_audit(&self) {
        let unwritten = self.audit.as_ref().map_or(0, |audit| audit.flush(self.config.close_timeout));
        if unwritten > 0 {
            tracing::warn!("--audit: {unwritten} lines were not written before the end");
        }
    }

    fn wake_all(&self) {
        self.broker.mailboxes().iter().for_each(|mailbox| mailbox.wake());
    }
}
