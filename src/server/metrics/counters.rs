//! What a loop counts: plain numbers, copied once a turn to a board that other threads read.
//!
//! The names that the numbers have outside are in `prometheus` and `dashboard`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::LagPolicy;
use crate::hub::WireForm;

/// The upper bounds of the buckets of [`Turns`], in microseconds. From the time an idle loop needs for one event to what
/// a client notices; above a second the exact number does not matter.
pub const TURN_BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// What a connection costs besides what it holds: its entry, its timer, its place in a log.
const CONNECTION_LEN: u64 = 256;

/// The same with TLS: its keys and state are 3.5 KB more, of which each connection has its own.
const TLS_CONNECTION_LEN: u64 = 3_840;

fn connection_len(is_tls: bool) -> u64 {
    if is_tls { TLS_CONNECTION_LEN } else { CONNECTION_LEN }
}

/// How a connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Requests and their answers.
    Http,
    /// An open WebSocket.
    WebSocket,
    /// An event stream.
    Sse,
    /// A request that waits for the next publication.
    LongPoll,
    /// An open WebSocket of a Pusher client.
    Pusher,
    /// A session of a Pusher client over HTTP requests.
    PusherHttp,
}

impl Transport {
    /// Every transport, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Http, Self::WebSocket, Self::Sse, Self::LongPoll, Self::Pusher, Self::PusherHttp];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::LongPoll => "long_poll",
            Self::Pusher => "pusher",
            Self::PusherHttp => "pusher_http",
        }
    }

    /// The transport of a form.
    pub fn of(form: WireForm) -> Self {
        match form {
            WireForm::WebSocket
            | WireForm::Envelope
            | WireForm::WebSocketDeflate
            | WireForm::EnvelopeDeflate
            | WireForm::NamedEnvelope
            | WireForm::NamedEnvelopeDeflate
            | WireForm::LiveView => Self::WebSocket,
            WireForm::EventStream
            | WireForm::EventStreamEnvelope
            | WireForm::NamedEventStream
            | WireForm::LiveViewStream => Self::Sse,
            WireForm::LongPoll | WireForm::NamedLongPoll | WireForm::LiveViewPoll => Self::LongPoll,
            WireForm::Pusher | WireForm::PusherDeflate => Self::Pusher,
            WireForm::PusherStream => Self::PusherHttp,
        }
    }
}

/// What a server calls for by the HTTP API of Pusher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiCall {
    /// An event.
    Events,
    /// Several events.
    BatchEvents,
    /// The channels of the app.
    Channels,
    /// The state of one channel.
    Channel,
    /// The users in a presence channel.
    Users,
    /// The end of a user's connections.
    Terminate,
}

impl ApiCall {
    /// Every call, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Events, Self::BatchEvents, Self::Channels, Self::Channel, Self::Users, Self::Terminate];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::BatchEvents => "batch_events",
            Self::Channels => "channels",
            Self::Channel => "channel",
            Self::Users => "users",
            Self::Terminate => "terminate_connections",
        }
    }
}

/// How many numbers [`Counters`] has.
const CELLS: usize = size_of::<Counters>() / size_of::<u64>();

/// Policies in the order in which [`Counters::lagged`] counts them.
pub const POLICIES: [(LagPolicy, &str); 3] =
    [(LagPolicy::Close, "close"), (LagPolicy::Skip, "skip"), (LagPolicy::Latest, "latest")];

/// The numbers of one loop, or of all loops together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Open connections, by transport.
    pub connections: [u64; Transport::ALL.len()],
    /// Those of them whose peers speak TLS, by transport.
    pub tls_connections: [u64; Transport::ALL.len()],
    /// Complete handshakes of TLS 1.2.
    pub tls12_handshakes: Handshakes,
    /// Complete handshakes of TLS 1.3.
    pub tls13_handshakes: Handshakes,
    /// Accepted connections.
    pub accepted: u64,
    /// Publications that clients made.
    pub publishes: u64,
    /// Those of them that were made without a key with a name.
    pub keyless_publishes: u64,
    /// Calls of the HTTP API of Pusher that were done, by call.
    pub api_calls: [u64; ApiCall::ALL.len()],
    /// Publications appended to logs times the readers of those logs, by form.
    pub deliveries: [u64; WireForm::ALL.len()],
    /// Publications sent from history to reconnecting subscribers, by form.
    pub replayed: [u64; WireForm::ALL.len()],
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// Subscribers found past `--max-lag`, by policy.
    pub lagged: [u64; POLICIES.len()],
    /// Times that a connection was not read since it had sent more than `--client-messages` allows.
    pub throttled: u64,
    /// Publications that such subscribers were not sent.
    pub passed_over: u64,
    /// Bytes that logs keep.
    pub log_bytes: u64,
    /// Bytes that connections hold for themselves.
    pub private_bytes: u64,
    /// Bytes of the connections themselves.
    pub connection_bytes: u64,
    /// Bytes of the longest log. Over all loops it is the longest of all.
    pub lag_max: u64,
    /// How long turns were.
    pub turns: Turns,
}

