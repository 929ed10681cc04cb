//! Sessions of a program over real sockets: messages, channels, ends, timers, other threads, panics, and peers that do not read.
//!
//! Answers to HTTP requests have a suite of their own.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use fanfare::app::{
    Accept, CloseCode, Closed, ClosedBy, Failure, Message, Outcome, Remote, Request, Response, Session,
    Socket,
};
use fanfare::{ChannelName, Handle, Server};
use support::*;
use tungstenite::Message as Sent;

/// What the sessions of a test tell it.
#[derive(Debug)]
enum Told {
    Opened(Remote<Probe>),
    Event(u32),
    Drained(usize),
    Closed(Option<u16>, String, ClosedBy),
}

/// A session that does what its messages say, and tells the test what is done to it.
struct Probe {
    channel: ChannelName,
    tells: Sender<Told>,
    /// Not `Send`: a session never leaves its loop.
    count: std::rc::Rc<std::cell::Cell<u32>>,
}

impl Session for Probe {
    type Event = u32;

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        self.tells.send(Told::Opened(socket.remote()))?;
        socket.subscribe(&self.channel)
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        let Message::Text(text) = message else {
            socket.send(message);
            return Ok(());
        };
        match text.split_once(' ').unwrap_or((text, "")) {
            ("count", _) => {
                self.count.set(self.count.get() + 1);
                socket.send(&self.count.get().to_string());
            }
            ("say", what) => socket.publish(&self.channel, what)?,
            ("others", what) => socket.publish_to_others(&self.channel, what)?,
            ("id", _) => {
                let id = socket.try_publish(&self.channel, "x")?.unwrap();
                socket.send(&id.to_string());
            }
            ("leave", _) => socket.unsubscribe(&self.channel),
            ("json", _) => socket.send_json(&serde_json::json!({ "a": [1, 2] }))?,
            ("half", _) => {
                let _ = socket.send_json(&Half);
                socket.send("whole");
            }
            ("panic_in_json", _) => socket.send_json(&Mine)?,
            ("close", why) => {
                socket.send("bye");
                socket.close(CloseCode::private(4001), why);
                socket.send("never sent");
            }
            ("refuse", why) => return Err(Failure::close(CloseCode::POLICY_VIOLATION, why)),
            ("parse", number) => socket.send(&number.parse::<u32>()?.to_string()),
            ("panic", what) => panic!("{what}"),
            ("after", millis) => socket.set_timer(Duration::from_millis(millis.parse()?)),
            ("never", _) => socket.clear_timer(),
            ("flood", len) => {
                let len: usize = len.parse()?;
                (0..len / 1000).for_each(|_| socket.send(&[b'x'; 1000]));
                socket.send(&format!("{}", socket.queued() >= len / 1000 * 1000));
            }
            ("work", number) => {
                let number: u32 = number.parse()?;
                socket.work(
                    move || number * 2,
                    |_, socket, twice| {
                        socket.send(&twice.to_string());
                        Ok(())
                    },
                )?;
            }
            ("work_panic", _) => socket.work(|| panic!("in a job"), |_, _, ()| Ok(()))?,
            (other, _) => socket.send(&format!("what is {other}?")),
        }
        Ok(())
    }

    fn timer(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        socket.send("the time is over");
        Ok(())
    }

    fn drain(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        self.tells.send(Told::Drained(socket.queued()))?;
        Ok(())
    }

    fn event(&mut self, socket: &mut Socket<'_, Self>, event: u32) -> Outcome {
        socket.send(&format!("event {event}"));
        self.tells.send(Told::Event(event))?;
        Ok(())
    }

    fn stopping(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        socket.send("so long");
        Ok(())
    }

    fn closed(self, server: &Handle, closed: Closed<'_>) {
        // A test that has ended does not listen.
        let (code, reason) = (closed.code.map(CloseCode::as_u16), closed.reason.to_owned());
        let _ = self.tells.send(Told::Closed(code, reason, closed.by));
        let _ = server.publish_to(&self.channel, "somebody left");
    }
}

