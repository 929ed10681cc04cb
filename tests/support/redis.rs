//! A Redis of a test's own: a process on a free port, ended by its id, spoken to with a client that is not ours.
//!
//! What is done with it is the tests'. Where no redis-server is installed they are skipped aloud; under CI they fail.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use redis::{Client, Connection, FromRedisValue, RedisResult};
use tempfile::TempDir;

use super::until;

/// Another process may take a port between our look and the server's start.
const STARTS_MAX: usize = 8;

/// A running server, killed when it goes out of scope.
pub struct Redis {
    pub child: Child,
    pub port: u16,
    folder: TempDir,
    settings: Vec<String>,
}

/// What a server that comes back at the same port has of what it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What its settings have it write: nothing, a snapshot, or all by its log.
    Kept,
    /// Nothing.
    Lost,
}

impl Redis {
    /// Starts an empty server with these settings besides; `None`, and a line that says so, where none is installed.
    pub fn start(settings: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            assert!(
                env::var_os("CI").is_none(),
                "redis-server is not installed: apt-get install redis-server"
            );
            // Not by a macro: what those print of a test that passes is not shown.
            io::stderr().write_all(b"skipped: redis-server is not installed\n").unwrap();
            return None;
        }
        let started = (0..STARTS_MAX).find_map(|_| Self::start_on(free_port(), settings));
        Some(started.expect("redis-server starts; its settings are right"))
    }

    fn start_on(port: u16, settings: &[&str]) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let settings: Vec<_> = settings.iter().map(|&word| word.to_owned()).collect();
        let child = Self::spawn(&folder, port, &settings);
        let mut server = Self { child, port, folder, settings };
        server.is_ready().then_some(server)
    }

    fn spawn(folder: &TempDir, port: u16, settings: &[String]) -> Child {
        let log = folder.path().join("log");
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(folder.path()).args(settings).stdin(Stdio::null()).stderr(Stdio::null());
        command.stdout(File::create(&log).unwrap()).spawn().unwrap()
    }

    /// Waits until it takes connections; false if it has ended.
    fn is_ready(&mut self) -> bool {
        let log = self.folder.path().join("log");
        until("redis-server is ready or has ended", || {
            let has_ended = self.child.try_wait().unwrap().is_some();
            let is_ready = fs::read_to_string(&log).unwrap().contains("Ready to accept connections");
            (has_ended || is_ready).then_some(is_ready)
        })
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same port after [`Redis::kill`]. Nothing else listens there: nodes that dial it have ports of
    /// their own from the same range, so it is tried again while the port is taken.
    pub fn start_again(&mut self, memory: Memory) {
        if memory == Memory::Lost {
            let _ = fs::remove_file(self.folder.path().join("dump.rdb"));
            let _ = fs::remove_dir_all(self.folder.path().join("appendonlydir"));
        }
        until("redis-server has its port again", || {
            self.child = Self::spawn(&self.folder, self.port, &self.settings);
            self.is_ready().then_some(())
        });
    }

    /// Sends its process a signal.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// A command by a connection of its own.
    pub fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        let words: Vec<_> = words.split(' ').map(str::as_bytes).collect();
        ask(&mut self.connect(), &words).unwrap()
    }

    /// How often a command was called since the start, or since `CONFIG RESETSTAT`.
    pub fn calls(&self, command: &str) -> u64 {
        let stats: String = self.ask("INFO commandstats");
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// A connection to it.
    pub fn connect(&self) -> Connection {
        Client::open(("127.0.0.1", self.port)).unwrap().get_connection().unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago, and whose cluster bus port may be.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A command with its arguments, as text or bytes.
pub fn ask<T: FromRedisValue>(connection: &mut Connection, words: &[&[u8]]) -> RedisResult<T> {
    let mut command = redis::cmd(str::from_utf8(words[0]).unwrap());
    words[1..].iter().for_each(|word| {
        command.arg(*word);
    });
    command.query(connection)
}
