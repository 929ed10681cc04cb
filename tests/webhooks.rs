//! Webhooks over real sockets: what clients do, and what the app's server is told of it.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use fanfare::config::Config;
use fanfare::pusher::{App, Webhook, WebhookEvent};
use serde_json::json;
use support::event_stream::Events;
use support::metrics::Scraper;
use support::pusher::{Pusher, sign};
use support::receiver::{OK, Stub};
use support::*;

/// Enough for every request of a test.
fn receiver() -> Stub {
    Stub::answering(&[OK; 20])
}

fn webhook(stub: &Stub, events: &[WebhookEvent]) -> Webhook {
    Webhook { url: stub.url(), events: events.to_vec() }
}

/// The app `app-key`, which reports everything to the receiver.
fn app(stub: &Stub) -> App {
    App { client_events: true, webhooks: vec![webhook(stub, &[])], ..App::new("1", "app-key", "app-secret") }
}

fn with_apps(apps: Vec<App>) -> Config {
    Config { apps, ..config() }
}

/// The next events, which may come in several requests, each signed.
fn next_events(stub: &Stub, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        let got = stub.next();
        assert_eq!(got.field("X-Pusher-Key"), Some("app-key"));
        assert_eq!(got.field("X-Pusher-Signature"), Some(&*sign("app-secret", &got.body)));
        events.extend(got.events().1);
    }
    events
}

#[test]
fn members_of_a_channel_are_reported_as_they_come_send_and_go() {
    let stub = receiver();
    let server = start(with_apps(vec![app(&stub)]));
    let mut anna = Pusher::connect(server.address);
    anna.join("presence-room", "anna");
    let mut bert = [Pusher::connect(server.address), Pusher::connect(server.address)];
    bert.iter_mut().for_each(|bert| drop(bert.join("presence-room", "bert")));
    anna.send_text(r#"{"event":"client-typing","channel":"presence-room","data":{"at":1}}"#);
    anna.expect("pusher_internal:member_added");
    let arrived = [
        "channel_occupied presence-room",
        "member_added anna",
        "member_added bert",
        "client_event {\\at\\:1}",
    ];
    assert_eq!(next_events(&stub, 4), arrived);
    bert.iter_mut().for_each(|bert| bert.send("pusher:unsubscribe", json!({"channel": "presence-room"})));
    anna.expect("pusher_internal:member_removed");
    drop(anna);
    let left = ["member_removed bert", "member_removed anna", "channel_vacated presence-room"];
    assert_eq!(next_events(&stub, 3), left);
}

#[test]
fn a_client_that_comes_back_at_once_is_not_reported_and_a_stop_reports_what_is_left() {
    let stub = receiver();
    let server = start(with_apps(vec![app(&stub)]));
    for _ in 0..3 {
        Pusher::connect(server.address).subscribe("a");
        Pusher::connect(server.address).subscribe("b");
    }
    let mut occupied = next_events(&stub, 2);
    occupied.sort();
    assert_eq!(occupied, ["channel_occupied a", "channel_occupied b"]);
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[("fanfare_connections{transport=\"pusher\"}", 0)]);
    drop(scraper);
    server.handle.shutdown();
    server.join().unwrap();
    let mut vacated = next_events(&stub, 2);
    vacated.sort();
    assert_eq!(vacated, ["channel_vacated a", "channel_vacated b"]);
}

#[test]
fn subscribers_by_other_roads_occupy_a_channel_as_well() {
    let stub = receiver();
    let server = start(with_apps(vec![app(&stub)]));
    let _stream = Events::open(server.address, "/channels/a", "").begun();
    assert_eq!(next_events(&stub, 1), ["channel_occupied a"]);
    let _client = websocket(server.address, "/channels/a");
    let _client = websocket(server.address, "/channels/b");
    assert_eq!(next_events(&stub, 1), ["channel_occupied b"]);
}

