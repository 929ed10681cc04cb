//! A program that decides who may do what, over real sockets: what it is asked, on which transport, and what its verdicts do to
//! clients, at once and later.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fanfare::app::{Action, Grant, OnPanic, Request, Verdict, VerdictReply};
use fanfare::config::{AccessKey, AuthRule, Config, Glob, PresenceRule};
use fanfare::{ChannelName, Server};
use support::event_stream::Events;
use support::multiplex::{fault, multiplex_with, next, say};
use support::*;

const ENVELOPES: (&str, &str) = ("Sec-WebSocket-Protocol", "fanfare.v1.json");

/// What the program was asked: the path, the cookie `sid`, and about what.
type Asked = (String, Option<String>, Action, String);

/// A server whose program decides by this function, and what that was asked.
fn deciding(
    config: Config,
    decide: impl Fn(&Request<'_>, Action, &ChannelName) -> Verdict + Send + Sync + 'static,
) -> (Running, Receiver<Asked>) {
    let (tells, asked) = mpsc::channel();
    let tells = Mutex::new(tells);
    let mut server = Server::bind(config).unwrap();
    server.authorize(move |request, action, channel| {
        assert_eq!(request.peer().unwrap().to_string(), "127.0.0.1");
        let sid = request.cookie("sid").map(str::to_owned);
        let question = (request.path().to_owned(), sid, action, channel.to_string());
        let _ = tells.lock().unwrap().send(question);
        decide(request, action, channel)
    });
    (run(server), asked)
}

/// By invitation: those with a cookie `sid` may all, but the one of `reader` may only read.
fn by_cookie(request: &Request<'_>, action: Action, _: &ChannelName) -> Verdict {
    match (request.cookie("sid"), action) {
        (Some("reader"), Action::Publish) => Verdict::refuse("Read only."),
        (Some(_), Action::Subscribe | Action::Publish) => Verdict::allow(),
        (None, _) => Verdict::refuse("It is by invitation."),
    }
}

/// The same, after a while and from another thread.
fn by_cookie_later(request: &Request<'_>, action: Action, channel: &ChannelName) -> Verdict {
    let verdict = by_cookie(request, action, channel);
    Verdict::later(|reply| {
        let refusal = match verdict {
            Verdict::Refuse(refusal) => Some(refusal.to_string()),
            _ => None,
        };
        thread::spawn(move || match refusal {
            Some(sentence) => reply.refuse(sentence),
            None => reply.allow(Grant::new()),
        });
    })
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// What a client with this cookie is answered that asks for what is kept.
fn poll(address: SocketAddr, channel: &str, cookie: &str) -> Answer {
    request(address, "GET", &format!("/channels/{channel}?wait=0"), &format!("Cookie: sid={cookie}\r\n"), b"")
}

fn post(address: SocketAddr, channel: &str, cookie: &str) -> Answer {
    let fields = format!("Cookie: sid={cookie}\r\nContent-Type: text/plain\r\n");
    request(address, "POST", &format!("/channels/{channel}"), &fields, b"hi")
}

fn asked_of(path: &str, action: Action, channel: &str) -> Asked {
    (path.to_owned(), Some("1".to_owned()), action, channel.to_owned())
}

/// Every transport with a client that may, and what the program is asked for it.
fn lets_in_by_every_transport(server: &Running, asked: &Receiver<Asked>) {
    let next_asked = || asked.recv_timeout(PATIENCE).unwrap();
    let address = server.address;
    let subscribed = asked_of("/channels/news", Action::Subscribe, "news");
    let (mut plain, _) = handshake(address, "/channels/news", &[("Cookie", "sid=1")]).unwrap();
    assert_eq!(next_asked(), subscribed);
    let (mut enveloped, _) = handshake(address, "/channels/news", &[ENVELOPES, ("Cookie", "sid=1")]).unwrap();
    assert_eq!(next_asked(), subscribed);
    let mut events = Events::open(address, "/channels/news", "Cookie: sid=1\r\n").begun();
    assert_eq!(next_asked(), subscribed);
    let mut many = multiplex_with(address, "/channels", &[("Cookie", "sid=1")]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"news"},{"channel":"ops"}]}"#);
    assert_eq!([next(&mut many)["channel"].clone(), next(&mut many)["channel"].clone()], ["news", "ops"]);
    let asked_together = ["news", "ops"].map(|name| asked_of("/channels", Action::Subscribe, name));
    assert_eq!([next_asked(), next_asked()], asked_together);
    assert_eq!(post(address, "news", "1").status, 200);
    assert_eq!(next_asked(), asked_of("/channels/news", Action::Publish, "news"));
    assert_eq!((text(&mut plain), events.next().unwrap().data), ("hi".to_owned(), "hi".to_owned()));
    assert_eq!(next(&mut enveloped)["data"], "hi");
    assert_eq!(next(&mut many)["data"], "hi");
    let path = "/channels/news?last=1&wait=0";
    let kept = request(address, "GET", path, "Cookie: sid=1\r\n", b"");
    assert!(kept.status == 200 && kept.body.contains(r#""data":"hi""#), "{kept:?}");
    assert_eq!(next_asked(), subscribed);
    plain.send("by websocket".into()).unwrap();
    assert_eq!(text(&mut plain), "by websocket");
    assert_eq!(next_asked(), asked_of("/channels/news", Action::Publish, "news"));
    assert_eq!(next(&mut many)["data"], "by websocket");
    say(&mut many, r#"{"channel":"ops","ref":3,"data":"by command"}"#);
    let events = [next(&mut many), next(&mut many)];
    assert!(events.iter().any(|event| event["event"] == "fanfare:published"), "{events:?}");
    assert_eq!(next_asked(), asked_of("/channels", Action::Publish, "ops"));
    let mut of_many =
        Events::open(address, "/channels?channel=news&channel=ops", "Cookie: sid=1\r\n").begun();
    assert_eq!(next_asked().3 + &next_asked().3, "newsops");
    assert_eq!(post(address, "ops", "1").status, 200);
    assert_eq!(next_asked(), asked_of("/channels/ops", Action::Publish, "ops"));
    while !of_many.next().unwrap().data.contains(r#""data":"hi""#) {}
    let items = br#"[{"channel":"news","data":"by batch"},{"channel":"ops","data":"by batch"}]"#;
    let batch = request(address, "POST", "/channels", "Cookie: sid=1\r\n", items);
    assert!(batch.status == 200 && !batch.body.contains("error"), "{batch:?}");
    let asked_together = ["news", "ops"].map(|name| asked_of("/channels", Action::Publish, name));
    assert_eq!([next_asked(), next_asked()], asked_together);
    while !of_many.next().unwrap().data.contains("by batch") {}
}

/// Every transport with a client that may not, and what it is told.
fn refuses_by_every_transport(address: SocketAddr) {
    const WHY: &str = "It is by invitation.";
    let refused = *handshake(address, "/channels/news", &[]).unwrap_err();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.body().as_deref().map(<[u8]>::trim_ascii), Some(WHY.as_bytes()));
    let mut enveloped = handshake(address, "/channels/news", &[ENVELOPES]).unwrap().0;
    let error = next(&mut enveloped);
    assert_eq!((fault(&error), &error["data"]["message"]), (("forbidden", 403), &WHY.into()));
    assert_eq!(u16::from(close_frame(&mut enveloped).unwrap().code), 4403);
    for fields in ["", "Accept: text/event-stream\r\n"] {
        let answer = exchange(&mut connect(address), get("/channels/news?wait=0", fields).as_bytes());
        assert_eq!((answer.status, answer.body.trim()), (403, WHY));
    }
    let answer = request(address, "POST", "/channels/news", "Content-Type: text/plain\r\n", b"hi");
    assert_eq!((answer.status, answer.body.trim()), (403, WHY));
    let mut many = multiplex_with(address, "/channels", &[]);
    say(&mut many, r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"news"}]}"#);
    let error = next(&mut many);
    assert_eq!((fault(&error), &error["data"]["message"]), (("forbidden", 403), &WHY.into()));
    say(&mut many, r#"{"channel":"news","ref":2,"data":"hi"}"#);
    assert_eq!(fault(&next(&mut many)), ("forbidden", 403));
    let (mut reader, _) = handshake(address, "/channels/news", &[("Cookie", "sid=reader")]).unwrap();
    reader.send("hi".into()).unwrap();
    let frame = close_frame(&mut reader).unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1008, "Read only."));
}

