//! Addresses as text, and which values are refused together.

use super::*;
use crate::config::{Config, ConfigError};

fn address(text: &str) -> RedisAddress {
    text.parse().unwrap_or_else(|fault: NoRedisAddress| panic!("{text}: {fault}"))
}

fn tcp(host: &str, port: u16, tls: bool) -> RedisAddress {
    RedisAddress::new(RedisServer::Tcp { host: host.to_owned(), port, tls })
}

fn unix(path: &str) -> RedisAddress {
    RedisAddress::new(RedisServer::Unix(path.into()))
}

fn of(user: Option<&str>, password: &str, address: RedisAddress) -> RedisAddress {
    RedisAddress { user: user.map(str::to_owned), password: Some(password.to_owned()), ..address }
}

fn redis(seeds: &[&str]) -> Redis {
    Redis { seeds: seeds.iter().map(|seed| address(seed)).collect(), ..Redis::new(tcp("a", 1, false)) }
}

#[test]
fn an_address_says_host_port_and_database_and_whether_by_tls() {
    for (text, expected) in [
        ("redis://127.0.0.1", tcp("127.0.0.1", 6379, false)),
        ("redis://127.0.0.1/", tcp("127.0.0.1", 6379, false)),
        ("redis://redis_1.example.test:1", tcp("redis_1.example.test", 1, false)),
        ("rediss://a:65535", tcp("a", 65535, true)),
        ("redis://[::1]", tcp("::1", 6379, false)),
        ("rediss://[2001:db8::7]:7000", tcp("2001:db8::7", 7000, true)),
        ("redis://a/0", tcp("a", 6379, false)),
        ("redis://a:7/15", RedisAddress { database: 15, ..tcp("a", 7, false) }),
        (
            "redis://a?master=my-master",
            RedisAddress { master: Some("my-master".into()), ..tcp("a", 6379, false) },
        ),
        (
            "redis://a:26379/3?master=m%26m",
            RedisAddress { database: 3, master: Some("m&m".into()), ..tcp("a", 26379, false) },
        ),
    ] {
        assert_eq!(address(text), expected, "{text}");
    }
}

#[test]
fn a_socket_is_a_path_with_or_without_two_slashes_ahead() {
    for (text, expected) in [
        ("unix:/run/redis.sock", unix("/run/redis.sock")),
        ("unix:///run/redis.sock", unix("/run/redis.sock")),
        ("unix:/run/redis.sock?db=4", RedisAddress { database: 4, ..unix("/run/redis.sock") }),
        ("unix:/a%20b%3f", unix("/a b?")),
        ("unix://:p@/run/redis.sock", of(None, "p", unix("/run/redis.sock"))),
        (
            "unix://u:p@/r?db=1&master=m",
            RedisAddress { database: 1, master: Some("m".into()), ..of(Some("u"), "p", unix("/r")) },
        ),
    ] {
        assert_eq!(address(text), expected, "{text}");
    }
}

#[test]
fn user_and_password_are_decoded_and_may_have_any_character() {
    for (text, user, password) in [
        ("redis://u:p@a", Some("u"), "p"),
        ("redis://:p@a", None, "p"),
        ("redis://u:@a", Some("u"), ""),
        ("redis://u:a:b@a", Some("u"), "a:b"),
        ("redis://u:p@ss@a", Some("u"), "p@ss"),
        ("redis://us%3Aer:%40%2f%3F%23%2C%25%20%c3%BC@a", Some("us:er"), "@/?#,% ü"),
        ("redis://u:p+p@a", Some("u"), "p+p"),
    ] {
        let address = address(text);
        assert_eq!((address.user.as_deref(), address.password.as_deref()), (user, Some(password)), "{text}");
        assert_eq!(address.server, tcp("a", 6379, false).server);
    }
}