#[test]
fn a_cache_channel_is_reported_as_empty_once_until_it_has_had_an_event() {
    let stub = receiver();
    let webhooks = vec![webhook(&stub, &[WebhookEvent::CacheMiss])];
    let server = start(with_apps(vec![App { webhooks, ..app(&stub) }]));
    let misses = |channel: &str| {
        let mut client = Pusher::connect(server.address);
        client.subscribe(channel);
        client.expect("pusher:cache_miss");
        client
    };
    let _clients = [misses("cache-a"), misses("cache-a")];
    publish(server.address, "cache-a", "x");
    let mut third = Pusher::connect(server.address);
    third.subscribe("cache-a");
    third.expect("message");
    let _another = misses("cache-b");
    assert_eq!(next_events(&stub, 2), ["cache_miss cache-a", "cache_miss cache-b"]);
}

#[test]
fn the_number_of_subscribers_is_reported_where_the_app_counts_them() {
    let stub = receiver();
    let webhooks = vec![webhook(&stub, &[WebhookEvent::SubscriptionCount])];
    let server = start(with_apps(vec![App { subscription_count: true, webhooks, ..app(&stub) }]));
    let mut clients: Vec<_> = (0..4).map(|_| Pusher::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.ask_for("a"));
    while !next_events(&stub, 1).contains(&"subscription_count 4".into()) {}
    clients.truncate(1);
    while !next_events(&stub, 1).contains(&"subscription_count 1".into()) {}
}

#[test]
fn each_app_reports_its_own_channels_by_the_names_that_its_clients_know() {
    let (first, second) = (receiver(), receiver());
    let other = App { webhooks: vec![webhook(&second, &[])], ..App::new("22", "other", "other-secret") };
    let server = start(with_apps(vec![app(&first), other]));
    Pusher::connect(server.address).subscribe("a");
    let mut client = Pusher::connect_to(server.address, "other");
    client.subscribe("b");
    let got = second.next();
    assert_eq!(got.field("X-Pusher-Key"), Some("other"));
    assert_eq!(got.field("X-Pusher-Signature"), Some(&*sign("other-secret", &got.body)));
    assert_eq!(got.events().1, ["channel_occupied b"]);
    assert_eq!(next_events(&first, 1), ["channel_occupied a"]);
}

#[test]
fn what_receivers_took_and_did_not_take_is_counted_by_app() {
    let fault = "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n";
    let stub = Stub::answering(&[OK, fault]);
    let silent = App { webhooks: vec![webhook(&stub, &[])], ..App::new("22", "other", "other-secret") };
    let nobody = App { webhooks: Vec::new(), ..App::new("3", "third", "third-secret") };
    let server = start(with_apps(vec![app(&stub), silent, nobody]));
    let _client = websocket(server.address, "/channels/a");
    next_events(&stub, 1);
    let counted = |family: &str, app: &str| format!("fanfare_webhooks_{family}{{app=\"{app}\"}}");
    let mut scraper = Scraper::new(server.address);
    scraper.settles(&[
        (&counted("sent_total", "1"), 1),
        (&counted("failed_total", "1"), 0),
        (&counted("queued", "1"), 0),
        (&counted("sent_total", "22"), 0),
    ]);
    let mut client = Pusher::connect_to(server.address, "other");
    client.subscribe("b");
    scraper.settles(&[
        (&counted("sent_total", "22"), 0),
        (&counted("failed_total", "22"), 1),
        (&counted("queued", "22"), 1),
        (&counted("dropped_total", "22"), 0),
    ]);
    let scrape = request(server.address, "GET", "/metrics", "", b"").body;
    assert!(!scrape.contains("app=\"3\""), "it has no receivers");
}

#[test]
fn a_reload_adds_a_receiver_which_is_told_from_then_on() {
    let (first, second) = (receiver(), receiver());
    let server = start(with_apps(vec![app(&first)]));
    let _client = websocket(server.address, "/channels/a");
    assert_eq!(next_events(&first, 1), ["channel_occupied a"]);
    let both = vec![webhook(&first, &[]), webhook(&second, &[WebhookEvent::ChannelOccupied])];
    server.handle.reload_apps(&[App { webhooks: both, ..app(&first) }]).unwrap();
    let _client = websocket(server.address, "/channels/b");
    for stub in [&first, &second] {
        assert_eq!(next_events(stub, 1), ["channel_occupied b"]);
    }
}
