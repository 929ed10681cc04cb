//! A URL of keys over sockets, fetched by the thread at a pace for tests.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::server::hook::stub::{Act, Stub, json, text};

const WAIT_MAX: Duration = Duration::from_secs(20);

/// An hour: it does not come in a test.
const NEVER_MS: u64 = 60 * 60 * 1000;

const ED25519: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"KID","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// A set with keys of these names.
fn set(kids: &[&str]) -> Act {
    let keys: Vec<_> = kids.iter().map(|kid| ED25519.replace("KID", kid)).collect();
    json(&format!("{{\"keys\":[{}]}}", keys.join(",")))
}

/// A URL whose answers a test changes, what is fetched there, and the names of the keys that were handed on.
struct Scene {
    act: Arc<Mutex<Act>>,
    stub: Stub,
    key_url: KeyUrl,
    taken: Receiver<Vec<String>>,
}

fn run(pace: Pace, act: Act) -> Scene {
    let act = Arc::new(Mutex::new(act));
    let answers = Arc::clone(&act);
    let stub = Stub::new(move |_| lock(&answers).clone());
    let key_url = KeyUrl::fetch_at(pace, &stub.url(), Clock::start(), &Trust::default());
    let (sender, taken) = channel();
    let take = move |keys: &Keys| {
        let kids = keys.iter().map(|key| key.kid().to_owned()).collect();
        sender.send(kids).ok().map(|()| "keys: others".to_owned())
    };
    key_url.start(take).unwrap();
    Scene { act, stub, key_url, taken }
}

impl Scene {
    fn becomes(&self, act: Act) {
        *lock(&self.act) = act;
    }

    fn kids(&self) -> Vec<String> {
        self.key_url.keys().iter().map(|key| key.kid().to_owned()).collect()
    }

    fn next(&self) -> Vec<String> {
        self.taken.recv_timeout(WAIT_MAX).expect("other keys are handed on")
    }
}

#[test]
fn the_first_fetch_is_waited_for_and_the_next_comes_in_its_time() {
    let scene = run(Pace { every_ms: 20, apart_ms: 10, apart_at_first_ms: NEVER_MS }, set(&["a"]));
    assert_eq!(scene.kids(), ["a"]);
    let got = scene.stub.next();
    assert!(got.head.starts_with("GET /auth?token=x HTTP/1.1\r\n"), "{}", got.head);
    assert_eq!(got.field("Accept"), Some("application/jwk-set+json, application/json"));
    scene.becomes(set(&["a", "b"]));
    assert_eq!(scene.next(), ["a", "b"]);
    scene.becomes(set(&["b"]));
    assert_eq!(scene.next(), ["b"]);
}

#[test]
fn keys_that_are_not_fetched_leave_the_last_ones_and_are_fetched_again() {
    let scene = run(Pace { every_ms: 10, apart_ms: 10, apart_at_first_ms: NEVER_MS }, set(&["a"]));
    for wrong in [text(500, "oops"), json("{}"), json("{\"keys\":[{\"kty\":\"RSA\"}]}"), Act::Cut] {
        let before = scene.key_url.counts();
        scene.becomes(wrong);
        let started = std::time::Instant::now();
        while scene.key_url.counts().failed < before.failed + 2 {
            assert!(started.elapsed() < WAIT_MAX);
            thread::yield_now();
        }
        assert_eq!(scene.kids(), ["a"]);
    }
    assert!(scene.taken.try_recv().is_err(), "nothing else was handed on");
    scene.becomes(set(&["b"]));
    assert_eq!(scene.next(), ["b"]);
}

#[test]
fn a_server_begins_without_keys_and_has_them_as_soon_as_they_are_there() {
    let scene = run(Pace { every_ms: NEVER_MS, apart_ms: NEVER_MS, apart_at_first_ms: 10 }, text(404, "no"));
    assert!(scene.kids().is_empty());
    scene.becomes(set(&["a"]));
    assert_eq!(scene.next(), ["a"]);
}

#[test]
fn an_unknown_key_has_them_fetched_at_once_and_the_next_one_not_before_its_time() {
    let scene = run(Pace { every_ms: NEVER_MS, apart_ms: 0, apart_at_first_ms: 0 }, set(&["a"]));
    scene.stub.next();
    scene.becomes(set(&["a", "b"]));
    scene.key_url.note_unknown();
    assert_eq!(scene.next(), ["a", "b"]);

    let scene = run(Pace { every_ms: NEVER_MS, apart_ms: NEVER_MS, apart_at_first_ms: 0 }, set(&["a"]));
    scene.stub.next();
    (0..1000).for_each(|_| scene.key_url.note_unknown());
    assert!(scene.stub.is_quiet_for(Duration::from_millis(200)));
}

#[test]
fn each_reason_why_there_are_no_keys_is_one_sentence() {
    let said = |act: Act| {
        let stub = Stub::new(move |_| act.clone());
        Client::new(&stub.url(), &Trust::default()).fetch().map(drop).unwrap_err().to_string()
    };
    let long = format!("{{\"keys\":[\"{}\"]}}", "x".repeat(1024 * 1024));
    for (act, words) in [
        (text(404, "no"), "it answers 404"),
        (text(302, "there"), "it answers 302: give the URL that it redirects to"),
        (json("<html>"), "it begins like JSON, and is no JSON object"),
        (json("{\"keys\":[]}"), "none of its keys is for"),
        (json("{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\"}]}"), "key \"k\": n is base64url"),
        (json(&long), "the answer is longer than 1048576 bytes"),
    ] {
        let said = said(act);
        assert!(said.starts_with(words), "{said}");
    }
}

#[test]
fn the_thread_ends_with_its_owner() {
    let scene = run(Pace::default(), set(&["a"]));
    let desk = Arc::downgrade(&scene.key_url.desk);
    drop(scene.key_url);
    let started = std::time::Instant::now();
    while desk.strong_count() > 0 {
        assert!(started.elapsed() < WAIT_MAX);
        thread::yield_now();
    }
}
