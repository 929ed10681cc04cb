//! The `[[app]]` tables of the `--config` file: their keys, and what each sets.
//!
//! Which values of a setting are refused is checked by `Config::check`, not here.

use std::num::NonZeroU32;
use std::time::Duration;

use toml::Value;

use super::table::{Key, key, list, nearest, set_all, text, truth};
use super::values::{parse_size, parse_time};
use fanfare::config::normalise_origin;
use fanfare::pusher::{App, Webhook, WebhookEvent};

/// The keys of an `[[app]]` table.
const APP_KEYS: [Key<App>; 19] = [
    key("id", |app, value| identifier(value).map(|id| app.id = id)),
    key("key", |app, value| text(value).map(|key| app.key = key)),
    key("secret", |app, value| text(value).map(|secret| app.secrets = vec![secret])),
    key("secrets", |app, value| list(value, text).map(|secrets| app.secrets = secrets)),
    key("enabled", |app, value| truth(value).map(|is_enabled| app.is_enabled = is_enabled)),
    key("client-events", |app, value| truth(value).map(|is_on| app.client_events = is_on)),
    key("encrypted-client-events", |app, value| {
        truth(value).map(|is_on| app.encrypted_client_events = is_on)
    }),
    key("subscription-count", |app, value| truth(value).map(|is_on| app.subscription_count = is_on)),
    key("watchlist", |app, value| truth(value).map(|is_on| app.watchlist = is_on)),
    key("authorized-within", |app, value| time(value).map(|time| app.authorized_within = Some(time))),
    key("max-connections", |app, value| number(value).map(|max| app.max_connections = Some(max))),
    key("max-channels", |app, value| number(value).map(|max| app.max_channels = max)),
    key("max-event", |app, value| size(value).map(|max| app.max_event = max)),
    key("max-members", |app, value| number(value).map(|max| app.max_members = max)),
    key("max-user-info", |app, value| size(value).map(|max| app.max_user_info = max)),
    key("client-event-rate", |app, value| rate(value).map(|rate| app.client_event_rate = rate)),
    key("event-rate", |app, value| rate(value).map(|rate| app.event_rate = Some(rate))),
    key("allow-origin", |app, value| list(value, origin).map(|origins| app.allow_origin = origins)),
    key("webhooks", |app, value| list(value, webhook).map(|webhooks| app.webhooks = webhooks)),
];

/// The keys of a table of `webhooks`.
const WEBHOOK_KEYS: [Key<Webhook>; 2] = [
    key("url", |webhook, value| text(value).map(|url| webhook.url = url)),
    key("events", |webhook, value| list(value, event).map(|events| webhook.events = events)),
];

/// Whether the value of `app` is tables, rather than text like that of the flag.
pub fn is_tables(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::Array(values) => values.iter().any(Value::is_table),
        _ => false,
    }
}

/// The apps of all tables.
///
/// # Errors
/// Names the app, the key and the remedy.
pub fn parse(value: &Value) -> Result<Vec<App>, String> {
    let Value::Array(values) = value else {
        return Err("[app]: write the head of each app's table in double brackets, [[app]]".into());
    };
    values.iter().enumerate().map(|(at, value)| parse_app(at, value)).collect()
}

fn parse_app(at: usize, value: &Value) -> Result<App, String> {
    let fail = |what: String| match value.get("id").map(identifier) {
        Some(Ok(id)) => format!("[[app]] {id:?}: {what}"),
        Some(Err(_)) | None => format!("[[app]] number {}: {what}", at + 1),
    };
    let Value::Table(table) = value else {
        return Err(fail("give a table for each app, or ID:KEY:SECRET for each".into()));
    };
    let mut app = App { secrets: Vec::new(), ..App::new("", "", "") };
    set_all(&mut app, table, &APP_KEYS).map_err(fail)?;
    if table.contains_key("secret") && table.contains_key("secrets") {
        return Err(fail("secret and secrets: give one of them; secrets takes a list".into()));
    }
    let secret = if table.contains_key("secrets") { "secrets" } else { "secret" };
    match ["id", "key", secret].into_iter().find(|key| !table.contains_key(*key)) {
        Some(key) => Err(fail(format!("{key}: missing; an app has an id, a key and a secret"))),
        None => Ok(app),
    }
}

