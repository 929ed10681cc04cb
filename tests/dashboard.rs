//! The dashboard: its page, and the figures that each watcher is sent every second.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use fanfare::config::{AccessKey, Config, Glob};
use fanfare::pusher::App;
use fanfare::server::Draft;
use serde_json::{Value, json};
use support::event_stream::Events;
use support::long_poll::{Poll, data_of};
use support::multiplex::{fault, multiplex, multiplex_with, next, say, subscribe};
use support::pusher::Pusher;
use support::*;
use tungstenite::Message;

/// The next figures that a watcher is sent.
fn figures(client: &mut Client) -> serde_json::Value {
    serde_json::from_str(&text(client)).unwrap()
}

#[test]
fn a_watcher_is_sent_figures_every_second_that_say_what_happened() {
    let server = start(config());
    let mut subscriber = websocket(server.address, "/channels/prices");
    let mut watcher = websocket(server.address, "/dashboard/figures");
    let first = figures(&mut watcher);
    assert_eq!((&first["version"], &first["publishes"]), (&"0.1.0".into(), &0.into()), "{first}");
    assert!(first["at"].as_u64().unwrap() > 1_700_000_000_000, "{first}");
    for _ in 0..5 {
        publish(server.address, "prices", "1");
        assert_eq!(text(&mut subscriber), "1");
    }
    request(server.address, "GET", "/nowhere", "", b"");
    // Figures that are late give a second's share of what was published since those before them.
    let (mut published, mut is_late, mut last) = (0, false, first);
    while !is_late && published < 5 {
        let next = figures(&mut watcher);
        is_late = next["at"].as_u64() > last["at"].as_u64().map(|at| at + 1050);
        last = next;
        let busiest = last["busiest"].as_array().unwrap();
        assert_eq!((busiest.len(), &busiest[0]["channel"]), (1, &"prices".into()), "{last}");
        assert_eq!(busiest[0]["subscribers"], 1);
        published += busiest[0]["publishes"].as_u64().unwrap();
    }
    assert!(published == 5 || is_late && published < 5, "{published}: each is of one second");
    let last = until("the numbers settle", || {
        let next = std::mem::replace(&mut last, serde_json::Value::Null);
        if next["connections"]["http"] == 0 && next["deliveries"].as_u64() > Some(5) {
            return Some(next);
        }
        last = figures(&mut watcher);
        None
    });
    let expected = serde_json::json!({"http": 0, "websocket": 2, "sse": 0, "long_poll": 0, "pusher": 0, "pusher_http": 0});
    assert_eq!(
        (&last["connections"], &last["publishes"], &last["channels"]),
        (&expected, &5.into(), &1.into())
    );
    assert_eq!(last["refusals"], serde_json::json!({"not_found": 1}));
    assert_eq!((&last["lag_bytes_max"], &last["memory"]["max"]), (&0.into(), &(1u64 << 30).into()));
    assert_eq!(last["memory"]["connections"], 512);
}

#[test]
fn watchers_on_all_loops_get_the_same_figures() {
    let server = start(Config { threads: NonZeroUsize::new(3).unwrap(), ..config() });
    let mut watchers: Vec<Client> = (0..3).map(|_| websocket(server.address, "/dashboard/figures")).collect();
    let latest: Vec<u64> = watchers
        .iter_mut()
        .map(|watcher| {
            figures(watcher);
            figures(watcher)["at"].as_u64().unwrap()
        })
        .collect();
    assert!(latest.iter().max().unwrap() - latest.iter().min().unwrap() < 5000, "{latest:?}");
    drop(watchers);
    let mut later = websocket(server.address, "/dashboard/figures");
    assert!(figures(&mut later)["at"].as_u64().unwrap() > 0, "it begins again");
}