/// A value whose JSON begins and fails.
struct Half;

impl serde::Serialize for Half {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeSeq};
        let mut seq = serializer.serialize_seq(None)?;
        seq.serialize_element("begun")?;
        Err(Error::custom("no more"))
    }
}

/// A value whose JSON begins and panics.
struct Mine;

impl serde::Serialize for Mine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        serializer.serialize_seq(None)?.serialize_element("begun")?;
        panic!("in the middle of a frame")
    }
}

/// A server with the probe at `/probe/{channel}`, and what its sessions tell.
fn probed(config: fanfare::Config) -> (Running, Receiver<Told>) {
    let (tells, told) = mpsc::channel();
    let mut server = Server::bind(config).unwrap();
    server
        .websocket("/probe/{channel}", move |request: &Request<'_>| {
            if request.query("refused").is_some() {
                return Err(Response::forbidden("Not you."));
            }
            assert!(request.query("panic").is_none(), "as it was asked to");
            let (channel, count) = (ChannelName::new(request.param("channel"))?, Default::default());
            let accept = Accept::new(Probe { channel, tells: tells.clone(), count });
            Ok(accept.subprotocol("probe.v1").header("Set-Cookie", "seat=7"))
        })
        .unwrap();
    (run(server), told)
}

/// A client of the probe, and the way to its session.
fn probe(address: SocketAddr, told: &Receiver<Told>) -> (Client, Remote<Probe>) {
    let client = websocket(address, "/probe/room");
    match told.recv_timeout(PATIENCE).unwrap() {
        Told::Opened(remote) => (client, remote),
        other => panic!("not the opening: {other:?}"),
    }
}

fn say(client: &mut Client, what: &str) {
    client.send(Sent::text(what)).unwrap();
}

fn ask(client: &mut Client, what: &str) -> String {
    say(client, what);
    text(client)
}

/// How a connection ended, as its session was told. What it is told of events is passed over.
fn ended(told: &Receiver<Told>) -> (Option<u16>, String, ClosedBy) {
    loop {
        match told.recv_timeout(PATIENCE).unwrap() {
            Told::Closed(code, reason, by) => return (code, reason, by),
            Told::Opened(_) | Told::Drained(_) => {}
            Told::Event(number) => assert!(number < 100, "what the test has sent"),
        }
    }
}

