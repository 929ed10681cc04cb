//! What flags, environment and file come to.
//!
//! The real binary is not started here.

use std::io::Write;

use fanfare::config::{AccessKey, AuthRule, Backend, PresenceRule, Rate, Redis, RedisAddress};
use fanfare::pusher::App;

use super::*;

fn parse(words: &[&str]) -> Result<Config, String> {
    let words: Vec<_> = std::iter::once("fanfare").chain(words.iter().copied()).map(OsString::from).collect();
    Args::parse_from_words(&words).map(Args::into_config).map_err(|error| error.to_string())
}

fn parse_with_file(file: &str, words: &[&str]) -> Result<Config, String> {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    config.write_all(file.as_bytes()).unwrap();
    let path = config.path().to_str().unwrap();
    parse(&[&["--config", path], words].concat())
}

#[test]
fn the_flags_are_consistent() {
    Args::command().debug_assert();
}

#[test]
fn without_flags_everything_is_as_the_library_has_it() {
    assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", Config::default()));
}

#[test]
fn the_short_help_has_one_line_a_flag_in_80_columns_under_headings() {
    let help = Args::command().term_width(80).render_help().to_string();
    let flags = Args::command().get_arguments().count() + ["--help", "--version"].len();
    let others = ["key NAME", "the second line of the usage"].len();
    assert_eq!(help.lines().filter(|line| line.starts_with("  ")).count(), flags + others, "{help}");
    for heading in [
        "Commands",
        "Options",
        "Listening",
        "TLS",
        "Access",
        "Tokens",
        "Backend",
        "Presence",
        "Redis",
        "Limits",
        "Compression",
        "Subscribers",
        "Times",
    ] {
        assert_eq!(help.matches(&format!("\n{heading}:\n")).count(), 1, "{heading}: {help}");
    }
    assert!(help.lines().count() <= 101, "{help}");
}

#[test]
fn every_flag_is_also_an_environment_variable() {
    for argument in Args::command().get_arguments() {
        let Some(flag) = argument.get_long() else { continue };
        if flag == "help" || flag == "version" {
            continue;
        }
        let variable = format!("FANFARE_{}", flag.replace('-', "_").to_uppercase());
        assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(variable.as_str()));
    }
}

#[test]
fn sizes_and_times_take_units() {
    let config =
        parse(&["--max-message", "512", "--max-lag", "64KiB", "--drain", "5m", "--pong-timeout", "500ms"]);
    let config = config.unwrap();
    assert_eq!((config.max_message, config.max_lag), (512, 65_536));
    assert_eq!((config.drain, config.pong_timeout), (Duration::from_secs(300), Duration::from_millis(500)));
}

#[test]
fn repeatable_flags_add_up() {
    let config = parse(&[
        "--listen",
        "127.0.0.1:1",
        "--listen",
        "[::1]:2",
        "--lag-policy",
        "a=b*=skip",
        "--lag-policy",
        "latest",
    ]);
    let config = config.unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.lag_policy("a=bc"), LagPolicy::Skip);
    assert_eq!(config.lag_policy("other"), LagPolicy::Latest);
}

#[test]
fn a_wrong_value_names_the_flag_and_the_remedy() {
    for (words, flag, remedy) in [
        (&["--listen", "8080"][..], "--listen", "127.0.0.1:8080"),
        (&["--listen", "localhost:80"], "--listen", "127.0.0.1:8080"),
        (&["--threads", "0"], "--threads", "above 0"),
        (&["--max-lag", "lots"], "--max-lag", "64KiB"),
        (&["--drain", "5"], "--drain", "30s"),
        (&["--lag-policy", "chat=drop"], "--lag-policy", "prices*=latest"),
        (&["--history", "0;chat*"], "--history", "0,chat*=50"),
        (&["--history", "0 chat*"], "--history", "a comma separates"),
        (&["--allow-origin", "https://a.b, https://c.d"], "--allow-origin", "A comma separates several"),
        (&["--allow-origin", "https://*.example.com"], "--allow-origin", "wildcard"),
        (&["--allow-origin", "https://user@example.com"], "--allow-origin", "a user"),
        (&["--allow-origin", "ftp://x"], "--allow-origin", "a page's scheme"),
        (&["--allow-origin", "example.com"], "--allow-origin", "https://example.com"),
        (&["--allow-origin", "https://example.com/"], "--allow-origin", "without a path"),
        (&["--allow-host", "http://example.test"], "--allow-host", "without scheme and port"),
        (&["--allow-host", "example.test:8080"], "--allow-host", "such as example.test"),
        (&["--allow-host", "*"], "--allow-host", "such as example.test"),
        (&["--allow-host", ""], "--allow-host", "such as example.test"),
    ] {
        let error = parse(words).unwrap_err();
        assert!(error.contains(flag) && error.contains(remedy), "{error}");
    }
}

