//! `POST /apps/{id}/events` with a signature beside `POST /channels/{name}` of the same payload, and beside the digests of
//! the signature alone.
//!
//! Each socket has one request under way, and each has a channel of its own without subscribers: what is measured is the
//! way in. The requests of a round are signed before it begins.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare::config::Config;
use fanfare::pusher::App;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use super::FANFARE;
use crate::support::{Payload, clients, orders, say};
use crate::versus::rounds::{self, Side};
use crate::versus::table::Table;
use crate::versus::{self, Versus};

/// The role of a process that computes what the signatures need, and serves nobody.
pub const DIGESTS: &str = "digests";

/// The role of a process with clients: `posters ADDRESS KIND PAYLOAD SOCKETS`.
pub const POSTERS: &str = "posters";

/// What the clients send.
const SIGNED: &str = "signed";
const PLAIN: &str = "plain";

/// They send nothing: the digests are computed.
const NOTHING: &str = "nothing";

const SOCKETS: [usize; 2] = [1, 200];

/// Requests a round, on all sockets together: long against what reading the time costs.
const REQUESTS: usize = 800;

/// A client that waits longer than this is not answered.
const SILENCE_MAX: Duration = Duration::from_secs(60);

const ANSWER_LEN_MAX: usize = 1024;

const NOTE: &str = "events by HTTP: CPU µs of the serving side a request (medians; ratio: median over the rounds and quartiles)";

const HEADS: [&str; 9] = [
    "sockets",
    "payload",
    "plain",
    "digests",
    "signed",
    "signed/plain",
    "signed/(plain + digests)",
    "signed a second",
    "rounds",
];

/// Measures, and prints the table.
pub fn bench() {
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| {
        for sockets in SOCKETS {
            for payload in [Payload::Tick, Payload::Quote] {
                let side = |role: &str, kind, order| {
                    Side::with_clients(role.into(), POSTERS, format!("{kind} {payload} {sockets}"), order)
                };
                let digests = format!("{DIGESTS} {payload} {sockets}");
                let sides = [
                    (SIGNED, side(FANFARE, SIGNED, clients::POST)),
                    (PLAIN, side(FANFARE, PLAIN, clients::POST)),
                    (DIGESTS, side(&digests, NOTHING, clients::EXPECT)),
                ];
                let requests = REQUESTS / sockets;
                let title = format!("events/{payload}");
                let rounds = Versus::new(sockets, sides).measure(criterion, &title, requests);
                if rounds.is_empty() {
                    continue;
                }
                let second = 1e6 / rounds.micros(0).parse::<f64>().expect("a number was formatted");
                table.add(vec![
                    sockets.to_string(),
                    payload.to_string(),
                    rounds.micros(1),
                    rounds.micros(2),
                    rounds.micros(0),
                    rounds.ratio(0, 1),
                    rounds.quartiles(|[signed, plain, digests]| {
                        signed.as_secs_f64() / (*plain + *digests).as_secs_f64()
                    }),
                    format!("{second:.0}"),
                    rounds.count(),
                ]);
            }
        }
    });
}

/// Computes the digests of as many requests as the clients of another side send.
pub fn serve_digests(payload: &str, sockets: &str) {
    let Ok(payload) = payload.parse::<Payload>();
    let sockets: usize = sockets.parse().expect("the number of sockets is a number");
    say("nowhere");
    let app = Config::development_app();
    rounds::serve(
        |requests| {
            let body = event(payload, 0);
            (query(&body), body, requests * sockets)
        },
        |(query, body, requests)| {
            let signed = format!("POST\n{}\n{query}", path(&app));
            for _ in 0..*requests {
                black_box(Md5::digest(black_box(body)));
                black_box(digest(&app, black_box(&signed)));
            }
        },
    );
}

fn digest(app: &App, signed: &str) -> [u8; 32] {
    let secret = app.secrets[0].as_bytes();
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    hmac.update(signed.as_bytes());
    hmac.finalize().into_bytes().into()
}

/// Connects, says `ready`, and for every order such as `post K` says `done` as soon as every socket has sent K requests and
/// has the answers, each before the next.
pub fn run(address: &str, kind: &str, payload: &str, sockets: &str) {
    let Ok(payload) = payload.parse::<Payload>();
    let sockets: usize = sockets.parse().expect("the number of sockets is a number");
    let sends = kind != NOTHING;
    let mut clients: Vec<_> = (0..if sends { sockets } else { 0 }).map(|_| connect(address)).collect();
    say("ready");
    for (_, turns) in orders() {
        let requests: Vec<_> = (0..clients.len()).map(|index| request(kind, payload, index)).collect();
        let mut answer = [0; ANSWER_LEN_MAX];
        for _ in 0..turns {
            for (client, request) in clients.iter_mut().zip(&requests) {
                client.write_all(request).expect("the server reads");
            }
            clients.iter_mut().for_each(|client| read_answer(client, &mut answer));
        }
        say("done");
    }
}

/// One request, to the channel of this socket.
fn request(kind: &str, payload: Payload, index: usize) -> Vec<u8> {
    let app = Config::development_app();
    let (target, body) = match kind {
        SIGNED => {
            let body = event(payload, index);
            let query = query(&body);
            let hex = hex(&digest(&app, &format!("POST\n{}\n{query}", path(&app))));
            (format!("{}?{query}&auth_signature={hex}", path(&app)), body)
        }
        PLAIN => (format!("/channels/{}?event=tick", channel(index)), payload.bytes(index)),
        unknown => unreachable!("the bench names no kind {unknown}"),
    };
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// The body of an event as libraries send it: the data is JSON in a string.
fn event(payload: Payload, index: usize) -> Vec<u8> {
    let data = serde_json::Value::from(String::from_utf8(payload.bytes(index)).expect("JSON is text"));
    format!(r#"{{"name":"tick","data":{data},"channels":["{}"]}}"#, channel(index)).into()
}

/// The parameters, as they are signed and sent. The time is this one.
fn query(body: &[u8]) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let key = Config::development_app().key;
    format!("auth_key={key}&auth_timestamp={now_s}&auth_version=1.0&body_md5={}", hex(&Md5::digest(body)))
}

fn path(app: &App) -> String {
    format!("/apps/{}/events", app.id)
}

fn channel(index: usize) -> String {
    format!("bench-{index:04}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("the server takes this many clients");
    client.set_read_timeout(Some(SILENCE_MAX)).expect("60 s is a timeout");
    client.set_nodelay(true).expect("TCP has no delay if told so");
    client
}

/// Reads to the end of an answer: a line of JSON, or the `{}` of the API.
fn read_answer(client: &mut TcpStream, room: &mut [u8]) {
    let mut len = 0;
    while !room[..len].ends_with(b"}\n") && !room[..len].ends_with(b"\r\n\r\n{}") {
        let read_len = client.read(&mut room[len..]).expect("every request is answered");
        assert!(read_len > 0, "a connection is kept: {}", room[..len].escape_ascii());
        len += read_len;
    }
    assert!(room[..len].starts_with(b"HTTP/1.1 200 "), "{}", room[..len].escape_ascii());
}
