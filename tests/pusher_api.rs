//! The HTTP API of Pusher over real sockets: requests signed here by hand, and what subscribers and publishers get.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare::config::Config;
use fanfare::pusher::App;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use support::pusher::{Pusher, sign};
use support::pusher_http::{Session, messages};
use support::*;

fn app() -> App {
    App::new("1", "app-key", "app-secret")
}

fn with_app(app: App) -> Config {
    Config { apps: vec![app], ..config() }
}

/// A server's request: what is put into it, and what is made of it.
struct Call<'a> {
    method: &'a str,
    path: &'a str,
    /// Sorted, beginning with `&`, after those that each request has.
    parameters: &'a str,
    body: &'a str,
    key: &'a str,
    secret: &'a str,
    /// How far the clock of the machine is ahead.
    ahead_s: i64,
}

impl<'a> Call<'a> {
    fn post(path: &'a str, body: &'a str) -> Self {
        Self { method: "POST", path, parameters: "", body, key: "app-key", secret: "app-secret", ahead_s: 0 }
    }

    fn get(path: &'a str, parameters: &'a str) -> Self {
        Self { method: "GET", parameters, ..Self::post(path, "") }
    }

    /// The target with its signature.
    fn target(&self) -> String {
        let Self { method, path, parameters, body, key, secret, ahead_s } = self;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs() as i64
            + ahead_s;
        let digest: String = Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = if body.is_empty() { String::new() } else { format!("&body_md5={digest}") };
        let query = format!("auth_key={key}&auth_timestamp={now_s}&auth_version=1.0{digest}{parameters}");
        let signature = sign(secret, &format!("{method}\n{path}\n{query}"));
        format!("{path}?{query}&auth_signature={signature}")
    }

    fn bytes(&self) -> Vec<u8> {
        let length = match self.body {
            "" => String::new(),
            body => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
        };
        format!("{} {} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{}", self.method, self.target(), self.body)
            .into_bytes()
    }

    fn send(&self, address: SocketAddr) -> Answer {
        exchange(&mut connect(address), &self.bytes())
    }

    /// The answer, which has this status.
    fn refused(&self, address: SocketAddr, status: u16) -> String {
        let answer = self.send(address);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.head.contains("Content-Type: text/plain"), "{answer:?}");
        answer.body
    }

    /// The answer of a call that succeeds.
    fn done(&self, address: SocketAddr) -> Value {
        let answer = self.send(address);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("Content-Type: application/json\r\n"), "{answer:?}");
        serde_json::from_str(&answer.body).expect("it is JSON")
    }
}

const EVENTS: &str = "/apps/1/events";

/// Publishes an event.
fn trigger(address: SocketAddr, body: &Value) -> Value {
    Call::post(EVENTS, &body.to_string()).done(address)
}

/// The next message as it came.
fn raw(client: &mut Pusher) -> String {
    text(&mut client.client)
}

