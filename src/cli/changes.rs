//! What a reload of access changes, in words for one log line.
//!
//! What the changes do to connections is the server's.

use fanfare::config::{AccessKey, Config};

/// What differs in `after`, of all that a reload takes: keys by their names, other settings by their flags. Empty: nothing.
#[must_use]
pub fn changes(before: &Config, after: &Config) -> Vec<String> {
    let mut all = Vec::from_iter(of_keys(before, after));
    let settings = [
        ("client-publish", before.client_publish != after.client_publish),
        ("auth", before.auth != after.auth),
        ("allow-origin", before.allow_origin != after.allow_origin),
        ("allow-host", before.allow_host != after.allow_host),
        ("token-audience", before.token_audience != after.token_audience),
        ("token-cookie", before.token_cookie != after.token_cookie),
        ("token-in-query", before.token_in_query != after.token_in_query),
    ];
    let changed = settings.into_iter().filter(|(_, is_changed)| *is_changed);
    let changed: Vec<_> = changed.map(|(flag, _)| flag).collect();
    if !changed.is_empty() {
        all.push(format!("changed {}", changed.join(", ")));
    }
    all
}

/// A key with another secret is another key: the old one is removed, and the new one added.
fn of_keys(before: &Config, after: &Config) -> Option<String> {
    let without = |these: &Config, those: &Config| -> Vec<String> {
        let keys = these.keys.iter().filter(|key| same(key, those).is_none()).map(|key| key.name.clone());
        let token_keys = these.token_keys.without(&those.token_keys).map(|key| key.kid().to_owned());
        keys.chain(token_keys).collect()
    };
    let is_changed = |key: &&AccessKey| same(key, before).is_some_and(|other| other != *key);
    let changed = after.keys.iter().filter(is_changed).map(|key| key.name.clone()).collect();
    let kinds =
        [("added", without(after, before)), ("removed", without(before, after)), ("changed", changed)];
    let parts = kinds.iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> = parts.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
    (!parts.is_empty()).then(|| format!("keys: {}", parts.join(", ")))
}

/// The key of the configuration that has the same secret.
fn same<'a>(key: &AccessKey, config: &'a Config) -> Option<&'a AccessKey> {
    config.keys.iter().find(|other| other.digest.fits(&key.digest))
}

#[cfg(test)]
mod tests {
    use fanfare::config::{AuthRule, Glob};
    use fanfare::token::{Key, Keys};

    use super::*;

    fn config(keys: &[AccessKey], kids: &[(&str, u8)]) -> Config {
        let mut token_keys = Keys::default();
        for (kid, byte) in kids {
            token_keys.push(Key::secret(kid, &[*byte; 32]).unwrap()).unwrap();
        }
        Config { keys: keys.to_vec(), token_keys, ..Config::default() }
    }

    fn key(name: &str, secret: &str) -> AccessKey {
        AccessKey::with_all_rights(name, secret)
    }

    #[test]
    fn what_stays_the_same_is_no_change() {
        let config = config(&[key("a", "s")], &[("t", 1)]);
        assert_eq!(changes(&config, &config.clone()), [""; 0]);
    }

    #[test]
    fn keys_that_come_and_go_are_named_those_of_tokens_too() {
        let before = config(&[key("a", "1"), key("b", "2")], &[("2026-06", 1), ("both", 2)]);
        let after = config(&[key("b", "2"), key("c", "3")], &[("both", 2), ("2026-09", 3)]);
        assert_eq!(changes(&before, &after), ["keys: added c, 2026-09, removed a, 2026-06"]);
    }

    #[test]
    fn a_key_with_another_secret_is_another_and_one_with_other_rights_has_changed() {
        let before = config(&[key("a", "1"), key("b", "2")], &[("t", 1)]);
        let fewer = AccessKey { admin: false, ..key("b", "2") };
        let after = config(&[key("a", "9"), fewer], &[("t", 9)]);
        assert_eq!(changes(&before, &after), ["keys: added a, t, removed a, t, changed b"]);
        let renamed = config(&[key("a", "1"), key("c", "2")], &[("t", 1)]);
        assert_eq!(changes(&before, &renamed), ["keys: changed c"]);
    }

    #[test]
    fn each_other_setting_that_a_reload_takes_is_named_by_its_flag() {
        let before = config(&[key("a", "1")], &[]);
        let after = Config {
            client_publish: vec![Glob::new("chat")],
            auth: vec![(Glob::new("news"), AuthRule::Open)],
            allow_origin: vec!["https://a.example".into()],
            allow_host: vec!["a.example".parse().unwrap()],
            token_audience: Some("a".into()),
            token_cookie: Some("c".into()),
            token_in_query: true,
            ..config(&[], &[])
        };
        let settings = "changed client-publish, auth, allow-origin, allow-host, token-audience, token-cookie, token-in-query";
        assert_eq!(changes(&before, &after), ["keys: removed a", settings]);
    }
}
