//! The binary as a process: starting it, signals, and what the system says of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, until};

/// The binary as a process, killed when it goes out of scope.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    pub output: BufReader<ChildStdout>,
}

/// Starts the binary; the first line of its output tells the port.
pub fn spawn(command: &mut Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
    Process { address: address.parse().unwrap(), child, output }
}

/// The binary with these flags, on a free port.
pub fn fanfare(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["--listen", "127.0.0.1:0"]).args(flags);
    command
}

impl Process {
    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the process ends", || self.child.try_wait().unwrap())
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Its resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn resident_peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The processor time that it has used, in clock ticks.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// The processor time that the thread of this name has used.
    pub fn thread_time(&self, name: &str) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let is_named =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let task = tasks.map(|task| task.unwrap().path()).find(is_named).unwrap();
        let times = fs::read_to_string(task.join("schedstat")).unwrap();
        Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    descriptors: usize,
    resident_kib: u64,
}

impl Footprint {
    /// What it holds now.
    pub fn of(process: &Process) -> Self {
        Self { descriptors: process.descriptors(), resident_kib: process.resident_kib() }
    }

    /// Waits until the process holds as many descriptors as this again, and as much memory but for a slack: the heap returns
    /// what was freed once a second.
    pub fn comes_back(&self, process: &Process, slack_kib: u64) {
        until("the descriptors are as before", || (process.descriptors() <= self.descriptors).then_some(()));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let grown = process.resident_kib().saturating_sub(self.resident_kib);
            if grown < slack_kib {
                break;
            }
            assert!(Instant::now() < deadline, "{grown} KiB more than before");
            thread::yield_now();
        }
    }
}