#[test]
fn an_event_reaches_the_subscribers_of_each_channel_with_its_data_as_the_string_that_it_was() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    client.subscribe("prices");
    client.subscribe("private-prices");
    let body =
        json!({"name": "tick", "channels": ["prices", "private-prices", "prices"], "data": r#"{"p": 1.50}"#});
    assert_eq!(trigger(server.address, &body), json!({}));
    let mut received = [raw(&mut client), raw(&mut client)];
    received.sort();
    assert_eq!(
        received,
        [
            r#"{"event":"tick","channel":"prices","data":"{\"p\": 1.50}"}"#,
            r#"{"event":"tick","channel":"private-prices","data":"{\"p\": 1.50}"}"#,
        ]
    );
    client.has_nothing_more();
}

#[test]
fn an_event_reaches_every_other_road_as_the_json_or_the_text_that_its_data_is() {
    let server = start(with_app(app()));
    let mut client = envelopes(server.address, "prices");
    let data = |client: &mut Client| serde_json::from_str::<Value>(&text(client)).unwrap();
    trigger(server.address, &json!({"name": "tick", "channel": "prices", "data": "{\"p\":1}"}));
    let message = data(&mut client);
    assert_eq!((&message["event"], &message["data"]), (&json!("tick"), &json!({"p": 1})));
    trigger(server.address, &json!({"name": "note", "channel": "prices", "data": "{not json"}));
    assert_eq!(data(&mut client)["data"], "{not json");
    trigger(server.address, &json!({"name": "empty", "channel": "prices", "data": ""}));
    assert_eq!(data(&mut client)["data"], "");
}

#[test]
fn the_connection_of_the_socket_id_gets_no_event_and_the_others_do() {
    let server = start(with_app(app()));
    let mut clients: Vec<_> = (0..4).map(|_| Pusher::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| drop(client.subscribe("a")));
    for at in 0..clients.len() {
        let socket_id = clients[at].socket_id.clone();
        trigger(server.address, &json!({"name": "e", "channel": "a", "data": "x", "socket_id": socket_id}));
        for (other, client) in clients.iter_mut().enumerate() {
            if other != at {
                assert_eq!(client.expect("e"), ("a".into(), json!("x")));
            }
            client.has_nothing_more();
        }
    }
    trigger(server.address, &json!({"name": "e", "channel": "a", "data": "x", "socket_id": "1.2"}));
    clients.iter_mut().for_each(|client| drop(client.expect("e")));
}

#[test]
fn a_batch_is_published_in_its_order_and_answered_in_it() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    client.subscribe("a");
    client.join("presence-b", "anna");
    let batch = json!({"batch": [
        {"name": "first", "channel": "a", "data": "1", "info": "subscription_count"},
        {"name": "second", "channel": "presence-b", "data": "2", "info": "user_count,subscription_count"},
        {"name": "third", "channel": "a", "data": "3"},
        {"name": "fourth", "channel": "nobody", "data": "4", "info": "subscription_count"},
    ]});
    let answer = Call::post("/apps/1/batch_events", &batch.to_string()).done(server.address);
    let both = json!({"user_count": 1, "subscription_count": 1});
    assert_eq!(answer, json!({"batch": [{"subscription_count": 1}, both, {}, {"subscription_count": 0}]}));
    let mut names: Vec<_> = (0..3).map(|_| client.next()["event"].as_str().unwrap().to_owned()).collect();
    names.retain(|name| name != "second");
    assert_eq!(names, ["first", "third"]);
    let batch = r#"{"batch":[{"name":"e","channel":"a","data":"x"}]}"#;
    assert_eq!(Call::post("/apps/1/batch_events", batch).done(server.address), json!({}));
}

#[test]
fn an_event_with_info_is_answered_with_what_each_channel_has() {
    let server = start(with_app(app()));
    let mut clients = [Pusher::connect(server.address), Pusher::connect(server.address)];
    clients[0].join("presence-a", "anna");
    clients[1].join("presence-a", "anna");
    clients[1].subscribe("b");
    let answer = trigger(
        server.address,
        &json!({"name": "e", "data": "x", "channels": ["presence-a", "b", "c"], "info": "user_count,subscription_count"}),
    );
    assert_eq!(
        answer,
        json!({"channels": {
            "presence-a": {"user_count": 1, "subscription_count": 2},
            "b": {"subscription_count": 1},
            "c": {"subscription_count": 0},
        }})
    );
}

#[test]
fn the_channels_of_an_app_are_listed_by_prefix_with_their_users() {
    let server = start(Config { apps: vec![app(), App::new("2", "other", "s")], ..config() });
    let mut client = Pusher::connect(server.address);
    client.subscribe("b");
    client.subscribe("a");
    client.sign_in("anna", &[]);
    client.send("pusher:subscribe", json!({"channel": "#server-to-user-anna", "auth": ""}));
    client.expect("pusher_internal:subscription_succeeded");
    client.join("presence-room", "anna");
    let mut other = Pusher::connect_to(server.address, "other");
    other.subscribe("c");
    let list =
        |parameters| Call::get("/apps/1/channels", parameters).done(server.address)["channels"].clone();
    assert_eq!(list(""), json!({"a": {}, "b": {}, "presence-room": {}}));
    assert_eq!(
        list("&filter_by_prefix=presence-&info=user_count"),
        json!({"presence-room": {"user_count": 1}})
    );
    assert_eq!(list("&filter_by_prefix=x"), json!({}));
    let call =
        Call { key: "other", secret: "s", ..Call::get("/apps/2/channels", "&info=subscription_count") };
    assert_eq!(call.done(server.address), json!({"channels": {"c": {"subscription_count": 1}}}));
    let refused = Call::get("/apps/1/channels", "&info=user_count").refused(server.address, 400);
    assert!(refused.starts_with("The attribute user_count is for presence channels only"), "{refused}");
}

