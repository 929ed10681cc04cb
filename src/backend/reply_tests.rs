//! Answers of a backend, literally.

use super::*;

fn json(body: &str) -> Result<Reply, Unreadable> {
    read(200, Some("application/json"), body.as_bytes())
}

/// What is decided about `chat-7`, held until 9.
fn decide(reply: &Reply) -> Decision {
    reply.decide(&ChannelName::new("chat-7").unwrap(), 9)
}

fn yes(person: Option<Person>, sees: bool) -> Decision {
    Decision::Yes(Grant { person: person.map(Arc::new), sees, ends_at_ms: 9 })
}

fn no(sentence: &str) -> Decision {
    Decision::No(Some(sentence.into()))
}

#[test]
fn an_answer_names_channels_and_the_user() {
    let reply = json(
        r#"{"allow":["chat-7"],"presence":["chat-7"],"sub":"u42","info":{ "name": "A a" },"ttl":300,"message":"chat-8 is by invitation"}"#,
    )
    .unwrap();
    let person = Person { sub: Some("u42".into()), info: Some(r#"{"name":"A a"}"#.into()) };
    assert_eq!(decide(&reply), yes(Some(person), true));
    assert_eq!(reply.ttl_ms(), 300_000);
    let other = reply.decide(&ChannelName::new("chat-8").unwrap(), 9);
    assert_eq!(other, no("chat-8 is by invitation"));
}

#[test]
fn all_but_the_list_may_be_missing_or_null() {
    let least = json(r#"{"allow":["chat-7","else"]}"#).unwrap();
    let nulls = json(
        r#"{"allow":["chat-7","else"],"presence":null,"sub":null,"info":null,"ttl":null,"message":null,"x":[{}]}"#,
    );
    assert_eq!(Ok(&least), nulls.as_ref());
    assert_eq!((decide(&least), least.ttl_ms()), (yes(None, false), 60_000));
    assert_eq!(decide(&json(r#"{"allow":[]}"#).unwrap()), Decision::No(None));
}

#[test]
fn a_glob_is_no_name() {
    assert_eq!(decide(&json(r#"{"allow":["chat-*","*"]}"#).unwrap()), Decision::No(None));
    assert_eq!(decide(&json(r#"{"allow":["chat-7"],"presence":["*"]}"#).unwrap()), yes(None, false));
}

#[test]
fn the_time_is_between_a_second_and_a_day() {
    for (ttl, ms) in
        [("0.001", 1000), ("1", 1000), ("1.5", 1500), ("86401", 86_400_000), ("1e300", 86_400_000)]
    {
        assert_eq!(json(&format!(r#"{{"allow":[],"ttl":{ttl}}}"#)).unwrap().ttl_ms(), ms, "{ttl}");
    }
}

#[test]
fn an_answer_that_holds_for_no_time_is_a_fault() {
    for ttl in ["0", "-0", "0.0", "-1", "-0.5", "-1e300"] {
        let wrong = json(&format!(r#"{{"allow":["chat-7"],"ttl":{ttl}}}"#)).unwrap_err();
        assert_eq!((wrong.fault(), &wrong), (Fault::Unreadable, &Unreadable::NoTime), "{ttl}");
        assert_eq!(wrong.to_string(), "ttl in its answer is not above 0; it is 1 to 86400 seconds");
    }
}

#[test]
fn a_204_allows_all_for_a_minute_to_somebody_unknown() {
    let reply = read(204, None, b"").unwrap();
    assert_eq!((decide(&reply), reply.ttl_ms(), reply.is_refusal()), (yes(None, false), 60_000, false));
}

#[test]
fn a_401_or_403_allows_nothing_and_a_text_with_it_is_the_sentence() {
    for status in [401, 403] {
        let reply = |media_type, body: &[u8]| read(status, media_type, body).unwrap();
        let refused = reply(None, b" Sign in.\r\n");
        assert_eq!((decide(&refused), refused.is_refusal()), (no("Sign in."), true));
        assert_eq!(decide(&reply(Some("text/plain; charset=utf-8"), "Nö".as_bytes())), no("Nö"));
        assert_eq!(decide(&reply(Some("Text/Plain"), b"a\nb\x1b\xff")), no("a b"));
        for (media_type, body) in
            [(Some("text/html"), &b"<p>No</p>"[..]), (Some("application/json"), b"{}"), (None, b" \r\n")]
        {
            assert_eq!(decide(&reply(media_type, body)), Decision::No(None), "{media_type:?}");
        }
        let long = decide(&reply(None, "ü".repeat(BODY_LEN_MAX).as_bytes()));
        assert_eq!(long, no(&"ü".repeat(200)));
    }
}

#[test]
fn what_is_not_documented_is_a_fault() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"allow":true}"#,
        r#"{"allow":"chat-7"}"#,
        r#"{"allow":[7]}"#,
        r#"{"allow":null}"#,
        r#"{"allow":[],"presence":true}"#,
        r#"{"allow":[],"sub":7}"#,
        r#"{"allow":[],"ttl":"60"}"#,
        r#"{"allow":[],"message":[]}"#,
        r#"{"allow":["chat-7"],"allow":[]}"#,
        r#"{"allow":[]}x"#,
        "<html>",
    ] {
        let wrong = json(body).unwrap_err();
        assert!(matches!(wrong, Unreadable::Json(_)), "{body}: {wrong:?}");
        assert_eq!(wrong.fault(), Fault::Unreadable);
    }
    assert_eq!(json(r#"{"allow":[],"sub":""}"#), Err(Unreadable::EmptySub));
}

#[test]
fn what_is_too_long_is_a_fault() {
    let sub = |len| json(&format!(r#"{{"allow":[],"sub":"{}"}}"#, "x".repeat(len)));
    assert!(sub(200).is_ok());
    assert_eq!(sub(201), Err(Unreadable::Length("sub", 201)));
    let info = |len: usize| json(&format!(r#"{{"allow":[],"info": "{}" }}"#, "x".repeat(len - 2)));
    assert!(info(1024).is_ok());
    assert_eq!(info(1025), Err(Unreadable::Length("info", 1025)));
    let body = |len: usize| json(&format!("{}{}", r#"{"allow":[]}"#, " ".repeat(len - 12)));
    assert!(body(BODY_LEN_MAX).is_ok());
    assert_eq!(body(BODY_LEN_MAX + 1), Err(Unreadable::TooLong));
}

#[test]
fn every_other_status_is_a_fault_and_a_redirection_is_called_one() {
    for status in [201, 206, 301, 302, 307, 308, 400, 404, 407, 429, 500, 503] {
        let wrong = read(status, None, br#"{"allow":["chat-7"]}"#).unwrap_err();
        assert_eq!((wrong.fault(), &wrong), (Fault::Status(status), &Unreadable::Status(status)));
        assert_eq!(wrong.to_string().contains("redirection"), (300..400).contains(&status), "{wrong}");
    }
}