#[test]
fn origins_become_what_browsers_send_and_a_comma_separates_them() {
    let words = ["--allow-origin", "https://A.example:443,null", "--allow-origin", "http://b.example:8080"];
    let config = parse(&words).unwrap();
    assert_eq!(config.allow_origin, ["https://a.example", "null", "http://b.example:8080"]);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn a_comma_separates_the_rules_of_one_value() {
    let config = parse(&["--history", "0,chat*=50", "--lag-policy", "skip,prices*=latest"]).unwrap();
    let history: Vec<usize> = config.history.iter().map(|(_, count)| *count).collect();
    assert_eq!((history, config.lag_policy.len()), (vec![0, 50], 2));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn hosts_add_up_and_an_address_is_one() {
    let config = parse(&["--allow-host", "Example.test,192.0.2.7", "--allow-host", "[fd00::1]"]).unwrap();
    let hosts: Vec<String> = config.allow_host.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["example.test", "192.0.2.7", "[fd00::1]"]);
}

#[test]
fn a_misspelt_flag_is_named_with_the_right_one() {
    let error = parse(&["--publish-kei", "k"]).unwrap_err();
    assert!(error.contains("--publish-key"), "{error}");
}

#[test]
fn a_file_holds_every_kind_of_value() {
    let file = "listen = ['127.0.0.1:1', '127.0.0.1:2']\nthreads = 3\ninsecure = true\necho = false\nmax-lag = '2MiB'\n";
    let config = parse_with_file(file, &[]).unwrap();
    assert_eq!(
        (config.listen.len(), config.threads.get(), config.insecure, config.echo),
        (2, 3, true, false)
    );
    assert_eq!(config.max_lag, 2 * 1024 * 1024);
}

#[test]
fn a_flag_beats_the_file() {
    let config = parse_with_file("threads = 3\nlisten = '127.0.0.1:1'\n", &["--threads", "4"]).unwrap();
    assert_eq!((config.threads.get(), config.listen[0].port()), (4, 1));
}

#[test]
fn an_unknown_key_or_value_in_the_file_is_named() {
    let error = parse_with_file("thread = 3\n", &[]).unwrap_err();
    assert!(error.contains("\"thread\"") && error.contains("--config"), "{error}");
    let error = parse_with_file("threads = 1.5\n", &[]).unwrap_err();
    assert!(error.contains("threads is a float"), "{error}");
    let error = parse_with_file("threads = 'many'\n", &[]).unwrap_err();
    assert!(error.contains("--threads"), "{error}");
    let error = parse_with_file("threads = \n", &[]).unwrap_err();
    assert!(error.contains("line 1"), "{error}");
}

const APP_1: &str = "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n";

fn ids(config: &Config) -> Vec<&str> {
    config.apps.iter().map(|app| app.id.as_str()).collect()
}

#[test]
fn apps_are_given_by_the_flag_or_by_tables_and_the_flag_overrides_the_tables() {
    let config = parse(&["--app", "1:key:secret,2:other:secret", "--app", "3:third:s:t"]).unwrap();
    assert_eq!(ids(&config), ["1", "2", "3"]);
    assert_eq!(config.apps[0], App::new("1", "key", "secret"));
    assert!(config.check().unwrap_err().to_string().contains("\"3\": secret: give one of"));
    assert_eq!(ids(&parse_with_file(APP_1, &[]).unwrap()), ["1"]);
    assert_eq!(ids(&parse_with_file(APP_1, &["--app", "2:k:s"]).unwrap()), ["2"]);
    assert_eq!(ids(&parse_with_file("app = ['4:k:s', '5:l:s']", &[]).unwrap()), ["4", "5"]);
    let error = parse(&["--app", "1:key"]).unwrap_err();
    assert!(error.contains("give ID:KEY:SECRET, such as 1:my-key:my-secret"), "{error}");
}

#[test]
fn a_wrong_table_of_an_app_is_named_with_its_file() {
    let error = parse_with_file(&format!("{APP_1}max-conections = 5"), &[]).unwrap_err();
    assert!(error.contains("--config ") && error.contains("the nearest is \"max-connections\""), "{error}");
}

#[cfg(unix)] // for its device
#[test]
fn a_file_without_an_end_is_read_no_further_than_its_bound() {
    let error = parse(&["--config", "/dev/zero"]).unwrap_err();
    assert!(error.contains("--config /dev/zero") && error.contains("1048576 bytes"), "{error}");
    let filled = |len: usize| "#".repeat(len - 1) + "\n";
    assert!(parse_with_file(&filled(1024 * 1024), &[]).is_ok());
    assert!(parse_with_file(&filled(1024 * 1024 + 1), &[]).is_err());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = parse(&["--config", "/nowhere/fanfare.toml"]).unwrap_err();
    assert!(error.contains("/nowhere/fanfare.toml"), "{error}");
}

#[test]
fn an_address_may_be_that_of_a_proxy_wherever_it_stands_among_others() {
    let config =
        parse(&["--listen", "127.0.0.1:1,127.0.0.1:2,proxy,[::1]:3", "--listen", "127.0.0.1:4,proxy"]);
    let config = config.unwrap();
    let texts = |all: &[SocketAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&config.listen), ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "127.0.0.1:4"]);
    assert_eq!(texts(&config.proxy_listen), ["127.0.0.1:2", "127.0.0.1:4"]);
    let config = parse_with_file("listen = ['127.0.0.1:1', '127.0.0.1:2,proxy']\n", &[]).unwrap();
    assert_eq!((config.listen.len(), texts(&config.proxy_listen)), (2, vec!["127.0.0.1:2".to_owned()]));
    for wrong in
        ["proxy", "proxy,127.0.0.1:1", "127.0.0.1:1,proxy,proxy", "127.0.0.1:1,", "127.0.0.1:1, proxy"]
    {
        let error = parse(&["--listen", wrong]).unwrap_err();
        assert!(error.contains("give an IP address and a port"), "{error}");
    }
    assert!(parse(&["--listen", "127.0.0.1:1", "--listen", "proxy"]).is_err(), "of no address of its own");
}

