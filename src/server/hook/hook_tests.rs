//! A backend over sockets, asked by threads. Nothing waits for a fixed time but for what must not come.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mio::{Events, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::stub::{Act, Got, Stub, json, text};
use super::*;
use crate::backend::{Decision, Fields, QuestionId};
use crate::server::broker::mailbox::mailboxes;

const WAIT_MAX: Duration = Duration::from_secs(20);

const ALL: &str = r#"{"allow":["a","b","c"],"presence":["a"],"sub":"u42","ttl":60}"#;

/// A hook, and the loop that its answers go to.
struct Scene {
    hook: Hook,
    mailboxes: Arc<[Mailbox]>,
    poll: Poll,
    clock: Clock,
}

fn run(url: &str, timeout: Duration) -> Scene {
    let poll = Poll::new().unwrap();
    let mailboxes: Arc<[_]> = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap().into();
    let clock = Clock::start();
    let backend = Backend { timeout, secret: Some("the-secret".into()), ..Backend::new(url) };
    Scene {
        hook: Hook::new(&backend, clock, Arc::clone(&mailboxes), &Trust::default()),
        mailboxes,
        poll,
        clock,
    }
}

fn client(number: usize) -> Arc<Credentials> {
    let cookie = format!("sid={number}");
    let fields = Fields {
        cookie: Some(cookie.as_bytes()),
        origin: Some(b"https://a.example"),
        user_agent: Some(b"test \xff"),
        ..Fields::default()
    };
    Arc::new(Credentials::new(fields, "192.0.2.1"))
}

fn names(names: &[&str]) -> Vec<ChannelName> {
    names.iter().map(|name| ChannelName::new(name).unwrap()).collect()
}

impl Scene {
    /// A question of a client; its connection has the client's number.
    fn ask(&self, by: usize, channels: &[&str]) -> Asked {
        let question = Question {
            credentials: &client(by),
            action: Action::Subscribe,
            channels: &names(channels),
            transport: Transport::WebSocket,
            waiter: Waiter { loop_index: 0, connection: by as u64 },
        };
        self.hook.ask(question, self.clock.now())
    }

    fn waits(&self, by: usize, channels: &[&str]) -> QuestionId {
        match self.ask(by, channels) {
            Asked::Waiting(question) => question,
            Asked::Known(decisions) => panic!("it is known: {decisions:?}"),
        }
    }

    /// The next verdicts, at least that many.
    fn verdicts(&mut self, count: usize) -> Vec<Verdict> {
        let (start, mut verdicts) = (Instant::now(), Vec::new());
        let mut events = Events::with_capacity(8);
        while verdicts.len() < count {
            assert!(start.elapsed() < WAIT_MAX, "{} of {count}", verdicts.len());
            if self.mailboxes[0].may_sleep() {
                self.poll.poll(&mut events, Some(Duration::from_secs(1))).unwrap();
            }
            self.mailboxes[0].is_up();
            verdicts.append(&mut self.mailboxes[0].take_verdicts());
        }
        verdicts
    }

    /// Asks, and what is decided about one channel.
    fn decision(&mut self, by: usize, channel: &str) -> Decision {
        match self.ask(by, &[channel]) {
            Asked::Known(decisions) => decisions[0].clone(),
            Asked::Waiting(question) => {
                let verdict = self.verdicts(1).remove(0);
                assert_eq!((verdict.connection, verdict.question), (by as u64, question));
                verdict.decisions[0].clone()
            }
        }
    }

    fn fault(&mut self, by: usize) -> Fault {
        match self.decision(by, "a") {
            Decision::Fault(fault) => fault,
            other => panic!("it is decided: {other:?}"),
        }
    }

    fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let start = Instant::now();
        while !is_so(&lock(&self.hook.office.state)) {
            assert!(start.elapsed() < WAIT_MAX, "not in time: {what}");
            thread::yield_now();
        }
    }
}

fn is_yes(decision: &Decision) -> bool {
    matches!(decision, Decision::Yes(_))
}