#[test]
fn a_session_keeps_its_state_between_messages_and_sends_back_what_is_binary() {
    let (server, told) = probed(config());
    let (mut client, _) = probe(server.address, &told);
    assert_eq!(["count", "count", "count"].map(|it| ask(&mut client, it)), ["1", "2", "3"]);
    client.send(Sent::binary(b"\xff\x00".as_slice())).unwrap();
    assert_eq!(client.read().unwrap(), Sent::binary(b"\xff\x00".as_slice()));
    assert_eq!(ask(&mut client, "json"), r#"{"a":[1,2]}"#);
}

#[test]
fn what_a_session_publishes_reaches_itself_and_the_channels_subscribers_of_every_transport() {
    let (server, told) = probed(config());
    let (mut client, _) = probe(server.address, &told);
    let mut subscriber = websocket(server.address, "/channels/room");
    assert_eq!(ask(&mut client, "say hello"), "hello");
    assert_eq!(text(&mut subscriber), "hello");
    subscriber.send(Sent::text("and back")).unwrap();
    assert_eq!(text(&mut client), "and back");
    say(&mut client, "others psst");
    assert_eq!(text(&mut subscriber), "and back");
    assert_eq!(text(&mut subscriber), "psst");
    let id = ask(&mut client, "id");
    assert_eq!(text(&mut client), "x", "private bytes go first");
    let kept = request(server.address, "GET", "/channels/room?last=1&wait=0", "", b"").body;
    assert!(kept.contains(&format!("{{\"id\":\"{id}\"")), "{id} in {kept}");
    say(&mut client, "leave");
    say(&mut client, "say unheard");
    assert_eq!(ask(&mut client, "count"), "1");
}

#[test]
fn the_factory_answers_the_handshake_with_what_it_says_or_refuses_it() {
    let (server, _told) = probed(config());
    let fields = [("Sec-WebSocket-Protocol", "other, probe.v1")];
    let (_client, response) = handshake(server.address, "/probe/room", &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "probe.v1");
    assert_eq!(response.headers()["set-cookie"], "seat=7");
    let (_client, response) = handshake(server.address, "/probe/room", &[]).unwrap();
    assert!(response.headers().get("sec-websocket-protocol").is_none(), "it was not offered");
    let status = |path: &str| handshake(server.address, path, &[]).unwrap_err().status().as_u16();
    assert_eq!(status("/probe/room?refused"), 403);
    assert_eq!(status("/probe/a%20b"), 400);
    assert_eq!(status("/probe/room?panic"), 500);
    assert_eq!(status("/probe/"), 404);
    assert_eq!(request(server.address, "GET", "/probe/room", "", b"").status, 426);
    assert_eq!(request(server.address, "POST", "/probe/room", "", b"x").status, 405);
}

#[test]
fn a_page_of_another_origin_is_refused_before_the_factory_is_asked() {
    let (server, told) = probed(config());
    let fields = [("Origin", "https://elsewhere.example")];
    assert_eq!(handshake(server.address, "/probe/room", &fields).unwrap_err().status(), 403);
    assert_eq!(
        handshake(server.address, "/probe/room", &[("Host", "rebound.example")]).unwrap_err().status(),
        403
    );
    assert!(told.try_recv().is_err());
}

#[test]
fn a_page_without_an_origin_of_its_own_gets_no_session_but_the_servers_echo() {
    let (server, told) = probed(config());
    let fields = [("Origin", "null")];
    assert_eq!(handshake(server.address, "/probe/room", &fields).unwrap_err().status(), 403);
    assert!(handshake(server.address, "/echo", &fields).is_ok());
    assert!(told.try_recv().is_err());
}

#[test]
fn a_session_is_told_once_how_its_connection_ended() {
    let (server, told) = probed(config());
    let closes: [(&str, Option<u16>, &str, ClosedBy); 3] = [
        ("close because", Some(4001), "because", ClosedBy::Server),
        ("refuse that", Some(1008), "that", ClosedBy::Server),
        ("parse x", Some(1011), "the server failed to handle this", ClosedBy::Server),
    ];
    for (message, code, reason, by) in closes {
        let (mut client, _) = probe(server.address, &told);
        say(&mut client, message);
        let frame = close_frame(&mut client).unwrap();
        assert_eq!((Some(u16::from(frame.code)), frame.reason.as_str()), (code, reason));
        assert_eq!(ended(&told), (code, reason.to_owned(), by));
    }
    let (mut client, _) = probe(server.address, &told);
    let frame = tungstenite::protocol::CloseFrame { code: 4002.into(), reason: "enough".into() };
    client.close(Some(frame)).unwrap();
    assert_eq!(ended(&told), (Some(4002), "enough".to_owned(), ClosedBy::Peer));
    let (client, _) = probe(server.address, &told);
    drop(client);
    assert_eq!(ended(&told), (None, "the connection was lost".to_owned(), ClosedBy::Lost));
    let (client, _) = probe(server.address, &told);
    reset(client.into_inner());
    assert_eq!(ended(&told).2, ClosedBy::Lost);
    let (mut client, _) = probe(server.address, &told);
    client.get_mut().set_nonblocking(false).unwrap();
    std::io::Write::write_all(client.get_mut(), b"\x81\x01x").unwrap();
    assert_eq!(ended(&told).0, Some(1002), "a frame without a mask");
    drop(server);
    assert!(told.try_recv().is_err(), "each once");
}

#[test]
fn what_was_sent_before_a_close_goes_out_and_nothing_after_it() {
    let (server, told) = probed(config());
    let (mut client, _) = probe(server.address, &told);
    assert_eq!(ask(&mut client, "close now"), "bye");
    assert_eq!(close_frame(&mut client).unwrap().reason.as_str(), "now");
}

#[test]
fn who_leaves_can_be_told_to_the_others() {
    let (server, told) = probed(config());
    let (client, _) = probe(server.address, &told);
    let mut subscriber = websocket(server.address, "/channels/room");
    drop(client);
    assert_eq!(text(&mut subscriber), "somebody left");
}

#[test]
fn a_panic_ends_its_own_connection_and_no_other() {
    let (server, told) = probed(one_loop());
    let (mut other, _) = probe(server.address, &told);
    for message in ["panic at the disco", "panic_in_json"] {
        let (mut client, _) = probe(server.address, &told);
        say(&mut client, message);
        assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1011);
    }
    assert_eq!(ask(&mut other, "count"), "1");
    let (mut client, _) = probe(server.address, &told);
    say(&mut client, "work_panic");
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1011, "a job's panic too");
    drop((other, client));
    // Of those that panicked nothing is told.
    assert_eq!(ended(&told).2, ClosedBy::Lost);
    drop(server);
    assert!(told.try_recv().is_err());
}

