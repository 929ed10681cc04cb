//! The engine of many nodes: Redis, and the thread that talks to it.
//!
//! The conversation is here; the states of a channel, what waits to be published and what is stored are
//! `broker::engine`'s, which knows no socket.

mod ahead;
mod answers;
mod attending;
mod calls;
mod changes;
mod counting;
mod counts;
mod dice;
mod distrust;
mod entries;
mod greeting;
mod homes;
mod host;
mod inbox;
mod joins;
mod lead;
mod line;
mod link;
mod loss;
mod names;
mod node;
mod nodes;
mod place;
mod publishing;
pub mod refusal;
mod refused;
pub mod resp;
mod rosters;
mod sentinel;
pub mod slots;
mod socket;
mod state;
mod telling;
#[cfg(feature = "tls")]
mod tls;
mod told;
mod topology;
mod trouble;

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Waker};

use greeting::Login;
pub use host::Host;
use inbox::{Inbox, Order};
use line::Terms;
use node::Node;
use place::Place;
pub use state::{Outcome, State};
use topology::{Topology, WAKER};

use crate::config::{self, RedisAddress, RedisServer};
use crate::server::broker::Broker;
use crate::server::broker::engine::Engine;
use crate::server::broker::engine::keys::KeyNames;
use crate::server::clock::{Clock, Millis, millis, unix_ms};
use crate::server::lock::lock;
use crate::server::outbound::Trust;

/// What is executed by Redis.
const SCRIPT: &str = include_str!("../broker/engine/script.lua");

/// The token of every master with `--redis-trust-failover`.
const TRUSTED: &str = "trusted";

/// How long a start waits for the first answer: a Redis that is there answers in milliseconds.
const FIRST_TIME_MAX: Duration = Duration::from_secs(2);

/// The way to the thread, before and while it runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Redis {
    inbox: Arc<Inbox>,
    state: Arc<State>,
    /// What the thread takes over.
    poll: Mutex<Option<Poll>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Redis {
    /// An engine whose thread has not started yet: what is ordered meanwhile waits.
    ///
    /// # Errors
    /// The system has no poll or waker left.
    pub fn new(config: &config::Redis) -> io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = Inbox::new(Waker::new(poll.registry(), WAKER)?, config.timeout);
        Ok(Self {
            inbox: Arc::new(inbox),
            state: Arc::default(),
            poll: Mutex::new(Some(poll)),
            thread: Mutex::default(),
        })
    }

    /// For the broker.
    pub fn engine(&self) -> Engine {
        Engine::Remote(self.inbox.clone())
    }

    /// What may be known of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Starts the thread, and waits for the outcome of the first attempt to reach Redis.
    ///
    /// # Errors
    /// The system has no thread, or the authorities of TLS are not to be read.
    pub fn start(
        &self,
        config: &config::Redis,
        broker: Arc<Broker>,
        (clock, trust): (Clock, &Trust),
        host: Box<dyn Host>,
    ) -> io::Result<Outcome> {
        let Some(poll) = lock(&self.poll).take() else { return Ok(Outcome::Away) };
        let now = clock.now();
        let terms = self.terms(config, &poll, trust)?;
        let seeds = config.seeds.iter().map(place_of).collect();
        let mut node = Node {
            broker,
            inbox: Arc::clone(&self.inbox),
            tally: Arc::clone(&self.state),
            clock,
            terms,
            topology: Topology::new(
                seeds,
                config.seeds.first().and_then(|seed| seed.master.as_deref()).map(Into::into),
                now,
            ),
            keys: KeyNames::new(&config.prefix),
            id: format!("{:012x}", dice::random() >> 16).into(),
            host,
            joins: Default::default(),
            outgoing: Default::default(),
            redirects: Default::default(),
            nodes: Default::default(),
            counts: Default::default(),
            rosters: Default::default(),
            telling: Default::default(),
            began_unix_ms: unix_ms(),
            trouble: Default::default(),
            timeout_ms: millis(config.timeout),
            poll,
            nodes_home: None,
            is_listening: false,
            beat_at: now,
            away_since: Some(now),
            is_away_told: false,
            end_by: None,
        };
        let run = move || {
            if let Err(error) = node.run() {
                tracing::error!("the system fails the thread that talks to Redis: {error}");
            }
        };
        *lock(&self.thread) = Some(thread::Builder::new().name("fanfare-redis".into()).spawn(run)?);
        Ok(self.state.wait_for_first(FIRST_TIME_MAX))
    }

    fn terms(&self, config: &config::Redis, poll: &Poll, trust: &Trust) -> io::Result<Terms> {
        #[cfg(not(feature = "tls"))]
        let _ = trust;
        // All seeds have the same, which the configuration has checked.
        let first = config.seeds.first();
        Ok(Terms {
            login: Login {
                user: first.and_then(|seed| seed.user.as_deref()).map(Into::into),
                password: first.and_then(|seed| seed.password.as_deref()).map(Into::into),
            },
            database: first.map_or(0, |seed| seed.database),
            timeout: config.timeout,
            trust: config.trust_failover.then_some(TRUSTED),
            #[cfg(feature = "tls")]
            tls: first.is_some_and(uses_tls).then(|| trust.client_config()),
            script: SCRIPT,
            inbox: Arc::clone(&self.inbox),
            registry: poll.registry().try_clone()?,
        })
    }

    /// Whether Redis has been away for longer than anybody is to wait, or was never there.
    pub fn is_away(&self, now: Millis) -> bool {
        let timeout_ms = millis(self.inbox.timeout());
        let is_over = |since: Millis| !self.state.was_there() || now.0 >= since.0 + timeout_ms;
        self.state.away_since().is_some_and(is_over)
    }

    /// Ends the thread, once what was published is answered, and waits for that.
    pub fn stop(&self) {
        self.inbox.put(Order::Stop);
        if let Some(thread) = lock(&self.thread).take() {
            // It says itself what has failed.
            let _ = thread.join();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.inbox.put(Order::Stop);
    }
}

fn place_of(seed: &RedisAddress) -> Place {
    match &seed.server {
        RedisServer::Tcp { host, port, .. } => Place::Tcp(host.as_str().into(), *port),
        RedisServer::Unix(path) => Place::Unix(path.clone()),
    }
}

#[cfg(feature = "tls")]
fn uses_tls(seed: &RedisAddress) -> bool {
    matches!(seed.server, RedisServer::Tcp { tls: true, .. })
}
