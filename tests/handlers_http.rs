//! Answers of a program to HTTP requests, over real sockets: routes, bodies, replies that come later, panics, ticks and figures.
//!
//! WebSocket sessions have a suite of their own.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use fanfare::app::{OnPanic, Request, Response, RouteError, Status};
use fanfare::config::AccessKey;
use fanfare::{ChannelName, Config, Server};
use support::*;

fn served(config: Config, serve: impl FnOnce(&mut Server) -> Result<(), RouteError>) -> Running {
    let mut server = Server::bind(config).unwrap();
    serve(&mut server).unwrap();
    run(server)
}

fn get(server: &Running, path: &str) -> (u16, String) {
    let answer = request(server.address, "GET", path, "", b"");
    (answer.status, answer.body)
}

#[test]
fn a_route_answers_with_what_its_path_query_and_fields_say() {
    let server = served(config(), |server| {
        server.get("/files/{path..}", |request: &Request<'_>| {
            let (path, query) = (request.param("path"), request.query("q").unwrap_or_default());
            let cookie = request.cookie("c").unwrap_or("none");
            Response::text(Status::OK, &format!("{path} {query} {cookie} {}", request.peer().unwrap()))
        })?;
        server.get("/files/exact", |_: &Request<'_>| Response::html("<p>"))?;
        Ok(())
    });
    let answer = request(server.address, "GET", "/files/a/b%20c?q=1%202", "Cookie: c=7\r\n", b"");
    assert_eq!(answer.body, "a/b c 1 2 7 127.0.0.1\n");
    assert_eq!(get(&server, "/files/exact"), (200, "<p>".to_owned()));
    let mut client = connect(server.address);
    std::io::Write::write_all(
        &mut client,
        b"HEAD /files/exact HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    let head = String::from_utf8(rest(&mut client)).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK")
            && head.contains("Content-Length: 3\r\n")
            && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert_eq!(request(server.address, "DELETE", "/files/exact", "", b"").status, 405);
    assert_eq!(get(&server, "/fil").0, 404);
}

