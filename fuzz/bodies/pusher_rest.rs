//! Signed requests of the HTTP API of Pusher against the rules in `pusher_rest_model`, and what becomes of them.
//!
//! May be refused: what is not signed by one of the secrets at about the time, with 401; a path, method or content that
//! breaks a rule, with one of the statuses below. What is not signed must be.
//!
//! Input: flags (1 byte: 1, the other secret signs; 2, 4 and 8, which of the texts that a client may sign is signed), the time as its distance from the middle in 8 s (1 byte), then the method, a space, the
//! target, a line feed, and the body. In the target, `\x01` stands for the signature, `\x02` for the digest of the body and
//! `\x03` for the parameters that each request has.

use arbitrary::Unstructured;
use fanfare::pusher::rest::{Call, Head, Refused, Signed, Trigger, authenticate, check_body};
use fanfare::pusher::{App, Name};

use super::input::{byte, up_to};
use super::pusher_rest_model::{Model, hex_md5, hmac_hex, prefix_of};

const STATUSES: [u16; 6] = [400, 401, 403, 404, 405, 413];

const TIME_S: u64 = 1_353_088_179;

const SECRETS: [&str; 2] = ["new", "7ad3773142a6692b25b8"];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let flags = byte(&mut input);
    let now_s = TIME_S - 1024 + 8 * u64::from(byte(&mut input));
    let rest = up_to(&mut input, usize::MAX);
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (line, body) = rest.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let (method, target) = line.split_once(' ').unwrap_or(("GET", &line));
    check(method, target, body, flags, now_s);
}

fn app() -> App {
    App { secrets: SECRETS.map(str::to_owned).into(), ..App::new("3", "key", "") }
}

fn check(method: &str, target: &str, body: &[u8], flags: u8, now_s: u64) {
    let target = target
        .replace('\x03', &format!("auth_key=key&auth_timestamp={TIME_S}&auth_version=1.0"))
        .replace('\x02', &hex_md5(body));
    let secret = SECRETS[usize::from(flags & 1)];
    // The signature is no part of what it signs, so it can be put in after the text is known.
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let texts = Model { method, path, prefix: prefix_of(path), query, body }.texts();
    let signature = hmac_hex(secret.as_bytes(), &texts[usize::from(flags >> 1 & 7) % texts.len()]);
    let (path, query) = (path.replace('\x01', &signature), query.replace('\x01', &signature));

    let prefix = prefix_of(&path);
    let model = Model { method, path: &path, prefix, query: &query, body };
    let expected = model.is_signed("key", &SECRETS, now_s);
    let signed = Signed { method, path: &path, prefix, query: &query };
    let result = authenticate(&signed, &app(), now_s).and_then(|parameters| check_body(&parameters, body));
    assert_eq!(result.is_ok(), expected.is_ok(), "{result:?} is not {expected:?}");
    if let Err(unauthorized) = result {
        check_sentence(&unauthorized.to_string());
    }
    check_call(method, &path, &query, body, now_s, expected.is_ok());
}

fn check_call(method: &str, path: &str, query: &str, body: &[u8], now_s: u64, is_signed: bool) {
    let Some(head) = Head::new(method, path, Some(query)) else { return };
    match head.and_then(|head| head.authenticate(&app(), now_s)?.call(body, &app())) {
        Ok(call) => {
            assert!(is_signed, "nobody signed {call:?}");
            check_content(&call);
        }
        Err(refused) => check_refused(&refused, is_signed),
    }
}

fn check_refused(refused: &Refused, is_signed: bool) {
    assert!(STATUSES.contains(&refused.status()), "{refused:?}");
    if is_signed {
        assert_ne!(refused.status(), 401, "it is signed: {refused:?}");
    }
    check_sentence(&refused.to_string());
}

/// A sentence is one line, and not much longer than what it quotes may be.
fn check_sentence(sentence: &str) {
    assert!(!sentence.is_empty() && !sentence.chars().any(char::is_control), "{sentence:?}");
    assert!(sentence.len() < 32 * 1024, "{} bytes", sentence.len());
}

fn check_content(call: &Call) {
    match call {
        Call::Publish(trigger) | Call::PublishTo(trigger) => check_trigger(trigger),
        Call::PublishBatch(batch) => {
            assert!(batch.len() <= 10);
            for trigger in batch {
                assert_eq!(trigger.channels.len(), 1);
                check_trigger(trigger);
            }
        }
        Call::Channels { prefix, info } => {
            assert!(!info.cache && (!info.user_count || prefix.starts_with("presence-")));
        }
        Call::Channel { name, info } => {
            assert!(!info.cache || name.kind().is_cache);
            assert!(!info.user_count || name.kind().is_presence());
        }
        Call::Stats(_) => {}
        Call::Users(name) => assert!(name.kind().is_presence()),
        Call::Terminate(user) => assert!(Name::of_user(user).is_ok()),
    }
}

fn check_trigger(trigger: &Trigger) {
    let Trigger { event, data, channels, .. } = trigger;
    assert!(!event.as_str().starts_with("pusher:") && !event.as_str().starts_with("pusher_internal:"));
    assert!(data.len() <= app().max_event);
    assert!((1..=100).contains(&channels.len()));
    for (at, name) in channels.iter().enumerate() {
        assert!(!channels[..at].contains(name), "{name:?} twice");
        assert!(channels.len() == 1 || !name.kind().is_encrypted);
    }
}
