//! A member that joins a presence channel of 1,000 and leaves it again, beside two publications to these members.
//!
//! Every member is told of each, and the one that joins is sent all members. A publication costs a delivery to every member
//! too: what a join and a leave cost besides is the difference.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fanfare::config::Config;
use fanfare::pusher::auth;
use fanfare::ws::{Opcode, encode_frame, encode_masked_frame};

use super::FANFARE;
use crate::support::{self, orders, say};
use crate::versus::rounds::Side;
use crate::versus::table::Table;
use crate::versus::{self, Versus};

/// The role of a process with members: `members ADDRESS COUNT`.
pub const MEMBERS: &str = "members";

/// What they are told to do so many times.
const JOIN: &str = "join";
const PUBLISH: &str = "publish";

const CHANNEL: &str = "presence-room";

const EVENT: &str = "client-tick";

/// Times a round.
const TIMES: usize = 4;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A member that waits longer than this has lost bytes.
const SILENCE_MAX: Duration = Duration::from_secs(60);

const NOTE: &str =
    "presence: CPU µs of the serving side (medians; ratio: median over the rounds and quartiles)";

const HEADS: [&str; 5] =
    ["members", "two publications", "join and leave", "(join and leave)/(two publications)", "rounds"];

/// Measures, and prints the table.
pub fn bench() {
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| {
        for members in support::subscribers("1000") {
            let side = |order| Side::with_clients(FANFARE.into(), MEMBERS, members.to_string(), order);
            let sides = [("join and leave", side(JOIN)), ("two publications", side(PUBLISH))];
            let rounds = Versus::new(1, sides).measure(criterion, &format!("presence/{members}"), TIMES);
            if rounds.is_empty() {
                continue;
            }
            let row =
                [members.to_string(), rounds.micros(1), rounds.micros(0), rounds.ratio(0, 1), rounds.count()];
            table.add(row.into());
        }
    });
}

/// Has so many members join, one after the other, and says `ready`. For every order such as `join K` one more joins and
/// leaves K times, or publishes twice K times; then every member has read what it was told of that, and `done` is said.
pub fn run(address: &str, count: &str) {
    let count: usize = count.parse().expect("the number of members is a number");
    let mut members: Vec<Member> = Vec::new();
    for index in 0..count {
        let mut member = Member::connect(address);
        member.join(&user_id(index));
        let added = added(&user_id(index));
        members.iter_mut().for_each(|earlier| earlier.expect(&added));
        members.push(member);
    }
    let mut guest = Member::connect(address);
    say("ready");
    for (order, times) in orders() {
        for _ in 0..times {
            match order.as_str() {
                JOIN => join_and_leave(&mut guest, &mut members),
                PUBLISH => publish_twice(&mut members),
                unknown => unreachable!("the bench gives no order {unknown}"),
            }
        }
        say("done");
    }
}

fn join_and_leave(guest: &mut Member, members: &mut [Member]) {
    let user = user_id(members.len());
    guest.join(&user);
    guest.send(&format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{CHANNEL}"}}}}"#));
    let told = [added(&user), removed(&user)].concat();
    // The last is written to last: this process sleeps while the server is at work.
    members.iter_mut().rev().for_each(|member| member.expect(&told));
}

/// By the first member, to all others.
fn publish_twice(members: &mut [Member]) {
    let Some((first, others)) = members.split_first_mut() else { return };
    let data = r#"{"user_id":"1000"}"#;
    let message = format!(r#"{{"event":"{EVENT}","channel":"{CHANNEL}","data":{data}}}"#);
    let told = frame(&format!(
        r#"{{"event":"{EVENT}","channel":"{CHANNEL}","data":{data},"user_id":"{}"}}"#,
        user_id(0)
    ));
    for _ in 0..2 {
        first.send(&message);
        others.iter_mut().rev().for_each(|member| member.expect(&told));
    }
}

fn user_id(index: usize) -> String {
    index.to_string()
}

fn added(user: &str) -> Vec<u8> {
    notice("member_added", &format!(r#"{{\"user_id\":\"{user}\",\"user_info\":null}}"#))
}

fn removed(user: &str) -> Vec<u8> {
    notice("member_removed", &format!(r#"{{\"user_id\":\"{user}\"}}"#))
}

fn notice(event: &str, data: &str) -> Vec<u8> {
    frame(&format!(r#"{{"event":"pusher_internal:{event}","channel":"{CHANNEL}","data":"{data}"}}"#))
}

fn frame(message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, Opcode::Text, message.as_bytes());
    out
}

/// A Pusher client on a socket of its own.
struct Member {
    socket: TcpStream,
    socket_id: String,
}

impl Member {
    fn connect(address: &str) -> Self {
        let app = Config::development_app();
        let mut socket = TcpStream::connect(address).expect("the server takes this many members");
        socket.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
        socket.set_nodelay(true).expect("TCP has no delay if told so");
        let request = format!(
            "GET /app/{}?protocol=7 HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            app.key
        );
        socket.write_all(request.as_bytes()).expect("the server reads the request");
        let greeting = read_until(&mut socket, "}\"}");
        let socket_id =
            greeting.split("\"socket_id\\\":\\\"").nth(1).and_then(|rest| rest.split('\\').next());
        let socket_id = socket_id.expect("the first message has the socket id").to_owned();
        Self { socket, socket_id }
    }

    /// Joins the channel, and reads who is in it.
    fn join(&mut self, user: &str) {
        let app = Config::development_app();
        let data = format!(r#"{{"user_id":"{user}"}}"#);
        let signed = auth::of_subscription(&self.socket_id, CHANNEL, Some(&data));
        let digest = auth::hmac_hex(&app.secrets[0], signed.as_bytes());
        let (auth, data) = (format!("{}:{digest}", app.key), serde_json::Value::from(data));
        self.send(&format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{CHANNEL}","auth":"{auth}","channel_data":{data}}}}}"#
        ));
        let members = read_until(&mut self.socket, "}}\"}");
        assert!(members.contains(&format!(r#"\"{user}\":null"#)), "{members}");
    }

    fn send(&mut self, message: &str) {
        let mut out = Vec::new();
        encode_masked_frame(&mut out, true, Opcode::Text, KEY, message.as_bytes());
        self.socket.write_all(&out).expect("the server reads its clients");
    }

    fn expect(&mut self, expected: &[u8]) {
        let mut received = vec![0; expected.len()];
        self.socket.read_exact(&mut received).expect("every member is told");
        assert!(received == expected, "{} instead of {}", received.escape_ascii(), expected.escape_ascii());
    }
}

/// Reads until what has come ends so. All of it is ASCII but the headers of frames.
fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 64 * 1024];
    while !bytes.ends_with(end.as_bytes()) {
        let len = socket.read(&mut piece).expect("the server answers");
        assert!(len > 0, "the server closed: {}", bytes.escape_ascii());
        bytes.extend_from_slice(&piece[..len]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
