//! A redis-server of the bench's own, what it has counted, and the time of a bare round trip to it.
//!
//! What nodes ask of it is not known here.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Another process may take a port between the look and the start.
const STARTS_MAX: usize = 8;

const START_MAX: Duration = Duration::from_secs(10);

/// A running server, ended when this is dropped.
pub struct Redis {
    process: Child,
    port: u16,
    connection: TcpStream,
}

impl Redis {
    /// An empty one, which saves nothing.
    pub fn start() -> Self {
        let started = (0..STARTS_MAX).find_map(|_| Self::start_on(free_port()));
        started.expect("redis-server starts on a free port")
    }

    fn start_on(port: u16) -> Option<Self> {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut process = command.stdout(Stdio::null()).spawn().expect("redis-server is installed");
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            if process.try_wait().expect("it is our child").is_some() {
                return None;
            }
            if let Ok(connection) = TcpStream::connect(("127.0.0.1", port)) {
                connection.set_nodelay(true).expect("TCP has this option");
                let mut server = Self { process, port, connection };
                assert!(server.ask("PING").starts_with("+PONG"));
                return Some(server);
            }
            thread::sleep(Duration::from_millis(10));
        }
        // It neither answers nor ends.
        let _ = process.kill();
        let _ = process.wait();
        None
    }

    /// What `--redis` takes.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a line, and gives the answer, which is a line or one text.
    pub fn ask(&mut self, line: &str) -> String {
        self.connection.write_all(format!("{line}\r\n").as_bytes()).expect("Redis reads its clients");
        let mut answer = Vec::new();
        let mut piece = [0; 64 * 1024];
        while !is_whole(&answer) {
            let len = self.connection.read(&mut piece).expect("Redis answers");
            assert!(len > 0, "Redis closed the connection");
            answer.extend_from_slice(&piece[..len]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The CPU time that it has taken for all.
    pub fn cpu_time(&mut self) -> Duration {
        let text = self.ask("INFO cpu");
        let seconds = ["used_cpu_sys", "used_cpu_user"].map(|name| number(&text, name));
        Duration::from_secs_f64(seconds.iter().sum())
    }

    /// A number of the section `stats`.
    pub fn stat(&mut self, name: &str) -> u64 {
        number(&self.ask("INFO stats"), name) as u64
    }

    /// How often a command was executed.
    pub fn calls(&mut self, command: &str) -> u64 {
        let text = self.ask("INFO commandstats");
        let counted = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        counted.map_or(0, |rest| rest.split(',').next().unwrap_or("0").parse().expect("a count"))
    }

    /// The time of one round trip that has this many bytes to carry there.
    pub fn round_trip(&mut self, len: usize) -> Duration {
        let line = format!("PING {}", "x".repeat(len));
        let start = Instant::now();
        self.ask(&line);
        start.elapsed()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It keeps nothing; an error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(2).position(|two| two == b"\r\n") else { return false };
    match answer[0] {
        b'$' => {
            let len: usize = String::from_utf8_lossy(&answer[1..end]).parse().expect("a length");
            answer.len() == end + 2 + len + 2
        }
        _ => true,
    }
}

fn number(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has {name}: {text}"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback interface");
    listener.local_addr().expect("a listener has an address").port()
}
