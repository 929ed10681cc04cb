//! A round, from both ends: the bench that asks for it, and the serving process that measures its own CPU time.
//!
//! `begin K`, `go` (if the server is told to send) and `end`, which is answered with the CPU nanoseconds since
//! `begin`. What is served is not known here, but for the server of this crate.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use cpu_time::ProcessTime;
use fanfare::config::Config;
use fanfare::server::Server;

use crate::support::clients::EXPECT;
use crate::support::{CLIENTS, Feed, Worker, orders, say};

/// Longer than a bench: no ping disturbs a round.
const IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A serving process and its clients; started when first needed.
pub struct Side {
    role: String,
    /// The role of the clients, of which the address of the server is the first argument, and these the others.
    clients: &'static str,
    arguments: String,
    order: &'static str,
    workers: Option<Workers>,
}

struct Workers {
    server: Worker,
    clients: Worker,
}

impl Side {
    /// A server in `role`, and `subscribers` clients. `order` is what these are told each round; if it is
    /// [`EXPECT`], the server is told to send.
    #[allow(dead_code)] // one bench has clients of its own
    pub fn new(role: String, subscribers: usize, feed: Feed, order: &'static str) -> Self {
        Self::with_clients(role, CLIENTS, format!("{subscribers} {feed}"), order)
    }

    /// The same with clients in a role of the bench's own.
    pub fn with_clients(role: String, clients: &'static str, arguments: String, order: &'static str) -> Self {
        Self { role, clients, arguments, order, workers: None }
    }

    /// The CPU time of one round: from before the publication until every client has received every byte.
    pub fn round(&mut self, messages: usize) -> Duration {
        let Workers { server, clients } = self.workers.get_or_insert_with(|| {
            let mut server = Worker::start(&self.role);
            let address = server.hear();
            let clients = Worker::start_ready(&format!("{} {address} {}", self.clients, self.arguments));
            Workers { server, clients }
        });
        server.tell(&format!("begin {messages}"));
        assert_eq!(server.hear(), "begun");
        clients.tell(&format!("{} {messages}", self.order));
        if self.order == EXPECT {
            server.tell("go");
        }
        assert_eq!(clients.hear(), "done");
        server.tell("end");
        Duration::from_nanos(server.hear().parse().expect("`end` is answered with nanoseconds"))
    }
}

/// The server of this crate, with one loop.
#[allow(dead_code)] // one bench says where TLS is spoken
pub fn serve_fanfare(config: Config) {
    serve_fanfare_at(config, |server| server.local_addrs()[0].to_string());
}

/// The same; `address_of` is what its clients are told to connect to.
pub fn serve_fanfare_at(config: Config, address_of: impl FnOnce(&Server) -> String) {
    let listen = vec!["127.0.0.1:0".parse().expect("this is an address")];
    let config = Config { listen, threads: NonZeroUsize::MIN, idle_timeout: IDLE_TIMEOUT, ..config };
    let server = Server::bind(config).expect("a free port of the loopback interface");
    say(&address_of(&server));
    thread::spawn(move || server.run().expect("the loop goes on until the process ends"));
    serve(|_| (), |()| unreachable!("nobody tells it to send"));
}

/// Obeys orders. What `prepare` makes of a number of messages is not measured, what `send` does with it is.
pub fn serve<T>(prepare: impl Fn(usize) -> T, mut send: impl FnMut(&T)) {
    let mut prepared = prepare(0);
    let mut start = ProcessTime::now();
    for (order, messages) in orders() {
        match order.as_str() {
            "begin" => {
                prepared = prepare(messages);
                say("begun");
                start = ProcessTime::now();
            }
            "go" => send(&prepared),
            "end" => say(&start.elapsed().as_nanos().to_string()),
            unknown => unreachable!("the bench gives no order {unknown}"),
        }
    }
}