#[test]
fn keys_have_the_name_before_the_first_equals_sign_or_are_called_default() {
    let long = "a".repeat(33);
    for (given, name, secret) in [
        ("secret", "default", "secret"),
        ("billing=secret", "billing", "secret"),
        ("a-b_0=x=y==", "a-b_0", "x=y=="),
        ("default=abc=", "default", "abc="),
        ("Billing=secret", "default", "Billing=secret"),
        ("a.b=secret", "default", "a.b=secret"),
        ("a,b", "default", "a,b"),
        (&format!("{long}=x"), "default", &format!("{long}=x")),
        ("=x", "default", "=x"),
    ] {
        let config = parse(&["--publish-key", given]).unwrap();
        assert_eq!(config.keys, [AccessKey::with_all_rights(name, secret)], "{given}");
    }
    let config = parse(&["--publish-key", "one", "--publish-key", "new=two"]).unwrap();
    assert_eq!(config.keys.len(), 2);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn rules_of_access_have_globs_and_a_comma_separates_them() {
    let config =
        parse(&["--auth", "news-*=open,ops=key", "--auth", "token", "--presence", "chat=a=members,count"]);
    let config = config.unwrap();
    let rules: Vec<_> = config.auth.iter().map(|(glob, rule)| (glob.to_string(), *rule)).collect();
    let rule = |glob: &str, rule| (glob.to_owned(), rule);
    assert_eq!(
        rules,
        [rule("news-*", AuthRule::Open), rule("ops", AuthRule::Key), rule("*", AuthRule::Token)]
    );
    let presence: Vec<_> = config.presence.iter().map(|(glob, what)| (glob.to_string(), *what)).collect();
    assert_eq!(
        presence,
        [("chat=a".to_owned(), PresenceRule::Members), ("*".to_owned(), PresenceRule::Count)]
    );
}

#[test]
fn a_backend_has_its_times_and_its_secret() {
    let url = "http://127.0.0.1:9000/auth";
    assert_eq!(parse(&["--auth-url", url]).unwrap().backend, Some(Backend::new(url)));
    let words = ["--auth-url", url, "--auth-secret", "s", "--auth-timeout", "500ms", "--auth-grace", "0s"];
    let expected = Backend {
        secret: Some("s".into()),
        timeout: Duration::from_millis(500),
        grace: Duration::ZERO,
        ..Backend::new(url)
    };
    assert_eq!(parse(&words).unwrap().backend, Some(expected));
    let error = parse(&["--auth-secret", "hidden"]).unwrap_err();
    assert!(error.contains("there is none. Add --auth-url URL") && !error.contains("hidden"), "{error}");
}

#[test]
fn rates_are_numbers_in_a_time_and_only_that_of_messages_can_be_none() {
    let rate = |count: u32, seconds| Rate {
        count: std::num::NonZeroU32::new(count).unwrap(),
        per: Duration::from_secs(seconds),
    };
    for (text, expected) in
        [("50/s", rate(50, 1)), ("600/m", rate(600, 60)), ("1/h", rate(1, 3600)), ("20/10s", rate(20, 10))]
    {
        let config = parse(&["--ip-handshakes", text, "--client-messages", text]).unwrap();
        assert_eq!(
            (config.ip_handshakes, config.client_messages),
            (Some(expected), Some(expected)),
            "{text}"
        );
    }
    for none in ["none", "0/s", "0/m"] {
        assert_eq!(parse(&["--client-messages", none]).unwrap().client_messages, None, "{none}");
        assert!(parse(&["--ip-handshakes", none]).unwrap_err().contains("such as 50/s"), "{none}");
    }
    for wrong in ["50", "50/", "/s", "50/0s", "+5/s", "5.5/s", "50/x", "4294967296/s", "0", "off", ""] {
        let error = parse(&["--client-messages", wrong]).unwrap_err();
        assert!(error.contains("such as 100/s or 600/m, or none"), "{wrong}: {error}");
    }
}

#[test]
fn proxies_are_networks_or_addresses() {
    let config = parse(&["--trust-proxy", "10.0.0.0/8,192.0.2.7", "--trust-proxy", "fd00::/8"]).unwrap();
    let networks: Vec<_> = config.trust_proxy.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]);
    for wrong in ["proxy.example", "10.0.0.0/33", "10.0.0/8", "", "10.0.0.1:80"] {
        assert!(parse(&["--trust-proxy", wrong]).unwrap_err().contains("such as 10.0.0.0/8"), "{wrong}");
    }
}

