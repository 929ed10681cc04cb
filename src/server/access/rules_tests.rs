//! Each row of the table of who may do what, and what those are told who may not.

use std::num::NonZeroUsize;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
use crate::config::Backend;
use crate::http::{Event, Limits, RequestReader};
use crate::server::access::Guard;
use crate::token::Key;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_790_000_000;

fn request_to(target: &str, fields: &str) -> Request {
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes());
    let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("a complete head") };
    request
}

fn request(fields: &str) -> Request {
    request_to("/channels/c", fields)
}

fn token_keys() -> Keys {
    let mut keys = Keys::default();
    keys.push(Key::secret("2026-09", SECRET).unwrap()).unwrap();
    keys
}

/// A token with these claims, beside times.
fn token(claims: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"iat":{NOW_S},"exp":{},{claims}}}"#, NOW_S + 60);
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let signature = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn u42() -> String {
    token(
        r#""sub":"u42","fanfare":{"subscribe":["news","chat-*"],"publish":["chat-7"],"presence":["chat-*"],"info":{"name":"Ada"}}"#,
    )
}

fn key(name: &str, publish: &[&str], read: &[&str], admin: bool) -> AccessKey {
    let globs = |list: &[&str]| list.iter().map(|glob| Glob::new(glob)).collect();
    AccessKey {
        publish: globs(publish),
        read: globs(read),
        admin,
        ..AccessKey::with_all_rights(name, &format!("{name}-secret"))
    }
}

fn rules(rules: &[(&str, AuthRule)]) -> Vec<(Glob, AuthRule)> {
    rules.iter().map(|&(glob, rule)| (Glob::new(glob), rule)).collect()
}

/// Keys `all`, `billing` and `reader`, token keys, a backend, and a channel with each rule.
fn with_all() -> Config {
    Config {
        threads: NonZeroUsize::MIN,
        keys: vec![
            key("all", &["*"], &["*"], true),
            key("billing", &["invoice-*"], &[], false),
            key("reader", &[], &["ops", "closed"], false),
        ],
        token_keys: token_keys(),
        backend: Some(Backend::new("http://127.0.0.1:1/")),
        auth: rules(&[("open", AuthRule::Open), ("asked", AuthRule::Hook), ("closed", AuthRule::Key)]),
        ..Config::default()
    }
}

/// A server with a configuration, as a client sees it.
struct Seen {
    guard: Guard,
    access: Arc<Access>,
}

impl Seen {
    fn new(config: &Config) -> Self {
        let guard = Guard::new(config, 1);
        Self { access: guard.access(), guard }
    }

    fn identify(&self, request: &Request) -> Result<Option<Arc<Identity>>, Refusal> {
        self.guard.identify(&self.access, request, NOW_S)
    }

    fn bearer(&self, credential: &str) -> Result<Option<Arc<Identity>>, Refusal> {
        self.identify(&request(&format!("Authorization: Bearer {credential}\r\n")))
    }

    /// Who shows this credential; nobody if it is empty.
    fn who(&self, credential: &str) -> Option<Arc<Identity>> {
        if credential.is_empty() { None } else { self.bearer(credential).unwrap() }
    }
}

fn named(channel: &str) -> ChannelName {
    ChannelName::new(channel).unwrap()
}

/// `yes`, `ask`, or the code and the sentence.
fn told(verdict: Verdict) -> String {
    match verdict {
        Verdict::Yes => "yes".to_owned(),
        Verdict::Ask(_) => "ask".to_owned(),
        Verdict::No(refusal) => format!("{}: {refusal}", refusal.code()),
    }
}

#[test]
fn a_client_subscribes_by_a_key_that_reads_or_where_the_rule_lets_it_in() {
    let seen = Seen::new(&with_all());
    let token = u42();
    let needs_token = |channel: &str| format!("no_token: {}", Error::NoToken(named(channel)));
    let needs_key = "no_token: Channel closed is for holders of a key: Authorization: Bearer KEY.";
    for (credential, channel, expected) in [
        ("", "open", "yes"),
        ("", "news", &*needs_token("news")),
        ("", "asked", "ask"),
        ("", "closed", needs_key),
        (&*token, "open", "yes"),
        (&token, "news", "yes"),
        (&token, "chat-8", "yes"),
        (&token, "ops", "forbidden: The token of u42 subscribes to news, chat-*; not to ops."),
        (&token, "asked", "ask"),
        (&token, "closed", needs_key),
        ("all-secret", "news", "yes"),
        ("all-secret", "asked", "yes"),
        ("all-secret", "closed", "yes"),
        ("reader-secret", "open", "yes"),
        ("reader-secret", "ops", "yes"),
        ("reader-secret", "closed", "yes"),
        ("reader-secret", "asked", "ask"),
        ("reader-secret", "news", "forbidden: The key reader reads ops, closed; not news."),
        ("billing-secret", "closed", "forbidden: The key billing reads no channel; not closed."),
        (
            "all-secret",
            "@fanfare.dashboard",
            "forbidden: Channels whose names begin with @fanfare. are the server's own.",
        ),
    ] {
        let who = seen.who(credential);
        let verdict = seen.access.may_subscribe(who.as_deref(), &named(channel));
        assert_eq!(told(verdict), expected, "{credential} {channel}");
    }
}