#[test]
fn the_program_is_shown_the_request_and_its_yes_lets_in_by_every_transport() {
    let (server, asked) = deciding(config(), by_cookie);
    lets_in_by_every_transport(&server, &asked);
}

#[test]
fn its_yes_from_another_thread_lets_in_by_every_transport() {
    let (server, asked) = deciding(config(), by_cookie_later);
    lets_in_by_every_transport(&server, &asked);
}

#[test]
fn its_no_is_told_with_its_sentence_by_every_transport() {
    refuses_by_every_transport(deciding(config(), by_cookie).0.address);
}

#[test]
fn its_no_from_another_thread_is_told_with_its_sentence_by_every_transport() {
    refuses_by_every_transport(deciding(config(), by_cookie_later).0.address);
}

/// A server whose program's replies about channels but `open` are handed to the test.
fn handing_over(config: Config) -> (Running, Receiver<VerdictReply>) {
    let (hands, replies) = mpsc::channel();
    let hands = Arc::new(Mutex::new(hands));
    let (server, _) = deciding(config, move |_, _, channel| {
        let hands = Arc::clone(&hands);
        match channel.as_str() {
            "open" => Verdict::allow(),
            _ => Verdict::later(move |reply| hands.lock().unwrap().send(reply).unwrap()),
        }
    });
    (server, replies)
}

