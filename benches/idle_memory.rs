//! Resident memory of the release server for each idle WebSocket subscriber, without and with compression.
//!
//! `cargo bench --bench idle_memory`; `FANFARE_BENCH_SUBSCRIBERS` sets how many, 10,000 without it. What is counted
//! is the server process as the system sees it, not the kernel's socket buffers. Read from /proc: Linux only.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use fanfare::config::Config;

use support::{Feed, Payload, Worker};

/// How often it is looked whether the server has closed what its clients have closed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn main() {
    match support::role().as_deref() {
        Some([role, address, count, payload, form]) if role == support::CLIENTS => {
            support::run_clients(address, count, Feed::from_words(payload, form))
        }
        Some(role) => unreachable!("the bench starts no role {role:?}"),
        None if cfg!(target_os = "linux") => measure(),
        None => {
            println!("idle_memory reads /proc/PID/status, which this system does not have: nothing measured")
        }
    }
}

fn measure() {
    let deflate_len_min = Some(Config::default().deflate_min);
    for count in support::subscribers("10000") {
        println!("{count} that read 100 bytes a message");
        measure_with(count, Feed { payload: Payload::Tick, deflate_len_min: None });
        println!("\n{count} that agreed on permessage-deflate and read 1,024 bytes a message, compressed");
        measure_with(count, Feed { payload: Payload::Quote, deflate_len_min });
    }
}

fn measure_with(count: usize, feed: Feed) {
    let server = Server::start();
    let descriptors = server.descriptors();
    let before = server.resident_bytes();
    println!("{:<46}{before:>12} bytes", "resident, nobody connected");

    let mut clients = Worker::start_clients(&server.address, count, feed);
    let report = |when: &str| {
        let resident = server.resident_bytes();
        let each = (resident as f64 - before as f64) / count as f64;
        println!("{when:<46}{resident:>12} bytes{each:>8.0} a connection");
    };
    report(&format!("{count} idle subscribers"));
    clients.tell("publish 1");
    assert_eq!(clients.hear(), "done");
    report("the same after one message to all");
    clients.tell("publish 128");
    assert_eq!(clients.hear(), "done");
    report("the same after 128 messages at once");
    drop(clients);
    while server.descriptors() > descriptors {
        thread::sleep(LOOK_AGAIN);
    }
    report("after all have left");
}

/// The release binary on a free port.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        // No ping comes while it is measured: the connections are idle.
        command.args(["--listen", "127.0.0.1:0", "--idle-timeout", "1d"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the binary was built for this bench");
        let mut line = String::new();
        let output = process.stdout.take().expect("the output is piped");
        BufReader::new(output).read_line(&mut line).expect("the server says where it listens");
        let address = line.trim_end().rsplit('/').next().unwrap_or_default().to_owned();
        Self { process, address }
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(self.proc_path("status")).expect("the server runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|value| value.trim().strip_suffix(" kB"));
        1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmRSS is a number of kB")
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(self.proc_path("fd")).expect("the server runs").count()
    }

    fn proc_path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that would be lost; an error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
