//! Events by the HTTP API of Pusher on nodes that share channels: what is answered 200 is published, and what is not is said not to
//! be, or that it may be.
//!
//! What other publishers are told is in `nodes_limits` and `nodes_restarts`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::Write;
use std::net::SocketAddr;

use fanfare::config::Config;
use fanfare::pusher::App;
use serde_json::{Value, json};
use support::fleet::{call, signed};
use support::metrics::Scraper;
use support::nodes::{by_redis, patient};
use support::pusher::Pusher;
use support::redis::Redis;
use support::*;

const NOT_PUBLISHED: &str = "This is not published; try again in a second.\n";
const MAY_BE_PUBLISHED: &str = "This may be published or not; what is sent again may come twice.\n";
const PUBLISHED_IN_PART: &str = "This is published in part; what is sent again comes twice there.\n";

/// Redis refuses what would write.
const FULL: &str = "CONFIG SET maxmemory 1";

/// The bytes of the publications that wait for Redis.
const WAITING: &str = "fanfare_redis_queue_bytes";

/// It takes all again.
const ROOMY: &str = "CONFIG SET maxmemory 0";

fn with_app(config: Config) -> Config {
    Config { apps: vec![App::new("1", "app-key", "app-secret")], ..config }
}

/// What an app's server asks for: the path, its parameters, the body.
type Asked = (&'static str, &'static str, String);

fn event(channels: Value) -> Asked {
    ("/events", "", json!({"name": "e", "channels": channels, "data": "x"}).to_string())
}

/// One of each way to publish.
fn all_ways() -> Vec<Asked> {
    let told = json!({"name": "e", "channels": ["news", "more"], "data": "x", "info": "subscription_count"});
    let batch = json!({"batch": [
        {"name": "e", "channel": "news", "data": "x"},
        {"name": "e", "channel": "more", "data": "x", "info": "subscription_count"},
    ]});
    vec![
        event(json!(["news"])),
        event(json!(["news", "more", "private-most"])),
        event(json!(["#server-to-user-anna"])),
        ("/events", "", told.to_string()),
        ("/batch_events", "", batch.to_string()),
        ("/channels/news/events", "&name=e", "x".to_owned()),
    ]
}

fn send(address: SocketAddr, (path, parameters, body): &Asked) -> Answer {
    exchange(&mut connect(address), &signed("POST", path, parameters, body))
}

/// Asserts that nothing of a request was published, and that its client is told to try again.
fn assert_refused(answer: &Answer) {
    assert_eq!((answer.status, &*answer.body), (503, NOT_PUBLISHED), "{answer:?}");
    assert!(answer.head.contains("\r\nRetry-After: 1\r\n"), "{answer:?}");
}

/// How many publications a channel has had, as Redis has it.
fn published(redis: &Redis, channel: &str) -> u64 {
    redis.ask::<Option<u64>>(&format!("HGET fanfare:{{{channel}}} s")).unwrap_or(0)
}

/// Waits until a node knows that Redis is away.
fn wait_until_away(node: SocketAddr) {
    let mut scraper = Scraper::new(node);
    until("Redis is known to be away", || (scraper.value("fanfare_redis_up") == 0.0).then_some(()));
}

/// Waits until a node publishes again, with one event to this channel.
fn wait_until_back(node: SocketAddr, channel: &str) {
    until("the node publishes again", || (send(node, &event(json!([channel]))).status == 200).then_some(()));
}

#[test]
fn an_event_that_is_answered_200_is_published_by_then() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [a, b] = [(); 2].map(|()| start(with_app(patient(redis.port))));
    let mut client = Pusher::connect(b.address);
    client.sign_in("anna", &[]);
    client.subscribe("#server-to-user-anna");
    client.subscribe("news");
    let answers: Vec<_> = all_ways().iter().map(|asked| send(a.address, asked)).collect();
    let counts = [published(&redis, "news"), published(&redis, "more"), published(&redis, "private-most")];
    assert_eq!(counts, [5, 3, 1]);
    assert_eq!(published(&redis, "#server-to-user-anna"), 1);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 202]);
    let bodies: Vec<Value> =
        answers.iter().map(|answer| serde_json::from_str(&answer.body).unwrap()).collect();
    assert_eq!([&bodies[0], &bodies[1], &bodies[2], &bodies[5]], [&json!({}); 4]);
    assert!(bodies[3]["channels"]["news"]["subscription_count"].is_u64(), "{}", bodies[3]);
    assert_eq!(bodies[3]["channels"]["more"], json!({"subscription_count": 0}));
    assert_eq!(bodies[4], json!({"batch": [{}, {"subscription_count": 0}]}));
    let mut channels: Vec<_> = (0..6).map(|_| client.expect("e").0).collect();
    channels.sort_unstable();
    assert_eq!(channels, ["#server-to-user-anna", "news", "news", "news", "news", "news"]);
    // Each publication is counted once.
    Scraper::new(a.address).settles(&[("fanfare_publishes_total", 10)]);
}

#[test]
fn an_event_that_cannot_be_sent_to_redis_is_said_not_to_be_published() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let node = start(with_app(by_redis(redis.port)));
    wait_until_back(node.address, "news");
    redis.kill();
    wait_until_away(node.address);
    for asked in all_ways() {
        assert_refused(&send(node.address, &asked));
    }
    redis.start_again(redis::Memory::Lost);
    wait_until_back(node.address, "news");
    assert_eq!((published(&redis, "news"), published(&redis, "more")), (1, 0));
}