#[test]
fn a_channel_says_whether_it_is_occupied_how_many_subscribe_and_what_it_keeps() {
    let server = start(with_app(app()));
    let channel = |name: &str, info: &str| {
        Call::get(&format!("/apps/1/channels/{name}"), &format!("&info={info}")).done(server.address)
    };
    assert_eq!(channel("cache-a", "cache"), json!({"occupied": false, "cache": null}));
    trigger(server.address, &json!({"name": "e", "channel": "cache-a", "data": "kept"}));
    let answer = channel("cache-a", "cache,subscription_count");
    assert_eq!((&answer["occupied"], &answer["subscription_count"]), (&json!(false), &json!(0)));
    assert_eq!(answer["cache"]["data"], "kept");
    let ttl = answer["cache"]["ttl"].as_u64().unwrap();
    assert!((1700..=1800).contains(&ttl), "{ttl}");
    let mut client = Pusher::connect(server.address);
    client.subscribe("cache-a");
    assert_eq!(client.expect("e").1, "kept");
    assert_eq!(channel("cache-a", "subscription_count"), json!({"occupied": true, "subscription_count": 1}));
    client.join("presence-a", "anna");
    assert_eq!(channel("presence-a", "user_count"), json!({"occupied": true, "user_count": 1}));
    let stats = Call::get("/apps/1/channels/presence-a/stats", "").done(server.address);
    assert_eq!(stats, json!({"occupied": true, "user_count": 1, "connection_count": 1}));
}

#[test]
fn the_users_of_a_presence_channel_are_listed_each_once() {
    let server = start(with_app(app()));
    let mut clients: Vec<_> = (0..3).map(|_| Pusher::connect(server.address)).collect();
    clients[0].join("presence-a", "bert");
    clients[1].join("presence-a", "anna");
    clients[2].join("presence-a", "bert");
    let users = |name: &str| Call::get(&format!("/apps/1/channels/{name}/users"), "").done(server.address);
    assert_eq!(users("presence-a"), json!({"users": [{"id": "anna"}, {"id": "bert"}]}));
    assert_eq!(users("presence-b"), json!({"users": []}));
    let refused = Call::get("/apps/1/channels/a/users", "").refused(server.address, 400);
    assert_eq!(refused, "Only presence channels have users.\n");
}

#[test]
fn the_connections_of_a_user_are_closed_and_no_others() {
    let server = start(with_app(app()));
    let mut clients: Vec<_> = (0..3).map(|_| Pusher::connect(server.address)).collect();
    clients[0].sign_in("anna", &[]);
    clients[1].sign_in("anna", &[]);
    clients[2].sign_in("bert", &[]);
    let path = "/apps/1/users/anna/terminate_connections";
    assert_eq!(Call::post(path, "{}").done(server.address), json!({}));
    let (first, rest) = clients.split_at_mut(1);
    assert_eq!((first[0].closed().0, rest[0].closed().0), (4009, 4009));
    rest[1].has_nothing_more();
    assert_eq!(Call::post("/users/bert/terminate_connections", "{}").done(server.address), json!({}));
    assert_eq!(rest[1].closed().0, 4009);
    assert_eq!(Call::post(path, "").done(server.address), json!({}), "nobody is left");
}

#[test]
fn a_client_over_http_requests_is_left_out_by_its_socket_id_and_ended_with_its_user() {
    let server = start(with_app(app()));
    let session = Session::new(server.address);
    let mut polls = session.polls();
    assert_eq!(polls.poll(), "o{}\n");
    let established = messages(&polls.poll());
    let data: Value = serde_json::from_str(established[0]["data"].as_str().unwrap()).unwrap();
    let socket_id = data["socket_id"].as_str().unwrap();
    let user_data = r#"{"id":"anna"}"#;
    let auth = format!("app-key:{}", sign("app-secret", &format!("{socket_id}::user::{user_data}")));
    let sign_in = json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}});
    let subscribe = json!({"event": "pusher:subscribe", "data": {"channel": "a"}});
    assert_eq!(session.post(&[sign_in, subscribe]), 204);
    assert_eq!(messages(&polls.poll()).len(), 2);
    let event = json!({"name": "own", "channel": "a", "data": "x", "socket_id": socket_id});
    trigger(server.address, &event);
    trigger(server.address, &json!({"name": "other", "channel": "a", "data": "x"}));
    assert_eq!(messages(&polls.poll()), [json!({"event": "other", "channel": "a", "data": "x"})]);
    Call::post("/apps/1/users/anna/terminate_connections", "{}").done(server.address);
    let said = polls.poll();
    assert!(said.contains("4009"), "{said}");
}

#[test]
fn an_event_reaches_a_user_by_the_channel_of_the_user() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    client.sign_in("anna", &[]);
    client.send("pusher:subscribe", json!({"channel": "#server-to-user-anna", "auth": ""}));
    client.expect("pusher_internal:subscription_succeeded");
    trigger(server.address, &json!({"name": "e", "channels": ["#server-to-user-anna"], "data": "x"}));
    assert_eq!(client.expect("e"), ("#server-to-user-anna".into(), json!("x")));
}