fn identifier(value: &Value) -> Result<String, String> {
    match value {
        Value::Integer(number) => Ok(number.to_string()),
        _ => value.as_str().map(str::to_owned).ok_or_else(|| "give digits, such as \"1\"".into()),
    }
}

fn number<N: TryFrom<i64>>(value: &Value) -> Result<N, String> {
    let number = value.as_integer().and_then(|number| number.try_into().ok());
    number.ok_or_else(|| "give a whole number, such as 100, without quotes".into())
}

fn rate(value: &Value) -> Result<NonZeroU32, String> {
    let per_second = value.as_integer().and_then(|number| u32::try_from(number).ok());
    per_second
        .and_then(NonZeroU32::new)
        .ok_or_else(|| "give a whole number of events per second above 0, without quotes".into())
}

/// A number of bytes, or text with a unit.
fn size(value: &Value) -> Result<usize, String> {
    let bytes = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        _ => value.as_str().and_then(|text| parse_size(text).ok()),
    };
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "give a size such as \"10KiB\" or 512".into())
}

fn time(value: &Value) -> Result<Duration, String> {
    let time = value.as_str().and_then(|text| parse_time(text).ok());
    time.ok_or_else(|| "give a time with its unit, such as \"500ms\", \"30s\" or \"5m\"".into())
}

fn origin(value: &Value) -> Result<String, String> {
    normalise_origin(&text(value)?).map_err(|no_origin| no_origin.to_string())
}

fn webhook(value: &Value) -> Result<Webhook, String> {
    let example = "such as { url = \"http://127.0.0.1:9000/pusher\", events = [\"channel_occupied\"] }";
    let Value::Table(table) = value else { return Err(format!("give a table for each, {example}")) };
    let mut webhook = Webhook { url: String::new(), events: Vec::new() };
    set_all(&mut webhook, table, &WEBHOOK_KEYS)?;
    match table.contains_key("url") {
        true => Ok(webhook),
        false => Err(format!("url: missing; give a table {example}")),
    }
}