#[test]
fn a_client_sees_who_is_where_it_subscribes_and_its_token_has_a_glob_for_it() {
    let seen = Seen::new(&with_all());
    let token = u42();
    for (credential, channel, expected) in [
        ("", "open", "yes"),
        ("", "asked", "ask"),
        (&*token, "open", "yes"),
        (&token, "chat-7", "yes"),
        (&token, "news", "forbidden: The token of u42 sees who is in chat-*; not in news."),
        (&token, "ops", "forbidden: The token of u42 subscribes to news, chat-*; not to ops."),
        ("reader-secret", "ops", "yes"),
        ("all-secret", "closed", "yes"),
    ] {
        let who = seen.who(credential);
        let verdict = seen.access.may_see(who.as_deref(), &named(channel));
        assert_eq!(told(verdict), expected, "{credential} {channel}");
    }
}

#[test]
fn a_client_publishes_by_key_by_token_by_client_publish_or_by_the_backend() {
    let config = Config { client_publish: vec![Glob::new("news"), Glob::new("open")], ..with_all() };
    let seen = Seen::new(&config);
    let token = u42();
    let no_key = "no_token: Publishing needs the key: send Authorization: Bearer KEY, with the server's --publish-key.";
    for (credential, channel, expected) in [
        ("", "open", "yes"),
        ("", "news", no_key),
        ("", "ops", no_key),
        ("", "asked", "ask"),
        (&*token, "chat-7", "yes"),
        (&token, "news", "yes"),
        (&token, "chat-8", "forbidden: The token of u42 publishes to chat-7; not to chat-8."),
        (&token, "asked", "ask"),
        ("billing-secret", "invoice-7", "yes"),
        ("billing-secret", "chat-7", "forbidden: The key billing publishes to invoice-*; not to chat-7."),
        ("billing-secret", "open", "yes"),
        ("reader-secret", "ops", "forbidden: The key reader publishes to no channel; not to ops."),
        ("all-secret", "closed", "yes"),
        (
            "all-secret",
            "@fanfare.x",
            "forbidden: Channels whose names begin with @fanfare. are the server's own.",
        ),
    ] {
        let who = seen.who(credential);
        let verdict = seen.access.may_publish(who.as_deref(), &named(channel));
        assert_eq!(told(verdict), expected, "{credential} {channel}");
    }
}

#[test]
fn where_only_tokens_publish_a_client_without_one_is_told_to_bring_one() {
    let seen = Seen::new(&Config { token_keys: token_keys(), ..Config::default() });
    let told = told(seen.access.may_publish(None, &named("chat-7")));
    assert!(told.starts_with("no_token: Channel chat-7 needs a token: Authorization: Bearer JWT"), "{told}");
}

#[test]
fn a_key_with_admin_administers_and_no_other_proof_does() {
    let seen = Seen::new(&with_all());
    let check = |credential: &str| {
        let who = seen.who(credential);
        seen.access
            .check_admin(who.as_deref())
            .map_err(|refusal| (refusal.status().code(), refusal.to_string()))
    };
    assert_eq!(check("all-secret"), Ok(()));
    let words = "The key billing does not administer; this needs a key with admin=true.".to_owned();
    assert_eq!(check("billing-secret"), Err((403, words)));
    for credential in ["", &*u42()] {
        assert_eq!(check(credential).unwrap_err().0, 401, "{credential}");
    }
}

#[test]
fn without_a_rule_channels_are_closed_by_token_keys_then_by_a_backend_then_open() {
    let rule = |config: Config| told(Access::new(&config).may_subscribe(None, &named("c")));
    let backend = || Some(Backend::new("http://127.0.0.1:1/"));
    assert_eq!(rule(Config::default()), "yes");
    assert_eq!(rule(Config { keys: vec![key("a", &["*"], &["*"], true)], ..Config::default() }), "yes");
    assert_eq!(rule(Config { backend: backend(), ..Config::default() }), "ask");
    let both = Config { backend: backend(), token_keys: token_keys(), ..Config::default() };
    assert!(rule(both).starts_with("no_token: "));
}