/// Complete handshakes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// With keys and a signature.
    pub full: u64,
    /// By a ticket of an earlier one.
    pub resumed: u64,
}

/// Turns by the time they were busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Turns longer than the bound before and up to this one; the last is for those above all bounds.
    pub buckets: [u64; TURN_BOUNDS_US.len() + 1],
    /// All of them together, in nanoseconds.
    pub busy_ns: u64,
}

impl Turns {
    /// Counts one turn.
    pub fn note(&mut self, busy: Duration) {
        let busy_ns = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        let bucket = TURN_BOUNDS_US.partition_point(|&bound_us| bound_us * 1000 < busy_ns);
        self.buckets[bucket] += 1;
        self.busy_ns = self.busy_ns.saturating_add(busy_ns);
    }
}

impl Counters {
    /// Counts one subscriber found past `--max-lag`.
    pub fn note_lagged(&mut self, policy: LagPolicy) {
        if let Some(at) = POLICIES.iter().position(|&(known, _)| known == policy) {
            self.lagged[at] += 1;
        }
    }

    /// Counts a new connection: it begins as an HTTP one.
    pub fn add_connection(&mut self, is_tls: bool) {
        self.connections[Transport::Http as usize] += 1;
        self.tls_connections[Transport::Http as usize] += u64::from(is_tls);
        self.connection_bytes += connection_len(is_tls);
    }

    /// Counts a connection that is gone.
    pub fn remove_connection(&mut self, transport: Transport, is_tls: bool) {
        self.connections[transport as usize] -= 1;
        self.tls_connections[transport as usize] -= u64::from(is_tls);
        self.connection_bytes -= connection_len(is_tls);
    }

    /// Counts a connection whose transport changed.
    pub fn note_transport(&mut self, before: Transport, now: Transport, is_tls: bool) {
        for (connections, count) in
            [(&mut self.connections, 1), (&mut self.tls_connections, u64::from(is_tls))]
        {
            connections[before as usize] -= count;
            connections[now as usize] += count;
        }
    }

    /// Deliveries by one transport, over all its forms.
    pub fn deliveries_by(&self, transport: Transport) -> u64 {
        let forms = WireForm::ALL.iter().filter(|&&form| Transport::of(form) == transport);
        forms.map(|form| self.deliveries[form.index()] + self.replayed[form.index()]).sum()
    }

    /// Counts publications that were made without a key.
    pub fn note_keyless_publishes(&mut self, count: u64) {
        self.publishes += count;
        self.keyless_publishes += count;
    }

    /// Adds the numbers of another loop.
    pub fn add(&mut self, other: &Self) {
        let lag_max = self.lag_max.max(other.lag_max);
        self.cells_mut().zip(other.cells()).for_each(|(sum, number)| *sum += number);
        self.lag_max = lag_max;
    }

    /// All numbers, in one order.
    fn cells(mut self) -> [u64; CELLS] {
        let mut cells = [0; CELLS];
        cells.iter_mut().zip(self.cells_mut()).for_each(|(cell, number)| *cell = *number);
        cells
    }

    fn cells_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        // Without `..`: a number that is added to the counters is added here.
        let Self {
            connections,
            tls_connections,
            tls12_handshakes,
            tls13_handshakes,
            accepted,
            publishes,
            keyless_publishes,
            api_calls,
            deliveries,
            replayed,
            bytes_sent,
            bytes_received,
            lagged,
            throttled,
            passed_over,
            log_bytes,
            private_bytes,
            connection_bytes,
            lag_max,
            turns: Turns { buckets, busy_ns },
        } = self;
        let arrays = connections.iter_mut().chain(deliveries).chain(replayed).chain(lagged).chain(buckets);
        let arrays = arrays.chain(api_calls).chain(tls_connections);
        let handshakes = [tls12_handshakes, tls13_handshakes].into_iter();
        let arrays = arrays.chain(handshakes.flat_map(|Handshakes { full, resumed }| [full, resumed]));
        let singles =
            [accepted, publishes, keyless_publishes, bytes_sent, bytes_received, passed_over, log_bytes];
        arrays.chain(singles).chain([private_bytes, connection_bytes, lag_max, busy_ns, throttled])
    }
}

