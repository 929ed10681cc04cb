//! A client that polls: each poll goes on from the `next` of the one before.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::{connect, read_answer};

/// A client that polls, on one connection.
pub struct Poll {
    stream: TcpStream,
    path: String,
    /// What the next poll begins after; empty before the first.
    pub next: String,
}

impl Poll {
    /// Nothing has been asked yet.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        Self { stream: connect(address), path: path.into(), next: String::new() }
    }

    /// Asks, without waiting for the answer.
    pub fn ask(&mut self, wait: u64) {
        let query = format!("?since={}&wait={wait}", self.next);
        write!(self.stream, "GET {}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.path).unwrap();
    }

    /// The answer.
    pub fn answer(&mut self) -> Value {
        let answer = read_answer(&mut self.stream);
        assert_eq!(answer.status, 200, "{answer:?}");
        let value: Value = serde_json::from_str(&answer.body).unwrap();
        self.next = value["next"].as_str().unwrap().into();
        value
    }

    /// Asks and waits.
    pub fn poll(&mut self, wait: u64) -> Value {
        self.ask(wait);
        self.answer()
    }
}

/// The `data` of each message of a poll's answer.
pub fn data_of(answer: &Value) -> Vec<Value> {
    answer["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect()
}
