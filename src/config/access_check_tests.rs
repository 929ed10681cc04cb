//! Each fault of the settings of access: what it takes, and which flag and remedy its sentence names.
//!
//! Where settings come from is not known here.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::{AccessKey, AuthRule, Backend, Config, Glob, PresenceRule, Rate};
use crate::token::{Key, Keys};

fn key(name: &str) -> AccessKey {
    AccessKey::with_all_rights(name, &format!("secret of {name}"))
}

fn with_keys(keys: Vec<AccessKey>) -> Config {
    Config { keys, ..Config::default() }
}

fn with_token_key() -> Config {
    let mut token_keys = Keys::default();
    token_keys.push(Key::secret("2026-09", &[7; 32]).unwrap()).unwrap();
    Config { token_keys, ..Config::default() }
}

fn with_backend(backend: Backend) -> Config {
    Config { backend: Some(backend), ..Config::default() }
}

fn rule<T>(glob: &str, rule: T) -> Vec<(Glob, T)> {
    vec![(Glob::new(glob), rule)]
}

/// What is said of the configuration: it has to be refused.
#[track_caller]
fn said(config: &Config) -> String {
    config.check().unwrap_err().to_string()
}

#[track_caller]
fn assert_said(config: &Config, words: &str) {
    let said = said(config);
    assert!(said.starts_with(words), "{said}");
}

#[test]
fn a_name_that_no_key_can_have_is_refused() {
    for name in ["", "Billing", "a b", "a.b", "é", &"a".repeat(33)] {
        assert_said(
            &with_keys(vec![key(name)]),
            &format!("--publish-key or [[key]] {name:?}: a name is 1 to 32"),
        );
    }
    for name in ["a", "0_-z", &"a".repeat(32)] {
        assert_eq!(with_keys(vec![key(name)]).check(), Ok(()), "{name}");
    }
}

#[test]
fn two_keys_of_one_name_or_one_secret_are_refused_by_their_names() {
    let twice = with_keys(vec![key("a"), key("b"), AccessKey::with_all_rights("a", "other")]);
    assert_said(&twice, "--publish-key or [[key]] \"a\": two keys have this name");
    let same = with_keys(vec![key("a"), AccessKey { name: "b".into(), ..key("a") }]);
    assert_said(&same, "--publish-key or [[key]] \"b\": key \"a\" has the same secret");
}

#[test]
fn a_key_without_a_right_is_refused_and_one_right_is_enough() {
    let none = AccessKey { publish: Vec::new(), read: Vec::new(), admin: false, ..key("a") };
    assert_said(&with_keys(vec![none.clone()]), "[[key]] \"a\": it has no right. Give it publish");
    for one in [
        AccessKey { admin: true, ..none.clone() },
        AccessKey { publish: vec![Glob::new("a")], ..none.clone() },
        AccessKey { read: vec![Glob::new("a")], ..none },
    ] {
        assert_eq!(with_keys(vec![one]).check(), Ok(()));
    }
}

#[test]
fn a_glob_of_a_key_that_can_never_apply_is_refused() {
    let publish = AccessKey { publish: vec![Glob::new("a b")], ..key("a") };
    assert_said(&with_keys(vec![publish]), "[[key]] \"a\": publish: no channel's name fits the glob \"a b\"");
    let read = AccessKey { read: vec![Glob::new("@fanfare.*")], ..key("a") };
    assert_said(
        &with_keys(vec![read]),
        "[[key]] \"a\": read: the glob \"@fanfare.*\" matches only the server's own",
    );
}

#[test]
fn a_rule_that_nobody_can_meet_is_refused_with_the_flag_that_it_needs() {
    for (name, value, remedy) in [
        ("token", AuthRule::Token, "Add --token-key FILE,"),
        ("hook", AuthRule::Hook, "Add --auth-url URL,"),
        ("key", AuthRule::Key, "Add --publish-key KEY or --publish-keys FILE,"),
    ] {
        let config = Config { auth: rule("chat-*", value), ..Config::default() };
        assert_said(&config, &format!("--auth chat-*={name}: nobody could subscribe"));
        assert!(said(&config).contains(remedy), "{name}");
    }
    let open = Config { auth: rule("chat-*", AuthRule::Open), ..Config::default() };
    assert_eq!(open.check(), Ok(()));
    let key = Config { auth: rule("ops", AuthRule::Key), ..with_keys(vec![key("a")]) };
    assert_eq!(key.check(), Ok(()));
}

