//! The receivers of an app over sockets. Pauses are short, and nothing waits for a fixed time.

use std::net::TcpListener;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use super::stub::{OK, Stub};
use super::*;
use crate::pusher::Webhook;
use crate::pusher::webhook::signature;
use crate::server::apps::webhooks::client::{Client, Failure};
use crate::server::clock::unix_ms;
use crate::server::outbound::{Trouble, Trust};

const TIMING: Timing = Timing {
    delay_ms: 60,
    arrival_ms: 0,
    linger_ms: 5,
    pause_first_ms: 10,
    pause_max_ms: 40,
    retry_ms: 20_000,
};

const WAIT_MAX: Duration = Duration::from_secs(20);

const FAULT: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops";

/// An app with receivers.
struct Running {
    webhooks: Webhooks,
    senders: Senders,
    clock: Clock,
}

fn app(urls: &[&str]) -> App {
    let webhooks = urls.iter().map(|url| Webhook { url: (*url).to_owned(), events: Vec::new() }).collect();
    App { webhooks, ..App::new("7", "the-key", "the-secret") }
}

fn run(settings: &App) -> Running {
    let clock = Clock::start();
    let (webhooks, senders) = (Webhooks::default(), Senders::new(clock, TIMING, Trust::default()));
    webhooks.apply(settings, &senders);
    Running { webhooks, senders, clock }
}

impl Running {
    fn report(&self, event: &Event) {
        self.webhooks.report(event, self.clock.now());
    }

    /// A client's event with this number.
    fn sends(&self, number: u64) {
        self.report(&Event::client_event("private-a", "client-x", &number.to_string(), "1.2", None));
    }

    fn until(&self, what: &str, is_so: impl Fn(Counts) -> bool) {
        let start = Instant::now();
        while !self.webhooks.counts().is_some_and(&is_so) {
            assert!(start.elapsed() < WAIT_MAX, "not in time: {what}: {:?}", self.webhooks.counts());
            std::thread::yield_now();
        }
    }

    fn counts(&self) -> Counts {
        self.webhooks.counts().unwrap()
    }
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("client_event {number}")).collect()
}

#[test]
fn a_request_is_signed_json_and_says_when_it_was_made() {
    let stub = Stub::answering(&[OK]);
    let running = run(&app(&[&stub.url()]));
    let before = unix_ms();
    running.sends(1);
    let got = stub.next();
    assert!(got.head.starts_with("POST /hook?token=x HTTP/1.1\r\n"), "{got:?}");
    assert_eq!(got.field("Content-Type"), Some("application/json"));
    assert_eq!(got.field("X-Pusher-Key"), Some("the-key"));
    assert_eq!(got.field("X-Pusher-Signature"), Some(&*signature("the-secret", &got.body)));
    assert_eq!(got.field("Host"), Some(&*stub.address.to_string()));
    let (time_ms, events) = got.events();
    assert!((before..=unix_ms()).contains(&time_ms), "{time_ms}");
    assert_eq!(events, ["client_event 1"]);
    running.until("it is taken", |counts| counts.sent == 1);
    assert_eq!(running.counts(), Counts { sent: 1, ..Counts::default() });
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let stub = Stub::answering(&[OK, "HTTP/1.1 204 No Content\r\n\r\n", OK]);
    let running = run(&app(&[&stub.url()]));
    for number in 0..3 {
        running.sends(number);
        let got = stub.next();
        assert_eq!((got.connection, got.events().1), (0, events([number])));
    }
}

#[test]
fn a_request_that_met_a_fault_is_repeated_with_a_new_time_and_signature_before_what_came_later() {
    let stub = Stub::answering(&[FAULT, FAULT, OK, OK]);
    let running = run(&app(&[&stub.url()]));
    running.sends(1);
    let first = stub.next();
    running.sends(2);
    let second = stub.next();
    let (times, signatures) = ([&first, &second].map(|got| got.events().0), [&first, &second]);
    assert!(times[1] > times[0], "{times:?}");
    assert_eq!(first.events().1, events([1]));
    assert_eq!(second.events().1[0], "client_event 1");
    for got in signatures {
        assert_eq!(got.field("X-Pusher-Signature"), Some(&*signature("the-secret", &got.body)));
    }
    running.until("all are taken", |counts| counts.sent == 2);
    assert_eq!(running.counts(), Counts { sent: 2, failed: 2, ..Counts::default() });
    assert_eq!(stub.next().events().1[0], "client_event 1");
}

#[test]
fn a_receiver_that_hangs_does_not_hold_up_another() {
    let (hanging, answering) = (Stub::answering(&[]), Stub::answering(&[OK, OK, OK]));
    let running = run(&app(&[&hanging.url(), &answering.url()]));
    running.sends(1);
    assert_eq!(hanging.next().events().1, events([1]));
    for number in 1..=3 {
        assert_eq!(answering.next().events().1, events([number]));
        running.sends(number + 1);
    }
    let receivers = running.webhooks.receivers();
    assert_eq!((receivers[0].counts.sent, &*receivers[1].url), (0, &*answering.url()));
}

