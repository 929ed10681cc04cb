//! The programs of `examples`, each as a process that cargo has built, with clients that are not ours.
//!
//! What a session may do at all is in the suites `handlers` and `handlers_http`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::event_stream::Events;
use support::*;

/// A program of `examples`, on a free port. `cargo test` builds them all; `cargo build --examples` does too.
fn example(name: &str) -> Process {
    let binary = Path::new(env!("CARGO_BIN_EXE_fanfare")).with_file_name("examples").join(name);
    assert!(binary.exists(), "{} is not there: cargo build --examples", binary.display());
    spawn(Command::new(binary).arg("127.0.0.1:0"))
}

/// The page at the root.
fn page(program: &Process) -> String {
    let page = request(program.address, "GET", "/", "", b"");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("Content-Type: text/html; charset=utf-8\r\n"), "{}", page.head);
    page.body
}

#[test]
fn the_echo_says_what_it_was_told_and_serves_its_page() {
    let program = example("echo");
    assert!(page(&program).contains("/echo"));
    let mut client = websocket(program.address, "/echo");
    client.send("hello".into()).unwrap();
    assert_eq!(text(&mut client), "You said: hello");
    client.send(tungstenite::Message::binary(vec![0, 255])).unwrap();
    assert_eq!(client.read().unwrap(), tungstenite::Message::binary(vec![0, 255]));
}

/// Who said what in the next line of a room.
fn line(client: &mut Client) -> (String, String) {
    let line: Value = serde_json::from_str(&text(client)).unwrap();
    assert!(line["id"].is_string() && line["channel"] == "room-attic", "{line}");
    let part = |name: &str| line["data"][name].as_str().unwrap().to_owned();
    (part("nick"), part("text"))
}

#[test]
fn guests_of_the_chat_hear_each_other_come_talk_and_leave_and_newcomers_have_what_was_said() {
    let program = example("chat");
    assert!(page(&program).contains("/rooms/"));
    let pair = |nick: &str, text: &str| (nick.to_owned(), text.to_owned());
    let mut ada = websocket(program.address, "/rooms/attic?nick=ada");
    assert_eq!(line(&mut ada), pair("ada", "has come in"));
    let mut bob = websocket(program.address, "/rooms/attic?nick=bob");
    assert_eq!((line(&mut ada), line(&mut bob)), (pair("bob", "has come in"), pair("bob", "has come in")));
    bob.send("hello".into()).unwrap();
    assert_eq!((line(&mut ada), line(&mut bob)), (pair("bob", "hello"), pair("bob", "hello")));
    drop(bob);
    assert_eq!(line(&mut ada), pair("bob", "has left"));
    let kept = request(program.address, "GET", "/channels/room-attic?last=50&wait=0", "", b"").body;
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let texts: Vec<_> =
        kept["messages"].as_array().unwrap().iter().map(|it| it["data"]["text"].clone()).collect();
    assert_eq!(texts, ["has come in", "has come in", "hello", "has left"]);
    let nameless = handshake(program.address, "/rooms/attic", &[]).unwrap_err();
    assert_eq!(nameless.status(), 400);
    ada.send("x".repeat(2000).into()).unwrap();
    assert_eq!(u16::from(close_frame(&mut ada).unwrap().code), 1009);
}

#[test]
fn the_tickers_prices_come_by_websocket_and_by_event_stream() {
    let program = example("ticker");
    assert!(page(&program).contains("EventSource"));
    let is_price = |text: &str| {
        let price: Value = serde_json::from_str(text).unwrap();
        assert!(price["symbol"].is_string() && price["cents"].as_u64().unwrap() >= 100, "{price}");
    };
    let mut client = websocket(program.address, "/channels/prices");
    let mut events = Events::open(program.address, "/channels/prices", "").begun();
    for _ in 0..3 {
        is_price(&text(&mut client));
        is_price(&events.next().unwrap().data);
    }
}

#[test]
fn a_dot_of_the_game_goes_where_its_player_says_and_disappears_with_it() {
    let program = example("game");
    assert!(page(&program).contains("/play"));
    let mut player = websocket(program.address, "/play");
    let id = text(&mut player);
    let mut board = websocket(program.address, "/channels/board");
    let mut dots = || -> Value { serde_json::from_str(&text(&mut board)).unwrap() };
    player.send("right".into()).unwrap();
    let moved = until("it moves", || Some(dots()).filter(|dots| dots[&id]["x"].as_i64() > Some(2)));
    assert_eq!(moved[&id]["y"], 0);
    let other = websocket(program.address, "/play");
    until("there are two", || (dots().as_object().unwrap().len() == 2).then_some(()));
    player.send("nowhere".into()).unwrap();
    assert_eq!(u16::from(close_frame(&mut player).unwrap().code), 1008);
    until("one is left", || Some(dots()).filter(|dots| dots.get(&id).is_none()));
    drop(other);
}
