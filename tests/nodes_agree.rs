//! Several nodes on one Redis, which is well: one order of a channel for all, and a publication is made once.
//!
//! What breaks is in `nodes_restarts` and `nodes_slow`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use support::nodes::*;
use support::redis::Redis;
use support::witness::*;
use support::*;
use tungstenite::Message;

fn addresses(nodes: &[Running]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

#[test]
fn subscribers_of_three_nodes_get_the_same_of_eight_publishers_and_go_on_at_another_node() {
    let Some(redis) = Redis::start(&[]) else { return };
    let nodes = patient_nodes(redis.port, 3);
    let mut at = addresses(&nodes);
    let mut witnesses = Vec::new();
    for _ in 0..3 {
        at.rotate_left(1);
        witnesses.push(Witness::start(&at[..1], "c", By::WebSocket, usize::MAX));
        witnesses.push(Witness::start(&at[..1], "c", By::EventStream, usize::MAX));
        witnesses.push(Witness::start(&at, "c", By::WebSocket, 17));
        witnesses.push(Witness::start(&at, "c", By::EventStream, 29));
    }
    let publishers: Vec<_> = (0..8)
        .map(|number| {
            at.rotate_left(1);
            Publisher::start(&at[..1], "c", &format!("p{number}"), Keys::Without, Duration::from_millis(2))
        })
        .collect();
    publishers.iter().for_each(|publisher| publisher.more(40));
    let published: Vec<_> = publishers.into_iter().map(Publisher::end).collect();
    let count: usize = published.iter().map(|published| published.ids.len()).sum();
    assert!(published.iter().all(|published| published.unknown.is_empty() && published.refusals == 0));
    let told = judge_all(at[0], "c", witnesses, &published);
    for told in told {
        let texts = told.iter().filter(|told| matches!(told, Told::Publication(..))).count();
        let gaps: Vec<_> = told.iter().filter(|told| matches!(told, Told::Gap(..))).collect();
        assert_eq!(
            (texts, gaps),
            (count + 1, vec![]),
            "nothing is missing, and nobody is told that something is"
        );
    }
}

#[test]
fn a_key_that_comes_to_two_nodes_at_once_is_published_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let nodes = patient_nodes(redis.port, 2);
    let witness = Witness::start(&[nodes[1].address], "c", By::WebSocket, usize::MAX);
    for number in 0..50 {
        let fields = format!("Idempotency-Key: k{number}\r\n");
        let text = format!("t{number}");
        let at_once: Vec<_> = [&nodes[0], &nodes[1]]
            .map(|node| {
                let (address, fields, text) = (node.address, fields.clone(), text.clone());
                thread::spawn(move || post(address, "c", &fields, &text))
            })
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        assert!(at_once.iter().all(|answer| answer.status == 200), "{at_once:?}");
        assert_eq!(id_of(&at_once[0]), id_of(&at_once[1]), "the second gets the answer of the first");
        let other = post(nodes[1].address, "c", &fields, "another text");
        assert_eq!(other.status, 422, "{other:?}");
    }
    let told = judge_all(nodes[0].address, "c", vec![witness], &[]);
    assert_eq!(told[0].len(), 1 + 50 + 1);
}

#[test]
fn what_one_publisher_sends_at_once_is_one_call() {
    const COUNT: usize = 128;
    let Some(redis) = Redis::start(&[]) else { return };
    let node = nodes(redis.port, 1).remove(0);
    let mut client = websocket(node.address, "/channels/c");
    client.send(Message::text("first")).unwrap();
    assert_eq!(text(&mut client), "first");
    let before = redis.calls("evalsha");
    // Less than tungstenite buffers, so that it is one write.
    for number in 0..COUNT {
        client.write(Message::text(number.to_string())).unwrap();
    }
    client.flush().unwrap();
    for number in 0..COUNT {
        assert_eq!(text(&mut client), number.to_string());
    }
    assert_eq!(redis.calls("evalsha") - before, 1);
}

#[test]
fn of_two_publications_with_one_key_at_once_that_is_answered_which_another_node_has_published_with_it() {
    let Some(redis) = Redis::start(&[]) else { return };
    let nodes = patient_nodes(redis.port, 2);
    let text_plain = "Content-Type: text/plain\r\n";
    for round in 0..20 {
        let fields = format!("Idempotency-Key: {round}\r\n");
        let first = post(nodes[0].address, "c", &fields, "b");
        // Both are on their way to Redis at one time.
        let mut stream = connect(nodes[1].address);
        let mut other = connect(nodes[1].address);
        let request = |text: &str| {
            format!(
                "POST /channels/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n{text_plain}{fields}\r\n{text}"
            )
        };
        std::io::Write::write_all(&mut stream, request("a").as_bytes()).unwrap();
        std::io::Write::write_all(&mut other, request("b").as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream).status, 422);
        let again = read_answer(&mut other);
        assert_eq!((again.status, id_of(&again)), (200, id_of(&first)), "{again:?}");
    }
}