#[test]
fn what_follows_a_question_that_waits_is_done_after_it_and_others_are_served_meanwhile() {
    let (server, replies) = handing_over(one_loop());
    let mut stream = connect(server.address);
    let requests =
        get("/channels/news?wait=0", "") + &get("/healthz", "") + &get("/channels/open?wait=0", "");
    stream.write_all(requests.as_bytes()).unwrap();
    let mut many = multiplex_with(server.address, "/channels", &[]);
    say(&mut many, r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"news"}]}"#);
    say(&mut many, r#"{"event":"fanfare:subscribe","ref":2,"data":[{"channel":"open"}]}"#);
    let (one, other) = (replies.recv_timeout(PATIENCE).unwrap(), replies.recv_timeout(PATIENCE).unwrap());
    assert_eq!(poll(server.address, "open", "1").status, 200, "the loop is free");
    one.refuse("");
    other.refuse("");
    let answers = [0; 3].map(|_| read_answer(&mut stream));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [403, 200, 200]);
    assert_eq!(answers[0].body, "This client may not subscribe to news.\n");
    assert_eq!([next(&mut many)["ref"].clone(), next(&mut many)["ref"].clone()], [1, 2]);
}

#[test]
fn messages_of_a_subscriber_wait_for_the_verdict_in_order_and_it_is_asked_for_once() {
    let (server, asked) = deciding(config(), by_cookie_later);
    let (mut client, _) = handshake(server.address, "/channels/chat", &[("Cookie", "sid=1")]).unwrap();
    for number in 0..20 {
        client.send(number.to_string().into()).unwrap();
    }
    for number in 0..20 {
        assert_eq!(text(&mut client), number.to_string());
    }
    assert_eq!(asked.try_iter().count(), 2, "whether it may read, and whether it may publish");
}

