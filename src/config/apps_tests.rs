//! Which settings of an app are refused, and with which words.

use std::time::Duration;

use super::super::{AccessKey, Config, ConfigError};
use super::*;
use crate::pusher::Webhook;

fn app() -> App {
    App::new("1", "key", "secret")
}

fn check(apps: &[App]) -> Result<(), ConfigError> {
    Config { apps: apps.to_vec(), ..Config::default() }.check()
}

fn refusal(app: App) -> String {
    check(&[app]).unwrap_err().to_string()
}

fn with_webhook(url: &str) -> App {
    App { webhooks: vec![Webhook { url: url.into(), events: Vec::new() }], ..app() }
}

#[test]
fn an_app_with_default_settings_is_accepted() {
    assert_eq!(check(&[app()]), Ok(()));
    assert_eq!(check(&[Config::development_app()]), Ok(()));
    assert_eq!(check(&[app(), App::new("2", "other", "secret")]), Ok(()));
}

#[test]
fn an_identifier_is_digits_that_every_library_reads_alike() {
    for id in ["0", "7", "18446744073709551615"] {
        assert_eq!(check(&[App { id: id.into(), ..app() }]), Ok(()), "{id}");
    }
    for id in ["", "app-id", "1a", "-1", "1.5", "٣", "007", "00", "123456789012345678901"] {
        let words = refusal(App { id: id.into(), ..app() });
        assert!(words.starts_with(&format!("--app or [[app]] {id:?}: id: ")), "{words}");
        assert!(words.contains("--app 1:KEY:SECRET") && words.contains("id = \"1\""), "{words}");
    }
}

#[test]
fn a_key_or_secret_that_a_url_cannot_carry_is_refused_and_a_secret_is_not_quoted() {
    for text in ["", "two words", "a:b", "a/b", "a?b", "clé", "a\nb"] {
        let words = refusal(App { key: text.into(), ..app() });
        assert!(words.starts_with("--app or [[app]] \"1\": key: "), "{words}");
        assert!(words.contains("openssl rand"), "{words}");
        let words = refusal(App { secrets: vec!["good".into(), text.into()], ..app() });
        assert!(words.starts_with("--app or [[app]] \"1\": secret: "), "{words}");
        assert!(text.is_empty() || !words.contains(text), "{words}");
    }
    for key in ["a#b", "a%20b", ".", ".."] {
        assert!(refusal(App { key: key.into(), ..app() }).contains("key: "), "{key}");
        assert_eq!(check(&[App { secrets: vec![key.into()], ..app() }]), Ok(()), "a secret is in no path");
    }
    assert_eq!(check(&[App { secrets: vec!["new".into(), "old".into()], ..app() }]), Ok(()));
}

#[test]
fn an_app_without_a_secret_is_refused() {
    assert!(refusal(App { secrets: Vec::new(), ..app() }).contains("secret: without one"));
}

#[test]
fn two_apps_with_one_identifier_or_one_key_are_refused() {
    let words = check(&[app(), App::new("1", "other", "s")]).unwrap_err().to_string();
    assert_eq!(words, "--app or [[app]] \"1\": id: another app has it too. Give each app an id of its own");
    let words = check(&[app(), App::new("2", "key", "s")]).unwrap_err().to_string();
    assert_eq!(words, "--app or [[app]] \"2\": key: app \"1\" has it too. Give each app a key of its own");
}

#[test]
fn a_limit_of_zero_is_refused_by_its_key() {
    for (key, settings) in [
        ("max-connections", App { max_connections: Some(0), ..app() }),
        ("max-channels", App { max_channels: 0, ..app() }),
        ("max-event", App { max_event: 0, ..app() }),
        ("max-members", App { max_members: 0, ..app() }),
        ("max-user-info", App { max_user_info: 0, ..app() }),
        ("authorized-within", App { authorized_within: Some(Duration::ZERO), ..app() }),
    ] {
        let words = refusal(settings);
        assert!(words.starts_with(&format!("[[app]] \"1\": {key}: 0 would refuse every")), "{words}");
    }
}

#[test]
fn an_event_longer_than_the_server_delivers_is_refused_unless_it_is_the_default() {
    let with = |max_event, max_lag| {
        Config { max_lag, apps: vec![App { max_event, ..app() }], ..Config::default() }.check()
    };
    assert_eq!(with(App::MAX_EVENT, 100), Ok(()));
    assert_eq!(with(1024 * 1024, 1024 * 1024), Ok(()));
    let words = with(1024 * 1024 + 1, 1024 * 1024).unwrap_err().to_string();
    assert!(words.contains("max-event: --max-message and --max-lag allow 1048576 bytes"), "{words}");
}

#[test]
fn client_events_in_encrypted_channels_alone_are_refused() {
    let words = refusal(App { encrypted_client_events: true, ..app() });
    assert!(words.contains("encrypted-client-events: client events are off"), "{words}");
    assert_eq!(check(&[App { encrypted_client_events: true, client_events: true, ..app() }]), Ok(()));
}

#[test]
fn an_origin_that_no_browser_sends_is_refused_with_the_one_that_it_does() {
    let with = |origin: &str| App { allow_origin: vec![origin.into()], ..app() };
    assert_eq!(check(&[with("https://example.com")]), Ok(()));
    let words = refusal(with("https://Example.com:443"));
    assert!(words.contains("allow-origin: browsers send https://Example.com:443 as https://example.com"));
    assert!(refusal(with("example.com")).contains("allow-origin \"example.com\": give an origin"));
}

#[test]
fn webhooks_are_posted_to_http_urls() {
    for url in [
        "http://127.0.0.1:9000/pusher",
        "http://hooks.example",
        "http://hooks.example?app=1",
        "http://[::1]:80/a?b=c",
        "http://[::1]",
    ] {
        assert_eq!(check(&[with_webhook(url)]), Ok(()), "{url}");
    }
    for url in [
        "",
        "hooks.example",
        "ftp://hooks.example",
        "http://",
        "http:///path",
        "http://user@hooks.example",
        "http://hooks.example:0",
        "http://hooks.example:65536/",
        "http://hooks.example:x",
        "http://hooks.example/a b",
        "http://hooks.example/a#b",
        "http://hooks.example/é",
    ] {
        let words = refusal(with_webhook(url));
        assert!(words.starts_with("[[app]] \"1\": webhooks: "), "{words}");
        assert!(words.contains("http://127.0.0.1:9000/pusher"), "{words}");
    }
}

#[test]
fn a_receiver_behind_tls_is_taken_unless_the_program_was_built_without() {
    let app = with_webhook("https://hooks.example/a");
    if cfg!(feature = "tls") {
        assert_eq!(check(&[app]), Ok(()));
    } else {
        assert!(refusal(app).contains("built without TLS"));
    }
}

#[test]
fn development_mode_without_an_app_has_one_that_is_ready_and_no_other_mode_has() {
    let loopback = Config::default();
    assert_eq!(loopback.apps_or_development(&[]), [Config::development_app()]);
    assert_eq!(loopback.apps_or_development(&[app()]), [app()]);
    let with_key = Config { keys: vec![AccessKey::with_all_rights("default", "k")], ..Config::default() };
    let listen = vec!["0.0.0.0:80".parse().unwrap()];
    let exposed = Config { listen: listen.clone(), ..with_key.clone() };
    let insecure = Config { insecure: true, listen, ..Config::default() };
    for config in [with_key, exposed, insecure] {
        assert_eq!(config.check(), Ok(()));
        assert!(config.apps_or_development(&[]).is_empty());
    }
}
