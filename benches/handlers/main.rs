//! Handlers of a program over real loopback sockets: CPU time of the serving side a message, of an echo and of a publisher, beside
//! the floor and beside those who publish without a handler.
//!
//! `cargo bench --bench handlers`, with a filter such as `-- echo/200x` if wanted. The floor, the naive server, the clients and the
//! measuring are those of `inbound`, which has the same without a program. The program is this one, with one loop. Built-in `/echo`
//! is a handler too, so that an echo of both has one price; what a session costs is seen beside the floor, and what a handler's
//! publication costs beside those of WebSocket clients and of POSTs. Rounds of all sides alternate. Linux only.

#![allow(clippy::print_stdout, clippy::print_stderr)] // the figures
#![allow(clippy::disallowed_methods)] // only time shows that a server has gone to sleep

#[path = "../inbound/contestants.rs"]
mod contestants;
#[path = "../inbound/row.rs"]
mod row;
#[path = "../inbound/senders.rs"]
mod senders;
#[allow(dead_code)] // each group of sides knows what these do
#[path = "../inbound/side.rs"]
mod side;
#[allow(dead_code, unused_imports)] // the clients that subscribe have other benches
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/table.rs"]
mod table;

use std::env;
use std::num::NonZeroUsize;
use std::time::Duration;

use fanfare::app::{Message, Outcome, Request, Session, Socket};
use fanfare::{ChannelName, Config, Server};
use senders::Workload;
use side::Side;
use table::Table;

/// The role of a process that serves with handlers.
const PROGRAM: &str = "program";

/// Bytes a message: a chat line, a JSON object, and one that spans many segments.
const LENS: [usize; 3] = [20, 1000, 16 * 1024];

const SOCKETS: [usize; 3] = [1, 200, 2000];

const NOTE: &str = "CPU µs of the serving side a message, one under way a socket (medians; ratios to the first: medians over\n\
                    the rounds and quartiles)";

/// Sides that are measured together, each with what its clients do.
type Group<'a> = [(&'a str, &'a Side, Workload)];

fn main() {
    support::run(bench, |role| match role {
        [senders::ROLE, address, workload, sockets, len] => senders::run(address, workload, sockets, len),
        [PROGRAM, ..] => serve(),
        [contestant, workload, sockets, len] => contestants::run(contestant, workload, sockets, len),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

fn bench() {
    if !cfg!(target_os = "linux") {
        return println!("handlers reads /proc, which this system does not have: nothing measured");
    }
    let filter = env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let floor = Side::Contestant(contestants::FLOOR);
    let tungstenite = Side::Contestant(contestants::TUNGSTENITE);
    let program = Side::Contestant(PROGRAM);
    let server = Side::Server { name: "fanfare", path: env!("CARGO_BIN_EXE_fanfare").into() };
    let echo = [
        ("floor", &floor, Workload::Echo),
        ("built-in /echo", &server, Workload::Echo),
        ("websocket_fn", &program, Workload::Echo),
        ("tungstenite", &tungstenite, Workload::Echo),
    ];
    let publish = [
        ("by WebSocket", &server, Workload::Publish),
        ("by a handler", &program, Workload::Room),
        ("by POST", &server, Workload::Post),
        ("floor", &floor, Workload::Echo),
    ];
    print_group("echo", &echo, &filter);
    print_group("publish", &publish, &filter);
}

fn print_group(name: &str, group: &Group<'_>, filter: &str) {
    let first = [name, "sockets", "bytes"].map(String::from);
    let names = group.iter().map(|(name, ..)| (*name).to_owned());
    let ratios = group[1..].iter().map(|(name, ..)| format!("{name}/{}", group[0].0));
    let heads: Vec<_> = first.into_iter().chain(names).chain(ratios).chain(["rounds".to_owned()]).collect();
    let mut table = Table::new(NOTE, &heads.iter().map(String::as_str).collect::<Vec<_>>());
    for sockets in SOCKETS {
        for len in LENS {
            if format!("{name}/{sockets}x{len}").contains(filter) {
                table.add(measure(name, group, sockets, len));
            }
        }
    }
    print!("{table}");
}

/// One row of a table.
fn measure(name: &str, group: &Group<'_>, sockets: usize, len: usize) -> Vec<String> {
    let sides: Vec<_> = group.iter().map(|&(_, side, workload)| (side, workload)).collect();
    row::measure(name, &sides, sides.len(), sockets, len)
}

/// A session that publishes what it is sent to its room, of which it is the only subscriber.
struct Guest(ChannelName);

impl Session for Guest {
    type Event = ();

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        socket.subscribe(&self.0)
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        socket.publish(&self.0, message.text().unwrap_or_default())
    }
}

/// Serves with handlers until the process is ended, by one loop; no ping disturbs a round.
fn serve() {
    let config = Config {
        listen: vec!["127.0.0.1:0".parse().expect("it is an address")],
        threads: NonZeroUsize::MIN,
        idle_timeout: Duration::from_secs(86_400),
        ..Config::default()
    };
    let mut server = Server::bind(config).expect("a port is free");
    let served = server.websocket_fn("/echo", |socket, message| socket.send(message)).and_then(|server| {
        server.websocket("/rooms/{room}", |request: &Request<'_>| {
            Ok(Guest(ChannelName::new(request.param("room"))?))
        })
    });
    served.expect("the patterns are right");
    support::say(&server.local_addrs()[0].to_string());
    server.run().expect("the loop runs until the process is ended");
}
