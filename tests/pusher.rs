//! The Pusher protocol over real sockets: connecting, channels of every kind, presence, client events, users.

mod support;

use fanfare::config::{AccessKey, AuthRule, Config, Glob};
use fanfare::pusher::App;
use fanfare::server::Draft;
use serde_json::{Value, json};
use std::io::Read;
use std::num::NonZeroU32;
use std::time::Duration;
use support::pusher::{Pusher, sign};
use support::*;

/// A server with an app whose key is `app-key` and whose secret is `app-secret`.
fn with_app(app: App) -> Config {
    Config { apps: vec![app], ..config() }
}

fn app() -> App {
    App::new("1", "app-key", "app-secret")
}

fn with_client_events() -> App {
    App { client_events: true, ..app() }
}

#[test]
fn a_client_gets_its_socket_id_before_anything_else_and_its_pings_are_answered() {
    let server = start(with_app(app()));
    let (mut first, second) = (Pusher::connect(server.address), Pusher::connect(server.address));
    let parts: Vec<&str> = first.socket_id.split('.').collect();
    assert!(parts.len() == 2 && parts.iter().all(|part| part.parse::<u64>().is_ok()), "{}", first.socket_id);
    assert_ne!(first.socket_id, second.socket_id);
    first.send("pusher:ping", json!({}));
    assert_eq!(first.next(), json!({"event": "pusher:pong", "data": "{}"}));
}

#[test]
fn a_prefix_ahead_of_the_path_and_a_slash_after_it_change_nothing() {
    let server = start(with_app(app()));
    for path in ["/app/app-key/", "/behind/a/proxy/app/app-key", "/app/app-key?protocol=5"] {
        assert!(
            text(&mut websocket(server.address, path)).contains("pusher:connection_established"),
            "{path}"
        );
    }
}

#[test]
fn a_client_that_is_refused_is_told_twice_after_the_handshake() {
    let disabled = App { is_enabled: false, ..App::new("2", "off", "s") };
    let full = App { max_connections: Some(1), ..App::new("3", "full", "s") };
    let origins = App { allow_origin: vec!["https://a.example".into()], ..App::new("4", "pages", "s") };
    let server = start(Config { apps: vec![app(), disabled, full, origins], ..config() });
    let _first = Pusher::connect_to(server.address, "full");
    for (path, code) in [
        ("/app/unknown?protocol=7", 4001),
        ("/app/off?protocol=7", 4003),
        ("/app/full?protocol=7", 4004),
        ("/app/app-key?protocol=seven", 4006),
        ("/app/app-key?protocol=3", 4007),
        ("/app/app-key?protocol=", 4008),
        ("/app/?protocol=7", 4005),
        ("/app", 4005),
        ("/app//app-key", 4005),
        ("/behind/app/app-key/more", 4005),
    ] {
        let mut client = websocket(server.address, path);
        let error: Value = serde_json::from_str(&text(&mut client)).unwrap();
        assert_eq!(
            (error["event"].as_str(), error["data"]["code"].as_u64()),
            (Some("pusher:error"), Some(code))
        );
        let frame = close_frame(&mut client).unwrap();
        assert_eq!(u64::from(u16::from(frame.code)), code, "{path}");
        assert_eq!(error["data"]["message"], frame.reason.as_str(), "{path}");
    }
    let fields = [("Origin", "https://b.example")];
    let (mut client, _) = handshake(server.address, "/app/pages?protocol=7", &fields).unwrap();
    assert!(text(&mut client).contains("4009"));
}

#[test]
fn an_event_reaches_every_subscriber_whether_it_is_published_by_a_request_or_a_handle() {
    let server = start(with_app(app()));
    let mut clients = [Pusher::connect(server.address), Pusher::connect(server.address)];
    for client in &mut clients {
        assert_eq!(client.subscribe("prices"), json!({}));
    }
    let answer = request(
        server.address,
        "POST",
        "/channels/prices?event=tick",
        "Content-Type: application/json\r\n",
        b"{\"p\":1}",
    );
    assert_eq!(answer.status, 200);
    for client in &mut clients {
        assert_eq!(client.next(), json!({"event": "tick", "channel": "prices", "data": "{\"p\":1}"}));
    }
}

