//! The numbers that a server shows: reads them as Prometheus does.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::{PATIENCE, connect, exchange};

/// Asks for all numbers.
pub const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection that is kept and scrapes, so that it is one connection however often it asks.
pub struct Scraper {
    pub stream: TcpStream,
}

impl Scraper {
    /// Nothing has been asked yet.
    pub fn new(address: SocketAddr) -> Scraper {
        Scraper { stream: connect(address) }
    }

    /// The samples by their names and labels.
    pub fn scrape(&mut self) -> HashMap<String, f64> {
        let answer = exchange(&mut self.stream, SCRAPE);
        assert_eq!(answer.status, 200, "{answer:?}");
        samples(&answer.body)
    }

    /// One sample.
    pub fn value(&mut self, sample: &str) -> f64 {
        self.scrape()[sample]
    }

    /// Scrapes until these samples are exactly so: a loop puts its numbers on the board at the end of its turn.
    pub fn settles(&mut self, expected: &[(&str, u64)]) {
        let mut last = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let samples = self.scrape();
            last = expected.iter().map(|(sample, _)| samples[*sample]).collect();
            if expected.iter().zip(&last).all(|((_, number), found)| *number as f64 == *found) {
                return;
            }
        }
        panic!("expected {expected:?}, found {last:?}");
    }
}

/// The samples of a text by their names and labels.
pub fn samples(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(split).collect()
}

/// The sample of the connections of a transport.
pub fn connections(transport: &str) -> String {
    format!("fanfare_connections{{transport=\"{transport}\"}}")
}

/// The sample of what was refused for a reason.
pub fn refusals(reason: &str) -> String {
    format!("fanfare_refusals_total{{reason=\"{reason}\"}}")
}