/// Where a loop puts its counters for others to read. No other thread writes here.
///
/// Aligned to two cache lines, which is what a core fetches at once: loops do not disturb each other by writing.
#[derive(Debug)]
#[repr(align(128))]
pub struct Board([AtomicU64; CELLS]);

impl Default for Board {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; CELLS])
    }
}

impl Board {
    /// Copies the numbers to the board. A reader may see some of this turn beside some of the one before.
    pub fn put(&self, counters: &Counters) {
        for (cell, number) in self.0.iter().zip(counters.cells()) {
            cell.store(number, Ordering::Relaxed);
        }
    }

    /// The numbers that were copied last.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        for (number, cell) in counters.cells_mut().zip(&self.0) {
            *number = cell.load(Ordering::Relaxed);
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters in which no two numbers are the same.
    fn numbered() -> Counters {
        let mut counters = Counters::default();
        counters.cells_mut().zip(1..).for_each(|(cell, number)| *cell = number);
        counters
    }

    #[test]
    fn what_is_put_on_the_board_is_read_from_it() {
        let board = Board::default();
        assert_eq!(board.counters(), Counters::default());
        board.put(&numbered());
        assert_eq!(board.counters(), numbered());
        assert_eq!(Counters::default().cells_mut().count(), CELLS, "every number has its cell");
    }

    #[test]
    fn loops_add_up_but_for_the_longest_log() {
        let mut sum = Counters { publishes: 3, lag_max: 50, ..Counters::default() };
        sum.add(&Counters {
            publishes: 4,
            lag_max: 20,
            connections: [1, 0, 0, 2, 0, 0],
            ..Counters::default()
        });
        assert_eq!((sum.publishes, sum.lag_max, sum.connections), (7, 50, [1, 0, 0, 2, 0, 0]));
    }

    #[test]
    fn a_turn_is_in_the_first_bucket_whose_bound_it_does_not_pass() {
        let mut turns = Turns::default();
        for ns in [0, 50_000, 50_001, 100_000, 1_000_000_000, 1_000_000_001] {
            turns.note(Duration::from_nanos(ns));
        }
        assert_eq!(turns.buckets, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(turns.busy_ns, 2_000_200_002);
    }

    #[test]
    fn a_transport_stands_in_the_table_at_its_number() {
        for (number, &transport) in Transport::ALL.iter().enumerate() {
            assert_eq!(transport as usize, number);
        }
        let mut counters = Counters { connections: [1, 0, 0, 0, 0, 0], ..Counters::default() };
        counters.note_transport(Transport::Http, Transport::Sse, false);
        assert_eq!(counters.connections, [0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn a_call_stands_in_the_table_at_its_number() {
        for (number, &call) in ApiCall::ALL.iter().enumerate() {
            assert_eq!(call as usize, number);
        }
    }

    #[test]
    fn deliveries_of_a_transport_are_those_of_all_its_forms() {
        let mut counters = Counters::default();
        counters.deliveries[WireForm::WebSocket.index()] = 1;
        counters.deliveries[WireForm::EnvelopeDeflate.index()] = 2;
        counters.replayed[WireForm::Envelope.index()] = 4;
        counters.deliveries[WireForm::EventStreamEnvelope.index()] = 8;
        counters.replayed[WireForm::LongPoll.index()] = 16;
        counters.deliveries[WireForm::PusherDeflate.index()] = 32;
        counters.replayed[WireForm::PusherStream.index()] = 64;
        let by = Transport::ALL.map(|transport| counters.deliveries_by(transport));
        assert_eq!(by, [0, 7, 8, 16, 32, 64]);
    }

    #[test]
    fn a_lagging_subscriber_is_counted_under_its_policy() {
        let mut counters = Counters::default();
        for policy in [LagPolicy::Skip, LagPolicy::Latest, LagPolicy::Latest] {
            counters.note_lagged(policy);
        }
        assert_eq!(counters.lagged, [0, 1, 2]);
    }
}