#[test]
fn a_call_shows_what_the_client_brought_and_is_signed() {
    let stub = Stub::new(|_| json(ALL));
    let mut scene = run(&stub.url(), WAIT_MAX);
    let question = scene.waits(7, &["a", "d"]);
    let got = stub.next();
    assert!(got.head.starts_with("POST /auth?token=x HTTP/1.1\r\n"), "{got:?}");
    assert_eq!(got.body, r#"{"action":"subscribe","channels":["a","d"],"transport":"websocket"}"#);
    let fields = ["Content-Type", "Cookie", "Origin", "X-Forwarded-For", "Host", "Authorization"];
    let address = stub.address.to_string();
    let expected = [
        Some("application/json"),
        Some("sid=7"),
        Some("https://a.example"),
        Some("192.0.2.1"),
        Some(&*address),
        None,
    ];
    assert_eq!(fields.map(|name| got.field(name)), expected);
    let signed = got.field("Fanfare-Signature").unwrap();
    let time_s = signed.strip_prefix("t=").and_then(|rest| rest.split_once(',')).unwrap().0.parse().unwrap();
    assert_eq!(signed, crate::backend::signature("the-secret", time_s, &got.body));
    assert!(crate::server::clock::unix_ms() / 1000 - time_s <= 20);
    let verdict = scene.verdicts(1).remove(0);
    assert_eq!((verdict.connection, verdict.question), (7, question));
    let [Decision::Yes(grant), Decision::No(None)] = &*verdict.decisions else { panic!("{verdict:?}") };
    assert!(grant.sees && grant.person.as_ref().unwrap().sub.as_deref() == Some("u42"));
    assert!(is_yes(&scene.decision(7, "a")));
    assert_eq!((stub.count(), scene.hook.counts().outcomes.allowed), (0, 1));
}

#[test]
fn calls_follow_each_other_on_one_connection() {
    let stub = Stub::new(|_| json(ALL));
    let mut scene = run(&stub.url(), WAIT_MAX);
    for by in 0..5 {
        assert!(is_yes(&scene.decision(by, "a")));
        assert_eq!(stub.next().connection, 0);
    }
}

#[test]
fn thirty_two_calls_are_made_at_once_and_no_more() {
    let stub = Stub::new(|_| Act::Hang);
    let mut scene = run(&stub.url(), Duration::from_secs(3));
    for by in 0..40 {
        scene.waits(by, &["a"]);
    }
    for _ in 0..32 {
        stub.next();
    }
    assert!(stub.is_quiet_for(Duration::from_millis(100)));
    let counts = scene.hook.counts();
    assert_eq!((counts.calls, counts.waiting, counts.questions), (32, 8, 40));
    let verdicts = scene.verdicts(40);
    assert!(verdicts.iter().all(|verdict| matches!(*verdict.decisions, [Decision::Fault(_)])));
    // On a busy machine, one that was asked about later has some time left when the first has had its own.
    let late = stub.count();
    let timeouts = scene.hook.counts().outcomes.timeout;
    assert!((32..=32 + late as u64).contains(&timeouts), "{timeouts}");
}

#[test]
fn a_backend_that_takes_its_time_byte_by_byte_has_no_more_of_it_than_another() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"allow\":[]}";
    let late_body = Stub::new(move |_| Act::Drip(answer.replace("12", "2000") + &" ".repeat(1_988)));
    let late_head = Stub::new(|_| Act::Drip(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2_000))));
    for stub in [late_body, late_head, Stub::new(|_| Act::Hang)] {
        let mut scene = run(&stub.url(), Duration::from_millis(1_200));
        let start = Instant::now();
        assert_eq!(scene.fault(1), Fault::Timeout(1_200));
        let took = start.elapsed();
        assert!((Duration::from_millis(1_150)..Duration::from_secs(10)).contains(&took), "{took:?}");
    }
}

#[test]
fn what_is_neither_yes_nor_no_is_a_fault() {
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_owned() + &" ".repeat(70_000);
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = |text: &str| Act::Answer(text.to_owned());
    for (act, fault) in [
        (text(500, "oops"), Fault::Status(500)),
        (json("{}"), Fault::Unreadable),
        (json("<html>"), Fault::Unreadable),
        (Act::Answer(endless), Fault::Unreadable),
        (Act::Answer(long_head), Fault::Unreadable),
        (answer("SSH-2.0-OpenSSH\r\n\r\n"), Fault::Unreadable),
        (answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), Fault::Unreadable),
        (Act::Cut, Fault::Unreachable),
    ] {
        let shown = format!("{act:.80?}");
        let stub = Stub::new(move |_| act.clone());
        assert_eq!(run(&stub.url(), WAIT_MAX).fault(1), fault, "{shown}");
    }
}