#[test]
fn a_wrong_value_of_access_names_the_flag_and_the_remedy() {
    for (words, flag, remedy) in [
        (&["--auth", "news=closed"][..], "--auth", "give open, token, hook or key"),
        (&["--auth", "news"], "--auth", "such as news-*=open"),
        (&["--presence", "chat=all"], "--presence", "give members or count"),
        (&["--presence-members", "all"], "--presence-members", "invalid digit"),
        (&["--auth-timeout", "2", "--auth-url", "http://a"], "--auth-timeout", "500ms, 30s or 5m"),
        (&["--publish-keys", "/nowhere/keys.toml"], "--publish-keys /nowhere/keys.toml", "No such file"),
        (&["--token-key", "/nowhere/key.pem"], "--token-key /nowhere/key.pem", "No such file"),
    ] {
        let error = parse(words).unwrap_err();
        assert!(error.contains(flag) && error.contains(remedy), "{error}");
    }
}

#[test]
fn what_is_said_of_a_wrong_secret_does_not_quote_it() {
    for words in [
        &["--publish-key", "hidden words"][..],
        &["--publish-key=hidden words"],
        &["--publish-key", "eyJhidden.a.b"],
        &["--publish-key", "name=hidden words"],
        &["--publish-key", "hidden=="],
        &["--app", "1:hidden"],
    ] {
        let error = parse(words).unwrap_err();
        assert!(error.contains("give") || error.contains("Give"), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }
    let error = parse_with_file("publish-key = 'hidden words'\n", &[]).unwrap_err();
    assert!(error.contains("--publish-key") && !error.contains("hidden"), "{error}");
    let error = parse(&["--max-lag", "lots"]).unwrap_err();
    assert!(error.contains("'lots'"), "what is no secret is quoted: {error}");
}

#[test]
fn flags_and_variables_of_secrets_do_not_show_their_values_in_the_help() {
    for name in ["publish-key", "app", "auth-url", "auth-secret"] {
        let command = Args::command();
        let flag = command.get_arguments().find(|flag| flag.get_long() == Some(name)).unwrap();
        assert!(flag.is_hide_env_values_set(), "{name}");
    }
    let words: Vec<OsString> = ["fanfare", "--publish-key", "hidden"].map(OsString::from).into();
    assert!(!format!("{:?}", Args::parse_from_words(&words).unwrap()).contains("hidden"));
}

#[test]
fn keys_of_flags_and_of_the_file_add_up_and_a_fault_in_the_file_names_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[[key]]\nname = 'billing'\nsecret = 'two'\npublish = 'a'").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let config = parse(&["--publish-key", "one", "--publish-keys", &path]).unwrap();
    let names: Vec<_> = config.keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["default", "billing"]);
    writeln!(file, "red = 'a'").unwrap();
    let error = parse(&["--publish-keys", &path]).unwrap_err();
    assert!(
        error.contains(&format!("--publish-keys {path}: [[key]] \"billing\": no key is called")),
        "{error}"
    );
}

