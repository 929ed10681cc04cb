//! What subscribers notice of a crowd that shakes hands: how late their messages are while it lasts.
//!
//! The crowd has the lowest priority, since it would not be on the machine of the server. What it does is in `crowd`, how
//! lateness is measured in `watchers`.

#![allow(clippy::print_stdout)] // the table

use std::env;
use std::fmt;
use std::time::Duration;

use crate::contestants::Contestant;
use crate::support::Worker;
use crate::support::tls::Certificate;
use crate::versus::table::Table;
use crate::{crowd, watchers};

/// The argument of the command line that runs nothing but this part.
const FILTER: &str = "storms";

/// The subscribers that measure.
const WATCHERS: usize = 100;

/// How often each crowd comes; its figures are over all times.
const ROUNDS: usize = 3;

/// How long the subscribers are measured with nobody else there.
const QUIET_S: usize = 5;

const NOTE: &str = "How late 20 messages a second are at 100 subscribers over TLS while others shake hands, from the time at which each\n\
                    was to be published (ms, all rounds). The server has one loop. A round: how long it lasts, the CPU time of\n\
                    the server and of the crowd, and how many clients were cut off and came again";

const HEADS: [&str; 9] =
    ["meanwhile", "deliveries", "median", "p99", "most", "lasts, s", "server, s", "crowd, s", "cut off"];

/// What goes on while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storm {
    Quiet,
    /// All of them have lost their connections, and come back at once.
    Reconnects(usize),
    /// One half has sent a hello and says no more, the other half a part of one.
    Stalls(usize),
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quiet => f.write_str("nothing"),
            Self::Reconnects(count) => write!(f, "{count} clients reconnect"),
            Self::Stalls(count) => write!(f, "{count} handshakes stall"),
        }
    }
}

impl Storm {
    /// The role of its crowd, and what that is told.
    fn crowd(self, address: &str) -> (String, String) {
        let role = |connected: usize, fresh: usize| format!("{} {address} {connected} {fresh}", crowd::ROLE);
        match self {
            Self::Quiet => (role(0, 0), format!("{} {QUIET_S}", crowd::STAY)),
            Self::Reconnects(count) => (role(count, count), crowd::RECONNECT.to_owned()),
            Self::Stalls(count) => (role(0, count), crowd::STALL.to_owned()),
        }
    }
}

/// Runs the storms, unless the command line asks for another part, and prints what they come to.
pub fn bench(certificate: &Certificate) {
    let is_wanted = env::args().skip(1).all(|argument| argument == "--bench")
        || env::args().any(|argument| argument == FILTER);
    if !is_wanted {
        return;
    }
    let mut table = Table::new(NOTE, &HEADS);
    for storm in [Storm::Quiet, Storm::Reconnects(10_000), Storm::Stalls(2_000)] {
        table.add(measure(storm, certificate));
    }
    print!("{table}");
}

/// The row of a storm.
fn measure(storm: Storm, certificate: &Certificate) -> Vec<String> {
    let (mut late, mut lasted, mut server_s, mut crowd_s, mut again) = (Vec::new(), 0.0, 0.0, 0.0, 0.0);
    for _ in 0..ROUNDS {
        let mut server = Worker::start(&Contestant::Tls.role(certificate, 0));
        let address = server.hear();
        let mut watchers = Worker::start_ready(&format!("{} {address} {WATCHERS}", watchers::ROLE));
        let (role, order) = storm.crowd(&address);
        let mut crowd = Worker::start_last(&role);
        server.tell("begin 0");
        assert_eq!(server.hear(), "begun");
        watchers.tell(watchers::BEGIN);
        assert_eq!(watchers.hear(), "begun");
        crowd.tell(&order);
        let report = crowd.hear();
        let figures = report.split(' ').map(|word| word.parse::<f64>().expect("the crowd says numbers"));
        for (sum, figure) in [&mut lasted, &mut crowd_s, &mut again].into_iter().zip(figures) {
            *sum += figure;
        }
        watchers.tell(watchers::END);
        late.extend(watchers.hear().split(' ').map(|micros| micros.parse::<u64>().expect("microseconds")));
        server.tell("end");
        server_s += Duration::from_nanos(server.hear().parse().expect("nanoseconds")).as_secs_f64();
    }
    late.sort_unstable();
    let at = |percent: usize| format!("{:.1}", late[(late.len() - 1) * percent / 100] as f64 / 1000.0);
    let each = |sum: f64| format!("{:.2}", sum / ROUNDS as f64);
    let deliveries = late.len().to_string();
    let [lasted, server_s, crowd_s, again] = [lasted, server_s, crowd_s, again].map(each);
    vec![storm.to_string(), deliveries, at(50), at(99), at(100), lasted, server_s, crowd_s, again]
}