#[test]
fn the_figures_are_read_by_event_stream_and_long_poll_too() {
    let server = start(with_key());
    let basic = "Authorization: Basic YW55Ym9keTpzZWNyZXQ=\r\n";
    let mut stream = Events::open(server.address, "/dashboard/figures", basic);
    let mut next = || loop {
        let figures: serde_json::Value = serde_json::from_str(&stream.next().unwrap().data).unwrap();
        if figures["at"].is_u64() {
            return figures;
        }
    };
    assert_eq!(next()["connections"]["sse"], 1);
    let path = "/dashboard/figures?wait=20";
    let answer = request(server.address, "GET", path, basic, b"");
    let polled: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let [figures] = &data_of(&polled)[..] else { panic!("{polled}") };
    assert_eq!(figures["connections"]["long_poll"], 1);
    while next() != *figures {}
    let refused = request(server.address, "GET", path, "", b"");
    assert_eq!(refused.status, 401);
}

#[test]
fn polls_alone_keep_the_figures_coming() {
    let server = start(config());
    let mut poll = Poll::new(server.address, "/dashboard/figures");
    let begun = Instant::now();
    poll.poll(0);
    let at = |answer: serde_json::Value| answer["messages"][0]["data"]["at"].as_u64().unwrap();
    let first = at(poll.poll(20));
    let second = at(poll.poll(20));
    assert!(first < second, "{first}, {second}");
    // Each says when it was made, which on a busy machine is later than it was due. The server counts whole milliseconds.
    assert!(begun.elapsed() >= Duration::from_millis(999), "{:?}", begun.elapsed());
}

#[test]
fn nobody_publishes_to_a_channel_of_the_servers_own() {
    let server = start(config());
    for method in ["GET", "POST"] {
        let answer = request(server.address, method, "/channels/@fanfare.dashboard", "", b"x");
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("/dashboard/figures"), "{answer:?}");
    }
    let error = Draft::text("@fanfare.dashboard", "x").unwrap_err();
    assert!(error.to_string().contains("@fanfare."), "{error}");
    let mut watcher = websocket(server.address, "/dashboard/figures");
    watcher.send(Message::text("x")).unwrap();
    assert_eq!(u16::from(close_frame(&mut watcher).unwrap().code), 1008);
}

#[test]
fn the_dashboard_is_a_page_in_development_mode() {
    let server = start(config());
    let answer = request(server.address, "GET", "/dashboard", "", b"");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("Content-Type: text/html; charset=utf-8\r\n"), "{answer:?}");
    assert!(answer.body.starts_with("<!doctype html>"), "{answer:?}");
}

/// Two apps, of which the first has the plain names.
fn with_apps() -> Config {
    let first = App { client_events: true, ..App::new("1", "app-key", "app-secret") };
    let second = App { subscription_count: true, ..App::new("2", "other-key", "other-secret") };
    Config { apps: vec![first, second], ..config() }
}

/// The app's part of the next figures in which `is_there` finds it.
fn app_figures(watcher: &mut Client, is_there: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    until("the figures of the app", || {
        let app = figures(watcher)["apps"][0].take();
        is_there(&app).then_some(app)
    })
}

#[test]
fn the_figures_of_an_app_are_its_connections_channels_members_and_refusals_with_their_sentences() {
    let server = start(with_apps());
    let mut watcher = websocket(server.address, "/dashboard/figures");
    let mut client = Pusher::connect(server.address);
    client.subscribe("prices");
    client.subscribe("private-cache-a");
    client.expect("pusher:cache_miss");
    client.join("presence-room", "anna");
    client.sign_in("anna", &[]);
    client.send("pusher:subscribe", json!({"channel": "private-<img src=x onerror=alert(1)>", "auth": "x"}));
    let (_, refusal) = client.expect("pusher:subscription_error");
    let sentence = refusal["error"].as_str().unwrap();
    assert!(sentence.contains("<img src=x onerror=alert(1)>"), "{sentence}");
    let app = app_figures(&mut watcher, |app| app["refused"] == 1);
    let of = |field: &str| app[field].clone();
    assert_eq!((of("id"), of("is_default"), of("connections")), (json!("1"), json!(true), json!(1)), "{app}");
    assert_eq!((of("users"), of("messages")), (json!(1), json!(5)), "{app}");
    let expected = json!({"public": 1, "private": 1, "encrypted": 0, "presence": 1, "user": 0, "cache": 1, "members": 1});
    assert_eq!(of("channels"), expected);
    let [refused] = &app["refusals"].as_array().unwrap()[..] else { panic!("{app}") };
    assert_eq!((&refused["sentence"], &refused["times"]), (&json!(sentence), &json!(1)));
    assert!(refused["at"].as_u64().unwrap() > 1_700_000_000_000, "{refused}");
    assert_eq!((of("webhooks"), of("webhooks_total")), (json!([]), json!(0)));
    let next = figures(&mut watcher);
    assert_eq!((&next["apps_total"], &next["apps"][1]["connections"]), (&json!(2), &json!(0)), "{next}");
    drop(client);
    app_figures(&mut watcher, |app| app["connections"] == 0 && app["channels"]["members"] == 0);
}

