//! Fan-out over Server-Sent Events beside WebSocket, of the same payloads: CPU time of the serving side a delivery.
//!
//! `cargo bench --bench transports`, with a filter such as `-- quote` if wanted. The table at the end is the result:
//! three servers of this crate, one loop each, differ in what their clients ask for: WebSocket frames, events, and
//! events of envelopes. A connection that is no subscriber publishes by POST, all messages of a turn in one write;
//! the rounds alternate, and a ratio is the median over them. Every client checks every byte, identifiers and chunk
//! sizes among them. `FANFARE_BENCH_SUBSCRIBERS=1000` sets the number of subscribers.

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/versus/mod.rs"]
mod versus;

use fanfare::config::Config;
use fanfare::hub::PublicationId;

use support::clients::POST;
use support::{Feed, Form, Payload};
use versus::Versus;
use versus::rounds::{self, Side};
use versus::table::Table;

/// Messages a turn.
const MESSAGES: [usize; 2] = [1, 16];

/// The role of a serving process.
const FANFARE: &str = "fanfare";

/// The sides: rounds of either stream are next to one of WebSocket.
const LINES: usize = 0;
const WEBSOCKET: usize = 1;
const ENVELOPES: usize = 2;

const FORMS: [(&str, Form); 3] = [
    ("sse", Form::EventStream),
    ("websocket", Form::WEBSOCKET),
    ("sse envelopes", Form::EventStreamEnvelope),
];

/// For the length of a message.
const ID: PublicationId = PublicationId { epoch: 0x8c1f_5d0e_7a21, sequence: 1001 };

const NOTE: &str =
    "CPU µs of the serving side a delivery (medians; ratios: medians over the rounds and quartiles)";

const HEADS: [&str; 10] = [
    "subscribers",
    "payload",
    "messages a turn",
    "bytes a message",
    "websocket",
    "sse",
    "sse envelopes",
    "sse/websocket",
    "envelopes/websocket",
    "rounds",
];

fn main() {
    support::run(bench, |role| match role {
        [FANFARE] => rounds::serve_fanfare(Config::default()),
        unknown => unreachable!("the bench starts no role {unknown:?}"),
    });
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
                    let rounds = versus.measure(criterion, &format!("transports/{payload}"), messages);
                    if rounds.is_empty() {
                        continue;
                    }
                    let lens = feeds.map(|feed| feed.delivered(messages, ID).len() / messages);
                    table.add(vec![
                        subscribers.to_string(),
                        payload.to_string(),
                        messages.to_string(),
                        format!("{}, {}, {}", lens[WEBSOCKET], lens[LINES], lens[ENVELOPES]),
                        rounds.micros(WEBSOCKET),
                        rounds.micros(LINES),
                        rounds.micros(ENVELOPES),
                        rounds.ratio(LINES, WEBSOCKET),
                        rounds.ratio(ENVELOPES, WEBSOCKET),
                        rounds.count(),
                    ]);
                }
            }
        }
    });
}
