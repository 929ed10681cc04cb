//! The numbers of all loops together at one moment, for a scrape and for the dashboard.
//!
//! Their formats are in `prometheus` and `dashboard`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::backend;
use crate::pusher::webhook::Counts;
use crate::server::metrics::counters::{Board, Counters};
use crate::server::metrics::process::Process;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All numbers at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The loops together; publications by handles are among the publishes.
    pub counters: Counters,
    /// Of each key its name, its publications, and when it was last shown, in seconds since 1970; 0 if never.
    pub keys: Vec<(String, u64, u64)>,
    /// Refusals by the label of their reason.
    pub refusals: Vec<(&'static str, u64)>,
    /// Bytes of channels, of their histories and keys, and of publications in mailboxes.
    pub publication_bytes: u64,
    /// Bytes of the tokens that were verified and are remembered.
    pub token_bytes: u64,
    /// Publications that were evicted from histories because memory was short.
    pub evicted: u64,
    /// The most bytes that may be held for clients in all.
    pub memory_max: u64,
    /// Channels that are known, the server's own left out.
    pub channels: u64,
    /// What became of the events of webhooks, by the identifier of the app; apps that never had a receiver are left out.
    pub webhooks: Vec<(Box<str>, Counts)>,
    /// What was asked of the backend that decides, if there is one.
    pub backend: Option<backend::Counts>,
    /// Of Redis, if channels span several nodes.
    pub redis: Option<RedisFigures>,
    /// How often the keys of `--token-jwks` were fetched, and were not, if there is such a URL.
    pub key_fetches: Option<(u64, u64)>,
    /// Of the certificates, where an address speaks TLS.
    pub tls: Option<TlsFigures>,
    /// TLS handshakes that were begun and are not complete, by the label of the reason.
    pub tls_failures: Vec<(&'static str, u64)>,
    /// TLS handshakes that wait for their turn.
    pub tls_waiting: u64,
    /// Panics of a program's handlers.
    pub handler_panics: u64,
    /// Of each route of a program its pattern, the calls of its handlers, and the time that they took.
    pub handlers: Vec<(String, u64, Duration)>,
    /// Lines of the audit that were not written.
    pub audit_lost: u64,
    /// Since the server was bound.
    pub uptime: Duration,
}

/// The numbers of the certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFigures {
    /// A name of each certificate, and when it ends, in seconds since 1970.
    pub ends: Vec<(String, u64)>,
    /// How often certificates were replaced.
    pub reloads: u64,
    /// How often they were to be and were not, since a file was wrong.
    pub failures: u64,
}

/// The numbers of the engine of many nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisFigures {
    /// Whether all connections are up.
    pub is_up: bool,
    /// Publications by what became of them.
    pub commands: Vec<(&'static str, u64)>,
    /// Lost connections by what they are for, and why.
    pub reconnects: Vec<(&'static str, &'static str, u64)>,
    /// Times that something was missing of a channel, by what was done about it.
    pub resyncs: Vec<(&'static str, u64)>,
    /// Calls that were answered, the publications in them, and the time from call to answer.
    pub calls: u64,
    pub records: u64,
    pub call_time: Duration,
    /// Commands that were sent to another server than they belong to.
    pub redirects: u64,
    /// What was found in Redis and is no publication.
    pub unreadable: u64,
    /// Bytes of publications that wait for Redis.
    pub queue_bytes: u64,
    /// Channels that this node has.
    pub channels: u64,
    /// Nodes that live, this one among them.
    pub nodes: u64,
}

impl Snapshot {
    /// The bytes held for clients, by kind.
    pub fn memory(&self) -> [(&'static str, u64); 5] {
        [
            ("logs", self.counters.log_bytes),
            ("private", self.counters.private_bytes),
            ("connections", self.counters.connection_bytes),
            ("publications", self.publication_bytes),
            ("tokens", self.token_bytes),
        ]
    }
}

/// The numbers that the threads of a server share.
#[derive(Debug)]
pub struct Meters {
    boards: Vec<Board>,
    /// Publications made by handles: those are on threads of their own.
    published: AtomicU64,
    /// Whether there may be a subscriber of the dashboard's figures.
    is_watched: AtomicBool,
    /// What the system is asked about this process.
    pub process: Process,
}

impl Meters {
    /// For that many loops.
    pub fn new(loops: usize) -> Self {
        Self {
            boards: (0..loops).map(|_| Board::default()).collect(),
            published: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            process: Process::new(),
        }
    }

    /// The board of a loop.
    pub fn board(&self, loop_index: usize) -> &Board {
        &self.boards[loop_index]
    }

    /// The numbers of all loops and handles together. O(loops).
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        counters.note_keyless_publishes(self.published.load(Ordering::Relaxed));
        self.boards.iter().for_each(|board| counters.add(&board.counters()));
        counters
    }

    /// Counts a publication made by a handle.
    pub fn note_published(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there may be a subscriber of the dashboard's figures.
    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::SeqCst)
    }

    /// Sets that. After setting it to true, and after the subscription, wake the first loop.
    pub fn set_watched(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Ordering::SeqCst);
    }
}
