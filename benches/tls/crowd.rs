//! Many clients that shake hands at once, or begin to and do not go on. Nothing of their handshakes is resumed.
//!
//! Who notices is not known here.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::connector::TRUSTS;
use crate::support::{orders, say, tls};
use crate::watchers::ask;

/// The role of their process: `crowd ADDRESS CONNECTED FRESH`, how many are connected at first, and how many come. Each order is answered, when it has been obeyed, with the seconds that this
/// took, and those of this process' CPU time.
pub const ROLE: &str = "crowd";

/// The order to lose all connections and to come back, each to the same channel: nobody publishes there.
pub const RECONNECT: &str = "reconnect";

/// The order to begin handshakes, and not to go on for [`STALLED`].
pub const STALL: &str = "stall";

/// The order to do nothing for a number of seconds.
pub const STAY: &str = "stay";

/// As long as half of the time that a server gives a handshake.
const STALLED: Duration = Duration::from_secs(5);

/// On a machine with few cores these take turns with the server and with who measures: with more of them these would wait for
/// a core, and not for the server.
const THREADS: usize = 2;

/// A client that has not connected yet. Its keys, which cost it most, are made and its hello is written.
struct Fresh {
    session: ClientConnection,
    hello: Vec<u8>,
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Says `ready` when those are connected that are to be, and obeys.
pub fn run(address: &str, connected: &str, fresh: &str) {
    let [connected, fresh] =
        [connected, fresh].map(|count| count.parse().expect("the number of clients is a number"));
    let (address, certificate) = address.split_once(TRUSTS).expect("TLS is spoken there");
    let config = tls::client_config(certificate, Resumption::disabled());
    let mut connected = come_all(address, prepare(&config, connected));
    let mut prepared = prepare(&config, fresh);
    say("ready");
    for (order, seconds) in orders() {
        let (begun, used) = (Instant::now(), ProcessTime::now());
        match order.as_str() {
            RECONNECT => {
                connected.clear();
                connected = come_all(address, std::mem::take(&mut prepared));
            }
            STALL => stall_all(address, std::mem::take(&mut prepared)),
            STAY => thread::sleep(Duration::from_secs(seconds as u64)),
            unknown => unreachable!("the bench gives no order {unknown}"),
        }
        say(&format!("{:.3} {:.3}", begun.elapsed().as_secs_f64(), used.elapsed().as_secs_f64()));
    }
}

fn prepare(config: &Arc<ClientConfig>, count: usize) -> Vec<Fresh> {
    let fresh = |_| {
        let mut session = tls::session(config);
        let mut hello = Vec::new();
        session.write_tls(&mut hello).expect("a vector takes a hello");
        Fresh { session, hello }
    };
    (0..count).map(fresh).collect()
}

/// All connect and say hello before the first of them looks for an answer.
fn come_all(address: &str, clients: Vec<Fresh>) -> Vec<Stream> {
    let come = |clients: Vec<Fresh>| -> Vec<Stream> {
        let begin = |Fresh { session, hello }| StreamOwned::new(session, greet(address, &hello));
        let begun: Vec<Stream> = clients.into_iter().map(begin).collect();
        let finish = |mut client: Stream| {
            ask(&mut client, address);
            client
        };
        begun.into_iter().map(finish).collect()
    };
    in_threads(clients, come).into_iter().flatten().collect()
}

fn stall_all(address: &str, clients: Vec<Fresh>) {
    let begin = |clients: Vec<Fresh>| -> Vec<TcpStream> {
        let begin = |(index, Fresh { hello, .. }): (usize, Fresh)| {
            let len = if index % 2 == 0 { hello.len() } else { hello.len() / 2 };
            greet(address, &hello[..len])
        };
        clients.into_iter().enumerate().map(begin).collect()
    };
    let stalled = in_threads(clients, begin);
    thread::sleep(STALLED);
    drop(stalled);
}

fn greet(address: &str, hello: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the server takes who comes");
    socket.set_nodelay(true).expect("TCP has no delay if told so");
    socket.write_all(hello).expect("a socket takes a hello");
    socket
}

/// Has each thread call `act` with its part of the clients.
fn in_threads<T: Send>(mut clients: Vec<Fresh>, act: impl Fn(Vec<Fresh>) -> T + Sync) -> Vec<T> {
    let each = clients.len().div_ceil(THREADS);
    let parts: Vec<_> = (0..THREADS).map(|_| clients.split_off(clients.len().saturating_sub(each))).collect();
    let act = &act;
    thread::scope(|scope| {
        let begun: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || act(part))).collect();
        begun.into_iter().map(|thread| thread.join().expect("it says why above")).collect()
    })
}