fn event(value: &Value) -> Result<WebhookEvent, String> {
    let name = text(value)?;
    let named = WebhookEvent::ALL.into_iter().find(|event| event.name() == name);
    named.ok_or_else(|| {
        format!("no event is called {name:?}; {}", nearest(&name, &WebhookEvent::ALL.map(WebhookEvent::name)))
    })
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::*;

    fn apps(text: &str) -> Result<Vec<App>, String> {
        parse(&text.parse::<Table>().unwrap()["app"])
    }

    /// The fault of a table with an identifier, a key, a secret and this line.
    fn fault(line: &str) -> String {
        apps(&format!("[[app]]\nid = '7'\nkey = 'k'\nsecret = 's'\n{line}\n")).unwrap_err()
    }

    #[test]
    fn a_table_with_three_keys_is_an_app_with_default_settings() {
        let text = "[[app]]\nid = '1'\nkey = 'k'\nsecret = 's'\n[[app]]\nid = 2\nkey = 'l'\nsecrets = ['new', 'old']\n";
        let second = App { secrets: vec!["new".into(), "old".into()], ..App::new("2", "l", "") };
        assert_eq!(apps(text).unwrap(), [App::new("1", "k", "s"), second]);
    }

    #[test]
    fn every_key_sets_its_setting() {
        let text = "[[app]]\nid = '1'\nkey = 'k'\nsecret = 's'\nenabled = false\nclient-events = true\n\
                    encrypted-client-events = true\nsubscription-count = true\nwatchlist = true\n\
                    authorized-within = '30s'\nmax-connections = 1\nmax-channels = 2\nmax-event = '64KiB'\n\
                    max-members = 3\nmax-user-info = 512\nclient-event-rate = 4\nevent-rate = 5\n\
                    allow-origin = ['https://A.example:443', 'null']\n\
                    webhooks = [{ url = 'http://a' }, { url = 'http://b', events = ['channel_occupied', 'cache_miss'] }]\n";
        let events = vec![WebhookEvent::ChannelOccupied, WebhookEvent::CacheMiss];
        let expected = App {
            is_enabled: false,
            client_events: true,
            encrypted_client_events: true,
            subscription_count: true,
            watchlist: true,
            authorized_within: Some(Duration::from_secs(30)),
            max_connections: Some(1),
            max_channels: 2,
            max_event: 65_536,
            max_members: 3,
            max_user_info: 512,
            client_event_rate: NonZeroU32::new(4).unwrap(),
            event_rate: NonZeroU32::new(5),
            allow_origin: vec!["https://a.example".into(), "null".into()],
            webhooks: vec![
                Webhook { url: "http://a".into(), events: Vec::new() },
                Webhook { url: "http://b".into(), events },
            ],
            ..App::new("1", "k", "s")
        };
        assert_eq!(apps(text).unwrap(), [expected]);
        let written = APP_KEYS.iter().filter(|key| text.contains(&format!("\n{} = ", key.name))).count();
        assert_eq!(written, APP_KEYS.len() - 1, "all but secrets");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_app_and_the_nearest_one() {
        for (line, nearest) in [
            ("client_events = true", "client-events"),
            ("max-conections = 5", "max-connections"),
            ("secretes = ['s']", "secrets"),
            ("webhook = []", "webhooks"),
            ("Enabled = false", "enabled"),
        ] {
            let wrong = line.split(' ').next().unwrap();
            let words = fault(line);
            let start =
                format!("[[app]] \"7\": no key is called {wrong:?}; the nearest is {nearest:?} of id, key,");
            assert!(words.starts_with(&start), "{words}");
        }
        let words = fault("webhooks = [{ uri = 'http://a' }]");
        assert!(words.contains("webhooks: no key is called \"uri\"; the nearest is \"url\""), "{words}");
        let words = fault("webhooks = [{ url = 'http://a', events = ['occupied'] }]");
        assert!(words.contains(
            "webhooks: events: no event is called \"occupied\"; the nearest is \"channel_occupied\""
        ));
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_its_key_and_what_to_give() {
        for (line, words) in [
            ("client-events = 1", "client-events: give true or false"),
            ("max-members = '100'", "max-members: give a whole number"),
            ("max-members = -1", "max-members: give a whole number"),
            ("max-event = 'lots'", "max-event: give a size such as \"10KiB\""),
            ("max-event = -1", "max-event: give a size"),
            ("authorized-within = 30", "authorized-within: give a time with its unit"),
            ("client-event-rate = 0", "client-event-rate: give a whole number of events per second above 0"),
            ("event-rate = 4294967296", "event-rate: give a whole number"),
            ("allow-origin = 'example.com'", "allow-origin: give an origin as browsers send it"),
            ("webhooks = ['http://a']", "webhooks: give a table for each"),
            ("webhooks = [{ events = [] }]", "webhooks: url: missing"),
        ] {
            let said = fault(line);
            assert!(said.starts_with("[[app]] \"7\": ") && said.contains(words), "{said}");
        }
    }

    #[test]
    fn what_an_app_cannot_be_without_is_named() {
        for (text, words) in [
            ("[[app]]\nkey = 'k'\nsecret = 's'", "[[app]] number 1: id: missing"),
            ("[[app]]\nid = 3\nsecret = 's'", "[[app]] \"3\": key: missing"),
            ("[[app]]\nid = 3\nkey = 'k'", "[[app]] \"3\": secret: missing"),
            ("[[app]]\nid = 3\nkey = 'k'\nsecret = 's'\nsecrets = ['t']", "secret and secrets: give one"),
            ("[[app]]\nid = true\nkey = 'k'\nsecret = 's'", "[[app]] number 1: id: give digits"),
            ("[app]\nid = 3\nkey = 'k'\nsecret = 's'", "double brackets, [[app]]"),
            (
                "app = [{ id = 3, key = 'k', secret = 's' }, '4:k:s']",
                "[[app]] number 2: give a table for each",
            ),
        ] {
            let said = apps(text).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
