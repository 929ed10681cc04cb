//! What presence costs: CPU time of the serving side for users who join and leave a channel of 1,000.
//!
//! `cargo bench --bench presence`. The table at the end is the result. Rounds of the sides alternate in one run, and a ratio
//! is the median over them. Every side has 1,000 members in the channel, who are told of nothing but who is there, and has a
//! guest that joins and leaves several times a round: in a channel without presence, in one that tells numbers, and in one
//! that tells members, with and without the guest being told who is there. What a change costs is not in it, since that is a
//! publication to those who read it (`fan_out`), one a second.
//! `FANFARE_BENCH_SUBSCRIBERS=1000` sets the number of members: up to 1,000 are listed.

#[path = "support/mod.rs"]
mod support;
#[path = "support/versus/mod.rs"]
#[allow(dead_code)] // other benches use more of it
mod versus;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fanfare::config::{Config, Glob, PresenceRule};
use fanfare::token::{Key, Keys};
use fanfare::ws::{Opcode, encode_masked_frame};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use support::{orders, say};
use versus::Versus;
use versus::rounds::{self, Side};
use versus::table::Table;

/// The role of a serving process.
const FANFARE: &str = "fanfare";

/// The role of a process with members: `members ADDRESS COUNT`.
const MEMBERS: &str = "members";

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Times a round.
const TIMES: usize = 16;

/// The channel, and whether the guest asks who is there.
const SIDES: [(&str, &str, bool); 4] = [
    ("without presence", "plain", false),
    ("numbers", "count", false),
    ("members", "members", false),
    ("members, and told them", "members", true),
];

/// A member that waits longer than this has lost bytes.
const SILENCE_MAX: Duration = Duration::from_secs(60);

const NOTE: &str = "presence: CPU µs of the serving side a join and leave (medians; ratio: median over the rounds and quartiles)";

const HEADS: [&str; 9] = [
    "members",
    "without presence",
    "numbers",
    "members listed",
    "and told",
    "numbers/without",
    "members/without",
    "told/without",
    "rounds",
];

fn main() {
    support::run(bench, |role| match role {
        [FANFARE] => rounds::serve_fanfare(config()),
        [MEMBERS, address, count] => run(address, count),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

fn config() -> Config {
    let mut token_keys = Keys::default();
    token_keys.push(Key::secret("bench", SECRET).expect("it is long enough")).expect("it is the only one");
    let presence =
        vec![(Glob::new("count"), PresenceRule::Count), (Glob::new("members"), PresenceRule::Members)];
    Config { token_keys, presence, presence_members: 1000, client_messages: None, ..Config::default() }
}

fn bench() {
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| {
        for members in support::subscribers("999") {
            let side = |order| Side::with_clients(FANFARE.into(), MEMBERS, members.to_string(), order);
            let orders = ["0", "1", "2", "3"];
            let sides = std::array::from_fn::<_, 4, _>(|at| (SIDES[at].0, side(orders[at])));
            let rounds = Versus::new(1, sides).measure(criterion, &format!("presence/{members}"), TIMES);
            if rounds.is_empty() {
                continue;
            }
            let mut row = vec![members.to_string()];
            row.extend((0..4).map(|at| rounds.micros(at)));
            row.extend((1..4).map(|at| rounds.ratio(at, 0)));
            row.push(rounds.count());
            table.add(row);
        }
    });
}

/// Has so many members join each channel, one after the other, and says `ready`. For every order such as `2 K` a guest joins
/// and leaves K times the channel of that side, and `done` is said.
fn run(address: &str, count: &str) {
    let count: usize = count.parse().expect("the number of members is a number");
    let members: Vec<Member> = (0..count)
        .map(|index| {
            let mut member = Member::connect(address, &format!("user-{index}"));
            for channel in ["plain", "count", "members"] {
                member.subscribe(channel, false);
            }
            member
        })
        .collect();
    let mut guest = Member::connect(address, "guest");
    say("ready");
    for (order, times) in orders() {
        let side = order.parse::<usize>().ok().and_then(|at| SIDES.get(at));
        let (_, channel, is_told) = side.expect("the bench gives the number of a side");
        for _ in 0..times {
            guest.subscribe(channel, *is_told);
            guest.unsubscribe(channel);
        }
        say("done");
    }
    drop(members);
}

/// A client of `/channels` on a socket of its own.
struct Member {
    socket: TcpStream,
    /// What has been read and is of the next message.
    read: Vec<u8>,
}

impl Member {
    fn connect(address: &str, user: &str) -> Self {
        let mut socket = TcpStream::connect(address).expect("the server takes this many members");
        socket.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
        socket.set_nodelay(true).expect("TCP has no delay if told so");
        let request = format!(
            "GET /channels HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: fanfare.v1.json\r\nAuthorization: Bearer {}\r\n\r\n",
            token(user)
        );
        socket.write_all(request.as_bytes()).expect("the server reads the request");
        let mut member = Self { socket, read: Vec::new() };
        member.read_past("fanfare:authorized");
        member
    }

    /// Joins the channel, and reads that it has and, if it wants to be told, who is in it.
    fn subscribe(&mut self, channel: &str, is_told: bool) {
        let wanted =
            json!({"event": "fanfare:subscribe", "data": [{"channel": channel, "presence": is_told}]});
        self.send(&wanted.to_string());
        self.read_past("fanfare:subscribed");
        if is_told {
            self.read_past("\"since\":\"");
        }
    }

    fn unsubscribe(&mut self, channel: &str) {
        self.send(&json!({"event": "fanfare:unsubscribe", "data": [channel]}).to_string());
        self.read_past("fanfare:unsubscribed");
    }

    fn send(&mut self, message: &str) {
        let mut out = Vec::new();
        encode_masked_frame(&mut out, true, Opcode::Text, KEY, message.as_bytes());
        self.socket.write_all(&out).expect("the server reads its clients");
    }

    /// Reads until this has come, and forgets what came before it. All of it is ASCII but the headers of frames.
    fn read_past(&mut self, sign: &str) {
        let mut piece = [0; 64 * 1024];
        loop {
            let found = self.read.windows(sign.len()).position(|bytes| bytes == sign.as_bytes());
            if let Some(at) = found {
                self.read.drain(..at + sign.len());
                return;
            }
            // A sign may be cut.
            self.read.drain(..self.read.len().saturating_sub(sign.len()));
            let len = self.socket.read(&mut piece).expect("the server answers");
            assert!(len > 0, "the server closed: {}", self.read.escape_ascii());
            self.read.extend_from_slice(&piece[..len]);
        }
    }
}

/// A token for all channels.
fn token(user: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_secs();
    let allows = json!({"subscribe": ["*"], "presence": ["*"], "info": {"name": user}});
    let claims = json!({"sub": user, "iat": now, "exp": now + 24 * 60 * 60, "fanfare": allows});
    let key = EncodingKey::from_secret(SECRET);
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("it signs")
}