#[test]
fn what_is_no_address_is_refused_with_the_remedy() {
    use NoRedisAddress::*;
    for (text, fault) in [
        ("", Scheme),
        ("127.0.0.1:6379", Scheme),
        ("http://127.0.0.1", Scheme),
        ("REDIS://a", Scheme),
        ("redis:a", Scheme),
        ("redis://", Host),
        ("redis://:6379", Host),
        ("redis://u:p@", Host),
        ("redis://a b", Host),
        ("redis://::1", Port),
        ("redis://2001:db8::1:6379", Port),
        ("redis://[::1", Host),
        ("redis://[::1]6379", Host),
        ("redis://[a]", Host),
        ("redis://[127.0.0.1]", Host),
        ("redis://[]", Host),
        ("redis://a..b", Host),
        ("redis://a:", Port),
        ("redis://a:0", Port),
        ("redis://a:65536", Port),
        ("redis://a:+1", Port),
        ("redis://a:x", Port),
        ("redis://u:p/w@a", Port),
        ("redis://u@a", Password),
        ("redis://:@a", Password),
        ("redis://@a", Password),
        ("redis://a/x", Database),
        ("redis://a/-1", Database),
        ("redis://a/+1", Database),
        ("redis://a/1/2", Database),
        ("redis://a/4294967296", Database),
        ("unix:/r?db=", Database),
        ("unix:/r?db=x", Database),
        ("redis://a?db=1", Query),
        ("redis://a?timeout=1", Query),
        ("redis://a?master", Query),
        ("redis://a?master=a&master=b", Query),
        ("unix:/r?db=1&db=1", Query),
        ("redis://a?master=", Master),
        ("redis://a?master=a%20b", Master),
        ("unix:", Path),
        ("unix:run/redis.sock", Path),
        ("unix://", Path),
        ("unix://run/redis.sock", Path),
        ("unix://localhost/run/redis.sock", Path),
        ("redis://:100%@a", Percent),
        ("redis://:%zz@a", Percent),
        ("redis://:%2@a", Percent),
        ("redis://:%ff@a", Percent),
        ("redis://:p#1@a", Fragment),
    ] {
        assert_eq!(text.parse::<RedisAddress>(), Err(fault), "{text}");
    }
    let path = |len: usize| format!("unix:/{}", "x".repeat(len - 1));
    assert!(path(107).parse::<RedisAddress>().is_ok());
    assert_eq!(path(108).parse::<RedisAddress>(), Err(Path));
}

#[test]
fn neither_user_nor_password_is_ever_shown() {
    for (text, shown) in [
        ("redis://hidden-user:hidden-word@a", "redis://a:6379"),
        ("rediss://:hidden-word@[::1]:7/2?master=m", "rediss://[::1]:7/2?master=m"),
        ("unix://hidden-user:hidden-word@/run/r", "unix:/run/r"),
        ("unix:/run/r?db=3&master=m", "unix:/run/r?db=3&master=m"),
    ] {
        let address = address(text);
        assert_eq!(address.to_string(), shown);
        let config = Config { redis: Some(Redis::new(address)), ..Config::default() };
        let debug = format!("{config:?}");
        assert!(debug.contains(&format!("RedisAddress({shown})")) && !debug.contains("hidden"), "{debug}");
    }
    for text in ["redis://hidden@a", "redis://:hidden%@a", "redis://u:hidden/@a", "hidden"] {
        let fault = text.parse::<RedisAddress>().unwrap_err();
        assert!(!fault.to_string().contains("hidden") && !format!("{fault:?}").contains("hidden"));
    }
}

#[test]
fn what_is_shown_is_an_address_that_leads_to_the_same_server() {
    for text in
        ["redis://a", "rediss://[::1]:7/2?master=m", "unix:/run/r?db=3&master=m", "unix:/run/r?master=m"]
    {
        assert_eq!(address(&address(text).to_string()), address(text));
    }
}

