//! A serving process with its clients, and the CPU time that it takes for a round.
//!
//! What it does in the round is not known here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::contestants::TUNGSTENITE;
use crate::senders::{ROLE, Workload};
use crate::support::Worker;

/// After the clients have everything, a server still has to go to sleep, which is when the system adds up its time.
const SETTLE: Duration = Duration::from_millis(3);

/// Who serves.
#[derive(Clone, Debug)]
pub enum Side {
    /// This program in a role of `contestants`.
    Contestant(&'static str),
    /// A build of the server, with one loop.
    Server { name: &'static str, path: String },
}

impl Side {
    /// Whether it knows what to do: tungstenite speaks WebSocket alone.
    pub fn serves(&self, workload: Workload) -> bool {
        workload != Workload::Post || self.name() != TUNGSTENITE
    }

    /// What it is called in the table.
    pub fn name(&self) -> &'static str {
        match self {
            Side::Contestant(name) | Side::Server { name, .. } => name,
        }
    }
}

/// All sides at work, each with clients of its own.
pub struct Sides(Vec<Running>);

struct Running {
    server: Server,
    clients: Worker,
}

enum Server {
    Contestant(Worker),
    Process(Child),
}

impl Sides {
    /// Starts them all, each with what its clients do, and waits until every client is connected.
    pub fn start(sides: &[(&Side, Workload)], sockets: usize, len: usize) -> Self {
        let start_one = |(side, workload): &(&Side, Workload)| {
            let (server, address) = match side {
                Side::Contestant(role) => {
                    let mut worker = Worker::start(&format!("{role} {workload} {sockets} {len}"));
                    let address = worker.hear();
                    (Server::Contestant(worker), address)
                }
                Side::Server { path, .. } => start_server(path),
            };
            let mut clients = Worker::start(&format!("{ROLE} {address} {workload} {sockets} {len}"));
            assert_eq!(clients.hear(), "ready");
            Running { server, clients }
        };
        Self(sides.iter().map(start_one).collect())
    }

    /// The CPU time of each side for `turns` messages a socket, taken in their order or in the opposite one.
    pub fn round(&mut self, turns: usize, forward: bool) -> Vec<Duration> {
        let sides = self.0.len();
        let mut times = vec![Duration::ZERO; sides];
        for step in 0..sides {
            let side = if forward { step } else { sides - 1 - step };
            times[side] = self.0[side].round(turns);
        }
        times
    }
}

impl Running {
    fn round(&mut self, turns: usize) -> Duration {
        let before = self.server.cpu_time();
        self.clients.tell(&format!("exchange {turns}"));
        assert_eq!(self.clients.hear(), "done");
        thread::sleep(SETTLE);
        self.server.cpu_time() - before
    }
}

impl Server {
    /// The time that the process has run, by its threads.
    fn cpu_time(&self) -> Duration {
        let id = match self {
            Server::Contestant(worker) => worker.id(),
            Server::Process(process) => process.id(),
        };
        let tasks = fs::read_dir(format!("/proc/{id}/task")).expect("the server runs until it is dropped");
        let time_of = |task: std::io::Result<fs::DirEntry>| {
            let path = task.expect("/proc can be listed").path().join("schedstat");
            let text = fs::read_to_string(path).expect("the server starts and ends no threads meanwhile");
            let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
            Duration::from_nanos(nanoseconds.expect("the first field is the time on a processor"))
        };
        tasks.map(time_of).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Server::Process(process) = self {
            // It keeps nothing that would be lost; an error says that it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Starts a server in development mode; no ping disturbs a round.
fn start_server(path: &str) -> (Server, String) {
    let mut command = Command::new(path);
    command.args(["--listen", "127.0.0.1:0", "--threads", "1", "--idle-timeout", "24h"]);
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("cargo has built the server, and another build is where it is said to be");
    let mut line = String::new();
    let output = process.stdout.take().expect("the output is piped");
    BufReader::new(output).read_line(&mut line).expect("the server says where it listens");
    let address = line.trim().strip_prefix("listening on http://").expect("the first line is the address");
    (Server::Process(process), address.to_owned())
}