#[test]
fn an_event_that_redis_has_not_answered_in_time_is_said_to_be_published_perhaps() {
    let Some(redis) = Redis::start(&[]) else { return };
    for asked in all_ways() {
        let node = start(with_app(by_redis(redis.port)));
        wait_until_back(node.address, "before");
        redis.signal("STOP");
        let answer = send(node.address, &asked);
        redis.signal("CONT");
        assert_eq!((answer.status, &*answer.body), (504, MAY_BE_PUBLISHED), "{asked:?}: {answer:?}");
    }
}

#[test]
fn an_event_that_a_full_redis_refuses_is_said_not_to_be_published() {
    let Some(redis) = Redis::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let [a, b] = [(); 2].map(|()| start(with_app(patient(redis.port))));
    let mut client = Pusher::connect(b.address);
    client.subscribe("news");
    wait_until_back(a.address, "news");
    client.expect("e");
    let _: String = redis.ask(FULL);
    for asked in all_ways() {
        assert_refused(&send(a.address, &asked));
    }
    let _: String = redis.ask(ROOMY);
    wait_until_back(a.address, "news");
    assert_eq!((published(&redis, "news"), published(&redis, "more")), (2, 0));
    client.expect("e");
    client.has_nothing_more();
    // What was done counts, and nothing else.
    let counts = [("fanfare_publishes_total", 2), ("fanfare_pusher_calls_total{call=\"events\"}", 2)];
    Scraper::new(a.address).settles(&counts);
}

#[test]
fn events_of_which_some_are_refused_are_said_to_be_published_in_part() {
    let Some(redis) = Redis::start(&[]) else { return };
    let node = start(with_app(patient(redis.port)));
    wait_until_back(node.address, "news");
    // Two channels whose names have the same beginning.
    let _: String = redis.ask("ACL SETUSER default resetkeys ~fanfare:{news*");
    let batch = json!({"batch": [
        {"name": "e", "channel": "more", "data": "x"},
        {"name": "e", "channel": "news", "data": "x"},
    ]});
    for asked in [event(json!(["more", "news", "most"])), ("/batch_events", "", batch.to_string())] {
        let answer = send(node.address, &asked);
        assert_eq!((answer.status, &*answer.body), (504, PUBLISHED_IN_PART), "{asked:?}: {answer:?}");
    }
    assert_refused(&send(node.address, &event(json!(["more", "most"]))));
    assert_eq!(send(node.address, &event(json!(["news", "news-2"]))).status, 200);
    assert_eq!((published(&redis, "news"), published(&redis, "news-2")), (4, 1));
}

#[test]
fn requests_that_follow_on_the_connection_are_answered_after_the_event_in_their_order() {
    let Some(redis) = Redis::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let node = start(with_app(patient(redis.port)));
    wait_until_back(node.address, "news");
    redis.signal("STOP");
    let told =
        json!({"name": "first", "channels": ["news", "more"], "data": "x", "info": "subscription_count"});
    let (path, parameters, body) = event(json!(["news"]));
    let requests = [
        signed("POST", "/events", "", &told.to_string()),
        signed("POST", path, parameters, &body),
        signed("GET", "/channels", "", ""),
    ];
    let mut stream = connect(node.address);
    stream.write_all(&requests.concat()).unwrap();
    // Both publications of the first event wait for Redis, and nothing that follows is done.
    let mut scraper = Scraper::new(node.address);
    until("the event waits", || (scraper.value(WAITING) > 0.0).then_some(()));
    stream.set_nonblocking(true).unwrap();
    assert!(stream.peek(&mut [0]).is_err(), "nothing is answered yet");
    stream.set_nonblocking(false).unwrap();
    redis.signal("CONT");
    let first = read_answer(&mut stream);
    assert_eq!(first.body.matches("subscription_count").count(), 2, "{first:?}");
    assert_eq!(read_answer(&mut stream).body, "{}");
    assert_eq!(read_answer(&mut stream).body, r#"{"channels":{}}"#);
    let read = request(node.address, "GET", "/channels/news?last=9&wait=0", "", b"");
    let read: Value = serde_json::from_str(&read.body).unwrap();
    let messages = read["messages"].as_array().unwrap();
    let events: Vec<_> = messages.iter().map(|message| message["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["e", "first", "e"]);
}

#[test]
fn a_client_that_goes_away_while_its_event_waits_leaves_nothing_behind() {
    const CLIENTS: usize = 20;
    const DATA_LEN: usize = 1000;
    let Some(redis) = Redis::start(&[]) else { return };
    let node = start(with_app(patient(redis.port)));
    wait_until_back(node.address, "news");
    let mut scraper = Scraper::new(node.address);
    let gauges = |scraper: &mut Scraper| {
        ["fanfare_connections{transport=\"http\"}", "fanfare_memory_bytes{kind=\"private\"}", WAITING]
            .map(|name| scraper.value(name))
    };
    let before = gauges(&mut scraper);
    redis.signal("STOP");
    let body = json!({"name": "e", "channels": ["news", "more"], "data": "x".repeat(DATA_LEN)}).to_string();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut stream = connect(node.address);
            stream.write_all(&signed("POST", "/events", "", &body)).unwrap();
            stream
        })
        .collect();
    until("the events wait", || (scraper.value(WAITING) > (CLIENTS * 2 * DATA_LEN) as f64).then_some(()));
    drop(clients);
    redis.signal("CONT");
    until("nothing is left of them", || (gauges(&mut scraper) == before).then_some(()));
    assert_eq!(published(&redis, "news"), 1 + CLIENTS as u64);
    assert_eq!(call(node.address, "POST", "/events", "", &body), json!({}));
}
