//! Channels over real sockets: who publishes how, who gets what, in which order.

mod support;

use std::io::Write;
use std::num::NonZeroUsize;
use std::thread;

use fanfare::config::Config;
use fanfare::server::{Draft, PublishError};
use support::*;
use tungstenite::{Bytes, Message};

#[test]
fn what_is_posted_reaches_every_subscriber() {
    let server = start(config());
    let mut clients: Vec<_> = (0..5).map(|_| websocket(server.address, "/channels/news")).collect();
    let answer = publish(server.address, "news", "hello");
    assert!(answer.body.contains("\"subscribers\":5"), "{answer:?}");
    for client in &mut clients {
        assert_eq!(text(client), "hello");
    }
}

#[test]
fn a_message_of_a_client_reaches_every_subscriber_and_itself() {
    let server = start(config());
    let mut sender = websocket(server.address, "/channels/chat");
    let mut other = websocket(server.address, "/channels/chat");
    sender.send(Message::text("hi")).unwrap();
    sender.send(Message::binary(&b"\x00\xff"[..])).unwrap();
    for client in [&mut sender, &mut other] {
        assert_eq!(client.read().unwrap(), Message::text("hi"));
        assert_eq!(client.read().unwrap(), Message::binary(&b"\x00\xff"[..]));
    }
}

#[test]
fn channels_do_not_hear_each_other() {
    let server = start(config());
    let mut a = websocket(server.address, "/channels/a");
    let mut b = websocket(server.address, "/channels/b");
    publish(server.address, "a", "for a");
    publish(server.address, "b", "for b");
    assert_eq!((text(&mut a), text(&mut b)), ("for a".into(), "for b".into()));
}

#[test]
fn a_subscriber_gets_nothing_from_before_it_came() {
    let server = start(config());
    let mut early = websocket(server.address, "/channels/news");
    for round in 0..50 {
        publish(server.address, "news", &format!("before {round}"));
        let mut late = websocket(server.address, "/channels/news");
        publish(server.address, "news", &format!("after {round}"));
        assert_eq!(text(&mut late), format!("after {round}"));
        assert_eq!(text(&mut early), format!("before {round}"));
        assert_eq!(text(&mut early), format!("after {round}"));
    }
}

#[test]
fn publishing_where_nobody_listens_is_answered_all_the_same() {
    let server = start(config());
    let answer = publish(server.address, "empty", "x");
    assert!(answer.body.ends_with("-1\",\"subscribers\":0}\n"), "{answer:?}");
}