#[test]
fn a_private_channel_needs_the_signature_of_the_apps_server() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    client.subscribe("private-a");
    client.send("pusher:subscribe", json!({"channel": "private-b", "auth": "app-key:00"}));
    let (channel, refusal) = client.expect("pusher:subscription_error");
    assert_eq!(
        (channel.as_str(), refusal["type"].as_str(), refusal["status"].as_u64()),
        ("private-b", Some("AuthError"), Some(401))
    );
    let (_, error) = client.expect("pusher:error");
    assert_eq!(error["code"], Value::Null);
    assert!(error["message"].as_str().unwrap().contains("private-b"), "{error}");
    client.has_nothing_more();
    for (channel, text) in [("private-b", "x"), ("private-a", "y")] {
        publish_draft(&server.handle, &Draft::text(channel, text).unwrap());
    }
    assert_eq!(client.expect("message"), ("private-a".into(), json!("y")));
}

#[test]
fn subscribe_and_unsubscribe_on_one_socket_are_done_in_order() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    for _ in 0..50 {
        client.ask_for("a");
        client.send("pusher:unsubscribe", json!({"channel": "a"}));
    }
    client.ask_for("a");
    for _ in 0..51 {
        client.expect("pusher_internal:subscription_succeeded");
    }
    client.has_nothing_more();
    publish(server.address, "a", "x");
    client.expect("message");
    client.ask_for("a");
    let (_, error) = client.expect("pusher:error");
    assert_eq!(error["message"], "Existing subscription to channel a");
    client.send("pusher:unsubscribe", json!({"channel": "b"}));
    let (_, error) = client.expect("pusher:error");
    assert_eq!(error["message"], "No current subscription to channel b, or subscription in progress");
}

#[test]
fn members_learn_of_each_other_and_a_user_with_two_connections_comes_and_goes_once() {
    let server = start(with_app(app()));
    let mut anna = Pusher::connect(server.address);
    let found = anna.join("presence-room", "anna");
    assert_eq!(found, json!({"presence": {"ids": ["anna"], "hash": {"anna": {"name": "anna"}}, "count": 1}}));
    let mut bert = [Pusher::connect(server.address), Pusher::connect(server.address)];
    assert_eq!(bert[0].join("presence-room", "bert")["presence"]["count"], 2);
    let (channel, added) = anna.expect("pusher_internal:member_added");
    assert_eq!(
        (channel.as_str(), added),
        ("presence-room", json!({"user_id": "bert", "user_info": {"name": "bert"}}))
    );
    assert_eq!(bert[1].join("presence-room", "bert")["presence"]["count"], 2);
    anna.has_nothing_more();
    bert[0].has_nothing_more();
    bert[0].send("pusher:unsubscribe", json!({"channel": "presence-room"}));
    bert[0].has_nothing_more();
    anna.has_nothing_more();
    let [_, second] = bert;
    drop(second);
    assert_eq!(anna.expect("pusher_internal:member_removed").1, json!({"user_id": "bert"}));
}

#[test]
fn a_full_presence_channel_refuses_the_next_user_and_not_a_member() {
    let server = start(with_app(App { max_members: 1, ..app() }));
    let mut anna = [Pusher::connect(server.address), Pusher::connect(server.address)];
    for connection in &mut anna {
        connection.join("presence-room", "anna");
    }
    let mut bert = Pusher::connect(server.address);
    let channel_data = r#"{"user_id":"bert"}"#;
    let auth = sign("app-secret", &format!("{}:presence-room:{channel_data}", bert.socket_id));
    bert.send(
        "pusher:subscribe",
        json!({"channel": "presence-room", "auth": format!("app-key:{auth}"), "channel_data": channel_data}),
    );
    let (_, refusal) = bert.expect("pusher:subscription_error");
    assert_eq!((refusal["type"].as_str(), refusal["status"].as_u64()), (Some("LimitReached"), Some(4004)));
    bert.expect("pusher:error");
    bert.has_nothing_more();
}

