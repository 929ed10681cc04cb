//! A proxy between a node and Redis that fails as networks do: it delays, goes half-open, cuts inside a reply, leads elsewhere.
//!
//! It knows bytes and connections only.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How a proxy treats what passes.
#[derive(Clone, Debug)]
struct Rules {
    /// Where new connections lead.
    target: SocketAddr,
    /// The port that so many new connections lead to instead.
    astray: Option<(u16, usize)>,
    /// Each chunk is passed on after this time.
    delay: Duration,
    /// Nothing is passed on, and nothing is closed.
    is_stalled: bool,
    /// Connections end once this many bytes more have come from the server.
    cut_after: Option<usize>,
    /// New connections are closed at once.
    is_closed: bool,
    /// What is put ahead of the next that comes from the server.
    insert: Vec<u8>,
}

/// A running proxy. Its threads end with the process.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    rules: Mutex<Rules>,
    changed: Condvar,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// One that leads to this port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let rules = Rules {
            target: SocketAddr::from(([127, 0, 0, 1], port)),
            astray: None,
            delay: Duration::ZERO,
            is_stalled: false,
            cut_after: None,
            is_closed: false,
            insert: Vec::new(),
        };
        let shared =
            Arc::new(Shared { rules: Mutex::new(rules), changed: Condvar::new(), streams: Mutex::default() });
        let address = listener.local_addr().unwrap();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                accepting.serve(client.unwrap());
            }
        });
        Self { address, shared }
    }

    /// From now on each chunk is passed on after this time.
    pub fn delay(&self, delay: Duration) {
        self.change(|rules| rules.delay = delay);
    }

    /// Passes nothing on, or passes on again.
    pub fn stall(&self, is_stalled: bool) {
        self.change(|rules| rules.is_stalled = is_stalled);
    }

    /// Connections end once this many bytes more have come from the server.
    pub fn cut_after(&self, len: usize) {
        self.change(|rules| rules.cut_after = Some(len));
    }

    /// Whether the cut that was asked for is done.
    pub fn has_cut(&self) -> bool {
        self.shared.rules.lock().unwrap().cut_after.is_none()
    }

    /// That many new connections lead to this port, and later ones where they did.
    pub fn lead_astray(&self, port: u16, count: usize) {
        self.change(|rules| rules.astray = Some((port, count)));
    }

    /// Whether some of those connections have not been made.
    pub fn leads_astray(&self) -> bool {
        self.shared.rules.lock().unwrap().astray.is_some()
    }

    /// Closes new connections, or takes them again.
    pub fn close(&self, is_closed: bool) {
        self.change(|rules| rules.is_closed = is_closed);
    }

    /// Puts something ahead of the next that comes from the server, by whichever connection.
    pub fn insert(&self, bytes: &[u8]) {
        self.change(|rules| rules.insert = bytes.to_vec());
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.shared.cut();
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.rules.lock().unwrap());
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) {
        let Rules { mut target, astray, is_closed, .. } = self.rules.lock().unwrap().clone();
        if let Some((port, count)) = astray {
            target.set_port(port);
            self.rules.lock().unwrap().astray = (count > 1).then_some((port, count - 1));
        }
        if is_closed {
            return;
        }
        let Ok(server) = TcpStream::connect(target) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.streams.lock().unwrap().push(stream.try_clone().unwrap());
        }
        for (from, to, is_reply) in [(&client, &server, false), (&server, &client, true)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = Arc::clone(self);
            thread::spawn(move || shared.pass(from, to, is_reply));
        }
    }

    /// Passes on until either side ends.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, is_reply: bool) {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(len) = from.read(&mut chunk)
            && len > 0
        {
            let (allowed, is_cut) = self.admit(len, is_reply);
            let inserted = if is_reply { self.take_inserted() } else { Vec::new() };
            if to.write_all(&[&inserted, &chunk[..allowed]].concat()).is_err() {
                break;
            }
            if is_cut {
                self.cut();
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits as the rules say; how much of a chunk may pass, and whether the connections end by it.
    fn admit(&self, len: usize, is_reply: bool) -> (usize, bool) {
        let rules = self.rules.lock().unwrap();
        let delay = rules.delay;
        let rules = if delay.is_zero() {
            rules
        } else {
            self.changed.wait_timeout_while(rules, delay, |rules| rules.delay == delay).unwrap().0
        };
        let mut rules = self.changed.wait_while(rules, |rules| rules.is_stalled).unwrap();
        match rules.cut_after {
            Some(left) if is_reply && left <= len => {
                rules.cut_after = None;
                (left, true)
            }
            Some(left) if is_reply => {
                rules.cut_after = Some(left - len);
                (len, false)
            }
            _ => (len, false),
        }
    }

    fn take_inserted(&self) -> Vec<u8> {
        std::mem::take(&mut self.rules.lock().unwrap().insert)
    }

    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
