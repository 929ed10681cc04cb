//! The pace of messages over real sockets: who sends more than `--client-messages` allows is read more slowly, and nothing is lost.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

use fanfare::config::{Config, Rate};
use support::metrics::*;
use support::multiplex::{multiplex, next, say};
use support::*;
use tungstenite::Message;

const SCRAPE_WITH_KEY: &[u8] =
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n";

/// Where clients may publish at this pace, and at twice as much at once.
fn paced(count: u32, per: Duration) -> Config {
    Config { client_messages: Some(Rate { count: NonZeroU32::new(count).unwrap(), per }), ..with_key() }
}

/// The frames of numbered texts.
fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| masked_frame(0x81, number.to_string().as_bytes())).collect()
}

fn assert_numbered(subscriber: &mut Client, count: usize) {
    for number in 0..count {
        let text = loop {
            match subscriber.read().unwrap() {
                Message::Ping(_) => {}
                message => break message.into_text().unwrap(),
            }
        };
        assert_eq!(text.as_str(), number.to_string());
    }
}

#[test]
fn a_burst_of_a_thousand_messages_arrives_whole_in_order_and_at_the_rate() {
    let server = start(paced(400, Duration::from_secs(1)));
    let mut subscriber = websocket(server.address, "/channels/chat-1");
    let mut sender = raw_websocket(server.address, "/channels/chat-1");
    let began = Instant::now();
    sender.write_all(&numbered(1000)).unwrap();
    assert_numbered(&mut subscriber, 800);
    let burst = began.elapsed();
    (800..1000).for_each(|number| assert_eq!(text(&mut subscriber), number.to_string()));
    assert!(began.elapsed() >= Duration::from_millis(495), "200 at 400 a second: {:?}", began.elapsed());
    assert!(burst < began.elapsed());
    let mut scraper = connect(server.address);
    let throttled = samples(&exchange(&mut scraper, SCRAPE_WITH_KEY).body)["fanfare_throttled_total"];
    assert!((1.0..=15.0).contains(&throttled), "{throttled} waits of 50 ms at least");
}

#[test]
fn a_sender_that_waits_for_its_pace_does_not_delay_others() {
    let server = start(Config { threads: NonZeroUsize::MIN, ..paced(1, Duration::from_secs(3600)) });
    let mut subscriber = websocket(server.address, "/channels/chat-1");
    let mut sender = raw_websocket(server.address, "/channels/chat-1");
    sender.write_all(&numbered(50_000)).unwrap();
    assert_numbered(&mut subscriber, 2);
    let mut other = websocket(server.address, "/channels/chat-1");
    other.send(Message::text("other")).unwrap();
    assert_eq!(text(&mut subscriber), "other");
    // It is dropped when its client is gone, although it has said more than was processed.
    reset(sender);
    let mut scraper = connect(server.address);
    until("it is gone", || {
        let samples = samples(&exchange(&mut scraper, SCRAPE_WITH_KEY).body);
        (samples[&connections("websocket")] == 2.0).then_some(())
    });
}

#[test]
fn messages_ahead_of_the_end_arrive_however_long_they_wait() {
    let server = start(paced(200, Duration::from_secs(1)));
    let mut subscriber = websocket(server.address, "/channels/chat-1");
    let mut sender = raw_websocket(server.address, "/channels/chat-1");
    sender.write_all(&numbered(450)).unwrap();
    sender.shutdown(Shutdown::Write).unwrap();
    assert_numbered(&mut subscriber, 450);
    let mut sender = raw_websocket(server.address, "/channels/chat-1");
    sender.write_all(&[numbered(450), masked_frame(0x88, b"\x03\xe8")].concat()).unwrap();
    assert_numbered(&mut subscriber, 450);
    let answer = rest(&mut sender);
    assert!(answer.ends_with(b"\x88\x02\x03\xe8"), "it is answered by a Close frame");
}

#[test]
fn a_sender_that_waits_for_its_pace_is_not_taken_for_silent() {
    let timeouts = Config {
        idle_timeout: Duration::from_millis(100),
        pong_timeout: Duration::from_secs(1),
        ..paced(50, Duration::from_secs(1))
    };
    let server = start(timeouts);
    let mut subscriber = websocket(server.address, "/channels/chat-1");
    // It answers no ping, but what it has sent is not all read for two seconds.
    let mut sender = raw_websocket(server.address, "/channels/chat-1");
    sender.write_all(&numbered(200)).unwrap();
    assert_numbered(&mut subscriber, 200);
}

#[test]
fn an_echo_and_development_mode_have_no_pace() {
    let slow = paced(1, Duration::from_secs(3600));
    let server = start(Config { echo: true, ..slow.clone() });
    let mut echo = raw_websocket(server.address, "/echo");
    echo.write_all(&numbered(1000)).unwrap();
    let mut echoed = vec![0; numbered(1000).len() - 4 * 1000];
    echo.read_exact(&mut echoed).unwrap();
    let server = start(Config { client_messages: slow.client_messages, ..config() });
    let mut subscriber = websocket(server.address, "/channels/chat-1");
    let mut sender = raw_websocket(server.address, "/channels/chat-1");
    sender.write_all(&numbered(1000)).unwrap();
    assert_numbered(&mut subscriber, 1000);
}

#[test]
fn the_holder_of_a_key_has_no_pace() {
    let server = start(paced(1, Duration::from_secs(3600)));
    let mut subscriber = websocket(server.address, "/channels/prices");
    let (mut sender, _) =
        handshake(server.address, "/channels/prices", &[("Authorization", "Bearer secret")]).unwrap();
    for number in 0..1000 {
        sender.send(Message::text(number.to_string())).unwrap();
    }
    assert_numbered(&mut subscriber, 1000);
}

#[test]
fn commands_have_a_pace_and_are_answered_in_order() {
    let server = start(paced(100, Duration::from_secs(1)));
    let mut client = multiplex(server.address);
    let began = Instant::now();
    for number in 0..250 {
        say(&mut client, &format!(r#"{{"channel":"chat-1","data":{number},"ref":{number}}}"#));
    }
    for number in 0..250 {
        let answer = next(&mut client);
        assert_eq!(
            (&answer["event"], &answer["ref"]),
            (&"fanfare:published".into(), &number.into()),
            "{answer}"
        );
    }
    assert!(began.elapsed() >= Duration::from_millis(495), "50 at 100 a second: {:?}", began.elapsed());
}