#[test]
fn token_keys_are_called_by_their_kid_or_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("2026-09.secret");
    std::fs::write(&path, "s".repeat(32) + "\n").unwrap();
    let set = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens/keys.json");
    let config = parse(&["--token-key", path.to_str().unwrap(), "--token-key", set]).unwrap();
    assert!(config.token_keys.named("2026-09").is_some() && config.token_keys.iter().count() > 1);
    std::fs::write(&path, "hidden").unwrap();
    let error = parse(&["--token-key", path.to_str().unwrap()]).unwrap_err();
    let words = format!("--token-key {}: the secret has 6 bytes, at least 32", path.display());
    assert!(error.contains(&words) && !error.contains("hidden"), "{error}");
}

#[test]
fn a_key_is_made_without_reading_any_file_and_needs_a_name() {
    let parse_task = |words: &[&str]| {
        let words: Vec<_> =
            std::iter::once("fanfare").chain(words.iter().copied()).map(OsString::from).collect();
        Args::parse_from_words(&words).map_err(|error| error.to_string())
    };
    let args = parse_task(&["key", "billing"]).unwrap();
    assert!(matches!(args.task(), Some(Task::Key { name }) if name == "billing"));
    assert!(parse_task(&[]).unwrap().task().is_none());
    for (words, said) in [
        (&["key", "Billing"][..], "a key's name is 1 to 32 of a-z 0-9 _ -, such as billing"),
        (&["key", ""], "a key's name is 1 to 32"),
        (&["key"], "<NAME>"),
        (&["key", "a", "b"], "unexpected argument"),
    ] {
        let error = parse_task(words).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn redis_has_seeds_between_commas_or_one_a_flag_and_defaults_for_the_rest() {
    let seed = |text: &str| text.parse::<RedisAddress>().unwrap();
    assert_eq!(parse(&[]).unwrap().redis, None);
    let one = parse(&["--redis", "redis://u:p%2Cw@[::1]:7/2"]).unwrap();
    assert_eq!(one.redis, Some(Redis::new(seed("redis://u:p%2Cw@[::1]:7/2"))));
    let expected = Redis {
        seeds: ["redis://a", "redis://b", "redis://c"].map(seed).to_vec(),
        prefix: "shop".into(),
        timeout: Duration::from_millis(1500),
        trust_failover: true,
    };
    let others = ["--redis-prefix", "shop", "--redis-timeout", "1500ms", "--redis-trust-failover"];
    let words = [&["--redis", "redis://a,redis://b", "--redis", "redis://c"][..], &others].concat();
    assert_eq!(parse(&words).unwrap().redis, Some(expected.clone()));
    let file = "redis = ['redis://a', 'redis://b', 'redis://c']\nredis-prefix = 'shop'\nredis-timeout = '1500ms'\n\
                redis-trust-failover = true\n";
    assert_eq!(parse_with_file(file, &[]).unwrap().redis, Some(expected));
}

#[test]
fn a_flag_for_redis_without_one_is_refused() {
    for words in [&["--redis-prefix", "a"][..], &["--redis-timeout", "1s"], &["--redis-trust-failover"]] {
        let said = parse(words).unwrap_err();
        assert!(
            said.contains(&format!("{} is for a Redis", words[0])) && said.contains("--redis URL"),
            "{said}"
        );
    }
}

#[test]
fn what_is_said_of_a_wrong_address_of_redis_does_not_quote_its_password() {
    for value in [
        "redis://:hidden%@a",
        "redis://u:hidden,word@a",
        "redis://u:hidden#@a",
        "http://u:hidden@a",
        "redis://hidden@a",
    ] {
        for said in [
            parse(&["--redis", value]).unwrap_err(),
            parse_with_file(&format!("redis = '{value}'"), &[]).unwrap_err(),
            parse_with_file(&format!("redis = ['redis://a', '{value}']"), &[]).unwrap_err(),
        ] {
            assert!(
                said.contains("--redis <URL>") && !said.contains("hidden") && !said.contains("word@"),
                "{said}"
            );
        }
    }
}