#[test]
fn a_reply_that_is_dropped_refuses_as_unavailable_and_says_when_to_come_back() {
    const WHY: &str = "The program that decides did not answer; try again in 5 s.";
    let (server, _) = deciding(config(), |_, _, _| Verdict::later(drop));
    let answer = poll(server.address, "news", "1");
    assert_eq!((answer.status, answer.body.trim()), (503, WHY));
    assert!(answer.head.contains("\r\nRetry-After: 5\r\n"), "{answer:?}");
    assert_eq!(post(server.address, "news", "1").status, 503);
    let mut enveloped = handshake(server.address, "/channels/news", &[ENVELOPES]).unwrap().0;
    let error = next(&mut enveloped);
    assert_eq!((fault(&error), &error["data"]["message"]), (("unavailable", 503), &WHY.into()));
    assert_eq!(u16::from(close_frame(&mut enveloped).unwrap().code), 1013);
    let mut many = multiplex_with(server.address, "/channels", &[]);
    say(&mut many, r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"news"}]}"#);
    assert_eq!(fault(&next(&mut many)), ("unavailable", 503));
}

#[test]
fn a_panic_lets_nobody_in_is_counted_and_the_loop_goes_on() {
    let (server, _) = deciding(one_loop(), |_, _, channel| match channel.as_str() {
        "panic" => panic!("as asked"),
        "later" => Verdict::later(|_| panic!("as asked")),
        _ => Verdict::allow(),
    });
    for channel in ["panic", "later"] {
        let answer = poll(server.address, channel, "1");
        let expected = "The program that decides failed; try again in 5 s.";
        assert_eq!((answer.status, answer.body.trim()), (503, expected));
    }
    assert_eq!(poll(server.address, "news", "1").status, 200);
    let metrics = request(server.address, "GET", "/metrics", "", b"").body;
    assert!(metrics.contains("\nfanfare_handler_panics_total 2\n"), "{metrics}");
    assert!(metrics.contains("\nfanfare_handler_seconds_count{route=\"authorize\"} 3\n"), "{metrics}");
}

#[test]
fn a_panic_stops_the_server_where_the_program_wants_that() {
    let mut server = Server::bind(one_loop()).unwrap();
    server.authorize(|_, _, _| panic!("as asked")).on_panic(OnPanic::Stop);
    let address = server.local_addrs()[0];
    let serving = thread::spawn(|| server.run());
    connect(address).write_all(get("/channels/news", "").as_bytes()).unwrap();
    assert!(serving.join().is_err());
}

#[test]
fn a_reply_for_a_client_that_has_gone_is_passed_over() {
    let (server, replies) = handing_over(one_loop());
    let mut gone = connect(server.address);
    gone.write_all(get("/channels/news", "").as_bytes()).unwrap();
    let reply = replies.recv_timeout(PATIENCE).unwrap();
    drop(gone);
    let mut many = multiplex_with(server.address, "/channels", &[]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"news"}]}"#);
    let other = replies.recv_timeout(PATIENCE).unwrap();
    drop(many);
    reply.allow(Grant::new());
    other.allow(Grant::new());
    until("both are gone", || (server.handle.connections_len() == 0).then_some(()));
    assert_eq!(poll(server.address, "open", "1").status, 200);
    let kept = ChannelName::new("news").unwrap();
    assert_eq!(server.handle.subscribers(&kept), 0);
}

#[test]
fn the_server_stops_while_replies_are_awaited() {
    let config = Config { close_timeout: Duration::from_millis(200), ..config() };
    let (server, replies) = handing_over(config);
    let mut waits = connect(server.address);
    waits.write_all(get("/channels/news", "").as_bytes()).unwrap();
    let mut many = multiplex_with(server.address, "/channels", &[]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"news"}]}"#);
    let held = (replies.recv_timeout(PATIENCE).unwrap(), replies.recv_timeout(PATIENCE).unwrap());
    server.handle.shutdown();
    server.join().unwrap();
    drop(held);
}

