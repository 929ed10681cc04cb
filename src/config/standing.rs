//! Which rules of access hold, in one line for the log of the start.
//!
//! What the rules mean to a request is decided by `server::access`.

use std::fmt;

use super::rules::has_one_for_all;
use super::{AuthRule, Config, Glob};

/// How many names or globs of a kind the line has; a log line is read by people.
const NAMED_MAX: usize = 10;

impl Config {
    /// Who may subscribe and who may publish, in one line. No secret is in it.
    #[must_use]
    pub fn standing(&self) -> String {
        format!("{}. {}", self.subscribing(), self.publishing())
    }

    /// The names of the keys that are refused since they have ended: at this time, in seconds since 1970.
    pub fn ended_keys(&self, now_s: u64) -> impl Iterator<Item = &str> {
        let ended = self.keys.iter().filter(move |key| key.not_after_s.is_some_and(|end_s| end_s <= now_s));
        ended.map(|key| key.name.as_str())
    }

    fn subscribing(&self) -> String {
        let rest = match (self.takes_tokens(), &self.backend) {
            (true, _) => AuthRule::Token,
            (false, Some(_)) => AuthRule::Hook,
            (false, None) => AuthRule::Open,
        };
        let is_open = rest == AuthRule::Open || has_one_for_all(&self.auth);
        if is_open && self.auth.iter().all(|(_, rule)| *rule == AuthRule::Open) {
            let remedy = if self.takes_tokens() { "leaving --auth out" } else { "--token-key FILE" };
            return format!("everybody may subscribe to everything; {remedy} closes it");
        }
        let mut parts = Vec::new();
        for rule in [AuthRule::Open, AuthRule::Token, AuthRule::Hook, AuthRule::Key] {
            let globs = self.auth.iter().filter(|(_, other)| *other == rule).map(|(glob, _)| glob);
            let globs: Vec<&Glob> = globs.collect();
            if !globs.is_empty() {
                parts.push(format!("{} {}", listed(&globs), said(rule)));
            }
        }
        if !has_one_for_all(&self.auth) {
            let all_or_rest = if parts.is_empty() { "everything" } else { "the rest" };
            parts.push(format!("{all_or_rest} {}", said(rest)));
        }
        let at_url = self.token_jwks.is_some().then_some("those of --token-jwks");
        let kids: Vec<_> = self.token_keys.iter().map(|key| key.kid()).chain(at_url).collect();
        let keys = if kids.is_empty() { String::new() } else { format!(" (token keys {})", listed(&kids)) };
        format!("who may subscribe: {}{keys}", parts.join("; "))
    }

    fn publishing(&self) -> String {
        if self.lets_everybody_publish() {
            return "Everybody may publish".into();
        }
        let mut ways = Vec::new();
        let names: Vec<_> = self.keys.iter().map(|key| key.name.as_str()).collect();
        match names.len() {
            0 => {}
            1 => ways.push(format!("with the key {}", names[0])),
            len => ways.push(format!("with one of {len} keys ({})", listed(&names))),
        }
        if self.takes_tokens() {
            ways.push("by token".into());
        }
        if self.backend.is_some() {
            ways.push("as the backend says".into());
        }
        if !self.client_publish.is_empty() {
            let globs: Vec<_> = self.client_publish.iter().collect();
            ways.push(format!("to {} as subscribers", listed(&globs)));
        }
        format!("Who may publish: {}", ways.join(", "))
    }
}

fn said(rule: AuthRule) -> &'static str {
    match rule {
        AuthRule::Open => "everybody",
        AuthRule::Token => "by token",
        AuthRule::Hook => "as the backend says",
        AuthRule::Key => "with a key",
    }
}

/// The first of them, and how many more there are.
fn listed<T: fmt::Display>(all: &[T]) -> String {
    let named: Vec<_> = all.iter().take(NAMED_MAX).map(T::to_string).collect();
    match all.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AccessKey, Backend};
    use super::*;
    use crate::token::{Key, Keys};

    fn with(config: Config, auth: &[(&str, AuthRule)]) -> Config {
        Config { auth: auth.iter().map(|(glob, rule)| (Glob::new(glob), *rule)).collect(), ..config }
    }

    fn with_key() -> Config {
        Config { keys: vec![AccessKey::with_all_rights("default", "hidden")], ..Config::default() }
    }

    fn with_token_key(config: Config) -> Config {
        let mut token_keys = Keys::default();
        token_keys.push(Key::secret("2026-09", &[7; 32]).unwrap()).unwrap();
        Config { token_keys, ..config }
    }

    #[test]
    fn without_rules_everybody_may_subscribe_and_the_flag_that_closes_it_is_named() {
        assert_eq!(
            with_key().standing(),
            "everybody may subscribe to everything; --token-key FILE closes it. Who may publish: with the key default"
        );
        assert_eq!(
            Config { insecure: true, ..Config::default() }.standing(),
            "everybody may subscribe to everything; --token-key FILE closes it. Everybody may publish"
        );
        assert_eq!(
            with(with_token_key(Config::default()), &[("*", AuthRule::Open)]).standing(),
            "everybody may subscribe to everything; leaving --auth out closes it. Who may publish: by token"
        );
    }

    #[test]
    fn rules_are_said_by_kind_with_what_is_left_and_the_keys_of_tokens() {
        let config = with(
            with_token_key(with_key()),
            &[("news-*", AuthRule::Open), ("ops", AuthRule::Key), ("prices", AuthRule::Open)],
        );
        assert_eq!(
            Config { client_publish: vec![Glob::new("chat-*")], ..config }.standing(),
            "who may subscribe: news-*, prices everybody; ops with a key; the rest by token (token keys 2026-09). Who may \
             publish: with the key default, by token, to chat-* as subscribers"
        );
    }

    #[test]
    fn a_backend_decides_where_no_rule_does() {
        let config = Config { backend: Some(Backend::new("http://a")), ..Config::default() };
        assert_eq!(
            config.standing(),
            "who may subscribe: everything as the backend says. Who may publish: as the backend says"
        );
        assert_eq!(
            with(config, &[("*", AuthRule::Hook), ("news", AuthRule::Open)]).standing(),
            "who may subscribe: news everybody; * as the backend says. Who may publish: as the backend says"
        );
    }

    #[test]
    fn many_keys_are_counted_and_ten_are_named() {
        let key = |n: usize| AccessKey::with_all_rights(&format!("k{n}"), &n.to_string());
        let config = Config { keys: (1..13).map(key).collect(), ..Config::default() };
        let words = "with one of 12 keys (k1, k2, k3, k4, k5, k6, k7, k8, k9, k10 and 2 more)";
        assert!(config.standing().ends_with(words), "{}", config.standing());
    }

    #[test]
    fn keys_that_have_ended_are_named() {
        let key = |name: &str, end: Option<u64>| AccessKey {
            not_after_s: end,
            ..AccessKey::with_all_rights(name, name)
        };
        let keys = vec![key("a", Some(9)), key("b", Some(10)), key("c", Some(11)), key("d", None)];
        let config = Config { keys, ..Config::default() };
        assert_eq!(config.ended_keys(10).collect::<Vec<_>>(), ["a", "b"]);
    }
}