/// Watches a channel, under the name that the server has for it, from its newest publication on.
fn watch(server: &Running, channel: &str) -> Client {
    let mut client = multiplex(server.address);
    subscribe(&mut client, &format!("@fanfare.watch/{channel}"));
    client
}

/// The answer to a long poll of several channels.
fn polled(address: SocketAddr, query: &str) -> Value {
    serde_json::from_str(&request(address, "GET", &format!("/channels?{query}"), "", b"").body).unwrap()
}

/// The next event that a watcher of a channel is sent: who made it among other things.
fn record(client: &mut Client) -> Value {
    let mut message = next(client);
    assert_eq!(message["event"], Value::Null, "{message}");
    message["data"].take()
}

#[test]
fn a_live_view_shows_who_made_each_event_of_a_presence_channel_and_who_came_and_went() {
    let server = start(with_apps());
    let mut view = watch(&server, "presence-room");
    let mut anna = Pusher::connect(server.address);
    let members = anna.join("presence-room", "anna");
    assert_eq!(members["presence"]["ids"], json!(["anna"]), "the operator is no member");
    let message = next(&mut view);
    assert_eq!((&message["channel"], &message["id"]), (&json!("@fanfare.watch/presence-room"), &Value::Null));
    let seen = &message["data"];
    assert_eq!(
        (&seen["event"], &seen["source"]),
        (&json!("pusher_internal:member_added"), &json!("protocol"))
    );
    assert!(seen["data"].as_str().unwrap().contains("anna"), "{seen}");
    anna.send_text(r#"{"event":"client-typed","channel":"presence-room","data":{"text":"<b>"}}"#);
    let mut message = next(&mut view);
    let id = message["data"]["id"].take();
    assert_eq!(message["id"], id);
    let expected = json!({"id": null, "event": "client-typed", "data": {"text": "<b>"}, "source": "client",
        "socket_id": anna.socket_id, "user_id": "anna"});
    assert_eq!(message["data"], expected);
    publish_draft(&server.handle, &Draft::text("presence-room", "1").unwrap());
    let seen = record(&mut view);
    assert_eq!((&seen["data"], &seen["source"]), (&json!("1"), &json!("publisher")));
    drop(anna);
    assert_eq!(record(&mut view)["event"], "pusher_internal:member_removed");
}

#[test]
fn one_connection_reads_the_figures_a_channel_and_the_same_one_as_an_operator_and_leaves_each_by_its_name() {
    let server = start(with_apps());
    let mut client = multiplex(server.address);
    for channel in ["prices", "@fanfare.watch/prices", "@fanfare.dashboard"] {
        subscribe(&mut client, channel);
    }
    // The figures come in between, once a second.
    let next_of = |client: &mut Client, name: &str| {
        until("a message", || Some(next(client)).filter(|message| message["channel"] == name))
    };
    assert!(next_of(&mut client, "@fanfare.dashboard")["data"]["at"].as_u64() > Some(0));
    assert!(publish(server.address, "prices", "1").body.contains("\"subscribers\":1"));
    // Which comes first of two channels is not said.
    let mut both = [next_other(&mut client), next_other(&mut client)];
    both.sort_by_key(|message| message["channel"].as_str().unwrap().to_owned());
    assert_eq!(both[0]["data"]["source"], "publisher", "{both:?}");
    assert_eq!((&both[1]["channel"], &both[1]["data"]), (&json!("prices"), &json!("1")));
    assert_eq!(both[0]["id"], both[1]["id"]);
    say(&mut client, r#"{"event":"fanfare:unsubscribe","data":["prices"]}"#);
    assert_eq!(next_other(&mut client)["event"], "fanfare:unsubscribed");
    publish(server.address, "prices", "2");
    assert_eq!(next_other(&mut client)["data"]["data"], "2", "it is watched on");
    say(&mut client, r#"{"event":"fanfare:unsubscribe","data":["@fanfare.watch/prices"]}"#);
    let left = next_other(&mut client);
    assert_eq!(left["channel"], "@fanfare.watch/prices", "{left}");
    publish(server.address, "prices", "3");
    say(&mut client, r#"{"event":"fanfare:history","ref":1,"data":{"channel":"other","last":1}}"#);
    assert_eq!(next_other(&mut client)["event"], "fanfare:history", "no third comes");
}

/// The next message that is not of the figures.
fn next_other(client: &mut Client) -> Value {
    until("a message", || Some(next(client)).filter(|message| message["channel"] != "@fanfare.dashboard"))
}

#[test]
fn figures_and_live_views_are_read_by_event_stream_and_long_poll_and_go_on_where_they_were() {
    let server = start(Config { history: vec![(Glob::new("kept"), 10)], ..with_apps() });
    let query = "channel=@fanfare.dashboard&channel=@fanfare.watch/kept";
    let mut stream = Events::open(server.address, &format!("/channels?{query}"), "");
    let mut next = || loop {
        let message: Value = serde_json::from_str(&stream.next().unwrap().data).unwrap();
        if message["channel"] == "@fanfare.watch/kept" && message["event"] == Value::Null {
            return message;
        }
    };
    let answer = polled(server.address, "channel=@fanfare.watch/kept&wait=0");
    let position = answer["next"]["@fanfare.watch/kept"].as_str().unwrap();
    publish(server.address, "kept", "1");
    assert_eq!(next()["data"]["data"], "1");
    let answer = polled(server.address, &format!("channel=@fanfare.watch/kept&since={position}"));
    assert_eq!(answer["messages"][0]["data"]["data"], "1", "{answer}");
    assert_eq!(answer["next"]["@fanfare.watch/kept"], answer["messages"][0]["id"]);
}

#[test]
fn a_long_poll_that_watches_goes_on_after_the_last_publication_whatever_the_protocol_told_in_between() {
    let server = start(with_apps());
    let address = server.address;
    let waiting = std::thread::spawn(move || polled(address, "channel=@fanfare.watch/presence-room"));
    until("the poll waits", || {
        let mut watcher = websocket(server.address, "/dashboard/figures");
        (figures(&mut watcher)["connections"]["long_poll"] == 1).then_some(())
    });
    let mut anna = Pusher::connect(server.address);
    anna.join("presence-room", "anna");
    let answer = waiting.join().unwrap();
    let [message] = &answer["messages"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&message["id"], &message["data"]["source"]), (&Value::Null, &json!("protocol")));
    let next = answer["next"]["@fanfare.watch/presence-room"].as_str().unwrap();
    assert!(next.ends_with("-0"), "nothing was published: {answer}");
    let answer = polled(server.address, &format!("channel=@fanfare.watch/presence-room&since={next}&wait=0"));
    assert_eq!((&answer["gap"], &answer["messages"]), (&Value::Null, &json!([])), "{answer}");
}

#[test]
fn a_live_view_is_no_subscriber() {
    let server = start(with_apps());
    let mut view = watch(&server, "prices");
    let answer = request(server.address, "POST", "/channels/prices", "Content-Type: text/plain\r\n", b"1");
    assert!(answer.body.contains(r#""subscribers":0}"#), "{answer:?}");
    assert_eq!(record(&mut view)["data"], "1");
    let mut watcher = websocket(server.address, "/dashboard/figures");
    assert_eq!(app_figures(&mut watcher, |_| true)["channels"]["public"], 0);
    drop(view);
    let mut again = multiplex(server.address);
    let command =
        json!({"event": "fanfare:subscribe", "data": [{"channel": "@fanfare.watch/prices", "last": 1}]});
    say(&mut again, &command.to_string());
    assert_eq!(next(&mut again)["event"], "fanfare:subscribed");
    assert_eq!(record(&mut again)["data"], "1", "what is kept can be shown again");
}

#[test]
fn a_live_view_is_of_the_app_that_it_names() {
    let server = start(with_apps());
    let mut view = watch(&server, "2/prices");
    publish(server.address, "prices", "of the first");
    let mut other = Pusher::connect_to(server.address, "other-key");
    other.send("pusher:subscribe", json!({"channel": "prices"}));
    let seen = record(&mut view);
    assert_eq!(seen["event"], "pusher_internal:subscription_count", "{seen}");
    for (name, status, sentence) in [
        ("@fanfare.watch/3/prices", 404, "No app has this id; leave app out for the first one."),
        (
            "@fanfare.watch/1/prices",
            400,
            "The channels of the first app have plain names: this is @fanfare.watch/prices.",
        ),
        (
            "@fanfare.watch/@fanfare.dashboard",
            403,
            "Channels whose names begin with @fanfare. are the server's own",
        ),
        ("@fanfare.watch/a b", 400, "the channel name holds ' '"),
    ] {
        let path = format!("/channels?channel={}&wait=0", name.replace(' ', "%20"));
        let answer = request(server.address, "GET", &path, "", b"");
        assert!(answer.status == status && answer.body.contains(sentence), "{answer:?}");
        say(&mut view, &json!({"event": "fanfare:subscribe", "data": [{"channel": name}]}).to_string());
        let refused = next(&mut view);
        assert_eq!((&refused["channel"], fault(&refused)), (&json!(name), ("bad_command", 400)));
        assert!(refused["data"]["message"].as_str().unwrap().contains(sentence), "{refused}");
    }
}

#[test]
fn without_the_key_nothing_of_the_servers_own_is_read_by_any_road() {
    let server = start(Config { apps: with_apps().apps, ..with_key() });
    let own = ["@fanfare.dashboard", "@fanfare.watch/prices", "@fanfare.watch/private-a", "@fanfare.x"];
    for fields in ["", "Authorization: Basic d3Jvbmc6d3Jvbmc=\r\n"] {
        for name in own {
            let path = name.replace('/', "%2F");
            for target in [
                format!("/channels?channel={name}&wait=0"),
                format!("/channels?channel=open&channel={name}&wait=0"),
                format!("/channels/{path}"),
                format!("/channels/{path}?wait=0&last=10"),
                format!("/channels/{path}/state"),
                format!("/channels/{path}/presence"),
            ] {
                for accept in ["", "Accept: text/event-stream\r\n"] {
                    let fields = format!("{fields}{accept}");
                    let answer = request(server.address, "GET", &target, &fields, b"");
                    assert!([400, 401, 403].contains(&answer.status), "{target} {answer:?}");
                    assert!(
                        answer.body.len() > 20 && !answer.body.contains("version"),
                        "{target} {answer:?}"
                    );
                }
            }
        }
    }
    let mut client = multiplex(server.address);
    for name in own {
        for command in [
            json!({"event": "fanfare:subscribe", "data": [{"channel": name}]}),
            json!({"event": "fanfare:history", "data": {"channel": name, "last": 1}}),
            json!({"event": "fanfare:presence", "data": {"channel": name}}),
            json!({"channel": name, "data": 1}),
        ] {
            say(&mut client, &command.to_string());
            let refused = next(&mut client);
            let expected = match (command["event"] == "fanfare:subscribe", name == "@fanfare.x") {
                (true, false) => ("no_token", 401),
                _ => ("bad_command", 400),
            };
            assert_eq!(fault(&refused), expected, "{command}: {refused}");
        }
    }
    let mut pusher = Pusher::connect(server.address);
    for name in own {
        pusher.send("pusher:subscribe", json!({"channel": name}));
        pusher.expect("pusher:subscription_error");
        let (_, refused) = pusher.expect("pusher:error");
        assert!(refused["message"].as_str().unwrap().contains(name), "{refused}");
    }
}

#[test]
fn the_key_opens_the_figures_and_live_views_as_bearer_and_as_a_browsers_password_and_no_more_by_that() {
    let server = start(Config { apps: with_apps().apps, ..with_key() });
    let (bearer, basic) = ("Bearer secret", "Basic YW55Ym9keTpzZWNyZXQ=");
    for proof in [bearer, basic] {
        let mut client = multiplex_with(server.address, "/channels", &[("Authorization", proof)]);
        for name in ["@fanfare.watch/private-a", "@fanfare.dashboard"] {
            subscribe(&mut client, name);
        }
        let fields = format!("Authorization: {proof}\r\n");
        let path = "/channels?channel=@fanfare.dashboard&channel=@fanfare.watch/private-a&wait=0";
        assert_eq!(request(server.address, "GET", path, &fields, b"").status, 200);
        let mut stream = Events::open(server.address, path, &fields);
        assert!(stream.next().unwrap().data.contains("fanfare:subscribed"));
        say(&mut client, r#"{"channel":"prices","ref":7,"data":1}"#);
        let answer = until("an answer", || Some(next(&mut client)).filter(|answer| answer["ref"] == 7));
        let is_published = answer["event"] == "fanfare:published";
        assert_eq!(is_published, proof == bearer, "a page may have made the connection: {answer}");
    }
    let elsewhere = [("Authorization", basic), ("Origin", "https://evil.example")];
    let mut client = multiplex_with(server.address, "/channels", &elsewhere);
    say(&mut client, r#"{"event":"fanfare:subscribe","data":[{"channel":"@fanfare.dashboard"}]}"#);
    let refused = next(&mut client);
    assert_eq!(fault(&refused), ("no_token", 401), "{refused}");
}

#[test]
fn who_watches_by_a_key_that_is_removed_watches_no_more() {
    let server = start(Config { apps: with_apps().apps, ..with_key() });
    let basic = [("Authorization", "Basic YW55Ym9keTpzZWNyZXQ=")];
    let mut client = multiplex_with(server.address, "/channels", &basic);
    subscribe(&mut client, "open");
    subscribe(&mut client, "@fanfare.watch/private-a");
    let fields = "Authorization: Basic YW55Ym9keTpzZWNyZXQ=\r\n";
    let mut stream = Events::open(server.address, "/channels?channel=@fanfare.watch/private-a", fields);
    assert!(stream.next().unwrap().data.contains("fanfare:subscribed"));
    let other = Config { keys: vec![AccessKey::with_all_rights("default", "another")], ..with_key() };
    server.handle.reload_access(&other).unwrap();
    let ended = next(&mut client);
    assert_eq!(
        (&ended["event"], &ended["channel"], &ended["data"]["code"]),
        (&json!("fanfare:unsubscribed"), &json!("@fanfare.watch/private-a"), &json!("bad_token"))
    );
    publish_draft(&server.handle, &Draft::text("open", "1").unwrap());
    assert_eq!(next(&mut client)["data"], "1", "the connection is there for what anybody may read");
    // The end of the stream comes within half a minute; it is not opened again.
    let path = "/channels?channel=@fanfare.watch/private-a&wait=0";
    assert_eq!(request(server.address, "GET", path, fields, b"").status, 401);
}
