//! Processes that a bench starts of itself, and what they say to each other.
//!
//! Sockets are spread over processes for two reasons: their CPU time must not be counted with the server's, and a
//! process may hold no more descriptors than its hard limit, often 20,000. What is measured is not known here.

pub mod clients;
#[allow(dead_code)] // two benches have servers that speak TLS
pub mod connector;
mod feed;
#[allow(dead_code)] // two benches have a naive side
pub mod naive;
mod payload;
#[cfg(feature = "tls")]
#[allow(dead_code)] // two benches have a certificate
pub mod tls;

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

#[allow(unused_imports)] // one bench has clients of its own
pub use feed::{Feed, Form};
#[allow(unused_imports)] // one bench has messages without payloads
pub use payload::Payload;

/// The channel that every client subscribes to.
pub const CHANNEL: &str = "news";

/// The role of a process with client sockets: `clients ADDRESS COUNT PAYLOAD FORM`.
pub const CLIENTS: &str = "clients";

/// The role that a started process plays, and its arguments.
const ROLE: &str = "FANFARE_BENCH_ROLE";

/// This program once more, in another role. Both sides talk in lines.
pub struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a process that plays `role`.
    pub fn start(role: &str) -> Self {
        Self::start_by(Command::new(Self::program()), role)
    }

    /// The same with what the others leave of the machine, and waits until it says that it is ready.
    #[allow(dead_code)] // one bench has a crowd
    pub fn start_last(role: &str) -> Self {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(Self::program());
        let mut worker = Self::start_by(command, role);
        assert_eq!(worker.hear(), "ready");
        worker
    }

    fn program() -> PathBuf {
        env::current_exe().expect("a running program has a path")
    }

    fn start_by(mut command: Command, role: &str) -> Self {
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program can be started once more");
        let input = process.stdin.take().expect("the input is piped");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        Self { process, input, output }
    }

    /// Starts a process with `count` subscribers of a server, and waits until all are subscribed.
    #[allow(dead_code)] // one bench starts them by itself
    pub fn start_clients(address: &str, count: usize, feed: Feed) -> Self {
        Self::start_ready(&format!("{CLIENTS} {address} {count} {feed}"))
    }

    /// Starts a process that plays `role`, and waits until it says that it is ready.
    pub fn start_ready(role: &str) -> Self {
        let mut worker = Self::start(role);
        assert_eq!(worker.hear(), "ready");
        worker
    }

    /// The system's number for it.
    #[allow(dead_code)] // one bench measures its workers from outside
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Says a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("a worker reads until it is dropped");
    }

    /// Waits for a line.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a worker writes text");
        assert!(line.ends_with('\n'), "the worker has ended; it says why above");
        line.trim_end().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It keeps nothing that would be lost; an error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The `main` of a bench: the bench itself, or the role that this process was started in. `serve` plays those of
/// serving processes.
pub fn run(bench: impl FnOnce(), serve: impl FnOnce(&[&str])) {
    let Ok(role) = env::var(ROLE) else { return bench() };
    raise_descriptor_limit();
    match role.split_whitespace().collect::<Vec<_>>()[..] {
        [CLIENTS, address, count, payload, form] => {
            clients::run(address, count, Feed::from_words(payload, form))
        }
        ref role => serve(role),
    }
}

/// How many subscribers: the numbers in `FANFARE_BENCH_SUBSCRIBERS`, or else those in `default`.
pub fn subscribers(default: &str) -> Vec<usize> {
    let numbers = env::var("FANFARE_BENCH_SUBSCRIBERS").unwrap_or_else(|_| default.to_owned());
    let parse = |number: &str| number.trim().parse().expect("FANFARE_BENCH_SUBSCRIBERS is like 1000,10000");
    numbers.split(',').map(parse).collect()
}

/// A worker's answer to its bench.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the bench reads until it ends this process");
}

/// What the bench tells its worker, until it ends.
pub fn orders() -> impl Iterator<Item = (String, usize)> {
    io::stdin().lines().map(|line| {
        let line = line.expect("the bench writes text");
        let (order, messages) = line.split_once(' ').unwrap_or((&line, "0"));
        (order.to_owned(), messages.parse().expect("an order's argument is a number of messages"))
    })
}

/// Takes the soft limit to the hard one.
fn raise_descriptor_limit() {
    rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit may be raised to the hard one");
}
