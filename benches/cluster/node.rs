//! A node: a process of the server with one loop, and the CPU time of its threads.
//!
//! What it is asked to do is not known here.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The name of the thread that talks to Redis.
const ENGINE: &str = "fanfare-redis";

/// After the clients have everything, a process still has to go to sleep, which is when the system adds up its time.
const SETTLE: Duration = Duration::from_millis(3);

/// A node that is not ready after so long has not reached Redis.
const READY_MAX: Duration = Duration::from_secs(10);

/// A running node, ended when this is dropped.
pub struct Node {
    process: Child,
    pub address: String,
}

/// CPU time: of the thread that talks to Redis, and of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub engine: Duration,
    pub all: Duration,
}

impl Times {
    pub fn since(self, before: Self) -> Self {
        Self { engine: self.engine - before.engine, all: self.all - before.all }
    }
}

impl Node {
    /// A server without Redis, or one of those that share it.
    pub fn start(redis: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        command.args(["--listen", "127.0.0.1:0", "--threads", "1", "--idle-timeout", "24h"]);
        if let Some(url) = redis {
            command.args(["--redis", url]);
        }
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("cargo has built the server");
        let mut line = String::new();
        let output = process.stdout.take().expect("the output is piped");
        BufReader::new(output).read_line(&mut line).expect("the server says where it listens");
        let address =
            line.trim().strip_prefix("listening on http://").expect("the first line is the address");
        let node = Self { process, address: address.to_owned() };
        node.wait_until_ready();
        node
    }

    fn wait_until_ready(&self) {
        let start = Instant::now();
        while !get(&self.address, "/readyz").starts_with("HTTP/1.1 200 ") {
            assert!(start.elapsed() < READY_MAX, "the node does not reach Redis");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The time that its threads have run.
    pub fn times(&self) -> Times {
        thread::sleep(SETTLE);
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the node runs");
        let mut times = Times::default();
        for task in tasks {
            let path = task.expect("/proc can be listed").path();
            let read = |name: &str| fs::read_to_string(path.join(name));
            // A thread that has just ended has no time any more.
            let (Ok(name), Ok(schedule)) = (read("comm"), read("schedstat")) else { continue };
            let nanoseconds = schedule.split(' ').next().and_then(|word| word.parse().ok());
            let time = Duration::from_nanos(nanoseconds.expect("the first field is the time on a processor"));
            times.all += time;
            if name.trim() == ENGINE {
                times.engine += time;
            }
        }
        times
    }

    /// A number of `/metrics`, by the text of its line ahead of it.
    pub fn metric(&self, name: &str) -> f64 {
        let text = get(&self.address, "/metrics");
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("/metrics has {name}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It keeps nothing that would be lost; an error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server answers to a GET.
fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("the server takes one more client");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("the server reads the request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the server answers with text");
    answer
}