#[test]
fn a_program_replaces_the_home_page_and_the_echo_and_none_of_the_servers_other_paths() {
    let mut server = Server::bind(config()).unwrap();
    server.get("/", |_: &Request<'_>| Response::html("mine")).unwrap();
    server.websocket_fn("/echo", |socket, _| socket.send("mine too")).unwrap();
    for own in ["/healthz", "/channels/{name}", "/app/x"] {
        let refused = server.get(own, |_: &Request<'_>| Response::html("")).unwrap_err();
        assert_eq!(refused, RouteError::Own(own.to_owned()));
    }
    assert!(matches!(server.get("/", |_: &Request<'_>| Response::html("")), Err(RouteError::Taken(_))));
    server.get("/{all..}", |_: &Request<'_>| Response::html("all else")).unwrap();
    let server = run(server);
    assert_eq!(get(&server, "/").1, "mine");
    assert_eq!(get(&server, "/else/where").1, "all else");
    assert_eq!(get(&server, "/healthz").1, "ok\n");
    let mut client = websocket(server.address, "/echo");
    client.send("x".into()).unwrap();
    assert_eq!(text(&mut client), "mine too");
}

#[test]
fn a_post_has_its_whole_body_and_one_that_is_too_long_is_refused() {
    let server = served(Config { max_message: 10, ..config() }, |server| {
        server.post("/len", |_: &Request<'_>, body: bytes::Bytes| match body.len() {
            0 => Err(Response::bad_request("Say something.")),
            len => Ok(Response::text(Status::CREATED, &len.to_string())),
        })?;
        Ok(())
    });
    let post = |body: &[u8]| request(server.address, "POST", "/len", "", body);
    assert_eq!((post(b"ten bytes!").status, post(b"ten bytes!").body.as_str()), (201, "10\n"));
    assert_eq!(post(b"").status, 400);
    assert_eq!(post(b"eleven byte").status, 413);
    assert_eq!(request(server.address, "GET", "/len", "", b"").status, 405);
}

#[test]
fn a_reply_may_come_from_any_thread_and_requests_after_it_wait_for_it() {
    let (replies, waiting) = mpsc::channel();
    let replies = Mutex::new(replies);
    let server = served(config(), move |server| {
        server.post_later("/later", move |_, body, reply| {
            replies.lock().unwrap().send((body, reply)).unwrap()
        })?;
        Ok(())
    });
    let mut client = connect(server.address);
    let post =
        |body: &str| format!("POST /later HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n{body}");
    let both = post("a") + &post("b") + "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    std::io::Write::write_all(&mut client, both.as_bytes()).unwrap();
    let (body, reply) = waiting.recv_timeout(PATIENCE).unwrap();
    assert!(waiting.try_recv().is_err(), "one after the other");
    assert_eq!(body, "a");
    std::thread::spawn(|| reply.send(Response::html("later"))).join().unwrap();
    let answer = exchange(&mut client, b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, "later"));
    let (_, reply) = waiting.recv_timeout(PATIENCE).unwrap();
    drop(reply);
    assert_eq!(exchange(&mut client, b"").status, 500, "it was dropped");
    assert_eq!(exchange(&mut client, b"").body, "ok\n");
}

#[test]
fn a_panic_is_answered_with_500_and_counted_and_the_server_goes_on() {
    let server = served(one_loop(), |server| {
        server.get("/panic", |_: &Request<'_>| -> Response { panic!("as asked") })?;
        server.get("/fine", |_: &Request<'_>| Response::html("fine"))?;
        Ok(())
    });
    assert_eq!(get(&server, "/panic").0, 500);
    assert_eq!(get(&server, "/fine").1, "fine");
    let metrics = get(&server, "/metrics").1;
    assert!(metrics.contains("\nfanfare_handler_panics_total 1\n"), "{metrics}");
    assert!(metrics.contains("fanfare_handler_seconds_count{route=\"/fine\"} 1\n"), "{metrics}");
    assert!(metrics.contains("fanfare_handler_seconds_sum{route=\"/fine\"} 0.0"), "{metrics}");
}

#[test]
fn a_program_that_wants_it_stops_with_a_panic() {
    let mut server = Server::bind(one_loop()).unwrap();
    server.on_panic(OnPanic::Stop);
    server.get("/panic", |_: &Request<'_>| -> Response { panic!("as asked") }).unwrap();
    let address = server.local_addrs()[0];
    let serving = std::thread::spawn(|| server.run());
    let mut client = connect(address);
    std::io::Write::write_all(&mut client, b"GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(serving.join().is_err());
}

#[test]
fn ticks_come_at_their_interval_and_survive_a_panic() {
    let (ticks, ticked) = mpsc::channel();
    let mut server = Server::bind(config()).unwrap();
    let mut count = 0;
    server.every(Duration::from_millis(2), move |handle| {
        count += 1;
        handle.publish_to(&ChannelName::new("ticks").unwrap(), count.to_string()).unwrap();
        ticks.send(count).unwrap();
        assert_ne!(count, 2, "a tick that panics");
    });
    let server = run(server);
    let counted: Vec<_> = (0..5).map(|_| ticked.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(counted, [1, 2, 3, 4, 5]);
    until("they are published", || {
        let kept = get(&server, "/channels/ticks?last=100&wait=0").1;
        kept.contains("\"data\":\"5\"").then_some(())
    });
    drop(ticked);
}

#[test]
fn who_made_a_request_is_known_by_a_key_and_pages_of_other_origins_are_refused() {
    let keys = vec![AccessKey::with_all_rights("robot", "secret")];
    let server =
        served(Config { keys, allow_origin: vec!["https://mine.example".into()], ..config() }, |server| {
            server.get("/who", |request: &Request<'_>| {
                Response::html(
                    request.identity().and_then(|who| who.key.map(str::to_owned)).unwrap_or_default(),
                )
            })?;
            Ok(())
        });
    let ask = |fields: &str| request(server.address, "GET", "/who", fields, b"");
    assert_eq!(ask("Authorization: Bearer secret\r\n").body, "robot");
    assert_eq!(ask("").body, "");
    assert_eq!(ask("Origin: https://other.example\r\n").status, 403);
    let answer = ask("Origin: https://mine.example\r\n");
    assert!(answer.head.contains("Access-Control-Allow-Origin: https://mine.example\r\n"), "{}", answer.head);
}
