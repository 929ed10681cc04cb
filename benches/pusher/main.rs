//! What the Pusher protocol costs beside the same without it: CPU time of the serving side.
//!
//! `cargo bench --bench pusher`, with a filter such as `-- events` if wanted. The tables at the end are the result. Rounds
//! of the sides of a table alternate in one run, and a ratio is the median over them. `fan_out`: Pusher clients beside
//! WebSocket clients of the same payloads, and beside those of payloads that make the same bytes. `events`: signed requests beside plain POSTs, and beside the digests alone.
//! `presence`: a member that joins and leaves beside as many publications to the same members.
//! Every client checks every byte of what is published. `FANFARE_BENCH_SUBSCRIBERS=1000` sets the number of subscribers and
//! members. Memory is `idle_memory`'s.

mod events;
mod presence;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/mod.rs"]
mod versus;

use std::num::NonZeroU32;

use fanfare::config::Config;
use fanfare::hub::PublicationId;
use fanfare::pusher::App;

use support::clients::POST;
use support::{Feed, Form, Payload};
use versus::Versus;
use versus::rounds::{self, Side};
use versus::table::Table;

/// Messages a turn. Requests with more than 16 KiB would be read in several turns, and not in as many for each side.
const MESSAGES: [usize; 2] = [1, 16];

/// The role of a serving process.
pub const FANFARE: &str = "fanfare";

/// The sides of the fan-out.
const WEBSOCKET: usize = 0;
const PUSHER: usize = 1;
const SAME_BYTES: usize = 2;

const FORMS: [(&str, Form); 3] = [
    ("websocket", Form::WEBSOCKET),
    ("pusher", Form::Pusher { channels: 1 }),
    ("same bytes", Form::WebSocketAsPusher),
];

const NOTE: &str =
    "fan-out: CPU µs of the serving side a delivery (medians; ratio: median over the rounds and quartiles)";

const HEADS: [&str; 10] = [
    "subscribers",
    "payload",
    "messages a turn",
    "bytes a message",
    "websocket",
    "pusher",
    "same bytes",
    "pusher/websocket",
    "pusher/same bytes",
    "rounds",
];

fn main() {
    support::run(bench, |role| match role {
        [FANFARE] => rounds::serve_fanfare(config()),
        [events::DIGESTS, payload, sockets] => events::serve_digests(payload, sockets),
        [events::POSTERS, address, kind, payload, sockets] => events::run(address, kind, payload, sockets),
        [presence::MEMBERS, address, count] => presence::run(address, count),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
}

/// The app of development mode, with room for the members and for what they say.
fn config() -> Config {
    let app =
        App { max_members: usize::MAX, client_event_rate: NonZeroU32::MAX, ..Config::development_app() };
    Config { apps: vec![app], ..Config::default() }
}

fn bench() {
    versus::bench(Table::new(NOTE, &HEADS), |criterion, table| {
        for subscribers in support::subscribers("1000") {
            for payload in [Payload::Tick, Payload::Quote] {
                let feeds = FORMS.map(|(_, form)| Feed { payload, form });
                let sides = FORMS.map(|(name, form)| {
                    (name, Side::new(FANFARE.into(), subscribers, Feed { payload, form }, POST))
                });
                let mut versus = Versus::new(subscribers, sides);
                for messages in MESSAGES {
                    let rounds = versus.measure(criterion, &format!("fan_out/{payload}"), messages);
                    if rounds.is_empty() {
                        continue;
                    }
                    let first = PublicationId { epoch: 0x8c1f_5d0e_7a21, sequence: 1001 };
                    let lens = feeds.map(|feed| feed.delivered(messages, first).len() / messages);
                    table.add(vec![
                        subscribers.to_string(),
                        payload.to_string(),
                        messages.to_string(),
                        format!("{}, {}", lens[WEBSOCKET], lens[PUSHER]),
                        rounds.micros(WEBSOCKET),
                        rounds.micros(PUSHER),
                        rounds.micros(SAME_BYTES),
                        rounds.ratio(PUSHER, WEBSOCKET),
                        rounds.ratio(PUSHER, SAME_BYTES),
                        rounds.count(),
                    ]);
                }
            }
        }
    });
    events::bench();
    presence::bench();
}