#[test]
fn a_frame_that_was_begun_and_failed_is_taken_back() {
    let (server, told) = probed(config());
    let (mut client, _) = probe(server.address, &told);
    assert_eq!(ask(&mut client, "half"), "whole");
}

#[test]
fn a_timer_is_called_once_and_can_be_moved_and_cleared() {
    let (server, told) = probed(config());
    let (mut client, _) = probe(server.address, &told);
    assert_eq!(ask(&mut client, "after 1"), "the time is over");
    say(&mut client, "after 0");
    assert_eq!(text(&mut client), "the time is over");
    say(&mut client, "after 3600000");
    assert_eq!(ask(&mut client, "after 5"), "the time is over");
    say(&mut client, "after 5");
    say(&mut client, "never");
    assert_eq!(ask(&mut client, "count"), "1");
}

#[test]
fn other_threads_send_hand_over_events_and_close() {
    let (server, told) = probed(config());
    let (mut client, remote) = probe(server.address, &told);
    let thread = std::thread::spawn({
        let remote = remote.clone();
        move || {
            remote.send("from a thread").unwrap();
            (0..100).for_each(|number| remote.event(number).unwrap());
            remote.close(CloseCode::NORMAL, "done").unwrap();
        }
    });
    assert_eq!(text(&mut client), "from a thread");
    for number in 0..100 {
        assert_eq!(text(&mut client), format!("event {number}"), "in their order");
    }
    assert_eq!(close_frame(&mut client).unwrap().reason.as_str(), "done");
    thread.join().unwrap();
    assert_eq!(ended(&told), (Some(1000), "done".to_owned(), ClosedBy::Server));
    remote.event(7).unwrap();
    remote.send("to nobody").unwrap();
    let (mut next, _) = probe(server.address, &told);
    assert_eq!(ask(&mut next, "count"), "1", "which did not get what was for the one before");
    drop(server);
    assert_eq!(remote.event(8), Ok(()), "a server that has ended is no reason to panic");
}

#[test]
fn a_loop_that_takes_nothing_refuses_more_than_four_mebibytes() {
    let (server, told) = probed(one_loop());
    let (mut client, remote) = probe(server.address, &told);
    let long = vec![b'x'; 1024 * 1024];
    let refused = (0..10_000).find(|_| remote.send(&long).is_err());
    assert!(refused.is_some(), "a thread is faster than a peer that does not read");
    drop(client.get_mut().shutdown(std::net::Shutdown::Both));
}

#[test]
fn work_is_done_on_a_thread_and_its_result_comes_back() {
    let (server, told) = probed(config());
    let (mut client, _) = probe(server.address, &told);
    assert_eq!(ask(&mut client, "work 21"), "42");
}