#[test]
fn a_user_that_the_program_names_is_there_for_the_others_and_for_filters() {
    let presence = vec![(Glob::new("*"), PresenceRule::Members)];
    let mut server = Server::bind(Config { presence, ..config() }).unwrap();
    server.authorize(|request, _, _| {
        let grant = Grant::new().user(request.cookie("sid").unwrap_or_default());
        Verdict::Allow(grant.info(r#"{ "name": "Ada" }"#).presence())
    });
    server.filter("*", |draft, sender| {
        let signed = format!("{}: {}", sender.identity().unwrap().user.unwrap(), draft.as_text().unwrap());
        draft.set_payload(signed).unwrap();
        Ok(())
    });
    let server = run(server);
    let mut many = multiplex_with(server.address, "/channels", &[("Cookie", "sid=u42")]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"chat","presence":true}]}"#);
    assert_eq!(next(&mut many)["event"], "fanfare:subscribed");
    let there = next(&mut many);
    assert_eq!(there["data"]["members"][0]["sub"], "u42", "{there}");
    assert_eq!(there["data"]["members"][0]["info"]["name"], "Ada", "{there}");
    say(&mut many, r#"{"channel":"chat","data":"hi"}"#);
    assert_eq!(next(&mut many)["data"], "u42: hi");
    let answer = poll(server.address, "chat", &"u".repeat(201));
    let expected = "The program named a user of no or more than 200 bytes; try again in 5 s.";
    assert_eq!((answer.status, answer.body.trim()), (503, expected));
}

#[test]
fn at_the_end_of_a_grant_the_program_is_asked_again_and_its_no_ends_what_lasts() {
    let is_banned = Arc::new(Mutex::new(false));
    let bans = Arc::clone(&is_banned);
    let (server, asked) = deciding(config(), move |_, _, _| match *is_banned.lock().unwrap() {
        true => Verdict::refuse("You were banned."),
        false => Verdict::Allow(Grant::new().holds(Duration::from_secs(1))),
    });
    let (mut plain, _) = handshake(server.address, "/channels/news", &[("Cookie", "sid=1")]).unwrap();
    let mut many = multiplex_with(server.address, "/channels", &[("Cookie", "sid=1")]);
    say(&mut many, r#"{"event":"fanfare:subscribe","data":[{"channel":"news"}]}"#);
    assert_eq!(next(&mut many)["event"], "fanfare:subscribed");
    for _ in 0..3 {
        assert_eq!(asked.recv_timeout(PATIENCE).unwrap().1.as_deref(), Some("1"), "also asked again");
    }
    *bans.lock().unwrap() = true;
    let frame = close_frame(&mut plain).unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4403, "You were banned."));
    let ended = next(&mut many);
    assert_eq!(
        (&ended["event"], &ended["data"]["code"]),
        (&"fanfare:unsubscribed".into(), &"forbidden".into())
    );
}

#[test]
fn who_is_in_stays_while_the_program_fails() {
    let fails = Arc::new(Mutex::new(false));
    let failing = Arc::clone(&fails);
    let (server, asked) = deciding(config(), move |_, _, _| match *fails.lock().unwrap() {
        true => Verdict::later(drop),
        false => Verdict::Allow(Grant::new().holds(Duration::from_secs(1))),
    });
    let (mut client, _) = handshake(server.address, "/channels/news", &[]).unwrap();
    *failing.lock().unwrap() = true;
    asked.recv_timeout(PATIENCE).unwrap();
    asked.recv_timeout(PATIENCE).unwrap();
    let news = ChannelName::new("news").unwrap();
    server.handle.publish_to(&news, "still here").unwrap();
    assert_eq!(text(&mut client), "still here");
}

