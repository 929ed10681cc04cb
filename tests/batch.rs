//! Several publications by one request, over real sockets.
//!
//! How a batch is written is tested in `commands::batch`; what an engine does to one, in `server::handle`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use fanfare::config::{AccessKey, AuthRule, Backend, Config, Glob};
use serde_json::Value;
use support::backend::{Act, Got, Stub, json};
use support::metrics::Scraper;
use support::*;

/// The answer of the server to a batch, and what it is in JSON.
fn post(address: SocketAddr, fields: &str, body: &str) -> (Answer, serde_json::Value) {
    let answer = request(address, "POST", "/channels", fields, body.as_bytes());
    let json = serde_json::from_str(&answer.body).unwrap_or_default();
    (answer, json)
}

#[test]
fn each_item_of_a_batch_is_published_and_answered_in_its_place() {
    let server = start(config());
    let mut a = websocket(server.address, "/channels/a");
    let mut b = websocket(server.address, "/channels/b");
    let body = r#"[{"channel":"a","data":"one"},{"channels":["b","a"],"event":"tick","data":{"p":1}},{"channel":"a","data":"three"}]"#;
    let (answer, json) = post(server.address, "Content-Type: application/json\r\n", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!((&results[0]["subscribers"], &results[1]["b"]["subscribers"]), (&1.into(), &1.into()));
    assert!(results[0]["id"].as_str().unwrap().ends_with("-1"), "{json}");
    assert!(results[1]["a"]["id"].as_str().unwrap().ends_with("-2"), "{json}");
    assert!(results[2]["id"].as_str().unwrap().ends_with("-3"), "{json}");
    assert_eq!([text(&mut a), text(&mut a), text(&mut a)], ["one", r#"{"p":1}"#, "three"]);
    assert_eq!(text(&mut b), r#"{"p":1}"#);
}

#[test]
fn items_may_stand_on_a_line_each_if_the_media_type_says_so() {
    let server = start(config());
    let lines = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b\",\"data\":2}\n";
    let (answer, json) = post(server.address, "Content-Type: Application/X-NDJSON; charset=utf-8\r\n", lines);
    assert_eq!((answer.status, json["results"].as_array().unwrap().len()), (200, 2), "{answer:?}");
    assert_eq!(post(server.address, "", lines).0.status, 400);
}

#[test]
fn a_batch_that_cannot_be_read_is_refused_whole_and_says_which_item_it_is() {
    let server = start(config());
    let (answer, _) = post(server.address, "", r#"[{"channel":"a","data":1},{"channel":"a"}]"#);
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with("Item 1: "), "{answer:?}");
    let answer = request(server.address, "POST", "/channels", "", b"[\xff]");
    assert_eq!((answer.status, answer.body.trim_end()), (400, "The body is not UTF-8."));
    let kept = request(server.address, "GET", "/channels/a?last=10&wait=0", "", b"");
    assert!(kept.body.contains(r#""messages":[]"#), "{kept:?}");
}

#[test]
fn what_a_key_may_not_publish_is_refused_item_by_item() {
    let key = AccessKey { publish: vec![Glob::new("a*")], ..AccessKey::with_all_rights("billing", "secret") };
    let server = start(Config { keys: vec![key], ..config() });
    let body = r#"[{"channels":["a1","ops"],"data":1},{"channel":"ops","data":1},{"channel":"a2","data":1}]"#;
    let (answer, json) = post(server.address, "Authorization: Bearer secret\r\n", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = &json["results"];
    assert!(results[0]["a1"]["id"].is_string() && results[2]["id"].is_string(), "{json}");
    for error in [&results[0]["ops"]["error"], &results[1]["error"]] {
        assert_eq!((&error["code"], &error["status"]), (&"forbidden".into(), &403.into()), "{json}");
        assert_eq!(error["message"], "The key billing publishes to a*; not to ops.");
    }
    let (_, json) = post(server.address, "", body);
    assert_eq!(json["results"][0]["a1"]["error"]["code"], "no_token", "{json}");
    let (answer, _) = post(server.address, "Authorization: Bearer wrong\r\n", body);
    assert_eq!(answer.status, 401, "a proof that is sent must be good");
}

#[test]
fn a_batch_may_be_repeated_under_its_key_which_stands_for_the_places_of_its_items() {
    let server = start(config());
    let body =
        r#"[{"channel":"a","data":1},{"channels":["a","b"],"data":2},{"channel":"a","data":3,"key":"own"}]"#;
    let long = format!("Idempotency-Key: {}\r\n", "k".repeat(255));
    for fields in ["Idempotency-Key: K\r\n", &long] {
        let (first, _) = post(server.address, fields, body);
        let (again, _) = post(server.address, fields, body);
        assert_eq!((first.status, &first.body), (200, &again.body));
    }
    let alone = |key: &str, data: &str| {
        request(
            server.address,
            "POST",
            "/channels/a",
            &format!("Idempotency-Key: {key}\r\n"),
            data.as_bytes(),
        )
        .status
    };
    assert_eq!(alone("K/1", "x"), 422, "the place is known");
    assert_eq!(alone("own", "x"), 422, "and the key of the item");
    let (answer, json) = post(server.address, "", r#"[{"channel":"a","data":4,"key":"own"}]"#);
    assert_eq!((answer.status, &json["results"][0]["error"]["status"]), (200, &422.into()), "{answer:?}");
    assert_eq!(post(server.address, "Idempotency-Key: two words\r\n", body).0.status, 400);
    let kept = request(server.address, "GET", "/channels?prefix=a", "", b"");
    assert!(kept.body.contains("-5\""), "two of each batch, and one under its own key: {kept:?}");
}

#[test]
fn an_item_that_is_too_long_is_refused_alone_and_a_batch_that_is_too_long_whole() {
    let server = start(Config { max_message: 1000, max_lag: 100, ..config() });
    let item =
        |len: usize, channels: &str| format!(r#"{{"channels":{channels},"data":"{}"}}"#, "x".repeat(len));
    let (answer, json) =
        post(server.address, "", &format!("[{},{}]", item(101, r#"["a"]"#), item(100, r#"["a"]"#)));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(json["results"][0]["a"]["error"]["code"], "too_large", "{json}");
    assert!(json["results"][1]["a"]["id"].is_string(), "{json}");
    let names: Vec<_> = (0..11).map(|at| format!("\"c{at}\"")).collect();
    let (answer, _) =
        post(server.address, "", &format!("[{}]", item(100, &format!("[{}]", names.join(",")))));
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.body.contains("have 1100 bytes in all; 1000 at most"), "{answer:?}");
    let (answer, _) = post(server.address, "", &" ".repeat(1001));
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.body.contains("A batch has at most 1000 bytes"), "{answer:?}");
}

/// What is not `open-*` is for this backend to decide.
fn asking(stub: &Stub) -> Config {
    let backend = Backend { timeout: Duration::from_secs(10), ..Backend::new(&stub.url()) };
    let auth = vec![(Glob::new("open-*"), AuthRule::Open), (Glob::new("*"), AuthRule::Hook)];
    let client_publish = vec![Glob::new("open-*"), Glob::new("*-of-readers")];
    Config { backend: Some(backend), auth, client_publish, ..with_metrics(one_loop()) }
}

/// A yes to publishing to channels `yes…`.
fn yes_to_some(got: &Got) -> Act {
    let asked: Value = serde_json::from_str(&got.body).unwrap();
    let mut allowed = asked["channels"].as_array().unwrap().clone();
    allowed.retain(|channel| channel.as_str().unwrap().starts_with("yes"));
    json(
        &serde_json::json!({"allow": allowed, "sub": "u42", "ttl": 600, "message": "By invitation."})
            .to_string(),
    )
}

/// A backend that answers when the test says so, and the way to say it: once for each answer.
fn waiting() -> (Stub, Sender<()>, Receiver<()>) {
    let (asked, has_asked) = channel();
    let (go, may_go) = channel();
    let may_go = Mutex::new(may_go);
    let stub = Stub::new(move |got| {
        asked.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        yes_to_some(got)
    });
    (stub, go, has_asked)
}

/// The data that a channel keeps.
fn kept(address: SocketAddr, channel: &str) -> Vec<Value> {
    let answer = request(address, "GET", &format!("/channels/{channel}?last=100&wait=0"), KEY, b"");
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    json["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect()
}

/// The head of a batch of a client, and the batch.
fn batch(fields: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /channels HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{fields}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const KEY: &str = "Authorization: Bearer secret\r\n";

fn with_operator(config: Config) -> Config {
    Config { keys: vec![AccessKey::with_all_rights("ops", "secret")], ..config }
}

#[test]
fn the_backend_is_asked_once_about_the_channels_of_a_batch_and_each_item_has_its_result() {
    let stub = Stub::new(yes_to_some);
    let server = start(with_operator(asking(&stub)));
    let body = r#"[{"channel":"yes","data":1},{"channels":["no","yes"],"data":2},{"channel":"open-a","data":3},{"channel":"yes","data":4}]"#;
    let (answer, json) = post(server.address, "Cookie: sid=1\r\n", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let got = stub.next();
    assert_eq!(got.body, r#"{"action":"publish","channels":["yes","no"],"transport":"post"}"#);
    assert_eq!(got.field("Cookie"), Some("sid=1"));
    let results = &json["results"];
    for (at, end) in
        [(&results[0], "-1"), (&results[1]["yes"], "-2"), (&results[2], "-1"), (&results[3], "-3")]
    {
        assert!(at["id"].as_str().unwrap().ends_with(end), "{json}");
    }
    let refused = serde_json::json!({"code": "forbidden", "status": 403, "message": "By invitation."});
    assert_eq!(results[1]["no"]["error"], refused);
    assert_eq!(kept(server.address, "yes"), [1, 2, 4]);
    let (_, json) = post(server.address, "Cookie: sid=1\r\n", body);
    assert!(json["results"][3]["id"].as_str().unwrap().ends_with("-6"), "{json}");
    assert_eq!(stub.count(), 0, "what is known is not asked again");
    post(server.address, "Cookie: sid=2\r\n", body);
    assert_eq!(stub.count(), 1, "of another client it is not known");
}

#[test]
fn a_backend_that_fails_holds_up_only_the_items_that_it_would_decide() {
    let stub = Stub::new(|_| backend::text(500, "oops"));
    let server = start(with_operator(asking(&stub)));
    let names: Vec<_> = (0..250).map(|at| format!("c{at}")).collect();
    let lists: Vec<_> =
        names.chunks(50).map(|names| serde_json::json!({"channels": names, "data": 1})).collect();
    let mut items = vec![serde_json::json!({"channel": "open-a", "data": 1})];
    items.extend(lists);
    items.push(serde_json::json!({"channel": "open-a", "data": 2}));
    let (answer, json) = post(server.address, "", &Value::from(items).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    for (at, name) in names.iter().enumerate() {
        let error = &json["results"][1 + at / 50][name]["error"];
        let said = (error["code"].as_str(), error["status"].as_u64(), error["message"].as_str());
        let sentence = "The backend that decides answered 500; try again in 5 s.";
        assert_eq!(said, (Some("unavailable"), Some(503), Some(sentence)), "{name}");
    }
    assert_eq!(kept(server.address, "open-a"), [1, 2]);
    assert_eq!(stub.count(), 1, "after a fault the backend is not asked about the rest");
}

#[test]
fn a_question_about_a_batch_has_a_hundred_channels_at_most() {
    let stub = Stub::new(yes_to_some);
    let server = start(asking(&stub));
    let names: Vec<_> = (0..250).map(|at| format!("yes-{at}")).collect();
    let items: Vec<_> =
        names.chunks(100).map(|names| serde_json::json!({"channels": names, "data": 1})).collect();
    let (answer, json) = post(server.address, "", &Value::from(items).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        names.iter().enumerate().all(|(at, name)| json["results"][at / 100][name]["id"].is_string()),
        "{json}"
    );
    let lens = [0; 3].map(|_| {
        let asked: Value = serde_json::from_str(&stub.next().body).unwrap();
        asked["channels"].as_array().unwrap().len()
    });
    assert_eq!((lens, stub.count()), ([100, 100, 50], 0));
}

#[test]
fn where_readers_may_publish_the_backend_is_asked_whether_the_client_of_a_batch_may_read() {
    let stub = Stub::new(yes_to_some);
    let server = start(asking(&stub));
    let body = r#"[{"channels":["yes-of-readers","yes","no-of-readers"],"data":1}]"#;
    let (answer, json) = post(server.address, "", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        [stub.next().body, stub.next().body],
        [
            r#"{"action":"subscribe","channels":["yes-of-readers","no-of-readers"],"transport":"post"}"#,
            r#"{"action":"publish","channels":["yes"],"transport":"post"}"#
        ]
    );
    let result = &json["results"][0];
    assert!(result["yes"]["id"].is_string() && result["yes-of-readers"]["id"].is_string(), "{json}");
    assert_eq!(result["no-of-readers"]["error"]["code"], "forbidden", "{json}");
}

#[test]
fn a_batch_that_waits_for_the_backend_is_counted_and_answered_ahead_of_what_follows_it() {
    let (stub, go, has_asked) = waiting();
    let server = start(with_operator(asking(&stub)));
    let mut scraper = Scraper::new(server.metrics.unwrap());
    let mut stream = connect(server.address);
    let body = format!(r#"[{{"channel":"yes","data":"{}"}}]"#, "x".repeat(200_000));
    let healthz = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    stream.write_all(&[batch("", &body), healthz].concat()).unwrap();
    has_asked.recv().unwrap();
    let held = scraper.value(r#"fanfare_memory_bytes{kind="private"}"#);
    assert!((200_000.0..600_000.0).contains(&held), "{held}");
    go.send(()).unwrap();
    let answers = [read_answer(&mut stream), read_answer(&mut stream)];
    assert!(answers[0].body.starts_with(r#"{"results":[{"id":"#), "{answers:?}");
    assert_eq!(answers[1].body.trim(), "ok", "{answers:?}");
    assert!(scraper.value(r#"fanfare_memory_bytes{kind="private"}"#) < 100_000.0);
}

#[test]
fn a_batch_whose_client_goes_away_while_the_backend_is_asked_leaves_nothing_behind() {
    let (stub, go, has_asked) = waiting();
    let server = start(with_operator(asking(&stub)));
    let mut gone = connect(server.address);
    gone.write_all(&batch("", r#"[{"channel":"yes","data":"of a client that has sent all and left"}]"#))
        .unwrap();
    has_asked.recv().unwrap();
    drop(gone);
    go.send(()).unwrap();
    let mut scraper = Scraper::new(server.metrics.unwrap());
    scraper.settles(&[(r#"fanfare_connections{transport="http"}"#, 1), ("fanfare_auth_waiting", 0)]);
    assert_eq!(kept(server.address, "yes"), ["of a client that has sent all and left"]);
    let (mut reset_one, (answer, _)) =
        (connect(server.address), post(server.address, KEY, r#"[{"channel":"yes","data":2}]"#));
    assert_eq!(answer.status, 200, "a key needs no backend");
    reset_one.write_all(&batch("Cookie: sid=9\r\n", r#"[{"channel":"yes-2","data":1}]"#)).unwrap();
    has_asked.recv().unwrap();
    reset(reset_one);
    scraper.settles(&[(r#"fanfare_connections{transport="http"}"#, 1)]);
    go.send(()).unwrap();
    scraper.settles(&[("fanfare_auth_waiting", 0)]);
    assert!(scraper.value(r#"fanfare_memory_bytes{kind="private"}"#) < 100_000.0);
}

#[test]
fn a_batch_that_is_repeated_while_the_backend_is_asked_is_published_once() {
    let (stub, go, has_asked) = waiting();
    let server = start(with_operator(asking(&stub)));
    let send = || {
        let mut stream = connect(server.address);
        let body = r#"[{"channel":"yes","data":1},{"channel":"yes","data":2}]"#;
        stream.write_all(&batch("Idempotency-Key: K\r\n", body)).unwrap();
        stream
    };
    let mut first = send();
    has_asked.recv().unwrap();
    let mut second = send();
    Scraper::new(server.metrics.unwrap()).settles(&[("fanfare_auth_waiting", 2)]);
    go.send(()).unwrap();
    let ids = [&mut first, &mut second].map(|stream| {
        let json: Value = serde_json::from_str(&read_answer(stream).body).unwrap();
        [0, 1].map(|at| json["results"][at]["id"].as_str().unwrap().to_owned())
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(kept(server.address, "yes"), [1, 2]);
    assert_eq!(stub.count(), 1, "both were decided by one call");
}

#[test]
fn a_user_who_is_revoked_while_the_backend_is_asked_about_the_rest_of_a_batch_publishes_nothing() {
    let (stub, go, has_asked) = waiting();
    let server = start(with_operator(asking(&stub)));
    let names: Vec<_> = (0..101).map(|at| format!("yes-{at}")).collect();
    let items: Vec<_> =
        names.chunks(100).map(|names| serde_json::json!({"channels": names, "data": 1})).collect();
    let mut stream = connect(server.address);
    stream.write_all(&batch("", &Value::from(items).to_string())).unwrap();
    has_asked.recv().unwrap();
    go.send(()).unwrap();
    has_asked.recv().unwrap();
    let revoked = request(server.address, "POST", "/revoke", KEY, br#"{"sub":"u42"}"#);
    assert_eq!(revoked.body, r#"{"revoked":1}"#);
    let answer = read_answer(&mut stream);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.body.starts_with("The user u42 was revoked at 20"), "{answer:?}");
    // What is known of the user was forgotten, so that the call under way is made again.
    (0..2).for_each(|_| go.send(()).unwrap());
    Scraper::new(server.metrics.unwrap()).settles(&[("fanfare_auth_waiting", 0)]);
    assert_eq!(kept(server.address, "yes-0"), [0; 0]);
}

#[test]
fn a_method_that_is_not_served_is_told_that_a_batch_may_be_posted() {
    let server = start(config());
    let answer = request(server.address, "PUT", "/channels", "", b"");
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("Allow: GET, HEAD, POST, OPTIONS\r\n"), "{answer:?}");
}