#[test]
fn one_server_sentinels_and_a_cluster_are_accepted() {
    for seeds in [
        &["redis://a"][..],
        &["redis://u:p@a/15"],
        &["unix:/run/redis.sock?db=2"],
        &["redis://a:7000", "redis://b:7000", "redis://[::1]:7000"],
        &["redis://u:p@a/2?master=m", "redis://u:p@b/2?master=m"],
    ] {
        assert_eq!(redis(seeds).check(), Ok(()), "{seeds:?}");
    }
    let tls = redis(&["rediss://a", "rediss://b"]).check();
    assert_eq!(tls, if cfg!(feature = "tls") { Ok(()) } else { Err(RedisFault::NotBuilt) });
}

#[test]
fn addresses_that_do_not_belong_together_are_refused() {
    for (seeds, fault) in [
        (&[][..], RedisFault::NoSeed),
        (&["redis://a", "unix:/r"], RedisFault::Schemes),
        (&["unix:/r", "unix:/s"], RedisFault::Sockets),
        (&["redis://a", "redis://:p@b"], RedisFault::Passwords),
        (&["redis://u:p@a", "redis://v:p@b"], RedisFault::Passwords),
        (&["redis://a?master=m", "redis://b"], RedisFault::Masters),
        (&["redis://a", "redis://b", "redis://c/1"], RedisFault::Databases),
        (&["redis://a/1", "redis://b/1"], RedisFault::Database),
    ] {
        assert_eq!(redis(seeds).check(), Err(fault), "{seeds:?}");
    }
    if cfg!(feature = "tls") {
        assert_eq!(redis(&["redis://a", "rediss://b"]).check(), Err(RedisFault::Schemes));
    }
}

#[test]
fn values_that_were_set_without_text_are_checked_the_same() {
    use NoRedisAddress::*;
    for (seed, fault) in [
        (tcp("", 1, false), Host),
        (tcp("[::1]", 1, false), Host),
        (tcp("a", 0, false), Port),
        (unix("r"), Path),
        (unix(""), Path),
        (of(None, "", tcp("a", 1, false)), Password),
        (of(Some(""), "p", tcp("a", 1, false)), Password),
        (RedisAddress { user: Some("u".into()), ..tcp("a", 1, false) }, Password),
        (RedisAddress { master: Some(String::new()), ..tcp("a", 1, false) }, Master),
    ] {
        assert_eq!(Redis::new(seed.clone()).check(), Err(RedisFault::Address(fault)), "{seed:?}");
    }
}

#[test]
fn a_prefix_has_no_braces_and_a_time_is_above_0() {
    let with = |prefix: &str| Redis { prefix: prefix.to_owned(), ..redis(&["redis://a"]) };
    for prefix in ["fanfare", "shop:eu", "*", &"x".repeat(64)] {
        assert_eq!(with(prefix).check(), Ok(()), "{prefix}");
    }
    for prefix in ["", "a{b", "a}", "a b", "ü", "a\n", &"x".repeat(65)] {
        assert_eq!(with(prefix).check(), Err(RedisFault::Prefix), "{prefix}");
    }
    let never = Redis { timeout: Duration::ZERO, ..redis(&["redis://a"]) };
    assert_eq!(never.check(), Err(RedisFault::Timeout));
}

#[test]
fn a_configuration_is_refused_by_the_flag_and_with_the_remedy() {
    let said = |redis: Redis| {
        let config = Config { redis: Some(redis), ..Config::default() };
        let error = config.check().unwrap_err();
        assert!(matches!(error, ConfigError::Redis(_)));
        error.to_string()
    };
    assert!(
        said(redis(&["redis://a/1", "redis://b/1"]))
            .starts_with("--redis: several addresses are those of a cluster")
    );
    assert!(said(Redis::new(tcp("", 1, false))).starts_with("--redis: give a host name"));
    assert!(
        said(Redis { prefix: "{".into(), ..redis(&["redis://a"]) })
            .starts_with("--redis-prefix: give 1 to 64")
    );
    let timeout = said(Redis { timeout: Duration::ZERO, ..redis(&["redis://a"]) });
    assert!(timeout.starts_with("--redis-timeout: 0 leaves"), "{timeout}");
}