#[test]
fn rules_that_let_in_by_other_means_are_not_the_programs_to_decide_and_a_reload_keeps_it() {
    let auth = vec![(Glob::new("open-*"), AuthRule::Open), (Glob::new("ops"), AuthRule::Key)];
    let keys = vec![AccessKey::with_all_rights("default", "secret")];
    let rules = Config { auth, keys, ..config() };
    let (server, _) = deciding(rules.clone(), |_, _, _| Verdict::refuse("No."));
    let status = |channel: &str, fields: &str| {
        request(server.address, "GET", &format!("/channels/{channel}?wait=0"), fields, b"").status
    };
    let statuses = || {
        let key = "Authorization: Bearer secret\r\n";
        [status("open-a", ""), status("ops", ""), status("ops", key), status("news", key), status("news", "")]
    };
    assert_eq!(statuses(), [200, 401, 200, 200, 403]);
    server.handle.reload_access(&rules).unwrap();
    let named = Config { auth: vec![(Glob::new("news"), AuthRule::Hook)], ..rules };
    assert_eq!(statuses(), [200, 401, 200, 200, 403]);
    server.handle.reload_access(&named).unwrap();
    assert_eq!(statuses(), [403, 403, 200, 200, 403]);
    let unasking = Config { auth: vec![(Glob::new("*"), AuthRule::Open)], ..named };
    let refused = server.handle.reload_access(&unasking).unwrap_err().to_string();
    assert!(refused.contains("no rule asks the program"), "{refused}");
}

#[test]
fn a_server_does_not_run_whose_rules_ask_nobody_or_never_ask_the_program() {
    let with = |glob: &str, rule| Config { auth: vec![(Glob::new(glob), rule)], ..config() };
    let asks_nobody = Server::bind(with("chat-*", AuthRule::Hook)).unwrap();
    let error = asks_nobody.run().unwrap_err().to_string();
    assert!(error.contains("--auth chat-*=hook") && error.contains("Server::authorize"), "{error}");
    let mut unasked = Server::bind(with("*", AuthRule::Open)).unwrap();
    unasked.authorize(|_, _, _| Verdict::allow());
    let error = unasked.run().unwrap_err().to_string();
    assert!(error.contains("no rule asks the program"), "{error}");
}

#[test]
fn a_server_whose_rules_ask_the_program_may_listen_beyond_loopback_and_one_without_is_refused() {
    let anywhere = Config { listen: vec!["0.0.0.0:0".parse().unwrap()], ..config() };
    assert!(Server::bind(anywhere.clone()).is_err());
    let mut server =
        Server::bind(Config { auth: vec![(Glob::new("*"), AuthRule::Hook)], ..anywhere }).unwrap();
    server.authorize(by_cookie);
    let server = run(server);
    let address = SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    assert_eq!((post(address, "news", "1").status, poll(address, "news", "1").status), (200, 200));
    assert_eq!(request(address, "POST", "/channels/news", "", b"hi").status, 403);
}

#[test]
fn a_long_poll_that_waits_is_asked_about_once_and_a_batch_once_a_channel() {
    for decide in [by_cookie, by_cookie_later] {
        let (server, asked) = deciding(config(), decide);
        let mut stream = connect(server.address);
        let poll = get("/channels/chat?wait=20", "Cookie: sid=1\r\n");
        stream.write_all(poll.as_bytes()).unwrap();
        let next_asked = || asked.recv_timeout(PATIENCE).unwrap();
        assert_eq!(next_asked(), asked_of("/channels/chat", Action::Subscribe, "chat"));
        until("it waits", || {
            (server.handle.subscribers(&ChannelName::new("chat").unwrap()) == 1).then_some(())
        });
        let post = |cookie: &str| {
            let fields = format!("Content-Type: application/json\r\nCookie: sid={cookie}\r\n");
            let batch = br#"[{"channel":"chat","data":"hi"},{"channel":"chat","data":"again"}]"#;
            request(server.address, "POST", "/channels", &fields, batch)
        };
        let answer = post("1");
        assert_eq!(answer.body.matches("\"id\":").count(), 2, "{answer:?}");
        assert_eq!(next_asked(), asked_of("/channels", Action::Publish, "chat"));
        let answer = read_answer(&mut stream);
        assert!(answer.status == 200 && answer.body.contains("\"hi\""), "{answer:?}");
        let answer = post("reader");
        assert_eq!(answer.body.matches("Read only.").count(), 2, "{answer:?}");
    }
}
