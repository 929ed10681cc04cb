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
        let log = folder.path().join("log");
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(folder.path()).args(settings).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.stdout(File::create(&log).unwrap()).spawn().unwrap();
        let mut server = Self { child, port, folder };
        let is_ready = until("redis-server is ready or has ended", || {
            let has_ended = server.child.try_wait().unwrap().is_some();
            let is_ready = fs::read_to_string(&log).unwrap().contains("Ready to accept connections");
            (has_ended || is_ready).then_some(is_ready)
        });
        is_ready.then_some(server)
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
