//! Who is in a channel, over real sockets: who counts on which transport and for how long, who is told of it and when, and
//! that what is told sums up to the truth.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare::config::{AccessKey, AuthRule, Config, Glob, PresenceRule};
use fanfare::server::Draft;
use fanfare::token::{Key, Keys};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::event_stream::Events;
use support::metrics::Scraper;
use support::multiplex::*;
use support::*;
use tungstenite::Message;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Tells who is in `chat*` and how many are in `count*`, to those whose token names them; `open*` is open to everybody.
fn told() -> Config {
    let mut token_keys = Keys::default();
    token_keys.push(Key::secret("k", SECRET).unwrap()).unwrap();
    Config {
        keys: vec![AccessKey::with_all_rights("default", "secret")],
        token_keys,
        auth: vec![(Glob::new("open*"), AuthRule::Open)],
        presence: vec![
            (Glob::new("chat*"), PresenceRule::Members),
            (Glob::new("open*"), PresenceRule::Members),
            (Glob::new("count*"), PresenceRule::Count),
        ],
        // Nobody is asked for a sign of life: a client of a machine under load reads late.
        idle_timeout: Duration::from_secs(3600),
        ..config()
    }
}

fn token_with(sub: &str, fanfare: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": sub, "iat": now, "exp": now + 600, "fanfare": fanfare});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A token for everything, of a user with a name.
fn token(sub: &str) -> String {
    token_with(sub, json!({"subscribe": ["*"], "presence": ["*"], "info": {"name": sub.to_uppercase()}}))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A client of `/channels` with this user's token.
fn client(address: SocketAddr, sub: &str) -> Client {
    client_with(address, &token(sub))
}

/// A client of `/channels` with this token.
fn client_with(address: SocketAddr, token: &str) -> Client {
    let mut client = multiplex_with(address, "/channels", &[("Authorization", &bearer(token))]);
    assert_eq!(next(&mut client)["event"], "fanfare:authorized");
    client
}

/// Subscribes to a channel and to who is there: the answer.
fn watch(client: &mut Client, channel: &str) -> Value {
    let wanted =
        json!({"event": "fanfare:subscribe", "ref": 1, "data": [{"channel": channel, "presence": true}]});
    say(client, &wanted.to_string());
    next(client)
}

/// Who is there, as the HTTP API has it.
fn presence(address: SocketAddr, channel: &str) -> Value {
    let path = format!("/channels/{channel}/presence");
    let answer = request(address, "GET", &path, "Authorization: Bearer secret\r\n", b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn subs(members: &Value) -> Vec<&str> {
    members.as_array().unwrap().iter().map(|member| member["sub"].as_str().unwrap()).collect()
}

/// A client that is told who is there, and what it makes of it.
struct Watcher {
    client: Client,
    members: BTreeMap<String, Value>,
    count: u64,
    anonymous: u64,
    since: String,
    /// How many changes it was told.
    changes: usize,
}

impl Watcher {
    fn new(address: SocketAddr, sub: &str, channel: &str) -> Self {
        let mut client = client(address, sub);
        assert_eq!(watch(&mut client, channel)["event"], "fanfare:subscribed");
        let first = next(&mut client);
        assert_eq!((&first["event"], &first["channel"]), (&"fanfare:presence".into(), &channel.into()));
        let data = &first["data"];
        let mut watcher = Self {
            client,
            members: BTreeMap::new(),
            count: 0,
            anonymous: 0,
            since: data["since"].as_str().unwrap().to_owned(),
            changes: 0,
        };
        watcher.add(&data["members"]);
        watcher.note_totals(data);
        watcher
    }

    fn add(&mut self, members: &Value) {
        for member in members.as_array().unwrap() {
            self.members.insert(member["sub"].as_str().unwrap().to_owned(), member["info"].clone());
        }
    }

    fn note_totals(&mut self, data: &Value) {
        self.count = data["count"].as_u64().unwrap();
        self.anonymous = data["anonymous"].as_u64().unwrap();
        assert_eq!(self.members.len() as u64, self.count, "{data}");
    }

    /// Reads one change.
    fn change(&mut self) -> Value {
        let change = next(&mut self.client);
        assert_eq!(change["event"], "fanfare:presence", "{change}");
        let (epoch, sequence) = self.since.split_once('-').unwrap();
        let follows = format!("{epoch}-{}", sequence.parse::<u64>().unwrap() + 1);
        assert_eq!(change["id"], *follows, "no hole, and nothing twice");
        self.since = follows;
        self.changes += 1;
        let data = &change["data"];
        self.add(&data["joined"]);
        for sub in data["left"].as_array().unwrap() {
            self.members.remove(sub.as_str().unwrap());
        }
        self.note_totals(data);
        change
    }

    /// Reads changes until this is so.
    fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            self.change();
        }
    }
}

#[test]
fn who_joins_is_told_who_is_there_and_then_who_comes_and_goes() {
    let server = start(told());
    let mut ada = client(server.address, "ada");
    assert_eq!(watch(&mut ada, "chat-7")["data"].get("presence"), None);
    let first = next(&mut ada);
    let since = first["data"]["since"].as_str().unwrap().to_owned();
    let members = json!([{"sub": "ada", "info": {"name": "ADA"}, "connections": 1}]);
    assert_eq!(
        first,
        json!({"event": "fanfare:presence", "channel": "chat-7",
            "data": {"members": members, "count": 1, "anonymous": 0, "since": since}})
    );
    let mut bob = client(server.address, "bob");
    subscribe(&mut bob, "chat-7");
    let text = text(&mut ada);
    let beginning = format!(
        r#"{{"channel":"chat-7","id":"{}1","event":"fanfare:presence","data":{{"joined":[{{"sub":"bob","info":{{"name":"BOB"}}}}],"#,
        since.strip_suffix('0').unwrap()
    );
    assert!(text.starts_with(&beginning), "{text}");
    assert!(text.ends_with(r#""left":[],"count":2,"anonymous":0}}"#), "{text}");
    drop(bob);
    let gone = next(&mut ada);
    assert_eq!((&gone["data"]["left"], &gone["data"]["count"]), (&json!(["bob"]), &json!(1)));
    say(&mut ada, r#"{"event":"fanfare:presence","ref":4,"data":{"channel":"chat-7"}}"#);
    assert_eq!(
        next(&mut ada),
        json!({"event": "fanfare:presence", "channel": "chat-7", "ref": 4,
            "data": {"members": members, "count": 1, "anonymous": 0}})
    );
}

#[test]
fn two_tabs_are_one_member_and_a_page_that_is_loaded_again_was_never_away() {
    let server = start(told());
    let mut watcher = Watcher::new(server.address, "ada", "chat-7");
    let mut tabs: Vec<Client> = ["bob", "bob", "dave"].map(|sub| client(server.address, sub)).into();
    for tab in &mut tabs {
        subscribe(tab, "chat-7");
    }
    watcher.until(|watcher| watcher.count == 3);
    let there = presence(server.address, "chat-7");
    assert_eq!(subs(&there["members"]), ["ada", "bob", "dave"]);
    assert_eq!((&there["members"][1]["connections"], &there["count"]), (&json!(2), &json!(3)));
    // Both tabs are closed, then the other user's; one page is loaded again.
    let mut again = client(server.address, "bob");
    for tab in tabs {
        drop(tab);
    }
    until("the server has noticed", || {
        let there = presence(server.address, "chat-7");
        (there["members"][1]["connections"] == 0 && there["members"][2]["connections"] == 0).then_some(())
    });
    subscribe(&mut again, "chat-7");
    // Who left after that is gone, and nothing was told before.
    let change = watcher.change();
    assert_eq!((&change["data"]["joined"], &change["data"]["left"]), (&json!([]), &json!(["dave"])));
    assert_eq!(watcher.count, 2);
}

#[test]
fn every_transport_counts_and_nobody_is_told_who_did_not_ask() {
    let server = start(told());
    let field = format!("Authorization: {}\r\n", bearer(&token("sse")));
    let mut stream = Events::open(server.address, "/channels/chat-7", &field).begun();
    let credentials = bearer(&token("ws"));
    let fields = [("Authorization", &*credentials), ("Sec-WebSocket-Protocol", "fanfare.v1.json")];
    let (mut websocket, _) = handshake(server.address, "/channels/chat-7", &fields).unwrap();
    assert_eq!(next(&mut websocket)["event"], "fanfare:authorized");
    let poll = format!(
        "GET /channels/chat-7?wait=60 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\r\n",
        bearer(&token("poll"))
    );
    let mut poller = connect(server.address);
    std::io::Write::write_all(&mut poller, poll.as_bytes()).unwrap();
    let unnamed =
        Events::open(server.address, "/channels/chat-7", "Authorization: Bearer secret\r\n").begun();
    let there = until("all are there", || {
        let there = presence(server.address, "chat-7");
        (there["count"] == 3).then_some(there)
    });
    assert_eq!(subs(&there["members"]), ["poll", "sse", "ws"]);
    assert_eq!(there["anonymous"], 1);
    let watcher = Watcher::new(server.address, "ada", "chat-7");
    assert_eq!(watcher.count, 4);
    let field = "Authorization: Bearer secret\r\nContent-Type: text/plain\r\n";
    assert_eq!(request(server.address, "POST", "/channels/chat-7", field, b"hi").status, 200);
    assert_eq!(stream.next().unwrap().data, "hi");
    assert_eq!(next(&mut websocket)["data"], "hi");
    assert!(read_answer(&mut poller).body.contains(r#""data":"hi""#));
    // The poller may come back.
    assert_eq!(presence(server.address, "chat-7")["count"], 4);
    drop((unnamed, watcher));
}

#[test]
fn a_reader_of_a_stream_of_several_channels_is_told_too_and_its_positions_are_those_of_the_channels() {
    let server = start(told());
    let field = format!("Authorization: {}\r\n", bearer(&token("ada")));
    let path = "/channels?channel=chat-7&presence=1&channel=chat-8";
    let mut stream = Events::open(server.address, path, &field);
    let blocks: Vec<Value> =
        (0..3).map(|_| serde_json::from_str(&stream.next().unwrap().data).unwrap()).collect();
    let seen: Vec<_> = blocks.iter().map(|block| (&block["event"], &block["channel"])).collect();
    let [subscribed, told] = [json!("fanfare:subscribed"), json!("fanfare:presence")];
    let [seven, eight] = [json!("chat-7"), json!("chat-8")];
    assert_eq!(seen, [(&subscribed, &seven), (&told, &seven), (&subscribed, &eight)]);
    let ids = stream.last_id.clone();
    assert_eq!(ids.split(',').count(), 2, "{ids}");
    let mut bob = client(server.address, "bob");
    subscribe(&mut bob, "chat-7");
    let change: Value = serde_json::from_str(&stream.next().unwrap().data).unwrap();
    assert_eq!((&change["event"], &change["channel"]), (&told, &seven));
    assert_eq!(subs(&change["data"]["joined"]), ["bob"]);
    assert_eq!(stream.last_id, ids, "nothing was published");
}

#[test]
fn a_client_that_has_no_right_or_asks_where_nobody_is_told_is_subscribed_and_told_that() {
    let server = start(told());
    let mut eve = client_with(server.address, &token_with("eve", json!({"subscribe": ["*"]})));
    assert_eq!(watch(&mut eve, "chat-7")["data"]["presence"], false);
    say(&mut eve, r#"{"event":"fanfare:presence","ref":2,"data":{"channel":"chat-7"}}"#);
    assert_eq!(fault(&next(&mut eve)), ("forbidden", 403));
    let mut ada = client(server.address, "ada");
    assert_eq!(watch(&mut ada, "news")["data"]["presence"], false);
    say(&mut ada, r#"{"event":"fanfare:presence","ref":2,"data":{"channel":"news"}}"#);
    let answer = next(&mut ada);
    assert_eq!(fault(&answer), ("forbidden", 403));
    let sentence = "Nobody is told who is in channel news: no --presence of the server names it.";
    assert_eq!(answer["data"]["message"], sentence);
}

#[test]
fn who_asks_over_http_needs_the_right_and_learns_where_nobody_is_told() {
    let server = start(told());
    let ask = |channel: &str, token: &str| {
        let field =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let answer = request(server.address, "GET", &format!("/channels/{channel}/presence"), &field, b"");
        (answer.status, answer.body)
    };
    let empty = "{\"members\":[],\"count\":0,\"anonymous\":0}\n".to_owned();
    assert_eq!(ask("chat-7", "secret"), (200, empty.clone()));
    assert_eq!(ask("chat-7", &token("ada")), (200, empty.clone()));
    assert_eq!(ask("open-7", ""), (200, empty));
    assert_eq!(ask("count-7", "secret").1, "{\"members\":null,\"count\":0,\"anonymous\":0}\n");
    assert_eq!(ask("chat-7", "").0, 401);
    assert_eq!(ask("chat-7", &token_with("eve", json!({"subscribe": ["*"]}))).0, 403);
    let (status, sentence) = ask("news", "secret");
    assert_eq!(
        (status, sentence.contains("no --presence of the server names it.")),
        (404, true),
        "{sentence}"
    );
}

#[test]
fn after_an_unsubscription_nobody_is_told_any_more() {
    let server = start(told());
    let mut watcher = Watcher::new(server.address, "ada", "chat-7");
    say(&mut watcher.client, r#"{"event":"fanfare:unsubscribe","ref":1,"data":["chat-7"]}"#);
    assert_eq!(next(&mut watcher.client)["event"], "fanfare:unsubscribed");
    let mut bob = Watcher::new(server.address, "bob", "chat-7");
    // It has left 5 s later, and is the first that anybody is told of.
    let left = bob.change();
    assert_eq!(left["data"]["left"], json!(["ada"]));
    subscribe(&mut watcher.client, "chat-7");
    bob.until(|bob| bob.members.contains_key("ada"));
    say(&mut watcher.client, r#"{"event":"fanfare:presence","ref":9,"data":{"channel":"chat-7"}}"#);
    assert_eq!(next(&mut watcher.client)["ref"], 9, "and nothing before it");
}

#[test]
fn who_brings_a_token_is_there_by_its_name_and_who_loses_the_right_is_told_no_more() {
    let server = start(told());
    let mut watcher = Watcher::new(server.address, "ada", "open-7");
    let mut bob = multiplex(server.address);
    subscribe(&mut bob, "open-7");
    watcher.until(|watcher| watcher.anonymous == 1);
    say(&mut bob, &json!({"event": "fanfare:authorize", "data": {"token": token("bob")}}).to_string());
    assert_eq!(next(&mut bob)["event"], "fanfare:authorized");
    watcher.until(|watcher| watcher.members.contains_key("bob"));
    assert_eq!(watcher.anonymous, 0, "it did not leave and come");
    // The watcher goes on in a channel that is not open, and brings a token that only reads.
    let mut eve = Watcher::new(server.address, "eve", "chat-7");
    let reads_only = token_with("eve", json!({"subscribe": ["*"]}));
    say(&mut eve.client, &json!({"event": "fanfare:authorize", "data": {"token": reads_only}}).to_string());
    assert_eq!(next(&mut eve.client)["event"], "fanfare:authorized");
    let told = next(&mut eve.client);
    assert_eq!((&told["event"], &told["channel"]), (&"fanfare:subscribed".into(), &"chat-7".into()));
    assert_eq!(told["data"]["presence"], false);
    let mut carol = client(server.address, "carol");
    subscribe(&mut carol, "chat-7");
    let hello = json!({"channel": "chat-7", "data": "hello"});
    let fields = "Authorization: Bearer secret\r\nContent-Type: application/json\r\n";
    request(server.address, "POST", "/channels/chat-7", fields, hello["data"].to_string().as_bytes());
    assert_eq!(next(&mut eve.client)["data"], "hello", "it reads the channel, and is not told of others");
}

#[test]
fn a_companion_is_in_no_list_and_no_client_reaches_it() {
    let server = start(with_metrics(told()));
    let _watcher = Watcher::new(server.address, "ada", "chat-7");
    let fields = "Authorization: Bearer secret\r\n";
    for name in ["%23presence%2Fchat-7", "%23presence"] {
        let path = format!("/channels/{name}");
        assert_eq!(request(server.address, "GET", &path, fields, b"").status, 400);
    }
    let mut eve = client(server.address, "eve");
    say(&mut eve, r##"{"event":"fanfare:subscribe","data":[{"channel":"#presence/chat-7"}]}"##);
    assert_eq!(fault(&next(&mut eve)).1, 400);
    Scraper::new(server.metrics.unwrap()).settles(&[("fanfare_channels", 1)]);
}

#[test]
fn who_is_lost_without_a_word_counts_until_the_ping_is_not_answered() {
    let (idle_timeout, pong_timeout) = (Duration::from_millis(300), Duration::from_secs(3));
    let server = start(Config { idle_timeout, pong_timeout, ..told() });
    let mut ada = client(server.address, "ada");
    watch(&mut ada, "open-7");
    let mut lost = raw_websocket(server.address, "/channels/open-7");
    let there = until("it is there", || {
        let there = presence(server.address, "open-7");
        (there["anonymous"] == 1).then_some(there)
    });
    assert_eq!(there["count"], 1);
    // It reads nothing, and so answers no ping; the other does both.
    loop {
        match ada.read().unwrap() {
            Message::Text(text) if text.contains("fanfare:presence") => {
                let said: Value = serde_json::from_str(&text).unwrap();
                if said.get("id").is_some() && said["data"]["anonymous"] == 0 {
                    break;
                }
            }
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let _ = rest(&mut lost);
}

#[test]
fn what_is_told_of_many_who_come_and_go_sums_up_to_who_is_there() {
    const MEMBERS: usize = 1000;
    let server = start(Config { presence_members: MEMBERS, ..told() });
    let begun = Instant::now();
    let mut watcher = Watcher::new(server.address, "u0", "chat-7");
    let address = server.address;
    let crowd = |numbers: std::ops::Range<usize>| {
        thread::spawn(move || {
            let mut clients = Vec::new();
            for number in numbers {
                let mut one = client(address, &format!("u{number}"));
                subscribe(&mut one, "chat-7");
                // Every third leaves again, every fifth has two tabs.
                if number % 3 != 0 {
                    clients.push(one);
                }
                if number % 5 == 0 {
                    let mut second = client(address, &format!("u{number}"));
                    subscribe(&mut second, "chat-7");
                    clients.push(second);
                }
            }
            clients
        })
    };
    let crowds = [crowd(1..MEMBERS / 2), crowd(MEMBERS / 2..MEMBERS)];
    let _clients = crowds.map(|crowd| crowd.join().unwrap());
    let stays = |number: &usize| *number == 0 || !number.is_multiple_of(3) || number.is_multiple_of(5);
    let expected: BTreeMap<String, Value> = (0..MEMBERS)
        .filter(stays)
        .map(|number| (format!("u{number}"), json!({"name": format!("U{number}")})))
        .collect();
    watcher.until(|watcher| watcher.members == expected);
    let there = presence(address, "chat-7");
    assert_eq!((&there["count"], &there["anonymous"]), (&json!(expected.len()), &json!(0)));
    let mut told: Vec<_> = subs(&there["members"]).iter().map(|&sub| sub.to_owned()).collect();
    told.sort();
    assert_eq!(told, expected.into_keys().collect::<Vec<_>>());
    let seconds = begun.elapsed().as_secs() as usize;
    assert!(watcher.changes <= seconds + 1, "{} changes in {seconds} s: they are gathered", watcher.changes);
}

#[test]
fn above_the_longest_list_numbers_are_told_and_nobody_is_kept_out() {
    let server = start(Config { presence_members: 2, ..told() });
    let mut ada = client(server.address, "ada");
    watch(&mut ada, "chat-7");
    assert_eq!(next(&mut ada)["data"]["count"], 1);
    let mut others: Vec<Client> = ["bob", "carol"].map(|sub| client(server.address, sub)).into();
    for other in &mut others {
        subscribe(other, "chat-7");
    }
    let change = loop {
        let change = next(&mut ada);
        if change["data"]["count"] == 3 {
            break change;
        }
    };
    assert_eq!((&change["data"]["joined"], &change["data"]["left"]), (&Value::Null, &Value::Null));
    assert_eq!(presence(server.address, "chat-7")["members"], Value::Null);
    drop(others);
    // A list again, if the other is noticed later one with that, then who has left since.
    let list = next(&mut ada)["data"]["members"].clone();
    if subs(&list) != ["ada"] {
        assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
        let change = next(&mut ada);
        assert_eq!(
            (change["data"]["left"].as_array().map(Vec::len), &change["data"]["count"]),
            (Some(1), &json!(1))
        );
    }
}

/// A client that polls with a user's token, on one connection.
struct Poller {
    stream: TcpStream,
    token: String,
}

impl Poller {
    fn new(address: SocketAddr, sub: &str) -> Self {
        Self { stream: connect(address), token: token(sub) }
    }

    fn ask(&mut self, query: &str) {
        let authorization = bearer(&self.token);
        let head = format!(
            "GET /channels?{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    fn answer(&mut self) -> Value {
        let answer = read_answer(&mut self.stream);
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn poll(&mut self, query: &str) -> Value {
        self.ask(query);
        self.answer()
    }
}

/// Waits until somebody polls a channel.
fn until_polled(address: SocketAddr, channel: &str) {
    until("a poll waits", || {
        let path = format!("/channels/{channel}/state");
        let answer = request(address, "GET", &path, "Authorization: Bearer secret\r\n", b"");
        answer.body.contains(r#""long_poll":1"#).then_some(())
    });
}

/// The identifier that an answer has of a channel in this member.
fn id_of<'a>(answer: &'a Value, member: &str, channel: &str) -> &'a str {
    answer[member][channel].as_str().unwrap_or_else(|| panic!("{member} of {channel} in {answer}"))
}

#[test]
fn a_poll_without_a_cursor_gets_the_list_and_those_that_follow_get_what_changes() {
    let server = start(told());
    let mut ada = Poller::new(server.address, "ada");
    let first = ada.poll("channel=news&channel=chat-7&presence=1&wait=20");
    let id = id_of(&first, "presence", "chat-7");
    assert_eq!(
        first["messages"],
        json!([{"channel": "chat-7", "event": "fanfare:presence", "data": {
            "members": [{"sub": "ada", "info": {"name": "ADA"}, "connections": 1}],
            "count": 1, "anonymous": 0, "since": id,
        }}])
    );
    let places = [id_of(&first, "next", "news"), id_of(&first, "next", "chat-7")];
    let query = |known: &str| {
        format!(
            "channel=news&since={}&channel=chat-7&since={}&presence={known}&wait=20",
            places[0], places[1]
        )
    };
    ada.ask(&query(id));
    until_polled(server.address, "chat-7");
    let mut bob = client(server.address, "bob");
    assert_eq!(watch(&mut bob, "chat-7")["event"], "fanfare:subscribed");
    let second = ada.answer();
    let change = &second["messages"][0];
    assert_eq!(second["messages"].as_array().unwrap().len(), 1, "{second}");
    assert_eq!((&change["channel"], &change["event"]), (&"chat-7".into(), &"fanfare:presence".into()));
    assert_eq!(change["id"], second["presence"]["chat-7"]);
    let joined =
        json!({"joined": [{"sub": "bob", "info": {"name": "BOB"}}], "left": [], "count": 2, "anonymous": 0});
    assert_eq!((&change["data"], &second["next"]["chat-7"]), (&joined, &first["next"]["chat-7"]));
    // Nothing has happened: it waits, until something is published elsewhere.
    let known = id_of(&second, "presence", "chat-7").to_owned();
    ada.ask(&query(&known));
    server.handle.publish(Draft::text("news", "x").unwrap()).unwrap();
    let third = ada.answer();
    assert_eq!(third["messages"][0]["data"], "x", "{third}");
    assert_eq!(third["messages"].as_array().unwrap().len(), 1, "{third}");
    assert_eq!(third["presence"]["chat-7"], *known);
    // She polls no more, and somebody joins: who comes back gets the list again.
    let mut carol = client(server.address, "carol");
    watch(&mut carol, "chat-7");
    while !next(&mut bob)["data"]["joined"]
        .as_array()
        .is_some_and(|joined| joined.iter().any(|one| one["sub"] == "carol"))
    {}
    let back = ada.poll(&query(&known));
    assert_eq!(subs(&back["messages"][0]["data"]["members"]), ["ada", "bob", "carol"], "{back}");
    assert_ne!(back["presence"]["chat-7"], *known);
}

#[test]
fn a_poll_that_brings_a_cursor_and_no_change_that_it_knows_is_told_what_changes_while_it_waits() {
    let server = start(told());
    let mut ada = Poller::new(server.address, "ada");
    let first = ada.poll("channel=chat-7&wait=0");
    assert_eq!(first["presence"], Value::Null, "it did not ask");
    let query = format!("channel=chat-7&since={}&presence=1", id_of(&first, "next", "chat-7"));
    let now = ada.poll(&format!("{query}&wait=0"));
    assert!(now["messages"][0]["data"]["members"].is_array(), "one that does not wait gets the list: {now}");
    ada.ask(&format!("{query}&wait=20"));
    until_polled(server.address, "chat-7");
    let mut bob = client(server.address, "bob");
    watch(&mut bob, "chat-7");
    let told = ada.answer();
    assert_eq!(told["messages"][0]["event"], "fanfare:presence", "{told}");
    assert_eq!(subs(&told["messages"][0]["data"]["joined"]), ["bob"], "{told}");
}

#[test]
fn a_poll_is_told_where_it_is_not_told_who_is_there() {
    let server = start(told());
    let mut ada = Poller::new(server.address, "ada");
    ada.token = token_with("ada", json!({"subscribe": ["*"], "presence": ["chat-7"]}));
    let query = "channel=news&presence=1&channel=chat-8&presence=1&channel=count-1";
    let now = ada.poll(&format!("{query}&wait=0"));
    assert_eq!((&now["presence"], &now["messages"]), (&json!({"news": false, "chat-8": false}), &json!([])));
    ada.ask(&format!("{query}&wait=20"));
    until_polled(server.address, "news");
    server.handle.publish(Draft::text("news", "x").unwrap()).unwrap();
    let later = ada.answer();
    assert_eq!(
        (&later["presence"], &later["messages"][0]["data"]),
        (&now["presence"], &"x".into()),
        "{later}"
    );
}

#[test]
fn a_poll_of_a_channel_that_tells_only_numbers_gets_these() {
    let server = start(told());
    let mut ada = Poller::new(server.address, "ada");
    let first = ada.poll("channel=count-1&presence=1&wait=20");
    let id = id_of(&first, "presence", "count-1");
    let state = json!({"members": null, "count": 1, "anonymous": 0, "since": id});
    assert_eq!(first["messages"][0]["data"], state);
    ada.ask(&format!("channel=count-1&presence={id}&wait=20"));
    until_polled(server.address, "count-1");
    let mut bob = client(server.address, "bob");
    watch(&mut bob, "count-1");
    let change = json!({"joined": null, "left": null, "count": 2, "anonymous": 0});
    assert_eq!(ada.answer()["messages"][0]["data"], change);
    assert_eq!(presence(server.address, "count-1"), json!({"members": null, "count": 2, "anonymous": 0}));
}