#[test]
fn a_redirection_is_a_fault_and_not_followed() {
    let elsewhere = Stub::new(|_| json(ALL));
    for status in [301, 302, 303, 307, 308] {
        let moved =
            format!("HTTP/1.1 {status} x\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
        let stub = Stub::new(move |_| Act::Answer(moved.clone()));
        assert_eq!(run(&stub.url(), WAIT_MAX).fault(1), Fault::Status(status));
    }
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_refusal_is_told_with_the_sentence_of_the_backend() {
    let stub = Stub::new(|_| text(403, "Sign in at /login."));
    let mut scene = run(&stub.url(), WAIT_MAX);
    assert_eq!(scene.decision(1, "a"), Decision::No(Some("Sign in at /login.".into())));
    assert_eq!(scene.hook.counts().outcomes.refused, 1);
    let stub = Stub::new(|_| Act::Answer("HTTP/1.1 204 No Content\r\n\r\n".into()));
    assert!(is_yes(&run(&stub.url(), WAIT_MAX).decision(1, "anything")));
}

#[test]
fn a_backend_that_does_not_listen_is_a_fault_and_decides_once_it_does() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut scene = run(&format!("http://{address}"), WAIT_MAX);
    assert_eq!(scene.fault(1), Fault::Unreachable);
    socket.listen(8).unwrap();
    let _stub = Stub::serving(TcpListener::from(socket), |_| json(ALL));
    assert!(is_yes(&scene.decision(2, "a")));
}

#[test]
fn a_kept_connection_that_the_backend_has_closed_is_no_fault() {
    let is_first = AtomicUsize::new(0);
    let stub = Stub::new(move |_| match is_first.fetch_add(1, Ordering::Relaxed) {
        0 => Act::Cut,
        _ => json(ALL),
    });
    let mut scene = run(&stub.url(), WAIT_MAX);
    assert!(is_yes(&scene.decision(1, "a")));
    assert_eq!(stub.count(), 2);
}

#[test]
fn ten_thousand_connections_with_one_cookie_are_one_call() {
    let stub = Stub::new(|_| json(ALL));
    let mut scene = run(&stub.url(), WAIT_MAX);
    let waiting = (0..10_000).filter(|_| matches!(scene.ask(1, &["a"]), Asked::Waiting(_))).count();
    scene.verdicts(waiting);
    assert_eq!(stub.count(), 1);
}

#[test]
fn while_the_backend_does_not_listen_ten_thousand_clients_are_told_at_once() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut scene = run(&format!("http://{address}"), WAIT_MAX);
    let start = Instant::now();
    let waiting = (0..10_000).filter(|by| matches!(scene.ask(*by, &["a"]), Asked::Waiting(_))).count();
    scene.verdicts(waiting);
    let (calls, took) = (scene.hook.counts().outcomes.unreachable, start.elapsed());
    // The 32 that were under way, and one a second.
    assert!(calls <= 32 + 8 + took.as_secs(), "{calls} calls in {took:?}");
}

#[test]
fn at_the_stop_those_who_wait_are_told_and_no_thread_stays() {
    let stub = Stub::new(|_| Act::Hang);
    let mut scene = run(&stub.url(), Duration::from_millis(500));
    scene.waits(1, &["a"]);
    stub.next();
    scene.hook.stop(Duration::ZERO);
    assert_eq!(*scene.verdicts(1)[0].decisions, [Decision::Fault(Fault::Stopped)]);
    assert_eq!(scene.fault(2), Fault::Stopped);
    scene.hook.stop(WAIT_MAX);
    scene.until("the thread has ended", |state| state.threads == 0);
}

#[test]
fn idle_threads_end_at_once_when_the_hook_is_dropped() {
    let stub = Stub::new(|got: &Got| json(&ALL.replace("u42", got.field("Cookie").unwrap())));
    let mut scene = run(&stub.url(), WAIT_MAX);
    assert!(is_yes(&scene.decision(1, "a")));
    let office = Arc::clone(&scene.hook.office);
    drop(scene);
    let start = Instant::now();
    while lock(&office.state).threads > 0 {
        assert!(start.elapsed() < IDLE_TIME_MAX / 2);
        thread::yield_now();
    }
}
