//! Several publications by one request, over real sockets.
//!
//! How a batch is written is tested in `commands::batch`; what an engine does to one, in `server::handle`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::net::SocketAddr;

use fanfare::config::{AccessKey, AuthRule, Backend, Config, Glob};
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

#[test]
fn the_backend_is_not_asked_about_a_batch() {
    // Nobody listens there.
    let config = Config {
        backend: Some(Backend::new("http://127.0.0.1:9/")),
        auth: vec![(Glob::new("*"), AuthRule::Hook)],
        ..config()
    };
    let server = start(config);
    let (answer, json) = post(server.address, "", r#"[{"channel":"a","data":1}]"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    let error = &json["results"][0]["error"];
    assert_eq!((&error["code"], &error["status"]), (&"no_token".into(), &401.into()), "{json}");
    assert!(error["message"].as_str().unwrap().contains("POST to /channels/a, or send a key"), "{json}");
}

#[test]
fn a_method_that_is_not_served_is_told_that_a_batch_may_be_posted() {
    let server = start(config());
    let answer = request(server.address, "PUT", "/channels", "", b"");
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("Allow: GET, HEAD, POST, OPTIONS\r\n"), "{answer:?}");
}