#[test]
fn an_envelope_carries_the_identifier_the_event_and_the_data() {
    let server = start(config());
    let mut client = envelopes(server.address, "news");
    let json = "Content-Type: application/json\r\n";
    let answer = request(server.address, "POST", "/channels/news?event=tick", json, br#"{"price": 1.5}"#);
    let id = answer.body.split('"').nth(3).unwrap().to_owned();
    assert_eq!(text(&mut client), format!(r#"{{"id":"{id}","event":"tick","data":{{"price": 1.5}}}}"#));
    request(server.address, "POST", "/channels/news", "Content-Type: image/png\r\n", b"\x00\xff");
    assert!(text(&mut client).ends_with(r#""data":"AP8=","encoding":"base64"}"#));
}

#[test]
fn plain_and_envelope_subscribers_share_a_channel() {
    let server = start(config());
    let mut plain = websocket(server.address, "/channels/news");
    let mut envelope = envelopes(server.address, "news");
    envelope.send(Message::text(r#"{"event":"say","data":"hi"}"#)).unwrap();
    assert_eq!(text(&mut plain), "hi");
    assert!(text(&mut envelope).ends_with(r#","event":"say","data":"hi"}"#));
    plain.send(Message::text("ho")).unwrap();
    assert_eq!(text(&mut plain), "ho");
    assert!(text(&mut envelope).ends_with(r#","data":"ho"}"#));
}

#[test]
fn what_is_no_envelope_is_closed_with_1007_and_a_reason() {
    let server = start(config());
    let mut client = envelopes(server.address, "news");
    client.send(Message::text("hello")).unwrap();
    let frame = close_frame(&mut client).unwrap();
    assert_eq!(u16::from(frame.code), 1007);
    assert!(frame.reason.starts_with("not an envelope"), "{}", frame.reason);
}

#[test]
fn a_subprotocol_that_was_not_asked_for_is_not_answered() {
    let server = start(config());
    let (_, response) = handshake(server.address, "/channels/news", &[]).unwrap();
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
}

#[test]
fn bytes_behind_the_handshake_in_the_same_packet_are_frames() {
    let server = start(config());
    let mut watcher = websocket(server.address, "/channels/news");
    let mut stream = connect(server.address);
    let handshake =
        b"GET /channels/news HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(&[&handshake[..], b"\x81\x82\x00\x00\x00\x00hi"].concat()).unwrap();
    assert!(read_answer(&mut stream).head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(text(&mut watcher), "hi");
}

#[test]
fn publishers_at_once_on_many_loops_give_every_subscriber_one_order() {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 200;
    let server = start(Config { threads: NonZeroUsize::new(4).unwrap(), ..config() });
    let mut subscribers: Vec<_> = (0..12).map(|_| websocket(server.address, "/channels/c")).collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (address, handle) = (server.address, server.handle.clone());
            thread::spawn(move || match publisher % 2 {
                0 => {
                    let mut client = websocket(address, "/channels/c");
                    (0..EACH).for_each(|n| client.send(Message::text(format!("{publisher} {n}"))).unwrap());
                    // It is a subscriber too, and reads to the end, so that nothing is left unread behind it.
                    (0..PUBLISHERS * EACH).for_each(|_| drop(text_or_end(&mut client)));
                }
                _ => (0..EACH).for_each(|n| {
                    publish_draft(&handle, &Draft::text("c", format!("{publisher} {n}")).unwrap());
                }),
            })
        })
        .collect();
    let mut orders: Vec<Vec<String>> = Vec::new();
    for subscriber in &mut subscribers {
        orders.push((0..PUBLISHERS * EACH).map(|_| text(subscriber)).collect());
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "one order for all");
    for publisher in 0..PUBLISHERS {
        let own: Vec<&String> =
            orders[0].iter().filter(|text| text.starts_with(&format!("{publisher} "))).collect();
        assert_eq!(
            own,
            (0..EACH).map(|n| format!("{publisher} {n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
    drop(subscribers);
    server.handle.shutdown();
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
}

/// A text, or nothing if the server has stopped.
fn text_or_end(client: &mut Client) -> Option<Message> {
    client.read().ok()
}

#[test]
fn echo_returns_what_it_gets() {
    let server = start(config());
    let mut client = websocket(server.address, "/echo");
    for message in [
        Message::text(""),
        Message::text("grüße"),
        Message::binary(vec![7; 65_536]),
        Message::binary(vec![1; 3_000_000]),
    ] {
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
    client.send(Message::Ping(Bytes::from_static(b"p"))).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(Bytes::from_static(b"p")));
}

#[test]
fn a_message_over_the_limit_is_closed_with_1009() {
    let server = start(Config { max_message: 1000, ..config() });
    let mut client = websocket(server.address, "/echo");
    client.send(Message::text("x".repeat(1000))).unwrap();
    assert_eq!(text(&mut client).len(), 1000);
    client.send(Message::text("x".repeat(1001))).unwrap();
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1009);
}

#[test]
fn a_handle_publishes_from_another_thread() {
    let server = start(config());
    let mut client = envelopes(server.address, "news");
    let draft = Draft::json("news", "[1]").unwrap().event("list").unwrap();
    let published = server.handle.publish(draft).unwrap();
    assert_eq!(published.subscribers, 1);
    assert_eq!(text(&mut client), format!(r#"{{"id":"{}","event":"list","data":[1]}}"#, published.id));
}

#[test]
fn a_handle_refuses_what_is_too_long() {
    let server = start(Config { max_lag: 10, ..config() });
    let result = server.handle.publish(Draft::text("news", "x".repeat(11)).unwrap());
    assert_eq!(result, Err(PublishError::TooLong { len_max: 10 }));
}

#[test]
fn a_client_that_goes_away_leaves_its_channel() {
    let server = start(config());
    let mut staying = websocket(server.address, "/channels/news");
    drop(websocket(server.address, "/channels/news"));
    let mut closing = websocket(server.address, "/channels/news");
    closing.close(None).unwrap();
    until("only one subscriber is left", || {
        let answer = publish(server.address, "news", "x");
        text(&mut staying);
        answer.body.contains("\"subscribers\":1").then_some(())
    });
}