#[test]
fn a_peer_that_does_not_read_is_not_read_and_its_session_is_told_when_it_has_taken_everything() {
    let (server, told) = probed(one_loop());
    let mut client = stalled(server.address, "/probe/room", &[]);
    let Told::Opened(_) = told.recv_timeout(PATIENCE).unwrap() else { panic!("it opens") };
    say(&mut client, "flood 900000");
    say(&mut client, "count");
    for _ in 0..900 {
        assert_eq!(client.read().unwrap().len(), 1000);
    }
    assert_eq!(text(&mut client), "true", "it was queued");
    assert_eq!(text(&mut client), "1");
    match told.recv_timeout(PATIENCE).unwrap() {
        Told::Drained(queued) => assert_eq!(queued, 0),
        other => panic!("not drained: {other:?}"),
    }
    assert_eq!(ask(&mut client, "count"), "2");
    assert!(told.try_recv().is_err(), "once");
}

#[test]
fn a_peer_for_which_more_than_max_lag_waits_is_closed_with_1013() {
    let (server, told) = probed(fanfare::Config { max_lag: 1024 * 1024, ..one_loop() });
    let mut client = stalled(server.address, "/probe/room", &[]);
    say(&mut client, "flood 20000000");
    assert_eq!(ended(&told).0, Some(1013));
    assert_eq!(u16::from(close_frame(&mut client).unwrap().code), 1013);
}

#[test]
fn a_single_message_that_is_longer_than_max_lag_is_sent_to_a_peer_that_takes_it_slowly() {
    let (server, told) = probed(fanfare::Config { max_lag: 64 * 1024, ..one_loop() });
    let mut client = stalled(server.address, "/probe/room", &[]);
    let Told::Opened(_) = told.recv_timeout(PATIENCE).unwrap() else { panic!("it opens") };
    let long = Sent::binary(vec![7; 8_000_000]);
    client.send(long.clone()).unwrap();
    assert!(client.read().unwrap() == long);
    assert_eq!(ask(&mut client, "count"), "1");
}

#[test]
fn a_stop_lets_sessions_say_a_last_word_and_tells_each_that_it_has_ended() {
    let (server, told) = probed(config());
    let mut clients: Vec<_> = (0..4).map(|_| probe(server.address, &told).0).collect();
    server.handle.shutdown();
    for client in &mut clients {
        assert_eq!(text(client), "so long");
        assert_eq!(u16::from(close_frame(client).unwrap().code), 1001);
    }
    for _ in 0..4 {
        let (code, _, by) = ended(&told);
        assert_eq!((code, by), (Some(1001), ClosedBy::Server));
    }
    drop(clients);
    server.join().unwrap();
    assert!(told.try_recv().is_err());
}

#[test]
fn a_stop_at_once_tells_sessions_too() {
    let (server, told) = probed(config());
    let clients: Vec<_> = (0..4).map(|_| probe(server.address, &told).0).collect();
    drop(server);
    // Whether a Close frame was written before the sockets were cut is up to the moment.
    (0..4).for_each(|_| assert_ne!(ended(&told).2, ClosedBy::Peer));
    assert!(told.try_recv().is_err(), "each once");
    drop(clients);
}

#[test]
fn compressed_messages_are_handled_like_others() {
    let (server, _told) = probed(config());
    let mut stream = connect(server.address);
    let mut request = upgrade_request("/probe/room");
    request.truncate(request.len() - 2);
    request.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    assert_eq!(exchange(&mut stream, &request).status, 101);
    // "count" in a stored block: RFC 7692 §7.2.3.3.
    let deflated = b"\x00\x05\x00\xfa\xffcount\x00";
    std::io::Write::write_all(&mut stream, &masked_frame(0xc1, deflated)).unwrap();
    let mut answer = [0; 3];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert_eq!(&answer, b"\x81\x011");
}