#[test]
fn a_client_event_reaches_the_others_as_it_was_sent_and_tells_who_sent_it() {
    let server = start(with_app(with_client_events()));
    let mut clients = [Pusher::connect(server.address), Pusher::connect(server.address)];
    clients[0].join("presence-room", "anna");
    clients[1].join("presence-room", "bert");
    clients[0].expect("pusher_internal:member_added");
    clients[0].send_text(r#"{"event":"client-typing","channel":"presence-room","data":{"at": 1.50}}"#);
    assert_eq!(
        text(&mut clients[1].client),
        r#"{"event":"client-typing","channel":"presence-room","data":{"at": 1.50},"user_id":"anna"}"#
    );
    clients[0].has_nothing_more();
}

#[test]
fn a_client_event_that_is_not_allowed_is_refused_and_the_connection_goes_on() {
    let client_event_rate = NonZeroU32::new(2).unwrap();
    let server = start(with_app(App { client_event_rate, ..with_client_events() }));
    let mut client = Pusher::connect(server.address);
    client.subscribe("public");
    client.subscribe("private-a");
    client.send_text(r#"{"event":"client-a","channel":"public","data":{}}"#);
    assert_eq!(client.expect("pusher:error").1["code"], Value::Null);
    for _ in 0..3 {
        client.send_text(r#"{"event":"client-a","channel":"private-a","data":{}}"#);
    }
    assert_eq!(client.expect("pusher:error").1["code"], 4301);
    client.has_nothing_more();
}

#[test]
fn a_cache_channel_has_its_last_event_for_new_subscribers() {
    let server = start(with_app(app()));
    let mut first = Pusher::connect(server.address);
    first.subscribe("cache-prices");
    assert_eq!(first.next(), json!({"event": "pusher:cache_miss", "channel": "cache-prices"}));
    publish(server.address, "cache-prices", "1");
    publish(server.address, "cache-prices", "2");
    assert_eq!((first.expect("message").1, first.expect("message").1), (json!(1), json!(2)));
    drop(first);
    let mut second = Pusher::connect(server.address);
    second.subscribe("cache-prices");
    assert_eq!(second.expect("message"), ("cache-prices".into(), json!(2)));
    second.has_nothing_more();
}

#[test]
fn subscribers_are_told_how_many_they_are_if_the_app_wants_it() {
    let server = start(with_app(App { subscription_count: true, ..app() }));
    let count = |client: &mut Pusher| {
        client.expect("pusher_internal:subscription_count").1["subscription_count"].as_u64()
    };
    let mut first = Pusher::connect(server.address);
    first.subscribe("a");
    assert_eq!(count(&mut first), Some(1));
    let mut second = Pusher::connect(server.address);
    second.subscribe("a");
    assert_eq!((count(&mut first), count(&mut second)), (Some(2), Some(2)));
    drop(second);
    assert_eq!(count(&mut first), Some(1));
    first.join("presence-a", "anna");
    first.has_nothing_more();
}

#[test]
fn a_signed_in_user_has_a_channel_of_its_own_and_watchers_learn_when_it_comes_and_goes() {
    let server = start(with_app(App { watchlist: true, ..app() }));
    let mut watcher = Pusher::connect(server.address);
    watcher.sign_in("cleo", &["anna", "bert"]);
    let events = watcher.expect("pusher_internal:watchlist_events").1;
    assert_eq!(events, json!({"events": [{"name": "offline", "user_ids": ["anna", "bert"]}]}));
    let mut anna = Pusher::connect(server.address);
    anna.sign_in("anna", &[]);
    let events = watcher.expect("pusher_internal:watchlist_events").1;
    assert_eq!(events, json!({"events": [{"name": "online", "user_ids": ["anna"]}]}));
    anna.send("pusher:subscribe", json!({"channel": "#server-to-user-anna", "auth": ""}));
    anna.expect("pusher_internal:subscription_succeeded");
    anna.send("pusher:subscribe", json!({"channel": "#server-to-user-cleo", "auth": ""}));
    anna.expect("pusher:subscription_error");
    drop(anna);
    let events = watcher.expect("pusher_internal:watchlist_events").1;
    assert_eq!(events, json!({"events": [{"name": "offline", "user_ids": ["anna"]}]}));
}

#[test]
fn a_connection_that_has_to_be_authorized_and_is_not_is_closed_in_time() {
    let server = start(with_app(App { authorized_within: Some(Duration::from_millis(300)), ..app() }));
    let (mut stranger, mut known) = (Pusher::connect(server.address), Pusher::connect(server.address));
    known.subscribe("private-a");
    assert_eq!(stranger.closed().0, 4009);
    known.has_nothing_more();
}

#[test]
fn apps_do_not_share_channels() {
    let server = start(Config { apps: vec![app(), App::new("2", "other", "s")], ..config() });
    let mut first = Pusher::connect(server.address);
    let mut second = Pusher::connect_to(server.address, "other");
    first.subscribe("news");
    second.subscribe("news");
    publish(server.address, "news", "x");
    first.expect("message");
    second.has_nothing_more();
}

#[test]
fn a_client_that_lags_too_far_is_closed_with_4100() {
    let server = start(Config { max_lag: 64 * 1024, lag_grace: Duration::ZERO, ..with_app(app()) });
    let path = "/app/app-key?protocol=7";
    let mut slow = stalled(server.address, path, &[]);
    text(&mut slow);
    slow.send(tungstenite::Message::text(r#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#)).unwrap();
    text(&mut slow);
    let long = "x".repeat(60_000);
    for _ in 0..200 {
        publish(server.address, "a", &long);
    }
    assert_eq!(u16::from(close_frame(&mut slow).unwrap().code), 4100);
}

#[test]
fn a_binary_message_and_one_that_is_no_json_are_answered() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    for text in ["", "hello", "[]", "{}", r#"{"event":1}"#, r#"{"event":"pusher:subscribe"}"#] {
        client.send_text(text);
        assert_eq!(client.expect("pusher:error").1["code"], Value::Null, "{text}");
    }
    client.client.send(tungstenite::Message::binary(vec![1, 2])).unwrap();
    client.expect("pusher:error");
    assert!(client.closed().0 > 0);
}

#[test]
fn a_channel_of_another_app_is_reached_by_its_identifier_and_an_unknown_one_is_not_found() {
    let server = start(Config { apps: vec![app(), App::new("2", "other", "s")], ..config() });
    let mut client = Pusher::connect_to(server.address, "other");
    client.subscribe("news");
    assert_eq!(request(server.address, "POST", "/channels/news?app=2", "", b"x").status, 200);
    client.expect("fanfare:binary");
    assert_eq!(request(server.address, "POST", "/channels/news?app=3", "", b"x").status, 404);
}

#[test]
fn private_and_presence_channels_are_closed_to_requests_without_the_key() {
    let open = start(with_app(app()));
    for name in ["private-a", "presence-a", "private-encrypted-a", "private-cache-a"] {
        for (method, fields) in [("POST", ""), ("GET", ""), ("GET", "Accept: text/event-stream\r\n")] {
            let answer = request(open.address, method, &format!("/channels/{name}"), fields, b"");
            assert_eq!(answer.status, 403, "{method} {name}");
        }
        assert!(handshake(open.address, &format!("/channels/{name}"), &[]).is_err());
    }
    let keyed = start(Config { apps: vec![app()], ..with_key() });
    let mut client = Pusher::connect(keyed.address);
    client.subscribe("private-a");
    let publish = |fields| request(keyed.address, "POST", "/channels/private-a", fields, b"x").status;
    assert_eq!((publish(""), publish("Authorization: Bearer secret\r\n")), (403, 200));
    client.expect("fanfare:binary");
}

#[test]
fn a_client_that_does_not_answer_a_ping_is_closed_with_4201() {
    let times = Config {
        idle_timeout: Duration::from_millis(50),
        pong_timeout: Duration::from_millis(50),
        close_timeout: Duration::from_millis(50),
        ..with_app(app())
    };
    let server = start(times);
    let mut silent = raw_websocket(server.address, "/app/app-key?protocol=7");
    let mut received = Vec::new();
    silent.read_to_end(&mut received).unwrap();
    let text = String::from_utf8_lossy(&received);
    assert!(text.contains("\"code\":4201"), "{text}");
    assert!(received.windows(2).any(|two| two == 4201_u16.to_be_bytes()), "the Close frame has it too");
}

/// The next events of a channel, as numbers.
fn numbers(client: &mut Pusher, count: usize) -> Vec<u64> {
    (0..count).map(|_| client.expect("message").1.as_u64().expect("a number")).collect()
}

#[test]
fn a_user_who_comes_back_is_sent_what_a_cache_channel_had_meanwhile_in_order() {
    let server = start(with_app(app()));
    let publish = |channel: &str, number: u64| {
        publish_draft(&server.handle, &Draft::text(channel, number.to_string()).unwrap());
    };
    for (channel, signs_in) in [("presence-cache-a", false), ("cache-b", true)] {
        let join = |client: &mut Pusher| {
            if signs_in {
                client.sign_in("anna", &[]);
                client.subscribe(channel);
            } else {
                client.join(channel, "anna");
            }
        };
        let mut first = Pusher::connect(server.address);
        join(&mut first);
        assert_eq!(first.next()["event"], "pusher:cache_miss");
        publish(channel, 1);
        assert_eq!(numbers(&mut first, 1), [1]);
        drop(first);
        for number in 2..=5 {
            publish(channel, number);
        }
        let mut second = Pusher::connect(server.address);
        join(&mut second);
        // The first one may have been under way when the connection ended.
        assert_eq!(numbers(&mut second, 5), [1, 2, 3, 4, 5], "{channel}");
        publish(channel, 6);
        assert_eq!(numbers(&mut second, 1), [6]);
        second.has_nothing_more();
    }
}

#[test]
fn a_stranger_and_a_user_who_left_by_unsubscribing_are_sent_the_last_event_alone() {
    let server = start(with_app(app()));
    let mut anna = Pusher::connect(server.address);
    anna.join("presence-cache-a", "anna");
    anna.next();
    for number in 1..=3 {
        publish_draft(&server.handle, &Draft::text("presence-cache-a", number.to_string()).unwrap());
    }
    assert_eq!(numbers(&mut anna, 3), [1, 2, 3]);
    anna.send("pusher:unsubscribe", json!({"channel": "presence-cache-a"}));
    anna.join("presence-cache-a", "anna");
    assert_eq!(numbers(&mut anna, 1), [3]);
    anna.has_nothing_more();
    let mut bert = Pusher::connect(server.address);
    bert.join("presence-cache-a", "bert");
    assert_eq!(numbers(&mut bert, 1), [3]);
    bert.has_nothing_more();
}

#[test]
fn watchers_are_told_of_a_user_that_changes_connections_in_the_order_of_the_changes() {
    let server = start(with_app(App { watchlist: true, ..app() }));
    let mut watchers: Vec<Pusher> = (0..40).map(|_| Pusher::connect(server.address)).collect();
    for (number, watcher) in watchers.iter_mut().enumerate() {
        watcher.sign_in(&format!("watcher-{number}"), &["anna"]);
        watcher.expect("pusher_internal:watchlist_events");
    }
    let mut anna = Pusher::connect(server.address);
    anna.sign_in("anna", &[]);
    for _ in 0..100 {
        // The old connection ends on one loop while the new one signs in on the other.
        let mut next = Pusher::connect(server.address);
        drop(anna);
        next.sign_in("anna", &[]);
        anna = next;
    }
    anna.sign_in("anna", &[]);
    for watcher in &mut watchers {
        let mut is_online = false;
        watcher.send("pusher:ping", json!({}));
        loop {
            let message = watcher.next();
            if message["event"] == "pusher:pong" {
                break;
            }
            let data: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
            let name = data["events"][0]["name"].as_str().unwrap();
            assert_eq!(name, if is_online { "offline" } else { "online" });
            is_online = !is_online;
        }
    }
}

#[test]
fn a_public_channel_that_the_rules_close_is_refused_and_a_private_one_is_the_apps_to_sign() {
    let rules = vec![(Glob::new("news*"), AuthRule::Open), (Glob::new("*"), AuthRule::Key)];
    let keys = vec![AccessKey::with_all_rights("default", "secret")];
    let server = start(Config { auth: rules, keys, ..with_app(app()) });
    let mut client = Pusher::connect(server.address);
    client.subscribe("news-1");
    for channel in ["chat", "cache-chat"] {
        client.ask_for(channel);
        let refused = client.next();
        assert_eq!(refused["event"], "pusher:subscription_error");
        assert_eq!((&refused["channel"], &refused["data"]["status"]), (&channel.into(), &403.into()));
        assert_eq!(client.next()["event"], "pusher:error");
    }
    client.join("presence-chat", "7");
    client.has_nothing_more();
}

#[test]
fn a_public_channel_that_a_reload_closes_ends_for_who_reads_it_and_other_channels_go_on() {
    let keys = vec![AccessKey::with_all_rights("default", "secret")];
    let before = Config { keys, ..with_app(app()) };
    let server = start(before.clone());
    let mut client = Pusher::connect(server.address);
    for channel in ["news-1", "alerts", "chat"] {
        client.subscribe(channel);
    }
    client.join("presence-chat", "7");
    let open = vec![(Glob::new("news*"), AuthRule::Open), (Glob::new("*"), AuthRule::Key)];
    server.handle.reload_access(&Config { auth: open, ..before }).unwrap();
    for channel in ["alerts", "chat"] {
        let refused = client.next();
        assert_eq!(refused["event"], "pusher:subscription_error");
        assert_eq!((&refused["channel"], &refused["data"]["status"]), (&channel.into(), &403.into()));
        assert_eq!(client.next()["event"], "pusher:error");
    }
    let fields = "Authorization: Bearer secret\r\nContent-Type: application/json\r\n";
    for channel in ["chat", "news-1"] {
        let path = format!("/channels/{channel}?event=tick");
        assert_eq!(request(server.address, "POST", &path, fields, b"1").status, 200);
    }
    assert_eq!(client.next(), json!({"event": "tick", "channel": "news-1", "data": "1"}));
    client.has_nothing_more();
}