#[test]
fn the_deprecated_event_is_accepted_with_202_and_delivered() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    client.subscribe("a");
    let call = Call { parameters: "&name=e", ..Call::post("/apps/1/channels/a/events", r#"{"x":1}"#) };
    let answer = call.send(server.address);
    assert_eq!((answer.status, answer.body.as_str()), (202, "{}"));
    assert_eq!(client.expect("e"), ("a".into(), json!({"x": 1})));
}

#[test]
fn apps_publish_to_channels_of_their_own() {
    let server = start(Config { apps: vec![app(), App::new("2", "other", "s")], ..config() });
    let mut first = Pusher::connect(server.address);
    let mut second = Pusher::connect_to(server.address, "other");
    first.subscribe("a");
    second.subscribe("a");
    let body = r#"{"name":"e","channel":"a","data":"x"}"#;
    let call = Call { key: "other", secret: "s", ..Call::post("/apps/2/events", body) };
    call.done(server.address);
    assert_eq!(second.expect("e"), ("a".into(), json!("x")));
    first.has_nothing_more();
    let of_another = Call { key: "other", secret: "s", ..Call::post(EVENTS, body) };
    let refused = of_another.refused(server.address, 401);
    assert_eq!(refused, "Invalid key: the auth_key \"other\" is not that of app \"1\".\n");
}

#[test]
fn a_request_that_is_not_signed_well_learns_what_to_sign_and_nothing_is_published() {
    let server = start(with_app(app()));
    let mut client = Pusher::connect(server.address);
    client.subscribe("a");
    let call = Call::post(EVENTS, r#"{"name":"e","channel":"a","data":"x"}"#);
    let refused = Call { secret: "another", ..call }.refused(server.address, 401);
    assert!(
        refused.starts_with(
            r#"Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/1/events\nauth_key=app-key&auth_timestamp="#
        ),
        "{refused}"
    );
    let call = Call::post(EVENTS, r#"{"name":"e","channel":"a","data":"x"}"#);
    let refused = Call { ahead_s: -3600, ..call }.refused(server.address, 401);
    assert!(refused.starts_with("Timestamp expired: Given timestamp (20"), "{refused}");
    assert!(refused.contains("it is 360"), "{refused}");
    let answer = request(server.address, "POST", EVENTS, "", b"{}");
    assert_eq!(answer.status, 401);
    assert!(answer.body.starts_with("Missing parameter: auth_key"), "{answer:?}");
    client.has_nothing_more();
}

#[test]
fn apps_that_are_unknown_or_disabled_and_paths_that_name_nothing_are_refused() {
    let disabled = App { is_enabled: false, ..App::new("2", "off", "s") };
    let server = start(Config { apps: vec![app(), disabled], ..config() });
    let refused = Call::get("/apps/3/channels", "").refused(server.address, 404);
    assert_eq!(refused, "Unknown app: none has the id \"3\".\n");
    let by_key = Call { key: "nobody", ..Call::post("/users/u/terminate_connections", "{}") };
    assert_eq!(by_key.refused(server.address, 401), "Invalid key: no app has the auth_key \"nobody\".\n");
    let off = Call { key: "off", secret: "s", ..Call::get("/apps/2/channels", "") };
    assert_eq!(off.refused(server.address, 403), "The app is disabled by the configuration of the server.\n");
    assert!(Call::get("/apps/1/nothing", "").refused(server.address, 404).starts_with("No such endpoint"));
    let answer = Call::get(EVENTS, "").send(server.address);
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("\r\nAllow: POST"), "{answer:?}");
    let answer = request(server.address, "PUT", "/apps/1/channels", "", b"");
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("\r\nAllow: GET"), "{answer:?}");
    let answer = request(server.address, "OPTIONS", EVENTS, "", b"");
    assert_eq!(answer.status, 204);
    assert!(answer.head.contains("\r\nAllow: POST, OPTIONS\r\n"), "{answer:?}");
}

#[test]
fn a_refused_request_leaves_its_connection_open_and_what_is_too_long_to_read_does_not() {
    let server = start(with_app(app()));
    let mut stream = connect(server.address);
    let long = "x".repeat(10_241);
    let body = json!({"name": "e", "channel": "a", "data": long}).to_string();
    let answer = exchange(&mut stream, &Call::post(EVENTS, &body).bytes());
    assert_eq!(answer.status, 413);
    assert!(
        answer.body.starts_with("The data content of this event exceeds the allowed maximum (10240 bytes)"),
        "{answer:?}"
    );
    let answer = exchange(&mut stream, &Call::post(EVENTS, "{}").bytes());
    assert_eq!((answer.status, answer.body.as_str()), (400, "Missing required parameter: name.\n"));
    let body = r#"{"name":"e","channel":"a","data":"x"}"#;
    let two = [Call::post(EVENTS, body).bytes(), Call::get("/apps/1/channels", "").bytes()].concat();
    stream.write_all(&two).unwrap();
    assert_eq!(read_answer(&mut stream).body, "{}");
    assert_eq!(read_answer(&mut stream).body, r#"{"channels":{}}"#);
    let target = Call::post(EVENTS, body).target();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n");
    let answer = exchange(&mut stream, head.as_bytes());
    assert_eq!(answer.status, 413);
    assert!(
        answer.body.starts_with("The body exceeds") && answer.head.contains("\r\nConnection: close"),
        "{answer:?}"
    );
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n");
    let answer = exchange(&mut connect(server.address), head.as_bytes());
    assert_eq!(answer.status, 413);
    assert!(answer.body.starts_with("The body exceeds"), "{answer:?}");
}

#[test]
fn nobody_has_the_server_read_a_body_that_is_not_signed() {
    let server = start(with_app(app()));
    let call = Call { secret: "another", ..Call::post(EVENTS, "{}") };
    let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n", call.target());
    let mut stream = connect(server.address);
    let answer = exchange(&mut stream, head.as_bytes());
    assert_eq!(answer.status, 401);
    assert!(answer.head.contains("\r\nConnection: close"), "{answer:?}");
    let call = Call::post(EVENTS, r#"{"name":"e"}"#);
    let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}", call.target());
    let answer = exchange(&mut connect(server.address), head.as_bytes());
    assert_eq!(answer.status, 401);
    assert!(answer.body.starts_with("Invalid body_md5: you should have sent 9991"), "{answer:?}");
}

#[test]
fn a_body_may_come_in_chunks_and_after_an_expectation() {
    let server = start(with_app(app()));
    let body = r#"{"name":"e","channel":"a","data":"x"}"#;
    let target = Call::post(EVENTS, body).target();
    let (first, second) = body.split_at(10);
    let chunked = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
         a\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        second.len()
    );
    assert_eq!(exchange(&mut connect(server.address), chunked.as_bytes()).status, 200);
    let mut stream = connect(server.address);
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    assert_eq!(exchange(&mut stream, head.as_bytes()).status, 100);
    assert_eq!(exchange(&mut stream, body.as_bytes()).status, 200);
}

#[test]
fn an_app_that_publishes_more_than_it_may_is_told_when_to_come_again() {
    let server = start(with_app(App { event_rate: NonZeroU32::new(1), ..app() }));
    let body = r#"{"name":"e","channels":["a","b","c","d","e","f","g","h","i","j"],"data":"x"}"#;
    Call::post(EVENTS, body).done(server.address);
    let answer = Call::post(EVENTS, body).send(server.address);
    assert_eq!(answer.status, 429);
    let retry_s = answer.head.lines().find_map(|line| line.strip_prefix("Retry-After: ")).unwrap();
    assert!((1..=10).contains(&retry_s.parse::<u64>().unwrap()), "{answer:?}");
    assert!(answer.body.starts_with("Too many events: this app may publish 1 a second"), "{answer:?}");
    Call::get("/apps/1/channels", "").done(server.address);
}

#[test]
fn a_new_secret_and_the_old_one_sign_beside_each_other() {
    let secrets = vec!["new".to_owned(), "app-secret".to_owned()];
    let server = start(with_app(App { secrets, ..app() }));
    for secret in ["new", "app-secret"] {
        Call { secret, ..Call::get("/apps/1/channels", "") }.done(server.address);
    }
}

#[test]
fn calls_are_counted() {
    let server = start(with_metrics(with_app(app())));
    let mut scraper = metrics::Scraper::new(server.metrics.unwrap());
    trigger(server.address, &json!({"name": "e", "channels": ["a", "b"], "data": "x"}));
    Call::get("/apps/1/channels", "").done(server.address);
    Call { secret: "another", ..Call::get("/apps/1/channels", "") }.refused(server.address, 401);
    let (published, unauthorized) = ("fanfare_publishes_total", metrics::refusals("unauthorized"));
    scraper.settles(&[(published, 2), (&unauthorized, 1)]);
    scraper.settles(&[
        ("fanfare_pusher_calls_total{call=\"events\"}", 1),
        ("fanfare_pusher_calls_total{call=\"channels\"}", 1),
        ("fanfare_pusher_calls_total{call=\"users\"}", 0),
    ]);
}
