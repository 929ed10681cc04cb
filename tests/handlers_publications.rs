//! What a program does with the publications of clients, over real sockets: it changes or refuses them, and is told of them.
//!
//! What its own sessions publish is in the suite `handlers`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::sync::mpsc::{self, Receiver};

use fanfare::app::{Draft, Refusal, Sender};
use fanfare::{ChannelName, Config, Server};
use support::pusher::*;
use support::*;

/// Signs texts in `chat-*`, takes no binary, no text with "bad" in it, and panics at "panic".
fn sign_text(draft: &mut Draft, sender: &Sender<'_>) -> Result<(), Refusal> {
    let text = draft.as_text().ok_or_else(|| Refusal::new("Texts only."))?;
    assert!(!text.contains("panic"), "as asked");
    if text.contains("bad") {
        return Err(Refusal::new("Not that word."));
    }
    let signed = format!("{}: {text}", sender.peer().unwrap());
    draft.set_payload(signed).map_err(|_| Refusal::new("a text has no JSON"))
}

fn filtered(config: Config) -> Running {
    let mut server = Server::bind(config).unwrap();
    server.filter("chat-*", sign_text);
    run(server)
}

#[test]
fn what_clients_publish_is_changed_before_anybody_gets_it() {
    let server = filtered(config());
    let mut reader = websocket(server.address, "/channels/chat-1");
    let mut writer = websocket(server.address, "/channels/chat-1");
    writer.send("hi".into()).unwrap();
    assert_eq!(text(&mut reader), "127.0.0.1: hi");
    // Long enough that its frame was made before the filter saw it.
    writer.send("x".repeat(10_000).into()).unwrap();
    assert_eq!(text(&mut reader), format!("127.0.0.1: {}", "x".repeat(10_000)));
    publish(server.address, "chat-1", "by post");
    assert_eq!(text(&mut reader), "127.0.0.1: by post");
    publish(server.address, "other", "as it is");
    let kept = request(server.address, "GET", "/channels/other?last=1&wait=0", "", b"").body;
    assert!(kept.contains("\"as it is\""), "{kept}");
    let own = ChannelName::new("chat-1").unwrap();
    server.handle.publish_to(&own, "bad, but the program's own").unwrap();
    assert_eq!(text(&mut reader), "bad, but the program's own");
}

#[test]
fn who_is_refused_is_told_why_in_the_way_that_it_can_be_told() {
    let server = filtered(config());
    let answer = request(server.address, "POST", "/channels/chat-1", "Content-Type: text/plain\r\n", b"bad");
    assert_eq!((answer.status, answer.body.as_str()), (403, "Not that word.\n"));
    let answer =
        request(server.address, "POST", "/channels/chat-1", "Content-Type: text/plain\r\n", b"panic");
    assert_eq!((answer.status, answer.body.as_str()), (500, "The server failed to handle this.\n"));
    let long = vec![b'x'; 1024 * 1024];
    let answer = request(server.address, "POST", "/channels/chat-1", "Content-Type: text/plain\r\n", &long);
    assert_eq!((answer.status, answer.body.as_str()), (413, "A publication has at most 1048576 bytes.\n"));
    let mut raw = websocket(server.address, "/channels/chat-1");
    raw.send("panic".into()).unwrap();
    assert_eq!(u16::from(close_frame(&mut raw).unwrap().code), 1011);
    let mut raw = websocket(server.address, "/channels/chat-1");
    raw.send("bad".into()).unwrap();
    let frame = close_frame(&mut raw).unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1008, "Not that word."));
    let mut envelope = envelopes(server.address, "chat-1");
    envelope.send(r#"{"data":"bad","ref":7}"#.into()).unwrap();
    let refused = text(&mut envelope);
    assert!(refused.contains("\"ref\":7") && refused.contains("Not that word."), "{refused}");
    envelope.send(r#"{"data":"panic","ref":7}"#.into()).unwrap();
    let failed = text(&mut envelope);
    assert!(failed.contains("\"ref\":7") && failed.contains("\"code\":\"unavailable\""), "{failed}");
    envelope.send(r#"{"data":"good","ref":8}"#.into()).unwrap();
    assert!([text(&mut envelope), text(&mut envelope)].iter().any(|it| it.contains(": good")));
    let fields = "Content-Type: application/json\r\n";
    let batch = br#"[{"channel":"chat-1","data":"bad"},{"channel":"chat-1","data":"fine"}]"#;
    let answer = request(server.address, "POST", "/channels", fields, batch);
    assert!(
        answer.body.contains("Not that word.") && answer.body.contains("\"subscribers\":1"),
        "{answer:?}"
    );
}

/// What a tap of `seen-*` is told, as channel and text.
fn tapped(config: Config) -> (Running, Receiver<(String, String)>) {
    let (tells, told) = mpsc::channel();
    let tells = std::sync::Mutex::new(tells);
    let mut server = Server::bind(config).unwrap();
    let handle = server.handle();
    server.tap("seen-*", move |publication| {
        let text = publication.text().unwrap_or("?").to_owned();
        assert_ne!(text, "panic", "as asked");
        // A tap may publish, to any channel.
        if text == "ping" {
            handle.publish_to(publication.channel(), "pong").unwrap();
        }
        let _ = tells.lock().unwrap().send((publication.channel().to_string(), text));
    });
    (run(server), told)
}

#[test]
fn a_tap_is_told_each_publication_once_and_in_order_whoever_makes_or_reads_it() {
    let (server, told) = tapped(config());
    let next = || told.recv_timeout(PATIENCE).unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| websocket(server.address, "/channels/seen-1")).collect();
    for number in 0..100 {
        clients[number % 3].send(number.to_string().into()).unwrap();
        assert_eq!(text(&mut clients[0]), number.to_string());
        assert_eq!(next(), ("seen-1".to_owned(), number.to_string()));
    }
    publish(server.address, "seen-2", "read by nobody");
    assert_eq!(next(), ("seen-2".to_owned(), "read by nobody".to_owned()));
    publish(server.address, "other", "not seen");
    publish(server.address, "seen-2", "panic");
    publish(server.address, "seen-2", "ping");
    assert_eq!((next().1, next().1), ("ping".to_owned(), "pong".to_owned()));
    drop(server);
    assert!(told.try_recv().is_err());
}

#[test]
fn a_client_event_of_pusher_is_filtered_too() {
    let mut server = Server::bind(config()).unwrap();
    server.filter("private-*", |draft, _| match draft.as_text().is_some_and(|text| text.contains("bad")) {
        true => Err(Refusal::new("not that")),
        false => Ok(()),
    });
    let server = run(server);
    let mut client = Pusher::connect(server.address);
    client.subscribe("private-a");
    client.send_text(r#"{"event":"client-x","channel":"private-a","data":{"word":"bad"}}"#);
    let (_, error) = client.expect("pusher:error");
    let error = error.to_string();
    assert!(error.contains("4301") && error.contains("not that"), "{error}");
}
