//! The file of `--publish-keys`: its `[[key]]` tables, and a new key as `fanfare key` prints it.
//!
//! Which names, globs and rights are refused is checked by `Config::check`, not here.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use toml::value::{Datetime, Offset};
use toml::{Table, Value};

use super::table::{Key, key, list, set_all, text, truth};
use super::toml_text::parse_toml;
use super::values::check_secret;
use fanfare::config::{AccessKey, Glob, SecretDigest};

/// The random bytes of a new secret: 192 bits, which nobody guesses, in 32 characters.
pub const SECRET_LEN: usize = 24;

/// How new secrets begin, so that they are recognised where they do not belong.
const SECRET_PREFIX: &str = "fk";

/// The only key of the file.
const KEY: &str = "key";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The keys of a `[[key]]` table.
const KEYS: [Key<AccessKey>; 7] = [
    key("name", |key, value| text(value).map(|name| key.name = name)),
    key("sha256", |key, value| digest(value).map(|digest| key.digest = digest)),
    key("secret", |key, value| secret(value).map(|digest| key.digest = digest)),
    key("publish", |key, value| list(value, glob).map(|globs| key.publish = globs)),
    key("read", |key, value| list(value, glob).map(|globs| key.read = globs)),
    key("admin", |key, value| truth(value).map(|is_admin| key.admin = is_admin)),
    key("not-after", |key, value| end(value).map(|end_s| key.not_after_s = Some(end_s))),
];

/// The keys of a file. There is at least one: a file without any would open to everybody what keys are for.
///
/// # Errors
/// Names the key, by its name or its place, and the remedy. No secret is quoted.
pub fn parse_file(text: &str) -> Result<Vec<AccessKey>, String> {
    let file = parse_toml(text)?;
    if let Some(other) = file.keys().find(|name| *name != KEY) {
        return Err(format!("no key is called {other:?}; the file has [[key]] tables and nothing else"));
    }
    match file.get(KEY) {
        None => Err("it has no [[key]]. Put at least one into it: fanfare key NAME prints it".into()),
        Some(Value::Array(tables)) if !tables.is_empty() => {
            tables.iter().enumerate().map(|(at, value)| parse_key(at, value)).collect()
        }
        Some(_) => Err("write the head of each key's table in double brackets, [[key]]".into()),
    }
}

fn parse_key(at: usize, value: &Value) -> Result<AccessKey, String> {
    let fail = |what: String| match value.get("name").and_then(Value::as_str) {
        Some(name) => format!("[[key]] {name:?}: {what}"),
        None => format!("[[key]] number {}: {what}", at + 1),
    };
    let Value::Table(table) = value else { return Err(fail("give a table for each key".into())) };
    let mut key = AccessKey {
        publish: Vec::new(),
        read: Vec::new(),
        admin: false,
        ..AccessKey::with_all_rights("", "")
    };
    set_all(&mut key, table, &KEYS).map_err(fail)?;
    match what_is_missing(table) {
        Some(what) => Err(fail(what.into())),
        None => Ok(key),
    }
}

fn what_is_missing(table: &Table) -> Option<&'static str> {
    let has = |key| table.contains_key(key);
    if !has("name") {
        return Some("name: missing; a key has a name, and sha256 or secret");
    }
    match (has("sha256"), has("secret")) {
        (false, false) => Some("sha256: missing; give it, or secret"),
        (true, true) => Some("sha256 and secret: give one of them"),
        (true, false) | (false, true) => None,
    }
}

fn digest(value: &Value) -> Result<SecretDigest, String> {
    let digits = value.as_str().map(str::as_bytes).filter(|digits| digits.len() == 64);
    let nibble = |digit: &u8| char::from(*digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let bytes = digits.and_then(|digits| {
        let pairs = digits.chunks_exact(2).map(|pair| Some(nibble(&pair[0])? << 4 | nibble(&pair[1])?));
        pairs.collect::<Option<Vec<u8>>>()?.try_into().ok()
    });
    bytes.map(SecretDigest).ok_or_else(|| {
        "give the 64 hexadecimal digits of the secret's SHA-256: printf %s SECRET | sha256sum".into()
    })
}

fn secret(value: &Value) -> Result<SecretDigest, String> {
    let secret = text(value)?;
    check_secret(&secret)?;
    Ok(SecretDigest::of(&secret))
}

fn glob(value: &Value) -> Result<Glob, String> {
    text(value).map(|glob| Glob::new(&glob))
}

/// When a key ends, in seconds since 1970: a date is the last day on which it is good, in UTC.
fn end(value: &Value) -> Result<u64, String> {
    let end = value.as_datetime().and_then(end_of);
    end.ok_or_else(|| {
        "give the last day, such as 2026-12-01, or a time with its zone, such as 2026-12-01T12:00:00Z; both without \
         quotes, and after 1970"
            .into()
    })
}

fn end_of(end: &Datetime) -> Option<u64> {
    let parse = |text: String| humantime::parse_rfc3339(&text).ok()?.duration_since(UNIX_EPOCH).ok();
    let date = end.date?;
    match (end.time, end.offset) {
        (None, _) => Some((parse(format!("{date}T00:00:00Z"))? + DAY).as_secs()),
        (Some(_), None) => None,
        (Some(time), Some(Offset::Z)) => Some(parse(format!("{date}T{time}Z"))?.as_secs()),
        (Some(time), Some(Offset::Custom { minutes })) => {
            let local = parse(format!("{date}T{time}Z"))?.as_secs();
            local.checked_add_signed(-60 * i64::from(minutes))
        }
    }
}

/// A new key: its secret, and by `Display` the table for the file, with all rights but `admin`.
pub struct NewKey {
    name: String,
    /// `fk_NAME_…`
    pub secret: String,
}

impl NewKey {
    /// A key with a name that was checked, and a secret of these random bytes.
    #[must_use]
    pub fn new(name: &str, random: [u8; SECRET_LEN]) -> Self {
        let secret = format!("{SECRET_PREFIX}_{name}_{}", URL_SAFE_NO_PAD.encode(random));
        Self { name: name.to_owned(), secret }
    }
}

impl fmt::Display for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest: String =
            SecretDigest::of(&self.secret).0.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(f, "[[key]]\nname = \"{}\"\nsha256 = \"{digest}\"", self.name)?;
        writeln!(f, "publish = [\"*\"]\nread = [\"*\"]\nadmin = false")
    }
}

#[cfg(test)]
#[path = "key_table_tests.rs"]
mod tests;
