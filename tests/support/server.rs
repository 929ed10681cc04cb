//! A server in this process: its configurations, starting it, publishing by its handle.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fanfare::config::{AccessKey, Config, Glob};
use fanfare::server::{Draft, Handle, PublishError, Server};

use super::until;

/// A server in this process, stopped when it goes out of scope.
pub struct Running {
    pub address: SocketAddr,
    /// The first that speaks TLS, if there is one.
    pub tls: Option<SocketAddr>,
    /// That of the metrics, if there is one.
    pub metrics: Option<SocketAddr>,
    pub handle: Handle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// Development mode on a free port, with two loops and no drain.
pub fn config() -> Config {
    Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        threads: NonZeroUsize::new(2).unwrap(),
        drain: Duration::ZERO,
        ..Config::default()
    }
}

/// With the key `secret`, and channels `chat-*` open to clients.
pub fn with_key() -> Config {
    Config {
        keys: vec![AccessKey::with_all_rights("default", "secret")],
        client_publish: vec![Glob::new("chat-*")],
        ..config()
    }
}

/// The same on one loop.
pub fn one_loop() -> Config {
    Config { threads: NonZeroUsize::MIN, ..config() }
}

/// With a listener for metrics beside that for clients.
pub fn with_metrics(config: Config) -> Config {
    Config { metrics_listen: Some("127.0.0.1:0".parse().unwrap()), ..config }
}

/// Starts a server.
pub fn start(config: Config) -> Running {
    run(Server::bind(config).unwrap())
}

/// Runs a server that a test has prepared.
pub fn run(server: Server) -> Running {
    let (address, metrics, handle) = (server.local_addrs()[0], server.metrics_addr(), server.handle());
    let tls = server.tls_addrs().first().copied();
    Running { address, tls, metrics, handle, thread: Some(thread::spawn(|| server.run())) }
}

impl Running {
    /// Waits for the end of a server that has been told to stop.
    pub fn join(mut self) -> std::io::Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.shutdown_now();
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

/// Publishes by the handle, again while the loops have too much to do.
pub fn publish_draft(handle: &Handle, draft: &Draft) {
    until("the loops take it", || match handle.publish(draft.clone()) {
        Err(PublishError::Congested) => None,
        published => Some(published.unwrap()),
    });
}
