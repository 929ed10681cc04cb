//! Resident memory of the release server for each idle subscriber: WebSocket, plain, over TLS and with compression, event
//! stream, long poll, Pusher clients with one channel and with 100, and clients of `/channels` with 1, 10 and 100.
//!
//! `cargo bench --bench idle_memory`; `FANFARE_BENCH_SUBSCRIBERS` sets how many, 10,000 without it. What is counted
//! is the server process as the system sees it, not the kernel's socket buffers: above what it takes when one such subscriber
//! has come and gone, since the code that this one ran is no cost of the others. Read from /proc: Linux only.

#![allow(clippy::print_stdout)] // the figures
#![allow(clippy::disallowed_methods)] // whether a server has caught up can only be looked at again

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use fanfare::config::Config;

use support::clients::{POST, PUBLISH};
#[cfg(feature = "tls")]
use support::connector::TRUSTS;
#[cfg(feature = "tls")]
use support::tls::Certificate;
use support::{Feed, Form, Payload, Worker};

/// How often it is looked whether the server has caught up with its clients.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// This many looks that all find the same: the server has read what there is to read, and its heap has returned what was
/// freed meanwhile, which it does once a second.
const SAME_LOOKS: usize = 75;

fn main() {
    support::run(measure, |unknown| unreachable!("the bench starts no role {unknown:?}"));
}

fn measure() {
    if !cfg!(target_os = "linux") {
        return println!("idle_memory reads /proc, which this system does not have: nothing measured");
    }
    let (tick, quote) = (Payload::Tick, Payload::Quote);
    let deflated = Form::WebSocket { deflate_len_min: Some(Config::default().deflate_min) };
    for count in support::subscribers("10000") {
        println!("{count} that read 100 bytes a message");
        measure_with(count, Feed { payload: tick, form: Form::WEBSOCKET }, PUBLISH, &[1, 128]);
        #[cfg(feature = "tls")]
        {
            println!("\n{count} that read 100 bytes a message over TLS");
            let feed = Feed { payload: tick, form: Form::WEBSOCKET };
            let certificate = Certificate::new();
            measure_at(&Server::start_tls(&certificate), count, feed, PUBLISH, &[1, 128]);
        }
        println!("\n{count} that agreed on permessage-deflate and read 1,024 bytes a message, compressed");
        measure_with(count, Feed { payload: quote, form: deflated }, PUBLISH, &[1, 128]);
        println!("\n{count} event streams that read 100 bytes a message");
        measure_with(count, Feed { payload: tick, form: Form::EventStream }, POST, &[1, 128]);
        println!("\n{count} long polls that wait for a message of 100 bytes, and stay connected after it");
        measure_with(count, Feed { payload: tick, form: Form::LongPoll }, POST, &[1]);
        for channels in [1, 100] {
            println!(
                "\n{count} Pusher clients with {channels} channels, of which one has messages of 100 bytes"
            );
            measure_with(count, Feed { payload: tick, form: Form::Pusher { channels } }, POST, &[1, 128]);
        }
        for channels in [1, 10, 100] {
            println!(
                "\n{count} clients of /channels with {channels} channels, of which one has messages of 100 bytes"
            );
            measure_with(count, Feed { payload: tick, form: Form::Many { channels } }, POST, &[1, 128]);
        }
    }
}

/// `order` says how messages are published, `publications` how many at a time.
fn measure_with(count: usize, feed: Feed, order: &str, publications: &[usize]) {
    measure_at(&Server::start(), count, feed, order, publications);
}

/// The same with a server that has no clients yet.
fn measure_at(server: &Server, count: usize, feed: Feed, order: &str, publications: &[usize]) {
    let descriptors = server.descriptors();
    println!("{:<46}{:>12} bytes", "resident, just started", server.resident_bytes());
    // The system reads code in when it runs for the first time: 0.4 MB that a subscriber needs, 1 MB with TLS.
    drop(Worker::start_clients(&server.address, 1, feed));
    server.empty(descriptors);
    let before = server.resident_bytes();
    println!("{:<46}{before:>12} bytes", "one subscriber has come and gone");

    let mut clients = Worker::start_clients(&server.address, count, feed);
    let report = |when: &str| {
        let resident = server.resident_bytes();
        let each = (resident as f64 - before as f64) / count as f64;
        println!("{when:<46}{resident:>12} bytes{each:>8.0} a connection");
    };
    // A poll that waits has been answered nothing yet.
    server.settle(descriptors + count);
    report(&format!("{count} idle subscribers"));
    for messages in publications {
        clients.tell(&format!("{order} {messages}"));
        assert_eq!(clients.hear(), "done");
        server.settle(descriptors + count);
        report(&format!("the same after {messages} more to all"));
    }
    drop(clients);
    server.empty(descriptors);
    report("after all have left");
}

/// The release binary on a free port.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        Self::start_with(Self::command(), 1)
    }

    /// One whose clients speak TLS. It says the plain address first.
    #[cfg(feature = "tls")]
    fn start_tls(certificate: &Certificate) -> Self {
        let [cert, key] = certificate.files();
        let mut command = Self::command();
        command.args(["--tls-listen", "127.0.0.1:0", "--tls-cert"]).arg(&cert).arg("--tls-key").arg(&key);
        let mut server = Self::start_with(command, 2);
        server.address = format!("{}{TRUSTS}{}", server.address, cert.display());
        server
    }

    fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        // No ping comes while it is measured: the connections are idle.
        command.args(["--listen", "127.0.0.1:0", "--idle-timeout", "1d"]);
        command
    }

    /// `addresses` is how many it says; the last is that of its clients.
    fn start_with(mut command: Command, addresses: usize) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the binary was built for this bench");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        let line = output.lines().nth(addresses - 1).expect("the server says where it listens");
        let line = line.expect("the server writes text");
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

    /// Waits until it has so many descriptors, and its memory stays the same.
    fn settle(&self, descriptors: usize) {
        let (mut same, mut resident) = (0, 0);
        while same < SAME_LOOKS {
            thread::sleep(LOOK_AGAIN);
            let now = self.resident_bytes();
            let is_same = now == resident && self.descriptors() >= descriptors;
            same = if is_same { same + 1 } else { 0 };
            resident = now;
        }
    }

    /// Waits until it has no more than so many descriptors, and its memory stays the same.
    fn empty(&self, descriptors: usize) {
        while self.descriptors() > descriptors {
            thread::sleep(LOOK_AGAIN);
        }
        self.settle(descriptors);
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