#[test]
fn rules_that_can_never_apply_are_refused_by_their_flag() {
    let dead = Config {
        auth: vec![(Glob::new("a*"), AuthRule::Open), (Glob::new("ab"), AuthRule::Open)],
        ..Config::default()
    };
    assert_said(&dead, "--auth ab=: it would never apply, since a*= before it");
    let own = Config { auth: rule("@fanfare.*", AuthRule::Open), ..Config::default() };
    assert_said(&own, "--auth: the glob \"@fanfare.*\" matches only the server's own channels");
    let unfit = Config { presence: rule("a b", PresenceRule::Count), ..Config::default() };
    assert_said(&unfit, "--presence: no channel's name fits the glob \"a b\"");
    let own = Config { presence: rule("@fanfare.x", PresenceRule::Count), ..Config::default() };
    assert_said(&own, "--presence: the glob \"@fanfare.x\" matches only the server's own channels");
    let count = || (Glob::new("*"), PresenceRule::Count);
    let dead = Config { presence: vec![count(), count()], ..Config::default() };
    assert_said(&dead, "--presence: two rules are for all channels");
}

#[test]
fn a_backend_that_no_rule_asks_is_refused() {
    let backend = || Backend::new("http://127.0.0.1:9000");
    assert_eq!(with_backend(backend()).check(), Ok(()), "it decides where there is no rule");
    let beside_tokens = Config { backend: Some(backend()), ..with_token_key() };
    assert_said(&beside_tokens, "--auth-url: no rule asks the backend. Add --auth 'GLOB=hook'");
    let asked = Config { auth: rule("a", AuthRule::Hook), ..beside_tokens };
    assert_eq!(asked.check(), Ok(()));
    let all_open = Config { auth: rule("*", AuthRule::Open), ..with_backend(backend()) };
    assert_said(&all_open, "--auth-url: no rule asks the backend");
}

#[test]
fn what_is_for_tokens_is_refused_without_a_token_key() {
    for (flag, config) in [
        ("--token-audience", Config { token_audience: Some("a".into()), ..Config::default() }),
        ("--token-cookie", Config { token_cookie: Some("a".into()), ..Config::default() }),
        ("--token-in-query", Config { token_in_query: true, ..Config::default() }),
    ] {
        assert_said(&config, &format!("{flag}: without a key no token is good. Add --token-key FILE"));
    }
    let empty = Config { token_audience: Some(String::new()), ..with_token_key() };
    assert_said(&empty, "--token-audience: give what tokens have as aud");
}

#[test]
fn a_cookie_is_refused_without_the_origins_of_pages() {
    let with_origins = |origins: &[&str]| Config {
        token_cookie: Some("token".into()),
        allow_origin: origins.iter().map(|&origin| origin.into()).collect(),
        ..with_token_key()
    };
    assert_said(
        &with_origins(&[]),
        "--token-cookie: browsers send cookies along with requests of any page. Add --allow",
    );
    for any in ["*", "null"] {
        let said = said(&with_origins(&["https://a.example", any]));
        assert!(said.contains(&format!("--allow-origin {any} lets any page in")), "{said}");
    }
    assert_eq!(with_origins(&["https://a.example"]).check(), Ok(()));
    for name in ["", "a b", "a=b", "a;b", "é"] {
        let config = Config { token_cookie: Some(name.into()), ..with_origins(&["https://a.example"]) };
        assert_said(&config, "--token-cookie: give the name of a cookie");
    }
}

#[test]
fn a_backend_that_cannot_be_asked_is_refused_and_neither_url_nor_secret_is_quoted() {
    let url = |url: &str| with_backend(Backend::new(url));
    if cfg!(feature = "tls") {
        assert_eq!(url("https://a.example/hidden").check(), Ok(()));
    } else {
        assert_said(&url("https://a.example/hidden"), "--auth-url: this program was built without TLS");
    }
    for wrong in [
        "https://",
        "https://u:hidden@a",
        "",
        "hidden",
        "http://",
        "http:///hidden",
        "http://u:hidden@a",
        "http://a:0",
        "http://a/#hidden",
        "http://a/ b",
    ] {
        assert_said(&url(wrong), "--auth-url: give a URL such as http://127.0.0.1:9000/fanfare/auth: a host");
        assert!(!said(&url(wrong)).contains("hidden"), "{wrong}");
    }
    for right in ["http://a", "http://127.0.0.1:9000/auth?x=1", "http://[::1]:80"] {
        assert_eq!(url(right).check(), Ok(()), "{right}");
    }
    let secret = |secret: &str| Backend { secret: Some(secret.into()), ..Backend::new("http://a") };
    assert_said(&with_backend(secret("hidden")), "--auth-secret: it has 6 bytes, at least 16 are needed");
    assert!(!said(&with_backend(secret("hidden"))).contains("hidden"));
    assert_eq!(with_backend(secret("0123456789abcdef")).check(), Ok(()));
    let no_time = Backend { timeout: Duration::ZERO, ..Backend::new("http://a") };
    assert_said(&with_backend(no_time), "--auth-timeout: 0 would let nobody in");
    let no_grace = Backend { grace: Duration::ZERO, ..Backend::new("http://a") };
    assert_eq!(with_backend(no_grace).check(), Ok(()));
}