#[test]
fn the_first_rule_that_fits_decides_and_that_for_all_channels_comes_last() {
    let auth = rules(&[("*", AuthRule::Open), ("chat-*", AuthRule::Key), ("chat-7", AuthRule::Open)]);
    let access = Access::new(&Config { auth, ..Config::default() });
    let may = |channel: &str| access.may_subscribe(None, &named(channel)) == Verdict::Yes;
    assert!(may("news") && !may("chat-7"));
    assert!(access.may_subscribe(None, &named("chat-7").in_space("8")) != Verdict::Yes, "whatever the app");
}

#[test]
fn a_grant_names_the_channels_of_another_app_by_their_space() {
    let seen = Seen::new(&with_all());
    let who = seen.who(&u42());
    let other = named("news").in_space("8");
    assert_eq!(
        told(seen.access.may_subscribe(who.as_deref(), &other)),
        "forbidden: The token of u42 subscribes to news, chat-*; not to 8/news."
    );
}

#[test]
fn a_proof_that_is_sent_must_be_good() {
    let seen = Seen::new(&with_all());
    let refused = |credential: &str| {
        let refusal = seen.bearer(credential).unwrap_err();
        (refusal.code(), refusal.status().code(), refusal.to_string())
    };
    let wrong = "The key in Authorization: Bearer is not the server's --publish-key.";
    assert_eq!(refused("other"), ("bad_token", 401, wrong.to_owned()));
    let forged = u42().replacen(['4', 'M'], "Q", 1);
    assert_eq!(refused(&forged).0, "bad_token");
    assert_eq!(refused(&token(r#""sub":"u42""#)).2, "It has no fanfare claim; is it a session's token?");
    let late = seen.guard.identify_token(&seen.access, &u42(), NOW_S + 102).unwrap_err();
    let words =
        format!("The token expired 42 s ago: exp {}, this server's clock {}.", NOW_S + 60, NOW_S + 102);
    assert_eq!((late.code(), late.to_string()), ("expired", words));
}

#[test]
fn what_a_credential_is_depends_on_what_is_configured() {
    let keys = || vec![key("all", &["*"], &["*"], true)];
    let backend = || Some(Backend::new("http://127.0.0.1:1/"));
    let open = Seen::new(&Config::default());
    assert!(open.bearer("anything").unwrap().is_none(), "nobody asks");
    let asks = Seen::new(&Config { backend: backend(), keys: keys(), ..Config::default() });
    assert!(asks.bearer("opaque").unwrap().is_none(), "the backend's");
    assert!(asks.bearer(&u42()).unwrap().is_none(), "the backend's");
    assert_eq!(asks.bearer("all-secret").unwrap().unwrap().key_name(), Some("all"));
    let keyed = Seen::new(&Config { keys: keys(), ..Config::default() });
    assert_eq!(keyed.bearer("opaque").unwrap_err(), Refusal::WrongKey);
    assert_eq!(keyed.bearer(&u42()).unwrap_err().to_string(), "alg is HS256, no such key is configured.");
    let tokens = Seen::new(&Config { token_keys: token_keys(), ..Config::default() });
    assert!(tokens.bearer("opaque").unwrap_err().to_string().starts_with("It is no signed JWT"));
    let identity = tokens.bearer(&u42()).unwrap().unwrap();
    assert_eq!((identity.sub(), identity.info()), (Some("u42"), Some(r#"{"name":"Ada"}"#)));
    assert_eq!(identity.key_name(), None);
}

#[test]
fn a_key_ends_when_it_was_said_to() {
    let expiring = AccessKey { not_after_s: Some(NOW_S), ..key("old", &["*"], &["*"], true) };
    let seen = Seen::new(&Config { keys: vec![expiring], ..Config::default() });
    let before =
        seen.guard.identify(&seen.access, &request("Authorization: Bearer old-secret\r\n"), NOW_S - 1);
    let identity = before.unwrap().unwrap();
    assert_eq!(identity.ends_at((NOW_S - 100) * 1000), Some(crate::server::clock::Millis(100_000)));
    let refusal = seen.bearer("old-secret").unwrap_err();
    assert_eq!(refusal.code(), "expired");
    assert_eq!(refusal.to_string(), "The key old expired at 2026-09-21T14:13:20Z.");
}

#[test]
fn a_token_travels_by_each_carrier_that_is_allowed() {
    let config = Config {
        token_keys: token_keys(),
        token_cookie: Some("t".to_owned()),
        token_in_query: true,
        allow_origin: vec!["https://a.example".to_owned()],
        ..Config::default()
    };
    let (all, few) =
        (Seen::new(&config), Seen::new(&Config { token_keys: token_keys(), ..Config::default() }));
    let token = u42();
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Protocol: fanfare.v1.json";
    let by_subprotocol = request(&format!("{upgrade}, bearer.{token}\r\n"));
    let by_cookie = request(&format!("Cookie: a=1; t={token}; b=2\r\nOrigin: https://a.example\r\n"));
    let by_query = request_to(&format!("/channels/c?last=1&access_token={token}"), "");
    let by_field = request(&format!("authorization: BEARER {token}\r\n"));
    let sub = |seen: &Seen, request: &Request| {
        seen.identify(request).unwrap().and_then(|who| who.sub().map(str::to_owned))
    };
    for request in [&by_subprotocol, &by_cookie, &by_query, &by_field] {
        assert_eq!(sub(&all, request).as_deref(), Some("u42"), "{request:?}");
    }
    assert!(sub(&few, &by_subprotocol).is_some() && sub(&few, &by_field).is_some());
    assert!(sub(&few, &by_cookie).is_none() && sub(&few, &by_query).is_none(), "off until it is asked for");
    for ignored in [
        format!("Cookie: t={token}\r\nOrigin: https://evil.example\r\n"),
        format!("Cookie: t={token}\r\nOrigin: null\r\n"),
        "Cookie: t=\r\n".to_owned(),
        format!("Cookie: tt={token}\r\n"),
        format!("Sec-WebSocket-Protocol: bearer.{token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
    ] {
        assert_eq!(sub(&all, &request(&ignored)), None, "{ignored}");
    }
}

#[test]
fn two_proofs_that_differ_are_refused_and_the_same_twice_is_one() {
    let seen = Seen::new(&Config { token_in_query: true, ..with_all() });
    let (one, other) = (u42(), token(r#""sub":"u7","fanfare":{}"#));
    let asked = |field: &str, query: &str| {
        let target = format!("/channels/c?access_token={query}");
        seen.identify(&request_to(&target, &format!("Authorization: Bearer {field}\r\n")))
    };
    assert_eq!(asked(&one, &one).unwrap().unwrap().sub(), Some("u42"));
    for field in [&*other, "all-secret"] {
        let refusal = asked(field, &one).unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.status().code(), refusal.close_code()),
            ("bad_command", 400, 4400)
        );
    }
    let twice = |second: &str| {
        seen.identify(&request_to(&format!("/channels/c?access_token={one}&access_token={second}"), ""))
    };
    assert_eq!(twice(&other).unwrap_err(), Refusal::TwoProofs);
    assert_eq!(twice(&one).unwrap().unwrap().sub(), Some("u42"));
    let open = Seen::new(&Config { token_in_query: true, ..Config::default() });
    let both = request_to("/channels/c?access_token=a", "Authorization: Bearer b\r\n");
    assert!(open.identify(&both).unwrap().is_none(), "nobody asks");
}

// ---- The key, without names ----

fn with_key() -> Seen {
    let client_publish = vec![Glob::new("chat-*")];
    let keys = vec![AccessKey::with_all_rights("default", "secret")];
    Seen::new(&Config { keys, client_publish, ..Config::default() })
}

#[test]
fn without_a_key_everybody_may_publish() {
    let access = Access::new(&Config::default());
    assert_eq!(access.may_publish(None, &named("c")), Verdict::Yes);
    assert_ne!(access.may_publish(None, &named("@fanfare.dashboard")), Verdict::Yes);
}

#[test]
fn the_scheme_of_a_key_is_bearer_in_any_case() {
    let key_of = |fields| with_key().identify(&request(fields)).map(|who| who.is_some());
    assert_eq!(key_of(""), Ok(false));
    assert_eq!(key_of("Authorization: Basic secret\r\n"), Ok(false));
    assert_eq!(key_of("Authorization: secret\r\n"), Ok(false));
    assert_eq!(key_of("Authorization: Bearer other\r\n"), Err(Refusal::WrongKey));
    assert_eq!(key_of("Authorization: Bearer secre\r\n"), Err(Refusal::WrongKey));
    assert_eq!(key_of("Authorization: Bearer secret\r\n"), Ok(true));
    assert_eq!(key_of("authorization: bearer  secret\r\n"), Ok(true));
}

#[test]
fn with_a_key_clients_without_it_publish_where_a_glob_says_so() {
    let seen = with_key();
    let holder = seen.who("secret");
    assert_eq!(seen.access.may_publish(None, &named("chat-1")), Verdict::Yes);
    assert_eq!(seen.access.may_publish(None, &named("prices")), Verdict::No(Refusal::NoKey));
    assert_eq!(seen.access.may_publish(holder.as_deref(), &named("prices")), Verdict::Yes);
    assert!(seen.access.has_publishing_key(holder.as_deref(), &named("private-a")));
    assert!(!seen.access.has_publishing_key(None, &named("chat-1")));
}

#[test]
fn the_state_is_read_with_the_key_as_bearer_or_as_the_password_of_basic() {
    let check = |fields: &str| with_key().access.check_reader(&request(fields), NOW_S).map(|_| ());
    let basic = |text: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(text));
    assert_eq!(check("Authorization: Bearer secret\r\n"), Ok(()));
    assert_eq!(check(&basic("anybody:secret")), Ok(()));
    assert_eq!(check(&basic(":secret")), Ok(()));
    assert_eq!(check(&basic("secret")), Err(Refusal::NoReader));
    assert_eq!(check(&basic("secret:")), Err(Refusal::NoReader));
    assert_eq!(check(&basic("a:secret:")), Err(Refusal::NoReader));
    for fields in
        ["", "Authorization: Bearer other\r\n", "Authorization: Basic ?\r\n", "Authorization: secret\r\n"]
    {
        assert_eq!(check(fields), Err(Refusal::NoReader), "{fields}");
    }
    let seen = Seen::new(&with_all());
    let refused =
        seen.access.check_reader(&request("Authorization: Bearer billing-secret\r\n"), NOW_S).map(|_| ());
    assert_eq!(refused, Err(Refusal::NotAdmin("billing".to_owned())));
}

#[test]
fn a_password_that_a_page_elsewhere_made_the_browser_send_does_not_count() {
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(":secret"));
    let check = |fields: &str| {
        with_key().access.check_reader(&request(&format!("{basic}{fields}")), NOW_S).map(|_| ())
    };
    assert_eq!(check("Origin: http://h\r\n"), Ok(()));
    assert_eq!(check("Origin: https://H\r\n"), Ok(()));
    for origin in ["https://evil.net", "http://h:81", "http://h.evil.net", "null"] {
        assert_eq!(check(&format!("Origin: {origin}\r\n")), Err(Refusal::NoReader), "{origin}");
    }
}

#[test]
fn the_state_is_everybodys_in_development_mode_and_nobodys_without_a_key_elsewhere() {
    assert!(Access::new(&Config::default()).check_reader(&request(""), NOW_S).is_ok());
    let insecure = Access::new(&Config { insecure: true, ..Config::default() });
    let refused = insecure.check_reader(&request("Authorization: Bearer x\r\n"), NOW_S).map(|_| ());
    assert_eq!(refused, Err(Refusal::NotShown));
}

#[test]
fn a_page_without_an_origin_reads_and_does_not_publish_in_development_mode() {
    let access = Access::new(&Config::default());
    let page = request("Origin: null\r\n");
    assert_eq!(access.check_origin(&page), Ok(()));
    assert_eq!(access.allow_origin(&page), Some("null"));
    assert_eq!(access.check_fully_served(&page), Err(Refusal::NoOrigin));
    assert_eq!(with_key().access.check_fully_served(&page), Ok(()), "with a key every origin is served");
}

#[test]
fn a_page_of_a_listed_origin_may_send_cookies_where_they_carry_tokens_and_no_other_page() {
    let config = |allow_origin: &[&str]| Config {
        token_keys: token_keys(),
        token_cookie: Some("t".to_owned()),
        allow_origin: allow_origin.iter().map(ToString::to_string).collect(),
        ..Config::default()
    };
    let listed = Access::new(&config(&["https://a.example"]));
    let page = |origin: &str| request(&format!("Origin: {origin}\r\n"));
    assert!(listed.allows_credentials(&page("https://a.example")) && listed.varies_by_origin());
    assert_eq!(listed.allow_origin(&page("https://a.example")), Some("https://a.example"));
    assert!(!listed.allows_credentials(&request("")));
    let any = Access::new(&config(&["*", "null", "https://a.example"]));
    assert!(any.allows_credentials(&page("https://a.example")) && any.varies_by_origin());
    assert_eq!(any.allow_origin(&page("https://a.example")), Some("https://a.example"));
    for origin in ["https://b.example", "null"] {
        assert!(!any.allows_credentials(&page(origin)), "{origin}");
        assert_eq!(any.allow_origin(&page(origin)), Some("*"));
    }
    let without = Access::new(&Config { token_cookie: None, ..config(&["https://a.example"]) });
    assert!(!without.allows_credentials(&page("https://a.example")));
}