#[test]
fn what_a_receiver_missed_while_nothing_listened_is_delivered_in_order() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let running = run(&app(&[&format!("http://{address}")]));
    for number in 0..500 {
        running.sends(number);
    }
    running.until("it was tried", |counts| counts.failed >= 3);
    let failure = running.webhooks.receivers()[0].failure.clone().unwrap();
    assert!(failure.to_lowercase().contains("refused"), "{failure}");
    socket.listen(8).unwrap();
    let stub = Stub::serving(TcpListener::from(socket), &[OK; 3]);
    let received: Vec<_> = (0..3).flat_map(|_| stub.next().events().1).collect();
    assert_eq!(received, events(0..500));
    running.until("all are taken", |counts| counts.sent == 500 && counts.queued == 0);
    assert_eq!(running.counts().dropped, 0);
    assert_eq!(running.webhooks.receivers()[0].failure, None);
}

#[test]
fn events_past_the_bound_of_the_queue_are_dropped_and_counted() {
    let stub = Stub::answering(&[]);
    let running = run(&app(&[&stub.url()]));
    let more = 10;
    let fits = crate::pusher::webhook::Bounds::default().events_max as u64;
    for number in 0..fits + more {
        running.sends(number);
    }
    let counts = running.counts();
    assert_eq!((counts.queued, counts.dropped), (fits, more));
}

#[test]
fn a_short_absence_is_reported_by_nobody() {
    let stub = Stub::answering(&[OK, OK]);
    let running = run(&app(&[&stub.url()]));
    let channel = || Box::from("a");
    running.report(&Event::ChannelVacated { channel: channel() });
    running.report(&Event::ChannelOccupied { channel: channel() });
    assert_eq!(running.counts(), Counts::default());
    running.report(&Event::ChannelVacated { channel: channel() });
    assert_eq!(stub.next().events().1, ["channel_vacated a"]);
}

#[test]
fn a_redirection_is_not_followed() {
    let elsewhere = Stub::answering(&[OK]);
    let moved = format!("HTTP/1.1 307 x\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
    let stub = Stub::answering(&[&moved, OK]);
    let running = run(&app(&[&stub.url()]));
    running.sends(1);
    running.until("it is taken", |counts| counts.sent == 1);
    assert_eq!(running.counts().failed, 1);
    assert!(elsewhere.is_quiet_for(Duration::ZERO));
}

#[test]
fn an_answer_without_end_is_taken_and_not_read() {
    let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "x".repeat(100_000));
    let stub = Stub::answering(&[&endless, OK]);
    let running = run(&app(&[&stub.url()]));
    running.sends(1);
    assert_eq!(stub.next().connection, 0);
    running.until("it is taken", |counts| counts.sent == 1);
    running.sends(2);
    assert_eq!(stub.next().connection, 1, "the connection is of no more use");
    running.until("it is taken", |counts| counts.sent == 2);
}

#[test]
fn what_is_no_answer_is_a_failed_attempt() {
    let credentials = Credentials { key: "k".into(), secret: "s".into() };
    let within = Duration::from_millis(300);
    let post = |stub: &Stub| {
        Client::new(&stub.url(), &Trust::default()).post(&stub.url(), &credentials, "{}", within).unwrap_err()
    };
    let start = Instant::now();
    assert!(matches!(post(&Stub::answering(&[])), Failure::Call(Trouble::Timeout)), "silence");
    assert!(
        matches!(post(&Stub::answering(&["HTTP/1.1 200"])), Failure::Call(Trouble::Timeout)),
        "half an answer"
    );
    assert!(start.elapsed() < WAIT_MAX);
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(matches!(post(&Stub::answering(&[&long])), Failure::Call(Trouble::Client(_))), "a long head");
    assert!(
        matches!(post(&Stub::answering(&["SSH-2.0-OpenSSH\r\n\r\n"])), Failure::Call(Trouble::Client(_))),
        "not HTTP"
    );
    let failure = post(&Stub::answering(&[FAULT]));
    assert!(matches!(failure, Failure::Status(500)) && failure.to_string().contains("500"), "{failure}");
}