#[test]
fn the_secrets_of_keys_apps_and_backend_are_not_shown_by_debug() {
    let backend = Backend { secret: Some("hidden".into()), ..Backend::new("http://u:hidden@a") };
    let apps = vec![crate::pusher::App::new("1", "k", "hidden")];
    let config =
        Config { keys: vec![AccessKey::with_all_rights("a", "hidden")], apps, ..with_backend(backend) };
    assert!(!format!("{config:?}").contains("hidden"));
}

#[test]
fn a_list_of_members_has_1_to_1000() {
    for len in [0, 1001] {
        let config = Config { presence_members: len, ..Config::default() };
        assert_said(&config, "--presence-members: give 1 to 1000, or --presence 'GLOB=count'");
    }
    for len in [1, 1000] {
        assert_eq!(Config { presence_members: len, ..Config::default() }.check(), Ok(()));
    }
}

#[test]
fn proxy_headers_need_a_proxy_that_is_believed_and_an_address_that_is_listened_on() {
    let proxied = |listen: &[&str], proxied: &[&str], trusted: &[&str]| Config {
        listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
        proxy_listen: proxied.iter().map(|address| address.parse().unwrap()).collect(),
        trust_proxy: trusted.iter().map(|network| network.parse().unwrap()).collect(),
        ..Config::default()
    };
    let (a, b, net) = ("127.0.0.1:1", "127.0.0.1:2", &["10.0.0.0/8"][..]);
    assert_said(
        &proxied(&[a], &[a], &[]),
        "--listen 127.0.0.1:1,proxy: no proxy is believed. Add --trust-proxy",
    );
    assert_said(
        &proxied(&[a], &[b], net),
        "--listen 127.0.0.1:2,proxy: the server does not listen on this address",
    );
    assert_said(&proxied(&[a, a], &[a], net), "--listen 127.0.0.1:1: it is given with and without ,proxy");
    assert_eq!(proxied(&[a, b], &[b], net).check(), Ok(()));
    assert_eq!(proxied(&["127.0.0.1:0"; 2], &["127.0.0.1:0"; 2], net).check(), Ok(()));
    assert_eq!(proxied(&[a], &[], net).check(), Ok(()));
}

#[test]
fn a_limit_of_zero_is_refused_by_its_flag_and_no_limit_is_not() {
    let never = Some(Rate { count: NonZeroU32::MIN, per: Duration::ZERO });
    for (flag, config) in [
        ("--ip-connections", Config { ip_connections: Some(0), ..Config::default() }),
        ("--ip-handshakes", Config { ip_handshakes: never, ..Config::default() }),
        ("--user-connections", Config { user_connections: Some(0), ..Config::default() }),
        ("--client-subscriptions", Config { client_subscriptions: 0, ..Config::default() }),
        ("--client-messages", Config { client_messages: never, ..Config::default() }),
    ] {
        assert_said(&config, &format!("{flag}: 0 would refuse every client"));
    }
    assert_eq!(Config { client_messages: None, ..Config::default() }.check(), Ok(()));
}

#[test]
fn a_file_for_publications_by_key_needs_a_key() {
    let audit = Config { audit: Some("/nowhere".into()), ..with_token_key() };
    assert_said(&audit, "--audit: publications by key are written, and there is no key. Add --publish-key");
    assert_eq!(Config { keys: vec![key("a")], ..audit }.check(), Ok(()));
}

#[test]
fn tokens_or_a_backend_end_the_development_mode_and_open_other_addresses_and_an_app_does_neither() {
    for proof in [with_token_key(), with_backend(Backend::new("http://a")), with_keys(vec![key("a")])] {
        assert!(!proof.is_development());
        let listen = vec!["0.0.0.0:80".parse().unwrap()];
        assert_eq!(Config { listen, ..proof }.check(), Ok(()));
    }
    let app = Config { apps: vec![crate::pusher::App::new("1", "k", "s")], ..Config::default() };
    assert!(app.is_development());
}