#[test]
fn a_stop_delivers_what_waits_without_delay() {
    let stub = Stub::answering(&[OK]);
    let clock = Clock::start();
    let timing = Timing { delay_ms: 3_600_000, linger_ms: 3_600_000, ..TIMING };
    let (webhooks, senders) = (Webhooks::default(), Senders::new(clock, timing, Trust::default()));
    webhooks.apply(&app(&[&stub.url()]), &senders);
    let running = Running { webhooks, senders, clock };
    running.sends(1);
    running.report(&Event::ChannelVacated { channel: "a".into() });
    running.senders.stop(WAIT_MAX);
    assert_eq!(stub.next().events().1, ["client_event 1", "channel_vacated a"]);
    assert_eq!(running.counts(), Counts { sent: 2, ..Counts::default() });
    running.sends(2);
    assert_eq!(running.counts().dropped, 1, "too late");
}

#[test]
fn a_stop_waits_for_a_receiver_that_hangs_no_longer_than_it_may() {
    let stub = Stub::answering(&[]);
    let running = run(&app(&[&stub.url()]));
    running.sends(1);
    stub.next();
    running.sends(2);
    let start = Instant::now();
    running.senders.stop(Duration::from_millis(200));
    let took = start.elapsed();
    assert!((Duration::from_millis(150)..WAIT_MAX / 2).contains(&took), "{took:?}");
    assert_eq!(running.counts(), Counts { dropped: 2, ..Counts::default() });
}

#[test]
fn a_stop_tries_once_what_is_not_taken() {
    let stub = Stub::answering(&[FAULT, FAULT, FAULT]);
    let timing = Timing { pause_first_ms: 3_600_000, pause_max_ms: 3_600_000, ..TIMING };
    let clock = Clock::start();
    let (webhooks, senders) = (Webhooks::default(), Senders::new(clock, timing, Trust::default()));
    webhooks.apply(&app(&[&stub.url()]), &senders);
    let running = Running { webhooks, senders, clock };
    running.sends(1);
    running.until("it was tried", |counts| counts.failed == 1);
    running.senders.stop(WAIT_MAX);
    assert_eq!(running.counts(), Counts { failed: 2, dropped: 1, ..Counts::default() });
}

#[test]
fn a_rotated_secret_signs_what_is_sent_from_then_on() {
    let stub = Stub::answering(&[FAULT, OK]);
    let running = run(&app(&[&stub.url()]));
    let rotated = App {
        key: "other-key".into(),
        secrets: vec!["new".into(), "the-secret".into()],
        ..app(&[&stub.url()])
    };
    running.webhooks.apply(&rotated, &running.senders);
    running.sends(1);
    for _ in 0..2 {
        let got = stub.next();
        assert_eq!(got.field("X-Pusher-Key"), Some("other-key"));
        assert_eq!(got.field("X-Pusher-Signature"), Some(&*signature("new", &got.body)));
    }
}

#[test]
fn a_reload_adds_and_removes_receivers_and_keeps_what_was_counted() {
    let (stays, leaves, comes) =
        (Stub::answering(&[OK; 3]), Stub::answering(&[OK; 2]), Stub::answering(&[OK]));
    let running = run(&app(&[&stays.url(), &leaves.url()]));
    running.sends(1);
    assert_eq!((stays.next().events().1, leaves.next().events().1), (events([1]), events([1])));
    running.until("both have taken it", |counts| counts.sent == 2);
    running.report(&Event::ChannelVacated { channel: "a".into() });
    running.webhooks.apply(&app(&[&comes.url(), &stays.url()]), &running.senders);
    running.sends(2);
    assert_eq!(leaves.next().events().1, ["channel_vacated a"], "at once, and nothing after it");
    assert_eq!(comes.next().events().1, events([2]));
    running.until("the rest is taken", |counts| counts.sent == 6 && counts.queued == 0);
    let urls: Vec<_> = running.webhooks.receivers().into_iter().map(|receiver| receiver.url).collect();
    assert_eq!(urls, [comes.url().into_boxed_str(), stays.url().into_boxed_str()]);
    running.until("the thread has ended", |_| lock(&running.webhooks.leaving).receivers.is_empty());
    assert_eq!(running.counts().sent, 6);
    running.webhooks.close(&running.senders);
    assert!(!running.webhooks.wants(WebhookEvent::ClientEvent));
}

#[test]
fn an_app_without_webhooks_reports_nothing() {
    let running = run(&app(&[]));
    assert!(WebhookEvent::ALL.into_iter().all(|kind| !running.webhooks.wants(kind)));
    running.sends(1);
    assert_eq!(running.webhooks.counts(), None);
}

#[test]
fn what_cancels_an_event_is_asked_for_as_well() {
    let stub = Stub::answering(&[]);
    let url = stub.url();
    let webhooks = vec![Webhook { url, events: vec![WebhookEvent::ChannelVacated] }];
    let running = run(&App { webhooks, ..app(&[]) });
    let wanted: Vec<_> = WebhookEvent::ALL.into_iter().filter(|kind| running.webhooks.wants(*kind)).collect();
    assert_eq!(wanted, [WebhookEvent::ChannelOccupied, WebhookEvent::ChannelVacated]);
}
